//! One switch and its driver, and what must hold between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drivers::switch::{
    self, Ensured, Facts, IsolatesBy, LagProtocol, Login, Managed, Overlay, PortMode, PortWanted, SeenMode, Switch, SwitchConfig,
    SwitchError, SwitchWanted, Trust, VlanWanted, Vni, differs,
};
use lab::netos::device::{Carried, Config, Mode, Port};
use lab::netos::{Simulator, Spec, os};
use model::Secret;
use model::net::VlanId;

/// The VLAN of isolated ports.
pub const ISOLATION: u16 = 1999;
/// The first and the last of the VLANs that are ours.
pub const OURS: (u16, u16) = (1100, 1199);
/// How long a driver may take to find out that a switch is silent.
pub const SILENCE: Duration = Duration::from_secs(40);

/// How a driver is tried.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The driver.
    pub driver: &'static str,
    /// The simulated operating system behind it.
    pub os: &'static str,
}

impl Kind {
    /// Open vSwitch has no descriptions of its own.
    pub fn has_descriptions(self) -> bool {
        self.os != "ovs_ssh"
    }
}

pub fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

pub fn vlans(ids: impl IntoIterator<Item = u16>) -> BTreeSet<VlanId> {
    ids.into_iter().map(vlan).collect()
}

pub fn trunk(native: Option<u16>, tagged: impl IntoIterator<Item = u16>) -> PortMode {
    PortMode::Trunk { native: native.map(vlan), tagged: vlans(tagged) }
}

pub struct Rig {
    pub kind: Kind,
    pub sim: Simulator,
    pub switch: Box<dyn Switch>,
    pub facts: Facts,
    /// The names of its sockets.
    pub ports: Vec<String>,
    pub wanted: SwitchWanted,
}

/// Where and how the simulator is reached by its driver.
pub fn config(kind: Kind, sim: &Simulator) -> SwitchConfig {
    let endpoint = match sim.gnmi_address() {
        Some(address) if kind.driver.starts_with("gnmi") => address.to_string(),
        _ => format!("ssh:{}:{}", sim.address().ip(), sim.address().port()),
    };
    let bridge = if kind.os == "ovs_ssh" { "br0" } else { "" };
    SwitchConfig {
        login: Login { username: user(kind).to_owned(), password: Some(Secret::new("admin")), ..Login::default() },
        trust: Trust {
            host_key: Some(sim.host_key().to_owned()),
            ca: kind.driver.starts_with("gnmi").then(|| lab::netos::gnmi::certificate().unwrap().to_owned()),
            ..Trust::default()
        },
        // The simulated Linux has no VXLAN device that VLANs could be mapped on.
        overlay: (kind.os != "frr_linux").then(|| Overlay { vtep: String::new(), bgp_as: 65001 }),
        ..SwitchConfig::plain("leaf1", kind.driver, &endpoint, bridge, vlan(ISOLATION))
    }
}

/// Who logs in: on a plain Linux only root may.
pub fn user(kind: Kind) -> &'static str {
    if ["frr_linux", "ovs_ssh"].contains(&kind.os) { "root" } else { "admin" }
}

/// Starts the simulator of this operating system; `None`, and why, if there is none.
pub fn simulator(kind: Kind) -> Option<Simulator> {
    if os::find(kind.os).is_none() || !switch::DRIVERS.contains(&kind.driver) {
        println!("skipped: there is no simulator {} or no driver {}", kind.os, kind.driver);
        return None;
    }
    Some(Simulator::start(spec(kind, 12)).unwrap())
}

/// A switch of this kind with so many ports.
pub fn spec(kind: Kind, ports: usize) -> Spec {
    let mut spec = Spec { username: user(kind).to_owned(), ..Spec::new(kind.os, ports) };
    if kind.driver.starts_with("gnmi") {
        spec.gnmi = Some(([127, 0, 0, 1], 0).into());
    }
    spec
}

impl Rig {
    pub fn start(kind: Kind) -> Option<Self> {
        simulator(kind).map(|sim| Self::around(kind, sim))
    }

    pub fn around(kind: Kind, sim: Simulator) -> Self {
        let running = sim.device().running();
        let ports: Vec<String> = running.port_names().into_iter().filter(|it| !running.ports[*it].is_group).cloned().collect();
        let switch = switch::open(config(kind, &sim)).unwrap();
        let facts = switch.facts();
        let managed = Managed { range: Some((vlan(OURS.0), vlan(OURS.1))), also: vlans([ISOLATION]) };
        let wanted = SwitchWanted { managed, ..SwitchWanted::default() };
        let mut out = Self { kind, sim, switch, facts, ports, wanted };
        out.declare(ISOLATION);
        out
    }

    /// The operator has made the switch ready for VXLAN networks.
    pub fn prepare_overlay(&self) {
        for (line, answer) in self.sim.prepare_overlay() {
            println!("{line}: {answer}");
        }
    }

