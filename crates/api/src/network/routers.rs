//! `/v2.0/routers`: routers, their gateways and static routes. Their interfaces are in `router_interfaces`.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::put as on_put;
use axum::{Json, Router as Routes};
use http::StatusCode;
use ipnet::IpNet;
use model::identity::Project;
use model::net::bgpvpn::BgpvpnRouterAssociation;
use model::net::flavors::ServiceFlavor;
use model::net::l3::{ConntrackHelper, NdpProxy, Router, RouterDesired};
use model::net::operation::{Agent, AgentBinding};
use model::net::{HostRoute, Port};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::gateways::{self, Wanted};
use super::l3_ports::{self, bad, conflict};
use super::noun::{Body, Form, Noun, Work, field, find, permitted, tagged_routes, value_of};
use super::{Ask, Extension, agents, bgpvpn_associations, conntrack_helpers, extension, networks, quotas, router_interfaces};
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::resource::{parse, put, rooted, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "router",
        "Neutron L3 Router",
        "Router abstraction for basic L3 forwarding between L2 Neutron networks and access to external networks via a NAT gateway.",
        "2012-07-20T10:00:00-00:00",
    ),
    extension(
        "ext-gw-mode",
        "Neutron L3 Configurable external gateway mode",
        "Extension of the router abstraction for specifying whether SNAT should occur on the external gateway",
        "2013-03-28T10:00:00-00:00",
    ),
    extension("extraroute", "Neutron Extra Route", "Extra routes configuration for L3 router", "2013-02-01T10:00:00-00:00"),
    extension(
        "extraroute-atomic",
        "Atomically add/remove extra routes",
        "Edit extra routes of a router on server side by atomically adding/removing extra routes",
        "2019-07-10T00:00:00+00:00",
    ),
    extension("dvr", "Distributed Virtual Router", "Enables configuration of Distributed Virtual Routers.", "2014-06-1T10:00:00-00:00"),
    extension("l3-ha", "HA Router extension", "Adds HA capability to routers.", "2014-04-26T00:00:00-00:00"),
    extension("router_availability_zone", "Router Availability Zone", "Availability zone support for router.", "2015-01-01T10:00:00-00:00"),
    extension(
        "router-admin-state-down-before-update",
        "Enforce Router's Admin State Down Before Update Extension",
        "Ensure that the admin state of a router is DOWN (admin_state_up=False) before updating the distributed attribute",
        "2019-07-02T15:56:00",
    ),
    extension("l3-flavors", "Router Flavor Extension", "Flavor support for routers.", "2016-05-17T00:00:00-00:00"),
    extension(
        "l3-ext-ndp-proxy",
        "Router support to enable NDP proxy",
        "Router extension to enable ndp proxy",
        "2020-08-25T00:00:00-00:00",
    ),
    extension(
        "external-gateway-multihoming",
        "Neutron L3 External Gateway Multihoming",
        "Allow multiple external gateway ports per router",
        "2023-01-18T00:00:00-00:00",
    ),
    extension(
        "enable-default-route-bfd",
        "Enable Default Route BFD",
        "Enables configurable BFD behavior for default routes",
        "2023-02-27T00:00:00-00:00",
    ),
    extension(
        "enable-default-route-ecmp",
        "Enable Default Route ECMP",
        "Enables configurable ECMP behavior for default routes",
        "2023-02-27T00:00:00-00:00",
    ),
    extension(
        "router-enable-snat",
        "Exposes the router \"enable_snat\" read-only configuration flag",
        "Exposes the router \"enable_snat\" read-only configuration flag",
        "2025-09-18T18:00:00-00:00",
    ),
    extension("qos-gateway-ip", "Router gateway IP QoS", "The Router gateway IP Quality of Service extension", "2018-02-24T00:00:00-00:00"),
];

/// The service that flavors of routers are of.
const SERVICE_TYPE: &str = "L3_ROUTER_NAT";

