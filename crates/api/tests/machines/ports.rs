//! Ports: cards and their cables.

use http::Method;
use model::baremetal::{Phase, ProvisionState as S};
use serde_json::{Value, json};

use crate::desk::{Desk, mac};
use crate::parts::{V1, at, fields, listed, made, remove, replace, walked};
use crate::world::{on_each, on_sqlite};

fn link(port: &str) -> Value {
    json!({"switch_id": "02:CF:00:00:00:01", "port_id": port})
}

#[test]
fn ports_are_checked_and_held() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let (one, two) = (desk.machine("m1").await, desk.machine("m2").await);
        let body = |more: Value| {
            let mut body = json!({"node_uuid": one, "address": "52:54:00:00:00:09"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (body, status, word) in [
            (json!({"node_uuid": one}), 400, "Schema error for port: 'address' is a required property"),
            (json!({"address": "52:54:00:00:00:09"}), 400, "is not valid under any of the given schemas"),
            (body(json!({"node_ident": "m1"})), 400, "node_ident"),
            (body(json!({"node_uuid": "nobody"})), 400, "Expected UUID for node_uuid: nobody"),
            (json!({"node_ident": "nobody", "address": "52:54:00:00:00:09"}), 400, "Node nobody could not be found."),
            (body(json!({"node_uuid": model::Id::<()>::random()})), 400, "could not be found"),
            (body(json!({"address": "zz"})), 400, "Expected valid MAC address for address: zz"),
            (body(json!({"address": 5})), 400, "5 is not of type 'string'"),
            (body(json!({"address": mac("m2").to_uppercase()})), 409, &format!("A port with MAC address {} already exists.", mac("m2"))),
            (body(json!({"local_link_connection": link("m2")})), 409, "cable"),
            (body(json!({"local_link_connection": {"port_id": "x"}})), 400, "is not valid under any of the given schemas"),
            (body(json!({"local_link_connection": {"port_id": "x", "switch_id": "leaf1"}})), 400, "MAC address or OpenFlow datapath ID"),
            (body(json!({"pxe_enabled": "perhaps"})), 400, "Invalid pxe_enabled: Unrecognized value 'perhaps'"),
            (body(json!({"physical_network": ""})), 400, "A non-empty value is required when setting physical_network"),
            (body(json!({"physical_network": "x".repeat(65)})), 400, "is too long"),
            (body(json!({"is_smartnic": true})), 400, "Smart NIC port must have port_id and hostname"),
            (body(json!({"internal_info": {}})), 400, "'internal_info' was unexpected"),
            (body(json!({"colour": 1})), 400, "Additional properties are not allowed ('colour' was unexpected)"),
            (json!([]), 400, "not of type 'object'"),
        ] {
            desk.post(admin, &format!("{V1}/ports"), body.clone()).await.refused(status, word);
        }
        let port = listed(&desk, admin, &format!("ports?node={two}"), "ports").await[0]["uuid"].as_str().unwrap().to_owned();
        let path = format!("{V1}/ports/{port}");
        let shown = desk.get(admin, &path).await.expect(200);
        assert_eq!((&shown["address"], &shown["pxe_enabled"]), (&json!(mac("m2")), &json!(true)));
        assert_eq!(shown["local_link_connection"], json!({"switch_id": "02:cf:00:00:00:01", "port_id": "m2"}));
        desk.patch(admin, &path, replace("/local_link_connection/port_id", json!("m1"))).await.refused(409, "cable");
        desk.patch(admin, &path, replace("/address", json!(mac("m1")))).await.refused(409, "MAC");
        desk.patch(admin, &path, replace("/local_link_connection/port_id", json!("m3"))).await.expect(200);
        // The old end is free, the new one is not.
        let cabled = |cable: &str, address: &str| json!({"node_uuid": one, "address": address, "local_link_connection": link(cable)});
        desk.post(admin, &format!("{V1}/ports"), cabled("m3", "52:54:00:00:00:0a")).await.refused(409, "cable");
        made(&desk, admin, "ports", cabled("m2", "52:54:00:00:00:0a")).await;
        // A machine on offer was proven isolated where it is plugged in.
        desk.seen(&two, S::Available, Phase::Rest).await;
        desk.patch(admin, &path, replace("/local_link_connection/port_id", json!("m4"))).await.refused(409, "connectivity attributes");
        desk.seen(&two, S::Active, Phase::Rest).await;
        desk.patch(admin, &path, replace("/address", json!("52:54:00:00:00:0b"))).await.refused(409, "Cannot update hardware address");
        desk.seen(&two, S::Cleaning, Phase::Agent).await;
        desk.patch(admin, &path, replace("/address", json!("52:54:00:00:00:0b"))).await.refused(409, "locked");
        desk.patch(admin, &path, replace("/description", json!("words"))).await.expect(200);
        desk.delete(admin, &path).await.refused(409, "locked");
        desk.seen(&two, S::Manageable, Phase::Rest).await;
        desk.delete(admin, &path).await.expect(204);
        desk.get(admin, &path).await.refused(404, &format!("Port {port} could not be found."));
        made(&desk, admin, "ports", cabled("m3", "52:54:00:00:00:0c")).await;
    });
}

