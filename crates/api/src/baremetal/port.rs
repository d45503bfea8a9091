//! `/v1/ports`: the network cards of nodes, and where their cables end.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use model::baremetal::{BaremetalPort, BaremetalPortDesired, Node, ProvisionState, is_busy};
use model::fabric::{Switch, find_switch};
use model::net::LocalLink;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::node::parse_id;
use super::node_fields::{self, Wanted, links, map, optional_text, time};
use super::versions::Minor;
use super::{Ask, access};
use crate::failure::Failure;
use crate::json_patch::{self, Operation};
use crate::page::{self, Parameters};
use crate::resource::value::boolean;

/// Allocation pool of hardware addresses; the holder is the port.
const MAC_POOL: &str = "baremetal-mac";
/// Allocation pool of switch ports, `<switch>/<port>`: a cable has one end at a machine.
const CABLE_POOL: &str = "cable";

type Set = fn(&mut Object<BaremetalPort>, Value) -> Result<(), String>;

struct Field {
    name: &'static str,
    since: Minor,
    show: fn(&Object<BaremetalPort>) -> Value,
    set: Option<Set>,
    brief: bool,
}

const fn field(name: &'static str, since: u16, show: fn(&Object<BaremetalPort>) -> Value, set: Option<Set>) -> Field {
    Field { name, since: Minor(since), show, set, brief: false }
}

impl Field {
    const fn brief(mut self) -> Self {
        self.brief = true;
        self
    }
}

static FIELDS: &[Field] = &[
    field("uuid", 1, |it| json!(it.id), None).brief(),
    field(
        "address",
        1,
        |it| json!(it.desired.address),
        Some(|port, value| {
            let text = value.as_str().ok_or("is mandatory")?;
            port.desired.address = mac(text).ok_or_else(|| format!("'{text}' is not the MAC address of a card"))?;
            Ok(())
        }),
    )
    .brief(),
    field("node_uuid", 1, |it| json!(it.desired.node_id), None),
    field(
        "local_link_connection",
        19,
        |it| match &it.desired.local_link_connection {
            None => json!({}),
            Some(link) => {
                let mut out = json!({"switch_id": link.switch_id, "port_id": link.port_id});
                if let (Some(info), Some(map)) = (&link.switch_info, out.as_object_mut()) {
                    map.insert("switch_info".into(), json!(info));
                }
                out
            }
        },
        Some(|port, value| {
            port.desired.local_link_connection = link(value)?;
            Ok(())
        }),
    ),
    field(
        "pxe_enabled",
        19,
        |it| json!(it.desired.pxe_enabled),
        Some(|port, value| {
            port.desired.pxe_enabled = match value {
                Value::Null => true,
                other => boolean(&other)?,
            };
            Ok(())
        }),
    ),
    field(
        "physical_network",
        34,
        |it| json!(it.desired.physical_network),
        Some(|port, value| {
            port.desired.physical_network = optional_text(value, 64)?.filter(|it| !it.is_empty());
            Ok(())
        }),
    ),
    field(
        "extra",
        1,
        |it| Value::Object(it.desired.extra.clone()),
        Some(|port, value| {
            port.desired.extra = map(value)?;
            Ok(())
        }),
    ),
    field("internal_info", 18, |_| json!({}), None),
    field("is_smartnic", 53, |_| json!(false), None),
    field("created_at", 1, |it| time(Some(it.created_at)), None),
    field("updated_at", 1, |it| time(it.updated_at), None),
];

/// A card's address in lower case with colons; group addresses are none.
fn mac(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let fits = parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    let first = parts.first().and_then(|part| u8::from_str_radix(part, 16).ok())?;
    let joined = parts.join(":").to_ascii_lowercase();
    (fits && first & 1 == 0 && joined != "00:00:00:00:00:00").then_some(joined)
}

/// Where a cable ends; `{}` is nowhere.
fn link(value: Value) -> Result<Option<LocalLink>, String> {
    let map = map(value)?;
    if map.is_empty() {
        return Ok(None);
    }
    if let Some(other) = map.keys().find(|key| !["switch_id", "port_id", "switch_info"].contains(&key.as_str())) {
        return Err(format!("'{other}' is not offered: switch_id, port_id, switch_info"));
    }
    let text = |key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=255).contains(&text.len()) && !text.contains(char::is_control) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key}: 1 to 255 characters")),
    };
    let port_id = text("port_id")?.ok_or("port_id is mandatory")?;
    let switch_info = text("switch_info")?;
    let switch_id = match text("switch_id")? {
        None if switch_info.is_some() => String::new(),
        None => return Err("switch_id is mandatory".into()),
        Some(id) => switch_mac(&id).ok_or_else(|| format!("switch_id: '{id}' is neither a MAC address nor a datapath id"))?,
    };
    Ok(Some(LocalLink { switch_id, switch_info, port_id }))
}

