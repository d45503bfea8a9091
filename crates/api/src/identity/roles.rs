//! Roles, those of a domain's own too, and which of them imply which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::{ApplicationCredential, Assignment, Domain, ImpliedRole, ImpliedRoleDesired, Role, RoleDesired, Target};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, body_of, id_of, missing, rooted};
use super::noun::{self, EPOCH, Name, Noun, name_in, read};
use super::role_assignments::by_column;
use super::{application_credentials, immutable, schemas};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

/// Roles that no other may imply (Source: `keystone/conf/assignment.py`, `prohibited_implied_role`).
const NEVER_IMPLIED: [&str; 1] = ["admin"];

impl Noun for Role {
    const SINGULAR: &'static str = "role";
    const PLURAL: &'static str = "roles";
    const CREATE: &'static Schema = &schemas::ROLE_CREATE;
    const UPDATE: &'static Schema = &schemas::ROLE_UPDATE;
    const FILTERS: &'static [&'static str] = &["name", "domain_id"];
    const QUERY: &'static Schema = &schemas::ROLE_INDEX_QUERY;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let domain_id = match body.get("domain_id").and_then(Value::as_str) {
            Some(text) => Some(id_of("domain", text)?),
            None => None,
        };
        Ok(Object::new(Id::random_hex(), None, "", RoleDesired { domain_id, ..RoleDesired::default() }))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        immutable::check_change("role", before.map(|it| (it.id.as_str(), it.desired.immutable)), body)?;
        let desired = &mut object.desired;
        if before.is_some() && body.get("domain_id").is_some_and(|it| it.as_str() != desired.domain_id.as_ref().map(Id::as_str)) {
            return Err(Failure::BadRequest("Update of `domain_id` is not allowed.".into()));
        }
        read::put(&mut desired.description, body, "description");
        read::immutable(&mut desired.immutable, body);
        read::extra(&mut desired.extra, body, &["name", "description", "domain_id", "options"]);
        if let Some(name) = read::text(body, "name") {
            object.name = name;
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = desired.extra.clone();
        shown.insert("name".into(), json!(object.name));
        shown.insert("domain_id".into(), json!(desired.domain_id));
        shown.insert("description".into(), json!(desired.description));
        shown.insert("options".into(), immutable::shown(desired.immutable));
        shown
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        vec![name_in::<Self>(object.desired.domain_id.as_ref().map_or("", Id::as_str), &object.name)]
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        match &object.desired.domain_id {
            Some(domain) => batch.require(domain),
            None => batch,
        }
    }

    fn domain(object: &Object<Self>) -> Option<&Id<Domain>> {
        object.desired.domain_id.as_ref()
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        immutable::check_delete("role", object.id.as_str(), object.desired.immutable)?;
        let store = &ask.app.store;
        let id = object.id.to_string();
        let given = store.list(&Query::<Assignment>::new().column("role_id", [id.clone()])).await?;
        batch = given.iter().fold(batch, Batch::remove);
        let implies = store.list(&Query::<ImpliedRole>::new().column("prior_id", [id.clone()])).await?;
        batch = implies.iter().fold(batch, Batch::remove);
        let implied = store.list(&Query::<ImpliedRole>::new().column("implied_id", [id.clone()])).await?;
        // One that implies itself is in both lists.
        batch = implied.iter().filter(|it| it.desired.prior_id != object.id).fold(batch, Batch::remove);
        batch = without_application_credentials(ask, &given, batch).await?;
        Ok(batch
            .unless_referenced::<Assignment>("role_id", &id)
            .unless_referenced::<ImpliedRole>("prior_id", &id)
            .unless_referenced::<ImpliedRole>("implied_id", &id))
    }
}

/// With a role go all application credentials of those to whom it was given on a project, for that project (Source:
/// `keystone/assignment/core.py`, `delete_role`).
async fn without_application_credentials(ask: &Ask, given: &[Object<Assignment>], batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let holders: BTreeSet<(String, String)> = given
        .iter()
        .filter_map(|it| match (&it.desired.user_id, &it.desired.target) {
            (Some(user), Target::Project(project)) => Some((user.to_string(), project.to_string())),
            _ => None,
        })
        .collect();
    if holders.is_empty() {
        return Ok(batch);
    }
    let users: BTreeSet<String> = holders.iter().map(|(user, _)| user.clone()).collect();
    let theirs = by_column::<ApplicationCredential>(&ask.app, "user_id", users).await?;
    let ended = theirs.iter().filter(|it| holders.contains(&(it.desired.user_id.to_string(), it.desired.of_project.to_string())));
    Ok(ended.fold(batch, |batch, it| application_credentials::removed(it, batch)))
}

