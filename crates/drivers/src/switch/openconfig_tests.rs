use proptest::prelude::*;
use serde_json::json;

use super::*;

pub(crate) fn id(number: u16) -> VlanId {
    VlanId::new(number).unwrap()
}

/// A configuration as gNMI shows it.
fn sample() -> Value {
    let ethernet = |name: &str, enabled: bool, vlans: Value| {
        json!({"name": name, "config": {"name": name, "type": "iana-if-type:ethernetCsmacd", "enabled": enabled, "description": ""},
            "openconfig-if-ethernet:ethernet": {"config": {}, "openconfig-vlan:switched-vlan": {"config": vlans}}})
    };
    bare(json!({
        "openconfig-interfaces:interfaces": {"interface": [
            ethernet("Ethernet1", true, json!({"interface-mode": "ACCESS", "access-vlan": 100})),
            ethernet("Ethernet2", false, json!({"interface-mode": "ACCESS", "access-vlan": 999, "native-vlan": 1})),
            ethernet("Ethernet3", true, json!({"interface-mode": "TRUNK", "native-vlan": 100, "trunk-vlans": [100, "102..104"]})),
            ethernet("Ethernet4", true, json!({"interface-mode": "TRUNK", "native-vlan": 1, "trunk-vlans": [4094]})),
            ethernet("Ethernet5", true, json!({"interface-mode": "TRUNK"})),
            ethernet("Ethernet6", true, json!({"interface-mode": "TRUNK", "native-vlan": 7, "trunk-vlans": [8]})),
            ethernet("Ethernet7", false, json!({"interface-mode": "ACCESS", "access-vlan": 100})),
            {"name": "Ethernet8", "config": {"name": "Ethernet8", "type": "iana-if-type:ethernetCsmacd"},
                "openconfig-if-ethernet:ethernet": {"config": {"openconfig-if-aggregate:aggregate-id": "Port-Channel1"}}},
            {"name": "Ethernet9", "config": {"name": "Ethernet9", "type": "iana-if-type:ethernetCsmacd"},
                "subinterfaces": {"subinterface": [
                    {"index": 0, "openconfig-if-ip:ipv4": {"addresses": {"address": [{"ip": "192.0.2.1"}]}}}]}},
            {"name": "Port-Channel1", "config": {"name": "Port-Channel1", "type": "iana-if-type:ieee8023adLag", "description": "cofferdam"},
                "openconfig-if-aggregate:aggregation": {"config": {"lag-type": "LACP"},
                    "openconfig-vlan:switched-vlan": {"config": {"interface-mode": "TRUNK", "trunk-vlans": [102]}}}},
            {"name": "Management1", "config": {"name": "Management1", "type": "iana-if-type:ethernetCsmacd"}},
            {"name": "Vlan100", "config": {"name": "Vlan100", "type": "iana-if-type:l3ipvlan"}},
        ]},
        "openconfig-lacp:lacp": {"interfaces": {"interface": [
            {"name": "Port-Channel1", "config": {"name": "Port-Channel1", "lacp-mode": "ACTIVE"}}]}},
        "openconfig-network-instance:network-instances": {"network-instance": [{"name": "default", "vlans": {"vlan": [
            {"vlan-id": 100, "config": {"vlan-id": 100, "name": "cofferdam-a", "status": "ACTIVE"}},
            {"vlan-id": 102, "config": {"vlan-id": 102, "name": "VLAN0102"}},
        ]}}, {"name": "other", "vlans": {"vlan": [{"vlan-id": 5}]}}]},
    }))
}

#[test]
fn reads_a_configuration() {
    let states = json!({"interfaces": {"interface": [
        {"name": "Ethernet1", "state": {"type": "ethernetCsmacd"}}, {"name": "Ethernet20", "state": {"type": "ianaift:ethernetCsmacd"}},
        {"name": "Loopback0", "state": {"type": "softwareLoopback"}},
    ]}});
    let seen = seen(&sample(), &states, id(999), "").unwrap();
    let trunk = |native: u16, tagged: &[u16]| {
        SeenMode::Known(PortMode::Trunk { native: VlanId::new(native), tagged: tagged.iter().map(|it| id(*it)).collect() })
    };
    assert_eq!(*seen.mode("Ethernet1"), SeenMode::Known(PortMode::Access(id(100))));
    assert_eq!(*seen.mode("Ethernet2"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*seen.mode("Ethernet3"), trunk(100, &[102, 103, 104]));
    assert_eq!(*seen.mode("Ethernet4"), trunk(0, &[]));
    assert!(matches!(seen.mode("Ethernet5"), SeenMode::Known(PortMode::Trunk { native: None, tagged }) if tagged.len() == 4094));
    assert_eq!(*seen.mode("Ethernet6"), SeenMode::Foreign("trunk of a native VLAN that is not among its VLANs".into()));
    assert_eq!(*seen.mode("Ethernet7"), SeenMode::Foreign("access VLAN 100, shut".into()));
    assert_eq!(*seen.mode("Ethernet8"), SeenMode::Known(PortMode::Member { lag: "Port-Channel1".into() }));
    assert_eq!(*seen.mode("Ethernet9"), SeenMode::Foreign("with subinterface 0 of its own".into()));
    assert_eq!(*seen.mode("Ethernet20"), SeenMode::Foreign("not configured".into()));
    assert_eq!(*seen.mode("Port-Channel1"), trunk(0, &[102]));
    assert_eq!(seen.lags["Port-Channel1"], LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: true });
    assert_eq!(seen.ports.len(), 11);
    let vlans: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref())).collect();
    assert_eq!(vlans, [(100, Some("cofferdam-a")), (102, None)]);
}