/// A switch's MAC address (6 bytes) or datapath id (8 bytes) in lower case, a MAC address with colons.
fn switch_mac(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| ![':', '-', '.'].contains(c)).collect::<String>().to_ascii_lowercase();
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.as_bytes();
    match digits.len() {
        12 => {
            let pairs: Vec<String> = digits.chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
            Some(pairs.join(":"))
        }
        16 => Some(String::from_utf8_lossy(digits).into_owned()),
        _ => None,
    }
}

/// The cable end as it is held: by the switch's name if we know the switch, so that two spellings of one end are one.
async fn cable(ask: &Ask, port: &Object<BaremetalPort>) -> Result<Option<String>, Failure> {
    let Some(link) = &port.desired.local_link_connection else { return Ok(None) };
    let switches = ask.app.store.list(&Query::<Switch>::new()).await?;
    let by_info = link.switch_info.clone().unwrap_or_default();
    let unknown = || if link.switch_id.is_empty() { by_info.clone() } else { link.switch_id.clone() };
    let switch = find_switch(&switches, link).map_or_else(unknown, |switch| switch.id.to_string());
    Ok(Some(format!("{switch}/{}", link.port_id)))
}

/// Removes a port and what it holds.
pub(super) fn released(batch: Batch<Wishes>, port: &Object<BaremetalPort>) -> Batch<Wishes> {
    batch.free_held(MAC_POOL, port.id.as_str()).free_held(CABLE_POOL, port.id.as_str()).remove(port)
}

fn shown(ask: &Ask, port: &Object<BaremetalPort>, wanted: &Wanted) -> Value {
    let mut out = Map::new();
    for field in FIELDS.iter().filter(|field| field.since <= ask.minor && wanted.includes(field.name, field.brief)) {
        out.insert(field.name.to_owned(), (field.show)(port));
    }
    if wanted.includes("links", true) {
        out.insert("links".into(), links(&ask.base, &format!("ports/{}", port.id)));
    }
    Value::Object(out)
}

fn wanted(ask: &Ask, query: &HashMap<String, String>, usual: Wanted) -> Result<Wanted, Failure> {
    let Some(names) = query.get("fields") else { return Ok(usual) };
    let names: Vec<String> = names.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let known = |name: &String| name == "links" || FIELDS.iter().any(|field| field.name == name && field.since <= ask.minor);
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(Failure::BadRequest(format!("Field(s) \"{name}\" are not valid"))),
        None => Ok(Wanted::These(names)),
    }
}

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, false, "ports").await
}

pub(super) async fn list_detail(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, true, "ports/detail").await
}

pub(super) async fn listing(ask: &Ask, query: &HashMap<String, String>, detail: bool, path: &str) -> Result<Response, Failure> {
    let detail = detail || page::flag(query, "detail")?.unwrap_or(false);
    if detail && query.contains_key("fields") {
        return Err(Failure::BadRequest("Can't fetch a subset of fields with 'detail' set".into()));
    }
    let wanted = wanted(ask, query, if detail { Wanted::All } else { Wanted::Brief })?;
    let mut find = Query::<BaremetalPort>::new();
    for (key, value) in query {
        match key.as_str() {
            "fields" | "detail" | "limit" | "marker" | "sort_dir" => {}
            "sort_key" if ["id", "uuid", "address", "created_at"].contains(&value.as_str()) => {}
            "sort_key" => return Err(Failure::BadRequest(format!("The sort_key value \"{value}\" is an invalid field for sorting"))),
            "address" => find = find.column("address", [mac(value).unwrap_or_else(|| value.clone())]),
            "node" | "node_uuid" => {
                let node = access::node(ask, value).await?;
                find = find.column("node_id", [node.id.to_string()]);
            }
            _ => return Err(Failure::BadRequest(format!("Unknown argument: \"{key}\""))),
        }
    }
    let all = access::lists_all(ask, "baremetal:port:list_all", "baremetal:port:list")?;
    let mut ports = ask.app.store.list(&find).await?;
    if !all {
        let nodes = ask.app.store.list(&Query::<Node>::new()).await?;
        ports.retain(|port| nodes.iter().any(|node| node.id == port.desired.node_id && access::may(ask, "baremetal:port:get", node)));
    }
    match query.get("sort_key").map(String::as_str) {
        Some("address") => ports.sort_by(|a, b| a.desired.address.cmp(&b.desired.address)),
        Some("uuid") => ports.sort_by(|a, b| a.id.cmp(&b.id)),
        _ => {}
    }
    if page::descending(query)? {
        ports.reverse();
    }
    let (ports, next) = page::cut(ports, query, |port| port.id.as_str())?;
    let items = ports.iter().map(|port| shown(ask, port, &wanted)).collect();
    Ok(page::answer("ports", items, next.map(|marker| page::next(&format!("{}/v1/{path}", ask.base), query, &marker))))
}

