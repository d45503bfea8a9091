//! Nodes, their network cards and the agents that run on them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::net::{LocalLink, Port};
use crate::secret::Settings;
use crate::{Column, Id, Kind, Secret, Timestamp};

/// A physical machine.
pub enum Node {}
/// A network card of a machine (Ironic's "port").
pub enum BaremetalPort {}
/// A ramdisk agent that called in; its id is its node's.
pub enum AgentSession {}

/// Where a node stands in its life (Source: Ironic documentation, "Bare Metal State Machine"). The states shown while an agent is
/// awaited (`wait call-back`, `clean wait`) are derived from the phase: see [`shown_state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisionState {
    /// Known by name only.
    #[default]
    Enroll,
    /// Its BMC is being tried.
    Verifying,
    /// Its BMC works; not offered.
    Manageable,
    /// Being erased before it is offered.
    Cleaning,
    /// Erasing failed; isolated until an operator looks.
    CleanFailed,
    /// Offered: erased, isolated, proven so.
    Available,
    /// Being deployed.
    Deploying,
    /// Deploying failed; isolated.
    DeployFailed,
    /// Runs its tenant's image on its tenant's network.
    Active,
    /// Being taken from its tenant.
    Deleting,
}

impl ProvisionState {
    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Verifying => "verifying",
            Self::Manageable => "manageable",
            Self::Cleaning => "cleaning",
            Self::CleanFailed => "clean failed",
            Self::Available => "available",
            Self::Deploying => "deploying",
            Self::DeployFailed => "deploy failed",
            Self::Active => "active",
            Self::Deleting => "deleting",
        }
    }

    /// Whether nothing is going on.
    pub fn is_stable(self) -> bool {
        matches!(self, Self::Enroll | Self::Manageable | Self::CleanFailed | Self::Available | Self::DeployFailed | Self::Active)
    }
}

/// What the engine waits for in a state that is not stable. Deploying and cleaning go through the same phases; a phase says what is
/// awaited, never a position in a script: each is entered again from the start after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is going on.
    #[default]
    Rest,
    /// The BMC answers.
    Bmc,
    /// The machine is off and its tenant's ports are proven isolated.
    Off,
    /// The ramdisk's port on the provisioning network is read back.
    Plug,
    /// The machine is told to boot from the network.
    Boot,
    /// The agent calls in.
    Agent,
    /// The agent writes or erases.
    Work,
    /// The machine is off again.
    Stop,
    /// The provisioning network is proven gone from its port.
    Unplug,
    /// The tenant's ports are read back.
    Tenant,
    /// The machine is told to boot from its disk.
    Start,
}

impl Phase {
    /// For messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Bmc => "bmc",
            Self::Off => "off",
            Self::Plug => "plug",
            Self::Boot => "boot",
            Self::Agent => "agent",
            Self::Work => "work",
            Self::Stop => "stop",
            Self::Unplug => "unplug",
            Self::Tenant => "tenant",
            Self::Start => "start",
        }
    }
}

/// What a user may ask of a node (`PUT …/states/provision {"target": …}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Try the BMC, or take back from being offered.
    Manage,
    /// Erase and offer.
    Provide,
    /// Deploy (`active`).
    Deploy,
    /// Take from its tenant, erase, offer (`deleted`).
    Undeploy,
}

impl Verb {
    /// Reads the API's `target`.
    pub fn parse(target: &str) -> Option<Self> {
        match target {
            "manage" => Some(Self::Manage),
            "provide" => Some(Self::Provide),
            "active" | "deploy" => Some(Self::Deploy),
            "deleted" | "undeploy" => Some(Self::Undeploy),
            _ => None,
        }
    }

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manage => "manage",
            Self::Provide => "provide",
            Self::Deploy => "active",
            Self::Undeploy => "deleted",
        }
    }
}

