//! Machines: from enrolment to service and back through erasing.
//!
//! Law of the place: a machine whose network is managed changes hands only while it is off, and goes on only after its switch ports
//! were read back. All jobs share one sequence of phases (see [`Phase`]), each leaving out what it does not need; each phase is entered
//! by looking, so that a crash anywhere costs at most the repetition of one phase. Steps are written down before and after.

mod agent;
mod children;
mod deadlines;
mod isolation;
mod limits;
mod plan;
mod power;
mod restart;
mod steps;
mod supply;
#[cfg(test)]
mod tests;
mod verbs;
mod verify;
mod wires;
mod work;

use std::time::Duration;

use drivers::bmc::{Bmc, BmcError, HardwareConfig, PowerAction};
use model::baremetal::{
    BaremetalPort, Interface, Node, NodeFault, Phase, PowerState, ProvisionState, StepState, Verb, is_asked, shown_state,
};
use model::{Object, Timestamp};
use serde_json::json;
use store::{Batch, Facts, Query, Severity};

use crate::runtime::{Cx, Fault, Look, Next};

/// How soon a condition outside is looked at again.
const SOON: Duration = Duration::from_millis(200);
const WAIT: Duration = Duration::from_millis(700);
/// How often a ramdisk is booted without getting on before the job has failed.
const MAX_BOOTS: u32 = 3;
/// How long a BMC may fail to answer before enrolling it is given up, in seconds.
const BMC_LIMIT: f64 = 30.0;
/// How long a job that failed waits for a silent BMC before it goes on by isolating the machine while it may be on, in seconds.
const FAILING_LIMIT: f64 = 120.0;

pub(crate) use deadlines::LOOK_LIMIT;
pub(crate) use steps::LARGE_DRIVES;

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(node) = cx.load::<Node>().await? else {
        cx.store.apply(limits::free_all(cx.facts(), &cx.claim.id)).await?;
        return Ok(Next::Gone);
    };
    let limit = cx.machine_look;
    match tokio::time::timeout(limit, Box::pin(look(cx, node))).await {
        Ok(Err(fault @ (Fault::Silent(_) | Fault::Outside(_)))) => Box::pin(deadlines::unanswered(cx, fault)).await,
        Ok(look) => look,
        Err(_) => Box::pin(deadlines::unanswered(cx, Fault::Silent(format!("did not end within {limit:?}")))).await,
    }
}

async fn look(cx: &Cx, mut node: Object<Node>) -> Look {
    let goes_on = node.observed.phase != Phase::Rest || node.observed.power_began.is_some() || node.observed.supply_since.is_some();
    if goes_on && node.observed.not_after(Timestamp::now()) {
        cx.store.apply(cx.facts().observe(&node)).await?;
        node.revision += 1;
    }
    let cards = cx.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
    let look = Machine { cx, node: Box::new(node), cards, wants: false, held: None };
    if let Some(request) = look.node.desired.request.clone().filter(|it| it.seq > look.node.observed.handled) {
        return Box::pin(look.take_up(request)).await;
    }
    if look.node.observed.state.is_hold() {
        return Box::pin(look.rest()).await;
    }
    match look.node.observed.phase {
        Phase::Rest => Box::pin(look.rest()).await,
        Phase::Bmc => Box::pin(look.bmc_answers()).await,
        Phase::Place => Box::pin(look.place()).await,
        Phase::Off => Box::pin(look.off()).await,
        Phase::Before => Box::pin(look.before()).await,
        Phase::Plug => Box::pin(look.plug()).await,
        Phase::Boot => Box::pin(look.boot()).await,
        Phase::Agent => Box::pin(look.agent()).await,
        Phase::Work => Box::pin(look.work()).await,
        Phase::Stop => Box::pin(look.stop()).await,
        Phase::Unplug => Box::pin(look.unplug()).await,
        Phase::Tenant => Box::pin(look.tenant()).await,
        Phase::Start => Box::pin(look.start()).await,
    }
}

