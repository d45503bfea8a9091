//! How the fields of a node are set, by whom and when: at its creation, by a patch.

use std::sync::LazyLock;

use model::baremetal::hardware::{TYPES, hardware_type};
use model::baremetal::{Chassis, Interface, Node};
use model::secret::Settings;
use model::{Id, Object};
use serde_json::{Map, Value, json};

use super::access::{is_logical_name, parse_id, valid_uuid};
use super::words::{boolean, not_of_type};
use crate::failure::Failure;

/// Longest description, in characters.
pub(super) const MAX_DESCRIPTION: usize = 4096;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Its form: python-jsonschema's words.
    Form(String),
    /// What it means; the whole text.
    Means(Failure),
    /// It cannot be a node's name.
    Name(String),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Means(failure)
    }
}

fn bad(text: String) -> Wrong {
    Wrong::Means(Failure::BadRequest(text))
}

/// The value a patch works on; how it is set, `Null` meaning that it is taken away.
type Raw = fn(&Object<Node>) -> Value;
type Set = fn(&mut Object<Node>, Value) -> Result<(), Wrong>;

/// A field that can be set.
pub(super) struct Write {
    pub name: &'static str,
    pub raw: Raw,
    pub set: Set,
    /// Can be given at creation.
    pub post: bool,
    /// Can be changed by a patch.
    pub patch: bool,
    /// Cannot be changed while somebody works on the node.
    pub steady: bool,
}

const fn write(name: &'static str, raw: Raw, set: Set) -> Write {
    Write { name, raw, set, post: true, patch: true, steady: false }
}

impl Write {
    const fn only_post(mut self) -> Self {
        self.patch = false;
        self
    }

    const fn only_patch(mut self) -> Self {
        self.post = false;
        self
    }

    const fn steady(mut self) -> Self {
        self.steady = true;
        self
    }
}

macro_rules! texts {
    ($name:literal, $field:ident, $most:expr) => {
        write($name, |it| json!(it.desired.$field), |it, value| put(&mut it.desired.$field, text(value, $most)))
    };
}

macro_rules! maps {
    ($name:literal, $field:ident) => {
        write($name, |it| Value::Object(it.desired.$field.clone()), |it, value| put(&mut it.desired.$field, object(value)))
    };
}

macro_rules! settings {
    ($name:literal, $field:ident) => {
        write(
            $name,
            |it| Value::Object(it.desired.$field.0.clone()),
            |it, value| {
                it.desired.$field = settings(object(value)?, &it.desired.$field);
                Ok(())
            },
        )
    };
}

macro_rules! flags {
    ($name:literal, $($field:ident).+) => {
        write($name, |it| json!(it.desired.$($field).+), |it, value| put(&mut it.desired.$($field).+, flag($name, &value)))
    };
}

macro_rules! interface {
    ($name:literal, $interface:ident) => {
        write(
            $name,
            |it| json!(it.desired.interface(Interface::$interface)),
            |it, value| {
                match text(value, 255)? {
                    Some(name) => it.desired.interfaces.insert(Interface::$interface, name),
                    None => it.desired.interfaces.remove(&Interface::$interface),
                };
                Ok(())
            },
        )
        .steady()
    };
}

fn put<T>(place: &mut T, value: Result<T, Wrong>) -> Result<(), Wrong> {
    *place = value?;
    Ok(())
}

