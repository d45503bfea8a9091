//! Identity providers.

use model::access::IdentityProviderDesired;
use model::identity::{Domain, DomainDesired, IdentityProvider, Protocol};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::{Part, shadow};
use crate::App;
use crate::failure::Failure;
use crate::identity::ask::Ask;
use crate::identity::noun::{self, Name, Noun, read};
use crate::identity::schemas;
use crate::schema::Schema;

/// Where the names by which providers call themselves are: no two providers have the same.
const REMOTE_IDS: &str = "remote-id";

impl Noun for IdentityProvider {
    const SINGULAR: &'static str = "identity_provider";
    const PLURAL: &'static str = "identity_providers";
    const CREATE: &'static Schema = &schemas::IDENTITY_PROVIDER_CREATE;
    const UPDATE: &'static Schema = &schemas::IDENTITY_PROVIDER_UPDATE;
    const FILTERS: &'static [&'static str] = &["id", "enabled"];
    const QUERY: &'static Schema = &schemas::IDENTITY_PROVIDER_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        Ok(Object::new(Id::random_hex(), None, "", IdentityProviderDesired::default()))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        if before.is_none() {
            object.desired.domain_id = match body.get("domain_id").and_then(Value::as_str) {
                Some(text) => Some(noun::find::<Domain>(&ask.app, text).await?.id),
                None => Some(Id::random_hex()),
            };
        }
        let desired = &mut object.desired;
        read::put(&mut desired.description, body, "description");
        read::put_bool(&mut desired.enabled, body, "enabled");
        if let Some(value) = body.get("authorization_ttl") {
            let minutes = value.as_i64().map(u32::try_from).transpose();
            desired.authorization_ttl_minutes =
                minutes.map_err(|_| Failure::BadRequest("Invalid input for field 'authorization_ttl': it is too long".into()))?;
        }
        if let Some(ids) = body.get("remote_ids") {
            desired.remote_ids = noun::strings(ids);
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut remote_ids = desired.remote_ids.clone();
        remote_ids.sort();
        let mut shown = desired.extra.clone();
        for (key, value) in [
            ("domain_id", json!(desired.domain_id)),
            ("enabled", json!(desired.enabled)),
            ("description", json!(desired.description)),
            ("remote_ids", json!(remote_ids)),
            ("authorization_ttl", json!(desired.authorization_ttl_minutes)),
        ] {
            shown.insert(key.into(), value);
        }
        shown
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        object.desired.remote_ids.iter().map(|it| Name { pool: REMOTE_IDS.into(), value: it.clone() }).collect()
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        match &object.desired.domain_id {
            Some(domain) => batch.require(domain),
            None => batch,
        }
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let protocols = ask.app.store.list(&Query::<Protocol>::new().column("idp_id", [object.id.to_string()])).await?;
        let names: Vec<&str> = protocols.iter().map(|it| it.desired.protocol.as_str()).collect();
        let batch = shadow::forget(ask, object.id.as_str(), &names, batch).await?;
        Ok(protocols.iter().fold(batch, Batch::remove))
    }
}

impl Part for IdentityProvider {
    const WHAT: &'static str = "Identity Provider";

    fn related() -> &'static [&'static str] {
        &["protocols"]
    }

    /// A domain for the users of a provider that was given none.
    fn beside(object: &Object<Self>, body: &Map<String, Value>) -> Batch<Wishes> {
        let given = body.get("domain_id").is_some_and(Value::is_string);
        let Some(id) = object.desired.domain_id.clone().filter(|_| !given) else { return Batch::wishes() };
        let description = format!("Users of the identity provider {}", object.id);
        let name = id.to_string();
        let domain = Object::<Domain>::new(id, None, &name, DomainDesired { description, ..DomainDesired::default() });
        let held = Domain::names(&domain).into_iter();
        held.fold(Batch::wishes(), |batch, it| batch.hold(&it.pool, &it.value, domain.id.as_str())).create(&domain)
    }

    async fn conflict(app: &App, object: &Object<Self>) -> Result<Option<String>, Failure> {
        for id in &object.desired.remote_ids {
            if app.store.allocation(REMOTE_IDS, id).await?.is_some_and(|held| held.holder != object.id.as_str()) {
                return Ok(Some(format!("Duplicate remote ID: {id}.")));
            }
        }
        Ok(None)
    }
}
