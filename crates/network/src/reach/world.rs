//! What is known when a question of reachability is asked: plain data without a store. Whoever fills it puts in what the question needs
//! (the two ports, their networks and groups, the routers between them and the ports of those); what is missing is not there.
//!
//! For a dry run, change the data before asking.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::rules::{PROTOCOLS, protocol_number};

/// The id of any object.
pub type Key = String;

/// Everything the answer may depend on, by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// Networks.
    pub networks: BTreeMap<Key, Network>,
    /// Subnets.
    pub subnets: BTreeMap<Key, Subnet>,
    /// Ports, those of routers too.
    pub ports: BTreeMap<Key, Port>,
    /// Routers.
    pub routers: BTreeMap<Key, Router>,
    /// Floating IPs.
    pub floating_ips: BTreeMap<Key, FloatingIp>,
    /// Port forwardings of floating IPs.
    pub port_forwardings: BTreeMap<Key, PortForwarding>,
    /// Security groups with their rules.
    pub security_groups: BTreeMap<Key, SecurityGroup>,
    /// Address groups that rules name.
    pub address_groups: BTreeMap<Key, AddressGroup>,
    /// RBAC entries for networks.
    pub rbac: BTreeMap<Key, RbacEntry>,
}

/// A layer-2 segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Whose it is.
    pub project: Key,
    /// Administrative state: a network that is down carries nothing.
    pub admin_state_up: bool,
    /// Everybody may put ports on it.
    pub shared: bool,
    /// Routers may have their gateways on it.
    pub external: bool,
}

/// Addresses on a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its network.
    pub network: Key,
    /// Its addresses.
    pub cidr: IpNet,
    /// Where its machines send what is not theirs.
    pub gateway: Option<IpAddr>,
    /// Routes its machines are given.
    pub host_routes: Vec<Route>,
    /// The address scope of the pool it is of.
    pub address_scope: Option<Key>,
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// By whom.
    pub nexthop: IpAddr,
}

/// One address of a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FixedIp {
    /// Of which subnet.
    pub subnet: Key,
    /// The address.
    pub address: IpAddr,
}

/// An attachment to a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Whose it is.
    pub project: Key,
    /// Its network.
    pub network: Key,
    /// Administrative state.
    pub admin_state_up: bool,
    /// Its addresses.
    pub fixed_ips: Vec<FixedIp>,
    /// Addresses it may also send from and be sent to.
    pub allowed_addresses: Vec<IpNet>,
    /// Whether groups and anti-spoofing apply.
    pub port_security: bool,
    /// Its groups.
    pub security_groups: Vec<Key>,
    /// What kind of thing uses it: what begins with `network:` is the network's own and is not filtered.
    pub device_owner: String,
    /// Whether it is a machine's own cable into the switch fabric, where nothing is filtered.
    pub bare_metal: bool,
}

/// A router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Router {
    /// Whose it is.
    pub project: Key,
    /// Administrative state.
    pub admin_state_up: bool,
    /// The ports of its inner interfaces.
    pub interfaces: Vec<Key>,
    /// Its ways to external networks.
    pub gateways: Vec<Gateway>,
    /// Its extra routes.
    pub routes: Vec<Route>,
}

/// A router's way to an external network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its port there.
    pub port: Key,
    /// Whether what leaves gets the port's address as its source.
    pub enable_snat: bool,
}

/// A floating IP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatingIp {
    /// Whose it is.
    pub project: Key,
    /// Its external network.
    pub network: Key,
    /// The address there.
    pub address: IpAddr,
    /// The port it stands for.
    pub port: Option<Key>,
    /// Which of that port's addresses.
    pub fixed_address: Option<IpAddr>,
    /// The router that translates.
    pub router: Option<Key>,
}

/// Some transport ports of a floating IP that lead to a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortForwarding {
    /// The floating IP.
    pub floating_ip: Key,
    /// The port it leads to.
    pub port: Key,
    /// The address there.
    pub internal_address: IpAddr,
    /// Of which protocol.
    pub protocol: Protocol,
    /// First and last transport port outside.
    pub external_ports: (u16, u16),
    /// First and last transport port inside: as many, or one for all.
    pub internal_ports: (u16, u16),
}

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Whose it is.
    pub project: Key,
    /// Whether replies to what was let through are let through.
    pub stateful: bool,
    /// What it lets through.
    pub rules: Vec<Rule>,
}

