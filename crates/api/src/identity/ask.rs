//! What a handler of identity is given, and the forms in which it answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use model::{Id, Kind};
use serde_json::{Map, Value, json};

use crate::App;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::links::origin;
use crate::resource::Parameters;
use crate::schema::Schema;

/// A request of somebody who is let in.
pub(crate) struct Ask {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    /// Scheme and authority by which the client came.
    pub(crate) origin: String,
    pub(crate) parameters: Parameters,
    /// The path after the version, for links of lists.
    path: String,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let origin = origin(app, &parts.headers);
        let path = parts.uri.path().trim_start_matches('/').to_owned();
        Ok(Self { app: Arc::clone(app), caller, origin, parameters: Parameters::parse(parts.uri.query()), path })
    }
}

impl Ask {
    /// Asks the policy. `target` is what stands under `target` in rules; see [`Ask::enforce_with`] for values of the path.
    ///
    /// # Errors
    /// `Forbidden`.
    pub(super) fn enforce(&self, rule: &str, target: Value) -> Result<(), Failure> {
        self.enforce_with(rule, target, &[])
    }

    /// Asks the policy, with values of the path that rules may name without `target.`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub(super) fn enforce_with(&self, rule: &str, target: Value, path: &[(&str, &str)]) -> Result<(), Failure> {
        let mut all: Map<String, Value> = path.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        all.insert("target".into(), target);
        crate::enforce::enforce(&self.app, &self.caller, rule, &Value::Object(all))
    }

    /// An address below the version.
    pub(super) fn link(&self, path: &str) -> String {
        format!("{}/identity/v3/{path}", self.origin)
    }

    /// A list in Keystone's form.
    pub(super) fn listed(&self, plural: &str, items: Vec<Value>) -> Json<Value> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.parameters.0).finish();
        let here = if query.is_empty() { self.link(&self.path) } else { self.link(&format!("{}?{query}", self.path)) };
        Json(json!({plural: items, "links": {"next": null, "self": here, "previous": null}}))
    }

    /// The address of the same list after this object.
    pub(super) fn next(&self, marker: &str) -> String {
        let kept = self.parameters.0.iter().filter(|(key, _)| key != "marker");
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair("marker", marker).finish();
        self.link(&format!("{}?{query}", self.path))
    }

    /// Adds the link every object of Keystone has.
    pub(super) fn linked(&self, mut object: Value, path: &str) -> Value {
        if let Some(map) = object.as_object_mut() {
            map.insert("links".into(), json!({"self": self.link(path)}));
        }
        object
    }

    /// Whether a parameter is there and does not say no: `?x`, `?x=1`, `?x=true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameters.first(name).is_some_and(|it| !["0", "false", "no", "off", "n", "f"].contains(&it.to_ascii_lowercase().as_str()))
    }

    /// Whether the token stands for somebody else's or only a part of the user's roles: a trust, an EC2 key, an OAuth token.
    pub(super) fn is_delegated(&self) -> bool {
        let claims = &self.caller.token.claims;
        claims.trust.is_some() || claims.methods.iter().any(|it| matches!(it.name(), "ec2credential" | "oauth1" | "application_credential"))
    }
}

/// The body of a request: JSON that fits the schema, and that can be kept.
pub(super) fn body_of(bytes: &[u8], schema: &Schema) -> Result<Map<String, Value>, Failure> {
    let body = parsed(bytes, schema)?;
    // The text of no stored value holds a NUL: one of the databases cannot keep it.
    match body.iter().find_map(|(key, value)| with_nul(key, value)) {
        Some(field) => Err(Failure::BadRequest(format!("Invalid input for field '{field}': it contains a NUL character"))),
        None => Ok(body),
    }
}

/// The body of a request of which nothing is kept.
pub(super) fn parsed(bytes: &[u8], schema: &Schema) -> Result<Map<String, Value>, Failure> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| Failure::BadRequest("The request body is not valid JSON.".into()))?;
    schema.check_value(&value).map_err(Failure::BadRequest)?;
    match value {
        Value::Object(body) => Ok(body),
        _ => Err(Failure::BadRequest("The request body is not an object.".into())),
    }
}

/// The name of a field whose text, or whose name, holds a NUL.
fn with_nul(key: &str, value: &Value) -> Option<String> {
    let found = match value {
        Value::String(text) => text.contains('\0').then(|| key.to_owned()),
        Value::Array(items) => items.iter().find_map(|it| with_nul(key, it)),
        Value::Object(map) => map.iter().find_map(|(key, value)| with_nul(key, value)),
        _ => None,
    };
    found.or_else(|| key.contains('\0').then(|| key.replace('\0', "?")))
}

/// The object at `root` of a body.
pub(super) fn rooted(body: &Map<String, Value>, root: &str) -> Result<Map<String, Value>, Failure> {
    let found = body.get(root).and_then(Value::as_object).cloned();
    found.ok_or_else(|| Failure::BadRequest(format!("'{root}' is a required property")))
}

/// There is no such thing, in Keystone's words.
pub(super) fn missing(what: &str, id: &str) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NotFound", format!("Could not find {what}: {id}."))
}

/// An id of a path or a body; what cannot be one names nothing.
pub(super) fn id_of<K: Kind>(what: &str, text: &str) -> Result<Id<K>, Failure> {
    Id::parse(text).ok_or_else(|| missing(what, text))
}

/// It is not to be done this way.
pub(super) fn forbidden(why: &str) -> Failure {
    Failure::Forbidden(format!("You are not authorized to perform the requested action: {why}"))
}

/// Nobody, or not who they say they are: one text for every way of not being let in, so that nobody learns which users there are.
pub(super) fn refused() -> Failure {
    Failure::Unauthorized("The request you have made requires authentication.".into())
}
