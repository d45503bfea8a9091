//! Cisco IOS on a Catalyst access switch, with VTP transparent (VLANs are in the configuration then).
//!
//! Source: Cisco, "Catalyst 2960-X Switch, Cisco IOS Release 15.2(E)" command references: VLAN, Interface and Hardware, Layer 2.

use std::collections::BTreeMap;

use super::super::device::{Allowed, Config, Device, Mode, Port, Protocol, Rules, Vlan};
use super::Shape;
use super::cli::{At, Cli, Do, Entry, Fault, Flavour, List, Shown, caret, join, last_word};
use super::grammar::{self, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, vlan_lines};

/// Cisco IOS.
pub(super) struct Ios;

const SVI: At = At::Sub(1);
const LINE: At = At::Sub(2);

const TABLE: &[Entry] = &[
    (At::User, "enable", Do::Enable),
    (At::User, "exit", Do::Exit),
    (At::User, "logout", Do::Exit),
    (At::User, "show version", Do::ShowVersion),
    (At::User, "terminal length <0-512>", Do::PageLength),
    (At::User, "terminal width <0-512>", Do::Nothing),
    (At::Exec, "disable", Do::Disable),
    (At::Exec, "configure terminal", Do::Configure),
    (At::Exec, "show running-config", Do::ShowRunning),
    (At::Exec, "show running-config interface <port>", Do::ShowRunningInterface),
    (At::Exec, "show startup-config", Do::ShowStartup),
    (At::Exec, "show vlan", Do::ShowVlans),
    (At::Exec, "show vlan brief", Do::ShowVlans),
    (At::Exec, "show interfaces status", Do::ShowStatus),
    (At::Exec, "show interfaces switchport", Do::ShowSwitchport),
    (At::Exec, "show interfaces <port> switchport", Do::ShowSwitchport),
    (At::Exec, "copy running-config startup-config", Do::SaveAsking),
    (At::Exec, "write", Do::Save),
    (At::Exec, "write memory", Do::Save),
    (At::Config, "exit", Do::Exit),
    (At::Config, "end", Do::End),
    (At::Config, "hostname <word>", Do::Hostname),
    (At::Config, "interface <port>", Do::Interface),
    (At::Config, "interface range <ports>", Do::Interface),
    (At::Config, "no interface <port>", Do::NoInterface),
    (At::Config, "default interface <port>", Do::DefaultInterface),
    (At::Config, "default interface range <ports>", Do::DefaultInterface),
    (At::Config, "vlan <vlans>", Do::Vlan),
    (At::Config, "no vlan <vlans>", Do::NoVlan),
    (At::Config, "vtp mode transparent", Do::Nothing),
    (At::Config, "spanning-tree mode <word>", Do::Keep),
    (At::Config, "snmp-server <line>", Do::Keep),
    (At::Config, "no snmp-server <line>", Do::NoKeep),
    (At::Config, "ntp server <word>", Do::Keep),
    (At::Config, "no ntp server <word>", Do::NoKeep),
    (At::Config, "line vty <0-15> <0-15>", Do::Section(LINE)),
    (LINE, "login local", Do::Keep),
    (LINE, "transport input <word>", Do::Keep),
    (SVI, "ip address <word> <word>", Do::Keep),
    (SVI, "no ip address", Do::NoKeep),
    (SVI, "description <line>", Do::Keep),
    (SVI, "no description", Do::NoKeep),
    (SVI, "shutdown", Do::Keep),
    (SVI, "no shutdown", Do::NoKeep),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "no description", Do::NoDescribe),
    (At::Interface, "no description <line>", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "no shutdown", Do::Up),
    (At::Interface, "switchport", Do::Switched),
    (At::Interface, "no switchport", Do::Routed),
    (At::Interface, "switchport mode access", Do::ModeAccess),
    (At::Interface, "switchport mode trunk", Do::ModeTrunk),
    (At::Interface, "switchport mode dynamic auto", Do::ModeDynamic),
    (At::Interface, "switchport mode dynamic desirable", Do::ModeDynamic),
    (At::Interface, "no switchport mode", Do::NoMode),
    (At::Interface, "no switchport mode access", Do::NoMode),
    (At::Interface, "no switchport mode trunk", Do::NoMode),
    (At::Interface, "switchport access vlan <vlan>", Do::Access),
    (At::Interface, "no switchport access vlan", Do::NoAccess),
    (At::Interface, "no switchport access vlan <vlan>", Do::NoAccess),
    (At::Interface, "switchport trunk native vlan <vlan>", Do::Native),
    (At::Interface, "no switchport trunk native vlan", Do::NoNative),
    (At::Interface, "no switchport trunk native vlan <vlan>", Do::NoNative),
    (At::Interface, "switchport trunk allowed vlan <vlans>", Do::Allow(List::Set)),
    (At::Interface, "switchport trunk allowed vlan add <vlans>", Do::Allow(List::Add)),
    (At::Interface, "switchport trunk allowed vlan remove <vlans>", Do::Allow(List::Remove)),
    (At::Interface, "switchport trunk allowed vlan except <vlans>", Do::Allow(List::Except)),
    (At::Interface, "switchport trunk allowed vlan all", Do::Allow(List::All)),
    (At::Interface, "switchport trunk allowed vlan none", Do::Allow(List::None)),
    (At::Interface, "no switchport trunk allowed vlan", Do::Allow(List::Default)),
    (At::Interface, "switchport protected", Do::Protect),
    (At::Interface, "no switchport protected", Do::NoProtect),
    (At::Interface, "switchport nonegotiate", Do::Keep),
    (At::Interface, "no switchport nonegotiate", Do::NoKeep),
    (At::Interface, "channel-group <1-48> mode active", Do::Join(Protocol::Active)),
    (At::Interface, "channel-group <1-48> mode passive", Do::Join(Protocol::Passive)),
    (At::Interface, "channel-group <1-48> mode on", Do::Join(Protocol::Static)),
    (At::Interface, "no channel-group", Do::Leave),
    (At::Interface, "no channel-group <num>", Do::Leave),
    (At::Interface, "spanning-tree portfast", Do::Keep),
    (At::Interface, "spanning-tree portfast trunk", Do::Keep),
    (At::Interface, "no spanning-tree portfast", Do::NoKeep),
    (At::Interface, "spanning-tree bpduguard enable", Do::Keep),
    (At::Interface, "no spanning-tree bpduguard", Do::NoKeep),
    (At::Interface, "storm-control <line>", Do::Keep),
    (At::Interface, "speed <word>", Do::Keep),
    (At::Interface, "no speed", Do::NoKeep),
    (At::Interface, "no cdp enable", Do::Keep),
    (At::Vlan, "name <word>", Do::VlanName),
    (At::Vlan, "no name", Do::NoVlanName),
    (At::Vlan, "state active", Do::Nothing),
];

