//! Ports: addresses, bindings, and who sees them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::on_each;
use crate::{each, neutron_refused, text};

const NETWORKS: &str = "/network/v2.0/networks";
const SUBNETS: &str = "/network/v2.0/subnets";
const PORTS: &str = "/network/v2.0/ports";

/// A network with one subnet: their ids.
async fn network(desk: &Desk, who: &Who, cidr: &str) -> (String, String) {
    let net = desk.post(who, NETWORKS, json!({"network": {}})).await.expect(201);
    let net = text(&net, "/network/id").to_owned();
    let subnet = desk.post(who, SUBNETS, json!({"subnet": {"network_id": net, "cidr": cidr, "ip_version": 4}})).await.expect(201);
    (net, text(&subnet, "/subnet/id").to_owned())
}

async fn ask(desk: &Desk, who: &Who, port: Value) -> Answer {
    desk.post(who, PORTS, json!({ "port": port })).await
}

async fn made(desk: &Desk, who: &Who, port: Value) -> Value {
    ask(desk, who, port).await.expect(201)["port"].clone()
}

fn at(port: &Value) -> String {
    format!("{PORTS}/{}", text(port, "/id"))
}

#[test]
fn made_shown_changed_deleted() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.somebody("ann", "finance", "manager").await;
        let (net, subnet) = network(&desk, &ann, "10.0.0.0/24").await;
        let port = made(&desk, &ann, json!({"network_id": net, "name": "p", "device_id": "d", "device_owner": "compute:nova"})).await;
        let wanted = json!({
            "name": "p", "network_id": net, "admin_state_up": true, "status": "DOWN", "device_id": "d", "device_owner": "compute:nova",
            "fixed_ips": [{"subnet_id": subnet, "ip_address": "10.0.0.2"}], "project_id": ann.project, "revision_number": 1,
            "binding:vnic_type": "normal",
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&port[key], value, "{key}");
        }
        assert!(text(&port, "/mac_address").starts_with("fa:16:3e:"));
        assert_eq!(desk.get(&ann, &at(&port)).await.expect(200)["port"], port);
        let change = json!({"port": {"name": "q", "admin_state_up": false, "description": "d", "device_id": ""}});
        let changed = desk.put(&ann, &at(&port), change).await.expect(200)["port"].clone();
        assert_eq!((&changed["name"], &changed["device_id"], &changed["revision_number"]), (&json!("q"), &json!(""), &json!(2)));
        for wrong in [
            json!({"name": 5}),
            json!({"colour": "blue"}),
            json!({"status": "ACTIVE"}),
            json!({"mac_address": "nonsense"}),
            json!({"binding:vnic_type": "wireless"}),
            json!({"fixed_ips": "all"}),
            json!({"fixed_ips": ["10.0.0.5"]}),
            json!({"fixed_ips": [{}]}),
            json!({"fixed_ips": [{"colour": "blue"}]}),
            json!({"fixed_ips": [{"ip_address": "ten"}]}),
            json!({"fixed_ips": [{"subnet_id": "nowhere"}]}),
            json!({"fixed_ips": [{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9"}]}),
            json!({"fixed_ips": vec![json!({"subnet_id": subnet}); 300]}),
            json!({"security_groups": ["web"]}),
            json!({"device_owner": "baremetal:cluster"}),
        ] {
            let mut body = json!({"network_id": net});
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            for answer in [ask(&desk, &ann, body).await, desk.put(&ann, &at(&port), json!({"port": wrong})).await] {
                assert!([400, 409].contains(&answer.status.as_u16()), "{wrong}: {} {}", answer.status, answer.body);
                assert!(answer.body["NeutronError"]["type"].is_string());
            }
        }
        neutron_refused(&desk.put(&ann, &at(&port), json!({"port": {"network_id": net}})).await, 400, "HTTPBadRequest");
        neutron_refused(&ask(&desk, &ann, json!({"name": "p"})).await, 400, "HTTPBadRequest");
        assert_eq!(desk.get(&ann, &at(&port)).await.expect(200)["port"], changed, "refusals changed nothing");
        assert_eq!(world.store.allocations(&format!("ip:{subnet}")).await.unwrap().len(), 1, "the port's");

        // The port of a server is the compute service's to delete.
        neutron_refused(&desk.delete(&ann, &at(&port)).await, 403, "PolicyNotAuthorized");
        desk.delete(&desk.admin, &at(&port)).await.expect(204);
        for answer in
            [desk.get(&ann, &at(&port)).await, desk.delete(&ann, &at(&port)).await, desk.put(&ann, &at(&port), json!({"port": {}})).await]
        {
            neutron_refused(&answer, 404, "PortNotFound");
        }
        assert_eq!(desk.get(&ann, PORTS).await.expect(200), json!({"ports": []}));
    });
}

#[test]
fn addresses_asked_for() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let (net, subnet) = network(&desk, &ann, "10.0.0.0/29").await;
        let with = |ip: &str| json!({"network_id": net, "fixed_ips": [{"ip_address": ip}]});
        let port = made(&desk, &ann, with("10.0.0.4")).await;
        assert_eq!(port["fixed_ips"], json!([{"subnet_id": subnet, "ip_address": "10.0.0.4"}]));
        neutron_refused(&ask(&desk, &ann, with("10.0.0.4")).await, 409, "IpAddressAlreadyAllocated");
        // The gateway's is given to whoever asks for it: a router would.
        let gateway = made(&desk, &ann, with("10.0.0.1")).await;
        desk.delete(&ann, &at(&gateway)).await.expect(204);
        neutron_refused(&ask(&desk, &ann, with("192.168.0.1")).await, 400, "InvalidIpForNetwork");
        let in_subnet = json!({"network_id": net, "fixed_ips": [{"subnet_id": subnet, "ip_address": "192.168.0.1"}]});
        neutron_refused(&ask(&desk, &ann, in_subnet).await, 400, "InvalidIpForSubnet");
        neutron_refused(&ask(&desk, &ann, with("10.0.0.7")).await, 400, "InvalidIpForNetwork");
        assert_eq!(made(&desk, &ann, json!({"network_id": net, "fixed_ips": []})).await["fixed_ips"], json!([]));

        // 2, 3, 5 and 6 are left.
        let mut given = Vec::new();
        for _ in 0..4 {
            given.push(text(&made(&desk, &ann, json!({"network_id": net})).await, "/fixed_ips/0/ip_address").to_owned());
        }
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]);
        let full = ask(&desk, &ann, json!({"network_id": net})).await;
        neutron_refused(&full, 409, "IpAddressGenerationFailure");
        let bulk = json!({"ports": [{"network_id": net, "fixed_ips": []}, {"network_id": net}]});
        neutron_refused(&desk.post(&ann, PORTS, bulk).await, 409, "IpAddressGenerationFailure");
        assert_eq!(desk.get(&ann, PORTS).await.expect(200)["ports"].as_array().unwrap().len(), 6);

        // An address given up is free for others, one kept is not asked for anew.
        let moved = desk.put(&ann, &at(&port), json!({"port": {"fixed_ips": [{"subnet_id": subnet, "ip_address": "10.0.0.4"}]}})).await;
        assert_eq!(moved.expect(200)["port"]["fixed_ips"][0]["ip_address"], "10.0.0.4");
        desk.put(&ann, &at(&port), json!({"port": {"fixed_ips": []}})).await.expect(200);
        assert_eq!(text(&made(&desk, &ann, json!({"network_id": net})).await, "/fixed_ips/0/ip_address"), "10.0.0.4");
        let back = desk.put(&ann, &at(&port), json!({"port": {"fixed_ips": [{"ip_address": "10.0.0.4"}]}})).await;
        neutron_refused(&back, 409, "IpAddressAlreadyAllocated");
    });
}

