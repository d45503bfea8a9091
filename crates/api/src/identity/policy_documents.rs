//! Policies stored for other services, and at which endpoints they are in force (OS-ENDPOINT-POLICY).
//!
//! A policy is attached to an endpoint, to a service in a region, or to a service. At an endpoint that is in force which is attached
//! closest: to the endpoint itself, to its service in its region or the nearest region above, to its service.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::{Endpoint, PolicyAssociation, PolicyAssociationDesired, PolicyDocument, PolicyDocumentDesired, Region, Service};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::ask::{Ask, missing};
use super::noun::{self, Noun, read};
use super::{endpoints, regions, schemas};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;
use crate::schema::{Schema, open};

/// Keystone checks nothing of a list's parameters.
static QUERY: Schema = open(&[]);

impl Noun for PolicyDocument {
    const SINGULAR: &'static str = "policy";
    const PLURAL: &'static str = "policies";
    const CREATE: &'static Schema = &schemas::POLICY_CREATE;
    const UPDATE: &'static Schema = &schemas::POLICY_UPDATE;
    const FILTERS: &'static [&'static str] = &["type"];
    const QUERY: &'static Schema = &QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = PolicyDocumentDesired { blob: Value::Null, media_type: String::new(), extra: Map::new() };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        let desired = &mut object.desired;
        if let Some(blob) = body.get("blob") {
            desired.blob = blob.clone();
        }
        if let Some(kind) = read::text(body, "type") {
            desired.media_type = kind;
        }
        read::extra(&mut desired.extra, body, &["blob", "type"]);
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let mut shown = object.desired.extra.clone();
        shown.insert("blob".into(), object.desired.blob.clone());
        shown.insert("type".into(), json!(object.desired.media_type));
        shown
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let id = object.id.to_string();
        let attached = ask.app.store.list(&Query::<PolicyAssociation>::new().column("policy_id", [id.clone()])).await?;
        Ok(attached.iter().fold(batch, Batch::remove).unless_referenced::<PolicyAssociation>("policy_id", &id))
    }
}

fn not_found(why: String) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NotFound", why)
}

/// A policy and a place, by the path of a request.
struct Attachment(Object<PolicyAssociation>);

impl Attachment {
    /// Reads the path after asking the rule for it; all that it names must be there.
    async fn of_path(ask: &Ask, verb: &str, path: &HashMap<String, String>) -> Result<Self, Failure> {
        let part = |name: &str| path.get(name).map(String::as_str);
        let place = match (part("endpoint"), part("region")) {
            (Some(_), _) => "endpoint",
            (None, Some(_)) => "region_and_service",
            (None, None) => "service",
        };
        ask.enforce(&format!("identity:{verb}_policy_association_for_{place}"), json!({}))?;
        let mut desired = PolicyAssociationDesired {
            policy_id: noun::find::<PolicyDocument>(&ask.app, part("id").unwrap_or_default()).await?.id,
            endpoint_id: None,
            service_id: None,
            region_id: None,
        };
        if let Some(id) = part("endpoint") {
            desired.endpoint_id = Some(noun::find::<Endpoint>(&ask.app, id).await?.id);
        }
        if let Some(id) = part("service") {
            desired.service_id = Some(noun::find::<Service>(&ask.app, id).await?.id);
        }
        if let Some(id) = part("region") {
            desired.region_id = Some(noun::find::<Region>(&ask.app, id).await?.id);
        }
        Ok(Self(Object::new(desired.id(), None, "", desired)))
    }

    /// What is attached at the place now, if it is this policy.
    async fn present(&self, ask: &Ask) -> Result<Option<Object<PolicyAssociation>>, Failure> {
        let found = ask.app.store.get(&self.0.id).await?;
        Ok(found.filter(|it| it.desired.policy_id == self.0.desired.policy_id))
    }

    /// All that must be there as long as it is.
    fn batch(&self) -> Batch<Wishes> {
        let desired = &self.0.desired;
        let mut batch = Batch::wishes().require(&desired.policy_id);
        if let Some(id) = &desired.endpoint_id {
            batch = batch.require(id);
        }
        if let Some(id) = &desired.service_id {
            batch = batch.require(id);
        }
        if let Some(id) = &desired.region_id {
            batch = batch.require(id);
        }
        batch
    }
}

type Parts = Path<HashMap<String, String>>;

/// GET /policies/{id}/OS-ENDPOINT-POLICY/{place}
async fn check(ask: Ask, Path(path): Parts) -> Result<StatusCode, Failure> {
    let found = Attachment::of_path(&ask, "check", &path).await?.present(&ask).await?;
    found.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| not_found("Could not find policy association.".into()))
}

