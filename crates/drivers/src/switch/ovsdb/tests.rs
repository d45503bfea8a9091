use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use proptest::prelude::*;

use super::*;
use crate::switch::{Difference, PortWanted, open};

/// What differs on a switch on which nothing but ports is declared.
fn differs(wanted: &SwitchWanted, seen: &SwitchSeen) -> Vec<Difference> {
    crate::switch::differs(wanted, seen, &FACTS)
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn isolation() -> VlanId {
    vlan(4094)
}

fn trunk(ids: &[u16]) -> PortMode {
    PortMode::tagged(ids.iter().map(|&id| vlan(id)))
}

fn row(columns: Value) -> PortRow {
    let mut all = json!({"_uuid": ["uuid", "u1"], "name": "p1", "interfaces": ["uuid", "i1"], "tag": ["set", []], "trunks": ["set", []],
        "vlan_mode": ["set", []], "protected": false, "cvlans": ["set", []], "external_ids": ["map", [["cofferdam", "owned"]]]});
    all.as_object_mut().unwrap().extend(columns.as_object().unwrap().clone());
    parse(&tables(&[all]), "br0").unwrap().ports.remove("p1").unwrap()
}

fn tables(ports: &[Value]) -> Vec<Value> {
    let members: Vec<&Value> = ports.iter().map(|port| &port["_uuid"]).collect();
    vec![
        json!({"rows": [{"next_cfg": 7, "cur_cfg": 6}]}),
        json!({"rows": [{"name": "br0", "ports": ["set", members]}, {"name": "br1", "ports": ["uuid", "elsewhere"]}]}),
        json!({"rows": ports}),
        json!({"rows": [{"_uuid": ["uuid", "i1"], "name": "p1", "ofport": 3, "error": ["set", []]},
                        {"_uuid": ["uuid", "i2"], "name": "p2", "ofport": -1, "error": "no such device"}]}),
    ]
}

#[test]
fn what_is_rendered_is_read_back_as_the_same() {
    for mode in
        [PortMode::Isolated, PortMode::Access(vlan(1)), PortMode::Access(vlan(4093)), trunk(&[]), trunk(&[5]), trunk(&[5, 101, 4093])]
    {
        let columns = Value::Object(columns(&mode, isolation()).unwrap());
        assert_eq!(row(columns).mode(isolation()), SeenMode::Known(mode));
    }
}

#[test]
fn what_we_never_configure_is_foreign() {
    let check = |columns: Value, expected: &str| {
        assert_eq!(row(columns).mode(isolation()), SeenMode::Foreign(expected.to_owned()));
    };
    check(json!({}), "trunk of all VLANs");
    check(json!({"vlan_mode": "trunk"}), "trunk of all VLANs");
    check(json!({"tag": 4094}), "access tag 4094");
    check(json!({"tag": 101, "protected": true}), "access tag 101 protected");
    check(json!({"tag": 0, "vlan_mode": "access"}), "access tag 0");
    check(json!({"vlan_mode": "access"}), "access without tag");
    check(json!({"tag": 101, "trunks": ["set", [102, 103]]}), "access tag 101 trunks 102,103");
    check(json!({"tag": 101, "trunks": ["set", [102, 103]], "vlan_mode": "native-tagged"}), "native-tagged tag 101 trunks 102,103");
    check(json!({"trunks": 4094, "vlan_mode": "trunk"}), "trunk trunks 4094");
    check(json!({"trunks": 4095, "vlan_mode": "trunk"}), "trunk trunks 4095");
    check(json!({"tag": 101, "cvlans": 7, "vlan_mode": "access"}), "access tag 101 with customer VLANs");
    check(json!({"tag": 101, "interfaces": ["uuid", "i2"]}), "access VLAN 101, but out of order: no such device");
    assert_eq!(row(json!({"tag": 101})).mode(isolation()), SeenMode::Known(PortMode::Access(vlan(101))), "the mode that is not written");
    let unplugged = row(json!({"tag": 4094, "protected": true, "interfaces": ["uuid", "i2"]}));
    assert_eq!(unplugged.mode(isolation()), SeenMode::Known(PortMode::Isolated));
}

#[test]
fn vlans_of_every_port_are_reported() {
    let port = |id: &str, name: &str, tag: Value, trunks: Value| {
        json!({"_uuid": ["uuid", id], "name": name, "interfaces": ["set", []], "tag": tag, "trunks": trunks, "vlan_mode": ["set", []],
               "protected": false, "cvlans": ["set", []], "external_ids": ["map", []]})
    };
    let none = || json!(["set", []]);
    let mut all = tables(&[port("a", "p1", json!(101), none()), port("b", "up", none(), json!(["set", [5, 0, 4095]]))]);
    all[2]["rows"].as_array_mut().unwrap().push(port("elsewhere", "q1", json!(300), none()));
    let rows = parse(&all, "br0").unwrap();
    assert_eq!(rows.vlans.iter().map(|id| id.get()).collect::<Vec<_>>(), [5, 101, 300]);
    assert_eq!(rows.ports.keys().collect::<Vec<_>>(), ["p1", "up"]);
    assert_eq!((rows.wanted, rows.applied), (7, 6));
    assert_eq!(parse(&all, "br7"), Err(Unreadable::NoBridge));
    assert!(matches!(parse(&all[..2], "br0"), Err(Unreadable::Nonsense(_))));
}

#[test]
fn only_what_differs_is_written_and_guarded() {
    let mut rows = parse(&tables(&[]), "br0").unwrap();
    rows.ports.insert("p1".to_owned(), row(json!({"tag": 101})));
    rows.ports.insert("p2".to_owned(), PortRow { uuid: "u2".to_owned(), ..row(json!({"tag": 102})) });
    let wants = |list: &[(&str, PortMode)]| SwitchWanted {
        ports: list.iter().map(|(name, mode)| ((*name).to_owned(), PortWanted::from(mode.clone()))).collect(),
        ..SwitchWanted::default()
    };
    let same = wants(&[("p1", PortMode::Access(vlan(101))), ("absent", PortMode::Isolated)]);
    assert_eq!(render(&same, &rows, isolation()), Ok(vec![]));

    let moved = render(&wants(&[("p1", PortMode::Access(vlan(101))), ("p2", PortMode::Isolated)]), &rows, isolation()).unwrap();
    let kinds: Vec<_> = moved.iter().map(|it| format!("{} {}", it["op"], it["table"]).replace('"', "")).collect();
    assert_eq!(kinds, ["wait Port", "update Port", "mutate Port", "mutate Open_vSwitch", "select Open_vSwitch"]);
    assert_eq!(moved[0]["rows"][0]["tag"], 102);
    assert!(moved[..3].iter().all(|it| it["where"][0][2] == json!(["uuid", "u2"])));

    let unmarked = PortRow { marked: false, ..row(json!({"tag": 101})) };
    rows.ports.insert("p1".to_owned(), unmarked);
    assert_eq!(render(&same, &rows, isolation()).unwrap().len(), 5, "a port that is taken over is marked");
    let remove = |name: &str| SwitchWanted { remove: [name.to_owned()].into(), ..SwitchWanted::default() };
    assert_eq!(render(&remove("p1"), &rows, isolation()), Ok(vec![]), "without our mark it is not ours to remove");
    assert_eq!(render(&remove("absent"), &rows, isolation()), Ok(vec![]));
    assert!(render(&wants(&[("p1", PortMode::Access(isolation()))]), &rows, isolation()).is_err());
    assert!(render(&wants(&[("p1", trunk(&[5, 4094]))]), &rows, isolation()).is_err());
}

/// The columns of a port after the updates of a transaction.
fn after(before: &Value, operations: &[Value]) -> Value {
    let mut row = before.clone();
    for operation in operations.iter().filter(|it| it["op"] == "update" && it["where"][0][2] == before["_uuid"]) {
        row.as_object_mut().unwrap().extend(operation["row"].as_object().unwrap().clone());
    }
    row
}

fn any_columns(id: &'static str) -> impl Strategy<Value = Value> {
    let modes: &[&str] = &["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"];
    let set = |items: Vec<Value>| json!(["set", items]);
    let ids = || proptest::collection::btree_set(0_u16..=4095, 0..4);
    (proptest::option::of(proptest::sample::select(modes)), proptest::option::of(0_u16..=4095), ids(), ids(), any::<bool>(), any::<bool>()).prop_map(
        move |(mode, tag, trunks, inner, protected, marked)| {
            json!({"_uuid": ["uuid", id], "name": id, "interfaces": ["uuid", "i1"], "vlan_mode": set(mode.iter().map(|it| json!(it)).collect()),
                   "tag": set(tag.iter().map(|it| json!(it)).collect()), "trunks": ["set", trunks], "cvlans": ["set", inner], "protected": protected,
                   "external_ids": if marked { json!(["map", [["cofferdam", "owned"]]]) } else { json!(["map", []]) }})
        },
    )
}

fn any_mode() -> impl Strategy<Value = PortMode> {
    prop_oneof![
        Just(PortMode::Isolated),
        (1_u16..4094).prop_map(|id| PortMode::Access(vlan(id))),
        proptest::collection::btree_set(1_u16..4094, 0..5).prop_map(|ids| PortMode::tagged(ids.into_iter().map(vlan))),
        (1_u16..2000, proptest::collection::btree_set(2000_u16..4094, 0..5))
            .prop_map(|(native, ids)| PortMode::Trunk { native: Some(vlan(native)), tagged: ids.into_iter().map(vlan).collect() }),
    ]
}

proptest! {
    #[test]
    fn whatever_a_port_was_it_becomes_what_is_wanted_and_others_are_not_named(want in any_mode(), ours in any_columns("ours"), theirs in any_columns("theirs")) {
        let rows = parse(&tables(&[ours.clone(), theirs.clone()]), "br0").unwrap();
        let operations = render(&wanted(&[("ours", want.clone())]), &rows, isolation()).unwrap();
        prop_assert!(!json!(operations).to_string().contains("theirs"));
        let now = after(&ours, &operations);
        let now = parse(&tables(&[now, theirs]), "br0").unwrap();
        let seen = now.seen(isolation());
        prop_assert_eq!(seen.mode("ours"), &SeenMode::Known(want));
    }
}

#[test]
fn verdicts_are_read() {
    assert_eq!(verdict(vec![json!({}), json!({"error": "timed out"})], 2), Err(Refusal::LostRace));
    assert_eq!(verdict(vec![json!({})], 2).unwrap_err().to_string(), "not all operations were answered");
    let late = vec![json!({}), json!({"error": "constraint violation", "details": "two of a name"})];
    assert_eq!(verdict(late, 1), Err(Refusal::Error("constraint violation: two of a name".to_owned())));
}

/// A real switch in a namespace and a directory of its own, gone when dropped.
struct Rig {
    dir: tempfile::TempDir,
    netns: String,
}

impl Rig {
    /// `None`, with the reason printed, where it cannot be.
    fn start() -> Option<Rig> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !Uid::effective().is_root() || Command::new("ovs-vsctl").arg("--version").output().is_err() {
            eprintln!("skipped: needs root and openvswitch-switch");
            return None;
        }
        let netns = format!("cdt-sw{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let rig = Rig { dir: tempfile::tempdir().unwrap(), netns };
        rig.run(&["ip", "netns", "add", &rig.netns]);
        for port in ["p1", "p2", "p3", "edge1"] {
            rig.inside(&["ip", "link", "add", port, "type", "veth", "peer", "name", &format!("{port}-peer")]);
            rig.inside(&["ip", "link", "set", port, "up"]);
        }
        let path = |name: &str| rig.dir.path().join(name).display().to_string();
        rig.run(&["ovsdb-tool", "create", &path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema"]);
        let (remote, tcp) = (format!("--remote=punix:{}", path("db.sock")), "--remote=ptcp:6640:127.0.0.1");
        let log = format!("--log-file={}", path("log"));
        let (pid, ctl) = (format!("--pidfile={}", path("db.pid")), format!("--unixctl={}", path("db.ctl")));
        rig.inside(&["ip", "link", "set", "lo", "up"]);
        rig.inside(&["ovsdb-server", &path("conf.db"), &remote, tcp, &pid, &ctl, &log, "--detach", "--no-chdir"]);
        rig.vsctl(&["--no-wait", "init"]);
        let (pid, ctl) = (format!("--pidfile={}", path("vs.pid")), format!("--unixctl={}", path("vs.ctl")));
        rig.inside(&["ovs-vswitchd", &format!("unix:{}", path("db.sock")), &pid, &ctl, &log, "--detach", "--no-chdir"]);
        rig.vsctl(&["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]);
        for port in ["p1", "p2", "p3"] {
            rig.vsctl(&["add-port", "br0", port]);
        }
        Some(rig)
    }

    fn run(&self, words: &[&str]) -> String {
        let dir = self.dir.path();
        let output =
            Command::new(words[0]).args(&words[1..]).envs([("OVS_RUNDIR", dir), ("OVS_LOGDIR", dir), ("OVS_DBDIR", dir)]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn inside(&self, words: &[&str]) -> String {
        self.run(&[&["ip", "netns", "exec", &self.netns], words].concat())
    }

    fn vsctl(&self, words: &[&str]) -> String {
        let db = format!("--db=unix:{}/db.sock", self.dir.path().display());
        self.run(&[&["ovs-vsctl", "--timeout=10", &db], words].concat())
    }

    fn pid(&self, name: &str) -> Option<Pid> {
        read_pid(&self.dir.path().join(name))
    }

    fn config(&self) -> SwitchConfig {
        SwitchConfig::plain("leaf1", "ovsdb", &format!("unix:{}/db.sock", self.dir.path().display()), "br0", isolation())
    }
}

fn read_pid(path: &Path) -> Option<Pid> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok().map(Pid::from_raw)
}

impl Drop for Rig {
    fn drop(&mut self) {
        for name in ["vs.pid", "db.pid"] {
            if let Some(pid) = self.pid(name)
                && let Err(error) = kill(pid, Signal::SIGKILL)
            {
                eprintln!("could not kill {name}: {error}");
            }
        }
        if let Err(error) = Command::new("ip").args(["netns", "del", &self.netns]).output() {
            eprintln!("could not remove {}: {error}", self.netns);
        }
    }
}

fn wanted(list: &[(&str, PortMode)]) -> SwitchWanted {
    SwitchWanted {
        ports: list.iter().map(|(name, mode)| ((*name).to_owned(), PortWanted::from(mode.clone()))).collect(),
        ..SwitchWanted::default()
    }
}

#[tokio::test]
async fn a_real_switch_takes_and_shows_every_mode() {
    let Some(rig) = Rig::start() else { return };
    let switch = open(rig.config()).unwrap();
    let fresh = switch.observe().await.unwrap();
    assert_eq!(fresh.ports.keys().collect::<Vec<_>>(), ["br0", "p1", "p2", "p3"]);
    assert_eq!(*fresh.mode("p1"), SeenMode::Foreign("trunk of all VLANs".to_owned()));

    for modes in [
        [PortMode::Isolated, PortMode::Access(vlan(101))],
        [PortMode::Access(vlan(101)), trunk(&[])],
        [trunk(&[101, 102]), PortMode::Isolated],
        [trunk(&[]), trunk(&[7])],
    ] {
        let want = wanted(&[("p1", modes[0].clone()), ("p2", modes[1].clone())]);
        assert!(!differs(&want, &switch.observe().await.unwrap()).is_empty());
        let seen = switch.ensure(&want).await.unwrap().after;
        assert_eq!(differs(&want, &seen), [], "{modes:?}");
        assert_eq!(seen, switch.observe().await.unwrap());
        assert_eq!(*seen.mode("p3"), SeenMode::Foreign("trunk of all VLANs".to_owned()), "not ours, not written");
        let before = rig.vsctl(&["get", "Open_vSwitch", ".", "next_cfg"]);
        switch.ensure(&want).await.unwrap();
        assert_eq!(before, rig.vsctl(&["get", "Open_vSwitch", ".", "next_cfg"]), "a second time changes nothing");
    }
    // Operator's keys beside our mark survive.
    rig.vsctl(&["set", "port", "p1", "external_ids:rack=7"]);
    switch.ensure(&wanted(&[("p1", PortMode::Isolated)])).await.unwrap();
    assert_eq!(rig.vsctl(&["get", "port", "p1", "external_ids"]), r#"{cofferdam=owned, rack="7"}"#);

    // Drift by hand is seen and repaired.
    let want = wanted(&[("p1", PortMode::Access(vlan(101)))]);
    switch.ensure(&want).await.unwrap();
    rig.vsctl(&["set", "port", "p1", "tag=102"]);
    let seen = switch.observe().await.unwrap();
    assert_eq!(differs(&want, &seen)[0].to_string(), "port p1 is access VLAN 102, wanted access VLAN 101");
    assert!(seen.carried.contains(&vlan(102)));
    assert_eq!(differs(&want, &switch.ensure(&want).await.unwrap().after), []);

    // What must not be asked for changes nothing at all.
    let bad = wanted(&[("p1", PortMode::Isolated), ("p2", trunk(&[4094]))]);
    assert!(matches!(switch.ensure(&bad).await, Err(SwitchError::Rejected { .. })));
    assert_eq!(differs(&want, &switch.observe().await.unwrap()), []);
    // A port that is not there is reported, and does not keep the others from being set.
    let partly = wanted(&[("p1", PortMode::Isolated), ("p9", PortMode::Isolated)]);
    let seen = switch.ensure(&partly).await.unwrap().after;
    assert_eq!(differs(&partly, &seen).iter().filter_map(Difference::port).collect::<Vec<_>>(), ["p9"]);
}

#[tokio::test]
async fn ports_are_added_and_removed_only_where_asked() {
    let Some(rig) = Rig::start() else { return };
    let switch = open(rig.config()).unwrap();
    let mut want = wanted(&[("edge1", PortMode::Access(vlan(99))), ("ghost", PortMode::Access(vlan(99)))]);
    want.create_missing = true;
    let seen = switch.ensure(&want).await.unwrap().after;
    assert_eq!(*seen.mode("edge1"), SeenMode::Known(PortMode::Access(vlan(99))));
    assert!(matches!(seen.mode("ghost"), SeenMode::Foreign(text) if text.contains("out of order")), "{:?}", seen.ports["ghost"]);
    assert_eq!(rig.vsctl(&["get", "port", "edge1", "external_ids"]), "{cofferdam=owned}");
    // The device comes later: the switch takes it up by itself.
    rig.inside(&["ip", "link", "add", "ghost", "type", "veth", "peer", "name", "ghost-peer"]);
    let until = Instant::now() + Duration::from_secs(5);
    while !differs(&want, &switch.ensure(&want).await.unwrap().after).is_empty() {
        assert!(Instant::now() < until, "the switch never took up the new device");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone = SwitchWanted { remove: ["edge1".to_owned(), "ghost".to_owned(), "never".to_owned()].into(), ..SwitchWanted::default() };
    let seen = switch.ensure(&gone).await.unwrap().after;
    assert_eq!(seen.ports.keys().collect::<Vec<_>>(), ["br0", "p1", "p2", "p3"]);
    let theirs = SwitchWanted { remove: ["p1".to_owned()].into(), ..SwitchWanted::default() };
    let seen = switch.ensure(&theirs).await.unwrap().after;
    assert_eq!(differs(&theirs, &seen).len(), 1, "not removed, and said so");
}

/// A deadline that is missed on purpose. A database that answers keeps it.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_silent_switch_is_a_timeout_and_a_dead_one_unreachable() {
    let Some(rig) = Rig::start() else { return };
    let mut switch = Ovsdb::new(rig.config()).unwrap();
    let want = wanted(&[("p1", PortMode::Isolated)]);
    switch.ensure(&want).await.unwrap();
    switch.deadline = SHORT;

    // The database answers, the daemon that moves packets does not: not applied, so not done.
    let daemon = rig.pid("vs.pid").unwrap();
    kill(daemon, Signal::SIGSTOP).unwrap();
    let moved = wanted(&[("p1", PortMode::Access(vlan(101)))]);
    let error = switch.ensure(&moved).await.unwrap_err();
    assert!(matches!(error, SwitchError::Timeout { .. }), "{error}");
    let error = switch.observe().await.unwrap_err();
    assert!(matches!(error, SwitchError::Timeout { .. }), "{error}");
    kill(daemon, Signal::SIGCONT).unwrap();
    switch.deadline = DEADLINE;
    assert_eq!(differs(&moved, &switch.observe().await.unwrap()), []);
    switch.deadline = SHORT;

    let server = rig.pid("db.pid").unwrap();
    kill(server, Signal::SIGSTOP).unwrap();
    let begun = Instant::now();
    let error = switch.observe().await.unwrap_err();
    assert!(matches!(error, SwitchError::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8));
    kill(server, Signal::SIGCONT).unwrap();
    switch.deadline = DEADLINE;
    switch.observe().await.unwrap();

    kill(server, Signal::SIGKILL).unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        match switch.observe().await {
            Err(SwitchError::Unreachable { .. }) => break,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    }
}

#[tokio::test]
async fn concurrent_writers_do_not_overwrite_each_other() {
    let Some(rig) = Rig::start() else { return };
    let one = open(rig.config()).unwrap();
    let two = open(rig.config()).unwrap();
    for round in 0_u16..10 {
        let (a, b) =
            (wanted(&[("p1", PortMode::Access(vlan(101 + round)))]), wanted(&[("p1", trunk(&[200 + round])), ("p2", PortMode::Isolated)]));
        let (first, second) = tokio::join!(one.ensure(&a), two.ensure(&b));
        let (first, second) = (first.unwrap(), second.unwrap());
        let now = one.observe().await.unwrap();
        let last_wins = differs(&a, &now).is_empty() || differs(&b, &now).is_empty();
        assert!(last_wins, "a mixture of two wishes: {now:?} after {first:?} and {second:?}");
        assert_eq!(*now.mode("p2"), SeenMode::Known(PortMode::Isolated));
    }
    // A row that changed since it was read makes the whole transaction fail.
    let switch = Ovsdb::new(rig.config()).unwrap();
    let until = Instant::now() + DEADLINE;
    let stale = switch.read(until).await.unwrap();
    rig.vsctl(&["set", "port", "p1", "tag=55", "vlan_mode=access", "trunks=[]"]);
    let operations = render(&wanted(&[("p1", PortMode::Isolated)]), &stale, isolation()).unwrap();
    assert_eq!(switch.transact(&operations, until, "testing").await.unwrap(), Err(Refusal::LostRace));
    assert_eq!(rig.vsctl(&["get", "port", "p1", "tag"]), "55");
}

/// A program that ends with the test, however that ends.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_database_that_speaks_tls_is_known_by_its_certificate() {
    let Some(rig) = Rig::start() else { return };
    let make = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((theirs, their_key), (ours, our_key), (others, _)) = (make("switch"), make("cofferdam"), make("other"));
    let file = |name: &str, text: &str| {
        let path = rig.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let options = [
        format!("--private-key={}", file("theirs.key", &their_key)),
        format!("--certificate={}", file("theirs.pem", &theirs)),
        format!("--ca-cert={}", file("ours.pem", &ours)),
        format!("--db=unix:{}/db.sock", rig.dir.path().display()),
    ];
    // One of its own on the host, where this test is.
    let database = rig.dir.path().join("tls.db").display().to_string();
    rig.run(&["ovsdb-tool", "create", &database, "/usr/share/openvswitch/vswitch.ovsschema"]);
    let path = |name: &str| rig.dir.path().join(name).display().to_string();
    let mut words = vec!["ovsdb-server".to_owned(), database, "--remote=pssl:0:127.0.0.1".to_owned()];
    words.extend(options.into_iter().take(3));
    words.push(format!("--remote=punix:{}", path("tls.sock")));
    words.push(format!("--unixctl={}", path("tls.ctl")));
    words.push(format!("--log-file={}", path("tls.log")));
    words.push("-vfile:info".to_owned());
    let _server = Ends(Command::new(&words[0]).args(&words[1..]).envs([("OVS_RUNDIR", rig.dir.path())]).spawn().unwrap());
    let port = async {
        for _ in 0..200 {
            let log = std::fs::read_to_string(path("tls.log")).unwrap_or_default();
            const SAID: &str = ": listening on port ";
            if let Some(at) = log.find(SAID) {
                let digits: String = log[at + SAID.len()..].chars().take_while(char::is_ascii_digit).collect();
                return digits.parse::<u16>().unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{}", std::fs::read_to_string(path("tls.log")).unwrap_or_default());
    };
    let port = port.await;
    let db = format!("--db=unix:{}", path("tls.sock"));
    rig.run(&["ovs-vsctl", "--no-wait", "--timeout=10", &db, "init", "--", "add-br", "br0"]);
    let config = |ca: &str| {
        let mut config = SwitchConfig::plain("leaf1", "ovsdb", &format!("ssl:127.0.0.1:{port}"), "br0", isolation());
        config.trust.ca = Some(ca.to_owned());
        config.trust.certificate = Some(ours.clone());
        config.trust.key = Some(model::Secret::new(our_key.clone()));
        config
    };
    // No daemon applies anything here: that it reads at all is what is asked.
    let seen = open(config(&theirs)).unwrap().observe().await;
    let refused = open(config(&others)).unwrap().observe().await;
    let without = open(SwitchConfig::plain("leaf1", "ovsdb", "ssl:127.0.0.1:1", "br0", isolation()));
    match seen {
        Ok(seen) => assert!(seen.ports.contains_key("br0")),
        Err(SwitchError::Timeout { doing, .. }) => assert_eq!(doing, "waiting for its daemon to apply the configuration"),
        Err(other) => panic!("{other}"),
    }
    assert!(matches!(&refused, Err(SwitchError::Unreachable { reason, .. }) if reason.contains("certificate")), "{refused:?}");
    assert!(matches!(without, Err(SwitchError::Config { .. })));
}
