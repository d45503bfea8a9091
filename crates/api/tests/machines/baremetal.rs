//! Nodes, ports and what is attached to them.

use http::Method;
use model::Id;
use model::baremetal::{Node, Phase, ProvisionState as S, Verb, transition};
use serde_json::{Value, json};
use store::Query;

use crate::desk::{Desk, mac};
use crate::world::{on_each, on_sqlite};

const NODES: &str = "/baremetal/v1/nodes";
const PORTS: &str = "/baremetal/v1/ports";

#[test]
fn a_node_is_enrolled_shown_changed_and_removed() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        for path in [format!("{NODES}/{id}"), format!("{NODES}/m1")] {
            let node = desk.get(admin, &path).await.expect(200);
            assert_eq!((&node["uuid"], &node["name"], &node["provision_state"]), (&json!(id), &json!("m1"), &json!("enroll")));
            assert_eq!(node["driver_info"]["redfish_password"], "******");
            assert_eq!(node["links"][0]["href"], format!("http://127.0.0.1:5000/baremetal/v1/nodes/{id}"));
        }
        let patch = json!([
            {"op": "add", "path": "/properties/cpus", "value": 4},
            {"op": "replace", "path": "/driver_info/redfish_address", "value": "http://127.0.0.1:9"},
            {"op": "add", "path": "/description", "value": "rack 1"},
            {"op": "replace", "path": "/name", "value": "m-one"},
        ]);
        let node = desk.patch(admin, &format!("{NODES}/m1"), patch).await.expect(200);
        assert_eq!((&node["properties"]["cpus"], &node["name"]), (&json!(4), &json!("m-one")));
        assert_eq!(desk.node(&id).await.desired.driver_info.text("redfish_password"), Some("hunter2"));
        // The old name is free, the new one taken.
        desk.post(admin, NODES, json!({"driver": "redfish", "name": "m-one"})).await.refused(409, "m-one");
        desk.post(admin, NODES, json!({"driver": "redfish", "name": "m1"})).await.expect(201);
        desk.post(admin, NODES, json!({"driver": "redfish", "uuid": id})).await.refused(409, "already exists");
        desk.patch(admin, &format!("{NODES}/m1"), json!([{"op": "add", "path": "/name", "value": "m-one"}])).await.refused(409, "m-one");
        desk.delete(admin, &format!("{NODES}/m-one")).await.expect(204);
        desk.get(admin, &format!("{NODES}/{id}")).await.expect(404);
        let ports = desk.get(admin, PORTS).await.expect(200);
        assert_eq!(ports["ports"], json!([]), "its ports went with it");
        // And what they held is free again.
        let id = desk.machine("m-one").await;
        let body =
            json!({"node_uuid": id, "address": mac("m1"), "local_link_connection": {"switch_id": "02:cf:00:00:00:01", "port_id": "m1"}});
        desk.post(admin, PORTS, body).await.expect(201);
    });
}

