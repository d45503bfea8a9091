//! The driver against a switch that answers in turn: a small datastore of its own understanding.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use model::net::VlanId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::framing::{Deframer, frame};
use super::*;
use crate::switch::openconfig::tests::{apply, id};
use crate::switch::{Managed, PortMode, SeenMode, VlanWanted};

const OC: &str = "http://openconfig.net/yang/";

/// How the switch behaves.
#[derive(Debug, Default)]
struct Temper {
    capabilities: &'static [&'static str],
    /// The operation that is refused.
    refuse: Option<&'static str>,
    /// The operation after which it hangs up.
    hang_up: Option<&'static str>,
    /// Whether a commit shuts a port that was not named.
    harms: bool,
}

/// What the switch was asked, and its configurations as XML of interfaces: running, candidate, startup.
#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    running: Vec<(String, String)>,
    candidate: Vec<(String, String)>,
    startup: Vec<(String, String)>,
}

fn show(state: &[(String, String)]) -> String {
    let mut vlans = String::new();
    let mut out = format!("<interfaces xmlns=\"{OC}interfaces\">");
    for (name, content) in state {
        if let Some(vlan) = name.strip_prefix("vlan ") {
            vlans.push_str(&format!("<vlan><vlan-id>{vlan}</vlan-id><config><name>{content}</name></config></vlan>"));
            continue;
        }
        let (enabled, mode) = content.split_once(' ').unwrap();
        let (mode, vlan) = mode.split_once(' ').unwrap();
        let leaf = if mode == "ACCESS" { "access-vlan" } else { "trunk-vlans" };
        out.push_str(&format!(
            "<interface><name>{name}</name><config><type>ianaift:ethernetCsmacd</type><enabled>{enabled}</enabled></config>\
             <ethernet xmlns=\"{OC}interfaces/ethernet\"><switched-vlan xmlns=\"{OC}vlan\"><config><interface-mode>{mode}</interface-mode>\
             <{leaf}>{vlan}</{leaf}></config></switched-vlan></ethernet></interface>"
        ));
    }
    out.push_str("</interfaces>");
    out + &format!(
        "<network-instances xmlns=\"{OC}network-instance\"><network-instance><name>default</name><vlans>{vlans}</vlans></network-instance>\
         </network-instances>"
    )
}

/// Does what an `edit-config` says; only what the tests send.
fn edit(state: &mut Vec<(String, String)>, config: &xml::Node) {
    let mut put = |name: String, content: Option<String>| {
        state.retain(|(it, _)| *it != name);
        state.extend(content.map(|it| (name, it)));
    };
    for it in config.child("interfaces").into_iter().flat_map(|it| it.all("interface")) {
        let vlans = it.child("ethernet").and_then(|it| it.child("switched-vlan")).and_then(|it| it.child("config")).unwrap();
        let vlan = format!("{}{}", vlans.words("access-vlan"), vlans.words("trunk-vlans"));
        let enabled = it.child("config").unwrap().words("enabled");
        put(it.words("name").to_owned(), Some(format!("{enabled} {} {vlan}", vlans.words("interface-mode"))));
    }
    let instances = config.child("network-instances").and_then(|it| it.child("network-instance")).and_then(|it| it.child("vlans"));
    for it in instances.into_iter().flat_map(|it| it.all("vlan")) {
        put(format!("vlan {}", it.words("vlan-id")), it.child("config").map(|it| it.words("name").to_owned()));
    }
}

async fn serve(mut stream: DuplexStream, temper: Temper, state: Arc<Mutex<State>>) {
    let mut deframer = Deframer::default();
    let list: String = temper.capabilities.iter().map(|it| format!("<capability>urn:ietf:params:netconf:{it}</capability>")).collect();
    let hello = format!("<hello xmlns=\"{}\"><capabilities>{list}</capabilities><session-id>4</session-id></hello>", xml::BASE);
    stream.write_all(&frame(&hello, false)).await.unwrap();
    let mut piece = [0; 999];
    loop {
        let Some(message) = deframer.next().unwrap() else {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => deframer.push(&piece[..length]),
            }
            continue;
        };
        let root = xml::parse(&message).unwrap();
        if root.name == "hello" {
            deframer.is_chunked = temper.capabilities.contains(&"base:1.1");
            continue;
        }
        let operation = root.children.first().unwrap();
        let asked = match operation.name.as_str() {
            "get-config" => format!("get-config {}", operation.child("source").unwrap().children[0].name),
            "commit" if operation.child("confirmed").is_some() => "commit confirmed".into(),
            other => other.to_owned(),
        };
        let answer = {
            let mut state = state.lock().unwrap();
            state.asked.push(asked.clone());
            match asked.as_str() {
                it if temper.refuse == Some(it) => "<rpc-error><error-type>application</error-type><error-tag>invalid-value</error-tag>\
                    <error-severity>error</error-severity><error-message>no &lt;such&gt; VLAN</error-message></rpc-error>"
                    .into(),
                "get-config running" => format!("<data>{}</data>", show(&state.running)),
                "get-config startup" => format!("<data>{}</data>", show(&state.startup)),
                "get" => format!(
                    "<data><interfaces xmlns=\"{OC}interfaces\"><interface><name>Ethernet9</name><state><type>ethernetCsmacd</type></state>\
                     </interface></interfaces></data>"
                ),
                "lock" => {
                    state.candidate = state.running.clone();
                    "<ok/>".into()
                }
                "edit-config" => {
                    let is_candidate = operation.child("target").unwrap().children[0].name == "candidate";
                    let target = if is_candidate { &mut state.candidate } else { &mut state.running };
                    edit(target, operation.child("config").unwrap());
                    "<ok/>".into()
                }
                "commit" | "commit confirmed" => {
                    state.running = state.candidate.clone();
                    if temper.harms {
                        let port = state.running.iter_mut().find(|(name, _)| name == "Ethernet2").unwrap();
                        port.1 = "true ACCESS 66".into();
                    }
                    "<ok/>".into()
                }
                "copy-config" => {
                    state.startup = state.running.clone();
                    "<ok/>".into()
                }
                _ => "<ok/>".into(),
            }
        };
        if temper.hang_up == Some(asked.as_str()) {
            return;
        }
        let id = root.message_id.unwrap();
        let stray = format!("<notification xmlns=\"{}\"/>", "urn:ietf:params:xml:ns:netconf:notification:1.0");
        let reply = format!("<rpc-reply xmlns=\"{}\" message-id=\"{id}\">{answer}</rpc-reply>", xml::BASE);
        for message in [stray, reply] {
            if stream.write_all(&frame(&message, deframer.is_chunked)).await.is_err() {
                return;
            }
        }
    }
}

