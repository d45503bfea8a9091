//! BGP speakers, peers and what they are told.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Answer, Cloud, id};
use crate::world::on_each;

const NOBODY: &str = "11111111-1111-1111-1111-111111111111";

async fn ask(cloud: &Cloud, kind: &str, body: Value) -> Answer {
    cloud.post(&cloud.admin, &format!("{V2}/{}s", kind.replace('_', "-")), json!({ kind: body })).await
}

async fn make(cloud: &Cloud, kind: &str, body: Value) -> Value {
    ask(cloud, kind, body).await.expect(201)[kind].take()
}

#[test]
fn speakers_and_peers() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let network = cloud.network(&cloud.admin, "n").await;
        let speaker = make(&cloud, "bgp_speaker", json!({"name": "s", "local_as": 4_294_967_295_u32, "ip_version": 4})).await;
        assert_eq!(
            (&speaker["peers"], &speaker["networks"], &speaker["advertise_tenant_networks"]),
            (&json!([]), &json!([]), &json!(true))
        );
        for wrong in [
            json!({"ip_version": 4}),
            json!({"local_as": 0, "ip_version": 4}),
            json!({"local_as": 5, "ip_version": 5}),
            json!({"local_as": 5}),
        ] {
            ask(&cloud, "bgp_speaker", wrong).await.neutron(400, "HTTPBadRequest");
        }
        let peer = make(&cloud, "bgp_peer", json!({"peer_ip": "192.0.2.1", "remote_as": 5, "auth_type": "none"})).await;
        let secret = json!({"peer_ip": "192.0.2.1", "remote_as": 5, "auth_type": "md5", "password": "swordfish"});
        let secret = make(&cloud, "bgp_peer", secret).await;
        assert!(secret.get("password").is_none());
        let listed = cloud.get(&cloud.admin, &format!("{V2}/bgp-peers")).await.expect(200);
        assert!(!listed.to_string().contains("swordfish"));
        ask(&cloud, "bgp_peer", json!({"peer_ip": "192.0.2.2", "remote_as": 5, "auth_type": "md5"}))
            .await
            .neutron(400, "InvalidBgpPeerMd5Authentication");
        ask(&cloud, "bgp_peer", json!({"peer_ip": "x", "remote_as": 5, "auth_type": "none"})).await.neutron(400, "HTTPBadRequest");
        let password = json!({"bgp_peer": {"password": "x"}});
        cloud.put(&cloud.admin, &format!("{V2}/bgp-peers/{}", id(&peer)), password.clone()).await.neutron(404, "BgpPeerNotAuthenticated");
        cloud.put(&cloud.admin, &format!("{V2}/bgp-peers/{}", id(&secret)), password).await.expect(200);

        let path = format!("{V2}/bgp-speakers/{}", id(&speaker));
        let act = async |name: &str, body: Value| cloud.put(&cloud.admin, &format!("{path}/{name}"), body).await;
        assert_eq!(act("add_bgp_peer", json!({"bgp_peer_id": id(&peer)})).await.expect(200), json!({"bgp_peer_id": id(&peer)}));
        act("add_bgp_peer", json!({"bgp_peer_id": id(&secret)})).await.neutron(409, "DuplicateBgpPeerIpException");
        act("add_bgp_peer", json!({})).await.neutron(400, "BadRequest");
        act("add_bgp_peer", json!({"bgp_peer_id": NOBODY})).await.neutron(404, "BgpPeerNotFound");
        act("remove_bgp_peer", json!({"bgp_peer_id": id(&secret)})).await.neutron(404, "BgpSpeakerPeerNotAssociated");
        act("add_gateway_network", json!({"network_id": id(&network)})).await.expect(200);
        act("add_gateway_network", json!({"network_id": id(&network)})).await.neutron(409, "BgpSpeakerNetworkBindingError");
        act("add_gateway_network", json!({"network_id": NOBODY})).await.neutron(404, "NetworkNotFound");
        let shown = cloud.get(&cloud.admin, &path).await.expect(200)["bgp_speaker"].take();
        assert_eq!((&shown["peers"], &shown["networks"]), (&json!([id(&peer)]), &json!([id(&network)])));
        act("remove_gateway_network", json!({"network_id": id(&network)})).await.expect(200);
        act("remove_gateway_network", json!({"network_id": id(&network)})).await.neutron(404, "BgpSpeakerNetworkNotAssociated");
        cloud.delete(&cloud.admin, &format!("{V2}/bgp-peers/{}", id(&peer))).await.expect(204);
        assert_eq!(cloud.get(&cloud.admin, &path).await.expect(200)["bgp_speaker"]["peers"], json!([]));
        let member = cloud.tenant("finance", "member").await;
        cloud.get(&member, &path).await.neutron(404, "BgpSpeakerNotFound");
        cloud.delete(&cloud.admin, &path).await.expect(204);
    });
}

