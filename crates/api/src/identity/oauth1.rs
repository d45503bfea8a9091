//! Consumers of OAuth 1: programs that are known by a secret. Only they are kept here; request and access tokens of OAuth 1 are not offered.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::access::OAuthConsumerDesired;
use model::identity::OAuthConsumer;
use model::{Id, Object, Secret};
use serde_json::{Map, Value, json};

use super::ask::{Ask, body_of};
use super::noun::{self, Noun, read};
use super::{schemas, sealed};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

impl Noun for OAuthConsumer {
    const SINGULAR: &'static str = "consumer";
    const PLURAL: &'static str = "consumers";
    const CREATE: &'static Schema = &schemas::CONSUMER_CREATE;
    const UPDATE: &'static Schema = &schemas::CONSUMER_UPDATE;
    const FILTERS: &'static [&'static str] = &[];
    const QUERY: &'static Schema = &schemas::CONSUMER_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = OAuthConsumerDesired { description: None, sealed_secret: Secret::default(), extra: Map::new() };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        if before.is_some() && body.contains_key("secret") {
            return Err(Failure::BadRequest("Invalid input for field 'secret': the secret of a consumer cannot be changed".into()));
        }
        read::put(&mut object.desired.description, body, "description");
        read::extra(&mut object.desired.extra, body, &["description", "secret"]);
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let mut shown = object.desired.extra.clone();
        shown.insert("description".into(), json!(object.desired.description));
        shown
    }
}

fn shown(ask: &Ask, consumer: &Object<OAuthConsumer>) -> Value {
    let mut shown = OAuthConsumer::show(consumer);
    shown.insert("id".into(), json!(consumer.id));
    ask.linked(Value::Object(shown), &format!("OS-OAUTH1/consumers/{}", consumer.id))
}

/// GET /OS-OAUTH1/consumers
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_consumers", json!({}))?;
    noun::check_query(&ask, OAuthConsumer::QUERY)?;
    let found = noun::candidates::<OAuthConsumer>(&ask).await?;
    let items = found.iter().map(|it| shown(&ask, it)).collect();
    noun::paged("consumers", items, &ask)
}

/// POST /OS-OAUTH1/consumers: the one answer that has the secret.
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = body_of(&bytes, OAuthConsumer::CREATE)?;
    // One without attributes is a consumer too.
    let body = body.get("consumer").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut object = OAuthConsumer::blank(&ask, &body)?;
    let secret = Secret::random();
    object.desired.sealed_secret = sealed::seal(&ask.app, secret.reveal()).await?;
    let made = noun::create_from::<OAuthConsumer>(&ask, object, &body, "identity:create_consumer").await?;
    let mut shown = shown(&ask, &made);
    shown["secret"] = json!(secret.reveal());
    Ok((StatusCode::CREATED, Json(json!({"consumer": shown}))))
}

/// GET /OS-OAUTH1/consumers/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = noun::permitted::<OAuthConsumer>(&ask, &id, "identity:get_consumer").await?;
    Ok(Json(json!({"consumer": shown(&ask, &found)})))
}

/// PATCH /OS-OAUTH1/consumers/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    let changed = noun::change::<OAuthConsumer>(&ask, &id, &bytes, "identity:update_consumer").await?;
    Ok(Json(json!({"consumer": shown(&ask, &changed)})))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/OS-OAUTH1/consumers", get(list).post(create))
        .route("/OS-OAUTH1/consumers/{id}", get(show).patch(update).delete(noun::delete::<OAuthConsumer>))
}