impl Names for Ios {
    fn port(&self, text: &str) -> Option<String> {
        full_name(text, &["GigabitEthernet", "Port-channel", "TenGigabitEthernet", "Vlan"])
    }
}

fn short(name: &str) -> String {
    name.replace("TenGigabitEthernet", "Te").replace("GigabitEthernet", "Gi").replace("Port-channel", "Po")
}

impl Flavour for Ios {
    const NAME: &'static str = "cisco_ios";
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: true };
    const INHERITS: bool = true;
    const USER_FIRST: bool = false;

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("GigabitEthernet1/0/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        let extra =
            BTreeMap::from([("interface Vlan1".to_owned(), Vec::new()), ("line vty 0 4".to_owned(), vec!["login local".to_owned()])]);
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra,
            ..Config::default()
        }
    }

    fn fresh(&self, name: &str) -> Port {
        // The default is dynamic auto: an access port unless the other side wants a trunk.
        Port { negotiates: true, is_group: self.is_group(name), ..Port::default() }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("Port-channel")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        name.starts_with("Vlan").then_some(SVI)
    }

    fn group(&self, number: u32) -> String {
        format!("Port-channel{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        match cli.at() {
            At::User => format!("{host}>"),
            At::Exec => format!("{host}#"),
            At::Config => format!("{host}(config)#"),
            At::Interface if cli.spot().ports.len() > 1 => format!("{host}(config-if-range)#"),
            At::Vlan => format!("{host}(config-vlan)#"),
            LINE => format!("{host}(config-line)#"),
            At::Interface | At::Sub(_) => format!("{host}(config-if)#"),
        }
    }

    fn bad(&self, cli: &Cli<Self>, line: &str, bad: &Bad) -> String {
        let is_vlan_list = matches!(cli.at(), At::Config | At::Vlan | At::Interface) && line.trim_start().starts_with("vlan ");
        match bad.kind {
            Kind::Ambiguous => format!("% Ambiguous command:  \"{}\"", line.trim()),
            Kind::Incomplete => "% Incomplete command.\n".to_owned(),
            Kind::Value if is_vlan_list => format!(
                "Command rejected: Bad VLAN list - character #{} (EOL) delimits a VLAN\nnumber which is out of the range 1..4094.",
                bad.word.len() + 1
            ),
            _ => format!("{}\n% Invalid input detected at '^' marker.\n\n", caret(&self.prompt(cli), bad.at)),
        }
    }

    fn fault(&self, cli: &Cli<Self>, line: &str, fault: &Fault) -> String {
        match fault {
            Fault::DefaultVlan(vlan) if line.trim_start().starts_with("no ") => format!("%Default VLAN {vlan} may not be deleted."),
            Fault::DefaultVlan(vlan) => format!("%Default VLAN {vlan} may not have its name changed."),
            Fault::NoSuchPort(_) | Fault::WrongPort(_) | Fault::WrongMode => {
                format!("{}\n% Invalid input detected at '^' marker.\n\n", caret(&self.prompt(cli), last_word(line)))
            }
        }
    }

    fn referring(&self, config: &mut Config, vlan: u16) -> Result<String, String> {
        config.vlans.insert(vlan, Vlan::default());
        Ok(format!("% Access VLAN does not exist. Creating vlan {vlan}\n"))
    }

    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, _line: &str) -> Result<String, String> {
        if self.is_group(port) {
            return Err("% Invalid input detected at '^' marker.".to_owned());
        }
        let is_new = join(self, config, port, group, protocol);
        Ok(if is_new { format!("Creating a port-channel interface Port-channel {group}\n\n") } else { String::new() })
    }

    fn orphaned(&self, port: &mut Port) {
        // "When you delete the port channel, its ports are shut down": so that there is no loop.
        port.up = false;
    }

    fn saving(&self) -> (&'static str, &'static str) {
        ("Destination filename [startup-config]? ", "Building configuration...\n[OK]")
    }

    fn is_yes(&self, answer: &str) -> bool {
        answer.trim().is_empty() || answer.trim() == "startup-config"
    }

    fn more(&self) -> &'static str {
        " --More-- "
    }

    fn render(&self, config: &Config, shown: Shown, port: Option<&str>) -> String {
        if let Some(name) = port {
            let body = config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
            return format!("Building configuration...\n\nCurrent configuration : {} bytes\n!\n{body}end\n", body.len());
        }
        let mut out = String::from("!\nversion 15.2\nno service pad\nservice timestamps debug datetime msec\n");
        out += "service timestamps log datetime msec\nno service password-encryption\n!\n";
        out += &format!("hostname {}\n!\nboot-start-marker\nboot-end-marker\n!\n", config.hostname);
        out += "username admin privilege 15 secret 5 $1$xxxx$xxxxxxxxxxxxxxxxxxxxxx\nno aaa new-model\nsystem mtu routing 1500\n!\n";
        out += "vtp mode transparent\n!\nspanning-tree mode rapid-pvst\nspanning-tree extend system-id\n!\nvlan internal allocation policy ascending\n!\n";
        for line in vlan_lines(config, |(id, vlan)| id != 1 && vlan.name.is_none()) {
            out += &format!("vlan {line}\n");
            if let Some(name) = line.parse().ok().and_then(|id| config.vlans.get(&id)?.name.as_ref()) {
                out += &format!(" name {name}\n");
            }
            out += "!\n";
        }
        let names = config.port_names();
        let (groups, sockets): (Vec<&String>, Vec<&String>) = names.into_iter().partition(|it| self.is_group(it));
        for name in groups.into_iter().chain(sockets) {
            out += &config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
        }
        for (header, lines) in sections(config, "interface Vlan") {
            out += &format!("{header}\n");
            if !lines.iter().any(|it| it.starts_with("ip address")) {
                out += " no ip address\n";
            }
            out += &kept(lines, " ");
            out += "!\n";
        }
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "");
        out += "!\nline con 0\n";
        for (header, lines) in sections(config, "line ") {
            out += &format!("{header}\n{}", kept(lines, " "));
        }
        out += "!\nend\n";
        match shown {
            Shown::Running => format!("Building configuration...\n\nCurrent configuration : {} bytes\n{out}\n", out.len()),
            Shown::Startup => format!("Using {} out of 65536 bytes\n{out}\n", out.len()),
        }
    }

    fn show(&self, cli: &Cli<Self>, what: Do, port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowStatus => status(cli),
            Do::ShowSwitchport => {
                let names = config.port_names().into_iter().filter(|it| port.is_none_or(|port| port == *it));
                names.filter_map(|name| Some(switchport(&config, name, config.ports.get(name)?))).collect()
            }
            _ => format!(
                "Cisco IOS Software, C2960X Software (C2960X-UNIVERSALK9-M), Version 15.2(7)E7, RELEASE SOFTWARE (fc2)\n\n\
                 ROM: Bootstrap program is C2960X boot loader\n\n{} uptime is 1 day, 2 hours, 3 minutes\n\
                 System image file is \"flash:c2960x-universalk9-mz.152-7.E7.bin\"\n\n\
                 cisco WS-C2960X-48TS-L (APM86XXX) processor (revision A0) with 524288K bytes of memory.\n\
                 Base ethernet MAC Address       : {}\nConfiguration register is 0xF\n",
                config.hostname,
                mac(&cli.device),
            ),
        }
    }
}

