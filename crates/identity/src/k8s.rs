//! Webhooks of a Kubernetes API server: who a token is (TokenReview) and what a user may do (SubjectAccessReview).
//!
//! Bodies, policy files and their meaning are those of `k8s-keystone-auth` of cloud-provider-openstack (`pkg/identity/keystone`),
//! except that the `v1` versions of both reviews are understood besides `v1beta1`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Key of the role names in a user's extra data.
pub const EXTRA_ROLES: &str = "alpha.kubernetes.io/identity/roles";
/// Key of the project's id.
pub const EXTRA_PROJECT_ID: &str = "alpha.kubernetes.io/identity/project/id";
/// Key of the project's name.
pub const EXTRA_PROJECT_NAME: &str = "alpha.kubernetes.io/identity/project/name";
/// Key of the id of the user's domain.
pub const EXTRA_DOMAIN_ID: &str = "alpha.kubernetes.io/identity/user/domain/id";
/// Key of the name of the user's domain.
pub const EXTRA_DOMAIN_NAME: &str = "alpha.kubernetes.io/identity/user/domain/name";

/// Lists of text by key, as Kubernetes carries extra data.
pub type Extra = BTreeMap<String, Vec<String>>;

/// Why a review cannot be answered; all are the client's fault (400).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not one of the four API versions.
    #[error("unknown apiVersion {0:?}")]
    Version(String),
    /// Not a kind of review that belongs to this API version.
    #[error("unknown kind/apiVersion {kind:?} {version:?}")]
    Kind {
        /// `kind` of the body.
        kind: String,
        /// `apiVersion` of the body.
        version: String,
    },
    /// A member is absent or of the wrong type.
    #[error("{0} is missing or malformed")]
    Field(&'static str),
    /// Neither resource nor non-resource attributes.
    #[error("unable to find attributes")]
    NoAttributes,
}

/// A policy file that is not one; the text says where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot read the policy: {0}")]
pub struct PolicyError(String);

/// A review an API server asks for.
#[derive(Clone, PartialEq)]
pub enum Review {
    /// Who bears this token?
    Token(model::Secret),
    /// May this user do this?
    Access(Box<Attributes>),
}

impl Review {
    /// Reads the body of the webhook.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn parse(body: &Value) -> Result<Self, ReviewError> {
        let version = body.get("apiVersion").and_then(Value::as_str).ok_or(ReviewError::Field("apiVersion"))?;
        let kind = body.get("kind").and_then(Value::as_str).ok_or(ReviewError::Field("kind"))?;
        let (group, number) = version.split_once('/').unwrap_or((version, ""));
        if !matches!(group, "authentication.k8s.io" | "authorization.k8s.io") || !matches!(number, "v1" | "v1beta1") {
            return Err(ReviewError::Version(version.chars().take(80).collect()));
        }
        let spec = || body.get("spec").and_then(Value::as_object).ok_or(ReviewError::Field("spec"));
        match (kind, group) {
            ("TokenReview", "authentication.k8s.io") => {
                let token = spec()?.get("token").and_then(Value::as_str).ok_or(ReviewError::Field("spec.token"))?;
                Ok(Self::Token(model::Secret::new(token)))
            }
            ("SubjectAccessReview", "authorization.k8s.io") => Ok(Self::Access(Box::new(Attributes::parse(spec()?)?))),
            _ => Err(ReviewError::Kind { kind: kind.chars().take(80).collect(), version: version.to_owned() }),
        }
    }
}

impl std::fmt::Debug for Review {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(******)"),
            Self::Access(attributes) => attributes.fmt(f),
        }
    }
}

/// Who asks for what, as in the `spec` of a SubjectAccessReview.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// Name of the user.
    pub user: String,
    /// Id of the user, when the review has it.
    pub uid: String,
    /// Names of the user's groups.
    pub groups: Vec<String>,
    /// Roles and project; absent when the user was not authenticated by Keystone.
    pub extra: Option<Extra>,
    /// `get`, `list`, `create` …
    pub verb: String,
    /// What is asked for.
    pub asks: Asks,
}

/// An object of the API, or a path outside of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asks {
    /// An object.
    Resource {
        /// Empty for resources of the cluster.
        namespace: String,
        /// API group, empty for the core.
        group: String,
        /// API version.
        version: String,
        /// `pods` …
        resource: String,
        /// `log` …, often empty.
        subresource: String,
        /// Name of the object.
        name: String,
    },
    /// A path such as `/healthz`.
    Path(String),
}

impl Default for Asks {
    fn default() -> Self {
        Self::Path(String::new())
    }
}