#[test]
fn a_trunk_of_nowhere_is_none_only_while_that_is_not_declared() {
    let mut config = sample();
    config["network-instances"]["network-instance"][0]["vlans"]["vlan"][1] = json!({"vlan-id": 4094});
    let seen = seen(&config, &Value::Null, id(999), "").unwrap();
    assert_eq!(*seen.mode("Ethernet4"), SeenMode::Known(PortMode::tagged([id(4094)])));
}

#[test]
fn what_is_no_configuration_is_an_error() {
    for bad in [json!(null), json!({}), json!({"interfaces": {}}), json!([1])] {
        assert!(seen(&bad, &Value::Null, id(999), "").is_err());
    }
}

/// The list's entry of this key; made if it is not there.
fn entry<'a>(list: &'a mut Value, key: &str, value: &Value) -> &'a mut Value {
    if !list.is_array() {
        *list = json!([]);
    }
    let list = list.as_array_mut().unwrap();
    let at = list.iter().position(|it| &it[key] == value).unwrap_or_else(|| {
        list.push(json!({ key: value }));
        list.len() - 1
    });
    &mut list[at]
}

fn without(list: &mut Value, key: &str, value: &Value) {
    if let Some(list) = list.as_array_mut() {
        list.retain(|it| &it[key] != value);
    }
}

/// What a switch makes of edits: a second reading of what they mean.
pub(crate) fn apply(config: &mut Value, edits: &Edits) {
    for (name, edit) in &edits.interfaces {
        let name = json!(name);
        if edit.remove {
            without(&mut config["interfaces"]["interface"], "name", &name);
            without(&mut config["lacp"]["interfaces"]["interface"], "name", &name);
            continue;
        }
        if let Some(protocol) = edit.protocol {
            let lacp = &mut config["lacp"]["interfaces"]["interface"];
            match protocol {
                LagProtocol::Lacp => entry(lacp, "name", &name)["config"]["lacp-mode"] = json!("ACTIVE"),
                LagProtocol::Static => without(lacp, "name", &name),
            }
        }
        let it = entry(&mut config["interfaces"]["interface"], "name", &name);
        if let Some(protocol) = edit.protocol {
            it["config"]["type"] = json!("ieee8023adLag");
            it["aggregation"]["config"]["lag-type"] = json!(if protocol == LagProtocol::Lacp { "LACP" } else { "STATIC" });
        }
        if let Some(enabled) = edit.enabled {
            it["config"]["enabled"] = json!(enabled);
        }
        if let Some(text) = &edit.description {
            it["config"]["description"] = json!(text);
        }
        if edit.drop_subinterfaces {
            it.as_object_mut().unwrap().remove("subinterfaces");
        }
        match &edit.aggregate {
            Some(Some(lag)) => it["ethernet"]["config"]["aggregate-id"] = json!(lag),
            Some(None) => {
                if let Some(config) = it["ethernet"]["config"].as_object_mut() {
                    config.remove("aggregate-id");
                }
            }
            None => {}
        }
        let container = if edit.is_lag { "aggregation" } else { "ethernet" };
        match &edit.switched {
            Some(None) => {
                if let Some(container) = it[container].as_object_mut() {
                    container.remove("switched-vlan");
                }
            }
            Some(Some(Switched::Access(vlan))) => {
                it[container]["switched-vlan"] = json!({"config": {"interface-mode": "ACCESS", "access-vlan": vlan.get()}});
            }
            Some(Some(Switched::Trunk { native, list })) => {
                let list: Vec<Value> = trunk_vlans(list).into_iter().map(|it| it.map_or_else(|it| json!(it), |it| json!(it))).collect();
                it[container]["switched-vlan"] = json!({"config": {"interface-mode": "TRUNK", "trunk-vlans": list}});
                if let Some(native) = native {
                    it[container]["switched-vlan"]["config"]["native-vlan"] = json!(native.get());
                }
            }
            None => {}
        }
    }
    let instance = entry(&mut config["network-instances"]["network-instance"], "name", &json!("default"));
    for (vlan, name) in &edits.vlans {
        let vlan = json!(vlan.get());
        match name {
            Some(name) => entry(&mut instance["vlans"]["vlan"], "vlan-id", &vlan)["config"]["name"] = json!(name),
            None => without(&mut instance["vlans"]["vlan"], "vlan-id", &vlan),
        }
    }
}