#[test]
fn hardware_addresses() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let (net, _) = network(&desk, &ann, "10.0.0.0/24").await;
        let (other, _) = network(&desk, &ann, "10.0.0.0/24").await;
        let with = |net: &str, mac: &str| json!({"network_id": net, "mac_address": mac});
        let port = made(&desk, &ann, with(&net, "52-54-00-AB-CD-EF")).await;
        assert_eq!(port["mac_address"], "52:54:00:ab:cd:ef");
        neutron_refused(&ask(&desk, &ann, with(&net, "52:54:00:ab:cd:ef")).await, 409, "MacAddressInUse");
        made(&desk, &ann, with(&other, "52:54:00:ab:cd:ef")).await;
        for wrong in ["", "52:54:00:ab:cd", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "5254.00ab.cdef"] {
            neutron_refused(&ask(&desk, &ann, with(&net, wrong)).await, 400, "HTTPBadRequest");
        }
        let second = made(&desk, &ann, json!({"network_id": net})).await;
        // Changing them takes the manager of the network's project.
        let mia = desk.somebody("mia", "finance", "manager").await;
        let change = json!({"port": {"mac_address": "52:54:00:ab:cd:ef"}});
        neutron_refused(&desk.put(&ann, &at(&second), change.clone()).await, 403, "PolicyNotAuthorized");
        neutron_refused(&desk.put(&mia, &at(&second), change.clone()).await, 409, "MacAddressInUse");
        desk.put(&mia, &at(&port), json!({"port": {"mac_address": "52:54:00:00:00:01"}})).await.expect(200);
        desk.put(&mia, &at(&second), change).await.expect(200);
        let twice = json!({"ports": [with(&net, "52:54:00:00:00:09"), with(&net, "52:54:00:00:00:09")]});
        neutron_refused(&desk.post(&ann, PORTS, twice).await, 409, "MacAddressInUse");
    });
}

