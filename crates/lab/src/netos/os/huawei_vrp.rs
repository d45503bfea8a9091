//! Huawei VRP 8 on a CloudEngine: what is typed takes effect with a commit.
//!
//! Source: Huawei, "CloudEngine 6800 Series Switches Command Reference" V200R019: VLAN, Eth-Trunk, basic configuration commands.

use std::collections::{BTreeMap, BTreeSet};

use super::super::device::{Allowed, Config, Group, Mode, Port, Protocol, Rules, Vlan};
use super::cli::{Ask, At, Cli, Do, Entry, Fault, Flavour, List, Outcome, Shown, caret, join, last_word};
use super::grammar::{self, Arg, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, unswitched};
use super::{Answer, Shape, Weight};

/// Huawei VRP.
pub(super) struct Vrp;

const LAYER3: At = At::Sub(1);

const BATCH: Do = Do::Special(1);
const LACP: Do = Do::Special(2);
const MANUAL: Do = Do::Special(3);
const NO_TRUNK_MODE: Do = Do::Special(4);

/// Whether to commit before leaving.
const LEAVING: u8 = 1;

const TABLE: &[Entry] = &[
    (At::Exec, "quit", Do::Exit),
    (At::Exec, "system-view", Do::Configure),
    (At::Exec, "screen-length 0 temporary", Do::PageOff),
    (At::Exec, "screen-length disable", Do::PageOff),
    (At::Exec, "undo screen-length temporary", Do::PageOn),
    (At::Exec, "display version", Do::ShowVersion),
    (At::Exec, "display vlan", Do::ShowVlans),
    (At::Exec, "display interface brief", Do::ShowStatus),
    (At::Exec, "display current-configuration", Do::ShowRunning),
    (At::Exec, "display current-configuration interface <port>", Do::ShowRunningInterface),
    (At::Exec, "display saved-configuration", Do::ShowStartup),
    (At::Exec, "save", Do::SaveAsking),
    (At::Config, "quit", Do::Exit),
    (At::Config, "return", Do::End),
    (At::Config, "commit", Do::Commit),
    (At::Config, "clear configuration candidate", Do::Discard),
    (At::Config, "sysname <word>", Do::Hostname),
    (At::Config, "interface <port>", Do::Interface),
    (At::Config, "undo interface <port>", Do::NoInterface),
    (At::Config, "vlan <vlan>", Do::Vlan),
    (At::Config, "undo vlan <vlan>", Do::NoVlan),
    (At::Config, "vlan batch <vlans-to>", BATCH),
    (At::Config, "undo vlan batch <vlans-to>", Do::NoVlan),
    (At::Config, "snmp-agent <line>", Do::Keep),
    (At::Config, "undo snmp-agent <line>", Do::NoKeep),
    (At::Config, "ntp unicast-server <word>", Do::Keep),
    (At::Config, "undo ntp unicast-server <word>", Do::NoKeep),
    (LAYER3, "ip address <word> <word>", Do::Keep),
    (LAYER3, "undo ip address", Do::NoKeep),
    (At::Vlan, "name <word>", Do::VlanName),
    (At::Vlan, "undo name", Do::NoVlanName),
    (At::Vlan, "description <line>", Do::Keep),
    (At::Vlan, "undo description", Do::NoKeep),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "undo description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "undo shutdown", Do::Up),
    (At::Interface, "portswitch", Do::Switched),
    (At::Interface, "undo portswitch", Do::Routed),
    (At::Interface, "port link-type access", Do::ModeAccess),
    (At::Interface, "port link-type trunk", Do::ModeTrunk),
    (At::Interface, "port link-type hybrid", Do::ModeHybrid),
    (At::Interface, "undo port link-type", Do::NoMode),
    (At::Interface, "port default vlan <vlan>", Do::Access),
    (At::Interface, "undo port default vlan", Do::NoAccess),
    (At::Interface, "undo port default vlan <vlan>", Do::NoAccess),
    (At::Interface, "port trunk pvid vlan <vlan>", Do::Native),
    (At::Interface, "undo port trunk pvid vlan", Do::NoNative),
    (At::Interface, "port trunk allow-pass vlan <vlans-to>", Do::Allow(List::Add)),
    (At::Interface, "port trunk allow-pass vlan all", Do::Allow(List::All)),
    (At::Interface, "undo port trunk allow-pass vlan <vlans-to>", Do::Allow(List::Remove)),
    (At::Interface, "undo port trunk allow-pass vlan all", Do::Allow(List::None)),
    (At::Interface, "eth-trunk <0-1023>", Do::Join(Protocol::Static)),
    (At::Interface, "undo eth-trunk", Do::Leave),
    (At::Interface, "undo eth-trunk <0-1023>", Do::Leave),
    (At::Interface, "mode lacp-static", LACP),
    (At::Interface, "mode lacp-dynamic", LACP),
    (At::Interface, "mode manual load-balance", MANUAL),
    (At::Interface, "undo mode", NO_TRUNK_MODE),
    (At::Interface, "port-isolate enable group <1-64>", Do::Protect),
    (At::Interface, "undo port-isolate enable", Do::NoProtect),
    (At::Interface, "undo port-isolate enable group <1-64>", Do::NoProtect),
    (At::Interface, "stp edged-port enable", Do::Keep),
    (At::Interface, "undo stp edged-port", Do::NoKeep),
    (At::Interface, "jumboframe enable <1536-12288>", Do::Keep),
    (At::Interface, "undo jumboframe enable", Do::NoKeep),
    (At::Interface, "device transceiver <line>", Do::Keep),
];

