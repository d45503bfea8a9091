//! Subnet pools: what is carved from them, by whom, and that nothing is carved twice.

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::V2;
use crate::support::{Answer, Cloud, Token, id};
use crate::world::on_each;

async fn pool(cloud: &Cloud, token: &Token, more: Value) -> Answer {
    let mut body = json!({"name": "p", "prefixes": ["10.0.0.0/16"]});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    cloud.post(token, &format!("{V2}/subnetpools"), json!({ "subnetpool": body })).await
}

async fn subnet(cloud: &Cloud, token: &Token, network: &Value, mut more: Value) -> Answer {
    more["network_id"] = network["id"].clone();
    if more.get("ip_version").is_none() {
        more["ip_version"] = json!(4);
    }
    cloud.post(token, &format!("{V2}/subnets"), json!({ "subnet": more })).await
}

fn path(pool: &Value) -> String {
    format!("{V2}/subnetpools/{}", id(pool))
}

#[test]
fn made_changed_and_refused() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (admin, finance) = (cloud.admin.clone(), cloud.tenant("finance", "member").await);
        let made =
            pool(&cloud, &finance, json!({"prefixes": ["10.0.0.5/24", "10.0.0.0/25", "10.0.1.0/24"]})).await.expect(201)["subnetpool"]
                .take();
        assert_eq!(made["prefixes"], json!(["10.0.0.0/23"]));
        for (field, value) in [
            ("min_prefixlen", json!("8")),
            ("max_prefixlen", json!("32")),
            ("default_prefixlen", json!("8")),
            ("default_quota", json!(null)),
            ("ip_version", json!(4)),
            ("shared", json!(false)),
            ("is_default", json!(false)),
            ("address_scope_id", json!(null)),
        ] {
            assert_eq!(made[field], value, "{field}");
        }
        for (body, status, kind) in [
            (json!({"name": ""}), 400, "HTTPBadRequest"),
            (json!({"prefixes": []}), 400, "EmptySubnetPoolPrefixList"),
            (json!({"prefixes": ["10.0.0.0/8", "fd00::/48"]}), 400, "PrefixVersionMismatch"),
            (json!({"prefixes": ["y"]}), 400, "HTTPBadRequest"),
            (json!({"min_prefixlen": 7, "max_prefixlen": 5}), 400, "IllegalSubnetPoolPrefixBounds"),
            (json!({"max_prefixlen": 33}), 400, "IllegalSubnetPoolPrefixBounds"),
            (json!({"default_prefixlen": 7}), 400, "IllegalSubnetPoolPrefixBounds"),
            (json!({"min_prefixlen": -1}), 400, "HTTPBadRequest"),
            (json!({"default_quota": -1}), 400, "HTTPBadRequest"),
            (json!({"address_scope_id": id(&made)}), 404, "AddressScopeNotFound"),
            (json!({"shared": true}), 403, "PolicyNotAuthorized"),
            (json!({"is_default": true}), 403, "PolicyNotAuthorized"),
        ] {
            let answer = pool(&cloud, &finance, body.clone()).await;
            assert_eq!((answer.status, answer.body["NeutronError"]["type"].as_str()), (status, Some(kind)), "{body}: {}", answer.text);
        }
        let change = async |body: Value| cloud.put(&finance, &path(&made), json!({ "subnetpool": body })).await;
        change(json!({"prefixes": ["10.1.0.0/16"]})).await.neutron(400, "IllegalSubnetPoolPrefixUpdate");
        change(json!({"shared": true})).await.neutron(400, "HTTPBadRequest");
        change(json!({"min_prefixlen": 33})).await.neutron(400, "IllegalSubnetPoolPrefixBounds");
        let after = change(json!({"prefixes": ["10.0.0.0/23", "10.0.2.0/23"], "description": "d"})).await.expect(200)["subnetpool"].take();
        assert_eq!((&after["prefixes"], &after["revision_number"]), (&json!(["10.0.0.0/22"]), &json!(2)));
        let shared = pool(&cloud, &admin, json!({"shared": true, "is_default": true})).await.expect(201)["subnetpool"].take();
        pool(&cloud, &admin, json!({"is_default": true})).await.neutron(400, "InvalidInput");
        pool(&cloud, &admin, json!({"is_default": true, "prefixes": ["fd00::/48"]})).await.expect(201);
        cloud.get(&finance, &path(&shared)).await.expect(200);
        let list = cloud.get(&finance, &format!("{V2}/subnetpools?is_default=true")).await.expect(200);
        assert_eq!(list["subnetpools"].as_array().unwrap().len(), 1, "the other is not shared");
        let network = cloud.network(&finance, "blue").await;
        let own =
            subnet(&cloud, &finance, &network, json!({"use_default_subnetpool": true, "prefixlen": 24})).await.expect(201)["subnet"].take();
        assert_eq!((&own["subnetpool_id"], &own["cidr"], &own["gateway_ip"]), (&shared["id"], &json!("10.0.0.0/24"), &json!("10.0.0.1")));
        cloud.put(&admin, &path(&shared), json!({"subnetpool": {"is_default": false}})).await.expect(200);
        pool(&cloud, &admin, json!({"is_default": true})).await.expect(201);
        cloud.delete(&admin, &path(&shared)).await.neutron(400, "SubnetPoolDeleteError");
        cloud.delete(&finance, &format!("{V2}/subnets/{}", id(&own))).await.expect(204);
        cloud.delete(&admin, &path(&shared)).await.expect(204);
    });
}

