//! `ovs-vsctl`: the tables Port, Interface and Bridge, and the commands on them. One command line is one transaction.
//!
//! Source: Open vSwitch, ovs-vsctl(8), ovs-vswitchd.conf.db(5); RFC 7047 for the JSON of values.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::shell::Ran;
use crate::netos::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol};

/// The bridge that there is.
pub(super) const BRIDGE: &str = "br0";
/// What begins the line of [`Port::extra`] with a port's columns.
const COLUMNS: &str = "ovsdb ";
/// Where the columns of the bridge are kept in [`Config::extra`].
const BRIDGE_COLUMNS: &str = "ovsdb Bridge";

type Strings = BTreeMap<String, String>;

/// The columns of a Port that matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    tag: Option<u16>,
    trunks: BTreeSet<u16>,
    vlan_mode: Option<String>,
    protected: bool,
    lacp: Option<String>,
    bond_mode: Option<String>,
    other_config: Strings,
    external_ids: Strings,
}

/// The columns of a bridge and of interfaces that matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    other_config: Strings,
    external_ids: Strings,
    interfaces: BTreeMap<String, Strings>,
}

fn apply(row: &Row, port: &mut Port) {
    port.protected = row.protected;
    let list =
        || if row.trunks.is_empty() { Allowed::All } else { Allowed::Only(row.trunks.iter().copied().filter(|it| *it > 0).collect()) };
    let mode = match (row.vlan_mode.as_deref(), row.tag) {
        (Some(mode), _) => mode,
        (None, Some(_)) => "access",
        (None, None) => "trunk",
    };
    (port.native, port.native_tagged, port.allowed) = (None, false, list());
    match mode {
        "access" => {
            port.mode = Mode::Access;
            // Without a tag it is in no VLAN, which is number 0.
            port.access = row.tag.unwrap_or(0);
        }
        "native-tagged" | "native-untagged" => {
            port.mode = Mode::Trunk;
            port.native = row.tag;
            port.native_tagged = mode == "native-tagged";
            if let (Allowed::Only(list), Some(tag)) = (&mut port.allowed, row.tag) {
                list.insert(tag);
            }
        }
        _ => port.mode = Mode::Trunk,
    }
}

/// The columns of a port; made anew if it was changed by other means.
fn row(port: &Port) -> Row {
    let known = port.extra.iter().find_map(|it| serde_json::from_str::<Row>(it.strip_prefix(COLUMNS)?).ok()).unwrap_or_default();
    let mut would_be = port.clone();
    apply(&known, &mut would_be);
    if would_be == *port {
        return known;
    }
    let mut out = Row { tag: None, trunks: BTreeSet::new(), vlan_mode: None, protected: port.protected, ..known };
    if let Allowed::Only(list) = &port.allowed {
        // No list at all would mean all VLANs; VLAN 0 is one that no tagged frame belongs to.
        out.trunks = if list.is_empty() { BTreeSet::from([0]) } else { list.clone() };
    }
    match (port.mode, port.native) {
        (Mode::Access, _) => {
            (out.tag, out.vlan_mode, out.trunks) = (Some(port.access).filter(|it| *it > 0), Some("access".into()), BTreeSet::new());
        }
        (_, Some(native)) => {
            out.tag = Some(native);
            out.vlan_mode = Some(if port.native_tagged { "native-tagged" } else { "native-untagged" }.into());
        }
        (_, None) => out.vlan_mode = Some("trunk".into()),
    }
    out
}

fn put_row(port: &mut Port, row: &Row) {
    port.extra.retain(|it| !it.starts_with(COLUMNS));
    if let Ok(text) = serde_json::to_string(row) {
        port.extra.push(format!("{COLUMNS}{text}"));
    }
    apply(row, port);
}

fn notes(config: &Config) -> Notes {
    config.extra.get(BRIDGE_COLUMNS).and_then(|it| it.first()).and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default()
}

fn put_notes(config: &mut Config, notes: &Notes) {
    if let Ok(text) = serde_json::to_string(notes) {
        config.extra.insert(BRIDGE_COLUMNS.to_owned(), vec![text]);
    }
}