#[test]
fn bad_nodes_and_patches_change_nothing() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        for (body, status, word) in [
            (json!({"name": "x"}), 400, "driver"),
            (json!({"driver": "ilo"}), 400, "No conductor service registered which supports driver ilo"),
            (json!({"driver": "redfish", "colour": "red"}), 400, "colour"),
            (json!({"driver": "redfish", "provision_state": "available"}), 400, "('provision_state' was unexpected)"),
            (json!({"driver": 5}), 400, "5 is not of type 'string'"),
            (json!({"driver": "redfish", "boot_interface": "floppy"}), 400, "Could not find the following interface"),
            (json!({"driver": "redfish", "power_interface": "ipmitool"}), 400, "not supported by hardware type redfish"),
            (json!({"driver": "redfish", "protected": true}), 400, "unexpected"),
            (json!({"driver": "redfish", "chassis_uuid": Id::<()>::random()}), 400, "Chassis"),
            (json!({"driver": "redfish", "chassis_uuid": "x"}), 400, "Expected UUID for chassis_uuid"),
            (json!({"driver": "redfish", "parent_node": "nobody"}), 400, "Unable to apply the requested parent_node 'nobody'"),
            (json!({"driver": "redfish", "name": "a b"}), 400, "name"),
            (json!({"driver": "redfish", "uuid": "x"}), 400, "UUID"),
            (json!({"driver": "redfish", "properties": "x"}), 400, "'x' is not of type 'object', 'null'"),
            (json!([]), 400, "object"),
        ] {
            desk.post(admin, NODES, body).await.refused(status, word);
        }
        let before = desk.node(&id).await;
        for (patch, word) in [
            (json!([{"op": "replace", "path": "/extra/none", "value": 1}]), "/extra/none"),
            (json!([{"op": "remove", "path": "/driver"}]), "'driver' is a required property"),
            (json!([{"op": "add", "path": "/provision_state", "value": "active"}]), "Cannot patch /provision_state. Only the following"),
            (json!([{"op": "add", "path": "/colour", "value": "red"}]), "Cannot patch /colour"),
            (json!([{"op": "add", "path": "/traits", "value": ["CUSTOM_A"]}]), "Cannot patch /traits"),
            (json!([{"op": "add", "path": "/name", "value": "a b"}]), "Cannot change name to invalid name 'a b'"),
            (json!([{"op": "add", "path": "/name", "value": "states"}]), "reserved"),
            (json!([{"op": "add", "path": "/retired_reason", "value": "old"}]), "only be set when retired is True"),
            (json!([{"op": "add", "path": "/protected_reason", "value": "x"}]), "only be set when protected is True"),
            (json!([{"op": "add", "path": "/description", "value": "x".repeat(4097)}]), "exceeding 4096"),
            (json!([{"op": "add", "path": "/resource_class", "value": "x".repeat(81)}]), "too long"),
            // The good one before the bad one is not kept either.
            (json!([{"op": "add", "path": "/extra/a", "value": 1}, {"op": "test", "path": "/extra/a", "value": 1}]), "test"),
            (
                json!([{"op": "add", "path": "/extra/a", "value": 1}, {"op": "add", "path": "/instance_uuid", "value": "x"}]),
                "instance_uuid",
            ),
            (json!({"op": "add"}), "{'op': 'add'} is not of type 'array'"),
            (json!([5]), "5 is not of type 'object'"),
            (json!([{"op": "add", "path": "extra", "value": 1}]), "'extra' does not match"),
            (json!([{"op": "add", "path": "/name", "value": null}]), "invalid name 'None'"),
            (json!([{"op": "remove", "path": "/extra/none"}]), "can't remove a non-existent object 'none'"),
        ] {
            desk.patch(admin, &format!("{NODES}/{id}"), patch).await.refused(400, word);
        }
        let after = desk.node(&id).await;
        assert_eq!((before.revision, before.desired), (after.revision, after.desired));
        assert_eq!(desk.app.store.count(&Query::<Node>::new()).await.unwrap(), 1);
    });
}

#[test]
fn old_versions_see_and_set_less() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        desk.machine("m1").await;
        let at = |minor: u16| format!("1.{minor}");
        let header = "x-openstack-ironic-api-version";
        let ask = async |minor: u16, method: Method, path: &str, body: Option<Value>| {
            desk.call(&desk.admin, method, path, &[(header, &at(minor))], body).await
        };
        let show = |minor| ask(minor, Method::GET, "/baremetal/v1/nodes/m1", None);
        assert!(show(20).await.expect(200).get("resource_class").is_none());
        assert_eq!(show(21).await.expect(200)["resource_class"], "bm");
        let patch = json!([{"op": "add", "path": "/owner", "value": "p"}]);
        assert_eq!(ask(49, Method::PATCH, "/baremetal/v1/nodes/m1", Some(patch.clone())).await.status.as_u16(), 406);
        ask(50, Method::PATCH, "/baremetal/v1/nodes/m1", Some(patch)).await.expect(200);
        let new = json!({"driver": "redfish"});
        assert_eq!(ask(10, Method::POST, NODES, Some(new.clone())).await.status.as_u16(), 406, "it would have to be available at once");
        ask(11, Method::POST, NODES, Some(new)).await.expect(201);
        assert_eq!(ask(27, Method::GET, "/baremetal/v1/nodes/m1/vifs", None).await.status.as_u16(), 404);
        assert_eq!(ask(77, Method::GET, "/baremetal/v1/nodes/m1/history", None).await.status.as_u16(), 404);
        ask(78, Method::GET, "/baremetal/v1/nodes/m1/history", None).await.expect(200);
    });
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        for name in ["c", "a", "b"] {
            desk.machine(name).await;
        }
        let names = |body: &Value| -> Vec<String> {
            body["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
        };
        let sorted = desk.get(admin, &format!("{NODES}?sort_key=name&sort_dir=desc")).await.expect(200);
        assert_eq!(names(&sorted), ["c", "b", "a"]);
        let mut path = format!("{NODES}?limit=2&sort_key=name&fields=name,uuid");
        let mut seen = Vec::new();
        for _ in 0..3 {
            let page = desk.get(admin, &path).await.expect(200);
            assert_eq!(page["nodes"][0].as_object().unwrap().len(), 3, "only the fields asked for, and links");
            seen.extend(names(&page));
            match page["next"].as_str() {
                Some(next) => path = next.strip_prefix("http://127.0.0.1:5000").unwrap().to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c"]);
        desk.put(admin, &format!("{NODES}/a/maintenance"), json!({"reason": "fan"})).await.expect(202);
        for (query, expected) in [
            ("maintenance=true", vec!["a"]),
            ("provision_state=available", vec![]),
            ("resource_class=bm&maintenance=false&sort_key=name", vec!["b", "c"]),
            ("associated=true", vec![]),
            ("driver=other", vec![]),
        ] {
            assert_eq!(names(&desk.get(admin, &format!("{NODES}?{query}")).await.expect(200)), expected, "{query}");
        }
        for query in ["colour=red", "fields=colour", "limit=x", "marker=x", "sort_key=colour", "sort_dir=up", "detail=true&fields=name"] {
            assert_eq!(desk.get(admin, &format!("{NODES}?{query}")).await.status.as_u16(), 400, "{query}");
        }
        let detail = desk.get(admin, &format!("{NODES}/detail?limit=1")).await.expect(200);
        assert!(detail["nodes"][0].get("driver_info").is_some());
    });
}

