//! Where the prefixes of subnets come from: subnet pools and address scopes.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{described, noun};
use crate::Id;

/// Prefixes that subnets are carved from.
pub enum SubnetPool {}
/// Pools whose prefixes do not overlap, so that their subnets can be routed to one another.
pub enum AddressScope {}

/// 4 or 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of a prefix.
    pub fn of(prefix: &IpNet) -> Self {
        if prefix.network().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl TryFrom<u8> for IpVersion {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            4 => Ok(Self::V4),
            6 => Ok(Self::V6),
            _ => Err("an IP version is 4 or 6"),
        }
    }
}

impl From<IpVersion> for u8 {
    fn from(version: IpVersion) -> Self {
        match version {
            IpVersion::V4 => 4,
            IpVersion::V6 => 6,
        }
    }
}

/// What is wanted of a [`SubnetPool`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetPoolDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What subnets are carved from, none within another.
    pub prefixes: Vec<IpNet>,
    /// Bits of a subnet's prefix unless it says otherwise.
    pub default_prefixlen: u8,
    /// Least bits of a subnet's prefix.
    pub min_prefixlen: u8,
    /// Most bits of a subnet's prefix.
    pub max_prefixlen: u8,
    /// How much of it a project may have: addresses (IPv4) or prefixes of 64 bits (IPv6); none: all.
    #[serde(default)]
    pub default_quota: Option<u64>,
    /// Whether it is the default pool of its IP version.
    #[serde(default)]
    pub is_default: bool,
    /// The scope its prefixes belong to.
    #[serde(default)]
    pub address_scope_id: Option<Id<AddressScope>>,
}

/// What is wanted of an [`AddressScope`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressScopeDesired {
    /// 4 or 6.
    pub ip_version: IpVersion,
}

described!(SubnetPoolDesired);

noun!(
    SubnetPool,
    "subnetpool",
    SubnetPoolDesired,
    usage: Some("subnetpool"),
    columns: ["address_scope_id" = |it| it.desired.address_scope_id.as_ref().map(ToString::to_string)],
    links: ["tags" = |it| it.desired.tags.clone()],
);
noun!(AddressScope, "address_scope", AddressScopeDesired, usage: None, columns: [], links: []);
