//! Nokia SR Linux.
//!
//! It knows no VLANs of a switch: a VLAN is the network instance `mac-vrf-V` of type `mac-vrf` with its name as description, a port is in
//! it by a subinterface, index 0 for untagged frames and the VLAN's number for tagged ones. A subinterface in an instance of another name,
//! or with another index, is none of ours.
//!
//! Source: Nokia, *SR Linux Configuration Basics Guide* (candidates, `info`), *Interfaces Guide* (subinterfaces, VLAN tagging, LAG), *EVPN
//! and VXLAN Guide*.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;
use serde_json::Value;

use super::super::plan::Change;
use super::super::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen, Vni};
use super::setlines::{quoted, reasons, shell_name, slices, words};
use super::{Dialect, Family, Site};

const DIALECT: Dialect = Dialect {
    prompt_ends: &['#'],
    setup: &["environment cli-engine type basic", "environment complete-on-space false"],
    enable: None,
    enter: &["enter candidate exclusive"],
    commit: &["commit now"],
    discard: &["discard now"],
    leave: &[],
    save: &["save startup"],
    answers: &[("Are you sure?", "y")],
    refusals: &["error:", "parsing error", "unknown token", "failed", "permission denied", "access denied", "locked by", "no such file"],
    harmless: &["warning:"],
    commit_seconds: 180,
};

const FACTS: Facts = Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: true, has_lags: true, saves: true };

/// How deep a configuration may be.
const DEEPEST: usize = 32;

/// Nokia SR Linux.
#[derive(Debug, Clone, Copy, Default)]
pub struct NokiaSrl;

impl Family for NokiaSrl {
    fn dialect(&self) -> &Dialect {
        &DIALECT
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn show(&self, _site: Site<'_>) -> Vec<String> {
        vec!["info from running / | as json".into(), "info from state / interface * admin-state | as json".into()]
    }

    fn show_saved(&self, _site: Site<'_>) -> Vec<String> {
        // There is no datastore of what the next start comes back to, only the file.
        vec!["bash cat /etc/opt/srlinux/config.json".into()]
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        match answers {
            [config, states] => Ok(seen(&paths(config)?, &paths(states)?, site.isolation)),
            // A switch that was never saved has no file, or nothing in it.
            [saved] if saved.lines().all(|it| it.trim().is_empty() || it.starts_with("--{")) => Ok(SwitchSeen::default()),
            [saved] => Ok(seen(&paths(saved)?, &[], site.isolation)),
            _ => Err(format!("{} answers to two commands", answers.len())),
        }
    }

    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let mut writer = Writer { out: Vec::new(), declared: seen.vlans.keys().copied().collect(), seen, site };
        for change in changes {
            writer.one(change)?;
        }
        Ok(writer.out)
    }
}

fn is_lag(name: &str) -> bool {
    name.strip_prefix("lag").is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}

fn is_port(name: &str) -> bool {
    let places = |it: &str| it.split('/').all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()));
    is_lag(name) || name.strip_prefix("ethernet-").is_some_and(places)
}

/// The network instance of a VLAN.
fn instance(vlan: VlanId) -> String {
    format!("mac-vrf-{vlan}")
}

fn vlan_of(instance: &str) -> Option<VlanId> {
    instance.strip_prefix("mac-vrf-").and_then(|it| it.parse().ok()).and_then(VlanId::new)
}

/// A configuration as paths, each with its value as the last word: from JSON, or from `set / …` lines.
fn paths(answer: &str) -> Result<Vec<Vec<String>>, String> {
    let mut lines: Vec<&str> = answer.lines().skip_while(|it| !it.starts_with('{')).collect();
    // The JSON may be one line.
    let ends = |line: &str, is_only: bool| line.starts_with('}') || is_only && line.trim_end().ends_with('}');
    while lines.last().is_some_and(|it| !ends(it, lines.len() == 1)) {
        lines.pop();
    }
    let mut out = Vec::new();
    if !lines.is_empty() {
        let json: Value = serde_json::from_str(&lines.join("\n")).map_err(|error| format!("the configuration: {error}"))?;
        walk(&json, &mut Vec::new(), &mut out);
        return Ok(out);
    }
    for line in answer.lines() {
        let mut line = words(line);
        if line.first().is_some_and(|it| it == "set") && line.get(1).is_some_and(|it| it == "/") {
            out.push(line.split_off(2));
        }
    }
    if out.is_empty() { Err("there is neither JSON nor a line that begins with \"set /\"".into()) } else { Ok(out) }
}

