//! Huawei VRP 8 (CloudEngine).
//!
//! Source: Huawei CloudEngine Command Reference, "VLAN Configuration Commands", "Eth-Trunk Configuration Commands", "Configuration
//! Management Commands" (`commit`, `clear configuration candidate`, `save`). Lines take effect together, by `commit`. A port without lines is
//! an access port in VLAN 1; whether it is shut is said at it. A port that joins a group must have nothing configured of its own.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::Dialect;
use super::blocks::{self, Block};
use super::interfaces::{self, Around, Kind, Link, Os, group, port};
use super::link_type::{self, Spelling};
use crate::switch::wanted::{LagProtocol, VlanSeen};

/// Huawei VRP 8.
#[derive(Debug, Clone, Copy, Default)]
pub struct HuaweiVrp;

const SPELLING: Spelling = Spelling {
    access: "port default vlan",
    permit: "port trunk allow-pass vlan",
    member: "eth-trunk",
    group: "Eth-Trunk",
    routed: "undo portswitch",
    switched: "portswitch",
};

impl Os for HuaweiVrp {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['>', ']'],
        setup: &["screen-length 0 temporary"],
        enable: None,
        enter: &["system-view"],
        commit: &["commit"],
        // Given up on leaving, in any case: so each line is looked at before the next one that depends on it.
        discard: &[],
        leave: &["clear configuration candidate", "return"],
        save: &["save"],
        answers: &[("uncommitted configuration", "n"), ("[y/n", "y"), ("[y(yes)/n(no)", "y")],
        refusals: &["error:", "failed to commit", "commit failed"],
        harmless: &["warning:", "info:"],
        commit_seconds: 120,
    };
    const SHOW: &'static [&'static str] = &["display current-configuration"];
    const SAVED: &'static [&'static str] = &["display saved-configuration"];
    const KINDS: &'static [Kind] = &[
        port("GE", &[]),
        port("GigabitEthernet", &[]),
        port("XGigabitEthernet", &["xge"]),
        port("10GE", &[]),
        port("25GE", &[]),
        port("40GE", &[]),
        port("50GE", &[]),
        port("100GE", &[]),
        port("200GE", &[]),
        port("400GE", &[]),
        port("Ethernet", &["eth"]),
        group("Eth-Trunk", &[]),
    ];
    const ODD: &'static [&'static str] =
        &["port vlan-stacking", "port vlan-mapping", "qinq", "voice-vlan", "port mux-vlan", "port private-vlan"];
    const NO: &'static str = "undo";
    const EXIT: &'static str = "quit";
    const MEMBERS_TELL: bool = false;
    const TRUNK_STAYS: bool = true;

    fn fresh(&self, _blocks: &[Block<'_>]) -> (Link, Link) {
        (link_type::fresh(), Link { protocol: Some(LagProtocol::Static), ..link_type::fresh() })
    }

    fn line(&self, link: &mut Link, line: &str) {
        if line.starts_with("mode lacp") {
            link.protocol = Some(LagProtocol::Lacp);
        }
        // It goes with the link type that it belongs to.
        if line.starts_with("port hybrid") {
            link.residue.push(line.to_owned());
        }
        link_type::line::<Self>(&SPELLING, link, line);
    }

    fn vlans(&self, blocks: &[Block<'_>]) -> BTreeMap<VlanId, VlanSeen> {
        let mut out = interfaces::declared(blocks, "name");
        for vlan in blocks.iter().filter_map(|it| it.after("vlan batch").and_then(blocks::vlans)).flatten() {
            out.entry(vlan).or_default().running = true;
        }
        out
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

    fn join(&self, out: &mut Vec<String>, lag: &str, _around: &Around<'_>) {
        out.extend(["port link-type access".to_owned(), format!("undo {}", SPELLING.access), "undo port link-type".to_owned()]);
        link_type::join(&SPELLING, out, lag);
    }

    fn part(&self, _lag: &str) -> String {
        format!("undo {}", SPELLING.member)
    }

    fn set_protocol(&self, out: &mut Vec<String>, protocol: LagProtocol) {
        let line = match protocol {
            LagProtocol::Lacp => "mode lacp-static",
            LagProtocol::Static => "mode manual load-balance",
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
!Software Version V200R022C00SPC500
#
sysname leaf1
#
vlan batch 10 20 to 21 4000
#
vlan 10
 name cofferdam-a
#
interface Vlanif10
 ip address 10.10.0.1 255.255.255.0
#
interface MEth0/0/0
 ip address 192.0.2.1 255.255.255.0
#
interface Eth-Trunk5
 description cofferdam pair
 port link-type trunk
 undo port trunk allow-pass vlan 1
 port trunk pvid vlan 10
 port trunk allow-pass vlan 10 20 to 21
 mode lacp-static
#
interface GE1/0/1
 description cofferdam node-1
 undo shutdown
 port default vlan 10
#
interface GE1/0/2
 shutdown
 port link-type access
 port default vlan 4000
#
interface GE1/0/3
 undo shutdown
 port link-type trunk
 undo port trunk allow-pass vlan 1
 port trunk allow-pass vlan 20 to 21
#
interface GE1/0/4
 undo shutdown
 eth-trunk 5
#
interface 10GE1/0/5
 undo portswitch
 undo shutdown
 ip address 10.0.0.1 255.255.255.254
#
interface 10GE1/0/6
 undo shutdown
 port link-type hybrid
 port hybrid untagged vlan 20
#
interface 10GE1/0/7
 shutdown
#
interface 10GE1/0/7.100 mode l2
 encapsulation dot1q vid 100
#
interface NULL0
#
return
";

    #[test]
    fn a_configuration_is_read() {
        let seen = read(&HuaweiVrp, CONFIG);
        let mode = |port: &str| seen.mode(port).clone();
        assert_eq!(mode("GE1/0/1"), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode("GE1/0/2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode("GE1/0/3"), SeenMode::Known(PortMode::tagged([v(20), v(21)])));
        assert_eq!(mode("GE1/0/4"), SeenMode::Known(PortMode::Member { lag: "Eth-Trunk5".to_owned() }));
        assert_eq!(mode("10GE1/0/5"), foreign("routed"));
        assert_eq!(mode("10GE1/0/6"), foreign("port link-type hybrid; port hybrid untagged vlan 20"));
        assert_eq!(mode("10GE1/0/7"), foreign("access VLAN 1; shut"));
        assert_eq!(mode("Eth-Trunk5"), SeenMode::Known(PortMode::Trunk { native: Some(v(10)), tagged: [v(20), v(21)].into() }));
        assert_eq!(seen.ports.len(), 8);
        assert_eq!((seen.lags["Eth-Trunk5"].protocol, seen.lags["Eth-Trunk5"].is_ours), (Some(LagProtocol::Lacp), true));
        let names: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref())).collect();
        assert_eq!(names, [(10, Some("cofferdam-a")), (20, None), (21, None), (4000, None)]);
    }

    #[test]
    fn changes_are_rendered() {
        let trunk = |ids: &[u16]| PortMode::tagged(ids.iter().map(|it| v(*it)));
        assert_eq!(
            set(&HuaweiVrp, "GE1/0/1", PortMode::Isolated, SeenMode::Known(trunk(&[5, 6]))).join("|"),
            "interface GE1/0/1|shutdown|undo port trunk allow-pass vlan 5 to 6|port link-type access|port default vlan 4000|quit"
        );
        assert_eq!(
            set(&HuaweiVrp, "GE1/0/1", PortMode::Member { lag: "Eth-Trunk5".into() }, SeenMode::Known(PortMode::Isolated)).join("|"),
            "interface GE1/0/1|shutdown|port link-type access|undo port default vlan|undo port link-type|eth-trunk 5|undo shutdown|quit"
        );
        let add = Change::AddLag { lag: "Eth-Trunk7".into(), protocol: LagProtocol::Static };
        assert_eq!(
            lines(&HuaweiVrp, add, &SwitchSeen::default()).join("|"),
            "interface Eth-Trunk7|description cofferdam|shutdown|mode manual load-balance|port link-type access|port default vlan 4000|quit"
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&HuaweiVrp, "GE1/0/1", "Eth-Trunk5", indented);
        for (spelled, name) in [
            ("10ge1/0/7", "10GE1/0/7"),
            ("GE1/0/7", "GE1/0/7"),
            ("GigabitEthernet0/0/7", "GigabitEthernet0/0/7"),
            ("eth-trunk5", "Eth-Trunk5"),
            ("MEth0/0/0", "MEth0/0/0"),
        ] {
            assert_eq!(HuaweiVrp.port_name(spelled), name);
        }
        survives_garbage(&HuaweiVrp);
    }
}
