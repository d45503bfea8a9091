//! Mellanox MLNX-OS (NVIDIA Onyx). Ports are called as its tables call them: `Eth1/1`, `Po5`.
//!
//! Source: NVIDIA, "Onyx User Manual" 3.9: "Command Line Interface", "VLAN", "Link Aggregation Group".

use std::collections::{BTreeMap, BTreeSet};

use super::super::device::{Allowed, Config, Mode, Port, Protocol, Rules, Vlan};
use super::cli::{At, Cli, Do, Entry, Fault, Flavour, List, Outcome, Shown, join};
use super::grammar::{self, Arg, Bad, Kind, Names};
use super::text::{full_name, kept, pad, unswitched};
use super::{Answer, Session as _, Shape};

/// Mellanox MLNX-OS.
pub(super) struct Mlnxos;

/// A line of a mode, given with its object from outside.
const INSIDE: Do = Do::Special(1);
const NO_INSIDE: Do = Do::Special(2);

const TABLE: &[Entry] = &[
    (At::User, "enable", Do::Enable),
    (At::User, "exit", Do::Exit),
    (At::User, "show version", Do::ShowVersion),
    (At::User, "no cli session paging enable", Do::PageOff),
    (At::User, "cli session paging enable", Do::PageOn),
    (At::User, "terminal length <num>", Do::PageLength),
    (At::User, "cli session terminal length <num>", Do::PageLength),
    (At::User, "terminal width <num>", Do::Nothing),
    (At::User, "cli session terminal width <num>", Do::Nothing),
    (At::User, "show vlan", Do::ShowVlans),
    (At::User, "show interfaces switchport", Do::ShowSwitchport),
    (At::User, "show interfaces ethernet status", Do::ShowStatus),
    (At::Exec, "disable", Do::Disable),
    (At::Exec, "configure terminal", Do::Configure),
    (At::Exec, "show running-config", Do::ShowRunning),
    (At::Exec, "show configuration running", Do::ShowRunning),
    (At::Exec, "show configuration", Do::ShowStartup),
    (At::Exec, "write memory", Do::Save),
    (At::Exec, "configuration write", Do::Save),
    (At::Config, "exit", Do::Exit),
    (At::Config, "hostname <word>", Do::Hostname),
    (At::Config, "interface <port>", Do::Interface),
    (At::Config, "no interface <port>", Do::NoInterface),
    (At::Config, "interface <port> <line>", INSIDE),
    (At::Config, "no interface <port> <line>", NO_INSIDE),
    (At::Config, "vlan <vlan>", Do::Vlan),
    (At::Config, "vlan <vlans>", Do::Vlan),
    (At::Config, "no vlan <vlan>", Do::NoVlan),
    (At::Config, "no vlan <vlans>", Do::NoVlan),
    (At::Config, "vlan <vlan> <line>", INSIDE),
    (At::Config, "no vlan <vlan> <line>", NO_INSIDE),
    (At::Config, "lacp", Do::Keep),
    (At::Config, "no lacp", Do::NoKeep),
    (At::Config, "lldp", Do::Keep),
    (At::Config, "no lldp", Do::NoKeep),
    (At::Config, "spanning-tree mode <word>", Do::Keep),
    (At::Config, "snmp-server <line>", Do::Keep),
    (At::Config, "no snmp-server <line>", Do::NoKeep),
    (At::Config, "ntp server <word>", Do::Keep),
    (At::Config, "no ntp server <word>", Do::NoKeep),
    (At::Vlan, "name <word>", Do::VlanName),
    (At::Vlan, "no name", Do::NoVlanName),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "no description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "no shutdown", Do::Up),
    (At::Interface, "switchport mode access", Do::ModeAccess),
    (At::Interface, "switchport mode trunk", Do::ModeTrunk),
    (At::Interface, "switchport mode hybrid", Do::ModeHybrid),
    (At::Interface, "no switchport mode", Do::NoMode),
    (At::Interface, "switchport access vlan <vlan>", Do::Access),
    (At::Interface, "no switchport access vlan", Do::NoAccess),
    (At::Interface, "switchport trunk allowed-vlan <vlans>", Do::Allow(List::Set)),
    (At::Interface, "switchport trunk allowed-vlan add <vlans>", Do::Allow(List::Add)),
    (At::Interface, "switchport trunk allowed-vlan remove <vlans>", Do::Allow(List::Remove)),
    (At::Interface, "switchport trunk allowed-vlan except <vlans>", Do::Allow(List::Except)),
    (At::Interface, "switchport trunk allowed-vlan all", Do::Allow(List::All)),
    (At::Interface, "switchport trunk allowed-vlan none", Do::Allow(List::None)),
    (At::Interface, "switchport hybrid allowed-vlan <vlans>", Do::Allow(List::Set)),
    (At::Interface, "switchport hybrid allowed-vlan add <vlans>", Do::Allow(List::Add)),
    (At::Interface, "switchport hybrid allowed-vlan remove <vlans>", Do::Allow(List::Remove)),
    (At::Interface, "switchport hybrid allowed-vlan except <vlans>", Do::Allow(List::Except)),
    (At::Interface, "switchport hybrid allowed-vlan all", Do::Allow(List::All)),
    (At::Interface, "switchport hybrid allowed-vlan none", Do::Allow(List::None)),
    (At::Interface, "channel-group <1-4096> mode active", Do::Join(Protocol::Active)),
    (At::Interface, "channel-group <1-4096> mode passive", Do::Join(Protocol::Passive)),
    (At::Interface, "channel-group <1-4096> mode on", Do::Join(Protocol::Static)),
    (At::Interface, "no channel-group", Do::Leave),
    (At::Interface, "mtu <1500-9216>", Do::Keep),
    (At::Interface, "mtu <1500-9216> force", Do::Keep),
    (At::Interface, "no mtu", Do::NoKeep),
    (At::Interface, "speed <word>", Do::Keep),
    (At::Interface, "no speed", Do::NoKeep),
    (At::Interface, "spanning-tree port type edge", Do::Keep),
    (At::Interface, "no spanning-tree port type", Do::NoKeep),
    (At::Interface, "lacp-individual enable", Do::Keep),
    (At::Interface, "lacp-individual enable force", Do::Keep),
];

