//! `/v1/nodes/{node}/states` and `maintenance`: how a node is, and what is asked of it. Verbs are in `provision`.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use model::Object;
use model::baremetal::{BootModeRequest, CONSOLE_WORK, Interface, Node, PowerRequest, PowerVerb, is_busy, shown_state};
use serde_json::{Map, Value, json};
use store::{Batch, Severity, StoreError, Wishes};

use super::node::said_by;
use super::versions::Minor;
use super::words::{boolean, mandatory, only, repr, too_early};
use super::{Ask, access, node_fields, validate};
use crate::failure::Failure;

pub(super) async fn show(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_states").await?;
    let may = |rule: &str| access::may(&ask, rule, &node);
    let shown = node_fields::Shown { node: &node, may: &may, minor: ask.minor, conductors: &ask.conductors };
    let mut out = Map::new();
    for name in [
        "console_enabled",
        "last_error",
        "power_state",
        "provision_state",
        "target_power_state",
        "target_provision_state",
        "provision_updated_at",
        "raid_config",
        "target_raid_config",
        "boot_mode",
        "secure_boot",
    ] {
        if let Some(field) = node_fields::any(name).filter(|field| field.since <= ask.minor) {
            out.insert(name.to_owned(), (field.show)(&shown));
        }
    }
    Ok(Json(Value::Object(out)).into_response())
}

/// Reads the node, decides, writes; again if somebody else was faster.
pub(super) async fn change(
    ask: &Ask,
    ident: &str,
    rule: &str,
    decide: impl Fn(&mut Object<Node>) -> Result<Batch<Wishes>, Failure>,
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
    Err(access::raced(ident))
}

/// `202` that says where the states are.
pub(super) fn accepted(ask: &Ask, ident: &str, path: &str) -> Response {
    let location = format!("{}/v1/nodes/{ident}/{path}", ask.base);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response()
}

fn power_verb(target: &str) -> Option<PowerVerb> {
    [PowerVerb::On, PowerVerb::Off, PowerVerb::Reboot, PowerVerb::SoftOff, PowerVerb::SoftReboot]
        .into_iter()
        .find(|it| it.as_str() == target)
}

fn not_in_state(action: &str, node: &Object<Node>, state: &str) -> Failure {
    Failure::BadRequest(format!(
        "The requested action \"{action}\" can not be performed on node \"{}\" while it is in state \"{state}\".",
        node.id
    ))
}

/// `timeout` of a power change, in seconds.
fn timeout(body: &Value) -> Result<Option<u32>, Failure> {
    let number = match body.get("timeout") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let given = body.get("timeout").map(repr).unwrap_or_default();
    let number = number.ok_or_else(|| Failure::BadRequest(format!("Expected an integer for timeout: {given}")))?;
    match u32::try_from(number) {
        Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
        _ => Err(Failure::BadRequest("timeout has to be positive integer".into())),
    }
}

pub(super) async fn power(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_power_state";
    only(&body, &["target", "timeout"])?;
    let asked = mandatory(&body, "target")?;
    let seconds = timeout(&body);
    let node = access::permitted(&ask, &ident, rule).await?;
    let is_soft = ["soft power off", "soft rebooting"].contains(&asked);
    if (is_soft || !matches!(seconds, Ok(None))) && ask.minor < Minor(27) {
        return Err(too_early());
    }
    let seconds = seconds?;
    access::served(&ask, &node)?;
    access::settled(&ask, node).await?;
    change(&ask, &ident, rule, |node| {
        validate::controller(node, Interface::Power).map_err(Failure::BadRequest)?;
        let verb =
            power_verb(asked).ok_or_else(|| not_in_state(asked, node, node.observed.power.map_or("None", |power| power.as_str())))?;
        let state = shown_state(node).0;
        if ["cleaning", "clean wait"].contains(&state) {
            return Err(not_in_state(asked, node, state));
        }
        if node.desired.disable_power_off && matches!(verb, PowerVerb::Off | PowerVerb::SoftOff) {
            return Err(Failure::Conflict(format!("Failed to set node power state to {asked}.")));
        }
        if is_busy(node) || node_fields::target_power(node).is_some() {
            return Err(access::locked(node));
        }
        let seq = node.desired.power_request.as_ref().map_or(0, |it| it.seq).max(node.observed.handled_power) + 1;
        let detail = said_by(&ask, node, json!({}));
        node.desired.power_request = Some(PowerRequest { seq, verb, timeout_seconds: seconds, asked_by: None });
        Ok(Batch::wishes().history(&node.id, Severity::Info, &format!("asked: {asked}"), &detail))
    })
    .await?;
    Ok(accepted(&ask, &ident, "states"))
}

