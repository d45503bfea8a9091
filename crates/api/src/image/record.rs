//! `/v2/images`: list, show, create, change, remove.

use std::sync::Arc;

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use model::image_compute::{Image, ImageStatus};
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError};

use super::policies::{of_image, of_project};
use super::wire::{self, Refusal};
use super::{data, find, permitted, sees};
use crate::App;
use crate::caller::Caller;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::json_patch::{self, Change};
use crate::page::{self, Parameters};

/// Media type of Glance's patches.
const PATCH: &str = "application/openstack-images-v2.1-json-patch";
/// Items of a list that names no limit (Glance's default).
const USUAL_LIMIT: usize = 25;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ReadOnly(why) | Refusal::Policy(why) => Self::Forbidden(why),
            Refusal::Bad(why) => Self::BadRequest(why),
        }
    }
}

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller, Parameters(query): Parameters) -> Result<Response, Failure> {
    enforce(&app, &caller, "get_images", &of_project(caller.project_id.as_ref()))?;
    let mut images: Vec<Object<Image>> = app.store.list(&Query::<Image>::new()).await?;
    images.retain(|image| listed(&app, &caller, image, &query));
    for (key, value) in &query {
        filter(&mut images, key, value)?;
    }
    sort(&mut images, &query)?;
    let mut paged = query.clone();
    paged.entry("limit".into()).or_insert_with(|| USUAL_LIMIT.to_string());
    let (images, next) = page::cut(images, &paged, |image| image.id.as_str())?;
    let items: Vec<Value> = images.iter().map(|image| Value::Object(wire::show(image))).collect();
    let mut out = json!({"images": items, "first": address(&query, None), "schema": "/v2/schemas/images"});
    if let (Some(marker), Some(map)) = (next, out.as_object_mut()) {
        map.insert("next".into(), json!(address(&query, Some(&marker))));
    }
    Ok(Json(out).into_response())
}

/// Addresses in Glance's lists are relative to the service.
fn address(query: &HashMap<String, String>, marker: Option<&str>) -> String {
    let mut pairs: Vec<(&str, &str)> = query.iter().filter(|(key, _)| *key != "marker").map(|(k, v)| (k.as_str(), v.as_str())).collect();
    pairs.sort_unstable();
    pairs.extend(marker.map(|marker| ("marker", marker)));
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if text.is_empty() { "/v2/images".into() } else { format!("/v2/images?{text}") }
}

/// Others' community images are found by those who ask for them, not shown to all.
fn listed(app: &App, caller: &Caller, image: &Object<Image>, query: &HashMap<String, String>) -> bool {
    let is_own = image.project_id.is_some() && image.project_id == caller.project_id;
    let asked = query.get("visibility").map(String::as_str);
    let community = image.desired.visibility == "community" && !is_own && asked != Some("community") && asked != Some("all");
    let hidden = query.get("os_hidden").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    sees(app, caller, image) && !community && image.desired.hidden == hidden
}

fn filter(images: &mut Vec<Object<Image>>, key: &str, value: &str) -> Result<(), Failure> {
    let number = || value.parse::<u64>().map_err(|_| Failure::BadRequest(format!("{key}: '{value}' is not a whole number")));
    let any: Vec<String> =
        value.strip_prefix("in:").map_or_else(|| vec![value.to_owned()], |list| list.split(',').map(str::to_owned).collect());
    match key {
        "limit" | "marker" | "sort" | "sort_key" | "sort_dir" | "os_hidden" | "member_status" => {}
        "visibility" if value == "all" => {}
        "size_min" => {
            let least = number()?;
            images.retain(|image| image.desired.size_bytes.unwrap_or(0) >= least);
        }
        "size_max" => {
            let most = number()?;
            images.retain(|image| image.desired.size_bytes.unwrap_or(0) <= most);
        }
        "tag" => images.retain(|image| image.desired.tags.iter().any(|tag| tag == value)),
        "protected" => {
            let wanted = value.eq_ignore_ascii_case("true");
            images.retain(|image| image.desired.protected == wanted);
        }
        "name" | "id" | "status" | "owner" | "visibility" | "disk_format" | "container_format" | "checksum" | "os_hash_value" => {
            images.retain(|image| wire::show(image).get(key).and_then(Value::as_str).is_some_and(|it| any.iter().any(|one| one == it)));
        }
        property => images.retain(|image| image.desired.properties.get(property).is_some_and(|it| any.contains(it))),
    }
    Ok(())
}

