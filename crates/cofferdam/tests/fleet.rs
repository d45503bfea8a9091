//! Many machines at once, and a control plane that is killed again and again while it works on them: fake machines, real protocols.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use lab::fleet::{Description, Fleet, Record, Running, Settings};
use net::http::Request;
use serde_json::{Value, json};

use support::api::{Answer, Service, Session, send};
use support::chance::Chance;
use support::serve::{Serve, Setting};
use support::{say, wait_for};

/// For one step of all machines: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// The version of the bare metal API that is spoken here.
const VERSION: &str = "1.95";
/// States that no machine may ever be in here.
const FAILED: [&str; 6] = ["deploy failed", "clean failed", "inspect failed", "error", "rescue failed", "service failed"];
/// What the control plane may hold in memory while it serves an image to many, in KiB.
const MEMORY_KIB: u64 = 150 * 1024;

/// A control plane and a fleet that know each other.
struct Site {
    fleet: Fleet,
    serve: Serve,
    admin: Session,
    /// Ironic's ids in the order of the machines.
    nodes: Vec<String>,
    image: String,
    image_bytes: u64,
    sha512: String,
    /// Ends after the fleet, whose tasks run on it.
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Site {
    /// Starts both, uploads an image of that size, and enrols the machines.
    fn new(machines: usize, image_mib: u64, shape: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-fleet-").tempdir().unwrap();
        let mut setting = Setting::new(&dir.path().join("state"));
        let config = dir.path().join("cofferdam.toml");
        let text = format!("[baremetal]\napi_url = \"{}\"\nagent_timeout_seconds = 60\npower_sync_interval_seconds = 5\n", setting.base());
        std::fs::write(&config, text).unwrap();
        setting.config = Some(config);
        let base = setting.base();
        let serve = Serve::start(setting);
        let admin = Session::admin(&base, &serve.setting.state_dir);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut settings = Settings { retry_ms: 250, ..Settings::quick(machines, &format!("{base}/baremetal")) };
        shape(&mut settings);
        let fleet = runtime.block_on(async { Fleet::start(settings) }).unwrap();

        let file = dir.path().join("image.raw");
        let image_bytes = write_image(&file, image_mib);
        let upload = |name: &str, disk: &str, container: &str, file: &Path| {
            let body = json!({"name": name, "disk_format": disk, "container_format": container, "visibility": "public"});
            let image = admin.create(Service::Image, "/images", "", &body)["id"].as_str().unwrap().to_owned();
            admin.upload(&image, file);
            image
        };
        let image = upload("machine", "raw", "bare", &file);
        let small = dir.path().join("small");
        std::fs::write(&small, b"nobody boots this").unwrap();
        let kernel = upload("deploy-kernel", "aki", "aki", &small);
        let ramdisk = upload("deploy-ramdisk", "ari", "ari", &small);
        std::fs::remove_file(&file).unwrap();
        let sha512 = admin.get(Service::Image, &format!("/images/{image}"))["os_hash_value"].as_str().unwrap().to_owned();
        let mut site = Self { fleet, serve, admin, nodes: Vec::new(), image, image_bytes, sha512, _runtime: runtime, _dir: dir };
        site.nodes = site.fleet.describe().iter().map(|it| site.enrol(it, &kernel, &ramdisk)).collect();
        site
    }

    fn enrol(&self, machine: &Description, kernel: &str, ramdisk: &str) -> String {
        let node = json!({
            "name": machine.name, "driver": "redfish", "network_interface": "noop", "boot_interface": "ipxe", "deploy_interface": "direct",
            "inspect_interface": "agent",
            "driver_info": {
                "redfish_address": machine.redfish_address, "redfish_system_id": machine.redfish_system_id,
                "redfish_username": machine.redfish_username, "redfish_password": machine.redfish_password,
                "deploy_kernel": kernel, "deploy_ramdisk": ramdisk,
            },
        });
        let made = self.call(Method::POST, "/nodes", Some(&node));
        assert_eq!(made.status, 201, "{}", made.text);
        let uuid = made.body["uuid"].as_str().unwrap().to_owned();
        let port = json!({"node_uuid": uuid, "address": machine.mac, "local_link_connection": machine.local_link_connection});
        let made = self.call(Method::POST, "/ports", Some(&port));
        assert_eq!(made.status, 201, "{}", made.text);
        uuid
    }

    /// One try, however it ends.
    fn attempt(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        let url = format!("{}{}{path}", self.serve.setting.base(), Service::Baremetal.prefix());
        let request = match body {
            Some(body) => Request::json(method, url, body),
            None => Request::new(method, url),
        };
        let request = request.header("x-auth-token", &self.admin.token).header("x-openstack-ironic-api-version", VERSION);
        send(request, Duration::from_secs(20))
    }

    /// Tried again until somebody answers who is able to.
    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut answer = None;
        wait_for(path, PATIENCE, || match self.attempt(method.clone(), path, body) {
            Ok(it) if !matches!(it.status, 409 | 503) => {
                answer = Some(it);
                Ok(())
            }
            other => Err(format!("{other:?}")),
        });
        answer.unwrap()
    }

