//! Addresses of ports: who gets which, and that nobody ever has another's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::V2;
use crate::support::{Cloud, Token, id};
use crate::world::on_each;

/// The addresses of a port that was shown.
fn addresses(port: &Value) -> Vec<String> {
    port["fixed_ips"].as_array().unwrap().iter().map(|it| it["ip_address"].as_str().unwrap().to_owned()).collect()
}

async fn subnet(cloud: &Cloud, token: &Token, network: &Value, mut more: Value) -> Value {
    more["network_id"] = network["id"].clone();
    cloud.post(token, &format!("{V2}/subnets"), json!({ "subnet": more })).await.expect(201)["subnet"].take()
}

async fn port(cloud: &Cloud, token: &Token, network: &Value, more: Value) -> Value {
    cloud.port(token, network, more).await.expect(201)["port"].take()
}

async fn moved(cloud: &Cloud, token: &Token, port: &Value, fixed_ips: Value) -> Vec<String> {
    let body = json!({"port": {"fixed_ips": fixed_ips}});
    addresses(&cloud.put(token, &format!("{V2}/ports/{}", id(port)), body).await.expect(200)["port"])
}

/// The address made of the network `fd00:0:0:<n>::/64` and this MAC address.
fn eui64(n: u8, mac: &str) -> String {
    let bytes: Vec<u8> = mac.split(':').map(|it| u8::from_str_radix(it, 16).unwrap()).collect();
    let tail = u64::from_be_bytes([bytes[0] ^ 2, bytes[1], bytes[2], 0xff, 0xfe, bytes[3], bytes[4], bytes[5]]);
    std::net::Ipv6Addr::from((0xfd00_u128 << 112) | (u128::from(n) << 64) | u128::from(tail)).to_string()
}

#[test]
fn usual_and_wanted_addresses() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.admin.clone();
        let network = cloud.network(&finance, "blue").await;
        assert_eq!(addresses(&port(&cloud, &finance, &network, json!({})).await), Vec::<String>::new(), "no subnet, no address");
        let v4 = subnet(&cloud, &finance, &network, json!({"ip_version": 4, "cidr": "10.0.0.0/29"})).await;
        let first = port(&cloud, &finance, &network, json!({})).await;
        assert_eq!(addresses(&first), ["10.0.0.2"]);
        let v6 =
            json!({"ip_version": 6, "cidr": "fd00:0:0:1::/64", "ipv6_address_mode": "dhcpv6-stateful", "ipv6_ra_mode": "dhcpv6-stateful"});
        let v6 = subnet(&cloud, &finance, &network, v6).await;
        assert_eq!(v6["gateway_ip"], "fd00:0:0:1::");
        let second = port(&cloud, &finance, &network, json!({})).await;
        assert_eq!(addresses(&second), ["10.0.0.3", "fd00:0:0:1::1"]);
        assert_eq!(second["ip_allocation"], "immediate");
        let none = port(&cloud, &finance, &network, json!({"fixed_ips": []})).await;
        assert_eq!((addresses(&none), &none["ip_allocation"]), (vec![], &json!("none")));
        let two = json!([{"subnet_id": v4["id"]}, {"ip_address": "10.0.0.4"}]);
        assert_eq!(addresses(&port(&cloud, &finance, &network, json!({ "fixed_ips": two })).await), ["10.0.0.4", "10.0.0.5"]);
        // The gateway's address is anybody's who asks for it.
        let gateway = port(&cloud, &finance, &network, json!({"fixed_ips": [{"ip_address": "10.0.0.1"}]})).await;
        assert_eq!(addresses(&gateway), ["10.0.0.1"]);
        for (fixed, status, kind) in [
            (json!([{"ip_address": "10.0.0.2"}]), 409, "IpAddressAlreadyAllocated"),
            (json!([{"ip_address": "10.0.1.2"}]), 400, "InvalidIpForNetwork"),
            (json!([{"ip_address": "10.0.0.7"}]), 400, "InvalidIpForNetwork"),
            (json!([{"subnet_id": v4["id"], "ip_address": "10.0.1.2"}]), 400, "InvalidIpForSubnet"),
            (json!([{"subnet_id": network["id"]}]), 404, "SubnetNotFound"),
            (json!([{}]), 400, "InvalidInput"),
            (json!([{"ip_address": "ten"}]), 400, "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.6"}, {"ip_address": "10.0.0.6"}]), 400, "HTTPBadRequest"),
            (json!([{"subnet_id": "x"}]), 400, "HTTPBadRequest"),
            (json!(5), 400, "HTTPBadRequest"),
            (json!([{"subnet_id": v4["id"]}, {"subnet_id": v4["id"]}]), 409, "IpAddressGenerationFailure"),
        ] {
            cloud.port(&finance, &network, json!({ "fixed_ips": fixed })).await.neutron(status, kind);
        }
        assert_eq!(addresses(&port(&cloud, &finance, &network, json!({})).await), ["10.0.0.6", "fd00:0:0:1::2"]);
        cloud.port(&finance, &network, json!({})).await.neutron(409, "IpAddressGenerationFailure");
        // What is asked for again is kept, the rest goes back.
        assert_eq!(moved(&cloud, &finance, &second, json!([{"subnet_id": v4["id"]}])).await, ["10.0.0.3"]);
        assert_eq!(moved(&cloud, &finance, &second, json!([{"ip_address": "fd00:0:0:1::7"}])).await, ["fd00:0:0:1::7"]);
        assert_eq!(addresses(&port(&cloud, &finance, &network, json!({})).await), ["10.0.0.3", "fd00:0:0:1::1"]);
        cloud.delete(&finance, &format!("{V2}/ports/{}", id(&first))).await.expect(204);
        assert_eq!(addresses(&port(&cloud, &finance, &network, json!({})).await), ["10.0.0.2", "fd00:0:0:1::3"]);
    });
}

