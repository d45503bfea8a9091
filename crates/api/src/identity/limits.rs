//! Limits: how much of a service's resource a project or domain may have. What is usual is a registered limit; a limit departs from one.
//! They are kept for services, which enforce them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::access::{LimitDesired, RegisteredLimitDesired};
use model::identity::{Domain, Limit, Project, Region, RegisteredLimit, Service};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, body_of, missing};
use super::credentials::expected;
use super::noun::{self, Name, Noun, name_in, read};
use super::schemas;
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

impl Noun for RegisteredLimit {
    const SINGULAR: &'static str = "registered_limit";
    const PLURAL: &'static str = "registered_limits";
    const CREATE: &'static Schema = &schemas::REGISTERED_LIMITS_CREATE;
    const UPDATE: &'static Schema = &schemas::REGISTERED_LIMIT_UPDATE;
    const FILTERS: &'static [&'static str] = &["service_id", "region_id", "resource_name"];
    const QUERY: &'static Schema = &schemas::REGISTERED_LIMIT_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let service = body.get("service_id").and_then(Value::as_str).and_then(Id::parse);
        let desired = RegisteredLimitDesired {
            service_id: service.ok_or_else(|| expected("service_id", Self::SINGULAR))?,
            region_id: None,
            resource_name: String::new(),
            default_limit: 0,
            description: None,
        };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        if let Some(service) = body.get("service_id").and_then(Value::as_str) {
            object.desired.service_id = service_in(ask, service, Self::SINGULAR).await?;
        }
        if let Some(region) = body.get("region_id") {
            object.desired.region_id = region_in(ask, region.as_str(), Self::SINGULAR).await?;
        }
        if let Some(name) = read::text(body, "resource_name") {
            object.name.clone_from(&name);
            object.desired.resource_name = name;
        }
        if let Some(limit) = body.get("default_limit").and_then(Value::as_i64) {
            object.desired.default_limit = limit;
        }
        read::put(&mut object.desired.description, body, "description");
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        Map::from_iter([
            ("service_id".to_owned(), json!(desired.service_id)),
            ("region_id".to_owned(), json!(desired.region_id)),
            ("resource_name".to_owned(), json!(desired.resource_name)),
            ("default_limit".to_owned(), json!(desired.default_limit)),
            ("description".to_owned(), json!(desired.description)),
        ])
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        let region = object.desired.region_id.as_ref().map_or("", |it| it.as_str());
        vec![name_in::<Self>(object.desired.service_id.as_str(), &format!("{region}/{}", object.desired.resource_name))]
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        let batch = batch.require(&object.desired.service_id);
        match &object.desired.region_id {
            Some(region) => batch.require(region),
            None => batch,
        }
    }

    async fn along(ask: &Ask, before: &Object<Self>, _: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        unless_departed_from(ask, &before.id, batch).await
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        unless_departed_from(ask, &object.id, batch).await
    }
}

/// What limits depart from neither changes nor goes.
async fn unless_departed_from(ask: &Ask, id: &Id<RegisteredLimit>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let limits = Query::<Limit>::new().column("registered_limit_id", [id.to_string()]);
    if ask.app.store.count(&limits).await? > 0 {
        return Err(Failure::Forbidden(format!(
            "Unable to update or delete registered limit {id} because there are project limits associated with it."
        )));
    }
    Ok(batch.unless_referenced::<Limit>("registered_limit_id", id.as_str()))
}

async fn service_in(ask: &Ask, id: &str, within: &str) -> Result<Id<Service>, Failure> {
    Ok(noun::get::<Service>(&ask.app, id).await?.ok_or_else(|| expected("service_id", within))?.id)
}

async fn region_in(ask: &Ask, id: Option<&str>, within: &str) -> Result<Option<Id<Region>>, Failure> {
    match id {
        Some(id) => Ok(Some(noun::get::<Region>(&ask.app, id).await?.ok_or_else(|| expected("region_id", within))?.id)),
        None => Ok(None),
    }
}

fn objects_in<'a>(body: &'a Map<String, Value>, plural: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    body.get(plural).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn duplicate(what: &str) -> Failure {
    Failure::Conflict(format!("Conflict occurred attempting to store {what} - Duplicate entry."))
}

/// POST /registered_limits: all of them or none.
async fn register(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = body_of(&bytes, RegisteredLimit::CREATE)?;
    ask.enforce("identity:create_registered_limits", json!({}))?;
    let mut batch = Batch::wishes();
    let mut made = Vec::new();
    for wanted in objects_in(&body, RegisteredLimit::PLURAL) {
        let mut object = RegisteredLimit::blank(&ask, wanted)?;
        RegisteredLimit::take(&ask, &mut object, wanted, None).await?;
        batch = RegisteredLimit::requires(&object, batch);
        for name in RegisteredLimit::names(&object) {
            batch = batch.hold(&name.pool, &name.value, object.id.as_str());
        }
        batch = batch.create(&object);
        made.push(object);
    }
    match ask.app.store.apply(batch).await {
        Ok(()) => {}
        Err(StoreError::Taken { .. }) => return Err(duplicate(RegisteredLimit::SINGULAR)),
        Err(error) => return Err(error.into()),
    }
    let items: Vec<Value> = made.iter().map(|it| noun::shown(it, &ask)).collect();
    Ok((StatusCode::CREATED, Json(json!({ RegisteredLimit::PLURAL: items }))))
}

