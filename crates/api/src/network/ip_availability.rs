//! `/v2.0/network-ip-availabilities`: how far the addresses of networks are used. And `/v2.0/service-providers`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::net::pools::IpVersion;
use model::net::{Network, Subnet};
use model::{Id, Object};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Query, Term};

use super::agents::{filtered, nobodys};
use super::{Ask, Extension, extension};
use crate::App;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "network-ip-availability",
        "Network IP Availability",
        "Provides IP availability data for each network and subnet.",
        "2015-09-24T00:00:00-00:00",
    ),
    extension(
        "network-ip-availability-details",
        "Network IP Availability Details Extension",
        "Add ip_availability_details attribute to network-ip-availabilities resource.",
        "2025-10-31T00:00:00-00:00",
    ),
    extension(
        "service-type",
        "Neutron Service Type Management",
        "API for retrieving service providers for Neutron advanced services",
        "2013-01-20T00:00:00-00:00",
    ),
];

/// Who provides what: type of service, name, whether it is the default one.
const PROVIDERS: [(&str, &str, bool); 1] = [("L3_ROUTER_NAT", "single_node", true)];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/network-ip-availabilities", get(list))
        .route("/network-ip-availabilities/{id}", get(show))
        .route("/service-providers", get(list_providers))
}

async fn list_providers(ask: Ask) -> Result<Json<Value>, Failure> {
    enforce(&ask.app, &ask.caller, "get_service_provider", &nobodys())?;
    let all = PROVIDERS.iter().map(|(kind, name, is_default)| json!({"service_type": kind, "name": name, "default": is_default}));
    Ok(Json(json!({"service_providers": filtered(&ask, &["service_type", "name", "default"], all.collect())})))
}

fn may(ask: &Ask) -> bool {
    allows(&ask.app, &ask.caller, "get_network_ip_availability", &nobodys())
}

/// How many addresses there are from first to last.
fn size(first: IpAddr, last: IpAddr) -> u128 {
    match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(b).saturating_sub(u32::from(a))) + 1,
        (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(b).saturating_sub(u128::from(a)).saturating_add(1),
        _ => 0,
    }
}

/// Four numbers: addresses there are in the prefix and in the pools, and how many of each are used.
#[derive(Clone, Copy, Default)]
struct Count {
    total: u128,
    total_in_pools: u128,
    used: u128,
    used_in_pools: u128,
}

impl Count {
    fn of(subnet: &Subnet_, used: &[u128]) -> Self {
        let cidr = &subnet.desired.cidr;
        let whole = size(cidr.network(), cidr.broadcast());
        let pools = &subnet.desired.allocation_pools;
        let number = |ip: IpAddr| match ip {
            IpAddr::V4(it) => u128::from(u32::from(it)),
            IpAddr::V6(it) => u128::from(it),
        };
        let in_pools = |it: &&u128| pools.iter().any(|pool| (number(pool.start)..=number(pool.end)).contains(it));
        Self {
            // Without the network's and the broadcast address.
            total: if cidr.network().is_ipv4() { whole.saturating_sub(2) } else { whole },
            total_in_pools: pools.iter().map(|it| size(it.start, it.end)).fold(0, u128::saturating_add),
            used: count(used.len()),
            used_in_pools: count(used.iter().filter(in_pools).count()),
        }
    }

    fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.total_in_pools = self.total_in_pools.saturating_add(other.total_in_pools);
        self.used = self.used.saturating_add(other.used);
        self.used_in_pools = self.used_in_pools.saturating_add(other.used_in_pools);
    }

    fn shown(self) -> Entry {
        BTreeMap::from([
            ("total_ips_in_subnet", Part::Number(self.total)),
            ("total_ips_in_allocation_pool", Part::Number(self.total_in_pools)),
            ("used_ips_in_subnet", Part::Number(self.used)),
            ("used_ips_in_allocation_pool", Part::Number(self.used_in_pools)),
        ])
    }
}

/// An entry of the answer. A prefix of IPv6 can have more addresses than JSON values as such can say.
type Entry = BTreeMap<&'static str, Part>;

#[derive(Serialize)]
#[serde(untagged)]
enum Part {
    Plain(Value),
    Number(u128),
    One(Entry),
    Many(Vec<Entry>),
}

type Subnet_ = Object<Subnet>;

fn count(of: usize) -> u128 {
    u128::try_from(of).unwrap_or(u128::MAX)
}

/// The addresses that are used of these subnets, as numbers.
async fn used(ask: &Ask, subnets: &[Subnet_]) -> Result<HashMap<String, Vec<u128>>, Failure> {
    let pools = subnets.iter().map(|it| format!("ip:{}", it.id)).collect();
    let mut used: HashMap<String, Vec<u128>> = HashMap::new();
    for (pool, value) in ask.app.store.held(pools).await? {
        let number = u128::from_str_radix(&value, 16).unwrap_or_default();
        used.entry(pool).or_default().push(number);
    }
    Ok(used)
}