#[test]
fn prefixes_are_carved() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        let bounds = json!({"min_prefixlen": 20, "max_prefixlen": 28, "default_prefixlen": 24, "default_quota": 600});
        let pool = pool(&cloud, &admin, bounds).await.expect(201)["subnetpool"].take();
        let network = cloud.network(&admin, "blue").await;
        let from = async |mut body: Value| {
            body["subnetpool_id"] = pool["id"].clone();
            subnet(&cloud, &admin, &network, body).await
        };
        from(json!({"prefixlen": 29})).await.neutron(400, "MaxPrefixSubnetAllocationError");
        from(json!({"prefixlen": 19})).await.neutron(400, "MinPrefixSubnetAllocationError");
        from(json!({"ip_version": 6})).await.neutron(400, "BadRequest");
        from(json!({"cidr": "11.0.0.0/24"})).await.neutron(409, "SubnetAllocationError");
        from(json!({"allocation_pools": [{"start": "10.0.0.3", "end": "10.0.0.4"}]})).await.neutron(400, "BadRequest");
        assert_eq!(from(json!({})).await.expect(201)["subnet"]["cidr"], "10.0.0.0/24");
        let second = from(json!({"gateway_ip": null})).await.expect(201)["subnet"].take();
        assert_eq!((&second["cidr"], &second["gateway_ip"]), (&json!("10.0.1.0/24"), &json!(null)));
        from(json!({})).await.neutron(409, "SubnetPoolQuotaExceeded");
        from(json!({"cidr": "10.0.0.128/28"})).await.neutron(409, "SubnetAllocationError");
        let placed = from(json!({"prefixlen": 28, "gateway_ip": "10.0.9.5"})).await.expect(201)["subnet"].take();
        assert_eq!((&placed["cidr"], &placed["gateway_ip"]), (&json!("10.0.9.0/28"), &json!("10.0.9.5")));
        subnet(&cloud, &admin, &network, json!({"cidr": "10.8.0.0/24"})).await.neutron(400, "NetworkSubnetPoolAffinityError");
        let actions = path(&pool);
        let change = async |what: &str, body: Value| cloud.put(&admin, &format!("{actions}/{what}"), body).await;
        assert_eq!(
            change("add_prefixes", json!({"prefixes": ["10.2.0.0/16"]})).await.expect(200),
            json!({"prefixes": ["10.0.0.0/16", "10.2.0.0/16"]})
        );
        change("add_prefixes", json!({"prefixes": []})).await.neutron(400, "HTTPBadRequest");
        change("add_prefixes", json!({"prefixes": ["fd00::/48"]})).await.neutron(400, "PrefixVersionMismatch");
        change("remove_prefixes", json!({"prefixes": ["10.0.0.0/24"]})).await.neutron(400, "IllegalSubnetPoolPrefixUpdate");
        assert_eq!(change("remove_prefixes", json!({"prefixes": ["10.2.0.0/16"]})).await.expect(200), json!({"prefixes": ["10.0.0.0/16"]}));
        // A network's own subnets join.
        let old = cloud.network(&admin, "old").await;
        let own = cloud.subnet(&admin, &old, "10.77.0.0/24").await;
        change("onboard_network_subnets", json!({})).await.neutron(400, "InvalidInput");
        change("onboard_network_subnets", json!({"network_id": id(&pool)})).await.neutron(404, "NetworkNotFound");
        let joined = change("onboard_network_subnets", json!({"network_id": id(&old)})).await.expect(200);
        assert_eq!(joined, json!([{"id": own["id"], "cidr": "10.77.0.0/24"}]));
        assert_eq!(cloud.get(&admin, &path(&pool)).await.expect(200)["subnetpool"]["prefixes"], json!(["10.0.0.0/16", "10.77.0.0/24"]));
        let again = cloud.network(&admin, "again").await;
        cloud.subnet(&admin, &again, "10.0.0.0/25").await;
        change("onboard_network_subnets", json!({"network_id": id(&again)})).await.neutron(400, "IllegalSubnetPoolUpdate");
    });
}