pub(super) fn routes() -> Routes<Arc<App>> {
    tagged_routes::<Router>()
        .route(
            "/routers/{id}/add_extraroutes",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| extra(&ask, &id, &body, true).await),
        )
        .route(
            "/routers/{id}/remove_extraroutes",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| extra(&ask, &id, &body, false).await),
        )
        .merge(gateways::routes())
        .merge(router_interfaces::routes())
}

/// What is read beside routers.
#[derive(Default)]
pub(crate) struct Around {
    /// Their gateways' ports.
    ports: HashMap<Id<Port>, Object<Port>>,
    /// Their helpers of connection tracking.
    helpers: HashMap<Id<Router>, Vec<Object<ConntrackHelper>>>,
    /// Where the agents are that serve them.
    zones: HashMap<Id<Router>, BTreeSet<String>>,
}

fn gateway_shown(router: &Object<Router>, around: &Around) -> Value {
    let Some(gateway) = router.desired.gateways.first() else { return Value::Null };
    let addresses = around.ports.get(&gateway.port_id).map(|it| it.desired.fixed_ips.as_slice()).unwrap_or_default();
    json!({
        "network_id": gateway.network_id,
        "external_fixed_ips": addresses,
        "enable_snat": router.desired.enable_snat,
        "qos_policy_id": router.desired.gateway_qos_policy_id,
    })
}

fn gateways_shown(router: &Object<Router>, around: &Around) -> Value {
    let one = |(at, gateway): (usize, &model::net::l3::Gateway)| {
        let addresses = around.ports.get(&gateway.port_id).map(|it| it.desired.fixed_ips.as_slice()).unwrap_or_default();
        let mut shown = json!({"network_id": gateway.network_id, "external_fixed_ips": addresses});
        if let (0, Some(shown)) = (at, shown.as_object_mut()) {
            shown.insert("enable_snat".to_owned(), json!(router.desired.enable_snat));
        }
        shown
    };
    router.desired.gateways.iter().enumerate().map(one).collect()
}

/// True or false, or nothing said.
fn set_flag(place: &mut bool, value: &Value) -> Result<(), String> {
    if value.is_null() { Ok(()) } else { put(place, value::boolean(value)) }
}

