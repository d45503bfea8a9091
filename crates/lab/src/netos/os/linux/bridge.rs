//! `ip link` and `bridge`: a bridge that looks at VLANs, its ports, bonds and VXLAN devices.
//!
//! Source: iproute2, ip-link(8), bridge(8); the kernel's answers as its extended acknowledgements word them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::shell::Ran;
use crate::netos::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol};

/// The bridge that there is.
pub(super) const BRIDGE: &str = "br0";
/// What begins the line of [`Port::extra`] with a port's VLANs.
const VLANS: &str = "bridge ";
/// Where VXLAN devices are kept in [`Config::extra`]: a line for each.
const TUNNELS: &str = "vxlan devices";

/// How a VLAN passes a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Flags {
    pvid: bool,
    untagged: bool,
}

type Filter = BTreeMap<u16, Flags>;

/// A VXLAN device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Tunnel {
    id: u32,
    local: String,
    port: u16,
    learning: bool,
    up: bool,
    master: bool,
    vlans: Filter,
}

fn apply(filter: &Filter, port: &mut Port) {
    let pvid = filter.iter().find(|(_, it)| it.pvid).map(|(vlan, _)| *vlan);
    let untagged: BTreeSet<u16> = filter.iter().filter(|(_, it)| it.untagged).map(|(vlan, _)| *vlan).collect();
    let all: BTreeSet<u16> = filter.keys().copied().collect();
    port.access = 0;
    (port.native, port.native_tagged, port.untagged) = (pvid, false, BTreeSet::new());
    match pvid {
        Some(vlan) if all.len() == 1 && untagged.contains(&vlan) => {
            (port.mode, port.access, port.native, port.allowed) = (Mode::Access, vlan, None, Allowed::Only(BTreeSet::new()));
        }
        _ => {
            let others: BTreeSet<u16> = untagged.iter().copied().filter(|it| Some(*it) != pvid).collect();
            let plain = others.is_empty() && pvid.is_none_or(|it| untagged.contains(&it));
            port.mode = if plain { Mode::Trunk } else { Mode::Hybrid };
            port.untagged = others;
            port.allowed = Allowed::from_set(all);
        }
    }
}

/// The VLANs of a port; made anew if it was changed by other means.
fn filter(port: &Port) -> Filter {
    let known = port.extra.iter().find_map(|it| serde_json::from_str::<Filter>(it.strip_prefix(VLANS)?).ok()).unwrap_or_default();
    let mut would_be = port.clone();
    apply(&known, &mut would_be);
    if would_be == *port {
        return known;
    }
    let access = Flags { pvid: true, untagged: true };
    if port.mode == Mode::Access {
        return Filter::from([(port.access, access)]);
    }
    let mut out: Filter =
        port.allowed.to_set().into_iter().map(|it| (it, Flags { pvid: false, untagged: port.untagged.contains(&it) })).collect();
    if let Some(native) = port.native.filter(|_| !port.native_tagged) {
        out.insert(native, access);
    }
    out
}

fn put_filter(port: &mut Port, filter: &Filter) {
    port.extra.retain(|it| !it.starts_with(VLANS));
    if let Ok(text) = serde_json::to_string(filter) {
        port.extra.push(format!("{VLANS}{text}"));
    }
    apply(filter, port);
}

/// A device that is in no bridge.
pub(super) fn loose(up: bool) -> Port {
    let mut port = Port { up, routed: true, ..Port::default() };
    put_filter(&mut port, &Filter::new());
    port
}

fn tunnels(config: &Config) -> BTreeMap<String, Tunnel> {
    let lines = config.extra.get(TUNNELS).into_iter().flatten();
    lines.filter_map(|it| it.split_once(' ')).filter_map(|(name, text)| Some((name.to_owned(), serde_json::from_str(text).ok()?))).collect()
}

/// Keeps the VXLAN devices, and notes which VLANs are mapped by them.
fn put_tunnels(config: &mut Config, all: &BTreeMap<String, Tunnel>) {
    let line = |(name, it): (&String, &Tunnel)| Some(format!("{name} {}", serde_json::to_string(it).ok()?));
    config.extra.insert(TUNNELS.to_owned(), all.iter().filter_map(line).collect());
    for it in config.vlans.values_mut() {
        it.vni = None;
    }
    for it in all.values().filter(|it| it.master && it.up) {
        for vlan in it.vlans.iter().filter(|(_, it)| it.pvid).map(|(vlan, _)| vlan) {
            config.vlans.entry(*vlan).or_default().vni = Some(it.id);
        }
    }
}

