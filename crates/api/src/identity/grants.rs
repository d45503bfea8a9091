//! Roles given to users and groups on projects, domains and the system. One set of handlers serves all of these: a [`Place`] says who is
//! given a role on what.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::access::Revoked;
use model::identity::{Actor, Assignment, AssignmentDesired, Domain, Group, Membership, Project, Role, Target, User};
use model::{Id, Kind as _, Object};
use serde_json::{Map, Value};
use store::{Batch, Query, StoreError};

use super::ask::{Ask, missing};
use super::effective::subtree;
use super::noun::{self, EPOCH, Noun};
use super::revocation::revoke;
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;

/// Who is given a role.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    User,
    Group,
}

/// On what a role is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Project,
    Domain,
    System,
}

/// A family of paths.
#[derive(Clone, Copy)]
struct Place {
    on: On,
    to: To,
    /// Whether roles hold for the projects below the target and not for the target itself.
    inherited: bool,
}

/// Every family there is.
const PLACES: [Place; 10] = [
    Place { on: On::Project, to: To::User, inherited: false },
    Place { on: On::Project, to: To::Group, inherited: false },
    Place { on: On::Domain, to: To::User, inherited: false },
    Place { on: On::Domain, to: To::Group, inherited: false },
    Place { on: On::System, to: To::User, inherited: false },
    Place { on: On::System, to: To::Group, inherited: false },
    Place { on: On::Project, to: To::User, inherited: true },
    Place { on: On::Project, to: To::Group, inherited: true },
    Place { on: On::Domain, to: To::User, inherited: true },
    Place { on: On::Domain, to: To::Group, inherited: true },
];

/// What a caller wants to do with a grant.
#[derive(Clone, Copy)]
enum Verb {
    Check,
    Create,
    Revoke,
}

impl Place {
    /// The paths of all roles and of one.
    fn paths(self) -> (String, String) {
        let target = match self.on {
            On::Project => "/projects/{target}",
            On::Domain => "/domains/{target}",
            On::System => "/system",
        };
        let actor = match self.to {
            To::User => "users",
            To::Group => "groups",
        };
        let (before, after) = if self.inherited { ("/OS-INHERIT", "/inherited_to_projects") } else { ("", "") };
        let all = format!("{before}{target}/{actor}/{{actor}}/roles");
        (format!("{all}{after}"), format!("{all}/{{role}}{after}"))
    }

    fn actor_name(self) -> &'static str {
        match self.to {
            To::User => "user",
            To::Group => "group",
        }
    }

    /// The rule for one grant.
    fn rule(self, verb: Verb) -> String {
        let verb = match verb {
            Verb::Check => "check",
            Verb::Create => "create",
            Verb::Revoke => "revoke",
        };
        match self.on {
            On::System => format!("identity:{verb}_system_grant_for_{}", self.actor_name()),
            On::Project | On::Domain => format!("identity:{verb}_grant"),
        }
    }

    /// The rule for a list of grants.
    fn list_rule(self) -> String {
        match self.on {
            On::System => format!("identity:list_system_grants_for_{}", self.actor_name()),
            On::Project | On::Domain => "identity:list_grants".to_owned(),
        }
    }
}

/// The ids of a path.
struct Named {
    target: String,
    actor: String,
    role: String,
}

type Ids = Path<BTreeMap<String, String>>;

impl Named {
    fn read(Path(mut ids): Ids) -> Self {
        let mut take = |name: &str| ids.remove(name).unwrap_or_default();
        Self { target: take("target"), actor: take("actor"), role: take("role") }
    }

    /// There is no such grant, in Keystone's words.
    fn no_grant(&self, place: Place) -> Failure {
        let target = if place.on == On::System { "system" } else { &self.target };
        let text = format!(
            "Could not find role assignment with role: {}, user or group: {}, project, domain, or system: {target}.",
            self.role, self.actor
        );
        Failure::named(StatusCode::NOT_FOUND, "NotFound", text)
    }
}

/// A user or group that is there.
enum Holder {
    User(Object<User>),
    Group(Object<Group>),
}

impl Holder {
    async fn get(app: &App, to: To, id: &str) -> Result<Option<Self>, Failure> {
        Ok(match to {
            To::User => noun::get::<User>(app, id).await?.map(Self::User),
            To::Group => noun::get::<Group>(app, id).await?.map(Self::Group),
        })
    }

    fn actor(&self) -> Actor {
        match self {
            Self::User(user) => Actor::User(user.id.clone()),
            Self::Group(group) => Actor::Group(group.id.clone()),
        }
    }
}

/// A target that is there.
enum Ground {
    Project(Object<Project>),
    Domain(Object<Domain>),
    System,
}

impl Ground {
    async fn get(app: &App, on: On, id: &str) -> Result<Option<Self>, Failure> {
        Ok(match on {
            On::Project => match noun::get::<Project>(app, id).await? {
                Some(project) => Some(Self::Project(project)),
                // A domain is also a project: the grant is the domain's.
                None => noun::get::<Domain>(app, id).await?.map(Self::Domain),
            },
            On::Domain => noun::get::<Domain>(app, id).await?.map(Self::Domain),
            On::System => Some(Self::System),
        })
    }

