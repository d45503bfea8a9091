use std::collections::BTreeMap;

use model::baremetal::hardware::TYPES;
use model::baremetal::{Interface, Step};
use model::secret::Settings;
use serde_json::{Map, Value, json};

use super::*;

/// The hardware of a node with all interfaces at their defaults.
pub(super) fn config(driver: &str, info: &Value) -> HardwareConfig {
    HardwareConfig {
        node: "6f1c2b1e-7b0b-4d52-9a0e-000000000001".into(),
        driver: driver.into(),
        interfaces: BTreeMap::new(),
        info: Settings(info.as_object().cloned().unwrap_or_default()),
        properties: Map::new(),
        target_raid_config: Map::new(),
        power: None,
    }
}

/// A step with arguments.
pub(super) fn step(interface: &str, name: &str, args: &Value) -> Step {
    Step {
        interface: interface.into(),
        step: name.into(),
        args: args.as_object().cloned().unwrap_or_default(),
        priority: 0,
        ..Step::default()
    }
}

fn info_of(driver: &str) -> Value {
    match driver {
        "redfish" => json!({"redfish_address": "http://127.0.0.1:1"}),
        "ipmi" => json!({"ipmi_address": "127.0.0.1"}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn every_choice_of_every_hardware_type_opens() {
    for kind in TYPES {
        for (interface, names) in kind.interfaces {
            for name in *names {
                let mut config = config(kind.name, &info_of(kind.name));
                config.interfaces.insert(*interface, (*name).to_owned());
                let opened = open(config);
                assert!(
                    opened.is_ok(),
                    "{} {interface:?} {name}: {}",
                    kind.name,
                    opened.err().map(|it| it.to_string()).unwrap_or_default()
                );
            }
        }
    }
}

#[tokio::test]
async fn what_a_node_did_not_choose_is_not_done() {
    let mut chosen = config("fake-hardware", &json!({}));
    for (interface, name) in [
        (Interface::Bios, "no-bios"),
        (Interface::Management, "noop"),
        (Interface::Raid, "agent"),
        (Interface::Vendor, "no-vendor"),
        (Interface::Firmware, "no-firmware"),
        (Interface::Inspect, "agent"),
        (Interface::Deploy, "direct"),
    ] {
        chosen.interfaces.insert(interface, name.into());
    }
    let bmc = open(chosen).unwrap();
    assert!(matches!(bmc.bios().await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.firmware().await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.inventory().await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.raid().await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.boot_mode().await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.virtual_media().await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.vendor("second_method", "POST", &json!({"bar": 1})).await, Err(BmcError::Unsupported { .. })));
    for stage in [Stage::Clean, Stage::Deploy, Stage::Service] {
        assert!(bmc.steps(stage).is_empty(), "{:?}", bmc.steps(stage));
    }
    let step = step("bios", "factory_reset", &json!({}));
    assert!(matches!(bmc.run_step(&step, &Value::Null).await.unwrap(), StepProgress::Failed(_)));
    bmc.set_boot(BootDevice::Disk, true).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap().device, Some(BootDevice::Pxe));
    assert!(matches!(bmc.set_boot(BootDevice::Bios, true).await, Err(BmcError::Unsupported { .. })));
}

#[test]
fn what_is_not_there_cannot_be_chosen() {
    assert!(matches!(open(config("abacus", &json!({}))), Err(BmcError::Config { .. })));
    let mut wrong = config("fake-hardware", &json!({}));
    wrong.interfaces.insert(Interface::Power, "redfish".into());
    assert!(matches!(open(wrong), Err(BmcError::Config { .. })));
}

#[test]
fn booleans_and_capabilities_are_read_as_clients_write_them() {
    use super::help::{as_bool, capability};
    for (value, read) in
        [(json!("True"), Some(true)), (json!("0"), Some(false)), (json!(true), Some(true)), (json!("maybe"), None), (json!([]), None)]
    {
        assert_eq!(as_bool(&value), read, "{value}");
    }
    let of = |value: Value| capability(&Map::from_iter([("capabilities".to_owned(), value)]), "boot_mode");
    assert_eq!(of(json!("a:b, boot_mode:uefi")).as_deref(), Some("uefi"));
    assert_eq!(of(json!({"boot_mode": "bios"})).as_deref(), Some("bios"));
    assert_eq!(of(json!("a,b")), None);
}

proptest::proptest! {
    #[test]
    fn no_driver_info_makes_a_panic(
        key in proptest::sample::select(vec!["redfish_address", "redfish_system_id", "redfish_verify_ca", "redfish_username", "ipmi_address",
            "ipmi_hex_kg_key", "ipmi_port", "ipmi_cipher_suite", "fake_power_delay"]),
        text in "[ -~\u{0}\u{e9}\u{4e2d}]{0,24}",
        address in "(https?://)?[a-z0-9.:\\[\\]/@%-]{0,16}",
    ) {
        let mut info = json!({"redfish_address": address, "ipmi_address": address, "redfish_verify_ca": false});
        info[key] = json!(text);
        for driver in ["redfish", "ipmi", "fake-hardware"] {
            // Opened or refused: either is well.
            drop(open(config(driver, &info)));
        }
    }
}

#[tokio::test]
async fn every_vendor_method_has_a_driver_that_knows_it() {
    use model::baremetal::vendor::{VENDOR_METHODS, methods_of};
    // Where nobody answers a driver says so, or that an argument is missing, and not that there is no such method.
    let unknown = |said: &Result<Value, BmcError>| matches!(said, Err(BmcError::Unsupported { what }) if what.starts_with("vendor method"));
    let mut offered = std::collections::BTreeSet::new();
    for kind in TYPES {
        for name in kind.enabled(Interface::Vendor) {
            let mut info = info_of(kind.name);
            if let Some(info) = info.as_object_mut() {
                info.insert("ipmi_address".into(), json!("127.0.0.1"));
                info.insert("ipmi_port".into(), json!(1));
                info.insert("redfish_address".into(), json!("http://127.0.0.1:1"));
            }
            let mut config = config(kind.name, &info);
            config.interfaces.insert(Interface::Vendor, (*name).to_owned());
            let bmc = open(config).unwrap();
            for method in methods_of(name) {
                offered.insert((*name, method.name));
                // One that waits for an answer knows the method.
                let Ok(said) =
                    tokio::time::timeout(std::time::Duration::from_secs(2), bmc.vendor(method.name, method.verbs[0], &json!({}))).await
                else {
                    continue;
                };
                assert!(!unknown(&said), "{} with {name}: {} is offered and not known: {said:?}", kind.name, method.name);
            }
            assert!(bmc.vendor("dance", "POST", &json!({})).await.is_err(), "{} with {name}", kind.name);
        }
    }
    let all: usize = VENDOR_METHODS.iter().map(|it| it.1.len()).sum();
    assert_eq!(offered.len(), all, "every interface that has methods belongs to some hardware type: {offered:?}");
}
