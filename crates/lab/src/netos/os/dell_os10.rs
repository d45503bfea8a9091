//! Dell SmartFabric OS10, full switch mode.
//!
//! Source: Dell, "SmartFabric OS10 User Guide" 10.5: "CLI basics", "Port-channel interfaces", "Virtual LANs".

use std::collections::{BTreeMap, BTreeSet};

use super::super::device::{Allowed, Config, Mode, Port, Protocol, Rules, Vlan};
use super::Shape;
use super::cli::{At, Cli, Do, Entry, Fault, Flavour, List, Shown, join};
use super::grammar::{self, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, unswitched};

/// Dell OS10.
pub(super) struct Os10;

const LAYER3: At = At::Sub(1);

const TABLE: &[Entry] = &[
    (At::Exec, "exit", Do::Exit),
    (At::Exec, "show version", Do::ShowVersion),
    (At::Exec, "show vlan", Do::ShowVlans),
    (At::Exec, "show interface status", Do::ShowStatus),
    (At::Exec, "terminal length <0-512>", Do::PageLength),
    (At::Exec, "terminal width <num>", Do::Nothing),
    (At::Exec, "configure terminal", Do::Configure),
    (At::Exec, "configure", Do::Configure),
    (At::Exec, "show running-configuration", Do::ShowRunning),
    (At::Exec, "show running-configuration interface <port>", Do::ShowRunningInterface),
    (At::Exec, "show startup-configuration", Do::ShowStartup),
    (At::Exec, "copy running-configuration startup-configuration", Do::Save),
    (At::Exec, "write memory", Do::Save),
    (At::Config, "exit", Do::Exit),
    (At::Config, "end", Do::End),
    (At::Config, "hostname <word>", Do::Hostname),
    (At::Config, "interface <port>", Do::Interface),
    (At::Config, "interface range <ports>", Do::Interface),
    (At::Config, "no interface <port>", Do::NoInterface),
    (At::Config, "default interface <port>", Do::DefaultInterface),
    (At::Config, "snmp-server <line>", Do::Keep),
    (At::Config, "no snmp-server <line>", Do::NoKeep),
    (At::Config, "ntp server <word>", Do::Keep),
    (At::Config, "no ntp server <word>", Do::NoKeep),
    (LAYER3, "ip address <word>", Do::Keep),
    (LAYER3, "no ip address", Do::NoKeep),
    (LAYER3, "no shutdown", Do::Keep),
    (LAYER3, "shutdown", Do::NoKeep),
    (At::Vlan, "description <line>", Do::VlanName),
    (At::Vlan, "no description", Do::NoVlanName),
    (At::Vlan, "no shutdown", Do::Nothing),
    (At::Vlan, "mtu <1312-9216>", Do::Keep),
    (At::Vlan, "ip address <word>", Do::Keep),
    (At::Vlan, "no ip address", Do::NoKeep),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "no description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "no shutdown", Do::Up),
    (At::Interface, "no switchport", Do::Routed),
    (At::Interface, "switchport mode access", Do::ModeAccess),
    (At::Interface, "switchport mode trunk", Do::ModeTrunk),
    (At::Interface, "no switchport mode", Do::NoMode),
    (At::Interface, "switchport access vlan <vlan>", Do::Access),
    (At::Interface, "no switchport access vlan", Do::NoAccess),
    (At::Interface, "no switchport access vlan <vlan>", Do::NoAccess),
    // It adds to the list.
    (At::Interface, "switchport trunk allowed vlan <vlans>", Do::Allow(List::Add)),
    (At::Interface, "no switchport trunk allowed vlan <vlans>", Do::Allow(List::Remove)),
    (At::Interface, "no switchport trunk allowed vlan", Do::Allow(List::None)),
    (At::Interface, "channel-group <1-1000>", Do::Join(Protocol::Static)),
    (At::Interface, "channel-group <1-1000> mode on", Do::Join(Protocol::Static)),
    (At::Interface, "channel-group <1-1000> mode active", Do::Join(Protocol::Active)),
    (At::Interface, "channel-group <1-1000> mode passive", Do::Join(Protocol::Passive)),
    (At::Interface, "no channel-group", Do::Leave),
    (At::Interface, "flowcontrol receive off", Do::Keep),
    (At::Interface, "mtu <1280-9216>", Do::Keep),
    (At::Interface, "no mtu", Do::NoKeep),
    (At::Interface, "spanning-tree port type edge", Do::Keep),
    (At::Interface, "no spanning-tree port type edge", Do::NoKeep),
    (At::Interface, "spanning-tree bpduguard enable", Do::Keep),
    (At::Interface, "no spanning-tree bpduguard", Do::NoKeep),
];

