//! Bare metal (Ironic v1).

mod access;
mod driver;
mod node;
mod node_fields;
pub(crate) mod policies;
mod port;
mod ramdisk;
mod states;
mod versions;
mod vif;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::App;
use crate::caller::Caller;
use crate::failure::{self, Failure};
use crate::microversion::{Range, Refused, Version};
use versions::{Minor, RANGE};

/// A request: who asks what of whom, in which version.
pub(crate) struct Ask {
    app: Arc<App>,
    caller: Caller,
    minor: Minor,
    /// The service's own address, for links.
    base: String,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let minor = parts.extensions.get::<Minor>().copied().unwrap_or(Minor(RANGE.min.1));
        Ok(Self { app: Arc::clone(app), caller, minor, base: base(app, &parts.headers) })
    }
}

fn base(app: &App, headers: &HeaderMap) -> String {
    format!("{}/baremetal", crate::links::origin(app, headers))
}

/// All of `/baremetal`.
pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/v1/nodes", get(node::list).post(node::create))
        .route("/v1/nodes/detail", get(node::list_detail))
        .route("/v1/nodes/{node}", get(node::show).patch(node::update).delete(node::delete))
        .route("/v1/nodes/{node}/states", get(states::show))
        .route("/v1/nodes/{node}/states/power", put(states::power))
        .route("/v1/nodes/{node}/states/provision", put(states::provision))
        .route("/v1/nodes/{node}/maintenance", put(states::set_maintenance).delete(states::unset_maintenance))
        .route("/v1/nodes/{node}/validate", get(states::validate))
        .route("/v1/nodes/{node}/history", get(states::history))
        .route("/v1/nodes/{node}/history/{event}", get(states::history_event))
        .route("/v1/nodes/{node}/ports", get(states::ports))
        .route("/v1/nodes/{node}/vifs", get(vif::list).post(vif::attach))
        .route("/v1/nodes/{node}/vifs/{vif}", delete(vif::detach))
        .route("/v1/ports", get(port::list).post(port::create))
        .route("/v1/ports/detail", get(port::list_detail))
        .route("/v1/ports/{port}", get(port::show).patch(port::update).delete(port::delete))
        .route("/v1/drivers", get(driver::list))
        .route("/v1/drivers/{driver}", get(driver::show))
        .route("/v1/drivers/{driver}/properties", get(driver::properties));
    finished(routes.merge(agent_routes()), app)
}

/// What a ramdisk may call.
pub fn agent_router(app: Arc<App>) -> Router {
    finished(agent_routes(), app)
}

fn agent_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(root))
        .route("/v1", get(document))
        .route("/v1/lookup", get(ramdisk::lookup))
        .route("/v1/heartbeat/{node}", post(ramdisk::heartbeat))
}

fn finished(routes: Router<Arc<App>>, app: Arc<App>) -> Router {
    routes
        .fallback(|| async { Failure::NoRoute })
        .method_not_allowed_fallback(|| async { Failure::MethodNotAllowed })
        .layer(from_fn(negotiate))
        .with_state(app)
}

async fn root(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    Json(versions::root(&base(&app, &headers))).into_response()
}

async fn document(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    Json(versions::document(&base(&app, &headers))).into_response()
}

/// The version a request asks for, by Ironic's own header or the one all services share.
fn asked(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    text(versions::HEADER).or_else(|| text("openstack-api-version").and_then(|it| Range::asked_of(it, versions::NAMES)))
}

/// Chooses the version, and puts versions and envelope around every answer, also the bad ones: clients that ask for too new a version
/// learn from the headers of the refusal which there are.
async fn negotiate(mut request: Request, next: Next) -> Response {
    let chosen = RANGE.choose(asked(request.headers()));
    let (response, used) = match chosen {
        Ok(version) => {
            request.extensions_mut().insert(Minor(version.1));
            (next.run(request).await, version)
        }
        Err(refused) => (refusal(&refused).into_response(), RANGE.min),
    };
    let mut response = failure::envelope(response, error);
    let headers = response.headers_mut();
    for (name, version) in [(versions::HEADER, used), (versions::MIN_HEADER, RANGE.min), (versions::MAX_HEADER, RANGE.max)] {
        if let Ok(value) = HeaderValue::from_str(&version.to_string()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.insert(http::header::VARY, HeaderValue::from_static("X-OpenStack-Ironic-API-Version, OpenStack-API-Version"));
    response
}

fn refusal(refused: &Refused) -> Failure {
    let Range { min, max } = RANGE;
    let why = match refused {
        Refused::Malformed(text) => format!("Invalid value for X-OpenStack-Ironic-API-Version: '{text}'."),
        Refused::Outside(Version(major, minor)) => {
            format!("Version {major}.{minor} was requested but the requested API version is not supported.")
        }
    };
    Failure::NotAcceptable(format!("{why} The supported version range is: [{min}, {max}]."))
}

/// Errors are JSON within JSON: clients read them twice.
fn error(failure: &Failure) -> Value {
    if matches!(failure, Failure::Unauthorized(_)) {
        return json!({"error": {"code": 401, "title": "Unauthorized", "message": failure.message()}});
    }
    let who = if failure.status().is_server_error() { "Server" } else { "Client" };
    let inner = json!({"faultcode": who, "faultstring": failure.message(), "debuginfo": null});
    json!({ "error_message": inner.to_string() })
}
