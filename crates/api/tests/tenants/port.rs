//! Ports: addresses, bindings, who may say what.

use model::Id;
use model::net::Port;
use serde_json::{Value, json};

use crate::support::{Cloud, Token, id};
use crate::world::{World, on_each};

const PORTS: &str = "/network/v2.0/ports";

async fn stored(world: &World, port: &Value) -> Option<model::Object<Port>> {
    world.store.get(&Id::parse(id(port)).unwrap()).await.unwrap()
}

/// A project with a network and a subnet 10.0.0.0/24 on it.
async fn blue(cloud: &Cloud) -> (Token, Value, Value) {
    let finance = cloud.tenant("finance", "member").await;
    let network = cloud.network(&finance, "blue").await;
    let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
    (finance, network, subnet)
}

#[test]
fn a_life() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, subnet) = blue(&cloud).await;
        let made = cloud.port(&finance, &network, json!({"name": "p", "binding:vnic_type": "baremetal"})).await.expect(201)["port"].take();
        for (key, value) in [
            ("name", json!("p")),
            ("network_id", network["id"].clone()),
            ("admin_state_up", json!(true)),
            ("status", json!("DOWN")),
            ("fixed_ips", json!([{"subnet_id": subnet["id"], "ip_address": "10.0.0.2"}])),
            ("device_id", json!("")),
            ("device_owner", json!("")),
            ("binding:vnic_type", json!("baremetal")),
            ("port_security_enabled", json!(true)),
            ("security_groups", json!([])),
            ("project_id", json!(finance.project)),
            ("tenant_id", json!(finance.project)),
            ("revision_number", json!(1)),
        ] {
            assert_eq!(made[key], value, "{key}");
        }
        assert!(made["mac_address"].as_str().unwrap().starts_with("fa:16:3e:"));
        for hidden in ["binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details"] {
            assert!(made.get(hidden).is_none(), "{hidden}");
        }
        let one = format!("{PORTS}/{}", id(&made));
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["port"], made);
        let seen = cloud.get(&cloud.admin, &one).await.expect(200)["port"].take();
        assert_eq!((&seen["binding:host_id"], &seen["binding:vif_type"], &seen["binding:profile"]), (&json!(""), &json!("unbound"), &json!({})));
        let change = json!({"name": "q", "device_id": "d", "device_owner": "baremetal:none", "mac_address": "52-54-00-AA-00-01", "admin_state_up": false});
        let changed = cloud.put(&finance, &one, json!({"port": change})).await.expect(200)["port"].take();
        assert_eq!((&changed["mac_address"], &changed["name"], &changed["admin_state_up"]), (&json!("52:54:00:aa:00:01"), &json!("q"), &json!(false)));
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["port"], changed);
        let mac = format!("mac:{}", id(&network));
        let held = world.store.allocations(&mac).await.unwrap();
        assert_eq!(held.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["52:54:00:aa:00:01"], "the old address was given back");
        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "PortNotFound");
        cloud.put(&finance, &one, json!({"port": {}})).await.neutron(404, "PortNotFound");
        cloud.delete(&finance, &one).await.neutron(404, "PortNotFound");
        assert_eq!(cloud.get(&cloud.admin, PORTS).await.expect(200)["ports"], json!([]));
    });
}

