//! Identity: the part of Keystone v3 that clients need to log in and operators to manage projects, users and roles.

mod auth;
mod catalog;
mod grants;
mod nouns;
mod password;
mod setup;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::{HeaderMap, StatusCode, header};
use model::identity::{Domain, Project, Role, User};
use serde_json::{Value, json};

use crate::App;
use crate::failure::{self, Failure};
use crate::links::origin;

pub(crate) use setup::bootstrap;
pub(crate) use token::{State, validate};

/// The version of the API that is implemented in part: its document names it.
const VERSION: &str = "v3.14";

/// The service, below `/identity`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let v3 = Router::new()
        .route("/", get(version))
        .route("/auth/tokens", get(auth::show).head(auth::check).post(auth::issue).delete(auth::revoke))
        .route("/auth/projects", get(auth::projects))
        .route("/auth/domains", get(auth::domains))
        .route("/auth/catalog", get(auth::catalog))
        .route("/domains", get(nouns::list::<Domain>).post(nouns::create::<Domain>))
        .route("/domains/{id}", get(nouns::show::<Domain>).patch(nouns::update::<Domain>).delete(nouns::domain::delete))
        .route("/projects", get(nouns::list::<Project>).post(nouns::create::<Project>))
        .route("/projects/{id}", get(nouns::show::<Project>).patch(nouns::update::<Project>).delete(nouns::project::delete))
        .route("/users", get(nouns::list::<User>).post(nouns::user::create))
        .route("/users/{id}", get(nouns::show::<User>).patch(nouns::user::update).delete(nouns::user::delete))
        .route("/users/{id}/password", axum::routing::post(nouns::user::change_password))
        .route("/users/{id}/projects", get(nouns::user::projects))
        .route("/roles", get(nouns::list::<Role>).post(nouns::create::<Role>))
        .route("/roles/{id}", get(nouns::show::<Role>).patch(nouns::update::<Role>).delete(nouns::role::delete))
        .route("/role_assignments", get(grants::assignments))
        .route("/projects/{target}/users/{user}/roles", get(grants::list_on_project))
        .route(
            "/projects/{target}/users/{user}/roles/{role}",
            put(grants::give_on_project).head(grants::check_on_project).delete(grants::take_on_project),
        )
        .route("/domains/{target}/users/{user}/roles", get(grants::list_on_domain))
        .route(
            "/domains/{target}/users/{user}/roles/{role}",
            put(grants::give_on_domain).head(grants::check_on_domain).delete(grants::take_on_domain),
        )
        .route("/system/users/{user}/roles", get(grants::list_on_system))
        .route(
            "/system/users/{user}/roles/{role}",
            put(grants::give_on_system).head(grants::check_on_system).delete(grants::take_on_system),
        )
        .route("/regions", get(catalog::regions))
        .route("/regions/{id}", get(catalog::region))
        .route("/services", get(catalog::services))
        .route("/services/{id}", get(catalog::service))
        .route("/endpoints", get(catalog::endpoints))
        .route("/endpoints/{id}", get(catalog::endpoint));
    Router::new()
        .route("/", get(versions))
        .nest("/v3", v3)
        .fallback(async || Failure::NoRoute)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .with_state(app)
        .layer(map_response(async |response: Response| enveloped(response)))
}

/// Keystone's form of a failure (Source: Identity API reference, "Errors").
fn enveloped(response: Response) -> Response {
    let mut response = failure::envelope(response, |failure| {
        let status = failure.status();
        let title = status.canonical_reason().unwrap_or("Error");
        json!({"error": {"code": status.as_u16(), "message": failure.message(), "title": title}})
    });
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Keystone uri=\"/identity/v3\""));
    }
    response.headers_mut().insert(header::VARY, http::HeaderValue::from_static("X-Auth-Token"));
    response
}

fn document(origin: &str) -> Value {
    json!({
        "id": VERSION, "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{origin}/identity/v3/")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

async fn versions(Shared(app): Shared<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = origin(&app, &headers);
    let location = format!("{origin}/identity/v3/");
    (StatusCode::MULTIPLE_CHOICES, [(header::LOCATION, location)], axum::Json(json!({"versions": {"values": [document(&origin)]}})))
        .into_response()
}

async fn version(Shared(app): Shared<Arc<App>>, headers: HeaderMap) -> axum::Json<Value> {
    axum::Json(json!({"version": document(&origin(&app, &headers))}))
}

/// What handlers of identity are given.
pub(crate) struct Ask {
    pub(crate) app: Arc<App>,
    pub(crate) caller: crate::caller::Caller,
    pub(crate) origin: String,
    pub(crate) parameters: crate::resource::Parameters,
}

impl axum::extract::FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut http::request::Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let caller = crate::caller::Caller::from_request_parts(parts, app).await?;
        let origin = origin(app, &parts.headers);
        Ok(Self { app: Arc::clone(app), caller, origin, parameters: crate::resource::Parameters::parse(parts.uri.query()) })
    }
}

/// A list in Keystone's form.
fn listed(plural: &str, items: Vec<Value>, ask: &Ask) -> axum::Json<Value> {
    let href = format!("{}/identity/v3/{plural}", ask.origin);
    axum::Json(json!({plural: items, "links": {"next": null, "previous": null, "self": href}}))
}

/// Adds the link every object of Keystone has.
fn linked(mut object: Value, plural: &str, ask: &Ask) -> Value {
    let id = object["id"].as_str().unwrap_or_default().to_owned();
    if let Some(map) = object.as_object_mut() {
        map.insert("links".into(), json!({"self": format!("{}/identity/v3/{plural}/{id}", ask.origin)}));
    }
    object
}

type Body = Bytes;
