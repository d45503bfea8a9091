//! Allocations: a machine asked for by what it is, not by its name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Node;
use crate::{Column, Id, Kind};

/// A machine asked for by its resource class and traits.
pub enum Allocation {}

/// Where an [`Allocation`] stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationState {
    /// A machine is being looked for.
    #[default]
    Allocating,
    /// It has its machine.
    Active,
    /// There was none; see `last_error`.
    Error,
}

impl AllocationState {
    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allocating => "allocating",
            Self::Active => "active",
            Self::Error => "error",
        }
    }
}

/// What is wanted of an [`Allocation`]. Its name is held in the allocation pool `allocation-name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocationDesired {
    /// The class the machine must have; `None` only for one that was made for a machine in use.
    pub resource_class: Option<String>,
    /// The traits it must have.
    pub traits: Vec<String>,
    /// It must be one of these, if any are given.
    pub candidate_nodes: Vec<Id<Node>>,
    /// Made for this machine, which is in use already.
    pub backfill: Option<Id<Node>>,
    /// The project it belongs to.
    pub owner: Option<String>,
    /// Free for the operator.
    pub extra: Map<String, Value>,
}

/// What was seen of an [`Allocation`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocationObserved {
    /// Where it stands.
    pub state: AllocationState,
    /// Its machine.
    pub node_id: Option<Id<Node>>,
    /// Why it has none.
    pub last_error: Option<String>,
}

impl Kind for Allocation {
    const NAME: &'static str = "allocation";
    type Desired = AllocationDesired;
    type Observed = AllocationObserved;
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "node_id", value: |it| it.observed.node_id.as_ref().map(ToString::to_string) },
        Column { name: "state", value: |it| Some(it.observed.state.as_str().to_owned()) },
        Column { name: "resource_class", value: |it| it.desired.resource_class.clone() },
        Column { name: "owner", value: |it| it.desired.owner.clone() },
    ];
}