/// One look at one machine.
struct Machine<'a> {
    cx: &'a Cx,
    /// On the heap: looks are futures within futures, each of which would hold its own copy.
    node: Box<Object<Node>>,
    cards: Vec<Object<BaremetalPort>>,
    /// `desired` was changed and is to be written too.
    wants: bool,
    /// The other nodes for whose sake it is not switched off, and how soon to look again.
    held: Option<(String, Duration)>,
}

impl Machine<'_> {
    /// A batch that writes the machine as it is held here.
    fn batch(&self) -> Batch<Facts> {
        let batch = self.cx.facts();
        if !self.wants {
            return batch.observe(&self.node);
        }
        let mut then = self.node.clone();
        then.revision += 1;
        batch.want(&self.node).observe(&then)
    }

    /// Writes the machine, so that more can be written in the same look.
    async fn save(&mut self) -> Result<(), Fault> {
        self.save_with(|batch| batch).await
    }

    async fn save_with(&mut self, more: impl FnOnce(Batch<Facts>) -> Batch<Facts>) -> Result<(), Fault> {
        let batch = more(self.batch());
        self.cx.store.apply(batch).await?;
        self.node.revision += if self.wants { 2 } else { 1 };
        self.wants = false;
        Ok(())
    }

    /// Writes the next phase (and state) with a line of history when the state changes.
    async fn go(self, state: ProvisionState, phase: Phase, reason: &str) -> Look {
        self.go_with(state, phase, reason, |batch| batch).await
    }

    async fn go_with(mut self, state: ProvisionState, phase: Phase, reason: &str, more: impl FnOnce(Batch<Facts>) -> Batch<Facts>) -> Look {
        let now = Timestamp::now();
        let seen = &mut self.node.observed;
        let from = seen.state;
        let was = seen.phase;
        let took = now.seconds_since(seen.phase_since);
        let lasted = now.seconds_since(seen.state_since.unwrap_or(seen.phase_since));
        seen.state = state;
        seen.phase = phase;
        seen.phase_since = now;
        seen.supply_since = None;
        seen.reason = reason.to_owned();
        if seen.conductor.as_ref() != Some(&self.cx.conductor.host) {
            seen.conductor = Some(self.cx.conductor.host.clone());
        }
        if from != state {
            seen.state_since = Some(now);
        }
        let mut batch = more(self.batch());
        if from != state {
            let event = format!("{} -> {}", from.as_str(), state.as_str());
            let failed = self.node.observed.failing || (state == from.failed() && self.node.observed.last_error.is_some());
            let severity = if failed { Severity::Error } else { Severity::Info };
            let (shown, target) = shown_state(&self.node);
            // Who asked for the verb that this is a part of.
            let asked = self.node.desired.request.as_ref().filter(|it| it.seq <= self.node.observed.handled);
            let detail = json!({
                "user": asked.and_then(|it| it.user.as_ref()), "project": asked.and_then(|it| it.project.as_ref()), "reason": reason, "from": from.as_str(), "state": shown, "target": target, "duration_seconds": lasted,
                "verb": self.node.observed.verb.map(Verb::as_str), "conductor": self.cx.conductor.host,
            });
            batch = batch.history(&self.node.id, severity, &event, &detail);
            if let Some(owner) = &self.node.desired.instance_uuid {
                use model::Kind as _;
                batch = batch.wake_named(model::container_infra::Cluster::NAME, owner);
            }
        }
        if phase == Phase::Rest && was != Phase::Rest {
            batch = self.free_place(batch).await?;
        }
        self.cx.store.apply(batch).await?;
        tracing::info!(
            node.id = %self.node.id, node.name = self.node.name, state = state.as_str(), phase = phase.as_str(), took_s = took, reason, "node goes on"
        );
        Ok(if (phase == Phase::Rest || state.is_hold()) && !is_asked(&self.node) { Next::Gone } else { Next::Again(Duration::ZERO) })
    }

    async fn phase(self, phase: Phase, reason: &str) -> Look {
        let state = self.node.observed.state;
        self.go(state, phase, reason).await
    }

    /// Still waiting for the same; the reason is shown to operators.
    async fn wait(mut self, reason: &str, after: Duration) -> Look {
        if self.node.observed.reason != reason {
            self.node.observed.reason = reason.to_owned();
            self.save().await?;
        }
        Ok(Next::Again(after))
    }

    /// The job cannot be done: the machine is switched off and unplugged, then shown as failed.
    async fn fail(mut self, why: &str) -> Look {
        tracing::error!(node.id = %self.node.id, node.name = self.node.name, why, "the job on the node failed; isolating it");
        self.node.observed.failing = true;
        self.node.observed.aborting = false;
        self.node.observed.last_error = Some(why.to_owned());
        if self.is_hands_off() {
            return self.failed().await;
        }
        self.phase(Phase::Stop, why).await
    }

    /// Nothing is under way on the machine any more: shows the failed state.
    async fn failed(mut self) -> Look {
        let seen = &mut self.node.observed;
        let aborted = std::mem::take(&mut seen.aborting);
        seen.failing = false;
        seen.command = None;
        let why = seen.last_error.clone().unwrap_or_default();
        let state = match seen.state {
            ProvisionState::Enroll | ProvisionState::Verifying => {
                seen.target = None;
                ProvisionState::Enroll
            }
            other => other.failed(),
        };
        seen.inspection_started_at = seen.inspection_started_at.filter(|_| state != ProvisionState::InspectFailed);
        // Ironic's rule: maintenance if a step was being done.
        let in_step = seen.job.current().is_some_and(|(_, it)| matches!(it.progress, StepState::Begun { .. }));
        let fault = match state {
            _ if aborted || !in_step => None,
            ProvisionState::CleanFailed => Some(NodeFault::CleanFailure),
            ProvisionState::ServiceFailed => Some(NodeFault::ServiceFailure),
            _ => None,
        };
        if let Some(fault) = fault {
            seen.fault = Some(fault);
            self.node.desired.maintenance = true;
            self.node.desired.maintenance_reason = Some(why.clone());
            self.wants = true;
        }
        self.go(state, Phase::Rest, &why).await
    }

    /// The job is done.
    async fn finish(mut self, reason: &str) -> Look {
        let seen = &mut self.node.observed;
        let state = match seen.state {
            ProvisionState::Verifying => ProvisionState::Manageable,
            ProvisionState::Inspecting => {
                seen.inspection_finished_at = Some(Timestamp::now());
                seen.inspection_started_at = None;
                ProvisionState::Manageable
            }
            // What is retired is offered to nobody.
            ProvisionState::Cleaning if seen.job.given || self.node.desired.retired.on => ProvisionState::Manageable,
            ProvisionState::Cleaning => ProvisionState::Available,
            ProvisionState::Rescuing => ProvisionState::Rescue,
            ProvisionState::Deploying
            | ProvisionState::Adopting
            | ProvisionState::Unrescuing
            | ProvisionState::Servicing
            | ProvisionState::Active => ProvisionState::Active,
            other => other,
        };
        seen.target = None;
        seen.command = None;
        if state == ProvisionState::Rescue && self.node.desired.rescue_password.is_some() {
            self.node.desired.rescue_password = None;
            self.wants = true;
        }
        let told = self.node.observed.job.steps.iter().any(|it| matches!(it.step.interface.as_str(), "bios" | "firmware"));
        let facts = if told { self.read_facts().await? } else { Vec::new() };
        self.go_with(state, Phase::Rest, reason, |batch| facts.into_iter().fold(batch, |batch, it| it.write(batch))).await
    }

    fn waited(&self) -> f64 {
        Timestamp::now().seconds_since(self.node.observed.phase_since)
    }

    fn interface(&self, interface: Interface) -> &str {
        self.node.desired.interface(interface)
    }

    /// Whether its network is managed: then nothing goes on without proof by the switches.
    fn is_wired(&self) -> bool {
        self.interface(Interface::Network) == "neutron"
    }

    /// Whether agents do its deployments.
    fn has_agent(&self) -> bool {
        matches!(self.interface(Interface::Deploy), "direct" | "ramdisk" | "custom-agent")
    }

    /// Whether the job under way touches neither power nor network.
    fn is_hands_off(&self) -> bool {
        let job = &self.node.observed.job;
        match self.node.observed.state {
            ProvisionState::Enroll | ProvisionState::Verifying => true,
            ProvisionState::Cleaning | ProvisionState::CleanHold | ProvisionState::Servicing | ProvisionState::ServiceHold if job.given => {
                job.no_ramdisk
            }
            ProvisionState::Inspecting => job.no_ramdisk,
            ProvisionState::Adopting => false,
            _ => !self.is_wired() && !self.has_agent(),
        }
    }

    fn bmc(&self) -> Result<Box<dyn Bmc>, BmcError> {
        let desired = &self.node.desired;
        self.cx.outside.bmc(hardware(&self.node, desired))
    }

    /// Still being switched off, or others are before it is.
    async fn going_off(mut self, reason: &str) -> Look {
        let (why, after) = self.held.take().unwrap_or_else(|| (reason.to_owned(), SOON));
        self.wait(&why, after).await
    }

    /// Brings the machine to rest, after those that have their power from it. True once its BMC says that it is off. A machine that is never
    /// switched off counts as off: what isolates it is its switch.
    async fn is_off(&mut self) -> Result<bool, Fault> {
        if self.node.desired.disable_power_off {
            return Ok(true);
        }
        let bmc = self.bmc().map_err(Fault::bmc)?;
        let power = bmc.power().await.map_err(Fault::bmc)?;
        let mut off = power == drivers::bmc::PowerState::Off;
        if power == drivers::bmc::PowerState::On {
            self.held = self.fed_off_for_job().await?;
            if self.held.is_some() {
                return Ok(false);
            }
            bmc.set_power(PowerAction::Off).await.map_err(Fault::bmc)?;
            // Nobody can be asked: what was ordered is what is.
            off = self.interface(Interface::Power) == "fake";
        }
        if off {
            self.node.observed.power = Some(PowerState::Off);
        }
        Ok(off)
    }

    /// [`Machine::is_off`], which gives up on a BMC that is silent for too long.
    async fn off_or_late(&mut self) -> Result<Result<bool, String>, Fault> {
        match self.is_off().await {
            Ok(off) if !off && self.is_overdue() => {
                Ok(Err(self.held.take().map_or_else(|| "the machine did not go off".to_owned(), |it| it.0)))
            }
            Ok(off) => Ok(Ok(off)),
            Err(fault @ (Fault::Silent(_) | Fault::Outside(_))) if self.is_overdue() => Ok(Err(fault.to_string())),
            Err(fault) => Err(fault),
        }
    }
}

/// What a node's hardware is reached by.
pub(crate) fn hardware(node: &Object<Node>, desired: &model::baremetal::NodeDesired) -> HardwareConfig {
    HardwareConfig {
        node: node.id.to_string(),
        driver: desired.driver.clone(),
        interfaces: Interface::ALL.iter().map(|it| (*it, desired.interface(*it).to_owned())).collect(),
        info: desired.driver_info.clone(),
        properties: desired.properties.clone(),
        target_raid_config: desired.target_raid_config.clone(),
        power: node.observed.power.map(|it| match it {
            PowerState::On => drivers::bmc::PowerState::On,
            PowerState::Off => drivers::bmc::PowerState::Off,
        }),
    }
}
