use proptest::prelude::*;

use super::*;
use crate::switch::openconfig::InterfaceEdit;
use crate::switch::openconfig::tests::id;

fn shown(path: &Path) -> String {
    let step = |it: &PathElem| {
        let keys: String = it.key.iter().map(|(key, value)| format!("[{key}={value}]")).collect();
        format!("/{}{keys}", it.name)
    };
    path.elem.iter().map(step).collect()
}

fn update(update: &Update) -> (String, Value) {
    let Some(Typed::JsonIetf(bytes)) = update.val.clone().unwrap().value else { panic!("{update:?}") };
    (shown(update.path.as_ref().unwrap()), serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn writes_exactly() {
    let mut edits = Edits::default();
    edits.interfaces.insert(
        "Ethernet1".into(),
        InterfaceEdit {
            enabled: Some(false),
            aggregate: Some(None),
            switched: Some(Some(Switched::Access(id(999)))),
            drop_subinterfaces: true,
            ..InterfaceEdit::default()
        },
    );
    let list = [id(5), id(7), id(8)].into();
    edits.interfaces.insert(
        "Port-Channel1".into(),
        InterfaceEdit {
            is_lag: true,
            protocol: Some(LagProtocol::Lacp),
            description: Some("cofferdam".into()),
            switched: Some(Some(Switched::Trunk { native: Some(id(5)), list })),
            ..InterfaceEdit::default()
        },
    );
    edits.vlans.insert(id(5), Some("cofferdam-a".into()));
    edits.vlans.insert(id(6), None);
    let request = request(&edits, "default", super::super::proto::JSON_IETF);
    assert_eq!(
        request.delete.iter().map(shown).collect::<Vec<_>>(),
        [
            "/interfaces/interface[name=Ethernet1]/subinterfaces",
            "/interfaces/interface[name=Ethernet1]/ethernet/config/aggregate-id",
            "/network-instances/network-instance[name=default]/vlans/vlan[vlan-id=6]",
        ]
    );
    assert_eq!(
        request.replace.iter().map(update).collect::<Vec<_>>(),
        [
            (
                "/interfaces/interface[name=Ethernet1]/ethernet/switched-vlan/config".into(),
                json!({"openconfig-vlan:interface-mode": "ACCESS", "openconfig-vlan:access-vlan": 999})
            ),
            (
                "/interfaces/interface[name=Port-Channel1]/aggregation/switched-vlan/config".into(),
                json!({"openconfig-vlan:interface-mode": "TRUNK", "openconfig-vlan:native-vlan": 5,
                    "openconfig-vlan:trunk-vlans": [5, "7..8"]})
            ),
        ]
    );
    assert_eq!(
        request.update.iter().map(update).collect::<Vec<_>>(),
        [
            (
                "/interfaces/interface[name=Port-Channel1]/config".into(),
                json!({"openconfig-interfaces:name": "Port-Channel1", "openconfig-interfaces:description": "cofferdam",
                    "openconfig-interfaces:type": "iana-if-type:ieee8023adLag"})
            ),
            (
                "/interfaces/interface[name=Ethernet1]/config".into(),
                json!({"openconfig-interfaces:name": "Ethernet1", "openconfig-interfaces:enabled": false})
            ),
            (
                "/lacp/interfaces/interface[name=Port-Channel1]/config".into(),
                json!({"openconfig-lacp:name": "Port-Channel1", "openconfig-lacp:lacp-mode": "ACTIVE"})
            ),
            ("/interfaces/interface[name=Port-Channel1]/aggregation/config".into(), json!({"openconfig-if-aggregate:lag-type": "LACP"})),
            (
                "/network-instances/network-instance[name=default]/vlans/vlan[vlan-id=5]/config".into(),
                json!({"openconfig-network-instance:vlan-id": 5, "openconfig-network-instance:name": "cofferdam-a",
                    "openconfig-network-instance:status": "ACTIVE"})
            ),
        ]
    );
}

fn told(prefix: Path, at: Path, value: Typed) -> Notification {
    let update = Update { path: Some(at), val: Some(TypedValue { value: Some(value) }), duplicates: 0 };
    Notification { prefix: Some(prefix), update: vec![update], ..Notification::default() }
}

#[test]
fn answers_of_all_shapes_are_one_tree() {
    let interface = |name| ("interface", Some(("name", name)));
    let root = || path(&[("openconfig-interfaces:interfaces", None)]);
    let shapes = [
        // The whole, with and without the last step around it.
        vec![told(
            path(&[]),
            root(),
            Typed::JsonIetf(br#"{"openconfig-interfaces:interface":[{"name":"E1","config":{"enabled":true}}]}"#.into()),
        )],
        vec![told(
            path(&[]),
            root(),
            Typed::Json(br#"{"openconfig-interfaces:interfaces":{"interface":[{"name":"E1","config":{"enabled":true}}]}}"#.into()),
        )],
        // One entry.
        vec![told(root(), path(&[interface("E1")]), Typed::JsonIetf(br#"{"openconfig-interfaces:config":{"enabled":true}}"#.into()))],
        vec![told(
            root(),
            path(&[interface("E1")]),
            Typed::JsonIetf(br#"{"openconfig-interfaces:interface":[{"name":"E1","config":{"enabled":true}}]}"#.into()),
        )],
        // Leaf by leaf.
        vec![
            told(root(), path(&[interface("E1"), ("name", None)]), Typed::String("E1".into())),
            told(root(), path(&[interface("E1"), ("config", None), ("enabled", None)]), Typed::Bool(true)),
        ],
    ];
    for shape in shapes {
        let mut tree = json!({});
        merge(&mut tree, &shape).unwrap();
        assert_eq!(tree, json!({"interfaces": {"interface": [{"name": "E1", "config": {"enabled": true}}]}}), "{shape:?}");
    }
    assert!(merge(&mut json!({}), &[told(root(), root(), Typed::JsonIetf(b"{".into()))]).is_err());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(steps in proptest::collection::vec(("[a-c:]{0,3}", proptest::option::of(("[a-c]{0,2}", "[ -~]{0,3}"))), 0..6),
        json in "[\\[\\]{}\":,a-c0-9]{0,30}", text in "[ -~]{0,8}") {
        let elem = steps.into_iter().map(|(name, key)| PathElem { name, key: key.into_iter().collect() }).collect();
        let at = Path { elem, ..Path::default() };
        let mut tree = json!({"a": [{"b": 1}], "c": "x"});
        _ = merge(&mut tree, &[told(at.clone(), at.clone(), Typed::Json(json.into_bytes()))]);
        _ = merge(&mut tree, &[told(at.clone(), at, Typed::String(text))]);
    }
}