#[test]
fn a_port_shows_and_takes_what_the_version_knows() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        let body = json!({
            "node_ident": "m1", "address": "52:54:00:00:00:09", "name": "eth0", "description": "d", "vendor": "v", "category": "c",
            "is_smartnic": true, "local_link_connection": {"port_id": "rep0", "hostname": "nic1"}, "pxe_enabled": "no",
            "physical_network": "physnet1", "extra": {"a": 1}, "available_for_dynamic_portgroup": false,
        });
        let id = made(&desk, admin, "ports", body).await;
        let shown = desk.get(admin, &format!("{V1}/ports/eth0")).await.expect(200);
        for (field, value) in [
            ("uuid", json!(id)),
            ("node_uuid", json!(node)),
            ("is_smartnic", json!(true)),
            ("pxe_enabled", json!(false)),
            ("portgroup_uuid", Value::Null),
            ("internal_info", json!({})),
            ("local_link_connection", json!({"port_id": "rep0", "hostname": "nic1"})),
            ("available_for_dynamic_portgroup", json!(false)),
            ("updated_at", Value::Null),
        ] {
            assert_eq!(shown[field], value, "{field}");
        }
        assert!(shown["links"][1]["href"].as_str().unwrap().ends_with(&format!("/baremetal/ports/{id}")));
        let path = format!("ports/{id}");
        let since = [
            ("internal_info", 18),
            ("pxe_enabled", 19),
            ("local_link_connection", 19),
            ("portgroup_uuid", 24),
            ("physical_network", 34),
            ("is_smartnic", 53),
            ("name", 88),
            ("description", 97),
            ("vendor", 100),
            ("category", 101),
            ("available_for_dynamic_portgroup", 111),
        ];
        for (field, minor) in since {
            let old = at(&desk, admin, minor - 1, Method::GET, &path, None).await.expect(200);
            assert_eq!(old.get(field), None, "{field}");
            let new = at(&desk, admin, minor, Method::GET, &path, None).await.expect(200);
            assert!(new.get(field).is_some(), "{field}");
            if minor > 8 {
                at(&desk, admin, minor - 1, Method::GET, &format!("{path}?fields={field}"), None).await.refused(406, "not acceptable");
                at(&desk, admin, minor - 1, Method::GET, &format!("ports?sort_key={field}"), None)
                    .await
                    .refused(if ["internal_info", "local_link_connection"].contains(&field) { 400 } else { 406 }, "");
            }
        }
        let early = |field: &str, value: Value| json!({"node_uuid": node, "address": "52:54:00:00:00:0a", field: value});
        for (field, minor, value) in [
            ("pxe_enabled", 18, json!(true)),
            ("local_link_connection", 18, link("p")),
            ("physical_network", 33, json!("x")),
            ("is_smartnic", 52, json!(false)),
            ("local_link_connection", 63, json!({"network_type": "unmanaged"})),
            ("local_link_connection", 105, json!({"port_id": "p", "vtep-logical-switch": "a", "vtep-physical-switch": "b"})),
            ("name", 87, json!("x")),
            ("node_ident", 93, json!("m1")),
        ] {
            let mut body = early(field, value);
            if field == "node_ident" {
                body.as_object_mut().unwrap().remove("node_uuid");
            }
            at(&desk, admin, minor, Method::POST, "ports", Some(body)).await.refused(406, "not acceptable");
        }
        at(&desk, admin, 33, Method::PATCH, &path, Some(replace("/physical_network", json!("x")))).await.refused(406, "not acceptable");
        at(&desk, admin, 7, Method::GET, "ports?fields=uuid", None).await.refused(406, "not acceptable");
        at(&desk, admin, 42, Method::GET, "ports?detail=true", None).await.refused(400, "?detail=True");
        // VTEPs were known for some versions only.
        let vtep = json!({"port_id": "p", "vtep-logical-switch": "a", "vtep-physical-switch": "b"});
        let body = json!({"node_uuid": node, "address": "52:54:00:00:00:0b", "local_link_connection": vtep});
        let id = at(&desk, admin, 90, Method::POST, "ports", Some(body)).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        for (minor, expected) in [(89, json!({})), (90, vtep.clone()), (104, vtep), (105, json!({}))] {
            let shown = at(&desk, admin, minor, Method::GET, &format!("ports/{id}"), None).await.expect(200);
            assert_eq!(shown["local_link_connection"], expected, "1.{minor}");
        }
    });
}

