//! Data between XML and the tree: what is shown through a filter, and what an edit does.
//!
//! Source: RFC 6241, sections 6 (subtree filtering) and 7.2 (`<edit-config>`); RFC 7950, section 7.8.5 (lists in XML).

use serde_json::{Map, Value, json};

use super::super::openconfig::key_text;
use super::super::openconfig::schema::{Def, Module, Node, ROOT, Type, find};
use super::xml::{BASE, Element, escape};

/// Why a request cannot be done (RFC 6241, appendix A).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) tag: &'static str,
    pub(super) kind: &'static str,
    pub(super) path: String,
    pub(super) message: String,
    /// What belongs into `<error-info>`, as XML.
    pub(super) info: String,
}

impl Refusal {
    pub(super) fn new(tag: &'static str, kind: &'static str, message: impl Into<String>) -> Self {
        Self { tag, kind, path: String::new(), message: message.into(), info: String::new() }
    }

    fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    fn bad(mut self, element: &str) -> Self {
        self.info = format!("<bad-element>{}</bad-element>", escape(element));
        self
    }

    /// As an `<rpc-error>`.
    pub(super) fn xml(&self) -> String {
        let path = if self.path.is_empty() { String::new() } else { format!("<error-path>{}</error-path>", escape(&self.path)) };
        let info = if self.info.is_empty() { String::new() } else { format!("<error-info>{}</error-info>", self.info) };
        format!(
            "<rpc-error><error-type>{}</error-type><error-tag>{}</error-tag><error-severity>error</error-severity>{path}<error-message xml:lang=\"en\">{}</error-message>{info}</rpc-error>",
            self.kind,
            self.tag,
            escape(&self.message),
        )
    }
}

fn fits(element: &Element, def: &Def) -> bool {
    element.name == def.name && (element.namespace.is_empty() || element.namespace == BASE || element.namespace == def.module.namespace())
}

/// The data as XML, through a filter if there is one.
pub(super) fn shown(tree: &Value, filter: Option<&Element>) -> String {
    let mut out = String::new();
    match filter {
        None => write(tree, ROOT, None, &mut out),
        Some(filter) => write(&filtered(tree, ROOT, &filter.children), ROOT, None, &mut out),
    }
    out
}

/// What the nodes of a subtree filter select of what is below one place.
fn filtered(tree: &Value, defs: &'static [Def], nodes: &[Element]) -> Value {
    let Some(map) = tree.as_object() else { return tree.clone() };
    let mut out = Map::new();
    for def in defs {
        let Some(value) = map.get(def.name) else { continue };
        for node in nodes.iter().filter(|it| fits(it, def)) {
            let part = match def.node {
                Node::Container(inner) if !node.children.is_empty() => Some(filtered(value, inner, &node.children)),
                Node::List(_, inner) if !node.children.is_empty() => {
                    let entries = value.as_object().into_iter().flatten();
                    let picked = entries.filter(|(_, entry)| matches(entry, inner, &node.children)).map(|(key, entry)| {
                        let content = node.children.iter().any(|it| !is_match(it));
                        // Content matches alone select the whole entry.
                        (key.clone(), if content { filtered(entry, inner, &node.children) } else { entry.clone() })
                    });
                    let picked: Map<String, Value> = picked.filter(|(_, it)| !it.as_object().is_some_and(Map::is_empty)).collect();
                    (!picked.is_empty()).then_some(Value::Object(picked))
                }
                Node::Leaf(kind) if !node.text.is_empty() => (kind.parse(&node.text).is_ok_and(|it| it == *value)).then(|| value.clone()),
                _ => Some(value.clone()),
            };
            if let Some(part) = part.filter(|it| !it.as_object().is_some_and(Map::is_empty)) {
                super::super::openconfig::merge(out.entry(def.name).or_insert(Value::Null), &part);
            }
        }
    }
    Value::Object(out)
}

/// Whether a node of a filter is a content match: a leaf with a value.
fn is_match(node: &Element) -> bool {
    node.children.is_empty() && !node.text.is_empty()
}

