//! `cofferdam fabric` against a running control plane, and the import of an ini of networking-generic-switch.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::api::admin_password;
use support::serve::{Serve, Setting};
use support::wait_for;

/// As an operator has it: several kinds of switches, comments, options that have no equivalent, a switch that nobody drives.
const INI: &str = include_str!("fixtures/ml2_conf_genericswitch.ini");
/// The secrets in it.
const SECRETS: [&str; 4] = ["Sw1tch-P4ss", "3nable-Me", "comware:pass=1", "never-shown"];

/// Runs the command as the administrator of a server (or of none), with nothing else of the caller's environment.
fn fabric(serve: Option<&Serve>, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(support::BINARY);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OS_")) {
        command.env_remove(name);
    }
    if let Some(serve) = serve {
        command.env("OS_AUTH_URL", format!("{}/identity/v3", serve.setting.base()));
        command.env("OS_USERNAME", "admin").env("OS_PASSWORD", admin_password(&serve.setting.state_dir)).env("OS_PROJECT_NAME", "admin");
    }
    let output = support::run_anyway(command.arg("fabric").args(words));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A command that must end with this status; what it said.
#[track_caller]
fn said(serve: Option<&Serve>, status: i32, words: &[&str]) -> String {
    let (code, out, error) = fabric(serve, words);
    assert_eq!(code, status, "{words:?}: {out}{error}");
    if status == 2 { error } else { out }
}

fn json_of(serve: &Serve, status: i32, words: &[&str]) -> Value {
    serde_json::from_str(&said(Some(serve), status, &[words, &["--json"]].concat())).unwrap()
}

/// A control plane on a port from a range of the test's own: tests run at the same time.
fn start(dir: &Path, nth: u16) -> Serve {
    let setting = Setting::new(&dir.join("state"));
    Serve::start(Setting { port: support::free_port(16_000 + 800 * nth, 800), ..setting })
}

/// The database of an Open vSwitch of which nothing else runs. It ends with this value.
struct Database {
    child: Child,
    dir: PathBuf,
}

impl Database {
    /// One with this bridge and its ports, each on a VLAN; none if the programs are not there.
    fn start(dir: &Path, bridge: &str, ports: &[(&str, u16)]) -> Option<Self> {
        const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
        if !["ovsdb-server", "ovsdb-tool", "ovs-vsctl"].iter().all(|it| support::has_program(it)) || !Path::new(SCHEMA).is_file() {
            support::say("skipped: Open vSwitch is not installed");
            return None;
        }
        support::run(Command::new("ovsdb-tool").arg("create").arg(dir.join("conf.db")).arg(SCHEMA));
        let mut command = Command::new("ovsdb-server");
        command.arg(dir.join("conf.db")).arg(format!("--remote=punix:{}", dir.join("db.sock").display()));
        command.arg(format!("--unixctl={}", dir.join("ctl").display())).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let it = Self { child: command.spawn().unwrap(), dir: dir.to_owned() };
        wait_for("the database listens", Duration::from_secs(10), || it.dir.join("db.sock").exists().then_some(()).ok_or("not yet".into()));
        it.vsctl(&["init"]);
        it.vsctl(&["add-br", bridge]);
        for (number, (port, vlan)) in (1..).zip(ports) {
            it.vsctl(&["add-port", bridge, port, &format!("tag={vlan}"), "vlan_mode=access"]);
            // As the switch itself would have it.
            it.vsctl(&["set", "Interface", port, &format!("ofport={number}")]);
        }
        Some(it)
    }

    fn vsctl(&self, words: &[&str]) -> String {
        support::run(Command::new("ovs-vsctl").args(["--no-wait", "--timeout=5", &format!("--db={}", self.endpoint())]).args(words))
    }

