//! `/v1/nodes/{node}/history`: what a node went through.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::Node;
use model::{Kind as _, Object};
use serde_json::{Map, Value, json};
use store::HistoryLine;

use super::versions::{CONDUCTOR, Minor};
use super::words::boolean;
use super::{Ask, access};
use crate::failure::Failure;
use crate::page::{self, Parameters};

/// Most lines that are looked at.
const MAX_LINES: u32 = 1000;
/// Longest event in a list without details, in characters.
const SHORT: usize = 255;

pub(super) async fn list(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let node = found(&ask, &ident).await?;
    if let Some(other) = query.keys().find(|key| !["detail", "marker", "limit", "sort_key", "sort_dir"].contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let detail = query.get("detail").map(|it| boolean("detail", &json!(it))).transpose()?.unwrap_or(false);
    let key = query.get("sort_key").map_or("created_at", String::as_str);
    if !["created_at", "uuid", "severity", "id"].contains(&key) {
        return Err(Failure::BadRequest(format!("The sort_key value \"{key}\" is an invalid field for sorting")));
    }
    let mut lines = ask.app.store.history(Node::NAME, node.id.as_str(), MAX_LINES).await?;
    // The store has the newest first.
    lines.reverse();
    match key {
        "uuid" => lines.sort_by(|a, b| a.id.cmp(&b.id)),
        "severity" => lines.sort_by(|a, b| a.severity.cmp(&b.severity)),
        _ => {}
    }
    if page::descending(&query)? {
        lines.reverse();
    }
    if let Some(marker) = query.get("marker")
        && !lines.iter().any(|line| line.id == *marker)
    {
        return Err(missing(marker));
    }
    let (lines, next) = page::cut(lines, &query, |line| line.id.as_str())?;
    let items = lines.iter().map(|line| event(&ask, &node, line, detail)).collect();
    let address = format!("{}/v1/nodes/{ident}/history", ask.base);
    Ok(page::answer("history", items, next.map(|marker| page::next(&address, &query, &marker))))
}

pub(super) async fn show(ask: Ask, Path((ident, id)): Path<(String, String)>) -> Result<Response, Failure> {
    let node = found(&ask, &ident).await?;
    let lines = ask.app.store.history(Node::NAME, node.id.as_str(), MAX_LINES).await?;
    let line = lines.iter().find(|line| line.id == id).ok_or_else(|| missing(&id))?;
    Ok(Json(event(&ask, &node, line, true)).into_response())
}

fn missing(id: &str) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NodeHistoryNotFound", format!("Node history record {id} could not be found."))
}

async fn found(ask: &Ask, ident: &str) -> Result<Object<Node>, Failure> {
    if ask.minor < Minor(78) {
        return Err(Failure::NoRoute);
    }
    access::permitted(ask, ident, "baremetal:node:history:get").await
}

/// What happened, with the reason if there is one.
fn text(line: &HistoryLine) -> String {
    match line.detail.get("reason").and_then(Value::as_str) {
        Some(reason) if !reason.is_empty() => format!("{}: {reason}", line.event),
        _ => line.event.clone(),
    }
}

fn event(ask: &Ask, node: &Object<Node>, line: &HistoryLine, detail: bool) -> Value {
    let said = |key: &str| line.detail.get(key).cloned().unwrap_or_default();
    let mut event = text(line);
    if !detail && event.chars().count() > SHORT {
        event = event.chars().take(SHORT - 4).collect::<String>() + "...";
    }
    let link = format!("{}/v1/nodes/{}/history/{}", ask.base, node.id, line.id);
    let mut out = Map::from_iter([
        ("uuid".to_owned(), json!(line.id)),
        ("created_at".to_owned(), json!(line.at.iso_offset())),
        ("severity".to_owned(), json!(line.severity.to_uppercase())),
        ("event".to_owned(), json!(event)),
        ("links".to_owned(), json!([{"href": link, "rel": "self"}])),
    ]);
    if !detail {
        return Value::Object(out);
    }
    let kind = match said("event_type") {
        Value::String(kind) => kind,
        _ => "provisioning".to_owned(),
    };
    out.insert("event_type".into(), json!(kind));
    // Lines of the API itself name none: they say what was asked.
    let conductor = said("conductor");
    out.insert("conductor".into(), if conductor.is_null() { json!(ask.conductors.of_node(node).unwrap_or(CONDUCTOR)) } else { conductor });
    out.insert("user".into(), said("user"));
    if ask.minor >= Minor(113) {
        out.insert("project".into(), said("project"));
    }
    if ask.minor >= Minor(115) {
        out.insert("state".into(), said("state"));
        out.insert("target_provision_state".into(), said("target"));
        out.insert("duration_seconds".into(), said("duration_seconds"));
    }
    Value::Object(out)
}
