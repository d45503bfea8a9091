use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

/// A world that grows by a line a thing: project `p` is the owner unless said otherwise.
#[derive(Clone, Default)]
struct Built(World);

impl Built {
    fn network(mut self, id: &str, cidr: &str, gateway: Option<&str>) -> Self {
        let network = Network { project: "p".into(), admin_state_up: true, shared: false, external: false };
        self.0.networks.entry(id.into()).or_insert(network);
        let cidr = net(cidr);
        let family = if cidr.addr().is_ipv4() { "4" } else { "6" };
        let subnet = Subnet { network: id.into(), cidr, gateway: gateway.map(ip), host_routes: Vec::new(), address_scope: None };
        self.0.subnets.insert(format!("{id}-{family}"), subnet);
        self
    }

    fn external(mut self, id: &str, cidr: &str, gateway: &str) -> Self {
        self = self.network(id, cidr, Some(gateway));
        self.0.networks.get_mut(id).unwrap().external = true;
        self
    }

    /// A port that nothing filters, of the network's first letter's name.
    fn port(mut self, id: &str, network: &str, address: &str) -> Self {
        let fixed_ips = address
            .split(',')
            .filter(|it| !it.is_empty())
            .map(|it| FixedIp { subnet: format!("{network}-{}", if it.contains(':') { "6" } else { "4" }), address: ip(it) })
            .collect();
        let port = Port { project: "p".into(), network: network.into(), admin_state_up: true, fixed_ips, ..Port::default() };
        self.0.ports.insert(id.into(), port);
        self
    }

    fn groups(mut self, port: &str, groups: &[&str]) -> Self {
        let port = self.0.ports.get_mut(port).unwrap();
        port.port_security = true;
        port.security_groups = groups.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    fn group(mut self, id: &str, stateful: bool, rules: &[Rule]) -> Self {
        self.0.security_groups.insert(id.into(), SecurityGroup { project: "p".into(), stateful, rules: rules.to_vec() });
        self
    }

    fn router(mut self, id: &str, interfaces: &[(&str, &str)]) -> Self {
        self.0.routers.entry(id.into()).or_insert(Router { project: "p".into(), admin_state_up: true, ..Router::default() });
        for (network, address) in interfaces {
            let port = format!("{id}-{network}");
            self = self.port(&port, network, address);
            self.0.ports.get_mut(&port).unwrap().device_owner = "network:router_interface".into();
            self.0.routers.get_mut(id).unwrap().interfaces.push(port);
        }
        self
    }

    fn gateway(mut self, router: &str, network: &str, address: &str, enable_snat: bool) -> Self {
        let port = format!("{router}-{network}");
        self = self.port(&port, network, address);
        self.0.ports.get_mut(&port).unwrap().device_owner = "network:router_gateway".into();
        self.0.routers.get_mut(router).unwrap().gateways.push(Gateway { port, enable_snat });
        self
    }

    fn floating(mut self, id: &str, network: &str, address: &str, to: Option<(&str, &str)>, router: &str) -> Self {
        let floating = FloatingIp {
            project: "p".into(),
            network: network.into(),
            address: ip(address),
            port: to.map(|it| it.0.to_owned()),
            fixed_address: to.map(|it| ip(it.1)),
            router: Some(router.into()),
        };
        self.0.floating_ips.insert(id.into(), floating);
        self
    }

    fn scope(mut self, subnet: &str, scope: &str) -> Self {
        self.0.subnets.get_mut(subnet).unwrap().address_scope = Some(scope.into());
        self
    }

    fn route(mut self, router: &str, destination: &str, nexthop: &str) -> Self {
        self.0.routers.get_mut(router).unwrap().routes.push(Route { destination: net(destination), nexthop: ip(nexthop) });
        self
    }

    fn ask(&self, from: &str, to: &str) -> Answer {
        explain(&self.0, &Question::new(from, to))
    }

    fn tcp(&self, from: &str, to: &str, port: u16) -> Answer {
        explain(&self.0, &Question { protocol: Protocol::parse("tcp"), port: Some(port), ..Question::new(from, to) })
    }
}

fn rule(id: &str, direction: Direction, remote: Remote) -> Rule {
    Rule { id: id.into(), direction, ipv6: false, protocol: None, port_range_min: None, port_range_max: None, remote }
}

fn tcp(id: &str, direction: Direction, ports: (u16, u16), remote: Remote) -> Rule {
    let protocol = Protocol::parse("tcp");
    Rule { protocol, port_range_min: Some(ports.0), port_range_max: Some(ports.1), ..rule(id, direction, remote) }
}

/// The rules of a project's default group.
fn usual(group: &str) -> [Rule; 2] {
    [rule("out", Direction::Egress, Remote::Any), rule("in", Direction::Ingress, Remote::Group(group.into()))]
}

/// What blocks, or panics if nothing does.
#[track_caller]
fn blocker(answer: &Answer) -> &Cause {
    assert!(!answer.reachable, "{}", told(answer));
    &answer.steps.iter().find(|it| it.effect == Effect::Blocks).expect("something blocks").cause
}

fn told(answer: &Answer) -> String {
    answer.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn reaches(answer: &Answer) {
    assert!(answer.reachable, "{}", told(answer));
    assert!(answer.steps.iter().all(|it| it.effect != Effect::Blocks), "{}", told(answer));
}

fn has(answer: &Answer, wanted: impl Fn(&Cause) -> bool) -> bool {
    answer.steps.iter().any(|it| wanted(&it.cause))
}

fn one_network() -> Built {
    Built::default().network("n", "10.0.0.0/24", Some("10.0.0.1")).port("a", "n", "10.0.0.10").port("b", "n", "10.0.0.11")
}

/// Networks `n` and `m` behind router `r`.
fn routed() -> Built {
    one_network()
        .network("m", "10.1.0.0/24", Some("10.1.0.1"))
        .port("c", "m", "10.1.0.10")
        .router("r", &[("n", "10.0.0.1"), ("m", "10.1.0.1")])
}

/// Two tenants, each behind a router of its own, on one external network; `d` has a floating IP.
fn tenants() -> Built {
    one_network()
        .external("x", "203.0.113.0/24", "203.0.113.1")
        .router("r", &[("n", "10.0.0.1")])
        .gateway("r", "x", "203.0.113.2", true)
        .network("k", "10.0.0.0/24", Some("10.0.0.1"))
        .port("d", "k", "10.0.0.10")
        .router("s", &[("k", "10.0.0.1")])
        .gateway("s", "x", "203.0.113.3", true)
        .floating("f", "x", "203.0.113.9", Some(("d", "10.0.0.10")), "s")
        .port("h", "x", "203.0.113.50")
}

#[test]
fn the_default_group_lets_its_own_members_in() {
    let world = one_network().group("g", true, &usual("g")).group("o", true, &usual("o")).groups("a", &["g"]).groups("b", &["g"]);
    let answer = world.ask("a", "b");
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::IngressAllowed { security_group_rule, .. } if security_group_rule == "in")));
    assert!(has(&answer, |it| matches!(it, Cause::ReplyTracked { port, .. } if port == "a")));
    let world = world.groups("b", &["o"]);
    assert!(matches!(blocker(&world.ask("a", "b")), Cause::IngressDenied { .. }));
    let world = world.groups("a", &[]);
    assert!(matches!(blocker(&world.ask("a", "b")), Cause::EgressDenied { .. }));
}

