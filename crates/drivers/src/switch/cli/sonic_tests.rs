use proptest::prelude::*;
use serde_json::json;

use super::super::setlines::shell_words;
use super::*;

const CONFIG: &str = r#"{
    "DEVICE_METADATA": {"localhost": {"hostname": "leaf1"}},
    "PORT": {
        "Ethernet0": {"admin_status": "up", "alias": "Eth1", "lanes": "1", "description": "rack 1", "mtu": "9100"},
        "Ethernet4": {"admin_status": "down", "lanes": "2"},
        "Ethernet8": {"admin_status": "up", "lanes": "3"},
        "Ethernet12": {"admin_status": "up", "lanes": "4"},
        "Ethernet16": {"admin_status": "up", "lanes": "5"},
        "Ethernet20": {"admin_status": "down", "lanes": "6"},
        "Ethernet24": {"lanes": "7"},
        "Ethernet28": {"admin_status": "up", "lanes": "8"}
    },
    "PORTCHANNEL": {"PortChannel1": {"admin_status": "up", "min_links": "1", "description": "cofferdam"}},
    "PORTCHANNEL_MEMBER": {"PortChannel1|Ethernet12": {}},
    "VLAN": {"Vlan100": {"vlanid": "100"}, "Vlan101": {"vlanid": "101"}, "Vlan999": {"vlanid": "999"}},
    "VLAN_MEMBER": {
        "Vlan100|Ethernet0": {"tagging_mode": "untagged"},
        "Vlan999|Ethernet4": {"tagging_mode": "untagged"},
        "Vlan100|Ethernet8": {"tagging_mode": "untagged"},
        "Vlan101|Ethernet8": {"tagging_mode": "tagged"},
        "Vlan101|PortChannel1": {"tagging_mode": "tagged"},
        "Vlan101|Ethernet20": {"tagging_mode": "tagged"}
    },
    "INTERFACE": {"Ethernet16": {}, "Ethernet16|10.0.0.0/31": {}},
    "VXLAN_TUNNEL": {"vtep": {"src_ip": "10.1.0.1"}},
    "VXLAN_TUNNEL_MAP": {"vtep|map_10100_Vlan100": {"vlan": "Vlan100", "vni": "10100"}}
}"#;

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn site() -> Site<'static> {
    Site { isolation: vlan(999), bridge: "", overlay: None }
}

fn read(config: &str) -> SwitchSeen {
    Sonic.parse(&[config.to_owned()], site()).unwrap()
}

fn trunk(native: u16, tagged: &[u16]) -> SeenMode {
    SeenMode::Known(PortMode::Trunk { native: VlanId::new(native), tagged: tagged.iter().map(|it| vlan(*it)).collect() })
}

#[test]
fn reads_a_configuration() {
    let seen = read(CONFIG);
    assert_eq!(*seen.mode("Ethernet0"), SeenMode::Known(PortMode::Access(vlan(100))));
    assert_eq!(seen.ports["Ethernet0"].description, "rack 1");
    assert_eq!(*seen.mode("Ethernet4"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*seen.mode("Ethernet8"), trunk(100, &[101]));
    assert_eq!(*seen.mode("Ethernet12"), SeenMode::Known(PortMode::Member { lag: "PortChannel1".into() }));
    assert_eq!(*seen.mode("Ethernet16"), SeenMode::Foreign("address 10.0.0.0/31; routed".into()));
    assert_eq!(*seen.mode("Ethernet20"), SeenMode::Foreign("shut; tagged 101".into()));
    assert_eq!(*seen.mode("Ethernet24"), SeenMode::Foreign("neither up nor down by its configuration".into()));
    assert_eq!(*seen.mode("Ethernet28"), trunk(0, &[]));
    assert_eq!(*seen.mode("PortChannel1"), trunk(0, &[101]));
    assert_eq!(seen.lags["PortChannel1"], LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: true });
    let vnis: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.vni.map(Vni::get))).collect();
    assert_eq!(vnis, [(100, Some(10100)), (101, None), (999, None)]);
}