type Wrong = (u8, String);

fn rtnetlink(says: &str) -> Wrong {
    (2, format!("RTNETLINK answers: {says}\n"))
}

fn missing(name: &str) -> Wrong {
    (1, format!("Cannot find device \"{name}\"\n"))
}

#[derive(Default)]
struct Options {
    json: bool,
    details: bool,
    compress: bool,
}

fn options<'a>(args: &'a [String], out: &mut Options) -> Vec<&'a str> {
    let mut rest = args.iter().map(String::as_str).peekable();
    while let Some(it) = rest.next_if(|it| it.starts_with('-')) {
        match it.trim_start_matches('-') {
            "j" | "json" | "js" => out.json = true,
            "d" | "details" => out.details = true,
            "c" | "compressvlans" => out.compress = true,
            _ => {}
        }
    }
    rest.collect()
}

fn begins(word: &str, full: &str) -> bool {
    !word.is_empty() && full.starts_with(word)
}

/// Runs `ip`.
pub(super) fn ip(args: &[String], config: &mut Config) -> Ran {
    let mut how = Options::default();
    let words = options(args, &mut how);
    let done = match words.as_slice() {
        [link, show, rest @ ..] if begins(link, "link") && (begins(show, "show") || begins(show, "list")) => ip_show(rest, &how, config),
        [link] if begins(link, "link") => ip_show(&[], &how, config),
        [link, "add", rest @ ..] if begins(link, "link") => ip_add(rest, config).map(|()| String::new()),
        [link, delete, rest @ ..] if begins(link, "link") && begins(delete, "delete") => ip_delete(rest, config).map(|()| String::new()),
        [link, "set", rest @ ..] if begins(link, "link") => ip_set(rest, config).map(|()| String::new()),
        [address, ..] if begins(address, "address") => Ok(if how.json { "[]\n".to_owned() } else { String::new() }),
        [link, other, ..] if begins(link, "link") => Err((255, format!("Command \"{other}\" is unknown, try \"ip link help\".\n"))),
        ["route" | "neigh" | "rule" | "-V", ..] => Ok(String::new()),
        [] => Err((255, "Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\n".into())),
        [other, ..] => Err((1, format!("Object \"{other}\" is unknown, try \"ip help\".\n"))),
    };
    ran(done)
}

fn ran(done: Result<String, Wrong>) -> Ran {
    match done {
        Ok(out) => Ran::ok(out),
        Err((status, err)) => Ran::failed(status, err),
    }
}

