//! What an answer consists of: steps, each a fact with the ids it is about, and one line that says it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::traffic::Traffic;
use super::world::{Key, Unfiltered};

/// What a step does to the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Lets it on.
    Passes,
    /// Ends it.
    Blocks,
    /// Neither: worth knowing.
    Remark,
}

/// Which way the traffic of a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the one who asks to the one asked.
    There,
    /// The reply.
    Back,
}

/// One thing that decides, or is worth knowing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What it does.
    pub effect: Effect,
    /// On the way there or on the way back.
    pub way: Way,
    /// The line that says it.
    pub text: String,
    /// What it is, with ids.
    #[serde(flatten)]
    pub cause: Cause,
}

impl Step {
    pub(super) fn new(effect: Effect, way: Way, cause: Cause) -> Self {
        Self { effect, way, text: cause.to_string(), cause }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.effect {
            Effect::Passes => "+",
            Effect::Blocks => "X",
            Effect::Remark => " ",
        };
        let way = match self.way {
            Way::There => "->",
            Way::Back => "<-",
        };
        write!(f, "{mark} {way} {}", self.text)
    }
}

/// How a port came onto a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Usage {
    /// Both are of one project.
    Own,
    /// The network is for everybody.
    Shared,
    /// This entry lets the project use it.
    Rbac {
        /// The entry.
        rbac_policy: Key,
    },
    /// It is external: routers and floating IPs of everybody are there.
    External,
    /// Nothing says so: an administrator or the network's owner put it there.
    Foreign,
}

/// A fact about the traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the fields are ids and addresses of what the variant names")]
pub enum Cause {
    /// Something that the question or an object names is not there.
    Unknown { what: &'static str, id: Key },
    /// Both ports are the same.
    SamePort { port: Key },
    /// Whose the port and its network are, and how the one came onto the other.
    Network { port: Key, project: Key, network: Key, owner: Key, usage: Usage },
    /// The ports have no addresses of one family, or none of those asked for.
    NoAddresses { from: Key, to: Key },
    /// The port has no such address.
    NotItsAddress { port: Key, address: IpAddr },
    /// Administrative state of a port.
    PortDown { port: Key },
    /// Administrative state of a network.
    NetworkDown { network: Key },
    /// Administrative state of a router.
    RouterDown { router: Key },
    /// Neither groups nor anti-spoofing apply.
    Unfiltered { port: Key, why: Unfiltered },
    /// The port may send from this address.
    SourceAllowed { port: Key, address: IpAddr },
    /// The port may not send from this address.
    Spoofed { port: Key, address: IpAddr },
    /// A rule lets it out.
    EgressAllowed { port: Key, security_group: Key, security_group_rule: Key, traffic: Traffic },
    /// No rule lets it out.
    EgressDenied { port: Key, security_groups: Vec<Key>, traffic: Traffic, address: Option<IpAddr> },
    /// A rule lets it in.
    IngressAllowed { port: Key, security_group: Key, security_group_rule: Key, traffic: Traffic },
    /// No rule lets it in.
    IngressDenied { port: Key, security_groups: Vec<Key>, traffic: Traffic, address: Option<IpAddr> },
    /// What is let out and what is let in have nothing in common.
    NothingInCommon { from: Key, to: Key },
    /// Both are on one network.
    SameNetwork { network: Key },
    /// On one network, but the sender's subnets do not hold the address: it needs a route to find it.
    OtherSubnet { port: Key, address: IpAddr },
    /// The address is in one of the sender's own subnets.
    OnLink { subnet: Key, address: IpAddr },
    /// A route of the subnet.
    HostRoute { subnet: Key, destination: IpNet, nexthop: IpAddr },
    /// The subnet's gateway.
    SubnetGateway { subnet: Key, gateway: IpAddr },
    /// The sender has neither a route nor a gateway.
    NoRoute { port: Key, address: IpAddr },
    /// Nobody on the network has the address.
    NobodyThere { network: Key, address: IpAddr },
    /// Another port has the address.
    OtherPort { network: Key, address: IpAddr, port: Key },
    /// The next hop is a port of no router: what it does with traffic is not known here.
    UnknownForwarder { network: Key, address: IpAddr, port: Key },
    /// A router takes it.
    EntersRouter { router: Key, port: Key, network: Key },
    /// The address is the router's own.
    RouterItself { router: Key, address: IpAddr },
    /// The router is connected there.
    Connected { router: Key, subnet: Key, network: Key },
    /// An extra route of the router.
    ExtraRoute { router: Key, destination: IpNet, nexthop: IpAddr },
    /// The router's gateway.
    DefaultRoute { router: Key, network: Key, nexthop: IpAddr },
    /// The router has no route.
    RouterNoRoute { router: Key, address: IpAddr },
    /// It has been here before, or passed too many routers.
    Loop { router: Key },
    /// It leaves to a router that is not one of ours.
    LeavesCloud { network: Key, address: IpAddr },
    /// Both sides of the router are in one address scope, or both in none.
    SameScope { router: Key, address_scope: Option<Key> },
    /// The sides of the router are in different scopes.
    ScopesDiffer { router: Key, from_scope: Option<Key>, to_scope: Option<Key> },
    /// A floating IP as destination.
    FloatingTarget { router: Key, floating_ip: Key, outside: IpAddr, inside: IpAddr },
    /// A port forwarding as destination.
    Forwarded { router: Key, floating_ip: Key, port_forwarding: Key, outside: IpAddr, inside: IpAddr },
    /// A floating IP as source.
    FloatingSource { router: Key, floating_ip: Key, inside: IpAddr, outside: IpAddr },
    /// The router's address as source.
    SourceNat { router: Key, inside: IpAddr, outside: IpAddr },
    /// What was translated on the way there is translated back.
    Untranslated { router: Key, address: IpAddr },
    /// It arrives.
    Delivered { port: Key, network: Key, address: Option<IpAddr> },
    /// Groups remember what they let through: replies pass.
    ReplyTracked { port: Key, security_group: Key },
    /// A rule lets the reply through a stateless group.
    ReplyAllowed { port: Key, security_group: Key, security_group_rule: Key },
    /// No rule lets the reply through.
    ReplyDenied { port: Key, security_groups: Vec<Key>, address: Option<IpAddr> },
    /// The reply comes back from an address that nobody asked, since it does not pass the router that translated.
    ReplyFromElsewhere { expected: IpAddr, seen: IpAddr },
}

/// An address, or that there is none.
fn shown(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "an unknown address".to_owned(), |it| it.to_string())
}

