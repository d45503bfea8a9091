//! Steps: the pieces of work of which cleaning, deploying and servicing are made, and the job that goes through them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Node;
use crate::{Column, Id, Kind, Timestamp};

/// A step as a user, a template or a runbook names it, or as a driver or an agent offers it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Whose step it is: `deploy`, `bios`, `raid`, `firmware`, `management`, `power`, `vendor`, `network`.
    pub interface: String,
    /// Its name: `erase_devices`, `apply_configuration`, …, or `hold`, `wait`, `power_on`, `power_off`, `reboot`.
    pub step: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Map<String, Value>,
    /// Higher comes first; 0 is not run by itself. In a runbook this is the place (`order`), lower first.
    #[serde(default)]
    pub priority: i64,
    /// It is done on the nodes that are part of this one, and not on itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<OnChildren>,
}

/// On which of the nodes that are part of a node a [`Step`] is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnChildren {
    /// Only on these, as far as they are part of it; none: on all.
    pub only: Vec<Id<Node>>,
}

/// Where a step of a job stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum StepState {
    /// Not begun.
    #[default]
    Pending,
    /// Begun; written before anything outside is told.
    Begun {
        /// When.
        at: Timestamp,
        /// What the driver or the agent needs to go on with it: a task's address, a command's id. Null until it gave one.
        memory: Value,
    },
    /// Done; written after it was seen to be.
    Done {
        /// When.
        at: Timestamp,
    },
}

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What.
    #[serde(flatten)]
    pub step: Step,
    /// Whether the agent does it; otherwise the driver.
    pub in_band: bool,
    /// Whether it may be given up while it runs.
    #[serde(default)]
    pub abortable: bool,
    /// Whether the ramdisk is to be booted anew after it.
    #[serde(default)]
    pub reboot_requested: bool,
    /// Where it stands.
    #[serde(default)]
    pub progress: StepState,
}

impl PlannedStep {
    /// Whether it is done.
    pub fn is_done(&self) -> bool {
        matches!(self.progress, StepState::Done { .. })
    }
}

/// The work on a node that a verb began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The steps in the order in which they run. Those of the agent join once it told which it has.
    pub steps: Vec<PlannedStep>,
    /// Whether the agent's steps have been asked for and joined.
    #[serde(default)]
    pub joined: bool,
    /// Whether the steps were given by the user: then exactly these run, in this order.
    #[serde(default)]
    pub given: bool,
    /// Whether no ramdisk is to be booted.
    #[serde(default)]
    pub no_ramdisk: bool,
    /// The versions of its hardware managers that the agent told with its steps; it does none of them if they have changed.
    #[serde(default)]
    pub managers: Value,
    /// How often the steps were begun anew because those versions had changed.
    #[serde(default)]
    pub restarts: u32,
}

impl Job {
    /// The step to do now, with its place.
    pub fn current(&self) -> Option<(usize, &PlannedStep)> {
        self.steps.iter().enumerate().find(|(_, it)| !it.is_done())
    }
}

/// Steps that a trait of a node brings into its deployment; its name is the trait's.
pub enum DeployTemplate {}
/// Steps kept under a name, which who may not write steps may run.
pub enum Runbook {}

/// What is wanted of a [`DeployTemplate`]. Its name is held in the allocation pool `deploy-template-name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployTemplateDesired {
    /// Its steps.
    pub steps: Vec<Step>,
    /// Free for the operator.
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`Runbook`]. Its name is held in the allocation pool `runbook-name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunbookDesired {
    /// Its steps; `priority` is the place, lower first.
    pub steps: Vec<Step>,
    /// Whether its steps run without a ramdisk.
    pub disable_ramdisk: bool,
    /// Whether every project may run it.
    pub public: bool,
    /// The project it belongs to.
    pub owner: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Nodes with one of these traits may run it; none: by its own name, as its trait.
    pub traits: Vec<String>,
    /// Free for the operator.
    pub extra: Map<String, Value>,
}

impl Kind for DeployTemplate {
    const NAME: &'static str = "deploy_template";
    type Desired = DeployTemplateDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Runbook {
    const NAME: &'static str = "runbook";
    type Desired = RunbookDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "owner", value: |it| it.desired.owner.clone() },
        Column { name: "public", value: |it| Some(it.desired.public.to_string()) },
    ];
}
