//! Credentials: EC2 keys, secrets of one-time passcodes, certificates and what else clients keep; and logging in by a passcode. What a
//! credential holds (its blob) is sealed in the store.

use std::sync::Arc;

use ::identity::keys::KeyRing;
use ::identity::payload::Method;
use ::identity::totp;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::access::CredentialDesired;
use model::identity::{Credential, User};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use store::{Batch, Query, Wishes};

use super::ask::{Ask, body_of, forbidden, id_of, refused, rooted};
use super::auth::Proof;
use super::auth::password::user_in;
use super::noun::{self, Noun, read};
use super::{schemas, sealed};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;
use crate::schema::Schema;

/// The type of EC2 keys.
pub(super) const EC2: &str = "ec2";
/// The type of secrets of one-time passcodes.
const TOTP: &str = "totp";
/// How many passcodes before the present one are taken (Source: Keystone's `[totp] included_previous_windows`, its default).
const PREVIOUS_WINDOWS: u32 = 1;
const KNOWN: [&str; 4] = ["user_id", "project_id", "type", "blob"];
/// What an EC2 key was made by: no change of the key changes it.
const MADE_BY: [&str; 4] = ["trust_id", "app_cred_id", "access_token_id", "access_id"];

impl Noun for Credential {
    const SINGULAR: &'static str = "credential";
    const PLURAL: &'static str = "credentials";
    const CREATE: &'static Schema = &schemas::CREDENTIAL_CREATE;
    const UPDATE: &'static Schema = &schemas::CREDENTIAL_UPDATE;
    const FILTERS: &'static [&'static str] = &["user_id", "type"];
    const QUERY: &'static Schema = &schemas::CREDENTIAL_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        // Upstream takes any case of it here, though only the small one is a key to it later.
        let id = match text("type").eq_ignore_ascii_case(EC2) {
            true => key_id(&read_key(text("blob"))?.access),
            false => Id::random_hex(),
        };
        let of_project = match body.get("project_id").and_then(Value::as_str) {
            Some(project) => Some(id_of("project", project)?),
            None => None,
        };
        let desired = CredentialDesired {
            user_id: id_of("user", text("user_id"))?,
            of_project,
            credential_type: text("type").to_owned(),
            sealed_blob: Secret::default(),
            access: None,
            trust_id: None,
            app_cred_id: None,
            extra: Map::new(),
            used_window: None,
        };
        Ok(Object::new(id, None, "", desired))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        refuse_delegated(ask)?;
        if let Some(blob) = body.get("blob").and_then(Value::as_str) {
            if object.desired.credential_type.eq_ignore_ascii_case(EC2) {
                let key = read_key(blob)?;
                if let Some(before) = before {
                    let old = sealed::open(&ask.app, &before.desired.sealed_blob).await?;
                    let old: Value = serde_json::from_str(old.reveal()).unwrap_or_default();
                    for made_by in MADE_BY {
                        if old.get(made_by).unwrap_or(&Value::Null) != key.all.get(made_by).unwrap_or(&Value::Null) {
                            return Err(Failure::BadRequest(format!("{made_by} can not be updated for credential")));
                        }
                    }
                }
                object.desired.access = Some(key.access);
            }
            object.desired.sealed_blob = sealed::seal(&ask.app, blob).await?;
            object.desired.used_window = None;
        }
        if before.is_none() {
            read::extra(&mut object.desired.extra, body, &KNOWN);
        }
        Ok(())
    }

    /// Without its blob, which is sealed.
    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = desired.extra.clone();
        shown.insert("user_id".into(), json!(desired.user_id));
        shown.insert("project_id".into(), json!(desired.of_project));
        shown.insert("type".into(), json!(desired.credential_type));
        shown
    }

    async fn cascade(ask: &Ask, _: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        refuse_delegated(ask)?;
        Ok(batch)
    }
}

/// What the blob of an EC2 key says.
pub(super) struct Key {
    /// The access key.
    pub(super) access: String,
    /// Everything.
    pub(super) all: Map<String, Value>,
}

/// Reads the blob of an EC2 key.
///
/// # Errors
/// `BadRequest`.
fn read_key(blob: &str) -> Result<Key, Failure> {
    let value: Value = serde_json::from_str(blob).map_err(|_| Failure::BadRequest("Invalid blob in credential".into()))?;
    let Value::Object(all) = value else { return Err(expected("blob", "credential")) };
    if all.is_empty() {
        return Err(expected("blob", "credential"));
    }
    let access = all.get("access").and_then(Value::as_str).ok_or_else(|| expected("access", "credential"))?.to_owned();
    Ok(Key { access, all })
}

