//! Where a machine stands in its life, what may be asked of it there, and where that leads
//! (Source: Ironic documentation, "Bare Metal State Machine").

use serde::{Deserialize, Serialize};

/// Where a node stands. The states shown while an agent is awaited (`wait call-back`, `clean wait`, …) are derived from the phase:
/// see [`super::shown_state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisionState {
    /// Known by name only.
    #[default]
    Enroll,
    /// Its BMC is being tried.
    Verifying,
    /// Its BMC works; not offered.
    Manageable,
    /// Its hardware is being looked at.
    Inspecting,
    /// That failed.
    InspectFailed,
    /// Being erased or prepared by steps, before it is offered or on request.
    Cleaning,
    /// A hold step was reached; goes on when told.
    CleanHold,
    /// Cleaning failed; isolated until an operator looks.
    CleanFailed,
    /// Offered: erased, isolated, proven so.
    Available,
    /// Being deployed.
    Deploying,
    /// A hold step was reached; goes on when told.
    DeployHold,
    /// Deploying failed; isolated.
    DeployFailed,
    /// Runs its tenant's image on its tenant's network.
    Active,
    /// Being taken from its tenant.
    Deleting,
    /// It could not be taken from its tenant; nobody else gets it.
    Error,
    /// Being taken over with what it runs.
    Adopting,
    /// That failed.
    AdoptFailed,
    /// Its rescue ramdisk is being booted.
    Rescuing,
    /// Runs the rescue ramdisk on its tenant's network.
    Rescue,
    /// That failed.
    RescueFailed,
    /// Being booted from its disk again.
    Unrescuing,
    /// That failed.
    UnrescueFailed,
    /// Steps run on a machine that stays its tenant's.
    Servicing,
    /// A hold step was reached; goes on when told.
    ServiceHold,
    /// That failed.
    ServiceFailed,
}

impl ProvisionState {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Enroll,
        Self::Verifying,
        Self::Manageable,
        Self::Inspecting,
        Self::InspectFailed,
        Self::Cleaning,
        Self::CleanHold,
        Self::CleanFailed,
        Self::Available,
        Self::Deploying,
        Self::DeployHold,
        Self::DeployFailed,
        Self::Active,
        Self::Deleting,
        Self::Error,
        Self::Adopting,
        Self::AdoptFailed,
        Self::Rescuing,
        Self::Rescue,
        Self::RescueFailed,
        Self::Unrescuing,
        Self::UnrescueFailed,
        Self::Servicing,
        Self::ServiceHold,
        Self::ServiceFailed,
    ];

    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Verifying => "verifying",
            Self::Manageable => "manageable",
            Self::Inspecting => "inspecting",
            Self::InspectFailed => "inspect failed",
            Self::Cleaning => "cleaning",
            Self::CleanHold => "clean hold",
            Self::CleanFailed => "clean failed",
            Self::Available => "available",
            Self::Deploying => "deploying",
            Self::DeployHold => "deploy hold",
            Self::DeployFailed => "deploy failed",
            Self::Active => "active",
            Self::Deleting => "deleting",
            Self::Error => "error",
            Self::Adopting => "adopting",
            Self::AdoptFailed => "adopt failed",
            Self::Rescuing => "rescuing",
            Self::Rescue => "rescue",
            Self::RescueFailed => "rescue failed",
            Self::Unrescuing => "unrescuing",
            Self::UnrescueFailed => "unrescue failed",
            Self::Servicing => "servicing",
            Self::ServiceHold => "service hold",
            Self::ServiceFailed => "service failed",
        }
    }

    /// How it is shown while its agent is awaited, where that has a name of its own.
    pub fn waiting_str(self) -> &'static str {
        match self {
            Self::Cleaning => "clean wait",
            Self::Deploying => "wait call-back",
            Self::Inspecting => "inspect wait",
            Self::Rescuing => "rescue wait",
            Self::Servicing => "service wait",
            other => other.as_str(),
        }
    }

    /// Whether work is under way that ends by itself.
    pub fn is_working(self) -> bool {
        matches!(
            self,
            Self::Verifying
                | Self::Inspecting
                | Self::Cleaning
                | Self::Deploying
                | Self::Deleting
                | Self::Adopting
                | Self::Rescuing
                | Self::Unrescuing
                | Self::Servicing
        )
    }

    /// Whether nothing is going on and nothing is half done.
    pub fn is_stable(self) -> bool {
        !self.is_working() && !self.is_hold()
    }

    /// Whether a step waits to be let go.
    pub fn is_hold(self) -> bool {
        matches!(self, Self::CleanHold | Self::DeployHold | Self::ServiceHold)
    }

    /// What a job that fails in this state leads to.
    pub fn failed(self) -> Self {
        match self {
            Self::Verifying => Self::Enroll,
            Self::Inspecting => Self::InspectFailed,
            Self::Cleaning | Self::CleanHold => Self::CleanFailed,
            Self::Deploying | Self::DeployHold => Self::DeployFailed,
            Self::Deleting => Self::Error,
            Self::Adopting => Self::AdoptFailed,
            Self::Rescuing => Self::RescueFailed,
            Self::Unrescuing => Self::UnrescueFailed,
            Self::Servicing | Self::ServiceHold => Self::ServiceFailed,
            other => other,
        }
    }

    /// The state of the same job with its hold step reached, and back.
    pub fn held(self) -> Self {
        match self {
            Self::Cleaning => Self::CleanHold,
            Self::Deploying => Self::DeployHold,
            Self::Servicing => Self::ServiceHold,
            Self::CleanHold => Self::Cleaning,
            Self::DeployHold => Self::Deploying,
            Self::ServiceHold => Self::Servicing,
            other => other,
        }
    }
}

