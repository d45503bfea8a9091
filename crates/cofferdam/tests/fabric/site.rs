//! Simulated switches and a control plane that knows them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use http::Method;
use lab::netos::{HostKey, Simulator, Spec};
use serde_json::{Value, json};

use crate::support::api::{Answer, Service, Session};
use crate::support::say;
use crate::support::serve::{Serve, Setting};

/// The VLAN of isolated ports, if the configuration names none.
const ISOLATION: u16 = 4094;

/// What the fabric of a test is.
pub struct Shape {
    /// The operating system of each switch.
    pub oses: Vec<&'static str>,
    /// How many ports to machines each has; one more is its uplink.
    pub ports: usize,
    /// Seconds between two looks at a switch of which nothing is known to have changed.
    pub drift_seconds: u32,
    /// Further lines of the configuration.
    pub config: String,
    /// What else is in the environment of the control plane.
    pub environment: Vec<(String, String)>,
}

/// Switches and their control plane.
pub struct Site {
    pub serve: Serve,
    /// Further replicas of it, over the same database.
    pub others: Vec<Serve>,
    pub admin: Session,
    pub switches: Vec<Simulator>,
    /// The names of the ports to machines, by switch.
    pub ports: Vec<Vec<String>>,
    /// The name of the uplink, by switch.
    pub uplinks: Vec<String>,
    /// Ends after the switches, whose tasks run on it.
    pub runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

/// A size that the environment says, else this.
pub fn size(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|it| it.parse().ok()).unwrap_or(otherwise)
}

/// Says what was measured, as `cargo xtask bench fabric` reads it.
pub fn figure(what: &str, value: &str) {
    say(&format!("figure: {what} = {value}"));
}

/// What a switch is called.
pub fn name(nth: usize) -> String {
    format!("leaf{}", nth + 1)
}

/// Its MAC address as machines name it.
fn switch_id(nth: usize) -> String {
    format!("02:cf:00:00:{:02x}:{:02x}", nth >> 8, nth & 255)
}

impl Site {
    /// Starts both.
    pub fn start(shape: &Shape) -> Self {
        Self::with_replicas(shape, None, &[])
    }