    fn target(&self) -> Target {
        match self {
            Self::Project(project) => Target::Project(project.id.clone()),
            Self::Domain(domain) => Target::Domain(domain.id.clone()),
            Self::System => Target::System,
        }
    }
}

/// What a path names, as far as it is there.
struct Found {
    role: Option<Object<Role>>,
    holder: Option<Holder>,
    ground: Option<Ground>,
}

impl Found {
    /// Reads what the path names and asks the rule about it: who may not is told that before anything else.
    async fn permitted(ask: &Ask, place: Place, named: &Named, rule: &str) -> Result<Self, Failure> {
        let found = Self {
            role: if named.role.is_empty() { None } else { noun::get::<Role>(&ask.app, &named.role).await? },
            holder: Holder::get(&ask.app, place.to, &named.actor).await?,
            ground: Ground::get(&ask.app, place.on, &named.target).await?,
        };
        let mut target = Map::new();
        if let Some(role) = &found.role {
            target.insert("role".into(), Role::target(role));
        }
        match &found.holder {
            Some(Holder::User(user)) => drop(target.insert("user".into(), User::target(user))),
            Some(Holder::Group(group)) => drop(target.insert("group".into(), Group::target(group))),
            None => {}
        }
        match &found.ground {
            Some(Ground::Project(project)) => drop(target.insert("project".into(), Project::target(project))),
            Some(Ground::Domain(domain)) => drop(target.insert("domain".into(), Domain::target(domain))),
            Some(Ground::System) | None => {}
        }
        ask.enforce(rule, Value::Object(target))?;
        Ok(found)
    }

    fn role(&self, named: &Named) -> Result<&Object<Role>, Failure> {
        self.role.as_ref().ok_or_else(|| missing("role", &named.role))
    }

    fn holder(&self, place: Place, named: &Named) -> Result<&Holder, Failure> {
        self.holder.as_ref().ok_or_else(|| missing(place.actor_name(), &named.actor))
    }

    fn ground(&self, place: Place, named: &Named) -> Result<&Ground, Failure> {
        let what = if place.on == On::Domain { "domain" } else { "project" };
        self.ground.as_ref().ok_or_else(|| missing(what, &named.target))
    }

    /// The grant a path names, if all three are there.
    fn wanted(&self, place: Place, named: &Named) -> Result<AssignmentDesired, Failure> {
        let role = self.role(named)?;
        let holder = self.holder(place, named)?;
        let ground = self.ground(place, named)?;
        Ok(AssignmentDesired::new(role.id.clone(), holder.actor(), ground.target(), place.inherited))
    }
}

/// GET and HEAD of one.
async fn check(place: Place, ask: Ask, ids: Ids) -> Result<StatusCode, Failure> {
    let named = Named::read(ids);
    let found = Found::permitted(&ask, place, &named, &place.rule(Verb::Check)).await?;
    let wanted = found.wanted(place, &named)?;
    match ask.app.store.get(&wanted.id()).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(named.no_grant(place)),
    }
}

