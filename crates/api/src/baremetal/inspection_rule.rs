//! `/v1/inspection_rules`: what is done with inventories that fit. Here they are checked; the engine runs them.

use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use model::Object;
use model::baremetal::{InspectionRule, InspectionRuleDesired};
use serde_json::{Map, Value, json};
use store::{Batch, Query};

use super::Ask;
use super::access::require_any;
use super::resource::{Change, Detail, Field, Form, Resource, Rules, Shape, Whose, field, gate};
use super::words::{not_of_type, repr};
use crate::failure::Failure;

/// An operator: its name, the arguments it must have and those it may have.
type Operator = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Operators of conditions; each can be turned around by `!` (Source: Ironic, `inspection_rules/operators.py`).
const CONDITIONS: &[Operator] = &[
    ("eq", &["values"], &["force_strings"]),
    ("lt", &["values"], &["force_strings"]),
    ("gt", &["values"], &["force_strings"]),
    ("is-empty", &["value"], &[]),
    ("in-net", &["address", "subnet"], &[]),
    ("matches", &["value", "regex"], &[]),
    ("contains", &["value", "regex"], &[]),
    ("one-of", &["value"], &["values"]),
    ("is-none", &["value"], &[]),
    ("is-true", &["value"], &[]),
    ("is-false", &["value"], &[]),
];

/// Operators of actions (Source: Ironic, `inspection_rules/actions.py`).
const ACTIONS: &[Operator] = &[
    ("fail", &["msg"], &[]),
    ("log", &["msg"], &["level"]),
    ("set-attribute", &["path", "value"], &[]),
    ("extend-attribute", &["path", "value"], &["unique"]),
    ("del-attribute", &["path"], &[]),
    ("set-capability", &["name", "value"], &[]),
    ("unset-capability", &["name"], &[]),
    ("add-trait", &["name"], &[]),
    ("remove-trait", &["name"], &[]),
    ("set-plugin-data", &["path", "value"], &[]),
    ("extend-plugin-data", &["path", "value"], &["unique"]),
    ("unset-plugin-data", &["path"], &[]),
    ("set-port-attribute", &["port_id", "path", "value"], &[]),
    ("extend-port-attribute", &["port_id", "path", "value"], &["unique"]),
    ("del-port-attribute", &["port_id", "path"], &[]),
    ("api-call", &["url"], &["headers", "proxies", "timeout", "retries", "backoff_factor"]),
];

static FIELDS: &[Field<InspectionRule>] = &[
    field::<InspectionRule>("description", 96, |it, _| json!(it.desired.description)).text(255, |it| &mut it.desired.description).brief(),
    field::<InspectionRule>("priority", 96, |it, _| json!(it.desired.priority)).set(Shape::Any, set_priority).brief(),
    field::<InspectionRule>("sensitive", 96, |it, _| json!(it.desired.sensitive)).flag(false, |it| &mut it.desired.sensitive),
    field::<InspectionRule>("phase", 96, |it, _| json!(it.desired.phase))
        .set(Shape::Text(16), |it, value| {
            let phase = value.as_str().unwrap_or(PHASE);
            if phase != PHASE {
                return Err(format!("Invalid phase: {phase}. Valid phases are: {PHASE}"));
            }
            phase.clone_into(&mut it.desired.phase);
            Ok(())
        })
        .brief(),
    field::<InspectionRule>("conditions", 96, |it, _| shown(it, &it.desired.conditions)).raw(|it, _| json!(it.desired.conditions)).set(
        Shape::Any,
        |it, value| {
            let items = if value.is_null() { json!([]) } else { value };
            it.desired.conditions = operations(&items, CONDITIONS, true)?;
            Ok(())
        },
    ),
    field::<InspectionRule>("actions", 96, |it, _| shown(it, &it.desired.actions))
        .raw(|it, _| json!(it.desired.actions))
        .set(Shape::Any, |it, value| {
            if value.as_array().is_some_and(Vec::is_empty) {
                return Err(schema("[] should be non-empty"));
            }
            it.desired.actions = operations(&value, ACTIONS, false)?;
            Ok(())
        })
        .required(),
];

