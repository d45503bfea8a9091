//! The simulators as a user at their console sees them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::device::{Allowed, Carried, Device, Mode, Protocol};
use super::os::{self, Login, Session, Shape};

pub(super) struct Console {
    pub(super) device: Arc<Device>,
    session: Box<dyn Session>,
}

impl Console {
    pub(super) fn new(name: &str) -> Self {
        let os = os::find(name).unwrap();
        let config = os.factory(&Shape { hostname: "leaf1".to_owned(), ports: 4 });
        let device = Arc::new(Device::new([2, 0, 0, 0, 0, 1], os.rules(), config));
        let session = os.login(&device, &Login { user: "console".to_owned(), enable_password: None, privileged: true });
        Self { device, session }
    }

    /// Types a line, answers what is printed.
    pub(super) fn ask(&mut self, line: &str) -> String {
        let answer = self.session.line(line);
        answer.text + &answer.error
    }

    /// Types lines that print nothing.
    pub(super) fn quiet(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let said = self.ask(line);
            assert_eq!(said, "", "{line}");
        }
    }

    pub(super) fn prompt(&self) -> String {
        self.session.prompt()
    }

    pub(super) fn has(&mut self, command: &str, text: &str) {
        let said = self.ask(command);
        assert!(said.contains(text), "{text:?} is not in the answer to {command}:\n{said}");
    }

    pub(super) fn has_not(&mut self, command: &str, text: &str) {
        let said = self.ask(command);
        assert!(!said.contains(text), "{text:?} is in the answer to {command}:\n{said}");
    }
}

pub(super) fn carried(untagged: impl Into<Option<u16>>, tagged: impl IntoIterator<Item = u16>) -> Carried {
    Carried { untagged: untagged.into(), tagged: tagged.into_iter().collect() }
}

#[test]
fn ios() {
    let mut it = Console::new("cisco_ios");
    assert_eq!(it.prompt(), "leaf1#");
    it.quiet("conf t\nvlan 100\nname cofferdam-a");
    assert_eq!(it.prompt(), "leaf1(config-vlan)#");
    it.quiet("int gi1/0/1\ndescription cofferdam x y\nswitchport mode access\nswi acc vl 100");
    assert_eq!(it.prompt(), "leaf1(config-if)#");
    assert_eq!(it.device.carries("GigabitEthernet1/0/1"), carried(100, []));
    it.has("switchport access vlan 200", "% Access VLAN does not exist. Creating vlan 200");
    it.quiet("shutdown");
    assert!(it.device.carries("GigabitEthernet1/0/1").is_empty());
    it.quiet("no shut\nswitchport mode trunk\nswitchport trunk allowed vlan none\nswitchport trunk allowed vlan add 100,300-301");
    // VLAN 300 is not declared, and the native VLAN 1 not allowed.
    assert_eq!(it.device.carries("GigabitEthernet1/0/1"), carried(None, [100]));
    it.has("switchport trunk allowed vlan 5000", "% Invalid input detected at '^' marker.");
    assert_eq!(it.ask("switchport trunk allowed vlan 0"), format!("{}^\n% Invalid input detected at '^' marker.\n", " ".repeat(47)) + "\n");
    it.has("frobnicate", "% Invalid input detected at '^' marker.");
    it.has("switchport access", "% Incomplete command.");
    it.has("interface gi1/0/99", "% Invalid input");
    it.has("vlan 5000", "Command rejected: Bad VLAN list - character #5 (EOL)");
    it.has("no vlan 1", "%Default VLAN 1 may not be deleted.");
    it.has("interface range gi1/0/2-3", "");
    it.has("channel-group 5 mode active", "Creating a port-channel interface Port-channel 5");
    it.quiet("interface Port-channel5\nswitchport mode trunk\nswitchport trunk allowed vlan 200");
    assert_eq!(it.device.carries("GigabitEthernet1/0/3"), carried(None, [200]));
    it.has(
        "do show running-config interface gi1/0/2",
        " switchport trunk allowed vlan 200\n switchport mode trunk\n channel-group 5 mode active\n",
    );
    it.has("do show vlan brief", "100  cofferdam-a                      active");
    it.quiet("no interface port-channel 5");
    assert!(!it.device.running().ports.contains_key("Port-channel5") && !it.device.running().ports["GigabitEthernet1/0/2"].up);
    it.quiet("end");
    it.has("show running-config", "vlan 100\n name cofferdam-a\n!\nvlan 200\n!\n");
    it.has_not("show startup-config", "cofferdam-a");
    it.quiet("copy running-config startup-config");
    assert_eq!(it.prompt(), "Destination filename [startup-config]? ");
    assert_eq!(it.ask(""), "Building configuration...\n[OK]\n");
    it.has("show startup-config", "cofferdam-a");
    it.has("show version", "Cisco IOS Software");
    it.has("show interfaces switchport", "Administrative Mode: dynamic auto");
    it.has("show interfaces status", "Gi1/0/4");
}