    /// Connects anew, with another configuration.
    pub fn reopen(&mut self, change: impl FnOnce(&mut SwitchConfig)) {
        let mut config = config(self.kind, &self.sim);
        change(&mut config);
        self.switch = switch::open(config).unwrap();
    }

    pub fn port(&self, nth: usize) -> String {
        self.ports[nth].clone()
    }

    pub fn lag(&self) -> String {
        switch::lag_name(self.kind.driver, 5).expect("a switch that has groups has names for them")
    }

    pub fn declare(&mut self, id: u16) {
        self.wanted.vlans.insert(vlan(id), VlanWanted { name: format!("cofferdam-{id}"), vni: None });
    }

    pub fn map(&mut self, id: u16, vni: u32) {
        self.declare(id);
        self.wanted.vlans.get_mut(&vlan(id)).unwrap().vni = Vni::new(vni);
    }

    pub fn want(&mut self, nth: usize, mode: PortMode) {
        let description = format!("cofferdam port {nth}");
        self.wanted.ports.insert(self.port(nth), PortWanted { mode, description });
    }

    pub fn running(&self) -> std::sync::Arc<Config> {
        self.sim.device().running()
    }

    pub async fn ensure(&self) -> Result<Ensured, SwitchError> {
        self.switch.ensure(&self.wanted).await
    }