/// What a user may ask of a node (`PUT …/states/provision {"target": …}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Try the BMC, or take back from being offered.
    #[default]
    Manage,
    /// Clean and offer.
    Provide,
    /// Look at the hardware.
    Inspect,
    /// Run the steps given.
    Clean,
    /// Take over with what it runs.
    Adopt,
    /// Deploy (`active`).
    Deploy,
    /// Deploy again for the same tenant.
    Rebuild,
    /// Take from its tenant, clean, offer (`deleted`).
    Undeploy,
    /// Boot a ramdisk on the tenant's network to mend what it runs.
    Rescue,
    /// Boot from the disk again.
    Unrescue,
    /// Give up what waits.
    Abort,
    /// Let a hold step go.
    Unhold,
    /// Run the steps given on a machine that stays its tenant's.
    Service,
}

impl Verb {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Manage,
        Self::Provide,
        Self::Inspect,
        Self::Clean,
        Self::Adopt,
        Self::Deploy,
        Self::Rebuild,
        Self::Undeploy,
        Self::Rescue,
        Self::Unrescue,
        Self::Abort,
        Self::Unhold,
        Self::Service,
    ];

    /// Reads the API's `target`.
    pub fn parse(target: &str) -> Option<Self> {
        match target {
            "deploy" => Some(Self::Deploy),
            "undeploy" => Some(Self::Undeploy),
            other => Self::ALL.iter().copied().find(|verb| verb.as_str() == other),
        }
    }

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manage => "manage",
            Self::Provide => "provide",
            Self::Inspect => "inspect",
            Self::Clean => "clean",
            Self::Adopt => "adopt",
            Self::Deploy => "active",
            Self::Rebuild => "rebuild",
            Self::Undeploy => "deleted",
            Self::Rescue => "rescue",
            Self::Unrescue => "unrescue",
            Self::Abort => "abort",
            Self::Unhold => "unhold",
            Self::Service => "service",
        }
    }

    /// The minor of the version 1.N that brought it.
    pub fn since(self) -> u16 {
        match self {
            Self::Deploy | Self::Rebuild | Self::Undeploy => 1,
            Self::Manage | Self::Provide => 4,
            Self::Inspect => 6,
            Self::Abort => 13,
            Self::Clean => 15,
            Self::Adopt => 17,
            Self::Rescue | Self::Unrescue => 38,
            Self::Unhold => 85,
            Self::Service => 87,
        }
    }
}

