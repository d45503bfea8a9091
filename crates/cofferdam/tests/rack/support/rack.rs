//! A simulated rack of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::serve::Setting;
use super::{BINARY, has_program, ovs, run, run_anyway, say, tail};

/// One rack at a time in this process; the runner takes care of other processes.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The right to have a rack.
struct Turn;

impl Turn {
    fn take() -> Self {
        while TAKEN.swap(true, Ordering::AcqRel) {
            std::thread::sleep(Duration::from_millis(100));
        }
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// A machine's place.
#[derive(Clone, Debug)]
pub struct Cable {
    pub leaf: String,
    pub port: String,
}

/// A rack that runs until this is dropped.
pub struct Rack {
    pub name: String,
    base: Option<tempfile::TempDir>,
    pub description: Value,
    _turn: Turn,
}

/// Why no rack can be had here.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".into());
    }
    ["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool", "ip", "ethtool"]
        .into_iter()
        .find(|name| !has_program(name))
        .map(|name| format!("no {name} (Debian: openvswitch-switch iproute2 ethtool)"))
}

impl Rack {
    /// Starts one; says why if none can be had.
    pub fn up(letter: char, machines: usize) -> Option<Self> {
        Self::up_with(letter, machines, &[])
    }

    /// The same with further options of `cofferdam lab up`.
    pub fn up_with(letter: char, machines: usize, options: &[&str]) -> Option<Self> {
        if let Some(reason) = missing() {
            say(&format!("skipped: {reason}"));
            return None;
        }
        let turn = Turn::take();
        let name = format!("t{}{letter}", std::process::id());
        let base = tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir().unwrap();
        // From here on the guard takes it down, also if starting it fails half-way.
        let mut rack = Self { name, base: Some(base), description: Value::Null, _turn: turn };
        let dir = rack.dir();
        let shape = ["--leaves", "2", "--machines", &machines.to_string(), "--disk-gb", "2"].map(str::to_owned);
        let text = run(rack.lab("up").args(shape).args(options).arg("--json"));
        rack.description = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        Some(rack)
    }

    fn base(&self) -> &Path {
        self.base.as_ref().unwrap().path()
    }

    pub fn dir(&self) -> PathBuf {
        self.base().join("rack")
    }

    pub fn lab(&self, verb: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["lab", verb, "--name", &self.name, "--dir"]).arg(self.dir());
        command
    }

    /// A control plane for this rack that has only these VLANs for tenants.
    pub fn setting(&self, vlans: (u16, u16)) -> Setting {
        let text = std::fs::read_to_string(self.dir().join("cofferdam.toml")).unwrap();
        let (before, rest) = text.split_once("vlan_range = ").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        let first = super::free_port(11_000, 4_000);
        let access = format!("[access]\nfirst_port = {first}\nlast_port = {}\n", first + 9);
        let text = format!("{before}vlan_range = \"{}:{}\"\n{after}\n{access}", vlans.0, vlans.1);
        let path = self.base().join("cofferdam.toml");
        std::fs::write(&path, text).unwrap();
        Setting { config: Some(path), ..Setting::new(&self.base().join("state")) }
    }

    pub fn machines(&self) -> &[Value] {
        self.description["machines"].as_array().unwrap()
    }

    pub fn cable(&self, machine: &str) -> Cable {
        let it = self.machines().iter().find(|it| it["name"] == machine).unwrap();
        Cable { leaf: it["leaf"].as_str().unwrap().to_owned(), port: it["port"].as_str().unwrap().to_owned() }
    }

    /// Where the database of a switch listens.
    pub fn database(&self, switch: &str) -> String {
        let leaves = self.description["leaves"].as_array().unwrap();
        let it = leaves.iter().chain([&self.description["edge"]]).find(|it| it["name"] == switch).unwrap();
        it["ovsdb"].as_str().unwrap().to_owned()
    }

    fn leaves(&self) -> Vec<String> {
        self.description["leaves"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The VLAN that each machine is in, by its leaf's own database.
    pub fn vlans(&self) -> Result<BTreeMap<String, ovs::Seen>, String> {
        let mut out = BTreeMap::new();
        for leaf in self.leaves() {
            let ports = ovs::ports(&self.database(&leaf))?;
            for machine in self.machines().iter().filter(|it| it["leaf"] == leaf.as_str()) {
                let port = ports.get(machine["port"].as_str().unwrap()).ok_or("a machine's port is absent")?;
                out.insert(machine["name"].as_str().unwrap().to_owned(), port.clone());
            }
        }
        Ok(out)
    }

    /// The process of a switch's database.
    pub fn database_pid(&self, switch: &str) -> u32 {
        std::fs::read_to_string(self.dir().join(switch).join("ovsdb-server.pid")).unwrap().trim().parse().unwrap()
    }

    /// The namespaces by which the control plane is on networks.
    pub fn attachments(&self) -> BTreeSet<String> {
        let prefix = format!("cd-{}-n-", self.name);
        self.namespaces().into_iter().filter(|name| name.starts_with(&prefix)).collect()
    }

    fn namespaces(&self) -> BTreeSet<String> {
        let prefix = format!("cd-{}-", self.name);
        let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        entries.map(|it| it.file_name().to_string_lossy().into_owned()).filter(|name| name.starts_with(&prefix)).collect()
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for machine in self.description["machines"].as_array().into_iter().flatten() {
                let console = machine["console"].as_str().unwrap_or_default();
                say(&format!("--- console of {} ---\n{}", machine["name"], tail(Path::new(console), 12)));
            }
        }
        let output = run_anyway(&mut self.lab("down"));
        if !output.status.success() {
            say(&format!("rack {} cannot be taken down: {}", self.name, String::from_utf8_lossy(&output.stderr)));
        }
        let left = self.namespaces();
        if !left.is_empty() && !std::thread::panicking() {
            panic!("rack {} left namespaces: {left:?}", self.name);
        }
        if std::env::var_os("COFFERDAM_TEST_KEEP").is_some()
            && let Some(base) = self.base.take()
        {
            say(&format!("kept: {}", base.keep().display()));
        }
    }
}