fn ip_show(words: &[&str], how: &Options, config: &Config) -> Result<String, Wrong> {
    let (mut only, mut kind, mut master) = (None, None, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "dev" => only = rest.next().copied(),
            "type" => kind = rest.next().copied(),
            "master" => master = rest.next().copied(),
            "up" => {}
            other => only = Some(other),
        }
    }
    let tunnels = tunnels(config);
    let mut all: Vec<Value> = Vec::new();
    let device = |name: &str, up: bool, master: Option<&str>, alias: &str| {
        let mut flags = vec!["BROADCAST", "MULTICAST"];
        if up {
            flags.extend(["UP", "LOWER_UP"]);
        }
        let state = if up { "UP" } else { "DOWN" };
        let mut out = json!({"ifname": name, "flags": flags, "mtu": 1500, "qdisc": "mq", "operstate": state, "linkmode": "DEFAULT",
            "group": "default", "txqlen": 1000, "link_type": "ether", "address": "02:00:00:00:00:01", "broadcast": "ff:ff:ff:ff:ff:ff"});
        if let Some(master) = master {
            out["master"] = json!(master);
        }
        if !alias.is_empty() {
            out["ifalias"] = json!(alias);
        }
        out
    };
    all.push(json!({"ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "mtu": 65536, "qdisc": "noqueue", "operstate": "UNKNOWN",
        "linkmode": "DEFAULT", "group": "default", "link_type": "loopback", "address": "00:00:00:00:00:00"}));
    all.push(device("eth0", true, None, ""));
    let mut bridge = device(BRIDGE, true, None, "");
    bridge["linkinfo"] = json!({"info_kind": "bridge", "info_data": {"vlan_filtering": 1, "vlan_default_pvid": 1}});
    all.push(bridge);
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let master = match &port.group {
            Some(member) => Some(member.group.as_str()),
            None => (!port.routed).then_some(BRIDGE),
        };
        let mut it = device(name, port.up, master, &port.description);
        let mut info = serde_json::Map::new();
        if port.is_group {
            let is_lacp = config.groups.get(name).and_then(|it| it.protocol).is_some_and(|it| it != Protocol::Static);
            info.insert("info_kind".into(), json!("bond"));
            info.insert("info_data".into(), json!({"mode": if is_lacp { "802.3ad" } else { "balance-xor" }, "miimon": 100}));
        }
        if port.group.is_some() {
            info.insert("info_slave_kind".into(), json!("bond"));
        } else if !port.routed {
            info.insert("info_slave_kind".into(), json!("bridge"));
            info.insert("info_slave_data".into(), json!({"state": "forwarding", "isolated": port.protected}));
        }
        if !info.is_empty() {
            it["linkinfo"] = Value::Object(info);
        }
        all.push(it);
    }
    for (name, tunnel) in &tunnels {
        let mut it = device(name, tunnel.up, tunnel.master.then_some(BRIDGE), "");
        let data = json!({"id": tunnel.id, "local": tunnel.local, "port": tunnel.port, "learning": tunnel.learning, "ttl": 0});
        it["linkinfo"] = json!({"info_kind": "vxlan", "info_data": data});
        all.push(it);
    }
    for (nth, it) in all.iter_mut().enumerate() {
        it["ifindex"] = json!(nth + 1);
    }
    let fits = |it: &Value| {
        only.is_none_or(|only| it["ifname"] == only)
            && kind.is_none_or(|kind| it["linkinfo"]["info_kind"] == kind)
            && master.is_none_or(|master| it["master"] == master)
    };
    let mut picked: Vec<Value> = all.into_iter().filter(fits).collect();
    if let Some(only) = only.filter(|_| picked.is_empty()) {
        return Err((1, format!("Device \"{only}\" does not exist.\n")));
    }
    if !how.details {
        for it in picked.iter_mut().filter_map(Value::as_object_mut) {
            it.remove("linkinfo");
        }
    }
    if how.json {
        return Ok(format!("{}\n", Value::Array(picked)));
    }
    let text = |it: &Value| {
        let get = |key: &str| it.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let flags: Vec<String> = it["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let master = it.get("master").and_then(Value::as_str).map(|it| format!(" master {it}")).unwrap_or_default();
        let alias = it.get("ifalias").and_then(Value::as_str).map(|it| format!("    alias {it}\n")).unwrap_or_default();
        format!(
            "{}: {}: <{}> mtu {} qdisc mq{master} state {} mode DEFAULT group default qlen 1000\n    link/{} {}\n{alias}",
            it["ifindex"],
            get("ifname"),
            flags.join(","),
            it["mtu"],
            get("operstate"),
            get("link_type"),
            get("address"),
        )
    };
    Ok(picked.iter().map(text).collect())
}

fn exists(config: &Config, name: &str) -> bool {
    config.ports.contains_key(name) || tunnels(config).contains_key(name) || [BRIDGE, "lo", "eth0"].contains(&name)
}

fn ip_add(words: &[&str], config: &mut Config) -> Result<(), Wrong> {
    let words = match words {
        ["name" | "dev", rest @ ..] => rest,
        other => other,
    };
    let [name, rest @ ..] = words else { return Err((255, "Not enough information: \"dev\" argument is required.\n".into())) };
    let ["type", kind, more @ ..] = rest else { return Err((255, "Not enough information: \"type\" argument is required.\n".into())) };
    if exists(config, name) {
        return Err(rtnetlink("File exists"));
    }
    if name.len() > 15 {
        return Err((255, format!("Error: argument \"{name}\" is wrong: \"name\" not a valid ifname\n")));
    }
    let value = |key: &str| more.iter().position(|it| *it == key).and_then(|at| more.get(at + 1)).copied();
    match *kind {
        "bond" => {
            let protocol = match value("mode") {
                Some("802.3ad" | "4") => Protocol::Active,
                Some(
                    "balance-rr" | "active-backup" | "balance-xor" | "broadcast" | "balance-tlb" | "balance-alb" | "0" | "1" | "2" | "3"
                    | "5" | "6",
                )
                | None => Protocol::Static,
                Some(other) => return Err((255, format!("Error: argument \"{other}\" is wrong: invalid mode\n"))),
            };
            config.ports.insert((*name).to_owned(), Port { is_group: true, ..loose(false) });
            config.groups.insert((*name).to_owned(), Group { protocol: Some(protocol) });
            Ok(())
        }
        "vxlan" => {
            let Some(id) = value("id").or_else(|| value("vni")).and_then(|it| it.parse().ok()) else {
                return Err((255, "vxlan: missing virtual network identifier\n".into()));
            };
            let mut all = tunnels(config);
            if all.values().any(|it| it.id == id) {
                return Err((2, "Error: A VXLAN device with the specified VNI already exists.\n".into()));
            }
            let tunnel = Tunnel {
                id,
                local: value("local").unwrap_or_default().to_owned(),
                port: value("dstport").and_then(|it| it.parse().ok()).unwrap_or(8472),
                learning: !more.contains(&"nolearning"),
                ..Tunnel::default()
            };
            all.insert((*name).to_owned(), tunnel);
            put_tunnels(config, &all);
            Ok(())
        }
        "bridge" => Err(rtnetlink("Operation not permitted")),
        _ => Err((2, "Error: Unknown device type.\n".into())),
    }
}

