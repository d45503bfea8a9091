//! The way of one packet: from a port over networks and routers to another port, and what is translated on it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::step::{Cause, Effect, Step, Way};
use super::world::{FloatingIp, Key, Port, Router, World};

/// More routers in a row than any network needs.
const MAX_ROUTERS: usize = 16;

/// What a router changed on the way there, to be changed back on the way back.
#[derive(Clone, Debug)]
pub(super) struct Translation {
    router: Key,
    /// The address as it is on the side where the port is.
    inside: IpAddr,
    /// As it is beyond the router.
    outside: IpAddr,
    /// Whether the source was changed, not the destination.
    source: bool,
}

/// A packet, as far as routers look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

/// Addresses on networks, of which it was asked who has them.
pub(super) type Neighbours = BTreeSet<(Key, IpAddr)>;

/// Who takes a packet next.
enum Next<'a> {
    Arrived,
    Router(&'a Key, &'a Router, &'a Key),
    Stopped,
}

/// One packet's way to a port.
pub(super) struct Walk<'a> {
    pub(super) world: &'a World,
    pub(super) way: Way,
    /// The port it is for.
    pub(super) target: (&'a Key, &'a Port),
    /// The port forwarding it is to use, if any.
    pub(super) forwarding: Option<&'a Key>,
    /// What happened.
    pub(super) steps: Vec<Step>,
    /// What was translated: filled on the way there, used on the way back.
    pub(super) translations: Vec<Translation>,
    /// Whose addresses on which networks were asked for.
    pub(super) neighbours: Neighbours,
}

/// How a router sends on.
struct Hop<'a> {
    out: &'a Key,
    port: &'a Port,
    /// Whether it leaves by a gateway, and whether that one translates sources.
    snat: Option<bool>,
    nexthop: Option<IpAddr>,
    cause: Cause,
}

impl<'a> Walk<'a> {
    fn note(&mut self, effect: Effect, cause: Cause) {
        self.steps.push(Step::new(effect, self.way, cause));
    }

    fn pass(&mut self, cause: Cause) {
        self.note(Effect::Passes, cause);
    }

    fn block<T>(&mut self, cause: Cause) -> Option<T> {
        self.note(Effect::Blocks, cause);
        None
    }

    /// Sends the packet from the port; what arrives at the target, or nothing if something blocks.
    pub(super) fn send(&mut self, from: (&'a Key, &'a Port), packet: Packet) -> Option<Packet> {
        let (world, target) = (self.world, self.target.1);
        if let Some((router, state)) = world.router_of(from.0) {
            return self.forward((router, state, from.0), packet);
        }
        if !world.is_up(&from.1.network) {
            return self.block(Cause::NetworkDown { network: from.1.network.clone() });
        }
        let to = packet.destination;
        let own: Vec<_> = from.1.addresses(to.is_ipv6()).filter_map(|it| Some((&it.subnet, world.subnets.get(&it.subnet)?))).collect();
        let on_link = own.iter().find(|(_, subnet)| subnet.cidr.contains(&to));
        if from.1.network == target.network && target.holds(to) {
            self.pass(Cause::SameNetwork { network: from.1.network.clone() });
            if on_link.is_none() {
                self.note(Effect::Remark, Cause::OtherSubnet { port: from.0.clone(), address: to });
            }
            self.delivered(to);
            return Some(packet);
        }
        let nexthop = if let Some((id, _)) = on_link {
            self.pass(Cause::OnLink { subnet: (*id).clone(), address: to });
            to
        } else {
            let routes = own.iter().flat_map(|(id, subnet)| subnet.host_routes.iter().map(move |it| (*id, it)));
            // Of routes alike the first counts, as for the machine that is given them in order.
            let best = routes.filter(|it| it.1.destination.contains(&to)).min_by_key(|it| u8::MAX - it.1.destination.prefix_len());
            if let Some((subnet, route)) = best {
                self.pass(Cause::HostRoute { subnet: subnet.clone(), destination: route.destination, nexthop: route.nexthop });
                route.nexthop
            } else if let Some((id, gateway)) = own.iter().find_map(|(id, subnet)| Some((*id, subnet.gateway?))) {
                self.pass(Cause::SubnetGateway { subnet: id.clone(), gateway });
                gateway
            } else {
                return self.block(Cause::NoRoute { port: from.0.clone(), address: to });
            }
        };
        match self.hand_over(&from.1.network, nexthop, to) {
            Next::Arrived => Some(packet),
            Next::Router(id, router, port) => self.forward((id, router, port), packet),
            Next::Stopped => None,
        }
    }

