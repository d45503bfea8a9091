//! Bodies and query parameters of requests as constant data: one table checks what came and describes it in OpenAPI.
//!
//! A check stops at the first complaint, found in the order of the table, and words it as Keystone 30.0.0 does, whose words are those of
//! python-jsonschema 4.26 within a frame of its own (Source: `keystone/api/validation/validators.py`,
//! `keystone/common/validation/validators.py`). What a complaint quotes is in Python's notation; secrets in it are masked.

mod repr;

use serde_json::{Map, Value, json};

use self::repr::{list, repr, text_repr};

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Whatever.
    Any,
    /// Text with so many characters.
    Text {
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
        /// Of what form.
        form: Form,
    },
    /// `true` or `false`.
    Boolean,
    /// `true`, `false` or a word for one of them (Source: `parameter_types.boolean`).
    Word,
    /// A whole number between two others, both included.
    Integer {
        /// The least.
        least: i64,
        /// The greatest.
        most: i64,
    },
    /// A whole number, or text in its place.
    IntegerOrText,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An array.
    List {
        /// What is in it.
        of: &'static Shape,
        /// Fewest items.
        least: usize,
        /// Most items.
        most: usize,
        /// No item twice.
        unique: bool,
    },
    /// An object.
    Object(&'static Schema),
    /// An object, or text in its place.
    ObjectOrText(&'static Schema),
}

/// What form text has. The end of a pattern is the end of the text: Keystone also takes a line feed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Any.
    Free,
    /// Something in it is not a space.
    Visible,
    /// Letters, digits and `-`.
    Id,
    /// A UUID, with dashes or without.
    Uuid,
    /// No comma and no slash.
    Tag,
    /// A scheme, a colon, and more.
    Url,
    /// Begins with a slash.
    Path,
}

impl Form {
    /// The pattern as Keystone names it.
    const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Free | Self::Uuid => None,
            Self::Visible => Some(r"[\S]+"),
            Self::Id => Some("^[a-zA-Z0-9-]+$"),
            Self::Tag => Some("^[^,/]*$"),
            Self::Url => Some("^[a-zA-Z0-9+.-]+:.+"),
            Self::Path => Some(r"^/\.*"),
        }
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Self::Free => true,
            Self::Visible => text.chars().any(|c| !c.is_whitespace()),
            Self::Id => !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            Self::Uuid => {
                let bare = text.replace("urn:", "").replace("uuid:", "");
                let bare = bare.trim_matches(['{', '}']).replace('-', "");
                bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit())
            }
            Self::Tag => !text.contains([',', '/']),
            Self::Url => text.split_once(':').is_some_and(|(scheme, rest)| {
                !scheme.is_empty()
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-'))
                    && rest.chars().next().is_some_and(|c| c != '\n')
            }),
            Self::Path => text.starts_with('/'),
        }
    }
}

/// A kind that may admit `null` too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    kind: Kind,
    nullable: bool,
}

/// Anything.
pub(crate) const ANY: Shape = shape(Kind::Any);
/// Text of any length.
pub(crate) const TEXT: Shape = text(0, usize::MAX);
/// `true` or `false`.
pub(crate) const BOOLEAN: Shape = shape(Kind::Boolean);
/// `true`, `false` or a word for one of them.
pub(crate) const WORD: Shape = shape(Kind::Word);
/// A name: 1 to 255 characters, not spaces alone.
pub(crate) const NAME: Shape = name(255);
/// An id: 1 to 64 letters, digits and dashes.
pub(crate) const ID: Shape = shape(Kind::Text { least: 1, most: 64, form: Form::Id });
/// A UUID.
pub(crate) const UUID: Shape = shape(Kind::Text { least: 0, most: usize::MAX, form: Form::Uuid });
/// A URL of at most 225 characters.
pub(crate) const URL: Shape = shape(Kind::Text { least: 0, most: 225, form: Form::Url });
/// The tag of a project.
pub(crate) const TAG: Shape = shape(Kind::Text { least: 1, most: 255, form: Form::Tag });
/// The path of a URL, of at most 225 characters.
pub(crate) const PATH: Shape = shape(Kind::Text { least: 0, most: 225, form: Form::Path });
/// How many items a page has: a number, which a query gives as text.
pub(crate) const PAGE_LENGTH: Shape = shape(Kind::IntegerOrText);