impl Names for Mlnxos {
    fn port(&self, text: &str) -> Option<String> {
        let full = full_name(text, &["ethernet", "port-channel"])?;
        Some(full.replace("ethernet", "Eth").replace("port-channel", "Po"))
    }
}

/// As the command line calls it: `ethernet 1/1`.
fn long(name: &str) -> String {
    name.replace("Eth", "ethernet ").replace("Po", "port-channel ")
}

impl Flavour for Mlnxos {
    const NAME: &'static str = "mellanox_mlnxos";
    // The VLAN of a hybrid port's untagged frames is no member of its list.
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: false };
    const EXEC_ANYWHERE: bool = true;
    const USER_FIRST: bool = true;

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("Eth1/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: BTreeMap::from([(String::new(), vec!["lacp".to_owned(), "lldp".to_owned()])]),
            ..Config::default()
        }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("Po")
    }

    fn group(&self, number: u32) -> String {
        format!("Po{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let spot = cli.spot();
        let mode = match spot.at {
            At::User => ">".to_owned(),
            At::Exec => "#".to_owned(),
            At::Config | At::Sub(_) => "(config) #".to_owned(),
            At::Vlan => format!("(config vlan {}) #", grammar::list(&spot.vlans)),
            At::Interface => format!("(config interface {}) #", long(spot.ports.first().map_or("", String::as_str))),
        };
        format!("{host} [standalone: master] {mode} ")
    }

    fn bad(&self, _cli: &Cli<Self>, line: &str, bad: &Bad) -> String {
        let before = line.get(..bad.at).unwrap_or_default().trim();
        let help = if before.is_empty() { "?".to_owned() } else { format!("{before} ?") };
        match bad.kind {
            Kind::Keyword | Kind::TooMany => {
                let whole = if before.is_empty() { bad.word.clone() } else { format!("{before} {}", bad.word) };
                format!("% Unrecognized command \"{whole}\".\nType \"{help}\" for help.")
            }
            Kind::Value => format!("% Invalid value \"{}\".\nType \"{help}\" for help.", bad.word),
            Kind::Incomplete => format!("% Incomplete command \"{}\".\nType \"{} ?\" for help.", line.trim(), line.trim()),
            Kind::Ambiguous => format!("% Ambiguous command \"{}\".\nType \"{help}\" for help.", line.trim()),
        }
    }

    fn fault(&self, _cli: &Cli<Self>, _line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(port) => format!("% Interface {port} does not exist"),
            Fault::WrongPort(port) => format!("% Interface {port} cannot be deleted"),
            Fault::WrongMode => "% Operation is not allowed in the current switchport mode".to_owned(),
            Fault::DefaultVlan(_) => "% Default VLAN cannot be deleted or renamed".to_owned(),
        }
    }

    fn referring(&self, _config: &mut Config, vlan: u16) -> Result<String, String> {
        Err(format!("% VLAN {vlan} does not exist"))
    }

    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, _line: &str) -> Result<String, String> {
        if self.is_group(port) {
            return Err("% Unrecognized command \"channel-group\".\nType \"?\" for help.".to_owned());
        }
        if !config.ports.contains_key(&self.group(group)) {
            return Err(format!("% Port-channel {group} does not exist"));
        }
        if protocol != Protocol::Static && !config.extra.get("").is_some_and(|it| it.iter().any(|it| it == "lacp")) {
            return Err("% LACP is not enabled".to_owned());
        }
        join(self, config, port, group, protocol);
        if let Some(it) = config.ports.get_mut(port) {
            *it = Port {
                up: it.up,
                description: it.description.clone(),
                group: it.group.clone(),
                extra: it.extra.clone(),
                ..Port::default()
            };
        }
        Ok(String::new())
    }

    fn special(&self, cli: &mut Cli<Self>, which: u8, args: &[Arg], line: &str) -> Outcome {
        let Some(Arg::Text(rest)) = args.last() else { return Ok(Answer::nothing()) };
        let negated = Do::Special(which) == NO_INSIDE;
        let object = line.strip_suffix(rest.as_str()).unwrap_or(line).trim();
        let object = if negated { object.trim_start_matches("no ") } else { object };
        let before = cli.spots.clone();
        let opened = cli.line(object);
        let answer = if opened.status == 0 { cli.line(&if negated { format!("no {rest}") } else { rest.clone() }) } else { opened };
        cli.spots = before;
        Ok(answer)
    }

    fn after(&self, port: &mut Port, before: &Port, what: Do) {
        if matches!(what, Do::ModeAccess | Do::ModeTrunk | Do::ModeHybrid | Do::NoMode) && port.mode != before.mode {
            (port.access, port.allowed) = (1, Allowed::All);
        }
        if what == Do::Leave {
            *port = unswitched(port, Port::default());
        }
        port.native = untagged(port);
    }

    fn fits(&self, port: &Port, what: Do) -> bool {
        match what {
            Do::Access | Do::NoAccess => port.mode != Mode::Trunk && port.group.is_none(),
            Do::Allow(_) => port.mode != Mode::Access && port.group.is_none(),
            Do::ModeAccess | Do::ModeTrunk | Do::ModeHybrid | Do::NoMode => port.group.is_none(),
            _ => true,
        }
    }

    fn settle(&self, config: &mut Config) {
        let vlans: BTreeSet<u16> = config.vlans.keys().copied().collect();
        for port in config.ports.values_mut() {
            if !vlans.contains(&port.access) {
                port.access = 1;
                port.native = untagged(port);
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
        "lines 1-23 "
    }

    fn render(&self, config: &Config, shown: Shown, _port: Option<&str>) -> String {
        let mut out = match shown {
            Shown::Running => "##\n## Running database \"initial\"\n",
            Shown::Startup => "##\n## Active saved database \"initial\"\n",
        }
        .to_owned();
        out +=
            &format!("## Generated at 2026/01/05 10:00:00 +0000\n## Hostname: {}\n## Product release: 3.9.3124\n##\n\n", config.hostname);
        out += "##\n## Running-config temporary prefix mode setting\n##\nno cli default prefix-modes enable\n\n##\n## Interface Ethernet configuration\n##\n";
        let names = config.port_names();
        let ports = || names.iter().filter_map(|name| Some((*name, config.ports.get(*name)?)));
        for (name, _) in ports().filter(|(_, it)| it.is_group) {
            out += &format!("   interface {}\n", long(name));
        }
        for (name, port) in ports() {
            let Some(member) = &port.group else { continue };
            let mode = match member.protocol {
                Protocol::Active => "active",
                Protocol::Passive => "passive",
                Protocol::Static => "on",
            };
            out += &format!("   interface {} channel-group {} mode {mode}\n", long(name), member.group.trim_start_matches("Po"));
        }
        for (name, port) in ports() {
            let name = long(name);
            match port.mode {
                Mode::Access => {}
                Mode::Trunk => out += &format!("   interface {name} switchport mode trunk\n"),
                Mode::Hybrid => out += &format!("   interface {name} switchport mode hybrid\n"),
            }
            if !port.description.is_empty() {
                out += &format!("   interface {name} description \"{}\"\n", port.description);
            }
            if !port.up {
                out += &format!("   interface {name} shutdown\n");
            }
            out += &kept(&port.extra, &format!("   interface {name} "));
        }
        out += "\n##\n## LAG configuration\n##\n";
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "   ");
        out += "\n##\n## VLAN configuration\n##\n";
        let list: BTreeSet<u16> = config.vlans.keys().copied().filter(|it| *it != 1).collect();
        for (first, last) in grammar::ranges(&list) {
            out += &if first == last { format!("   vlan {first}\n") } else { format!("   vlan {first}-{last}\n") };
        }
        for (id, name) in config.vlans.iter().filter_map(|(id, it)| Some((id, it.name.as_ref()?))) {
            out += &format!("   vlan {id} name \"{name}\"\n");
        }
        for (name, port) in ports().filter(|(_, it)| it.group.is_none()) {
            let name = long(name);
            if port.access != 1 && port.mode != Mode::Trunk {
                out += &format!("   interface {name} switchport access vlan {}\n", port.access);
            }
            let kind = if port.mode == Mode::Hybrid { "hybrid" } else { "trunk" };
            if let (Mode::Trunk | Mode::Hybrid, Allowed::Only(list)) = (port.mode, &port.allowed) {
                out += &format!("   interface {name} switchport {kind} allowed-vlan none\n");
                for vlan in list {
                    out += &format!("   interface {name} switchport {kind} allowed-vlan add {vlan}\n");
                }
            }
        }
        out + "\n##\n## Network interface configuration\n##\nno interface mgmt0 dhcp\n\n##\n## Other IP configuration\n##\n"
            + &format!("hostname {}\n", config.hostname)
    }

    fn show(&self, cli: &Cli<Self>, what: Do, _port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowSwitchport => switchport(&config),
            Do::ShowStatus => {
                let mut out = format!(
                    "{} {} {} Negotiation\n{} {} {} -----------\n",
                    pad("Port", 12),
                    pad("Operational state", 22),
                    pad("Speed", 21),
                    pad("----", 12),
                    pad("-----------------", 22),
                    pad("-----", 21)
                );
                for (name, port) in config.port_names().into_iter().filter_map(|it| Some((it, config.ports.get(it)?))) {
                    out += &format!(
                        "{} {} {} No-Negotiation\n",
                        pad(name, 12),
                        pad(if port.up { "Up" } else { "Down (Admin)" }, 22),
                        pad("100G", 21)
                    );
                }
                out
            }
            _ => format!(
                "Product name:      Onyx\nProduct release:   3.9.3124\nBuild ID:          #1-dev\nTarget arch:       x86_64\n\
                 Product model:     x86onie\nHost ID:           0CC47A000000\nUptime:            1d 2h 3m 4.5s\nHostname:          {}\n",
                config.hostname
            ),
        }
    }
}

