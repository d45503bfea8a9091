//! `/v1/nodes`: show, enrol, change, remove. Lists are in `node_list`.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use model::baremetal::{
    Allocation, BaremetalPort, Interface, Node, NodeDesired, NodeInventory, Portgroup, ProvisionState, VolumeConnector, VolumeTarget,
    is_busy, shown_state,
};
use model::net::Port;
use model::{Id, Kind, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Severity, StoreError, Wishes};

pub(super) use super::access::parse_id;
use super::node_fields::{self, Shown, Wanted};
use super::node_list::wanted;
use super::node_write::{self, WRITES, Wrong};
use super::policies::of_change;
use super::versions::Minor;
use super::words::{boolean, repr, too_early, unexpected};
use super::{Ask, access};
use crate::failure::Failure;
use crate::json_patch::{self, Change, Operation};
use crate::page::Parameters;

/// Allocation pool of node names.
pub(super) const NAME_POOL: &str = "node-name";

/// The node as the caller may see it, as JSON; `everything`: it may see all of every node.
pub(super) fn shown_to(ask: &Ask, node: &Object<Node>, wanted: &Wanted, everything: bool) -> Vec<u8> {
    let may = |rule: &str| everything || access::may(ask, rule, node);
    node_fields::show(&Shown { node, may: &may, minor: ask.minor, conductors: &ask.conductors }, wanted, &ask.base)
}

fn shown(ask: &Ask, node: &Object<Node>, wanted: &Wanted) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], shown_to(ask, node, wanted, false)).into_response()
}

pub(super) async fn show(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let node = access::node(&ask, &ident).await?;
    if let Some(other) = query.keys().find(|key| *key != "fields") {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let wanted = wanted(&ask, &query, Wanted::All)?;
    Ok(shown(&ask, &node, &wanted))
}

/// A complaint about a value, in a body of that kind.
fn complaint(wrong: Wrong, subject: &str, invalid_name: impl Fn(&str) -> String) -> Failure {
    match wrong {
        Wrong::Form(text) => Failure::BadRequest(format!("Schema error for {subject}: {text}")),
        Wrong::Means(failure) => failure,
        Wrong::Name(name) => Failure::BadRequest(invalid_name(&name)),
    }
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    let Value::Object(mut body) = body else {
        return Err(Failure::BadRequest(format!("Schema error for node: {}", super::words::not_of_type(&body, "object"))));
    };
    form(&body)?;
    let owner = creator(&ask, &body)?;
    for write in WRITES {
        let since = node_fields::any(write.name).map_or(Minor(1), |it| it.since);
        let given = body.get(write.name).is_some_and(|it| !(it.is_null() || write.name == "conductor_group" && it == ""));
        if given && since > ask.minor {
            return Err(too_early());
        }
    }
    if ask.minor < Minor(75) && ["boot_mode", "secure_boot"].iter().any(|name| body.get(*name).is_some_and(|it| !it.is_null())) {
        return Err(too_early());
    }
    let id: Id<Node> = node_fields::new_id(&mut body).map_err(Failure::BadRequest)?;
    let mut node = Object::new(id, None, "", NodeDesired::default());
    resolve_parent(&ask, &mut body, owner.as_deref()).await?;
    // What is read of a node before it is used stays as it will be found: nothing of that can be chosen.
    body.retain(|name, _| name != "boot_mode" && name != "secure_boot");
    for (name, value) in body {
        let Some(write) = node_write::find(&name) else { continue };
        let invalid = |name: &str| format!("Cannot create node with invalid name '{name}'");
        (write.set)(&mut node, value).map_err(|wrong| complaint(wrong, "node", invalid))?;
    }
    if let Some(owner) = owner {
        node.desired.owner = Some(owner);
    }
    node_write::interfaces(&node)?;
    if ask.minor < Minor(10) && !node.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
        return Err(Failure::BadRequest(format!("Cannot create node with invalid name '{}'", node.name)));
    }
    if ask.minor < Minor(11) {
        // Before 1.11 a node started as available. Of machines that are there none is offered before it was proven erased and isolated.
        if node.desired.driver != "fake-hardware" {
            return Err(Failure::NotAcceptable("nodes of this driver can be enrolled from version 1.11 on".into()));
        }
        node.observed.state = ProvisionState::Available;
    }
    ask.conductors.serve(&node, StatusCode::BAD_REQUEST)?;
    let mut batch = names(Batch::wishes(), None, &node);
    if let Some(chassis) = &node.desired.chassis_id {
        node_write::chassis(&ask.app.store, chassis).await?;
        batch = batch.require(chassis);
    }
    if let Some(instance) = &node.desired.instance_uuid {
        batch = batch.unless_referenced::<Node>("instance_uuid", instance);
    }
    let detail = said_by(&ask, &node, json!({}));
    let batch = woken(batch.create(&node).history(&node.id, Severity::Info, "enrolled", &detail), &node);
    ask.app.store.apply(batch).await.map_err(|error| taken(error, &node))?;
    let location = format!("{}/v1/nodes/{}", ask.base, node.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], shown(&ask, &node, &Wanted::All)).into_response())
}

