//! How much and how well: QoS policies and their rules.

use serde::{Deserialize, Serialize};

use super::{described, noun};
use crate::Id;

/// Rules for how packets of ports, networks, routers and floating IPs are treated.
pub enum QosPolicy {}
/// One of them. It lies within its policy: rules of one policy must agree.
pub enum QosRule {}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QosRuleType {
    /// At most so much.
    BandwidthLimit,
    /// Packets are marked so (RFC 2474).
    DscpMarking,
    /// At least so much.
    MinimumBandwidth,
    /// At most so many packets.
    PacketRateLimit,
    /// At least so many packets.
    MinimumPacketRate,
}

impl QosRuleType {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::BandwidthLimit, Self::DscpMarking, Self::MinimumBandwidth, Self::PacketRateLimit, Self::MinimumPacketRate];

    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BandwidthLimit => "bandwidth_limit",
            Self::DscpMarking => "dscp_marking",
            Self::MinimumBandwidth => "minimum_bandwidth",
            Self::PacketRateLimit => "packet_rate_limit",
            Self::MinimumPacketRate => "minimum_packet_rate",
        }
    }
}

/// Which way a rule counts, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QosDirection {
    /// To the port.
    Ingress,
    /// From the port.
    Egress,
    /// Both together.
    Any,
}

impl QosDirection {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Any => "any",
        }
    }
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Its id.
    pub id: Id<QosRule>,
    /// What it is about.
    #[serde(rename = "type")]
    pub rule_type: QosRuleType,
    /// kbit/s, thousands of packets a second, or the mark.
    pub value: u32,
    /// How much more for a moment, in kbit or thousands of packets; of limits only.
    #[serde(default)]
    pub burst: u32,
    /// Which way; of marks: none.
    #[serde(default)]
    pub direction: Option<QosDirection>,
}

/// What is wanted of a [`QosPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QosPolicyDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether new networks of its project get it.
    #[serde(default)]
    pub is_default: bool,
    /// Its rules.
    #[serde(default)]
    pub rules: Vec<PolicyRule>,
}

described!(QosPolicyDesired);

noun!(
    QosPolicy,
    "qos_policy",
    QosPolicyDesired,
    usage: None,
    columns: [],
    links: [
        "tags" = |it| it.desired.tags.clone(),
        "rules" = |it| it.desired.rules.iter().map(|rule| rule.id.to_string()).collect(),
    ],
);
