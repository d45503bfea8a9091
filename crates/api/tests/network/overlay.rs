//! Networks that reach further by VXLAN: what of them is in quarantine, and the VLANs they are given.

use api::{IdRange, NetworkSettings};
use model::fabric::Switch;
use model::net::{Network, Segment, VlanId};
use model::{Id, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query};

use crate::V2;
use crate::fabric::{leaf, quarantine, seen, switches};
use crate::support::{Cloud, Token, id};
use crate::world::{World, on_each};

/// With a single VXLAN to be had.
async fn start(world: &World) -> Cloud {
    Cloud::with_networks(world, (100, 109), NetworkSettings { vxlan_ids: IdRange { first: 7, last: 7 }, ..NetworkSettings::default() })
        .await
}

async fn declare(cloud: &Cloud, name: &str, number: u8, overlay: bool) {
    let mut body = leaf(name, number);
    if overlay {
        body["switch"]["overlay"] = json!({"vtep": "nve1", "bgp_as": 65001});
    }
    cloud.post(&cloud.admin, &switches(), body).await.expect(201);
}

fn vxlan() -> Value {
    json!({"network": {"name": "wide", "provider:network_type": "vxlan"}})
}

async fn make(cloud: &Cloud, admin: &Token) -> Value {
    cloud.post(admin, &format!("{V2}/networks"), vxlan()).await.expect(201)["network"].take()
}

/// Gives the network a VLAN, as the engine does; the id of the segment.
async fn give(world: &World, network: &str, vlan: u16) -> String {
    let mut network = world.store.get(&Id::<Network>::parse(network).unwrap()).await.unwrap().unwrap();
    let segment = Segment::vlan("physnet1", VlanId::new(vlan).unwrap());
    let row = segment.object(&network.id);
    network.desired.dynamic.push(segment);
    let batch = Batch::wishes().want(&network).create(&row).hold("vlan:physnet1", &format!("{vlan:04}"), network.id.as_str());
    world.store.apply(batch).await.unwrap();
    row.id.to_string()
}

#[test]
fn a_vni_waits_for_the_switches_that_may_map_it() {
    on_each(async |world| {
        let cloud = start(world).await;
        let admin = &cloud.admin;
        for (number, overlay) in [(1, true), (2, false), (3, true)] {
            declare(&cloud, &format!("leaf{number}"), number, overlay).await;
        }
        let network = make(&cloud, admin).await;
        cloud.delete(admin, &format!("{V2}/networks/{}", id(&network))).await.expect(204);
        cloud.post(admin, &format!("{V2}/networks"), vxlan()).await.neutron(503, "NoNetworkAvailable");
        let since = Timestamp::now();
        seen::<Network>(world, id(&network), |it| it.observed.quarantined_at = Some(since)).await;
        seen::<Switch>(world, "leaf1", |it| {
            it.observed.read_at = Some(since.plus_millis(1));
            it.observed.vnis.insert(VlanId::new(100).unwrap(), 7);
        })
        .await;
        let listed = async |query: &str| cloud.get(admin, &format!("{}?{query}", quarantine())).await.expect(200)["quarantine"].take();
        let items = listed("kind=vni").await;
        let item = &items[0];
        assert_eq!(items.as_array().unwrap().len(), 1, "{items}");
        assert_eq!((&item["segmentation_id"], &item["physical_network"], &item["holder"]), (&json!(7), &json!(null), &network["id"]));
        assert_eq!(item["waits_for"], json!(["leaf1", "leaf3"]), "one without an overlay never mapped it");
        let shown = cloud.get(admin, &format!("{}/leaf1", switches())).await.expect(200);
        assert_eq!(shown["switch"]["vnis"], json!([{"vlan": 100, "vni": 7}]));
        seen::<Switch>(world, "leaf1", |it| it.observed.vnis.clear()).await;
        assert_eq!(listed("kind=vni").await[0]["waits_for"], json!(["leaf3"]));
        let refused = cloud.delete(admin, &format!("{}/leaf3", switches())).await;
        assert!(refused.text.contains("VXLAN 7"), "{}", refused.text);
        refused.neutron(409, "SwitchInUse");
        // Not read to the end of what was broken off, it proves nothing.
        seen::<Switch>(world, "leaf3", |it| {
            it.observed.read_at = Some(since.plus_millis(1));
            it.observed.unsettled = true;
        })
        .await;
        assert_eq!(listed("kind=vni").await[0]["waits_for"], json!(["leaf3"]));
        cloud.post(admin, &format!("{V2}/networks"), vxlan()).await.neutron(503, "NoNetworkAvailable");
        let force = format!("{}/{}/force", quarantine(), id(item));
        let forced = cloud.put(admin, &force, json!({"quarantine": {"reason": "leaf3 was scrapped"}})).await.expect(200);
        assert_eq!(forced["quarantine"]["kind"], "vni");
        assert_eq!(listed("").await, json!([]));
        let stored = world.store.list(&Query::<Network>::new().with_deleted()).await.unwrap();
        assert_eq!(stored[0].desired.forced.as_ref().unwrap().reason, "leaf3 was scrapped");
    });
}

