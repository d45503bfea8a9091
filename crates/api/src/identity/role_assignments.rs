//! The list of role assignments: as they were given, or (`effective`) as they come out: of groups their members, of inherited ones the
//! projects below, of roles those they imply.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use model::identity::{Actor, Assignment, Domain, Group, Membership, Project, Role, Target, User};
use model::{Id, Kind, Object, Timestamp};
use serde_json::{Value, json};
use store::Query;

use super::ask::{Ask, missing};
use super::effective::{Inference, ancestors, groups_of, subtree};
use super::groups::holds;
use super::noun::{self, Noun};
use super::{schemas, token};
use crate::App;
use crate::failure::Failure;

/// Most values one query is asked for.
const PART: usize = 5_000;

/// The objects of these ids, by few queries.
pub(super) async fn by_ids<K: Kind>(app: &App, ids: BTreeSet<String>) -> Result<Vec<Object<K>>, Failure> {
    let ids: Vec<String> = ids.into_iter().collect();
    let mut out = Vec::with_capacity(ids.len());
    for part in ids.chunks(PART) {
        out.extend(app.store.list(&Query::<K>::new().ids(part.iter().cloned())).await?);
    }
    Ok(out)
}

/// The objects whose column has one of these values, by few queries.
pub(super) async fn by_column<K: Kind>(app: &App, column: &str, values: BTreeSet<String>) -> Result<Vec<Object<K>>, Failure> {
    let values: Vec<String> = values.into_iter().collect();
    let mut out = Vec::new();
    for part in values.chunks(PART) {
        out.extend(app.store.list(&Query::<K>::new().column(column, part.iter().cloned())).await?);
    }
    Ok(out)
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    actor: Actor,
    target: Target,
    role: Id<Role>,
    /// Whether it was given for the projects below the target; of what came out of such a grant see `from`.
    inherited: bool,
    /// The group by which the user has it.
    by_group: Option<Id<Group>>,
    /// Where the grant is that it was inherited from.
    from: Option<Target>,
    /// The role that implies this one.
    prior: Option<Id<Role>>,
}

impl Line {
    fn of(given: &Object<Assignment>) -> Option<Self> {
        let desired = &given.desired;
        let actor = match (&desired.user_id, &desired.group_id) {
            (Some(user), _) => Actor::User(user.clone()),
            (None, Some(group)) => Actor::Group(group.clone()),
            (None, None) => return None,
        };
        let (target, role, inherited) = (desired.target.clone(), desired.role_id.clone(), desired.inherited);
        Some(Self { actor, target, role, inherited, by_group: None, from: None, prior: None })
    }
}

/// What a request wants listed.
struct Wanted {
    role: Option<String>,
    user: Option<String>,
    group: Option<String>,
    domain: Option<String>,
    project: Option<Tree>,
    /// Only what is given on the system.
    system: bool,
    /// Only what is inherited, or only what is not.
    inherited: Option<bool>,
}

/// What a tree of projects begins with.
enum Root {
    Project(Object<Project>),
    /// A domain stands for the project above all of its projects. Roles are given on the domain, or on one of those: never on it.
    Domain(Object<Domain>),
}

impl Root {
    async fn get(app: &App, id: &str) -> Result<Option<Self>, Failure> {
        if let Some(project) = noun::get::<Project>(app, id).await? {
            return Ok(Some(Self::Project(project)));
        }
        Ok(noun::get::<Domain>(app, id).await?.map(Self::Domain))
    }

    /// What rules are asked about.
    fn target(&self) -> Value {
        match self {
            Self::Project(it) => json!({"project": Project::target(it), "domain_id": it.desired.domain_id}),
            // As in Keystone, where it is in no domain itself: only whoever may everywhere may here.
            Self::Domain(it) => {
                let mut project = Domain::target(it);
                project["domain_id"] = Value::Null;
                json!({"project": project, "domain_id": null})
            }
        }
    }
}

/// A project a request names.
struct Tree {
    /// As named: it need not be there.
    id: String,
    /// If it was looked for.
    root: Option<Root>,
    /// Those below, if they are wanted too.
    below: Option<Vec<Object<Project>>>,
}

impl Tree {
    /// The ids of the projects that are wanted.
    fn ids(&self) -> Vec<String> {
        let below = self.below.iter().flatten().map(|it| it.id.to_string());
        let own = (!matches!(self.root, Some(Root::Domain(_)))).then(|| self.id.clone());
        own.into_iter().chain(below).collect()
    }
}

/// A parameter that has a value.
fn given<'a>(ask: &'a Ask, name: &str) -> Option<&'a str> {
    ask.parameters.first(name).filter(|it| !it.is_empty())
}

