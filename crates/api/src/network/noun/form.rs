//! Forms: what a kind of thing is called in the API and what its fields are, as plain data.

use http::StatusCode;
use model::net::Described;
use model::{Kind, Object};
use policy::Target;
use serde_json::{Map, Value, json};

use super::{Noun, Sight};
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::network::Ask;
use crate::resource::{put, value};

/// Reads a field from an object and what was read beside it.
pub(crate) type Get<K> = fn(&Object<K>, &<K as Noun>::Around) -> Value;
/// Whether an object has a field at all.
pub(crate) type ShownIf<K> = fn(&Object<K>, &<K as Noun>::Around) -> bool;
/// Writes a field's value into the object; the error says what is wrong with it.
pub(crate) type Set<K> = fn(&mut Object<K>, &Value) -> Result<(), String>;

/// What a body is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Create,
    Change,
}

/// A field.
pub(crate) struct Field<K: Noun> {
    pub(crate) name: &'static str,
    pub(super) get: Get<K>,
    on_create: Option<Set<K>>,
    on_update: Option<Set<K>>,
    /// The rules that are asked beside the object's own; none: whoever may see or change the object.
    pub(super) read_rule: Option<&'static str>,
    create_rule: Option<&'static str>,
    update_rule: Option<&'static str>,
    free_default: bool,
    required: bool,
    /// Taken from a body and never shown.
    pub(super) hidden: bool,
    /// Of what it is shown; none: of all.
    shown_if: Option<ShownIf<K>>,
    pub(super) filter: bool,
    pub(super) sort: bool,
    pub(super) column: Option<&'static str>,
    pub(super) link: Option<&'static str>,
}

/// A field that is only shown.
pub(crate) const fn field<K: Noun>(name: &'static str, get: Get<K>) -> Field<K> {
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
        hidden: false,
        shown_if: None,
        filter: false,
        sort: false,
        column: None,
        link: None,
    }
}

/// A part of the body of a creation that is no field of what is shown: [`Noun::create`] reads it from the body.
pub(crate) const fn input_once<K: Noun>(name: &'static str) -> Field<K> {
    let mut field = field::<K>(name, |_, _| Value::Null).set_once(|_, _| Ok(()));
    field.hidden = true;
    field
}

impl<K: Noun> Field<K> {
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

    /// May be changed, but not given at creation.
    pub(crate) const fn set_later(mut self, set: Set<K>) -> Self {
        self.on_update = Some(set);
        self
    }