fn sort(images: &mut [Object<Image>], query: &HashMap<String, String>) -> Result<(), Failure> {
    let keys: Vec<(String, bool)> = match query.get("sort") {
        Some(text) => text
            .split(',')
            .map(|part| part.split_once(':').map_or((part.to_owned(), true), |(key, dir)| (key.to_owned(), dir != "asc")))
            .collect(),
        None => {
            let key = query.get("sort_key").cloned().unwrap_or_else(|| "created_at".into());
            vec![(key, query.get("sort_dir").is_none_or(|dir| dir != "asc"))]
        }
    };
    const SORTABLE: &[&str] = &["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"];
    if let Some((key, _)) = keys.iter().find(|(key, _)| !SORTABLE.contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Unable to sort by '{key}'")));
    }
    images.sort_by(|a, b| {
        let mut order = std::cmp::Ordering::Equal;
        for (key, descending) in &keys {
            let one = match key.as_str() {
                "size" => a.desired.size_bytes.cmp(&b.desired.size_bytes),
                "created_at" => a.created_at.cmp(&b.created_at),
                "updated_at" => a.updated_at.unwrap_or(a.created_at).cmp(&b.updated_at.unwrap_or(b.created_at)),
                "name" => a.name.cmp(&b.name),
                "status" => a.desired.status.as_str().cmp(b.desired.status.as_str()),
                "container_format" => a.desired.container_format.cmp(&b.desired.container_format),
                "disk_format" => a.desired.disk_format.cmp(&b.desired.disk_format),
                _ => a.id.cmp(&b.id),
            };
            order = order.then(if *descending { one.reverse() } else { one });
        }
        order.then_with(|| a.id.cmp(&b.id))
    });
    Ok(())
}

pub(super) async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Failure> {
    let image = find(&app, &caller, &id).await?;
    Ok(Json(wire::show(&image)).into_response())
}

pub(super) async fn create(State(app): State<Arc<App>>, caller: Caller, Json(body): Json<Value>) -> Result<Response, Failure> {
    let Value::Object(mut body) = body else { return Err(Failure::BadRequest("an image is an object".into())) };
    let project = caller.project_id.clone().ok_or_else(|| Failure::Forbidden("images are made in a project".into()))?;
    let id = match body.remove("id") {
        None => Id::random(),
        Some(value) => value
            .as_str()
            .and_then(|text| uuid::Uuid::parse_str(text).ok())
            .and_then(|id| Id::parse(&id.hyphenated().to_string()))
            .ok_or_else(|| Failure::BadRequest("id: not a UUID".into()))?,
    };
    let mut image = Object::new(id, Some(project), "", wire::fresh());
    for (key, value) in body {
        // A property of no value is none.
        if value.is_null() && !wire::is_own(&key) {
            return Err(Failure::BadRequest(format!("Invalid value for {key}: properties are strings")));
        }
        set(&app, &caller, &mut image, &key, value, true)?;
    }
    // The project is the caller's, the owner may be another's.
    let mut target = of_project(caller.project_id.as_ref());
    target["owner"] = json!(image.project_id);
    enforce(&app, &caller, "add_image", &target)?;
    match app.store.apply(Batch::wishes().create(&image)).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => return Err(Failure::Conflict(format!("Image ID {} already exists!", image.id))),
        Err(error) => return Err(error.into()),
    }
    let location = format!("/v2/images/{}", image.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(wire::show(&image))).into_response())
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("");
    if kind.split(';').next().map(str::trim) != Some(PATCH) {
        return Err(Failure::UnsupportedMediaType(format!("patches of images are {PATCH}")));
    }
    let body: Value = serde_json::from_slice(&body).map_err(|error| Failure::BadRequest(format!("the body is not JSON: {error}")))?;
    let operations = json_patch::parse(&body).map_err(|error| Failure::BadRequest(error.0))?;
    for _ in 0..crate::race::RACES {
        let before = permitted(&app, &caller, &id, "modify_image").await?;
        let mut image = before.clone();
        for operation in &operations {
            let name = operation.attribute();
            if operation.path.len() == 1 && wire::is_own(name) && matches!(operation.change, Change::Remove) {
                return Err(Failure::Forbidden(format!("Property '{name}' may not be removed.")));
            }
            let mut document = wire::changeable(&image);
            if wire::is_own(name) && !document.contains_key(name) {
                return Err(Failure::Forbidden(format!("Attribute '{name}' is read-only.")));
            }
            json_patch::apply(&mut document, operation).map_err(|error| Failure::Conflict(error.0))?;
            set(&app, &caller, &mut image, name, document.remove(name).unwrap_or(Value::Null), false)?;
        }
        formats_stay(&before, &image)?;
        match app.store.apply(Batch::wishes().want(&image)).await {
            Ok(()) => {
                let fresh = find(&app, &caller, &id).await?;
                return Ok(Json(wire::show(&fresh)).into_response());
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("image {id} is being changed by others; try again")))
}