#[test]
fn patches_are_applied_one_by_one() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let node = desk.machine("m1").await;
        let id = made(&desk, admin, "ports", json!({"node_uuid": node, "address": "52:54:00:00:00:09", "extra": {"a": 1}})).await;
        let path = format!("{V1}/ports/{id}");
        for (patch, status, word) in [
            (json!({}), 400, "Schema error for patch"),
            (json!([{"op": "move", "path": "/extra"}]), 400, "Schema error for patch"),
            (replace("/uuid", json!("x")), 400, "Cannot patch /uuid. Only the following can be updated: address, extra, is_smartnic,"),
            (replace("/internal_info/x", json!("x")), 400, "Cannot patch /internal_info/x."),
            (json!([{"op": "add", "path": "/node_ident", "value": "m1"}]), 400, "Adding a new attribute (/node_ident) to the root"),
            (replace("/extra/none", json!(1)), 400, "Couldn't apply patch '{'op': 'replace', 'path': '/extra/none', 'value': 1}'. Reason:"),
            (
                json!([{"op": "add", "path": "/extra/b", "value": 2}, {"op": "remove", "path": "/extra/c"}]),
                400,
                "Couldn't apply patch '{'op': 'remove', 'path': '/extra/c'}'",
            ),
            (remove("/address"), 400, "'address' is a required property"),
            (replace("/address", json!("x")), 400, "Expected valid MAC address"),
            (replace("/extra", json!("x")), 400, "'x' is not of type 'object', 'null'"),
            (replace("/node_uuid", json!(model::Id::<()>::random())), 400, "Unable to apply the requested node_uuid"),
        ] {
            desk.patch(admin, &path, patch).await.refused(status, word);
        }
        assert_eq!(desk.get(admin, &path).await.expect(200)["extra"], json!({"a": 1}), "all or nothing");
        let patch = json!([
            {"op": "add", "path": "/extra/b", "value": {"c": [1]}},
            {"op": "add", "path": "/extra/b/c/-", "value": 2},
            {"op": "remove", "path": "/extra/a"},
            {"op": "add", "path": "/name", "value": "eth0"},
            {"op": "replace", "path": "/pxe_enabled", "value": false},
        ]);
        let after = desk.patch(admin, &path, patch).await.expect(200);
        assert_eq!((&after["extra"], &after["name"], &after["pxe_enabled"]), (&json!({"b": {"c": [1, 2]}}), &json!("eth0"), &json!(false)));
        assert!(after["updated_at"].is_string());
        let other = made(&desk, admin, "ports", json!({"node_uuid": node, "address": "52:54:00:00:00:0a"})).await;
        desk.patch(admin, &format!("{V1}/ports/{other}"), replace("/name", json!("eth0"))).await.refused(409, "A port with name eth0");
        // What is removed has its default again, and its name is free.
        let patch = json!([{"op": "remove", "path": "/name"}, {"op": "remove", "path": "/pxe_enabled"}]);
        let after = desk.patch(admin, &format!("{V1}/ports/eth0"), patch).await.expect(200);
        assert_eq!((&after["name"], &after["pxe_enabled"]), (&Value::Null, &json!(true)));
        desk.patch(admin, &format!("{V1}/ports/{other}"), replace("/name", json!("eth0"))).await.expect(200);
        // It moves to another node of the same owner.
        let two = desk.machine("m2").await;
        assert_eq!(desk.patch(admin, &path, replace("/node_uuid", json!(two))).await.expect(200)["node_uuid"], json!(two));
    });
}

