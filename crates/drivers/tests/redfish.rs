//! What is done to Redfish BMCs, against one that remembers (a mockup after DMTF's schemas) and misbehaves when told to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside of test functions")]

mod redfish_sim;

use axum::http::Method;
use drivers::bmc::{Bmc, BmcError, BootChoice, BootDevice, BootMode, PowerAction, PowerState, Stage, StepProgress};
use model::baremetal::Step;
use redfish_sim::{ROOT, SYSTEM, Sim, error, step};
use serde_json::{Value, json};

#[tokio::test]
async fn power_is_read_and_changed_by_what_the_machine_takes() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    assert_eq!(bmc.power().await.unwrap(), PowerState::Off);
    bmc.set_power(PowerAction::Off).await.unwrap();
    bmc.set_power(PowerAction::On).await.unwrap();
    bmc.set_power(PowerAction::On).await.unwrap();
    assert_eq!(bmc.power().await.unwrap(), PowerState::On);
    bmc.set_power(PowerAction::Reset).await.unwrap();
    bmc.inject_nmi().await.unwrap();
    bmc.set_power(PowerAction::SoftOff).await.unwrap();
    let resets = sim.asked("POST", &format!("{SYSTEM}/Actions/ComputerSystem.Reset"));
    let words: Vec<&str> = resets.iter().filter_map(|it| it["ResetType"].as_str()).collect();
    assert_eq!(words, ["On", "ForceRestart", "Nmi", "GracefulShutdown"]);
    sim.set(SYSTEM, "/PowerState", json!("Paused"));
    assert_eq!(bmc.power().await.unwrap(), PowerState::Changing);
    // Neither Resume nor anything else is known by which it would go on, but On.
    bmc.set_power(PowerAction::On).await.unwrap();
    sim.set(SYSTEM, "/PowerState", json!("Dreaming"));
    assert!(matches!(bmc.power().await, Err(BmcError::Protocol { .. })));
}

#[tokio::test]
async fn what_the_machine_does_not_take_is_not_asked() {
    let sim = Sim::start().await;
    sim.set(&format!("{SYSTEM}/ResetActionInfo"), "/Parameters/0/AllowableValues", json!(["On", "PowerCycle", "PushPowerButton"]));
    sim.set(SYSTEM, "/PowerState", json!("On"));
    let bmc = sim.open();
    assert!(matches!(bmc.set_power(PowerAction::Off).await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.inject_nmi().await, Err(BmcError::Unsupported { .. })));
    bmc.set_power(PowerAction::SoftOff).await.unwrap_err();
    let resets = sim.asked("POST", &format!("{SYSTEM}/Actions/ComputerSystem.Reset"));
    assert_eq!(resets, [json!({"ResetType": "PushPowerButton"})]);
}

#[tokio::test]
async fn a_session_is_shared_renewed_and_not_made_with_a_wrong_password() {
    let sim = Sim::start().await;
    for _ in 0..5 {
        sim.open().power().await.unwrap();
    }
    assert_eq!(sim.lock().logins, 1, "each opening found the session of the first");
    sim.lock().tokens.clear();
    let (one, two) = (sim.open(), sim.open());
    let (one, two) = tokio::join!(one.power(), two.power());
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(sim.lock().logins, 2, "the session had ended; both found that out, one logged in");
    let wrong = sim.open_with(|it| drop(it.info.0.insert("redfish_password".into(), json!("hunter2-wrong")))).unwrap();
    let error = wrong.power().await.unwrap_err();
    assert!(matches!(error, BmcError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2-wrong"), "{error}");
}

#[tokio::test]
async fn without_sessions_the_account_goes_along_unless_that_is_forbidden() {
    let sim = Sim::start().await;
    sim.lock().sessionless = true;
    assert_eq!(sim.open().power().await.unwrap(), PowerState::Off);
    let strict = sim.open_with(|it| drop(it.info.0.insert("redfish_auth_type".into(), json!("session")))).unwrap();
    assert!(matches!(strict.power().await, Err(BmcError::Rejected { .. })));
    let basic = sim.open_with(|it| drop(it.info.0.insert("redfish_auth_type".into(), json!("basic")))).unwrap();
    assert_eq!(basic.power().await.unwrap(), PowerState::Off);
    assert_eq!(sim.lock().logins, 0);
}

#[tokio::test]
async fn boot_devices_are_chosen_once_or_always_and_read_back() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    assert_eq!(bmc.boot_device().await.unwrap(), BootChoice::default(), "an override that is disabled is none");
    bmc.set_boot(BootDevice::Pxe, true).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap(), BootChoice { device: Some(BootDevice::Pxe), persistent: Some(false) });
    bmc.set_boot(BootDevice::UefiHttp, false).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap(), BootChoice { device: Some(BootDevice::UefiHttp), persistent: Some(true) });
    let supported = bmc.supported_boot_devices().await.unwrap();
    assert!(supported.contains(&BootDevice::Disk) && !supported.contains(&BootDevice::Floppy), "{supported:?}");
    assert!(matches!(bmc.set_boot(BootDevice::Floppy, true).await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.set_boot(BootDevice::Wanboot, true).await, Err(BmcError::Unsupported { .. })));
    // A BMC that knows no lasting choice gets one for once.
    sim.instead(Method::PATCH, SYSTEM, 400, error("Base.1.8.PropertyValueNotInList", "Continuous is not in the list"), 1);
    sim.set(SYSTEM, "/Boot/BootSourceOverrideEnabled", json!("Disabled"));
    bmc.set_boot(BootDevice::Disk, false).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap(), BootChoice { device: Some(BootDevice::Disk), persistent: Some(false) });
}