impl Names for Vrp {
    fn port(&self, text: &str) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("10ge") {
            return full_name(&format!("x{number}"), &["x"]).map(|it| it.replacen('x', "10GE", 1));
        }
        full_name(text, &["Eth-Trunk", "Vlanif", "MEth", "LoopBack"])
    }
}

impl Flavour for Vrp {
    const NAME: &'static str = "huawei_vrp";
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: true };
    const NEGATION: &'static str = "undo";
    const EXEC_ANYWHERE: bool = true;
    const CANDIDATE: bool = true;
    const COMMENT: char = '#';

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("10GE1/0/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: BTreeMap::from([("interface MEth0/0/0".to_owned(), vec!["ip address 192.0.2.2 255.255.255.0".to_owned()])]),
            ..Config::default()
        }
    }

    fn fresh(&self, name: &str) -> Port {
        Port { allowed: Allowed::Only([1].into()), is_group: self.is_group(name), ..Port::default() }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("Eth-Trunk")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        (name.starts_with("Vlanif") || name.starts_with("MEth") || name.starts_with("LoopBack")).then_some(LAYER3)
    }

    fn group(&self, number: u32) -> String {
        format!("Eth-Trunk{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let spot = cli.spot();
        let mark = if cli.is_dirty() { '*' } else { '~' };
        match spot.at {
            At::User | At::Exec => format!("<{host}>"),
            At::Config => format!("[{mark}{host}]"),
            At::Vlan => format!("[{mark}{host}-vlan{}]", grammar::list(&spot.vlans)),
            At::Interface => format!("[{mark}{host}-{}]", spot.ports.first().map_or("", String::as_str)),
            At::Sub(_) => format!("[{mark}{host}-{}]", spot.section.trim_start_matches("interface ")),
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
        format!("{}\nError: {what} found at '^' position.", caret(&self.prompt(cli), bad.at))
    }

    fn fault(&self, cli: &Cli<Self>, line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(_) | Fault::WrongPort(_) => {
                format!("{}\nError: Wrong parameter found at '^' position.", caret(&self.prompt(cli), last_word(line)))
            }
            Fault::WrongMode => {
                // The words for other link types are not there.
                let words = grammar::tokens(line);
                let nth = if words.first().is_some_and(|it| it.text == "undo") { 2 } else { 1 };
                let at = words.get(nth).map_or(0, |it| it.at);
                format!("{}\nError: Unrecognized command found at '^' position.", caret(&self.prompt(cli), at))
            }
            Fault::DefaultVlan(_) => "Error: The default VLAN cannot be deleted.".to_owned(),
        }
    }

    fn referring(&self, _config: &mut Config, _vlan: u16) -> Result<String, String> {
        Err("Error: The VLAN does not exist.".to_owned())
    }

    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, _line: &str) -> Result<String, String> {
        if self.is_group(port) || !config.ports.contains_key(&self.group(group)) {
            return Err("Error: The Eth-Trunk does not exist.".to_owned());
        }
        let fresh = self.fresh(port);
        let has_vlans = config.ports.get(port).is_some_and(|it| it.mode != fresh.mode || it.access != 1 || it.protected || it.routed);
        if has_vlans {
            return Err("Error: The interface cannot be added to the Eth-Trunk because other services are configured on it.".to_owned());
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
            (mode, _) => {
                let ports = cli.spot().ports;
                if ports.iter().any(|it| !self.is_group(it)) {
                    return Err("Error: Unrecognized command found at '^' position.".to_owned());
                }
                let protocol = (mode == LACP).then_some(Protocol::Active);
                cli.edit(|config| config.groups.extend(ports.into_iter().map(|it| (it, Group { protocol }))));
            }
        }
        Ok(Answer::nothing())
    }

    fn leaving(&self) -> Ask {
        Ask::Other(LEAVING, "Warning: Uncommitted configurations found, commit them before exiting? [Y(yes)/N(no)/C(cancel)]:".to_owned())
    }

    fn answer(&self, cli: &mut Cli<Self>, _which: u8, line: &str) -> Outcome {
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => {
                cli.spots.truncate(1);
                Ok(cli.committed())
            }
            "n" | "no" => {
                cli.discard();
                cli.spots.truncate(1);
                Ok(Answer::nothing())
            }
            "c" | "cancel" => Ok(Answer::nothing()),
            _ => {
                let again = "Error: Please choose 'YES', 'NO' or 'CANCEL' first before pressing 'Enter'. [Y/N/C]:";
                cli.ask = Some(Ask::Other(LEAVING, again.to_owned()));
                Ok(Answer::nothing())
            }
        }
    }

    fn answer_weight(&self, _which: u8, line: &str) -> Weight {
        if line.trim().to_ascii_lowercase().starts_with('y') { Weight::Commit } else { Weight::Light }
    }

    fn after(&self, port: &mut Port, before: &Port, what: Do) {
        if matches!(what, Do::ModeAccess | Do::ModeTrunk | Do::ModeHybrid | Do::NoMode) && port.mode != before.mode {
            (port.access, port.native, port.allowed) = (1, Some(1), Allowed::Only([1].into()));
        }
        if what == Do::Leave {
            *port = unswitched(port, Port { allowed: Allowed::Only([1].into()), ..Port::default() });
        }
    }

    fn fits(&self, port: &Port, what: Do) -> bool {
        let switches = port.group.is_none() && !port.routed;
        match what {
            Do::Access | Do::NoAccess => port.mode == Mode::Access && switches,
            Do::Native | Do::NoNative | Do::Allow(_) => port.mode == Mode::Trunk && switches,
            Do::ModeAccess | Do::ModeTrunk | Do::ModeHybrid | Do::NoMode => switches,
            _ => true,
        }
    }

    fn said(&self, what: Do, _number: u32) -> String {
        match what {
            Do::Configure => "Enter system view, return user view with return command.",
            Do::Commit => "Error: Failed to generate committed config.",
            Do::PageOff => "Info: The configuration takes effect on the current user terminal interface only.",
            _ => "",
        }
        .to_owned()
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
        (
            "Warning: The current configuration will be written to the device. Continue? [Y/N]:",
            "Now saving the current configuration to the slot 1 .\nInfo: Save the configuration successfully.",
        )
    }

    fn is_yes(&self, answer: &str) -> bool {
        answer.trim().eq_ignore_ascii_case("y")
    }

    fn more(&self) -> &'static str {
        "  ---- More ----"
    }

    fn render(&self, config: &Config, _shown: Shown, port: Option<&str>) -> String {
        if let Some(name) = port {
            return format!("#\n{}#\nreturn", config.ports.get(name).map(|it| interface(config, name, it)).unwrap_or_default());
        }
        let mut out =
            String::from("!Software Version V200R019C10SPC800\n!Last configuration was updated at 2026-01-05 10:00:00+00:00 by admin\n");
        out += &format!("#\nsysname {}\n#\ndevice board 17 board-type CE-MPUB\n#\n", config.hostname);
        let list: BTreeSet<u16> = config.vlans.keys().copied().filter(|it| *it != 1).collect();
        for piece in grammar::list_to(&list, 10) {
            out += &format!("vlan batch {piece}\n");
        }
        out += "#\n";
        for (id, vlan) in config.vlans.iter().filter(|(_, it)| it.name.is_some() || !it.extra.is_empty()) {
            out += &format!("vlan {id}\n");
            out += &vlan.name.as_ref().map(|it| format!(" name {it}\n")).unwrap_or_default();
            out += &format!("{}#\n", kept(&vlan.extra, " "));
        }
        out += "aaa\n local-user admin password irreversible-cipher $1c$xxxx$xxxx\n local-user admin service-type ssh\n local-user admin level 3\n#\n";
        for (header, lines) in sections(config, "interface ") {
            out += &format!("{header}\n{}#\n", kept(lines, " "));
        }
        let (groups, sockets): (Vec<&String>, Vec<&String>) = config.port_names().into_iter().partition(|it| self.is_group(it));
        for name in groups.into_iter().chain(sockets) {
            out += &config.ports.get(name).map(|it| interface(config, name, it) + "#\n").unwrap_or_default();
        }
        out += "interface NULL0\n#\n";
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "");
        out + "ssh server enable\nstelnet server enable\n#\nreturn\n"
    }

    fn show(&self, cli: &Cli<Self>, what: Do, _port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowStatus => brief(&config),
            _ => "Huawei Versatile Routing Platform Software\nVRP (R) software, Version 8.191 (CE6881 V200R019C10SPC800)\n\
                  Copyright (C) 2012-2020 Huawei Technologies Co., Ltd.\nHUAWEI CE6881-48S6CQ uptime is 1 day, 2 hours, 3 minutes\n"
                .to_owned(),
        }
    }
}

