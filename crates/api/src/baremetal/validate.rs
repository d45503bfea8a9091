//! `/v1/nodes/{node}/validate`: whether what each interface of a node needs is there.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use model::Object;
use model::baremetal::{BaremetalPort, Interface, Node};
use model::fabric::{Switch, find_switch};
use model::secret::Settings;
use serde_json::{Map, Value, json};
use store::Query;

use super::versions::Minor;
use super::words::too_early;
use super::{Ask, access, provision};
use crate::failure::Failure;
use crate::page::Parameters;

/// The interfaces that are looked at, in Ironic's order.
const SHOWN: &[Interface] = &[
    Interface::Boot,
    Interface::Deploy,
    Interface::Management,
    Interface::Network,
    Interface::Power,
    Interface::Bios,
    Interface::Console,
    Interface::Firmware,
    Interface::Inspect,
    Interface::Raid,
    Interface::Rescue,
    Interface::Storage,
];

/// Whether `driver_info` says how a Redfish service is reached.
fn redfish(info: &Settings) -> Result<(), String> {
    let address =
        info.text("redfish_address").ok_or("Missing the following Redfish properties in node's driver_info: ['redfish_address']")?;
    // Without a scheme it is https.
    let full = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let uri: Option<http::Uri> = full.parse().ok();
    let fits = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|it| !it.is_empty()));
    if !fits {
        return Err(format!("Invalid Redfish address {address} set in driver_info/redfish_address"));
    }
    if let Some(system) = info.text("redfish_system_id").filter(|system| !system.starts_with('/')) {
        return Err(format!("redfish_system_id: '{system}' is not a path"));
    }
    Ok(())
}

/// The same for IPMI.
fn ipmi(info: &Settings) -> Result<(), String> {
    if info.text("ipmi_address").is_none_or(str::is_empty) {
        return Err("Missing the following IPMI credentials in node's driver_info: ['ipmi_address'].".into());
    }
    let port = info.0.get("ipmi_port").map(|it| it.as_u64().or_else(|| it.as_str().and_then(|text| text.parse().ok())));
    if matches!(port, Some(port) if !port.is_some_and(|it| (1..=65535).contains(&it))) {
        return Err("Node's driver_info/ipmi_port is not a port number.".into());
    }
    Ok(())
}

/// Whether the node's driver is told what it needs.
///
/// # Errors
/// What is missing or cannot be.
pub(super) fn controller(node: &Object<Node>, interface: Interface) -> Result<(), String> {
    match node.desired.interface(interface) {
        "redfish" => redfish(&node.desired.driver_info),
        "ipmitool" => ipmi(&node.desired.driver_info),
        _ => Ok(()),
    }
}

/// What is wrong with an interface that needs nothing but the controller.
fn by_controller(node: &Object<Node>, interface: Interface) -> Result<(), String> {
    if node.desired.interface(interface).starts_with("no-") {
        return Err(access::unsupported(node, interface.as_str()).message());
    }
    // Whatever boots the ramdisk needs the power, and so the controller.
    match interface {
        Interface::Boot | Interface::Rescue | Interface::Inspect => controller(node, Interface::Power),
        other => controller(node, other),
    }
}

async fn verdict(ask: &Ask, node: &Object<Node>, interface: Interface) -> Result<Result<(), String>, Failure> {
    match interface {
        Interface::Deploy => match provision::deployable(ask, node).await {
            Ok(()) => Ok(Ok(())),
            Err(Failure::BadRequest(why)) => Ok(Err(why)),
            Err(other) => Err(other),
        },
        Interface::Network if node.desired.interface(interface) == "neutron" => network(ask, node).await,
        other => Ok(by_controller(node, other)),
    }
}

/// Whether each card by which the machine boots ends at a switch of ours.
async fn network(ask: &Ask, node: &Object<Node>) -> Result<Result<(), String>, Failure> {
    let ports = ask.app.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
    let switches = ask.app.store.list(&Query::<Switch>::new()).await?;
    if !ports.iter().any(|port| port.desired.pxe_enabled) {
        return Ok(Err("the node has no port with pxe_enabled".into()));
    }
    for port in ports.iter().filter(|port| port.desired.pxe_enabled) {
        let Some(link) = &port.desired.local_link_connection else {
            return Ok(Err(format!("port {} has no local_link_connection", port.desired.address)));
        };
        if find_switch(&switches, link).is_none() {
            return Ok(Err(format!("port {}: no managed switch is at the other end", port.desired.address)));
        }
    }
    Ok(Ok(()))
}

pub(super) async fn show(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    validated(&ask, &ident).await
}

/// `GET /v1/nodes/validate?node=` or `?node_uuid=`: as Ironic had it first.
pub(super) async fn by_query(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    match (query.get("node_uuid"), query.get("node")) {
        (Some(id), _) => validated(&ask, id).await,
        (None, Some(_)) if ask.minor < Minor(5) => Err(too_early()),
        (None, Some(ident)) => validated(&ask, ident).await,
        (None, None) => Err(Failure::BadRequest("Missing mandatory parameter: node".into())),
    }
}

async fn validated(ask: &Ask, ident: &str) -> Result<Response, Failure> {
    let node = access::permitted(ask, ident, "baremetal:node:validate").await?;
    let mut out = Map::new();
    for interface in SHOWN {
        let shown = match verdict(ask, &node, *interface).await? {
            Ok(()) => json!({"result": true}),
            Err(reason) => json!({"result": false, "reason": reason}),
        };
        out.insert(interface.as_str().to_owned(), shown);
    }
    Ok(Json(Value::Object(out)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controllers_need() {
        let of = |check: fn(&Settings) -> Result<(), String>, value: Value| check(&serde_json::from_value::<Settings>(value).unwrap());
        assert_eq!(of(redfish, json!({"redfish_address": "http://127.0.0.1:8101", "redfish_system_id": "/redfish/v1/Systems/m1"})), Ok(()));
        assert_eq!(of(redfish, json!({"redfish_address": "bmc.example"})), Ok(()));
        for bad in [
            json!({}),
            json!({"redfish_address": "ftp://x"}),
            json!({"redfish_address": 7}),
            json!({"redfish_address": "http://x", "redfish_system_id": "m1"}),
        ] {
            assert!(of(redfish, bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(of(ipmi, json!({"ipmi_address": "192.0.2.1", "ipmi_port": "623"})), Ok(()));
        assert!(of(ipmi, json!({"ipmi_address": "192.0.2.1", "ipmi_port": 0})).is_err());
        assert!(of(ipmi, json!({})).is_err());
    }
}
