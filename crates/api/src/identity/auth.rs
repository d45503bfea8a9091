//! `/v3/auth/…`: tokens and what they open.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use model::identity::{Assignment, Domain, Project, User};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError};

use super::token::{self, Claims, REVOKED, Scope, Valid};
use super::{Ask, Body, catalog as services, nouns};
use crate::App;
use crate::failure::Failure;
use crate::links::origin;
use crate::resource::{Parameters, parse};

/// One text for every way of not being let in, so that nobody learns which users there are.
fn refused() -> Failure {
    Failure::Unauthorized("The request you have made requires authentication.".into())
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, Failure> {
    value
        .pointer(path)
        .and_then(Value::as_object)
        .ok_or_else(|| Failure::BadRequest(format!("'{}' is a required property", path.trim_start_matches('/').replace('/', "."))))
}

/// POST /auth/tokens
pub(super) async fn issue(Shared(app): Shared<Arc<App>>, headers: HeaderMap, uri: http::Uri, body: Body) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let identity = object(&body, "/auth/identity")?;
    let methods: Vec<&str> = identity.get("methods").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let (user, used, until) = match methods.as_slice() {
        ["password"] => (by_password(&app, object(&body, "/auth/identity/password/user")?).await?, vec!["password".to_owned()], None),
        ["token"] => {
            let given = object(&body, "/auth/identity/token")?.get("id").and_then(Value::as_str);
            let given = given.ok_or_else(|| Failure::BadRequest("'auth.identity.token.id' is a required property".into()))?;
            let valid = token::validate(&app, given).await?.ok_or_else(refused)?;
            let mut used = valid.claims.methods.clone();
            if !used.iter().any(|method| method == "token") {
                used.push("token".to_owned());
            }
            (valid.user, used, Some(valid.claims.expires))
        }
        [] => return Err(Failure::BadRequest("'auth.identity.methods' is a required property".into())),
        _ => return Err(refused()),
    };
    let (scope, is_asked) = scope(&app, body.pointer("/auth/scope"), &user).await?;
    let claims = token::claims(&app, user.id.clone(), scope, used.clone(), until);
    let valid = match token::meaning(&app, claims).await? {
        Some(valid) => valid,
        // A default project that cannot be had is no reason not to let the user in.
        None if !is_asked => {
            let claims = token::claims(&app, user.id.clone(), Scope::Unscoped, used, until);
            token::meaning(&app, claims).await?.ok_or_else(refused)?
        }
        None => return Err(refused()),
    };
    let with_catalog = Parameters::parse(uri.query()).first("nocatalog").is_none();
    let shown = shown(&app, &valid, &origin(&app, &headers), with_catalog).await?;
    tracing::info!(user.id = %valid.user.id, scope = ?valid.claims.scope, "token issued");
    Ok((StatusCode::CREATED, [("x-subject-token", token::seal(&app, &valid.claims))], Json(shown)).into_response())
}

async fn domain_of(app: &App, value: Option<&Value>) -> Result<Option<Id<Domain>>, Failure> {
    let Some(domain) = value.and_then(Value::as_object) else { return Ok(None) };
    if let Some(id) = domain.get("id").and_then(Value::as_str) {
        return Ok(Id::parse(id));
    }
    let Some(name) = domain.get("name").and_then(Value::as_str) else { return Ok(None) };
    let all = app.store.list(&Query::<Domain>::new()).await?;
    Ok(all.into_iter().find(|it| it.name.eq_ignore_ascii_case(name)).map(|it| it.id))
}

async fn by_password(app: &App, asked: &Map<String, Value>) -> Result<Object<User>, Failure> {
    let Some(password) = asked.get("password").and_then(Value::as_str).map(Secret::new) else {
        return Err(Failure::BadRequest("'auth.identity.password.user.password' is a required property".into()));
    };
    let user = match (asked.get("id").and_then(Value::as_str), asked.get("name").and_then(Value::as_str)) {
        (Some(id), _) => match Id::<User>::parse(id) {
            Some(id) => app.store.get(&id).await?,
            None => None,
        },
        (None, Some(name)) => {
            if asked.get("domain").is_none() {
                return Err(Failure::BadRequest("'auth.identity.password.user.domain' is a required property".into()));
            }
            match domain_of(app, asked.get("domain")).await? {
                Some(domain) => nouns::user::named(app, &domain, name).await?,
                None => None,
            }
        }
        (None, None) => return Err(Failure::BadRequest("'auth.identity.password.user.name' is a required property".into())),
    };
    let hash = user.as_ref().and_then(|user| user.desired.password_hash.as_ref());
    let right = app.identity.hashing.verify(&password, hash).await?;
    match user {
        Some(user) if right && user.desired.enabled => Ok(user),
        _ => Err(refused()),
    }
}

