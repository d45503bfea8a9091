//! What operators look after: agents and what they serve, and where segments get their ids.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{NetworkType, described, noun};
use crate::{Id, Timestamp};

/// A program on a host that does the network's work there, and says so again and again.
pub enum Agent {}
/// That an agent serves a network or a router.
pub enum AgentBinding {}
/// Ids that segments of networks are taken from.
pub enum NetworkSegmentRange {}

/// What is wanted of an [`Agent`], and what it says of itself. Its id follows from its type and host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentDesired {
    /// What it is, such as `DHCP agent`.
    pub agent_type: String,
    /// Where it runs.
    pub host: String,
    /// The program's name.
    pub binary: String,
    /// Where it listens, as agents of a message bus say; others say nothing.
    #[serde(default)]
    pub topic: String,
    /// Where its host is; empty: nowhere in particular.
    #[serde(default)]
    pub availability_zone: String,
    /// Whether it is to be given more to do.
    pub admin_state_up: bool,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// How it is set up.
    #[serde(default)]
    pub configurations: Map<String, Value>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it was heard of last.
    pub heartbeat_at: Timestamp,
    /// Whether what it can do was told to who places things; none: not asked.
    #[serde(default)]
    pub resources_synced: Option<bool>,
}

impl AgentDesired {
    /// The id of the agent of that type on that host.
    pub fn id_of(agent_type: &str, host: &str) -> Id<Agent> {
        Id::derived(&format!("agent {agent_type} of {host}"))
    }
}

/// What is wanted of an [`AgentBinding`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentBindingDesired {
    /// The agent.
    pub agent_id: Id<Agent>,
    /// The id of the network or router.
    pub served: String,
}

impl AgentBindingDesired {
    /// The id of the binding of that thing to that agent: there is one at most.
    pub fn id_of(agent_id: &Id<Agent>, served: &str) -> Id<AgentBinding> {
        Id::derived(&format!("agent {agent_id} serves {served}"))
    }
}

/// What is wanted of a [`NetworkSegmentRange`]. Of one that is not shared, its project is whose networks take ids from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSegmentRangeDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The type of the segments.
    pub network_type: NetworkType,
    /// The fabric they lie on; of VLANs only.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// First id.
    pub minimum: u32,
    /// Last id.
    pub maximum: u32,
    /// Whether all projects take ids from it.
    pub shared: bool,
    /// Whether it is what the configuration says, which users do not change.
    #[serde(default)]
    pub is_default: bool,
}

described!(NetworkSegmentRangeDesired);

noun!(
    Agent,
    "network_agent",
    AgentDesired,
    usage: None,
    columns: ["host" = |it| Some(it.desired.host.clone()), "agent_type" = |it| Some(it.desired.agent_type.clone())],
    links: [],
);
noun!(
    AgentBinding,
    "network_agent_binding",
    AgentBindingDesired,
    usage: None,
    columns: ["agent_id" = |it| Some(it.desired.agent_id.to_string()), "served" = |it| Some(it.desired.served.clone())],
    links: [],
);
noun!(
    NetworkSegmentRange,
    "network_segment_range",
    NetworkSegmentRangeDesired,
    usage: None,
    columns: [],
    links: ["tags" = |it| it.desired.tags.clone()],
);
