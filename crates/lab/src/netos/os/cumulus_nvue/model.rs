//! Between the object of NVUE and what the switch does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::tree::{set, unset};
use crate::netos::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol, Vlan};

/// Where [`Config::extra`] keeps the object.
const OBJECT: &str = "nvue";
/// The bridge that there is.
pub(super) const BRIDGE: &str = "br_default";

/// Remembers the object with the configuration that follows from it.
pub(super) fn keep(config: &mut Config, tree: &Value) {
    config.extra.insert(OBJECT.to_owned(), vec![tree.to_string()]);
}

/// A switch fresh from the box: its ports are up and not in a bridge.
pub(super) fn factory(hostname: &str, ports: usize) -> Config {
    let mut tree = json!({"system": {"hostname": hostname}, "interface": {"eth0": {"type": "eth"}, "lo": {"type": "loopback"}}});
    if ports > 0 {
        // The words are in the grammar.
        let _taken = set(&mut tree, &["interface".into(), format!("swp1-{ports}"), "type".into(), "swp".into()]);
    }
    let sockets: BTreeMap<String, Port> = (1..=ports).map(|it| (format!("swp{it}"), Port::default())).collect();
    let base = Config { hostname: hostname.to_owned(), ports: sockets, ..Config::default() };
    let mut out = project(&tree, &base);
    keep(&mut out, &tree);
    out
}

fn empty(value: &Value) -> bool {
    value.as_object().is_none_or(serde_json::Map::is_empty)
}

fn keys(value: Option<&Value>) -> Vec<&String> {
    value.and_then(Value::as_object).map(|it| it.keys().collect()).unwrap_or_default()
}

fn vlan(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|it| u16::try_from(it).ok())
}

/// What the switch does with this object. `base` tells which sockets there are.
pub(super) fn project(tree: &Value, base: &Config) -> Config {
    let domain = tree.pointer(&format!("/bridge/domain/{BRIDGE}"));
    let vlans: BTreeMap<u16, Vlan> = keys(domain.and_then(|it| it.get("vlan")))
        .into_iter()
        .filter_map(|key| {
            let vni = keys(domain.and_then(|it| it.pointer(&format!("/vlan/{key}/vni")))).first().and_then(|it| it.parse().ok());
            Some((key.parse().ok()?, Vlan { name: None, vni, extra: Vec::new() }))
        })
        .collect();
    let native = domain.and_then(|it| it.get("untagged")).and_then(vlan).or(Some(1));
    let mut out = Config {
        hostname: tree.pointer("/system/hostname").and_then(Value::as_str).unwrap_or("cumulus").to_owned(),
        vlans,
        extra: base.extra.clone(),
        ..Config::default()
    };
    let interfaces = tree.get("interface");
    let is_bond = |name: &str, it: &Value| it.get("bond").is_some() || it.get("type") == Some(&json!("bond")) || name.starts_with("bond");
    let bonds: Vec<(&String, &Value)> =
        interfaces.and_then(Value::as_object).map(|it| it.iter().filter(|(name, it)| is_bond(name, it)).collect()).unwrap_or_default();
    let protocol = |it: &Value| if it.pointer("/bond/mode") == Some(&json!("static")) { Protocol::Static } else { Protocol::Active };
    let sockets = base.ports.iter().filter(|(_, it)| !it.is_group).map(|(name, _)| name);
    for name in sockets.chain(bonds.iter().map(|it| it.0)) {
        let at = interfaces.and_then(|it| it.get(name));
        let bond = bonds.iter().find(|it| it.0 == name);
        let member_of = bonds.iter().find(|(_, it)| it.pointer("/bond/member").and_then(|it| it.get(name)).is_some());
        let mut port = Port {
            // An interface that is not configured is down.
            up: (at.is_some() || member_of.is_some()) && at.and_then(|it| it.pointer("/link/state/down")).is_none(),
            description: at.and_then(|it| it.get("description")).and_then(Value::as_str).unwrap_or_default().to_owned(),
            is_group: bond.is_some(),
            native: None,
            allowed: Allowed::Only(BTreeSet::new()),
            group: member_of.map(|(group, it)| Membership { group: (*group).clone(), protocol: protocol(it) }),
            ..Port::default()
        };
        match at.and_then(|it| it.pointer(&format!("/bridge/domain/{BRIDGE}"))) {
            None => port.routed = true,
            Some(it) => {
                if let Some(vlan) = it.get("access").and_then(vlan) {
                    port.access = vlan;
                } else {
                    port.mode = Mode::Trunk;
                    let named = keys(it.get("vlan"));
                    let all: BTreeSet<u16> = out.vlans.keys().copied().collect();
                    let own = || named.iter().filter_map(|it| it.parse().ok()).collect();
                    port.allowed = Allowed::Only(if named.is_empty() || named.iter().any(|it| *it == "all") { all } else { own() });
                    port.native = match it.get("untagged") {
                        Some(Value::String(_)) => None,
                        Some(other) => vlan(other),
                        None => native,
                    };
                }
            }
        }
        if let Some((_, it)) = bond {
            out.groups.insert(name.clone(), Group { protocol: Some(protocol(it)) });
        }
        out.ports.insert(name.clone(), port);
    }
    out
}

