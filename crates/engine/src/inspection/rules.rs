//! Inspection rules: conditions on what was found and on the node, and what is done where all of them hold.
//!
//! Source: Ironic documentation, "Inspection rules". Text in braces (`{node[properties][cpus]}`, `{inventory.cpu.count}`, `{item}`) is
//! filled in; it always gives text, so numbers are compared as text with `force_strings`.

use std::cmp::Ordering;
use std::net::IpAddr;

use ipnet::IpNet;
use model::baremetal::InspectionRuleDesired;
use serde_json::{Map, Value, json};

/// Longest expression and longest text it is tried on, in bytes: expressions may take long.
const MAX_PATTERN: usize = 1024;
const MAX_TEXT: usize = 64 * 1024;
/// How deep braces may reach.
const MAX_PARTS: usize = 16;

/// What rules look at and change.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) node: Value,
    pub(super) ports: Vec<Value>,
    pub(super) inventory: Value,
    pub(super) plugin_data: Value,
}

/// Applies a rule if its conditions hold; returns whether they did. The error is why the inspection has failed.
pub(super) fn apply(rule: &InspectionRuleDesired, subject: &mut Subject) -> Result<bool, String> {
    for condition in &rule.conditions {
        if !holds(condition, subject, rule.sensitive)? {
            return Ok(false);
        }
    }
    for action in &rule.actions {
        for item in items(action) {
            act(action, item.as_ref(), subject, rule.sensitive)?;
        }
    }
    Ok(true)
}

/// What a loop goes over; one round without an item if there is none.
fn items(operation: &Value) -> Vec<Option<Value>> {
    match operation.get("loop") {
        Some(Value::Array(all)) if !all.is_empty() => all.iter().cloned().map(Some).collect(),
        Some(map @ Value::Object(inner)) if !inner.is_empty() => vec![Some(map.clone())],
        _ => vec![None],
    }
}

fn holds(condition: &Value, subject: &Subject, sensitive: bool) -> Result<bool, String> {
    let all = items(condition);
    let multiple = condition.get("multiple").and_then(Value::as_str).unwrap_or("any");
    let mut results = Vec::new();
    for item in &all {
        results.push(check(condition, item.as_ref(), subject, sensitive)?);
    }
    Ok(match multiple {
        "all" => results.iter().all(|it| *it),
        "last" => results.last().copied().unwrap_or_default(),
        _ => results.iter().any(|it| *it),
    })
}

/// The arguments of an operation by name.
fn arguments(operation: &Value, names: &[&str]) -> Map<String, Value> {
    match operation.get("args") {
        Some(Value::Object(map)) => map.clone(),
        Some(Value::Array(list)) => names.iter().map(|it| (*it).to_owned()).zip(list.iter().cloned()).collect(),
        _ => Map::new(),
    }
}

struct Args {
    op: String,
    args: Map<String, Value>,
}

impl Args {
    fn get(&self, key: &str) -> Result<&Value, String> {
        self.args.get(key).ok_or_else(|| format!("{} needs the argument {key}", self.op))
    }

    fn text(&self, key: &str) -> Result<String, String> {
        self.get(key).map(python)
    }

    fn flag(&self, key: &str) -> bool {
        self.args.get(key).is_some_and(truthy)
    }
}

/// Reads an operation with braces filled in: those of `formatted`, all within a loop.
fn read(operation: &Value, names: &[&str], formatted: &[&str], item: Option<&Value>, subject: &Subject, sensitive: bool, op: &str) -> Args {
    let mut args = arguments(operation, names);
    let context = Context { subject, item, sensitive };
    for (key, value) in &mut args {
        if item.is_some() || formatted.contains(&key.as_str()) {
            *value = context.fill(value, op == "is-empty");
        }
    }
    Args { op: op.to_owned(), args }
}

