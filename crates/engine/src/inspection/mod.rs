//! What an inspection found, and what becomes of it: properties of the node, new cards, whatever the rules say.

mod rules;
pub(crate) mod wiring;

use model::baremetal::{BaremetalPort, BaremetalPortDesired, InspectionRule, Interface, Node, NodeInventory};
use model::secret::Settings;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Facts, Query};

use crate::runtime::{Cx, Fault};
use rules::Subject;
pub(crate) use rules::python;

/// A disk smaller than this is not what one installs on, in bytes.
const MIN_DISK: u64 = 4 << 30;

/// A card to be written.
pub(crate) enum PortChange {
    /// One that was not known.
    New(Box<Object<BaremetalPort>>),
    /// One that the rules changed.
    Changed(Box<Object<BaremetalPort>>),
}

impl PortChange {
    /// Adds it to a batch.
    pub(crate) fn write(self, batch: Batch<Facts>) -> Batch<Facts> {
        match self {
            Self::New(card) => batch.hold("baremetal-mac", &card.desired.address, card.id.as_str()).create(&card),
            Self::Changed(card) => batch.want(&card),
        }
    }
}

/// What is to be written with the node.
pub(crate) struct Taken {
    pub(crate) ports: Vec<PortChange>,
    /// The rules changed what is kept of the inspection.
    pub(crate) inventory_changed: bool,
}

/// Takes what was found over into the node; the inner error says why the inspection has failed.
pub(crate) async fn take(
    cx: &Cx,
    node: &mut Object<Node>,
    cards: &[Object<BaremetalPort>],
    found: &mut Object<NodeInventory>,
) -> Result<Result<Taken, String>, Fault> {
    let inventory = &found.desired.inventory;
    if !inventory.is_object() {
        return Ok(Err("the inventory is no object".into()));
    }
    if let Some(error) = found.desired.plugin_data.get("error").and_then(Value::as_str) {
        return Ok(Err(format!("the ramdisk reported: {error}")));
    }
    if node.desired.interface(Interface::Network) == "neutron" {
        let switches = cx.store.list(&Query::new()).await?;
        let wrong = wiring::faults(inventory, &found.desired.plugin_data, cards, &switches);
        if !wrong.is_empty() {
            return Ok(Err(format!("its cables are not as stored: {}", wrong.join("; "))));
        }
    }
    node.desired.properties.extend(properties(inventory, &found.desired.plugin_data));
    let mut made = Vec::new();
    for (mac, pxe_enabled) in new_cards(inventory, cards) {
        if !cx.store.list(&Query::<BaremetalPort>::new().column("address", [mac.clone()])).await?.is_empty() {
            tracing::warn!(node.id = %node.id, mac, "a card was found that is stored as another machine's");
            continue;
        }
        let desired = json!({"node_id": node.id, "address": mac, "pxe_enabled": pxe_enabled});
        let desired: BaremetalPortDesired = serde_json::from_value(desired).map_err(Fault::outside)?;
        made.push(Object::new(Id::random(), None, "", desired));
    }
    let mut rules = cx.store.list(&Query::<InspectionRule>::new()).await?;
    rules.retain(|it| it.desired.scope.as_ref().is_none_or(|scope| node.desired.traits.contains(scope)));
    rules.sort_by(|a, b| b.desired.priority.cmp(&a.desired.priority).then_with(|| a.created_at.0.cmp(&b.created_at.0)));
    let mut subject = Subject {
        node: node_value(node),
        ports: cards.iter().chain(&made).map(port_value).collect(),
        inventory: found.desired.inventory.clone(),
        plugin_data: found.desired.plugin_data.clone(),
    };
    for rule in &rules {
        if let Err(why) = rules::apply(&rule.desired, &mut subject) {
            return Ok(Err(why));
        }
    }
    let inventory_changed = subject.plugin_data != found.desired.plugin_data;
    if let Err(why) = node_from(node, &subject.node) {
        return Ok(Err(why));
    }
    found.desired.plugin_data = subject.plugin_data;
    let mut ports = Vec::new();
    for (at, value) in subject.ports.iter().enumerate() {
        let (card, is_new) = match cards.get(at) {
            Some(card) => (card, false),
            None => match made.get(at - cards.len()) {
                Some(card) => (card, true),
                None => continue,
            },
        };
        let mut card = card.clone();
        let changed = port_value(&card) != *value;
        if changed && let Err(why) = port_from(&mut card, value) {
            return Ok(Err(why));
        }
        if is_new {
            ports.push(PortChange::New(Box::new(card)));
        } else if changed {
            ports.push(PortChange::Changed(Box::new(card)));
        }
    }
    Ok(Ok(Taken { ports, inventory_changed }))
}

