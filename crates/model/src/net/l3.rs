//! Routers and what belongs to them: their places on networks, floating addresses, port forwardings, addresses of a host.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::flavors::ServiceFlavor;
use super::qos::QosPolicy;
use super::{HostRoute, Network, Port, Subnet, described, noun};
use crate::Id;

/// A router: carries packets between subnets, and to external networks.
pub enum Router {}
/// An address of an external network that stands for a port's own.
pub enum FloatingIp {}
/// Ports of a floating address that lead to a port of the network service each.
pub enum PortForwarding {}
/// A helper of connection tracking in a router.
pub enum ConntrackHelper {}
/// An IPv6 address for which a router answers on its external network.
pub enum NdpProxy {}
/// An address that every host translates for itself.
pub enum LocalIp {}
/// A port that answers for a [`LocalIp`] on its host.
pub enum LocalIpAssociation {}

/// A router's place on a network of users. Its addresses are its port's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The port.
    pub port_id: Id<Port>,
    /// The network.
    pub network_id: Id<Network>,
    /// The subnets it routes for.
    pub subnet_ids: Vec<Id<Subnet>>,
}

/// A router's place on an external network. Its addresses are its port's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The port.
    pub port_id: Id<Port>,
    /// The network.
    pub network_id: Id<Network>,
}

fn yes() -> bool {
    true
}

/// What is wanted of a [`Router`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Administrative state.
    pub admin_state_up: bool,
    /// Whether every host routes for its own ports.
    #[serde(default)]
    pub distributed: bool,
    /// Whether another takes over when it fails.
    #[serde(default)]
    pub ha: bool,
    /// Where it should run.
    #[serde(default)]
    pub availability_zone_hints: Vec<String>,
    /// What kind of router it is.
    #[serde(default)]
    pub flavor_id: Option<Id<ServiceFlavor>>,
    /// Whether it answers on its external network for inner IPv6 addresses.
    #[serde(default)]
    pub enable_ndp_proxy: bool,
    /// Whether it watches its default routes (RFC 5880).
    #[serde(default)]
    pub enable_default_route_bfd: bool,
    /// Whether it uses several default routes at once.
    #[serde(default)]
    pub enable_default_route_ecmp: bool,
    /// Whether inner addresses are hidden behind its own.
    #[serde(default = "yes")]
    pub enable_snat: bool,
    /// The QoS policy of its first gateway.
    #[serde(default)]
    pub gateway_qos_policy_id: Option<Id<QosPolicy>>,
    /// Its gateways. The first is the one that `external_gateway_info` shows.
    #[serde(default)]
    pub gateways: Vec<Gateway>,
    /// Its interfaces, oldest first.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Its static routes.
    #[serde(default)]
    pub routes: Vec<HostRoute>,
    /// How often the addresses of its ports were changed: such a change is one of the router, too.
    #[serde(default)]
    pub readdressed: u32,
}

/// What is wanted of a [`FloatingIp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatingIpDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The external network.
    pub floating_network_id: Id<Network>,
    /// The address; none: not chosen yet.
    pub floating_ip_address: Option<IpAddr>,
    /// The port that holds the address on the external network.
    pub floating_port_id: Option<Id<Port>>,
    /// The port it stands for.
    #[serde(default)]
    pub port_id: Option<Id<Port>>,
    /// The address of that port it stands for.
    #[serde(default)]
    pub fixed_ip_address: Option<IpAddr>,
    /// The subnet of that address.
    #[serde(default)]
    pub fixed_subnet_id: Option<Id<Subnet>>,
    /// The router that translates.
    #[serde(default)]
    pub router_id: Option<Id<Router>>,
    /// Its name in DNS.
    #[serde(default)]
    pub dns_name: String,
    /// Its domain in DNS.
    #[serde(default)]
    pub dns_domain: String,
    /// Its QoS policy.
    #[serde(default)]
    pub qos_policy_id: Option<Id<QosPolicy>>,
}

