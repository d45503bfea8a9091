//! `/v1/nodes`: list, show, enrol, change, remove.

use std::cmp::Ordering;
use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use model::baremetal::{BaremetalPort, Node, NodeDesired, ProvisionState, is_busy, shown_state};
use model::net::Port;
use model::secret::Settings;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Severity, StoreError};

use super::node_fields::{self, FIELDS, Shown, Wanted, find, valid_uuid};
use super::policies::of_change;
use super::versions::Minor;
use super::{Ask, access};
use crate::failure::Failure;
use crate::json_patch::{self, Operation};
use crate::page::{self, Parameters};

/// Allocation pool of node names.
pub(super) const NAME_POOL: &str = "node-name";

pub(super) fn shown(ask: &Ask, node: &Object<Node>, wanted: &Wanted) -> Value {
    node_fields::show(&Shown { node, may: &|rule| access::may(ask, rule, node), minor: ask.minor }, wanted, &ask.base)
}

/// The fields a request asks for.
fn wanted(ask: &Ask, query: &HashMap<String, String>, usual: Wanted) -> Result<Wanted, Failure> {
    let Some(names) = query.get("fields") else { return Ok(usual) };
    if ask.minor < Minor(8) {
        return Err(Failure::NotAcceptable("'fields' came with version 1.8".into()));
    }
    let names: Vec<String> = names.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let known = |name: &String| find(name, ask.minor).is_some() || ["links", "ports", "states"].contains(&name.as_str());
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(Failure::BadRequest(format!("Field(s) \"{name}\" are not valid"))),
        None => Ok(Wanted::These(names)),
    }
}

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    let detail = page::flag(&query, "detail")?.unwrap_or(false);
    if detail && query.contains_key("fields") {
        return Err(Failure::BadRequest("Can't fetch a subset of fields with 'detail' set".into()));
    }
    listing(&ask, &query, if detail { Wanted::All } else { Wanted::Brief }, "nodes").await
}

pub(super) async fn list_detail(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    if query.contains_key("fields") {
        return Err(Failure::BadRequest("Can't fetch a subset of fields with 'detail' set".into()));
    }
    listing(&ask, &query, Wanted::All, "nodes/detail").await
}

async fn listing(ask: &Ask, query: &HashMap<String, String>, usual: Wanted, path: &str) -> Result<Response, Failure> {
    let wanted = wanted(ask, query, usual)?;
    let filters = filters(ask, query)?;
    let all = access::lists_all(ask, "baremetal:node:list_all", "baremetal:node:list")?;
    let mut nodes: Vec<Object<Node>> = ask.app.store.list(&Query::<Node>::new()).await?;
    nodes.retain(|node| (all || access::may(ask, "baremetal:node:get", node)) && filters.iter().all(|filter| filter(node)));
    let sort_key = query.get("sort_key").map_or("id", String::as_str);
    if sort_key != "id" {
        let field = find(sort_key, ask.minor)
            .ok_or_else(|| Failure::BadRequest(format!("The sort_key value \"{sort_key}\" is an invalid field for sorting")))?;
        let key = |node: &Object<Node>| (field.show)(&Shown { node, may: &|rule| access::may(ask, rule, node), minor: ask.minor });
        nodes.sort_by(|a, b| compare(&key(a), &key(b)).then_with(|| a.id.cmp(&b.id)));
    }
    if page::descending(query)? {
        nodes.reverse();
    }
    let (nodes, next) = page::cut(nodes, query, |node| node.id.as_str())?;
    let items: Vec<Value> = nodes.iter().map(|node| shown(ask, node, &wanted)).collect();
    Ok(page::answer("nodes", items, next.map(|marker| page::next(&format!("{}/v1/{path}", ask.base), query, &marker))))
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => (!a.is_null()).cmp(&!b.is_null()),
    }
}

type Filter = Box<dyn Fn(&Object<Node>) -> bool + Send + Sync>;

