//! Edits as a `SetRequest`, and answers as one value.

use serde_json::{Map, Value, json};

use super::super::LagProtocol;
use super::super::openconfig::{Edits, Switched, bare, trunk_vlans};
use super::proto::{JSON, Notification, Path, PathElem, SetRequest, Typed, TypedValue, Update};

/// How long a path may be.
const LONGEST: usize = 64;

/// A step without keys, or with one.
pub(super) fn path(steps: &[(&str, Option<(&str, &str)>)]) -> Path {
    let elem = |(name, key): &(&str, Option<(&str, &str)>)| PathElem {
        name: (*name).to_owned(),
        key: key.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    Path { elem: steps.iter().map(elem).collect(), ..Path::default() }
}

fn below(mut at: Path, names: &[&str]) -> Path {
    at.elem.extend(names.iter().map(|it| PathElem { name: (*it).to_owned(), ..PathElem::default() }));
    at
}

/// The VLANs of a network instance.
pub(super) fn vlans(instance: &str) -> Path {
    path(&[("network-instances", None), ("network-instance", Some(("name", instance))), ("vlans", None)])
}

fn write(path: Path, module: &str, fields: Value) -> Update {
    // By RFC 7951 section 4 the outermost members are named with their module.
    let fields: Map<String, Value> = match fields {
        Value::Object(fields) => {
            fields.into_iter().map(|(key, it)| (if key.contains(':') { key } else { format!("{module}:{key}") }, it)).collect()
        }
        _ => Map::new(),
    };
    let json = Value::Object(fields).to_string().into_bytes();
    Update { path: Some(path), val: Some(TypedValue { value: Some(Typed::JsonIetf(json)) }), duplicates: 0 }
}

/// One request that makes all of the edits.
pub(super) fn request(edits: &Edits, instance: &str, encoding: i32) -> SetRequest {
    let mut out = written(edits, instance);
    if encoding == JSON {
        for value in out.replace.iter_mut().chain(&mut out.update).filter_map(|it| it.val.as_mut()) {
            if let Some(Typed::JsonIetf(bytes)) = value.value.take() {
                value.value = Some(Typed::Json(bytes));
            }
        }
    }
    out
}

fn written(edits: &Edits, instance: &str) -> SetRequest {
    let mut out = SetRequest::default();
    for (name, edit) in &edits.interfaces {
        let at = path(&[("interfaces", None), ("interface", Some(("name", name)))]);
        let lacp = path(&[("lacp", None), ("interfaces", None), ("interface", Some(("name", name)))]);
        if edit.remove {
            out.delete.extend([at, lacp]);
            continue;
        }
        let mut fields = json!({});
        if let Some(enabled) = edit.enabled {
            fields["enabled"] = json!(enabled);
        }
        if let Some(text) = &edit.description {
            fields["description"] = json!(text);
        }
        if let Some(protocol) = edit.protocol {
            fields["type"] = json!("iana-if-type:ieee8023adLag");
            let kind = match protocol {
                LagProtocol::Lacp => {
                    let fields = json!({"name": name, "lacp-mode": "ACTIVE"});
                    out.update.push(write(below(lacp, &["config"]), "openconfig-lacp", fields));
                    "LACP"
                }
                LagProtocol::Static => {
                    out.delete.push(lacp);
                    "STATIC"
                }
            };
            let place = below(at.clone(), &["aggregation", "config"]);
            out.update.push(write(place, "openconfig-if-aggregate", json!({"lag-type": kind})));
        }
        if fields.as_object().is_some_and(|it| !it.is_empty()) {
            fields["name"] = json!(name);
            // The group is made before anything below it.
            out.update.insert(0, write(below(at.clone(), &["config"]), "openconfig-interfaces", fields));
        }
        if edit.drop_subinterfaces {
            out.delete.push(below(at.clone(), &["subinterfaces"]));
        }
        match &edit.aggregate {
            Some(Some(lag)) => {
                let place = below(at.clone(), &["ethernet", "config"]);
                out.update.push(write(place, "openconfig-if-aggregate", json!({"aggregate-id": lag})));
            }
            Some(None) => out.delete.push(below(at.clone(), &["ethernet", "config", "aggregate-id"])),
            None => {}
        }
        let container = if edit.is_lag { "aggregation" } else { "ethernet" };
        match &edit.switched {
            Some(Some(vlans)) => {
                let place = below(at, &[container, "switched-vlan", "config"]);
                out.replace.push(write(place, "openconfig-vlan", switched(vlans)));
            }
            Some(None) => out.delete.push(below(at, &[container, "switched-vlan"])),
            None => {}
        }
    }
    for (vlan, name) in &edits.vlans {
        let mut at = vlans(instance);
        at.elem.push(PathElem { name: "vlan".to_owned(), key: [("vlan-id".to_owned(), vlan.to_string())].into() });
        match name {
            Some(name) => {
                let fields = json!({"vlan-id": vlan.get(), "name": name, "status": "ACTIVE"});
                out.update.push(write(below(at, &["config"]), "openconfig-network-instance", fields));
            }
            None => out.delete.push(at),
        }
    }
    out
}

fn switched(vlans: &Switched) -> Value {
    match vlans {
        Switched::Access(vlan) => json!({"interface-mode": "ACCESS", "access-vlan": vlan.get()}),
        Switched::Trunk { native, list } => {
            let list: Vec<Value> =
                trunk_vlans(list).into_iter().map(|it| it.map_or_else(|range| json!(range), |vlan| json!(vlan))).collect();
            let mut out = json!({"interface-mode": "TRUNK", "trunk-vlans": list});
            if let Some(native) = native {
                out["native-vlan"] = json!(native.get());
            }
            out
        }
    }
}

/// Puts all values of an answer into one tree of bare names.
///
/// # Errors
/// A value is no JSON.
pub(super) fn merge(tree: &mut Value, notifications: &[Notification]) -> Result<(), String> {
    for notification in notifications {
        for update in &notification.update {
            let steps: Vec<&PathElem> = notification.prefix.iter().chain(&update.path).flat_map(|it| &it.elem).take(LONGEST).collect();
            let Some(value) = update.val.as_ref().and_then(|it| it.value.as_ref()) else { continue };
            put(tree, &steps, unwrapped(bare(plain(value)?), &steps));
        }
    }
    Ok(())
}

fn plain(value: &Typed) -> Result<Value, String> {
    Ok(match value {
        Typed::String(text) | Typed::Ascii(text) => json!(text),
        Typed::Int(number) => json!(number),
        Typed::Uint(number) => json!(number),
        Typed::Bool(it) => json!(it),
        Typed::Double(number) => json!(number),
        Typed::LeafList(list) => {
            let scalars = list.element.iter().filter_map(|it| it.value.as_ref()).filter(|it| !matches!(it, Typed::LeafList(_)));
            Value::Array(scalars.map(plain).collect::<Result<_, _>>()?)
        }
        Typed::Json(bytes) | Typed::JsonIetf(bytes) => {
            serde_json::from_slice(bytes).map_err(|error| format!("a value is no JSON: {error}"))?
        }
    })
}

fn bare_name(step: &PathElem) -> &str {
    step.name.rsplit(':').next().unwrap_or_default()
}

/// Some targets repeat the last step of the path around the value.
fn unwrapped(value: Value, steps: &[&PathElem]) -> Value {
    let Some(last) = steps.last() else { return value };
    match value {
        Value::Object(mut fields) if fields.len() == 1 && fields.contains_key(bare_name(last)) => {
            match (fields.remove(bare_name(last)).unwrap_or_default(), last.key.is_empty()) {
                (Value::Array(mut all), false) if all.len() == 1 => all.pop().unwrap_or_default(),
                (value, _) => value,
            }
        }
        value => value,
    }
}

fn put(tree: &mut Value, steps: &[&PathElem], value: Value) {
    let Some((step, rest)) = steps.split_first() else {
        return join(tree, value);
    };
    if !tree.is_object() {
        *tree = json!({});
    }
    let Some(fields) = tree.as_object_mut() else { return };
    let place = fields.entry(bare_name(step)).or_insert(Value::Null);
    if step.key.is_empty() {
        return put(place, rest, value);
    }
    if !place.is_array() {
        *place = json!([]);
    }
    let Some(list) = place.as_array_mut() else { return };
    let is_it = |it: &Value| {
        step.key.iter().all(|(key, wanted)| match it.get(key) {
            Some(Value::String(text)) => text == wanted,
            Some(other) => format!("{other}") == *wanted,
            None => false,
        })
    };
    let at = list.iter().position(is_it).unwrap_or_else(|| {
        list.push(step.key.iter().map(|(key, value)| (key.clone(), json!(value))).collect());
        list.len() - 1
    });
    if let Some(entry) = list.get_mut(at) {
        put(entry, rest, value);
    }
}

/// Fields of both; of the same field, the new value.
fn join(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                join(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