impl Noun for Limit {
    const SINGULAR: &'static str = "limit";
    const PLURAL: &'static str = "limits";
    const CREATE: &'static Schema = &schemas::LIMITS_CREATE;
    const UPDATE: &'static Schema = &schemas::LIMIT_UPDATE;
    const FILTERS: &'static [&'static str] = &["service_id", "region_id", "resource_name", "project_id", "domain_id"];
    const QUERY: &'static Schema = &schemas::LIMIT_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    /// What it departs from and whose it is are for [`departure`] to find.
    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        Err(Failure::BadRequest("A limit needs a registered limit.".into()))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        if let Some(limit) = body.get("resource_limit").and_then(Value::as_i64) {
            object.desired.resource_limit = limit;
        }
        read::put(&mut object.desired.description, body, "description");
        Ok(())
    }

    /// Without what the registered limit says.
    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        Map::from_iter([
            ("project_id".to_owned(), json!(desired.of_project)),
            ("domain_id".to_owned(), json!(desired.domain_id)),
            ("resource_limit".to_owned(), json!(desired.resource_limit)),
            ("description".to_owned(), json!(desired.description)),
        ])
    }
}

/// A new limit as a body wants it.
async fn departure(ask: &Ask, body: &Map<String, Value>) -> Result<Object<Limit>, Failure> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let service = service_in(ask, text("service_id").unwrap_or_default(), Limit::SINGULAR).await?;
    let region = region_in(ask, text("region_id"), Limit::SINGULAR).await?;
    let (mut of_project, mut of_domain) = (None, text("domain_id"));
    if let Some(id) = text("project_id") {
        match noun::get::<Project>(&ask.app, id).await? {
            Some(project) => of_project = Some(project.id),
            // A domain is a project, too, and its limit is the domain's.
            None if noun::get::<Domain>(&ask.app, id).await?.is_some() => of_domain = Some(id),
            None => return Err(expected("project_id", Limit::SINGULAR)),
        }
    }
    let domain_id = match of_domain {
        Some(id) => Some(noun::get::<Domain>(&ask.app, id).await?.ok_or_else(|| expected("domain_id", Limit::SINGULAR))?.id),
        None => None,
    };
    let whose = match (&of_project, &domain_id) {
        (Some(project), None) => format!("project/{project}"),
        (None, Some(domain)) => format!("domain/{domain}"),
        _ => return Err(expected("project_id", Limit::SINGULAR)),
    };
    let registered = Query::<RegisteredLimit>::new().column("service_id", [service.to_string()]);
    let registered = registered.column("resource_name", [text("resource_name").unwrap_or_default().to_owned()]);
    let registered = match &region {
        Some(region) => registered.column("region_id", [region.to_string()]),
        None => registered.unset("region_id"),
    };
    let registered = ask.app.store.list(&registered).await?.into_iter().next();
    let registered_limit_id = registered.ok_or_else(no_reference)?.id;
    // A project departs from a registered limit once: its id says from which it does.
    let id = Id::<()>::derived(&format!("limit/{registered_limit_id}/{whose}")).as_str().replace('-', "");
    let id = Id::parse(&id).unwrap_or_else(Id::random_hex);
    let desired = LimitDesired { registered_limit_id, of_project, domain_id, resource_limit: 0, description: None };
    let mut object = Object::new(id, None, "", desired);
    Limit::take(ask, &mut object, body, None).await?;
    Ok(object)
}

fn no_reference() -> Failure {
    Failure::Forbidden("Unable to create a limit that has no corresponding registered limit.".into())
}

/// Limits in the form of an answer, with what their registered limits say.
async fn shown(ask: &Ask, limits: &[Object<Limit>]) -> Result<Vec<Value>, Failure> {
    let ids: BTreeSet<String> = limits.iter().map(|it| it.desired.registered_limit_id.to_string()).collect();
    let registered = match ids.is_empty() {
        true => Vec::new(),
        false => ask.app.store.list(&Query::<RegisteredLimit>::new().ids(ids)).await?,
    };
    let registered: BTreeMap<Id<RegisteredLimit>, Object<RegisteredLimit>> = registered.into_iter().map(|it| (it.id.clone(), it)).collect();
    let whole = |limit: &Object<Limit>| {
        let usual = registered.get(&limit.desired.registered_limit_id).map(|it| &it.desired);
        let mut shown = noun::shown(limit, ask);
        shown["service_id"] = json!(usual.map(|it| &it.service_id));
        shown["region_id"] = json!(usual.and_then(|it| it.region_id.as_ref()));
        shown["resource_name"] = json!(usual.map(|it| &it.resource_name));
        shown
    };
    Ok(limits.iter().map(whole).collect())
}

