//! EC2 keys: their own paths below a user, and tokens for requests that were signed with one, which a service of that interface asks for.

use std::sync::Arc;

use ::identity::ec2::{self, DEFAULT_AUTH_TTL_MINUTES, Ec2Credentials, Ec2Error};
use ::identity::payload::Method;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use model::access::CredentialDesired;
use model::identity::{Credential, Project, User};
use model::{Object, Secret, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query};

use super::ask::{Ask, body_of, missing, refused};
use super::auth::{self, Proof, Wanted, render};
use super::credentials::{EC2, key_id, refuse_delegated};
use super::token::{self, Scope, Valid};
use super::{noun, schemas, sealed};
use crate::App;
use crate::failure::Failure;

/// What the blob of a key says: whatever its owner wrote, but an object.
struct Blob(Map<String, Value>);

impl Blob {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

async fn blob_of(app: &App, credential: &Object<Credential>) -> Result<Blob, Failure> {
    let text = sealed::open(app, &credential.desired.sealed_blob).await?;
    Ok(Blob(serde_json::from_str(text.reveal()).unwrap_or_default()))
}

fn shown(ask: &Ask, credential: &Object<Credential>, blob: &Blob) -> Value {
    let desired = &credential.desired;
    let access = blob.text("access").unwrap_or_default();
    let shown = json!({
        "user_id": desired.user_id,
        "tenant_id": desired.of_project,
        "access": access,
        "secret": blob.0.get("secret"),
        "trust_id": blob.0.get("trust_id"),
    });
    ask.linked(shown, &format!("users/{}/credentials/OS-EC2/{access}", desired.user_id))
}

/// GET /users/{id}/credentials/OS-EC2
async fn list(ask: Ask, Path(user): Path<String>) -> Result<Json<Value>, Failure> {
    ask.enforce_with("identity:ec2_list_credentials", json!({}), &[("user_id", &user)])?;
    refuse_delegated(&ask)?;
    let user = noun::find::<User>(&ask.app, &user).await?;
    let query = Query::<Credential>::new().column("user_id", [user.id.to_string()]).column("credential_type", [EC2.into()]);
    let mut items = Vec::new();
    for credential in ask.app.store.list(&query).await? {
        items.push(shown(&ask, &credential, &blob_of(&ask.app, &credential).await?));
    }
    Ok(ask.listed("credentials", items))
}

/// POST /users/{id}/credentials/OS-EC2
async fn create(ask: Ask, Path(user): Path<String>, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    ask.enforce_with("identity:ec2_create_credential", json!({"credential": {"user_id": user}}), &[("user_id", &user)])?;
    let user = noun::find::<User>(&ask.app, &user).await?;
    // No body is as good as an empty one: it names no project either.
    let body = if bytes.is_empty() { Map::new() } else { body_of(&bytes, &schemas::EC2_CREDENTIAL_CREATE)? };
    let project = body.get("tenant_id").and_then(Value::as_str).unwrap_or("None");
    let project = noun::find::<Project>(&ask.app, project).await?;
    refuse_delegated(&ask)?;
    let (access, secret) = (Secret::random().reveal().to_owned(), Secret::random());
    let blob = Map::from_iter([
        ("access".to_owned(), json!(access)),
        ("secret".to_owned(), json!(secret.reveal())),
        ("trust_id".to_owned(), Value::Null),
    ]);
    let desired = CredentialDesired {
        user_id: user.id,
        of_project: Some(project.id.clone()),
        credential_type: EC2.into(),
        sealed_blob: sealed::seal(&ask.app, &json!(blob).to_string()).await?,
        access: Some(access.clone()),
        trust_id: None,
        app_cred_id: None,
        extra: Map::new(),
        used_window: None,
    };
    let credential = Object::new(key_id(&access), None, "", desired);
    noun::save(&ask, &credential, Batch::wishes().require(&project.id).require(&credential.desired.user_id)).await?;
    Ok((StatusCode::CREATED, Json(json!({"credential": shown(&ask, &credential, &Blob(blob))}))))
}

/// The EC2 key of this access key, if the rule lets the caller; the path's user need not be its owner, but must be there.
async fn permitted(ask: &Ask, user: &str, access: &str, rule: &str) -> Result<Object<Credential>, Failure> {
    let found = noun::find::<Credential>(&ask.app, key_id(access).as_str()).await?;
    ask.enforce_with(rule, noun::target_of(Some(&found)), &[("user_id", user)])?;
    noun::find::<User>(&ask.app, user).await?;
    if found.desired.credential_type != EC2 {
        return Err(Failure::Unauthorized("EC2 access key not found.".into()));
    }
    refuse_delegated(ask)?;
    Ok(found)
}

/// GET /users/{id}/credentials/OS-EC2/{access}
async fn show(ask: Ask, Path((user, access)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let found = permitted(&ask, &user, &access, "identity:ec2_get_credential").await?;
    let blob = blob_of(&ask.app, &found).await?;
    Ok(Json(json!({"credential": shown(&ask, &found, &blob)})))
}

/// DELETE /users/{id}/credentials/OS-EC2/{access}
async fn delete(ask: Ask, Path((user, access)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let found = permitted(&ask, &user, &access, "identity:ec2_delete_credential").await?;
    match ask.app.store.apply(Batch::wishes().remove(&found)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) if error.is_race() => Err(missing("credential", found.id.as_str())),
        Err(error) => Err(error.into()),
    }
}

/// POST /ec2tokens
async fn for_ec2(ask: Ask, bytes: Bytes) -> Result<Response, Failure> {
    ask.enforce("identity:ec2tokens_validate", json!({}))?;
    let (valid, answer) = exchange(&ask, &bytes, ec2::verify).await?;
    let sealed = token::seal(&ask.app, &valid.claims).await?;
    Ok(([("x-subject-token", sealed.as_str()), ("content-type", "application/json")], answer).into_response())
}

/// POST /s3tokens: what the token would mean, but not the token.
async fn for_s3(ask: Ask, bytes: Bytes) -> Result<Response, Failure> {
    ask.enforce("identity:s3tokens_validate", json!({}))?;
    let (_, answer) = exchange(&ask, &bytes, ec2::verify_s3).await?;
    Ok(([("content-type", "application/json")], answer).into_response())
}

type Verify = fn(&Secret, &Ec2Credentials) -> Result<(), Ec2Error>;

/// A token for a signed request, and the answer about it.
async fn exchange(ask: &Ask, bytes: &[u8], verify: Verify) -> Result<(Arc<Valid>, Bytes), Failure> {
    let app = &ask.app;
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if body.as_object().is_none_or(Map::is_empty) {
        return Err(Failure::BadRequest("request must include a request body".into()));
    }
    let request = Ec2Credentials::of_body(&body);
    let access = request.access.as_deref().ok_or_else(refused)?;
    let found = noun::get::<Credential>(app, key_id(access).as_str()).await?.filter(|it| it.desired.credential_type == EC2);
    let credential = found.ok_or_else(|| Failure::named(StatusCode::NOT_FOUND, "NotFound", "EC2 access key not found."))?;
    let blob = blob_of(app, &credential).await?;
    let secret = Secret::new(blob.text("secret").ok_or_else(refused)?);
    let signed = verify(&secret, &request).and_then(|()| ec2::check_timestamp(&request, Timestamp::now(), DEFAULT_AUTH_TTL_MINUTES));
    signed.map_err(|error| {
        tracing::info!(credential.id = %credential.id, %error, "a signed request was refused");
        refused()
    })?;
    let (proof, wanted) = meant(app, &credential, &blob).await?;
    let valid = auth::grant(app, proof, wanted).await?;
    tracing::info!(user.id = %valid.user.id, scope = ?valid.claims.scope, "token issued for an EC2 key");
    let answer = render::answer(app, &valid, &ask.origin, true, ask.caller.epoch).await?;
    Ok((valid, answer))
}

/// Who and what a key stands for.
async fn meant(app: &App, credential: &Object<Credential>, blob: &Blob) -> Result<(Proof, Wanted), Failure> {
    let desired = &credential.desired;
    // The owner can write into the blob what it likes: what the key was made by is what was written down beside it. A key that claims to be
    // of less than the owner's roles, and is not known to be, is of nothing.
    let known = [
        ("trust_id", desired.trust_id.as_ref().map(|it| it.as_str())),
        ("app_cred_id", desired.app_cred_id.as_ref().map(|it| it.as_str())),
        ("access_token_id", None),
    ];
    if known.iter().any(|(name, known)| blob.0.get(*name).unwrap_or(&Value::Null) != &json!(known)) {
        return Err(refused());
    }
    let project = desired.of_project.clone().ok_or_else(refused)?;
    let scope = Scope::Project(project.clone());
    let mut user = desired.user_id.clone();
    let mut trust = None;
    if let Some(id) = &desired.trust_id {
        let found = app.store.get(id).await?.ok_or_else(refused)?;
        let lent = &found.desired;
        let named = if lent.impersonation { &lent.trustor_user_id } else { &lent.trustee_user_id };
        if *named != user || lent.of_project.as_ref() != Some(&project) {
            return Err(refused());
        }
        user = lent.trustee_user_id.clone();
        trust = Some(found);
    }
    let mut app_cred = None;
    if let Some(id) = &desired.app_cred_id {
        let found = app.store.get(id).await?.filter(|it| it.desired.of_project == project && it.desired.user_id == user);
        app_cred = Some(found.ok_or_else(refused)?);
    }
    let user = app.store.get(&user).await?.filter(|it| it.desired.enabled).ok_or_else(refused)?;
    Ok((Proof { app_cred, ..Proof::new(user, Method::Ec2Credential) }, Wanted { scope, trust, is_asked: true }))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/users/{id}/credentials/OS-EC2", get(list).post(create))
        .route("/users/{id}/credentials/OS-EC2/{access}", get(show).delete(delete))
        .route("/ec2tokens", post(for_ec2))
        .route("/s3tokens", post(for_s3))
}
