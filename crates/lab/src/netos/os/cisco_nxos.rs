//! Cisco NX-OS on a Nexus 9300 whose ports are layer 2 by default, with the features that EVPN needs switched on.
//!
//! Source: Cisco, "Nexus 9000 Series NX-OS" configuration guides 9.3(x): Interfaces, Layer 2 Switching, VXLAN.

use std::collections::BTreeMap;

use super::super::device::{Allowed, Config, Mode, Port, Protocol, Rules, Vlan};
use super::Shape;
use super::cli::{At, Cli, Do, Entry, Fault, Flavour, List, Shown, caret, join, last_word};
use super::grammar::{self, Bad, Kind, Names};
use super::text::{full_name, kept, pad, sections, tree};

/// Cisco NX-OS.
pub(super) struct Nxos;

const NVE: At = At::Sub(1);
const LAYER3: At = At::Sub(2);
const EVPN: At = At::Sub(3);
const MEMBER: At = At::Sub(4);
const EVI: At = At::Sub(5);

const TABLE: &[Entry] = &[
    (At::Exec, "exit", Do::Exit),
    (At::Exec, "show version", Do::ShowVersion),
    (At::Exec, "show vlan", Do::ShowVlans),
    (At::Exec, "show vlan brief", Do::ShowVlans),
    (At::Exec, "show interface status", Do::ShowStatus),
    (At::Exec, "show interface switchport", Do::ShowSwitchport),
    (At::Exec, "show interface <port> switchport", Do::ShowSwitchport),
    (At::Exec, "terminal length <0-511>", Do::PageLength),
    (At::Exec, "terminal width <24-511>", Do::Nothing),
    (At::Exec, "configure", Do::Configure),
    (At::Exec, "configure terminal", Do::Configure),
    (At::Exec, "show running-config", Do::ShowRunning),
    (At::Exec, "show running-config interface <port>", Do::ShowRunningInterface),
    (At::Exec, "show startup-config", Do::ShowStartup),
    (At::Exec, "copy running-config startup-config", Do::Save),
    (At::Config, "exit", Do::Exit),
    (At::Config, "end", Do::End),
    (At::Config, "hostname <word>", Do::Hostname),
    (At::Config, "interface <ports>", Do::Interface),
    (At::Config, "no interface <ports>", Do::NoInterface),
    (At::Config, "default interface <ports>", Do::DefaultInterface),
    (At::Config, "vlan <vlans>", Do::Vlan),
    (At::Config, "no vlan <vlans>", Do::NoVlan),
    (At::Config, "feature <word>", Do::Keep),
    (At::Config, "no feature <word>", Do::NoKeep),
    (At::Config, "nv overlay evpn", Do::Keep),
    (At::Config, "spanning-tree mode <word>", Do::Keep),
    (At::Config, "snmp-server <line>", Do::Keep),
    (At::Config, "no snmp-server <line>", Do::NoKeep),
    (At::Config, "ntp server <word>", Do::Keep),
    (At::Config, "no ntp server <word>", Do::NoKeep),
    (At::Config, "evpn", Do::Section(EVPN)),
    (At::Config, "no evpn", Do::NoSection),
    (NVE, "no shutdown", Do::Keep),
    (NVE, "shutdown", Do::NoKeep),
    (NVE, "host-reachability protocol bgp", Do::Keep),
    (NVE, "source-interface <word>", Do::Keep),
    (NVE, "member vni <1-16777214>", Do::Section(MEMBER)),
    (NVE, "no member vni <1-16777214>", Do::NoSection),
    (MEMBER, "ingress-replication protocol bgp", Do::Keep),
    (MEMBER, "no ingress-replication protocol bgp", Do::NoKeep),
    (MEMBER, "suppress-arp", Do::Keep),
    (MEMBER, "no suppress-arp", Do::NoKeep),
    (MEMBER, "mcast-group <word>", Do::Keep),
    (MEMBER, "no mcast-group", Do::NoKeep),
    (EVPN, "vni <1-16777214> l2", Do::Section(EVI)),
    (EVPN, "no vni <1-16777214>", Do::NoSection),
    (EVPN, "no vni <1-16777214> l2", Do::NoSection),
    (EVI, "rd auto", Do::Keep),
    (EVI, "rd <word>", Do::Keep),
    (EVI, "route-target import <word>", Do::Keep),
    (EVI, "route-target export <word>", Do::Keep),
    (EVI, "route-target both <word>", Do::Special(1)),
    (EVI, "no rd auto", Do::NoKeep),
    (EVI, "no route-target import <word>", Do::NoKeep),
    (EVI, "no route-target export <word>", Do::NoKeep),
    (LAYER3, "ip address <word>", Do::Keep),
    (LAYER3, "no ip address", Do::NoKeep),
    (LAYER3, "vrf member <word>", Do::Keep),
    (LAYER3, "description <line>", Do::Keep),
    (LAYER3, "no description", Do::NoKeep),
    (LAYER3, "no shutdown", Do::Keep),
    (LAYER3, "shutdown", Do::NoKeep),
    (At::Interface, "description <line>", Do::Describe),
    (At::Interface, "no description", Do::NoDescribe),
    (At::Interface, "shutdown", Do::Down),
    (At::Interface, "no shutdown", Do::Up),
    (At::Interface, "switchport", Do::Switched),
    (At::Interface, "no switchport", Do::Routed),
    (At::Interface, "switchport mode access", Do::ModeAccess),
    (At::Interface, "switchport mode trunk", Do::ModeTrunk),
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
    (At::Interface, "channel-group <1-4096>", Do::Join(Protocol::Static)),
    (At::Interface, "channel-group <1-4096> force", Do::Join(Protocol::Static)),
    (At::Interface, "channel-group <1-4096> mode on", Do::Join(Protocol::Static)),
    (At::Interface, "channel-group <1-4096> mode active", Do::Join(Protocol::Active)),
    (At::Interface, "channel-group <1-4096> mode passive", Do::Join(Protocol::Passive)),
    (At::Interface, "channel-group <1-4096> force mode on", Do::Join(Protocol::Static)),
    (At::Interface, "channel-group <1-4096> force mode active", Do::Join(Protocol::Active)),
    (At::Interface, "channel-group <1-4096> force mode passive", Do::Join(Protocol::Passive)),
    (At::Interface, "no channel-group", Do::Leave),
    (At::Interface, "no channel-group <num>", Do::Leave),
    (At::Interface, "spanning-tree port type edge", Do::Keep),
    (At::Interface, "spanning-tree port type edge trunk", Do::Keep),
    (At::Interface, "no spanning-tree port type", Do::NoKeep),
    (At::Interface, "spanning-tree bpduguard enable", Do::Keep),
    (At::Interface, "no spanning-tree bpduguard", Do::NoKeep),
    (At::Interface, "mtu <576-9216>", Do::Keep),
    (At::Interface, "no mtu", Do::NoKeep),
    (At::Interface, "speed <word>", Do::Keep),
    (At::Interface, "no speed", Do::NoKeep),
    (At::Interface, "vpc <1-4096>", Do::Keep),
    (At::Interface, "no vpc", Do::NoKeep),
    (At::Interface, "no lacp suspend-individual", Do::Keep),
    (At::Vlan, "name <word>", Do::VlanName),
    (At::Vlan, "no name", Do::NoVlanName),
    (At::Vlan, "vn-segment <1-16777214>", Do::Vni),
    (At::Vlan, "no vn-segment", Do::NoVni),
    (At::Vlan, "no vn-segment <1-16777214>", Do::NoVni),
    (At::Vlan, "state active", Do::Nothing),
];

