//! Juniper Junos with the Enhanced Layer 2 Software (EX2300 and later, QFX): `interface-mode`, not `port-mode`.
//!
//! The configuration is read as `set` lines. A line that is deactivated is not there, a port that an interface range or a
//! configuration group writes to is none that we understand. What the switch must have before us: `chassis aggregated-devices ethernet
//! device-count` for the groups, and for VXLAN `protocols evpn encapsulation vxlan` and `extended-vni-list all`.
//!
//! Source: Juniper, *Ethernet Switching User Guide* (ELS CLI), *CLI User Guide* (`configure private`, `deactivate`), *EVPN User Guide*.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::super::plan::Change;
use super::super::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen, Vni};
use super::setlines::{every_vlan, quoted, reasons, shell_name, slices, vlan_range, vlan_ranges, words};
use super::{Dialect, Family, Site};

const DIALECT: Dialect = Dialect {
    prompt_ends: &['>', '#'],
    setup: &["set cli screen-length 0", "set cli screen-width 0"],
    enable: None,
    enter: &["configure private"],
    commit: &["commit"],
    discard: &["rollback 0"],
    leave: &["exit"],
    save: &[],
    answers: &[("Discard uncommitted changes?", "yes"), ("Exit with uncommitted changes?", "yes")],
    refusals: &[
        "error:",
        "syntax error",
        "unknown command",
        "missing argument",
        "invalid value",
        "invalid numeric value",
        "invalid interface",
        "is ambiguous",
        "not within range",
        "commit failed",
        "permission denied",
        "configuration database locked",
    ],
    harmless: &["warning:"],
    commit_seconds: 180,
};

const FACTS: Facts = Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: true, has_lags: true, saves: false };

/// What physical switching ports are called, before the `-`.
const MEDIA: &[&str] = &["fe", "ge", "mge", "xe", "et"];
/// Statements of a port that make it other than an Ethernet switching port with one unit.
const TAGGINGS: &[&str] = &["vlan-tagging", "flexible-vlan-tagging", "stacked-vlan-tagging", "encapsulation"];

/// Juniper Junos.
#[derive(Debug, Clone, Copy, Default)]
pub struct JuniperJunos;

impl Family for JuniperJunos {
    fn dialect(&self) -> &Dialect {
        &DIALECT
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn show(&self, _site: Site<'_>) -> Vec<String> {
        vec!["show configuration | display set".into(), "show interfaces terse".into()]
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        let [config, terse] = answers else { return Err(format!("{} answers to two commands", answers.len())) };
        let config = Config::read(config)?;
        Ok(config.seen(terse, site.isolation))
    }

    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        let mut names: BTreeMap<VlanId, String> = seen.vlans.iter().filter_map(|(vlan, it)| Some((*vlan, it.name.clone()?))).collect();
        for change in changes {
            one(change, seen, site, &mut names, &mut out)?;
        }
        Ok(out)
    }

    fn port_name(&self, spelled: &str) -> String {
        spelled.strip_suffix(".0").filter(|it| is_port(it)).unwrap_or(spelled).to_owned()
    }
}

fn is_group(name: &str) -> bool {
    name.strip_prefix("ae").is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}

fn is_port(name: &str) -> bool {
    let physical = name.split_once('-').is_some_and(|(media, place)| MEDIA.contains(&media) && place_of(place).is_some());
    physical || is_group(name)
}

/// `0/0/3` or `0/0/3:1` as numbers that sort.
fn place_of(place: &str) -> Option<Vec<u32>> {
    let numbers: Option<Vec<u32>> = place.split(['/', ':']).map(|it| it.parse().ok()).collect();
    numbers.filter(|it| it.len() == 3 || it.len() == 4)
}

/// What the `set` lines say of one port.
#[derive(Debug, Default)]
struct Port {
    description: String,
    is_configured: bool,
    is_shut: bool,
    is_trunk: Option<bool>,
    native: Option<VlanId>,
    members: BTreeSet<VlanId>,
    lag: Option<String>,
    has_switching: bool,
    units: BTreeSet<String>,
    /// Why it is none of ours.
    odd: Vec<String>,
    lacp: Option<bool>,
    has_group_options: bool,
}

