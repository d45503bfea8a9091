//! Floating IPs: where they come from, what they stand for, and what they keep as it is.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::V2;
use crate::routers::{Scene, at as router_at, external};
use crate::support::{Answer, Cloud, id};
use crate::world::on_each;

fn at(floating: &Value) -> String {
    format!("{V2}/floatingips/{}", id(floating))
}

/// A router between the outside and a subnet with a port.
struct Place {
    scene: Scene,
    router: Value,
    network: Value,
    subnet: Value,
    port: Value,
}

impl Place {
    async fn open(world: &crate::world::World) -> Self {
        let scene = Scene::open(world).await;
        let router = scene.connected().await;
        let (network, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        scene.act(&router, "add_router_interface", json!({"subnet_id": subnet["id"]})).await.expect(200);
        let port = scene.cloud.port(&scene.finance, &network, json!({"name": "web"})).await.expect(201)["port"].take();
        Self { scene, router, network, subnet, port }
    }

    fn cloud(&self) -> &Cloud {
        &self.scene.cloud
    }

    async fn make(&self, mut more: Value) -> Answer {
        if more.get("floating_network_id").is_none() {
            more["floating_network_id"] = self.scene.outside["id"].clone();
        }
        self.cloud().post(&self.scene.finance, &format!("{V2}/floatingips"), json!({ "floatingip": more })).await
    }

    async fn made(&self, more: Value) -> Value {
        self.make(more).await.expect(201)["floatingip"].take()
    }

    async fn put(&self, floating: &Value, body: Value) -> Answer {
        self.cloud().put(&self.scene.finance, &at(floating), json!({ "floatingip": body })).await
    }
}

#[test]
fn made_moved_removed() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let floating = place.made(json!({"description": "d"})).await;
        let project = &place.scene.finance.project;
        let wanted = json!({
            "description": "d", "floating_network_id": place.scene.outside["id"], "floating_ip_address": "203.0.113.3", "port_id": null,
            "fixed_ip_address": null, "router_id": null, "status": "DOWN", "port_details": null, "port_forwardings": [], "dns_name": "",
            "dns_domain": "", "qos_policy_id": null, "tags": [], "revision_number": 1, "project_id": project, "tenant_id": project,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&floating[key], value, "{key}");
        }
        let port = place.scene.ports(&floating).await.remove(0);
        assert_eq!((&port["device_owner"], &port["project_id"]), (&json!("network:floatingip"), &json!("")));
        place.cloud().delete(&place.cloud().admin, &format!("{V2}/ports/{}", id(&port))).await.neutron(409, "ServicePortInUse");
        let bound = place.put(&floating, json!({"port_id": place.port["id"]})).await.expect(200)["floatingip"].take();
        assert_eq!((&bound["fixed_ip_address"], &bound["router_id"]), (&place.port["fixed_ips"][0]["ip_address"], &place.router["id"]));
        assert_eq!((&bound["port_details"]["name"], &bound["port_details"]["mac_address"]), (&json!("web"), &place.port["mac_address"]));
        // A body that says other things leaves it where it is, an empty one does not.
        let same = place.put(&floating, json!({"description": "e"})).await.expect(200)["floatingip"].take();
        assert_eq!((&same["port_id"], &same["description"]), (&place.port["id"], &json!("e")));
        for query in ["port_id", "router_id", "fixed_ip_address", "floating_ip_address", "floating_network_id"] {
            let found =
                place.cloud().get(&place.scene.finance, &format!("{V2}/floatingips?{query}={}", same[query].as_str().unwrap())).await;
            assert_eq!(found.expect(200)["floatingips"].as_array().unwrap().len(), 1, "{query}");
        }
        assert_eq!(place.put(&floating, json!({})).await.expect(200)["floatingip"]["port_id"], json!(null));
        place.put(&floating, json!({"port_id": place.port["id"], "router_id": place.router["id"]})).await.expect(200);
        let loose = place.put(&floating, json!({"port_id": null})).await.expect(200)["floatingip"].take();
        assert_eq!((&loose["router_id"], &loose["fixed_ip_address"]), (&json!(null), &json!(null)));
        place.cloud().put(&place.scene.finance, &format!("{}/tags/a", at(&floating)), json!(null)).await.expect(201);
        let other = place.cloud().tenant("medical", "member").await;
        place.cloud().get(&other, &at(&floating)).await.neutron(404, "FloatingIPNotFound");
        place.cloud().delete(&place.scene.finance, &at(&floating)).await.expect(204);
        place.cloud().delete(&place.scene.finance, &at(&floating)).await.neutron(404, "FloatingIPNotFound");
        assert!(place.scene.ports(&floating).await.is_empty());
        assert_eq!(place.made(json!({})).await["floating_ip_address"], "203.0.113.3", "the address is free again");
    });
}

