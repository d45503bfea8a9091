use proptest::prelude::*;
use serde_json::json;

use super::super::setlines::Tree;
use super::*;

const STATES: &str = r#"{
  "interface": [
    {"name": "ethernet-1/1", "admin-state": "enable"},
    {"name": "ethernet-1/2", "admin-state": "disable"},
    {"name": "ethernet-1/9", "admin-state": "disable"},
    {"name": "mgmt0", "admin-state": "enable"}
  ]
}
--{ + running }--[  ]--"#;

const CONFIG: &str = "\
set / interface ethernet-1/1 description \"rack 1; host 7\"
set / interface ethernet-1/1 admin-state enable
set / interface ethernet-1/1 vlan-tagging true
set / interface ethernet-1/1 subinterface 0 type bridged
set / interface ethernet-1/1 subinterface 0 vlan encap untagged
set / interface ethernet-1/2 admin-state disable
set / interface ethernet-1/2 vlan-tagging true
set / interface ethernet-1/2 subinterface 0 type bridged
set / interface ethernet-1/2 subinterface 0 vlan encap untagged
set / interface ethernet-1/3 admin-state enable
set / interface ethernet-1/3 vlan-tagging true
set / interface ethernet-1/3 subinterface 0 type bridged
set / interface ethernet-1/3 subinterface 0 vlan encap untagged
set / interface ethernet-1/3 subinterface 101 type bridged
set / interface ethernet-1/3 subinterface 101 vlan encap single-tagged vlan-id 101
set / interface ethernet-1/4 admin-state enable
set / interface ethernet-1/4 ethernet aggregate-id lag1
set / interface ethernet-1/5 admin-state enable
set / interface ethernet-1/5 subinterface 0 ipv4 admin-state enable
set / interface ethernet-1/6 admin-state enable
set / interface ethernet-1/6 vlan-tagging true
set / interface ethernet-1/6 subinterface 7 type bridged
set / interface ethernet-1/6 subinterface 7 vlan encap single-tagged vlan-id 100
set / interface lag1 admin-state enable
set / interface lag1 description cofferdam
set / interface lag1 lag lag-type lacp
set / interface lag1 lag lacp lacp-mode ACTIVE
set / interface mgmt0 admin-state enable
set / network-instance mac-vrf-100 type mac-vrf
set / network-instance mac-vrf-100 description cofferdam-a
set / network-instance mac-vrf-100 interface ethernet-1/1.0
set / network-instance mac-vrf-100 interface ethernet-1/3.0
set / network-instance mac-vrf-100 vxlan-interface vxlan0.100
set / network-instance mac-vrf-101 type mac-vrf
set / network-instance mac-vrf-101 interface ethernet-1/3.101
set / network-instance mac-vrf-999 type mac-vrf
set / network-instance mac-vrf-999 interface ethernet-1/2.0
set / network-instance customer type mac-vrf
set / network-instance customer interface ethernet-1/6.7
set / network-instance default type default
set / network-instance default interface ethernet-1/5.0
set / tunnel-interface vxlan0 vxlan-interface 100 type bridged
set / tunnel-interface vxlan0 vxlan-interface 100 ingress vni 10100
";

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn site() -> Site<'static> {
    Site { isolation: vlan(999), bridge: "", overlay: None }
}

fn read(config: &str) -> SwitchSeen {
    NokiaSrl.parse(&[config.to_owned(), STATES.to_owned()], site()).unwrap()
}

fn trunk(native: u16, tagged: &[u16]) -> SeenMode {
    SeenMode::Known(PortMode::Trunk { native: VlanId::new(native), tagged: tagged.iter().map(|it| vlan(*it)).collect() })
}

