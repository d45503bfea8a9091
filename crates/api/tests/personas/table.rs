//! The table: `operations.json`, and `recorded.json` beside it.
//!
//! Text of the table has places, `{user}`: each stands for the value of that name in the world of the target, which is made the first time
//! it is asked for, as `objects` says. `{unique}` is another text every time. There are five targets: `own` and `any` are a world in the
//! domain of the personas (`any` where no domain matters), `other` one in another domain, `self` the persona's own with its user and its
//! project, and `absent` one where every id is nobody's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// All of `operations.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Who asks, in the order of the recorded answers.
    pub personas: Vec<Persona>,
    /// How what stands in a place is made.
    pub objects: BTreeMap<String, Object>,
    /// What is asked for.
    pub operations: Vec<Operation>,
}

/// Somebody who asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persona {
    /// Its name.
    pub name: String,
    /// What its token is for.
    pub scope: Scope,
    /// The role it was given there; an unscoped token has none.
    pub role: Option<String>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    System,
    Domain,
    Project,
    Unscoped,
    /// There is no token.
    None,
}

/// How a value is made.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Object {
    /// It is this text, its places filled.
    Text(String),
    /// By requests that take it from their answers.
    Steps(Vec<Step>),
}

/// A request that must succeed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Whose token it has: the administrator's, `nobody`'s, or the one of this name in the world.
    #[serde(rename = "as", default = "admin")]
    pub who: String,
    /// Method and path.
    pub send: String,
    /// The body.
    pub body: Option<Value>,
    /// What is taken from the answer, by name: a JSON pointer, or the name of a header.
    #[serde(default)]
    pub take: BTreeMap<String, String>,
}

/// Operations of one rule at one path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The rule.
    pub rule: String,
    /// The methods.
    pub methods: Vec<String>,
    /// The path.
    pub path: String,
    /// At what.
    pub targets: Vec<Target>,
    /// Tells it from others of the same rule, path and target.
    pub case: Option<String>,
    /// The body.
    pub body: Option<Value>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The names that are not shared with other operations, and made anew after each change.
    #[serde(default)]
    pub fresh: Vec<String>,
    /// What must have happened before; happens again where `fresh` is made anew.
    #[serde(default)]
    pub before: Vec<Step>,
}

/// Whose object it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    #[serde(rename = "self")]
    Itself,
    Own,
    Any,
    Other,
    Absent,
}

/// All of `recorded.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The version of Keystone.
    #[serde(rename = "keystone")]
    pub _keystone: String,
    /// Who asked.
    pub personas: Vec<String>,
    /// The statuses of the answers, by [`Row::name`].
    pub cells: BTreeMap<String, Vec<u16>>,
}

/// One operation at one target.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub operation: &'a Operation,
    pub method: &'a str,
    pub target: Target,
}

/// A file beside this one. Not compiled in, so that recording anew compiles nothing.
fn read(name: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/personas").join(name)).unwrap()
}

fn admin() -> String {
    "admin".into()
}

impl Table {
    /// The committed one.
    pub fn load() -> Self {
        serde_json::from_slice(&read("operations.json")).unwrap()
    }

    /// Every row, in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.operations.iter().flat_map(|operation| {
            let methods = operation.methods.iter();
            methods.flat_map(move |method| operation.targets.iter().map(move |&target| Row { operation, method, target }))
        })
    }
}

impl Recorded {
    /// The committed one.
    pub fn load() -> Self {
        serde_json::from_slice(&read("recorded.json")).unwrap()
    }
}

impl Row<'_> {
    /// What tells it from all others.
    pub fn name(&self) -> String {
        let target = match self.target {
            Target::Itself => "self",
            Target::Own => "own",
            Target::Any => "any",
            Target::Other => "other",
            Target::Absent => "absent",
        };
        let name = format!("{} {} {} {target}", self.operation.rule, self.method, self.operation.path);
        self.operation.case.iter().fold(name, |name, case| format!("{name} {case}"))
    }

    /// Whether its success uses up what it was done to.
    pub fn changes(&self) -> bool {
        !matches!(self.method, "GET" | "HEAD")
    }

    /// Whether it ends the tokens of the persona that may do it.
    pub fn ends_personas(&self) -> bool {
        self.operation.rule == "identity:revoke_tokens_for_user" && self.target == Target::Itself
    }
}

/// The next place of a text: what is before it, its name, what is behind it.
pub fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let rest = &text[open + 1..];
        let name = &rest[..rest.find(|it: char| !it.is_ascii_lowercase() && !it.is_ascii_digit() && it != '_').unwrap_or(rest.len())];
        if name.starts_with(|it: char| it.is_ascii_lowercase()) && rest[name.len()..].starts_with('}') {
            return Some((&text[..open], name, &rest[name.len() + 1..]));
        }
        from = open + 1;
    }
}
