//! Groups and who is in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::access::Revoked;
use model::identity::{Assignment, Domain, Group, GroupDesired, Membership, MembershipDesired, User};
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, missing};
use super::noun::{self, EPOCH, Name, Noun, name_in, read};
use super::revocation::revoke;
use super::role_assignments::by_ids;
use super::{domains, schemas};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;
use crate::schema::Schema;

impl Noun for Group {
    const SINGULAR: &'static str = "group";
    const PLURAL: &'static str = "groups";
    const CREATE: &'static Schema = &schemas::GROUP_CREATE;
    const UPDATE: &'static Schema = &schemas::GROUP_UPDATE;
    const FILTERS: &'static [&'static str] = &["domain_id", "name"];
    const QUERY: &'static Schema = &schemas::GROUP_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(ask: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = GroupDesired { domain_id: domains::named_in(ask, body)?, description: String::new(), extra: Map::new() };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        if before.is_some() {
            domains::check_stays(&object.desired.domain_id, body)?;
        } else if ask.app.store.get(&object.desired.domain_id).await?.is_none() {
            return Err(missing("domain", object.desired.domain_id.as_str()));
        }
        if let Some(name) = read::text(body, "name") {
            object.name = noun::trimmed(&name)?;
        }
        if let Some(text) = body.get("description") {
            object.desired.description = text.as_str().unwrap_or_default().to_owned();
        }
        read::extra(&mut object.desired.extra, body, &["name", "domain_id", "description", "membership_expires_at"]);
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let mut shown = object.desired.extra.clone();
        shown.insert("name".into(), json!(object.name));
        shown.insert("domain_id".into(), json!(object.desired.domain_id));
        shown.insert("description".into(), json!(object.desired.description));
        shown
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        vec![name_in::<Self>(object.desired.domain_id.as_str(), &object.name)]
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        batch.require(&object.desired.domain_id)
    }

    fn domain(object: &Object<Self>) -> Option<&Id<Domain>> {
        Some(&object.desired.domain_id)
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let store = &ask.app.store;
        let id = object.id.to_string();
        let members = store.list(&Query::<Membership>::new().column("group_id", [id.clone()])).await?;
        batch = members.iter().fold(batch, Batch::remove);
        let given = store.list(&Query::<Assignment>::new().column("group_id", [id.clone()])).await?;
        batch = given.iter().fold(batch, Batch::remove);
        batch = batch.unless_referenced::<Membership>("group_id", &id).unless_referenced::<Assignment>("group_id", &id);
        if given.is_empty() {
            // Nobody loses anything by its end.
            return Ok(batch);
        }
        revoke(&ask.app, batch, members.into_iter().map(|it| Revoked::User(it.desired.user_id)).collect()).await
    }
}

/// Whether a membership counts now.
pub(super) fn holds(membership: &Object<Membership>, now: Timestamp) -> bool {
    membership.desired.expires_at.is_none_or(|at| at > now)
}

/// What rules see of a group and a user.
fn both(group: Option<&Object<Group>>, user: Option<&Object<User>>) -> Value {
    let mut target = Map::new();
    if let Some(group) = group {
        target.insert("group".into(), Group::target(group));
    }
    if let Some(user) = user {
        target.insert("user".into(), User::target(user));
    }
    Value::Object(target)
}

/// A group and a user of a path if the rule lets the caller, and the membership between the two.
async fn pair(
    ask: &Ask,
    group: &str,
    user: &str,
    rule: &str,
) -> Result<(Object<Group>, Object<User>, Option<Object<Membership>>), Failure> {
    let (found, member) = (noun::get::<Group>(&ask.app, group).await?, noun::get::<User>(&ask.app, user).await?);
    ask.enforce(rule, both(found.as_ref(), member.as_ref()))?;
    let found = found.ok_or_else(|| missing("group", group))?;
    let member = member.ok_or_else(|| missing("user", user))?;
    let id = MembershipDesired { user_id: member.id.clone(), group_id: found.id.clone(), expires_at: None }.id();
    let membership = ask.app.store.get(&id).await?;
    Ok((found, member, membership))
}

fn not_in(user: &Id<User>, group: &Id<Group>) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NotFound", format!("User '{user}' not found in group '{group}'"))
}

