//! Who may talk to whom: security groups and what their rules name.

use serde::{Deserialize, Serialize};

use super::{described, noun};
use crate::Id;

/// What a port accepts and sends.
pub enum SecurityGroup {}
/// One permission of a security group.
pub enum SecurityGroupRule {}
/// Prefixes that rules name together.
pub enum AddressGroup {}
/// A rule that new security groups begin with.
pub enum DefaultSecurityGroupRule {}
/// Whether a project's new security groups are stateful; of no project: all projects' that say nothing themselves.
pub enum DefaultStatefulness {}

/// Seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the port.
    Ingress,
    /// From the port.
    Egress,
}

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ethertype {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// What is wanted of a [`SecurityGroup`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether answers to what is allowed are allowed too.
    pub stateful: bool,
    /// Whether it is the project's default group.
    #[serde(default)]
    pub is_default: bool,
}

/// What a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleMatch {
    /// Seen from the port.
    pub direction: Direction,
    /// Which packets.
    pub ethertype: Ethertype,
    /// The protocol's name or number, as it was given; none: all.
    #[serde(default)]
    pub protocol: Option<String>,
    /// Least port, or ICMP type.
    #[serde(default)]
    pub port_range_min: Option<u16>,
    /// Greatest port, or ICMP code.
    #[serde(default)]
    pub port_range_max: Option<u16>,
    /// Only from or to these addresses, as they were given: a prefix, whose bits behind it may be set.
    #[serde(default)]
    pub remote_ip_prefix: Option<ipnet::IpNet>,
    /// Only from or to ports of this group.
    #[serde(default)]
    pub remote_group_id: Option<Id<SecurityGroup>>,
    /// Only from or to addresses of this group.
    #[serde(default)]
    pub remote_address_group_id: Option<Id<AddressGroup>>,
}

/// What is wanted of a [`SecurityGroupRule`]. It is never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupRuleDesired {
    /// Its group.
    pub security_group_id: Id<SecurityGroup>,
    /// What it lets through.
    #[serde(flatten)]
    pub matches: RuleMatch,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Whether its group is a project's default group.
    #[serde(default)]
    pub belongs_to_default_sg: bool,
}

/// What is wanted of an [`AddressGroup`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressGroupDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Its prefixes.
    pub addresses: Vec<ipnet::IpNet>,
}

/// What is wanted of a [`DefaultSecurityGroupRule`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefaultSecurityGroupRuleDesired {
    /// What it lets through.
    pub matches: RuleMatch,
    /// Whether only from or to ports of the same group (`PARENT`).
    #[serde(default)]
    pub remote_is_parent: bool,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Whether default groups begin with it.
    pub used_in_default_sg: bool,
    /// Whether other groups begin with it.
    pub used_in_non_default_sg: bool,
}

/// What is wanted of a [`DefaultStatefulness`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefaultStatefulnessDesired {
    /// Whether new groups are stateful.
    pub stateful: bool,
}

impl Direction {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl Ethertype {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
}

impl RuleMatch {
    /// All packets of that direction and kind.
    pub fn all(direction: Direction, ethertype: Ethertype) -> Self {
        Self {
            direction,
            ethertype,
            protocol: None,
            port_range_min: None,
            port_range_max: None,
            remote_ip_prefix: None,
            remote_group_id: None,
            remote_address_group_id: None,
        }
    }
}

described!(SecurityGroupDesired);

noun!(
    SecurityGroup,
    "security_group",
    SecurityGroupDesired,
    usage: Some("security_group"),
    columns: [],
    links: ["tags" = |it| it.desired.tags.clone()],
);
noun!(
    SecurityGroupRule,
    "security_group_rule",
    SecurityGroupRuleDesired,
    usage: Some("security_group_rule"),
    columns: [
        "security_group_id" = |it| Some(it.desired.security_group_id.to_string()),
        "remote_group_id" = |it| it.desired.matches.remote_group_id.as_ref().map(ToString::to_string),
        "remote_address_group_id" = |it| it.desired.matches.remote_address_group_id.as_ref().map(ToString::to_string),
    ],
    links: [],
);
noun!(AddressGroup, "address_group", AddressGroupDesired, usage: None, columns: [], links: []);
noun!(DefaultSecurityGroupRule, "default_security_group_rule", DefaultSecurityGroupRuleDesired, usage: None, columns: [], links: []);
noun!(DefaultStatefulness, "security_group_default_statefulness", DefaultStatefulnessDesired, usage: None, columns: [], links: []);
