//! Images (Glance v2).

mod data;
mod file;
pub(crate) mod policies;
mod record;
mod wire;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use model::image_compute::Image;
use model::{Id, Object};
use serde_json::{Value, json};

pub use file::recover;

use policies::of_image;

use crate::App;
use crate::caller::Caller;
use crate::enforce::{allows, enforce};
use crate::failure::{self, Failure};

/// Whether the caller sees the image.
pub(crate) fn sees(app: &App, caller: &Caller, image: &Object<Image>) -> bool {
    allows(app, caller, "get_image", &of_image(image))
}

/// The image of that id, if the caller sees it.
pub(crate) async fn find(app: &Arc<App>, caller: &Caller, id: &str) -> Result<Object<Image>, Failure> {
    let found = match Id::parse(id) {
        Some(id) => app.store.get::<Image>(&id).await?,
        None => None,
    };
    found.filter(|image| sees(app, caller, image)).ok_or_else(|| Failure::not_found("Image", id))
}

/// The image of that id, for what the rule guards.
async fn permitted(app: &Arc<App>, caller: &Caller, id: &str, rule: &str) -> Result<Object<Image>, Failure> {
    let image = find(app, caller, id).await?;
    enforce(app, caller, rule, &of_image(&image))?;
    Ok(image)
}

/// Longest body but image data, in bytes.
const MAX_BODY: usize = 1 << 20;

/// All of `/image`.
pub fn router(app: Arc<App>) -> Router {
    let data = Router::new().route("/v2/images/{id}/file", get(file::download).put(file::upload)).layer(DefaultBodyLimit::disable());
    let records = Router::new()
        .route("/", get(versions))
        .route("/versions", get(versions))
        .route("/v2", get(versions))
        .route("/v2/images", get(record::list).post(record::create))
        .route("/v2/images/{id}", get(record::show).patch(record::update).delete(record::delete))
        .route("/v2/images/{id}/tags/{tag}", axum::routing::put(record::tag).delete(record::tag))
        .route("/v2/schemas/{name}", get(record::schema))
        .fallback(|| async { Failure::NoRoute })
        .method_not_allowed_fallback(|| async { Failure::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY));
    records.merge(data).layer(axum::middleware::map_response(enveloped)).with_state(app)
}

async fn enveloped(response: Response) -> Response {
    failure::envelope(response, |failure| {
        let status = failure.status();
        json!({"code": status.as_str(), "title": status.canonical_reason().unwrap_or_default(), "message": failure.message()})
    })
}

/// The versions: 2.5 is the newest of which this server has all that clients look for (2.6 brought imports).
async fn versions(State(app): State<Arc<App>>, headers: HeaderMap, uri: OriginalUri) -> Response {
    let href = format!("{}/image/v2/", crate::links::origin(&app, &headers));
    let version = |id: &str, status: &str| json!({"id": id, "status": status, "links": [{"rel": "self", "href": href}]});
    let older = ["v2.4", "v2.3", "v2.2", "v2.1", "v2.0"].iter().map(|id| version(id, "SUPPORTED"));
    let list: Vec<Value> = std::iter::once(version("v2.5", "CURRENT")).chain(older).collect();
    // Glance answers the root so; the answer is the same everywhere.
    let is_root = uri.path().trim_end_matches('/').ends_with("/image");
    let status = if is_root { StatusCode::MULTIPLE_CHOICES } else { StatusCode::OK };
    (status, Json(json!({ "versions": list }))).into_response()
}
