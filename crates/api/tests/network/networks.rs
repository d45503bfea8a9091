//! Networks: their attributes, their segments, whom they are for, and what keeps them.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{IdRange, NetworkSettings, PhysicalNetwork};
use model::net::NetworkType;
use serde_json::{Value, json};

use crate::V2;
use crate::support::{Cloud, Token, id, sorted};
use crate::world::{World, on_each};

fn path() -> String {
    format!("{V2}/networks")
}

fn at(network: &Value) -> String {
    format!("{V2}/networks/{}", id(network))
}

async fn made(cloud: &Cloud, who: &Token, network: Value) -> Value {
    cloud.post(who, &path(), json!({ "network": network })).await.expect(201)["network"].take()
}

async fn change(cloud: &Cloud, who: &Token, network: &Value, to: Value) -> crate::support::Answer {
    cloud.put(who, &at(network), json!({ "network": to })).await
}

/// A cloud whose networks lie on the fabric, then on another physical network, then on tunnels.
async fn wide(world: &World) -> Cloud {
    let range = |first, last| IdRange { first, last };
    let settings = NetworkSettings {
        tenant_network_types: vec![NetworkType::Vlan, NetworkType::Vxlan],
        physical_networks: vec![PhysicalNetwork { name: "physnet2".into(), vlan_ranges: vec![range(300, 300), range(310, 310)] }],
        flat_networks: vec!["public".into()],
        vxlan_ids: range(1000, 1001),
        ..NetworkSettings::default()
    };
    Cloud::with_networks(world, (100, 101), settings).await
}

#[test]
fn what_a_network_is() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = made(&cloud, &finance, json!({"name": "blue", "dns_domain": "Blue.Example."})).await;
        let wanted = json!({
            "name": "blue", "description": "", "admin_state_up": true, "status": "ACTIVE", "shared": false, "router:external": false,
            "mtu": 1500, "port_security_enabled": true, "project_id": finance.project, "tenant_id": finance.project, "subnets": [],
            "tags": [], "revision_number": 1, "dns_domain": "blue.example.", "qos_policy_id": null, "is_default": false,
            "availability_zone_hints": [], "availability_zones": [], "ipv4_address_scope": null, "ipv6_address_scope": null,
            "l2_adjacency": true, "vlan_transparent": null,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&network[key], value, "{key}");
        }
        assert!(network.as_object().unwrap().keys().all(|it| !it.starts_with("provider:") && it != "segments"), "{network}");
        let seen = cloud.get(&cloud.admin, &at(&network)).await.expect(200)["network"].take();
        assert_eq!((&seen["provider:network_type"], &seen["provider:physical_network"]), (&json!("vlan"), &json!("physnet1")));
        assert_eq!((&seen["provider:segmentation_id"], seen.get("segments")), (&json!(100), None));

        for (wrong, status, kind) in [
            (json!({"mtu": 1501}), 400, "InvalidInput"),
            (json!({"mtu": -1}), 400, "HTTPBadRequest"),
            (json!({"dns_domain": "-a"}), 400, "HTTPBadRequest"),
            (json!({"dns_domain": "a..b."}), 400, "HTTPBadRequest"),
            (json!({"dns_domain": "a.b"}), 400, "HTTPBadRequest"),
            (json!({"dns_domain": null}), 400, "HTTPBadRequest"),
            (json!({"qos_policy_id": "zz"}), 400, "HTTPBadRequest"),
            (json!({"vlan_transparent": true}), 400, "VlanTransparencyDriverError"),
            (json!({"availability_zone_hints": ["nowhere"]}), 404, "AvailabilityZoneNotFound"),
            (json!({"availability_zone_hints": ["a", "a"]}), 400, "HTTPBadRequest"),
            (json!({"qos_policy_id": "11111111-1111-1111-1111-111111111111"}), 404, "QosPolicyNotFound"),
            (json!({"shared": "perhaps"}), 400, "HTTPBadRequest"),
            (json!({"status": "DOWN"}), 400, "HTTPBadRequest"),
            (json!({"colour": "blue"}), 400, "HTTPBadRequest"),
            (json!({"shared": true}), 403, "PolicyNotAuthorized"),
            (json!({"router:external": true}), 403, "PolicyNotAuthorized"),
            (json!({"is_default": true}), 403, "PolicyNotAuthorized"),
            (json!({"segments": []}), 403, "PolicyNotAuthorized"),
            (json!({"provider:network_type": "vlan"}), 403, "PolicyNotAuthorized"),
        ] {
            cloud.post(&finance, &path(), json!({ "network": wrong })).await.neutron(status, kind);
        }
        // What is the default anyhow is no choice.
        made(&cloud, &finance, json!({"shared": false, "router:external": false, "is_default": false})).await;

        let changed =
            change(&cloud, &finance, &network, json!({"name": "red", "mtu": 1400, "description": "d"})).await.expect(200)["network"].take();
        assert_eq!((&changed["name"], &changed["mtu"], &changed["revision_number"]), (&json!("red"), &json!(1400), &json!(2)));
        let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        change(&cloud, &finance, &network, json!({"mtu": 67})).await.neutron(409, "NetworkMTUSubnetConflict");
        change(&cloud, &finance, &network, json!({"mtu": 68})).await.expect(200);
        let seen = change(&cloud, &finance, &network, json!({"mtu": 0})).await.expect(200)["network"].take();
        assert_eq!((&seen["mtu"], &seen["subnets"]), (&json!(1500), &json!([id(&subnet)])));
        for (wrong, kind) in
            [(json!({"provider:physical_network": "x"}), "PolicyNotAuthorized"), (json!({"shared": true}), "PolicyNotAuthorized")]
        {
            change(&cloud, &finance, &network, wrong).await.neutron(403, kind);
        }
        let listed = cloud.get(&finance, &format!("{}?mtu=1500&name=red&fields=id&fields=subnets", path())).await.expect(200);
        assert_eq!(listed["networks"], json!([{"id": id(&network), "subnets": [id(&subnet)]}]));
    });
}