/// A shape of that kind.
pub(crate) const fn shape(kind: Kind) -> Shape {
    Shape { kind, nullable: false }
}

/// Text of that many characters.
pub(crate) const fn text(least: usize, most: usize) -> Shape {
    shape(Kind::Text { least, most, form: Form::Free })
}

/// A name of 1 to `most` characters, not spaces alone.
pub(crate) const fn name(most: usize) -> Shape {
    shape(Kind::Text { least: 1, most, form: Form::Visible })
}

/// A whole number from `least` to `most`.
pub(crate) const fn integer(least: i64, most: i64) -> Shape {
    shape(Kind::Integer { least, most })
}

/// One of these words.
pub(crate) const fn choice(words: &'static [&'static str]) -> Shape {
    shape(Kind::Choice(words))
}

/// An array of any length.
pub(crate) const fn array(of: &'static Shape) -> Shape {
    shape(Kind::List { of, least: 0, most: usize::MAX, unique: false })
}

/// An object.
pub(crate) const fn object(schema: &'static Schema) -> Shape {
    shape(Kind::Object(schema))
}

impl Shape {
    /// Or `null`.
    pub(crate) const fn or_null(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// An array with at least that many items.
    pub(crate) const fn at_least(self, items: usize) -> Self {
        match self.kind {
            Kind::List { of, most, unique, .. } => Self { kind: Kind::List { of, least: items, most, unique }, ..self },
            _ => self,
        }
    }

    /// An array with at most that many items.
    pub(crate) const fn at_most(self, items: usize) -> Self {
        match self.kind {
            Kind::List { of, least, unique, .. } => Self { kind: Kind::List { of, least, most: items, unique }, ..self },
            _ => self,
        }
    }

    /// An array without the same item twice.
    pub(crate) const fn unique(self) -> Self {
        match self.kind {
            Kind::List { of, least, most, .. } => Self { kind: Kind::List { of, least, most, unique: true }, ..self },
            _ => self,
        }
    }

    /// Checks a value that is no object of its own, as a tag in a path is. Complains in [`Frame::Field`].
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        self.visit(value).map_err(|fault| fault.framed(Frame::Field))
    }
}

/// A property.
pub(crate) type Field = (&'static str, Shape);

/// How a complaint about something inside a body is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// By the last name of its path, and with the value.
    Attribute,
    /// By its path.
    Field,
}

/// What holds between the properties of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bond {
    /// Where the first has this value, or is absent, all of these must be there.
    If(&'static str, &'static str, &'static [&'static str]),
    /// Exactly one of these sets must be there in full.
    OneOf(&'static [&'static [&'static str]]),
    /// At most one of these may be there.
    AtMostOne(&'static [&'static str]),
    /// Where the first is, the second must be.
    Needs(&'static str, &'static str),
    /// These may not all be there.
    Never(&'static [&'static str]),
}

/// An object: its properties and what holds of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    fields: &'static [Field],
    required: &'static [&'static str],
    bonds: &'static [Bond],
    open: bool,
    unknown_first: bool,
    least: usize,
    most: usize,
    part: Option<&'static str>,
}

/// An object that may have these properties and no others.
pub(crate) const fn closed(fields: &'static [Field]) -> Schema {
    Schema { fields, required: &[], bonds: &[], open: false, unknown_first: false, least: 0, most: usize::MAX, part: None }
}

/// An object that may have any properties, of which these are known.
pub(crate) const fn open(fields: &'static [Field]) -> Schema {
    Schema { open: true, ..closed(fields) }
}