/// The fields that can be set, in the order in which Ironic names them.
pub(super) static WRITES: &[Write] = &[
    write(
        "automated_clean",
        |it| json!(it.desired.automated_clean),
        |it, value| {
            it.desired.automated_clean = match value {
                Value::Null => None,
                other => Some(flag("automated_clean", &other)?),
            };
            Ok(())
        },
    ),
    interface!("bios_interface", Bios),
    interface!("boot_interface", Boot),
    write(
        "chassis_uuid",
        |it| json!(it.desired.chassis_id),
        |it, value| {
            it.desired.chassis_id = match text(value, usize::MAX)? {
                None => None,
                Some(text) => Some(parse_id::<Chassis>(&text).ok_or_else(|| bad(format!("Expected UUID for chassis_uuid: {text}")))?),
            };
            Ok(())
        },
    ),
    write(
        "conductor_group",
        |it| json!(it.desired.conductor_group),
        |it, value| {
            let group = text(value, 255)?.unwrap_or_default();
            if !group.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
                return Err(bad(format!("Expected a conductor group but received {group}.")));
            }
            it.desired.conductor_group = group.to_ascii_lowercase();
            Ok(())
        },
    ),
    flags!("console_enabled", console_enabled).only_post(),
    interface!("console_interface", Console),
    interface!("deploy_interface", Deploy),
    texts!("description", description, MAX_DESCRIPTION),
    flags!("disable_power_off", disable_power_off),
    write(
        "driver",
        |it| json!(it.desired.driver),
        |it, value| {
            let Value::String(name) = value else { return Err(Wrong::Form(not_of_type(&value, "string"))) };
            if hardware_type(&name).is_none() {
                return Err(bad(format!(
                    "No valid host was found. Reason: No conductor service registered which supports driver {name} for conductor group \"{}\". \
                     Ensure the driver is valid and enabled.",
                    it.desired.conductor_group
                )));
            }
            it.desired.driver = name;
            Ok(())
        },
    )
    .steady(),
    settings!("driver_info", driver_info),
    maps!("extra", extra),
    interface!("inspect_interface", Inspect),
    settings!("instance_info", instance_info).steady(),
    write(
        "instance_name",
        |it| json!(it.desired.instance_name),
        |it, value| match text(value, 255)? {
            Some(name) if name.is_empty() => Err(Wrong::Form("'' should be non-empty".into())),
            name => {
                it.desired.instance_name = name;
                Ok(())
            }
        },
    ),
    write(
        "instance_uuid",
        |it| json!(it.desired.instance_uuid),
        |it, value| {
            it.desired.instance_uuid = match text(value, usize::MAX)? {
                None => None,
                Some(id) => Some(valid_uuid(&id).ok_or_else(|| bad(format!("Expected UUID for instance_uuid: {id}")))?),
            };
            Ok(())
        },
    ),
    texts!("lessee", lessee, 255),
    flags!("maintenance", maintenance),
    interface!("management_interface", Management),
    write(
        "name",
        |it| if it.name.is_empty() { Value::Null } else { json!(it.name) },
        |it, value| {
            it.name = match text(value, usize::MAX)? {
                None => String::new(),
                Some(name) => valid_name(name)?,
            };
            Ok(())
        },
    ),
    write(
        "network_data",
        |it| Value::Object(it.desired.network_data.clone()),
        |it, value| {
            let data = object(value)?;
            network_data(&data)?;
            it.desired.network_data = data;
            Ok(())
        },
    ),
    interface!("network_interface", Network),
    texts!("owner", owner, 255),
    interface!("power_interface", Power),
    maps!("properties", properties),
    flags!("protected", protected.on).only_patch(),
    write("protected_reason", |it| json!(it.desired.protected.reason), |it, value| put(&mut it.desired.protected.reason, text(value, 4096)))
        .only_patch(),
    interface!("raid_interface", Raid),
    interface!("rescue_interface", Rescue),
    texts!("resource_class", resource_class, 80),
    flags!("retired", retired.on),
    write("retired_reason", |it| json!(it.desired.retired.reason), |it, value| put(&mut it.desired.retired.reason, text(value, 4096))),
    texts!("shard", shard, 255),
    interface!("storage_interface", Storage),
    interface!("vendor_interface", Vendor),
    // Resolved by the caller before: here it is a node's id.
    write(
        "parent_node",
        |it| json!(it.desired.parent_node),
        |it, value| {
            it.desired.parent_node = match text(value, 36)? {
                None => None,
                Some(text) => Some(parse_id::<Node>(&text).ok_or_else(|| no_parent(&text))?),
            };
            Ok(())
        },
    ),
    interface!("firmware_interface", Firmware),
];

/// The field of that name.
pub(super) fn find(name: &str) -> Option<&'static Write> {
    WRITES.iter().find(|it| it.name == name)
}

/// That a node cannot be the parent that was named, be it that it is not there or that it is not to be seen.
pub(super) fn no_parent(text: &str) -> Failure {
    Failure::BadRequest(format!("Unable to apply the requested parent_node '{text}'. Requested value was invalid."))
}

/// That an attribute is none of those that a patch can change.
pub(super) fn not_patchable(pointer: &str) -> Failure {
    static NAMES: LazyLock<String> = LazyLock::new(|| WRITES.iter().filter(|it| it.patch).map(|it| it.name).collect::<Vec<_>>().join(", "));
    Failure::BadRequest(format!("Cannot patch {pointer}. Only the following can be updated: {}", *NAMES))
}