#[test]
fn segments_of_every_type() {
    on_each(async |world| {
        let cloud = wide(world).await;
        let admin = &cloud.admin;
        let of = |kind: &str, place: Option<&str>, number: Option<u32>| {
            let mut network = json!({"provider:network_type": kind});
            for (name, value) in [("physical_network", json!(place)), ("segmentation_id", json!(number))] {
                if !value.is_null() {
                    network[format!("provider:{name}")] = value;
                }
            }
            network
        };
        for (network, place, number, mtu) in [
            (of("vlan", None, None), json!("physnet1"), json!(100), 1500),
            (of("vlan", Some("physnet2"), None), json!("physnet2"), json!(300), 1500),
            (of("vlan", Some("physnet2"), Some(4000)), json!("physnet2"), json!(4000), 1500),
            (of("vlan", Some("physnet1"), Some(3000)), json!("physnet1"), json!(3000), 1500),
            (of("vxlan", None, None), json!(null), json!(1000), 1450),
            (of("vxlan", None, Some(77)), json!(null), json!(77), 1450),
            (of("geneve", None, None), json!(null), json!(1), 1442),
            (of("geneve", None, Some(77)), json!(null), json!(77), 1442),
            (of("flat", Some("public"), None), json!("public"), json!(null), 1500),
            (of("local", None, None), json!(null), json!(null), 1500),
        ] {
            let it = made(&cloud, admin, network.clone()).await;
            assert_eq!((&it["provider:physical_network"], &it["provider:segmentation_id"]), (&place, &number), "{network}");
            assert_eq!((&it["provider:network_type"], &it["mtu"]), (&network["provider:network_type"], &json!(mtu)), "{network}");
        }
        for (network, status, kind) in [
            (of("vlan", Some("physnet2"), Some(4000)), 409, "VlanIdInUse"),
            (of("vxlan", None, Some(77)), 409, "TunnelIdInUse"),
            (of("flat", Some("public"), None), 409, "FlatNetworkInUse"),
            (of("flat", Some("other"), None), 400, "InvalidInput"),
            (of("flat", None, None), 400, "InvalidInput"),
            (of("flat", Some("public"), Some(5)), 400, "InvalidInput"),
            (of("local", None, Some(5)), 400, "InvalidInput"),
            (of("local", Some("physnet1"), None), 400, "InvalidInput"),
            (of("vxlan", Some("physnet1"), None), 400, "InvalidInput"),
            (of("vxlan", None, Some(1 << 24)), 400, "InvalidInput"),
            (of("vlan", Some("elsewhere"), None), 400, "InvalidInput"),
            (of("vlan", None, Some(150)), 400, "InvalidInput"),
            (of("vlan", Some("physnet1"), Some(0)), 400, "InvalidInput"),
            (of("vlan", Some("physnet1"), Some(4095)), 400, "InvalidInput"),
            (of("vlan", Some("physnet1"), Some(4094)), 400, "InvalidInput"),
            (of("gre", None, None), 400, "InvalidInput"),
            (json!({"provider:segmentation_id": 150}), 400, "InvalidInput"),
            (json!({"provider:network_type": "vxlan", "mtu": 1451}), 400, "InvalidInput"),
            (
                json!({"provider:network_type": "vxlan", "segments": [of("vxlan", None, None)]}),
                400,
                "SegmentsSetInConjunctionWithProviders",
            ),
            (json!({"segments": [of("vxlan", None, Some(5)), of("vxlan", None, Some(5))]}), 400, "SegmentsContainDuplicateEntry"),
            (json!({"segments": [{"provider:network_type": "vxlan", "colour": "red"}]}), 400, "HTTPBadRequest"),
        ] {
            cloud.post(admin, &path(), json!({ "network": network })).await.neutron(status, kind);
        }
        let twice = json!({"networks": [of("vlan", Some("physnet1"), Some(150)), of("vlan", Some("physnet1"), Some(150))]});
        cloud.post(admin, &path(), twice).await.neutron(409, "VlanIdInUse");
        let several = made(&cloud, admin, json!({"segments": [of("geneve", None, None), of("vlan", Some("physnet2"), None)]})).await;
        assert_eq!(
            several["segments"][1],
            json!({"provider:network_type": "vlan", "provider:physical_network": "physnet2", "provider:segmentation_id": 310})
        );
        assert_eq!((several.get("provider:network_type"), &several["mtu"]), (None, &json!(1442)));

        // The fabric's last, then tunnels, until none is left.
        for (kind, number) in [("vlan", 101), ("vxlan", 1001)] {
            let it = made(&cloud, admin, json!({})).await;
            assert_eq!((&it["provider:network_type"], &it["provider:segmentation_id"]), (&json!(kind), &json!(number)));
        }
        cloud.post(admin, &path(), json!({"network": {}})).await.neutron(503, "NoNetworkAvailable");
        let by_number = cloud.get(admin, &format!("{}?provider:segmentation_id=77&provider:network_type=geneve", path())).await.expect(200);
        assert_eq!(by_number["networks"].as_array().unwrap().len(), 1);
        // What is on no switch of ours is free at once.
        let tunnel = cloud.get(admin, &format!("{}?provider:segmentation_id=1001", path())).await.expect(200)["networks"][0].take();
        cloud.delete(admin, &at(&tunnel)).await.expect(204);
        assert_eq!(made(&cloud, admin, json!({})).await["provider:segmentation_id"], 1001);
    });
}

