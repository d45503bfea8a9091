//! XML documents as trees, names taken apart from their namespaces.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// The base namespace of NETCONF.
pub(super) const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// How deep elements may be nested; real requests are far below.
const DEPTH: usize = 64;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Namespace, name, value.
    pub(super) attributes: Vec<(String, String, String)>,
    pub(super) children: Vec<Element>,
    /// The text directly in it, trimmed.
    pub(super) text: String,
}

impl Element {
    /// The first child of a name, whatever its namespace.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|it| it.name == name)
    }

    /// The text of a child.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|it| it.text.as_str())
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, namespace: &str, name: &str) -> Option<&str> {
        self.attributes.iter().find(|it| it.0 == namespace && it.1 == name).map(|it| it.2.as_str())
    }
}

/// Reads a document of one element.
///
/// # Errors
/// What is malformed.
pub(super) fn parse(text: &str) -> Result<Element, String> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(start) => {
                if open.len() >= DEPTH {
                    return Err("nested too deeply".into());
                }
                let element = element(&reader, &start)?;
                open.push(element);
            }
            Event::Empty(start) => {
                let element = element(&reader, &start)?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(element),
                }
            }
            Event::End(_) => {
                let Some(mut done) = open.pop() else { return Err("an end without a start".into()) };
                done.text = done.text.trim().to_owned();
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => return Ok(done),
                }
            }
            Event::Text(text) => add(&mut open, &text),
            Event::CData(text) => add(&mut open, &text),
            Event::GeneralRef(reference) => {
                let text = reference_text(&reference)?;
                add(&mut open, &text);
            }
            Event::DocType(_) => return Err("document types are not allowed".into()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return Err("the document ends early".into()),
        }
    }
}

fn reference_text(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Some(it) = reference.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(it.to_string());
    }
    let known = match &**reference {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        other => return Err(format!("unknown entity {other}")),
    };
    Ok(known.to_owned())
}

fn add(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Element, String> {
    let resolver = reader.resolver();
    let namespace = |it: &ResolveResult<'_>| match it {
        ResolveResult::Bound(namespace) => Ok(namespace.as_ref().to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(prefix) => Err(format!("unknown prefix {prefix}")),
    };
    let (own, name) = resolver.resolve_element(start.name());
    let mut out = Element { namespace: namespace(&own)?, name: name.as_ref().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (own, name) = resolver.resolve_attribute(attribute.key);
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        out.attributes.push((namespace(&own)?, name.as_ref().to_owned(), value.into_owned()));
    }
    Ok(out)
}

/// Text as it stands in XML.
pub(super) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_from_their_namespaces() {
        let text = r#"<?xml version="1.0"?><nc:rpc xmlns:nc="urn:b" message-id="1"><a xmlns="urn:a" nc:operation="delete"><b>x &amp; &#65;</b><c/></a></nc:rpc>"#;
        let it = parse(text).expect("well formed");
        assert_eq!((it.namespace.as_str(), it.name.as_str(), it.attribute("", "message-id")), ("urn:b", "rpc", Some("1")));
        let a = it.child("a").expect("a");
        assert_eq!((a.namespace.as_str(), a.attribute("urn:b", "operation")), ("urn:a", Some("delete")));
        assert_eq!(a.text_of("b"), Some("x & A"));
        for wrong in ["", "<a>", "<a></b>", "<x:a/>", "<!DOCTYPE a><a/>", "<a>&huge;</a>"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