#[test]
fn protocols_and_ports_of_rules_count() {
    let web = tcp("web", Direction::Ingress, (80, 443), Remote::Prefix(net("10.0.0.0/28")));
    let world = one_network()
        .group("g", true, &[rule("out", Direction::Egress, Remote::Any)])
        .group("w", true, &[web])
        .groups("a", &["g"])
        .groups("b", &["w"]);
    reaches(&world.tcp("a", "b", 80));
    assert!(matches!(blocker(&world.tcp("a", "b", 22)), Cause::IngressDenied { .. }));
    let any = world.ask("a", "b");
    reaches(&any);
    assert_eq!(any.traffic.ports, Some((80, 443)));
    let udp = Question { protocol: Protocol::parse("udp"), ..Question::new("a", "b") };
    assert!(matches!(blocker(&explain(&world.0, &udp)), Cause::IngressDenied { .. }));
    // What may leave and what may enter have nothing in common.
    let world = world.group("g", true, &[tcp("ssh", Direction::Egress, (22, 22), Remote::Any)]);
    assert!(matches!(blocker(&world.ask("a", "b")), Cause::NothingInCommon { .. }));
}

#[test]
fn address_groups_and_allowed_addresses_count() {
    let mut world = one_network()
        .group("g", true, &[rule("out", Direction::Egress, Remote::Any)])
        .group("w", true, &[rule("list", Direction::Ingress, Remote::AddressGroup("l".into()))])
        .groups("a", &["g"])
        .groups("b", &["w"]);
    assert!(matches!(blocker(&world.ask("a", "b")), Cause::IngressDenied { .. }));
    world.0.address_groups.insert("l".into(), AddressGroup { addresses: vec![net("10.0.0.10/32")] });
    reaches(&world.ask("a", "b"));
    let spoofing = Question { from_address: Some(ip("10.0.0.77")), ..Question::new("a", "b") };
    assert!(matches!(blocker(&explain(&world.0, &spoofing)), Cause::Spoofed { .. }));
    world.0.ports.get_mut("a").unwrap().allowed_addresses.push(net("10.0.0.77/32"));
    assert!(matches!(blocker(&explain(&world.0, &spoofing)), Cause::IngressDenied { .. }));
    world.0.address_groups.get_mut("l").unwrap().addresses.push(net("10.0.0.64/26"));
    reaches(&explain(&world.0, &spoofing));
}

