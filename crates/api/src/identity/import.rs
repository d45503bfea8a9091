//! Taking over a Keystone: rows of its tables become objects here, under the ids they had there.
//!
//! What is here already is kept. An object of the same name within the same domain stands for the one that is brought, and what refers to that
//! refers to it: so the roles and the admin of both become one. Running it again brings only what was added there meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::access::{AccessRuleDesired, ApplicationCredentialDesired};
use model::identity::{
    AccessRule, Actor, ApplicationCredential, Assignment, AssignmentDesired, Domain, DomainDesired, Endpoint, EndpointDesired,
    FederatedIdentity, Group, GroupDesired, ImpliedRole, ImpliedRoleDesired, Membership, MembershipDesired, Project, ProjectDesired,
    Region, RegionDesired, Role, RoleDesired, Service, ServiceDesired, Target, User, UserDesired,
};
use model::password::{Options, PasswordState, PastPassword};
use model::{Id, Kind, Object, Secret, Timestamp};
use serde_json::{Map, Value};
use store::{Batch, Query, Store, StoreError, Wishes};

use super::noun::{EPOCH, Name, name_in};

/// What Keystone calls the parent of all domains.
const ROOT: &str = "<<keystone.domain.root>>";
/// Objects of one transaction.
const CHUNK: usize = 500;
/// The tables that are read.
pub const TABLES: [&str; 23] = [
    "project",
    "project_tag",
    "project_option",
    "user",
    "local_user",
    "nonlocal_user",
    "federated_user",
    "password",
    "user_option",
    "group",
    "user_group_membership",
    "role",
    "role_option",
    "implied_role",
    "assignment",
    "system_assignment",
    "region",
    "service",
    "endpoint",
    "application_credential",
    "application_credential_role",
    "application_credential_access_rule",
    "access_rule",
];

/// A row: the text of each column, whatever its type there; `None` for NULL.
pub type Row = BTreeMap<String, Option<String>>;
/// The rows of each table.
pub type Tables = BTreeMap<String, Vec<Row>>;

/// What became, or would become, of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Brought.
    pub made: usize,
    /// Here already, by id or by name.
    pub kept: usize,
    /// Not brought; the notes say why.
    pub left_out: usize,
}

/// What became, or would become, of all.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By kind.
    pub counts: BTreeMap<&'static str, Count>,
    /// What somebody should know.
    pub notes: Vec<String>,
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

fn optional(row: &Row, column: &str) -> Option<String> {
    row.get(column).cloned().flatten()
}

fn truth(row: &Row, column: &str) -> bool {
    matches!(text(row, column), "1" | "true" | "t" | "True")
}

fn extra(row: &Row) -> Map<String, Value> {
    match serde_json::from_str(text(row, "extra")) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn moment(row: &Row, whole: &str, date: &str) -> Option<Timestamp> {
    text(row, whole).parse::<i64>().ok().map(Timestamp).or_else(|| ::identity::ec2::parse_iso8601(&text(row, date).replacen(' ', "T", 1)))
}

/// Rows that name another by a column, by what they name.
fn grouped<'a>(rows: &'a [Row], column: &str) -> HashMap<&'a str, Vec<&'a Row>> {
    let mut out: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in rows {
        out.entry(row.get(column).and_then(Option::as_deref).unwrap_or_default()).or_default().push(row);
    }
    out
}

struct Import<'a> {
    store: &'a Store,
    tables: &'a Tables,
    report: Report,
    batch: Batch<Wishes>,
    size: usize,
    dry: bool,
    domains: HashMap<String, Id<Domain>>,
    projects: HashMap<String, Id<Project>>,
    users: HashMap<String, Id<User>>,
    groups: HashMap<String, Id<Group>>,
    roles: HashMap<String, Id<Role>>,
    services: HashMap<String, Id<Service>>,
    regions: HashMap<String, Id<Region>>,
}

