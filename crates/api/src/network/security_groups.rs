//! `/v2.0/security-groups`, and the default group that every project has.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::Port;
use model::net::security::{SecurityGroup, SecurityGroupDesired, SecurityGroupRule, SecurityGroupRuleDesired};
use model::{Id, Object};
use network::rules::normal_form;
use policy::Target;
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Shares, Work, field, shared_to, tagged_routes};
use super::policies::of_project;
use super::security_group_rules as rules;
use super::{Ask, Extension, access, default_rules, extension, logs};
use crate::App;
use crate::enforce::allows;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("security-group", "security-group", "The security groups extension.", "2012-10-05T10:00:00-00:00"),
    extension(
        "stateful-security-group",
        "Stateful security group",
        "Indicates if the security group is stateful or not",
        "2019-11-26T09:00:00-00:00",
    ),
    extension(
        "security-groups-shared-filtering",
        "Security group filtering on the shared field",
        "Support filtering security groups on the shared field",
        "2021-10-05T09:00:00-00:00",
    ),
];

/// The pool whose values are projects, each held by its default group.
const DEFAULTS: &str = "default-sg";
/// What default groups are called; nothing else may be.
const DEFAULT: &str = "default";
/// Most projects whose default group is remembered.
const MOST: usize = 10_000;

/// What is remembered between requests about security groups.
#[derive(Default)]
pub(crate) struct Remembered {
    defaults: Mutex<HashMap<Id<Project>, Id<SecurityGroup>>>,
    /// Whether the rules that new groups begin with are known to be in the store.
    pub(super) seeded: AtomicBool,
}

impl Remembered {
    fn get(&self, project: &Id<Project>) -> Option<Id<SecurityGroup>> {
        self.defaults.lock().ok().and_then(|it| it.get(project).cloned())
    }

    fn put(&self, project: &Id<Project>, group: &Id<SecurityGroup>) {
        if let Ok(mut defaults) = self.defaults.lock() {
            // Whoever is forgotten is looked up once more.
            if defaults.len() >= MOST {
                defaults.clear();
            }
            defaults.insert(project.clone(), group.clone());
        }
    }

    fn forget(&self, project: &Id<Project>) {
        if let Ok(mut defaults) = self.defaults.lock() {
            defaults.remove(project);
        }
    }
}

pub(super) fn routes() -> Router<Arc<App>> {
    tagged_routes::<SecurityGroup>()
}

/// What is read beside security groups.
#[derive(Default)]
pub(crate) struct Around {
    shares: Arc<Shares>,
    project: Option<Id<Project>>,
    /// By group.
    rules: HashMap<String, Vec<Object<SecurityGroupRule>>>,
}

static FORM: LazyLock<Form<SecurityGroup>> = LazyLock::new(|| {
    Form::new("security_group", "security_groups", "security-groups", "SecurityGroupNotFound", "Security group")
        .not_found_says(not_found_text)
        .shareable("security_group")
        .standard()
        .fields(vec![
            field("stateful", |it: &Object<SecurityGroup>, _| json!(it.desired.stateful))
                .set(|it, v| put(&mut it.desired.stateful, value::boolean(v)))
                .filter(),
            field("shared", |it: &Object<SecurityGroup>, around: &Around| {
                json!(around.shares.is_shared(it.id.as_str(), around.project.as_ref()))
            })
            .filter(),
            field("security_group_rules", |it: &Object<SecurityGroup>, around: &Around| {
                around.rules.get(it.id.as_str()).map_or_else(|| json!([]), |them| them.iter().map(rules::shown).collect())
            }),
        ])
});

fn not_found_text(id: &str) -> String {
    format!("Security group {id} does not exist")
}

/// There is no such group, or there are no such groups, for the caller.
pub(super) fn not_found(id: &str) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "SecurityGroupNotFound", not_found_text(id))
}

fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

