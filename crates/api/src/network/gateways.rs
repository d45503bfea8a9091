//! Gateways of routers: `external_gateway_info`, which is about the first, and the actions on all of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::put as on_put;
use axum::{Json, Router as Routes};
use http::StatusCode;
use model::net::l3::{FloatingIp, Gateway, NdpProxy, Router, exit};
use model::net::qos::QosPolicy;
use model::net::{Network, Port, Subnet};
use model::{Id, Object};
use serde_json::Value;
use store::Query;

use super::ipam::{self, WantedIp};
use super::l3_ports::{self, Purpose, bad, conflict};
use super::noun::{Noun as _, Work, permitted};
use super::routers::{self, Around};
use super::{Ask, ports, qos, router_interfaces};
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::resource::{parse, rooted, value};

/// A gateway as a body asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    network_id: Id<Network>,
    addresses: Vec<WantedIp>,
    enable_snat: Option<bool>,
    /// None: nothing is said of it.
    qos_policy_id: Option<Option<Id<QosPolicy>>>,
}

/// Reads `external_gateway_info`; none: there is to be no gateway.
///
/// # Errors
/// What is wrong with it, in Neutron's words.
pub(super) fn read(v: &Value) -> Result<Option<Wanted>, String> {
    let info = match v {
        Value::Null => return Ok(None),
        Value::Object(info) if info.is_empty() => return Ok(None),
        Value::Object(info) => info,
        Value::String(text) => return Err(format!("'{text}' is not a dictionary")),
        other => return Err(format!("'{other}' is not a dictionary")),
    };
    let Some(network) = info.get("network_id") else {
        let keys: Vec<String> = info.keys().map(|it| format!("'{it}'")).collect();
        return Err(format!(
            "Validation of dictionary's keys failed. Expected keys: {{'network_id'}} Provided keys: {{{}}}",
            keys.join(", ")
        ));
    };
    let known = ["network_id", "external_fixed_ips", "enable_snat", "qos_policy_id"];
    let unknown: Vec<&str> = info.keys().map(String::as_str).filter(|it| !known.contains(it)).collect();
    if !unknown.is_empty() {
        return Err(format!("Unexpected keys supplied: {}", unknown.join(", ")));
    }
    let addresses = match info.get("external_fixed_ips") {
        None => Vec::new(),
        Some(given) => ipam::wanted_ips(given)?,
    };
    let policy = |v: &Value| if v.is_null() { Ok(None) } else { l3_ports::uuid(v).map(Some) };
    Ok(Some(Wanted {
        network_id: l3_ports::uuid(network)?,
        addresses,
        enable_snat: info.get("enable_snat").map(value::boolean).transpose()?,
        qos_policy_id: info.get("qos_policy_id").map(policy).transpose()?,
    }))
}

pub(super) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .route(
            "/routers/{id}/add_external_gateways",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| act(&ask, &id, &body, Act::Add).await),
        )
        .route(
            "/routers/{id}/update_external_gateways",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| act(&ask, &id, &body, Act::Update).await),
        )
        .route(
            "/routers/{id}/remove_external_gateways",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| act(&ask, &id, &body, Act::Remove).await),
        )
}

/// What is done with gateways.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Add,
    Update,
    Remove,
}

impl Act {
    fn rule(self) -> &'static str {
        match self {
            Self::Add => "add_external_gateways",
            Self::Update => "update_external_gateways",
            Self::Remove => "remove_external_gateways",
        }
    }
}

