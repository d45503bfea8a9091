//! VPNs of BGP (RFC 4364, RFC 7432): networks, routers and ports that others reach through a provider's backbone, told apart by route
//! targets.

use serde::{Deserialize, Serialize};

use super::l3::Router;
use super::{Network, Port, noun};
use crate::Id;

/// A VPN of BGP.
pub enum Bgpvpn {}
/// That a network is in a VPN.
pub enum BgpvpnNetworkAssociation {}
/// That what is behind a router is in a VPN.
pub enum BgpvpnRouterAssociation {}
/// That a port is in a VPN.
pub enum BgpvpnPortAssociation {}

impl BgpvpnNetworkAssociation {
    /// The pool in which a VPN and a network are held by their association.
    pub const POOL: &'static str = "bgpvpn:network";
}

impl BgpvpnRouterAssociation {
    /// The pool in which a VPN and a router are held by their association.
    pub const POOL: &'static str = "bgpvpn:router";
}

impl BgpvpnPortAssociation {
    /// The pool in which a VPN and a port are held by their association.
    pub const POOL: &'static str = "bgpvpn:port";
}

fn yes() -> bool {
    true
}

/// What of packets a VPN carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BgpvpnType {
    /// Ethernet frames.
    L2,
    /// IP packets.
    #[default]
    L3,
}

impl BgpvpnType {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
        }
    }
}

/// What is wanted of a [`Bgpvpn`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BgpvpnDesired {
    /// What it carries.
    #[serde(rename = "type")]
    pub kind: BgpvpnType,
    /// Route targets of what it takes in and gives out.
    #[serde(default)]
    pub route_targets: Vec<String>,
    /// More of what it takes in.
    #[serde(default)]
    pub import_targets: Vec<String>,
    /// More of what it gives out.
    #[serde(default)]
    pub export_targets: Vec<String>,
    /// Of which one is chosen for each route that it gives out.
    #[serde(default)]
    pub route_distinguishers: Vec<String>,
    /// The VXLAN network identifier of its packets; none: whoever carries them chooses.
    #[serde(default)]
    pub vni: Option<u32>,
    /// The `LOCAL_PREF` of its routes (RFC 4271); none: whoever tells of them chooses.
    #[serde(default)]
    pub local_pref: Option<u32>,
}

/// What is wanted of a [`BgpvpnNetworkAssociation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpvpnNetworkAssociationDesired {
    /// The VPN.
    pub bgpvpn_id: Id<Bgpvpn>,
    /// The network.
    pub network_id: Id<Network>,
}

/// What is wanted of a [`BgpvpnRouterAssociation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpvpnRouterAssociationDesired {
    /// The VPN.
    pub bgpvpn_id: Id<Bgpvpn>,
    /// The router.
    pub router_id: Id<Router>,
    /// Whether the VPN is told of the router's static routes.
    #[serde(default = "yes")]
    pub advertise_extra_routes: bool,
}

/// What a VPN is told of beside a port's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum BgpvpnRoute {
    /// A prefix behind the port.
    Prefix {
        /// The prefix.
        prefix: String,
        /// The `LOCAL_PREF` of the route; none: the VPN's.
        #[serde(default)]
        local_pref: Option<u32>,
    },
    /// All that another VPN is told of.
    Bgpvpn {
        /// The other VPN.
        bgpvpn_id: Id<Bgpvpn>,
        /// The `LOCAL_PREF` of the routes; none: the VPN's.
        #[serde(default)]
        local_pref: Option<u32>,
    },
}

impl BgpvpnRoute {
    /// The other VPN whose routes it stands for.
    pub fn bgpvpn_id(&self) -> Option<&Id<Bgpvpn>> {
        match self {
            Self::Prefix { .. } => None,
            Self::Bgpvpn { bgpvpn_id, .. } => Some(bgpvpn_id),
        }
    }
}

/// What is wanted of a [`BgpvpnPortAssociation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpvpnPortAssociationDesired {
    /// The VPN.
    pub bgpvpn_id: Id<Bgpvpn>,
    /// The port.
    pub port_id: Id<Port>,
    /// Whether the VPN is told of the port's addresses.
    #[serde(default = "yes")]
    pub advertise_fixed_ips: bool,
    /// What else it is told of.
    #[serde(default)]
    pub routes: Vec<BgpvpnRoute>,
}

noun!(
    Bgpvpn,
    "bgpvpn",
    BgpvpnDesired,
    usage: Some("bgpvpn"),
    columns: ["type" = |it| Some(it.desired.kind.as_str().to_owned())],
    links: [],
);
noun!(
    BgpvpnNetworkAssociation,
    "bgpvpn_network_association",
    BgpvpnNetworkAssociationDesired,
    usage: None,
    columns: [
        "bgpvpn_id" = |it| Some(it.desired.bgpvpn_id.to_string()),
        "network_id" = |it| Some(it.desired.network_id.to_string()),
    ],
    links: [],
);
noun!(
    BgpvpnRouterAssociation,
    "bgpvpn_router_association",
    BgpvpnRouterAssociationDesired,
    usage: None,
    columns: [
        "bgpvpn_id" = |it| Some(it.desired.bgpvpn_id.to_string()),
        "router_id" = |it| Some(it.desired.router_id.to_string()),
    ],
    links: [],
);
noun!(
    BgpvpnPortAssociation,
    "bgpvpn_port_association",
    BgpvpnPortAssociationDesired,
    usage: None,
    columns: [
        "bgpvpn_id" = |it| Some(it.desired.bgpvpn_id.to_string()),
        "port_id" = |it| Some(it.desired.port_id.to_string()),
    ],
    links: ["routes" = |it| it.desired.routes.iter().filter_map(|it| it.bgpvpn_id()).map(ToString::to_string).collect()],
);
