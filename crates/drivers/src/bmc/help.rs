//! Small things that all kinds of hardware share.

use model::baremetal::Step;
use model::secret::Settings;
use serde_json::Value;

use super::OfferedStep;

/// A step that needs no ramdisk and may not be given up while it runs; its arguments are name, what it is, whether it is needed.
pub(super) fn offered(interface: &str, step: &str, priority: i64, args: &[(&str, &str, bool)]) -> OfferedStep {
    OfferedStep {
        interface: interface.to_owned(),
        step: step.to_owned(),
        priority,
        abortable: false,
        args: args.iter().map(|(name, what, needed)| ((*name).to_owned(), (*what).to_owned(), *needed)).collect(),
        requires_ramdisk: false,
    }
}

/// Reads a boolean as clients write them: `true`, `"True"`, `"yes"`, `1`.
pub(super) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(it) => Some(*it),
        Value::Number(it) => match it.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "t" | "1" => Some(true),
            "false" | "no" | "n" | "off" | "f" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A boolean argument of a step.
pub(super) fn arg_bool(step: &Step, name: &str, default: bool) -> bool {
    step.args.get(name).and_then(as_bool).unwrap_or(default)
}

/// A value as text: what is text already without its quotes.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text or number at a key of `driver_info`, as text; empty counts as absent.
pub(super) fn info_text(info: &Settings, key: &str) -> Option<String> {
    match info.0.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// A capability of a node's `properties`: `capabilities` is `a:b,c:d`, or an object.
pub(super) fn capability(properties: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    match properties.get("capabilities") {
        Some(Value::String(text)) => text
            .split(',')
            .find_map(|it| it.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())),
        Some(Value::Object(map)) => map.get(name).map(text_of),
        _ => None,
    }
}
