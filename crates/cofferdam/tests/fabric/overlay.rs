//! Networks that reach from switch to switch by VXLAN: each is given a VLAN while machines are on it, switches with an overlay map that,
//! and neither VLAN nor VNI is anybody else's before every switch was read without them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;
use lab::netos::{HostKey, Simulator, Spec};
use serde_json::{Value, json};

use crate::site::{Shape, Site, name};
use crate::support::api::Service;
use crate::support::say;

/// The only VXLAN network there can be: who has it is seen by whether another can be made.
const VNI: u32 = 5001;
const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane; switches are declared by its API.
fn start() -> Site {
    let config = format!("[network]\nvxlan_ids = \"{VNI}:{VNI}\"\n");
    Site::start(&Shape { oses: Vec::new(), ports: 4, drift_seconds: 2, config, environment: Vec::new() })
}

/// Starts a switch and declares it, with an overlay or with uplinks.
fn add(site: &mut Site, os: &str, overlay: bool) {
    let nth = site.switches.len();
    let switch = {
        let _on = site.runtime.enter();
        Simulator::start(Spec { hostname: name(nth), host_key: HostKey::Shared, ..Spec::new(os, 5) }).unwrap()
    };
    // What the simulator does not know of it means nothing to it.
    switch.prepare_overlay();
    let mut names: Vec<String> = switch.device().running().port_names().into_iter().cloned().collect();
    let uplink = names.pop().unwrap();
    site.ports.push(names);
    site.uplinks.push(uplink.clone());
    let id = site.binding(nth, 0)["binding:profile"]["local_link_information"][0]["switch_id"].clone();
    let body = json!({"switch": {
        "name": name(nth),
        "switch_id": id,
        "driver": os,
        "endpoint": format!("ssh:{}", switch.address()),
        "username": "admin",
        "password": "admin",
        "host_key": switch.host_key(),
        "uplinks": if overlay { json!([]) } else { json!([uplink]) },
        "overlay": overlay.then(|| json!({"bgp_as": 65001})),
    }});
    site.switches.push(switch);
    let made = site.admin.call(Method::POST, Service::Network, "/cofferdam/switches", Some(&body));
    assert_eq!(made.status, 201, "{}", made.body);
    for port in &site.ports[nth] {
        let body = json!({"switch_port": {"switch": name(nth), "port": port}});
        let taken = site.admin.call(Method::POST, Service::Network, "/cofferdam/switch-ports", Some(&body));
        assert_eq!(taken.status, 201, "{}", taken.body);
    }
}

/// Tries to make a network that reaches further by VXLAN: its id, or the status of the refusal.
fn vxlan(site: &Site) -> Result<String, u16> {
    let body = json!({"network": {"name": "wide", "provider:network_type": "vxlan"}});
    // Once: refusals are what is looked for.
    let made = site.admin.call_once(Method::POST, Service::Network, "/networks", Some(&body));
    if made.status != 201 {
        return Err(made.status);
    }
    assert_eq!(made.body["network"]["provider:segmentation_id"], VNI);
    Ok(made.body["network"]["id"].as_str().unwrap().to_owned())
}

/// The VLAN that a network was given, as `/segments` shows it.
fn given(site: &Site, network: &str) -> Option<u16> {
    let all = site.admin.list(Service::Network, &format!("/segments?network_id={network}&network_type=vlan"));
    assert!(all.len() <= 1, "{all:?}");
    all.first().map(|it| u16::try_from(it["segmentation_id"].as_u64().unwrap()).unwrap())
}

/// What the switch itself maps, of the one there is.
fn maps(site: &Site, switch: usize) -> BTreeSet<u16> {
    let running = site.switches[switch].device().running();
    running.vlans.iter().filter(|(_, it)| it.vni == Some(VNI)).map(|(vlan, _)| *vlan).collect()
}