async fn act(ask: &Ask, id: &str, body: &Bytes, act: Act) -> Result<Json<Value>, Failure> {
    let body = parse(body)?;
    let invalid = |why: String| {
        Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", format!("Invalid input for external_gateways. Reason: {why}."))
    };
    let mut wanted = Vec::new();
    let mut rules: BTreeSet<String> = BTreeSet::new();
    let given = rooted(&body, "router")?.get("external_gateways");
    for it in given.map(|it| it.as_array().ok_or_else(|| invalid(format!("'{it}' is not a list")))).transpose()?.into_iter().flatten() {
        wanted.push(read(it).map_err(invalid)?.ok_or_else(|| invalid("an entry is empty".into()))?);
        rules.extend(it.as_object().into_iter().flat_map(|it| it.keys()).map(|key| format!("{}:external_gateways:{key}", act.rule())));
    }
    for tries in 0.. {
        let before = permitted::<Router>(ask, id, act.rule()).await?;
        let target = Router::target(&before, &Around::default());
        let of_members =
            |it: &&String| ["network_id", "enable_snat", "external_fixed_ips"].iter().any(|name| it.ends_with(&format!(":{name}")));
        // Those of removal are one rule for all members.
        for rule in rules.iter().filter(of_members).filter(|_| act != Act::Remove) {
            enforce(&ask.app, &ask.caller, rule, &target)?;
        }
        if given.is_none() {
            break;
        }
        enforce(&ask.app, &ask.caller, &format!("{}:external_gateways", act.rule()), &target)?;
        let mut after = before.clone();
        let mut work = Work::new(ask, tries);
        match act {
            Act::Add => add(&mut work, &mut after, &wanted).await?,
            Act::Update => replace(&mut work, &before, &mut after, &wanted).await?,
            Act::Remove => remove(&mut work, &before, &mut after, &wanted).await?,
        }
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    routers::answered(ask, id).await
}

/// The external network a gateway is to be on, and its subnets.
async fn outside(
    work: &mut Work<'_>,
    router: &Object<Router>,
    wanted: &Wanted,
) -> Result<(Arc<Object<Network>>, Vec<Arc<Object<Subnet>>>), Failure> {
    let network = ports::network(work, &wanted.network_id, true).await?;
    if !l3_ports::is_external(work.ask, &network.id).await? {
        return Err(bad("router", format!("Network {} is not an external network", network.id)));
    }
    let subnets = ipam::subnets(work, &network.id).await?;
    for address in wanted.addresses.iter().filter_map(|it| it.ip_address) {
        if subnets.iter().any(|it| it.desired.gateway_ip == Some(address)) {
            return Err(bad("router", format!("External IP {address} is the same as the gateway IP")));
        }
    }
    hops(work.ask, router, subnets.iter().map(|it| it.desired.cidr).collect()).await?;
    Ok((network, subnets))
}

/// Checks that a router's static routes go on leading somewhere when its first gateway is on a network of these prefixes.
async fn hops(ask: &Ask, router: &Object<Router>, mut prefixes: Vec<ipnet::IpNet>) -> Result<(), Failure> {
    let it = &router.desired;
    if it.routes.is_empty() {
        return Ok(());
    }
    let ports = it.interfaces.iter().map(|it| it.port_id.to_string()).chain(it.gateways.iter().skip(1).map(|it| it.port_id.to_string()));
    let (inside, own) = routers::connected(ask, ports.collect()).await?;
    prefixes.extend(inside);
    routers::check_hops(&it.routes, &prefixes, &own)
}

/// Makes a gateway and puts it at that place among the others.
async fn attach(work: &mut Work<'_>, router: &mut Object<Router>, wanted: &Wanted, place: usize) -> Result<Object<Port>, Failure> {
    let (network, subnets) = outside(work, router, wanted).await?;
    let new: Vec<&Object<Subnet>> = subnets.iter().map(|it| it.as_ref()).collect();
    router_interfaces::check_overlap(work.ask, router, &new, true).await?;
    let addresses = Some(wanted.addresses.as_slice()).filter(|it| !it.is_empty());
    let device = router.id.to_string();
    let port = l3_ports::make(work, &network, Purpose { project: None, owner: l3_ports::GATEWAY, device: &device }, addresses).await?;
    let place = place.min(router.desired.gateways.len());
    router.desired.gateways.insert(place, Gateway { port_id: port.id.clone(), network_id: network.id.clone() });
    Ok(port)
}

fn needed(router: &Id<Router>, network: &Id<Network>) -> Failure {
    let text = format!(
        "Gateway cannot be updated for router {router}, since a gateway to external network {network} is required by one or more floating IPs."
    );
    conflict("RouterExternalGatewayInUseByFloatingIp", text)
}

/// What it means if a proxy keeps a router's gateway.
pub(super) fn used_by_ndp(router: &Id<Router>) -> Failure {
    let text =
        format!("Unable to unset external gateway of router {router}, There are one or more ndp proxies still in use on the router.");
    conflict("RouterGatewayInUseByNDPProxy", text)
}

/// Removes the gateway by that port; the router has it no more, but all that it is to have.
async fn detach(work: &mut Work<'_>, router: &Object<Router>, gateway: &Gateway) -> Result<(), Failure> {
    let store = &work.ask.app.store;
    if !router.desired.gateways.iter().any(|it| it.network_id == gateway.network_id) {
        let way = exit(&router.id, &gateway.network_id);
        if !store.list_few(&Query::<FloatingIp>::new().column("exit", [way.clone()]).limit(1)).await?.is_empty() {
            return Err(needed(&router.id, &gateway.network_id));
        }
        work.referenced_means::<FloatingIp>("exit", needed(&router.id, &gateway.network_id));
        work.step(|batch| batch.unless_referenced::<FloatingIp>("exit", &way));
    }
    if router.desired.gateways.is_empty() {
        let proxies = Query::<NdpProxy>::new().column("router_id", [router.id.to_string()]).limit(1);
        if !store.list_few(&proxies).await?.is_empty() {
            return Err(used_by_ndp(&router.id));
        }
        work.referenced_means::<NdpProxy>("router_id", used_by_ndp(&router.id));
        work.step(|batch| batch.unless_referenced::<NdpProxy>("router_id", router.id.as_str()));
    }
    if let Some(port) = l3_ports::port(work.ask, &gateway.port_id).await? {
        l3_ports::remove(work, &port).await?;
    }
    Ok(())
}

/// Whether the addresses asked for are others than the port has.
fn moves(port: &Object<Port>, wanted: &[WantedIp]) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let has = &port.desired.fixed_ips;
    let subnets: BTreeSet<&Id<Subnet>> = has.iter().map(|it| &it.subnet_id).collect();
    let addresses: BTreeSet<IpAddr> = has.iter().map(|it| it.ip_address).collect();
    wanted.iter().filter_map(|it| it.subnet_id.as_ref()).collect::<BTreeSet<_>>() != subnets
        || wanted.iter().filter_map(|it| it.ip_address).collect::<BTreeSet<_>>() != addresses
}

