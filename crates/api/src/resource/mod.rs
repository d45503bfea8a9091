//! Resources as tables of plain data: a table says once what a field is called, who may see and set it, and how it is read from and
//! written to the object; reading bodies, showing, filtering, sorting and paging follow from it.

mod list;

use model::{Kind, Object};
use policy::Target;
use serde_json::{Map, Value};

pub(crate) use list::{Listing, Parameters};

use crate::App;
use crate::caller::Caller;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;

/// Writes a field's value into the object; the error says what is wrong with it.
pub(crate) type Set<K> = fn(&mut Object<K>, &Value) -> Result<(), String>;

/// Whom the rules of fields are asked about, and how an object is put to them.
pub(crate) struct View<'a, K: Kind> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    /// What rules see of an object.
    pub(crate) target: &'a (dyn Fn(&Object<K>) -> Target + Send + Sync),
}

impl<K: Kind> Clone for View<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kind> Copy for View<'_, K> {}

impl<K: Kind> View<'_, K> {
    fn allows(&self, rule: Option<&str>, target: &Target) -> bool {
        rule.is_none_or(|rule| allows(self.app, self.caller, rule, target))
    }
}

/// What a body is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Change,
}

/// A field of a resource.
pub(crate) struct Field<K: Kind> {
    pub(crate) name: &'static str,
    get: fn(&Object<K>) -> Value,
    on_create: Option<Set<K>>,
    on_update: Option<Set<K>>,
    /// The rules that are asked beside the object's own; none: whoever may see or change the object.
    read_rule: Option<&'static str>,
    create_rule: Option<&'static str>,
    update_rule: Option<&'static str>,
    free_default: bool,
    required: bool,
    column: Option<&'static str>,
}

/// A field that is only shown.
pub(crate) const fn field<K: Kind>(name: &'static str, get: fn(&Object<K>) -> Value) -> Field<K> {
    Field {
        name,
        get,
        on_create: None,
        on_update: None,
        read_rule: None,
        create_rule: None,
        update_rule: None,
        free_default: false,
        required: false,
        column: None,
    }
}

impl<K: Kind> Field<K> {
    /// May be given at creation and changed later.
    pub(crate) const fn set(mut self, set: Set<K>) -> Self {
        self.on_create = Some(set);
        self.on_update = Some(set);
        self
    }

    /// May be given at creation only.
    pub(crate) const fn set_once(mut self, set: Set<K>) -> Self {
        self.on_create = Some(set);
        self
    }

    /// Must be given at creation.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Shown to those whom the rule allows.
    pub(crate) const fn read_by(mut self, rule: &'static str) -> Self {
        self.read_rule = Some(rule);
        self
    }

    /// Given at creation by those whom the rule allows.
    pub(crate) const fn create_by(mut self, rule: &'static str) -> Self {
        self.create_rule = Some(rule);
        self
    }

    /// Changed by those whom the rule allows.
    pub(crate) const fn update_by(mut self, rule: &'static str) -> Self {
        self.update_rule = Some(rule);
        self
    }

    /// Giving the default at creation is as good as giving nothing: no rule is asked.
    pub(crate) const fn free_default(mut self) -> Self {
        self.free_default = true;
        self
    }

    /// The store can filter by it: the name of its column there.
    pub(crate) const fn column(mut self, name: &'static str) -> Self {
        self.column = Some(name);
        self
    }
}

/// A resource.
pub(crate) struct Resource<K: Kind> {
    /// The root of a list.
    pub(crate) plural: &'static str,
    pub(crate) fields: &'static [Field<K>],
}

impl<K: Kind> Resource<K> {
    fn find(&self, name: &str) -> Option<&Field<K>> {
        self.fields.iter().find(|it| it.name == name)
    }

    /// Writes the fields of a new object's body into it.
    pub(crate) fn fill(&self, object: &mut Object<K>, body: &Map<String, Value>, view: View<'_, K>) -> Result<(), Failure> {
        if let Some(missing) = self.fields.iter().find(|field| field.required && !body.contains_key(field.name)) {
            return Err(Failure::BadRequest(format!("Failed to parse request. Required attribute '{}' not specified", missing.name)));
        }
        self.write(object, body, view, Verb::Create)
    }

    /// Writes the changes a body asks for into the object.
    pub(crate) fn change(&self, object: &mut Object<K>, body: &Map<String, Value>, view: View<'_, K>) -> Result<(), Failure> {
        self.write(object, body, view, Verb::Change)
    }

