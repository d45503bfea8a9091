//! `/v1/nodes/{node}/states`, `maintenance`, `validate`, `history`: what is asked of a node, and what it went through.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use http::StatusCode;
use model::baremetal::{BaremetalPort, Node, PowerRequest, PowerVerb, ProvisionRequest, Verb, is_busy, shown_state, transition};
use model::image_compute::{Image, ImageStatus};
use model::{Kind as _, Object, Secret};
use serde_json::{Value, json};
use store::{Batch, Query, Severity, StoreError};

use super::node::parse_id;
use super::versions::Minor;
use super::{Ask, access, node_fields};
use crate::failure::Failure;
use crate::page::Parameters;

/// Longest config drive, in bytes of its text: Ironic's own limit is 64 MiB of image; a body here has at most one.
const MAX_CONFIGDRIVE: usize = 1024 * 1024;

pub(super) async fn show(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_states").await?;
    let (state, target) = shown_state(&node);
    Ok(Json(json!({
        "power_state": node.observed.power.map(|power| power.as_str()),
        "target_power_state": node_fields::target_power(&node),
        "provision_state": state,
        "target_provision_state": target,
        "provision_updated_at": node_fields::time(node.observed.state_since),
        "last_error": node_fields::last_error(&node, &|rule| access::may(&ask, rule, &node)),
        "console_enabled": false,
        "raid_config": {},
        "target_raid_config": {},
    }))
    .into_response())
}

/// Reads the node, decides, writes; again if somebody else was faster.
async fn change(
    ask: &Ask,
    ident: &str,
    rule: &str,
    decide: impl Fn(&mut Object<Node>) -> Result<Batch<store::Wishes>, Failure>,
) -> Result<Object<Node>, Failure> {
    for _ in 0..crate::race::RACES {
        let mut node = access::permitted(ask, ident, rule).await?;
        let batch = decide(&mut node)?;
        match ask.app.store.apply(batch.want(&node).wake(&node.id)).await {
            Ok(()) => return Ok(node),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("Node {ident} is locked, please retry after the current operation is completed.")))
}

fn target(body: &Value) -> Result<&str, Failure> {
    body.get("target").and_then(Value::as_str).ok_or_else(|| Failure::BadRequest("Mandatory field missing: target".into()))
}

