//! Arista EOS.
//!
//! Source: Arista EOS User Manual, chapters "Data Transfer" (switchport), "VLANs", "Port Channels and LACP", "VXLAN" and "EVPN". A port
//! of which the configuration says nothing is an access port in VLAN 1, up; `switchport mode access` and VLAN 1 are not shown. `switchport
//! trunk native vlan tag` makes a trunk drop untagged frames.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::blocks::{self, Block};
use super::interfaces::{self, Around, FACTS, Kind, Link, Os, group, port};
use super::switchport::{self, Spelling};
use super::{Dialect, Site};
use crate::switch::wanted::{Facts, VlanSeen, Vni};

/// Arista EOS.
#[derive(Debug, Clone, Copy, Default)]
pub struct AristaEos;

const SPELLING: Spelling = Spelling { drop_untagged: Some("switchport trunk native vlan tag"), group: "Port-Channel", ..switchport::CISCO };

/// The tunnel interface, if the switch is not told another.
const VTEP: &str = "Vxlan1";

impl Os for AristaEos {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['#', '>'],
        setup: &["terminal length 0", "terminal width 32767"],
        enable: Some("enable"),
        enter: &["configure terminal"],
        commit: &[],
        discard: &[],
        leave: &["end"],
        save: &["copy running-config startup-config"],
        answers: &[],
        refusals: &[
            "% invalid",
            "% incomplete",
            "% ambiguous",
            "% unavailable command",
            "% not supported",
            "% error",
            "% cannot",
            "% unknown",
            "% authorization denied",
            "% permission denied",
            "% internal error",
            "is already mapped to",
            "% subinterface",
            "% vlan",
            "% interface",
        ],
        harmless: &["access vlan does not exist", "portfast should only be enabled", "! "],
        commit_seconds: 60,
    };
    const FACTS: Facts = Facts { has_vni: true, ..FACTS };
    const SHOW: &'static [&'static str] = &["show running-config"];
    const SAVED: &'static [&'static str] = &["show startup-config"];
    const KINDS: &'static [Kind] = &[port("Ethernet", &["e"]), group("Port-Channel", &[])];
    const ODD: &'static [&'static str] = &[
        "switchport phone vlan",
        "switchport trunk group",
        "switchport trunk private-vlan",
        "switchport pvlan",
        "switchport vlan translation",
        "switchport vlan mapping",
        "switchport vlan tag",
        "switchport vlan forwarding",
    ];

    fn fresh(&self, blocks: &[Block<'_>]) -> (Link, Link) {
        let routed = blocks.iter().any(|it| it.line == "switchport default mode routed");
        (Link { routed, ..Link::fresh() }, Link::fresh())
    }

    fn line(&self, link: &mut Link, line: &str) {
        switchport::line::<Self>(&SPELLING, link, line);
    }

    fn vlans(&self, blocks: &[Block<'_>]) -> BTreeMap<VlanId, VlanSeen> {
        let mut vlans = interfaces::declared(blocks, "name");
        let announced = announced(blocks);
        for tunnel in blocks.iter().filter(|it| it.line.starts_with("interface Vxlan")) {
            let lines = || tunnel.inner.iter().map(|it| it.line);
            let floods = lines().any(|it| it.starts_with("vxlan flood vtep") || it.starts_with("vxlan multicast-group"));
            for (list, rest) in lines().filter_map(|it| it.strip_prefix("vxlan vlan ")).filter_map(|it| it.split_once(" vni ")) {
                let list = list.strip_prefix("add ").unwrap_or(list);
                let (Some(mapped), Some(first)) = (blocks::vlans(list), rest.split([',', '-']).next()) else { continue };
                let Ok(first) = first.trim().parse::<u32>() else { continue };
                for (nth, vlan) in (0u32..).zip(mapped) {
                    let own = format!("vxlan vlan {vlan} flood vtep");
                    let Some(seen) = vlans.get_mut(&vlan) else { continue };
                    let vni = first.checked_add(nth).and_then(Vni::new);
                    // Nobody hears of a VLAN that is not announced, unless it is flooded to those named by hand: then it is half a map.
                    let is_whole = floods || announced.contains(&vlan) || lines().any(|it| it.starts_with(&own));
                    *(if is_whole { &mut seen.vni } else { &mut seen.half }) = vni;
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
        // What a member's own lines say counts only after it left the group.
        self.access(out, around.site.isolation, around);
        switchport::join(&SPELLING, out, lag, around);
    }

    fn map(&self, out: &mut Vec<String>, vlan: VlanId, vni: Vni, around: &Around<'_>) -> Result<(), String> {
        let overlay = around.overlay()?;
        let asn = overlay.bgp_as;
        out.extend([
            format!("interface {}", vtep(around.site)),
            format!("vxlan vlan {vlan} vni {vni}"),
            "exit".to_owned(),
            format!("router bgp {asn}"),
            format!("vlan {vlan}"),
            "rd auto".to_owned(),
            format!("route-target import auto {asn}"),
            format!("route-target export auto {asn}"),
            "redistribute learned".to_owned(),
            "exit".to_owned(),
            "exit".to_owned(),
        ]);
        Ok(())
    }

    fn unmap(&self, out: &mut Vec<String>, vlan: VlanId, vni: Vni, around: &Around<'_>) -> Result<(), String> {
        let asn = around.overlay()?.bgp_as;
        // What has the number goes last: as long as it is there, a removal that broke off is seen.
        out.extend([
            format!("router bgp {asn}"),
            format!("no vlan {vlan}"),
            "exit".to_owned(),
            format!("interface {}", vtep(around.site)),
            format!("no vxlan vlan {vlan} vni {vni}"),
            "exit".to_owned(),
        ]);
        Ok(())
    }
}

fn vtep(site: Site<'_>) -> &str {
    site.overlay.map(|it| it.vtep.as_str()).filter(|it| !it.is_empty()).unwrap_or(VTEP)
}

/// The VLANs that BGP announces, alone or in a bundle.
fn announced(blocks: &[Block<'_>]) -> BTreeSet<VlanId> {
    let mut out = BTreeSet::new();
    for block in blocks.iter().filter(|it| it.line.starts_with("router bgp ")).flat_map(|it| &it.inner) {
        let list = block.after("vlan").or_else(|| block.after("vlan-aware-bundle").and_then(|_| block.inner_after("vlan")));
        out.extend(list.and_then(blocks::vlans).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::family_checks::*;
    use super::super::{Change, Family};
    use super::*;
    use crate::switch::Overlay;
    use crate::switch::wanted::{LagProtocol, PortMode, SeenMode, SwitchSeen};

    const CONFIG: &str = "\
! Command: show running-config
! device: leaf1 (vEOS-lab, EOS-4.31.2F)
!
hostname leaf1
!
vlan 10
   name cofferdam-a
!
vlan 20-21
!
vlan 4000
   name cofferdam-isolation
!
interface Port-Channel5
   description cofferdam pair [static]
   switchport trunk native vlan 10
   switchport trunk allowed vlan 10,20-21
   switchport mode trunk
!
interface Port-Channel6
   description uplink
!
interface Ethernet1
   description cofferdam node-1
   switchport access vlan 10
!
interface Ethernet2
   shutdown
   switchport access vlan 4000
!
interface Ethernet3
   switchport trunk native vlan tag
   switchport trunk allowed vlan 20-21
   switchport mode trunk
!
interface Ethernet4
   channel-group 6 mode active
!
interface Ethernet5
   no switchport
   ip address 10.0.0.1/31
!
interface Ethernet6
   switchport access vlan 20
   switchport phone vlan 21
!
interface Ethernet7
   switchport mode dot1q-tunnel
   switchport access vlan 20
!
interface Ethernet8
   switchport mode trunk
!
interface Ethernet9
   shutdown
   switchport access vlan 10
!
interface Ethernet10/1
!
interface Loopback0
   ip address 10.1.1.1/32
!
interface Management1
   ip address 192.0.2.1/24
!
interface Vlan10
   ip address 10.10.0.1/24
!
interface Vxlan1
   vxlan source-interface Loopback0
   vxlan udp-port 4789
   vxlan vlan 10 vni 10010
   vxlan vlan 20-21 vni 10020-10021
!
router bgp 65001
   router-id 10.1.1.1
   !
   vlan 10
      rd auto
      route-target import auto 65001
      route-target export auto 65001
      redistribute learned
   !
   vlan-aware-bundle more
      rd auto
      vlan 21
!
end
";

    #[test]
    fn a_configuration_is_read() {
        let seen = read(&AristaEos, CONFIG);
        let mode = |port: &str| seen.mode(port).clone();
        assert_eq!(mode("Ethernet1"), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode("Ethernet2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode("Ethernet3"), SeenMode::Known(PortMode::tagged([v(20), v(21)])));
        assert_eq!(mode("Ethernet4"), SeenMode::Known(PortMode::Member { lag: "Port-Channel6".to_owned() }));
        assert_eq!(mode("Ethernet5"), foreign("routed"));
        assert_eq!(mode("Ethernet6"), foreign("access VLAN 20; switchport phone vlan 21"));
        assert_eq!(mode("Ethernet7"), foreign("switchport mode dot1q-tunnel"));
        assert_eq!(mode("Ethernet9"), foreign("access VLAN 10; shut"));
        assert_eq!(mode("Ethernet10/1"), SeenMode::Known(PortMode::Access(v(1))));
        let SeenMode::Known(PortMode::Trunk { native, tagged }) = mode("Ethernet8") else { panic!("{:?}", mode("Ethernet8")) };
        assert_eq!((native, tagged.len()), (Some(v(1)), 4093));
        assert_eq!(mode("Port-Channel5"), SeenMode::Known(PortMode::Trunk { native: Some(v(10)), tagged: [v(20), v(21)].into() }));
        assert_eq!(seen.ports.len(), 12);
        assert_eq!(seen.ports["Port-Channel5"].description, "cofferdam pair");
        assert_eq!((seen.lags["Port-Channel5"].protocol, seen.lags["Port-Channel5"].is_ours), (Some(LagProtocol::Static), true));
        assert_eq!((seen.lags["Port-Channel6"].protocol, seen.lags["Port-Channel6"].is_ours), (Some(LagProtocol::Lacp), false));
        assert_eq!(seen.vlans.keys().map(|it| it.get()).collect::<Vec<_>>(), [10, 20, 21, 4000]);
        assert_eq!(seen.vlans[&v(10)].name.as_deref(), Some("cofferdam-a"));
        assert_eq!(seen.vlans[&v(10)].vni, Vni::new(10010));
        assert_eq!(seen.vlans[&v(20)].vni, None, "nobody announces it");
        assert_eq!(seen.vlans[&v(21)].vni, Vni::new(10021));
        assert_eq!(seen.carried.iter().map(|it| it.get()).collect::<Vec<_>>(), [20, 21]);
    }

    #[test]
    fn ports_are_rebuilt_while_they_are_shut() {
        let from = || SeenMode::Known(PortMode::Access(v(3)));
        assert_eq!(
            set(&AristaEos, "Ethernet1", PortMode::Isolated, from()).join("|"),
            "interface Ethernet1|shutdown|switchport|switchport trunk allowed vlan none|no switchport trunk native vlan|switchport mode \
             access|switchport access vlan 4000|exit"
        );
        assert_eq!(
            set(
                &AristaEos,
                "Ethernet1",
                PortMode::Trunk { native: Some(v(5)), tagged: [v(6)].into() },
                foreign("member of Port-Channel3; shut")
            )
            .join("|"),
            "interface Ethernet1|shutdown|no channel-group|switchport|switchport access vlan 4000|switchport trunk allowed vlan \
             5-6|switchport trunk native vlan 5|switchport mode trunk|no shutdown|exit"
        );
        assert_eq!(
            set(&AristaEos, "Ethernet1", PortMode::Access(v(5)), foreign("access VLAN 20; switchport phone vlan 21")).join("|"),
            "interface Ethernet1|shutdown|switchport|no switchport phone vlan 21|switchport trunk allowed vlan none|no switchport trunk \
             native vlan|switchport mode access|switchport access vlan 5|no shutdown|exit"
        );
    }

    #[test]
    fn a_trunk_gains_and_loses_vlans_while_it_is_up() {
        let trunk = |ids: &[u16]| PortMode::tagged(ids.iter().map(|it| v(*it)));
        assert_eq!(
            set(&AristaEos, "Ethernet1", trunk(&[10, 11, 12]), SeenMode::Known(trunk(&[9, 10]))).join("|"),
            "interface Ethernet1|switchport trunk native vlan tag|switchport trunk allowed vlan remove 9|switchport trunk allowed vlan add 11-12|no shutdown|exit"
        );
        let uplink =
            Change::Uplink { port: "Ethernet1".into(), add: [v(5)].into(), remove: [v(9)].into(), seen: SeenMode::Known(trunk(&[9])) };
        assert_eq!(
            lines(&AristaEos, uplink, &SwitchSeen::default()).join("|"),
            "interface Ethernet1|switchport trunk allowed vlan remove 9|switchport trunk allowed vlan add 5|exit"
        );
    }

    #[test]
    fn groups_vlans_and_mappings() {
        let seen = read(&AristaEos, CONFIG);
        let change = Change::AddLag { lag: "Port-Channel6".into(), protocol: LagProtocol::Static };
        assert_eq!(
            lines(&AristaEos, change, &seen).join("|"),
            "interface Ethernet4|shutdown|no channel-group|exit|interface Port-Channel6|description cofferdam [static]|exit|interface \
             Ethernet4|switchport trunk allowed vlan none|no switchport trunk native vlan|switchport mode access|switchport access vlan \
             4000|channel-group 6 mode on|no shutdown|exit"
        );
        let rest = [
            Change::RemoveLag { lag: "Port-Channel5".into() },
            Change::AddVlan { vlan: v(30), name: "cofferdam-b".into() },
            Change::RemoveVlan { vlan: v(31), name: None },
            Change::Describe { port: "Ethernet1".into(), text: "cofferdam x?".into() },
        ];
        assert_eq!(
            AristaEos.render(&rest, &seen, site()).unwrap().join("|"),
            "no interface Port-Channel5|vlan 30|name cofferdam-b|exit|no vlan 31|interface Ethernet1|description cofferdam x.|exit"
        );
        let map = [
            Change::MapVni { vlan: v(30), vni: Vni::new(10030).unwrap() },
            Change::UnmapVni { vlan: v(10), vni: Vni::new(10010).unwrap() },
        ];
        assert!(AristaEos.render(&map, &seen, site()).is_err());
        let overlay = Overlay { vtep: String::new(), bgp_as: 65001 };
        let site = Site { overlay: Some(&overlay), ..site() };
        assert_eq!(
            AristaEos.render(&map, &seen, site).unwrap().join("|"),
            "interface Vxlan1|vxlan vlan 30 vni 10030|exit|router bgp 65001|vlan 30|rd auto|route-target import auto 65001|route-target export \
             auto 65001|redistribute learned|exit|exit|router bgp 65001|no vlan 10|exit|interface Vxlan1|no vxlan vlan 10 vni 10010|exit"
        );
    }

    #[test]
    fn half_a_map_is_no_map_and_not_nothing() {
        let overlay = Overlay { vtep: String::new(), bgp_as: 65001 };
        let seen = AristaEos.parse(&[CONFIG.to_owned()], Site { overlay: Some(&overlay), ..site() }).unwrap();
        assert_eq!((seen.vlans[&v(20)].vni, seen.vlans[&v(20)].half), (None, Vni::new(10020)));
        assert_eq!((seen.vlans[&v(21)].vni, seen.vlans[&v(21)].half), (Vni::new(10021), None));
        let others = CONFIG.replace("vlan 20-21", "vlan 20-21\n   name printers");
        let seen = AristaEos.parse(&[others], Site { overlay: Some(&overlay), ..site() }).unwrap();
        assert!(seen.has_vlan(v(20)), "whoever's it is");
        assert_eq!(read(&AristaEos, CONFIG).vlans[&v(20)].half, None, "where no overlay is declared maps are not ours");
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&AristaEos, "Ethernet1", "Port-Channel5", indented);
    }

    #[test]
    fn names_and_garbage() {
        for (spelled, name) in
            [("Et7", "Ethernet7"), ("ethernet 7/1", "Ethernet7/1"), ("po5", "Port-Channel5"), ("Management1", "Management1")]
        {
            assert_eq!(AristaEos.port_name(spelled), name);
        }
        assert_eq!(AristaEos.parse(&["% Invalid input".to_owned()], site()).ok(), None);
        assert_eq!(AristaEos.parse(&[String::new()], site()), Ok(SwitchSeen::default()));
        survives_garbage(&AristaEos);
    }
}