/// The one phase there is.
const PHASE: &str = "main";

static FORM: Form<InspectionRule> = Form {
    one: "inspection_rule",
    title: "Rule",
    a: "A rule",
    many: "inspection_rules",
    path: "inspection_rules",
    link: Some("inspection"),
    since: (96, "The API version does not allow inspection rules"),
    writes_405: true,
    patch_since: None,
    named: false,
    detail: Detail::Argument,
    rules: Rules {
        get: "baremetal:inspection_rule:get",
        list: None,
        create: "baremetal:inspection_rule:create",
        update: "baremetal:inspection_rule:update",
        delete: "baremetal:inspection_rule:delete",
    },
    whose: Whose::Operator,
    fields: FIELDS,
    patchable: &[],
    unsortable: &["actions", "conditions"],
    filters: &[("phase", 96)],
};

fn schema(text: &str) -> String {
    format!("Schema error: {text}")
}

fn set_priority(rule: &mut Object<InspectionRule>, value: Value) -> Result<(), String> {
    let priority = match &value {
        Value::Null => 0,
        other => other.as_i64().ok_or_else(|| schema(&not_of_type(other, "integer")))?,
    };
    if priority < 0 {
        return Err(schema(&format!("{priority} is less than the minimum of 0")));
    }
    if priority > 9999 {
        return Err("Priority must be between 0 and 9999 for user-defined rules.".into());
    }
    rule.desired.priority = priority;
    Ok(())
}

/// What sensitive rules say is shown to nobody.
fn shown(rule: &Object<InspectionRule>, what: &[Value]) -> Value {
    if rule.desired.sensitive { Value::Null } else { json!(what) }
}

/// Reads conditions or actions.
fn operations(value: &Value, operators: &[Operator], conditions: bool) -> Result<Vec<Value>, String> {
    let Value::Array(items) = value else { return Err(schema(&not_of_type(value, "array"))) };
    items.iter().map(|item| operation(item, operators, conditions)).collect()
}

fn operation(item: &Value, operators: &[Operator], condition: bool) -> Result<Value, String> {
    let Value::Object(map) = item else { return Err(schema(&not_of_type(item, "object"))) };
    let required = |name: &str| map.get(name).ok_or_else(|| schema(&format!("'{name}' is a required property")));
    let op = required("op")?;
    let name = op.as_str().unwrap_or_default();
    let plain = if condition { name.strip_prefix('!').unwrap_or(name) } else { name };
    let Some((_, needs, takes)) = operators.iter().find(|it| it.0 == plain) else {
        let mut names: Vec<String> = operators.iter().map(|it| it.0.to_owned()).collect();
        if condition {
            names.extend(operators.iter().map(|it| format!("!{}", it.0)));
        }
        return Err(schema(&format!("{} is not one of {}", repr(op), repr(&json!(names)))));
    };
    arguments(required("args")?, needs, takes).map_err(|why| {
        let kind = if condition { "condition" } else { "action" };
        format!("Invalid parameters for {kind} operator {plain}: {why}")
    })?;
    let mut out = Map::from_iter([("op".to_owned(), op.clone()), ("args".to_owned(), map.get("args").cloned().unwrap_or_default())]);
    if let Some(items) = map.get("loop").filter(|it| !it.is_null()) {
        if !items.is_array() && !items.is_object() {
            return Err(schema(&not_of_type(items, "array|object")));
        }
        out.insert("loop".into(), items.clone());
        if condition {
            let multiple = map.get("multiple").cloned().unwrap_or_else(|| json!("any"));
            if !["any", "all", "first", "last"].contains(&multiple.as_str().unwrap_or_default()) {
                return Err(schema(&format!("{} is not one of ['any', 'all', 'first', 'last']", repr(&multiple))));
            }
            out.insert("multiple".into(), multiple);
        }
    }
    Ok(Value::Object(out))
}

