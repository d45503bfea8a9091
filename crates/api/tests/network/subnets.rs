//! Subnets: what there can be, what is refused, what else changes with them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::V2;
use crate::support::{Answer, Cloud, Token, id};
use crate::world::on_each;

async fn make(cloud: &Cloud, token: &Token, network: &Value, mut more: Value) -> Answer {
    more["network_id"] = network["id"].clone();
    if more.get("ip_version").is_none() {
        more["ip_version"] = json!(4);
    }
    cloud.post(token, &format!("{V2}/subnets"), json!({ "subnet": more })).await
}

fn path(subnet: &Value) -> String {
    format!("{V2}/subnets/{}", id(subnet))
}

#[test]
fn shown_as_the_defaults_have_it() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let network = cloud.network(&finance, "blue").await;
        let subnet = make(&cloud, &finance, &network, json!({"cidr": "10.0.0.77/24", "name": "a"})).await.expect(201)["subnet"].take();
        for (field, value) in [
            ("cidr", json!("10.0.0.0/24")),
            ("gateway_ip", json!("10.0.0.1")),
            ("allocation_pools", json!([{"start": "10.0.0.2", "end": "10.0.0.254"}])),
            ("ip_version", json!(4)),
            ("enable_dhcp", json!(true)),
            ("dns_nameservers", json!([])),
            ("host_routes", json!([])),
            ("service_types", json!([])),
            ("subnetpool_id", json!(null)),
            ("ipv6_ra_mode", json!(null)),
            ("ipv6_address_mode", json!(null)),
            ("router:external", json!(false)),
            ("dns_publish_fixed_ip", json!(false)),
            ("project_id", json!(finance.project)),
            ("tags", json!([])),
            ("description", json!("")),
        ] {
            assert_eq!(subnet[field], value, "{field}");
        }
        assert!(subnet.get("shared").is_none() && subnet.get("segment_id").is_none());
        cloud.get(&medical, &path(&subnet)).await.neutron(404, "SubnetNotFound");
        make(&cloud, &medical, &network, json!({"cidr": "10.1.0.0/24"})).await.neutron(404, "NetworkNotFound");
        let shown = cloud.get(&finance, &format!("{V2}/networks/{}", id(&network))).await.expect(200);
        assert_eq!(shown["network"]["subnets"], json!([id(&subnet)]));
        assert!(shown["network"]["revision_number"].as_i64() > network["revision_number"].as_i64());
        // Of a network that is shared its subnets are seen, and nobody but its owner makes one.
        let policy =
            json!({"object_type": "network", "object_id": id(&network), "action": "access_as_shared", "target_tenant": medical.project});
        cloud.post(&finance, &format!("{V2}/rbac-policies"), json!({ "rbac_policy": policy })).await.expect(201);
        cloud.get(&medical, &path(&subnet)).await.expect(200);
        let list = cloud.get(&medical, &format!("{V2}/subnets?cidr=10.0.0.0/24&shared=true")).await.expect(200);
        assert_eq!(list["subnets"].as_array().unwrap().len(), 1);
        make(&cloud, &medical, &network, json!({"cidr": "10.1.0.0/24"})).await.neutron(403, "PolicyNotAuthorized");
        cloud.put(&medical, &path(&subnet), json!({"subnet": {"name": "b"}})).await.neutron(403, "PolicyNotAuthorized");
    });
}

