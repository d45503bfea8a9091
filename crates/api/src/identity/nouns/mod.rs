//! Domains, projects, users and roles: what they have in common is written once.

pub(super) mod domain;
pub(super) mod project;
pub(super) mod role;
pub(super) mod user;

use axum::Json;
use axum::extract::Path;
use http::StatusCode;
use model::{Id, Kind, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::{Ask, Body, linked, listed};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::{parse, value};

/// Where the names of a kind are kept unique within `scope` (a domain's id, or empty). Names differ by more than case, as in Keystone.
pub(super) fn name_pool<K: Kind>(scope: &str) -> String {
    format!("name:{}:{scope}", K::NAME)
}

fn name_key(name: &str) -> String {
    name.to_lowercase()
}

/// A kind of identity's objects.
pub(super) trait Noun: Kind {
    const SINGULAR: &'static str;
    const PLURAL: &'static str;
    const TITLE: &'static str;
    /// The attributes a body may have; any other is refused.
    const ATTRIBUTES: &'static [&'static str];

    /// An object as the defaults have it.
    fn blank(ask: &Ask) -> Self::Desired;
    /// Within what its name is unique.
    fn scope(desired: &Self::Desired) -> String;
    /// Takes an attribute (other than `name`) from a body.
    fn take(desired: &mut Self::Desired, attribute: &str, value: &Value) -> Result<(), String>;
    /// Its attributes.
    fn show(object: &Object<Self>) -> Value;
    /// Whether one who is no administrator may see it.
    fn is_own(object: &Object<Self>, ask: &Ask) -> bool;
}

fn shown<N: Noun>(object: &Object<N>, ask: &Ask) -> Value {
    let mut shown = N::show(object);
    if let Some(map) = shown.as_object_mut() {
        map.insert("id".into(), json!(object.id));
        map.insert("name".into(), json!(object.name));
    }
    linked(shown, N::PLURAL, ask)
}

/// The object of that id; one the caller may not see does not exist for it.
pub(super) async fn find<N: Noun>(ask: &Ask, id: &str) -> Result<Object<N>, Failure> {
    let missing = || Failure::not_found(N::TITLE, id);
    let parsed = Id::parse(id).ok_or_else(missing)?;
    let found = ask.app.store.get::<N>(&parsed).await?.ok_or_else(missing)?;
    if ask.caller.is_admin() || N::is_own(&found, ask) {
        return Ok(found);
    }
    Err(missing())
}

