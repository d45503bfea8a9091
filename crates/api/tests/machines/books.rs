//! Deploy templates, runbooks and inspection rules.

use http::Method;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::parts::{V1, at, fields, listed, made, operator, remove, replace, walked};
use crate::world::{on_each, on_sqlite};

#[test]
fn deploy_templates() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let path = format!("{V1}/deploy_templates");
        let steps =
            json!([{"interface": "bios", "step": "apply_configuration", "args": {"settings": [], "password": "x"}, "priority": "150"}]);
        for (body, status, word) in [
            (json!({"name": "CUSTOM_A"}), 400, "'steps' is a required property"),
            (json!({"steps": steps}), 400, "'name' is a required property"),
            (json!({"name": "fast", "steps": steps}), 400, "'fast' is not valid under any of the given schemas"),
            (json!({"name": "CUSTOM_A", "steps": []}), 400, "[] should be non-empty"),
            (json!({"name": "CUSTOM_A", "steps": [steps[0], steps[0]]}), 400, "Duplicates: interface: bios, step: apply_configuration."),
        ] {
            desk.post(admin, &path, body).await.refused(status, word);
        }
        let id = made(&desk, admin, "deploy_templates", json!({"name": "CUSTOM_A", "steps": steps, "extra": {"a": 1}})).await;
        desk.post(admin, &path, json!({"name": "CUSTOM_A", "steps": steps}))
            .await
            .refused(409, "A deploy template with name CUSTOM_A already exists.");
        let shown = desk.get(admin, &format!("{path}/CUSTOM_A")).await.expect(200);
        assert_eq!(fields(&shown), ["created_at", "extra", "name", "steps", "updated_at", "uuid"]);
        assert_eq!((&shown["steps"][0]["args"]["password"], &shown["steps"][0]["priority"]), (&json!("******"), &json!(150)));
        assert_eq!(fields(&listed(&desk, admin, "deploy_templates", "deploy_templates").await[0]), ["name", "uuid"]);
        assert_eq!(fields(&listed(&desk, admin, "deploy_templates?detail=true", "deploy_templates").await[0]).len(), 6);
        let patch = json!([
            {"op": "replace", "path": "/steps/0/priority", "value": 10},
            {"op": "add", "path": "/steps/-", "value": {"interface": "raid", "step": "create_configuration", "args": {}, "priority": 5}},
            {"op": "replace", "path": "/name", "value": "HW_CPU_X86_VMX"},
        ]);
        let after = desk.patch(admin, &format!("{path}/{id}"), patch).await.expect(200);
        assert_eq!((&after["steps"][0]["priority"], &after["steps"][1]["step"]), (&json!(10), &json!("create_configuration")));
        desk.patch(admin, &format!("{path}/{id}"), remove("/steps")).await.refused(400, "'steps' is a required property");
        // The first name is free again.
        made(&desk, admin, "deploy_templates", json!({"name": "CUSTOM_A", "steps": steps})).await;
        desk.patch(admin, &format!("{path}/{id}"), replace("/name", json!("CUSTOM_A"))).await.refused(409, "CUSTOM_A");
        desk.delete(admin, &format!("{path}/HW_CPU_X86_VMX")).await.expect(204);
        desk.get(admin, &format!("{path}/{id}")).await.refused(404, &format!("Deploy template {id} could not be found."));
        let text = "The API version does not allow deploy templates";
        at(&desk, admin, 54, Method::GET, "deploy_templates", None).await.refused(404, text);
        at(&desk, admin, 54, Method::DELETE, "deploy_templates/x", None).await.refused(405, text);
        let tenant = desk.somebody("tom", "tenants", "manager").await;
        desk.get(&tenant, &path).await.refused(403, "baremetal:deploy_template:get");
        desk.get(&tenant, &format!("{path}/nothing")).await.refused(403, "baremetal:deploy_template:get");
    });
}

