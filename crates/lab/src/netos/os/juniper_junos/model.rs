//! Between the statements of Junos and what the switch does: the commit checks, and statements for what was changed by other means.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol, Vlan};
use super::tree::Node;

/// Where [`Config::extra`] keeps the statements, so that they are shown as they were entered.
const STATEMENTS: &str = "junos";

/// What a commit check complains about: the hierarchy, the statement in it, the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) at: String,
    pub(super) statement: String,
    pub(super) says: String,
}

impl Complaint {
    fn new(at: impl Into<String>, statement: impl Into<String>, says: impl Into<String>) -> Self {
        Self { at: at.into(), statement: statement.into(), says: says.into() }
    }

    /// As the CLI prints them, with the line that ends them.
    pub(super) fn print(all: &[Self]) -> String {
        let mut out = String::new();
        for it in all {
            out.push_str(&format!("[edit {}]\n  '{}'\n    {}\n", it.at, it.statement, it.says));
        }
        out + "error: configuration check-out failed\n"
    }
}

/// What a switch fresh from the box is configured with: every port in the VLAN `default`.
pub(super) fn factory(hostname: &str, ports: &[String]) -> Config {
    let mut tree = Node::default();
    let mut set = |line: String| {
        let words: Vec<String> = super::tree::words(&line).into_iter().map(|it| it.1).collect();
        // The lines are ours and in the grammar.
        let _taken = tree.set(&words);
    };
    set(format!("system host-name {hostname}"));
    set("chassis aggregated-devices ethernet device-count 32".into());
    set("vlans default vlan-id 1".into());
    set("protocols lldp interface all".into());
    set("protocols igmp-snooping vlan default".into());
    for port in ports {
        set(format!("interfaces {port} unit 0 family ethernet-switching vlan members default"));
    }
    let sockets: BTreeMap<String, Port> = ports.iter().map(|it| (it.clone(), Port::default())).collect();
    let base = Config { hostname: hostname.to_owned(), ports: sockets, ..Config::default() };
    let mut out = project(&tree, &base);
    keep(&mut out, &tree);
    out
}

/// Remembers the statements with the configuration that follows from them.
pub(super) fn keep(config: &mut Config, tree: &Node) {
    config.extra.insert(STATEMENTS.to_owned(), tree.set_lines(&[]));
}

/// The configuration as statements. Where it was changed by other means than statements they are made anew.
pub(super) fn statements(config: &Config) -> Node {
    let mut tree = Node::from_lines(config.extra.get(STATEMENTS).into_iter().flatten());
    let known = project(&tree, config);
    if known.hostname != config.hostname {
        set(&mut tree, &["system", "host-name", &config.hostname]);
    }
    let vlans: BTreeSet<u16> = known.vlans.keys().chain(config.vlans.keys()).copied().collect();
    for vlan in vlans {
        let (was, is) = (known.vlans.get(&vlan), config.vlans.get(&vlan));
        if was == is {
            continue;
        }
        let name = |it: &Vlan| it.name.clone().unwrap_or_else(|| format!("v{vlan}"));
        if let Some(was) = was.filter(|was| is.is_none_or(|is| name(is) != name(was))) {
            delete(&mut tree, &["vlans", &name(was)]);
        }
        if let Some(is) = is {
            set(&mut tree, &["vlans", &name(is), "vlan-id", &vlan.to_string()]);
            delete(&mut tree, &["vlans", &name(is), "vxlan", "vni"]);
            if let Some(vni) = is.vni {
                set(&mut tree, &["vlans", &name(is), "vxlan", "vni", &vni.to_string()]);
            }
        }
    }
    let ports: BTreeSet<&String> = known.ports.keys().chain(config.ports.keys()).collect();
    for port in ports {
        match config.ports.get(port) {
            is if known.ports.get(port) == is && known.groups.get(port) == config.groups.get(port) => {}
            Some(is) => port_statements(&mut tree, port, is, config),
            None => delete(&mut tree, &["interfaces", port]),
        }
    }
    tree
}

