//! Between the object of SR Linux and what the switch does.
//!
//! SR Linux has no VLANs of the switch: a bridge domain is a network instance of type mac-vrf, and a subinterface says which tag of a
//! port belongs to it. The number of a domain is that at the end of its name, else its EVPN instance's, else the tag of its members.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::tree::{delete, set, words};
use crate::netos::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol, Vlan};

/// Where [`Config::extra`] keeps the object.
const OBJECT: &str = "srl";

/// Remembers the object with the configuration that follows from it.
pub(super) fn keep(config: &mut Config, tree: &Value) {
    config.extra.insert(OBJECT.to_owned(), vec![tree.to_string()]);
}

pub(super) fn factory(hostname: &str, ports: usize) -> Config {
    let mut tree = json!({});
    put(&mut tree, &format!("system name host-name {hostname}"));
    put(&mut tree, "interface mgmt0 admin-state enable");
    for port in 1..=ports {
        put(&mut tree, &format!("interface ethernet-1/{port} admin-state enable"));
    }
    let sockets: BTreeMap<String, Port> = (1..=ports).map(|it| (format!("ethernet-1/{it}"), Port::default())).collect();
    let base = Config { hostname: hostname.to_owned(), ports: sockets, ..Config::default() };
    let mut out = project(&tree, &base);
    keep(&mut out, &tree);
    out
}

fn put(tree: &mut Value, line: &str) {
    // What is put here is in the grammar.
    let _taken = set(tree, &words(line));
}

fn take(tree: &mut Value, line: &[&str]) {
    let _taken = delete(tree, &line.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
}

fn entries<'a>(tree: &'a Value, path: &[&str]) -> Vec<(&'a String, &'a Value)> {
    let at = path.iter().try_fold(tree, |it, word| it.get(*word));
    at.and_then(Value::as_object).map(|it| it.iter().collect()).unwrap_or_default()
}

fn leaf<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |it, word| it.get(*word))
}

fn enabled(tree: &Value) -> bool {
    tree.get("admin-state").and_then(Value::as_str) != Some("disable")
}

fn number_of(name: &str, instance: &Value, tree: &Value) -> Option<u16> {
    let digits = name.trim_end_matches(|it: char| it.is_ascii_digit());
    let fits = |it: u64| u16::try_from(it).ok().filter(|it| (1..=4094).contains(it));
    let own = name.get(digits.len()..).and_then(|it| it.parse().ok()).and_then(fits);
    let evi =
        || entries(instance, &["protocols", "bgp-evpn", "bgp-instance"]).iter().find_map(|(_, it)| it.get("evi")?.as_u64()).and_then(fits);
    let tag = || {
        entries(instance, &["interface"]).iter().find_map(|(name, _)| {
            let (port, index) = name.rsplit_once('.')?;
            leaf(tree, &["interface", port, "subinterface", index, "vlan", "encap", "single-tagged", "vlan-id"])?.as_u64().and_then(fits)
        })
    };
    own.or_else(evi).or_else(tag)
}

/// The bridge domains: their numbers by name.
pub(super) fn domains(tree: &Value) -> BTreeMap<&String, u16> {
    let all = entries(tree, &["network-instance"]).into_iter();
    all.filter(|(_, it)| it.get("type").and_then(Value::as_str) == Some("mac-vrf"))
        .filter_map(|(name, it)| Some((name, number_of(name, it, tree)?)))
        .collect()
}