#[test]
fn addresses() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, subnet) = blue(&cloud).await;
        let six = json!({"subnet": {"network_id": network["id"], "ip_version": 6, "cidr": "2001:db8::/64"}});
        let six = cloud.post(&finance, "/network/v2.0/subnets", six).await.expect(201)["subnet"].take();
        let foreign = cloud.network(&finance, "green").await;
        let foreign = cloud.subnet(&finance, &foreign, "10.0.0.0/24").await;
        let ips = |port: &Value| -> Vec<String> {
            port["fixed_ips"].as_array().unwrap().iter().map(|it| it["ip_address"].as_str().unwrap().to_owned()).collect()
        };
        let create = async |fixed: Value| cloud.port(&finance, &network, json!({"fixed_ips": fixed})).await;
        for (fixed, given) in [
            (Value::Null, vec!["10.0.0.2", "2001:db8::2"]),
            (json!([]), vec![]),
            (json!([{"subnet_id": subnet["id"]}]), vec!["10.0.0.3"]),
            (json!([{"ip_address": "10.0.0.77"}]), vec!["10.0.0.77"]),
            (json!([{"subnet_id": subnet["id"], "ip_address": "10.0.0.78"}]), vec!["10.0.0.78"]),
            (json!([{"subnet_id": subnet["id"]}, {"subnet_id": subnet["id"]}]), vec!["10.0.0.4", "10.0.0.5"]),
            (json!([{"subnet_id": six["id"]}, {"ip_address": "2001:db8::99"}]), vec!["2001:db8::3", "2001:db8::99"]),
        ] {
            assert_eq!(ips(&create(fixed.clone()).await.expect(201)["port"]), given, "{fixed}");
        }
        let pool = format!("ip:{}", id(&subnet));
        let before = world.store.allocations(&pool).await.unwrap();
        for (fixed, status, kind) in [
            (json!("10.0.0.9"), 400, "HTTPBadRequest"),
            (json!(["10.0.0.9"]), 400, "HTTPBadRequest"),
            (json!([{}]), 400, "HTTPBadRequest"),
            (json!([{"subnet_id": 7}]), 400, "HTTPBadRequest"),
            (json!([{"subnet_id": "none"}]), 400, "HTTPBadRequest"),
            (json!([{"subnet_id": foreign["id"]}]), 400, "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.300"}]), 400, "HTTPBadRequest"),
            (json!([{"ip_address": 7}]), 400, "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.9", "colour": "red"}]), 400, "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.9.9"}]), 400, "InvalidIpForNetwork"),
            (json!([{"subnet_id": six["id"], "ip_address": "10.0.0.9"}]), 400, "InvalidIpForSubnet"),
            (json!([{"ip_address": "10.0.0.0"}]), 400, "InvalidIpForSubnet"),
            (json!([{"ip_address": "10.0.0.255"}]), 400, "InvalidIpForSubnet"),
            (json!([{"ip_address": "10.0.0.1"}]), 409, "IpAddressInUse"),
            (json!([{"ip_address": "10.0.0.77"}]), 409, "IpAddressInUse"),
            (json!([{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9"}]), 409, "IpAddressInUse"),
            (json!(vec![json!({"subnet_id": subnet["id"]}); 65]), 400, "HTTPBadRequest"),
        ] {
            let answer = create(fixed.clone()).await;
            assert_eq!((answer.status, answer.body["NeutronError"]["type"].as_str()), (status, Some(kind)), "{fixed}: {}", answer.text);
        }
        assert_eq!(world.store.allocations(&pool).await.unwrap(), before, "what was refused holds nothing");

        let port = create(json!([{"ip_address": "10.0.0.50"}, {"ip_address": "2001:db8::50"}])).await.expect(201)["port"].take();
        let one = format!("{PORTS}/{}", id(&port));
        let set = async |fixed: Value| cloud.put(&finance, &one, json!({"port": {"fixed_ips": fixed}})).await;
        set(json!([{"ip_address": "10.0.0.77"}])).await.neutron(409, "IpAddressInUse");
        let changed = set(json!([{"ip_address": "10.0.0.50"}, {"ip_address": "10.0.0.51"}])).await.expect(200)["port"].take();
        assert_eq!(ips(&changed), ["10.0.0.50", "10.0.0.51"]);
        let kept = set(json!([{"subnet_id": subnet["id"]}])).await.expect(200)["port"].take();
        assert_eq!(ips(&kept), ["10.0.0.50"], "what it has is good enough");
        set(json!([])).await.expect(200);
        create(json!([{"ip_address": "10.0.0.50"}])).await.expect(201);
        create(json!([{"ip_address": "2001:db8::50"}])).await.expect(201);
    });
}

