//! `/v2.0/cofferdam/reachability`: whether one port can reach another, and why.
//!
//! Decided by [`network::reach`] from what is stored. Only what the answer depends on is read: the two ports with their groups, then
//! step by step whoever has the addresses that the packet and its reply are handed to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::net::access::{RbacAction, RbacPolicy};
use model::net::l3::{FloatingIp, PortForwarding, Router as L3Router};
use model::net::pools::SubnetPool;
use model::net::security::{AddressGroup, Direction, Ethertype, RuleMatch, SecurityGroup, SecurityGroupRule};
use model::net::{HostRoute, Network, Port, Subnet};
use model::{Kind, Object};
use network::reach::{self, Answer, Protocol, Question, World, explain};
use serde_json::{Value, json};
use store::{Query, Store};

use super::Ask;
use super::noun::find;
use super::policies::of_project;
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;

/// Most times that more is read for one question: a packet and its reply pass fewer routers.
const MAX_ROUNDS: usize = 64;
/// What the owners of routers' ports begin with.
const ROUTER_PORTS: &str = "network:";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/cofferdam/reachability", get(show))
}

fn invalid(name: &str, given: &str, why: &str) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "InvalidInput", format!("Invalid input for operation: '{given}' for {name}: {why}."))
}

/// The question that the request's parameters ask.
fn asked(ask: &Ask) -> Result<Question, Failure> {
    let known = ["from", "to", "protocol", "port", "from_address", "to_address", "ip_version"];
    if let Some((name, value)) = ask.parameters.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(invalid(name, value, "nothing of that name can be asked for"));
    }
    let given = |name: &str| ask.parameters.first(name).filter(|it| !it.is_empty());
    let port = |name: &str| given(name).map(str::to_owned).ok_or_else(|| invalid(name, "", "the id of a port is needed"));
    let address = |name: &str| given(name).map(|it| it.parse().map_err(|_| invalid(name, it, "it is not an address"))).transpose();
    let protocol =
        given("protocol").map(|it| Protocol::parse(it).ok_or_else(|| invalid("protocol", it, "it is neither a name nor a number of one")));
    let transport = given("port").map(|it| it.parse().map_err(|_| invalid("port", it, "it is not a number from 0 to 65535")));
    let ipv6 = given("ip_version").map(|it| match it {
        "4" => Ok(false),
        "6" => Ok(true),
        _ => Err(invalid("ip_version", it, "it is neither 4 nor 6")),
    });
    let question = Question {
        from: port("from")?,
        to: port("to")?,
        protocol: protocol.transpose()?,
        port: transport.transpose()?,
        ipv6: ipv6.transpose()?,
        from_address: address("from_address")?,
        to_address: address("to_address")?,
    };
    match (question.protocol, question.port) {
        (Some(protocol), Some(port)) if !protocol.has_ports() => {
            Err(invalid("port", &port.to_string(), &format!("{protocol} has no ports")))
        }
        _ => Ok(question),
    }
}

async fn show(ask: Ask) -> Result<Json<Value>, Failure> {
    let question = asked(&ask)?;
    let mut ports = Vec::with_capacity(2);
    for id in [&question.from, &question.to] {
        let (port, _) = find::<Port>(&ask, id).await?;
        enforce(&ask.app, &ask.caller, "get_reachability", &of_project(port.project_id.as_ref()))?;
        ports.push(port);
    }
    let answer = answered(&ask.app.store, ports, &question).await?;
    Ok(Json(json!({"reachability": shown(&question, &answer)})))
}

/// The answer as clients are given it.
fn shown(question: &Question, answer: &Answer) -> Value {
    json!({
        "from": question.from,
        "to": question.to,
        "protocol": question.protocol.map(|it| it.to_string()),
        "port": question.port,
        "reachable": answer.reachable,
        "text": answer.to_string(),
        "traffic": answer.traffic,
        "from_address": answer.from_address,
        "to_address": answer.to_address,
        "steps": answer.steps,
    })
}

/// Reads what is needed and answers.
async fn answered(store: &Store, ports: Vec<Object<Port>>, question: &Question) -> Result<Answer, Failure> {
    let mut reader = Reader { store, world: World::default(), fetched: Fetched::default() };
    let ends: Vec<String> = ports.iter().map(|it| it.id.to_string()).collect();
    reader.take_groups(&ports).await?;
    reader.take_ports(ports).await?;
    let floating = Query::<FloatingIp>::new().column("port_id", ends.clone());
    reader.take_floating(store.list(&floating).await?).await?;
    reader.take_forwardings(&question.to).await?;
    let mut answer = explain(&reader.world, question);
    for _ in 0..MAX_ROUNDS {
        let before = reader.size();
        reader.take_neighbours(&answer.neighbours).await?;
        reader.take_members().await?;
        if reader.size() == before {
            break;
        }
        answer = explain(&reader.world, question);
    }
    Ok(answer)
}

