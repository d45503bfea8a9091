//! Verbs with their arguments, and the rules around them.

use http::Method;
use model::baremetal::{Phase, ProvisionState as S, Runbook, RunbookDesired, Step, Verb, transition};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::Batch;

use crate::desk::Desk;
use crate::parts::at;
use crate::world::{on_each, on_sqlite};

const NODES: &str = "/baremetal/v1/nodes";

/// A node that needs nothing to be deployed.
async fn fake(desk: &Desk, name: &str) -> String {
    let body = json!({"driver": "fake-hardware", "name": name});
    desk.post(&desk.admin, NODES, body).await.expect(201)["uuid"].as_str().unwrap().to_owned()
}

fn step(name: &str) -> Value {
    json!({"interface": "deploy", "step": name})
}

/// What a verb must come with.
fn body(verb: Verb) -> Value {
    match verb {
        Verb::Clean => json!({"target": "clean", "clean_steps": [step("erase_devices")]}),
        Verb::Service => json!({"target": "service", "service_steps": [step("log")]}),
        Verb::Rescue => json!({"target": "rescue", "rescue_password": "pass"}),
        verb => json!({"target": verb.as_str()}),
    }
}

#[test]
fn each_verb_is_taken_in_the_states_of_the_table_and_no_other() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = fake(&desk, "m1").await;
        let path = format!("{NODES}/{id}/states/provision");
        for state in S::ALL {
            for phase in [Phase::Rest, Phase::Agent] {
                let waiting = phase == Phase::Agent;
                if waiting && !state.is_working() {
                    continue;
                }
                for verb in Verb::ALL {
                    desk.seen(&id, *state, phase).await;
                    let before = desk.node(&id).await;
                    let answer = desk.put(admin, &path, body(*verb)).await;
                    let after = desk.node(&id).await;
                    if transition(*state, waiting, *verb).is_some() {
                        assert_eq!(answer.status.as_u16(), 202, "{state:?} {waiting} {verb:?}: {}", answer.body);
                        assert!(answer.header("location").ends_with(&format!("/v1/nodes/{id}/states")), "{:?}", answer.headers);
                        assert_eq!(after.desired.request.map(|it| it.verb), Some(*verb));
                        desk.put(admin, &path, body(*verb)).await.refused(409, "is locked by host");
                    } else {
                        let locked = state.is_working() && !waiting;
                        assert_eq!(answer.status.as_u16(), if locked { 409 } else { 400 }, "{state:?} {waiting} {verb:?}: {}", answer.body);
                        assert_eq!(before.revision, after.revision);
                    }
                }
            }
        }
    });
}

#[test]
fn verbs_come_with_their_version() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = fake(&desk, "m1").await;
        let path = format!("nodes/{id}/states/provision");
        let put = |minor, body: Value| at(&desk, admin, minor, Method::PUT, &path, Some(body));
        for (state, phase, body, since) in [
            (S::Enroll, Phase::Rest, json!({"target": "manage"}), 4),
            (S::Manageable, Phase::Rest, json!({"target": "provide"}), 4),
            (S::Manageable, Phase::Rest, json!({"target": "inspect"}), 6),
            (S::Cleaning, Phase::Agent, json!({"target": "abort"}), 13),
            (S::Inspecting, Phase::Agent, json!({"target": "abort"}), 41),
            (S::Deploying, Phase::Agent, json!({"target": "abort"}), 110),
            (S::Manageable, Phase::Rest, body(Verb::Clean), 15),
            (S::Manageable, Phase::Rest, json!({"target": "adopt"}), 17),
            (S::Active, Phase::Rest, body(Verb::Rescue), 38),
            (S::Rescue, Phase::Rest, json!({"target": "unrescue"}), 38),
            (S::Available, Phase::Rest, json!({"target": "deploy"}), 73),
            (S::CleanHold, Phase::Rest, json!({"target": "unhold"}), 85),
            (S::Active, Phase::Rest, body(Verb::Service), 87),
            (
                S::Available,
                Phase::Rest,
                json!({"target": "active", "deploy_steps": [{"interface": "deploy", "step": "x", "args": {}, "priority": 9}]}),
                69,
            ),
            (S::Manageable, Phase::Rest, json!({"target": "clean", "clean_steps": [step("x")], "disable_ramdisk": true}), 70),
            (S::Active, Phase::Rest, json!({"target": "service", "service_steps": [step("x")], "disable_ramdisk": true}), 108),
        ] {
            desk.seen(&id, state, phase).await;
            let early = put(since - 1, body.clone()).await;
            assert_eq!(early.status.as_u16(), 406, "{body} in 1.{}: {}", since - 1, early.body);
            put(since, body).await.expect(202);
        }
        // A config drive came to rebuilding later, and in parts later still.
        desk.seen(&id, S::Active, Phase::Rest).await;
        put(34, json!({"target": "rebuild", "configdrive": "H4sIAAAA"})).await.refused(400, "provision state to active");
        put(35, json!({"target": "rebuild", "configdrive": "H4sIAAAA"})).await.expect(202);
        assert_eq!(desk.drive(&id).await.unwrap(), "H4sIAAAA");
        desk.seen(&id, S::Available, Phase::Rest).await;
        put(55, json!({"target": "active", "configdrive": {"meta_data": {"a": 1}}})).await.refused(400, "1.56");
        put(58, json!({"target": "active", "configdrive": {"vendor_data": {}}})).await.refused(400, "1.59");
        put(59, json!({"target": "active", "configdrive": {"vendor_data": {}, "user_data": "#!/bin/sh"}})).await.expect(202);
        assert!(desk.drive(&id).await.unwrap().starts_with("H4sI"));
    });
}