/// Whether an operator has the arguments it needs and no others; a list names them by their places.
fn arguments(args: &Value, needs: &[&str], takes: &[&str]) -> Result<(), String> {
    match args {
        Value::Array(given) if given.len() < needs.len() => {
            let missing: Vec<&str> = needs.iter().skip(given.len()).copied().collect();
            Err(format!("Not enough arguments provided. Missing: {}", missing.join(", ")))
        }
        Value::Array(_) => Ok(()),
        Value::Object(given) => {
            let missing: Vec<&str> = needs.iter().copied().filter(|name| !given.contains_key(*name)).collect();
            let other: Vec<&str> = given.keys().map(String::as_str).filter(|name| !needs.contains(name) && !takes.contains(name)).collect();
            let mut why = Vec::new();
            if !missing.is_empty() {
                why.push(format!("missing required argument(s): {}", missing.join(", ")));
            }
            if !other.is_empty() {
                why.push(format!("unexpected argument(s): {}", other.join(", ")));
            }
            if why.is_empty() { Ok(()) } else { Err(why.join("; ")) }
        }
        _ => Err("args must be either a list or dictionary".into()),
    }
}

impl Resource for InspectionRule {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> InspectionRuleDesired {
        InspectionRuleDesired { phase: PHASE.into(), ..InspectionRuleDesired::default() }
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        if change.before.as_ref().is_some_and(|it| it.desired.sensitive) && !change.after.desired.sensitive {
            return Err(Failure::BadRequest("Inspection rules cannot have the sensitive flag unset.".into()));
        }
        Ok(())
    }
}

/// `DELETE /v1/inspection_rules`: all of them.
pub(super) async fn delete_all(ask: Ask) -> Result<Response, Failure> {
    gate::<InspectionRule>(&ask, &Method::DELETE)?;
    require_any(&ask, FORM.rules.delete)?;
    let rules = ask.app.store.list(&Query::<InspectionRule>::new()).await?;
    ask.app.store.apply(rules.iter().fold(Batch::wishes(), Batch::remove)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_their_arguments() {
        let read = |value: Value, conditions: bool| {
            operations(&json!([value]), if conditions { CONDITIONS } else { ACTIONS }, conditions).map(|mut it| it.remove(0))
        };
        let fine = json!({"op": "!eq", "args": {"values": ["{inventory[cpu][count]}", 8]}});
        assert_eq!(read(fine.clone(), true), Ok(fine));
        let looped = json!({"op": "set-attribute", "args": ["{item[path]}", 1], "loop": [{"path": "/extra/x"}], "other": 1});
        assert_eq!(read(looped, false).unwrap().as_object().unwrap().keys().collect::<Vec<_>>(), ["args", "loop", "op"]);
        assert_eq!(read(json!({"op": "is-true", "args": ["x"], "loop": ["x"]}), true).unwrap()["multiple"], "any");
        for (bad, condition, word) in [
            (json!({"op": "fly", "args": {}}), true, "is not one of ['eq'"),
            (json!({"op": "!!eq", "args": {"values": []}}), true, "is not one of"),
            (json!({"op": "!fail", "args": {"msg": "x"}}), false, "is not one of"),
            (json!({"args": {}}), true, "'op' is a required property"),
            (json!({"op": "eq"}), true, "'args' is a required property"),
            (
                json!({"op": "in-net", "args": {"address": "x", "mask": 1}}),
                true,
                "missing required argument(s): subnet; unexpected argument(s): mask",
            ),
            (json!({"op": "set-attribute", "args": ["/extra/x"]}), false, "Missing: value"),
            (json!({"op": "fail", "args": "x"}), false, "either a list or dictionary"),
            (json!({"op": "is-none", "args": ["x"], "loop": ["x"], "multiple": "some"}), true, "'some' is not one of"),
        ] {
            let why = read(bad.clone(), condition).unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
    }
}
