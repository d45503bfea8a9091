//! Application credentials: secrets by which programs log in with part of a user's roles on one project; and the access rules that limit
//! their calls (Source: Identity API reference, "Application Credentials"; `keystone/api/users.py`).

use std::collections::BTreeSet;
use std::sync::Arc;

use ::identity::payload::Method;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use model::access::{AccessRuleDesired, ApplicationCredentialDesired};
use model::identity::{AccessRule, ApplicationCredential, Role, User};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, body_of, forbidden, missing, refused, rooted};
use super::auth::Proof;
use super::auth::password::user_in;
use super::effective::Inference;
use super::noun::{self, EPOCH, Name, name_in, read};
use super::{immutable, schemas, token};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;

/// How many random bytes a secret has that is made here.
const SECRET_BYTES: usize = 64;
/// The ways in which users log in themselves. All others, also those that may come, stand for a part of what a user may do.
const PRIMARY: [Method; 9] = [
    Method::External,
    Method::Password,
    Method::Token,
    Method::Mapped,
    Method::Totp,
    Method::Saml2,
    Method::Openid,
    Method::X509,
    Method::Kerberos,
];
/// What Keystone adds to what is wrong with a request.
const MALFORMED: &str = "The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/users/{id}/application_credentials", get(list).post(create))
        .route("/users/{id}/application_credentials/{credential}", get(show).delete(delete))
        .route("/users/{id}/access_rules", get(list_rules))
        .route("/users/{id}/access_rules/{rule}", get(show_rule).delete(delete_rule))
}

/// Whether the caller's token was got by something that stands for a part of what its user may do.
pub(super) fn is_delegated(ask: &Ask) -> bool {
    let methods = &ask.caller.token.claims.methods;
    methods.is_empty() || methods.iter().any(|it| !PRIMARY.contains(it))
}

/// A moment that is still to come, as bodies have it: in UTC, with or without the `Z`.
///
/// # Errors
/// `BadRequest`.
pub(super) fn expiry(text: &str) -> Result<Timestamp, Failure> {
    let bad = |why: &str| Failure::BadRequest(format!("{why} {MALFORMED}"));
    let text = if text.ends_with('Z') { text.to_owned() } else { format!("{text}Z") };
    let moment = ::identity::ec2::parse_iso8601(&text).ok_or_else(|| bad("Timestamp not in expected format."))?;
    if moment < Timestamp::now() { Err(bad("The 'expires_at' must not be before now.")) } else { Ok(moment) }
}

/// The roles of a list of ids and names. Whether there is a role of an id is for the caller to see.
///
/// # Errors
/// `NotFound` for a name no role has, `BadRequest` for one that several have.
pub(super) fn roles_in(inference: &Inference, list: &Value) -> Result<Vec<Id<Role>>, Failure> {
    let mut found = Vec::new();
    for wanted in list.as_array().into_iter().flatten() {
        let id = match (wanted["id"].as_str(), wanted["name"].as_str().unwrap_or_default()) {
            (Some(id), _) => super::ask::id_of("role", id)?,
            (None, name) => {
                let mut named = inference.roles.values().filter(|it| it.name == name);
                match (named.next(), named.next()) {
                    (Some(role), None) => role.id.clone(),
                    (None, _) => return Err(Failure::named(StatusCode::NOT_FOUND, "NotFound", format!("Role {name} is not defined"))),
                    (Some(_), Some(_)) => {
                        let why = format!(
                            "There are multiple role entities named '{name}'. Please use ID instead of names to resolve the ambiguity."
                        );
                        return Err(Failure::BadRequest(format!("{why} {MALFORMED}")));
                    }
                }
            }
        };
        if !found.contains(&id) {
            found.push(id);
        }
    }
    Ok(found)
}

/// A role as other objects show it.
pub(super) fn role_shown(role: &Object<Role>) -> Value {
    json!({
        "id": role.id, "name": role.name, "domain_id": role.desired.domain_id, "description": role.desired.description,
        "options": immutable::shown(role.desired.immutable),
    })
}

fn name_of(user: &Id<User>, name: &str) -> Name {
    name_in::<ApplicationCredential>(user.as_str(), name)
}

/// Removes one and frees its name.
pub(super) fn removed(object: &Object<ApplicationCredential>, batch: Batch<Wishes>) -> Batch<Wishes> {
    let name = name_of(&object.desired.user_id, &object.name);
    batch.free(&name.pool, &name.value).remove(object)
}