fn scope(of: Option<&Key>) -> String {
    of.map_or_else(|| "no address scope".to_owned(), |it| format!("address scope {it}"))
}

fn groups(ids: &[Key]) -> String {
    if ids.is_empty() { "has no security group".to_owned() } else { format!("has security groups {}", ids.join(", ")) }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { what, id } => write!(f, "{what} {id} is not known"),
            Self::SamePort { port } => write!(f, "port {port} speaks to itself"),
            Self::Network { port, project, network, owner, usage } => match usage {
                Usage::Own => write!(f, "port {port} is on network {network}; both are of project {project}"),
                Usage::Shared => write!(f, "port {port} of project {project} is on network {network} of {owner}, shared with all"),
                Usage::Rbac { rbac_policy } => {
                    write!(f, "port {port} of project {project} is on network {network} of {owner}, shared by RBAC policy {rbac_policy}")
                }
                Usage::External => write!(f, "port {port} of project {project} is on external network {network} of {owner}"),
                Usage::Foreign => {
                    write!(f, "port {port} of project {project} is on network {network} of {owner}, which is not shared with it")
                }
            },
            Self::NoAddresses { from, to } => write!(f, "ports {from} and {to} have no addresses of one family to use"),
            Self::NotItsAddress { port, address } => write!(f, "{address} does not lead to port {port}"),
            Self::PortDown { port } => write!(f, "port {port} is administratively down"),
            Self::NetworkDown { network } => write!(f, "network {network} is administratively down"),
            Self::RouterDown { router } => write!(f, "router {router} is administratively down"),
            Self::Unfiltered { port, why } => match why {
                Unfiltered::PortSecurityOff => write!(f, "port {port} is not filtered: its port security is off"),
                Unfiltered::NetworkService => write!(f, "port {port} is not filtered: it belongs to the network itself"),
                Unfiltered::BareMetal => write!(f, "port {port} is not filtered: it is a bare-metal machine's cable"),
            },
            Self::SourceAllowed { port, address } => write!(f, "port {port} may send from {address}"),
            Self::Spoofed { port, address } => write!(f, "port {port} may not send from {address}: it is not one of its addresses"),
            Self::EgressAllowed { port, security_group, security_group_rule, traffic } => {
                write!(f, "rule {security_group_rule} of security group {security_group} lets {traffic} out of port {port}")
            }
            Self::EgressDenied { port, security_groups, traffic, address } => {
                write!(f, "no rule lets {traffic} out of port {port} to {}; it {}", shown(*address), groups(security_groups))
            }
            Self::IngressAllowed { port, security_group, security_group_rule, traffic } => {
                write!(f, "rule {security_group_rule} of security group {security_group} lets {traffic} into port {port}")
            }
            Self::IngressDenied { port, security_groups, traffic, address } => {
                write!(f, "no rule lets {traffic} into port {port} from {}; it {}", shown(*address), groups(security_groups))
            }
            Self::NothingInCommon { from, to } => write!(f, "nothing that may leave port {from} may enter port {to}"),
            Self::SameNetwork { network } => write!(f, "both ports are on network {network}: frames go straight"),
            Self::OtherSubnet { port, address } => {
                write!(f, "{address} is in no subnet of port {port}: on one network, but its machine needs a route of its own to know it")
            }
            Self::OnLink { subnet, address } => write!(f, "{address} is in the sender's own subnet {subnet}"),
            Self::HostRoute { subnet, destination, nexthop } => write!(f, "subnet {subnet} has a route to {destination} via {nexthop}"),
            Self::SubnetGateway { subnet, gateway } => write!(f, "the gateway of subnet {subnet} is {gateway}"),
            Self::NoRoute { port, address } => write!(f, "port {port} has neither a route nor a gateway to {address}"),
            Self::NobodyThere { network, address } => write!(f, "nobody on network {network} has address {address}"),
            Self::OtherPort { network, address, port } => write!(f, "{address} on network {network} is port {port}, another one"),
            Self::UnknownForwarder { network, address, port } => {
                write!(f, "next hop {address} on network {network} is port {port}, not a router's: what it forwards is not known")
            }
            Self::EntersRouter { router, port, network } => write!(f, "router {router} takes it at port {port} on network {network}"),
            Self::RouterItself { router, address } => write!(f, "{address} is an address of router {router} itself"),
            Self::Connected { router, subnet, network } => {
                write!(f, "router {router} is connected to subnet {subnet} on network {network}")
            }
            Self::ExtraRoute { router, destination, nexthop } => {
                write!(f, "router {router} has a route to {destination} via {nexthop}")
            }
            Self::DefaultRoute { router, network, nexthop } => {
                write!(f, "router {router} sends it to its external network {network} via {nexthop}")
            }
            Self::RouterNoRoute { router, address } => write!(f, "router {router} has no route to {address}"),
            Self::Loop { router } => write!(f, "router {router} sees it again: the routes go in a circle"),
            Self::LeavesCloud { network, address } => {
                write!(f, "it leaves network {network} through {address}, a router outside: what is behind is not known")
            }
            Self::SameScope { router, address_scope } => {
                write!(f, "both sides of router {router} are in {}", scope(address_scope.as_ref()))
            }
            Self::ScopesDiffer { router, from_scope, to_scope } => {
                write!(
                    f,
                    "router {router} drops it: from {} to {} without translation",
                    scope(from_scope.as_ref()),
                    scope(to_scope.as_ref())
                )
            }
            Self::FloatingTarget { router, floating_ip, outside, inside } => {
                write!(f, "floating IP {floating_ip}: router {router} turns destination {outside} into {inside}")
            }
            Self::Forwarded { router, floating_ip, port_forwarding, outside, inside } => write!(
                f,
                "port forwarding {port_forwarding} of floating IP {floating_ip}: router {router} turns destination {outside} into {inside}"
            ),
            Self::FloatingSource { router, floating_ip, inside, outside } => {
                write!(f, "floating IP {floating_ip}: router {router} turns source {inside} into {outside}")
            }
            Self::SourceNat { router, inside, outside } => write!(f, "router {router} turns source {inside} into its own {outside} (SNAT)"),
            Self::Untranslated { router, address } => write!(f, "router {router} translates back to {address}"),
            Self::Delivered { port, network, address } => match address {
                Some(address) => write!(f, "{address} on network {network} is port {port}: delivered"),
                None => write!(f, "frames on network {network} reach port {port}"),
            },
            Self::ReplyTracked { port, security_group } => {
                write!(f, "security group {security_group} of port {port} is stateful: the reply passes")
            }
            Self::ReplyAllowed { port, security_group, security_group_rule } => {
                write!(f, "rule {security_group_rule} of stateless security group {security_group} of port {port} lets the reply pass")
            }
            Self::ReplyDenied { port, security_groups, address } => {
                write!(f, "port {port} is stateless and no rule lets the reply pass ({}); it {}", shown(*address), groups(security_groups))
            }
            Self::ReplyFromElsewhere { expected, seen } => {
                write!(f, "the reply comes from {seen} instead of {expected}: it does not pass the router that translated")
            }
        }
    }
}
