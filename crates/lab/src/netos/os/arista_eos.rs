//! Arista EOS.
//!
//! Source: Arista, "EOS User Manual" 4.28, chapters "VLANs", "Ethernet Ports", "Port Channels and LACP", "VXLAN", "EVPN".

use std::collections::BTreeMap;

use super::super::device::{Allowed, Config, Mode, Port, Protocol, Rules, Vlan};
use super::Shape;
use super::cli::{At, Cli, Do, Entry, Fault, Flavour, List, Shown};
use super::grammar::{self, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, tree, vlan_lines};

/// Arista EOS.
pub(super) struct Eos;

const VXLAN: At = At::Sub(1);
const LAYER3: At = At::Sub(2);
const BGP: At = At::Sub(3);
const BGP_VLAN: At = At::Sub(4);
const BGP_EVPN: At = At::Sub(5);

const TABLE: &[Entry] = &[
    (At::User, "enable", Do::Enable),
    (At::User, "exit", Do::Exit),
    (At::User, "logout", Do::Exit),
    (At::User, "show version", Do::ShowVersion),
    (At::User, "show vlan", Do::ShowVlans),
    (At::User, "show vlan brief", Do::ShowVlans),
    (At::User, "show interfaces status", Do::ShowStatus),
    (At::User, "show interfaces switchport", Do::ShowSwitchport),
    (At::User, "show interfaces <port> switchport", Do::ShowSwitchport),
    (At::User, "terminal length <0-32767>", Do::PageLength),
    (At::User, "terminal width <10-32767>", Do::Width),
    (At::Exec, "disable", Do::Disable),
    (At::Exec, "configure", Do::Configure),
    (At::Exec, "configure terminal", Do::Configure),
    (At::Exec, "show running-config", Do::ShowRunning),
    (At::Exec, "show running-config interfaces <port>", Do::ShowRunningInterface),
    (At::Exec, "show startup-config", Do::ShowStartup),
    (At::Exec, "copy running-config startup-config", Do::Save),
    (At::Exec, "write", Do::Save),
    (At::Exec, "write memory", Do::Save),
    (At::Config, "exit", Do::Exit),
    (At::Config, "end", Do::End),
    (At::Config, "hostname <word>", Do::Hostname),
    (At::Config, "interface <ports>", Do::Interface),
    (At::Config, "no interface <ports>", Do::NoInterface),
    (At::Config, "default interface <ports>", Do::DefaultInterface),
    (At::Config, "vlan <vlans>", Do::Vlan),
    (At::Config, "no vlan <vlans>", Do::NoVlan),
    (At::Config, "spanning-tree mode <word>", Do::Keep),
    (At::Config, "ip routing", Do::Keep),
    (At::Config, "snmp-server <line>", Do::Keep),
    (At::Config, "no snmp-server <line>", Do::NoKeep),
    (At::Config, "ntp server <word>", Do::Keep),
    (At::Config, "no ntp server <word>", Do::NoKeep),
    (At::Config, "router bgp <1-4294967295>", Do::Section(BGP)),
    (At::Config, "no router bgp <1-4294967295>", Do::NoSection),
    (VXLAN, "vxlan source-interface <word>", Do::Keep),
    (VXLAN, "vxlan udp-port <1024-65535>", Do::Keep),
    (VXLAN, "vxlan vlan <vlan> vni <1-16777214>", Do::Keep),
    (VXLAN, "no vxlan vlan <vlan> vni", Do::NoKeep),
    (VXLAN, "no vxlan vlan <vlan> vni <1-16777214>", Do::NoKeep),
    (LAYER3, "ip address <word>", Do::Keep),
    (LAYER3, "no ip address", Do::NoKeep),
    (LAYER3, "description <line>", Do::Keep),
    (LAYER3, "no description", Do::NoKeep),
    (LAYER3, "shutdown", Do::Keep),
    (LAYER3, "no shutdown", Do::NoKeep),
    (BGP, "router-id <word>", Do::Keep),
    (BGP, "neighbor <word> remote-as <num>", Do::Keep),
    (BGP, "neighbor <word> send-community extended", Do::Keep),
    (BGP, "vlan <vlan>", Do::Section(BGP_VLAN)),
    (BGP, "no vlan <vlan>", Do::NoSection),
    (BGP, "address-family evpn", Do::Section(BGP_EVPN)),
    (BGP_EVPN, "neighbor <word> activate", Do::Keep),
    (BGP_VLAN, "rd <word>", Do::Keep),
    (BGP_VLAN, "no rd", Do::NoKeep),
    (BGP_VLAN, "route-target both <word>", Do::Keep),
    (BGP_VLAN, "route-target import <word>", Do::Keep),
    (BGP_VLAN, "route-target export <word>", Do::Keep),
    (BGP_VLAN, "route-target import auto <num>", Do::Keep),
    (BGP_VLAN, "route-target export auto <num>", Do::Keep),
    (BGP_VLAN, "no route-target both", Do::NoKeep),
    (BGP_VLAN, "no route-target import", Do::NoKeep),
    (BGP_VLAN, "no route-target export", Do::NoKeep),
    (BGP_VLAN, "redistribute learned", Do::Keep),
    (BGP_VLAN, "no redistribute learned", Do::NoKeep),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "no description", Do::NoDescribe),
    (At::Interface, "default description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "no shutdown", Do::Up),
    (At::Interface, "default shutdown", Do::Up),
    (At::Interface, "switchport", Do::Switched),
    (At::Interface, "default switchport", Do::Switched),
    (At::Interface, "no switchport", Do::Routed),
    (At::Interface, "switchport mode access", Do::ModeAccess),
    (At::Interface, "switchport mode trunk", Do::ModeTrunk),
    (At::Interface, "no switchport mode", Do::NoMode),
    (At::Interface, "default switchport mode", Do::NoMode),
    (At::Interface, "switchport access vlan <vlan>", Do::Access),
    (At::Interface, "no switchport access vlan", Do::NoAccess),
    (At::Interface, "default switchport access vlan", Do::NoAccess),
    (At::Interface, "switchport trunk native vlan <vlan>", Do::Native),
    (At::Interface, "switchport trunk native vlan tag", Do::NativeTag),
    (At::Interface, "no switchport trunk native vlan", Do::NoNative),
    (At::Interface, "default switchport trunk native vlan", Do::NoNative),
    (At::Interface, "switchport trunk allowed vlan <vlans>", Do::Allow(List::Set)),
    (At::Interface, "switchport trunk allowed vlan add <vlans>", Do::Allow(List::Add)),
    (At::Interface, "switchport trunk allowed vlan remove <vlans>", Do::Allow(List::Remove)),
    (At::Interface, "switchport trunk allowed vlan except <vlans>", Do::Allow(List::Except)),
    (At::Interface, "switchport trunk allowed vlan all", Do::Allow(List::All)),
    (At::Interface, "switchport trunk allowed vlan none", Do::Allow(List::None)),
    (At::Interface, "no switchport trunk allowed vlan", Do::Allow(List::Default)),
    (At::Interface, "default switchport trunk allowed vlan", Do::Allow(List::Default)),
    (At::Interface, "channel-group <1-2000> mode active", Do::Join(Protocol::Active)),
    (At::Interface, "channel-group <1-2000> mode passive", Do::Join(Protocol::Passive)),
    (At::Interface, "channel-group <1-2000> mode on", Do::Join(Protocol::Static)),
    (At::Interface, "no channel-group", Do::Leave),
    (At::Interface, "no channel-group <num>", Do::Leave),
    (At::Interface, "default channel-group", Do::Leave),
    (At::Interface, "spanning-tree portfast", Do::Keep),
    (At::Interface, "no spanning-tree portfast", Do::NoKeep),
    (At::Interface, "spanning-tree bpduguard enable", Do::Keep),
    (At::Interface, "no spanning-tree bpduguard", Do::NoKeep),
    (At::Interface, "mtu <68-9214>", Do::Keep),
    (At::Interface, "no mtu", Do::NoKeep),
    (At::Interface, "speed <word>", Do::Keep),
    (At::Interface, "no speed", Do::NoKeep),
    (At::Interface, "mlag <1-2000>", Do::Keep),
    (At::Interface, "no mlag", Do::NoKeep),
    (At::Interface, "port-channel lacp fallback static", Do::Keep),
    (At::Interface, "no lldp transmit", Do::Keep),
    (At::Vlan, "name <word>", Do::VlanName),
    (At::Vlan, "no name", Do::NoVlanName),
    (At::Vlan, "default name", Do::NoVlanName),
    (At::Vlan, "state active", Do::Nothing),
];

