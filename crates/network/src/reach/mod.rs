//! Whether one port can reach another, and why: decided from what is wanted alone, without asking any device.
//!
//! [`explain`] follows a packet from port to port and the reply back, and says at each thing that decides what it decided: states,
//! anti-spoofing, security groups, subnets and their gateways, routers and their routes, address scopes, floating IPs, port forwardings
//! and SNAT. The semantics are Neutron's, as its own agents have them (`neutron/agent/l3/router_info.py` for scopes and NAT).
//!
//! What is assumed: machines have the addresses, routes and gateways that their subnets give them; what runs on them is not known; what
//! lies behind an external network's own gateway is not known and not reachable. A question without protocol or port is whether *any*
//! traffic passes. Replies are asked for of every protocol.

mod route;
mod step;
mod traffic;
mod world;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

pub use step::{Cause, Effect, Step, Usage, Way};
pub use traffic::Traffic;
pub use world::{
    AddressGroup, Direction, FixedIp, FloatingIp, Gateway, Key, Network, Port, PortForwarding, Protocol, RbacEntry, Remote, Route, Router,
    Rule, SecurityGroup, Subnet, Unfiltered, World,
};

use route::{Neighbours, Packet, Walk};
use traffic::{Allowed, Peer, allowed, reply_allowed};

/// Most pairs of addresses that are looked at for one question.
const MAX_PAIRS: usize = 256;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The port that sends.
    pub from: Key,
    /// The port that is to be reached.
    pub to: Key,
    /// With which protocol; `None`: with any.
    pub protocol: Option<Protocol>,
    /// To which transport port; `None`: to any.
    pub port: Option<u16>,
    /// `Some(true)`: by IPv6 only; `Some(false)`: by IPv4 only.
    pub ipv6: Option<bool>,
    /// From this address only.
    pub from_address: Option<IpAddr>,
    /// To this address only: the port's own, or a floating IP's.
    pub to_address: Option<IpAddr>,
}

impl Question {
    /// Whether anything gets from one port to another.
    pub fn new(from: impl Into<Key>, to: impl Into<Key>) -> Self {
        Self { from: from.into(), to: to.into(), ..Self::default() }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Whether traffic gets there, and its replies back.
    pub reachable: bool,
    /// What of the traffic asked for does (or was tried).
    pub traffic: Traffic,
    /// From which address it was sent.
    pub from_address: Option<IpAddr>,
    /// To which address it was sent.
    pub to_address: Option<IpAddr>,
    /// What decided, in the order in which the packet and its reply meet it.
    pub steps: Vec<Step>,
    /// Whose addresses on which networks the answer depended on. A world that has not (yet) all of the ports and floating IPs with these
    /// addresses may give another answer when it has.
    #[serde(skip)]
    pub neighbours: BTreeSet<(Key, IpAddr)>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.traffic)?;
        if let Some(address) = self.from_address {
            write!(f, " from {address}")?;
        }
        self.to_address.map_or(Ok(()), |address| write!(f, " to {address}"))
    }
}

/// One way to name the target.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    ipv6: bool,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    forwarding: Option<Forwarding<'a>>,
}

type Forwarding<'a> = (&'a Key, &'a PortForwarding);

/// One question being answered.
struct Asked<'a> {
    world: &'a World,
    question: &'a Question,
    from: (&'a Key, &'a Port),
    to: (&'a Key, &'a Port),
    neighbours: RefCell<Neighbours>,
}