/// A port in the bridge as it is added.
pub(super) fn added() -> Port {
    let mut port = Port::default();
    put_row(&mut port, &Row::default());
    port
}

/// An identifier that is always the same for a row.
fn uuid(table: &str, name: &str) -> String {
    let digest: String = Sha256::digest(format!("{table} {name}")).iter().map(|it| format!("{it:02x}")).collect();
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// A column's value, as the database has it.
#[derive(Debug, Clone, PartialEq)]
enum Datum {
    Set(Vec<Value>),
    One(Value),
    Map(Strings),
    Uuid(String),
    Uuids(Vec<String>),
}

impl Datum {
    fn json(&self) -> Value {
        match self {
            Self::One(value) => value.clone(),
            Self::Set(list) => match list.as_slice() {
                [one] => one.clone(),
                _ => json!(["set", list]),
            },
            Self::Map(map) => json!(["map", map.iter().map(|(key, value)| json!([key, value])).collect::<Vec<_>>()]),
            Self::Uuid(id) => json!(["uuid", id]),
            Self::Uuids(list) => match list.as_slice() {
                [one] => json!(["uuid", one]),
                _ => json!(["set", list.iter().map(|it| json!(["uuid", it])).collect::<Vec<_>>()]),
            },
        }
    }

    fn text(&self) -> String {
        let one = |it: &Value| match it {
            Value::String(text) => string(text),
            other => other.to_string(),
        };
        match self {
            Self::One(value) => one(value),
            Self::Set(list) => match list.as_slice() {
                [value] => one(value),
                _ => format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(", ")),
            },
            Self::Map(map) => format!(
                "{{{}}}",
                map.iter().map(|(key, value)| format!("{}={}", string(key), string(value))).collect::<Vec<_>>().join(", ")
            ),
            Self::Uuid(id) => id.clone(),
            Self::Uuids(list) => format!("[{}]", list.join(", ")),
        }
    }
}

/// Strings that could be something else are quoted.
fn string(text: &str) -> String {
    let plain = text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "_-.".contains(it))
        && text != "true"
        && text != "false";
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