    /// Starts switches and a control plane over that database; and further replicas, each with this in its environment besides.
    pub fn with_replicas(shape: &Shape, database_url: Option<String>, others: &[Vec<(String, String)>]) -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-fabric-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut config = format!("[fabric]\nvlan_range = \"100:899\"\ndrift_interval_seconds = {}\n", shape.drift_seconds);
        let (mut switches, mut ports, mut uplinks) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, os) in shape.oses.iter().enumerate() {
            let _on = runtime.enter();
            // One that is spoken to by gNMI.
            let (simulated, gnmi) = match *os {
                "gnmi_openconfig" => ("openconfig", Some(([127, 0, 0, 1], 0).into())),
                os => (os, None),
            };
            let user = if *os == "frr_linux" { "root" } else { "admin" };
            let named = Spec { hostname: name(nth), username: user.to_owned(), ..Spec::new(simulated, shape.ports + 1) };
            let spec = Spec { host_key: HostKey::Shared, gnmi, ..named };
            let switch = Simulator::start(spec).unwrap();
            let endpoint = switch.gnmi_address().map_or_else(|| format!("ssh:{}", switch.address()), |it| it.to_string());
            let mut names: Vec<String> = switch.device().running().port_names().into_iter().cloned().collect();
            let uplink = names.pop().unwrap();
            writeln!(
                config,
                "[[fabric.switch]]\nname = \"{}\"\nswitch_id = \"{}\"\ndriver = \"{os}\"\nendpoint = \"{endpoint}\"\nusername = \"{user}\"\n\
                 password = \"admin\"\nhost_key = \"{}\"\nuplinks = [{uplink:?}]\nports = {names:?}",
                name(nth),
                switch_id(nth),
                switch.host_key()
            )
            .unwrap();
            switches.push(switch);
            ports.push(names);
            uplinks.push(uplink);
        }
        config.push_str(&shape.config);
        let mut setting = Setting::new(&dir.path().join("state"));
        let path = dir.path().join("cofferdam.toml");
        std::fs::write(&path, config).unwrap();
        setting.config = Some(path);
        setting.environment.clone_from(&shape.environment);
        setting.database_url = database_url;
        let base = setting.base();
        let other = |(nth, environment): (usize, &Vec<(String, String)>)| {
            let it = Setting::new(&dir.path().join(format!("state{}", nth + 2)));
            Setting { state_dir: it.state_dir, port: it.port, environment: environment.clone(), ..setting.clone() }
        };
        let others: Vec<Setting> = others.iter().enumerate().map(other).collect();
        let serve = Serve::start(setting);
        let others = others.into_iter().map(Serve::start).collect();
        let admin = Session::admin(&base, &serve.setting.state_dir);
        // Who says where machines are plugged in is a service.
        let id = |path: &str| admin.list(Service::Identity, path)[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/projects/{}/users/{}/roles/{}", admin.project_id, id("/users?name=admin"), id("/roles?name=service"));
        assert_eq!(admin.call(Method::PUT, Service::Identity, &path, None).status, 204);
        let admin = Session::admin(&base, &serve.setting.state_dir);
        Self { serve, others, admin, switches, ports, uplinks, runtime, _dir: dir }
    }

    /// All replicas of the control plane.
    pub fn replicas(&self) -> Vec<&Serve> {
        std::iter::once(&self.serve).chain(&self.others).collect()
    }

    /// A network with a VLAN; its id and the VLAN.
    pub fn network(&self, name: &str) -> (String, u16) {
        let made = self.admin.create(Service::Network, "/networks", "network", &json!({"network": {"name": name}}));
        let id = made["id"].as_str().unwrap().to_owned();
        let vlan = made["provider:segmentation_id"].as_u64().unwrap();
        (id, u16::try_from(vlan).unwrap())
    }

    /// The body of a port that binds a switch port.
    pub fn binding(&self, switch: usize, port: usize) -> Value {
        json!({
            "binding:host_id": format!("machine-{switch}-{port}"),
            "binding:vnic_type": "baremetal",
            "binding:profile": {"local_link_information": [
                {"switch_id": switch_id(switch), "switch_info": name(switch), "port_id": self.ports[switch][port]}
            ]},
        })
    }

    /// Makes a port on the network that binds the switch port; its id.
    pub fn bind(&self, network: &str, switch: usize, port: usize) -> String {
        let mut body = self.binding(switch, port);
        body["network_id"] = json!(network);
        let made = self.admin.call(Method::POST, Service::Network, "/ports", Some(&json!({"port": body})));
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["port"]["id"].as_str().unwrap().to_owned()
    }

    /// Lets a port go.
    pub fn unbind(&self, port: &str) -> Answer {
        self.admin.call(Method::DELETE, Service::Network, &format!("/ports/{port}"), None)
    }

    /// The states of all ports by id.
    pub fn states(&self) -> BTreeMap<String, String> {
        let ports = self.admin.list(Service::Network, "/ports?fields=id&fields=status");
        ports.iter().map(|it| (it["id"].as_str().unwrap().to_owned(), it["status"].as_str().unwrap().to_owned())).collect()
    }

    /// Waits until all these ports are ACTIVE; how long that took.
    pub fn await_active(&self, ports: &[String], deadline: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let states = self.states();
            let left: Vec<&String> = ports.iter().filter(|it| states.get(*it).is_none_or(|state| state != "ACTIVE")).collect();
            if left.is_empty() {
                return began.elapsed();
            }
            assert!(began.elapsed() < deadline, "{} of {} ports are not ACTIVE after {deadline:?}", left.len(), ports.len());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until these ports are no more.
    pub fn await_gone(&self, ports: &[String], deadline: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let states = self.states();
            let left = ports.iter().filter(|it| states.contains_key(*it)).count();
            if left == 0 {
                return began.elapsed();
            }
            assert!(began.elapsed() < deadline, "{left} of {} ports are still there after {deadline:?}", ports.len());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether a port is, by its switch itself: it is shut, or it is up in the VLAN of isolated ports and reaches none of these.
    pub fn is_isolated(&self, switch: usize, port: &str) -> bool {
        let device = self.switches[switch].device();
        let (carried, config) = (device.carries(port), device.running());
        let open = config.ports.get(port).is_some_and(|it| it.up && !it.protected);
        let by_itself = config.ports.get(port).is_some_and(|it| it.protected) && carried.untagged.is_none_or(|it| it == ISOLATION);
        !open && (carried.is_empty() || (by_itself && carried.tagged.is_empty()))
    }

    /// Waits until every port of every switch is isolated, by the switches themselves.
    pub fn await_isolated(&self, deadline: Duration) {
        let began = Instant::now();
        loop {
            let all = (0..self.switches.len()).flat_map(|nth| self.ports[nth].iter().map(move |port| (nth, port)));
            let open: Vec<String> =
                all.filter(|(nth, port)| !self.is_isolated(*nth, port)).map(|(nth, port)| format!("{port} of {}", name(nth))).collect();
            if open.is_empty() {
                return;
            }
            assert!(began.elapsed() < deadline, "not isolated after {deadline:?}: {open:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The VLAN that untagged frames of a machine's port are in.
    pub fn vlan_of(&self, switch: usize, port: usize) -> Option<u16> {
        self.switches[switch].device().carries(&self.ports[switch][port]).untagged
    }
}
