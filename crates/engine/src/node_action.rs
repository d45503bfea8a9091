//! What a client asks of a BMC: done once, and while somebody waits if somebody does.

use std::time::Duration;

use drivers::bmc::{Bmc, BmcError, BootDevice};
use model::baremetal::{Action, ActionEnd, Node, NodeAction};
use model::{Object, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Facts, Severity};

use crate::node;
use crate::runtime::{Cx, Fault, Look, Next};

/// How long an answer that nobody fetched is kept.
const KEPT: Duration = Duration::from_secs(60);
/// How long a BMC may take for one, in seconds.
const LIMIT: f64 = 55.0;

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(mut row) = cx.load::<NodeAction>().await? else {
        return Ok(Next::Gone);
    };
    let now = Timestamp::now();
    let left = row.desired.until.seconds_since(now);
    if row.observed.end.is_some() {
        if left + KEPT.as_secs_f64() > 0.0 {
            return Ok(Next::Again(KEPT));
        }
        cx.store.apply(cx.facts().remove(&row)).await?;
        return Ok(Next::Gone);
    }
    if row.observed.begun && is_once(&row.desired.action) {
        let why = "whoever did it died meanwhile: whether it was done is not known";
        row.observed.end = Some(ActionEnd::Failed { why: why.into() });
        cx.store.apply(told(cx.facts().observe(&row), &row, why)).await?;
        return Ok(Next::Again(Duration::ZERO));
    }
    if left <= 0.0 {
        cx.store.apply(told(cx.facts().remove(&row), &row, "it was not begun in time")).await?;
        return Ok(Next::Gone);
    }
    let end = match cx.store.get::<Node>(&row.desired.node_id).await? {
        None => ActionEnd::Failed { why: format!("node {} is not there", row.desired.node_id) },
        Some(node) => match cx.outside.bmc(node::hardware(&node, &node.desired)) {
            Ok(bmc) => {
                if is_once(&row.desired.action) {
                    row.observed.begun = true;
                    cx.store.apply(cx.facts().observe(&row)).await?;
                    row.revision += 1;
                }
                let limit = Duration::from_secs_f64(if row.desired.unwatched { LIMIT } else { left.clamp(0.1, LIMIT) });
                match tokio::time::timeout(limit, act(bmc.as_ref(), &row.desired.action)).await {
                    Ok(Ok(value)) => ActionEnd::Done { value },
                    Ok(Err(error)) => ended(&error),
                    Err(_) => ActionEnd::Failed { why: "the BMC did not answer in time".into() },
                }
            }
            Err(error) => ended(&error),
        },
    };
    if let Some(what) = of_media(&row.desired.action) {
        note_media(cx, &row, &what, &end).await?;
    }
    if row.desired.unwatched {
        let batch = cx.facts().remove(&row);
        let batch = match &end {
            ActionEnd::Done { .. } => batch,
            ActionEnd::Unsupported { why } | ActionEnd::Failed { why } => told(batch, &row, why),
        };
        cx.store.apply(batch).await?;
        return Ok(Next::Gone);
    }
    row.observed.end = Some(end);
    cx.store.apply(cx.facts().observe(&row)).await?;
    Ok(Next::Again(KEPT))
}

/// What is done about media, if that is asked: what comes of it stands in the node's `last_error` (Source: Ironic 39, conductor/manager.py,
/// `do_attach_virtual_media`: whoever asked was answered before).
fn of_media(action: &Action) -> Option<String> {
    match action {
        Action::AttachVirtualMedia { device_type, .. } => Some(format!("attach device {device_type} to")),
        Action::DetachVirtualMedia { device_types } if device_types.is_empty() => Some("detach devices from".to_owned()),
        Action::DetachVirtualMedia { device_types } => Some(format!("detach device(s) {} from", device_types.join(", "))),
        _ => None,
    }
}

async fn note_media(cx: &Cx, row: &Object<NodeAction>, what: &str, end: &ActionEnd) -> Result<(), Fault> {
    // The node's own look may be faster a few times.
    for _ in 0..8 {
        let Some(mut node) = cx.store.get(&row.desired.node_id).await? else { return Ok(()) };
        let error = match end {
            ActionEnd::Done { .. } => None,
            ActionEnd::Unsupported { why } => Some(format!("Driver {} does not support {why}", node.desired.driver)),
            ActionEnd::Failed { why } => Some(why.clone()),
        };
        let error = error.map(|why| format!("Could not {what} node {}: {why}", node.id));
        if node.observed.last_error == error {
            return Ok(());
        }
        node.observed.last_error = error;
        let batch = cx.facts().observe(&node);
        let batch = match &node.observed.last_error {
            Some(why) => batch.history(&node.id, Severity::Error, why, &json!({})),
            None => batch,
        };
        match cx.store.apply(batch).await {
            Err(error) if error.is_race() => {}
            other => return Ok(other?),
        }
    }
    Ok(())
}