fn interface(config: &Config, name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    if port.routed {
        out += " undo portswitch\n";
    }
    if !port.up {
        out += " shutdown\n";
    }
    if !port.description.is_empty() {
        out += &format!(" description {}\n", port.description);
    }
    if let Some(member) = &port.group {
        out += &format!(" eth-trunk {}\n", member.group.trim_start_matches("Eth-Trunk"));
    }
    match port.mode {
        _ if port.routed => {}
        Mode::Access if port.access != 1 => out += &format!(" port default vlan {}\n", port.access),
        Mode::Access => {}
        Mode::Hybrid => out += " port link-type hybrid\n",
        Mode::Trunk => {
            out += " port link-type trunk\n";
            if let Some(native) = port.native.filter(|it| *it != 1) {
                out += &format!(" port trunk pvid vlan {native}\n");
            }
            let mut list = port.allowed.to_set();
            if !list.remove(&1) {
                out += " undo port trunk allow-pass vlan 1\n";
            }
            for piece in grammar::list_to(&list, 10) {
                out += &format!(" port trunk allow-pass vlan {piece}\n");
            }
        }
    }
    if port.protected {
        out += " port-isolate enable group 1\n";
    }
    if config.groups.get(name).is_some_and(|it| it.protocol.is_some()) {
        out += " mode lacp-static\n";
    }
    out + &kept(&port.extra, " ")
}