#[test]
fn eos() {
    let mut it = Console::new("arista_eos");
    it.quiet("configure\nvlan 100,200\nvlan 100\nname cofferdam-a\ninterface Et1");
    assert_eq!(it.prompt(), "leaf1(config-if-Et1)#");
    it.quiet("switchport access vlan 100");
    assert_eq!(it.device.carries("Ethernet1"), carried(100, []));
    it.quiet("switchport mode trunk\nswitchport trunk allowed vlan 100,200\nswitchport trunk native vlan 100");
    assert_eq!(it.device.carries("Ethernet1"), carried(100, [200]));
    it.quiet("switchport trunk native vlan tag");
    assert_eq!(it.device.carries("Ethernet1"), carried(None, [100, 200]));
    it.has(
        "show running-config interfaces Et1",
        "   switchport trunk native vlan tag\n   switchport trunk allowed vlan 100,200\n   switchport mode trunk\n",
    );
    assert_eq!(it.ask("switchport access vlan 4095"), "% Invalid input\n");
    assert_eq!(it.ask("switchport access"), "% Incomplete command\n");
    it.quiet("interface Ethernet2-3\nchannel-group 7 mode active\ninterface Port-Channel7\nswitchport access vlan 200");
    assert_eq!(it.device.carries("Ethernet3"), carried(200, []));
    it.quiet("interface Vxlan1\nvxlan vlan 100 vni 10100\nvxlan vlan 200 vni 10200\nno vxlan vlan 200 vni 10200");
    assert_eq!(it.device.running().vlans[&100].vni, Some(10100));
    assert_eq!(it.device.running().vlans[&200].vni, None);
    it.quiet("router bgp 65001\nvlan 100");
    assert_eq!(it.prompt(), "leaf1(config-macvrf-100)#");
    it.quiet("rd auto\nroute-target export auto 65001\nredistribute learned\nvlan 200\nrd auto\nexit\nno vlan 200\nend");
    it.has(
        "show running-config",
        "router bgp 65001\n   vlan 100\n      rd auto\n      route-target export auto 65001\n      redistribute learned\n!\n",
    );
    it.has_not("show running-config", "   vlan 200\n");
    it.has("show running-config", "vlan 100\n   name cofferdam-a\n!\nvlan 200\n!\n");
    it.has("show running-config | include vxlan", "   vxlan vlan 100 vni 10100\n");
    it.has("write memory", "Copy completed successfully.");
    it.has("show startup-config", "cofferdam-a");
    it.quiet("conf t\nno interface Port-Channel7");
    assert_eq!(it.device.running().ports["Ethernet2"].group, None);
}