/// The object of a configuration. Where that was changed by other means the object is made to say so.
pub(super) fn object(config: &Config) -> Value {
    let text = config.extra.get(OBJECT).and_then(|it| it.first()).map_or("{}", String::as_str);
    let mut tree: Value = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
    let known = project(&tree, config);
    let put = |tree: &mut Value, words: &[&str]| {
        // What is set here is in the grammar.
        let _taken = set(tree, &words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    };
    let take = |tree: &mut Value, words: &[&str]| {
        let _taken = unset(tree, &words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    };
    if known.hostname != config.hostname {
        put(&mut tree, &["system", "hostname", &config.hostname]);
    }
    let all: BTreeSet<u16> = known.vlans.keys().chain(config.vlans.keys()).copied().collect();
    for id in all.into_iter().filter(|id| known.vlans.get(id).map(|it| it.vni) != config.vlans.get(id).map(|it| it.vni)) {
        let text = id.to_string();
        take(&mut tree, &["bridge", "domain", BRIDGE, "vlan", &text]);
        if let Some(it) = config.vlans.get(&id) {
            put(&mut tree, &["bridge", "domain", BRIDGE, "vlan", &text]);
            if let Some(vni) = it.vni {
                put(&mut tree, &["bridge", "domain", BRIDGE, "vlan", &text, "vni", &vni.to_string()]);
            }
        }
    }
    // Trunks without a list carry what the bridge has, so that its VLANs are settled first.
    let known = project(&tree, config);
    let names: BTreeSet<&String> = known.ports.keys().chain(config.ports.keys()).collect();
    for name in names.into_iter().filter(|it| known.ports.get(*it) != config.ports.get(*it)) {
        let Some(port) = config.ports.get(name) else {
            take(&mut tree, &["interface", name]);
            continue;
        };
        take(&mut tree, &["interface", name, "bridge"]);
        take(&mut tree, &["interface", name, "description"]);
        put(&mut tree, &["interface", name, "link", "state", if port.up { "up" } else { "down" }]);
        if !port.description.is_empty() {
            put(&mut tree, &["interface", name, "description", &port.description]);
        }
        if port.is_group {
            let is_static = config.groups.get(name).and_then(|it| it.protocol) == Some(Protocol::Static);
            put(&mut tree, &["interface", name, "type", "bond"]);
            put(&mut tree, &["interface", name, "bond", "mode", if is_static { "static" } else { "lacp" }]);
        }
        for bond in known.groups.keys() {
            take(&mut tree, &["interface", bond, "bond", "member", name]);
        }
        let at = ["interface", name, "bridge", "domain", BRIDGE];
        if let Some(member) = &port.group {
            put(&mut tree, &["interface", &member.group, "bond", "member", name]);
        } else if !port.routed && port.mode == Mode::Access {
            put(&mut tree, &[&at[..], &["access", &port.access.to_string()]].concat());
        } else if !port.routed {
            let native = port.native.map_or_else(|| "none".to_owned(), |it| it.to_string());
            put(&mut tree, &[&at[..], &["untagged", &native]].concat());
            for id in port.allowed.to_set().into_iter().filter(|_| port.allowed != Allowed::All) {
                put(&mut tree, &[&at[..], &["vlan", &id.to_string()]].concat());
            }
        }
    }
    tree
}

/// What keeps an object from being applied.
pub(super) fn check(tree: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let Some(interfaces) = tree.get("interface").and_then(Value::as_object) else { return out };
    for (name, it) in interfaces {
        let Some(port) = it.pointer(&format!("/bridge/domain/{BRIDGE}")) else { continue };
        if port.get("access").is_some() && (port.get("untagged").is_some() || port.get("vlan").is_some_and(|it| !empty(it))) {
            out.push(format!(
                "Config invalid at interface.{name}.bridge.domain.{BRIDGE}: 'access' cannot be configured with 'untagged' or 'vlan'"
            ));
        }
    }
    let mut vnis: BTreeMap<&String, &String> = BTreeMap::new();
    let domain = tree.pointer(&format!("/bridge/domain/{BRIDGE}/vlan"));
    for id in keys(domain) {
        for vni in keys(domain.and_then(|it| it.pointer(&format!("/{id}/vni")))) {
            if let Some(other) = vnis.insert(vni, id) {
                out.push(format!("Config invalid at bridge.domain.{BRIDGE}.vlan.{id}.vni: vni {vni} is already mapped to vlan {other}"));
            }
        }
    }
    let mut members: BTreeMap<&String, &String> = BTreeMap::new();
    for (bond, it) in interfaces {
        for member in keys(it.pointer("/bond/member")) {
            if let Some(other) = members.insert(member, bond) {
                out.push(format!("Config invalid at interface.{bond}.bond.member: {member} is already a member of {other}"));
            }
            if interfaces.get(member).is_some_and(|it| it.pointer("/bridge/domain").is_some_and(|it| !empty(it))) {
                out.push(format!("Config invalid at interface.{member}.bridge: a member of bond {bond} cannot be in a bridge domain"));
            }
        }
    }
    out
}