fn mac(device: &Device) -> String {
    device.mac().map(|it| format!("{it:02X}")).join(":")
}

fn interface(name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    if !port.description.is_empty() {
        out += &format!(" description {}\n", port.description);
    }
    if port.routed {
        out += " no switchport\n no ip address\n";
    }
    if port.access != 1 {
        out += &format!(" switchport access vlan {}\n", port.access);
    }
    if let Some(native) = port.native.filter(|it| *it != 1) {
        out += &format!(" switchport trunk native vlan {native}\n");
    }
    if let Allowed::Only(list) = &port.allowed {
        if list.is_empty() {
            out += " switchport trunk allowed vlan none\n";
        }
        for (nth, piece) in grammar::list_wrapped(list, 48).iter().enumerate().filter(|(_, it)| !it.is_empty()) {
            out += &format!(" switchport trunk allowed vlan {}{piece}\n", if nth == 0 { "" } else { "add " });
        }
    }
    if !port.negotiates {
        out += if port.mode == Mode::Trunk { " switchport mode trunk\n" } else { " switchport mode access\n" };
    }
    if port.protected {
        out += " switchport protected\n";
    }
    if !port.up {
        out += " shutdown\n";
    }
    out += &kept(&port.extra, " ");
    if let Some(member) = &port.group {
        let number = member.group.trim_start_matches("Port-channel");
        let mode = match member.protocol {
            Protocol::Active => "active",
            Protocol::Passive => "passive",
            Protocol::Static => "on",
        };
        out += &format!(" channel-group {number} mode {mode}\n");
    }
    out + "!\n"
}

