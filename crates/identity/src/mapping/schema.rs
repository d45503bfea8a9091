//! The form of a mapping, and complaints about it in the words of Python's `jsonschema`, which Keystone's answers quote.

use serde_json::{Map, Value, json};

use super::Version;
use super::python::repr;

/// All complaints about a mapping, in the order Keystone prints them. Empty when the mapping is well-formed.
pub(super) fn complaints(mapping: &Value, version: Version) -> Vec<String> {
    let mut complaints = Vec::new();
    let schema = schema_of(version);
    Checker { definitions: schema.get("definitions") }.check(&schema, mapping, &mut complaints);
    complaints.sort();
    complaints
}

/// Complaints about the list of projects that a provider sent as JSON (version 3.0).
pub(super) fn complaints_about_projects(projects: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    Checker { definitions: None }.check(&projects_schema(true), projects, &mut complaints);
    complaints.sort();
    complaints
}

fn text() -> Value {
    json!({"type": "string"})
}

fn closed(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if let Some(object) = schema.as_object_mut().filter(|_| !required.is_empty()) {
        object.insert("required".to_owned(), json!(required));
    }
    schema
}

fn domain() -> Value {
    closed(&[], json!({"id": text(), "name": text()}))
}

fn projects_schema(with_domain: bool) -> Value {
    let roles = json!({"type": "array", "items": closed(&["name"], json!({"name": text()}))});
    let mut properties = json!({"name": text(), "roles": roles});
    if let Some(properties) = properties.as_object_mut().filter(|_| with_domain) {
        properties.insert("domain".to_owned(), domain());
    }
    json!({"type": "array", "items": closed(&["name", "roles"], properties)})
}

fn schema_of(version: Version) -> Value {
    let user = closed(
        &[],
        json!({"id": text(), "name": text(), "email": text(), "domain": domain(), "type": {"type": "string", "enum": ["ephemeral", "local"]}}),
    );
    let mut local = json!({
        "user": user,
        "projects": projects_schema(version >= Version::V2),
        "group": {"type": "object", "oneOf": [{"$ref": "#/definitions/group_by_id"}, {"$ref": "#/definitions/group_by_name"}]},
        "groups": text(),
        "group_ids": text(),
        "domain": domain(),
    });
    if let Some(local) = local.as_object_mut().filter(|_| version >= Version::V3) {
        local.insert("projects_json".to_owned(), text());
    }
    let kinds = ["empty", "any_one_of", "not_any_of", "blacklist", "whitelist"];
    let remote: Vec<Value> = kinds.iter().map(|kind| json!({"$ref": format!("#/definitions/{kind}")})).collect();
    let mut definitions = Map::new();
    definitions.insert("empty".to_owned(), closed(&["type"], json!({"type": text()})));
    for kind in kinds.iter().skip(1) {
        let schema = closed(&["type", kind], json!({"type": text(), *kind: {"type": "array"}, "regex": {"type": "boolean"}}));
        definitions.insert((*kind).to_owned(), schema);
    }
    definitions.insert("group_by_id".to_owned(), closed(&["id"], json!({"id": text()})));
    definitions.insert("group_by_name".to_owned(), closed(&["name", "domain"], json!({"name": text(), "domain": domain()})));
    let rule = closed(
        &["local", "remote"],
        json!({
            "local": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": local}},
            "remote": {"minItems": 1, "type": "array", "items": {"type": "object", "oneOf": remote}},
        }),
    );
    json!({
        "type": "object",
        "required": ["rules"],
        "properties": {"rules": {"minItems": 1, "type": "array", "items": rule}, "schema_version": text()},
        "definitions": definitions,
    })
}

/// The part of JSON schema (draft 4) that the schemas above use.
struct Checker<'a> {
    definitions: Option<&'a Value>,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, complaints: &mut Vec<String>) {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.trim_start_matches("#/definitions/");
            if let Some(target) = self.definitions.and_then(|it| it.get(name)) {
                self.check(target, value, complaints);
            }
            return;
        }
        if let Some(kind) = schema.get("type").and_then(Value::as_str)
            && !is_of_type(value, kind)
        {
            complaints.push(format!("{} is not of type '{kind}'", repr(value)));
        }
        if let Some(allowed) = schema.get("enum").filter(|it| it.as_array().is_some_and(|list| !list.contains(value))) {
            complaints.push(format!("{} is not one of {}", repr(value), repr(allowed)));
        }
        if let Some(object) = value.as_object() {
            self.check_object(schema, object, complaints);
        }
        if let Some(list) = value.as_array() {
            if list.is_empty() && schema.get("minItems").is_some() {
                complaints.push("[] should be non-empty".to_owned());
            }
            if let Some(items) = schema.get("items") {
                list.iter().for_each(|item| self.check(items, item, complaints));
            }
        }
        if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
            let fits = |option: &&Value| {
                let mut complaints = Vec::new();
                self.check(option, value, &mut complaints);
                complaints.is_empty()
            };
            let fitting: Vec<String> = options.iter().filter(fits).map(repr).collect();
            match fitting.as_slice() {
                [_] => {}
                [] => complaints.push(format!("{} is not valid under any of the given schemas", repr(value))),
                several => complaints.push(format!("{} is valid under each of {}", repr(value), several.join(", "))),
            }
        }
    }

    fn check_object(&self, schema: &Value, object: &Map<String, Value>, complaints: &mut Vec<String>) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if name.as_str().is_some_and(|it| !object.contains_key(it)) {
                complaints.push(format!("{} is a required property", repr(name)));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            if let Some(value) = object.get(name) {
                self.check(schema, value, complaints);
            }
        }
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            let mut extras: Vec<&String> = object.keys().filter(|name| properties.is_none_or(|it| !it.contains_key(*name))).collect();
            extras.sort();
            let names: Vec<String> = extras.iter().map(|name| repr(&Value::String((*name).clone()))).collect();
            if !names.is_empty() {
                let verb = if names.len() == 1 { "was" } else { "were" };
                complaints.push(format!("Additional properties are not allowed ({} {verb} unexpected)", names.join(", ")));
            }
        }
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        _ => value.is_string(),
    }
}