/// The rule for a call on one role: a domain's own roles have rules of their own. Of one that is not there, the usual one.
fn rule_for(verb: &str, role: Option<&Object<Role>>) -> String {
    let is_of_domain = role.is_some_and(|it| it.desired.domain_id.is_some());
    format!("identity:{verb}_{}", if is_of_domain { "domain_role" } else { "role" })
}

/// GET /roles: those of everybody, or with `domain_id` a domain's own.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let domain = ask.parameters.first("domain_id").filter(|it| !it.is_empty()).map(str::to_owned);
    ask.enforce(if domain.is_some() { "identity:list_domain_roles" } else { "identity:list_roles" }, json!({}))?;
    noun::check_query(&ask, Role::QUERY)?;
    let query = match domain {
        Some(domain) => Query::<Role>::new().column("domain_id", [domain]),
        None => Query::<Role>::new().unset("domain_id"),
    };
    noun::answer_list(&ask, &ask.app.store.list(&query).await?)
}

/// POST /roles
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, Role::CREATE)?, "role")?;
    let object = Role::blank(&ask, &body)?;
    let made = noun::create_from::<Role>(&ask, object.clone(), &body, &rule_for("create", Some(&object))).await?;
    Ok((StatusCode::CREATED, Json(json!({"role": noun::shown(&made, &ask)}))))
}

/// GET /roles/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = noun::get::<Role>(&ask.app, &id).await?;
    ask.enforce(&rule_for("get", found.as_ref()), noun::target_of(found.as_ref()))?;
    let role = found.ok_or_else(|| missing("role", &id))?;
    Ok(Json(json!({"role": noun::shown(&role, &ask)})))
}

/// PATCH /roles/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    let found = noun::get::<Role>(&ask.app, &id).await?;
    let changed = noun::change::<Role>(&ask, &id, &bytes, &rule_for("update", found.as_ref())).await?;
    Ok(Json(json!({"role": noun::shown(&changed, &ask)})))
}

/// DELETE /roles/{id}
async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let found = noun::get::<Role>(&ask.app, &id).await?;
    noun::remove::<Role>(&ask, &id, &rule_for("delete", found.as_ref())).await
}

/// A role as inferences show it.
fn brief(role: &Object<Role>, ask: &Ask) -> Value {
    json!({"id": role.id, "name": role.name, "links": {"self": ask.link(&format!("roles/{}", role.id))}})
}

/// Two roles of a path if the rule lets the caller.
async fn pair(ask: &Ask, prior: &str, implied: &str, rule: &str) -> Result<(Object<Role>, Object<Role>), Failure> {
    let (one, other) = (noun::get::<Role>(&ask.app, prior).await?, noun::get::<Role>(&ask.app, implied).await?);
    let mut target = Map::new();
    for (key, role) in [("prior_role", &one), ("implied_role", &other)] {
        if let Some(role) = role {
            target.insert(key.into(), Role::target(role));
        }
    }
    ask.enforce(rule, Value::Object(target))?;
    let one = one.ok_or_else(|| missing("role", prior))?;
    let other = other.ok_or_else(|| missing("role", implied))?;
    Ok((one, other))
}

/// The inference between two roles.
async fn inferred(ask: &Ask, prior: &Id<Role>, implied: &Id<Role>) -> Result<Object<ImpliedRole>, Failure> {
    let id = ImpliedRoleDesired { prior_id: prior.clone(), implied_id: implied.clone() }.id();
    let found = ask.app.store.get(&id).await?;
    found.ok_or_else(|| Failure::named(StatusCode::NOT_FOUND, "NotFound", format!("{prior} does not imply {implied}.")))
}

fn inference(ask: &Ask, prior: &Object<Role>, implied: &Object<Role>) -> Json<Value> {
    Json(json!({
        "role_inference": {"prior_role": brief(prior, ask), "implies": brief(implied, ask)},
        "links": {"self": ask.link(&format!("roles/{}/implies/{}", prior.id, implied.id))},
    }))
}

