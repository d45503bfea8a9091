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
        cloud
            .port(&finance, &network, json!({"fixed_ips": [{"subnet_id": subnet["id"]}]}))
            .await
            .neutron(409, "IpAddressGenerationFailure");
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

        // A machine's port goes when who bound it says so.
        cloud.delete(&finance, &one).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&service, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "PortNotFound");
        let left = stored(world, &port).await.unwrap();
        assert!(left.is_deleting() && !left.desired.binding.host_id.is_empty());
        let given = json!({"fixed_ips": port["fixed_ips"]});
        cloud.port(&finance, &network, given).await.neutron(409, "IpAddressAlreadyAllocated");
        cloud.delete(&finance, &format!("/network/v2.0/subnets/{}", id(&subnet))).await.neutron(409, "SubnetInUse");
        cloud.port(&finance, &network, json!({"mac_address": port["mac_address"]})).await.neutron(409, "MacAddressInUse");

        // So does one that was bound once: the engine may still be letting go of its switch port.
        let port = cloud.port(&finance, &network, json!({"binding:vnic_type": "baremetal"})).await.expect(201)["port"].take();
        let one = format!("{PORTS}/{}", id(&port));
        cloud.put(&service, &one, json!({"port": binding})).await.expect(200);
        let unbound = json!({"binding:host_id": "", "binding:profile": null, "device_owner": ""});
        cloud.put(&service, &one, json!({ "port": unbound })).await.expect(200);
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
