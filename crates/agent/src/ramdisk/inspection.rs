//! Telling the control plane what the machine is made of, before it is asked for by name.
//!
//! Source: ironic-python-agent, `inspector.py` (`collect_default`, `collect_lldp`, `call_inspector`).

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use net::http::{Client, Request};
use serde_json::{Value, json};

use super::api::Backoff;
use super::failure::chain;
use super::interface::{self, Interface};
use super::lldp::{self, Heard};
use super::{hardware, kernel};

/// How often the inventory is offered to all URLs before the agent goes on without inspection.
const TRIES: u32 = 5;
const DEADLINE: Duration = Duration::from_secs(30);
/// Time for a link to come up after its interface was switched on.
const LINK: Duration = Duration::from_secs(3);

/// Listens on `only`, or on every interface. With `wake` those that are off are switched on first; that is for machines, whose
/// interfaces are nobody else's. Blocking.
pub fn neighbours(only: Option<&str>, wake: bool, patience: Duration) -> Heard {
    let all = || {
        let all = interface::list().unwrap_or_default().into_iter();
        all.filter(|it| only.map_or(!it.loopback, |only| it.name == only)).collect::<Vec<_>>()
    };
    let mut woken = false;
    for silent in all().iter().filter(|it| wake && !it.carrier) {
        match kernel::set_up(&silent.name) {
            Ok(()) => woken = true,
            Err(error) => tracing::debug!(interface = silent.name, %error, "could not switch the interface on"),
        }
    }
    if woken {
        std::thread::sleep(LINK.min(patience));
    }
    let names: Vec<String> = all().into_iter().filter(|it| it.carrier).map(|it| it.name).collect();
    tracing::info!(interfaces = names.join(" "), wait_ms = patience.as_millis(), "listening for neighbours");
    lldp::listen(&names, patience)
}

/// What is sent. Blocking, quick.
fn report(disks: &[PathBuf], root: Option<&PathBuf>, booted: &Interface, heard: &Heard) -> Value {
    let inventory = hardware::inventory(disks, booted, heard);
    let name = root.map(|it| it.display().to_string());
    let disk = inventory["disks"].as_array().and_then(|all| all.iter().find(|it| it["name"].as_str() == name.as_deref())).cloned();
    json!({
        "root_disk": disk,
        "boot_interface": inventory["boot"]["pxe_interface"],
        "inventory": inventory,
        "configuration": {
            "collectors": ["default", "lldp"],
            "managers": [{ "name": super::steps::MANAGER, "version": env!("CARGO_PKG_VERSION") }],
        },
        "lldp_raw": heard.iter().map(|(name, tlvs)| (name.clone(), lldp::json(tlvs))).collect::<serde_json::Map<_, _>>(),
        "error": null,
    })
}

/// Collects and sends the inventory; the answer names the node, if the control plane found or made one.
///
/// # Errors
/// The reason why the last try failed; the machine may still be known without inspection.
pub async fn inspect(
    urls: &[String],
    disks: Vec<PathBuf>,
    root: Option<PathBuf>,
    booted: &Interface,
    heard: &Heard,
) -> Result<Option<uuid::Uuid>, String> {
    let (booted, heard) = (booted.clone(), heard.clone());
    let report =
        tokio::task::spawn_blocking(move || report(&disks, root.as_ref(), &booted, &heard)).await.map_err(|error| error.to_string())?;
    let client = Client::plain().with_deadline(DEADLINE);
    let mut backoff = Backoff::default();
    let mut reason = "no URL".to_owned();
    for number in 0..TRIES {
        if number > 0 {
            tokio::time::sleep(backoff.next()).await;
        }
        for url in urls {
            let request = Request::json(Method::POST, url.clone(), &report).header("accept", "application/json");
            match client.send(request).await {
                Ok(answer) if answer.is_success() => {
                    let node = answer.json::<Value>().ok().and_then(|it| uuid::Uuid::parse_str(it.get("uuid")?.as_str()?).ok());
                    tracing::info!(node = node.map(tracing::field::display), "the control plane took the inventory");
                    return Ok(node);
                }
                // Such as an unknown machine: asking again changes nothing.
                Ok(answer) if answer.status < 500 && answer.status != 409 => {
                    return Err(format!("HTTP status {}: {}", answer.status, answer.text().chars().take(300).collect::<String>()));
                }
                Ok(answer) => reason = format!("HTTP status {}", answer.status),
                Err(error) => reason = chain(&error),
            }
            tracing::warn!(url, reason, "the inventory was not taken");
        }
    }
    Err(reason)
}