/// The scope asked for, and whether one was asked for.
async fn scope(app: &App, asked: Option<&Value>, user: &Object<User>) -> Result<(Scope, bool), Failure> {
    let Some(asked) = asked.filter(|it| !it.is_null()) else {
        return Ok((user.desired.default_project_id.clone().map_or(Scope::Unscoped, Scope::Project), false));
    };
    if asked.as_str() == Some("unscoped") || asked.get("unscoped").is_some() {
        return Ok((Scope::Unscoped, true));
    }
    if let Some(project) = asked.get("project").and_then(Value::as_object) {
        if let Some(id) = project.get("id").and_then(Value::as_str) {
            return Ok((Scope::Project(Id::parse(id).ok_or_else(refused)?), true));
        }
        let name = project.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| Failure::BadRequest("'auth.scope.project' needs an id, or a name and a domain".into()))?;
        let domain = domain_of(app, project.get("domain")).await?.ok_or_else(refused)?;
        let found = nouns::project::named(app, &domain, name).await?.ok_or_else(refused)?;
        return Ok((Scope::Project(found.id), true));
    }
    if asked.get("domain").is_some() {
        let domain = domain_of(app, asked.get("domain")).await?.ok_or_else(refused)?;
        return Ok((Scope::Domain(domain), true));
    }
    if asked.pointer("/system/all").and_then(Value::as_bool) == Some(true) {
        return Ok((Scope::System, true));
    }
    Err(Failure::BadRequest("'auth.scope' is none of unscoped, project, domain, system".into()))
}

/// A token's body (Source: Identity API reference, "Password authentication with scoped authorization").
async fn shown(app: &App, valid: &Valid, origin: &str, with_catalog: bool) -> Result<Value, Failure> {
    let named = |id: &str, name: &str| json!({"id": id, "name": name});
    let mut token = json!({
        "methods": valid.claims.methods,
        "user": {
            "id": valid.user.id, "name": valid.user.name, "password_expires_at": null,
            "domain": named(valid.user_domain.id.as_str(), &valid.user_domain.name),
        },
        "audit_ids": [valid.claims.audit],
        "issued_at": valid.claims.issued.iso_micros(),
        "expires_at": valid.claims.expires.iso_micros(),
    });
    let Some(map) = token.as_object_mut() else { return Ok(token) };
    if valid.claims.scope != Scope::Unscoped {
        let roles: Vec<Value> = valid.roles.iter().map(|(id, name)| named(id.as_str(), name)).collect();
        map.insert("roles".into(), Value::from(roles));
        if with_catalog {
            map.insert("catalog".into(), services::catalog(app, origin).await?);
        }
    }
    if let Some((project, domain)) = &valid.project {
        let shown = json!({"id": project.id, "name": project.name, "domain": named(domain.id.as_str(), &domain.name)});
        map.insert("project".into(), shown);
        map.insert("is_domain".into(), Value::from(false));
    }
    if let Some(domain) = &valid.domain {
        map.insert("domain".into(), named(domain.id.as_str(), &domain.name));
    }
    if valid.claims.scope == Scope::System {
        map.insert("system".into(), json!({"all": true}));
    }
    Ok(json!({"token": token}))
}

/// The token a request is about: its owner and administrators and services may look at it.
async fn subject(ask: &Ask, headers: &HeaderMap) -> Result<(String, Valid), Failure> {
    let missing = || Failure::named(StatusCode::NOT_FOUND, "NotFound", "Failed to validate token");
    let text = headers
        .get("x-subject-token")
        .and_then(|it| it.to_str().ok())
        .ok_or_else(|| Failure::BadRequest("X-Subject-Token is missing.".into()))?;
    let valid = token::validate(&ask.app, text).await?.ok_or_else(missing)?;
    if valid.user.id != ask.caller.user_id && !ask.caller.is_admin() && !ask.caller.has_role("service") {
        return Err(Failure::Forbidden("You may look at your own tokens only.".into()));
    }
    Ok((text.to_owned(), valid))
}

