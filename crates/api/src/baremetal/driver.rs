//! `/v1/drivers`: there is one, Redfish.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use model::secret::Settings;
use serde_json::{Value, json};

use super::node_fields::links;
use super::versions::Minor;
use super::{Ask, access};
use crate::failure::Failure;

/// Names of the drivers.
pub(super) const NAMES: &[&str] = &["redfish"];

/// What `driver_info` may say, in words (Source: Ironic documentation, "Redfish driver").
const PROPERTIES: &[(&str, &str)] = &[
    ("redfish_address", "The URL address to the Redfish controller. It must include the authority portion of the URL. Required."),
    ("redfish_system_id", "The canonical path to the ComputerSystem resource. Optional if the controller has one system."),
    ("redfish_username", "User account with admin access. Optional."),
    ("redfish_password", "User account password. Optional."),
    ("redfish_verify_ca", "A PEM certificate to verify the controller with, or false for no verification. Optional."),
    ("deploy_kernel", "UUID of the image of the deploy kernel; the server's own if absent. Optional."),
    ("deploy_ramdisk", "UUID of the image of the deploy ramdisk; the server's own if absent. Optional."),
];

/// Whether `driver_info` says what the driver needs.
///
/// # Errors
/// What is missing or cannot be.
pub(super) fn check(info: &Settings) -> Result<(), String> {
    let address = info.text("redfish_address").ok_or("Missing the following required parameter in driver_info: redfish_address")?;
    let uri: Option<http::Uri> = address.parse().ok();
    let fits = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()));
    if !fits {
        return Err(format!("redfish_address: '{address}' is not an http or https URL"));
    }
    if let Some(system) = info.text("redfish_system_id").filter(|system| !system.starts_with('/')) {
        return Err(format!("redfish_system_id: '{system}' is not a path"));
    }
    Ok(())
}

fn shown(ask: &Ask, name: &str, detail: bool) -> Value {
    let mut out = json!({"name": name, "hosts": [], "links": links(&ask.base, &format!("drivers/{name}"))});
    if let Some(map) = out.as_object_mut() {
        if ask.minor >= Minor(14) {
            map.insert("properties".into(), links(&ask.base, &format!("drivers/{name}/properties")));
        }
        if ask.minor >= Minor(30) {
            map.insert("type".into(), json!("dynamic"));
            let one = [("boot", "ipxe"), ("deploy", "direct"), ("management", "redfish"), ("network", "cofferdam"), ("power", "redfish")];
            for (kind, implementation) in one.iter().filter(|_| detail) {
                map.insert(format!("default_{kind}_interface"), json!(implementation));
                map.insert(format!("enabled_{kind}_interfaces"), json!([implementation]));
            }
        }
    }
    out
}

pub(super) async fn list(ask: Ask) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:list")?;
    let drivers: Vec<Value> = NAMES.iter().map(|name| shown(&ask, name, false)).collect();
    Ok(Json(json!({ "drivers": drivers })).into_response())
}

fn known(name: &str) -> Result<&'static str, Failure> {
    NAMES.iter().find(|it| **it == name).copied().ok_or_else(|| Failure::not_found("Driver", name))
}

pub(super) async fn show(ask: Ask, Path(name): Path<String>) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:get")?;
    Ok(Json(shown(&ask, known(&name)?, true)).into_response())
}

pub(super) async fn properties(ask: Ask, Path(name): Path<String>) -> Result<Response, Failure> {
    access::require_any(&ask, "baremetal:driver:get_properties")?;
    known(&name)?;
    Ok(Json(PROPERTIES.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect::<Value>()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bmc_needs() {
        let of = |value: Value| check(&serde_json::from_value::<Settings>(value).unwrap());
        assert_eq!(of(json!({"redfish_address": "http://127.0.0.1:8101", "redfish_system_id": "/redfish/v1/Systems/m1"})), Ok(()));
        for bad in [
            json!({}),
            json!({"redfish_address": "127.0.0.1"}),
            json!({"redfish_address": "ftp://x"}),
            json!({"redfish_address": 7}),
            json!({"redfish_address": "http://x", "redfish_system_id": "m1"}),
        ] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
    }
}
