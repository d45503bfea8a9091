//! Subnets: gateways, pools, and that no two overlap.

use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::on_each;
use crate::{each, neutron_refused, text};

const SUBNETS: &str = "/network/v2.0/subnets";
const PORTS: &str = "/network/v2.0/ports";

async fn network(desk: &Desk, who: &Who) -> String {
    text(&desk.post(who, "/network/v2.0/networks", json!({"network": {}})).await.expect(201), "/network/id").to_owned()
}

/// Asks for a subnet: what is given beside what each needs.
async fn ask(desk: &Desk, who: &Who, network: &str, cidr: &str, more: Value) -> Answer {
    let mut body = json!({"network_id": network, "cidr": cidr, "ip_version": if cidr.contains(':') { 6 } else { 4 }});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    desk.post(who, SUBNETS, json!({ "subnet": body })).await
}

fn pool(start: &str, end: &str) -> Value {
    json!({"start": start, "end": end})
}

#[test]
fn gateways_and_pools() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        for (cidr, more, gateway, pools) in [
            ("10.0.0.0/24", json!({}), json!("10.0.0.1"), json!([pool("10.0.0.2", "10.0.0.254")])),
            ("10.0.1.0/24", json!({"gateway_ip": null}), Value::Null, json!([pool("10.0.1.1", "10.0.1.254")])),
            (
                "10.0.2.0/29",
                json!({"gateway_ip": "10.0.2.3"}),
                json!("10.0.2.3"),
                json!([pool("10.0.2.1", "10.0.2.2"), pool("10.0.2.4", "10.0.2.6")]),
            ),
            (
                "10.0.3.0/24",
                json!({"allocation_pools": [pool("10.0.3.10", "10.0.3.20")]}),
                json!("10.0.3.1"),
                json!([pool("10.0.3.10", "10.0.3.20")]),
            ),
            ("2001:db8::/64", json!({}), json!("2001:db8::"), json!([pool("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")])),
        ] {
            let net = network(&desk, &ann).await;
            let made = ask(&desk, &ann, &net, cidr, more).await.expect(201)["subnet"].clone();
            assert_eq!((&made["gateway_ip"], &made["allocation_pools"]), (&gateway, &pools), "{cidr}");
            assert_eq!((&made["cidr"], &made["revision_number"], &made["enable_dhcp"]), (&json!(cidr), &json!(1), &json!(true)));
            assert_eq!(desk.get(&ann, &format!("{SUBNETS}/{}", text(&made, "/id"))).await.expect(200)["subnet"], made);
        }
    });
}

#[test]
fn what_cannot_be_is_refused_by_the_names_neutron_has_for_it() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let net = network(&desk, &ann).await;
        let plain = "HTTPBadRequest";
        for (cidr, more, status, kind) in [
            ("10.0.0.0/24", json!({"ip_version": 6}), 400, "InvalidInput"),
            ("10.0.0.0/24", json!({"ip_version": 5}), 400, plain),
            ("10.0.0.0/33", json!({}), 400, "InvalidInput"),
            ("ten", json!({}), 400, "InvalidInput"),
            ("224.0.0.0/24", json!({}), 400, "InvalidInput"),
            ("127.0.0.0/8", json!({}), 400, "InvalidInput"),
            ("0.0.0.0/0", json!({}), 400, "InvalidInput"),
            ("10.0.0.0/24", json!({"gateway_ip": "ten"}), 400, plain),
            ("10.0.0.0/24", json!({"gateway_ip": "10.0.0.0"}), 400, "InvalidInput"),
            ("10.0.0.0/24", json!({"gateway_ip": "10.0.0.255"}), 400, "InvalidInput"),
            ("10.0.0.0/24", json!({"gateway_ip": "2001:db8::1"}), 400, "InvalidInput"),
            ("10.0.0.0/24", json!({"allocation_pools": [pool("10.0.0.9", "10.0.0.5")]}), 400, "InvalidAllocationPool"),
            ("10.0.0.0/24", json!({"allocation_pools": [pool("10.0.0.9", "10.0.1.5")]}), 400, "OutOfBoundsAllocationPool"),
            ("10.0.0.0/24", json!({"allocation_pools": [pool("10.0.0.0", "10.0.0.5")]}), 400, "OutOfBoundsAllocationPool"),
            (
                "10.0.0.0/24",
                json!({"gateway_ip": "10.0.0.7", "allocation_pools": [pool("10.0.0.5", "10.0.0.9")]}),
                409,
                "GatewayConflictWithAllocationPools",
            ),
            (
                "10.0.0.0/24",
                json!({"allocation_pools": [pool("10.0.0.5", "10.0.0.9"), pool("10.0.0.9", "10.0.0.12")]}),
                409,
                "OverlappingAllocationPools",
            ),
            ("10.0.0.0/24", json!({"allocation_pools": [{"start": "10.0.0.5"}]}), 400, plain),
            ("10.0.0.0/24", json!({"allocation_pools": "all"}), 400, plain),
            ("10.0.0.0/24", json!({"dns_nameservers": ["not an address"]}), 400, plain),
            ("10.0.0.0/24", json!({"host_routes": [{"destination": "10.1.0.0/24"}]}), 400, plain),
            ("10.0.0.0/24", json!({"ipv6_ra_mode": "slaac"}), 400, "InvalidInput"),
            ("10.0.0.0/24", json!({"colour": "blue"}), 400, plain),
            ("10.0.0.0/24", json!({"network_id": "0b8fb4b5-5a5a-4e45-bb9c-11ad8bd2ec3a"}), 404, "NetworkNotFound"),
            ("10.0.0.0/24", json!({"network_id": 5}), 400, plain),
        ] {
            let answer = ask(&desk, &ann, &net, cidr, more.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{cidr} {more}: {}", answer.body);
            neutron_refused(&answer, status, kind);
        }
        for missing in ["network_id", "cidr", "ip_version"] {
            let mut body = json!({"network_id": net, "cidr": "10.0.0.0/24", "ip_version": 4});
            body.as_object_mut().unwrap().remove(missing);
            let answer = desk.post(&ann, SUBNETS, json!({ "subnet": body })).await;
            neutron_refused(&answer, 400, if missing == "cidr" { "BadRequest" } else { plain });
            assert!(text(&answer.body, "/NeutronError/message").contains(missing), "{missing}: {}", answer.body);
        }
        assert_eq!(desk.get(&ann, SUBNETS).await.expect(200), json!({"subnets": []}));
    });
}

