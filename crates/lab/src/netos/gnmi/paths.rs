//! Paths into the tree: what is there, and what a `Set` does to it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tonic::Status;

use super::super::openconfig::schema::{Def, Node, ROOT, Type, find};
use super::super::openconfig::{from_ietf, key_text, merge, to_ietf};
use super::proto::{Path, PathElem, TypedValue, Val};

/// A path as people write it.
pub(super) fn text(elems: &[PathElem]) -> String {
    let key = |(name, value): (&String, &String)| format!("[{name}={value}]");
    elems.iter().map(|it| format!("/{}{}", it.name, it.key.iter().map(key).collect::<String>())).collect()
}

/// The elements of a path below a prefix, without the names of modules.
pub(super) fn elems(prefix: Option<&Path>, path: Option<&Path>) -> Result<Vec<PathElem>, Status> {
    for it in prefix.into_iter().chain(path) {
        if !["", "openconfig"].contains(&it.origin.as_str()) {
            return Err(Status::unimplemented(format!("origin {} is not supported", it.origin)));
        }
    }
    let all = prefix.into_iter().chain(path).flat_map(|it| &it.elem);
    Ok(all
        .map(|it| PathElem { name: it.name.rsplit_once(':').map_or(it.name.clone(), |it| it.1.to_owned()), key: it.key.clone() })
        .filter(|it| !it.name.is_empty())
        .collect())
}

/// Something that is there.
pub(super) struct Found<'a> {
    /// Its path, with the keys of all lists on the way.
    pub(super) elems: Vec<PathElem>,
    pub(super) value: &'a Value,
    pub(super) node: Node,
}

/// What is at a path; keys that are not given, or are `*`, stand for all.
pub(super) fn locate<'a>(tree: &'a Value, path: &[PathElem]) -> Result<Vec<Found<'a>>, Status> {
    check(path)?;
    let mut out = Vec::new();
    locate_in(tree, Node::Container(ROOT), path, &mut Vec::new(), &mut out);
    Ok(out)
}

/// Whether a path is in the grammar.
fn check(path: &[PathElem]) -> Result<(), Status> {
    let mut defs = ROOT;
    for (nth, it) in path.iter().enumerate() {
        let unknown = || Status::invalid_argument(format!("there is no path {}", text(path.get(..=nth).unwrap_or_default())));
        let def = find(defs, &it.name).ok_or_else(unknown)?;
        let keys = match def.node {
            Node::List(key, inner) => {
                defs = inner;
                Some(key)
            }
            Node::Container(inner) => {
                defs = inner;
                None
            }
            Node::Leaf(_) | Node::LeafList(_) => {
                defs = &[];
                None
            }
        };
        if let Some(wrong) = it.key.keys().find(|it| Some(it.as_str()) != keys) {
            return Err(Status::invalid_argument(format!("{} has no key {wrong}", it.name)));
        }
    }
    Ok(())
}

fn locate_in<'a>(value: &'a Value, node: Node, path: &[PathElem], so_far: &mut Vec<PathElem>, out: &mut Vec<Found<'a>>) {
    let Some((first, rest)) = path.split_first() else {
        out.push(Found { elems: so_far.clone(), value, node });
        return;
    };
    let (Node::Container(defs) | Node::List(_, defs)) = node else { return };
    let Some((def, below)) = find(defs, &first.name).zip(value.get(&first.name)) else { return };
    match def.node {
        Node::List(key, _) => {
            let wanted = first.key.get(key).filter(|it| *it != "*");
            let mut entries: Vec<(&String, &Value)> = below.as_object().into_iter().flatten().collect();
            entries.sort_by_key(|(name, _)| super::super::device::natural(name));
            for (name, entry) in entries.into_iter().filter(|(name, _)| wanted.is_none_or(|it| it == *name)) {
                so_far.push(PathElem { name: first.name.clone(), key: BTreeMap::from([(key.to_owned(), name.clone())]) });
                locate_in(entry, def.node, rest, so_far, out);
                so_far.pop();
            }
        }
        Node::Container(_) | Node::Leaf(_) | Node::LeafList(_) => {
            so_far.push(PathElem { name: first.name.clone(), key: BTreeMap::new() });
            locate_in(below, def.node, rest, so_far, out);
            so_far.pop();
        }
    }
}

impl Found<'_> {
    /// Its value as JSON.
    pub(super) fn json(&self) -> Value {
        match self.node {
            Node::Container(defs) | Node::List(_, defs) => to_ietf(self.value, defs, None),
            Node::Leaf(_) | Node::LeafList(_) => self.value.clone(),
        }
    }

    /// All leaves below it, by their paths.
    pub(super) fn leaves(&self, out: &mut BTreeMap<String, (Vec<PathElem>, Value)>) {
        leaves(self.value, self.node, &mut self.elems.clone(), out);
    }
}