/// Refuses parameters that exclude each other (Source: `keystone/api/role_assignments.py`).
fn check_parameters(ask: &Ask) -> Result<(), Failure> {
    let has = |name: &str| given(ask, name).is_some();
    let inherited = given(ask, "scope.OS-INHERIT:inherited_to") == Some("projects");
    let effective = ask.flag("effective");
    let wrong = [
        (has("scope.domain.id") && has("scope.project.id"), "Specify a domain or project, not both"),
        (has("scope.domain.id") && has("scope.system"), "Specify system or domain, not both"),
        (has("scope.project.id") && has("scope.system"), "Specify system or project, not both"),
        (has("user.id") && has("group.id"), "Specify a user or group, not both"),
        (effective && has("group.id"), "Combining effective and group filter will always result in an empty list."),
        (
            effective && inherited && has("scope.domain.id"),
            "Combining effective, domain and inherited filters will always result in an empty list.",
        ),
    ];
    match wrong.iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => Err(Failure::BadRequest((*why).into())),
        None => Ok(()),
    }
}

/// GET /role_assignments
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let project = given(&ask, "scope.project.id").map(str::to_owned);
    let with_below = ask.flag("include_subtree");
    let mut found = None;
    if with_below {
        if let Some(id) = &project {
            found = Root::get(&ask.app, id).await?;
        }
        let target = found.as_ref().map(Root::target);
        ask.enforce("identity:list_role_assignments_for_tree", target.unwrap_or_else(|| json!({})))?;
    } else {
        let target = ask.caller.domain_id.as_ref().map_or_else(|| json!({}), |domain| json!({"domain_id": domain}));
        ask.enforce("identity:list_role_assignments", target)?;
    }
    noun::check_query(&ask, &schemas::ROLE_ASSIGNMENT_INDEX_QUERY)?;
    check_parameters(&ask)?;
    let effective = ask.flag("effective");
    let project = match project {
        None => None,
        Some(id) => Some(tree(&ask.app, id, found, with_below, effective).await?),
    };
    let own = |name: &str| given(&ask, name).map(str::to_owned);
    let wanted = Wanted {
        role: own("role.id"),
        user: own("user.id"),
        group: own("group.id"),
        domain: own("scope.domain.id"),
        project,
        system: given(&ask, "scope.system") == Some("all"),
        inherited: ask.parameters.first("scope.OS-INHERIT:inherited_to").map(|it| it == "projects"),
    };
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    let mut lines = if effective { come_out(&ask.app, &wanted, &inference).await? } else { as_given(&ask.app, &wanted).await? };
    if let (Some(domain), false) = (&ask.caller.domain_id, with_below) {
        let within = ask.app.store.list(&Query::<Project>::new().column("domain_id", [domain.to_string()])).await?;
        let within: HashSet<Id<Project>> = within.into_iter().map(|it| it.id).collect();
        lines.retain(|it| match &it.target {
            Target::Project(id) => within.contains(id),
            Target::Domain(id) => id == domain,
            Target::System => false,
        });
    }
    let names = if ask.flag("include_names") { Some(Names::of(&ask.app, &lines).await?) } else { None };
    let items = lines.iter().map(|it| shown(&ask, it, &inference, names.as_ref())).collect();
    Ok(ask.listed("role_assignments", items))
}

/// What a request's project stands for. What nothing is looked up for need not be there.
async fn tree(app: &App, id: String, found: Option<Root>, with_below: bool, effective: bool) -> Result<Tree, Failure> {
    if !with_below && !effective {
        return Ok(Tree { id, root: None, below: None });
    }
    let root = match found {
        Some(root) => Some(root),
        None => Root::get(app, &id).await?,
    };
    let below = match &root {
        None => return Err(missing(Project::SINGULAR, &id)),
        Some(_) if !with_below => None,
        Some(Root::Project(it)) => Some(subtree(&app.store, &it.id).await?),
        Some(Root::Domain(it)) => Some(app.store.list(&Query::<Project>::new().column("domain_id", [it.id.to_string()])).await?),
    };
    Ok(Tree { id, root, below })
}

fn keys(prefix: &str, ids: impl IntoIterator<Item = String>) -> Vec<String> {
    ids.into_iter().map(|id| format!("{prefix}:{id}")).collect()
}

