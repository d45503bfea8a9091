//! Showing, making, changing and removing one.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode, header};
use model::baremetal::Node;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Query, StoreError};

use super::form::{Field, Put};
use super::{Body, Change, Form, Resource, Shape, Whose, check, links, refused, target, time};
use crate::baremetal::access::{self, is_logical_name, require_any, require_of};
use crate::baremetal::words::{not_of_type, repr, too_early, unexpected};
use crate::baremetal::{Ask, Minor};
use crate::enforce::allows;
use crate::failure::Failure;
use crate::json_patch;
use crate::page::Parameters;
use crate::race::RACES;

/// Fields that all resources have; their names cannot be used by others.
pub(super) const COMMON: [&str; 3] = ["uuid", "created_at", "updated_at"];

/// Refuses what the version of the request does not have.
pub(in crate::baremetal) fn gate<K: Resource>(ask: &Ask, method: &Method) -> Result<(), Failure> {
    let form = K::form();
    let too_old = |text: &str| match method == Method::GET || !form.writes_405 {
        true => refused(StatusCode::NOT_FOUND, text),
        false => refused(StatusCode::METHOD_NOT_ALLOWED, text),
    };
    if ask.minor < Minor(form.since.0) {
        return Err(too_old(form.since.1));
    }
    match form.patch_since {
        Some((since, text)) if method == Method::PATCH && ask.minor < Minor(since) => Err(too_old(text)),
        _ => Ok(()),
    }
}

/// Which fields are shown.
#[derive(Clone, Debug)]
pub(in crate::baremetal) enum Wanted {
    All,
    Brief,
    These(Vec<String>),
}

impl Wanted {
    fn has(&self, name: &str, brief: bool) -> bool {
        match self {
            Self::All => true,
            Self::Brief => brief,
            Self::These(names) => names.iter().any(|it| it == name),
        }
    }

    /// What `fields=` asks for.
    pub(in crate::baremetal) fn these<K: Resource>(ask: &Ask, text: &str) -> Result<Self, Failure> {
        let form = K::form();
        if ask.minor < Minor(8) {
            return Err(too_early());
        }
        let names: Vec<String> = text.split(',').map(|it| it.trim().to_ascii_lowercase()).filter(|it| !it.is_empty()).collect();
        for name in &names {
            match form.field(name).filter(|field| !field.hidden) {
                Some(field) if ask.minor < Minor(field.since) => return Err(too_early()),
                None if !COMMON.contains(&name.as_str()) && name != "links" => {
                    return Err(Failure::BadRequest(format!("Field(s) \"{name}\" are not valid")));
                }
                _ => {}
            }
        }
        Ok(Self::These(names))
    }
}

/// One as it is shown.
pub(in crate::baremetal) fn shown<K: Resource>(ask: &Ask, object: &Object<K>, wanted: &Wanted) -> Value {
    let form = K::form();
    let mut out = Map::new();
    let mut put = |name: &str, brief: bool, value: &dyn Fn() -> Value| {
        if wanted.has(name, brief) {
            out.insert(name.to_owned(), value());
        }
    };
    put("uuid", true, &|| json!(object.id));
    put("created_at", false, &|| time(Some(object.created_at)));
    put("updated_at", false, &|| time(object.updated_at));
    for field in form.fields.iter().filter(|field| !field.hidden && Minor(field.since) <= ask.minor) {
        put(field.name, field.brief, &|| (field.get)(object, ask));
    }
    out.insert("links".into(), links(ask, &form.link_of(object)));
    Value::Object(out)
}

/// What a path names, whoever may see it.
async fn named<K: Resource>(ask: &Ask, ident: &str) -> Result<Object<K>, Failure> {
    let form = K::form();
    let found = match access::parse_id::<K>(ident) {
        Some(id) => ask.app.store.get(&id).await?,
        None if !form.named => return Err(Failure::BadRequest(format!("Expected UUID for {}_uuid: {ident}", form.one))),
        None if !is_logical_name(ident) => {
            return Err(Failure::BadRequest(format!("Expected UUID or name for {}_ident: {ident}", form.one)));
        }
        None => {
            let named = ask.app.store.list(&Query::<K>::new().name(ident)).await?.pop();
            // Before 1.91 `.json` at the end is left away if nothing is called so.
            match ident.strip_suffix(".json").filter(|_| named.is_none() && ask.minor < Minor(91)) {
                Some(short) => match access::parse_id::<K>(short) {
                    Some(id) => ask.app.store.get(&id).await?,
                    None => ask.app.store.list(&Query::<K>::new().name(short)).await?.pop(),
                },
                None => named,
            }
        }
    };
    found.filter(|it: &Object<K>| !it.is_deleting()).ok_or_else(|| form.missing(ident))
}

