//! `/v2.0/subnets`

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use ipnet::IpNet;
use model::net::{AllocationPool, HostRoute, Network, Port, Subnet, SubnetDesired, ip_key};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query};

use super::policies::{of_project, of_subnet};
use super::{Ask, address, again, bodies, created, networks, owner};
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::resource::{Field, Listing, Resource, View, field, parse, put, rooted, value};

pub(super) static SUBNET: Resource<Subnet> = Resource { plural: "subnets", fields: FIELDS };

const FIELDS: &[Field<Subnet>] = &[
    field("id", |it: &Object<Subnet>| json!(it.id)),
    field("name", |it: &Object<Subnet>| json!(it.name)).set(|it, v| put(&mut it.name, value::text(v, 255))),
    field("description", |it: &Object<Subnet>| json!(it.desired.description))
        .set(|it, v| put(&mut it.desired.description, value::text(v, 255))),
    field("network_id", |it: &Object<Subnet>| json!(it.desired.network_id))
        .set_once(|it, v| put(&mut it.desired.network_id, value::id(v)))
        .required()
        .column("network_id"),
    field("ip_version", |it: &Object<Subnet>| json!(if it.desired.cidr.network().is_ipv4() { 4 } else { 6 }))
        .set_once(|_, v| value::number(v, 4, 6).map(drop))
        .required(),
    field("cidr", |it: &Object<Subnet>| json!(it.desired.cidr))
        .set_once(|it, v| {
            let given: IpNet = value::text(v, 64)?.parse().map_err(|_| format!("{v} is not a valid IP subnet"))?;
            if given.trunc() != given {
                return Err(format!("{v} isn't a recognized IP subnet cidr, '{}' is recommended", given.trunc()));
            }
            it.desired.cidr = given;
            Ok(())
        })
        .required(),
    field("gateway_ip", |it: &Object<Subnet>| json!(it.desired.gateway_ip))
        .set(|it, v| put(&mut it.desired.gateway_ip, if v.is_null() { Ok(None) } else { ip(v).map(Some) })),
    field("allocation_pools", |it: &Object<Subnet>| json!(it.desired.allocation_pools))
        .set(|it, v| put(&mut it.desired.allocation_pools, pools(v))),
    field("dns_nameservers", |it: &Object<Subnet>| json!(it.desired.dns_nameservers)).set(|it, v| {
        let list = v.as_array().ok_or("it is not a list")?;
        if list.len() > 5 {
            return Err("there are more than 5".into());
        }
        it.desired.dns_nameservers = list.iter().map(|it| ip(it).map(|ip| ip.to_string())).collect::<Result<_, _>>()?;
        Ok(())
    }),
    field("host_routes", |it: &Object<Subnet>| json!(it.desired.host_routes)).set(|it, v| {
        only_keys(v, &["destination", "nexthop"])?;
        let list: Vec<HostRoute> = serde_json::from_value(v.clone()).map_err(|error| error.to_string())?;
        if list.len() > 20 {
            return Err("there are more than 20".into());
        }
        it.desired.host_routes = list;
        Ok(())
    }),
    field("enable_dhcp", |it: &Object<Subnet>| json!(it.desired.enable_dhcp))
        .set(|it, v| put(&mut it.desired.enable_dhcp, value::boolean(v))),
    field("ipv6_ra_mode", |_: &Object<Subnet>| Value::Null).set_once(|_, v| only_null(v)),
    field("ipv6_address_mode", |_: &Object<Subnet>| Value::Null).set_once(|_, v| only_null(v)),
    field("project_id", |it: &Object<Subnet>| json!(it.project_id)),
    field("tenant_id", |it: &Object<Subnet>| json!(it.project_id)),
    field("created_at", |it: &Object<Subnet>| json!(it.created_at.iso_seconds())),
    field("updated_at", |it: &Object<Subnet>| json!(it.updated_at.unwrap_or(it.created_at).iso_seconds())),
    field("revision_number", |it: &Object<Subnet>| json!(it.generation)),
    field("tags", |_: &Object<Subnet>| json!([])),
];

fn only_null(v: &Value) -> Result<(), String> {
    if v.is_null() { Ok(()) } else { Err("it is not offered: addresses of machines are static".into()) }
}

fn ip(v: &Value) -> Result<IpAddr, String> {
    v.as_str().and_then(|it| it.parse().ok()).ok_or_else(|| format!("{v} is not a valid IP address"))
}

