//! Subnets: which can be, and what they keep.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Cloud, Token, id};
use crate::world::on_each;

const SUBNETS: &str = "/network/v2.0/subnets";

async fn make(cloud: &Cloud, token: &Token, network: &Value, mut attributes: Value) -> crate::support::Answer {
    attributes["network_id"] = network["id"].clone();
    if attributes.get("ip_version").is_none() {
        attributes["ip_version"] = json!(4);
    }
    cloud.post(token, SUBNETS, json!({"subnet": attributes})).await
}

#[test]
fn a_life() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        let made = make(&cloud, &finance, &network, json!({"name": "s", "cidr": "10.0.0.0/24"})).await.expect(201)["subnet"].take();
        for (key, value) in [
            ("name", json!("s")),
            ("network_id", network["id"].clone()),
            ("ip_version", json!(4)),
            ("cidr", json!("10.0.0.0/24")),
            ("gateway_ip", json!("10.0.0.1")),
            ("allocation_pools", json!([{"start": "10.0.0.2", "end": "10.0.0.254"}])),
            ("dns_nameservers", json!([])),
            ("host_routes", json!([])),
            ("enable_dhcp", json!(true)),
            ("project_id", json!(finance.project)),
            ("tenant_id", json!(finance.project)),
            ("revision_number", json!(1)),
        ] {
            assert_eq!(made[key], value, "{key}");
        }
        let one = format!("{SUBNETS}/{}", id(&made));
        let change = json!({
            "name": "t", "dns_nameservers": ["10.0.0.53", "9.9.9.9"], "enable_dhcp": false, "gateway_ip": "10.0.0.254",
            "host_routes": [{"destination": "10.2.0.0/16", "nexthop": "10.0.0.7"}], "allocation_pools": [{"start": "10.0.0.100", "end": "10.0.0.110"}],
        });
        let changed = cloud.put(&finance, &one, json!({"subnet": change})).await.expect(200)["subnet"].take();
        for (key, value) in change.as_object().unwrap() {
            assert_eq!(changed[key], *value, "{key}");
        }
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["subnet"], changed);
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        assert_eq!(port["fixed_ips"][0]["ip_address"], "10.0.0.100", "from the new pool");
        // The old gateway is free now, the new one is not.
        cloud.port(&finance, &network, json!({"fixed_ips": [{"ip_address": "10.0.0.1"}]})).await.expect(201);
        cloud.port(&finance, &network, json!({"fixed_ips": [{"ip_address": "10.0.0.254"}]})).await.neutron(409, "IpAddressInUse");
        cloud.put(&finance, &one, json!({"subnet": {"gateway_ip": "10.0.0.1"}})).await.neutron(409, "GatewayIpInUse");
        cloud.put(&finance, &one, json!({"subnet": {"gateway_ip": "10.0.0.105"}})).await.neutron(409, "GatewayConflictWithAllocationPools");
        cloud.put(&finance, &one, json!({"subnet": {"gateway_ip": null}})).await.expect(200);

        cloud.delete(&finance, &one).await.neutron(409, "SubnetInUse");
        for port in cloud.get(&finance, "/network/v2.0/ports").await.expect(200)["ports"].as_array().unwrap() {
            cloud.delete(&finance, &format!("/network/v2.0/ports/{}", id(port))).await.expect(204);
        }
        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "SubnetNotFound");
        cloud.delete(&finance, &one).await.neutron(404, "SubnetNotFound");
        assert_eq!(world.store.allocations(&format!("ip:{}", id(&made))).await.unwrap(), []);
    });
}

#[test]
fn gateways_and_pools() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        for (attributes, gateway, pools) in [
            (json!({"cidr": "10.1.0.0/29"}), json!("10.1.0.1"), json!([{"start": "10.1.0.2", "end": "10.1.0.6"}])),
            (json!({"cidr": "10.1.0.0/29", "gateway_ip": null}), Value::Null, json!([{"start": "10.1.0.1", "end": "10.1.0.6"}])),
            (
                json!({"cidr": "10.1.0.0/29", "gateway_ip": "10.1.0.4"}),
                json!("10.1.0.4"),
                json!([{"start": "10.1.0.1", "end": "10.1.0.3"}, {"start": "10.1.0.5", "end": "10.1.0.6"}]),
            ),
            (json!({"cidr": "10.1.0.0/29", "gateway_ip": "192.0.2.1"}), json!("192.0.2.1"), json!([{"start": "10.1.0.1", "end": "10.1.0.6"}])),
            (json!({"cidr": "10.1.0.0/31", "enable_dhcp": false}), json!("10.1.0.1"), json!([{"start": "10.1.0.0", "end": "10.1.0.0"}])),
            (json!({"cidr": "10.1.0.1/32", "enable_dhcp": false}), Value::Null, json!([{"start": "10.1.0.1", "end": "10.1.0.1"}])),
            (
                json!({"cidr": "2001:db8::/64", "ip_version": 6}),
                json!("2001:db8::1"),
                json!([{"start": "2001:db8::2", "end": "2001:db8::ffff:ffff:ffff:ffff"}]),
            ),
        ] {
            let network = cloud.network(&finance, "n").await;
            let made = make(&cloud, &finance, &network, attributes.clone()).await.expect(201)["subnet"].take();
            assert_eq!((&made["gateway_ip"], &made["allocation_pools"]), (&gateway, &pools), "{attributes}");
        }
    });
}

