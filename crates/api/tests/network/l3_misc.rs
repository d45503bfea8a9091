//! Helpers of connection tracking, proxies of neighbour discovery, addresses of a host.

use serde_json::{Value, json};

use crate::V2;
use crate::routers::{Scene, at as router_at};
use crate::support::{Answer, id};
use crate::world::on_each;

#[test]
fn helpers_of_connection_tracking() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let router = scene.router(json!({})).await;
        let all = format!("{}/conntrack_helpers", router_at(&router));
        let make = async |protocol: &str, port: Value, helper: &str| -> Answer {
            let body = json!({"conntrack_helper": {"protocol": protocol, "port": port, "helper": helper}});
            scene.cloud.post(&scene.finance, &all, body).await
        };
        make("tcp", json!(69), "tftp").await.neutron(400, "InvalidProtocolForHelper");
        make("udp", json!(69), "foo").await.neutron(400, "ConntrackHelperNotAllowed");
        make("udp", json!(0), "tftp").await.neutron(400, "HTTPBadRequest");
        let one = make("udp", json!(69), "tftp").await.expect(201)["conntrack_helper"].take();
        assert_eq!(one, json!({"id": one["id"], "protocol": "udp", "port": 69, "helper": "tftp"}));
        make("udp", json!(69), "tftp").await.neutron(400, "BadRequest");
        let path = format!("{all}/{}", id(&one));
        let changed = scene.cloud.put(&scene.finance, &path, json!({"conntrack_helper": {"port": 70}})).await.expect(200);
        assert_eq!(changed["conntrack_helper"]["port"], 70);
        make("udp", json!(69), "tftp").await.expect(201);
        assert_eq!(scene.show(&router).await["conntrack_helpers"].as_array().unwrap().len(), 2);
        let listed = scene.cloud.get(&scene.finance, &format!("{all}?port=70")).await.expect(200);
        assert_eq!(listed["conntrack_helpers"].as_array().unwrap().len(), 1);
        scene.cloud.delete(&scene.finance, &path).await.expect(204);
        scene.cloud.get(&scene.finance, &path).await.neutron(404, "ConntrackHelperNotFound");
        scene.cloud.delete(&scene.finance, &router_at(&router)).await.expect(204);
        assert_eq!(world.store.allocations(&format!("conntrack:{}", id(&router))).await.unwrap(), []);
    });
}

#[test]
fn proxies_of_neighbour_discovery() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let (cloud, admin, who) = (&scene.cloud, &scene.cloud.admin, &scene.finance);
        let post = async |path: &str, body: Value| cloud.post(admin, &format!("{V2}/{path}"), body).await.expect(201);
        let scope = post("address-scopes", json!({"address_scope": {"name": "s", "ip_version": 6, "shared": true}})).await;
        let scope = &scope["address_scope"]["id"];
        let pool = json!({"subnetpool": {"name": "p", "prefixes": ["2001:db8::/40"], "default_prefixlen": 64, "address_scope_id": scope, "shared": true}});
        let pool = post("subnetpools", pool).await["subnetpool"]["id"].take();
        post("subnets", json!({"subnet": {"network_id": scene.outside["id"], "ip_version": 6, "subnetpool_id": pool}})).await;
        let network = cloud.network(who, "blue").await;
        let body = json!({"subnet": {"network_id": network["id"], "ip_version": 6, "subnetpool_id": pool}});
        let subnet = cloud.post(who, &format!("{V2}/subnets"), body).await.expect(201)["subnet"].take();
        let router = scene.connected().await;
        let port = cloud.port(who, &network, json!({})).await.expect(201)["port"].take();
        let make = async |more: Value| {
            let mut body = json!({"router_id": router["id"], "port_id": port["id"]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            cloud.post(who, &format!("{V2}/ndp_proxies"), json!({"ndp_proxy": body})).await
        };
        make(json!({})).await.neutron(409, "PortUnreachableRouter");
        scene.act(&router, "add_router_interface", json!({"subnet_id": subnet["id"]})).await.expect(200);
        make(json!({})).await.neutron(409, "RouterNDPProxyNotEnable");
        assert_eq!(scene.put(&router, json!({"enable_ndp_proxy": true})).await.expect(200)["router"]["enable_ndp_proxy"], true);
        make(json!({"ip_address": "2001:db8:ff::9"})).await.neutron(400, "InvalidAddress");
        make(json!({"port_id": network["id"]})).await.neutron(404, "PortNotFound");
        let (plain, _) = crate::routers::external(cloud, "plain", "198.51.100.0/24").await;
        let body = json!({"router": {"enable_ndp_proxy": true, "external_gateway_info": {"network_id": plain["id"]}}});
        cloud.post(who, &format!("{V2}/routers"), body).await.neutron(409, "RouterGatewayNotValid");
        let body = json!({"enable_ndp_proxy": true, "external_gateway_info": {}});
        scene.put(&router, body).await.neutron(409, "RouterGatewayNotValid");
        let one = make(json!({"name": "n"})).await.expect(201)["ndp_proxy"].take();
        assert_eq!(one["ip_address"], port["fixed_ips"][0]["ip_address"]);
        scene
            .act(&router, "remove_router_interface", json!({"subnet_id": subnet["id"]}))
            .await
            .neutron(409, "RouterInterfaceInUseByNDPProxy");
        scene.put(&router, json!({"external_gateway_info": {}})).await.neutron(409, "RouterGatewayInUseByNDPProxy");
        let path = format!("{V2}/ndp_proxies/{}", id(&one));
        let changed = cloud.put(who, &path, json!({"ndp_proxy": {"name": "m", "description": "d"}})).await.expect(200);
        assert_eq!(changed["ndp_proxy"]["description"], "d");
        let found = cloud.get(who, &format!("{V2}/ndp_proxies?port_id={}", id(&port))).await.expect(200);
        assert_eq!(found["ndp_proxies"].as_array().unwrap().len(), 1);
        cloud.delete(who, &path).await.expect(204);
        cloud.get(who, &path).await.neutron(404, "NDPProxyNotFound");
        let closed = scene.put(&router, json!({"external_gateway_info": {}})).await.expect(200);
        assert_eq!(closed["router"]["enable_ndp_proxy"], false);
    });
}

