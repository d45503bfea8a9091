//! Routers: gateways, interfaces, static routes, and what keeps them as they are.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::V2;
use crate::support::{Answer, Cloud, Token, id};
use crate::world::on_each;

pub struct Scene {
    pub cloud: Cloud,
    pub finance: Token,
    pub outside: Value,
    pub outside_subnet: Value,
}

impl Scene {
    /// A cloud with an external network, 203.0.113.0/24, and a project.
    pub async fn open(world: &crate::world::World) -> Self {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let (outside, outside_subnet) = external(&cloud, "outside", "203.0.113.0/24").await;
        Self { cloud, finance, outside, outside_subnet }
    }

    pub async fn router(&self, body: Value) -> Value {
        self.cloud.post(&self.finance, &format!("{V2}/routers"), json!({ "router": body })).await.expect(201)["router"].take()
    }

    /// A router with a gateway on the external network.
    pub async fn connected(&self) -> Value {
        self.router(json!({"name": "r", "external_gateway_info": {"network_id": self.outside["id"]}})).await
    }

    pub async fn put(&self, router: &Value, body: Value) -> Answer {
        self.cloud.put(&self.finance, &at(router), json!({ "router": body })).await
    }

    pub async fn act(&self, router: &Value, action: &str, body: Value) -> Answer {
        self.cloud.put(&self.finance, &format!("{}/{action}", at(router)), body).await
    }

    pub async fn inner(&self, name: &str, cidr: &str) -> (Value, Value) {
        let network = self.cloud.network(&self.finance, name).await;
        let subnet = self.cloud.subnet(&self.finance, &network, cidr).await;
        (network, subnet)
    }

    pub async fn show(&self, router: &Value) -> Value {
        self.cloud.get(&self.finance, &at(router)).await.expect(200)["router"].take()
    }

    /// The ports of a router, or of anything else that has some, as the administrator sees them.
    pub async fn ports(&self, device: &Value) -> Vec<Value> {
        let found = self.cloud.get(&self.cloud.admin, &format!("{V2}/ports?device_id={}", id(device))).await.expect(200);
        found["ports"].as_array().unwrap().clone()
    }
}

pub async fn external(cloud: &Cloud, name: &str, cidr: &str) -> (Value, Value) {
    let body = json!({"network": {"name": name, "router:external": true}});
    let network = cloud.post(&cloud.admin, &format!("{V2}/networks"), body).await.expect(201)["network"].take();
    let subnet = cloud.subnet(&cloud.admin, &network, cidr).await;
    (network, subnet)
}

pub fn at(router: &Value) -> String {
    format!("{V2}/routers/{}", id(router))
}

