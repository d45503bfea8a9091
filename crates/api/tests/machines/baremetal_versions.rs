//! What each microversion shows and takes of nodes: a table, and every minor there is.

use http::Method;
use model::Id;
use model::baremetal::Chassis;
use model::baremetal::{Phase, ProvisionState as S};
use serde_json::{Value, json};

use crate::desk::{Desk, mac};
use crate::parts::at;
use crate::world::on_sqlite;

const MAX: u16 = 115;

/// Each field that came after 1.1, and a value it can be given at creation and by a patch; null: by neither.
fn fields() -> Vec<(&'static str, u16, Value, Value)> {
    let both = |name, since, value: Value| (name, since, value.clone(), value);
    let shown = |name, since| (name, since, Value::Null, Value::Null);
    let mut out = vec![
        shown("driver_internal_info", 3),
        both("name", 5, json!("n1")),
        shown("inspection_finished_at", 6),
        shown("inspection_started_at", 6),
        shown("clean_step", 7),
        shown("raid_config", 12),
        shown("target_raid_config", 12),
        both("resource_class", 21, json!("bm")),
        shown("traits", 37),
        shown("fault", 42),
        shown("deploy_step", 44),
        both("conductor_group", 46, json!("rack1")),
        both("automated_clean", 47, json!(true)),
        ("protected", 48, Value::Null, json!(true)),
        ("protected_reason", 48, Value::Null, Value::Null),
        shown("conductor", 49),
        both("owner", 50, json!("p")),
        both("description", 51, json!("d")),
        shown("allocation_uuid", 52),
        both("retired", 61, json!(true)),
        shown("retired_reason", 61),
        both("lessee", 65, json!("p")),
        both("network_data", 66, json!({"links": [], "networks": [], "services": []})),
        shown("boot_mode", 75),
        shown("secure_boot", 75),
        both("shard", 82, json!("s1")),
        shown("parent_node", 83),
        shown("service_step", 87),
        both("disable_power_off", 95, json!(true)),
        both("instance_name", 104, json!("i")),
        shown("health", 109),
        both("network_interface", 20, json!("noop")),
        both("storage_interface", 33, json!("fake")),
        both("rescue_interface", 38, json!("no-rescue")),
        both("bios_interface", 40, json!("no-bios")),
        both("firmware_interface", 86, json!("no-firmware")),
    ];
    for (name, value) in [
        ("boot_interface", "pxe"),
        ("console_interface", "no-console"),
        ("deploy_interface", "ramdisk"),
        ("inspect_interface", "no-inspect"),
        ("management_interface", "noop"),
        ("power_interface", "fake"),
        ("raid_interface", "no-raid"),
        ("vendor_interface", "no-vendor"),
    ] {
        out.push(both(name, 31, json!(value)));
    }
    out
}

#[test]
fn every_field_is_hidden_below_its_version() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let id = desk.machine("m1").await;
        for minor in 1..=MAX {
            let shown = at(&desk, &desk.admin, minor, Method::GET, &format!("nodes/{id}"), None).await.expect(200);
            let listed = at(&desk, &desk.admin, minor, Method::GET, "nodes/detail", None).await.expect(200);
            assert_eq!(shown, listed["nodes"][0], "1.{minor}");
            for (name, since, _, _) in fields() {
                assert_eq!(shown.get(name).is_some(), minor >= since, "{name} at 1.{minor}");
            }
            for (name, since) in [("ports", 1), ("states", 14), ("portgroups", 24), ("volume", 32)] {
                assert_eq!(shown.get(name).is_some(), minor >= since, "links to {name} at 1.{minor}");
            }
            let states = at(&desk, &desk.admin, minor, Method::GET, &format!("nodes/{id}/states"), None).await.expect(200);
            for (name, since) in [("power_state", 1), ("raid_config", 12), ("boot_mode", 75)] {
                assert_eq!(states.get(name).is_some(), minor >= since, "{name} of states at 1.{minor}");
            }
            let brief = at(&desk, &desk.admin, minor, Method::GET, "nodes", None).await.expect(200);
            assert_eq!(brief["nodes"][0].as_object().unwrap().len(), if minor < 5 { 6 } else { 7 }, "1.{minor}");
        }
    });
}