/// Gives a gateway other addresses.
async fn readdress(work: &mut Work<'_>, router: &mut Object<Router>, port: &Object<Port>, wanted: &Wanted) -> Result<(), Failure> {
    let (network, _) = outside(work, router, wanted).await?;
    l3_ports::readdress(work, port, &network, &wanted.addresses).await?;
    router.desired.readdressed = router.desired.readdressed.wrapping_add(1);
    Ok(())
}

/// Makes the first gateway what `external_gateway_info` says; none: there is to be none, and the second becomes the first. `ndp_is_asked`: the
/// same body asks for answers to inner IPv6 addresses.
///
/// # Errors
/// It cannot be so, or floating IPs or proxies need what is there.
pub(super) async fn first(
    work: &mut Work<'_>,
    before: &Object<Router>,
    after: &mut Object<Router>,
    info: Option<Wanted>,
    ndp_is_asked: bool,
) -> Result<(), Failure> {
    after.desired.enable_snat = info.as_ref().and_then(|it| it.enable_snat).unwrap_or(true);
    let ndp_is_new = after.desired.enable_ndp_proxy && !before.desired.enable_ndp_proxy;
    let has = after.desired.gateways.first().cloned();
    let Some(info) = info else {
        let Some(gateway) = has else { return check_ndp(work, before, after).await };
        if ndp_is_asked {
            return Err(routers::no_ndp(&after.id, "The router's external gateway will be unset"));
        }
        hops_without(work.ask, after).await?;
        after.desired.gateways.remove(0);
        after.desired.gateway_qos_policy_id = None;
        after.desired.enable_ndp_proxy = false;
        return detach(work, after, &gateway).await;
    };
    if let Some(policy) = &info.qos_policy_id {
        qos::used(work, policy.as_ref()).await?;
        after.desired.gateway_qos_policy_id.clone_from(policy);
    }
    let mut port = match &has {
        Some(gateway) => l3_ports::port(work.ask, &gateway.port_id).await?,
        None => None,
    };
    match (&has, &port) {
        (Some(gateway), Some(had)) if gateway.network_id == info.network_id => {
            if moves(had, &info.addresses) {
                if before.desired.enable_ndp_proxy && !has_v6(work, &info).await? {
                    let text = format!(
                        "Can't remove the IPv6 subnet from external gateway of router {}, the IPv6 subnet in use by the router's ndp proxy.",
                        after.id
                    );
                    return Err(conflict("RouterIPv6GatewayInUse", text));
                }
                readdress(work, after, had, &info).await?;
            } else {
                outside(work, after, &info).await?;
            }
        }
        _ => {
            if let Some(gateway) = &has {
                after.desired.gateways.remove(0);
                let (kept, rest) = (after.desired.enable_ndp_proxy, after.desired.gateway_qos_policy_id.clone());
                detach(work, after, gateway).await?;
                after.desired.enable_ndp_proxy = kept && ndp_is_new;
                after.desired.gateway_qos_policy_id = rest.filter(|_| info.qos_policy_id.is_some());
            }
            port = Some(attach(work, after, &info, 0).await?);
        }
    }
    if ndp_is_new && !supports_ndp(work, &info.network_id, port.as_ref()).await? {
        let text = format!(
            "The external network {} don't support IPv6 ndp proxy, the network has no IPv6 subnets or has no IPv6 address scope",
            info.network_id
        );
        return Err(routers::no_ndp(&after.id, &text));
    }
    Ok(())
}