/// The VLAN of untagged frames: the access VLAN on a hybrid port, none on a trunk.
fn untagged(port: &Port) -> Option<u16> {
    match port.mode {
        Mode::Access => Some(1),
        Mode::Trunk => None,
        Mode::Hybrid => Some(port.access),
    }
}

fn vlans(config: &Config) -> String {
    let rule = "-".repeat(100);
    let mut out = format!("{rule}\nVLAN    Name                 Ports\n{rule}\n");
    for (id, vlan) in &config.vlans {
        let is_in = |name: &&String| {
            let carried = config.carries(name, Mlnxos::RULES);
            config.ports.get(*name).is_some_and(|it| it.group.is_none()) && (carried.untagged == Some(*id) || carried.tagged.contains(id))
        };
        let ports: Vec<&str> = config.port_names().into_iter().filter(is_in).map(String::as_str).collect();
        let name = if *id == 1 { "default".to_owned() } else { vlan.name.clone().unwrap_or_default() };
        let mut rows = ports.chunks(8).map(|it| it.join(", "));
        out += format!("{} {} {}", pad(id, 7), pad(name, 20), rows.next().unwrap_or_default()).trim_end();
        out += "\n";
        for row in rows {
            out += &format!("{}{row}\n", " ".repeat(29));
        }
    }
    out
}

fn switchport(config: &Config) -> String {
    let rule = "-".repeat(85);
    let mut out = format!("{rule}\nInterface         Mode           Access vlan      Allowed vlans\n{rule}\n");
    for (name, port) in config.port_names().into_iter().filter_map(|it| Some((it, config.ports.get(it)?))) {
        let (mode, vlan) = match port.mode {
            Mode::Access => ("access", port.access.to_string()),
            Mode::Trunk => ("trunk", "N/A".to_owned()),
            Mode::Hybrid => ("hybrid", port.access.to_string()),
        };
        let tagged = config.carries(name, Mlnxos::RULES).tagged;
        out += format!("{} {} {} {}", pad(name, 17), pad(mode, 14), pad(vlan, 16), grammar::list(&tagged)).trim_end();
        out += "\n";
    }
    out
}
