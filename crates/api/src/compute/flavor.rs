//! `/v2.1/flavors`: what machines there are to ask for.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::container_infra::{Cluster, ClusterTemplate};
use model::image_compute::Flavor;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError};

use super::policies::of_project;
use super::{Ask, wire};
use crate::App;
use crate::caller::Caller;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::microversion::Version;
use crate::page::{self, Parameters};

/// Allocation pool of the names of flavors.
const NAME_POOL: &str = "flavor-name";

/// Projects cannot be given access to a flavor one by one here, so one that is not public is the administrators'.
fn sees(app: &App, caller: &Caller, flavor: &Object<Flavor>) -> bool {
    flavor.desired.is_public || manages(app, caller)
}

fn manages(app: &App, caller: &Caller) -> bool {
    allows(app, caller, "compute:context_is_admin", &json!({}))
}

/// Refuses whom the rule does not let.
fn require(ask: &Ask, rule: &str) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, &of_project(ask.caller.project_id.as_ref()))
}

/// The flavor as its detail is shown: with extra specs to those who may list them.
fn detail(ask: &Ask, flavor: &Object<Flavor>) -> Value {
    let mut out = wire::flavor(flavor, ask.version, &ask.base);
    let target = of_project(ask.caller.project_id.as_ref());
    if let Some(map) = out.as_object_mut().filter(|_| !allows(&ask.app, &ask.caller, "os_compute_api:os-flavor-extra-specs:index", &target))
    {
        map.remove("extra_specs");
    }
    out
}

/// The flavor of that id or, if there is none, of that name.
pub(crate) async fn find(app: &App, caller: &Caller, ident: &str) -> Result<Option<Object<Flavor>>, Failure> {
    if let Some(id) = Id::parse(ident)
        && let Some(flavor) = app.store.get(&id).await?
    {
        return Ok(Some(flavor).filter(|flavor| sees(app, caller, flavor)));
    }
    let named = app.store.list(&Query::<Flavor>::new().name(ident)).await?;
    Ok(named.into_iter().find(|flavor| sees(app, caller, flavor)))
}

async fn flavor(ask: &Ask, id: &str) -> Result<Object<Flavor>, Failure> {
    let found = match Id::parse(id) {
        Some(id) => ask.app.store.get::<Flavor>(&id).await?,
        None => None,
    };
    found.filter(|flavor| sees(&ask.app, &ask.caller, flavor)).ok_or_else(|| Failure::not_found("Flavor", id))
}

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, "flavors", |ask, flavor| wire::flavor_brief(flavor, ask.version, &ask.base)).await
}

pub(super) async fn list_detail(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, "flavors/detail", detail).await
}

async fn listing(
    ask: &Ask,
    query: &HashMap<String, String>,
    path: &str,
    show: fn(&Ask, &Object<Flavor>) -> Value,
) -> Result<Response, Failure> {
    let mut flavors: Vec<Object<Flavor>> = ask.app.store.list(&Query::<Flavor>::new()).await?;
    flavors.retain(|flavor| sees(&ask.app, &ask.caller, flavor));
    let number = |key: &str| match query.get(key) {
        None => Ok(0),
        Some(text) => text.parse::<u64>().map_err(|_| Failure::BadRequest(format!("Invalid {key} filter [{text}]"))),
    };
    let (least_ram, least_disk) = (number("minRam")?, number("minDisk")?);
    flavors.retain(|flavor| flavor.desired.ram_mib >= least_ram && flavor.desired.disk_gib >= least_disk);
    // Without the parameter administrators too see the public ones only; `None` means all.
    let asked = query.get("is_public").map(|it| it.to_ascii_lowercase());
    let wanted = if asked.as_deref() == Some("none") { None } else { Some(page::flag(query, "is_public")?.unwrap_or(true)) };
    if let Some(public) = wanted.filter(|_| manages(&ask.app, &ask.caller)) {
        flavors.retain(|flavor| flavor.desired.is_public == public);
    }
    let key: fn(&Object<Flavor>) -> (u64, String) = match query.get("sort_key").map_or("flavorid", String::as_str) {
        "memory_mb" => |it| (it.desired.ram_mib, it.id.to_string()),
        "root_gb" => |it| (it.desired.disk_gib, it.id.to_string()),
        "vcpus" => |it| (it.desired.vcpus, it.id.to_string()),
        "name" => |it| (0, it.name.clone()),
        "created_at" => |it| (u64::try_from(it.created_at.0).unwrap_or(0), it.id.to_string()),
        "flavorid" | "id" => |it| (0, it.id.to_string()),
        other => return Err(Failure::BadRequest(format!("Invalid input for query parameters sort_key. Value: {other}."))),
    };
    flavors.sort_by_key(key);
    if page::descending(query)? {
        flavors.reverse();
    }
    let (flavors, next) = page::cut(flavors, query, |flavor| flavor.id.as_str())?;
    let items: Vec<Value> = flavors.iter().map(|flavor| show(ask, flavor)).collect();
    let mut out = Map::from_iter([("flavors".to_owned(), Value::Array(items))]);
    if let Some(marker) = next {
        let href = page::next(&format!("{}/v2.1/{path}", ask.base), query, &marker);
        out.insert("flavors_links".into(), json!([{"rel": "next", "href": href}]));
    }
    Ok(Json(Value::Object(out)).into_response())
}

