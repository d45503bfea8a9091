//! Allocations, without an engine that chooses: what it would have chosen is written by the tests.

use http::Method;
use model::Id;
use model::baremetal::{Allocation, AllocationState, Node, ProvisionState as S};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::parts::{V1, at, listed, made, operator, replace, walked};
use crate::world::{on_each, on_sqlite};

/// What the engine does when it found a machine.
async fn chosen(desk: &Desk, allocation: &str, node: &str) {
    let (allocation_id, node_id) = (Id::parse(allocation), Id::parse(node));
    desk.observe::<Allocation>(allocation, |it| {
        it.observed.state = AllocationState::Active;
        it.observed.node_id.clone_from(&node_id);
    })
    .await;
    let mut row = desk.node(node).await;
    row.desired.allocation_id = allocation_id;
    row.desired.instance_uuid = Some(allocation.to_owned());
    desk.app.store.apply(store::Batch::wishes().want(&row)).await.unwrap();
}

#[test]
fn an_allocation_is_asked_for_and_given_back() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let (node, other) = (desk.machine("m1").await, desk.machine("m2").await);
        let path = format!("{V1}/allocations");
        for (body, status, word) in [
            (json!({}), 400, "The resource_class field is mandatory when not backfilling"),
            (json!({"resource_class": "x".repeat(81)}), 400, "is too long"),
            (json!({"resource_class": "bm", "name": "a b"}), 400, "Cannot create allocation with invalid name 'a b'"),
            (json!({"resource_class": "bm", "traits": ["foo"]}), 400, "'foo' is not valid under any of the given schemas"),
            (json!({"resource_class": "bm", "traits": "foo"}), 400, "'foo' is not of type 'array', 'null'"),
            (json!({"resource_class": "bm", "candidate_nodes": ["nobody"]}), 400, "Node nobody could not be found."),
            (json!({"resource_class": "bm", "candidate_nodes": [1]}), 400, "1 is not of type 'string'"),
            (json!({"resource_class": "bm", "state": "active"}), 400, "'state' was unexpected"),
            (json!({"node": "m1"}), 409, "Node must be in the \"active\" state, but the current state is"),
        ] {
            desk.post(admin, &path, body).await.refused(status, word);
        }
        let body = json!({
            "name": "a1", "resource_class": "bm", "candidate_nodes": ["m2", node], "traits": ["CUSTOM_FAST", "HW_CPU_X86_VMX"],
            "extra": {"k": "v"},
        });
        let id = made(&desk, admin, "allocations", body).await;
        let shown = desk.get(admin, &format!("{path}/a1")).await.expect(200);
        assert_eq!(shown["candidate_nodes"], json!([other, node]), "in their order");
        assert_eq!((&shown["state"], &shown["node_uuid"], &shown["last_error"]), (&json!("allocating"), &Value::Null, &Value::Null));
        assert_eq!(shown["owner"], json!(admin.project));
        desk.post(admin, &path, json!({"resource_class": "bm", "name": "a1"}))
            .await
            .refused(409, "An allocation with name a1 already exists.");
        desk.post(admin, &path, json!({"resource_class": "bm", "uuid": id})).await.refused(409, "already exists.");

        desk.get(admin, &format!("{V1}/nodes/{node}/allocation")).await.refused(404, "was not found");
        chosen(&desk, &id, &node).await;
        assert_eq!(desk.get(admin, &format!("{V1}/nodes/m1/allocation")).await.expect(200)["uuid"], json!(id));
        assert_eq!(desk.get(admin, &format!("{V1}/nodes/m1")).await.expect(200)["allocation_uuid"], json!(id));
        let patch = json!([{"op": "replace", "path": "/name", "value": "a2"}, {"op": "add", "path": "/extra/l", "value": 1}]);
        let after = desk.patch(admin, &format!("{path}/a1"), patch).await.expect(200);
        assert_eq!((&after["name"], &after["extra"]), (&json!("a2"), &json!({"k": "v", "l": 1})));
        desk.patch(admin, &format!("{path}/a2"), replace("/name", json!("a b")))
            .await
            .refused(400, "Cannot update allocation with invalid name");
        desk.patch(admin, &format!("{path}/a2"), replace("/owner", json!("x")))
            .await
            .refused(400, "Cannot patch /owner. Only the following can be updated: name, extra");

        desk.observe::<Node>(&node, |it| it.observed.state = S::Active).await;
        desk.delete(admin, &format!("{path}/{id}")).await.refused(409, "because the node is active (and maintenance mode is off)");
        desk.observe::<Node>(&node, |it| it.observed.state = S::Deleting).await;
        desk.delete(admin, &format!("{path}/{id}")).await.refused(409, "where updates are not allowed");
        desk.observe::<Node>(&node, |it| it.observed.state = S::Available).await;
        desk.delete(admin, &format!("{V1}/nodes/{node}/allocation")).await.expect(204);
        let row = desk.node(&node).await;
        assert_eq!((row.desired.instance_uuid, row.desired.allocation_id), (None, None), "the node is free again");
        desk.get(admin, &format!("{path}/{id}")).await.refused(404, &format!("Allocation {id} could not be found."));
        made(&desk, admin, "allocations", json!({"resource_class": "bm", "name": "a2"})).await;
    });
}

