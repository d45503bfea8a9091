//! Mellanox MLNX-OS (NVIDIA Onyx).
//!
//! Source: MLNX-OS User Manual for Ethernet, chapters "VLANs" (`switchport mode`, `switchport {hybrid, trunk} allowed-vlan`), "Link
//! Aggregation Group", "Configuration Management". The configuration names the interface in each line, `interface ethernet 1/1 switchport mode
//! trunk`, and leaves out ports that are as they were delivered: access ports in VLAN 1, up. All else that it shows, and LLDP, calls them
//! `Eth1/1` and `Po5`. Trunks drop untagged frames; a trunk with an untagged VLAN is the mode `hybrid`, whose access VLAN is the untagged
//! one.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::Dialect;
use super::blocks::{self, Block, after};
use super::interfaces::{Around, Kind, Link, Mode, Os, group, name, own_name, port};
use super::switchport::{self, CISCO, Spelling};
use crate::switch::wanted::VlanSeen;

/// Mellanox MLNX-OS.
#[derive(Debug, Clone, Copy, Default)]
pub struct MellanoxMlnxos;

const SPELLING: Spelling = Spelling { allowed: "switchport trunk allowed-vlan", group: "Po", ..CISCO };

/// The list of a hybrid port's tagged VLANs.
const HYBRID: &str = "switchport hybrid allowed-vlan";

impl Os for MellanoxMlnxos {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['#', '>'],
        setup: &["no cli session paging enable"],
        enable: Some("enable"),
        enter: &["configure terminal"],
        commit: &[],
        discard: &[],
        leave: &["exit"],
        save: &["configuration write"],
        answers: &[("[yes]", "yes"), ("[no]", "yes")],
        refusals: &[
            "% unrecognized command",
            "% incomplete command",
            "% ambiguous command",
            "% invalid",
            "% unknown",
            "% error",
            "% cannot",
            "% failed",
            "% vlan",
            "% port",
            "% interface",
            "% access",
            "% permission denied",
            "% command not supported",
            "% insufficient privileges",
            "% the ",
        ],
        harmless: &["warning:"],
        commit_seconds: 60,
    };
    const SHOW: &'static [&'static str] = &["show running-config", "show interfaces ethernet status"];
    const SAVED: &'static [&'static str] = &["show configuration", "show interfaces ethernet status"];
    const KINDS: &'static [Kind] =
        &[port("Eth", &["ethernet", "e", ""]), group("Po", &["port-channel"]), group("Mpo", &["mlag-port-channel"])];
    const ODD: &'static [&'static str] = &["switchport voice", "switchport qinq", "switchport dot1q-tunnel", "mlag-channel-group"];

    fn interfaces<'a>(&self, block: &Block<'a>) -> (Vec<String>, Vec<&'a str>) {
        let Some(rest) = block.after("interface") else { return Default::default() };
        let mut words = rest.splitn(3, ' ');
        let (Some(kind), Some(range)) = (words.next(), words.next()) else { return Default::default() };
        let names = blocks::interface_range(range).iter().map(|it| format!("{kind} {it}")).collect();
        (names, words.next().into_iter().chain(block.inner.iter().map(|it| it.line)).collect())
    }

    fn line(&self, link: &mut Link, line: &str) {
        if let Some(list) = after(line, HYBRID) {
            link.hybrid = switchport::allowed(Some(std::mem::take(&mut link.hybrid)), list);
        } else {
            switchport::line::<Self>(&SPELLING, link, line);
        }
    }

    fn sum_up(&self, link: &mut Link) {
        match &link.mode {
            Mode::Other(line) if line == "switchport mode hybrid" => {
                (link.mode, link.native, link.native_counts) = (Mode::Trunk, link.access, true);
                link.allowed = Some(std::mem::take(&mut link.hybrid));
            }
            _ => link.native = None,
        }
    }

    fn others(
        &self,
        answers: &[String],
        links: &mut BTreeMap<String, Link>,
        _blocks: &[Block<'_>],
        _vlans: &mut BTreeMap<VlanId, VlanSeen>,
    ) {
        for first in answers.get(1).iter().flat_map(|it| it.lines()).filter_map(|it| it.split_whitespace().next()) {
            if let Some((name, false)) = name::<Self>(first).filter(|_| first.starts_with("Eth")) {
                links.entry(name).or_insert_with(Link::fresh);
            }
        }
    }

    fn vlans(&self, blocks: &[Block<'_>]) -> BTreeMap<VlanId, VlanSeen> {
        let mut out: BTreeMap<VlanId, VlanSeen> = BTreeMap::new();
        for block in blocks {
            let Some(rest) = block.after("vlan") else { continue };
            let (list, name) = rest.split_once(" name ").unwrap_or((rest, ""));
            let Some(vlans) = blocks::vlans(list).filter(|_| !list.is_empty()) else { continue };
            let name = block.inner_after("name").unwrap_or(name);
            for vlan in vlans {
                let seen = out.entry(vlan).or_default();
                seen.running = true;
                seen.name = own_name(vlan, name).or_else(|| seen.name.take());
            }
        }
        out
    }

    fn description(&self, text: &str) -> String {
        format!("description \"{text}\"")
    }

    fn open(&self, name: &str) -> String {
        let kinds = [("Eth", "ethernet"), ("Po", "port-channel"), ("Mpo", "mlag-port-channel")];
        let found = kinds.iter().find_map(|(short, long)| Some((long, name.strip_prefix(short)?)));
        found.map_or_else(|| format!("interface {name}"), |(kind, number)| format!("interface {kind} {number}"))
    }

    fn access(&self, out: &mut Vec<String>, vlan: VlanId, _around: &Around<'_>) {
        out.extend(["switchport mode access".to_owned(), format!("switchport access vlan {vlan}")]);
    }

    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, _around: &Around<'_>) {
        match native {
            Some(native) => {
                out.extend(["switchport mode hybrid".to_owned(), format!("switchport access vlan {native}"), format!("{HYBRID} none")]);
            }
            None => out.extend(["switchport mode trunk".to_owned(), format!("{} none", SPELLING.allowed)]),
        }
        self.retag(out, native, tagged, &BTreeSet::new());
    }

    fn retag(&self, out: &mut Vec<String>, native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
        let list = if native.is_some() { HYBRID } else { SPELLING.allowed };
        // A line takes one VLAN or one range.
        let each = |vlans: &BTreeSet<VlanId>| blocks::with_commas(vlans).join(",");
        for (verb, vlans) in [("remove", each(remove)), ("add", each(add))] {
            out.extend(vlans.split(',').filter(|it| !it.is_empty()).map(|it| format!("{list} {verb} {it}")));
        }
    }

    fn make_switched(&self, out: &mut Vec<String>, was_routed: bool) {
        if was_routed {
            out.push("switchport".to_owned());
        }
    }

    fn join(&self, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
        out.push("switchport mode access".to_owned());
        out.push("no switchport access vlan".to_owned());
        switchport::join(&SPELLING, out, lag, around);
    }
}

