//! `/v1/conductors`: who works on nodes. Replicas of the server share all work and are not told apart, so that there is one.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::Timestamp;
use model::baremetal::hardware::TYPES;
use serde_json::{Map, Value, json};

use super::resource::{links, refused, time};
use super::versions::{CONDUCTOR, Minor};
use super::words::boolean;
use super::{Ask, access};
use crate::failure::Failure;
use crate::page::{self, Parameters};

/// When this process began to work.
static BEGAN: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

/// Fields and whether they are shown in short lists; the links are shown always.
const FIELDS: [(&str, bool); 6] =
    [("created_at", false), ("updated_at", false), ("hostname", true), ("conductor_group", true), ("drivers", false), ("alive", true)];

fn gate(ask: &Ask) -> Result<(), Failure> {
    if ask.minor < Minor(49) {
        return Err(refused(StatusCode::NOT_FOUND, "The API is not supported for this version"));
    }
    access::require_any(ask, "baremetal:conductor:get")
}

fn shown(ask: &Ask, wanted: impl Fn(&str, bool) -> bool) -> Value {
    let mut drivers: Vec<&str> = TYPES.iter().map(|it| it.name).collect();
    drivers.sort_unstable();
    let mut out = Map::new();
    for (name, brief) in FIELDS.into_iter().filter(|(name, brief)| wanted(name, *brief)) {
        let value = match name {
            "created_at" => time(Some(*BEGAN)),
            "updated_at" => time(Some(Timestamp::now())),
            "hostname" => json!(CONDUCTOR),
            "conductor_group" => json!(""),
            "drivers" => json!(drivers),
            _ => json!(brief),
        };
        out.insert(name.to_owned(), value);
    }
    out.insert("links".into(), links(ask, &format!("conductors/{CONDUCTOR}")));
    Value::Object(out)
}

/// The fields asked for.
fn fields(query: &HashMap<String, String>) -> Result<Option<Vec<&str>>, Failure> {
    let Some(text) = query.get("fields") else { return Ok(None) };
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    match names.iter().find(|name| **name != "links" && !FIELDS.iter().any(|(field, _)| field == *name)) {
        Some(name) => Err(Failure::BadRequest(format!("Field(s) \"{name}\" are not valid"))),
        None => Ok(Some(names)),
    }
}

/// `GET /v1/conductors`.
pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    gate(&ask)?;
    let known = ["fields", "detail", "limit", "marker", "sort_key", "sort_dir"];
    if let Some(other) = query.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    if let Some(key) = query.get("sort_key").filter(|key| ["alive", "drivers"].contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("The sort_key value {key} is an invalid field for sorting")));
    }
    page::descending(&query)?;
    let detail = query.get("detail").map(|text| boolean("detail", &json!(text))).transpose()?.unwrap_or(false);
    let fields = fields(&query)?;
    if detail && fields.is_some() {
        return Err(Failure::BadRequest("Can not specify ?detail=True and fields in the same request.".into()));
    }
    match query.get("limit").map(|text| text.parse::<i64>()) {
        Some(Ok(limit)) if limit <= 0 => return Err(Failure::BadRequest("Limit must be positive".into())),
        Some(Err(_)) => return Err(Failure::BadRequest("Expected an integer for limit".into())),
        _ => {}
    }
    let items = match query.get("marker").map(String::as_str) {
        // It is the only one: nothing comes after it.
        Some(CONDUCTOR) => Vec::new(),
        Some(other) => return Err(Failure::not_found("Conductor", other)),
        None => vec![shown(&ask, |name, brief| fields.as_ref().map_or(detail || brief, |it| it.contains(&name)))],
    };
    Ok(page::answer("conductors", items, None))
}

/// `GET /v1/conductors/{hostname}`.
pub(super) async fn show(ask: Ask, Path(name): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    gate(&ask)?;
    let fields = fields(&query)?;
    if name != CONDUCTOR {
        return Err(Failure::not_found("Conductor", &name));
    }
    Ok(Json(shown(&ask, |name, _| fields.as_ref().is_none_or(|it| it.contains(&name)))).into_response())
}
