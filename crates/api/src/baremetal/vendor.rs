//! `/v1/nodes/{node}/vendor_passthru`: what only one vendor's hardware has.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::{Method, StatusCode};
use model::baremetal::vendor::methods_of;
use model::baremetal::{Action, Interface};
use serde_json::{Map, Value, json};

use super::{Ask, access, action};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// What of a node only its vendor has.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/vendor_passthru/methods", get(methods))
        .route("/vendor_passthru", any(call))
        .route("/vendor_passthru/{method}", any(call_by_path))
}

const RULE: &str = "baremetal:node:vendor_passthru";

pub(super) async fn methods(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, RULE).await?;
    let interface = node.desired.interface(Interface::Vendor);
    if interface == "no-vendor" {
        return Err(access::unsupported(&node, "vendor"));
    }
    let shown: Map<String, Value> = methods_of(interface)
        .iter()
        .map(|it| {
            let about = json!({
                "http_methods": it.verbs, "async": it.is_async, "description": it.about, "attach": false, "require_exclusive_lock": it.locks,
            });
            (it.name.to_owned(), about)
        })
        .collect();
    Ok(Json(Value::Object(shown)).into_response())
}

/// The method's name in the path, as the client sends it.
async fn call_by_path(
    ask: Ask,
    Path((ident, method)): Path<(String, String)>,
    verb: Method,
    Parameters(mut query): Parameters,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    query.insert("method".into(), method);
    call(ask, Path(ident), verb, Parameters(query), body).await
}

pub(super) async fn call(
    ask: Ask,
    Path(ident): Path<String>,
    verb: Method,
    Parameters(mut query): Parameters,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, RULE).await?;
    let Some(name) = query.remove("method").filter(|it| !it.is_empty()) else {
        return Err(Failure::BadRequest("Missing mandatory parameter: method".into()));
    };
    let interface = node.desired.interface(Interface::Vendor);
    if interface == "no-vendor" {
        return Err(access::unsupported(&node, "vendor"));
    }
    let Some(method) = methods_of(interface).iter().find(|it| it.name == name) else {
        return Err(Failure::BadRequest(format!("No handler for method {name}")));
    };
    if !method.verbs.contains(&verb.as_str()) {
        return Err(Failure::BadRequest(format!("The method {name} does not support HTTP {verb}")));
    }
    let mut given = match body.is_empty() {
        true => Map::new(),
        false => match serde_json::from_slice(&body) {
            Ok(Value::Object(map)) => map,
            Ok(Value::Null) => Map::new(),
            _ => return Err(Failure::BadRequest("The body of a vendor method is a JSON object.".into())),
        },
    };
    given.extend(query.into_iter().map(|(key, value)| (key, json!(value))));
    let words = format!("asked: vendor method {name}");
    let wanted = Action::Vendor { method: name, http_method: verb.to_string(), body: Value::Object(given) };
    if method.is_async {
        action::start(&ask, &node, wanted, &words).await?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let words = Some(words.as_str()).filter(|_| method.locks);
    Ok(Json(action::run(&ask, &node, wanted, words).await?).into_response())
}