#[test]
fn nxos() {
    let mut it = Console::new("cisco_nxos");
    it.quiet("configure terminal\nvlan 100\nname cofferdam-a\nvn-segment 10100\nexit");
    assert_eq!(it.prompt(), "leaf1(config)# ");
    assert_eq!(it.device.running().vlans[&100].vni, Some(10100));
    it.quiet("interface Ethernet1/1\nswitchport access vlan 300");
    assert!(it.device.carries("Ethernet1/1").is_empty(), "VLAN 300 is not declared");
    it.quiet("switchport mode trunk\nswitchport trunk allowed vlan 100");
    assert_eq!(it.device.carries("Ethernet1/1"), carried(None, [100]));
    it.has("switchport access vlan 5000", "% Invalid number at '^' marker.");
    it.has("frob", "% Invalid command at '^' marker.");
    it.has("interface e1/77", "Invalid interface format at '^' marker.");
    it.quiet("interface port-channel 5\nswitchport mode trunk\ninterface e1/2");
    it.has("channel-group 5 mode active", "command failed: port not compatible [port mode]");
    it.quiet("channel-group 5 force mode active");
    assert_eq!(it.device.running().ports["Ethernet1/2"].mode, Mode::Trunk);
    assert_eq!(it.device.running().ports["Ethernet1/2"].group.as_ref().unwrap().protocol, Protocol::Active);
    it.quiet("interface nve1\nmember vni 10100\ningress-replication protocol bgp\nmember vni 10200\nsuppress-arp\nno member vni 10200");
    assert_eq!(it.prompt(), "leaf1(config-if-nve)# ");
    it.quiet("evpn\nvni 10100 l2\nrd auto\nroute-target both auto\nend");
    it.has("show running-config", "interface nve1\n  no shutdown\n  host-reachability protocol bgp\n  source-interface loopback0\n  member vni 10100\n    ingress-replication protocol bgp\n\n");
    it.has("show running-config", "evpn\n  vni 10100 l2\n    rd auto\n    route-target import auto\n    route-target export auto\n");
    it.has("show running-config", "vlan 1,100\nvlan 100\n  name cofferdam-a\n  vn-segment 10100\n");
    it.quiet("conf t\nevpn\nno vni 10100\nend");
    it.has_not("show running-config", "vni 10100 l2");
    it.has("copy run start", "Copy complete.");
    assert_eq!(it.device.running(), it.device.startup());
    it.has("show vlan brief", "1    default");
    let many: BTreeSet<u16> = (2..2000).step_by(2).collect();
    it.device.edit(|config| config.ports.get_mut("Ethernet1/1").unwrap().allowed = Allowed::Only(many));
    it.has("show running-config", "  switchport trunk allowed vlan add ");
}

#[test]
fn os10() {
    let mut it = Console::new("dell_os10");
    it.quiet("configure terminal\ninterface vlan100\ndescription cofferdam-a");
    assert_eq!(it.prompt(), "leaf1(conf-if-vl-100)# ");
    it.quiet("exit\ninterface vlan 200\nexit\ninterface ethernet 1/1/1\nswitchport mode access\nswitchport access vlan 100");
    assert_eq!(it.prompt(), "leaf1(conf-if-eth1/1/1)# ");
    assert_eq!(it.device.carries("ethernet1/1/1"), carried(100, []));
    it.quiet("switchport mode trunk\nswitchport trunk allowed vlan 200");
    assert_eq!(it.device.carries("ethernet1/1/1"), carried(100, [200]));
    it.quiet("no switchport access vlan");
    assert_eq!(it.device.carries("ethernet1/1/1"), carried(None, [200]));
    it.has("switchport access vlan 300", "% Error: vlan300 doesn't exist");
    it.has("switchport access vlan 5000", "% Error: Illegal parameter.");
    it.has("frob", "% Error: Unrecognized command.");
    it.has("channel-group 5 mode active", "% Error: port-channel5 does not exist");
    it.quiet("interface port-channel5\nswitchport mode trunk\nswitchport trunk allowed vlan 100\ninterface ethernet1/1/2\nchannel-group 5 mode active");
    assert_eq!(it.device.carries("ethernet1/1/2"), carried(1, [100]));
    it.quiet("no interface vlan100\nend");
    assert_eq!(it.device.carries("ethernet1/1/2"), carried(1, []));
    it.has("show running-configuration", "interface ethernet1/1/2\n no shutdown\n channel-group 5 mode active\n no switchport\n!\n");
    it.has("show running-configuration", "interface vlan200\n no shutdown\n!\n");
    it.has("show vlan", "200    Active");
    it.quiet("write memory");
    assert_eq!(it.device.running(), it.device.startup());
}

