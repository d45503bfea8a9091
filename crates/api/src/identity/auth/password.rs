//! Logging in by password.

use std::sync::Arc;

use ::identity::payload::Method;
use model::identity::{Domain, User};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Map, Value};
use store::Batch;

use super::{Proof, id_in};
use crate::App;
use crate::failure::Failure;
use crate::identity::ask::refused;
use crate::identity::noun;

/// The domain that is named by id or name.
pub(in crate::identity) async fn domain_in(app: &App, value: Option<&Value>) -> Result<Option<Id<Domain>>, Failure> {
    if let Some(id) = id_in::<Domain>(value) {
        return Ok(Some(id));
    }
    match value.and_then(|it| it.get("name")).and_then(Value::as_str) {
        Some(name) => Ok(noun::named::<Domain>(app, "", name).await?.map(|it| it.id)),
        None => Ok(None),
    }
}

/// The user that is named by id, or by name and domain.
pub(in crate::identity) async fn user_in(app: &App, asked: &Value) -> Result<Option<Object<User>>, Failure> {
    if let Some(id) = asked.get("id").and_then(Value::as_str) {
        return noun::get::<User>(app, id).await;
    }
    let Some(name) = asked.get("name").and_then(Value::as_str) else { return Ok(None) };
    if asked.get("domain").is_none() {
        return Err(Failure::BadRequest("Expecting to find domain in user.".into()));
    }
    match domain_in(app, asked.get("domain")).await? {
        Some(domain) => noun::named::<User>(app, domain.as_str(), name).await,
        None => Ok(None),
    }
}

/// Method `password`. An unknown user, a wrong password and a locked or disabled user take the same time and get the same answer.
pub(in crate::identity) async fn authenticate(app: &Arc<App>, data: &Map<String, Value>) -> Result<Proof, Failure> {
    let asked = data.get("user").ok_or_else(|| Failure::BadRequest("Expecting to find user in password.".into()))?;
    let password = asked.get("password").and_then(Value::as_str).map(Secret::new);
    let password = password.ok_or_else(|| Failure::BadRequest("Expecting to find password in user.".into()))?;
    let rules = &app.settings.identity.security_compliance;
    let now = Timestamp::now();
    let user = user_in(app, asked).await?;
    let may = |it: &Object<User>| !it.desired.password.is_locked(rules, &it.desired.options, now);
    let hash = user.as_ref().filter(|it| may(it)).and_then(|it| it.desired.current_hash());
    let right = app.identity.hashing.verify(&password, hash).await?;
    let Some(user) = user else { return Err(refused()) };
    if !right {
        let counts = rules.lockout_failure_attempts.is_some();
        if counts && may(&user) {
            note(app, user, |user| user.desired.password.record_failure(rules, now)).await?;
        }
        return Err(refused());
    }
    if !user.desired.enabled || user.desired.password.is_inactive(rules, &user.desired.options, user.created_at, now) {
        return Err(refused());
    }
    if user.desired.password.password_expired(&user.desired.options, now) {
        return Err(Failure::Unauthorized(format!("The password is expired and needs to be changed for user: {}.", user.id)));
    }
    let outdated = user.desired.current_hash().is_some_and(|it| app.identity.hashing.is_outdated(it));
    let rehashed = if outdated { app.identity.hashing.hash(&password).await.ok() } else { None };
    let watches = rules.lockout_failure_attempts.is_some() || rules.disable_user_account_days_inactive.is_some();
    let mut after = user.clone();
    let changed = watches && after.desired.password.record_success(now);
    if changed || rehashed.is_some() {
        after = note(app, after, |user| {
            user.desired.password.record_success(now);
            match (&rehashed, user.desired.password.history.last_mut()) {
                (Some(hash), Some(current)) => current.hash = hash.clone(),
                (Some(hash), None) => user.desired.password_hash = Some(hash.clone()),
                (None, _) => {}
            }
        })
        .await?;
    }
    Ok(Proof::new(after, Method::Password))
}

/// Writes down what a log-in showed. A change by somebody else meanwhile goes first.
pub(in crate::identity) async fn note(
    app: &App,
    mut user: Object<User>,
    change: impl Fn(&mut Object<User>),
) -> Result<Object<User>, Failure> {
    for _ in 0..crate::race::RACES {
        change(&mut user);
        match app.store.apply(Batch::wishes().want(&user)).await {
            Ok(()) => break,
            Err(error) if error.is_race() => user = noun::find(app, user.id.as_str()).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(user)
}
