//! A port of a switch has one owner, however it is spelled.

use std::time::Duration;

use http::Method;
use lab::netos::{HostKey, Simulator, Spec};
use serde_json::{Value, json};

use crate::site::{Shape, Site};
use crate::support::api::Service;
use crate::support::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

/// Makes a port on the network that binds the first switch's port that is spelled like this; its id.
fn bind(site: &Site, network: &str, spelled: &str) -> String {
    let mut body = site.binding(0, 0);
    body["network_id"] = json!(network);
    body["binding:profile"]["local_link_information"][0]["port_id"] = json!(spelled);
    let made = site.admin.call(Method::POST, Service::Network, "/ports", Some(&json!({"port": body})));
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["port"]["id"].as_str().unwrap().to_owned()
}

fn shown(site: &Site, port: &str) -> Value {
    site.admin.get(Service::Network, &format!("/ports/{port}"))["port"].take()
}

/// The names of the switch's ports in the ledger.
fn ledger(site: &Site, switch: &str) -> Vec<String> {
    let rows = site.admin.list(Service::Network, &format!("/cofferdam/switch-ports?switch={switch}"));
    let mut names: Vec<String> = rows.iter().map(|it| it["port"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn two_spellings_are_one_port() {
    let site =
        Site::start(&Shape { oses: vec!["cisco_nxos"], ports: 3, drift_seconds: 600, config: String::new(), environment: Vec::new() });
    assert_eq!((site.ports[0][0].as_str(), site.uplinks[0].as_str()), ("Ethernet1/1", "Ethernet1/4"));
    site.await_isolated(LIMIT);
    let ((red, red_vlan), (blue, blue_vlan)) = (site.network("red"), site.network("blue"));
    let first = bind(&site, &red, "eth1/1");
    site.await_active(std::slice::from_ref(&first), LIMIT);
    assert_eq!(site.vlan_of(0, 0), Some(red_vlan));

    let others: Vec<String> = ["Ethernet1/1", "Eth1/1", "ethernet 1/1"].map(|it| bind(&site, &blue, it)).into();
    let uplink = bind(&site, &blue, "Eth1/4");
    wait_for("the uplink is known in any spelling", LIMIT, || match shown(&site, &uplink) {
        it if it["binding:vif_type"] == "binding_failed" => Ok(()),
        it => Err(it.to_string()),
    });
    std::thread::sleep(Duration::from_secs(2));
    for other in &others {
        assert_ne!(shown(&site, other)["status"], "ACTIVE", "its port is the other's");
    }
    assert_eq!(site.vlan_of(0, 0), Some(red_vlan));
    assert_eq!(shown(&site, &first)["status"], "ACTIVE");
    assert_eq!(ledger(&site, "leaf1"), ["Ethernet1/1", "Ethernet1/2", "Ethernet1/3"]);

    // It goes to one of the others once it was proven isolated.
    assert_eq!(site.unbind(&first).status, 204);
    wait_for("one of the others has it", LIMIT, || {
        let states = site.states();
        let active = others.iter().filter(|it| states.get(*it).is_some_and(|it| it == "ACTIVE")).count();
        if active == 1 && site.vlan_of(0, 0) == Some(blue_vlan) { Ok(()) } else { Err(format!("{states:?}")) }
    });
}

#[test]
fn rows_of_another_driver_become_those_of_the_ports() {
    let site =
        Site::start(&Shape { oses: vec!["cisco_nxos"], ports: 1, drift_seconds: 600, config: String::new(), environment: Vec::new() });
    let _on = site.runtime.enter();
    let switch = Simulator::start(Spec { host_key: HostKey::Shared, ..Spec::new("cisco_nxos", 4) }).unwrap();
    let body = json!({"switch": {
        "name": "spine", "driver": "gnmi_openconfig", "endpoint": switch.address().to_string(), "admin_state_up": false,
        "username": "admin", "password": "admin", "host_key": switch.host_key(),
    }});
    site.admin.create(Service::Network, "/cofferdam/switches", "switch", &body);
    // With that driver they are two.
    for spelled in ["eth1/2", "Ethernet1/2", "Eth1/3"] {
        let body = json!({"switch_port": {"switch": "spine", "port": spelled}});
        let made = site.admin.call(Method::POST, Service::Network, "/cofferdam/switch-ports", Some(&body));
        assert_eq!(made.status, 201, "{}", made.text);
    }
    assert_eq!(ledger(&site, "spine"), ["Eth1/3", "Ethernet1/2", "eth1/2"]);
    let change = json!({"switch": {"driver": "cisco_nxos", "endpoint": format!("ssh:{}", switch.address()), "admin_state_up": true}});
    let changed = site.admin.call(Method::PUT, Service::Network, "/cofferdam/switches/spine", Some(&change));
    assert_eq!(changed.status, 200, "{}", changed.text);
    wait_for("the ports have their names, and are proven", LIMIT, || {
        let free = site.admin.list(Service::Network, "/cofferdam/switch-ports?switch=spine&state=free");
        let names = ledger(&site, "spine");
        let fault = site.admin.get(Service::Network, "/cofferdam/switches/spine")["switch"]["fault"].take();
        if names == ["Ethernet1/2", "Ethernet1/3"] && free.len() == 2 { Ok(()) } else { Err(format!("{names:?} {free:?} {fault}")) }
    });
}
