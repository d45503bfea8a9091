//! What a client asks of a BMC and waits for: done once, while somebody waits.

use std::time::Duration;

use drivers::bmc::{Bmc, BmcError, BootDevice};
use model::Timestamp;
use model::baremetal::{Action, ActionEnd, Node, NodeAction};
use serde_json::{Value, json};

use crate::node;
use crate::runtime::{Cx, Look, Next};

/// How long an answer that nobody fetched is kept.
const KEPT: Duration = Duration::from_secs(60);

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
    if left <= 0.0 {
        cx.store.apply(cx.facts().remove(&row)).await?;
        return Ok(Next::Gone);
    }
    let end = match cx.store.get::<Node>(&row.desired.node_id).await? {
        None => ActionEnd::Failed { why: format!("node {} is not there", row.desired.node_id) },
        Some(node) => match cx.outside.bmc(node::hardware(&node, &node.desired)) {
            Ok(bmc) => {
                let limit = Duration::from_secs_f64(left.clamp(0.1, 55.0));
                match tokio::time::timeout(limit, act(bmc.as_ref(), &row.desired.action)).await {
                    Ok(Ok(value)) => ActionEnd::Done { value },
                    Ok(Err(error)) => ended(&error),
                    Err(_) => ActionEnd::Failed { why: "the BMC did not answer in time".into() },
                }
            }
            Err(error) => ended(&error),
        },
    };
    row.observed.end = Some(end);
    cx.store.apply(cx.facts().observe(&row)).await?;
    Ok(Next::Again(KEPT))
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
