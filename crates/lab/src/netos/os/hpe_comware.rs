//! HPE Comware 7 (FlexNetwork 5130 and its like).
//!
//! Source: HPE, "5130 EI Switch Series Layer 2—LAN Switching Command Reference" and "Fundamentals Command Reference", Release 31xx.

use std::collections::{BTreeMap, BTreeSet};

use super::super::device::{Allowed, Config, Group, Mode, Port, Protocol, Rules, Vlan};
use super::cli::{Ask, At, Cli, Do, Entry, Fault, Flavour, List, Outcome, Shown, caret, join, last_word};
use super::grammar::{self, Arg, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, vlan_lines};
use super::{Answer, Shape, Weight};

/// HPE Comware.
pub(super) struct Comware;

const LAYER3: At = At::Sub(1);
const LINE: At = At::Sub(2);

const BATCH: Do = Do::Special(1);
const DYNAMIC: Do = Do::Special(2);
const STATIC: Do = Do::Special(3);
const SAVE: Do = Do::Special(4);

/// Questions on the way to saving.
const NAME: u8 = 1;
const OVERWRITE: u8 = 2;

const TABLE: &[Entry] = &[
    (At::Exec, "quit", Do::Exit),
    (At::Exec, "system-view", Do::Configure),
    (At::Exec, "screen-length disable", Do::PageOff),
    (At::Exec, "undo screen-length disable", Do::PageOn),
    (At::Exec, "display version", Do::ShowVersion),
    (At::Exec, "display vlan brief", Do::ShowVlans),
    (At::Exec, "display interface brief", Do::ShowStatus),
    (At::Exec, "display current-configuration", Do::ShowRunning),
    (At::Exec, "display current-configuration interface <port>", Do::ShowRunningInterface),
    (At::Exec, "display saved-configuration", Do::ShowStartup),
    (At::Exec, "save", SAVE),
    (At::Exec, "save force", Do::Save),
    (At::Config, "quit", Do::Exit),
    (At::Config, "return", Do::End),
    (At::Config, "sysname <word>", Do::Hostname),
    (At::Config, "interface <port>", Do::Interface),
    (At::Config, "undo interface <port>", Do::NoInterface),
    (At::Config, "vlan <vlan>", Do::Vlan),
    (At::Config, "vlan <vlans-to>", BATCH),
    (At::Config, "undo vlan <vlans-to>", Do::NoVlan),
    (At::Config, "snmp-agent <line>", Do::Keep),
    (At::Config, "undo snmp-agent <line>", Do::NoKeep),
    (At::Config, "ntp-service unicast-server <word>", Do::Keep),
    (At::Config, "undo ntp-service unicast-server <word>", Do::NoKeep),
    (At::Config, "port-isolate group <1-8>", Do::Keep),
    (At::Config, "line vty <0-63> <0-63>", Do::Section(LINE)),
    (LINE, "authentication-mode scheme", Do::Keep),
    (LINE, "user-role <word>", Do::Keep),
    (LAYER3, "ip address <word> <word>", Do::Keep),
    (LAYER3, "ip address dhcp-alloc", Do::Keep),
    (LAYER3, "undo ip address", Do::NoKeep),
    (At::Vlan, "name <line>", Do::VlanName),
    (At::Vlan, "undo name", Do::NoVlanName),
    (At::Vlan, "description <line>", Do::Keep),
    (At::Vlan, "undo description", Do::NoKeep),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "undo description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "undo shutdown", Do::Up),
    (At::Interface, "port link-mode bridge", Do::Switched),
    (At::Interface, "port link-mode route", Do::Routed),
    (At::Interface, "port link-type access", Do::ModeAccess),
    (At::Interface, "port link-type trunk", Do::ModeTrunk),
    (At::Interface, "port link-type hybrid", Do::ModeHybrid),
    (At::Interface, "undo port link-type", Do::NoMode),
    (At::Interface, "port access vlan <vlan>", Do::Access),
    (At::Interface, "undo port access vlan", Do::NoAccess),
    (At::Interface, "port trunk pvid vlan <vlan>", Do::Native),
    (At::Interface, "undo port trunk pvid", Do::NoNative),
    (At::Interface, "port trunk permit vlan <vlans-to>", Do::Allow(List::Add)),
    (At::Interface, "port trunk permit vlan all", Do::Allow(List::All)),
    (At::Interface, "undo port trunk permit vlan <vlans-to>", Do::Allow(List::Remove)),
    (At::Interface, "undo port trunk permit vlan all", Do::Allow(List::None)),
    (At::Interface, "port link-aggregation group <1-1024>", Do::Join(Protocol::Static)),
    (At::Interface, "undo port link-aggregation group", Do::Leave),
    (At::Interface, "link-aggregation mode dynamic", DYNAMIC),
    (At::Interface, "undo link-aggregation mode", STATIC),
    (At::Interface, "port-isolate enable group <1-8>", Do::Protect),
    (At::Interface, "undo port-isolate enable", Do::NoProtect),
    (At::Interface, "stp edged-port", Do::Keep),
    (At::Interface, "undo stp edged-port", Do::NoKeep),
    (At::Interface, "jumboframe enable <1536-10000>", Do::Keep),
    (At::Interface, "undo jumboframe enable", Do::NoKeep),
    (At::Interface, "speed <word>", Do::Keep),
    (At::Interface, "undo speed", Do::NoKeep),
];