#[test]
fn addresses_that_ports_compute() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.admin.clone();
        let network = cloud.network(&finance, "blue").await;
        let early = port(&cloud, &finance, &network, json!({"mac_address": "52:54:00:00:00:01"})).await;
        let slaac =
            |n: u8| json!({"ip_version": 6, "cidr": format!("fd00:0:0:{n:x}::/64"), "ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac"});
        let one = subnet(&cloud, &finance, &network, slaac(1)).await;
        let shown = async |it: &Value| cloud.get(&finance, &format!("{V2}/ports/{}", id(it))).await.expect(200)["port"].take();
        let early = shown(&early).await;
        assert_eq!(addresses(&early), [eui64(1, "52:54:00:00:00:01")], "a port that was there");
        assert_eq!(early["revision_number"], 2);
        // Two at once: the port is changed twice in one request.
        let many: Vec<Value> = [slaac(2), slaac(3)]
            .into_iter()
            .map(|mut it| {
                it["network_id"] = network["id"].clone();
                it
            })
            .collect();
        cloud.post(&finance, &format!("{V2}/subnets"), json!({ "subnets": many })).await.expect(201);
        let mac = "52:54:00:00:00:02";
        let late = port(&cloud, &finance, &network, json!({"mac_address": mac, "fixed_ips": []})).await;
        assert_eq!(addresses(&late), [eui64(1, mac), eui64(2, mac), eui64(3, mac)], "whether asked for or not");
        assert_eq!(addresses(&shown(&early).await).len(), 3);
        let other = json!({"fixed_ips": [{"subnet_id": one["id"], "ip_address": "fd00:0:0:1::5"}]});
        cloud.port(&finance, &network, other).await.neutron(400, "AllocationOnAutoAddressSubnet");
        // They follow the MAC address, and leave when told to.
        let (path, mac) = (format!("{V2}/ports/{}", id(&late)), "52:54:00:00:00:03");
        let after = cloud.put(&finance, &path, json!({"port": {"mac_address": mac}})).await;
        assert_eq!(addresses(&after.expect(200)["port"]), [eui64(1, mac), eui64(2, mac), eui64(3, mac)]);
        let less = moved(&cloud, &finance, &late, json!([{"subnet_id": one["id"], "delete_subnet": true}])).await;
        assert_eq!(less, [eui64(2, mac), eui64(3, mac)]);
        // Their subnet goes with them on it.
        cloud.delete(&finance, &format!("{V2}/subnets/{}", id(&one))).await.expect(204);
        assert_eq!(addresses(&shown(&early).await), [eui64(2, "52:54:00:00:00:01"), eui64(3, "52:54:00:00:00:01")]);
        assert!(world.store.allocations(&format!("ip:{}", id(&one))).await.unwrap().is_empty());
    });
}

#[test]
fn subnets_for_some_ports_only() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        let network = cloud.network(&admin, "blue").await;
        let dhcp = json!({"ip_version": 4, "cidr": "10.0.1.0/24", "service_types": ["network:dhcp"]});
        subnet(&cloud, &admin, &network, dhcp).await;
        cloud.port(&admin, &network, json!({})).await.neutron(409, "IpAddressGenerationFailureNoMatchingSubnet");
        subnet(&cloud, &admin, &network, json!({"ip_version": 4, "cidr": "10.0.0.0/24"})).await;
        let compute = json!({"ip_version": 4, "cidr": "10.0.2.0/24", "service_types": ["compute:nova"]});
        subnet(&cloud, &admin, &network, compute).await;
        for (owner, address) in
            [("", "10.0.0.2"), ("compute:nova", "10.0.2.2"), ("network:dhcp", "10.0.1.2"), ("compute:other", "10.0.0.3")]
        {
            let port = port(&cloud, &admin, &network, json!({"device_owner": owner})).await;
            assert_eq!(addresses(&port), [address], "{owner}");
        }
        let tenant = cloud.tenant("finance", "member").await;
        let own = cloud.network(&tenant, "own").await;
        let body = json!({"subnet": {"network_id": own["id"], "ip_version": 4, "cidr": "10.0.0.0/24", "service_types": ["compute:nova"]}});
        cloud.post(&tenant, &format!("{V2}/subnets"), body).await.expect(201);
    });
}

