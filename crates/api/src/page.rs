//! Paging as Ironic and Magnum do it: `limit`, `marker`, `sort_dir`, and an absolute `next`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// Most items of one answer.
const MAX_LIMIT: usize = 1000;

/// The parameters of a URL; of one given twice the last counts.
pub(crate) struct Parameters(pub(crate) HashMap<String, String>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()))
    }
}

/// A boolean query parameter, in the spellings oslo takes.
pub(crate) fn flag(query: &HashMap<String, String>, key: &str) -> Result<Option<bool>, Failure> {
    let Some(text) = query.get(key) else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
        "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
        _ => Err(Failure::BadRequest(format!("Invalid value for the parameter {key}: '{text}' is not a boolean"))),
    }
}

/// Whether the order is to be reversed.
pub(crate) fn descending(query: &HashMap<String, String>) -> Result<bool, Failure> {
    match query.get("sort_dir").map(String::as_str) {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(other) => Err(Failure::BadRequest(format!("Invalid sort direction: {other}. Acceptable values are 'asc' or 'desc'"))),
    }
}

/// The page that `limit` and `marker` ask for, and the marker of the next if there is more.
pub(crate) fn cut<T>(items: Vec<T>, query: &HashMap<String, String>, id: impl Fn(&T) -> &str) -> Result<(Vec<T>, Option<String>), Failure> {
    let limit = match query.get("limit") {
        None => MAX_LIMIT,
        Some(text) => match text.parse::<usize>() {
            Ok(0) => MAX_LIMIT,
            Ok(limit) => limit.min(MAX_LIMIT),
            Err(_) => return Err(Failure::BadRequest(format!("Limit must be a whole number, not negative: '{text}'"))),
        },
    };
    let from = match query.get("marker") {
        None => 0,
        Some(marker) => {
            let at = items.iter().position(|item| id(item) == marker);
            at.ok_or_else(|| Failure::BadRequest(format!("The marker '{marker}' could not be found")))? + 1
        }
    };
    let rest = items.len().saturating_sub(from);
    let page: Vec<T> = items.into_iter().skip(from).take(limit).collect();
    let next = (rest > limit).then(|| page.last().map(|item| id(item).to_owned())).flatten();
    Ok((page, next))
}

/// The address of the next page of the list at `address`: the same query with another marker.
pub(crate) fn next(address: &str, query: &HashMap<String, String>, marker: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    pairs.retain(|(key, _)| *key != "marker");
    pairs.sort_unstable();
    pairs.push(("marker", marker));
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{address}?{text}")
}

/// A list as answer.
pub(crate) fn answer(plural: &str, items: Vec<Value>, next: Option<String>) -> Response {
    let mut out = Map::new();
    out.insert(plural.to_owned(), Value::Array(items));
    if let Some(next) = next {
        out.insert("next".into(), json!(next));
    }
    Json(Value::Object(out)).into_response()
}

/// [`answer`] of items that are JSON already.
pub(crate) fn spliced(plural: &str, items: &[Arc<[u8]>], next: Option<String>) -> Response {
    let length: usize = items.iter().map(|it| it.len() + 1).sum();
    let next = next.map(|next| json!(next).to_string());
    let mut body = Vec::with_capacity(length + next.as_ref().map_or(0, String::len) + plural.len() + 32);
    body.extend_from_slice(b"{\"");
    body.extend_from_slice(plural.as_bytes());
    body.extend_from_slice(b"\":[");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(item);
    }
    body.push(b']');
    if let Some(next) = next {
        body.extend_from_slice(b",\"next\":");
        body.extend_from_slice(next.as_bytes());
    }
    body.push(b'}');
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn pages() {
        let all = || vec!["a", "b", "c"];
        let of = |pairs: &[(&str, &str)]| cut(all(), &query(pairs), |it| it);
        assert_eq!(of(&[]).unwrap(), (all(), None));
        assert_eq!(of(&[("limit", "2")]).unwrap(), (vec!["a", "b"], Some("b".into())));
        assert_eq!(of(&[("limit", "2"), ("marker", "b")]).unwrap(), (vec!["c"], None));
        assert_eq!(of(&[("limit", "3")]).unwrap(), (all(), None));
        assert_eq!(of(&[("marker", "c")]).unwrap(), (vec![], None));
        assert!(of(&[("marker", "x")]).is_err());
        assert!(of(&[("limit", "-1")]).is_err());
        let pairs = query(&[("limit", "2"), ("marker", "a"), ("driver", "x y")]);
        assert_eq!(next("http://h/baremetal/v1/nodes", &pairs, "b"), "http://h/baremetal/v1/nodes?driver=x+y&limit=2&marker=b");
    }

    #[tokio::test]
    async fn spliced_lists_are_as_others() {
        let items = vec![json!({"name": "a\"b", "links": []}), json!({"name": null})];
        for (items, next) in [(items.clone(), Some("http://h/v1?a=\"b\"&c".to_owned())), (items, None), (Vec::new(), None)] {
            let bytes: Vec<Arc<[u8]>> = items.iter().map(|it| it.to_string().into_bytes().into()).collect();
            let read = async |response: Response| {
                assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
                let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
                serde_json::from_slice::<Value>(&body).unwrap()
            };
            assert_eq!(read(spliced("nodes", &bytes, next.clone())).await, read(answer("nodes", items, next)).await);
        }
    }
}