/// What the switch does with this object. `base` tells which sockets there are.
pub(super) fn project(tree: &Value, base: &Config) -> Config {
    let domains = domains(tree);
    let mut attached: BTreeMap<&str, u16> = BTreeMap::new();
    let mut vlans: BTreeMap<u16, Vlan> = BTreeMap::new();
    for (name, id) in &domains {
        let Some(instance) = leaf(tree, &["network-instance", name.as_str()]) else { continue };
        let vni = entries(instance, &["vxlan-interface"]).iter().find_map(|(it, _)| {
            let (tunnel, index) = it.rsplit_once('.')?;
            leaf(tree, &["tunnel-interface", tunnel, "vxlan-interface", index, "ingress", "vni"])?.as_u64()
        });
        let vni = vni.and_then(|it| u32::try_from(it).ok());
        vlans.insert(*id, Vlan { name: Some((*name).clone()), vni, extra: Vec::new() });
        if enabled(instance) {
            attached.extend(entries(instance, &["interface"]).into_iter().map(|(it, _)| (it.as_str(), *id)));
        }
    }
    let mut out = Config {
        hostname: leaf(tree, &["system", "name", "host-name"]).and_then(Value::as_str).unwrap_or("srl").to_owned(),
        vlans,
        extra: base.extra.clone(),
        ..Config::default()
    };
    let sockets = base.ports.iter().filter(|(_, it)| !it.is_group).map(|(name, _)| name.as_str());
    let lags: Vec<&str> = entries(tree, &["interface"]).into_iter().map(|it| it.0.as_str()).filter(|it| it.starts_with("lag")).collect();
    let protocol = |lag: &str| {
        let at = |path: &[&str]| leaf(tree, &[&["interface", lag, "lag"], path].concat()).and_then(Value::as_str);
        match (at(&["lag-type"]), at(&["lacp", "lacp-mode"])) {
            (Some("lacp"), Some("PASSIVE")) => Protocol::Passive,
            (Some("lacp"), _) => Protocol::Active,
            _ => Protocol::Static,
        }
    };
    for name in sockets.chain(lags.iter().copied()) {
        let none = json!({});
        let found = leaf(tree, &["interface", name]);
        let it = found.unwrap_or(&none);
        let mut untagged = None;
        let mut tagged = BTreeSet::new();
        let tagging = it.get("vlan-tagging") == Some(&json!(true));
        for (index, sub) in entries(it, &["subinterface"]) {
            let Some(vlan) = attached.get(format!("{name}.{index}").as_str()).filter(|_| enabled(sub)) else { continue };
            if leaf(sub, &["vlan", "encap", "single-tagged"]).is_some() {
                tagged.insert(*vlan);
            } else if !tagging || leaf(sub, &["vlan", "encap", "untagged"]).is_some() {
                untagged = Some(*vlan);
            }
        }
        let group = leaf(it, &["ethernet", "aggregate-id"]).and_then(Value::as_str);
        let mut port = Port {
            up: found.is_some() && enabled(it),
            description: it.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
            is_group: lags.contains(&name),
            mode: Mode::Trunk,
            native: untagged,
            allowed: Allowed::Only(tagged.clone()),
            group: group.map(|it| Membership { group: it.to_owned(), protocol: protocol(it) }),
            ..Port::default()
        };
        if let Some(vlan) = untagged.filter(|_| tagged.is_empty()) {
            (port.mode, port.access) = (Mode::Access, vlan);
        }
        if port.is_group {
            out.groups.insert(name.to_owned(), Group { protocol: Some(protocol(name)) });
        }
        out.ports.insert(name.to_owned(), port);
    }
    out
}

/// The object of a configuration. Where that was changed by other means the object is made to say so.
pub(super) fn object(config: &Config) -> Value {
    let text = config.extra.get(OBJECT).and_then(|it| it.first()).map_or("{}", String::as_str);
    let mut tree: Value = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
    let known = project(&tree, config);
    if known.hostname != config.hostname {
        put(&mut tree, &format!("system name host-name {}", config.hostname));
    }
    let all: BTreeSet<u16> = known.vlans.keys().chain(config.vlans.keys()).copied().collect();
    for id in all {
        let (was, is) = (known.vlans.get(&id), config.vlans.get(&id));
        if was == is {
            continue;
        }
        let name = |it: &Vlan| {
            it.name.clone().filter(|it| it.ends_with(|it: char| it.is_ascii_digit())).unwrap_or_else(|| format!("mac-vrf-{id}"))
        };
        if let Some(was) = was.and_then(|it| it.name.as_deref()) {
            take(&mut tree, &["network-instance", was]);
        }
        if let Some(is) = is {
            put(&mut tree, &format!("network-instance {} type mac-vrf", name(is)));
            if let Some(vni) = is.vni {
                put(&mut tree, &format!("tunnel-interface vxlan1 vxlan-interface {id} type bridged ingress vni {vni}"));
                put(&mut tree, &format!("network-instance {} vxlan-interface vxlan1.{id}", name(is)));
            }
        }
    }
    let known = project(&tree, config);
    let names: BTreeSet<&String> = known.ports.keys().chain(config.ports.keys()).collect();
    for name in names.into_iter().filter(|it| known.ports.get(*it) != config.ports.get(*it)) {
        match config.ports.get(name) {
            Some(port) => port_object(&mut tree, name, port, config),
            None => take(&mut tree, &["interface", name]),
        }
    }
    tree
}

