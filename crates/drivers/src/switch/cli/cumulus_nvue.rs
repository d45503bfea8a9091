//! NVIDIA Cumulus Linux 5 by NVUE (`nv`), with one VLAN-aware bridge.
//!
//! Lines change a pending revision that `nv config apply` makes the applied one and `nv config save` the startup one. A bridge port
//! without a list of VLANs carries all of the bridge, untagged frames in the bridge's own VLAN; a port in no bridge carries nothing. VLANs
//! have no names here.
//!
//! Source: NVIDIA, *Cumulus Linux User Guide* 5.x: NVUE CLI, VLAN-aware Bridge Mode, Bonding, VXLAN Devices.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;
use serde_json::Value;

use super::super::plan::Change;
use super::super::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen, Vni};
use super::setlines::{every_vlan, reasons, shell_name, shell_quoted, shell_words, slices, vlan_list, vlan_ranges};
use super::{Dialect, Family, Site};

const DIALECT: Dialect = Dialect {
    prompt_ends: &['$', '#'],
    // What an earlier session left pending is not to be applied with what we set.
    setup: &["nv config detach"],
    enable: None,
    enter: &[],
    commit: &["nv config apply -y"],
    discard: &["nv config detach"],
    leave: &[],
    save: &["nv config save"],
    answers: &[("Are you sure? [y/N]", "y")],
    refusals: &[
        "error:",
        "invalid config",
        "config invalid",
        "ays_fail",
        "command not found",
        "incomplete command",
        "is ambiguous",
        "is not a physical interface",
        "is not one of",
        "failure during apply",
        "failed",
        "permission denied",
        "unable to",
    ],
    harmless: &["warning:"],
    commit_seconds: 300,
};

const FACTS: Facts = Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: true, has_lags: true, saves: true };

/// How many names a range may stand for: more ports than any switch has.
const MOST_NAMES: usize = 4096;

/// Cumulus Linux.
#[derive(Debug, Clone, Copy, Default)]
pub struct CumulusNvue;

impl Family for CumulusNvue {
    fn dialect(&self) -> &Dialect {
        &DIALECT
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn show(&self, _site: Site<'_>) -> Vec<String> {
        vec!["nv config show -o commands".into(), "nv show interface -o json".into()]
    }

    fn show_saved(&self, _site: Site<'_>) -> Vec<String> {
        vec!["nv config show -r startup -o commands".into(), "nv show interface -o json".into()]
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        let [config, interfaces] = answers else { return Err(format!("{} answers to two commands", answers.len())) };
        let lines: Vec<Vec<String>> = config.lines().map(shell_words).filter(|it| !it.is_empty()).collect();
        if !lines.is_empty() && !lines.iter().any(|it| matches!(slices(it).as_slice(), ["nv", "set", ..])) {
            return Err("no line of the configuration begins with \"nv set\"".into());
        }
        let mut read = Reading { bridge: bridge(site).to_owned(), ..Reading::default() };
        for name in interface_names(interfaces)? {
            read.ports.entry(name).or_default();
        }
        for line in &lines {
            if let ["nv", "set", rest @ ..] = slices(line).as_slice() {
                read.line(rest);
            }
        }
        Ok(read.seen(site.isolation))
    }

    fn render(&self, changes: &[Change], _seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        for change in changes {
            one(change, site, &mut out)?;
        }
        Ok(out)
    }
}

fn bridge(site: Site<'_>) -> &str {
    if site.bridge.is_empty() { "br_default" } else { site.bridge }
}

/// Names of front panel ports in the answer to `nv show interface -o json`.
fn interface_names(answer: &str) -> Result<Vec<String>, String> {
    let json = answer.find('{').zip(answer.rfind('}')).and_then(|(first, last)| answer.get(first..=last));
    let Value::Object(found) = serde_json::from_str(json.unwrap_or(answer)).map_err(|error| format!("the list of interfaces: {error}"))?
    else {
        return Err("the list of interfaces is no object".into());
    };
    Ok(found.into_iter().map(|(name, _)| name).filter(|it| is_front_panel(it)).collect())
}

/// `swp1` or `swp1s0`.
fn is_front_panel(name: &str) -> bool {
    let number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    name.strip_prefix("swp").is_some_and(|it| it.split_once('s').map_or_else(|| number(it), |(port, lane)| number(port) && number(lane)))
}

/// `swp1-3,7,bond1` as names.
fn expand(names: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut stem = String::new();
    for part in names.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, ""));
        let digits = first.len() - first.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (own, number) = first.split_at_checked(digits).unwrap_or((first, ""));
        if !own.is_empty() {
            own.clone_into(&mut stem);
        }
        match (number.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last - first < MOST_NAMES => {
                out.extend((first..=last).map(|it| format!("{stem}{it}")));
            }
            _ if own.is_empty() => out.push(format!("{stem}{part}")),
            _ => out.push(part.to_owned()),
        }
        if out.len() > MOST_NAMES {
            break;
        }
    }
    out
}