impl Names for Eos {
    fn port(&self, text: &str) -> Option<String> {
        full_name(text, &["Ethernet", "Port-Channel", "Vlan", "Vxlan", "Loopback", "Management"])
    }
}

fn short(name: &str) -> String {
    let out = name.replace("Port-Channel", "Po").replace("Ethernet", "Et").replace("Vlan", "Vl");
    out.replace("Vxlan", "Vx").replace("Loopback", "Lo").replace("Management", "Ma")
}

/// `Ethernet1`, `Ethernet2` → `Et1-2`, as prompts show it.
fn short_list(ports: &[String]) -> String {
    let Some(first) = ports.first() else { return String::new() };
    let stem = first.trim_end_matches(|it: char| it.is_ascii_digit());
    let numbers = ports.iter().filter_map(|it| it.strip_prefix(stem)?.parse::<u16>().ok()).collect();
    format!("{}{}", short(stem), grammar::list(&numbers))
}

impl Flavour for Eos {
    const NAME: &'static str = "arista_eos";
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: true };
    const EXEC_ANYWHERE: bool = true;
    const USER_FIRST: bool = true;

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("Ethernet{it}")).map(|it| (it.clone(), self.fresh(&it)));
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: BTreeMap::from([("interface Management1".to_owned(), Vec::new())]),
            ..Config::default()
        }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("Port-Channel")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        match name {
            "Vxlan1" => Some(VXLAN),
            _ if name.starts_with("Vlan") || name.starts_with("Loopback") || name == "Management1" => Some(LAYER3),
            _ => None,
        }
    }

    fn group(&self, number: u32) -> String {
        format!("Port-Channel{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let spot = cli.spot();
        match spot.at {
            At::User => format!("{host}>"),
            At::Exec => format!("{host}#"),
            At::Config => format!("{host}(config)#"),
            At::Interface => format!("{host}(config-if-{})#", short_list(&spot.ports)),
            At::Vlan => format!("{host}(config-vlan-{})#", grammar::list(&spot.vlans)),
            BGP => format!("{host}(config-router-bgp)#"),
            BGP_EVPN => format!("{host}(config-router-bgp-af)#"),
            BGP_VLAN => format!("{host}(config-macvrf-{})#", spot.section.rsplit(' ').next().unwrap_or_default()),
            At::Sub(_) => format!("{host}(config-if-{})#", short(spot.section.trim_start_matches("interface "))),
        }
    }

    fn bad(&self, _cli: &Cli<Self>, _line: &str, bad: &Bad) -> String {
        match bad.kind {
            Kind::Ambiguous => "% Ambiguous command".to_owned(),
            Kind::Incomplete => "% Incomplete command".to_owned(),
            Kind::Keyword | Kind::Value | Kind::TooMany => "% Invalid input".to_owned(),
        }
    }

    fn fault(&self, _cli: &Cli<Self>, line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(_) => "% Interface does not exist".to_owned(),
            Fault::WrongPort(_) | Fault::WrongMode => "% Invalid input".to_owned(),
            Fault::DefaultVlan(vlan) if line.trim_start().starts_with("no ") => format!("% VLAN {vlan} can not be deleted"),
            Fault::DefaultVlan(vlan) => format!("% VLAN {vlan} can not be renamed"),
        }
    }

    fn said(&self, what: Do, number: u32) -> String {
        match (what, number) {
            (Do::Width, _) => format!("Width set to {number} columns."),
            (Do::PageLength, 0) => "Pagination disabled.".to_owned(),
            (Do::PageLength, _) => format!("Pagination set to {number} lines."),
            _ => String::new(),
        }
    }

    fn settle(&self, config: &mut Config) {
        let lines = config.extra.get("interface Vxlan1").cloned().unwrap_or_default();
        let mapped: BTreeMap<u16, u32> = lines.iter().filter_map(|it| mapping(it)).collect();
        for (id, vlan) in &mut config.vlans {
            vlan.vni = mapped.get(id).copied();
        }
    }

    fn saving(&self) -> (&'static str, &'static str) {
        ("", "Copy completed successfully.")
    }

    fn is_yes(&self, _answer: &str) -> bool {
        true
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("Password: ", "% Bad secret\n")
    }

    fn render(&self, config: &Config, shown: Shown, port: Option<&str>) -> String {
        if let Some(name) = port {
            let body = config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
            return body.trim_end_matches("!\n").to_owned();
        }
        let mut out = match shown {
            Shown::Running => "! Command: show running-config\n".to_owned(),
            Shown::Startup => {
                "! Command: show startup-config\n! Startup-config last modified at Mon Jan  5 10:00:00 2026 by admin\n".to_owned()
            }
        };
        out += &format!("! device: {} (vEOS-lab, EOS-4.28.3M)\n!\n! boot system flash:/vEOS-lab.swi\n!\nno aaa root\n!\n", config.hostname);
        out += "username admin privilege 15 role network-admin secret sha512 $6$xxxx$xxxx\n!\ntransceiver qsfp default-mode 4x10G\n!\n";
        out += &format!("service routing protocols model multi-agent\n!\nhostname {}\n!\nspanning-tree mode mstp\n!\n", config.hostname);
        for line in vlan_lines(config, |(_, vlan)| vlan.name.is_none()) {
            out += &format!("vlan {line}\n");
            if let Some(name) = line.parse().ok().and_then(|id| config.vlans.get(&id)?.name.as_ref()) {
                out += &format!("   name {name}\n");
            }
            out += "!\n";
        }
        let (groups, sockets): (Vec<&String>, Vec<&String>) = config.port_names().into_iter().partition(|it| self.is_group(it));
        for name in groups.into_iter().chain(sockets) {
            out += &config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
        }
        for begin in ["interface Loopback", "interface Management", "interface Vlan", "interface Vxlan"] {
            for (header, lines) in sections(config, begin) {
                out += &format!("{header}\n{}!\n", kept(lines, "   "));
            }
        }
        out += "no ip routing\n!\n";
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "");
        out += &tree(config, "router bgp ", "   ", "!\n");
        out + "end\n"
    }

    fn show(&self, cli: &Cli<Self>, what: Do, port: Option<&str>) -> String {
        let config = cli.device.running();
        match what {
            Do::ShowVlans => vlans(&config),
            Do::ShowStatus => status(&config),
            Do::ShowSwitchport => {
                let names = config.port_names().into_iter().filter(|it| port.is_none_or(|port| port == *it));
                names.filter_map(|name| Some(switchport(&config, name, config.ports.get(name)?))).collect()
            }
            _ => {
                let mac = cli.device.mac().map(|it| format!("{it:02x}"));
                let [a, b, c, d, e, f] = &mac;
                format!(
                    "Arista vEOS-lab\nHardware version: \nSerial number: SIM0001\nHardware MAC address: {a}{b}.{c}{d}.{e}{f}\n\
                     System MAC address: {a}{b}.{c}{d}.{e}{f}\n\nSoftware image version: 4.28.3M\nArchitecture: x86_64\n\
                     Uptime: 1 day, 2 hours and 3 minutes\nTotal memory: 3999616 kB\nFree memory: 2982224 kB\n"
                )
            }
        }
    }
}

