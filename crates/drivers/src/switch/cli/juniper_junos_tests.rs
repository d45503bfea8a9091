use proptest::prelude::*;

use super::super::setlines::{Tree, words};
use super::*;

const TERSE: &str = "\
Interface               Admin Link Proto    Local                 Remote
ge-0/0/0                up    up
ge-0/0/0.0              up    up   eth-switch
ge-0/0/1                up    down
xe-0/1/0                up    up
et-0/0/48:1             up    up
ae0                     up    up
bme0                    up    up
irb                     up    up
vme                     up    down
";

const CONFIG: &str = r#"
set version 21.4R3.15
set system host-name leaf1
set interfaces ge-0/0/0 description "server 1; left"
set interfaces ge-0/0/0 unit 0 family ethernet-switching interface-mode access
set interfaces ge-0/0/0 unit 0 family ethernet-switching vlan members blue
set interfaces ge-0/0/0 unit 0 family ethernet-switching storm-control default
set interfaces ge-0/0/1 disable
set interfaces ge-0/0/1 unit 0 family ethernet-switching interface-mode access
set interfaces ge-0/0/1 unit 0 family ethernet-switching vlan members 999
set interfaces ge-0/0/2 native-vlan-id 100
set interfaces ge-0/0/2 unit 0 family ethernet-switching interface-mode trunk
set interfaces ge-0/0/2 unit 0 family ethernet-switching vlan members 100-102
set interfaces ge-0/0/2 unit 0 family ethernet-switching vlan members blue
set interfaces ge-0/0/3 unit 0 family ethernet-switching interface-mode trunk
set interfaces ge-0/0/3 unit 0 family ethernet-switching vlan members all
set interfaces ge-0/0/4 ether-options 802.3ad ae0
set interfaces ge-0/0/5 unit 0 family inet address 192.0.2.1/24
set interfaces ge-0/0/6 unit 0 family ethernet-switching vlan members 5
deactivate interfaces ge-0/0/6 unit 0
set interfaces interface-range servers member ge-0/0/7
set interfaces interface-range servers member "ge-0/0/[8-9]"
set interfaces interface-range servers unit 0 family ethernet-switching vlan members blue
set interfaces ge-0/0/7 description seven
set interfaces ge-0/0/8 description eight
set interfaces ge-0/0/10 unit 0 family ethernet-switching vlan members blue
set interfaces ge-0/0/10 disable
set interfaces ae0 description cofferdam-bond
set interfaces ae0 aggregated-ether-options lacp active
set interfaces ae0 unit 0 family ethernet-switching interface-mode trunk
set interfaces ae1 aggregated-ether-options lacp passive
set interfaces irb unit 0 family inet address 198.51.100.1/24
set vlans blue vlan-id 50
set vlans cofferdam-isolation vlan-id 999
set vlans cofferdam-net vlan-id 100
set vlans cofferdam-net vxlan vni 10100
"#;

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn site() -> Site<'static> {
    Site { isolation: vlan(999), bridge: "", overlay: None }
}

fn read(config: &str) -> SwitchSeen {
    JuniperJunos.parse(&[config.to_owned(), TERSE.to_owned()], site()).unwrap()
}

