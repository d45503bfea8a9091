//! Aruba AOS-CX.
//!
//! Source: AOS-CX Fundamentals, Layer 2 Bridging and Link Aggregation guides; AOS-CX Command-Line Interface Guide (`vlan access`, `vlan trunk
//! allowed`, `vlan trunk native`, `lag`, `lacp mode`). Ports of which the configuration says nothing are not in it: `show interface brief` lists
//! them, routed and shut on the 8000s and 10000, switched on the 6000s. The untagged VLAN of a trunk counts if it is allowed; with `tag`, untagged
//! frames are dropped. `vlan access` puts an end to a trunk. Lists are added to and taken from by name. A trunk of no VLAN cannot be had and is
//! never asked for: the port is to be isolated then.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::Dialect;
use super::blocks::{self, Block, after};
use super::interfaces::{Around, Kind, Link, Mode, Os, group, is_odd, name, port};
use crate::switch::wanted::{LagProtocol, VlanSeen};

/// Aruba AOS-CX.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArubaAoscx;

impl Os for ArubaAoscx {
    const WORDS: Dialect = Dialect {
        prompt_ends: &['#', '>'],
        setup: &["no page"],
        enable: None,
        enter: &["configure terminal"],
        commit: &[],
        discard: &[],
        leave: &["end"],
        save: &["write memory"],
        answers: &[("(y/n)", "y")],
        refusals: &[
            "invalid input",
            "% command incomplete",
            "% ambiguous command",
            "% unknown command",
            "% invalid",
            "error:",
            "not allowed",
            "cannot ",
            "operation failed",
            "does not exist",
            "not supported",
            "unsupported",
            "failure",
        ],
        harmless: &["warning:"],
        commit_seconds: 60,
    };
    const SHOW: &'static [&'static str] = &["show running-config", "show interface brief"];
    const SAVED: &'static [&'static str] = &["show startup-config", "show interface brief"];
    const KINDS: &'static [Kind] = &[port("", &[]), group("lag ", &[])];
    const ODD: &'static [&'static str] =
        &["vlan translate", "private-vlan", "aaa authentication port-access", "port-access", "vlan protocol"];
    const MEMBERS_TELL: bool = false;

    fn fresh(&self, _blocks: &[Block<'_>]) -> (Link, Link) {
        let fresh = Link { routed: true, shut: true, ..Link::fresh() };
        (fresh.clone(), Link { protocol: Some(LagProtocol::Static), ..fresh })
    }

    fn interfaces<'a>(&self, block: &Block<'a>) -> (Vec<String>, Vec<&'a str>) {
        let Some(spelled) = block.after("interface") else { return Default::default() };
        // `interface lag 5 multi-chassis static`
        let spelled = spelled.split(" multi-chassis").next().unwrap_or_default();
        (vec![spelled.to_owned()], block.inner.iter().map(|it| it.line).collect())
    }

    fn line(&self, link: &mut Link, line: &str) {
        if let Some(text) = line.strip_prefix("description ") {
            text.trim().clone_into(&mut link.description);
        } else if let Some(vlan) = after(line, "vlan access").and_then(blocks::vlan) {
            (link.routed, link.mode, link.access) = (false, Mode::Access, Some(vlan));
        } else if let Some(native) = after(line, "vlan trunk native") {
            (link.routed, link.mode) = (false, Mode::Trunk);
            let (vlan, tag) = native.split_once(' ').unwrap_or((native, ""));
            (link.native, link.drops_untagged) = (blocks::vlan(vlan), tag == "tag");
        } else if let Some(list) = after(line, "vlan trunk allowed") {
            (link.routed, link.mode) = (false, Mode::Trunk);
            // What cannot be read is taken for the worst.
            let named = blocks::vlans(list).unwrap_or_else(blocks::all_vlans);
            link.allowed.get_or_insert_default().extend(named);
        } else if let Some(number) = after(line, "lag").filter(|it| it.parse::<u16>().is_ok()) {
            link.group = Some((format!("lag {number}"), None));
        } else if let Some(mode) = after(line, "lacp mode") {
            link.protocol = (mode == "active").then_some(LagProtocol::Lacp);
        } else if is_odd::<Self>(line) {
            link.odd.push(line.to_owned());
        } else {
            match line {
                "shutdown" => link.shut = true,
                "no shutdown" => link.shut = false,
                "routing" => link.routed = true,
                "no routing" => link.routed = false,
                _ => {}
            }
        }
    }

    fn others(
        &self,
        answers: &[String],
        links: &mut BTreeMap<String, Link>,
        _blocks: &[Block<'_>],
        _vlans: &mut BTreeMap<VlanId, VlanSeen>,
    ) {
        for line in answers.get(1).iter().flat_map(|it| it.lines()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(first), Some(native), Some(mode)) = (words.first(), words.get(1), words.get(2)) else { continue };
            let Some((name, false)) = name::<Self>(first).filter(|_| first.contains('/')) else { continue };
            let shut = words.iter().skip(3).find(|it| ["yes", "no"].contains(it)) == Some(&"no");
            let (routed, access) = (*mode == "routed", blocks::vlan(native));
            let mode = if *mode == "access" { Mode::Access } else { Mode::Other((*mode).to_owned()) };
            links.entry(name).or_insert_with(|| Link { routed, shut, access, mode, ..Link::fresh() });
        }
    }

    fn access(&self, out: &mut Vec<String>, vlan: VlanId, _around: &Around<'_>) {
        out.push(format!("vlan access {vlan}"));
    }

    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
        let all: BTreeSet<VlanId> = native.iter().chain(tagged).copied().collect();
        // Ends a former trunk.
        out.push(format!("vlan access {}", around.site.isolation));
        if all.is_empty() {
            return;
        }
        match native {
            Some(native) => out.push(format!("vlan trunk native {native}")),
            None => self.without_native(out, tagged, around),
        }
        self.retag(out, native, &all, &BTreeSet::new());
    }

    fn retag(&self, out: &mut Vec<String>, _native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
        // First to add: an emptied list might be taken for all VLANs.
        out.extend(blocks::with_commas(add).iter().map(|it| format!("vlan trunk allowed {it}")));
        out.extend(blocks::with_commas(remove).iter().map(|it| format!("no vlan trunk allowed {it}")));
    }

    fn without_native(&self, out: &mut Vec<String>, tagged: &BTreeSet<VlanId>, _around: &Around<'_>) {
        let is_first = VlanId::new(1).is_some_and(|it| tagged.contains(&it));
        out.push(if is_first { "vlan trunk native 1 tag" } else { "vlan trunk native 1" }.to_owned());
    }

    fn make_switched(&self, out: &mut Vec<String>, _was_routed: bool) {
        out.push("no routing".to_owned());
    }

    fn join(&self, out: &mut Vec<String>, lag: &str, _around: &Around<'_>) {
        out.push(lag.to_owned());
    }

    fn part(&self, lag: &str) -> String {
        format!("no {lag}")
    }

    fn set_protocol(&self, out: &mut Vec<String>, protocol: LagProtocol) {
        let line = match protocol {
            LagProtocol::Lacp => "lacp mode active",
            LagProtocol::Static => "no lacp mode",
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
Current configuration:
!
!Version ArubaOS-CX GL.10.13.1000
!export-password: default
hostname leaf1
banner motd `
interface 1/1/1
    vlan access 99
`
vlan 1,20-21
vlan 10
    name cofferdam-a
vlan 4000
    name VLAN4000
interface mgmt
    no shutdown
    ip dhcp
interface lag 5
    description cofferdam pair
    no shutdown
    no routing
    vlan trunk native 10
    vlan trunk allowed 10,20-21
    lacp mode active
interface lag 6 multi-chassis
    no shutdown
    no routing
    vlan trunk native 1 tag
    vlan trunk allowed all
    lacp mode passive
interface 1/1/1
    description cofferdam node-1
    no shutdown
    no routing
    vlan access 10
interface 1/1/2
    shutdown
    no routing
    vlan access 4000
interface 1/1/3
    no shutdown
    no routing
    vlan trunk native 1
    vlan trunk allowed 20-21
interface 1/1/4
    no shutdown
    lag 5
interface 1/1/5
    no shutdown
    ip address 10.0.0.1/31
interface 1/1/6
    no shutdown
    no routing
    vlan access 20
    private-vlan port-type secondary
interface vlan 10
    ip address 10.10.0.1/24
";

    const BRIEF: &str = "\
--------------------------------------------------------------------------------------------------------
Port      Native  Mode   Type           Enabled Status  Reason                  Speed   Description
          VLAN                                                                  (Mb/s)
--------------------------------------------------------------------------------------------------------
1/1/1     10      access SFP+DAC3       yes     up                              10000   cofferdam node-1
1/1/7     --      routed --             no      down    Administratively down   --      --
1/1/8     1       access --             yes     down    No XCVR installed       --      --
lag5      10      trunk  --             yes     up      --                      10000   cofferdam pair
vlan10    --      --     --             yes     up                              --      --
";

    #[test]
    fn a_configuration_is_read() {
        let seen = ArubaAoscx.parse(&[CONFIG.to_owned(), BRIEF.to_owned()], site()).unwrap();
        let mode = |port: &str| seen.mode(port).clone();
        assert_eq!(mode("1/1/1"), SeenMode::Known(PortMode::Access(v(10))));
        assert_eq!(mode("1/1/2"), SeenMode::Known(PortMode::Isolated));
        assert_eq!(mode("1/1/3"), SeenMode::Known(PortMode::tagged([v(20), v(21)])));
        assert_eq!(mode("1/1/4"), SeenMode::Known(PortMode::Member { lag: "lag 5".to_owned() }));
        assert_eq!(mode("1/1/5"), foreign("routed"));
        assert_eq!(mode("1/1/6"), foreign("access VLAN 20; private-vlan port-type secondary"));
        assert_eq!(mode("1/1/7"), foreign("routed; shut"));
        assert_eq!(mode("1/1/8"), SeenMode::Known(PortMode::Access(v(1))));
        assert_eq!(mode("lag 5"), SeenMode::Known(PortMode::Trunk { native: Some(v(10)), tagged: [v(20), v(21)].into() }));
        let SeenMode::Known(PortMode::Trunk { native: None, tagged }) = mode("lag 6") else { panic!("{:?}", mode("lag 6")) };
        assert_eq!(tagged.len(), 4094);
        assert_eq!(seen.ports.len(), 10);
        assert_eq!((seen.lags["lag 5"].protocol, seen.lags["lag 5"].is_ours), (Some(LagProtocol::Lacp), true));
        assert_eq!((seen.lags["lag 6"].protocol, seen.lags["lag 6"].is_ours), (None, false));
        let names: Vec<_> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.name.as_deref())).collect();
        assert_eq!(names, [(1, None), (10, Some("cofferdam-a")), (20, None), (21, None), (4000, None)]);
    }

    #[test]
    fn changes_are_rendered() {
        let trunk = |ids: &[u16]| PortMode::tagged(ids.iter().map(|it| v(*it)));
        let member = || SeenMode::Known(PortMode::Member { lag: "lag 5".into() });
        assert_eq!(
            set(&ArubaAoscx, "1/1/1", PortMode::Isolated, member()).join("|"),
            "interface 1/1/1|shutdown|no lag 5|no routing|vlan access 4000|exit"
        );
        assert_eq!(
            set(&ArubaAoscx, "1/1/1", PortMode::Trunk { native: Some(v(5)), tagged: [v(6)].into() }, foreign("member of lag 5; shut"))
                .join("|"),
            "interface 1/1/1|shutdown|no lag 5|no routing|vlan access 4000|vlan trunk native 5|vlan trunk allowed 5-6|no shutdown|exit"
        );
        assert_eq!(
            set(&ArubaAoscx, "1/1/1", trunk(&[7, 9]), SeenMode::Known(trunk(&[5, 7]))).join("|"),
            "interface 1/1/1|vlan trunk native 1|vlan trunk allowed 9|no vlan trunk allowed 5|no shutdown|exit"
        );
        assert_eq!(
            lines(&ArubaAoscx, Change::AddLag { lag: "lag 7".into(), protocol: LagProtocol::Lacp }, &SwitchSeen::default()).join("|"),
            "interface lag 7|description cofferdam|shutdown|no routing|lacp mode active|vlan access 4000|exit"
        );
        assert_eq!(
            set(&ArubaAoscx, "1/1/1", PortMode::Member { lag: "lag 7".into() }, SeenMode::Known(PortMode::Isolated)).join("|"),
            "interface 1/1/1|shutdown|no routing|lag 7|no shutdown|exit"
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        reads_back(&ArubaAoscx, "1/1/1", "lag 5", indented);
        for (spelled, name) in [("1/1/7", "1/1/7"), ("lag5", "lag 5"), ("LAG 5", "lag 5"), ("mgmt", "mgmt")] {
            assert_eq!(ArubaAoscx.port_name(spelled), name);
        }
        survives_garbage(&ArubaAoscx);
    }
}
