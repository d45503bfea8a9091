//! Forms: what a resource is called and what its fields are, as plain data.

use model::baremetal::Node;
use model::{Id, Kind, Object};
use policy::Target;
use serde_json::{Map, Value};

use crate::baremetal::Ask;
use crate::baremetal::access::valid_uuid;
use crate::baremetal::words::{boolean, not_of_type, repr};
use crate::failure::Failure;

/// Reads a field.
pub(in crate::baremetal) type Get<K> = fn(&Object<K>, &Ask) -> Value;
/// Writes a field whose value has the right shape; the error says what else is wrong with it, in full.
pub(in crate::baremetal) type Set<K> = fn(&mut Object<K>, Value) -> Result<(), String>;

/// What a value must look like, as a JSON schema says it.
#[derive(Clone, Copy, Debug)]
pub(in crate::baremetal) enum Shape {
    /// Its setter looks at it.
    Any,
    /// Text of at most so many characters; null too.
    Text(usize),
    /// Text of at most so many characters.
    Must(usize),
    /// An object; null is an empty one.
    Map,
    /// A boolean in the spellings that oslo takes; null is the default.
    Flag,
    /// A UUID; null too.
    Uuid,
    /// A MAC address; null too.
    Mac,
    /// A whole number of at least 0.
    Number,
}

/// Where a value goes.
pub(super) enum Put<K: Kind> {
    /// Nowhere: the field is only shown, or is taken from the body before.
    Nowhere,
    Text(fn(&mut Object<K>) -> &mut Option<String>),
    Map(fn(&mut Object<K>) -> &mut Map<String, Value>),
    Flag(fn(&mut Object<K>) -> &mut bool, bool),
    By(Set<K>),
}

/// A field.
pub(in crate::baremetal) struct Field<K: Kind> {
    pub(super) name: &'static str,
    /// The minor of the version 1.N that brought it.
    pub(super) since: u16,
    pub(super) get: Get<K>,
    /// What patches are applied to, if it is not what is shown.
    pub(super) raw: Option<Get<K>>,
    pub(super) shape: Shape,
    pub(super) put: Put<K>,
    pub(super) on_create: bool,
    pub(super) on_patch: bool,
    pub(super) required: bool,
    /// Whether lists show it that are not asked for details.
    pub(super) brief: bool,
    /// Taken from a body and never shown.
    pub(super) hidden: bool,
    /// Whether creations and patches may name it in versions that do not show it, as Ironic lets them.
    pub(super) early: (bool, bool),
    /// The store's column of it.
    pub(super) column: Option<&'static str>,
}

/// A field that is only shown.
pub(in crate::baremetal) const fn field<K: Kind>(name: &'static str, since: u16, get: Get<K>) -> Field<K> {
    Field {
        name,
        since,
        get,
        raw: None,
        shape: Shape::Any,
        put: Put::Nowhere,
        on_create: false,
        on_patch: false,
        required: false,
        brief: false,
        hidden: false,
        early: (false, false),
        column: None,
    }
}

/// What a creation may say that is no field: [`super::Resource::prepare`] takes it.
pub(in crate::baremetal) const fn input<K: Kind>(name: &'static str, since: u16, shape: Shape) -> Field<K> {
    let mut out = field::<K>(name, since, |_, _| Value::Null);
    out.hidden = true;
    out.on_create = true;
    out.shape = shape;
    out
}

impl<K: Kind> Field<K> {
    const fn settable(mut self, shape: Shape, put: Put<K>) -> Self {
        self.shape = shape;
        self.put = put;
        self.on_create = true;
        self.on_patch = true;
        self
    }

    /// Free text of at most so many characters.
    pub(in crate::baremetal) const fn text(self, max: usize, place: fn(&mut Object<K>) -> &mut Option<String>) -> Self {
        self.settable(Shape::Text(max), Put::Text(place))
    }

    /// A free object.
    pub(in crate::baremetal) const fn map(self, place: fn(&mut Object<K>) -> &mut Map<String, Value>) -> Self {
        self.settable(Shape::Map, Put::Map(place))
    }