/// The assignments as they were given. Those on the system are there whatever is asked of inheritance, as in Keystone.
async fn as_given(app: &App, wanted: &Wanted) -> Result<Vec<Line>, Failure> {
    let mut query = Query::<Assignment>::new();
    for (column, value) in [("role_id", &wanted.role), ("user_id", &wanted.user), ("group_id", &wanted.group)] {
        if let Some(value) = value {
            query = query.column(column, [value.clone()]);
        }
    }
    if let Some(project) = &wanted.project {
        query = query.column("target", keys("project", project.ids()));
    } else if let Some(domain) = &wanted.domain {
        query = query.column("target", keys("domain", [domain.clone()]));
    } else if wanted.system {
        query = query.column("target", [Target::System.key()]);
    }
    let found = app.store.list(&query).await?;
    let fits = |it: &Line| it.target == Target::System || wanted.inherited.is_none_or(|inherited| inherited == it.inherited);
    Ok(found.iter().filter_map(Line::of).filter(fits).collect())
}

/// The assignments as they come out: of users, on projects and domains, of roles that are no domain's own.
async fn come_out(app: &App, wanted: &Wanted, inference: &Inference) -> Result<Vec<Line>, Failure> {
    let given = that_count(app, wanted).await?;
    let mut direct: Vec<Line> = given.iter().filter_map(Line::of).collect();
    direct = with_members(app, wanted, direct).await?;
    direct = with_projects_below(app, wanted, direct).await?;
    let all = with_implied(direct, inference);
    let is_global = |id: &Id<Role>| inference.roles.get(id).is_some_and(|it| it.desired.domain_id.is_none());
    let fits = |it: &Line| is_global(&it.role) && wanted.role.as_ref().is_none_or(|role| role == it.role.as_str());
    Ok(all.into_iter().filter(fits).collect())
}

/// The assignments that may have to do with what is wanted.
async fn that_count(app: &App, wanted: &Wanted) -> Result<Vec<Object<Assignment>>, Failure> {
    // Nothing is inherited to a domain.
    let inherited = if wanted.domain.is_some() { Some(false) } else { wanted.inherited };
    let mut direct_on: Option<Vec<String>> = None;
    let mut inherited_from: Option<Vec<String>> = None;
    if let Some(tree) = &wanted.project {
        let own = keys("project", tree.ids());
        let mut above = Vec::new();
        match &tree.root {
            None => {}
            Some(Root::Project(project)) => {
                above = keys("project", ancestors(&app.store, project).await?.into_iter().map(|it| it.id.to_string()));
                above.extend(keys("domain", [project.desired.domain_id.to_string()]));
            }
            // What its projects inherit is not its own.
            Some(Root::Domain(domain)) => above.extend(keys("domain", [domain.id.to_string()])),
        }
        if tree.below.is_some() {
            above.extend(own.iter().cloned());
        }
        direct_on = Some(own);
        inherited_from = Some(above);
    } else if let Some(domain) = &wanted.domain {
        direct_on = Some(keys("domain", [domain.clone()]));
        inherited_from = Some(Vec::new());
    }
    let query = Query::<Assignment>::new;
    let on_targets = |query: Query<Assignment>| match (&direct_on, &inherited_from) {
        (Some(on), Some(from)) => query.column("target", on.iter().chain(from).cloned().collect::<BTreeSet<_>>()),
        _ => query,
    };
    let mut found = Vec::new();
    match &wanted.user {
        None => found.extend(app.store.list(&on_targets(query())).await?),
        Some(id) => {
            let user = noun::find::<User>(app, id).await?;
            found.extend(app.store.list(&on_targets(query()).column("user_id", [user.id.to_string()])).await?);
            let groups = groups_of(&app.store, &user.id).await?;
            if !groups.is_empty() {
                let of_groups = on_targets(query()).column("group_id", groups.iter().map(ToString::to_string));
                found.extend(app.store.list(&of_groups).await?);
            }
        }
    }
    found.retain(|it| {
        let desired = &it.desired;
        let places = if desired.inherited { &inherited_from } else { &direct_on };
        desired.target != Target::System
            && inherited.is_none_or(|inherited| inherited == desired.inherited)
            && places.as_ref().is_none_or(|keys| keys.contains(&desired.target.key()))
    });
    Ok(found)
}