#[test]
fn projects_see_their_machines_only_and_not_their_bmcs() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (finance, medical) = (desk.tenant("fiona", "finance").await, desk.tenant("mick", "medical").await);
        let id = desk.machine("m1").await;
        let path = format!("{NODES}/{id}");
        desk.get(&finance, &path).await.expect(404);
        desk.patch(&desk.admin, &path, json!([{"op": "add", "path": "/lessee", "value": finance.project}])).await.expect(200);
        let node = desk.get(&finance, &path).await.expect(200);
        assert!(!node.to_string().contains("8101"), "{node}");
        assert_eq!(desk.get(&finance, PORTS).await.expect(200)["ports"].as_array().unwrap().len(), 1);
        assert_eq!(desk.get(&medical, NODES).await.expect(200)["nodes"], json!([]));
        assert_eq!(desk.get(&medical, PORTS).await.expect(200)["ports"], json!([]));
        for (method, tail, body) in [
            (Method::GET, "", None),
            (Method::PATCH, "", Some(json!([{"op": "add", "path": "/extra/a", "value": 1}]))),
            (Method::DELETE, "", None),
            (Method::PUT, "/states/provision", Some(json!({"target": "manage"}))),
            (Method::PUT, "/states/power", Some(json!({"target": "power on"}))),
            (Method::POST, "/vifs", Some(json!({"id": Id::<()>::random()}))),
            (Method::PUT, "/maintenance", Some(json!({}))),
            (Method::GET, "/history", None),
        ] {
            let latest = [("openstack-api-version", "baremetal latest")];
            let other = desk.call(&medical, method.clone(), &format!("{path}{tail}"), &latest, body.clone()).await;
            assert_eq!(other.status.as_u16(), 404, "{method} {tail} by another project: {}", other.body);
        }
        // Who manages the lessee uses the machine, its members switch it, the operator keeps it.
        let manager = desk.somebody("mia", "finance", "manager").await;
        let source = json!([{"op": "add", "path": "/instance_info/image_source", "value": "x"}]);
        desk.patch(&finance, &path, source.clone()).await.expect(403);
        desk.patch(&manager, &path, source).await.expect(200);
        desk.put(&finance, &format!("{path}/states/power"), json!({"target": "power on"})).await.expect(202);
        desk.get(&finance, &format!("{path}/history")).await.expect(403);
        desk.patch(&manager, &path, json!([{"op": "add", "path": "/owner", "value": "x"}])).await.expect(403);
        desk.post(&manager, PORTS, json!({"node_uuid": id, "address": "52:54:00:00:00:99"})).await.expect(403);
        desk.delete(&manager, &path).await.expect(403);
        desk.patch(&finance, &path, json!([{"op": "add", "path": "/lessee", "value": "x"}])).await.expect(403);
        desk.put(&finance, &format!("{path}/states/provision"), json!({"target": "manage"})).await.expect(403);
        desk.put(&finance, &format!("{path}/maintenance"), json!({})).await.expect(403);
        desk.post(&finance, NODES, json!({"driver": "redfish"})).await.expect(403);
    });
}