#[test]
fn what_is_refused() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        let network = cloud.network(&admin, "blue").await;
        let pool = |start: &str, end: &str| json!({"start": start, "end": end});
        let slaac = json!("slaac");
        for (body, status, kind) in [
            (json!({}), 400, "BadRequest"),
            (json!({"cidr": "10.0.0.0/24", "prefixlen": 24}), 400, "BadRequest"),
            (json!({"cidr": "x"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "ip_version": 6}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "ip_version": 5}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.0.0/31"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/31", "enable_dhcp": false}), 409, "IpamValueInvalid"),
            (json!({"cidr": "10.0.0.0/0"}), 400, "InvalidInput"),
            (json!({"cidr": "224.0.0.0/24"}), 400, "InvalidInput"),
            (json!({"cidr": "127.0.0.0/24"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.0"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.255"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "gateway_ip": "fd00::1"}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "gateway_ip": "z"}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.0.0/24", "allocation_pools": [pool("10.0.0.1", "10.0.0.9")]}), 409, "GatewayConflictWithAllocationPools"),
            (json!({"cidr": "10.0.0.0/24", "allocation_pools": [pool("10.0.0.9", "10.0.0.2")]}), 400, "InvalidAllocationPool"),
            (json!({"cidr": "10.0.0.0/24", "allocation_pools": [pool("fd00::1", "fd00::2")]}), 400, "InvalidAllocationPool"),
            (json!({"cidr": "10.0.0.0/24", "allocation_pools": [pool("10.0.0.9", "10.0.1.2")]}), 400, "OutOfBoundsAllocationPool"),
            (
                json!({"cidr": "10.0.0.0/24", "allocation_pools": [pool("10.0.0.9", "10.0.0.19"), pool("10.0.0.15", "10.0.0.29")]}),
                409,
                "OverlappingAllocationPools",
            ),
            (json!({"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.9"}]}), 400, "HTTPBadRequest"),
            (
                json!({"cidr": "10.0.0.0/24", "dns_nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"]}),
                400,
                "DNSNameServersExhausted",
            ),
            (json!({"cidr": "10.0.0.0/24", "dns_nameservers": ["1.1.1.1", "1.1.1.1"]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.0.0/24", "dns_nameservers": ["fd00::1"]}), 400, "InvalidInput"),
            (
                json!({"cidr": "10.0.0.0/24", "host_routes": vec![json!({"destination": "1.0.0.0/24", "nexthop": "10.0.0.3"}); 2]}),
                400,
                "HTTPBadRequest",
            ),
            (json!({"cidr": "10.0.0.0/24", "host_routes": [{"destination": "fd00::/64", "nexthop": "10.0.0.3"}]}), 400, "InvalidInput"),
            (json!({"cidr": "10.0.0.0/24", "ipv6_ra_mode": slaac}), 400, "InvalidInput"),
            (json!({"cidr": "fd00::/63", "ip_version": 6, "ipv6_ra_mode": slaac, "ipv6_address_mode": slaac}), 400, "InvalidInput"),
            (
                json!({"cidr": "fd00::/64", "ip_version": 6, "ipv6_ra_mode": slaac, "ipv6_address_mode": "dhcpv6-stateful"}),
                400,
                "InvalidInput",
            ),
            (json!({"cidr": "fd00::/64", "ip_version": 6, "ipv6_ra_mode": slaac, "enable_dhcp": false}), 400, "InvalidInput"),
            (json!({"cidr": "::/64", "ip_version": 6}), 400, "InvalidInput"),
            (json!({"ip_version": 6, "subnetpool_id": "prefix_delegation"}), 400, "BadRequest"),
            (json!({"subnetpool_id": "x"}), 400, "HTTPBadRequest"),
            (json!({"subnetpool_id": id(&network)}), 404, "SubnetPoolNotFound"),
            (json!({"use_default_subnetpool": true}), 400, "BadRequest"),
            (json!({"cidr": "10.0.0.0/24", "segment_id": id(&network)}), 404, "SegmentNotFound"),
            (json!({"cidr": "10.0.0.0/24", "service_types": ["foo"]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.0.0/24", "tags": ["a"]}), 400, "HTTPBadRequest"),
            (json!({"cidr": "10.0.0.0/24", "colour": "red"}), 400, "HTTPBadRequest"),
        ] {
            let answer = make(&cloud, &admin, &network, body.clone()).await;
            assert_eq!((answer.status, answer.body["NeutronError"]["type"].as_str()), (status, Some(kind)), "{body}: {}", answer.text);
        }
        let list = cloud.get(&admin, &format!("{V2}/subnets")).await.expect(200);
        assert_eq!(list["subnets"], json!([]), "nothing was made");
    });
}

#[test]
fn gateways_and_ranges_by_default() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        for (mut body, gateway, pools) in [
            (json!({"cidr": "10.0.0.0/29"}), json!("10.0.0.1"), json!([{"start": "10.0.0.2", "end": "10.0.0.6"}])),
            (json!({"cidr": "10.0.0.0/29", "gateway_ip": null}), json!(null), json!([{"start": "10.0.0.1", "end": "10.0.0.6"}])),
            (
                json!({"cidr": "10.0.0.0/29", "gateway_ip": "10.0.1.1"}),
                json!("10.0.1.1"),
                json!([{"start": "10.0.0.1", "end": "10.0.0.6"}]),
            ),
            (
                json!({"cidr": "10.0.0.0/29", "gateway_ip": "10.0.0.3"}),
                json!("10.0.0.3"),
                json!([{"start": "10.0.0.1", "end": "10.0.0.2"}, {"start": "10.0.0.4", "end": "10.0.0.6"}]),
            ),
            (json!({"cidr": "fd00::/64"}), json!("fd00::"), json!([{"start": "fd00::1", "end": "fd00::ffff:ffff:ffff:ffff"}])),
            (
                json!({"cidr": "10.0.0.0/29", "allocation_pools": [{"start": "10.0.0.5", "end": "10.0.0.6"}, {"start": "10.0.0.2", "end": "10.0.0.3"}]}),
                json!("10.0.0.1"),
                json!([{"start": "10.0.0.5", "end": "10.0.0.6"}, {"start": "10.0.0.2", "end": "10.0.0.3"}]),
            ),
        ] {
            let network = cloud.network(&admin, "blue").await;
            body["ip_version"] = json!(if body["cidr"].as_str().unwrap().contains(':') { 6 } else { 4 });
            let made = make(&cloud, &admin, &network, body.clone()).await.expect(201)["subnet"].take();
            assert_eq!((&made["gateway_ip"], &made["allocation_pools"]), (&gateway, &pools), "{body}");
        }
        // The prefix that is still to come.
        let network = cloud.network(&admin, "blue").await;
        let body = json!({"ip_version": 6, "subnetpool_id": "prefix_delegation", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"});
        let made = make(&cloud, &admin, &network, body).await.expect(201)["subnet"].take();
        assert_eq!((&made["cidr"], &made["subnetpool_id"]), (&json!("::/64"), &json!("prefix_delegation")));
        let port = cloud.port(&admin, &network, json!({})).await.expect(201)["port"].take();
        assert_eq!(port["fixed_ips"], json!([]));
    });
}

#[test]
fn no_two_of_a_network_overlap() {
    on_each(async |world| {
        let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
        let finance = clouds[0].tenant("finance", "member").await;
        let network = clouds[0].network(&finance, "blue").await;
        let one = json!({"network_id": network["id"], "ip_version": 4, "cidr": "10.9.0.0/24"});
        let other = json!({"network_id": network["id"], "ip_version": 4, "cidr": "10.9.0.128/25"});
        let many = json!({"subnets": [one, other]});
        clouds[0].post(&finance, &format!("{V2}/subnets"), many).await.neutron(400, "InvalidInput");
        let mut tasks = JoinSet::new();
        for n in 0..16_usize {
            let (cloud, finance, network) = (Arc::clone(&clouds[n % 2]), finance.clone(), network.clone());
            let cidr = if n < 8 { format!("10.0.{n}.0/24") } else { "10.1.0.0/16".to_owned() };
            tasks.spawn(async move { make(&cloud, &finance, &network, json!({ "cidr": cidr })).await });
        }
        let answers = tasks.join_all().await;
        assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 9, "{answers:?}");
        assert!(answers.iter().all(|it| it.status == 201 || it.body["NeutronError"]["type"] == "InvalidInput"), "{answers:?}");
        let shown = clouds[1].get(&finance, &format!("{V2}/networks/{}", id(&network))).await.expect(200);
        assert_eq!(shown["network"]["subnets"].as_array().unwrap().len(), 9);
    });
}

