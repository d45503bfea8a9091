//! SONiC by its `config` command, in the shell.
//!
//! Read is the configuration database as JSON, running and saved in the same form. Each line takes effect at once. VLANs have no names;
//! groups speak LACP, always. A port that the newer releases keep in `access` or `routed` mode is put into `trunk` mode, in which members
//! of any kind may be added. For VXLAN the tunnel and `advertise-all-vni` must be there before us.
//!
//! Source: sonic-utilities, *Command-Reference.md*; sonic-swss, *Configuration.md* (tables of CONFIG_DB).

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;
use serde_json::{Map, Value};

use super::super::plan::Change;
use super::super::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen, Vni};
use super::setlines::{reasons, shell_name, shell_quoted, vlan_list, vlan_ranges};
use super::{Dialect, Family, Site};

const DIALECT: Dialect = Dialect {
    prompt_ends: &['$', '#'],
    setup: &[],
    enable: None,
    enter: &[],
    commit: &[],
    discard: &[],
    leave: &[],
    save: &["sudo config save -y"],
    answers: &[],
    refusals: &["error:", "usage:", "command not found", "traceback", "permission denied", "failed", "no such command"],
    harmless: &["warning:"],
    commit_seconds: 120,
};

const FACTS: Facts = Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: true, has_lags: true, saves: true };

/// SONiC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sonic;

impl Family for Sonic {
    fn dialect(&self) -> &Dialect {
        &DIALECT
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn show(&self, _site: Site<'_>) -> Vec<String> {
        vec!["show runningconfiguration all".into()]
    }

    fn show_saved(&self, _site: Site<'_>) -> Vec<String> {
        vec!["cat /etc/sonic/config_db.json".into()]
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        let [answer] = answers else { return Err(format!("{} answers to one command", answers.len())) };
        let json = answer.find('{').zip(answer.rfind('}')).and_then(|(first, last)| answer.get(first..=last)).unwrap_or(answer);
        let Value::Object(tables) = serde_json::from_str(json).map_err(|error| format!("the configuration database: {error}"))? else {
            return Err("the configuration database is no object".into());
        };
        if !tables.get("PORT").is_some_and(Value::is_object) {
            return Err("the configuration database has no ports".into());
        }
        Ok(seen(&tables, site.isolation))
    }

    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        let mut declared: BTreeSet<VlanId> = seen.vlans.keys().copied().collect();
        // Ports are isolated before VLANs are declared, and a VLAN without declaration has no members.
        let isolates = changes.iter().any(|it| matches!(it, Change::SetPort { mode: PortMode::Isolated, .. }));
        if isolates && declared.insert(site.isolation) {
            out.push(format!("sudo config vlan add {}", site.isolation));
        }
        for change in changes {
            one(change, seen, site, &mut declared, &mut out)?;
        }
        Ok(out)
    }

    fn awaits(&self, line: &str) -> bool {
        ["sudo config interface startup ", "sudo config vlan member add "].iter().any(|it| line.starts_with(it))
    }
}

/// The rows of a table.
fn rows<'a>(tables: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    tables.get(name).and_then(Value::as_object).into_iter().flatten().map(|(key, row)| (key.as_str(), row))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `Vlan100`.
fn vlan_of(name: &str) -> Option<VlanId> {
    name.strip_prefix("Vlan").and_then(|it| it.parse().ok()).and_then(VlanId::new)
}

#[derive(Debug, Default)]
struct Port {
    description: String,
    is_shut: bool,
    untagged: BTreeSet<VlanId>,
    tagged: BTreeSet<VlanId>,
    groups: BTreeSet<String>,
    /// Why it is none of ours.
    odd: BTreeSet<String>,
}

