//! Nodes: what is wanted of a machine and what was seen of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::drive::DriveOf;
use super::hardware::{Interface, hardware_type};
use super::state::{ProvisionState, Verb, transition};
use super::step::{Job, Runbook, Step, StepState};
use super::{Allocation, Chassis};
use crate::net::Port;
use crate::secret::Settings;
use crate::{Column, Id, Kind, Object, Secret, Timestamp};

/// A physical machine.
pub enum Node {}

/// The work, by a node's id, of holding its console.
pub const CONSOLE_WORK: &str = "node_console";

/// What the engine waits for in a state that works. All jobs go through these in the order they stand here, each leaving out what
/// it does not need; a phase says what is awaited, never a position in a script: each is entered again from the start after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is going on.
    #[default]
    Rest,
    /// The BMC answers.
    Bmc,
    /// A place among the jobs that may run at once.
    Place,
    /// The machine is off and its tenant's ports are proven isolated.
    Off,
    /// The driver's own steps that come before the ramdisk are done.
    Before,
    /// The ramdisk's port on the provisioning network is read back.
    Plug,
    /// The machine is told to boot from the network.
    Boot,
    /// The agent calls in.
    Agent,
    /// The agent's and the driver's steps are done.
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
            Self::Place => "place",
            Self::Off => "off",
            Self::Before => "before",
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

/// A verb asked of a node and not yet taken up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvisionRequest {
    /// Grows with each request of a node; taken up once [`NodeObserved::handled`] has reached it.
    pub seq: u64,
    /// What is asked.
    pub verb: Verb,
    /// The steps that came with it (`clean_steps`, `deploy_steps`, `service_steps`, or a runbook's), in their order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The runbook they are of.
    #[serde(default)]
    pub runbook: Option<Id<Runbook>>,
    /// No ramdisk is to be booted for the steps.
    #[serde(default)]
    pub disable_ramdisk: bool,
    /// The id of the user who asks; `None`: nobody in particular, such as a cluster.
    #[serde(default)]
    pub user: Option<String>,
    /// The id of the project that user acts for.
    #[serde(default)]
    pub project: Option<String>,
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
    /// `soft power off`
    SoftOff,
    /// `soft rebooting`
    SoftReboot,
}

/// How far a power change that was begun is, so that whoever goes on after a death gives no order too few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerPhase {
    /// Its BMC may have been told or not.
    #[default]
    Begun,
    /// Its BMC was told.
    Told,
    /// It was to be restarted and was seen off: it is to be switched on.
    SeenOff,
}

impl PowerVerb {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "power on",
            Self::Off => "power off",
            Self::Reboot => "rebooting",
            Self::SoftOff => "soft power off",
            Self::SoftReboot => "soft rebooting",
        }
    }

    /// The power that it aims at.
    pub fn target(self) -> PowerState {
        match self {
            Self::On | Self::Reboot | Self::SoftReboot => PowerState::On,
            Self::Off | Self::SoftOff => PowerState::Off,
        }
    }
}

/// A power change asked of a node and not yet taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerRequest {
    /// As [`ProvisionRequest::seq`], against [`NodeObserved::handled_power`].
    pub seq: u64,
    /// What is asked.
    pub verb: PowerVerb,
    /// How long the operating system may take to shut down, in seconds.
    #[serde(default)]
    pub timeout_seconds: Option<u32>,
    /// The node for whose sake it is asked; `None`: a user asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<AskedBy>,
}

/// A node that has the power of another changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// Which.
    pub node: Id<Node>,
    /// Its [`NodeObserved::supply_since`] of that moment: with another it does not wait for this any more, and nothing is changed.
    /// `None`: a step of it asks, which waits until the change is over.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