/// Something is not there, or names nothing, in Keystone's words.
pub(super) fn expected(what: &str, within: &str) -> Failure {
    Failure::BadRequest(format!(
        "Expecting to find {what} in {within}. The server could not comply with the request since it is either malformed or otherwise \
         incorrect. The client is assumed to be in error."
    ))
}

/// The id of the credential of an access key: its SHA-256 in hexadecimal digits.
pub(super) fn key_id(access: &str) -> Id<Credential> {
    let digest = Sha256::digest(access.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    // 64 hexadecimal digits are an id.
    Id::parse(&hex).unwrap_or_else(Id::random_hex)
}

/// Who has only a part of a user's roles must not get at what lets in with all of them (Source: OSSA of Launchpad bug 2159643).
pub(super) fn refuse_delegated(ask: &Ask) -> Result<(), Failure> {
    if ask.is_delegated() {
        return Err(forbidden("Delegated tokens cannot access credentials directly."));
    }
    Ok(())
}

fn shown(ask: &Ask, ring: &KeyRing, object: &Object<Credential>) -> Result<Value, Failure> {
    let mut shown = noun::shown(object, ask);
    shown["blob"] = json!(sealed::open_with(ring, &object.desired.sealed_blob)?.reveal());
    Ok(shown)
}

async fn answer(ask: &Ask, object: &Object<Credential>) -> Result<Json<Value>, Failure> {
    let ring = sealed::ring(&ask.app).await?;
    Ok(Json(json!({"credential": shown(ask, &ring, object)?})))
}

/// GET /credentials: those the rule for each lets the caller see.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let own = if ask.caller.system { json!({}) } else { json!({"credential": {"user_id": ask.caller.user_id}}) };
    ask.enforce("identity:list_credentials", own)?;
    noun::check_query(&ask, Credential::QUERY)?;
    if ask.is_delegated() {
        return Ok(ask.listed("credentials", Vec::new()));
    }
    let ring = sealed::ring(&ask.app).await?;
    let found = noun::candidates::<Credential>(&ask).await?;
    let may_see = |it: &&Object<Credential>| ask.enforce("identity:get_credential", noun::target_of(Some(*it))).is_ok();
    let fits = |it: &&Object<Credential>| noun::kept(&Value::Object(Credential::show(it)), &ask, Credential::FILTERS);
    let items: Vec<Value> = found.iter().filter(fits).filter(may_see).map(|it| shown(&ask, &ring, it)).collect::<Result<_, _>>()?;
    noun::paged("credentials", items, &ask)
}

/// GET /credentials/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = noun::permitted::<Credential>(&ask, &id, "identity:get_credential").await?;
    refuse_delegated(&ask)?;
    answer(&ask, &found).await
}

/// POST /credentials
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, Credential::CREATE)?, "credential")?;
    let mut target = body.clone();
    target.remove("blob");
    ask.enforce("identity:create_credential", json!({ "credential": target }))?;
    let mut object = Credential::blank(&ask, &body)?;
    Credential::take(&ask, &mut object, &body, None).await?;
    // Upstream keeps credentials of users it does not know. One it knows must not go meanwhile, or its credential would stay.
    let owner = ask.app.store.get(&object.desired.user_id).await?;
    let batch = owner.iter().fold(Batch::wishes(), |batch, user| batch.require(&user.id));
    noun::save(&ask, &object, batch).await?;
    Ok((StatusCode::CREATED, answer(&ask, &object).await?))
}

/// PATCH /credentials/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    let changed = noun::change::<Credential>(&ask, &id, &bytes, "identity:update_credential").await?;
    answer(&ask, &changed).await
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/credentials", get(list).post(create))
        .route("/credentials/{id}", get(show).patch(update).delete(noun::delete::<Credential>))
}