impl Schema {
    /// These must be there; the first absent one is complained about.
    pub(crate) const fn required(self, names: &'static [&'static str]) -> Self {
        Self { required: names, ..self }
    }

    /// It may not be empty.
    pub(crate) const fn not_empty(self) -> Self {
        Self { least: 1, ..self }
    }

    /// It has exactly one property.
    pub(crate) const fn single(self) -> Self {
        Self { least: 1, most: 1, ..self }
    }

    /// What holds between its properties.
    pub(crate) const fn bound(self, bonds: &'static [Bond]) -> Self {
        Self { bonds, ..self }
    }

    /// Complains about an unknown property before an absent one.
    pub(crate) const fn unknown_first(self) -> Self {
        Self { unknown_first: true, ..self }
    }

    /// Looks only at what is in the body under this name, an absent one being empty. Complains in [`Frame::Field`], with paths that begin
    /// there.
    pub(crate) const fn only(self, name: &'static str) -> Self {
        Self { part: Some(name), ..self }
    }

    /// Checks a body.
    ///
    /// # Errors
    /// The first complaint, in Keystone's words.
    pub(crate) fn check(&self, body: &Map<String, Value>) -> Result<(), String> {
        match self.part {
            None => self.visit(body).map_err(|fault| fault.framed(Frame::Attribute)),
            Some(part) => {
                let nothing = Value::Object(Map::new());
                let value = body.get(part).unwrap_or(&nothing);
                match self.fields.iter().find(|(name, _)| *name == part) {
                    Some((_, shape)) => shape.check(value),
                    None => Ok(()),
                }
            }
        }
    }

    /// Checks a body that need not be an object.
    ///
    /// # Errors
    /// The first complaint, in Keystone's words.
    pub(crate) fn check_value(&self, body: &Value) -> Result<(), String> {
        match body {
            Value::Object(body) => self.check(body),
            other => Err(wrong_type(other, &["object"]).framed(Frame::Attribute)),
        }
    }

    /// Checks the parameters of a query, of which the first of a name counts.
    ///
    /// # Errors
    /// The first complaint, in Keystone's words.
    pub(crate) fn check_query<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), String> {
        let mut query = Map::new();
        for (name, value) in pairs {
            query.entry(name).or_insert_with(|| Value::String(value.to_owned()));
        }
        self.check(&query)
    }

    /// The same in JSON Schema 2020-12, which OpenAPI 3.1 speaks.
    pub(crate) fn document(&self) -> Value {
        let properties: Map<String, Value> = self.fields.iter().map(|(name, shape)| ((*name).to_owned(), shape.document())).collect();
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": self.open});
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        if self.least > 0 {
            schema["minProperties"] = json!(self.least);
        }
        if self.most < usize::MAX {
            schema["maxProperties"] = json!(self.most);
        }
        for bond in self.bonds {
            bond.document(&mut schema);
        }
        schema
    }

    fn visit(&self, body: &Map<String, Value>) -> Result<(), Fault> {
        for (name, shape) in self.fields {
            if let Some(value) = body.get(*name) {
                shape.visit(value).map_err(|fault| fault.under(Step::Name(name)))?;
            }
        }
        if self.unknown_first {
            self.known(body)?;
        }
        if body.len() < self.least {
            let why = if self.least == 1 { "should be non-empty" } else { "does not have enough properties" };
            return Err(Fault::about(&Value::Object(body.clone()), |shown| format!("{shown} {why}")));
        }
        if body.len() > self.most {
            return Err(Fault::about(&Value::Object(body.clone()), |shown| format!("{shown} has too many properties")));
        }
        present(body, self.required)?;
        for bond in self.bonds {
            bond.visit(body)?;
        }
        if self.unknown_first { Ok(()) } else { self.known(body) }
    }

    fn known(&self, body: &Map<String, Value>) -> Result<(), Fault> {
        if self.open {
            return Ok(());
        }
        let mut unknown: Vec<&str> =
            body.keys().map(String::as_str).filter(|key| self.fields.iter().all(|(name, _)| name != key)).collect();
        unknown.sort_unstable();
        let verb = match unknown.len() {
            0 => return Ok(()),
            1 => "was",
            _ => "were",
        };
        let unknown: Vec<String> = unknown.into_iter().map(text_repr).collect();
        Err(Fault::about(&Value::Object(body.clone()), |_| {
            format!("Additional properties are not allowed ({} {verb} unexpected)", unknown.join(", "))
        }))
    }
}