fn check(condition: &Value, item: Option<&Value>, subject: &Subject, sensitive: bool) -> Result<bool, String> {
    let written = condition.get("op").and_then(Value::as_str).unwrap_or_default().trim();
    let (inverted, op) = match written.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, written),
    };
    let (names, formatted): (&[&str], &[&str]) = match op {
        "eq" | "ne" | "lt" | "gt" | "le" | "ge" => (&["values", "force_strings"], &["values"]),
        "in-net" => (&["address", "subnet"], &["address", "subnet"]),
        "matches" | "contains" => (&["value", "regex"], &["value"]),
        "one-of" => (&["value", "values"], &["value"]),
        _ => (&["value"], &["value"]),
    };
    let args = read(condition, names, formatted, item, subject, sensitive, op);
    let result = match op {
        "eq" | "ne" | "lt" | "gt" | "le" | "ge" => compare(op, &args, item.is_some())?,
        "is-empty" => matches!(python(args.get("value")?).as_str(), "" | "None" | "[]" | "{}"),
        "is-none" => args.get("value")?.is_null(),
        "is-true" => is_true(args.get("value")?),
        "is-false" => is_false(args.get("value")?),
        "one-of" => {
            let value = args.get("value")?;
            match args.args.get("values") {
                Some(Value::Array(all)) => all.contains(value),
                Some(Value::String(text)) => text.contains(&python(value)),
                _ => false,
            }
        }
        "in-net" => in_net(&args.text("address")?, &args.text("subnet")?)?,
        "matches" => search(&format!("^(?:{})$", args.text("regex")?), &args.text("value")?)?,
        "contains" => search(&args.text("regex")?, &args.text("value")?)?,
        other => return Err(format!("a rule has the condition {other:?}, which there is not")),
    };
    Ok(result != inverted)
}

fn compare(op: &str, args: &Args, looped: bool) -> Result<bool, String> {
    let Value::Array(values) = args.get("values")? else {
        return Err(format!("{op} needs a list of values"));
    };
    let strings: Vec<Value>;
    let values = if looped || args.flag("force_strings") {
        strings = values.iter().map(|it| Value::String(python(it))).collect();
        &strings
    } else {
        values
    };
    for (a, b) in values.iter().zip(values.iter().skip(1)) {
        let order = match (a, b) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ if a == b => Some(Ordering::Equal),
            _ => None,
        };
        let fits = match (op, order) {
            ("eq", order) => order == Some(Ordering::Equal),
            ("ne", order) => order != Some(Ordering::Equal),
            (_, None) => return Err(format!("{op} cannot compare {a} with {b}")),
            ("lt", Some(order)) => order.is_lt(),
            ("gt", Some(order)) => order.is_gt(),
            ("le", Some(order)) => order.is_le(),
            (_, Some(order)) => order.is_ge(),
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(it) => it.as_f64() != Some(0.0),
        Value::String(it) => !it.is_empty(),
        Value::Array(it) => !it.is_empty(),
        Value::Object(it) => !it.is_empty(),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::String(text) => ["yes", "true"].contains(&text.to_ascii_lowercase().as_str()),
        Value::Bool(_) | Value::Number(_) => truthy(value),
        _ => false,
    }
}

fn is_false(value: &Value) -> bool {
    match value {
        Value::String(text) => ["no", "false"].contains(&text.to_ascii_lowercase().as_str()),
        Value::Bool(_) | Value::Number(_) => !truthy(value),
        Value::Null => true,
        _ => false,
    }
}

fn in_net(address: &str, subnet: &str) -> Result<bool, String> {
    let wrong = |text: &str| format!("in-net: {text:?} is no address");
    let address: IpAddr = address.trim().parse().map_err(|_| wrong(address))?;
    let net = match subnet.trim().parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(subnet.trim().parse::<IpAddr>().map_err(|_| wrong(subnet))?),
    };
    Ok(net.contains(&address))
}

fn search(pattern: &str, text: &str) -> Result<bool, String> {
    if pattern.len() > MAX_PATTERN || text.len() > MAX_TEXT {
        return Err("an expression or what it is tried on is too long".into());
    }
    let wrong = |error: fancy_regex::Error| format!("invalid regular expression: {error}");
    fancy_regex::Regex::new(pattern).map_err(wrong)?.is_match(text).map_err(wrong)
}

/// A value as Python's `str` writes it.
pub(crate) fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        Value::Number(it) => it.to_string(),
        Value::Array(_) | Value::Object(_) => quoted(value),
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(all) => format!("[{}]", all.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("'{key}': {}", quoted(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => python(other),
    }
}

/// What braces refer to.
struct Context<'a> {
    subject: &'a Subject,
    item: Option<&'a Value>,
    sensitive: bool,
}