/// GET /auth/tokens
pub(super) async fn show(ask: Ask, headers: HeaderMap) -> Result<Response, Failure> {
    let (text, valid) = subject(&ask, &headers).await?;
    let with_catalog = ask.parameters.first("nocatalog").is_none();
    let shown = shown(&ask.app, &valid, &ask.origin, with_catalog).await?;
    Ok(([("x-subject-token", text)], Json(shown)).into_response())
}

/// HEAD /auth/tokens
pub(super) async fn check(ask: Ask, headers: HeaderMap) -> Result<Response, Failure> {
    let (text, _) = subject(&ask, &headers).await?;
    Ok((StatusCode::OK, [("x-subject-token", text)]).into_response())
}

/// DELETE /auth/tokens
pub(super) async fn revoke(ask: Ask, headers: HeaderMap) -> Result<StatusCode, Failure> {
    let (_, valid) = subject(&ask, &headers).await?;
    let Claims { audit, expires, .. } = &valid.claims;
    // Marks of tokens that have expired meanwhile are of no use any more: times in this form sort as text.
    let now = Timestamp::now().iso_micros();
    let marks = ask.app.store.allocations(REVOKED).await?;
    let over = marks.iter().filter(|mark| mark.holder < now).take(100);
    let batch = over.fold(Batch::wishes(), |batch, mark| batch.free(REVOKED, &mark.value));
    match ask.app.store.apply(batch.hold(REVOKED, audit, &expires.iso_micros())).await {
        Ok(()) | Err(StoreError::Taken { .. }) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

/// The projects a user has a role on.
pub(super) async fn projects_of(app: &App, user: &Id<User>) -> Result<Vec<Object<Project>>, Failure> {
    let given = app.store.list(&Query::<Assignment>::new().column("user_id", [user.to_string()])).await?;
    let ids: Vec<String> = given.iter().filter_map(|it| it.desired.target.key().strip_prefix("project:").map(str::to_owned)).collect();
    let found = app.store.list(&Query::<Project>::new().ids(ids)).await?;
    Ok(found.into_iter().filter(|it| it.desired.enabled).collect())
}

/// GET /auth/projects
pub(super) async fn projects(ask: Ask) -> Result<Json<Value>, Failure> {
    let found = projects_of(&ask.app, &ask.caller.user_id).await?;
    let items = found.iter().map(|it| nouns::project::shown(it, &ask)).collect();
    Ok(super::listed("projects", items, &ask))
}

/// GET /auth/domains
pub(super) async fn domains(ask: Ask) -> Result<Json<Value>, Failure> {
    let given = ask.app.store.list(&Query::<Assignment>::new().column("user_id", [ask.caller.user_id.to_string()])).await?;
    let ids: Vec<String> = given.iter().filter_map(|it| it.desired.target.key().strip_prefix("domain:").map(str::to_owned)).collect();
    let found = ask.app.store.list(&Query::<Domain>::new().ids(ids)).await?;
    let items = found.iter().filter(|it| it.desired.enabled).map(|it| nouns::domain::shown(it, &ask)).collect();
    Ok(super::listed("domains", items, &ask))
}

/// GET /auth/catalog
pub(super) async fn catalog(ask: Ask) -> Result<Json<Value>, Failure> {
    if ask.caller.project_id.is_none() && ask.caller.domain_id.is_none() && !ask.caller.system {
        return Err(Failure::Forbidden("A token without a scope has no catalog.".into()));
    }
    let catalog = services::catalog(&ask.app, &ask.origin).await?;
    Ok(Json(
        json!({"catalog": catalog, "links": {"self": format!("{}/identity/v3/auth/catalog", ask.origin), "next": null, "previous": null}}),
    ))
}

/// A moment from which on older tokens of a user are void.
pub(super) fn void_tokens() -> Timestamp {
    Timestamp::now()
}
