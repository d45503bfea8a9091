//! Compute (Nova 2.1): flavors and key pairs; machines themselves come from the bare-metal service.

mod flavor;
mod keypair;
pub(crate) mod policies;
mod ssh_key;
mod versions;
mod wire;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::App;
use crate::caller::Caller;
use crate::failure::{self, Failure};
use crate::microversion::{Range, Refused, Version};
use versions::RANGE;

pub(crate) use flavor::find as find_flavor;
pub(crate) use keypair::id_of as keypair_id;

/// A request: who asks what of whom, in which version.
pub(crate) struct Ask {
    app: Arc<App>,
    caller: Caller,
    version: Version,
    /// The service's own address, for links.
    base: String,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let version = parts.extensions.get::<Version>().copied().unwrap_or(RANGE.min);
        Ok(Self { app: Arc::clone(app), caller, version, base: base(app, &parts.headers) })
    }
}

fn base(app: &App, headers: &HeaderMap) -> String {
    format!("{}/compute", crate::links::origin(app, headers))
}

/// All of `/compute`.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/v2.1", get(document))
        .route("/v2.1/flavors", get(flavor::list).post(flavor::create))
        .route("/v2.1/flavors/detail", get(flavor::list_detail))
        .route("/v2.1/flavors/{id}", get(flavor::show).put(flavor::describe).delete(flavor::delete))
        .route("/v2.1/flavors/{id}/os-extra_specs", get(flavor::specs).post(flavor::add_specs))
        .route("/v2.1/flavors/{id}/os-extra_specs/{key}", get(flavor::spec).put(flavor::put_spec).delete(flavor::delete_spec))
        .route("/v2.1/os-keypairs", get(keypair::list).post(keypair::create))
        .route("/v2.1/os-keypairs/{name}", get(keypair::show).delete(keypair::delete))
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

/// The version a request asks for.
fn asked(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    text(versions::HEADER).and_then(|it| Range::asked_of(it, versions::NAMES)).or_else(|| text(versions::OLD_HEADER))
}

async fn negotiate(mut request: Request, next: Next) -> Response {
    let (response, used) = match RANGE.choose(asked(request.headers())) {
        Ok(version) => {
            request.extensions_mut().insert(version);
            (next.run(request).await, Some(version))
        }
        Err(Refused::Malformed(text)) => {
            let why = format!("API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.");
            (Failure::BadRequest(why).into_response(), None)
        }
        Err(Refused::Outside(version)) => {
            let Range { min, max } = RANGE;
            let why = format!("Version {version} is not supported by the API. Minimum is {min} and maximum is {max}.");
            (Failure::NotAcceptable(why).into_response(), None)
        }
    };
    let mut response = failure::envelope(response, error);
    let headers = response.headers_mut();
    if let Some(version) = used {
        for (name, value) in [(versions::HEADER, format!("compute {version}")), (versions::OLD_HEADER, version.to_string())] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
    headers.insert(http::header::VARY, HeaderValue::from_static("OpenStack-API-Version, X-OpenStack-Nova-API-Version"));
    response
}

/// Nova names the kind of failure by the member that holds it.
fn error(failure: &Failure) -> Value {
    let status = failure.status().as_u16();
    let kind = match failure {
        Failure::BadRequest(_) => "badRequest",
        Failure::Unauthorized(_) => {
            return json!({"error": {"code": 401, "title": "Unauthorized", "message": failure.message()}});
        }
        Failure::Forbidden(_) => "forbidden",
        Failure::NotFound { .. } | Failure::NoRoute => "itemNotFound",
        Failure::MethodNotAllowed => "badMethod",
        Failure::Conflict(_) => "conflictingRequest",
        Failure::TooLarge(_) => "overLimit",
        Failure::UnsupportedMediaType(_) => "badMediaType",
        Failure::Unavailable(_) => "serviceUnavailable",
        Failure::Internal(_) | Failure::Named { .. } | Failure::NotAcceptable(_) => "computeFault",
    };
    json!({ kind: {"code": status, "message": failure.message()} })
}