fn config() -> SwitchConfig {
    SwitchConfig::plain("sw", "netconf_openconfig", "ssh:192.0.2.1:830", "", id(999))
}

fn wanted() -> SwitchWanted {
    let vlan = |name: &str| VlanWanted { name: name.to_owned(), vni: None };
    SwitchWanted {
        ports: [
            ("Ethernet1".to_owned(), PortMode::Access(id(100)).into()),
            ("Ethernet3".to_owned(), PortMode::Isolated.into()),
            ("Ethernet77".to_owned(), PortMode::Isolated.into()),
        ]
        .into(),
        vlans: [(id(100), vlan("cofferdam-a")), (id(999), vlan("cofferdam-isolation"))].into(),
        managed: Managed { range: Some((id(100), id(200))), also: BTreeSet::from([id(999)]) },
        ..SwitchWanted::default()
    }
}

async fn session(temper: Temper) -> (Result<Session, SwitchError>, Arc<Mutex<State>>) {
    let port = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    let running = vec![
        port("Ethernet1", "false ACCESS 999"),
        port("Ethernet2", "true ACCESS 5"),
        port("Ethernet3", "true TRUNK 100..120"),
        port("vlan 5", "others"),
        port("vlan 101", "cofferdam-old"),
    ];
    let state = Arc::new(Mutex::new(State { startup: running.clone(), running, ..State::default() }));
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(serve(theirs, temper, Arc::clone(&state)));
    (Session::begin("sw", Box::new(ours), None, Instant::now() + Duration::from_secs(5)).await, state)
}

const ALL: &[&str] = &[
    "base:1.0",
    "base:1.1",
    "capability:candidate:1.0",
    "capability:confirmed-commit:1.1",
    "capability:validate:1.1",
    "capability:startup:1.0?x=y",
    "capability:rollback-on-error:1.0",
];

async fn run(temper: Temper) -> (Result<Ensured, SwitchError>, Vec<String>, Arc<Mutex<State>>) {
    let (session, state) = session(temper).await;
    let mut session = session.unwrap();
    let before = read(&mut session, &config()).await.unwrap();
    let done = ensure(&mut session, &config(), &wanted(), before).await;
    let asked = state.lock().unwrap().asked.clone();
    (done, asked, state)
}