fn text(value: Value, most: usize) -> Result<Option<String>, Wrong> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() > most => Err(Wrong::Form(format!("'{text}' is too long"))),
        Value::String(text) => Ok(Some(text)),
        other => Err(Wrong::Form(not_of_type(&other, "string|null"))),
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Wrong> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map),
        other => Err(Wrong::Form(not_of_type(&other, "object|null"))),
    }
}

fn flag(name: &str, value: &Value) -> Result<bool, Wrong> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(_) | Value::String(_) => Ok(boolean(name, value)?),
        other => Err(Wrong::Form(not_of_type(other, "string|boolean|null"))),
    }
}

/// Words that are paths below `/v1/nodes`, as Ironic lists them.
const RESERVED: &[&str] = &["maintenance", "management", "states", "vendor_passthru", "detail", "validate"];

fn valid_name(name: String) -> Result<String, Wrong> {
    // A name that is a UUID would hide another node.
    if !is_logical_name(&name) || valid_uuid(&name).is_some() {
        return Err(Wrong::Name(name));
    }
    if RESERVED.contains(&name.as_str()) {
        let words = RESERVED.join(", ");
        return Err(bad(format!("The word \"{name}\" is reserved and can not be used as a node name. Reserved words are: {words}.")));
    }
    Ok(name)
}

/// A map of settings. A secret sent back as it was shown (`******`) stays what it was.
fn settings(mut map: Map<String, Value>, before: &Settings) -> Settings {
    fn unmask(key: &str, value: &mut Value, before: Option<&Value>) {
        match value {
            Value::String(text) if text == "******" && (Settings::is_secret(key) || key == "configdrive") => {
                if let Some(old) = before {
                    *value = old.clone();
                }
            }
            Value::Object(map) => map.iter_mut().for_each(|(key, value)| unmask(key, value, before.and_then(|it| it.get(key)))),
            _ => {}
        }
    }
    map.iter_mut().for_each(|(key, value)| unmask(key, value, before.0.get(key)));
    Settings(map)
}

/// Whether it has the form of `network_data.json` (Source: OpenStack, `network_data.json` schema): empty, or links, networks, services.
fn network_data(data: &Map<String, Value>) -> Result<(), Wrong> {
    if data.is_empty() {
        return Ok(());
    }
    let wrong = |text: String| bad(format!("Invalid network_data: {text} "));
    for (key, required) in
        [("links", &["id", "type"][..]), ("networks", &["id", "link", "type", "network_id"][..]), ("services", &["type", "address"][..])]
    {
        let list = data.get(key).ok_or_else(|| wrong(format!("'{key}' is a required property")))?;
        let list = list.as_array().ok_or_else(|| wrong(not_of_type(list, "array")))?;
        for item in list {
            let item = item.as_object().ok_or_else(|| wrong(not_of_type(item, "object")))?;
            if let Some(missing) = required.iter().find(|it| !item.contains_key(**it)) {
                return Err(wrong(format!("'{missing}' is a required property")));
            }
            let address = ["ethernet_mac_address", "vlan_mac_address"];
            if key == "links" && !address.iter().any(|it| item.get(*it).is_some_and(Value::is_string)) {
                return Err(wrong("'ethernet_mac_address' is a required property".into()));
            }
        }
    }
    Ok(())
}

/// Whether each interface of the node is one that its hardware type has.
///
/// # Errors
/// `BadRequest` in Ironic's words.
pub(super) fn interfaces(node: &Object<Node>) -> Result<(), Failure> {
    let Some(hardware) = hardware_type(&node.desired.driver) else { return Ok(()) };
    for (interface, name) in &node.desired.interfaces {
        if hardware.enabled(*interface).contains(&name.as_str()) {
            continue;
        }
        let kind = interface.as_str();
        let mut known: Vec<&str> = TYPES.iter().flat_map(|it| it.enabled(*interface)).copied().collect();
        known.sort_unstable();
        known.dedup();
        if known.contains(&name.as_str()) {
            let text = format!("{kind} interface implementation '{name}' is not supported by hardware type {}.", hardware.name);
            return Err(Failure::BadRequest(text));
        }
        let known: Vec<String> = known.iter().map(|it| format!("'{it}'")).collect();
        return Err(Failure::BadRequest(format!(
            "Could not find the following interface in the 'ironic.hardware.interfaces.{kind}' entrypoint: {name}. Valid interfaces are [{}].",
            known.join(", ")
        )));
    }
    Ok(())
}

