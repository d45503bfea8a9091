//! The operator's side of the fabric, below `/v2.0/cofferdam`: switches, the ports of theirs that are ours, quarantine, and what happened.
//!
//! Nothing here speaks to a switch: wishes are written, and the engine is woken.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, put as on_put};
use axum::{Json, Router};
use http::StatusCode;
use model::fabric::{Declared, PortUse, Switch, SwitchPort, reads_asked};
use model::net::VlanId;
use model::{Kind, Timestamp};
use serde_json::{Value, json};
use store::Batch;

use super::noun::{Noun, named, permitted};
use super::{Ask, quarantine, switch_ports, switches};
use crate::App;
use crate::failure::Failure;
use crate::resource::value;

/// Most lines of a history that one answer has.
const MOST_LINES: i64 = 1000;

pub(super) fn routes() -> Router<Arc<App>> {
    switches::routes()
        .merge(switch_ports::routes())
        .merge(quarantine::routes())
        .route("/cofferdam/switches/{id}/read", on_put(read))
        .route("/cofferdam/switches/{id}/history", get(history::<Switch>))
        .route("/cofferdam/switch-ports/{id}/history", get(history::<SwitchPort>))
}

/// PUT …/switches/{id}/read: has the engine read the switch as soon as it can, and ask it again for what it refused.
async fn read(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    if !body.is_empty() {
        return Err(Failure::BadRequest("A request to read a switch has no body".into()));
    }
    let switch = permitted::<Switch>(&ask, &id, "read_switch").await?;
    ask.app.store.apply(Batch::wishes().bump(&reads_asked(&switch.id)).wake(&switch.id)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"switch": {"id": switch.id, "read_at": moment(switch.observed.read_at)}}))))
}

/// GET …/{id}/history: what happened to it, the latest first.
async fn history<K: Noun>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let missing = || K::form().missing(&id);
    let found = named::<K>(&ask, &model::Id::parse(&id).ok_or_else(missing)?).await?;
    let limit = match ask.parameters.first("limit") {
        None => 100,
        Some(text) => value::number(&Value::from(text), 1, MOST_LINES).map_err(Failure::BadRequest)?,
    };
    let lines = ask.app.store.history(<K as Kind>::NAME, found.id.as_str(), u32::try_from(limit).unwrap_or(100)).await?;
    let lines: Vec<Value> = lines
        .into_iter()
        .map(|it| json!({"at": it.at.iso_micros(), "severity": it.severity, "event": it.event, "detail": it.detail}))
        .collect();
    Ok(Json(json!({ "history": lines })))
}

/// A moment that may not have come.
pub(super) fn moment(at: Option<Timestamp>) -> Value {
    json!(at.map(Timestamp::iso_micros))
}

/// What a port carries, as an object with its `mode`.
pub(super) fn use_shown(it: &PortUse) -> Value {
    match it {
        PortUse::Isolated => json!({"mode": "isolated"}),
        PortUse::Access(vlan) => json!({"mode": "access", "vlan": vlan}),
        PortUse::Trunk { native, tagged } => json!({"mode": "trunk", "native": native, "tagged": tagged}),
        PortUse::Member { lag } => json!({"mode": "member", "lag": lag}),
    }
}

/// The same in words.
pub(super) fn use_said(it: &PortUse) -> String {
    let list = |vlans: &mut dyn Iterator<Item = &VlanId>| vlans.map(ToString::to_string).collect::<Vec<_>>().join(",");
    match it {
        PortUse::Isolated => "isolated".into(),
        PortUse::Access(vlan) => format!("access VLAN {vlan}"),
        PortUse::Trunk { native: None, tagged } => format!("trunk of VLANs {}", list(&mut tagged.iter())),
        PortUse::Trunk { native: Some(native), tagged } => format!("trunk of VLANs {}, native {native}", list(&mut tagged.iter())),
        PortUse::Member { lag } => format!("member of {lag}"),
    }
}

/// As the API spells who declared a switch.
pub(super) fn declared(it: Declared) -> &'static str {
    match it {
        Declared::File => "file",
        Declared::Api => "api",
        Declared::Withdrawn => "withdrawn",
    }
}

/// Text of a field that names something on a switch or the way to it: no white space, no control characters.
pub(super) fn word(v: &Value, max: usize) -> Result<String, String> {
    let text = value::text(v, max)?;
    if text.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err(format!("{text:?} contains white space"));
    }
    Ok(text)
}

/// A port's name, which on some switches has spaces inside (`Ethernet 1/0/7`).
pub(super) fn port_name(v: &Value) -> Result<String, String> {
    let text = value::text(v, 255)?;
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err(format!("{text:?} is not the name of a port"));
    }
    Ok(text)
}
