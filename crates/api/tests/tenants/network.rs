//! Networks and their VLANs.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::net::Network;
use model::{Id, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Facts};

use crate::support::{Cloud, id, sorted};
use crate::world::{World, on_each};

const NETWORKS: &str = "/network/v2.0/networks";

/// A batch of the engine's side, under a lease on some piece of work.
async fn facts(world: &World) -> Batch<Facts> {
    let wish = Batch::wishes().wake_named("test", &Id::<()>::random().to_string());
    world.store.apply(wish).await.unwrap();
    loop {
        let claim = world.store.claim("a test", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
        if claim.kind == "test" {
            return Batch::facts(&claim);
        }
    }
}

/// What the engine does once every switch was read back without the VLAN.
async fn release(world: &World, vlan: &str) {
    world.store.apply(facts(world).await.free("vlan:physnet1", vlan)).await.unwrap();
}

#[test]
fn a_life() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let made = cloud.network(&finance, "blue").await;
        for (key, value) in [
            ("name", json!("blue")),
            ("description", json!("")),
            ("admin_state_up", json!(true)),
            ("status", json!("ACTIVE")),
            ("shared", json!(false)),
            ("router:external", json!(false)),
            ("mtu", json!(1500)),
            ("port_security_enabled", json!(true)),
            ("project_id", json!(finance.project)),
            ("tenant_id", json!(finance.project)),
            ("revision_number", json!(1)),
            ("tags", json!([])),
            ("subnets", json!([])),
        ] {
            assert_eq!(made[key], value, "{key}");
        }
        assert_eq!(made["created_at"].as_str().unwrap().len(), "2026-11-21T10:49:00Z".len());
        assert_eq!(made["created_at"], made["updated_at"]);
        assert!(made.as_object().unwrap().keys().all(|key| !key.starts_with("provider:")), "tenants do not see segments: {made}");
        let one = format!("{NETWORKS}/{}", id(&made));
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["network"], made);
        let seen = cloud.get(&cloud.admin, &one).await.expect(200)["network"].take();
        assert_eq!(
            (&seen["provider:network_type"], &seen["provider:physical_network"], &seen["provider:segmentation_id"]),
            (&json!("vlan"), &json!("physnet1"), &json!(100))
        );
        let change = json!({"network": {"name": "green", "description": "d", "admin_state_up": false, "mtu": 1400}});
        let changed = cloud.put(&finance, &one, change).await.expect(200)["network"].take();
        assert_eq!((&changed["name"], &changed["mtu"], &changed["revision_number"]), (&json!("green"), &json!(1400), &json!(2)));
        let subnet = cloud.subnet(&finance, &made, "10.0.0.0/24").await;
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["network"]["subnets"], json!([id(&subnet)]));
        assert_eq!(cloud.get(&finance, &format!("{NETWORKS}?fields=subnets")).await.expect(200)["networks"], json!([{"subnets": [id(&subnet)]}]));

        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "NetworkNotFound");
        cloud.put(&finance, &one, json!({"network": {"name": "x"}})).await.neutron(404, "NetworkNotFound");
        cloud.delete(&finance, &one).await.neutron(404, "NetworkNotFound");
        cloud.get(&finance, &format!("/network/v2.0/subnets/{}", id(&subnet))).await.neutron(404, "SubnetNotFound");
        assert_eq!(cloud.get(&cloud.admin, NETWORKS).await.expect(200)["networks"], json!([]));
        // It is there for the engine until its VLAN is proven gone.
        let left = world.store.get::<Network>(&Id::parse(id(&made)).unwrap()).await.unwrap().unwrap();
        assert!(left.is_deleting());
        assert!(world.store.allocation("vlan:physnet1", "0100").await.unwrap().is_some());
    });
}