pub(crate) fn modes() -> impl Strategy<Value = PortMode> {
    let vlans = || (2u16..9).prop_map(id);
    prop_oneof![
        Just(PortMode::Isolated),
        vlans().prop_map(PortMode::Access),
        (proptest::option::of(vlans()), proptest::collection::btree_set(vlans(), 0..6)).prop_map(|(native, mut tagged)| {
            native.iter().for_each(|it| _ = tagged.remove(it));
            PortMode::Trunk { native, tagged }
        }),
        Just(PortMode::Member { lag: "Port-Channel1".into() }),
    ]
}

proptest! {
    #[test]
    fn a_port_becomes_what_is_asked_from_any_state(
        port in proptest::sample::select((1..=9).map(|it| format!("Ethernet{it}")).collect::<Vec<_>>()),
        modes in proptest::collection::vec(modes(), 1..4),
    ) {
        let mut config = sample();
        for mode in modes {
            let before = seen(&config, &Value::Null, id(999), "").unwrap();
            let change = Change::SetPort { port: port.clone(), mode: mode.clone(), seen: before.mode(&port).clone() };
            let edits = edits(&[change], &before, id(999)).unwrap();
            apply(&mut config, &edits);
            let after = seen(&config, &Value::Null, id(999), "").unwrap();
            prop_assert_eq!(after.mode(&port), &SeenMode::Known(mode), "{:?}", edits);
            for other in before.ports.keys().filter(|it| **it != port) {
                prop_assert_eq!(after.mode(other), before.mode(other));
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(key in "(interfaces|interface|name|ethernet|switched-vlan|config|vlans)", text in "[ -~]{0,12}", number: u64) {
        for value in [json!(text), json!(number), json!([text, number, null]), json!({"interface": [{"name": text, key.as_str(): number}]})] {
            _ = seen(&json!({"interfaces": {"interface": [{"name": "Ethernet1", key.as_str(): value}]}}), &value, id(999), &text);
            _ = seen(&json!({key.as_str(): value}), &value, id(999), &text);
            _ = seen(&bare(value.clone()), &value, id(999), &text);
        }
    }
}

#[test]
fn uplinks_and_groups() {
    let mut config = sample();
    let before = seen(&config, &Value::Null, id(999), "").unwrap();
    let changes = [
        Change::Uplink { port: "Ethernet3".into(), add: [].into(), remove: [id(103)].into(), seen: before.mode("Ethernet3").clone() },
        Change::AddVlan { vlan: id(200), name: "cofferdam-b".into() },
        Change::AddLag { lag: "Port-Channel2".into(), protocol: LagProtocol::Static },
        Change::SetPort { port: "Ethernet8".into(), mode: PortMode::Member { lag: "Port-Channel2".into() }, seen: SeenMode::Absent },
        Change::SetPort { port: "Port-Channel2".into(), mode: PortMode::Access(id(200)), seen: SeenMode::Absent },
        Change::Uplink { port: "Ethernet3".into(), add: [id(200)].into(), remove: [].into(), seen: before.mode("Ethernet3").clone() },
        Change::RemoveVlan { vlan: id(102), name: None },
        Change::RemoveLag { lag: "Port-Channel1".into() },
    ];
    apply(&mut config, &edits(&changes, &before, id(999)).unwrap());
    let after = seen(&config, &Value::Null, id(999), "").unwrap();
    let tagged = [id(102), id(104), id(200)].into();
    assert_eq!(*after.mode("Ethernet3"), SeenMode::Known(PortMode::Trunk { native: Some(id(100)), tagged }));
    assert_eq!(*after.mode("Port-Channel2"), SeenMode::Known(PortMode::Access(id(200))));
    assert_eq!(after.lags["Port-Channel2"], LagSeen { protocol: Some(LagProtocol::Static), is_ours: true });
    assert!(!after.lags.contains_key("Port-Channel1") && !after.vlans.contains_key(&id(102)));
    assert_eq!(after.vlans[&id(200)].name.as_deref(), Some("cofferdam-b"));
}
