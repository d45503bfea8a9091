//! Nodes, what belongs to them, the work done on them and the agents that run on them.

mod claim;
mod conductor;
mod drive;
mod facts;
pub mod hardware;
mod node;
mod parts;
mod places;
mod state;
mod step;
pub mod vendor;

use serde::{Deserialize, Serialize};

pub use claim::{Allocation, AllocationDesired, AllocationObserved, AllocationState};
pub use conductor::{
    CONDUCTOR_ALIVE_SECONDS, CONDUCTOR_KEPT_SECONDS, Conductor, ConductorDesired, POWER_SYNC_WORK, is_conductor_group, power_sync_of,
    responsible,
};
pub use drive::{ConfigDrive, ConfigDriveDesired, DriveOf};
pub use facts::{
    Action, ActionEnd, BiosSetting, FirmwareComponent, InspectionRule, InspectionRuleDesired, NodeAction, NodeActionDesired,
    NodeActionObserved, NodeBios, NodeBiosDesired, NodeFirmware, NodeFirmwareDesired, NodeInventory, NodeInventoryDesired,
};
pub use hardware::Interface;
pub use node::{
    AgentCommand, AskedBy, BootModeRequest, CONSOLE_WORK, Marked, Node, NodeDesired, NodeFault, NodeObserved, Phase, PowerPhase,
    PowerRequest, PowerState, PowerVerb, ProvisionRequest, is_asked, is_busy, shown_state, supplier,
};
pub use parts::{
    BaremetalPort, BaremetalPortDesired, Chassis, ChassisDesired, Portgroup, PortgroupDesired, VolumeConnector, VolumeConnectorDesired,
    VolumeTarget, VolumeTargetDesired,
};
pub use places::{Place, Places, TENANT_VIF, bond_properties, chosen_for, places};
pub use state::{ProvisionState, Verb, transition};
pub use step::{DeployTemplate, DeployTemplateDesired, Job, OnChildren, PlannedStep, Runbook, RunbookDesired, Step, StepState};

use crate::{Column, Kind, Secret, Timestamp};

/// A ramdisk agent that called in; its id is its node's.
pub enum AgentSession {}

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
    /// What the agent said of itself in its last heartbeat: `start`, `end`, `error` of a deployment it does by itself.
    #[serde(default)]
    pub status: Option<String>,
    /// More words on that.
    #[serde(default)]
    pub status_message: Option<String>,
    /// Whether the token was put into the ramdisk by us (virtual media): then a lookup never shows it.
    #[serde(default)]
    pub pregenerated: bool,
}

impl Kind for AgentSession {
    const NAME: &'static str = "agent_session";
    type Desired = AgentSessionDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

/// Put on requests of agents by who serves a provisioning network: the network they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnNetwork(pub crate::Id<crate::net::Network>);
