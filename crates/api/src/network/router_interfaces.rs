//! `add_router_interface`, `remove_router_interface`: where routers are on networks of users.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::put as on_put;
use axum::{Json, Router as Routes};
use http::StatusCode;
use ipnet::IpNet;
use model::net::access::{RbacAction, RbacPolicy};
use model::net::l3::{FloatingIp, Interface, NdpProxy, PortForwarding, Router, path};
use model::net::{FixedIp, Network, Port, Subnet};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::ipam::WantedIp;
use super::l3_ports::{self, Purpose, bad, conflict, missing};
use super::noun::{Body, Work, named, permitted};
use super::{Ask, bgpvpn_associations, ports};
use crate::App;
use crate::failure::Failure;
use crate::resource::parse;

pub(super) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .route(
            "/routers/{id}/add_router_interface",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| add(&ask, &id, &body).await),
        )
        .route(
            "/routers/{id}/remove_router_interface",
            on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| remove(&ask, &id, &body).await),
        )
}

/// What an action's body names.
struct Named {
    port: Option<Id<Port>>,
    subnet: Option<Id<Subnet>>,
}

fn read(body: &Body) -> Result<Named, Failure> {
    fn one<K>(body: &Body, name: &str) -> Result<Option<Id<K>>, Failure> {
        body.get(name).map(|it| l3_ports::uuid(it).map_err(|why| bad("router", why))).transpose()
    }
    if !body.contains_key("port_id") && !body.contains_key("subnet_id") {
        return Err(bad("router", "Either subnet_id or port_id must be specified"));
    }
    Ok(Named { port: one(body, "port_id")?, subnet: one(body, "subnet_id")? })
}

/// The answer to both actions.
fn shown(router: &Object<Router>, port: &Object<Port>, subnets: &[Id<Subnet>], subnet: Option<&Id<Subnet>>) -> Json<Value> {
    let project = port.project_id.as_ref().map_or("", |it| it.as_str());
    Json(json!({
        "id": router.id,
        "project_id": project,
        "tenant_id": project,
        "port_id": port.id,
        "network_id": port.desired.network_id,
        "subnet_id": subnet,
        "subnet_ids": subnets,
    }))
}

/// PUT `add_router_interface`.
///
/// # Errors
/// It cannot be.
pub(super) async fn add(ask: &Ask, id: &str, body: &Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(body)?;
    let empty = Body::new();
    let body = body.as_object().unwrap_or(&empty);
    for tries in 0.. {
        let before = permitted::<Router>(ask, id, "add_router_interface").await?;
        let wanted = read(body)?;
        let mut after = before.clone();
        let mut work = Work::new(ask, tries);
        let (port, subnets) = match (wanted.port, wanted.subnet) {
            (Some(_), Some(_)) => return Err(bad("router", "Cannot specify both subnet-id and port-id")),
            (Some(port), None) => by_port(&mut work, &mut after, &port).await?,
            (None, Some(subnet)) => by_subnet(&mut work, &mut after, &subnet).await?,
            (None, None) => return Err(bad("router", "Either subnet_id or port_id must be specified")),
        };
        bgpvpn_associations::check_interface(&mut work, &after.id, &port.desired.network_id).await?;
        work.want(&before, &after);
        if work.apply().await? {
            return Ok(shown(&after, &port, &subnets, subnets.last()));
        }
    }
    Err(Failure::Conflict("The router was changed by others again and again; try again.".into()))
}

fn check_mode(subnet: &Object<Subnet>) -> Result<(), Failure> {
    let it = &subnet.desired;
    if it.cidr.network().is_ipv6() && it.ipv6_ra_mode.is_none() && it.ipv6_address_mode.is_some() {
        let text = format!("IPv6 subnet {} configured to receive RAs from an external router cannot be added to Neutron Router", subnet.id);
        return Err(bad("router", text));
    }
    Ok(())
}