/// A boot mode or secure boot asked of a node and not yet taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootModeRequest {
    /// As [`ProvisionRequest::seq`], against [`NodeObserved::handled_boot_mode`].
    pub seq: u64,
    /// `uefi` or `bios`.
    #[serde(default)]
    pub boot_mode: Option<String>,
    /// Secure boot on or off.
    #[serde(default)]
    pub secure_boot: Option<bool>,
}

/// Why something holds for a node, and that it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Marked {
    /// Whether it holds.
    pub on: bool,
    /// Why.
    pub reason: Option<String>,
}

/// What is as it is at first is not written down: of a machine at rest that is most, and lists read many.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wanted of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDesired {
    /// Its hardware type: see [`super::hardware::TYPES`].
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// The implementations chosen; an interface that is not named has its type's default.
    #[serde(skip_serializing_if = "is_default")]
    pub interfaces: BTreeMap<Interface, String>,
    /// How to reach the BMC (`redfish_address`, `redfish_system_id`, `redfish_username`, `redfish_password`) and what to boot
    /// (`deploy_kernel`, `deploy_ramdisk`: image ids).
    #[serde(skip_serializing_if = "is_default")]
    pub driver_info: Settings,
    /// `cpus`, `memory_mb`, `local_gb`, …
    #[serde(skip_serializing_if = "is_default")]
    pub properties: Map<String, Value>,
    /// Free for the operator.
    #[serde(skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
    /// What to deploy: `image_source` (image id), …
    #[serde(skip_serializing_if = "is_default")]
    pub instance_info: Settings,
    /// What occupies it, such as a cluster's id.
    #[serde(skip_serializing_if = "is_default")]
    pub instance_uuid: Option<String>,
    /// Its occupant's name.
    #[serde(skip_serializing_if = "is_default")]
    pub instance_name: Option<String>,
    /// What flavors ask for.
    #[serde(skip_serializing_if = "is_default")]
    pub resource_class: Option<String>,
    /// What it can: `CUSTOM_…` and names of the standard list.
    #[serde(skip_serializing_if = "is_default")]
    pub traits: BTreeSet<String>,
    /// The project that owns it.
    #[serde(skip_serializing_if = "is_default")]
    pub owner: Option<String>,
    /// The project it is lent to.
    #[serde(skip_serializing_if = "is_default")]
    pub lessee: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "is_default")]
    pub description: Option<String>,
    /// The enclosure it sits in.
    #[serde(skip_serializing_if = "is_default")]
    pub chassis_id: Option<Id<Chassis>>,
    /// The node it is part of.
    #[serde(skip_serializing_if = "is_default")]
    pub parent_node: Option<Id<Node>>,
    /// The group of control planes that may work on it.
    #[serde(skip_serializing_if = "is_default")]
    pub conductor_group: String,
    /// The group of clients that look after it.
    #[serde(skip_serializing_if = "is_default")]
    pub shard: Option<String>,
    /// What its ramdisk is told of its network, in the form of `network_data.json`.
    #[serde(skip_serializing_if = "is_default")]
    pub network_data: Map<String, Value>,
    /// Whether it is cleaned before it is offered; `None`: as the service is set.
    #[serde(skip_serializing_if = "is_default")]
    pub automated_clean: Option<bool>,
    /// It is never switched off, only restarted.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_power_off: bool,
    /// Hands off: not deployed, not cleaned.
    #[serde(skip_serializing_if = "is_default")]
    pub maintenance: bool,
    /// Why.
    #[serde(skip_serializing_if = "is_default")]
    pub maintenance_reason: Option<String>,
    /// Not to be rebuilt or taken from its tenant.
    #[serde(skip_serializing_if = "is_default")]
    pub protected: Marked,
    /// Not to be offered again.
    #[serde(skip_serializing_if = "is_default")]
    pub retired: Marked,
    /// The RAID sets wanted of it (`…/states/raid`).
    #[serde(skip_serializing_if = "is_default")]
    pub target_raid_config: Map<String, Value>,
    /// Whether its console is wanted.
    #[serde(skip_serializing_if = "is_default")]
    pub console_enabled: bool,
    /// Grows each time that is changed: an address of the console holds for one time only.
    #[serde(skip_serializing_if = "is_default")]
    pub console_seq: u64,
    /// The password of the rescue ramdisk, until it was handed over.
    #[serde(skip_serializing_if = "is_default")]
    pub rescue_password: Option<Secret>,
    /// The tenant ports attached to it (`…/vifs`).
    #[serde(skip_serializing_if = "is_default")]
    pub vifs: Vec<Id<Port>>,
    /// The image of the config drive, as Ironic takes it, where it is made here and small: base64 of gzip of ISO 9660.
    #[serde(skip_serializing_if = "is_default")]
    pub configdrive: Option<Secret>,
    /// The config drive that it was given, which lies apart: it may be large.
    #[serde(skip_serializing_if = "is_default")]
    pub drive: Option<DriveOf>,
    /// The allocation that chose it.
    #[serde(skip_serializing_if = "is_default")]
    pub allocation_id: Option<Id<Allocation>>,
    /// The last verb asked.
    #[serde(skip_serializing_if = "is_default")]
    pub request: Option<ProvisionRequest>,
    /// The last power change asked.
    #[serde(skip_serializing_if = "is_default")]
    pub power_request: Option<PowerRequest>,
    /// The last boot mode asked.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_mode_request: Option<BootModeRequest>,
}

