//! Roles given to users on projects, domains and the system.

use axum::Json;
use axum::extract::Path;
use http::StatusCode;
use model::identity::{Assignment, AssignmentDesired, Domain, Project, Role, Target, User};
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError};

use super::{Ask, listed, nouns};
use crate::failure::Failure;

type OnTarget = Path<(String, String, String)>;
type OfTarget = Path<(String, String)>;

fn id<K>(text: &str, what: &str) -> Result<Id<K>, Failure> {
    Id::parse(text).ok_or_else(|| Failure::not_found(what, text))
}

async fn on_project(ask: &Ask, text: &str) -> Result<Target, Failure> {
    ask.caller.require_admin()?;
    let id: Id<Project> = id(text, "Project")?;
    ask.app.store.get(&id).await?.ok_or_else(|| Failure::not_found("Project", text))?;
    Ok(Target::Project(id))
}

async fn on_domain(ask: &Ask, text: &str) -> Result<Target, Failure> {
    ask.caller.require_admin()?;
    let id: Id<Domain> = id(text, "Domain")?;
    ask.app.store.get(&id).await?.ok_or_else(|| Failure::not_found("Domain", text))?;
    Ok(Target::Domain(id))
}

async fn assignment(ask: &Ask, target: Target, user: &str, role: &str) -> Result<AssignmentDesired, Failure> {
    ask.caller.require_admin()?;
    let user_id: Id<User> = id(user, "User")?;
    let role_id: Id<Role> = id(role, "Role")?;
    ask.app.store.get(&user_id).await?.ok_or_else(|| Failure::not_found("User", user))?;
    ask.app.store.get(&role_id).await?.ok_or_else(|| Failure::not_found("Role", role))?;
    Ok(AssignmentDesired { role_id, user_id, target })
}

