//! Machines whose cards act as one, from the deployment to the release, on the switch.

use std::time::{Duration, Instant};

use http::Method;
use lab::netos::device::Carried;
use net::http::Request;
use serde_json::{Value, json};

use crate::links::{await_that, check_ledger, group_of, groups, make, site, untagged};
use crate::site::Site;
use crate::support::api::{Answer, Service, send};

const OSES: [&str; 4] = ["arista_eos", "cisco_nxos", "cisco_ios", "juniper_junos"];
const PATIENCE: Duration = Duration::from_secs(90);

/// A request of a version that knows rescue.
fn call(site: &Site, method: Method, path: &str, body: &Value) -> Answer {
    let url = format!("{}{}{path}", site.serve.setting.base(), Service::Baremetal.prefix());
    let request = Request::json(method, url.as_str(), body);
    let request = request.header("x-auth-token", &site.admin.token).header("x-openstack-ironic-api-version", "1.67");
    send(request, PATIENCE).unwrap()
}

fn create(site: &Site, path: &str, body: &Value) -> String {
    let made = call(site, Method::POST, path, body);
    assert_eq!(made.status, 201, "{}", made.text);
    made.body["uuid"].as_str().unwrap().to_owned()
}

fn node(site: &Site, id: &str) -> Value {
    site.admin.get(Service::Baremetal, &format!("/nodes/{id}"))
}

fn order(site: &Site, id: &str, verb: &Value, state: &str) {
    let path = format!("/nodes/{id}/states/provision");
    let answer = call(site, Method::PUT, &path, verb);
    assert!(answer.is_success(), "{}", answer.body);
    let began = Instant::now();
    while node(site, id)["provision_state"] != state {
        check_ledger(site);
        assert!(began.elapsed() < PATIENCE, "{state}: {}", node(site, id));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A machine of that switch with two cards in a group; its node.
fn enrol(site: &Site, nth: usize, mode: &str) -> String {
    let body = json!({"name": format!("m-{nth}-{mode}"), "driver": "fake-hardware", "network_interface": "neutron",
                      "deploy_interface": "fake", "rescue_interface": "fake"});
    let id = create(site, "/nodes", &body);
    let body = json!({"node_uuid": id, "name": format!("bond-{nth}"), "mode": mode, "properties": {"miimon": 100},
                      "address": format!("52:54:00:00:{nth:02x}:99")});
    let group = create(site, "/portgroups", &body);
    for port in 0..2 {
        let link = site.binding(nth, port)["binding:profile"]["local_link_information"][0].clone();
        let mac = format!("52:54:00:00:{nth:02x}:{port:02x}");
        let body =
            json!({"address": mac, "node_uuid": id, "portgroup_uuid": group, "pxe_enabled": port == 1, "local_link_connection": link});
        create(site, "/ports", &body);
    }
    order(site, &id, &json!({"target": "manage"}), "manageable");
    order(site, &id, &json!({"target": "provide"}), "available");
    id
}

fn lives(site: &Site, nth: usize, mode: &str, is_group: bool) {
    let id = enrol(site, nth, mode);
    let (network, vlan) = site.network(&format!("net-{nth}-{mode}"));
    let vif = make(site, &network, json!({"name": format!("vif-{nth}-{mode}")}));
    let attach = site.admin.call(Method::POST, Service::Baremetal, &format!("/nodes/{id}/vifs"), Some(&json!({"id": vif})));
    assert_eq!(attach.status, 204, "{}", attach.body);
    let carries = |port: usize| site.switches[nth].device().carries(&site.ports[nth][port]);
    let bonded = || {
        let (one, two) = (group_of(site, nth, 0), group_of(site, nth, 1));
        let in_one = if is_group { one.is_some_and(|it| it.1) && two.is_some() } else { one.is_none() && two.is_none() };
        assert!(in_one && carries(0) == untagged(vlan) && carries(1) == untagged(vlan), "{:?} {:?}", carries(0), carries(1));
        let port = site.admin.get(Service::Network, &format!("/ports/{vif}"))["port"].clone();
        assert_eq!(
            (port["status"].as_str(), port["mac_address"].as_str().map(|it| it.ends_with(":99"))),
            (Some("ACTIVE"), Some(true)),
            "{port}"
        );
        let profile = &port["binding:profile"];
        assert_eq!(profile["local_link_information"].as_array().map(Vec::len), Some(2), "{profile}");
        let told = &profile["local_group_information"];
        assert_eq!((&told["bond_mode"], &told["bond_properties"]), (&json!(mode), &json!({"bond_miimon": 100})));
    };
    order(site, &id, &json!({"target": "active"}), "active");
    bonded();

    // A rescue ramdisk has no bond: the card that boots is plugged alone, the other is nobody's.
    order(site, &id, &json!({"target": "rescue", "rescue_password": "sesame"}), "rescue");
    assert_eq!((carries(1), group_of(site, nth, 1)), (untagged(vlan), None));
    await_that("the other card is isolated", || (!site.is_isolated(nth, &site.ports[nth][0])).then(|| format!("{:?}", carries(0))));
    await_that("no group", || groups(site, nth).pop());
    order(site, &id, &json!({"target": "unrescue"}), "active");
    bonded();

    order(site, &id, &json!({"target": "deleted"}), "available");
    assert!((0..2).all(|port| site.is_isolated(nth, &site.ports[nth][port])), "offered, and not isolated");
    assert_eq!((carries(0), carries(1)), (Carried::default(), Carried::default()));
    await_that("no group", || groups(site, nth).pop());
    let left = site.admin.get(Service::Baremetal, &format!("/portgroups/detail?node={id}"));
    assert_eq!(left["portgroups"][0]["internal_info"], json!({}));
    let off = site.admin.call(Method::DELETE, Service::Baremetal, &format!("/nodes/{id}"), None);
    assert_eq!(off.status, 204, "{}", off.body);
}

#[test]
fn a_machine_whose_cards_act_as_one() {
    let site = site(&OSES, 3);
    for nth in 0..OSES.len() {
        lives(&site, nth, "802.3ad", true);
    }
    lives(&site, 0, "active-backup", false);
}