#[test]
fn verbs_are_taken_where_the_table_allows_them() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let image = desk.image(admin, "debian").await;
        let source = json!([{"op": "add", "path": "/instance_info/image_source", "value": image}]);
        desk.patch(admin, &format!("{NODES}/{id}"), source).await.expect(200);
        let path = format!("{NODES}/{id}/states/provision");
        let states = [
            S::Enroll,
            S::Verifying,
            S::Manageable,
            S::Cleaning,
            S::CleanFailed,
            S::Available,
            S::Deploying,
            S::DeployFailed,
            S::Active,
            S::Deleting,
        ];
        for state in states {
            for verb in [Verb::Manage, Verb::Provide, Verb::Deploy, Verb::Undeploy] {
                desk.seen(&id, state, Phase::Rest).await;
                let before = desk.node(&id).await;
                let answer = desk.put(admin, &path, json!({"target": verb.as_str()})).await;
                let after = desk.node(&id).await;
                match transition(state, false, verb) {
                    Some((first, target)) => {
                        assert_eq!(answer.status.as_u16(), 202, "{state:?} {verb:?}: {}", answer.body);
                        assert_eq!(answer.body, json!(""), "202 has no body");
                        let request = after.desired.request.unwrap();
                        assert_eq!((request.seq, request.verb), (before.observed.handled + 1, verb));
                        let shown = desk.get(admin, &format!("{NODES}/{id}/states")).await.expect(200);
                        assert_eq!(shown["provision_state"], first.as_str());
                        let aims = if first.is_stable() { Value::Null } else { json!(target.as_str()) };
                        assert_eq!(shown["target_provision_state"], aims);
                        desk.put(admin, &path, json!({"target": verb.as_str()})).await.refused(409, "locked");
                    }
                    None => {
                        let expected = if state.is_stable() { 400 } else { 409 };
                        assert_eq!(answer.status.as_u16(), expected, "{state:?} {verb:?}: {}", answer.body);
                        assert_eq!(before.revision, after.revision);
                    }
                }
            }
        }
        desk.seen(&id, S::Available, Phase::Rest).await;
        for (body, word) in [
            (json!({}), "target"),
            (json!({"target": "fly"}), "fly"),
            (json!({"target": "rescue"}), "can not be performed"),
            (json!({"target": "active", "colour": 1}), "Unexpected arguments: colour"),
            (json!({"target": "active", "clean_steps": [{"interface": "deploy", "step": "x"}]}), "only valid when"),
            (json!({"target": "active", "deploy_steps": [{"interface": "deploy"}]}), "Invalid deploy_steps"),
            (json!({"target": "active", "rescue_password": "x"}), "only valid when"),
            (json!({"target": "active", "disable_ramdisk": true}), "manual cleaning or servicing"),
            (json!({"target": "active", "configdrive": {"meta": {}}}), "unexpected"),
            (json!({"target": "active", "configdrive": "x"}), "base64"),
            (json!({"target": "active", "configdrive": "aGVsbG8="}), "gzip"),
            (json!({"target": "manage", "configdrive": "H4sI"}), "config drive is only supported"),
        ] {
            desk.put(admin, &path, body).await.refused(400, word);
        }
        desk.put(admin, &format!("{NODES}/{id}/maintenance"), json!({"reason": "fan"})).await.expect(202);
        desk.put(admin, &path, json!({"target": "active"})).await.refused(400, "maintenance");
        desk.delete(admin, &format!("{NODES}/{id}/maintenance")).await.expect(202);
        desk.put(admin, &path, json!({"target": "active", "configdrive": "H4sIAAAA"})).await.expect(202);
        assert_eq!(desk.drive(&id).await.unwrap(), "H4sIAAAA");
    });
}

