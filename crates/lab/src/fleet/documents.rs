//! The documents of a BMC: what is known of the machine in, JSON out. Shapes follow the DMTF schemas named in `@odata.type` (DSP8010).

use serde_json::{Map, Value, json};

use super::machine::{Machine, Power, State};

/// What a machine can be told to boot from.
pub(crate) const TARGETS: [&str; 7] = ["None", "Pxe", "Cd", "Hdd", "UefiHttp", "Usb", "BiosSetup"];
/// How long it is to stay told so.
pub(crate) const ENABLED: [&str; 3] = ["Disabled", "Once", "Continuous"];
/// How its firmware starts what it boots.
pub(crate) const MODES: [&str; 2] = ["UEFI", "Legacy"];
/// What its light can do.
pub(crate) const LEDS: [&str; 3] = ["Off", "Lit", "Blinking"];
/// What a Reset can be.
pub(crate) const RESETS: [&str; 9] =
    ["On", "ForceOn", "ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart", "PowerCycle", "PushPowerButton", "Nmi"];
/// The version of its BIOS.
pub(crate) const BIOS_VERSION: &str = "F1.0";
/// Logical processors.
pub(crate) const CPUS: u64 = 8;
/// Memory in GiB.
pub(crate) const MEMORY_GIB: u64 = 32;
/// Its disk in GB.
pub(crate) const DISK_GB: u64 = 480;

/// The path of the machine.
pub(crate) fn system_path(name: &str) -> String {
    format!("/redfish/v1/Systems/{name}")
}

/// The path of its BMC.
pub(crate) fn manager_path(name: &str) -> String {
    format!("/redfish/v1/Managers/{name}")
}

/// The serial number of a machine.
pub(crate) fn serial(machine: &Machine) -> String {
    machine.mac.replace(':', "").to_uppercase()
}

fn document(kind: &str, version: &str, path: &str, name: &str, more: Value) -> Value {
    let mut all = Map::new();
    all.insert("@odata.type".into(), format!("#{kind}.v{version}.{kind}").into());
    all.insert("@odata.id".into(), path.into());
    all.insert("Id".into(), path.rsplit('/').next().unwrap_or(path).into());
    all.insert("Name".into(), name.into());
    if let Value::Object(more) = more {
        all.extend(more);
    }
    Value::Object(all)
}

fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

/// The root of the service.
pub(crate) fn service_root(machine: &Machine) -> Value {
    let more = json!({
        "Id": "RootService",
        "RedfishVersion": "1.18.0",
        "UUID": machine.uuid,
        "Vendor": "Fleet",
        "Product": "Fake BMC",
        "Systems": link("/redfish/v1/Systems"),
        "Managers": link("/redfish/v1/Managers"),
        "Chassis": link("/redfish/v1/Chassis"),
        "SessionService": link("/redfish/v1/SessionService"),
        "Links": {"Sessions": link("/redfish/v1/SessionService/Sessions")},
    });
    document("ServiceRoot", "1_16_0", "/redfish/v1/", "Root Service", more)
}

/// A collection with its members' names.
pub(crate) fn collection(path: &str, kind: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|member| link(&format!("{path}/{member}"))).collect();
    json!({
        "@odata.type": format!("#{kind}Collection.{kind}Collection"),
        "@odata.id": path,
        "Name": path.rsplit('/').next().unwrap_or(path),
        "Members@odata.count": members.len(),
        "Members": members,
    })
}

/// The service that makes sessions.
pub(crate) fn session_service() -> Value {
    let sessions = link("/redfish/v1/SessionService/Sessions");
    document(
        "SessionService",
        "1_1_9",
        "/redfish/v1/SessionService",
        "Sessions",
        json!({"ServiceEnabled": true, "SessionTimeout": 1800, "Sessions": sessions}),
    )
}

/// A session.
pub(crate) fn session(number: &str, user: &str) -> Value {
    document("Session", "1_7_0", &format!("/redfish/v1/SessionService/Sessions/{number}"), "Session", json!({"UserName": user}))
}

fn health(power: Power) -> Value {
    let state = match power {
        Power::On => "Enabled",
        Power::Off => "Disabled",
        Power::PoweringOn => "Starting",
        Power::PoweringOff => "StandbyOffline",
    };
    json!({"State": state, "Health": "OK", "HealthRollup": "OK"})
}