#[tokio::test]
async fn vendors_get_their_way() {
    let sim = Sim::start().await;
    sim.set(SYSTEM, "/Manufacturer", json!("Supermicro"));
    sim.set(SYSTEM, "/Boot/BootSourceOverrideTarget@Redfish.AllowableValues", json!(["Pxe", "Cd", "UsbCd"]));
    sim.open().set_boot(BootDevice::Cdrom, true).await.unwrap();
    assert_eq!(sim.resource(SYSTEM)["Boot"]["BootSourceOverrideTarget"], "UsbCd");
    sim.set(SYSTEM, "/Manufacturer", json!("Dell Inc."));
    sim.set(SYSTEM, "/Boot/BootSourceOverrideTarget@Redfish.AllowableValues", json!(["Pxe", "Hdd"]));
    sim.lock().tree.insert(format!("{ROOT}/Managers/BMC/Attributes"), json!({"Attributes": {}}));
    sim.open().set_boot(BootDevice::Cdrom, true).await.unwrap();
    let attributes = sim.resource(&format!("{ROOT}/Managers/BMC/Attributes"));
    assert_eq!(attributes["Attributes"]["ServerBoot.1.FirstBootDevice"], "VCD-DVD");
    let ami = sim.open_with(|it| drop(it.properties.insert("vendor".into(), json!("AMI")))).unwrap();
    ami.set_boot(BootDevice::Disk, true).await.unwrap();
    let last = sim.asked("PATCH", SYSTEM).pop().unwrap();
    assert_eq!(last["Boot"].as_object().unwrap().len(), 3, "{last}");
    // HPE during its self-test: not now, though it says 400.
    let post = error("iLO.2.14.UnableToModifyDuringSystemPOST", "not during POST");
    sim.instead(Method::PATCH, SYSTEM, 400, post, 1);
    assert!(matches!(sim.open().set_boot(BootDevice::Pxe, true).await, Err(BmcError::Conflict { .. })));
}

#[tokio::test]
async fn a_bmc_that_wants_versions_gets_them() {
    let sim = Sim::start().await;
    sim.lock().etags.insert(SYSTEM.to_owned());
    sim.lock().tree.get_mut(SYSTEM).unwrap()["@odata.etag"] = json!("W/\"77\"");
    sim.open().set_boot(BootDevice::Pxe, true).await.unwrap();
    assert_eq!(sim.asked("PATCH", SYSTEM).len(), 3, "without, as it is, as a strong one");
}

#[tokio::test]
async fn boot_mode_and_secure_boot() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    assert_eq!(bmc.boot_mode().await.unwrap(), Some(BootMode::Uefi));
    assert_eq!(bmc.secure_boot().await.unwrap(), Some(false));
    bmc.set_secure_boot(true).await.unwrap();
    assert_eq!(bmc.secure_boot().await.unwrap(), Some(true));
    bmc.set_secure_boot(false).await.unwrap();
    bmc.set_boot_mode(BootMode::Bios).await.unwrap();
    assert_eq!(bmc.boot_mode().await.unwrap(), Some(BootMode::Bios));
    assert!(matches!(bmc.set_secure_boot(true).await, Err(BmcError::Rejected { .. })));
    // Where the mode cannot be written it is a BIOS setting, of the vendor's name.
    sim.set(SYSTEM, "/Manufacturer", json!("Dell Inc."));
    sim.instead(Method::PATCH, SYSTEM, 400, error("Base.1.8.PropertyNotWritable", "BootSourceOverrideMode"), 1);
    bmc.set_boot_mode(BootMode::Uefi).await.unwrap();
    assert_eq!(sim.lock().pending_bios["BootMode"], "Uefi");
}