    /// A boolean with that default.
    pub(in crate::baremetal) const fn flag(self, default: bool, place: fn(&mut Object<K>) -> &mut bool) -> Self {
        self.settable(Shape::Flag, Put::Flag(place, default))
    }

    /// Of that shape, written by that function.
    pub(in crate::baremetal) const fn set(self, shape: Shape, set: Set<K>) -> Self {
        self.settable(shape, Put::By(set))
    }

    /// Given at creation only.
    pub(in crate::baremetal) const fn once(mut self) -> Self {
        self.on_patch = false;
        self
    }

    /// Must be given.
    pub(in crate::baremetal) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Shown in all lists.
    pub(in crate::baremetal) const fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// The store can sort by it.
    pub(in crate::baremetal) const fn column(mut self, name: &'static str) -> Self {
        self.column = Some(name);
        self
    }

    /// What patches are applied to.
    pub(in crate::baremetal) const fn raw(mut self, raw: Get<K>) -> Self {
        self.raw = Some(raw);
        self
    }

    /// Patches may name it in any version.
    pub(in crate::baremetal) const fn early_patch(mut self) -> Self {
        self.early.1 = true;
        self
    }

    /// Creations and patches may name it in any version.
    pub(in crate::baremetal) const fn early(mut self) -> Self {
        self.early = (true, true);
        self
    }

    /// Writes a value that passed [`check`].
    pub(super) fn write(&self, object: &mut Object<K>, value: Value) -> Result<(), Failure> {
        match &self.put {
            Put::Nowhere => {}
            Put::Text(place) => *place(object) = value.as_str().map(str::to_owned),
            Put::Map(place) => *place(object) = if let Value::Object(map) = value { map } else { Map::new() },
            Put::Flag(place, default) => *place(object) = value.as_bool().unwrap_or(*default),
            Put::By(set) => set(object, value).map_err(Failure::BadRequest)?,
        }
        Ok(())
    }
}

/// A MAC address in lower case with colons (as netutils takes it: six pairs with colons or, all of them, with dashes).
pub(in crate::baremetal) fn mac(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    let fits = parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    fits.then(|| text.to_ascii_lowercase())
}

/// A value in the form its shape has.
///
/// # Errors
/// It is of another shape, in the words of a JSON schema, after those of `what`, see [`Form::schema_error`].
pub(in crate::baremetal) fn check(what: &str, name: &str, shape: Shape, value: Value) -> Result<Value, Failure> {
    let wrong = |types: &str, value: &Value| Failure::BadRequest(format!("{what}: {}", not_of_type(value, types)));
    let sized = |value: Value, max: usize| match value.as_str() {
        Some(text) if text.chars().count() > max => Err(Failure::BadRequest(format!("{what}: {} is too long", repr(&value)))),
        Some(text) if text.contains('\0') => Err(Failure::BadRequest(format!("{name} contains a NUL"))),
        _ => Ok(value),
    };
    let text_or_null = |value: &Value| if value.is_string() || value.is_null() { Ok(()) } else { Err(wrong("string|null", value)) };
    match shape {
        Shape::Any => Ok(value),
        Shape::Text(max) => text_or_null(&value).and_then(|()| sized(value, max)),
        Shape::Must(max) if value.is_string() => sized(value, max),
        Shape::Must(_) => Err(wrong("string", &value)),
        Shape::Map if value.is_object() || value.is_null() => Ok(value),
        Shape::Map => Err(wrong("object|null", &value)),
        Shape::Flag if value.is_null() => Ok(value),
        Shape::Flag if value.is_boolean() || value.is_string() => Ok(Value::Bool(boolean(name, &value)?)),
        Shape::Flag => Err(wrong("string|boolean|null", &value)),
        Shape::Uuid => {
            text_or_null(&value)?;
            let Some(text) = value.as_str() else { return Ok(value) };
            let id = valid_uuid(text).ok_or_else(|| Failure::BadRequest(format!("Expected UUID for {name}: {text}")))?;
            Ok(Value::String(id))
        }
        Shape::Mac => {
            text_or_null(&value)?;
            let Some(text) = value.as_str() else { return Ok(value) };
            let address = mac(text).ok_or_else(|| Failure::BadRequest(format!("Expected valid MAC address for {name}: {text}")))?;
            Ok(Value::String(address))
        }
        Shape::Number => match value.as_i64() {
            Some(number) if number >= 0 => Ok(value),
            Some(number) => Err(Failure::BadRequest(format!("{what}: {number} is less than the minimum of 0"))),
            None => Err(wrong("integer", &value)),
        },
    }
}

