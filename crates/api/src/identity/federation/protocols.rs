//! Protocols: how a provider is asked, and which mapping is for what it says.
//!
//! Beside upstream's attributes a protocol has `jwks_uri` and `audiences`: we check the provider's tokens ourselves, where Keystone leaves
//! that to the web server before it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use http::StatusCode;
use model::access::ProtocolDesired;
use model::identity::{IdentityProvider, Mapping, Protocol};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::{Part, new_id, shadow};
use crate::App;
use crate::failure::Failure;
use crate::identity::ask::{Ask, body_of, missing, rooted};
use crate::identity::noun::{self, Noun, read};
use crate::identity::schemas;
use crate::schema::{Schema, open};

/// Lists of protocols have no parameters of their own.
static QUERY: Schema = open(&[]);

impl Noun for Protocol {
    const SINGULAR: &'static str = "protocol";
    const PLURAL: &'static str = "protocols";
    const CREATE: &'static Schema = &schemas::PROTOCOL_CREATE;
    const UPDATE: &'static Schema = &schemas::PROTOCOL_UPDATE;
    const FILTERS: &'static [&'static str] = &[];
    const QUERY: &'static Schema = &QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        // Which provider and name it has stands in the path.
        let mapping_id = mapping_in(body)?;
        Ok(Object::new(Id::random(), None, "", desired(Id::random(), String::new(), mapping_id)))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        if body.contains_key("mapping_id") {
            let id = mapping_in(body)?;
            if ask.app.store.get::<Mapping>(&id).await?.is_none() {
                return Err(Failure::BadRequest(format!("Invalid mapping id: {id}")));
            }
            object.desired.mapping_id = id;
        }
        let desired = &mut object.desired;
        read::put(&mut desired.remote_id_attribute, body, "remote_id_attribute");
        read::put(&mut desired.jwks_uri, body, "jwks_uri");
        if let Some(audiences) = body.get("audiences") {
            desired.audiences = noun::strings(audiences);
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = Map::new();
        shown.insert("mapping_id".into(), json!(desired.mapping_id));
        if let Some(uri) = &desired.jwks_uri {
            shown.insert("jwks_uri".into(), json!(uri));
        }
        if !desired.audiences.is_empty() {
            shown.insert("audiences".into(), json!(desired.audiences));
        }
        shown
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        batch.require(&object.desired.idp_id).require(&object.desired.mapping_id)
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        shadow::forget(ask, object.desired.idp_id.as_str(), &[&object.desired.protocol], batch).await
    }
}

fn desired(idp_id: Id<IdentityProvider>, protocol: String, mapping_id: Id<Mapping>) -> ProtocolDesired {
    ProtocolDesired { idp_id, protocol, mapping_id, remote_id_attribute: None, jwks_uri: None, audiences: Vec::new() }
}

fn mapping_in(body: &Map<String, Value>) -> Result<Id<Mapping>, Failure> {
    let text = body.get("mapping_id").and_then(Value::as_str).unwrap_or_default();
    Id::parse(text).ok_or_else(|| Failure::BadRequest(format!("Invalid mapping id: {text}")))
}

fn absent(idp: &str, protocol: &str) -> Failure {
    missing(&format!("federated protocol {protocol} for Identity Provider"), idp)
}

/// The id under which a provider's protocol is stored; any text names one, if not one that is there.
fn stored_id(idp: &str, protocol: &str) -> Option<Id<Protocol>> {
    let any: Id<Mapping> = Id::random();
    Some(desired(Id::parse(idp)?, Id::<()>::parse(protocol)?.to_string(), any).id())
}

/// A provider's protocol.
///
/// # Errors
/// `NotFound`.
pub(super) async fn find(app: &App, idp: &str, protocol: &str) -> Result<Object<Protocol>, Failure> {
    match stored_id(idp, protocol) {
        Some(id) => app.store.get(&id).await?.ok_or_else(|| absent(idp, protocol)),
        None => Err(absent(idp, protocol)),
    }
}

fn shown(object: &Object<Protocol>, ask: &Ask, in_list: bool) -> Value {
    let desired = &object.desired;
    let idp = format!("OS-FEDERATION/identity_providers/{}", desired.idp_id);
    let mut shown = Protocol::show(object);
    shown.insert("id".into(), json!(desired.protocol));
    if in_list {
        shown.insert("idp_id".into(), json!(desired.idp_id));
        shown.insert("remote_id_attribute".into(), json!(desired.remote_id_attribute));
    }
    let mut shown = ask.linked(Value::Object(shown), &format!("{idp}/protocols/{}", desired.protocol));
    shown["links"]["identity_provider"] = json!(ask.link(&idp));
    shown
}

fn answer(object: &Object<Protocol>, ask: &Ask) -> Json<Value> {
    Json(json!({"protocol": shown(object, ask, false)}))
}

/// GET /OS-FEDERATION/identity_providers/{idp}/protocols
pub(super) async fn list(ask: Ask, Path(idp): Path<String>) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_protocols", json!({}))?;
    let found = ask.app.store.list(&Query::<Protocol>::new().column("idp_id", [idp])).await?;
    let items = found.iter().map(|it| shown(it, &ask, true)).collect();
    noun::paged("protocols", items, &ask)
}

/// GET /OS-FEDERATION/identity_providers/{idp}/protocols/{protocol}
pub(super) async fn show(ask: Ask, Path((idp, protocol)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_protocol", json!({}))?;
    Ok(answer(&find(&ask.app, &idp, &protocol).await?, &ask))
}

/// PUT /OS-FEDERATION/identity_providers/{idp}/protocols/{protocol}
pub(super) async fn put(
    ask: Ask,
    Path((idp, protocol)): Path<(String, String)>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, Protocol::CREATE)?, "protocol")?;
    let mut object = Protocol::blank(&ask, &body)?;
    object.desired.protocol = new_id::<Protocol>("id", &protocol)?.to_string();
    ask.enforce("identity:create_protocol", json!({}))?;
    let gone = || missing(IdentityProvider::WHAT, &idp);
    object.desired.idp_id = noun::get::<IdentityProvider>(&ask.app, &idp).await?.ok_or_else(gone)?.id;
    object.id = object.desired.id();
    match noun::create_from(&ask, object, &body, "identity:create_protocol").await {
        Ok(made) => Ok((StatusCode::CREATED, answer(&made, &ask))),
        Err(Failure::Conflict(_)) => Err(Failure::Conflict(format!(
            "Conflict occurred attempting to store federation_protocol - Duplicate entry found with ID {protocol}."
        ))),
        Err(error) => Err(error),
    }
}

/// PATCH /OS-FEDERATION/identity_providers/{idp}/protocols/{protocol}
pub(super) async fn update(ask: Ask, Path((idp, protocol)): Path<(String, String)>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:update_protocol", json!({}))?;
    let found = find(&ask.app, &idp, &protocol).await?;
    let changed = noun::change::<Protocol>(&ask, found.id.as_str(), &bytes, "identity:update_protocol").await?;
    Ok(answer(&changed, &ask))
}

/// DELETE /OS-FEDERATION/identity_providers/{idp}/protocols/{protocol}
pub(super) async fn delete(ask: Ask, Path((idp, protocol)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    ask.enforce("identity:delete_protocol", json!({}))?;
    let found = find(&ask.app, &idp, &protocol).await?;
    noun::remove::<Protocol>(&ask, found.id.as_str(), "identity:delete_protocol").await
}