#[cfg(test)]
mod tests {
    use super::super::family_checks::*;
    use super::super::{Change, Family};
    use super::*;
    use crate::switch::wanted::{LagProtocol, PortMode, SeenMode, SwitchSeen};

    const CONFIG: &str = "\
##
## Running database \"initial\"
## Generated at 2026/11/21 20:00:00 +0000
## Hostname: leaf1
##

##
## Running-config temporary prefix mode setting
##
no cli default prefix-modes enable

##
## Interface Ethernet configuration
##
   interface port-channel 5
   interface port-channel 5 description \"cofferdam pair [static]\"
   interface ethernet 1/1 description \"cofferdam node 1\"
   interface ethernet 1/2 shutdown
   interface ethernet 1/3 switchport mode trunk
   interface ethernet 1/4-1/5 channel-group 5 mode on
   interface ethernet 1/6 switchport mode hybrid
   interface ethernet 1/7 no switchport force
   interface ethernet 1/8 switchport mode dot1q-tunnel
   interface port-channel 5 switchport mode hybrid
   interface ethernet 1/9 switchport mode trunk

##
## VLAN configuration
##
   vlan 10
   vlan 20-21
   vlan 10 name \"cofferdam-a\"
   interface ethernet 1/1 switchport access vlan 10
   interface ethernet 1/2 switchport access vlan 4000
   interface ethernet 1/3 switchport trunk allowed-vlan none
   interface ethernet 1/3 switchport trunk allowed-vlan add 20-21
   interface ethernet 1/6 switchport access vlan 10
   interface ethernet 1/6 switchport hybrid allowed-vlan add 20
   interface port-channel 5 switchport hybrid allowed-vlan add 21
";