fn present(body: &Map<String, Value>, names: &[&str]) -> Result<(), Fault> {
    match names.iter().find(|name| !body.contains_key(**name)) {
        None => Ok(()),
        Some(name) => Err(Fault::about(&Value::Object(body.clone()), |_| format!("{} is a required property", text_repr(name)))),
    }
}

fn requiring(names: &[&str]) -> String {
    format!("{{'required': {}}}", list(names))
}

impl Bond {
    fn visit(&self, body: &Map<String, Value>) -> Result<(), Fault> {
        let whole = || Value::Object(body.clone());
        let has = |name: &&str| body.contains_key(*name);
        match self {
            Self::If(name, value, names) => {
                if body.get(*name).is_none_or(|given| given.as_str() == Some(value)) {
                    present(body, names)?;
                }
            }
            Self::OneOf(sets) => {
                let mut full = sets.iter().filter(|names| names.iter().all(has));
                let Some(first) = full.next() else {
                    return Err(Fault::about(&whole(), |shown| format!("{shown} is not valid under any of the given schemas")));
                };
                let mut others: Vec<String> = full.map(|names| requiring(names)).collect();
                if !others.is_empty() {
                    others.push(requiring(first));
                    return Err(Fault::about(&whole(), |shown| format!("{shown} is valid under each of {}", others.join(", "))));
                }
            }
            Self::AtMostOne(names) => {
                let mut there = names.iter().filter(|name| has(name));
                if let Some(first) = there.next() {
                    let mut others: Vec<String> = there.map(|name| requiring(&[name])).collect();
                    if !others.is_empty() {
                        others.push(requiring(&[first]));
                        return Err(Fault::about(&whole(), |shown| format!("{shown} is valid under each of {}", others.join(", "))));
                    }
                }
            }
            Self::Needs(name, other) => {
                if has(name) && !has(other) {
                    return Err(Fault::about(&whole(), |_| format!("{} is a dependency of {}", text_repr(other), text_repr(name))));
                }
            }
            Self::Never(names) => {
                if names.iter().all(has) {
                    return Err(Fault::about(&whole(), |shown| format!("{shown} should not be valid under {}", requiring(names))));
                }
            }
        }
        Ok(())
    }

    fn document(&self, schema: &mut Value) {
        match self {
            Self::If(name, value, names) => {
                schema["if"] = json!({"properties": {*name: {"const": value}}});
                schema["then"] = json!({"required": names});
            }
            Self::OneOf(sets) => schema["oneOf"] = sets.iter().map(|names| json!({"required": names})).collect(),
            Self::AtMostOne(names) => {
                let mut cases: Vec<Value> = names.iter().map(|name| json!({"required": [name]})).collect();
                let none: Vec<Value> = names.iter().map(|name| json!({"not": {"required": [name]}})).collect();
                cases.push(json!({"allOf": none}));
                schema["oneOf"] = Value::Array(cases);
            }
            Self::Needs(name, other) => schema["dependentRequired"] = json!({*name: [other]}),
            Self::Never(names) => schema["not"] = json!({"required": names}),
        }
    }
}

/// Words for true and false (Source: `parameter_types.boolean`).
const WORDS: &[&str] =
    &["True", "TRUE", "true", "False", "FALSE", "false", "", "1", "0", "y", "Y", "n", "N", "on", "ON", "off", "OFF", "yes", "no"];

/// The words as one list with the true booleans, in Keystone's order.
fn words() -> Vec<Value> {
    let (yes, rest) = WORDS.split_at_checked(3).unwrap_or((WORDS, &[]));
    let mut all = vec![Value::Bool(true)];
    all.extend(yes.iter().map(|word| json!(word)));
    all.push(Value::Bool(false));
    all.extend(rest.iter().map(|word| json!(word)));
    all
}

