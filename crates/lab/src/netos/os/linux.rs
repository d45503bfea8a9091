//! Switches that are Linux machines: Open vSwitch with `ovs-vsctl`, and the kernel's bridge with `ip` and `bridge` beside FRR.
//!
//! The database of Open vSwitch outlasts a restart by itself; what `ip` and `bridge` set does not.

mod bridge;
mod ovsdb;

use std::sync::Arc;

use super::shell::{Machine, Programs, Ran, Shell};
use super::{Answer, Login, Os, Session, Shape, Weight, vtysh};
use crate::netos::device::{Committed, Config, Device, Rules};
use crate::netos::faults::Then;

/// Where the lines of FRR are kept in [`Config::extra`].
const FRR: &str = "frr.conf";

/// Open vSwitch over SSH.
pub(super) struct Ovs;

/// The kernel's bridge and FRR.
pub(super) struct Frr;

impl Os for Ovs {
    fn name(&self) -> &'static str {
        "ovs_ssh"
    }

    fn rules(&self) -> Rules {
        Rules { declares_vlans: false, native_must_be_allowed: false }
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| (format!("eth{it}"), ovsdb::added())).collect();
        Config { hostname: shape.hostname.clone(), ports, ..Config::default() }
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Shell::new(Host::new(device, login, true)))
    }

    fn greeting(&self, _device: &Device) -> String {
        GREETING.to_owned()
    }

    fn is_shell(&self) -> bool {
        true
    }

    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        Shell::new(Host::new(device, login, true)).exec(device.faults(), command)
    }
}

impl Os for Frr {
    fn name(&self) -> &'static str {
        "frr_linux"
    }

    fn rules(&self) -> Rules {
        Rules { declares_vlans: false, native_must_be_allowed: false }
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (1..=shape.ports).map(|it| (format!("swp{it}"), bridge::loose(true))).collect();
        let mut config = Config { hostname: shape.hostname.clone(), ports, ..Config::default() };
        for number in 1..=shape.ports {
            let words = ["link", "set", &format!("swp{number}"), "master", bridge::BRIDGE].map(str::to_owned);
            // The devices were made just above.
            let _done = bridge::ip(&words, &mut config);
        }
        config
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Shell::new(Host::new(device, login, false)))
    }

    fn greeting(&self, _device: &Device) -> String {
        GREETING.to_owned()
    }

    fn is_shell(&self) -> bool {
        true
    }

    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        Shell::new(Host::new(device, login, false)).exec(device.faults(), command)
    }
}

const GREETING: &str =
    "Linux leaf 6.1.0-22-amd64 #1 SMP PREEMPT_DYNAMIC Debian x86_64\n\nLast login: Sun Nov 22 00:00:00 2026 from 10.0.0.1\n";

struct Host {
    device: Arc<Device>,
    user: String,
    root: bool,
    ovs: bool,
    then: Option<Then>,
}

impl Host {
    fn new(device: &Arc<Device>, login: &Login, ovs: bool) -> Self {
        Self { device: Arc::clone(device), user: login.user.clone(), root: login.user == "root", ovs, then: None }
    }

    fn vsctl(&mut self, args: &[String]) -> Ran {
        let reads = |it: &String| {
            it.starts_with('-') || ["list", "find", "get", "show", "list-br", "list-ports", "list-ifaces"].contains(&it.as_str())
        };
        if !self.root && !args.iter().any(reads) {
            return Ran::failed(1, "ovs-vsctl: unix:/var/run/openvswitch/db.sock: database connection failed (Permission denied)\n");
        }
        let before = self.device.running();
        let mut config = (*before).clone();
        let ran = ovsdb::vsctl(args, &mut config);
        if config != *before {
            if let Committed::Partly(then) = self.device.commit(config) {
                self.then = Some(then).filter(|it| *it != Then::Refuse);
                return Ran::failed(1, "ovs-vsctl: transaction error: {\"details\":\"write error\",\"error\":\"I/O error\"}\n");
            }
            // The database is on disk as soon as the transaction is made.
            self.device.set_startup((*self.device.running()).clone());
        }
        ran
    }

    fn netlink(&mut self, run: fn(&[String], &mut Config) -> Ran, args: &[String]) -> Ran {
        let before = self.device.running();
        let mut config = (*before).clone();
        let ran = run(args, &mut config);
        if config != *before {
            if !self.root {
                return Ran::failed(2, "RTNETLINK answers: Operation not permitted\n");
            }
            self.device.edit(|it| *it = config);
        }
        ran
    }

    fn vtysh(&mut self, args: &[String]) -> Ran {
        let mut lines = self.device.running().extra.get(FRR).cloned().unwrap_or_default();
        let before = lines.clone();
        let (ran, asked) = vtysh::run(args, &mut lines);
        if lines != before {
            let lines = lines.clone();
            self.device.edit(|it| it.extra.insert(FRR.to_owned(), lines));
        }
        if asked == vtysh::Asked::Save {
            let mut startup = (*self.device.startup()).clone();
            startup.extra.insert(FRR.to_owned(), lines);
            self.device.faults().count_save();
            self.device.set_startup(startup);
        }
        ran
    }
}