#[test]
fn bad_input_changes_nothing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        let one = format!("{NETWORKS}/{}", id(&network));
        for body in [json!({}), json!([]), json!({"network": []}), json!({"subnet": {}}), json!({"networks": []}), json!({"networks": {}}), json!({"networks": [7]})] {
            cloud.post(&finance, NETWORKS, body).await.neutron(400, "HTTPBadRequest");
        }
        for attributes in [
            json!({"colour": "red"}),
            json!({"id": "x"}),
            json!({"status": "DOWN"}),
            json!({"subnets": []}),
            json!({"name": 7}),
            json!({"name": "a\0b"}),
            json!({"name": "x".repeat(256)}),
            json!({"admin_state_up": "perhaps"}),
            json!({"mtu": -1}),
            json!({"mtu": 9000}),
            json!({"mtu": 67}),
            json!({"mtu": "large"}),
            json!({"project_id": finance.project, "tenant_id": "other"}),
            json!({"project_id": "a/b"}),
            json!({"project_id": null}),
        ] {
            cloud.post(&finance, NETWORKS, json!({"network": attributes})).await.neutron(400, "HTTPBadRequest");
        }
        for attributes in [
            json!({"provider:network_type": "vxlan"}),
            json!({"provider:physical_network": "elsewhere"}),
            json!({"provider:segmentation_id": 0}),
            json!({"provider:segmentation_id": 4095}),
            json!({"provider:segmentation_id": 4094}),
            json!({"provider:segmentation_id": "a"}),
            json!({"shared": "perhaps"}),
        ] {
            cloud.post(&cloud.admin, NETWORKS, json!({"network": attributes})).await.neutron(400, "HTTPBadRequest");
        }
        for attributes in [json!({"shared": true}), json!({"router:external": true}), json!({"provider:segmentation_id": 150}), json!({"project_id": cloud.admin.project})] {
            cloud.post(&finance, NETWORKS, json!({"network": attributes})).await.neutron(403, "PolicyNotAuthorized");
        }
        for attributes in [json!({"colour": "red"}), json!({"id": "x"}), json!({"project_id": "x"}), json!({"revision_number": 7}), json!({"mtu": 1}), json!({"name": {}})] {
            cloud.put(&finance, &one, json!({"network": attributes})).await.neutron(400, "HTTPBadRequest");
        }
        cloud.put(&cloud.admin, &one, json!({"network": {"provider:segmentation_id": 150}})).await.neutron(400, "HTTPBadRequest");
        cloud.put(&finance, &one, json!({"network": {"shared": true}})).await.neutron(403, "PolicyNotAuthorized");
        for path in ["none", "%00", "%ff", "a%2Fb", "%E2%82%AC"] {
            let answer = cloud.get(&finance, &format!("{NETWORKS}/{path}")).await;
            assert!([400, 404].contains(&answer.status) && answer.body["NeutronError"].is_object(), "{path}: {}", answer.text);
        }
        assert_eq!(cloud.get(&cloud.admin, NETWORKS).await.expect(200)["networks"].as_array().unwrap().len(), 1);
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["network"], network);
        assert_eq!(world.store.allocations("vlan:physnet1").await.unwrap().len(), 1);
    });
}

#[test]
fn administrators_choose_segments() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let attributes = json!({
            "name": "given", "tenant_id": project, "shared": true,
            "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 2000,
        });
        let made = cloud.post(&cloud.admin, NETWORKS, json!({"network": attributes})).await.expect(201)["network"].take();
        assert_eq!((&made["provider:segmentation_id"], &made["project_id"], &made["shared"]), (&json!(2000), &json!(project), &json!(true)));
        cloud.post(&cloud.admin, NETWORKS, json!({"network": attributes})).await.neutron(409, "VlanIdInUse");
        let found = cloud.get(&cloud.admin, &format!("{NETWORKS}?provider:segmentation_id=2000")).await.expect(200);
        assert_eq!(sorted(&found["networks"], "name"), ["given"]);
    });
}

