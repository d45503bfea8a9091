//! Complaints in the words of Ironic's own checks, which tests of clients look at.

use serde_json::Value;

use crate::failure::Failure;
use crate::json_patch::{self, Operation};

/// A value as Python prints it.
pub(super) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(list) => format!("[{}]", list.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{}: {}", quoted(key), repr(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// That a value is not of the types it may be of, as python-jsonschema says it.
pub(super) fn not_of_type(value: &Value, types: &str) -> String {
    let types: Vec<String> = types.split('|').map(|it| format!("'{it}'")).collect();
    format!("{} is not of type {}", repr(value), types.join(", "))
}

/// That an object has members it must not have.
pub(super) fn unexpected(keys: &[&str]) -> String {
    let names: Vec<String> = keys.iter().map(|it| quoted(it)).collect();
    let verb = if keys.len() == 1 { "was" } else { "were" };
    format!("Additional properties are not allowed ({} {verb} unexpected)", names.join(", "))
}

/// A boolean in any of the spellings Ironic takes.
///
/// # Errors
/// It is none; `name` is what the client called it.
pub(super) fn boolean(name: &str, value: &Value) -> Result<bool, Failure> {
    const TRUE: &[&str] = &["1", "on", "t", "true", "y", "yes"];
    const FALSE: &[&str] = &["0", "f", "false", "n", "no", "off"];
    let text = match value {
        Value::Bool(it) => return Ok(*it),
        Value::String(text) => text.clone(),
        other => repr(other),
    };
    let lower = text.trim().to_ascii_lowercase();
    if TRUE.contains(&lower.as_str()) {
        Ok(true)
    } else if FALSE.contains(&lower.as_str()) {
        Ok(false)
    } else {
        let spellings = "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'";
        Err(Failure::BadRequest(format!("Invalid {name}: Unrecognized value '{text}', acceptable values are: {spellings}")))
    }
}

/// Refuses members of a body that no argument of the operation is called.
///
/// # Errors
/// `BadRequest` that names them.
pub(super) fn only(body: &Value, names: &[&str]) -> Result<(), Failure> {
    let Some(map) = body.as_object() else { return Ok(()) };
    let other: Vec<&str> = map.keys().map(String::as_str).filter(|key| !names.contains(key)).collect();
    if other.is_empty() { Ok(()) } else { Err(Failure::BadRequest(format!("Unexpected arguments: {}", other.join(", ")))) }
}

/// The text of an argument, which must be there.
///
/// # Errors
/// `BadRequest`: it is missing or no text.
pub(super) fn mandatory<'a>(body: &'a Value, name: &str) -> Result<&'a str, Failure> {
    match body.get(name) {
        None | Some(Value::Null) => Err(Failure::BadRequest(format!("Missing mandatory parameter: {name}"))),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Failure::BadRequest(format!("Expected string for {name}: {}", repr(other)))),
    }
}

/// The operations of a patch.
///
/// # Errors
/// `BadRequest`: it is no list of operations.
pub(super) fn patch(body: &Value) -> Result<Vec<Operation>, Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Schema error for patch: {why}"));
    let list = body.as_array().ok_or_else(|| bad(not_of_type(body, "array")))?;
    for item in list {
        let map = item.as_object().ok_or_else(|| bad(not_of_type(item, "object")))?;
        if let Some(missing) = ["op", "path"].iter().find(|key| !map.contains_key(**key)) {
            return Err(bad(format!("'{missing}' is a required property")));
        }
        let op = item.get("op").unwrap_or(&Value::Null);
        if !["add", "replace", "remove"].iter().any(|it| op == it) {
            return Err(bad(format!("{} is not one of ['add', 'replace', 'remove']", repr(op))));
        }
        if let Some(Value::String(path)) = item.get("path")
            && !path.starts_with('/')
        {
            return Err(bad(format!("{} does not match '^(/[\\\\w-]+)+$'", quoted(path))));
        }
    }
    json_patch::parse(body).map_err(|error| bad(error.0))
}

/// A version that has not what was asked for.
pub(super) fn too_early() -> Failure {
    Failure::NotAcceptable("Request not acceptable.".into())
}

/// The same with the version that has it.
pub(super) fn needs(minor: u16) -> Failure {
    Failure::NotAcceptable(format!("Request not acceptable. The minimal required API version should be 1.{minor}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_as_python_prints_them() {
        let value = json!({"a": [1, true, null, "it's"], "b": "x\n"});
        assert_eq!(repr(&value), "{'a': [1, True, None, \"it's\"], 'b': 'x\\n'}");
        assert_eq!(not_of_type(&json!(5), "string|null"), "5 is not of type 'string', 'null'");
        assert_eq!(unexpected(&["bad"]), "Additional properties are not allowed ('bad' was unexpected)");
    }

    #[test]
    fn booleans() {
        for (value, expected) in [(json!("Yes"), Some(true)), (json!(0), Some(false)), (json!("off"), Some(false)), (json!("x"), None)] {
            assert_eq!(boolean("x", &value).ok(), expected, "{value}");
        }
    }
}