fn is_v6(subnet: &Object<Subnet>) -> bool {
    subnet.desired.cidr.network().is_ipv6()
}

/// Whether its prefix is still to be delegated: then it overlaps with nothing yet.
fn is_provisional(subnet: &Object<Subnet>) -> bool {
    subnet.desired.prefix_delegation && subnet.desired.cidr.network().is_unspecified()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Checks that subnets a router is to be on overlap with none it is on: gateways are on all subnets of their networks. Several gateways may
/// be on one network.
///
/// # Errors
/// They do, or the router is on one already.
pub(super) async fn check_overlap(ask: &Ask, router: &Object<Router>, new: &[&Object<Subnet>], is_gateway: bool) -> Result<(), Failure> {
    let inside: Vec<&Id<Subnet>> = router.desired.interfaces.iter().flat_map(|it| &it.subnet_ids).collect();
    if let Some(twice) = new.iter().find(|it| inside.contains(&&it.id)) {
        return Err(bad("router", format!("Router already has a port on subnet {}", twice.id)));
    }
    let mut has = l3_ports::subnets(ask, inside.iter().map(ToString::to_string)).await?;
    let networks: Vec<String> = router.desired.gateways.iter().map(|it| it.network_id.to_string()).collect();
    let mut outside = Vec::new();
    if !networks.is_empty() {
        let found = ask.app.store.list_few(&Query::<Subnet>::new().column("network_id", networks)).await?;
        outside.extend(found.iter().map(|it| it.id.clone()));
        has.extend(found);
    }
    for subnet in new.iter().filter(|it| !is_provisional(it)) {
        if outside.contains(&subnet.id) {
            if is_gateway {
                continue;
            }
            return Err(bad("router", format!("Router already has a port on subnet {}", subnet.id)));
        }
        let other = has.iter().find(|it| !is_provisional(it) && overlap(&it.desired.cidr, &subnet.desired.cidr));
        if let Some(other) = other {
            let text = format!(
                "Cidr {} of subnet {} overlaps with cidr {} of subnet {}",
                subnet.desired.cidr, subnet.id, other.desired.cidr, other.id
            );
            return Err(bad("router", text));
        }
    }
    Ok(())
}

/// The interface of a router that has IPv6 addresses on that network: there is one at most.
async fn v6_interface(
    ask: &Ask,
    router: &Object<Router>,
    network: &Id<Network>,
    but: Option<&Id<Port>>,
) -> Result<Option<Object<Port>>, Failure> {
    for interface in router.desired.interfaces.iter().filter(|it| it.network_id == *network && Some(&it.port_id) != but) {
        let port = l3_ports::port(ask, &interface.port_id).await?;
        if let Some(port) = port.filter(|it| it.desired.fixed_ips.iter().any(|it| it.ip_address.is_ipv6())) {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

/// Whether the network is shared with that very project.
async fn is_given(ask: &Ask, network: &Id<Network>) -> Result<bool, Failure> {
    let query = Query::<RbacPolicy>::new().column("object_id", [network.to_string()]);
    let given = |it: &Object<RbacPolicy>| {
        it.desired.action == RbacAction::AccessAsShared && it.desired.target.is_some() && it.desired.target == ask.caller.project_id
    };
    Ok(ask.app.store.list_few(&query).await?.iter().any(given))
}

type Added = (Object<Port>, Vec<Id<Subnet>>);

async fn by_subnet(work: &mut Work<'_>, router: &mut Object<Router>, id: &Id<Subnet>) -> Result<Added, Failure> {
    let ask = work.ask;
    let subnet = named::<Subnet>(ask, id).await?;
    let Some(gateway) = subnet.desired.gateway_ip else {
        return Err(bad("router", "Subnet for router interface must have a gateway IP"));
    };
    let network_id = subnet.desired.network_id.clone();
    if subnet.project_id != ask.caller.project_id && !l3_ports::is_admin(ask) && !is_given(ask, &network_id).await? {
        let text = format!("Cannot add interface to router because subnet {id} is not owned by project making the request");
        return Err(bad("router", text));
    }
    check_mode(&subnet)?;
    check_overlap(ask, router, &[&subnet], false).await?;
    let network = ports::network(work, &network_id, false).await?;
    let wanted = WantedIp::this(&FixedIp { subnet_id: subnet.id.clone(), ip_address: gateway });
    if is_v6(&subnet) && !subnet.desired.prefix_delegation {
        // Router advertisements are sent by one port of a network, with all its prefixes.
        if let Some(port) = v6_interface(ask, router, &network_id, None).await? {
            let mut all: Vec<WantedIp> = port.desired.fixed_ips.iter().map(WantedIp::this).collect();
            all.push(wanted);
            let port = l3_ports::readdress(work, &port, &network, &all).await?;
            if let Some(interface) = router.desired.interfaces.iter_mut().find(|it| it.port_id == port.id) {
                interface.subnet_ids.push(subnet.id.clone());
            }
            return Ok((port, vec![subnet.id]));
        }
    }
    let owner = l3_ports::interface_owner(router.desired.distributed, router.desired.ha);
    let device = router.id.to_string();
    let purpose = Purpose { project: router.project_id.clone(), owner, device: &device };
    let port = l3_ports::make(work, &network, purpose, Some(&[wanted])).await?;
    let interface = Interface { port_id: port.id.clone(), network_id, subnet_ids: vec![subnet.id.clone()] };
    router.desired.interfaces.push(interface);
    Ok((port, vec![subnet.id]))
}

/// Projects may not put routers on others' subnets at addresses outside of what the subnet gives out.
fn check_place(ask: &Ask, subnets: &[Object<Subnet>], port: &Object<Port>) -> Result<(), Failure> {
    if l3_ports::is_admin(ask) {
        return Ok(());
    }
    for address in &port.desired.fixed_ips {
        let Some(subnet) = subnets.iter().find(|it| it.id == address.subnet_id) else { continue };
        let given_out = subnet.desired.allocation_pools.iter().any(|it| it.start <= address.ip_address && address.ip_address <= it.end);
        if !given_out && subnet.project_id != ask.caller.project_id {
            let text = format!(
                "Cannot add interface to router because specified port {} has an IP address out of the allocation pool of subnet {}, which is \
                 not owned by the project making the request",
                port.id, subnet.id
            );
            return Err(bad("router", text));
        }
    }
    Ok(())
}

async fn by_port(work: &mut Work<'_>, router: &mut Object<Router>, id: &Id<Port>) -> Result<Added, Failure> {
    let ask = work.ask;
    let before = named::<Port>(ask, id).await?;
    if !before.desired.device_id.is_empty() {
        let text = format!(
            "Unable to complete operation on port {id} for network {}. Port already has an attached device {}.",
            before.desired.network_id, before.desired.device_id
        );
        return Err(conflict("PortInUse", text));
    }
    if before.desired.fixed_ips.is_empty() {
        return Err(bad("router", "Router port must have at least one fixed IP"));
    }
    let subnets = l3_ports::subnets(ask, before.desired.fixed_ips.iter().map(|it| it.subnet_id.to_string())).await?;
    subnets.iter().try_for_each(check_mode)?;
    if before.desired.fixed_ips.iter().any(|it| it.ip_address.is_ipv6())
        && let Some(other) = v6_interface(ask, router, &before.desired.network_id, Some(id)).await?
    {
        let text = format!(
            "Router already contains IPv6 port {} belonging to network id {}. Only one IPv6 port from the same network subnet can be \
             connected to a router",
            other.id, other.desired.network_id
        );
        return Err(bad("router", text));
    }
    check_overlap(ask, router, &subnets.iter().collect::<Vec<_>>(), false).await?;
    if subnets.iter().filter(|it| !is_v6(it)).count() > 1 {
        return Err(bad("router", "Cannot have multiple IPv4 subnets on router port"));
    }
    check_place(ask, &subnets, &before)?;
    let mut after = before.clone();
    after.desired.device_id = router.id.to_string();
    after.desired.device_owner = l3_ports::interface_owner(router.desired.distributed, router.desired.ha).to_owned();
    work.want(&before, &after);
    let mut ids: Vec<Id<Subnet>> = Vec::new();
    for address in &after.desired.fixed_ips {
        if !ids.contains(&address.subnet_id) {
            ids.push(address.subnet_id.clone());
        }
    }
    router.desired.interfaces.push(Interface {
        port_id: after.id.clone(),
        network_id: after.desired.network_id.clone(),
        subnet_ids: ids.clone(),
    });
    Ok((after, ids))
}

/// Refuses to take a router from a subnet while something leads through there.
async fn check_free(work: &mut Work<'_>, router: &Object<Router>, subnet: &Object<Subnet>) -> Result<(), Failure> {
    let (store, id) = (&work.ask.app.store, &router.id);
    let way = path(id, &subnet.id);
    let by_proxy = || {
        let text = format!(
            "Unable to remove subnet {} from router {id}, There are one or more ndp proxies still in use on the subnet.",
            subnet.id
        );
        conflict("RouterInterfaceInUseByNDPProxy", text)
    };
    let by_address = || {
        let text = format!(
            "Router interface for subnet {} on router {id} cannot be deleted, as it is required by one or more floating IPs.",
            subnet.id
        );
        conflict("RouterInterfaceInUseByFloatingIP", text)
    };
    if !store.list_few(&Query::<NdpProxy>::new().column("path", [way.clone()]).limit(1)).await?.is_empty() {
        return Err(by_proxy());
    }
    if !store.list_few(&Query::<PortForwarding>::new().column("path", [way.clone()]).limit(1)).await?.is_empty()
        || !store.list_few(&Query::<FloatingIp>::new().column("path", [way.clone()]).limit(1)).await?.is_empty()
    {
        return Err(by_address());
    }
    if router.desired.routes.iter().any(|it| subnet.desired.cidr.contains(&it.nexthop)) {
        let text =
            format!("Router interface for subnet {} on router {id} cannot be deleted, as it is required by one or more routes.", subnet.id);
        return Err(conflict("RouterInterfaceInUseByRoute", text));
    }
    work.referenced_means::<NdpProxy>("path", by_proxy());
    work.referenced_means::<PortForwarding>("path", by_address());
    work.referenced_means::<FloatingIp>("path", by_address());
    work.step(|batch| {
        batch
            .unless_referenced::<NdpProxy>("path", &way)
            .unless_referenced::<PortForwarding>("path", &way)
            .unless_referenced::<FloatingIp>("path", &way)
    });
    Ok(())
}

/// PUT `remove_router_interface`.
///
/// # Errors
/// It cannot be.
pub(super) async fn remove(ask: &Ask, id: &str, body: &Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(body)?;
    let empty = Body::new();
    let body = body.as_object().unwrap_or(&empty);
    for tries in 0.. {
        let before = permitted::<Router>(ask, id, "remove_router_interface").await?;
        let wanted = read(body)?;
        let mut after = before.clone();
        let mut work = Work::new(ask, tries);
        let (port, subnets) = match (wanted.port, wanted.subnet) {
            (Some(port), subnet) => without_port(&mut work, &mut after, &port, subnet.as_ref()).await?,
            (None, Some(subnet)) => without_subnet(&mut work, &mut after, &subnet).await?,
            (None, None) => return Err(bad("router", "Either subnet_id or port_id must be specified")),
        };
        work.want(&before, &after);
        if work.apply().await? {
            return Ok(shown(&after, &port, &subnets, subnets.first()));
        }
    }
    Err(Failure::Conflict("The router was changed by others again and again; try again.".into()))
}

async fn without_port(
    work: &mut Work<'_>,
    router: &mut Object<Router>,
    id: &Id<Port>,
    subnet: Option<&Id<Subnet>>,
) -> Result<Added, Failure> {
    let ask = work.ask;
    let at = router.desired.interfaces.iter().position(|it| it.port_id == *id);
    let port = match at {
        Some(_) => l3_ports::port(ask, id).await?,
        None => None,
    };
    let (Some(at), Some(port)) = (at, port) else {
        let text = format!("Router {} does not have an interface with id {id}", router.id);
        return Err(missing("RouterInterfaceNotFound", text));
    };
    let interface = router.desired.interfaces.remove(at);
    if let Some(subnet) = subnet.filter(|it| !interface.subnet_ids.contains(it)) {
        let text = format!("Subnet on port {id} does not match the requested subnet {subnet}.");
        return Err(Failure::named(StatusCode::BAD_REQUEST, "SubnetMismatchForPort", text));
    }
    for subnet in l3_ports::subnets(ask, interface.subnet_ids.iter().map(ToString::to_string)).await? {
        check_free(work, router, &subnet).await?;
    }
    l3_ports::remove(work, &port).await?;
    Ok((port, interface.subnet_ids))
}

async fn without_subnet(work: &mut Work<'_>, router: &mut Object<Router>, id: &Id<Subnet>) -> Result<Added, Failure> {
    let ask = work.ask;
    let subnet = named::<Subnet>(ask, id).await?;
    let gone =
        |router: &Id<Router>| missing("RouterInterfaceNotFoundForSubnet", format!("Router {router} has no interface on subnet {id}"));
    let at = router.desired.interfaces.iter().position(|it| it.subnet_ids.contains(id)).ok_or_else(|| gone(&router.id))?;
    check_free(work, router, &subnet).await?;
    let interface = router.desired.interfaces.get(at).cloned().ok_or_else(|| gone(&router.id))?;
    let port = l3_ports::port(ask, &interface.port_id).await?.ok_or_else(|| gone(&router.id))?;
    if interface.subnet_ids.len() > 1 {
        let rest: Vec<WantedIp> = port.desired.fixed_ips.iter().filter(|it| it.subnet_id != *id).map(WantedIp::this).collect();
        let network = ports::network(work, &interface.network_id, false).await?;
        l3_ports::readdress(work, &port, &network, &rest).await?;
        if let Some(interface) = router.desired.interfaces.get_mut(at) {
            interface.subnet_ids.retain(|it| it != id);
        }
    } else {
        router.desired.interfaces.remove(at);
        l3_ports::remove(work, &port).await?;
    }
    Ok((port, vec![subnet.id]))
}

/// Interfaces of a router that becomes another kind of router change hands with it.
///
/// # Errors
/// The store failed.
pub(super) async fn take_over(work: &mut Work<'_>, before: &Object<Router>, after: &Object<Router>) -> Result<(), Failure> {
    let was = l3_ports::interface_owner(before.desired.distributed, before.desired.ha);
    let is = l3_ports::interface_owner(after.desired.distributed, after.desired.ha);
    if was == is {
        return Ok(());
    }
    for interface in &before.desired.interfaces {
        if let Some(port) = l3_ports::port(work.ask, &interface.port_id).await? {
            let mut taken = port.clone();
            is.clone_into(&mut taken.desired.device_owner);
            work.want(&port, &taken);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_overlap() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert!(overlap(&net("10.0.0.0/8"), &net("10.1.0.0/16")));
        assert!(overlap(&net("10.1.0.0/16"), &net("10.0.0.0/8")));
        assert!(!overlap(&net("10.1.0.0/16"), &net("10.2.0.0/16")));
        assert!(!overlap(&net("10.1.0.0/16"), &net("2001:db8::/64")));
    }
}
