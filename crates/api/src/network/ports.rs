//! `/v2.0/ports`

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use model::net::{Binding, FixedIp, Network, Port, PortDesired, Subnet, ip_key};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::address::Taken;
use super::policies::{of_port, of_project};
use super::{Ask, again, bodies, created, networks, owner};
use crate::App;
use crate::caller::Caller;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::resource::{Field, Listing, Resource, View, field, parse, put, rooted, value};

/// Most addresses of one port.
const MAX_ADDRESSES: usize = 64;

/// `device_owner`s that the control plane gives to its own ports.
const OURS: [&str; 2] = ["network:cofferdam-access", "baremetal:cluster"];

pub(super) static PORT: Resource<Port> = Resource { plural: "ports", fields: FIELDS };

const FIELDS: &[Field<Port>] = &[
    field("id", |it: &Object<Port>| json!(it.id)),
    field("name", |it: &Object<Port>| json!(it.name)).set(|it, v| put(&mut it.name, value::text(v, 255))),
    field("description", |it: &Object<Port>| json!(it.desired.description))
        .set(|it, v| put(&mut it.desired.description, value::text(v, 255))),
    field("network_id", |it: &Object<Port>| json!(it.desired.network_id))
        .set_once(|it, v| put(&mut it.desired.network_id, value::id(v)))
        .required()
        .column("network_id"),
    field("admin_state_up", |it: &Object<Port>| json!(it.desired.admin_state_up))
        .set(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v))),
    field("status", |it: &Object<Port>| json!(it.observed.status.as_str())),
    field("mac_address", |it: &Object<Port>| json!(it.desired.mac_address))
        .set(|it, v| put(&mut it.desired.mac_address, mac(v)))
        .create_by("create_port:mac_address")
        .update_by("update_port:mac_address")
        .column("mac_address"),
    // Read with the subnets at hand: see `addresses`.
    field("fixed_ips", |it: &Object<Port>| json!(it.desired.fixed_ips))
        .set(|_, v| if v.is_array() || v.is_null() { Ok(()) } else { Err("it is not a list".into()) })
        .create_by("create_port:fixed_ips")
        .update_by("update_port:fixed_ips"),
    field("device_id", |it: &Object<Port>| json!(it.desired.device_id))
        .set(|it, v| put(&mut it.desired.device_id, value::text(v, 255)))
        .create_by("create_port:device_id")
        .update_by("update_port:device_id")
        .free_default()
        .column("device_id"),
    field("device_owner", |it: &Object<Port>| json!(it.desired.device_owner))
        .set(|it, v| {
            it.desired.device_owner = value::text(v, 255)?;
            if OURS.contains(&it.desired.device_owner.as_str()) { Err("it is one of the control plane's own".into()) } else { Ok(()) }
        })
        .create_by("create_port:device_owner")
        .update_by("update_port:device_owner")
        .free_default(),
    field("port_security_enabled", |it: &Object<Port>| json!(it.desired.port_security_enabled))
        .set(|it, v| put(&mut it.desired.port_security_enabled, value::boolean(v)))
        .create_by("create_port:port_security_enabled")
        .update_by("update_port:port_security_enabled"),
    field("security_groups", |_: &Object<Port>| json!([])).set(|_, v| only_empty(v)),
    field("allowed_address_pairs", |_: &Object<Port>| json!([]))
        .set(|_, v| only_empty(v))
        .create_by("create_port:allowed_address_pairs")
        .update_by("update_port:allowed_address_pairs"),
    field("extra_dhcp_opts", |_: &Object<Port>| json!([])).set(|_, v| only_empty(v)),
    field("binding:vnic_type", |it: &Object<Port>| json!(it.desired.binding.vnic_type))
        .set(|it, v| {
            let kind = value::text(v, 32)?;
            if !["normal", "baremetal", "direct", "macvtap"].contains(&kind.as_str()) {
                return Err(format!("'{kind}' is none of normal, baremetal, direct, macvtap"));
            }
            it.desired.binding.vnic_type = kind;
            Ok(())
        })
        .create_by("create_port:binding:vnic_type")
        .update_by("update_port:binding:vnic_type")
        .free_default(),
    field("binding:host_id", |it: &Object<Port>| json!(it.desired.binding.host_id))
        .set(|it, v| put(&mut it.desired.binding.host_id, value::text(v, 255)))
        .read_by("get_port:binding:host_id")
        .create_by("create_port:binding:host_id")
        .update_by("update_port:binding:host_id"),
    field("binding:profile", |it: &Object<Port>| json!(it.desired.binding.profile))
        .set(|it, v| {
            it.desired.binding.profile = match v {
                Value::Null => Map::new(),
                Value::Object(map) => map.clone(),
                _ => return Err("it is not an object".into()),
            };
            it.desired.binding.local_links().map(drop)
        })
        .read_by("get_port:binding:profile")
        .create_by("create_port:binding:profile")
        .update_by("update_port:binding:profile"),
    field("binding:vif_type", |it: &Object<Port>| json!(it.observed.vif_type.as_str())).read_by("get_port:binding:vif_type"),
    field("binding:vif_details", |_: &Object<Port>| json!({})).read_by("get_port:binding:vif_details"),
    field("project_id", |it: &Object<Port>| json!(it.project_id)),
    field("tenant_id", |it: &Object<Port>| json!(it.project_id)),
    field("created_at", |it: &Object<Port>| json!(it.created_at.iso_seconds())),
    field("updated_at", |it: &Object<Port>| json!(it.updated_at.unwrap_or(it.created_at).iso_seconds())),
    field("revision_number", |it: &Object<Port>| json!(it.generation)),
    field("tags", |_: &Object<Port>| json!([])),
];

