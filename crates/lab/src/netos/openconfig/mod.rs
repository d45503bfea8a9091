//! A switch as OpenConfig shows it, for the NETCONF and the gNMI server: a tree of data, and what the switch does with it.
//!
//! The tree is a JSON value: containers are objects, lists are objects by their keys, leaves are typed as in RFC 7951, without the names
//! of modules except in identities.

pub(crate) mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use self::schema::{Def, Node};
use super::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol, Vlan};

/// Where [`Config::extra`] keeps the tree.
const TREE: &str = "openconfig";
/// The network instance that switches.
const INSTANCE: &str = "default";

/// A switch fresh from the box: every port in VLAN 1.
pub(crate) fn factory(hostname: &str, ports: usize) -> Config {
    let name = |it: usize| format!("Ethernet{it}");
    let ports = (1..=ports).map(|it| (name(it), plain())).collect();
    let vlans = BTreeMap::from([(1, Vlan { name: Some("default".into()), ..Vlan::default() })]);
    Config { hostname: hostname.to_owned(), ports, vlans, ..Config::default() }
}

/// A port in VLAN 1, with nothing in the settings that are not in force.
fn plain() -> Port {
    Port { native: None, allowed: Allowed::Only(BTreeSet::new()), ..Port::default() }
}

fn at<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |it, word| it.get(*word))
}

fn entries<'a>(tree: &'a Value, path: &[&str]) -> Vec<(&'a String, &'a Value)> {
    at(tree, path).and_then(Value::as_object).map(|it| it.iter().collect()).unwrap_or_default()
}

/// Puts a value at a path; containers on the way are made.
fn put(tree: &mut Value, path: &[&str], value: Value) {
    let mut here = tree;
    for word in path {
        if !here.is_object() {
            *here = json!({});
        }
        let Value::Object(map) = here else { return };
        here = map.entry((*word).to_owned()).or_insert_with(|| json!({}));
    }
    *here = value;
}

fn vlan(value: Option<&Value>) -> Option<u16> {
    value.and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok())
}

const LAG: &str = "iana-if-type:ieee8023adLag";
const SOCKET: &str = "iana-if-type:ethernetCsmacd";

/// What the switch does with a tree. `base` tells which sockets there are.
fn project(tree: &Value, base: &Config) -> Config {
    let mut out = Config { hostname: base.hostname.clone(), extra: base.extra.clone(), ..Config::default() };
    for (id, it) in entries(tree, &["network-instances", "network-instance", INSTANCE, "vlans", "vlan"]) {
        let Ok(id) = id.parse::<u16>() else { continue };
        if at(it, &["config", "status"]) == Some(&json!("SUSPENDED")) {
            continue;
        }
        let name = at(it, &["config", "name"]).and_then(Value::as_str).map(str::to_owned);
        out.vlans.insert(id, Vlan { name, ..Vlan::default() });
    }
    let protocol = |name: &str| {
        let lacp = at(tree, &["lacp", "interfaces", "interface", name, "config", "lacp-mode"]).and_then(Value::as_str);
        let kind = at(tree, &["interfaces", "interface", name, "aggregation", "config", "lag-type"]).and_then(Value::as_str);
        match (kind, lacp) {
            (Some("LACP"), Some("PASSIVE")) => Protocol::Passive,
            (Some("LACP"), _) => Protocol::Active,
            _ => Protocol::Static,
        }
    };
    for (name, it) in entries(tree, &["interfaces", "interface"]) {
        let is_group = at(it, &["config", "type"]) == Some(&json!(LAG));
        if !is_group && base.ports.get(name).is_none_or(|it| it.is_group) {
            continue;
        }
        let mut port = Port {
            up: at(it, &["config", "enabled"]) != Some(&json!(false)),
            description: at(it, &["config", "description"]).and_then(Value::as_str).unwrap_or_default().to_owned(),
            is_group,
            ..plain()
        };
        let lag = at(it, &["ethernet", "config", "aggregate-id"]).and_then(Value::as_str).filter(|_| !is_group);
        port.group = lag.map(|it| Membership { group: it.to_owned(), protocol: protocol(it) });
        let switched = at(it, &[if is_group { "aggregation" } else { "ethernet" }, "switched-vlan", "config"]);
        match switched.and_then(|it| it.get("interface-mode")).and_then(Value::as_str) {
            Some("TRUNK") => {
                port.mode = Mode::Trunk;
                port.native = vlan(switched.and_then(|it| it.get("native-vlan")));
                // Without a list all VLANs pass.
                port.allowed = match switched.and_then(|it| it.get("trunk-vlans")).and_then(Value::as_array) {
                    Some(list) => Allowed::from_set(list.iter().flat_map(range).collect()),
                    None => Allowed::All,
                };
            }
            Some(_) => port.access = vlan(switched.and_then(|it| it.get("access-vlan"))).unwrap_or(1),
            None => port.routed = true,
        }
        if is_group {
            out.groups.insert(name.clone(), Group { protocol: Some(protocol(name)) });
        }
        out.ports.insert(name.clone(), port);
    }
    // A socket of which nothing is said is there, and off.
    for name in base.ports.iter().filter(|(_, it)| !it.is_group).map(|it| it.0) {
        out.ports.entry(name.clone()).or_insert_with(|| Port { up: false, routed: true, ..plain() });
    }
    out
}

