use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::switch::openconfig::tests::id;

#[test]
fn reads_namespaces_entities_and_lists() {
    let text = r#"<?xml version="1.0"?><!-- x --><rpc-reply message-id="7" xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><data>
        <oc:interfaces xmlns:oc="http://openconfig.net/yang/interfaces">
          <oc:interface><oc:name>Ethernet1</oc:name><x:extra xmlns:x="http://example.com/x">1</x:extra>
            <oc:config><oc:description>a &lt;b&gt; &amp; &#65;<![CDATA[<c>]]></oc:description></oc:config></oc:interface>
          <oc:interface><oc:name>Ethernet2</oc:name></oc:interface>
        </oc:interfaces></data></rpc-reply>"#;
    let root = parse(text).unwrap();
    assert_eq!((root.name.as_str(), root.message_id.as_deref()), ("rpc-reply", Some("7")));
    let value = root.child("data").unwrap().value();
    assert_eq!(
        value,
        serde_json::json!({"interfaces": {"interface": [
            {"name": "Ethernet1", "config": {"description": "a <b> & A<c>"}}, {"name": "Ethernet2"}]}})
    );
}

#[test]
fn what_is_no_answer_is_an_error() {
    let deep = "<a>".repeat(80);
    for bad in ["", "x", "<a>", "<a></b>", "</a>", "<a>&bomb;</a>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "<x:a/>", deep.as_str()] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn writes_exactly() {
    let mut edits = Edits::default();
    let list: BTreeSet<_> = [id(5), id(7), id(8), id(9)].into();
    edits.interfaces.insert(
        "Ethernet1".into(),
        InterfaceEdit {
            enabled: Some(true),
            description: Some("cofferdam <1>".into()),
            aggregate: Some(None),
            switched: Some(Some(Switched::Trunk { native: Some(id(5)), list })),
            ..InterfaceEdit::default()
        },
    );
    edits.interfaces.insert("Port-Channel9".into(), InterfaceEdit { remove: true, is_lag: true, ..InterfaceEdit::default() });
    edits.vlans.insert(id(5), Some("cofferdam-a".into()));
    edits.vlans.insert(id(6), None);
    let expected = "<config xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\">\
        <interfaces xmlns=\"http://openconfig.net/yang/interfaces\">\
        <interface><name>Ethernet1</name><config nc:operation=\"merge\"><name>Ethernet1</name>\
        <description>cofferdam &lt;1&gt;</description><enabled>true</enabled></config>\
        <ethernet xmlns=\"http://openconfig.net/yang/interfaces/ethernet\">\
        <config><aggregate-id xmlns=\"http://openconfig.net/yang/interfaces/aggregate\" nc:operation=\"remove\"/></config>\
        <switched-vlan xmlns=\"http://openconfig.net/yang/vlan\" nc:operation=\"replace\"><config>\
        <interface-mode>TRUNK</interface-mode><native-vlan>5</native-vlan><trunk-vlans>5</trunk-vlans><trunk-vlans>7..9</trunk-vlans>\
        </config></switched-vlan></ethernet></interface>\
        <interface nc:operation=\"remove\"><name>Port-Channel9</name></interface></interfaces>\
        <lacp xmlns=\"http://openconfig.net/yang/lacp\"><interfaces>\
        <interface nc:operation=\"remove\"><name>Port-Channel9</name></interface></interfaces></lacp>\
        <network-instances xmlns=\"http://openconfig.net/yang/network-instance\"><network-instance><name>default</name><vlans>\
        <vlan><vlan-id>5</vlan-id><config nc:operation=\"merge\"><vlan-id>5</vlan-id><name>cofferdam-a</name><status>ACTIVE</status></config></vlan>\
        <vlan nc:operation=\"remove\"><vlan-id>6</vlan-id></vlan></vlans></network-instance></network-instances></config>";
    assert_eq!(config(&edits, "default"), expected);
    assert!(parse(expected).is_ok());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "(?s).{0,200}", pieces in proptest::collection::vec(
        prop_oneof![Just("<a>"), Just("</a>"), Just("<a b='"), Just("&#x110000;"), Just("]]>"), Just("<![CDATA["), Just("<x:y xmlns:x='z'/>")], 0..12)) {
        _ = parse(&text);
        _ = parse(&pieces.concat());
        _ = parse(&format!("<a>{text}</a>"));
    }
}
