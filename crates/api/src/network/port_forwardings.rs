//! `/v2.0/floatingips/{id}/port_forwardings`: ports of a floating IP that lead to a port each.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use axum::Router as Routes;
use model::identity::Project;
use model::net::l3::{FloatingIp, PortForwarding, PortForwardingDesired, PortRange, Router};
use model::net::{FixedIp, Port, Subnet};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::Query;

use super::floating_ips::{self, maybe_ip};
use super::l3_ports::{self, bad, conflict};
use super::noun::{Body, Form, Nested, Noun, Work, field, named, nested_routes};
use super::policies::owned;
use super::{Ask, Extension, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "floating-ip-port-forwarding",
        "Floating IP Port Forwarding",
        "Allow port forwarding from floating IP port to an internal port",
        "2018-01-19T10:00:00-00:00",
    ),
    extension(
        "floating-ip-port-forwarding-description",
        "Floating IP Port Forwarding new attribute description",
        "Add a description field to Port Forwarding rules",
        "2019-11-01T10:00:00-00:00",
    ),
    extension(
        "floating-ip-port-forwarding-detail",
        "Floating IP port forwarding detail",
        "Allow list floating ip return more port forwarding data, include'id' and 'internal_port_id'",
        "2022-05-06T10:00:00-00:00",
    ),
    extension(
        "floating-ip-port-forwarding-port-ranges",
        "Floating IP Port Forwarding support port ranges",
        "Add support to port ranges",
        "2020-07-01T10:00:00-00:00",
    ),
    extension(
        "expose-port-forwarding-in-fip",
        "Expose Floating IP port forwardings",
        "Expose port forwarding fields in floating IP response",
        "2018-06-28T16:00:00-00:00",
    ),
];

/// Protocols that have ports, and those that Neutron takes beside them. Source: `IPTABLES_PROTOCOL_MAP`.
pub(super) const PROTOCOLS: [&str; 6] = ["dccp", "icmp", "ipv6-icmp", "sctp", "tcp", "udp"];

pub(super) fn routes() -> Routes<Arc<App>> {
    nested_routes::<PortForwarding>()
}

/// Reads a protocol's name.
pub(super) fn protocol(v: &Value) -> Result<String, String> {
    let given = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    if PROTOCOLS.contains(&given.as_str()) {
        return Ok(given);
    }
    Err(format!("IP protocol '{given}' is not supported. Only protocol names and their integer representation (0 to 255) are supported"))
}

/// Reads a port of a transport protocol.
pub(super) fn transport_port(v: &Value) -> Result<u16, String> {
    let number = match v {
        Value::Number(it) => it.as_i64(),
        Value::String(it) => it.trim().parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("'{}' is not an integer", v.as_str().map_or_else(|| v.to_string(), str::to_owned)))?;
    if number < 1 {
        return Err(format!("'{number}' is too small - must be at least '1'"));
    }
    u16::try_from(number).map_err(|_| format!("'{number}' is too large - must be no larger than '65535'"))
}

fn single(place: &mut Option<PortRange>, v: &Value) -> Result<(), String> {
    if !v.is_null() {
        let port = transport_port(v)?;
        *place = Some(PortRange { first: port, last: port });
    }
    Ok(())
}

