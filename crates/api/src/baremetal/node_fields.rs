//! The fields of a node as they are shown, and since when. How they are set is in `node_write`.

use model::baremetal::{Interface, Node, PlannedStep, ProvisionState, StepState, shown_state};
use model::secret::Settings;
use model::{Id, Object, Timestamp};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

pub(super) use super::access::valid_uuid;
use super::conductor::Alive;
use super::versions::{CONDUCTOR, Minor};

/// A node as one caller may see it.
pub(super) struct Shown<'a> {
    pub node: &'a Object<Node>,
    /// Whether a rule lets the caller, of this node.
    pub may: &'a dyn Fn(&str) -> bool,
    pub minor: Minor,
    pub conductors: &'a Alive,
}

type Show = fn(&Shown<'_>) -> Value;

/// A field.
pub(super) struct Field {
    pub name: &'static str,
    /// The minor version that brought it.
    pub since: Minor,
    pub show: Show,
    /// Shown in lists that ask for no fields.
    pub brief: bool,
    /// Lists can be sorted by it.
    pub sorts: bool,
}

const fn field(name: &'static str, since: u16, show: Show) -> Field {
    Field { name, since: Minor(since), show, brief: false, sorts: true }
}

/// A field that lists cannot be sorted by.
const fn blob(name: &'static str, since: u16, show: Show) -> Field {
    Field { name, since: Minor(since), show, brief: false, sorts: false }
}

impl Field {
    const fn brief(mut self) -> Self {
        self.brief = true;
        self
    }
}

macro_rules! interface {
    ($name:literal, $interface:ident) => {
        field($name, since(Interface::$interface), |it| json!(it.node.desired.interface(Interface::$interface)))
    };
}

/// [`Interface::since`] where the compiler needs it.
const fn since(interface: Interface) -> u16 {
    match interface {
        Interface::Network => 20,
        Interface::Storage => 33,
        Interface::Rescue => 38,
        Interface::Bios => 40,
        Interface::Firmware => 86,
        _ => 31,
    }
}

/// All of them (Source: Ironic API reference, "Nodes", and the microversion history).
pub(super) static FIELDS: &[Field] = &[
    field("uuid", 1, |it| json!(it.node.id)).brief(),
    field("created_at", 1, |it| time(Some(it.node.created_at))),
    field("updated_at", 1, |it| time(it.node.updated_at)),
    field("automated_clean", 47, |it| json!(it.node.desired.automated_clean)),
    interface!("bios_interface", Bios),
    interface!("boot_interface", Boot),
    field("boot_mode", 75, |it| json!(it.node.observed.boot_mode)),
    blob("clean_step", 7, |it| step(it.node, &[ProvisionState::Cleaning, ProvisionState::CleanHold, ProvisionState::CleanFailed])),
    field("conductor_group", 46, |it| json!(it.node.desired.conductor_group)),
    field("console_enabled", 1, |it| json!(it.node.desired.console_enabled)),
    interface!("console_interface", Console),
    field("disable_power_off", 95, |it| json!(it.node.desired.disable_power_off)),
    interface!("deploy_interface", Deploy),
    blob("deploy_step", 44, |it| step(it.node, &[ProvisionState::Deploying, ProvisionState::DeployHold, ProvisionState::DeployFailed])),
    field("description", 51, |it| json!(it.node.desired.description)),
    field("driver", 1, |it| json!(it.node.desired.driver)),
    blob("driver_info", 1, |it| match (it.may)("baremetal:node:get:driver_info") {
        true => Value::Object(masked(&it.node.desired.driver_info)),
        false => json!({"content": "** Redacted - requires baremetal:node:get:driver_info permission. **"}),
    }),
    blob("driver_internal_info", 3, |it| match (it.may)("baremetal:node:get:driver_internal_info") {
        true => internal(it.node),
        false => json!({"content": "** Redacted - Requires baremetal:node:get:driver_internal_info permission. **"}),
    }),
    blob("extra", 1, |it| Value::Object(it.node.desired.extra.clone())),
    field("fault", 42, |it| json!(it.node.observed.fault.map(|fault| fault.as_str()))),
    interface!("firmware_interface", Firmware),
    field("health", 109, |it| json!(it.node.observed.health)),
    field("inspection_finished_at", 6, |it| time(it.node.observed.inspection_finished_at)),
    field("inspection_started_at", 6, |it| time(it.node.observed.inspection_started_at)),
    interface!("inspect_interface", Inspect),
    blob("instance_info", 1, |it| Value::Object(masked(&it.node.desired.instance_info))),
    field("instance_name", 104, |it| json!(it.node.desired.instance_name)),
    field("instance_uuid", 1, |it| json!(it.node.desired.instance_uuid)).brief(),
    field("last_error", 1, |it| last_error(it.node, it.may)),
    field("lessee", 65, |it| json!(it.node.desired.lessee)),
    field("maintenance", 1, |it| json!(it.node.desired.maintenance)).brief(),
    field("maintenance_reason", 1, |it| json!(it.node.desired.maintenance_reason)),
    interface!("management_interface", Management),
    field("name", 5, |it| name(it.node)).brief(),
    blob("network_data", 66, |it| Value::Object(it.node.desired.network_data.clone())),
    interface!("network_interface", Network),
    field("owner", 50, |it| json!(it.node.desired.owner)),
    field("parent_node", 83, |it| json!(it.node.desired.parent_node)),
    interface!("power_interface", Power),
    field("power_state", 1, |it| json!(it.node.observed.power.map(|power| power.as_str()))).brief(),
    blob("properties", 1, |it| Value::Object(it.node.desired.properties.clone())),
    field("protected", 48, |it| json!(it.node.desired.protected.on)),
    field("protected_reason", 48, |it| json!(it.node.desired.protected.reason)),
    field("provision_state", 1, |it| json!(provision_state(it.node, it.minor))).brief(),
    field("provision_updated_at", 1, |it| time(it.node.observed.state_since)),
    blob("raid_config", 12, |it| Value::Object(it.node.observed.raid_config.clone())),
    interface!("raid_interface", Raid),
    interface!("rescue_interface", Rescue),
    field("reservation", 1, reservation),
    field("resource_class", 21, |it| json!(it.node.desired.resource_class)),
    field("retired", 61, |it| json!(it.node.desired.retired.on)),
    field("retired_reason", 61, |it| json!(it.node.desired.retired.reason)),
    field("secure_boot", 75, |it| json!(it.node.observed.secure_boot)),
    blob("service_step", 87, |it| step(it.node, &[ProvisionState::Servicing, ProvisionState::ServiceHold, ProvisionState::ServiceFailed])),
    field("shard", 82, |it| json!(it.node.desired.shard)),
    interface!("storage_interface", Storage),
    field("target_power_state", 1, |it| json!(target_power(it.node))),
    field("target_provision_state", 1, |it| json!(shown_state(it.node).1)),
    blob("target_raid_config", 12, |it| Value::Object(it.node.desired.target_raid_config.clone())),
    blob("traits", 37, |it| json!(it.node.desired.traits)),
    interface!("vendor_interface", Vendor),
    field("conductor", 49, |it| json!(it.conductors.of_node(it.node))),
    field("allocation_uuid", 52, |it| json!(it.node.desired.allocation_id)),
    field("chassis_uuid", 1, |it| json!(it.node.desired.chassis_id)),
];

/// What is shown beside the fields: links to what belongs to the node.
const BESIDE: &[(&str, u16)] = &[("ports", 1), ("states", 14), ("portgroups", 24), ("volume", 32)];

/// The field of that name, whatever the version.
pub(super) fn any(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// The minor that brought what an answer can have, fields and links; `None`: there is no such thing.
pub(super) fn since_of(name: &str) -> Option<Minor> {
    match name {
        "links" => Some(Minor(1)),
        _ => any(name).map(|it| it.since).or_else(|| BESIDE.iter().find(|it| it.0 == name).map(|it| Minor(it.1))),
    }
}

fn name(node: &Object<Node>) -> Value {
    if node.name.is_empty() { Value::Null } else { json!(node.name) }
}

/// Where the node stands, by the names the version has.
pub(super) fn provision_state(node: &Object<Node>, minor: Minor) -> Option<&'static str> {
    match shown_state(node).0 {
        // 1.1 called it by no name.
        "available" if minor < Minor(2) => None,
        "inspect wait" if minor < Minor(39) => Some("inspecting"),
        state => Some(state),
    }
}

/// The last error, or that it is not for the caller's eyes: it may tell of the operator's network.
pub(super) fn last_error(node: &Object<Node>, may: &dyn Fn(&str) -> bool) -> Value {
    match &node.observed.last_error {
        Some(_) if !may("baremetal:node:get:last_error") => {
            json!("** Value Redacted - Requires baremetal:node:get:last_error permission. **")
        }
        error => json!(error),
    }
}

/// Who works on the node: while an agent is awaited nobody does.
fn reservation(it: &Shown<'_>) -> Value {
    let node = it.node;
    let seen = &node.observed;
    let asked = node.desired.request.as_ref().is_some_and(|it| it.seq > seen.handled) || target_power(node).is_some();
    if !asked && (!seen.state.is_working() || seen.is_waiting()) {
        return Value::Null;
    }
    match (it.may)("baremetal:node:get:reservation") {
        true => json!(it.conductors.of_node(node).unwrap_or(CONDUCTOR)),
        false => json!("** Redacted - requires baremetal:node:get:reservation permission. **"),
    }
}

/// Settings without what is secret in them, however deep, and without a config drive, which may hold anything.
fn masked(settings: &Settings) -> Map<String, Value> {
    fn mask(key: &str, value: &Value) -> Value {
        match value {
            Value::Null => Value::Null,
            _ if Settings::is_secret(key) || key == "configdrive" => json!("******"),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), mask(key, value))).collect(),
            Value::Array(list) => list.iter().map(|value| mask("", value)).collect(),
            other => other.clone(),
        }
    }
    settings.0.iter().map(|(key, value)| (key.clone(), mask(key, value))).collect()
}

