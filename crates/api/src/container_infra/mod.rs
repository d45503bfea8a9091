//! Container clusters (Magnum v1): Docker Swarm on bare metal.

mod certificate;
mod cluster;
mod labels;
pub(crate) mod policies;
mod request;
mod template;
mod versions;
mod wire;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::Id;
use policy::Target;
use serde_json::{Value, json};

use crate::App;
use crate::caller::Caller;
use crate::enforce::{allows, enforce};
use crate::failure::{self, Failure};
use crate::microversion::{Range, Refused, Version};
use versions::RANGE;

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

impl Ask {
    /// Whether the rule lets the caller, of this target.
    fn may(&self, rule: &str, target: &Target) -> bool {
        allows(&self.app, &self.caller, rule, target)
    }

    /// Refuses whom the rule does not let, of this target.
    fn require(&self, rule: &str, target: &Target) -> Result<(), Failure> {
        enforce(&self.app, &self.caller, rule, target)
    }

    /// What rules see of what belongs to the caller's own project.
    fn own(&self) -> Target {
        policies::of_project(self.caller.project_id.as_ref().map(Id::as_str))
    }
}

fn base(app: &App, headers: &HeaderMap) -> String {
    format!("{}/container-infra", crate::links::origin(app, headers))
}

/// All of `/container-infra`.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/v1", get(document))
        .route("/v1/clustertemplates", get(template::list).post(template::create))
        .route("/v1/clustertemplates/detail", get(template::list_detail))
        .route("/v1/clustertemplates/{id}", get(template::show).patch(template::update).delete(template::delete))
        .route("/v1/clusters", get(cluster::list).post(cluster::create))
        .route("/v1/clusters/detail", get(cluster::list_detail))
        .route("/v1/clusters/{id}", get(cluster::show).patch(cluster::update).delete(cluster::delete))
        .route("/v1/certificates", post(certificate::sign))
        .route("/v1/certificates/{cluster}", get(certificate::authority))
        .route("/v1/stats", get(cluster::stats))
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

/// The version a request asks for (Source: Magnum, `api/controllers/versions.py`: a header that names another service is an error).
fn asked(headers: &HeaderMap) -> Result<Option<&str>, String> {
    let Some(header) = headers.get(versions::HEADER) else { return Ok(None) };
    let text = header.to_str().map_err(|_| "the version header is not text".to_owned())?;
    Range::asked_of(text, versions::NAMES).map(Some).ok_or_else(|| format!("Invalid service type for {}: {text}", versions::HEADER))
}

async fn negotiate(mut request: Request, next: Next) -> Response {
    let Range { min, max } = RANGE;
    let chosen = asked(request.headers()).and_then(|asked| {
        RANGE.choose(asked).map_err(|refused| match refused {
            Refused::Malformed(text) => format!("Invalid version: '{text}'"),
            Refused::Outside(version) => format!("Version {version} was requested but the supported version range is: [{min}, {max}]."),
        })
    });
    let (response, used) = match chosen {
        Ok(version) => {
            request.extensions_mut().insert(version);
            (next.run(request).await, version)
        }
        Err(why) => (Failure::NotAcceptable(why).into_response(), min),
    };
    let mut response = failure::envelope(response, error);
    let headers = response.headers_mut();
    for (name, version) in [(versions::HEADER, used), (versions::MIN_HEADER, min), (versions::MAX_HEADER, max)] {
        if let Ok(value) = HeaderValue::from_str(&format!("{} {version}", versions::NAME)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.insert(http::header::VARY, HeaderValue::from_static("OpenStack-API-Version"));
    response
}

fn error(failure: &Failure) -> Value {
    let status = failure.status();
    let text = failure.message();
    if matches!(failure, Failure::Unauthorized(_)) {
        return json!({"error": {"code": 401, "title": "Unauthorized", "message": text}});
    }
    let who = if status.is_server_error() { "server" } else { "client" };
    // The title is the first sentence, as Magnum has it.
    let title = text.split_once(". ").map_or(text.as_str(), |(first, _)| first).trim_end_matches('.');
    let mut out = json!({"request_id": "", "code": who, "status": status.as_u16(), "title": title, "detail": text, "links": []});
    if let (Failure::NotAcceptable(_), Some(map)) = (failure, out.as_object_mut()) {
        map.insert("min_version".into(), json!(RANGE.min.to_string()));
        map.insert("max_version".into(), json!(RANGE.max.to_string()));
    }
    json!({ "errors": [out] })
}
