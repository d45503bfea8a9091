//! Identity: Keystone v3, for clients, operators and Kubernetes.

pub(crate) mod access_rules;
mod application_credentials;
mod ask;
mod auth;
pub(crate) mod basic;
mod catalog;
mod credentials;
mod domain_config;
mod domains;
mod ec2;
mod effective;
mod endpoint_filter;
mod endpoints;
mod federation;
mod grants;
mod groups;
mod hashing;
mod immutable;
pub mod import;
mod json_home;
mod k8s;
mod limits;
mod noun;
mod oauth1;
mod oauth2;
mod openapi;
pub(crate) mod policies;
mod policy_documents;
mod projects;
mod regions;
mod revocation;
mod role_assignments;
mod roles;
mod schemas;
pub(crate) mod sealed;
mod services;
mod settings;
mod setup;
pub(crate) mod token;
mod trusts;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::App;
use crate::failure::{self, Failure};
use crate::links::origin;

pub use settings::IdentitySettings;
pub(crate) use setup::bootstrap;
pub(crate) use token::State;

/// The version of the API.
const VERSION: &str = "v3.14";

/// The service, below `/identity`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let nouns = [
        application_credentials::routes(),
        auth::routes(),
        credentials::routes(),
        domain_config::routes(),
        domains::routes(),
        ec2::routes(),
        endpoint_filter::routes(),
        endpoints::routes(),
        federation::routes(),
        grants::routes(),
        groups::routes(),
        limits::routes(),
        oauth1::routes(),
        oauth2::routes(),
        policy_documents::routes(),
        projects::routes(),
        regions::routes(),
        revocation::routes(),
        role_assignments::routes(),
        roles::routes(),
        services::routes(),
        trusts::routes(),
        users::routes(),
    ];
    let v3 = nouns.into_iter().fold(Router::new().route("/", get(version)).route("/openapi.json", get(openapi::show)), Router::merge);
    Router::new()
        .route("/", get(versions))
        .nest("/v3", v3)
        .nest("/k8s", k8s::routes())
        .fallback(async || Failure::NoRoute)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .with_state(Arc::clone(&app))
        .layer(from_fn_with_state(app, enveloped))
}

/// Keystone's form of a failure (Source: Identity API reference, "Errors").
async fn enveloped(Shared(app): Shared<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = origin(&app, request.headers());
    let response = next.run(request).await;
    let mut response = failure::envelope(response, |failure| {
        let status = failure.status();
        let title = status.canonical_reason().unwrap_or("Error");
        json!({"error": {"code": status.as_u16(), "message": failure.message(), "title": title}})
    });
    if response.status() == StatusCode::UNAUTHORIZED {
        let challenge = format!("Keystone uri=\"{origin}/identity/v3\"");
        if let Ok(value) = http::HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
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

/// Whether the client wants to be told what resources there are rather than which version.
fn wants_json_home(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).is_some_and(|it| it.contains("application/json-home"))
}

fn json_home() -> Response {
    ([(header::CONTENT_TYPE, "application/json-home")], axum::Json(json_home::document())).into_response()
}

async fn versions(Shared(app): Shared<Arc<App>>, headers: HeaderMap) -> Response {
    if wants_json_home(&headers) {
        return json_home();
    }
    let origin = origin(&app, &headers);
    let location = format!("{origin}/identity/v3/");
    (StatusCode::MULTIPLE_CHOICES, [(header::LOCATION, location)], axum::Json(json!({"versions": {"values": [document(&origin)]}})))
        .into_response()
}

async fn version(Shared(app): Shared<Arc<App>>, headers: HeaderMap) -> Response {
    if wants_json_home(&headers) {
        return json_home();
    }
    axum::Json(json!({"version": document(&origin(&app, &headers))})).into_response()
}
