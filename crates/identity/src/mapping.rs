//! Federation mappings: rules that turn what an identity provider asserts into a user, groups and projects.
//!
//! Behaviour is that of `keystone.federation.utils` 30.0.0 in its attribute mapping versions 1.0, 2.0 and 3.0. Where Keystone keeps
//! values in sets we keep the order of the assertion, so that results can be repeated.

mod python;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;

use python::{FormatError, Taken};

/// Steps after which a regular expression is given up.
const BACKTRACK_LIMIT: usize = 100_000;

/// What a provider asserts: names of attributes with their values.
pub type Assertion = BTreeMap<String, Vec<String>>;

/// A mapping that is not well-formed; one complaint a line, in the words of Keystone's answer (400).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Complaint(String);

/// Why an assertion cannot be mapped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MappingError {
    /// No rule applies (Keystone: 400).
    #[error("Could not map any federated user properties to identity values. Check debug logs or the mapping used for additional details.")]
    NothingMapped,
    /// A template names a value that its rule does not take over (Keystone: 500).
    #[error("a local section of the mapping refers to a remote match that does not exist: {0:?}")]
    NoSuchMatch(String),
    /// A template is not one (Keystone: 500).
    #[error("a local section of the mapping has a malformed template: {0:?}")]
    BadTemplate(String),
    /// A regular expression is not one, or is not text (Keystone: 500).
    #[error("the mapping has an unusable regular expression: {0}")]
    BadRegex(String),
    /// A regular expression takes too long on this assertion.
    #[error("a regular expression of the mapping takes too long: {0}")]
    SlowRegex(String),
    /// Groups by name without a domain (Keystone: 400).
    #[error("Invalid rule: Both 'groups' and 'domain' keywords must be specified.")]
    GroupsWithoutDomain,
    /// A group in the `JSON:` form that is not an object with name and domain.
    #[error("the assertion has a group that is not an object with name and domain")]
    BadGroup,
    /// The provider's list of projects is not one (Keystone: 400); one complaint a line.
    #[error("{0}")]
    BadProjects(String),
}

/// The versions of mappings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Version {
    /// Domains of projects and users are those of the provider.
    #[default]
    V1,
    /// `domain` of a rule is the default domain of its projects and user.
    V2,
    /// Besides, projects may come from the provider as JSON, and assignments follow it.
    V3,
}

impl Version {
    /// Reads `1.0`, `2.0` or `3.0`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "1.0" => Some(Self::V1),
            "2.0" => Some(Self::V2),
            "3.0" => Some(Self::V3),
            _ => None,
        }
    }

    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
            Self::V3 => "3.0",
        }
    }
}

/// A domain by id or name; both may be absent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct DomainRef {
    /// The id.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
}

/// Whether the user lives only in the token or exists in Keystone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UserKind {
    /// Made of the assertion.
    #[default]
    Ephemeral,
    /// Found by id, or by name and domain.
    Local,
}

/// The user of a mapping; name and id may both be absent, which Keystone then fills from `REMOTE_USER` or refuses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MappedUser {
    /// The id.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The address.
    pub email: Option<String>,
    /// Its domain; absent means the one of the provider.
    pub domain: Option<DomainRef>,
    /// Ephemeral or local.
    pub kind: UserKind,
}

/// A group by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupRef {
    /// The name.
    pub name: String,
    /// Where the name is looked up.
    pub domain: DomainRef,
}

/// A project to be made if it is missing, with the roles the user gets in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappedProject {
    /// The name.
    pub name: String,
    /// Its domain; absent means the one of the provider.
    pub domain: Option<DomainRef>,
    /// Names of roles.
    pub roles: Vec<String>,
}

/// What an assertion maps to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mapped {
    /// The user.
    pub user: MappedUser,
    /// Groups by id, each once.
    pub group_ids: BTreeSet<String>,
    /// Groups by name, each once.
    pub group_names: Vec<GroupRef>,
    /// Projects.
    pub projects: Vec<MappedProject>,
}