#[test]
fn all_attributes_of_a_plain_one() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.router(json!({"name": "r", "description": "d"})).await;
        let wanted = json!({
            "name": "r", "description": "d", "admin_state_up": true, "status": "ACTIVE", "external_gateway_info": null,
            "external_gateways": [], "enable_snat": true, "routes": [], "availability_zones": [], "availability_zone_hints": [],
            "flavor_id": null, "enable_ndp_proxy": false, "enable_default_route_bfd": false, "enable_default_route_ecmp": false,
            "conntrack_helpers": [], "tags": [], "revision_number": 1, "project_id": scene.finance.project, "tenant_id": scene.finance.project,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&router[key], value, "{key}");
        }
        assert!(router.get("distributed").is_none() && router.get("ha").is_none(), "for administrators");
        let seen = scene.cloud.get(&scene.cloud.admin, &at(&router)).await.expect(200)["router"].take();
        assert_eq!((&seen["distributed"], &seen["ha"]), (&json!(false), &json!(false)));
        let other = scene.cloud.tenant("medical", "member").await;
        scene.cloud.get(&other, &at(&router)).await.neutron(404, "RouterNotFound");
        for (wrong, status, kind) in [
            (json!({"distributed": true}), 403, "PolicyNotAuthorized"),
            (json!({"ha": true}), 403, "PolicyNotAuthorized"),
            (json!({"external_gateway_info": {"network_id": scene.outside["id"], "enable_snat": false}}), 403, "PolicyNotAuthorized"),
            (json!({"availability_zone_hints": ["nowhere"]}), 404, "AvailabilityZoneNotFound"),
            (json!({"flavor_id": id(&scene.outside)}), 404, "FlavorNotFound"),
            (json!({"enable_ndp_proxy": true}), 409, "RouterGatewayNotValid"),
            (json!({"external_gateway_info": {"foo": 1}}), 400, "HTTPBadRequest"),
            (json!({"external_gateway_info": "x"}), 400, "HTTPBadRequest"),
            (json!({"external_gateway_info": {"network_id": id(&router)}}), 404, "NetworkNotFound"),
            (json!({"routes": []}), 400, "HTTPBadRequest"),
            (json!({"status": "DOWN"}), 400, "HTTPBadRequest"),
        ] {
            scene.cloud.post(&scene.finance, &format!("{V2}/routers"), json!({"router": wrong})).await.neutron(status, kind);
        }
        assert_eq!(scene.put(&router, json!({"name": "q", "admin_state_up": false})).await.expect(200)["router"]["name"], "q");
        for query in ["name=q", "admin_state_up=False", "status=ACTIVE"] {
            let found = scene.cloud.get(&scene.finance, &format!("{V2}/routers?{query}&fields=id")).await.expect(200);
            assert_eq!(found["routers"], json!([{"id": router["id"]}]), "{query}");
        }
        scene.cloud.delete(&scene.finance, &at(&router)).await.expect(204);
        scene.cloud.get(&scene.finance, &at(&router)).await.neutron(404, "RouterNotFound");
    });
}

#[test]
fn gateways_come_change_and_go() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.connected().await;
        let info = &router["external_gateway_info"];
        assert_eq!((&info["network_id"], &info["enable_snat"]), (&scene.outside["id"], &json!(true)));
        assert_eq!(info["external_fixed_ips"], json!([{"subnet_id": scene.outside_subnet["id"], "ip_address": "203.0.113.2"}]));
        let port = scene.ports(&router).await.remove(0);
        assert_eq!((&port["device_owner"], &port["project_id"]), (&json!("network:router_gateway"), &json!("")));
        let path = format!("{V2}/ports/{}", id(&port));
        scene.cloud.get(&scene.finance, &path).await.neutron(404, "PortNotFound");
        scene.cloud.delete(&scene.cloud.admin, &path).await.neutron(409, "ServicePortInUse");
        // The same again changes nothing.
        let same = json!({"external_gateway_info": {"network_id": scene.outside["id"]}});
        assert_eq!(scene.put(&router, same).await.expect(200)["router"]["external_gateway_info"], *info);
        let chosen = |ip: &str| {
            json!({"router": {"external_gateway_info": {
                "network_id": scene.outside["id"], "enable_snat": false,
                "external_fixed_ips": [{"subnet_id": scene.outside_subnet["id"], "ip_address": ip}],
            }}})
        };
        let admin = &scene.cloud.admin;
        let changed = scene.cloud.put(admin, &at(&router), chosen("203.0.113.77")).await.expect(200)["router"].take();
        assert_eq!(changed["external_gateway_info"]["external_fixed_ips"][0]["ip_address"], "203.0.113.77");
        assert_eq!(changed["external_gateway_info"]["enable_snat"], false);
        assert!(changed["revision_number"].as_i64() > router["revision_number"].as_i64());
        scene.cloud.put(admin, &at(&router), chosen("203.0.113.1")).await.neutron(400, "BadRequest");
        scene.cloud.put(admin, &at(&router), chosen("198.51.100.9")).await.neutron(400, "InvalidIpForSubnet");
        let (inner, _) = scene.inner("blue", "10.0.0.0/24").await;
        scene.put(&router, json!({"external_gateway_info": {"network_id": inner["id"]}})).await.neutron(400, "BadRequest");
        let (elsewhere, _) = external(&scene.cloud, "elsewhere", "198.51.100.0/24").await;
        let moved =
            scene.put(&router, json!({"external_gateway_info": {"network_id": elsewhere["id"]}})).await.expect(200)["router"].take();
        assert_eq!(moved["external_gateway_info"]["external_fixed_ips"][0]["ip_address"], "198.51.100.2");
        for none in [json!({}), json!(null)] {
            let gone = scene.put(&router, json!({"external_gateway_info": none})).await.expect(200)["router"].take();
            assert_eq!((&gone["external_gateway_info"], &gone["external_gateways"]), (&json!(null), &json!([])));
        }
        assert!(scene.ports(&router).await.is_empty());
        for network in [&scene.outside, &elsewhere] {
            assert_eq!(world.store.allocations(&format!("mac:{}", id(network))).await.unwrap(), []);
            scene.cloud.delete(admin, &format!("{V2}/networks/{}", id(network))).await.expect(204);
        }
        scene.cloud.delete(&scene.finance, &at(&router)).await.expect(204);
    });
}

