//! `/v1/nodes/{node}/management`: boot device, interrupts, lights.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::StatusCode;
use model::Object;
use model::baremetal::{Action, Node};
use serde_json::{Value, json};

use super::versions::Minor;
use super::words::{boolean, mandatory, only};
use super::{Ask, access, action, node_fields};
use crate::App;
use crate::failure::Failure;

/// What of a node is asked of its controller.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/management/boot_device", get(boot_device).put(set_boot_device))
        .route("/management/boot_device/supported", get(supported))
        .route("/management/inject_nmi", put(inject_nmi))
        .route("/management/indicators", get(indicators))
        .route("/management/indicators/{indicator}", get(indicator).put(set_indicator))
}

/// What a machine can boot from (Source: `ironic/common/boot_devices.py`).
const DEVICES: &[&str] = &["pxe", "disk", "cdrom", "bios", "safe", "wanboot", "iscsiboot", "floppy", "uefihttp"];
/// How a light can be (Source: `ironic/common/indicator_states.py`).
const LIGHTS: &[&str] = &["off", "on", "blinking", "unknown"];

pub(super) async fn boot_device(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_boot_device").await?;
    let found = action::run(&ask, &node, Action::GetBootDevice, None).await?;
    let part = |key: &str| found.get(key).cloned().unwrap_or_default();
    Ok(Json(json!({"boot_device": part("boot_device"), "persistent": part("persistent")})).into_response())
}

pub(super) async fn supported(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_boot_device").await?;
    let found = action::run(&ask, &node, Action::GetSupportedBootDevices, None).await?;
    let devices = found.get("supported_boot_devices").cloned().unwrap_or(found);
    Ok(Json(json!({ "supported_boot_devices": devices })).into_response())
}

pub(super) async fn set_boot_device(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    only(&body, &["boot_device", "persistent"])?;
    let device = mandatory(&body, "boot_device")?;
    let persistent = match body.get("persistent") {
        None | Some(Value::Null) => false,
        Some(value) => boolean("persistent", value)?,
    };
    let node = access::permitted(&ask, &ident, "baremetal:node:set_boot_device").await?;
    if !DEVICES.contains(&device) {
        return Err(Failure::BadRequest(format!("Invalid boot device {device} specified.")));
    }
    let wanted = Action::SetBootDevice { device: device.to_owned(), persistent };
    action::run(&ask, &node, wanted, Some(&format!("asked: boot from {device}"))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn inject_nmi(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    if ask.minor < Minor(29) {
        return Err(Failure::named(StatusCode::NOT_FOUND, "NotFound", "Resource could not be found."));
    }
    let node = access::permitted(&ask, &ident, "baremetal:node:inject_nmi").await?;
    action::run(&ask, &node, Action::InjectNmi, Some("asked: non-maskable interrupt")).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `name@component`.
fn unique(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('@') {
        Some((name, component)) => Ok((name.to_owned(), component.to_owned())),
        None => Err(Failure::BadRequest(format!("Malformed indicator name \"{text}\""))),
    }
}

/// The lights as they are listed, from what the engine found: `name` is `name@component` in both.
fn lights(ask: &Ask, node: &Object<Node>, found: &Value) -> Vec<Value> {
    let list = found.get("indicators").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let shown = |light: &Value| {
        let part = |key: &str, usual: Value| light.get(key).cloned().unwrap_or(usual);
        let name = part("name", json!(""));
        let path = format!("nodes/{}/management/indicators/{}", node.id, name.as_str().unwrap_or_default());
        let states: Vec<String> =
            part("states", json!([])).as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect();
        json!({
            "name": name, "component": part("component", json!("")), "readonly": part("readonly", json!(true)), "states": states,
            "links": node_fields::links(&ask.base, &path),
        })
    };
    list.iter().map(shown).collect()
}

pub(super) async fn indicators(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_indicator_state").await?;
    let found = action::run(&ask, &node, Action::GetIndicators, None).await?;
    Ok(Json(json!({ "indicators": lights(&ask, &node, &found) })).into_response())
}

pub(super) async fn indicator(ask: Ask, Path((ident, light)): Path<(String, String)>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_indicator_state").await?;
    let (indicator, component) = unique(&light)?;
    let found = action::run(&ask, &node, Action::GetIndicator { component, indicator }, None).await?;
    let state = found.get("state").and_then(Value::as_str).map(str::to_ascii_lowercase);
    Ok(Json(json!({ "state": state })).into_response())
}

pub(super) async fn set_indicator(
    ask: Ask,
    Path((ident, light)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Result<Response, Failure> {
    only(&body, &["state"])?;
    let state = mandatory(&body, "state")?.to_ascii_lowercase();
    let node = access::permitted(&ask, &ident, "baremetal:node:set_indicator_state").await?;
    let (indicator, component) = unique(&light)?;
    if !LIGHTS.contains(&state.as_str()) {
        return Err(Failure::BadRequest(format!("Invalid indicator state {state} specified: one of {}.", LIGHTS.join(", "))));
    }
    let words = format!("asked: light {light} {state}");
    let wanted = Action::SetIndicator { component, indicator, state: state.to_ascii_uppercase() };
    action::run(&ask, &node, wanted, Some(&words)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