#[test]
fn scopes_hold_pools_apart() {
    on_each(async |world| {
        let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
        let cloud = &clouds[0];
        let finance = cloud.tenant("finance", "member").await;
        let scope = async |version: u8| {
            let body = json!({"address_scope": {"name": "s", "ip_version": version}});
            cloud.post(&finance, &format!("{V2}/address-scopes"), body).await.expect(201)["address_scope"].take()
        };
        let (scope, scope6) = (scope(4).await, scope(6).await);
        pool(cloud, &finance, json!({"address_scope_id": scope6["id"]}))
            .await
            .neutron(400, "IllegalSubnetPoolIpVersionAssociationToAddressScope");
        let mut tasks = JoinSet::new();
        for n in 0..8_usize {
            let (cloud, finance) = (Arc::clone(&clouds[n % 2]), finance.clone());
            let body = json!({"address_scope_id": scope["id"], "prefixes": [if n < 4 { "10.0.0.0/16".to_owned() } else { format!("10.{n}.0.0/16") }]});
            tasks.spawn(async move { pool(&cloud, &finance, body).await });
        }
        let (made, refused): (Vec<Answer>, Vec<Answer>) = tasks.join_all().await.into_iter().partition(|it| it.status == 201);
        assert_eq!(made.len(), 5, "{refused:?}");
        assert!(refused.iter().all(|it| it.body["NeutronError"]["type"] == "AddressScopePrefixConflict"), "{refused:?}");
        cloud.delete(&finance, &format!("{V2}/address-scopes/{}", id(&scope))).await.neutron(409, "AddressScopeInUse");
        // Of one network all come from one scope, from whichever of its pools.
        let network = cloud.network(&finance, "blue").await;
        let (one, two) = (&made[0].body["subnetpool"], &made[1].body["subnetpool"]);
        let free = pool(cloud, &finance, json!({"prefixes": ["192.168.0.0/16"]})).await.expect(201)["subnetpool"].take();
        for pool in [one, two] {
            subnet(cloud, &finance, &network, json!({"subnetpool_id": pool["id"], "prefixlen": 24})).await.expect(201);
        }
        let other = json!({"subnetpool_id": free["id"], "prefixlen": 24});
        subnet(cloud, &finance, &network, other).await.neutron(400, "NetworkAddressScopeAffinityError");
        cloud.put(&finance, &path(&free), json!({"subnetpool": {"address_scope_id": scope["id"]}})).await.expect(200);
        let shown = cloud.get(&finance, &format!("{V2}/networks/{}", id(&network))).await.expect(200);
        assert_eq!(shown["network"]["ipv4_address_scope"], scope["id"]);
    });
}