#[test]
fn thirty_two_at_once_share_no_address() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let (net, subnet) = network(&desk, &ann, "10.0.0.0/26").await;
        let asks = (0..32).map(|_| ask(&desk, &ann, json!({"network_id": net})));
        let answers = futures_util::future::join_all(asks).await;
        let mut addresses = BTreeSet::new();
        let mut macs = BTreeSet::new();
        for answer in answers {
            let body = answer.expect(201);
            addresses.insert(text(&body, "/port/fixed_ips/0/ip_address").to_owned());
            macs.insert(text(&body, "/port/mac_address").to_owned());
        }
        assert_eq!((addresses.len(), macs.len()), (32, 32), "on {}", world.name());
        assert!(!addresses.contains("10.0.0.1"), "the gateway's");
        assert_eq!(world.store.allocations(&format!("ip:{subnet}")).await.unwrap().len(), 32);
        // Of many who want one address, or one hardware address, one gets it. Which addresses were given out above is not said.
        let free = (1..=62).map(|it| format!("10.0.0.{it}")).find(|it| it != "10.0.0.1" && !addresses.contains(it)).unwrap();
        for wanted in [json!({"fixed_ips": [{"ip_address": free}]}), json!({"mac_address": "52:54:00:00:00:01", "fixed_ips": []})] {
            let mut body = wanted.clone();
            body["network_id"] = json!(net);
            let answers = futures_util::future::join_all((0..16).map(|_| ask(&desk, &ann, body.clone()))).await;
            let codes: Vec<u16> = answers.iter().map(|it| it.status.as_u16()).collect();
            assert_eq!(codes.iter().filter(|it| **it == 201).count(), 1, "{wanted} on {}: {codes:?}", world.name());
            assert!(codes.iter().all(|it| [201, 409].contains(it)), "{wanted} on {}: {codes:?}", world.name());
        }
        // And of many who want more than there are, as many as there are get one: 62 addresses, one of them the gateway's.
        let answers = futures_util::future::join_all((0..32).map(|_| ask(&desk, &ann, json!({"network_id": net})))).await;
        let codes: Vec<u16> = answers.iter().map(|it| it.status.as_u16()).collect();
        assert_eq!(codes.iter().filter(|it| **it == 201).count(), 62 - 1 - 33, "on {}: {codes:?}", world.name());
        assert!(codes.iter().all(|it| [201, 409].contains(it)), "on {}: {codes:?}", world.name());
    });
}