#[test]
fn what_is_refused() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let (lonely, _) = place.scene.inner("lonely", "10.5.0.0/24").await;
        let unreached = place.cloud().port(&place.scene.finance, &lonely, json!({})).await.expect(201)["port"].take();
        let bare = place.cloud().port(&place.scene.finance, &place.network, json!({"fixed_ips": []})).await.expect(201)["port"].take();
        let two = json!([{"ip_address": "10.0.0.50"}, {"ip_address": "10.0.0.51"}]);
        let double = place.cloud().port(&place.scene.finance, &place.network, json!({"fixed_ips": two})).await.expect(201)["port"].take();
        let body = json!({"network": {"name": "empty", "router:external": true}});
        let empty = place.cloud().post(&place.cloud().admin, &format!("{V2}/networks"), body).await.expect(201)["network"].take();
        for (body, status, kind) in [
            (json!({"floating_network_id": place.network["id"]}), 400, "BadRequest"),
            (json!({"floating_network_id": empty["id"]}), 400, "BadRequest"),
            (json!({"floating_network_id": place.port["id"]}), 404, "NetworkNotFound"),
            (json!({"floating_network_id": null}), 400, "HTTPBadRequest"),
            (json!({"port_id": place.network["id"]}), 404, "PortNotFound"),
            (json!({"port_id": "x"}), 400, "HTTPBadRequest"),
            (json!({"port_id": unreached["id"]}), 404, "ExternalGatewayForFloatingIPNotFound"),
            (json!({"port_id": bare["id"]}), 400, "BadRequest"),
            (json!({"port_id": double["id"]}), 400, "BadRequest"),
            (json!({"fixed_ip_address": "10.0.0.9"}), 400, "BadRequest"),
            (json!({"port_id": place.port["id"], "fixed_ip_address": "10.0.0.99"}), 400, "BadRequest"),
            (json!({"port_id": place.port["id"], "router_id": place.port["id"]}), 404, "RouterNotFound"),
            (json!({"subnet_id": place.subnet["id"]}), 400, "InvalidInput"),
            (json!({"subnet_id": place.port["id"]}), 404, "SubnetNotFound"),
            (json!({"floating_ip_address": "203.0.113.9"}), 403, "PolicyNotAuthorized"),
            (json!({"status": "ACTIVE"}), 400, "HTTPBadRequest"),
        ] {
            place.make(body).await.neutron(status, kind);
        }
        let admin = async |address: &str| {
            let body = json!({"floatingip": {"floating_network_id": place.scene.outside["id"], "floating_ip_address": address}});
            place.cloud().post(&place.cloud().admin, &format!("{V2}/floatingips"), body).await
        };
        assert_eq!(admin("203.0.113.9").await.expect(201)["floatingip"]["floating_ip_address"], "203.0.113.9");
        admin("203.0.113.9").await.neutron(409, "IpAddressAlreadyAllocated");
        admin("198.51.100.9").await.neutron(400, "InvalidIpForNetwork");
        let chosen = place.made(json!({"port_id": double["id"], "fixed_ip_address": "10.0.0.51"})).await;
        assert_eq!(chosen["fixed_ip_address"], "10.0.0.51");
        place.make(json!({"port_id": double["id"], "fixed_ip_address": "10.0.0.51"})).await.neutron(409, "FloatingIPPortAlreadyAssociated");
        place.made(json!({"port_id": double["id"], "fixed_ip_address": "10.0.0.50"})).await;
        // A project's floating IPs are for its own ports.
        let medical = place.cloud().tenant("medical", "member").await;
        let theirs = json!({"floatingip": {"floating_network_id": place.scene.outside["id"], "port_id": place.port["id"]}});
        place.cloud().post(&medical, &format!("{V2}/floatingips"), theirs).await.neutron(404, "PortNotFound");
        place.put(&chosen, json!({"floating_network_id": place.scene.outside["id"]})).await.neutron(400, "HTTPBadRequest");
    });
}

