//! Segments and the ranges they are taken from.

use api::{IdRange, NetworkSettings, PhysicalNetwork};
use serde_json::{Value, json};

use crate::V2;
use crate::support::{Cloud, id};
use crate::world::{World, on_each};

async fn start(world: &World) -> Cloud {
    let settings = NetworkSettings {
        physical_networks: vec![PhysicalNetwork { name: "physnet2".into(), vlan_ranges: vec![IdRange { first: 300, last: 309 }] }],
        vxlan_ids: IdRange { first: 1, last: 5 },
        ..NetworkSettings::default()
    };
    Cloud::with_networks(world, (100, 109), settings).await
}

fn named(number: u64) -> String {
    number.to_string()
}

#[test]
fn a_network_gets_another_segment() {
    on_each(async |world| {
        let cloud = start(world).await;
        let (admin, segments) = (&cloud.admin, format!("{V2}/segments"));
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        let first = cloud.get(admin, &format!("{segments}?network_id={}", id(&network))).await.expect(200)["segments"][0].take();
        let keys = ["network_type", "physical_network", "segmentation_id", "name", "description"];
        assert_eq!(keys.map(|key| first[key].clone()), [json!("vlan"), json!("physnet1"), json!(100), json!(null), json!(null)]);
        cloud.get(&finance, &format!("{segments}/{}", id(&first))).await.neutron(404, "SegmentNotFound");
        let body = |more: Value| {
            let mut body = json!({"network_id": id(&network)});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "segment": body })
        };
        cloud.post(&finance, &segments, body(json!({"network_type": "vxlan"}))).await.neutron(403, "PolicyNotAuthorized");
        for (wrong, status, kind) in [
            (json!({"network_type": "gre"}), 400, "InvalidInput"),
            (json!({}), 400, "HTTPBadRequest"),
            (json!({"network_type": "vlan", "physical_network": "x"}), 400, "InvalidInput"),
            (json!({"network_type": "vlan", "physical_network": "physnet1", "segmentation_id": 100}), 409, "VlanIdInUse"),
            // It carries less than the network promises.
            (json!({"network_type": "vxlan"}), 400, "InvalidInput"),
            (json!({"network_type": "vlan", "network_id": "11111111-1111-1111-1111-111111111111"}), 404, "NetworkNotFound"),
        ] {
            cloud.post(admin, &segments, body(wrong)).await.neutron(status, kind);
        }
        let wanted = json!({"network_type": "vlan", "physical_network": "physnet2", "name": "far", "description": "d"});
        let second = cloud.post(admin, &segments, body(wanted)).await.expect(201)["segment"].take();
        assert_eq!(keys.map(|key| second[key].clone()), [json!("vlan"), json!("physnet2"), json!(300), json!("far"), json!("d")]);
        let one = format!("{V2}/networks/{}", id(&network));
        let seen = cloud.get(admin, &one).await.expect(200)["network"].take();
        assert_eq!(
            seen["segments"].as_array().unwrap().iter().map(|it| it["provider:segmentation_id"].clone()).collect::<Vec<_>>(),
            [100, 300]
        );
        assert_eq!(seen["revision_number"], 2);

        let at = format!("{segments}/{}", id(&second));
        let changed = cloud.put(admin, &at, json!({"segment": {"name": "near"}})).await.expect(200)["segment"].take();
        assert_eq!(changed["name"], "near");
        cloud.put(admin, &at, json!({"segment": {"segmentation_id": 301}})).await.neutron(400, "HTTPBadRequest");
        let subnet = json!({"subnet": {"network_id": id(&network), "ip_version": 4, "cidr": "10.0.0.0/24", "segment_id": id(&second)}});
        let subnet = cloud.post(admin, &format!("{V2}/subnets"), subnet).await.expect(201)["subnet"].take();
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["network"]["l2_adjacency"], false);
        cloud.delete(admin, &at).await.neutron(409, "SegmentInUse");
        cloud.delete(admin, &format!("{V2}/subnets/{}", id(&subnet))).await.expect(204);
        cloud.delete(admin, &at).await.expect(204);
        assert!(world.store.allocations("vlan:physnet2").await.unwrap().is_empty());
        // On the fabric a port keeps it, and its VLAN is free again only when the switches were read.
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        cloud.delete(admin, &format!("{segments}/{}", id(&first))).await.neutron(409, "SegmentInUse");
        cloud.delete(&finance, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        cloud.delete(admin, &format!("{segments}/{}", id(&first))).await.expect(204);
        let seen = cloud.get(admin, &one).await.expect(200)["network"].take();
        assert_eq!((&seen["provider:network_type"], seen.get("segments")), (&json!(null), None));
        assert_eq!(world.store.allocations("vlan:physnet1").await.unwrap().len(), 1);
        assert_eq!(cloud.get(admin, &segments).await.expect(200)["segments"], json!([]));
    });
}

