//! What a rack is made of: names, addresses and files. Everything here is decided before anything is started, so that the same
//! rack comes back with the same names after a crash.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// VLAN of ports nobody may use; never carried by a trunk.
pub const ISOLATION_VLAN: u16 = 4094;
/// The one VLAN an unconfigured trunk lets through: 4095 is reserved (IEEE 802.1Q-2022, table 9-2), so no frame carries it.
/// An empty list would mean "every VLAN" to Open vSwitch.
pub const NO_VLAN: u16 = 4095;
/// Most leaves of a rack.
pub const MAX_LEAVES: usize = 16;
/// Most machines of a rack.
pub const MAX_MACHINES: usize = 64;
/// Longest path of a Unix socket (`sun_path` of unix(7), less its terminating zero).
const MAX_SOCKET_PATH: usize = 107;

/// A simulated rack, as rack.json describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rack {
    /// Its name; part of the name of every kernel object it makes.
    pub name: String,
    /// Where its files are.
    pub dir: PathBuf,
    /// The leaf switches, each joined to the next by a trunk.
    pub leaves: Vec<Leaf>,
    /// The virtual switch of the control plane's host, joined to the first leaf.
    pub edge: Leaf,
    /// The machines.
    pub machines: Vec<Machine>,
}

/// A switch: one Open vSwitch instance in a network namespace of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leaf {
    /// Its name, unique in the rack.
    pub name: String,
    /// The network namespace its ports are in.
    pub netns: String,
    /// Its hardware address, by which `local_link_information` names it.
    pub switch_id: String,
    /// Where its OVSDB server listens, such as `unix:/…/db.sock`.
    pub ovsdb: String,
    /// The bridge that switches.
    pub bridge: String,
    /// Ports towards other switches.
    pub uplinks: Vec<String>,
}

/// What a machine is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineKind {
    /// Namespaces of its host: quick, without a kernel of its own.
    #[default]
    Namespaces,
    /// A virtual machine.
    Qemu,
}

/// A machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its name, unique in the rack.
    pub name: String,
    /// The network namespace it has while powered on.
    pub netns: String,
    /// Hardware address of its only NIC.
    pub mac: String,
    /// Name of the leaf its NIC is cabled to.
    pub leaf: String,
    /// Hardware address of that leaf.
    pub switch_id: String,
    /// The port of that leaf.
    pub port: String,
    /// Its management controller.
    pub bmc: Bmc,
    /// The file that is its disk.
    pub disk: PathBuf,
    /// What its console said since the last power-on.
    pub console: PathBuf,
    /// Size of the disk in GiB.
    pub disk_gb: u64,
    /// Memory in MiB; enforced if the kernel offers the memory controller.
    pub memory_mb: u64,
    /// Number of processors it claims to have.
    pub cpus: u32,
    /// What it is made of.
    #[serde(default)]
    pub kind: MachineKind,
}

/// How to reach a machine's management controller.
#[derive(Clone, Serialize, Deserialize)]
pub struct Bmc {
    /// Root of its Redfish service, such as `http://127.0.0.1:8101`.
    pub url: String,
    /// Path of the machine's ComputerSystem resource.
    pub system: String,
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Bmc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bmc")
            .field("url", &self.url)
            .field("system", &self.system)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What kind of rack is wanted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name: up to ten of `a-z` and `0-9`. No dash, so that no rack's names begin with another's.
    pub name: String,
    /// Where to keep its files.
    pub dir: PathBuf,
    /// How many leaves, 1 to [`MAX_LEAVES`].
    pub leaves: usize,
    /// How many machines, up to [`MAX_MACHINES`]; dealt out to the leaves in turn.
    pub machines: usize,
    /// Size of each machine's disk in GiB.
    pub disk_gb: u64,
    /// Memory of each machine in MiB.
    pub memory_mb: u64,
    /// How many of them, counted from the last, are virtual machines.
    pub virtual_machines: usize,
}

