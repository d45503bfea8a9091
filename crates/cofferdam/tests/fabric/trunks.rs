//! Trunks of bare-metal ports: a native VLAN and tagged ones, from the API to the switch.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use lab::netos::device::Carried;
use serde_json::{Value, json};

use crate::links::{await_released, await_that, bonded, check_ledger, group_of, make, site, untagged};
use crate::site::Site;
use crate::support::api::Service;

const OSES: [&str; 5] = ["arista_eos", "cisco_nxos", "cisco_ios", "juniper_junos", "hpe_comware"];
/// How soon a change of a trunk is on the switch: it is looked at at once, not at the next interval.
const AT_ONCE: Duration = Duration::from_secs(30);

fn carrying(native: u16, tagged: &[u16]) -> Carried {
    Carried { untagged: Some(native), tagged: tagged.iter().copied().collect::<BTreeSet<u16>>() }
}

/// A port that a trunk may carry.
fn plain(site: &Site, network: &str) -> String {
    make(site, network, json!({}))
}

fn sub(port: &str, tag: u16) -> Value {
    json!({"port_id": port, "segmentation_type": "vlan", "segmentation_id": tag})
}

fn put(site: &Site, path: &str, body: &Value) -> u16 {
    site.admin.call(Method::PUT, Service::Network, path, Some(body)).status
}

fn status(site: &Site, what: &str, id: &str) -> String {
    let one = what.trim_end_matches('s');
    site.admin.get(Service::Network, &format!("/{what}/{id}"))[one]["status"].as_str().unwrap().to_owned()
}

/// Waits until ports and the trunk are so, and the switch carries that.
fn await_trunk(site: &Site, trunk: &str, state: &str, ports: &[&String], seen: impl Fn() -> Carried, wanted: &Carried) {
    let took = await_that(state, || {
        check_ledger(site);
        let states = site.states();
        let open = ports.iter().find(|it| states[**it] != "ACTIVE").map(|it| format!("{it} is {}", states[*it]));
        let shown = status(site, "trunks", trunk);
        open.or_else(|| (shown != state).then(|| format!("the trunk is {shown}"))).or_else(|| {
            let seen = seen();
            (seen != *wanted).then(|| format!("{seen:?}, wanted {wanted:?}"))
        })
    });
    assert!(took < AT_ONCE, "only after {took:?}");
}

/// The life of a trunk whose port is bound to that switch by `binding`; `seen` is what passes there.
fn lives(site: &Site, binding: Value, seen: &dyn Fn() -> Carried) {
    let [(one, native), (two, second), (three, third)] = ["one", "two", "three"].map(|name| site.network(name));
    let (first, other, wrong) = (plain(site, &two), plain(site, &three), plain(site, &three));
    let parent = make(site, &one, json!({}));
    let body = json!({"trunk": {"name": "t", "port_id": parent, "sub_ports": [sub(&first, second), sub(&other, third)]}});
    let trunk = site.admin.create(Service::Network, "/trunks", "trunk", &body)["id"].as_str().unwrap().to_owned();
    let path = format!("/trunks/{trunk}");
    assert_eq!(put(site, &format!("/ports/{parent}"), &json!({"port": binding})), 200);
    await_trunk(site, &trunk, "ACTIVE", &[&parent, &first, &other], seen, &carrying(native, &[second, third]));

    // While it is bound: one less, one more.
    assert_eq!(put(site, &format!("{path}/remove_subports"), &json!({"sub_ports": [{"port_id": first}]})), 200);
    await_trunk(site, &trunk, "ACTIVE", &[&parent, &other], seen, &carrying(native, &[third]));
    await_that("the subport is down", || Some(status(site, "ports", &first)).filter(|it| it != "DOWN"));
    assert_eq!(put(site, &format!("{path}/add_subports"), &json!({"sub_ports": [sub(&first, second)]})), 200);
    await_trunk(site, &trunk, "ACTIVE", &[&parent, &first, &other], seen, &carrying(native, &[second, third]));

    // A tag that no switch would hand on rightly: that subport has no way, the others keep theirs.
    assert_eq!(put(site, &format!("{path}/remove_subports"), &json!({"sub_ports": [{"port_id": other}]})), 200);
    assert_eq!(put(site, &format!("{path}/add_subports"), &json!({"sub_ports": [sub(&wrong, third + 50)]})), 200);
    await_trunk(site, &trunk, "DEGRADED", &[&parent, &first], seen, &carrying(native, &[second]));
    await_that("why", || {
        let shown = site.admin.get(Service::Network, &format!("/ports/{wrong}"))["port"].clone();
        let is_told = shown["binding:vif_details"]["reason"].as_str().is_some_and(|it| it.contains("has tag"));
        (!is_told || shown["status"] != "DOWN" || shown["binding:vif_type"] != "binding_failed").then(|| shown.to_string())
    });
    assert_eq!(put(site, &format!("{path}/remove_subports"), &json!({"sub_ports": [{"port_id": wrong}]})), 200);
    await_trunk(site, &trunk, "ACTIVE", &[&parent, &first], seen, &carrying(native, &[second]));

    // Without the trunk the port is plain; with one again it is a trunk, though it is bound.
    assert_eq!(site.admin.call(Method::DELETE, Service::Network, &path, None).status, 204);
    let took = await_that("plain", || {
        check_ledger(site);
        Some(format!("{:?}", seen())).filter(|_| seen() != untagged(native))
    });
    assert!(took < AT_ONCE, "only after {took:?}");
    site.await_active(std::slice::from_ref(&parent), AT_ONCE);
    let body = json!({"trunk": {"name": "again", "port_id": parent, "sub_ports": [sub(&other, third)]}});
    let trunk = site.admin.create(Service::Network, "/trunks", "trunk", &body)["id"].as_str().unwrap().to_owned();
    await_trunk(site, &trunk, "ACTIVE", &[&parent, &other], seen, &carrying(native, &[third]));

    // Let go: nothing passes, nobody is there.
    assert_eq!(put(site, &format!("/ports/{parent}"), &json!({"port": {"binding:host_id": "", "binding:profile": {}}})), 200);
    await_released(site, std::slice::from_ref(&parent));
    await_that("down", || {
        let all = [status(site, "trunks", &trunk), status(site, "ports", &parent), status(site, "ports", &other)];
        all.iter().any(|it| it != "DOWN").then(|| format!("{all:?}"))
    });
    assert_eq!(site.admin.call(Method::DELETE, Service::Network, &format!("/trunks/{trunk}"), None).status, 204);
}

#[test]
fn a_trunk_of_one_link() {
    let site = site(&OSES, 3);
    for nth in 0..OSES.len() {
        lives(&site, site.binding(nth, 0), &|| site.switches[nth].device().carries(&site.ports[nth][0]));
    }
}

#[test]
fn a_trunk_over_a_bond() {
    let site = site(&OSES, 3);
    for nth in 0..OSES.len() {
        lives(&site, bonded(&site, &[(nth, 0), (nth, 1)], "802.3ad"), &|| {
            let device = site.switches[nth].device();
            let group = group_of(&site, nth, 0)
                .map(|it| it.0)
                .filter(|it| group_of(&site, nth, 1).is_some_and(|other| other == (it.clone(), true)));
            group.map_or_else(Carried::default, |it| device.carries(&it))
        });
    }
}
