use proptest::prelude::*;

use super::super::setlines::Tree;
use super::*;

const INTERFACES: &str = r#"{
  "bond1": {"type": "bond"},
  "eth0": {"type": "eth", "link": {"state": {"up": {}}}},
  "lo": {"type": "loopback"},
  "swp1": {"type": "swp"}, "swp2": {"type": "swp"}, "swp3": {"type": "swp"}, "swp9s1": {"type": "swp"}
}"#;

const CONFIG: &str = "\
nv set bridge domain br_default vlan 10,20-21
nv set bridge domain br_default vlan 10 vni 10010
nv set bridge domain br_default vlan 21 vni auto
nv set bridge domain br_default vlan-vni-offset 5000
nv set interface bond1 bond member swp5-6
nv set interface bond1 bond mode lacp
nv set interface bond1-2 bridge domain br_default
nv set interface bond2 bond mode static
nv set interface bond2 bond member swp7
nv set interface bond2 description cofferdam
nv set interface eth0 ip address dhcp
nv set interface eth0 ip vrf mgmt
nv set interface lo ip address 10.0.0.1/32
nv set interface swp1 bridge domain br_default access 10
nv set interface swp1 description 'rack 1; host 7'
nv set interface swp2 bridge domain br_default untagged 20
nv set interface swp2 bridge domain br_default vlan 10,20-21
nv set interface swp3 bridge domain br_default access 999
nv set interface swp3,8 link state down
nv set interface swp4 bridge domain br_default untagged none
nv set interface swp4 bridge domain br_default vlan 10
nv set interface swp8 bridge domain br_default access 10
nv set interface swp10 ip address 192.0.2.0/31
nv set interface swp11.5 ip address 192.0.2.2/31
nv set interface swp11 link mtu 9216
nv set interface swp11.5 type sub
nv set interface swp1-8 type swp
nv set interface vlan10 ip address 198.51.100.1/24
nv set interface vlan10 type svi
nv set system hostname leaf01
";

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn site() -> Site<'static> {
    Site { isolation: vlan(999), bridge: "", overlay: None }
}

fn read(config: &str) -> SwitchSeen {
    CumulusNvue.parse(&[config.to_owned(), INTERFACES.to_owned()], site()).unwrap()
}

fn trunk(native: u16, tagged: &[u16]) -> SeenMode {
    SeenMode::Known(PortMode::Trunk { native: VlanId::new(native), tagged: tagged.iter().map(|it| vlan(*it)).collect() })
}

#[test]
fn reads_a_configuration() {
    let seen = read(CONFIG);
    assert_eq!(*seen.mode("swp1"), SeenMode::Known(PortMode::Access(vlan(10))));
    assert_eq!(seen.ports["swp1"].description, "rack 1; host 7");
    assert_eq!(*seen.mode("swp2"), trunk(20, &[10, 21]));
    assert_eq!(*seen.mode("swp3"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*seen.mode("swp4"), trunk(0, &[10]));
    assert_eq!(*seen.mode("swp5"), SeenMode::Known(PortMode::Member { lag: "bond1".into() }));
    assert_eq!(*seen.mode("swp6"), SeenMode::Known(PortMode::Member { lag: "bond1".into() }));
    assert_eq!(*seen.mode("swp8"), SeenMode::Foreign("access VLAN 10; shut".into()));
    assert_eq!(*seen.mode("swp9s1"), trunk(0, &[]));
    assert_eq!(*seen.mode("swp10"), SeenMode::Foreign("has IP settings".into()));
    assert!(
        matches!(seen.mode("bond1"), SeenMode::Known(PortMode::Trunk { native: Some(native), tagged }) if native.get() == 1 && tagged.len() == 4093)
    );
    assert_eq!(seen.lags["bond1"], LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: false });
    assert_eq!(seen.lags["bond2"], LagSeen { protocol: Some(LagProtocol::Static), is_ours: true });
    let vnis: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.vni.map(Vni::get))).collect();
    assert_eq!(vnis, [(10, Some(10010)), (20, None), (21, Some(5021))]);
    assert!(!seen.ports.keys().any(|it| ["eth0", "lo", "vlan10", "swp11.5"].contains(&it.as_str())));
}

