//! The fields of a node: how each is shown, since when, and how it is set.

use model::baremetal::{Node, PowerVerb, shown_state};
use model::secret::Settings;
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value, json};

use super::versions::Minor;
use crate::resource::value::boolean;

/// A node as one caller may see it.
pub(super) struct Shown<'a> {
    pub node: &'a Object<Node>,
    /// Whether a rule lets the caller, of this node.
    pub may: &'a dyn Fn(&str) -> bool,
    pub minor: Minor,
}

type Show = fn(&Shown<'_>) -> Value;
type Raw = fn(&Object<Node>) -> Value;
type Set = fn(&mut Object<Node>, Value) -> Result<(), String>;

/// A field.
pub(super) struct Field {
    pub name: &'static str,
    /// The minor version that brought it.
    pub since: Minor,
    pub show: Show,
    /// How it is set, `Null` meaning that it is taken away, and the value a patch works on.
    pub write: Option<(Raw, Set)>,
    /// Cannot be changed while something is going on with the node.
    pub steady: bool,
    /// Shown in lists that ask for no fields.
    pub brief: bool,
}

const fn field(name: &'static str, since: u16, show: Show) -> Field {
    Field { name, since: Minor(since), show, write: None, steady: false, brief: false }
}

impl Field {
    const fn write(mut self, raw: Raw, set: Set) -> Self {
        self.write = Some((raw, set));
        self
    }

    const fn steady(mut self) -> Self {
        self.steady = true;
        self
    }

    const fn brief(mut self) -> Self {
        self.brief = true;
        self
    }
}

/// All of them (Source: Ironic API reference, "Nodes", and the microversion history).
pub(super) static FIELDS: &[Field] = &[
    field("uuid", 1, |it| json!(it.node.id)).brief(),
    field("name", 5, |it| name(it.node)).brief().write(name, |node, value| {
        node.name = match optional_text(value, 255)? {
            None => String::new(),
            Some(name) => valid_name(name)?,
        };
        Ok(())
    }),
    field("instance_uuid", 1, |it| json!(it.node.desired.instance_uuid)).brief().steady().write(
        |node| json!(node.desired.instance_uuid),
        |node, value| {
            node.desired.instance_uuid = match optional_text(value, 36)? {
                None => None,
                Some(id) => Some(valid_uuid(&id).ok_or_else(|| format!("'{id}' is not a UUID"))?),
            };
            Ok(())
        },
    ),
    field("power_state", 1, |it| json!(it.node.observed.power.map(|power| power.as_str()))).brief(),
    field("target_power_state", 1, |it| json!(target_power(it.node))),
    field("provision_state", 1, |it| match shown_state(it.node).0 {
        // 1.1 called it by no name.
        "available" if it.minor < Minor(2) => Value::Null,
        state => json!(state),
    })
    .brief(),
    field("target_provision_state", 1, |it| json!(shown_state(it.node).1)),
    field("maintenance", 1, |it| json!(it.node.desired.maintenance)).brief().write(
        |node| json!(node.desired.maintenance),
        |node, value| {
            node.desired.maintenance = match value {
                Value::Null => false,
                other => boolean(&other)?,
            };
            Ok(())
        },
    ),
    field("maintenance_reason", 1, |it| json!(it.node.desired.maintenance_reason)),
    field("driver", 1, |it| json!(it.node.desired.driver)).steady().write(
        |node| json!(node.desired.driver),
        |node, value| {
            node.desired.driver = match value.as_str() {
                Some(name) if super::driver::NAMES.contains(&name) => name.to_owned(),
                Some(name) => return Err(format!("no conductor knows the driver '{name}'; there is: {}", super::driver::NAMES.join(", "))),
                None => return Err("is mandatory".into()),
            };
            Ok(())
        },
    ),
    field("driver_info", 1, |it| match (it.may)("baremetal:node:get:driver_info") {
        true => Value::Object(it.node.desired.driver_info.masked()),
        false => json!({"content": redacted("baremetal:node:get:driver_info")}),
    })
    .write(
        |node| Value::Object(node.desired.driver_info.0.clone()),
        |node, value| {
            node.desired.driver_info = settings(value, &node.desired.driver_info)?;
            Ok(())
        },
    ),
    field("driver_internal_info", 3, |it| match (it.may)("baremetal:node:get:driver_internal_info") {
        true => internal(it.node),
        false => json!({"content": redacted("baremetal:node:get:driver_internal_info")}),
    }),
    field("properties", 1, |it| Value::Object(it.node.desired.properties.clone())).write(
        |node| Value::Object(node.desired.properties.clone()),
        |node, value| {
            node.desired.properties = map(value)?;
            Ok(())
        },
    ),
    field("extra", 1, |it| Value::Object(it.node.desired.extra.clone())).write(
        |node| Value::Object(node.desired.extra.clone()),
        |node, value| {
            node.desired.extra = map(value)?;
            Ok(())
        },
    ),
    field("instance_info", 1, |it| Value::Object(it.node.desired.instance_info.masked())).steady().write(
        |node| Value::Object(node.desired.instance_info.0.clone()),
        |node, value| {
            node.desired.instance_info = settings(value, &node.desired.instance_info)?;
            Ok(())
        },
    ),
    field("resource_class", 21, |it| json!(it.node.desired.resource_class)).steady().write(
        |node| json!(node.desired.resource_class),
        |node, value| {
            node.desired.resource_class = optional_text(value, 80)?;
            Ok(())
        },
    ),
    field("owner", 50, |it| json!(it.node.desired.owner)).steady().write(
        |node| json!(node.desired.owner),
        |node, value| {
            node.desired.owner = optional_text(value, 255)?;
            Ok(())
        },
    ),
    field("lessee", 65, |it| json!(it.node.desired.lessee)).steady().write(
        |node| json!(node.desired.lessee),
        |node, value| {
            node.desired.lessee = optional_text(value, 255)?;
            Ok(())
        },
    ),
    field("description", 51, |it| json!(it.node.desired.description)).write(
        |node| json!(node.desired.description),
        |node, value| {
            node.desired.description = optional_text(value, 4096)?;
            Ok(())
        },
    ),
    field("last_error", 1, |it| last_error(it.node, it.may)),
    // Leases of the engine are short and never the client's business.
    field("reservation", 1, |_| Value::Null),
    field("provision_updated_at", 1, |it| time(it.node.observed.state_since)),
    field("created_at", 1, |it| time(Some(it.node.created_at))),
    field("updated_at", 1, |it| time(it.node.updated_at)),
];

/// The field of that name, if the version knows it.
pub(super) fn find(name: &str, minor: Minor) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name && field.since <= minor)
}

