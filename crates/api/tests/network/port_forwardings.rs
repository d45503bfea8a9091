//! Port forwardings: which ports of a floating IP lead where.

use serde_json::{Value, json};

use crate::V2;
use crate::routers::Scene;
use crate::support::{Answer, id, sorted};
use crate::world::on_each;

struct Place {
    scene: Scene,
    router: Value,
    network: Value,
    subnet: Value,
    port: Value,
    floating: Value,
}

impl Place {
    async fn open(world: &crate::world::World) -> Self {
        let scene = Scene::open(world).await;
        let router = scene.connected().await;
        let (network, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        scene.act(&router, "add_router_interface", json!({"subnet_id": subnet["id"]})).await.expect(200);
        let fixed = json!({"fixed_ips": [{"ip_address": "10.0.0.9"}]});
        let port = scene.cloud.port(&scene.finance, &network, fixed).await.expect(201)["port"].take();
        let body = json!({"floatingip": {"floating_network_id": scene.outside["id"]}});
        let floating = scene.cloud.post(&scene.finance, &format!("{V2}/floatingips"), body).await.expect(201)["floatingip"].take();
        Self { scene, router, network, subnet, port, floating }
    }

    fn all(&self) -> String {
        format!("{V2}/floatingips/{}/port_forwardings", id(&self.floating))
    }

    async fn make(&self, more: Value) -> Answer {
        let mut body = json!({"protocol": "tcp", "internal_port_id": self.port["id"], "internal_ip_address": "10.0.0.9"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.scene.cloud.post(&self.scene.finance, &self.all(), json!({ "port_forwarding": body })).await
    }

    async fn put(&self, one: &Value, body: Value) -> Answer {
        self.scene.cloud.put(&self.scene.finance, &format!("{}/{}", self.all(), id(one)), json!({ "port_forwarding": body })).await
    }

    async fn floating(&self) -> Value {
        self.scene.cloud.get(&self.scene.finance, &format!("{V2}/floatingips/{}", id(&self.floating))).await.expect(200)["floatingip"]
            .take()
    }
}

#[test]
fn made_changed_removed() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let one =
            place.make(json!({"internal_port": 22, "external_port": 2222, "description": "ssh"})).await.expect(201)["port_forwarding"]
                .take();
        let wanted = json!({
            "id": one["id"], "protocol": "tcp", "internal_port": 22, "external_port": 2222, "internal_port_range": "22:22",
            "external_port_range": "2222:2222", "internal_ip_address": "10.0.0.9", "internal_port_id": place.port["id"], "description": "ssh",
        });
        assert_eq!(one, wanted);
        let floating = place.floating().await;
        assert_eq!((&floating["router_id"], &floating["port_id"]), (&place.router["id"], &json!(null)));
        assert_eq!(floating["port_forwardings"].as_array().unwrap().len(), 1);
        let many =
            place.make(json!({"internal_port_range": "100:110", "external_port_range": "200:210"})).await.expect(201)["port_forwarding"]
                .take();
        assert_eq!((&many["internal_port"], &many["external_port_range"]), (&json!(null), &json!("200:210")));
        place.make(json!({"protocol": "udp", "internal_port_range": "50:50", "external_port_range": "50:60"})).await.expect(201);
        for (body, kind) in [
            (json!({"internal_port": 22, "external_port": 2223}), "BadRequest"),
            (json!({"internal_port": 23, "external_port": 205}), "BadRequest"),
            (json!({"internal_port_range": "30:40", "external_port_range": "30:41"}), "BadRequest"),
            (json!({"internal_port": 24, "external_port": 24, "internal_ip_address": "10.0.0.77"}), "BadRequest"),
            (json!({"internal_port": 24}), "BadRequest"),
            (json!({"internal_port": 0, "external_port": 24}), "HTTPBadRequest"),
            (json!({"internal_port": 24, "external_port": 70000}), "HTTPBadRequest"),
            (json!({"internal_port_range": "40:30", "external_port_range": "30:40"}), "HTTPBadRequest"),
            (json!({"internal_port": 24, "external_port": 24, "protocol": "carrier-pigeon"}), "HTTPBadRequest"),
        ] {
            place.make(body).await.neutron(400, kind);
        }
        let changed = place.put(&one, json!({"internal_port": 24, "description": "x"})).await.expect(200)["port_forwarding"].take();
        assert_eq!((&changed["internal_port_range"], &changed["description"]), (&json!("24:24"), &json!("x")));
        assert_eq!(place.put(&one, json!({})).await.expect(200)["port_forwarding"], changed);
        place.put(&one, json!({"internal_port_range": "24:28"})).await.neutron(400, "BadRequest");
        place.put(&one, json!({"internal_ip_address": "10.0.0.99"})).await.neutron(400, "BadRequest");
        place.put(&one, json!({"external_port": 205})).await.neutron(400, "BadRequest");
        for (query, count) in [("external_port=2222", 1), ("protocol=udp", 1), ("protocol=tcp", 2), ("external_port_range=50:60", 1)] {
            let found = place.scene.cloud.get(&place.scene.finance, &format!("{}?{query}", place.all())).await.expect(200);
            assert_eq!(found["port_forwardings"].as_array().unwrap().len(), count, "{query}");
        }
        let other = place.scene.cloud.tenant("medical", "member").await;
        place.scene.cloud.get(&other, &place.all()).await.neutron(404, "FloatingIPNotFound");
        let path = format!("{}/{}", place.all(), id(&one));
        place.scene.cloud.delete(&place.scene.finance, &path).await.expect(204);
        place.scene.cloud.delete(&place.scene.finance, &path).await.neutron(404, "PortForwardingNotFound");
    });
}