#[tokio::test]
async fn media_go_in_and_out() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    let kinds: Vec<String> = bmc.virtual_media().await.unwrap().into_iter().map(|it| it.device_type).collect();
    assert_eq!(kinds, ["cdrom", "usb"]);
    bmc.insert_media("cdrom", "http://10.0.0.1/a.iso").await.unwrap();
    bmc.insert_media("cdrom", "http://10.0.0.1/a.iso").await.unwrap();
    bmc.insert_media("cdrom", "http://10.0.0.1/b.iso").await.unwrap();
    bmc.insert_media("floppy", "http://10.0.0.1/f.img").await.unwrap();
    let media = bmc.virtual_media().await.unwrap();
    assert_eq!(media[0].image_url.as_deref(), Some("http://10.0.0.1/b.iso"));
    assert!(media.iter().all(|it| it.inserted));
    let inserts = sim.asked("POST", &format!("{ROOT}/Managers/BMC/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia"));
    assert_eq!(inserts.len(), 2, "what is in already is not put in again");
    assert_eq!(inserts[0], json!({"Image": "http://10.0.0.1/a.iso"}));
    bmc.eject_media(Some("cdrom")).await.unwrap();
    assert_eq!(bmc.virtual_media().await.unwrap().iter().map(|it| it.inserted).collect::<Vec<_>>(), [false, true]);
    bmc.eject_media(None).await.unwrap();
    bmc.eject_media(None).await.unwrap();
    assert!(matches!(bmc.insert_media("tape", "http://x/").await, Err(BmcError::Unsupported { .. })));
}

#[tokio::test]
async fn bmcs_that_want_more_for_a_medium_get_it() {
    let sim = Sim::start().await;
    let path = format!("{ROOT}/Managers/BMC/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia");
    let missing = |what: &str| error("Base.1.8.ActionParameterMissing", &format!("the parameter {what} is missing"));
    sim.instead(Method::POST, &path, 400, missing("TransferProtocolType"), 1);
    sim.instead(Method::POST, &path, 400, missing("TransferMethod"), 1);
    sim.open().insert_media("cdrom", "https://10.0.0.1/a.iso").await.unwrap();
    let last = sim.asked("POST", &path).pop().unwrap();
    assert_eq!(last, json!({"Image": "https://10.0.0.1/a.iso", "TransferProtocolType": "HTTPS", "TransferMethod": "Stream"}));
    // One without actions, as some Lenovo have: by change.
    sim.lock().tree.get_mut(&format!("{ROOT}/Managers/BMC/VirtualMedia/CD1")).unwrap()["Actions"] = json!({});
    sim.open().eject_media(None).await.unwrap();
    sim.open().insert_media("cdrom", "http://10.0.0.1/c.iso").await.unwrap();
    assert_eq!(sim.resource(&format!("{ROOT}/Managers/BMC/VirtualMedia/CD1"))["Image"], "http://10.0.0.1/c.iso");
}

#[tokio::test]
async fn lights() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    let lights = bmc.indicators().await.unwrap();
    assert_eq!(lights.len(), 6, "system, chassis, four drives");
    let system = "38947555-7742-3448-3784-823347823834";
    bmc.set_indicator("system", system, "BLINKING").await.unwrap();
    bmc.set_indicator("disk", "1:2", "ON").await.unwrap();
    assert_eq!(sim.resource(SYSTEM)["IndicatorLED"], "Blinking");
    assert_eq!(sim.resource(&format!("{SYSTEM}/Storage/1/Drives/2"))["LocationIndicatorActive"], true);
    assert!(matches!(bmc.set_indicator("disk", "1:2", "BLINKING").await, Err(BmcError::Unsupported { .. })));
    assert!(matches!(bmc.set_indicator("nic", "x", "ON").await, Err(BmcError::Rejected { .. })));
}

#[tokio::test]
async fn hardware_is_told_in_the_agent_s_form() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    let it = bmc.inventory().await.unwrap();
    assert_eq!(it["cpu"]["count"], 64, "the FPGA's threads are not the CPU's");
    assert_eq!(it["cpu"]["architecture"], "x86_64");
    assert_eq!(it["memory"]["physical_mb"], 98_304);
    assert_eq!(it["disks"].as_array().unwrap().len(), 4);
    assert_eq!(it["disks"][0]["wwn"], "0x5002538c40980000");
    let macs: Vec<&str> = it["interfaces"].as_array().unwrap().iter().filter_map(|it| it["mac_address"].as_str()).collect();
    assert_eq!(macs, ["aa:bb:cc:dd:ee:01", "aa:bb:cc:dd:ee:02"]);
    assert_eq!(it["interfaces"][0]["lldp"], json!([[1, "04525400000001"], [2, "0573777037"]]));
    assert_eq!(it["system_vendor"]["serial_number"], "437XR1138R2");
    assert_eq!(it["boot"]["current_boot_mode"], "uefi");
    assert_eq!(bmc.health().await.unwrap().as_deref(), Some("Warning"));
    let sensors = bmc.sensors().await.unwrap();
    let read: Vec<(&str, f64)> = sensors.iter().map(|it| (it.name.as_str(), it.value)).collect();
    let wanted = [("CPU1 Temp", 41.0), ("BaseBoard System Fan", 2100.0), ("System Input Power", 344.0), ("PSU1", 190.0)];
    assert_eq!(read, wanted);
    let firmware = bmc.firmware().await.unwrap();
    let known: Vec<(&str, &str)> = firmware.iter().map(|it| (it.component.as_str(), it.initial_version.as_str())).collect();
    assert_eq!(known, [("bios", "P79 v1.45"), ("bmc", "1.45.455b66-rev4"), ("nic:9fa725a1", "7.4.10")]);
}