#[test]
fn a_vlan_is_changed() {
    on_each(async |world| {
        let cloud = wide(world).await;
        let admin = &cloud.admin;
        let network = made(&cloud, admin, json!({"provider:network_type": "vlan", "provider:physical_network": "physnet2"})).await;
        let to = |number: u32| json!({"provider:segmentation_id": number});
        let changed = change(&cloud, admin, &network, to(333)).await.expect(200)["network"].take();
        assert_eq!(changed["provider:segmentation_id"], 333);
        let segment = cloud.get(admin, &format!("{V2}/segments?network_id={}", id(&network))).await.expect(200)["segments"][0].take();
        assert_eq!(segment["segmentation_id"], 333);
        assert!(world.store.allocation("vlan:physnet2", "0300").await.unwrap().is_none(), "free again");
        change(&cloud, admin, &network, to(333)).await.expect(200);
        for (wrong, kind) in [
            (to(4095), "InvalidInput"),
            (json!({"provider:physical_network": "physnet1"}), "InvalidInput"),
            (json!({"provider:network_type": "vxlan"}), "InvalidInput"),
        ] {
            change(&cloud, admin, &network, wrong).await.neutron(400, kind);
        }

        // What was on the fabric stays taken: only reading the switches frees it.
        let network = made(&cloud, admin, json!({})).await;
        let port = cloud.port(admin, &network, json!({})).await.expect(201)["port"].take();
        change(&cloud, admin, &network, to(200)).await.neutron(400, "InvalidInput");
        cloud.delete(admin, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        change(&cloud, admin, &network, to(200)).await.expect(200);
        let held = world.store.allocations("vlan:physnet1").await.unwrap();
        assert_eq!(held.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["0100", "0200"]);
        let tunnel = made(&cloud, admin, json!({"provider:network_type": "vxlan"})).await;
        change(&cloud, admin, &tunnel, to(200)).await.neutron(400, "InvalidInput");
    });
}

#[test]
fn external_and_default() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (admin, finance) = (&cloud.admin, cloud.tenant("finance", "member").await);
        let first = made(&cloud, admin, json!({"name": "out", "router:external": true, "is_default": true})).await;
        assert_eq!((&first["router:external"], &first["is_default"], &first["shared"]), (&json!(true), &json!(true), &json!(false)));
        let seen = cloud.get(&finance, &format!("{}?router:external=True", path())).await.expect(200);
        assert_eq!(sorted(&seen["networks"], "name"), ["out"]);
        assert_eq!(cloud.get(&finance, &format!("{}?router:external=False", path())).await.expect(200)["networks"], json!([]));
        change(&cloud, &finance, &first, json!({"name": "mine"})).await.neutron(403, "PolicyNotAuthorized");
        cloud
            .post(admin, &path(), json!({"network": {"router:external": true, "is_default": true}}))
            .await
            .neutron(409, "DefaultExternalNetworkExists");
        let second = made(&cloud, admin, json!({"router:external": true})).await;
        change(&cloud, admin, &second, json!({"is_default": true})).await.neutron(409, "DefaultExternalNetworkExists");
        change(&cloud, admin, &first, json!({"is_default": false})).await.expect(200);
        change(&cloud, admin, &second, json!({"is_default": true})).await.expect(200);
        // One that is not external cannot be the default external one.
        let inner = made(&cloud, admin, json!({"is_default": true})).await;
        assert_eq!(inner["is_default"], false);
        let before = cloud.get(admin, &at(&first)).await.expect(200)["network"]["revision_number"].as_i64().unwrap();
        let after = change(&cloud, admin, &first, json!({"router:external": false})).await.expect(200)["network"].take();
        assert_eq!((&after["router:external"], after["revision_number"].as_i64()), (&json!(false), Some(before + 1)));
        cloud.get(&finance, &at(&first)).await.neutron(404, "NetworkNotFound");
        assert_eq!(cloud.get(admin, &format!("{V2}/rbac-policies?object_id={}", id(&first))).await.expect(200)["rbac_policies"], json!([]));
        cloud.delete(admin, &at(&second)).await.expect(204);
        change(&cloud, admin, &first, json!({"router:external": true, "is_default": true})).await.expect(200);
        assert_eq!(cloud.get(&finance, &at(&first)).await.expect(200)["network"]["is_default"], true);
    });
}

