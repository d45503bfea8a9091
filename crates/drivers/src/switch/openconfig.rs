//! What NETCONF and gNMI share: the OpenConfig models of ports, VLANs and groups, read from and written to plain values.
//!
//! A trunk without a list of VLANs carries all of them, and an empty list is the same as none. So a trunk of no VLAN is one of VLAN 4094
//! alone, where that is not declared. A native VLAN that is not in the list takes no frames.
//!
//! Source: openconfig/public, `openconfig-interfaces`, `-if-ethernet`, `-if-aggregate`, `-lacp`, `-vlan`, `-network-instance`.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;
use serde_json::Value;

use super::plan::Change;
use super::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen};

/// What can be said in these models. Mappings to VXLAN networks are in none that several makers have.
pub(super) const FACTS: Facts =
    Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: false, has_lags: true, saves: false };

/// The VLAN of a trunk of none.
const NOWHERE: u16 = 4094;
/// How deep a value may be.
const DEEPEST: usize = 64;

/// The network instance in which VLANs are declared.
pub(super) fn instance(bridge: &str) -> &str {
    if bridge.is_empty() { "default" } else { bridge }
}

/// The same value with the names of modules taken off its keys.
pub(super) fn bare(value: Value) -> Value {
    bare_to(value, 0)
}

fn bare_to(value: Value, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    match value {
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (local(&key).to_owned(), bare_to(value, depth + 1))).collect(),
        Value::Array(entries) => entries.into_iter().map(|it| bare_to(it, depth + 1)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// `b` of `a:b`.
fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, it)| it)
}

/// The value at the end of these keys.
fn at<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

/// The entries of a list, which an encoding without lists shows as one value if there is but one.
fn entries<'a>(value: &'a Value, keys: &[&str]) -> &'a [Value] {
    match at(value, keys) {
        Some(Value::Array(all)) => all,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}