#[tokio::test]
async fn bios_settings_with_their_registry() {
    let sim = Sim::start().await;
    let bios = sim.open().bios().await.unwrap();
    let of = |name: &str| bios.iter().find(|it| it.name == name).unwrap();
    assert_eq!(of("NumCores").value.as_deref(), Some("8"));
    assert_eq!((of("NumCores").lower_bound, of("NumCores").upper_bound), (Some(0), Some(64)));
    assert_eq!(of("ProcTurboMode").allowable_values.as_deref(), Some(&["Enabled".to_owned(), "Disabled".to_owned()][..]));
    assert_eq!(of("AssetTag").read_only, Some(true));
    assert_eq!(of("UsbControl").value.as_deref(), Some("true"));
}

/// Runs a step as the engine does: the memory is stored after each look, and each look may be another process's.
async fn run(sim: &Sim, step: &Step, change: impl Fn(&mut drivers::bmc::HardwareConfig)) -> (StepProgress, usize) {
    run_dying(sim, step, change, 0).await
}

/// The same by processes of which `deaths` die after each look, before what it gave was stored.
async fn run_dying(sim: &Sim, step: &Step, change: impl Fn(&mut drivers::bmc::HardwareConfig), deaths: usize) -> (StepProgress, usize) {
    let (mut memory, mut restarts) = (Value::Null, 0);
    for _ in 0..60 {
        let bmc = sim.open_with(&change).unwrap();
        for _ in 0..deaths {
            if let Err(error) = bmc.run_step(step, &memory).await {
                panic!("{}.{} with {memory}: {error}", step.interface, step.step);
            }
        }
        match bmc.run_step(step, &memory).await.unwrap() {
            StepProgress::Again { memory: next, reboot, .. } => {
                memory = serde_json::from_str(&next.to_string()).unwrap();
                if reboot {
                    restarts += 1;
                    bmc.set_power(PowerAction::Off).await.unwrap();
                    bmc.set_power(PowerAction::On).await.unwrap();
                }
            }
            end => return (end, restarts),
        }
    }
    panic!("{}.{} does not end: {memory}", step.interface, step.step);
}

#[tokio::test]
async fn bios_settings_are_applied_by_a_restart_and_seen() {
    let sim = Sim::start().await;
    sim.lock().etags.insert(format!("{SYSTEM}/Bios/Settings"));
    let settings = json!({"settings": [{"name": "ProcTurboMode", "value": "Enabled"}, {"name": "NumCores", "value": "16"},
        {"name": "UsbControl", "value": "true"}]});
    let apply = step("bios", "apply_configuration", &settings);
    assert_eq!(run(&sim, &apply, |_| {}).await, (StepProgress::Done, 1));
    assert_eq!(sim.resource(&format!("{SYSTEM}/Bios"))["Attributes"]["NumCores"], 16, "a number, as it was");
    assert_eq!(run(&sim, &apply, |_| {}).await, (StepProgress::Done, 0), "what is so already needs no restart");
    let sent = sim.asked("PATCH", &format!("{SYSTEM}/Bios/Settings")).pop().unwrap();
    assert_eq!(sent["@Redfish.SettingsApplyTime"]["ApplyTime"], "OnReset");
    assert!(sent["Attributes"].get("UsbControl").is_none(), "what is so already is not sent");
    for (name, value) in [("Ghost", json!(1)), ("AssetTag", json!("x")), ("NumCores", json!(65)), ("ProcTurboMode", json!("Maybe"))] {
        let bad = step("bios", "apply_configuration", &json!({"settings": [{"name": name, "value": value}]}));
        assert!(matches!(run(&sim, &bad, |_| {}).await.0, StepProgress::Failed(_)), "{name}");
    }
    let reset = step("bios", "factory_reset", &json!({}));
    assert_eq!(run(&sim, &reset, |_| {}).await, (StepProgress::Done, 1));
    assert_eq!(sim.resource(&format!("{SYSTEM}/Bios"))["Attributes"]["NumCores"], 0);
}

