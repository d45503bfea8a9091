//! The switch itself, of no vendor: what its ports, VLANs and groups are set to, now and at the next start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::faults::{Faults, Then};

/// How members of a group find together, as one member (or the group itself) is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Without a protocol.
    Static,
    /// LACP, sends by itself.
    Active,
    /// LACP, answers only.
    Passive,
}

/// A port's membership in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group's name, as in [`Config::ports`].
    pub group: String,
    /// How this member finds the others.
    pub protocol: Protocol,
}

/// The VLANs that a trunk lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowed {
    /// 1 to 4094.
    All,
    /// These; none if empty.
    Only(BTreeSet<u16>),
}

impl Allowed {
    /// Whether it lets the VLAN through.
    pub fn contains(&self, vlan: u16) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.contains(&vlan),
        }
    }

    /// The VLANs one by one.
    pub fn to_set(&self) -> BTreeSet<u16> {
        match self {
            Self::All => (1..=4094).collect(),
            Self::Only(list) => list.clone(),
        }
    }

    /// The list as it is kept: one of all 4094 is `All`.
    pub fn from_set(list: BTreeSet<u16>) -> Self {
        if list.len() >= 4094 { Self::All } else { Self::Only(list) }
    }
}

/// Which of a port's settings are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `access` is.
    Access,
    /// `native` and `allowed` are.
    Trunk,
    /// `native` and `allowed` are, and `untagged` are sent without a tag (switches with hybrid ports).
    Hybrid,
}

/// What a port or group is set to. Settings of a mode that is not in force are kept, as real switches do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Administratively up.
    pub up: bool,
    /// Free text; empty: none.
    pub description: String,
    /// A layer 3 port: switches nothing.
    pub routed: bool,
    /// Which of the next are in force.
    pub mode: Mode,
    /// The mode is not set but agreed upon with the other side; `mode` is what comes of it with a host there.
    pub negotiates: bool,
    /// The VLAN as an access port.
    pub access: u16,
    /// The VLAN of untagged frames as a trunk; `None`: they are dropped.
    pub native: Option<u16>,
    /// Frames of the native VLAN are tagged too, and untagged ones dropped.
    pub native_tagged: bool,
    /// The VLANs as a trunk.
    pub allowed: Allowed,
    /// The VLANs that a hybrid port sends untagged beside its native one.
    pub untagged: BTreeSet<u16>,
    /// Does not exchange frames with other protected ports.
    pub protected: bool,
    /// The group that it is a member of; its own settings above are without effect then.
    pub group: Option<Membership>,
    /// Is a group itself, not a socket.
    pub is_group: bool,
    /// Configuration lines of it that mean nothing to the simulator, verbatim.
    pub extra: Vec<String>,
}

impl Default for Port {
    /// An access port in VLAN 1, up; as a trunk it lets everything through.
    fn default() -> Self {
        Self {
            up: true,
            description: String::new(),
            routed: false,
            mode: Mode::Access,
            negotiates: false,
            access: 1,
            native: Some(1),
            native_tagged: false,
            allowed: Allowed::All,
            untagged: BTreeSet::new(),
            protected: false,
            group: None,
            is_group: false,
            extra: Vec::new(),
        }
    }
}

/// A declared VLAN.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vlan {
    /// Its name; `None`: the one that the operating system gives by itself.
    pub name: Option<String>,
    /// The VXLAN network it is mapped to.
    pub vni: Option<u32>,
    /// Lines that mean nothing to the simulator, verbatim.
    pub extra: Vec<String>,
}

/// What is set at a group as a whole, on operating systems where the protocol is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    /// How its members find together; `None`: not said (yet).
    pub protocol: Option<Protocol>,
}