/// The active lines, without `set`, and what is inactive.
struct Config {
    lines: Vec<Vec<String>>,
    inactive: Vec<Vec<String>>,
}

impl Config {
    fn read(text: &str) -> Result<Self, String> {
        let (mut lines, mut inactive) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let mut line = words(line);
            match line.first().map(String::as_str) {
                Some("set") => lines.push(line.split_off(1)),
                Some("deactivate") => inactive.push(line.split_off(1)),
                _ => {}
            }
        }
        if lines.is_empty() {
            return Err("no line of the configuration begins with \"set\"".into());
        }
        lines.retain(|line| !inactive.iter().any(|it: &Vec<String>| !it.is_empty() && line.starts_with(it)));
        Ok(Self { lines, inactive })
    }

    fn seen(&self, terse: &str, isolation: VlanId) -> SwitchSeen {
        let vlans = self.vlans();
        let by_name: BTreeMap<&str, &BTreeSet<VlanId>> = vlans.iter().map(|(name, it)| (name.as_str(), &it.ids)).collect();
        let mut ports: BTreeMap<String, Port> = BTreeMap::new();
        for line in terse.lines() {
            if let Some(name) = line.split_whitespace().next().filter(|it| is_port(it) && !is_group(it)) {
                ports.entry(name.to_owned()).or_default();
            }
        }
        for line in &self.lines {
            match slices(line).as_slice() {
                ["interfaces", name, rest @ ..] if is_port(name) => {
                    let port = ports.entry((*name).to_owned()).or_default();
                    port.is_configured = true;
                    statement(port, rest, &by_name);
                }
                ["vlans", vlan, "interface", unit] => {
                    if let Some(port) = unit.strip_suffix(".0").and_then(|it| ports.get_mut(it)) {
                        port.odd.push(format!("listed by vlans {vlan} interface {unit}"));
                    }
                }
                ["switch-options", "voip", "interface", unit, ..] => {
                    if let Some(port) = ports.get_mut(unit.strip_suffix(".0").unwrap_or(unit)) {
                        port.odd.push(format!("has voice VLAN by switch-options voip interface {unit}"));
                    }
                }
                _ => {}
            }
        }
        for line in &self.inactive {
            if let ["interfaces", name, rest @ ..] = slices(line).as_slice()
                && let Some(port) = ports.get_mut(*name)
                && !matches!(rest, ["disable" | "description" | "native-vlan-id"])
            {
                port.odd.push(["inactive"].into_iter().chain(rest.iter().copied()).map(quoted).collect::<Vec<_>>().join(" "));
            }
        }
        self.inherited(&mut ports);
        let mut seen = SwitchSeen::default();
        for (name, port) in ports {
            if is_group(&name) {
                if !port.is_configured {
                    continue;
                }
                let protocol = match (port.lacp, port.has_group_options) {
                    (Some(true), _) => Some(LagProtocol::Lacp),
                    (Some(false), _) => None,
                    (None, _) => Some(LagProtocol::Static),
                };
                seen.lags.insert(name.clone(), LagSeen { protocol, is_ours: port.description.starts_with(MARK) });
            }
            let description = port.description.clone();
            seen.ports.insert(name, PortSeen { mode: port.mode(isolation), description, unsaved: false });
        }
        for (name, it) in &vlans {
            for vlan in &it.ids {
                let entry = VlanSeen { name: Some(name.clone()), vni: it.vni, running: true, ..VlanSeen::default() };
                seen.vlans.insert(*vlan, entry);
            }
        }
        seen
    }

    fn vlans(&self) -> BTreeMap<String, Vlan> {
        let mut out: BTreeMap<String, Vlan> = BTreeMap::new();
        for line in &self.lines {
            match slices(line).as_slice() {
                ["vlans", name, "vlan-id" | "vlan-id-list", id] => {
                    out.entry((*name).to_owned()).or_default().ids.extend(vlan_range(id).into_iter().flatten());
                }
                ["vlans", name, "vxlan", "vni", vni] => {
                    out.entry((*name).to_owned()).or_default().vni = vni.parse().ok().and_then(Vni::new);
                }
                _ => {}
            }
        }
        out
    }

    /// Marks the ports that interface ranges and configuration groups write to.
    fn inherited(&self, ports: &mut BTreeMap<String, Port>) {
        let relevant = |it: &[&str]| matches!(it, ["unit" | "disable" | "native-vlan-id", ..] | ["ether-options", "802.3ad", ..]);
        let mut writing = BTreeSet::new();
        for line in &self.lines {
            if let ["interfaces", "interface-range", range, rest @ ..] = slices(line).as_slice()
                && relevant(rest)
            {
                writing.insert((*range).to_owned());
            }
        }
        let applied: BTreeSet<&str> = self
            .lines
            .iter()
            .filter_map(|line| match slices(line).as_slice() {
                ["apply-groups", group] => Some(*group),
                ["interfaces", .., "apply-groups", group] => Some(*group),
                _ => None,
            })
            .collect();
        for line in &self.lines {
            match slices(line).as_slice() {
                ["interfaces", "interface-range", range, "member", pattern] if writing.contains(*range) => {
                    for (name, port) in ports.iter_mut().filter(|(name, _)| matches_pattern(pattern, name)) {
                        port.odd.push(if name == pattern {
                            format!("written by interface-range {range} member {name}")
                        } else {
                            format!("written by the pattern of interface-range {range}")
                        });
                    }
                }
                ["interfaces", "interface-range", range, "member-range", first, "to", last] if writing.contains(*range) => {
                    for (name, port) in ports.iter_mut() {
                        if is_between(first, name, last) {
                            port.odd.push(format!("written by the pattern of interface-range {range}"));
                        }
                    }
                }
                ["groups", group, "interfaces", pattern, rest @ ..] if applied.contains(*group) && relevant(rest) => {
                    let pattern = pattern.trim_start_matches('<').trim_end_matches('>');
                    for (_, port) in ports.iter_mut().filter(|(name, _)| matches_pattern(pattern, name)) {
                        port.odd.push(format!("written by the configuration group {group}"));
                    }
                }
                _ => {}
            }
        }
    }
}