/// Boot modes came with 1.76.
fn since_76(ask: &Ask) -> Result<(), Failure> {
    if ask.minor >= Minor(76) {
        return Ok(());
    }
    let text = "This endpoint is supported starting with the API version 1.76";
    Err(Failure::named(StatusCode::NOT_FOUND, "NotFound", text))
}

/// States that end by themselves, also while an agent is awaited.
fn at_rest(node: &Object<Node>) -> Result<(), Failure> {
    let (state, pending) = (shown_state(node).0, is_busy(node));
    if !pending {
        return Ok(());
    }
    Err(Failure::Conflict(format!(
        "Node is in {state} state. Since node is transitioning, the boot mode will not be set as this may interfere with ongoing changes \
         and result in erroneous modification. Try again later."
    )))
}

async fn choose_boot(ask: &Ask, ident: &str, rule: &str, mode: Option<&str>, secure: Option<bool>) -> Result<Response, Failure> {
    change(ask, ident, rule, |node| {
        at_rest(node)?;
        let before = node.desired.boot_mode_request.clone();
        let pending = before.as_ref().filter(|it| it.seq > node.observed.handled_boot_mode);
        // One that is not taken up yet is not forgotten because the other is asked too.
        let request = BootModeRequest {
            seq: before.as_ref().map_or(0, |it| it.seq).max(node.observed.handled_boot_mode) + 1,
            boot_mode: mode.map(str::to_owned).or_else(|| pending.and_then(|it| it.boot_mode.clone())),
            secure_boot: secure.or_else(|| pending.and_then(|it| it.secure_boot)),
        };
        let asked = match (mode, secure) {
            (Some(mode), _) => format!("asked: boot mode {mode}"),
            (None, on) => format!("asked: secure boot {}", if on == Some(true) { "on" } else { "off" }),
        };
        let detail = said_by(ask, node, json!({}));
        node.desired.boot_mode_request = Some(request);
        Ok(Batch::wishes().history(&node.id, Severity::Info, &asked, &detail))
    })
    .await?;
    Ok(accepted(ask, ident, "states"))
}

pub(super) async fn boot_mode(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_boot_mode";
    only(&body, &["target"])?;
    let target = mandatory(&body, "target")?;
    access::served(&ask, &access::permitted(&ask, &ident, rule).await?)?;
    since_76(&ask)?;
    if !["bios", "uefi"].contains(&target) {
        return Err(Failure::BadRequest(format!("Invalid boot mode {target} requested for node. Allowed boot modes are: bios, uefi")));
    }
    choose_boot(&ask, &ident, rule, Some(target), None).await
}

pub(super) async fn secure_boot(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_secure_boot";
    only(&body, &["target"])?;
    let target = match body.get("target") {
        None => return Err(Failure::BadRequest("Missing mandatory parameter: target".into())),
        Some(Value::Null) => None,
        Some(value) => Some(boolean("target", value)?),
    };
    access::served(&ask, &access::permitted(&ask, &ident, rule).await?)?;
    since_76(&ask)?;
    let target = target.ok_or_else(|| {
        Failure::BadRequest("Invalid secure_boot None requested for node. Allowed secure_boot states are: True, False) ".into())
    })?;
    choose_boot(&ask, &ident, rule, None, Some(target)).await
}

/// Levels of RAID that a set can have (Source: Ironic documentation, "RAID configuration").
const LEVELS: &[&str] = &["JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0"];

/// Whether it describes RAID sets.
fn raid_config(config: &Map<String, Value>) -> Result<(), Failure> {
    let bad = |why: String| Failure::BadRequest(format!("RAID config validation error: {why}"));
    if config.is_empty() {
        return Ok(());
    }
    let disks = config.get("logical_disks").ok_or_else(|| bad("'logical_disks' is a required property".into()))?;
    let disks = disks.as_array().filter(|it| !it.is_empty()).ok_or_else(|| bad(format!("{} is not a list of disks", repr(disks))))?;
    for disk in disks {
        let size = disk.get("size_gb").ok_or_else(|| bad("'size_gb' is a required property".into()))?;
        if size != "MAX" && size.as_u64().is_none_or(|it| it == 0) {
            return Err(bad(format!("size_gb: {} is neither a whole number over 0 nor 'MAX'", repr(size))));
        }
        let level = disk.get("raid_level").ok_or_else(|| bad("'raid_level' is a required property".into()))?;
        if !level.as_str().is_some_and(|it| LEVELS.contains(&it)) {
            return Err(bad(format!("raid_level: {} is not one of {}", repr(level), LEVELS.join(", "))));
        }
    }
    let roots = disks.iter().filter(|it| it.get("is_root_volume") == Some(&json!(true))).count();
    if roots > 1 {
        return Err(bad("more than one is the root volume".into()));
    }
    Ok(())
}

