//! Parameters of lists, and how values are compared with them.

use serde_json::Value;

use crate::failure::Failure;

/// The parameters of a URL, in order, repeated ones too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The fields asked for; none: all.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.all("fields").filter(|it| !it.is_empty()).map(str::to_owned).collect()
    }
}

/// A moment as clients write it (`2026-11-21T10:49:00`, with or without a fraction and `Z`), in the form objects show theirs in.
pub(crate) fn moment(text: &str) -> Result<String, Failure> {
    let plain: String = text.chars().take(19).map(|c| if c == ' ' { 'T' } else { c }).collect();
    let fits = plain.len() == 19
        && plain.bytes().zip(b"dddd-dd-ddTdd:dd:dd").all(|(has, form)| if *form == b'd' { has.is_ascii_digit() } else { has == *form });
    let rest = text.get(19..).unwrap_or_default().trim_end_matches('Z').trim_start_matches('.');
    if !fits || !rest.bytes().all(|it| it.is_ascii_digit()) {
        let text = "Invalid input for operation: The input changed_since must be in the following format: YYYY-MM-DDTHH:MM:SSZ.";
        return Err(Failure::named(http::StatusCode::BAD_REQUEST, "InvalidInput", text));
    }
    Ok(format!("{plain}Z"))
}

/// Whether a field that is shown as `has` has the value a filter names; of a list one will do.
pub(crate) fn equals(has: &Value, wanted: &str) -> bool {
    match has {
        Value::String(text) => text == wanted,
        Value::Bool(it) => super::value::boolean(&Value::from(wanted)).is_ok_and(|wanted| wanted == *it),
        Value::Number(it) => it.to_string() == wanted,
        Value::Null => wanted.is_empty(),
        Value::Array(items) => items.iter().any(|it| equals(it, wanted)),
        Value::Object(_) => false,
    }
}

/// The order of two values of one field: none before all.
pub(crate) fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(std::cmp::Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => (!a.is_null()).cmp(&!b.is_null()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, read) in [
            ("2026-11-21T10:49:00", "2026-11-21T10:49:00Z"),
            ("2026-11-21 10:49:00Z", "2026-11-21T10:49:00Z"),
            ("2026-11-21T10:49:00.123456Z", "2026-11-21T10:49:00Z"),
        ] {
            assert_eq!(moment(text).unwrap(), read);
        }
        for wrong in ["", "now", "2026-11-21", "2026-11-21T10:49:00+01:00", "2026-11-2éT10:49:00", "２026-11-21T10:49:00"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