/// Why a rack cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum RackError {
    /// The plan asks for what cannot be.
    #[error("{0}")]
    Plan(String),
    /// There is no rack, or its description cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The description is not one.
    #[error("{path} does not describe a rack")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The system has no random numbers.
    #[error("no random numbers for the BMC passwords: {0}")]
    Random(getrandom::Error),
}

/// The directory of the rack of that name, unless another is chosen.
pub fn default_dir(name: &str) -> PathBuf {
    Path::new("/var/lib/cofferdam/lab").join(name)
}

/// What the names of all namespaces of a rack begin with.
pub fn prefix(name: &str) -> String {
    format!("cd-{name}-")
}

/// Checks a rack's name, which becomes part of paths and of kernel names.
///
/// # Errors
/// [`RackError::Plan`] says which names are possible.
pub fn check_name(name: &str) -> Result<(), RackError> {
    let fits = (1..=10).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits { Ok(()) } else { Err(RackError::Plan(format!("{name:?} cannot name a rack: one to ten of a-z and 0-9 can"))) }
}

impl Plan {
    /// Describes the rack. Addresses follow from the name alone; passwords are those of `earlier`, the same rack's previous life,
    /// or new ones. BMC ports are those wanted, not yet those had: see [`Bmc::url`].
    ///
    /// # Errors
    /// [`RackError::Plan`] or [`RackError::Random`].
    pub fn describe(&self, earlier: Option<&Rack>) -> Result<Rack, RackError> {
        check_name(&self.name)?;
        let refuse = |why: String| Err(RackError::Plan(why));
        if !(1..=MAX_LEAVES).contains(&self.leaves) {
            return refuse(format!("a rack has 1 to {MAX_LEAVES} leaves, not {}", self.leaves));
        }
        if self.machines > MAX_MACHINES {
            return refuse(format!("a rack has at most {MAX_MACHINES} machines, not {}", self.machines));
        }
        if !(1..=1024).contains(&self.disk_gb) || !(64..=1 << 20).contains(&self.memory_mb) {
            return refuse("a machine has a disk of 1 to 1024 GiB and at least 64 MiB of memory".into());
        }
        if !self.dir.is_absolute() {
            return refuse(format!("the directory {} is not absolute", self.dir.display()));
        }
        let longest = self.dir.join(format!("leaf{}", self.leaves)).join("ovsdb-server.ctl");
        if longest.as_os_str().len() > MAX_SOCKET_PATH {
            return refuse(format!("the directory {} is too long for the sockets in it", self.dir.display()));
        }
        let leaves: Vec<Leaf> = (1..=self.leaves).map(|number| self.leaf(number)).collect();
        let mut edge = self.switch("edge", 0xff);
        edge.uplinks.push("to-leaf1".into());
        let mut machines = Vec::with_capacity(self.machines);
        for index in 0..self.machines {
            let Some(leaf) = leaves.get(index % self.leaves) else { continue };
            machines.push(self.machine(index, leaf, earlier)?);
        }
        Ok(Rack { name: self.name.clone(), dir: self.dir.clone(), leaves, edge, machines })
    }

    fn switch(&self, name: &str, number: u8) -> Leaf {
        Leaf {
            name: name.into(),
            netns: format!("{}{name}", prefix(&self.name)),
            switch_id: format!("02:cf:00:00:00:{number:02x}"),
            ovsdb: format!("unix:{}", self.dir.join(name).join("db.sock").display()),
            bridge: "br0".into(),
            uplinks: Vec::new(),
        }
    }

    fn leaf(&self, number: usize) -> Leaf {
        let mut leaf = self.switch(&format!("leaf{number}"), u8::try_from(number).unwrap_or(u8::MAX));
        if number > 1 {
            leaf.uplinks.push(format!("to-leaf{}", number - 1));
        }
        if number < self.leaves {
            leaf.uplinks.push(format!("to-leaf{}", number + 1));
        }
        if number == 1 {
            leaf.uplinks.push("to-edge".into());
        }
        leaf
    }