fn range(value: &Value) -> Vec<u16> {
    match value {
        Value::String(text) => text
            .split_once("..")
            .and_then(|(low, high)| Some((low.parse::<u16>().ok()?..=high.parse::<u16>().ok()?).collect()))
            .unwrap_or_default(),
        other => vlan(Some(other)).into_iter().collect(),
    }
}

/// A configuration as a tree. Where it was changed by other means the tree is made to say so.
pub(crate) fn tree(config: &Config) -> Value {
    let text = config.extra.get(TREE).and_then(|it| it.first()).map_or("{}", String::as_str);
    let mut tree: Value = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
    let known = project(&tree, config);
    let instance = ["network-instances", "network-instance", INSTANCE];
    put(&mut tree, &[&instance[..], &["name"]].concat(), json!(INSTANCE));
    put(&mut tree, &[&instance[..], &["config", "name"]].concat(), json!(INSTANCE));
    let kind = json!("openconfig-network-instance-types:DEFAULT_INSTANCE");
    put(&mut tree, &[&instance[..], &["config", "type"]].concat(), kind);
    let ids: BTreeSet<u16> = known.vlans.keys().chain(config.vlans.keys()).copied().collect();
    for id in ids.into_iter().filter(|it| known.vlans.get(it).map(|it| &it.name) != config.vlans.get(it).map(|it| &it.name)) {
        let key = id.to_string();
        let path = [&instance[..], &["vlans", "vlan"]].concat();
        if let Some(list) = tree.pointer_mut(&format!("/{}", path.join("/"))).and_then(Value::as_object_mut) {
            list.remove(&key);
        }
        if let Some(it) = config.vlans.get(&id) {
            let mut own = json!({"vlan-id": id, "status": "ACTIVE"});
            if let Some(name) = &it.name {
                own["name"] = json!(name);
            }
            put(&mut tree, &[&path[..], &[key.as_str()]].concat(), json!({"vlan-id": id, "config": own}));
        }
    }
    let names: BTreeSet<&String> = known.ports.keys().chain(config.ports.keys()).collect();
    for name in names {
        let (was, is) = (known.ports.get(name), config.ports.get(name));
        if same(was, is) && known.groups.get(name) == config.groups.get(name) {
            continue;
        }
        for path in ["/interfaces/interface", "/lacp/interfaces/interface"] {
            if let Some(list) = tree.pointer_mut(path).and_then(Value::as_object_mut) {
                list.remove(name);
            }
        }
        if let Some(port) = is {
            interface(&mut tree, name, port, config);
        }
    }
    tree
}

/// Whether two settings of a port are the same as far as they can be told.
fn same(one: Option<&Port>, other: Option<&Port>) -> bool {
    let told = |it: &Port| {
        let native = it.native.filter(|_| !it.native_tagged);
        let switched = match (it.routed, it.mode, &it.allowed) {
            (true, ..) => None,
            (false, Mode::Access, _) => Some((Some(it.access), None)),
            (false, _, Allowed::Only(list)) => {
                // That nothing passes can only be said by not saying that it switches.
                let list: BTreeSet<u16> = list.iter().copied().chain(native).collect();
                (!list.is_empty()).then_some((native, Some(Allowed::Only(list))))
            }
            (false, _, Allowed::All) => Some((native, Some(Allowed::All))),
        };
        (it.up, it.description.clone(), it.is_group, it.group.clone(), switched)
    };
    one.map(told) == other.map(told)
}