#[test]
fn no_two_overlap_on_one_network() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let net = network(&desk, &ann).await;
        ask(&desk, &ann, &net, "10.0.0.0/24", json!({})).await.expect(201);
        for cidr in ["10.0.0.0/24", "10.0.0.0/16", "10.0.0.128/25"] {
            neutron_refused(&ask(&desk, &ann, &net, cidr, json!({})).await, 400, "InvalidInput");
        }
        ask(&desk, &ann, &net, "10.0.1.0/24", json!({})).await.expect(201);
        // Other networks are other worlds.
        ask(&desk, &ann, &network(&desk, &ann).await, "10.0.0.0/24", json!({})).await.expect(201);
        let bulk = |second: &str| {
            let one = |cidr: &str| json!({"network_id": net, "cidr": cidr, "ip_version": 4});
            json!({"subnets": [one("10.7.0.0/24"), one(second)]})
        };
        neutron_refused(&desk.post(&ann, SUBNETS, bulk("10.7.0.0/25")).await, 400, "InvalidInput");
        assert_eq!(desk.get(&ann, &format!("{SUBNETS}?network_id={net}")).await.expect(200)["subnets"].as_array().unwrap().len(), 2);
        desk.post(&ann, SUBNETS, bulk("10.8.0.0/24")).await.expect(201);

        for round in 0..6 {
            let net = network(&desk, &ann).await;
            let asks = (0..8).map(|at| {
                let cidr = if at % 2 == 0 { "10.0.0.0/24" } else { "10.0.0.0/16" };
                ask(&desk, &ann, &net, cidr, json!({}))
            });
            let codes: Vec<u16> = futures_util::future::join_all(asks).await.iter().map(|it| it.status.as_u16()).collect();
            assert_eq!(codes.iter().filter(|it| **it == 201).count(), 1, "on {}, round {round}: {codes:?}", world.name());
            assert!(codes.iter().all(|it| [201, 400].contains(it)), "on {}, round {round}: {codes:?}", world.name());
        }
        // Those that do not overlap all get through.
        let net = network(&desk, &ann).await;
        let cidrs: Vec<String> = (0..8).map(|at| format!("10.{at}.0.0/24")).collect();
        let asks = cidrs.iter().map(|cidr| ask(&desk, &ann, &net, cidr, json!({})));
        let codes: Vec<u16> = futures_util::future::join_all(asks).await.iter().map(|it| it.status.as_u16()).collect();
        assert_eq!(codes, [201; 8], "on {}", world.name());
    });
}