impl Names for Nxos {
    fn port(&self, text: &str) -> Option<String> {
        full_name(text, &["Ethernet", "port-channel", "Vlan", "nve", "loopback", "mgmt"])
    }
}

fn short(name: &str) -> String {
    name.replace("Ethernet", "Eth").replace("port-channel", "Po")
}

impl Flavour for Nxos {
    const NAME: &'static str = "cisco_nxos";
    const RULES: Rules = Rules { declares_vlans: true, native_must_be_allowed: true };
    const EXEC_ANYWHERE: bool = true;
    const INHERITS: bool = true;

    fn table(&self) -> &'static [&'static [Entry]] {
        &[TABLE]
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| format!("Ethernet1/{it}")).map(|it| (it.clone(), self.fresh(&it)));
        let features = ["nv overlay evpn", "feature interface-vlan", "feature vn-segment-vlan-based", "feature lacp", "feature nv overlay"];
        let nve = ["no shutdown", "host-reachability protocol bgp", "source-interface loopback0"];
        let extra = [("", &features[..]), ("interface mgmt0", &["vrf member management"]), ("interface nve1", &nve), ("evpn", &[])];
        Config {
            hostname: shape.hostname.clone(),
            ports: ports.collect(),
            vlans: BTreeMap::from([(1, Vlan::default())]),
            extra: extra.map(|(it, lines)| (it.to_owned(), lines.iter().map(|it| (*it).to_owned()).collect())).into(),
            ..Config::default()
        }
    }

    fn is_group(&self, name: &str) -> bool {
        name.starts_with("port-channel")
    }

    fn pseudo(&self, name: &str) -> Option<At> {
        match name {
            "nve1" => Some(NVE),
            _ if name.starts_with("Vlan") || name.starts_with("loopback") || name == "mgmt0" => Some(LAYER3),
            _ => None,
        }
    }

    fn group(&self, number: u32) -> String {
        format!("port-channel{number}")
    }

    fn prompt(&self, cli: &Cli<Self>) -> String {
        let host = &cli.device.running().hostname;
        let mode = match cli.at() {
            At::User | At::Exec => "",
            At::Config => "(config)",
            At::Interface if cli.spot().ports.len() > 1 => "(config-if-range)",
            At::Vlan => "(config-vlan)",
            NVE => "(config-if-nve)",
            MEMBER => "(config-if-nve-vni)",
            EVPN => "(config-evpn)",
            EVI => "(config-evpn-evi)",
            At::Interface | At::Sub(_) => "(config-if)",
        };
        format!("{host}{mode}# ")
    }

    fn bad(&self, cli: &Cli<Self>, line: &str, bad: &Bad) -> String {
        let what = match bad.kind {
            Kind::Ambiguous => "% Ambiguous command at '^' marker.",
            Kind::Incomplete => "% Incomplete command at '^' marker.",
            Kind::Value if line.contains("interface") => "Invalid interface format at '^' marker.",
            Kind::Value if bad.word.bytes().all(|it| it.is_ascii_digit()) => "% Invalid number at '^' marker.",
            Kind::Value if line.contains("vlan") => "Invalid value/range '^' marker.",
            Kind::Keyword if bad.nth > 0 => "% Invalid parameter detected at '^' marker.",
            Kind::Keyword | Kind::Value | Kind::TooMany => "% Invalid command at '^' marker.",
        };
        format!("{}\n{what}", caret(&self.prompt(cli), bad.at))
    }

    fn fault(&self, cli: &Cli<Self>, line: &str, fault: &Fault) -> String {
        match fault {
            Fault::NoSuchPort(_) | Fault::WrongPort(_) | Fault::WrongMode => {
                format!("{}\nInvalid interface format at '^' marker.", caret(&self.prompt(cli), last_word(line)))
            }
            Fault::DefaultVlan(_) if line.trim_start().starts_with("no ") => "ERROR: Cannot delete default vlan".to_owned(),
            Fault::DefaultVlan(_) => "ERROR: Cannot change name of default vlan".to_owned(),
        }
    }

    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, line: &str) -> Result<String, String> {
        if self.is_group(port) {
            return Err("% Invalid command at '^' marker.".to_owned());
        }
        if let (Some(now), Some(group)) = (config.ports.get(port), config.ports.get(&self.group(group)))
            && !line.contains(" force")
            && let Some(what) = incompatible(now, group)
        {
            return Err(format!(
                "command failed: port not compatible [{what}]\n** You can use force option to override the port's parameters\n\
                 ** (e.g. \"channel-group X force\")\n** Use \"show port-channel compatibility-parameters\" to get more information on failure"
            ));
        }
        join(self, config, port, group, protocol);
        Ok(String::new())
    }

    fn special(&self, cli: &mut Cli<Self>, _which: u8, args: &[grammar::Arg], _line: &str) -> super::cli::Outcome {
        // It is shown as its two halves.
        cli.keep("route-target import <word>", args, true);
        cli.keep("route-target export <word>", args, true);
        Ok(super::Answer::nothing())
    }

    fn saving(&self) -> (&'static str, &'static str) {
        ("", "[########################################] 100%\nCopy complete, now saving to disk (please wait)...\nCopy complete.")
    }

    fn is_yes(&self, _answer: &str) -> bool {
        true
    }

    fn render(&self, config: &Config, shown: Shown, port: Option<&str>) -> String {
        let mut out = match (shown, port) {
            (Shown::Running, None) => "\n!Command: show running-config\n!Running configuration last done at: Mon Jan  5 10:00:00 2026\n",
            (Shown::Running, Some(_)) => {
                "\n!Command: show running-config interface\n!Running configuration last done at: Mon Jan  5 10:00:00 2026\n"
            }
            (Shown::Startup, _) => "\n!Command: show startup-config\n!Startup config saved at: Mon Jan  5 10:00:00 2026\n",
        }
        .to_owned();
        out += "!Time: Mon Jan  5 10:00:01 2026\n\nversion 9.3(8) Bios:version 07.69\n";
        if let Some(name) = port {
            return out + "\n" + &config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
        }
        out += &format!("hostname {}\nvdc {0} id 1\n  limit-resource vlan minimum 16 maximum 4094\n\n", config.hostname);
        out += &kept(config.extra.get("").map_or(&[], Vec::as_slice), "");
        out += "\nno password strength-check\nusername admin password 5 $5$xxxx$xxxx  role network-admin\nsystem default switchport\n\n";
        out += &format!("vlan {}\n", grammar::list(&config.vlans.keys().copied().collect()));
        for (id, vlan) in config.vlans.iter().filter(|(_, it)| it.name.is_some() || it.vni.is_some()) {
            out += &format!("vlan {id}\n");
            out += &vlan.name.as_ref().map(|it| format!("  name {it}\n")).unwrap_or_default();
            out += &vlan.vni.map(|it| format!("  vn-segment {it}\n")).unwrap_or_default();
        }
        out += "\nvrf context management\n\n\n";
        for (header, lines) in sections(config, "interface Vlan") {
            out += &format!("{header}\n{}\n", kept(lines, "  "));
        }
        let (groups, sockets): (Vec<&String>, Vec<&String>) = config.port_names().into_iter().partition(|it| self.is_group(it));
        for name in groups {
            out += &config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
        }
        out += &tree(config, "interface nve", "  ", "\n");
        for name in sockets {
            out += &config.ports.get(name).map(|it| interface(name, it)).unwrap_or_default();
        }
        for begin in ["interface mgmt", "interface loopback"] {
            for (header, lines) in sections(config, begin) {
                out += &format!("{header}\n{}\n", kept(lines, "  "));
            }
        }
        out += "line console\nline vty\nboot nxos bootflash:/nxos.9.3.8.bin\n";
        // An empty section is not shown.
        if config.extra.keys().any(|it| it.starts_with("evpn\n")) {
            out += &tree(config, "evpn", "  ", "\n");
        }
        out + "\n"
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
            _ => format!(
                "Cisco Nexus Operating System (NX-OS) Software\nTAC support: http://www.cisco.com/tac\n\nSoftware\n  BIOS: version 07.69\n\
                 \u{20} NXOS: version 9.3(8)\n  NXOS image file is: bootflash:///nxos.9.3.8.bin\n\nHardware\n  cisco Nexus9000 93180YC-EX chassis\n\
                 \u{20} Device name: {}\n  bootflash:   53298520 kB\nKernel uptime is 1 day(s), 2 hour(s), 3 minute(s), 4 second(s)\n",
                config.hostname
            ),
        }
    }
}

