//! HPE (H3C) Comware 7.
//!
//! Source: HPE FlexFabric 5940 Layer 2 - LAN Switching Configuration Guide and Command Reference ("VLAN commands", "Ethernet link
//! aggregation commands"), Fundamentals Command Reference (`save`, `screen-length`). A port without lines is an access port in VLAN 1, up.
//! Members of a group are selected only if they carry what the group carries, and take over what is then configured on the group.

use std::collections::BTreeSet;

use model::net::VlanId;

use super::Dialect;
use super::blocks::Block;
use super::interfaces::{Around, Kind, Link, Os, group, port};
use super::link_type::{self, Spelling};
use super::switchport;
use crate::switch::wanted::LagProtocol;

/// HPE (H3C) Comware 7.
#[derive(Debug, Clone, Copy, Default)]
pub struct HpeComware;

const SPELLING: Spelling = Spelling {
    access: "port access vlan",
    permit: "port trunk permit vlan",
    member: "port link-aggregation group",
    group: "Bridge-Aggregation",
    routed: "port link-mode route",
    switched: "port link-mode bridge",
};

impl Os for HpeComware {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['>', ']'],
        setup: &["screen-length disable"],
        enable: None,
        enter: &["system-view"],
        commit: &[],
        discard: &[],
        leave: &["return"],
        save: &["save force"],
        answers: &[("[y/n]", "y")],
        refusals: &[
            "% unrecognized command",
            "% incomplete command",
            "% ambiguous command",
            "% wrong parameter",
            "% too many parameters",
            "permission denied",
            "error:",
            "can't ",
            "cannot ",
            "failed to",
            "operation failed",
            "not supported",
            "does not exist",
        ],
        harmless: &["warning:", "info:"],
        commit_seconds: 120,
    };
    const SHOW: &'static [&'static str] = &["display current-configuration"];
    const SAVED: &'static [&'static str] = &["display saved-configuration"];
    const KINDS: &'static [Kind] = &[
        port("GigabitEthernet", &["ge"]),
        port("Ten-GigabitEthernet", &["xge", "te"]),
        port("Twenty-FiveGigE", &["wge", "25ge"]),
        port("FortyGigE", &["fge"]),
        port("HundredGigE", &["hge"]),
        port("TwoHundredGigE", &[]),
        port("FourHundredGigE", &[]),
        port("Ethernet", &["eth"]),
        group("Bridge-Aggregation", &["bagg"]),
    ];
    const ODD: &'static [&'static str] =
        &["voice-vlan", "voice vlan", "port private-vlan", "qinq", "vlan mapping", "xconnect", "service-instance"];
    const NO: &'static str = "undo";
    const EXIT: &'static str = "quit";
    const MEMBERS_TELL: bool = false;

    fn fresh(&self, _blocks: &[Block<'_>]) -> (Link, Link) {
        (link_type::fresh(), Link { protocol: Some(LagProtocol::Static), ..link_type::fresh() })
    }

    fn line(&self, link: &mut Link, line: &str) {
        if line == "link-aggregation mode dynamic" {
            link.protocol = Some(LagProtocol::Lacp);
        }
        // It goes with the link type that it belongs to.
        if line.starts_with("port hybrid") {
            link.residue.push(line.to_owned());
        }
        link_type::line::<Self>(&SPELLING, link, line);
    }

    fn access(&self, out: &mut Vec<String>, vlan: VlanId, _around: &Around<'_>) {
        link_type::access(&SPELLING, out, vlan);
    }

    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        link_type::trunk(&SPELLING, out, native, tagged, around);
    }

    fn retag(&self, out: &mut Vec<String>, _native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
        link_type::retag(&SPELLING, out, add, remove);
    }

    fn without_native(&self, out: &mut Vec<String>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        link_type::without_native(out, tagged, around);
    }

    fn make_switched(&self, out: &mut Vec<String>, was_routed: bool) {
        if was_routed {
            out.push(SPELLING.switched.to_owned());
        }
    }

    fn join(&self, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
        switchport::alike(self, out, lag, around);
        link_type::join(&SPELLING, out, lag);
    }

    fn part(&self, _lag: &str) -> String {
        format!("undo {}", SPELLING.member)
    }

    fn set_protocol(&self, out: &mut Vec<String>, protocol: LagProtocol) {
        let line = match protocol {
            LagProtocol::Lacp => "link-aggregation mode dynamic",
            LagProtocol::Static => "undo link-aggregation mode",
        };
        out.push(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::family_checks::*;
    use super::super::{Change, Family};
    use super::*;
    use crate::switch::wanted::{PortMode, SeenMode, SwitchSeen};

    const CONFIG: &str = "\
#
 version 7.1.070, Release 2612P06
#
 sysname leaf1
#
vlan 1
#
vlan 10
 name cofferdam-a
#
vlan 20 to 21
#
vlan 4000
 name VLAN 4000
#
interface Bridge-Aggregation5
 description cofferdam pair
 port link-type trunk
 port trunk permit vlan 1 10 20 to 21
 port trunk pvid vlan 10
 link-aggregation mode dynamic
#
interface Bridge-Aggregation6
#
interface NULL0
#
interface Vlan-interface10
 ip address 10.10.0.1 255.255.255.0
#
interface Ten-GigabitEthernet1/0/1
 port link-mode bridge
 description cofferdam node-1
 port access vlan 10
#
interface Ten-GigabitEthernet1/0/2
 port link-mode bridge
 port access vlan 4000
 shutdown
#
interface Ten-GigabitEthernet1/0/3
 port link-mode bridge
 port link-type trunk
 undo port trunk permit vlan 1
 port trunk permit vlan 20 to 21 30
#
interface Ten-GigabitEthernet1/0/4
 port link-mode bridge
 port link-type trunk
 port trunk permit vlan 1 10 20 to 21
 port trunk pvid vlan 10
 port link-aggregation group 5
#
interface Ten-GigabitEthernet1/0/5
 port link-mode route
 ip address 10.0.0.1 255.255.255.254
#
interface Ten-GigabitEthernet1/0/6
 port link-mode bridge
 port link-type hybrid
 undo port hybrid vlan 1
 port hybrid vlan 20 untagged
#
interface Ten-GigabitEthernet1/0/7
 port link-mode bridge
 qinq enable
#
interface Ten-GigabitEthernet1/0/8
 port link-mode bridge
 port link-type trunk
#
interface M-GigabitEthernet0/0/0
 ip address dhcp-alloc
#
return
";

    #[test]
    fn a_configuration_is_read() {
        let seen = read(&HpeComware, CONFIG);
        let mode = |port: u16| seen.mode(&format!("Ten-GigabitEthernet1/0/{port}")).clone();
        assert_eq!(mode(1), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode(2), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode(3), SeenMode::Known(PortMode::tagged([v(20), v(21), v(30)])));
        assert_eq!(mode(4), SeenMode::Known(PortMode::Member { lag: "Bridge-Aggregation5".to_owned() }));
        assert_eq!(mode(5), foreign("routed"));
        assert_eq!(mode(6), foreign("port link-type hybrid; port hybrid vlan 20 untagged"));
        assert_eq!(mode(7), foreign("access VLAN 1; qinq enable"));
        assert_eq!(mode(8), SeenMode::Known(PortMode::Trunk { native: Some(v(1)), tagged: BTreeSet::new() }));
        assert!(seen.carried.contains(&v(20)));
        let group = PortMode::Trunk { native: Some(v(10)), tagged: [v(1), v(20), v(21)].into() };
        assert_eq!(seen.mode("Bridge-Aggregation5"), &SeenMode::Known(group));
        assert_eq!(seen.ports.len(), 10);
        assert_eq!(seen.lags["Bridge-Aggregation5"].protocol, Some(LagProtocol::Lacp));
        assert_eq!(
            (seen.lags["Bridge-Aggregation6"].protocol, seen.lags["Bridge-Aggregation6"].is_ours),
            (Some(LagProtocol::Static), false)
        );
        let names: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref())).collect();
        assert_eq!(names, [(1, None), (10, Some("cofferdam-a")), (20, None), (21, None), (4000, None)]);
    }

    #[test]
    fn changes_are_rendered() {
        let trunk = |ids: &[u16]| PortMode::tagged(ids.iter().map(|it| v(*it)));
        let member = || SeenMode::Known(PortMode::Member { lag: "Bridge-Aggregation5".into() });
        let port = "GigabitEthernet1/0/1";
        assert_eq!(
            set(&HpeComware, port, PortMode::Isolated, member()).join("|"),
            "interface GigabitEthernet1/0/1|shutdown|undo port link-aggregation group|port link-type access|port access vlan 4000|quit"
        );
        assert_eq!(
            set(&HpeComware, port, trunk(&[5, 6, 9]), foreign("port link-type hybrid; port hybrid vlan 20 untagged")).join("|"),
            "interface GigabitEthernet1/0/1|shutdown|port link-type access|undo port access vlan|port link-type \
             trunk|undo port trunk permit vlan 1|port trunk permit vlan 5 to 6 9|port trunk pvid vlan 1|undo shutdown|quit"
        );
        assert_eq!(
            set(&HpeComware, port, trunk(&[7]), SeenMode::Known(trunk(&[5]))).join("|"),
            "interface GigabitEthernet1/0/1|port trunk pvid vlan 1|undo port trunk permit vlan 5|port trunk permit vlan 7|undo shutdown|quit"
        );
        let rest = [
            Change::AddVlan { vlan: v(30), name: "cofferdam-b".into() },
            Change::RemoveVlan { vlan: v(31), name: None },
            Change::AddLag { lag: "Bridge-Aggregation7".into(), protocol: LagProtocol::Lacp },
            Change::RemoveLag { lag: "Bridge-Aggregation8".into() },
        ];
        assert_eq!(
            HpeComware.render(&rest, &SwitchSeen::default(), site()).unwrap().join("|"),
            "vlan 30|name cofferdam-b|quit|undo vlan 31|interface Bridge-Aggregation7|description cofferdam|shutdown|link-aggregation mode \
             dynamic|port link-type access|port access vlan 4000|quit|undo interface Bridge-Aggregation8"
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&HpeComware, "GigabitEthernet1/0/1", "Bridge-Aggregation5", indented);
        for (spelled, name) in [
            ("XGE1/0/7", "Ten-GigabitEthernet1/0/7"),
            ("GE1/0/7", "GigabitEthernet1/0/7"),
            ("BAGG5", "Bridge-Aggregation5"),
            ("HGE1/0/25", "HundredGigE1/0/25"),
            ("M-GigabitEthernet0/0/0", "M-GigabitEthernet0/0/0"),
        ] {
            assert_eq!(HpeComware.port_name(spelled), name);
        }
        survives_garbage(&HpeComware);
    }
}