#[test]
fn a_vlan_in_quarantine_is_not_given_out() {
    on_each(async |world| {
        let cloud = Cloud::with_vlans(world, (100, 102)).await;
        let finance = cloud.tenant("finance", "member").await;
        let body = json!({"networks": [{"name": "a"}, {"network": {"name": "b"}}, {"name": "c"}]});
        let made = cloud.post(&finance, NETWORKS, body).await.expect(201)["networks"].take();
        assert_eq!(sorted(&made, "name"), ["a", "b", "c"]);
        let create = async || cloud.post(&finance, NETWORKS, json!({"network": {"name": "d"}})).await;
        create().await.neutron(503, "NoNetworkAvailable");
        cloud.post(&finance, NETWORKS, json!({"networks": [{}, {}]})).await.neutron(503, "NoNetworkAvailable");

        // Deleted, then let go of by the engine but not yet proven gone, then proven.
        let gone = made.as_array().unwrap().iter().find(|it| it["name"] == "b").unwrap();
        cloud.delete(&finance, &format!("{NETWORKS}/{}", id(gone))).await.expect(204);
        create().await.neutron(503, "NoNetworkAvailable");
        let held = world.store.allocations("vlan:physnet1").await.unwrap();
        let vlan = held.iter().find(|it| it.holder == id(gone)).unwrap().value.clone();
        world.store.apply(facts(world).await.quarantine("vlan:physnet1", &vlan, Timestamp::now())).await.unwrap();
        create().await.neutron(503, "NoNetworkAvailable");
        let number: u16 = vlan.parse().unwrap();
        let given = json!({"network": {"provider:segmentation_id": number}});
        cloud.post(&cloud.admin, NETWORKS, given).await.neutron(409, "VlanIdInUse");
        release(world, &vlan).await;
        let new = create().await.expect(201)["network"].take();
        let seen = cloud.get(&cloud.admin, &format!("{NETWORKS}/{}", id(&new))).await.expect(200);
        assert_eq!(seen["network"]["provider:segmentation_id"], number);
    });
}

#[test]
fn thirty_at_once_share_no_vlan() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::with_vlans(world, (100, 129)).await);
        let finance = cloud.tenant("finance", "member").await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..32 {
            let (cloud, finance) = (Arc::clone(&cloud), finance.clone());
            tasks.spawn(async move { cloud.post(&finance, NETWORKS, json!({"network": {"name": format!("n{n}")}})).await });
        }
        let answers = tasks.join_all().await;
        assert!(answers.iter().all(|it| it.status == 201 || it.body["NeutronError"]["type"] == "NoNetworkAvailable"), "{answers:?}");
        let listed = cloud.get(&cloud.admin, NETWORKS).await.expect(200)["networks"].take();
        let vlans: BTreeSet<u64> = listed.as_array().unwrap().iter().map(|it| it["provider:segmentation_id"].as_u64().unwrap()).collect();
        assert_eq!(vlans, (100..=129).collect(), "every VLAN once");
        assert_eq!(listed.as_array().unwrap().len(), 30);
    });
}

#[test]
fn what_belongs_to_others_does_not_exist() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let medical = cloud.tenant("medical", "member").await;
        let reader = cloud.tenant("audit", "reader").await;
        let network = cloud.network(&finance, "blue").await;
        let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        let network = cloud.get(&finance, &format!("{NETWORKS}/{}", id(&network))).await.expect(200)["network"].take();
        for (plural, object, kind) in [("networks", &network, "Network"), ("subnets", &subnet, "Subnet"), ("ports", &port, "Port")] {
            let singular = plural.trim_end_matches('s');
            let one = format!("/network/v2.0/{plural}/{}", id(object));
            let missing = format!("{kind}NotFound");
            for who in [&medical, &reader] {
                cloud.get(who, &one).await.neutron(404, &missing);
                cloud.put(who, &one, json!({singular: {"name": "x"}})).await.neutron(404, &missing);
                cloud.delete(who, &one).await.neutron(404, &missing);
                for filter in ["", "?name=", &format!("?id={}", id(object)), &format!("?project_id={}", finance.project)] {
                    let found = cloud.get(who, &format!("/network/v2.0/{plural}{filter}")).await.expect(200);
                    assert_eq!(found[plural], json!([]), "{plural}{filter}");
                }
            }
            assert_eq!(cloud.get(&finance, &one).await.expect(200)[singular], *object);
            assert_eq!(cloud.get(&cloud.admin, &one).await.expect(200)[singular]["id"], object["id"]);
        }
        cloud.port(&medical, &network, json!({})).await.neutron(404, "NetworkNotFound");
        let body = json!({"subnet": {"network_id": id(&network), "ip_version": 4, "cidr": "10.1.0.0/24"}});
        cloud.post(&medical, "/network/v2.0/subnets", body).await.neutron(404, "NetworkNotFound");
        let own = cloud.network(&medical, "blue").await;
        let fixed = json!({"fixed_ips": [{"subnet_id": id(&subnet)}]});
        cloud.port(&medical, &own, fixed).await.neutron(400, "HTTPBadRequest");
        // Both have the same addresses: what is unique is so within a network.
        cloud.subnet(&medical, &own, "10.0.0.0/24").await;

        // Readers read, of their own project.
        let audited = json!({"network": {"name": "audited", "project_id": reader.project}});
        let audited = cloud.post(&cloud.admin, NETWORKS, audited).await.expect(201)["network"].take();
        let one = format!("{NETWORKS}/{}", id(&audited));
        cloud.get(&reader, &one).await.expect(200);
        cloud.put(&reader, &one, json!({"network": {"name": "x"}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&reader, &one).await.neutron(403, "PolicyNotAuthorized");
        cloud.post(&reader, NETWORKS, json!({"network": {}})).await.neutron(403, "PolicyNotAuthorized");
    });
}