#[test]
fn every_field_is_refused_when_it_comes_too_early() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        crate::desk::conductor(world, "c2.example", "rack1", -3600).await;
        let admin = &desk.admin;
        let body = json!({"driver": "fake-hardware"});
        let id = at(&desk, admin, 11, Method::POST, "nodes", Some(body)).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        for (name, since, post, patch) in fields() {
            if since > 8 {
                let path = format!("nodes?fields={name}");
                assert_eq!(at(&desk, admin, since - 1, Method::GET, &path, None).await.status.as_u16(), 406, "fields={name}");
                at(&desk, admin, since, Method::GET, &path, None).await.expect(200);
            }
            if !post.is_null() {
                let body = json!({"driver": "fake-hardware", name: post});
                if since > 1 {
                    let early = at(&desk, admin, since - 1, Method::POST, "nodes", Some(body.clone())).await;
                    assert_eq!(early.status.as_u16(), 406, "{name} in 1.{}: {}", since - 1, early.body);
                }
                let made = at(&desk, admin, since.max(11), Method::POST, "nodes", Some(body)).await.expect(201);
                assert_eq!(made[name], post, "{name}");
                let made = made["uuid"].as_str().unwrap().to_owned();
                at(&desk, admin, MAX, Method::DELETE, &format!("nodes/{made}"), None).await.expect(204);
            }
            if !patch.is_null() {
                if name == "protected" {
                    desk.seen(&id, S::Active, Phase::Rest).await;
                }
                let path = format!("nodes/{id}");
                let patch_body = json!([{"op": "add", "path": format!("/{name}"), "value": patch}]);
                let early = at(&desk, admin, since - 1, Method::PATCH, &path, Some(patch_body.clone())).await;
                assert_eq!(early.status.as_u16(), 406, "{name} in 1.{}: {}", since - 1, early.body);
                let done = at(&desk, admin, since, Method::PATCH, &path, Some(patch_body)).await.expect(200);
                assert_eq!(done[name], patch, "{name}");
                desk.seen(&id, S::Manageable, Phase::Rest).await;
                // What an old version does not see it may take away.
                let away = json!([{"op": "remove", "path": format!("/{name}")}]);
                at(&desk, admin, since - 1, Method::PATCH, &path, Some(away)).await.expect(200);
            }
        }
    });
}

#[test]
fn every_endpoint_and_filter_comes_with_its_version() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let n = format!("nodes/{id}");
        for (tail, since, early) in [
            ("/vifs", 28, 404),
            ("/traits", 37, 406),
            ("/bios", 40, 404),
            ("/history", 78, 404),
            ("/inventory", 81, 404),
            ("/children", 83, 404),
            ("/firmware", 86, 404),
        ] {
            for minor in 1..=MAX {
                let status = at(&desk, admin, minor, Method::GET, &format!("{n}{tail}"), None).await.status.as_u16();
                let late = if tail == "/inventory" { 404 } else { 200 };
                assert_eq!(status, if minor < since { early } else { late }, "{tail} at 1.{minor}");
            }
        }
        for (query, since) in [
            ("fields=uuid", 8),
            ("provision_state=available", 9),
            ("driver=redfish", 16),
            ("resource_class=bm", 21),
            ("fault=power+failure", 42),
            ("conductor_group=x", 46),
            ("conductor=cofferdam", 49),
            ("owner=x", 50),
            ("lessee=x", 65),
            ("shard=x", 82),
            ("sharded=true", 82),
            ("include_children=true", 83),
            ("instance_name=x", 104),
            ("sort_key=owner", 50),
        ] {
            let path = format!("nodes?{query}");
            assert_eq!(at(&desk, admin, since - 1, Method::GET, &path, None).await.status.as_u16(), 406, "{query}");
            at(&desk, admin, since, Method::GET, &path, None).await.expect(200);
        }
        at(&desk, admin, 42, Method::GET, "nodes?detail=true", None).await.refused(400, "?detail=True");
        at(&desk, admin, 43, Method::GET, "nodes?detail=true", None).await.expect(200);
        for (tail, body, since, early) in [
            ("/states/power", json!({"target": "soft rebooting"}), 27, 406),
            ("/states/raid", json!({}), 12, 406),
            ("/states/boot_mode", json!({"target": "uefi"}), 76, 404),
            ("/states/secure_boot", json!({"target": true}), 76, 404),
            ("/states/provision", json!({"target": "manage"}), 4, 406),
        ] {
            desk.seen(&id, S::Enroll, Phase::Rest).await;
            let put = async |minor| at(&desk, admin, minor, Method::PUT, &format!("{n}{tail}"), Some(body.clone())).await;
            assert_eq!(put(since - 1).await.status.as_u16(), early, "{tail}");
            let status = put(since).await.status;
            assert!(status.is_success(), "{tail}: {status}");
        }
    });
}

