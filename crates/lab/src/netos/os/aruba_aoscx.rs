//! Aruba AOS-CX on a switch whose ports are layer 2 from the box (CX 6300).
//!
//! A trunk's list is kept as the switch's database keeps it: without any VLAN in it, all pass.
//!
//! Source: Aruba, "AOS-CX 10.10 Layer 2 Bridging Guide", "Link Aggregation Guide"; the database schema of OpenSwitch, from which it comes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol, Rules, Vlan};
use super::cli::{At, Cli, Do, Entry, Fault, Flavour, Outcome, Shown, number as number_of};
use super::grammar::{self, Arg, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, unswitched, vlan_lines};
use super::{Answer, Shape};

/// Aruba AOS-CX.
pub(super) struct Cx;

const LAYER3: At = At::Sub(1);

const ACCESS: Do = Do::Special(1);
const NO_ACCESS: Do = Do::Special(2);
const NATIVE: Do = Do::Special(3);
const NATIVE_TAG: Do = Do::Special(4);
const NO_NATIVE: Do = Do::Special(5);
const ALLOW: Do = Do::Special(6);
const ALLOW_ALL: Do = Do::Special(7);
const DISALLOW: Do = Do::Special(8);
const DISALLOW_ALL: Do = Do::Special(9);
const LACP_ACTIVE: Do = Do::Special(10);
const LACP_PASSIVE: Do = Do::Special(11);
const NO_LACP: Do = Do::Special(12);
const JOIN: Do = Do::Special(13);

const TABLE: &[Entry] = &[
    (At::Exec, "exit", Do::Exit),
    (At::Exec, "show version", Do::ShowVersion),
    (At::Exec, "show vlan", Do::ShowVlans),
    (At::Exec, "show interface brief", Do::ShowStatus),
    (At::Exec, "no page", Do::PageOff),
    (At::Exec, "page", Do::PageOn),
    (At::Exec, "configure terminal", Do::Configure),
    (At::Exec, "configure", Do::Configure),
    (At::Exec, "show running-config", Do::ShowRunning),
    (At::Exec, "show running-config interface <port>", Do::ShowRunningInterface),
    (At::Exec, "show startup-config", Do::ShowStartup),
    (At::Exec, "copy running-config startup-config", Do::Save),
    (At::Exec, "write memory", Do::Save),
    (At::Config, "exit", Do::Exit),
    (At::Config, "end", Do::End),
    (At::Config, "hostname <word>", Do::Hostname),
    (At::Config, "interface <ports>", Do::Interface),
    (At::Config, "no interface <port>", Do::NoInterface),
    (At::Config, "default interface <ports>", Do::DefaultInterface),
    (At::Config, "vlan <vlans>", Do::Vlan),
    (At::Config, "no vlan <vlans>", Do::NoVlan),
    (At::Config, "spanning-tree", Do::Keep),
    (At::Config, "no spanning-tree", Do::NoKeep),
    (At::Config, "snmp-server <line>", Do::Keep),
    (At::Config, "no snmp-server <line>", Do::NoKeep),
    (At::Config, "ntp server <word>", Do::Keep),
    (At::Config, "no ntp server <word>", Do::NoKeep),
    (LAYER3, "ip address <word>", Do::Keep),
    (LAYER3, "no ip address <word>", Do::NoKeep),
    (LAYER3, "ip dhcp", Do::Keep),
    (LAYER3, "no shutdown", Do::Keep),
    (LAYER3, "shutdown", Do::NoKeep),
    (At::Vlan, "name <word>", Do::VlanName),
    (At::Vlan, "no name", Do::NoVlanName),
    (At::Vlan, "description <line>", Do::Keep),
    (At::Vlan, "no description", Do::NoKeep),
    (At::Vlan, "no shutdown", Do::Nothing),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "no description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "no shutdown", Do::Up),
    (At::Interface, "routing", Do::Routed),
    (At::Interface, "no routing", Do::Switched),
    (At::Interface, "vlan access <vlan>", ACCESS),
    (At::Interface, "no vlan access", NO_ACCESS),
    (At::Interface, "no vlan access <vlan>", NO_ACCESS),
    (At::Interface, "vlan trunk native <vlan>", NATIVE),
    (At::Interface, "vlan trunk native <vlan> tag", NATIVE_TAG),
    (At::Interface, "no vlan trunk native", NO_NATIVE),
    (At::Interface, "no vlan trunk native <vlan>", NO_NATIVE),
    (At::Interface, "no vlan trunk native <vlan> tag", NO_NATIVE),
    (At::Interface, "vlan trunk allowed <vlans>", ALLOW),
    (At::Interface, "vlan trunk allowed all", ALLOW_ALL),
    (At::Interface, "no vlan trunk allowed <vlans>", DISALLOW),
    (At::Interface, "no vlan trunk allowed all", DISALLOW_ALL),
    (At::Interface, "no vlan trunk allowed", DISALLOW_ALL),
    (At::Interface, "lag <1-256>", JOIN),
    (At::Interface, "no lag", Do::Leave),
    (At::Interface, "no lag <1-256>", Do::Leave),
    (At::Interface, "lacp mode active", LACP_ACTIVE),
    (At::Interface, "lacp mode passive", LACP_PASSIVE),
    (At::Interface, "no lacp mode", NO_LACP),
    (At::Interface, "no lacp mode active", NO_LACP),
    (At::Interface, "no lacp mode passive", NO_LACP),
    (At::Interface, "mtu <46-9198>", Do::Keep),
    (At::Interface, "no mtu", Do::NoKeep),
    (At::Interface, "spanning-tree port-type admin-edge", Do::Keep),
    (At::Interface, "no spanning-tree port-type admin-edge", Do::NoKeep),
    (At::Interface, "spanning-tree bpdu-guard", Do::Keep),
    (At::Interface, "no spanning-tree bpdu-guard", Do::NoKeep),
    (At::Interface, "loop-protect", Do::Keep),
];