fn number(value: Option<&Value>) -> Option<u64> {
    value.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok())).filter(|it| *it > 0)
}

/// The properties that schedulers look at (Source: Ironic documentation, "Inspection").
pub(crate) fn properties(inventory: &Value, plugin_data: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    put("cpus", number(inventory.pointer("/cpu/count")).map(Value::from));
    let arch = inventory.pointer("/cpu/architecture").and_then(Value::as_str).filter(|it| !it.is_empty());
    put("cpu_arch", arch.map(Value::from));
    put("memory_mb", number(inventory.pointer("/memory/physical_mb")).map(Value::from));
    let disks = inventory.get("disks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sizes = disks.iter().filter_map(|disk| number(disk.get("size"))).filter(|size| *size >= MIN_DISK);
    let root = number(plugin_data.pointer("/root_disk/size")).or_else(|| sizes.min());
    // One gibibyte is left to the partition table and the config drive.
    put("local_gb", root.map(|size| Value::from((size >> 30).saturating_sub(1))));
    out
}

/// Cards of the inventory that are not stored: address, and whether the machine booted by it.
fn new_cards(inventory: &Value, known: &[Object<BaremetalPort>]) -> Vec<(String, bool)> {
    let booted = inventory.pointer("/boot/pxe_interface").and_then(Value::as_str).map(plain_mac);
    let mut out: Vec<(String, bool)> = Vec::new();
    for it in inventory.get("interfaces").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
        let Some(mac) = it.get("mac_address").and_then(Value::as_str).map(plain_mac) else { continue };
        if crate::edge::parse_mac(&mac).is_none() || known.iter().any(|card| card.desired.address == mac) {
            continue;
        }
        if !out.iter().any(|(known, _)| *known == mac) {
            let pxe = booted.as_ref().is_none_or(|booted| *booted == mac);
            out.push((mac, pxe));
        }
    }
    out
}

/// `01-52-54-00-…` as boot loaders write it, or as everybody else does.
fn plain_mac(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase().replace('-', ":");
    match text.strip_prefix("01:") {
        Some(rest) if rest.split(':').count() == 6 => rest.to_owned(),
        _ => text,
    }
}

/// A node as rules see it.
fn node_value(node: &Object<Node>) -> Value {
    let desired = &node.desired;
    let mut out = json!({
        "uuid": node.id, "name": node.name, "driver": desired.driver, "driver_info": desired.driver_info.0, "properties": desired.properties,
        "extra": desired.extra, "instance_info": desired.instance_info.0, "resource_class": desired.resource_class,
        "description": desired.description, "owner": desired.owner, "lessee": desired.lessee, "traits": desired.traits,
        "conductor_group": desired.conductor_group, "network_data": desired.network_data, "instance_uuid": desired.instance_uuid,
        "provision_state": node.observed.state.as_str(), "power_state": node.observed.power.map(|it| it.as_str()),
    });
    for it in Interface::ALL {
        out[format!("{}_interface", it.as_str())] = json!(desired.interface(*it));
    }
    out
}

fn text(value: &Value, key: &str) -> Result<Option<String>, String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("a rule made {key} {other}, which is no text")),
    }
}

fn object(value: &Value, key: &str) -> Result<Map<String, Value>, String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err(format!("a rule made {key} no object")),
    }
}

/// Takes back what rules may change of a node.
fn node_from(node: &mut Object<Node>, value: &Value) -> Result<(), String> {
    let before = node_value(node);
    const OURS: [&str; 4] = ["uuid", "instance_uuid", "provision_state", "power_state"];
    if let Some(map) = value.as_object() {
        for (key, now) in map {
            match before.get(key) {
                None => return Err(format!("nodes have no attribute {key}")),
                Some(was) if was != now && OURS.contains(&key.as_str()) => return Err(format!("{key} of a node is not a rule's to set")),
                Some(_) => {}
            }
        }
    }
    node.name = text(value, "name")?.unwrap_or_default();
    let desired = &mut node.desired;
    desired.driver_info = Settings(object(value, "driver_info")?);
    desired.instance_info = Settings(object(value, "instance_info")?);
    desired.properties = object(value, "properties")?;
    desired.extra = object(value, "extra")?;
    desired.network_data = object(value, "network_data")?;
    desired.resource_class = text(value, "resource_class")?;
    desired.description = text(value, "description")?;
    desired.owner = text(value, "owner")?;
    desired.lessee = text(value, "lessee")?;
    desired.conductor_group = text(value, "conductor_group")?.unwrap_or_default();
    desired.driver = text(value, "driver")?.unwrap_or_default();
    let traits = value.get("traits").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    desired.traits = traits.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    for it in Interface::ALL {
        let key = format!("{}_interface", it.as_str());
        if before.get(&key) != value.get(&key)
            && let Some(chosen) = text(value, &key)?
        {
            desired.interfaces.insert(*it, chosen);
        }
    }
    Ok(())
}