fn interface(tree: &mut Value, name: &str, port: &Port, config: &Config) {
    let kind = if port.is_group { LAG } else { SOCKET };
    let mut own = json!({"name": name, "type": kind, "enabled": port.up});
    if !port.description.is_empty() {
        own["description"] = json!(port.description);
    }
    let mut out = json!({"name": name, "config": own});
    let branch = if port.is_group { "aggregation" } else { "ethernet" };
    if port.is_group {
        let protocol = config.groups.get(name).and_then(|it| it.protocol).unwrap_or(Protocol::Static);
        put(&mut out, &["aggregation", "config", "lag-type"], json!(if protocol == Protocol::Static { "STATIC" } else { "LACP" }));
        if protocol != Protocol::Static {
            let mode = if protocol == Protocol::Active { "ACTIVE" } else { "PASSIVE" };
            let lacp = json!({"name": name, "config": {"name": name, "lacp-mode": mode}});
            put(tree, &["lacp", "interfaces", "interface", name], lacp);
        }
    }
    if let Some(member) = &port.group {
        put(&mut out, &["ethernet", "config", "aggregate-id"], json!(member.group));
    }
    let native = port.native.filter(|_| !port.native_tagged);
    let nothing = port.mode != Mode::Access && native.is_none() && port.allowed == Allowed::Only(BTreeSet::new());
    if !port.routed && !nothing {
        let switched = match (port.mode, &port.allowed) {
            (Mode::Access, _) => json!({"interface-mode": "ACCESS", "access-vlan": port.access}),
            (_, allowed) => {
                let mut it = json!({"interface-mode": "TRUNK"});
                if let Allowed::Only(list) = allowed {
                    it["trunk-vlans"] = json!(list.iter().copied().chain(native).collect::<BTreeSet<u16>>());
                }
                if let Some(native) = native {
                    it["native-vlan"] = json!(native);
                }
                it
            }
        };
        put(&mut out, &[branch, "switched-vlan", "config"], switched);
    }
    put(tree, &["interfaces", "interface", name], out);
}

/// The configuration that follows from a changed tree: what the tree does not tell of stays as it was in `base`.
pub(crate) fn configuration(tree: &Value, base: &Config) -> Config {
    let after = project(tree, base);
    let mut out = base.clone();
    out.vlans.retain(|id, _| after.vlans.contains_key(id));
    for (id, it) in &after.vlans {
        out.vlans.entry(*id).or_default().name.clone_from(&it.name);
    }
    out.ports.retain(|name, _| after.ports.contains_key(name));
    for (name, it) in after.ports {
        let known = out.ports.entry(name).or_insert_with(plain);
        if !same(Some(known), Some(&it)) {
            *known = Port { extra: std::mem::take(&mut known.extra), protected: known.protected, ..it };
        }
    }
    out.groups = after.groups;
    out.extra.insert(TREE.to_owned(), vec![tree.to_string()]);
    out
}

/// What keeps a tree from being put in force: the path of the place, and what is wrong there.
pub(crate) fn check(tree: &Value, base: &Config) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, it) in entries(tree, &["interfaces", "interface"]) {
        let path = format!("/interfaces/interface[name='{name}']");
        if at(it, &["config", "name"]).is_some_and(|own| own != name) {
            out.push((format!("{path}/config/name"), "config/name differs from the key".to_owned()));
        }
        let kind = at(it, &["config", "type"]).and_then(Value::as_str);
        let is_socket = base.ports.get(name).is_some_and(|it| !it.is_group);
        match kind {
            Some(LAG) if !is_socket => {}
            Some(LAG) => out.push((format!("{path}/config/type"), format!("{name} is a physical interface"))),
            _ if is_socket => {}
            None if base.ports.contains_key(name) => out.push((format!("{path}/config/type"), "mandatory leaf is missing".to_owned())),
            _ => out.push((path.clone(), format!("interface {name} does not exist"))),
        }
        if let Some(lag) = at(it, &["ethernet", "config", "aggregate-id"]).and_then(Value::as_str)
            && at(tree, &["interfaces", "interface", lag, "config", "type"]) != Some(&json!(LAG))
        {
            let says = format!("leafref: there is no aggregate interface {lag}");
            out.push((format!("{path}/ethernet/config/aggregate-id"), says));
        }
    }
    for (id, it) in entries(tree, &["network-instances", "network-instance", INSTANCE, "vlans", "vlan"]) {
        let own = at(it, &["config", "vlan-id"]).map(Value::to_string);
        if own.is_some_and(|own| own != *id) {
            let path = format!("/network-instances/network-instance[name='{INSTANCE}']/vlans/vlan[vlan-id='{id}']/config/vlan-id");
            out.push((path, "config/vlan-id differs from the key".to_owned()));
        }
    }
    out
}