/// PUT /groups/{id}/users/{user_id}
async fn add(ask: Ask, Path((group, user)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    for _ in 0..RACES {
        let (group, user, membership) = pair(&ask, &group, &user, "identity:add_user_to_group").await?;
        let batch = Batch::wishes().require(&group.id).require(&user.id).bump(EPOCH);
        let batch = match membership {
            Some(there) if there.desired.expires_at.is_none() => return Ok(StatusCode::NO_CONTENT),
            // One that an external provider granted for some time stays from now on.
            Some(mut there) => {
                there.desired.expires_at = None;
                batch.want(&there)
            }
            None => {
                let desired = MembershipDesired { user_id: user.id.clone(), group_id: group.id.clone(), expires_at: None };
                batch.create(&Object::<Membership>::new(desired.id(), None, "", desired))
            }
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => {
                tracing::info!(user.id = %user.id, group.id = %group.id, "user put into group");
                return Ok(StatusCode::NO_CONTENT);
            }
            // Somebody else put the user in, or one of the two has gone: looking again tells.
            Err(StoreError::Exists { .. } | StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// GET and HEAD /groups/{id}/users/{user_id}
async fn check(ask: Ask, Path((group, user)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let (group, user, membership) = pair(&ask, &group, &user, "identity:check_user_in_group").await?;
    match membership.filter(|it| holds(it, Timestamp::now())) {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(not_in(&user.id, &group.id)),
    }
}

/// DELETE /groups/{id}/users/{user_id}; the user's tokens end.
async fn take_out(ask: Ask, Path((group, user)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    for _ in 0..RACES {
        let (group, user, membership) = pair(&ask, &group, &user, "identity:remove_user_from_group").await?;
        let Some(membership) = membership else { return Err(not_in(&user.id, &group.id)) };
        let batch = revoke(&ask.app, Batch::wishes(), vec![Revoked::User(user.id.clone())]).await?;
        match ask.app.store.apply(batch.remove(&membership)).await {
            Ok(()) => {
                tracing::info!(user.id = %user.id, group.id = %group.id, "user taken out of group");
                return Ok(StatusCode::NO_CONTENT);
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// GET /groups/{id}/users
async fn members(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let group = noun::permitted::<Group>(&ask, &id, "identity:list_users_in_group").await?;
    let now = Timestamp::now();
    let memberships = ask.app.store.list(&Query::<Membership>::new().column("group_id", [group.id.to_string()])).await?;
    let ids: BTreeSet<String> = memberships.iter().filter(|it| holds(it, now)).map(|it| it.desired.user_id.to_string()).collect();
    let mut users = by_ids::<User>(&ask.app, ids).await?;
    users.retain(|it| ask.caller.domain_id.as_ref().is_none_or(|domain| *domain == it.desired.domain_id));
    noun::answer_list(&ask, &users)
}

/// GET /users/{id}/groups
async fn of_user(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = noun::get::<User>(&ask.app, &id).await?;
    ask.enforce_with("identity:list_groups_for_user", noun::target_of(found.as_ref()), &[("user_id", &id)])?;
    let user = found.ok_or_else(|| missing("user", &id))?;
    let now = Timestamp::now();
    let memberships = ask.app.store.list(&Query::<Membership>::new().column("user_id", [user.id.to_string()])).await?;
    let ends = |group: &Id<Group>| memberships.iter().find(|it| it.desired.group_id == *group).and_then(|it| it.desired.expires_at);
    let ids: BTreeSet<String> = memberships.iter().filter(|it| holds(it, now)).map(|it| it.desired.group_id.to_string()).collect();
    let groups = by_ids::<Group>(&ask.app, ids).await?;
    let items = groups
        .iter()
        .filter(|it| ask.caller.domain_id.as_ref().is_none_or(|domain| *domain == it.desired.domain_id))
        .map(|it| {
            let mut shown = noun::shown(it, &ask);
            shown["membership_expires_at"] = json!(ends(&it.id).map(Timestamp::iso_micros));
            shown
        })
        .filter(|it| noun::kept(it, &ask, &["name"]))
        .collect();
    noun::paged("groups", items, &ask)
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/groups", get(noun::list::<Group>).post(noun::create::<Group>))
        .route("/groups/{id}", get(noun::show::<Group>).patch(noun::update::<Group>).delete(noun::delete::<Group>))
        .route("/groups/{id}/users", get(members))
        .route("/groups/{id}/users/{user_id}", get(check).put(add).delete(take_out))
        .route("/users/{id}/groups", get(of_user))
}
