//! `/v2.0/floatingips`: addresses of external networks that stand for those of ports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::Router as Routes;
use http::StatusCode;
use model::identity::Project;
use model::net::l3::{FloatingIp, FloatingIpDesired, LocalIp, LocalIpAssociation, NdpProxy, PortForwarding, Router};
use model::net::{Network, Port, Subnet};
use model::{Id, Kind, Object};
use serde_json::{Value, json};
use store::Query;

use super::ipam::{self, WantedIp};
use super::l3_ports::{self, Purpose, bad, conflict, missing};
use super::noun::{Body, Form, Noun, Work, field, find, input_once, named, tagged_routes};
use super::{Ask, Extension, extension, port_forwardings, port_parts, ports, qos};
use crate::App;
use crate::failure::Failure;
use crate::resource::put;

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "fip-port-details",
        "Floating IP Port Details Extension",
        "Add port_details attribute to Floating IP resource",
        "2018-04-09T10:00:00-00:00",
    ),
    extension(
        "floating-ip-router-writable",
        "Floating IP Router (writable)",
        "Provides a writable router_id attribute for a floating IP resource.",
        "2026-08-05T00:00:00-00:00",
    ),
    extension(
        "l3-port-ip-change-not-allowed",
        "Prevent L3 router ports IP address change extension",
        "Prevent change of IP address for some L3 router ports",
        "2018-10-09T10:00:00-00:00",
    ),
    extension("qos-fip", "Floating IP QoS", "The floating IP Quality of Service extension", "2017-07-20T00:00:00-00:00"),
];

pub(super) fn routes() -> Routes<Arc<App>> {
    tagged_routes::<FloatingIp>()
}

/// What is read beside floating IPs.
#[derive(Default)]
pub(crate) struct Around {
    /// The ports they stand for.
    ports: HashMap<Id<Port>, Object<Port>>,
    forwardings: HashMap<Id<FloatingIp>, Vec<Object<PortForwarding>>>,
}

fn port_shown(floating: &Object<FloatingIp>, around: &Around) -> Value {
    let Some(port) = floating.desired.port_id.as_ref().and_then(|it| around.ports.get(it)) else { return Value::Null };
    let it = &port.desired;
    json!({
        "name": port.name,
        "network_id": it.network_id,
        "mac_address": it.mac_address,
        "admin_state_up": it.admin_state_up,
        "status": port.status().as_str(),
        "device_id": it.device_id,
        "device_owner": it.device_owner,
    })
}

/// An id, or none.
fn maybe_id<K>(v: &Value) -> Result<Option<Id<K>>, String> {
    if v.is_null() { Ok(None) } else { l3_ports::uuid(v).map(Some) }
}