impl Names for Os10 {
    fn port(&self, text: &str) -> Option<String> {
        full_name(text, &["ethernet", "port-channel", "vlan", "mgmt", "loopback"])
    }
}

fn number(name: &str) -> &str {
    name.trim_start_matches(|it: char| !it.is_ascii_digit())
}

impl Flavour for Os10 {
    const NAME: &'static str = "dell_os10";
    // The VLAN of untagged frames is no member of a trunk's list.
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: false };
    const TRUNKS_REFER: bool = true;

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("ethernet1/1/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        let mgmt = vec!["no shutdown".to_owned(), "ip address dhcp".to_owned()];
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: BTreeMap::from([("interface mgmt1/1/1".to_owned(), mgmt)]),
            ..Config::default()
        }
    }

    fn fresh(&self, name: &str) -> Port {
        Port { allowed: Allowed::Only(BTreeSet::new()), is_group: self.is_group(name), ..Port::default() }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("port-channel")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        match name {
            _ if name.starts_with("vlan") => Some(At::Vlan),
            _ if name.starts_with("mgmt") || name.starts_with("loopback") => Some(LAYER3),
            _ => None,
        }
    }

    fn group(&self, number: u32) -> String {
        format!("port-channel{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let spot = cli.spot();
        let mode = match spot.at {
            At::User | At::Exec => String::new(),
            At::Config => "(config)".to_owned(),
            At::Vlan => format!("(conf-if-vl-{})", grammar::list(&spot.vlans)),
            At::Interface if spot.ports.len() > 1 => {
                let (first, last) = (spot.ports.first(), spot.ports.last());
                format!("(conf-range-eth{}-{})", first.map_or("", |it| number(it)), last.map_or("", |it| number(it)))
            }
            At::Interface => {
                let name = spot.ports.first().map_or("", String::as_str);
                format!("(conf-if-{}{})", if self.is_group(name) { "po-" } else { "eth" }, number(name))
            }
            At::Sub(_) => format!("(conf-if-{})", spot.section.trim_start_matches("interface ")),
        };
        format!("{host}{mode}# ")
    }

    fn bad(&self, _cli: &Cli<Self>, _line: &str, bad: &Bad) -> String {
        match bad.kind {
            Kind::Keyword | Kind::TooMany => "% Error: Unrecognized command.",
            Kind::Value => "% Error: Illegal parameter.",
            Kind::Incomplete => "% Error: Incomplete command.",
            Kind::Ambiguous => "% Error: Ambiguous command.",
        }
        .to_owned()
    }

    fn fault(&self, _cli: &Cli<Self>, _line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(_) | Fault::WrongPort(_) | Fault::WrongMode => "% Error: Illegal parameter.".to_owned(),
            Fault::DefaultVlan(_) => "% Error: Default VLAN cannot be deleted".to_owned(),
        }
    }

    fn referring(&self, _config: &mut Config, vlan: u16) -> Result<String, String> {
        Err(format!("% Error: vlan{vlan} doesn't exist"))
    }

    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, _line: &str) -> Result<String, String> {
        if self.is_group(port) {
            return Err("% Error: Unrecognized command.".to_owned());
        }
        if !config.ports.contains_key(&self.group(group)) {
            return Err(format!("% Error: port-channel{group} does not exist"));
        }
        join(self, config, port, group, protocol);
        if let Some(it) = config.ports.get_mut(port) {
            // A member has no switching of its own.
            *it = Port {
                up: it.up,
                description: it.description.clone(),
                group: it.group.clone(),
                extra: it.extra.clone(),
                ..self.fresh(port)
            };
        }
        Ok(String::new())
    }

    fn after(&self, port: &mut Port, before: &Port, what: Do) {
        // A VLAN is untagged on a port or tagged there, not both.
        if let (Some(native), Allowed::Only(list), false) = (before.native, &mut port.allowed, matches!(what, Do::Allow(_))) {
            list.remove(&native);
        }
        match what {
            Do::ModeAccess | Do::ModeTrunk | Do::NoMode => {
                port.routed = false;
                if port.mode != before.mode || before.routed {
                    // Both modes have one and the same VLAN for untagged frames.
                    if before.mode == Mode::Trunk {
                        port.access = before.native.unwrap_or(1);
                    }
                    port.native = Some(port.access);
                    port.allowed = Allowed::Only(BTreeSet::new());
                }
            }
            Do::Leave => *port = unswitched(port, Port { allowed: Allowed::Only(BTreeSet::new()), ..Port::default() }),
            Do::Access => port.native = Some(port.access),
            // On a trunk there is then none, else it is VLAN 1.
            Do::NoAccess => port.native = (port.mode != Mode::Trunk).then_some(1),
            _ => {}
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
            }
        }
    }

    fn saving(&self) -> (&'static str, &'static str) {
        ("", "")
    }

    fn is_yes(&self, _answer: &str) -> bool {
        true
    }

    fn more(&self) -> &'static str {
        "--more--"
    }

    fn render(&self, config: &Config, _shown: Shown, port: Option<&str>) -> String {
        if let Some(name) = port {
            return config.ports.get(name).map(|it| interface(config, name, it)).unwrap_or_default();
        }
        let mut out = String::from("! Version 10.5.2.3\n! Last configuration change at Jan  05 10:00:00 2026\n!\nip vrf default\n!\n");
        out += "iscsi target port 860\niscsi target port 3260\n";
        out += &format!("hostname {}\nsystem-user linuxadmin password $6$xxxx$xxxx\n", config.hostname);
        out += "username admin password $6$xxxx$xxxx role sysadmin priv-lvl 15\naaa authentication login default local\n!\n";
        out += "class-map type application class-iscsi\n!\n";
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "");
        for (id, vlan) in &config.vlans {
            out += &format!("interface vlan{id}\n");
            out += &vlan.name.as_ref().map(|it| format!(" description {it}\n")).unwrap_or_default();
            out += " no shutdown\n";
            out += &kept(&vlan.extra, " ");
            out += "!\n";
        }
        let (groups, sockets): (Vec<&String>, Vec<&String>) = config.port_names().into_iter().partition(|it| self.is_group(it));
        for name in groups {
            out += &config.ports.get(name).map(|it| interface(config, name, it) + "!\n").unwrap_or_default();
        }
        for begin in ["interface mgmt", "interface loopback"] {
            for (header, lines) in sections(config, begin) {
                out += &format!("{header}\n{}!\n", kept(lines, " "));
            }
        }
        for name in sockets {
            out += &config.ports.get(name).map(|it| interface(config, name, it) + "!\n").unwrap_or_default();
        }
        out + "snmp-server contact \"Contact Support\"\n!\ntelemetry\n"
    }

    fn show(&self, cli: &Cli<Self>, what: Do, _port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowStatus => status(&config),
            _ => "Dell EMC Networking OS10 Enterprise\nCopyright (c) 1999-2021 by Dell Inc. All Rights Reserved.\nOS Version: 10.5.2.3\n\
                  Build Version: 10.5.2.3.265\nSystem Type: S5248F-ON\nArchitecture: x86_64\nUp Time: 1 day 02:03:04\n"
                .to_owned(),
        }
    }
}

