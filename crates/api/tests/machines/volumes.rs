//! Volumes: by what nodes reach them, and which.

use http::Method;
use model::baremetal::{Node, PowerState, ProvisionState as S};
use serde_json::json;

use crate::desk::Desk;
use crate::parts::{V1, at, fields, listed, made, replace};
use crate::world::{on_each, on_sqlite};

#[test]
fn connectors_and_targets() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        let connectors = format!("{V1}/volume/connectors");
        let targets = format!("{V1}/volume/targets");
        desk.post(admin, &connectors, json!({"node_uuid": node, "type": "iqn"}))
            .await
            .refused(400, "'connector_id' is a required property");
        desk.post(admin, &targets, json!({"node_uuid": node, "volume_type": "iscsi", "volume_id": "v", "boot_index": "0"}))
            .await
            .refused(400, "'0' is not of type 'integer'");
        let connector = json!({"node_uuid": node, "type": "iqn", "connector_id": "iqn.2026-11.org.example:m1"});
        let one = made(&desk, admin, "volume/connectors", connector.clone()).await;
        desk.post(admin, &connectors, connector).await.refused(409, "A volume connector with type iqn and connector ID iqn.2026-11.org");
        let properties = json!({"target_portal": "192.0.2.1:3260", "auth_password": "hunter2"});
        let target = json!({"node_uuid": node, "volume_type": "iscsi", "volume_id": "v1", "boot_index": 0, "properties": properties});
        let two = made(&desk, admin, "volume/targets", target.clone()).await;
        desk.post(admin, &targets, target).await.refused(409, "A volume target with boot index '0' for the same node already exists.");
        let shown = desk.get(admin, &format!("{targets}/{two}")).await.expect(200);
        assert_eq!(shown["properties"], json!({"target_portal": "192.0.2.1:3260", "auth_password": "******"}));

        // They are changed while the machine is off.
        let path = format!("{targets}/{two}");
        desk.patch(admin, &path, replace("/boot_index", json!(1)))
            .await
            .refused(400, "The requested action \"volume target update\" can not be performed on node");
        desk.observe::<Node>(&node, |node| node.observed.power = Some(PowerState::Off)).await;
        let patch = json!([
            {"op": "replace", "path": "/boot_index", "value": 1},
            {"op": "add", "path": "/properties/lun", "value": 2},
        ]);
        let after = desk.patch(admin, &path, patch).await.expect(200);
        assert_eq!((&after["boot_index"], &after["properties"]["auth_password"]), (&json!(1), &json!("******")));
        let stored = desk.app.store.get(&model::Id::<model::baremetal::VolumeTarget>::parse(&two).unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.desired.properties.text("auth_password"), Some("hunter2"), "a patch does not write the mask");
        made(&desk, admin, "volume/targets", json!({"node_uuid": node, "volume_type": "iscsi", "volume_id": "v2", "boot_index": 0})).await;
        desk.patch(admin, &path, replace("/boot_index", json!(0))).await.refused(409, "boot index '0'");

        assert_eq!(
            fields(&listed(&desk, admin, "volume/connectors", "connectors").await[0]),
            ["connector_id", "node_uuid", "type", "uuid"]
        );
        let inside = format!("nodes/{node}/volume/targets?detail=true");
        assert_eq!(listed(&desk, admin, &inside, "targets").await.len(), 2);
        desk.get(admin, &format!("{targets}?detail=true&fields=uuid"))
            .await
            .refused(400, "Can't fetch a subset of fields with 'detail' set");
        let root = desk.get(admin, &format!("{V1}/volume")).await.expect(200);
        assert!(root["connectors"][0]["href"].as_str().unwrap().ends_with("/v1/volume/connectors"));
        desk.get(admin, &format!("{V1}/nodes/{node}/volume")).await.expect(200);
        at(&desk, admin, 31, Method::GET, "volume/connectors", None).await.expect(404);
        at(&desk, admin, 31, Method::GET, "volume", None).await.expect(404);

        // Of a machine in use they are removed only while it is off.
        desk.observe::<Node>(&node, |node| {
            node.observed.state = S::Active;
            node.observed.power = Some(PowerState::On);
        })
        .await;
        desk.delete(admin, &format!("{connectors}/{one}")).await.refused(400, "volume connector deletion");
        desk.observe::<Node>(&node, |node| node.observed.power = Some(PowerState::Off)).await;
        desk.delete(admin, &format!("{connectors}/{one}")).await.expect(204);
        desk.delete(admin, &path).await.expect(204);
        desk.get(admin, &path).await.refused(404, "Volume target");
    });
}

#[test]
fn volumes_by_project() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        let lessee = desk.somebody("lena", "lessees", "manager").await;
        let reader = desk.somebody("rita", "lessees", "reader").await;
        let stranger = desk.somebody("stan", "strangers", "manager").await;
        let give = json!([{"op": "add", "path": "/lessee", "value": lessee.project}]);
        desk.patch(admin, &format!("{V1}/nodes/{node}"), give).await.expect(200);
        let target = json!({"node_uuid": node, "volume_type": "iscsi", "volume_id": "v1", "boot_index": 0, "properties": {"a": 1}});
        desk.post(&stranger, &format!("{V1}/volume/targets"), target.clone()).await.expect(403);
        desk.post(&reader, &format!("{V1}/volume/targets"), target.clone()).await.refused(403, "baremetal:volume:create");
        let id = made(&desk, &lessee, "volume/targets", target).await;
        let path = format!("{V1}/volume/targets/{id}");
        let shown = desk.get(&reader, &path).await.expect(200);
        assert!(shown["properties"]["redacted_contents"].as_str().unwrap().contains("baremetal:volume:view_target_properties"));
        desk.get(&stranger, &path).await.refused(404, "could not be found");
        assert_eq!(listed(&desk, &stranger, "volume/targets", "targets").await.len(), 0);
        assert_eq!(listed(&desk, &reader, "volume/targets", "targets").await.len(), 1);
        desk.delete(&reader, &path).await.refused(403, "baremetal:volume:delete");
        desk.delete(&lessee, &path).await.expect(204);
    });
}