#[test]
fn ports_are_listed_filtered_sorted_and_paged() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let (one, two) = (desk.machine("m1").await, desk.machine("m2").await);
        for (number, name) in ["b", "a", "c"].iter().enumerate() {
            let body = json!({
                "node_uuid": one, "address": format!("52:54:ff:00:00:0{number}"), "name": name,
                "description": format!("card {name}"), "pxe_enabled": number != 1,
            });
            made(&desk, admin, "ports", body).await;
        }
        let names = async |query: &str| -> Vec<String> {
            let items = listed(&desk, admin, &format!("ports?fields=name,uuid&{query}"), "ports").await;
            items.iter().filter_map(|it| it["name"].as_str().map(str::to_owned)).collect()
        };
        let mine = format!("node={one}");
        assert_eq!(names(&mine).await, ["b", "a", "c"], "as they were made");
        assert_eq!(names("node=m1&sort_key=name").await, ["a", "b", "c"]);
        assert_eq!(names("node=m1&sort_key=address&sort_dir=desc").await, ["c", "a", "b"]);
        assert_eq!(names("node=m1&sort_key=pxe_enabled").await, ["a", "b", "c"]);
        assert_eq!(names("description_contains=card").await, ["b", "a", "c"]);
        assert_eq!(names("address=52:54:FF:00:00:02").await, ["c"]);
        assert_eq!(names("address=52:54:FF:00:00:99").await, [""; 0]);
        assert_eq!(names(&format!("node_uuid={two}")).await, [""; 0]);
        let brief = listed(&desk, admin, "ports", "ports").await;
        assert_eq!((brief.len(), fields(&brief[0])), (5, vec!["address", "uuid"]));
        for path in ["ports/detail".to_owned(), "ports?detail=yes".into(), format!("nodes/{one}/ports/detail")] {
            let full = listed(&desk, admin, &path, "ports").await;
            assert_eq!(fields(&full[0]).len(), 17, "{path}");
        }
        assert_eq!(listed(&desk, admin, "nodes/m2/ports", "ports").await.len(), 1);
        for path in ["ports?limit=2", "ports?limit=2&sort_key=pxe_enabled&sort_dir=desc", "ports/detail?limit=1", "ports?limit=5"] {
            let mut ids = walked(&desk, admin, path, "ports").await;
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 5, "{path}");
        }
        let next =
            desk.get(admin, &format!("{V1}/ports?limit=1&fields=uuid,address")).await.expect(200)["next"].as_str().unwrap().to_owned();
        assert!(next.contains("/v1/ports?sort_key=id&sort_dir=asc&fields=uuid,address&limit=1&marker="), "{next}");
        for (query, status, word) in [
            ("limit=0", 400, "Limit must be positive"),
            ("limit=x", 400, "Expected an integer for limit: x"),
            ("sort_dir=up", 400, "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'"),
            ("sort_key=extra", 400, "The sort_key value extra is an invalid field for sorting"),
            ("sort_key=colour", 400, "The sort_key value \"colour\" is an invalid field for sorting"),
            ("marker=x", 400, "Expected UUID for marker: x"),
            ("marker=8d5c4b35-4ae9-4e13-9d3c-6b5f5c1e2b1a", 404, "Port 8d5c4b35-4ae9-4e13-9d3c-6b5f5c1e2b1a could not be found."),
            ("fields=colour", 400, "Field(s) \"colour\" are not valid"),
            ("fields=uuid&detail=true", 400, "Can not specify ?detail=True and fields in the same request."),
            ("colour=red", 400, "Unexpected arguments: colour"),
            ("address=zz", 400, "Expected valid MAC address"),
            ("node=m1&portgroup=x", 403, "Operation not permitted."),
            ("node=m1&conductor_groups=x", 400, "conductor_groups cannot be combined"),
            ("node=nobody", 404, "Node nobody could not be found."),
        ] {
            desk.get(admin, &format!("{V1}/ports?{query}")).await.refused(status, word);
        }
        desk.get(admin, &format!("{V1}/nodes/{one}/ports/x")).await.refused(400, "Malformed request URI.");
        assert_eq!(at(&desk, admin, 81, Method::GET, "ports?shard=a", None).await.status.as_u16(), 406);
    });
}

