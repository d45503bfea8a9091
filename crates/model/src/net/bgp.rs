//! Speakers of BGP (RFC 4271): they tell other autonomous systems which prefixes lie behind routers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::pools::IpVersion;
use super::{Network, noun};
use crate::{Id, Secret};

/// What tells others of prefixes.
pub enum BgpSpeaker {}
/// Whom it tells.
pub enum BgpPeer {}

fn yes() -> bool {
    true
}

/// What is wanted of a [`BgpSpeaker`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpSpeakerDesired {
    /// The number of its autonomous system, at least 1.
    pub local_as: u32,
    /// Which prefixes it tells of.
    pub ip_version: IpVersion,
    /// Whether it tells of floating IPs.
    #[serde(default = "yes")]
    pub advertise_floating_ip_host_routes: bool,
    /// Whether it tells of subnets behind routers.
    #[serde(default = "yes")]
    pub advertise_tenant_networks: bool,
    /// Whom it tells.
    #[serde(default)]
    pub peers: Vec<Id<BgpPeer>>,
    /// Networks: it tells of what lies behind routers with a gateway there.
    #[serde(default)]
    pub networks: Vec<Id<Network>>,
}

/// How a peer knows who it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BgpAuth {
    /// It does not.
    None,
    /// By signatures of TCP segments (RFC 2385).
    Md5,
}

/// What is wanted of a [`BgpPeer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpPeerDesired {
    /// Where it is; none: not said yet.
    pub peer_ip: Option<IpAddr>,
    /// The number of its autonomous system, at least 1.
    pub remote_as: u32,
    /// How it knows who it talks to.
    pub auth_type: BgpAuth,
    /// The key of signatures.
    #[serde(default)]
    pub password: Option<Secret>,
}

noun!(
    BgpSpeaker,
    "bgp_speaker",
    BgpSpeakerDesired,
    usage: None,
    columns: [],
    links: [
        "peers" = |it| it.desired.peers.iter().map(ToString::to_string).collect(),
        "networks" = |it| it.desired.networks.iter().map(ToString::to_string).collect(),
    ],
);
noun!(BgpPeer, "bgp_peer", BgpPeerDesired, usage: None, columns: [], links: []);
