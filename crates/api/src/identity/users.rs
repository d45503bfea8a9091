//! Users and their passwords.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use model::access::Revoked;
use model::identity::{AccessRule, ApplicationCredential, Assignment, Credential, Domain, Membership, Project, Trust, User, UserDesired};
use model::password::{Options, PasswordState, SetBy};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::ask::{Ask, body_of, refused, rooted};
use super::noun::{self, Name, Noun, read};
use super::revocation::revoke;
use super::{auth, domains, schemas};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;
use crate::schema::Schema;

const KNOWN: [&str; 11] = [
    "name",
    "domain_id",
    "default_project_id",
    "description",
    "email",
    "enabled",
    "password",
    "options",
    "federated",
    "password_expires_at",
    "original_password",
];

impl Noun for User {
    const SINGULAR: &'static str = "user";
    const PLURAL: &'static str = "users";
    const CREATE: &'static Schema = &schemas::USER_CREATE;
    const UPDATE: &'static Schema = &schemas::USER_UPDATE;
    const FILTERS: &'static [&'static str] = &["domain_id", "enabled", "name"];
    const QUERY: &'static Schema = &schemas::USER_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(ask: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = UserDesired {
            domain_id: domains::named_in(ask, body)?,
            default_project_id: None,
            description: None,
            email: None,
            enabled: true,
            password_hash: None,
            extra: Map::new(),
            options: Options::default(),
            password: PasswordState::default(),
            federated: Vec::new(),
        };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        if before.is_some() {
            domains::check_stays(&object.desired.domain_id, body)?;
        } else if ask.app.store.get(&object.desired.domain_id).await?.is_none() {
            return Err(super::ask::missing("domain", object.desired.domain_id.as_str()));
        }
        if let Some(name) = read::text(body, "name") {
            object.name = noun::trimmed(&name)?;
        }
        let desired = &mut object.desired;
        read::put(&mut desired.description, body, "description");
        // Shown as they were given, also as null.
        for (place, key) in [(&mut desired.description, "description"), (&mut desired.email, "email")] {
            match body.get(key) {
                Some(Value::String(text)) => *place = Some(text.clone()),
                Some(other) => {
                    *place = None;
                    desired.extra.insert(key.into(), other.clone());
                }
                None => {}
            }
        }
        if let Some(project) = body.get("default_project_id") {
            desired.default_project_id = default_project(ask, project).await?;
        }
        read::put_bool(&mut desired.enabled, body, "enabled");
        if before.is_some_and(|it| !it.desired.enabled) && desired.enabled {
            desired.password.record_enabled(Timestamp::now());
        }
        if let Some(options) = body.get("options").and_then(Value::as_object) {
            merge_options(&mut desired.options, options)?;
        }
        if let Some(federated) = body.get("federated") {
            desired.federated = federated_of(federated);
        }
        read::extra(&mut desired.extra, body, &KNOWN);
        match body.get("password") {
            Some(Value::String(text)) => {
                let password = Secret::new(text.clone());
                ask.app.identity.hashing.check_strength(&password)?;
                let hash = ask.app.identity.hashing.hash(&password).await?;
                let rules = &ask.app.settings.identity.security_compliance;
                desired.password.set_password(rules, &desired.options, hash, SetBy::Administrator, Timestamp::now());
                desired.password_hash = None;
            }
            Some(_) => {
                desired.password.history.clear();
                desired.password_hash = None;
            }
            None => {}
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = desired.extra.clone();
        shown.insert("name".into(), json!(object.name));
        shown.insert("domain_id".into(), json!(desired.domain_id));
        shown.insert("enabled".into(), json!(desired.enabled));
        shown.insert("password_expires_at".into(), json!(desired.password.password_expires_at().map(Timestamp::iso_micros)));
        shown.insert("options".into(), json!(desired.options));
        for (key, value) in [("description", &desired.description), ("email", &desired.email)] {
            if let Some(value) = value {
                shown.insert(key.into(), json!(value));
            }
        }
        if let Some(project) = &desired.default_project_id {
            shown.insert("default_project_id".into(), json!(project));
        }
        if !desired.federated.is_empty() {
            shown.insert("federated".into(), federated_shown(desired));
        }
        shown
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        super::federation::names_of_user(object)
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        batch.require(&object.desired.domain_id)
    }

    fn domain(object: &Object<Self>) -> Option<&Id<Domain>> {
        Some(&object.desired.domain_id)
    }

    async fn along(ask: &Ask, before: &Object<Self>, after: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let disabled = before.desired.enabled && !after.desired.enabled;
        if disabled || before.desired.current_hash() != after.desired.current_hash() {
            return revoke(&ask.app, batch, vec![Revoked::User(after.id.clone())]).await;
        }
        Ok(batch)
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        with_all_of(ask, object, batch).await
    }
}