static FORM: LazyLock<Form<Router>> = LazyLock::new(|| {
    Form::new("router", "routers", "routers", "RouterNotFound", "Router")
        .not_found_says(|id| format!("Router {id} could not be found"))
        .standard()
        .fields(vec![
            field("admin_state_up", |it: &Object<Router>, _: &Around| json!(it.desired.admin_state_up))
                .set(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v)))
                .sort(),
            field("status", |_: &Object<Router>, _| json!("ACTIVE")).sort(),
            field("external_gateway_info", gateway_shown)
                .set(|_, v| gateways::read(v).map(drop))
                .create_by("create_router:external_gateway_info")
                .update_by("update_router:external_gateway_info"),
            field("external_gateways", gateways_shown),
            field("enable_snat", |it: &Object<Router>, _| json!(it.desired.enable_snat)).sort(),
            field("distributed", |it: &Object<Router>, _| json!(it.desired.distributed))
                .set(|it, v| set_flag(&mut it.desired.distributed, v))
                .read_by("get_router:distributed")
                .create_by("create_router:distributed")
                .update_by("update_router:distributed")
                .filter(),
            field("ha", |it: &Object<Router>, _| json!(it.desired.ha))
                .set(|it, v| set_flag(&mut it.desired.ha, v))
                .read_by("get_router:ha")
                .create_by("create_router:ha")
                .update_by("update_router:ha")
                .filter(),
            field("availability_zone_hints", |it: &Object<Router>, _| json!(it.desired.availability_zone_hints))
                .set_once(|it, v| put(&mut it.desired.availability_zone_hints, networks::zone_hints(v))),
            field("availability_zones", |it: &Object<Router>, around: &Around| {
                around.zones.get(&it.id).into_iter().flatten().map(|it| json!(it)).collect()
            }),
            field("routes", |it: &Object<Router>, _| json!(it.desired.routes))
                .set_later(|it, v| put(&mut it.desired.routes, host_routes(v))),
            field("flavor_id", |it: &Object<Router>, _| json!(it.desired.flavor_id))
                .set_once(|it, v| {
                    it.desired.flavor_id = if v.is_null() { None } else { Some(l3_ports::uuid(v)?) };
                    Ok(())
                })
                .sort()
                .column("flavor_id"),
            field("enable_ndp_proxy", |it: &Object<Router>, _| json!(it.desired.enable_ndp_proxy && !it.desired.gateways.is_empty()))
                .set(|it, v| set_flag(&mut it.desired.enable_ndp_proxy, v))
                .filter(),
            field("enable_default_route_bfd", |it: &Object<Router>, _| json!(it.desired.enable_default_route_bfd))
                .set(|it, v| set_flag(&mut it.desired.enable_default_route_bfd, v))
                .create_by("create_router:enable_default_route_bfd")
                .update_by("update_router:enable_default_route_bfd"),
            field("enable_default_route_ecmp", |it: &Object<Router>, _| json!(it.desired.enable_default_route_ecmp))
                .set(|it, v| set_flag(&mut it.desired.enable_default_route_ecmp, v))
                .create_by("create_router:enable_default_route_ecmp")
                .update_by("update_router:enable_default_route_ecmp"),
            field("conntrack_helpers", |it: &Object<Router>, around: &Around| {
                around.helpers.get(&it.id).into_iter().flatten().map(conntrack_helpers::in_router).collect()
            }),
        ])
});

impl Noun for Router {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<RouterDesired, Failure> {
        Ok(RouterDesired {
            description: String::new(),
            tags: Vec::new(),
            admin_state_up: true,
            distributed: false,
            ha: false,
            availability_zone_hints: Vec::new(),
            flavor_id: None,
            enable_ndp_proxy: false,
            enable_default_route_bfd: false,
            enable_default_route_ecmp: false,
            enable_snat: true,
            gateway_qos_policy_id: None,
            gateways: Vec::new(),
            interfaces: Vec::new(),
            routes: Vec::new(),
            readdressed: 0,
        })
    }

