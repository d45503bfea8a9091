//! Trunks: which ports may be part of one, and what becomes of them.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::V2;
use crate::support::{Answer, Cloud, Token, id, sorted};
use crate::world::on_each;

struct Scene {
    cloud: Cloud,
    finance: Token,
    network: Value,
}

impl Scene {
    async fn open(world: &crate::world::World) -> Self {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        Self { cloud, finance, network }
    }

    async fn port(&self) -> Value {
        self.cloud.port(&self.finance, &self.network, json!({})).await.expect(201)["port"].take()
    }

    async fn make(&self, body: Value) -> Answer {
        self.cloud.post(&self.finance, &format!("{V2}/trunks"), json!({ "trunk": body })).await
    }

    async fn act(&self, trunk: &Value, action: &str, subs: Value) -> Answer {
        self.cloud.put(&self.finance, &format!("{}/{action}", at(trunk)), json!({"sub_ports": subs})).await
    }
}

fn at(trunk: &Value) -> String {
    format!("{V2}/trunks/{}", id(trunk))
}

fn sub(port: &Value, vlan: u32) -> Value {
    json!({"port_id": port["id"], "segmentation_type": "vlan", "segmentation_id": vlan})
}

#[test]
fn made_filled_emptied_removed() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let (parent, one, two) = (scene.port().await, scene.port().await, scene.port().await);
        let trunk =
            scene.make(json!({"port_id": parent["id"], "name": "t", "sub_ports": [sub(&one, 5)]})).await.expect(201)["trunk"].take();
        assert_eq!((&trunk["status"], &trunk["admin_state_up"], &trunk["tags"]), (&json!("DOWN"), &json!(true), &json!([])));
        assert_eq!(trunk["sub_ports"], json!([sub(&one, 5)]));
        let show =
            async |port: &Value| scene.cloud.get(&scene.finance, &format!("{V2}/ports/{}", id(port))).await.expect(200)["port"].take();
        assert_eq!(show(&one).await["device_owner"], "trunk:subport");
        let mut detailed = sub(&one, 5);
        detailed["mac_address"] = one["mac_address"].clone();
        assert_eq!(show(&parent).await["trunk_details"], json!({"trunk_id": trunk["id"], "sub_ports": [detailed]}));
        let listed = scene.cloud.get(&scene.finance, &format!("{V2}/ports")).await.expect(200);
        let with: Vec<&Value> = listed["ports"].as_array().unwrap().iter().filter(|it| it.get("trunk_details").is_some()).collect();
        assert_eq!(with.len(), 1);

        let added = scene.act(&trunk, "add_subports", json!([sub(&two, 6)])).await.expect(200);
        assert_eq!((&added["sub_ports"], &added["revision_number"]), (&json!([sub(&one, 5), sub(&two, 6)]), &json!(2)));
        let got = scene.cloud.get(&scene.finance, &format!("{}/get_subports", at(&trunk))).await.expect(200);
        assert_eq!(got, json!({"sub_ports": [sub(&one, 5), sub(&two, 6)]}));
        for (port, kind) in [(&parent, "PortInUseAsTrunkParent"), (&one, "PortInUseAsSubPort")] {
            scene.cloud.delete(&scene.finance, &format!("{V2}/ports/{}", id(port))).await.neutron(409, kind);
        }
        let left = scene.act(&trunk, "remove_subports", json!([{"port_id": one["id"]}])).await.expect(200);
        assert_eq!(left["sub_ports"], json!([sub(&two, 6)]));
        assert_eq!(show(&one).await["device_owner"], "");
        scene.act(&trunk, "remove_subports", json!([{"port_id": one["id"]}])).await.neutron(404, "SubPortNotFound");
        scene.cloud.delete(&scene.finance, &format!("{V2}/ports/{}", id(&one))).await.expect(204);
        let found = scene.cloud.get(&scene.finance, &format!("{V2}/trunks?port_id={}", id(&parent))).await.expect(200);
        assert_eq!(sorted(&found["trunks"], "name"), ["t"]);

        scene.cloud.put(&scene.finance, &at(&trunk), json!({"trunk": {"admin_state_up": false}})).await.expect(200);
        scene.act(&trunk, "add_subports", json!([])).await.neutron(409, "TrunkDisabled");
        scene.act(&trunk, "remove_subports", json!([{"port_id": two["id"]}])).await.neutron(409, "TrunkDisabled");
        scene.cloud.delete(&scene.finance, &at(&trunk)).await.neutron(409, "TrunkDisabled");
        scene.cloud.put(&scene.finance, &at(&trunk), json!({"trunk": {"admin_state_up": true, "name": "u"}})).await.expect(200);
        scene.cloud.delete(&scene.finance, &at(&trunk)).await.expect(204);
        scene.cloud.get(&scene.finance, &at(&trunk)).await.neutron(404, "TrunkNotFound");
        assert_eq!(show(&two).await["device_owner"], "");
        assert!(show(&parent).await.get("trunk_details").is_none());
        assert_eq!(world.store.allocations("trunkport").await.unwrap(), []);
    });
}