fn matches(entry: &Value, defs: &'static [Def], nodes: &[Element]) -> bool {
    nodes.iter().filter(|it| is_match(it)).all(|node| {
        let def = defs.iter().find(|def| fits(node, def));
        match def.map(|it| it.node) {
            Some(Node::Leaf(kind)) => kind.parse(&node.text).ok().as_ref() == entry.get(&node.name),
            _ => false,
        }
    })
}

fn write(tree: &Value, defs: &'static [Def], within: Option<Module>, out: &mut String) {
    let Some(map) = tree.as_object() else { return };
    for def in defs {
        let Some(value) = map.get(def.name) else { continue };
        let namespace = if within == Some(def.module) { String::new() } else { format!(" xmlns=\"{}\"", def.module.namespace()) };
        let name = def.name;
        match def.node {
            Node::Container(inner) => {
                out.push_str(&format!("<{name}{namespace}>"));
                write(value, inner, Some(def.module), out);
                out.push_str(&format!("</{name}>"));
            }
            Node::List(_, inner) => {
                let mut all: Vec<(&String, &Value)> = value.as_object().into_iter().flatten().collect();
                all.sort_by_key(|(key, _)| super::super::device::natural(key));
                for (_, entry) in all {
                    out.push_str(&format!("<{name}{namespace}>"));
                    write(entry, inner, Some(def.module), out);
                    out.push_str(&format!("</{name}>"));
                }
            }
            Node::Leaf(kind) => leaf(name, &namespace, kind, value, out),
            Node::LeafList(kind) => value.as_array().into_iter().flatten().for_each(|it| leaf(name, &namespace, kind, it, out)),
        }
    }
}

fn leaf(name: &str, namespace: &str, kind: Type, value: &Value, out: &mut String) {
    let text = key_text(value);
    let prefix = match (kind, text.split_once(':').map_or("", |it| it.0)) {
        (Type::Identity(..), "iana-if-type") => " xmlns:iana-if-type=\"urn:ietf:params:xml:ns:yang:iana-if-type\"",
        (Type::Identity(..), "openconfig-network-instance-types") => {
            " xmlns:openconfig-network-instance-types=\"http://openconfig.net/yang/network-instance-types\""
        }
        _ => "",
    };
    out.push_str(&format!("<{name}{namespace}{prefix}>{}</{name}>", escape(&text)));
}

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Merge,
    Replace,
    Create,
    Delete,
    Remove,
    None,
}

impl Operation {
    /// Takes an `operation` attribute.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "merge" => Self::Merge,
            "replace" => Self::Replace,
            "create" => Self::Create,
            "delete" => Self::Delete,
            "remove" => Self::Remove,
            "none" => Self::None,
            _ => return None,
        })
    }
}

/// Carries out one top-level node of an edit.
pub(super) fn edit(tree: &mut Value, node: &Element, default: Operation) -> Result<(), Refusal> {
    edit_in(tree, ROOT, node, default, "")
}