/// The node something belongs to; none of what belongs to none.
async fn node_of<K: Resource>(ask: &Ask, object: &Object<K>) -> Result<Option<Object<Node>>, Failure> {
    match &K::form().whose {
        Whose::Node(id) => Ok(ask.app.store.get(id(object)).await?),
        _ => Ok(None),
    }
}

/// What a path names, and its node, if the caller sees it.
///
/// # Errors
/// `NotFound`; `Forbidden` of what only operators see.
pub(in crate::baremetal) async fn find<K: Resource>(ask: &Ask, ident: &str) -> Result<(Object<K>, Option<Object<Node>>), Failure> {
    let form = K::form();
    if matches!(form.whose, Whose::Operator) {
        // Whoever may see none is not told which there are.
        require_any(ask, form.rules.get)?;
        return Ok((named::<K>(ask, ident).await?, None));
    }
    let object = named::<K>(ask, ident).await?;
    let node = node_of(ask, &object).await?;
    if K::is_public(&object) {
        return Ok((object, node));
    }
    let says = target(&object, node.as_ref());
    let sees = match (&form.whose, &node) {
        (Whose::Node(_), Some(node)) => access::may(ask, "baremetal:node:get", node),
        (Whose::Node(_), None) => false,
        _ => allows(&ask.app, &ask.caller, form.rules.get, &says),
    };
    if !sees {
        return Err(form.missing(ident));
    }
    require_of(ask, form.rules.get, &says)?;
    Ok((object, node))
}

/// `GET` of one.
pub(super) async fn show<K: Resource>(ask: Ask, Path(path): Path<Ident>, Parameters(query): Parameters) -> Result<Response, Failure> {
    gate::<K>(&ask, &Method::GET)?;
    if let Some(other) = query.keys().find(|key| *key != "fields") {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let (object, _) = find::<K>(&ask, &path.ident).await?;
    let wanted = query.get("fields").map_or(Ok(Wanted::All), |text| Wanted::these::<K>(&ask, text))?;
    Ok(Json(shown(&ask, &object, &wanted)).into_response())
}

/// The last part of a path.
#[derive(serde::Deserialize)]
pub(in crate::baremetal) struct Ident {
    /// A UUID or a name.
    pub(in crate::baremetal) ident: String,
}

/// One below something it does not belong below.
pub(super) async fn malformed(_: Ask) -> Failure {
    Failure::BadRequest("Malformed request URI.".into())
}

/// Checks a body's members and gives them their form.
fn admitted<K: Resource>(form: &'static Form<K>, body: Body) -> Result<Body, Failure> {
    let schema = |text: String| Failure::BadRequest(format!("{}: {text}", form.schema_error()));
    let known = |name: &str| form.field(name).filter(|field| field.on_create);
    let other: Vec<&str> = body.keys().map(String::as_str).filter(|name| *name != "uuid" && known(name).is_none()).collect();
    if !other.is_empty() {
        return Err(schema(unexpected(&other)));
    }
    if let Some(field) = form.fields.iter().find(|field| field.required && field.on_create && !body.contains_key(field.name)) {
        return Err(schema(format!("'{}' is a required property", field.name)));
    }
    let mut out = Body::new();
    for (name, value) in body {
        let shape = known(&name).map_or(Shape::Uuid, |field| field.shape);
        let value = check(form.schema_error(), &name, shape, value)?;
        out.insert(name, value);
    }
    Ok(out)
}

/// Why a write failed.
fn failed<K: Resource>(error: StoreError, object: &Object<K>) -> Failure {
    match &error {
        StoreError::Taken { pool, .. } => match K::taken(pool, object) {
            Some(text) => Failure::Conflict(text),
            None => error.into(),
        },
        StoreError::Exists { kind, .. } if *kind == K::NAME => {
            Failure::Conflict(format!("{} with UUID {} already exists.", K::form().a, object.id))
        }
        _ => error.into(),
    }
}

fn busy<K: Resource>() -> Failure {
    Failure::Conflict(format!("{} is being changed by others; try again", K::form().title))
}

/// `POST`.
pub(super) async fn create<K: Resource>(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    gate::<K>(&ask, &Method::POST)?;
    let object = K::made(&ask, make::<K>(&ask, body).await?).await?;
    let location = format!("{}/v1/{}/{}", ask.base, K::form().path, object.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(&ask, &object, &Wanted::All))).into_response())
}