/// The kinds and numbers in quarantine, with what they wait for.
fn quarantine(site: &Site) -> BTreeSet<(String, u64, String)> {
    let all = site.admin.list(Service::Network, "/cofferdam/quarantine");
    let numbered = all.iter().filter_map(|it| Some((it, it["segmentation_id"].as_u64()?)));
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let waits = |it: &Value| it["waits_for"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(",");
    numbered.map(|(it, number)| (text(&it["kind"]), number, waits(it))).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while let Err(why) = is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}: {why}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn unbind(site: &Site, ports: &[String]) {
    for port in ports {
        assert_eq!(site.unbind(port).status, 204);
    }
}

fn removed(site: &Site, network: &str) -> u16 {
    site.admin.call(Method::DELETE, Service::Network, &format!("/networks/{network}"), None).status
}

#[test]
fn a_network_of_vxlan_is_given_a_vlan_and_gives_it_back() {
    let mut site = start();
    add(&mut site, "arista_eos", true);
    add(&mut site, "cisco_nxos", true);
    add(&mut site, "cisco_nxos", true);
    site.await_isolated(PATIENCE);
    let network = vxlan(&site).unwrap();
    let path = format!("/networks/{network}");
    let before = site.admin.get(Service::Network, &path);
    assert_eq!((given(&site, &network), vxlan(&site)), (None, Err(503)), "there is one VXLAN network, and nobody is on it");

    let began = Instant::now();
    let ports = vec![site.bind(&network, 0, 0), site.bind(&network, 1, 0)];
    // The control plane dies on the way.
    std::thread::sleep(Duration::from_millis(150));
    site.serve.kill();
    site.serve.spawn();
    site.serve.await_ready();
    site.await_active(&ports, PATIENCE);
    let vlan = given(&site, &network).unwrap();
    say(&format!("two ports on two switches ACTIVE on VLAN {vlan} in VNI {VNI} after {:?}, one kill -9 between", began.elapsed()));
    for switch in 0..2 {
        assert_eq!(maps(&site, switch), [vlan].into(), "switch {switch} maps it, and says so itself");
        assert_eq!(site.vlan_of(switch, 0), Some(vlan));
        let shown = site.admin.get(Service::Network, &format!("/cofferdam/switches/{}", name(switch)));
        assert_eq!(shown["switch"]["vnis"], json!([{"vlan": vlan, "vni": VNI}]));
    }
    assert_eq!(maps(&site, 2), BTreeSet::new(), "nobody of it is there");
    let shown = site.admin.get(Service::Network, &path);
    for key in ["provider:network_type", "provider:physical_network", "provider:segmentation_id"] {
        assert_eq!(shown["network"][key], before["network"][key], "what it was given is no segment of its users");
    }
    assert_eq!(shown["network"].get("segments"), None);

    // Somebody takes a map away: it is put back, and the port that has none is not ACTIVE for long.
    site.switches[1].device().edit(|config| config.vlans.get_mut(&vlan).unwrap().vni = None);
    until("the map is repaired", || match maps(&site, 1) == [vlan].into() {
        true => Ok(()),
        false => Err(format!("{:?}", maps(&site, 1))),
    });
    site.await_active(&ports, PATIENCE);

    // One leaves: the other keeps the VLAN. One falls silent, both leave: nothing is free.
    unbind(&site, &ports[..1]);
    site.await_gone(&ports[..1], PATIENCE);
    until("the switch that nobody of it is on forgets it", || match maps(&site, 0).is_empty() {
        true => Ok(()),
        false => Err(format!("{:?}", maps(&site, 0))),
    });
    assert_eq!(given(&site, &network), Some(vlan));
    let ports = vec![ports[1].clone(), site.bind(&network, 0, 1)];
    site.await_active(&ports, PATIENCE);
    site.switches[2].faults().change(|it| it.refuse_connections = true);
    site.switches[2].device().drop_connections();
    unbind(&site, &ports);
    site.await_gone(&ports, PATIENCE);
    let silent = name(2);
    let waits = |kind: &str, number: u64| (kind.to_owned(), number, silent.clone());
    until("the VLAN waits for the silent switch alone", || {
        let all = quarantine(&site);
        if all == [waits("vlan", vlan.into())].into() { Ok(()) } else { Err(format!("{all:?}")) }
    });
    assert_eq!(given(&site, &network), None);
    for switch in 0..2 {
        assert_eq!(maps(&site, switch), BTreeSet::new(), "no map is left on switch {switch}");
        assert!(!site.switches[switch].device().startup().vlans.values().any(|it| it.vni.is_some()), "nor after a restart of it");
    }
    let (_, other) = site.network("other");
    assert_ne!(other, vlan, "in quarantine it is nobody's");

    // A port of the network itself may have it meanwhile.
    let again = site.bind(&network, 0, 2);
    site.await_active(std::slice::from_ref(&again), PATIENCE);
    assert_eq!((given(&site, &network), maps(&site, 0)), (Some(vlan), [vlan].into()));
    unbind(&site, std::slice::from_ref(&again));
    site.await_gone(&[again], PATIENCE);

    // The network goes: its VNI is in quarantine too, over another death of the control plane.
    assert_eq!(removed(&site, &network), 204);
    until("VLAN and VNI wait for the silent switch", || {
        let all = quarantine(&site);
        let wanted = BTreeSet::from([waits("vlan", vlan.into()), waits("vni", VNI.into())]);
        if all == wanted { Ok(()) } else { Err(format!("{all:?}")) }
    });
    site.serve.kill();
    site.serve.spawn();
    site.serve.await_ready();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(quarantine(&site).len(), 2, "{:?}", quarantine(&site));
    assert_eq!(vxlan(&site), Err(503), "the VNI is nobody's before the last switch was read without it");
    site.switches[2].faults().change(|it| it.refuse_connections = false);
    until("nothing is in quarantine", || match quarantine(&site) {
        none if none.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    let (_, now) = site.network("now");
    assert_eq!(now, vlan, "it is the lowest that is free");
    vxlan(&site).unwrap();
}

#[test]
fn who_cannot_reach_the_others_is_not_active_and_says_why() {
    let mut site = start();
    add(&mut site, "arista_eos", true);
    add(&mut site, "cisco_ios", false);
    add(&mut site, "cisco_ios", false);
    site.await_isolated(PATIENCE);
    let network = vxlan(&site).unwrap();
    // Two on switches that have uplinks only: the VLAN is all they need.
    let ports = vec![site.bind(&network, 1, 0), site.bind(&network, 2, 0)];
    site.await_active(&ports, PATIENCE);
    let vlan = given(&site, &network).unwrap();
    for switch in 1..3 {
        assert!(site.switches[switch].device().carries(&site.uplinks[switch]).tagged.contains(&vlan), "the uplink of switch {switch}");
    }
    // One on a switch that has an overlay only.
    let lonely = site.bind(&network, 0, 0);
    let row = || site.admin.list(Service::Network, &format!("/cofferdam/switch-ports?holder={lonely}"))[0].clone();
    until("it says whom it cannot reach", || {
        let rows = site.admin.list(Service::Network, &format!("/cofferdam/switch-ports?holder={lonely}"));
        let said = rows.first().map(|it| it["holder_waits_for"].as_str().unwrap().to_owned()).unwrap_or_default();
        if said.contains("cannot reach") { Ok(()) } else { Err(said) }
    });
    let said = row()["holder_waits_for"].as_str().unwrap().to_owned();
    assert!(said.contains("leaf2 has uplinks and no overlay") && said.contains("leaf1 has an overlay and no uplinks"), "{said}");
    std::thread::sleep(Duration::from_secs(2));
    let states = site.states();
    assert_eq!((states[&lonely].as_str(), states[&ports[0]].as_str(), states[&ports[1]].as_str()), ("BUILD", "ACTIVE", "ACTIVE"));
    assert_eq!((row()["state"].as_str(), maps(&site, 0)), (Some("held"), [vlan].into()), "all else is done");
    // The others leave: there is nobody that it could not reach.
    unbind(&site, &ports);
    site.await_gone(&ports, PATIENCE);
    site.await_active(std::slice::from_ref(&lonely), PATIENCE);
    assert_eq!(row()["holder_waits_for"], "");
}