impl NodeDesired {
    /// The implementation of an interface: the chosen one or its type's default.
    pub fn interface(&self, interface: Interface) -> &str {
        match self.interfaces.get(&interface) {
            Some(name) => name,
            None => hardware_type(&self.driver).and_then(|it| it.default_of(interface)).unwrap_or_default(),
        }
    }
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

/// What is the matter with a node that put it in maintenance by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeFault {
    /// Its BMC does not answer.
    PowerFailure,
    /// Cleaning failed.
    CleanFailure,
    /// Rescuing could not be ended.
    RescueAbortFailure,
    /// Servicing failed.
    ServiceFailure,
}

impl NodeFault {
    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerFailure => "power failure",
            Self::CleanFailure => "clean failure",
            Self::RescueAbortFailure => "rescue abort failure",
            Self::ServiceFailure => "service failure",
        }
    }
}

/// What was seen of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeObserved {
    /// Where it stands.
    #[serde(skip_serializing_if = "is_default")]
    pub state: ProvisionState,
    /// Where it is going.
    #[serde(skip_serializing_if = "is_default")]
    pub target: Option<ProvisionState>,
    /// What is awaited.
    #[serde(skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// Since when.
    #[serde(skip_serializing_if = "is_default")]
    pub phase_since: Timestamp,
    /// Why it is awaited, for operators.
    #[serde(skip_serializing_if = "is_default")]
    pub reason: String,
    /// The verb that began the job.
    #[serde(skip_serializing_if = "is_default")]
    pub verb: Option<Verb>,
    /// The steps of the job.
    #[serde(skip_serializing_if = "is_default")]
    pub job: Job,
    /// The `seq` of the last request taken up.
    #[serde(skip_serializing_if = "is_default")]
    pub handled: u64,
    /// The same for power.
    #[serde(skip_serializing_if = "is_default")]
    pub handled_power: u64,
    /// The same for boot modes.
    #[serde(skip_serializing_if = "is_default")]
    pub handled_boot_mode: u64,
    /// When the power change last asked was begun, until it ended.
    #[serde(skip_serializing_if = "is_default")]
    pub power_began: Option<Timestamp>,
    /// How far that is.
    #[serde(skip_serializing_if = "is_default")]
    pub power_phase: PowerPhase,
    /// Since when it has the power of its parent or of its children seen to before its own is changed; while it does, its children begin
    /// nothing that needs its power.
    #[serde(skip_serializing_if = "is_default")]
    pub supply_since: Option<Timestamp>,
    /// Power as last read.
    #[serde(skip_serializing_if = "is_default")]
    pub power: Option<PowerState>,
    /// `uefi` or `bios` as last read.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_mode: Option<String>,
    /// Secure boot as last read.
    #[serde(skip_serializing_if = "is_default")]
    pub secure_boot: Option<bool>,
    /// How often in a row its power could not be read.
    #[serde(skip_serializing_if = "is_default")]
    pub power_failures: u32,
    /// `OK`, `Warning`, `Critical` as its BMC says.
    #[serde(skip_serializing_if = "is_default")]
    pub health: Option<String>,
    /// Why it is in maintenance by itself.
    #[serde(skip_serializing_if = "is_default")]
    pub fault: Option<NodeFault>,
    /// The last failure.
    #[serde(skip_serializing_if = "is_default")]
    pub last_error: Option<String>,
    /// When `state` last changed.
    #[serde(skip_serializing_if = "is_default")]
    pub state_since: Option<Timestamp>,
    /// When it was last inspected: begun.
    #[serde(skip_serializing_if = "is_default")]
    pub inspection_started_at: Option<Timestamp>,
    /// And ended.
    #[serde(skip_serializing_if = "is_default")]
    pub inspection_finished_at: Option<Timestamp>,
    /// The RAID sets as last made or read.
    #[serde(skip_serializing_if = "is_default")]
    pub raid_config: Map<String, Value>,
    /// Where its console is, while it is on; whoever knows this is let in.
    #[serde(skip_serializing_if = "is_default")]
    pub console: Option<Secret>,
    /// The port on the provisioning network while a ramdisk runs.
    #[serde(skip_serializing_if = "is_default")]
    pub ramdisk_port: Option<Id<Port>>,
    /// The command the agent was last given.
    #[serde(skip_serializing_if = "is_default")]
    pub command: Option<AgentCommand>,
    /// The power-on of the ramdisk was given at this moment; sessions older than it are of an earlier boot.
    #[serde(skip_serializing_if = "is_default")]
    pub booted_at: Option<Timestamp>,
    /// `sha512:…` of the image as read back from the disk in the last deploy.
    #[serde(skip_serializing_if = "is_default")]
    pub image_verified: Option<String>,
    /// When the agent last proved the disk to be empty.
    #[serde(skip_serializing_if = "is_default")]
    pub erased_at: Option<Timestamp>,
    /// When its switch ports were read back as isolated on its last release: the oldest of those readings. None if an operator's word
    /// stood in for one of them.
    #[serde(skip_serializing_if = "is_default")]
    pub isolated_at: Option<Timestamp>,
    /// When its ramdisk last proved by its TPM what it had booted.
    #[serde(skip_serializing_if = "is_default")]
    pub attested_at: Option<Timestamp>,
    /// The attestation key it proved that with: base64 of its `TPMT_PUBLIC`.
    #[serde(skip_serializing_if = "is_default")]
    pub attestation_key: Option<String>,
    /// A machine that is never switched off was restarted at this moment, isolated, so that what it ran does not see the provisioning
    /// network.
    #[serde(skip_serializing_if = "is_default")]
    pub restarted_at: Option<Timestamp>,
    /// How often the ramdisk was booted in this job.
    #[serde(skip_serializing_if = "is_default")]
    pub boots: u32,
    /// The job failed: the machine is being switched off and unplugged before the failed state is shown.
    #[serde(skip_serializing_if = "is_default")]
    pub failing: bool,
    /// The job is being given up on request: as `failing`, with no error.
    #[serde(skip_serializing_if = "is_default")]
    pub aborting: bool,
    /// The host name of the conductor that last took the node a step further.
    #[serde(skip_serializing_if = "is_default")]
    pub conductor: Option<String>,
}