#[test]
fn ranges_of_projects_and_of_all() {
    on_each(async |world| {
        let cloud = start(world).await;
        let (admin, ranges) = (&cloud.admin, format!("{V2}/network_segment_ranges"));
        let finance = cloud.tenant("finance", "member").await;
        assert_eq!(cloud.get(&finance, &ranges).await.expect(200)["network_segment_ranges"], json!([]));
        let all = cloud.get(admin, &ranges).await.expect(200)["network_segment_ranges"].take();
        let shown = |it: &Value| (it["network_type"].clone(), it["physical_network"].clone(), it["minimum"].clone(), it["maximum"].clone());
        let mut defaults: Vec<_> = all.as_array().unwrap().iter().map(shown).map(|it| format!("{it:?}")).collect();
        defaults.sort();
        assert_eq!(defaults.len(), 4, "{defaults:?}");
        assert!(all.as_array().unwrap().iter().all(|it| it["default"] == true && it["shared"] == true && it["project_id"] == ""));
        let vxlan = all.as_array().unwrap().iter().find(|it| it["network_type"] == "vxlan").unwrap();
        assert_eq!((&vxlan["available"], &vxlan["used"]), (&json!([1, 2, 3, 4, 5]), &json!({})));
        let at_vxlan = format!("{ranges}/{}", id(vxlan));
        cloud.delete(admin, &at_vxlan).await.neutron(400, "NetworkSegmentRangeDefaultReadOnly");
        cloud
            .put(admin, &at_vxlan, json!({"network_segment_range": {"maximum": 9}}))
            .await
            .neutron(400, "NetworkSegmentRangeDefaultReadOnly");

        let body = |more: Value| {
            let mut range = json!({"name": "own", "shared": false, "project_id": finance.project, "network_type": "vlan", "physical_network": "physnet1", "minimum": 105, "maximum": 106});
            range.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "network_segment_range": range })
        };
        for (wrong, status, kind) in [
            (json!({"minimum": 107}), 400, "NetworkVlanRangeError"),
            (json!({"maximum": 4095}), 400, "NetworkVlanRangeError"),
            (json!({"physical_network": ""}), 400, "BadRequest"),
            (json!({"network_type": "gre"}), 400, "NetworkSegmentRangeNetTypeNotSupported"),
            (json!({"network_type": "flat"}), 400, "HTTPBadRequest"),
            (json!({"minimum": 0}), 400, "HTTPBadRequest"),
        ] {
            cloud.post(admin, &ranges, body(wrong)).await.neutron(status, kind);
        }
        cloud.post(&finance, &ranges, body(json!({}))).await.neutron(403, "PolicyNotAuthorized");
        let own = cloud.post(admin, &ranges, body(json!({}))).await.expect(201)["network_segment_range"].take();
        assert_eq!((&own["default"], &own["project_id"], &own["available"]), (&json!(false), &json!(finance.project), &json!([105, 106])));
        cloud.post(admin, &ranges, body(json!({"minimum": 106, "maximum": 108}))).await.neutron(409, "NetworkSegmentRangeOverlaps");
        cloud.post(admin, &ranges, body(json!({"physical_network": "physnet2"}))).await.expect(201);

        // A project's networks take from its own range first, others' never.
        let vlan = async |who| {
            let network = cloud.network(who, "n").await;
            let seen = cloud.get(admin, &format!("{V2}/networks/{}", id(&network))).await.expect(200);
            (network, seen["network"]["provider:segmentation_id"].as_u64().unwrap())
        };
        let (first, number) = vlan(&finance).await;
        assert_eq!(number, 105);
        assert_eq!(vlan(&finance).await.1, 106);
        assert_eq!(vlan(&finance).await.1, 100);
        let mut others = Vec::new();
        for _ in 0..7 {
            others.push(vlan(admin).await.1);
        }
        assert_eq!(others, [101, 102, 103, 104, 107, 108, 109]);
        // Then from other physical networks.
        assert_eq!(vlan(admin).await.1, 300);

        let at = format!("{ranges}/{}", id(&own));
        let seen = cloud.get(admin, &at).await.expect(200)["network_segment_range"].take();
        assert_eq!((&seen["used"][named(105)], &seen["available"]), (&json!(finance.project), &json!([])));
        cloud.delete(admin, &at).await.neutron(409, "NetworkSegmentRangeReferencedByProject");
        cloud
            .put(admin, &at, json!({"network_segment_range": {"minimum": 106}}))
            .await
            .neutron(409, "NetworkSegmentRangeReferencedByProject");
        let wider = cloud.put(admin, &at, json!({"network_segment_range": {"maximum": 200, "name": "wide"}})).await.expect(200);
        assert_eq!((&wider["network_segment_range"]["maximum"], &wider["network_segment_range"]["name"]), (&json!(200), &json!("wide")));
        cloud.put(admin, &format!("{at}/tags/blue"), Value::Null).await.expect(201);
        cloud.delete(&finance, &format!("{V2}/networks/{}", id(&first))).await.expect(204);
        cloud.get(admin, &format!("{ranges}/{}", id(&first))).await.neutron(404, "NetworkSegmentRangeNotFound");
    });
}
