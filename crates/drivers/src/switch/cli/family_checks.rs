//! What every family of interface blocks must hold, asked of each by its own tests.

use proptest::prelude::*;

use super::interfaces::Os;
use super::*;
use crate::switch::wanted::{LagProtocol, PortMode, SeenMode};

/// A VLAN.
pub(super) fn v(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// A switch whose isolation VLAN is 4000.
pub(super) fn site() -> Site<'static> {
    Site { isolation: v(4000), bridge: "", overlay: None }
}

/// Reads a configuration.
pub(super) fn read(family: &impl Family, text: &str) -> SwitchSeen {
    let seen = family.parse(&[text.to_owned(), String::new()], site()).unwrap();
    has_names(family, &seen);
    seen
}

/// What was read is called as it is called.
fn has_names(family: &impl Family, seen: &SwitchSeen) {
    for port in seen.ports.keys().chain(seen.lags.keys()) {
        assert_eq!(family.port_name(port), *port);
    }
}

/// The mode of a port in a configuration.
pub(super) fn mode(family: &impl Family, text: &str, port: &str) -> SeenMode {
    read(family, text).mode(port).clone()
}

/// What a port was not seen to be.
pub(super) fn foreign(text: &str) -> SeenMode {
    SeenMode::Foreign(text.to_owned())
}

/// The lines of one change on a switch that was seen like that.
pub(super) fn lines(family: &impl Family, change: Change, seen: &SwitchSeen) -> Vec<String> {
    family.render(&[change], seen, site()).unwrap()
}

/// The lines that make a port something else.
pub(super) fn set(family: &impl Family, port: &str, mode: PortMode, seen: SeenMode) -> Vec<String> {
    lines(family, Change::SetPort { port: port.to_owned(), mode, seen }, &SwitchSeen::default())
}

/// Some of every mode.
pub(super) fn modes(lag: &str) -> Vec<PortMode> {
    let trunk =
        |native: Option<u16>, tagged: &[u16]| PortMode::Trunk { native: native.map(v), tagged: tagged.iter().map(|it| v(*it)).collect() };
    vec![
        PortMode::Isolated,
        PortMode::Access(v(7)),
        PortMode::Access(v(1)),
        trunk(None, &[10, 11, 12, 20]),
        trunk(None, &[1, 5]),
        trunk(Some(5), &[6, 7]),
        trunk(Some(5), &[]),
        trunk(Some(1), &[6]),
        trunk(None, &(1..400).map(|it| it * 2).collect::<Vec<_>>()),
        PortMode::Member { lag: lag.to_owned() },
    ]
}

/// What the lines of a change come to in an interface that has none: `show` spells them as the configuration does.
pub(super) fn reads_back<T: Os>(os: &T, port: &str, lag: &str, show: impl Fn(&[String]) -> String) {
    for mode in modes(lag) {
        for seen in [SeenMode::Known(PortMode::Isolated), SeenMode::Known(PortMode::Access(v(9))), foreign("routed"), SeenMode::Absent] {
            let lines = set(os, port, mode.clone(), seen);
            let text = show(&lines);
            assert_eq!(self::mode(os, &text, port), SeenMode::Known(mode.clone()), "{text}");
        }
    }
    for protocol in [LagProtocol::Lacp, LagProtocol::Static] {
        let lines = lines(os, Change::AddLag { lag: lag.to_owned(), protocol }, &SwitchSeen::default());
        let text = show(&lines);
        let seen = read(os, &text);
        assert_eq!(seen.lags.get(lag).map(|it| (it.protocol, it.is_ours)), Some((Some(protocol), true)), "{text}");
        assert_eq!(seen.mode(lag), &SeenMode::Known(PortMode::Isolated), "{text}");
    }
}

/// Spells lines as the configuration does where it is the same: a block's lines indented, without the last one.
pub(super) fn indented(lines: &[String]) -> String {
    let mut out = String::new();
    let mut is_inside = false;
    for line in lines {
        if line == "exit" || line == "quit" {
            is_inside = false;
            out.push_str("!\n");
        } else if is_inside {
            out.push_str(&format!(" {line}\n"));
        } else {
            is_inside = true;
            out.push_str(&format!("{line}\n"));
        }
    }
    out
}

/// Words that configurations are made of, in any order.
const WORDS: &[&str] = &[
    "interface",
    "Ethernet1",
    "Ethernet1/1",
    "ethernet1/1/1",
    "GigabitEthernet1/0/1",
    "1/1/1",
    "Port-channel1",
    "lag 1",
    "vlan",
    "1-3,5",
    "1 to 3",
    "switchport",
    "trunk",
    "allowed",
    "access",
    "native",
    "mode",
    "none",
    "add",
    "remove",
    "except",
    "all",
    "no",
    "undo",
    "port",
    "link-type",
    "permit",
    "allow-pass",
    "pvid",
    "shutdown",
    "description",
    "channel-group",
    "eth-trunk",
    "Eth-Trunk1",
    "active",
    "vxlan",
    "vni",
    "4094",
    "4095",
    "0",
    "\n",
    "\n ",
    "\n  ",
    "!",
    "#",
    "banner",
    "^C",
    "\"",
    "é",
    "router bgp 1",
    "evpn",
    "member",
    "name",
    ",",
    "-",
];

/// Reads what is no configuration.
pub(super) fn survives_garbage(family: &impl Family) {
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() });
    let words = proptest::collection::vec(proptest::sample::select(WORDS), 0..60).prop_map(|it| it.join(" "));
    let text = prop_oneof![words, "\\PC{0,200}", "interface (Ethernet|ethernet |)1/1/1\n( \\PC{0,40}\n){0,6}"];
    runner
        .run(&(text.clone(), text), |(one, other)| {
            if let Ok(seen) = family.parse(&[one.clone(), other], site()) {
                has_names(family, &seen);
            }
            let _ = family.parse(&[], site());
            let _ = family.port_name(&one);
            Ok(())
        })
        .unwrap();
}
