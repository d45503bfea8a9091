//! What a node's `driver_info` says of its Redfish BMC (Source of names and words: Ironic documentation, "Redfish driver").

use std::net::IpAddr;

use model::Secret;
use serde_json::Value;

use crate::bmc::help::{as_bool, info_text};
use crate::bmc::{BmcError, HardwareConfig, VerifyCa};

/// Largest file of certificates read, in bytes.
const CA_FILE_BYTES: u64 = 1 << 20;

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AuthType {
    /// By a session if there are any, else with each request.
    Auto,
    /// By a session or not at all.
    Session,
    /// With each request.
    Basic,
}

/// Where a BMC is and how to log in.
#[derive(Clone)]
pub(super) struct RedfishConfig {
    /// `https://host:port`, without a path.
    pub(super) base: String,
    /// The path of the service, with a slash at its end: `/redfish/v1/`.
    pub(super) root: String,
    /// The machine's path (`/redfish/v1/Systems/1`). Without it the BMC must have exactly one system.
    pub(super) system: Option<String>,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) verify_ca: VerifyCa,
    pub(super) auth_type: AuthType,
}

impl RedfishConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Config`, which says what is missing or malformed.
    pub(super) fn read(config: &HardwareConfig) -> Result<Self, BmcError> {
        let (info, node) = (&config.info, &config.node);
        let wrong = |reason: String| BmcError::Config { address: String::new(), reason };
        let invalid = |key: &str, what: &str| {
            let shown = info.0.get(key).map_or_else(String::new, |it| crate::bmc::help::text_of(it).chars().take(200).collect());
            wrong(format!("Invalid value \"{shown}\" set in driver_info/{key} on node {node}. {what}"))
        };
        let address = match info.0.get("redfish_address") {
            Some(Value::String(text)) if !text.trim().is_empty() => text.trim(),
            None | Some(Value::Null | Value::String(_)) => {
                return Err(wrong(format!("Missing the following Redfish properties in node {node} driver_info: ['redfish_address']")));
            }
            Some(_) => return Err(invalid("redfish_address", "The value should be a URL.")),
        };
        let (base, root) = split(address)
            .ok_or_else(|| wrong(format!("Invalid Redfish address {address} set in driver_info/redfish_address on node {node}")))?;
        let system = match info.0.get("redfish_system_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(Value::String(text)) => Some(system_path(text.trim(), &root)),
            Some(_) => {
                let what = "The value should be a path (string) to the resource that the driver will interact with. \
                            For example: /redfish/v1/Systems/1";
                return Err(invalid("redfish_system_id", what));
            }
        };
        let auth_type = match info.0.get("redfish_auth_type") {
            None | Some(Value::Null) => AuthType::Auto,
            Some(Value::String(text)) if text == "auto" => AuthType::Auto,
            Some(Value::String(text)) if text == "session" => AuthType::Session,
            Some(Value::String(text)) if text == "basic" => AuthType::Basic,
            Some(_) => return Err(invalid("redfish_auth_type", "The value should be one of \"basic\", \"session\" or \"auto\".")),
        };
        if let Some(version) = info_text(info, "redfish_tls_minimum_version")
            && !["1.1", "1.2", "1.3"].contains(&version.as_str())
        {
            return Err(invalid("redfish_tls_minimum_version", "The value should be one of \"1.1\", \"1.2\", or \"1.3\"."));
        }
        let verify_ca = verify(info.0.get("redfish_verify_ca")).map_err(|why| invalid("redfish_verify_ca", &why))?;
        Ok(Self {
            base,
            root,
            system,
            username: info_text(info, "redfish_username").unwrap_or_default(),
            password: Secret::new(info_text(info, "redfish_password").unwrap_or_default()),
            verify_ca,
            auth_type,
        })
    }
}

/// `redfish_verify_ca`: a boolean, certificates (PEM), or the path of a file of them. Without one the BMC's certificate must be
/// trusted by nobody's default, which the connection says when it is opened.
fn verify(value: Option<&Value>) -> Result<VerifyCa, String> {
    let what = "The value should be a Boolean, certificates in PEM form, or the path to a file of them";
    match value {
        None | Some(Value::Null) => Ok(VerifyCa::Pem(String::new())),
        Some(Value::String(pem)) if pem.contains("BEGIN CERTIFICATE") => Ok(VerifyCa::Pem(pem.clone())),
        Some(Value::String(path)) if path.starts_with('/') => file(path).map(VerifyCa::Pem).ok_or_else(|| format!("{what}.")),
        Some(value) => match as_bool(value) {
            Some(true) => Ok(VerifyCa::Pem(String::new())),
            Some(false) => Ok(VerifyCa::Anyone),
            None => Err(format!("{what}.")),
        },
    }
}

/// A small file on the local disk; read once for each time the node is opened with a path.
fn file(path: &str) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    if !about.is_file() || about.len() > CA_FILE_BYTES {
        return None;
    }
    std::fs::read_to_string(path).ok().filter(|it| it.contains("BEGIN CERTIFICATE"))
}

/// `scheme://authority` and the path of the service.
fn split(address: &str) -> Option<(String, String)> {
    // An address of IPv6 alone, as people write it.
    let bare = match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => address.to_owned(),
    };
    let (scheme, rest) = match bare.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest.to_owned()),
        None => ("https".to_owned(), bare),
    };
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest.as_str(), ""),
    };
    host_of(authority)?;
    let path = path.trim_matches('/');
    let root = if path.is_empty() { "/redfish/v1/".to_owned() } else { format!("/{}/", encoded(path)) };
    Some((format!("{scheme}://{authority}"), root))
}

