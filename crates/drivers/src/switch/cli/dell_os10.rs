//! Dell SmartFabric OS10.
//!
//! Source: Dell SmartFabric OS10 User Guide, chapters "Interfaces" (access mode, trunk mode), "Link Aggregation Control Protocol",
//! "Virtual LANs". VLANs are interfaces, so their names are descriptions. On a trunk the access VLAN is the one of untagged frames; it must
//! not be in the list of the tagged ones, and `no switchport access vlan` takes it away, so that untagged frames are dropped
//! (what the guide leaves open is shown on real switches: ipspace/netlab issue 1866, pull request 1869). Lists are added to and taken
//! from by name. A member of a group has `no switchport`.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::Dialect;
use super::blocks::{self, Block, after};
use super::interfaces::{Around, Kind, Link, Mode, Os, group, own_name, port};
use super::switchport::{self, CISCO, Spelling};
use crate::switch::wanted::VlanSeen;

/// Dell SmartFabric OS10.
#[derive(Debug, Clone, Copy, Default)]
pub struct DellOs10;

const SPELLING: Spelling = Spelling { group: "port-channel", ..CISCO };

/// The list of a trunk's VLANs.
const ALLOWED: &str = "switchport trunk allowed vlan";

impl Os for DellOs10 {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['#', '>'],
        setup: &["terminal length 0"],
        enable: None,
        enter: &["configure terminal"],
        commit: &[],
        discard: &[],
        leave: &["end"],
        save: &["copy running-configuration startup-configuration"],
        answers: &[("[confirm yes/no]", "yes"), ("[yes/no]", "yes")],
        refusals: &["% error", "%error", "error:", "% invalid", "% unrecognized", "% incomplete", "% ambiguous", "% illegal", "% unknown"],
        harmless: &["warning"],
        commit_seconds: 60,
    };
    const SHOW: &'static [&'static str] = &["show running-configuration"];
    const SAVED: &'static [&'static str] = &["show startup-configuration"];
    const KINDS: &'static [Kind] = &[port("ethernet", &["e"]), group("port-channel", &[])];
    const ODD: &'static [&'static str] = &[ALLOWED, "switchport voice vlan", "switchport private-vlan", "switchport port-security vlan"];
    const TRUNK_STAYS: bool = true;

    fn fresh(&self, _blocks: &[Block<'_>]) -> (Link, Link) {
        let fresh = Link { native: None, native_counts: true, allowed: Some(BTreeSet::new()), ..Link::fresh() };
        (fresh.clone(), fresh)
    }

    fn line(&self, link: &mut Link, line: &str) {
        if let Some(list) = after(line, ALLOWED) {
            // What cannot be read is taken for the worst.
            let named = blocks::vlans(list).unwrap_or_else(blocks::all_vlans);
            link.allowed.get_or_insert_default().extend(named);
            link.residue.push(line.to_owned());
        } else if let Some(vlan) = after(line, "switchport access vlan").and_then(blocks::vlan) {
            (link.access, link.native) = (Some(vlan), Some(vlan));
        } else {
            if let Some(mode) = after(line, "switchport mode") {
                link.routed = false;
                link.mode = if mode == "trunk" { Mode::Trunk } else { Mode::Access };
            }
            switchport::line::<Self>(&SPELLING, link, line);
        }
    }

    fn vlans(&self, blocks: &[Block<'_>]) -> BTreeMap<VlanId, VlanSeen> {
        let mut out = BTreeMap::new();
        for block in blocks {
            let Some(vlan) = block.line.strip_prefix("interface vlan").and_then(blocks::vlan) else { continue };
            let name = block.inner_after("description").or_else(|| block.inner_after("vlan-name"));
            out.insert(vlan, VlanSeen { name: name.and_then(|it| own_name(vlan, it)), running: true, ..VlanSeen::default() });
        }
        out
    }

    fn description(&self, text: &str) -> String {
        format!("description \"{text}\"")
    }

    fn access(&self, out: &mut Vec<String>, vlan: VlanId, _around: &Around<'_>) {
        out.extend(["switchport mode access".to_owned(), format!("switchport access vlan {vlan}")]);
    }

    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, _around: &Around<'_>) {
        out.push("switchport mode trunk".to_owned());
        out.push(match native {
            Some(native) => format!("switchport access vlan {native}"),
            None => "no switchport access vlan".to_owned(),
        });
        self.retag(out, native, tagged, &BTreeSet::new());
    }

    fn retag(&self, out: &mut Vec<String>, _native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
        out.extend(blocks::with_commas(remove).iter().map(|it| format!("no {ALLOWED} {it}")));
        out.extend(blocks::with_commas(add).iter().map(|it| format!("{ALLOWED} {it}")));
    }

    fn make_switched(&self, _out: &mut Vec<String>, _was_routed: bool) {
        // `switchport mode`, which follows, does.
    }

    fn join(&self, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
        out.push("no switchport".to_owned());
        switchport::join(&SPELLING, out, lag, around);
    }

    fn declare(&self, out: &mut Vec<String>, vlan: VlanId, name: &str) {
        out.extend([format!("interface vlan {vlan}"), format!("description {name}"), "exit".to_owned()]);
    }

    fn undeclare(&self, out: &mut Vec<String>, vlan: VlanId) {
        out.push(format!("no interface vlan {vlan}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::family_checks::*;
    use super::super::{Change, Family};
    use super::*;
    use crate::switch::wanted::{LagProtocol, PortMode, SeenMode, SwitchSeen};

    const CONFIG: &str = "\
! Version 10.5.4.1
! Last configuration change at Nov 21 20:00:00 2026
!
hostname leaf1
interface breakout 1/1/25 map 100g-1x
iscsi target port 860
!
interface vlan1
 no shutdown
!
interface vlan10
 description cofferdam-a
 no shutdown
!
interface vlan4000
 no shutdown
!
interface port-channel5
 description \"cofferdam pair [lacp]\"
 no shutdown
 switchport mode trunk
 switchport access vlan 10
 switchport trunk allowed vlan 20-21
!
interface mgmt1/1/1
 no shutdown
 ip address 192.0.2.1/24
!
interface ethernet1/1/1
 description \"cofferdam node 1\"
 no shutdown
 switchport access vlan 10
 flowcontrol receive off
!
interface ethernet1/1/2
 shutdown
 switchport access vlan 4000
!
interface ethernet1/1/3
 no shutdown
 switchport mode trunk
 switchport trunk allowed vlan 20-21,30
!
interface ethernet1/1/4
 no shutdown
 channel-group 5 mode active
 no switchport
!
interface ethernet1/1/5
 no shutdown
 no switchport
 ip address 10.0.0.1/31
!
interface ethernet1/1/6
 shutdown
 switchport mode trunk
 switchport access vlan 1
 switchport trunk allowed vlan 20
!
interface ethernet1/1/7:1
 no shutdown
 switchport access vlan 1
!
";

    #[test]
    fn a_configuration_is_read() {
        let seen = read(&DellOs10, CONFIG);
        let mode = |port: &str| seen.mode(port).clone();
        assert_eq!(mode("ethernet1/1/1"), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode("ethernet1/1/2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode("ethernet1/1/3"), SeenMode::Known(PortMode::tagged([v(20), v(21), v(30)])));
        assert_eq!(mode("ethernet1/1/4"), SeenMode::Known(PortMode::Member { lag: "port-channel5".to_owned() }));
        assert_eq!(mode("ethernet1/1/5"), foreign("routed"));
        assert_eq!(mode("ethernet1/1/6"), foreign("trunk of VLANs 20, native 1; switchport trunk allowed vlan 20; shut"));
        assert_eq!(mode("ethernet1/1/7:1"), SeenMode::Known(PortMode::Access(v(1))));
        assert_eq!(mode("port-channel5"), SeenMode::Known(PortMode::Trunk { native: Some(v(10)), tagged: [v(20), v(21)].into() }));
        assert_eq!(seen.ports.len(), 8);
        assert_eq!(seen.ports["port-channel5"].description, "cofferdam pair");
        assert_eq!((seen.lags["port-channel5"].protocol, seen.lags["port-channel5"].is_ours), (Some(LagProtocol::Lacp), true));
        assert_eq!(seen.vlans.keys().map(|it| it.get()).collect::<Vec<_>>(), [1, 10, 4000]);
        assert_eq!(seen.vlans[&v(10)].name.as_deref(), Some("cofferdam-a"));
    }

    #[test]
    fn changes_are_rendered() {
        let trunk = |ids: &[u16]| PortMode::tagged(ids.iter().map(|it| v(*it)));
        assert_eq!(
            set(&DellOs10, "ethernet1/1/1", PortMode::Isolated, SeenMode::Known(trunk(&[5, 6]))).join("|"),
            "interface ethernet1/1/1|shutdown|no switchport trunk allowed vlan 5-6|switchport mode access|switchport access vlan 4000|exit"
        );
        assert_eq!(
            set(&DellOs10, "ethernet1/1/1", trunk(&[7]), foreign("trunk of VLANs 20, native 1; switchport trunk allowed vlan 20; shut"))
                .join("|"),
            "interface ethernet1/1/1|shutdown|no switchport trunk allowed vlan 20|switchport mode trunk|no switchport access vlan|switchport \
             trunk allowed vlan 7|no shutdown|exit"
        );
        assert_eq!(
            set(&DellOs10, "ethernet1/1/1", trunk(&[7]), SeenMode::Known(trunk(&[5]))).join("|"),
            "interface ethernet1/1/1|no switchport trunk allowed vlan 5|switchport trunk allowed vlan 7|no shutdown|exit"
        );
        assert_eq!(
            set(&DellOs10, "ethernet1/1/1", PortMode::Member { lag: "port-channel5".into() }, SeenMode::Known(PortMode::Isolated))
                .join("|"),
            "interface ethernet1/1/1|shutdown|no switchport|channel-group 5 mode active|no shutdown|exit"
        );
        let rest = [Change::AddVlan { vlan: v(30), name: "cofferdam-b".into() }, Change::RemoveVlan { vlan: v(31), name: None }];
        assert_eq!(
            DellOs10.render(&rest, &SwitchSeen::default(), site()).unwrap().join("|"),
            "interface vlan 30|description cofferdam-b|exit|no interface vlan 31"
        );
        let first = [
            Change::SetPort { port: "ethernet1/1/1".into(), mode: PortMode::Isolated, seen: SeenMode::Known(PortMode::Access(v(1))) },
            Change::AddVlan { vlan: v(4000), name: "cofferdam-isolation".into() },
        ];
        let lines = DellOs10.render(&first, &SwitchSeen::default(), site()).unwrap();
        assert_eq!(lines.first().map(String::as_str), Some("interface vlan 4000"), "no port goes into a VLAN that is not there");
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&DellOs10, "ethernet1/1/1", "port-channel5", indented);
        for (spelled, name) in [("Eth 1/1/7", "ethernet1/1/7"), ("ethernet1/1/7:1", "ethernet1/1/7:1"), ("Po5", "port-channel5")] {
            assert_eq!(DellOs10.port_name(spelled), name);
        }
        survives_garbage(&DellOs10);
    }
}
