//! Bindings of ports to hosts: by programs that run there and say what became of them.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Cloud, Token, id};
use crate::world::on_each;

fn at(port: &Value) -> String {
    format!("{V2}/ports/{}", id(port))
}

/// An agent on the host that reaches physnet1.
async fn agent(cloud: &Cloud, host: &str) {
    let body =
        json!({"agent": {"agent_type": "Open vSwitch agent", "binary": "x", "configurations": {"bridge_mappings": {"physnet1": "br-ex"}}}});
    cloud.put(&cloud.admin, &format!("{V2}/cofferdam/agents/{host}"), body).await.expect(200);
}

/// A tenant's port of a server, and who binds it.
async fn server_port(cloud: &Cloud) -> (Token, Token, Value) {
    let finance = cloud.tenant("finance", "member").await;
    let service = cloud.tenant("service", "service").await;
    let network = cloud.network(&finance, "blue").await;
    cloud.subnet(&finance, &network, "10.0.0.0/24").await;
    let port = cloud.port(&finance, &network, json!({"device_owner": "compute:nova", "device_id": "s"})).await.expect(201)["port"].take();
    (finance, service, port)
}

#[test]
fn bound_by_an_agent_and_active_when_it_says_so() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, service, port) = server_port(&cloud).await;
        let bind =
            async |host: &str| cloud.put(&service, &at(&port), json!({"port": {"binding:host_id": host}})).await.expect(200)["port"].take();
        let failed = bind("h1").await;
        assert_eq!((&failed["binding:vif_type"], &failed["status"]), (&json!("binding_failed"), &json!("DOWN")), "nobody is there");
        agent(&cloud, "h1").await;
        bind("").await;
        let bound = bind("h1").await;
        assert_eq!((&bound["binding:vif_type"], &bound["status"]), (&json!("ovs"), &json!("DOWN")), "nobody said that it is up");
        assert_eq!(bound["binding:vif_details"]["bound_drivers"], json!({"0": "openvswitch"}));
        let stored = world.store.get::<model::net::Port>(&model::Id::parse(id(&port)).unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.desired.plug.unwrap().levels.len(), 1);

        let status = format!("{V2}/cofferdam/ports/{}/status", id(&port));
        cloud.put(&finance, &status, json!({"status": "ACTIVE"})).await.neutron(403, "PolicyNotAuthorized");
        cloud.put(&service, &status, json!({"status": "UP"})).await.neutron(400, "HTTPBadRequest");
        cloud.put(&service, &status, json!({"status": "ACTIVE", "host": "h2"})).await.neutron(409, "PortNotBound");
        cloud.put(&service, &status, json!({"status": "ACTIVE", "host": "h1"})).await.expect(200);
        assert_eq!(cloud.get(&finance, &at(&port)).await.expect(200)["port"]["status"], "ACTIVE");

        // What is plugged in stays as it is.
        let put = async |body: Value| cloud.put(&cloud.admin, &at(&port), json!({ "port": body })).await;
        put(json!({"mac_address": "52:54:00:00:00:01"})).await.neutron(409, "PortBound");
        put(json!({"binding:vnic_type": "direct"})).await.neutron(409, "PortInUse");
        put(json!({"numa_affinity_policy": "legacy"})).await.neutron(409, "PortBoundNUMAAffinityPolicy");
        put(json!({"name": "x"})).await.expect(200);
        assert_eq!(cloud.get(&finance, &at(&port)).await.expect(200)["port"]["status"], "ACTIVE");
        let unbound = bind("").await;
        assert_eq!((&unbound["binding:vif_type"], &unbound["status"]), (&json!("unbound"), &json!("DOWN")));
        cloud.put(&service, &status, json!({"status": "ACTIVE"})).await.neutron(409, "PortNotBound");
        put(json!({"mac_address": "52:54:00:00:00:01"})).await.expect(200);
        // It never had a switch port: it is gone at once.
        cloud.delete(&service, &at(&port)).await.expect(204);
        assert!(world.store.get::<model::net::Port>(&model::Id::parse(id(&port)).unwrap()).await.unwrap().is_none());
    });
}

#[test]
fn a_server_moves() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, service, port) = server_port(&cloud).await;
        let bindings = format!("{}/bindings", at(&port));
        let one = json!([{"host": "", "vif_type": "unbound", "vnic_type": "normal", "status": "ACTIVE", "profile": {}, "vif_details": {}}]);
        assert_eq!(cloud.get(&service, &bindings).await.expect(200)["bindings"], one);
        cloud.get(&finance, &bindings).await.neutron(403, "PolicyNotAuthorized");
        for host in ["h1", "h2"] {
            agent(&cloud, host).await;
        }
        cloud.put(&service, &at(&port), json!({"port": {"binding:host_id": "h1"}})).await.expect(200);
        let to = async |host: &str| cloud.post(&service, &bindings, json!({"binding": {"host": host}})).await;
        cloud.post(&finance, &bindings, json!({"binding": {"host": "h2"}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.post(&service, &bindings, json!({"binding": {}})).await.neutron(400, "HTTPBadRequest");
        cloud.post(&service, &bindings, json!({"binding": {"host": "h2", "colour": "blue"}})).await.neutron(400, "HTTPBadRequest");
        to("h1").await.neutron(409, "PortBindingAlreadyExists");
        to("h3").await.neutron(500, "PortBindingError");
        let other = to("h2").await.expect(201)["binding"].take();
        assert_eq!((&other["status"], &other["vif_type"], &other["host"]), (&json!("INACTIVE"), &json!("ovs"), &json!("h2")));
        to("h2").await.neutron(409, "PortBindingAlreadyExists");
        assert_eq!(cloud.get(&service, &format!("{bindings}?status=INACTIVE")).await.expect(200)["bindings"], json!([other]));
        let activate = async |host: &str| cloud.put(&service, &format!("{bindings}/{host}/activate"), Value::Null).await;
        activate("h1").await.neutron(409, "PortBindingAlreadyActive");
        activate("h3").await.neutron(404, "PortBindingNotFound");
        let profile = json!({"binding": {"profile": {"migrating_to": "h2"}}});
        assert_eq!(cloud.put(&service, &format!("{bindings}/h2"), profile).await.expect(200)["binding"]["profile"]["migrating_to"], "h2");
        let moved = activate("h2").await.expect(200);
        assert_eq!((&moved["host"], &moved["status"]), (&json!("h2"), &json!("ACTIVE")));
        let shown = cloud.get(&service, &at(&port)).await.expect(200)["port"].take();
        assert_eq!(
            (&shown["binding:host_id"], &shown["binding:vif_type"], &shown["status"]),
            (&json!("h2"), &json!("ovs"), &json!("DOWN"))
        );
        let left = cloud.get(&service, &format!("{bindings}/h1")).await.expect(200)["binding"].take();
        assert_eq!((&left["status"], &left["vif_type"]), (&json!("INACTIVE"), &json!("unbound")));
        cloud.delete(&service, &format!("{bindings}/h1")).await.expect(204);
        cloud.delete(&service, &format!("{bindings}/h1")).await.neutron(404, "PortBindingNotFound");
        // Ports of other things do not move.
        let network = json!({"id": port["network_id"]});
        let plain = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        cloud.get(&service, &format!("{}/bindings", at(&plain))).await.neutron(400, "BadRequest");
    });
}