#[test]
fn reads_a_configuration() {
    let seen = read(CONFIG);
    let trunk = |native: u16, tagged: &[u16]| {
        SeenMode::Known(PortMode::Trunk { native: VlanId::new(native), tagged: tagged.iter().map(|it| vlan(*it)).collect() })
    };
    assert_eq!(*seen.mode("ge-0/0/0"), SeenMode::Known(PortMode::Access(vlan(50))));
    assert_eq!(seen.ports["ge-0/0/0"].description, "server 1; left");
    assert_eq!(*seen.mode("ge-0/0/1"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*seen.mode("ge-0/0/2"), trunk(100, &[50, 101, 102]));
    assert!(matches!(seen.mode("ge-0/0/3"), SeenMode::Known(PortMode::Trunk { native: None, tagged }) if tagged.len() == 4094));
    assert_eq!(*seen.mode("ge-0/0/4"), SeenMode::Known(PortMode::Member { lag: "ae0".into() }));
    assert_eq!(*seen.mode("ge-0/0/5"), SeenMode::Foreign("has family inet; has units 0".into()));
    assert_eq!(*seen.mode("ge-0/0/6"), SeenMode::Absent, "neither configured in force nor listed as an interface");
    assert_eq!(*seen.mode("ge-0/0/7"), SeenMode::Foreign("written by interface-range servers member ge-0/0/7".into()));
    assert_eq!(*seen.mode("ge-0/0/8"), SeenMode::Foreign("written by the pattern of interface-range servers".into()));
    assert_eq!(*seen.mode("ge-0/0/10"), SeenMode::Foreign("access VLAN 50, shut".into()));
    assert_eq!(*seen.mode("xe-0/1/0"), SeenMode::Known(PortMode::tagged([])));
    assert!(seen.ports.contains_key("et-0/0/48:1"));
    assert!(!seen.ports.keys().any(|it| it.starts_with("irb") || it.starts_with("vme") || it.contains('.')));
    assert_eq!(*seen.mode("ae0"), trunk(0, &[]));
    assert_eq!(seen.lags["ae0"], LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: true });
    assert_eq!(seen.lags["ae1"].protocol, None);
    assert_eq!(seen.vlans[&vlan(100)].vni, Vni::new(10100));
    assert_eq!(seen.vlans[&vlan(50)].name.as_deref(), Some("blue"));
}

#[test]
fn what_is_no_configuration_is_an_error() {
    assert!(JuniperJunos.parse(&["error: permission denied".into(), TERSE.into()], site()).is_err());
    assert!(JuniperJunos.parse(&[], site()).is_err());
}

#[test]
fn renders_exactly() {
    let seen = read(CONFIG);
    let changes = [
        Change::AddVlan { vlan: vlan(101), name: "cofferdam-a".into() },
        Change::MapVni { vlan: vlan(101), vni: Vni::new(10101).unwrap() },
        Change::AddLag { lag: "ae2".into(), protocol: LagProtocol::Lacp },
        Change::SetPort { port: "ge-0/0/1".into(), mode: PortMode::Access(vlan(101)), seen: seen.mode("ge-0/0/1").clone() },
        Change::SetPort { port: "ge-0/0/2".into(), mode: PortMode::Member { lag: "ae2".into() }, seen: seen.mode("ge-0/0/2").clone() },
        Change::Describe { port: "ge-0/0/1".into(), text: "cofferdam node 1".into() },
        Change::UnmapVni { vlan: vlan(100), vni: Vni::new(10100).unwrap() },
        Change::RemoveVlan { vlan: vlan(100), name: Some("cofferdam-net".into()) },
        Change::RemoveLag { lag: "ae0".into() },
    ];
    let overlay = super::super::super::Overlay { vtep: String::new(), bgp_as: 65001 };
    let lines = JuniperJunos.render(&changes, &seen, Site { overlay: Some(&overlay), ..site() }).unwrap();
    assert_eq!(
        lines,
        [
            "set vlans cofferdam-a vlan-id 101",
            "set vlans cofferdam-a vxlan vni 10101",
            "set protocols evpn vni-options vni 10101 vrf-target target:65001:10101",
            "set interfaces ae2 description cofferdam",
            "delete interfaces ae2 aggregated-ether-options lacp",
            "set interfaces ae2 aggregated-ether-options lacp active",
            "delete interfaces ge-0/0/1 disable",
            "delete interfaces ge-0/0/1 native-vlan-id",
            "delete interfaces ge-0/0/1 ether-options 802.3ad",
            "delete interfaces ge-0/0/1 unit 0 disable",
            "delete interfaces ge-0/0/1 unit 0 family ethernet-switching interface-mode",
            "delete interfaces ge-0/0/1 unit 0 family ethernet-switching vlan",
            "set interfaces ge-0/0/1 unit 0 family ethernet-switching interface-mode access",
            "set interfaces ge-0/0/1 unit 0 family ethernet-switching vlan members 101",
            "delete interfaces ge-0/0/2 disable",
            "delete interfaces ge-0/0/2 native-vlan-id",
            "delete interfaces ge-0/0/2 unit 0",
            "set interfaces ge-0/0/2 ether-options 802.3ad ae2",
            "set interfaces ge-0/0/1 description \"cofferdam node 1\"",
            "delete vlans cofferdam-net vxlan",
            "delete protocols evpn vni-options vni 10100",
            "delete vlans cofferdam-net",
            "delete interfaces ae0",
        ]
    );
}