#[test]
fn reads_a_configuration() {
    let seen = read(CONFIG);
    assert_eq!(*seen.mode("ethernet-1/1"), SeenMode::Known(PortMode::Access(vlan(100))));
    assert_eq!(seen.ports["ethernet-1/1"].description, "rack 1; host 7");
    assert_eq!(*seen.mode("ethernet-1/2"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*seen.mode("ethernet-1/3"), trunk(100, &[101]));
    assert_eq!(*seen.mode("ethernet-1/4"), SeenMode::Known(PortMode::Member { lag: "lag1".into() }));
    assert!(matches!(seen.mode("ethernet-1/5"), SeenMode::Foreign(why) if why.contains("listed in default as 0")));
    assert!(matches!(seen.mode("ethernet-1/6"), SeenMode::Foreign(why) if why.contains("listed in customer as 7")));
    assert_eq!(*seen.mode("ethernet-1/9"), SeenMode::Foreign("not configured".into()));
    assert_eq!(*seen.mode("lag1"), trunk(0, &[]));
    assert_eq!(seen.lags["lag1"], LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: true });
    assert!(!seen.ports.contains_key("mgmt0"));
    let vlans: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref(), it.vni.map(Vni::get))).collect();
    assert_eq!(vlans, [(100, Some("cofferdam-a"), Some(10100)), (101, None, None), (999, None, None)]);
}

#[test]
fn reads_the_saved_file() {
    let file = json!({
        "srl_nokia-interfaces:interface": [
            {"name": "ethernet-1/1", "admin-state": "enable", "srl_nokia-interfaces-vlans:vlan-tagging": true, "subinterface": [
                {"index": 0, "type": "srl_nokia-interfaces:bridged", "srl_nokia-interfaces-vlans:vlan": {"encap": {"untagged": {}}}},
                {"index": 101, "type": "srl_nokia-interfaces:bridged",
                    "srl_nokia-interfaces-vlans:vlan": {"encap": {"single-tagged": {"vlan-id": 101}}}},
            ]},
        ],
        "srl_nokia-tunnel-interfaces:tunnel-interface": [
            {"name": "vxlan0", "srl_nokia-tunnel-interfaces:vxlan-interface": [{"index": 101, "ingress": {"vni": 7}}]},
        ],
        "srl_nokia-network-instance:network-instance": [
            {"name": "mac-vrf-5", "type": "srl_nokia-network-instance:mac-vrf", "interface": [{"name": "ethernet-1/1.0"}]},
            {"name": "mac-vrf-101", "type": "srl_nokia-network-instance:mac-vrf", "description": "cofferdam-b",
                "interface": [{"name": "ethernet-1/1.101"}], "vxlan-interface": [{"name": "vxlan0.101"}]},
        ],
    });
    for text in [serde_json::to_string_pretty(&file).unwrap(), file.to_string()] {
        let seen = NokiaSrl.parse(&[format!("{text}\n--{{ + running }}--[  ]--")], site()).unwrap();
        assert_eq!(*seen.mode("ethernet-1/1"), trunk(5, &[101]));
        assert_eq!(seen.vlans[&vlan(101)].vni, Vni::new(7));
        assert_eq!(seen.vlans[&vlan(101)].name.as_deref(), Some("cofferdam-b"));
    }
}

#[test]
fn what_is_no_configuration_is_an_error() {
    assert_eq!(NokiaSrl.parse(&["\n--{ + running }--[  ]--\n".into()], site()).unwrap(), SwitchSeen::default());
    assert!(NokiaSrl.parse(&["cat: strange".into()], site()).is_err());
    for bad in ["", "Error: no", "{", "--{ + running }--[  ]--", "cat: no such file"] {
        assert!(NokiaSrl.parse(&[bad.into(), STATES.into()], site()).is_err(), "{bad}");
        assert!(NokiaSrl.parse(&[CONFIG.into(), bad.into()], site()).is_err(), "{bad}");
    }
}