#[test]
fn aoscx() {
    let mut it = Console::new("aruba_aoscx");
    it.quiet("configure terminal\nvlan 100\nname cofferdam-a\nvlan 200\ninterface 1/1/1\nno routing\nvlan access 100");
    assert_eq!(it.device.carries("1/1/1"), carried(100, []));
    it.quiet("vlan trunk allowed 200");
    assert_eq!(it.device.carries("1/1/1"), carried(None, [200]));
    it.quiet("vlan trunk native 100\nvlan trunk allowed 100");
    assert_eq!(it.device.carries("1/1/1"), carried(100, [200]));
    it.quiet("vlan trunk native 100 tag");
    assert_eq!(it.device.carries("1/1/1"), carried(None, [100, 200]));
    it.has("vlan access 300", "VLAN 300 not found.");
    it.has("vlan access 5000", "Invalid input: 5000");
    it.has("vlan access", "% Command incomplete.");
    it.quiet("interface lag 5\nno shutdown\nno routing\nvlan access 200\nlacp mode active\ninterface 1/1/2\nlag 5");
    assert_eq!(it.device.carries("1/1/2"), carried(200, []));
    it.has("vlan access 100", "Operation not allowed on an interface part of a LAG.");
    it.has("show running-config", "interface lag 5\n    no shutdown\n    no routing\n    vlan access 200\n    lacp mode active\n");
    it.has("show running-config", "interface 1/1/2\n    no shutdown\n    lag 5\n");
    it.has("show running-config", "vlan 1\nvlan 100\n    name cofferdam-a\nvlan 200\n");
    it.quiet("interface 1/1/2\nno lag 5\nno interface lag 5\nend");
    it.has("write memory", "Copying configuration: [Success]");
    it.has("show startup-config", "vlan trunk native 100 tag\n    vlan trunk allowed 100,200\n");
}

#[test]
fn comware() {
    let mut it = Console::new("hpe_comware");
    it.has("system-view", "System View: return to User View with Ctrl+Z.");
    it.quiet("vlan 100\nname cofferdam-a\nquit\nvlan 200 to 202\ninterface GigabitEthernet 1/0/1\nport access vlan 100");
    assert_eq!(it.prompt(), "[leaf1-GigabitEthernet1/0/1]");
    assert_eq!(it.device.carries("GigabitEthernet1/0/1"), carried(100, []));
    it.has("port trunk permit vlan 200", "not supported by the port's link type");
    it.quiet("port link-type trunk");
    assert_eq!(it.device.carries("GigabitEthernet1/0/1"), carried(1, []));
    it.quiet("undo port trunk permit vlan 1\nport trunk permit vlan 100 200 to 201\nport trunk pvid vlan 100");
    assert_eq!(it.device.carries("GigabitEthernet1/0/1"), carried(100, [200, 201]));
    it.has("display this", "% Unrecognized command found at '^' position.");
    it.has("vlan 5000", "% Wrong parameter found at '^' position.");
    it.has("port trunk pvid", "% Incomplete command found at '^' position.");
    it.has(
        "display current-configuration",
        " port link-type trunk\n undo port trunk permit vlan 1\n port trunk permit vlan 100 200 201\n port trunk pvid vlan 100\n",
    );
    it.quiet("interface Bridge-Aggregation 5\nlink-aggregation mode dynamic\nport link-type trunk\nport trunk permit vlan 202");
    it.quiet("interface GigabitEthernet1/0/2\nport link-aggregation group 5");
    assert_eq!(it.device.carries("GigabitEthernet1/0/2"), carried(1, [202]));
    assert_eq!(it.device.running().ports["GigabitEthernet1/0/2"].group.as_ref().unwrap().protocol, Protocol::Active);
    it.quiet("quit\nundo interface Bridge-Aggregation 5\nreturn\nsave");
    assert_eq!(it.prompt(), "The current configuration will be written to the device. Are you sure? [Y/N]:");
    it.has("y", "successfully");
    it.has("display saved-configuration", "vlan 100\n name cofferdam-a\n#\nvlan 200 to 202\n#\n");
    it.has("save force", "Saved the current configuration to mainboard device successfully.");
    it.has("display vlan brief", "100       cofferdam-a");
}