fn vlan_name(config: &Config, vlan: u16) -> String {
    if vlan == 1 {
        return "default".to_owned();
    }
    config.vlans.get(&vlan).and_then(|it| it.name.clone()).unwrap_or_else(|| format!("VLAN{vlan:04}"))
}

fn vlans(config: &Config) -> String {
    let mut out = String::from(
        "\nVLAN Name                             Status    Ports\n---- -------------------------------- --------- -------------------------------\n",
    );
    for id in config.vlans.keys() {
        let is_in = |it: &Port| it.mode == Mode::Access && !it.routed && it.group.is_none() && it.access == *id;
        let ports: Vec<String> =
            config.port_names().into_iter().filter(|it| config.ports.get(*it).is_some_and(is_in)).map(|it| short(it)).collect();
        let mut rows = ports.chunks(4).map(|it| it.join(", "));
        out += format!("{} {} active    {}", pad(id, 4), pad(vlan_name(config, *id), 32), rows.next().unwrap_or_default()).trim_end();
        out += "\n";
        for row in rows {
            out += &format!("{}{row}\n", " ".repeat(48));
        }
    }
    for (id, name) in [(1002, "fddi-default"), (1003, "token-ring-default"), (1004, "fddinet-default"), (1005, "trnet-default")] {
        out += &format!("{id} {} act/unsup\n", pad(name, 32));
    }
    out
}