#[test]
fn renders_exactly() {
    let seen = read(CONFIG);
    let set = |port: &str, mode: PortMode| Change::SetPort { port: port.into(), mode, seen: seen.mode(port).clone() };
    let changes = [
        set("ethernet-1/3", PortMode::Isolated),
        Change::AddVlan { vlan: vlan(102), name: "cofferdam-x".into() },
        Change::MapVni { vlan: vlan(102), vni: Vni::new(10102).unwrap() },
        Change::AddLag { lag: "lag2".into(), protocol: LagProtocol::Lacp },
        set("ethernet-1/4", PortMode::Access(vlan(102))),
        set("ethernet-1/6", PortMode::Member { lag: "lag2".into() }),
        Change::Uplink { port: "lag1".into(), add: [vlan(102)].into(), remove: [vlan(101)].into(), seen: trunk(0, &[101]) },
        Change::Describe { port: "ethernet-1/4".into(), text: "cofferdam node".into() },
        Change::UnmapVni { vlan: vlan(100), vni: Vni::new(10100).unwrap() },
        Change::RemoveVlan { vlan: vlan(100), name: Some("cofferdam-a".into()) },
        Change::RemoveLag { lag: "lag1".into() },
    ];
    let overlay = super::super::super::Overlay { vtep: "vxlan1".into(), bgp_as: 65001 };
    let lines = NokiaSrl.render(&changes, &seen, Site { overlay: Some(&overlay), ..site() }).unwrap();
    assert_eq!(
        lines,
        [
            "delete / network-instance mac-vrf-100 interface ethernet-1/3.0",
            "delete / network-instance mac-vrf-101 interface ethernet-1/3.101",
            "delete / interface ethernet-1/3 subinterface 101",
            "set / interface ethernet-1/3 admin-state disable",
            "set / interface ethernet-1/3 vlan-tagging true",
            "set / interface ethernet-1/3 subinterface 0 type bridged",
            "set / interface ethernet-1/3 subinterface 0 admin-state enable",
            "set / interface ethernet-1/3 subinterface 0 vlan encap untagged",
            "set / network-instance mac-vrf-999 interface ethernet-1/3.0",
            "set / network-instance mac-vrf-102 type mac-vrf",
            "set / network-instance mac-vrf-102 admin-state enable",
            "set / network-instance mac-vrf-102 description cofferdam-x",
            "set / tunnel-interface vxlan1 vxlan-interface 102 type bridged",
            "set / tunnel-interface vxlan1 vxlan-interface 102 ingress vni 10102",
            "set / network-instance mac-vrf-102 vxlan-interface vxlan1.102",
            "set / network-instance mac-vrf-102 protocols bgp-evpn bgp-instance 1 admin-state enable",
            "set / network-instance mac-vrf-102 protocols bgp-evpn bgp-instance 1 vxlan-interface vxlan1.102",
            "set / network-instance mac-vrf-102 protocols bgp-evpn bgp-instance 1 evi 102",
            "set / network-instance mac-vrf-102 protocols bgp-vpn bgp-instance 1 route-target export-rt target:65001:10102",
            "set / network-instance mac-vrf-102 protocols bgp-vpn bgp-instance 1 route-target import-rt target:65001:10102",
            "set / interface lag2 admin-state enable",
            "set / interface lag2 description cofferdam",
            "set / interface lag2 lag lag-type lacp",
            "set / interface lag2 lag lacp lacp-mode ACTIVE",
            "delete / interface ethernet-1/4 ethernet aggregate-id",
            "set / interface ethernet-1/4 admin-state enable",
            "set / interface ethernet-1/4 vlan-tagging true",
            "set / interface ethernet-1/4 subinterface 0 type bridged",
            "set / interface ethernet-1/4 subinterface 0 admin-state enable",
            "set / interface ethernet-1/4 subinterface 0 vlan encap untagged",
            "set / network-instance mac-vrf-102 interface ethernet-1/4.0",
            "delete / network-instance customer interface ethernet-1/6.7",
            "delete / interface ethernet-1/6 subinterface 7",
            "set / interface ethernet-1/6 admin-state enable",
            "set / interface ethernet-1/6 vlan-tagging false",
            "set / interface ethernet-1/6 ethernet aggregate-id lag2",
            "delete / network-instance mac-vrf-101 interface lag1.101",
            "delete / interface lag1 subinterface 101",
            "set / interface lag1 vlan-tagging true",
            "set / interface lag1 subinterface 102 type bridged",
            "set / interface lag1 subinterface 102 admin-state enable",
            "set / interface lag1 subinterface 102 vlan encap single-tagged vlan-id 102",
            "set / network-instance mac-vrf-102 interface lag1.102",
            "set / interface ethernet-1/4 description \"cofferdam node\"",
            "delete / network-instance mac-vrf-100 protocols",
            "delete / network-instance mac-vrf-100 vxlan-interface vxlan1.100",
            "delete / tunnel-interface vxlan1 vxlan-interface 100",
            "delete / network-instance mac-vrf-100",
            "delete / interface lag1",
        ]
    );
}

/// A switch that does what lines say, and refuses to delete what is not there.
struct Device(Tree);