impl Names for Cx {
    fn port(&self, text: &str) -> Option<String> {
        if text.starts_with(|it: char| it.is_ascii_digit()) {
            let parts: Vec<&str> = text.split('/').collect();
            return (parts.len() == 3 && parts.iter().all(|it| it.parse::<u8>().is_ok())).then(|| text.to_owned());
        }
        // As the configuration writes it; lists of interfaces leave the blank out.
        full_name(text, &["lag", "vlan", "loopback"]).map(|it| it.strip_prefix("lag").map_or(it.clone(), |number| format!("lag {number}")))
    }
}

impl Flavour for Cx {
    const NAME: &'static str = "aruba_aoscx";
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: true };
    const EXEC_ANYWHERE: bool = true;

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("1/1/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: BTreeMap::from([("interface vlan1".to_owned(), vec!["ip dhcp".to_owned()])]),
            ..Config::default()
        }
    }

    fn fresh(&self, name: &str) -> Port {
        // A new group is down.
        Port { up: !self.is_group(name), is_group: self.is_group(name), ..Port::default() }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("lag")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        (name.starts_with("vlan") || name.starts_with("loopback")).then_some(LAYER3)
    }

    fn group(&self, number: u32) -> String {
        format!("lag {number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let spot = cli.spot();
        let mode = match spot.at {
            At::User | At::Exec => String::new(),
            At::Config => "(config)".to_owned(),
            At::Vlan => format!("(config-vlan-{})", grammar::list(&spot.vlans)),
            At::Interface if spot.ports.first().is_some_and(|it| self.is_group(it)) => "(config-lag-if)".to_owned(),
            At::Interface if spot.ports.len() > 1 => {
                format!("(config-if-<{}-{}>)", spot.ports.first().map_or("", String::as_str), spot.ports.last().map_or("", String::as_str))
            }
            At::Interface => "(config-if)".to_owned(),
            At::Sub(_) => "(config-if-vlan)".to_owned(),
        };
        format!("{host}{mode}# ")
    }

    fn bad(&self, _cli: &Cli<Self>, _line: &str, bad: &Bad) -> String {
        match bad.kind {
            Kind::Keyword | Kind::TooMany | Kind::Value => format!("Invalid input: {}", bad.word),
            Kind::Incomplete => "% Command incomplete.".to_owned(),
            Kind::Ambiguous => "% Ambiguous command.".to_owned(),
        }
    }

    fn fault(&self, _cli: &Cli<Self>, line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(port) | Fault::WrongPort(port) => format!("Invalid input: {port}"),
            Fault::WrongMode => "Operation not allowed.".to_owned(),
            Fault::DefaultVlan(_) if line.trim_start().starts_with("no ") => "Default VLAN cannot be removed.".to_owned(),
            Fault::DefaultVlan(_) => "Default VLAN name cannot be changed.".to_owned(),
        }
    }

    fn special(&self, cli: &mut Cli<Self>, which: u8, args: &[Arg], line: &str) -> Outcome {
        let ports = cli.spot().ports;
        let vlan = number_of(args).and_then(|it| u16::try_from(it).ok()).unwrap_or(1);
        let list = args.iter().find_map(|it| if let Arg::Vlans(list) = it { Some(list.clone()) } else { None }).unwrap_or_default();
        let what = Do::Special(which);
        let config = cli.config();
        let named: BTreeSet<u16> = match what {
            ACCESS | NATIVE | NATIVE_TAG => [vlan].into(),
            ALLOW => list.clone(),
            _ => BTreeSet::new(),
        };
        if let Some(missing) = named.iter().find(|it| !config.vlans.contains_key(it)) {
            return Err(format!("VLAN {missing} not found."));
        }
        let of_group = matches!(what, LACP_ACTIVE | LACP_PASSIVE | NO_LACP);
        if of_group != ports.iter().all(|it| self.is_group(it)) && (of_group || what == JOIN) {
            return Err(format!("Invalid input: {}", line.split_ascii_whitespace().next().unwrap_or_default()));
        }
        let group = self.group(u32::from(vlan));
        if what == JOIN && !config.ports.contains_key(&group) {
            return Err(format!("LAG {} does not exist.", group.replace(' ', "")));
        }
        if !of_group && what != JOIN {
            let each = ports.iter().filter_map(|it| config.ports.get(it));
            if each.clone().any(|it| it.group.is_some()) {
                return Err("Operation not allowed on an interface part of a LAG.".to_owned());
            }
            if each.clone().any(|it| it.routed) {
                return Err("Operation not allowed on a routed interface.".to_owned());
            }
        }
        cli.edit(|config| {
            for name in &ports {
                if of_group {
                    let protocol = match what {
                        LACP_ACTIVE => Some(Protocol::Active),
                        LACP_PASSIVE => Some(Protocol::Passive),
                        _ => None,
                    };
                    config.groups.insert(name.clone(), Group { protocol });
                    continue;
                }
                let Some(port) = config.ports.get_mut(name) else { continue };
                if what == JOIN {
                    // The group switches in its place.
                    let membership = Membership { group: group.clone(), protocol: Protocol::Static };
                    let (up, description, extra) = (port.up, std::mem::take(&mut port.description), std::mem::take(&mut port.extra));
                    *port = Port { up, description, extra, group: Some(membership), ..self.fresh(name) };
                } else {
                    set(port, what, vlan, &list);
                }
            }
        });
        Ok(Answer::nothing())
    }

    fn after(&self, port: &mut Port, _before: &Port, what: Do) {
        if what == Do::Leave {
            *port = unswitched(port, Port::default());
        }
    }

    fn settle(&self, config: &mut Config) {
        let vlans: BTreeSet<u16> = config.vlans.keys().copied().collect();
        for port in config.ports.values_mut() {
            if !vlans.contains(&port.access) {
                port.access = 1;
            }
            if port.native.is_some_and(|it| !vlans.contains(&it)) {
                port.native = Some(1);
            }
            if let Allowed::Only(list) = &mut port.allowed {
                list.retain(|it| vlans.contains(it));
                if list.is_empty() {
                    port.allowed = Allowed::All;
                }
            }
        }
    }

    fn saving(&self) -> (&'static str, &'static str) {
        ("", "Copying configuration: [Success]")
    }

    fn is_yes(&self, _answer: &str) -> bool {
        true
    }

    fn more(&self) -> &'static str {
        "-- MORE --, next page: Space, next line: Enter, quit: q"
    }

    fn render(&self, config: &Config, shown: Shown, port: Option<&str>) -> String {
        if let Some(name) = port {
            return config.ports.get(name).map(|it| interface(config, name, it) + "    exit\n").unwrap_or_default();
        }
        let mut out = String::from(if shown == Shown::Running { "Current configuration:\n" } else { "Startup configuration:\n" });
        out += "!\n!Version ArubaOS-CX FL.10.10.1000\n!export-password: default\n";
        out += &format!("hostname {}\nuser admin group administrators password ciphertext xxxx\n", config.hostname);
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "");
        out += "!\n!\nssh server vrf mgmt\n";
        out += "vlan 1\n";
        for line in vlan_lines(config, |(_, it)| it.name.is_none() && it.extra.is_empty()) {
            out += &format!("vlan {line}\n");
            if let Some(vlan) = line.parse().ok().and_then(|id: u16| config.vlans.get(&id)) {
                out += &vlan.name.as_ref().map(|it| format!("    name {it}\n")).unwrap_or_default();
                out += &kept(&vlan.extra, "    ");
            }
        }
        out += "interface mgmt\n    no shutdown\n    ip dhcp\n";
        let (groups, sockets): (Vec<&String>, Vec<&String>) = config.port_names().into_iter().partition(|it| self.is_group(it));
        for name in groups.into_iter().chain(sockets) {
            out += &config.ports.get(name).map(|it| interface(config, name, it)).unwrap_or_default();
        }
        for (header, lines) in sections(config, "interface ") {
            out += &format!(
                "{}\n{}",
                header.replace("interface vlan", "interface vlan ").replace("loopback", "loopback "),
                kept(lines, "    ")
            );
        }
        out + "!\n!\nhttps-server vrf mgmt\n"
    }

    fn show(&self, cli: &Cli<Self>, what: Do, _port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowStatus => brief(&config),
            _ => "-----------------------------------------------------------------------------\nArubaOS-CX\n\
                  (c) Copyright 2017-2022 Hewlett Packard Enterprise Development LP\n\
                  -----------------------------------------------------------------------------\nVersion      : FL.10.10.1000\n\
                  Build ID     : ArubaOS-CX:FL.10.10.1000\nActive Image : primary\n"
                .to_owned(),
        }
    }
}