    /// Makes the wanted so, and proves it: by what the driver read, by the switch itself, and by asking again, which changes nothing.
    pub async fn must(&self) -> Ensured {
        let done = self.ensure().await.unwrap_or_else(|error| panic!("{}: {error}", self.kind.driver));
        for port in done.after.ports.keys().chain(done.after.lags.keys()) {
            assert_eq!(switch::port_name(self.kind.driver, port), *port, "{}", self.kind.driver);
        }
        let left = differs(&self.wanted, &done.after, &self.facts);
        if !left.is_empty() {
            println!("{}", self.shown());
        }
        assert!(
            left.is_empty(),
            "{}: read back otherwise: {:?}",
            self.kind.driver,
            left.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        self.check();
        let again = self.ensure().await.unwrap();
        assert!(!again.committed, "{}: nothing was to be done, and yet it was", self.kind.driver);
        assert_eq!(again.after, done.after);
        done
    }

    /// What the switch shows of its configuration to who sits before it.
    pub fn shown(&self) -> String {
        let lines: &[&str] = match self.kind.os {
            "juniper_junos" => &["show configuration | display set | no-more"],
            "cumulus_nvue" => &["nv config show -o commands"],
            "hpe_comware" | "huawei_vrp" => &["display current-configuration"],
            "sonic" => &["show runningconfiguration all"],
            "nokia_srl" => &["info flat", "bash cat /etc/opt/srlinux/config.json"],
            "frr_linux" => &["ip -details link show", "bridge vlan show"],
            "ovs_ssh" => &["ovs-vsctl list Port"],
            "dell_os10" | "mellanox_mlnxos" => &["enable", "show running-config", "show running-configuration"],
            _ => &["enable", "terminal length 0", "show running-config"],
        };
        self.sim.type_lines(lines.iter().copied()).join("\n")
    }

    /// The switch's own state is as wanted, now and after a restart.
    pub fn check(&self) {
        self.check_config(&self.running(), "running");
        // A Linux bridge keeps nothing; Open vSwitch has nothing but what it keeps.
        if !["frr_linux", "ovs_ssh"].contains(&self.kind.driver) {
            self.check_config(&self.sim.device().startup(), "startup");
        }
    }

    fn check_config(&self, config: &Config, which: &str) {
        let rules = self.sim.device().rules();
        for (name, it) in &self.wanted.ports {
            let what = format!("{} {which} {name} wanted {}", self.kind.driver, it.mode);
            let port = config.ports.get(name).unwrap_or_else(|| panic!("{what}: no such port"));
            assert!(is_in_mode(config, rules, name, &it.mode, self.facts.isolates_by), "{what}: {port:?}");
            if !it.description.is_empty() && self.kind.has_descriptions() {
                assert_eq!(port.description, it.description, "{what}");
            }
        }
        for (name, wanted) in &self.wanted.uplinks {
            let tagged = config.carries(name, rules).tagged;
            let ours: BTreeSet<VlanId> = tagged.iter().map(|it| vlan(*it)).filter(|it| self.wanted.managed.contains(*it)).collect();
            assert_eq!(&ours, wanted, "{} {which} uplink {name}", self.kind.driver);
        }
        if self.facts.declares_vlans {
            for (id, it) in &self.wanted.vlans {
                let found = config.vlans.get(&id.get()).unwrap_or_else(|| panic!("{} {which} has no VLAN {id}", self.kind.driver));
                // Where the key is made of the number, the name is its description.
                let key = format!("mac-vrf-{id}");
                let named = found.name.as_ref().is_none_or(|name| *name == it.name || *name == key);
                assert!(named, "{which} VLAN {id}: {found:?}");
                assert_eq!(found.vni, it.vni.map(Vni::get), "{} {which} VLAN {id}", self.kind.driver);
            }
            let ours = config.vlans.keys().copied().filter(|it| self.wanted.managed.contains(vlan(*it)));
            let wanted: Vec<u16> = self.wanted.vlans.keys().map(|it| it.get()).collect();
            assert_eq!(ours.collect::<Vec<_>>(), wanted, "{} {which} declared VLANs of ours", self.kind.driver);
        }
        for (lag, protocol) in &self.wanted.lags {
            assert!(config.ports.get(lag).is_some_and(|it| it.is_group), "{} {which} has no group {lag}", self.kind.driver);
            let members = config.members(lag);
            for member in members {
                use lab::netos::device::Protocol;
                // Some say it at the members, others at the group.
                let said = config.groups.get(lag).and_then(|it| it.protocol).or(config.ports[member].group.as_ref().map(|it| it.protocol));
                let expected = if *protocol == LagProtocol::Lacp { Protocol::Active } else { Protocol::Static };
                assert_eq!(said, Some(expected), "{} {which} group {lag}", self.kind.driver);
            }
        }
        assert_eq!(
            config
                .ports
                .iter()
                .filter(|(name, it)| it.is_group && !self.wanted.lags.contains_key(*name) && it.description.starts_with("cofferdam"))
                .count(),
            0,
            "{} {which}: a group of ours is left",
            self.kind.driver
        );
    }

    /// All of a configuration that is not ours.
    pub fn foreign(&self) -> (BTreeMap<String, Port>, BTreeMap<u16, lab::netos::device::Vlan>, Config) {
        let mut rest = (*self.running()).clone();
        // What an access port would be as a trunk is one setting with what it is, on some.
        for port in rest.ports.values_mut().filter(|it| it.mode == Mode::Access) {
            port.native = None;
        }
        let is_ours =
            |name: &String| self.wanted.ports.contains_key(name) || self.wanted.uplinks.contains_key(name) || *name == self.lag_or_none();
        let ports = std::mem::take(&mut rest.ports).into_iter().filter(|(name, _)| !is_ours(name)).collect();
        let vlans = std::mem::take(&mut rest.vlans).into_iter().filter(|(id, _)| !self.wanted.managed.contains(vlan(*id))).collect();
        rest.groups.clear();
        // Some keep the lines of ports and VLANs there too.
        let names: Vec<&String> = self.wanted.ports.keys().chain(self.wanted.uplinks.keys()).collect();
        for lines in rest.extra.values_mut() {
            let is_ours = |line: &String| line.contains("cofferdam") || line.split(' ').any(|word| names.iter().any(|it| *it == word));
            lines.retain(|line| !is_ours(line));
        }
        (ports, vlans, rest)
    }

    fn lag_or_none(&self) -> String {
        switch::lag_name(self.kind.driver, 5).unwrap_or_default()
    }
}

/// Whether a port is really in a mode: by the frames that pass it.
pub fn is_in_mode(config: &Config, rules: lab::netos::device::Rules, name: &str, mode: &PortMode, by: IsolatesBy) -> bool {
    let Some(port) = config.ports.get(name) else { return false };
    let carried = config.carries(name, rules);
    match mode {
        PortMode::Isolated => {
            // Were it up, nothing but the isolation VLAN would pass.
            let mut up = config.clone();
            if let Some(it) = up.ports.get_mut(name) {
                it.up = true;
            }
            let harmless = Carried { untagged: Some(ISOLATION), tagged: BTreeSet::new() };
            let would = up.carries(name, rules);
            let shut = by == IsolatesBy::Protection || !port.up;
            let protected = by == IsolatesBy::Shutdown || port.protected;
            port.group.is_none() && shut && protected && would == harmless
        }
        // Where there is no trunk of nothing, a port that reaches nobody is one.
        PortMode::Trunk { native: None, tagged } if tagged.is_empty() => {
            carried.is_empty() || is_in_mode(config, rules, name, &PortMode::Isolated, by)
        }
        PortMode::Access(id) => !port.protected && carried == Carried { untagged: Some(id.get()), tagged: BTreeSet::new() },
        PortMode::Trunk { native, tagged } => {
            let tagged = tagged.iter().map(|it| it.get()).collect();
            carried == Carried { untagged: native.map(VlanId::get), tagged }
        }
        PortMode::Member { lag } => port.up && port.group.as_ref().is_some_and(|it| it.group == *lag),
    }
}

pub fn seen(done: &Ensured, port: &str) -> SeenMode {
    done.after.mode(port).clone()
}

/// Makes a port what an operator might have made of it: a trunk to another switch.
pub fn operators_trunk(kind: Kind, port: &mut Port, allowed: impl IntoIterator<Item = u16>) {
    if kind.os == "mellanox_mlnxos" {
        // Trunks drop untagged frames there.
        port.native = None;
    }
    port.up = true;
    port.routed = false;
    port.negotiates = false;
    port.mode = Mode::Trunk;
    port.allowed = lab::netos::device::Allowed::Only(allowed.into_iter().collect());
    port.description = "to the spine".to_owned();
}