/// The machine.
pub(crate) fn system(machine: &Machine, state: &State) -> Value {
    let path = system_path(&machine.name);
    let below = |name: &str| link(&format!("{path}/{name}"));
    let more = json!({
        "SystemType": "Physical",
        "Manufacturer": "Fleet",
        "Model": "Fake machine",
        "SerialNumber": serial(machine),
        "SKU": "fake-1",
        "UUID": machine.uuid,
        "BiosVersion": BIOS_VERSION,
        "PowerState": state.power.as_str(),
        "Status": health(state.power),
        "IndicatorLED": state.led,
        "Boot": {
            "BootSourceOverrideEnabled": state.boot.enabled,
            "BootSourceOverrideEnabled@Redfish.AllowableValues": ENABLED,
            "BootSourceOverrideMode": if state.is_legacy { "Legacy" } else { "UEFI" },
            "BootSourceOverrideMode@Redfish.AllowableValues": MODES,
            "BootSourceOverrideTarget": state.boot.target,
            "BootSourceOverrideTarget@Redfish.AllowableValues": TARGETS,
        },
        "ProcessorSummary": {"Count": 1, "LogicalProcessorCount": CPUS, "Model": "Fake CPU", "Status": {"State": "Enabled", "Health": "OK"}},
        "MemorySummary": {"TotalSystemMemoryGiB": MEMORY_GIB, "Status": {"State": "Enabled", "Health": "OK"}},
        "EthernetInterfaces": below("EthernetInterfaces"),
        "SimpleStorage": below("SimpleStorage"),
        "Bios": below("Bios"),
        "SecureBoot": below("SecureBoot"),
        "VirtualMedia": below("VirtualMedia"),
        "Links": {
            "Chassis": [link(&format!("/redfish/v1/Chassis/{}", machine.name))],
            "ManagedBy": [link(&manager_path(&machine.name))],
        },
        "Actions": {"#ComputerSystem.Reset": {
            "target": format!("{path}/Actions/ComputerSystem.Reset"),
            "ResetType@Redfish.AllowableValues": RESETS,
        }},
    });
    document("ComputerSystem", "1_22_0", &path, &machine.name, more)
}

/// Its card.
pub(crate) fn card(machine: &Machine, state: &State) -> Value {
    let more = json!({
        "MACAddress": machine.mac,
        "PermanentMACAddress": machine.mac,
        "InterfaceEnabled": true,
        "SpeedMbps": 25_000,
        "LinkStatus": if state.power == Power::On { "LinkUp" } else { "NoLink" },
        "Status": {"State": "Enabled", "Health": "OK"},
    });
    document("EthernetInterface", "1_12_0", &format!("{}/EthernetInterfaces/1", system_path(&machine.name)), "Card", more)
}

/// Its disk.
pub(crate) fn storage(machine: &Machine) -> Value {
    let device = json!({"Name": "sda", "CapacityBytes": DISK_GB * 1_000_000_000, "Status": {"State": "Enabled", "Health": "OK"}});
    let path = format!("{}/SimpleStorage/1", system_path(&machine.name));
    document("SimpleStorage", "1_3_2", &path, "Disks", json!({"Status": {"State": "Enabled", "Health": "OK"}, "Devices": [device]}))
}

/// Whether it boots only what is signed.
pub(crate) fn secure_boot(machine: &Machine, state: &State) -> Value {
    let path = format!("{}/SecureBoot", system_path(&machine.name));
    let more = json!({
        "SecureBootEnable": state.secure_boot_wanted,
        "SecureBootCurrentBoot": if state.secure_boot { "Enabled" } else { "Disabled" },
        "SecureBootMode": "UserMode",
        "Actions": {"#SecureBoot.ResetKeys": {
            "target": format!("{path}/Actions/SecureBoot.ResetKeys"),
            "ResetKeysType@Redfish.AllowableValues": ["ResetAllKeysToDefault", "DeleteAllKeys", "DeletePK"],
        }},
    });
    document("SecureBoot", "1_1_0", &path, "Secure boot", more)
}

/// The settings of its firmware as they are without anybody's doing.
pub(crate) fn bios_defaults() -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("BootMode".into(), "Uefi".into());
    all.insert("ProcTurboMode".into(), "Enabled".into());
    all.insert("ProcVirtualization".into(), "Enabled".into());
    all.insert("NumaNodesPerSocket".into(), 1.into());
    all
}