/// Whether one port can reach another, and why.
///
/// Of all the addresses the two can use, the first pair that works is shown, or the one that got farthest.
pub fn explain(world: &World, question: &Question) -> Answer {
    let traffic = Traffic { protocol: question.protocol, ports: question.port.map(|it| (it, it)), ..Traffic::default() };
    let nothing = |effect, cause| Answer {
        reachable: effect == Effect::Passes,
        traffic,
        from_address: question.from_address,
        to_address: question.to_address,
        steps: vec![Step::new(effect, Way::There, cause)],
        neighbours: BTreeSet::new(),
    };
    let port = |id: &Key| world.ports.get_key_value(id).ok_or_else(|| Cause::Unknown { what: "port", id: id.clone() });
    let (from, to) = match (port(&question.from), port(&question.to)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(cause), _) | (_, Err(cause)) => return nothing(Effect::Blocks, cause),
    };
    if from.0 == to.0 {
        return nothing(Effect::Passes, Cause::SamePort { port: from.0.clone() });
    }
    let asked = Asked { world, question, from, to, neighbours: RefCell::default() };
    let mut best: Option<Answer> = None;
    for candidate in asked.candidates().into_iter().take(MAX_PAIRS) {
        let answer = asked.answer(candidate, traffic);
        let is_better = best.as_ref().is_none_or(|it| answer.reachable || it.steps.len() < answer.steps.len());
        let is_last = answer.reachable;
        if is_better {
            best = Some(answer);
        }
        if is_last {
            break;
        }
    }
    let answer = best.unwrap_or_else(|| {
        let cause = match question.to_address {
            Some(address) => Cause::NotItsAddress { port: to.0.clone(), address },
            None => Cause::NoAddresses { from: from.0.clone(), to: to.0.clone() },
        };
        nothing(Effect::Blocks, cause)
    });
    Answer { neighbours: asked.neighbours.into_inner(), ..answer }
}