fn interface(config: &Config, name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    if !port.description.is_empty() {
        let quoted = if port.description.contains(' ') { format!("\"{}\"", port.description) } else { port.description.clone() };
        out += &format!(" description {quoted}\n");
    }
    out += if port.up { " no shutdown\n" } else { " shutdown\n" };
    if let Some(member) = &port.group {
        let mode = match member.protocol {
            Protocol::Active => " mode active",
            Protocol::Passive => " mode passive",
            Protocol::Static => "",
        };
        out += &format!(" channel-group {}{mode}\n no switchport\n", number(&member.group));
    } else if port.routed {
        out += " no switchport\n";
    } else {
        if port.mode == Mode::Trunk {
            out += " switchport mode trunk\n";
        }
        let untagged = if port.mode == Mode::Trunk { port.native } else { Some(port.access) };
        out += &untagged.map_or_else(|| " no switchport access vlan\n".to_owned(), |it| format!(" switchport access vlan {it}\n"));
        let mut list: BTreeSet<u16> = match &port.allowed {
            Allowed::All => config.vlans.keys().copied().collect(),
            Allowed::Only(list) => list.clone(),
        };
        list.retain(|it| port.native != Some(*it));
        if port.mode == Mode::Trunk && !list.is_empty() {
            out += &format!(" switchport trunk allowed vlan {}\n", grammar::list(&list));
        }
    }
    out + &kept(&port.extra, " ")
}