/// A configuration: the running one, the one of the next start, or a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// The switch's own name.
    pub hostname: String,
    /// Ports and groups by their full names.
    pub ports: BTreeMap<String, Port>,
    /// Declared VLANs.
    pub vlans: BTreeMap<u16, Vlan>,
    /// Settings of groups; each is in `ports` too.
    pub groups: BTreeMap<String, Group>,
    /// Other sections by their first line, such as `interface nve1`, with their lines; `""` for lines without a section.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Config {
    /// The names of ports and groups in the order in which switches list them: by their numbers, not by their digits.
    pub fn port_names(&self) -> Vec<&String> {
        let mut names: Vec<&String> = self.ports.keys().collect();
        names.sort_by_key(|name| natural(name));
        names
    }

    /// The members of a group, in listing order.
    pub fn members(&self, group: &str) -> Vec<&String> {
        let is_member = |name: &&String| self.ports.get(*name).and_then(|it| it.group.as_ref()).is_some_and(|it| it.group == group);
        self.port_names().into_iter().filter(is_member).collect()
    }

    /// What a port passes; see [`Device::carries`].
    pub fn carries(&self, port: &str, rules: Rules) -> Carried {
        let Some(it) = self.ports.get(port).filter(|it| it.up) else { return Carried::default() };
        if let Some(member) = &it.group {
            let group = self.ports.get(&member.group).filter(|it| it.is_group && it.group.is_none());
            return group.map_or_else(Carried::default, |_| self.carries(&member.group, rules));
        }
        if it.routed {
            return Carried::default();
        }
        let passes = |vlan: &u16| !rules.declares_vlans || self.vlans.contains_key(vlan);
        if it.mode == Mode::Access {
            return Carried { untagged: Some(it.access).filter(passes), tagged: BTreeSet::new() };
        }
        let native_allowed = |vlan: &u16| !rules.native_must_be_allowed || it.allowed.contains(*vlan);
        let native = it.native.filter(|_| !it.native_tagged).filter(passes).filter(native_allowed);
        let mut tagged: BTreeSet<u16> = match &it.allowed {
            // Only declared ones exist where VLANs are declared; no need to look at 4094.
            Allowed::All if rules.declares_vlans => self.vlans.keys().copied().collect(),
            other => other.to_set().into_iter().filter(passes).collect(),
        };
        if it.mode == Mode::Hybrid {
            tagged.retain(|vlan| !it.untagged.contains(vlan));
        }
        if !it.native_tagged
            && let Some(native) = it.native
        {
            tagged.remove(&native);
        }
        Carried { untagged: native, tagged }
    }

    /// What results if only the first `count` of the things (VLANs, groups, ports, others, in this order) in which `target` differs are
    /// taken over: a commit that broke off.
    pub fn partly(&self, target: &Self, count: usize) -> Self {
        let mut out = self.clone();
        let mut left = count;
        partly(&mut out.vlans, &target.vlans, &mut left);
        partly(&mut out.groups, &target.groups, &mut left);
        partly(&mut out.ports, &target.ports, &mut left);
        partly(&mut out.extra, &target.extra, &mut left);
        if left > 0 {
            out.hostname.clone_from(&target.hostname);
        }
        out
    }
}

fn partly<K: Ord + Clone, V: PartialEq + Clone>(from: &mut BTreeMap<K, V>, to: &BTreeMap<K, V>, left: &mut usize) {
    let keys: BTreeSet<K> = from.keys().chain(to.keys()).cloned().collect();
    for key in keys.into_iter().filter(|key| from.get(key) != to.get(key)).take(*left).collect::<Vec<K>>() {
        *left -= 1;
        match to.get(&key) {
            Some(value) => from.insert(key, value.clone()),
            None => from.remove(&key),
        };
    }
}

/// Splits a name into what sorts by letters and what sorts by number.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| it.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|it: char| !it.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(end);
        out.push((text.to_owned(), number.parse().unwrap_or(0)));
        rest = tail;
    }
    out
}

/// What of forwarding differs between operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A VLAN passes nothing unless it is declared.
    pub declares_vlans: bool,
    /// A trunk's native VLAN passes nothing unless it is in the allowed list.
    pub native_must_be_allowed: bool,
}

/// The frames that pass a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Carried {
    /// The VLAN of untagged frames; `None`: they are dropped.
    pub untagged: Option<u16>,
    /// The VLANs of tagged frames.
    pub tagged: BTreeSet<u16>,
}

impl Carried {
    /// Whether nothing passes.
    pub fn is_empty(&self) -> bool {
        self.untagged.is_none() && self.tagged.is_empty()
    }
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// All of it is in force.
    Whole,
    /// A fault struck: only the first things of it are in force, and this is how the switch behaves now.
    Partly(Then),
}

struct State {
    running: Arc<Config>,
    startup: Arc<Config>,
    /// Until when the switch starts up again and answers nobody.
    down_until: Option<Instant>,
}

/// What belongs to one connection.
#[derive(Default)]
pub(super) struct Connection {
    /// Held while the transport may go on; dropping it closes the socket.
    pub(super) transport: Option<oneshot::Sender<()>>,
    /// What runs in it; a command in progress outlives the transport but not a restart.
    pub(super) tasks: Vec<AbortHandle>,
}