#[test]
fn filters() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let eve = desk.tenant("eve", "medical").await;
        let (one, subnet) = network(&desk, &ann, "10.0.0.0/24").await;
        let (two, _) = network(&desk, &ann, "10.0.0.0/24").await;
        made(&desk, &ann, json!({"name": "a", "network_id": one, "device_id": "m1", "mac_address": "52:54:00:00:00:01"})).await;
        made(&desk, &ann, json!({"name": "b", "network_id": one, "device_id": "m2"})).await;
        made(&desk, &ann, json!({"name": "c", "network_id": two, "device_id": "m1", "admin_state_up": false})).await;
        let names = async |who: &Who, query: String| {
            let body = desk.get(who, &format!("{PORTS}?sort_key=name&sort_dir=asc&{query}")).await.expect(200);
            each(&body, "ports", "name").concat()
        };
        for (query, wanted) in [
            (String::new(), "abc"),
            (format!("network_id={one}"), "ab"),
            (format!("network_id={one}&network_id={two}"), "abc"),
            ("device_id=m1".into(), "ac"),
            (format!("device_id=m1&network_id={one}"), "a"),
            ("mac_address=52:54:00:00:00:01".into(), "a"),
            ("fixed_ips=ip_address%3D10.0.0.2".into(), "ac"),
            ("fixed_ips=ip_address=10.0.0.3".into(), "b"),
            (format!("fixed_ips=subnet_id%3D{subnet}"), "ab"),
            (format!("fixed_ips=subnet_id%3D{subnet}&fixed_ips=ip_address%3D10.0.0.2"), "a"),
            ("fixed_ips=ip_address_substr%3D0.0.3".into(), "b"),
            ("admin_state_up=False".into(), "c"),
            ("status=DOWN".into(), "abc"),
            ("status=ACTIVE".into(), ""),
            ("name=b".into(), "b"),
            (format!("project_id={}", ann.project), "abc"),
            (format!("project_id={}", eve.project), ""),
        ] {
            assert_eq!(names(&ann, query.clone()).await, wanted, "{query}");
            assert_eq!(names(&eve, query.clone()).await, "", "another project, {query}");
        }
        neutron_refused(&desk.get(&ann, &format!("{PORTS}?colour=blue")).await, 400, "HTTPBadRequest");
        neutron_refused(&desk.get(&ann, &format!("{PORTS}?binding:host_id=h")).await, 400, "HTTPBadRequest");
        assert_eq!(names(&desk.admin, "binding:host_id=".into()).await, "abc");
    });
}

#[test]
fn bindings_are_the_operators() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let service = desk.somebody("ironic", "service", "service").await;
        let (net, _) = network(&desk, &ann, "10.0.0.0/24").await;
        let port = made(&desk, &ann, json!({"network_id": net, "binding:vnic_type": "baremetal"})).await;
        let link = json!({"switch_id": "02:cf:00:00:00:01", "switch_info": "leaf1", "port_id": "p1"});
        for set in [
            json!({"binding:host_id": "m1"}),
            json!({"binding:profile": {"local_link_information": [link]}}),
            json!({"binding:profile": {}}),
            json!({"binding:vif_type": "other"}),
        ] {
            let answer = desk.put(&ann, &at(&port), json!({ "port": set })).await;
            assert!([400, 403].contains(&answer.status.as_u16()), "{set}: {}", answer.body);
            let mut body = set.clone();
            body["network_id"] = json!(net);
            assert_eq!(ask(&desk, &ann, body).await.status, answer.status);
        }
        neutron_refused(&desk.put(&ann, &at(&port), json!({"port": {"binding:host_id": "m1"}})).await, 403, "PolicyNotAuthorized");
        for wrong in [
            json!("p1"),
            json!([]),
            json!({"local_link_information": "p1"}),
            json!({"local_link_information": ["p1"]}),
            json!({"local_link_information": [{}]}),
            json!({"local_link_information": [{"port_id": "p1"}]}),
            json!({"local_link_information": [{"switch_id": "02:cf:00:00:00:01"}]}),
            json!({"local_link_information": [{"switch_id": "02:cf:00:00:00:01", "port_id": ""}]}),
            json!({"local_link_information": [{"switch_id": 5, "port_id": "p1"}]}),
        ] {
            let body = json!({"port": {"binding:profile": wrong}});
            neutron_refused(&desk.put(&service, &at(&port), body).await, 400, "HTTPBadRequest");
        }
        let bind = json!({"port": {"binding:host_id": "m1", "binding:profile": {"local_link_information": [link]}}});
        // How a port is bound is the services' to say, an administrator's it is not.
        neutron_refused(&desk.put(&desk.admin, &at(&port), bind.clone()).await, 403, "PolicyNotAuthorized");
        let bound = desk.put(&service, &at(&port), bind).await.expect(200)["port"].clone();
        assert_eq!(bound["binding:profile"]["local_link_information"], json!([link]));
        assert_eq!((&bound["binding:vif_type"], &bound["status"]), (&json!("unbound"), &json!("DOWN")), "wanted is not seen");
        for body in [desk.get(&ann, &at(&port)).await.expect(200), desk.get(&ann, PORTS).await.expect(200)] {
            let body = body.to_string();
            assert!(!body.contains("binding:host_id") && !body.contains("local_link") && !body.contains("vif_type"), "{body}");
            assert!(body.contains("\"binding:vnic_type\":\"baremetal\""));
        }
        // A port that was bound holds its addresses until it was seen released.
        desk.delete(&ann, &at(&port)).await.expect(204);
        neutron_refused(&desk.get(&desk.admin, &at(&port)).await, 404, "PortNotFound");
        let again = json!({"network_id": net, "fixed_ips": [{"ip_address": port["fixed_ips"][0]["ip_address"]}]});
        neutron_refused(&ask(&desk, &ann, again).await, 409, "IpAddressAlreadyAllocated");
    });
}