impl Attributes {
    fn parse(spec: &Map<String, Value>) -> Result<Self, ReviewError> {
        let user = match spec.get("user") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(user)) => user.clone(),
            Some(_) => return Err(ReviewError::Field("spec.user")),
        };
        let uid = spec.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned();
        // v1beta1 calls the list `group`, v1 calls it `groups`.
        let groups = match spec.get("groups").or_else(|| spec.get("group")) {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => texts(list).ok_or(ReviewError::Field("spec.groups"))?,
        };
        let extra = match spec.get("extra") {
            None | Some(Value::Null) => None,
            Some(extra) => Some(text_lists(extra).ok_or(ReviewError::Field("spec.extra"))?),
        };
        let (verb, asks) = if let Some(it) = spec.get("resourceAttributes").filter(|it| !it.is_null()) {
            let field = |name| text_field(it, name, "spec.resourceAttributes");
            let asks = Asks::Resource {
                namespace: field("namespace")?,
                group: field("group")?,
                version: field("version")?,
                resource: field("resource")?,
                subresource: field("subresource")?,
                name: field("name")?,
            };
            (field("verb")?, asks)
        } else if let Some(it) = spec.get("nonResourceAttributes").filter(|it| !it.is_null()) {
            let field = |name| text_field(it, name, "spec.nonResourceAttributes");
            (field("verb")?, Asks::Path(field("path")?))
        } else {
            return Err(ReviewError::NoAttributes);
        };
        Ok(Self { user, uid, groups, extra, verb, asks })
    }

    fn extra(&self, key: &str) -> impl Iterator<Item = &str> {
        self.extra.iter().filter_map(move |extra| extra.get(key)).flatten().map(String::as_str)
    }
}

fn text_field(object: &Value, name: &str, at: &'static str) -> Result<String, ReviewError> {
    match object.as_object().ok_or(ReviewError::Field(at))?.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(ReviewError::Field(at)),
    }
}

fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|it| it.as_str().map(str::to_owned)).collect()
}

fn text_lists(object: &Value) -> Option<Extra> {
    object.as_object()?.iter().map(|(key, list)| Some((key.clone(), texts(list)?))).collect()
}

/// A user as the API server learns of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserInfo {
    /// Name of the user.
    pub username: String,
    /// Id of the user.
    pub uid: String,
    /// Names of the user's groups and the project's id.
    pub groups: Vec<String>,
    /// See the `EXTRA_…` keys.
    pub extra: Extra,
}

/// An id with its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    /// The id.
    pub id: &'a str,
    /// The name.
    pub name: &'a str,
}

impl UserInfo {
    /// The bearer of a project-scoped token; other tokens are refused by upstream, and the caller answers them with `None`.
    pub fn new(user: Named<'_>, user_domain: Named<'_>, project: Named<'_>, group_names: Vec<String>, role_names: Vec<String>) -> Self {
        let mut groups = group_names;
        groups.push(project.id.to_owned());
        let extra = [
            (EXTRA_ROLES, role_names),
            (EXTRA_PROJECT_ID, vec![project.id.to_owned()]),
            (EXTRA_PROJECT_NAME, vec![project.name.to_owned()]),
            (EXTRA_DOMAIN_ID, vec![user_domain.id.to_owned()]),
            (EXTRA_DOMAIN_NAME, vec![user_domain.name.to_owned()]),
        ];
        Self {
            username: user.name.to_owned(),
            uid: user.id.to_owned(),
            groups,
            extra: extra.into_iter().map(|(key, list)| (key.to_owned(), list)).collect(),
        }
    }
}

/// The body that answers a TokenReview: the review with its status. Upstream sends it with 200, or with 401 when there is no `user`.
pub fn token_review_answer(review: &Value, user: Option<&UserInfo>) -> Value {
    let status = match user {
        Some(user) => json!({
            "authenticated": true,
            "user": {"username": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra},
        }),
        None => json!({"authenticated": false, "user": {"username": "", "uid": "", "groups": null, "extra": null}}),
    };
    with_status(review, status)
}

/// The body that answers a SubjectAccessReview, sent with 200: the review without its `spec`, with its status. A refusal does not say
/// `denied`, so that the API server may still ask its next authoriser.
pub fn access_review_answer(review: &Value, decision: Decision) -> Value {
    let mut answer = with_status(review, json!({"allowed": decision == Decision::Allowed}));
    if let Some(object) = answer.as_object_mut() {
        object.remove("spec");
    }
    answer
}

fn with_status(review: &Value, status: Value) -> Value {
    let mut answer = review.as_object().cloned().unwrap_or_default();
    answer.insert("status".to_owned(), status);
    Value::Object(answer)
}

/// What a policy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Some entry allows it.
    Allowed,
    /// No entry allows it; the reason is for the log.
    Denied(&'static str),
}