impl Programs for Host {
    fn program(&mut self, words: &[String], _input: &str) -> Option<Ran> {
        let (name, args) = words.split_first()?;
        Some(match name.trim_start_matches("/usr/bin/").trim_start_matches("/sbin/").trim_start_matches("/usr/sbin/") {
            "ovs-vsctl" if self.ovs => self.vsctl(args),
            "ip" if !self.ovs => self.netlink(bridge::ip, args),
            "bridge" if !self.ovs => self.netlink(bridge::bridge, args),
            "vtysh" if !self.ovs => self.vtysh(args),
            "cat" if args.first().is_some_and(|it| it == "/etc/os-release") => {
                Ran::ok("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n")
            }
            "cat" => Ran::failed(1, format!("cat: {}: No such file or directory\n", args.first().map_or("", String::as_str))),
            _ => return None,
        })
    }

    fn user(&self) -> String {
        self.user.clone()
    }

    fn host(&self) -> String {
        self.device.running().hostname.clone()
    }

    fn elevate(&mut self, root: bool) {
        self.root = root || self.user == "root";
    }
}

impl Machine for Host {
    fn prompt(&self) -> String {
        let sign = if self.user == "root" { '#' } else { '$' };
        format!("{}@{}:~{sign} ", self.user, self.host())
    }

    fn weight(&self, line: &str) -> Weight {
        if self.ovs && self.changes(line) { Weight::Commit } else { Weight::Light }
    }

    fn changes(&self, line: &str) -> bool {
        let verbs = [" set ", " clear ", " add ", " remove ", " del ", " add-", " del-", "configure terminal", " delete "];
        verbs.iter().any(|it| line.contains(it))
    }

    fn refuse(&self, _line: &str) -> Ran {
        if self.ovs {
            Ran::failed(1, "ovs-vsctl: unix:/var/run/openvswitch/db.sock: database connection failed (No such file or directory)\n")
        } else {
            Ran::failed(2, "RTNETLINK answers: Operation not permitted\n")
        }
    }