#[test]
fn addresses_of_a_host() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let (cloud, who) = (&scene.cloud, &scene.finance);
        let (network, subnet) = scene.inner("blue", "10.0.0.0/24").await;
        let port = cloud.port(who, &network, json!({})).await.expect(201)["port"].take();
        let make = async |body: Value| cloud.post(who, &format!("{V2}/local_ips"), json!({"local_ip": body})).await;
        make(json!({})).await.neutron(400, "LocalIPPortOrNetworkRequired");
        make(json!({"network_id": port["id"]})).await.neutron(404, "NetworkNotFound");
        make(json!({"local_port_id": network["id"]})).await.neutron(400, "BadRequest");
        make(json!({"local_port_id": port["id"], "local_ip_address": "10.9.9.9"})).await.neutron(400, "LocalIPRequestedIPNotFound");
        make(json!({"network_id": network["id"], "ip_mode": "foo"})).await.neutron(400, "HTTPBadRequest");
        let own = make(json!({"network_id": network["id"], "name": "a"})).await.expect(201)["local_ip"].take();
        assert_eq!((&own["ip_mode"], &own["network_id"], &own["description"]), (&json!("translate"), &network["id"], &json!("")));
        let of_port = make(json!({"local_port_id": port["id"]})).await.expect(201)["local_ip"].take();
        assert_eq!(of_port["local_ip_address"], port["fixed_ips"][0]["ip_address"]);
        let port_path = format!("{V2}/ports/{}", id(&port));
        cloud.delete(who, &port_path).await.neutron(409, "ServicePortInUse");
        let path = |it: &Value| format!("{V2}/local_ips/{}", id(it));
        let changed = cloud.put(who, &path(&own), json!({"local_ip": {"description": "d"}})).await.expect(200);
        assert_eq!(changed["local_ip"]["description"], "d");
        let all = format!("{}/port_associations", path(&own));
        let bind = async |body: Value| cloud.post(who, &all, json!({"port_association": body})).await;
        bind(json!({})).await.neutron(400, "HTTPBadRequest");
        bind(json!({"fixed_port_id": port["id"], "fixed_ip": "10.7.7.7"})).await.neutron(400, "LocalIPRequestedIPNotFound");
        let bound = bind(json!({"fixed_port_id": port["id"]})).await.expect(201)["port_association"].take();
        let wanted = json!({
            "local_ip_id": own["id"], "local_ip_address": own["local_ip_address"], "fixed_port_id": port["id"],
            "fixed_ip": port["fixed_ips"][0]["ip_address"], "host": "",
        });
        assert_eq!(bound, wanted);
        assert_eq!(bind(json!({"fixed_port_id": port["id"]})).await.status, 400);
        assert_eq!(cloud.get(who, &all).await.expect(200)["port_associations"], json!([wanted]));
        let one = format!("{all}/{}", id(&port));
        assert_eq!(cloud.get(who, &one).await.expect(200)["port_association"], wanted);
        cloud.delete(who, &path(&own)).await.neutron(409, "LocalIPInUse");
        cloud.delete(who, &one).await.expect(204);
        cloud.delete(who, &one).await.neutron(404, "LocalIPAssociationNotFound");
        bind(json!({"fixed_port_id": port["id"]})).await.expect(201);
        cloud.delete(who, &path(&of_port)).await.expect(204);
        cloud.delete(who, &port_path).await.expect(204);
        cloud.delete(who, &path(&own)).await.expect(204);
        cloud.get(who, &path(&own)).await.neutron(404, "LocalIPNotFound");
        assert_eq!(world.store.allocations(&format!("ip:{}", id(&subnet))).await.unwrap(), []);
    });
}