/// Refuses objects in a list that say more than `keys`.
fn only_keys(v: &Value, keys: &[&str]) -> Result<(), String> {
    let mut all = v.as_array().into_iter().flatten().filter_map(Value::as_object).flat_map(Map::keys);
    all.find(|key| !keys.contains(&key.as_str())).map_or(Ok(()), |key| Err(format!("'{key}' is not known")))
}

fn pools(v: &Value) -> Result<Vec<AllocationPool>, String> {
    only_keys(v, &["start", "end"])?;
    let list = v.as_array().ok_or("it is not a list")?;
    list.iter().map(|it| serde_json::from_value(it.clone()).map_err(|_| format!("{it} is not a valid allocation pool"))).collect()
}

/// The subnet of that id and its network, if the caller sees it.
async fn find(ask: &Ask, id: &str) -> Result<(Object<Subnet>, Option<Object<Network>>), Failure> {
    let missing = || Failure::not_found("Subnet", id);
    let parsed = Id::parse(id).ok_or_else(missing)?;
    let subnet = ask.app.store.get::<Subnet>(&parsed).await?.ok_or_else(missing)?;
    let network = ask.app.store.get::<Network>(&subnet.desired.network_id).await?;
    let is_seen = allows(&ask.app, &ask.caller, "get_subnet", &of_subnet(&subnet, network.as_ref()));
    if is_seen { Ok((subnet, network)) } else { Err(missing()) }
}

pub(super) async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let networks = ask.networks().await?;
    let target = |it: &Object<Subnet>| of_subnet(it, networks.get(&it.desired.network_id));
    let listing = Listing {
        resource: &SUBNET,
        parameters: &ask.parameters,
        view: View { app: &ask.app, caller: &ask.caller, target: &target },
        own: of_project(ask.caller.project_id.as_ref()),
        href: ask.href("subnets"),
        strict: true,
    };
    let sees = |it: &Object<Subnet>| allows(&ask.app, &ask.caller, "get_subnet", &target(it));
    Ok(Json(listing.answer(&ask.app.store, Query::new(), sees).await?))
}

fn shown(ask: &Ask, subnet: &Object<Subnet>, network: Option<&Object<Network>>, fields: &[String]) -> Value {
    SUBNET.show(subnet, View { app: &ask.app, caller: &ask.caller, target: &|it| of_subnet(it, network) }, fields)
}

pub(super) async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let (subnet, network) = find(&ask, &id).await?;
    Ok(Json(json!({"subnet": shown(&ask, &subnet, network.as_ref(), &ask.parameters.fields())})))
}

/// Checks what no single field shows (Source: Neutron API reference, "Subnets").
fn check(subnet: &SubnetDesired) -> Result<(), Failure> {
    let bad = |text: String| Failure::BadRequest(text);
    let cidr = &subnet.cidr;
    let network = cidr.network();
    if network.is_multicast() || network.is_loopback() || network.is_unspecified() || cidr.prefix_len() == 0 {
        return Err(bad(format!("Invalid input for operation: {cidr} is a subnet machines cannot have.")));
    }
    if subnet.enable_dhcp && cidr.prefix_len() + 2 > cidr.max_prefix_len() {
        return Err(bad(format!("Invalid input for operation: Subnet {cidr} is too small for DHCP: disable it (enable_dhcp).")));
    }
    let (first, last) = address::usable(cidr);
    if let Some(gateway) = subnet.gateway_ip {
        if gateway.is_ipv4() != network.is_ipv4() {
            return Err(bad(format!("Invalid input for operation: gateway_ip '{gateway}' does not match the ip_version.")));
        }
        if cidr.contains(&gateway) && !(first..=last).contains(&address::number(gateway)) {
            return Err(bad(format!("Invalid input for operation: Gateway IP {gateway} is the network or broadcast address.")));
        }
    }
    let mut ranges = Vec::new();
    for pool in &subnet.allocation_pools {
        let (start, end) = (address::number(pool.start), address::number(pool.end));
        if pool.start.is_ipv4() != network.is_ipv4() || pool.end.is_ipv4() != network.is_ipv4() || start > end {
            return Err(Failure::named(
                StatusCode::BAD_REQUEST,
                "InvalidAllocationPool",
                format!("The allocation pool {}-{} is not valid.", pool.start, pool.end),
            ));
        }
        if start < first || end > last {
            let text = format!("The allocation pool {}-{} spans beyond the subnet cidr {cidr}.", pool.start, pool.end);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "OutOfBoundsAllocationPool", text));
        }
        if subnet.gateway_ip.map(address::number).is_some_and(|it| (start..=end).contains(&it)) {
            let text = format!(
                "Gateway ip {} conflicts with allocation pool {}-{}.",
                subnet.gateway_ip.map(|it| it.to_string()).unwrap_or_default(),
                pool.start,
                pool.end
            );
            return Err(Failure::named(StatusCode::CONFLICT, "GatewayConflictWithAllocationPools", text));
        }
        ranges.push((start, end));
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| matches!(pair, [a, b] if a.1 >= b.0)) {
        return Err(Failure::named(
            StatusCode::CONFLICT,
            "OverlappingAllocationPools",
            format!("Found overlapping allocation pools for {cidr}."),
        ));
    }
    if ranges.iter().map(|(start, end)| end - start).sum::<u128>() > 1 << 20 && network.is_ipv4() {
        return Err(bad(format!("Invalid input for operation: {cidr} is larger than /12.")));
    }
    Ok(())
}