fn ip_delete(words: &[&str], config: &mut Config) -> Result<(), Wrong> {
    let name = match words {
        ["dev", name, ..] | [name, ..] => *name,
        [] => return Err((255, "Not enough information: \"dev\" argument is required.\n".into())),
    };
    let mut all = tunnels(config);
    if all.remove(name).is_some() {
        put_tunnels(config, &all);
        return Ok(());
    }
    match config.ports.get(name) {
        None => Err(missing(name)),
        Some(port) if !port.is_group => Err(rtnetlink("Operation not supported")),
        Some(_) => {
            let members: Vec<String> = config.members(name).into_iter().cloned().collect();
            for member in members {
                if let Some(port) = config.ports.get_mut(&member) {
                    *port = Port { description: std::mem::take(&mut port.description), ..loose(port.up) };
                }
            }
            config.ports.remove(name);
            config.groups.remove(name);
            Ok(())
        }
    }
}

fn ip_set(words: &[&str], config: &mut Config) -> Result<(), Wrong> {
    let words = match words {
        ["dev", rest @ ..] => rest,
        other => other,
    };
    let [name, rest @ ..] = words else { return Err((255, "Not enough information: \"dev\" argument is required.\n".into())) };
    if !exists(config, name) {
        return Err(missing(name));
    }
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "up" | "down" => set_up(config, name, *word == "up"),
            "master" => {
                let master = rest.next().copied().unwrap_or_default();
                set_master(config, name, Some(master))?;
            }
            "nomaster" => set_master(config, name, None)?,
            "alias" => {
                let text = rest.next().copied().unwrap_or_default();
                if let Some(port) = config.ports.get_mut(*name) {
                    port.description = text.to_owned();
                }
            }
            "mtu" | "txqlen" | "address" | "addrgenmode" => drop(rest.next()),
            "type" => {
                let (kind, key, value) = (rest.next(), rest.next(), rest.next());
                if let (Some(&"bond"), Some(&"mode"), Some(mode)) = (kind, key, value) {
                    if !config.members(name).is_empty() {
                        return Err((2, "Error: unable to set option because the bond has slaves.\n".into()));
                    }
                    if let Some(group) = config.groups.get_mut(*name) {
                        group.protocol = Some(if ["802.3ad", "4"].contains(mode) { Protocol::Active } else { Protocol::Static });
                    }
                }
                if let (Some(&"bridge_slave"), Some(&"isolated"), Some(value)) = (kind, key, value)
                    && let Some(port) = config.ports.get_mut(*name)
                {
                    port.protected = *value == "on";
                }
                break;
            }
            other => return Err((255, format!("Error: either \"dev\" is duplicate, or \"{other}\" is a garbage.\n"))),
        }
    }
    Ok(())
}

fn set_up(config: &mut Config, name: &str, up: bool) {
    let mut all = tunnels(config);
    if let Some(tunnel) = all.get_mut(name) {
        tunnel.up = up;
        put_tunnels(config, &all);
    } else if let Some(port) = config.ports.get_mut(name) {
        port.up = up;
    }
}