fn incompatible(port: &Port, group: &Port) -> Option<&'static str> {
    if port.routed != group.routed {
        return Some("port layer");
    }
    if port.mode != group.mode {
        return Some("port mode");
    }
    match port.mode {
        Mode::Access => (port.access != group.access).then_some("port access VLAN"),
        Mode::Trunk | Mode::Hybrid if port.native != group.native => Some("port native VLAN"),
        Mode::Trunk | Mode::Hybrid => (port.allowed != group.allowed).then_some("port allowed VLAN list"),
    }
}

fn interface(name: &str, port: &Port) -> String {
    let mut out = format!("interface {name}\n");
    if !port.description.is_empty() {
        out += &format!("  description {}\n", port.description);
    }
    if port.routed {
        out += "  no switchport\n";
    }
    if port.mode == Mode::Trunk {
        out += "  switchport mode trunk\n";
    }
    if port.access != 1 {
        out += &format!("  switchport access vlan {}\n", port.access);
    }
    if let Some(native) = port.native.filter(|it| *it != 1) {
        out += &format!("  switchport trunk native vlan {native}\n");
    }
    if let Allowed::Only(list) = &port.allowed {
        if list.is_empty() {
            out += "  switchport trunk allowed vlan none\n";
        }
        for (nth, piece) in grammar::list_wrapped(list, 64).iter().enumerate().filter(|(_, it)| !it.is_empty()) {
            out += &format!("  switchport trunk allowed vlan {}{piece}\n", if nth == 0 { "" } else { "add " });
        }
    }
    out += &kept(&port.extra, "  ");
    if !port.up {
        out += "  shutdown\n";
    }
    if let Some(member) = &port.group {
        let mode = match member.protocol {
            Protocol::Active => " mode active",
            Protocol::Passive => " mode passive",
            Protocol::Static => "",
        };
        out += &format!("  channel-group {}{mode}\n", member.group.trim_start_matches("port-channel"));
    }
    out + "\n"
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
        let is_in = |name: &&String| {
            let carried = config.carries(name, Nxos::RULES);
            config.ports.get(*name).is_some_and(|it| it.group.is_none()) && (carried.untagged == Some(*id) || carried.tagged.contains(id))
        };
        let ports: Vec<String> = config.port_names().into_iter().filter(is_in).map(|it| short(it)).collect();
        let mut rows = ports.chunks(4).map(|it| it.join(", "));
        out += format!("{} {} active    {}", pad(id, 4), pad(vlan_name(config, *id), 32), rows.next().unwrap_or_default()).trim_end();
        out += "\n";
        for row in rows {
            out += &format!("{}{row}\n", " ".repeat(48));
        }
    }
    out
}

