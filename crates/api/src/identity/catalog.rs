//! The catalog: which services there are and where.

use axum::Json;
use axum::extract::Path;
use model::identity::{Endpoint, Region, Service};
use model::{Id, Kind, Object};
use serde_json::{Value, json};
use store::Query;

use super::{Ask, linked, listed};
use crate::App;
use crate::failure::Failure;

/// The catalog of a token. Our own endpoints are below the address by which the client came.
pub(super) async fn catalog(app: &App, origin: &str) -> Result<Value, Failure> {
    let endpoints = app.store.list(&Query::<Endpoint>::new()).await?;
    let services = app.store.list(&Query::<Service>::new()).await?;
    let of = |service: &Object<Service>| -> Vec<Value> {
        let its = endpoints.iter().filter(|it| it.desired.service_id == service.id && it.desired.enabled);
        its.map(|it| {
            let region = &it.desired.region_id;
            json!({"id": it.id, "interface": it.desired.interface, "region": region, "region_id": region, "url": absolute(&it.desired.url, origin)})
        })
        .collect()
    };
    let shown = services
        .iter()
        .filter(|it| it.desired.enabled)
        .map(|it| json!({"id": it.id, "type": it.desired.service_type, "name": it.name, "endpoints": of(it)}));
    Ok(Value::Array(shown.collect()))
}

fn absolute(url: &str, origin: &str) -> String {
    if url.starts_with('/') { format!("{origin}{url}") } else { url.to_owned() }
}

fn show_region(it: &Object<Region>, ask: &Ask) -> Value {
    linked(json!({"id": it.id, "description": it.desired.description, "parent_region_id": it.desired.parent_region_id}), "regions", ask)
}

fn show_service(it: &Object<Service>, ask: &Ask) -> Value {
    let shown = json!({"id": it.id, "name": it.name, "type": it.desired.service_type, "description": it.desired.description, "enabled": it.desired.enabled});
    linked(shown, "services", ask)
}

fn show_endpoint(it: &Object<Endpoint>, ask: &Ask) -> Value {
    let region = &it.desired.region_id;
    let shown = json!({
        "id": it.id, "service_id": it.desired.service_id, "interface": it.desired.interface, "region": region, "region_id": region,
        "url": absolute(&it.desired.url, &ask.origin), "enabled": it.desired.enabled,
    });
    linked(shown, "endpoints", ask)
}

async fn all<K: Kind>(ask: &Ask, plural: &str, show: fn(&Object<K>, &Ask) -> Value) -> Result<Json<Value>, Failure> {
    ask.caller.require_role("reader")?;
    let found = ask.app.store.list(&Query::<K>::new()).await?;
    let items = found.iter().map(|it| show(it, ask)).filter(|it| kept(it, ask)).collect();
    Ok(listed(plural, items, ask))
}

/// Filters: any plain field of what is shown.
fn kept(shown: &Value, ask: &Ask) -> bool {
    ask.parameters.0.iter().all(|(key, wanted)| match shown.get(key) {
        Some(Value::String(has)) => has == wanted,
        Some(Value::Bool(has)) => has.to_string().eq_ignore_ascii_case(wanted),
        Some(_) | None => true,
    })
}

async fn one<K: Kind>(ask: &Ask, id: &str, singular: &str, show: fn(&Object<K>, &Ask) -> Value) -> Result<Json<Value>, Failure> {
    ask.caller.require_role("reader")?;
    let found = match Id::<K>::parse(id) {
        Some(id) => ask.app.store.get(&id).await?,
        None => None,
    };
    let found = found.ok_or_else(|| Failure::not_found(singular, id))?;
    Ok(Json(json!({ singular: show(&found, ask) })))
}

/// GET /regions
pub(super) async fn regions(ask: Ask) -> Result<Json<Value>, Failure> {
    all::<Region>(&ask, "regions", show_region).await
}

/// GET /regions/{id}
pub(super) async fn region(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    one::<Region>(&ask, &id, "region", show_region).await
}

/// GET /services
pub(super) async fn services(ask: Ask) -> Result<Json<Value>, Failure> {
    all::<Service>(&ask, "services", show_service).await
}

/// GET /services/{id}
pub(super) async fn service(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    one::<Service>(&ask, &id, "service", show_service).await
}

/// GET /endpoints
pub(super) async fn endpoints(ask: Ask) -> Result<Json<Value>, Failure> {
    all::<Endpoint>(&ask, "endpoints", show_endpoint).await
}

/// GET /endpoints/{id}
pub(super) async fn endpoint(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    one::<Endpoint>(&ask, &id, "endpoint", show_endpoint).await
}