#[test]
fn names_in_ranges() {
    assert_eq!(expand("swp1-3,7,bond1"), ["swp1", "swp2", "swp3", "swp7", "bond1"]);
    assert_eq!(expand("swp1s0-1"), ["swp1s0", "swp1s1"]);
    assert_eq!(expand("swp9-1"), ["swp9-1"]);
    assert!(expand("swp1-99999999").len() < 2);
}

#[test]
fn what_is_no_configuration_is_an_error() {
    assert!(CumulusNvue.parse(&["Error: GET failed".into(), INTERFACES.into()], site()).is_err());
    assert!(CumulusNvue.parse(&[CONFIG.into(), "-bash: nv: command not found".into()], site()).is_err());
    assert!(CumulusNvue.parse(&[CONFIG.into()], site()).is_err());
}

#[test]
fn renders_exactly() {
    let seen = read(CONFIG);
    let changes = [
        Change::SetPort { port: "swp1".into(), mode: PortMode::Isolated, seen: seen.mode("swp1").clone() },
        Change::AddVlan { vlan: vlan(30), name: "cofferdam-x".into() },
        Change::MapVni { vlan: vlan(30), vni: Vni::new(10030).unwrap() },
        Change::AddLag { lag: "bond3".into(), protocol: LagProtocol::Lacp },
        Change::SetPort { port: "swp5".into(), mode: PortMode::Member { lag: "bond3".into() }, seen: seen.mode("swp5").clone() },
        Change::SetPort {
            port: "bond3".into(),
            mode: PortMode::Trunk { native: Some(vlan(30)), tagged: [vlan(10), vlan(11), vlan(12)].into() },
            seen: SeenMode::Absent,
        },
        Change::Uplink { port: "bond1".into(), add: [].into(), remove: [vlan(20)].into(), seen: trunk(1, &[10, 20]) },
        Change::Uplink { port: "bond2".into(), add: [vlan(30)].into(), remove: [].into(), seen: trunk(1, &[10, 20]) },
        Change::Describe { port: "swp1".into(), text: "cofferdam $HOME it's".into() },
        Change::UnmapVni { vlan: vlan(10), vni: Vni::new(10010).unwrap() },
        Change::RemoveVlan { vlan: vlan(10), name: None },
        Change::RemoveLag { lag: "bond2".into() },
    ];
    let lines = CumulusNvue.render(&changes, &seen, site()).unwrap();
    assert_eq!(
        lines,
        [
            "nv unset interface swp1 bridge",
            "nv set interface swp1 bridge domain br_default access 999",
            "nv set interface swp1 link state down",
            "nv set bridge domain br_default vlan 30",
            "nv set bridge domain br_default vlan 30 vni 10030",
            "nv set interface bond3 type bond",
            "nv set interface bond3 bond mode lacp",
            "nv set interface bond3 description cofferdam",
            "nv unset interface bond1 bond member swp5",
            "nv unset interface swp5 bridge",
            "nv set interface bond3 bond member swp5",
            "nv set interface swp5 link state up",
            "nv unset interface bond3 bridge",
            "nv set interface bond3 bridge domain br_default vlan 10-12,30",
            "nv set interface bond3 bridge domain br_default untagged 30",
            "nv set interface bond3 link state up",
            "nv unset interface bond1 bridge domain br_default vlan",
            "nv set interface bond1 bridge domain br_default vlan 1,10",
            "nv set interface bond2 bridge domain br_default vlan 30",
            "nv set interface swp1 description 'cofferdam $HOME it'\\''s'",
            "nv unset bridge domain br_default vlan 10 vni",
            "nv unset bridge domain br_default vlan 10",
            "nv unset interface bond2",
        ]
    );
    let evil = Change::SetPort { port: "swp1;reboot".into(), mode: PortMode::Isolated, seen: SeenMode::Absent };
    assert!(CumulusNvue.render(&[evil], &seen, site()).is_err());
}

/// A switch that does what lines say, and no more than that: lists are kept one number an entry, as NVUE does.
#[derive(Debug, Clone, Default)]
struct Device(Tree);