fn status(config: &Config) -> String {
    let rule = "-".repeat(80);
    let mut out = format!("\n{rule}\nPort          Name               Status    Vlan      Duplex  Speed   Type\n{rule}\n");
    for name in config.port_names() {
        let Some(port) = config.ports.get(name) else { continue };
        let vlan = match port.mode {
            _ if port.routed => "routed".to_owned(),
            Mode::Access => port.access.to_string(),
            Mode::Trunk | Mode::Hybrid => "trunk".to_owned(),
        };
        let state = if port.up { "connected" } else { "disabled" };
        let description: String = if port.description.is_empty() { "--".to_owned() } else { port.description.chars().take(18).collect() };
        out +=
            &format!("{} {} {} {} full    10G     10Gbase-SR\n", pad(short(name), 13), pad(description, 18), pad(state, 9), pad(vlan, 9));
    }
    out
}

fn switchport(config: &Config, name: &str, port: &Port) -> String {
    let mode = if port.mode == Mode::Access { "access" } else { "trunk" };
    let list = match &port.allowed {
        Allowed::All => "1-4094".to_owned(),
        Allowed::Only(list) if list.is_empty() => "none".to_owned(),
        Allowed::Only(list) => grammar::list(list),
    };
    let native = port.native.unwrap_or(1);
    let shown = |vlan: u16| if config.vlans.contains_key(&vlan) { vlan_name(config, vlan) } else { "Vlan not created".to_owned() };
    format!(
        "Name: {name}\n  Switchport: {}\n  Switchport Monitor: Not enabled\n  Operational Mode: {}\n  Access Mode VLAN: {} ({})\n\
         \u{20} Trunking Native Mode VLAN: {native} ({})\n  Trunking VLANs Allowed: {list}\n  Voice VLAN: none\n",
        if port.routed { "Disabled" } else { "Enabled" },
        if port.up { mode } else { "down" },
        port.access,
        shown(port.access),
        shown(native),
    )
}
