//! `/v2.0/ports`

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use model::net::{Binding, FixedIp, Network, Port, PortDesired, Subnet, ip_key};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::address::Taken;
use super::{Ask, again, bodies, created, networks, owner};
use crate::failure::Failure;
use crate::resource::{Field, Listing, Resource, field, parse, put, rooted, value};

/// Most addresses of one port.
const MAX_ADDRESSES: usize = 64;

/// `device_owner`s that the control plane gives to its own ports.
const OURS: [&str; 2] = ["network:cofferdam-access", "baremetal:cluster"];

pub(super) static PORT: Resource<Port> = Resource { plural: "ports", title: "port", fields: FIELDS };

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
        .column("mac_address"),
    // Read with the subnets at hand: see `addresses`.
    field("fixed_ips", |it: &Object<Port>| json!(it.desired.fixed_ips))
        .set(|_, v| if v.is_array() || v.is_null() { Ok(()) } else { Err("it is not a list".into()) }),
    field("device_id", |it: &Object<Port>| json!(it.desired.device_id))
        .set(|it, v| put(&mut it.desired.device_id, value::text(v, 255)))
        .column("device_id"),
    field("device_owner", |it: &Object<Port>| json!(it.desired.device_owner)).set(|it, v| {
        it.desired.device_owner = value::text(v, 255)?;
        if OURS.contains(&it.desired.device_owner.as_str()) { Err("it is one of the control plane's own".into()) } else { Ok(()) }
    }),
    field("port_security_enabled", |it: &Object<Port>| json!(it.desired.port_security_enabled))
        .set(|it, v| put(&mut it.desired.port_security_enabled, value::boolean(v))),
    field("security_groups", |_: &Object<Port>| json!([])).set(|_, v| only_empty(v)),
    field("allowed_address_pairs", |_: &Object<Port>| json!([])).set(|_, v| only_empty(v)),
    field("extra_dhcp_opts", |_: &Object<Port>| json!([])).set(|_, v| only_empty(v)),
    field("binding:vnic_type", |it: &Object<Port>| json!(it.desired.binding.vnic_type)).set(|it, v| {
        let kind = value::text(v, 32)?;
        if !["normal", "baremetal", "direct", "macvtap"].contains(&kind.as_str()) {
            return Err(format!("'{kind}' is none of normal, baremetal, direct, macvtap"));
        }
        it.desired.binding.vnic_type = kind;
        Ok(())
    }),
    field("binding:host_id", |it: &Object<Port>| json!(it.desired.binding.host_id))
        .set(|it, v| put(&mut it.desired.binding.host_id, value::text(v, 255)))
        .admin_only(),
    field("binding:profile", |it: &Object<Port>| json!(it.desired.binding.profile))
        .set(|it, v| {
            it.desired.binding.profile = match v {
                Value::Null => Map::new(),
                Value::Object(map) => map.clone(),
                _ => return Err("it is not an object".into()),
            };
            it.desired.binding.local_links().map(drop)
        })
        .admin_only(),
    field("binding:vif_type", |it: &Object<Port>| json!(it.observed.vif_type.as_str())).admin_only(),
    field("binding:vif_details", |_: &Object<Port>| json!({})).admin_only(),
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

/// Whether the caller sees it. Services bind ports for users.
fn sees(ask: &Ask, port: &Object<Port>) -> bool {
    ask.caller.sees(port.project_id.as_ref()) || ask.caller.has_role("service")
}

async fn find(ask: &Ask, id: &str) -> Result<Object<Port>, Failure> {
    let missing = || Failure::not_found("Port", id);
    let parsed = Id::parse(id).ok_or_else(missing)?;
    let found = ask.app.store.get(&parsed).await?;
    found.filter(|it: &Object<Port>| !it.is_deleting() && sees(ask, it)).ok_or_else(missing)
}

pub(super) async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let listing = Listing { resource: &PORT, parameters: &ask.parameters, caller: &ask.caller, href: ask.href("ports"), strict: true };
    Ok(Json(listing.answer(&ask.app.store, Query::new(), |it| sees(&ask, it)).await?))
}

pub(super) async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let port = find(&ask, &id).await?;
    Ok(Json(json!({"port": PORT.show(&port, &ask.caller, &ask.parameters.fields())})))
}