#[test]
fn what_lies_behind_routers_is_told() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let post = async |path: &str, body: Value| cloud.post(admin, &format!("{V2}/{path}"), body).await.expect(201);
        let scope = post("address-scopes", json!({"address_scope": {"name": "a", "ip_version": 4}})).await["address_scope"].take();
        let pool = json!({"name": "p", "prefixes": ["10.0.0.0/8"], "address_scope_id": id(&scope), "default_prefixlen": 24});
        let pool = post("subnetpools", json!({ "subnetpool": pool })).await["subnetpool"].take();
        let outside = post("networks", json!({"network": {"name": "outside", "router:external": true}})).await["network"].take();
        let inside = cloud.network(admin, "inside").await;
        let subnet = async |network: &Value, cidr: &str, pool: Value| {
            let body = json!({"network_id": id(network), "ip_version": 4, "cidr": cidr, "subnetpool_id": pool});
            post("subnets", json!({ "subnet": body })).await["subnet"].take()
        };
        subnet(&outside, "10.1.0.0/24", json!(id(&pool))).await;
        let told = subnet(&inside, "10.2.0.0/24", json!(id(&pool))).await;
        let untold = cloud.subnet(admin, &cloud.network(admin, "untold").await, "192.168.7.0/24").await;
        let gateway = json!({"network_id": id(&outside), "external_fixed_ips": [{"ip_address": "10.1.0.77"}]});
        let router = post("routers", json!({"router": {"name": "r", "external_gateway_info": gateway}})).await["router"].take();
        for it in [&told, &untold] {
            let path = format!("{V2}/routers/{}/add_router_interface", id(&router));
            cloud.put(admin, &path, json!({"subnet_id": id(it)})).await.expect(200);
        }
        let port = cloud.port(admin, &inside, json!({"fixed_ips": [{"subnet_id": id(&told)}]})).await.expect(201)["port"].take();
        let floating = json!({"floating_network_id": id(&outside), "port_id": id(&port), "floating_ip_address": "10.1.0.99"});
        post("floatingips", json!({ "floatingip": floating })).await;

        let speaker = make(&cloud, "bgp_speaker", json!({"local_as": 65000, "ip_version": 4})).await;
        let path = format!("{V2}/bgp-speakers/{}", id(&speaker));
        let routes = async || cloud.get(admin, &format!("{path}/get_advertised_routes")).await.expect(200)["advertised_routes"].take();
        assert_eq!(routes().await, json!([]));
        cloud.put(admin, &format!("{path}/add_gateway_network"), json!({"network_id": id(&outside)})).await.expect(200);
        let by = |destination: &str| json!({"destination": destination, "next_hop": "10.1.0.77"});
        assert_eq!(routes().await, json!([by("10.1.0.99/32"), by("10.2.0.0/24")]));
        cloud.put(admin, &path, json!({"bgp_speaker": {"advertise_floating_ip_host_routes": false}})).await.expect(200);
        assert_eq!(routes().await, json!([by("10.2.0.0/24")]));
        cloud.put(admin, &format!("{V2}/routers/{}", id(&router)), json!({"router": {"admin_state_up": false}})).await.expect(200);
        assert_eq!(routes().await, json!([]));
    });
}