async fn make<K: Resource>(ask: &Ask, body: Value) -> Result<Object<K>, Failure> {
    let form = K::form();
    let Value::Object(body) = body else {
        return Err(Failure::BadRequest(format!("{}: {}", form.schema_error(), not_of_type(&body, "object"))));
    };
    // Of all that can be made only runbooks are not looked at before it is known that the caller may make any.
    if form.path == "runbooks" {
        require_any(ask, form.rules.create)?;
    }
    let mut body = admitted(form, body)?;
    let named: BTreeSet<String> = body.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect();
    K::prepare(ask, &mut body).await?;
    let given: BTreeSet<String> = body.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect();
    let id = body.remove("uuid").and_then(|it| super::id_of(&it)).unwrap_or_else(Id::random);
    let mut fresh = Object::<K>::new(id, None, "", K::blank());
    for (name, value) in body {
        if let Some(field) = form.field(&name) {
            field.write(&mut fresh, value)?;
        }
    }
    for _ in 0..RACES {
        let node = match &form.whose {
            Whose::Node(id) => {
                let id = id(&fresh);
                let node = ask.app.store.get(id).await?.filter(|node| !node.is_deleting() && access::may(ask, "baremetal:node:get", node));
                let Some(node) = node else {
                    require_any(ask, form.rules.create)?;
                    return Err(Failure::BadRequest(format!("Node {id} could not be found.")));
                };
                Some(node)
            }
            _ => None,
        };
        let mut change = Change::new(ask, None, fresh.clone(), given.clone(), node);
        K::may_create(&mut change)?;
        let early = |field: &Field<K>| named.contains(field.name) && Minor(field.since) > ask.minor && !field.early.0;
        if form.fields.iter().any(early) {
            return Err(too_early());
        }
        K::settle(&mut change).await?;
        let Change { after, batch, node, .. } = change;
        let batch = match &node {
            Some(node) => batch.require(&node.id).create(&after).wake(&node.id),
            None => batch.create(&after),
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(after),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(failed(error, &after)),
        }
    }
    Err(busy::<K>())
}

/// The operations of a patch, each with what the client wrote.
fn operations<K: Resource>(body: &Value) -> Result<Vec<(json_patch::Operation, &Value)>, Failure> {
    let form = K::form();
    let operations = json_patch::parse(body).map_err(|error| Failure::BadRequest(format!("Schema error for patch: {error}")))?;
    let raw = body.as_array().map(Vec::as_slice).unwrap_or_default();
    let patchable = |name: &str| match form.patchable.is_empty() {
        true => form.field(name).is_some_and(|field| field.on_patch),
        false => form.patchable.contains(&name),
    };
    for (operation, raw) in operations.iter().zip(raw) {
        if !patchable(operation.attribute()) {
            let names: Vec<&str> = match form.patchable.is_empty() {
                true => form.fields.iter().filter(|field| field.on_patch).map(|field| field.name).collect(),
                false => form.patchable.to_vec(),
            };
            let path = raw.get("path").and_then(Value::as_str).unwrap_or_default();
            return Err(Failure::BadRequest(format!("Cannot patch {path}. Only the following can be updated: {}", names.join(", "))));
        }
    }
    Ok(operations.into_iter().zip(raw).collect())
}

