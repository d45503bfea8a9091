//! `/v1/drivers`: the hardware types, what they have to be told of a node, and what they can.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::StatusCode;
use model::baremetal::Interface;
use model::baremetal::hardware::{HardwareType, TYPES, hardware_type};
use serde_json::{Map, Value, json};

use super::resource::{links, refused};
use super::versions::Minor;
use super::words::{boolean, needs, too_early};
use super::{Ask, access};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// Keys of `driver_info` in words.
type Properties = &'static [(&'static str, &'static str)];

/// What Redfish has to be told (Source: Ironic documentation, "Redfish driver").
const REDFISH: Properties = &[
    ("redfish_address", "The URL of the Redfish service, with its scheme and authority. Required."),
    ("redfish_system_id", "The path of the ComputerSystem. Required if the service has several systems."),
    ("redfish_username", "A user who may administer the system. Optional."),
    ("redfish_password", "The user's password. Optional."),
    ("redfish_verify_ca", "A PEM certificate to verify the service with, or false for no verification. Optional."),
    ("redfish_auth_type", "How to authenticate: basic, session or auto. Optional."),
];

/// What IPMI has to be told (Source: Ironic documentation, "IPMI driver").
const IPMI: Properties = &[
    ("ipmi_address", "The IP address or host name of the BMC. Required."),
    ("ipmi_port", "The UDP port of the BMC; 623 if absent. Optional."),
    ("ipmi_username", "The user; none if absent. Optional."),
    ("ipmi_password", "The user's password. Optional."),
    ("ipmi_priv_level", "The privilege level: ADMINISTRATOR, OPERATOR, USER or CALLBACK; ADMINISTRATOR if absent. Optional."),
    ("ipmi_protocol_version", "The version of the protocol: 1.5 or 2.0; 2.0 if absent. Optional."),
    ("ipmi_cipher_suite", "The number of the cipher suite: 3 or 17. Optional."),
    ("ipmi_hex_kg_key", "The Kg key in hexadecimal digits. Optional."),
    ("ipmi_terminal_port", "The port of the console. Required only if the console is to be used."),
];

/// What booting a ramdisk has to be told (Source: Ironic documentation, "Enabling and configuring boot interfaces").
const BOOT: Properties = &[
    ("deploy_kernel", "The UUID of the image of the deploy kernel; the server's own if absent. Optional."),
    ("deploy_ramdisk", "The UUID of the image of the deploy ramdisk; the server's own if absent. Optional."),
    ("rescue_kernel", "The UUID of the image of the rescue kernel; the deploy kernel if absent. Optional."),
    ("rescue_ramdisk", "The UUID of the image of the rescue ramdisk; the deploy ramdisk if absent. Optional."),
    ("kernel_append_params", "More parameters of the ramdisk's kernel. Optional."),
    ("force_persistent_boot_device", "Whether boot devices are set for good: Always, Never or Default. Optional."),
];

/// What fake hardware would have to be told (Source: Ironic, `drivers/modules/fake.py`).
const FAKE: Properties = &[("B1", "B1 description. Required."), ("B2", "B2 description. Required.")];

/// What a RAID set can be asked to be (Source: Ironic documentation, "RAID configuration").
const RAID: Properties = &[
    ("raid_level", "The RAID level: 'JBOD', '0', '1', '2', '5', '6', '1+0', '5+0' or '6+0'. Required."),
    ("size_gb", "The size in GiB, or 'MAX' for all that is left. Required."),
    ("volume_name", "The name of the volume; made up if absent. Optional."),
    ("is_root_volume", "Whether it is the root volume; false if absent. Optional."),
    ("share_physical_disks", "Whether other volumes may be on the same disks; false if absent. Optional."),
    ("disk_type", "The type of disks: 'hdd' or 'ssd'. Optional."),
    ("interface_type", "The interface of disks: 'sata', 'scsi' or 'sas'. Optional."),
    ("number_of_physical_disks", "How many disks; as few as the level needs if absent. Optional."),
    ("controller", "The RAID controller; chosen if absent. Optional."),
    ("physical_disks", "The disks; chosen if absent. Optional."),
];

fn properties_of(driver: &HardwareType) -> impl Iterator<Item = &'static (&'static str, &'static str)> + use<> {
    let (own, boot): (Properties, Properties) = match driver.name {
        "redfish" => (REDFISH, BOOT),
        "ipmi" => (IPMI, BOOT),
        "fake-hardware" => (FAKE, &[]),
        _ => (&[], BOOT),
    };
    own.iter().chain(boot)
}

fn told<'a>(items: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Response {
    Json(items.map(|(key, text)| ((*key).to_owned(), json!(text))).collect::<Value>()).into_response()
}

fn known(name: &str) -> Result<&'static HardwareType, Failure> {
    hardware_type(name)
        .ok_or_else(|| refused(StatusCode::NOT_FOUND, format!("Could not find the following driver(s) or hardware type(s): {name}.")))
}

/// The fields of a driver in that version.
fn shown(ask: &Ask, driver: &HardwareType, detail: bool) -> Map<String, Value> {
    let name = driver.name;
    let mut out = Map::new();
    out.insert("name".into(), json!(name));
    out.insert("hosts".into(), json!(ask.conductors.hosts_for(name)));
    out.insert("links".into(), links(ask, &format!("drivers/{name}")));
    if ask.minor >= Minor(14) {
        out.insert("properties".into(), links(ask, &format!("drivers/{name}/properties")));
    }
    if ask.minor >= Minor(30) {
        out.insert("type".into(), json!("dynamic"));
        // They came with types, all but those that came later.
        let since = |interface: Interface| if interface.since() <= 31 { 30 } else { interface.since() };
        for interface in Interface::ALL.iter().filter(|it| detail && Minor(since(**it)) <= ask.minor) {
            let kind = interface.as_str();
            out.insert(format!("default_{kind}_interface"), json!(driver.default_of(*interface)));
            out.insert(format!("enabled_{kind}_interfaces"), json!(driver.enabled(*interface)));
        }
    }
    out
}