/// An address, or none.
pub(super) fn maybe_ip(v: &Value) -> Result<Option<IpAddr>, String> {
    let wrong = || format!("'{}' is not a valid IP address", v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    if v.is_null() { Ok(None) } else { v.as_str().and_then(|it| it.parse().ok()).map(Some).ok_or_else(wrong) }
}

static FORM: LazyLock<Form<FloatingIp>> = LazyLock::new(|| {
    let mut form = Form::new("floatingip", "floatingips", "floatingips", "FloatingIPNotFound", "Floating IP")
        .not_found_says(|id| format!("Floating IP {id} could not be found"))
        .described()
        .stamped()
        .fields(vec![
            field("floating_ip_address", |it: &Object<FloatingIp>, _: &Around| json!(it.desired.floating_ip_address))
                .set_once(|it, v| put(&mut it.desired.floating_ip_address, maybe_ip(v)))
                .create_by("create_floatingip:floating_ip_address")
                .free_default()
                .sort()
                .column("floating_ip_address"),
            input_once("subnet_id"),
            field("floating_network_id", |it: &Object<FloatingIp>, _| json!(it.desired.floating_network_id))
                .set_once(|it, v| put(&mut it.desired.floating_network_id, l3_ports::uuid(v)))
                .required()
                .sort()
                .column("floating_network_id"),
            // What these name is looked for with the whole body at hand.
            field("router_id", |it: &Object<FloatingIp>, _| json!(it.desired.router_id))
                .set(|_, v| maybe_id::<Router>(v).map(drop))
                .create_by("create_floatingip:router_id")
                .update_by("update_floatingip:router_id")
                .sort()
                .column("router_id"),
            field("port_id", |it: &Object<FloatingIp>, _| json!(it.desired.port_id))
                .set(|_, v| maybe_id::<Port>(v).map(drop))
                .filter()
                .column("port_id"),
            field("fixed_ip_address", |it: &Object<FloatingIp>, _| json!(it.desired.fixed_ip_address))
                .set(|_, v| maybe_ip(v).map(drop))
                .sort()
                .column("fixed_ip_address"),
            // Nothing translates yet.
            field("status", |_: &Object<FloatingIp>, _| json!("DOWN")).sort(),
            field("dns_name", |it: &Object<FloatingIp>, _| json!(it.desired.dns_name))
                .set_once(|it, v| put(&mut it.desired.dns_name, port_parts::dns_name(v))),
            field("dns_domain", |it: &Object<FloatingIp>, _| json!(it.desired.dns_domain))
                .set_once(|it, v| put(&mut it.desired.dns_domain, port_parts::dns_domain(v))),
            field("qos_policy_id", |it: &Object<FloatingIp>, _| json!(it.desired.qos_policy_id))
                .set(|it, v| put(&mut it.desired.qos_policy_id, maybe_id(v)))
                .filter()
                .column("qos_policy_id"),
            field("port_details", port_shown),
            field("port_forwardings", |it: &Object<FloatingIp>, around: &Around| {
                around.forwardings.get(&it.id).into_iter().flatten().map(port_forwardings::in_floating_ip).collect()
            }),
            field("tags", |it: &Object<FloatingIp>, _| json!(it.desired.tags)),
        ]);
    form.taggable = true;
    form
});

impl Noun for FloatingIp {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<FloatingIpDesired, Failure> {
        Ok(FloatingIpDesired {
            description: String::new(),
            tags: Vec::new(),
            // It is always said.
            floating_network_id: Id::random(),
            floating_ip_address: None,
            floating_port_id: None,
            port_id: None,
            fixed_ip_address: None,
            fixed_subnet_id: None,
            router_id: None,
            dns_name: String::new(),
            dns_domain: String::new(),
            qos_policy_id: None,
        })
    }

    async fn around(ask: &Ask, floating: &[Object<Self>]) -> Result<Around, Failure> {
        let mut around = Around::default();
        let few = floating.len() <= 8;
        let ports: Vec<String> = floating.iter().filter_map(|it| it.desired.port_id.as_ref()).map(ToString::to_string).collect();
        if !ports.is_empty() {
            let query = Query::<Port>::new().ids(ports);
            let found = if few { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
            around.ports = found.into_iter().map(|it| (it.id.clone(), it)).collect();
        }
        // Only those have port forwardings which a router translates for no port.
        let forwarded = floating.iter().filter(|it| it.desired.port_id.is_none() && it.desired.router_id.is_some());
        let forwarded: Vec<String> = forwarded.map(|it| it.id.to_string()).collect();
        if !forwarded.is_empty() {
            let query = Query::<PortForwarding>::new().column("floatingip_id", forwarded);
            let found = if few { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
            for it in found {
                around.forwardings.entry(it.desired.floatingip_id.clone()).or_default().push(it);
            }
        }
        Ok(around)
    }

    async fn create(work: &mut Work<'_>, floating: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let network = ports::network(work, &floating.desired.floating_network_id, true).await?;
        if !l3_ports::is_external(work.ask, &network.id).await? {
            return Err(bad("floatingip", format!("Network {} is not a valid external network", network.id)));
        }
        let subnets = ipam::subnets(work, &network.id).await?;
        if !subnets.iter().any(|it| it.desired.cidr.network().is_ipv4()) {
            return Err(bad("floatingip", format!("Network {} does not contain any IPv4 subnet", network.id)));
        }
        qos::used(work, floating.desired.qos_policy_id.as_ref()).await?;
        let subnet_id = body.get("subnet_id").map(maybe_id::<Subnet>).transpose();
        let subnet_id = subnet_id.map_err(|why| Failure::BadRequest(format!("Invalid input for subnet_id. Reason: {why}.")))?.flatten();
        let address = floating.desired.floating_ip_address;
        let wanted =
            (subnet_id.is_some() || address.is_some()).then_some([WantedIp { subnet_id, ip_address: address, delete_subnet: false }]);
        let device = floating.id.to_string();
        let purpose = Purpose { project: None, owner: l3_ports::FLOATING, device: &device };
        let port = l3_ports::make(work, &network, purpose, wanted.as_ref().map(|it| it.as_slice())).await?;
        let Some(given) = port.desired.fixed_ips.iter().find(|it| it.ip_address.is_ipv4()) else {
            let text = format!("Unable to find any IP address on external network {}.", network.id);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "ExternalIpAddressExhausted", text));
        };
        floating.desired.floating_ip_address = Some(given.ip_address);
        floating.desired.floating_port_id = Some(port.id);
        match wanted_port(body)? {
            Some(port) => associate(work, floating, &port, body).await,
            None => Ok(()),
        }
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if before.desired.qos_policy_id != after.desired.qos_policy_id {
            qos::used(work, after.desired.qos_policy_id.as_ref()).await?;
        }
        match wanted_port(body)? {
            Some(port) => {
                if !forwardings(work.ask, "floatingip_id", before.id.as_str()).await?.is_empty() {
                    return Err(forwarded(&before.id));
                }
                release(work, before);
                associate(work, after, &port, body).await
            }
            // An empty body takes it from its port, one that says other things does not.
            None if body.contains_key("port_id") || body.is_empty() => {
                release(work, before);
                // The router of one without a port is that of its port forwardings.
                if before.desired.port_id.is_some() {
                    after.desired.disassociate();
                }
                Ok(())
            }
            None => {
                match (body.get("router_id").map(maybe_id::<Router>).transpose().unwrap_or_default().flatten(), &before.desired.port_id) {
                    (Some(router), Some(_)) => {
                        let router = chosen(work, &router, &after.desired.floating_network_id).await?;
                        after.desired.router_id = Some(router.id);
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    async fn delete(work: &mut Work<'_>, floating: &Object<Self>) -> Result<(), Failure> {
        if !forwardings(work.ask, "floatingip_id", floating.id.as_str()).await?.is_empty() {
            return Err(forwarded(&floating.id));
        }
        release(work, floating);
        if let Some(port) = &floating.desired.floating_port_id
            && let Some(port) = l3_ports::port(work.ask, port).await?
        {
            l3_ports::remove(work, &port).await?;
        }
        work.step(|batch| batch.remove(floating));
        Ok(())
    }
}

/// The port a body names, which has its form.
fn wanted_port(body: &Body) -> Result<Option<Id<Port>>, Failure> {
    if body.get("fixed_ip_address").is_some_and(|it| !it.is_null()) && body.get("port_id").is_none_or(Value::is_null) {
        return Err(bad("floatingip", "fixed_ip_address cannot be specified without a port_id"));
    }
    Ok(body.get("port_id").and_then(|it| maybe_id(it).ok()).flatten())
}

pub(super) fn forwarded(id: &Id<FloatingIp>) -> Failure {
    conflict("FipInUseByPortForwarding", format!("Floating IP {id} in use by Port Forwarding resources."))
}

/// Port forwardings whose column has that value.
pub(super) async fn forwardings(ask: &Ask, column: &str, value: &str) -> Result<Vec<Object<PortForwarding>>, Failure> {
    Ok(ask.app.store.list_few(&Query::<PortForwarding>::new().column(column, [value.to_owned()])).await?)
}

/// Where it is written that an address of a port has one floating IP of a network at most.
fn place(it: &FloatingIpDesired) -> Option<(String, String)> {
    Some((format!("fip:{}", it.port_id.as_ref()?), format!("{} {}", it.fixed_ip_address?, it.floating_network_id)))
}

fn release(work: &mut Work<'_>, floating: &Object<FloatingIp>) {
    if let Some((pool, value)) = place(&floating.desired) {
        work.step(|batch| batch.free(&pool, &value));
    }
}

/// The router a caller chose, if it has a gateway on the network.
async fn chosen(work: &mut Work<'_>, id: &Id<Router>, network: &Id<Network>) -> Result<Object<Router>, Failure> {
    let (router, _) = find::<Router>(work.ask, id.as_str()).await?;
    let Some(gateway) = router.desired.gateways.iter().find(|it| it.network_id == *network) else {
        return Err(conflict("Conflict", format!("Router {id} has no external gateway on network {network}")));
    };
    work.step(|batch| batch.require(&gateway.port_id));
    Ok(router)
}

/// The router that leads from the subnet to the external network, if there is one: of several the one at the subnet's gateway address. What
/// leads there has to stay while this batch is written.
///
/// # Errors
/// The store failed.
pub(super) async fn way(work: &mut Work<'_>, subnet: &Object<Subnet>, network: &Id<Network>) -> Result<Option<Object<Router>>, Failure> {
    let ask = work.ask;
    let found = ask.app.store.list_few(&Query::<Router>::new().linked("subnet_id", [subnet.id.to_string()])).await?;
    let mut found: Vec<Object<Router>> =
        found.into_iter().filter(|it| it.desired.gateways.iter().any(|gateway| gateway.network_id == *network)).collect();
    let interface_of = |router: &Object<Router>| router.desired.interfaces.iter().find(|it| it.subnet_ids.contains(&subnet.id)).cloned();
    if found.len() > 1 {
        for at in 0..found.len() {
            let Some(interface) = found.get(at).and_then(interface_of) else { continue };
            let port = l3_ports::port(ask, &interface.port_id).await?;
            if port.is_some_and(|it| it.desired.fixed_ips.iter().any(|it| Some(it.ip_address) == subnet.desired.gateway_ip)) {
                found.swap(0, at);
                break;
            }
        }
    }
    let Some(router) = found.into_iter().next() else { return Ok(None) };
    if let (Some(interface), Some(gateway)) = (interface_of(&router), router.desired.gateways.iter().find(|it| it.network_id == *network)) {
        work.step(|batch| batch.require(&interface.port_id).require(&gateway.port_id));
    }
    Ok(Some(router))
}

/// The address of a port that a floating IP is to stand for, and its subnet.
fn inside(port: &Object<Port>, fixed: Option<IpAddr>) -> Result<(IpAddr, Id<Subnet>), Failure> {
    if let Some(address) = fixed {
        if !address.is_ipv4() {
            return Err(bad(
                "floatingip",
                format!("Cannot process floating IP association with {address}, since that is not an IPv4 address"),
            ));
        }
        let own = port.desired.fixed_ips.iter().find(|it| it.ip_address == address);
        return own
            .map(|it| (it.ip_address, it.subnet_id.clone()))
            .ok_or_else(|| bad("floatingip", format!("Port {} does not have fixed ip {address}", port.id)));
    }
    let mut own = port.desired.fixed_ips.iter().filter(|it| it.ip_address.is_ipv4());
    match (own.next(), own.next()) {
        (None, _) => Err(bad("floatingip", format!("Cannot add floating IP to port {} that has no fixed IPv4 addresses", port.id))),
        (Some(only), None) => Ok((only.ip_address, only.subnet_id.clone())),
        (Some(_), Some(_)) => {
            let text = format!(
                "Port {} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a floating IP",
                port.id
            );
            Err(bad("floatingip", text))
        }
    }
}

/// Has a floating IP stand for a port.
async fn associate(work: &mut Work<'_>, floating: &mut Object<FloatingIp>, port: &Id<Port>, body: &Body) -> Result<(), Failure> {
    let ask = work.ask;
    let port = named::<Port>(ask, port).await?;
    if port.project_id != floating.project_id && !l3_ports::is_admin(ask) {
        let text = format!("Cannot process floating IP association with Port {}, since that port is owned by a different project", port.id);
        return Err(bad("floatingip", text));
    }
    if port.desired.device_owner == "network:dhcp" {
        return Err(bad("floatingip", format!("Port {} is unable to be assigned a floating IP", port.id)));
    }
    let fixed = body.get("fixed_ip_address").and_then(|it| maybe_ip(it).ok()).flatten();
    let (address, subnet) = inside(&port, fixed)?;
    let network = floating.desired.floating_network_id.clone();
    let subnet = l3_ports::known::<Subnet>(ask, &subnet).await?;
    let unreachable = || {
        let text = format!(
            "External network {network} is not reachable from subnet {}.  Therefore, cannot associate Port {} with a Floating IP.",
            subnet.id, port.id
        );
        missing("ExternalGatewayForFloatingIPNotFound", text)
    };
    let router = match body.get("router_id").and_then(|it| maybe_id::<Router>(it).ok()).flatten() {
        Some(router) => chosen(work, &router, &network).await?,
        None => way(work, &subnet, &network).await?.ok_or_else(unreachable)?,
    };
    if router.desired.distributed {
        if !["normal", "smart-nic"].contains(&port.desired.binding.vnic_type.as_str()) {
            return Err(bad("floatingip", "Port VNIC type is not valid to associate a FIP in DVR mode"));
        }
        if !forwardings(ask, "internal_port_id", port.id.as_str()).await?.is_empty() {
            let text = format!("Cannot associate floating IP to port {} because it already has a Port Forwarding binding.", port.id);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "PortHasPortForwarding", text));
        }
    }
    let it = &mut floating.desired;
    it.port_id = Some(port.id.clone());
    it.fixed_ip_address = Some(address);
    it.fixed_subnet_id = Some(subnet.id);
    it.router_id = Some(router.id);
    let shown = it.floating_ip_address.map_or_else(|| "None".to_owned(), |it| it.to_string());
    let taken = format!(
        "Cannot associate floating IP {shown} ({}) with port {} using fixed IP {address}, as that fixed IP already has a floating IP on external \
         network {network}.",
        floating.id, port.id
    );
    if let Some((pool, value)) = place(&floating.desired) {
        work.value_taken_means(&pool, &value, conflict("FloatingIPPortAlreadyAssociated", taken));
        work.step(|batch| batch.require(&port.id).hold(&pool, &value, floating.id.as_str()));
    }
    Ok(())
}

/// What belongs to the removal of a port: floating IPs stand for it no more; port forwardings, proxies and associations that lead to it go.
///
/// # Errors
/// It is a router's, a floating IP's or holds a local IP (409 `ServicePortInUse`); another project's floating IP stands for it (409
/// `FipAssociated`).
pub(super) async fn port_removed(work: &mut Work<'_>, port: &Object<Port>) -> Result<(), Failure> {
    let (ask, id) = (work.ask, port.id.as_str());
    let store = &ask.app.store;
    let service =
        |reason: String| conflict("ServicePortInUse", format!("Port {id} cannot be deleted directly via the port API: {reason}."));
    let owner = port.desired.device_owner.as_str();
    let has_device = if owner == l3_ports::FLOATING {
        exists::<FloatingIp>(ask, &port.desired.device_id).await?
    } else if owner == l3_ports::GATEWAY || l3_ports::INTERFACES.contains(&owner) {
        exists::<Router>(ask, &port.desired.device_id).await?
    } else {
        // Whatever is written at it: a router has it.
        !store.list_few(&Query::<Router>::new().linked("port_id", [id.to_owned()]).limit(1)).await?.is_empty()
    };
    if has_device {
        return Err(service(format!("has device owner {owner}")));
    }
    let local = service("still referenced by Local IPs".into());
    if !store.list_few(&Query::<LocalIp>::new().column("local_port_id", [id.to_owned()]).limit(1)).await?.is_empty() {
        return Err(local);
    }
    let is_admin = l3_ports::is_admin(ask);
    for before in store.list_few(&Query::<FloatingIp>::new().column("port_id", [id.to_owned()])).await? {
        let text = format!("Unable to complete the operation on port {id} because the port still has an associated floating IP.");
        if !is_admin && before.project_id != ask.caller.project_id {
            return Err(conflict("FipAssociated", text));
        }
        release(work, &before);
        let mut after = before.clone();
        after.desired.disassociate();
        work.want(&before, &after);
    }
    port_forwardings::remove(work, &forwardings(ask, "internal_port_id", id).await?).await?;
    for proxy in store.list_few(&Query::<NdpProxy>::new().column("port_id", [id.to_owned()])).await? {
        work.step(|batch| batch.remove(&proxy));
    }
    for association in store.list_few(&Query::<LocalIpAssociation>::new().column("fixed_port_id", [id.to_owned()])).await? {
        work.step(|batch| batch.remove(&association));
    }
    // Nor may one come to it at this very moment.
    let text = format!("Unable to complete the operation on port {id} because the port still has an associated floating IP.");
    work.referenced_means::<LocalIp>("local_port_id", local);
    work.referenced_means::<FloatingIp>("port_id", conflict("FipAssociated", text.clone()));
    work.referenced_means::<PortForwarding>("internal_port_id", conflict("FipAssociated", text));
    work.step(|batch| {
        batch
            .unless_referenced::<LocalIp>("local_port_id", id)
            .unless_referenced::<FloatingIp>("port_id", id)
            .unless_referenced::<PortForwarding>("internal_port_id", id)
    });
    Ok(())
}

async fn exists<K: Kind>(ask: &Ask, id: &str) -> Result<bool, Failure> {
    let Some(id) = Id::<K>::parse(id) else { return Ok(false) };
    Ok(ask.app.store.get(&id).await?.is_some_and(|it| !it.is_deleting()))
}

/// What belongs to a change of a port's addresses: port forwardings to others go, and a router knows on which subnets it is.
///
/// # Errors
/// The store failed.
pub(super) async fn port_changed(work: &mut Work<'_>, before: &Object<Port>, after: &Object<Port>) -> Result<(), Failure> {
    if before.desired.fixed_ips == after.desired.fixed_ips {
        return Ok(());
    }
    let has = |address: Option<IpAddr>| after.desired.fixed_ips.iter().any(|it| Some(it.ip_address) == address);
    let (ask, id) = (work.ask, after.id.as_str());
    let mut lost = forwardings(ask, "internal_port_id", id).await?;
    lost.retain(|it| !has(it.desired.internal_ip_address));
    port_forwardings::remove(work, &lost).await?;
    if l3_ports::INTERFACES.contains(&after.desired.device_owner.as_str())
        && let Some(router) = Id::<Router>::parse(&after.desired.device_id)
        && let Some(router) = ask.app.store.get(&router).await?
    {
        let mut changed = router.clone();
        if let Some(interface) = changed.desired.interfaces.iter_mut().find(|it| it.port_id == after.id) {
            interface.subnet_ids = after.desired.fixed_ips.iter().map(|it| it.subnet_id.clone()).collect();
            interface.subnet_ids.dedup();
        }
        changed.desired.readdressed = changed.desired.readdressed.wrapping_add(1);
        work.want(&router, &changed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::net::{FixedIp, PortDesired};

    use super::*;

    fn port(addresses: &[&str]) -> Object<Port> {
        let mut desired = PortDesired::new(Id::random(), "52:54:00:00:00:01".into());
        desired.fixed_ips = addresses.iter().map(|it| FixedIp { subnet_id: Id::random(), ip_address: it.parse().unwrap() }).collect();
        Object::new(Id::random(), None, "", desired)
    }

    #[test]
    fn the_address_inside_is_ipv4_and_clear() {
        let of = |addresses: &[&str], fixed: Option<&str>| {
            inside(&port(addresses), fixed.map(|it| it.parse().unwrap())).map(|it| it.0.to_string()).ok()
        };
        assert_eq!(of(&["10.0.0.5"], None).as_deref(), Some("10.0.0.5"));
        assert_eq!(of(&["2001:db8::5", "10.0.0.5"], None).as_deref(), Some("10.0.0.5"));
        assert_eq!(of(&["10.0.0.5", "10.0.0.6"], Some("10.0.0.6")).as_deref(), Some("10.0.0.6"));
        assert_eq!(of(&["10.0.0.5", "10.0.0.6"], None), None);
        assert_eq!(of(&["2001:db8::5"], None), None);
        assert_eq!(of(&["2001:db8::5"], Some("2001:db8::5")), None);
        assert_eq!(of(&["10.0.0.5"], Some("10.0.0.7")), None);
        assert_eq!(of(&[], None), None);
    }
}