#[test]
fn several_gateways() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.router(json!({"name": "r"})).await;
        let (second, _) = external(&scene.cloud, "second", "198.51.100.0/24").await;
        let all = |gateways: Value| json!({"router": {"external_gateways": gateways}});
        let (a, b) = (json!({"network_id": scene.outside["id"]}), json!({"network_id": second["id"]}));
        let networks = |answer: Value| {
            let gateways = answer["router"]["external_gateways"].as_array().unwrap().clone();
            gateways.iter().map(|it| it["network_id"].clone()).collect::<Vec<_>>()
        };
        scene.act(&router, "remove_external_gateways", all(json!([a]))).await.neutron(400, "UnableToRemoveGateways");
        let added = scene.act(&router, "add_external_gateways", all(json!([a, b]))).await.expect(200);
        assert_eq!(networks(added), [scene.outside["id"].clone(), second["id"].clone()]);
        assert_eq!(scene.show(&router).await["external_gateway_info"]["network_id"], scene.outside["id"]);
        let swapped = scene.act(&router, "update_external_gateways", all(json!([b, a]))).await.expect(200);
        assert_eq!(networks(swapped), [second["id"].clone(), scene.outside["id"].clone()]);
        // One more on the same network: then a network's name alone says too little.
        let three = scene.act(&router, "add_external_gateways", all(json!([a]))).await.expect(200);
        assert_eq!(networks(three).len(), 3);
        scene.act(&router, "remove_external_gateways", all(json!([a]))).await.neutron(400, "UnableToMatchGateways");
        let left = scene.act(&router, "update_external_gateways", all(json!([b]))).await.expect(200);
        assert_eq!(networks(left), [second["id"].clone()]);
        assert_eq!(scene.ports(&router).await.len(), 1);
        let (inner, _) = scene.inner("blue", "10.0.0.0/24").await;
        scene.act(&router, "add_external_gateways", all(json!([{"network_id": inner["id"]}]))).await.neutron(400, "BadRequest");
        let snat = json!([{"network_id": scene.outside["id"], "enable_snat": false}]);
        scene.act(&router, "add_external_gateways", all(snat)).await.neutron(403, "PolicyNotAuthorized");
        let gone = scene.act(&router, "remove_external_gateways", all(json!([b]))).await.expect(200);
        assert!(networks(gone).is_empty() && scene.ports(&router).await.is_empty());
    });
}

