//! What is counted and logged of traffic.

use serde::{Deserialize, Serialize};

use super::noun;
use super::security::Direction;
use crate::Id;

/// What traffic is counted under.
pub enum MeteringLabel {}
/// Which traffic a label counts.
pub enum MeteringLabelRule {}
/// That packets are to be logged.
pub enum Log {}

/// What is wanted of a [`MeteringLabel`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeteringLabelDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Whether traffic of all routers is counted, not only of its project's.
    #[serde(default)]
    pub shared: bool,
}

/// What is wanted of a [`MeteringLabelRule`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeteringLabelRuleDesired {
    /// Its label.
    pub metering_label_id: Id<MeteringLabel>,
    /// Seen from the router's tenants.
    pub direction: Direction,
    /// Whether what matches is not counted.
    #[serde(default)]
    pub excluded: bool,
    /// The other side; excludes the two below.
    #[serde(default)]
    pub remote_ip_prefix: Option<ipnet::IpNet>,
    /// From where.
    #[serde(default)]
    pub source_ip_prefix: Option<ipnet::IpNet>,
    /// To where.
    #[serde(default)]
    pub destination_ip_prefix: Option<ipnet::IpNet>,
}

/// Which packets are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogEvent {
    /// Those let through.
    Accept,
    /// Those dropped.
    Drop,
    /// Both.
    All,
}

/// What is wanted of a [`Log`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// What kind of thing decides about the packets: `security_group`.
    pub resource_type: String,
    /// The security group.
    #[serde(default)]
    pub resource_id: Option<String>,
    /// The port.
    #[serde(default)]
    pub target_id: Option<String>,
    /// Which packets.
    pub event: LogEvent,
    /// Whether it is done.
    pub enabled: bool,
}

noun!(MeteringLabel, "metering_label", MeteringLabelDesired, usage: None, columns: [], links: []);
noun!(
    MeteringLabelRule,
    "metering_label_rule",
    MeteringLabelRuleDesired,
    usage: None,
    columns: ["metering_label_id" = |it| Some(it.desired.metering_label_id.to_string())],
    links: [],
);
noun!(
    Log,
    "network_log",
    LogDesired,
    usage: None,
    columns: ["resource_id" = |it| it.desired.resource_id.clone(), "target_id" = |it| it.desired.target_id.clone()],
    links: [],
);