/// The tree with what is seen beside what is configured: a `state` beside each `config`.
pub(crate) fn with_state(tree: &Value, config: &Config) -> Value {
    let mut out = tree.clone();
    mirror(&mut out);
    for (nth, name) in config.port_names().into_iter().enumerate() {
        let Some(port) = config.ports.get(name) else { continue };
        let status = if port.up { "UP" } else { "DOWN" };
        let own = ["interfaces", "interface", name, "state"];
        put(&mut out, &[&own[..], &["admin-status"]].concat(), json!(status));
        put(&mut out, &[&own[..], &["oper-status"]].concat(), json!(status));
        put(&mut out, &[&own[..], &["ifindex"]].concat(), json!(nth + 1));
        put(&mut out, &[&own[..], &["name"]].concat(), json!(name));
        put(&mut out, &["interfaces", "interface", name, "name"], json!(name));
    }
    out
}

fn mirror(tree: &mut Value) {
    let Some(map) = tree.as_object_mut() else { return };
    map.values_mut().for_each(mirror);
    if let Some(config) = map.get("config").filter(|it| it.is_object()).cloned() {
        map.insert("state".into(), config);
    }
}

/// Without the `state` (or, with `config` false, without the `config`) of everything.
pub(crate) fn only(tree: &Value, config: bool) -> Value {
    match tree {
        Value::Object(map) => {
            let unwanted = if config { "state" } else { "config" };
            let kept = map.iter().filter(|(key, it)| *key != unwanted || !it.is_object()).map(|(key, it)| (key.clone(), only(it, config)));
            Value::Object(kept.collect())
        }
        other => other.clone(),
    }
}

/// The JSON of RFC 7951 for what is below a place in the grammar: lists are arrays, names are qualified where the module changes.
pub(crate) fn to_ietf(tree: &Value, defs: &'static [Def], within: Option<schema::Module>) -> Value {
    let Some(map) = tree.as_object() else { return tree.clone() };
    let mut out = Map::new();
    for def in defs {
        let Some(value) = map.get(def.name) else { continue };
        let name = if Some(def.module) == within { def.name.to_owned() } else { format!("{}:{}", def.module.name(), def.name) };
        let shown = match def.node {
            Node::Container(inner) => to_ietf(value, inner, Some(def.module)),
            Node::List(_, inner) => {
                let mut all: Vec<(&String, &Value)> = value.as_object().map(|it| it.iter().collect()).unwrap_or_default();
                all.sort_by_key(|(key, _)| super::device::natural(key));
                all.into_iter().map(|(_, it)| to_ietf(it, inner, Some(def.module))).collect()
            }
            Node::Leaf(_) | Node::LeafList(_) => value.clone(),
        };
        out.insert(name, shown);
    }
    Value::Object(out)
}

