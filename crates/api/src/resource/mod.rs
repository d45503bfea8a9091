//! What bodies and lists of several services have in common: JSON read from bodies, values of fields, parameters of URLs.

mod list;

use serde_json::{Map, Value};

pub(crate) use list::{Parameters, equals, moment, order};

use crate::failure::Failure;

/// Puts a value that was read into its place.
pub(crate) fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// The object at `root` of a body.
pub(crate) fn rooted<'a>(body: &'a Value, root: &str) -> Result<&'a Map<String, Value>, Failure> {
    body.get(root).and_then(Value::as_object).ok_or_else(|| Failure::BadRequest(format!("Unable to find '{root}' in request body")))
}

/// A body as JSON.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| Failure::BadRequest("The request body is not valid JSON.".into()))?;
    if value.is_object() { Ok(value) } else { Err(Failure::BadRequest("Body contains invalid data: it is not an object.".into())) }
}

/// Values of fields, with what is wrong with them in words.
pub(crate) mod value {
    use serde_json::Value;

    /// Text of at most `max` characters; null is empty text.
    pub(crate) fn text(value: &Value, max: usize) -> Result<String, String> {
        match value {
            Value::Null => Ok(String::new()),
            Value::String(text) if text.chars().count() <= max && !text.contains('\0') => Ok(text.clone()),
            Value::String(text) if text.contains('\0') => Err("it contains a NUL".into()),
            Value::String(text) => Err(format!("'{text}' exceeds maximum length of {max}")),
            other => Err(format!("'{other}' is not a valid string")),
        }
    }

    /// True or false, also in the spellings Neutron takes.
    pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
        match value {
            Value::Bool(it) => Ok(*it),
            Value::String(it) if it.eq_ignore_ascii_case("true") || it == "1" => Ok(true),
            Value::String(it) if it.eq_ignore_ascii_case("false") || it == "0" => Ok(false),
            Value::Number(it) if it.as_u64() == Some(1) => Ok(true),
            Value::Number(it) if it.as_u64() == Some(0) => Ok(false),
            other => Err(format!("{other} is not boolean")),
        }
    }

    /// A whole number within the bounds.
    pub(crate) fn number(value: &Value, least: i64, most: i64) -> Result<i64, String> {
        let number = match value {
            Value::Number(it) => it.as_i64(),
            Value::String(it) => it.parse().ok(),
            _ => None,
        };
        number.filter(|it| (least..=most).contains(it)).ok_or_else(|| format!("{value} is not a whole number from {least} to {most}"))
    }

    /// An id.
    pub(crate) fn id<K>(value: &Value) -> Result<model::Id<K>, String> {
        value.as_str().and_then(model::Id::parse).ok_or_else(|| format!("{value} is not a valid UUID"))
    }
}
