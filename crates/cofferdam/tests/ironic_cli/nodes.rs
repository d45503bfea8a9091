//! What a node is, and what its hardware can be asked.

use serde_json::{Value, json};

use super::shell::{Shell, text};

/// Fields, traits, maintenance, children, shards, drivers, conductors.
pub fn all(it: &Shell) {
    let made = it
        .json("baremetal node create --driver fake-hardware --name cli-n1 --resource-class cli --property cpu_arch=x86_64 --extra rack=r1");
    assert_eq!((text(&made, "name"), text(&made, "driver"), text(&made, "provision_state")), ("cli-n1", "fake-hardware", "enroll"));
    assert_eq!(
        (&made["properties"], &made["extra"], &made["traits"]),
        (&json!({"cpu_arch": "x86_64"}), &json!({"rack": "r1"}), &json!([]))
    );
    let uuid = text(&made, "uuid").to_owned();
    it.refused("baremetal node create --driver fake-hardware --name cli-n1", &["cli-n1", "already exists"]);
    it.refused("baremetal node create --driver of-my-own", &["of-my-own"]);

    it.with("baremetal node set cli-n1 --property size=large --driver-info fake_password=hunter2 --description", &["a spare machine"]);
    it.ok("baremetal node set cli-n1 --owner o1 --shard cli-s1 --instance-info colour=blue --raid-interface no-raid --no-automated-clean");
    let node = it.json(&format!("baremetal node show {uuid}"));
    assert_eq!((text(&node, "description"), text(&node, "owner"), text(&node, "shard")), ("a spare machine", "o1", "cli-s1"));
    assert_eq!((text(&node, "raid_interface"), &node["automated_clean"]), ("no-raid", &json!(false)));
    assert_eq!((&node["instance_info"], text(&node["driver_info"], "fake_password")), (&json!({"colour": "blue"}), "******"));
    assert!(it.json("baremetal shard list").as_array().unwrap().contains(&json!({"name": "cli-s1", "count": 1})));
    assert_eq!(it.column("baremetal node list --shards cli-s1", "name"), ["cli-n1"]);
    assert_eq!(
        it.column("baremetal node list --owner o1 --driver fake-hardware --provision-state enroll --fields name", "name"),
        ["cli-n1"]
    );
    assert_eq!(it.json("baremetal node list --owner o1 --maintenance"), json!([]));
    it.ok("baremetal node unset cli-n1 --property size --description --owner --shard --instance-info colour --raid-interface");
    let node = it.json("baremetal node show cli-n1");
    assert_eq!((&node["properties"], &node["description"], &node["owner"]), (&json!({"cpu_arch": "x86_64"}), &Value::Null, &Value::Null));
    assert_eq!((&node["shard"], &node["instance_info"], text(&node, "raid_interface")), (&Value::Null, &json!({}), "fake"));
    let raid = it.dir.join("raid.json");
    std::fs::write(&raid, r#"{"logical_disks": [{"size_gb": 100, "raid_level": "1"}]}"#).unwrap();
    it.with("baremetal node set cli-n1 --target-raid-config", &[raid.to_str().unwrap()]);
    assert_eq!(
        it.json("baremetal node show cli-n1")["target_raid_config"],
        json!({"logical_disks": [{"size_gb": 100, "raid_level": "1"}]})
    );
    it.ok("baremetal node unset cli-n1 --target-raid-config");
    assert_eq!(it.json("baremetal node show cli-n1")["target_raid_config"], json!({}));

    it.ok("baremetal node add trait cli-n1 CUSTOM_FAST");
    it.ok("baremetal node trait add cli-n1 CUSTOM_BLUE HW_CPU_X86_VMX");
    assert_eq!(traits(it), ["CUSTOM_BLUE", "CUSTOM_FAST", "HW_CPU_X86_VMX"]);
    it.refused("baremetal node trait add cli-n1 fast", &["fast"]);
    it.ok("baremetal node remove trait cli-n1 CUSTOM_FAST");
    assert_eq!(traits(it), ["CUSTOM_BLUE", "HW_CPU_X86_VMX"]);
    it.ok("baremetal node trait remove cli-n1 --all");
    assert!(traits(it).is_empty());

    it.with("baremetal node maintenance set cli-n1 --reason", &["dust inside"]);
    let node = it.json("baremetal node show cli-n1");
    assert_eq!((&node["maintenance"], text(&node, "maintenance_reason")), (&json!(true), "dust inside"));
    it.ok("baremetal node maintenance unset cli-n1");
    let node = it.json("baremetal node show cli-n1");
    assert_eq!((&node["maintenance"], &node["maintenance_reason"]), (&json!(false), &Value::Null));

    let child = it.node("cli-n2", &format!("--parent-node {uuid}"));
    let children = it.json("baremetal node children list cli-n1");
    assert!(children.to_string().contains(&child), "{children}");
    assert!(!it.column("baremetal node list", "uuid").contains(&child), "children are listed on request only");
    assert!(it.column("baremetal node list --include-children", "uuid").contains(&child));
    it.ok("baremetal node delete cli-n2");
    assert!(!it.json("baremetal node children list cli-n1").to_string().contains(&child));

    let valid = it.json("baremetal node validate cli-n1");
    let result = |name: &str| valid.as_array().unwrap().iter().find(|it| it["Interface"] == name).map(|it| it["Result"].clone());
    assert_eq!((result("power"), result("management")), (Some(json!(true)), Some(json!(true))), "{valid}");
    it.refused("baremetal node provide cli-n1", &["enroll"]);

    let drivers = it.column("baremetal driver list", "name");
    assert!(drivers.contains(&"fake-hardware".to_owned()) && drivers.contains(&"redfish".to_owned()), "{drivers:?}");
    let driver = it.json("baremetal driver show fake-hardware");
    assert_eq!((text(&driver, "name"), text(&driver, "default_power_interface")), ("fake-hardware", "fake"));
    let properties = it.json("baremetal driver property list redfish");
    assert!(properties.to_string().contains("redfish_address"), "{properties}");
    let raid = it.json("baremetal driver raid property list fake-hardware");
    assert!(raid.to_string().contains("raid_level"), "{raid}");
    assert_eq!(it.json("baremetal driver passthru list fake-hardware"), json!([]));
    it.refused("baremetal driver passthru call fake-hardware dance", &["dance"]);
    let conductors = it.json("baremetal conductor list");
    let host = text(&conductors[0], "hostname").to_owned();
    let conductor = it.json(&format!("baremetal conductor show {host}"));
    assert_eq!((text(&conductor, "hostname"), &conductor["alive"]), (host.as_str(), &json!(true)));
    assert!(conductor["drivers"].as_array().unwrap().contains(&json!("fake-hardware")), "{conductor}");
    it.refused("baremetal conductor show nobody", &["nobody"]);

    it.ok("baremetal node delete cli-n1");
    it.refused("baremetal node show cli-n1", &["cli-n1"]);
}

/// What was ordered of the hardware is so. Ironic's fake hardware takes the order and forgets it.
fn settled(it: &Shell, field: &str, wanted: &Value) {
    if it.is_ours() {
        it.becomes("cli-h1", field, wanted);
    }
}

fn traits(it: &Shell) -> Vec<String> {
    let listed = it.json("baremetal node trait list cli-n1");
    let mut all: Vec<String> =
        listed.as_array().unwrap().iter().filter_map(|it| it.as_object()?.values().next()?.as_str().map(str::to_owned)).collect();
    all.sort();
    all
}

/// Power, boot, console, lights' kin, vendor methods, networks.
pub fn hardware(it: &Shell) {
    it.node("cli-h1", "--resource-class cli-h");
    it.ok("baremetal node manage cli-h1 --wait 60");
    it.ok("baremetal node power on cli-h1");
    it.becomes("cli-h1", "power_state", &json!("power on"));
    it.ok("baremetal node reboot cli-h1");
    it.becomes("cli-h1", "target_power_state", &Value::Null);
    it.becomes("cli-h1", "power_state", &json!("power on"));
    it.ok("baremetal node power off cli-h1");
    it.becomes("cli-h1", "power_state", &json!("power off"));

    let supported = it.json("baremetal node boot device show cli-h1 --supported");
    assert!(supported.to_string().contains("pxe"), "{supported}");
    it.ok("baremetal node boot device set cli-h1 pxe --persistent");
    assert_eq!(text(&it.json("baremetal node boot device show cli-h1"), "boot_device"), "pxe");
    it.refused("baremetal node boot device set cli-h1 toaster", &["toaster"]);
    it.ok("baremetal node boot mode set cli-h1 uefi");
    settled(it, "boot_mode", &json!("uefi"));
    it.ok("baremetal node secure boot on cli-h1");
    settled(it, "secure_boot", &json!(true));
    it.ok("baremetal node secure boot off cli-h1");
    settled(it, "secure_boot", &json!(false));
    if it.is_ours() {
        it.ok("baremetal node inject nmi cli-h1");
    } else {
        it.refused("baremetal node inject nmi cli-h1", &["inject_nmi"]);
    }

    it.ok("baremetal node console enable cli-h1");
    it.becomes("cli-h1", "console_enabled", &json!(true));
    assert_eq!(it.json("baremetal node console show cli-h1")["console_enabled"], json!(true));
    it.ok("baremetal node console disable cli-h1");
    it.becomes("cli-h1", "console_enabled", &json!(false));

    let methods = it.json("baremetal node passthru list cli-h1").to_string();
    assert!(methods.contains("log_passthrough") || methods.contains("second_method"), "{methods}");
    it.ok("baremetal node passthru call cli-h1 second_method --arg bar=kazoo");
    it.refused("baremetal node passthru call cli-h1 dance", &["dance"]);
    assert!(it.json("baremetal node firmware list cli-h1").is_array());

    let steps = r#"[{"interface": "bios", "step": "apply_configuration", "args": {"settings": [{"name": "turbo", "value": "on"}]}}]"#;
    it.with("baremetal node clean cli-h1 --wait 60 --clean-steps", &[steps]);
    let settings = it.json("baremetal node bios setting list cli-h1");
    assert!(settings.to_string().contains("turbo"), "{settings}");
    let setting = it.json("baremetal node bios setting show cli-h1 turbo");
    assert!(setting.to_string().contains("on"), "{setting}");
    it.refused("baremetal node bios setting show cli-h1 colour", &["colour"]);

    // Of a node whose network nobody manages nothing is listed.
    let vif = "8c5b7fb2-60c2-4bba-9a0c-5b7fb260c24b";
    if !it.is_ours() {
        it.ok(&format!("baremetal node vif attach cli-h1 {vif}"));
        assert_eq!(it.json("baremetal node vif list cli-h1"), json!([]));
        it.ok(&format!("baremetal node vif detach cli-h1 {vif}"));
    } else {
        it.ok("network create cli-net");
        let port = it.json("port create cli-port --network cli-net --vnic-type baremetal");
        let node = it.node("cli-h2", "--network-interface neutron");
        let link = "--local-link-connection switch_id=02:cf:00:00:00:01 --local-link-connection port_id=p2";
        it.ok(&format!("baremetal port create 52:54:00:0c:11:02 --node {node} --physical-network physnet1 {link}"));
        it.ok("baremetal node manage cli-h2");
        it.ok(&format!("baremetal node vif attach cli-h2 {}", text(&port, "id")));
        assert_eq!(it.json("baremetal node vif list cli-h2"), json!([{"id": text(&port, "id")}]));
        it.ok(&format!("baremetal node vif detach cli-h2 {}", text(&port, "id")));
        assert_eq!(it.json("baremetal node vif list cli-h2"), json!([]));
        it.ok("baremetal node maintenance set cli-h2");
        it.ok("baremetal node delete cli-h2");
        it.ok("port delete cli-port");
        it.ok("network delete cli-net");
    }
    it.ok("baremetal node delete cli-h1");
}
