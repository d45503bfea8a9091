//! Cisco NX-OS.
//!
//! Source: Cisco Nexus 9000 Series NX-OS Interfaces Configuration Guide ("Configuring Layer 2 Interfaces", "Configuring Port Channels"),
//! VXLAN Configuration Guide ("Configuring VXLAN BGP EVPN"), Command Reference. Whether a port without lines is routed or switched is
//! `system default switchport`, which some releases do not show if it is as they were delivered; whether a switched one is shut is `system
//! default switchport shutdown`. Then both `shutdown` and `no shutdown` may be shown.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::blocks::{self, Block};
use super::interfaces::{self, Around, FACTS, Kind, Link, Os, group, port};
use super::switchport::{self, Spelling};
use super::{Dialect, Site};
use crate::switch::wanted::{Facts, VlanSeen, Vni};

/// Cisco NX-OS.
#[derive(Debug, Clone, Copy, Default)]
pub struct CiscoNxos;

/// A port joins with `force`: it takes over what the group carries instead of being refused for carrying something else.
const SPELLING: Spelling = Spelling { group: "port-channel", force: "force ", ..switchport::CISCO };

/// The tunnel interface, if the switch is not told another.
const VTEP: &str = "nve1";

impl Os for CiscoNxos {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['#', '>'],
        setup: &["terminal length 0", "terminal width 511"],
        enable: None,
        enter: &["configure terminal"],
        commit: &[],
        discard: &[],
        leave: &["end"],
        save: &["copy running-config startup-config"],
        answers: &[("(y/n)", "y"), ("[y/n]", "y")],
        refusals: &[
            "% invalid",
            "% incomplete",
            "% ambiguous",
            "% permission denied",
            "% cannot",
            "% error",
            "error:",
            "syntax error",
            "invalid range",
            "invalid vlan",
            "command failed",
            "command rejected",
            "configuration update aborted",
            "copy failed",
            "copy aborted",
        ],
        harmless: &["warning:", "portfast", "edge port type (portfast)"],
        commit_seconds: 120,
    };
    const FACTS: Facts = Facts { has_vni: true, ..FACTS };
    const SHOW: &'static [&'static str] = &["show running-config"];
    const SAVED: &'static [&'static str] = &["show startup-config"];
    const KINDS: &'static [Kind] = &[port("Ethernet", &["e"]), group("port-channel", &[])];
    const ODD: &'static [&'static str] = &[
        "switchport voice vlan",
        "switchport private-vlan",
        "switchport vlan mapping",
        "switchport trunk pruning",
        "switchport monitor",
        "switchport isolated",
    ];

    fn fresh(&self, blocks: &[Block<'_>]) -> (Link, Link) {
        let says = |line: &str| blocks.iter().any(|it| it.line == line);
        let of_a_port = |line: &str| {
            let mut ports = blocks.iter().filter(|it| it.line.starts_with("interface Ethernet"));
            ports.any(|it| it.inner.iter().any(|it| it.line == line))
        };
        // Only the opposite of the default is shown at a port.
        let switched = says("system default switchport")
            || (!says("no system default switchport") && (of_a_port("no switchport") || !of_a_port("switchport")));
        let fresh = Link { routed: !switched, ..Link::fresh() };
        (Link { shut: says("system default switchport shutdown"), ..fresh.clone() }, fresh)
    }

    fn line(&self, link: &mut Link, line: &str) {
        switchport::line::<Self>(&SPELLING, link, line);
    }

    fn vlans(&self, blocks: &[Block<'_>]) -> BTreeMap<VlanId, VlanSeen> {
        let mut vlans = interfaces::declared(blocks, "name");
        for block in blocks {
            let Some(list) = block.after("vlan").and_then(blocks::vlans) else { continue };
            let Some(vni) = block.inner_after("vn-segment").and_then(|it| it.parse().ok()).and_then(Vni::new) else { continue };
            if carries(blocks, vni) {
                for vlan in list {
                    vlans.entry(vlan).and_modify(|it| it.vni = Some(vni));
                }
            }
        }
        vlans
    }

    fn access(&self, out: &mut Vec<String>, vlan: VlanId, _around: &Around<'_>) {
        switchport::access(&SPELLING, out, vlan);
    }

    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        switchport::trunk(&SPELLING, out, native, tagged, around);
    }

    fn retag(&self, out: &mut Vec<String>, _native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
        switchport::retag(&SPELLING, out, add, remove);
    }

    fn without_native(&self, out: &mut Vec<String>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        switchport::without_native(&SPELLING, out, tagged, around);
    }

    fn make_switched(&self, out: &mut Vec<String>, _was_routed: bool) {
        out.push("switchport".to_owned());
    }

    fn join(&self, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
        switchport::alike(self, out, lag, around);
        switchport::join(&SPELLING, out, lag, around);
    }

    fn map(&self, out: &mut Vec<String>, vlan: VlanId, vni: Vni, around: &Around<'_>) -> Result<(), String> {
        around.overlay()?;
        let lines = [
            &format!("vlan {vlan}"),
            &format!("vn-segment {vni}"),
            "exit",
            &format!("interface {}", vtep(around.site)),
            &format!("member vni {vni}"),
            "ingress-replication protocol bgp",
            "exit",
            "exit",
            "evpn",
            &format!("vni {vni} l2"),
            "rd auto",
            "route-target both auto",
            "exit",
            "exit",
        ];
        out.extend(lines.map(str::to_owned));
        Ok(())
    }

    fn unmap(&self, out: &mut Vec<String>, vlan: VlanId, vni: Vni, around: &Around<'_>) -> Result<(), String> {
        around.overlay()?;
        let lines = [
            &format!("interface {}", vtep(around.site)),
            &format!("no member vni {vni}"),
            "exit",
            "evpn",
            &format!("no vni {vni} l2"),
            "exit",
            &format!("vlan {vlan}"),
            "no vn-segment",
            "exit",
        ];
        out.extend(lines.map(str::to_owned));
        Ok(())
    }
}

