//! The documents of the service, pure: what is known of the machine in, JSON out. Shapes follow the DMTF schemas named in `@odata.type`
//! (DSP8010).

use serde_json::{Map, Value, json};

use super::error::RedfishError;
use crate::machine::{Boot, BootOverride, Enabled, Order, Power};
use crate::rack;

/// Values of `ResetType` that the machine obeys.
pub(crate) const RESET_TYPES: [&str; 5] = ["On", "ForceOn", "ForceOff", "ForceRestart", "GracefulShutdown"];
const TARGETS: [&str; 3] = ["None", "Pxe", "Hdd"];
const ENABLED: [&str; 3] = ["Disabled", "Once", "Continuous"];
const MODES: [&str; 1] = ["UEFI"];

/// What documents are made from.
pub(crate) struct Facts<'a> {
    pub(crate) machine: &'a rack::Machine,
    pub(crate) uuid: &'a str,
    pub(crate) power: Power,
    pub(crate) boot: BootOverride,
}

/// The list of versions.
pub(crate) fn versions() -> Value {
    json!({"v1": "/redfish/v1/"})
}

/// The root of the service.
pub(crate) fn service_root(uuid: &str) -> Value {
    json!({
        "@odata.type": "#ServiceRoot.v1_16_0.ServiceRoot",
        "@odata.id": "/redfish/v1/",
        "Id": "RootService",
        "Name": "Root Service",
        "RedfishVersion": "1.20.0",
        "UUID": uuid,
        "Vendor": "Cofferdam",
        "Product": "Simulated rack",
        "Systems": {"@odata.id": "/redfish/v1/Systems"},
        "Chassis": {"@odata.id": "/redfish/v1/Chassis"},
        "Managers": {"@odata.id": "/redfish/v1/Managers"},
        "Links": {},
    })
}

/// The OData service document.
pub(crate) fn odata() -> Value {
    let entry = |name: &str| json!({"name": name, "kind": "Singleton", "url": format!("/redfish/v1/{name}")});
    json!({
        "@odata.context": "/redfish/v1/$metadata",
        "value": [
            {"name": "Service", "kind": "Singleton", "url": "/redfish/v1/"},
            entry("Systems"), entry("Chassis"), entry("Managers"),
        ],
    })
}

/// A collection with its members' names.
pub(crate) fn collection(path: &str, kind: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|member| json!({"@odata.id": format!("{path}/{member}")})).collect();
    json!({
        "@odata.type": format!("#{kind}.{kind}"),
        "@odata.id": path,
        "Name": path.rsplit('/').next().unwrap_or(path),
        "Members@odata.count": members.len(),
        "Members": members,
    })
}

/// The machine.
pub(crate) fn system(facts: &Facts<'_>) -> Value {
    let machine = facts.machine;
    let path = &machine.bmc.system;
    json!({
        "@odata.type": "#ComputerSystem.v1_22_0.ComputerSystem",
        "@odata.id": path,
        "Id": machine.name,
        "Name": machine.name,
        "SystemType": "Physical",
        "Manufacturer": "Cofferdam",
        "Model": "Machine of namespaces",
        "SerialNumber": serial(machine),
        "UUID": facts.uuid,
        "PowerState": facts.power.to_string(),
        "Status": status(facts.power),
        "Boot": boot(facts.boot),
        "ProcessorSummary": {"Count": machine.cpus, "LogicalProcessorCount": machine.cpus, "Model": "x86-64"},
        "MemorySummary": {"TotalSystemMemoryGiB": gibibytes(machine.memory_mb)},
        "EthernetInterfaces": {"@odata.id": format!("{path}/EthernetInterfaces")},
        "SimpleStorage": {"@odata.id": format!("{path}/SimpleStorage")},
        "Links": {
            "Chassis": [{"@odata.id": format!("/redfish/v1/Chassis/{}", machine.name)}],
            "ManagedBy": [{"@odata.id": format!("/redfish/v1/Managers/{}", machine.name)}],
        },
        "Actions": {"#ComputerSystem.Reset": {
            "target": format!("{path}/Actions/ComputerSystem.Reset"),
            "ResetType@Redfish.AllowableValues": RESET_TYPES,
        }},
    })
}

#[expect(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52 MiB")]
fn gibibytes(megabytes: u64) -> f64 {
    megabytes as f64 / 1024.0
}

fn serial(machine: &rack::Machine) -> String {
    machine.mac.replace(':', "").to_uppercase()
}

fn status(power: Power) -> Value {
    let state = match power {
        Power::On => "Enabled",
        Power::Off => "Disabled",
        Power::PoweringOn => "Starting",
        Power::PoweringOff => "StandbyOffline",
    };
    json!({"State": state, "Health": "OK"})
}

fn boot(boot: BootOverride) -> Value {
    let target = match boot.target {
        None => "None",
        Some(Boot::Pxe) => "Pxe",
        Some(Boot::Disk) => "Hdd",
    };
    let enabled = match boot.enabled {
        Enabled::Disabled => "Disabled",
        Enabled::Once => "Once",
        Enabled::Continuous => "Continuous",
    };
    json!({
        "BootSourceOverrideEnabled": enabled,
        "BootSourceOverrideEnabled@Redfish.AllowableValues": ENABLED,
        "BootSourceOverrideMode": "UEFI",
        "BootSourceOverrideMode@Redfish.AllowableValues": MODES,
        "BootSourceOverrideTarget": target,
        "BootSourceOverrideTarget@Redfish.AllowableValues": TARGETS,
    })
}