    const STATUS: &str = "\
Port                   Operational state           Speed                   Negotiation
----                   -----------------           -----                   -----------
mgmt0                  Up                          1000Mb/s (auto)         Auto
Eth1/1                 Up                          25G                     No-Negotiation
Eth1/10                Down                        Unknown                 No-Negotiation
Po5                    Up                          50G                     No-Negotiation
";

    #[test]
    fn a_configuration_is_read() {
        let seen = MellanoxMlnxos.parse(&[CONFIG.to_owned(), STATUS.to_owned()], site()).unwrap();
        let mode = |port: u16| seen.mode(&format!("Eth1/{port}")).clone();
        assert_eq!(mode(1), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode(2), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode(3), SeenMode::Known(PortMode::tagged([v(20), v(21)])));
        assert_eq!(mode(4), SeenMode::Known(PortMode::Member { lag: "Po5".to_owned() }));
        assert_eq!(mode(5), mode(4));
        assert_eq!(mode(6), SeenMode::Known(PortMode::Trunk { native: Some(v(10)), tagged: [v(20)].into() }));
        assert_eq!(mode(7), foreign("routed"));
        assert_eq!(mode(8), foreign("switchport mode dot1q-tunnel"));
        let SeenMode::Known(PortMode::Trunk { native: None, tagged }) = mode(9) else { panic!("{:?}", mode(9)) };
        assert_eq!(tagged.len(), 4094);
        assert_eq!(mode(10), SeenMode::Known(PortMode::Access(v(1))));
        assert_eq!(seen.mode("Po5"), &SeenMode::Known(PortMode::Trunk { native: Some(v(1)), tagged: [v(21)].into() }));
        assert_eq!(seen.ports.len(), 11);
        assert_eq!((seen.lags["Po5"].protocol, seen.lags["Po5"].is_ours), (Some(LagProtocol::Static), true));
        let names: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref())).collect();
        assert_eq!(names, [(10, Some("cofferdam-a")), (20, None), (21, None)]);
    }

    #[test]
    fn changes_are_rendered() {
        let trunk = |ids: &[u16]| PortMode::tagged(ids.iter().map(|it| v(*it)));
        assert_eq!(
            set(&MellanoxMlnxos, "Eth1/1", PortMode::Isolated, SeenMode::Known(trunk(&[5, 6]))).join("|"),
            "interface ethernet 1/1|shutdown|switchport mode access|switchport access vlan 4000|exit"
        );
        assert_eq!(
            set(&MellanoxMlnxos, "Eth1/1", PortMode::Trunk { native: Some(v(5)), tagged: [v(6), v(8)].into() }, foreign("routed"))
                .join("|"),
            "interface ethernet 1/1|shutdown|switchport|switchport mode hybrid|switchport access vlan 5|switchport hybrid allowed-vlan \
             none|switchport hybrid allowed-vlan add 6|switchport hybrid allowed-vlan add 8|no shutdown|exit"
        );
        assert_eq!(
            set(&MellanoxMlnxos, "Eth1/1", trunk(&[7]), SeenMode::Known(trunk(&[5]))).join("|"),
            "interface ethernet 1/1|switchport trunk allowed-vlan remove 5|switchport trunk allowed-vlan add 7|no shutdown|exit"
        );
        let describe = Change::Describe { port: "Eth1/1".into(), text: "cofferdam node 1".into() };
        assert_eq!(
            lines(&MellanoxMlnxos, describe, &SwitchSeen::default()).join("|"),
            "interface ethernet 1/1|description \"cofferdam node 1\"|exit"
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&MellanoxMlnxos, "Eth1/1", "Po5", indented);
        let one_by_one = |lines: &[String]| {
            let mut at = String::new();
            let mut out = String::new();
            for line in lines {
                if line.starts_with("interface ") {
                    at.clone_from(line);
                    out.push_str(&format!("   {at}\n"));
                } else if line != "exit" {
                    out.push_str(&format!("   {at} {line}\n"));
                }
            }
            out
        };
        reads_back(&MellanoxMlnxos, "Eth1/1", "Po5", one_by_one);
        for (spelled, name) in [("ethernet 1/7", "Eth1/7"), ("1/7/2", "Eth1/7/2"), ("port-channel 5", "Po5"), ("mgmt0", "mgmt0")] {
            assert_eq!(MellanoxMlnxos.port_name(spelled), name);
        }
        survives_garbage(&MellanoxMlnxos);
    }
}