#[test]
fn interfaces() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let (cloud, finance) = (&scene.cloud, &scene.finance);
        let router = scene.connected().await;
        let (network, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        let by_subnet = json!({"subnet_id": subnet["id"]});
        for wrong in
            [json!({}), json!({"subnet_id": "x"}), json!({"port_id": null}), json!({"subnet_id": subnet["id"], "port_id": subnet["id"]})]
        {
            scene.act(&router, "add_router_interface", wrong).await.neutron(400, "BadRequest");
        }
        scene.act(&router, "add_router_interface", json!({"subnet_id": network["id"]})).await.neutron(404, "SubnetNotFound");
        scene.act(&router, "add_router_interface", json!({"port_id": network["id"]})).await.neutron(404, "PortNotFound");
        let added = scene.act(&router, "add_router_interface", by_subnet.clone()).await.expect(200);
        assert_eq!((&added["id"], &added["subnet_id"]), (&router["id"], &subnet["id"]));
        assert_eq!((&added["subnet_ids"], &added["network_id"]), (&json!([subnet["id"]]), &network["id"]));
        let port_path = format!("{V2}/ports/{}", added["port_id"].as_str().unwrap());
        let port = cloud.get(finance, &port_path).await.expect(200)["port"].take();
        assert_eq!((&port["device_owner"], &port["fixed_ips"][0]["ip_address"]), (&json!("network:router_interface"), &json!("10.0.0.1")));
        assert_eq!((&port["security_groups"], &port["project_id"]), (&json!([]), &json!(finance.project)));
        scene.act(&router, "add_router_interface", by_subnet.clone()).await.neutron(400, "BadRequest");
        cloud.delete(finance, &port_path).await.neutron(409, "ServicePortInUse");
        cloud.delete(finance, &at(&router)).await.neutron(409, "RouterInUse");
        // Prefixes may not overlap, inside or with the outside.
        let (_, wide) = scene.inner("wide", "10.0.0.0/16").await;
        scene.act(&router, "add_router_interface", json!({"subnet_id": wide["id"]})).await.neutron(400, "BadRequest");
        let (_, same) = scene.inner("same", "203.0.113.0/25").await;
        scene.act(&router, "add_router_interface", json!({"subnet_id": same["id"]})).await.neutron(400, "BadRequest");
        // Another router is at another address, by a port.
        let second = scene.router(json!({})).await;
        scene.act(&second, "add_router_interface", by_subnet.clone()).await.neutron(409, "IpAddressAlreadyAllocated");
        let own = cloud.port(finance, &network, json!({"fixed_ips": [{"ip_address": "10.0.0.9"}]})).await.expect(201)["port"].take();
        let by_port = json!({"port_id": own["id"]});
        let second_added = scene.act(&second, "add_router_interface", by_port.clone()).await.expect(200);
        assert_eq!((&second_added["port_id"], &second_added["subnet_ids"]), (&own["id"], &json!([subnet["id"]])));
        scene.act(&second, "add_router_interface", by_port.clone()).await.neutron(409, "PortInUse");
        let bare = cloud.port(finance, &network, json!({"fixed_ips": []})).await.expect(201)["port"].take();
        scene.act(&second, "add_router_interface", json!({"port_id": bare["id"]})).await.neutron(400, "BadRequest");
        scene.act(&second, "remove_router_interface", json!({"port_id": bare["id"]})).await.neutron(404, "RouterInterfaceNotFound");
        let mismatch = json!({"port_id": own["id"], "subnet_id": wide["id"]});
        scene.act(&second, "remove_router_interface", mismatch).await.neutron(400, "SubnetMismatchForPort");
        scene.act(&second, "remove_router_interface", by_port).await.expect(200);
        cloud.get(finance, &format!("{V2}/ports/{}", id(&own))).await.neutron(404, "PortNotFound");
        // A subnet without a gateway has no place for a router.
        let body = json!({"subnet": {"network_id": network["id"], "cidr": "10.9.0.0/24", "ip_version": 4, "gateway_ip": null}});
        let closed = cloud.post(finance, &format!("{V2}/subnets"), body).await.expect(201)["subnet"].take();
        scene.act(&second, "add_router_interface", json!({"subnet_id": closed["id"]})).await.neutron(400, "BadRequest");
        let removed = scene.act(&router, "remove_router_interface", by_subnet.clone()).await.expect(200);
        assert_eq!((&removed["port_id"], &removed["subnet_ids"]), (&added["port_id"], &json!([subnet["id"]])));
        scene.act(&router, "remove_router_interface", by_subnet).await.neutron(404, "RouterInterfaceNotFoundForSubnet");
        let before = scene.show(&router).await["revision_number"].as_i64();
        assert_eq!(before, Some(3), "one for each of: made, connected, disconnected");
        cloud.delete(finance, &at(&router)).await.expect(204);
    });
}