/// The values of one attribute as a web server passes it on: `a;b`.
pub fn split_values(text: &str) -> Vec<String> {
    text.split(';').map(str::to_owned).collect()
}

/// A well-formed mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    version: Version,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    local: Vec<Value>,
    remote: Vec<Requirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    attribute: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    AnyOneOf(Patterns),
    NotAnyOf(Patterns),
    Blacklist(Patterns),
    Whitelist(Patterns),
}

#[derive(Clone, Debug)]
enum Patterns {
    Exact(Vec<String>),
    Regex(Vec<Result<Regex, String>>),
}

impl Mapping {
    /// Reads the `mapping` object of a request: `{"rules": […], "schema_version": "1.0"}`. Without a version it is 1.0. What Keystone
    /// refuses is refused; expressions and templates that cannot work are found when they are used, as there.
    ///
    /// # Errors
    /// All complaints.
    pub fn parse(value: &Value) -> Result<Self, Complaint> {
        let version = match value.get("schema_version") {
            None | Some(Value::Null) => Version::V1,
            Some(Value::String(text)) if text.is_empty() => Version::V1,
            Some(text) => text
                .as_str()
                .and_then(Version::parse)
                .ok_or_else(|| Complaint(format!("{} is not one of ['1.0', '2.0', '3.0']\n", python::repr(text))))?,
        };
        let mut value = value.clone();
        if let Some(object) = value.as_object_mut() {
            object.insert("schema_version".to_owned(), version.as_str().into());
        }
        let complaints = schema::complaints(&value, version);
        if !complaints.is_empty() {
            return Err(Complaint(complaints.iter().map(|it| format!("{it}\n")).collect()));
        }
        let rules = value.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::parse).collect();
        Ok(Self { version, rules })
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Maps an assertion.
    ///
    /// # Errors
    /// When no rule applies, or one that does cannot be carried out.
    pub fn apply(&self, assertion: &Assertion) -> Result<Mapped, MappingError> {
        let mut locals = Vec::new();
        for rule in &self.rules {
            let Some(taken) = rule.take(assertion)? else { continue };
            for local in &rule.local {
                locals.push(self.fill(local, &taken)?);
            }
        }
        self.collect(&locals)
    }

    /// A local section with its templates filled.
    fn fill(&self, local: &Value, taken: &[Taken]) -> Result<Value, MappingError> {
        let Some(object) = local.as_object().filter(|it| self.version == Version::V3 && it.contains_key("projects_json")) else {
            return fill(local, taken);
        };
        let filled = object.iter().map(|(key, value)| {
            let filled =
                if key == "projects_json" { projects_json(value.as_str().unwrap_or_default(), taken)? } else { fill(value, taken)? };
            Ok((key.clone(), filled))
        });
        Ok(Value::Object(filled.collect::<Result<_, MappingError>>()?))
    }

    fn collect(&self, locals: &[Value]) -> Result<Mapped, MappingError> {
        let last = locals.last().ok_or(MappingError::NothingMapped)?;
        let mut mapped = Mapped::default();
        let mut names = Vec::new();
        // The first user that says anything counts.
        let user = locals.iter().filter_map(|it| it.get("user")).find(|it| it.as_object().is_some_and(|user| !user.is_empty()));
        if let Some(user) = user {
            mapped.user = MappedUser {
                id: text(user, "id"),
                name: text(user, "name"),
                email: text(user, "email"),
                domain: domain(user),
                kind: if text(user, "type").as_deref() == Some("local") { UserKind::Local } else { UserKind::Ephemeral },
            };
        }
        if self.version >= Version::V2 && mapped.user.domain.as_ref().is_none_or(|it| *it == DomainRef::default()) {
            mapped.user.domain = domain(last);
        }
        for local in locals {
            if let Some(group) = local.get("group") {
                match (text(group, "id"), text(group, "name")) {
                    (Some(id), _) => {
                        mapped.group_ids.insert(id);
                    }
                    (None, Some(name)) => names.push(GroupRef { name, domain: domain(group).unwrap_or_default() }),
                    (None, None) => {}
                }
            }
            if let Some(groups) = text(local, "groups") {
                names.extend(groups_of(&groups, local)?);
            }
            if let Some(ids) = text(local, "group_ids") {
                mapped.group_ids.extend(python::literal_list(&ids));
            }
            // The last list of projects counts.
            if local.get("projects").is_some() || local.get("projects_json").is_some() {
                mapped.projects = self.projects_of(local);
            }
        }
        let mut seen = BTreeSet::new();
        mapped.group_names = names.into_iter().filter(|group| seen.insert(group.clone())).collect();
        Ok(mapped)
    }