impl Names for Comware {
    fn port(&self, text: &str) -> Option<String> {
        full_name(text, &["GigabitEthernet", "Bridge-Aggregation", "Vlan-interface", "Ten-GigabitEthernet"])
    }
}

fn short(name: &str) -> String {
    name.replace("Ten-GigabitEthernet", "XGE").replace("GigabitEthernet", "GE").replace("Bridge-Aggregation", "BAGG")
}

impl Flavour for Comware {
    const NAME: &'static str = "hpe_comware";
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: true };
    const NEGATION: &'static str = "undo";
    const EXEC_ANYWHERE: bool = true;
    const INHERITS: bool = true;
    const COMMENT: char = '#';

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("GigabitEthernet1/0/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        let line = vec!["authentication-mode scheme".to_owned(), "user-role network-operator".to_owned()];
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: BTreeMap::from([
                ("interface Vlan-interface1".to_owned(), vec!["ip address dhcp-alloc".to_owned()]),
                ("line vty 0 63".to_owned(), line),
            ]),
            ..Config::default()
        }
    }

    fn fresh(&self, name: &str) -> Port {
        Port { allowed: Allowed::Only([1].into()), is_group: self.is_group(name), ..Port::default() }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("Bridge-Aggregation")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        name.starts_with("Vlan-interface").then_some(LAYER3)
    }

    fn group(&self, number: u32) -> String {
        format!("Bridge-Aggregation{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let spot = cli.spot();
        match spot.at {
            At::User | At::Exec => format!("<{host}>"),
            At::Config => format!("[{host}]"),
            At::Vlan => format!("[{host}-vlan{}]", grammar::list(&spot.vlans)),
            At::Interface => format!("[{host}-{}]", spot.ports.first().map_or("", String::as_str)),
            LINE => format!("[{host}-line-vty0-63]"),
            At::Sub(_) => format!("[{host}-{}]", spot.section.trim_start_matches("interface ")),
        }
    }

    fn bad(&self, cli: &Cli<Self>, _line: &str, bad: &Bad) -> String {
        let what = match bad.kind {
            Kind::Keyword => "Unrecognized command",
            Kind::Value => "Wrong parameter",
            Kind::TooMany => "Too many parameters",
            Kind::Incomplete => "Incomplete command",
            Kind::Ambiguous => "Ambiguous command",
        };
        format!("{}\n % {what} found at '^' position.", caret(&self.prompt(cli), bad.at))
    }

    fn fault(&self, cli: &Cli<Self>, line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(_) | Fault::WrongPort(_) => {
                format!("{}\n % Wrong parameter found at '^' position.", caret(&self.prompt(cli), last_word(line)))
            }
            Fault::WrongMode => "The command is not supported by the port's link type.".to_owned(),
            Fault::DefaultVlan(_) => "The default VLAN can't be deleted.".to_owned(),
        }
    }

    fn referring(&self, config: &mut Config, vlan: u16) -> Result<String, String> {
        // A PVID may be that of a VLAN that is made later.
        let _ = config;
        Err(format!("VLAN {vlan} does not exist."))
    }

    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, _line: &str) -> Result<String, String> {
        if self.is_group(port) || !config.ports.contains_key(&self.group(group)) {
            return Err("The aggregation group does not exist.".to_owned());
        }
        join(self, config, port, group, protocol);
        Ok(String::new())
    }

    fn special(&self, cli: &mut Cli<Self>, which: u8, args: &[Arg], _line: &str) -> Outcome {
        match (Do::Special(which), args.first()) {
            (BATCH, Some(Arg::Vlans(list))) => cli.edit(|config| {
                for vlan in list {
                    config.vlans.entry(*vlan).or_default();
                }
            }),
            (SAVE, _) => {
                cli.ask = Some(Ask::Save("The current configuration will be written to the device. Are you sure? [Y/N]:".to_owned()));
            }
            (mode, _) => {
                let ports = cli.spot().ports;
                if ports.iter().any(|it| !self.is_group(it)) {
                    return Err(" % Unrecognized command found at '^' position.".to_owned());
                }
                let protocol = (mode == DYNAMIC).then_some(Protocol::Active);
                cli.edit(|config| config.groups.extend(ports.into_iter().map(|it| (it, Group { protocol }))));
            }
        }
        Ok(Answer::nothing())
    }

    fn answer(&self, cli: &mut Cli<Self>, which: u8, line: &str) -> Outcome {
        match which {
            NAME => {
                cli.ask = Some(Ask::Other(OVERWRITE, "flash:/startup.cfg exists, overwrite? [Y/N]:".to_owned()));
                Ok(Answer::nothing())
            }
            _ if line.trim().eq_ignore_ascii_case("y") => Ok(cli.save()),
            _ => Ok(Answer::nothing()),
        }
    }

    fn answer_weight(&self, which: u8, line: &str) -> Weight {
        if which == OVERWRITE && line.trim().eq_ignore_ascii_case("y") { Weight::CommitAndSave } else { Weight::Light }
    }

    fn after(&self, port: &mut Port, before: &Port, what: Do) {
        if matches!(what, Do::ModeAccess | Do::ModeTrunk | Do::ModeHybrid | Do::NoMode) && port.mode != before.mode {
            (port.access, port.native, port.allowed) = (1, Some(1), Allowed::Only([1].into()));
        }
    }

    fn fits(&self, port: &Port, what: Do) -> bool {
        match what {
            Do::Access | Do::NoAccess => port.mode == Mode::Access,
            Do::Native | Do::NoNative | Do::Allow(_) => port.mode == Mode::Trunk,
            _ => true,
        }
    }

    fn said(&self, what: Do, _number: u32) -> String {
        if what == Do::Configure { "System View: return to User View with Ctrl+Z.".to_owned() } else { String::new() }
    }

    fn settle(&self, config: &mut Config) {
        let vlans: BTreeSet<u16> = config.vlans.keys().copied().collect();
        let protocols: BTreeMap<String, Protocol> =
            config.groups.iter().filter_map(|(name, it)| Some((name.clone(), it.protocol?))).collect();
        for port in config.ports.values_mut() {
            if !vlans.contains(&port.access) {
                port.access = 1;
            }
            if let Some(member) = &mut port.group {
                member.protocol = protocols.get(&member.group).copied().unwrap_or(Protocol::Static);
            }
        }
    }

    fn saving(&self) -> (&'static str, &'static str) {
        ("", "Validating file. Please wait...\nSaved the current configuration to mainboard device successfully.")
    }

    fn is_yes(&self, answer: &str) -> bool {
        answer.trim().eq_ignore_ascii_case("y")
    }

    fn more(&self) -> &'static str {
        "---- More ----"
    }

    fn render(&self, config: &Config, _shown: Shown, port: Option<&str>) -> String {
        if let Some(name) = port {
            return format!("#\n{}#\nreturn", config.ports.get(name).map(|it| interface(config, name, it)).unwrap_or_default());
        }
        let mut out =
            format!("#\n version 7.1.070, Release 3115P05\n#\n sysname {}\n#\n irf mac-address persistent timer\n", config.hostname);
        out += " irf auto-update enable\n undo irf link-delay\n irf member 1 priority 1\n#\n lldp global enable\n#\n password-recovery enable\n#\n";
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), " ");
        out += "vlan 1\n#\n";
        for line in vlan_lines(config, |(_, it)| it.name.is_none() && it.extra.is_empty()) {
            let list = grammar::vlans(&line).unwrap_or_default();
            for (first, last) in grammar::ranges(&list) {
                out += &if first == last { format!("vlan {first}\n") } else { format!("vlan {first} to {last}\n") };
                if let Some(vlan) = config.vlans.get(&first) {
                    out += &vlan.name.as_ref().map(|it| format!(" name {it}\n")).unwrap_or_default();
                    out += &kept(&vlan.extra, " ");
                }
                out += "#\n";
            }
        }
        out += " stp global enable\n#\n";
        let (groups, sockets): (Vec<&String>, Vec<&String>) = config.port_names().into_iter().partition(|it| self.is_group(it));
        for name in groups {
            out += &config.ports.get(name).map(|it| interface(config, name, it) + "#\n").unwrap_or_default();
        }
        out += "interface NULL0\n#\n";
        for (header, lines) in sections(config, "interface ") {
            out += &format!("{header}\n{}#\n", kept(lines, " "));
        }
        for name in sockets {
            out += &config.ports.get(name).map(|it| interface(config, name, it) + "#\n").unwrap_or_default();
        }
        out += " scheduler logfile size 16\n#\nline class aux\n user-role network-admin\n#\n";
        for (header, lines) in sections(config, "line ") {
            out += &format!("{header}\n{}#\n", kept(lines, " "));
        }
        out + "local-user admin class manage\n password hash $h$6$xxxx\n service-type ssh\n authorization-attribute user-role network-admin\n#\nreturn\n"
    }

    fn show(&self, cli: &Cli<Self>, what: Do, _port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowStatus => brief(&config),
            _ => "HPE Comware Software, Version 7.1.070, Release 3115P05\n\
                  Copyright (c) 2010-2019 Hewlett Packard Enterprise Development LP\n\
                  HPE 5130-48G-4SFP+ EI Switch uptime is 0 weeks, 1 day, 2 hours, 3 minutes\nLast reboot reason : Cold reboot\n"
                .to_owned(),
        }
    }
}