fn vtep(site: Site<'_>) -> &str {
    site.overlay.map(|it| it.vtep.as_str()).filter(|it| !it.is_empty()).unwrap_or(VTEP)
}

/// Whether frames in the VXLAN network leave the switch: it is a member of the tunnel, and either announced or flooded without that.
fn carries(blocks: &[Block<'_>], vni: Vni) -> bool {
    let members = blocks.iter().filter(|it| it.line.starts_with("interface nve")).flat_map(|it| &it.inner);
    let announced = || {
        let mut announced = blocks.iter().filter(|it| it.line == "evpn").flat_map(|it| &it.inner);
        announced.any(|it| it.after("vni").and_then(|it| it.split(' ').next()) == Some(&vni.to_string()))
    };
    let is_it = |list: &str| {
        let list = list.split(' ').next().unwrap_or_default();
        list.split(',').any(|it| {
            let (first, last) = it.split_once('-').unwrap_or((it, it));
            first.parse().is_ok_and(|first: u32| first <= vni.get()) && last.parse().is_ok_and(|last: u32| vni.get() <= last)
        })
    };
    let mut members = members.filter(|it| it.after("member vni").is_some_and(is_it));
    members.any(|it| !it.inner.iter().any(|it| it.line == "ingress-replication protocol bgp") && !it.inner.is_empty() || announced())
}

#[cfg(test)]
mod tests {
    use super::super::family_checks::*;
    use super::super::{Change, Family};
    use super::*;
    use crate::switch::Overlay;
    use crate::switch::wanted::{LagProtocol, PortMode, SeenMode, SwitchSeen};

    const CONFIG: &str = "\
!Command: show running-config
!Running configuration last done at: Sat Nov 21 20:00:00 2026
version 9.3(8) Bios:version
hostname leaf1
feature lacp
feature nv overlay
nv overlay evpn
vlan 1,10,20-21,4000
vlan 10
  name cofferdam-a
  vn-segment 10010
vlan 20
  vn-segment 10020
vlan 21
  name VLAN0021
  vn-segment 10021
no system default switchport shutdown
system default switchport

interface Vlan1

interface port-channel5
  description cofferdam [lacp]
  switchport mode trunk
  switchport trunk native vlan 10
  switchport trunk allowed vlan 10,20-21

interface nve1
  no shutdown
  source-interface loopback0
  host-reachability protocol bgp
  member vni 10010
    ingress-replication protocol bgp
  member vni 10020
    ingress-replication protocol bgp
  member vni 10021
    mcast-group 239.1.1.1

interface Ethernet1/1
  description cofferdam node-1
  switchport access vlan 10

interface Ethernet1/2
  switchport access vlan 4000
  shutdown

interface Ethernet1/3
  switchport mode trunk
  switchport trunk allowed vlan 20-21

interface Ethernet1/4
  switchport mode trunk
  switchport trunk native vlan 10
  switchport trunk allowed vlan 10,20-21
  channel-group 5 mode active

interface Ethernet1/5
  no switchport
  ip address 10.0.0.1/31
  no shutdown

interface Ethernet1/6
  switchport mode private-vlan host
  switchport private-vlan host-association 20 21

interface Ethernet1/7

interface Ethernet1/8.100
  encapsulation dot1q 100

interface mgmt0
  vrf member management
evpn
  vni 10010 l2
    rd auto
    route-target import auto
    route-target export auto
";

    #[test]
    fn a_configuration_is_read() {
        let seen = read(&CiscoNxos, CONFIG);
        let mode = |port: &str| seen.mode(port).clone();
        assert_eq!(mode("Ethernet1/1"), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode("Ethernet1/2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode("Ethernet1/3"), SeenMode::Known(PortMode::tagged([v(20), v(21)])));
        assert_eq!(mode("Ethernet1/4"), SeenMode::Known(PortMode::Member { lag: "port-channel5".to_owned() }));
        assert_eq!(mode("Ethernet1/5"), foreign("routed"));
        assert_eq!(mode("Ethernet1/6"), foreign("switchport mode private-vlan host; switchport private-vlan host-association 20 21"));
        assert_eq!(mode("Ethernet1/7"), SeenMode::Known(PortMode::Access(v(1))));
        assert_eq!(mode("port-channel5"), SeenMode::Known(PortMode::Trunk { native: Some(v(10)), tagged: [v(20), v(21)].into() }));
        assert_eq!(seen.ports.len(), 8);
        assert_eq!((seen.lags["port-channel5"].protocol, seen.lags["port-channel5"].is_ours), (Some(LagProtocol::Lacp), true));
        assert_eq!(seen.vlans[&v(10)].name.as_deref(), Some("cofferdam-a"));
        assert_eq!(seen.vlans[&v(21)].name, None);
        assert_eq!(seen.vlans[&v(10)].vni, Vni::new(10010));
        assert_eq!(seen.vlans[&v(20)].vni, None, "nobody announces it");
        assert_eq!(seen.vlans[&v(21)].vni, Vni::new(10021), "it is flooded");
    }

    #[test]
    fn what_a_port_without_lines_is() {
        let text = "interface Ethernet1/1\ninterface Ethernet1/2\n  switchport\n  switchport access vlan 5\n  no shutdown\n";
        assert_eq!(mode(&CiscoNxos, text, "Ethernet1/1"), foreign("routed"));
        assert_eq!(mode(&CiscoNxos, text, "Ethernet1/2"), SeenMode::Known(PortMode::Access(v(5))));
        let text = "system default switchport\ninterface Ethernet1/1\n  no switchport\n  switchport access vlan 5\n";
        assert_eq!(mode(&CiscoNxos, text, "Ethernet1/1"), foreign("routed"), "what it would carry does not count");
        let text = "system default switchport\nsystem default switchport shutdown\ninterface Ethernet1/1\ninterface Ethernet1/2\n  switchport access vlan \
                    4000\ninterface Ethernet1/3\n  no shutdown\n";
        assert_eq!(mode(&CiscoNxos, text, "Ethernet1/1"), foreign("access VLAN 1; shut"));
        assert_eq!(mode(&CiscoNxos, text, "Ethernet1/2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode(&CiscoNxos, text, "Ethernet1/3"), SeenMode::Known(PortMode::Access(v(1))));
    }

    #[test]
    fn changes_are_rendered() {
        let from = || SeenMode::Known(PortMode::Access(v(3)));
        assert_eq!(
            set(&CiscoNxos, "Ethernet1/1", PortMode::Isolated, SeenMode::Known(PortMode::Member { lag: "port-channel5".into() })).join("|"),
            "interface Ethernet1/1|shutdown|no channel-group|switchport|switchport trunk allowed vlan none|no switchport trunk native \
             vlan|switchport mode access|switchport access vlan 4000|exit"
        );
        assert_eq!(
            set(&CiscoNxos, "Ethernet1/1", PortMode::tagged([v(1), v(2)]), from()).join("|"),
            "interface Ethernet1/1|shutdown|switchport|switchport access vlan 4000|switchport trunk allowed vlan 1-2|switchport trunk \
             native vlan 3900|switchport mode trunk|no shutdown|exit"
        );
        assert_eq!(
            set(&CiscoNxos, "Ethernet1/1", PortMode::Member { lag: "port-channel5".into() }, from()).join("|"),
            "interface Ethernet1/1|shutdown|switchport|switchport trunk allowed vlan none|no switchport trunk native vlan|switchport mode \
             access|switchport access vlan 4000|channel-group 5 force mode active|no shutdown|exit"
        );
        let (overlay, seen) = (Overlay { vtep: "nve1".into(), bgp_as: 65001 }, SwitchSeen::default());
        let map = [
            Change::MapVni { vlan: v(30), vni: Vni::new(10030).unwrap() },
            Change::UnmapVni { vlan: v(10), vni: Vni::new(10010).unwrap() },
        ];
        assert_eq!(
            CiscoNxos.render(&map, &seen, Site { overlay: Some(&overlay), ..site() }).unwrap().join("|"),
            "vlan 30|vn-segment 10030|exit|interface nve1|member vni 10030|ingress-replication protocol bgp|exit|exit|evpn|vni 10030 l2|rd \
             auto|route-target both auto|exit|exit|interface nve1|no member vni 10010|exit|evpn|no vni 10010 l2|exit|vlan 10|no vn-segment|exit"
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&CiscoNxos, "Ethernet1/1", "port-channel5", indented);
        for (spelled, name) in [("Eth1/7", "Ethernet1/7"), ("e1/7/2", "Ethernet1/7/2"), ("Po5", "port-channel5"), ("mgmt0", "mgmt0")] {
            assert_eq!(CiscoNxos.port_name(spelled), name);
        }
        survives_garbage(&CiscoNxos);
    }
}
