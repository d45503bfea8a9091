//! The lines `switchport …` that most command lines after Cisco's example share: reading and spelling them, with what differs between
//! operating systems as data.

use std::collections::BTreeSet;

use model::net::VlanId;

use super::blocks::{self, after};
use super::interfaces::{Around, Link, Mode, Os, is_odd, unlisted};
use crate::switch::wanted::{LagProtocol, PortMode};

/// How one operating system spells what the others spell otherwise.
pub(super) struct Spelling {
    /// The list of a trunk's VLANs.
    pub(super) allowed: &'static str,
    /// Makes a trunk drop untagged frames, where there is such a line; elsewhere its native VLAN is one that it does not carry, and
    /// frames in it are dropped.
    pub(super) drop_untagged: Option<&'static str>,
    /// What comes before `mode` when a port joins a group.
    pub(super) force: &'static str,
    /// What the configuration calls groups.
    pub(super) group: &'static str,
}

/// What Cisco's own operating systems say.
pub(super) const CISCO: Spelling =
    Spelling { allowed: "switchport trunk allowed vlan", drop_untagged: None, force: "", group: "Port-channel" };

/// Takes up what a line of an interface says.
pub(super) fn line<T: Os>(spelling: &Spelling, link: &mut Link, line: &str) {
    if let Some(text) = line.strip_prefix("description ") {
        text.trim().trim_matches('"').clone_into(&mut link.description);
    } else if let Some(list) = after(line, spelling.allowed) {
        link.allowed = Some(allowed(link.allowed.take(), list));
    } else if let Some(rest) = after(line, "channel-group") {
        let mut words = rest.split(' ');
        let number = words.next().unwrap_or_default();
        let protocol = match words.next_back() {
            Some("active") => Some(LagProtocol::Lacp),
            // NX-OS does not show what is its default.
            Some("on" | "force") | None => Some(LagProtocol::Static),
            Some(_) => None,
        };
        link.group = Some((format!("{}{number}", spelling.group), protocol));
    } else if spelling.drop_untagged == Some(line) {
        link.drops_untagged = true;
    } else if let Some(vlan) = after(line, "switchport trunk native vlan").and_then(blocks::vlan) {
        link.native = Some(vlan);
    } else if let Some(vlan) = after(line, "switchport access vlan").and_then(blocks::vlan) {
        (link.access, link.routed) = (Some(vlan), link.says_routed);
    } else if let Some(mode) = after(line, "switchport mode") {
        link.routed = link.says_routed;
        link.mode = match mode {
            "access" => Mode::Access,
            "trunk" => Mode::Trunk,
            _ => Mode::Other(line.to_owned()),
        };
    } else if is_odd::<T>(line) {
        link.odd.push(line.to_owned());
    } else {
        match line {
            "shutdown" => link.shut = true,
            "no shutdown" => link.shut = false,
            "switchport" => (link.routed, link.says_routed) = (false, false),
            "no switchport" | "no switchport force" => (link.routed, link.says_routed) = (true, true),
            _ => {}
        }
    }
}

/// What a trunk carries after another line about it.
pub(super) fn allowed(before: Option<BTreeSet<VlanId>>, list: &str) -> BTreeSet<VlanId> {
    let (verb, rest) = list.split_once(' ').unwrap_or((list, ""));
    let named = blocks::vlans(rest).unwrap_or_default();
    match verb {
        "add" => before.map(|it| &it | &named).unwrap_or_else(blocks::all_vlans),
        "remove" => &before.unwrap_or_else(blocks::all_vlans) - &named,
        "except" => &blocks::all_vlans() - &named,
        // What cannot be read is taken for the worst.
        _ => blocks::vlans(list).unwrap_or_else(blocks::all_vlans),
    }
}

/// The lines that make a shut port carry one VLAN untagged; should it be made a trunk by hand, it carries nothing.
pub(super) fn access(spelling: &Spelling, out: &mut Vec<String>, vlan: VlanId) {
    out.extend([
        format!("{} none", spelling.allowed),
        "no switchport trunk native vlan".to_owned(),
        "switchport mode access".to_owned(),
        format!("switchport access vlan {vlan}"),
    ]);
}

/// The lines that make a shut port a trunk of exactly this; should it be made an access port by hand, it is in the isolation VLAN.
pub(super) fn trunk(spelling: &Spelling, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
    let isolation = around.site.isolation;
    out.push(format!("switchport access vlan {isolation}"));
    let all: BTreeSet<VlanId> = native.iter().chain(tagged).copied().collect();
    let mut lists = blocks::with_commas(&all).into_iter();
    out.push(format!("{} {}", spelling.allowed, lists.next().unwrap_or_else(|| "none".to_owned())));
    out.extend(lists.map(|it| format!("{} add {it}", spelling.allowed)));
    match native {
        Some(native) => out.push(format!("switchport trunk native vlan {native}")),
        None => without_native(spelling, out, tagged, around),
    }
    out.push("switchport mode trunk".to_owned());
}

/// The line that makes a trunk of these VLANs drop untagged frames.
pub(super) fn without_native(spelling: &Spelling, out: &mut Vec<String>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
    out.push(match (spelling.drop_untagged, unlisted(tagged, around.site.isolation)) {
        (Some(line), _) => line.to_owned(),
        (None, Some(vlan)) if vlan.get() != 1 => format!("switchport trunk native vlan {vlan}"),
        _ => "no switchport trunk native vlan".to_owned(),
    });
}

/// The lines that change what a trunk carries tagged.
pub(super) fn retag(spelling: &Spelling, out: &mut Vec<String>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
    out.extend(blocks::with_commas(remove).iter().map(|it| format!("{} remove {it}", spelling.allowed)));
    out.extend(blocks::with_commas(add).iter().map(|it| format!("{} add {it}", spelling.allowed)));
}

/// The line that makes a port a member of a group.
pub(super) fn join(spelling: &Spelling, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
    let mode = match around.protocol(lag) {
        LagProtocol::Lacp => "active",
        LagProtocol::Static => "on",
    };
    let number = lag.strip_prefix(spelling.group).unwrap_or(lag);
    out.push(format!("channel-group {number} {}mode {mode}", spelling.force));
}

/// The lines that make a shut port alike to the group that it is about to join, where only alike ports may.
pub(super) fn alike<T: Os>(os: &T, out: &mut Vec<String>, lag: &str, around: &Around<'_>) {
    match around.group_mode(lag) {
        PortMode::Access(vlan) => os.access(out, vlan, around),
        PortMode::Trunk { native, tagged } => os.trunk(out, native, &tagged, around),
        PortMode::Isolated | PortMode::Member { .. } => os.access(out, around.site.isolation, around),
    }
}