#[test]
fn changed_and_deleted() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let eve = desk.tenant("eve", "medical").await;
        let net = network(&desk, &ann).await;
        let made = ask(&desk, &ann, &net, "10.0.0.0/24", json!({"name": "blue", "dns_nameservers": ["10.0.0.53"]})).await.expect(201);
        let id = text(&made, "/subnet/id").to_owned();
        let one = format!("{SUBNETS}/{id}");
        let change = json!({"subnet": {
            "name": "red", "description": "d", "enable_dhcp": false, "dns_nameservers": [],
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
        }});
        let changed = desk.put(&ann, &one, change).await.expect(200)["subnet"].clone();
        assert_eq!((&changed["name"], &changed["revision_number"], &changed["dns_nameservers"]), (&json!("red"), &json!(2), &json!([])));
        assert_eq!(changed["host_routes"][0]["nexthop"], "10.0.0.9");
        for once in [json!({"cidr": "10.0.0.0/25"}), json!({"network_id": net}), json!({"ip_version": 4})] {
            neutron_refused(&desk.put(&ann, &one, json!({ "subnet": once })).await, 400, "HTTPBadRequest");
        }

        // The gateway's address is the router's that will have it: no port's when it becomes the gateway's.
        let put = async |subnet: Value| desk.put(&ann, &one, json!({ "subnet": subnet })).await;
        neutron_refused(&put(json!({"gateway_ip": "10.0.0.7"})).await, 409, "GatewayConflictWithAllocationPools");
        let narrow = json!({"allocation_pools": [pool("10.0.0.10", "10.0.0.20")], "gateway_ip": "10.0.0.7"});
        let narrowed = put(narrow).await.expect(200)["subnet"].clone();
        assert_eq!((&narrowed["gateway_ip"], &narrowed["allocation_pools"][0]["start"]), (&json!("10.0.0.7"), &json!("10.0.0.10")));
        let port = |ip: &str| json!({"port": {"network_id": net, "fixed_ips": [{"ip_address": ip}]}});
        let first = desk.post(&ann, PORTS, port("10.0.0.1")).await.expect(201);

        for answer in [desk.get(&eve, &one).await, desk.put(&eve, &one, json!({"subnet": {}})).await, desk.delete(&eve, &one).await] {
            neutron_refused(&answer, 404, "SubnetNotFound");
        }
        assert_eq!(desk.get(&eve, SUBNETS).await.expect(200), json!({"subnets": []}));
        neutron_refused(&desk.delete(&ann, &one).await, 409, "SubnetInUse");
        desk.delete(&ann, &format!("{PORTS}/{}", text(&first, "/port/id"))).await.expect(204);
        desk.delete(&ann, &one).await.expect(204);
        neutron_refused(&desk.get(&ann, &one).await, 404, "SubnetNotFound");
        assert_eq!(world.store.allocations(&format!("ip:{id}")).await.unwrap(), [], "nothing of it is held");

        // Of a shared network they are seen by all, and changed by its owner alone.
        let shared = desk.post(&desk.admin, "/network/v2.0/networks", json!({"network": {"shared": true}})).await.expect(201);
        let made = ask(&desk, &desk.admin, text(&shared, "/network/id"), "10.0.0.0/24", json!({})).await.expect(201);
        let one = format!("{SUBNETS}/{}", text(&made, "/subnet/id"));
        assert_eq!(each(&desk.get(&eve, SUBNETS).await.expect(200), "subnets", "id"), [text(&made, "/subnet/id")]);
        desk.get(&eve, &one).await.expect(200);
        neutron_refused(&desk.delete(&eve, &one).await, 403, "PolicyNotAuthorized");
        let body = ask(&desk, &eve, text(&shared, "/network/id"), "10.1.0.0/24", json!({})).await;
        neutron_refused(&body, 403, "PolicyNotAuthorized");
    });
}

#[test]
fn a_subnet_is_deleted_or_used() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        for round in 0..12 {
            let net = network(&desk, &ann).await;
            let made = ask(&desk, &ann, &net, "10.0.0.0/24", json!({})).await.expect(201);
            let subnet = text(&made, "/subnet/id").to_owned();
            let port = async {
                tokio::time::sleep(std::time::Duration::from_micros(round * 300)).await;
                desk.post(&ann, PORTS, json!({"port": {"network_id": net, "fixed_ips": [{"subnet_id": subnet}]}})).await
            };
            let path = format!("{SUBNETS}/{subnet}");
            let (deleted, port) = tokio::join!(desk.delete(&ann, &path), port);
            let held = world.store.allocations(&format!("ip:{subnet}")).await.unwrap().len();
            match (deleted.status.as_u16(), port.status.as_u16(), held) {
                (204, 400, 0) | (409, 201, 1) => {}
                other => panic!("on {}, round {round}: {other:?} {}", world.name(), port.body),
            }
        }
    });
}
