//! JSON patches (RFC 6902) as Ironic, Glance and Magnum take them: `add`, `replace` and `remove`.

use serde_json::{Map, Value};

/// Most operations one patch may have.
const MAX_OPERATIONS: usize = 256;

/// What an operation does.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Sets a member or inserts an element. (`add`)
    Add(Value),
    /// Sets a member that is there. (`replace`)
    Replace(Value),
    /// Takes a member away. (`remove`)
    Remove,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The members on the way, unescaped; never empty.
    pub path: Vec<String>,
    /// What is done there.
    pub change: Change,
}

impl Operation {
    /// The first member of the path: the attribute of the resource.
    pub fn attribute(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The path as it was given.
    pub fn pointer(&self) -> String {
        self.path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
    }
}

/// Why a patch cannot be read or applied: words that name the operation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(pub String);

/// Reads a patch.
///
/// # Errors
/// Not a list of objects with `op`, `path` and, unless it is `remove`, `value`; an `op` other than those three; a path that is none.
pub fn parse(body: &Value) -> Result<Vec<Operation>, PatchError> {
    let list = body.as_array().ok_or_else(|| PatchError("a patch is a list of operations".into()))?;
    if list.len() > MAX_OPERATIONS {
        return Err(PatchError(format!("a patch has at most {MAX_OPERATIONS} operations")));
    }
    list.iter().map(operation).collect()
}

fn operation(item: &Value) -> Result<Operation, PatchError> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let op = text("op").ok_or_else(|| PatchError("each operation of a patch needs op and path".into()))?;
    let pointer = text("path").ok_or_else(|| PatchError(format!("the operation {op} has no path")))?;
    let path = pointer
        .strip_prefix('/')
        .map(|rest| rest.split('/').map(unescape).collect::<Option<Vec<_>>>())
        .and_then(|parts| parts.filter(|parts| parts.iter().all(|part| !part.is_empty())))
        .ok_or_else(|| PatchError(format!("'{pointer}' is not a path")))?;
    let value = || item.get("value").cloned().ok_or_else(|| PatchError(format!("the operation {op} on {pointer} has no value")));
    let change = match op {
        "add" => Change::Add(value()?),
        "replace" => Change::Replace(value()?),
        "remove" => Change::Remove,
        other => return Err(PatchError(format!("the operation '{other}' is not one of add, replace, remove"))),
    };
    Ok(Operation { path, change })
}

/// RFC 6901: `~1` is `/`, `~0` is `~`, any other `~` is an error.
fn unescape(part: &str) -> Option<String> {
    let plain = part.replace("~1", "").replace("~0", "");
    (!plain.contains('~')).then(|| part.replace("~1", "/").replace("~0", "~"))
}

/// Applies one operation to the attributes of a resource. An `add` of an attribute acts as `replace`.
///
/// # Errors
/// What the path names is not there or has no members.
pub fn apply(document: &mut Map<String, Value>, operation: &Operation) -> Result<(), PatchError> {
    let failed = |why: &str| PatchError(format!("cannot apply the patch at '{}': {why}", operation.pointer()));
    let Some((last, way)) = operation.path.split_last() else {
        return Err(failed("the path is empty"));
    };
    let Some((first, way)) = way.split_first() else {
        return apply_member(document, last, &operation.change).map_err(failed);
    };
    let mut at = document.get_mut(first).ok_or_else(|| failed("there is no such attribute"))?;
    for part in way {
        at = match at {
            Value::Object(map) => map.get_mut(part),
            Value::Array(list) => part.parse::<usize>().ok().and_then(|index| list.get_mut(index)),
            _ => None,
        }
        .ok_or_else(|| failed("a part of the path does not exist"))?;
    }
    match at {
        Value::Object(map) => apply_member(map, last, &operation.change).map_err(failed),
        Value::Array(list) => apply_element(list, last, &operation.change).map_err(failed),
        Value::Null if matches!(operation.change, Change::Add(_)) => {
            let mut map = Map::new();
            apply_member(&mut map, last, &operation.change).map_err(failed)?;
            *at = Value::Object(map);
            Ok(())
        }
        _ => Err(failed("what the path leads to has no members")),
    }
}

fn apply_member(map: &mut Map<String, Value>, key: &str, change: &Change) -> Result<(), &'static str> {
    match change {
        Change::Add(value) => {
            map.insert(key.to_owned(), value.clone());
            Ok(())
        }
        Change::Replace(value) => {
            let slot = map.get_mut(key).ok_or("there is nothing to replace")?;
            *slot = value.clone();
            Ok(())
        }
        Change::Remove => map.remove(key).map(drop).ok_or("there is nothing to remove"),
    }
}

fn apply_element(list: &mut Vec<Value>, key: &str, change: &Change) -> Result<(), &'static str> {
    let index = || key.parse::<usize>().ok().filter(|index| *index < list.len()).ok_or("there is no such element");
    match change {
        Change::Add(value) if key == "-" => {
            list.push(value.clone());
            Ok(())
        }
        Change::Add(value) => {
            let at = key.parse::<usize>().ok().filter(|at| *at <= list.len()).ok_or("there is no such element")?;
            list.insert(at, value.clone());
            Ok(())
        }
        Change::Replace(value) => {
            let at = index()?;
            if let Some(slot) = list.get_mut(at) {
                *slot = value.clone();
            }
            Ok(())
        }
        Change::Remove => {
            let at = index()?;
            list.remove(at);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(document: Value, patch: Value) -> Result<Value, String> {
        let Value::Object(mut map) = document else { panic!("not an object") };
        for operation in parse(&patch).map_err(|error| error.to_string())? {
            apply(&mut map, &operation).map_err(|error| error.to_string())?;
        }
        Ok(Value::Object(map))
    }

    #[test]
    fn members_are_added_replaced_and_removed() {
        let patch = json!([
            {"op": "add", "path": "/extra/a~1b", "value": 1},
            {"op": "replace", "path": "/name", "value": "n"},
            {"op": "add", "path": "/name", "value": "m"},
            {"op": "remove", "path": "/extra/old"},
            {"op": "add", "path": "/tags/-", "value": "x"},
            {"op": "add", "path": "/link/port_id", "value": "p1"},
        ]);
        let after = run(json!({"name": null, "extra": {"old": 1}, "tags": [], "link": null}), patch);
        assert_eq!(after, Ok(json!({"name": "m", "extra": {"a/b": 1}, "tags": ["x"], "link": {"port_id": "p1"}})));
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (patch, word) in [
            (json!([{"op": "replace", "path": "/extra/none", "value": 1}]), "/extra/none"),
            (json!([{"op": "remove", "path": "/extra/none"}]), "/extra/none"),
            (json!([{"op": "add", "path": "/none/x", "value": 1}]), "/none/x"),
            (json!([{"op": "add", "path": "/name/x", "value": 1}]), "no members"),
            (json!([{"op": "move", "path": "/name", "from": "/x"}]), "move"),
            (json!([{"op": "add", "path": "name", "value": 1}]), "not a path"),
            (json!([{"op": "add", "path": "/a~2", "value": 1}]), "not a path"),
            (json!([{"op": "add", "path": "/"}]), "not a path"),
            (json!([{"op": "add", "path": "/name"}]), "no value"),
            (json!({"op": "add"}), "list"),
            (json!([7]), "op and path"),
        ] {
            let error = run(json!({"name": "n", "extra": {}}), patch.clone()).unwrap_err();
            assert!(error.contains(word), "{patch}: {error}");
        }
    }
}