/// Where a verb leads first and what it aims at, or `None` where it is not allowed
/// (Source: Ironic documentation, "Bare Metal State Machine").
pub fn transition(from: ProvisionState, verb: Verb) -> Option<(ProvisionState, ProvisionState)> {
    use ProvisionState as S;
    match (from, verb) {
        (S::Enroll, Verb::Manage) => Some((S::Verifying, S::Manageable)),
        (S::Available | S::CleanFailed, Verb::Manage) => Some((S::Manageable, S::Manageable)),
        (S::Manageable, Verb::Provide) => Some((S::Cleaning, S::Available)),
        (S::Available | S::DeployFailed, Verb::Deploy) => Some((S::Deploying, S::Active)),
        (S::Active | S::Deploying | S::DeployFailed, Verb::Undeploy) => Some((S::Deleting, S::Available)),
        _ => None,
    }
}

/// A verb asked of a node and not yet taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProvisionRequest {
    /// Grows with each request of a node; taken up once [`NodeObserved::handled`] has reached it.
    pub seq: u64,
    /// What is asked.
    pub verb: Verb,
}

/// Power a user may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerVerb {
    /// `power on`
    On,
    /// `power off`
    Off,
    /// `rebooting`
    Reboot,
}

/// A power change asked of a node and not yet taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerRequest {
    /// As [`ProvisionRequest::seq`], against [`NodeObserved::handled_power`].
    pub seq: u64,
    /// What is asked.
    pub verb: PowerVerb,
}

/// What is wanted of a [`Node`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeDesired {
    /// `redfish`.
    pub driver: String,
    /// How to reach the BMC (`redfish_address`, `redfish_system_id`, `redfish_username`, `redfish_password`) and what to boot
    /// (`deploy_kernel`, `deploy_ramdisk`: image ids).
    #[serde(default)]
    pub driver_info: Settings,
    /// `cpus`, `memory_mb`, `local_gb`, …
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Free for the operator.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// What to deploy: `image_source` (image id), …
    #[serde(default)]
    pub instance_info: Settings,
    /// What occupies it, such as a cluster's id.
    #[serde(default)]
    pub instance_uuid: Option<String>,
    /// What flavors ask for.
    #[serde(default)]
    pub resource_class: Option<String>,
    /// The project that owns it.
    #[serde(default)]
    pub owner: Option<String>,
    /// The project it is lent to.
    #[serde(default)]
    pub lessee: Option<String>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// Hands off: not deployed, not cleaned.
    #[serde(default)]
    pub maintenance: bool,
    /// Why.
    #[serde(default)]
    pub maintenance_reason: Option<String>,
    /// The tenant ports attached to it (`…/vifs`).
    #[serde(default)]
    pub vifs: Vec<Id<Port>>,
    /// The image of the config drive: base64 of gzip of ISO 9660, as Ironic takes it.
    #[serde(default)]
    pub configdrive: Option<Secret>,
    /// The last verb asked.
    #[serde(default)]
    pub request: Option<ProvisionRequest>,
    /// The last power change asked.
    #[serde(default)]
    pub power_request: Option<PowerRequest>,
}

/// The power of a machine as its BMC says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// On.
    On,
    /// Off.
    Off,
}

impl PowerState {
    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "power on",
            Self::Off => "power off",
        }
    }
}

/// A command given to an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentCommand {
    /// The agent's id of it; empty between the decision to give it and the agent's answer.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What was seen of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeObserved {
    /// Where it stands.
    pub state: ProvisionState,
    /// Where it is going.
    pub target: Option<ProvisionState>,
    /// What is awaited.
    pub phase: Phase,
    /// Since when.
    pub phase_since: Timestamp,
    /// Why it is awaited, for operators.
    pub reason: String,
    /// The `seq` of the last request taken up.
    pub handled: u64,
    /// The same for power.
    pub handled_power: u64,
    /// Power as last read.
    pub power: Option<PowerState>,
    /// The last failure.
    pub last_error: Option<String>,
    /// When `state` last changed.
    pub state_since: Option<Timestamp>,
    /// The port on the provisioning network while a ramdisk runs.
    pub ramdisk_port: Option<Id<Port>>,
    /// The command the agent was last given.
    pub command: Option<AgentCommand>,
    /// The power-on of the ramdisk was given at this moment; sessions older than it are of an earlier boot.
    pub booted_at: Option<Timestamp>,
    /// `sha512:…` of the image as read back from the disk in the last deploy.
    pub image_verified: Option<String>,
    /// When the agent last proved the disk to be empty.
    pub erased_at: Option<Timestamp>,
    /// When its switch ports were last proven isolated on release.
    pub isolated_at: Option<Timestamp>,
    /// How often the ramdisk was booted in this job.
    pub boots: u32,
    /// The job failed: the machine is being switched off and unplugged before the failed state is shown.
    pub failing: bool,
}