#[test]
fn ipv6_subnets_of_a_network_share_a_port() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.router(json!({})).await;
        let network = scene.cloud.network(&scene.finance, "blue").await;
        let subnet = async |cidr: &str| {
            let body = json!({"subnet": {"network_id": network["id"], "cidr": cidr, "ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}});
            scene.cloud.post(&scene.finance, &format!("{V2}/subnets"), body).await.expect(201)["subnet"].take()
        };
        let (one, two) = (subnet("2001:db8:1::/64").await, subnet("2001:db8:2::/64").await);
        let first = scene.act(&router, "add_router_interface", json!({"subnet_id": one["id"]})).await.expect(200);
        let second = scene.act(&router, "add_router_interface", json!({"subnet_id": two["id"]})).await.expect(200);
        assert_eq!(first["port_id"], second["port_id"]);
        assert_eq!(scene.ports(&router).await[0]["fixed_ips"].as_array().unwrap().len(), 2);
        let port = scene.cloud.port(&scene.finance, &network, json!({})).await.expect(201)["port"].take();
        scene.act(&router, "add_router_interface", json!({"port_id": port["id"]})).await.neutron(400, "BadRequest");
        scene.act(&router, "remove_router_interface", json!({"subnet_id": one["id"]})).await.expect(200);
        assert_eq!(scene.ports(&router).await[0]["fixed_ips"], json!([{"subnet_id": two["id"], "ip_address": two["gateway_ip"]}]));
        scene.act(&router, "remove_router_interface", json!({"subnet_id": two["id"]})).await.expect(200);
        assert!(scene.ports(&router).await.is_empty());
        // Who else sends router advertisements there makes it no place for a router.
        let body =
            json!({"subnet": {"network_id": network["id"], "cidr": "2001:db8:3::/64", "ip_version": 6, "ipv6_address_mode": "slaac"}});
        let foreign = scene.cloud.post(&scene.finance, &format!("{V2}/subnets"), body).await.expect(201)["subnet"].take();
        scene.act(&router, "add_router_interface", json!({"subnet_id": foreign["id"]})).await.neutron(400, "BadRequest");
    });
}

#[test]
fn others_subnets_only_if_given() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let (network, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        let cloud = &scene.cloud;
        let medical = cloud.tenant("medical", "member").await;
        let router = cloud.post(&medical, &format!("{V2}/routers"), json!({"router": {}})).await.expect(201)["router"].take();
        let add = async || cloud.put(&medical, &format!("{}/add_router_interface", at(&router)), json!({"subnet_id": subnet["id"]})).await;
        add().await.neutron(404, "SubnetNotFound");
        let share = |target: &str| json!({"rbac_policy": {"object_type": "network", "object_id": network["id"], "action": "access_as_shared", "target_tenant": target}});
        cloud.post(&cloud.admin, &format!("{V2}/rbac-policies"), share("*")).await.expect(201);
        add().await.neutron(400, "BadRequest");
        cloud.post(&scene.finance, &format!("{V2}/rbac-policies"), share(&medical.project)).await.expect(201);
        add().await.expect(200);
    });
}

