//! Users.

use axum::Json;
use axum::extract::Path;
use http::StatusCode;
use model::identity::{Assignment, Domain, User, UserDesired};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query};

use super::super::{Ask, Body, auth, listed};
use super::{Noun, find};
use crate::App;
use crate::failure::Failure;
use crate::resource::{parse, rooted, value};

impl Noun for User {
    const SINGULAR: &'static str = "user";
    const PLURAL: &'static str = "users";
    const TITLE: &'static str = "User";
    const ATTRIBUTES: &'static [&'static str] = &["domain_id", "default_project_id", "description", "email", "enabled", "password"];

    fn blank(ask: &Ask) -> UserDesired {
        UserDesired {
            domain_id: ask.caller.user_domain_id.clone(),
            default_project_id: None,
            description: None,
            email: None,
            enabled: true,
            password_hash: None,
            tokens_not_before: Timestamp::default(),
        }
    }

    fn scope(desired: &UserDesired) -> String {
        desired.domain_id.to_string()
    }

    fn take(desired: &mut UserDesired, attribute: &str, value: &Value) -> Result<(), String> {
        let text = |value: &Value| if value.is_null() { Ok(None) } else { value::text(value, 255).map(Some) };
        match attribute {
            "domain_id" => desired.domain_id = value::id(value)?,
            "default_project_id" => desired.default_project_id = if value.is_null() { None } else { Some(value::id(value)?) },
            "description" => desired.description = text(value)?,
            "email" => desired.email = text(value)?,
            "enabled" => {
                let enabled = value::boolean(value)?;
                if desired.enabled && !enabled {
                    desired.tokens_not_before = auth::void_tokens();
                }
                desired.enabled = enabled;
            }
            // Hashed beside, off the async threads.
            _ => {
                value::text(value, 4096)?;
            }
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Value {
        let desired = &object.desired;
        let mut shown = json!({"domain_id": desired.domain_id, "enabled": desired.enabled, "password_expires_at": null, "options": {}});
        if let Some(map) = shown.as_object_mut() {
            // Keystone shows these only where they were given.
            for (key, value) in [("description", &desired.description), ("email", &desired.email)] {
                if let Some(value) = value {
                    map.insert(key.into(), json!(value));
                }
            }
            if let Some(project) = &desired.default_project_id {
                map.insert("default_project_id".into(), json!(project));
            }
        }
        shown
    }

    fn is_own(object: &Object<Self>, ask: &Ask) -> bool {
        ask.caller.user_id == object.id
    }
}

pub(in super::super) async fn named(app: &App, domain: &Id<Domain>, name: &str) -> Result<Option<Object<User>>, Failure> {
    super::named(app, domain.as_str(), name).await
}

/// The hash of the password a body gives, if it gives one; null takes the password away. Costs much: only for those who may.
/// The hash of the password a body gives: `None` if it gives none, `Some(None)` if it takes the password away.
async fn hashed(app: &App, body: &Body) -> Result<Option<Option<Secret>>, Failure> {
    let body = parse(body)?;
    match body.get("user").and_then(|user| user.get("password")) {
        None => Ok(None),
        Some(Value::String(password)) => Ok(Some(Some(app.identity.hashing.hash(&Secret::new(password)).await?))),
        Some(Value::Null) => Ok(Some(None)),
        Some(_) => Err(Failure::BadRequest("Invalid input for field 'password': it is not a string".into())),
    }
}

/// POST /users
pub(in super::super) async fn create(ask: Ask, body: Body) -> Result<(StatusCode, Json<Value>), Failure> {
    ask.caller.require_admin()?;
    let hash = hashed(&ask.app, &body).await?;
    super::create_with::<User>(&ask, body, |user| user.desired.password_hash = hash.flatten()).await
}

/// PATCH /users/{id}
pub(in super::super) async fn update(ask: Ask, Path(id): Path<String>, body: Body) -> Result<Json<Value>, Failure> {
    ask.caller.require_admin()?;
    let hash = hashed(&ask.app, &body).await?;
    let change = |user: &mut Object<User>| {
        if let Some(hash) = &hash {
            user.desired.password_hash.clone_from(hash);
            user.desired.tokens_not_before = auth::void_tokens();
        }
    };
    super::update_with::<User>(&ask, &id, body, change).await
}

/// POST /users/{id}/password: a user changes its own, knowing the old one. Older tokens are void.
pub(in super::super) async fn change_password(ask: Ask, Path(id): Path<String>, body: Body) -> Result<StatusCode, Failure> {
    let body = parse(&body)?;
    let body = rooted(&body, "user")?;
    let text = |key: &str| {
        let found = body.get(key).and_then(Value::as_str);
        found.map(Secret::new).ok_or_else(|| Failure::BadRequest(format!("'{key}' is a required property")))
    };
    let (old, new) = (text("original_password")?, text("password")?);
    let mut user = find::<User>(&ask, &id).await?;
    if !ask.app.identity.hashing.verify(&old, user.desired.password_hash.as_ref()).await? {
        return Err(Failure::Unauthorized("The request you have made requires authentication.".into()));
    }
    user.desired.password_hash = Some(ask.app.identity.hashing.hash(&new).await?);
    user.desired.tokens_not_before = auth::void_tokens();
    ask.app.store.apply(Batch::wishes().want(&user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// DELETE /users/{id}, with the roles it has.
pub(in super::super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    ask.caller.require_admin()?;
    let user = find::<User>(&ask, &id).await?;
    let given = ask.app.store.list(&Query::<Assignment>::new().column("user_id", [user.id.to_string()])).await?;
    super::delete_with(&ask, &user, |batch| given.iter().fold(batch, |batch, it| batch.remove(it))).await
}

/// GET /users/{id}/projects
pub(in super::super) async fn projects(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let user = find::<User>(&ask, &id).await?;
    let found = auth::projects_of(&ask.app, &user.id).await?;
    Ok(listed("projects", found.iter().map(|it| super::project::shown(it, &ask)).collect(), &ask))
}