    fn write(&self, object: &mut Object<K>, body: &Map<String, Value>, view: View<'_, K>, verb: Verb) -> Result<(), Failure> {
        let unknown: Vec<String> = body.keys().filter(|name| self.find(name).is_none()).map(|name| format!("'{name}'")).collect();
        if !unknown.is_empty() {
            return Err(Failure::BadRequest(format!("Unrecognized attribute(s) {}", unknown.join(", "))));
        }
        let mut rules = Vec::new();
        // In the table's order, so that a field may build on one before it.
        for field in self.fields {
            let Some(value) = body.get(field.name) else { continue };
            let (set, rule, method) = match verb {
                Verb::Create => (field.on_create, field.create_rule, "POST"),
                Verb::Change => (field.on_update, field.update_rule, "PUT"),
            };
            let Some(set) = set else {
                return Err(Failure::BadRequest(format!("Attribute '{}' not allowed in {method}", field.name)));
            };
            let before = field.free_default.then(|| (field.get)(object));
            if let Err(why) = set(object, value) {
                // Whoever may not set it learns nothing of what can be set.
                if let Some(rule) = rule {
                    enforce(view.app, view.caller, rule, &(view.target)(object))?;
                }
                return Err(Failure::BadRequest(format!("Invalid input for {}. Reason: {why}.", field.name)));
            }
            let is_default = verb == Verb::Create && before.is_some_and(|before| before == (field.get)(object));
            rules.extend(rule.filter(|_| !is_default));
        }
        // Rules see the object as it is to be: what a device may own depends on who is to own it.
        let target = (view.target)(object);
        rules.into_iter().try_for_each(|rule| enforce(view.app, view.caller, rule, &target))
    }

    /// The object as the caller may see it; only `fields` of it if there are any.
    pub(crate) fn show(&self, object: &Object<K>, view: View<'_, K>, fields: &[String]) -> Value {
        let target = (view.target)(object);
        let seen = self
            .fields
            .iter()
            .filter(|field| (fields.is_empty() || fields.iter().any(|it| it == field.name)) && view.allows(field.read_rule, &target));
        Value::Object(seen.map(|field| (field.name.to_owned(), (field.get)(object))).collect())
    }
}

/// Puts a value that was read into its place.
pub(crate) fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// The object at `root` of a body.
pub(crate) fn rooted<'a>(body: &'a Value, root: &str) -> Result<&'a Map<String, Value>, Failure> {
    body.get(root).and_then(Value::as_object).ok_or_else(|| Failure::BadRequest(format!("Unable to find '{root}' in request body")))
}

/// A body as JSON.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| Failure::BadRequest("The request body is not valid JSON.".into()))?;
    if value.is_object() { Ok(value) } else { Err(Failure::BadRequest("Body contains invalid data: it is not an object.".into())) }
}

/// Values of fields, with what is wrong with them in words.
pub(crate) mod value {
    use serde_json::Value;

    /// Text of at most `max` characters; null is empty text.
    pub(crate) fn text(value: &Value, max: usize) -> Result<String, String> {
        match value {
            Value::Null => Ok(String::new()),
            Value::String(text) if text.chars().count() <= max && !text.contains('\0') => Ok(text.clone()),
            Value::String(_) => Err(format!("it is longer than {max} characters or contains a NUL")),
            other => Err(format!("{other} is not a string")),
        }
    }

    /// True or false, also in the spellings Neutron takes.
    pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
        match value {
            Value::Bool(it) => Ok(*it),
            Value::String(it) if it.eq_ignore_ascii_case("true") || it == "1" => Ok(true),
            Value::String(it) if it.eq_ignore_ascii_case("false") || it == "0" => Ok(false),
            Value::Number(it) if it.as_u64() == Some(1) => Ok(true),
            Value::Number(it) if it.as_u64() == Some(0) => Ok(false),
            other => Err(format!("{other} is not boolean")),
        }
    }

    /// A whole number within the bounds.
    pub(crate) fn number(value: &Value, least: i64, most: i64) -> Result<i64, String> {
        let number = match value {
            Value::Number(it) => it.as_i64(),
            Value::String(it) => it.parse().ok(),
            _ => None,
        };
        number.filter(|it| (least..=most).contains(it)).ok_or_else(|| format!("{value} is not a whole number from {least} to {most}"))
    }

    /// An id.
    pub(crate) fn id<K>(value: &Value) -> Result<model::Id<K>, String> {
        value.as_str().and_then(model::Id::parse).ok_or_else(|| format!("{value} is not a valid UUID"))
    }
}
