//! Drivers, conductors and shards.

use http::Method;
use model::baremetal::hardware::TYPES;
use serde_json::{Value, json};

use crate::desk::{Desk, conductor};
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
fn conductors_are_listed() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        conductor(world, "c2.example", "rack2", -3600).await;
        conductor(world, "c3.example", "rack2", 120).await;
        let all = listed(&desk, admin, "conductors", "conductors").await;
        assert_eq!(fields(&all[0]), vec!["alive", "conductor_group", "hostname"]);
        let told: Vec<_> = all.iter().map(|it| (it["hostname"].clone(), it["conductor_group"].clone(), it["alive"].clone())).collect();
        let line = |host: &str, group: &str, alive: bool| (json!(host), json!(group), json!(alive));
        let wanted = [line("c1.example", "", true), line("c2.example", "rack2", true), line("c3.example", "rack2", false)];
        assert_eq!(told, wanted, "in the order in which they came; who was not heard of is dead, and still there");
        let shown = desk.get(admin, &format!("{V1}/conductors/c2.example")).await.expect(200);
        assert_eq!(shown["drivers"], json!(["fake-hardware", "ipmi", "manual-management", "redfish"]));
        assert!(shown["updated_at"].is_string() && shown["links"][0]["href"].as_str().unwrap().ends_with("/v1/conductors/c2.example"));
        assert_eq!(fields(&listed(&desk, admin, "conductors?detail=true", "conductors").await[0]).len(), 6);
        assert_eq!(fields(&listed(&desk, admin, "conductors?fields=alive", "conductors").await[0]), ["alive"]);
        let names = async |query: &str| {
            let all = listed(&desk, admin, &format!("conductors?{query}"), "conductors").await;
            all.into_iter().map(|it| it["hostname"].as_str().unwrap()[..2].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("marker=c2.example").await, ["c3"]);
        assert_eq!(names("sort_key=hostname&sort_dir=desc").await, ["c3", "c2", "c1"]);
        assert_eq!(names("sort_key=updated_at&limit=1").await, ["c3"]);
        let page = desk.get(admin, &format!("{V1}/conductors?limit=2")).await.expect(200);
        assert!(page["next"].as_str().unwrap().ends_with("/v1/conductors?limit=2&marker=c2.example"), "{page}");
        desk.get(admin, &format!("{V1}/conductors/x")).await.refused(404, "Conductor x could not be found.");
        desk.get(admin, &format!("{V1}/conductors?marker=x")).await.refused(404, "Conductor x could not be found.");
        for key in ["alive", "drivers", "x"] {
            desk.get(admin, &format!("{V1}/conductors?sort_key={key}")).await.refused(400, "invalid field for sorting");
        }
        at(&desk, admin, 48, Method::GET, "conductors", None).await.refused(404, "not supported for this version");
        let tenant = desk.tenant("tom", "tenants").await;
        desk.get(&tenant, &format!("{V1}/conductors")).await.refused(403, "baremetal:conductor:get");
        let driver = desk.get(admin, &format!("{V1}/drivers/redfish")).await.expect(200);
        assert_eq!(driver["hosts"], json!(["c1.example", "c2.example"]));
    });
}

/// What was read of conductors is old after this.
async fn later() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}

#[test]
fn what_nobody_would_do_is_refused() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        conductor(world, "c2.example", "rack2", -3600).await;
        let body = |group: &str| json!({"driver": "fake-hardware", "conductor_group": group});
        let words = "No conductor service registered which supports driver fake-hardware for conductor group \"rack3\"";
        desk.post(admin, &format!("{V1}/nodes"), body("rack3")).await.refused(400, words);
        let made = desk.post(admin, &format!("{V1}/nodes"), body("Rack2")).await.expect(201);
        assert_eq!(made["conductor"], "c2.example");
        let node = format!("{V1}/nodes/{}", made["uuid"].as_str().unwrap());
        let group = |to: &str| json!([{"op": "add", "path": "/conductor_group", "value": to}]);
        desk.patch(admin, &node, group("rack3")).await.refused(400, words);
        let of = async |host: &str| listed(&desk, admin, &format!("nodes?conductor={host}"), "nodes").await.len();
        assert_eq!((of("c2.example").await, of("c1.example").await), (1, 0));
        assert_eq!(desk.patch(admin, &node, group("")).await.expect(200)["conductor"], "c1.example");
        assert_eq!((of("c2.example").await, of("c1.example").await), (0, 1));
        desk.patch(admin, &node, group("rack2")).await.expect(200);

        // Nobody hears of it any more.
        conductor(world, "c2.example", "rack2", 60).await;
        later().await;
        assert_eq!(desk.get(admin, &node).await.expect(200)["conductor"], Value::Null);
        let words = "supports driver fake-hardware for conductor group \"rack2\"";
        for (path, body) in [
            ("states/provision", json!({"target": "manage"})),
            ("states/power", json!({"target": "power on"})),
            ("states/boot_mode", json!({"target": "uefi"})),
            ("states/secure_boot", json!({"target": true})),
            ("states/console", json!({"enabled": true})),
            ("management/boot_device", json!({"boot_device": "pxe"})),
        ] {
            desk.put(admin, &format!("{node}/{path}"), body).await.refused(404, words);
        }
        desk.post(admin, &format!("{node}/vifs"), json!({"id": "11111111-1111-4111-8111-111111111111"})).await.refused(404, words);
        // What the store alone does is done: an operator can still say what is the matter, and whose it is.
        desk.put(admin, &format!("{node}/maintenance"), json!({"reason": "its rack is dark"})).await.expect(202);
        desk.patch(admin, &node, group("")).await.expect(200);
        desk.put(admin, &format!("{node}/states/provision"), json!({"target": "manage"})).await.expect(202);

        conductor(world, "c1.example", "", 60).await;
        later().await;
        desk.put(admin, &format!("{node}/states/power"), json!({"target": "power on"})).await.refused(503, "temporarily unavailable");
        assert_eq!(desk.get(admin, &format!("{V1}/drivers/redfish")).await.expect(200)["hosts"], json!([]));
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