#[test]
fn keeps_what_it_needs() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let (scene, cloud) = (&place.scene, place.cloud());
        let floating = place.made(json!({"port_id": place.port["id"]})).await;
        let (elsewhere, _) = external(cloud, "elsewhere", "198.51.100.0/24").await;
        let by_subnet = json!({"subnet_id": place.subnet["id"]});
        scene.act(&place.router, "remove_router_interface", by_subnet.clone()).await.neutron(409, "RouterInterfaceInUseByFloatingIP");
        for info in [json!({}), json!({"network_id": elsewhere["id"]})] {
            let answer = scene.put(&place.router, json!({"external_gateway_info": info})).await;
            answer.neutron(409, "RouterExternalGatewayInUseByFloatingIp");
        }
        let port = format!("{V2}/ports/{}", id(&place.port));
        let moved = json!({"port": {"fixed_ips": [{"ip_address": "10.0.0.77"}]}});
        cloud.put(&scene.finance, &port, moved).await.neutron(400, "BadRequest");
        // Removing the port takes the floating IP from it.
        cloud.delete(&scene.finance, &port).await.expect(204);
        let loose = cloud.get(&scene.finance, &at(&floating)).await.expect(200)["floatingip"].take();
        assert_eq!((&loose["port_id"], &loose["router_id"], &loose["fixed_ip_address"]), (&json!(null), &json!(null), &json!(null)));
        // An administrator's is not the project's to take away.
        let port = cloud.port(&scene.finance, &place.network, json!({})).await.expect(201)["port"].take();
        let body = json!({"floatingip": {"floating_network_id": scene.outside["id"], "port_id": port["id"]}});
        let theirs = cloud.post(&cloud.admin, &format!("{V2}/floatingips"), body).await.expect(201)["floatingip"].take();
        let path = format!("{V2}/ports/{}", id(&port));
        cloud.delete(&scene.finance, &path).await.neutron(409, "FipAssociated");
        cloud.delete(&cloud.admin, &path).await.expect(204);
        cloud.delete(&cloud.admin, &at(&theirs)).await.expect(204);
        scene.act(&place.router, "remove_router_interface", by_subnet).await.expect(200);
        cloud.delete(&scene.finance, &router_at(&place.router)).await.expect(204);
        cloud.delete(&scene.finance, &at(&floating)).await.expect(204);
        assert_eq!(world.store.allocations(&format!("ip:{}", id(&scene.outside_subnet))).await.unwrap(), []);
        assert_eq!(world.store.allocations(&format!("mac:{}", id(&scene.outside))).await.unwrap(), []);
    });
}

/// However many come at once: no address twice, one floating IP to an address of a port, and nothing that leads nowhere.
#[test]
fn at_once() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let answers = join_all((0..12).map(|_| place.make(json!({"port_id": place.port["id"]})))).await;
        assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1);
        assert!(answers.iter().all(|it| it.status == 201 || it.status == 409));
        let many = join_all((0..12).map(|_| place.make(json!({})))).await;
        let mut addresses: Vec<String> =
            many.into_iter().map(|it| it.expect(201)["floatingip"]["floating_ip_address"].to_string()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 12);
        let (network, subnet) = place.scene.inner("green", "10.1.0.0/24").await;
        let port = place.cloud().port(&place.scene.finance, &network, json!({})).await.expect(201)["port"].take();
        let by_subnet = json!({"subnet_id": subnet["id"]});
        place.scene.act(&place.router, "add_router_interface", by_subnet.clone()).await.expect(200);
        let (made, removed) = futures_util::future::join(
            place.make(json!({"port_id": port["id"]})),
            place.scene.act(&place.router, "remove_router_interface", by_subnet),
        )
        .await;
        match (made.status, removed.status) {
            (201, 409) | (404, 200) => {}
            other => panic!("{other:?}: {} {}", made.text, removed.text),
        }
    });
}

#[test]
fn pools_are_the_subnets_outside() {
    on_each(async |world| {
        let place = Place::open(world).await;
        let found = place.cloud().get(&place.scene.finance, &format!("{V2}/floatingip_pools")).await.expect(200);
        let shown = json!([{
            "subnet_id": place.scene.outside_subnet["id"], "subnet_name": place.scene.outside_subnet["name"], "cidr": "203.0.113.0/24",
            "network_id": place.scene.outside["id"], "project_id": place.scene.finance.project, "tenant_id": place.scene.finance.project,
        }]);
        assert_eq!(found["floatingip_pools"], shown);
        let same = place.cloud().get(&place.scene.finance, &format!("{V2}/floatingip-pools")).await.expect(200);
        assert_eq!(same, found);
    });
}
