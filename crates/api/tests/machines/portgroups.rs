//! Groups of ports, and chassis.

use http::Method;
use model::baremetal::{Phase, ProvisionState as S};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::parts::{V1, at, fields, listed, made, remove, replace, walked};
use crate::world::{on_each, on_sqlite};

#[test]
fn a_group_lives_and_its_cards_follow() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        for (body, status, word) in [
            (json!({}), 400, "'node_uuid' is a required property"),
            (json!({"node_uuid": model::Id::<()>::random()}), 400, "could not be found"),
            (json!({"node_uuid": node, "name": "a b"}), 400, "Cannot create portgroup with invalid name 'a b'"),
            (json!({"node_uuid": node, "address": "x"}), 400, "Expected valid MAC address for address: x"),
            (json!({"node_uuid": node, "properties": 1}), 400, "1 is not of type 'object', 'null'"),
        ] {
            desk.post(admin, &format!("{V1}/portgroups"), body).await.refused(status, word);
        }
        let body = json!({"node_uuid": node, "name": "bond0", "address": "52:54:AA:00:00:01"});
        let group = made(&desk, admin, "portgroups", body.clone()).await;
        let shown = desk.get(admin, &format!("{V1}/portgroups/bond0")).await.expect(200);
        for (field, value) in [
            ("uuid", json!(group)),
            ("address", json!("52:54:aa:00:00:01")),
            ("mode", json!("active-backup")),
            ("properties", json!({})),
            ("standalone_ports_supported", json!(true)),
            ("dynamic_portgroup", json!(false)),
        ] {
            assert_eq!(shown[field], value, "{field}");
        }
        assert!(shown["ports"][0]["href"].as_str().unwrap().ends_with(&format!("/v1/portgroups/{group}/ports")));
        desk.post(admin, &format!("{V1}/portgroups"), body).await.refused(409, "A portgroup with ");
        let twin = json!({"node_uuid": node, "uuid": group});
        desk.post(admin, &format!("{V1}/portgroups"), twin).await.refused(409, &format!("A portgroup with UUID {group} already exists."));

        // A card joins; an empty group without a physical network takes the card's over.
        let card = |address: &str, network: &str| json!({"node_uuid": node, "address": address, "portgroup_uuid": group, "physical_network": network});
        let one = made(&desk, admin, "ports", card("52:54:ff:00:00:01", "physnet1")).await;
        desk.post(admin, &format!("{V1}/ports"), card("52:54:ff:00:00:02", "physnet2"))
            .await
            .refused(409, "cannot become a member of port group");
        let path = format!("{V1}/portgroups/{group}");
        assert_eq!(desk.get(admin, &path).await.expect(200)["physical_network"], "physnet1");
        let port = format!("{V1}/ports/{one}");
        desk.patch(admin, &port, replace("/physical_network", json!("x"))).await.refused(400, "while the port belongs to a portgroup");
        desk.patch(admin, &path, replace("/physical_network", json!("physnet2"))).await.expect(200);
        assert_eq!(desk.get(admin, &port).await.expect(200)["physical_network"], "physnet2");
        for inside in ["ports", "ports/detail"] {
            assert_eq!(listed(&desk, admin, &format!("portgroups/bond0/{inside}"), "ports").await.len(), 1, "{inside}");
        }
        assert_eq!(listed(&desk, admin, &format!("ports?portgroup={group}"), "ports").await[0]["uuid"], json!(one));
        let other = desk.machine("m2").await;
        let body = json!({"node_uuid": other, "address": "52:54:ff:00:00:03", "portgroup_uuid": group});
        desk.post(admin, &format!("{V1}/ports"), body).await.refused(400, "belonging to a different node");
        let body = json!({"node_uuid": node, "address": "52:54:ff:00:00:03", "portgroup_uuid": other});
        desk.post(admin, &format!("{V1}/ports"), body).await.refused(400, &format!("Portgroup {other} could not be found."));

        // Cards that may not stand alone do not boot.
        desk.patch(admin, &path, replace("/standalone_ports_supported", json!(false))).await.refused(409, "standalone_ports_supported");
        desk.patch(admin, &port, replace("/pxe_enabled", json!(false))).await.expect(200);
        desk.patch(admin, &path, replace("/standalone_ports_supported", json!(false))).await.expect(200);
        desk.patch(admin, &port, replace("/pxe_enabled", json!(true))).await.refused(409, "doesn't support standalone ports");

        desk.patch(admin, &path, remove("/mode")).await.refused(400, "'mode' is a mandatory attribute and can not be removed");
        desk.patch(admin, &path, replace("/name", json!("a b"))).await.refused(400, "Cannot change name to invalid name 'a b'");
        desk.patch(admin, &path, replace("/node_uuid", json!(other))).await.refused(400, "there are ports associated with this portgroup");
        desk.delete(admin, &path).await.refused(400, "contains ports.");
        desk.seen(&node, S::Available, Phase::Rest).await;
        desk.patch(admin, &port, remove("/portgroup_uuid")).await.refused(409, "connectivity attributes");
        desk.seen(&node, S::Manageable, Phase::Rest).await;
        desk.patch(admin, &port, remove("/portgroup_uuid")).await.expect(200);
        desk.delete(admin, &path).await.expect(204);
        made(&desk, admin, "portgroups", json!({"node_uuid": node, "name": "bond0", "address": "52:54:AA:00:00:01"})).await;
    });
}