/// The port of that id and its node, if the caller sees them.
async fn find(ask: &Ask, text: &str) -> Result<(Object<BaremetalPort>, Object<Node>), Failure> {
    let missing = || Failure::not_found("Port", text);
    // Ironic once took addresses here too.
    let port = match parse_id::<BaremetalPort>(text) {
        Some(id) => ask.app.store.get(&id).await?,
        None => None,
    };
    let port = port.ok_or_else(missing)?;
    let node =
        ask.app.store.get(&port.desired.node_id).await?.filter(|node| access::may(ask, "baremetal:port:get", node)).ok_or_else(missing)?;
    Ok((port, node))
}

pub(super) async fn show(ask: Ask, Path(id): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let wanted = wanted(&ask, &query, Wanted::All)?;
    let (port, _) = find(&ask, &id).await?;
    Ok(Json(shown(&ask, &port, &wanted)).into_response())
}

/// Cards of a machine that is at work or runs somebody's image stay as they are.
fn steady(node: &Object<Node>, what: &str) -> Result<(), Failure> {
    if is_busy(node) {
        return Err(Failure::Conflict(format!("Node {} is locked, please retry after the current operation is completed.", node.id)));
    }
    if node.observed.state == ProvisionState::Active || node.desired.instance_uuid.is_some() || !node.desired.vifs.is_empty() {
        return Err(Failure::Conflict(format!("{what}: node {} is in use.", node.id)));
    }
    Ok(())
}

fn apply(port: &mut Object<BaremetalPort>, key: &str, value: Value, minor: Minor) -> Result<(), Failure> {
    let field = FIELDS.iter().find(|field| field.name == key).ok_or_else(|| Failure::BadRequest(format!("Unknown attribute: {key}")))?;
    if field.since > minor {
        return Err(Failure::NotAcceptable(format!("the attribute '{key}' came with version 1.{}", field.since.0)));
    }
    let set = field.set.ok_or_else(|| Failure::BadRequest(format!("'{key}' is read-only")))?;
    set(port, value).map_err(|why| Failure::BadRequest(format!("{key}: {why}")))
}

fn taken(error: StoreError, port: &Object<BaremetalPort>) -> Failure {
    match error {
        StoreError::Taken { pool, .. } if pool == MAC_POOL => {
            Failure::Conflict(format!("A port with MAC address {} already exists.", port.desired.address))
        }
        StoreError::Taken { pool, value } if pool == CABLE_POOL => {
            Failure::Conflict(format!("The cable at {value} already ends at another port: a switch port has one machine."))
        }
        StoreError::Exists { .. } => Failure::Conflict(format!("A port with UUID {} already exists.", port.id)),
        StoreError::Stale { .. } => Failure::Conflict("the node is being changed by others; try again".into()),
        other => other.into(),
    }
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    let Value::Object(mut body) = body else { return Err(Failure::BadRequest("a port is an object".into())) };
    let id: Id<BaremetalPort> = node_fields::new_id(&mut body).map_err(Failure::BadRequest)?;
    let node = match body.remove("node_uuid") {
        Some(Value::String(node)) => match access::node(&ask, &node).await {
            Err(Failure::NotFound { .. }) => {
                access::require_any(&ask, "baremetal:port:create")?;
                return Err(Failure::BadRequest(format!("Node {node} could not be found.")));
            }
            other => other?,
        },
        _ => {
            access::require_any(&ask, "baremetal:port:create")?;
            return Err(Failure::BadRequest("Mandatory field missing: node_uuid".into()));
        }
    };
    access::require(&ask, "baremetal:port:create", &node)?;
    if !body.contains_key("address") {
        return Err(Failure::BadRequest("Mandatory field missing: address".into()));
    }
    let desired = BaremetalPortDesired {
        node_id: node.id.clone(),
        address: String::new(),
        pxe_enabled: true,
        local_link_connection: None,
        physical_network: None,
        portgroup_id: None,
        is_smartnic: false,
        description: None,
        vendor: None,
        category: None,
        internal_info: Map::new(),
        extra: Map::new(),
    };
    let mut port = Object::new(id, None, "", desired);
    for (key, value) in body {
        // These say of a plain card what it is anyhow.
        let is_plain = (key == "portgroup_uuid" && value.is_null()) || (key == "is_smartnic" && value == false);
        if !is_plain {
            apply(&mut port, &key, value, ask.minor)?;
        }
    }
    steady(&node, "a port cannot be added")?;
    let mut batch = Batch::wishes().require(&node.id).hold(MAC_POOL, &port.desired.address, port.id.as_str());
    if let Some(cable) = cable(&ask, &port).await? {
        batch = batch.hold(CABLE_POOL, &cable, port.id.as_str());
    }
    ask.app.store.apply(batch.create(&port).wake(&node.id)).await.map_err(|error| taken(error, &port))?;
    let location = format!("{}/v1/ports/{}", ask.base, port.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(&ask, &port, &Wanted::All))).into_response())
}