fn name_is_free(name: &str) -> Result<(), Failure> {
    let is_taken = name.eq_ignore_ascii_case(DEFAULT);
    if is_taken { Err(conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")) } else { Ok(()) }
}

fn in_use(group: &Object<SecurityGroup>) -> Failure {
    conflict("SecurityGroupInUse", format!("Security Group {} in use.", group.id))
}

impl Noun for SecurityGroup {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SecurityGroupDesired, Failure> {
        Ok(SecurityGroupDesired { description: String::new(), tags: Vec::new(), stateful: true, is_default: false })
    }

    async fn around(ask: &Ask, groups: &[Object<Self>]) -> Result<Around, Failure> {
        let fields = ask.parameters.fields();
        let mut rules: HashMap<String, Vec<Object<SecurityGroupRule>>> = HashMap::new();
        if fields.is_empty() || fields.iter().any(|it| it == "security_group_rules") {
            let query = Query::<SecurityGroupRule>::new().column("security_group_id", groups.iter().map(|it| it.id.to_string()));
            let read = if groups.len() == 1 { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
            for rule in read {
                rules.entry(rule.desired.security_group_id.to_string()).or_default().push(rule);
            }
        }
        Ok(Around { shares: ask.shares().await?, project: ask.caller.project_id.clone(), rules })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        shared_to(object, &around.shares, around.project.as_ref())
    }

    async fn before_list(ask: &Ask) -> Result<(), Failure> {
        before_list(ask).await
    }

    async fn create(work: &mut Work<'_>, group: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        name_is_free(&group.name)?;
        let Some(project) = group.project_id.clone() else { return Ok(()) };
        if !body.contains_key("stateful") {
            group.desired.stateful = default_rules::is_stateful(work.ask, &project).await?;
        }
        ensure(work.ask, &project).await?;
        begin(work, group, &project).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if body.contains_key("name") {
            name_is_free(&after.name)?;
            if before.desired.is_default {
                return Err(conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed."));
            }
        }
        if before.desired.stateful != after.desired.stateful {
            work.referenced_means::<Port>("security_groups", in_use(before));
            work.step(|batch| batch.unless_linked::<Port>("security_groups", before.id.as_str()));
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, group: &Object<Self>) -> Result<(), Failure> {
        let ask = work.ask;
        if group.desired.is_default {
            remove_default(work, group).await?;
        }
        logs::forget(work, "resource_id", group.id.as_str()).await?;
        work.referenced_means::<Port>("security_groups", in_use(group));
        work.step(|batch| batch.unless_linked::<Port>("security_groups", group.id.as_str()));
        let own = Query::<SecurityGroupRule>::new().column("security_group_id", [group.id.to_string()]);
        for rule in ask.app.store.list(&own).await? {
            work.step(|batch| batch.remove(&rule));
        }
        // Rules of other groups that name this one go with it, as in Neutron.
        let naming = Query::<SecurityGroupRule>::new().column("remote_group_id", [group.id.to_string()]);
        for rule in ask.app.store.list(&naming).await? {
            work.step(|batch| batch.free(&rules::pool(&rule.desired.security_group_id), &normal_form(&rule.desired.matches)).remove(&rule));
        }
        work.referenced_means::<SecurityGroupRule>("remote_group_id", in_use(group));
        work.step(|batch| {
            let batch = batch.unless_referenced::<SecurityGroupRule>("remote_group_id", group.id.as_str());
            batch.forget_pool(&rules::pool(&group.id)).remove(group)
        });
        access::unshare_all(work, group).await
    }
}

/// Administrators may remove a project's default group: the next that needs it makes another.
async fn remove_default(work: &mut Work<'_>, group: &Object<SecurityGroup>) -> Result<(), Failure> {
    let ask = work.ask;
    if !allows(&ask.app, &ask.caller, "network:context_is_admin", &of_project(group.project_id.as_ref())) {
        // Which of two reasons is given matters to clients: ports come first.
        let ports = Query::<Port>::new().linked("security_groups", [group.id.to_string()]).limit(1);
        if !ask.app.store.list_few(&ports).await?.is_empty() {
            return Err(in_use(group));
        }
        return Err(conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group."));
    }
    if let Some(project) = &group.project_id {
        ask.app.network.security_groups.forget(project);
        work.step(|batch| batch.free(DEFAULTS, project.as_str()));
    }
    Ok(())
}

/// The default group of a project, which is made if there is none. It is to be required by what refers to it: it may be remembered from
/// before an administrator removed it. An attempt after a lost one looks again.
///
/// # Errors
/// The store failed.
pub(super) async fn default_group(work: &mut Work<'_>, project: &Id<Project>) -> Result<Id<SecurityGroup>, Failure> {
    let remembered = if work.tries == 0 { work.ask.app.network.security_groups.get(project) } else { None };
    match remembered {
        Some(id) => Ok(id),
        None => ensure(work.ask, project).await,
    }
}

/// The default group of a project, which is made if there is none.
///
/// # Errors
/// The store failed.
async fn ensure(ask: &Ask, project: &Id<Project>) -> Result<Id<SecurityGroup>, Failure> {
    let mut tries = 0;
    loop {
        let held = ask.app.store.allocation(DEFAULTS, project.as_str()).await?;
        if let Some(id) = held.and_then(|it| Id::parse(&it.holder)) {
            ask.app.network.security_groups.put(project, &id);
            return Ok(id);
        }
        let mut work = Work::new(ask, tries);
        let stateful = default_rules::is_stateful(ask, project).await?;
        let desired = SecurityGroupDesired { description: "Default security group".into(), tags: Vec::new(), stateful, is_default: true };
        let group = Object::new(Id::random(), Some(project.clone()), DEFAULT, desired);
        work.step(|batch| batch.hold(DEFAULTS, project.as_str(), group.id.as_str()));
        begin(&mut work, &group, project).await?;
        work.step(|batch| batch.create(&group));
        // Made by this attempt or by another: the next look finds it.
        work.apply().await?;
        tries += 1;
    }
}

/// Gives a new group the rules that groups begin with.
async fn begin(work: &mut Work<'_>, group: &Object<SecurityGroup>, project: &Id<Project>) -> Result<(), Failure> {
    let mut given = BTreeSet::new();
    let pool = rules::pool(&group.id);
    for template in default_rules::all(work.ask).await? {
        let template = template.desired;
        if !(if group.desired.is_default { template.used_in_default_sg } else { template.used_in_non_default_sg }) {
            continue;
        }
        let mut matches = template.matches;
        if !rules::has_remotes(work.ask, &matches).await? {
            continue;
        }
        if template.remote_is_parent {
            matches.remote_group_id = Some(group.id.clone());
        }
        let normal = normal_form(&matches);
        if !given.insert(normal.clone()) {
            continue;
        }
        let desired = SecurityGroupRuleDesired {
            security_group_id: group.id.clone(),
            matches,
            description: String::new(),
            belongs_to_default_sg: group.desired.is_default,
        };
        let rule = Object::<SecurityGroupRule>::new(Id::random(), Some(project.clone()), "", desired);
        work.count(&rule).await?;
        work.step(|batch| batch.hold(&pool, &normal, rule.id.as_str()).create(&rule));
    }
    Ok(())
}

/// Lists of groups and of rules have the default group made of the project they are about, if the caller may have that.
///
/// # Errors
/// The store failed.
pub(super) async fn before_list(ask: &Ask) -> Result<(), Failure> {
    let named = ask.parameters.first("project_id").or_else(|| ask.parameters.first("tenant_id"));
    let project = match named {
        Some(text) => Id::parse(text),
        None => ask.caller.project_id.clone(),
    };
    let Some(project) = project else { return Ok(()) };
    if allows(&ask.app, &ask.caller, "create_default_security_group", &of_project(Some(&project))) {
        ensure(ask, &project).await?;
    }
    Ok(())
}

/// The groups that a port of that project names, each once and in the order they were given: the project's own and those shared with it,
/// for administrators any. Their rules are not read. They are to be required by the port.
///
/// # Errors
/// Some are not there for the project, or some keep state and others do not.
pub(super) async fn of_port(
    ask: &Ask,
    project: Option<&Id<Project>>,
    named: &[Id<SecurityGroup>],
) -> Result<Vec<Object<SecurityGroup>>, Failure> {
    let shares = ask.shares().await?;
    let is_admin = allows(&ask.app, &ask.caller, "network:context_is_admin", &Value::Null);
    let mut groups: Vec<Object<SecurityGroup>> = Vec::with_capacity(named.len());
    let mut missing = Vec::new();
    for id in named {
        if groups.iter().any(|it| it.id == *id) {
            continue;
        }
        let found: Option<Object<SecurityGroup>> = ask.app.store.get(id).await?;
        let is_seen = |it: &Object<SecurityGroup>| {
            is_admin || project.is_none() || it.project_id.as_ref() == project || shares.is_shared(id.as_str(), project)
        };
        match found.filter(is_seen) {
            Some(group) => groups.push(group),
            None => missing.push(id.to_string()),
        }
    }
    if !missing.is_empty() {
        return Err(not_found(&missing.join(", ")));
    }
    if groups.iter().any(|it| it.desired.stateful) && groups.iter().any(|it| !it.desired.stateful) {
        let text = "Error Cannot apply both stateful and stateless security groups on the same port at the same time while attempting the \
                    operation.";
        return Err(conflict("SecurityGroupConflict", text));
    }
    Ok(groups)
}