fn only_empty(v: &Value) -> Result<(), String> {
    let empty = v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    if empty { Ok(()) } else { Err("it is not offered yet".into()) }
}

/// A hardware address in the usual form: lower case, with colons, no group address.
fn mac(v: &Value) -> Result<String, String> {
    let text = value::text(v, 32)?.to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = text.split(':').collect();
    let bytes: Vec<u8> = parts.iter().filter(|it| it.len() == 2).filter_map(|it| u8::from_str_radix(it, 16).ok()).collect();
    match bytes.as_slice() {
        [first, _, _, _, _, _] if parts.len() == 6 && first & 1 == 0 && bytes.iter().any(|it| *it != 0) => Ok(text),
        _ => Err(format!("{v} is not a valid MAC address")),
    }
}

fn random_mac() -> Result<String, Failure> {
    let mut tail = [0_u8; 3];
    getrandom::fill(&mut tail).map_err(|error| Failure::Internal(error.to_string()))?;
    let [a, b, c] = tail;
    Ok(format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}"))
}

fn mac_pool(network: &Id<Network>) -> String {
    format!("mac:{network}")
}

fn view<'a>(ask: &'a Ask, target: &'a (dyn Fn(&Object<Port>) -> Target + Send + Sync)) -> View<'a, Port> {
    View { app: &ask.app, caller: &ask.caller, target }
}

fn shown(ask: &Ask, port: &Object<Port>, network: Option<&Object<Network>>, fields: &[String]) -> Value {
    PORT.show(port, view(ask, &|it| of_port(it, network)), fields)
}

/// Whether the caller sees the port.
pub(crate) async fn sees(app: &App, caller: &Caller, port: &Object<Port>) -> Result<bool, Failure> {
    let network = app.store.get::<Network>(&port.desired.network_id).await?;
    Ok(allows(app, caller, "get_port", &of_port(port, network.as_ref())))
}

/// The port of that id and its network, if the caller sees it.
async fn find(ask: &Ask, id: &str) -> Result<(Object<Port>, Option<Object<Network>>), Failure> {
    let missing = || Failure::not_found("Port", id);
    let parsed = Id::parse(id).ok_or_else(missing)?;
    let port: Object<Port> = ask.app.store.get(&parsed).await?.ok_or_else(missing)?;
    let network = ask.app.store.get::<Network>(&port.desired.network_id).await?;
    let is_seen = !port.is_deleting() && allows(&ask.app, &ask.caller, "get_port", &of_port(&port, network.as_ref()));
    if is_seen { Ok((port, network)) } else { Err(missing()) }
}