#[test]
fn what_contradicts() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let medical = scene.cloud.tenant("medical", "member").await;
        let (parent, one, other) = (scene.port().await, scene.port().await, scene.port().await);
        let with = async |subs: Value| scene.make(json!({"port_id": parent["id"], "sub_ports": subs})).await;
        let nowhere = json!({"id": "11111111-1111-1111-1111-111111111111"});
        scene.make(json!({"port_id": nowhere["id"]})).await.neutron(404, "PortNotFound");
        scene.make(json!({})).await.neutron(400, "HTTPBadRequest");
        let theirs = scene.cloud.post(&medical, &format!("{V2}/trunks"), json!({"trunk": {"port_id": parent["id"]}})).await;
        theirs.neutron(404, "PortNotFound");
        with(json!([sub(&nowhere, 5)])).await.neutron(404, "PortNotFound");
        with(json!([sub(&parent, 5)])).await.neutron(409, "ParentPortInUse");
        for wrong in [json!([sub(&one, 0)]), json!([sub(&one, 4095)]), json!([{"port_id": one["id"]}])] {
            with(wrong).await.neutron(400, "InvalidInput");
        }
        let gre = json!([{"port_id": one["id"], "segmentation_type": "gre", "segmentation_id": 5}]);
        with(gre).await.neutron(400, "InvalidInput");
        for wrong in [
            json!("x"),
            json!([{"port_id": one["id"], "segmentation_id": 5}]),
            json!([sub(&one, 5), sub(&other, 5)]),
            json!([sub(&one, 5), sub(&one, 6)]),
        ] {
            with(wrong).await.neutron(400, "HTTPBadRequest");
        }
        assert_eq!(world.store.allocations("trunkport").await.unwrap(), []);

        let trunk = with(json!([sub(&one, 5)])).await.expect(201)["trunk"].take();
        with(json!([])).await.neutron(409, "ParentPortInUse");
        scene.make(json!({"port_id": one["id"]})).await.neutron(409, "TrunkPortInUse");
        scene.act(&trunk, "add_subports", json!([sub(&other, 5)])).await.neutron(409, "DuplicateSubPort");
        scene.make(json!({"port_id": other["id"], "sub_ports": [sub(&one, 5)]})).await.neutron(409, "TrunkPortInUse");
        // A port of something else is not carried.
        let used = scene.cloud.port(&scene.finance, &scene.network, json!({"device_id": "s"})).await.expect(201)["port"].take();
        scene.act(&trunk, "add_subports", json!([sub(&used, 7)])).await.neutron(409, "PortInUse");
        // Nor one whose packets would not fit.
        let small = json!({"network": {"mtu": 1000}});
        let narrow = scene.cloud.post(&scene.finance, &format!("{V2}/networks"), small).await.expect(201)["network"].take();
        let narrow = scene.cloud.port(&scene.finance, &narrow, json!({})).await.expect(201)["port"].take();
        let wide = scene.make(json!({"port_id": narrow["id"], "sub_ports": [sub(&other, 5)]})).await;
        wide.neutron(409, "SubPortMtuGreaterThanTrunkPortMtu");
        // The VLAN of the subport's own network.
        let inherited =
            scene.act(&trunk, "add_subports", json!([{"port_id": other["id"], "segmentation_type": "inherit"}])).await.expect(200);
        let network = scene.cloud.get(&scene.cloud.admin, &format!("{V2}/networks/{}", id(&scene.network))).await.expect(200);
        assert_eq!(inherited["sub_ports"][1]["segmentation_id"], network["network"]["provider:segmentation_id"]);
        scene.cloud.get(&medical, &at(&trunk)).await.neutron(404, "TrunkNotFound");
    });
}

/// However many ask at once: a port is part of one trunk, and a trunk has each tag once.
#[test]
fn races() {
    on_each(async |world| {
        let scene = Scene::open(world).await;
        let (parent, shared) = (scene.port().await, scene.port().await);
        let trunk = scene.make(json!({"port_id": parent["id"]})).await.expect(201)["trunk"].take();
        let mut ports = Vec::new();
        for _ in 0..4 {
            ports.push(scene.port().await);
        }
        let tries = ports.iter().map(|it| scene.act(&trunk, "add_subports", json!([sub(it, 9)])));
        let done = join_all(tries).await.into_iter().filter(|it| it.status == 200).count();
        assert_eq!(done, 1);
        let tries = ports.iter().map(|it| scene.make(json!({"port_id": it["id"], "sub_ports": [sub(&shared, 5)]})));
        let mut made = 0;
        for answer in join_all(tries).await {
            assert!([201, 409].contains(&answer.status), "{}", answer.text);
            made += usize::from(answer.status == 201);
        }
        assert!(made <= 1, "{made} trunks carry one port");
    });
}
