//! The lines `port link-type …` of HPE Comware and Huawei VRP, which come from one house: reading and spelling them, with what differs as
//! data. A trunk carries VLAN 1 until that is undone, lists are added to and taken from by name, and what belongs to one link type is gone
//! when the type changes. The untagged VLAN (PVID) of a trunk counts if it is permitted.

use std::collections::BTreeSet;

use model::net::VlanId;

use super::blocks::{self, after};
use super::interfaces::{Around, Link, Mode, Os, is_odd, unlisted};

/// How one of them spells what the other spells otherwise.
pub(super) struct Spelling {
    /// The VLAN of an access port.
    pub(super) access: &'static str,
    /// The list of a trunk's VLANs.
    pub(super) permit: &'static str,
    /// The group of a member.
    pub(super) member: &'static str,
    /// What groups are called.
    pub(super) group: &'static str,
    /// Says that a port is routed.
    pub(super) routed: &'static str,
    /// Says that a port is switched.
    pub(super) switched: &'static str,
}

/// The VLAN of untagged frames.
const PVID: &str = "port trunk pvid vlan";

/// An interface of which no line is there.
pub(super) fn fresh() -> Link {
    Link { allowed: Some(VlanId::new(1).into_iter().collect()), ..Link::fresh() }
}

/// Takes up what a line of an interface says.
pub(super) fn line<T: Os>(spelling: &Spelling, link: &mut Link, line: &str) {
    // What cannot be read is taken for the worst.
    let list = |list: &str| blocks::vlans(list).unwrap_or_else(blocks::all_vlans);
    if let Some(text) = line.strip_prefix("description ") {
        text.trim().clone_into(&mut link.description);
    } else if let Some(mode) = after(line, "port link-type") {
        link.mode = match mode {
            "access" => Mode::Access,
            "trunk" => Mode::Trunk,
            _ => Mode::Other(line.to_owned()),
        };
    } else if let Some(vlan) = after(line, spelling.access).and_then(blocks::vlan) {
        link.access = Some(vlan);
    } else if let Some(named) = after(line, spelling.permit) {
        link.allowed.get_or_insert_default().extend(list(named));
    } else if let Some(named) = line.strip_prefix("undo ").and_then(|it| after(it, spelling.permit)) {
        let named = blocks::vlans(named).unwrap_or_default();
        link.allowed.get_or_insert_default().retain(|it| !named.contains(it));
    } else if let Some(vlan) = after(line, PVID).and_then(blocks::vlan) {
        link.native = Some(vlan);
    } else if let Some(number) = after(line, spelling.member) {
        let number = number.split(' ').next().unwrap_or_default();
        link.group = Some((format!("{}{number}", spelling.group), None));
    } else if is_odd::<T>(line) {
        link.odd.push(line.to_owned());
    } else if line == spelling.routed {
        link.routed = true;
    } else if line == spelling.switched {
        link.routed = false;
    } else {
        match line {
            "shutdown" => link.shut = true,
            "undo shutdown" => link.shut = false,
            _ => {}
        }
    }
}

/// The lines that make a shut port carry one VLAN untagged.
pub(super) fn access(spelling: &Spelling, out: &mut Vec<String>, vlan: VlanId) {
    out.extend(["port link-type access".to_owned(), format!("{} {vlan}", spelling.access)]);
}

/// The lines that make a shut port a trunk of exactly this. It is an access port on the way, which ends a former trunk.
pub(super) fn trunk(spelling: &Spelling, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
    let all: BTreeSet<VlanId> = native.iter().chain(tagged).copied().collect();
    let first: BTreeSet<VlanId> = VlanId::new(1).into_iter().collect();
    out.extend(["port link-type access".to_owned(), format!("undo {}", spelling.access), "port link-type trunk".to_owned()]);
    retag(spelling, out, &(&all - &first), &(&first - &all));
    match native {
        Some(native) => out.push(format!("{PVID} {native}")),
        None => without_native(out, tagged, around),
    }
}

/// The line that makes a trunk of these VLANs drop untagged frames.
pub(super) fn without_native(out: &mut Vec<String>, tagged: &BTreeSet<VlanId>, around: &Around<'_>) {
    out.extend(unlisted(tagged, around.site.isolation).map(|it| format!("{PVID} {it}")));
}

/// The lines that change what a trunk carries tagged.
pub(super) fn retag(spelling: &Spelling, out: &mut Vec<String>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>) {
    out.extend(blocks::with_to(remove).iter().map(|it| format!("undo {} {it}", spelling.permit)));
    out.extend(blocks::with_to(add).iter().map(|it| format!("{} {it}", spelling.permit)));
}

/// The line that makes a port a member of a group.
pub(super) fn join(spelling: &Spelling, out: &mut Vec<String>, lag: &str) {
    out.push(format!("{} {}", spelling.member, lag.strip_prefix(spelling.group).unwrap_or(lag)));
}