#[derive(Debug, Default)]
struct Vlan {
    ids: BTreeSet<VlanId>,
    vni: Option<Vni>,
}

fn statement(port: &mut Port, words: &[&str], vlans: &BTreeMap<&str, &BTreeSet<VlanId>>) {
    match words {
        ["description", text] => port.description = (*text).to_owned(),
        ["disable"] => port.is_shut = true,
        ["native-vlan-id", id] => match id.parse().ok().and_then(VlanId::new) {
            Some(vlan) => port.native = Some(vlan),
            None => port.odd.push(format!("has native VLAN {id}")),
        },
        ["ether-options", "802.3ad", lag] if is_group(lag) => port.lag = Some((*lag).to_owned()),
        ["ether-options", "802.3ad", ..] => {}
        ["gigether-options", "802.3ad", lag, ..] => port.odd.push(format!("is in {lag} by gigether-options 802.3ad")),
        ["aggregated-ether-options", "lacp", "active"] => port.lacp = Some(true),
        ["aggregated-ether-options", "lacp", ..] => {
            port.lacp.get_or_insert(false);
        }
        ["aggregated-ether-options", ..] => port.has_group_options = true,
        ["unit", "0", "disable"] => port.odd.push("unit 0 is shut".into()),
        ["unit", "0", "description", ..] => {}
        ["unit", "0", "family", "ethernet-switching", rest @ ..] => {
            port.units.insert("0".into());
            port.has_switching = true;
            switching(port, rest, vlans);
        }
        ["unit", "0"] => {
            port.units.insert("0".into());
        }
        ["unit", "0", "family", family, ..] => {
            port.units.insert("0".into());
            port.odd.push(format!("has family {family}"));
        }
        ["unit", unit, ..] => {
            port.units.insert((*unit).to_owned());
            if *unit != "0" {
                port.odd.push(format!("has unit {unit}"));
            }
        }
        [tagging, ..] if TAGGINGS.contains(tagging) => port.odd.push(format!("has {tagging}")),
        _ => {}
    }
}