/// Puts the members in the place of groups.
async fn with_members(app: &App, wanted: &Wanted, lines: Vec<Line>) -> Result<Vec<Line>, Failure> {
    let group_of = |line: &Line| match &line.actor {
        Actor::Group(id) => Some(id.clone()),
        Actor::User(_) => None,
    };
    let mut members: BTreeMap<Id<Group>, Vec<Id<User>>> = BTreeMap::new();
    let only = wanted.user.as_deref().and_then(Id::<User>::parse);
    if only.is_none() {
        let groups = lines.iter().filter_map(group_of).map(|it| it.to_string()).collect();
        let now = Timestamp::now();
        for it in by_column::<Membership>(app, "group_id", groups).await?.into_iter().filter(|it| holds(it, now)) {
            members.entry(it.desired.group_id).or_default().push(it.desired.user_id);
        }
    }
    let mut out = Vec::with_capacity(lines.len());
    for line in lines {
        let Some(group) = group_of(&line) else {
            out.push(line);
            continue;
        };
        let users = match &only {
            // Only groups this user is in were looked for.
            Some(user) => std::slice::from_ref(user),
            None => members.get(&group).map_or(&[][..], Vec::as_slice),
        };
        out.extend(users.iter().map(|user| Line { actor: Actor::User(user.clone()), by_group: Some(group.clone()), ..line.clone() }));
    }
    Ok(out)
}

/// Puts the projects below in the place of what they inherit from.
async fn with_projects_below(app: &App, wanted: &Wanted, lines: Vec<Line>) -> Result<Vec<Line>, Failure> {
    if !lines.iter().any(|it| it.inherited) {
        return Ok(lines);
    }
    let forest = match &wanted.project {
        Some(Tree { below: None, .. }) => Forest::default(),
        Some(Tree { below: Some(below), root, .. }) => Forest::of(below.iter().chain(match root {
            Some(Root::Project(project)) => Some(project),
            _ => None,
        })),
        None => Forest::of(&app.store.list(&Query::<Project>::new()).await?),
    };
    let mut out = Vec::with_capacity(lines.len());
    for line in lines {
        if !line.inherited {
            out.push(line);
            continue;
        }
        let named = || wanted.project.iter().flat_map(Tree::ids).filter_map(|id| Id::parse(&id)).collect::<Vec<Id<Project>>>();
        let projects = match (&line.target, &wanted.project) {
            // A grant within the tree reaches what is below it; one above reaches all of the tree.
            (Target::Project(id), Some(tree)) if tree.below.is_some() && tree.ids().iter().any(|it| it == id.as_str()) => forest.below(id),
            (_, Some(_)) => named(),
            (Target::Project(id), None) => forest.below(id),
            (Target::Domain(id), None) => forest.within(id),
            (Target::System, None) => Vec::new(),
        };
        out.extend(projects.into_iter().map(|project| Line {
            target: Target::Project(project),
            inherited: false,
            from: Some(line.target.clone()),
            ..line.clone()
        }));
    }
    Ok(out)
}

/// Projects by what is above them.
#[derive(Default)]
struct Forest {
    by_parent: BTreeMap<Id<Project>, Vec<Id<Project>>>,
    by_domain: BTreeMap<Id<Domain>, Vec<Id<Project>>>,
}

impl Forest {
    fn of<'a>(projects: impl IntoIterator<Item = &'a Object<Project>>) -> Self {
        let mut forest = Self::default();
        for project in projects {
            forest.by_domain.entry(project.desired.domain_id.clone()).or_default().push(project.id.clone());
            if let Some(parent) = &project.desired.parent_id {
                forest.by_parent.entry(parent.clone()).or_default().push(project.id.clone());
            }
        }
        forest
    }

    /// All below a project; a project is below one other at most, so no project is met twice.
    fn below(&self, root: &Id<Project>) -> Vec<Id<Project>> {
        let mut out: Vec<Id<Project>> = Vec::new();
        let mut left = vec![root];
        while let Some(id) = left.pop() {
            let children = self.by_parent.get(id).into_iter().flatten();
            left.extend(children.clone());
            out.extend(children.cloned());
        }
        out
    }

    fn within(&self, domain: &Id<Domain>) -> Vec<Id<Project>> {
        self.by_domain.get(domain).cloned().unwrap_or_default()
    }
}

/// Adds the roles that are implied, each with the role that implies it directly.
fn with_implied(lines: Vec<Line>, inference: &Inference) -> Vec<Line> {
    let mut seen: HashSet<Line> = lines.iter().cloned().collect();
    let mut left: Vec<Line> = lines.clone();
    let mut out = lines;
    while let Some(line) = left.pop() {
        for implied in inference.implied.get(&line.role).into_iter().flatten() {
            let next = Line { role: implied.clone(), prior: Some(line.role.clone()), ..line.clone() };
            // Met before: by another way, or round a circle.
            if seen.insert(next.clone()) {
                out.push(next.clone());
                left.push(next);
            }
        }
    }
    out
}

/// Names of what lines speak of.
struct Names {
    users: BTreeMap<Id<User>, (String, Id<Domain>)>,
    groups: BTreeMap<Id<Group>, (String, Id<Domain>)>,
    projects: BTreeMap<Id<Project>, (String, Id<Domain>)>,
    domains: BTreeMap<Id<Domain>, String>,
}