pub(super) async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let networks = ask.networks().await?;
    let target = |it: &Object<Port>| of_port(it, networks.get(&it.desired.network_id));
    let listing = Listing {
        resource: &PORT,
        parameters: &ask.parameters,
        view: view(&ask, &target),
        own: of_project(ask.caller.project_id.as_ref()),
        href: ask.href("ports"),
        strict: true,
    };
    let sees = |it: &Object<Port>| allows(&ask.app, &ask.caller, "get_port", &target(it));
    Ok(Json(listing.answer(&ask.app.store, Query::new(), sees).await?))
}

pub(super) async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let (port, network) = find(&ask, &id).await?;
    Ok(Json(json!({"port": shown(&ask, &port, network.as_ref(), &ask.parameters.fields())})))
}

pub(super) async fn create(ask: Ask, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let (wanted, is_bulk) = bodies(&body, "port", "ports")?;
    let mut tries = 0;
    loop {
        let mut batch = Batch::wishes();
        let mut taken = Taken::after(tries)?;
        let mut items = Vec::new();
        for wanted in &wanted {
            let (port, network, with) = prepare(&ask, wanted.clone(), &mut taken, batch).await?;
            batch = with;
            items.push(shown(&ask, &port, Some(&network), &ask.parameters.fields()));
        }
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(created(if is_bulk { json!({ "ports": items }) } else { json!({"port": items.pop()}) })),
            Err(store::StoreError::Taken { pool, value })
                if pool.starts_with("mac:") && wanted.iter().any(|it| it.contains_key("mac_address")) =>
            {
                return Err(mac_in_use(&value));
            }
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn mac_in_use(mac: &str) -> Failure {
    let text = format!("Unable to complete operation. The mac address {mac} is in use.");
    Failure::named(StatusCode::CONFLICT, "MacAddressInUse", text)
}

async fn prepare(
    ask: &Ask,
    mut wanted: Map<String, Value>,
    taken: &mut Taken,
    batch: Batch<Wishes>,
) -> Result<(Object<Port>, Object<Network>, Batch<Wishes>), Failure> {
    let project = owner(ask, &mut wanted)?;
    let network = match wanted.get("network_id").and_then(Value::as_str) {
        Some(id) => networks::find(ask, id).await?,
        None => return Err(Failure::BadRequest("Failed to parse request. Required attribute 'network_id' not specified".into())),
    };
    let desired = PortDesired {
        network_id: network.id.clone(),
        mac_address: random_mac()?,
        fixed_ips: Vec::new(),
        admin_state_up: true,
        device_id: String::new(),
        device_owner: String::new(),
        binding: Binding::default(),
        description: String::new(),
        port_security_enabled: network.desired.port_security_enabled,
    };
    let mut port = Object::new(Id::random(), Some(project), "", desired);
    enforce(&ask.app, &ask.caller, "create_port", &of_port(&port, Some(&network)))?;
    let target = |it: &Object<Port>| of_port(it, Some(&network));
    PORT.fill(&mut port, &wanted, view(ask, &target))?;
    check_addresses(ask, "create_port", wanted.get("fixed_ips"), &target(&port))?;
    let subnets = ask.app.store.list(&Query::<Subnet>::new().column("network_id", [network.id.to_string()])).await?;
    port.desired.fixed_ips = addresses(ask, &subnets, wanted.get("fixed_ips").filter(|it| !it.is_null()), &[], taken).await?;
    let mut batch = batch.require(&network.id).hold(&mac_pool(&network.id), &port.desired.mac_address, port.id.as_str());
    for it in &port.desired.fixed_ips {
        batch = batch.require(&it.subnet_id).hold(&Taken::pool(&it.subnet_id), &ip_key(it.ip_address), port.id.as_str());
    }
    let batch = batch.create(&port).wake(&port.id);
    Ok((port, network, batch))
}

/// Asks the rules of what the entries of `fixed_ips` name.
fn check_addresses(ask: &Ask, rule: &str, wanted: Option<&Value>, target: &Target) -> Result<(), Failure> {
    let entries = wanted.and_then(Value::as_array);
    for member in ["ip_address", "subnet_id"] {
        if entries.is_some_and(|entries| entries.iter().any(|it| it.get(member).is_some_and(|it| !it.is_null()))) {
            enforce(&ask.app, &ask.caller, &format!("{rule}:fixed_ips:{member}"), target)?;
        }
    }
    Ok(())
}

/// The addresses asked for, or one of each family. Those in `kept` are the port's already.
async fn addresses(
    ask: &Ask,
    subnets: &[Object<Subnet>],
    wanted: Option<&Value>,
    kept: &[FixedIp],
    taken: &mut Taken,
) -> Result<Vec<FixedIp>, Failure> {
    let store = &ask.app.store;
    let mut out: Vec<FixedIp> = Vec::new();
    let Some(wanted) = wanted else {
        for is_v4 in [true, false] {
            let mut full = None;
            for subnet in subnets.iter().filter(|it| it.desired.cidr.network().is_ipv4() == is_v4) {
                match taken.next(store, subnet).await {
                    Ok(ip_address) => {
                        out.push(FixedIp { subnet_id: subnet.id.clone(), ip_address });
                        full = None;
                        break;
                    }
                    Err(failure) => full = Some(failure),
                }
            }
            if let Some(failure) = full {
                return Err(failure);
            }
        }
        return Ok(out);
    };
    let bad = |why: String| Failure::BadRequest(format!("Invalid input for fixed_ips. Reason: {why}."));
    if wanted.as_array().is_some_and(|it| it.len() > MAX_ADDRESSES) {
        return Err(bad(format!("there are more than {MAX_ADDRESSES}")));
    }
    for it in wanted.as_array().into_iter().flatten() {
        let it = it.as_object().ok_or_else(|| bad(format!("{it} is not an object")))?;
        if let Some(unknown) = it.keys().find(|key| *key != "subnet_id" && *key != "ip_address") {
            return Err(bad(format!("'{unknown}' is not known")));
        }
        let address: Option<IpAddr> = match it.get("ip_address") {
            None | Some(Value::Null) => None,
            Some(text) => {
                Some(text.as_str().and_then(|it| it.parse().ok()).ok_or_else(|| bad(format!("{text} is not a valid IP address")))?)
            }
        };
        let subnet = match it.get("subnet_id").filter(|it| !it.is_null()) {
            Some(id) => subnets
                .iter()
                .find(|it| Some(it.id.as_str()) == id.as_str())
                .ok_or_else(|| bad(format!("subnet {id} is not on this network")))?,
            None => {
                let address = address.ok_or_else(|| bad("each entry needs subnet_id or ip_address".into()))?;
                subnets.iter().find(|it| it.desired.cidr.contains(&address)).ok_or_else(|| {
                    let text = format!("IP address {address} is not a valid IP for any of the subnets on the specified network.");
                    Failure::named(StatusCode::BAD_REQUEST, "InvalidIpForNetwork", text)
                })?
            }
        };
        let same =
            kept.iter().find(|has| has.subnet_id == subnet.id && address.is_none_or(|it| it == has.ip_address) && !out.contains(has));
        let ip_address = match (same, address) {
            (Some(has), _) => has.ip_address,
            (None, Some(address)) => taken.this(store, subnet, address).await?,
            (None, None) => taken.next(store, subnet).await?,
        };
        let next = FixedIp { subnet_id: subnet.id.clone(), ip_address };
        if out.contains(&next) {
            return Err(bad(format!("{ip_address} is there twice")));
        }
        out.push(next);
    }
    Ok(out)
}

/// The port of that id and its network, if the rule lets the caller and it is not one of ours.
async fn permitted(ask: &Ask, id: &str, rule: &str) -> Result<(Object<Port>, Option<Object<Network>>), Failure> {
    let (port, network) = find(ask, id).await?;
    if OURS.contains(&port.desired.device_owner.as_str()) {
        let text = format!("Port {id} belongs to a cluster and cannot be changed or deleted directly via the port API.");
        return Err(Failure::named(StatusCode::CONFLICT, "ServicePortInUse", text));
    }
    enforce(&ask.app, &ask.caller, rule, &of_port(&port, network.as_ref()))?;
    Ok((port, network))
}

pub(super) async fn update(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let wanted = rooted(&body, "port")?;
    let mut tries = 0;
    loop {
        let (mut port, network) = permitted(&ask, &id, "update_port").await?;
        let before = port.desired.clone();
        let target = |it: &Object<Port>| of_port(it, network.as_ref());
        PORT.change(&mut port, wanted, view(&ask, &target))?;
        check_addresses(&ask, "update_port", wanted.get("fixed_ips"), &target(&port))?;
        let bound = !before.binding.host_id.is_empty();
        if bound && before.mac_address != port.desired.mac_address && before.binding.vnic_type != "baremetal" {
            let text = format!("Unable to complete operation on port {id}, port is already bound.");
            return Err(Failure::named(StatusCode::CONFLICT, "PortBound", text));
        }
        let mut batch = Batch::wishes();
        if let Some(given) = wanted.get("fixed_ips") {
            let subnets = ask.app.store.list(&Query::<Subnet>::new().column("network_id", [port.desired.network_id.to_string()])).await?;
            let given = if given.is_null() { json!([]) } else { given.clone() };
            port.desired.fixed_ips = addresses(&ask, &subnets, Some(&given), &before.fixed_ips, &mut Taken::after(tries)?).await?;
            for gone in before.fixed_ips.iter().filter(|it| !port.desired.fixed_ips.contains(it)) {
                batch = batch.free(&Taken::pool(&gone.subnet_id), &ip_key(gone.ip_address));
            }
            for new in port.desired.fixed_ips.iter().filter(|it| !before.fixed_ips.contains(it)) {
                batch = batch.require(&new.subnet_id).hold(&Taken::pool(&new.subnet_id), &ip_key(new.ip_address), port.id.as_str());
            }
        }
        if before.mac_address != port.desired.mac_address {
            let pool = mac_pool(&port.desired.network_id);
            batch = batch.free(&pool, &before.mac_address).hold(&pool, &port.desired.mac_address, port.id.as_str());
        }
        match ask.app.store.apply(batch.want(&port).wake(&port.id)).await {
            Ok(()) => {
                let (port, network) = find(&ask, &id).await?;
                return Ok(Json(json!({"port": shown(&ask, &port, network.as_ref(), &[])})));
            }
            Err(store::StoreError::Taken { pool, value }) if pool.starts_with("mac:") => return Err(mac_in_use(&value)),
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// DELETE: the port is gone for its users at once. What it holds stays held until its switch port was read back as isolated.
pub(super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let mut tries = 0;
    loop {
        let (port, _) = permitted(&ask, &id, "delete_port").await?;
        if let Some(held) = ask.app.store.allocation("vif", port.id.as_str()).await? {
            let text = format!("Port {id} cannot be deleted directly via the port API: it is attached to bare metal node {}.", held.holder);
            return Err(Failure::named(StatusCode::CONFLICT, "ServicePortInUse", text));
        }
        // Nor may it be attached at this very moment.
        let batch = Batch::wishes().hold("vif", port.id.as_str(), port.id.as_str()).free("vif", port.id.as_str());
        // One that was never changed was never bound: it holds nothing outside, so that there is nothing to wait for.
        let batch = if port.generation == 1 && port.desired.binding.host_id.is_empty() {
            let free = |batch: Batch<Wishes>, it: &FixedIp| batch.free(&Taken::pool(&it.subnet_id), &ip_key(it.ip_address));
            let batch = port.desired.fixed_ips.iter().fold(batch, free);
            batch.free(&mac_pool(&port.desired.network_id), &port.desired.mac_address).remove(&port).wake(&port.desired.network_id)
        } else {
            batch.mark_deleted(&port)
        };
        match ask.app.store.apply(batch.wake(&port.id)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT),
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs() {
        assert_eq!(mac(&json!("52-54-00-AB-cd-ef")), Ok("52:54:00:ab:cd:ef".into()));
        for wrong in [
            "",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "52:54:0:ab:cd:ef",
            "zz:54:00:ab:cd:ef",
        ] {
            assert!(mac(&json!(wrong)).is_err(), "{wrong}");
        }
    }
}
