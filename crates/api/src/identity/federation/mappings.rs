//! Mappings: what becomes of what a provider says.

use ::identity::mapping::{Mapping as Rules, Version};
use model::access::MappingDesired;
use model::identity::Mapping;
use model::{Id, Object};
use serde_json::{Map, Value, json};

use super::Part;
use crate::failure::Failure;
use crate::identity::ask::Ask;
use crate::identity::noun::Noun;
use crate::identity::schemas;
use crate::schema::{Schema, open};

/// Lists of mappings have no parameters of their own.
static QUERY: Schema = open(&[]);

impl Noun for Mapping {
    const SINGULAR: &'static str = "mapping";
    const PLURAL: &'static str = "mappings";
    const CREATE: &'static Schema = &schemas::MAPPING_CREATE;
    const UPDATE: &'static Schema = &schemas::MAPPING_CREATE;
    const FILTERS: &'static [&'static str] = &[];
    const QUERY: &'static Schema = &QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        Ok(Object::new(Id::random_hex(), None, "", MappingDesired::default()))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        let version = body.get("schema_version").and_then(Value::as_str).filter(|it| !it.is_empty());
        object.desired.rules = body.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
        object.desired.schema_version = Some(version.unwrap_or(Version::V1.as_str()).to_owned());
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("rules".into(), json!(object.desired.rules));
        shown.insert("schema_version".into(), json!(version(object)));
        shown
    }
}

impl Part for Mapping {
    const WHAT: &'static str = "mapping";

    /// Its rules are checked before its form, so that complaints are those clients know.
    fn look(bytes: &[u8]) -> Result<(), Failure> {
        let body: Value = serde_json::from_slice(bytes).map_err(|_| Failure::BadRequest("The request body is not valid JSON.".into()))?;
        let given = body.get("mapping").cloned().unwrap_or_else(|| json!({}));
        Rules::parse(&given).map(drop).map_err(|complaint| Failure::BadRequest(complaint.to_string()))
    }
}

fn version(object: &Object<Mapping>) -> &str {
    object.desired.schema_version.as_deref().unwrap_or(Version::V1.as_str())
}

/// The rules of a stored mapping, ready to be applied.
pub(super) fn rules(object: &Object<Mapping>) -> Result<Rules, Failure> {
    Rules::parse(&json!({"rules": object.desired.rules, "schema_version": version(object)}))
        .map_err(|complaint| Failure::Internal(format!("the mapping {} in the store: {complaint}", object.id)))
}
