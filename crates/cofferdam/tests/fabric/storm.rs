//! The invariant under a storm: while ports are bound and let go and machines deployed and released at random, and faults strike, no
//! machine's port is ever in a segment that its tenant does not own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Method;
use lab::netos::faults::{Partial, Refusal, Then};
use serde_json::{Value, json};

use crate::clock;
use crate::plane::{Cables, is_possible};
use crate::site::{Shape, Site};
use crate::support::api::{Answer, Service, Session};
use crate::support::chance::Chance;
use crate::support::database::Postgres;
use crate::support::serve::Serve;
use crate::support::{Frozen, say};
use crate::watch::{Book, Findings, Watcher};

const OSES: [&str; 4] = ["arista_eos", "cisco_nxos", "cisco_ios", "juniper_junos"];
/// Ports of each switch that have machines.
const PORTS: usize = 10;
const TENANTS: usize = 5;
/// How many of the ports of each switch have machines that are deployed; the others are bound by hand.
const MACHINES: usize = 4;
/// How many steps to take, if not `SHORT` ones; ten thousand take six minutes.
const STEPS: &str = "COFFERDAM_TEST_STORM_STEPS";
/// How many steps a run of all tests takes.
const SHORT: u64 = 1_000;
/// Within how many steps believing every commit must do harm.
const HARM: u64 = 6_000;
/// How many steps a run of all tests takes with two replicas.
const SHORT_OF_TWO: u64 = 200;
/// How long calls are tried again while a replica is started.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two steps.
const PACE: Duration = Duration::from_millis(25);
/// Between two steps with two replicas, of which one is away for as long as it takes the other to notice.
const PACE_OF_TWO: Duration = Duration::from_millis(100);
/// By how many seconds a clock is wrong: less than a lease, more, and far more.
const WRONG: [&str; 11] = ["-900", "-300", "-60", "-20", "-5", "+0", "+5", "+20", "+60", "+300", "+900"];
/// How long a line and a commit of a slow switch take, in milliseconds: at most so long that another takes over amid a change.
const SLOW: [(u64, u64); 4] = [(0, 300), (0, 5_000), (150, 300), (400, 1_000)];
/// How many ports are remembered of before one went away.
const LATELY: usize = 6;
/// Longer than a lease, in milliseconds.
const LEASE_MS: u64 = 16_000;
/// At which step of the short run one replica is stopped for longer than its lease, whatever chance says.
const ZOMBIE_AT: u64 = 40;
/// Where the clock of a program can be turned (Debian package faketime).
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// What a port is doing, as far as we told it to.
enum Doing {
    Nothing,
    /// Bound by this Neutron port.
    Bound {
        port: String,
        claim: u64,
        seen: bool,
    },
    /// Deployed with this Neutron port.
    Deployed {
        port: String,
        claim: u64,
        seen: bool,
    },
}