/// A switch that does what lines say, and no more than that.
#[derive(Debug, Clone, Default)]
struct Device {
    tree: Tree,
    inactive: BTreeSet<Vec<String>>,
}

impl Device {
    fn load(text: &str) -> Self {
        let mut out = Self::default();
        text.lines().filter(|it| !it.is_empty()).for_each(|it| out.apply(it));
        out
    }

    fn apply(&mut self, line: &str) {
        let mut words = words(line);
        let path = words.split_off(1);
        match words[0].as_str() {
            "set" => {
                let leaf = path.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
                let single = ["interface-mode", "native-vlan-id", "description", "vlan-id", "vni", "802.3ad", "vrf-target"].contains(&leaf);
                self.tree.set(path, single);
            }
            "delete" => {
                self.tree.delete(&path);
                self.inactive.retain(|it| !it.starts_with(&path));
            }
            "deactivate" => _ = self.inactive.insert(path),
            other => panic!("{other}"),
        }
    }

    fn text(&self) -> String {
        let inactive: String = self.inactive.iter().map(|it| format!("deactivate {}\n", it.join(" "))).collect();
        self.tree.text("set") + &inactive
    }
}

fn modes() -> impl Strategy<Value = PortMode> {
    let vlans = || (2u16..20).prop_map(vlan);
    prop_oneof![
        Just(PortMode::Isolated),
        vlans().prop_map(PortMode::Access),
        (proptest::option::of(vlans()), proptest::collection::btree_set(vlans(), 0..6)).prop_map(|(native, mut tagged)| {
            native.iter().for_each(|it| _ = tagged.remove(it));
            PortMode::Trunk { native, tagged }
        }),
        Just(PortMode::Member { lag: "ae7".into() }),
    ]
}

/// What somebody may have written to the port by hand.
const BY_HAND: &[&str] = &[
    "set interfaces ge-0/0/0 disable",
    "set interfaces ge-0/0/0 unit 0 disable",
    "set interfaces ge-0/0/0 native-vlan-id 7",
    "set interfaces ge-0/0/0 vlan-tagging",
    "set interfaces ge-0/0/0 flexible-vlan-tagging",
    "set interfaces ge-0/0/0 encapsulation flexible-ethernet-services",
    "set interfaces ge-0/0/0 unit 0 family inet address 192.0.2.1/24",
    "set interfaces ge-0/0/0 unit 5 vlan-id 5",
    "set interfaces ge-0/0/0 unit 5 family inet",
    "set interfaces ge-0/0/0 unit 0 family ethernet-switching interface-mode trunk",
    "set interfaces ge-0/0/0 unit 0 family ethernet-switching vlan members all",
    "set interfaces ge-0/0/0 unit 0 family ethernet-switching vlan members 3-9",
    "set interfaces ge-0/0/0 unit 0 family ethernet-switching vlan members nobody",
    "set interfaces ge-0/0/0 unit 0 family ethernet-switching vlan-rewrite translate 5 6",
    "set interfaces ge-0/0/0 ether-options 802.3ad ae3",
    "set interfaces ge-0/0/0 gigether-options 802.3ad ae3",
    "set interfaces ge-0/0/0 mtu 9216",
    "set vlans blue vlan-id 50",
    "set vlans blue interface ge-0/0/0.0",
    "set switch-options voip interface ge-0/0/0.0 vlan blue",
    "set interfaces interface-range servers member ge-0/0/0",
    "set interfaces interface-range servers unit 0 family ethernet-switching vlan members blue",
    "deactivate interfaces ge-0/0/0",
    "deactivate interfaces ge-0/0/0 unit 0",
    "deactivate interfaces ge-0/0/0 ether-options",
    "deactivate interfaces ge-0/0/0 disable",
];