/// Method `totp`: a passcode of one of the user's secrets, which lets in once.
pub(super) async fn authenticate(app: &Arc<App>, data: &Map<String, Value>) -> Result<Proof, Failure> {
    let asked = data.get("user").ok_or_else(|| expected("user", TOTP))?;
    let passcode = asked.get("passcode").and_then(Value::as_str).ok_or_else(|| expected("passcode", "user"))?;
    let rules = &app.settings.identity.security_compliance;
    let now = Timestamp::now();
    let lives = |it: &Object<User>| it.desired.enabled && !it.desired.password.is_inactive(rules, &it.desired.options, it.created_at, now);
    let Some(user) = user_in(app, asked).await?.filter(lives) else { return Err(refused()) };
    for _ in 0..RACES {
        let secrets = Query::<Credential>::new().column("user_id", [user.id.to_string()]).column("credential_type", [TOTP.into()]);
        let mut secrets = app.store.list(&secrets).await?;
        let ring = sealed::ring(app).await?;
        let Some(batch) = spend(&ring, &mut secrets, passcode, now) else { return Err(refused()) };
        match app.store.apply(batch).await {
            Ok(()) => return Ok(Proof::new(user, Method::Totp)),
            // Somebody else came with a passcode at the same moment, maybe with this one.
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused())
}

/// Writes down that a passcode was used, for every secret it is one of; `None` if it is of none, or was used with one of them.
fn spend(ring: &KeyRing, secrets: &mut [Object<Credential>], passcode: &str, now: Timestamp) -> Option<Batch<Wishes>> {
    let mut batch = Batch::wishes();
    for credential in secrets {
        let Ok(secret) = sealed::open_with(ring, &credential.desired.sealed_blob) else {
            tracing::warn!(credential.id = %credential.id, "none of the keys opens it");
            continue;
        };
        let Some(window) = window_of(&secret, passcode, now) else { continue };
        if credential.desired.used_window.is_some_and(|used| used >= window) {
            return None;
        }
        credential.desired.used_window = Some(window);
        batch = batch.want(credential);
    }
    Some(batch).filter(|it| !it.is_empty())
}

/// The number of the window that has this passcode, if it is one of those that are taken now.
fn window_of(secret: &Secret, passcode: &str, now: Timestamp) -> Option<i64> {
    // A secret that cannot be used lets nobody in, and the others still count.
    let windows = (0..=i64::from(PREVIOUS_WINDOWS)).map(|back| now.plus_seconds(-back * totp::PERIOD));
    let mut found = windows.filter(|then| totp::verify(secret, passcode, *then, 0) == Ok(true));
    found.next().map(|then| then.0.div_euclid(1_000_000 * totp::PERIOD))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn of_user(ring: &KeyRing, secret: &str) -> Object<Credential> {
        let desired = CredentialDesired {
            user_id: Id::random_hex(),
            of_project: None,
            credential_type: TOTP.into(),
            sealed_blob: Secret::new(ring.encrypt(secret.as_bytes(), Timestamp::now()).unwrap()),
            access: None,
            trust_id: None,
            app_cred_id: None,
            extra: Map::new(),
            used_window: None,
        };
        Object::new(Id::random_hex(), None, "", desired)
    }

    #[test]
    fn a_passcode_lets_in_once_and_for_two_windows() {
        let ring = KeyRing::first().unwrap();
        let then = Timestamp(1_111_111_109_000_000);
        let code = totp::generate(&Secret::new(SECRET), then).unwrap();
        // The second is not base32, and two have the same secret.
        let fresh = || [of_user(&ring, SECRET), of_user(&ring, "1!"), of_user(&ring, SECRET)];
        let mut secrets = fresh();
        assert!(spend(&ring, &mut secrets, &code, then.plus_seconds(30)).is_some());
        assert!(spend(&ring, &mut secrets, &code, then).is_none());
        let next = totp::generate(&Secret::new(SECRET), then.plus_seconds(30)).unwrap();
        assert!(spend(&ring, &mut secrets, &next, then.plus_seconds(30)).is_some());
        for (code, now) in [(&code, then.plus_seconds(60)), (&code, then.plus_seconds(-30)), (&String::new(), then)] {
            assert!(spend(&ring, &mut fresh(), code, now).is_none());
        }
        assert!(spend(&ring, &mut [], &code, then).is_none());
    }

    #[test]
    fn a_passcode_of_two_secrets_is_used_up_for_both() {
        let ring = KeyRing::first().unwrap();
        let now = Timestamp(1_111_111_109_000_000);
        let code = totp::generate(&Secret::new(SECRET), now).unwrap();
        let mut secrets = [of_user(&ring, SECRET), of_user(&ring, SECRET)];
        assert!(spend(&ring, &mut secrets, &code, now).is_some());
        secrets.reverse();
        assert!(spend(&ring, &mut secrets[..1], &code, now).is_none());
    }

    #[test]
    fn keys_are_named_by_their_access_key() {
        // Source: sha256sum.
        assert_eq!(key_id("zzz").as_str(), "17f165d5a5ba695f27c023a83aa2b3463e23810e360b7517127e90161eebabda");
        for bad in ["", "x", "[]", "{}", "null", r#"{"a":1}"#, r#"{"access":1}"#, r#"{"access":null}"#] {
            assert!(read_key(bad).is_err(), "{bad}");
        }
        assert_eq!(read_key(r#"{"access":"a","secret":"s"}"#).unwrap().access, "a");
    }
}