/// Whether a new node's body has the members it may have, of the types they are of.
fn form(body: &Map<String, Value>) -> Result<(), Failure> {
    let bad = |text: String| Failure::BadRequest(format!("Schema error for node: {text}"));
    let known = |name: &str| ["uuid", "boot_mode", "secure_boot"].contains(&name) || node_write::find(name).is_some_and(|write| write.post);
    let other: Vec<&str> = body.keys().map(String::as_str).filter(|name| !known(name)).collect();
    if !other.is_empty() {
        return Err(bad(unexpected(&other)));
    }
    if !body.contains_key("driver") {
        return Err(bad("'driver' is a required property".into()));
    }
    Ok(())
}

/// The project that owns the new node, if its maker may make only its own.
fn creator(ask: &Ask, body: &Map<String, Value>) -> Result<Option<String>, Failure> {
    if access::may_any(ask, "baremetal:node:create") {
        return Ok(None);
    }
    if !access::may_any(ask, "baremetal:node:create:self_owned_node") {
        access::require_any(ask, "baremetal:node:create")?;
    }
    let Some(project) = &ask.caller.project_id else { return access::require_any(ask, "baremetal:node:create").map(|()| None) };
    match body.get("owner") {
        Some(Value::String(owner)) if owner != project.as_str() => {
            Err(Failure::BadRequest("Cannot create a node as a project scoped admin with an owner other than your own project.".into()))
        }
        _ => Ok(Some(project.to_string())),
    }
}

/// Puts the id of the parent in the place of its name: a node that the caller sees and that has the same owner.
async fn resolve_parent(ask: &Ask, body: &mut Map<String, Value>, owner: Option<&str>) -> Result<(), Failure> {
    let Some(Value::String(parent)) = body.get("parent_node").cloned() else { return Ok(()) };
    let owner = owner.or_else(|| body.get("owner").and_then(Value::as_str)).map(str::to_owned);
    let id = parent_of(ask, &parent, owner.as_deref()).await?;
    body.insert("parent_node".into(), json!(id));
    Ok(())
}

async fn parent_of(ask: &Ask, text: &str, owner: Option<&str>) -> Result<Id<Node>, Failure> {
    // Whether it is not there, is not seen or is another's is not told.
    let found = access::node(ask, text).await.map_err(|_| node_write::no_parent(text))?;
    if found.desired.owner.as_deref() == owner { Ok(found.id) } else { Err(node_write::no_parent(text)) }
}

/// Who asked, and where the node stood, for its history.
pub(super) fn said_by(ask: &Ask, node: &Object<Node>, more: Value) -> Value {
    let (state, target) = shown_state(node);
    let mut out = json!({"user": ask.caller.user_id, "project": ask.caller.project_id, "state": state, "target": target});
    if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
    out
}

/// Holds the new name and gives back the old one.
fn names(batch: Batch<Wishes>, before: Option<&str>, node: &Object<Node>) -> Batch<Wishes> {
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
        StoreError::Taken { pool, .. } if pool == NAME_POOL => Failure::Conflict(format!("A node with name {} already exists.", node.name)),
        StoreError::Exists { .. } => Failure::Conflict(format!("A node with UUID {} already exists.", node.id)),
        StoreError::Referenced { kind, column: "instance_uuid" } if kind == Node::NAME => Failure::Conflict(format!(
            "Instance {} is already associated with a node, it cannot be associated with this other node {}",
            node.desired.instance_uuid.as_deref().unwrap_or_default(),
            node.id
        )),
        other => other.into(),
    }
}