/// One as a patch leaves it.
fn patched<K: Resource>(ask: &Ask, before: &Object<K>, operations: &[(json_patch::Operation, &Value)]) -> Result<Object<K>, Failure> {
    let form = K::form();
    let mut after = before.clone();
    let mut document = Map::new();
    for field in form.fields.iter().filter(|field| field.on_patch) {
        document.insert(field.name.to_owned(), field.raw.unwrap_or(field.get)(before, ask));
    }
    for (operation, raw) in operations {
        if let (json_patch::Change::Add(_), [name]) = (&operation.change, operation.path.as_slice())
            && !document.contains_key(name)
            && form.field(name).is_none_or(|field| !field.on_patch)
        {
            return Err(Failure::BadRequest(format!("Adding a new attribute (/{name}) to the root of the resource is not allowed")));
        }
        json_patch::apply(&mut document, operation)
            .map_err(|error| Failure::BadRequest(format!("Couldn't apply patch '{}'. Reason: {error}", repr(raw))))?;
    }
    let touched: BTreeSet<&str> = operations.iter().map(|(operation, _)| operation.attribute()).collect();
    for name in touched {
        let Some(field) = form.field(name) else { continue };
        let value = match document.remove(name) {
            None if field.required => {
                return Err(Failure::BadRequest(format!("Schema error for patch: '{name}' is a required property")));
            }
            value => value.unwrap_or(Value::Null),
        };
        field.write(&mut after, check("Schema error for patch", name, field.shape, value)?)?;
    }
    Ok(after)
}

/// `PATCH`.
pub(super) async fn patch<K: Resource>(ask: Ask, Path(path): Path<Ident>, Json(body): Json<Value>) -> Result<Response, Failure> {
    gate::<K>(&ask, &Method::PATCH)?;
    let (form, operations) = (K::form(), operations::<K>(&body)?);
    let given: BTreeSet<String> = operations.iter().map(|(operation, _)| operation.attribute().to_owned()).collect();
    for _ in 0..RACES {
        let (before, node) = find::<K>(&ask, &path.ident).await?;
        // What a patch says is looked at only for those who may change anything at all.
        let change = Change::new(&ask, Some(before.clone()), before.clone(), given.clone(), node);
        K::may_patch(&change)?;
        let node = change.node;
        let early = |name: &String| form.field(name).is_some_and(|field| Minor(field.since) > ask.minor && !field.early.1);
        if given.iter().any(early) {
            return Err(too_early());
        }
        let after = patched(&ask, &before, &operations)?;
        let node = moved(&ask, &after, node).await?;
        let mut change = Change::new(&ask, Some(before), after, given.clone(), node);
        K::settle(&mut change).await?;
        let Change { after, batch, node, .. } = change;
        let batch = match &node {
            Some(node) => batch.require(&node.id).want(&after).wake(&node.id),
            None => batch.want(&after),
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => {
                let fresh = ask.app.store.get(&after.id).await?.ok_or_else(|| form.missing(&path.ident))?;
                return Ok(Json(shown(&ask, &fresh, &Wanted::All)).into_response());
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(failed(error, &after)),
        }
    }
    Err(busy::<K>())
}

/// The node that something is to belong to: another must be the caller's to see, and its owner's too.
async fn moved<K: Resource>(ask: &Ask, after: &Object<K>, node: Option<Object<Node>>) -> Result<Option<Object<Node>>, Failure> {
    let (Whose::Node(id), Some(old)) = (&K::form().whose, node) else { return Ok(None) };
    let id = id(after);
    if *id == old.id {
        return Ok(Some(old));
    }
    let new = ask.app.store.get(id).await?.filter(|node: &Object<Node>| !node.is_deleting());
    let new = new.filter(|node| access::may(ask, "baremetal:node:get", node) && node.desired.owner == old.desired.owner);
    new.map(Some)
        .ok_or_else(|| Failure::BadRequest(format!("Unable to apply the requested node_uuid '{id}'. Requested value was invalid.")))
}

/// `DELETE`.
pub(super) async fn delete<K: Resource>(ask: Ask, Path(path): Path<Ident>) -> Result<Response, Failure> {
    gate::<K>(&ask, &Method::DELETE)?;
    remove::<K>(&ask, &path.ident).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes what a path names.
pub(in crate::baremetal) async fn remove<K: Resource>(ask: &Ask, ident: &str) -> Result<(), Failure> {
    for _ in 0..RACES {
        let (object, node) = find::<K>(ask, ident).await?;
        let mut change = Change::new(ask, Some(object.clone()), object, BTreeSet::new(), node);
        change.require(K::form().rules.delete)?;
        K::release(&mut change).await?;
        let Change { after, batch, node, .. } = change;
        let batch = match &node {
            Some(node) => batch.require(&node.id).remove(&after).wake(&node.id),
            None => batch.remove(&after),
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy::<K>())
}

/// Whether a field can be sorted by in memory: one that is shown and has a place in an order.
pub(super) fn sortable<K: Resource>(field: &Field<K>) -> bool {
    !field.hidden && !matches!(field.put, Put::Map(_))
}