#[test]
fn a_full_subnet() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        let subnet = cloud.subnet(&finance, &network, "10.0.0.0/29").await;
        let several = json!({"ports": vec![json!({"network_id": network["id"]}); 6]});
        cloud.post(&finance, PORTS, several).await.neutron(409, "IpAddressGenerationFailure");
        assert_eq!(cloud.get(&finance, PORTS).await.expect(200)["ports"], json!([]), "of several, all or none");
        let several = json!({"ports": vec![json!({"network_id": network["id"]}); 5]});
        let made = cloud.post(&finance, PORTS, several).await.expect(201)["ports"].take();
        assert_eq!(made.as_array().unwrap().len(), 5);
        cloud.port(&finance, &network, json!({})).await.neutron(409, "IpAddressGenerationFailure");
        cloud.port(&finance, &network, json!({"fixed_ips": [{"subnet_id": subnet["id"]}]})).await.neutron(409, "IpAddressGenerationFailure");
        cloud.port(&finance, &network, json!({"fixed_ips": []})).await.expect(201);
        // With a second subnet there is room again; with one less port too.
        let second = cloud.subnet(&finance, &network, "10.0.1.0/29").await;
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        assert_eq!(port["fixed_ips"][0]["subnet_id"], second["id"]);
        cloud.delete(&finance, &format!("{PORTS}/{}", id(&made[2]))).await.expect(204);
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        assert_eq!(port["fixed_ips"], made[2]["fixed_ips"], "an unbound port gives its address back at once");
    });
}

#[test]
fn bad_input_changes_nothing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, _) = blue(&cloud).await;
        let port = cloud.port(&finance, &network, json!({"mac_address": "52:54:00:00:00:01"})).await.expect(201)["port"].take();
        let one = format!("{PORTS}/{}", id(&port));
        let before = cloud.get(&cloud.admin, PORTS).await.text;
        for attributes in [
            json!({"colour": "red"}),
            json!({"status": "ACTIVE"}),
            json!({"id": "x"}),
            json!({"name": 5}),
            json!({"name": "a\0"}),
            json!({"admin_state_up": "perhaps"}),
            json!({"mac_address": "52:54:00"}),
            json!({"mac_address": "01:00:5e:00:00:01"}),
            json!({"mac_address": 5}),
            json!({"device_id": "x".repeat(256)}),
            json!({"device_owner": "network:cofferdam-access"}),
            json!({"binding:vnic_type": "telepathic"}),
            json!({"binding:vif_type": "other"}),
            json!({"security_groups": ["x"]}),
            json!({"allowed_address_pairs": [{"ip_address": "10.0.0.9"}]}),
            json!({"qos_policy_id": "x"}),
        ] {
            cloud.port(&finance, &network, attributes.clone()).await.neutron(400, "HTTPBadRequest");
            cloud.put(&finance, &one, json!({"port": attributes})).await.neutron(400, "HTTPBadRequest");
        }
        cloud.put(&finance, &one, json!({"port": {"network_id": network["id"]}})).await.neutron(400, "HTTPBadRequest");
        for network in [json!({"id": 7}), json!({"id": null})] {
            cloud.port(&finance, &network, json!({})).await.neutron(400, "HTTPBadRequest");
        }
        cloud.post(&finance, PORTS, json!({"port": {}})).await.neutron(400, "HTTPBadRequest");
        cloud.port(&finance, &json!({"id": "none"}), json!({})).await.neutron(404, "NetworkNotFound");
        cloud.port(&finance, &network, json!({"mac_address": "52:54:00:00:00:01"})).await.neutron(409, "MacAddressInUse");
        let other = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        let other = format!("{PORTS}/{}", id(&other));
        cloud.put(&finance, &other, json!({"port": {"mac_address": "52:54:00:00:00:01"}})).await.neutron(409, "MacAddressInUse");
        cloud.delete(&finance, &other).await.expect(204);
        let two = json!({"ports": [{"network_id": network["id"]}, {"network_id": network["id"], "mac_address": "52:54:00:00:00:01"}]});
        cloud.post(&finance, PORTS, two).await.neutron(409, "MacAddressInUse");
        // Where a cable ends is for administrators and services to say.
        for attributes in [json!({"binding:host_id": "h"}), json!({"binding:profile": {}})] {
            cloud.port(&finance, &network, attributes.clone()).await.neutron(403, "PolicyNotAuthorized");
            cloud.put(&finance, &one, json!({"port": attributes})).await.neutron(403, "PolicyNotAuthorized");
        }
        for links in [
            json!("x"),
            json!({}),
            json!([7]),
            json!([{}]),
            json!([{"port_id": "p1"}]),
            json!([{"switch_id": "02:cf:00:00:00:01"}]),
            json!([{"switch_id": "02:cf:00:00:00:01", "port_id": ""}]),
            json!([{"switch_id": "02:cf:00:00:00:01", "port_id": 5}]),
        ] {
            let profile = json!({"binding:profile": {"local_link_information": links}});
            cloud.put(&cloud.admin, &one, json!({"port": profile})).await.neutron(400, "HTTPBadRequest");
        }
        cloud.put(&cloud.admin, &one, json!({"port": {"binding:profile": "x"}})).await.neutron(400, "HTTPBadRequest");
        assert_eq!(cloud.get(&cloud.admin, PORTS).await.text, before);
    });
}