#[test]
fn what_is_no_configuration_is_an_error() {
    for bad in ["", "Error: x", "{}", "[]", "{\"PORT\": 1}", "cat: /etc/sonic/config_db.json: No such file or directory"] {
        assert!(Sonic.parse(&[bad.into()], site()).is_err(), "{bad}");
    }
    assert!(Sonic.parse(&[], site()).is_err());
}

#[test]
fn renders_exactly() {
    let seen = read(CONFIG);
    let set = |port: &str, mode: PortMode| Change::SetPort { port: port.into(), mode, seen: seen.mode(port).clone() };
    let changes = [
        set("Ethernet8", PortMode::Isolated),
        Change::AddVlan { vlan: vlan(102), name: "cofferdam-x".into() },
        Change::MapVni { vlan: vlan(102), vni: Vni::new(10102).unwrap() },
        Change::AddLag { lag: "PortChannel2".into(), protocol: LagProtocol::Lacp },
        set("Ethernet12", PortMode::Member { lag: "PortChannel2".into() }),
        set("Ethernet4", PortMode::Access(vlan(102))),
        set("Ethernet16", PortMode::Trunk { native: Some(vlan(100)), tagged: [vlan(101)].into() }),
        Change::Uplink { port: "PortChannel1".into(), add: [vlan(102)].into(), remove: [vlan(101)].into(), seen: trunk(0, &[101]) },
        Change::Describe { port: "Ethernet4".into(), text: "cofferdam $(x)".into() },
        Change::UnmapVni { vlan: vlan(100), vni: Vni::new(10100).unwrap() },
        Change::RemoveVlan { vlan: vlan(100), name: None },
        Change::RemoveLag { lag: "PortChannel1".into() },
    ];
    assert_eq!(
        Sonic.render(&changes, &seen, site()).unwrap(),
        [
            "sudo config interface shutdown Ethernet8",
            "sudo config vlan member del 100 Ethernet8",
            "sudo config vlan member del 101 Ethernet8",
            "sudo config vlan member add -u 999 Ethernet8",
            "sudo config vlan add 102",
            "sudo config vxlan map add vtep 102 10102",
            "sudo config portchannel add PortChannel2",
            "sudo sonic-db-cli CONFIG_DB HSET 'PORTCHANNEL|PortChannel2' description cofferdam",
            "sudo config portchannel member del PortChannel1 Ethernet12",
            "sudo config portchannel member add PortChannel2 Ethernet12",
            "sudo config interface startup Ethernet12",
            "sudo config vlan member del 999 Ethernet4",
            "sudo config vlan member add -u 102 Ethernet4",
            "sudo config interface startup Ethernet4",
            "sudo config interface ip remove Ethernet16 10.0.0.0/31",
            "sudo config interface vrf unbind Ethernet16",
            "sudo config vlan member add -u 100 Ethernet16",
            "sudo config vlan member add 101 Ethernet16",
            "sudo config interface startup Ethernet16",
            "sudo config vlan member del 101 PortChannel1",
            "sudo config vlan member add 102 PortChannel1",
            "sudo sonic-db-cli CONFIG_DB HSET 'PORT|Ethernet4' description 'cofferdam $(x)'",
            "sudo config vxlan map del vtep 100 10100",
            "sudo config vlan del 100",
            "sudo config vlan member del 101 PortChannel1",
            "sudo config portchannel del PortChannel1",
        ]
    );
    assert!(Sonic.render(&[Change::AddLag { lag: "bond1".into(), protocol: LagProtocol::Lacp }], &seen, site()).is_err());
    assert!(Sonic.render(&[Change::AddLag { lag: "PortChannel3".into(), protocol: LagProtocol::Static }], &seen, site()).is_err());
    assert!(Sonic.render(&[set("Ethernet0;reboot", PortMode::Isolated)], &seen, site()).is_err());
}