pub(super) async fn update(ask: Ask, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let operations = json_patch::parse(&body).map_err(|error| Failure::BadRequest(error.0))?;
    for _ in 0..crate::race::RACES {
        let (before, node) = find(&ask, &id).await?;
        access::require(&ask, "baremetal:port:update", &node)?;
        let after = patched(&before, &operations, ask.minor)?;
        let mut batch = Batch::wishes().require(&node.id);
        let (old, new) = (&before.desired, &after.desired);
        if old.address != new.address {
            steady(&node, "the address cannot be changed")?;
            batch = batch.free(MAC_POOL, &old.address).hold(MAC_POOL, &new.address, after.id.as_str());
        }
        if old.local_link_connection != new.local_link_connection {
            steady(&node, "the cable cannot be moved")?;
            if !matches!(node.observed.state, ProvisionState::Enroll | ProvisionState::Manageable) {
                // A machine that is offered was proven isolated on the old cable.
                return Err(Failure::BadRequest(format!(
                    "local_link_connection cannot be changed while the node is {}: only in enroll and manageable",
                    node.observed.state.as_str()
                )));
            }
            batch = batch.free_held(CABLE_POOL, after.id.as_str());
            if let Some(cable) = cable(&ask, &after).await? {
                batch = batch.hold(CABLE_POOL, &cable, after.id.as_str());
            }
        }
        match ask.app.store.apply(batch.want(&after).wake(&node.id)).await {
            Ok(()) => {
                let (fresh, _) = find(&ask, &id).await?;
                return Ok(Json(shown(&ask, &fresh, &Wanted::All)).into_response());
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(taken(error, &after)),
        }
    }
    Err(Failure::Conflict(format!("port {id} is being changed by others; try again")))
}

fn patched(before: &Object<BaremetalPort>, operations: &[Operation], minor: Minor) -> Result<Object<BaremetalPort>, Failure> {
    let mut port = before.clone();
    for operation in operations {
        let name = operation.attribute();
        let shown = FIELDS.iter().find(|field| field.name == name).map_or(Value::Null, |field| (field.show)(&port));
        let mut document = Map::from_iter([(name.to_owned(), shown)]);
        json_patch::apply(&mut document, operation).map_err(|error| Failure::BadRequest(error.0))?;
        apply(&mut port, name, document.remove(name).unwrap_or(Value::Null), minor)?;
    }
    Ok(port)
}

pub(super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let (port, node) = find(&ask, &id).await?;
        access::require(&ask, "baremetal:port:delete", &node)?;
        steady(&node, "the port cannot be removed")?;
        match ask.app.store.apply(released(Batch::wishes().require(&node.id), &port).wake(&node.id)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("port {id} is being changed by others; try again")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(mac("52:54:00:AA:bb:0C").as_deref(), Some("52:54:00:aa:bb:0c"));
        assert_eq!(mac("52-54-00-aa-bb-0c").as_deref(), Some("52:54:00:aa:bb:0c"));
        for bad in
            ["", "52:54:00:aa:bb", "53:54:00:aa:bb:0c", "00:00:00:00:00:00", "5254.00aa.bb0c", "52:54:00:aa:bb:0g", "+1:54:00:aa:bb:0c"]
        {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn cable_ends() {
        let read = |value: Value| link(value);
        let end = read(json!({"switch_id": "02-CF-00-00-00-01", "port_id": "p1"})).unwrap().unwrap();
        assert_eq!((end.switch_id.as_str(), end.port_id.as_str()), ("02:cf:00:00:00:01", "p1"));
        assert_eq!(read(json!({})).unwrap(), None);
        assert_eq!(read(Value::Null).unwrap(), None);
        assert!(read(json!({"switch_info": "leaf1", "port_id": "p1"})).unwrap().is_some());
        assert!(read(json!({"switch_id": "0000aabbccddeeff", "port_id": "p1"})).unwrap().is_some());
        for bad in [
            json!({"port_id": "p1"}),
            json!({"switch_id": "02:cf:00:00:00:01"}),
            json!({"switch_id": "leaf1", "port_id": "p1"}),
            json!({"switch_id": "02:cf:00:00:00:01", "port_id": ""}),
            json!({"switch_id": "02:cf:00:00:00:01", "port_id": "p1", "hostname": "x"}),
            json!({"network_type": "unmanaged"}),
            json!("p1"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