fn set(tree: &mut Node, words: &[&str]) {
    // What is set here is in the grammar.
    let _taken = tree.set(&words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
}

fn delete(tree: &mut Node, words: &[&str]) {
    let _found = tree.delete(&words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
}

fn port_statements(tree: &mut Node, name: &str, port: &Port, config: &Config) {
    for gone in [&["disable"][..], &["description"], &["native-vlan-id"], &["ether-options", "802.3ad"], &["unit", "0"]] {
        delete(tree, &[&["interfaces", name], gone].concat());
    }
    let switching = ["interfaces", name, "unit", "0", "family", "ethernet-switching"];
    let vlan = |vlan: u16| config.vlans.get(&vlan).and_then(|it| it.name.clone()).unwrap_or_else(|| vlan.to_string());
    if !port.up {
        set(tree, &["interfaces", name, "disable"]);
    }
    if !port.description.is_empty() {
        set(tree, &["interfaces", name, "description", &port.description]);
    }
    if port.is_group {
        for protocol in ["active", "passive"] {
            delete(tree, &["interfaces", name, "aggregated-ether-options", "lacp", protocol]);
        }
        match config.groups.get(name).and_then(|it| it.protocol) {
            Some(Protocol::Active) => set(tree, &["interfaces", name, "aggregated-ether-options", "lacp", "active"]),
            Some(Protocol::Passive) => set(tree, &["interfaces", name, "aggregated-ether-options", "lacp", "passive"]),
            Some(Protocol::Static) | None => {}
        }
    }
    if let Some(member) = &port.group {
        set(tree, &["interfaces", name, "ether-options", "802.3ad", &member.group]);
        return;
    }
    if port.routed {
        return;
    }
    set(tree, &switching);
    if port.mode == Mode::Access {
        set(tree, &[&switching[..], &["interface-mode", "access"]].concat());
        set(tree, &[&switching[..], &["vlan", "members", &vlan(port.access)]].concat());
        return;
    }
    set(tree, &[&switching[..], &["interface-mode", "trunk"]].concat());
    match &port.allowed {
        Allowed::All => set(tree, &[&switching[..], &["vlan", "members", "all"]].concat()),
        Allowed::Only(list) => {
            for it in list {
                set(tree, &[&switching[..], &["vlan", "members", &vlan(*it)]].concat());
            }
        }
    }
    if let Some(native) = port.native {
        set(tree, &["interfaces", name, "native-vlan-id", &native.to_string()]);
    }
}

/// What the switch does with these statements. `base` tells which sockets there are.
pub(super) fn project(tree: &Node, base: &Config) -> Config {
    let vlans: BTreeMap<u16, Vlan> = tree
        .words(&["vlans"])
        .into_iter()
        .filter_map(|name| {
            let vlan = tree.value(&["vlans", name, "vlan-id"])?.parse().ok()?;
            let vni = tree.value(&["vlans", name, "vxlan", "vni"]).and_then(|it| it.parse().ok());
            Some((vlan, Vlan { name: Some(name.to_owned()), vni, extra: Vec::new() }))
        })
        .collect();
    let lags = tree.value(&["chassis", "aggregated-devices", "ethernet", "device-count"]).and_then(|it| it.parse().ok()).unwrap_or(0_u32);
    let is_lag = |name: &str| name.strip_prefix("ae").and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it < lags);
    let protocol = |lag: &str| {
        let lacp = ["interfaces", lag, "aggregated-ether-options", "lacp"];
        match (tree.get(&[&lacp[..], &["active"]].concat()), tree.get(&[&lacp[..], &["passive"]].concat()), tree.get(&lacp)) {
            (Some(_), ..) => Protocol::Active,
            (None, Some(_), _) | (None, None, Some(_)) => Protocol::Passive,
            (None, None, None) => Protocol::Static,
        }
    };
    let mut out = Config {
        hostname: tree.value(&["system", "host-name"]).unwrap_or("Amnesiac").to_owned(),
        vlans,
        extra: base.extra.clone(),
        ..Config::default()
    };
    let sockets = base.ports.iter().filter(|(_, it)| !it.is_group).map(|(name, _)| name.as_str());
    let groups: Vec<&str> = tree.words(&["interfaces"]).into_iter().filter(|it| is_lag(it)).collect();
    for name in sockets.chain(groups.iter().copied()) {
        let at = ["interfaces", name];
        let has = |path: &[&str]| tree.get(&[&at[..], path].concat()).is_some();
        let value = |path: &[&str]| tree.value(&[&at[..], path].concat());
        let mut port = Port {
            up: !has(&["disable"]) && !has(&["unit", "0", "disable"]),
            description: value(&["description"]).unwrap_or_default().to_owned(),
            is_group: is_lag(name),
            routed: !has(&["unit", "0", "family", "ethernet-switching"]),
            native: None,
            allowed: Allowed::Only(BTreeSet::new()),
            ..Port::default()
        };
        let lag = value(&["ether-options", "802.3ad"]).or_else(|| value(&["gigether-options", "802.3ad"]));
        if let Some(lag) = lag {
            port.group = Some(Membership { group: lag.to_owned(), protocol: protocol(lag) });
        }
        let members = tree.words(&["interfaces", name, "unit", "0", "family", "ethernet-switching", "vlan", "members"]);
        let list = resolve(&members, &out.vlans);
        if value(&["unit", "0", "family", "ethernet-switching", "interface-mode"]) == Some("trunk") {
            port.mode = Mode::Trunk;
            port.allowed = list;
            port.native = value(&["native-vlan-id"]).and_then(|it| it.parse().ok());
        } else if let Allowed::Only(list) = list {
            // Without a VLAN it is in the default one.
            port.access = list.first().copied().unwrap_or(1);
        }
        if port.is_group {
            out.groups.insert(name.to_owned(), Group { protocol: Some(protocol(name)) });
        }
        out.ports.insert(name.to_owned(), port);
    }
    out
}

/// The VLANs that members name: names, ids, ranges, `all`.
fn resolve(members: &[&str], vlans: &BTreeMap<u16, Vlan>) -> Allowed {
    let mut out = BTreeSet::new();
    for member in members {
        if *member == "all" {
            return Allowed::All;
        }
        let range = member.split_once('-').and_then(|(a, b)| Some((a.parse::<u16>().ok()?, b.parse::<u16>().ok()?)));
        match (member.parse::<u16>(), range) {
            (Ok(vlan), _) => drop(out.insert(vlan)),
            (_, Some((low, high))) => out.extend(low..=high),
            _ => out.extend(vlans.iter().filter(|(_, it)| it.name.as_deref() == Some(*member)).map(|(vlan, _)| *vlan)),
        }
    }
    Allowed::Only(out)
}

fn is_range(member: &str) -> bool {
    let number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    member.split_once('-').is_some_and(|(low, high)| number(low) && number(high))
}

/// What a commit check finds wrong.
pub(super) fn check(tree: &Node, base: &Config) -> Vec<Complaint> {
    let mut out = Vec::new();
    let projected = project(tree, base);
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    let mut vnis: BTreeMap<&str, &str> = BTreeMap::new();
    for name in tree.words(&["vlans"]) {
        if let Some(id) = tree.value(&["vlans", name, "vlan-id"])
            && let Some(other) = ids.insert(id, name)
        {
            out.push(Complaint::new(
                format!("vlans {name}"),
                format!("vlan-id {id}"),
                format!("vlan-id {id} is already used by vlan {other}"),
            ));
        }
        if let Some(vni) = tree.value(&["vlans", name, "vxlan", "vni"]) {
            if let Some(other) = vnis.insert(vni, name) {
                out.push(Complaint::new(
                    format!("vlans {name} vxlan"),
                    format!("vni {vni}"),
                    format!("VNI {vni} is already used by vlan {other}"),
                ));
            }
            if tree.value(&["switch-options", "vtep-source-interface"]).is_none() {
                out.push(Complaint::new(format!("vlans {name}"), "vxlan", "vtep-source-interface must be configured under switch-options"));
            }
        }
    }
    for name in tree.words(&["interfaces"]) {
        if let Some(port) = projected.ports.get(name) {
            check_port(tree, name, port, &projected, &mut out);
        }
    }
    out
}

fn check_port(tree: &Node, name: &str, port: &Port, projected: &Config, out: &mut Vec<Complaint>) {
    let at = format!("interfaces {name}");
    let family = format!("{at} unit 0 family");
    if let Some(member) = &port.group {
        if tree.get(&["interfaces", name, "unit"]).is_some() {
            out.push(Complaint::new(&at, "unit 0", "logical unit is not allowed on aggregated links"));
        }
        if !projected.ports.get(&member.group).is_some_and(|it| it.is_group) {
            let statement = format!("802.3ad {}", member.group);
            out.push(Complaint::new(format!("{at} ether-options"), statement, "bundle is not configured; see chassis aggregated-devices"));
        }
        return;
    }
    if port.routed {
        return;
    }
    let members = tree.words(&["interfaces", name, "unit", "0", "family", "ethernet-switching", "vlan", "members"]);
    for member in members.iter().filter(|it| **it != "all" && !is_range(it)) {
        let at = format!("{family} ethernet-switching vlan");
        match member.parse::<u16>() {
            Ok(id) if projected.vlans.contains_key(&id) => {}
            Ok(id) => {
                out.push(Complaint::new(at, format!("members {member}"), format!("No vlan matches vlan tag {id} for interface {name}.0")))
            }
            Err(_) if projected.vlans.values().any(|it| it.name.as_deref() == Some(*member)) => {}
            Err(_) if tree.get(&["vlans", member]).is_some() => {}
            Err(_) => {
                out.push(Complaint::new(at, format!("members {member}"), format!("vlan-name {member} is not configured under vlans")))
            }
        }
    }
    for member in members.iter().filter(|it| is_range(it)) {
        if !matches!(resolve(&[*member], &projected.vlans), Allowed::Only(list) if !list.is_empty()) {
            out.push(Complaint::new(format!("{family} ethernet-switching vlan"), format!("members {member}"), "Invalid vlan range"));
        }
    }
    match port.mode {
        Mode::Trunk | Mode::Hybrid if members.is_empty() => out.push(Complaint::new(
            family,
            "ethernet-switching",
            "For trunk interface, please ensure either vlan members is configured or inner-vlan-id-list is configured",
        )),
        Mode::Access if members.len() > 1 || members.contains(&"all") => {
            let names: Vec<String> = members.iter().map(|it| format!("<{it}>")).collect();
            let says = format!("Access interface <{name}.0> has more than one vlan member: {}", names.join(" and "));
            out.push(Complaint::new(family, "ethernet-switching", says));
        }
        Mode::Access if tree.get(&["interfaces", name, "native-vlan-id"]).is_some() => {
            out.push(Complaint::new(at, "native-vlan-id", "native-vlan-id can be specified with trunk mode only"));
        }
        Mode::Trunk | Mode::Hybrid | Mode::Access => {}
    }
}