impl<'a> Asked<'a> {
    /// All ways to name the target: its own addresses first, then those that are translated to it.
    fn candidates(&self) -> Vec<Candidate<'a>> {
        let question = self.question;
        let mut found = Vec::new();
        for ipv6 in [false, true] {
            let fits = |it: IpAddr| it.is_ipv6() == ipv6;
            if question.ipv6.is_some_and(|it| it != ipv6) || question.from_address.is_some_and(|it| !fits(it)) {
                continue;
            }
            let is_near = self.from.1.network == self.to.1.network;
            // A port without addresses of its own whose machine may take any it likes: on its own network.
            let bare = |port: &Port| is_near && port.unfiltered().is_some() && port.addresses(ipv6).next().is_none();
            let own = |port: &Port| port.addresses(ipv6).map(|it| Some(it.address)).collect::<Vec<_>>();
            let sources = match question.from_address {
                Some(address) => vec![Some(address)],
                None if bare(self.from.1) => vec![None],
                None => own(self.from.1),
            };
            let asked_for = |it: &IpAddr| question.to_address.is_none_or(|wanted| wanted == *it);
            let mut targets: Vec<(Option<IpAddr>, Option<Forwarding<'a>>)> = match question.to_address {
                Some(address) if fits(address) && self.to.1.holds(address) => vec![(Some(address), None)],
                Some(_) => Vec::new(),
                None if bare(self.to.1) => vec![(None, None)],
                None => own(self.to.1).into_iter().map(|it| (it, None)).collect(),
            };
            let floating = self.world.floating_ips.values().filter(|it| it.port.as_ref() == Some(self.to.0));
            targets.extend(floating.filter(|it| fits(it.address) && asked_for(&it.address)).map(|it| (Some(it.address), None)));
            for forwarding in self.world.port_forwardings.iter().filter(|(_, it)| it.port == *self.to.0) {
                let address = self.world.floating_ips.get(&forwarding.1.floating_ip).map(|it| it.address);
                targets.extend(address.filter(|it| fits(*it) && asked_for(it)).map(|it| (Some(it), Some(forwarding))));
            }
            for (destination, forwarding) in targets {
                found.extend(sources.iter().map(|source| Candidate { ipv6, source: *source, destination, forwarding }));
            }
        }
        found
    }

    /// Follows one packet and its reply.
    fn answer(&self, candidate: Candidate<'a>, asked: Traffic) -> Answer {
        let mut steps = Vec::new();
        let mut traffic = asked.in_family(candidate.ipv6);
        let reachable = self.follow(candidate, &mut traffic, &mut steps).is_some();
        Answer { reachable, traffic, from_address: candidate.source, to_address: candidate.destination, steps, neighbours: BTreeSet::new() }
    }

    fn follow(&self, candidate: Candidate<'a>, traffic: &mut Traffic, steps: &mut Vec<Step>) -> Option<()> {
        let (world, from, to) = (self.world, self.from, self.to);
        let Candidate { ipv6, source, destination, forwarding } = candidate;
        self.usage(from, steps)?;
        self.usage(to, steps)?;
        self.may_send(source, steps)?;
        if let Some((_, it)) = forwarding {
            let outside = Traffic { protocol: Some(it.protocol), ports: Some(it.external_ports), ..Traffic::default() };
            match traffic.meet(outside) {
                Some(both) => *traffic = both,
                None => return blocked(steps, Way::There, Cause::NothingInCommon { from: from.0.clone(), to: to.0.clone() }),
            }
        }
        let out = allowed(world, from.1, Direction::Egress, Peer { address: destination, ipv6 }, *traffic);
        if let Some(why) = from.1.unfiltered() {
            steps.push(Step::new(Effect::Remark, Way::There, Cause::Unfiltered { port: from.0.clone(), why }));
        }
        let Some(first) = out.first() else {
            let (port, security_groups) = (from.0.clone(), from.1.security_groups.clone());
            let cause = Cause::EgressDenied { port, security_groups, traffic: *traffic, address: destination };
            return blocked(steps, Way::There, cause);
        };
        let egress_at = steps.len();
        steps.extend(let_out(from.0, first));

        let mut there = Walk {
            world,
            way: Way::There,
            target: to,
            forwarding: forwarding.map(|it| it.0),
            steps: Vec::new(),
            translations: vec![],
            neighbours: Neighbours::new(),
        };
        let arrived = match (source, destination) {
            (Some(source), Some(destination)) => {
                let arrived = there.send(from, Packet { source, destination });
                steps.append(&mut there.steps);
                self.neighbours.borrow_mut().append(&mut there.neighbours);
                Some(arrived?)
            }
            _ => {
                self.frames(from, to, Way::There, steps)?;
                None
            }
        };
        self.is_up(to, Way::There, steps)?;

        // A source that was not translated is what the target sees.
        let seen = arrived.map_or(source, |it| Some(it.source));
        let inside = |it: Traffic| forwarding.map_or(Some(it), |(_, forwarding)| inside_of(it, forwarding));
        let peer = Peer { address: seen, ipv6 };
        let into = inside(*traffic).map_or_else(Vec::new, |it| allowed(world, to.1, Direction::Ingress, peer, it));
        if let Some(why) = to.1.unfiltered() {
            steps.push(Step::new(Effect::Remark, Way::There, Cause::Unfiltered { port: to.0.clone(), why }));
        }
        if into.is_empty() {
            let (port, security_groups) = (to.0.clone(), to.1.security_groups.clone());
            let cause = Cause::IngressDenied { port, security_groups, traffic: *traffic, address: seen };
            return blocked(steps, Way::There, cause);
        }

        let mut back = Vec::new();
        let returned = self.send_back((source, destination), arrived, there.translations, &mut back);
        self.choose(&Choice { out: &out, into: &into, inside: &inside, candidate, seen, returned, egress_at }, &mut back, traffic, steps)
    }

    /// Of everything let out and everything let in, the first pair that has something in common and whose replies pass.
    fn choose(&self, choice: &Choice<'_>, back: &mut Vec<Step>, traffic: &mut Traffic, steps: &mut Vec<Step>) -> Option<()> {
        let (from, to) = (self.from, self.to);
        let ipv6 = choice.candidate.ipv6;
        let mut best: Option<Chosen> = None;
        'search: for out in choice.out {
            for into in choice.into {
                let Some(both) = (choice.inside)(out.traffic).and_then(|it| it.meet(into.traffic)) else { continue };
                let leaving = self.reply_passes(to, into, Direction::Egress, Peer { address: choice.seen, ipv6 }, both);
                let entering = self.reply_passes(from, out, Direction::Ingress, Peer { address: choice.candidate.destination, ipv6 }, both);
                let passes = |steps: &[Step]| steps.iter().all(|it| it.effect != Effect::Blocks);
                let works = choice.returned && passes(&leaving) && passes(&entering);
                if works || best.is_none() {
                    let mut arrives: Vec<Step> = let_in(to.0, into).into_iter().collect();
                    arrives.extend(leaving);
                    best = Some(Chosen { egress: let_out(from.0, out), arrives, entering, traffic: both, works });
                }
                // Where nothing comes back at all, no other rule helps.
                if works || !choice.returned {
                    break 'search;
                }
            }
        }
        let Some(Chosen { egress, arrives, entering, traffic: both, works }) = best else {
            return blocked(steps, Way::There, Cause::NothingInCommon { from: from.0.clone(), to: to.0.clone() });
        };
        *traffic = both;
        let shown = usize::from(steps.get(choice.egress_at).is_some_and(|it| matches!(it.cause, Cause::EgressAllowed { .. })));
        steps.splice(choice.egress_at..choice.egress_at + shown, egress);
        let is_blocked = |steps: &[Step]| steps.iter().any(|it| it.effect == Effect::Blocks);
        // Nothing is said of what lies behind the first thing that blocks.
        for mut part in [arrives, std::mem::take(back), entering] {
            let ends = is_blocked(&part);
            steps.append(&mut part);
            if ends {
                break;
            }
        }
        works.then_some(())
    }

    /// Whether a reply passes a port, given what let the traffic through.
    fn reply_passes(&self, port: (&Key, &Port), by: &Allowed<'_>, direction: Direction, peer: Peer, traffic: Traffic) -> Vec<Step> {
        let Some((group, _)) = by.by else { return Vec::new() };
        let id = port.0.clone();
        if by.stateful {
            return vec![Step::new(Effect::Passes, Way::Back, Cause::ReplyTracked { port: id, security_group: group.clone() })];
        }
        let step = match reply_allowed(self.world, port.1, direction, peer, traffic).and_then(|it| it.by) {
            Some((group, rule)) => {
                let (security_group, security_group_rule) = (group.clone(), rule.id.clone());
                Step::new(Effect::Passes, Way::Back, Cause::ReplyAllowed { port: id, security_group, security_group_rule })
            }
            None => {
                let security_groups = port.1.security_groups.clone();
                Step::new(Effect::Blocks, Way::Back, Cause::ReplyDenied { port: id, security_groups, address: peer.address })
            }
        };
        vec![step]
    }

    /// Sends the reply; whether it comes back as the answer to what was asked.
    fn send_back(
        &self,
        asked: (Option<IpAddr>, Option<IpAddr>),
        arrived: Option<Packet>,
        translations: Vec<route::Translation>,
        steps: &mut Vec<Step>,
    ) -> bool {
        let (Some(arrived), (Some(source), Some(destination))) = (arrived, asked) else {
            return self.frames(self.to, self.from, Way::Back, steps).is_some();
        };
        let mut back = Walk {
            world: self.world,
            way: Way::Back,
            target: self.from,
            forwarding: None,
            steps: Vec::new(),
            translations,
            neighbours: Neighbours::new(),
        };
        let returned = back.send(self.to, Packet { source: arrived.destination, destination: arrived.source });
        steps.append(&mut back.steps);
        self.neighbours.borrow_mut().append(&mut back.neighbours);
        match returned {
            None => false,
            Some(it) if it.source != destination || it.destination != source => {
                let cause = Cause::ReplyFromElsewhere { expected: destination, seen: it.source };
                steps.push(Step::new(Effect::Blocks, Way::Back, cause));
                false
            }
            Some(_) => true,
        }
    }

    /// Frames between ports of one network, where there is no address to route by.
    fn frames(&self, from: (&Key, &Port), to: (&Key, &Port), way: Way, steps: &mut Vec<Step>) -> Option<()> {
        let network = from.1.network.clone();
        if network != to.1.network {
            return blocked(steps, way, Cause::NoAddresses { from: from.0.clone(), to: to.0.clone() });
        }
        if !self.world.is_up(&network) {
            return blocked(steps, way, Cause::NetworkDown { network });
        }
        steps.push(Step::new(Effect::Passes, way, Cause::SameNetwork { network: network.clone() }));
        steps.push(Step::new(Effect::Passes, way, Cause::Delivered { port: to.0.clone(), network, address: None }));
        Some(())
    }

    /// Whose network the port is on.
    fn usage(&self, (id, port): (&Key, &Port), steps: &mut Vec<Step>) -> Option<()> {
        let Some(network) = self.world.networks.get(&port.network) else {
            return blocked(steps, Way::There, Cause::Unknown { what: "network", id: port.network.clone() });
        };
        let entries = self.world.rbac.iter().filter(|(_, it)| it.network == port.network);
        let mut entries = entries.filter(|(_, it)| !it.external && (it.target == "*" || it.target == port.project));
        let usage = if port.project == network.project {
            Usage::Own
        } else if network.shared {
            Usage::Shared
        } else if let Some((entry, _)) = entries.next() {
            Usage::Rbac { rbac_policy: entry.clone() }
        } else if network.external {
            Usage::External
        } else {
            Usage::Foreign
        };
        let (project, owner) = (port.project.clone(), network.project.clone());
        let cause = Cause::Network { port: id.clone(), project, network: port.network.clone(), owner, usage };
        steps.push(Step::new(Effect::Remark, Way::There, cause));
        Some(())
    }

    fn is_up(&self, (id, port): (&Key, &Port), way: Way, steps: &mut Vec<Step>) -> Option<()> {
        if !port.admin_state_up {
            return blocked(steps, way, Cause::PortDown { port: id.clone() });
        }
        if !self.world.is_up(&port.network) {
            return blocked(steps, way, Cause::NetworkDown { network: port.network.clone() });
        }
        Some(())
    }

    /// Whether the sender is up and may use the address.
    fn may_send(&self, source: Option<IpAddr>, steps: &mut Vec<Step>) -> Option<()> {
        self.is_up(self.from, Way::There, steps)?;
        let (id, port) = self.from;
        let Some(address) = source.filter(|_| port.unfiltered().is_none()) else { return Some(()) };
        let port_id = id.clone();
        if !port.holds(address) {
            return blocked(steps, Way::There, Cause::Spoofed { port: port_id, address });
        }
        steps.push(Step::new(Effect::Passes, Way::There, Cause::SourceAllowed { port: port_id, address }));
        Some(())
    }
}