fn filters(ask: &Ask, query: &HashMap<String, String>) -> Result<Vec<Filter>, Failure> {
    let mut out: Vec<Filter> = Vec::new();
    for (key, value) in query {
        let text = value.clone();
        let since = match key.as_str() {
            "provision_state" => 9,
            "driver" => 16,
            "resource_class" => 21,
            "owner" => 50,
            "description_contains" => 51,
            "lessee" | "project" => 65,
            _ => 1,
        };
        if ask.minor < Minor(since) {
            return Err(Failure::NotAcceptable(format!("the filter '{key}' came with version 1.{since}")));
        }
        let filter: Filter = match key.as_str() {
            "fields" | "detail" | "limit" | "marker" | "sort_key" | "sort_dir" => continue,
            "provision_state" => Box::new(move |node| shown_state(node).0 == text),
            "driver" => Box::new(move |node| node.desired.driver == text),
            "resource_class" => Box::new(move |node| node.desired.resource_class.as_ref() == Some(&text)),
            "owner" => Box::new(move |node| node.desired.owner.as_ref() == Some(&text)),
            "lessee" => Box::new(move |node| node.desired.lessee.as_ref() == Some(&text)),
            "project" => Box::new(move |node| node.desired.lessee.as_ref() == Some(&text) || node.desired.owner.as_ref() == Some(&text)),
            "description_contains" => Box::new(move |node| node.desired.description.as_ref().is_some_and(|it| it.contains(&text))),
            "instance_uuid" => Box::new(move |node| node.desired.instance_uuid.as_ref() == Some(&text)),
            "associated" => {
                let on = page::flag(query, key)?;
                Box::new(move |node| on.is_none_or(|on| node.desired.instance_uuid.is_some() == on))
            }
            "maintenance" => {
                let on = page::flag(query, key)?;
                Box::new(move |node| on.is_none_or(|on| node.desired.maintenance == on))
            }
            _ => return Err(Failure::BadRequest(format!("Unknown argument: \"{key}\""))),
        };
        out.push(filter);
    }
    Ok(out)
}

pub(super) async fn show(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let wanted = wanted(&ask, &query, Wanted::All)?;
    let node = access::node(&ask, &ident).await?;
    Ok(Json(shown(&ask, &node, &wanted)).into_response())
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:node:create")?;
    if ask.minor < Minor(11) {
        // Before 1.11 a node started as available; here none is offered before it was proven erased and isolated.
        return Err(Failure::NotAcceptable("nodes can be enrolled from version 1.11 on".into()));
    }
    let Value::Object(mut body) = body else { return Err(Failure::BadRequest("a node is an object".into())) };
    let id: Id<Node> = node_fields::new_id(&mut body).map_err(Failure::BadRequest)?;
    let desired = NodeDesired::default();
    let mut node = Object::new(id, None, "", desired);
    if !body.contains_key("driver") {
        return Err(Failure::BadRequest("Mandatory field missing: driver".into()));
    }
    for (key, value) in body {
        let (_, set) = writable(&key, ask.minor)?;
        set(&mut node, value).map_err(|why| Failure::BadRequest(format!("{key}: {why}")))?;
    }
    let batch = names(Batch::wishes(), None, &node);
    let batch = batch.create(&node).history(&node.id, Severity::Info, "enrolled", &json!({"user": ask.caller.user_id})).wake(&node.id);
    ask.app.store.apply(batch).await.map_err(|error| taken(error, &node))?;
    let location = format!("{}/v1/nodes/{}", ask.base, node.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(&ask, &node, &Wanted::All))).into_response())
}

type Write = (fn(&Object<Node>) -> Value, fn(&mut Object<Node>, Value) -> Result<(), String>);

/// How the field of that name is set.
fn writable(name: &str, minor: Minor) -> Result<Write, Failure> {
    match FIELDS.iter().find(|field| field.name == name) {
        None => Err(Failure::BadRequest(format!("Unknown attribute: {name}"))),
        Some(field) if field.since > minor => {
            Err(Failure::NotAcceptable(format!("the attribute '{name}' came with version 1.{}", field.since.0)))
        }
        Some(field) => field.write.ok_or_else(|| Failure::BadRequest(format!("'{name}' is read-only"))),
    }
}

/// Holds the new name and gives back the old one.
fn names(batch: Batch<store::Wishes>, before: Option<&str>, node: &Object<Node>) -> Batch<store::Wishes> {
    if before == Some(node.name.as_str()) {
        return batch;
    }
    let batch = match before {
        Some(old) if !old.is_empty() => batch.free(NAME_POOL, old),
        _ => batch,
    };
    if node.name.is_empty() { batch } else { batch.hold(NAME_POOL, &node.name, node.id.as_str()) }
}

fn taken(error: StoreError, node: &Object<Node>) -> Failure {
    match error {
        StoreError::Taken { pool, .. } if pool == NAME_POOL => {
            Failure::Conflict(format!("A node with name \"{}\" already exists.", node.name))
        }
        StoreError::Exists { .. } => Failure::Conflict(format!("A node with UUID {} already exists.", node.id)),
        other => other.into(),
    }
}