    /// Not shown at all of objects of which this does not hold.
    pub(crate) const fn shown_if(mut self, shown: ShownIf<K>) -> Self {
        self.shown_if = Some(shown);
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

    /// Never shown: only for filters.
    pub(crate) const fn unseen(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Lists can be filtered by it.
    pub(crate) const fn filter(mut self) -> Self {
        self.filter = true;
        self
    }

    /// Lists can be filtered and sorted by it.
    pub(crate) const fn sort(mut self) -> Self {
        self.filter = true;
        self.sort = true;
        self
    }

    /// The store can filter and sort by it: the name of its column there. The column holds the text that filters are compared with.
    pub(crate) const fn column(mut self, name: &'static str) -> Self {
        self.column = Some(name);
        self
    }

    /// The store can filter by it, which has many values: the name of its link there.
    pub(crate) const fn link(mut self, name: &'static str) -> Self {
        self.link = Some(name);
        self.filter = true;
        self
    }
}

/// What a kind of thing is called and what its fields are.
pub(crate) struct Form<K: Noun> {
    /// The root of a body with one.
    pub(crate) singular: &'static str,
    /// The root of a body with several.
    pub(crate) plural: &'static str,
    /// The collection's path below `/v2.0`, without a leading slash; of a thing inside another, below that.
    pub(crate) path: &'static str,
    /// The name of the exception when there is none of that id.
    pub(crate) not_found: &'static str,
    /// What the thing is called in that exception's text.
    pub(crate) called: &'static str,
    /// The exception's text, of things that have one of their own.
    pub(crate) not_found_text: Option<fn(&str) -> String>,
    /// What rules call it.
    pub(crate) rule: &'static str,
    /// What can be shared by RBAC policies: their `object_type`.
    pub(crate) shareable: Option<&'static str>,
    /// Whether it has `/tags`.
    pub(crate) taggable: bool,
    /// Whether several can be made at once.
    pub(crate) bulk: bool,
    /// Whether users can make one, and change one.
    pub(crate) creates: bool,
    pub(crate) changes: bool,
    /// Whether it belongs to a project.
    pub(crate) owned: bool,
    pub(crate) fields: Vec<Field<K>>,
}

impl<K: Noun> Form<K> {
    /// A form with `id`, `project_id` and `tenant_id`, called the same everywhere.
    pub(crate) fn new(
        singular: &'static str,
        plural: &'static str,
        path: &'static str,
        not_found: &'static str,
        called: &'static str,
    ) -> Self {
        Self {
            singular,
            plural,
            path,
            not_found,
            called,
            not_found_text: None,
            rule: singular,
            shareable: None,
            taggable: false,
            bulk: true,
            creates: true,
            changes: true,
            owned: true,
            fields: vec![
                field::<K>("id", |it, _| json!(it.id)).sort(),
                field("project_id", |it, _| json!(it.project_id.as_ref().map_or("", |it| it.as_str()))).sort(),
                field("tenant_id", |it, _| json!(it.project_id.as_ref().map_or("", |it| it.as_str()))).sort(),
            ],
        }
    }

    /// The rules about it are named by this word.
    pub(crate) fn rule(mut self, rule: &'static str) -> Self {
        self.rule = rule;
        self
    }

    /// What is said when there is none of that id.
    pub(crate) fn not_found_says(mut self, text: fn(&str) -> String) -> Self {
        self.not_found_text = Some(text);
        self
    }

    /// It can be shared by RBAC policies of this `object_type`.
    pub(crate) fn shareable(mut self, object_type: &'static str) -> Self {
        self.shareable = Some(object_type);
        self
    }

    /// Only one can be made at once.
    pub(crate) fn no_bulk(mut self) -> Self {
        self.bulk = false;
        self
    }

    /// Users make none: others do.
    pub(crate) fn no_create(mut self) -> Self {
        self.creates = false;
        self
    }

    /// It is never changed.
    pub(crate) fn no_update(mut self) -> Self {
        self.changes = false;
        self
    }

    /// It is nobody's: without `project_id` and `tenant_id`.
    pub(crate) fn ownerless(self) -> Self {
        let mut form = self.owner_hidden();
        form.owned = false;
        form
    }

    /// Its project is not shown.
    pub(crate) fn owner_hidden(mut self) -> Self {
        self.fields.retain(|field| field.name != "project_id" && field.name != "tenant_id");
        self
    }

    /// With a `name`.
    pub(crate) fn named(mut self) -> Self {
        self.fields.push(field::<K>("name", |it, _| json!(it.name)).set(name).sort());
        self
    }

    /// With the fields.
    pub(crate) fn fields(mut self, fields: Vec<Field<K>>) -> Self {
        self.fields.extend(fields);
        self
    }

    /// With the times and the revision number that all things have which are kept in the store.
    pub(crate) fn stamped(mut self) -> Self {
        self.fields.extend([
            field::<K>("created_at", |it, _| json!(it.created_at.iso_seconds())).sort(),
            field("updated_at", |it, _| json!(it.updated_at.unwrap_or(it.created_at).iso_seconds())).sort(),
            field("revision_number", |it, _| json!(it.generation)).sort(),
        ]);
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Field<K>> {
        self.fields.iter().find(|it| it.name == name)
    }

    /// There is none of that id for the caller.
    pub(crate) fn missing(&self, id: &str) -> Failure {
        let text = self.not_found_text.map_or_else(|| format!("{} {id} could not be found.", self.called), |text| text(id));
        Failure::named(StatusCode::NOT_FOUND, self.not_found, text)
    }

    /// Checks that a change's body names only what can be changed: before the object is looked for, as Neutron does.
    ///
    /// # Errors
    /// It names something else.
    pub(super) fn check_changes(&self, body: &Map<String, Value>) -> Result<(), Failure> {
        for name in body.keys() {
            let known = self.find(name);
            if known.is_none() {
                return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{name}'")));
            }
            if known.is_none_or(|field| field.on_update.is_none()) {
                let name = if name == "project_id" { "tenant_id" } else { name };
                return Err(Failure::BadRequest(format!("Cannot update read-only attribute {name}")));
            }
        }
        Ok(())
    }

    /// Writes a body's values into the object. What rules are to be asked about it is returned: they are asked when all that they look at
    /// is known.
    pub(super) fn write(
        &self,
        ask: &Ask,
        object: &mut Object<K>,
        body: &Map<String, Value>,
        verb: Verb,
    ) -> Result<Vec<&'static str>, Failure> {
        let unknown: Vec<&str> = body.keys().map(String::as_str).filter(|name| self.find(name).is_none()).collect();
        if !unknown.is_empty() {
            return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{}'", unknown.join(", "))));
        }
        if verb == Verb::Create
            && let Some(missing) = self.fields.iter().find(|field| field.required && !body.contains_key(field.name))
        {
            return Err(Failure::BadRequest(format!("Failed to parse request. Required attribute '{}' not specified", missing.name)));
        }
        let before = K::Around::default();
        let mut rules = Vec::new();
        // In the form's order, so that a field may build on one before it.
        for field in &self.fields {
            let Some(value) = body.get(field.name) else { continue };
            let (set, rule) = match verb {
                Verb::Create => (field.on_create, field.create_rule),
                Verb::Change => (field.on_update, field.update_rule),
            };
            let set = match (set, verb) {
                (Some(set), _) => set,
                (None, Verb::Create) => return Err(Failure::BadRequest(format!("Attribute '{}' not allowed in POST", field.name))),
                (None, Verb::Change) => return Err(Failure::BadRequest(format!("Cannot update read-only attribute {}", field.name))),
            };
            let default = (verb == Verb::Create && field.free_default).then(|| (field.get)(object, &before));
            if let Err(why) = set(object, value) {
                // Whoever may not set it learns nothing of what can be set.
                // One whose right depends on what the object belongs to, which is not read yet, is told what is wrong, as Neutron tells all.
                if let Some(rule) = rule
                    && ask.app.policy.current().settled(rule, &ask.caller.credentials) == Some(false)
                {
                    enforce(&ask.app, &ask.caller, rule, &K::target(object, &before))?;
                }
                return Err(Failure::named(
                    StatusCode::BAD_REQUEST,
                    "HTTPBadRequest",
                    format!("Invalid input for {}. Reason: {}.", field.name, why.trim_end_matches('.')),
                ));
            }
            // Some fields are not kept in the object: what is given counts too, not only what the object is then.
            let is_default = default.is_some_and(|default| default == (field.get)(object, &before) && says(value, &default));
            rules.extend(rule.filter(|_| !is_default));
        }
        Ok(rules)
    }

    /// The object as the caller may see it, as JSON text; only `fields` of it if there are any.
    pub(super) fn render(&self, out: &mut Vec<u8>, object: &Object<K>, around: &K::Around, sight: &Sight<'_, K>, only: &[String]) {
        let mut target: Option<Target> = None;
        out.push(b'{');
        let mut first = true;
        for (at, field) in self.fields.iter().enumerate() {
            if field.shown_if.is_some_and(|shown| !shown(object, around)) {
                continue;
            }
            if field.hidden || !(only.is_empty() || only.iter().any(|it| it == field.name)) {
                continue;
            }
            if !sight.reads(at, || target.get_or_insert_with(|| K::target(object, around)).clone()) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.push(b'"');
            // Names of fields are ours: none needs escaping.
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b"\":");
            // Writing to memory cannot fail.
            drop(serde_json::to_writer(&mut *out, &(field.get)(object, around)));
        }
        out.push(b'}');
    }
}

impl<K: Noun> Form<K>
where
    K::Desired: Described,
{
    /// With what nearly all things of Neutron have: `name`, `description`, `tags`, times and the revision number.
    pub(crate) fn standard(self) -> Self {
        let mut form = self.named().described().stamped();
        form.taggable = true;
        form.fields.push(field::<K>("tags", |it, _| json!(it.desired.tags())));
        form
    }

    /// With a `description`.
    pub(crate) fn described(mut self) -> Self {
        self.fields.push(
            field::<K>("description", |it, _| json!(it.desired.description()))
                .set(|it, v| {
                    it.desired.describe(value::text(v, 255)?);
                    Ok(())
                })
                .sort(),
        );
        self
    }
}

/// Reads a name, which unlike other texts is not null.
fn name<K: Noun>(object: &mut Object<K>, given: &Value) -> Result<(), String> {
    if given.is_null() {
        return Err("'None' is not a valid string".into());
    }
    put(&mut object.name, value::text(given, 255))
}

/// Whether a value in a body says the same as `default`, in whatever spelling.
fn says(given: &Value, default: &Value) -> bool {
    match default {
        Value::Bool(it) => value::boolean(given) == Ok(*it),
        Value::String(it) => given == default || (it.is_empty() && given.is_null()),
        _ => given == default,
    }
}

/// A kind that has no columns of its own still can be listed by these.
pub(super) const PLAIN: [&str; 3] = ["id", "name", "project_id"];

/// Whether the store can sort by the field: under which key.
pub(super) fn store_key<K: Noun>(field: &Field<K>) -> Option<&'static str> {
    match field.name {
        "id" => Some("id"),
        "name" => Some("name"),
        "project_id" | "tenant_id" => Some("project_id"),
        _ => field.column.filter(|name| <K as Kind>::COLUMNS.iter().any(|column| column.name == *name)),
    }
}