/// A rule of a security group: what it matches is let through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub id: Key,
    /// Which way.
    pub direction: Direction,
    /// `true`: IPv6, `false`: IPv4.
    pub ipv6: bool,
    /// Of which protocol; `None`: of all.
    pub protocol: Option<Protocol>,
    /// First destination port, or the type of ICMP.
    pub port_range_min: Option<u16>,
    /// Last destination port, or the code of ICMP.
    pub port_range_max: Option<u16>,
    /// From or to whom.
    pub remote: Remote,
}

/// Which way traffic goes, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the port.
    Ingress,
    /// From the port.
    Egress,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    /// Anybody.
    Any,
    /// Addresses.
    Prefix(IpNet),
    /// The addresses of all ports that have this security group.
    Group(Key),
    /// The addresses of this address group.
    AddressGroup(Key),
}

/// A list of addresses that rules name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddressGroup {
    /// The addresses.
    pub addresses: Vec<IpNet>,
}

/// Who else may use a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RbacEntry {
    /// The network.
    pub network: Key,
    /// Whether it is for routers' gateways and floating IPs only (`access_as_external`).
    pub external: bool,
    /// The project, or `*`.
    pub target: Key,
}

/// An IP protocol, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    /// The protocol of that name or number.
    pub fn parse(text: &str) -> Option<Self> {
        protocol_number(&text.to_ascii_lowercase()).map(Self)
    }

    /// Whether it has transport ports.
    pub fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }

    /// Whether it is a form of ICMP.
    pub fn is_icmp(self) -> bool {
        matches!(self.0, 1 | 58)
    }

    /// What is meant by it in that family: `icmp` is ICMPv6 in IPv6.
    pub fn in_family(self, ipv6: bool) -> Self {
        if ipv6 && self.0 == 1 { Self(58) } else { self }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match PROTOCOLS.iter().find(|it| it.1 == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "protocol {}", self.0),
        }
    }
}

/// Why a port is not filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfiltered {
    /// Its port security is off.
    PortSecurityOff,
    /// It is the network's own: a router's, a DHCP server's.
    NetworkService,
    /// It is a cable into the switch fabric.
    BareMetal,
}

impl Port {
    /// Why no groups and no anti-spoofing apply to it; `None` if they do.
    pub fn unfiltered(&self) -> Option<Unfiltered> {
        if self.device_owner.starts_with("network:") {
            Some(Unfiltered::NetworkService)
        } else if !self.port_security {
            Some(Unfiltered::PortSecurityOff)
        } else if self.bare_metal {
            Some(Unfiltered::BareMetal)
        } else {
            None
        }
    }

    /// Its addresses of one family.
    pub(super) fn addresses(&self, ipv6: bool) -> impl Iterator<Item = &FixedIp> {
        self.fixed_ips.iter().filter(move |it| it.address.is_ipv6() == ipv6)
    }

    /// Whether it answers for the address.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.fixed_ips.iter().any(|it| it.address == address) || self.allowed_addresses.iter().any(|it| it.contains(&address))
    }

    /// The scope of its addresses of one family.
    pub(super) fn scope<'a>(&self, world: &'a World, ipv6: bool) -> Option<&'a Key> {
        self.addresses(ipv6).find_map(|it| world.subnets.get(&it.subnet)?.address_scope.as_ref())
    }
}

impl Router {
    /// All its ports: interfaces, then gateways.
    pub(super) fn ports(&self) -> impl Iterator<Item = &Key> {
        self.interfaces.iter().chain(self.gateways.iter().map(|it| &it.port))
    }

    /// The gateway that port is.
    pub(super) fn gateway(&self, port: &Key) -> Option<&Gateway> {
        self.gateways.iter().find(|it| it.port == *port)
    }
}

impl World {
    /// The router a port belongs to.
    pub(super) fn router_of(&self, port: &Key) -> Option<(&Key, &Router)> {
        self.routers.iter().find(|(_, it)| it.ports().any(|of| of == port))
    }

    /// Whether the network is there and up.
    pub(super) fn is_up(&self, network: &Key) -> bool {
        self.networks.get(network).is_some_and(|it| it.admin_state_up)
    }
}