/// `vxlan vlan 10 vni 10010`.
fn mapping(line: &str) -> Option<(u16, u32)> {
    let (vlan, vni) = line.strip_prefix("vxlan vlan ")?.split_once(" vni ")?;
    Some((vlan.parse().ok()?, vni.parse().ok()?))
}

fn interface(name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    if !port.description.is_empty() {
        out += &format!("   description {}\n", port.description);
    }
    if !port.up {
        out += "   shutdown\n";
    }
    out += &kept(&port.extra, "   ");
    if port.access != 1 {
        out += &format!("   switchport access vlan {}\n", port.access);
    }
    if port.native_tagged {
        out += "   switchport trunk native vlan tag\n";
    } else if let Some(native) = port.native.filter(|it| *it != 1) {
        out += &format!("   switchport trunk native vlan {native}\n");
    }
    if let Allowed::Only(list) = &port.allowed {
        let list = if list.is_empty() { "none".to_owned() } else { grammar::list(list) };
        out += &format!("   switchport trunk allowed vlan {list}\n");
    }
    if port.mode == Mode::Trunk {
        out += "   switchport mode trunk\n";
    }
    if port.routed {
        out += "   no switchport\n";
    }
    if let Some(member) = &port.group {
        let mode = match member.protocol {
            Protocol::Active => "active",
            Protocol::Passive => "passive",
            Protocol::Static => "on",
        };
        out += &format!("   channel-group {} mode {mode}\n", member.group.trim_start_matches("Port-Channel"));
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
        "VLAN  Name                             Status    Ports\n----- -------------------------------- --------- -------------------------------\n",
    );
    for (id, vlan) in &config.vlans {
        let is_in = |name: &&String| {
            let carried = config.carries(name, Eos::RULES);
            config.ports.get(*name).is_some_and(|it| it.group.is_none()) && (carried.untagged == Some(*id) || carried.tagged.contains(id))
        };
        let mut ports: Vec<String> = config.port_names().into_iter().filter(is_in).map(|it| short(it)).collect();
        ports.extend(vlan.vni.map(|_| "Vx1".to_owned()));
        let mut rows = ports.chunks(4).map(|it| it.join(", "));
        let first = format!("{} {} active    {}", pad(id, 5), pad(vlan_name(config, *id), 32), rows.next().unwrap_or_default());
        out += first.trim_end();
        out += "\n";
        for row in rows {
            out += &format!("{}{row}\n", " ".repeat(49));
        }
    }
    out
}