/// One switch, shared by its sessions, the test that looks into it and the plane below.
pub struct Device {
    mac: [u8; 6],
    rules: Rules,
    state: Mutex<State>,
    faults: Faults,
    changed: watch::Sender<u64>,
    connections: Mutex<HashMap<u64, Connection>>,
    next: AtomicU64,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("hostname", &self.running().hostname).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// A switch that was just started with `config`, which is also what it will start with the next time.
    pub fn new(mac: [u8; 6], rules: Rules, config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            mac,
            rules,
            state: Mutex::new(State { running: Arc::clone(&config), startup: config, down_until: None }),
            faults: Faults::default(),
            changed: watch::channel(0).0,
            connections: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Its base MAC address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// How it forwards.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// What is wrong with it.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The configuration in force.
    pub fn running(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.state).running)
    }

    /// The configuration of the next start.
    pub fn startup(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.state).startup)
    }

    /// The frames that really pass a port or group now: none if it is down, a layer 3 port, unknown, or the switch is starting; none of a
    /// VLAN that is not declared where that is needed; for a member those of its group.
    pub fn carries(&self, port: &str) -> Carried {
        if self.is_down() {
            return Carried::default();
        }
        self.running().carries(port, self.rules)
    }

    /// Changes the running configuration in place: a line that takes effect at once, or a hand edit.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Config) -> T) -> T {
        let out = change(Arc::make_mut(&mut lock(&self.state).running));
        self.notify();
        out
    }

    /// Puts a whole configuration in force (candidate switches); counted, and subject to [`Faults`]. The caller waited for
    /// [`Faults::commit_delay`] before.
    pub fn commit(&self, candidate: Config) -> Committed {
        self.faults.count_commit();
        let fault = self.faults.take_partial_commit();
        let out = {
            let mut state = lock(&self.state);
            match fault {
                None => {
                    state.running = Arc::new(candidate);
                    Committed::Whole
                }
                Some(partial) => {
                    state.running = Arc::new(state.running.partly(&candidate, partial.lines));
                    Committed::Partly(partial.then)
                }
            }
        };
        self.notify();
        out
    }

    /// Makes the running configuration that of the next start; counted. The caller waited for [`Faults::save_delay`] before.
    pub fn save(&self) {
        self.faults.count_save();
        {
            let mut state = lock(&self.state);
            state.startup = Arc::clone(&state.running);
        }
        self.notify();
    }

    /// Sets what the next start begins with.
    pub fn set_startup(&self, config: Config) {
        lock(&self.state).startup = Arc::new(config);
        self.notify();
    }

    /// Restarts: all sessions break, what was not saved is lost, and for `down` nobody is answered and nothing forwarded.
    pub fn reboot(&self, down: Duration) {
        for (_, connection) in lock(&self.connections).drain() {
            for task in &connection.tasks {
                task.abort();
            }
        }
        {
            let mut state = lock(&self.state);
            state.running = Arc::clone(&state.startup);
            state.down_until = Some(Instant::now() + down);
        }
        self.notify();
    }

    /// Whether it is starting up.
    pub fn is_down(&self) -> bool {
        lock(&self.state).down_until.is_some_and(|until| Instant::now() < until)
    }

    /// How long it is still starting up.
    pub fn down_for(&self) -> Duration {
        lock(&self.state).down_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Breaks all connections. A command that is being carried out goes on.
    pub fn drop_connections(&self) {
        lock(&self.connections).clear();
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        lock(&self.connections).len()
    }

    /// Says when something changed: the value grows with each change of a configuration and each restart.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn notify(&self) {
        self.changed.send_modify(|it| *it += 1);
    }

    /// Notes a connection, if fewer than `most` are there.
    pub(super) fn enter(&self, most: usize) -> Option<u64> {
        let mut connections = lock(&self.connections);
        if connections.len() >= most {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        connections.insert(id, Connection::default());
        Some(id)
    }

    /// Changes what is known of a connection, unless it was dropped.
    pub(super) fn with_connection(&self, id: u64, change: impl FnOnce(&mut Connection)) -> bool {
        lock(&self.connections).get_mut(&id).map(change).is_some()
    }

    /// Forgets a connection.
    pub(super) fn leave(&self, id: u64) {
        lock(&self.connections).remove(&id);
    }
}