pub(super) async fn create(ask: Ask, body: Bytes) -> Result<Response, Failure> {
    ask.caller.require_role("member")?;
    let body = parse(&body)?;
    let (wanted, is_bulk) = bodies(&body, "port", "ports")?;
    let mut tries = 0;
    loop {
        let mut batch = Batch::wishes();
        let mut taken = Taken::after(tries)?;
        let mut made = Vec::new();
        for wanted in &wanted {
            let (port, with) = prepare(&ask, wanted.clone(), &mut taken, batch).await?;
            batch = with;
            made.push(port);
        }
        match ask.app.store.apply(batch).await {
            Ok(()) => {
                let mut items: Vec<Value> = made.iter().map(|it| PORT.show(it, &ask.caller, &ask.parameters.fields())).collect();
                return Ok(created(if is_bulk { json!({ "ports": items }) } else { json!({"port": items.pop()}) }));
            }
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
) -> Result<(Object<Port>, Batch<Wishes>), Failure> {
    let project = owner(ask, &mut wanted)?;
    let network = match wanted.get("network_id").and_then(Value::as_str) {
        Some(id) => networks::find(ask, id).await?,
        None => return Err(Failure::BadRequest("Failed to parse request. Required attribute 'network_id' not specified".into())),
    };
    check_owner(ask, &network, &wanted)?;
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
    PORT.fill(&mut port, &wanted, &ask.caller)?;
    let subnets = ask.app.store.list(&Query::<Subnet>::new().column("network_id", [network.id.to_string()])).await?;
    port.desired.fixed_ips = addresses(ask, &subnets, wanted.get("fixed_ips").filter(|it| !it.is_null()), &[], taken).await?;
    let mut batch = batch.require(&network.id).hold(&mac_pool(&network.id), &port.desired.mac_address, port.id.as_str());
    for it in &port.desired.fixed_ips {
        batch = batch.require(&it.subnet_id).hold(&Taken::pool(&it.subnet_id), &ip_key(it.ip_address), port.id.as_str());
    }
    let batch = batch.create(&port).wake(&port.id);
    Ok((port, batch))
}

/// What only the owner of a network may say of ports on it (Source: Neutron's default policies of ports).
fn check_owner(ask: &Ask, network: &Object<Network>, wanted: &Map<String, Value>) -> Result<(), Failure> {
    if ask.caller.is_admin() || ask.caller.has_role("service") || network.project_id == ask.caller.project_id {
        return Ok(());
    }
    if wanted.contains_key("mac_address") || wanted.contains_key("fixed_ips") {
        return Err(Failure::Forbidden("Only the owner of a shared network may choose addresses on it.".into()));
    }
    let is_network = |it: &Value| it.as_str().is_some_and(|it| it.starts_with("network:"));
    if wanted.get("device_owner").is_some_and(is_network) {
        return Err(Failure::Forbidden("Only the owner of a shared network may make ports of the network itself on it.".into()));
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

async fn own(ask: &Ask, id: &str) -> Result<Object<Port>, Failure> {
    let port = find(ask, id).await?;
    let service = ask.caller.is_admin() || ask.caller.has_role("service");
    if !service && !ask.caller.has_role("member") {
        return Err(Failure::Forbidden("This port is not yours to change.".into()));
    }
    if OURS.contains(&port.desired.device_owner.as_str()) {
        let text = format!("Port {id} belongs to a cluster and cannot be changed or deleted directly via the port API.");
        return Err(Failure::named(StatusCode::CONFLICT, "ServicePortInUse", text));
    }
    Ok(port)
}

pub(super) async fn update(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let wanted = rooted(&body, "port")?;
    let mut tries = 0;
    loop {
        let mut port = own(&ask, &id).await?;
        let before = port.desired.clone();
        if let Some(network) = ask.app.store.get(&before.network_id).await? {
            check_owner(&ask, &network, wanted)?;
        }
        PORT.change(&mut port, wanted, &ask.caller)?;
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
            Ok(()) => return Ok(Json(json!({"port": PORT.show(&find(&ask, &id).await?, &ask.caller, &[])}))),
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
        let port = own(&ask, &id).await?;
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