impl Shape {
    /// The types it admits, as JSON Schema names them. None: all.
    fn types(&self) -> Vec<&'static str> {
        let mut types = match self.kind {
            Kind::Any => return Vec::new(),
            Kind::Text { .. } | Kind::Choice(_) => vec!["string"],
            Kind::Boolean => vec!["boolean"],
            // Keystone says that null is of the right type and then that it is none of the words.
            Kind::Word => vec!["boolean", "string", "null"],
            Kind::Integer { .. } => vec!["integer"],
            Kind::IntegerOrText => vec!["integer", "string"],
            Kind::List { .. } => vec!["array"],
            Kind::Object(_) => vec!["object"],
            Kind::ObjectOrText(_) => vec!["object", "string"],
        };
        if self.nullable {
            types.push("null");
        }
        types
    }

    fn visit(&self, value: &Value) -> Result<(), Fault> {
        if self.nullable && value.is_null() {
            return Ok(());
        }
        match (self.kind, value) {
            (Kind::Any, _)
            | (Kind::Boolean | Kind::Word, Value::Bool(_))
            | (Kind::IntegerOrText | Kind::ObjectOrText(_), Value::String(_)) => Ok(()),
            (Kind::Text { least, most, form }, Value::String(text)) => measured(value, text, least, most, form),
            (Kind::Word, Value::String(word)) if WORDS.contains(&word.as_str()) => Ok(()),
            (Kind::Word, Value::String(_) | Value::Null) => {
                let words = repr(&Value::Array(words()));
                Err(Fault::about(value, |shown| format!("{shown} is not one of {words}")))
            }
            (Kind::IntegerOrText, Value::Number(number)) if is_integer(number) => Ok(()),
            (Kind::Integer { least, most }, Value::Number(number)) if is_integer(number) => bounded(value, number, least, most),
            (Kind::Choice(words), Value::String(word)) => match words.contains(&word.as_str()) {
                true => Ok(()),
                false => Err(Fault::about(value, |shown| format!("{shown} is not one of {}", list(words)))),
            },
            (Kind::List { of, least, most, unique }, Value::Array(items)) => {
                for (place, item) in items.iter().enumerate() {
                    of.visit(item).map_err(|fault| fault.under(Step::Place(place)))?;
                }
                counted(value, items, least, most, unique)
            }
            (Kind::Object(schema) | Kind::ObjectOrText(schema), Value::Object(body)) => schema.visit(body),
            _ => Err(wrong_type(value, &self.types())),
        }
    }

    fn document(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Object(inner) | Kind::ObjectOrText(inner) => inner.document(),
            _ => json!({}),
        };
        let types = self.types();
        match types.as_slice() {
            [] => {}
            [one] => schema["type"] = json!(one),
            several => schema["type"] = json!(several),
        }
        match self.kind {
            Kind::Text { least, most, form } => {
                if least > 0 {
                    schema["minLength"] = json!(least);
                }
                if most < usize::MAX {
                    schema["maxLength"] = json!(most);
                }
                if let Some(pattern) = form.pattern() {
                    schema["pattern"] = json!(pattern);
                }
                if form == Form::Uuid {
                    schema["format"] = json!("uuid");
                }
            }
            Kind::Word => schema["enum"] = Value::Array(words()),
            Kind::Integer { least, most } => {
                if least > i64::MIN {
                    schema["minimum"] = json!(least);
                }
                if most < i64::MAX {
                    schema["maximum"] = json!(most);
                }
            }
            Kind::Choice(words) => schema["enum"] = json!(words),
            Kind::List { of, least, most, unique } => {
                schema["items"] = of.document();
                if least > 0 {
                    schema["minItems"] = json!(least);
                }
                if most < usize::MAX {
                    schema["maxItems"] = json!(most);
                }
                if unique {
                    schema["uniqueItems"] = json!(true);
                }
            }
            Kind::Any | Kind::Boolean | Kind::IntegerOrText | Kind::Object(_) | Kind::ObjectOrText(_) => {}
        }
        schema
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn wrong_type(value: &Value, types: &[&str]) -> Fault {
    let types: Vec<String> = types.iter().map(|name| text_repr(name)).collect();
    Fault::about(value, |shown| format!("{shown} is not of type {}", types.join(", ")))
}