type Columns = Vec<(&'static str, Datum)>;

fn optional(value: Option<impl Into<Value>>) -> Datum {
    Datum::Set(value.into_iter().map(Into::into).collect())
}

fn port_columns(config: &Config, name: &str, port: &Port) -> Columns {
    let row = row(port);
    let members = if port.is_group { config.members(name).into_iter().cloned().collect() } else { vec![name.to_owned()] };
    vec![
        ("_uuid", Datum::Uuid(uuid("Port", name))),
        ("bond_mode", optional(row.bond_mode)),
        // VLANs within VLANs are not played.
        ("cvlans", Datum::Set(Vec::new())),
        ("external_ids", Datum::Map(row.external_ids)),
        ("interfaces", Datum::Uuids(members.iter().map(|it| uuid("Interface", it)).collect())),
        ("lacp", optional(row.lacp)),
        ("name", Datum::One(json!(name))),
        ("other_config", Datum::Map(row.other_config)),
        ("protected", Datum::One(json!(row.protected))),
        ("tag", optional(row.tag)),
        ("trunks", Datum::Set(row.trunks.into_iter().map(Into::into).collect())),
        ("vlan_mode", optional(row.vlan_mode)),
    ]
}

fn interface_columns(config: &Config, name: &str, up: bool, number: usize) -> Columns {
    let state = if up { "up" } else { "down" };
    let ids = notes(config).interfaces.get(name).cloned().unwrap_or_default();
    vec![
        ("_uuid", Datum::Uuid(uuid("Interface", name))),
        ("admin_state", Datum::One(json!(state))),
        ("error", Datum::Set(Vec::new())),
        ("external_ids", Datum::Map(ids)),
        ("link_state", Datum::One(json!(state))),
        ("mac_in_use", Datum::One(json!(format!("02:00:00:00:00:{number:02x}")))),
        ("name", Datum::One(json!(name))),
        ("ofport", Datum::One(json!(number))),
        ("type", Datum::One(json!(if name == BRIDGE { "internal" } else { "" }))),
    ]
}

/// The rows of a table; `None`: there is no such table.
fn rows(config: &Config, table: &str) -> Option<Vec<(String, Columns)>> {
    let switched = |it: &&String| config.ports.get(*it).is_some_and(|port| !port.routed);
    let local = Port { extra: Vec::new(), allowed: Allowed::All, native: None, mode: Mode::Trunk, ..Port::default() };
    Some(match table.to_ascii_lowercase().as_str() {
        "port" => {
            let names =
                config.port_names().into_iter().filter(switched).filter(|it| config.ports.get(*it).is_some_and(|it| it.group.is_none()));
            let own = names.filter_map(|name| Some((name.clone(), port_columns(config, name, config.ports.get(name)?))));
            std::iter::once((BRIDGE.to_owned(), port_columns(config, BRIDGE, &local))).chain(own).collect()
        }
        "interface" => {
            let names = config.port_names().into_iter().filter(switched).filter(|it| config.ports.get(*it).is_some_and(|it| !it.is_group));
            let own = names
                .enumerate()
                .filter_map(|(nth, name)| Some((name.clone(), interface_columns(config, name, config.ports.get(name)?.up, nth + 1))));
            std::iter::once((BRIDGE.to_owned(), interface_columns(config, BRIDGE, true, 65_534))).chain(own).collect()
        }
        "bridge" => {
            let ports = rows(config, "Port")?.into_iter().map(|(name, _)| uuid("Port", &name)).collect();
            let notes = notes(config);
            let columns = vec![
                ("_uuid", Datum::Uuid(uuid("Bridge", BRIDGE))),
                ("datapath_type", Datum::One(json!(""))),
                ("external_ids", Datum::Map(notes.external_ids)),
                ("fail_mode", Datum::Set(Vec::new())),
                ("name", Datum::One(json!(BRIDGE))),
                ("other_config", Datum::Map(notes.other_config)),
                ("ports", Datum::Uuids(ports)),
            ];
            vec![(BRIDGE.to_owned(), columns)]
        }
        "open_vswitch" | "open" => {
            let columns = vec![
                ("_uuid", Datum::Uuid(uuid("Open_vSwitch", "."))),
                ("bridges", Datum::Uuids(vec![uuid("Bridge", BRIDGE)])),
                ("ovs_version", Datum::Set(vec![json!("3.1.0")])),
            ];
            vec![(".".to_owned(), columns)]
        }
        _ => return None,
    })
}

/// What `ovs-vsctl` complains about, without its own name.
type Wrong = String;

#[derive(Default)]
struct Options {
    format: String,
    columns: Option<Vec<String>>,
    headings: bool,
    bare: bool,
}

/// Runs `ovs-vsctl` on a configuration; it changes only if all commands are taken.
pub(super) fn vsctl(args: &[String], config: &mut Config) -> Ran {
    let mut options = Options { format: "list".into(), headings: true, ..Options::default() };
    let mut words: Vec<&str> = Vec::new();
    let mut rest = args.iter().map(String::as_str).peekable();
    let mut format_given = false;
    while let Some(it) = rest.peek().copied() {
        match it {
            "-f" | "-t" | "-d" => {
                rest.next();
                let value = rest.next().unwrap_or_default();
                if it == "-f" {
                    (options.format, format_given) = (value.to_owned(), true);
                }
            }
            "--no-heading" | "--no-headings" => {
                options.headings = false;
                rest.next();
            }
            "--bare" => {
                options.bare = true;
                rest.next();
            }
            other => {
                if let Some(format) = other.strip_prefix("--format=") {
                    (options.format, format_given) = (format.to_owned(), true);
                } else if !["--timeout=", "--db=", "--data=", "--no-wait", "--oneline", "-v", "--verbose", "--dry-run", "--pretty"]
                    .iter()
                    .any(|it| other.starts_with(it))
                {
                    break;
                }
                rest.next();
            }
        }
    }
    words.extend(rest);
    if format_given && !["json", "table", "csv", "list", "html"].contains(&options.format.as_str()) {
        return complaint(&format!("unknown output format \"{}\"", options.format));
    }
    let mut draft = config.clone();
    let mut out = String::new();
    for command in words.split(|it| *it == "--").filter(|it| !it.is_empty()) {
        let mut own = Options { format: options.format.clone(), columns: None, ..options };
        let flags: Vec<&str> = command.iter().copied().take_while(|it| it.starts_with("--")).collect();
        if let Some(list) = flags.iter().find_map(|it| it.strip_prefix("--columns=")) {
            own.columns = Some(list.split([',', ' ']).map(str::to_owned).collect());
        }
        match one(command.get(flags.len()..).unwrap_or_default(), &flags, &own, &mut draft) {
            Ok(text) => out.push_str(&text),
            Err((2, _)) => return Ran { status: 2, ..Ran::default() },
            Err((_, says)) => return complaint(&says),
        }
    }
    *config = draft;
    Ran::ok(out)
}

fn complaint(says: &str) -> Ran {
    Ran::failed(1, format!("ovs-vsctl: {says}\n"))
}

fn one(words: &[&str], flags: &[&str], options: &Options, config: &mut Config) -> Result<String, (u8, Wrong)> {
    let Some((command, args)) = words.split_first() else { return Ok(String::new()) };
    let has = |flag: &str| flags.contains(&flag);
    let wrong = |says: String| (1, says);
    let needs = |count: usize| wrong(format!("'{command}' command requires at least {count} arguments"));
    match (*command, args) {
        ("list" | "find", [table, more @ ..]) => {
            let all = rows(config, table).ok_or_else(|| wrong(format!("unknown table \"{table}\"")))?;
            let mut picked = Vec::new();
            if *command == "list" && !more.is_empty() {
                for name in more {
                    match all
                        .iter()
                        .find(|(it, columns)| it == name || columns.iter().any(|(_, it)| *it == Datum::Uuid((*name).to_owned())))
                    {
                        Some(it) => picked.push(it.clone()),
                        None if has("--if-exists") => {}
                        None => return Err(wrong(format!("no row \"{name}\" in table {table}"))),
                    }
                }
            } else {
                let fits = |columns: &Columns| {
                    more.iter().all(|it| {
                        let Some((key, value)) = it.split_once('=') else { return false };
                        let (column, inner) = key.split_once(':').map_or((key, None), |(column, key)| (column, Some(key)));
                        let value = value.trim_matches('"');
                        columns.iter().any(|(name, datum)| {
                            *name == column
                                && match (datum, inner) {
                                    (Datum::Map(map), Some(key)) => map.get(key.trim_matches('"')).is_some_and(|it| it == value),
                                    (other, _) => other.text().trim_matches('"') == value,
                                }
                        })
                    })
                };
                picked = all.into_iter().filter(|(_, columns)| fits(columns)).collect();
            }
            printed(table, &picked, options).map_err(wrong)
        }
        ("get", [table, name, columns @ ..]) => {
            let all = rows(config, table).ok_or_else(|| wrong(format!("unknown table \"{table}\"")))?;
            let Some((_, row)) = all.iter().find(|(it, _)| it == name) else {
                return if has("--if-exists") { Ok(String::new()) } else { Err(wrong(format!("no row \"{name}\" in table {table}"))) };
            };
            let mut out = String::new();
            for column in columns {
                let (column, key) = column.split_once(':').map_or((*column, None), |(column, key)| (column, Some(key)));
                let datum = row.iter().find(|(it, _)| *it == column).map(|it| &it.1);
                match (datum, key) {
                    (None, _) => return Err(wrong(format!("{table} does not contain a column whose name matches \"{column}\""))),
                    (Some(Datum::Map(map)), Some(key)) => match map.get(key) {
                        Some(value) => out.push_str(&format!("{}\n", string(value))),
                        None if has("--if-exists") => out.push('\n'),
                        None => return Err(wrong(format!("no key \"{key}\" in {table} record \"{name}\" column {column}"))),
                    },
                    (Some(datum), _) => out.push_str(&format!("{}\n", datum.text())),
                }
            }
            Ok(out)
        }
        ("set" | "add" | "remove" | "clear", [table, name, rest @ ..]) if !rest.is_empty() => {
            write(command, table, name, rest, has("--if-exists"), config).map(|()| String::new()).map_err(wrong)
        }
        ("set" | "add" | "remove" | "clear", _) => Err(needs(if *command == "clear" || *command == "set" { 3 } else { 4 })),
        ("list-br", []) => Ok(format!("{BRIDGE}\n")),
        ("br-exists", [name]) => {
            if *name == BRIDGE {
                Ok(String::new())
            } else {
                Err((2, String::new()))
            }
        }
        ("list-ports" | "list-ifaces", [bridge]) => {
            if *bridge != BRIDGE {
                return Err(wrong(format!("no bridge named {bridge}")));
            }
            let table = if *command == "list-ports" { "Port" } else { "Interface" };
            let all = rows(config, table).unwrap_or_default();
            Ok(all.into_iter().filter(|(it, _)| it != BRIDGE).map(|(it, _)| it + "\n").collect())
        }
        ("port-to-br" | "iface-to-br", [name]) => match config.ports.get(*name).filter(|it| !it.routed) {
            Some(_) => Ok(format!("{BRIDGE}\n")),
            None => Err(wrong(format!("no {} named {name}", if *command == "port-to-br" { "port" } else { "interface" }))),
        },
        ("add-port", [bridge, name, sets @ ..]) => {
            if *bridge != BRIDGE {
                return Err(wrong(format!("no bridge named {bridge}")));
            }
            match config.ports.get_mut(*name) {
                Some(port) if !port.routed && has("--may-exist") && port.group.is_none() => {}
                Some(port) if !port.routed => {
                    let says = format!("cannot create a port named {name} because a port named {name} already exists on bridge {BRIDGE}");
                    return Err(wrong(says));
                }
                Some(port) => *port = Port { up: port.up, ..added() },
                None => {
                    let says = format!("could not open network device {name} (No such device)");
                    return Err(wrong(format!("Error detected while setting up '{name}': {says}.  See ovs-vswitchd log for details.")));
                }
            }
            if sets.is_empty() {
                Ok(String::new())
            } else {
                write("set", "Port", name, sets, false, config).map(|()| String::new()).map_err(wrong)
            }
        }
        ("del-port", [name] | [_, name]) => match config.ports.get(*name).filter(|it| !it.routed && it.group.is_none()) {
            None if has("--if-exists") => Ok(String::new()),
            None => Err(wrong(format!("no port named {name}"))),
            Some(port) => {
                let freed: Vec<String> =
                    if port.is_group { config.members(name).into_iter().cloned().collect() } else { vec![(*name).to_owned()] };
                if port.is_group {
                    config.ports.remove(*name);
                    config.groups.remove(*name);
                }
                for it in freed {
                    release(config, &it);
                }
                Ok(String::new())
            }
        },
        ("add-bond", [_bridge, name, more @ ..]) => {
            let members: Vec<&str> = more.iter().copied().filter(|it| !it.contains('=')).collect();
            let sets: Vec<&str> = more.iter().copied().filter(|it| it.contains('=')).collect();
            if members.len() < 2 {
                return Err(needs(4));
            }
            if config.ports.contains_key(*name) {
                let says = format!("cannot create a port named {name} because a port named {name} already exists on bridge {BRIDGE}");
                return Err(wrong(says));
            }
            config.ports.insert((*name).to_owned(), Port { is_group: true, ..added() });
            config.groups.insert((*name).to_owned(), Group { protocol: Some(Protocol::Static) });
            for member in members {
                enslave(config, name, member).map_err(wrong)?;
            }
            if sets.is_empty() {
                Ok(String::new())
            } else {
                write("set", "Port", name, &sets, false, config).map(|()| String::new()).map_err(wrong)
            }
        }
        ("add-bond-iface", [bond, name]) => {
            if !config.ports.get(*bond).is_some_and(|it| it.is_group) {
                return Err(wrong(format!("no bond named {bond}")));
            }
            enslave(config, bond, name).map(|()| String::new()).map_err(wrong)
        }
        ("del-bond-iface", [bond, name]) => {
            if !config.members(bond).iter().any(|it| it == name) {
                return if has("--if-exists") { Ok(String::new()) } else { Err(wrong(format!("no interface named {name}"))) };
            }
            if config.members(bond).len() < 2 {
                return Err(wrong(format!("cannot delete last interface from bond {bond}")));
            }
            release(config, name);
            Ok(String::new())
        }
        ("show", []) => {
            let ports = rows(config, "Port").unwrap_or_default();
            let lines = ports.iter().map(|(name, _)| format!("        Port {name}\n            Interface {name}\n")).collect::<String>();
            Ok(format!("{}\n    Bridge {BRIDGE}\n{lines}    ovs_version: \"3.1.0\"\n", uuid("Open_vSwitch", ".")))
        }
        ("list-br" | "br-exists" | "list-ports" | "add-port" | "del-port" | "add-bond" | "list" | "find" | "get", _) => {
            Err(wrong(format!("'{command}' command requires at least {} arguments", args.len() + 1)))
        }
        _ => Err(wrong(format!("unknown command '{command}'; use --help for help"))),
    }
}

/// Takes an interface out of the bridge.
fn release(config: &mut Config, name: &str) {
    if let Some(port) = config.ports.get_mut(name) {
        *port = Port { up: port.up, routed: true, ..added() };
    }
}

fn enslave(config: &mut Config, bond: &str, name: &str) -> Result<(), Wrong> {
    let Some(port) = config.ports.get_mut(name) else {
        return Err(format!("Error detected while setting up '{name}': could not open network device {name} (No such device)."));
    };
    if !port.routed {
        return Err(format!("cannot create an interface named {name} because an interface named {name} already exists on bridge {BRIDGE}"));
    }
    *port = Port { up: port.up, group: Some(Membership { group: bond.to_owned(), protocol: Protocol::Static }), ..added() };
    Ok(())
}

fn write(verb: &str, table: &str, name: &str, args: &[&str], if_exists: bool, config: &mut Config) -> Result<(), Wrong> {
    let missing = || if if_exists { Ok(()) } else { Err(format!("no row \"{name}\" in table {table}")) };
    match table.to_ascii_lowercase().as_str() {
        "port" => {
            let Some(port) = config.ports.get(name).filter(|it| !it.routed && it.group.is_none()) else { return missing() };
            let mut row = row(port);
            changes(verb, args, |column, change| match column {
                "tag" => number(change, &mut row.tag),
                "trunks" => numbers(change, &mut row.trunks),
                "vlan_mode" => one_of(change, &mut row.vlan_mode, &["access", "dot1q-tunnel", "native-tagged", "native-untagged", "trunk"]),
                "lacp" => one_of(change, &mut row.lacp, &["active", "off", "passive"]),
                "bond_mode" => one_of(change, &mut row.bond_mode, &["active-backup", "balance-slb", "balance-tcp"]),
                "cvlans" if matches!(change, Change::Clear) => Ok(()),
                "protected" => boolean(change, &mut row.protected),
                "other_config" => map(change, &mut row.other_config),
                "external_ids" => map(change, &mut row.external_ids),
                _ => Err(format!("{table} does not contain a column whose name matches \"{column}\"")),
            })?;
            let protocol = match row.lacp.as_deref() {
                Some("active") => Protocol::Active,
                Some("passive") => Protocol::Passive,
                _ => Protocol::Static,
            };
            if let Some(group) = config.groups.get_mut(name) {
                group.protocol = Some(protocol);
            }
            for port in config.ports.values_mut() {
                if let Some(member) = port.group.as_mut().filter(|it| it.group == name) {
                    member.protocol = protocol;
                }
            }
            if let Some(port) = config.ports.get_mut(name) {
                put_row(port, &row);
            }
            Ok(())
        }
        "bridge" | "interface" => {
            let is_bridge = table.eq_ignore_ascii_case("bridge");
            let known = if is_bridge { name == BRIDGE } else { config.ports.contains_key(name) || name == BRIDGE };
            if !known {
                return missing();
            }
            let mut notes = notes(config);
            changes(verb, args, |column, change| match column {
                "external_ids" if is_bridge => map(change, &mut notes.external_ids),
                "other_config" if is_bridge => map(change, &mut notes.other_config),
                "external_ids" => map(change, notes.interfaces.entry(name.to_owned()).or_default()),
                "fail_mode" | "datapath_type" | "type" | "options" | "mtu_request" | "stp_enable" | "rstp_enable" => Ok(()),
                _ => Err(format!("{table} does not contain a column whose name matches \"{column}\"")),
            })?;
            put_notes(config, &notes);
            Ok(())
        }
        _ => Err(format!("unknown table \"{table}\"")),
    }
}

/// What is done to a column.
enum Change<'a> {
    Clear,
    /// The column becomes this.
    Set(&'a str),
    /// One key of a map becomes this.
    SetKey(&'a str, &'a str),
    Add(Vec<&'a str>),
    Remove(Vec<&'a str>),
}

fn changes<'a>(verb: &str, args: &[&'a str], mut each: impl FnMut(&str, Change<'a>) -> Result<(), Wrong>) -> Result<(), Wrong> {
    match (verb, args) {
        ("clear", columns) => columns.iter().try_for_each(|it| each(it, Change::Clear)),
        ("set", sets) => sets.iter().try_for_each(|it| {
            let Some((key, value)) = it.split_once('=') else {
                return Err(format!("{it}: argument does not end in \"=\" followed by a value."));
            };
            match key.split_once(':') {
                Some((column, key)) => each(&column.replace('-', "_"), Change::SetKey(key.trim_matches('"'), value)),
                None => each(&key.replace('-', "_"), Change::Set(value)),
            }
        }),
        ("add", [column, values @ ..]) if !values.is_empty() => each(column, Change::Add(values.to_vec())),
        ("remove", [column, values @ ..]) if !values.is_empty() => each(column, Change::Remove(values.to_vec())),
        _ => Err(format!("'{verb}' command requires at least 4 arguments")),
    }
}

/// The atoms of a value: `[a, b]`, `a,b` or `a`.
fn atoms(text: &str) -> Vec<&str> {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    inner.split([',', ' ']).map(|it| it.trim_matches('"')).filter(|it| !it.is_empty()).collect()
}

fn integer(text: &str) -> Result<u16, Wrong> {
    let value: i64 = text.parse().map_err(|_not_a_number| format!("\"{text}\" is not a valid integer"))?;
    u16::try_from(value)
        .ok()
        .filter(|it| *it <= 4095)
        .ok_or_else(|| format!("constraint violation: {value} is not in the valid range 0 to 4,095 (inclusive)"))
}

fn number(change: Change<'_>, column: &mut Option<u16>) -> Result<(), Wrong> {
    match change {
        Change::Clear => *column = None,
        Change::Set(text) => {
            let list = atoms(text);
            if list.len() > 1 {
                return Err(format!("\"{text}\": {} value(s) given but at most 1 allowed", list.len()));
            }
            *column = list.first().map(|it| integer(it)).transpose()?;
        }
        Change::Add(list) => {
            for it in list {
                let value = integer(it)?;
                if column.is_some_and(|old| old != value) {
                    return Err("\"add\" operation would put 2 values in column tag but the maximum number is 1".into());
                }
                *column = Some(value);
            }
        }
        Change::Remove(list) => {
            for it in list {
                let value = integer(it)?;
                *column = column.filter(|old| *old != value);
            }
        }
        Change::SetKey(..) => return Err("cannot specify key to set for non-map column tag".into()),
    }
    Ok(())
}

fn numbers(change: Change<'_>, column: &mut BTreeSet<u16>) -> Result<(), Wrong> {
    match change {
        Change::Clear => column.clear(),
        Change::Set(text) => *column = atoms(text).into_iter().map(integer).collect::<Result<_, _>>()?,
        Change::Add(list) => {
            for it in list.into_iter().flat_map(atoms) {
                column.insert(integer(it)?);
            }
        }
        Change::Remove(list) => {
            for it in list.into_iter().flat_map(atoms) {
                column.remove(&integer(it)?);
            }
        }
        Change::SetKey(..) => return Err("cannot specify key to set for non-map column trunks".into()),
    }
    Ok(())
}

fn one_of(change: Change<'_>, column: &mut Option<String>, all: &[&str]) -> Result<(), Wrong> {
    match change {
        Change::Clear | Change::Remove(_) => *column = None,
        Change::Set(text) => match atoms(text).as_slice() {
            [] => *column = None,
            [one] if all.contains(one) => *column = Some((*one).to_owned()),
            other => {
                return Err(format!("constraint violation: {} is not one of the allowed values ([{}])", other.join(" "), all.join(", ")));
            }
        },
        Change::Add(_) | Change::SetKey(..) => return Err("not a set or map".into()),
    }
    Ok(())
}

fn boolean(change: Change<'_>, column: &mut bool) -> Result<(), Wrong> {
    match change {
        Change::Set("true" | "yes" | "on" | "1") => *column = true,
        Change::Set("false" | "no" | "off" | "0") => *column = false,
        Change::Set(other) => return Err(format!("\"{other}\" is not a valid boolean (use \"true\" or \"false\")")),
        Change::Clear => {
            return Err("\"clear\" operation cannot be applied to column protected of table Port, which is not allowed to be empty".into());
        }
        Change::SetKey(..) | Change::Add(_) | Change::Remove(_) => return Err("not a set or map".into()),
    }
    Ok(())
}

fn map(change: Change<'_>, column: &mut Strings) -> Result<(), Wrong> {
    let pair = |text: &str| -> Result<(String, String), Wrong> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text}: syntax error at end of input expecting \"=\""))?;
        Ok((key.trim_matches('"').to_owned(), value.trim_matches('"').to_owned()))
    };
    match change {
        Change::Clear => column.clear(),
        Change::Set(text) => {
            let inner = text.strip_prefix('{').and_then(|it| it.strip_suffix('}')).unwrap_or(text);
            *column = inner.split(',').map(str::trim).filter(|it| !it.is_empty()).map(pair).collect::<Result<_, _>>()?;
        }
        Change::SetKey(key, value) => drop(column.insert(key.to_owned(), value.trim_matches('"').to_owned())),
        Change::Add(list) => {
            for it in list {
                // A key that is there keeps its value.
                let (key, value) = pair(it)?;
                column.entry(key).or_insert(value);
            }
        }
        Change::Remove(list) => {
            for it in list {
                column.remove(it.split_once('=').map_or(it, |it| it.0).trim_matches('"'));
            }
        }
    }
    Ok(())
}