fn set_master(config: &mut Config, name: &str, master: Option<&str>) -> Result<(), Wrong> {
    // What a port gets in a bridge with the usual default VLAN.
    let default = Filter::from([(1, Flags { pvid: true, untagged: true })]);
    let mut all = tunnels(config);
    if let Some(tunnel) = all.get_mut(name) {
        if master.is_some_and(|it| it != BRIDGE) {
            return Err(missing(master.unwrap_or_default()));
        }
        if tunnel.master != master.is_some() {
            tunnel.master = master.is_some();
            tunnel.vlans = if tunnel.master { default } else { Filter::new() };
        }
        put_tunnels(config, &all);
        return Ok(());
    }
    let groups = config.groups.clone();
    let Some(port) = config.ports.get_mut(name) else { return Err(rtnetlink("Operation not supported")) };
    match master {
        Some(BRIDGE) if port.routed || port.group.is_some() => {
            (port.routed, port.group) = (false, None);
            put_filter(port, &default);
        }
        Some(BRIDGE) => {}
        Some(bond) => {
            let Some(group) = groups.get(bond) else { return Err(missing(bond)) };
            if port.up && port.group.as_ref().is_none_or(|it| it.group != bond) {
                return Err((2, "Error: Device can not be enslaved while up.\n".into()));
            }
            port.routed = true;
            put_filter(port, &Filter::new());
            port.group = Some(Membership { group: bond.to_owned(), protocol: group.protocol.unwrap_or(Protocol::Static) });
            // The bond takes its members up.
            port.up = true;
        }
        None => {
            (port.routed, port.group) = (true, None);
            put_filter(port, &Filter::new());
        }
    }
    Ok(())
}

/// Runs `bridge`.
pub(super) fn bridge(args: &[String], config: &mut Config) -> Ran {
    let mut how = Options::default();
    let words = options(args, &mut how);
    let done = match words.as_slice() {
        [vlan] if begins(vlan, "vlan") => vlan_show(&[], &how, config),
        [vlan, show, rest @ ..] if begins(vlan, "vlan") && (begins(show, "show") || begins(show, "list")) => vlan_show(rest, &how, config),
        [vlan, verb @ ("add" | "del" | "delete"), rest @ ..] if begins(vlan, "vlan") => vlan_change(*verb == "add", rest, config),
        [link, "set", "dev", name, rest @ ..] if begins(link, "link") => {
            let value = rest.iter().position(|it| *it == "isolated").and_then(|at| rest.get(at + 1));
            match (config.ports.get_mut(*name), value) {
                (None, _) => Err(missing(name)),
                (Some(port), Some(value)) => {
                    port.protected = *value == "on";
                    Ok(String::new())
                }
                (Some(_), None) => Ok(String::new()),
            }
        }
        [link, ..] if begins(link, "link") => {
            let ports = config.port_names().into_iter().filter_map(|name| {
                let port = config.ports.get(name).filter(|it| !it.routed && it.group.is_none())?;
                let state = if port.up { "forwarding" } else { "disabled" };
                Some(json!({"ifname": name, "flags": ["BROADCAST", "MULTICAST"], "mtu": 1500, "master": BRIDGE, "state": state, "isolated": port.protected}))
            });
            let ports: Vec<Value> = ports.collect();
            Ok(if how.json {
                format!("{}\n", Value::Array(ports))
            } else {
                ports
                    .iter()
                    .map(|it| {
                        format!(
                            "{}: <> mtu 1500 master {BRIDGE} state {}\n",
                            it["ifname"].as_str().unwrap_or_default(),
                            it["state"].as_str().unwrap_or_default()
                        )
                    })
                    .collect()
            })
        }
        ["fdb" | "mdb" | "monitor", ..] => Ok(if how.json { "[]\n".into() } else { String::new() }),
        [other, ..] => Err((1, format!("Object \"{other}\" is unknown, try \"bridge help\".\n"))),
        [] => Err((255, "Usage: bridge [ OPTIONS ] OBJECT { COMMAND | help }\n".into())),
    };
    ran(done)
}