/// A policy file: a list of entries, each of which can only allow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Entry {
    users: Option<Extra>,
    resource_permissions: Option<Extra>,
    nonresource_permissions: Option<Extra>,
    resource: Option<ResourceRule>,
    nonresource: Option<PathRule>,
    matches: Vec<Match>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct ResourceRule {
    verbs: Vec<String>,
    resources: Vec<String>,
    group: Option<String>,
    namespace: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct PathRule {
    verbs: Vec<String>,
    path: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Match {
    kind: String,
    values: Vec<String>,
}

impl Policy {
    /// Reads a policy file (JSON): entries of both versions, also mixed in one entry. `null` is the empty policy.
    ///
    /// # Errors
    /// Where and why the text is not a policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let value: Value = serde_json::from_str(text).map_err(|error| PolicyError(error.to_string()))?;
        let entries = match &value {
            Value::Null => &[],
            Value::Array(entries) => entries.as_slice(),
            _ => return Err(PolicyError("not a list".to_owned())),
        };
        let entries: Result<Vec<Entry>, String> =
            entries.iter().enumerate().map(|(at, entry)| Entry::parse(entry).map_err(|why| format!("entry {at}: {why}"))).collect();
        entries.map(|entries| Self { entries }).map_err(PolicyError)
    }

    /// Whether the file has no entry at all, and so allows nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether some entry allows what is asked for.
    pub fn decide(&self, asked: &Attributes) -> Decision {
        if self.entries.is_empty() {
            return Decision::Denied("No policy is set.");
        }
        if asked.extra.is_none() {
            return Decision::Denied("No auth info found.");
        }
        if self.entries.iter().any(|entry| entry.allows(asked)) { Decision::Allowed } else { Decision::Denied("No policy matched.") }
    }
}

/// A member by name; the case does not matter when no name is exact, as in Go's decoder. A `null` is an absent member.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|it| !it.is_null())
}

fn list_member(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    member(object, name).map_or(Ok(Vec::new()), |list| list_of(list).ok_or_else(|| format!("{name} is not a list of strings")))
}

/// A list of strings in which `null` stands for the empty string, as in Go's decoder.
fn list_of(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|it| if it.is_null() { Some(String::new()) } else { it.as_str().map(str::to_owned) }).collect()
}

fn lists_member(object: &Map<String, Value>, name: &str) -> Result<Option<Extra>, String> {
    let complaint = || format!("{name} is not a map of lists of strings");
    let Some(lists) = member(object, name) else { return Ok(None) };
    let lists = lists.as_object().ok_or_else(complaint)?.iter();
    let lists: Option<Extra> =
        lists.map(|(key, list)| Some((key.clone(), if list.is_null() { Vec::new() } else { list_of(list)? }))).collect();
    lists.map(Some).ok_or_else(complaint)
}

fn text_member(object: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    let text = |it: &Value| it.as_str().map(str::to_owned).ok_or_else(|| format!("{name} is not a string"));
    member(object, name).map(text).transpose()
}

fn object_member<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    member(object, name).map(|it| it.as_object().ok_or_else(|| format!("{name} is not an object"))).transpose()
}

impl Entry {
    fn parse(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("not an object")?;
        let resource = object_member(object, "resource")?.map(|it| -> Result<_, String> {
            Ok(ResourceRule {
                verbs: list_member(it, "verbs")?,
                resources: list_member(it, "resources")?,
                group: text_member(it, "version")?,
                namespace: text_member(it, "namespace")?,
            })
        });
        let nonresource = object_member(object, "nonresource")?
            .map(|it| -> Result<_, String> { Ok(PathRule { verbs: list_member(it, "verbs")?, path: text_member(it, "path")? }) });
        let matches = match member(object, "match") {
            None => &[],
            Some(list) => list.as_array().ok_or("match is not a list")?.as_slice(),
        };
        let matches = matches.iter().map(|it| -> Result<_, String> {
            let it = it.as_object().ok_or("match has an element that is not an object")?;
            Ok(Match { kind: text_member(it, "type")?.unwrap_or_default(), values: list_member(it, "values")? })
        });
        Ok(Self {
            users: lists_member(object, "users")?,
            resource_permissions: lists_member(object, "resource_permissions")?,
            nonresource_permissions: lists_member(object, "nonresource_permissions")?,
            resource: resource.transpose()?,
            nonresource: nonresource.transpose()?,
            matches: matches.collect::<Result<_, _>>()?,
        })
    }