#[test]
fn arguments_belong_to_their_verbs() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = fake(&desk, "m1").await;
        let path = format!("{NODES}/{id}/states/provision");
        for (state, body, word) in [
            (S::Manageable, json!({"target": "clean"}), "\"clean_steps\" is required"),
            (S::Manageable, json!({"target": "clean", "clean_steps": []}), "\"clean_steps\" is required"),
            (S::Manageable, json!({"target": "clean", "clean_steps": "x"}), "clean_steps"),
            (S::Manageable, json!({"target": "clean", "clean_steps": [{"step": "x"}]}), "Invalid clean_steps: 'interface' is a required"),
            (
                S::Manageable,
                json!({"target": "provide", "clean_steps": [step("x")]}),
                "only valid when setting target provision state to clean",
            ),
            (S::Active, json!({"target": "service"}), "\"service_steps\" is required"),
            (S::Active, json!({"target": "rescue"}), "A non-empty \"rescue_password\" is required"),
            (S::Active, json!({"target": "rescue", "rescue_password": "  "}), "A non-empty \"rescue_password\" is required"),
            (S::Active, json!({"target": "deleted", "rescue_password": "x"}), "\"rescue_password\" is only valid"),
            (S::Manageable, json!({"target": "provide", "disable_ramdisk": true}), "disable_ramdisk is supported only"),
            (S::Manageable, json!({"target": "clean", "clean_steps": [step("x")], "disable_ramdisk": "perhaps"}), "Unrecognized value"),
            (S::Manageable, json!({"target": "fly"}), "The requested action \"fly\" can not be performed"),
            (S::Manageable, json!({"target": 7}), "target"),
            (S::Manageable, json!({"target": "provide", "deploy_steps": [step("x")]}), "deploy_steps"),
        ] {
            desk.seen(&id, state, Phase::Rest).await;
            desk.put(admin, &path, body).await.refused(400, word);
        }
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        let steps =
            json!([{"interface": "deploy", "step": "erase_devices", "args": {"tags": ["a"]}}, {"interface": "bios", "step": "reset"}]);
        desk.put(admin, &path, json!({"target": "clean", "clean_steps": steps, "disable_ramdisk": true})).await.expect(202);
        let request = desk.node(&id).await.desired.request.unwrap();
        let names: Vec<&str> = request.steps.iter().map(|it| it.step.as_str()).collect();
        assert_eq!((names, request.disable_ramdisk), (vec!["erase_devices", "reset"], true));
        assert_eq!(request.steps[0].args["tags"], json!(["a"]));
        desk.seen(&id, S::Active, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "rescue", "rescue_password": "open sesame"})).await.expect(202);
        assert_eq!(desk.node(&id).await.desired.rescue_password.unwrap().reveal(), "open sesame");
        let shown = desk.get(admin, &format!("{NODES}/{id}")).await.expect(200);
        assert!(!shown.to_string().contains("open sesame"));
        assert_eq!((&shown["provision_state"], &shown["target_provision_state"]), (&json!("rescuing"), &json!("rescue")));
        assert_eq!(shown["reservation"], "c1.example");
    });
}

