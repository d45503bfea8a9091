//! What is kept here of users whom external providers know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::identity::mapping::{DomainRef, GroupRef, MappedProject, MappedUser, Version};
use model::identity::{
    Actor, Assignment, AssignmentDesired, Domain, FederatedIdentity, Group, IdentityProvider, Membership, MembershipDesired, Project,
    ProjectDesired, Role, Target, User, UserDesired,
};
use model::password::{Options, PasswordState};
use model::{Id, Object, Timestamp};
use serde_json::Map;
use store::{Batch, Query, StoreError, Wishes};

use crate::App;
use crate::failure::Failure;
use crate::identity::ask::{Ask, missing, refused};
use crate::identity::noun::{self, EPOCH, Name, Noun, name_in};
use crate::identity::users;
use crate::race::RACES;

/// Where the ids are by which a provider knows users.
fn pool(idp: &str, protocol: &str) -> String {
    format!("federated:{idp}:{protocol}")
}

/// The id of the user that is made at the first log-in, the same on every replica.
fn shadow_id(who: &FederatedIdentity) -> Option<Id<User>> {
    let text = format!("federated/{}/{}/{}", who.idp_id, who.protocol_id, who.unique_id);
    Id::parse(&Id::<User>::derived(&text).as_str().replace('-', ""))
}

/// Whether the user was made by logging in.
fn is_shadow(user: &Object<User>) -> bool {
    user.desired.federated.iter().any(|it| shadow_id(it).as_ref() == Some(&user.id))
}

/// The names a user holds: its own within its domain and those by which providers know it. Users made by logging in have no name of their
/// own to hold: a provider may give two the same, or one that somebody has here.
pub(in crate::identity) fn names_of_user(user: &Object<User>) -> Vec<Name> {
    let known: BTreeSet<(String, &str)> =
        user.desired.federated.iter().map(|it| (pool(&it.idp_id, &it.protocol_id), it.unique_id.as_str())).collect();
    let mut names: Vec<Name> = known.into_iter().map(|(pool, value)| Name { pool, value: value.to_owned() }).collect();
    if !is_shadow(user) {
        names.push(name_in::<User>(user.desired.domain_id.as_str(), &user.name));
    }
    names
}

/// The domain that is meant, else this one.
///
/// # Errors
/// `NotFound`.
pub(super) async fn domain_of(app: &App, named: Option<&DomainRef>, otherwise: &Id<Domain>) -> Result<Id<Domain>, Failure> {
    match named {
        Some(DomainRef { id: Some(id), .. }) => noun::find::<Domain>(app, id).await.map(|it| it.id),
        Some(DomainRef { name: Some(name), .. }) => {
            noun::named::<Domain>(app, "", name).await?.map(|it| it.id).ok_or_else(|| missing("domain", name))
        }
        Some(_) | None => Ok(otherwise.clone()),
    }
}

/// Who somebody is to a provider and what it calls them.
pub(super) struct Known {
    pub(super) who: FederatedIdentity,
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) domain_id: Id<Domain>,
}

