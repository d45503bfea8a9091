//! `/v1/events`: what others tell of the world outside, such as the network service of its ports.

use axum::Json;
use http::StatusCode;
use model::baremetal::BaremetalPort;
use serde_json::{Map, Value};
use store::{Batch, Query, Severity};

use super::versions::Minor;
use super::words::{not_of_type, repr, unexpected};
use super::{Ask, access};
use crate::failure::Failure;

/// Most events of one request.
const MAX_EVENTS: usize = 256;
/// What can have happened (Source: Ironic API reference, "Events").
const KINDS: &[&str] = &["network.bind_port", "network.unbind_port", "network.delete_port"];
const REQUIRED: &[&str] = &["event", "port_id", "mac_address", "status"];
const OPTIONAL: &[&str] = &["device_id", "binding:host_id", "binding:vnic_type"];

fn event(item: &Value) -> Result<&Map<String, Value>, String> {
    let map = item.as_object().ok_or_else(|| not_of_type(item, "object"))?;
    if let Some(missing) = REQUIRED.iter().find(|key| !map.contains_key(**key)) {
        return Err(format!("'{missing}' is a required property"));
    }
    let other: Vec<&str> = map.keys().map(String::as_str).filter(|key| !REQUIRED.contains(key) && !OPTIONAL.contains(key)).collect();
    if !other.is_empty() {
        return Err(unexpected(&other));
    }
    if let Some((_, wrong)) = map.iter().find(|(_, value)| !value.is_string()) {
        return Err(not_of_type(wrong, "string"));
    }
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    if !KINDS.contains(&text("event")) {
        return Err(format!("{} is not a valid event: {}", repr(&Value::String(text("event").into())), KINDS.join(", ")));
    }
    if access::valid_uuid(text("port_id")).is_none() {
        return Err(format!("Expected UUID for port_id: {}", text("port_id")));
    }
    let mac: Vec<&str> = text("mac_address").split(':').collect();
    if mac.len() != 6 || mac.iter().any(|part| part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(format!("Expected valid MAC address for mac_address: {}", text("mac_address")));
    }
    Ok(map)
}

pub(super) async fn post(ask: Ask, Json(body): Json<Value>) -> Result<StatusCode, Failure> {
    if ask.minor < Minor(54) {
        return Err(Failure::NoRoute);
    }
    access::require_any(&ask, "baremetal:events:post")?;
    let bad = |why: String| Failure::BadRequest(format!("Schema error: {why}"));
    let list = body.get("events").and_then(Value::as_array).ok_or_else(|| bad("'events' is a required property".into()))?;
    if list.len() > MAX_EVENTS {
        return Err(bad(format!("there are more than {MAX_EVENTS}")));
    }
    if list.is_empty() {
        return Err(bad("[] should be non-empty".into()));
    }
    let events = list.iter().map(|item| event(item).map_err(&bad)).collect::<Result<Vec<_>, _>>()?;
    for event in events {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        tracing::info!(event = text("event"), port.id = text("port_id"), status = text("status"), "was told of an event");
        let address = text("mac_address").to_ascii_lowercase();
        for port in ask.app.store.list(&Query::<BaremetalPort>::new().column("address", [address])).await? {
            let detail = Value::Object(event.clone());
            let batch = Batch::wishes().history(&port.desired.node_id, Severity::Info, text("event"), &detail);
            ask.app.store.apply(batch.wake(&port.desired.node_id)).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_that_are_none() {
        let good = json!({"event": "network.bind_port", "port_id": "3b1a7aa4-6f56-4a5a-9f0b-6f1c35ab5f3c",
                          "mac_address": "52:54:00:00:00:01", "status": "ACTIVE", "binding:host_id": "x"});
        assert!(event(&good).is_ok());
        for (key, value) in [
            ("event", json!("network.fly")),
            ("port_id", json!("x")),
            ("mac_address", json!("x")),
            ("status", json!(7)),
            ("colour", json!("red")),
        ] {
            let mut bad = good.clone();
            bad[key] = value.clone();
            assert!(event(&bad).is_err(), "{key} {value}");
        }
    }
}