fn switching(port: &mut Port, words: &[&str], vlans: &BTreeMap<&str, &BTreeSet<VlanId>>) {
    match words {
        ["interface-mode", "trunk"] => port.is_trunk = Some(true),
        ["interface-mode", "access"] => port.is_trunk = Some(false),
        ["interface-mode", other] => port.odd.push(format!("has interface-mode {other}")),
        ["port-mode", ..] => port.odd.push("has port-mode, which is not of this CLI".into()),
        ["vlan-rewrite", ..] => port.odd.push("rewrites VLANs".into()),
        ["vlan", "members", "all"] => port.members.extend(every_vlan()),
        ["vlan", "members", name] => match vlan_range(name).or_else(|| vlans.get(name).map(|it| (*it).clone())) {
            Some(found) if !found.is_empty() => port.members.extend(found),
            _ => port.odd.push(format!("is in VLAN {name}, which has no number")),
        },
        _ => {}
    }
}

impl Port {
    fn mode(mut self, isolation: VlanId) -> SeenMode {
        self.odd.sort();
        self.odd.dedup();
        if !self.odd.is_empty() {
            let units: Vec<&str> = self.units.iter().map(String::as_str).collect();
            if !units.is_empty() {
                self.odd.push(format!("has units {}", units.join(" ")));
            }
            return SeenMode::Foreign(self.odd.join("; "));
        }
        let mode = match (self.lag, self.has_switching) {
            (Some(lag), false) if self.units.is_empty() => PortMode::Member { lag },
            (Some(lag), _) => return SeenMode::Foreign(format!("in {lag} and with a unit of its own")),
            // It passes nothing; a trunk without a VLAN cannot be committed.
            (None, false) => PortMode::tagged([]),
            (None, true) if self.is_trunk == Some(true) => {
                // Untagged frames of a native VLAN that is no member are dropped.
                let native = self.native.filter(|it| self.members.contains(it));
                PortMode::Trunk { native, tagged: self.members.into_iter().filter(|it| Some(*it) != native).collect() }
            }
            (None, true) => match (self.members.len(), self.members.first()) {
                (1, Some(vlan)) => PortMode::Access(*vlan),
                (0, _) => return SeenMode::Foreign("access in the default VLAN".into()),
                (number, _) => return SeenMode::Foreign(format!("access in {number} VLANs")),
            },
        };
        match mode {
            PortMode::Access(vlan) if vlan == isolation && self.is_shut => SeenMode::Known(PortMode::Isolated),
            mode if self.is_shut => SeenMode::Foreign(format!("{mode}, shut")),
            mode => SeenMode::Known(mode),
        }
    }
}

/// Whether the name matches: `*`, `?`, and `[0-3]` or `[0 2 5]` for one number.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    glob(&pattern, &name, 0)
}

fn glob(pattern: &[char], name: &[char], depth: usize) -> bool {
    // Names and patterns are short; what is deeper than that matches, so that the port is left alone.
    if depth > 64 {
        return true;
    }
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => glob(rest, name, depth + 1),
        (Some(('*', rest)), Some((_, tail))) => glob(rest, name, depth + 1) || glob(pattern, tail, depth + 1),
        (Some(('?', rest)), Some((_, tail))) => glob(rest, tail, depth + 1),
        (Some(('[', rest)), Some(_)) => {
            let Some(end) = rest.iter().position(|it| *it == ']') else { return false };
            let (set, rest) = rest.split_at(end);
            let digits = name.iter().take_while(|it| it.is_ascii_digit()).count();
            let (number, tail) = name.split_at(digits);
            let number: String = number.iter().collect();
            let set: String = set.iter().collect();
            let Ok(number) = number.parse::<u32>() else { return false };
            let fits = |part: &str| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if (first..=last).contains(&number))
            };
            set.split([' ', ',']).any(fits) && glob(rest.get(1..).unwrap_or_default(), tail, depth + 1)
        }
        (Some((it, rest)), Some((other, tail))) => it == other && glob(rest, tail, depth + 1),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_between(first: &str, name: &str, last: &str) -> bool {
    let split = |it: &str| it.split_once('-').and_then(|(media, place)| Some((media.to_owned(), place_of(place)?)));
    match (split(first), split(name), split(last)) {
        (Some((media, first)), Some((own, place)), Some((_, last))) => media == own && first <= place && place <= last,
        _ => false,
    }
}