    fn machine(&self, index: usize, leaf: &Leaf, earlier: Option<&Rack>) -> Result<Machine, RackError> {
        let number = index + 1;
        let name = format!("m{number}");
        let known = earlier.and_then(|rack| rack.machines.iter().find(|machine| machine.name == name));
        let password = match known {
            Some(machine) => machine.bmc.password.clone(),
            None => new_password()?,
        };
        let hash = Sha256::digest(self.name.as_bytes());
        let (a, b) = (hash.first().copied().unwrap_or_default(), hash.get(1).copied().unwrap_or_default());
        let dir = self.dir.join("machines").join(&name);
        Ok(Machine {
            netns: format!("{}{name}", prefix(&self.name)),
            mac: format!("52:54:00:{a:02x}:{b:02x}:{number:02x}"),
            leaf: leaf.name.clone(),
            switch_id: leaf.switch_id.clone(),
            port: format!("p{}", index / self.leaves + 1),
            bmc: Bmc {
                url: known.map_or_else(|| format!("http://127.0.0.1:{}", 8100 + number), |machine| machine.bmc.url.clone()),
                system: format!("/redfish/v1/Systems/{name}"),
                username: "admin".into(),
                password,
            },
            disk: dir.join("disk.raw"),
            console: dir.join("console.log"),
            disk_gb: self.disk_gb,
            memory_mb: self.memory_mb,
            cpus: 1,
            kind: if number + self.virtual_machines > self.machines { MachineKind::Qemu } else { MachineKind::Namespaces },
            name,
        })
    }
}