#[test]
fn nothing_is_deployed_that_is_not_there_or_not_the_callers() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let finance = desk.somebody("fiona", "finance", "manager").await;
        let medical = desk.tenant("mick", "medical").await;
        let id = desk.machine("m1").await;
        desk.patch(admin, &format!("{NODES}/{id}"), json!([{"op": "add", "path": "/lessee", "value": finance.project}])).await.expect(200);
        desk.seen(&id, S::Available, Phase::Rest).await;
        let path = format!("{NODES}/{id}/states/provision");
        let deploy = async || desk.put(&finance, &path, json!({"target": "active"})).await;
        deploy().await.refused(400, "image_source");
        let others = desk.image(&medical, "secret").await;
        let empty = json!({"disk_format": "raw", "container_format": "bare"});
        let empty = desk.post(&finance, "/image/v2/images", empty).await.expect(201)["id"].as_str().unwrap().to_owned();
        let own = desk.image(&finance, "own").await;
        for (source, status, word) in
            [(others, 400, "there is no image"), (empty, 400, "no data"), ("x".into(), 400, "no image"), (own, 202, "")]
        {
            let patch = json!([{"op": "add", "path": "/instance_info/image_source", "value": source}]);
            desk.patch(&finance, &format!("{NODES}/{id}"), patch).await.expect(200);
            let answer = deploy().await;
            assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
            assert!(answer.error().contains(word));
        }
        // While it is at work nothing of it is changed, but that a machine in maintenance is let go.
        let path = format!("{NODES}/{id}");
        let patch = |key: &str, value: Value| json!([{"op": "add", "path": key, "value": value}]);
        desk.patch(admin, &path, patch("/instance_info/image_source", json!("x"))).await.refused(409, "state transition is in progress");
        desk.patch(admin, &path, patch("/description", json!("x"))).await.refused(409, "state transition is in progress");
        desk.seen(&id, S::Active, Phase::Rest).await;
        desk.patch(admin, &path, patch("/resource_class", json!("x"))).await.refused(409, "can not have resource_class updated");
        desk.patch(admin, &path, patch("/boot_interface", json!("pxe"))).await.refused(409, "can not have boot_interface updated");
        desk.patch(admin, &path, patch("/owner", json!(medical.project))).await.expect(200);
    });
}

#[test]
fn a_node_that_somebody_has_is_not_removed() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let path = format!("{NODES}/{id}");
        for (state, status) in [(S::Cleaning, 409), (S::Deploying, 409), (S::Active, 409), (S::DeployFailed, 409), (S::CleanFailed, 409)] {
            desk.seen(&id, state, Phase::Rest).await;
            assert_eq!(desk.delete(admin, &path).await.status.as_u16(), status, "{state:?}");
        }
        desk.seen(&id, S::Available, Phase::Rest).await;
        let instance = Id::<()>::random();
        let take = json!([{"op": "add", "path": "/instance_uuid", "value": instance}]);
        desk.patch(admin, &path, take).await.expect(200);
        desk.delete(admin, &path).await.refused(409, "instance");
        let other = json!([{"op": "add", "path": "/instance_uuid", "value": Id::<()>::random()}]);
        desk.patch(admin, &path, other).await.refused(409, "associated");
        desk.patch(admin, &path, json!([{"op": "remove", "path": "/instance_uuid"}])).await.expect(200);
        let vif = desk.port(admin, "net").await;
        desk.post(admin, &format!("{path}/vifs"), json!({"id": vif})).await.expect(204);
        desk.delete(admin, &path).await.refused(409, "attached");
        let card = desk.get(admin, &format!("{path}/ports")).await.expect(200)["ports"][0]["uuid"].as_str().unwrap().to_owned();
        desk.delete(admin, &format!("{PORTS}/{card}")).await.refused(409, "bound to VIF");
        desk.delete(admin, &format!("{path}/vifs/{vif}")).await.expect(204);
        desk.seen(&id, S::CleanFailed, Phase::Rest).await;
        desk.put(admin, &format!("{path}/maintenance"), json!({})).await.expect(202);
        desk.delete(admin, &path).await.expect(204);
    });
}