pub(super) async fn power(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_power_state";
    access::permitted(&ask, &ident, rule).await?;
    let asked = target(&body)?;
    let verb = match asked {
        "power on" => PowerVerb::On,
        "power off" => PowerVerb::Off,
        "rebooting" => PowerVerb::Reboot,
        "soft power off" | "soft rebooting" => {
            return Err(Failure::BadRequest(format!(
                "'{asked}' is not offered: an operating system is not asked, the machine is switched"
            )));
        }
        _ => return Err(Failure::BadRequest(format!("'{asked}' is not a power state: power on, power off, rebooting"))),
    };
    change(&ask, &ident, rule, |node| {
        if is_busy(node) || node_fields::target_power(node).is_some() {
            return Err(locked(node));
        }
        let seq = node.desired.power_request.as_ref().map_or(0, |it| it.seq).max(node.observed.handled_power) + 1;
        node.desired.power_request = Some(PowerRequest { seq, verb, timeout_seconds: None });
        let detail = json!({"user": ask.caller.user_id});
        Ok(Batch::wishes().history(&node.id, Severity::Info, &format!("asked: {asked}"), &detail))
    })
    .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn locked(node: &Object<Node>) -> Failure {
    Failure::Conflict(format!("Node {} is locked, please retry after the current operation is completed.", node.id))
}

/// Verbs of Ironic's that are not here.
const OTHER_VERBS: &[&str] = &["inspect", "clean", "adopt", "rebuild", "rescue", "unrescue", "abort", "unhold", "service"];

pub(super) async fn provision(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_provision_state";
    let node = access::permitted(&ask, &ident, rule).await?;
    let asked = target(&body)?;
    let verb = Verb::parse(asked).filter(|_| !OTHER_VERBS.contains(&asked)).ok_or_else(|| {
        let why = if OTHER_VERBS.contains(&asked) { "is not offered" } else { "is not a provision state one can ask for" };
        Failure::BadRequest(format!("'{asked}' {why}: manage, provide, active, deleted"))
    })?;
    if ask.minor < Minor(verb.since()) {
        return Err(Failure::NotAcceptable(format!("'{asked}' came with version 1.{}", verb.since())));
    }
    for key in ["clean_steps", "deploy_steps", "service_steps", "rescue_password", "runbook", "disable_ramdisk"] {
        if body.get(key).is_some_and(|it| !it.is_null()) {
            return Err(Failure::BadRequest(format!("{key}: is not offered")));
        }
    }
    let configdrive = match (verb, body.get("configdrive")) {
        (_, None | Some(Value::Null)) => None,
        (Verb::Deploy, Some(value)) => Some(configdrive(value)?),
        _ => return Err(Failure::BadRequest("configdrive: only with the target active".into())),
    };
    if verb == Verb::Deploy {
        deployable(&ask, &node).await?;
    }
    change(&ask, &ident, rule, |node| {
        let seen = &node.observed;
        let pending = node.desired.request.as_ref().is_some_and(|it| it.seq > seen.handled);
        if pending {
            return Err(locked(node));
        }
        if transition(seen.state, seen.is_waiting(), verb).is_none() {
            return Err(if is_busy(node) {
                locked(node)
            } else {
                Failure::BadRequest(format!(
                    "The requested action \"{asked}\" can not be performed on node \"{}\" while it is in state \"{}\".",
                    node.id,
                    shown_state(node).0
                ))
            });
        }
        if node.desired.maintenance && verb == Verb::Deploy {
            return Err(Failure::BadRequest(format!(
                "The {asked} operation can't be performed on node {} because it's in maintenance mode.",
                node.id
            )));
        }
        let seq = node.desired.request.as_ref().map_or(0, |it| it.seq).max(seen.handled) + 1;
        node.desired.request = Some(ProvisionRequest { seq, verb, ..ProvisionRequest::default() });
        if verb == Verb::Deploy {
            node.desired.configdrive.clone_from(&configdrive);
        }
        let detail = json!({"user": ask.caller.user_id});
        Ok(Batch::wishes().history(&node.id, Severity::Info, &format!("asked: {asked}"), &detail))
    })
    .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// A config drive as it is handed to the agent: base64 of a gzip'ed ISO image.
fn configdrive(value: &Value) -> Result<Secret, Failure> {
    let bad = |why: &str| Failure::BadRequest(format!("configdrive: {why}"));
    let text = match value {
        Value::String(text) => text,
        Value::Object(_) => return Err(bad("building one from JSON is not offered: give the image, gzip'ed and as base64")),
        _ => return Err(bad("a string")),
    };
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(bad("fetching one is not offered: give the image itself, gzip'ed and as base64"));
    }
    if text.len() > MAX_CONFIGDRIVE {
        return Err(bad("it is larger than 1 MiB"));
    }
    let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(&plain).map_err(|_| bad("not base64"))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(bad("not gzip"));
    }
    Ok(Secret::new(plain))
}

/// Whether what is to be deployed is there: the caller must see the image.
async fn deployable(ask: &Ask, node: &Object<Node>) -> Result<(), Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Failed to validate deploy: {why}"));
    let source = node.desired.instance_info.text("image_source").ok_or_else(|| bad("instance_info has no image_source".into()))?;
    let image = match parse_id::<Image>(source) {
        Some(id) => ask.app.store.get(&id).await?,
        None => None,
    };
    let image = image
        .filter(|image| crate::image::sees(&ask.app, &ask.caller, image))
        .ok_or_else(|| bad(format!("there is no image '{source}'")))?;
    if image.desired.status != ImageStatus::Active {
        return Err(bad(format!("image {source} has no data")));
    }
    if image.desired.disk_format.as_deref() != Some("raw") {
        return Err(bad(format!("image {source} is not raw, the format that is written to disks here")));
    }
    Ok(())
}

pub(super) async fn set_maintenance(ask: Ask, Path(ident): Path<String>, body: axum::body::Bytes) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_maintenance";
    access::permitted(&ask, &ident, rule).await?;
    let body: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).map_err(|error| Failure::BadRequest(format!("the body is not JSON: {error}")))?
    };
    let reason = match body.get("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.len() <= 4096 => Some(text.clone()),
        Some(_) => return Err(Failure::BadRequest("reason: a string of at most 4096 bytes".into())),
    };
    maintenance(&ask, &ident, rule, Some(reason)).await
}

pub(super) async fn unset_maintenance(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    maintenance(&ask, &ident, "baremetal:node:clear_maintenance", None).await
}