#[test]
fn shared_networks() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let medical = cloud.tenant("medical", "member").await;
        let network = cloud.post(&cloud.admin, NETWORKS, json!({"network": {"name": "all", "shared": true}})).await.expect(201)["network"].take();
        let subnet = cloud.subnet(&cloud.admin, &network, "10.9.0.0/24").await;
        let one = format!("{NETWORKS}/{}", id(&network));
        let seen = cloud.get(&medical, &one).await.expect(200)["network"].take();
        assert!(seen.get("provider:segmentation_id").is_none() && seen["subnets"] == json!([id(&subnet)]));
        cloud.get(&medical, &format!("/network/v2.0/subnets/{}", id(&subnet))).await.expect(200);
        assert_eq!(cloud.get(&medical, "/network/v2.0/subnets").await.expect(200)["subnets"].as_array().unwrap().len(), 1);
        cloud.put(&medical, &one, json!({"network": {"name": "mine"}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&medical, &one).await.neutron(403, "PolicyNotAuthorized");
        let body = json!({"subnet": {"network_id": id(&network), "ip_version": 4, "cidr": "10.8.0.0/24"}});
        cloud.post(&medical, "/network/v2.0/subnets", body).await.neutron(403, "PolicyNotAuthorized");
        for attributes in [json!({"mac_address": "52:54:00:00:00:01"}), json!({"fixed_ips": [{"ip_address": "10.9.0.9"}]}), json!({"device_owner": "network:dhcp"})] {
            cloud.port(&medical, &network, attributes).await.neutron(403, "PolicyNotAuthorized");
        }
        let port = cloud.port(&medical, &network, json!({})).await.expect(201)["port"].take();
        let path = format!("/network/v2.0/ports/{}", id(&port));
        cloud.put(&medical, &path, json!({"port": {"fixed_ips": []}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.put(&medical, &path, json!({"port": {"name": "mine"}})).await.expect(200);
        let unshare = json!({"network": {"shared": false}});
        cloud.put(&cloud.admin, &one, unshare.clone()).await.neutron(409, "InvalidSharedSetting");
        cloud.delete(&cloud.admin, &one).await.neutron(409, "NetworkInUse");
        cloud.delete(&medical, &path).await.expect(204);
        cloud.put(&cloud.admin, &one, unshare).await.expect(200);
        cloud.get(&medical, &one).await.neutron(404, "NetworkNotFound");
    });
}

#[test]
fn what_is_listed_as_extension() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let listed = cloud.get(&cloud.admin, "/network/v2.0/extensions").await.expect(200)["extensions"].take();
        let aliases = sorted(&listed, "alias");
        for promised in ["router", "security-group", "quotas", "subnet_allocation", "port-security", "trunk"] {
            assert!(!aliases.iter().any(|it| it == promised), "{promised} does not work here");
        }
        for alias in aliases {
            let one = cloud.get(&cloud.admin, &format!("/network/v2.0/extensions/{alias}")).await.expect(200);
            assert_eq!(one["extension"]["alias"], alias);
        }
        cloud.get(&cloud.admin, "/network/v2.0/extensions/router").await.neutron(404, "ExtensionNotFound");
        let unscoped = crate::support::Token::of(&cloud.rescope(&cloud.admin, json!("unscoped")).await);
        cloud.post(&unscoped, NETWORKS, json!({"network": {}})).await.neutron(403, "PolicyNotAuthorized");
        assert_eq!(cloud.get(&unscoped, NETWORKS).await.expect(200)["networks"], Value::from(Vec::<Value>::new()));
    });
}
