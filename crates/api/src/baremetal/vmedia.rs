//! `/v1/nodes/{node}/vmedia`: media of the network in the machine's virtual drives.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::baremetal::Action;
use serde_json::{Value, json};

use super::versions::Minor;
use super::words::{not_of_type, repr, unexpected};
use super::{Ask, access, action};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// What of a node's virtual drives can be asked.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/vmedia", get(show).post(attach).delete(detach).put(replace))
}

/// There is no such method, and before 1.89 no such path.
async fn replace(ask: Ask) -> Failure {
    since(&ask, 89).err().unwrap_or(Failure::MethodNotAllowed)
}

/// Drives there can be (Source: `ironic/common/boot_devices.py`, `VMEDIA_DEVICES`).
const DEVICES: &[&str] = &["disk", "cdrom", "floppy"];
/// Where media can be.
const SCHEMES: &[&str] = &["http", "https", "nfs", "cifs", "smb"];

fn since(ask: &Ask, minor: u16) -> Result<(), Failure> {
    if ask.minor < Minor(minor) { Err(Failure::NoRoute) } else { Ok(()) }
}

pub(super) async fn show(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    since(&ask, 93)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:vmedia:get").await?;
    Ok(Json(action::run(&ask, &node, Action::GetVirtualMedia, None).await?).into_response())
}

/// The device and the address of a medium.
fn medium(body: &Value) -> Result<(String, String), Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Schema error for vmedia: {why}"));
    let map = body.as_object().ok_or_else(|| bad(not_of_type(body, "object")))?;
    let other: Vec<&str> =
        map.keys().map(String::as_str).filter(|key| !["device_type", "image_url", "image_download_source"].contains(key)).collect();
    if !other.is_empty() {
        return Err(bad(unexpected(&other)));
    }
    let text = |key: &str| match map.get(key) {
        None => Err(bad(format!("'{key}' is a required property"))),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(bad(not_of_type(other, "string"))),
    };
    let one_of = |value: &str, known: &[&str]| match known.contains(&value) {
        true => Ok(()),
        false => {
            let known: Vec<Value> = known.iter().map(|it| json!(it)).collect();
            Err(bad(format!("{} is not one of {}", repr(&json!(value)), repr(&Value::Array(known)))))
        }
    };
    let (device, url) = (text("device_type")?, text("image_url")?);
    one_of(&device, DEVICES)?;
    if map.contains_key("image_download_source") {
        one_of(&text("image_download_source")?, &["http", "local", "swift"])?;
    }
    let scheme = url.split_once("://").map_or("", |it| it.0).to_ascii_lowercase();
    if !SCHEMES.contains(&scheme.as_str()) {
        return Err(Failure::BadRequest(format!("Unsupported or missing URL scheme: {scheme}")));
    }
    Ok((device, url))
}

pub(super) async fn attach(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    since(&ask, 89)?;
    let (device_type, image_url) = medium(&body)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:vmedia:attach").await?;
    let words = format!("asked: attach {device_type}");
    action::tell(&ask, &node, Action::AttachVirtualMedia { device_type, image_url }, &words).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn detach(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    since(&ask, 89)?;
    if let Some(other) = query.keys().find(|key| *key != "device_types") {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let given = query.get("device_types").map_or("", String::as_str);
    let device_types: Vec<String> = given.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect();
    let invalid: Vec<&str> = device_types.iter().map(String::as_str).filter(|it| !DEVICES.contains(it)).collect();
    if !invalid.is_empty() {
        let (invalid, valid) = (invalid.join(", "), DEVICES.join(", "));
        return Err(Failure::BadRequest(format!("Invalid device type(s) {invalid} (valid are {valid})")));
    }
    let node = access::permitted(&ask, &ident, "baremetal:node:vmedia:detach").await?;
    action::tell(&ask, &node, Action::DetachVirtualMedia { device_types }, "asked: detach virtual media").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