fn set(port: &mut Port, what: Do, vlan: u16, list: &BTreeSet<u16>) {
    let to_trunk = |port: &mut Port| {
        if port.mode == Mode::Access {
            (port.mode, port.access, port.native, port.native_tagged, port.allowed) = (Mode::Trunk, 1, Some(1), false, Allowed::All);
        }
    };
    match what {
        ACCESS | NO_ACCESS => {
            let fresh = Port::default();
            (port.mode, port.native, port.native_tagged, port.allowed) = (Mode::Access, fresh.native, false, fresh.allowed);
            port.access = if what == ACCESS { vlan } else { 1 };
        }
        NATIVE | NATIVE_TAG => {
            to_trunk(port);
            (port.native, port.native_tagged) = (Some(vlan), what == NATIVE_TAG);
        }
        NO_NATIVE => (port.native, port.native_tagged) = (Some(1), false),
        ALLOW => {
            to_trunk(port);
            port.allowed = match &port.allowed {
                Allowed::All => Allowed::from_set(list.clone()),
                Allowed::Only(now) => Allowed::from_set(now.union(list).copied().collect()),
            };
        }
        ALLOW_ALL => {
            to_trunk(port);
            port.allowed = Allowed::All;
        }
        DISALLOW => {
            if let Allowed::Only(now) = &port.allowed {
                port.allowed = Allowed::Only(now.difference(list).copied().collect());
            }
        }
        DISALLOW_ALL => port.allowed = Allowed::All,
        _ => {}
    }
}

