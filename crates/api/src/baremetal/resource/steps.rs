//! Steps as deploy templates and runbooks hold them.

use std::collections::BTreeMap;

use model::baremetal::Step;
use model::secret::Settings;
use serde_json::{Map, Value, json};

use crate::baremetal::words::{not_of_type, repr, unexpected};

/// Interfaces that have steps (Source: Ironic, `CLEANING_INTERFACE_PRIORITY`).
const INTERFACES: [&str; 7] = ["vendor", "power", "management", "firmware", "deploy", "bios", "raid"];

/// A number, or digits.
fn number(value: &Value) -> Result<i64, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = match value {
        Value::String(text) if digits(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    number.filter(|it| *it >= 0).ok_or_else(|| format!("{} is not valid under any of the given schemas", repr(value)))
}

fn step(value: &Value, order: &str, needs_args: bool) -> Result<Step, String> {
    let Value::Object(map) = value else { return Err(not_of_type(value, "object")) };
    let known = ["interface", "step", "args", order];
    let other: Vec<&str> = map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
    if !other.is_empty() {
        return Err(unexpected(&other));
    }
    let required = |name: &str| map.get(name).ok_or_else(|| format!("'{name}' is a required property"));
    let text = |name: &str| required(name).and_then(|value| value.as_str().ok_or_else(|| not_of_type(value, "string")));
    let interface = text("interface")?;
    if !INTERFACES.contains(&interface) {
        return Err(format!("{} is not one of {}", repr(&json!(interface)), repr(&json!(INTERFACES))));
    }
    let name = text("step")?;
    if name.is_empty() {
        return Err("'' should be non-empty".into());
    }
    let args = match map.get("args") {
        Some(Value::Object(args)) => args.clone(),
        Some(other) => return Err(not_of_type(other, "object")),
        None if needs_args => return Err("'args' is a required property".into()),
        None => Map::new(),
    };
    Ok(Step { interface: interface.to_owned(), step: name.to_owned(), args, priority: number(required(order)?)?, ..Step::default() })
}

/// Reads steps; `what` is what the schema is of, `order` the name of their place: `priority`, whose steps need arguments, or `order`.
///
/// # Errors
/// What is wrong with them.
pub(in crate::baremetal) fn read(what: &str, value: &Value, order: &str) -> Result<Vec<Step>, String> {
    let schema = |text: String| format!("Schema error for {what}: {text}");
    let Value::Array(items) = value else { return Err(schema(not_of_type(value, "array"))) };
    if items.is_empty() {
        return Err(schema("[] should be non-empty".into()));
    }
    let steps: Vec<Step> = items.iter().map(|item| step(item, order, order == "priority")).collect::<Result<_, _>>().map_err(schema)?;
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for step in &steps {
        *counts.entry((&step.interface, &step.step)).or_default() += 1;
    }
    let twice: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|((interface, step), _)| format!("interface: {interface}, step: {step}"))
        .collect();
    if !twice.is_empty() {
        return Err(format!(
            "Deploy template invalid: Duplicate deploy steps. A template cannot have multiple deploy steps with the same interface and \
             step. Duplicates: {}.",
            twice.join("; ")
        ));
    }
    Ok(steps)
}

/// Hides what is secret, however deep.
fn masked(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let member =
                |(key, value): (&String, &Value)| (key.clone(), if Settings::is_secret(key) { json!("******") } else { masked(value) });
            Value::Object(map.iter().map(member).collect())
        }
        Value::Array(items) => items.iter().map(masked).collect(),
        other => other.clone(),
    }
}

/// Steps as they were given.
pub(in crate::baremetal) fn raw(steps: &[Step], order: &str) -> Value {
    steps.iter().map(|it| json!({"interface": it.interface, "step": it.step, "args": it.args, (order): it.priority})).collect()
}

/// Steps as they are shown: without secrets.
pub(in crate::baremetal) fn shown(steps: &[Step], order: &str) -> Value {
    masked(&raw(steps, order))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_shown_without_secrets() {
        let given =
            json!([{"interface": "bios", "step": "apply", "args": {"settings": [{"admin_password": "x", "n": 1}]}, "priority": "150"}]);
        let steps = read("deploy_template", &given, "priority").unwrap();
        assert_eq!((steps[0].priority, steps.len()), (150, 1));
        assert_eq!(shown(&steps, "priority")[0]["args"], json!({"settings": [{"admin_password": "******", "n": 1}]}));
        for (bad, word) in [
            (json!([]), "non-empty"),
            (json!({}), "'array'"),
            (json!([{"interface": "bios", "step": "a", "args": {}}]), "'priority' is a required property"),
            (json!([{"interface": "bios", "step": "a", "priority": 1}]), "'args' is a required property"),
            (json!([{"interface": "x", "step": "a", "args": {}, "priority": 1}]), "is not one of"),
            (json!([{"interface": "bios", "step": "", "args": {}, "priority": 1}]), "non-empty"),
            (json!([{"interface": "bios", "step": "a", "args": {}, "priority": -1}]), "not valid"),
            (json!([{"interface": "bios", "step": "a", "args": {}, "priority": 1, "x": 1}]), "'x' was unexpected"),
        ] {
            assert!(read("deploy_template", &bad, "priority").unwrap_err().contains(word), "{bad}");
        }
        let twice = json!([{"interface": "bios", "step": "a", "order": 1}, {"interface": "bios", "step": "a", "order": 2}]);
        assert!(read("runbook", &twice, "order").unwrap_err().contains("Duplicates: interface: bios, step: a."));
    }
}