#[test]
fn an_allocation_is_made_for_a_machine_in_use() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        desk.observe::<Node>(&node, |it| it.observed.state = S::Active).await;
        let instance = Id::<()>::random();
        let mut row = desk.node(&node).await;
        row.desired.instance_uuid = Some(instance.to_string());
        desk.app.store.apply(store::Batch::wishes().want(&row)).await.unwrap();
        at(&desk, admin, 57, Method::POST, "allocations", Some(json!({"node": "m1"}))).await.refused(400, "'node' was unexpected");
        let id = made(&desk, admin, "allocations", json!({"node": "m1"})).await;
        assert_eq!(id, instance.to_string(), "the instance's id is its id");
        let shown = desk.get(admin, &format!("{V1}/allocations/{id}")).await.expect(200);
        assert_eq!((&shown["resource_class"], shown.get("node")), (&json!("bm"), None));
        let stored = desk.app.store.get(&Id::<Allocation>::parse(&id).unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.desired.backfill, Id::parse(&node));
        let other = json!({"node": "m1", "uuid": Id::<()>::random()});
        desk.post(admin, &format!("{V1}/allocations"), other).await.refused(409, "is associated with instance");
    });
}

#[test]
fn allocations_by_version_and_project() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let text = "The API version does not allow allocations";
        at(&desk, admin, 51, Method::GET, "allocations", None).await.refused(404, text);
        at(&desk, admin, 51, Method::POST, "allocations", Some(json!({"resource_class": "bm"}))).await.refused(405, text);
        let tom = desk.tenant("tom", "tenants").await;
        let eve = desk.tenant("eve", "others").await;
        let rita = desk.somebody("rita", "tenants", "reader").await;
        desk.post(&rita, &format!("{V1}/allocations"), json!({"resource_class": "bm"})).await.expect(403);
        let foreign = json!({"resource_class": "bm", "owner": eve.project});
        desk.post(&tom, &format!("{V1}/allocations"), foreign.clone()).await.refused(403, "create_restricted is required");
        at(&desk, admin, 59, Method::POST, "allocations", Some(foreign.clone())).await.refused(406, "not acceptable");
        let id = made(&desk, &tom, "allocations", json!({"resource_class": "bm"})).await;
        let path = format!("{V1}/allocations/{id}");
        assert_eq!(desk.get(&rita, &path).await.expect(200)["owner"], json!(tom.project));
        assert_eq!(at(&desk, &tom, 59, Method::GET, &format!("allocations/{id}"), None).await.expect(200).get("owner"), None);
        at(&desk, &tom, 56, Method::PATCH, &format!("allocations/{id}"), Some(replace("/name", json!("x")))).await.refused(405, "updating");
        desk.get(&eve, &path).await.refused(404, "could not be found");
        desk.delete(&eve, &path).await.expect(404);
        desk.delete(&rita, &path).await.refused(403, "baremetal:allocation:delete");
        let theirs = made(&desk, admin, "allocations", foreign).await;
        for (who, expected) in [(&tom, vec![&id]), (&rita, vec![&id]), (&eve, vec![&theirs]), (admin, vec![&id, &theirs])] {
            let seen = listed(&desk, who, "allocations", "allocations").await;
            let ids: Vec<&str> = seen.iter().map(|it| it["uuid"].as_str().unwrap()).collect();
            assert_eq!(ids, expected);
        }
        desk.get(&tom, &format!("{V1}/allocations?owner={}", eve.project)).await.expect(403);
        let owner = format!("allocations?owner={}", eve.project);
        assert_eq!(listed(&desk, admin, &owner, "allocations").await.len(), 1);
        assert_eq!(listed(&desk, admin, "allocations?state=active", "allocations").await.len(), 0);
        assert_eq!(listed(&desk, admin, "allocations?resource_class=bm", "allocations").await.len(), 2);
        assert_eq!(walked(&desk, admin, "allocations?limit=1&resource_class=bm", "allocations").await.len(), 2);
        desk.get(admin, &format!("{V1}/allocations?detail=true")).await.expect(400);
        desk.get(admin, &format!("{V1}/allocations?sort_key=traits")).await.refused(400, "invalid field for sorting");
        desk.delete(&tom, &path).await.expect(204);

        // Operators ask for nobody, or for whom they like.
        let system = operator(&desk).await;
        for owner in [Value::Null, json!(tom.project)] {
            let id = made(&desk, &system, "allocations", json!({"resource_class": "bm", "owner": owner})).await;
            assert_eq!(desk.get(&system, &format!("{V1}/allocations/{id}")).await.expect(200)["owner"], owner);
        }
        assert_eq!(listed(&desk, &system, "allocations", "allocations").await.len(), 3);
        let many: Vec<String> = vec!["m".to_owned(); 1001];
        let body = json!({"resource_class": "bm", "candidate_nodes": many});
        desk.post(&tom, &format!("{V1}/allocations"), body).await.refused(400, "more than 1000");
    });
}