#[test]
fn sharing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let network = made(&cloud, &finance, json!({"name": "blue"})).await;
        cloud.get(&medical, &at(&network)).await.neutron(404, "NetworkNotFound");
        change(&cloud, &medical, &network, json!({"name": "mine"})).await.neutron(404, "NetworkNotFound");
        cloud.delete(&medical, &at(&network)).await.neutron(404, "NetworkNotFound");
        let shared = change(&cloud, &cloud.admin, &network, json!({"shared": true})).await.expect(200)["network"].take();
        assert_eq!((&shared["shared"], &shared["revision_number"]), (&json!(true), &json!(2)));
        let seen = cloud.get(&medical, &format!("{}?shared=true", path())).await.expect(200);
        assert_eq!(sorted(&seen["networks"], "name"), ["blue"]);
        change(&cloud, &medical, &network, json!({"name": "mine"})).await.neutron(403, "PolicyNotAuthorized");
        let port = cloud.port(&medical, &network, json!({})).await.expect(201)["port"].take();
        let back = json!({"shared": false});
        change(&cloud, &cloud.admin, &network, back.clone()).await.neutron(409, "InvalidSharedSetting");
        cloud.delete(&medical, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        change(&cloud, &cloud.admin, &network, back).await.expect(200);
        cloud.get(&medical, &at(&network)).await.neutron(404, "NetworkNotFound");
        // With one project alone.
        let policy =
            json!({"object_type": "network", "object_id": id(&network), "action": "access_as_shared", "target_tenant": medical.project});
        cloud.post(&finance, &format!("{V2}/rbac-policies"), json!({ "rbac_policy": policy })).await.expect(201);
        assert_eq!(cloud.get(&medical, &at(&network)).await.expect(200)["network"]["shared"], true);
        assert_eq!(cloud.get(&finance, &at(&network)).await.expect(200)["network"]["shared"], false);
    });
}