fn status(config: &Config) -> String {
    let mut out = String::from("Port       Name               Status       Vlan     Duplex Speed  Type            Flags Encapsulation\n");
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let vlan = match (&port.group, port.mode) {
            (Some(member), _) => format!("in {}", short(&member.group)),
            _ if port.routed => "routed".to_owned(),
            (None, Mode::Access) => port.access.to_string(),
            (None, Mode::Trunk | Mode::Hybrid) => "trunk".to_owned(),
        };
        let state = if port.up { "connected" } else { "disabled" };
        let description: String = port.description.chars().take(18).collect();
        out += &format!(
            "{} {} {} {} full   10G    EbraTestPhyPort\n",
            pad(short(name), 10),
            pad(description, 18),
            pad(state, 12),
            pad(vlan, 8)
        );
    }
    out
}

fn switchport(config: &Config, name: &str, port: &Port) -> String {
    let mode = if port.mode == Mode::Access { "static access" } else { "trunk" };
    let list = match &port.allowed {
        Allowed::All => "ALL".to_owned(),
        Allowed::Only(list) if list.is_empty() => "NONE".to_owned(),
        Allowed::Only(list) => grammar::list(list),
    };
    let native = port.native.unwrap_or(1);
    format!(
        "Name: {}\nSwitchport: {}\nAdministrative Mode: {mode}\nOperational Mode: {}\nMAC Address Learning: enabled\n\
         Dot1q ethertype/TPID: 0x8100 (active)\nDot1q VLAN Tag: Allowed\nAccess Mode VLAN: {} ({})\nTrunking Native Mode VLAN: {native} ({})\n\
         Administrative Native VLAN tagging: {}\nAdministrative private VLAN mapping: ALL\nTrunking VLANs Enabled: {list}\n\
         Static Trunk Groups:\nDynamic Trunk Groups:\nSource interface filtering: enabled\n\n",
        short(name),
        if port.routed { "Disabled" } else { "Enabled" },
        if port.up { mode } else { "down" },
        port.access,
        if config.vlans.contains_key(&port.access) { vlan_name(config, port.access) } else { "Inactive".to_owned() },
        if config.vlans.contains_key(&native) { vlan_name(config, native) } else { "Inactive".to_owned() },
        if port.native_tagged { "enabled" } else { "disabled" },
    )
}