/// The host of an authority, if it is well-formed: a name, an address, or one in brackets, and a port.
pub(super) fn host_of(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("?") }))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => None,
        Some(text) => Some(text.parse::<u16>().ok().filter(|it| *it != 0)?),
    };
    let is_name = |it: &str| !it.is_empty() && it.len() <= 253 && it.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    (authority.starts_with('[') || is_name(host)).then_some((host, port))
}

fn system_path(text: &str, root: &str) -> String {
    let path = encoded(text.trim_end_matches('/'));
    match path.contains('/') {
        false => format!("{root}Systems/{path}"),
        true if path.starts_with('/') => path,
        true => format!("/{path}"),
    }
}

/// A path in which what a URL may not hold is escaped (RFC 3986, section 3.3).
pub(super) fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            _ if b"-._~!$&'()*+,;=:@/%?#".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bmc::tests::config;

    fn read(info: &Value) -> Result<RedfishConfig, String> {
        RedfishConfig::read(&config("redfish", info)).map_err(|it| it.to_string())
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (address, base, root) in [
            ("bmc.example.org", "https://bmc.example.org", "/redfish/v1/"),
            ("http://10.0.0.1:8000", "http://10.0.0.1:8000", "/redfish/v1/"),
            ("https://10.0.0.1/", "https://10.0.0.1", "/redfish/v1/"),
            ("https://10.0.0.1/api/redfish/v1", "https://10.0.0.1", "/api/redfish/v1/"),
            ("fd00::1", "https://[fd00::1]", "/redfish/v1/"),
            ("https://[fd00::1]:8443", "https://[fd00::1]:8443", "/redfish/v1/"),
        ] {
            let it = read(&json!({"redfish_address": address})).unwrap();
            assert_eq!((it.base.as_str(), it.root.as_str()), (base, root), "{address}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = "http://10.0.0.1";
        for (info, words) in [
            (json!({}), "Missing the following Redfish properties"),
            (json!({"redfish_address": ""}), "Missing the following Redfish properties"),
            (json!({"redfish_address": 5}), "Invalid value"),
            (json!({"redfish_address": "ftp://10.0.0.1"}), "Invalid Redfish address"),
            (json!({"redfish_address": "http://a b"}), "Invalid Redfish address"),
            (json!({"redfish_address": "http://10.0.0.1:x"}), "Invalid Redfish address"),
            (json!({"redfish_address": "http://[::1"}), "Invalid Redfish address"),
            (json!({"redfish_address": "http://[::1]x"}), "Invalid Redfish address"),
            (json!({"redfish_address": "http://u:p@10.0.0.1"}), "Invalid Redfish address"),
            (json!({"redfish_address": good, "redfish_system_id": {}}), "redfish_system_id"),
            (json!({"redfish_address": good, "redfish_auth_type": "magic"}), "should be one of \"basic\", \"session\" or \"auto\""),
            (json!({"redfish_address": good, "redfish_verify_ca": "maybe"}), "redfish_verify_ca"),
            (json!({"redfish_address": good, "redfish_verify_ca": "/nonexistent"}), "redfish_verify_ca"),
            (json!({"redfish_address": good, "redfish_verify_ca": []}), "redfish_verify_ca"),
            (json!({"redfish_address": good, "redfish_tls_minimum_version": "1.0"}), "redfish_tls_minimum_version"),
        ] {
            let error = read(&info).err().unwrap_or_else(|| panic!("{info} was taken"));
            assert!(error.contains(words), "{info}: {error}");
        }
    }

    #[test]
    fn systems_are_named_by_path_or_by_id() {
        for (id, path) in [
            ("/redfish/v1/Systems/1", "/redfish/v1/Systems/1"),
            ("redfish/v1/Systems/1/", "/redfish/v1/Systems/1"),
            ("437XR", "/redfish/v1/Systems/437XR"),
            ("/redfish/v1/Systems/a b", "/redfish/v1/Systems/a%20b"),
        ] {
            let it = read(&json!({"redfish_address": "x", "redfish_system_id": id})).unwrap();
            assert_eq!(it.system.as_deref(), Some(path));
        }
    }
}