pub(super) fn time(at: Option<Timestamp>) -> Value {
    json!(at.map(Timestamp::iso_offset))
}

/// The power a change that is not yet taken up aims at.
pub(super) fn target_power(node: &Object<Node>) -> Option<&'static str> {
    let request = node.desired.power_request.as_ref().filter(|it| it.seq > node.observed.handled_power)?;
    Some(request.verb.target().as_str())
}

/// The step that is being done, or that failed, if the node is in one of the states.
fn step(node: &Object<Node>, states: &[ProvisionState]) -> Value {
    let current = node.observed.job.current().map(|it| it.1).filter(|_| states.contains(&node.observed.state));
    match current {
        Some(PlannedStep { step, abortable, progress: StepState::Begun { .. }, .. }) => {
            let mut shown = json!({
                "interface": step.interface, "step": step.step, "args": step.args, "priority": step.priority, "abortable": abortable,
            });
            if let (Some(children), Value::Object(shown)) = (&step.children, &mut shown) {
                shown.insert("execute_on_child_nodes".into(), json!(true));
                shown.insert("limit_child_node_execution".into(), json!(children.only));
            }
            shown
        }
        _ => json!({}),
    }
}

/// What the engine knows of the node beyond Ironic's fields.
fn internal(node: &Object<Node>) -> Value {
    let seen = &node.observed;
    let steps: Vec<Value> = seen
        .job
        .steps
        .iter()
        .map(|it| json!({"interface": it.step.interface, "step": it.step.step, "done": it.is_done(), "in_band": it.in_band}))
        .collect();
    json!({
        "phase": seen.phase.as_str(),
        "phase_since": seen.phase_since.iso_offset(),
        "reason": seen.reason,
        "steps": steps,
        "image_verified": seen.image_verified,
        "erased_at": time(seen.erased_at),
        "isolated_at": time(seen.isolated_at),
        "attested_at": time(seen.attested_at),
    })
}