impl NodeObserved {
    /// Whether only an agent is awaited, or a step that somebody else does: the states that Ironic shows as `… wait`.
    pub fn is_waiting(&self) -> bool {
        let step = || self.job.current().is_some_and(|(_, it)| matches!(it.progress, StepState::Begun { .. }));
        let waits = self.phase == Phase::Agent || (matches!(self.phase, Phase::Before | Phase::Work) && step());
        waits && !self.failing && !self.aborting
    }

    /// Moves beginnings that lie after `now` there: the clock was set back since, and deadlines must not wait for the old time to come
    /// again. Returns whether there were any.
    pub fn not_after(&mut self, now: Timestamp) -> bool {
        let begun = self.job.steps.iter_mut().filter_map(|it| match &mut it.progress {
            StepState::Begun { at, .. } => Some(at),
            StepState::Pending | StepState::Done { .. } => None,
        });
        let optional = [&mut self.power_began, &mut self.supply_since, &mut self.state_since, &mut self.restarted_at].into_iter().flatten();
        let mut any = false;
        for at in begun.chain(optional).chain([&mut self.phase_since]).filter(|at| **at > now) {
            *at = now;
            any = true;
        }
        any
    }
}

/// Whether something is asked of the machine that was not taken up or is not over: a verb, power, a boot mode, or that its fault be forgotten.
pub fn is_asked(node: &Object<Node>) -> bool {
    let (desired, seen) = (&node.desired, &node.observed);
    desired.request.as_ref().is_some_and(|it| it.seq > seen.handled)
        || desired.power_request.as_ref().is_some_and(|it| it.seq > seen.handled_power)
        || desired.boot_mode_request.as_ref().is_some_and(|it| it.seq > seen.handled_boot_mode)
        || (seen.fault.is_some() && !desired.maintenance)
}