#[test]
fn groups_by_version_and_project() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        let group = made(&desk, admin, "portgroups", json!({"node_uuid": node})).await;
        at(&desk, admin, 22, Method::GET, "portgroups", None).await.refused(404, "The API is not supported for this version");
        let path = format!("portgroups/{group}");
        for (field, minor) in [("mode", 26), ("properties", 26), ("physical_network", 102), ("category", 103), ("dynamic_portgroup", 111)] {
            assert_eq!(at(&desk, admin, minor - 1, Method::GET, &path, None).await.expect(200).get(field), None, "{field}");
            assert!(at(&desk, admin, minor, Method::GET, &path, None).await.expect(200).get(field).is_some(), "{field}");
        }
        at(&desk, admin, 25, Method::PATCH, &path, Some(replace("/mode", json!("802.3ad")))).await.refused(406, "not acceptable");
        let body = json!({"node_uuid": node, "mode": "802.3ad"});
        at(&desk, admin, 25, Method::POST, "portgroups", Some(body)).await.refused(406, "not acceptable");
        // These Ironic takes in versions that do not show them.
        at(&desk, admin, 26, Method::PATCH, &path, Some(replace("/category", json!("c")))).await.expect(200);
        at(&desk, admin, 23, Method::GET, &format!("{path}/ports"), None).await.expect(404);
        let brief = listed(&desk, admin, "portgroups", "portgroups").await;
        assert_eq!(fields(&brief[0]), ["address", "name", "uuid"]);
        assert_eq!(listed(&desk, admin, &format!("nodes/{node}/portgroups"), "portgroups").await.len(), 1);
        desk.get(admin, &format!("{V1}/portgroups?node={node}&address=52:54:00:00:00:01")).await.refused(400, "simultaneously");

        let owner = desk.somebody("olga", "owners", "manager").await;
        let stranger = desk.somebody("stan", "strangers", "manager").await;
        let give = json!([{"op": "add", "path": "/owner", "value": owner.project}]);
        desk.patch(admin, &format!("{V1}/nodes/{node}"), give).await.expect(200);
        assert_eq!(listed(&desk, &owner, "portgroups", "portgroups").await.len(), 1);
        assert_eq!(listed(&desk, &stranger, "portgroups", "portgroups").await.len(), 0);
        desk.get(&stranger, &format!("{V1}/{path}")).await.refused(404, "Portgroup");
        desk.patch(&owner, &format!("{V1}/{path}"), replace("/extra", json!({"a": 1}))).await.expect(200);
        desk.delete(&owner, &format!("{V1}/{path}")).await.expect(204);
    });
}

#[test]
fn a_chassis_holds_nodes() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        for (body, word) in [
            (json!({"description": "x".repeat(256)}), "is too long"),
            (json!({"description": 5}), "5 is not of type 'string', 'null'"),
            (json!({"uuid": "x"}), "Expected UUID for uuid: x"),
            (json!({"name": "x"}), "('name' was unexpected)"),
        ] {
            desk.post(admin, &format!("{V1}/chassis"), body).await.refused(400, word);
        }
        let id = "1e577874-effa-4754-9bbf-b17e1db84b66";
        made(&desk, admin, "chassis", json!({"uuid": id, "description": "a rack", "extra": {"k": "v"}})).await;
        desk.post(admin, &format!("{V1}/chassis"), json!({"uuid": id})).await.refused(409, "already exists.");
        let path = format!("{V1}/chassis/{id}");
        let shown = at(&desk, admin, 1, Method::GET, &format!("chassis/{id}"), None).await.expect(200);
        assert_eq!(fields(&shown), ["created_at", "description", "extra", "nodes", "updated_at", "uuid"]);
        assert!(shown["nodes"][0][0]["href"].as_str().unwrap().ends_with(&format!("/v1/chassis/{id}/nodes")));
        assert_eq!(fields(&listed(&desk, admin, "chassis", "chassis").await[0]), ["description", "uuid"]);
        desk.get(admin, &format!("{V1}/chassis/rack")).await.refused(400, "Expected UUID for chassis_uuid: rack");
        desk.patch(admin, &path, remove("/description")).await.expect(200);
        assert_eq!(desk.get(admin, &path).await.expect(200)["description"], Value::Null);
        desk.patch(admin, &path, replace("/nodes", json!([]))).await.refused(400, "Only the following can be updated: description, extra");

        let node = desk.machine("m1").await;
        desk.machine("m2").await;
        let inside = json!([{"op": "add", "path": "/chassis_uuid", "value": id}]);
        desk.patch(admin, &format!("{V1}/nodes/{node}"), inside).await.expect(200);
        assert_eq!(listed(&desk, admin, &format!("chassis/{id}/nodes"), "nodes").await.len(), 1);
        assert_eq!(listed(&desk, admin, &format!("chassis/{id}/nodes/detail"), "nodes").await[0]["chassis_uuid"], json!(id));
        desk.delete(admin, &path).await.refused(400, "contains nodes.");
        desk.patch(admin, &format!("{V1}/nodes/{node}"), remove("/chassis_uuid")).await.expect(200);
        desk.delete(admin, &path).await.expect(204);

        for _ in 0..5 {
            made(&desk, admin, "chassis", json!({})).await;
        }
        assert_eq!(walked(&desk, admin, "chassis?limit=2&sort_dir=desc", "chassis").await.len(), 5);
        let tenant = desk.somebody("tom", "tenants", "manager").await;
        desk.get(&tenant, &format!("{V1}/chassis")).await.refused(403, "baremetal:chassis:get");
        desk.get(&tenant, &path).await.refused(403, "baremetal:chassis:get");
        desk.post(&tenant, &format!("{V1}/chassis"), json!({})).await.refused(403, "baremetal:chassis:create");
    });
}