#[test]
fn subnets_that_cannot_be() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        let before = cloud.get(&finance, SUBNETS).await.text;
        let pool = |start: &str, end: &str| json!([{"start": start, "end": end}]);
        for (attributes, status, kind) in [
            (json!({}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.1/24"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/33"}), 400, "HTTPBadRequest"),
            (json!({"cidr": 7}), 400, "HTTPBadRequest"),
            (json!({"cidr": "0.0.0.0/0"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "127.0.0.0/24"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "224.0.0.0/24"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.0.0/8"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/31"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "ip_version": 6}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "ip_version": 5}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "ip_version": null}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "colour": "red"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "subnetpool_id": "x"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "gateway_ip": "10.0.1.0"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "gateway_ip": "10.0.1.255"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "gateway_ip": "2001:db8::1"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "gateway_ip": "first"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "dns_nameservers": ["a"]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "dns_nameservers": "9.9.9.9"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "dns_nameservers": vec!["9.9.9.9"; 6]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "host_routes": [{"destination": "10.0.0.0/8"}]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "host_routes": [{"destination": "10.0.0.0/8", "nexthop": "10.0.1.1", "via": 1}]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "ipv6_ra_mode": "slaac"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": {}}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": [{"start": "10.0.1.2"}]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": pool("10.0.1.9", "10.0.1.2")}), 400, "InvalidAllocationPool"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": pool("::1", "::2")}), 400, "InvalidAllocationPool"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": pool("10.0.1.2", "10.0.2.2")}), 400, "OutOfBoundsAllocationPool"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": pool("10.0.1.2", "10.0.1.255")}), 400, "OutOfBoundsAllocationPool"),
            (json!({"cidr": "10.0.1.0/24", "allocation_pools": pool("10.0.1.1", "10.0.1.9")}), 409, "GatewayConflictWithAllocationPools"),
            (
                json!({"cidr": "10.0.1.0/24", "allocation_pools": [{"start": "10.0.1.2", "end": "10.0.1.9"}, {"start": "10.0.1.9", "end": "10.0.1.12"}]}),
                409,
                "OverlappingAllocationPools",
            ),
            (json!({"cidr": "10.0.0.0/24"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.128/25"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/16"}), 400, "InvalidInput"),
        ] {
            let answer = make(&cloud, &finance, &network, attributes.clone()).await;
            assert_eq!((answer.status, answer.body["NeutronError"]["type"].as_str()), (status, Some(kind)), "{attributes}: {}", answer.text);
        }
        for (id, status, kind) in [(json!("none"), 404, "NetworkNotFound"), (json!(7), 400, "HTTPBadRequest"), (Value::Null, 400, "HTTPBadRequest")] {
            let network = json!({ "id": id });
            make(&cloud, &finance, &network, json!({"cidr": "10.0.1.0/24"})).await.neutron(status, kind);
        }
        // Of several, one that cannot be keeps the others from being made; they are held against one another as well.
        let several = |second: &str| {
            let one = |cidr: &str| json!({"network_id": network["id"], "ip_version": 4, "cidr": cidr});
            json!({"subnets": [one("10.0.1.0/24"), one(second)]})
        };
        cloud.post(&finance, SUBNETS, several("10.0.0.0/24")).await.neutron(400, "InvalidInput");
        cloud.post(&finance, SUBNETS, several("10.0.1.0/25")).await.neutron(400, "InvalidInput");
        assert_eq!(cloud.get(&finance, SUBNETS).await.text, before);
        cloud.post(&finance, SUBNETS, several("10.0.2.0/24")).await.expect(201);
    });
}

#[test]
fn eight_at_once_do_not_overlap() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let finance = cloud.tenant("finance", "member").await;
        for _ in 0..3 {
            let network = cloud.network(&finance, "blue").await;
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..8 {
                let (cloud, finance, network) = (Arc::clone(&cloud), finance.clone(), network.clone());
                let cidr = ["10.0.0.0/24", "10.0.0.0/16", "10.0.0.128/25", "10.0.0.0/23"][n % 4];
                tasks.spawn(async move { make(&cloud, &finance, &network, json!({"cidr": cidr})).await });
            }
            let answers = tasks.join_all().await;
            assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1, "{answers:?}");
            assert!(answers.iter().all(|it| it.status == 201 || it.body["NeutronError"]["type"] == "InvalidInput"), "{answers:?}");
        }
    });
}