fn status(cli: &Cli<Ios>) -> String {
    let config = cli.device.running();
    let mut out = String::from("\nPort      Name               Status       Vlan       Duplex  Speed Type\n");
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let vlan = match port.mode {
            _ if port.routed => "routed".to_owned(),
            Mode::Access => port.access.to_string(),
            Mode::Trunk | Mode::Hybrid => "trunk".to_owned(),
        };
        let state = if port.up { "connected" } else { "disabled" };
        let description: String = port.description.chars().take(18).collect();
        out += &format!(
            "{} {} {} {} a-full a-1000 10/100/1000BaseTX\n",
            pad(short(name), 9),
            pad(description, 18),
            pad(state, 12),
            pad(vlan, 10)
        );
    }
    out
}

fn switchport(config: &Config, name: &str, port: &Port) -> String {
    let mode = match port.mode {
        _ if port.negotiates => "dynamic auto",
        Mode::Access => "static access",
        Mode::Trunk | Mode::Hybrid => "trunk",
    };
    let now = match port.mode {
        _ if !port.up => "down",
        Mode::Access => "static access",
        Mode::Trunk | Mode::Hybrid => "trunk",
    };
    let list = match &port.allowed {
        Allowed::All => "ALL".to_owned(),
        Allowed::Only(list) if list.is_empty() => "NONE".to_owned(),
        Allowed::Only(list) => grammar::list(list),
    };
    let native = port.native.unwrap_or(1);
    format!(
        "Name: {}\nSwitchport: {}\nAdministrative Mode: {mode}\nOperational Mode: {now}\nAdministrative Trunking Encapsulation: dot1q\n\
         Negotiation of Trunking: {}\nAccess Mode VLAN: {} ({})\nTrunking Native Mode VLAN: {native} ({})\n\
         Administrative Native VLAN tagging: enabled\nVoice VLAN: none\nTrunking VLANs Enabled: {list}\nPruning VLANs Enabled: 2-1001\n\
         Capture Mode Disabled\nCapture VLANs Allowed: ALL\n\nProtected: {}\nUnknown unicast blocked: disabled\n\
         Unknown multicast blocked: disabled\nAppliance trust: none\n\n",
        short(name),
        if port.routed { "Disabled" } else { "Enabled" },
        if port.negotiates { "On" } else { "Off" },
        port.access,
        if config.vlans.contains_key(&port.access) { vlan_name(config, port.access) } else { "Inactive".to_owned() },
        if config.vlans.contains_key(&native) { vlan_name(config, native) } else { "Inactive".to_owned() },
        port.protected,
    )
}
