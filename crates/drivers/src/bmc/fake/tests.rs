use model::secret::Settings;

use super::*;
use crate::bmc::tests::{config, step};

fn fake(node: &str, info: &Value, seen: Option<PowerState>) -> Result<Fake, BmcError> {
    let mut config = config("fake-hardware", info);
    config.node = node.to_owned();
    config.power = seen;
    Fake::new(&config)
}

#[tokio::test]
async fn an_order_holds_until_the_row_shows_it_and_then_the_row_speaks() {
    let none = json!({});
    let open = |seen| fake("order", &none, seen).unwrap();
    assert_eq!(open(None).power().await.unwrap(), PowerState::Off);
    assert_eq!(open(Some(PowerState::On)).power().await.unwrap(), PowerState::On);
    let off = open(Some(PowerState::Off));
    off.set_power(PowerAction::On).await.unwrap();
    assert_eq!(open(Some(PowerState::Off)).power().await.unwrap(), PowerState::On, "the row is older than the order");
    assert_eq!(open(Some(PowerState::On)).power().await.unwrap(), PowerState::On);
    // Another process switched it off and wrote so.
    assert_eq!(open(Some(PowerState::Off)).power().await.unwrap(), PowerState::Off);
    open(None).set_power(PowerAction::Reset).await.unwrap();
    assert_eq!(open(None).power().await.unwrap(), PowerState::On);
    open(Some(PowerState::On)).set_power(PowerAction::SoftOff).await.unwrap();
    assert_eq!(open(Some(PowerState::On)).power().await.unwrap(), PowerState::Off);
}

#[tokio::test]
async fn what_is_set_is_read_back() {
    let it = fake("back", &json!({}), None).unwrap();
    assert_eq!(it.supported_boot_devices().await.unwrap(), [BootDevice::Pxe]);
    it.set_boot(BootDevice::Disk, false).await.unwrap();
    assert_eq!(it.boot_device().await.unwrap(), BootChoice { device: Some(BootDevice::Disk), persistent: Some(true) });
    assert_eq!(it.boot_mode().await.unwrap(), None);
    it.set_boot_mode(BootMode::Uefi).await.unwrap();
    it.set_secure_boot(true).await.unwrap();
    assert_eq!((it.boot_mode().await.unwrap(), it.secure_boot().await.unwrap()), (Some(BootMode::Uefi), Some(true)));
    it.set_indicator("system", "led", "BLINKING").await.unwrap();
    assert!(it.set_indicator("chassis", "led-0", "ON").await.is_err());
    assert_eq!(it.indicators().await.unwrap()[1].state, "BLINKING");
    it.insert_media("cdrom", "http://x/a.iso").await.unwrap();
    assert!(it.virtual_media().await.unwrap()[0].inserted);
    it.eject_media(Some("cdrom")).await.unwrap();
    assert!(!it.virtual_media().await.unwrap()[0].inserted);
}

#[tokio::test]
async fn steps_change_what_is_there() {
    let it = fake("steps", &json!({}), None).unwrap();
    let settings = json!({"settings": [{"name": "turbo", "value": true}, {"name": "cores", "value": 4}]});
    let done = it.run_step(&step("bios", "apply_configuration", &settings), &Value::Null).await.unwrap();
    assert_eq!(done, StepProgress::Done);
    let read = it.bios().await.unwrap();
    assert_eq!(
        read.iter().map(|it| (it.name.as_str(), it.value.as_deref())).collect::<Vec<_>>(),
        [("cores", Some("4")), ("turbo", Some("true"))]
    );
    it.run_step(&step("bios", "factory_reset", &json!({})), &Value::Null).await.unwrap();
    assert!(it.bios().await.unwrap().is_empty());
    let raid = json!({"raid_config": {"logical_disks": [{"size_gb": 1, "raid_level": "1", "is_root_volume": true}, {"size_gb": 2}]},
        "create_nonroot_volumes": false});
    it.run_step(&step("raid", "create_configuration", &raid), &Value::Null).await.unwrap();
    assert_eq!(it.raid().await.unwrap()["logical_disks"].as_array().unwrap().len(), 1);
    let unknown = it.run_step(&step("bios", "polish", &json!({})), &Value::Null).await.unwrap();
    assert!(matches!(unknown, StepProgress::Failed(_)));
    for stage in [Stage::Clean, Stage::Deploy, Stage::Service] {
        assert!(!it.steps(stage).is_empty());
    }
}

#[tokio::test]
async fn a_step_with_a_delay_is_gone_on_with_by_its_memory() {
    let it = fake("delay", &json!({"fake_deploy_delay": "0.2"}), None).unwrap();
    let deploy = step("deploy", "deploy", &json!({}));
    let StepProgress::Again { memory, after, reboot: false, .. } = it.run_step(&deploy, &Value::Null).await.unwrap() else {
        panic!("it did not wait");
    };
    assert!(after <= std::time::Duration::from_millis(201));
    tokio::time::sleep(std::time::Duration::from_millis(210)).await;
    assert_eq!(it.run_step(&deploy, &memory).await.unwrap(), StepProgress::Done);
}

#[tokio::test]
async fn vendor_methods_want_their_argument() {
    let it = fake("vendor", &json!({}), None).unwrap();
    assert_eq!(it.vendor("second_method", "POST", &json!({"bar": "kazoo"})).await.unwrap(), true);
    assert_eq!(it.vendor("third_method_sync", "POST", &json!({"bar": "x"})).await.unwrap(), false);
    let error = it.vendor("second_method", "POST", &json!({})).await.unwrap_err();
    assert!(error.to_string().contains("Parameter 'bar' not passed to method 'second_method'."), "{error}");
}

#[test]
fn delays_are_numbers_or_two_of_them() {
    let read = |value: Value| FakeDelays::read(&Settings(Map::from_iter([("fake_power_delay".to_owned(), value)])));
    for good in [json!(3), json!("2"), json!("1,4"), json!("")] {
        assert!(read(good.clone()).is_ok(), "{good}");
    }
    for bad in [json!("x"), json!("4,1"), json!(-1), json!([1]), json!("1e300"), json!("nan")] {
        assert!(matches!(read(bad.clone()), Err(BmcError::Config { .. })), "{bad}");
    }
    let drawn = read(json!("1,4")).unwrap().power.draw().as_secs_f64();
    assert!((1.0..=4.0).contains(&drawn), "{drawn}");
}

#[tokio::test]
async fn an_inventory_says_what_the_properties_claim() {
    let mut config = config("fake-hardware", &json!({}));
    config.properties = serde_json::from_value(json!({"cpus": "8", "memory_mb": 4096, "local_gb": 10, "cpu_arch": "aarch64"})).unwrap();
    let inventory = Fake::new(&config).unwrap().inventory().await.unwrap();
    assert_eq!(inventory["cpu"]["count"], 8);
    assert_eq!(inventory["cpu"]["architecture"], "aarch64");
    assert_eq!(inventory["memory"]["physical_mb"], 4096);
    assert_eq!(inventory["disks"][0]["size"], 10_737_418_240_u64);
}