#[test]
fn static_routes() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.connected().await;
        let (_, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        scene.act(&router, "add_router_interface", json!({"subnet_id": subnet["id"]})).await.expect(200);
        let route = |to: &str, by: &str| json!({"destination": to, "nexthop": by});
        let (a, b) = (route("10.1.0.0/16", "10.0.0.9"), route("10.2.0.0/16", "10.0.0.8"));
        for wrong in [json!([route("10.1.0.0/16", "10.7.0.9")]), json!([route("10.1.0.0/16", "10.0.0.1")])] {
            scene.put(&router, json!({"routes": wrong})).await.neutron(400, "InvalidRoutes");
        }
        for wrong in [json!("x"), json!([{"destination": "10.1.0.0/16"}]), json!([a, a]), json!([route("10.1.0.1/16", "10.0.0.9")])] {
            scene.put(&router, json!({"routes": wrong})).await.neutron(400, "HTTPBadRequest");
        }
        assert_eq!(scene.put(&router, json!({"routes": [a]})).await.expect(200)["router"]["routes"], json!([a]));
        let many: Vec<Value> = (0..31).map(|at| route(&format!("10.{at}.0.0/24"), "10.0.0.9")).collect();
        scene.put(&router, json!({"routes": many})).await.neutron(409, "OverQuota");
        let both = scene.act(&router, "add_extraroutes", json!({"router": {"routes": [a, b]}})).await.expect(200);
        assert_eq!(both["router"]["routes"], json!([a, b]));
        let left = scene.act(&router, "remove_extraroutes", json!({"router": {"routes": [a, route("10.5.0.0/16", "10.0.0.5")]}})).await;
        assert_eq!(left.expect(200)["router"]["routes"], json!([b]));
        scene.act(&router, "remove_router_interface", json!({"subnet_id": subnet["id"]})).await.neutron(409, "RouterInterfaceInUseByRoute");
        // Many at once lose nothing of one another.
        let more: Vec<Value> = (10..18).map(|at| route(&format!("10.{at}.0.0/16"), "10.0.0.9")).collect();
        let added = more.iter().map(|it| scene.act(&router, "add_extraroutes", json!({"router": {"routes": [it]}})));
        for answer in join_all(added).await {
            answer.expect(200);
        }
        assert_eq!(scene.show(&router).await["routes"].as_array().unwrap().len(), 9);
        assert_eq!(scene.put(&router, json!({"routes": null})).await.expect(200)["router"]["routes"], json!([]));
        // A route through the gateway keeps it.
        scene.put(&router, json!({"routes": [route("10.6.0.0/16", "203.0.113.200")]})).await.expect(200);
        scene.put(&router, json!({"external_gateway_info": {}})).await.neutron(400, "InvalidRoutes");
    });
}

#[test]
fn kinds_change_while_down() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.router(json!({})).await;
        let (_, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        scene.act(&router, "add_router_interface", json!({"subnet_id": subnet["id"]})).await.expect(200);
        let admin = &scene.cloud.admin;
        let put = async |body: Value| scene.cloud.put(admin, &at(&router), json!({ "router": body })).await;
        put(json!({"ha": true})).await.neutron(400, "BadRequest");
        put(json!({"distributed": true})).await.neutron(400, "BadRequest");
        put(json!({"distributed": true, "admin_state_up": false})).await.neutron(400, "BadRequest");
        put(json!({"admin_state_up": false})).await.expect(200);
        for (body, owner) in [
            (json!({"distributed": true}), "network:router_interface_distributed"),
            (json!({"distributed": false}), "network:router_interface"),
            (json!({"ha": true}), "network:ha_router_replicated_interface"),
            (json!({"ha": false}), "network:router_interface"),
        ] {
            put(body).await.expect(200);
            assert_eq!(scene.ports(&router).await[0]["device_owner"], owner);
        }
        scene.act(&router, "remove_router_interface", json!({"subnet_id": subnet["id"]})).await.expect(200);
    });
}

/// However many come at once, a router is never on two prefixes that overlap.
#[test]
fn interfaces_at_once() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.router(json!({})).await;
        let mut subnets = Vec::new();
        for at in 0..6 {
            subnets.push(scene.inner(&format!("n{at}"), "10.0.0.0/24").await.1);
        }
        let all = subnets.iter().map(|it| scene.act(&router, "add_router_interface", json!({"subnet_id": it["id"]})));
        let answers = join_all(all).await;
        assert_eq!(answers.iter().filter(|it| it.status == 200).count(), 1);
        assert!(answers.iter().all(|it| it.status == 200 || it.status == 400));
        assert_eq!(scene.ports(&router).await.len(), 1, "nothing is left of those refused");
    });
}