    fn projects_of(&self, local: &Value) -> Vec<MappedProject> {
        let default = if self.version >= Version::V2 { domain(local) } else { None };
        let lists = ["projects", "projects_json"].into_iter().filter_map(|name| local.get(name).and_then(Value::as_array));
        let project = |it: &Value| {
            let roles = it.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(|role| text(role, "name"));
            let own = domain(it).filter(|it| *it != DomainRef::default());
            Some(MappedProject { name: text(it, "name")?, domain: own.or_else(|| default.clone()), roles: roles.collect() })
        };
        lists.flatten().filter_map(project).collect()
    }
}

impl Rule {
    fn parse(value: &Value) -> Self {
        let list = |name: &str| value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self { local: list("local").to_vec(), remote: list("remote").iter().map(Requirement::parse).collect() }
    }

    /// The values the rule takes over, or `None` when it does not apply.
    fn take(&self, assertion: &Assertion) -> Result<Option<Vec<Taken>>, MappingError> {
        let mut taken = Vec::new();
        for requirement in &self.remote {
            let Some(values) = assertion.get(&requirement.attribute).filter(|it| !it.is_empty()) else { return Ok(None) };
            match &requirement.test {
                Test::Present => taken.push(Taken::new(values.clone())),
                Test::AnyOneOf(patterns) => {
                    if patterns.matching(values)?.is_empty() {
                        return Ok(None);
                    }
                }
                Test::NotAnyOf(patterns) => {
                    if !patterns.matching(values)?.is_empty() {
                        return Ok(None);
                    }
                }
                Test::Whitelist(patterns) => taken.push(Taken::new(patterns.matching(values)?)),
                Test::Blacklist(patterns) => {
                    let bad = patterns.matching(values)?;
                    taken.push(Taken::new(unique(values.iter().filter(|it| !bad.contains(it)))));
                }
            }
        }
        Ok(Some(taken))
    }
}

impl Requirement {
    fn parse(value: &Value) -> Self {
        let regex = value.get("regex").and_then(Value::as_bool).unwrap_or(false);
        let patterns = |name: &str| value.get(name).and_then(Value::as_array).map(|list| Patterns::parse(list, regex));
        let test = if let Some(list) = patterns("any_one_of") {
            Test::AnyOneOf(list)
        } else if let Some(list) = patterns("not_any_of") {
            Test::NotAnyOf(list)
        } else if let Some(list) = patterns("blacklist") {
            Test::Blacklist(list)
        } else if let Some(list) = patterns("whitelist") {
            Test::Whitelist(list)
        } else {
            Test::Present
        };
        Self { attribute: text(value, "type").unwrap_or_default(), test }
    }
}