/// What data is cannot be changed once it is there.
fn formats_stay(before: &Object<Image>, after: &Object<Image>) -> Result<(), Failure> {
    let (old, new) = (&before.desired, &after.desired);
    let moved = old.disk_format != new.disk_format || old.container_format != new.container_format;
    if moved && old.status != ImageStatus::Queued {
        return Err(Failure::Forbidden("disk_format and container_format cannot be changed once an image has data".into()));
    }
    Ok(())
}

/// Sets an attribute, if the rules that guard the value let the caller. At creation `add_image` judges the owner.
fn set(app: &App, caller: &Caller, image: &mut Object<Image>, key: &str, value: Value, is_new: bool) -> Result<(), Failure> {
    let target = of_image(image);
    let may = |rule: &str| (is_new && rule == wire::GIVE) || allows(app, caller, rule, &target);
    Ok(wire::set(image, key, value, &may)?)
}

pub(super) async fn delete(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let image = permitted(&app, &caller, &id, "delete_image").await?;
        if image.desired.protected {
            return Err(Failure::Forbidden(format!("Image {id} is protected and cannot be deleted.")));
        }
        if image.desired.status == ImageStatus::Saving {
            return Err(Failure::Conflict(format!("Image {id} is being uploaded.")));
        }
        match app.store.apply(Batch::wishes().remove(&image)).await {
            Ok(()) => {
                // The record is gone: data that cannot be removed now is only a file nobody reads.
                if let Err(error) = data::remove(&app.settings.image_dir, &image.id).await {
                    tracing::warn!(image.id = %image.id, %error, "the data of a deleted image cannot be removed");
                }
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("image {id} is being changed by others; try again")))
}

/// `PUT` and `DELETE /v2/images/{image}/tags/{tag}`.
pub(super) async fn tag(
    State(app): State<Arc<App>>,
    caller: Caller,
    method: http::Method,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let mut image = permitted(&app, &caller, &id, "modify_image").await?;
        let mut tags = image.desired.tags.clone();
        let had = tags.contains(&tag);
        if method == http::Method::PUT {
            tags.push(tag.clone());
        } else if had {
            tags.retain(|it| *it != tag);
        } else {
            return Err(Failure::not_found("Tag", &tag));
        }
        set(&app, &caller, &mut image, "tags", json!(tags), false)?;
        match app.store.apply(Batch::wishes().want(&image)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("image {id} is being changed by others; try again")))
}

/// `GET /v2/schemas/…`.
pub(super) async fn schema(Path(name): Path<String>) -> Result<Response, Failure> {
    match name.as_str() {
        "image" => Ok(Json(wire::schema()).into_response()),
        "images" => Ok(Json(wire::list_schema()).into_response()),
        other => Err(Failure::not_found("Schema", other)),
    }
}