/// A leaf as text, whatever its encoding.
fn leaf(value: &Value, keys: &[&str]) -> Option<String> {
    match at(value, keys)? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(it) => Some(it.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn vlan(text: &str) -> Option<VlanId> {
    text.parse().ok().and_then(VlanId::new)
}

/// `10`, or `10..20`.
fn range(text: &str) -> Option<BTreeSet<VlanId>> {
    let (first, last) = text.split_once("..").or_else(|| text.split_once('-')).unwrap_or((text, text));
    let (first, last) = (vlan(first.trim())?, vlan(last.trim())?);
    (first <= last).then(|| (first.get()..=last.get()).filter_map(VlanId::new).collect())
}

/// VLANs as `trunk-vlans` has them: numbers, and ranges as `10..20`.
pub(super) fn trunk_vlans(vlans: &BTreeSet<VlanId>) -> Vec<Result<u16, String>> {
    let mut out: Vec<(u16, u16)> = Vec::new();
    for vlan in vlans.iter().map(|it| it.get()) {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == vlan => *last = vlan,
            _ => out.push((vlan, vlan)),
        }
    }
    out.into_iter().map(|(first, last)| if first == last { Ok(first) } else { Err(format!("{first}..{last}")) }).collect()
}

/// Reads a configuration: `interfaces`, `lacp` and `network-instances` with bare keys. `states` may name more interfaces than are
/// configured.
///
/// # Errors
/// There are no interfaces in it.
pub(super) fn seen(config: &Value, states: &Value, isolation: VlanId, bridge: &str) -> Result<SwitchSeen, String> {
    let interfaces = entries(config, &["interfaces", "interface"]);
    if interfaces.is_empty() {
        return Err("it shows no interfaces of openconfig-interfaces".into());
    }
    let mut seen = SwitchSeen { vlans: vlans(config, instance(bridge)), ..SwitchSeen::default() };
    let mut lacp: BTreeMap<String, String> = BTreeMap::new();
    for entry in entries(config, &["lacp", "interfaces", "interface"]) {
        if let Some(name) = leaf(entry, &["name"]) {
            lacp.insert(name, leaf(entry, &["config", "lacp-mode"]).unwrap_or_else(|| "ACTIVE".into()));
        }
    }
    let kinds: BTreeMap<String, String> = entries(states, &["interfaces", "interface"])
        .iter()
        .filter_map(|it| Some((leaf(it, &["name"])?, leaf(it, &["state", "type"]).unwrap_or_default())))
        .collect();
    let nowhere = VlanId::new(NOWHERE).filter(|it| !seen.vlans.contains_key(it));
    for entry in interfaces {
        let Some(name) = leaf(entry, &["name"]).or_else(|| leaf(entry, &["config", "name"])) else { continue };
        let kind = leaf(entry, &["config", "type"]).or_else(|| kinds.get(&name).cloned()).unwrap_or_default();
        let has_own = entry.get("ethernet").is_some() || entry.get("aggregation").is_some();
        let Some(is_lag) = is_switched(&name, local(&kind), has_own, entry.get("aggregation").is_some()) else { continue };
        let description = leaf(entry, &["config", "description"]).unwrap_or_default();
        if is_lag {
            let protocol = match (leaf(entry, &["aggregation", "config", "lag-type"]).as_deref().map(local), lacp.get(&name)) {
                (Some("LACP"), mode) => mode.is_none_or(|it| it == "ACTIVE").then_some(LagProtocol::Lacp),
                (Some("STATIC"), _) => Some(LagProtocol::Static),
                _ => None,
            };
            seen.lags.insert(name.clone(), LagSeen { protocol, is_ours: description.starts_with(MARK) });
        }
        let mode = mode(entry, is_lag, isolation, nowhere);
        seen.ports.insert(name, PortSeen { mode, description, unsaved: false });
    }
    for (name, kind) in kinds {
        if is_switched(&name, local(&kind), false, false) == Some(false) {
            seen.ports.entry(name).or_insert_with(|| SeenMode::Foreign("not configured".into()).into());
        }
    }
    Ok(seen)
}

/// Whether it is a group; `None`: it is no port that frames are switched on.
fn is_switched(name: &str, kind: &str, has_own: bool, has_aggregation: bool) -> Option<bool> {
    let lower = name.to_ascii_lowercase();
    if ["management", "mgmt", "fxp", "vlan", "loopback", "vxlan", "irb"].iter().any(|it| lower.starts_with(it)) || lower == "eth0" {
        return None;
    }
    match kind {
        "ethernetCsmacd" => Some(false),
        "ieee8023adLag" => Some(true),
        "" if has_own => Some(has_aggregation),
        _ => None,
    }
}

fn vlans(config: &Value, instance: &str) -> BTreeMap<VlanId, VlanSeen> {
    let all = entries(config, &["network-instances", "network-instance"]);
    let mine = all.iter().filter(|it| leaf(it, &["name"]).is_some_and(|it| it == instance));
    let mut out = BTreeMap::new();
    for entry in mine.flat_map(|it| entries(it, &["vlans", "vlan"])) {
        let id = leaf(entry, &["vlan-id"]).or_else(|| leaf(entry, &["config", "vlan-id"]));
        let Some(id) = id.as_deref().and_then(vlan) else { continue };
        let by_itself = [format!("VLAN{id:04}", id = id.get()), format!("VLAN{id}"), format!("VLAN {id:04}", id = id.get())];
        let name = leaf(entry, &["config", "name"]).filter(|name| {
            let upper = name.to_ascii_uppercase();
            !name.is_empty() && !by_itself.contains(&upper)
        });
        out.insert(id, VlanSeen { name, running: true, ..VlanSeen::default() });
    }
    out
}

fn mode(entry: &Value, is_lag: bool, isolation: VlanId, nowhere: Option<VlanId>) -> SeenMode {
    let foreign = |why: &str| SeenMode::Foreign(why.to_owned());
    for sub in entries(entry, &["subinterfaces", "subinterface"]) {
        let index = leaf(sub, &["index"]).unwrap_or_default();
        let has_address = ["ipv4", "ipv6"].iter().any(|it| !entries(sub, &[it, "addresses", "address"]).is_empty());
        if has_address || !["0", ""].contains(&index.as_str()) {
            return SeenMode::Foreign(format!("with subinterface {index} of its own"));
        }
    }
    if let Some(lag) = leaf(entry, &["ethernet", "config", "aggregate-id"]).filter(|it| !it.is_empty() && !is_lag) {
        return up(entry, PortMode::Member { lag }, isolation);
    }
    let container = if is_lag { "aggregation" } else { "ethernet" };
    let Some(switched) = at(entry, &[container, "switched-vlan", "config"]) else { return foreign("without VLANs of its own") };
    match leaf(switched, &["interface-mode"]).as_deref().map(local) {
        Some("ACCESS") => match leaf(switched, &["access-vlan"]).as_deref().map(vlan) {
            Some(Some(vlan)) => up(entry, PortMode::Access(vlan), isolation),
            Some(None) => foreign("access in a VLAN that is none"),
            None => foreign("access in the default VLAN"),
        },
        Some("TRUNK") => {
            let mut list = BTreeSet::new();
            let listed = entries(switched, &["trunk-vlans"]);
            for part in listed {
                let text = part.as_str().map_or_else(|| part.to_string(), str::to_owned);
                let Some(found) = range(&text) else { return SeenMode::Foreign(format!("trunk of VLANs {text:?}")) };
                list.extend(found);
            }
            if listed.is_empty() {
                list = (1..=4094).filter_map(VlanId::new).collect();
            }
            let native = match leaf(switched, &["native-vlan"]).as_deref().map(vlan) {
                None => None,
                Some(Some(vlan)) if list.contains(&vlan) => Some(vlan),
                // The default that some show without being told; it takes no frames.
                Some(Some(vlan)) if vlan.get() == 1 => None,
                Some(_) => return foreign("trunk of a native VLAN that is not among its VLANs"),
            };
            if native.is_none() && nowhere.is_some_and(|it| list.iter().eq([&it])) {
                list.clear();
            }
            let tagged = list.into_iter().filter(|it| Some(*it) != native).collect();
            up(entry, PortMode::Trunk { native, tagged }, isolation)
        }
        Some(other) => SeenMode::Foreign(format!("of mode {other}")),
        None => foreign("without VLANs of its own"),
    }
}

fn up(entry: &Value, mode: PortMode, isolation: VlanId) -> SeenMode {
    let is_up = leaf(entry, &["config", "enabled"]).is_none_or(|it| it == "true");
    match mode {
        PortMode::Access(vlan) if vlan == isolation && !is_up => SeenMode::Known(PortMode::Isolated),
        mode if is_up => SeenMode::Known(mode),
        mode => SeenMode::Foreign(format!("{mode}, shut")),
    }
}

/// The VLANs of a port or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Switched {
    /// Untagged in this one.
    Access(VlanId),
    /// The list, which contains the native one.
    Trunk { native: Option<VlanId>, list: BTreeSet<VlanId> },
}