/// A network's entry.
fn shown(network: &Object<Network>, subnets: &[&Subnet_], used: &HashMap<String, Vec<u128>>) -> Entry {
    let mut sum = Count::default();
    let mut total = 0_u128;
    let mut each = Vec::new();
    for subnet in subnets {
        let used = used.get(&format!("ip:{}", subnet.id)).map_or(&[] as &[_], Vec::as_slice);
        let count = Count::of(subnet, used);
        // Without pools all of the prefix counts, as upstream has it.
        let whole = size(subnet.desired.cidr.network(), subnet.desired.cidr.broadcast());
        let there = if subnet.desired.allocation_pools.is_empty() { whole } else { count.total_in_pools };
        total = total.saturating_add(there);
        sum.add(count);
        each.push(BTreeMap::from([
            ("subnet_id", Part::Plain(json!(subnet.id))),
            ("subnet_name", Part::Plain(json!(subnet.name))),
            ("ip_version", Part::Plain(json!(u8::from(IpVersion::of(&subnet.desired.cidr))))),
            ("cidr", Part::Plain(json!(subnet.desired.cidr))),
            ("total_ips", Part::Number(there)),
            ("used_ips", Part::Number(count.used)),
            ("ip_availability_details", Part::One(count.shown())),
        ]));
    }
    BTreeMap::from([
        ("network_id", Part::Plain(json!(network.id))),
        ("network_name", Part::Plain(json!(network.name))),
        ("project_id", Part::Plain(json!(network.project_id))),
        ("tenant_id", Part::Plain(json!(network.project_id))),
        ("total_ips", Part::Number(total)),
        ("used_ips", Part::Number(sum.used)),
        ("subnet_ip_availability", Part::Many(each)),
        ("ip_availability_details", Part::One(sum.shown())),
    ])
}

/// The entries of these networks; with `version`, only of subnets of that one, and of networks that have such.
async fn entries(ask: &Ask, query: Query<Network>, versions: &[String]) -> Result<Vec<Entry>, Failure> {
    let networks = ask.app.store.list(&query).await?;
    let subnets = Query::<Subnet>::new().column("network_id", networks.iter().map(|it| it.id.to_string()));
    let mut subnets = ask.app.store.list(&subnets).await?;
    let version = |it: &Subnet_| u8::from(IpVersion::of(&it.desired.cidr)).to_string();
    subnets.retain(|it| versions.is_empty() || versions.contains(&version(it)));
    let used = used(ask, &subnets).await?;
    let mut by_network: HashMap<_, Vec<&Subnet_>> = HashMap::new();
    for subnet in &subnets {
        by_network.entry(&subnet.desired.network_id).or_default().push(subnet);
    }
    let of = |it: &Object<Network>| by_network.get(&it.id).map_or(&[] as &[_], Vec::as_slice);
    Ok(networks.iter().filter(|it| versions.is_empty() || !of(it).is_empty()).map(|it| shown(it, of(it), &used)).collect())
}

/// Leaves the fields that are asked for.
fn cut(ask: &Ask, entries: &mut [Entry]) {
    let fields = ask.parameters.fields();
    for entry in entries.iter_mut().filter(|_| !fields.is_empty()) {
        entry.retain(|name, _| fields.iter().any(|it| it == name));
    }
}

async fn list(ask: Ask) -> Result<Json<Entry>, Failure> {
    let all = |name: &str| ask.parameters.all(name).map(str::to_owned).collect::<Vec<_>>();
    let mut query = Query::<Network>::new();
    let (ids, names) = (all("network_id"), all("network_name"));
    if !ids.is_empty() {
        query = query.ids(ids);
    }
    if let [name] = names.as_slice() {
        query = query.name(name);
    }
    let projects = [all("project_id"), all("tenant_id")].concat();
    if !projects.is_empty() {
        query = query.any_of(projects.iter().filter_map(|it| Id::parse(it)).map(|id| Term::project(&id)).collect());
    }
    let mut found = if may(&ask) { entries(&ask, query, &all("ip_version")).await? } else { Vec::new() };
    found.retain(|it| match it.get("network_name") {
        Some(Part::Plain(Value::String(name))) => names.is_empty() || names.contains(name),
        _ => true,
    });
    cut(&ask, &mut found);
    Ok(Json(BTreeMap::from([("network_ip_availabilities", Part::Many(found))])))
}

async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Entry>, Failure> {
    let missing = || Failure::named(StatusCode::NOT_FOUND, "NetworkNotFound", format!("Network {id} could not be found."));
    let parsed: Id<Network> = Id::parse(&id).filter(|_| may(&ask)).ok_or_else(missing)?;
    let mut found = entries(&ask, Query::<Network>::new().id(&parsed), &[]).await?;
    cut(&ask, &mut found);
    Ok(Json(BTreeMap::from([("network_ip_availability", Part::One(found.pop().ok_or_else(missing)?))])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(size(ip("10.0.0.0"), ip("10.0.0.255")), 256);
        let many = Part::Number(size(ip("fd00::"), ip("fd00::ffff:ffff:ffff:ffff")));
        assert_eq!(serde_json::to_string(&many).unwrap(), "18446744073709551616");
    }
}