/// PUT of one.
async fn give(place: Place, ask: Ask, ids: Ids) -> Result<StatusCode, Failure> {
    let named = Named::read(ids);
    let found = Found::permitted(&ask, place, &named, &place.rule(Verb::Create)).await?;
    let wanted = found.wanted(place, &named)?;
    check_domain(found.role(&named)?, found.ground(place, &named)?)?;
    let mut batch = Batch::wishes().require(&wanted.role_id).bump(EPOCH);
    if let Some(user) = &wanted.user_id {
        batch = batch.require(user);
    }
    if let Some(group) = &wanted.group_id {
        batch = batch.require(group);
    }
    batch = match &wanted.target {
        Target::Project(id) => batch.require(id),
        Target::Domain(id) => batch.require(id),
        Target::System => batch,
    };
    let object = Object::<Assignment>::new(wanted.id(), None, "", wanted);
    match ask.app.store.apply(batch.create(&object)).await {
        Ok(()) => {
            tracing::info!(role = named.role, actor = named.actor, target = object.desired.target.key(), "role given");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(StoreError::Exists { .. }) => Ok(StatusCode::NO_CONTENT),
        Err(StoreError::Stale { kind, id }) => Err(missing(kind.trim_end_matches('s'), &id)),
        Err(error) => Err(error.into()),
    }
}

/// A domain's own role is given on projects of that domain and never on the system. (On another domain itself Keystone lets it be given.)
fn check_domain(role: &Object<Role>, ground: &Ground) -> Result<(), Failure> {
    let Some(domain) = &role.desired.domain_id else { return Ok(()) };
    match ground {
        Ground::Project(project) if project.desired.domain_id != *domain => {
            Err(Failure::Forbidden(format!("Project {} must be in the same domain as the role {} being assigned.", project.id, role.id)))
        }
        Ground::System => Err(Failure::BadRequest(format!(
            "Role {} is a domain-specific role. Unable to use a domain-specific role in a system assignment.",
            role.id
        ))),
        Ground::Project(_) | Ground::Domain(_) => Ok(()),
    }
}

/// DELETE of one; tokens that it counted for end.
async fn take(place: Place, ask: Ask, ids: Ids) -> Result<StatusCode, Failure> {
    let named = Named::read(ids);
    let found = Found::permitted(&ask, place, &named, &place.rule(Verb::Revoke)).await?;
    let role = found.role(&named)?;
    let ground = found.ground(place, &named)?;
    // Whoever has gone has no roles.
    let holder = found.holder.as_ref().ok_or_else(|| named.no_grant(place))?;
    let wanted = AssignmentDesired::new(role.id.clone(), holder.actor(), ground.target(), place.inherited);
    let there = ask.app.store.get(&wanted.id()).await?.ok_or_else(|| named.no_grant(place))?;
    let voided = voided(&ask.app, &there.desired).await?;
    for _ in 0..RACES {
        let batch = revoke(&ask.app, Batch::wishes(), voided.clone()).await?;
        match ask.app.store.apply(batch.remove(&there).bump(EPOCH)).await {
            Ok(()) => {
                tracing::info!(role = named.role, actor = named.actor, target = there.desired.target.key(), "role taken");
                return Ok(StatusCode::NO_CONTENT);
            }
            // An assignment never changes: somebody else took it.
            Err(StoreError::Stale { kind, .. }) if kind == Assignment::NAME => return Err(named.no_grant(place)),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// Whose tokens for what a grant counted for.
async fn voided(app: &App, given: &AssignmentDesired) -> Result<Vec<Revoked>, Failure> {
    let mut users: Vec<Id<User>> = given.user_id.iter().cloned().collect();
    if let Some(group) = &given.group_id {
        let members = app.store.list(&Query::<Membership>::new().column("group_id", [group.to_string()])).await?;
        users.extend(members.into_iter().map(|it| it.desired.user_id));
    }
    let below: Vec<Id<Project>> = match (&given.target, given.inherited) {
        (Target::Project(id), false) => vec![id.clone()],
        (Target::Project(id), true) => subtree(&app.store, id).await?.into_iter().map(|it| it.id).collect(),
        (Target::Domain(id), true) => {
            let all = app.store.list(&Query::<Project>::new().column("domain_id", [id.to_string()])).await?;
            all.into_iter().map(|it| it.id).collect()
        }
        (Target::Domain(id), false) => return Ok(users.into_iter().map(|user| Revoked::UserOnDomain(user, id.clone())).collect()),
        (Target::System, _) => return Ok(users.into_iter().map(Revoked::UserOnSystem).collect()),
    };
    Ok(users.iter().flat_map(|user| below.iter().map(|project| Revoked::UserOnProject(user.clone(), project.clone()))).collect())
}

/// GET of all: the roles given there, without those they imply.
async fn list(place: Place, ask: Ask, ids: Ids) -> Result<Json<Value>, Failure> {
    let named = Named::read(ids);
    let found = Found::permitted(&ask, place, &named, &place.list_rule()).await?;
    let holder = found.holder(place, &named)?;
    let ground = found.ground(place, &named)?;
    let (column, id) = match holder {
        Holder::User(user) => ("user_id", user.id.to_string()),
        Holder::Group(group) => ("group_id", group.id.to_string()),
    };
    let query = Query::<Assignment>::new().column(column, [id]).column("target", [ground.target().key()]);
    let given = ask.app.store.list(&query).await?;
    let roles = given.iter().filter(|it| it.desired.inherited == place.inherited).map(|it| it.desired.role_id.to_string());
    let roles = ask.app.store.list(&Query::<Role>::new().ids(roles)).await?;
    Ok(ask.listed("roles", roles.iter().map(|it| noun::shown(it, &ask)).collect()))
}

pub(super) fn routes() -> Router<Arc<App>> {
    PLACES.into_iter().fold(Router::new(), |router, place| {
        let (all, one) = place.paths();
        let methods = get(move |ask: Ask, ids: Ids| check(place, ask, ids))
            .put(move |ask: Ask, ids: Ids| give(place, ask, ids))
            .delete(move |ask: Ask, ids: Ids| take(place, ask, ids));
        router.route(&all, get(move |ask: Ask, ids: Ids| list(place, ask, ids))).route(&one, methods)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_paths_of_its_own() {
        let mut paths: Vec<String> = PLACES.iter().map(|it| it.paths().1).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), PLACES.len());
        assert!(paths.contains(&"/OS-INHERIT/domains/{target}/groups/{actor}/roles/{role}/inherited_to_projects".to_owned()));
        assert!(paths.contains(&"/system/users/{actor}/roles/{role}".to_owned()));
    }

    #[test]
    fn rules_of_every_place_are_declared() {
        let declared: Vec<&str> = crate::identity::policies::tables().iter().flat_map(|table| table.iter()).map(|rule| rule.name).collect();
        for place in PLACES {
            let rules = [place.rule(Verb::Check), place.rule(Verb::Create), place.rule(Verb::Revoke), place.list_rule()];
            assert!(rules.iter().all(|rule| declared.contains(&rule.as_str())), "{rules:?}");
        }
    }
}