fn one(ask: &Ask, flavor: &Object<Flavor>) -> Response {
    Json(json!({ "flavor": detail(ask, flavor) })).into_response()
}

pub(super) async fn show(ask: Ask, Path(id): Path<String>) -> Result<Response, Failure> {
    Ok(one(&ask, &flavor(&ask, &id).await?))
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    require(&ask, "os_compute_api:os-flavor-manage:create")?;
    let flavor = wire::new_flavor(&body, ask.version).map_err(Failure::BadRequest)?;
    let batch = Batch::wishes().hold(NAME_POOL, &flavor.name, flavor.id.as_str()).create(&flavor);
    match ask.app.store.apply(batch).await {
        Ok(()) => Ok(one(&ask, &flavor)),
        Err(StoreError::Taken { .. }) => Err(Failure::Conflict(format!("Flavor with name {} already exists.", flavor.name))),
        Err(StoreError::Exists { .. }) => Err(Failure::Conflict(format!("Flavor with ID {} already exists.", flavor.id))),
        Err(error) => Err(error.into()),
    }
}

/// Reads the flavor, changes it, writes it; again if somebody else was faster.
async fn change(
    ask: &Ask,
    rule: &str,
    id: &str,
    decide: impl Fn(&mut Object<Flavor>) -> Result<(), Failure>,
) -> Result<Object<Flavor>, Failure> {
    require(ask, rule)?;
    for _ in 0..crate::race::RACES {
        let mut flavor = flavor(ask, id).await?;
        decide(&mut flavor)?;
        match ask.app.store.apply(Batch::wishes().want(&flavor)).await {
            Ok(()) => return Ok(flavor),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("Flavor {id} is being changed by others; try again.")))
}

/// `PUT`, since 2.55: the description is all that can be changed.
pub(super) async fn describe(ask: Ask, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    if ask.version < Version(2, 55) {
        return Err(Failure::NoRoute);
    }
    let map = body.get("flavor").and_then(Value::as_object);
    let text = map.filter(|map| map.len() == 1).and_then(|map| map.get("description"));
    let text = match text {
        Some(Value::Null) => None,
        Some(Value::String(text)) if text.chars().count() <= 65_535 => Some(text.clone()),
        _ => {
            return Err(Failure::BadRequest(
                "the body is {\"flavor\": {\"description\": …}} with a string of at most 65535 characters".into(),
            ));
        }
    };
    let flavor = change(&ask, "os_compute_api:os-flavor-manage:update", &id, |flavor| {
        flavor.desired.description.clone_from(&text);
        Ok(())
    })
    .await?;
    Ok(one(&ask, &flavor))
}