/// A way through a router's interface, as columns have it: what leads through there keeps the interface where it is.
pub fn path(router: &Id<Router>, subnet: &Id<Subnet>) -> String {
    format!("{router} {subnet}")
}

/// A way through a router's gateway, as columns have it: what leads through there keeps the gateway where it is.
pub fn exit(router: &Id<Router>, network: &Id<Network>) -> String {
    format!("{router} {network}")
}

impl FloatingIpDesired {
    /// Takes it from the port it stands for.
    pub fn disassociate(&mut self) {
        self.port_id = None;
        self.fixed_ip_address = None;
        self.fixed_subnet_id = None;
        self.router_id = None;
    }
}

/// Ports of a transport protocol, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// Whether both have a port in common.
    pub fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The port, if it is one.
    pub fn single(self) -> Option<u16> {
        (self.first == self.last).then_some(self.first)
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.first, self.last)
    }
}

/// What is wanted of a [`PortForwarding`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortForwardingDesired {
    /// The floating address.
    pub floatingip_id: Id<FloatingIp>,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// `tcp`, `udp`, …
    pub protocol: String,
    /// Ports of the floating address; none: not said yet.
    pub external: Option<PortRange>,
    /// Ports of the inner address: as many, or one; none: not said yet.
    pub internal: Option<PortRange>,
    /// The port of the inner address; none: not said yet.
    pub internal_port_id: Option<Id<Port>>,
    /// The inner address; none: not said yet.
    pub internal_ip_address: Option<IpAddr>,
    /// Its subnet.
    #[serde(default)]
    pub internal_subnet_id: Option<Id<Subnet>>,
    /// The router that translates.
    #[serde(default)]
    pub router_id: Option<Id<Router>>,
}

/// What is wanted of a [`ConntrackHelper`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackHelperDesired {
    /// The router.
    pub router_id: Id<Router>,
    /// `tcp`, `udp`, …
    pub protocol: String,
    /// The port of the transport protocol.
    pub port: u16,
    /// What helps: `ftp`, `tftp`, …
    pub helper: String,
}

/// What is wanted of an [`NdpProxy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NdpProxyDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The router that answers; none: not said yet.
    pub router_id: Option<Id<Router>>,
    /// The port it answers for; none: not said yet.
    pub port_id: Option<Id<Port>>,
    /// The address it answers for; none: not chosen yet.
    pub ip_address: Option<IpAddr>,
    /// The subnet of that address.
    #[serde(default)]
    pub subnet_id: Option<Id<Subnet>>,
}

/// What hosts do with packets to a [`LocalIp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpMode {
    /// They get the address of the port that answers.
    Translate,
    /// They stay as they are.
    Passthrough,
}

impl IpMode {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Translate => "translate",
            Self::Passthrough => "passthrough",
        }
    }
}

/// What is wanted of a [`LocalIp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalIpDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The port that holds the address.
    pub local_port_id: Option<Id<Port>>,
    /// Whether that port was made for it.
    #[serde(default)]
    pub own_port: bool,
    /// The network of that port.
    pub network_id: Option<Id<Network>>,
    /// The address.
    pub local_ip_address: Option<IpAddr>,
    /// What hosts do with its packets.
    pub ip_mode: IpMode,
}

/// What is wanted of a [`LocalIpAssociation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalIpAssociationDesired {
    /// The address.
    pub local_ip_id: Id<LocalIp>,
    /// The port that answers; none: not said yet.
    pub fixed_port_id: Option<Id<Port>>,
    /// The address of that port; none: not chosen yet.
    pub fixed_ip: Option<IpAddr>,
}

described!(RouterDesired, FloatingIpDesired);

