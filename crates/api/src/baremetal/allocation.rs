//! `/v1/allocations`: nodes asked for by what they are. The choice is the engine's; here stands what is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::baremetal::{Allocation, AllocationDesired, AllocationState, Node, ProvisionState, is_busy, shown_state};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::Ask;
use super::access::{self, is_logical_name};
use super::resource::{
    Body, Change, Detail, Field, Form, Resource, Rules, Search, Shape, Wanted, Whose, check_trait, field, held_name, id_of, input, name_of,
    named_node, refused, remove, shown,
};
use super::versions::Minor;
use super::words::{not_of_type, unexpected};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// Allocation pool of names.
const NAME_POOL: &str = "allocation-name";
/// Most nodes that one allocation can name: each is looked up.
const MAX_CANDIDATES: usize = 1000;
/// How long the maker of one for a node in use waits to see that it has it.
const BACKFILL_WAIT: Duration = Duration::from_secs(2);
const TOO_OLD: &str = "The API version does not allow allocations";

static FIELDS: &[Field<Allocation>] = &[
    field::<Allocation>("candidate_nodes", 52, |it, _| json!(it.desired.candidate_nodes))
        .set(Shape::Any, |it, value| {
            it.desired.candidate_nodes = value.as_array().into_iter().flatten().filter_map(id_of).collect();
            Ok(())
        })
        .once(),
    field::<Allocation>("extra", 52, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<Allocation>("last_error", 52, |it, _| json!(it.observed.last_error)),
    field::<Allocation>("name", 52, |it, _| name_of(it)).set(Shape::Text(255), |it, value| {
        value.as_str().unwrap_or_default().clone_into(&mut it.name);
        Ok(())
    }),
    field::<Allocation>("owner", 60, |it, _| json!(it.desired.owner)).text(255, |it| &mut it.desired.owner).once(),
    field::<Allocation>("resource_class", 52, |it, _| json!(it.desired.resource_class))
        .text(80, |it| &mut it.desired.resource_class)
        .once()
        .column("resource_class"),
    field::<Allocation>("state", 52, |it, _| json!(it.observed.state.as_str())).column("state"),
    field::<Allocation>("traits", 52, |it, _| json!(it.desired.traits)).set(Shape::Any, |it, value| set_traits(it, &value)).once(),
    field::<Allocation>("node_uuid", 52, |it, _| json!(it.observed.node_id)).column("node_id"),
    input::<Allocation>("node", 58, Shape::Text(255))
        .set(Shape::Text(255), |it, value| {
            it.desired.backfill = id_of(&value);
            Ok(())
        })
        .once(),
];

static FORM: Form<Allocation> = Form {
    one: "allocation",
    title: "Allocation",
    a: "An allocation",
    many: "allocations",
    path: "allocations",
    link: None,
    since: (52, TOO_OLD),
    writes_405: true,
    patch_since: Some((57, "The API version does not allow updating allocations")),
    named: true,
    detail: Detail::Always,
    rules: Rules {
        get: "baremetal:allocation:get",
        list: Some(("baremetal:allocation:list_all", "baremetal:allocation:list")),
        create: "baremetal:allocation:create",
        update: "baremetal:allocation:update",
        delete: "baremetal:allocation:delete",
    },
    whose: Whose::Says(|it| match &it.desired.owner {
        // Without an owner the key is missing, so that a caller without a project is not taken for it.
        Some(owner) => json!({"allocation.owner": owner}),
        None => json!({}),
    }),
    fields: FIELDS,
    patchable: &["name", "extra"],
    unsortable: &["extra", "candidate_nodes", "traits"],
    filters: &[("node", 52), ("resource_class", 52), ("state", 52), ("owner", 60)],
};

fn set_traits(allocation: &mut Object<Allocation>, value: &Value) -> Result<(), String> {
    let schema = |text: String| format!("Schema error: {text}");
    let items = match value {
        Value::Null => &[][..],
        Value::Array(items) => items,
        other => return Err(schema(not_of_type(other, "array|null"))),
    };
    allocation.desired.traits = items.iter().map(check_trait).collect::<Result<_, _>>().map_err(schema)?;
    Ok(())
}

impl Resource for Allocation {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> AllocationDesired {
        AllocationDesired::default()
    }

    async fn prepare(ask: &Ask, body: &mut Body) -> Result<(), Failure> {
        if let Some(ident) = body.get("node").and_then(Value::as_str).map(str::to_owned) {
            if ask.minor < Minor(58) {
                return Err(Failure::BadRequest(format!("Schema error: {}", unexpected(&["node"]))));
            }
            let node = named_node(ask, &ident).await?;
            body.insert("node".into(), json!(node.id));
            let is_null = |body: &Body, name: &str| body.get(name).is_none_or(Value::is_null);
            if is_null(body, "resource_class") {
                body.insert("resource_class".into(), json!(node.desired.resource_class));
            }
            let id = node.desired.instance_uuid.as_deref().and_then(access::valid_uuid);
            if let Some(id) = id.filter(|_| is_null(body, "uuid")) {
                body.insert("uuid".into(), json!(id));
            }
        } else if body.get("resource_class").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Failure::BadRequest("The resource_class field is mandatory when not backfilling".into()));
        }
        let schema = |value: &Value, types: &str| Failure::BadRequest(format!("Schema error: {}", not_of_type(value, types)));
        let candidates = match body.remove("candidate_nodes") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(candidates)) => candidates,
            Some(other) => return Err(schema(&other, "array|null")),
        };
        if candidates.len() > MAX_CANDIDATES {
            return Err(Failure::BadRequest(format!("Schema error: candidate_nodes has more than {MAX_CANDIDATES} items")));
        }
        let mut ids = Vec::with_capacity(candidates.len());
        for ident in &candidates {
            let ident = ident.as_str().ok_or_else(|| schema(ident, "string"))?;
            ids.push(named_node(ask, ident).await?.id);
        }
        body.insert("candidate_nodes".into(), json!(ids));
        Ok(())
    }

    fn may_create(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let project = change.ask.caller.project_id.as_ref().map(ToString::to_string);
        if !change.may(FORM.rules.create) {
            change.require("baremetal:allocation:create_restricted")?;
            change.after.desired.owner = project;
            return Ok(());
        }
        if change.ask.caller.system {
            return Ok(());
        }
        match &change.after.desired.owner {
            None => change.after.desired.owner = project,
            owner if *owner == project => {}
            Some(owner) if !change.may("baremetal:allocation:create_restricted") => {
                return Err(Failure::Forbidden(format!(
                    "Cannot create allocation with an owner Project ID value {owner} not matching the requester Project ID {}. Policy \
                     baremetal:allocation:create_restricted is required for this capability.",
                    project.unwrap_or_default()
                )));
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let name = &change.after.name;
        if !name.is_empty() && !is_logical_name(name) {
            let verb = if change.before.is_some() { "update" } else { "create" };
            return Err(Failure::BadRequest(format!("Cannot {verb} allocation with invalid name '{name}'")));
        }
        change.hold(NAME_POOL, held_name);
        if change.before.is_none() {
            if let Some(id) = change.after.desired.backfill.clone() {
                let node = change.ask.app.store.get::<Node>(&id).await?.ok_or_else(|| Failure::not_found("Node", id.as_str()))?;
                can_backfill(&change.after, &node)?;
                change.step(|batch| batch.require(&id));
            }
            let id = change.after.id.clone();
            change.step(|batch| batch.wake(&id));
        }
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let id = change.after.id.to_string();
        let store = &change.ask.app.store;
        let mut nodes = store.list(&Query::<Node>::new().column("allocation_id", [id.clone()])).await?;
        if let Some(node) = &change.after.observed.node_id
            && !nodes.iter().any(|it| it.id == *node)
        {
            nodes.extend(store.get::<Node>(node).await?);
        }
        for mut node in nodes {
            let state = shown_state(&node).0;
            if !node.desired.maintenance && node.observed.state == ProvisionState::Active && !is_busy(&node) {
                return Err(Failure::Conflict(format!(
                    "Cannot remove allocation {id} for node {}, because the node is active (and maintenance mode is off)",
                    node.id
                )));
            }
            if !node.desired.maintenance && is_busy(&node) {
                return Err(Failure::Conflict(format!(
                    "Cannot remove allocation {id} for node {}, because the node is in state {state} where updates are not allowed (and \
                     maintenance mode is off)",
                    node.id
                )));
            }
            if node.desired.allocation_id.as_ref().is_some_and(|it| it.as_str() == id) {
                node.desired.allocation_id = None;
            }
            if node.desired.instance_uuid.as_deref() == Some(&id) {
                node.desired.instance_uuid = None;
            }
            change.step(|batch| batch.want(&node).wake(&node.id));
        }
        change.free(&[NAME_POOL]);
        Ok(())
    }

    async fn filter(ask: &Ask, mut search: Search<Self>, query: &HashMap<String, String>) -> Result<Search<Self>, Failure> {
        if let Some(node) = query.get("node") {
            search = search.column("node_id", [access::node(ask, node).await?.id.to_string()]);
        }
        for name in ["resource_class", "state", "owner"] {
            if let Some(value) = query.get(name) {
                search = search.column(name, [value.clone()]);
            }
        }
        Ok(search)
    }

    fn own(ask: &Ask, query: Query<Self>) -> Query<Self> {
        query.column("owner", ask.caller.project_id.iter().map(ToString::to_string))
    }

    /// One for a node that is in use already is done at once.
    async fn made(ask: &Ask, mut object: Object<Self>) -> Result<Object<Self>, Failure> {
        let deadline = tokio::time::Instant::now() + BACKFILL_WAIT;
        while object.desired.backfill.is_some()
            && object.observed.state == AllocationState::Allocating
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match ask.app.store.get(&object.id).await? {
                Some(fresh) => object = fresh,
                None => break,
            }
        }
        Ok(object)
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        (pool == NAME_POOL).then(|| format!("An allocation with name {} already exists.", object.name))
    }
}