    /// Asks the same of every node. One that has left `from` was asked already, by a request whose answer was lost.
    fn ask(&self, verb: &str, from: &[&str]) {
        for node in &self.nodes {
            wait_for(verb, PATIENCE, || {
                match self.attempt(Method::PUT, &format!("/nodes/{node}/states/provision"), Some(&json!({"target": verb}))) {
                    Ok(answer) if answer.status == 202 => return Ok(()),
                    Ok(answer) if !matches!(answer.status, 400 | 409 | 503) => panic!("{verb}: {} {}", answer.status, answer.text),
                    _ => {}
                }
                let state = self.call(Method::GET, &format!("/nodes/{node}"), None).body["provision_state"].clone();
                if from.iter().any(|it| state == *it) { Err(state.to_string()) } else { Ok(()) }
            });
        }
    }

    /// Waits until all are in a state and in no other on the way that would need somebody.
    fn all_are(&self, state: &str) {
        let mut was = String::new();
        wait_for(&format!("all are {state}"), PATIENCE, || {
            let Ok(answer) = self.attempt(Method::GET, "/nodes/detail", None) else { return Err("nobody answers".into()) };
            let Some(nodes) = answer.body["nodes"].as_array() else { return Err(answer.text) };
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for node in nodes {
                let now = node["provision_state"].as_str().unwrap();
                assert!(!FAILED.contains(&now), "{} is {now}: {}", node["name"], node["last_error"]);
                assert_eq!(node["maintenance"], false, "{}: {} {}", node["name"], node["maintenance_reason"], node["last_error"]);
                *counts.entry(now).or_default() += 1;
            }
            let shown = format!("{counts:?}");
            if shown != was {
                say(&format!("  {shown}"));
                was = shown;
            }
            if counts.get(state) == Some(&self.nodes.len()) { Ok(()) } else { Err(format!("{counts:?}: {}", reasons(nodes))) }
        });
    }

    /// From enrolled to offered.
    fn provide(&self) {
        self.ask("manage", &["enroll"]);
        self.all_are("manageable");
        self.ask("provide", &["manageable"]);
        self.all_are("available");
    }