/// What was asked of the store already, whether it was there or not.
#[derive(Default)]
struct Fetched {
    networks: BTreeSet<String>,
    subnets: BTreeSet<String>,
    routers: BTreeSet<String>,
    neighbours: BTreeSet<(String, IpAddr)>,
    /// Security groups that rules name, and the addresses that were looked for in them.
    remotes: BTreeSet<String>,
    members: BTreeSet<IpAddr>,
}

/// A world that grows.
struct Reader<'a> {
    store: &'a Store,
    world: World,
    fetched: Fetched,
}

fn project<K: Kind>(object: &Object<K>) -> String {
    object.project_id.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Those that are not among the known ones, which they become.
fn new_ones(known: &mut BTreeSet<String>, wanted: impl IntoIterator<Item = String>) -> Vec<String> {
    wanted.into_iter().filter(|it| known.insert(it.clone())).collect()
}

impl Reader<'_> {
    fn size(&self) -> [usize; 3] {
        [self.world.ports.len(), self.world.routers.len(), self.world.floating_ips.len()]
    }

    async fn by_ids<K: Kind>(&self, ids: Vec<String>) -> Result<Vec<Object<K>>, Failure> {
        if ids.is_empty() { Ok(Vec::new()) } else { Ok(self.store.list(&Query::<K>::new().ids(ids)).await?) }
    }

    /// Ports with their networks and subnets.
    async fn take_ports(&mut self, ports: Vec<Object<Port>>) -> Result<(), Failure> {
        let networks = new_ones(&mut self.fetched.networks, ports.iter().map(|it| it.desired.network_id.to_string()));
        let of_ports = ports.iter().flat_map(|it| &it.desired.fixed_ips).map(|it| it.subnet_id.to_string());
        let subnets = new_ones(&mut self.fetched.subnets, of_ports);
        for port in ports {
            self.world.ports.insert(port.id.to_string(), port_of(&port));
        }
        self.take_networks(networks).await?;
        self.take_subnets(subnets).await
    }

    async fn take_networks(&mut self, ids: Vec<String>) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let policies = self.store.list(&Query::<RbacPolicy>::new().column("object_id", ids.clone())).await?;
        let is =
            |policy: &&Object<RbacPolicy>, network: &str, action| policy.desired.object_id == network && policy.desired.action == action;
        for network in self.by_ids::<Network>(ids).await? {
            let id = network.id.as_str();
            let shared = policies.iter().filter(|it| is(it, id, RbacAction::AccessAsShared)).any(|it| it.desired.target.is_none());
            let external = policies.iter().any(|it| is(&it, id, RbacAction::AccessAsExternal));
            let admin_state_up = network.desired.admin_state_up;
            self.world.networks.insert(id.to_owned(), reach::Network { project: project(&network), admin_state_up, shared, external });
        }
        for policy in policies {
            let entry = reach::RbacEntry {
                network: policy.desired.object_id.clone(),
                external: policy.desired.action == RbacAction::AccessAsExternal,
                target: policy.desired.target.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string),
            };
            self.world.rbac.insert(policy.id.to_string(), entry);
        }
        Ok(())
    }

    async fn take_subnets(&mut self, ids: Vec<String>) -> Result<(), Failure> {
        let subnets = self.by_ids::<Subnet>(ids).await?;
        let pools: BTreeSet<String> = subnets.iter().filter_map(|it| it.desired.subnetpool_id.as_ref()).map(ToString::to_string).collect();
        let pools = self.by_ids::<SubnetPool>(pools.into_iter().collect()).await?;
        let scopes: BTreeMap<String, Option<String>> =
            pools.into_iter().map(|it| (it.id.to_string(), it.desired.address_scope_id.map(|it| it.to_string()))).collect();
        for subnet in subnets {
            let pool = subnet.desired.subnetpool_id.as_ref().map(ToString::to_string);
            let state = reach::Subnet {
                network: subnet.desired.network_id.to_string(),
                cidr: subnet.desired.cidr,
                gateway: subnet.desired.gateway_ip,
                host_routes: subnet.desired.host_routes.iter().map(route_of).collect(),
                address_scope: pool.and_then(|it| scopes.get(&it).cloned().flatten()),
            };
            self.world.subnets.insert(subnet.id.to_string(), state);
        }
        Ok(())
    }

    /// Routers with all their ports.
    async fn take_routers(&mut self, ids: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let ids = new_ones(&mut self.fetched.routers, ids);
        let routers = self.by_ids::<L3Router>(ids).await?;
        let mut ports = Vec::new();
        for router in routers {
            let state = &router.desired;
            ports.extend(state.interfaces.iter().map(|it| it.port_id.to_string()));
            ports.extend(state.gateways.iter().map(|it| it.port_id.to_string()));
            let gateway = |port: String| reach::Gateway { port, enable_snat: state.enable_snat };
            let made = reach::Router {
                project: project(&router),
                admin_state_up: state.admin_state_up,
                interfaces: state.interfaces.iter().map(|it| it.port_id.to_string()).collect(),
                gateways: state.gateways.iter().map(|it| gateway(it.port_id.to_string())).collect(),
                routes: state.routes.iter().map(route_of).collect(),
            };
            self.world.routers.insert(router.id.to_string(), made);
        }
        ports.retain(|it| !self.world.ports.contains_key(it));
        let ports = self.by_ids::<Port>(ports).await?;
        self.take_ports(ports).await
    }

    async fn take_floating(&mut self, found: Vec<Object<FloatingIp>>) -> Result<(), Failure> {
        let routers: Vec<String> = found.iter().filter_map(|it| it.desired.router_id.as_ref()).map(ToString::to_string).collect();
        for floating in found {
            // One without an address leads nowhere yet.
            let Some(address) = floating.desired.floating_ip_address else { continue };
            let state = reach::FloatingIp {
                project: project(&floating),
                network: floating.desired.floating_network_id.to_string(),
                address,
                port: floating.desired.port_id.as_ref().map(ToString::to_string),
                fixed_address: floating.desired.fixed_ip_address,
                router: floating.desired.router_id.as_ref().map(ToString::to_string),
            };
            self.world.floating_ips.insert(floating.id.to_string(), state);
        }
        self.take_routers(routers).await
    }

    /// The port forwardings that lead to a port.
    async fn take_forwardings(&mut self, port: &str) -> Result<(), Failure> {
        let found = self.store.list(&Query::<PortForwarding>::new().column("internal_port_id", [port.to_owned()])).await?;
        let floating: BTreeSet<String> = found.iter().map(|it| it.desired.floatingip_id.to_string()).collect();
        let mut routers = BTreeMap::new();
        for forwarding in found {
            let state = &forwarding.desired;
            let (Some(outside), Some(inside), Some(address)) = (state.external, state.internal, state.internal_ip_address) else {
                continue;
            };
            let Some(protocol) = Protocol::parse(&state.protocol) else { continue };
            if let Some(router) = &state.router_id {
                routers.insert(state.floatingip_id.to_string(), router.to_string());
            }
            let made = reach::PortForwarding {
                floating_ip: state.floatingip_id.to_string(),
                port: port.to_owned(),
                internal_address: address,
                protocol,
                external_ports: (outside.first, outside.last),
                internal_ports: (inside.first, inside.last),
            };
            self.world.port_forwardings.insert(forwarding.id.to_string(), made);
        }
        let floating = self.by_ids::<FloatingIp>(floating.into_iter().collect()).await?;
        self.take_floating(floating).await?;
        // A floating IP that stands for no port has no router of its own: its forwardings do.
        for (id, router) in &routers {
            if let Some(floating) = self.world.floating_ips.get_mut(id) {
                floating.router.get_or_insert_with(|| router.clone());
            }
        }
        self.take_routers(routers.into_values()).await
    }

    /// Whoever has these addresses on these networks.
    async fn take_neighbours(&mut self, wanted: &BTreeSet<(String, IpAddr)>) -> Result<(), Failure> {
        let new: Vec<&(String, IpAddr)> = wanted.iter().filter(|it| self.fetched.neighbours.insert((*it).clone())).collect();
        if new.is_empty() {
            return Ok(());
        }
        let networks: BTreeSet<String> = new.iter().map(|it| it.0.clone()).collect();
        let addresses: BTreeSet<String> = new.iter().map(|it| it.1.to_string()).collect();
        let ports = Query::<Port>::new().column("network_id", networks.clone()).linked("ip_address", addresses.clone());
        let ports = self.store.list(&ports).await?;
        let floating = Query::<FloatingIp>::new().column("floating_network_id", networks).column("floating_ip_address", addresses);
        let mut floating = self.store.list(&floating).await?;
        // What is known already knows its router, perhaps by its forwardings.
        floating.retain(|it| !self.world.floating_ips.contains_key(it.id.as_str()));
        let of_routers = ports.iter().filter(|it| it.desired.device_owner.starts_with(ROUTER_PORTS));
        let routers: Vec<String> = of_routers.map(|it| it.desired.device_id.clone()).filter(|it| !it.is_empty()).collect();
        self.take_ports(ports).await?;
        self.take_routers(routers).await?;
        self.take_floating(floating).await
    }

    /// The groups of these ports with their rules, and what those name.
    async fn take_groups(&mut self, ports: &[Object<Port>]) -> Result<(), Failure> {
        let ids: BTreeSet<String> = ports.iter().flat_map(|it| &it.desired.security_groups).map(ToString::to_string).collect();
        if ids.is_empty() {
            return Ok(());
        }
        for group in self.by_ids::<SecurityGroup>(ids.iter().cloned().collect()).await? {
            let state = reach::SecurityGroup { project: project(&group), stateful: group.desired.stateful, rules: Vec::new() };
            self.world.security_groups.insert(group.id.to_string(), state);
        }
        let rules = self.store.list(&Query::<SecurityGroupRule>::new().column("security_group_id", ids)).await?;
        let mut lists = BTreeSet::new();
        for rule in rules {
            let matches = &rule.desired.matches;
            self.fetched.remotes.extend(matches.remote_group_id.as_ref().map(ToString::to_string));
            lists.extend(matches.remote_address_group_id.as_ref().map(ToString::to_string));
            if let Some(group) = self.world.security_groups.get_mut(rule.desired.security_group_id.as_str()) {
                group.rules.extend(rule_of(rule.id.as_str(), matches));
            }
        }
        for list in self.by_ids::<AddressGroup>(lists.into_iter().collect()).await? {
            let addresses = list.desired.addresses;
            self.world.address_groups.insert(list.id.to_string(), reach::AddressGroup { addresses });
        }
        // Routers' ports that are asked about bring their router.
        let of_routers = ports.iter().filter(|it| it.desired.device_owner.starts_with(ROUTER_PORTS));
        let routers: Vec<String> = of_routers.map(|it| it.desired.device_id.clone()).filter(|it| !it.is_empty()).collect();
        self.take_routers(routers).await
    }

    /// Members of the groups that rules name, as far as they have an address that the traffic may have.
    async fn take_members(&mut self) -> Result<(), Failure> {
        if self.fetched.remotes.is_empty() {
            return Ok(());
        }
        let of_ports = self.world.ports.values().flat_map(|it| &it.fixed_ips).map(|it| it.address);
        let all = of_ports.chain(self.world.floating_ips.values().map(|it| it.address));
        let new: Vec<IpAddr> = all.filter(|it| !self.fetched.members.contains(it)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let addresses: BTreeSet<String> = new.iter().map(ToString::to_string).collect();
        self.fetched.members.extend(new);
        let members = Query::<Port>::new().linked("security_groups", self.fetched.remotes.clone()).linked("ip_address", addresses);
        let mut members = self.store.list(&members).await?;
        members.retain(|it| !self.world.ports.contains_key(it.id.as_str()));
        self.take_ports(members).await
    }
}