fn seen(tables: &Map<String, Value>, isolation: VlanId) -> SwitchSeen {
    let mut seen = SwitchSeen::default();
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for (name, row) in rows(tables, "PORT").chain(rows(tables, "PORTCHANNEL")) {
        let port = ports.entry(name.to_owned()).or_default();
        text(row, "description").clone_into(&mut port.description);
        match text(row, "admin_status") {
            "up" => {}
            "down" => port.is_shut = true,
            // What it is without being told depends on the release.
            _ => _ = port.odd.insert("neither up nor down by its configuration".into()),
        }
        if let mode @ ("access" | "routed") = text(row, "mode") {
            port.odd.insert(format!("switchport mode {mode}"));
        }
    }
    for (name, row) in rows(tables, "PORTCHANNEL") {
        let protocol = if text(row, "static") == "true" { LagProtocol::Static } else { LagProtocol::Lacp };
        seen.lags.insert(name.to_owned(), LagSeen { protocol: Some(protocol), is_ours: text(row, "description").starts_with(MARK) });
    }
    for (key, row) in rows(tables, "VLAN_MEMBER") {
        let Some((vlan, port)) = key.split_once('|') else { continue };
        let Some(port) = ports.get_mut(port) else { continue };
        match (vlan_of(vlan), text(row, "tagging_mode")) {
            (Some(vlan), "untagged") => _ = port.untagged.insert(vlan),
            (Some(vlan), "tagged") => _ = port.tagged.insert(vlan),
            (Some(vlan), other) => {
                port.tagged.insert(vlan);
                port.odd.insert(format!("{} member of VLAN {vlan}", if other.is_empty() { "strange" } else { other }));
            }
            (None, _) => _ = port.odd.insert(format!("member of {vlan}")),
        }
    }
    for (key, _) in rows(tables, "PORTCHANNEL_MEMBER") {
        if let Some((lag, port)) = key.split_once('|')
            && let Some(port) = ports.get_mut(port)
        {
            port.groups.insert(lag.to_owned());
        }
    }
    for (key, row) in rows(tables, "INTERFACE").chain(rows(tables, "PORTCHANNEL_INTERFACE")) {
        let (port, address) = key.split_once('|').unwrap_or((key, ""));
        if let Some(port) = ports.get_mut(port) {
            port.odd.insert(match (address, text(row, "vrf_name")) {
                ("", "") => "routed".into(),
                ("", vrf) => format!("routed in {vrf}"),
                (address, _) => format!("address {address}"),
            });
        }
    }
    for (key, _) in rows(tables, "VLAN_SUB_INTERFACE") {
        let name = key.split_once('|').map_or(key, |(name, _)| name);
        if let Some(port) = name.split_once('.').and_then(|(port, _)| ports.get_mut(port)) {
            port.odd.insert(format!("subinterface {name}"));
        }
    }
    for (key, row) in rows(tables, "VLAN") {
        let number = row.get("vlanid").and_then(|it| it.as_str().map_or_else(|| it.as_u64(), |it| it.parse().ok()));
        let number = number.and_then(|it| u16::try_from(it).ok()).and_then(VlanId::new);
        if let Some(vlan) = vlan_of(key).or(number) {
            seen.vlans.insert(vlan, VlanSeen { running: true, ..VlanSeen::default() });
        }
    }
    for (_, row) in rows(tables, "VXLAN_TUNNEL_MAP") {
        if let Some(vlan) = vlan_of(text(row, "vlan"))
            && let Some(found) = seen.vlans.get_mut(&vlan)
        {
            found.vni = text(row, "vni").parse().ok().and_then(Vni::new);
        }
    }
    for (name, port) in ports {
        let description = port.description.clone();
        seen.ports.insert(name, PortSeen { mode: port.mode(isolation), description, unsaved: false });
    }
    seen
}