/// Only the fields asked for, and the links.
fn only(out: Map<String, Value>, fields: Option<&Vec<String>>) -> Result<Value, Failure> {
    let Some(fields) = fields else { return Ok(Value::Object(out)) };
    if let Some(name) = fields.iter().find(|name| !out.contains_key(*name)) {
        return Err(Failure::BadRequest(format!("Field(s) \"{name}\" are not valid")));
    }
    Ok(Value::Object(out.into_iter().filter(|(name, _)| name == "links" || fields.contains(name)).collect()))
}

fn fields_of(ask: &Ask, query: &HashMap<String, String>) -> Result<Option<Vec<String>>, Failure> {
    let Some(text) = query.get("fields") else { return Ok(None) };
    if ask.minor < Minor(77) {
        return Err(too_early());
    }
    Ok(Some(text.split(',').map(|it| it.trim().to_ascii_lowercase()).filter(|it| !it.is_empty()).collect()))
}

/// `GET /v1/drivers`.
async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:get")?;
    if let Some(other) = query.keys().find(|key| !["type", "detail", "fields"].contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let detail = query.get("detail").map(|text| boolean("detail", &json!(text))).transpose()?;
    let fields = fields_of(&ask, &query)?;
    if detail == Some(true) && fields.is_some() {
        return Err(Failure::BadRequest("Can not specify ?detail=True and fields in the same request.".into()));
    }
    let kind = query.get("type").map(String::as_str);
    if ask.minor < Minor(30) && (detail.is_some() || kind.is_some()) {
        return Err(needs(30));
    }
    let drivers: &[HardwareType] = match kind {
        None | Some("dynamic") => TYPES,
        Some("classic") => &[],
        Some(_) => return Err(Failure::BadRequest("\"type\" filter must be one of \"classic\" or \"dynamic\", if specified.".into())),
    };
    let mut sorted: Vec<&HardwareType> = drivers.iter().collect();
    sorted.sort_by_key(|it| it.name);
    let all = detail == Some(true) || fields.is_some();
    let items: Vec<Value> = sorted.into_iter().map(|it| only(shown(&ask, it, all), fields.as_ref())).collect::<Result<_, _>>()?;
    Ok(Json(json!({ "drivers": items })).into_response())
}

/// `GET /v1/drivers/{driver}`.
async fn show(ask: Ask, Path(name): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:get")?;
    let fields = fields_of(&ask, &query)?;
    Ok(Json(only(shown(&ask, known(&name)?, true), fields.as_ref())?).into_response())
}

/// `GET /v1/drivers/{driver}/properties`.
async fn properties(ask: Ask, Path(name): Path<String>) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:get_properties")?;
    Ok(told(properties_of(known(&name)?)))
}

/// `GET /v1/drivers/{driver}/raid/logical_disk_properties`.
async fn raid(ask: Ask, Path(name): Path<String>) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:get_raid_logical_disk_properties")?;
    if ask.minor < Minor(12) {
        return Err(too_early());
    }
    let driver = known(&name)?;
    if driver.default_of(Interface::Raid) == Some("no-raid") {
        return Err(refused(StatusCode::NOT_FOUND, format!("Driver {name} does not support raid (disabled or not implemented).")));
    }
    Ok(told(RAID.iter()))
}

/// `GET /v1/drivers/{driver}/vendor_passthru/methods`: no driver has methods that are of no node.
async fn methods(ask: Ask, Path(name): Path<String>) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:vendor_passthru")?;
    known(&name)?;
    Ok(Json(json!({})).into_response())
}

/// `…/vendor_passthru?method=`.
async fn call(ask: Ask, Path(name): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:vendor_passthru")?;
    known(&name)?;
    match query.get("method").filter(|it| !it.is_empty()) {
        None => Err(Failure::BadRequest("Method not specified".into())),
        Some(method) => Err(Failure::BadRequest(format!("No handler for method {method}"))),
    }
}

/// The method's name in the path, as the client sends it.
async fn call_by_path(
    ask: Ask,
    Path((name, method)): Path<(String, String)>,
    Parameters(mut query): Parameters,
) -> Result<Response, Failure> {
    query.insert("method".into(), method);
    call(ask, Path(name), Parameters(query)).await
}

/// Their paths.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/drivers", get(list))
        .route("/v1/drivers/{driver}", get(show))
        .route("/v1/drivers/{driver}/properties", get(properties))
        .route("/v1/drivers/{driver}/raid/logical_disk_properties", get(raid))
        .route("/v1/drivers/{driver}/vendor_passthru/methods", get(methods))
        .route("/v1/drivers/{driver}/vendor_passthru", get(call).put(call).post(call).patch(call).delete(call))
        .route("/v1/drivers/{driver}/vendor_passthru/{method}", any(call_by_path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_says_what_it_has_to_be_told() {
        for driver in TYPES {
            let keys: Vec<&str> = properties_of(driver).map(|it| it.0).collect();
            assert!(!keys.is_empty(), "{}", driver.name);
        }
        assert!(properties_of(known("ipmi").unwrap()).any(|it| it.0 == "ipmi_address"));
        assert!(known("x").is_err());
    }
}