/// After the driver changed: what a node had keeps its name, be it chosen or the old type's default, unless all is to be reset.
/// `chosen` are those named in the same patch.
pub(super) fn driver_changed(before: &Object<Node>, after: &mut Object<Node>, reset: bool, chosen: &[Interface]) {
    for interface in Interface::ALL.iter().filter(|it| !chosen.contains(it)) {
        if reset {
            after.desired.interfaces.remove(interface);
            continue;
        }
        let had = before.desired.interface(*interface);
        let usual = hardware_type(&after.desired.driver).and_then(|it| it.default_of(*interface));
        if usual != Some(had) {
            after.desired.interfaces.insert(*interface, had.to_owned());
        }
    }
}

/// The interface that a field of that name chooses.
pub(super) fn interface_of(name: &str) -> Option<Interface> {
    let name = name.strip_suffix("_interface")?;
    Interface::ALL.iter().copied().find(|it| it.as_str() == name)
}

/// The chassis must be there.
///
/// # Errors
/// `BadRequest`: it is not.
pub(super) async fn chassis(store: &store::Store, id: &Id<Chassis>) -> Result<(), Failure> {
    match store.get(id).await?.filter(|it| !it.is_deleting()) {
        Some(_) => Ok(()),
        None => Err(Failure::BadRequest(format!("Chassis {id} could not be found."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baremetal::node_fields;

    fn node(driver: &str) -> Object<Node> {
        let desired = serde_json::from_value(json!({"driver": driver, "driver_info": {"redfish_password": "hunter2"}})).unwrap();
        Object::new(Id::random(), None, "m1", desired)
    }

    fn set(node: &mut Object<Node>, name: &str, value: Value) -> Result<(), Wrong> {
        (find(name).unwrap().set)(node, value)
    }

    #[test]
    fn what_can_be_set_is_shown() {
        for write in WRITES {
            assert!(node_fields::any(write.name).is_some(), "{}", write.name);
        }
        let patchable = not_patchable("/x").message();
        assert!(patchable.contains("Cannot patch /x.") && patchable.contains("parent_node, firmware_interface"), "{patchable}");
        assert!(!patchable.contains("console_enabled"));
    }

    #[test]
    fn a_masked_secret_sent_back_stays() {
        let mut node = node("redfish");
        set(&mut node, "driver_info", json!({"redfish_password": "******", "redfish_address": "http://x"})).unwrap();
        assert_eq!(node.desired.driver_info.text("redfish_password"), Some("hunter2"));
    }

    #[test]
    fn bad_values_are_refused() {
        let mut node = node("redfish");
        for (name, value) in [
            ("name", json!("a b")),
            ("name", json!("detail")),
            ("name", json!(Id::<Node>::random())),
            ("driver", json!("ilo")),
            ("driver", Value::Null),
            ("properties", json!([1])),
            ("instance_uuid", json!("x")),
            ("maintenance", json!("perhaps")),
            ("resource_class", json!("x".repeat(81))),
            ("conductor_group", json!("a b")),
            ("network_data", json!({"links": []})),
            ("network_data", json!({"links": [{"id": "a"}], "networks": [], "services": []})),
            ("instance_name", json!("")),
            ("boot_interface", json!(7)),
        ] {
            assert!(set(&mut node, name, value.clone()).is_err(), "{name} {value}");
        }
        set(&mut node, "maintenance", json!("yes")).unwrap();
        set(&mut node, "network_data", json!({"links": [], "networks": [], "services": []})).unwrap();
    }

    #[test]
    fn interfaces_are_of_the_type() {
        let mut node = node("ipmi");
        set(&mut node, "boot_interface", json!("redfish-virtual-media")).unwrap();
        assert!(interfaces(&node).unwrap_err().message().contains("not supported by hardware type ipmi"));
        set(&mut node, "boot_interface", json!("floppy")).unwrap();
        assert!(interfaces(&node).unwrap_err().message().contains("Could not find the following interface"));
        set(&mut node, "boot_interface", json!("pxe")).unwrap();
        interfaces(&node).unwrap();
    }

    #[test]
    fn a_new_driver_keeps_the_interfaces_unless_they_are_reset() {
        let before = node("redfish");
        let mut after = before.clone();
        after.desired.driver = "fake-hardware".into();
        driver_changed(&before, &mut after, false, &[]);
        assert!(interfaces(&after).is_err(), "redfish's power is not fake's");
        driver_changed(&before, &mut after, true, &[]);
        interfaces(&after).unwrap();
        assert!(after.desired.interfaces.is_empty());
    }
}