    fn delivered(&mut self, address: IpAddr) {
        let (port, network) = (self.target.0.clone(), self.target.1.network.clone());
        self.pass(Cause::Delivered { port, network, address: Some(address) });
    }

    /// Who on the network takes what is for `nexthop`, which is the destination itself at the end.
    fn hand_over(&mut self, network: &'a Key, nexthop: IpAddr, destination: IpAddr) -> Next<'a> {
        let (world, last) = (self.world, nexthop == destination);
        self.neighbours.insert((network.clone(), nexthop));
        if last && self.target.1.network == *network && self.target.1.holds(nexthop) {
            self.delivered(nexthop);
            return Next::Arrived;
        }
        let gateway_on = |router: &'a Router| {
            router.gateways.iter().map(|it| &it.port).find(|it| world.ports.get(*it).is_some_and(|port| port.network == *network))
        };
        let floating = world.floating_ips.values().filter(|it| it.network == *network && it.address == nexthop);
        let by_floating = floating.filter_map(|it| it.router.as_ref()).find_map(|id| {
            let (id, router) = world.routers.get_key_value(id)?;
            Some((id, router, gateway_on(router)?))
        });
        let holders = || world.ports.iter().filter(|(_, it)| it.network == *network && it.fixed_ips.iter().any(|ip| ip.address == nexthop));
        let by_port = || holders().find_map(|(port, _)| world.router_of(port).map(|(id, router)| (id, router, port)));
        if let Some((id, router, port)) = by_floating.or_else(by_port) {
            return Next::Router(id, router, port);
        }
        let network = network.clone();
        let cause = match holders().next() {
            Some((port, _)) if last => Cause::OtherPort { network, address: nexthop, port: port.clone() },
            Some((port, _)) => Cause::UnknownForwarder { network, address: nexthop, port: port.clone() },
            None if !last && world.networks.get(&network).is_some_and(|it| it.external) => Cause::LeavesCloud { network, address: nexthop },
            None => Cause::NobodyThere { network, address: nexthop },
        };
        self.note(Effect::Blocks, cause);
        Next::Stopped
    }