#[test]
fn stateless_groups_need_rules_for_replies() {
    let ask_web = tcp("ask", Direction::Egress, (80, 80), Remote::Any);
    let web = tcp("web", Direction::Ingress, (80, 80), Remote::Any);
    let reply_out = tcp("reply", Direction::Egress, (1024, 65535), Remote::Any);
    let world = one_network()
        .group("g", true, std::slice::from_ref(&ask_web))
        .group("w", false, std::slice::from_ref(&web))
        .groups("a", &["g"])
        .groups("b", &["w"]);
    assert!(matches!(blocker(&world.tcp("a", "b", 80)), Cause::ReplyDenied { port, .. } if port == "b"));
    let world = world.group("w", false, &[web.clone(), reply_out.clone()]);
    reaches(&world.tcp("a", "b", 80));
    let world = world.group("g", false, std::slice::from_ref(&ask_web));
    assert!(matches!(blocker(&world.tcp("a", "b", 80)), Cause::ReplyDenied { port, .. } if port == "a"));
    let world = world.group("g", false, &[ask_web, Rule { direction: Direction::Ingress, ..reply_out }]);
    let answer = world.tcp("a", "b", 80);
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::ReplyAllowed { port, .. } if port == "a")));
}

#[test]
fn a_router_joins_its_networks() {
    let world = routed();
    let answer = world.ask("a", "c");
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::SubnetGateway { .. })) && has(&answer, |it| matches!(it, Cause::Connected { .. })));
    let mut without = world.clone();
    without.0.routers.clear();
    assert!(matches!(blocker(&without.ask("a", "c")), Cause::UnknownForwarder { .. }));
    without.0.ports.remove("r-n");
    assert!(matches!(blocker(&without.ask("a", "c")), Cause::NobodyThere { .. }));
    let mut one_way = world.clone();
    one_way.0.subnets.get_mut("m-4").unwrap().gateway = None;
    let answer = one_way.ask("a", "c");
    assert!(matches!(blocker(&answer), Cause::NoRoute { port, .. } if port == "c"));
    assert_eq!(answer.steps.last().unwrap().way, Way::Back);
    let mut down = world.clone();
    down.0.routers.get_mut("r").unwrap().admin_state_up = false;
    assert!(matches!(blocker(&down.ask("a", "c")), Cause::RouterDown { .. }));
    let mut down = world.clone();
    down.0.ports.get_mut("r-m").unwrap().admin_state_up = false;
    assert!(matches!(blocker(&down.ask("a", "c")), Cause::PortDown { port } if port == "r-m"));
    let mut down = world;
    down.0.networks.get_mut("m").unwrap().admin_state_up = false;
    assert!(matches!(blocker(&down.ask("a", "c")), Cause::NetworkDown { .. }));
}

#[test]
fn ports_and_networks_that_are_down_carry_nothing() {
    let mut world = one_network();
    world.0.ports.get_mut("b").unwrap().admin_state_up = false;
    assert!(matches!(blocker(&world.ask("a", "b")), Cause::PortDown { port } if port == "b"));
    assert!(matches!(blocker(&world.ask("b", "a")), Cause::PortDown { port } if port == "b"));
    let mut world = one_network();
    world.0.networks.get_mut("n").unwrap().admin_state_up = false;
    assert!(matches!(blocker(&world.ask("a", "b")), Cause::NetworkDown { .. }));
}

#[test]
fn scopes_keep_apart_what_is_not_translated() {
    let world = routed().scope("n-4", "one");
    assert!(matches!(blocker(&world.ask("a", "c")), Cause::ScopesDiffer { to_scope: None, .. }));
    let world = world.scope("m-4", "two");
    assert!(matches!(blocker(&world.ask("a", "c")), Cause::ScopesDiffer { .. }));
    let world = world.scope("m-4", "one");
    let answer = world.ask("a", "c");
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::SameScope { address_scope: Some(scope), .. } if scope == "one")));
}