/// The machine's NIC.
pub(crate) fn nic(facts: &Facts<'_>) -> Value {
    let machine = facts.machine;
    json!({
        "@odata.type": "#EthernetInterface.v1_12_0.EthernetInterface",
        "@odata.id": format!("{}/EthernetInterfaces/eth0", machine.bmc.system),
        "Id": "eth0",
        "Name": "eth0",
        "MACAddress": machine.mac,
        "PermanentMACAddress": machine.mac,
        "InterfaceEnabled": true,
        "LinkStatus": if facts.power == Power::On { "LinkUp" } else { "NoLink" },
        "Status": {"State": "Enabled", "Health": "OK"},
    })
}

/// The machine's disk.
pub(crate) fn storage(machine: &rack::Machine) -> Value {
    json!({
        "@odata.type": "#SimpleStorage.v1_3_2.SimpleStorage",
        "@odata.id": format!("{}/SimpleStorage/disk", machine.bmc.system),
        "Id": "disk",
        "Name": "Disk",
        "Status": {"State": "Enabled", "Health": "OK"},
        "Devices": [{"Name": "vda", "CapacityBytes": machine.disk_gb << 30, "Status": {"State": "Enabled", "Health": "OK"}}],
    })
}

/// The management controller itself.
pub(crate) fn manager(facts: &Facts<'_>) -> Value {
    let machine = facts.machine;
    json!({
        "@odata.type": "#Manager.v1_19_0.Manager",
        "@odata.id": format!("/redfish/v1/Managers/{}", machine.name),
        "Id": machine.name,
        "Name": format!("BMC of {}", machine.name),
        "ManagerType": "BMC",
        "Model": "Simulated BMC",
        "FirmwareVersion": env!("CARGO_PKG_VERSION"),
        "PowerState": "On",
        "Status": {"State": "Enabled", "Health": "OK"},
        "Links": {
            "ManagerForServers": [{"@odata.id": machine.bmc.system}],
            "ManagerForChassis": [{"@odata.id": format!("/redfish/v1/Chassis/{}", machine.name)}],
        },
    })
}

/// The machine's case.
pub(crate) fn chassis(facts: &Facts<'_>) -> Value {
    let machine = facts.machine;
    json!({
        "@odata.type": "#Chassis.v1_25_0.Chassis",
        "@odata.id": format!("/redfish/v1/Chassis/{}", machine.name),
        "Id": machine.name,
        "Name": format!("Chassis of {}", machine.name),
        "ChassisType": "RackMount",
        "Manufacturer": "Cofferdam",
        "SerialNumber": serial(machine),
        "PowerState": facts.power.to_string(),
        "Status": status(facts.power),
        "Links": {
            "ComputerSystems": [{"@odata.id": machine.bmc.system}],
            "ManagedBy": [{"@odata.id": format!("/redfish/v1/Managers/{}", machine.name)}],
        },
    })
}

/// Reads the body of a PATCH of the machine: the boot override it leads to. All of it is checked before anything changes.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn patched(body: &Map<String, Value>, system: &Value, now: BootOverride) -> Result<BootOverride, RedfishError> {
    let mut wanted = now;
    for (name, value) in body {
        if name == "Boot" {
            let boot = value.as_object().ok_or_else(|| RedfishError::wrong_type("Boot", value))?;
            for (name, value) in boot {
                patch_boot(name, value, &mut wanted)?;
            }
        } else if system.get(name).is_some() {
            return Err(RedfishError::read_only(name));
        } else {
            return Err(RedfishError::unknown(name));
        }
    }
    if wanted.target.is_none() {
        wanted.enabled = Enabled::Disabled;
    }
    Ok(wanted)
}

fn patch_boot(name: &str, value: &Value, wanted: &mut BootOverride) -> Result<(), RedfishError> {
    let property = format!("Boot.{name}");
    let text = || value.as_str().ok_or_else(|| RedfishError::wrong_type(&property, value));
    let refuse = || RedfishError::not_in_list(&property, value);
    match name {
        "BootSourceOverrideTarget" => {
            wanted.target = match text()? {
                "None" => None,
                "Pxe" => Some(Boot::Pxe),
                "Hdd" => Some(Boot::Disk),
                _ => return Err(refuse()),
            };
        }
        "BootSourceOverrideEnabled" => {
            wanted.enabled = match text()? {
                "Disabled" => Enabled::Disabled,
                "Once" => Enabled::Once,
                "Continuous" => Enabled::Continuous,
                _ => return Err(refuse()),
            };
        }
        "BootSourceOverrideMode" if MODES.contains(&text()?) => {}
        "BootSourceOverrideMode" => return Err(refuse()),
        _ if name.contains('@') => return Err(RedfishError::read_only(&property)),
        _ => return Err(RedfishError::unknown(&property)),
    }
    Ok(())
}

/// Reads the body of a Reset action: the order it means for a machine in that state.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn reset(body: &Map<String, Value>, power: Power) -> Result<Order, RedfishError> {
    const ACTION: &str = "ComputerSystem.Reset";
    if let Some(name) = body.keys().find(|name| *name != "ResetType") {
        return Err(RedfishError::parameter_unknown(ACTION, name));
    }
    let Some(value) = body.get("ResetType") else {
        return Err(RedfishError::parameter_missing(ACTION, "ResetType"));
    };
    let is_off = power == Power::Off;
    // An order waits its turn even if the state seems to make it needless: those before it may change that. Only what makes no sense
    // for a machine that is off is refused.
    match value.as_str() {
        Some("On" | "ForceOn") => Ok(Order::On),
        Some("ForceOff") => Ok(Order::Off),
        Some("ForceRestart" | "GracefulShutdown") if is_off => Err(RedfishError::in_standby()),
        Some("ForceRestart") => Ok(Order::Restart),
        Some("GracefulShutdown") => Ok(Order::Button),
        _ => Err(RedfishError::parameter_not_in_list(ACTION, "ResetType", value)),
    }
}