#[test]
fn names_and_suffixes_are_read_as_the_version_reads_them() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        desk.machine("m1").await;
        at(&desk, admin, 4, Method::GET, "nodes/m1", None).await.refused(404, "Node m1 could not be found.");
        at(&desk, admin, 5, Method::GET, "nodes/m1", None).await.expect(200);
        at(&desk, admin, 90, Method::GET, "nodes/m1.json", None).await.expect(200);
        at(&desk, admin, 91, Method::GET, "nodes/m1.json", None).await.expect(404);
        at(&desk, admin, 91, Method::GET, "nodes/a%20b", None).await.refused(400, "Expected UUID or name");
        // Without the version in the path it is the same.
        desk.get(admin, "/baremetal/nodes/m1").await.expect(200);
        desk.get(admin, "/baremetal/nothing").await.expect(404);
    });
}

#[test]
fn what_a_node_sits_in_and_is_part_of() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let chassis = desk.post(admin, "/baremetal/v1/chassis", json!({})).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        assert!(Id::<Chassis>::parse(&chassis).is_some());
        let body = json!({"driver": "fake-hardware", "name": "blade", "chassis_uuid": chassis});
        let blade = desk.post(admin, "/baremetal/v1/nodes", body).await.expect(201);
        assert_eq!(blade["chassis_uuid"], chassis.as_str());
        let body = json!({"driver": "fake-hardware", "name": "dpu", "parent_node": "blade"});
        let dpu = desk.post(admin, "/baremetal/v1/nodes", body).await.expect(201);
        assert_eq!(dpu["parent_node"], blade["uuid"]);
        let names = async |query: &str| {
            let body = desk.get(admin, &format!("/baremetal/v1/nodes{query}")).await.expect(200);
            body["nodes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("").await, ["blade"]);
        assert_eq!(names("?include_children=true").await, ["blade", "dpu"]);
        assert_eq!(names("?parent_node=blade").await, ["dpu"]);
        assert_eq!(names(&format!("?chassis_uuid={chassis}")).await, ["blade"]);
        let children = desk.get(admin, "/baremetal/v1/nodes/blade/children").await.expect(200);
        assert_eq!(children["children"], json!([dpu["uuid"]]));
        let owned = json!({"driver": "fake-hardware", "owner": "x", "parent_node": "blade"});
        desk.post(admin, "/baremetal/v1/nodes", owned).await.refused(400, "parent_node 'blade'");
        // From 1.25 on a chassis can be taken away again.
        let away = json!([{"op": "remove", "path": "/chassis_uuid"}]);
        at(&desk, admin, 24, Method::PATCH, "nodes/blade", Some(away.clone())).await.expect(406);
        at(&desk, admin, 25, Method::PATCH, "nodes/blade", Some(away)).await.expect(200);
        assert_ne!(mac("blade"), mac("dpu"));
    });
}