#[test]
fn routers_in_a_row_need_routes_both_ways() {
    let world = routed()
        .network("o", "10.2.0.0/24", Some("10.2.0.1"))
        .port("e", "o", "10.2.0.10")
        .router("q", &[("m", "10.1.0.2"), ("o", "10.2.0.1")])
        .route("r", "10.2.0.0/16", "10.1.0.2");
    assert!(matches!(blocker(&world.ask("a", "e")), Cause::RouterNoRoute { router, .. } if router == "q"));
    let world = world.route("q", "10.0.0.0/24", "10.1.0.1");
    let answer = world.ask("a", "e");
    reaches(&answer);
    assert_eq!(answer.steps.iter().filter(|it| matches!(it.cause, Cause::EntersRouter { .. })).count(), 4);
    let circle = world.route("r", "10.9.0.0/16", "10.1.0.2").route("q", "10.9.0.0/16", "10.1.0.1");
    let circle = circle.network("z", "10.9.0.0/24", None).port("far", "z", "10.9.0.5");
    assert!(matches!(blocker(&circle.ask("a", "far")), Cause::Loop { .. }));
}

#[test]
fn host_routes_come_before_the_gateway() {
    let mut world = one_network()
        .network("m", "10.1.0.0/24", Some("10.1.0.1"))
        .port("c", "m", "10.1.0.10")
        .router("r", &[("n", "10.0.0.254"), ("m", "10.1.0.1")]);
    assert!(!world.ask("a", "c").reachable);
    let route = Route { destination: net("10.1.0.0/16"), nexthop: ip("10.0.0.254") };
    world.0.subnets.get_mut("n-4").unwrap().host_routes.push(route);
    let answer = world.ask("a", "c");
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::HostRoute { .. })));
    let by_port = Route { destination: net("10.1.0.0/24"), nexthop: ip("10.0.0.11") };
    world.0.subnets.get_mut("n-4").unwrap().host_routes.push(by_port);
    assert!(matches!(blocker(&world.ask("a", "c")), Cause::UnknownForwarder { port, .. } if port == "b"));
}

#[test]
fn floating_ips_are_reached_from_behind_another_router() {
    let world = tenants();
    let answer = world.ask("a", "d");
    reaches(&answer);
    assert_eq!(answer.to_address, Some(ip("203.0.113.9")));
    assert!(has(&answer, |it| matches!(it, Cause::SourceNat { router, outside, .. } if router == "r" && *outside == ip("203.0.113.2"))));
    assert!(has(&answer, |it| matches!(it, Cause::FloatingTarget { router, .. } if router == "s")));
    assert_eq!(answer.steps.iter().filter(|it| matches!(it.cause, Cause::Untranslated { .. })).count(), 2);
    // The same address is another machine nearby.
    let own = Question { to_address: Some(ip("10.0.0.10")), ..Question::new("a", "d") };
    assert!(!explain(&world.0, &own).reachable);
    // Nothing leads back to one without a floating IP.
    assert!(!world.ask("d", "a").reachable);
    // From the external network itself, too; and rules see the router's address.
    reaches(&world.ask("h", "d"));
    let world = world.group("g", true, &[rule("gw", Direction::Ingress, Remote::Prefix(net("203.0.113.2/32")))]).groups("d", &["g"]);
    reaches(&world.ask("a", "d"));
    assert!(matches!(blocker(&world.ask("h", "d")), Cause::IngressDenied { .. }));
}

#[test]
fn one_who_has_a_floating_ip_is_seen_by_it() {
    let world = tenants().floating("g", "x", "203.0.113.8", Some(("a", "10.0.0.10")), "r");
    for (from, to) in [("a", "d"), ("d", "a")] {
        let answer = world.ask(from, to);
        reaches(&answer);
        assert!(has(&answer, |it| matches!(it, Cause::FloatingSource { .. })));
    }
    reaches(&world.ask("a", "h"));
    // Scopes do not matter to it.
    let world = world.scope("n-4", "one").scope("k-4", "two");
    reaches(&world.ask("a", "d"));
}

#[test]
fn a_floating_ip_behind_the_same_router() {
    let world = routed().external("x", "203.0.113.0/24", "203.0.113.1").gateway("r", "x", "203.0.113.2", true).floating(
        "f",
        "x",
        "203.0.113.9",
        Some(("c", "10.1.0.10")),
        "r",
    );
    let by_floating = Question { to_address: Some(ip("203.0.113.9")), ..Question::new("a", "c") };
    let answer = explain(&world.0, &by_floating);
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::SourceNat { .. })));
    let world = world.scope("n-4", "one");
    assert!(matches!(
        blocker(&explain(&world.0, &Question { to_address: Some(ip("10.1.0.10")), ..by_floating.clone() })),
        Cause::ScopesDiffer { .. }
    ));
    reaches(&explain(&world.0, &by_floating));
}