/// Why a replica does not answer.
enum Away {
    /// Killed; it is started again.
    Dead,
    /// Stopped; it goes on, and does not know that time has passed.
    Stopped(#[expect(dead_code, reason = "goes on when it is dropped")] Frozen),
}

struct Storm {
    site: Site,
    /// Logged in at each replica.
    sessions: Vec<Session>,
    /// Replicas that do not answer, until when.
    away: BTreeMap<usize, (Instant, Away)>,
    calls: usize,
    pace: Duration,
    /// The ports that something was done with last while all replicas were there; there is one at least.
    lately: Vec<usize>,
    book: Arc<Book>,
    networks: Vec<String>,
    places: Vec<(usize, usize)>,
    /// The node of a place, if a machine is there.
    nodes: BTreeMap<usize, String>,
    doing: Vec<Doing>,
    /// Let go, and not yet said to be: the Neutron port, its place and claim.
    leaving: BTreeMap<String, (usize, u64)>,
    /// Released nodes that are not available yet.
    releasing: BTreeMap<String, (usize, u64, String)>,
    /// When a fault of a switch ends.
    faults: BTreeMap<usize, Instant>,
    claims: u64,
    /// What says how wrong the clock of each replica is.
    clocks: Vec<std::path::PathBuf>,
    /// Ends after the replicas.
    postgres: Option<Postgres>,
    counts: BTreeMap<&'static str, u64>,
    asked_at: Instant,
}

/// What turns a program's clock as the file says.
fn turned_by(clock: &Path) -> Vec<(String, String)> {
    let pairs = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

impl Storm {
    /// With one replica over its own database, or with two over that one.
    fn new(environment: &[(String, String)], postgres: Option<Postgres>) -> (Self, Watcher) {
        let replicas = if postgres.is_some() { 2 } else { 1 };
        let mut clocks = Vec::new();
        let mut environments = vec![environment.to_vec(); replicas];
        if Path::new(FAKETIME).exists() {
            for (nth, environment) in environments.iter_mut().enumerate() {
                let clock = std::env::temp_dir().join(format!("cofferdam-clock-{}-{nth}", std::process::id()));
                // The second one's is wrong from the start.
                std::fs::write(&clock, ["+0", "+180"][nth]).unwrap();
                environment.extend(turned_by(&clock));
                clocks.push(clock);
            }
        } else {
            say("the clock is not turned: faketime is not installed");
        }
        let config = "[baremetal]\nautomated_clean = false\n".to_owned();
        let others = environments.split_off(1);
        let environment = environments.remove(0);
        let shape = Shape { oses: OSES.into(), ports: PORTS, drift_seconds: 2, config, environment };
        let site = Site::with_replicas(&shape, postgres.as_ref().map(|it| it.url.clone()), &others);
        let (networks, vlans): (Vec<_>, Vec<_>) = (0..TENANTS).map(|nth| site.network(&format!("tenant{nth}"))).unzip();
        let cables = Cables::lay(&site);
        let places = cables.places().to_vec();
        let book = Arc::new(Book::new(places.len(), vlans));
        site.await_isolated(Duration::from_secs(180));
        let devices = site.switches.iter().map(|it| Arc::clone(it.device())).collect();
        let watcher = Watcher::start(cables, devices, site.ports.clone(), Arc::clone(&book));
        let doing = places.iter().map(|_| Doing::Nothing).collect();
        let sessions = site.replicas().iter().map(|it| log_in(&site, it)).collect();
        let mut storm = Self {
            site,
            sessions,
            away: BTreeMap::new(),
            calls: 0,
            lately: vec![0],
            pace: if replicas > 1 { PACE_OF_TWO } else { PACE },
            book,
            networks,
            places,
            nodes: BTreeMap::new(),
            doing,
            leaving: BTreeMap::new(),
            releasing: BTreeMap::new(),
            faults: BTreeMap::new(),
            claims: 0,
            clocks,
            postgres,
            counts: BTreeMap::new(),
            asked_at: Instant::now(),
        };
        storm.enrol();
        (storm, watcher)
    }

    /// Machines on some of the ports: without BMCs and agents of their own, but with real switch ports.
    fn enrol(&mut self) {
        for (place, (switch, port)) in self.places.clone().into_iter().enumerate().filter(|(_, place)| place.1 < MACHINES) {
            let admin = &self.site.admin;
            let node = admin.create(
                Service::Baremetal,
                "/nodes",
                "",
                &json!({"name": format!("m-{switch}-{port}"), "driver": "fake-hardware", "network_interface": "neutron",
                    "deploy_interface": "fake"}),
            );
            let id = node["uuid"].as_str().unwrap().to_owned();
            let link = self.site.binding(switch, port)["binding:profile"]["local_link_information"][0].clone();
            let mac = format!("52:54:00:00:{switch:02x}:{port:02x}");
            admin.create(Service::Baremetal, "/ports", "", &json!({"address": mac, "node_uuid": id, "local_link_connection": link}));
            for (verb, state) in [("manage", "manageable"), ("provide", "available")] {
                let path = format!("/nodes/{id}/states/provision");
                assert!(admin.call(Method::PUT, Service::Baremetal, &path, Some(&json!({"target": verb}))).is_success());
                let until = Instant::now() + PATIENCE;
                while admin.get(Service::Baremetal, &format!("/nodes/{id}"))["provision_state"] != state {
                    assert!(Instant::now() < until, "{}", admin.get(Service::Baremetal, &format!("/nodes/{id}")));
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            self.nodes.insert(place, id);
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A replica that answers, another each time as good as there is one.
    fn replica(&mut self) -> usize {
        let there: Vec<usize> = (0..self.sessions.len()).filter(|nth| !self.away.contains_key(nth)).collect();
        // Not simply in turn: what belongs together would always come to the same.
        self.calls = self.calls.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        there[(self.calls >> 33) % there.len()]
    }

    fn try_call(&mut self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let replica = self.replica();
        match self.sessions[replica].try_call(method, service, path, body) {
            // Tokens end, and the clock may have been turned.
            Ok(Answer { status: 401, .. }) => {
                self.sessions[replica] = log_in(&self.site, self.site.replicas()[replica]);
                None
            }
            Ok(answer) => Some((answer.status, answer.body)),
            Err(_) => None,
        }
    }

    /// One step: mostly of a tenant or an operator, now and then a fault.
    fn step(&mut self, chance: &mut Chance) {
        self.mend(false);
        if chance.below(100) < 5 * self.sessions.len() as u64 {
            self.strike(chance);
        } else {
            self.act(chance);
        }
        self.ask();
        std::thread::sleep(self.pace);
    }

    /// One thing of a tenant or an operator.
    fn act(&mut self, chance: &mut Chance) {
        let mut place = usize::try_from(chance.below(self.places.len() as u64)).unwrap();
        // Who is away may be amid these, and goes on with it: they are given to others meanwhile.
        if self.away.is_empty() {
            self.lately.truncate(LATELY - 1);
            self.lately.insert(0, place);
        } else if chance.below(2) == 0 {
            place = self.lately[usize::try_from(chance.below(self.lately.len() as u64)).unwrap()];
        }
        let tenant = usize::try_from(chance.below(TENANTS as u64)).unwrap();
        match std::mem::replace(&mut self.doing[place], Doing::Nothing) {
            Doing::Nothing if self.nodes.contains_key(&place) => self.deploy(place, tenant),
            Doing::Nothing => self.bind(place, tenant),
            Doing::Bound { port, claim, .. } => {
                self.count("unbind");
                self.leave(place, claim, port);
            }
            Doing::Deployed { port, claim, seen } => {
                let node = self.nodes[&place].clone();
                let path = format!("/nodes/{node}/states/provision");
                let answer = self.try_call(Method::PUT, Service::Baremetal, &path, Some(&json!({"target": "deleted"})));
                if answer.is_some_and(|it| it.0 == 202) {
                    self.count("release");
                    self.releasing.insert(node, (place, claim, port));
                } else {
                    // Its deployment may not have been begun.
                    self.begin(&node, &port);
                    self.doing[place] = Doing::Deployed { port, claim, seen };
                }
            }
        }
    }

    fn bind(&mut self, place: usize, tenant: usize) {
        let (switch, port) = self.places[place];
        self.claims += 1;
        let claim = self.claims;
        let name = format!("claim{claim}");
        let mut body = self.site.binding(switch, port);
        body["network_id"] = json!(self.networks[tenant]);
        body["name"] = json!(name);
        self.book.give(place, tenant, claim);
        let until = Instant::now() + PATIENCE;
        // Whether it was made although nobody answered is found out by its name.
        loop {
            if let Some((201, made)) = self.try_call(Method::POST, Service::Network, "/ports", Some(&json!({"port": body}))) {
                let port = made["port"]["id"].as_str().unwrap().to_owned();
                self.count("bind");
                self.doing[place] = Doing::Bound { port, claim, seen: false };
                return;
            }
            if let Some((200, found)) = self.try_call(Method::GET, Service::Network, &format!("/ports?name={name}"), None)
                && let Some(port) = found["ports"][0]["id"].as_str()
            {
                self.doing[place] = Doing::Bound { port: port.to_owned(), claim, seen: false };
                return;
            }
            assert!(Instant::now() < until, "port {name} could not be made");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn leave(&mut self, place: usize, claim: u64, port: String) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_call(Method::DELETE, Service::Network, &format!("/ports/{port}"), None) {
                Some((204 | 404, _)) => break,
                _ => assert!(Instant::now() < until, "port {port} could not be deleted"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.leaving.insert(port, (place, claim));
    }

    fn deploy(&mut self, place: usize, tenant: usize) {
        let node = self.nodes[&place].clone();
        if self.releasing.contains_key(&node) {
            return;
        }
        self.claims += 1;
        let claim = self.claims;
        let body = json!({"port": {"network_id": self.networks[tenant], "name": format!("vif{claim}")}});
        let Some((201, made)) = self.try_call(Method::POST, Service::Network, "/ports", Some(&body)) else { return };
        let port = made["port"]["id"].as_str().unwrap().to_owned();
        self.book.give(place, tenant, claim);
        self.begin(&node, &port);
        self.doing[place] = Doing::Deployed { port, claim, seen: false };
    }

    fn begin(&mut self, node: &str, port: &str) {
        let vif = json!({"id": port});
        let attached = self.try_call(Method::POST, Service::Baremetal, &format!("/nodes/{node}/vifs"), Some(&vif));
        if attached.is_none_or(|it| it.0 != 204) {
            // It may have been attached all the same: what follows sets it right.
            self.count("attach unclear");
        }
        let path = format!("/nodes/{node}/states/provision");
        if self.try_call(Method::PUT, Service::Baremetal, &path, Some(&json!({"target": "active"}))).is_some_and(|it| it.0 == 202) {
            self.count("deploy");
        }
    }

    /// Asks the control plane what is done, and writes that into the book.
    fn ask(&mut self) {
        if self.asked_at.elapsed() < Duration::from_millis(150) {
            return;
        }
        self.asked_at = Instant::now();
        let fields = "/ports?fields=id&fields=status&fields=binding:host_id";
        let Some((200, ports)) = self.try_call(Method::GET, Service::Network, fields, None) else { return };
        let states: BTreeMap<&str, &str> =
            ports["ports"].as_array().unwrap().iter().map(|it| (it["id"].as_str().unwrap(), it["status"].as_str().unwrap())).collect();
        // A port that is deleted is not shown any more, but holds its switch port until that is proven isolated: the ledger says when.
        if !self.leaving.is_empty() {
            let path = "/cofferdam/switch-ports?fields=holder";
            let Some((200, ledger)) = self.try_call(Method::GET, Service::Network, path, None) else { return };
            let held: BTreeSet<&str> = ledger["switch_ports"].as_array().unwrap().iter().filter_map(|it| it["holder"].as_str()).collect();
            let gone: Vec<String> = self.leaving.keys().filter(|it| !held.contains(it.as_str())).cloned().collect();
            for port in gone {
                let (place, claim) = self.leaving.remove(&port).unwrap();
                self.book.take_back(place, claim);
            }
        }
        let mut confirmed = 0;
        for (place, doing) in self.doing.iter_mut().enumerate() {
            if let Doing::Bound { port, claim, seen } | Doing::Deployed { port, claim, seen } = doing
                && states.get(port.as_str()) == Some(&"ACTIVE")
            {
                if !*seen {
                    confirmed += 1;
                    *seen = true;
                }
                self.book.confirm(place, *claim);
            }
        }
        *self.counts.entry("became ACTIVE").or_default() += confirmed;
        if self.releasing.is_empty() {
            return;
        }
        let path = "/nodes?fields=uuid,provision_state";
        let Some((200, nodes)) = self.try_call(Method::GET, Service::Baremetal, path, None) else { return };
        for it in nodes["nodes"].as_array().unwrap() {
            let node = it["uuid"].as_str().unwrap();
            if it["provision_state"] == "available"
                && let Some((place, claim, port)) = self.releasing.remove(node)
            {
                self.book.take_back(place, claim);
                let _gone = self.try_call(Method::DELETE, Service::Network, &format!("/ports/{port}"), None);
            }
        }
    }

    /// Something goes wrong.
    fn strike(&mut self, chance: &mut Chance) {
        let switch = usize::try_from(chance.below(OSES.len() as u64)).unwrap();
        let lasting = Duration::from_millis(500 + chance.below(4_000));
        let faults = self.site.switches[switch].faults();
        let kind = chance.below(if self.sessions.len() > 1 { 11 } else { 8 });
        if kind < 5 && self.faults.contains_key(&switch) {
            return;
        }
        match kind {
            0 => {
                faults.change(|it| it.hang = true);
                self.faults.insert(switch, Instant::now() + lasting);
                self.count("switch stops answering");
            }
            1 => {
                let word = ["vlan", "shutdown", "trunk", "disable", "access"][usize::try_from(chance.below(5)).unwrap()];
                let times = u32::try_from(1 + chance.below(3)).unwrap();
                faults.change(|it| it.refuse = vec![Refusal { contains: word.to_owned(), times: Some(times) }]);
                self.faults.insert(switch, Instant::now() + lasting);
                self.count("rejects a line");
            }
            2 => {
                let then = [Then::Hang, Then::Refuse, Then::Drop][usize::try_from(chance.below(3)).unwrap()];
                let partial = Some(Partial { lines: usize::try_from(chance.below(12)).unwrap(), then });
                let whole = chance.below(2) == 0;
                faults.change(|it| if whole { it.partial_commit = partial } else { it.partial_session = partial });
                self.faults.insert(switch, Instant::now() + lasting);
                self.count("applies half");
            }
            3 => {
                let of_two = self.sessions.len() > 1;
                let (line_ms, commit_ms) = SLOW[usize::try_from(chance.below(if of_two { SLOW.len() as u64 } else { 1 })).unwrap()];
                faults.change(|it| (it.line_ms, it.commit_ms) = (line_ms, commit_ms));
                self.faults.insert(switch, Instant::now() + if of_two { 3 * lasting } else { lasting });
                self.count("is slow");
            }
            4 => {
                self.site.switches[switch].device().reboot(lasting / 2);
                self.count("reboots with its old configuration");
            }
            5 => self.kill(chance),
            6 => {
                if !self.clocks.is_empty() {
                    let replica = usize::try_from(chance.below(self.clocks.len() as u64)).unwrap();
                    let wrong = WRONG[usize::try_from(chance.below(WRONG.len() as u64)).unwrap()];
                    std::fs::write(&self.clocks[replica], wrong).unwrap();
                    self.count("clock jumps");
                }
            }
            8 | 9 => {
                let lasting = if chance.below(3) == 0 { chance.below(LEASE_MS) } else { LEASE_MS + chance.below(24_000) };
                self.stop(chance, Duration::from_millis(lasting));
            }
            10 => {
                if let Some(postgres) = &self.postgres {
                    clock::turn(postgres, WRONG[usize::try_from(chance.below(WRONG.len() as u64)).unwrap()].parse().unwrap());
                    self.count("the database's clock jumps");
                }
            }
            _ => {
                let place = usize::try_from(chance.below(self.places.len() as u64)).unwrap();
                let (switch, port) = self.places[place];
                let vlan = self.book.vlans[usize::try_from(chance.below(TENANTS as u64)).unwrap()];
                let (device, name) = (self.site.switches[switch].device(), self.site.ports[switch][port].clone());
                self.book.by_hand(place, vlan, || {
                    device.edit(|config| {
                        if let Some(it) = config.ports.get_mut(&name) {
                            it.up = true;
                            it.mode = lab::netos::device::Mode::Access;
                            it.access = vlan;
                            it.untagged = [vlan].into();
                        }
                    });
                });
                self.count("changed by hand");
            }
        }
    }

    /// A replica is killed. A single one is started again at once; of two it stays dead, shorter or longer than its lease, or not at all.
    fn kill(&mut self, chance: &mut Chance) {
        let Some(replica) = self.one_of_two(chance) else { return };
        let of_two = self.sessions.len() > 1;
        self.site.replicas()[replica].kill();
        self.away.insert(replica, (Instant::now(), Away::Dead));
        self.count("control plane killed -9");
        if of_two && chance.below(2) == 0 {
            let until = Instant::now() + Duration::from_millis(chance.below(LEASE_MS + LEASE_MS / 2));
            self.away.insert(replica, (until, Away::Dead));
            return;
        }
        std::thread::sleep(Duration::from_millis(chance.below(700)));
        self.mend(false);
    }

    /// One replica is stopped amid what it does, if it can be: the switches are slow meanwhile.
    fn stop(&mut self, chance: &mut Chance, lasting: Duration) {
        let Some(replica) = self.one_of_two(chance) else { return };
        let slow = Duration::from_millis(1_000 + chance.below(5_000));
        let (line_ms, commit_ms) = SLOW[usize::try_from(1 + chance.below(SLOW.len() as u64 - 1)).unwrap()];
        for (nth, switch) in self.site.switches.iter().enumerate() {
            if let std::collections::btree_map::Entry::Vacant(free) = self.faults.entry(nth) {
                switch.faults().change(|it| (it.line_ms, it.commit_ms) = (line_ms, commit_ms));
                free.insert(Instant::now() + slow);
            }
        }
        for _ in 0..3 {
            self.act(chance);
        }
        std::thread::sleep(Duration::from_millis(chance.below(900)));
        let stopped = Frozen::new(self.site.replicas()[replica].pid());
        self.away.insert(replica, (Instant::now() + lasting, Away::Stopped(stopped)));
        self.count(if lasting.as_millis() > u128::from(LEASE_MS) { "stopped for longer than its lease" } else { "stopped" });
    }

    /// Any replica, unless it is the last.
    fn one_of_two(&self, chance: &mut Chance) -> Option<usize> {
        let replica = usize::try_from(chance.below(self.sessions.len() as u64)).unwrap();
        self.away.is_empty().then_some(replica)
    }

    fn mend(&mut self, all: bool) {
        let now = Instant::now();
        let over: Vec<usize> = self.faults.iter().filter(|it| all || *it.1 < now).map(|it| *it.0).collect();
        for switch in over {
            self.faults.remove(&switch);
            self.site.switches[switch].faults().clear();
        }
        let over: Vec<usize> = self.away.iter().filter(|it| all || it.1.0 <= now).map(|it| *it.0).collect();
        for replica in over {
            if let Some((_, Away::Dead)) = self.away.remove(&replica) {
                let serve = self.site.replicas()[replica];
                serve.spawn();
                serve.await_ready();
            }
        }
    }

    /// Everybody lets go; in the end every port is isolated and nothing is left in quarantine.
    fn calm(&mut self) {
        self.mend(true);
        for clock in &self.clocks {
            std::fs::write(clock, "+0").unwrap();
        }
        if let Some(postgres) = &self.postgres {
            clock::turn(postgres, 0);
        }
        for place in 0..self.places.len() {
            match std::mem::replace(&mut self.doing[place], Doing::Nothing) {
                Doing::Nothing => {}
                Doing::Bound { port, claim, .. } => self.leave(place, claim, port),
                Doing::Deployed { port, claim, .. } => {
                    let node = self.nodes[&place].clone();
                    self.releasing.insert(node, (place, claim, port));
                }
            }
        }
        // A switch that fell silent in a commit is waited for as long as a commit may take.
        let until = Instant::now() + Duration::from_secs(900);
        while !self.leaving.is_empty() || !self.releasing.is_empty() {
            let (leaving, releasing) = (&self.leaving, &self.releasing);
            assert!(Instant::now() < until, "stuck: ports {leaving:?}, nodes {releasing:?}");
            for node in self.releasing.keys().cloned().collect::<Vec<_>>() {
                // One that was not given its order, or failed on the way, gets it now.
                let path = format!("/nodes/{node}/states/provision");
                let _no = self.try_call(Method::PUT, Service::Baremetal, &path, Some(&json!({"target": "deleted"})));
            }
            self.ask();
            std::thread::sleep(Duration::from_millis(300));
        }
        self.site.await_isolated(Duration::from_secs(300));
    }

    /// Puts what the replicas said where it stays.
    fn keep_logs(&self, what: &str) {
        for (nth, serve) in self.site.replicas().into_iter().enumerate() {
            let log = std::env::temp_dir().join(format!("cofferdam-storm-{what}-{}-{}.log", self.sessions.len(), nth + 1));
            if std::fs::copy(serve.setting.log(), &log).is_ok() {
                say(&format!("a whole log: {}", log.display()));
            }
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.away.clear();
        for clock in &self.clocks {
            drop(std::fs::remove_file(clock));
        }
        if std::thread::panicking() {
            self.keep_logs("stuck");
        }
    }
}

/// How many steps to take, if the storm can be raised.
fn steps(short: u64) -> Option<u64> {
    if let Err(why) = is_possible() {
        say(&format!("skipped: {why}"));
        return None;
    }
    Some(std::env::var(STEPS).ok().and_then(|it| it.parse().ok()).unwrap_or(short))
}

/// Logged in at a replica. The password of the first user is known where that was made.
fn log_in(site: &Site, serve: &Serve) -> Session {
    Session::admin(&serve.setting.base(), &site.serve.setting.state_dir)
}

fn report(what: &str, storm: &Storm, found: &Findings, began: Instant, steps: u64) -> usize {
    let violations = found.violations.lock().unwrap();
    say(&format!(
        "{steps} steps in {:.0} s: {:?}; looked {} times, {} packets heard, slowest repair of a change by hand {:.1} s; {} violations{}",
        began.elapsed().as_secs_f64(),
        storm.counts,
        found.rounds.load(Ordering::Relaxed),
        found.packets.load(Ordering::Relaxed),
        found.slowest_repair.lock().unwrap().as_secs_f64(),
        violations.len(),
        violations.iter().take(8).map(|it| format!("\n  {it}")).collect::<String>(),
    ));
    if !violations.is_empty() {
        storm.keep_logs(what);
    }
    violations.len()
}

/// Raises it, and judges.
fn rage(mut storm: Storm, watcher: Watcher, chance: &mut Chance, steps: u64) {
    let began = Instant::now();
    let of_two = storm.sessions.len() > 1;
    for step in 0..steps {
        if of_two && step == ZOMBIE_AT {
            storm.stop(chance, Duration::from_millis(LEASE_MS + 4_000));
        }
        storm.step(chance);
        if step % 500 == 499 {
            say(&format!("step {}: {:?}", step + 1, storm.counts));
        }
        if watcher.found.violations.lock().unwrap().len() > 20 {
            break;
        }
    }
    if !watcher.found.violations.lock().unwrap().is_empty() {
        report("broken-off", &storm, &watcher.found, began, steps);
    }
    storm.calm();
    let found = watcher.end();
    assert_eq!(report("read-back", &storm, &found, began, steps), 0, "violations");
    let active = storm.counts.get("became ACTIVE").copied().unwrap_or_default();
    assert!(active > steps / 50, "only {active} ports became ACTIVE: the storm proved nothing");
    let deployed = storm.counts.get("deploy").copied().unwrap_or_default();
    assert!(deployed > steps / 50, "only {deployed} machines were deployed: they stood still");
    assert!(found.packets.load(Ordering::Relaxed) > 100, "hardly a packet was heard");
}

#[test]
fn no_port_is_ever_in_a_segment_that_is_not_its_tenants() {
    let Some(steps) = steps(SHORT) else { return };
    let mut chance = Chance::seeded();
    let (storm, watcher) = Storm::new(&[], None);
    rage(storm, watcher, &mut chance, steps);
}

/// As above, with two replicas and a database that disagree about the time, and of the replicas now and then one is dead, or was stopped amid a change and goes on
/// with it when the other has taken over.
#[test]
fn no_port_is_ever_in_a_segment_that_is_not_its_tenants_with_two_replicas() {
    let Some(steps) = steps(SHORT_OF_TWO) else { return };
    let Some(postgres) = Postgres::new() else {
        say("skipped: COFFERDAM_TEST_POSTGRES is not set");
        return;
    };
    let mut chance = Chance::seeded();
    clock::make(&postgres);
    let (storm, watcher) = Storm::new(&[], Some(postgres));
    rage(storm, watcher, &mut chance, steps);
}

#[test]
fn without_reading_back_the_same_storm_finds_violations() {
    let Some(steps) = steps(SHORT) else { return };
    let most = steps.max(HARM);
    let mut chance = Chance::seeded();
    let (mut storm, watcher) = Storm::new(&[("COFFERDAM_TEST_TRUST_COMMITS".to_owned(), "1".to_owned())], None);
    let began = Instant::now();
    let mut steps = 0;
    while watcher.found.violations.lock().unwrap().is_empty() {
        assert!(steps < most, "believing every commit does no harm: the storm cannot fail");
        storm.step(&mut chance);
        steps += 1;
    }
    let found = watcher.end();
    assert_ne!(report("trusting", &storm, &found, began, steps), 0);
}