#[test]
fn what_is_anothers_does_not_exist_and_shared_networks_have_owners() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let eve = desk.tenant("eve", "medical").await;
        let (net, _) = network(&desk, &ann, "10.0.0.0/24").await;
        let port = made(&desk, &ann, json!({"network_id": net})).await;
        for answer in [
            desk.get(&eve, &at(&port)).await,
            desk.put(&eve, &at(&port), json!({"port": {"name": "mine"}})).await,
            desk.delete(&eve, &at(&port)).await,
        ] {
            neutron_refused(&answer, 404, "PortNotFound");
        }
        desk.put(&desk.admin, &format!("{NETWORKS}/{net}"), json!({"network": {"shared": true}})).await.expect(200);
        let guest = made(&desk, &eve, json!({"network_id": net})).await;
        assert_eq!(guest["project_id"], json!(eve.project));
        for chosen in [json!({"mac_address": "52:54:00:00:00:01"}), json!({"fixed_ips": [{"ip_address": "10.0.0.99"}]})] {
            let mut body = chosen.clone();
            body["network_id"] = json!(net);
            neutron_refused(&ask(&desk, &eve, body).await, 403, "PolicyNotAuthorized");
            neutron_refused(&desk.put(&eve, &at(&guest), json!({ "port": chosen })).await, 403, "PolicyNotAuthorized");
        }
        neutron_refused(&desk.get(&eve, &at(&port)).await, 404, "PortNotFound");
        desk.delete(&eve, &at(&guest)).await.expect(204);
    });
}

#[test]
fn several_are_made_at_once_or_none() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let (net, subnet) = network(&desk, &ann, "10.0.0.0/24").await;
        let body = json!({"ports": vec![json!({"network_id": net}); 5]});
        let made = desk.post(&ann, PORTS, body).await.expect(201);
        let addresses: BTreeSet<&str> = made["ports"].as_array().unwrap().iter().map(|it| text(it, "/fixed_ips/0/ip_address")).collect();
        assert_eq!(addresses.len(), 5);
        for (wrong, status) in [
            (json!({"network_id": "0b8fb4b5-5a5a-4e45-bb9c-11ad8bd2ec3a"}), 404),
            (json!({"network_id": net, "name": 5}), 400),
            (json!("x"), 400),
        ] {
            let answer = desk.post(&ann, PORTS, json!({"ports": [{"network_id": net}, wrong]})).await;
            assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
        }
        assert_eq!(desk.get(&ann, PORTS).await.expect(200)["ports"].as_array().unwrap().len(), 5);
        assert_eq!(world.store.allocations(&format!("ip:{subnet}")).await.unwrap().len(), 5);
        let many = json!({"ports": vec![json!({"network_id": net}); 1001]});
        neutron_refused(&desk.post(&ann, PORTS, many).await, 400, "HTTPBadRequest");
    });
}