#[test]
fn runbooks() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let path = format!("{V1}/runbooks");
        let steps = json!([{"interface": "deploy", "step": "erase_devices_metadata", "order": 1}]);
        let max = desk.somebody("max", "owners", "manager").await;
        let rita = desk.somebody("rita", "owners", "reader").await;
        let eve = desk.somebody("eve", "others", "manager").await;
        let text = "The API version does not allow runbooks";
        at(&desk, admin, 91, Method::GET, "runbooks", None).await.refused(404, text);
        at(&desk, admin, 91, Method::POST, "runbooks", Some(json!({}))).await.refused(405, text);
        let body = |name: &str| json!({"name": name, "steps": steps});
        at(&desk, admin, 111, Method::POST, "runbooks", Some(body("fast wipe"))).await.refused(400, "not valid under any");
        desk.post(admin, &path, body("fast wipe")).await.refused(400, "does not match");
        desk.post(admin, &path, json!({"name": "x", "steps": [{"interface": "deploy", "step": "x"}]})).await.refused(400, "'order'");
        desk.post(&rita, &path, body("x")).await.refused(403, "baremetal:runbook:create");
        let foreign = json!({"name": "x", "steps": steps, "owner": eve.project});
        desk.post(&max, &path, foreign).await.refused(400, "with an owner other than your own project.");
        desk.post(&max, &path, json!({"name": "x", "steps": steps, "public": true})).await.refused(400, "Cannot create a public runbook");
        let id = made(&desk, &max, "runbooks", json!({"name": "wipe", "steps": steps, "description": "d"})).await;
        let book = format!("{path}/wipe");
        let shown = desk.get(&rita, &book).await.expect(200);
        for (field, value) in [
            ("uuid", json!(id)),
            ("owner", json!(max.project)),
            ("public", json!(false)),
            ("disable_ramdisk", json!(false)),
            ("traits", json!([])),
            ("steps", json!([{"interface": "deploy", "step": "erase_devices_metadata", "args": {}, "order": 1}])),
        ] {
            assert_eq!(shown[field], value, "{field}");
        }
        let old = at(&desk, &max, 111, Method::GET, "runbooks/wipe", None).await.expect(200);
        assert_eq!((old.get("traits"), old.get("description")), (None, None));
        desk.post(&eve, &path, body("wipe")).await.refused(409, "A runbook with name wipe already exists.");

        // Others' are not there, until they are for everybody.
        desk.get(&eve, &book).await.refused(404, "Runbook wipe could not be found.");
        assert_eq!(listed(&desk, &eve, "runbooks", "runbooks").await.len(), 0);
        desk.patch(&max, &book, replace("/public", json!(true))).await.refused(403, "baremetal:runbook:update:public");
        desk.patch(&rita, &book, replace("/description", json!("x"))).await.refused(403, "baremetal:runbook:update");
        let after = desk.patch(admin, &book, replace("/public", json!(true))).await.expect(200);
        assert_eq!(after["owner"], Value::Null, "what is everybody's is nobody's");
        desk.get(&eve, &book).await.expect(200);
        assert_eq!(listed(&desk, &eve, "runbooks", "runbooks").await.len(), 1);
        desk.patch(&eve, &book, replace("/description", json!("x"))).await.expect(403);
        desk.delete(&eve, &book).await.expect(403);
        desk.patch(admin, &book, replace("/owner", json!(max.project))).await.refused(400, "There cannot be an owner for a public runbook");
        let both = json!([{"op": "replace", "path": "/public", "value": false}, {"op": "add", "path": "/owner", "value": max.project}]);
        desk.patch(admin, &book, both).await.expect(200);
        desk.get(&eve, &book).await.expect(404);

        // Traits are its approval for nodes.
        let traits = format!("{book}/traits");
        desk.put(&max, &traits, json!({"traits": ["CUSTOM_B", "CUSTOM_A", "CUSTOM_B"]})).await.expect(204);
        desk.put(&max, &traits, json!({"traits": ["x"]})).await.refused(400, "'x' is not valid");
        desk.put(&max, &traits, json!({})).await.refused(400, "A single runbook trait may be added");
        assert_eq!(desk.get(&rita, &traits).await.expect(200), json!({"traits": ["CUSTOM_A", "CUSTOM_B"]}));
        let newest = [("openstack-api-version", "baremetal latest")];
        let added = desk.call(&max, Method::PUT, &format!("{traits}/CUSTOM_C"), &newest, None).await;
        assert!(added.header("location").ends_with("/v1/runbooks/wipe/traits/CUSTOM_C"));
        added.expect(204);
        desk.delete(&max, &format!("{traits}/CUSTOM_A")).await.expect(204);
        desk.delete(&max, &format!("{traits}/CUSTOM_A")).await.expect(204);
        assert_eq!(desk.get(&max, &book).await.expect(200)["traits"], json!(["CUSTOM_B", "CUSTOM_C"]));
        desk.delete(&max, &traits).await.expect(204);
        assert_eq!(desk.get(&max, &traits).await.expect(200), json!({"traits": []}));
        desk.put(&eve, &traits, json!({"traits": []})).await.expect(404);
        at(&desk, &max, 111, Method::GET, "runbooks/wipe/traits", None).await.refused(404, "does not allow runbook traits");

        for name in ["b2", "b3"] {
            made(&desk, &max, "runbooks", body(name)).await;
        }
        assert_eq!(walked(&desk, &max, "runbooks?limit=1&sort_key=name", "runbooks").await.len(), 3);
        desk.delete(&max, &book).await.expect(204);
        let system = operator(&desk).await;
        let id = made(&desk, &system, "runbooks", json!({"name": "all", "steps": steps, "public": true})).await;
        assert_eq!(desk.get(&eve, &format!("{path}/{id}")).await.expect(200)["owner"], Value::Null);
    });
}