/// Brings what the tables hold, or, if `dry`, says what it would bring.
///
/// # Errors
/// The store failed. What was brought before stays; running it again goes on.
pub async fn import(store: &Store, tables: &Tables, dry: bool) -> Result<Report, StoreError> {
    let mut it = Import {
        store,
        tables,
        report: Report::default(),
        batch: Batch::wishes(),
        size: 0,
        dry,
        domains: HashMap::new(),
        projects: HashMap::new(),
        users: HashMap::new(),
        groups: HashMap::new(),
        roles: HashMap::new(),
        services: HashMap::new(),
        regions: HashMap::new(),
    };
    it.domains().await?;
    it.projects().await?;
    it.users().await?;
    it.groups().await?;
    it.roles().await?;
    it.assignments().await?;
    it.catalog().await?;
    it.application_credentials().await?;
    it.flush().await?;
    Ok(it.report)
}

impl Import<'_> {
    fn rows(&self, table: &str) -> &[Row] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let batch = std::mem::replace(&mut self.batch, Batch::wishes());
        self.size = 0;
        if self.dry || batch.is_empty() {
            return Ok(());
        }
        self.store.apply(batch.bump(EPOCH)).await
    }

    fn note(&mut self, text: String) {
        self.report.notes.push(text);
    }

    fn count<K: Kind>(&mut self, count: impl FnOnce(&mut Count)) {
        count(self.report.counts.entry(K::NAME).or_default());
    }

    fn left_out<K: Kind>(&mut self, why: String) {
        self.count::<K>(|it| it.left_out += 1);
        self.note(why);
    }

    /// Stores an object unless one of its id or name is here; returns the id that stands for it.
    async fn bring<K: Kind>(&mut self, object: Object<K>, name: Option<Name>) -> Result<Id<K>, StoreError> {
        if self.store.get(&object.id).await?.is_some() {
            self.count::<K>(|it| it.kept += 1);
            return Ok(object.id);
        }
        if let Some(name) = &name
            && let Some(held) = self.store.allocation(&name.pool, &name.value).await?
            && let Some(id) = Id::parse(&held.holder)
        {
            self.count::<K>(|it| it.kept += 1);
            return Ok(id);
        }
        let id = object.id.clone();
        let mut batch = std::mem::replace(&mut self.batch, Batch::wishes()).create(&object);
        if let Some(name) = name {
            batch = batch.hold(&name.pool, &name.value, id.as_str());
        }
        self.batch = batch;
        self.size += 1;
        self.count::<K>(|it| it.made += 1);
        if self.size >= CHUNK {
            self.flush().await?;
        }
        Ok(id)
    }

    /// The id of a row, if it can be one here.
    fn id<K: Kind>(&mut self, text: &str) -> Option<Id<K>> {
        let id = Id::parse(text);
        if id.is_none() {
            self.left_out::<K>(format!("{} '{text}': no id here can be that", K::NAME));
        }
        id
    }

    async fn domains(&mut self) -> Result<(), StoreError> {
        let tags = tags(self.rows("project_tag"));
        let immutable = immutables(self.rows("project_option"), "project_id");
        for row in self.rows("project").to_vec().iter().filter(|row| truth(row, "is_domain") && text(row, "id") != ROOT) {
            let key = text(row, "id");
            let Some(id) = self.id::<Domain>(key) else { continue };
            let desired = DomainDesired {
                description: text(row, "description").to_owned(),
                enabled: truth(row, "enabled"),
                tags: tags.get(key).cloned().unwrap_or_default(),
                immutable: immutable.contains(key).then_some(true),
                extra: extra(row),
                config: BTreeMap::new(),
            };
            let name = text(row, "name");
            let id = self.bring(Object::new(id, None, name, desired), Some(name_in::<Domain>("", name))).await?;
            self.domains.insert(key.to_owned(), id);
        }
        self.flush().await
    }

    async fn projects(&mut self) -> Result<(), StoreError> {
        let tags = tags(self.rows("project_tag"));
        let immutable = immutables(self.rows("project_option"), "project_id");
        let mut left: Vec<Row> = self.rows("project").iter().filter(|row| !truth(row, "is_domain")).cloned().collect();
        // Those above first.
        loop {
            let before = left.len();
            for row in std::mem::take(&mut left) {
                let (key, parent) = (text(&row, "id"), text(&row, "parent_id"));
                let Some(domain_id) = self.domains.get(text(&row, "domain_id")).cloned() else {
                    self.left_out::<Project>(format!("project {key}: its domain was not brought"));
                    continue;
                };
                let parent_id = match self.projects.get(parent) {
                    Some(id) => Some(id.clone()),
                    None if parent.is_empty() || self.domains.contains_key(parent) => None,
                    None => {
                        left.push(row);
                        continue;
                    }
                };
                let Some(id) = self.id::<Project>(key) else { continue };
                let name = name_in::<Project>(domain_id.as_str(), text(&row, "name"));
                let desired = ProjectDesired {
                    domain_id,
                    parent_id,
                    description: text(&row, "description").to_owned(),
                    enabled: truth(&row, "enabled"),
                    tags: tags.get(key).cloned().unwrap_or_default(),
                    immutable: immutable.contains(key).then_some(true),
                    extra: extra(&row),
                };
                let id = self.bring(Object::new(id, None, text(&row, "name"), desired), Some(name)).await?;
                self.projects.insert(key.to_owned(), id);
            }
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        for row in left {
            self.left_out::<Project>(format!("project {}: the project above it was not brought", text(&row, "id")));
        }
        self.flush().await
    }

    async fn users(&mut self) -> Result<(), StoreError> {
        let tables = self.tables;
        let of = |table: &str| tables.get(table).map_or(&[][..], Vec::as_slice);
        let (local, nonlocal) = (grouped(of("local_user"), "user_id"), grouped(of("nonlocal_user"), "user_id"));
        let (federated, options) = (grouped(of("federated_user"), "user_id"), grouped(of("user_option"), "user_id"));
        let passwords = grouped(of("password"), "local_user_id");
        for row in of("user") {
            let key = text(row, "id");
            let own = local.get(key).and_then(|it| it.first()).copied();
            let named = own.or_else(|| nonlocal.get(key).and_then(|it| it.first()).copied());
            let outside: Vec<FederatedIdentity> = federated
                .get(key)
                .into_iter()
                .flatten()
                .map(|it| FederatedIdentity {
                    idp_id: text(it, "idp_id").to_owned(),
                    protocol_id: text(it, "protocol_id").to_owned(),
                    unique_id: text(it, "unique_id").to_owned(),
                })
                .collect();
            let shown = federated.get(key).and_then(|it| it.first()).map(|it| text(it, "display_name")).filter(|it| !it.is_empty());
            let Some(name) = named.map(|it| text(it, "name")).or(shown) else {
                self.left_out::<User>(format!("user {key}: it has no name"));
                continue;
            };
            let Some(domain_id) = self.domains.get(text(row, "domain_id")).cloned() else {
                self.left_out::<User>(format!("user {key}: its domain was not brought"));
                continue;
            };
            let Some(id) = self.id::<User>(key) else { continue };
            let mut extra = extra(row);
            let mut taken = |key: &str| match extra.get(key) {
                Some(Value::String(text)) => {
                    let text = text.clone();
                    extra.remove(key);
                    Some(text)
                }
                _ => None,
            };
            let (description, email) = (taken("description"), taken("email"));
            let history = own.and_then(|it| passwords.get(text(it, "id"))).map(|it| self.history(key, it)).unwrap_or_default();
            let failed = own.and_then(|it| text(it, "failed_auth_count").parse().ok()).unwrap_or(0);
            let last_failed_at = own.and_then(|it| moment(it, "", "failed_auth_at"));
            let desired = UserDesired {
                domain_id: domain_id.clone(),
                default_project_id: optional(row, "default_project_id").and_then(|it| Id::parse(&it)),
                description,
                email,
                enabled: row.get("enabled").is_none_or(Option::is_none) || truth(row, "enabled"),
                password_hash: None,
                extra,
                options: options.get(key).map(|it| options_of(it)).unwrap_or_default(),
                password: PasswordState { history, failed, last_failed_at, last_active_at: moment(row, "", "last_active_at") },
                federated: outside,
            };
            let mut object = Object::new(id, None, name, desired);
            object.created_at = moment(row, "", "created_at").unwrap_or(object.created_at);
            let id = self.bring(object, Some(name_in::<User>(domain_id.as_str(), name))).await?;
            if id.as_str() != key {
                self.note(format!("user {name} ({key}) is here as {id}: its password here stays"));
            }
            self.users.insert(key.to_owned(), id);
        }
        self.flush().await
    }

    /// A user's passwords, oldest first; those in a form that cannot be compared are left out.
    fn history(&mut self, user: &str, rows: &[&Row]) -> Vec<PastPassword> {
        const FORMS: [&str; 7] = ["$2a$", "$2b$", "$2y$", "$bcrypt-sha256$", "$scrypt$", "$pbkdf2-sha512$", "$argon2id$"];
        let mut out = Vec::new();
        for row in rows {
            let hash = text(row, "password_hash");
            if FORMS.iter().any(|form| hash.starts_with(form)) {
                out.push(PastPassword {
                    hash: Secret::new(hash),
                    created_at: moment(row, "created_at_int", "created_at").unwrap_or_default(),
                    expires_at: moment(row, "expires_at_int", "expires_at"),
                    self_service: truth(row, "self_service"),
                });
            } else if !hash.is_empty() {
                self.note(format!("user {user}: a password is hashed in a form that is not known here; it must be set anew"));
            }
        }
        out.sort_by_key(|it| it.created_at);
        out
    }

    async fn groups(&mut self) -> Result<(), StoreError> {
        for row in self.rows("group").to_vec() {
            let key = text(&row, "id");
            let Some(domain_id) = self.domains.get(text(&row, "domain_id")).cloned() else {
                self.left_out::<Group>(format!("group {key}: its domain was not brought"));
                continue;
            };
            let Some(id) = self.id::<Group>(key) else { continue };
            let name = name_in::<Group>(domain_id.as_str(), text(&row, "name"));
            let desired = GroupDesired { domain_id, description: text(&row, "description").to_owned(), extra: extra(&row) };
            let id = self.bring(Object::new(id, None, text(&row, "name"), desired), Some(name)).await?;
            self.groups.insert(key.to_owned(), id);
        }
        self.flush().await?;
        for row in self.rows("user_group_membership").to_vec() {
            match (self.users.get(text(&row, "user_id")), self.groups.get(text(&row, "group_id"))) {
                (Some(user_id), Some(group_id)) => {
                    let desired = MembershipDesired { user_id: user_id.clone(), group_id: group_id.clone(), expires_at: None };
                    self.bring(Object::<Membership>::new(desired.id(), None, "", desired), None).await?;
                }
                _ => self.left_out::<Membership>(format!(
                    "user {} in group {}: one was not brought",
                    text(&row, "user_id"),
                    text(&row, "group_id")
                )),
            }
        }
        self.flush().await
    }

    async fn roles(&mut self) -> Result<(), StoreError> {
        let immutable = immutables(self.rows("role_option"), "role_id");
        for row in self.rows("role").to_vec() {
            let key = text(&row, "id");
            // Keystone keeps a word where there is no domain.
            let domain = optional(&row, "domain_id").filter(|it| it != "<<null>>" && !it.is_empty());
            let domain_id = match &domain {
                None => None,
                Some(domain) => match self.domains.get(domain) {
                    Some(id) => Some(id.clone()),
                    None => {
                        self.left_out::<Role>(format!("role {key}: its domain was not brought"));
                        continue;
                    }
                },
            };
            let Some(id) = self.id::<Role>(key) else { continue };
            let name = name_in::<Role>(domain_id.as_ref().map_or("", Id::as_str), text(&row, "name"));
            let desired = RoleDesired {
                domain_id,
                description: optional(&row, "description"),
                immutable: immutable.contains(key).then_some(true),
                extra: extra(&row),
            };
            let id = self.bring(Object::new(id, None, text(&row, "name"), desired), Some(name)).await?;
            self.roles.insert(key.to_owned(), id);
        }
        self.flush().await?;
        for row in self.rows("implied_role").to_vec() {
            if let (Some(prior), Some(implied)) =
                (self.roles.get(text(&row, "prior_role_id")), self.roles.get(text(&row, "implied_role_id")))
            {
                let desired = ImpliedRoleDesired { prior_id: prior.clone(), implied_id: implied.clone() };
                self.bring(Object::<ImpliedRole>::new(desired.id(), None, "", desired), None).await?;
            }
        }
        self.flush().await
    }

    async fn assignments(&mut self) -> Result<(), StoreError> {
        let all: Vec<Row> = self.rows("assignment").iter().chain(self.rows("system_assignment")).cloned().collect();
        let mut seen: BTreeSet<Id<Assignment>> = BTreeSet::new();
        for row in all {
            let (kind, actor, target) = (text(&row, "type"), text(&row, "actor_id"), text(&row, "target_id"));
            let who = match kind.starts_with("User") {
                true => self.users.get(actor).cloned().map(Actor::User),
                false => self.groups.get(actor).cloned().map(Actor::Group),
            };
            let what = if kind.ends_with("System") {
                Some(Target::System)
            } else if kind.ends_with("Domain") {
                self.domains.get(target).cloned().map(Target::Domain)
            } else {
                self.projects.get(target).cloned().map(Target::Project)
            };
            match (who, what, self.roles.get(text(&row, "role_id")).cloned()) {
                (Some(who), Some(what), Some(role)) => {
                    let desired = AssignmentDesired::new(role, who, what, truth(&row, "inherited"));
                    // Two of theirs may be one of ours.
                    if seen.insert(desired.id()) {
                        self.bring(Object::<Assignment>::new(desired.id(), None, "", desired), None).await?;
                    }
                }
                _ => self.left_out::<Assignment>(format!("{kind} of {actor} on {target}: one of them was not brought")),
            }
        }
        self.flush().await
    }

    async fn catalog(&mut self) -> Result<(), StoreError> {
        let mut left = self.rows("region").to_vec();
        loop {
            let before = left.len();
            for row in std::mem::take(&mut left) {
                let (key, parent) = (text(&row, "id"), text(&row, "parent_region_id"));
                let parent_region_id = match self.regions.get(parent) {
                    None if !parent.is_empty() => {
                        left.push(row);
                        continue;
                    }
                    found => found.cloned(),
                };
                let Some(id) = self.id::<Region>(key) else { continue };
                let desired = RegionDesired { description: text(&row, "description").to_owned(), parent_region_id, extra: extra(&row) };
                let id = self.bring(Object::new(id, None, "", desired), None).await?;
                self.regions.insert(key.to_owned(), id);
            }
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        let theirs: BTreeSet<String> = self.rows("service").iter().map(|row| text(row, "id").to_owned()).collect();
        let ours = self.store.list(&Query::<Service>::new()).await?.into_iter().filter(|it| !theirs.contains(it.id.as_str()));
        let served: BTreeSet<String> = ours.map(|it| it.desired.service_type).collect();
        for row in self.rows("service").to_vec() {
            let (key, service_type) = (text(&row, "id"), text(&row, "type"));
            if served.contains(service_type) {
                self.left_out::<Service>(format!("service {service_type} ({key}): it is served here"));
                continue;
            }
            let Some(id) = self.id::<Service>(key) else { continue };
            let mut extra = extra(&row);
            let mut taken = |key: &str| extra.remove(key).and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
            let (name, description) = (taken("name"), taken("description"));
            let desired = ServiceDesired { service_type: service_type.to_owned(), description, enabled: truth(&row, "enabled"), extra };
            let id = self.bring(Object::new(id, None, name, desired), None).await?;
            self.services.insert(key.to_owned(), id);
        }
        self.flush().await?;
        for row in self.rows("endpoint").to_vec() {
            let key = text(&row, "id");
            let Some(service_id) = self.services.get(text(&row, "service_id")).cloned() else {
                self.count::<Endpoint>(|it| it.left_out += 1);
                continue;
            };
            let Some(id) = self.id::<Endpoint>(key) else { continue };
            let desired = EndpointDesired {
                service_id,
                region_id: self.regions.get(text(&row, "region_id")).cloned(),
                interface: text(&row, "interface").to_owned(),
                url: text(&row, "url").to_owned(),
                enabled: truth(&row, "enabled"),
                extra: extra(&row),
            };
            self.bring(Object::new(id, None, "", desired), None).await?;
        }
        self.flush().await
    }

    async fn application_credentials(&mut self) -> Result<(), StoreError> {
        let mut rules: HashMap<String, Id<AccessRule>> = HashMap::new();
        for row in self.rows("access_rule").to_vec() {
            let Some(user_id) = self.users.get(text(&row, "user_id")).cloned() else { continue };
            let Some(id) = self.id::<AccessRule>(text(&row, "external_id")) else { continue };
            let desired = AccessRuleDesired {
                user_id,
                service: text(&row, "service").to_owned(),
                method: text(&row, "method").to_owned(),
                path: text(&row, "path").to_owned(),
            };
            let id = self.bring(Object::new(id, None, "", desired), None).await?;
            rules.insert(text(&row, "id").to_owned(), id);
        }
        let tables = self.tables;
        let of = |table: &str| tables.get(table).map_or(&[][..], Vec::as_slice);
        let roles = grouped(of("application_credential_role"), "application_credential_id");
        let limits = grouped(of("application_credential_access_rule"), "application_credential_id");
        for row in of("application_credential") {
            let (key, internal, name) = (text(row, "id"), text(row, "internal_id"), text(row, "name"));
            let owner = self.users.get(text(row, "user_id")).cloned();
            let project = self.projects.get(text(row, "project_id")).cloned();
            let (Some(user_id), Some(of_project)) = (owner, project) else {
                self.left_out::<ApplicationCredential>(format!(
                    "application credential {name} ({key}): its user or project was not brought"
                ));
                continue;
            };
            let Some(id) = self.id::<ApplicationCredential>(key) else { continue };
            let role = |row: &&Row| self.roles.get(text(row, "role_id")).cloned();
            let access = |row: &&Row| rules.get(text(row, "access_rule_id")).cloned();
            let limited: Option<Vec<Id<AccessRule>>> = limits.get(internal).map(|it| it.iter().filter_map(access).collect());
            let desired = ApplicationCredentialDesired {
                description: optional(row, "description"),
                secret_hash: Secret::new(text(row, "secret_hash")),
                roles: roles.get(internal).into_iter().flatten().filter_map(role).collect(),
                expires_at: moment(row, "expires_at", "expires_at"),
                unrestricted: truth(row, "unrestricted"),
                access_rules: limited,
                user_id: user_id.clone(),
                of_project,
            };
            let held = name_in::<ApplicationCredential>(user_id.as_str(), name);
            self.bring(Object::new(id, None, name, desired), Some(held)).await?;
        }
        self.flush().await
    }
}

fn tags(rows: &[Row]) -> HashMap<String, Vec<String>> {
    let mut out: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        out.entry(text(row, "project_id").to_owned()).or_default().push(text(row, "name").to_owned());
    }
    out
}

/// The ids whose option `IMMU` says yes.
fn immutables(rows: &[Row], column: &str) -> BTreeSet<String> {
    let yes = rows.iter().filter(|row| text(row, "option_id") == "IMMU" && text(row, "option_value").contains("true"));
    yes.map(|row| text(row, column).to_owned()).collect()
}

/// A user's options, by the short names Keystone stores them under (Source: `keystone/identity/backends/resource_options.py`).
fn options_of(rows: &[&Row]) -> Options {
    let mut out = Options::default();
    for row in rows {
        let value: Value = serde_json::from_str(text(row, "option_value")).unwrap_or(Value::Null);
        let yes = value.as_bool();
        match text(row, "option_id") {
            "1000" => out.ignore_change_password_upon_first_use = yes,
            "1001" => out.ignore_password_expiry = yes,
            "1002" => out.ignore_lockout_failure_attempts = yes,
            "1003" => out.lock_password = yes,
            "1004" => out.ignore_user_inactivity = yes,
            "MFAR" => out.multi_factor_auth_rules = serde_json::from_value(value).ok(),
            "MFAE" => out.multi_factor_auth_enabled = yes,
            _ => {}
        }
    }
    out
}