impl Context<'_> {
    /// Fills in all braces of a value. What cannot be filled in stays as it is, or is nothing if `empty`.
    fn fill(&self, value: &Value, empty: bool) -> Value {
        match value {
            Value::String(text) => match self.format(text) {
                Some(filled) => Value::String(filled),
                None if empty => Value::Null,
                None => value.clone(),
            },
            Value::Array(all) => all.iter().map(|it| self.fill(it, empty)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| (self.format(key).unwrap_or_else(|| key.clone()), self.fill(value, empty))).collect()
            }
            other => other.clone(),
        }
    }

    fn format(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at_checked(at)?;
            out.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                out.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                out.push('}');
                rest = after;
            } else {
                let (field, after) = from.strip_prefix('{')?.split_once('}')?;
                out.push_str(&self.lookup(field)?);
                rest = after;
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// `node[properties][cpus]`, `inventory.cpu.count`, `item`.
    fn lookup(&self, field: &str) -> Option<String> {
        let field = field.replace(']', "");
        let mut parts = field.split(['[', '.']);
        let root = match parts.next()? {
            "node" => &self.subject.node,
            "inventory" => &self.subject.inventory,
            "plugin_data" => &self.subject.plugin_data,
            "item" => self.item?,
            _ => return None,
        };
        let mut value = root;
        let mut secret = false;
        for part in parts.take(MAX_PARTS) {
            secret |= ["password", "auth_token", "bmc_password"].contains(&part);
            value = match value {
                Value::Array(all) => all.get(part.parse::<usize>().ok()?)?,
                other => other.get(part)?,
            };
        }
        Some(if secret && !self.sensitive { "***".into() } else { python(value) })
    }
}

fn parts(path: &str) -> Vec<String> {
    let separator = if path.contains('/') { '/' } else { '.' };
    path.trim_matches('/').split(separator).map(str::to_owned).collect()
}

/// The place of a path, made where it is missing; `None` where something that is no object is in the way.
fn place<'a>(root: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    let mut at = root;
    for part in path {
        if at.is_null() {
            *at = json!({});
        }
        at = at.as_object_mut()?.entry(part.clone()).or_insert(Value::Null);
    }
    Some(at)
}

fn set(root: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    *place(root, path).ok_or_else(|| format!("there is no place {}", path.join("/")))? = value;
    Ok(())
}

fn extend(root: &mut Value, path: &[String], value: Value, unique: bool) -> Result<(), String> {
    let at = place(root, path).ok_or_else(|| format!("there is no place {}", path.join("/")))?;
    if at.is_null() {
        *at = json!([]);
    }
    let list = at.as_array_mut().ok_or_else(|| format!("{} is no list", path.join("/")))?;
    if !unique || !list.contains(&value) {
        list.push(value);
    }
    Ok(())
}

fn delete(root: &mut Value, path: &[String]) -> Result<(), String> {
    let missing = || format!("there is no {}", path.join("/"));
    let (last, front) = path.split_last().ok_or_else(missing)?;
    let mut at = root;
    for part in front {
        at = at.get_mut(part.as_str()).ok_or_else(missing)?;
    }
    let map = at.as_object_mut().ok_or_else(missing)?;
    if front.is_empty() {
        // Attributes stay, without a value.
        *map.get_mut(last.as_str()).ok_or_else(missing)? = Value::Null;
        return Ok(());
    }
    map.remove(last.as_str()).map(|_| ()).ok_or_else(missing)
}

/// `a:1,b:2` with a name set or left out.
fn capabilities(node: &mut Value, name: &str, value: Option<String>) -> Result<(), String> {
    let at = place(node, &["properties".into(), "capabilities".into()]).ok_or("properties is no object")?;
    let known = at.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> =
        known.split(',').filter(|it| !it.is_empty() && it.split(':').next() != Some(name)).map(str::to_owned).collect();
    all.extend(value.map(|value| format!("{name}:{value}")));
    *at = Value::String(all.join(","));
    Ok(())
}