/// Checks that static routes do not need the first gateway. Those of a router without other ports stay: they lead nowhere then.
async fn hops_without(ask: &Ask, router: &Object<Router>) -> Result<(), Failure> {
    if router.desired.interfaces.is_empty() && router.desired.gateways.len() < 2 { Ok(()) } else { hops(ask, router, Vec::new()).await }
}

async fn has_v6(work: &mut Work<'_>, wanted: &Wanted) -> Result<bool, Failure> {
    if wanted.addresses.iter().any(|it| it.ip_address.is_some_and(|it| it.is_ipv6())) {
        return Ok(true);
    }
    let subnets = ipam::subnets(work, &wanted.network_id).await?;
    let of_v6 = |id: &Id<Subnet>| subnets.iter().any(|it| it.id == *id && it.desired.cidr.network().is_ipv6());
    Ok(wanted.addresses.iter().filter_map(|it| it.subnet_id.as_ref()).any(of_v6))
}

/// Whether a router with a gateway on that network can answer there for inner IPv6 addresses.
async fn supports_ndp(work: &mut Work<'_>, network: &Id<Network>, port: Option<&Object<Port>>) -> Result<bool, Failure> {
    let has_v6 = port.is_some_and(|it| it.desired.fixed_ips.iter().any(|it| it.ip_address.is_ipv6()));
    Ok(has_v6 && l3_ports::v6_scope(work, network).await?.is_some())
}

/// Checks that a router that is to answer for inner IPv6 addresses from now on can.
///
/// # Errors
/// It cannot.
pub(super) async fn check_ndp(work: &mut Work<'_>, before: &Object<Router>, after: &Object<Router>) -> Result<(), Failure> {
    if !after.desired.enable_ndp_proxy || before.desired.enable_ndp_proxy {
        return Ok(());
    }
    let fits = match after.desired.gateways.first() {
        Some(gateway) => {
            let port = l3_ports::port(work.ask, &gateway.port_id).await?;
            supports_ndp(work, &gateway.network_id, port.as_ref()).await?
        }
        None => false,
    };
    let text = "The router has no external gateway or the external gateway port has no IPv6 address or IPv6 address scope";
    if fits { Ok(()) } else { Err(routers::no_ndp(&after.id, text)) }
}

/// Removes all gateways.
///
/// # Errors
/// Floating IPs or proxies need one.
pub(super) async fn remove_all(work: &mut Work<'_>, _: &Object<Router>, after: &mut Object<Router>) -> Result<(), Failure> {
    let all = std::mem::take(&mut after.desired.gateways);
    after.desired.gateway_qos_policy_id = None;
    after.desired.enable_ndp_proxy = false;
    for gateway in &all {
        detach(work, after, gateway).await?;
    }
    Ok(())
}

async fn add(work: &mut Work<'_>, after: &mut Object<Router>, wanted: &[Wanted]) -> Result<(), Failure> {
    for one in wanted {
        if after.desired.gateways.is_empty() {
            let before = after.clone();
            first(work, &before, after, Some(one.clone()), false).await?;
        } else {
            attach(work, after, one, usize::MAX).await?;
        }
    }
    Ok(())
}

fn unmatched(router: &Id<Router>, why: &str) -> Failure {
    let text = format!("Unable to match a requested gateway port to existing gateway ports for router {router}: {why}.");
    Failure::named(StatusCode::BAD_REQUEST, "UnableToMatchGateways", text)
}