/// What rules are asked of.
pub(in crate::baremetal) enum Whose<K: Kind> {
    /// Of the node it belongs to.
    Node(fn(&Object<K>) -> &Id<Node>),
    /// Of what this says of it.
    Says(fn(&Object<K>) -> Target),
    /// Of nothing: it is the operator's.
    Operator,
}

/// The rules of a resource.
pub(in crate::baremetal) struct Rules {
    pub(in crate::baremetal) get: &'static str,
    /// All there are, and those of one's own; none: whoever may see one may list.
    pub(in crate::baremetal) list: Option<(&'static str, &'static str)>,
    pub(in crate::baremetal) create: &'static str,
    pub(in crate::baremetal) update: &'static str,
    pub(in crate::baremetal) delete: &'static str,
}

/// How lists show details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::baremetal) enum Detail {
    /// `…/detail`, and from 1.43 `detail=`.
    Path,
    /// `detail=`.
    Argument,
    /// They always do.
    Always,
}

/// What a resource is called and what its fields are.
pub(in crate::baremetal) struct Form<K: Kind> {
    /// What schema errors call it.
    pub(in crate::baremetal) one: &'static str,
    /// What other messages call it: `{title} X could not be found.`
    pub(in crate::baremetal) title: &'static str,
    /// With its article: `{a} with UUID X already exists.`
    pub(in crate::baremetal) a: &'static str,
    /// The name of a list.
    pub(in crate::baremetal) many: &'static str,
    /// The path below `/v1`.
    pub(in crate::baremetal) path: &'static str,
    /// The path in links, if it is another.
    pub(in crate::baremetal) link: Option<&'static str>,
    /// The version that brought it, and what older ones are told.
    pub(in crate::baremetal) since: (u16, &'static str),
    /// Whether writes in older versions are answered with 405.
    pub(in crate::baremetal) writes_405: bool,
    /// The version that brought patches, if that is a later one, and what older ones are told.
    pub(in crate::baremetal) patch_since: Option<(u16, &'static str)>,
    /// Whether it can be named instead of given by its UUID.
    pub(in crate::baremetal) named: bool,
    pub(in crate::baremetal) detail: Detail,
    pub(in crate::baremetal) rules: Rules,
    pub(in crate::baremetal) whose: Whose<K>,
    pub(in crate::baremetal) fields: &'static [Field<K>],
    /// What a patch may change, in the order in which it is told; empty: whatever can be written.
    pub(in crate::baremetal) patchable: &'static [&'static str],
    /// What lists cannot be sorted by.
    pub(in crate::baremetal) unsortable: &'static [&'static str],
    /// What lists can be filtered by, and since when.
    pub(in crate::baremetal) filters: &'static [(&'static str, u16)],
}

impl<K: Kind> Form<K> {
    /// How complaints about the form of a body begin.
    pub(super) fn schema_error(&self) -> &'static str {
        match self.path {
            "allocations" | "inspection_rules" => "Schema error",
            "chassis" => "Schema error for chassis",
            "deploy_templates" => "Schema error for template",
            "portgroups" => "Schema error for portgroup",
            "ports" => "Schema error for port",
            "runbooks" => "Schema error for runbook",
            "volume/connectors" => "Schema error for connector",
            "volume/targets" => "Schema error for target",
            _ => "Schema error",
        }
    }

    /// The field of that name.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field<K>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// There is none of that name.
    pub(in crate::baremetal) fn missing(&self, ident: &str) -> Failure {
        Failure::not_found(self.title, ident)
    }

    /// The path below `/v1` of one, in links.
    pub(super) fn link_of(&self, object: &Object<K>) -> String {
        format!("{}/{}", self.link.unwrap_or(self.path), object.id)
    }
}