/// What [`Asked::choose`] chooses from.
struct Choice<'a> {
    out: &'a [Allowed<'a>],
    into: &'a [Allowed<'a>],
    /// What traffic becomes behind a port forwarding.
    inside: &'a dyn Fn(Traffic) -> Option<Traffic>,
    candidate: Candidate<'a>,
    /// The sender's address as the target sees it.
    seen: Option<IpAddr>,
    /// Whether replies find the way back.
    returned: bool,
    /// Where among the steps the rule that lets it out is.
    egress_at: usize,
}

/// What [`Asked::choose`] chose.
struct Chosen {
    egress: Option<Step>,
    /// Into the target, and the reply out of it.
    arrives: Vec<Step>,
    /// The reply into the sender.
    entering: Vec<Step>,
    traffic: Traffic,
    works: bool,
}

fn blocked(steps: &mut Vec<Step>, way: Way, cause: Cause) -> Option<()> {
    steps.push(Step::new(Effect::Blocks, way, cause));
    None
}

fn let_out(port: &Key, by: &Allowed<'_>) -> Option<Step> {
    let (group, rule) = by.by?;
    let (port, security_group, security_group_rule) = (port.clone(), group.clone(), rule.id.clone());
    let cause = Cause::EgressAllowed { port, security_group, security_group_rule, traffic: by.traffic };
    Some(Step::new(Effect::Passes, Way::There, cause))
}

fn let_in(port: &Key, by: &Allowed<'_>) -> Option<Step> {
    let (group, rule) = by.by?;
    let (port, security_group, security_group_rule) = (port.clone(), group.clone(), rule.id.clone());
    let cause = Cause::IngressAllowed { port, security_group, security_group_rule, traffic: by.traffic };
    Some(Step::new(Effect::Passes, Way::There, cause))
}

/// What traffic to a floating IP's ports is behind its port forwarding.
fn inside_of(traffic: Traffic, forwarding: &PortForwarding) -> Option<Traffic> {
    let (outer, inner) = (forwarding.external_ports, forwarding.internal_ports);
    let whole = Traffic { protocol: Some(forwarding.protocol), ports: Some(outer), ..Traffic::default() };
    let met = traffic.meet(whole)?;
    let (first, last) = met.ports?;
    let ports = if inner.0 == inner.1 { inner } else { (inner.0.saturating_add(first - outer.0), inner.0.saturating_add(last - outer.0)) };
    Some(Traffic { ports: Some(ports), ..met })
}