#[test]
fn nothing_is_carved_twice() {
    on_each(async |world| {
        let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
        let admin = clouds[0].admin.clone();
        let pool =
            pool(&clouds[0], &admin, json!({"prefixes": ["10.0.0.0/22"], "default_prefixlen": 26})).await.expect(201)["subnetpool"].take();
        let mut tasks = JoinSet::new();
        for n in 0..20_usize {
            let (cloud, admin, pool) = (Arc::clone(&clouds[n % 2]), admin.clone(), pool.clone());
            tasks.spawn(async move {
                let network = cloud.network(&admin, "n").await;
                subnet(&cloud, &admin, &network, json!({"subnetpool_id": pool["id"]})).await
            });
        }
        let (made, refused): (Vec<Answer>, Vec<Answer>) = tasks.join_all().await.into_iter().partition(|it| it.status == 201);
        assert!(refused.iter().all(|it| it.body["NeutronError"]["type"] == "SubnetAllocationError"), "{refused:?}");
        let mut cidrs: Vec<IpNet> = made.iter().map(|it| it.body["subnet"]["cidr"].as_str().unwrap().parse().unwrap()).collect();
        cidrs.sort();
        cidrs.dedup();
        assert_eq!(cidrs.len(), 16);
        assert_eq!(IpNet::aggregate(&cidrs), ["10.0.0.0/22".parse().unwrap()]);
    });
}

#[test]
fn topologies_made_by_themselves() {
    on_each(async |world| {
        let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
        let (cloud, admin) = (&clouds[0], clouds[0].admin.clone());
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let path = format!("{V2}/auto-allocated-topology");
        let own = format!("{path}/None");
        cloud.get(&finance, &own).await.neutron(409, "AutoAllocationFailure");
        let outside = json!({"network": {"name": "outside", "router:external": true, "is_default": true}});
        let outside = cloud.post(&admin, &format!("{V2}/networks"), outside).await.expect(201)["network"].take();
        cloud.subnet(&admin, &outside, "172.30.0.0/24").await;
        cloud.get(&finance, &format!("{own}?fields=dry-run")).await.neutron(409, "AutoAllocationFailure");
        pool(cloud, &admin, json!({"shared": true, "is_default": true, "default_prefixlen": 24})).await.expect(201);
        let dry = cloud.get(&finance, &format!("{own}?fields=dry-run")).await.expect(200);
        assert_eq!(dry["auto_allocated_topology"]["id"], "dry-run=pass");
        cloud.get(&finance, &format!("{own}?fields=id")).await.neutron(400, "BadRequest");
        cloud.get(&finance, &format!("{path}/{}", medical.project)).await.neutron(403, "NotAuthorized");
        let mut tasks = JoinSet::new();
        for n in 0..4_usize {
            let (cloud, finance, own) = (Arc::clone(&clouds[n % 2]), finance.clone(), own.clone());
            tasks.spawn(async move { cloud.get(&finance, &own).await.expect(200)["auto_allocated_topology"]["id"].take() });
        }
        let mut made = tasks.join_all().await;
        made.dedup();
        assert_eq!(made.len(), 1, "all have the same");
        let count = async |what: &str| {
            cloud.get(&finance, &format!("{V2}/{what}?project_id={}", finance.project)).await.expect(200)[what].as_array().unwrap().len()
        };
        assert_eq!((count("networks").await, count("subnets").await, count("routers").await), (1, 1, 1), "what was made in vain is gone");
        let network = cloud.get(&finance, &format!("{V2}/networks/{}", made[0].as_str().unwrap())).await.expect(200);
        assert_eq!(network["network"]["admin_state_up"], true);
        let ports = cloud.get(&finance, &format!("{V2}/ports?network_id={}", made[0].as_str().unwrap())).await.expect(200);
        assert_eq!(ports["ports"][0]["device_owner"].as_str().map(|it| it.starts_with("network:")), Some(true));
        cloud.delete(&finance, &own).await.expect(204);
        cloud.delete(&finance, &own).await.expect(204);
        assert_eq!((count("networks").await, count("subnets").await, count("routers").await), (0, 0, 0));
    });
}
