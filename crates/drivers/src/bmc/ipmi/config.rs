//! What a node's `driver_info` says of its IPMI BMC (Source of names and words: Ironic documentation, "IPMI driver").

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use model::Secret;
use serde_json::Value;

use crate::bmc::help::{as_bool, info_text};
use crate::bmc::{BmcError, HardwareConfig};

const PRIVILEGES: &[&str] = &["ADMINISTRATOR", "CALLBACK", "OPERATOR", "USER"];

/// Where a BMC is and how to log in.
#[derive(Clone)]
pub(super) struct IpmiConfig {
    pub(super) address: String,
    /// Arguments of `ipmitool` that are the same for all commands; no secret is among them.
    pub(super) args: Vec<String>,
    pub(super) password: Secret,
    /// The BMC's own key, raw, if it has one.
    pub(super) kg_key: Option<Kg>,
    pub(super) cipher_suite: Option<String>,
    /// Whether the BMC forgets a chosen boot device in a minute unless it is told not to.
    pub(super) disable_boot_timeout: bool,
    /// Whether a lasting choice is made anew before each start, since the BMC keeps none.
    pub(super) force_boot_device: bool,
    /// Whether this is IPMI 2.0.
    pub(super) is_two: bool,
}

/// A key of the BMC.
#[derive(Clone)]
pub(super) enum Kg {
    /// As text of the environment.
    Raw(OsString),
    /// One with a zero byte, which no environment holds; the only secret that `ipmitool` takes as an argument alone.
    Hex(Secret),
}