/// A card as rules see it.
fn port_value(card: &Object<BaremetalPort>) -> Value {
    let desired = &card.desired;
    json!({
        "uuid": card.id, "name": card.name, "address": desired.address, "pxe_enabled": desired.pxe_enabled, "extra": desired.extra,
        "local_link_connection": desired.local_link_connection, "physical_network": desired.physical_network,
        "description": desired.description, "is_smartnic": desired.is_smartnic, "category": desired.category, "vendor": desired.vendor,
    })
}

fn port_from(card: &mut Object<BaremetalPort>, value: &Value) -> Result<(), String> {
    if value.get("address").and_then(Value::as_str) != Some(card.desired.address.as_str()) {
        return Err("a rule may not change the address of a port".into());
    }
    let known = port_value(card);
    if let Some(key) = value.as_object().and_then(|map| map.keys().find(|key| known.get(key.as_str()).is_none())) {
        return Err(format!("ports have no attribute {key}"));
    }
    let link = value.get("local_link_connection").cloned().unwrap_or_default();
    let link = serde_json::from_value(link).map_err(|error| format!("a rule made a local_link_connection that is none: {error}"))?;
    card.name = text(value, "name")?.unwrap_or_default();
    let desired = &mut card.desired;
    desired.local_link_connection = link;
    desired.extra = object(value, "extra")?;
    desired.physical_network = text(value, "physical_network")?;
    desired.description = text(value, "description")?;
    desired.category = text(value, "category")?;
    desired.vendor = text(value, "vendor")?;
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).ok_or_else(|| format!("a rule made {key} neither true nor false"));
    desired.pxe_enabled = flag("pxe_enabled")?;
    desired.is_smartnic = flag("is_smartnic")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_schedulers_want_to_know() {
        let inventory = json!({"cpu": {"count": 8, "architecture": "x86_64"}, "memory": {"physical_mb": 16384},
            "disks": [{"size": 1_u64 << 30}, {"size": 100_u64 << 30}, {"size": 20_u64 << 30}]});
        let found = Value::Object(properties(&inventory, &json!({})));
        assert_eq!(found, json!({"cpus": 8, "cpu_arch": "x86_64", "memory_mb": 16384, "local_gb": 19}));
        let root = json!({"root_disk": {"size": 100_u64 << 30}});
        assert_eq!(properties(&inventory, &root)["local_gb"], 99);
        assert!(properties(&json!({"cpu": {"count": 0}}), &json!({})).is_empty());
    }

    #[test]
    fn cards_that_are_not_known() {
        let interfaces = json!([{"mac_address": "52:54:00:00:00:01"}, {"mac_address": "52:54:00:00:00:0A"}, {"mac_address": "x"}, {}]);
        let inventory = json!({"interfaces": interfaces, "boot": {"pxe_interface": "01-52-54-00-00-00-0a"}});
        let found = new_cards(&inventory, &[]);
        assert_eq!(found, [("52:54:00:00:00:01".to_owned(), false), ("52:54:00:00:00:0a".to_owned(), true)]);
    }

    #[test]
    fn rules_change_what_is_theirs_only() {
        let mut node: Object<Node> = Object::new(Id::random(), None, "n", model::baremetal::NodeDesired::default());
        node.desired.driver = "fake-hardware".into();
        let mut value = node_value(&node);
        value["extra"]["rack"] = json!("r1");
        value["traits"] = json!(["CUSTOM_A"]);
        value["boot_interface"] = json!("ipxe");
        node_from(&mut node, &value).unwrap();
        assert_eq!((node.desired.extra["rack"].as_str(), node.desired.traits.len()), (Some("r1"), 1));
        assert_eq!(node.desired.interfaces.len(), 1);
        for (key, wrong) in [("uuid", json!("x")), ("extra", json!(7)), ("resource_class", json!([])), ("nonsense", json!(1))] {
            let mut value = node_value(&node);
            value[key] = wrong;
            assert!(node_from(&mut node, &value).is_err(), "{key}");
        }
    }
}