/// The state users see: a request not yet taken up shows the state it leads to first, and waiting for the agent shows as such.
pub fn shown_state(node: &crate::Object<Node>) -> (&'static str, Option<&'static str>) {
    let seen = &node.observed;
    if let Some(request) = node.desired.request.as_ref().filter(|request| request.seq > seen.handled)
        && let Some((first, target)) = transition(seen.state, request.verb)
    {
        return (first.as_str(), Some(target.as_str()));
    }
    let target = seen.target.map(ProvisionState::as_str);
    match (seen.state, seen.phase) {
        (ProvisionState::Deploying, Phase::Agent) => ("wait call-back", target),
        (ProvisionState::Cleaning, Phase::Agent) => ("clean wait", target),
        (state, _) => (state.as_str(), target),
    }
}

/// Whether a verb or power change is asked and not yet taken up.
pub fn is_busy(node: &crate::Object<Node>) -> bool {
    let seen = &node.observed;
    node.desired.request.as_ref().is_some_and(|it| it.seq > seen.handled) || !seen.state.is_stable()
}

/// What is wanted of a [`BaremetalPort`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaremetalPortDesired {
    /// Its machine.
    pub node_id: Id<Node>,
    /// Its hardware address, lower case with colons. Held in the allocation pool `baremetal-mac`.
    pub address: String,
    /// Whether the machine boots by it.
    pub pxe_enabled: bool,
    /// Where its cable ends.
    #[serde(default)]
    pub local_link_connection: Option<LocalLink>,
    /// Which fabric that is.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// Free for the operator.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// An agent that called in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSessionDesired {
    /// What agent and control plane show each other.
    pub token: Secret,
    /// Where the agent takes commands; `None` until the first heartbeat.
    #[serde(default)]
    pub callback_url: Option<String>,
    /// Its certificate.
    #[serde(default)]
    pub verify_ca: Option<String>,
    /// The last heartbeat.
    #[serde(default)]
    pub heartbeat_at: Option<Timestamp>,
    /// The agent's own version.
    #[serde(default)]
    pub agent_version: Option<String>,
}

impl Kind for Node {
    const NAME: &'static str = "node";
    type Desired = NodeDesired;
    type Observed = NodeObserved;
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "provision_state", value: |it| Some(it.observed.state.as_str().to_owned()) },
        Column { name: "resource_class", value: |it| it.desired.resource_class.clone() },
        Column { name: "instance_uuid", value: |it| it.desired.instance_uuid.clone() },
    ];
}

impl Kind for BaremetalPort {
    const NAME: &'static str = "baremetal_port";
    type Desired = BaremetalPortDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "node_id", value: |it| Some(it.desired.node_id.to_string()) },
        Column { name: "address", value: |it| Some(it.desired.address.clone()) },
    ];
}

impl Kind for AgentSession {
    const NAME: &'static str = "agent_session";
    type Desired = AgentSessionDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_working_state_but_undeploy() {
        for state in [ProvisionState::Verifying, ProvisionState::Cleaning, ProvisionState::Deleting] {
            for verb in [Verb::Manage, Verb::Provide, Verb::Deploy, Verb::Undeploy] {
                assert_eq!(transition(state, verb), None, "{state:?} {verb:?}");
            }
        }
    }

    #[test]
    fn only_cleaning_leads_to_available() {
        for state in [ProvisionState::Enroll, ProvisionState::Manageable, ProvisionState::Active, ProvisionState::CleanFailed] {
            for verb in [Verb::Manage, Verb::Provide, Verb::Deploy, Verb::Undeploy] {
                assert_ne!(transition(state, verb).map(|it| it.0), Some(ProvisionState::Available));
            }
        }
    }
}