#[test]
fn vrp() {
    let mut it = Console::new("huawei_vrp");
    assert_eq!(it.prompt(), "<leaf1>");
    it.ask("system-view");
    it.quiet("vlan 100\nname cofferdam-a\nvlan batch 200 to 202\ninterface 10GE 1/0/1\nport default vlan 100");
    assert_eq!(it.prompt(), "[*leaf1-10GE1/0/1]");
    assert_eq!(it.device.carries("10GE1/0/1"), carried(1, []));
    it.quiet("commit");
    assert_eq!(it.prompt(), "[~leaf1-10GE1/0/1]");
    assert_eq!(it.device.carries("10GE1/0/1"), carried(100, []));
    it.has("port trunk allow-pass vlan 200", "Error: Unrecognized command found at '^' position.");
    it.has("port default vlan 300", "Error: The VLAN does not exist.");
    it.has("port default vlan 0", "Error: Wrong parameter found at '^' position.");
    it.quiet("port link-type trunk\nundo port trunk allow-pass vlan 1\nport trunk allow-pass vlan 200 to 201");
    // Somebody else's commit stays in force beside ours.
    it.device.edit(|config| config.ports.get_mut("10GE1/0/4").unwrap().up = false);
    it.quiet("return");
    assert!(it.prompt().starts_with("Warning: Uncommitted configurations found"));
    it.quiet("y");
    assert_eq!(it.device.carries("10GE1/0/1"), carried(None, [200, 201]));
    assert!(!it.device.running().ports["10GE1/0/4"].up);
    it.ask("system-view");
    it.quiet("interface Eth-Trunk5\nmode lacp-static\nport default vlan 100\ninterface 10GE1/0/2\neth-trunk 5\ncommit");
    assert_eq!(it.device.carries("10GE1/0/2"), carried(100, []));
    it.quiet("shutdown\nquit\nquit");
    it.quiet("n");
    assert!(it.device.running().ports["10GE1/0/2"].up);
    it.has(
        "display current-configuration",
        "interface 10GE1/0/1\n port link-type trunk\n undo port trunk allow-pass vlan 1\n port trunk allow-pass vlan 200 201\n#\n",
    );
    it.has("display current-configuration", "interface Eth-Trunk5\n port default vlan 100\n mode lacp-static\n#\n");
    it.has("display current-configuration", "vlan batch 100 200 to 202\n#\nvlan 100\n name cofferdam-a\n#\n");
    it.has_not("display saved-configuration", "cofferdam-a");
    it.quiet("save");
    it.has("y", "Info: Save the configuration successfully.");
    assert_eq!(it.device.running(), it.device.startup());
    it.device.faults().change(|it| it.partial_commit = Some(super::faults::Partial { lines: 1, then: super::faults::Then::Refuse }));
    it.ask("system-view");
    it.quiet("vlan 300\nquit\ninterface 10GE1/0/3\nport default vlan 300");
    it.has("commit", "Error: Failed to generate committed config.");
    assert!(it.device.running().vlans.contains_key(&300));
    assert_eq!(it.device.running().ports["10GE1/0/3"].access, 1);
}

#[test]
fn mlnxos() {
    let mut it = Console::new("mellanox_mlnxos");
    assert_eq!(it.prompt(), "leaf1 [standalone: master] # ");
    it.quiet("configure terminal\nvlan 100\nname cofferdam-a\nexit\nvlan 200\nexit\ninterface ethernet 1/1\nswitchport mode access\nswitchport access vlan 100");
    assert_eq!(it.prompt(), "leaf1 [standalone: master] (config interface ethernet 1/1) # ");
    assert_eq!(it.device.carries("Eth1/1"), carried(100, []));
    it.has("switchport access vlan 300", "% VLAN 300 does not exist");
    it.has("frob", "% Unrecognized command \"frob\".\nType \"?\" for help.");
    it.quiet(
        "switchport mode hybrid\nswitchport access vlan 100\nswitchport hybrid allowed-vlan none\nswitchport hybrid allowed-vlan add 200",
    );
    assert_eq!(it.device.carries("Eth1/1"), carried(100, [200]));
    it.quiet("switchport mode trunk\nswitchport trunk allowed-vlan 200\nexit");
    assert_eq!(it.device.carries("Eth1/1"), carried(None, [200]));
    it.quiet("interface ethernet 1/1 shutdown\nno interface ethernet 1/1 shutdown\nvlan 100 name cofferdam-b");
    assert_eq!(it.prompt(), "leaf1 [standalone: master] (config) # ");
    it.quiet("interface port-channel 5\nexit\ninterface ethernet 1/2 channel-group 5 mode active\ninterface port-channel 5 switchport access vlan 200");
    assert_eq!(it.device.carries("Eth1/2"), carried(200, []));
    it.has(
        "show running-config",
        "   interface ethernet 1/1 switchport trunk allowed-vlan none\n   interface ethernet 1/1 switchport trunk allowed-vlan add 200\n",
    );
    it.has("show running-config", "   vlan 100 name \"cofferdam-b\"\n");
    it.quiet("configuration write\nno interface port-channel 5\nno vlan 200");
    it.has("show configuration", "channel-group 5 mode active");
    assert_eq!(it.device.running().ports["Eth1/2"].group, None);
}
