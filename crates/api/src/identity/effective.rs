//! Which roles somebody has on what: given to them or to a group of theirs, on the target or on what is above it and inherited, and the
//! roles those imply.

use std::collections::{BTreeMap, BTreeSet};

use model::identity::{Assignment, Domain, Group, ImpliedRole, Membership, Project, Role, Target, User};
use model::{Id, Object, Timestamp};
use store::{Query, Store};

use crate::failure::Failure;

/// Deepest tree of projects that is walked.
pub(super) const MAX_DEPTH: usize = 16;

/// Roles and what they imply.
#[derive(Debug)]
pub(crate) struct Inference {
    /// All roles.
    pub(crate) roles: BTreeMap<Id<Role>, Object<Role>>,
    /// What each implies directly.
    pub(crate) implied: BTreeMap<Id<Role>, Vec<Id<Role>>>,
}

impl Inference {
    pub(crate) async fn read(store: &Store) -> Result<Self, Failure> {
        let roles = store.list(&Query::<Role>::new()).await?.into_iter().map(|it| (it.id.clone(), it)).collect();
        let mut implied: BTreeMap<Id<Role>, Vec<Id<Role>>> = BTreeMap::new();
        for rule in store.list(&Query::<ImpliedRole>::new()).await? {
            implied.entry(rule.desired.prior_id).or_default().push(rule.desired.implied_id);
        }
        Ok(Self { roles, implied })
    }

    /// These roles and all they imply.
    pub(crate) fn closure(&self, given: impl IntoIterator<Item = Id<Role>>) -> BTreeSet<Id<Role>> {
        let mut all = BTreeSet::new();
        let mut left: Vec<Id<Role>> = given.into_iter().collect();
        while let Some(role) = left.pop() {
            if !self.roles.contains_key(&role) || all.contains(&role) {
                continue;
            }
            left.extend(self.implied.get(&role).into_iter().flatten().cloned());
            all.insert(role);
        }
        all
    }

    /// Id and name of roles as a token has them: a domain's own roles count by what they imply only.
    pub(crate) fn named(&self, roles: &BTreeSet<Id<Role>>) -> Vec<(Id<Role>, String)> {
        let found = roles.iter().filter_map(|id| self.roles.get(id)).filter(|role| role.desired.domain_id.is_none());
        found.map(|role| (role.id.clone(), role.name.clone())).collect()
    }
}

/// The groups a user is in now.
pub(super) async fn groups_of(store: &Store, user: &Id<User>) -> Result<Vec<Id<Group>>, Failure> {
    let found = store.list_few(&Query::<Membership>::new().column("user_id", [user.to_string()])).await?;
    let now = Timestamp::now();
    Ok(found.into_iter().filter(|it| it.desired.expires_at.is_none_or(|at| at > now)).map(|it| it.desired.group_id).collect())
}

/// The projects above one, nearest first.
pub(super) async fn ancestors(store: &Store, project: &Object<Project>) -> Result<Vec<Object<Project>>, Failure> {
    let mut out: Vec<Object<Project>> = Vec::new();
    let mut next = project.desired.parent_id.clone();
    while let Some(id) = next.filter(|_| out.len() < MAX_DEPTH) {
        let Some(found) = store.get(&id).await? else { break };
        next = found.desired.parent_id.clone();
        out.push(found);
    }
    Ok(out)
}

/// All that was given to a user, directly or by a group, wherever.
pub(super) async fn given_to(store: &Store, user: &Id<User>) -> Result<Vec<Object<Assignment>>, Failure> {
    let mut given = store.list(&Query::<Assignment>::new().column("user_id", [user.to_string()])).await?;
    let groups = groups_of(store, user).await?;
    if !groups.is_empty() {
        let of_groups = Query::<Assignment>::new().column("group_id", groups.iter().map(ToString::to_string));
        given.extend(store.list(&of_groups).await?);
    }
    Ok(given)
}

/// The roles given to a user on a target, without those they imply.
pub(super) async fn direct_on(store: &Store, user: &Id<User>, target: &Target) -> Result<Vec<Id<Role>>, Failure> {
    let mut inherited: Vec<String> = Vec::new();
    if let Target::Project(id) = target
        && let Some(project) = store.get(id).await?
    {
        inherited.push(Target::Domain(project.desired.domain_id.clone()).key());
        if project.desired.parent_id.is_some() {
            inherited.extend(ancestors(store, &project).await?.into_iter().map(|it| Target::Project(it.id).key()));
        }
    }
    let own = target.key();
    let keys: Vec<String> = inherited.iter().cloned().chain([own.clone()]).collect();
    let mut given =
        store.list_few(&Query::<Assignment>::new().column("user_id", [user.to_string()]).column("target", keys.clone())).await?;
    let groups = groups_of(store, user).await?;
    if !groups.is_empty() {
        let of_groups = Query::<Assignment>::new().column("group_id", groups.iter().map(ToString::to_string)).column("target", keys);
        given.extend(store.list(&of_groups).await?);
    }
    let counts = |it: &Object<Assignment>| (it.desired.target.key() == own) != it.desired.inherited;
    Ok(given.into_iter().filter(counts).map(|it| it.desired.role_id).collect())
}

/// The ids of the projects a user has a role on, inherited ones too.
pub(super) async fn projects_of(store: &Store, user: &Id<User>) -> Result<Vec<Object<Project>>, Failure> {
    let mut ids: BTreeSet<Id<Project>> = BTreeSet::new();
    for given in given_to(store, user).await? {
        match (given.desired.target, given.desired.inherited) {
            (Target::Project(id), false) => drop(ids.insert(id)),
            (Target::Project(id), true) => ids.extend(subtree(store, &id).await?.into_iter().map(|it| it.id)),
            (Target::Domain(id), true) => {
                let below = store.list(&Query::<Project>::new().column("domain_id", [id.to_string()])).await?;
                ids.extend(below.into_iter().map(|it| it.id));
            }
            (Target::Domain(_), false) | (Target::System, _) => {}
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = store.list(&Query::<Project>::new().ids(ids.iter().map(ToString::to_string))).await?;
    let mut out = Vec::new();
    for project in found.into_iter().filter(|it| it.desired.enabled) {
        let domain = store.get(&project.desired.domain_id).await?;
        if domain.is_some_and(|it| it.desired.enabled) {
            out.push(project);
        }
    }
    Ok(out)
}

/// The domains a user has a role on.
pub(super) async fn domains_of(store: &Store, user: &Id<User>) -> Result<Vec<Object<Domain>>, Failure> {
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for given in given_to(store, user).await? {
        if let (Target::Domain(id), false) = (&given.desired.target, given.desired.inherited) {
            ids.insert(id.to_string());
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(store.list(&Query::<Domain>::new().ids(ids)).await?.into_iter().filter(|it| it.desired.enabled).collect())
}

/// The projects below one, those nearer to it first.
pub(super) async fn subtree(store: &Store, root: &Id<Project>) -> Result<Vec<Object<Project>>, Failure> {
    let mut out: Vec<Object<Project>> = Vec::new();
    let mut level = vec![root.to_string()];
    for _ in 0..MAX_DEPTH {
        let below = store.list(&Query::<Project>::new().column("parent_id", level)).await?;
        if below.is_empty() {
            break;
        }
        level = below.iter().map(|it| it.id.to_string()).collect();
        out.extend(below);
    }
    Ok(out)
}