#[test]
fn inspection_rules() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let path = format!("{V1}/inspection_rules");
        let actions = json!([{"op": "set-attribute", "args": {"path": "/extra/cores", "value": "{inventory[cpu][count]}"}}]);
        for (body, word) in [
            (json!({}), "'actions' is a required property"),
            (json!({"actions": []}), "[] should be non-empty"),
            (json!({"actions": actions, "phase": "early"}), "Invalid phase: early. Valid phases are: main"),
            (json!({"actions": actions, "priority": 10000}), "between 0 and 9999"),
            (json!({"actions": actions, "priority": -1}), "-1 is less than the minimum of 0"),
            (json!({"actions": actions, "conditions": [{"op": "fly", "args": []}]}), "'fly' is not one of"),
            (json!({"actions": [{"op": "fail", "args": {}}]}), "missing required argument(s): msg"),
            (json!({"actions": actions, "name": "x"}), "'name' was unexpected"),
        ] {
            desk.post(admin, &path, body).await.refused(400, word);
        }
        let conditions = json!([{"op": "!eq", "args": {"values": ["{inventory[cpu][architecture]}", "x86_64"]}}]);
        let id = made(&desk, admin, "inspection_rules", json!({"actions": actions, "conditions": conditions, "priority": 5})).await;
        let rule = format!("{path}/{id}");
        let shown = desk.get(admin, &rule).await.expect(200);
        assert_eq!(
            (&shown["actions"], &shown["conditions"], &shown["phase"], &shown["sensitive"]),
            (&actions, &conditions, &json!("main"), &json!(false))
        );
        assert!(shown["links"][0]["href"].as_str().unwrap().ends_with(&format!("/v1/inspection/{id}")));
        assert_eq!(
            fields(&listed(&desk, admin, "inspection_rules", "inspection_rules").await[0]),
            ["description", "phase", "priority", "uuid"]
        );
        desk.patch(admin, &rule, replace("/conditions/0/op", json!("fly"))).await.refused(400, "'fly' is not one of");
        desk.patch(admin, &rule, replace("/conditions/0/op", json!("eq"))).await.expect(200);
        let after = desk.patch(admin, &rule, replace("/sensitive", json!(true))).await.expect(200);
        assert_eq!((&after["actions"], &after["conditions"]), (&Value::Null, &Value::Null));
        // A patch of what is not shown works on what is there.
        desk.patch(admin, &rule, replace("/actions/0/args/value", json!("8"))).await.expect(200);
        desk.patch(admin, &rule, replace("/sensitive", json!(false))).await.refused(400, "cannot have the sensitive flag unset.");
        desk.get(admin, &format!("{path}/x")).await.refused(400, "Expected UUID");
        desk.get(admin, &format!("{path}?sort_key=actions")).await.refused(400, "invalid field for sorting");
        made(&desk, admin, "inspection_rules", json!({"actions": actions, "priority": 9})).await;
        let sorted = listed(&desk, admin, "inspection_rules?sort_key=priority&sort_dir=desc", "inspection_rules").await;
        assert_eq!(sorted.iter().map(|it| it["priority"].as_i64().unwrap()).collect::<Vec<_>>(), [9, 5]);
        at(&desk, admin, 95, Method::GET, "inspection_rules", None).await.refused(404, "does not allow inspection rules");
        at(&desk, admin, 95, Method::DELETE, "inspection_rules", None).await.refused(405, "does not allow inspection rules");
        let tenant = desk.somebody("tom", "tenants", "manager").await;
        desk.get(&tenant, &path).await.refused(403, "baremetal:inspection_rule:get");
        desk.delete(&tenant, &path).await.refused(403, "baremetal:inspection_rule:delete");
        desk.delete(admin, &rule).await.expect(204);
        desk.delete(admin, &path).await.expect(204);
        assert_eq!(listed(&desk, admin, "inspection_rules", "inspection_rules").await.len(), 0);
    });
}
