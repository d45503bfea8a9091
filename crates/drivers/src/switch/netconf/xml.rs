//! XML as trees, and edits as XML.

use quick_xml::NsReader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use serde_json::{Map, Value};

use super::super::LagProtocol;
use super::super::openconfig::{Edits, InterfaceEdit, Switched, trunk_vlans};

/// The namespace of the protocol itself (RFC 6241).
pub(super) const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
/// What the namespaces of the models begin with.
const OPENCONFIG: &str = "http://openconfig.net/yang/";
/// How deep, and of how many elements, a message may be.
const MOST: (usize, usize) = (64, 4_000_000);

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// The namespace; empty if it has none.
    pub namespace: String,
    /// The name without a prefix.
    pub name: String,
    /// The attribute `message-id`.
    pub message_id: Option<String>,
    /// What is written in it beside elements.
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|it| it.name == name)
    }

    /// The children of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |it| it.name == name)
    }

    /// The text of a child.
    pub(super) fn words(&self, name: &str) -> &str {
        self.child(name).map_or("", |it| it.text.trim())
    }

    /// As a value: several children of a name are a list. What others added to the models is left out.
    pub(super) fn value(&self) -> Value {
        if self.children.is_empty() {
            return Value::String(self.text.trim().to_owned());
        }
        let mut out = Map::new();
        for child in self.children.iter().filter(|it| it.namespace.starts_with(OPENCONFIG)) {
            let value = child.value();
            match out.get_mut(&child.name) {
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
                None => _ = out.insert(child.name.clone(), value),
            }
        }
        Value::Object(out)
    }
}

/// Reads one document.
///
/// # Errors
/// It is not well-formed, deeper or larger than any answer should be, or it defines entities.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut reader = NsReader::from_str(text);
    let (mut open, mut elements): (Vec<Node>, usize) = (Vec::new(), 0);
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|error| format!("the message is no XML: {error}"))?;
        let done = match event {
            Event::Start(start) => {
                elements += 1;
                if open.len() >= MOST.0 || elements > MOST.1 {
                    return Err("the message is larger than any should be".into());
                }
                open.push(begin(&namespace, &start)?);
                None
            }
            Event::Empty(start) => {
                let node = begin(&namespace, &start)?;
                close(&mut open, node)
            }
            Event::End(_) => match open.pop() {
                Some(node) => close(&mut open, node),
                None => return Err("an element ends that never began".into()),
            },
            Event::Text(text) => {
                add(&mut open, &text.xml10_content());
                None
            }
            Event::CData(text) => {
                add(&mut open, &text.xml10_content());
                None
            }
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let char = reference.resolve_char_ref().map_err(|error| format!("the message is no XML: {error}"))?;
                let text = char.map(String::from).or_else(|| resolve_xml_entity(&name).map(str::to_owned));
                add(&mut open, &text.ok_or_else(|| format!("the message uses the entity {name}"))?);
                None
            }
            Event::DocType(_) => return Err("the message has a document type".into()),
            Event::Eof => return Err("the message ends early".into()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => None,
        };
        if let Some(root) = done {
            return Ok(root);
        }
    }
}

fn begin(namespace: &ResolveResult<'_>, start: &BytesStart<'_>) -> Result<Node, String> {
    let namespace = match namespace {
        ResolveResult::Bound(Namespace(it)) => text_of(it)?,
        ResolveResult::Unbound => String::new(),
        ResolveResult::Unknown(prefix) => return Err(format!("the message uses the unknown prefix {prefix:?}")),
    };
    let name = text_of(start.local_name().as_ref())?;
    let mut message_id = None;
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| format!("the message is no XML: {error}"))?;
        if text_of(attribute.key.local_name().as_ref())? == "message-id" {
            message_id = Some(text_of(&attribute.value)?);
        }
    }
    Ok(Node { namespace, name, message_id, text: String::new(), children: Vec::new() })
}

fn text_of(it: &(impl AsRef<str> + ?Sized)) -> Result<String, String> {
    Ok(it.as_ref().to_owned())
}

fn close(open: &mut [Node], node: Node) -> Option<Node> {
    match open.last_mut() {
        Some(parent) => {
            parent.children.push(node);
            None
        }
        None => Some(node),
    }
}

fn add(open: &mut [Node], text: &str) {
    if let Some(node) = open.last_mut() {
        node.text.push_str(text);
    }
}

/// The subtrees that are read (RFC 6241 section 6).
pub(super) fn filter(instance: &str) -> String {
    format!(
        "<filter type=\"subtree\"><interfaces xmlns=\"{OPENCONFIG}interfaces\"/><lacp xmlns=\"{OPENCONFIG}lacp\"/>\
         <network-instances xmlns=\"{OPENCONFIG}network-instance\"><network-instance><name>{}</name><vlans/></network-instance>\
         </network-instances></filter>",
        escape(instance)
    )
}

/// The subtree that names all interfaces, configured or not.
pub(super) fn names_filter() -> String {
    format!(
        "<filter type=\"subtree\"><interfaces xmlns=\"{OPENCONFIG}interfaces\"><interface><name/><state><type/></state></interface>\
         </interfaces></filter>"
    )
}

