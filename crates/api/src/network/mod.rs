//! Network: the part of Neutron v2.0 that carries bare-metal machines: networks, subnets, ports and their bindings.

mod address;
mod networks;
pub(crate) mod policies;
mod ports;
mod subnets;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use model::net::Network;
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

pub(crate) use ports::sees as sees_port;

use crate::App;
use crate::caller::Caller;
use crate::enforce::enforce;
use crate::failure::{self, Failure, class};
use crate::links::origin;
use crate::race::RACES;
use crate::resource::Parameters;

/// Most objects made by one request.
const MAX_BULK: usize = 1000;

/// What is listed works. (Alias, name, description.)
const EXTENSIONS: [(&str, &str, &str); 10] = [
    ("binding", "Port Binding", "Binding of ports to hosts and switch ports"),
    ("external-net", "Neutron external network", "The attribute router:external"),
    ("filter-validation", "Filter parameters validation", "A filter nobody knows is an error"),
    ("net-mtu", "Network MTU", "The attribute mtu"),
    ("pagination", "Pagination support", "limit, marker and page_reverse"),
    ("project-id", "project_id field enabled", "project_id beside tenant_id"),
    ("provider", "Provider Network", "Where the segment of a network lies"),
    ("sorting", "Sorting support", "sort_key and sort_dir"),
    ("standard-attr-description", "standard-attr-description", "The attribute description"),
    ("standard-attr-timestamp", "Resource timestamps", "created_at, updated_at and the filter changed_since"),
];

/// The service, below `/network`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let v2 = Router::new()
        .route("/", get(resources))
        .route("/extensions", get(extensions))
        .route("/extensions/{alias}", get(extension))
        .route("/networks", get(networks::list).post(networks::create))
        .route("/networks/{id}", get(networks::show).put(networks::update).delete(networks::delete))
        .route("/subnets", get(subnets::list).post(subnets::create))
        .route("/subnets/{id}", get(subnets::show).put(subnets::update).delete(subnets::delete))
        .route("/ports", get(ports::list).post(ports::create))
        .route("/ports/{id}", get(ports::show).put(ports::update).delete(ports::delete));
    Router::new()
        .route("/", get(versions))
        .nest("/v2.0", v2)
        .fallback(async || Failure::NoRoute)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .with_state(app)
        .layer(map_response(async |response: Response| enveloped(response)))
}

/// Neutron's form of a failure; identity's for one about identity, as its middleware answers.
fn enveloped(response: Response) -> Response {
    failure::envelope(response, |failure| match failure {
        Failure::Unauthorized(text) => json!({"error": {"code": 401, "title": "Unauthorized", "message": text}}),
        other => {
            let kind = match other {
                Failure::Named { kind, .. } => (*kind).to_owned(),
                Failure::Forbidden(_) => "PolicyNotAuthorized".to_owned(),
                Failure::NotFound { what, .. } => format!("{what}NotFound"),
                Failure::Internal(_) => "HTTPInternalServerError".to_owned(),
                plain => format!("HTTP{}", class(plain)),
            };
            json!({"NeutronError": {"type": kind, "message": other.message(), "detail": ""}})
        }
    })
}

/// What handlers of this service are given.
pub(crate) struct Ask {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) origin: String,
    pub(crate) parameters: Parameters,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, app).await?;
        Ok(Self { app: Arc::clone(app), caller, origin: origin(app, &parts.headers), parameters: Parameters::parse(parts.uri.query()) })
    }
}

impl Ask {
    /// The address of a collection.
    fn href(&self, collection: &str) -> String {
        format!("{}/network/v2.0/{collection}", self.origin)
    }

    /// All networks by id: what rules say of a thing on one depends on whose it is.
    async fn networks(&self) -> Result<HashMap<Id<Network>, Object<Network>>, Failure> {
        let all = self.app.store.list(&Query::<Network>::new().with_deleted()).await?;
        Ok(all.into_iter().map(|it| (it.id.clone(), it)).collect())
    }
}