/// The opposite of [`to_ietf`].
///
/// # Errors
/// The path of the place, and what is wrong there.
pub(crate) fn from_ietf(value: &Value, defs: &'static [Def], path: &str) -> Result<Value, (String, String)> {
    let Some(map) = value.as_object() else { return Err((path.to_owned(), "an object is expected".to_owned())) };
    let mut out = Map::new();
    for (name, value) in map {
        let plain = name.rsplit_once(':').map_or(name.as_str(), |it| it.1);
        let here = format!("{path}/{plain}");
        let Some(def) = schema::find(defs, plain) else { return Err((here, format!("there is no node {name}"))) };
        if let Some((module, _)) = name.rsplit_once(':').filter(|(module, _)| *module != def.module.name()) {
            return Err((here, format!("{plain} is not in module {module}")));
        }
        let wrong = |says: String| (here.clone(), says);
        let taken = match def.node {
            Node::Container(inner) => from_ietf(value, inner, &here)?,
            Node::List(key, inner) => {
                let list = value.as_array().ok_or_else(|| wrong("an array is expected".to_owned()))?;
                let mut entries = Map::new();
                for it in list {
                    let entry = from_ietf(it, inner, &here)?;
                    let own = entry.get(key).map(key_text).ok_or_else(|| wrong(format!("the key {key} is missing")))?;
                    entries.insert(own, entry);
                }
                Value::Object(entries)
            }
            Node::Leaf(kind) => kind.take(value).map_err(wrong)?,
            Node::LeafList(kind) => {
                let list = value.as_array().ok_or_else(|| wrong("an array is expected".to_owned()))?;
                list.iter().map(|it| kind.take(it)).collect::<Result<Value, _>>().map_err(wrong)?
            }
        };
        out.insert(plain.to_owned(), taken);
    }
    Ok(Value::Object(out))
}

/// A key's value as the text it is found by.
pub(crate) fn key_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Merges: what `from` does not name stays.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for it in from {
                if !into.contains(it) {
                    into.push(it.clone());
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Takes containers away that hold nothing.
pub(crate) fn prune(tree: &mut Value) {
    if let Some(map) = tree.as_object_mut() {
        map.values_mut().for_each(prune);
        map.retain(|_, it| !it.as_object().is_some_and(Map::is_empty));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_says_what_the_switch_does_and_back() {
        let base = factory("leaf1", 4);
        let mut it = tree(&base);
        assert_eq!(configuration(&it, &base).ports, base.ports);
        assert_eq!(configuration(&it, &base).vlans, base.vlans);
        put(
            &mut it,
            &["network-instances", "network-instance", INSTANCE, "vlans", "vlan", "10"],
            json!({"vlan-id": 10, "config": {"vlan-id": 10}}),
        );
        let trunk = json!({"interface-mode": "TRUNK", "trunk-vlans": [10, "20..22"], "native-vlan": 10});
        put(&mut it, &["interfaces", "interface", "Ethernet2", "ethernet", "switched-vlan", "config"], trunk);
        let after = configuration(&it, &base);
        assert_eq!(after.ports["Ethernet2"].allowed, Allowed::Only(BTreeSet::from([10, 20, 21, 22])));
        assert_eq!(tree(&after), it);
        let ietf = to_ietf(&it, schema::ROOT, None);
        let port = &ietf["openconfig-interfaces:interfaces"]["interface"][1];
        assert_eq!(port["openconfig-if-ethernet:ethernet"]["openconfig-vlan:switched-vlan"]["config"]["native-vlan"], 10);
        assert_eq!(from_ietf(&ietf, schema::ROOT, "").expect("valid"), it);
    }

    #[test]
    fn hand_edits_by_other_means_show_up() {
        let base = factory("leaf1", 2);
        let it = tree(&base);
        let mut config = configuration(&it, &base);
        config.ports.insert("Port-Channel1".into(), Port { is_group: true, ..plain() });
        config.groups.insert("Port-Channel1".into(), Group { protocol: Some(Protocol::Active) });
        if let Some(port) = config.ports.get_mut("Ethernet1") {
            port.group = Some(Membership { group: "Port-Channel1".into(), protocol: Protocol::Active });
        }
        let shown = tree(&config);
        assert_eq!(
            at(&shown, &["interfaces", "interface", "Ethernet1", "ethernet", "config", "aggregate-id"]),
            Some(&json!("Port-Channel1"))
        );
        assert_eq!(at(&shown, &["lacp", "interfaces", "interface", "Port-Channel1", "config", "lacp-mode"]), Some(&json!("ACTIVE")));
        assert!(check(&shown, &config).is_empty());
        let after = configuration(&shown, &config);
        assert_eq!((after.ports, after.groups), (config.ports, config.groups));
    }
}