/// Where a verb leads first and what it aims at, or `None` where it is not allowed. `waiting`: an agent is awaited and nothing that
/// cannot be given up is under way (the states that Ironic shows as `… wait`).
pub fn transition(from: ProvisionState, waiting: bool, verb: Verb) -> Option<(ProvisionState, ProvisionState)> {
    use ProvisionState as S;
    match (from, verb) {
        (S::Enroll, Verb::Manage) => Some((S::Verifying, S::Manageable)),
        (S::Available | S::CleanFailed | S::InspectFailed | S::AdoptFailed, Verb::Manage) => Some((S::Manageable, S::Manageable)),
        (S::Manageable, Verb::Provide) => Some((S::Cleaning, S::Available)),
        (S::Manageable, Verb::Clean) => Some((S::Cleaning, S::Manageable)),
        (S::Manageable | S::InspectFailed, Verb::Inspect) => Some((S::Inspecting, S::Manageable)),
        (S::Manageable | S::AdoptFailed, Verb::Adopt) => Some((S::Adopting, S::Active)),
        (S::Available | S::DeployFailed, Verb::Deploy) => Some((S::Deploying, S::Active)),
        (S::Active | S::Error | S::DeployFailed, Verb::Rebuild) => Some((S::Deploying, S::Active)),
        (
            S::Active
            | S::Error
            | S::Deploying
            | S::DeployHold
            | S::DeployFailed
            | S::Rescue
            | S::RescueFailed
            | S::UnrescueFailed
            | S::ServiceFailed,
            Verb::Undeploy,
        ) => Some((S::Deleting, S::Available)),
        (S::Rescuing | S::Servicing, Verb::Undeploy) if waiting => Some((S::Deleting, S::Available)),
        (S::Active | S::Rescue | S::RescueFailed | S::UnrescueFailed | S::ServiceFailed, Verb::Rescue) => Some((S::Rescuing, S::Rescue)),
        (S::Rescue | S::RescueFailed | S::UnrescueFailed, Verb::Unrescue) => Some((S::Unrescuing, S::Active)),
        (S::Active | S::ServiceFailed, Verb::Service) => Some((S::Servicing, S::Active)),
        (S::Cleaning | S::Inspecting | S::Rescuing | S::Servicing | S::Deploying, Verb::Abort) if waiting => {
            Some((from.failed(), from.failed()))
        }
        (S::CleanHold | S::DeployHold | S::ServiceHold, Verb::Abort) => Some((from.failed(), from.failed())),
        (S::ServiceFailed, Verb::Abort) => Some((S::Active, S::Active)),
        (S::CleanHold | S::DeployHold | S::ServiceHold, Verb::Unhold) => Some((from.held(), from.held())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cleaning_leads_to_available() {
        for state in ProvisionState::ALL {
            for verb in Verb::ALL {
                for waiting in [false, true] {
                    assert_ne!(transition(*state, waiting, *verb).map(|it| it.0), Some(ProvisionState::Available), "{state:?} {verb:?}");
                }
            }
        }
    }

    #[test]
    fn a_tenant_s_machine_goes_back_only_through_deleting() {
        use ProvisionState as S;
        let tenants = [S::Active, S::Error, S::Rescue, S::RescueFailed, S::UnrescueFailed, S::ServiceFailed, S::Deploying, S::DeployFailed];
        for state in tenants {
            for verb in Verb::ALL {
                if let Some((first, target)) = transition(state, true, *verb)
                    && target == S::Available
                {
                    assert_eq!(first, S::Deleting, "{state:?} {verb:?}");
                }
            }
        }
    }

    #[test]
    fn work_is_interrupted_by_undeploy_and_abort_only() {
        for state in ProvisionState::ALL.iter().filter(|it| it.is_working()) {
            for verb in Verb::ALL.iter().filter(|it| !matches!(it, Verb::Undeploy | Verb::Abort)) {
                assert_eq!(transition(*state, true, *verb), None, "{state:?} {verb:?}");
            }
        }
    }

    #[test]
    fn every_verb_is_read_back() {
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(*verb));
        }
        assert_eq!(Verb::parse("reboot"), None);
    }
}