#[test]
fn snat_is_left_out_within_one_scope_and_when_it_is_off() {
    let scoped = tenants().scope("n-4", "all").scope("x-4", "all");
    // Sources are kept: the host outside does not know the way back.
    assert!(matches!(blocker(&scoped.ask("a", "h")), Cause::LeavesCloud { .. } | Cause::NobodyThere { .. }));
    reaches(&tenants().ask("a", "h"));
    let mut routes = scoped.clone();
    let route = Route { destination: net("10.0.0.0/24"), nexthop: ip("203.0.113.2") };
    routes.0.subnets.get_mut("x-4").unwrap().host_routes.push(route);
    let answer = routes.ask("a", "h");
    reaches(&answer);
    assert!(!has(&answer, |it| matches!(it, Cause::SourceNat { .. })));
    let mut off = routes.clone().scope("n-4", "other");
    reaches(&off.ask("a", "h"));
    off.0.routers.get_mut("r").unwrap().gateways[0].enable_snat = false;
    assert!(matches!(blocker(&off.ask("a", "h")), Cause::ScopesDiffer { .. }));
}

#[test]
fn what_lies_outside_is_not_known() {
    let world = tenants().network("z", "192.0.2.0/24", None).port("far", "z", "192.0.2.1");
    assert!(matches!(blocker(&world.ask("a", "far")), Cause::LeavesCloud { .. }));
}

#[test]
fn port_forwardings_lead_to_their_port_only() {
    let mut world = tenants();
    world.0.floating_ips.get_mut("f").unwrap().port = None;
    let forwarding = PortForwarding {
        floating_ip: "f".into(),
        port: "d".into(),
        internal_address: ip("10.0.0.10"),
        protocol: Protocol::parse("tcp").unwrap(),
        external_ports: (2200, 2201),
        internal_ports: (22, 23),
    };
    world.0.port_forwardings.insert("pf".into(), forwarding);
    let world = world.group("g", true, &[tcp("telnet", Direction::Ingress, (23, 23), Remote::Any)]).groups("d", &["g"]);
    let answer = world.tcp("a", "d", 2201);
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::Forwarded { port_forwarding, .. } if port_forwarding == "pf")));
    assert!(matches!(blocker(&world.tcp("a", "d", 2200)), Cause::IngressDenied { .. }));
    assert!(!world.tcp("a", "d", 22).reachable);
    let any = world.ask("a", "d");
    reaches(&any);
    assert_eq!(any.traffic.ports, Some((23, 23)));
}

#[test]
fn replies_that_miss_the_translator_are_found() {
    // `d` sends replies through another router than the one that translated.
    let mut world = tenants().router("t", &[("k", "10.0.0.254")]).gateway("t", "x", "203.0.113.4", true);
    world.0.subnets.get_mut("k-4").unwrap().gateway = Some(ip("10.0.0.254"));
    assert!(matches!(blocker(&world.ask("h", "d")), Cause::ReplyFromElsewhere { .. }));
}

#[test]
fn ipv6_is_not_translated() {
    let world = Built::default()
        .network("n", "2001:db8:1::/64", Some("2001:db8:1::1"))
        .port("a", "n", "2001:db8:1::a")
        .external("x", "2001:db8:f::/64", "2001:db8:f::1")
        .port("h", "x", "2001:db8:f::5")
        .router("r", &[("n", "2001:db8:1::1")])
        .gateway("r", "x", "2001:db8:f::2", true);
    assert!(!world.ask("a", "h").reachable);
    let mut world = world;
    let route = Route { destination: net("2001:db8:1::/64"), nexthop: ip("2001:db8:f::2") };
    world.0.subnets.get_mut("x-6").unwrap().host_routes.push(route);
    reaches(&world.ask("a", "h"));
    reaches(&world.ask("h", "a"));
    let only_v4 = Question { ipv6: Some(false), ..Question::new("a", "h") };
    assert!(matches!(blocker(&explain(&world.0, &only_v4)), Cause::NoAddresses { .. }));
}

#[test]
fn ports_without_addresses_speak_on_their_own_network() {
    let world = one_network().port("bare", "n", "").port("bare2", "n", "").network("m", "10.1.0.0/24", None).port("c", "m", "10.1.0.5");
    reaches(&world.ask("bare", "bare2"));
    reaches(&world.ask("bare", "a"));
    reaches(&world.ask("a", "bare"));
    assert!(matches!(blocker(&world.ask("bare", "c")), Cause::NoAddresses { .. }));
    let world = world.group("g", true, &usual("g")).groups("a", &["g"]);
    assert!(matches!(blocker(&world.ask("bare", "a")), Cause::IngressDenied { .. }));
    let world = world.groups("bare", &[]);
    assert!(matches!(blocker(&world.ask("bare", "bare2")), Cause::NoAddresses { .. }));
}