fn range(place: &mut Option<PortRange>, v: &Value) -> Result<(), String> {
    let text = match v {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 2 || parts.iter().any(|it| it.is_empty()) {
        return Err("Port range must be two integers separated by a colon".into());
    }
    let mut ports = Vec::new();
    for part in parts {
        let port: u16 = part.parse().map_err(|_| format!("Invalid port: {part}"))?;
        if port == 0 {
            return Err(format!("Invalid port: {part}, the port must be in the range [1, 65535]"));
        }
        ports.push(port);
    }
    let (first, last) = match ports.as_slice() {
        [only] => (*only, *only),
        [first, last] => (*first, *last),
        _ => return Err("Port range must be two integers separated by a colon".into()),
    };
    if first > last {
        return Err("First port in a port range must be lower than the second port".into());
    }
    *place = Some(PortRange { first, last });
    Ok(())
}

fn range_shown(range: Option<PortRange>) -> Value {
    json!(range.map(|it| it.to_string()))
}

/// One as its floating IP shows it.
pub(super) fn in_floating_ip(it: &Object<PortForwarding>) -> Value {
    let desired = &it.desired;
    let mut shown = Map::new();
    shown.insert("id".into(), json!(it.id));
    shown.insert("protocol".into(), json!(desired.protocol));
    shown.insert("internal_ip_address".into(), json!(desired.internal_ip_address));
    shown.insert("internal_port_id".into(), json!(desired.internal_port_id));
    for (name, range) in [("external_port", desired.external), ("internal_port", desired.internal)] {
        if let Some(port) = range.and_then(PortRange::single) {
            shown.insert(name.into(), json!(port));
        }
    }
    Value::Object(shown)
}

static FORM: LazyLock<Form<PortForwarding>> = LazyLock::new(|| {
    Form::new("port_forwarding", "port_forwardings", "port_forwardings", "PortForwardingNotFound", "Port Forwarding")
        .rule("floatingip_port_forwarding")
        .owner_hidden()
        .fields(vec![
            // What is said by both names is what the single one says.
            field("external_port_range", |it: &Object<PortForwarding>, _: &Around| range_shown(it.desired.external))
                .set(|it, v| range(&mut it.desired.external, v))
                .sort(),
            field("internal_port_range", |it: &Object<PortForwarding>, _| range_shown(it.desired.internal))
                .set(|it, v| range(&mut it.desired.internal, v)),
            field("external_port", |it: &Object<PortForwarding>, _| json!(it.desired.external.and_then(PortRange::single)))
                .set(|it, v| single(&mut it.desired.external, v))
                .sort(),
            field("internal_port", |it: &Object<PortForwarding>, _| json!(it.desired.internal.and_then(PortRange::single)))
                .set(|it, v| single(&mut it.desired.internal, v)),
            field("protocol", |it: &Object<PortForwarding>, _| json!(it.desired.protocol))
                .set(|it, v| put(&mut it.desired.protocol, protocol(v)))
                .required()
                .sort(),
            field("internal_port_id", |it: &Object<PortForwarding>, _| json!(it.desired.internal_port_id))
                .set(|it, v| {
                    it.desired.internal_port_id = Some(l3_ports::uuid(v)?);
                    Ok(())
                })
                .required()
                .sort()
                .column("internal_port_id"),
            field("internal_ip_address", |it: &Object<PortForwarding>, _| json!(it.desired.internal_ip_address)).set(|it, v| {
                it.desired.internal_ip_address = Some(maybe_ip(v)?.ok_or("'None' is not a valid IP address")?);
                Ok(())
            }),
            field("description", |it: &Object<PortForwarding>, _| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
                .filter(),
        ])
});

/// What is read beside port forwardings: whose their floating IPs are.
#[derive(Default)]
pub(crate) struct Around(HashMap<Id<FloatingIp>, Option<Id<Project>>>);

impl Noun for PortForwarding {
    type Around = Around;

    const PARENT: Option<&'static str> = Some("floatingip_id");

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(ask: &Ask, _: Option<&Id<Project>>) -> Result<PortForwardingDesired, Failure> {
        let floating = ask.inside.as_deref().and_then(Id::parse);
        Ok(PortForwardingDesired {
            floatingip_id: floating.ok_or_else(|| Failure::Internal("a port forwarding outside of a floating IP".into()))?,
            description: String::new(),
            protocol: String::new(),
            external: None,
            internal: None,
            internal_port_id: None,
            internal_ip_address: None,
            internal_subnet_id: None,
            router_id: None,
        })
    }

    async fn around(ask: &Ask, forwardings: &[Object<Self>]) -> Result<Around, Failure> {
        let mut ids: Vec<String> = forwardings.iter().map(|it| it.desired.floatingip_id.to_string()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Around::default());
        }
        let found = ask.app.store.list_few(&Query::<FloatingIp>::new().ids(ids)).await?;
        Ok(Around(found.into_iter().map(|it| (it.id, it.project_id)).collect()))
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        let mut out = Map::new();
        let project = around.0.get(&object.desired.floatingip_id).and_then(Option::as_ref);
        owned(project, &mut out, ["project_id", "tenant_id"]);
        owned(project, &mut out, ["ext_parent:project_id", "ext_parent:tenant_id"]);
        Value::Object(out)
    }

    async fn create(work: &mut Work<'_>, forwarding: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let ask = work.ask;
        let floating = l3_ports::known::<FloatingIp>(ask, &forwarding.desired.floatingip_id).await?;
        forwarding.project_id.clone_from(&floating.project_id);
        check_ports(work, forwarding, &floating).await?;
        check_unbound(ask, forwarding).await?;
        if floating.desired.port_id.is_some() {
            let text = format!(
                "Cannot associate floating IP {} ({}) with port {} using fixed IP {}, as that fixed IP already has a floating IP on external \
                 network {}.",
                spelled(floating.desired.floating_ip_address),
                floating.id,
                spelled(forwarding.desired.internal_port_id.as_ref()),
                spelled(forwarding.desired.internal_ip_address),
                floating.desired.floating_network_id
            );
            return Err(conflict("FloatingIPPortAlreadyAssociated", text));
        }
        lead(work, forwarding, &floating).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let ask = work.ask;
        let floating = l3_ports::known::<FloatingIp>(ask, &before.desired.floatingip_id).await?;
        if body.contains_key("internal_port_id") {
            check_unbound(ask, after).await?;
            if before.desired.internal_port_id != after.desired.internal_port_id && !body.contains_key("internal_ip_address") {
                after.desired.internal_ip_address = None;
            }
        }
        if before.desired == after.desired {
            return Ok(());
        }
        check_inside(ask, after).await?;
        check_ports(work, after, &floating).await?;
        lead(work, after, &floating).await
    }

    async fn delete(work: &mut Work<'_>, forwarding: &Object<Self>) -> Result<(), Failure> {
        remove(work, std::slice::from_ref(forwarding)).await
    }
}

impl Nested for PortForwarding {
    type Parent = FloatingIp;
}

fn spelled<T: ToString>(it: Option<T>) -> String {
    it.map_or_else(|| "None".to_owned(), |it| it.to_string())
}

/// Removes some; the last of a floating IP takes it from its router.
///
/// # Errors
/// The store failed.
pub(super) async fn remove(work: &mut Work<'_>, gone: &[Object<PortForwarding>]) -> Result<(), Failure> {
    let ask = work.ask;
    let floating: BTreeSet<&Id<FloatingIp>> = gone.iter().map(|it| &it.desired.floatingip_id).collect();
    for id in floating {
        let before = l3_ports::known::<FloatingIp>(ask, id).await?;
        let all = floating_ips::forwardings(ask, "floatingip_id", id.as_str()).await?;
        let mut after = before;
        if all.iter().all(|it| gone.iter().any(|gone| gone.id == it.id)) {
            after.desired.router_id = None;
        }
        // Written even if it stays as it is: were two removed at once, each would take the other for the last.
        work.step(|batch| batch.want(&after));
    }
    for one in gone {
        work.step(|batch| batch.remove(one));
    }
    Ok(())
}

/// Checks that an updated one leads to an address of its port.
async fn check_inside(ask: &Ask, forwarding: &Object<PortForwarding>) -> Result<(), Failure> {
    let Some(port) = &forwarding.desired.internal_port_id else { return Ok(()) };
    let port = named::<Port>(ask, port).await?;
    let Some(address) = forwarding.desired.internal_ip_address else { return Ok(()) };
    if port.desired.fixed_ips.iter().any(|it| it.ip_address == address) {
        return Ok(());
    }
    let text = format!(
        "The internal IP does not correspond to an address on the internal port, which has fixed_ips {}",
        l3_ports::spelled(port.desired.fixed_ips.iter())
    );
    Err(bad("port_forwarding", text))
}

/// Checks its ports: as many outside as inside or one inside, and none that another has already.
async fn check_ports(work: &mut Work<'_>, forwarding: &Object<PortForwarding>, floating: &Object<FloatingIp>) -> Result<(), Failure> {
    let it = &forwarding.desired;
    let (Some(external), Some(internal)) = (it.external, it.internal) else {
        return Err(bad("port_forwarding", "Both an external and an internal port, or range of ports, must be given"));
    };
    let (outside, inside) = (external.last - external.first, internal.last - internal.first);
    if inside > 0 && inside != outside {
        let text = "Invalid ranges of internal and/or external ports. The relation between internal and external ports must be N-N or 1-N";
        return Err(bad("port_forwarding", text));
    }
    let collide = |name: &str, has: PortRange, wanted: PortRange| {
        bad("port_forwarding", format!("There is a port collision with the {name}. The following ranges collide: {has} and {wanted}"))
    };
    let mut made: Vec<Object<PortForwarding>> = work.made::<PortForwarding>().cloned().collect();
    let mut others = floating_ips::forwardings(work.ask, "floatingip_id", floating.id.as_str()).await?;
    if let Some(port) = &it.internal_port_id {
        others.extend(floating_ips::forwardings(work.ask, "internal_port_id", port.as_str()).await?);
    }
    others.append(&mut made);
    let others: Vec<&PortForwardingDesired> = others
        .iter()
        .filter(|other| other.id != forwarding.id)
        .map(|it| &it.desired)
        .filter(|other| other.protocol == it.protocol)
        .collect();
    for other in &others {
        let same_place = other.internal_port_id == it.internal_port_id
            && (it.internal_ip_address.is_none() || other.internal_ip_address == it.internal_ip_address);
        if let Some(has) = other.internal.filter(|has| same_place && has.meets(internal)) {
            return Err(collide("internal_port_range", has, internal));
        }
    }
    for other in others.iter().filter(|other| other.floatingip_id == it.floatingip_id) {
        if let Some(has) = other.external.filter(|has| has.meets(external)) {
            return Err(collide("external_port_range", has, external));
        }
    }
    Ok(())
}

/// A port with a floating IP of its own has no need of another's ports.
async fn check_unbound(ask: &Ask, forwarding: &Object<PortForwarding>) -> Result<(), Failure> {
    let Some(port) = &forwarding.desired.internal_port_id else { return Ok(()) };
    let bound = ask.app.store.list_few(&Query::<FloatingIp>::new().column("port_id", [port.to_string()]).limit(1)).await?;
    match bound.first() {
        None => Ok(()),
        Some(floating) => {
            let text = format!(
                "Cannot create port forwarding to floating IP {} ({}) with port {port} using fixed IP {}, as that port already has a binding \
                 floating IP.",
                spelled(floating.desired.floating_ip_address),
                floating.id,
                spelled(forwarding.desired.internal_ip_address)
            );
            Err(conflict("PortHasBindingFloatingIP", text))
        }
    }
}

/// Finds the router that translates, which is the floating IP's from then on.
async fn lead(work: &mut Work<'_>, forwarding: &mut Object<PortForwarding>, floating: &Object<FloatingIp>) -> Result<(), Failure> {
    let ask = work.ask;
    let Some(port) = forwarding.desired.internal_port_id.clone() else { return Ok(()) };
    let port = named::<Port>(ask, &port).await?;
    let own: Vec<FixedIp> = port.desired.fixed_ips.iter().filter(|it| it.ip_address.is_ipv4()).cloned().collect();
    if own.is_empty() {
        return Err(bad("port_forwarding", format!("Requested internal port {} must allocate an IPv4 address at least.", port.id)));
    }
    let found = match forwarding.desired.internal_ip_address {
        None => own.first(),
        Some(address) => own.iter().find(|it| it.ip_address == address),
    };
    let Some(found) = found.cloned() else {
        let text = format!(
            "Requested internal IP address {} is not suitable for internal neutron port {}, as its fixed_ips are {}",
            spelled(forwarding.desired.internal_ip_address),
            port.id,
            l3_ports::spelled(own.iter())
        );
        return Err(bad("port_forwarding", text));
    };
    let subnet = l3_ports::known::<Subnet>(ask, &found.subnet_id).await?;
    let Some(router) = floating_ips::way(work, &subnet, &floating.desired.floating_network_id).await? else {
        let text = format!(
            "External network {} is not reachable from subnet {}. Cannot set Port forwarding for port {} with Floating IP {}",
            floating.desired.floating_network_id, subnet.id, port.id, floating.id
        );
        return Err(bad("port_forwarding", text));
    };
    check_router(&router, floating, &port)?;
    forwarding.desired.internal_ip_address = Some(found.ip_address);
    forwarding.desired.internal_subnet_id = Some(found.subnet_id);
    forwarding.desired.router_id = Some(router.id.clone());
    let name = format!("port forwardings of {}", floating.id);
    if work.known::<()>(&name).is_none() {
        // Written even if it stays as it is: whoever else looked at its ports or the port's looks again.
        let mut after = floating.clone();
        after.desired.router_id = Some(router.id);
        work.step(|batch| batch.want(&after));
        work.know(name, Arc::new(()));
    }
    let name = format!("port forwardings to {}", port.id);
    if work.known::<()>(&name).is_none() {
        work.step(|batch| batch.want(&port));
        work.know(name, Arc::new(()));
    }
    Ok(())
}

/// All ports of a floating IP are translated by one router.
fn check_router(router: &Object<Router>, floating: &Object<FloatingIp>, port: &Object<Port>) -> Result<(), Failure> {
    match &floating.desired.router_id {
        Some(has) if *has != router.id => {
            let text = format!(
                "The Floating IP {} had been set on router {has}, the internal Neutron port {} can not reach it",
                floating.id, port.id
            );
            Err(bad("port_forwarding", text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_a_form() {
        let read = |v: Value| {
            let mut place = None;
            range(&mut place, &v).map(|()| place.map(|it| it.to_string()))
        };
        assert_eq!(read(json!("10:20")), Ok(Some("10:20".into())));
        assert_eq!(read(json!("10")), Ok(Some("10:10".into())));
        assert_eq!(read(json!(10)), Ok(Some("10:10".into())));
        assert_eq!(read(json!(null)), Ok(None));
        for wrong in [json!("20:10"), json!("x"), json!("1:2:3"), json!(":1"), json!("0:1"), json!("1:70000")] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_have_a_form() {
        assert_eq!(transport_port(&json!("80")), Ok(80));
        assert_eq!(transport_port(&json!(65535)), Ok(65535));
        for wrong in [json!(0), json!(70000), json!("x"), json!(null), json!(-1)] {
            assert!(transport_port(&wrong).is_err(), "{wrong}");
        }
    }
}