/// What `?reset_interfaces=` says.
fn resets(ask: &Ask, query: &HashMap<String, String>, operations: &[Operation]) -> Result<bool, Failure> {
    if let Some(other) = query.keys().find(|key| *key != "reset_interfaces") {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let Some(text) = query.get("reset_interfaces") else { return Ok(false) };
    if ask.minor < Minor(45) {
        return Err(too_early());
    }
    let reset = boolean("reset_interfaces", &json!(text))?;
    let sets_driver = operations.iter().any(|it| it.attribute() == "driver" && it.change != Change::Remove);
    if reset && !sets_driver {
        return Err(Failure::BadRequest("The reset_interfaces parameter can only be used when changing the node's driver.".into()));
    }
    Ok(reset)
}

/// What of a patch can be judged without the node.
fn judged(ask: &Ask, ident: &str, operations: &[Operation]) -> Result<(), Failure> {
    for operation in operations {
        let name = operation.attribute();
        if !node_write::find(name).is_some_and(|write| write.patch) {
            return Err(node_write::not_patchable(&operation.pointer()));
        }
        let since = node_fields::any(name).map_or(Minor(1), |it| it.since);
        // What an old version cannot see it may take away, but not set.
        if since > ask.minor && operation.change != Change::Remove {
            return Err(too_early());
        }
        if name == "name" && matches!(operation.change, Change::Add(Value::Null) | Change::Replace(Value::Null)) {
            return Err(Failure::BadRequest(format!("Node {ident}: Cannot change name to invalid name 'None'")));
        }
        if let ("network_data", Change::Add(Value::Object(data)) | Change::Replace(Value::Object(data))) = (name, &operation.change)
            && data.is_empty()
        {
            return Err(Failure::BadRequest("Invalid network_data: 'links' is a required property ".into()));
        }
        if name == "chassis_uuid" && operation.change == Change::Remove && ask.minor < Minor(25) {
            return Err(too_early());
        }
        if let ("description", Change::Add(Value::String(text)) | Change::Replace(Value::String(text))) = (name, &operation.change)
            && text.chars().count() > node_write::MAX_DESCRIPTION
        {
            let most = node_write::MAX_DESCRIPTION;
            return Err(Failure::BadRequest(format!("Cannot update node with description exceeding {most} characters")));
        }
    }
    Ok(())
}

fn rules(operations: &[Operation]) -> Vec<&'static str> {
    let disables = |operation: &Operation| match &operation.change {
        Change::Add(value) | Change::Replace(value) => boolean("", value).is_ok_and(|it| !it),
        Change::Remove => false,
    };
    let mut rules: Vec<&str> = operations.iter().map(|it| of_change(it.attribute(), disables(it))).collect();
    if rules.is_empty() {
        rules.push("baremetal:node:update");
    }
    rules
}