impl IpmiConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Config`, which says what is missing or malformed.
    pub(super) fn read(config: &HardwareConfig) -> Result<Self, BmcError> {
        let info = &config.info;
        let wrong = |reason: String| BmcError::Config { address: String::new(), reason };
        let text = |key: &str| info_text(info, key);
        let Some(address) = text("ipmi_address") else {
            return Err(wrong("Missing the following IPMI credentials in node's driver_info: ['ipmi_address'].".into()));
        };
        if !is_host(&address) {
            let what = "Must be a valid IP address or hostname.";
            return Err(wrong(format!("Invalid IPMI address \"{address}\" for node {}. {what}", config.node)));
        }
        let version = text("ipmi_protocol_version").unwrap_or_else(|| "2.0".into());
        let is_two = match version.as_str() {
            "2.0" | "2" => true,
            "1.5" => false,
            other => {
                return Err(wrong(format!("Invalid IPMI protocol version value {other}, the valid value can be one of 2.0, 1.5")));
            }
        };
        let privilege = text("ipmi_priv_level").unwrap_or_else(|| "ADMINISTRATOR".into());
        if !PRIVILEGES.contains(&privilege.as_str()) {
            let valid = PRIVILEGES.join(", ");
            return Err(wrong(format!("Invalid privilege level value:{privilege}, the valid value can be one of {valid}")));
        }
        let interface = if is_two { "lanplus" } else { "lan" };
        let mut args = ["-I", interface, "-H", &address, "-L", &privilege].map(str::to_owned).to_vec();
        for key in ["ipmi_port", "ipmi_terminal_port"] {
            if let Some(port) = text(key) {
                let valid = port.parse::<u16>().is_ok_and(|it| it > 0);
                if !valid {
                    return Err(wrong(format!("{key} \"{port}\" is not a valid port number")));
                }
                if key == "ipmi_port" {
                    args.extend(["-p".into(), port]);
                }
            }
        }
        if let Some(user) = text("ipmi_username") {
            args.extend(["-U".into(), user]);
        }
        args.extend(bridging(&text).map_err(wrong)?);
        let kg_key = match text("ipmi_hex_kg_key") {
            None => None,
            Some(key) => Some(kg(&key).map_err(wrong)?),
        };
        let cipher_suite = text("ipmi_cipher_suite");
        if let Some(suite) = &cipher_suite {
            if suite.parse::<u8>().is_err() {
                return Err(wrong(format!("Invalid cipher suite {suite}, expected a number")));
            }
            if !is_two {
                return Err(wrong("Cipher suites cannot be used with IPMI 1.5".into()));
            }
        }
        let flag = |key: &str, default: bool| match info.0.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => as_bool(value).ok_or_else(|| wrong(format!("driver_info/{key} must be a Boolean"))),
        };
        Ok(Self {
            args,
            password: Secret::new(text("ipmi_password").unwrap_or_default()),
            kg_key,
            cipher_suite,
            disable_boot_timeout: flag("ipmi_disable_boot_timeout", true)?,
            force_boot_device: flag("ipmi_force_boot_device", false)?,
            is_two,
            address,
        })
    }
}

/// Commands that go to a controller behind the BMC.
fn bridging(text: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let kind = text("ipmi_bridging").unwrap_or_else(|| "no".into());
    let mut needed = match kind.as_str() {
        "no" => return Ok(Vec::new()),
        "single" => vec![("ipmi_target_channel", "-b"), ("ipmi_target_address", "-t")],
        "dual" => vec![
            ("ipmi_transit_channel", "-B"),
            ("ipmi_transit_address", "-T"),
            ("ipmi_target_channel", "-b"),
            ("ipmi_target_address", "-t"),
        ],
        other => {
            let valid = "['single', 'dual', 'no']";
            return Err(format!("Invalid value for ipmi_bridging: {other}, the valid value can be one of: {valid}"));
        }
    };
    let missing: Vec<&str> = needed.iter().map(|(key, _)| *key).filter(|key| text(key).is_none()).collect();
    if !missing.is_empty() {
        return Err(format!("{missing:?} not provided"));
    }
    needed.insert(0, ("ipmi_local_address", "-m"));
    let mut args = Vec::new();
    for (key, option) in needed {
        let Some(value) = text(key) else { continue };
        let digits = value.trim_start_matches("0x");
        if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(format!("driver_info/{key} must be a number"));
        }
        args.extend([option.to_owned(), value]);
    }
    Ok(args)
}

fn kg(hex: &str) -> Result<Kg, String> {
    let pairs = hex.as_bytes().chunks(2);
    if !hex.len().is_multiple_of(2) {
        return Err("Number of ipmi_hex_kg_key characters is not even".into());
    }
    let mut raw = Vec::with_capacity(20);
    for pair in pairs {
        let text = std::str::from_utf8(pair).ok();
        raw.push(text.and_then(|it| u8::from_str_radix(it, 16).ok()).ok_or("ipmi_hex_kg_key must be hexadecimal digits")?);
    }
    if raw.len() > 20 {
        return Err("ipmi_hex_kg_key is longer than 20 bytes".into());
    }
    if raw.contains(&0) { Ok(Kg::Hex(Secret::new(hex))) } else { Ok(Kg::Raw(OsString::from_vec(raw))) }
}

fn is_host(address: &str) -> bool {
    let is_name = address.len() <= 253
        && !address.starts_with('-')
        && !address.ends_with('-')
        && address.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    address.parse::<std::net::IpAddr>().is_ok() || (is_name && !address.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bmc::tests::config;

    fn read(info: &Value) -> Result<IpmiConfig, String> {
        IpmiConfig::read(&config("ipmi", info)).map_err(|it| it.to_string())
    }

    #[test]
    fn no_secret_is_an_argument() {
        let it = read(&json!({"ipmi_address": "10.0.0.1", "ipmi_username": "admin", "ipmi_password": "hunter2", "ipmi_port": 6230,
            "ipmi_hex_kg_key": "53656372657421", "ipmi_cipher_suite": "17"}))
        .unwrap();
        let line = it.args.join(" ");
        assert_eq!(line, "-I lanplus -H 10.0.0.1 -L ADMINISTRATOR -p 6230 -U admin");
        assert!(matches!(it.kg_key, Some(Kg::Raw(key)) if key == "Secret!"));
        let dual = json!({"ipmi_address": "b", "ipmi_bridging": "dual", "ipmi_transit_channel": 1, "ipmi_transit_address": "0x82",
            "ipmi_target_channel": "7", "ipmi_target_address": "0x72", "ipmi_local_address": "0x20"});
        assert!(read(&dual).unwrap().args.join(" ").ends_with("-m 0x20 -B 1 -T 0x82 -b 7 -t 0x72"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |key: &str, value: Value| {
            let mut info = json!({"ipmi_address": "10.0.0.1"});
            info[key] = value;
            info
        };
        for (info, words) in [
            (json!({}), "Missing the following IPMI credentials"),
            (with("ipmi_address", json!("-x")), "Invalid IPMI address"),
            (with("ipmi_address", json!("a;b")), "Invalid IPMI address"),
            (with("ipmi_protocol_version", json!("3.0")), "Invalid IPMI protocol version"),
            (with("ipmi_priv_level", json!("root")), "Invalid privilege level"),
            (with("ipmi_port", json!("99999")), "not a valid port"),
            (with("ipmi_terminal_port", json!("x")), "not a valid port"),
            (with("ipmi_bridging", json!("triple")), "Invalid value for ipmi_bridging"),
            (with("ipmi_bridging", json!("single")), "not provided"),
            (with("ipmi_hex_kg_key", json!("abc")), "not even"),
            (with("ipmi_hex_kg_key", json!("zz")), "hexadecimal"),
            (with("ipmi_cipher_suite", json!("x")), "Invalid cipher suite"),
            (with("ipmi_force_boot_device", json!("maybe")), "must be a Boolean"),
            (json!({"ipmi_address": "b", "ipmi_cipher_suite": 3, "ipmi_protocol_version": 1.5}), "Cipher suites cannot be used"),
        ] {
            let error = read(&info).err().unwrap_or_else(|| panic!("{info} was taken"));
            assert!(error.contains(words), "{info}: {error}");
        }
    }
}
