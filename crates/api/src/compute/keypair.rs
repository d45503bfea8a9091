//! `/v2.1/os-keypairs`: the SSH public keys of a user.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::image_compute::{Keypair, KeypairDesired};
use model::{Id, Object, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError};

use super::policies::of_user;
use super::{Ask, wire};
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::microversion::Version;
use crate::page::{self, Parameters};

/// The id of a user's key pair of that name: the same name cannot exist twice.
pub(crate) fn id_of(user: &str, name: &str) -> Id<Keypair> {
    Id::derived(&format!("keypair/{user}/{name}"))
}

/// Whose key pairs are meant, for what the rule guards: since 2.10 another user's may be.
fn user(ask: &Ask, rule: &str, named: Option<&str>) -> Result<String, Failure> {
    let user = named.filter(|_| ask.version >= Version(2, 10)).unwrap_or(ask.caller.user_id.as_str());
    enforce(&ask.app, &ask.caller, rule, &of_user(user))?;
    Ok(user.to_owned())
}

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    let user = user(&ask, "os_compute_api:os-keypairs:index", query.get("user_id").map(String::as_str))?;
    let mut found = ask.app.store.list(&Query::<Keypair>::new().column("user_id", [user])).await?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let mut next = None;
    if ask.version >= Version(2, 35) {
        (found, next) = page::cut(found, &query, |keypair| &keypair.name)?;
    }
    let items: Vec<Value> = found.iter().map(|keypair| json!({ "keypair": wire::keypair_brief(keypair, ask.version) })).collect();
    let mut out = json!({ "keypairs": items });
    if let (Some(marker), Some(map)) = (next, out.as_object_mut()) {
        let href = page::next(&format!("{}/v2.1/os-keypairs", ask.base), &query, &marker);
        map.insert("keypairs_links".into(), json!([{"rel": "next", "href": href}]));
    }
    Ok(Json(out).into_response())
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    let new = wire::new_keypair(&body, ask.version).map_err(Failure::BadRequest)?;
    let user = user(&ask, "os_compute_api:os-keypairs:create", new.user_id.as_deref())?;
    let desired =
        KeypairDesired { user_id: user.clone(), public_key: new.public_key, fingerprint: new.fingerprint, created_at: Timestamp::now() };
    let keypair = Object::new(id_of(&user, &new.name), None, new.name, desired);
    match ask.app.store.apply(Batch::wishes().create(&keypair)).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => return Err(Failure::Conflict(format!("Key pair '{}' already exists.", keypair.name))),
        Err(error) => return Err(error.into()),
    }
    let mut out = wire::keypair_brief(&keypair, ask.version);
    out.insert("user_id".into(), json!(user));
    // 2.2 made a creation say that it created.
    let status = if ask.version >= Version(2, 2) { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({ "keypair": out }))).into_response())
}

async fn find(ask: &Ask, rule: &str, query: &HashMap<String, String>, name: &str) -> Result<Object<Keypair>, Failure> {
    let user = user(ask, rule, query.get("user_id").map(String::as_str))?;
    ask.app.store.get(&id_of(&user, name)).await?.ok_or_else(|| Failure::not_found("Keypair", name))
}

pub(super) async fn show(ask: Ask, Path(name): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let keypair = find(&ask, "os_compute_api:os-keypairs:show", &query, &name).await?;
    Ok(Json(json!({ "keypair": wire::keypair(&keypair, ask.version) })).into_response())
}

pub(super) async fn delete(ask: Ask, Path(name): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let keypair = find(&ask, "os_compute_api:os-keypairs:delete", &query, &name).await?;
    match ask.app.store.apply(Batch::wishes().remove(&keypair)).await {
        Ok(()) => {}
        Err(StoreError::Stale { .. }) => return Err(Failure::not_found("Keypair", &name)),
        Err(error) => return Err(error.into()),
    }
    let status = if ask.version >= Version(2, 2) { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED };
    Ok(status.into_response())
}