impl Device {
    fn apply(&mut self, line: &str) {
        let words = shell_words(line);
        let path = &words[2..];
        match words[1].as_str() {
            "set" => {
                let stem = &path[..path.len() - 1];
                let leaf = stem.last().map(String::as_str).unwrap_or_default();
                let last = path.last().unwrap();
                if let ("vlan", Some(list)) = (leaf, vlan_list(last)) {
                    list.iter().for_each(|it| self.0.set([stem, &[it.to_string()]].concat(), false));
                } else {
                    self.0.set(path.to_vec(), ["access", "untagged", "state", "mode", "type", "description", "vni"].contains(&leaf));
                }
            }
            "unset" => _ = self.0.delete(path),
            other => panic!("{other}"),
        }
    }

    fn text(&self) -> String {
        self.0.text("nv set").replace('"', "'")
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
        Just(PortMode::Member { lag: "bond7".into() }),
    ]
}

const BY_HAND: &[&str] = &[
    "nv set interface swp1 link state down",
    "nv set interface swp1 bridge domain br_default",
    "nv set interface swp1 bridge domain br_default vlan all",
    "nv set interface swp1 bridge domain br_default vlan 5-9",
    "nv set interface swp1 bridge domain br_default untagged 5",
    "nv set interface swp1 bridge domain br_default untagged none",
    "nv set interface swp1 bridge domain br_default access 6",
    "nv set interface swp1 bridge domain br_blue access 6",
    "nv set interface swp1 ip address 192.0.2.1/24",
    "nv set interface swp1 ip vrf BLUE",
    "nv set interface swp1.5 ip address 192.0.2.1/24",
    "nv set interface bond7 bond member swp1",
    "nv set interface bond8 bond member swp1",
    "nv set interface swp1 link mtu 9216",
];

proptest! {
    #[test]
    fn a_port_becomes_what_is_asked_from_any_state(
        by_hand in proptest::collection::vec(proptest::sample::select(BY_HAND), 0..8), modes in proptest::collection::vec(modes(), 1..4),
    ) {
        let mut device = Device::default();
        device.apply("nv set interface swp2 link mtu 1500");
        by_hand.iter().for_each(|it| device.apply(it));
        for mode in modes {
            let seen = read(&device.text());
            let change = Change::SetPort { port: "swp1".into(), mode: mode.clone(), seen: seen.mode("swp1").clone() };
            let lines = CumulusNvue.render(&[change], &seen, site()).unwrap();
            lines.iter().for_each(|it| device.apply(it));
            let after = read(&device.text());
            prop_assert_eq!(after.mode("swp1"), &SeenMode::Known(mode), "{:?}\n{}", lines, device.text());
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "(?s).{0,300}", lines in proptest::collection::vec(
        "nv set (interface|bridge domain) (swp1|br_default|bond1-|[a-z0-9,-]{1,12}) [ -~]{0,40}", 0..20)) {
        _ = CumulusNvue.parse(&[text.clone(), text.clone()], site());
        _ = CumulusNvue.parse(&[format!("{}\n{text}", lines.join("\n")), INTERFACES.to_owned()], site());
    }
}

#[test]
fn uplinks_keep_what_is_others() {
    let mut device = Device::default();
    device.apply("nv set interface swp1 bridge domain br_default untagged 1");
    device.apply("nv set interface swp1 bridge domain br_default vlan 10-12");
    let seen = read(&device.text());
    let change = |add: &[u16], remove: &[u16], seen: &SwitchSeen| Change::Uplink {
        port: "swp1".into(),
        add: add.iter().map(|it| vlan(*it)).collect(),
        remove: remove.iter().map(|it| vlan(*it)).collect(),
        seen: seen.mode("swp1").clone(),
    };
    for line in CumulusNvue.render(&[change(&[30], &[], &seen)], &seen, site()).unwrap() {
        device.apply(&line);
    }
    let seen = read(&device.text());
    assert_eq!(*seen.mode("swp1"), trunk(1, &[10, 11, 12, 30]));
    for line in CumulusNvue.render(&[change(&[], &[11], &seen)], &seen, site()).unwrap() {
        device.apply(&line);
    }
    assert_eq!(*read(&device.text()).mode("swp1"), trunk(1, &[10, 12, 30]));
}