#[test]
fn routers_ports_can_be_asked_for() {
    let world = routed();
    reaches(&world.ask("a", "r-n"));
    reaches(&world.ask("a", "r-m"));
    reaches(&world.ask("r-n", "c"));
    assert!(matches!(blocker(&world.ask("a", "nobody")), Cause::Unknown { what: "port", .. }));
    reaches(&world.ask("a", "a"));
}

#[test]
fn bare_metal_is_not_filtered() {
    let mut world = one_network().groups("a", &[]).groups("b", &[]);
    assert!(!world.ask("a", "b").reachable);
    for port in world.0.ports.values_mut() {
        port.bare_metal = true;
    }
    let answer = world.ask("a", "b");
    reaches(&answer);
    assert!(has(&answer, |it| matches!(it, Cause::Unfiltered { why: Unfiltered::BareMetal, .. })));
}

#[test]
fn it_is_said_how_a_port_came_onto_its_network() {
    let usage = |world: &Built| {
        let answer = world.ask("a", "b");
        let found = answer.steps.iter().find_map(|it| match &it.cause {
            Cause::Network { port, usage, .. } if port == "a" => Some(usage.clone()),
            _ => None,
        });
        found.unwrap()
    };
    let mut world = one_network();
    assert_eq!(usage(&world), Usage::Own);
    world.0.ports.get_mut("a").unwrap().project = "q".into();
    assert_eq!(usage(&world), Usage::Foreign);
    world.0.rbac.insert("e".into(), RbacEntry { network: "n".into(), external: false, target: "q".into() });
    assert_eq!(usage(&world), Usage::Rbac { rbac_policy: "e".into() });
    world.0.networks.get_mut("n").unwrap().shared = true;
    assert_eq!(usage(&world), Usage::Shared);
}