/// Whether an allocation can be made for a node that is in use already.
fn can_backfill(allocation: &Object<Allocation>, node: &Object<Node>) -> Result<(), Failure> {
    let failed = |why: String| Failure::Conflict(format!("Failed to process allocation {}: {why}", allocation.id));
    if node.observed.state != ProvisionState::Active {
        return Err(failed(format!(
            "Cannot backfill an allocation for node {}: Node must be in the \"active\" state, but the current state is \"{}\".",
            node.id,
            shown_state(node).0
        )));
    }
    let other = node.desired.instance_uuid.as_deref().filter(|it| *it != allocation.id.as_str());
    if let Some(other) = other {
        return Err(failed(format!("Node {} is associated with instance {other}.", node.id)));
    }
    Ok(())
}

/// The allocation of a node, if the caller sees both.
async fn of_node(ask: &Ask, ident: &str) -> Result<Object<Allocation>, Failure> {
    if ask.minor < Minor(52) {
        return Err(refused(StatusCode::NOT_FOUND, TOO_OLD));
    }
    let node = access::node(ask, ident).await?;
    let missing = || refused(StatusCode::NOT_FOUND, format!("Allocation for node {ident} was not found"));
    let by_node = ask.app.store.list(&Query::<Allocation>::new().column("node_id", [node.id.to_string()])).await?.pop();
    let id = by_node.map(|it| it.id).or(node.desired.allocation_id).ok_or_else(missing)?;
    let (found, _) = super::resource::find::<Allocation>(ask, id.as_str()).await.map_err(|failure| match failure {
        Failure::NotFound { .. } => missing(),
        other => other,
    })?;
    Ok(found)
}

/// `GET /v1/nodes/{node}/allocation`.
async fn show_of_node(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let allocation = of_node(&ask, &ident).await.map_err(|failure| match failure {
        Failure::NotFound { .. } => Failure::BadRequest(failure.message()),
        other => other,
    })?;
    let wanted = query.get("fields").map_or(Ok(Wanted::All), |text| Wanted::these::<Allocation>(&ask, text))?;
    Ok(Json(shown(&ask, &allocation, &wanted)).into_response())
}

/// `DELETE /v1/nodes/{node}/allocation`.
async fn delete_of_node(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let allocation: Id<Allocation> = of_node(&ask, &ident).await?.id;
    remove::<Allocation>(&ask, allocation.as_str()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What allocations have beside what all resources have.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/nodes/{node}/allocation", get(show_of_node).delete(delete_of_node))
}