    fn take_then(&mut self) -> Option<Then> {
        self.then.take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::netos::device::{Allowed, Carried, Mode};

    fn switch(os: &dyn Os) -> (Arc<Device>, Box<dyn Session>) {
        let device = Arc::new(Device::new([2; 6], os.rules(), os.factory(&Shape { hostname: "leaf1".into(), ports: 4 })));
        let session = os.login(&device, &Login { user: "root".into(), enable_password: None, privileged: true });
        (device, session)
    }

    fn taken(session: &mut dyn Session, line: &str) -> String {
        let answer = session.line(line);
        assert_eq!(answer.status, 0, "{line}: {}", answer.text);
        answer.text
    }

    fn refused(session: &mut dyn Session, line: &str) -> String {
        let answer = session.line(line);
        assert_ne!(answer.status, 0, "{line}: {}", answer.text);
        answer.text
    }

    fn json(session: &mut dyn Session, line: &str) -> Value {
        serde_json::from_str(&taken(session, line)).expect(line)
    }

    #[test]
    fn columns_of_ports_say_what_passes() {
        let (device, mut session) = switch(&Ovs);
        taken(&mut *session, "ovs-vsctl set port eth1 vlan_mode=access tag=10 -- set port eth2 trunks=10,20 other_config:x=y");
        assert_eq!(device.carries("eth1").untagged, Some(10));
        assert_eq!(device.carries("eth2"), Carried { untagged: None, tagged: BTreeSet::from([10, 20]) });
        taken(
            &mut *session,
            "ovs-vsctl add port eth2 trunks 30; ovs-vsctl remove port eth2 trunks 10; ovs-vsctl set port eth2 vlan_mode=native-untagged tag=40",
        );
        assert_eq!(device.carries("eth2"), Carried { untagged: Some(40), tagged: BTreeSet::from([20, 30]) });
        assert_eq!(taken(&mut *session, "ovs-vsctl get port eth2 trunks tag other_config:x"), "[20, 30]\n40\ny\n");
        assert_eq!(refused(&mut *session, "ovs-vsctl set port eth9 tag=1"), "ovs-vsctl: no row \"eth9\" in table port\n");
        // All or nothing.
        assert!(refused(&mut *session, "ovs-vsctl clear port eth1 tag -- set port eth2 tag=5000").contains("not in the valid range"));
        assert_eq!(device.carries("eth1").untagged, Some(10));
        let table = json(&mut *session, "ovs-vsctl --format=json --columns=name,tag,trunks,vlan_mode list Port");
        assert_eq!(table["headings"], serde_json::json!(["name", "tag", "trunks", "vlan_mode"]));
        assert_eq!(table["data"][2], serde_json::json!(["eth2", 40, ["set", [20, 30]], "native-untagged"]));
        assert_eq!(table["data"][3], serde_json::json!(["eth3", ["set", []], ["set", []], ["set", []]]));
        device.reboot(Duration::ZERO);
        assert_eq!(device.carries("eth1").untagged, Some(10));
        taken(&mut *session, "ovs-vsctl clear port eth1 tag trunks vlan_mode");
        assert_eq!(device.carries("eth1").tagged.len(), 4094);
    }

    #[test]
    fn bonds_are_ports_of_several_interfaces() {
        let (device, mut session) = switch(&Ovs);
        assert!(refused(&mut *session, "ovs-vsctl add-bond br0 bond0 eth1 eth2").contains("already exists"));
        taken(
            &mut *session,
            "ovs-vsctl del-port br0 eth1 -- del-port eth2 -- add-bond br0 bond0 eth1 eth2 lacp=active -- set port bond0 tag=10",
        );
        assert_eq!(device.carries("eth2").untagged, Some(10));
        assert_eq!(taken(&mut *session, "ovs-vsctl list-ports br0"), "bond0\neth3\neth4\n");
        taken(&mut *session, "ovs-vsctl del-port bond0 -- --may-exist add-port br0 eth1 tag=20");
        assert_eq!(device.carries("eth1").untagged, Some(20));
        assert!(device.carries("eth2").is_empty());
        device.edit(|it| it.ports.values_mut().for_each(|it| it.access = 66));
        assert_eq!(taken(&mut *session, "ovs-vsctl get port eth1 tag"), "66\n");
    }

    #[test]
    fn the_kernels_bridge_filters_vlans_until_it_restarts() {
        let (device, mut session) = switch(&Frr);
        assert_eq!(device.carries("swp1").untagged, Some(1));
        taken(&mut *session, "bridge vlan add dev swp1 vid 10 pvid untagged && bridge vlan del dev swp1 vid 1");
        taken(&mut *session, "bridge vlan add dev swp2 vid 20-22");
        assert_eq!(device.carries("swp1"), Carried { untagged: Some(10), tagged: BTreeSet::new() });
        assert_eq!(device.carries("swp2"), Carried { untagged: Some(1), tagged: BTreeSet::from([20, 21, 22]) });
        let shown = json(&mut *session, "bridge -json -compressvlans vlan show");
        assert_eq!(shown[0], serde_json::json!({"ifname": "swp1", "vlans": [{"vlan": 10, "flags": ["PVID", "Egress Untagged"]}]}));
        assert_eq!(shown[1]["vlans"][1], serde_json::json!({"vlan": 20, "vlanEnd": 22}));
        assert_eq!(refused(&mut *session, "bridge vlan add dev swp9 vid 10"), "Cannot find device \"swp9\"\n");
        assert_eq!(taken(&mut *session, "ip link set swp3 down alias 'a b'; echo $?"), "0\n");
        assert!(device.carries("swp3").is_empty());
        assert_eq!(json(&mut *session, "ip -j -d link show dev swp3")[0]["ifalias"], "a b");
        device.reboot(Duration::ZERO);
        assert_eq!(device.carries("swp1").untagged, Some(1), "nobody saved it");
    }

    #[test]
    fn bonds_and_tunnels_are_devices() {
        let (device, mut session) = switch(&Frr);
        taken(&mut *session, "ip link add bond0 type bond mode 802.3ad");
        assert!(refused(&mut *session, "ip link set swp1 master bond0").contains("can not be enslaved while up"));
        taken(&mut *session, "ip link set swp1 down; ip link set swp1 master bond0; ip link set bond0 up master br0");
        taken(&mut *session, "bridge vlan add dev bond0 vid 10 pvid untagged; bridge vlan del dev bond0 vid 1");
        assert_eq!(device.carries("swp1").untagged, Some(10));
        taken(
            &mut *session,
            "ip link add vxlan10 type vxlan id 1000 local 10.0.0.1 dstport 4789 nolearning; ip link set vxlan10 up master br0",
        );
        taken(&mut *session, "bridge vlan add dev vxlan10 vid 10 pvid untagged; bridge vlan del dev vxlan10 vid 1");
        assert_eq!(device.running().vlans.get(&10).and_then(|it| it.vni), Some(1000));
        assert_eq!(json(&mut *session, "ip -json -details link show type vxlan")[0]["linkinfo"]["info_data"]["id"], 1000);
        taken(&mut *session, "ip link del vxlan10; ip link del bond0");
        assert_eq!(device.running().vlans.get(&10).and_then(|it| it.vni), None);
        assert!(device.carries("swp1").is_empty());
        device.edit(|it| {
            if let Some(port) = it.ports.get_mut("swp2") {
                (port.mode, port.native, port.allowed) = (Mode::Trunk, None, Allowed::Only(BTreeSet::from([66])));
            }
        });
        assert_eq!(json(&mut *session, "bridge -j vlan show dev swp2")[0]["vlans"], serde_json::json!([{"vlan": 66}]));
    }
}