fn act(action: &Value, item: Option<&Value>, subject: &mut Subject, sensitive: bool) -> Result<(), String> {
    let op = action.get("op").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let (names, formatted): (&[&str], &[&str]) = match op.as_str() {
        "fail" => (&["msg"], &[]),
        "log" => (&["msg", "level"], &["msg"]),
        "set-attribute" => (&["path", "value"], &["value"]),
        "extend-attribute" => (&["path", "value", "unique"], &["value"]),
        "del-attribute" | "unset-plugin-data" => (&["path"], &[]),
        "set-capability" => (&["name", "value"], &["value"]),
        "unset-capability" | "add-trait" | "remove-trait" => (&["name"], &[]),
        "set-plugin-data" => (&["path", "value"], &["value"]),
        "extend-plugin-data" => (&["path", "value", "unique"], &["value"]),
        "set-port-attribute" => (&["port_id", "path", "value"], &["value"]),
        "extend-port-attribute" => (&["port_id", "path", "value", "unique"], &["value"]),
        "del-port-attribute" => (&["port_id", "path"], &[]),
        other => return Err(format!("a rule has the action {other:?}, which there is not")),
    };
    let args = read(action, names, formatted, item, subject, sensitive, &op);
    let path = || args.text("path").map(|it| parts(&it));
    let dots = || args.text("path").map(|it| it.split('.').map(str::to_owned).collect::<Vec<_>>());
    let value = || args.get("value").cloned();
    match op.as_str() {
        "fail" => Err(args.text("msg")?),
        "log" => {
            let (node, words) = (subject.node.get("uuid").map(python), args.text("msg")?);
            tracing::info!(node, words, "an inspection rule has something to say");
            Ok(())
        }
        "set-attribute" => set(&mut subject.node, &path()?, value()?),
        "extend-attribute" => extend(&mut subject.node, &path()?, value()?, args.flag("unique")),
        "del-attribute" => delete(&mut subject.node, &path()?),
        "set-capability" => capabilities(&mut subject.node, &args.text("name")?, Some(args.text("value")?)),
        "unset-capability" => capabilities(&mut subject.node, &args.text("name")?, None),
        "add-trait" => extend(&mut subject.node, &["traits".into()], Value::String(args.text("name")?), true),
        "remove-trait" => {
            let name = args.text("name")?;
            if let Some(Value::Array(traits)) = subject.node.get_mut("traits") {
                traits.retain(|it| it.as_str() != Some(&name));
            }
            Ok(())
        }
        "set-plugin-data" => set(&mut subject.plugin_data, &dots()?, value()?),
        "extend-plugin-data" => extend(&mut subject.plugin_data, &dots()?, value()?, args.flag("unique")),
        "unset-plugin-data" => {
            let path = dots()?;
            if delete_data(&mut subject.plugin_data, &path).is_none() {
                tracing::warn!(path = path.join("."), "an inspection rule removes what is not there");
            }
            Ok(())
        }
        _ => {
            let id = args.text("port_id")?;
            let own = |it: &&mut Value| ["uuid", "address"].iter().any(|key| it.get(*key).and_then(Value::as_str) == Some(&id));
            let port = subject.ports.iter_mut().find(own).ok_or_else(|| format!("there is no port {id}"))?;
            match op.as_str() {
                "set-port-attribute" => set(port, &path()?, value()?),
                "extend-port-attribute" => extend(port, &path()?, value()?, args.flag("unique")),
                _ => delete(port, &path()?),
            }
        }
    }
}