#[tokio::test]
async fn raid_sets_are_made_and_deleted() {
    let sim = Sim::start().await;
    let target = json!({"logical_disks": [
        {"size_gb": 100, "raid_level": "1", "is_root_volume": true, "volume_name": "root"}, {"size_gb": "MAX", "raid_level": "0"}]});
    let wanted = |it: &mut drivers::bmc::HardwareConfig| it.target_raid_config = target.as_object().cloned().unwrap();
    let create = step("raid", "create_configuration", &json!({}));
    assert!(matches!(run(&sim, &create, |_| {}).await.0, StepProgress::Failed(_)), "nothing is wanted");
    assert_eq!(run(&sim, &create, wanted).await, (StepProgress::Done, 0));
    let collection = format!("{SYSTEM}/Storage/1/Volumes");
    assert_eq!(sim.asked("POST", &collection).len(), 2);
    assert_eq!(run(&sim, &create, wanted).await, (StepProgress::Done, 0));
    assert_eq!(sim.asked("POST", &collection).len(), 2, "what is there is not made again");
    let raid = sim.open().raid().await.unwrap();
    assert_eq!(raid["logical_disks"].as_array().unwrap().len(), 2);
    assert_eq!(raid["logical_disks"][0]["raid_level"], "1");
    assert_eq!(raid["logical_disks"][0]["physical_disks"].as_array().unwrap().len(), 2);
    // All anew, by sets that come to be at the next start.
    sim.set(&collection, "/@Redfish.OperationApplyTimeSupport/SupportedValues", json!(["OnReset"]));
    let apply = step("raid", "apply_configuration", &json!({"raid_config": {"logical_disks": [{"size_gb": "MAX", "raid_level": "5"}]}}));
    // Deletion is immediate here, though it is asked for at the next start: no harm.
    assert_eq!(run(&sim, &apply, |_| {}).await, (StepProgress::Done, 1));
    assert_eq!(sim.open().raid().await.unwrap()["logical_disks"].as_array().unwrap().len(), 1);
    let delete = step("raid", "delete_configuration", &json!({}));
    assert_eq!(run(&sim, &delete, |_| {}).await.0, StepProgress::Done);
    assert!(sim.open().raid().await.unwrap()["logical_disks"].as_array().unwrap().is_empty());
}

/// What a step remembers, as if it were so many seconds later.
fn aged(memory: &Value, seconds: i64) -> Value {
    match memory {
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), aged(value, seconds))).collect(),
        // No other number is as large as a moment.
        Value::Number(it) => match it.as_i64() {
            Some(at) if at > 1_000_000_000_000 => json!(model::Timestamp(at).plus_seconds(-seconds).0),
            _ => memory.clone(),
        },
        other => other.clone(),
    }
}

/// Runs a step with a minute between any two looks; how often the machine was restarted.
async fn run_slowly(sim: &Sim, step: &Step, mut memory: Value) -> (StepProgress, usize) {
    let mut restarts = 0;
    for _ in 0..60 {
        let bmc = sim.open();
        match bmc.run_step(step, &aged(&memory, 61)).await.unwrap() {
            StepProgress::Again { memory: next, reboot, .. } => {
                memory = next;
                if reboot {
                    restarts += 1;
                    bmc.set_power(PowerAction::Off).await.unwrap();
                    bmc.set_power(PowerAction::On).await.unwrap();
                }
            }
            end => return (end, restarts),
        }
    }
    panic!("{}.{} does not end: {memory}", step.interface, step.step);
}

/// Two sets on a controller that deletes at the next start.
async fn two_sets() -> (Sim, Step) {
    let sim = Sim::start().await;
    let sets = json!([{"size_gb": 100, "raid_level": "1", "volume_name": "root"}, {"size_gb": "MAX", "raid_level": "1"}]);
    let create = step("raid", "apply_configuration", &json!({"raid_config": {"logical_disks": sets}}));
    assert_eq!(run(&sim, &create, |_| {}).await.0, StepProgress::Done);
    sim.set(&format!("{SYSTEM}/Storage/1/Volumes"), "/@Redfish.OperationApplyTimeSupport/SupportedValues", json!(["OnReset"]));
    sim.lock().deletes_at_start = true;
    (sim, step("raid", "delete_configuration", &json!({})))
}

fn deletes(sim: &Sim) -> Vec<String> {
    sim.lock().log.iter().filter(|it| it.0 == "DELETE").map(|it| it.1.clone()).collect()
}

#[tokio::test]
async fn a_deletion_whose_process_died_is_found_or_waited_for() {
    for are_tasks in [true, false] {
        let (sim, delete) = two_sets().await;
        sim.lock().deletes_are_tasks = are_tasks;
        for _ in 0..3 {
            // Told the BMC, then died before its memory was stored.
            let look = sim.open().run_step(&delete, &Value::Null).await.unwrap();
            assert!(matches!(look, StepProgress::Again { reboot: false, .. }), "{look:?}");
        }
        assert_eq!(run_slowly(&sim, &delete, Value::Null).await, (StepProgress::Done, 1), "tasks: {are_tasks}");
        let asked = deletes(&sim);
        assert!(!are_tasks || asked.len() == 2, "what has a task is not asked for twice: {asked:?}");
    }
}

#[tokio::test]
async fn a_controller_that_deletes_one_set_at_a_time() {
    for are_tasks in [true, false] {
        let (sim, delete) = two_sets().await;
        sim.lock().deletes_are_tasks = are_tasks;
        sim.lock().deletes_at_once = 1;
        assert_eq!(run_slowly(&sim, &delete, Value::Null).await, (StepProgress::Done, 2), "a restart for each; tasks: {are_tasks}");
    }
}