impl Names {
    async fn of(app: &App, lines: &[Line]) -> Result<Self, Failure> {
        let (mut users, mut groups, mut projects) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for line in lines {
            match &line.actor {
                Actor::User(id) => users.insert(id.to_string()),
                Actor::Group(id) => groups.insert(id.to_string()),
            };
            if let Target::Project(id) = &line.target {
                projects.insert(id.to_string());
            }
        }
        let users = by_ids::<User>(app, users).await?.into_iter().map(|it| (it.id, (it.name, it.desired.domain_id)));
        let groups = by_ids::<Group>(app, groups).await?.into_iter().map(|it| (it.id, (it.name, it.desired.domain_id)));
        let projects = by_ids::<Project>(app, projects).await?.into_iter().map(|it| (it.id, (it.name, it.desired.domain_id)));
        let domains = app.store.list(&Query::<Domain>::new()).await?.into_iter().map(|it| (it.id, it.name)).collect();
        Ok(Self { users: users.collect(), groups: groups.collect(), projects: projects.collect(), domains })
    }

    fn domain(&self, id: &Id<Domain>) -> Value {
        json!({"id": id, "name": self.domains.get(id).map_or("", String::as_str)})
    }

    /// An object of a domain; of one that has gone meanwhile the names are empty, as in Keystone.
    fn in_domain<K>(&self, id: &Id<K>, among: &BTreeMap<Id<K>, (String, Id<Domain>)>) -> Value {
        match among.get(id) {
            Some((name, domain)) => json!({"id": id, "name": name, "domain": self.domain(domain)}),
            None => json!({"id": id, "name": "", "domain": {"id": "", "name": ""}}),
        }
    }
}

/// A line in the form of an answer (Source: `keystone/api/role_assignments.py`, `_format_entity`).
fn shown(ask: &Ask, line: &Line, inference: &Inference, names: Option<&Names>) -> Value {
    let mut scope = match (&line.target, names) {
        (Target::Project(id), Some(names)) => json!({"project": names.in_domain(id, &names.projects)}),
        (Target::Project(id), None) => json!({"project": {"id": id}}),
        (Target::Domain(id), Some(names)) => json!({"domain": names.domain(id)}),
        (Target::Domain(id), None) => json!({"domain": {"id": id}}),
        (Target::System, _) => json!({"system": {"all": true}}),
    };
    let inherited = line.inherited || line.from.is_some();
    if inherited {
        scope["OS-INHERIT:inherited_to"] = json!("projects");
    }
    let (key, actor) = match (&line.actor, names) {
        (Actor::User(id), Some(names)) => ("user", names.in_domain(id, &names.users)),
        (Actor::User(id), None) => ("user", json!({"id": id})),
        (Actor::Group(id), Some(names)) => ("group", names.in_domain(id, &names.groups)),
        (Actor::Group(id), None) => ("group", json!({"id": id})),
    };
    let mut role = json!({"id": line.role});
    if let (Some(names), Some(found)) = (names, inference.roles.get(&line.role)) {
        role["name"] = json!(found.name);
        if let Some(domain) = &found.desired.domain_id {
            role["domain"] = names.domain(domain);
        }
    }
    json!({"scope": scope, key: actor, "role": role, "links": links(ask, line, inherited)})
}

fn links(ask: &Ask, line: &Line, inherited: bool) -> Value {
    let target = match line.from.as_ref().unwrap_or(&line.target) {
        Target::Project(id) => format!("projects/{id}"),
        Target::Domain(id) => format!("domains/{id}"),
        Target::System => "system".to_owned(),
    };
    let actor = match (&line.by_group, &line.actor) {
        (Some(group), _) | (None, Actor::Group(group)) => format!("groups/{group}"),
        (None, Actor::User(user)) => format!("users/{user}"),
    };
    let (before, after) = if inherited { ("OS-INHERIT/", "/inherited_to_projects") } else { ("", "") };
    let role = line.prior.as_ref().unwrap_or(&line.role);
    let mut links = json!({"assignment": ask.link(&format!("{before}{target}/{actor}/roles/{role}{after}"))});
    if let (Some(group), Actor::User(user)) = (&line.by_group, &line.actor) {
        links["membership"] = json!(ask.link(&format!("groups/{group}/users/{user}")));
    }
    if let Some(prior) = &line.prior {
        // The names of the path are the wrong way round; clients of Keystone see them so.
        links["prior_role"] = json!(ask.link(&format!("prior_role/{}/implies/{prior}", line.role)));
    }
    links
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/role_assignments", get(list))
}