fn delete_data(root: &mut Value, path: &[String]) -> Option<()> {
    let (last, front) = path.split_last()?;
    let mut at = root;
    for part in front {
        at = at.get_mut(part.as_str())?;
    }
    at.as_object_mut()?.remove(last.as_str()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            node: json!({"uuid": "n", "driver_info": {"redfish_address": "https://192.0.2.7", "password": "hush"}, "properties": {"cpus": 8},
                "extra": {}, "traits": ["CUSTOM_OLD"], "resource_class": null}),
            ports: vec![json!({"uuid": "p", "address": "52:54:00:00:00:01", "extra": {}})],
            inventory: json!({"cpu": {"count": 8, "architecture": "x86_64"}, "bmc_address": "192.0.2.7",
                "system_vendor": {"product_name": "Box 9 (SKU 1)"}, "disks": [{"name": "/dev/sda"}]}),
            plugin_data: json!({"a": {"b": 1, "c": [1]}}),
        }
    }

    #[track_caller]
    fn truth(op: &str, args: Value) -> Result<bool, String> {
        check(&json!({"op": op, "args": args}), None, &subject(), false)
    }

    #[test]
    fn conditions() {
        for (op, args, wanted) in [
            ("eq", json!({"values": ["{inventory[cpu][count]}", "8"]}), true),
            ("eq", json!({"values": ["{inventory[cpu][count]}", 8]}), false),
            ("eq", json!({"values": ["{inventory.cpu.count}", 8], "force_strings": true}), true),
            ("!eq", json!({"values": [1, 1]}), false),
            ("! eq", json!({"values": [1, 2]}), true),
            ("ne", json!({"values": [1, 2]}), true),
            ("lt", json!({"values": [1, 2, 3]}), true),
            ("lt", json!({"values": [1, 3, 2]}), false),
            ("gt", json!({"values": [3, 2]}), true),
            ("le", json!({"values": [2, 2]}), true),
            ("ge", json!({"values": [1, 2]}), false),
            ("in-net", json!({"address": "{inventory[bmc_address]}", "subnet": "192.0.2.0/24"}), true),
            ("in-net", json!(["192.0.3.1", "192.0.2.0/24"]), false),
            ("in-net", json!(["192.0.2.7", "192.0.2.7"]), true),
            ("matches", json!({"value": "{inventory[system_vendor][product_name]}", "regex": "Box \\d+.*"}), true),
            ("matches", json!({"value": "a Box 9", "regex": "Box"}), false),
            ("contains", json!({"value": "a Box 9", "regex": "Box"}), true),
            ("one-of", json!({"value": "{inventory[cpu][architecture]}", "values": ["x86_64", "aarch64"]}), true),
            ("one-of", json!({"value": "riscv", "values": ["x86_64"]}), false),
            ("is-empty", json!({"value": "{node[extra]}"}), true),
            ("is-empty", json!({"value": "{node[extra][missing]}"}), true),
            ("is-empty", json!({"value": "{inventory[disks]}"}), false),
            ("is-none", json!({"value": null}), true),
            ("is-none", json!({"value": "None"}), false),
            ("is-true", json!({"value": "Yes"}), true),
            ("is-true", json!({"value": 1}), true),
            ("is-true", json!({"value": "1"}), false),
            ("is-false", json!({"value": null}), true),
            ("is-false", json!({"value": "no"}), true),
            ("!is-false", json!({"value": "{inventory[disks][0][name]}"}), true),
        ] {
            assert_eq!(truth(op, args.clone()), Ok(wanted), "{op} {args}");
        }
        for (op, args) in [
            ("lt", json!({"values": [1, "2"]})),
            ("eq", json!({"values": 1})),
            ("eq", json!({})),
            ("in-net", json!(["x", "y"])),
            ("matches", json!({"value": "x", "regex": "("})),
            ("like", json!({"value": "x"})),
        ] {
            assert!(truth(op, args.clone()).is_err(), "{op} {args}");
        }
    }

    #[test]
    fn loops_over_conditions() {
        let condition = |multiple: &str| json!({"op": "eq", "args": {"values": ["{item}", "{inventory[cpu][count]}"]}, "loop": [7, 8, 9], "multiple": multiple});
        for (multiple, wanted) in [("any", true), ("all", false), ("first", true), ("last", false)] {
            assert_eq!(holds(&condition(multiple), &subject(), false), Ok(wanted), "{multiple}");
        }
    }

    #[test]
    fn braces() {
        let subject = subject();
        let context = Context { subject: &subject, item: None, sensitive: false };
        let filled = |text: &str| context.format(text);
        assert_eq!(filled("{{{node[uuid]}}} of {inventory[disks][0][name]}").as_deref(), Some("{n} of /dev/sda"));
        assert_eq!(filled("{node[driver_info][password]}").as_deref(), Some("***"));
        assert_eq!(filled("{plugin_data[a]}").as_deref(), Some("{'b': 1, 'c': [1]}"));
        for wrong in ["{node[x]}", "{", "}", "{nobody}", "{item}", "{node[uuid][x]}"] {
            assert_eq!(filled(wrong), None, "{wrong}");
        }
        let sensitive = Context { sensitive: true, ..context };
        assert_eq!(sensitive.format("{node[driver_info][password]}").as_deref(), Some("hush"));
    }

    fn done(actions: Value) -> Result<Subject, String> {
        let mut subject = subject();
        let rule = InspectionRuleDesired { actions: actions.as_array().cloned().unwrap(), ..InspectionRuleDesired::default() };
        apply(&rule, &mut subject).map(|_| subject)
    }

    #[test]
    fn actions() {
        let after = done(json!([
            {"op": "set-attribute", "args": {"path": "extra/rack/name", "value": "r-{inventory[cpu][count]}"}},
            {"op": "set-attribute", "args": ["resource_class", "big"]},
            {"op": "extend-attribute", "args": {"path": "extra.list", "value": "x"}},
            {"op": "extend-attribute", "args": {"path": "extra.list", "value": "x", "unique": true}},
            {"op": "del-attribute", "args": {"path": "properties/cpus"}},
            {"op": "add-trait", "args": {"name": "CUSTOM_NEW"}},
            {"op": "remove-trait", "args": {"name": "CUSTOM_OLD"}},
            {"op": "set-capability", "args": {"name": "boot_mode", "value": "uefi"}},
            {"op": "set-capability", "args": {"name": "cpu", "value": "{inventory[cpu][architecture]}"}},
            {"op": "set-capability", "args": {"name": "boot_mode", "value": "bios"}},
            {"op": "set-plugin-data", "args": {"path": "a.d.e", "value": 5}},
            {"op": "extend-plugin-data", "args": {"path": "a.c", "value": 1, "unique": true}},
            {"op": "unset-plugin-data", "args": {"path": "a.b"}},
            {"op": "unset-plugin-data", "args": {"path": "nothing.there"}},
            {"op": "set-port-attribute", "args": {"port_id": "p", "path": "extra/{item}", "value": "{item}"}, "loop": ["one", "two"]},
            {"op": "extend-port-attribute", "args": {"port_id": "52:54:00:00:00:01", "path": "extra/all", "value": 1}},
            {"op": "del-port-attribute", "args": {"port_id": "p", "path": "extra/two"}},
            {"op": "log", "args": {"msg": "{node[uuid]}"}},
        ]))
        .unwrap();
        assert_eq!(after.node["extra"], json!({"rack": {"name": "r-8"}, "list": ["x"]}));
        assert_eq!(after.node["resource_class"], "big");
        assert_eq!(after.node["traits"], json!(["CUSTOM_NEW"]));
        assert_eq!(after.node["properties"], json!({"capabilities": "cpu:x86_64,boot_mode:bios"}));
        assert_eq!(after.plugin_data, json!({"a": {"c": [1], "d": {"e": 5}}}));
        assert_eq!(after.ports[0]["extra"], json!({"one": "one", "all": [1]}));
        for wrong in [
            json!([{"op": "fail", "args": {"msg": "no"}}]),
            json!([{"op": "set-port-attribute", "args": {"port_id": "q", "path": "extra", "value": 1}}]),
            json!([{"op": "extend-attribute", "args": {"path": "properties/cpus", "value": 1}}]),
            json!([{"op": "del-attribute", "args": {"path": "extra/none"}}]),
            json!([{"op": "dance"}]),
        ] {
            assert!(done(wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(done(json!([{"op": "fail", "args": ["no such box"]}])).unwrap_err(), "no such box");
    }

    #[test]
    fn a_rule_whose_conditions_do_not_hold_does_nothing() {
        let rule = InspectionRuleDesired {
            conditions: vec![json!({"op": "eq", "args": {"values": [1, 1]}}), json!({"op": "eq", "args": {"values": [1, 2]}})],
            actions: vec![json!({"op": "fail", "args": {"msg": "no"}})],
            ..InspectionRuleDesired::default()
        };
        assert_eq!(apply(&rule, &mut subject()), Ok(false));
    }
}