fn interface(config: &Config, name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    if !port.is_group {
        out += if port.routed { " port link-mode route\n" } else { " port link-mode bridge\n" };
    }
    if !port.description.is_empty() {
        out += &format!(" description {}\n", port.description);
    }
    match port.mode {
        _ if port.routed => {}
        Mode::Access if port.access != 1 => out += &format!(" port access vlan {}\n", port.access),
        Mode::Access => {}
        Mode::Hybrid => out += " port link-type hybrid\n port hybrid vlan 1 untagged\n",
        Mode::Trunk => {
            out += " port link-type trunk\n";
            let list = port.allowed.to_set();
            if !list.contains(&1) {
                out += " undo port trunk permit vlan 1\n";
            }
            if port.allowed == Allowed::All {
                out += " port trunk permit vlan all\n";
            } else if list.iter().any(|it| *it != 1) {
                for piece in grammar::list_to(&list, 10) {
                    out += &format!(" port trunk permit vlan {piece}\n");
                }
            }
            if let Some(native) = port.native.filter(|it| *it != 1) {
                out += &format!(" port trunk pvid vlan {native}\n");
            }
        }
    }
    if config.groups.get(name).is_some_and(|it| it.protocol.is_some()) {
        out += " link-aggregation mode dynamic\n";
    }
    if !port.up {
        out += " shutdown\n";
    }
    if port.protected {
        out += " port-isolate enable group 1\n";
    }
    out += &kept(&port.extra, " ");
    if let Some(member) = &port.group {
        out += &format!(" port link-aggregation group {}\n", member.group.trim_start_matches("Bridge-Aggregation"));
    }
    out
}