#[test]
fn one_cable_and_one_attachment_however_many_try() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let mut nodes = Vec::new();
        for at in 0..8 {
            nodes.push(desk.machine(&format!("m{at}")).await);
        }
        let link = json!({"switch_id": "02:cf:00:00:00:01", "port_id": "contested"});
        let cables = nodes.iter().enumerate().map(|(at, node)| {
            let body = json!({"node_uuid": node, "address": format!("52:54:99:00:00:{at:02x}"), "local_link_connection": link});
            desk.post(admin, PORTS, body)
        });
        let answers = futures_util::future::join_all(cables).await;
        assert_eq!(answers.iter().filter(|it| it.status.as_u16() == 201).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|it| it.status.as_u16() == 409).count(), 7, "{answers:?}");
        let vif = desk.port(admin, "net").await;
        let attached = futures_util::future::join_all(nodes.iter().map(|node| {
            let path = format!("{NODES}/{node}/vifs");
            let body = json!({ "id": vif });
            let desk = &desk;
            async move { desk.post(admin, &path, body).await }
        }))
        .await;
        assert_eq!(attached.iter().filter(|it| it.status.as_u16() == 204).count(), 1, "{attached:?}");
        assert_eq!(attached.iter().filter(|it| it.status.as_u16() == 409).count(), 7, "{attached:?}");
        let all = desk.app.store.list(&Query::<Node>::new()).await.unwrap();
        let holders: Vec<_> = all.iter().filter(|node| !node.desired.vifs.is_empty()).collect();
        assert_eq!(holders.len(), 1);
        assert_eq!(desk.app.store.allocation("vif", &vif).await.unwrap().unwrap().holder, holders[0].id.to_string());
        // And whoever lets go lets others have it.
        let holder = holders[0].id.to_string();
        desk.delete(admin, &format!("{NODES}/{holder}/vifs/{vif}")).await.expect(204);
        let other = nodes.iter().find(|id| **id != holder).unwrap();
        desk.post(admin, &format!("{NODES}/{other}/vifs"), json!({ "id": vif })).await.expect(204);
    });
}

#[test]
fn only_ports_one_sees_are_attached_and_only_to_machines_at_rest() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let finance = desk.somebody("fiona", "finance", "manager").await;
        let medical = desk.tenant("mick", "medical").await;
        let id = desk.machine("m1").await;
        desk.patch(admin, &format!("{NODES}/{id}"), json!([{"op": "add", "path": "/lessee", "value": finance.project}])).await.expect(200);
        let (own, second, others) = (desk.port(&finance, "a").await, desk.port(&finance, "b").await, desk.port(&medical, "c").await);
        let path = format!("{NODES}/{id}/vifs");
        desk.post(&finance, &path, json!({"id": others})).await.refused(400, "there is no port");
        desk.post(&finance, &path, json!({"id": "x"})).await.refused(400, "UUID");
        desk.post(&finance, &path, json!({})).await.refused(400, "id");
        desk.post(&finance, &path, json!({"id": own})).await.expect(204);
        desk.post(&finance, &path, json!({"id": own})).await.refused(409, "already attached");
        desk.post(&finance, &path, json!({"id": second})).await.refused(400, "free physical ports");
        assert_eq!(desk.get(&finance, &path).await.expect(200)["vifs"], json!([{"id": own}]));
        for (state, word) in [(S::Active, "active"), (S::Cleaning, "locked")] {
            desk.seen(&id, state, Phase::Rest).await;
            desk.delete(&finance, &format!("{path}/{own}")).await.refused(409, word);
            desk.post(&finance, &path, json!({"id": second})).await.refused(409, word);
        }
        desk.seen(&id, S::Available, Phase::Rest).await;
        desk.delete(&finance, &format!("{path}/{second}")).await.refused(400, "not attached");
        desk.delete(&finance, &format!("{path}/{own}")).await.expect(204);
    });
}

#[test]
fn power_is_asked_for_once_at_a_time() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        let path = format!("{NODES}/{id}/states/power");
        desk.put(admin, &path, json!({"target": "power on"})).await.expect(202);
        assert_eq!(desk.get(admin, &format!("{NODES}/{id}")).await.expect(200)["target_power_state"], "power on");
        desk.put(admin, &path, json!({"target": "power off"})).await.refused(409, "locked");
        // Nor is a job begun in the middle of it.
        desk.put(admin, &format!("{NODES}/{id}/states/provision"), json!({"target": "provide"})).await.refused(409, "locked");
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "rebooting"})).await.expect(202);
        desk.put(admin, &path, json!({"target": "power on", "timeout": 0})).await.refused(400, "timeout has to be positive");
        desk.put(admin, &path, json!({"target": "explode"})).await.refused(400, "explode");
        let history = desk.get(admin, &format!("{NODES}/{id}/history")).await.expect(200);
        let events: Vec<_> = history["history"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect();
        assert!(events.contains(&"asked: rebooting".to_owned()), "{events:?}");
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "soft rebooting", "timeout": "60"})).await.expect(202);
        assert_eq!(desk.node(&id).await.desired.power_request.unwrap().timeout_seconds, Some(60));
        let event = history["history"][0]["uuid"].as_str().unwrap();
        desk.get(admin, &format!("{NODES}/{id}/history/{event}")).await.expect(200);
    });
}