/// What goes with a user: roles, groups, credentials, application credentials, trusts, tokens.
pub(super) async fn with_all_of(ask: &Ask, object: &Object<User>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let store = &ask.app.store;
    let id = || [object.id.to_string()];
    batch = store.list(&Query::<Assignment>::new().column("user_id", id())).await?.iter().fold(batch, Batch::remove);
    batch = store.list(&Query::<Membership>::new().column("user_id", id())).await?.iter().fold(batch, Batch::remove);
    for it in store.list(&Query::<Credential>::new().column("user_id", id())).await? {
        batch = Credential::names(&it).iter().fold(batch.remove(&it), |batch, name| batch.free(&name.pool, &name.value));
    }
    for it in store.list(&Query::<ApplicationCredential>::new().column("user_id", id())).await? {
        batch = super::application_credentials::removed(&it, batch);
    }
    batch = store.list(&Query::<AccessRule>::new().column("user_id", id())).await?.iter().fold(batch, Batch::remove);
    let lent = store.list(&Query::<Trust>::new().column("trustor_user_id", id())).await?;
    batch = lent.iter().fold(batch, Batch::remove);
    let borrowed = store.list(&Query::<Trust>::new().column("trustee_user_id", id())).await?;
    batch = borrowed.iter().filter(|it| !lent.iter().any(|other| other.id == it.id)).fold(batch, Batch::remove);
    revoke(&ask.app, batch, vec![Revoked::User(object.id.clone())]).await
}

/// A default project: it need not be there, but may not be a domain.
async fn default_project(ask: &Ask, value: &Value) -> Result<Option<Id<Project>>, Failure> {
    let Some(text) = value.as_str() else { return Ok(None) };
    if noun::get::<Domain>(&ask.app, text).await?.is_some() {
        return Err(Failure::BadRequest("User's default project ID cannot be a domain ID: default_project_id".into()));
    }
    Ok(Id::parse(text))
}

/// Takes the options a body names; null takes one away.
fn merge_options(options: &mut Options, wanted: &Map<String, Value>) -> Result<(), Failure> {
    let wrong = |_| Failure::Internal("options of a user do not read as written".into());
    let mut all = serde_json::to_value(&*options).map_err(wrong)?;
    if let Some(map) = all.as_object_mut() {
        for (key, value) in wanted {
            match value {
                Value::Null => drop(map.remove(key)),
                other => drop(map.insert(key.clone(), other.clone())),
            }
        }
    }
    let merged: Options =
        serde_json::from_value(all).map_err(|error| Failure::BadRequest(format!("Invalid input for field 'options': {error}")))?;
    if !merged.rules_are_sound() {
        return Err(Failure::BadRequest("Invalid input for field 'multi_factor_auth_rules': a set is empty or there twice".into()));
    }
    *options = merged;
    Ok(())
}

fn federated_of(value: &Value) -> Vec<model::identity::FederatedIdentity> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let providers = value.as_array().into_iter().flatten();
    providers
        .flat_map(|idp| {
            let protocols = idp.get("protocols").and_then(Value::as_array).into_iter().flatten();
            protocols.map(move |protocol| model::identity::FederatedIdentity {
                idp_id: text(idp, "idp_id"),
                protocol_id: text(protocol, "protocol_id"),
                unique_id: text(protocol, "unique_id"),
            })
        })
        .collect()
}

fn federated_shown(desired: &UserDesired) -> Value {
    let mut out: Vec<Value> = Vec::new();
    for it in &desired.federated {
        let protocol = json!({"protocol_id": it.protocol_id, "unique_id": it.unique_id});
        match out.iter_mut().find(|idp| idp["idp_id"] == json!(it.idp_id)).and_then(|idp| idp["protocols"].as_array_mut()) {
            Some(protocols) => protocols.push(protocol),
            None => out.push(json!({"idp_id": it.idp_id, "protocols": [protocol]})),
        }
    }
    Value::Array(out)
}