fn leaves(value: &Value, node: Node, path: &mut Vec<PathElem>, out: &mut BTreeMap<String, (Vec<PathElem>, Value)>) {
    let (Node::Container(defs) | Node::List(_, defs)) = node else {
        out.insert(text(path), (path.clone(), value.clone()));
        return;
    };
    for def in defs {
        let Some(below) = value.get(def.name) else { continue };
        let plain = PathElem { name: def.name.to_owned(), key: BTreeMap::new() };
        match def.node {
            Node::List(key, _) => {
                for (name, entry) in below.as_object().into_iter().flatten() {
                    path.push(PathElem { key: BTreeMap::from([(key.to_owned(), name.clone())]), ..plain.clone() });
                    leaves(entry, def.node, path, out);
                    path.pop();
                }
            }
            Node::Container(_) | Node::Leaf(_) | Node::LeafList(_) => {
                path.push(plain);
                leaves(below, def.node, path, out);
                path.pop();
            }
        }
    }
}

/// Takes away what is at a path.
pub(super) fn delete(tree: &mut Value, path: &[PathElem]) -> Result<(), Status> {
    writable(path)?;
    check(path)?;
    let found: Vec<Vec<PathElem>> = locate(tree, path)?.into_iter().map(|it| it.elems).collect();
    for elems in found {
        if elems.is_empty() {
            *tree = json!({});
            continue;
        }
        let mut words: Vec<String> = elems.into_iter().flat_map(|it| std::iter::once(it.name).chain(it.key.into_values())).collect();
        let Some(last) = words.pop() else { continue };
        let parent = words.iter().try_fold(&mut *tree, |it, word| it.get_mut(word));
        if let Some(map) = parent.and_then(Value::as_object_mut) {
            map.remove(&last);
        }
    }
    Ok(())
}

fn writable(path: &[PathElem]) -> Result<(), Status> {
    if path.iter().any(|it| it.name == "state") {
        return Err(Status::invalid_argument(format!("{} is read-only", text(path))));
    }
    Ok(())
}

/// Puts a value at a path: instead of what is there, or merged into it.
pub(super) fn put(tree: &mut Value, path: &[PathElem], value: Option<&TypedValue>, replace: bool) -> Result<(), Status> {
    writable(path)?;
    check(path)?;
    let wrong = |says: String| Status::invalid_argument(format!("{}: {says}", text(path)));
    let given = match value.and_then(|it| it.value.as_ref()) {
        Some(Val::JsonIetf(bytes) | Val::Json(bytes)) => serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?,
        Some(Val::Text(it) | Val::Ascii(it)) => json!(it),
        Some(Val::Int(it)) => json!(it),
        Some(Val::Uint(it)) => json!(it),
        Some(Val::Bool(it)) => json!(it),
        None => return Err(wrong("a value is expected".into())),
    };
    let mut here = tree;
    let mut node = Node::Container(ROOT);
    for it in path {
        let (Node::Container(defs) | Node::List(_, defs)) = node else { return Err(wrong("there is nothing below a leaf".into())) };
        let def: &Def = find(defs, &it.name).ok_or_else(|| wrong("there is no such path".into()))?;
        node = def.node;
        here = entry(here, def.name);
        if let Node::List(key, inner) = node {
            let name = it.key.get(key).filter(|it| *it != "*").ok_or_else(|| wrong(format!("the key {key} is missing")))?;
            let kind = match find(inner, key).map(|it| it.node) {
                Some(Node::Leaf(kind)) => kind,
                _ => Type::Text,
            };
            let own = kind.parse(name).map_err(wrong)?;
            here = entry(here, &key_text(&own));
            *entry(here, key) = own;
        }
    }
    let taken = match node {
        Node::Container(defs) => from_ietf(&given, defs, "").map_err(|(at, says)| wrong(format!("{at}: {says}")))?,
        Node::List(key, defs) => {
            let mut taken = from_ietf(&given, defs, "").map_err(|(at, says)| wrong(format!("{at}: {says}")))?;
            let own = here.get(key).cloned().unwrap_or_default();
            if taken.get(key).is_some_and(|it| *it != own) {
                return Err(wrong(format!("{key} differs from the key in the path")));
            }
            taken[key] = own;
            taken
        }
        Node::Leaf(kind) => kind.take(&given).map_err(wrong)?,
        Node::LeafList(kind) => {
            let list = given.as_array().ok_or_else(|| wrong("an array is expected".into()))?;
            list.iter().map(|it| kind.take(it)).collect::<Result<Value, _>>().map_err(wrong)?
        }
    };
    if has_state(&taken) {
        return Err(wrong("state is read-only".into()));
    }
    if replace || !taken.is_object() {
        *here = taken;
    } else {
        merge(here, &taken);
    }
    Ok(())
}

fn has_state(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.iter().any(|(key, it)| key == "state" && it.is_object() || has_state(it)))
}

/// The entry of an object at a key; what is no object becomes one.
fn entry<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let inner = &mut value[key];
    if inner.is_null() {
        *inner = json!({});
    }
    inner
}