#[test]
fn segments_of_a_routed_network() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        let provider = json!({"name": "blue", "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 150});
        let network = cloud.post(&admin, &format!("{V2}/networks"), json!({ "network": provider })).await.expect(201)["network"].take();
        let segments = cloud.get(&admin, &format!("{V2}/segments?network_id={}", id(&network))).await.expect(200);
        let segment = segments["segments"][0]["id"].clone();
        let routed = json!({"ip_version": 4, "cidr": "10.0.0.0/24", "segment_id": segment});
        let made = subnet(&cloud, &admin, &network, routed).await;
        assert_eq!(made["segment_id"], segment);
        let plain = json!({"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.1.0.0/24"}});
        cloud.post(&admin, &format!("{V2}/subnets"), plain).await.neutron(400, "SubnetsNotAllAssociatedWithSegments");
        let change = json!({"subnet": {"segment_id": null}});
        let refused = cloud.put(&admin, &format!("{V2}/subnets/{}", id(&made)), change).await;
        refused.neutron(400, "SubnetSegmentAssociationChangeNotAllowed");
        // Where it will be is not known: no address yet, unless one is asked for.
        let waiting = port(&cloud, &admin, &network, json!({})).await;
        assert_eq!((addresses(&waiting), &waiting["ip_allocation"]), (vec![], &json!("deferred")));
        let path = format!("{V2}/ports/{}", id(&waiting));
        let placed = cloud.put(&admin, &path, json!({"port": {"binding:host_id": "rack-1"}})).await.expect(200)["port"].take();
        assert_eq!((addresses(&placed), &placed["ip_allocation"]), (vec!["10.0.0.2".to_owned()], &json!("immediate")));
        let named = port(&cloud, &admin, &network, json!({"fixed_ips": [{"subnet_id": made["id"]}]})).await;
        assert_eq!(addresses(&named), ["10.0.0.3"]);
        let at_once = port(&cloud, &admin, &network, json!({"binding:host_id": "rack-1"})).await;
        assert_eq!(addresses(&at_once), ["10.0.0.4"]);
    });
}

#[test]
fn a_thousand_at_once() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = cloud.admin.clone();
        cloud.put(&admin, &format!("{V2}/quotas/{}", admin.project), json!({"quota": {"port": -1}})).await.expect(200);
        let network = cloud.network(&admin, "blue").await;
        let subnet = subnet(&cloud, &admin, &network, json!({"ip_version": 4, "cidr": "10.0.0.0/21"})).await;
        let mut ports = vec![json!({"network_id": network["id"]}); 1000];
        ports[999]["fixed_ips"] = json!([{"ip_address": "10.0.0.2"}]);
        // The first had it already.
        cloud.post(&admin, &format!("{V2}/ports"), json!({ "ports": ports })).await.neutron(409, "IpAddressAlreadyAllocated");
        assert!(world.store.allocations(&format!("ip:{}", id(&subnet))).await.unwrap().is_empty(), "nothing is left of it");
        ports[999]["fixed_ips"] = json!([{"ip_address": "10.0.7.254"}]);
        let began = std::time::Instant::now();
        let made = cloud.post(&admin, &format!("{V2}/ports"), json!({ "ports": ports })).await.expect(201);
        println!("1000 ports in {:?}", began.elapsed());
        let all: BTreeSet<String> = made["ports"].as_array().unwrap().iter().flat_map(addresses).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.contains("10.0.3.232") && !all.contains("10.0.3.233"), "the lowest 999");
    });
}

/// What one of several clients does next.
#[derive(Clone, Debug)]
enum Act {
    /// A port with any address.
    Any,
    /// One with this address.
    This(u8),
    /// One with two.
    Two,
    /// Several ports at once.
    Bulk(u8),
    /// Another address for one of its ports.
    Move(u8),
    /// Removes one of its ports.
    Drop(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Any),
        2 => (1_u8..31).prop_map(Act::This),
        1 => Just(Act::Two),
        1 => (2_u8..5).prop_map(Act::Bulk),
        2 => any::<u8>().prop_map(Act::Move),
        3 => any::<u8>().prop_map(Act::Drop),
    ]
}