#[test]
fn protected_retired_and_maintained_machines_are_left_alone() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = fake(&desk, "m1").await;
        let (node, path) = (format!("{NODES}/{id}"), format!("{NODES}/{id}/states/provision"));
        let set = |key: &str, value: Value| json!([{"op": "add", "path": format!("/{key}"), "value": value}]);
        desk.patch(admin, &node, set("protected", json!(true))).await.refused(409, "can only be made protected in provision states");
        desk.seen(&id, S::Active, Phase::Rest).await;
        let both =
            json!([{"op": "add", "path": "/protected", "value": "true"}, {"op": "add", "path": "/protected_reason", "value": "gold"}]);
        assert_eq!(desk.patch(admin, &node, both).await.expect(200)["protected_reason"], "gold");
        for target in ["deleted", "rebuild", "undeploy"] {
            desk.put(admin, &path, json!({"target": target})).await.refused(403, "is protected and cannot be undeployed");
        }
        desk.delete(admin, &node).await.refused(403, "is protected");
        assert_eq!(desk.patch(admin, &node, set("protected", json!(false))).await.expect(200)["protected_reason"], Value::Null);

        desk.patch(admin, &node, set("retired", json!(true))).await.expect(200);
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "provide"})).await.refused(400, "because it is retired");
        desk.patch(admin, &node, json!([{"op": "remove", "path": "/retired"}])).await.expect(200);
        desk.seen(&id, S::Available, Phase::Rest).await;
        desk.patch(admin, &node, set("retired", json!(true))).await.refused(409, "can not have 'retired' set");

        desk.put(admin, &format!("{node}/maintenance"), json!({"reason": "fan"})).await.expect(202);
        assert_eq!(desk.get(admin, &node).await.expect(200)["maintenance_reason"], "fan");
        desk.put(admin, &path, json!({"target": "active"})).await.refused(400, "because it's in maintenance mode");
        desk.seen(&id, S::Active, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "rescue", "rescue_password": "x"})).await.refused(400, "in maintenance mode");
        // Taken out by a patch the reason goes too.
        assert_eq!(desk.patch(admin, &node, set("maintenance", json!(false))).await.expect(200)["maintenance_reason"], Value::Null);
        // A machine that is never switched off.
        desk.patch(admin, &node, set("disable_power_off", json!(true))).await.expect(200);
        for target in ["power off", "soft power off"] {
            desk.put(admin, &format!("{node}/states/power"), json!({"target": target}))
                .await
                .refused(409, "Failed to set node power state");
        }
        desk.put(admin, &format!("{node}/states/power"), json!({"target": "rebooting"})).await.expect(202);
        desk.seen(&id, S::Cleaning, Phase::Agent).await;
        desk.put(admin, &format!("{node}/states/power"), json!({"target": "power on"})).await.refused(400, "in state \"clean wait\"");
    });
}

