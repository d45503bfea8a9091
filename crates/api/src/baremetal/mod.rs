//! Bare metal (Ironic v1).

mod access;
mod action;
mod allocation;
mod chassis;
mod children;
mod conductor;
mod configdrive;
mod deploy_template;
mod driver;
mod events;
mod facts;
mod history;
mod inspection;
mod inspection_rule;
mod management;
mod node;
mod node_fields;
mod node_list;
mod node_write;
pub(crate) mod policies;
mod port;
mod portgroup;
mod provision;
mod ramdisk;
mod resource;
mod runbook;
mod shard;
mod states;
mod traits;
mod validate;
mod vendor;
mod verb_steps;
mod versions;
mod vif;
mod vmedia;
mod volume;
mod words;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, delete, get, post, put};
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) use conductor::Cache as Conductors;

use crate::App;
use crate::caller::Caller;
use crate::failure::{self, Failure};
use crate::identity::basic;
use crate::microversion::{Range, Refused, Version};
use versions::{Minor, RANGE};

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// A request: who asks what of whom, in which version.
pub(crate) struct Ask {
    app: Arc<App>,
    caller: Caller,
    minor: Minor,
    /// The service's own address, for links.
    base: String,
    /// Who works on nodes.
    conductors: Arc<conductor::Alive>,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        if !parts.headers.contains_key(TOKEN)
            && let Some(token) = basic::token_of(app, &parts.headers).await?
        {
            let value = HeaderValue::from_str(token.reveal()).map_err(|error| Failure::Internal(error.to_string()))?;
            parts.headers.insert(TOKEN, value);
        }
        let caller = Caller::from_request_parts(parts, app).await?;
        let minor = parts.extensions.get::<Minor>().copied().unwrap_or(Minor(RANGE.min.1));
        let conductors = app.conductors.alive(&app.store).await?;
        Ok(Self { app: Arc::clone(app), caller, minor, base: base(app, &parts.headers), conductors })
    }
}

fn base(app: &App, headers: &HeaderMap) -> String {
    format!("{}/baremetal", crate::links::origin(app, headers))
}

/// All of `/baremetal`.
pub fn router(app: Arc<App>) -> Router {
    finished(node_routes().merge(resource::routes()).merge(agent_routes()), app)
}

/// Nodes and what is done to them.
fn node_routes() -> Router<Arc<App>> {
    let one = Router::new()
        .route("/", get(node::show).patch(node::update).delete(node::delete))
        .route("/states", get(states::show))
        .route("/states/power", put(states::power))
        .route("/states/provision", put(provision::provision).layer(DefaultBodyLimit::max(provision::MAX_BODY)))
        .route("/states/raid", put(states::raid))
        .route("/states/boot_mode", put(states::boot_mode))
        .route("/states/secure_boot", put(states::secure_boot))
        .route("/states/console", get(states::console).put(states::set_console))
        .route("/states/{other}", any(|| async { Failure::MethodNotAllowed }))
        .route("/maintenance", put(states::set_maintenance).delete(states::unset_maintenance))
        .route("/validate", get(validate::show))
        .route("/history", get(history::list))
        .route("/history/{event}", get(history::show))
        .route("/vifs", get(vif::list).post(vif::attach).delete(vif::detach_none))
        .route("/vifs/{vif}", delete(vif::detach))
        .route("/traits", get(traits::list).put(traits::replace).delete(traits::clear))
        .route("/traits/{trait}", put(traits::add).delete(traits::remove))
        .route("/bios", get(facts::bios))
        .route("/bios/{setting}", get(facts::bios_setting))
        .route("/firmware", get(facts::firmware))
        .route("/inventory", get(facts::inventory))
        .route("/children", get(children::list));
    Router::new()
        .route("/v1/nodes", get(node_list::list).post(node::create))
        .route("/v1/nodes/detail", get(node_list::list_detail))
        .route("/v1/nodes/validate", get(validate::by_query))
        // Where Tempest looks for it.
        .route("/v1/nodes/states/console/{node}", get(states::console))
        .nest("/v1/nodes/{node}", one.merge(management::routes()).merge(vmedia::routes()).merge(vendor::routes()))
        .route("/v1/events", post(events::post))
}

