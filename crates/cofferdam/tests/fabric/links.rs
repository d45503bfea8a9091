//! Groups of links, from a port's binding to the switch and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use http::Method;
use lab::netos::device::{Carried, Protocol};
use lab::netos::faults::{Partial, Refusal, Then};
use serde_json::{Value, json};

use crate::site::{Shape, Site};
use crate::support::api::Service;
use crate::support::say;

/// Every operating system that has groups of links and is spoken to over SSH.
const OSES: [&str; 13] = [
    "arista_eos",
    "cisco_nxos",
    "cisco_ios",
    "juniper_junos",
    "aruba_aoscx",
    "cumulus_nvue",
    "dell_os10",
    "frr_linux",
    "hpe_comware",
    "huawei_vrp",
    "mellanox_mlnxos",
    "nokia_srl",
    "sonic",
];
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

pub fn site(oses: &[&'static str], ports: usize) -> Site {
    let config = "[baremetal]\nautomated_clean = false\n".to_owned();
    let site = Site::start(&Shape { oses: oses.into(), ports, drift_seconds: 5, config, environment: Vec::new() });
    site.await_isolated(PATIENCE);
    site
}

/// The body of a port that binds links as one.
pub fn bonded(site: &Site, ends: &[(usize, usize)], mode: &str) -> Value {
    let links: Vec<Value> =
        ends.iter().map(|(switch, port)| site.binding(*switch, *port)["binding:profile"]["local_link_information"][0].clone()).collect();
    json!({
        "binding:host_id": "machine",
        "binding:vnic_type": "baremetal",
        "binding:profile": {
            "local_link_information": links,
            "local_group_information": {"id": "bond0", "name": "bond0", "bond_mode": mode, "bond_properties": {}},
        },
    })
}

pub fn make(site: &Site, network: &str, mut body: Value) -> String {
    body["network_id"] = json!(network);
    let made = site.admin.call(Method::POST, Service::Network, "/ports", Some(&json!({"port": body})));
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["port"]["id"].as_str().unwrap().to_owned()
}

pub fn untagged(vlan: u16) -> Carried {
    Carried { untagged: Some(vlan), tagged: BTreeSet::new() }
}

/// The group that a machine's port is in, as the switch itself has it: its name, and whether by LACP.
pub fn group_of(site: &Site, switch: usize, port: usize) -> Option<(String, bool)> {
    let config = site.switches[switch].device().running();
    let member = config.ports[&site.ports[switch][port]].group.clone()?;
    let protocol = config.groups.get(&member.group).and_then(|it| it.protocol).unwrap_or(member.protocol);
    Some((member.group, protocol == Protocol::Active))
}

/// What is not so yet of a group that is to have exactly these links and to carry this.
fn wrong_with_group(site: &Site, switch: usize, ports: &[usize], has_lacp: bool, carries: &Carried) -> Option<String> {
    let device = site.switches[switch].device();
    let os = &device.running().hostname;
    let Some((group, by_lacp)) = group_of(site, switch, ports[0]) else { return Some(format!("{os}: there is no group")) };
    let mut members: Vec<String> = device.running().members(&group).into_iter().cloned().collect();
    let mut wanted: Vec<String> = ports.iter().map(|port| site.ports[switch][*port].clone()).collect();
    members.sort();
    wanted.sort();
    let carried = device.carries(&group);
    let all = carried == *carries && ports.iter().all(|port| device.carries(&site.ports[switch][*port]) == *carries);
    let right = members == wanted && by_lacp == has_lacp && all;
    (!right)
        .then(|| format!("{os}: {group} has {members:?}, LACP {by_lacp}, carries {carried:?}; wanted {wanted:?}, {has_lacp}, {carries:?}"))
}

/// The names of the groups on a switch.
pub fn groups(site: &Site, switch: usize) -> Vec<String> {
    let config = site.switches[switch].device().running();
    config.ports.iter().filter(|(_, it)| it.is_group).map(|(name, _)| name.clone()).collect()
}

pub fn ledger(site: &Site) -> Vec<Value> {
    site.admin.list(Service::Network, "/cofferdam/switch-ports")
}

/// A port as the ledger has it is nobody's, and on the switch it is in a VLAN nevertheless: never.
pub fn check_ledger(site: &Site) {
    let free: Vec<Value> = ledger(site).into_iter().filter(|row| row["state"] == "free").collect();
    for row in free {
        let (switch, port) = (row["switch"].as_str().unwrap(), row["port"].as_str().unwrap());
        let nth: usize = switch.trim_start_matches("leaf").parse().unwrap();
        let carried = site.switches[nth - 1].device().carries(port);
        let is_there = site.switches[nth - 1].device().running().ports.contains_key(port);
        let fine = if is_there { site.is_isolated(nth - 1, port) } else { carried.is_empty() };
        assert!(fine, "{port} of {switch} is free in the ledger and carries {carried:?}");
    }
}

/// Waits until it says that nothing is wrong any more.
pub fn await_that(what: &str, mut wrong: impl FnMut() -> Option<String>) -> Duration {
    let began = Instant::now();
    while let Some(why) = wrong() {
        assert!(began.elapsed() < PATIENCE, "{what}: {why}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

/// Waits until the ledger has nothing of the ports, and no group is left.
pub fn await_released(site: &Site, ports: &[String]) {
    await_that("released", || {
        check_ledger(site);
        let rows = ledger(site);
        let held = rows.iter().find(|row| row["holder"].as_str().is_some_and(|it| ports.iter().any(|port| port == it)));
        let group = (0..site.switches.len()).flat_map(|nth| groups(site, nth)).next();
        let names: BTreeSet<&String> = site.ports.iter().flatten().collect();
        let number = rows.iter().find(|row| !names.contains(&row["port"].as_str().unwrap().to_owned()));
        held.or(number).map(|row| format!("{row}")).or(group)
    });
    site.await_isolated(PATIENCE);
}

/// One bond on every switch; ACTIVE only while the switch itself has it.
fn one_of_each(site: &Site, network: &str, vlan: u16, mode: &str, has_lacp: bool) -> Vec<String> {
    let ports: BTreeMap<String, usize> =
        (0..site.switches.len()).map(|nth| (make(site, network, bonded(site, &[(nth, 0), (nth, 1)], mode)), nth)).collect();
    await_that(mode, || {
        let states = site.states();
        let mut left = Vec::new();
        for (port, switch) in &ports {
            match states[port].as_str() {
                "ACTIVE" => assert_eq!(wrong_with_group(site, *switch, &[0, 1], has_lacp, &untagged(vlan)), None),
                _ => left.push(*switch),
            }
        }
        check_ledger(site);
        let why = |nth: usize| site.admin.get(Service::Network, &format!("/ports/{}", ports.iter().find(|it| *it.1 == nth).unwrap().0));
        (!left.is_empty()).then(|| format!("not ACTIVE on {left:?}: {}", why(left[0])))
    });
    ports.into_keys().collect()
}

#[test]
fn bonds_of_every_kind_of_switch() {
    let began = Instant::now();
    let site = site(&OSES, 3);
    let (network, vlan) = site.network("one");
    let ports = one_of_each(&site, &network, vlan, "802.3ad", true);
    let names: Vec<_> = (0..OSES.len()).map(|nth| group_of(&site, nth, 0)).collect();
    for port in &ports {
        assert_eq!(site.unbind(port).status, 204);
    }
    await_released(&site, &ports);
    // The numbers can be had again, by a group that finds together otherwise. SONiC's groups are LACP's.
    let oses = OSES.iter().position(|os| *os == "sonic").unwrap();
    assert_eq!(oses, OSES.len() - 1);
    let (other, other_vlan) = site.network("other");
    let ports: Vec<String> = (0..oses).map(|nth| make(&site, &other, bonded(&site, &[(nth, 0), (nth, 1)], "balance-xor"))).collect();
    site.await_active(&ports, PATIENCE);
    for (nth, name) in names.iter().enumerate().take(oses) {
        assert_eq!(wrong_with_group(&site, nth, &[0, 1], false, &untagged(other_vlan)), None);
        assert_eq!(group_of(&site, nth, 0).unwrap().0, name.as_ref().unwrap().0);
    }
    // From one kind of group to the other while it is held.
    for (nth, port) in ports.iter().enumerate() {
        let body = json!({"port": {"binding:profile": bonded(&site, &[(nth, 0), (nth, 1)], "802.3ad")["binding:profile"]}});
        assert_eq!(site.admin.call(Method::PUT, Service::Network, &format!("/ports/{port}"), Some(&body)).status, 200);
    }
    await_that("LACP instead", || {
        check_ledger(&site);
        (0..oses).find_map(|nth| wrong_with_group(&site, nth, &[0, 1], true, &untagged(other_vlan)))
    });
    site.await_active(&ports, PATIENCE);
    for port in &ports {
        assert_eq!(site.unbind(port).status, 204);
    }
    await_released(&site, &ports);
    say(&format!("bonds of {} kinds of switches in {:.1} s", OSES.len(), began.elapsed().as_secs_f64()));
}

/// Has a switch misbehave.
type Fault = fn(&mut lab::netos::faults::Settings);

/// Whatever the switch does not do of what it is told: no link is free in the ledger that is in a VLAN, and ACTIVE is only what is so.
#[test]
fn half_of_a_bond_is_none() {
    let site = site(&OSES[..4], 3);
    let (network, vlan) = site.network("one");
    let faults: [(&str, Fault); 4] = [
        ("refuses a line", |it| it.refuse = ["channel-group", "802.3ad"].map(once).into()),
        ("refuses VLANs", |it| it.refuse = ["vlan"].map(once).into()),
        ("takes three lines and drops", |it| it.partial_session = Some(Partial { lines: 3, then: Then::Drop })),
        ("commits half", |it| it.partial_commit = Some(Partial { lines: 2, then: Then::Refuse })),
    ];
    for (what, fault) in faults {
        let began = Instant::now();
        let strike = || site.switches.iter().for_each(|it| it.faults().change(fault));
        let watch = |ports: &[String]| {
            for _ in 0..30 {
                let states = site.states();
                for (nth, port) in ports.iter().enumerate().filter(|(_, port)| states.get(*port).is_some_and(|it| it == "ACTIVE")) {
                    assert_eq!(wrong_with_group(&site, nth, &[0, 1], true, &untagged(vlan)), None, "{what}: {port}");
                }
                check_ledger(&site);
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        strike();
        let ports: Vec<String> = (0..4).map(|nth| make(&site, &network, bonded(&site, &[(nth, 0), (nth, 1)], "802.3ad"))).collect();
        watch(&ports);
        site.switches.iter().for_each(|it| it.faults().clear());
        site.await_active(&ports, PATIENCE);
        assert_eq!((0..4).find_map(|nth| wrong_with_group(&site, nth, &[0, 1], true, &untagged(vlan))), None, "{what}");
        strike();
        for port in &ports {
            assert_eq!(site.unbind(port).status, 204);
        }
        watch(&[]);
        site.switches.iter().for_each(|it| it.faults().clear());
        await_released(&site, &ports);
        say(&format!("{what}: {:.1} s", began.elapsed().as_secs_f64()));
    }
}

fn once(text: &str) -> Refusal {
    Refusal { contains: text.to_owned(), times: Some(1) }
}

/// A machine's links that end on two switches: each by itself if the switches need not know of each other, else refused.
#[test]
fn links_on_two_switches() {
    let site = site(&["arista_eos", "juniper_junos"], 3);
    let (network, vlan) = site.network("one");
    for mode in ["active-backup", "balance-tlb", "balance-alb"] {
        let port = make(&site, &network, bonded(&site, &[(0, 0), (1, 0)], mode));
        site.await_active(std::slice::from_ref(&port), PATIENCE);
        for nth in 0..2 {
            assert_eq!(site.switches[nth].device().carries(&site.ports[nth][0]), untagged(vlan));
            assert!(groups(&site, nth).is_empty());
        }
        assert_eq!(site.unbind(&port).status, 204);
        await_released(&site, &[port]);
    }
    for mode in ["802.3ad", "balance-xor", "balance-rr"] {
        let port = make(&site, &network, bonded(&site, &[(0, 0), (1, 0)], mode));
        let shown = || site.admin.get(Service::Network, &format!("/ports/{port}"))["port"].clone();
        await_that(mode, || (shown()["binding:vif_type"] != "binding_failed").then(|| shown().to_string()));
        let why = shown()["binding:vif_details"]["reason"].as_str().unwrap().to_owned();
        assert!(why.contains("several switches"), "{why}");
        assert_eq!(shown()["status"], "DOWN");
        assert_eq!(site.unbind(&port).status, 204);
        await_released(&site, &[port]);
    }
}