#[test]
fn a_bound_port_keeps_its_addresses_until_the_engine_lets_go() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, subnet) = blue(&cloud).await;
        let service = cloud.tenant("services", "service").await;
        let port = cloud.port(&finance, &network, json!({"binding:vnic_type": "baremetal"})).await.expect(201)["port"].take();
        let one = format!("{PORTS}/{}", id(&port));
        let binding = json!({
            "binding:host_id": "node-1",
            "binding:profile": {"local_link_information": [{"switch_id": "02:cf:00:00:00:01", "switch_info": "leaf1", "port_id": "p1"}]},
            "device_owner": "baremetal:none",
        });
        let bound = cloud.put(&service, &one, json!({"port": binding})).await.expect(200)["port"].take();
        assert_eq!((&bound["binding:host_id"], &bound["status"]), (&json!("node-1"), &json!("DOWN")), "only a read-back makes it ACTIVE");
        assert_eq!(bound["binding:profile"], binding["binding:profile"]);
        let work = world.store.claim("a test", std::time::Duration::from_secs(60)).await.unwrap();
        assert!(work.is_some(), "the engine is told");

        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "PortNotFound");
        let left = stored(world, &port).await.unwrap();
        assert!(left.is_deleting() && !left.desired.binding.host_id.is_empty());
        let given = json!({"fixed_ips": port["fixed_ips"]});
        cloud.port(&finance, &network, given).await.neutron(409, "IpAddressInUse");
        cloud.delete(&finance, &format!("/network/v2.0/subnets/{}", id(&subnet))).await.neutron(409, "SubnetInUse");
        cloud.port(&finance, &network, json!({"mac_address": port["mac_address"]})).await.neutron(409, "MacAddressInUse");

        // So does one that was bound once: the engine may still be letting go of its switch port.
        let port = cloud.port(&finance, &network, json!({"binding:vnic_type": "baremetal"})).await.expect(201)["port"].take();
        let one = format!("{PORTS}/{}", id(&port));
        cloud.put(&service, &one, json!({"port": binding})).await.expect(200);
        cloud.put(&service, &one, json!({"port": {"binding:host_id": "", "binding:profile": null}})).await.expect(200);
        cloud.delete(&finance, &one).await.expect(204);
        assert!(stored(world, &port).await.unwrap().is_deleting());
        // One that never was is gone at once.
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        cloud.delete(&finance, &format!("{PORTS}/{}", id(&port))).await.expect(204);
        assert!(stored(world, &port).await.is_none());

        // Ports on their way out do not keep the network from being deleted; the engine waits for them.
        cloud.delete(&finance, &format!("/network/v2.0/networks/{}", id(&network))).await.expect(204);
        let network = world.store.get::<model::net::Network>(&Id::parse(id(&network)).unwrap()).await.unwrap().unwrap();
        assert!(network.is_deleting());
    });
}

#[test]
fn the_control_planes_own_ports_are_left_alone() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, _) = blue(&cloud).await;
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        let one = format!("{PORTS}/{}", id(&port));
        // Attached to a machine.
        let wish = store::Batch::wishes().hold("vif", id(&port), "node-1");
        world.store.apply(wish).await.unwrap();
        cloud.delete(&finance, &one).await.neutron(409, "ServicePortInUse");
        world.store.apply(store::Batch::wishes().free("vif", id(&port))).await.unwrap();
        let mut object = stored(world, &port).await.unwrap();
        object.desired.device_owner = "network:cofferdam-access".into();
        world.store.apply(store::Batch::wishes().want(&object)).await.unwrap();
        for who in [&finance, &cloud.admin] {
            cloud.delete(who, &one).await.neutron(409, "ServicePortInUse");
            cloud.put(who, &one, json!({"port": {"name": "x"}})).await.neutron(409, "ServicePortInUse");
        }
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["port"]["device_owner"], "network:cofferdam-access");
    });
}
