//! Cisco IOS and IOS XE on Catalyst switches.
//!
//! Source: Cisco IOS LAN Switching Command Reference; Catalyst 9300 Layer 2 and VLAN Configuration Guides; Catalyst 2960-X EtherChannel
//! guide. `no shutdown`, VLAN 1 and the default mode are not shown; the default mode negotiates (DTP) whether the port is a trunk, so a
//! port without `switchport mode` is none of our modes. VLANs are in the configuration only if VTP is transparent or off, and in
//! `vlan.dat`, which outlasts a restart, otherwise. Members of a group must be configured alike, and take over what is then configured on
//! the group. Ports that also know ISL (Catalyst 3560, 3750) must have been set to `switchport trunk encapsulation dot1q` beforehand; they
//! refuse to become trunks otherwise.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::Dialect;
use super::blocks::{self, Block};
use super::interfaces::{Around, Kind, Link, Mode, Os, group, own_name, port};
use super::switchport::{self, CISCO};
use crate::switch::wanted::VlanSeen;

/// Cisco IOS and IOS XE.
#[derive(Debug, Clone, Copy, Default)]
pub struct CiscoIos;

impl Os for CiscoIos {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['#', '>'],
        setup: &["terminal length 0", "terminal width 511"],
        enable: Some("enable"),
        enter: &["configure terminal"],
        commit: &[],
        discard: &[],
        leave: &["end"],
        save: &["write memory"],
        answers: &[("[confirm]", ""), ("destination filename", "")],
        refusals: &[
            "% invalid",
            "% incomplete",
            "% ambiguous",
            "% unknown command",
            "% unrecognized",
            "% bad ",
            "% error",
            "%error",
            "% cannot",
            "% not allowed",
            "% authorization failed",
            "% failed",
            "command rejected",
            "command authorization failed",
            "bad vlan",
            "configuration not allowed",
            "may not be deleted",
            "startup-config file open failed",
        ],
        harmless: &["access vlan does not exist", "portfast", "warning:"],
        commit_seconds: 60,
    };
    const SHOW: &'static [&'static str] = &["show running-config", "show vlan brief"];
    const SAVED: &'static [&'static str] = &["show startup-config", "show vlan brief"];
    const KINDS: &'static [Kind] = &[
        port("GigabitEthernet", &["g"]),
        port("FastEthernet", &["f"]),
        port("TenGigabitEthernet", &["t"]),
        port("TwoGigabitEthernet", &[]),
        port("FiveGigabitEthernet", &[]),
        port("TwentyFiveGigE", &["twentyfivegigabitethernet"]),
        port("FortyGigabitEthernet", &[]),
        port("HundredGigE", &["hundredgigabitethernet"]),
        port("FourHundredGigE", &[]),
        port("Ethernet", &["e"]),
        group("Port-channel", &[]),
    ];
    const ODD: &'static [&'static str] = &[
        "switchport voice vlan",
        "switchport private-vlan",
        "switchport access vlan dynamic",
        "switchport vlan mapping",
        "switchport dot1q ethertype",
        "l2protocol-tunnel",
        "service instance",
    ];

    fn fresh(&self, _blocks: &[Block<'_>]) -> (Link, Link) {
        let fresh = Link { mode: Mode::Other("negotiates its mode (DTP)".to_owned()), ..Link::fresh() };
        (fresh.clone(), fresh)
    }

    fn line(&self, link: &mut Link, line: &str) {
        let is_management = |it: &str| it.to_lowercase().starts_with("mgmt");
        link.hidden |= line.strip_prefix("vrf forwarding ").is_some_and(is_management);
        switchport::line::<Self>(&CISCO, link, line);
    }

    fn others(&self, answers: &[String], links: &mut BTreeMap<String, Link>, blocks: &[Block<'_>], vlans: &mut BTreeMap<VlanId, VlanSeen>) {
        // The port of a switch that has no slot before it is for management.
        links.retain(|name, _| name.contains('/') || name.starts_with("Port-channel"));
        if blocks.iter().any(|it| ["vtp mode transparent", "vtp mode off"].contains(&it.line)) {
            return;
        }
        for line in answers.get(1).iter().flat_map(|it| it.lines()) {
            let mut words = line.split_whitespace();
            let (Some(vlan), Some(name), Some(_status)) = (words.next().and_then(blocks::vlan), words.next(), words.next()) else {
                continue;
            };
            if line.starts_with(|it: char| it.is_ascii_digit()) {
                vlans.entry(vlan).or_insert_with(|| VlanSeen { name: own_name(vlan, name), running: true, ..VlanSeen::default() });
            }
        }
    }

    fn access(&self, out: &mut Vec<String>, vlan: VlanId, _around: &Around<'_>) {
        switchport::access(&CISCO, out, vlan);
    }

    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        switchport::trunk(&CISCO, out, native, tagged, around);
    }

    fn retag(&self, out: &mut Vec<String>, _native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
        switchport::retag(&CISCO, out, add, remove);
    }

    fn without_native(&self, out: &mut Vec<String>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        switchport::without_native(&CISCO, out, tagged, around);
    }

    fn make_switched(&self, out: &mut Vec<String>, was_routed: bool) {
        // Switches that cannot route do not know the line.
        if was_routed {
            out.push("switchport".to_owned());
        }
    }

    fn join(&self, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
        switchport::alike(self, out, lag, around);
        switchport::join(&CISCO, out, lag, around);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Family;
    use super::super::family_checks::*;
    use super::*;
    use crate::switch::wanted::{LagProtocol, PortMode, SeenMode};

    const CONFIG: &str = "\
Building configuration...

Current configuration : 3421 bytes
!
version 17.6
hostname leaf1
!
vlan 10
 name cofferdam-a
!
vlan 20,21
!
interface Port-channel5
 description cofferdam pair [lacp]
 switchport trunk native vlan 10
 switchport trunk allowed vlan 10,20,21
 switchport mode trunk
!
interface GigabitEthernet0/0
 vrf forwarding Mgmt-vrf
 ip address 192.0.2.1 255.255.255.0
!
interface FastEthernet0
 no ip address
!
interface GigabitEthernet1/0/1
 description cofferdam node-1
 switchport access vlan 10
 switchport mode access
 spanning-tree portfast
!
interface GigabitEthernet1/0/2
 switchport access vlan 4000
 switchport mode access
 shutdown
!
interface GigabitEthernet1/0/3
 switchport trunk allowed vlan 20,21
 switchport trunk allowed vlan add 30
 switchport mode trunk
!
interface GigabitEthernet1/0/4
 switchport mode trunk
 channel-group 5 mode active
!
interface GigabitEthernet1/0/5
 no switchport
 ip address 10.0.0.1 255.255.255.254
!
interface GigabitEthernet1/0/6
 switchport access vlan 20
 switchport mode access
 switchport voice vlan 21
!
interface GigabitEthernet1/0/7
 switchport mode dot1q-tunnel
!
interface TenGigabitEthernet1/1/1
 switchport private-vlan host-association 20 21
 switchport mode private-vlan host
!
interface TenGigabitEthernet1/1/2
!
interface Vlan1
 no ip address
 shutdown
!
end
";

    #[test]
    fn a_configuration_is_read() {
        let seen = read(&CiscoIos, CONFIG);
        let mode = |port: &str| seen.mode(port).clone();
        assert_eq!(mode("GigabitEthernet1/0/1"), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode("GigabitEthernet1/0/2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode("GigabitEthernet1/0/3"), SeenMode::Known(PortMode::tagged([v(20), v(21), v(30)])));
        assert_eq!(mode("GigabitEthernet1/0/4"), SeenMode::Known(PortMode::Member { lag: "Port-channel5".to_owned() }));
        assert_eq!(mode("GigabitEthernet1/0/5"), foreign("routed"));
        assert_eq!(mode("GigabitEthernet1/0/6"), foreign("access VLAN 20; switchport voice vlan 21"));
        assert_eq!(mode("GigabitEthernet1/0/7"), foreign("switchport mode dot1q-tunnel"));
        assert_eq!(
            mode("TenGigabitEthernet1/1/1"),
            foreign("switchport mode private-vlan host; switchport private-vlan host-association 20 21")
        );
        assert_eq!(mode("TenGigabitEthernet1/1/2"), foreign("negotiates its mode (DTP)"));
        assert_eq!(mode("GigabitEthernet0/0"), SeenMode::Absent);
        assert_eq!(seen.ports.len(), 10);
        assert_eq!(seen.vlans.keys().map(|it| it.get()).collect::<Vec<_>>(), [10, 20, 21]);
        assert_eq!((seen.lags["Port-channel5"].protocol, seen.lags["Port-channel5"].is_ours), (Some(LagProtocol::Lacp), true));
        assert_eq!(seen.ports["Port-channel5"].description, "cofferdam pair");
    }

    #[test]
    fn vlans_outside_of_the_configuration() {
        let brief = "\
VLAN Name                             Status    Ports
---- -------------------------------- --------- -------------------------------
1    default                          active    Gi1/0/1, Gi1/0/2, Gi1/0/3
                                                Gi1/0/4
10   cofferdam-a                      active
20   VLAN0020                         active
1002 fddi-default                     act/unsup
";
        let answers = |config: &str| [config.to_owned(), brief.to_owned()];
        let server = CiscoIos.parse(&answers("interface GigabitEthernet1/0/1\n!\n"), site()).unwrap();
        let names: Vec<_> = server.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref())).collect();
        assert_eq!(names, [(1, Some("default")), (10, Some("cofferdam-a")), (20, None), (1002, Some("fddi-default"))]);
        let transparent = CiscoIos.parse(&answers("vtp mode transparent\n!\ninterface GigabitEthernet1/0/1\n!\n"), site()).unwrap();
        assert!(transparent.vlans.is_empty());
    }

    #[test]
    fn changes_are_rendered() {
        assert_eq!(
            set(&CiscoIos, "GigabitEthernet1/0/1", PortMode::Isolated, SeenMode::Known(PortMode::Access(v(3)))).join("|"),
            "interface GigabitEthernet1/0/1|shutdown|switchport trunk allowed vlan none|no switchport trunk native vlan|switchport mode \
             access|switchport access vlan 4000|exit"
        );
        assert_eq!(
            set(&CiscoIos, "GigabitEthernet1/0/1", PortMode::Access(v(5)), foreign("routed")).join("|"),
            "interface GigabitEthernet1/0/1|shutdown|switchport|switchport trunk allowed vlan none|no switchport trunk native vlan|switchport \
             mode access|switchport access vlan 5|no shutdown|exit"
        );
        let seen = read(&CiscoIos, CONFIG);
        let join = super::super::Change::SetPort {
            port: "GigabitEthernet1/0/1".into(),
            mode: PortMode::Member { lag: "Port-channel5".into() },
            seen: SeenMode::Known(PortMode::Isolated),
        };
        assert_eq!(
            lines(&CiscoIos, join, &seen).join("|"),
            "interface GigabitEthernet1/0/1|shutdown|switchport access vlan 4000|switchport trunk allowed vlan 10,20-21|switchport trunk native \
             vlan 10|switchport mode trunk|channel-group 5 mode active|no shutdown|exit",
            "a member is alike to its group"
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&CiscoIos, "GigabitEthernet1/0/1", "Port-channel5", indented);
        for (spelled, name) in [
            ("Gi1/0/7", "GigabitEthernet1/0/7"),
            ("Te1/1/1", "TenGigabitEthernet1/1/1"),
            ("Tw1/0/1", "TwoGigabitEthernet1/0/1"),
            ("Twe1/0/1", "TwentyFiveGigE1/0/1"),
            ("Fo1/1/1", "FortyGigabitEthernet1/1/1"),
            ("Hu1/0/49", "HundredGigE1/0/49"),
            ("po5", "Port-channel5"),
            ("Vlan10", "Vlan10"),
        ] {
            assert_eq!(CiscoIos.port_name(spelled), name);
        }
        survives_garbage(&CiscoIos);
    }
}