    fn allows(&self, asked: &Attributes) -> bool {
        if self.users.as_ref().is_some_and(|users| !speaks_of(users, asked)) {
            return false;
        }
        // The newer form of an entry hides the older one.
        match &asked.asks {
            Asks::Resource { namespace, group, resource, subresource, .. } => match (&self.resource_permissions, &self.resource) {
                (Some(permissions), _) => permitted(permissions, namespace, resource, &asked.verb),
                (None, Some(rule)) => rule.fits(namespace, group, resource, subresource, &asked.verb) && self.matches(asked),
                (None, None) => false,
            },
            Asks::Path(path) => match (&self.nonresource_permissions, &self.nonresource) {
                (Some(permissions), _) => permissions.get(path).is_some_and(|verbs| has(verbs, &asked.verb) || has(verbs, "*")),
                (None, Some(rule)) => rule.fits(path, &asked.verb) && self.matches(asked),
                (None, None) => false,
            },
        }
    }

    /// All conditions must hold; a condition of unknown type never does.
    fn matches(&self, asked: &Attributes) -> bool {
        self.matches.iter().all(|Match { kind, values }| {
            let any = |key| asked.extra(key).any(|it| has(values, it));
            match kind.as_str() {
                "user" | "group" | "project" | "role" if has(values, "*") => true,
                "user" => has(values, &asked.user) || has(values, &asked.uid),
                "group" => asked.groups.iter().any(|it| has(values, it)),
                "project" => any(EXTRA_PROJECT_ID) || any(EXTRA_PROJECT_NAME),
                "role" => any(EXTRA_ROLES),
                _ => false,
            }
        })
    }
}

fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|it| it == text)
}

/// The user must have all roles and be in one of the projects. Other keys mean nothing to upstream.
fn speaks_of(users: &Extra, asked: &Attributes) -> bool {
    let named = |key: &str| users.get(key).map(Vec::as_slice).unwrap_or_default();
    let roles: BTreeSet<&str> = asked.extra(EXTRA_ROLES).collect();
    named("roles").iter().all(|role| roles.contains(role.as_str()))
        && asked.extra(EXTRA_PROJECT_NAME).chain(asked.extra(EXTRA_PROJECT_ID)).any(|project| has(named("projects"), project))
}

/// Version 2: keys are `namespace/resource`, values are verbs. Keys with more or fewer parts mean nothing, and subresources belong to
/// their resource.
fn permitted(permissions: &Extra, namespace: &str, resource: &str, verb: &str) -> bool {
    permissions.iter().any(|(key, verbs)| {
        let mut parts = key.split('/');
        let (Some(namespaces), Some(resources), None) = (parts.next(), parts.next(), parts.next()) else { return false };
        let namespaces = namespaces.trim().to_lowercase();
        // What is outside of namespaces is only reached by `*`.
        (namespaces == "*" || !namespace.is_empty())
            && covers(&namespaces, namespace)
            && covers(&resources.trim().to_lowercase(), resource)
            && verbs.iter().any(|it| it == "*" || it.to_lowercase() == verb)
    })
}

/// Whether a definition (`x`, `*`, `!x`, `['x', 'y']`, `!['x', 'y']`) covers a name.
fn covers(definition: &str, name: &str) -> bool {
    if definition == name || definition == "*" || name.is_empty() {
        return true;
    }
    let (negated, rest) = match definition.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, definition),
    };
    if !rest.starts_with('[') {
        return negated && rest != name && rest != "*";
    }
    if rest.find(']') != Some(rest.len() - 1) {
        return false;
    }
    let Ok(items) = serde_json::from_str::<Vec<Option<String>>>(&rest.replace('\'', "\"")) else { return false };
    let listed = items.iter().flatten().any(|it| it == name || it == "*");
    listed != negated
}

impl ResourceRule {
    /// Without `version` or `namespace` upstream fails on every request, so such a rule fits nothing.
    fn fits(&self, namespace: &str, group: &str, resource: &str, subresource: &str, verb: &str) -> bool {
        let is = |rule: &Option<String>, text: &str| rule.as_deref().is_some_and(|rule| rule == "*" || rule == text);
        let named = if subresource.is_empty() {
            has(&self.resources, resource)
        } else {
            has(&self.resources, &format!("{resource}/*")) || has(&self.resources, &format!("{resource}/{subresource}"))
        };
        is(&self.group, group)
            && is(&self.namespace, namespace)
            && (named || has(&self.resources, "*"))
            && (has(&self.verbs, "*") || has(&self.verbs, verb))
    }
}

impl PathRule {
    /// A rule with an empty verb fits nothing; `/api/*` fits all paths below.
    fn fits(&self, path: &str, verb: &str) -> bool {
        let Some(rule) = self.path.as_deref() else { return false };
        !has(&self.verbs, "")
            && (has(&self.verbs, "*") || has(&self.verbs, verb))
            && (rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*'))))
    }
}

#[cfg(test)]
#[path = "k8s_tests.rs"]
mod tests;