#[test]
fn what_keeps_a_network() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let finance = cloud.tenant("finance", "member").await;
        let network = made(&cloud, &finance, json!({})).await;
        let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        let refused = cloud.delete(&finance, &at(&network)).await;
        assert!(refused.text.contains(id(&port)), "{}", refused.text);
        refused.neutron(409, "NetworkInUse");
        cloud.delete(&finance, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        // The ports of its own services go with it.
        cloud.port(&cloud.admin, &network, json!({"device_owner": "network:dhcp"})).await.expect(201);
        cloud.delete(&finance, &at(&network)).await.expect(204);
        cloud.get(&finance, &format!("{V2}/subnets/{}", id(&subnet))).await.neutron(404, "SubnetNotFound");
        assert_eq!(cloud.get(&cloud.admin, &format!("{V2}/ports")).await.expect(200)["ports"], json!([]));
        assert_eq!(cloud.get(&cloud.admin, &format!("{V2}/segments")).await.expect(200)["segments"], json!([]));
        cloud.delete(&finance, &at(&network)).await.neutron(404, "NetworkNotFound");

        // Deleting it and using it at once: one of the two gets through, and nothing is left half way.
        for round in 0..12 {
            let network = made(&cloud, &finance, json!({})).await;
            let port = async {
                tokio::time::sleep(std::time::Duration::from_micros(round * 300)).await;
                cloud.port(&finance, &network, json!({})).await
            };
            let one = at(&network);
            let (deleted, port) = tokio::join!(cloud.delete(&finance, &one), port);
            match (deleted.status, port.status) {
                (204, 404) => cloud.get(&finance, &one).await.neutron(404, "NetworkNotFound"),
                (409, 201) => drop(cloud.get(&finance, &one).await.expect(200)),
                other => panic!("on {}, round {round}: {other:?}", world.name()),
            }
        }
    });
}

#[test]
fn many_at_once_share_no_segment() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::with_vlans(world, (100, 129)).await);
        let admin = cloud.admin.clone();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..16 {
            let (cloud, admin) = (Arc::clone(&cloud), admin.clone());
            // Some ask for what others are given.
            let two = json!({"networks": [{}, {"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 100 + n}]});
            let body = if n % 2 == 0 { json!({"networks": [{}, {}]}) } else { two };
            tasks.spawn(async move { cloud.post(&admin, &format!("{V2}/networks"), body).await });
        }
        let answers = tasks.join_all().await;
        let fits = |kind: &Value| kind == "NoNetworkAvailable" || kind == "VlanIdInUse";
        assert!(answers.iter().all(|it| it.status == 201 || fits(&it.body["NeutronError"]["type"])), "{answers:?}");
        let listed = cloud.get(&cloud.admin, &path()).await.expect(200)["networks"].take();
        let listed = listed.as_array().unwrap();
        let vlans: BTreeSet<u64> = listed.iter().map(|it| it["provider:segmentation_id"].as_u64().unwrap()).collect();
        assert_eq!(vlans.len(), listed.len());
        let held = world.store.allocations("vlan:physnet1").await.unwrap();
        assert_eq!(held.len(), listed.len(), "what was refused holds nothing");
    });
}
