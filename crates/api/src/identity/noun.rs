//! What the objects of identity have in common: bodies that fit a schema, rules, names, filters, pages, answers.

use std::future::{Future, ready};

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use http::StatusCode;
use model::identity::Domain;
use model::{Id, Kind, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, body_of, missing, rooted};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::value;
use crate::schema::Schema;

/// Most objects of one page.
const MOST: usize = 10_000;
/// Counts all changes of identity that may change what a token means.
pub(crate) const EPOCH: &str = "identity";

/// A name held by an object within a pool.
pub(super) struct Name {
    /// The pool.
    pub(super) pool: String,
    /// What is held.
    pub(super) value: String,
}

/// Where the names of a kind are kept unique within `scope` (a domain's id, or empty). Names differ by more than case, as in Keystone on
/// its usual database.
pub(super) fn name_in<K: Kind>(scope: &str, name: &str) -> Name {
    Name { pool: format!("name:{}:{scope}", K::NAME), value: name.to_lowercase() }
}

/// A kind of identity's objects.
pub(super) trait Noun: Kind {
    /// As in bodies, rules and messages: `user`.
    const SINGULAR: &'static str;
    /// As in paths and lists: `users`.
    const PLURAL: &'static str;
    /// What a body at creation may be.
    const CREATE: &'static Schema;
    /// What a body of a change may be.
    const UPDATE: &'static Schema;
    /// The attributes that lists can be filtered by; `name` also by `name__contains` and the like.
    const FILTERS: &'static [&'static str];
    /// The parameters lists may have.
    const QUERY: &'static Schema;
    /// Whether the new object may change what a token means.
    const NEW_COUNTS: bool = true;

    /// A new object of an id; what the body says is taken by [`Noun::take`].
    fn blank(ask: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure>;

    /// Takes what a body says into the object; the body fits the schema. `before` is the object as it was, at a change.
    fn take(
        ask: &Ask,
        object: &mut Object<Self>,
        body: &Map<String, Value>,
        before: Option<&Object<Self>>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The object's own attributes, without `id` and `links`.
    fn show(object: &Object<Self>) -> Map<String, Value>;

    /// The names it holds.
    fn names(_: &Object<Self>) -> Vec<Name> {
        Vec::new()
    }

    /// What must be there as long as it is.
    fn requires(_: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        batch
    }

    /// What goes along with its change, such as the end of tokens.
    fn along(
        _: &Ask,
        _: &Object<Self>,
        _: &Object<Self>,
        batch: Batch<Wishes>,
    ) -> impl Future<Output = Result<Batch<Wishes>, Failure>> + Send {
        ready(Ok(batch))
    }

    /// What goes with it when it is removed, or why it may not be.
    fn cascade(_: &Ask, _: &Object<Self>, batch: Batch<Wishes>) -> impl Future<Output = Result<Batch<Wishes>, Failure>> + Send {
        ready(Ok(batch))
    }

    /// The domain it belongs to: those with a domain's token see and change only what is in that domain.
    fn domain(_: &Object<Self>) -> Option<&Id<Domain>> {
        None
    }

    /// What rules see of it, under `target.<singular>`.
    fn target(object: &Object<Self>) -> Value {
        let mut target = Self::show(object);
        target.insert("id".into(), json!(object.id));
        Value::Object(target)
    }
}

/// The object in the form of an answer.
pub(super) fn shown<N: Noun>(object: &Object<N>, ask: &Ask) -> Value {
    let mut shown = N::show(object);
    shown.insert("id".into(), json!(object.id));
    ask.linked(Value::Object(shown), &format!("{}/{}", N::PLURAL, object.id))
}

/// The target of a rule about an object; an empty one if there is none, so that who may not see any learns nothing.
pub(super) fn target_of<N: Noun>(object: Option<&Object<N>>) -> Value {
    object.map_or_else(|| json!({}), |it| json!({ N::SINGULAR: N::target(it) }))
}

/// The object of that id.
pub(super) async fn get<N: Noun>(app: &App, id: &str) -> Result<Option<Object<N>>, Failure> {
    match Id::parse(id) {
        Some(id) => Ok(app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// The object of that id.
///
/// # Errors
/// `NotFound`.
pub(super) async fn find<N: Noun>(app: &App, id: &str) -> Result<Object<N>, Failure> {
    get(app, id).await?.ok_or_else(|| missing(N::SINGULAR, id))
}

/// The object of that id if the rule lets the caller; who may not see any is told that, not whether there is one.
pub(super) async fn permitted<N: Noun>(ask: &Ask, id: &str, rule: &str) -> Result<Object<N>, Failure> {
    let found = get::<N>(&ask.app, id).await?;
    ask.enforce(rule, target_of(found.as_ref()))?;
    found.ok_or_else(|| missing(N::SINGULAR, id))
}

/// The object of that name within a scope.
pub(super) async fn named<N: Noun>(app: &App, scope: &str, name: &str) -> Result<Option<Object<N>>, Failure> {
    if name.contains('\0') {
        return Ok(None);
    }
    let Name { pool, value } = name_in::<N>(scope, name);
    let Some(held) = app.store.allocation(&pool, &value).await? else { return Ok(None) };
    match Id::parse(&held.holder) {
        Some(id) => Ok(app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// Whether what is shown fits the parameters of a list.
pub(super) fn kept(shown: &Value, ask: &Ask, filters: &[&str]) -> bool {
    ask.parameters.0.iter().all(|(key, wanted)| {
        let (name, how) = key.split_once("__").unwrap_or((key.as_str(), ""));
        if !filters.contains(&name) {
            return true;
        }
        match shown.get(name) {
            Some(Value::String(has)) => compare(has, wanted, how, name == "name"),
            // `?enabled` alone means yes, and only the spellings of no mean no.
            Some(Value::Bool(has)) => value::boolean(&Value::from(wanted.as_str())).unwrap_or(true) == *has,
            Some(Value::Number(has)) => has.to_string() == *wanted,
            Some(Value::Null) | None => wanted.is_empty() || wanted.eq_ignore_ascii_case("null"),
            Some(_) => true,
        }
    })
}

fn compare(has: &str, wanted: &str, how: &str, is_name: bool) -> bool {
    let (low, wanted_low) = (has.to_lowercase(), wanted.to_lowercase());
    match how {
        "contains" => has.contains(wanted),
        "icontains" => low.contains(&wanted_low),
        "startswith" => has.starts_with(wanted),
        "istartswith" => low.starts_with(&wanted_low),
        "endswith" => has.ends_with(wanted),
        "iendswith" => low.ends_with(&wanted_low),
        "iexact" => low == wanted_low,
        _ if is_name => low == wanted_low,
        _ => has == wanted,
    }
}

/// How many of a list are wanted.
fn limit_of(ask: &Ask) -> Result<Option<usize>, Failure> {
    let Some(text) = ask.parameters.first("limit") else { return Ok(None) };
    let wrong = || Failure::BadRequest(format!("Invalid input for field 'limit': '{text}' is not a number"));
    text.parse().map(|limit: usize| Some(limit.min(MOST))).map_err(|_| wrong())
}

/// The part of a list that `limit` and `marker` want, with a link to the rest.
pub(super) fn paged(plural: &str, items: Vec<Value>, ask: &Ask) -> Result<Json<Value>, Failure> {
    let from = match ask.parameters.first("marker").filter(|it| !it.is_empty()) {
        None => 0,
        Some(marker) => {
            let at = items.iter().position(|it| it["id"].as_str() == Some(marker));
            at.map(|at| at + 1).ok_or_else(|| missing("marker", marker))?
        }
    };
    let rest: Vec<Value> = items.into_iter().skip(from).collect();
    Ok(cut(plural, rest, limit_of(ask)?, ask))
}

/// As many as are wanted, with a link to the rest if there is one.
fn cut(plural: &str, mut items: Vec<Value>, limit: Option<usize>, ask: &Ask) -> Json<Value> {
    let more = limit.is_some_and(|limit| items.len() > limit);
    items.truncate(limit.unwrap_or(usize::MAX));
    let last = items.last().and_then(|it| it["id"].as_str()).map(str::to_owned);
    let Json(mut body) = ask.listed(plural, items);
    if let (true, Some(last)) = (more, last) {
        body["links"]["next"] = json!(ask.next(&last));
        body["truncated"] = json!(true);
    }
    Json(body)
}

/// A page the store can cut by itself: only `limit`, `marker` and what it has columns for is asked for.
pub(super) async fn store_page<N: Noun>(ask: &Ask) -> Result<Option<Json<Value>>, Failure> {
    let Some(limit) = limit_of(ask)? else { return Ok(None) };
    let is_column = |key: &str| N::FILTERS.contains(&key) && N::COLUMNS.iter().any(|it| it.name == key);
    if !ask.parameters.0.iter().all(|(key, value)| ["limit", "marker"].contains(&key.as_str()) || (is_column(key) && !value.is_empty())) {
        return Ok(None);
    }
    if ask.caller.domain_id.is_some() && !N::COLUMNS.iter().any(|it| it.name == "domain_id") {
        return Ok(None);
    }
    let mut query = filtered::<N>(ask).limit(u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX));
    if let Some(marker) = ask.parameters.first("marker").filter(|it| !it.is_empty()) {
        query = query.after(&find::<N>(&ask.app, marker).await.map_err(|_| missing("marker", marker))?.id);
    }
    let items = ask.app.store.list(&query).await?.iter().map(|it| shown(it, ask)).collect();
    Ok(Some(cut(N::PLURAL, items, Some(limit), ask)))
}

/// The part of the parameters that the store can filter by.
fn filtered<N: Noun>(ask: &Ask) -> Query<N> {
    let mut query = Query::<N>::new();
    for (key, wanted) in &ask.parameters.0 {
        if N::FILTERS.contains(&key.as_str()) && !wanted.is_empty() && N::COLUMNS.iter().any(|it| it.name == key) {
            query = query.column(key, [wanted.clone()]);
        }
    }
    match ask.caller.domain_id.as_ref().filter(|_| N::COLUMNS.iter().any(|it| it.name == "domain_id")) {
        Some(domain) => query.column("domain_id", [domain.to_string()]),
        None => query,
    }
}

/// The objects the parameters ask the store for; what it cannot filter is filtered when shown.
pub(super) async fn candidates<N: Noun>(ask: &Ask) -> Result<Vec<Object<N>>, Failure> {
    let query = filtered::<N>(ask);
    if let (true, Some(name)) = (N::FILTERS.contains(&"name"), ask.parameters.first("name")) {
        // The exact name first, which the store finds by its index; another case of it is looked for among all.
        let exact = ask.app.store.list(&query.name(name)).await?;
        if !exact.is_empty() {
            return Ok(exact);
        }
        return Box::pin(without_name::<N>(ask)).await;
    }
    Ok(ask.app.store.list(&query).await?)
}

async fn without_name<N: Noun>(ask: &Ask) -> Result<Vec<Object<N>>, Failure> {
    let all = ask.app.store.list(&Query::<N>::new()).await?;
    Ok(all.into_iter().filter(|it| ask.caller.domain_id.is_none() || N::domain(it) == ask.caller.domain_id.as_ref()).collect())
}

/// Checks the parameters of a list.
pub(super) fn check_query(ask: &Ask, schema: &Schema) -> Result<(), Failure> {
    schema.check_query(ask.parameters.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))).map_err(Failure::BadRequest)
}

/// GET /nouns
pub(super) async fn list<N: Noun>(ask: Ask) -> Result<Json<Value>, Failure> {
    let target =
        ask.caller.domain_id.as_ref().map_or_else(|| json!({}), |domain| json!({"domain_id": domain, N::SINGULAR: {"domain_id": domain}}));
    ask.enforce(&format!("identity:list_{}", N::PLURAL), target)?;
    check_query(&ask, N::QUERY)?;
    if let Some(page) = store_page::<N>(&ask).await? {
        return Ok(page);
    }
    let found = candidates::<N>(&ask).await?;
    answer_list(&ask, &found)
}

/// The list of these, filtered and cut as the parameters want.
pub(super) fn answer_list<N: Noun>(ask: &Ask, found: &[Object<N>]) -> Result<Json<Value>, Failure> {
    let items = found.iter().map(|it| shown(it, ask)).filter(|it| kept(it, ask, N::FILTERS)).collect();
    paged(N::PLURAL, items, ask)
}

/// GET /nouns/{id}
pub(super) async fn show<N: Noun>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = permitted::<N>(&ask, &id, &format!("identity:get_{}", N::SINGULAR)).await?;
    Ok(Json(json!({ N::SINGULAR: shown(&found, &ask) })))
}

/// POST /nouns
pub(super) async fn create<N: Noun>(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, N::CREATE)?, N::SINGULAR)?;
    let object = N::blank(&ask, &body)?;
    let made = create_from::<N>(&ask, object, &body, &format!("identity:create_{}", N::SINGULAR)).await?;
    Ok((StatusCode::CREATED, Json(json!({ N::SINGULAR: shown(&made, &ask) }))))
}

/// Makes an object of a body.
pub(super) async fn create_from<N: Noun>(
    ask: &Ask,
    mut object: Object<N>,
    body: &Map<String, Value>,
    rule: &str,
) -> Result<Object<N>, Failure> {
    // As the body has it: a domain that is only implied is none yet, as upstream.
    let mut target = body.clone();
    target.remove("password");
    ask.enforce(rule, json!({ N::SINGULAR: target }))?;
    N::take(ask, &mut object, body, None).await?;
    save::<N>(ask, &object, Batch::wishes()).await?;
    Ok(object)
}

/// Stores a new object with its names.
pub(super) async fn save<N: Noun>(ask: &Ask, object: &Object<N>, batch: Batch<Wishes>) -> Result<(), Failure> {
    let mut batch = N::requires(object, batch);
    for name in N::names(object) {
        batch = batch.hold(&name.pool, &name.value, object.id.as_str());
    }
    if N::NEW_COUNTS {
        batch = batch.bump(EPOCH);
    }
    ask.app.store.apply(batch.create(object)).await.map_err(|error| taken::<N>(error, object))?;
    tracing::info!(id = %object.id, name = object.name, "{} created", N::SINGULAR);
    Ok(())
}

/// What a store's refusal means to who made or changed the object.
fn taken<N: Noun>(error: StoreError, object: &Object<N>) -> Failure {
    match error {
        StoreError::Taken { .. } => Failure::Conflict(format!(
            "Conflict occurred attempting to store {} - Duplicate entry found with name {}.",
            N::SINGULAR,
            object.name
        )),
        StoreError::Exists { .. } => Failure::Conflict(format!(
            "Conflict occurred attempting to store {} - Duplicate entry found with ID {}.",
            N::SINGULAR,
            object.id
        )),
        StoreError::Stale { kind, id } if kind != N::NAME => missing(kind.trim_end_matches('s'), &id),
        other => other.into(),
    }
}

/// PATCH /nouns/{id}
pub(super) async fn update<N: Noun>(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    let object = change::<N>(&ask, &id, &bytes, &format!("identity:update_{}", N::SINGULAR)).await?;
    Ok(Json(json!({ N::SINGULAR: shown(&object, &ask) })))
}

/// Changes an object as a body wants; of changes at once each is made on what the others left.
pub(super) async fn change<N: Noun>(ask: &Ask, id: &str, bytes: &[u8], rule: &str) -> Result<Object<N>, Failure> {
    let mut before = permitted::<N>(ask, id, rule).await?;
    let body = rooted(&body_of(bytes, N::UPDATE)?, N::SINGULAR)?;
    if body.get("id").is_some_and(|it| it.as_str() != Some(id)) {
        return Err(Failure::BadRequest("Cannot change ID".into()));
    }
    for _ in 0..RACES {
        let mut object = before.clone();
        N::take(ask, &mut object, &body, Some(&before)).await?;
        let mut batch = N::along(ask, &before, &object, Batch::wishes()).await?;
        let (old, new) = (N::names(&before), N::names(&object));
        for name in old.iter().filter(|it| !new.iter().any(|other| other.pool == it.pool && other.value == it.value)) {
            batch = batch.free(&name.pool, &name.value);
        }
        for name in new.iter().filter(|it| !old.iter().any(|other| other.pool == it.pool && other.value == it.value)) {
            batch = batch.hold(&name.pool, &name.value, object.id.as_str());
        }
        match ask.app.store.apply(N::requires(&object, batch).want(&object).bump(EPOCH)).await {
            Ok(()) => {
                tracing::info!(id = %object.id, name = object.name, "{} changed", N::SINGULAR);
                return Ok(object);
            }
            Err(StoreError::Stale { kind, .. }) if kind == N::NAME => before = find::<N>(&ask.app, id).await?,
            Err(error) => return Err(taken::<N>(error, &object)),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// DELETE /nouns/{id}
pub(super) async fn delete<N: Noun>(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    remove::<N>(&ask, &id, &format!("identity:delete_{}", N::SINGULAR)).await
}

/// Removes an object with its names and what goes along.
pub(super) async fn remove<N: Noun>(ask: &Ask, id: &str, rule: &str) -> Result<StatusCode, Failure> {
    let mut object = permitted::<N>(ask, id, rule).await?;
    for _ in 0..RACES {
        let mut batch = N::cascade(ask, &object, Batch::wishes()).await?;
        for name in N::names(&object) {
            batch = batch.free(&name.pool, &name.value);
        }
        match ask.app.store.apply(batch.remove(&object).bump(EPOCH)).await {
            Ok(()) => {
                tracing::info!(id = %object.id, name = object.name, "{} deleted", N::SINGULAR);
                return Ok(StatusCode::NO_CONTENT);
            }
            // It, or something that goes with it, changed meanwhile.
            Err(StoreError::Stale { .. }) => object = find::<N>(&ask.app, id).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// Values of bodies that fit their schema.
pub(super) mod read {
    use serde_json::{Map, Value};

    /// Text, if it is there.
    pub(in super::super) fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
        body.get(key).and_then(Value::as_str).map(str::to_owned)
    }

    /// Text into its place, if the body has the key; null takes it away.
    pub(in super::super) fn put(place: &mut Option<String>, body: &Map<String, Value>, key: &str) {
        if let Some(value) = body.get(key) {
            *place = value.as_str().map(str::to_owned);
        }
    }

    /// A boolean into its place, if the body has one.
    pub(in super::super) fn put_bool(place: &mut bool, body: &Map<String, Value>, key: &str) {
        if let Some(value) = body.get(key).and_then(super::truth) {
            *place = value;
        }
    }

    /// The attributes none of `known`: stored and shown as they are. Null takes one away.
    pub(in super::super) fn extra(place: &mut Map<String, Value>, body: &Map<String, Value>, known: &[&str]) {
        for (key, value) in body {
            if !known.contains(&key.as_str()) && key != "id" && key != "links" {
                place.insert(key.clone(), value.clone());
            }
        }
    }

    /// `options.immutable` into its place.
    pub(in super::super) fn immutable(place: &mut Option<bool>, body: &Map<String, Value>) {
        if let Some(value) = body.get("options").and_then(|it| it.get("immutable")) {
            *place = value.as_bool();
        }
    }
}

/// A boolean as bodies may spell it.
fn truth(value: &Value) -> Option<bool> {
    value::boolean(value).ok()
}

/// A name without the blanks around it.
///
/// # Errors
/// `BadRequest` if nothing is left.
pub(super) fn trimmed(name: &str) -> Result<String, Failure> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Failure::BadRequest("Invalid input for field 'name': '' should be non-empty".into()));
    }
    Ok(name.to_owned())
}

/// The texts of a list.
pub(super) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