#[test]
fn changes() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        let network = cloud.network(&admin, "blue").await;
        let subnet = make(&cloud, &admin, &network, json!({"cidr": "10.0.0.0/24"})).await.expect(201)["subnet"].take();
        let change = async |body: Value| cloud.put(&admin, &path(&subnet), json!({ "subnet": body })).await;
        let routes = json!([{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}]);
        let body = json!({"name": "b", "dns_nameservers": ["10.0.0.53", "1.1.1.1"], "host_routes": routes, "enable_dhcp": false});
        let after = change(body).await.expect(200)["subnet"].take();
        assert_eq!(after["dns_nameservers"], json!(["10.0.0.53", "1.1.1.1"]), "in order");
        assert_eq!((&after["host_routes"], &after["enable_dhcp"], &after["revision_number"]), (&routes, &json!(false), &json!(2)));
        change(json!({"cidr": "10.1.0.0/24"})).await.neutron(400, "HTTPBadRequest");
        change(json!({"network_id": id(&subnet)})).await.neutron(400, "HTTPBadRequest");
        change(json!({"gateway_ip": "10.0.0.5"})).await.neutron(409, "GatewayConflictWithAllocationPools");
        change(json!({"gateway_ip": "10.0.0.255"})).await.neutron(400, "InvalidInput");
        let pools = json!([{"start": "10.0.0.100", "end": "10.0.0.101"}]);
        change(json!({"gateway_ip": "10.0.0.254", "allocation_pools": pools})).await.expect(200);
        let taken = async || cloud.port(&admin, &network, json!({})).await.expect(201)["port"]["fixed_ips"][0]["ip_address"].take();
        assert_eq!(taken().await, "10.0.0.100");
        change(json!({"allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.3"}, {"start": "10.0.0.100", "end": "10.0.0.101"}]}))
            .await
            .expect(200);
        assert_eq!((taken().await, taken().await, taken().await), (json!("10.0.0.2"), json!("10.0.0.3"), json!("10.0.0.101")));
        cloud.port(&admin, &network, json!({})).await.neutron(409, "IpAddressGenerationFailure");
        // A router at the gateway's address keeps it.
        let router = json!({"fixed_ips": [{"ip_address": "10.0.0.254"}], "device_owner": "network:router_interface", "device_id": "r"});
        let router = cloud.port(&admin, &network, router).await.expect(201)["port"].take();
        change(json!({"gateway_ip": null})).await.neutron(409, "GatewayIpInUse");
        change(json!({"name": "c"})).await.expect(200);
        cloud.delete(&admin, &path(&subnet)).await.neutron(409, "SubnetInUse");
        cloud.delete(&admin, &format!("{V2}/ports/{}", id(&router))).await.expect(204);
        change(json!({"gateway_ip": null})).await.expect(200);
    });
}