fn interface(config: &Config, name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    out += if port.up { "    no shutdown\n" } else { "    shutdown\n" };
    if !port.description.is_empty() {
        out += &format!("    description {}\n", port.description);
    }
    if let Some(member) = &port.group {
        out += &format!("    {}\n", member.group);
    } else if port.routed {
        out += "    routing\n";
    } else {
        out += "    no routing\n";
        if port.mode == Mode::Access {
            out += &format!("    vlan access {}\n", port.access);
        } else {
            out += &format!("    vlan trunk native {}{}\n", port.native.unwrap_or(1), if port.native_tagged { " tag" } else { "" });
            match &port.allowed {
                Allowed::All => out += "    vlan trunk allowed all\n",
                Allowed::Only(list) => out += &format!("    vlan trunk allowed {}\n", grammar::list(list)),
            }
        }
    }
    match config.groups.get(name).and_then(|it| it.protocol) {
        Some(Protocol::Active) => out += "    lacp mode active\n",
        Some(Protocol::Passive) => out += "    lacp mode passive\n",
        Some(Protocol::Static) | None => {}
    }
    out + &kept(&port.extra, "    ")
}

fn vlans(config: &Config) -> String {
    let rule = "-".repeat(119);
    let mut out =
        format!("\n{rule}\nVLAN  Name                              Status  Reason                  Type        Interfaces\n{rule}\n");
    for (id, vlan) in &config.vlans {
        let is_in = |name: &&String| {
            let carried = config.carries(name, Cx::RULES);
            config.ports.get(*name).is_some_and(|it| it.group.is_none()) && (carried.untagged == Some(*id) || carried.tagged.contains(id))
        };
        let ports: Vec<String> = config.port_names().into_iter().filter(is_in).map(|it| it.replace(' ', "")).collect();
        let name = if *id == 1 { "DEFAULT_VLAN_1".to_owned() } else { vlan.name.clone().unwrap_or_else(|| format!("VLAN{id}")) };
        let (state, why) = if ports.is_empty() { ("down", "no_member_port") } else { ("up", "ok") };
        out += format!("{} {} {} {} {} {}", pad(id, 5), pad(name, 33), pad(state, 7), pad(why, 23), pad("static", 11), ports.join(","))
            .trim_end();
        out += "\n";
    }
    out
}

fn brief(config: &Config) -> String {
    let rule = "-".repeat(108);
    let mut out = format!(
        "{rule}\nPort      Native  Mode   Type           Enabled Status  Reason                  Speed   Description\n                 VLAN                                                                 (Mb/s)\n{rule}\n"
    );
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let (vlan, mode) = match port.mode {
            Mode::Access => (port.access, "access"),
            Mode::Trunk | Mode::Hybrid => (port.native.unwrap_or(1), "trunk"),
        };
        let (enabled, state) = if port.up { ("yes", "up") } else { ("no", "down") };
        out += &format!(
            "{} {} {} 1GbT           {} {} {} 1000    {}\n",
            pad(name.replace(' ', ""), 9),
            pad(vlan, 7),
            pad(mode, 6),
            pad(enabled, 7),
            pad(state, 7),
            " ".repeat(23),
            port.description
        );
    }
    out
}