/// Takes the node out of service, for a reason if there is one, or with none puts it back.
async fn maintenance(ask: &Ask, ident: &str, rule: &str, out: Option<Option<String>>) -> Result<Response, Failure> {
    let on = out.is_some();
    let reason = out.flatten();
    change(ask, ident, rule, |node| {
        node.desired.maintenance = on;
        node.desired.maintenance_reason.clone_from(&reason);
        let event = if on { "maintenance set" } else { "maintenance unset" };
        Ok(Batch::wishes().history(&node.id, Severity::Info, event, &json!({"user": ask.caller.user_id, "reason": reason})))
    })
    .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// `GET …/validate`: whether what each interface needs is there.
pub(super) async fn validate(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:validate").await?;
    let verdict = |result: Result<(), String>| match result {
        Ok(()) => json!({"result": true}),
        Err(reason) => json!({"result": false, "reason": reason}),
    };
    let absent = || json!({"result": null, "reason": "not supported"});
    let bmc = super::driver::check(&node.desired.driver_info);
    let network = network(&ask, &node).await?;
    let deploy = match deployable(&ask, &node).await {
        Ok(()) => Ok(()),
        Err(Failure::BadRequest(why)) => Err(why),
        Err(other) => return Err(other),
    };
    let mut out = json!({
        "power": verdict(bmc.clone()),
        "management": verdict(bmc.clone()),
        "boot": verdict(bmc),
        "deploy": verdict(deploy),
        "network": verdict(network),
    });
    if let Some(map) = out.as_object_mut() {
        for name in ["console", "inspect", "raid", "rescue", "storage", "bios"] {
            map.insert(name.to_owned(), absent());
        }
    }
    Ok(Json(out).into_response())
}

/// Whether each card by which the machine boots ends at a switch of ours.
async fn network(ask: &Ask, node: &Object<Node>) -> Result<Result<(), String>, Failure> {
    let ports = ask.app.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
    let switches = ask.app.store.list(&Query::<model::fabric::Switch>::new()).await?;
    if !ports.iter().any(|port| port.desired.pxe_enabled) {
        return Ok(Err("the node has no port with pxe_enabled".into()));
    }
    for port in &ports {
        let Some(link) = &port.desired.local_link_connection else {
            return Ok(Err(format!("port {} has no local_link_connection", port.desired.address)));
        };
        if model::fabric::find_switch(&switches, link).is_none() {
            return Ok(Err(format!("port {}: no managed switch is at the other end", port.desired.address)));
        }
    }
    Ok(Ok(()))
}

/// `GET …/history`.
pub(super) async fn history(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let node = events_of(&ask, &ident).await?;
    let lines = ask.app.store.history(Node::NAME, node.id.as_str(), 1000).await?;
    let (lines, next) = crate::page::cut(lines, &query, |line| line.id.as_str())?;
    let items = lines.iter().map(|line| event(&ask, &node, line)).collect();
    let path = format!("nodes/{}/history", node.id);
    Ok(crate::page::answer("history", items, next.map(|marker| crate::page::next(&format!("{}/v1/{path}", ask.base), &query, &marker))))
}

/// `GET …/history/{event}`.
pub(super) async fn history_event(ask: Ask, Path((ident, id)): Path<(String, String)>) -> Result<Response, Failure> {
    let node = events_of(&ask, &ident).await?;
    let lines = ask.app.store.history(Node::NAME, node.id.as_str(), 1000).await?;
    let line = lines.iter().find(|line| line.id == id).ok_or_else(|| Failure::not_found("History event", &id))?;
    Ok(Json(event(&ask, &node, line)).into_response())
}

async fn events_of(ask: &Ask, ident: &str) -> Result<Object<Node>, Failure> {
    if ask.minor < Minor(78) {
        return Err(Failure::not_found("Resource", "history"));
    }
    access::permitted(ask, ident, "baremetal:node:history:get").await
}

fn event(ask: &Ask, node: &Object<Node>, line: &store::HistoryLine) -> Value {
    let text = |key: &str| line.detail.get(key).and_then(Value::as_str);
    let event = match text("reason") {
        Some(reason) if !reason.is_empty() => format!("{}: {reason}", line.event),
        _ => line.event.clone(),
    };
    json!({
        "uuid": line.id,
        "created_at": line.at.iso_offset(),
        "severity": line.severity,
        "event": event,
        "event_type": "provisioning",
        "conductor": "cofferdam",
        "user": text("user"),
        "links": node_fields::links(&ask.base, &format!("nodes/{}/history/{}", node.id, line.id)),
    })
}

/// `GET /v1/nodes/{node}/ports`.
pub(super) async fn ports(ask: Ask, Path(ident): Path<String>, Parameters(mut query): Parameters) -> Result<Response, Failure> {
    let node = access::node(&ask, &ident).await?;
    query.insert("node".into(), node.id.to_string());
    super::port::listing(&ask, &query, false, "ports").await
}