fn edit_in(tree: &mut Value, defs: &'static [Def], node: &Element, inherited: Operation, path: &str) -> Result<(), Refusal> {
    let here = format!("{path}/{}", node.name);
    let Some(def) = defs.iter().find(|def| fits(node, def)) else {
        let known = find(defs, &node.name).is_some();
        let (tag, says) = if known { ("unknown-namespace", "unexpected namespace") } else { ("unknown-element", "unknown element") };
        let says = format!("{says} \"{}\"", node.name);
        return Err(Refusal::new(tag, "application", says).at(path).bad(&node.name));
    };
    if def.name == "state" {
        return Err(Refusal::new("invalid-value", "application", "state data cannot be edited").at(&here).bad("state"));
    }
    let operation = match node.attribute(BASE, "operation") {
        None => inherited,
        Some(text) => Operation::parse(text).filter(|it| *it != Operation::None).ok_or_else(|| {
            let mut it = Refusal::new("bad-attribute", "application", format!("unknown operation \"{text}\"")).at(&here);
            it.info = format!("<bad-attribute>operation</bad-attribute><bad-element>{}</bad-element>", escape(&node.name));
            it
        })?,
    };
    let Value::Object(map) = tree else { return Ok(()) };
    match def.node {
        Node::Leaf(kind) => {
            let deletes = matches!(operation, Operation::Delete | Operation::Remove);
            let value = match kind.parse(&node.text) {
                Ok(value) => value,
                // What goes need not be named.
                Err(_) if deletes => Value::Null,
                Err(says) => return Err(Refusal::new("invalid-value", "application", says).at(&here).bad(&node.name)),
            };
            guard(map.contains_key(def.name), operation, &here)?;
            match operation {
                Operation::Delete | Operation::Remove => drop(map.remove(def.name)),
                Operation::None => {}
                Operation::Merge | Operation::Replace | Operation::Create => drop(map.insert(def.name.into(), value)),
            }
            Ok(())
        }
        Node::LeafList(kind) => {
            let value = kind.parse(&node.text);
            let list = map.entry(def.name).or_insert_with(|| json!([]));
            let Value::Array(list) = list else { return Ok(()) };
            match (value, operation) {
                (Err(_), Operation::Delete | Operation::Remove) if node.text.is_empty() => list.clear(),
                (Err(says), _) => return Err(Refusal::new("invalid-value", "application", says).at(&here).bad(&node.name)),
                (Ok(value), operation) => {
                    guard(list.contains(&value), operation, &here)?;
                    list.retain(|it| *it != value);
                    if !matches!(operation, Operation::Delete | Operation::Remove | Operation::None) {
                        list.push(value);
                    }
                }
            }
            if list.is_empty() {
                map.remove(def.name);
            }
            Ok(())
        }
        Node::Container(inner) => {
            guard(map.contains_key(def.name), operation, &here)?;
            match operation {
                Operation::Delete | Operation::Remove => {
                    map.remove(def.name);
                    return Ok(());
                }
                Operation::Replace => drop(map.insert(def.name.into(), json!({}))),
                Operation::Merge | Operation::Create | Operation::None => {}
            }
            let below = map.entry(def.name).or_insert_with(|| json!({}));
            children(below, inner, node, operation, &here)
        }
        Node::List(key, inner) => {
            let Some(given) = node.child(key) else {
                let says = format!("the key \"{key}\" is missing");
                return Err(Refusal::new("missing-element", "application", says).at(&here).bad(key));
            };
            let kind = match find(inner, key).map(|it| it.node) {
                Some(Node::Leaf(kind)) => kind,
                _ => Type::Text,
            };
            let value = kind.parse(&given.text).map_err(|says| Refusal::new("invalid-value", "application", says).at(&here).bad(key))?;
            let name = key_text(&value);
            let here = format!("{here}[{key}='{name}']");
            let list = map.entry(def.name).or_insert_with(|| json!({}));
            let Value::Object(list) = list else { return Ok(()) };
            guard(list.contains_key(&name), operation, &here)?;
            match operation {
                Operation::Delete | Operation::Remove => {
                    list.remove(&name);
                    return Ok(());
                }
                Operation::Replace => drop(list.insert(name.clone(), json!({}))),
                Operation::Merge | Operation::Create | Operation::None => {}
            }
            if operation == Operation::None && !list.contains_key(&name) {
                // Nothing is done here, but what is below may ask for something that is not there.
                let mut nothing = json!({});
                return children(&mut nothing, inner, node, operation, &here);
            }
            let entry = list.entry(name).or_insert_with(|| json!({}));
            if let Value::Object(entry) = entry {
                entry.insert(key.into(), value);
            }
            children(entry, inner, node, operation, &here)
        }
    }
}