pub(super) async fn update(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let operations = json_patch::parse(&body).map_err(|error| Failure::BadRequest(error.0))?;
    let mut rules: Vec<&str> = operations.iter().map(|operation| of_change(operation.attribute())).collect();
    if rules.is_empty() {
        rules.push("baremetal:node:update");
    }
    for _ in 0..crate::race::RACES {
        let before = access::node(&ask, &ident).await?;
        rules.iter().try_for_each(|rule| access::require(&ask, rule, &before))?;
        let after = patched(&before, &operations, ask.minor)?;
        let batch = names(Batch::wishes(), Some(&before.name), &after).want(&after).wake(&after.id);
        match ask.app.store.apply(batch).await {
            Ok(()) => {
                let fresh = access::node(&ask, after.id.as_str()).await?;
                return Ok(Json(shown(&ask, &fresh, &Wanted::All)).into_response());
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(taken(error, &after)),
        }
    }
    Err(Failure::Conflict(format!("node {ident} is being changed by others; try again")))
}

/// The node with a patch applied, operation by operation so that the one that fails is named.
fn patched(before: &Object<Node>, operations: &[Operation], minor: Minor) -> Result<Object<Node>, Failure> {
    let mut node = before.clone();
    for operation in operations {
        let name = operation.attribute();
        let (raw, set) = writable(name, minor)?;
        let steady = FIELDS.iter().any(|field| field.name == name && field.steady);
        if steady && is_busy(before) {
            return Err(Failure::Conflict(format!(
                "Node {} is locked: {name} cannot be changed while it is {}.",
                before.id,
                shown_state(before).0
            )));
        }
        let mut document = Map::from_iter([(name.to_owned(), raw(&node))]);
        json_patch::apply(&mut document, operation).map_err(|error| Failure::BadRequest(error.0))?;
        let value = document.remove(name).unwrap_or(Value::Null);
        set(&mut node, value).map_err(|why| Failure::BadRequest(format!("cannot apply the patch at '{}': {why}", operation.pointer())))?;
    }
    allowed(before, &node)?;
    Ok(node)
}

/// Changes that would take a machine from under who has it.
fn allowed(before: &Object<Node>, after: &Object<Node>) -> Result<(), Failure> {
    let (old, new) = (&before.desired, &after.desired);
    if let (Some(held), true) = (&old.instance_uuid, new.instance_uuid.is_some() && old.instance_uuid != new.instance_uuid) {
        return Err(Failure::Conflict(format!("Node {} is associated with instance {held}.", before.id)));
    }
    let state = before.observed.state;
    let is_idle = matches!(state, ProvisionState::Enroll | ProvisionState::Manageable | ProvisionState::Available);
    let occupied = old.instance_uuid.is_some() || !is_idle;
    let moves = [
        ("resource_class", old.resource_class != new.resource_class),
        ("owner", old.owner != new.owner),
        ("lessee", old.lessee != new.lessee),
        ("driver", old.driver != new.driver),
    ];
    if let Some((name, _)) = moves.iter().find(|(_, moves)| *moves && occupied) {
        return Err(Failure::BadRequest(format!("{name} cannot be changed while the node is {} or has an instance", state.as_str())));
    }
    Ok(())
}

pub(super) async fn delete(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let node = access::permitted(&ask, &ident, "baremetal:node:delete").await?;
        removable(&node)?;
        let ports = ask.app.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
        let mut batch = Batch::wishes().free_held(NAME_POOL, node.id.as_str());
        for port in &ports {
            batch = super::port::released(batch, port);
        }
        // Ports attached to it would be left without their machine; `removable` has seen none, the store must agree.
        let batch = batch.remove(&node).unless_referenced::<BaremetalPort>("node_id", node.id.as_str()).wake(&node.id);
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. } | StoreError::Referenced { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("node {ident} is being changed by others; try again")))
}

/// Whether nothing outside hangs on the node.
fn removable(node: &Object<Node>) -> Result<(), Failure> {
    use ProvisionState as S;
    let id = &node.id;
    if is_busy(node) {
        return Err(Failure::Conflict(format!("Node {id} is locked, please retry after the current operation is completed.")));
    }
    if let Some(instance) = &node.desired.instance_uuid {
        return Err(Failure::Conflict(format!("Node {id} is associated with instance {instance}.")));
    }
    if let Some(vif) = node.desired.vifs.first() {
        return Err(Failure::Conflict(format!("Node {id}: port {vif} is attached to it.")));
    }
    let state = node.observed.state;
    let fits = matches!(state, S::Enroll | S::Manageable | S::Available) || (state == S::CleanFailed && node.desired.maintenance);
    if !fits {
        return Err(Failure::BadRequest(format!(
            "Can not delete node \"{id}\" while it is in provision state \"{}\": only enroll, manageable and available, or clean failed and in maintenance",
            state.as_str()
        )));
    }
    Ok(())
}

/// Whether a port of a network is attached to the node.
pub(super) fn holds(node: &Object<Node>, vif: &Id<Port>) -> bool {
    node.desired.vifs.contains(vif)
}

/// The uuid in a path as the id of anything.
pub(super) fn parse_id<K>(text: &str) -> Option<Id<K>> {
    valid_uuid(text).and_then(|id| Id::parse(&id))
}