/// The object of that name within a scope.
async fn named<N: Noun>(app: &App, scope: &str, name: &str) -> Result<Option<Object<N>>, Failure> {
    if name.contains('\0') {
        return Ok(None);
    }
    let Some(held) = app.store.allocation(&name_pool::<N>(scope), &name_key(name)).await? else { return Ok(None) };
    match Id::parse(&held.holder) {
        Some(id) => Ok(app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// GET /nouns
pub(super) async fn list<N: Noun>(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.caller.require_admin()?;
    let mut query = Query::<N>::new();
    if let (Some(domain), true) = (ask.parameters.first("domain_id"), N::COLUMNS.iter().any(|it| it.name == "domain_id")) {
        query = query.column("domain_id", [domain.to_owned()]);
    }
    let kept = |item: &Value| {
        ask.parameters.0.iter().all(|(key, wanted)| match item.get(key) {
            Some(Value::String(has)) if key == "name" => has.eq_ignore_ascii_case(wanted),
            Some(Value::String(has)) => has == wanted,
            Some(Value::Bool(has)) => value::boolean(&Value::from(wanted.as_str())).is_ok_and(|wanted| wanted == *has),
            Some(Value::Null) => wanted.is_empty(),
            Some(_) | None => true,
        })
    };
    let found = ask.app.store.list(&query).await?;
    let items = found.iter().map(|it| shown(it, &ask)).filter(kept).collect();
    Ok(listed(N::PLURAL, items, &ask))
}

/// GET /nouns/{id}
pub(super) async fn show<N: Noun>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = find::<N>(&ask, &id).await?;
    Ok(Json(json!({ N::SINGULAR: shown(&found, &ask) })))
}

fn body_of<N: Noun>(bytes: &Body) -> Result<Map<String, Value>, Failure> {
    let body = parse(bytes)?;
    let object = body.get(N::SINGULAR).and_then(Value::as_object);
    let object = object.ok_or_else(|| Failure::BadRequest(format!("'{}' is a required property", N::SINGULAR)))?;
    if let Some(unknown) = object.keys().find(|key| *key != "name" && *key != "options" && !N::ATTRIBUTES.contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Additional properties are not allowed ('{unknown}' was unexpected)")));
    }
    if object.get("options").is_some_and(|it| !it.is_null() && it.as_object().is_none_or(|it| !it.is_empty())) {
        return Err(Failure::BadRequest("Invalid input for field 'options': none are offered".into()));
    }
    Ok(object.clone())
}

fn fill<N: Noun>(object: &mut Object<N>, body: &Map<String, Value>) -> Result<(), Failure> {
    if let Some(name) = body.get("name") {
        let name = value::text(name, 255).map_err(|why| Failure::BadRequest(format!("Invalid input for field 'name': {why}")))?;
        if name.trim().is_empty() {
            return Err(Failure::BadRequest("Invalid input for field 'name': it is empty".into()));
        }
        object.name = name;
    }
    for attribute in N::ATTRIBUTES {
        if let Some(value) = body.get(*attribute) {
            N::take(&mut object.desired, attribute, value)
                .map_err(|why| Failure::BadRequest(format!("Invalid input for field '{attribute}': {why}")))?;
        }
    }
    Ok(())
}

fn taken<N: Noun>(error: StoreError, name: &str) -> Failure {
    match error {
        StoreError::Taken { .. } => {
            Failure::Conflict(format!("Conflict occurred attempting to store {} - Duplicate entry found with name {name}.", N::SINGULAR))
        }
        StoreError::Stale { kind: "domain", id } => Failure::not_found("Domain", &id),
        other => other.into(),
    }
}

/// Makes an object; `more` adds what the body alone does not say.
async fn create_with<N: Noun>(ask: &Ask, body: Body, more: impl FnOnce(&mut Object<N>)) -> Result<(StatusCode, Json<Value>), Failure> {
    ask.caller.require_admin()?;
    let body = body_of::<N>(&body)?;
    if !body.contains_key("name") {
        return Err(Failure::BadRequest("'name' is a required property".into()));
    }
    let mut object = Object::new(Id::random_hex(), None, "", N::blank(ask));
    fill(&mut object, &body)?;
    more(&mut object);
    let scope = N::scope(&object.desired);
    let mut batch = Batch::wishes().hold(&name_pool::<N>(&scope), &name_key(&object.name), object.id.as_str());
    if let Some(domain) = Id::<model::identity::Domain>::parse(&scope) {
        batch = batch.require(&domain);
    }
    ask.app.store.apply(batch.create(&object)).await.map_err(|error| taken::<N>(error, &object.name))?;
    tracing::info!(id = %object.id, name = object.name, "{} created", N::SINGULAR);
    Ok((StatusCode::CREATED, Json(json!({ N::SINGULAR: shown(&object, ask) }))))
}

/// POST /nouns
pub(super) async fn create<N: Noun>(ask: Ask, body: Body) -> Result<(StatusCode, Json<Value>), Failure> {
    create_with::<N>(&ask, body, |_| ()).await
}

/// Changes an object; `more` as in [`create_with`].
async fn update_with<N: Noun>(ask: &Ask, id: &str, body: Body, more: impl Fn(&mut Object<N>)) -> Result<Json<Value>, Failure> {
    ask.caller.require_admin()?;
    let body = body_of::<N>(&body)?;
    let mut tries = 0;
    loop {
        match change(ask, id, &body, &more).await? {
            Ok(object) => return Ok(Json(json!({ N::SINGULAR: shown(&object, ask) }))),
            Err(StoreError::Stale { .. }) if tries < RACES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the decision once; the inner error is the store's.
async fn change<N: Noun>(
    ask: &Ask,
    id: &str,
    body: &Map<String, Value>,
    more: &impl Fn(&mut Object<N>),
) -> Result<Result<Object<N>, StoreError>, Failure> {
    let mut object = find::<N>(ask, id).await?;
    let (old_name, old_scope) = (object.name.clone(), N::scope(&object.desired));
    fill(&mut object, body)?;
    if N::scope(&object.desired) != old_scope {
        return Err(Failure::BadRequest("Invalid input for field 'domain_id': it cannot be changed".into()));
    }
    more(&mut object);
    let mut batch = Batch::wishes();
    if name_key(&object.name) != name_key(&old_name) {
        let pool = name_pool::<N>(&old_scope);
        batch = batch.free(&pool, &name_key(&old_name)).hold(&pool, &name_key(&object.name), object.id.as_str());
    }
    match ask.app.store.apply(batch.want(&object)).await {
        Err(error @ StoreError::Taken { .. }) => Err(taken::<N>(error, &object.name)),
        done => Ok(done.map(|()| object)),
    }
}

/// PATCH /nouns/{id}
pub(super) async fn update<N: Noun>(ask: Ask, Path(id): Path<String>, body: Body) -> Result<Json<Value>, Failure> {
    update_with::<N>(&ask, &id, body, |_| ()).await
}

/// Removes an object with its name; `with` adds what goes along.
async fn delete_with<N: Noun>(
    ask: &Ask,
    object: &Object<N>,
    with: impl FnOnce(Batch<Wishes>) -> Batch<Wishes>,
) -> Result<StatusCode, Failure> {
    let pool = name_pool::<N>(&N::scope(&object.desired));
    let batch = with(Batch::wishes()).free(&pool, &name_key(&object.name)).remove(object);
    ask.app.store.apply(batch).await?;
    tracing::info!(id = %object.id, name = object.name, "{} deleted", N::SINGULAR);
    Ok(StatusCode::NO_CONTENT)
}