impl Device {
    fn apply(&mut self, line: &str) {
        let words = words(line);
        let path = &words[2..];
        match words[0].as_str() {
            "set" => {
                if let Some(at) = path.iter().position(|it| it == "encap") {
                    let stem = path[..=at].to_vec();
                    // A choice: one encapsulation takes the place of another.
                    self.0.delete(&stem);
                }
                let leaf = path[path.len() - 2].as_str();
                let single = ["admin-state", "vlan-tagging", "type", "aggregate-id", "description", "lag-type"].contains(&leaf);
                self.0.set(path.to_vec(), single);
            }
            "delete" => assert!(self.0.delete(path), "{line}: there is no such thing in\n{}", self.0.text("set /")),
            other => panic!("{other}"),
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
        Just(PortMode::Member { lag: "lag7".into() }),
    ]
}

const BY_HAND: &[&str] = &[
    "set / interface ethernet-1/1 admin-state enable",
    "set / interface ethernet-1/1 admin-state disable",
    "set / interface ethernet-1/1 mtu 9000",
    "set / interface ethernet-1/1 vlan-tagging true",
    "set / interface ethernet-1/1 ethernet aggregate-id lag3",
    "set / interface ethernet-1/1 subinterface 0 type bridged",
    "set / interface ethernet-1/1 subinterface 0 vlan encap untagged",
    "set / interface ethernet-1/1 subinterface 0 vlan encap single-tagged vlan-id 5",
    "set / interface ethernet-1/1 subinterface 0 ipv4 admin-state enable",
    "set / interface ethernet-1/1 subinterface 5 type bridged",
    "set / interface ethernet-1/1 subinterface 5 admin-state disable",
    "set / interface ethernet-1/1 subinterface 5 vlan encap single-tagged vlan-id 5",
    "set / interface ethernet-1/1 subinterface 5 vlan encap single-tagged vlan-id optional",
    "set / network-instance mac-vrf-5 interface ethernet-1/1.5",
    "set / network-instance mac-vrf-5 interface ethernet-1/1.0",
    "set / network-instance mac-vrf-6 interface ethernet-1/1.0",
    "set / network-instance default interface ethernet-1/1.0",
    "set / network-instance default interface ethernet-1/1.77",
];

proptest! {
    #[test]
    fn a_port_becomes_what_is_asked_from_any_state(
        by_hand in proptest::collection::vec(proptest::sample::select(BY_HAND), 0..10), modes in proptest::collection::vec(modes(), 1..4),
    ) {
        let mut device = Device(Tree::default());
        device.apply("set / network-instance mac-vrf-5 type mac-vrf");
        device.apply("set / network-instance mac-vrf-6 type mac-vrf");
        by_hand.iter().for_each(|it| device.apply(it));
        // Where an instance names a subinterface, there must be one.
        if device.0.paths.iter().any(|it| it.last().is_some_and(|it| it == "ethernet-1/1.77")) {
            device.apply("set / interface ethernet-1/1 subinterface 77 type routed");
        }
        for index in ["0", "5"] {
            let name = format!("ethernet-1/1.{index}");
            if device.0.paths.iter().any(|it| it.contains(&name)) {
                device.apply(&format!("set / interface ethernet-1/1 subinterface {index} ip-mtu 1500"));
            }
        }
        for mode in modes {
            let seen = read(&device.0.text("set /"));
            let change = Change::SetPort { port: "ethernet-1/1".into(), mode: mode.clone(), seen: seen.mode("ethernet-1/1").clone() };
            let lines = NokiaSrl.render(&[change], &seen, site()).unwrap();
            lines.iter().for_each(|it| device.apply(it));
            let after = read(&device.0.text("set /"));
            prop_assert_eq!(after.mode("ethernet-1/1"), &SeenMode::Known(mode), "{:?}\n{}", lines, device.0.text("set /"));
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "(?s).{0,300}", lines in proptest::collection::vec(
        "set / (interface|network-instance|tunnel-interface) (ethernet-1/1|mac-vrf-[0-9]{1,5}|[ -~]{0,9}) [ -~]{0,40}", 0..20)) {
        _ = NokiaSrl.parse(&[text.clone(), text.clone()], site());
        _ = NokiaSrl.parse(std::slice::from_ref(&text), site());
        _ = NokiaSrl.parse(&[format!("{}\n{text}", lines.join("\n")), STATES.to_owned()], site());
    }
}