/// What the lines say of one port or bond.
#[derive(Debug, Default)]
struct Port {
    description: String,
    is_bond: bool,
    bond_mode: Option<String>,
    members: BTreeSet<String>,
    is_shut: bool,
    is_bridged: bool,
    access: Option<VlanId>,
    untagged: Option<Option<VlanId>>,
    vlans: Option<BTreeSet<VlanId>>,
    /// Why it is none of ours.
    odd: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Reading {
    bridge: String,
    ports: BTreeMap<String, Port>,
    vlans: BTreeMap<VlanId, Option<Vni>>,
    /// VLANs whose network is their own number and an offset.
    automatic: BTreeSet<VlanId>,
    offset: u32,
    untagged: Option<Option<VlanId>>,
}

impl Reading {
    fn line(&mut self, words: &[&str]) {
        match words {
            ["interface", names, rest @ ..] => {
                for name in expand(names) {
                    self.interface(&name, rest);
                }
            }
            ["bridge", "domain", domain, rest @ ..] if *domain == self.bridge => match rest {
                ["untagged", untagged] => self.untagged = Some(untagged.parse().ok().and_then(VlanId::new)),
                ["vlan-vni-offset", offset] => self.offset = offset.parse().unwrap_or_default(),
                ["vlan", list, rest @ ..] => {
                    for vlan in vlan_list(list).into_iter().flatten() {
                        let entry = self.vlans.entry(vlan).or_default();
                        match rest {
                            ["vni", "auto", ..] => _ = self.automatic.insert(vlan),
                            ["vni", vni, ..] => *entry = vni.parse().ok().and_then(Vni::new),
                            _ => {}
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn interface(&mut self, name: &str, words: &[&str]) {
        if let Some((port, _)) = name.split_once('.') {
            // A tagged interface above a port takes frames from it.
            if let Some(port) = self.ports.get_mut(port) {
                port.odd.insert(format!("has interface {name}"));
            }
            return;
        }
        let is_bond = matches!(words, ["type", "bond"] | ["bond", ..]);
        if !is_front_panel(name) && !is_bond && !self.ports.contains_key(name) && !name.starts_with("bond") {
            return;
        }
        let port = self.ports.entry(name.to_owned()).or_default();
        port.is_bond |= is_bond;
        match words {
            ["description", text] => port.description = (*text).to_owned(),
            ["link", "state", state, ..] => port.is_shut = *state == "down",
            ["bond", "mode", mode] => port.bond_mode = Some((*mode).to_owned()),
            ["bond", "member", members] => port.members.extend(expand(members)),
            ["ip", "address" | "vrf" | "gateway" | "vrr" | "vrrp", ..] => _ = port.odd.insert("has IP settings".into()),
            ["bridge", "domain", domain, rest @ ..] if *domain == self.bridge => {
                port.is_bridged = true;
                port.bridged(rest);
            }
            ["bridge", "domain", domain, ..] => _ = port.odd.insert(format!("in bridge {domain}")),
            _ => {}
        }
    }

    fn seen(mut self, isolation: VlanId) -> SwitchSeen {
        let mut seen = SwitchSeen::default();
        let mut member_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (bond, it) in self.ports.iter().filter(|(_, it)| it.is_bond) {
            for member in &it.members {
                member_of.entry(member.clone()).or_default().insert(bond.clone());
            }
        }
        let untagged = self.untagged.unwrap_or(VlanId::new(1));
        for (name, port) in std::mem::take(&mut self.ports) {
            if !is_front_panel(&name) && !port.is_bond {
                continue;
            }
            if port.is_bond {
                let protocol = match port.bond_mode.as_deref() {
                    None | Some("lacp") => Some(LagProtocol::Lacp),
                    Some("static") => Some(LagProtocol::Static),
                    Some(_) => None,
                };
                seen.lags.insert(name.clone(), LagSeen { protocol, is_ours: port.description.starts_with(MARK) });
            }
            let bonds = member_of.remove(&name).unwrap_or_default();
            let description = port.description.clone();
            let mode = port.mode(&bonds, untagged, isolation);
            seen.ports.insert(name, PortSeen { mode, description, unsaved: false });
        }
        for (vlan, vni) in self.vlans {
            let automatic =
                || self.automatic.contains(&vlan).then(|| Vni::new(u32::from(vlan.get()).saturating_add(self.offset))).flatten();
            seen.vlans.insert(vlan, VlanSeen { vni: vni.or_else(automatic), running: true, ..VlanSeen::default() });
        }
        seen
    }
}

impl Port {
    fn bridged(&mut self, words: &[&str]) {
        match words {
            ["access", vlan] => match vlan.parse().ok().and_then(VlanId::new) {
                Some(vlan) => self.access = Some(vlan),
                None => _ = self.odd.insert(format!("access VLAN {vlan}")),
            },
            ["untagged", "none"] => self.untagged = Some(None),
            ["untagged", vlan] => match vlan.parse().ok().and_then(VlanId::new) {
                Some(vlan) => self.untagged = Some(Some(vlan)),
                None => _ = self.odd.insert(format!("untagged VLAN {vlan}")),
            },
            ["vlan", "all"] => self.vlans = Some(every_vlan()),
            ["vlan", list] => match vlan_list(list) {
                Some(found) => self.vlans.get_or_insert_default().extend(found),
                None => _ = self.odd.insert(format!("VLANs {list}")),
            },
            _ => {}
        }
    }

    fn mode(mut self, bonds: &BTreeSet<String>, untagged: Option<VlanId>, isolation: VlanId) -> SeenMode {
        let mode = match (bonds.first(), self.access) {
            (Some(lag), _) if bonds.len() == 1 && !self.is_bridged => PortMode::Member { lag: lag.clone() },
            (None, Some(vlan)) => {
                if self.vlans.is_some() || self.untagged.is_some() {
                    self.odd.insert("both access and trunk".into());
                }
                PortMode::Access(vlan)
            }
            (None, None) if self.is_bridged => {
                let native = self.untagged.unwrap_or(untagged);
                let tagged = self.vlans.take().unwrap_or_else(every_vlan).into_iter().filter(|it| Some(*it) != native).collect();
                PortMode::Trunk { native, tagged }
            }
            (None, None) => PortMode::Trunk { native: None, tagged: BTreeSet::new() },
            (Some(_), _) => {
                self.odd.extend(bonds.iter().map(|it| format!("member of {it}")));
                self.odd.insert("a member of its own or of several bonds".into());
                PortMode::Isolated
            }
        };
        if !self.odd.is_empty() {
            if let PortMode::Member { lag } = &mode {
                self.odd.insert(format!("member of {lag}"));
            }
            return SeenMode::Foreign(self.odd.into_iter().collect::<Vec<_>>().join("; "));
        }
        match mode {
            PortMode::Access(vlan) if vlan == isolation && self.is_shut => SeenMode::Known(PortMode::Isolated),
            PortMode::Member { lag } if self.is_shut => SeenMode::Foreign(format!("member of {lag}; shut")),
            mode if self.is_shut => SeenMode::Foreign(format!("{mode}; shut")),
            mode => SeenMode::Known(mode),
        }
    }
}

fn one(change: &Change, site: Site<'_>, out: &mut Vec<String>) -> Result<(), String> {
    let bridge = shell_name(bridge(site))?;
    let vlans = format!("bridge domain {bridge} vlan");
    match change {
        Change::SetPort { port, mode, seen } => set_port(shell_name(port)?, mode, seen, bridge, site.isolation, out)?,
        Change::Describe { port, text } => {
            out.push(format!("nv set interface {} description {}", shell_name(port)?, shell_quoted(text)));
        }
        Change::Uplink { port, add, remove, seen } => {
            let port = shell_name(port)?;
            match seen {
                SeenMode::Known(PortMode::Trunk { native, tagged }) if native.is_some() || !tagged.is_empty() => {
                    let path = format!("interface {port} bridge domain {bridge} vlan");
                    let mut list = add.clone();
                    if !remove.is_empty() {
                        // A port without a list carries all: the list is written anew, in the same commit.
                        list.extend(tagged.iter().chain(native).filter(|it| !remove.contains(it)));
                        out.push(format!("nv unset {path}"));
                        if list.is_empty() {
                            let nothing = PortMode::Trunk { native: None, tagged: BTreeSet::new() };
                            return set_port(port, &nothing, seen, bridge, site.isolation, out);
                        }
                        if native.is_some_and(|it| remove.contains(&it)) {
                            out.push(format!("nv set interface {port} bridge domain {bridge} untagged none"));
                        }
                    }
                    out.push(format!("nv set {path} {}", vlan_ranges(&list).join(",")));
                }
                _ => {
                    let mode = PortMode::Trunk { native: None, tagged: add.clone() };
                    set_port(port, &mode, seen, bridge, site.isolation, out)?;
                }
            }
        }
        Change::AddVlan { vlan, .. } => out.push(format!("nv set {vlans} {vlan}")),
        Change::MapVni { vlan, vni } => out.push(format!("nv set {vlans} {vlan} vni {vni}")),
        Change::UnmapVni { vlan, .. } => out.push(format!("nv unset {vlans} {vlan} vni")),
        Change::RemoveVlan { vlan, .. } => out.push(format!("nv unset {vlans} {vlan}")),
        Change::AddLag { lag, protocol } => {
            let lag = shell_name(lag)?;
            let mode = match protocol {
                LagProtocol::Lacp => "lacp",
                LagProtocol::Static => "static",
            };
            out.push(format!("nv set interface {lag} type bond"));
            out.push(format!("nv set interface {lag} bond mode {mode}"));
            out.push(format!("nv set interface {lag} description {MARK}"));
        }
        Change::RemoveLag { lag } => out.push(format!("nv unset interface {}", shell_name(lag)?)),
    }
    Ok(())
}

fn set_port(port: &str, mode: &PortMode, seen: &SeenMode, bridge: &str, isolation: VlanId, out: &mut Vec<String>) -> Result<(), String> {
    match seen {
        SeenMode::Known(PortMode::Member { lag }) if !matches!(mode, PortMode::Member { lag: other } if other == lag) => {
            out.push(format!("nv unset interface {} bond member {port}", shell_name(lag)?));
        }
        SeenMode::Foreign(why) => {
            for reason in reasons(why) {
                if let Some(lag) = reason.strip_prefix("member of ") {
                    out.push(format!("nv unset interface {} bond member {port}", shell_name(lag)?));
                } else if reason == "has IP settings" {
                    out.push(format!("nv unset interface {port} ip"));
                } else if let Some(above) = reason.strip_prefix("has interface ") {
                    out.push(format!("nv unset interface {}", shell_name(above)?));
                }
            }
        }
        SeenMode::Known(_) | SeenMode::Absent => {}
    }
    out.push(format!("nv unset interface {port} bridge"));
    let path = format!("nv set interface {port} bridge domain {bridge}");
    match mode {
        PortMode::Isolated => out.push(format!("{path} access {isolation}")),
        PortMode::Access(vlan) => out.push(format!("{path} access {vlan}")),
        PortMode::Member { lag } => out.push(format!("nv set interface {} bond member {port}", shell_name(lag)?)),
        // A port in no bridge lets nothing through; one without a list of VLANs would carry all.
        PortMode::Trunk { native: None, tagged } if tagged.is_empty() => {}
        PortMode::Trunk { native, tagged } => {
            let list: BTreeSet<VlanId> = tagged.iter().chain(native).copied().collect();
            out.push(format!("{path} vlan {}", vlan_ranges(&list).join(",")));
            out.push(format!("{path} untagged {}", native.map_or_else(|| "none".to_owned(), |it| it.to_string())));
        }
    }
    let state = if *mode == PortMode::Isolated { "down" } else { "up" };
    out.push(format!("nv set interface {port} link state {state}"));
    Ok(())
}

#[cfg(test)]
#[path = "cumulus_nvue_tests.rs"]
mod tests;