    fn endpoint(&self) -> String {
        format!("unix:{}", self.dir.join("db.sock").display())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn switches_ports_and_quarantine_from_the_command_line() {
    let dir = tempfile::Builder::new().prefix("cofferdam-fabric-").tempdir().unwrap();
    let serve = start(dir.path(), 0);
    let serve = &serve;
    assert_eq!(said(Some(serve), 0, &["plan"]), "there are no switches\n");
    let password = dir.path().join("password");
    std::fs::write(&password, "opensesame\n").unwrap();
    let file = password.to_str().unwrap();
    // Nobody is there.
    let add = ["switch", "add", "leaf1", "--driver", "ovsdb", "--endpoint", "tcp:127.0.0.1:1", "--bridge", "br0", "--switch-id"];
    said(Some(serve), 0, &[&add[..], &["02:cf:00:00:00:01", "--uplink", "up1", "--login", "operator", "--password-file", file]].concat());
    let refused = said(Some(serve), 2, &["switch", "add", "leaf2", "--driver", "telnet", "--endpoint", "tcp:127.0.0.1:1"]);
    assert!(refused.contains("'telnet' is not one of"), "{refused}");
    let shown = json_of(serve, 0, &["switch", "show", "leaf1"])["switch"].take();
    assert_eq!((&shown["password"], &shown["uplinks"]), (&json!("******"), &json!(["up1"])));
    said(Some(serve), 0, &["switch", "set", "leaf1", "--drift", "report", "--no-uplinks"]);
    let shown = json_of(serve, 0, &["switch", "show", "leaf1"])["switch"].take();
    assert_eq!((&shown["drift"], &shown["uplinks"], &shown["username"]), (&json!("report"), &json!([]), &json!("operator")));
    let listed = said(Some(serve), 0, &["switch", "list"]);
    assert!(listed.starts_with("NAME ") && listed.contains("leaf1") && !listed.contains("opensesame"), "{listed}");

    said(Some(serve), 0, &["port", "take", "leaf1", "Ethernet 7"]);
    let ports = said(Some(serve), 0, &["port", "list", "--switch", "leaf1"]);
    assert!(ports.contains("Ethernet 7") && ports.contains("quarantine") && ports.contains("isolated"), "{ports}");
    wait_for("the engine to find nobody", Duration::from_secs(20), || {
        let shown = json_of(serve, 0, &["switch", "show", "leaf1"])["switch"].take();
        if shown["fault"].as_str().is_some_and(|it| !it.is_empty()) { Ok(()) } else { Err(shown.to_string()) }
    });
    let plan = said(Some(serve), 1, &["plan"]);
    assert!(plan.starts_with("leaf1: not known (never read)\n  ? "), "{plan}");
    let items = json_of(serve, 0, &["quarantine", "list"])["quarantine"].take();
    assert_eq!((&items[0]["port"], &items[0]["reason"]), (&json!("Ethernet 7"), &json!("it has not been read yet")));
    let refused = said(Some(serve), 2, &["switch", "remove", "leaf1"]);
    assert!(refused.contains("held or in quarantine"), "{refused}");
    let id = items[0]["id"].as_str().unwrap();
    let without = fabric(Some(serve), &["quarantine", "force", id]);
    assert_eq!(without.0, 2, "a reason is needed: {}", without.2);
    said(Some(serve), 0, &["quarantine", "force", id, "--reason", "there is no such switch"]);
    assert_eq!(said(Some(serve), 0, &["quarantine", "list"]), "nothing is in quarantine\n");
    let history = said(Some(serve), 0, &["switch", "history", "leaf1"]);
    assert!(history.contains("forced out of quarantine") && history.contains("there is no such switch"), "{history}");
    let history = said(Some(serve), 0, &["port", "history", "leaf1", "Ethernet 7"]);
    assert!(history.contains("taken under our care") && history.contains("WARNING"), "{history}");
    said(Some(serve), 0, &["switch", "remove", "leaf1"]);
    wait_for("the engine to forget it", Duration::from_secs(20), || {
        let again = fabric(Some(serve), &[&add[..], &["02:cf:00:00:00:02"]].concat());
        if again.0 == 0 { Ok(()) } else { Err(again.2) }
    });
}

#[test]
fn a_running_switch_is_adopted_without_a_change() {
    let dir = tempfile::Builder::new().prefix("cofferdam-fabric-").tempdir().unwrap();
    let Some(database) = Database::start(dir.path(), "br0", &[("p1", 300), ("p2", 7)]) else { return };
    let before = database.vsctl(&["--format=json", "list", "Port"]);
    let serve = start(dir.path(), 1);
    let serve = &serve;
    let endpoint = database.endpoint();
    let add = ["switch", "add", "leaf1", "--driver", "ovsdb", "--bridge", "br0", "--read-only", "true", "--endpoint", &endpoint];
    said(Some(serve), 0, &add);
    let adopted = said(Some(serve), 0, &["adopt", "leaf1"]);
    assert!(adopted.starts_with("leaf1: nothing differs (read at "), "{adopted}");
    let answer = json_of(serve, 0, &["adopt", "leaf1", "--take-over"]);
    assert_eq!((&answer["differences"], &answer["taken_over"], &answer["known"]), (&json!([]), &json!(true), &json!(true)));
    assert_eq!(said(Some(serve), 0, &["plan", "--switch", "leaf1"]).lines().count(), 1);
    let refused = said(Some(serve), 2, &["adopt", "leaf1"]);
    assert!(refused.contains("is ours already"), "{refused}");
    assert_eq!(database.vsctl(&["--format=json", "list", "Port"]), before, "nothing was written");
}

#[test]
fn a_switch_that_is_only_read_is_never_written() {
    let dir = tempfile::Builder::new().prefix("cofferdam-fabric-").tempdir().unwrap();
    let Some(database) = Database::start(dir.path(), "br0", &[("p1", 300), ("p2", 4094), ("up1", 301)]) else { return };
    database.vsctl(&["set", "Port", "p2", "protected=true"]);
    let before = database.vsctl(&["--format=json", "list", "Port"]);
    let serve = start(dir.path(), 2);
    let serve = &serve;
    let endpoint = database.endpoint();
    let add = [
        "switch",
        "add",
        "leaf1",
        "--driver",
        "ovsdb",
        "--bridge",
        "br0",
        "--read-only",
        "true",
        "--uplink",
        "up1",
        "--endpoint",
        &endpoint,
    ];
    said(Some(serve), 0, &add);
    for port in ["p1", "p2"] {
        said(Some(serve), 0, &["port", "take", "leaf1", port]);
    }
    let adopted = said(Some(serve), 1, &["adopt", "leaf1", "--take-over"]);
    assert!(adopted.starts_with("leaf1: only read; would be changed (read at "), "{adopted}");
    for line in
        ["  ~ port p1 is access VLAN 300, wanted isolated", "  ~ port up1 is access VLAN 301, wanted trunk", "leaf1 is not taken over"]
    {
        assert!(adopted.contains(line), "{adopted}");
    }
    assert!(!adopted.contains("port p2"), "it is as wanted: {adopted}");
    let shown = json_of(serve, 0, &["switch", "show", "leaf1"])["switch"].take();
    assert_eq!((&shown["fault"], &shown["commits"], &shown["breaker"]), (&json!(""), &json!(0), &json!("closed")));
    let free = json_of(serve, 0, &["port", "list", "--state", "free"])["switch_ports"].take();
    assert_eq!((free.as_array().unwrap().len(), &free[0]["port"]), (1, &json!("p2")), "a reading proves, whoever set it");
    assert_eq!(database.vsctl(&["--format=json", "list", "Port"]), before, "nothing was written");
}

#[test]
fn drift_that_is_only_reported_is_left_until_somebody_decides() {
    let dir = tempfile::Builder::new().prefix("cofferdam-fabric-").tempdir().unwrap();
    let Some(database) = Database::start(dir.path(), "br0", &[("p1", 4094)]) else { return };
    database.vsctl(&["set", "Port", "p1", "protected=true"]);
    let serve = start(dir.path(), 3);
    let serve = &serve;
    let endpoint = database.endpoint();
    said(Some(serve), 0, &["switch", "add", "leaf1", "--driver", "ovsdb", "--bridge", "br0", "--drift", "report", "--endpoint", &endpoint]);
    said(Some(serve), 0, &["port", "take", "leaf1", "p1"]);
    let until = |what: &str, fits: &dyn Fn(&Value) -> bool| {
        wait_for(what, Duration::from_secs(20), || {
            said(Some(serve), 0, &["switch", "read", "leaf1"]);
            let port = json_of(serve, 0, &["port", "list"])["switch_ports"][0].take();
            if fits(&port) { Ok(port) } else { Err(port.to_string()) }
        })
    };
    until("the port to be proven isolated", &|port| port["state"] == "free");
    database.vsctl(&["set", "Port", "p1", "tag=300", "protected=false"]);
    let port = until("the hand edit to be found", &|port| port["state"] == "quarantine");
    assert_eq!(port["seen"], json!({"mode": "access", "vlan": 300}));
    let mut reading = 0;
    wait_for("more readings", Duration::from_secs(20), || {
        said(Some(serve), 0, &["switch", "read", "leaf1"]);
        let now = json_of(serve, 0, &["switch", "show", "leaf1"])["switch"]["reading"].as_u64().unwrap();
        reading = if reading == 0 { now } else { reading };
        if now > reading + 3 { Ok(()) } else { Err(now.to_string()) }
    });
    assert!(database.vsctl(&["get", "Port", "p1", "tag"]).contains("300"), "it is left alone at every later look too");
    let shown = json_of(serve, 0, &["switch", "show", "leaf1"])["switch"].take();
    assert_eq!((&shown["drifts"], &shown["commits"], &shown["fault"]), (&json!(1), &json!(0), &json!("")));
    let plan = said(Some(serve), 1, &["plan"]);
    assert!(plan.contains("~ port p1: wanted isolated, found access VLAN 300; changed by somebody else, left alone"), "{plan}");
}

#[test]
fn an_ini_of_networking_generic_switch_is_taken_over() {
    let dir = tempfile::Builder::new().prefix("cofferdam-fabric-").tempdir().unwrap();
    let ini = dir.path().join("ml2_conf_genericswitch.ini");
    std::fs::write(&ini, INI).unwrap();
    let ini = ini.to_str().unwrap();
    let (code, told, error) = fabric(None, &["import", "ngs", ini]);
    assert_eq!(code, 1, "one of them cannot be taken over: {error}");
    for secret in SECRETS {
        assert!(!told.contains(secret) && !error.contains(secret), "{told}{error}");
    }
    assert!(told.contains("left out: old-cumulus: Cumulus is driven by NVUE only, not by NCLU\n"), "{told}");
    assert!(told.contains("Nothing was written."), "{told}");
    let answer: Value = serde_json::from_str(&fabric(None, &["import", "ngs", ini, "--json"]).1).unwrap();
    let found: Vec<&str> = answer["switches"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();

    let out = dir.path().join("fabric.toml");
    let (_, told, error) = fabric(None, &["import", "ngs", ini, "--out", out.to_str().unwrap(), "--trust-on-first-use"]);
    assert!(told.contains("switches were written to"), "{told}{error}");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let written: toml::Table = std::fs::read_to_string(&out).unwrap().parse().unwrap();
    let switches = written["fabric"]["switch"].as_array().unwrap();
    let names: Vec<&str> = switches.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, found);
    for (name, driver, endpoint, password) in [
        ("leaf-a1", "arista_eos", "ssh:10.20.0.11:22", "Sw1tch-P4ss"),
        ("leaf-c1", "cisco_nxos", "ssh:10.20.0.12:22", "Sw1tch-P4ss"),
        ("leaf-h1", "hpe_comware", "ssh:[fd00:20::13]:2222", "comware:pass=1"),
    ] {
        // As far as this program drives them.
        if !model::fabric::DRIVERS.contains(&driver) {
            assert!(!names.contains(&name));
            continue;
        }
        let it = switches.iter().find(|it| it["name"].as_str() == Some(name)).unwrap();
        assert_eq!((it["driver"].as_str(), it["endpoint"].as_str()), (Some(driver), Some(endpoint)));
        assert_eq!((it["password"].as_str(), it["trust_on_first_use"].as_bool()), (Some(password), Some(true)));
        assert_eq!(it["read_only"].as_bool(), Some(true), "not written before it was adopted");
    }
    let again = fabric(None, &["import", "ngs", ini, "--out", out.to_str().unwrap()]);
    assert_eq!(again.0, 2, "a file that is there is not written over: {}", again.2);

    let serve = start(dir.path(), 4);
    let (_, told, error) = fabric(Some(&serve), &["import", "ngs", ini, "--apply"]);
    let listed = json_of(&serve, 0, &["switch", "list"])["switches"].take();
    for secret in SECRETS {
        assert!(!told.contains(secret) && !error.contains(secret) && !listed.to_string().contains(secret), "{told}{error}{listed}");
    }
    for it in listed.as_array().unwrap() {
        assert_eq!((&it["read_only"], &it["declared_in"]), (&json!(true), &json!("api")), "{it}");
    }
    // The one whose key lies in a file that is not here cannot be declared.
    assert_eq!(told.matches(": declared\n").count(), listed.as_array().unwrap().len(), "{told}");
    let (_, told, _) = fabric(Some(&serve), &["import", "ngs", ini, "--apply"]);
    assert_eq!(told.matches("was declared before").count(), listed.as_array().unwrap().len(), "{told}");
}

#[test]
fn the_lists_of_drivers_are_one() {
    assert_eq!(model::fabric::DRIVERS, drivers::switch::DRIVERS, "api must not know drivers: what it takes is this list");
}