fn port_object(tree: &mut Value, name: &str, port: &Port, config: &Config) {
    let instances: Vec<(String, u16)> = domains(tree).into_iter().map(|(name, id)| (name.clone(), id)).collect();
    let indexes: Vec<String> = entries(tree, &["interface", name, "subinterface"]).into_iter().map(|it| it.0.clone()).collect();
    for index in indexes {
        for (instance, _) in &instances {
            take(tree, &["network-instance", instance, "interface", &format!("{name}.{index}")]);
        }
    }
    take(tree, &["interface", name, "subinterface"]);
    take(tree, &["interface", name, "description"]);
    take(tree, &["interface", name, "ethernet", "aggregate-id"]);
    put(tree, &format!("interface {name} admin-state {}", if port.up { "enable" } else { "disable" }));
    if !port.description.is_empty() {
        put(tree, &format!("interface {name} description \"{}\"", port.description.replace('"', "")));
    }
    if port.is_group {
        let kind = if config.groups.get(name).and_then(|it| it.protocol) == Some(Protocol::Static) { "static" } else { "lacp" };
        put(tree, &format!("interface {name} lag lag-type {kind}"));
    }
    if let Some(member) = &port.group {
        put(tree, &format!("interface {name} ethernet aggregate-id {}", member.group));
        return;
    }
    let mut bind = |id: u16, encap: &str| {
        let Some((instance, _)) = instances.iter().find(|(_, it)| *it == id) else { return };
        put(tree, &format!("interface {name} vlan-tagging true subinterface {id} type bridged vlan encap {encap}"));
        put(tree, &format!("network-instance {instance} interface {name}.{id}"));
    };
    if port.mode == Mode::Access {
        bind(port.access, "untagged");
        return;
    }
    let native = port.native.filter(|_| !port.native_tagged);
    for id in config.vlans.keys().filter(|it| port.allowed.contains(**it) && Some(**it) != native) {
        bind(*id, &format!("single-tagged vlan-id {id}"));
    }
    if let Some(id) = native {
        bind(id, "untagged");
    }
}

/// What keeps an object from being committed.
pub(super) fn check(tree: &Value, base: &Config) -> Vec<String> {
    let mut out = Vec::new();
    let mut bound: BTreeMap<&str, &str> = BTreeMap::new();
    for (instance, it) in entries(tree, &["network-instance"]) {
        let at = format!(".network-instance{{.name==\"{instance}\"}}");
        for (name, _) in entries(it, &["interface"]) {
            let sub = name.rsplit_once('.').and_then(|(port, index)| leaf(tree, &["interface", port, "subinterface", index]));
            match sub {
                None => out.push(format!("{at}.interface{{.name==\"{name}\"}}: subinterface '{name}' does not exist")),
                Some(sub) if it.get("type") == Some(&json!("mac-vrf")) && sub.get("type") != Some(&json!("bridged")) => {
                    out.push(format!("{at}.interface{{.name==\"{name}\"}}: only bridged subinterfaces can be in a mac-vrf"));
                }
                Some(_) => {}
            }
            if let Some(other) = bound.insert(name, instance) {
                out.push(format!("{at}.interface{{.name==\"{name}\"}}: subinterface is already used by network-instance '{other}'"));
            }
        }
        let tunnels = entries(it, &["vxlan-interface"]);
        for (name, _) in &tunnels {
            if name
                .rsplit_once('.')
                .and_then(|(tunnel, index)| leaf(tree, &["tunnel-interface", tunnel, "vxlan-interface", index]))
                .is_none()
            {
                out.push(format!("{at}.vxlan-interface{{.name==\"{name}\"}}: vxlan-interface '{name}' does not exist"));
            }
        }
        for (id, evpn) in entries(it, &["protocols", "bgp-evpn", "bgp-instance"]) {
            if let Some(name) = evpn.get("vxlan-interface").and_then(Value::as_str)
                && !tunnels.iter().any(|(it, _)| *it == name)
            {
                out.push(format!(
                    "{at}.protocols.bgp-evpn.bgp-instance{{.id=={id}}}.vxlan-interface: '{name}' is not configured in the network-instance"
                ));
            }
        }
    }
    for (name, it) in entries(tree, &["interface"]) {
        let at = format!(".interface{{.name==\"{name}\"}}");
        let tagging = it.get("vlan-tagging") == Some(&json!(true));
        let mut encaps = BTreeSet::new();
        for (index, sub) in entries(it, &["subinterface"]) {
            let encap = leaf(sub, &["vlan", "encap"]).filter(|it| it.as_object().is_some_and(|it| !it.is_empty()));
            match encap {
                Some(_) if !tagging => {
                    out.push(format!("{at}.subinterface{{.index=={index}}}.vlan.encap: requires vlan-tagging to be true"))
                }
                None if tagging => {
                    out.push(format!("{at}.subinterface{{.index=={index}}}: vlan encap must be configured when vlan-tagging is true"))
                }
                Some(encap) if !encaps.insert(encap.to_string()) => {
                    out.push(format!("{at}.subinterface{{.index=={index}}}.vlan.encap: is already used by another subinterface"));
                }
                Some(_) | None => {}
            }
        }
        if let Some(lag) = leaf(it, &["ethernet", "aggregate-id"]).and_then(Value::as_str) {
            if leaf(tree, &["interface", lag, "lag"]).is_none() {
                out.push(format!("{at}.ethernet.aggregate-id: interface '{lag}' does not exist"));
            }
            if !entries(it, &["subinterface"]).is_empty() {
                out.push(format!("{at}.ethernet.aggregate-id: subinterfaces are not allowed on members of a LAG"));
            }
        }
        if name.starts_with("ethernet") && !base.ports.contains_key(name) {
            out.push(format!("{at}: interface does not exist on this platform"));
        }
    }
    out
}