fn name(node: &Object<Node>) -> Value {
    if node.name.is_empty() { Value::Null } else { json!(node.name) }
}

fn redacted(rule: &str) -> String {
    format!("** Redacted - requires {rule} permission. **")
}

/// The last error, or that it is not for the caller's eyes: it may tell of the operator's network.
pub(super) fn last_error(node: &Object<Node>, may: &dyn Fn(&str) -> bool) -> Value {
    match &node.observed.last_error {
        Some(_) if !may("baremetal:node:get:last_error") => json!(redacted("baremetal:node:get:last_error")),
        error => json!(error),
    }
}

pub(super) fn time(at: Option<Timestamp>) -> Value {
    json!(at.map(Timestamp::iso_offset))
}

/// The power a change that is not yet taken up aims at.
pub(super) fn target_power(node: &Object<Node>) -> Option<&'static str> {
    let request = node.desired.power_request.as_ref().filter(|it| it.seq > node.observed.handled_power)?;
    Some(request.verb.as_str())
}

/// What the engine knows of the node beyond Ironic's fields.
fn internal(node: &Object<Node>) -> Value {
    let seen = &node.observed;
    json!({
        "phase": seen.phase.as_str(),
        "phase_since": seen.phase_since.iso_offset(),
        "reason": seen.reason,
        "image_verified": seen.image_verified,
        "erased_at": time(seen.erased_at),
        "isolated_at": time(seen.isolated_at),
    })
}

fn valid_name(name: String) -> Result<String, String> {
    // Words that are paths below /v1/nodes; a name that is a UUID would hide another node.
    const TAKEN: &[&str] = &["detail", "maintenance", "management", "states", "validate", "vendor_passthru", "ports", "vifs", "history"];
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if !fits || TAKEN.contains(&name.as_str()) || valid_uuid(&name).is_some() {
        return Err(format!("'{name}' is not a name for a node: letters, digits, '-', '.', '_' and '~'"));
    }
    Ok(name)
}

/// The UUID in its hyphenated lower-case form, if it is one.
pub(super) fn valid_uuid(text: &str) -> Option<String> {
    uuid::Uuid::parse_str(text).ok().map(|id| id.hyphenated().to_string())
}

pub(super) fn optional_text(value: Value, longest: usize) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() > longest => Err(format!("is at most {longest} characters")),
        Value::String(text) => Ok(Some(text)),
        _ => Err("is a string".into()),
    }
}

