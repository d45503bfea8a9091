//! Resources as tables of plain data: a table says once what a field is called, who may see and set it, and how it is read from and
//! written to the object; reading bodies, showing, filtering, sorting and paging follow from it.

mod list;

use model::{Kind, Object};
use serde_json::{Map, Value};

pub(crate) use list::{Listing, Parameters};

use crate::caller::Caller;
use crate::failure::Failure;

/// Writes a field's value into the object; the error says what is wrong with it.
pub(crate) type Set<K> = fn(&mut Object<K>, &Value) -> Result<(), String>;

/// Who may see or set a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever may see or change the object.
    Everyone,
    /// Administrators, and services acting for users.
    Admin,
}

/// A field of a resource.
pub(crate) struct Field<K: Kind> {
    pub(crate) name: &'static str,
    get: fn(&Object<K>) -> Value,
    on_create: Option<Set<K>>,
    on_update: Option<Set<K>>,
    read: Who,
    write: Who,
    required: bool,
    column: Option<&'static str>,
}

/// A field that is only shown.
pub(crate) const fn field<K: Kind>(name: &'static str, get: fn(&Object<K>) -> Value) -> Field<K> {
    Field { name, get, on_create: None, on_update: None, read: Who::Everyone, write: Who::Everyone, required: false, column: None }
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

    /// Only administrators may see and set it.
    pub(crate) const fn admin_only(mut self) -> Self {
        self.read = Who::Admin;
        self.write = Who::Admin;
        self
    }

    /// Only administrators may set it.
    pub(crate) const fn admin_sets(mut self) -> Self {
        self.write = Who::Admin;
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
    /// What messages call it.
    pub(crate) title: &'static str,
    pub(crate) fields: &'static [Field<K>],
}

/// Whether a caller is one of those.
fn is(who: Who, caller: &Caller) -> bool {
    match who {
        Who::Everyone => true,
        Who::Admin => caller.is_admin() || caller.has_role("service"),
    }
}

impl<K: Kind> Resource<K> {
    fn find(&self, name: &str) -> Option<&Field<K>> {
        self.fields.iter().find(|it| it.name == name)
    }

    /// Writes the fields of a new object's body into it.
    pub(crate) fn fill(&self, object: &mut Object<K>, body: &Map<String, Value>, caller: &Caller) -> Result<(), Failure> {
        if let Some(missing) = self.fields.iter().find(|field| field.required && !body.contains_key(field.name)) {
            return Err(Failure::BadRequest(format!("Failed to parse request. Required attribute '{}' not specified", missing.name)));
        }
        self.write(object, body, caller, |field| field.on_create, "POST")
    }

    /// Writes the changes a body asks for into the object.
    pub(crate) fn change(&self, object: &mut Object<K>, body: &Map<String, Value>, caller: &Caller) -> Result<(), Failure> {
        self.write(object, body, caller, |field| field.on_update, "PUT")
    }

    fn write(
        &self,
        object: &mut Object<K>,
        body: &Map<String, Value>,
        caller: &Caller,
        setter: fn(&Field<K>) -> Option<Set<K>>,
        verb: &str,
    ) -> Result<(), Failure> {
        let unknown: Vec<String> = body.keys().filter(|name| self.find(name).is_none()).map(|name| format!("'{name}'")).collect();
        if !unknown.is_empty() {
            return Err(Failure::BadRequest(format!("Unrecognized attribute(s) {}", unknown.join(", "))));
        }
        // In the table's order, so that a field may build on one before it.
        for field in self.fields {
            let Some(value) = body.get(field.name) else { continue };
            let Some(set) = setter(field) else {
                return Err(Failure::BadRequest(format!("Attribute '{}' not allowed in {verb}", field.name)));
            };
            if !is(field.write, caller) {
                return Err(Failure::Forbidden(format!("Only administrators may set '{}' of a {}.", field.name, self.title)));
            }
            set(object, value).map_err(|why| Failure::BadRequest(format!("Invalid input for {}. Reason: {why}.", field.name)))?;
        }
        Ok(())
    }

    /// The object as the caller may see it; only `fields` of it if there are any.
    pub(crate) fn show(&self, object: &Object<K>, caller: &Caller, fields: &[String]) -> Value {
        let seen =
            self.fields.iter().filter(|field| is(field.read, caller) && (fields.is_empty() || fields.iter().any(|it| it == field.name)));
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