impl Port {
    fn mode(mut self, isolation: VlanId) -> SeenMode {
        let empty = self.untagged.is_empty() && self.tagged.is_empty();
        let known = match (self.groups.first(), self.untagged.first()) {
            (Some(lag), _) if self.groups.len() == 1 && empty => Some(PortMode::Member { lag: lag.clone() }),
            (None, None) => Some(PortMode::Trunk { native: None, tagged: self.tagged.clone() }),
            (None, Some(vlan)) if self.untagged.len() == 1 && self.tagged.is_empty() => Some(PortMode::Access(*vlan)),
            (None, Some(vlan)) if self.untagged.len() == 1 && !self.tagged.contains(vlan) => {
                Some(PortMode::Trunk { native: Some(*vlan), tagged: self.tagged.clone() })
            }
            _ => None,
        };
        match known {
            Some(PortMode::Access(vlan)) if self.odd.is_empty() && self.is_shut && vlan == isolation => SeenMode::Known(PortMode::Isolated),
            Some(mode) if self.odd.is_empty() && !self.is_shut => SeenMode::Known(mode),
            _ => {
                for (what, vlans) in [("untagged", &self.untagged), ("tagged", &self.tagged)] {
                    if !vlans.is_empty() {
                        self.odd.insert(format!("{what} {}", vlan_ranges(vlans).join(",")));
                    }
                }
                self.odd.extend(self.groups.iter().map(|it| format!("member of {it}")));
                if self.is_shut {
                    self.odd.insert("shut".into());
                }
                SeenMode::Foreign(self.odd.into_iter().collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// What is to be taken away from a port, as it was seen.
#[derive(Debug, Default)]
struct Former {
    untagged: BTreeSet<VlanId>,
    tagged: BTreeSet<VlanId>,
    groups: BTreeSet<String>,
}

impl Former {
    fn of(seen: &SeenMode, isolation: VlanId) -> Self {
        let mut out = Self::default();
        match seen {
            SeenMode::Known(PortMode::Isolated) => out.untagged = [isolation].into(),
            SeenMode::Known(PortMode::Access(vlan)) => out.untagged = [*vlan].into(),
            SeenMode::Known(PortMode::Trunk { native, tagged }) => {
                out.untagged = native.iter().copied().collect();
                out.tagged.clone_from(tagged);
            }
            SeenMode::Known(PortMode::Member { lag }) => out.groups = [lag.clone()].into(),
            SeenMode::Foreign(why) => {
                for reason in reasons(why) {
                    if let Some(list) = reason.strip_prefix("untagged ") {
                        out.untagged = vlan_list(list).unwrap_or_default();
                    } else if let Some(list) = reason.strip_prefix("tagged ") {
                        out.tagged = vlan_list(list).unwrap_or_default();
                    } else if let Some(lag) = reason.strip_prefix("member of ") {
                        out.groups.insert(lag.to_owned());
                    }
                }
            }
            SeenMode::Absent => {}
        }
        out
    }
}

fn one(change: &Change, seen: &SwitchSeen, site: Site<'_>, declared: &mut BTreeSet<VlanId>, out: &mut Vec<String>) -> Result<(), String> {
    let vtep = match site.overlay {
        Some(it) if !it.vtep.is_empty() => shell_name(&it.vtep)?,
        _ => "vtep",
    };
    match change {
        Change::SetPort { port, mode, seen } => set_port(shell_name(port)?, mode, seen, site.isolation, out)?,
        Change::Describe { port, text } => {
            // There is no `config` command for it that all releases have.
            let table = if seen.lags.contains_key(port) { "PORTCHANNEL" } else { "PORT" };
            out.push(format!("sudo sonic-db-cli CONFIG_DB HSET '{table}|{}' description {}", shell_name(port)?, shell_quoted(text)));
        }
        Change::Uplink { port, add, remove, seen } => {
            let port = shell_name(port)?;
            if let SeenMode::Known(PortMode::Trunk { .. }) = seen {
                out.extend(remove.iter().map(|it| format!("sudo config vlan member del {it} {port}")));
                out.extend(add.iter().map(|it| format!("sudo config vlan member add {it} {port}")));
            } else {
                let mode = PortMode::Trunk { native: None, tagged: add.clone() };
                set_port(port, &mode, seen, site.isolation, out)?;
            }
        }
        Change::AddVlan { vlan, .. } => {
            if declared.insert(*vlan) {
                out.push(format!("sudo config vlan add {vlan}"));
            }
        }
        Change::MapVni { vlan, vni } => out.push(format!("sudo config vxlan map add {vtep} {vlan} {vni}")),
        Change::UnmapVni { vlan, vni } => out.push(format!("sudo config vxlan map del {vtep} {vlan} {vni}")),
        Change::RemoveVlan { vlan, .. } => {
            declared.remove(vlan);
            out.push(format!("sudo config vlan del {vlan}"));
        }
        Change::AddLag { protocol: LagProtocol::Static, lag } => return Err(format!("its groups speak LACP, as {lag} is not to")),
        Change::AddLag { lag, .. } => {
            let number = lag.strip_prefix("PortChannel").filter(|it| (1..=4).contains(&it.len()));
            if !number.is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit())) {
                return Err(format!("a group is called PortChannel1, PortChannel2 and so on, not {lag:?}"));
            }
            if !seen.lags.contains_key(lag) {
                out.push(format!("sudo config portchannel add {lag}"));
            }
            out.push(format!("sudo sonic-db-cli CONFIG_DB HSET 'PORTCHANNEL|{lag}' description {MARK}"));
        }
        Change::RemoveLag { lag } => {
            let lag = shell_name(lag)?;
            let former = Former::of(seen.mode(lag), site.isolation);
            out.extend(former.untagged.iter().chain(&former.tagged).map(|it| format!("sudo config vlan member del {it} {lag}")));
            out.push(format!("sudo config portchannel del {lag}"));
        }
    }
    Ok(())
}

fn set_port(port: &str, mode: &PortMode, seen: &SeenMode, isolation: VlanId, out: &mut Vec<String>) -> Result<(), String> {
    let (untagged, tagged, group): (BTreeSet<VlanId>, BTreeSet<VlanId>, Option<&str>) = match mode {
        PortMode::Isolated => ([isolation].into(), BTreeSet::new(), None),
        PortMode::Access(vlan) => ([*vlan].into(), BTreeSet::new(), None),
        PortMode::Trunk { native, tagged } => (native.iter().copied().collect(), tagged.clone(), None),
        PortMode::Member { lag } => (BTreeSet::new(), BTreeSet::new(), Some(shell_name(lag)?)),
    };
    let former = Former::of(seen, isolation);
    if *mode == PortMode::Isolated {
        out.push(format!("sudo config interface shutdown {port}"));
    }
    let (no_more, kept): (Vec<_>, Vec<_>) = former.untagged.iter().partition(|it| !untagged.contains(it));
    let (no_longer, still): (Vec<_>, Vec<_>) = former.tagged.iter().partition(|it: &&VlanId| !tagged.contains(it));
    out.extend(no_more.iter().chain(&no_longer).map(|it| format!("sudo config vlan member del {it} {port}")));
    for lag in former.groups.iter().filter(|it| Some(it.as_str()) != group) {
        out.push(format!("sudo config portchannel member del {} {port}", shell_name(lag)?));
    }
    if let SeenMode::Foreign(why) = seen {
        wipe(port, why, out)?;
    }
    out.extend(untagged.iter().filter(|it| !kept.contains(it)).map(|it| format!("sudo config vlan member add -u {it} {port}")));
    out.extend(tagged.iter().filter(|it| !still.contains(it)).map(|it| format!("sudo config vlan member add {it} {port}")));
    if let Some(lag) = group.filter(|it| !former.groups.contains(*it)) {
        out.push(format!("sudo config portchannel member add {lag} {port}"));
    }
    if *mode != PortMode::Isolated {
        out.push(format!("sudo config interface startup {port}"));
    }
    Ok(())
}

/// Takes away what made the port none of ours, as told by [`Port::mode`].
fn wipe(port: &str, why: &str, out: &mut Vec<String>) -> Result<(), String> {
    for reason in reasons(why) {
        if let Some(address) = reason.strip_prefix("address ") {
            out.push(format!("sudo config interface ip remove {port} {}", shell_name(address)?));
        } else if let Some(name) = reason.strip_prefix("subinterface ") {
            out.push(format!("sudo config subinterface del {}", shell_name(name)?));
        }
    }
    if reasons(why).any(|it| it.starts_with("routed")) {
        out.push(format!("sudo config interface vrf unbind {port}"));
    }
    if reasons(why).any(|it| it.starts_with("switchport mode ")) {
        out.push(format!("sudo config switchport mode trunk {port}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "sonic_tests.rs"]
mod tests;
