//! Drivers, conductors and shards.

use http::Method;
use model::baremetal::hardware::TYPES;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::parts::{V1, at, fields, listed};
use crate::world::on_sqlite;

#[test]
fn drivers_say_what_they_are() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let all = listed(&desk, admin, "drivers", "drivers").await;
        let names: Vec<&str> = all.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["fake-hardware", "ipmi", "manual-management", "redfish"]);
        assert_eq!(fields(&all[0]), ["hosts", "name", "properties", "type"]);
        for (minor, field, shown) in [
            (13, "properties", false),
            (14, "properties", true),
            (29, "type", false),
            (29, "default_boot_interface", false),
            (30, "default_boot_interface", true),
            (32, "enabled_storage_interfaces", false),
            (33, "enabled_storage_interfaces", true),
            (37, "default_rescue_interface", false),
            (39, "default_bios_interface", false),
            (85, "default_firmware_interface", false),
            (86, "default_firmware_interface", true),
        ] {
            let driver = at(&desk, admin, minor, Method::GET, "drivers/redfish", None).await.expect(200);
            assert_eq!(driver.get(field).is_some(), shown, "{field} in 1.{minor}");
        }
        for driver in TYPES {
            let path = format!("{V1}/drivers/{}", driver.name);
            let shown = desk.get(admin, &path).await.expect(200);
            for (interface, enabled) in driver.interfaces {
                let kind = interface.as_str();
                assert_eq!(shown[format!("enabled_{kind}_interfaces")], json!(enabled));
                assert_eq!(shown[format!("default_{kind}_interface")], json!(enabled[0]));
            }
            assert!(!desk.get(admin, &format!("{path}/properties")).await.expect(200).as_object().unwrap().is_empty());
            assert_eq!(desk.get(admin, &format!("{path}/vendor_passthru/methods")).await.expect(200), json!({}));
        }
        let raid = "raid/logical_disk_properties";
        assert!(desk.get(admin, &format!("{V1}/drivers/redfish/{raid}")).await.expect(200)["raid_level"].is_string());
        desk.get(admin, &format!("{V1}/drivers/ipmi/{raid}")).await.refused(404, "does not support raid");
        at(&desk, admin, 11, Method::GET, &format!("drivers/redfish/{raid}"), None).await.refused(406, "not acceptable");
        desk.get(admin, &format!("{V1}/drivers/x")).await.refused(404, "Could not find the following driver(s) or hardware type(s): x.");
        desk.post(admin, &format!("{V1}/drivers/redfish/vendor_passthru?method=fly"), json!({}))
            .await
            .refused(400, "No handler for method fly");
        assert_eq!(listed(&desk, admin, "drivers?type=classic", "drivers").await.len(), 0);
        desk.get(admin, &format!("{V1}/drivers?type=x")).await.refused(400, "must be one of \"classic\" or \"dynamic\"");
        at(&desk, admin, 29, Method::GET, "drivers?type=dynamic", None).await.refused(406, "should be 1.30");
        at(&desk, admin, 76, Method::GET, "drivers?fields=name", None).await.refused(406, "not acceptable");
        assert_eq!(
            fields(&listed(&desk, admin, "drivers?fields=name,default_boot_interface", "drivers").await[0]),
            ["default_boot_interface", "name"]
        );
        assert_eq!(fields(&listed(&desk, admin, "drivers?detail=true", "drivers").await[0]).len(), 4 + 26);
        let tenant = desk.tenant("tom", "tenants").await;
        desk.get(&tenant, &format!("{V1}/drivers")).await.refused(403, "baremetal:driver:get");
    });
}

#[test]
fn there_is_one_conductor() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let all = listed(&desk, admin, "conductors", "conductors").await;
        assert_eq!((all.len(), fields(&all[0])), (1, vec!["alive", "conductor_group", "hostname"]));
        let name = all[0]["hostname"].as_str().unwrap().to_owned();
        assert_eq!(all[0]["alive"], true);
        let shown = desk.get(admin, &format!("{V1}/conductors/{name}")).await.expect(200);
        assert_eq!(shown["drivers"], json!(["fake-hardware", "ipmi", "manual-management", "redfish"]));
        assert_eq!(fields(&listed(&desk, admin, "conductors?detail=true", "conductors").await[0]).len(), 6);
        assert_eq!(fields(&listed(&desk, admin, "conductors?fields=alive", "conductors").await[0]), ["alive"]);
        assert_eq!(listed(&desk, admin, &format!("conductors?marker={name}"), "conductors").await, Vec::<Value>::new());
        desk.get(admin, &format!("{V1}/conductors/x")).await.refused(404, "Conductor x could not be found.");
        desk.get(admin, &format!("{V1}/conductors?sort_key=alive")).await.refused(400, "invalid field for sorting");
        at(&desk, admin, 48, Method::GET, "conductors", None).await.refused(404, "not supported for this version");
        let tenant = desk.tenant("tom", "tenants").await;
        desk.get(&tenant, &format!("{V1}/conductors")).await.refused(403, "baremetal:conductor:get");
    });
}

#[test]
fn shards_are_counted() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        for name in ["m1", "m2", "m3"] {
            let id = desk.machine(name).await;
            if name != "m1" {
                let patch = json!([{"op": "add", "path": "/shard", "value": "s1"}]);
                desk.patch(admin, &format!("{V1}/nodes/{id}"), patch).await.expect(200);
            }
        }
        let shards = desk.get(admin, &format!("{V1}/shards")).await.expect(200);
        assert_eq!(shards, json!({"shards": [{"name": "None", "count": 1}, {"name": "s1", "count": 2}]}));
        assert_eq!(listed(&desk, admin, "ports?shard=s1,s2", "ports").await.len(), 2);
        at(&desk, admin, 81, Method::GET, "shards", None).await.refused(404, "The API version does not allow shards");
        desk.get(admin, &format!("{V1}/shards/s1")).await.expect(404);
    });
}