fn one(
    change: &Change,
    seen: &SwitchSeen,
    site: Site<'_>,
    names: &mut BTreeMap<VlanId, String>,
    out: &mut Vec<String>,
) -> Result<(), String> {
    let target = |vni: Vni| site.overlay.filter(|it| it.bgp_as > 0 && it.bgp_as <= 65535).map(|it| format!("target:{}:{vni}", it.bgp_as));
    match change {
        Change::SetPort { port, mode, seen } => set_port(shell_name(port)?, mode, seen, site.isolation, out),
        Change::Describe { port, text } => out.push(format!("set interfaces {} description {}", shell_name(port)?, quoted(text))),
        Change::Uplink { port, add, remove, seen } => uplink(shell_name(port)?, add, remove, seen, site.isolation, out),
        Change::AddVlan { vlan, name } => {
            let former = names.insert(*vlan, name.clone()).filter(|it| it != name);
            // The name is the key: another name is another VLAN.
            out.extend(former.as_ref().map(|it| format!("delete vlans {}", quoted(it))));
            out.push(format!("set vlans {} vlan-id {vlan}", quoted(name)));
            if let (Some(_), Some(vni)) = (former, seen.vlans.get(vlan).and_then(|it| it.vni)) {
                out.push(format!("set vlans {} vxlan vni {vni}", quoted(name)));
            }
        }
        Change::MapVni { vlan, vni } => {
            let name = names.get(vlan).ok_or_else(|| format!("VLAN {vlan} has no name to map it by"))?;
            out.push(format!("set vlans {} vxlan vni {vni}", quoted(name)));
            out.extend(target(*vni).map(|it| format!("set protocols evpn vni-options vni {vni} vrf-target {it}")));
        }
        Change::UnmapVni { vlan, vni } => {
            let name = names.get(vlan).ok_or_else(|| format!("VLAN {vlan} has no name to map it by"))?;
            out.push(format!("delete vlans {} vxlan", quoted(name)));
            out.extend(target(*vni).map(|_| format!("delete protocols evpn vni-options vni {vni}")));
        }
        Change::RemoveVlan { vlan, name } => {
            let name = names.remove(vlan).or_else(|| name.clone()).ok_or_else(|| format!("VLAN {vlan} has no name to remove it by"))?;
            out.push(format!("delete vlans {}", quoted(&name)));
        }
        Change::AddLag { lag, protocol } => {
            if !is_group(lag) {
                return Err(format!("a group is called ae0, ae1 and so on, not {lag:?}"));
            }
            out.push(format!("set interfaces {lag} description {MARK}"));
            out.push(format!("delete interfaces {lag} aggregated-ether-options lacp"));
            if *protocol == LagProtocol::Lacp {
                out.push(format!("set interfaces {lag} aggregated-ether-options lacp active"));
            }
        }
        Change::RemoveLag { lag } => out.push(format!("delete interfaces {}", shell_name(lag)?)),
    }
    Ok(())
}