/// A name without the module before it.
fn bare(name: &str) -> &str {
    match name.split_once(':') {
        Some((module, rest)) if module.starts_with("srl_nokia") => rest,
        _ => name,
    }
}

fn walk(value: &Value, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    if path.len() > DEEPEST {
        return;
    }
    match value {
        Value::Object(fields) => {
            if fields.is_empty() {
                out.push(path.clone());
            }
            for (name, value) in fields {
                path.push(bare(name).to_owned());
                walk(value, path, out);
                path.pop();
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                let key = ["name", "index", "id"].iter().find_map(|key| entry.get(key));
                let key = key.and_then(|it| it.as_str().map(|it| bare(it).to_owned()).or_else(|| it.as_u64().map(|it| it.to_string())));
                match (entry, key) {
                    (Value::Object(fields), Some(key)) => {
                        path.push(key);
                        out.push(path.clone());
                        for (name, value) in fields.iter().filter(|(name, _)| !["name", "index", "id"].contains(&bare(name))) {
                            path.push(bare(name).to_owned());
                            walk(value, path, out);
                            path.pop();
                        }
                        path.pop();
                    }
                    (Value::Object(_) | Value::Array(_), _) => {}
                    (scalar, _) => walk(scalar, path, out),
                }
            }
        }
        Value::String(text) => {
            path.push(bare(text).to_owned());
            out.push(path.clone());
            path.pop();
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => {
            path.push(value.to_string());
            out.push(path.clone());
            path.pop();
        }
    }
}

#[derive(Debug, Default)]
struct Sub {
    is_bridged: bool,
    is_shut: bool,
    is_untagged: bool,
    tag: Option<VlanId>,
    other_encap: bool,
    instances: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Port {
    description: String,
    state: Option<bool>,
    tagging: bool,
    lag: Option<String>,
    is_configured: bool,
    lag_type: Option<String>,
    lacp_mode: Option<String>,
    subs: BTreeMap<String, Sub>,
}

fn seen(config: &[Vec<String>], states: &[Vec<String>], isolation: VlanId) -> SwitchSeen {
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    let mut seen = SwitchSeen::default();
    for line in states {
        if let ["interface", name, ..] = slices(line).as_slice()
            && is_port(name)
            && !is_lag(name)
        {
            ports.entry((*name).to_owned()).or_default();
        }
    }
    let mut tunnels: BTreeMap<String, Vni> = BTreeMap::new();
    let mut bridges: BTreeSet<&str> = BTreeSet::new();
    for line in config {
        match slices(line).as_slice() {
            ["interface", name, rest @ ..] if is_port(name) => ports.entry((*name).to_owned()).or_default().statement(rest),
            ["network-instance", name, "type", "mac-vrf"] => _ = bridges.insert(*name),
            ["tunnel-interface", name, "vxlan-interface", index, "ingress", "vni", vni] => {
                tunnels.extend(vni.parse().ok().and_then(Vni::new).map(|vni| (format!("{name}.{index}"), vni)));
            }
            _ => {}
        }
    }
    for vlan in bridges.iter().filter_map(|it| vlan_of(it)) {
        seen.vlans.insert(vlan, VlanSeen { running: true, ..VlanSeen::default() });
    }
    for line in config {
        let line = slices(line);
        let ["network-instance", name, rest @ ..] = line.as_slice() else { continue };
        if let ["interface", interface, ..] = rest
            && let Some((port, index)) = interface.rsplit_once('.')
            && let Some(port) = ports.get_mut(port)
        {
            port.subs.entry(index.to_owned()).or_default().instances.insert((*name).to_owned());
        }
        let Some(vlan) = vlan_of(name).and_then(|it| seen.vlans.get_mut(&it)) else { continue };
        match rest {
            ["description", text] => vlan.name = Some((*text).to_owned()),
            ["vxlan-interface", interface, ..] => vlan.vni = tunnels.get(*interface).copied(),
            _ => {}
        }
    }
    for (name, port) in ports {
        if is_lag(&name) {
            let protocol = match (port.lag_type.as_deref(), port.lacp_mode.as_deref()) {
                (Some("lacp"), None | Some("ACTIVE")) => Some(LagProtocol::Lacp),
                (Some("static") | None, _) => Some(LagProtocol::Static),
                _ => None,
            };
            seen.lags.insert(name.clone(), LagSeen { protocol, is_ours: port.description.starts_with(MARK) });
        }
        let description = port.description.clone();
        seen.ports.insert(name, PortSeen { mode: port.mode(&bridges, isolation), description, unsaved: false });
    }
    seen
}

impl Port {
    fn statement(&mut self, words: &[&str]) {
        self.is_configured = true;
        match words {
            ["description", text] => self.description = (*text).to_owned(),
            ["admin-state", state] => self.state = Some(*state == "enable"),
            ["vlan-tagging", tagging] => self.tagging = *tagging == "true",
            ["ethernet", "aggregate-id", lag] => self.lag = Some((*lag).to_owned()),
            ["lag", "lag-type", kind] => self.lag_type = Some((*kind).to_owned()),
            ["lag", "lacp", "lacp-mode", mode] => self.lacp_mode = Some((*mode).to_owned()),
            ["subinterface", index, rest @ ..] => {
                let sub = self.subs.entry((*index).to_owned()).or_default();
                match rest {
                    ["type", kind] => sub.is_bridged = *kind == "bridged",
                    ["admin-state", state] => sub.is_shut = *state == "disable",
                    ["vlan", "encap", "untagged", ..] => sub.is_untagged = true,
                    ["vlan", "encap", "single-tagged", "vlan-id", vlan] => match vlan.parse().ok().and_then(VlanId::new) {
                        Some(vlan) => sub.tag = Some(vlan),
                        None => sub.other_encap = true,
                    },
                    ["vlan", "encap", "single-tagged"] | ["vlan", "encap"] => {}
                    ["vlan", "encap" | "vlan-discovery", ..] => sub.other_encap = true,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn mode(self, bridges: &BTreeSet<&str>, isolation: VlanId) -> SeenMode {
        let mut odd: BTreeSet<String> = BTreeSet::new();
        let (mut native, mut tagged) = (None, BTreeSet::new());
        for (index, sub) in &self.subs {
            let only = sub.instances.first().filter(|it| sub.instances.len() == 1 && bridges.contains(it.as_str()));
            let vlan = only.and_then(|it| vlan_of(it)).filter(|_| sub.is_bridged && !sub.is_shut && !sub.other_encap);
            match (vlan, sub.tag, index.as_str()) {
                (Some(vlan), None, "0") if sub.is_untagged => native = Some(vlan),
                (Some(vlan), Some(tag), index) if vlan == tag && !sub.is_untagged && index == vlan.to_string() => {
                    tagged.insert(vlan);
                }
                _ => _ = odd.insert(format!("subinterface {index} is not as ours are")),
            }
        }
        if !self.subs.is_empty() && !self.tagging {
            odd.insert("without VLAN tagging".into());
        }
        let enabled = match self.state {
            Some(it) => it,
            None if self.is_configured => odd.insert("neither enabled nor disabled".into()),
            None => return SeenMode::Foreign("not configured".into()),
        };
        let mode = match (self.lag.clone(), native) {
            (Some(lag), _) => {
                if !self.subs.is_empty() {
                    odd.insert(format!("in {lag} and with subinterfaces of its own"));
                }
                PortMode::Member { lag }
            }
            (None, Some(vlan)) if tagged.is_empty() => PortMode::Access(vlan),
            (None, native) => {
                if native.is_some_and(|it| tagged.contains(&it)) {
                    odd.insert("one VLAN both tagged and untagged".into());
                }
                PortMode::Trunk { native, tagged }
            }
        };
        match mode {
            PortMode::Access(vlan) if vlan == isolation && !enabled && odd.is_empty() => SeenMode::Known(PortMode::Isolated),
            mode if enabled && odd.is_empty() => SeenMode::Known(mode),
            mode => {
                if odd.is_empty() {
                    odd.insert(format!("{mode}, shut"));
                }
                for (index, sub) in &self.subs {
                    odd.insert(format!("has subinterface {index}"));
                    odd.extend(sub.instances.iter().map(|it| format!("listed in {it} as {index}")));
                }
                odd.extend(self.lag.iter().map(|it| format!("aggregate-id {it}")));
                SeenMode::Foreign(odd.into_iter().collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// A subinterface's index and the VLAN that it is in.
type Place = (u16, VlanId);

fn places(mode: &PortMode, isolation: VlanId) -> BTreeSet<Place> {
    match mode {
        PortMode::Isolated => [(0, isolation)].into(),
        PortMode::Access(vlan) => [(0, *vlan)].into(),
        PortMode::Trunk { native, tagged } => native.iter().map(|it| (0, *it)).chain(tagged.iter().map(|it| (it.get(), *it))).collect(),
        PortMode::Member { .. } => BTreeSet::new(),
    }
}

struct Writer<'a> {
    out: Vec<String>,
    declared: BTreeSet<VlanId>,
    seen: &'a SwitchSeen,
    site: Site<'a>,
}

impl Writer<'_> {
    fn set(&mut self, path: &str) {
        self.out.push(format!("set / {path}"));
    }

    fn delete(&mut self, path: &str) {
        self.out.push(format!("delete / {path}"));
    }

    fn declare(&mut self, vlan: VlanId) {
        let instance = instance(vlan);
        self.set(&format!("network-instance {instance} type mac-vrf"));
        self.set(&format!("network-instance {instance} admin-state enable"));
        self.declared.insert(vlan);
    }

    fn one(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::SetPort { port, mode, seen } => self.set_port(shell_name(port)?, mode, seen)?,
            Change::Describe { port, text } => self.set(&format!("interface {} description {}", shell_name(port)?, quoted(text))),
            Change::Uplink { port, add, remove, seen } => self.uplink(shell_name(port)?, add, remove, seen)?,
            Change::AddVlan { vlan, name } => {
                self.declare(*vlan);
                self.set(&format!("network-instance {} description {}", instance(*vlan), quoted(name)));
            }
            Change::MapVni { vlan, vni } => self.map(*vlan, *vni)?,
            Change::UnmapVni { vlan, .. } => {
                let (instance, tunnel) = (instance(*vlan), self.tunnel()?);
                self.delete(&format!("network-instance {instance} protocols"));
                self.delete(&format!("network-instance {instance} vxlan-interface {tunnel}.{vlan}"));
                self.delete(&format!("tunnel-interface {tunnel} vxlan-interface {vlan}"));
            }
            Change::RemoveVlan { vlan, .. } => {
                self.declared.remove(vlan);
                self.delete(&format!("network-instance {}", instance(*vlan)));
            }
            Change::AddLag { lag, protocol } => {
                if !is_lag(lag) {
                    return Err(format!("a group is called lag1, lag2 and so on, not {lag:?}"));
                }
                self.set(&format!("interface {lag} admin-state enable"));
                self.set(&format!("interface {lag} description {MARK}"));
                match protocol {
                    LagProtocol::Lacp => {
                        self.set(&format!("interface {lag} lag lag-type lacp"));
                        self.set(&format!("interface {lag} lag lacp lacp-mode ACTIVE"));
                    }
                    LagProtocol::Static => self.set(&format!("interface {lag} lag lag-type static")),
                }
            }
            Change::RemoveLag { lag } => {
                let lag = shell_name(lag)?;
                self.clear(lag, self.seen.mode(lag), &BTreeSet::new())?;
                self.delete(&format!("interface {lag}"));
            }
        }
        Ok(())
    }

    fn tunnel(&self) -> Result<String, String> {
        match self.site.overlay {
            Some(it) if !it.vtep.is_empty() => shell_name(&it.vtep).map(str::to_owned),
            _ => Ok("vxlan0".into()),
        }
    }

    fn map(&mut self, vlan: VlanId, vni: Vni) -> Result<(), String> {
        let (instance, tunnel) = (instance(vlan), self.tunnel()?);
        self.set(&format!("tunnel-interface {tunnel} vxlan-interface {vlan} type bridged"));
        self.set(&format!("tunnel-interface {tunnel} vxlan-interface {vlan} ingress vni {vni}"));
        self.set(&format!("network-instance {instance} vxlan-interface {tunnel}.{vlan}"));
        let evpn = format!("network-instance {instance} protocols bgp-evpn bgp-instance 1");
        self.set(&format!("{evpn} admin-state enable"));
        self.set(&format!("{evpn} vxlan-interface {tunnel}.{vlan}"));
        self.set(&format!("{evpn} evi {vlan}"));
        if let Some(bgp_as) = self.site.overlay.map(|it| it.bgp_as).filter(|it| *it > 0) {
            if bgp_as > 65535 && vni.get() > 65535 {
                return Err(format!("no route target has room for both AS {bgp_as} and VNI {vni}"));
            }
            let targets = format!("network-instance {instance} protocols bgp-vpn bgp-instance 1 route-target");
            self.set(&format!("{targets} export-rt target:{bgp_as}:{vni}"));
            self.set(&format!("{targets} import-rt target:{bgp_as}:{vni}"));
        }
        Ok(())
    }

    /// Takes away what the port was seen to have, but for what it is to keep.
    fn clear(&mut self, port: &str, seen: &SeenMode, keep: &BTreeSet<Place>) -> Result<(), String> {
        match seen {
            SeenMode::Known(PortMode::Member { .. }) => self.delete(&format!("interface {port} ethernet aggregate-id")),
            SeenMode::Known(mode) => {
                let former = places(mode, self.site.isolation);
                for (index, vlan) in former.difference(keep) {
                    self.delete(&format!("network-instance {} interface {port}.{index}", instance(*vlan)));
                }
                for (index, _) in former.iter().filter(|(index, _)| !keep.iter().any(|(it, _)| it == index)) {
                    self.delete(&format!("interface {port} subinterface {index}"));
                }
            }
            SeenMode::Foreign(why) => {
                for (instance, index) in reasons(why).filter_map(|it| it.strip_prefix("listed in ")?.rsplit_once(" as ")) {
                    self.delete(&format!("network-instance {} interface {port}.{}", quoted(instance), shell_name(index)?));
                }
                for index in reasons(why).filter_map(|it| it.strip_prefix("has subinterface ")) {
                    self.delete(&format!("interface {port} subinterface {}", shell_name(index)?));
                }
                if reasons(why).any(|it| it.starts_with("aggregate-id ")) {
                    self.delete(&format!("interface {port} ethernet aggregate-id"));
                }
            }
            SeenMode::Absent => {}
        }
        Ok(())
    }

    fn fill(&mut self, port: &str, places: &BTreeSet<Place>) {
        for (index, vlan) in places {
            if !self.declared.contains(vlan) {
                self.declare(*vlan);
            }
            let sub = format!("interface {port} subinterface {index}");
            self.set(&format!("{sub} type bridged"));
            self.set(&format!("{sub} admin-state enable"));
            if *index == 0 {
                self.set(&format!("{sub} vlan encap untagged"));
            } else {
                self.set(&format!("{sub} vlan encap single-tagged vlan-id {vlan}"));
            }
            self.set(&format!("network-instance {} interface {port}.{index}", instance(*vlan)));
        }
    }

    fn set_port(&mut self, port: &str, mode: &PortMode, seen: &SeenMode) -> Result<(), String> {
        let places = places(mode, self.site.isolation);
        let keep = if matches!(seen, SeenMode::Known(_)) { places.clone() } else { BTreeSet::new() };
        self.clear(port, seen, &keep)?;
        let state = if *mode == PortMode::Isolated { "disable" } else { "enable" };
        self.set(&format!("interface {port} admin-state {state}"));
        match mode {
            PortMode::Member { lag } => {
                self.set(&format!("interface {port} vlan-tagging false"));
                self.set(&format!("interface {port} ethernet aggregate-id {}", shell_name(lag)?));
            }
            PortMode::Isolated | PortMode::Access(_) | PortMode::Trunk { .. } => {
                self.set(&format!("interface {port} vlan-tagging true"));
                self.fill(port, &places);
            }
        }
        Ok(())
    }

    fn uplink(&mut self, port: &str, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>, seen: &SeenMode) -> Result<(), String> {
        let added: BTreeSet<Place> = add.iter().map(|it| (it.get(), *it)).collect();
        match seen {
            SeenMode::Known(PortMode::Trunk { native, .. }) => {
                for vlan in remove {
                    let index = if Some(*vlan) == *native { 0 } else { vlan.get() };
                    self.delete(&format!("network-instance {} interface {port}.{index}", instance(*vlan)));
                    self.delete(&format!("interface {port} subinterface {index}"));
                }
                if !added.is_empty() {
                    self.set(&format!("interface {port} vlan-tagging true"));
                }
            }
            // What others made there is theirs; what we need is put beside it.
            SeenMode::Foreign(_) => {}
            SeenMode::Known(_) | SeenMode::Absent => {
                return self.set_port(port, &PortMode::tagged(add.iter().copied()), seen);
            }
        }
        self.fill(port, &added);
        Ok(())
    }
}

#[cfg(test)]
#[path = "nokia_srl_tests.rs"]
mod tests;