#[tokio::test]
async fn a_deletion_that_is_refused_for_good_ends() {
    let (sim, delete) = two_sets().await;
    for path in sim.resource(&format!("{SYSTEM}/Storage/1/Volumes"))["Members"].as_array().unwrap() {
        let why = error("Base.1.8.InsufficientPrivilege", "it is locked");
        sim.instead(Method::DELETE, path["@odata.id"].as_str().unwrap(), 405, why, 1_000);
    }
    let (end, restarts) = run_slowly(&sim, &delete, Value::Null).await;
    assert!(matches!(&end, StepProgress::Failed(why) if why.contains("it is locked")), "{end:?}");
    assert_eq!(restarts, 1, "whether it was to go at the next start could not be seen otherwise");
    sim.set(&format!("{SYSTEM}/Storage/1/Volumes"), "/@Redfish.OperationApplyTimeSupport/SupportedValues", json!(["Immediate"]));
    let (end, restarts) = run_slowly(&sim, &delete, Value::Null).await;
    assert!(matches!(&end, StepProgress::Failed(why) if why.contains("it is locked")), "{end:?}");
    assert_eq!(restarts, 0);
}

#[tokio::test]
async fn a_deletion_remembered_by_an_earlier_version_goes_on() {
    let (sim, delete) = two_sets().await;
    let paths: Vec<String> = sim.resource(&format!("{SYSTEM}/Storage/1/Volumes"))["Members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["@odata.id"].as_str().unwrap().to_owned())
        .collect();
    sim.lock().pending_deletes.clone_from(&paths);
    let posted: serde_json::Map<String, Value> = paths.iter().map(|it| (it.clone(), json!({"task": null, "on_reset": true}))).collect();
    for (restarted, restarts) in [(Value::Null, 1), (json!(true), 0)] {
        let mut memory = json!({"since": model::Timestamp::now().0, "deletes": posted});
        if restarted == true {
            memory["restarted"] = restarted;
        }
        let StepProgress::Again { reboot, .. } = sim.open().run_step(&delete, &memory).await.unwrap() else { panic!("it ended") };
        assert_eq!(usize::from(reboot), restarts);
    }
    assert!(deletes(&sim).is_empty());
}

#[tokio::test]
async fn bios_settings_whose_process_died_are_not_refused() {
    let sim = Sim::start().await;
    sim.lock().strict_bios = true;
    let apply = |value: i64| step("bios", "apply_configuration", &json!({"settings": [{"name": "NumCores", "value": value}]}));
    assert_eq!(run_dying(&sim, &apply(16), |_| {}, 2).await, (StepProgress::Done, 1));
    assert_eq!(sim.resource(&format!("{SYSTEM}/Bios"))["Attributes"]["NumCores"], 16);
    assert_eq!(run_dying(&sim, &step("bios", "factory_reset", &json!({})), |_| {}, 2).await, (StepProgress::Done, 1));
    // What somebody else has asked for is not taken for ours.
    sim.lock().pending_bios.insert("NumCores".into(), json!(2));
    let error = sim.open().run_step(&apply(16), &Value::Null).await.unwrap_err();
    assert!(matches!(&error, BmcError::Rejected { reason, .. } if reason.contains("already committed")), "{error}");
}

/// A connection that ends after the order went out leaves unknown whether it was heard; one that never was says that it was not.
#[tokio::test]
async fn an_order_that_broke_off_may_have_been_heard() {
    let sim = Sim::start().await;
    sim.open().power().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let system = json!({"@odata.id": "/redfish/v1/Systems/1", "PowerState": "On", "Actions": {"#ComputerSystem.Reset":
            {"target": "/reset", "ResetType@Redfish.AllowableValues": ["ForceRestart"]}}})
        .to_string();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            if request[..read].starts_with(b"GET") {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", system.len());
                stream.write_all(format!("{head}{system}").as_bytes()).await.unwrap();
            }
        }
    });
    let bmc = sim
        .open_with(|it| {
            it.info.0.insert("redfish_address".into(), json!(address));
            it.info.0.insert("redfish_auth_type".into(), json!("basic"));
            it.info.0.insert("redfish_system_id".into(), json!("/redfish/v1/Systems/1"));
        })
        .unwrap();
    let error = bmc.set_power(PowerAction::Reset).await.unwrap_err();
    assert!(matches!(error, BmcError::Timeout { .. }), "{error}");
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    let error = bmc.set_power(PowerAction::Reset).await.unwrap_err();
    assert!(matches!(error, BmcError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_step_whose_process_dies_again_and_again_is_done_once() {
    let raid = |apply: &str| {
        let sets = json!([{"size_gb": 100, "raid_level": "1", "volume_name": "root"}, {"size_gb": "MAX", "raid_level": "1"}]);
        (apply.to_owned(), step("raid", "apply_configuration", &json!({"raid_config": {"logical_disks": sets}})))
    };
    let collection = format!("{SYSTEM}/Storage/1/Volumes");
    for deaths in [1, 3] {
        for (apply, create) in [raid("Immediate"), raid("OnReset")] {
            let sim = Sim::start().await;
            sim.lock().task_looks = 20;
            sim.set(&collection, "/@Redfish.OperationApplyTimeSupport/SupportedValues", json!([apply]));
            let (end, restarts) = run_dying(&sim, &create, |_| {}, deaths).await;
            assert_eq!((end, restarts), (StepProgress::Done, usize::from(apply == "OnReset")));
            assert_eq!(sim.asked("POST", &collection).len(), 2, "{apply}, {deaths} deaths");
            assert_eq!(sim.open().raid().await.unwrap()["logical_disks"].as_array().unwrap().len(), 2);
            let delete = step("raid", "delete_configuration", &json!({}));
            assert_eq!(run_dying(&sim, &delete, |_| {}, deaths).await.0, StepProgress::Done);
        }
        let sim = Sim::start().await;
        let settings = json!({"settings": [{"name": "NumCores", "value": 4}]});
        assert_eq!(run_dying(&sim, &step("bios", "apply_configuration", &settings), |_| {}, deaths).await, (StepProgress::Done, 1));
        assert_eq!(run_dying(&sim, &step("bios", "factory_reset", &json!({})), |_| {}, deaths).await, (StepProgress::Done, 1));
        let clear = step("management", "clear_secure_boot_keys", &json!({}));
        assert_eq!(run_dying(&sim, &clear, |_| {}, deaths).await, (StepProgress::Done, 0));
        sim.lock().task_looks = 20;
        let images =
            json!({"settings": [{"component": "bios", "url": "http://10.0.0.1/v2"}, {"component": "bios", "url": "http://10.0.0.1/v3"}]});
        assert_eq!(run_dying(&sim, &step("firmware", "update", &images), |_| {}, deaths).await, (StepProgress::Done, 2));
        let sent = sim.asked("POST", &format!("{ROOT}/UpdateService/Actions/SimpleUpdate"));
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sim.resource(SYSTEM)["BiosVersion"], "v3");
    }
}

#[tokio::test]
async fn firmware_is_written_and_holds_after_a_restart() {
    let sim = Sim::start().await;
    let settings = json!({"settings": [{"component": "bios", "url": "http://10.0.0.1/P79-v2"}]});
    let update = step("firmware", "update", &settings);
    let mut memory = Value::Null;
    let mut restarts = 0;
    let mut seen = Vec::new();
    for _ in 0..20 {
        let bmc = sim.open();
        match bmc.run_step(&update, &memory).await.unwrap() {
            StepProgress::Again { memory: next, reboot, reason, .. } => {
                memory = next;
                seen.push(reason);
                if reboot {
                    restarts += 1;
                    bmc.set_power(PowerAction::Off).await.unwrap();
                    bmc.set_power(PowerAction::On).await.unwrap();
                }
            }
            StepProgress::Done => {
                assert_eq!(restarts, 1, "{seen:?}");
                assert_eq!(sim.resource(SYSTEM)["BiosVersion"], "P79-v2");
                let sent = sim.asked("POST", &format!("{ROOT}/UpdateService/Actions/SimpleUpdate"));
                assert_eq!(sent, [json!({"ImageURI": "http://10.0.0.1/P79-v2", "TransferProtocol": "HTTP"})]);
                return;
            }
            StepProgress::Failed(why) => panic!("{why}"),
        }
    }
    panic!("it does not end: {seen:?}");
}

#[tokio::test]
async fn a_process_that_dies_while_firmware_is_begun_does_not_begin_it_twice() {
    let sim = Sim::start().await;
    sim.lock().task_looks = 1_000;
    let update = step("firmware", "update", &json!({"settings": [{"component": "bmc", "url": "http://10.0.0.1/bmc-2"}]}));
    let StepProgress::Again { memory: intent, .. } = sim.open().run_step(&update, &Value::Null).await.unwrap() else {
        panic!("it did not store its intent");
    };
    for _ in 0..3 {
        // Told the BMC, then died before its new memory was stored.
        sim.open().run_step(&update, &intent).await.unwrap();
    }
    assert_eq!(sim.asked("POST", &format!("{ROOT}/UpdateService/Actions/SimpleUpdate")).len(), 1);
}

#[tokio::test]
async fn a_task_that_fails_fails_the_step_and_a_bmc_that_is_away_does_not() {
    let sim = Sim::start().await;
    let update = step("firmware", "update", &json!({"settings": [{"component": "bmc", "url": "http://10.0.0.1/bmc-2"}]}));
    let mut memory = Value::Null;
    for _ in 0..2 {
        let StepProgress::Again { memory: next, .. } = sim.open().run_step(&update, &memory).await.unwrap() else { panic!("too early") };
        memory = next;
    }
    let task = memory["task"].as_str().unwrap().to_owned();
    assert!(task.starts_with(&format!("{ROOT}/TaskService/Tasks/")), "the host of the location is not followed: {task}");
    sim.instead(Method::GET, &task, 503, Value::Null, 1);
    let away = sim.open().run_step(&update, &memory).await.unwrap();
    assert!(matches!(&away, StepProgress::Again { memory: kept, reboot: false, .. } if *kept == memory), "{away:?}");
    sim.set(&task, "/TaskState", json!("Exception"));
    assert!(matches!(sim.open().run_step(&update, &memory).await.unwrap(), StepProgress::Failed(_)));
}

#[tokio::test]
async fn an_image_with_a_wrong_checksum_is_not_written() {
    let sim = Sim::start().await;
    let url = format!("{}/redfish/v1", sim.address);
    let update = step("firmware", "update", &json!({"settings": [{"component": "bios", "url": url, "checksum": "0".repeat(64)}]}));
    let StepProgress::Failed(why) = sim.open().run_step(&update, &Value::Null).await.unwrap() else { panic!("it was taken") };
    assert!(why.contains("checksum"), "{why}");
    assert!(sim.asked("POST", &format!("{ROOT}/UpdateService/Actions/SimpleUpdate")).is_empty());
}

#[tokio::test]
async fn keys_of_secure_boot_and_the_clock() {
    let sim = Sim::start().await;
    let clear = step("management", "clear_secure_boot_keys", &json!({}));
    assert_eq!(run(&sim, &clear, |_| {}).await, (StepProgress::Done, 0));
    assert_eq!(sim.resource(&format!("{SYSTEM}/SecureBoot"))["SecureBootMode"], "SetupMode");
    let reset = step("management", "reset_secure_boot_keys_to_default", &json!({}));
    assert_eq!(run(&sim, &reset, |_| {}).await, (StepProgress::Done, 0));
    let clock = step("management", "set_bmc_clock", &json!({"target_datetime": "2026-11-21T20:00:00+00:00"}));
    assert_eq!(run(&sim, &clock, |_| {}).await, (StepProgress::Done, 0));
    for stage in [Stage::Clean, Stage::Deploy, Stage::Service] {
        for offered in sim.open().steps(stage) {
            let run = sim.open().run_step(&step(&offered.interface, &offered.step, &json!({})), &Value::Null).await.unwrap();
            assert!(!matches!(&run, StepProgress::Failed(why) if why.contains("no step")), "{offered:?}");
        }
    }
}

#[tokio::test]
async fn vendor_methods() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    bmc.insert_media("cdrom", "http://10.0.0.1/a.iso").await.unwrap();
    bmc.vendor("eject_vmedia", "POST", &json!({"boot_device": "cdrom"})).await.unwrap();
    assert!(bmc.virtual_media().await.unwrap().iter().all(|it| !it.inserted));
    let made = bmc.vendor("create_subscription", "POST", &json!({"Destination": "https://10.0.0.1/x"})).await.unwrap();
    assert_eq!(made["Id"], "1");
    assert_eq!(bmc.vendor("get_subscription", "GET", &json!({"id": "1"})).await.unwrap()["Protocol"], "Redfish");
    bmc.vendor("delete_subscription", "DELETE", &json!({"id": "1"})).await.unwrap();
    assert!(bmc.vendor("get_subscription", "GET", &json!({"id": "../../Systems"})).await.is_err());
    assert!(matches!(bmc.vendor("dance", "POST", &json!({})).await, Err(BmcError::Unsupported { .. })));
}