impl Patterns {
    fn parse(list: &[Value], regex: bool) -> Self {
        if regex {
            Self::Regex(list.iter().map(|it| it.as_str().ok_or_else(|| python::repr(it)).and_then(compile)).collect())
        } else {
            // A number or flag never equals a value of an assertion, which is text.
            Self::Exact(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
    }

    fn matching(&self, values: &[String]) -> Result<Vec<String>, MappingError> {
        match self {
            Self::Exact(list) => Ok(unique(values.iter().filter(|it| list.contains(it)))),
            Self::Regex(list) => {
                let mut found = Vec::new();
                for value in values {
                    if matches_any(list, value)? {
                        found.push(value.clone());
                    }
                }
                Ok(found)
            }
        }
    }
}

fn matches_any(list: &[Result<Regex, String>], value: &str) -> Result<bool, MappingError> {
    for regex in list {
        let regex = regex.as_ref().map_err(|text| MappingError::BadRegex(text.clone()))?;
        if regex.is_match(value).map_err(|_| MappingError::SlowRegex(regex.as_str().to_owned()))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compiles an expression of Python's `re`: its `\Z` is the very end, which is `\z` here.
fn compile(text: &str) -> Result<Regex, String> {
    let mut own = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        own.push(letter);
        if letter == '\\' {
            match letters.next() {
                Some('Z') => own.push('z'),
                Some(other) => own.push(other),
                None => {}
            }
        }
    }
    RegexBuilder::new(&own).backtrack_limit(BACKTRACK_LIMIT).build().map_err(|_| text.to_owned())
}

fn unique<'a>(values: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    values.filter(|it| seen.insert(*it)).cloned().collect()
}

fn fill(value: &Value, taken: &[Taken]) -> Result<Value, MappingError> {
    match value {
        Value::String(template) => match python::format(template, taken) {
            Ok(text) => Ok(Value::String(text)),
            Err(FormatError::NoSuchValue) => Err(MappingError::NoSuchMatch(template.clone())),
            Err(FormatError::BadTemplate) => Err(MappingError::BadTemplate(template.clone())),
        },
        Value::Array(list) => list.iter().map(|it| fill(it, taken)).collect::<Result<_, _>>().map(Value::Array),
        Value::Object(object) => {
            let members = object.iter().map(|(key, value)| Ok((key.clone(), fill(value, taken)?)));
            members.collect::<Result<_, MappingError>>().map(Value::Object)
        }
        other => Ok(other.clone()),
    }
}

/// The list of projects that stands as JSON text in the value the template names.
fn projects_json(template: &str, taken: &[Taken]) -> Result<Value, MappingError> {
    let index = python::leading_index(template).ok_or_else(|| MappingError::BadTemplate(template.to_owned()))?;
    let projects = match taken.get(index).ok_or_else(|| MappingError::NoSuchMatch(template.to_owned()))? {
        Taken::One(text) => {
            serde_json::from_str(text).map_err(|_| MappingError::BadProjects("the list of projects is not JSON\n".to_owned()))?
        }
        Taken::Many(list) => Value::from(list.clone()),
    };
    let complaints = schema::complaints_about_projects(&projects);
    if complaints.is_empty() {
        Ok(projects)
    } else {
        Err(MappingError::BadProjects(complaints.iter().map(|it| format!("{it}\n")).collect()))
    }
}

/// Groups of a rule, given as text that may be a printed list. Text that has `name` in it is a list of groups in the `JSON:` form,
/// which bring their domains; others are in the domain of the rule.
fn groups_of(groups: &str, local: &Value) -> Result<Vec<GroupRef>, MappingError> {
    let names = python::literal_list(groups);
    if !groups.contains("name") {
        let domain = domain(local).ok_or(MappingError::GroupsWithoutDomain)?;
        return Ok(names.into_iter().map(|name| GroupRef { name, domain: domain.clone() }).collect());
    }
    let group = |item: &String| {
        if !item.starts_with("JSON:") {
            return Err(MappingError::GroupsWithoutDomain);
        }
        let json = item.trim_start_matches(['J', 'S', 'O', 'N', ':']);
        let group: Value = serde_json::from_str(json).map_err(|_| MappingError::BadGroup)?;
        if !group.is_object() {
            return Err(MappingError::BadGroup);
        }
        let domain = match group.get("domain") {
            None => return Err(MappingError::GroupsWithoutDomain),
            Some(it) if it.is_object() => domain(&group).unwrap_or_default(),
            Some(_) => return Err(MappingError::BadGroup),
        };
        Ok(GroupRef { name: text(&group, "name").ok_or(MappingError::BadGroup)?, domain })
    };
    names.iter().map(group).collect()
}

fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn domain(object: &Value) -> Option<DomainRef> {
    let domain = object.get("domain").filter(|it| it.is_object())?;
    Some(DomainRef { id: text(domain, "id"), name: text(domain, "name") })
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