/// The node as shown: the fields asked for, or the usual ones, with links.
pub(super) fn show(shown: &Shown<'_>, wanted: &Wanted, base: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    // Keys are texts and nothing of it is an outside writer: writing cannot fail.
    let written = written(&mut serde_json::Serializer::new(&mut out), shown, wanted, base);
    debug_assert!(written.is_ok());
    out
}

/// Writes the members one by one: a tree of them all would be most of what showing a node costs.
fn written<S: Serializer>(to: S, shown: &Shown<'_>, wanted: &Wanted, base: &str) -> Result<S::Ok, S::Error> {
    let mut out = to.serialize_map(None)?;
    for field in FIELDS.iter().filter(|field| field.since <= shown.minor && wanted.includes(field.name, field.brief)) {
        out.serialize_entry(field.name, &(field.show)(shown))?;
    }
    let id = &shown.node.id;
    // Whichever fields are asked for, links are always given.
    out.serialize_entry("links", &Link::two(base, &format!("nodes/{id}")))?;
    for (name, since) in BESIDE {
        if shown.minor >= Minor(*since) && wanted.includes(name, false) {
            out.serialize_entry(name, &Link::two(base, &format!("nodes/{id}/{name}")))?;
        }
    }
    out.end()
}

/// A node in a list that asks for no fields, as [`show`] shows it, but without a tree of values: such lists are long and asked often.
pub(super) fn brief(node: &Object<Node>, minor: Minor, base: &str) -> Vec<u8> {
    // Its members are texts and booleans: writing them cannot fail.
    serde_json::to_vec(&Brief::of(node, minor, base)).unwrap_or_default()
}

#[derive(Serialize)]
struct Brief<'a> {
    instance_uuid: Option<&'a str>,
    links: [Link; 2],
    maintenance: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Option<&'a str>>,
    power_state: Option<&'static str>,
    provision_state: Option<&'static str>,
    uuid: &'a str,
}

/// One of the two links of a resource.
#[derive(Serialize)]
struct Link {
    href: String,
    rel: &'static str,
}