fn vlans(config: &Config) -> String {
    let mut out = String::from(
        "Brief information about all VLANs:\nSupported Minimum VLAN ID: 1\nSupported Maximum VLAN ID: 4094\nDefault VLAN ID: 1\nVLAN ID   Name                             Port\n",
    );
    for (id, vlan) in &config.vlans {
        let is_in = |name: &&String| {
            let carried = config.carries(name, Comware::RULES);
            carried.untagged == Some(*id) || carried.tagged.contains(id)
        };
        let ports: Vec<String> = config.port_names().into_iter().filter(is_in).map(|it| short(it)).collect();
        let name = vlan.name.clone().unwrap_or_else(|| format!("VLAN {id:04}"));
        let mut rows = ports.chunks(4).map(|it| it.join("  "));
        out += format!("{} {} {}", pad(id, 9), pad(name, 32), rows.next().unwrap_or_default()).trim_end();
        out += "\n";
        for row in rows {
            out += &format!("{}{row}\n", " ".repeat(43));
        }
    }
    out
}

fn brief(config: &Config) -> String {
    let mut out = String::from(
        "Brief information on interfaces in bridge mode:\nLink: ADM - administratively down; Stby - standby\nSpeed: (a) - auto\nDuplex: (a)/A - auto; H - half; F - full\nType: A - access; T - trunk; H - hybrid\nInterface            Link Speed   Duplex Type PVID Description\n",
    );
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let (kind, vlan) = match port.mode {
            Mode::Access => ("A", port.access),
            Mode::Trunk => ("T", port.native.unwrap_or(1)),
            Mode::Hybrid => ("H", port.native.unwrap_or(1)),
        };
        let link = if port.up { "UP" } else { "ADM" };
        out +=
            format!("{} {} 1G(a)   F(a)   {kind}    {} {}", pad(short(name), 20), pad(link, 4), pad(vlan, 4), port.description).trim_end();
        out += "\n";
    }
    out
}