/// GET /roles/{prior}/implies
async fn implies(ask: Ask, Path(prior): Path<String>) -> Result<Json<Value>, Failure> {
    let found = noun::get::<Role>(&ask.app, &prior).await?;
    let target = found.as_ref().map_or_else(|| json!({}), |it| json!({"prior_role": Role::target(it)}));
    ask.enforce("identity:list_implied_roles", target)?;
    let role = found.ok_or_else(|| missing("role", &prior))?;
    let rules = ask.app.store.list(&Query::<ImpliedRole>::new().column("prior_id", [role.id.to_string()])).await?;
    let implied = ask.app.store.list(&Query::<Role>::new().ids(rules.iter().map(|it| it.desired.implied_id.to_string()))).await?;
    let implied: Vec<Value> = implied.iter().map(|it| brief(it, &ask)).collect();
    Ok(Json(json!({
        "role_inference": {"prior_role": brief(&role, &ask), "implies": implied},
        "links": {"self": ask.link(&format!("roles/{}/implies", role.id))},
    })))
}

/// GET /roles/{prior}/implies/{implied}
async fn show_implied(ask: Ask, Path((prior, implied)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let (prior, implied) = pair(&ask, &prior, &implied, "identity:get_implied_role").await?;
    inferred(&ask, &prior.id, &implied.id).await?;
    Ok(inference(&ask, &prior, &implied))
}

/// HEAD of the same; Keystone answers it without content.
async fn check_implied(ask: Ask, Path((prior, implied)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let (prior, implied) = pair(&ask, &prior, &implied, "identity:check_implied_role").await?;
    inferred(&ask, &prior.id, &implied.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// PUT /roles/{prior}/implies/{implied}
async fn imply(ask: Ask, Path((prior, implied)): Path<(String, String)>) -> Result<(StatusCode, Json<Value>), Failure> {
    let (prior, implied) = pair(&ask, &prior, &implied, "identity:create_implied_role").await?;
    let is_global = prior.desired.domain_id.is_none();
    if NEVER_IMPLIED.contains(&implied.name.as_str()) || (is_global && implied.desired.domain_id.is_some()) {
        return Err(Failure::Forbidden(format!("{} cannot be an implied roles.", implied.id)));
    }
    let desired = ImpliedRoleDesired { prior_id: prior.id.clone(), implied_id: implied.id.clone() };
    let batch = Batch::wishes().require(&prior.id).require(&implied.id).bump(EPOCH);
    match ask.app.store.apply(batch.create(&Object::<ImpliedRole>::new(desired.id(), None, "", desired))).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => {
            return Err(Failure::Conflict("Conflict occurred attempting to store implied_role - Duplicate entry.".into()));
        }
        Err(StoreError::Stale { kind, id }) => return Err(missing(kind, &id)),
        Err(error) => return Err(error.into()),
    }
    tracing::info!(prior = %prior.id, implied = %implied.id, "role implies another");
    Ok((StatusCode::CREATED, inference(&ask, &prior, &implied)))
}

/// DELETE /roles/{prior}/implies/{implied}
async fn imply_no_more(ask: Ask, Path((prior, implied)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let (prior, implied) = pair(&ask, &prior, &implied, "identity:delete_implied_role").await?;
    let found = inferred(&ask, &prior.id, &implied.id).await?;
    match ask.app.store.apply(Batch::wishes().remove(&found).bump(EPOCH)).await {
        // An inference never changes: somebody else removed it.
        Ok(()) | Err(StoreError::Stale { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    tracing::info!(prior = %prior.id, implied = %implied.id, "role implies another no more");
    Ok(StatusCode::NO_CONTENT)
}

/// GET /role_inferences
async fn inferences(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_role_inference_rules", json!({}))?;
    let roles = ask.app.store.list(&Query::<Role>::new()).await?;
    let roles: BTreeMap<&Id<Role>, &Object<Role>> = roles.iter().map(|it| (&it.id, it)).collect();
    let rules = ask.app.store.list(&Query::<ImpliedRole>::new()).await?;
    let mut by_prior: BTreeMap<&Id<Role>, Vec<Value>> = BTreeMap::new();
    for rule in &rules {
        if let Some(implied) = roles.get(&rule.desired.implied_id) {
            by_prior.entry(&rule.desired.prior_id).or_default().push(brief(implied, &ask));
        }
    }
    let shown: Vec<Value> = by_prior
        .into_iter()
        .filter_map(|(prior, implies)| roles.get(prior).map(|prior| json!({"prior_role": brief(prior, &ask), "implies": implies})))
        .collect();
    Ok(Json(json!({"role_inferences": shown})))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/roles", get(list).post(create))
        .route("/roles/{id}", get(show).patch(update).delete(delete))
        .route("/roles/{id}/implies", get(implies))
        .route("/roles/{id}/implies/{implied}", get(show_implied).head(check_implied).put(imply).delete(imply_no_more))
        .route("/role_inferences", get(inferences))
}