pub(super) fn map(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map),
        _ => Err("is an object".into()),
    }
}

/// A map of settings. A secret sent back as it was shown (`******`) stays what it was.
fn settings(value: Value, before: &Settings) -> Result<Settings, String> {
    let mut map = map(value)?;
    for (key, value) in &mut map {
        if Settings::is_secret(key)
            && value == "******"
            && let Some(old) = before.0.get(key)
        {
            *value = old.clone();
        }
    }
    Ok(Settings(map))
}

/// The node as shown: the fields asked for, or the usual ones, with links.
pub(super) fn show(shown: &Shown<'_>, wanted: &Wanted, base: &str) -> Value {
    let mut out = Map::new();
    let fields = FIELDS.iter().filter(|field| field.since <= shown.minor && wanted.includes(field.name, field.brief));
    for field in fields {
        out.insert(field.name.to_owned(), (field.show)(shown));
    }
    let id = &shown.node.id;
    if wanted.includes("links", true) {
        out.insert("links".into(), links(base, &format!("nodes/{id}")));
    }
    for (name, since) in [("ports", 1), ("states", 14)] {
        if shown.minor >= Minor(since) && wanted.includes(name, false) {
            out.insert(name.into(), links(base, &format!("nodes/{id}/{name}")));
        }
    }
    Value::Object(out)
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
    json!([{"href": format!("{base}/v1/{path}"), "rel": "self"}, {"href": format!("{base}/{path}"), "rel": "bookmark"}])
}

/// A new node's id from the body, or a fresh one.
pub(super) fn new_id<K>(body: &mut Map<String, Value>) -> Result<Id<K>, String> {
    match body.remove("uuid") {
        None | Some(Value::Null) => Ok(Id::random()),
        Some(Value::String(text)) => valid_uuid(&text).and_then(|id| Id::parse(&id)).ok_or_else(|| format!("uuid: '{text}' is not a UUID")),
        Some(_) => Err("uuid: is a string".into()),
    }
}

#[cfg(test)]
mod tests {
    use model::baremetal::NodeDesired;

    use super::*;

    fn node() -> Object<Node> {
        let desired: NodeDesired = serde_json::from_value(json!({
            "driver": "redfish", "driver_info": {"redfish_password": "hunter2", "redfish_address": "http://127.0.0.1:8101"},
        }))
        .unwrap();
        Object::new(Id::random(), None, "m1", desired)
    }

    fn set(node: &mut Object<Node>, name: &str, value: Value) -> Result<(), String> {
        (find(name, Minor(78)).unwrap().write.unwrap().1)(node, value)
    }

    #[test]
    fn secrets_are_masked_and_survive_being_sent_back() {
        let mut node = node();
        let view = |node: &Object<Node>| {
            show(&Shown { node, may: &|_| true, minor: Minor(78) }, &Wanted::All, "http://x/baremetal")["driver_info"].clone()
        };
        let shown = view(&node);
        assert_eq!(shown["redfish_password"], "******");
        set(&mut node, "driver_info", shown).unwrap();
        assert_eq!(node.desired.driver_info.text("redfish_password"), Some("hunter2"));
        let other = show(&Shown { node: &node, may: &|_| false, minor: Minor(78) }, &Wanted::All, "http://x/baremetal");
        assert!(!other.to_string().contains("8101"), "a lessee must not learn the BMC's address");
    }

    #[test]
    fn fields_appear_with_their_version() {
        let node = node();
        let at = |minor| show(&Shown { node: &node, may: &|_| true, minor: Minor(minor) }, &Wanted::All, "http://x");
        for (name, since) in [("name", 5), ("resource_class", 21), ("owner", 50), ("description", 51), ("lessee", 65)] {
            assert!(at(since - 1).get(name).is_none(), "{name}");
            assert!(at(since).get(name).is_some(), "{name}");
        }
        assert_eq!(at(78)["links"][0]["href"], format!("http://x/v1/nodes/{}", node.id));
    }

    #[test]
    fn bad_values_are_refused() {
        let mut node = node();
        for (name, value) in [
            ("name", json!("a b")),
            ("name", json!("detail")),
            ("name", json!(Id::<Node>::random())),
            ("driver", json!("ipmi")),
            ("driver", Value::Null),
            ("properties", json!([1])),
            ("instance_uuid", json!("x")),
            ("maintenance", json!("yes")),
            ("resource_class", json!("x".repeat(81))),
        ] {
            assert!(set(&mut node, name, value.clone()).is_err(), "{name} {value}");
        }
    }
}