#[test]
fn what_they_keep_and_what_becomes_of_them() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let (scene, cloud, who) = (&place.scene, &place.scene.cloud, &place.scene.finance);
        let floating = format!("{V2}/floatingips/{}", id(&place.floating));
        let one = place.make(json!({"internal_port": 22, "external_port": 22})).await.expect(201)["port_forwarding"].take();
        let two = place.make(json!({"internal_port": 80, "external_port": 80})).await.expect(201)["port_forwarding"].take();
        let to_port = json!({"floatingip": {"port_id": place.port["id"]}});
        cloud.put(who, &floating, to_port.clone()).await.neutron(409, "FipInUseByPortForwarding");
        cloud.delete(who, &floating).await.neutron(409, "FipInUseByPortForwarding");
        scene
            .act(&place.router, "remove_router_interface", json!({"subnet_id": place.subnet["id"]}))
            .await
            .neutron(409, "RouterInterfaceInUseByFloatingIP");
        scene.put(&place.router, json!({"external_gateway_info": {}})).await.neutron(409, "RouterExternalGatewayInUseByFloatingIp");
        cloud.delete(who, &format!("{}/{}", place.all(), id(&one))).await.expect(204);
        assert_eq!(place.floating().await["router_id"], place.router["id"]);
        cloud.delete(who, &format!("{}/{}", place.all(), id(&two))).await.expect(204);
        assert_eq!(place.floating().await["router_id"], json!(null), "the last one takes it from the router");
        // A floating IP stands for a port or for several by their ports, not both.
        cloud.put(who, &floating, to_port).await.expect(200);
        place.make(json!({"internal_port": 22, "external_port": 22})).await.neutron(409, "PortHasBindingFloatingIP");
        let other = cloud.port(who, &place.network, json!({})).await.expect(201)["port"].take();
        let elsewhere = json!({"internal_port": 22, "external_port": 22, "internal_port_id": other["id"], "internal_ip_address": other["fixed_ips"][0]["ip_address"]});
        place.make(elsewhere).await.neutron(409, "FloatingIPPortAlreadyAssociated");
        cloud.put(who, &floating, json!({"floatingip": {"port_id": null}})).await.expect(200);
        // With the port go all that lead to it.
        place.make(json!({"internal_port": 22, "external_port": 22})).await.expect(201);
        place.make(json!({"internal_port": 23, "external_port": 23})).await.expect(201);
        cloud.delete(who, &format!("{V2}/ports/{}", id(&place.port))).await.expect(204);
        let left = cloud.get(who, &place.all()).await.expect(200);
        assert!(sorted(&left["port_forwardings"], "id").is_empty());
        assert_eq!(place.floating().await["router_id"], json!(null));
        cloud.delete(who, &floating).await.expect(204);
    });
}