fn vlans(config: &Config) -> String {
    let mut out = String::from(
        "Codes: * - Default VLAN, M - Management VLAN, R - Remote Port Mirroring VLANs,\n       @ - Attached to Virtual Network, P - Primary, C - Community, I - Isolated\nQ: A - Access (Untagged), T - Tagged\n    NUM    Status    Description                     Q Ports\n",
    );
    for (id, vlan) in &config.vlans {
        let of = |wanted: &dyn Fn(&str) -> bool| -> String {
            let names = config.port_names().into_iter().filter(|it| config.ports.get(*it).is_some_and(|it| it.group.is_none()));
            names
                .filter(|it| wanted(it))
                .map(|it| format!("{}{}", if it.starts_with('e') { "Eth" } else { "Po" }, number(it)))
                .collect::<Vec<_>>()
                .join(",")
        };
        let untagged = of(&|it| config.carries(it, Os10::RULES).untagged == Some(*id));
        let tagged = of(&|it| config.carries(it, Os10::RULES).tagged.contains(id));
        let mut lists = [("A", untagged), ("T", tagged)].into_iter().filter(|(_, it)| !it.is_empty());
        let (kind, ports) = lists.next().unwrap_or_default();
        let state = if ports.is_empty() { "Inactive" } else { "Active" };
        let star = if *id == 1 { "*" } else { " " };
        out += format!("{star}   {} {} {} {kind} {ports}", pad(id, 6), pad(state, 9), pad(vlan.name.clone().unwrap_or_default(), 31))
            .trim_end();
        out += "\n";
        for (kind, ports) in lists {
            out += &format!("{}{kind} {ports}\n", " ".repeat(53));
        }
    }
    out
}

fn status(config: &Config) -> String {
    let rule = "-".repeat(100);
    let mut out = format!("{rule}\nPort            Description     Status   Speed    Duplex   Mode Vlan Tagged-Vlans\n{rule}\n");
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let tagged = match (&port.mode, &port.allowed) {
            (Mode::Trunk, Allowed::Only(list)) => grammar::list(list),
            _ => "-".to_owned(),
        };
        let mode = if port.mode == Mode::Trunk { "T" } else { "A" };
        let text: String = port.description.chars().take(15).collect();
        let eth = format!("Eth {}", number(name));
        out += &format!(
            "{} {} {} 10G      full     {mode}    {} {tagged}\n",
            pad(eth, 15),
            pad(text, 15),
            pad(if port.up { "up" } else { "down" }, 8),
            pad(port.access, 4)
        );
    }
    out
}