pub(super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<Response, Failure> {
    require(&ask, "os_compute_api:os-flavor-manage:delete")?;
    for _ in 0..crate::race::RACES {
        let flavor = flavor(&ask, &id).await?;
        in_use(&ask, &flavor).await?;
        match ask.app.store.apply(Batch::wishes().free(NAME_POOL, &flavor.name).remove(&flavor)).await {
            Ok(()) => return Ok(StatusCode::ACCEPTED.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("Flavor {id} is being changed by others; try again.")))
}

/// A cluster asks its flavors again whenever it takes a machine.
async fn in_use(ask: &Ask, flavor: &Object<Flavor>) -> Result<(), Failure> {
    let clusters = ask.app.store.list(&Query::<Cluster>::new().with_deleted()).await?;
    if clusters.iter().any(|it| it.desired.flavor_id == flavor.id || it.desired.master_flavor_id == flavor.id) {
        return Err(Failure::Conflict(format!("Flavor {} is in use by a cluster.", flavor.id)));
    }
    let templates = ask.app.store.list(&Query::<ClusterTemplate>::new()).await?;
    let uses = |it: &Object<ClusterTemplate>| {
        [&it.desired.flavor_id, &it.desired.master_flavor_id].iter().any(|id| id.as_ref() == Some(&flavor.id))
    };
    if templates.iter().any(uses) {
        return Err(Failure::Conflict(format!("Flavor {} is in use by a cluster template.", flavor.id)));
    }
    Ok(())
}

pub(super) async fn specs(ask: Ask, Path(id): Path<String>) -> Result<Response, Failure> {
    require(&ask, "os_compute_api:os-flavor-extra-specs:index")?;
    let flavor = flavor(&ask, &id).await?;
    Ok(Json(json!({ "extra_specs": flavor.desired.extra_specs })).into_response())
}

pub(super) async fn spec(ask: Ask, Path((id, key)): Path<(String, String)>) -> Result<Response, Failure> {
    require(&ask, "os_compute_api:os-flavor-extra-specs:show")?;
    let flavor = flavor(&ask, &id).await?;
    let value = flavor.desired.extra_specs.get(&key).ok_or_else(|| Failure::not_found("Extra spec", &key))?;
    Ok(Json(json!({ key: value })).into_response())
}

pub(super) async fn add_specs(ask: Ask, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let specs = body.get("extra_specs").ok_or_else(|| Failure::BadRequest("'extra_specs' is a required property".into()))?;
    let specs = wire::extra_specs(specs).map_err(Failure::BadRequest)?;
    change(&ask, "os_compute_api:os-flavor-extra-specs:create", &id, |flavor| {
        flavor.desired.extra_specs.extend(specs.clone());
        if flavor.desired.extra_specs.len() > 128 {
            return Err(Failure::BadRequest("a flavor has at most 128 extra specs".into()));
        }
        Ok(())
    })
    .await?;
    Ok(Json(json!({ "extra_specs": specs })).into_response())
}

pub(super) async fn put_spec(ask: Ask, Path((id, key)): Path<(String, String)>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let specs = wire::extra_specs(&body).map_err(Failure::BadRequest)?;
    let value = specs.get(&key).filter(|_| specs.len() == 1).cloned();
    let value = value.ok_or_else(|| Failure::BadRequest("Request body and URI mismatch".into()))?;
    change(&ask, "os_compute_api:os-flavor-extra-specs:update", &id, |flavor| {
        flavor.desired.extra_specs.insert(key.clone(), value.clone());
        Ok(())
    })
    .await?;
    Ok(Json(json!({ key: value })).into_response())
}

pub(super) async fn delete_spec(ask: Ask, Path((id, key)): Path<(String, String)>) -> Result<Response, Failure> {
    let rule = "os_compute_api:os-flavor-extra-specs:delete";
    let missing = || Failure::not_found("Extra spec", &key);
    change(&ask, rule, &id, |flavor| flavor.desired.extra_specs.remove(&key).map(drop).ok_or_else(missing)).await?;
    Ok(StatusCode::OK.into_response())
}