/// What is to become of one interface; `None`: it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InterfaceEdit {
    /// Take it away altogether.
    pub remove: bool,
    /// Its VLANs are those of a group.
    pub is_lag: bool,
    /// Make the group, or make it speak so.
    pub protocol: Option<LagProtocol>,
    pub enabled: Option<bool>,
    pub description: Option<String>,
    /// The group it is in; `Some(None)`: none.
    pub aggregate: Option<Option<String>>,
    /// Its VLANs, instead of those it has; `Some(None)`: none of its own.
    pub switched: Option<Option<Switched>>,
    /// Take its routed parts away.
    pub drop_subinterfaces: bool,
}

/// What is to be changed, in any order: it takes effect as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edits {
    pub interfaces: BTreeMap<String, InterfaceEdit>,
    /// The name of a VLAN that is to be there; `None`: it is to go.
    pub vlans: BTreeMap<VlanId, Option<String>>,
}

/// How many changes are named in a refusal.
const NAMED: usize = 8;

/// The switch's words with what was asked for, for it is seldom that they name it.
pub(super) fn asked(reason: &str, changes: &[Change]) -> String {
    let said = |change: &Change| match change {
        Change::SetPort { port, mode, .. } => format!("{port} {mode}"),
        Change::Describe { port, .. } => format!("the description of {port}"),
        Change::Uplink { port, add, remove, .. } => {
            let vlans: Vec<String> = add.iter().chain(remove).take(NAMED).map(ToString::to_string).collect();
            format!("VLANs {} on {port}", vlans.join(","))
        }
        Change::AddVlan { vlan, .. } | Change::RemoveVlan { vlan, .. } => format!("VLAN {vlan}"),
        Change::MapVni { vni, .. } | Change::UnmapVni { vni, .. } => format!("VNI {vni}"),
        Change::AddLag { lag, .. } | Change::RemoveLag { lag } => format!("group {lag}"),
    };
    let mut all: Vec<String> = changes.iter().take(NAMED).map(said).collect();
    if changes.len() > NAMED {
        all.push(format!("{} more", changes.len() - NAMED));
    }
    format!("{reason}; asked for: {}", all.join(", "))
}