impl Link {
    fn two(base: &str, path: &str) -> [Self; 2] {
        [Self { href: format!("{base}/v1/{path}"), rel: "self" }, Self { href: format!("{base}/{path}"), rel: "bookmark" }]
    }
}

impl<'a> Brief<'a> {
    fn of(node: &'a Object<Node>, minor: Minor, base: &str) -> Self {
        let uuid = node.id.as_str();
        Self {
            instance_uuid: node.desired.instance_uuid.as_deref(),
            links: Link::two(base, &format!("nodes/{uuid}")),
            maintenance: node.desired.maintenance,
            name: (minor >= Minor(5)).then(|| Some(node.name.as_str()).filter(|it| !it.is_empty())),
            power_state: node.observed.power.map(|power| power.as_str()),
            provision_state: provision_state(node, minor),
            uuid,
        }
    }
}

/// Which fields an answer has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    Brief,
    All,
    These(Vec<String>),
}

impl Wanted {
    pub(super) fn includes(&self, name: &str, brief: bool) -> bool {
        match self {
            Self::Brief => brief,
            Self::All => true,
            Self::These(names) => names.iter().any(|it| it == name),
        }
    }
}

/// The two links every resource has.
pub(super) fn links(base: &str, path: &str) -> Value {
    json!(Link::two(base, path))
}

/// A new object's id from the body, or a fresh one.
pub(super) fn new_id<K>(body: &mut Map<String, Value>) -> Result<Id<K>, String> {
    match body.remove("uuid") {
        None | Some(Value::Null) => Ok(Id::random()),
        Some(Value::String(text)) => {
            valid_uuid(&text).and_then(|id| Id::parse(&id)).ok_or_else(|| format!("Expected UUID for uuid: {text}"))
        }
        Some(other) => Err(format!("Expected UUID for uuid: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use model::baremetal::NodeDesired;

    use super::*;
    use crate::baremetal::versions::RANGE;

    fn show(shown: &Shown<'_>, wanted: &Wanted, base: &str) -> Value {
        serde_json::from_slice(&super::show(shown, wanted, base)).unwrap()
    }

    fn node() -> Object<Node> {
        let desired: NodeDesired = serde_json::from_value(json!({
            "driver": "redfish", "driver_info": {"redfish_password": "hunter2", "redfish_address": "http://127.0.0.1:8101",
            "nested": [{"bmc_secret": "hunter3"}]}, "instance_info": {"configdrive": "H4sI"},
        }))
        .unwrap();
        Object::new(Id::random(), None, "m1", desired)
    }

    #[test]
    fn secrets_are_masked() {
        let node = node();
        let shown = |may: bool| {
            show(&Shown { node: &node, may: &|_| may, minor: Minor(78), conductors: &Alive::default() }, &Wanted::All, "http://x/baremetal")
        };
        assert_eq!(shown(true)["driver_info"]["redfish_password"], "******");
        for secret in ["hunter2", "hunter3", "H4sI"] {
            assert!(!shown(true).to_string().contains(secret));
        }
        assert!(!shown(false).to_string().contains("8101"), "a lessee must not learn the BMC's address");
    }

    #[test]
    fn every_field_appears_with_its_version_and_stays() {
        let node = node();
        for minor in RANGE.min.1..=RANGE.max.1 {
            let shown =
                show(&Shown { node: &node, may: &|_| true, minor: Minor(minor), conductors: &Alive::default() }, &Wanted::All, "http://x");
            for field in FIELDS {
                assert_eq!(shown.get(field.name).is_some(), field.since <= Minor(minor), "{} at 1.{minor}", field.name);
            }
        }
        for interface in Interface::ALL {
            let field = any(&format!("{}_interface", interface.as_str())).unwrap();
            assert_eq!(field.since, Minor(interface.since()), "{}", field.name);
        }
    }

    #[test]
    fn lists_that_ask_for_no_fields_have_few() {
        let node = node();
        let of = |minor, wanted: &Wanted| {
            let shown =
                show(&Shown { node: &node, may: &|_| true, minor: Minor(minor), conductors: &Alive::default() }, wanted, "http://x");
            shown.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(of(4, &Wanted::Brief), ["instance_uuid", "links", "maintenance", "power_state", "provision_state", "uuid"]);
        assert_eq!(of(5, &Wanted::Brief).len(), 7);
        for minor in [1, 2, 4, 5, 115] {
            let full = show(
                &Shown { node: &node, may: &|_| true, minor: Minor(minor), conductors: &Alive::default() },
                &Wanted::Brief,
                "http://x",
            );
            assert_eq!(serde_json::to_value(Brief::of(&node, Minor(minor), "http://x")).unwrap(), full, "1.{minor}");
        }
        assert_eq!(of(90, &Wanted::These(vec!["driver".into(), "volume".into()])), ["driver", "links", "volume"]);
    }
}
