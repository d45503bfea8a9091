//! A switch that does not answer during release: nothing that was released is handed out, and all heals by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::support::api::{Service, Session};
use crate::support::rack::Rack;
use crate::support::serve::Serve;
use crate::support::story::Operator;
use crate::support::supplies::Supplies;
use crate::support::{Frozen, database, say, wait_for};

/// Few, so that all can be used up.
const VLANS: (u16, u16) = (100, 104);
/// No call of the API may take longer, whatever the switches do: one that waited for the dead one would take ten seconds at least.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long the switch is dead.
const DEAD: Duration = Duration::from_secs(12);

#[test]
fn rack_dead_switch() {
    let Some(rack) = Rack::up('s', 2) else { return };
    let supplies = Supplies::get();
    let serve = Serve::start(rack.setting(VLANS));
    let (base, state_dir) = (serve.setting.base(), serve.setting.state_dir.clone());
    let operator = Operator::enrol(Session::admin(&base, &state_dir), &base, &rack, &supplies);
    operator.provide();
    let tenant = operator.tenant("finance");
    let cluster = tenant.create_cluster();
    tenant.await_complete(&cluster);
    operator.owners(&[&tenant]);
    let vlan = operator.vlans()["finance"];

    // Each machine is on a leaf of its own.
    let machine = "m1";
    let cable = rack.cable(machine);
    let dead = Frozen::new(rack.database_pid(&cable.leaf));
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let path = format!("/clusters/{cluster}");
    let mut timed = |method: Method, session: &Session, service, path: &str| {
        let began = Instant::now();
        let answer = session.call_once(method, service, path, None);
        slowest = slowest.max(began.elapsed());
        answer
    };
    assert_eq!(timed(Method::DELETE, &tenant.session, Service::ContainerInfra, &path).status, 204);
    let mut states = BTreeSet::new();
    while began.elapsed() < DEAD {
        let shown = timed(Method::GET, &tenant.session, Service::ContainerInfra, &path);
        assert_eq!(shown.body["status"], "DELETE_IN_PROGRESS", "{}", shown.text);
        let nodes = timed(Method::GET, &operator.admin, Service::Baremetal, "/nodes?fields=name,provision_state");
        let nodes = nodes.body["nodes"].as_array().unwrap().clone();
        let state = nodes.iter().find(|it| it["name"] == machine).unwrap()["provision_state"].as_str().unwrap().to_owned();
        assert!(!matches!(state.as_str(), "available" | "cleaning" | "clean wait"), "{machine} is {state} although its port was not read");
        states.insert(state);
        assert_eq!(timed(Method::GET, &operator.admin, Service::Network, "/networks").status, 200);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(states.contains("deleting"), "{states:?}");
    let quarantined = quarantine(&state_dir);
    assert!(quarantined.contains(&format!("{}/{}", cable.leaf, cable.port)), "in quarantine: {quarantined:?}");

    // Every VLAN there is, but not this one.
    let mut got = BTreeSet::new();
    let refused = loop {
        let began = Instant::now();
        let taken = operator.take_vlan(&format!("filler-{}", got.len()));
        slowest = slowest.max(began.elapsed());
        match taken {
            Ok(vlan) => assert!(got.insert(vlan), "VLAN {vlan} was given twice"),
            Err(status) => break status,
        }
    };
    assert!((400..=503).contains(&refused), "{refused}");
    assert!(!got.contains(&vlan), "VLAN {vlan} of a cluster that is being deleted was handed out");
    let used: BTreeSet<u16> = operator.vlans().values().copied().chain([vlan]).filter(|it| (VLANS.0..=VLANS.1).contains(it)).collect();
    assert_eq!(used, (VLANS.0..=VLANS.1).collect(), "all are used up");
    say(&format!("slowest call while {} was dead: {slowest:?}; {machine} was {states:?}", cable.leaf));
    assert!(slowest < AT_ONCE, "a call took {slowest:?}");

    drop(dead);
    let woken = Instant::now();
    tenant.await_gone(&cluster, Duration::from_secs(120));
    operator.await_available(Duration::from_secs(120));
    assert_eq!(quarantine(&state_dir), BTreeSet::new());
    wait_for("the VLAN may be used again", Duration::from_secs(20), || match operator.take_vlan("healed") {
        Ok(again) => {
            assert_eq!(again, vlan);
            Ok(())
        }
        Err(status) => Err(format!("refused with {status}")),
    });
    say(&format!("healed {:.1} s after the switch answered again", woken.elapsed().as_secs_f64()));
    assert!(serve.terminate().success());
}

/// Switch ports whose isolation is wanted and not proven, as the store has them.
fn quarantine(state_dir: &std::path::Path) -> BTreeSet<String> {
    let connection = database::open(state_dir);
    let mut statement = connection.prepare("SELECT name, generation, desired, observed FROM r_switch_port").unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?)))
        .unwrap();
    rows.map(Result::unwrap)
        .filter(|(_, generation, desired, observed)| {
            let desired: serde_json::Value = serde_json::from_str(desired).unwrap();
            let observed: serde_json::Value = serde_json::from_str(observed).unwrap();
            desired["wanted"] == json!("isolated") && (observed["generation"] != json!(generation) || observed["seen"] != desired["wanted"])
        })
        .map(|(name, ..)| name)
        .collect()
}