fn printed(table: &str, rows: &[(String, Columns)], options: &Options) -> Result<String, Wrong> {
    let heads: Vec<String> = match &options.columns {
        Some(list) => list.clone(),
        None => rows.first().map(|(_, row)| row.iter().map(|it| it.0.to_owned()).collect()).unwrap_or_default(),
    };
    let mut cells: Vec<Vec<Datum>> = Vec::new();
    for (_, row) in rows {
        let mut line = Vec::new();
        for head in &heads {
            let Some((_, datum)) = row.iter().find(|(it, _)| it == head) else {
                return Err(format!("{table} does not contain a column whose name matches \"{head}\""));
            };
            line.push(datum.clone());
        }
        cells.push(line);
    }
    let texts = |line: &Vec<Datum>| -> Vec<String> { line.iter().map(Datum::text).collect() };
    Ok(match options.format.as_str() {
        "json" => {
            let data: Vec<Vec<Value>> = cells.iter().map(|it| it.iter().map(Datum::json).collect()).collect();
            format!("{}\n", json!({"headings": heads, "data": data}))
        }
        "csv" => {
            let quote = |it: String| if it.contains([',', '"']) { format!("\"{}\"", it.replace('"', "\"\"")) } else { it };
            let head = if options.headings { format!("{}\n", heads.join(",")) } else { String::new() };
            cells.iter().fold(head, |out, line| out + &texts(line).into_iter().map(quote).collect::<Vec<_>>().join(",") + "\n")
        }
        "table" => {
            let head = if options.headings { format!("{}\n", heads.join(" ")) } else { String::new() };
            cells.iter().fold(head, |out, line| out + &texts(line).join(" ") + "\n")
        }
        _ if options.bare => {
            let lines: Vec<String> =
                cells.iter().map(|it| texts(it).iter().map(|it| it.trim_matches('"').to_owned() + "\n").collect()).collect();
            lines.join("\n")
        }
        _ => {
            let line =
                |it: &Vec<Datum>| heads.iter().zip(texts(it)).map(|(head, text)| format!("{head:<20}: {text}\n")).collect::<String>();
            cells.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    })
}