async fn give(ask: &Ask, target: Target, user: &str, role: &str) -> Result<StatusCode, Failure> {
    let desired = assignment(ask, target, user, role).await?;
    let batch = Batch::wishes().require(&desired.user_id).require(&desired.role_id);
    let batch = match &desired.target {
        Target::Project(id) => batch.require(id),
        Target::Domain(id) => batch.require(id),
        Target::System => batch,
    };
    let batch = batch.create(&Object::new(desired.id(), None, "", desired));
    match ask.app.store.apply(batch).await {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

async fn check(ask: &Ask, target: Target, user: &str, role: &str) -> Result<StatusCode, Failure> {
    let desired = assignment(ask, target, user, role).await?;
    let found = ask.app.store.get(&desired.id()).await?;
    found.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| Failure::not_found("Role assignment", role))
}

async fn take(ask: &Ask, target: Target, user: &str, role: &str) -> Result<StatusCode, Failure> {
    let desired = assignment(ask, target, user, role).await?;
    let missing = || Failure::not_found("Role assignment", role);
    let found = ask.app.store.get(&desired.id()).await?.ok_or_else(missing)?;
    match ask.app.store.apply(Batch::wishes().remove(&found)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // An assignment never changes: somebody else took it.
        Err(StoreError::Stale { .. }) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

async fn list(ask: &Ask, target: Target, user: &str) -> Result<Json<Value>, Failure> {
    ask.caller.require_admin()?;
    let query = Query::<Assignment>::new().column("user_id", [user.to_owned()]).column("target", [target.key()]);
    let given: Vec<String> = ask.app.store.list(&query).await?.into_iter().map(|it| it.desired.role_id.to_string()).collect();
    let roles = ask.app.store.list(&Query::<Role>::new().ids(given)).await?;
    Ok(listed("roles", roles.iter().map(|it| nouns::role::shown(it, ask)).collect(), ask))
}

pub(super) async fn give_on_project(ask: Ask, Path((target, user, role)): OnTarget) -> Result<StatusCode, Failure> {
    let target = on_project(&ask, &target).await?;
    give(&ask, target, &user, &role).await
}

pub(super) async fn check_on_project(ask: Ask, Path((target, user, role)): OnTarget) -> Result<StatusCode, Failure> {
    let target = on_project(&ask, &target).await?;
    check(&ask, target, &user, &role).await
}

pub(super) async fn take_on_project(ask: Ask, Path((target, user, role)): OnTarget) -> Result<StatusCode, Failure> {
    let target = on_project(&ask, &target).await?;
    take(&ask, target, &user, &role).await
}

pub(super) async fn list_on_project(ask: Ask, Path((target, user)): OfTarget) -> Result<Json<Value>, Failure> {
    let target = on_project(&ask, &target).await?;
    list(&ask, target, &user).await
}

pub(super) async fn give_on_domain(ask: Ask, Path((target, user, role)): OnTarget) -> Result<StatusCode, Failure> {
    let target = on_domain(&ask, &target).await?;
    give(&ask, target, &user, &role).await
}

pub(super) async fn check_on_domain(ask: Ask, Path((target, user, role)): OnTarget) -> Result<StatusCode, Failure> {
    let target = on_domain(&ask, &target).await?;
    check(&ask, target, &user, &role).await
}

pub(super) async fn take_on_domain(ask: Ask, Path((target, user, role)): OnTarget) -> Result<StatusCode, Failure> {
    let target = on_domain(&ask, &target).await?;
    take(&ask, target, &user, &role).await
}

pub(super) async fn list_on_domain(ask: Ask, Path((target, user)): OfTarget) -> Result<Json<Value>, Failure> {
    let target = on_domain(&ask, &target).await?;
    list(&ask, target, &user).await
}

pub(super) async fn give_on_system(ask: Ask, Path((user, role)): OfTarget) -> Result<StatusCode, Failure> {
    give(&ask, Target::System, &user, &role).await
}

pub(super) async fn check_on_system(ask: Ask, Path((user, role)): OfTarget) -> Result<StatusCode, Failure> {
    check(&ask, Target::System, &user, &role).await
}

pub(super) async fn take_on_system(ask: Ask, Path((user, role)): OfTarget) -> Result<StatusCode, Failure> {
    take(&ask, Target::System, &user, &role).await
}

pub(super) async fn list_on_system(ask: Ask, Path(user): Path<String>) -> Result<Json<Value>, Failure> {
    list(&ask, Target::System, &user).await
}

/// GET /role_assignments
pub(super) async fn assignments(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.caller.require_admin()?;
    let mut query = Query::<Assignment>::new();
    if let Some(user) = ask.parameters.first("user.id") {
        query = query.column("user_id", [user.to_owned()]);
    }
    if let Some(role) = ask.parameters.first("role.id") {
        query = query.column("role_id", [role.to_owned()]);
    }
    if let Some(project) = ask.parameters.first("scope.project.id") {
        query = query.column("target", [format!("project:{project}")]);
    }
    if let Some(domain) = ask.parameters.first("scope.domain.id") {
        query = query.column("target", [format!("domain:{domain}")]);
    }
    if ask.parameters.first("scope.system").is_some() {
        query = query.column("target", [Target::System.key()]);
    }
    if ask.parameters.first("group.id").is_some() {
        query = query.ids([]);
    }
    let with_names = ask.parameters.first("include_names").is_some_and(|it| it != "0" && !it.eq_ignore_ascii_case("false"));
    let mut items = Vec::new();
    for it in ask.app.store.list(&query).await? {
        items.push(shown(&ask, &it, with_names).await?);
    }
    Ok(listed("role_assignments", items, &ask))
}

async fn shown(ask: &Ask, it: &Object<Assignment>, with_names: bool) -> Result<Value, Failure> {
    let store = &ask.app.store;
    let desired = &it.desired;
    let mut user = json!({"id": desired.user_id});
    let mut role = json!({"id": desired.role_id});
    let mut scope = match &desired.target {
        Target::Project(id) => json!({"project": {"id": id}}),
        Target::Domain(id) => json!({"domain": {"id": id}}),
        Target::System => json!({"system": {"all": true}}),
    };
    if with_names {
        let domain = async |id: &Id<Domain>| Ok::<_, Failure>(json!({"id": id, "name": store.get(id).await?.map(|it| it.name)}));
        if let Some(found) = store.get(&desired.user_id).await? {
            user = json!({"id": found.id, "name": found.name, "domain": domain(&found.desired.domain_id).await?});
        }
        if let Some(found) = store.get(&desired.role_id).await? {
            role = json!({"id": found.id, "name": found.name});
        }
        match &desired.target {
            Target::Project(id) => {
                if let Some(found) = store.get(id).await? {
                    scope = json!({"project": {"id": id, "name": found.name, "domain": domain(&found.desired.domain_id).await?}});
                }
            }
            Target::Domain(id) => scope = json!({"domain": domain(id).await?}),
            Target::System => {}
        }
    }
    Ok(
        json!({"scope": scope, "user": user, "role": role, "links": {"assignment": format!("{}/identity/v3/role_assignments/{}", ask.origin, it.id)}}),
    )
}