/// Does it all, one after another, and returns the ports that are left, with their addresses.
async fn client(cloud: Arc<Cloud>, token: Token, network: Value, acts: Vec<Act>) -> HashMap<String, Vec<String>> {
    let mut has: Vec<(String, Vec<String>)> = Vec::new();
    let ports = format!("{V2}/ports");
    for act in acts {
        let any = json!({"network_id": network["id"]});
        let body = match &act {
            Act::Any => json!({ "port": any }),
            Act::This(at) => json!({"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": format!("10.0.0.{at}")}]}}),
            Act::Two => {
                json!({"port": {"network_id": network["id"], "fixed_ips": [{"subnet_id": network["subnet"]}, {"subnet_id": network["subnet"]}]}})
            }
            Act::Bulk(many) => json!({"ports": vec![any; usize::from(*many)]}),
            Act::Move(at) | Act::Drop(at) => {
                if has.is_empty() {
                    continue;
                }
                let at = usize::from(*at) % has.len();
                let path = format!("{ports}/{}", has[at].0);
                if matches!(act, Act::Drop(_)) {
                    cloud.delete(&token, &path).await.expect(204);
                    has.swap_remove(at);
                } else {
                    let wanted = json!([{"ip_address": format!("10.0.0.{}", 30 - at)}]);
                    let answer = cloud.put(&token, &path, json!({"port": {"fixed_ips": wanted}})).await;
                    match answer.status {
                        200 => has[at].1 = addresses(&answer.body["port"]),
                        _ => answer.neutron(409, "IpAddressAlreadyAllocated"),
                    }
                }
                continue;
            }
        };
        let answer = cloud.post(&token, &ports, body).await;
        if answer.status != 201 {
            let kind = answer.body["NeutronError"]["type"].clone();
            assert!(kind == "IpAddressGenerationFailure" || kind == "IpAddressAlreadyAllocated", "{act:?}: {}", answer.text);
            continue;
        }
        let made = answer.body["ports"].as_array().cloned().unwrap_or_else(|| vec![answer.body["port"].clone()]);
        has.extend(made.iter().map(|it| (id(it).to_owned(), addresses(it))));
    }
    has.into_iter().collect()
}

/// On both databases, through two replicas of the API: whatever clients do at once, no address is given twice, what is held is what ports
/// have, and when all is gone nothing is held.
#[test]
fn no_address_is_given_twice_and_all_come_back() {
    let mut runner = TestRunner::new(Config { cases: 4, failure_persistence: None, ..Config::default() });
    let scripts = proptest::collection::vec(proptest::collection::vec(act(), 4..14), 4..7);
    runner
        .run(&scripts, |scripts| {
            let scripts = Arc::new(scripts);
            on_each(async |world| {
                let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
                let finance = clouds[0].tenant("finance", "member").await;
                let mut network = clouds[0].network(&finance, "blue").await;
                let subnet =
                    subnet(&clouds[0], &finance, &network, json!({"ip_version": 4, "cidr": "10.0.0.0/27", "gateway_ip": null})).await;
                network["subnet"] = subnet["id"].clone();
                let mut tasks = JoinSet::new();
                for (n, acts) in scripts.iter().enumerate() {
                    tasks.spawn(client(Arc::clone(&clouds[n % 2]), finance.clone(), network.clone(), acts.clone()));
                }
                let left: Vec<(String, Vec<String>)> = tasks.join_all().await.into_iter().flatten().collect();
                let all: Vec<&String> = left.iter().flat_map(|it| &it.1).collect();
                assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "{left:?}");
                let shown = clouds[1].get(&finance, &format!("{V2}/ports?network_id={}", id(&network))).await.expect(200);
                let shown: BTreeSet<String> = shown["ports"].as_array().unwrap().iter().flat_map(addresses).collect();
                assert_eq!(shown, all.into_iter().cloned().collect());
                let pool = format!("ip:{}", id(&subnet));
                let held: BTreeSet<String> = world.store.allocations(&pool).await.unwrap().into_iter().map(|it| it.value).collect();
                let key = |it: &String| model::net::ip_key(it.parse().unwrap());
                assert_eq!(held, shown.iter().map(key).collect());
                for (port, _) in &left {
                    clouds[0].delete(&finance, &format!("{V2}/ports/{port}")).await.expect(204);
                }
                assert!(world.store.allocations(&pool).await.unwrap().is_empty());
                // And all of them can be had again, from the lowest up.
                for at in 1..=30 {
                    let answer = clouds[at % 2].port(&finance, &network, json!({})).await;
                    assert_eq!(addresses(&answer.expect(201)["port"]), [format!("10.0.0.{at}")]);
                }
                clouds[0].port(&finance, &network, json!({})).await.neutron(409, "IpAddressGenerationFailure");
            });
            Ok(())
        })
        .unwrap();
}