/// Whether it may not be done a second time because it is not known whether it was done. Other changes come to the same.
fn is_once(action: &Action) -> bool {
    match action {
        Action::InjectNmi => true,
        Action::Vendor { http_method, .. } => http_method != "GET",
        _ => false,
    }
}

/// Has the node's history say what was asked and did not end well; of questions it says nothing.
fn told(batch: Batch<Facts>, row: &Object<NodeAction>, why: &str) -> Batch<Facts> {
    let what = match &row.desired.action {
        Action::SetBootDevice { device, .. } => format!("boot from {device}"),
        Action::InjectNmi => "non-maskable interrupt".to_owned(),
        Action::SetIndicator { component, indicator, .. } => format!("indicator {indicator}@{component}"),
        Action::AttachVirtualMedia { device_type, .. } => format!("attach {device_type}"),
        Action::DetachVirtualMedia { .. } => "detach virtual media".to_owned(),
        Action::Vendor { method, http_method, .. } if http_method != "GET" => format!("vendor method {method}"),
        Action::Vendor { .. }
        | Action::GetBootDevice
        | Action::GetSupportedBootDevices
        | Action::GetIndicators
        | Action::GetIndicator { .. }
        | Action::GetVirtualMedia => return batch,
    };
    batch.history(&row.desired.node_id, Severity::Error, &format!("failed: {what}"), &json!({ "reason": why }))
}

/// What the client is told: what it asked wrongly or of the wrong hardware is its own fault.
fn ended(error: &BmcError) -> ActionEnd {
    match error {
        BmcError::Unsupported { what: why } | BmcError::Config { reason: why, .. } => ActionEnd::Unsupported { why: why.clone() },
        BmcError::Rejected { address, reason } if address.starts_with("fake:") => ActionEnd::Unsupported { why: reason.clone() },
        _ => ActionEnd::Failed { why: error.to_string() },
    }
}

fn device(name: &str) -> Result<BootDevice, BmcError> {
    BootDevice::parse(name).ok_or_else(|| BmcError::Unsupported { what: format!("boot device {name}") })
}

/// `disk` is what Ironic calls a medium on USB.
fn place(device_type: &str) -> &str {
    if device_type == "disk" { "usb" } else { device_type }
}

async fn act(bmc: &dyn Bmc, action: &Action) -> Result<Value, BmcError> {
    match action {
        Action::GetBootDevice => {
            let choice = bmc.boot_device().await?;
            Ok(json!({"boot_device": choice.device.map(BootDevice::as_str), "persistent": choice.persistent}))
        }
        Action::GetSupportedBootDevices => {
            let all: Vec<&str> = bmc.supported_boot_devices().await?.into_iter().map(BootDevice::as_str).collect();
            Ok(json!({"supported_boot_devices": all}))
        }
        Action::SetBootDevice { device: name, persistent } => {
            bmc.set_boot(device(name)?, !persistent).await?;
            Ok(Value::Null)
        }
        Action::InjectNmi => {
            bmc.inject_nmi().await?;
            Ok(Value::Null)
        }
        Action::GetIndicators => {
            let shown = |it: drivers::bmc::Indicator| {
                let readonly = it.states.is_empty();
                json!({"name": format!("{}@{}", it.name, it.component), "component": it.component, "readonly": readonly, "states": it.states})
            };
            let all: Vec<Value> = bmc.indicators().await?.into_iter().map(shown).collect();
            Ok(json!({"indicators": all}))
        }
        Action::GetIndicator { component, indicator } => {
            let found = bmc.indicators().await?.into_iter().find(|it| it.component == *component && it.name == *indicator);
            let found = found.ok_or_else(|| BmcError::Unsupported { what: format!("indicator {indicator}@{component}") })?;
            Ok(json!({"state": found.state}))
        }
        Action::SetIndicator { component, indicator, state } => {
            bmc.set_indicator(component, indicator, state).await?;
            Ok(Value::Null)
        }
        Action::GetVirtualMedia => {
            let shown = |it: drivers::bmc::Medium| json!({"media_types": [it.device_type], "image": it.image_url, "inserted": it.inserted});
            let all: Vec<Value> = bmc.virtual_media().await?.into_iter().map(shown).collect();
            Ok(Value::Array(all))
        }
        Action::AttachVirtualMedia { device_type, image_url } => {
            bmc.insert_media(place(device_type), image_url).await?;
            Ok(Value::Null)
        }
        Action::DetachVirtualMedia { device_types } => {
            if device_types.is_empty() {
                bmc.eject_media(None).await?;
            }
            for it in device_types {
                bmc.eject_media(Some(place(it))).await?;
            }
            Ok(Value::Null)
        }
        Action::Vendor { method, http_method, body } => bmc.vendor(method, http_method, body).await,
    }
}