fn route_of(route: &HostRoute) -> reach::Route {
    reach::Route { destination: route.destination, nexthop: route.nexthop }
}

fn port_of(port: &Object<Port>) -> reach::Port {
    let state = &port.desired;
    let pairs = state.allowed_address_pairs.iter();
    reach::Port {
        project: project(port),
        network: state.network_id.to_string(),
        admin_state_up: state.admin_state_up,
        fixed_ips: state.fixed_ips.iter().map(|it| reach::FixedIp { subnet: it.subnet_id.to_string(), address: it.ip_address }).collect(),
        allowed_addresses: pairs.filter_map(|it| network::prefixes::normalise(&it.ip_address)).collect(),
        port_security: state.port_security_enabled,
        security_groups: state.security_groups.iter().map(ToString::to_string).collect(),
        device_owner: state.device_owner.clone(),
        bare_metal: state.binding.vnic_type == "baremetal",
    }
}

/// A rule as questions are answered by it; none if its protocol cannot be understood: then it lets nothing through.
fn rule_of(id: &str, matches: &RuleMatch) -> Option<reach::Rule> {
    let protocol = match matches.protocol.as_deref() {
        None => None,
        Some(it) => Some(Protocol::parse(it)?),
    };
    let remote = if let Some(prefix) = matches.remote_ip_prefix {
        reach::Remote::Prefix(prefix)
    } else if let Some(group) = &matches.remote_group_id {
        reach::Remote::Group(group.to_string())
    } else if let Some(group) = &matches.remote_address_group_id {
        reach::Remote::AddressGroup(group.to_string())
    } else {
        reach::Remote::Any
    };
    Some(reach::Rule {
        id: id.to_owned(),
        direction: match matches.direction {
            Direction::Ingress => reach::Direction::Ingress,
            Direction::Egress => reach::Direction::Egress,
        },
        ipv6: matches.ethertype == Ethertype::IPv6,
        protocol,
        port_range_min: matches.port_range_min,
        port_range_max: matches.port_range_max,
        remote,
    })
}