#[test]
fn goes_when_nobody_is_on_it() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        let network = cloud.network(&admin, "blue").await;
        let subnet = make(&cloud, &admin, &network, json!({"cidr": "10.0.0.0/24"})).await.expect(201)["subnet"].take();
        let port = cloud.port(&admin, &network, json!({})).await.expect(201)["port"].take();
        let dhcp = cloud.port(&admin, &network, json!({"device_owner": "network:dhcp"})).await.expect(201)["port"].take();
        cloud.delete(&admin, &path(&subnet)).await.neutron(409, "SubnetInUse");
        cloud.delete(&admin, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        cloud.delete(&admin, &path(&subnet)).await.expect(204);
        cloud.get(&admin, &path(&subnet)).await.neutron(404, "SubnetNotFound");
        let left = cloud.get(&admin, &format!("{V2}/ports/{}", id(&dhcp))).await.expect(200);
        assert_eq!(left["port"]["fixed_ips"], json!([]), "what offers DHCP does not keep it");
        assert!(world.store.allocations(&format!("ip:{}", id(&subnet))).await.unwrap().is_empty());
        let used = cloud.get(&admin, &format!("{V2}/quotas/{}/details", admin.project)).await.expect(200);
        assert_eq!(used["quota"]["subnet"]["used"], 0);
    });
}