#[test]
fn steps_are_objects_with_a_kind_and_a_line() {
    let answer = routed().scope("n-4", "one").ask("a", "c");
    let shown = serde_json::to_value(&answer).unwrap();
    let last = shown["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["kind"], "scopes_differ");
    assert_eq!(last["effect"], "blocks");
    assert_eq!(last["way"], "there");
    assert_eq!(last["router"], "r");
    assert_eq!(last["text"], "router r drops it: from address scope one to no address scope without translation");
    assert_eq!(shown["reachable"], false);
    let world: World = serde_json::from_value(serde_json::to_value(&routed().0).unwrap()).unwrap();
    assert_eq!(world, routed().0);
}

/// A few of everything, joined at random; most references lead somewhere.
fn any_world() -> impl Strategy<Value = World> {
    let bits = proptest::collection::vec(any::<u8>(), 400);
    bits.prop_map(|bytes| {
        let mut left = bytes.into_iter().cycle();
        let mut some = move |below: u8| left.next().unwrap() % below;
        let mut world = Built::default();
        for n in 0..4 {
            // Two networks have the same addresses.
            world = world.network(&format!("n{n}"), &format!("10.{}.0.0/24", n / 2 + n % 3), Some(&format!("10.{}.0.1", n / 2 + n % 3)));
            if some(3) == 0 {
                world = world.scope(&format!("n{n}-4"), &format!("scope{}", some(2)));
            }
            let network = world.0.networks.get_mut(&format!("n{n}")).unwrap();
            (network.external, network.shared, network.admin_state_up) = (some(3) == 0, some(3) == 0, some(10) != 0);
            let hop =
                Route { destination: net(&format!("10.{}.0.0/{}", some(4), 16 + some(9))), nexthop: ip(&format!("10.{n}.0.{}", some(9))) };
            if some(3) == 0 {
                world.0.subnets.get_mut(&format!("n{n}-4")).unwrap().host_routes.push(hop);
            }
        }
        for g in 0..3 {
            let mut rules = Vec::new();
            for r in 0..some(5) {
                let remote = match some(4) {
                    0 => Remote::Any,
                    1 => Remote::Group(format!("g{}", some(4))),
                    2 => Remote::AddressGroup(format!("l{}", some(2))),
                    _ => Remote::Prefix(net(&format!("10.{}.0.0/16", some(4)))),
                };
                let direction = if some(2) == 0 { Direction::Ingress } else { Direction::Egress };
                let made = match some(3) {
                    0 => rule(&format!("g{g}r{r}"), direction, remote),
                    _ => tcp(&format!("g{g}r{r}"), direction, (u16::from(some(100)), 65_535 - 300 * u16::from(some(200))), remote),
                };
                rules.push(made);
            }
            world = world.group(&format!("g{g}"), some(2) == 0, &rules);
        }
        world.0.address_groups.insert("l0".into(), AddressGroup { addresses: vec![net("10.0.0.0/25")] });
        let cidr = |world: &Built, n: u8| world.0.subnets[&format!("n{n}-4")].cidr.network().to_string();
        for r in 0..3 {
            let id = format!("r{r}");
            world = world.router(&id, &[]);
            world.0.routers.get_mut(&id).unwrap().admin_state_up = some(10) != 0;
            for n in 0..4 {
                let base = cidr(&world, n);
                let address = format!("{}{}", base.trim_end_matches('0'), 1 + some(2) * some(3));
                match some(4) {
                    0 => world = world.router(&id, &[(&format!("n{n}"), &address)]),
                    1 => world = world.gateway(&id, &format!("n{n}"), &address, some(2) == 0),
                    _ => {}
                }
            }
            if some(2) == 0 {
                world = world.route(&id, &format!("10.{}.0.0/16", some(4)), &format!("10.{}.0.{}", some(4), 1 + some(3)));
            }
        }
        for p in 0..5 {
            let (id, n) = (format!("p{p}"), some(4));
            let base = cidr(&world, n);
            let address = format!("{}{}", base.trim_end_matches('0'), 10 + p);
            world = world.port(&id, &format!("n{n}"), if some(8) == 0 { "" } else { &address });
            if some(2) == 0 {
                let group = format!("g{}", some(3));
                world = world.groups(&id, &[&group]);
            }
            world.0.ports.get_mut(&id).unwrap().admin_state_up = some(10) != 0;
            if some(3) == 0 {
                let (f, external, router) = (format!("f{p}"), format!("n{}", some(4)), format!("r{}", some(3)));
                let outside = format!("10.{}.0.{}", some(4), 100 + p);
                world = world.floating(&f, &external, &outside, (some(3) != 0).then_some((id.as_str(), address.as_str())), &router);
                let forwarding = PortForwarding {
                    floating_ip: f.clone(),
                    port: id.clone(),
                    internal_address: ip(&address),
                    protocol: Protocol(6),
                    external_ports: (80, 90),
                    internal_ports: (8080, 8090),
                };
                world.0.port_forwardings.insert(f, forwarding);
            }
        }
        world.0
    })
}

/// Which networks any router touches together, taken transitively: the networks of each port's own part of the world.
fn parts(world: &World) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut of: BTreeMap<&str, BTreeSet<&str>> = world.networks.keys().map(|it| (it.as_str(), BTreeSet::from([it.as_str()]))).collect();
    for router in world.routers.values() {
        let touched: Vec<&str> = router.ports().filter_map(|it| world.ports.get(it)).map(|it| it.network.as_str()).collect();
        let all: BTreeSet<&str> = touched.iter().flat_map(|it| of[it].iter().copied()).collect();
        for network in &all {
            of.insert(network, all.clone());
        }
    }
    of
}