/// The settings of its firmware now, or as they will be.
pub(crate) fn bios(machine: &Machine, state: &State, is_pending: bool) -> Value {
    let mut attributes = bios_defaults();
    if let Some(firmware) = &state.firmware {
        attributes.extend(firmware.bios.clone());
        for change in firmware.pending.iter().filter(|_| is_pending) {
            match change {
                Some(settings) => attributes.extend(settings.clone()),
                None => attributes = bios_defaults(),
            }
        }
    }
    let path = format!("{}/Bios", system_path(&machine.name));
    if is_pending {
        return document("Bios", "1_2_1", &format!("{path}/Settings"), "BIOS settings to come", json!({"Attributes": attributes}));
    }
    let more = json!({
        "Attributes": attributes,
        "@Redfish.Settings": {"@odata.type": "#Settings.v1_3_5.Settings", "SettingsObject": link(&format!("{path}/Settings"))},
        "Actions": {"#Bios.ResetBios": {"target": format!("{path}/Actions/Bios.ResetBios")}},
    });
    document("Bios", "1_2_1", &path, "BIOS settings", more)
}

/// What is in its virtual drive; `base` is the machine's path or its BMC's: both show it.
pub(crate) fn medium(base: &str, state: &State) -> Value {
    let path = format!("{base}/VirtualMedia/Cd");
    let more = json!({
        "MediaTypes": ["CD", "DVD"],
        "Image": state.medium,
        "ImageName": state.medium.as_deref().and_then(|it| it.rsplit('/').next()),
        "Inserted": state.medium.is_some(),
        "WriteProtected": true,
        "ConnectedVia": if state.medium.is_some() { "URI" } else { "NotConnected" },
        "Actions": {
            "#VirtualMedia.InsertMedia": {"target": format!("{path}/Actions/VirtualMedia.InsertMedia")},
            "#VirtualMedia.EjectMedia": {"target": format!("{path}/Actions/VirtualMedia.EjectMedia")},
        },
    });
    document("VirtualMedia", "1_6_3", &path, "Virtual drive", more)
}

/// The BMC itself.
pub(crate) fn manager(machine: &Machine) -> Value {
    let path = manager_path(&machine.name);
    let more = json!({
        "ManagerType": "BMC",
        "Model": "Fake BMC",
        "FirmwareVersion": env!("CARGO_PKG_VERSION"),
        "PowerState": "On",
        "Status": {"State": "Enabled", "Health": "OK"},
        "VirtualMedia": link(&format!("{path}/VirtualMedia")),
        "Links": {
            "ManagerForServers": [link(&system_path(&machine.name))],
            "ManagerForChassis": [link(&format!("/redfish/v1/Chassis/{}", machine.name))],
        },
    });
    document("Manager", "1_19_0", &path, &format!("BMC of {}", machine.name), more)
}

/// The case.
pub(crate) fn chassis(machine: &Machine, state: &State) -> Value {
    let path = format!("/redfish/v1/Chassis/{}", machine.name);
    let more = json!({
        "ChassisType": "RackMount",
        "Manufacturer": "Fleet",
        "SerialNumber": serial(machine),
        "PowerState": state.power.as_str(),
        "Status": health(state.power),
        "Power": link(&format!("{path}/Power")),
        "Thermal": link(&format!("{path}/Thermal")),
        "Links": {"ComputerSystems": [link(&system_path(&machine.name))], "ManagedBy": [link(&manager_path(&machine.name))]},
    });
    document("Chassis", "1_25_0", &path, &format!("Case of {}", machine.name), more)
}

/// What it draws.
pub(crate) fn chassis_power(machine: &Machine, state: &State) -> Value {
    let path = format!("/redfish/v1/Chassis/{}/Power", machine.name);
    let watts = if state.power == Power::Off { 8 } else { 210 };
    let control = json!({"@odata.id": format!("{path}#/PowerControl/0"), "MemberId": "0", "Name": "Draw", "PowerConsumedWatts": watts});
    document("Power", "1_7_3", &path, "Power", json!({"PowerControl": [control]}))
}

/// How warm it is.
pub(crate) fn thermal(machine: &Machine, state: &State) -> Value {
    let path = format!("/redfish/v1/Chassis/{}/Thermal", machine.name);
    let on = state.power == Power::On;
    let status = json!({"State": "Enabled", "Health": "OK"});
    let warmth = json!({"@odata.id": format!("{path}#/Temperatures/0"), "MemberId": "0", "Name": "Inlet", "ReadingCelsius": if on { 27 } else { 22 }, "Status": status});
    let fan = json!({"@odata.id": format!("{path}#/Fans/0"), "MemberId": "0", "Name": "Fan 1", "Reading": if on { 5400 } else { 0 }, "ReadingUnits": "RPM", "Status": status});
    document("Thermal", "1_7_3", &path, "Thermal", json!({"Temperatures": [warmth], "Fans": [fan]}))
}