/// The state users see: a request not yet taken up shows the state it leads to first, and waiting for the agent shows as such.
pub fn shown_state(node: &Object<Node>) -> (&'static str, Option<&'static str>) {
    let seen = &node.observed;
    if let Some(request) = node.desired.request.as_ref().filter(|request| request.seq > seen.handled)
        && let Some((first, target)) = transition(seen.state, seen.is_waiting(), request.verb)
    {
        return (first.as_str(), Some(target.as_str()).filter(|_| !first.is_stable()));
    }
    let target = seen.target.map(ProvisionState::as_str);
    match seen.is_waiting() {
        true => (seen.state.waiting_str(), target),
        false => (seen.state.as_str(), target),
    }
}

/// The node that a node has its power from: its parent, unless `driver_info.has_dedicated_power_supply` says that it has its own
/// (Source: Ironic, `node_power_action`; what is not a boolean counts as Ironic's settings do).
pub fn supplier(node: &Object<Node>) -> Option<&Id<Node>> {
    let own = match node.desired.driver_info.0.get("has_dedicated_power_supply") {
        Some(Value::Bool(own)) => *own,
        Some(Value::String(text)) => ["true", "yes", "on", "t", "y", "1"].contains(&text.trim().to_ascii_lowercase().as_str()),
        Some(Value::Number(number)) => number.as_f64().is_some_and(|it| it != 0.0),
        _ => false,
    };
    node.desired.parent_node.as_ref().filter(|parent| !own && **parent != node.id)
}

/// Whether a verb or power change is asked and not yet taken up, or work is under way.
pub fn is_busy(node: &Object<Node>) -> bool {
    let seen = &node.observed;
    node.desired.request.as_ref().is_some_and(|it| it.seq > seen.handled) || seen.state.is_working()
}