#[test]
fn the_isolation_vlan_is_declared_before_ports_are_put_into_it() {
    let seen = read(r#"{"PORT": {"Ethernet0": {"admin_status": "up"}}}"#);
    let changes = [
        Change::SetPort { port: "Ethernet0".into(), mode: PortMode::Isolated, seen: seen.mode("Ethernet0").clone() },
        Change::AddVlan { vlan: vlan(999), name: "cofferdam-isolation".into() },
    ];
    assert_eq!(
        Sonic.render(&changes, &seen, site()).unwrap(),
        ["sudo config vlan add 999", "sudo config interface shutdown Ethernet0", "sudo config vlan member add -u 999 Ethernet0"]
    );
}

/// A switch that does what lines say, and refuses what SONiC refuses.
struct Device(Value);

impl Device {
    fn apply(&mut self, line: &str) {
        let words = shell_words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let has_members =
            |tables: &Value, port: &str| tables["VLAN_MEMBER"].as_object().unwrap().keys().any(|it| it.ends_with(&format!("|{port}")));
        let in_group = |tables: &Value, port: &str| {
            tables["PORTCHANNEL_MEMBER"].as_object().unwrap().keys().any(|it| it.ends_with(&format!("|{port}")))
        };
        let is_routed =
            |tables: &Value, port: &str| tables["INTERFACE"].as_object().unwrap().keys().any(|it| it.split('|').next() == Some(port));
        let gone = |table: &mut Value, key: &str| assert!(table.as_object_mut().unwrap().remove(key).is_some(), "{line}: no {key}");
        match words.as_slice() {
            ["sudo", "config", "interface", state @ ("startup" | "shutdown"), port] => {
                self.0["PORT"][port]["admin_status"] = json!(if *state == "startup" { "up" } else { "down" });
            }
            ["sudo", "config", "vlan", "member", "add", rest @ ..] => {
                let (mode, vlan, port) = match rest {
                    ["-u", vlan, port] => ("untagged", vlan, port),
                    [vlan, port] => ("tagged", vlan, port),
                    _ => panic!("{line}"),
                };
                assert!(!in_group(&self.0, port), "{line}: in a group");
                assert!(!is_routed(&self.0, port), "{line}: routed");
                assert!(!["routed", "access"].contains(&self.0["PORT"][port]["mode"].as_str().unwrap_or("trunk")), "{line}: mode");
                let members = self.0["VLAN_MEMBER"].as_object_mut().unwrap();
                let other = members.iter().any(|(key, it)| key.ends_with(&format!("|{port}")) && it["tagging_mode"] == "untagged");
                assert!(mode == "tagged" || !other, "{line}: two untagged");
                let former = members.insert(format!("Vlan{vlan}|{port}"), json!({"tagging_mode": mode}));
                assert!(former.is_none(), "{line}: already a member");
            }
            ["sudo", "config", "vlan", "member", "del", vlan, port] => gone(&mut self.0["VLAN_MEMBER"], &format!("Vlan{vlan}|{port}")),
            ["sudo", "config", "portchannel", "member", "add", lag, port] => {
                assert!(!has_members(&self.0, port) && !in_group(&self.0, port) && !is_routed(&self.0, port), "{line}");
                self.0["PORTCHANNEL_MEMBER"][format!("{lag}|{port}")] = json!({});
            }
            ["sudo", "config", "portchannel", "member", "del", lag, port] => {
                gone(&mut self.0["PORTCHANNEL_MEMBER"], &format!("{lag}|{port}"));
            }
            ["sudo", "config", "interface", "ip", "remove", port, address] => {
                gone(&mut self.0["INTERFACE"], &format!("{port}|{address}"));
            }
            ["sudo", "config", "interface", "vrf", "unbind", port] => _ = self.0["INTERFACE"].as_object_mut().unwrap().remove(*port),
            ["sudo", "config", "switchport", "mode", "trunk", port] => self.0["PORT"][port]["mode"] = json!("trunk"),
            ["sudo", "config", "subinterface", "del", name] => gone(&mut self.0["VLAN_SUB_INTERFACE"], name),
            ["sudo", "config", "vlan", "add", _] => {}
            _ => panic!("{line}"),
        }
    }
}

fn modes() -> impl Strategy<Value = PortMode> {
    let vlans = || (2u16..9).prop_map(vlan);
    prop_oneof![
        Just(PortMode::Isolated),
        vlans().prop_map(PortMode::Access),
        (proptest::option::of(vlans()), proptest::collection::btree_set(vlans(), 0..6)).prop_map(|(native, mut tagged)| {
            native.iter().for_each(|it| _ = tagged.remove(it));
            // Alone, a native VLAN and an access VLAN are the same thing here.
            let native = native.filter(|_| !tagged.is_empty());
            PortMode::Trunk { native, tagged }
        }),
        Just(PortMode::Member { lag: "PortChannel7".into() }),
    ]
}

fn by_hand() -> impl Strategy<Value = Value> {
    let port = prop_oneof![
        Just(json!({})),
        Just(json!({"admin_status": "up"})),
        Just(json!({"admin_status": "down", "mode": "routed"})),
        Just(json!({"admin_status": "up", "mode": "access"})),
        Just(json!({"admin_status": "down"}))
    ];
    let members = proptest::collection::btree_map(2u16..9, prop_oneof![Just("tagged"), Just("untagged")], 0..5);
    let interface = prop_oneof![
        Just(json!({})),
        Just(json!({"Ethernet0": {}})),
        Just(json!({"Ethernet0": {"vrf_name": "VrfA"}, "Ethernet0|10.0.0.0/31": {}})),
    ];
    let group = prop_oneof![Just(json!({})), Just(json!({"PortChannel7|Ethernet0": {}})), Just(json!({"PortChannel8|Ethernet0": {}}))];
    let above = prop_oneof![Just(json!({})), Just(json!({"Ethernet0.10": {"admin_status": "up"}}))];
    (port, members, interface, group, above).prop_map(|(port, members, interface, group, above)| {
        let members: Map<String, Value> =
            members.into_iter().map(|(vlan, mode)| (format!("Vlan{vlan}|Ethernet0"), json!({"tagging_mode": mode}))).collect();
        json!({"PORT": {"Ethernet0": port}, "VLAN_MEMBER": members, "INTERFACE": interface, "PORTCHANNEL_MEMBER": group,
            "VLAN_SUB_INTERFACE": above})
    })
}

proptest! {
    #[test]
    fn a_port_becomes_what_is_asked_from_any_state(state in by_hand(), modes in proptest::collection::vec(modes(), 1..4)) {
        let mut device = Device(state);
        for mode in modes {
            let seen = read(&device.0.to_string());
            let change = Change::SetPort { port: "Ethernet0".into(), mode: mode.clone(), seen: seen.mode("Ethernet0").clone() };
            let lines = Sonic.render(&[change], &seen, site()).unwrap();
            lines.iter().for_each(|it| device.apply(it));
            let after = read(&device.0.to_string());
            prop_assert_eq!(after.mode("Ethernet0"), &SeenMode::Known(mode), "{:?}\n{}", lines, device.0);
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "(?s).{0,300}", table in "(VLAN|VLAN_MEMBER|INTERFACE|PORTCHANNEL_MEMBER|VXLAN_TUNNEL_MAP)",
        key in "[ -~]{0,20}", value in prop_oneof![Just(json!(1)), Just(json!({"vlan": 3, "vni": "x", "tagging_mode": []})), Just(json!(null))]) {
        _ = Sonic.parse(&[text], site());
        let mut tables = json!({"PORT": {"Ethernet0": value.clone()}});
        tables[table] = json!({key: value});
        _ = Sonic.parse(&[tables.to_string()], site());
    }
}