#[test]
fn where_no_switch_has_an_overlay_a_vni_is_free_at_once() {
    on_each(async |world| {
        let cloud = start(world).await;
        declare(&cloud, "leaf1", 1, false).await;
        let network = make(&cloud, &cloud.admin).await;
        cloud.delete(&cloud.admin, &format!("{V2}/networks/{}", id(&network))).await.expect(204);
        seen::<Network>(world, id(&network), |it| it.observed.quarantined_at = Some(Timestamp::now())).await;
        assert_eq!(cloud.get(&cloud.admin, &quarantine()).await.expect(200)["quarantine"], json!([]));
        make(&cloud, &cloud.admin).await;
    });
}

#[test]
fn the_vlan_that_a_network_was_given_is_the_engines() {
    on_each(async |world| {
        let cloud = start(world).await;
        let admin = &cloud.admin;
        declare(&cloud, "leaf1", 1, true).await;
        let network = make(&cloud, admin).await;
        let one = format!("{V2}/networks/{}", id(&network));
        let first = cloud.get(admin, &format!("{V2}/segments")).await.expect(200)["segments"][0].take();
        let given = give(world, id(&network), 104).await;
        let provider = ["provider:network_type", "provider:physical_network", "provider:segmentation_id", "segments", "mtu"];
        let shown = cloud.get(admin, &one).await.expect(200)["network"].take();
        assert_eq!(provider.map(|key| shown.get(key)), provider.map(|key| network.get(key)), "its users see what they asked for");
        let segments = cloud.get(admin, &format!("{V2}/segments?network_type=vlan")).await.expect(200)["segments"].take();
        assert_eq!((segments.as_array().unwrap().len(), &segments[0]["id"]), (1, &json!(given)), "{segments}");
        assert_eq!((&segments[0]["segmentation_id"], &segments[0]["physical_network"]), (&json!(104), &json!("physnet1")));
        let refused = cloud.delete(admin, &format!("{V2}/segments/{given}")).await;
        assert!(refused.text.contains("was given it"), "{}", refused.text);
        refused.neutron(409, "SegmentInUse");
        // Others change the network; what it was given stays.
        cloud.put(admin, &one, json!({"network": {"name": "wider"}})).await.expect(200);
        let stored = world.store.get(&Id::<Network>::parse(id(&network)).unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.desired.vlan_on("physnet1").map(VlanId::get), Some(104));
        // Ports keep the segment by which switches join.
        let port = cloud.port(admin, &network, json!({})).await.expect(201)["port"].take();
        let at_first = format!("{V2}/segments/{}", id(&first));
        cloud.delete(admin, &at_first).await.neutron(409, "SegmentInUse");
        cloud.delete(admin, &format!("{V2}/ports/{}", id(&port))).await.expect(204);

        cloud.delete(admin, &one).await.expect(204);
        assert_eq!(cloud.get(admin, &format!("{V2}/segments")).await.expect(200)["segments"], json!([]));
        seen::<Network>(world, id(&network), |it| it.observed.quarantined_at = Some(Timestamp::now())).await;
        let items = cloud.get(admin, &quarantine()).await.expect(200)["quarantine"].take();
        let mut kinds: Vec<_> = items.as_array().unwrap().iter().map(|it| (it["kind"].as_str().unwrap(), &it["waits_for"])).collect();
        kinds.sort_by_key(|(kind, _)| *kind);
        assert_eq!(kinds, [("vlan", &json!(["leaf1"])), ("vni", &json!(["leaf1"]))]);
        let taken = json!({"network": {"name": "x", "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 104}});
        cloud.post(admin, &format!("{V2}/networks"), taken).await.neutron(409, "VlanIdInUse");
    });
}

#[test]
fn a_vxlan_segment_that_is_given_up_waits_too() {
    on_each(async |world| {
        let cloud = start(world).await;
        let admin = &cloud.admin;
        declare(&cloud, "leaf1", 1, true).await;
        let network = make(&cloud, admin).await;
        let segment = cloud.get(admin, &format!("{V2}/segments")).await.expect(200)["segments"][0].take();
        cloud.delete(admin, &format!("{V2}/segments/{}", id(&segment))).await.expect(204);
        let items = cloud.get(admin, &quarantine()).await.expect(200)["quarantine"].take();
        assert_eq!((&items[0]["kind"], &items[0]["holder"], &items[0]["waits_for"]), (&json!("vni"), &network["id"], &json!(["leaf1"])));
        cloud.post(admin, &format!("{V2}/networks"), vxlan()).await.neutron(503, "NoNetworkAvailable");
    });
}