impl Kind for Node {
    const NAME: &'static str = "node";
    type Desired = NodeDesired;
    type Observed = NodeObserved;
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "provision_state", value: |it| Some(shown_state(it).0.to_owned()) },
        Column { name: "resource_class", value: |it| it.desired.resource_class.clone() },
        Column { name: "instance_uuid", value: |it| it.desired.instance_uuid.clone() },
        Column { name: "driver", value: |it| Some(it.desired.driver.clone()) },
        Column { name: "owner", value: |it| it.desired.owner.clone() },
        Column { name: "lessee", value: |it| it.desired.lessee.clone() },
        Column { name: "chassis_id", value: |it| it.desired.chassis_id.as_ref().map(ToString::to_string) },
        Column { name: "parent_node", value: |it| it.desired.parent_node.as_ref().map(ToString::to_string) },
        Column { name: "conductor_group", value: |it| Some(it.desired.conductor_group.clone()) },
        Column { name: "shard", value: |it| it.desired.shard.clone() },
        Column { name: "allocation_id", value: |it| it.desired.allocation_id.as_ref().map(ToString::to_string) },
    ];
    const SCANNED: &'static [&'static str] = &["driver", "conductor_group"];

    fn has_work(node: &Object<Self>) -> bool {
        node.observed.phase != Phase::Rest || is_asked(node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn beginnings_in_the_future_are_pulled_back_and_no_others() {
        let (past, now, future) = (Timestamp(1), Timestamp(2), Timestamp(3));
        let mut seen = NodeObserved { phase_since: past, state_since: Some(past), power_began: None, ..NodeObserved::default() };
        assert!(!seen.not_after(now));
        assert_eq!((seen.phase_since, seen.state_since, seen.power_began), (past, Some(past), None));
        seen.phase_since = future;
        seen.power_began = Some(future);
        assert!(seen.not_after(now));
        assert_eq!((seen.phase_since, seen.state_since, seen.power_began), (now, Some(past), Some(now)));
    }

    #[test]
    fn where_power_comes_from() {
        let (parent, other) = (Id::random(), Id::random());
        let mut node: Object<Node> = Object::new(other.clone(), None, "", NodeDesired::default());
        assert_eq!(supplier(&node), None);
        node.desired.parent_node = Some(parent.clone());
        assert_eq!(supplier(&node), Some(&parent));
        for (value, own) in
            [(json!(true), true), (json!("Yes"), true), (json!(1), true), (json!(0), false), (json!("off"), false), (json!(null), false)]
        {
            node.desired.driver_info.0.insert("has_dedicated_power_supply".into(), value.clone());
            assert_eq!(supplier(&node).is_none(), own, "{value}");
        }
        // Nothing has its power from itself.
        node.desired.parent_node = Some(other);
        assert_eq!(supplier(&node), None);
        // What was asked before there was anybody else to ask.
        let request: PowerRequest = serde_json::from_value(json!({"seq": 1, "verb": "on"})).unwrap();
        assert_eq!(request.asked_by, None);
        assert_eq!(serde_json::to_value(&request).unwrap(), json!({"seq": 1, "verb": "on", "timeout_seconds": null}));
    }

    /// Of a new machine hardly anything is written, and all of it is read as it was.
    #[test]
    fn what_is_as_at_first_is_not_written() {
        let (mut desired, mut seen) = (NodeDesired { driver: "redfish".into(), ..NodeDesired::default() }, NodeObserved::default());
        assert_eq!(serde_json::to_value(&desired).unwrap(), json!({"driver": "redfish"}));
        assert_eq!(serde_json::to_value(&seen).unwrap(), json!({}));
        desired.extra.insert("nothing".into(), Value::Null);
        desired.automated_clean = Some(false);
        desired.protected.on = true;
        desired.vifs = vec![Id::random()];
        (seen.secure_boot, seen.phase, seen.state, seen.handled) = (Some(false), Phase::Off, ProvisionState::Active, 1);
        assert_eq!(serde_json::from_str::<NodeDesired>(&serde_json::to_string(&desired).unwrap()).unwrap(), desired);
        assert_eq!(serde_json::from_str::<NodeObserved>(&serde_json::to_string(&seen).unwrap()).unwrap(), seen);
    }
}