fn new_password() -> Result<String, RackError> {
    let mut bytes = [0_u8; 15];
    getrandom::fill(&mut bytes).map_err(RackError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Rack {
    /// Reads the description of the rack in `dir`.
    ///
    /// # Errors
    /// [`RackError::File`], with [`io::ErrorKind::NotFound`] if there is none, or [`RackError::Malformed`].
    pub fn load(dir: &Path) -> Result<Self, RackError> {
        let path = dir.join("rack.json");
        let text = fs::read(&path).map_err(|source| RackError::File { doing: "read", path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| RackError::Malformed { path, source })
    }

    /// Writes rack.json (mode 0600: it holds passwords) and cofferdam.toml, each whole or not at all.
    ///
    /// # Errors
    /// [`RackError::File`].
    pub fn save(&self) -> Result<(), RackError> {
        let path = self.dir.join("rack.json");
        let mut text = serde_json::to_vec_pretty(self).map_err(|source| RackError::Malformed { path: path.clone(), source })?;
        text.push(b'\n');
        write_atomically(&path, &text, 0o600)?;
        write_atomically(&self.dir.join("cofferdam.toml"), self.fragment().as_bytes(), 0o644)
    }

    /// The switches: all leaves, then the edge.
    pub fn switches(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter().chain(std::iter::once(&self.edge))
    }

    /// The directory of a switch: database, sockets, process ids and logs.
    pub fn switch_dir(&self, switch: &Leaf) -> PathBuf {
        self.dir.join(&switch.name)
    }

    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name == name)
    }

    /// The namespace in which the NICs of machines that are off wait.
    pub fn holder(&self) -> String {
        format!("{}hold", prefix(&self.name))
    }

    /// The configuration `cofferdam serve` needs to drive this rack.
    pub fn fragment(&self) -> String {
        let mut text = format!(
            "# Written by `cofferdam lab up`: the switches of the simulated rack \"{}\".\n[fabric]\nphysical_network = \"physnet1\"\n\
             vlan_range = \"100:199\"\nisolation_vlan = {ISOLATION_VLAN}\ndrift_interval_seconds = 3\n",
            self.name
        );
        for switch in self.switches() {
            text.push_str(&format!(
                "\n[[fabric.switch]]\nname = {}\nswitch_id = {}\ndriver = \"ovsdb\"\nendpoint = {}\nbridge = {}\nuplinks = {:?}\n",
                quoted(&switch.name),
                quoted(&switch.switch_id),
                quoted(&switch.ovsdb),
                quoted(&switch.bridge),
                switch.uplinks
            ));
        }
        text.push_str(&format!(
            "\n[edge]\nswitch = {}\nnetns = {}\nnetns_prefix = {}\n\n[provisioning]\nvlan = 99\nvlans = \"3000:3063\"\ncidr = \"172.30.0.0/24\"\naddress = \"172.30.0.1\"\n",
            quoted(&self.edge.name),
            quoted(&self.edge.netns),
            quoted(&format!("{}n-", prefix(&self.name)))
        ));
        text
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), RackError> {
    let fail = |source| RackError::File { doing: "write", path: path.to_owned(), source };
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).map_err(fail)?;
    file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&draft, path)).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { name: "lab".into(), dir: "/somewhere".into(), leaves: 2, machines: 3, disk_gb: 4, memory_mb: 512, virtual_machines: 1 }
    }

    #[test]
    fn machines_are_dealt_out_and_keep_their_passwords() {
        let rack = plan().describe(None).unwrap();
        let places: Vec<_> = rack.machines.iter().map(|m| format!("{} {} {}", m.name, m.leaf, m.port)).collect();
        assert_eq!(places, ["m1 leaf1 p1", "m2 leaf2 p1", "m3 leaf1 p2"]);
        let kinds: Vec<_> = rack.machines.iter().map(|m| m.kind).collect();
        assert_eq!(kinds, [MachineKind::Namespaces, MachineKind::Namespaces, MachineKind::Qemu]);
        assert_eq!(rack.leaves[0].uplinks, ["to-leaf2", "to-edge"]);
        assert_eq!(rack.leaves[1].uplinks, ["to-leaf1"]);
        let again = Plan { machines: 4, ..plan() }.describe(Some(&rack)).unwrap();
        assert_eq!(again.machines[0].bmc.password, rack.machines[0].bmc.password);
        assert_ne!(again.machines[3].bmc.password, rack.machines[0].bmc.password);
        assert_eq!(again.machines[1].mac, rack.machines[1].mac);
    }

    #[test]
    fn impossible_racks_are_refused() {
        for bad in [
            Plan { name: "a-b".into(), ..plan() },
            Plan { name: String::new(), ..plan() },
            Plan { name: "../x".into(), ..plan() },
            Plan { leaves: 0, ..plan() },
            Plan { leaves: 17, ..plan() },
            Plan { machines: 65, ..plan() },
            Plan { dir: "relative".into(), ..plan() },
            Plan { dir: format!("/{}", "x".repeat(100)).into(), ..plan() },
        ] {
            assert!(matches!(bad.describe(None), Err(RackError::Plan(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_fragment_is_toml_and_the_description_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let rack = Plan { dir: dir.path().into(), ..plan() }.describe(None).unwrap();
        let value: toml::Table = rack.fragment().parse().unwrap();
        let switches = value["fabric"]["switch"].as_array().unwrap();
        assert_eq!(switches.len(), 3);
        assert_eq!(switches[0]["uplinks"].as_array().unwrap().len(), 2);
        assert_eq!(value["edge"]["netns_prefix"].as_str(), Some("cd-lab-n-"));
        rack.save().unwrap();
        rack.save().unwrap();
        assert_eq!(Rack::load(dir.path()).unwrap().machines[2].bmc.password, rack.machines[2].bmc.password);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(dir.path().join("rack.json")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn passwords_are_not_shown() {
        let rack = plan().describe(None).unwrap();
        assert!(!format!("{rack:?}").contains(&rack.machines[0].bmc.password));
    }
}
