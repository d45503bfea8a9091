//! Endpoints: where services are.
//!
//! An endpoint whose URL begins with `/` is this server's own and shown below the address by which the client came. Clients cannot make
//! one: what they give has a scheme.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::{Endpoint, EndpointDesired, PolicyAssociation, ProjectEndpoint, Service};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, body_of, rooted};
use super::noun::{self, Noun, read};
use super::{catalog, regions, schemas};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

impl Noun for Endpoint {
    const SINGULAR: &'static str = "endpoint";
    const PLURAL: &'static str = "endpoints";
    const CREATE: &'static Schema = &schemas::ENDPOINT_CREATE;
    const UPDATE: &'static Schema = &schemas::ENDPOINT_UPDATE;
    const FILTERS: &'static [&'static str] = &["interface", "service_id", "region_id"];
    const QUERY: &'static Schema = &schemas::ENDPOINT_INDEX_QUERY;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = EndpointDesired {
            service_id: service_of(body)?.ok_or_else(no_service)?,
            region_id: None,
            interface: String::new(),
            url: String::new(),
            enabled: true,
            extra: Map::new(),
        };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        let url = read::text(body, "url");
        // What was made is not looked at again, as in Keystone: a URL nothing can be put into is left out of catalogs.
        if let (None, Some(url)) = (before, &url)
            && !catalog::is_template(url)
        {
            return Err(Failure::BadRequest(format!("Cannot create an endpoint with an invalid URL: {url}.")));
        }
        if let Some(service) = service_of(body)? {
            if ask.app.store.get::<Service>(&service).await?.is_none() {
                return Err(no_service());
            }
            object.desired.service_id = service;
        }
        put_region(ask, object, body).await?;
        let desired = &mut object.desired;
        if let Some(interface) = read::text(body, "interface") {
            desired.interface = interface;
        }
        if let Some(url) = url {
            desired.url = url;
        }
        read::put_bool(&mut desired.enabled, body, "enabled");
        read::extra(&mut desired.extra, body, &["service_id", "region_id", "region", "interface", "url", "enabled"]);
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = desired.extra.clone();
        for (key, value) in [
            ("service_id", json!(desired.service_id)),
            ("region_id", json!(desired.region_id)),
            ("region", json!(desired.region_id)),
            ("interface", json!(desired.interface)),
            ("url", json!(desired.url)),
            ("enabled", json!(desired.enabled)),
        ] {
            shown.insert(key.into(), value);
        }
        shown
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        let batch = batch.require(&object.desired.service_id);
        match &object.desired.region_id {
            Some(region) => batch.require(region),
            None => batch,
        }
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        with_all_of(ask, object, batch).await
    }
}

/// What goes with an endpoint.
pub(super) async fn with_all_of(ask: &Ask, object: &Object<Endpoint>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let store = &ask.app.store;
    let id = object.id.to_string();
    let seen = store.list(&Query::<ProjectEndpoint>::new().column("endpoint_id", [id.clone()])).await?;
    let batch = seen.iter().fold(batch, Batch::remove);
    let policies = store.list(&Query::<PolicyAssociation>::new().column("endpoint_id", [id])).await?;
    Ok(policies.iter().fold(batch, Batch::remove))
}

fn lacking(what: &str, table: &str) -> Failure {
    Failure::BadRequest(format!(
        "Expecting to find endpoint {what} in {table} table. The server could not comply with the request since it is either malformed or \
         otherwise incorrect. The client is assumed to be in error."
    ))
}

fn no_service() -> Failure {
    lacking("service_id", "service")
}

fn service_of(body: &Map<String, Value>) -> Result<Option<Id<Service>>, Failure> {
    body.get("service_id").and_then(Value::as_str).map(|it| Id::parse(it).ok_or_else(no_service)).transpose()
}

/// Takes the region: by `region_id` it must be there, by the older `region` it is made if it is not.
async fn put_region(ask: &Ask, object: &mut Object<Endpoint>, body: &Map<String, Value>) -> Result<(), Failure> {
    let store = &ask.app.store;
    if let Some(text) = body.get("region_id").and_then(Value::as_str) {
        let id = Id::parse(text).ok_or_else(|| lacking("region_id", "region"))?;
        if store.get(&id).await?.is_none() {
            return Err(lacking("region_id", "region"));
        }
        object.desired.region_id = Some(id);
    } else if let Some(text) = body.get("region").and_then(Value::as_str) {
        let id = regions::of_name(text)?;
        if store.get(&id).await?.is_none() {
            match store.apply(Batch::wishes().create(&regions::new(id.clone()))).await {
                Ok(()) => tracing::info!(%id, "region created for an endpoint"),
                Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        object.desired.region_id = Some(id);
    } else if body.contains_key("region_id") {
        object.desired.region_id = None;
    }
    Ok(())
}

/// The endpoint in the form of an answer.
pub(super) fn shown(object: &Object<Endpoint>, ask: &Ask) -> Value {
    let mut shown = noun::shown(object, ask);
    shown["url"] = json!(catalog::absolute(&object.desired.url, &ask.origin));
    shown
}

fn answered(object: &Object<Endpoint>, ask: &Ask) -> Json<Value> {
    Json(json!({"endpoint": shown(object, ask)}))
}

/// GET /endpoints
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_endpoints", json!({}))?;
    noun::check_query(&ask, Endpoint::QUERY)?;
    let found = noun::candidates::<Endpoint>(&ask).await?;
    answer_list(&ask, &found)
}

/// The list of these, filtered and cut as the parameters want.
pub(super) fn answer_list<'a>(ask: &Ask, found: impl IntoIterator<Item = &'a Object<Endpoint>>) -> Result<Json<Value>, Failure> {
    let items = found.into_iter().map(|it| shown(it, ask)).filter(|it| noun::kept(it, ask, Endpoint::FILTERS)).collect();
    noun::paged("endpoints", items, ask)
}

/// POST /endpoints
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, Endpoint::CREATE)?, "endpoint")?;
    ask.enforce("identity:create_endpoint", json!({ "endpoint": body }))?;
    let object = Endpoint::blank(&ask, &body)?;
    let made = noun::create_from::<Endpoint>(&ask, object, &body, "identity:create_endpoint").await?;
    Ok((StatusCode::CREATED, answered(&made, &ask)))
}

/// GET /endpoints/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    Ok(answered(&noun::permitted::<Endpoint>(&ask, &id, "identity:get_endpoint").await?, &ask))
}

/// PATCH /endpoints/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    Ok(answered(&noun::change::<Endpoint>(&ask, &id, &bytes, "identity:update_endpoint").await?, &ask))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/endpoints", get(list).post(create))
        .route("/endpoints/{id}", get(show).patch(update).delete(noun::delete::<Endpoint>))
}