/// Which of the gateways an entry means: the one on its network, or the one there that has one of its addresses.
async fn meant(ask: &Ask, router: &Id<Router>, left: &[Gateway], wanted: &Wanted, fatal: bool) -> Result<Option<usize>, Failure> {
    let there: Vec<usize> = left.iter().enumerate().filter(|(_, it)| it.network_id == wanted.network_id).map(|(at, _)| at).collect();
    let named: Vec<IpAddr> = wanted.addresses.iter().filter_map(|it| it.ip_address).collect();
    if named.is_empty() {
        return match there.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err(unmatched(
                router,
                &format!(
                    "multiple gateway ports are attached to the same network {} and external_fixed_ips are not given",
                    wanted.network_id
                ),
            )),
        };
    }
    for at in &there {
        let Some(gateway) = left.get(*at) else { continue };
        let port = l3_ports::port(ask, &gateway.port_id).await?;
        if port.is_some_and(|it| it.desired.fixed_ips.iter().any(|it| named.contains(&it.ip_address))) {
            return Ok(Some(*at));
        }
    }
    if fatal && !there.is_empty() {
        return Err(unmatched(router, &format!("no gateway port on network {} has the fixed IPs given", wanted.network_id)));
    }
    Ok(None)
}

/// Makes the gateways those that are asked for: what is there and meant stays.
async fn replace(work: &mut Work<'_>, before: &Object<Router>, after: &mut Object<Router>, wanted: &[Wanted]) -> Result<(), Failure> {
    if wanted.is_empty() {
        return remove_all(work, before, after).await;
    }
    let mut left = std::mem::take(&mut after.desired.gateways);
    let mut found = Vec::new();
    for one in wanted {
        let at = meant(work.ask, &before.id, &left, one, false).await?;
        found.push(at.map(|at| left.remove(at)));
    }
    after.desired.gateways = found.iter().flatten().cloned().collect();
    if let Some(info) = wanted.first() {
        after.desired.enable_snat = info.enable_snat.unwrap_or(true);
        if let Some(policy) = &info.qos_policy_id {
            qos::used(work, policy.as_ref()).await?;
            after.desired.gateway_qos_policy_id.clone_from(policy);
        }
    }
    // Floating IPs may go on using a gateway on the same network that is new.
    let mut later = after.clone();
    later.desired.gateways.extend(
        wanted
            .iter()
            .zip(&found)
            .filter(|(_, has)| has.is_none())
            .map(|(one, _)| Gateway { port_id: Id::random(), network_id: one.network_id.clone() }),
    );
    for gateway in &left {
        detach(work, &later, gateway).await?;
    }
    for (place, (one, has)) in wanted.iter().zip(found).enumerate() {
        match has {
            None => drop(attach(work, after, one, place).await?),
            Some(gateway) => {
                let port = l3_ports::port(work.ask, &gateway.port_id).await?;
                if let Some(port) = port.filter(|it| moves(it, &one.addresses)) {
                    readdress(work, after, &port, one).await?;
                }
            }
        }
    }
    Ok(())
}

async fn remove(work: &mut Work<'_>, before: &Object<Router>, after: &mut Object<Router>, wanted: &[Wanted]) -> Result<(), Failure> {
    if after.desired.gateways.is_empty() && !wanted.is_empty() {
        let text = format!("Unable to remove extra gateways from a router {}: it has no external gateways.", before.id);
        return Err(Failure::named(StatusCode::BAD_REQUEST, "UnableToRemoveGateways", text));
    }
    let mut gone = Vec::new();
    for one in wanted {
        let at = meant(work.ask, &before.id, &after.desired.gateways, one, true).await?;
        let at = at.ok_or_else(|| unmatched(&before.id, &format!("there is no gateway port on network {}", one.network_id)))?;
        gone.push(after.desired.gateways.remove(at));
    }
    if after.desired.gateways.is_empty() {
        after.desired.gateway_qos_policy_id = None;
        after.desired.enable_ndp_proxy = false;
    }
    for gateway in &gone {
        detach(work, after, gateway).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_has_a_form() {
        let id = "00000000-0000-0000-0000-000000000001";
        assert_eq!(read(&json!(null)), Ok(None));
        assert_eq!(read(&json!({})), Ok(None));
        let full =
            json!({"network_id": id, "enable_snat": false, "external_fixed_ips": [{"ip_address": "10.0.0.5"}], "qos_policy_id": null});
        let read_full = read(&full).unwrap().unwrap();
        assert_eq!((read_full.enable_snat, read_full.addresses.len(), read_full.qos_policy_id), (Some(false), 1, Some(None)));
        for wrong in [
            json!("x"),
            json!({"foo": id}),
            json!({"network_id": id, "foo": 1}),
            json!({"network_id": null}),
            json!({"network_id": id, "external_fixed_ips": "x"}),
            json!({"network_id": id, "enable_snat": "maybe"}),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