    async fn around(ask: &Ask, routers: &[Object<Self>]) -> Result<Around, Failure> {
        let mut around = Around::default();
        let ports: Vec<String> = routers.iter().flat_map(|it| &it.desired.gateways).map(|it| it.port_id.to_string()).collect();
        let few = routers.len() <= 8;
        if !ports.is_empty() {
            let query = Query::<Port>::new().ids(ports);
            let found = if few { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
            around.ports = found.into_iter().map(|it| (it.id.clone(), it)).collect();
        }
        if !routers.is_empty() {
            let query = Query::<ConntrackHelper>::new().column("router_id", routers.iter().map(|it| it.id.to_string()));
            let found = if few { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
            for helper in found {
                around.helpers.entry(helper.desired.router_id.clone()).or_default().push(helper);
            }
            let query = Query::<AgentBinding>::new().column("served", routers.iter().map(|it| it.id.to_string()));
            let served = if few { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
            if !served.is_empty() {
                let agents = Query::<Agent>::new().ids(served.iter().map(|it| it.desired.agent_id.to_string()));
                let agents = ask.app.store.list(&agents).await?;
                for binding in served {
                    let agent = agents.iter().find(|it| it.id == binding.desired.agent_id);
                    let zone = agent.map(|it| it.desired.availability_zone.clone()).filter(|it| !it.is_empty());
                    if let (Some(zone), Some(router)) = (zone, Id::parse(&binding.desired.served)) {
                        around.zones.entry(router).or_default().insert(zone);
                    }
                }
            }
        }
        Ok(around)
    }

    fn rules(verb: &'static str, body: &Body) -> Vec<String> {
        let info = body.get("external_gateway_info").and_then(Value::as_object);
        let named = |name: &&&str| info.is_some_and(|it| it.contains_key(**name));
        ["network_id", "enable_snat", "external_fixed_ips"]
            .iter()
            .filter(named)
            .map(|name| format!("{verb}_router:external_gateway_info:{name}"))
            .collect()
    }

    async fn create(work: &mut Work<'_>, router: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        agents::check_zones(work.ask, "router", &router.desired.availability_zone_hints).await?;
        if let Some(flavor) = router.desired.flavor_id.clone() {
            let (found, _) = find::<ServiceFlavor>(work.ask, flavor.as_str()).await?;
            if found.desired.service_type != SERVICE_TYPE {
                let text = format!("Invalid service type: {}.", found.desired.service_type);
                return Err(Failure::named(StatusCode::BAD_REQUEST, "InvalidServiceType", text));
            }
            if ["distributed", "ha"].iter().any(|name| body.get(*name).is_some_and(|it| !it.is_null())) {
                return Err(bad("router", "Flavor and flags of a router cannot be given at once"));
            }
            work.step(|batch| batch.require(&flavor));
        }
        let info = wanted(body)?.flatten();
        if info.is_none() && router.desired.enable_ndp_proxy {
            return Err(no_ndp(&router.id, "The request body not contain external gateway information"));
        }
        let mut before = router.clone();
        before.desired.enable_ndp_proxy = false;
        gateways::first(work, &before, router, info, asks_for_ndp(body)).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if before.desired.ha != after.desired.ha && after.desired.admin_state_up {
            let text = "Cannot change HA attribute of active routers. Please set router admin_state_up to False prior to upgrade";
            return Err(bad("router", text));
        }
        if before.desired.distributed != after.desired.distributed && (before.desired.admin_state_up || after.desired.admin_state_up) {
            let text =
                "Cannot change the 'distributed' attribute of active routers. Please set router admin_state_up to False prior to upgrade";
            return Err(bad("router", text));
        }
        router_interfaces::take_over(work, before, after).await?;
        if body.contains_key("routes") {
            check_routes(work.ask, after).await?;
        }
        match wanted(body)? {
            Some(info) => gateways::first(work, before, after, info, asks_for_ndp(body)).await,
            None => gateways::check_ndp(work, before, after).await,
        }
    }

    async fn delete(work: &mut Work<'_>, router: &Object<Self>) -> Result<(), Failure> {
        if !router.desired.interfaces.is_empty() {
            let ports: Vec<String> = router.desired.interfaces.iter().map(|it| it.port_id.to_string()).collect();
            return Err(conflict("RouterInUse", format!("Router {} has ports still attached: {}", router.id, ports.join(", "))));
        }
        let mut after = router.clone();
        gateways::remove_all(work, router, &mut after).await?;
        let helpers = Query::<ConntrackHelper>::new().column("router_id", [router.id.to_string()]);
        for helper in work.ask.app.store.list_few(&helpers).await? {
            conntrack_helpers::remove(work, &helper);
        }
        let served = Query::<AgentBinding>::new().column("served", [router.id.to_string()]);
        for binding in work.ask.app.store.list_few(&served).await? {
            work.step(|batch| batch.remove(&binding));
        }
        bgpvpn_associations::forget::<BgpvpnRouterAssociation>(work, router.id.as_str()).await?;
        work.referenced_means::<NdpProxy>("router_id", gateways::used_by_ndp(&router.id));
        work.step(|batch| batch.unless_referenced::<NdpProxy>("router_id", router.id.as_str()).remove(router));
        Ok(())
    }
}

fn asks_for_ndp(body: &Body) -> bool {
    body.get("enable_ndp_proxy").is_some_and(|it| value::boolean(it) == Ok(true))
}

/// What a body says of the gateway, if anything: a gateway, or none.
fn wanted(body: &Body) -> Result<Option<Option<Wanted>>, Failure> {
    let read = |it| gateways::read(it).map_err(|why| Failure::Internal(format!("external_gateway_info was checked: {why}")));
    body.get("external_gateway_info").map(read).transpose()
}

pub(super) fn no_ndp(router: &Id<Router>, why: &str) -> Failure {
    conflict("RouterGatewayNotValid", format!("Can not enable ndp proxy on router {router}, {why}."))
}

/// Reads static routes.
pub(super) fn host_routes(v: &Value) -> Result<Vec<HostRoute>, String> {
    if v.is_null() {
        return Ok(Vec::new());
    }
    let spelled = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let list = v.as_array().ok_or_else(|| format!("Invalid data format for hostroute: '{}'", spelled(v)))?;
    let mut routes: Vec<HostRoute> = Vec::new();
    for it in list {
        let entry = it.as_object().ok_or_else(|| format!("Invalid data format for hostroute: '{}'", spelled(it)))?;
        let (Some(destination), Some(nexthop), 2) = (entry.get("destination"), entry.get("nexthop"), entry.len()) else {
            let keys: Vec<String> = entry.keys().map(|it| format!("'{it}'")).collect();
            return Err(format!(
                "Validation of dictionary's keys failed. Expected keys: {{'nexthop', 'destination'}} Provided keys: {{{}}}",
                keys.join(", ")
            ));
        };
        let no_prefix = || format!("'{}' is not a valid CIDR", spelled(destination));
        let prefix: IpNet = destination.as_str().and_then(|it| it.parse().ok()).ok_or_else(no_prefix)?;
        if prefix.trunc() != prefix || prefix.network().is_loopback() {
            return Err(no_prefix());
        }
        let nexthop: IpAddr =
            nexthop.as_str().and_then(|it| it.parse().ok()).ok_or_else(|| format!("'{}' is not a valid IP address", spelled(nexthop)))?;
        let route = HostRoute { destination: prefix, nexthop };
        if routes.contains(&route) {
            return Err(format!("Duplicate hostroute '{}'", route_spelled(&route)));
        }
        routes.push(route);
    }
    Ok(routes)
}

fn route_spelled(route: &HostRoute) -> String {
    format!("{{'destination': '{}', 'nexthop': '{}'}}", route.destination, route.nexthop)
}

/// Checks that next hops are on prefixes a router is connected with and not its own addresses.
pub(super) fn check_hops(routes: &[HostRoute], prefixes: &[IpNet], own: &[IpAddr]) -> Result<(), Failure> {
    let invalid = |why: &str| {
        let all: Vec<String> = routes.iter().map(route_spelled).collect();
        let text = format!("Invalid format for routes: [{}], {why}", all.join(", "));
        Err(Failure::named(StatusCode::BAD_REQUEST, "InvalidRoutes", text))
    };
    for route in routes {
        if !prefixes.iter().any(|it| it.contains(&route.nexthop)) {
            return invalid("the nexthop is not connected with router");
        }
        if own.contains(&route.nexthop) {
            return invalid("the nexthop is used by router");
        }
    }
    Ok(())
}

/// The prefixes that ports are on and their addresses.
pub(super) async fn connected(ask: &Ask, ports: Vec<String>) -> Result<(Vec<IpNet>, Vec<IpAddr>), Failure> {
    if ports.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let ports = ask.app.store.list_few(&Query::<Port>::new().ids(ports)).await?;
    let addresses = || ports.iter().flat_map(|it| &it.desired.fixed_ips);
    let subnets = l3_ports::subnets(ask, addresses().map(|it| it.subnet_id.to_string())).await?;
    Ok((subnets.iter().map(|it| it.desired.cidr).collect(), addresses().map(|it| it.ip_address).collect()))
}

/// Checks a router's static routes against its ports and its quota.
async fn check_routes(ask: &Ask, router: &Object<Router>) -> Result<(), Failure> {
    let it = &router.desired;
    let ports = it.interfaces.iter().map(|it| it.port_id.to_string()).chain(it.gateways.iter().map(|it| it.port_id.to_string()));
    let (prefixes, own) = connected(ask, ports.collect()).await?;
    check_hops(&it.routes, &prefixes, &own)?;
    if let Some(project) = &router.project_id
        && let Some(limit) = quotas::limit(ask, "router_route", project).await?
        && i64::try_from(it.routes.len()).unwrap_or(i64::MAX) > limit
    {
        return Err(conflict("OverQuota", "Quota exceeded for resources: ['router_route']."));
    }
    Ok(())
}

/// A router as actions answer with it.
pub(super) async fn answered(ask: &Ask, id: &str) -> Result<Json<Value>, Failure> {
    let (router, around) = find::<Router>(ask, id).await?;
    Ok(Json(json!({"router": value_of(ask, &router, &around)})))
}

/// PUT: adds routes to those that are there, or takes some from them.
async fn extra(ask: &Ask, id: &str, body: &Bytes, add: bool) -> Result<Json<Value>, Failure> {
    let body = parse(body)?;
    let given = rooted(&body, "router")?;
    let invalid = |why: String| {
        Failure::named(
            StatusCode::BAD_REQUEST,
            "HTTPBadRequest",
            format!("Invalid input for routes. Reason: {}.", why.trim_end_matches('.')),
        )
    };
    let changes = match given.get("routes") {
        Some(it) => host_routes(it).map_err(invalid)?,
        None => return Err(Failure::BadRequest("Failed to parse request. Required attribute 'routes' not specified".into())),
    };
    for tries in 0.. {
        let before = permitted::<Router>(ask, id, if add { "add_extraroutes" } else { "remove_extraroutes" }).await?;
        enforce(&ask.app, &ask.caller, "update_router", &Router::target(&before, &Around::default()))?;
        let mut after = before.clone();
        if add {
            let new = changes.iter().filter(|it| !before.desired.routes.contains(it));
            after.desired.routes.extend(new.cloned());
            check_routes(ask, &after).await?;
        } else {
            after.desired.routes.retain(|it| !changes.contains(it));
        }
        let mut work = Work::new(ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    answered(ask, id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_a_form() {
        let read = |v: Value| host_routes(&v).map(|it| it.len());
        assert_eq!(read(json!([{"destination": "10.1.0.0/16", "nexthop": "10.0.0.9"}])), Ok(1));
        assert_eq!(read(json!(null)), Ok(0));
        for wrong in [
            json!("x"),
            json!([1]),
            json!([{"destination": "10.1.0.0/16"}]),
            json!([{"destination": "10.1.0.0/16", "nexthop": "x"}]),
            json!([{"destination": "10.1.0.1/16", "nexthop": "10.0.0.9"}]),
            json!([{"destination": "10.1.0.0/99", "nexthop": "10.0.0.9"}]),
            json!([{"destination": "10.1.0.0/16", "nexthop": "10.0.0.9", "more": 1}]),
            json!([{"destination": "10.1.0.0/16", "nexthop": "10.0.0.9"}, {"destination": "10.1.0.0/16", "nexthop": "10.0.0.9"}]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hops_are_connected_and_others() {
        let route = |hop: &str| vec![HostRoute { destination: "10.1.0.0/16".parse().unwrap(), nexthop: hop.parse().unwrap() }];
        let prefixes = ["10.0.0.0/24".parse().unwrap()];
        let own = ["10.0.0.1".parse().unwrap()];
        assert!(check_hops(&route("10.0.0.9"), &prefixes, &own).is_ok());
        assert!(check_hops(&route("10.0.0.1"), &prefixes, &own).is_err());
        assert!(check_hops(&route("10.0.1.9"), &prefixes, &own).is_err());
    }
}