fn pairs() -> impl Iterator<Item = (String, String)> {
    (0..5).flat_map(|a| (0..5).filter(move |b| *b != a).map(move |b| (format!("p{a}"), format!("p{b}"))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn who_has_no_router_in_common_is_apart(world in any_world()) {
        let parts = parts(&world);
        for (from, to) in pairs() {
            let answer = explain(&world, &Question::new(from.as_str(), to.as_str()));
            let (a, b) = (&world.ports[&from].network, &world.ports[&to].network);
            if !parts[a.as_str()].contains(b.as_str()) {
                prop_assert!(!answer.reachable, "{}", told(&answer));
            }
            // It is said what blocks, and nothing blocks what is reachable.
            prop_assert_eq!(answer.reachable, answer.steps.iter().all(|it| it.effect != Effect::Blocks), "{}", told(&answer));
        }
    }

    #[test]
    fn one_more_rule_never_cuts_anybody_off(world in any_world(), group in 0..3_usize, any_remote: bool, inward: bool, ports in (any::<u16>(), any::<u16>())) {
        let mut more = world.clone();
        let remote = if any_remote { Remote::Any } else { Remote::Prefix(net("10.0.0.0/8")) };
        let direction = if inward { Direction::Ingress } else { Direction::Egress };
        let ports = (ports.0.min(ports.1), ports.0.max(ports.1));
        more.security_groups.get_mut(&format!("g{group}")).unwrap().rules.insert(0, tcp("more", direction, ports, remote));
        for (from, to) in pairs() {
            for port in [None, Some(80), Some(8085)] {
                let question = Question { port, protocol: port.map(|_| Protocol(6)), ..Question::new(from.as_str(), to.as_str()) };
                let (before, after) = (explain(&world, &question), explain(&more, &question));
                prop_assert!(!before.reachable || after.reachable, "before:\n{}\nafter:\n{}", told(&before), told(&after));
            }
        }
    }

    #[test]
    fn what_reaches_one_port_reaches_it_without_naming_the_port(world in any_world()) {
        for (from, to) in pairs() {
            let one = explain(&world, &Question { port: Some(80), protocol: Some(Protocol(6)), ..Question::new(from.as_str(), to.as_str()) });
            let any = explain(&world, &Question::new(from.as_str(), to.as_str()));
            prop_assert!(!one.reachable || any.reachable, "{}\nbut\n{}", told(&one), told(&any));
        }
    }

    #[test]
    fn one_network_without_filters_is_symmetric(world in any_world()) {
        let mut world = world;
        for port in world.ports.values_mut() {
            port.port_security = false;
        }
        world.floating_ips.clear();
        for (from, to) in pairs().filter(|it| world.ports[&it.0].network == world.ports[&it.1].network) {
            let there = explain(&world, &Question::new(from.as_str(), to.as_str()));
            let back = explain(&world, &Question::new(to.as_str(), from.as_str()));
            prop_assert_eq!(there.reachable, back.reachable, "{}\nbut\n{}", told(&there), told(&back));
        }
    }

    /// A world that grows by what is asked for comes to the answer of the whole one.
    #[test]
    fn only_the_neighbours_asked_for_are_needed(world in any_world()) {
        for (from, to) in pairs() {
            let question = Question::new(from.as_str(), to.as_str());
            let whole = explain(&world, &question);
            let mut part = world.clone();
            part.ports.retain(|id, _| *id == from || *id == to);
            part.floating_ips.retain(|id, it| it.port.as_ref() == Some(&from) || it.port.as_ref() == Some(&to) || *id == to.replace('p', "f"));
            part.routers.clear();
            let mut answer = explain(&part, &question);
            for _ in 0..40 {
                let before = (part.ports.len(), part.routers.len(), part.floating_ips.len());
                for (id, it) in &world.floating_ips {
                    if answer.neighbours.contains(&(it.network.clone(), it.address)) {
                        part.floating_ips.insert(id.clone(), it.clone());
                    }
                }
                for (id, it) in &world.ports {
                    let is_asked = it.fixed_ips.iter().any(|ip| answer.neighbours.contains(&(it.network.clone(), ip.address)));
                    let is_member = it.device_owner.is_empty() && !it.security_groups.is_empty();
                    if is_asked || is_member {
                        part.ports.insert(id.clone(), it.clone());
                    }
                }
                for (id, it) in &world.routers {
                    let by_floating = part.floating_ips.values().any(|floating| floating.router.as_ref() == Some(id));
                    if by_floating || it.ports().any(|port| part.ports.contains_key(port)) {
                        part.routers.insert(id.clone(), it.clone());
                        part.ports.extend(it.ports().map(|port| (port.clone(), world.ports[port].clone())));
                    }
                }
                if before == (part.ports.len(), part.routers.len(), part.floating_ips.len()) {
                    break;
                }
                answer = explain(&part, &question);
            }
            prop_assert_eq!(answer.reachable, whole.reachable, "part:\n{}\nwhole:\n{}", told(&answer), told(&whole));
            prop_assert_eq!(told(&answer), told(&whole));
        }
    }

    #[test]
    fn broken_references_do_no_harm(world in any_world(), drop in proptest::collection::vec(any::<u8>(), 6)) {
        let mut world = world;
        let nth = |keys: Vec<String>, at: u8| keys.get(usize::from(at) % keys.len().max(1)).cloned().unwrap_or_default();
        world.networks.remove(&nth(world.networks.keys().cloned().collect(), drop[0]));
        world.subnets.remove(&nth(world.subnets.keys().cloned().collect(), drop[1]));
        world.ports.remove(&nth(world.ports.keys().cloned().collect(), drop[2]));
        world.routers.remove(&nth(world.routers.keys().cloned().collect(), drop[3]));
        world.floating_ips.remove(&nth(world.floating_ips.keys().cloned().collect(), drop[4]));
        world.security_groups.remove(&nth(world.security_groups.keys().cloned().collect(), drop[5]));
        for (from, to) in pairs() {
            let answer = explain(&world, &Question::new(from, to));
            prop_assert!(!answer.steps.is_empty());
        }
    }
}