fn vlans(config: &Config) -> String {
    let rule = "-".repeat(80);
    let mut out = format!(
        "The total number of vlans is : {}\n{rule}\nU: Up;         D: Down;         TG: Tagged;         UT: Untagged;\n{rule}\n\nVID          Ports\n{rule}\n",
        config.vlans.len()
    );
    for id in config.vlans.keys() {
        let of = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
            let names = config.port_names().into_iter().filter(|it| config.ports.get(*it).is_some_and(|it| it.group.is_none()));
            names.filter(|it| wanted(it)).map(|it| format!("{it}(U)")).collect()
        };
        let untagged = of(&|it| config.carries(it, Vrp::RULES).untagged == Some(*id));
        let tagged = of(&|it| config.carries(it, Vrp::RULES).tagged.contains(id));
        let mut first = true;
        for (kind, ports) in [("UT", untagged), ("TG", tagged)] {
            for (nth, row) in ports.chunks(3).enumerate() {
                let head = if first { id.to_string() } else { String::new() };
                let kind = if nth == 0 { format!("{kind}:") } else { String::new() };
                out += &format!("{} {} {}\n", pad(head, 5), pad(kind, 6), row.iter().map(|it| pad(it, 18)).collect::<String>().trim_end());
                first = false;
            }
        }
        if first {
            out += &format!("{id}\n");
        }
    }
    out += &format!("\nVID  Type     Status  Property  MAC-LRN STAT    BC  MC  UC  Description\n{rule}\n");
    for (id, vlan) in &config.vlans {
        let name = vlan.name.clone().unwrap_or_else(|| format!("VLAN {id:04}"));
        out += &format!("{} common   enable  default   enable  disable FWD FWD FWD {name}\n", pad(id, 4));
    }
    out
}

fn brief(config: &Config) -> String {
    let mut out = String::from(
        "PHY: Physical\n*down: administratively down\n^down: standby\nInterface                  PHY      Protocol  InUti OutUti   inErrors  outErrors\n",
    );
    for name in config.port_names() {
        let state = if config.ports.get(name).is_some_and(|it| it.up) { "up" } else { "*down" };
        out +=
            &format!("{} {} {}    0%     0%          0          0\n", pad(name, 26), pad(state, 8), pad(state.trim_start_matches('*'), 8));
    }
    out
}
