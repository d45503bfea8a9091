//! Starting, stopping, starting again, and refusing to start.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::api::{Service, Session, admin_password, credentials};
use crate::support::serve::{Serve, Setting};
use crate::support::{database, say, wait_for};

/// The processor time of it all, from an empty state directory to the first 200.
const WORK: Duration = Duration::from_secs(1);
/// The same by the clock on the wall, which also goes while others have the processors and the disk.
const READY: Duration = Duration::from_secs(30);
/// Memory of an idle control plane that is its own, in KiB. 60 MiB are promised in all; the other half is left to the program's text, of
/// which a release build has 20 MiB in memory and this unoptimised one 50.
const OWN_KIB: u64 = 30 * 1024;

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn own_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The processor time a process has used so far, in user and in kernel mode (`proc_pid_stat(5)`, fields 14 and 15, of which a
/// second has a hundred).
fn worked(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may have anything in it.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

#[test]
fn the_first_start_is_quick_and_small() {
    // What the machine is busy with besides is not the program's doing: the best of a few counts.
    let mut took = Vec::new();
    for _ in 0..5 {
        let dir = scratch();
        let began = Instant::now();
        let serve = Serve::start(Setting::new(&dir.path().join("state")));
        let (ready, work) = (began.elapsed(), worked(serve.pid()));
        took.push((ready, work));
        if ready < READY && work < WORK {
            std::thread::sleep(Duration::from_secs(2));
            let own = own_kib(serve.pid());
            say(&format!("ready from nothing after, with work of {took:?}; idle with {} MiB of its own", own / 1024));
            assert!(own < OWN_KIB, "{own} KiB");
            return;
        }
    }
    panic!("never ready within {READY:?} and with {WORK:?} of work: {took:?}");
}

#[test]
fn serve_lifecycle() {
    let dir = scratch();
    lifecycle(Setting::new(&dir.path().join("state")));
}

#[test]
fn serve_lifecycle_on_postgresql() {
    let Some(postgres) = database::Postgres::new() else {
        say("skipped: COFFERDAM_TEST_POSTGRES is not set");
        return;
    };
    let dir = scratch();
    let setting = Setting { database_url: Some(postgres.url.clone()), ..Setting::new(&dir.path().join("state")) };
    lifecycle(setting);
    assert!(!dir.path().join("state/cofferdam.db").exists(), "there is an embedded store besides");
}

/// First start, what it made, drain, second start, second process, a store from the future.
fn lifecycle(setting: Setting) {
    let (base, state_dir) = (setting.base(), setting.state_dir.clone());
    let serve = Serve::start(setting.clone());
    assert_eq!(mode(&state_dir), 0o700);
    assert_eq!(mode(&state_dir.join("clouds.yaml")), 0o600);
    let clouds = std::fs::read_to_string(state_dir.join("clouds.yaml")).unwrap();
    for line in ["  cofferdam:", &format!("auth_url: {base}/identity/v3"), "username: admin", "project_name: admin"] {
        assert!(clouds.contains(line), "{line}");
    }
    let admin = Session::admin(&base, &state_dir);
    bootstrapped(&admin, &base);
    let project = admin.create(Service::Identity, "/projects", "project", &json!({"project": {"name": "kept", "domain_id": "default"}}));
    let network = admin.create(Service::Network, "/networks", "network", &json!({"network": {"name": "kept"}}));

    let said = Setting { port: setting.port + 1, ..setting.clone() }.refused();
    assert!(said.contains("is in use by another cofferdam serve"), "{said}");
    drains(&serve, &state_dir);

    // Whoever was logged in stays it.
    let serve = Serve::start(setting.clone());
    assert_eq!(admin.get(Service::Identity, &format!("/projects/{}", project["id"].as_str().unwrap()))["project"]["name"], "kept");
    let shown = admin.get(Service::Network, &format!("/networks/{}", network["id"].as_str().unwrap()));
    assert_eq!(shown["network"]["provider:segmentation_id"], network["provider:segmentation_id"]);
    bootstrapped(&Session::admin(&base, &state_dir), &base);
    assert_eq!(std::fs::read_to_string(state_dir.join("clouds.yaml")).unwrap(), clouds);
    serve.kill();
    serve.spawn();
    serve.await_ready();
    assert!(serve.terminate().success());

    let from_the_future = "UPDATE schema_version SET version = 4711";
    match &setting.database_url {
        Some(url) => database::statement(url, from_the_future),
        None => database::open(&state_dir).execute_batch(from_the_future).unwrap(),
    }
    let said = setting.refused();
    assert!(said.contains("4711") && said.contains("newer"), "{said}");
    let back = format!("UPDATE schema_version SET version = {}", store::SCHEMA_VERSION);
    match &setting.database_url {
        Some(url) => database::statement(url, &back),
        None => database::open(&state_dir).execute_batch(&back).unwrap(),
    }
    let serve = Serve::start(setting);
    assert_eq!(
        admin.get(Service::Network, "/networks?name=kept")["networks"].as_array().unwrap().len(),
        1,
        "the refused start changed something"
    );
    serve.signal(Signal::SIGINT);
    assert!(serve.ended().success());
}

/// What an empty store gets at the first start, once.
fn bootstrapped(admin: &Session, base: &str) {
    let names = |path: &str| -> BTreeSet<String> {
        let list = admin.list(Service::Identity, path);
        let names: BTreeSet<String> = list.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names.len(), list.len(), "{path}: twice the same: {list:?}");
        names
    };
    let roles = names("/roles");
    for role in ["admin", "manager", "member", "reader", "service"] {
        assert!(roles.contains(role), "{roles:?}");
    }
    assert!(names("/projects").contains("admin") && names("/users").contains("admin"));
    assert_eq!(admin.get(Service::Identity, "/domains/default")["domain"]["name"], "Default");
    let regions = admin.list(Service::Identity, "/regions");
    assert_eq!(regions.iter().map(|it| it["id"].as_str().unwrap()).collect::<Vec<_>>(), ["RegionOne"]);
    let catalog = admin.get(Service::Identity, "/auth/catalog");
    let kinds: BTreeSet<&str> = catalog["catalog"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["baremetal", "compute", "container-infra", "identity", "image", "network"]));
    for service in catalog["catalog"].as_array().unwrap() {
        let urls = service["endpoints"].as_array().unwrap().iter().map(|it| it["url"].as_str().unwrap());
        assert!(urls.clone().count() > 0 && urls.clone().all(|url| url.starts_with(base)), "{service}");
    }
}