noun!(
    Router,
    "router",
    RouterDesired,
    usage: Some("router"),
    columns: [
        "flavor_id" = |it| it.desired.flavor_id.as_ref().map(ToString::to_string),
        "qos_policy_id" = |it| it.desired.gateway_qos_policy_id.as_ref().map(ToString::to_string),
    ],
    links: [
        "tags" = |it| it.desired.tags.clone(),
        "subnet_id" = |it| it.desired.interfaces.iter().flat_map(|it| &it.subnet_ids).map(ToString::to_string).collect(),
        "port_id" = |it| {
            let inside = it.desired.interfaces.iter().map(|it| it.port_id.to_string());
            inside.chain(it.desired.gateways.iter().map(|it| it.port_id.to_string())).collect()
        },
        "gateway_network_id" = |it| it.desired.gateways.iter().map(|it| it.network_id.to_string()).collect(),
    ],
);
noun!(
    FloatingIp,
    "floatingip",
    FloatingIpDesired,
    usage: Some("floatingip"),
    columns: [
        "floating_network_id" = |it| Some(it.desired.floating_network_id.to_string()),
        "floating_ip_address" = |it| it.desired.floating_ip_address.map(|it| it.to_string()),
        "port_id" = |it| it.desired.port_id.as_ref().map(ToString::to_string),
        "fixed_ip_address" = |it| it.desired.fixed_ip_address.map(|it| it.to_string()),
        "router_id" = |it| it.desired.router_id.as_ref().map(ToString::to_string),
        "qos_policy_id" = |it| it.desired.qos_policy_id.as_ref().map(ToString::to_string),
        "path" = |it| Some(path(it.desired.router_id.as_ref()?, it.desired.fixed_subnet_id.as_ref()?)),
        "exit" = |it| Some(exit(it.desired.router_id.as_ref()?, &it.desired.floating_network_id)),
    ],
    links: ["tags" = |it| it.desired.tags.clone()],
);
noun!(
    PortForwarding,
    "port_forwarding",
    PortForwardingDesired,
    usage: None,
    columns: [
        "floatingip_id" = |it| Some(it.desired.floatingip_id.to_string()),
        "internal_port_id" = |it| it.desired.internal_port_id.as_ref().map(ToString::to_string),
        "protocol" = |it| Some(it.desired.protocol.clone()),
        "path" = |it| Some(path(it.desired.router_id.as_ref()?, it.desired.internal_subnet_id.as_ref()?)),
    ],
    links: [],
);
noun!(
    ConntrackHelper,
    "conntrack_helper",
    ConntrackHelperDesired,
    usage: None,
    columns: ["router_id" = |it| Some(it.desired.router_id.to_string())],
    links: [],
);
noun!(
    NdpProxy,
    "ndp_proxy",
    NdpProxyDesired,
    usage: None,
    columns: [
        "router_id" = |it| it.desired.router_id.as_ref().map(ToString::to_string),
        "port_id" = |it| it.desired.port_id.as_ref().map(ToString::to_string),
        "ip_address" = |it| it.desired.ip_address.map(|it| it.to_string()),
        "path" = |it| Some(path(it.desired.router_id.as_ref()?, it.desired.subnet_id.as_ref()?)),
    ],
    links: [],
);
noun!(
    LocalIp,
    "local_ip",
    LocalIpDesired,
    usage: None,
    columns: [
        "local_port_id" = |it| it.desired.local_port_id.as_ref().map(ToString::to_string),
        "network_id" = |it| it.desired.network_id.as_ref().map(ToString::to_string),
        "local_ip_address" = |it| it.desired.local_ip_address.map(|it| it.to_string()),
    ],
    links: [],
);
noun!(
    LocalIpAssociation,
    "local_ip_association",
    LocalIpAssociationDesired,
    usage: None,
    columns: [
        "local_ip_id" = |it| Some(it.desired.local_ip_id.to_string()),
        "fixed_port_id" = |it| it.desired.fixed_port_id.as_ref().map(ToString::to_string),
    ],
    links: [],
);