/// The user a provider means, made if need be, its name and address as the provider has them now.
pub(super) async fn user(app: &App, known: &Known) -> Result<Object<User>, Failure> {
    let of_provider = pool(&known.who.idp_id, &known.who.protocol_id);
    for _ in 0..RACES {
        let Some(held) = app.store.allocation(&of_provider, &known.who.unique_id).await? else {
            let user = new_user(known)?;
            let batch = names_of_user(&user)
                .iter()
                .fold(Batch::wishes().require(&known.domain_id), |batch, it| batch.hold(&it.pool, &it.value, user.id.as_str()));
            match app.store.apply(batch.create(&user)).await {
                Ok(()) => {
                    tracing::info!(id = %user.id, provider = known.who.idp_id, "user created at first log-in");
                    return Ok(user);
                }
                Err(error) if error.is_race() || matches!(error, StoreError::Exists { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
        };
        let Some(before) = noun::get::<User>(app, &held.holder).await? else { return Err(refused()) };
        let mut after = before.clone();
        if is_shadow(&after) {
            after.name.clone_from(&known.name);
        }
        if known.email.is_some() {
            after.desired.email.clone_from(&known.email);
        }
        if after.name == before.name && after.desired == before.desired {
            return Ok(before);
        }
        match app.store.apply(Batch::wishes().want(&after).bump(EPOCH)).await {
            Ok(()) => return noun::find(app, after.id.as_str()).await,
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

fn new_user(known: &Known) -> Result<Object<User>, Failure> {
    let id = shadow_id(&known.who).ok_or_else(|| Failure::Internal("a derived id is none".into()))?;
    let desired = UserDesired {
        domain_id: known.domain_id.clone(),
        default_project_id: None,
        description: None,
        email: known.email.clone(),
        enabled: true,
        password_hash: None,
        extra: Map::new(),
        options: Options::default(),
        password: PasswordState::default(),
        federated: vec![known.who.clone()],
    };
    Ok(Object::new(id, None, &known.name, desired))
}

/// The user here that a mapping of type `local` means.
pub(super) async fn local(app: &App, mapped: &MappedUser) -> Result<Object<User>, Failure> {
    let found = match (&mapped.id, &mapped.name, &mapped.domain) {
        (Some(id), _, _) => noun::get::<User>(app, id).await?,
        (None, Some(name), Some(domain)) => {
            let domain = match (&domain.id, &domain.name) {
                (Some(id), _) => Id::parse(id),
                (None, Some(name)) => noun::named::<Domain>(app, "", name).await?.map(|it| it.id),
                (None, None) => None,
            };
            match domain {
                Some(domain) => noun::named::<User>(app, domain.as_str(), name).await?,
                None => None,
            }
        }
        _ => None,
    };
    found.ok_or_else(refused)
}

/// The groups that are meant. Those named by id must be there; of those named by name the ones that are not are passed over, as upstream
/// does.
pub(super) async fn groups(app: &App, ids: &BTreeSet<String>, names: &[GroupRef]) -> Result<BTreeSet<Id<Group>>, Failure> {
    let mut found = BTreeSet::new();
    for id in ids {
        let group = noun::get::<Group>(app, id).await?;
        let group = group.ok_or_else(|| {
            tracing::warn!(group = id, "a mapping names a group that is not there");
            refused()
        })?;
        found.insert(group.id);
    }
    for GroupRef { name, domain } in names {
        let domain = match (&domain.id, &domain.name) {
            (Some(id), _) => Id::parse(id),
            (None, Some(name)) => noun::named::<Domain>(app, "", name).await?.map(|it| it.id),
            (None, None) => None,
        };
        let Some(domain) = domain else { continue };
        match noun::named::<Group>(app, domain.as_str(), name).await? {
            Some(group) => drop(found.insert(group.id)),
            None => tracing::debug!(name, "a mapping names a group that is not there"),
        }
    }
    Ok(found)
}

/// Puts the user into these groups until then, and out of those a provider put it into before. Memberships without an end are others'.
pub(super) async fn join(app: &App, user: &Id<User>, groups: &BTreeSet<Id<Group>>, until: Timestamp) -> Result<(), Failure> {
    for _ in 0..RACES {
        let now = Timestamp::now();
        let there = app.store.list(&Query::<Membership>::new().column("user_id", [user.to_string()])).await?;
        let mut batch = Batch::wishes();
        let mut counts = false;
        for membership in &there {
            let Some(ends) = membership.desired.expires_at else { continue };
            if groups.contains(&membership.desired.group_id) {
                let mut longer = membership.clone();
                longer.desired.expires_at = Some(until);
                batch = batch.want(&longer);
                counts |= ends <= now || until < ends;
            } else {
                batch = batch.remove(membership);
                counts = true;
            }
        }
        for group in groups.iter().filter(|group| !there.iter().any(|it| it.desired.group_id == **group)) {
            let desired = MembershipDesired { user_id: user.clone(), group_id: group.clone(), expires_at: Some(until) };
            batch = batch.require(group).create(&Object::<Membership>::new(desired.id(), None, "", desired));
            counts = true;
        }
        if batch.is_empty() {
            return Ok(());
        }
        if counts {
            batch = batch.bump(EPOCH);
        }
        match app.store.apply(batch).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_race() || matches!(error, StoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// Makes the projects a mapping gives and gives the user the roles on them; from version 3 of mappings on the user loses all others.
pub(super) async fn projects(
    app: &Arc<App>,
    user: &Object<User>,
    provider: &Object<IdentityProvider>,
    otherwise: &Id<Domain>,
    wanted: &[MappedProject],
    version: Version,
) -> Result<(), Failure> {
    // All roles are looked for before anything is made.
    let mut roles: BTreeMap<&str, Id<Role>> = BTreeMap::new();
    for name in wanted.iter().flat_map(|it| &it.roles) {
        let role = match noun::named::<Role>(app, "", name).await? {
            Some(role) => role,
            None => noun::named::<Role>(app, user.desired.domain_id.as_str(), name).await?.ok_or_else(|| missing("role", name))?,
        };
        roles.insert(name, role.id);
    }
    let mut given: BTreeSet<Id<Assignment>> = BTreeSet::new();
    let mut grants = Vec::new();
    for it in wanted {
        let domain = domain_of(app, it.domain.as_ref(), otherwise).await?;
        let project = project(app, &domain, &it.name, provider).await?;
        for role in it.roles.iter().filter_map(|name| roles.get(name.as_str())) {
            let desired = AssignmentDesired::new(role.clone(), Actor::User(user.id.clone()), Target::Project(project.clone()), false);
            if given.insert(desired.id()) {
                grants.push(desired);
            }
        }
    }
    for _ in 0..RACES {
        let there = app.store.list(&Query::<Assignment>::new().column("user_id", [user.id.to_string()])).await?;
        let of_project = |it: &&Object<Assignment>| matches!(it.desired.target, Target::Project(_)) && !it.desired.inherited;
        let mut batch = Batch::wishes();
        for left in there.iter().filter(of_project).filter(|it| version >= Version::V3 && !given.contains(&it.id)) {
            batch = batch.remove(left);
        }
        for desired in grants.iter().filter(|it| !there.iter().any(|other| other.id == it.id())) {
            if let Target::Project(project) = &desired.target {
                batch = batch.require(project);
            }
            batch = batch.require(&desired.role_id).create(&Object::<Assignment>::new(desired.id(), None, "", desired.clone()));
        }
        if batch.is_empty() {
            return Ok(());
        }
        match app.store.apply(batch.bump(EPOCH)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_race() || matches!(error, StoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

async fn project(app: &App, domain: &Id<Domain>, name: &str, provider: &Object<IdentityProvider>) -> Result<Id<Project>, Failure> {
    for _ in 0..RACES {
        if let Some(found) = noun::named::<Project>(app, domain.as_str(), name).await? {
            return Ok(found.id);
        }
        let desired = ProjectDesired {
            domain_id: domain.clone(),
            parent_id: None,
            description: String::new(),
            enabled: true,
            tags: Vec::new(),
            immutable: None,
            extra: Map::new(),
        };
        let project = Object::<Project>::new(Id::random_hex(), None, name, desired);
        let batch = Project::names(&project)
            .iter()
            .fold(Batch::wishes().require(domain), |batch, it| batch.hold(&it.pool, &it.value, project.id.as_str()));
        match app.store.apply(batch.create(&project)).await {
            Ok(()) => {
                tracing::info!(id = %project.id, name, provider = %provider.id, "project created at a log-in");
                return Ok(project.id);
            }
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// What goes with protocols of a provider: users made by logging in that way go too, others are no longer known that way.
pub(super) async fn forget(ask: &Ask, idp: &str, protocols: &[&str], mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let mut holders: BTreeSet<String> = BTreeSet::new();
    for protocol in protocols {
        holders.extend(ask.app.store.allocations(&pool(idp, protocol)).await?.into_iter().map(|it| it.holder));
    }
    for holder in holders {
        let Some(before) = noun::get::<User>(&ask.app, &holder).await? else { continue };
        let mut after = before.clone();
        after.desired.federated.retain(|it| it.idp_id != idp || !protocols.contains(&it.protocol_id.as_str()));
        let gone = is_shadow(&before) && !is_shadow(&after);
        let kept: Vec<Name> = if gone { Vec::new() } else { names_of_user(&after) };
        for name in names_of_user(&before) {
            if !kept.iter().any(|it| it.pool == name.pool && it.value == name.value) {
                batch = batch.free(&name.pool, &name.value);
            }
        }
        batch = match gone {
            true => users::with_all_of(ask, &before, batch).await?.remove(&before),
            false => batch.want(&after),
        };
    }
    Ok(batch)
}