/// A user's credential of a name.
async fn named(app: &App, user: &Id<User>, name: &str) -> Result<Option<Object<ApplicationCredential>>, Failure> {
    let Name { pool, value } = name_of(user, name);
    let held = app.store.allocation(&pool, &value).await?;
    match held.and_then(|it| Id::parse(&it.holder)) {
        Some(id) => Ok(app.store.get(&id).await?),
        None => Ok(None),
    }
}

async fn by_id(app: &App, text: &str) -> Result<Option<Object<ApplicationCredential>>, Failure> {
    match Id::parse(text) {
        Some(id) => Ok(app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// Method `application_credential`. Whatever is wrong, it takes the same time and gets the same answer.
pub(super) async fn authenticate(app: &Arc<App>, data: &Map<String, Value>) -> Result<Proof, Failure> {
    let expecting = |what: &str, place: &str| Failure::BadRequest(format!("Expecting to find {what} in {place}. {MALFORMED}"));
    let text = |key: &str| data.get(key).and_then(Value::as_str).filter(|it| !it.is_empty());
    let found = match (text("id"), text("name")) {
        // Whose it is says the credential and not the client.
        (Some(id), _) => by_id(app, id).await?,
        (None, Some(name)) => {
            let asked = data.get("user").ok_or_else(|| expecting("user", "application credential"))?;
            match user_in(app, asked).await? {
                Some(user) => named(app, &user.id, name).await?,
                None => None,
            }
        }
        (None, None) => return Err(expecting("name or ID", "application credential")),
    };
    let secret = Secret::new(text("secret").unwrap_or_default());
    let hash = found.as_ref().filter(|_| !secret.reveal().is_empty()).map(|it| &it.desired.secret_hash);
    let right = app.identity.hashing.verify_secret(&secret, hash).await?;
    let Some(found) = found.filter(|_| right) else { return Err(refused()) };
    if found.desired.expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(refused());
    }
    let user = app.store.get(&found.desired.user_id).await?.filter(|it| it.desired.enabled).ok_or_else(refused)?;
    Ok(Proof { app_cred: Some(found), ..Proof::new(user, Method::ApplicationCredential) })
}

/// Credentials and rules are not for who holds a trust, an EC2 key or the like: what it makes would outlive what it was lent.
fn refuse_delegated(ask: &Ask) -> Result<(), Failure> {
    let claims = &ask.caller.token.claims;
    if claims.methods.contains(&Method::ApplicationCredential) {
        return Ok(());
    }
    if claims.trust.is_some() || is_delegated(ask) {
        return Err(forbidden("Cannot manage application credentials with a token issued via delegation."));
    }
    Ok(())
}

/// Neither are changes for an application credential, unless it is unrestricted.
fn refuse_restricted(ask: &Ask) -> Result<(), Failure> {
    refuse_delegated(ask)?;
    let valid = &ask.caller.token;
    let by_credential = valid.claims.methods.contains(&Method::ApplicationCredential);
    if by_credential && !valid.app_cred.as_ref().is_some_and(|(it, _)| it.desired.unrestricted) {
        return Err(forbidden("Using method 'application_credential' is not allowed for managing additional application credentials."));
    }
    Ok(())
}

fn rule_shown(rule: &Object<AccessRule>) -> Value {
    let desired = &rule.desired;
    json!({"id": rule.id, "service": desired.service, "path": desired.path, "method": desired.method})
}

/// The credential in the form of an answer; `rules` are all of the user's.
fn shown(ask: &Ask, object: &Object<ApplicationCredential>, inference: &Inference, rules: &[Object<AccessRule>]) -> Value {
    let desired = &object.desired;
    let roles: Vec<Value> = desired.roles.iter().filter_map(|id| inference.roles.get(id)).map(role_shown).collect();
    let mut shown = json!({
        "id": object.id,
        "name": object.name,
        "description": desired.description,
        "user_id": desired.user_id,
        "project_id": desired.of_project,
        "system": null,
        // Without a zone, as Keystone has it here.
        "expires_at": desired.expires_at.map(|at| at.iso_micros().trim_end_matches('Z').to_owned()),
        "unrestricted": desired.unrestricted,
        "roles": roles,
    });
    if let Some(ids) = &desired.access_rules {
        let kept = ids.iter().filter_map(|id| rules.iter().find(|it| it.id == *id));
        shown["access_rules"] = kept.map(rule_shown).collect();
    }
    ask.linked(shown, &format!("application_credentials/{}", object.id))
}

async fn rules_of(app: &App, user: &Id<User>) -> Result<Vec<Object<AccessRule>>, Failure> {
    Ok(app.store.list(&Query::<AccessRule>::new().column("user_id", [user.to_string()])).await?)
}

/// GET /users/{id}/application_credentials
async fn list(ask: Ask, Path(user): Path<String>) -> Result<Json<Value>, Failure> {
    ask.enforce_with("identity:list_application_credentials", json!({}), &[("user_id", &user)])?;
    refuse_delegated(&ask)?;
    noun::check_query(&ask, &schemas::APPLICATION_CREDENTIAL_INDEX_QUERY)?;
    let Some(user) = Id::<User>::parse(&user) else { return Ok(ask.listed("application_credentials", Vec::new())) };
    let found = ask.app.store.list(&Query::<ApplicationCredential>::new().column("user_id", [user.to_string()])).await?;
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    let rules = rules_of(&ask.app, &user).await?;
    let items = found.iter().map(|it| shown(&ask, it, &inference, &rules)).filter(|it| noun::kept(it, &ask, &["name"])).collect();
    noun::paged("application_credentials", items, &ask)
}

/// The credential of a path if the rule lets the caller: its owner is who it belongs to, whatever the path says.
async fn permitted(ask: &Ask, user: &str, id: &str, rule: &str) -> Result<Object<ApplicationCredential>, Failure> {
    let found = by_id(&ask.app, id).await?;
    let owner = found.as_ref().map_or(user, |it| it.desired.user_id.as_str());
    ask.enforce_with(rule, json!({ "user_id": owner }), &[("user_id", owner)])?;
    found.ok_or_else(|| missing("Application Credential", id))
}

/// GET /users/{id}/application_credentials/{credential}
async fn show(ask: Ask, Path((user, id)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let found = permitted(&ask, &user, &id, "identity:get_application_credential").await?;
    refuse_delegated(&ask)?;
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    let rules = rules_of(&ask.app, &found.desired.user_id).await?;
    Ok(Json(json!({"application_credential": shown(&ask, &found, &inference, &rules)})))
}

/// DELETE /users/{id}/application_credentials/{credential}
async fn delete(ask: Ask, Path((user, id)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    for _ in 0..RACES {
        let found = permitted(&ask, &user, &id, "identity:delete_application_credential").await?;
        refuse_restricted(&ask)?;
        match ask.app.store.apply(removed(&found, Batch::wishes()).bump(EPOCH)).await {
            Ok(()) => {
                tracing::info!(id = %found.id, name = found.name, "application_credential deleted");
                return Ok(StatusCode::NO_CONTENT);
            }
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

fn invalid(detail: &str) -> Failure {
    Failure::BadRequest(format!("Invalid application credential: {detail}"))
}

/// The roles a new credential is to have: those named and what they imply, else all of the token. None the token has not.
fn granted(ask: &Ask, inference: &Inference, body: &Map<String, Value>) -> Result<Vec<Id<Role>>, Failure> {
    let own: Vec<Id<Role>> = ask.caller.token.roles.iter().map(|(id, _)| id.clone()).collect();
    let Some(list) = body.get("roles").filter(|it| it.as_array().is_some_and(|it| !it.is_empty())) else { return Ok(own) };
    let named = roles_in(inference, list)?;
    if named.iter().any(|it| !inference.roles.contains_key(it)) {
        return Err(invalid("Cannot create an application credential with unassigned role"));
    }
    let all: BTreeSet<Id<Role>> = inference.closure(named);
    if all.iter().any(|it| !own.contains(it)) {
        return Err(invalid("Cannot create an application credential with unassigned role"));
    }
    Ok(all.into_iter().collect())
}

fn new_secret() -> Result<Secret, Failure> {
    let mut bytes = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// The rules of a body: a user's own by id, equal ones once, others new. The batch makes the new ones and holds only if the others are as
/// they were read, so that none is removed meanwhile.
async fn take_rules(
    app: &App,
    user: &Id<User>,
    list: &[Value],
    mut batch: Batch<Wishes>,
) -> Result<(Vec<Object<AccessRule>>, Batch<Wishes>), Failure> {
    let own = rules_of(app, user).await?;
    let mut taken: Vec<Object<AccessRule>> = Vec::new();
    for wanted in list {
        let given = wanted["id"].as_str();
        if let Some(text) = given
            && let Some(id) = Id::<AccessRule>::parse(text)
            && let Some(other) = app.store.get(&id).await?
            && other.desired.user_id != *user
        {
            return Err(missing("Access Rule", text));
        }
        let by_id = given.and_then(|text| own.iter().chain(&taken).find(|it| it.id.as_str() == text));
        let parts = (wanted["service"].as_str(), wanted["method"].as_str(), wanted["path"].as_str());
        let rule = match (by_id, parts) {
            (Some(rule), _) => rule.clone(),
            (None, (Some(service), Some(method), Some(path))) => {
                let desired =
                    AccessRuleDesired { user_id: user.clone(), service: service.into(), method: method.into(), path: path.into() };
                match own.iter().chain(&taken).find(|it| it.desired == desired) {
                    Some(rule) => rule.clone(),
                    None => Object::new(rule_id(&desired, given), None, "", desired),
                }
            }
            (None, _) => match given {
                Some(text) => return Err(missing("Access Rule", text)),
                None => return Err(invalid("An access rule has an id, or a service, a method and a path")),
            },
        };
        if taken.iter().any(|it| it.id == rule.id) {
            continue;
        }
        let is_old = own.iter().any(|it| it.id == rule.id);
        batch = if is_old { batch.want(&rule) } else { batch.create(&rule) };
        taken.push(rule);
    }
    Ok((taken, batch))
}

/// The id of a new rule: the client's, or one that is the same for equal rules, so that two who make one at once make one.
fn rule_id(desired: &AccessRuleDesired, given: Option<&str>) -> Id<AccessRule> {
    let AccessRuleDesired { user_id, service, method, path } = desired;
    let derived = Id::<AccessRule>::derived(&format!("access-rule/{user_id}/{service}/{method}/{path}"));
    given.and_then(Id::parse).or_else(|| Id::parse(&derived.as_str().replace('-', ""))).unwrap_or(derived)
}

/// POST /users/{id}/application_credentials
async fn create(ask: Ask, Path(user): Path<String>, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    ask.enforce_with("identity:create_application_credential", json!({}), &[("user_id", &user)])?;
    let body = rooted(&body_of(&bytes, &schemas::APPLICATION_CREDENTIAL_CREATE)?, "application_credential")?;
    refuse_restricted(&ask)?;
    if ask.caller.user_id.as_str() != user {
        return Err(forbidden("Cannot create an application credential for another user."));
    }
    let project = ask.caller.project_id.clone().ok_or_else(|| invalid("The token is not scoped to a project"))?;
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    let secret = match read::text(&body, "secret").filter(|it| !it.is_empty()) {
        Some(text) => Secret::new(text),
        None => new_secret()?,
    };
    let expires_at = match body.get("expires_at").and_then(Value::as_str).filter(|it| !it.is_empty()) {
        Some(text) => Some(expiry(text)?),
        None => None,
    };
    let desired = ApplicationCredentialDesired {
        user_id: ask.caller.user_id.clone(),
        of_project: project,
        description: read::text(&body, "description"),
        roles: granted(&ask, &inference, &body)?,
        expires_at,
        unrestricted: body.get("unrestricted").and_then(Value::as_bool).unwrap_or_default(),
        access_rules: None,
        secret_hash: ask.app.identity.hashing.hash_secret(&secret).await?,
    };
    let mut object = Object::<ApplicationCredential>::new(Id::random_hex(), None, read::text(&body, "name").unwrap_or_default(), desired);
    let name = name_of(&object.desired.user_id, &object.name);
    // An empty list limits nothing, as with Keystone.
    let list = body.get("access_rules").and_then(Value::as_array).filter(|it| !it.is_empty());
    for _ in 0..RACES {
        let mut batch = Batch::wishes().require(&object.desired.user_id).require(&object.desired.of_project);
        let mut rules = Vec::new();
        if let Some(list) = list {
            (rules, batch) = take_rules(&ask.app, &object.desired.user_id, list, batch).await?;
            object.desired.access_rules = Some(rules.iter().map(|it| it.id.clone()).collect());
        }
        match ask.app.store.apply(batch.hold(&name.pool, &name.value, object.id.as_str()).create(&object)).await {
            Ok(()) => {
                tracing::info!(id = %object.id, name = object.name, "application_credential created");
                let mut shown = shown(&ask, &object, &inference, &rules);
                shown["secret"] = json!(secret.reveal());
                return Ok((StatusCode::CREATED, Json(json!({"application_credential": shown}))));
            }
            Err(StoreError::Taken { .. }) => {
                return Err(Failure::Conflict(format!(
                    "Conflict occurred attempting to store application_credential - Duplicate entry found with name {}.",
                    object.name
                )));
            }
            // A rule was made, used or removed meanwhile.
            Err(StoreError::Exists { kind, .. } | StoreError::Stale { kind, .. }) if kind == <AccessRule as model::Kind>::NAME => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// Asks the policy about rules of a user's.
async fn enforce_rules(ask: &Ask, user: &str, rule: &str) -> Result<(), Failure> {
    let owner = noun::get::<User>(&ask.app, user).await?;
    ask.enforce_with(rule, noun::target_of(owner.as_ref()), &[("user_id", user)])?;
    refuse_delegated(ask)
}

async fn rule_of(ask: &Ask, user: &str, id: &str) -> Result<Object<AccessRule>, Failure> {
    let found = match Id::<AccessRule>::parse(id) {
        Some(id) => ask.app.store.get(&id).await?,
        None => None,
    };
    found.filter(|it| it.desired.user_id.as_str() == user).ok_or_else(|| missing("Access Rule", id))
}

fn rule_linked(ask: &Ask, rule: &Object<AccessRule>) -> Value {
    ask.linked(rule_shown(rule), &format!("access_rules/{}", rule.id))
}

/// GET /users/{id}/access_rules
async fn list_rules(ask: Ask, Path(user): Path<String>) -> Result<Json<Value>, Failure> {
    enforce_rules(&ask, &user, "identity:list_access_rules").await?;
    noun::check_query(&ask, &schemas::ACCESS_RULE_INDEX_QUERY)?;
    let found = match Id::<User>::parse(&user) {
        Some(user) => rules_of(&ask.app, &user).await?,
        None => Vec::new(),
    };
    let items = found.iter().map(|it| rule_linked(&ask, it));
    let items = items.filter(|it| noun::kept(it, &ask, &["service", "path", "method"])).collect();
    noun::paged("access_rules", items, &ask)
}

/// GET /users/{id}/access_rules/{rule}
async fn show_rule(ask: Ask, Path((user, id)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    enforce_rules(&ask, &user, "identity:get_access_rule").await?;
    let found = rule_of(&ask, &user, &id).await?;
    Ok(Json(json!({"access_rule": rule_linked(&ask, &found)})))
}

/// DELETE /users/{id}/access_rules/{rule}: one that no credential has.
async fn delete_rule(ask: Ask, Path((user, id)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    enforce_rules(&ask, &user, "identity:delete_access_rule").await?;
    for _ in 0..RACES {
        // The rule first: a credential that takes it afterwards changes it.
        let found = rule_of(&ask, &user, &id).await?;
        let owner = &found.desired.user_id;
        let users = ask.app.store.list(&Query::<ApplicationCredential>::new().column("user_id", [owner.to_string()])).await?;
        if users.iter().any(|it| it.desired.access_rules.iter().flatten().any(|rule| *rule == found.id)) {
            return Err(Failure::Forbidden("May not delete access rule in use".into()));
        }
        match ask.app.store.apply(Batch::wishes().remove(&found)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT),
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        for (text, at) in
            [("2099-01-02T03:04:05Z", "2099-01-02T03:04:05.000000Z"), ("2099-01-02T03:04:05.25", "2099-01-02T03:04:05.250000Z")]
        {
            assert_eq!(expiry(text).map(Timestamp::iso_micros).unwrap(), at);
        }
        for (text, why) in [
            ("", "Timestamp not in expected format."),
            ("soon", "Timestamp not in expected format."),
            ("2099-01-02", "Timestamp not in expected format."),
            ("2099-01-02T03:04:05+01:00", "Timestamp not in expected format."),
            ("2001-01-01T00:00:00Z", "The 'expires_at' must not be before now."),
        ] {
            assert!(expiry(text).unwrap_err().message().starts_with(why), "{text}");
        }
    }

    #[test]
    fn equal_rules_have_one_id() {
        let rule = |path: &str| AccessRuleDesired {
            user_id: Id::parse("u").unwrap(),
            service: "network".into(),
            method: "GET".into(),
            path: path.into(),
        };
        let id = rule_id(&rule("/a"), None);
        assert_eq!((id.as_str().len(), &id), (32, &rule_id(&rule("/a"), None)));
        assert_ne!(id, rule_id(&rule("/b"), None));
        assert_eq!(rule_id(&rule("/a"), Some("own")).as_str(), "own");
    }
}