/// PUT /policies/{id}/OS-ENDPOINT-POLICY/{place}: in place of what was attached there.
async fn attach(ask: Ask, Path(path): Parts) -> Result<StatusCode, Failure> {
    let wanted = Attachment::of_path(&ask, "create", &path).await?;
    for _ in 0..RACES {
        let batch = match ask.app.store.get(&wanted.0.id).await? {
            None => wanted.batch().create(&wanted.0),
            Some(found) if found.desired == wanted.0.desired => return Ok(StatusCode::NO_CONTENT),
            Some(mut found) => {
                found.desired = wanted.0.desired.clone();
                wanted.batch().want(&found)
            }
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT),
            Err(StoreError::Exists { .. } | StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// DELETE /policies/{id}/OS-ENDPOINT-POLICY/{place}: not attached is as good.
async fn detach(ask: Ask, Path(path): Parts) -> Result<StatusCode, Failure> {
    let unwanted = Attachment::of_path(&ask, "delete", &path).await?;
    if let Some(found) = unwanted.present(&ask).await? {
        ask.app.store.apply(Batch::wishes().remove(&found)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// GET /policies/{id}/OS-ENDPOINT-POLICY/endpoints
async fn endpoints_of_policy(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let policy = noun::permitted::<PolicyDocument>(&ask, &id, "identity:list_endpoints_for_policy").await?;
    let store = &ask.app.store;
    let attached = store.list(&Query::<PolicyAssociation>::new().column("policy_id", [policy.id.to_string()])).await?;
    let (all, tree) = (store.list(&Query::<Endpoint>::new()).await?, store.list(&Query::<Region>::new()).await?);
    let places: Vec<(PolicyAssociationDesired, HashSet<Id<Region>>)> = attached
        .into_iter()
        .map(|it| {
            let within = it.desired.region_id.as_ref().map(|region| regions::below(region, &tree)).unwrap_or_default();
            (it.desired, within)
        })
        .collect();
    let meant = |endpoint: &Object<Endpoint>| {
        let desired = &endpoint.desired;
        places.iter().any(|(place, within)| match (&place.endpoint_id, &place.service_id, &place.region_id) {
            (Some(id), _, _) => *id == endpoint.id,
            (None, Some(service), None) => *service == desired.service_id,
            (None, Some(service), Some(_)) => {
                *service == desired.service_id && desired.region_id.as_ref().is_some_and(|it| within.contains(it))
            }
            (None, None, _) => false,
        })
    };
    endpoints::answer_list(&ask, all.iter().filter(|it| meant(it)))
}

/// The policy attached to exactly this place.
async fn attached_to(
    ask: &Ask,
    endpoint: Option<&Id<Endpoint>>,
    service: Option<&Id<Service>>,
    region: Option<&Id<Region>>,
) -> Result<Option<Id<PolicyDocument>>, Failure> {
    let mut query = Query::<PolicyAssociation>::new();
    for (column, id) in [
        ("endpoint_id", endpoint.map(ToString::to_string)),
        ("service_id", service.map(ToString::to_string)),
        ("region_id", region.map(ToString::to_string)),
    ] {
        query = match id {
            Some(id) => query.column(column, [id]),
            None => query.unset(column),
        };
    }
    Ok(ask.app.store.list(&query).await?.into_iter().next().map(|it| it.desired.policy_id))
}

/// The policy in force at an endpoint.
async fn in_force(ask: &Ask, endpoint: &Object<Endpoint>) -> Result<Option<Id<PolicyDocument>>, Failure> {
    if let Some(found) = attached_to(ask, Some(&endpoint.id), None, None).await? {
        return Ok(Some(found));
    }
    let service = Some(&endpoint.desired.service_id);
    let mut seen = HashSet::new();
    let mut next = endpoint.desired.region_id.clone();
    while let Some(id) = next {
        if let Some(found) = attached_to(ask, None, service, Some(&id)).await? {
            return Ok(Some(found));
        }
        next = ask.app.store.get(&id).await?.and_then(|it| it.desired.parent_region_id).filter(|it| !seen.contains(it));
        seen.insert(id);
    }
    attached_to(ask, None, service, None).await
}

/// GET /endpoints/{id}/OS-ENDPOINT-POLICY/policy
async fn policy_of_endpoint(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let endpoint = noun::permitted::<Endpoint>(&ask, &id, "identity:get_policy_for_endpoint").await?;
    let found = in_force(&ask, &endpoint).await?;
    let found = found.ok_or_else(|| not_found(format!("No policy is associated with endpoint {}.", endpoint.id)))?;
    let policy = ask.app.store.get(&found).await?.ok_or_else(|| missing("policy", found.as_str()))?;
    Ok(Json(json!({"policy": noun::shown(&policy, &ask)})))
}

pub(super) fn routes() -> Router<Arc<App>> {
    let place = || get(check).put(attach).delete(detach);
    Router::new()
        .route("/policies", get(noun::list::<PolicyDocument>).post(noun::create::<PolicyDocument>))
        .route(
            "/policies/{id}",
            get(noun::show::<PolicyDocument>).patch(noun::update::<PolicyDocument>).delete(noun::delete::<PolicyDocument>),
        )
        .route("/policies/{id}/OS-ENDPOINT-POLICY/endpoints", get(endpoints_of_policy))
        .route("/policies/{id}/OS-ENDPOINT-POLICY/endpoints/{endpoint}", place())
        .route("/policies/{id}/OS-ENDPOINT-POLICY/services/{service}", place())
        .route("/policies/{id}/OS-ENDPOINT-POLICY/services/{service}/regions/{region}", place())
        .route("/endpoints/{id}/OS-ENDPOINT-POLICY/policy", get(policy_of_endpoint))
}