/// GET /users, also by where an external provider knows them from and by when passwords expire.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let target = ask.caller.domain_id.as_ref().map_or_else(|| json!({}), |domain| json!({"domain_id": domain}));
    ask.enforce("identity:list_users", target)?;
    noun::check_query(&ask, User::QUERY)?;
    if let Some(page) = noun::store_page::<User>(&ask).await? {
        return Ok(page);
    }
    let mut found = noun::candidates::<User>(&ask).await?;
    for (key, pick) in [
        ("idp_id", (|it| &it.idp_id) as fn(&model::identity::FederatedIdentity) -> &String),
        ("protocol_id", |it| &it.protocol_id),
        ("unique_id", |it| &it.unique_id),
    ] {
        if let Some(wanted) = ask.parameters.first(key) {
            found.retain(|user| user.desired.federated.iter().any(|it| pick(it) == wanted));
        }
    }
    if let Some(wanted) = ask.parameters.first("password_expires_at") {
        let (how, text) = wanted.split_once(':').filter(|(how, _)| how.len() <= 3).unwrap_or(("eq", wanted));
        let at = ::identity::ec2::parse_iso8601(text).ok_or_else(|| {
            Failure::BadRequest(format!("Invalid input for field 'password_expires_at': '{wanted}' is not an operator and a time"))
        })?;
        let fits = move |has: Timestamp| match how {
            "lt" => has < at,
            "lte" => has <= at,
            "gt" => has > at,
            "gte" => has >= at,
            "neq" => has != at,
            _ => has == at,
        };
        found.retain(|user| user.desired.password.password_expires_at().is_some_and(fits));
    }
    noun::answer_list(&ask, &found)
}

/// POST /users/{id}/password: whoever knows the old password may set a new one, also if the old one has expired. Older tokens are void.
async fn change_password(Shared(app): Shared<Arc<App>>, Path(id): Path<String>, bytes: Bytes) -> Result<StatusCode, Failure> {
    let body = rooted(&body_of(&bytes, &schemas::USER_PASSWORD)?, "user")?;
    let secret = |key: &str| Secret::new(read::text(&body, key).unwrap_or_default());
    let (old, new) = (secret("original_password"), secret("password"));
    let rules = &app.settings.identity.security_compliance;
    let hashing = &app.identity.hashing;
    for _ in 0..RACES {
        let now = Timestamp::now();
        let user = noun::get::<User>(&app, &id).await?;
        let locked = user.as_ref().is_some_and(|it| it.desired.password.is_locked(rules, &it.desired.options, now));
        let hash = user.as_ref().filter(|_| !locked).and_then(|it| it.desired.current_hash());
        let right = hashing.verify(&old, hash).await?;
        if let (false, false, Some(user), true) = (right, locked, &user, rules.lockout_failure_attempts.is_some()) {
            // A guess here is a guess as at any log-in.
            auth::password::note(&app, user.clone(), |user| user.desired.password.record_failure(rules, now)).await?;
        }
        let Some(mut user) = user.filter(|it| right && it.desired.enabled) else { return Err(refused()) };
        let desired = &mut user.desired;
        desired
            .password
            .may_change(rules, &desired.options, now)
            .map_err(|why| Failure::BadRequest(format!("Cannot change password: {why}")))?;
        hashing.check_strength(&new)?;
        let remembered: Vec<Secret> = desired.password.remembered(rules).cloned().collect();
        for past in &remembered {
            if hashing.verify(&new, Some(past)).await? {
                let count = rules.unique_last_password_count;
                return Err(Failure::BadRequest(format!(
                    "Changed password cannot be identical to a previous password. The total number which includes the new password must be unique is {count}."
                )));
            }
        }
        let hash = hashing.hash(&new).await?;
        desired.password.set_password(rules, &desired.options, hash, SetBy::User, now);
        desired.password_hash = None;
        let batch = revoke(&app, Batch::wishes(), vec![Revoked::User(user.id.clone())]).await?;
        match app.store.apply(batch.want(&user)).await {
            Ok(()) => {
                tracing::info!(user.id = %user.id, "password changed");
                return Ok(StatusCode::NO_CONTENT);
            }
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// DELETE /users/{id}/tokens
async fn revoke_tokens(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let found = noun::get::<User>(&ask.app, &id).await?;
    ask.enforce_with("identity:revoke_tokens_for_user", noun::target_of(found.as_ref()), &[("user_id", id.as_str())])?;
    let user = found.ok_or_else(|| super::ask::missing("user", &id))?;
    ask.app.store.apply(revoke(&ask.app, Batch::wishes(), vec![Revoked::User(user.id)]).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/users/{id}/tokens", delete(revoke_tokens))
        .route("/users", get(list).post(noun::create::<User>))
        .route("/users/{id}", get(noun::show::<User>).patch(noun::update::<User>).delete(noun::delete::<User>))
        .route("/users/{id}/password", post(change_password))
}