pub(super) async fn update(
    ask: Ask,
    Path(ident): Path<String>,
    Parameters(query): Parameters,
    Json(body): Json<Value>,
) -> Result<Response, Failure> {
    let mut operations = super::words::patch(&body)?;
    let reset = resets(&ask, &query, &operations)?;
    judged(&ask, &ident, &operations)?;
    let rules = rules(&operations);
    for _ in 0..crate::race::RACES {
        let before = access::node(&ask, &ident).await?;
        rules.iter().try_for_each(|rule| access::require(&ask, rule, &before))?;
        parents(&ask, &before, &mut operations).await?;
        at_rest(&ask, &ident, &before, &operations).await?;
        if before.desired.console_enabled && operations.iter().any(|it| it.attribute() == "driver" && changes_driver(&before, it)) {
            let text = format!("Node {ident} can not update the driver while the console is enabled. Please stop the console first.");
            return Err(Failure::Conflict(text));
        }
        let after = patched(&ident, &before, &operations, reset)?;
        allowed(&before, &after)?;
        let batch = written(&ask, &before, &after).await?;
        match ask.app.store.apply(batch).await {
            Ok(()) => {
                let fresh = access::node(&ask, after.id.as_str()).await?;
                return Ok(shown(&ask, &fresh, &Wanted::All));
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(taken(error, &after)),
        }
    }
    Err(access::raced(&ident))
}

/// Whether an operation makes the driver another.
fn changes_driver(before: &Object<Node>, operation: &Operation) -> bool {
    match &operation.change {
        Change::Add(value) | Change::Replace(value) => value.as_str() != Some(before.desired.driver.as_str()),
        Change::Remove => true,
    }
}

/// All that changes with a node.
async fn written(ask: &Ask, before: &Object<Node>, after: &Object<Node>) -> Result<Batch<Wishes>, Failure> {
    let mut batch = names(Batch::wishes(), Some(&before.name), after);
    let (old, new) = (&before.desired, &after.desired);
    if (&old.conductor_group, &old.driver) != (&new.conductor_group, &new.driver) {
        ask.conductors.serve(after, StatusCode::BAD_REQUEST)?;
    }
    if let Some(chassis) = new.chassis_id.as_ref().filter(|_| old.chassis_id != new.chassis_id) {
        node_write::chassis(&ask.app.store, chassis).await?;
        batch = batch.require(chassis);
    }
    if let Some(instance) = new.instance_uuid.as_ref().filter(|_| old.instance_uuid != new.instance_uuid) {
        batch = batch.unless_referenced::<Node>("instance_uuid", instance);
    }
    if let (Some(allocation), None) = (&old.allocation_id, &new.allocation_id)
        && let Some(allocation) = ask.app.store.get::<Allocation>(allocation).await?
    {
        batch = batch.free_held("allocation-name", allocation.id.as_str()).remove(&allocation).wake(&allocation.id);
    }
    if old.maintenance != new.maintenance {
        let event = if new.maintenance { "maintenance set" } else { "maintenance unset" };
        batch = batch.history(&after.id, Severity::Info, event, &said_by(ask, before, json!({})));
    }
    Ok(woken(batch.want(after), after))
}

/// Has the engine look at the node if there is something to do for it: most that is written of nodes at rest it need not know.
fn woken(batch: Batch<Wishes>, node: &Object<Node>) -> Batch<Wishes> {
    if Node::has_work(node) { batch.wake(&node.id) } else { batch }
}

/// Puts ids in the place of names of parents.
async fn parents(ask: &Ask, before: &Object<Node>, operations: &mut [Operation]) -> Result<(), Failure> {
    for operation in operations.iter_mut().filter(|it| it.attribute() == "parent_node") {
        if let Change::Add(value) | Change::Replace(value) = &mut operation.change
            && let Some(text) = value.as_str().map(str::to_owned)
        {
            *value = json!(parent_of(ask, &text, before.desired.owner.as_deref()).await?);
        }
    }
    Ok(())
}

/// States in which a node can be changed although something is going on, or was (Source: `ironic/common/states.py`,
/// `UPDATE_ALLOWED_STATES`).
const CHANGEABLE: &[&str] = &[
    "deploy failed",
    "inspecting",
    "inspect failed",
    "inspect wait",
    "clean failed",
    "error",
    "verifying",
    "adopt failed",
    "rescue failed",
    "unrescue failed",
    "service hold",
    "service failed",
];

/// Refuses while a change would meet work that is under way, and changes of owner behind somebody's back.
async fn at_rest(ask: &Ask, ident: &str, node: &Object<Node>, operations: &[Operation]) -> Result<(), Failure> {
    let only_lets_go =
        matches!(operations, [one] if one.path.len() == 1 && one.attribute() == "instance_uuid" && one.change == Change::Remove);
    if node.desired.maintenance && only_lets_go {
        return Ok(());
    }
    let (state, target) = shown_state(node);
    if target.is_some() && !CHANGEABLE.contains(&state) {
        return Err(Failure::Conflict(format!("Node {ident} can not be updated while a state transition is in progress.")));
    }
    if state == "inspecting" && ask.minor >= Minor(39) {
        return Err(Failure::Conflict(format!("Cannot update node \"{}\" while it is in state \"inspecting\".", node.id)));
    }
    let gives = operations.iter().any(|it| it.attribute() == "owner" && it.change != Change::Remove);
    if gives {
        if node.observed.state == ProvisionState::Active && !access::may(ask, "baremetal:node:update_owner_provisioned", node) {
            return Err(Failure::Conflict(format!("Cannot update owner of node \"{}\" while it is in state \"active\".", node.id)));
        }
        if let Some(allocation) = &node.desired.allocation_id
            && let Some(allocation) = ask.app.store.get(allocation).await?
            && allocation.desired.owner.is_some()
        {
            let text = format!("Cannot update owner of node \"{}\" while it is allocated to an allocation with an  owner.", node.id);
            return Err(Failure::Conflict(text));
        }
    }
    Ok(())
}

/// An operation as Ironic repeats it.
fn spelled(operation: &Operation) -> String {
    let (op, value) = match &operation.change {
        Change::Add(value) => ("add", Some(value)),
        Change::Replace(value) => ("replace", Some(value)),
        Change::Remove => ("remove", None),
    };
    // Values of secrets are not repeated.
    let value = value.map(|value| match operation.path.iter().any(|part| model::secret::Settings::is_secret(part)) {
        true => json!("******"),
        false => value.clone(),
    });
    let value = value.map_or_else(String::new, |value| format!(", 'value': {}", repr(&value)));
    format!("{{'op': '{op}', 'path': '{}'{value}}}", operation.pointer())
}

/// The node with a patch applied, operation by operation so that the one that fails is named.
fn patched(ident: &str, before: &Object<Node>, operations: &[Operation], reset: bool) -> Result<Object<Node>, Failure> {
    let mut node = before.clone();
    let mut chosen: Vec<Interface> = Vec::new();
    for operation in operations {
        let name = operation.attribute();
        let Some(write) = node_write::find(name) else { return Err(node_write::not_patchable(&operation.pointer())) };
        if write.steady && is_busy(before) {
            return Err(access::locked(before));
        }
        let mut document = Map::from_iter([(name.to_owned(), (write.raw)(&node))]);
        json_patch::apply(&mut document, operation).map_err(|error| {
            let last = operation.path.last().map_or("", String::as_str);
            let reason = match error.0.rsplit_once(": ").map_or(error.0.as_str(), |it| it.1) {
                "there is nothing to replace" => format!("can't replace a non-existent object '{last}'"),
                "there is nothing to remove" => format!("can't remove a non-existent object '{last}'"),
                other => other.to_owned(),
            };
            Failure::BadRequest(format!("Couldn't apply patch '{}'. Reason: {reason}", spelled(operation)))
        })?;
        let value = document.remove(name).unwrap_or(Value::Null);
        if name == "driver" && value.is_null() {
            return Err(Failure::BadRequest("Schema error for patch: 'driver' is a required property".into()));
        }
        chosen.extend(node_write::interface_of(name));
        let invalid = |name: &str| format!("Node {ident}: Cannot change name to invalid name '{name}'");
        (write.set)(&mut node, value).map_err(|wrong| complaint(wrong, "patch", invalid))?;
    }
    if before.desired.driver != node.desired.driver {
        node_write::driver_changed(before, &mut node, reset, &chosen);
    }
    node_write::interfaces(&node)?;
    follow(before, &mut node);
    Ok(node)
}

/// What changes with something else.
fn follow(before: &Object<Node>, after: &mut Object<Node>) {
    let new = &mut after.desired;
    if before.desired.maintenance && !new.maintenance {
        new.maintenance_reason = None;
    }
    for (had, has) in [(&before.desired.protected, &mut new.protected), (&before.desired.retired, &mut new.retired)] {
        if had.on && !has.on {
            has.reason = None;
        }
    }
    if before.desired.instance_info != new.instance_info && new.instance_name.is_none() {
        new.instance_name = new.instance_info.text("display_name").filter(|it| (1..=255).contains(&it.chars().count())).map(str::to_owned);
    }
    if before.desired.instance_uuid.is_some() && new.instance_uuid.is_none() {
        new.allocation_id = None;
    }
}

/// States in which what a node is made of can be changed.
fn is_ours(state: &str) -> bool {
    ["enroll", "inspecting", "inspect wait", "manageable", "available"].contains(&state)
}

/// Changes that are refused in some states (Source: `ironic/conductor/manager.py`, `update_node`).
fn allowed(before: &Object<Node>, after: &Object<Node>) -> Result<(), Failure> {
    let (old, new) = (&before.desired, &after.desired);
    let id = &before.id;
    let state = shown_state(before).0;
    let conflict = |text: String| Err(Failure::Conflict(text));
    if let (Some(held), true) = (&old.instance_uuid, new.instance_uuid.is_some() && old.instance_uuid != new.instance_uuid) {
        return conflict(format!("Node {id} is associated with instance {held}."));
    }
    let states = "(enroll, inspecting, inspect wait, manageable, available)";
    if !is_ours(state) && !new.maintenance {
        if let Some(interface) = Interface::ALL.iter().find(|it| old.interface(**it) != new.interface(**it)) {
            let name = interface.as_str();
            return conflict(format!(
                "Node {id} can not have {name}_interface updated unless it is in one of allowed {states} states or in maintenance mode. \
                 Current state is '{state}'."
            ));
        }
        if old.allocation_id.is_some() && old.instance_uuid.is_some() && new.instance_uuid.is_none() {
            return conflict(format!(
                "Node {id} with an allocation can not have instance_uuid removed unless it is in one of allowed {states} states or in \
                 maintenance mode. Current state is '{state}'."
            ));
        }
    }
    if old.resource_class.is_some() && old.resource_class != new.resource_class && !is_ours(state) {
        return conflict(format!(
            "Node {id} can not have resource_class updated unless it is in one of allowed {states} states. Current state is '{state}'."
        ));
    }
    if !old.protected.on && new.protected.on && !["active", "rescue"].contains(&state) {
        return conflict(format!(
            "Node {id} can only be made protected in provision states 'active' or 'rescue', the current state is '{state}'"
        ));
    }
    if !old.retired.on && new.retired.on && state == "available" {
        return conflict(format!("Node {id} can not have 'retired' set in provision state 'available', the current state is 'available'"));
    }
    for (name, had, has) in [("protected", &old.protected, &new.protected), ("retired", &old.retired, &new.retired)] {
        if had.reason != has.reason && has.reason.is_some() && !has.on {
            return Err(Failure::BadRequest(format!("The {name}_reason field can only be set when {name} is True")));
        }
    }
    Ok(())
}

pub(super) async fn delete(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let node = access::node(&ask, &ident).await?;
        if !access::may(&ask, "baremetal:node:delete:self_owned_node", &node) {
            access::require(&ask, "baremetal:node:delete", &node)?;
        }
        removable(&node)?;
        let batch = removal(&ask, &node).await?;
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. } | StoreError::Referenced { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(access::raced(&ident))
}

async fn belonging<K: Kind>(ask: &Ask, node: &Object<Node>) -> Result<Vec<Object<K>>, Failure> {
    Ok(ask.app.store.list(&Query::<K>::new().with_deleted().column("node_id", [node.id.to_string()])).await?)
}

/// Takes the row that has the node's id away, if there is one.
async fn without<K: Kind<Observed = ()>>(ask: &Ask, node: &Object<Node>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let Some(id) = Id::<K>::parse(node.id.as_str()) else { return Ok(batch) };
    Ok(match ask.app.store.get(&id).await? {
        Some(object) => batch.remove(&object),
        None => batch,
    })
}

/// The node and all that is nothing without it.
async fn removal(ask: &Ask, node: &Object<Node>) -> Result<Batch<Wishes>, Failure> {
    let mut batch = Batch::wishes().free_held(NAME_POOL, node.id.as_str());
    for port in &belonging::<BaremetalPort>(ask, node).await? {
        batch = super::port::released(batch, port);
    }
    for group in &belonging::<Portgroup>(ask, node).await? {
        batch = batch.free_held("portgroup-name", group.id.as_str()).free_held("portgroup-mac", group.id.as_str()).remove(group);
    }
    for connector in &belonging::<VolumeConnector>(ask, node).await? {
        batch = batch.free_held("volume-connector", connector.id.as_str()).remove(connector);
    }
    for target in &belonging::<VolumeTarget>(ask, node).await? {
        batch = batch.free_held("volume-boot-index", target.id.as_str()).remove(target);
    }
    if let Some(allocation) = &node.desired.allocation_id
        && let Some(allocation) = ask.app.store.get::<Allocation>(allocation).await?
    {
        batch = batch.free_held("allocation-name", allocation.id.as_str()).remove(&allocation).wake(&allocation.id);
    }
    if let Some(drive) = &node.desired.drive {
        batch = batch.remove(&drive.row());
    }
    batch = without::<NodeInventory>(ask, node, batch).await?;
    batch = without::<model::baremetal::NodeBios>(ask, node, batch).await?;
    batch = without::<model::baremetal::NodeFirmware>(ask, node, batch).await?;
    batch = without::<model::baremetal::AgentSession>(ask, node, batch).await?;
    // Ports attached to it would be left without their machine; `removable` has seen none, the store must agree.
    Ok(batch.remove(node).unless_referenced::<BaremetalPort>("node_id", node.id.as_str()).wake(&node.id))
}

/// Whether nothing outside hangs on the node.
fn removable(node: &Object<Node>) -> Result<(), Failure> {
    use ProvisionState as S;
    let id = &node.id;
    let maintained = node.desired.maintenance;
    if let Some(instance) = node.desired.instance_uuid.as_ref().filter(|_| !maintained) {
        return Err(Failure::Conflict(format!("Node {id} is associated with instance {instance}.")));
    }
    if node.desired.protected.on {
        return Err(Failure::Forbidden(format!("Node {id} is protected and cannot be undeployed, rebuilt or deleted")));
    }
    access::unlocked(node)?;
    if let Some(vif) = node.desired.vifs.first() {
        return Err(Failure::Conflict(format!("Node {id}: port {vif} is attached to it.")));
    }
    if let Some(port) = &node.observed.ramdisk_port {
        return Err(Failure::Conflict(format!("Node {id}: its ramdisk's port {port} is not proven isolated yet.")));
    }
    let state = node.observed.state;
    if !maintained && !matches!(state, S::Enroll | S::Manageable | S::Available | S::AdoptFailed) {
        return Err(Failure::Conflict(format!(
            "Can not delete node \"{id}\" while it is in provision state \"{}\". Valid provision states to perform deletion are: \
             \"('manageable', 'enroll', 'adopt failed', 'available')\", or set the node into maintenance mode",
            shown_state(node).0
        )));
    }
    Ok(())
}

/// Whether a port of a network is attached to the node.
pub(super) fn holds(node: &Object<Node>, vif: &Id<Port>) -> bool {
    node.desired.vifs.contains(vif)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_repeated_without_secrets() {
        let patch =
            json!([{"op": "add", "path": "/driver_info/redfish_password", "value": "hunter2"}, {"op": "remove", "path": "/extra/a"}]);
        let operations = json_patch::parse(&patch).unwrap();
        assert_eq!(spelled(&operations[0]), "{'op': 'add', 'path': '/driver_info/redfish_password', 'value': '******'}");
        assert_eq!(spelled(&operations[1]), "{'op': 'remove', 'path': '/extra/a'}");
    }

    #[test]
    fn rules_of_changes() {
        let of = |patch: Value| rules(&json_patch::parse(&patch).unwrap());
        assert_eq!(of(json!([])), ["baremetal:node:update"]);
        assert_eq!(of(json!([{"op": "add", "path": "/automated_clean", "value": "no"}])), ["baremetal:node:disable_cleaning"]);
        assert_eq!(of(json!([{"op": "add", "path": "/automated_clean", "value": true}])), ["baremetal:node:update"]);
        assert_eq!(of(json!([{"op": "add", "path": "/boot_interface", "value": "x"}])), ["baremetal:node:update:driver_interfaces"]);
        assert_eq!(of(json!([{"op": "remove", "path": "/retired_reason"}])), ["baremetal:node:update:retired"]);
    }
}