fn vlan_show(words: &[&str], how: &Options, config: &Config) -> Result<String, Wrong> {
    let only = match words {
        [] => None,
        ["dev", name, ..] => Some(*name),
        [other, ..] => return Err((255, format!("Command \"{other}\" is unknown, try \"bridge vlan help\".\n"))),
    };
    if let Some(name) = only.filter(|it| !exists(config, it)) {
        return Err(missing(name));
    }
    let own: Filter =
        std::iter::once((1, Flags { pvid: true, untagged: true })).chain(config.vlans.keys().map(|it| (*it, Flags::default()))).collect();
    let mut all: Vec<(String, Filter)> = Vec::new();
    for name in config.port_names() {
        if let Some(port) = config.ports.get(name).filter(|it| !it.routed && it.group.is_none()) {
            all.push((name.clone(), filter(port)));
        }
    }
    all.extend(tunnels(config).into_iter().filter(|(_, it)| it.master).map(|(name, it)| (name, it.vlans)));
    all.push((BRIDGE.to_owned(), own));
    all.retain(|(name, filter)| !filter.is_empty() && only.is_none_or(|only| only == name));
    let words = |flags: Flags| {
        [(flags.pvid, "PVID"), (flags.untagged, "Egress Untagged")].into_iter().filter(|it| it.0).map(|it| it.1).collect::<Vec<_>>()
    };
    if !how.json {
        let mut out = "port              vlan-id  \n".to_owned();
        for (name, filter) in &all {
            for (nth, (vlan, flags)) in filter.iter().enumerate() {
                let name = if nth == 0 { name } else { "" };
                let flags = words(*flags).into_iter().map(|it| format!(" {it}")).collect::<String>();
                out.push_str(&format!("{name:<18}{vlan}{flags}\n"));
            }
        }
        return Ok(out);
    }
    let list = |filter: &Filter| -> Vec<Value> {
        let mut runs: Vec<(u16, u16, Flags)> = Vec::new();
        for (vlan, flags) in filter {
            match runs.last_mut() {
                Some((_, high, known)) if how.compress && *high + 1 == *vlan && known == flags && !flags.pvid => *high = *vlan,
                _ => runs.push((*vlan, *vlan, *flags)),
            }
        }
        let entry = |(low, high, flags): &(u16, u16, Flags)| {
            let mut out = json!({"vlan": low});
            if high > low {
                out["vlanEnd"] = json!(high);
            }
            if flags.pvid || flags.untagged {
                out["flags"] = json!(words(*flags));
            }
            out
        };
        runs.iter().map(entry).collect()
    };
    let all: Vec<Value> = all.iter().map(|(name, filter)| json!({"ifname": name, "vlans": list(filter)})).collect();
    Ok(format!("{}\n", Value::Array(all)))
}

fn vlan_change(add: bool, words: &[&str], config: &mut Config) -> Result<String, Wrong> {
    let (mut name, mut range, mut flags) = (None, None, Flags::default());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "dev" => name = rest.next().copied(),
            "vid" => range = rest.next().copied(),
            "pvid" => flags.pvid = true,
            "untagged" => flags.untagged = true,
            "self" | "master" | "tagged" => {}
            "tunnel_info" => drop((rest.next(), rest.next())),
            other => return Err((255, format!("Command line is not complete. Try option \"help\": {other}\n"))),
        }
    }
    let (Some(name), Some(range)) = (name, range) else { return Err((255, "Device and VLAN ID are required arguments.\n".into())) };
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let vlan = |text: &str| text.parse::<u16>().ok().filter(|it| *it < 4095).ok_or_else(|| (255, format!("Invalid VLAN ID \"{text}\"\n")));
    let (low, high) = (vlan(low)?, vlan(high)?);
    if low == 0 || low > high {
        return Err((255, format!("Invalid VLAN range \"{low}-{high}\"\n")));
    }
    if flags.pvid && low != high {
        return Err((255, "VLAN range cannot be set as PVID\n".into()));
    }
    if !exists(config, name) {
        return Err(missing(name));
    }
    if name == BRIDGE {
        for vlan in low..=high {
            if add {
                config.vlans.entry(vlan).or_default();
            } else if config.vlans.remove(&vlan).is_none() {
                return Err(rtnetlink("No such file or directory"));
            }
        }
        return Ok(String::new());
    }
    let change = |filter: &mut Filter| {
        let mut found = add;
        for vlan in low..=high {
            if add {
                if flags.pvid {
                    // There is one of these; the one before stays a member.
                    filter.values_mut().for_each(|it| it.pvid = false);
                }
                filter.insert(vlan, flags);
            } else {
                found |= filter.remove(&vlan).is_some();
            }
        }
        found
    };
    let mut all = tunnels(config);
    if let Some(tunnel) = all.get_mut(name).filter(|it| it.master) {
        change(&mut tunnel.vlans);
        put_tunnels(config, &all);
        return Ok(String::new());
    }
    let Some(port) = config.ports.get_mut(name).filter(|it| !it.routed && it.group.is_none()) else {
        return Err(rtnetlink("Operation not supported"));
    };
    let mut now = filter(port);
    change(&mut now);
    put_filter(port, &now);
    Ok(String::new())
}