fn children(tree: &mut Value, defs: &'static [Def], node: &Element, operation: Operation, path: &str) -> Result<(), Refusal> {
    // A list of values that is replaced begins anew.
    if operation == Operation::Replace
        && let Value::Object(map) = tree
    {
        for def in defs.iter().filter(|it| matches!(it.node, Node::LeafList(_))) {
            if node.children.iter().any(|it| fits(it, def)) {
                map.remove(def.name);
            }
        }
    }
    // Below what was created or replaced everything is new.
    let inherited = match operation {
        Operation::Create | Operation::Replace => Operation::Merge,
        other => other,
    };
    node.children.iter().try_for_each(|it| edit_in(tree, defs, it, inherited, path))
}

fn guard(there: bool, operation: Operation, path: &str) -> Result<(), Refusal> {
    match operation {
        Operation::Create if there => Err(Refusal::new("data-exists", "application", "there is such data already").at(path)),
        Operation::Delete if !there => Err(Refusal::new("data-missing", "application", "there is no such data").at(path)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::openconfig::{factory, tree};
    use super::super::xml::parse;
    use super::*;

    fn change(tree: &mut Value, text: &str) -> Result<(), Refusal> {
        let element = parse(text).expect("well formed");
        edit(tree, &element, Operation::Merge)
    }

    const PORT: &str = "<interfaces xmlns=\"http://openconfig.net/yang/interfaces\" xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><interface><name>Ethernet1</name>";

    #[test]
    fn a_filter_selects() {
        let tree = tree(&factory("leaf1", 3));
        let filter = |text: &str| shown(&tree, Some(&parse(text).expect("well formed")));
        let one = filter(&format!("<filter>{PORT}</interface></interfaces></filter>"));
        assert!(one.contains("<name>Ethernet1</name>") && !one.contains("Ethernet2"), "{one}");
        let names = filter(
            "<filter><interfaces xmlns=\"http://openconfig.net/yang/interfaces\"><interface><name/></interface></interfaces></filter>",
        );
        assert_eq!(
            names,
            "<interfaces xmlns=\"http://openconfig.net/yang/interfaces\"><interface><name>Ethernet1</name></interface><interface><name>Ethernet2</name></interface><interface><name>Ethernet3</name></interface></interfaces>"
        );
        assert_eq!(filter("<filter><interfaces xmlns=\"urn:other\"/></filter>"), "");
        assert_eq!(filter("<filter/>"), "");
    }

    #[test]
    fn operations_do_what_they_say() {
        let mut it = tree(&factory("leaf1", 3));
        let vlan = |operation: &str| {
            format!(
                "{PORT}<ethernet xmlns=\"http://openconfig.net/yang/interfaces/ethernet\"><switched-vlan xmlns=\"http://openconfig.net/yang/vlan\" {operation}><config><interface-mode>TRUNK</interface-mode><trunk-vlans>10</trunk-vlans><trunk-vlans>20..22</trunk-vlans></config></switched-vlan></ethernet></interface></interfaces>"
            )
        };
        change(&mut it, &vlan("nc:operation=\"replace\"")).expect("taken");
        let at = "/interfaces/interface/Ethernet1/ethernet/switched-vlan/config";
        assert_eq!(it.pointer(at), Some(&json!({"interface-mode": "TRUNK", "trunk-vlans": [10, "20..22"]})));
        assert_eq!(change(&mut it, &vlan("nc:operation=\"create\"")).expect_err("there").tag, "data-exists");
        change(&mut it, &vlan("nc:operation=\"remove\"")).expect("taken");
        change(&mut it, &vlan("nc:operation=\"remove\"")).expect("taken");
        assert_eq!(change(&mut it, &vlan("nc:operation=\"delete\"")).expect_err("gone").tag, "data-missing");
        let wrong = vlan("").replace("TRUNK", "TANK");
        assert_eq!(change(&mut it, &wrong).expect_err("no mode").tag, "invalid-value");
        let wrong = vlan("").replace("<trunk-vlans>10</trunk-vlans>", "<bogus/>");
        assert_eq!(change(&mut it, &wrong).expect_err("no node").info, "<bad-element>bogus</bad-element>");
    }
}
