//! Classes of traffic, and what security groups let through of them.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::world::{Direction, Key, Port, Protocol, Remote, Rule, World};

/// The destination ports of replies: those that clients take (Linux' usual range).
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

/// Some traffic: of all that there is, what agrees with everything given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Of this protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// To these transport ports, first and last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
    /// ICMP of this type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u16>,
    /// ICMP of this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u16>,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol, self.ports) {
            (None, None) => f.write_str("everything")?,
            (None, Some(_)) => f.write_str("every protocol")?,
            (Some(protocol), _) => write!(f, "{protocol}")?,
        }
        match self.ports {
            Some((first, last)) if first == last => write!(f, " to port {first}")?,
            Some((first, last)) => write!(f, " to ports {first} to {last}")?,
            None => {}
        }
        if let Some(it) = self.icmp_type {
            write!(f, " of type {it}")?;
        }
        match self.icmp_code {
            Some(it) => write!(f, " and code {it}"),
            None => Ok(()),
        }
    }
}

/// What agrees with both; `None` if nothing can.
fn same<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) => (a == b).then_some(Some(a)),
        (a, b) => Some(a.or(b)),
    }
}

impl Traffic {
    /// What is in both; `None` if nothing is.
    pub fn meet(self, other: Self) -> Option<Self> {
        let protocol = same(self.protocol, other.protocol)?;
        let ports = match (self.ports, other.ports) {
            (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.min(b.1))).filter(|it| it.0 <= it.1).map(Some)?,
            (a, b) => a.or(b),
        };
        if ports.is_some() && protocol.is_some_and(|it| !it.has_ports()) {
            return None;
        }
        let icmp_type = same(self.icmp_type, other.icmp_type)?;
        let icmp_code = same(self.icmp_code, other.icmp_code)?;
        Some(Self { protocol, ports, icmp_type, icmp_code })
    }

    /// The same, as it is meant in one family.
    pub(super) fn in_family(self, ipv6: bool) -> Self {
        Self { protocol: self.protocol.map(|it| it.in_family(ipv6)), ..self }
    }

    /// What a rule matches, whoever is on the other side.
    fn of_rule(rule: &Rule) -> Self {
        let protocol = rule.protocol.map(|it| it.in_family(rule.ipv6));
        if protocol.is_some_and(Protocol::is_icmp) {
            return Self { protocol, icmp_type: rule.port_range_min, icmp_code: rule.port_range_max, ports: None };
        }
        let ports = match (rule.port_range_min, rule.port_range_max) {
            (None, None) => None,
            (first, last) => Some((first.unwrap_or(0), last.unwrap_or(u16::MAX))),
        };
        Self { protocol, ports, ..Self::default() }
    }

    /// What comes back of this: to ports that clients take, and the other types of ICMP.
    fn reply(self) -> Self {
        Self { protocol: self.protocol, ..Self::default() }
    }

    /// Whether all replies are in this, which a rule matches.
    fn holds_replies(self) -> bool {
        let echo_reply = match self.protocol {
            Some(Protocol(58)) => 129,
            _ => 0,
        };
        self.ports.is_none_or(|it| it.0 <= EPHEMERAL.0 && it.1 >= EPHEMERAL.1) && self.icmp_type.is_none_or(|it| it == echo_reply)
    }
}

/// Something that lets traffic through a port.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowed<'a> {
    /// What it lets through.
    pub(super) traffic: Traffic,
    /// By this rule of this group; none where nothing is filtered.
    pub(super) by: Option<(&'a Key, &'a Rule)>,
    /// Whether replies need no rule.
    pub(super) stateful: bool,
}

/// The other side of traffic, as a port sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address, if any is known.
    pub(super) address: Option<IpAddr>,
    /// Whether its address is of IPv6.
    pub(super) ipv6: bool,
}

fn is_remote(world: &World, remote: &Remote, peer: Peer) -> bool {
    match (remote, peer.address) {
        (Remote::Any, _) => true,
        // Who has no address of his own may take any.
        (Remote::Prefix(net), None) => net.addr().is_ipv6() == peer.ipv6,
        (Remote::Prefix(net), Some(address)) => net.contains(&address),
        // Neutron compares addresses: whichever port of the group has it.
        (Remote::Group(group), Some(address)) => world.ports.values().any(|it| it.security_groups.contains(group) && it.holds(address)),
        (Remote::AddressGroup(group), Some(address)) => {
            world.address_groups.get(group).is_some_and(|it| it.addresses.iter().any(|net| net.contains(&address)))
        }
        (Remote::Group(_) | Remote::AddressGroup(_), None) => false,
    }
}

/// All that lets some of the traffic pass the port in that direction, those that remember first.
pub(super) fn allowed<'a>(world: &'a World, port: &'a Port, direction: Direction, peer: Peer, traffic: Traffic) -> Vec<Allowed<'a>> {
    if port.unfiltered().is_some() {
        return vec![Allowed { traffic, by: None, stateful: true }];
    }
    let groups = port.security_groups.iter().filter_map(|id| Some((id, world.security_groups.get(id)?)));
    let mut found = Vec::new();
    for (id, group) in groups {
        for rule in group.rules.iter().filter(|it| it.direction == direction && it.ipv6 == peer.ipv6) {
            if let Some(traffic) = Traffic::of_rule(rule).meet(traffic)
                && is_remote(world, &rule.remote, peer)
            {
                found.push(Allowed { traffic, by: Some((id, rule)), stateful: group.stateful });
            }
        }
    }
    found.sort_by_key(|it| !it.stateful);
    found
}

/// The rule that lets replies to this traffic pass a port whose groups do not remember.
pub(super) fn reply_allowed<'a>(
    world: &'a World,
    port: &'a Port,
    direction: Direction,
    peer: Peer,
    traffic: Traffic,
) -> Option<Allowed<'a>> {
    allowed(world, port, direction, peer, traffic.reply()).into_iter().find(|it| it.traffic.holds_replies())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_meets() {
        let tcp = Traffic { protocol: Protocol::parse("TCP"), ..Traffic::default() };
        let web = Traffic { ports: Some((80, 90)), ..tcp };
        assert_eq!(tcp.meet(web), Some(web));
        assert_eq!(web.meet(Traffic { ports: Some((90, 100)), ..tcp }), Some(Traffic { ports: Some((90, 90)), ..tcp }));
        assert_eq!(web.meet(Traffic { ports: Some((91, 100)), ..tcp }), None);
        assert_eq!(tcp.meet(Traffic { protocol: Protocol::parse("17"), ..Traffic::default() }), None);
        let anything_to_80 = Traffic { ports: Some((80, 80)), ..Traffic::default() };
        assert_eq!(anything_to_80.meet(Traffic { protocol: Protocol::parse("icmp"), ..Traffic::default() }), None);
        assert_eq!(web.to_string(), "tcp to ports 80 to 90");
        assert_eq!(Traffic::default().to_string(), "everything");
    }

    #[test]
    fn icmp_of_ipv6_has_another_number() {
        let rule = Rule {
            id: "r".into(),
            direction: Direction::Ingress,
            ipv6: true,
            protocol: Protocol::parse("icmp"),
            port_range_min: Some(128),
            port_range_max: None,
            remote: Remote::Any,
        };
        let traffic = Traffic::of_rule(&rule);
        assert_eq!((traffic.protocol, traffic.icmp_type, traffic.ports), (Some(Protocol(58)), Some(128), None));
        assert!(!traffic.holds_replies());
    }
}