async fn versions(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let href = format!("{}/network/v2.0/", origin(&app, &headers));
    Json(json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": href}]}]}))
}

async fn resources(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let origin = origin(&app, &headers);
    let shown = [("network", "networks"), ("subnet", "subnets"), ("port", "ports"), ("extension", "extensions")]
        .map(|(name, collection)| json!({"name": name, "collection": collection, "links": [{"rel": "self", "href": format!("{origin}/network/v2.0/{collection}")}]}));
    Json(json!({ "resources": shown }))
}

fn extension_shown((alias, name, description): (&str, &str, &str)) -> Value {
    json!({"alias": alias, "name": name, "description": description, "updated": "2026-11-21T00:00:00-00:00", "links": []})
}

async fn extensions(_ask: Ask) -> Json<Value> {
    Json(json!({"extensions": EXTENSIONS.map(extension_shown)}))
}

async fn extension(_ask: Ask, Path(alias): Path<String>) -> Result<Response, Failure> {
    let found = EXTENSIONS.into_iter().find(|it| it.0 == alias).ok_or_else(|| Failure::not_found("Extension", &alias))?;
    Ok(Json(json!({"extension": extension_shown(found)})).into_response())
}

/// The objects of a creating request: one below `singular`, or several below `plural`.
fn bodies(body: &Value, singular: &str, plural: &str) -> Result<(Vec<serde_json::Map<String, Value>>, bool), Failure> {
    if let Some(many) = body.get(plural) {
        let many = many.as_array().ok_or_else(|| Failure::BadRequest(format!("'{plural}' is not a list")))?;
        if many.is_empty() || many.len() > MAX_BULK {
            return Err(Failure::BadRequest(format!("Resources required: from one to {MAX_BULK} '{plural}'")));
        }
        let one = |it: &Value| {
            it.get(singular).unwrap_or(it).as_object().cloned().ok_or_else(|| Failure::BadRequest(format!("Invalid body of a {singular}")))
        };
        return Ok((many.iter().map(one).collect::<Result<_, _>>()?, true));
    }
    Ok((vec![crate::resource::rooted(body, singular)?.clone()], false))
}

/// The project an object is to belong to: the caller's, or the one an administrator names.
fn owner(ask: &Ask, body: &mut serde_json::Map<String, Value>) -> Result<Id<model::identity::Project>, Failure> {
    let (project, tenant) = (body.remove("project_id"), body.remove("tenant_id"));
    if let (Some(a), Some(b)) = (&project, &tenant)
        && a != b
    {
        return Err(Failure::BadRequest("'project_id' and 'tenant_id' do not match".into()));
    }
    let own = ask.caller.project().cloned();
    match project.or(tenant) {
        Some(given) => {
            let id: Id<model::identity::Project> = crate::resource::value::id(&given)
                .map_err(|why| Failure::BadRequest(format!("Invalid input for project_id. Reason: {why}.")))?;
            if own.as_ref().ok() != Some(&id) {
                enforce(&ask.app, &ask.caller, "network:context_is_admin", &policies::of_project(Some(&id)))?;
            }
            Ok(id)
        }
        None => own,
    }
}

/// The object as it was before its removal was asked for, to take the place of `marked`; nobody's copy of that is good any more.
fn unmarked<K: model::Kind>(marked: &model::Object<K>) -> model::Object<K> {
    model::Object { deleted_at: None, revision: marked.revision + 1, ..marked.clone() }
}

/// Whether a race is worth another try.
fn again(error: &store::StoreError, tries: u32) -> bool {
    error.is_race() && tries < RACES
}

/// How many free values to pass over before one is taken: none at first, so that values are given out in order; after a race at random, so
/// that many who take at once do not all want the same again.
fn passed_over(tries: u32) -> Result<usize, Failure> {
    if tries == 0 {
        return Ok(0);
    }
    let mut byte = [0_u8];
    getrandom::fill(&mut byte).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(usize::from(byte[0]) % 32)
}

fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}