#[test]
fn projects_see_the_cards_of_their_machines() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let owner = desk.somebody("olga", "owners", "manager").await;
        let reader = desk.somebody("rita", "owners", "reader").await;
        let lessee = desk.tenant("lena", "lessees").await;
        let stranger = desk.somebody("stan", "strangers", "manager").await;
        let (one, _) = (desk.machine("m1").await, desk.machine("m2").await);
        let give =
            json!([{"op": "add", "path": "/owner", "value": owner.project}, {"op": "add", "path": "/lessee", "value": lessee.project}]);
        desk.patch(admin, &format!("{V1}/nodes/{one}"), give).await.expect(200);
        for (who, count) in [(&owner, 1), (&reader, 1), (&lessee, 1), (&stranger, 0), (admin, 2)] {
            assert_eq!(listed(&desk, who, "ports", "ports").await.len(), count);
        }
        let id = listed(&desk, &owner, "ports", "ports").await[0]["uuid"].as_str().unwrap().to_owned();
        let path = format!("{V1}/ports/{id}");
        for who in [&owner, &reader, &lessee] {
            desk.get(who, &path).await.expect(200);
        }
        desk.get(&stranger, &path).await.refused(404, "could not be found");
        desk.patch(&stranger, &path, replace("/extra/x", json!(1))).await.expect(404);
        desk.delete(&stranger, &path).await.expect(404);
        for who in [&reader, &lessee] {
            desk.patch(who, &path, json!([{"op": "add", "path": "/extra/x", "value": 1}])).await.refused(403, "baremetal:port:update");
            desk.delete(who, &path).await.refused(403, "baremetal:port:delete");
            let body = json!({"node_uuid": one, "address": "52:54:00:00:00:09"});
            desk.post(who, &format!("{V1}/ports"), body).await.refused(403, "baremetal:port:create");
        }
        let body = json!({"node_uuid": one, "address": "52:54:00:00:00:09"});
        desk.post(&stranger, &format!("{V1}/ports"), body.clone()).await.expect(403);
        let other = made(&desk, &owner, "ports", body).await;
        desk.patch(&owner, &format!("{V1}/ports/{other}"), json!([{"op": "add", "path": "/extra/x", "value": 1}])).await.expect(200);
        desk.delete(&owner, &format!("{V1}/ports/{other}")).await.expect(204);
    });
}