#[tokio::test]
async fn one_change_is_confirmed_and_saved() {
    let (done, asked, state) = run(Temper { capabilities: ALL, ..Temper::default() }).await;
    let done = done.unwrap();
    assert!(done.committed);
    assert_eq!(*done.before.mode("Ethernet1"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*done.after.mode("Ethernet1"), SeenMode::Known(PortMode::Access(id(100))));
    assert_eq!(*done.after.mode("Ethernet2"), SeenMode::Known(PortMode::Access(id(5))));
    assert_eq!(*done.after.mode("Ethernet3"), SeenMode::Known(PortMode::Isolated));
    assert_eq!(*done.after.mode("Ethernet77"), SeenMode::Absent);
    assert_eq!(*done.after.mode("Ethernet9"), SeenMode::Foreign("not configured".into()));
    assert!(!done.after.ports["Ethernet1"].unsaved && done.after.vlans[&id(100)].saved && !done.after.vlans.contains_key(&id(101)));
    let reading = ["get-config running", "get", "get-config startup"];
    let steps = [
        &reading[..],
        &["lock"],
        &reading,
        &["edit-config", "validate", "commit confirmed"],
        &reading,
        &["commit", "copy-config", "unlock"],
        &reading,
    ];
    assert_eq!(asked, steps.concat());
    let state = state.lock().unwrap();
    assert_eq!(state.startup, state.running);
}

#[tokio::test]
async fn nothing_to_do_is_only_read() {
    let (session, state) = session(Temper { capabilities: ALL, ..Temper::default() }).await;
    let mut session = session.unwrap();
    for _ in 0..2 {
        let before = read(&mut session, &config()).await.unwrap();
        state.lock().unwrap().asked.clear();
        ensure(&mut session, &config(), &wanted(), before).await.unwrap();
    }
    assert_eq!(state.lock().unwrap().asked, [""; 0]);
}

#[tokio::test]
async fn a_refused_change_is_given_up() {
    for refuse in ["edit-config", "validate", "commit confirmed"] {
        let (done, asked, state) = run(Temper { capabilities: ALL, refuse: Some(refuse), ..Temper::default() }).await;
        let Err(SwitchError::Rejected { reason, .. }) = done else { panic!("{done:?}") };
        assert!(reason.contains("no <such> VLAN"), "{reason}");
        assert_eq!(asked[asked.len() - 3..], [refuse, "discard-changes", "unlock"]);
        let state = state.lock().unwrap();
        assert_eq!(state.startup, state.running);
    }
    let (done, asked, _) = run(Temper { capabilities: ALL, refuse: Some("lock"), ..Temper::default() }).await;
    assert!(matches!(done, Err(SwitchError::Rejected { .. })));
    assert_eq!(asked.last().unwrap(), "lock");
}

#[tokio::test]
async fn harm_to_others_is_taken_back() {
    let (done, asked, _) = run(Temper { capabilities: ALL, harms: true, ..Temper::default() }).await;
    let Err(SwitchError::Rejected { reason, .. }) = done else { panic!("{done:?}") };
    assert!(reason.contains("port Ethernet2, which is not ours, became access VLAN 66"), "{reason}");
    assert_eq!(asked[asked.len() - 3..], ["cancel-commit", "discard-changes", "unlock"]);
}

#[tokio::test]
async fn a_plain_switch_is_written_in_place() {
    let (done, asked, _) = run(Temper { capabilities: &["base:1.0", "capability:writable-running:1.0"], ..Temper::default() }).await;
    let done = done.unwrap();
    assert_eq!(*done.after.mode("Ethernet3"), SeenMode::Known(PortMode::Isolated));
    assert!(done.after.vlans.values().all(|it| it.saved));
    let reading = ["get-config running", "get"];
    assert_eq!(asked, [&reading[..], &["lock"], &reading, &["edit-config", "unlock"], &reading].concat());
}

#[tokio::test]
async fn what_cannot_be_written_or_is_no_netconf() {
    let (done, ..) = run(Temper { capabilities: &["base:1.0"], ..Temper::default() }).await;
    assert!(matches!(done, Err(SwitchError::Rejected { .. })), "{done:?}");
    let (session, _) = session(Temper { capabilities: &["base:9.0"], ..Temper::default() }).await;
    assert!(matches!(session, Err(SwitchError::Protocol { .. })));
}

#[tokio::test]
async fn a_switch_that_hangs_up_is_unreachable() {
    for hang_up in ["lock", "edit-config", "commit confirmed", "commit", "copy-config"] {
        let (done, ..) = run(Temper { capabilities: ALL, hang_up: Some(hang_up), ..Temper::default() }).await;
        assert!(matches!(done, Err(SwitchError::Unreachable { .. })), "{hang_up}: {done:?}");
    }
}

#[tokio::test]
async fn a_silent_switch_is_a_timeout() {
    let (ours, _theirs) = tokio::io::duplex(100);
    let session = Session::begin("sw", Box::new(ours), None, Instant::now() + Duration::from_millis(50)).await;
    assert!(matches!(session, Err(SwitchError::Timeout { .. })));
}

#[test]
fn edits_say_the_same_in_xml_as_in_values() {
    // The XML of a port's edit, read as a configuration, shows the port as the edit leaves it.
    for mode in
        [PortMode::Isolated, PortMode::Access(id(7)), PortMode::Trunk { native: Some(id(7)), tagged: [id(8), id(9), id(10)].into() }]
    {
        let change = super::super::plan::Change::SetPort { port: "Ethernet1".into(), mode: mode.clone(), seen: SeenMode::Absent };
        let edits = edits(&[change], &SwitchSeen::default(), id(999)).unwrap();
        let xml = xml::parse(&xml::config(&edits, "default")).unwrap().value();
        let mut value = serde_json::json!({"interfaces": {"interface": [{"name": "Ethernet1", "config": {"type": "ethernetCsmacd"}}]}});
        apply(&mut value, &edits);
        let isolation: VlanId = id(999);
        let states = serde_json::json!({"interfaces": {"interface": [{"name": "Ethernet1", "state": {"type": "ethernetCsmacd"}}]}});
        for config in [xml, value] {
            let seen = openconfig::seen(&config, &states, isolation, "").unwrap();
            assert_eq!(*seen.mode("Ethernet1"), SeenMode::Known(mode.clone()), "{config}");
        }
    }
}