fn measured(value: &Value, text: &str, least: usize, most: usize, form: Form) -> Result<(), Fault> {
    let length = text.chars().count();
    if length < least {
        let why = if least == 1 { "should be non-empty" } else { "is too short" };
        return Err(Fault::about(value, |shown| format!("{shown} {why}")));
    }
    if length > most {
        return Err(Fault::about(value, |shown| format!("{shown} is too long")));
    }
    if form.fits(text) {
        return Ok(());
    }
    Err(Fault::about(value, |shown| match form.pattern() {
        Some(pattern) => format!("{shown} does not match {}", text_repr(pattern)),
        None => format!("{shown} is not a 'uuid'"),
    }))
}

fn bounded(value: &Value, number: &serde_json::Number, least: i64, most: i64) -> Result<(), Fault> {
    let wide = number.as_i128();
    let below = wide.map_or_else(|| number.as_f64().is_some_and(|float| float < least as f64), |wide| wide < i128::from(least));
    if below {
        return Err(Fault::about(value, |shown| format!("{shown} is less than the minimum of {least}")));
    }
    let above = wide.map_or_else(|| number.as_f64().is_some_and(|float| float > most as f64), |wide| wide > i128::from(most));
    if above {
        return Err(Fault::about(value, |shown| format!("{shown} is greater than the maximum of {most}")));
    }
    Ok(())
}

fn counted(value: &Value, items: &[Value], least: usize, most: usize, unique: bool) -> Result<(), Fault> {
    if items.len() < least {
        let why = if least == 1 { "should be non-empty" } else { "is too short" };
        return Err(Fault::about(value, |shown| format!("{shown} {why}")));
    }
    if items.len() > most {
        return Err(Fault::about(value, |shown| format!("{shown} is too long")));
    }
    let mut seen = std::collections::HashSet::new();
    if unique && !items.iter().all(|item| seen.insert(item.to_string())) {
        return Err(Fault::about(value, |shown| format!("{shown} has non-unique elements")));
    }
    Ok(())
}

/// A step of the way to a value.
#[derive(Clone, Copy, Debug)]
enum Step {
    Name(&'static str),
    Place(usize),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Place(place) => write!(f, "{place}"),
        }
    }
}

/// What is wrong, and where.
struct Fault {
    /// From the innermost outwards.
    path: Vec<Step>,
    /// The value as `str()` shows it.
    value: String,
    message: String,
    /// The message without the value, for values that must not be shown.
    masked: String,
}

impl Fault {
    fn about(value: &Value, message: impl Fn(&str) -> String) -> Self {
        let shown = repr(value);
        let plain = match value {
            Value::String(text) => repr::cut(text.clone()),
            _ => shown.clone(),
        };
        Self {
            path: Vec::new(),
            value: plain,
            message: message(&shown),
            masked: message(if value.is_null() { "None" } else { repr::MASK }),
        }
    }

    fn under(mut self, step: Step) -> Self {
        if let Step::Name(name) = step
            && repr::is_secret(name)
        {
            self.message.clone_from(&self.masked);
            if self.value != "None" {
                self.value = repr::MASK.trim_matches('\'').to_owned();
            }
        }
        self.path.push(step);
        self
    }

    fn framed(self, frame: Frame) -> String {
        let Some(last) = self.path.first() else {
            return self.message;
        };
        match frame {
            Frame::Attribute => format!("Invalid input for field/attribute {last}. Value: {}. {}", self.value, self.message),
            Frame::Field => {
                let path: Vec<String> = self.path.iter().rev().map(ToString::to_string).collect();
                format!("Invalid input for field '{}': {}", path.join("/"), self.message)
            }
        }
    }
}

#[cfg(test)]
mod tests;