proptest! {
    #[test]
    fn a_port_becomes_what_is_asked_from_any_state(
        by_hand in proptest::collection::vec(proptest::sample::select(BY_HAND), 0..8), modes in proptest::collection::vec(modes(), 1..4),
    ) {
        let mut device = Device::load("set version 1\nset interfaces ge-0/0/1 mtu 1500\nset interfaces ae7 mtu 1500");
        by_hand.iter().for_each(|it| device.apply(it));
        for mode in modes {
            let seen = read(&device.text());
            let change = Change::SetPort { port: "ge-0/0/0".into(), mode: mode.clone(), seen: seen.mode("ge-0/0/0").clone() };
            let lines = JuniperJunos.render(&[change], &seen, site()).unwrap();
            lines.iter().for_each(|it| device.apply(it));
            let after = read(&device.text());
            prop_assert_eq!(after.mode("ge-0/0/0"), &SeenMode::Known(mode), "{:?}\n{}", lines, device.text());
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "(?s).{0,300}", lines in proptest::collection::vec(
        "(set|deactivate) (interfaces|vlans) (ge-0/0/0|ae0|[a-z\\[\\]*-]{1,8}) [ -~]{0,40}", 0..20)) {
        _ = JuniperJunos.parse(&[text.clone(), text.clone()], site());
        _ = JuniperJunos.parse(&[format!("{}\n{text}", lines.join("\n")), TERSE.to_owned()], site());
        _ = JuniperJunos.port_name(&text);
    }
}

#[test]
fn uplinks_keep_what_is_others() {
    let mut device = Device::load(CONFIG);
    let seen = read(&device.text());
    let uplink = |add: &[u16], remove: &[u16]| Change::Uplink {
        port: "ge-0/0/2".into(),
        add: add.iter().map(|it| vlan(*it)).collect(),
        remove: remove.iter().map(|it| vlan(*it)).collect(),
        seen: seen.mode("ge-0/0/2").clone(),
    };
    let added = JuniperJunos.render(&[uplink(&[200, 201], &[])], &seen, site()).unwrap();
    assert_eq!(added, ["set interfaces ge-0/0/2 unit 0 family ethernet-switching vlan members 200-201"]);
    let removed = JuniperJunos.render(&[uplink(&[], &[101])], &seen, site()).unwrap();
    removed.iter().for_each(|it| device.apply(it));
    let after = read(&device.text());
    let tagged = [vlan(50), vlan(102)].into();
    assert_eq!(*after.mode("ge-0/0/2"), SeenMode::Known(PortMode::Trunk { native: Some(vlan(100)), tagged }));
}

#[test]
fn another_name_is_another_vlan() {
    let mut device = Device::load(CONFIG);
    let seen = read(&device.text());
    let rename = Change::AddVlan { vlan: vlan(100), name: "cofferdam-new".into() };
    let lines = JuniperJunos.render(&[rename], &seen, site()).unwrap();
    lines.iter().for_each(|it| device.apply(it));
    let after = read(&device.text());
    assert_eq!(after.vlans[&vlan(100)].name.as_deref(), Some("cofferdam-new"));
    assert_eq!(after.vlans[&vlan(100)].vni, Vni::new(10100));
}

#[test]
fn patterns_of_interface_ranges() {
    assert!(matches_pattern("ge-*", "ge-0/0/1"));
    assert!(matches_pattern("ge-0/0/[1-3 7]", "ge-0/0/7"));
    assert!(!matches_pattern("ge-0/0/[1-3]", "ge-0/0/11"));
    assert!(matches_pattern("ge-0/0/?", "ge-0/0/1"));
    assert!(is_between("ge-0/0/2", "ge-0/0/10", "ge-0/0/12"));
    assert!(!is_between("ge-0/0/2", "xe-0/0/10", "ge-0/0/12"));
}