/// A request that is under way at SIGTERM is answered; whoever comes later is not.
fn drains(serve: &Serve, state_dir: &Path) {
    let body = credentials("admin", &admin_password(state_dir), "admin").to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let address = ("127.0.0.1", serve.setting.port);
    let mut line = TcpStream::connect(address).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    write!(
        line,
        "POST /identity/v3/auth/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{first}"
    )
    .unwrap();
    // Until it is surely in the handler, reading the body.
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    serve.signal(Signal::SIGTERM);
    wait_for("no connections are taken after SIGTERM", Duration::from_secs(20), || match TcpStream::connect(address) {
        Ok(_) => Err("one was taken".to_owned()),
        Err(_) => Ok(()),
    });
    line.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(serve.ended().success());
    say(&format!("drained and ended {:.2} s after SIGTERM", began.elapsed().as_secs_f64()));
}

#[test]
fn bad_settings_are_refused() {
    let dir = scratch();
    let config = dir.path().join("config.toml");
    let setting = Setting { config: Some(config.clone()), ..Setting::new(&dir.path().join("state")) };
    for (text, reason) in [
        ("[fabrik]\n", "unknown field `fabrik`"),
        ("[fabric]\nvlan_range = \"199:100\"\n", "is not a range of VLANs"),
        ("[fabric]\nvlan_range = \"100:200\"\nisolation_vlan = 150\n", "isolation_vlan lies within"),
        ("[fabric]\nisolation_vlan = 4095\n", "4095"),
        ("[edge]\nswitch = \"edge\"\nnetns = \"n\"\nnetns_prefix = \"p\"\n", "which is no [[fabric.switch]]"),
        ("[provisioning]\nvlan = 99\ncidr = \"172.30.0.0/24\"\naddress = \"10.0.0.1\"\n", "address is not in provisioning.cidr"),
        ("this is no TOML", "cannot understand"),
    ] {
        std::fs::write(&config, text).unwrap();
        let said = setting.refused();
        assert!(said.contains(reason) && said.contains("ERROR"), "{text}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    std::fs::remove_file(&config).unwrap();
    assert!(setting.refused().contains("cannot read"));
    assert!(!setting.state_dir.exists(), "a start that was refused left something");

    let setting = Setting { config: None, database_url: Some("mysql://localhost/x".into()), ..setting };
    let said = setting.refused();
    assert!(said.contains("neither sqlite: nor postgresql://"), "{said}");
    let setting = Setting { database_url: None, ..setting };
    let taken = std::net::TcpListener::bind(("127.0.0.1", setting.port)).unwrap();
    assert!(setting.refused().contains("cannot listen on"), "a port that is taken");
    drop(taken);
}

#[test]
fn healthz_and_version_documents_need_no_token() {
    let dir = scratch();
    let serve = Serve::start(Setting::new(&dir.path().join("state")));
    let base = serve.setting.base();
    let get = |path: &str| crate::support::api::send(net::http::Request::get(format!("{base}{path}")), Duration::from_secs(10)).unwrap();
    assert_eq!(get("/healthz").status, 200);
    for service in Service::ALL {
        let root = service.prefix().rsplit_once('/').unwrap().0;
        let answer = get(root);
        assert!(matches!(answer.status, 200 | 300), "{root}: {}", answer.status);
        assert!(answer.body != Value::Null, "{root}: {}", answer.text);
        let mut line = TcpStream::connect(("127.0.0.1", serve.setting.port)).unwrap();
        write!(line, "GET {root} HTTP/1.1\r\nhost: cloud.example:8443\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        line.read_to_string(&mut text).unwrap();
        assert!(text.contains("https://cloud.example:8443/") && !text.contains("127.0.0.1"), "{root}: {text}");
    }
    let answer = get("/nowhere");
    assert_eq!((answer.status, &answer.body["error"]["code"]), (404, &json!(404)));
    let answer = crate::support::api::send(net::http::Request::new(Method::DELETE, format!("{base}/healthz")), Duration::from_secs(10));
    assert_eq!(answer.unwrap().status, 405);
}