pub(super) async fn raid(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_raid_state";
    let Value::Object(config) = body else {
        return Err(Failure::BadRequest(format!("Expected types <class 'dict'> for target_raid_config: {}", repr(&body))));
    };
    let node = access::permitted(&ask, &ident, rule).await?;
    if ask.minor < Minor(12) {
        return Err(too_early());
    }
    if node.desired.interface(Interface::Raid) == "no-raid" {
        let text = access::unsupported(&node, "raid").message();
        return Err(Failure::named(StatusCode::NOT_FOUND, "NotFound", text));
    }
    raid_config(&config)?;
    access::served(&ask, &node)?;
    change(&ask, &ident, rule, |node| {
        access::unlocked(node)?;
        node.desired.target_raid_config.clone_from(&config);
        Ok(Batch::wishes().history(&node.id, Severity::Info, "RAID sets wanted", &said_by(&ask, node, json!({}))))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn has_console(node: &Object<Node>) -> Result<(), Failure> {
    match node.desired.interface(Interface::Console) {
        "no-console" => Err(access::unsupported(node, "console")),
        _ => Ok(()),
    }
}

pub(super) async fn console(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, "baremetal:node:get_console").await?;
    has_console(&node)?;
    let is_fake = node.desired.interface(Interface::Console) == "fake";
    let info = match &node.observed.console {
        _ if !node.desired.console_enabled => Value::Null,
        _ if is_fake => json!({}),
        Some(url) => json!({"type": "websocket", "url": url.reveal()}),
        None => Value::Null,
    };
    Ok(Json(json!({"console_enabled": !info.is_null(), "console_info": info})).into_response())
}

pub(super) async fn set_console(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_console_state";
    only(&body, &["enabled"])?;
    let enabled = match body.get("enabled") {
        None | Some(Value::Null) => return Err(Failure::BadRequest("Missing mandatory parameter: enabled".into())),
        Some(value) => boolean("enabled", value)?,
    };
    change(&ask, &ident, rule, |node| {
        has_console(node)?;
        access::served(&ask, node)?;
        node.desired.console_seq += u64::from(node.desired.console_enabled != enabled);
        node.desired.console_enabled = enabled;
        let event = if enabled { "asked: console on" } else { "asked: console off" };
        let batch = Batch::wishes().wake_named(CONSOLE_WORK, node.id.as_str());
        Ok(batch.history(&node.id, Severity::Info, event, &said_by(&ask, node, json!({}))))
    })
    .await?;
    Ok(accepted(&ask, &ident, "states/console"))
}

pub(super) async fn set_maintenance(ask: Ask, Path(ident): Path<String>, body: axum::body::Bytes) -> Result<Response, Failure> {
    let rule = "baremetal:node:set_maintenance";
    access::permitted(&ask, &ident, rule).await?;
    let body: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).map_err(|error| Failure::BadRequest(format!("the body is not JSON: {error}")))?
    };
    only(&body, &["reason"])?;
    let reason = match body.get("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.len() <= 4096 => Some(text.clone()),
        Some(Value::String(_)) => return Err(Failure::BadRequest("reason: a string of at most 4096 bytes".into())),
        Some(other) => return Err(Failure::BadRequest(format!("Expected string for reason: {}", repr(other)))),
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
        let detail = said_by(ask, node, json!({"reason": reason}));
        node.desired.maintenance = on;
        node.desired.maintenance_reason.clone_from(&reason);
        let event = if on { "maintenance set" } else { "maintenance unset" };
        Ok(Batch::wishes().history(&node.id, Severity::Info, event, &detail))
    })
    .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raid_sets() {
        let of = |value: Value| raid_config(value.as_object().unwrap());
        of(json!({})).unwrap();
        of(json!({"logical_disks": [{"size_gb": "MAX", "raid_level": "1+0", "is_root_volume": true}]})).unwrap();
        for bad in [
            json!({"disks": []}),
            json!({"logical_disks": []}),
            json!({"logical_disks": [{"size_gb": 0, "raid_level": "1"}]}),
            json!({"logical_disks": [{"size_gb": 10}]}),
            json!({"logical_disks": [{"size_gb": 10, "raid_level": "7"}]}),
        ] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn timeouts() {
        let of = |value: Value| timeout(&json!({"timeout": value}));
        assert_eq!(of(json!(5)).ok(), Some(Some(5)));
        assert_eq!(of(json!("5")).ok(), Some(Some(5)));
        assert_eq!(of(Value::Null).ok(), Some(None));
        assert!(of(json!(0)).is_err() && of(json!(-3)).is_err() && of(json!("x")).is_err());
    }
}