/// What a ramdisk may call.
pub fn agent_router(app: Arc<App>) -> Router {
    finished(agent_routes(), app).layer(axum::Extension(ramdisk::Provisioning))
}

fn agent_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(root))
        .route("/v1", get(document))
        .route("/v1/lookup", get(ramdisk::lookup))
        .route("/v1/heartbeat", post(ramdisk::heartbeat_of_none))
        .route("/v1/heartbeat/{node}", post(ramdisk::heartbeat))
        .route("/v1/continue_inspection", post(inspection::proceed).layer(DefaultBodyLimit::max(inspection::MAX_BODY)))
}

fn finished(routes: Router<Arc<App>>, app: Arc<App>) -> Router {
    let routes = routes.method_not_allowed_fallback(|| async { Failure::MethodNotAllowed });
    let known = routes.clone().fallback(nothing_here).with_state(Arc::clone(&app));
    routes.fallback(move |request: Request| unversioned(known.clone(), request)).layer(from_fn(negotiate)).with_state(app)
}

async fn nothing_here() -> Failure {
    Failure::NoRoute
}

/// Paths without `/v1` mean the same as with it.
async fn unversioned(known: Router, mut request: Request) -> Response {
    let path = request.uri().path();
    if path == "/v1" || path.starts_with("/v1/") || path.starts_with("/v2") {
        return nothing_here().await.into_response();
    }
    let text = request.uri().query().map_or_else(|| format!("/v1{path}"), |query| format!("/v1{path}?{query}"));
    match text.parse::<http::Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return nothing_here().await.into_response(),
    }
    match known.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn root(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    Json(versions::root(&base(&app, &headers))).into_response()
}

async fn document(State(app): State<Arc<App>>, headers: HeaderMap, minor: Option<axum::Extension<Minor>>) -> Response {
    let minor = minor.map_or(Minor(RANGE.min.1), |it| it.0);
    Json(versions::document(&base(&app, &headers), minor)).into_response()
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
        Refused::Malformed(_) => {
            let text = "Invalid value for X-OpenStack-Ironic-API-Version header";
            return Failure::named(StatusCode::NOT_ACCEPTABLE, BY_ROUTER, text);
        }
        Refused::Outside(Version(major, minor)) => match *major == min.0 {
            true => {
                format!("Version {major}.{minor} was requested but the minor version is not supported by this service.")
            }
            false => format!("Mutually exclusive versions requested. Version {major}.{minor} requested but not supported by this service."),
        },
    };
    let text = format!("{why} The supported version range is: [{min}, {max}].");
    Failure::named(StatusCode::NOT_ACCEPTABLE, BY_ROUTER, text)
}

/// The name of failures that have the form of Ironic's router.
const BY_ROUTER: &str = "Router";

/// Errors are JSON within JSON: clients read them twice.
fn error(failure: &Failure) -> Value {
    if matches!(failure, Failure::Unauthorized(_)) {
        return json!({"error": {"code": 401, "title": "Unauthorized", "message": failure.message()}});
    }
    let by_router = match failure {
        Failure::NoRoute | Failure::MethodNotAllowed => Some(String::new()),
        Failure::Named { kind: BY_ROUTER, message, .. } => Some(message.clone()),
        _ => None,
    };
    if let Some(description) = by_router {
        let status = failure.status();
        // As Ironic's router says it, with the words that clients look for in all others.
        let inner = json!({
            "code": status.as_u16(), "title": status.canonical_reason(), "description": description,
            "faultcode": "Client", "faultstring": failure.message(), "debuginfo": null,
        });
        return json!({ "error_message": inner.to_string() });
    }
    let who = if failure.status().is_server_error() { "Server" } else { "Client" };
    let inner = json!({"faultcode": who, "faultstring": failure.message(), "debuginfo": null});
    json!({ "error_message": inner.to_string() })
}