#[tokio::test]
async fn answers_without_sense_are_errors() {
    let sim = Sim::start().await;
    let bmc = sim.open();
    sim.lock().tree.insert(SYSTEM.to_owned(), json!([1, 2]));
    assert!(matches!(bmc.power().await, Err(BmcError::Protocol { .. })));
    sim.lock().tree.insert(SYSTEM.to_owned(), json!({"Boot": 5, "Links": "x", "Storage": {"@odata.id": 7}, "Actions": []}));
    assert!(bmc.power().await.is_err());
    assert!(bmc.boot_device().await.is_ok());
    assert!(bmc.inventory().await.is_ok());
    assert!(bmc.sensors().await.is_ok());
    assert!(bmc.raid().await.is_ok());
    assert!(bmc.virtual_media().await.is_ok());
    assert!(bmc.bios().await.is_err());
    sim.lock().tree.remove(SYSTEM);
    assert!(matches!(bmc.power().await, Err(BmcError::Rejected { .. })));
    let two = json!({"Members": [{"@odata.id": "/a"}, {"@odata.id": "/b"}]});
    let other = Sim::start().await;
    other.lock().tree.insert(format!("{ROOT}/Systems"), two);
    let error = other.open().power().await.unwrap_err();
    assert!(error.to_string().contains("redfish_system_id"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sim = Sim::start().await;
    let address = format!("http://{}", listener.local_addr().unwrap());
    let at = |it: &mut drivers::bmc::HardwareConfig| drop(it.info.0.insert("redfish_address".into(), json!(address)));
    drop(listener);
    let bmc: Box<dyn Bmc> = sim.open_with(at).unwrap();
    assert!(matches!(bmc.power().await, Err(BmcError::Unreachable { .. })));
}