    /// From router to router.
    fn forward(&mut self, first: (&'a Key, &'a Router, &'a Key), mut packet: Packet) -> Option<Packet> {
        let mut seen = BTreeSet::new();
        let (mut id, mut router, mut entry) = first;
        loop {
            if !seen.insert((id, entry)) || seen.len() > MAX_ROUTERS {
                return self.block(Cause::Loop { router: id.clone() });
            }
            match self.through(id, router, entry, &mut packet)? {
                Next::Arrived => return Some(packet),
                Next::Router(next, state, port) => (id, router, entry) = (next, state, port),
                Next::Stopped => return None,
            }
        }
    }

    /// Through one router.
    fn through(&mut self, id: &'a Key, router: &'a Router, entry: &'a Key, packet: &mut Packet) -> Option<Next<'a>> {
        let world = self.world;
        let Some(incoming) = world.ports.get(entry) else {
            return self.block(Cause::Unknown { what: "port", id: entry.clone() });
        };
        self.pass(Cause::EntersRouter { router: id.clone(), port: entry.clone(), network: incoming.network.clone() });
        if !router.admin_state_up {
            return self.block(Cause::RouterDown { router: id.clone() });
        }
        if !incoming.admin_state_up {
            return self.block(Cause::PortDown { port: entry.clone() });
        }
        let floating = match self.way {
            Way::There => self.translate_destination(id, packet),
            Way::Back => None,
        };
        let tracked = self.way == Way::Back && self.translate_back(id, packet);
        let to = packet.destination;
        let own = router.ports().find(|it| world.ports.get(*it).is_some_and(|port| port.fixed_ips.iter().any(|ip| ip.address == to)));
        match own {
            Some(port) if port == self.target.0 => {
                self.delivered(to);
                return Some(Next::Arrived);
            }
            Some(_) => return self.block(Cause::RouterItself { router: id.clone(), address: to }),
            None => {}
        }
        let Some(hop) = self.hop(id, router, to) else {
            return self.block(Cause::RouterNoRoute { router: id.clone(), address: to });
        };
        self.pass(hop.cause.clone());
        if !hop.port.admin_state_up {
            return self.block(Cause::PortDown { port: hop.out.clone() });
        }
        if !world.is_up(&hop.port.network) {
            return self.block(Cause::NetworkDown { network: hop.port.network.clone() });
        }
        if !tracked {
            self.translate_source(id, router, (entry, incoming), &hop, floating, packet)?;
        }
        Some(self.hand_over(&hop.port.network, hop.nexthop.unwrap_or(to), to))
    }

    /// Floating IPs and port forwardings as destinations; the floating IP if one was.
    fn translate_destination(&mut self, id: &Key, packet: &mut Packet) -> Option<&'a FloatingIp> {
        let world = self.world;
        let outside = packet.destination;
        let (key, floating) = world.floating_ips.iter().find(|(_, it)| it.address == outside && it.router.as_ref() == Some(id))?;
        let (router, floating_ip) = (id.clone(), key.clone());
        let (inside, cause) = if floating.port.is_some() {
            let inside = floating.fixed_address?;
            (inside, Cause::FloatingTarget { router, floating_ip, outside, inside })
        } else {
            let (id, forwarding) = world.port_forwardings.get_key_value(self.forwarding?).filter(|(_, it)| it.floating_ip == *key)?;
            let inside = forwarding.internal_address;
            (inside, Cause::Forwarded { router, floating_ip, port_forwarding: id.clone(), outside, inside })
        };
        self.pass(cause);
        self.translations.push(Translation { router: id.clone(), inside, outside, source: false });
        packet.destination = inside;
        Some(floating)
    }

    /// Undoes on the way back what this router did on the way there; whether it did anything.
    fn translate_back(&mut self, id: &Key, packet: &mut Packet) -> bool {
        let mut tracked = false;
        for it in self.translations.clone().into_iter().rev().filter(|it| it.router == *id) {
            let address = if it.source && packet.destination == it.outside {
                packet.destination = it.inside;
                it.inside
            } else if !it.source && packet.source == it.inside {
                packet.source = it.outside;
                it.outside
            } else {
                continue;
            };
            tracked = true;
            self.pass(Cause::Untranslated { router: id.clone(), address });
        }
        tracked
    }

    /// Address scopes, and what the source becomes: `neutron/agent/l3/router_info.py`.
    fn translate_source(
        &mut self,
        id: &'a Key,
        router: &'a Router,
        (entry, incoming): (&'a Key, &'a Port),
        hop: &Hop<'a>,
        floating: Option<&'a FloatingIp>,
        packet: &mut Packet,
    ) -> Option<()> {
        let world = self.world;
        let (source, ipv6) = (packet.source, packet.destination.is_ipv6());
        let scopes = (incoming.scope(world, ipv6), hop.port.scope(world, ipv6));
        // A floating IP's own network decides which gateway hides a caller from inside.
        let outer = match floating {
            Some(it) if hop.snat.is_none() => router.gateway(entry).is_none().then_some(&it.network),
            _ => hop.snat.map(|_| &hop.port.network),
        };
        if let Some(network) = outer.filter(|_| !ipv6) {
            let mapped = world.floating_ips.iter().find(|(_, it)| {
                it.router.as_ref() == Some(id) && it.network == *network && it.port.is_some() && it.fixed_address == Some(source)
            });
            if let Some((key, it)) = mapped {
                let cause = Cause::FloatingSource { router: id.clone(), floating_ip: key.clone(), inside: source, outside: it.address };
                return self.hide(id, packet, it.address, cause);
            }
            let is_same = scopes.0.is_some() && scopes.0 == scopes.1;
            if floating.is_some() || (hop.snat == Some(true) && !is_same) {
                let ports = router.gateways.iter().filter_map(|it| world.ports.get(&it.port)).filter(|it| it.network == *network);
                let outside = ports.flat_map(|it| it.addresses(false)).map(|it| it.address).next();
                if let Some(outside) = outside {
                    return self.hide(id, packet, outside, Cause::SourceNat { router: id.clone(), inside: source, outside });
                }
            }
        }
        if floating.is_some() {
            return Some(());
        }
        if scopes.0 == scopes.1 {
            self.pass(Cause::SameScope { router: id.clone(), address_scope: scopes.0.cloned() });
            return Some(());
        }
        self.block(Cause::ScopesDiffer { router: id.clone(), from_scope: scopes.0.cloned(), to_scope: scopes.1.cloned() })
    }

    fn hide(&mut self, id: &Key, packet: &mut Packet, outside: IpAddr, cause: Cause) -> Option<()> {
        self.pass(cause);
        // What answers on the way back is not a new connection: nothing remembers it, so that it arrives from a wrong address.
        if self.way == Way::There {
            self.translations.push(Translation { router: id.clone(), inside: packet.source, outside, source: true });
        }
        packet.source = outside;
        Some(())
    }

    /// Where a router sends what is for that address: the longest prefix, connected before static; then its gateway.
    fn hop(&self, id: &'a Key, router: &'a Router, to: IpAddr) -> Option<Hop<'a>> {
        let world = self.world;
        let attached = || {
            router.ports().filter_map(|key| Some((key, world.ports.get(key)?))).flat_map(|(key, port)| {
                port.fixed_ips.iter().filter_map(move |it| Some((key, port, &it.subnet, world.subnets.get(&it.subnet)?)))
            })
        };
        let snat = |out: &Key| router.gateway(out).map(|it| it.enable_snat);
        let connected = attached().filter(|it| it.3.cidr.contains(&to)).map(|(out, port, subnet, state)| {
            let cause = Cause::Connected { router: id.clone(), subnet: subnet.clone(), network: port.network.clone() };
            (state.cidr.prefix_len(), Hop { out, port, snat: snat(out), nexthop: None, cause })
        });
        let routes = router.routes.iter().filter(|it| it.destination.contains(&to));
        let extra = routes.filter_map(|route| {
            let (out, port, ..) = attached().find(|it| it.3.cidr.contains(&route.nexthop))?;
            let cause = Cause::ExtraRoute { router: id.clone(), destination: route.destination, nexthop: route.nexthop };
            Some((route.destination.prefix_len(), Hop { out, port, snat: snat(out), nexthop: Some(route.nexthop), cause }))
        });
        // The first of the longest.
        let best = connected.chain(extra).reduce(|best, it| if it.0 > best.0 { it } else { best }).map(|it| it.1);
        best.or_else(|| {
            router.gateways.iter().find_map(|gateway| {
                let (out, port) = world.ports.get_key_value(&gateway.port)?;
                let nexthop = port.addresses(to.is_ipv6()).find_map(|it| world.subnets.get(&it.subnet)?.gateway)?;
                let cause = Cause::DefaultRoute { router: id.clone(), network: port.network.clone(), nexthop };
                Some(Hop { out, port, snat: Some(gateway.enable_snat), nexthop: Some(nexthop), cause })
            })
        })
    }
}