pub(super) async fn create(ask: Ask, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let (wanted, is_bulk) = bodies(&body, "subnet", "subnets")?;
    let mut tries = 0;
    loop {
        let mut batch = Batch::wishes();
        let mut made: Vec<Object<Subnet>> = Vec::new();
        let mut items = Vec::new();
        for wanted in &wanted {
            let (subnet, network) = prepare(&ask, wanted.clone(), &made).await?;
            // Two subnets made at once on one network meet in its row, which was read before its subnets were: they cannot overlap.
            if !made.iter().any(|it| it.desired.network_id == network.id) {
                batch = batch.want(&network);
            }
            if let Some(gateway) = subnet.desired.gateway_ip.filter(|it| subnet.desired.cidr.contains(it)) {
                batch = batch.hold(&address::Taken::pool(&subnet.id), &ip_key(gateway), "gateway");
            }
            batch = batch.create(&subnet);
            items.push(shown(&ask, &subnet, Some(&network), &ask.parameters.fields()));
            made.push(subnet);
        }
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(created(if is_bulk { json!({ "subnets": items }) } else { json!({"subnet": items.pop()}) })),
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn prepare(
    ask: &Ask,
    mut wanted: Map<String, Value>,
    beside: &[Object<Subnet>],
) -> Result<(Object<Subnet>, Object<Network>), Failure> {
    let project = owner(ask, &mut wanted)?;
    let network = match wanted.get("network_id").map(|it| (it, it.as_str())) {
        Some((_, Some(id))) => networks::find(ask, id).await?,
        Some((other, None)) => {
            return Err(Failure::BadRequest(format!("Invalid input for network_id. Reason: {other} is not a valid UUID.")));
        }
        None => return Err(Failure::BadRequest("Failed to parse request. Required attribute 'network_id' not specified".into())),
    };
    let blank = SubnetDesired {
        network_id: network.id.clone(),
        cidr: IpNet::default(),
        gateway_ip: None,
        allocation_pools: Vec::new(),
        dns_nameservers: Vec::new(),
        host_routes: Vec::new(),
        enable_dhcp: true,
        description: String::new(),
    };
    let mut subnet = Object::new(Id::random(), Some(project), "", blank);
    enforce(&ask.app, &ask.caller, "create_subnet", &of_subnet(&subnet, Some(&network)))?;
    let view = View { app: &ask.app, caller: &ask.caller, target: &|it| of_subnet(it, Some(&network)) };
    SUBNET.fill(&mut subnet, &wanted, view)?;
    let desired = &mut subnet.desired;
    let version = if desired.cidr.network().is_ipv4() { 4 } else { 6 };
    if wanted.get("ip_version").and_then(|it| value::number(it, 4, 6).ok()) != Some(version) {
        return Err(Failure::BadRequest(format!("Invalid input for operation: ip_version does not match the cidr {}.", desired.cidr)));
    }
    if !wanted.contains_key("gateway_ip") && desired.cidr.prefix_len() < desired.cidr.max_prefix_len() {
        desired.gateway_ip = address::address(address::number(desired.cidr.network()) + 1, desired.cidr.network());
    }
    if !wanted.contains_key("allocation_pools") {
        desired.allocation_pools = address::usual_pools(&desired.cidr, desired.gateway_ip);
    }
    check(desired)?;
    let there = ask.app.store.list(&Query::<Subnet>::new().with_deleted().column("network_id", [desired.network_id.to_string()])).await?;
    let beside = beside.iter().filter(|it| it.desired.network_id == desired.network_id);
    if let Some(other) = there.iter().chain(beside).find(|it| overlap(&it.desired.cidr, &desired.cidr)) {
        let text = format!(
            "Invalid input for operation: Requested subnet with cidr: {} for network: {} overlaps with another subnet ({}).",
            desired.cidr, desired.network_id, other.id
        );
        return Err(Failure::named(StatusCode::BAD_REQUEST, "InvalidInput", text));
    }
    Ok((subnet, network))
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The subnet of that id and its network, if the rule lets the caller.
async fn permitted(ask: &Ask, id: &str, rule: &str) -> Result<(Object<Subnet>, Option<Object<Network>>), Failure> {
    let (subnet, network) = find(ask, id).await?;
    enforce(&ask.app, &ask.caller, rule, &of_subnet(&subnet, network.as_ref()))?;
    Ok((subnet, network))
}

pub(super) async fn update(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let wanted = rooted(&body, "subnet")?;
    let mut tries = 0;
    loop {
        let (mut subnet, network) = permitted(&ask, &id, "update_subnet").await?;
        let old = subnet.desired.gateway_ip;
        let view = View { app: &ask.app, caller: &ask.caller, target: &|it| of_subnet(it, network.as_ref()) };
        SUBNET.change(&mut subnet, wanted, view)?;
        check(&subnet.desired)?;
        let mut batch = Batch::wishes();
        if subnet.desired.gateway_ip != old {
            let pool = address::Taken::pool(&subnet.id);
            let inside = |it: &IpAddr| subnet.desired.cidr.contains(it);
            if let Some(old) = old.filter(inside) {
                batch = batch.free(&pool, &ip_key(old));
            }
            if let Some(new) = subnet.desired.gateway_ip.filter(inside) {
                if ask.app.store.allocation(&pool, &ip_key(new)).await?.is_some() {
                    let text = format!("Current gateway ip {new} already in use by a port. Unable to update.");
                    return Err(Failure::named(StatusCode::CONFLICT, "GatewayIpInUse", text));
                }
                batch = batch.hold(&pool, &ip_key(new), "gateway");
            }
        }
        match ask.app.store.apply(batch.want(&subnet)).await {
            Ok(()) => {
                let (subnet, network) = find(&ask, &id).await?;
                return Ok(Json(json!({"subnet": shown(&ask, &subnet, network.as_ref(), &[])})));
            }
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// DELETE. Ports are made at any moment, so that looking for those that have addresses here says nothing of the next moment. So the subnet
/// is marked first: nobody takes an address of a marked one. What has one then is all that ever will, and either there is none, or the
/// mark is taken off again. A start in between leaves it marked: out of lists, and removed when asked for once more.
pub(super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let mut tries = 0;
    loop {
        let (subnet, network) = permitted(&ask, &id, "delete_subnet").await?;
        // Also ports on their way out: their addresses are theirs until their switch ports are proven isolated.
        let ports = Query::<Port>::new().with_deleted().column("network_id", [subnet.desired.network_id.to_string()]);
        let ports = ask.app.store.list(&ports).await?;
        let is_used = ports.iter().any(|port| port.desired.fixed_ips.iter().any(|it| it.subnet_id == subnet.id));
        let (batch, answer) = match (subnet.is_deleting(), is_used) {
            (false, false) => (Batch::wishes().mark_deleted(&subnet), None),
            (false, true) => return Err(in_use(&id)),
            (true, true) => (Batch::wishes().remove(&subnet).create(&super::unmarked(&subnet)), Some(Err(in_use(&id)))),
            (true, false) => {
                let batch = Batch::wishes().free_held(&address::Taken::pool(&subnet.id), "gateway").remove(&subnet);
                // What it shows as its subnets changes, and so does its revision.
                let network = network.as_ref().filter(|it| !it.is_deleting());
                (network.into_iter().fold(batch, |batch, it| batch.want(it)), Some(Ok(StatusCode::NO_CONTENT)))
            }
        };
        match (ask.app.store.apply(batch).await, answer) {
            (Ok(()), Some(answer)) => return answer,
            // Marked: on with the second half.
            (Ok(()), None) => {}
            (Err(error), _) if again(&error, tries) => tries += 1,
            (Err(error), _) => return Err(error.into()),
        }
    }
}

fn in_use(id: &str) -> Failure {
    let text = format!("Unable to complete operation on subnet {id}: One or more ports have an IP allocation from this subnet.");
    Failure::named(StatusCode::CONFLICT, "SubnetInUse", text)
}