async fn answer(ask: &Ask, limit: Object<Limit>) -> Result<Json<Value>, Failure> {
    let shown = shown(ask, &[limit]).await?.into_iter().next();
    Ok(Json(json!({ Limit::SINGULAR: shown })))
}

/// GET /limits: all for administrators and services, a domain's for its token, the project's own for a project's.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_limits", json!({}))?;
    noun::check_query(&ask, Limit::QUERY)?;
    let store = &ask.app.store;
    let mut query = Query::<Limit>::new();
    for (column, parameter) in [("of_project", "project_id"), ("domain_id", "domain_id")] {
        if let Some(wanted) = ask.parameters.first(parameter).filter(|it| !it.is_empty()) {
            query = query.column(column, [wanted.to_owned()]);
        }
    }
    let caller = &ask.caller;
    let found = if caller.system || crate::enforce::allows(&ask.app, caller, "service_or_admin", &json!({})) {
        store.list(&query).await?
    } else if let Some(domain) = &caller.domain_id {
        let projects = store.list(&Query::<Project>::new().column("domain_id", [domain.to_string()])).await?;
        let projects: BTreeSet<Id<Project>> = projects.into_iter().map(|it| it.id).collect();
        let within = |it: &Object<Limit>| {
            it.desired.domain_id.as_ref() == Some(domain) || it.desired.of_project.as_ref().is_some_and(|id| projects.contains(id))
        };
        store.list(&query).await?.into_iter().filter(within).collect()
    } else if let Some(project) = &caller.project_id {
        store.list(&query.column("of_project", [project.to_string()])).await?
    } else {
        Vec::new()
    };
    let items = shown(&ask, &found).await?.into_iter().filter(|it| noun::kept(it, &ask, Limit::FILTERS)).collect();
    noun::paged(Limit::PLURAL, items, &ask)
}

/// POST /limits: all of them or none.
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = body_of(&bytes, Limit::CREATE)?;
    ask.enforce("identity:create_limits", json!({}))?;
    let mut batch = Batch::wishes();
    let mut made = Vec::new();
    for wanted in objects_in(&body, Limit::PLURAL) {
        let object = departure(&ask, wanted).await?;
        batch = batch.require(&object.desired.registered_limit_id);
        batch = object.desired.of_project.iter().fold(batch, Batch::require);
        batch = object.desired.domain_id.iter().fold(batch, Batch::require);
        batch = batch.create(&object);
        made.push(object);
    }
    match ask.app.store.apply(batch).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => return Err(duplicate(Limit::SINGULAR)),
        Err(error) => return Err(error.into()),
    }
    Ok((StatusCode::CREATED, Json(json!({ Limit::PLURAL: shown(&ask, &made).await? }))))
}

/// GET /limits/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = noun::get::<Limit>(&ask.app, &id).await?;
    let mut target = noun::target_of(found.as_ref());
    let desired = found.as_ref().map(|it| &it.desired);
    if let Some(project) = desired.and_then(|it| it.of_project.as_ref())
        && let Some(project) = ask.app.store.get(project).await?
    {
        target[Limit::SINGULAR]["project"] = Project::target(&project);
    }
    if let Some(domain) = desired.and_then(|it| it.domain_id.as_ref()) {
        target[Limit::SINGULAR]["domain"] = json!({"id": domain});
    }
    ask.enforce("identity:get_limit", target)?;
    answer(&ask, found.ok_or_else(|| missing(Limit::SINGULAR, &id))?).await
}

/// PATCH /limits/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    let changed = noun::change::<Limit>(&ask, &id, &bytes, "identity:update_limit").await?;
    answer(&ask, changed).await
}

/// GET /limits/model: how limits are to be enforced.
async fn model(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_limit_model", json!({}))?;
    let description = "Limit enforcement and validation does not take project hierarchy into consideration.";
    Ok(Json(json!({"model": {"name": "flat", "description": description}})))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/registered_limits", get(noun::list::<RegisteredLimit>).post(register))
        .route(
            "/registered_limits/{id}",
            get(noun::show::<RegisteredLimit>).patch(noun::update::<RegisteredLimit>).delete(noun::delete::<RegisteredLimit>),
        )
        .route("/limits", get(list).post(create))
        .route("/limits/model", get(model))
        .route("/limits/{id}", get(show).patch(update).delete(noun::delete::<Limit>))
}