/// Says changes as edits.
///
/// # Errors
/// One cannot be said in these models.
pub(super) fn edits(changes: &[Change], seen: &SwitchSeen, isolation: VlanId) -> Result<Edits, String> {
    let mut out = Edits::default();
    let nowhere = VlanId::new(NOWHERE).ok_or("there is no VLAN for a trunk of none")?;
    for change in changes {
        let mut edit = |name: &str| -> Result<InterfaceEdit, String> {
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                return Err(format!("{name:?} is no name of an interface"));
            }
            let edit = out.interfaces.remove(name).unwrap_or_default();
            Ok(InterfaceEdit { is_lag: edit.is_lag || seen.lags.contains_key(name), ..edit })
        };
        match change {
            Change::SetPort { port, mode, seen } => {
                let mut edit = edit(port)?;
                set_port(&mut edit, mode, seen, isolation, nowhere);
                out.interfaces.insert(port.clone(), edit);
            }
            Change::Uplink { port, add, remove, seen } => {
                let mut edit = edit(port)?;
                if let SeenMode::Known(PortMode::Trunk { native, tagged }) = seen {
                    let native = native.filter(|it| !remove.contains(it));
                    let before = match &edit.switched {
                        Some(Some(Switched::Trunk { list, .. })) => list.clone(),
                        _ => tagged.iter().chain(&native).copied().collect(),
                    };
                    let list = before.union(add).filter(|it| !remove.contains(it)).copied().collect();
                    edit.switched = Some(Some(trunk(native, list, nowhere)));
                } else {
                    set_port(&mut edit, &PortMode::Trunk { native: None, tagged: add.clone() }, seen, isolation, nowhere);
                }
                out.interfaces.insert(port.clone(), edit);
            }
            Change::Describe { port, text } => {
                let edit = InterfaceEdit { description: Some(text.clone()), ..edit(port)? };
                out.interfaces.insert(port.clone(), edit);
            }
            Change::AddLag { lag, protocol } => {
                let edit = InterfaceEdit { is_lag: true, protocol: Some(*protocol), description: Some(MARK.to_owned()), ..edit(lag)? };
                out.interfaces.insert(lag.clone(), edit);
            }
            Change::RemoveLag { lag } => {
                let edit = InterfaceEdit { remove: true, ..edit(lag)? };
                out.interfaces.insert(lag.clone(), edit);
            }
            Change::AddVlan { vlan, name } => _ = out.vlans.insert(*vlan, Some(name.clone())),
            Change::RemoveVlan { vlan, .. } => _ = out.vlans.insert(*vlan, None),
            Change::MapVni { vlan, .. } | Change::UnmapVni { vlan, .. } => {
                return Err(format!("it cannot map VLAN {vlan} to a VXLAN network"));
            }
        }
    }
    Ok(out)
}

fn trunk(native: Option<VlanId>, list: BTreeSet<VlanId>, nowhere: VlanId) -> Switched {
    let list: BTreeSet<VlanId> = list.into_iter().chain(native).collect();
    Switched::Trunk { native, list: if list.is_empty() { [nowhere].into() } else { list } }
}

fn set_port(edit: &mut InterfaceEdit, mode: &PortMode, seen: &SeenMode, isolation: VlanId, nowhere: VlanId) {
    edit.drop_subinterfaces = matches!(seen, SeenMode::Foreign(why) if why.contains("subinterface"));
    edit.enabled = Some(*mode != PortMode::Isolated);
    let aggregate = if let PortMode::Member { lag } = mode { Some(lag.clone()) } else { None };
    edit.switched = Some(match mode {
        PortMode::Isolated => Some(Switched::Access(isolation)),
        PortMode::Access(vlan) => Some(Switched::Access(*vlan)),
        PortMode::Trunk { native, tagged } => Some(trunk(*native, tagged.clone(), nowhere)),
        PortMode::Member { .. } => None,
    });
    if !edit.is_lag {
        edit.aggregate = Some(aggregate);
    }
}

#[cfg(test)]
#[path = "openconfig_tests.rs"]
pub(super) mod tests;