/// The edits as the content of `<config>`.
pub(super) fn config(edits: &Edits, instance: &str) -> String {
    let mut out = format!("<config xmlns:nc=\"{BASE}\">");
    if !edits.interfaces.is_empty() {
        out.push_str(&format!("<interfaces xmlns=\"{OPENCONFIG}interfaces\">"));
        for (name, edit) in &edits.interfaces {
            interface(&mut out, name, edit);
        }
        out.push_str("</interfaces>");
    }
    lacp(&mut out, edits);
    if !edits.vlans.is_empty() {
        out.push_str(&format!(
            "<network-instances xmlns=\"{OPENCONFIG}network-instance\"><network-instance><name>{}</name><vlans>",
            escape(instance)
        ));
        for (vlan, name) in &edits.vlans {
            out.push_str(&match name {
                Some(name) => format!(
                    "<vlan><vlan-id>{vlan}</vlan-id><config nc:operation=\"merge\"><vlan-id>{vlan}</vlan-id><name>{}</name>\
                     <status>ACTIVE</status></config></vlan>",
                    escape(name)
                ),
                None => format!("<vlan nc:operation=\"remove\"><vlan-id>{vlan}</vlan-id></vlan>"),
            });
        }
        out.push_str("</vlans></network-instance></network-instances>");
    }
    out.push_str("</config>");
    out
}

fn interface(out: &mut String, name: &str, edit: &InterfaceEdit) {
    let name = escape(name);
    if edit.remove {
        out.push_str(&format!("<interface nc:operation=\"remove\"><name>{name}</name></interface>"));
        return;
    }
    out.push_str(&format!("<interface><name>{name}</name>"));
    if edit.enabled.is_some() || edit.description.is_some() || edit.protocol.is_some() {
        out.push_str(&format!("<config nc:operation=\"merge\"><name>{name}</name>"));
        if edit.protocol.is_some() {
            out.push_str("<type xmlns:ianaift=\"urn:ietf:params:xml:ns:yang:iana-if-type\">ianaift:ieee8023adLag</type>");
        }
        if let Some(text) = &edit.description {
            out.push_str(&format!("<description>{}</description>", escape(text)));
        }
        if let Some(enabled) = edit.enabled {
            out.push_str(&format!("<enabled>{enabled}</enabled>"));
        }
        out.push_str("</config>");
    }
    if edit.drop_subinterfaces {
        out.push_str("<subinterfaces nc:operation=\"remove\"/>");
    }
    let aggregate = format!("{OPENCONFIG}interfaces/aggregate");
    if edit.is_lag {
        out.push_str(&format!("<aggregation xmlns=\"{aggregate}\">"));
        if let Some(protocol) = edit.protocol {
            out.push_str(&format!("<config nc:operation=\"merge\"><lag-type>{}</lag-type></config>", lag_type(protocol)));
        }
        switched(out, edit.switched.as_ref());
        out.push_str("</aggregation>");
    } else if edit.aggregate.is_some() || edit.switched.is_some() {
        out.push_str(&format!("<ethernet xmlns=\"{OPENCONFIG}interfaces/ethernet\">"));
        match &edit.aggregate {
            Some(Some(lag)) => {
                out.push_str(&format!(
                    "<config><aggregate-id xmlns=\"{aggregate}\" nc:operation=\"merge\">{}</aggregate-id></config>",
                    escape(lag)
                ));
            }
            Some(None) => {
                out.push_str(&format!("<config><aggregate-id xmlns=\"{aggregate}\" nc:operation=\"remove\"/></config>"));
            }
            None => {}
        }
        switched(out, edit.switched.as_ref());
        out.push_str("</ethernet>");
    }
    out.push_str("</interface>");
}

pub(super) fn lag_type(protocol: LagProtocol) -> &'static str {
    match protocol {
        LagProtocol::Lacp => "LACP",
        LagProtocol::Static => "STATIC",
    }
}

fn switched(out: &mut String, switched: Option<&Option<Switched>>) {
    let Some(switched) = switched else { return };
    let Some(vlans) = switched else {
        return out.push_str(&format!("<switched-vlan xmlns=\"{OPENCONFIG}vlan\" nc:operation=\"remove\"/>"));
    };
    out.push_str(&format!("<switched-vlan xmlns=\"{OPENCONFIG}vlan\" nc:operation=\"replace\"><config>"));
    match vlans {
        Switched::Access(vlan) => {
            out.push_str(&format!("<interface-mode>ACCESS</interface-mode><access-vlan>{vlan}</access-vlan>"));
        }
        Switched::Trunk { native, list } => {
            out.push_str("<interface-mode>TRUNK</interface-mode>");
            if let Some(native) = native {
                out.push_str(&format!("<native-vlan>{native}</native-vlan>"));
            }
            for part in trunk_vlans(list) {
                let part = part.map_or_else(|range| range, |vlan| vlan.to_string());
                out.push_str(&format!("<trunk-vlans>{part}</trunk-vlans>"));
            }
        }
    }
    out.push_str("</config></switched-vlan>");
}

fn lacp(out: &mut String, edits: &Edits) {
    let mut entries = String::new();
    for (name, edit) in edits.interfaces.iter().filter(|(_, it)| it.is_lag) {
        let name = escape(name);
        if edit.remove || edit.protocol == Some(LagProtocol::Static) {
            entries.push_str(&format!("<interface nc:operation=\"remove\"><name>{name}</name></interface>"));
        } else if edit.protocol == Some(LagProtocol::Lacp) {
            entries.push_str(&format!(
                "<interface><name>{name}</name><config nc:operation=\"merge\"><name>{name}</name><lacp-mode>ACTIVE</lacp-mode></config>\
                 </interface>"
            ));
        }
    }
    if !entries.is_empty() {
        out.push_str(&format!("<lacp xmlns=\"{OPENCONFIG}lacp\"><interfaces>{entries}</interfaces></lacp>"));
    }
}

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