    fn choose_image(&self) {
        for node in &self.nodes {
            let patch = json!([{"op": "add", "path": "/instance_info/image_source", "value": self.image}]);
            let answer = self.call(Method::PATCH, &format!("/nodes/{node}"), Some(&patch));
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }

    /// Every machine runs what it was told to, by the control plane's word and by its own.
    fn check_deployed(&self) {
        for (node, machine) in self.nodes.iter().zip(self.fleet.describe()) {
            let shown = self.call(Method::GET, &format!("/nodes/{node}"), None).body;
            assert_eq!((&shown["provision_state"], &shown["last_error"], &shown["fault"]), (&json!("active"), &Value::Null, &Value::Null));
            assert_eq!(shown["driver_internal_info"]["image_verified"], format!("sha512:{}", self.sha512), "{shown}");
            let record = wait_for(&machine.name, PATIENCE, || {
                let record = self.record(&machine.name);
                if record.running == Running::Os { Ok(record) } else { Err(format!("{record:?}")) }
            });
            let disk = record.disk.expect("it runs from its disk");
            assert_eq!((disk.bytes, disk.sha512.as_str(), disk.id.as_str()), (self.image_bytes, self.sha512.as_str(), self.image.as_str()));
        }
    }

    fn record(&self, name: &str) -> Record {
        self.fleet.record().into_iter().find(|it| it.name == name).unwrap()
    }
}

/// What the nodes wait for, for messages.
fn reasons(nodes: &[Value]) -> String {
    let all: Vec<String> = nodes
        .iter()
        .map(|it| format!("{}: {} {} {}", it["name"], it["provision_state"], it["last_error"], it["driver_internal_info"]))
        .take(5)
        .collect();
    all.join("; ")
}

/// Writes a file of so many MiB whose MiB are all different, and mostly holes; its size in bytes.
fn write_image(path: &Path, mib: u64) -> u64 {
    let mut file = std::fs::File::create(path).unwrap();
    file.set_len(mib << 20).unwrap();
    for number in 0..mib {
        file.seek(SeekFrom::Start(number << 20)).unwrap();
        file.write_all(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().repeat(512)).unwrap();
    }
    mib << 20
}

#[test]
fn deployments_survive_kills() {
    const MACHINES: usize = 20;
    const KILLS: usize = 20;
    let mut chance = Chance::seeded();
    let site = Site::new(MACHINES, 16, |settings| {
        settings.seed = chance.below(u64::MAX);
        (settings.power_ms, settings.boot_ms, settings.step_ms) = (400, 1500, 1000);
        settings.jitter = 0.5;
    });
    site.provide();
    site.choose_image();
    let (kills, began, broken) = (AtomicUsize::new(0), Instant::now(), AtomicBool::new(false));
    let mut rounds = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while kills.load(Ordering::Relaxed) < KILLS && !broken.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1000 + chance.below(2000)));
                let pause = Duration::from_millis(chance.below(500));
                site.serve.kill();
                say(&format!("{:6.2} s: killed, dead for {pause:?}", began.elapsed().as_secs_f64()));
                std::thread::sleep(pause);
                site.serve.spawn();
                kills.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _ended = Ended(&broken);
        // Deployed again until all kills have come: none is wasted on machines at rest.
        loop {
            let verb = if rounds == 0 { "active" } else { "rebuild" };
            site.ask(verb, if rounds == 0 { &["available"] } else { &["active"] });
            site.all_are("active");
            rounds += 1;
            if kills.load(Ordering::Relaxed) >= KILLS {
                break;
            }
        }
    });
    site.serve.await_ready();
    site.check_deployed();
    let boots: u64 = site.fleet.record().iter().map(|it| it.counts.ramdisk_boots).sum();
    let writes: u64 = site.fleet.record().iter().map(|it| it.counts.images).sum();
    say(&format!(
        "{MACHINES} machines deployed {rounds} times through {KILLS} kills in {:.1} s; {boots} boots of ramdisks, {writes} images written",
        began.elapsed().as_secs_f64()
    ));

    // And given back: what a tenant wrote is gone before anybody else is offered the machine.
    site.ask("deleted", &["active"]);
    site.all_are("available");
    for record in site.fleet.record() {
        assert!(record.disk.is_none() && !record.is_dirty && record.counts.erasures > 0, "{record:?}");
    }
}

/// Tells the killer to stop when whoever it disturbs has failed.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Memory of a process in KiB: all of it, and what is its own.
fn memory(pid: u32) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok();
    Some((of("VmRSS:")?, of("RssAnon:")?))
}

#[test]
fn an_image_for_many_takes_no_memory() {
    const MACHINES: usize = 8;
    // The size that is promised is 1024; a larger image only takes longer.
    let mib = std::env::var("COFFERDAM_TEST_IMAGE_MIB").ok().map_or(256, |text| text.parse().expect("COFFERDAM_TEST_IMAGE_MIB: a number"));
    let site = Site::new(MACHINES, mib, |_| {});
    site.provide();
    site.choose_image();
    let (most, own, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let pid = site.serve.pid();
        let (most, own, done) = (&most, &own, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                if let Some((whole, anonymous)) = memory(pid) {
                    most.fetch_max(whole, Ordering::Relaxed);
                    own.fetch_max(anonymous, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let _ended = Ended(done);
        site.ask("active", &["available"]);
        site.all_are("active");
    });
    site.check_deployed();
    let (most, own) = (most.into_inner(), own.into_inner());
    say(&format!(
        "{MACHINES} machines, {mib} MiB each, in {:.1} s: the control plane held at most {} MiB, {} MiB of them its own",
        began.elapsed().as_secs_f64(),
        most >> 10,
        own >> 10
    ));
    assert!(most < MEMORY_KIB, "{most} KiB");
}

#[test]
fn bmcs_that_stumble_do_no_harm() {
    let seed = Chance::seeded().below(u64::MAX);
    let site = Site::new(6, 1, |settings| {
        settings.seed = seed;
        settings.bmc_fails = 0.05;
    });
    site.provide();
    site.choose_image();
    site.ask("active", &["available"]);
    site.all_are("active");
    site.check_deployed();
    let record = site.fleet.record();
    assert!(record.iter().all(|it| it.counts.bmc_requests > 5), "{record:?}");
}