fn set_port(port: &str, mode: &PortMode, seen: &SeenMode, isolation: VlanId, out: &mut Vec<String>) {
    let path = format!("interfaces {port}");
    let switching = format!("{path} unit 0 family ethernet-switching");
    if let SeenMode::Foreign(why) = seen {
        wipe(port, why, out);
    }
    // What was never there is answered with a warning.
    out.push(format!("delete {path} disable"));
    out.push(format!("delete {path} native-vlan-id"));
    if let PortMode::Member { lag } = mode {
        out.push(format!("delete {path} unit 0"));
        out.push(format!("set {path} ether-options 802.3ad {lag}"));
        return;
    }
    if !is_group(port) {
        out.push(format!("delete {path} ether-options 802.3ad"));
    }
    out.push(format!("delete {path} unit 0 disable"));
    out.push(format!("delete {switching} interface-mode"));
    out.push(format!("delete {switching} vlan"));
    match mode {
        PortMode::Isolated | PortMode::Access(_) | PortMode::Member { .. } => {
            let vlan = if let PortMode::Access(vlan) = mode { *vlan } else { isolation };
            out.push(format!("set {switching} interface-mode access"));
            out.push(format!("set {switching} vlan members {vlan}"));
            if *mode == PortMode::Isolated {
                out.push(format!("set {path} disable"));
            }
        }
        PortMode::Trunk { native: None, tagged } if tagged.is_empty() => out.push(format!("delete {switching}")),
        PortMode::Trunk { native, tagged } => {
            out.push(format!("set {switching} interface-mode trunk"));
            let members: BTreeSet<VlanId> = tagged.iter().chain(native).copied().collect();
            out.extend(vlan_ranges(&members).iter().map(|it| format!("set {switching} vlan members {it}")));
            out.extend(native.map(|it| format!("set {path} native-vlan-id {it}")));
        }
    }
}

/// Takes away what made the port none of ours, as told by [`Port::mode`].
fn wipe(port: &str, why: &str, out: &mut Vec<String>) {
    for reason in reasons(why) {
        // What is set below something inactive would be inactive too.
        if let Some(rest) = reason.strip_prefix("inactive") {
            out.push(format!("delete interfaces {port}{rest}"));
        } else if let Some(path) = reason.strip_prefix("written by interface-range ").filter(|it| it.ends_with(port)) {
            out.push(format!("delete interfaces interface-range {path}"));
        } else if let Some(path) = reason.strip_prefix("listed by ").or_else(|| reason.strip_prefix("has voice VLAN by ")) {
            out.push(format!("delete {path}"));
        } else if let Some(units) = reason.strip_prefix("has units ") {
            out.extend(units.split(' ').map(|it| format!("delete interfaces {port} unit {it}")));
        } else if reason.ends_with("by gigether-options 802.3ad") {
            out.push(format!("delete interfaces {port} gigether-options 802.3ad"));
        } else if let Some(tagging) = reason.strip_prefix("has ").filter(|it| TAGGINGS.contains(it)) {
            out.push(format!("delete interfaces {port} {tagging}"));
        }
    }
}

fn uplink(port: &str, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>, seen: &SeenMode, isolation: VlanId, out: &mut Vec<String>) {
    let switching = format!("interfaces {port} unit 0 family ethernet-switching");
    let SeenMode::Known(PortMode::Trunk { native, tagged }) = seen else {
        return set_port(port, &PortMode::tagged(add.iter().copied()), seen, isolation, out);
    };
    if tagged.is_empty() && native.is_none() {
        return set_port(port, &PortMode::tagged(add.iter().copied()), seen, isolation, out);
    }
    if remove.is_empty() {
        out.extend(vlan_ranges(add).iter().map(|it| format!("set {switching} vlan members {it}")));
        return;
    }
    // A VLAN may be one of a range or of `all`: the list is written anew, in the same commit.
    let native = native.filter(|it| !remove.contains(it));
    let keep: BTreeSet<VlanId> = tagged.iter().chain(&native).chain(add).filter(|it| !remove.contains(it)).copied().collect();
    if keep.is_empty() {
        return set_port(port, &PortMode::tagged([]), seen, isolation, out);
    }
    out.push(format!("delete {switching} vlan members"));
    out.extend(vlan_ranges(&keep).iter().map(|it| format!("set {switching} vlan members {it}")));
}

#[cfg(test)]
#[path = "juniper_junos_tests.rs"]
mod tests;
