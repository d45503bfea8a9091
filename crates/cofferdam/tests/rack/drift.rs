//! The proof can fail: a switch port moved by hand leaks, is seen to leak, is found by read-back and repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::api::Session;
use crate::support::rack::Rack;
use crate::support::serve::Serve;
use crate::support::story::Operator;
use crate::support::supplies::Supplies;
use crate::support::{Frozen, database, ovs, run, say, wait_for};

const VLANS: (u16, u16) = (100, 110);
/// How soon drift is to be found and repaired.
const REPAIRED: Duration = Duration::from_secs(10);

#[test]
fn rack_drift() {
    let Some(rack) = Rack::up('d', 4) else { return };
    let supplies = Supplies::get();
    let serve = Serve::start(rack.setting(VLANS));
    let (base, state_dir) = (serve.setting.base(), serve.setting.state_dir.clone());
    let operator = Operator::enrol(Session::admin(&base, &state_dir), &base, &rack, &supplies);
    operator.provide();
    let finance = operator.tenant("finance");
    let medical = operator.tenant("medical");
    for (tenant, cluster) in [&finance, &medical].map(|tenant| (tenant, tenant.create_cluster())) {
        tenant.await_complete(&cluster);
    }
    let owners = operator.owners(&[&finance, &medical]);
    let vlans = operator.vlans();
    let pairs = probe(&rack);
    assert_eq!(crossing(&pairs, &owners), BTreeSet::new(), "isolated before");
    assert!(pairs.iter().any(|(from, to)| owners.get(from) == owners.get(to)), "the probe sees what works: {pairs:?}");

    let victim = owners.iter().find(|(_, tenant)| *tenant == "finance").unwrap().0;
    let cable = rack.cable(victim);
    let database = rack.database(&cable.leaf);
    let tag = || ovs::ports(&database).unwrap()[&cable.port].tag.unwrap();
    assert_eq!(tag(), vlans["finance"]);
    let frozen = Frozen::new(serve.pid());
    ovs::set_tag(&database, &cable.port, vlans["medical"]);
    let leaks = crossing(&probe(&rack), &owners);
    say(&format!("LEAKING with the port of {victim} moved by hand: {leaks:?}"));
    assert!(!leaks.is_empty(), "the probe does not see the leak");
    for (from, to) in &leaks {
        assert!(from == victim || to == victim, "{from} -> {to} although only {victim} was moved");
    }
    let met: BTreeSet<&String> = leaks.iter().flat_map(|(from, to)| [from, to]).filter(|it| *it != victim).collect();
    assert!(met.iter().all(|it| owners[*it] == "medical"), "{leaks:?}");
    assert_eq!(tag(), vlans["medical"], "it was repaired by somebody while the control plane slept");

    let repaired = || {
        wait_for("the switch is repaired", REPAIRED, || {
            let now = tag();
            if now == vlans["finance"] { Ok(()) } else { Err(format!("{} is in VLAN {now}", cable.port)) }
        });
    };
    let woken = Instant::now();
    drop(frozen);
    repaired();
    say(&format!("repaired {:.2} s after the control plane woke", woken.elapsed().as_secs_f64()));
    assert_eq!(crossing(&probe(&rack), &owners), BTreeSet::new(), "isolated again");
    let events = database::history(&state_dir, "switch");
    let said = events.iter().any(|(event, detail)| event.contains("drift") && detail.contains(&cable.port));
    assert!(said, "the drift is not in the history: {events:?}");
    assert!(serve.logged("behind our back").iter().any(|line| line.contains(&cable.port)), "the drift is not in the log");
    // And while it is awake.
    let moved = Instant::now();
    ovs::set_tag(&database, &cable.port, vlans["medical"]);
    repaired();
    say(&format!("repaired {:.2} s after it was moved again", moved.elapsed().as_secs_f64()));
    // It is written down after the switch was read back, a moment after it was repaired.
    wait_for("both drifts are in the history", REPAIRED, || {
        let events = database::history(&state_dir, "switch");
        let found = events.iter().filter(|(event, _)| event.contains("drift")).count();
        if found == 2 { Ok(()) } else { Err(format!("{events:?}")) }
    });
    wait_for("the port is ACTIVE again", Duration::from_secs(10), || {
        let ports = operator.admin.list(crate::support::api::Service::Network, "/ports");
        let down: Vec<&Value> = ports.iter().filter(|it| it["status"] != "ACTIVE").collect();
        if down.is_empty() { Ok(()) } else { Err(format!("{down:?}")) }
    });
    assert!(serve.terminate().success());
}

/// Which machine reached which, itself or by a container, by packets of any kind.
fn probe(rack: &Rack) -> BTreeSet<(String, String)> {
    let report: Value = serde_json::from_str(&run(rack.lab("probe").arg("--json"))).unwrap();
    let endpoints = report["endpoints"].as_array().unwrap();
    let machines: BTreeMap<&str, &str> =
        endpoints.iter().map(|it| (it["name"].as_str().unwrap(), it["machine"].as_str().unwrap())).collect();
    assert!(machines.len() >= rack.machines().len(), "the probe left some out: {report}");
    let results = report["results"].as_array().unwrap();
    let sent: u64 = results.iter().map(|it| it["sent"].as_u64().unwrap()).sum();
    assert!(sent > 0, "the probe sent nothing");
    let reached = results.iter().filter(|it| it["received"].as_u64().unwrap() > 0);
    let pair = |it: &Value| (machines[it["from"].as_str().unwrap()].to_owned(), machines[it["to"].as_str().unwrap()].to_owned());
    reached.map(pair).filter(|(from, to)| from != to).collect()
}

/// The pairs that are not of one tenant.
fn crossing(pairs: &BTreeSet<(String, String)>, owners: &BTreeMap<String, String>) -> BTreeSet<(String, String)> {
    let together = |(from, to): &&(String, String)| owners.contains_key(from) && owners.get(from) == owners.get(to);
    pairs.iter().filter(|pair| !together(pair)).cloned().collect()
}