#[test]
fn runbooks_are_expanded_where_a_node_has_their_trait() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let fiona = desk.somebody("fiona", "finance", "manager").await;
        let id = fake(&desk, "m1").await;
        let (node, path) = (format!("{NODES}/{id}"), format!("{NODES}/{id}/states/provision"));
        desk.patch(admin, &node, json!([{"op": "add", "path": "/owner", "value": fiona.project}])).await.expect(200);
        let step =
            |step: &str, priority| Step { interface: "deploy".into(), step: step.into(), args: Map::new(), priority, ..Step::default() };
        let desired = RunbookDesired {
            steps: vec![step("second", 2), step("first", 1)],
            disable_ramdisk: true,
            owner: Some(fiona.project.clone()),
            traits: vec!["CUSTOM_GPU".into()],
            ..RunbookDesired::default()
        };
        let book: Object<Runbook> = Object::new(Id::random(), None, "CUSTOM_BOOK", desired);
        desk.app.store.apply(Batch::wishes().create(&book)).await.unwrap();
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        let clean = |book: &str| json!({"target": "clean", "runbook": book});
        let before = at(&desk, admin, 91, Method::PUT, &format!("nodes/{id}/states/provision"), Some(clean("CUSTOM_BOOK"))).await;
        before.expect(406);
        desk.put(admin, &path, clean("CUSTOM_NONE")).await.refused(404, "Runbook CUSTOM_NONE could not be found.");
        desk.put(admin, &path, clean("CUSTOM_BOOK")).await.refused(400, "has not been approved for use on this node");
        desk.put(admin, &format!("{node}/traits/CUSTOM_GPU"), Value::Null).await.expect(204);
        let mick = desk.somebody("mick", "medical", "manager").await;
        desk.put(&mick, &path, clean("CUSTOM_BOOK")).await.expect(404);
        desk.put(admin, &path, json!({"target": "provide", "runbook": "CUSTOM_BOOK"})).await.refused(400, "\"runbooks\" is only valid");
        let both = json!({"target": "clean", "runbook": "CUSTOM_BOOK", "clean_steps": [{"interface": "deploy", "step": "x"}]});
        desk.put(admin, &path, both).await.refused(400, "but not both");
        desk.put(&fiona, &path, clean(book.id.as_str())).await.expect(202);
        let request = desk.node(&id).await.desired.request.unwrap();
        let names: Vec<&str> = request.steps.iter().map(|it| it.step.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        assert_eq!((request.runbook, request.disable_ramdisk), (Some(book.id), true));
    });
}

#[test]
fn images_are_checked_before_a_machine_is_deployed() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let (node, path) = (format!("{NODES}/{id}"), format!("{NODES}/{id}/states/provision"));
        let raw = desk.image(admin, "debian").await;
        let sum = "a".repeat(64);
        for (info, word) in [
            (json!({}), "image_source"),
            (json!({"image_source": "http://x/debian.raw"}), "neither image_os_hash_algo"),
            (json!({"image_source": "http://x/debian.raw", "image_checksum": "d41d8cd98f00b204e9800998ecf8427e"}), "SHA-256"),
            (json!({"image_source": "http://x/debian.raw", "image_checksum": sum, "image_disk_format": "vmdk"}), "image_disk_format"),
            (json!({"image_source": "file:///srv/../etc/shadow", "image_checksum": sum}), "not the address"),
            (json!({"image_source": "http://x/debian.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": sum}), ""),
            (json!({"image_source": "file:///srv/debian.qcow2", "image_checksum": sum, "image_disk_format": "qcow2"}), ""),
            (json!({"image_source": raw}), ""),
        ] {
            desk.seen(&id, S::Available, Phase::Rest).await;
            desk.patch(admin, &node, json!([{"op": "add", "path": "/instance_info", "value": info}])).await.expect(200);
            let validated = desk.get(admin, &format!("{node}/validate")).await.expect(200);
            assert_eq!(validated["deploy"]["result"], word.is_empty(), "{info}: {validated}");
            let answer = desk.put(admin, &path, json!({"target": "active"})).await;
            if word.is_empty() {
                answer.expect(202);
            } else {
                answer.refused(400, word);
            }
        }
        // What writes no image needs none.
        desk.seen(&id, S::Available, Phase::Rest).await;
        let none = json!([{"op": "remove", "path": "/instance_info"}, {"op": "add", "path": "/deploy_interface", "value": "ramdisk"}]);
        desk.patch(admin, &node, none).await.expect(200);
        desk.put(admin, &path, json!({"target": "active"})).await.expect(202);
        // Files of the host are its administrators'.
        let finance = desk.somebody("fiona", "finance", "manager").await;
        desk.seen(&id, S::Available, Phase::Rest).await;
        let lent = json!([
            {"op": "add", "path": "/lessee", "value": finance.project}, {"op": "add", "path": "/deploy_interface", "value": "direct"},
            {"op": "add", "path": "/instance_info", "value": {"image_source": "file:///srv/debian.raw", "image_checksum": sum}},
        ]);
        desk.patch(admin, &node, lent).await.expect(200);
        desk.put(&finance, &path, json!({"target": "active"})).await.refused(400, "administrators only");
    });
}
