//! `/v2/images/{image}/file`: the data.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::image_compute::{Image, ImageStatus};
use model::{Id, Object};
use store::{Batch, Query, StoreError};

use super::data::{self, Inbox, ReceiveError, Received};
use super::permitted;
use crate::App;
use crate::caller::Caller;
use crate::failure::Failure;

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Busy => Self::Conflict(error.to_string()),
            ReceiveError::Interrupted(_) => Self::BadRequest(error.to_string()),
            ReceiveError::Full => Self::TooLarge(error.to_string()),
            ReceiveError::Disk(_) => Self::Internal(error.to_string()),
        }
    }
}

pub(super) async fn upload(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    if text("content-type").and_then(|it| it.split(';').next()).map(str::trim) != Some("application/octet-stream") {
        return Err(Failure::UnsupportedMediaType("data of images is application/octet-stream".into()));
    }
    let announced = text("x-openstack-image-size").and_then(|it| it.parse::<u64>().ok());
    let image = permitted(&app, &caller, &id, "upload_image").await?;
    if image.desired.disk_format.is_none() || image.desired.container_format.is_none() {
        return Err(Failure::BadRequest("Properties disk_format, container_format must be set prior to saving data.".into()));
    }
    // On a task of its own: a client that goes away must not stop us half-way between file and store.
    let work = tokio::spawn(take_in(app, image, body, announced));
    match work.await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Err(failure)) => Err(failure),
        Err(error) => Err(Failure::Internal(error.to_string())),
    }
}

async fn take_in(app: Arc<App>, image: Object<Image>, body: Body, announced: Option<u64>) -> Result<(), Failure> {
    let mut inbox = Inbox::open(&app.settings.image_dir, &image.id).await?;
    turn(&app, &image.id, ImageStatus::Queued, |image| image.desired.status = ImageStatus::Saving).await?;
    let received = match inbox.receive(body.into_data_stream(), announced).await {
        Ok(received) => received,
        Err(error) => {
            drop(inbox);
            turn(&app, &image.id, ImageStatus::Saving, |image| image.desired.status = ImageStatus::Queued).await?;
            return Err(error.into());
        }
    };
    let Received { size_bytes, md5, sha512 } = received;
    let done = turn(&app, &image.id, ImageStatus::Saving, |image| {
        let desired = &mut image.desired;
        desired.status = ImageStatus::Active;
        desired.size_bytes = Some(size_bytes);
        desired.checksum = Some(md5.clone());
        desired.sha512 = Some(sha512.clone());
    })
    .await;
    if done.is_ok() {
        inbox.keep();
    }
    done
}

/// Changes an image that is in the status `from`.
async fn turn(app: &Arc<App>, id: &Id<Image>, from: ImageStatus, change: impl Fn(&mut Object<Image>)) -> Result<(), Failure> {
    for _ in 0..crate::race::RACES {
        let mut image = app.store.get(id).await?.ok_or_else(|| Failure::not_found("Image", id.as_str()))?;
        if image.desired.status != from {
            return Err(Failure::Conflict(format!("Image status transition from {} is not allowed", image.desired.status.as_str())));
        }
        change(&mut image);
        match app.store.apply(Batch::wishes().want(&image)).await {
            Err(StoreError::Stale { .. }) => {}
            other => return Ok(other?),
        }
    }
    Err(Failure::Conflict(format!("image {id} is being changed by others; try again")))
}

pub(super) async fn download(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Failure> {
    let image = permitted(&app, &caller, &id, "download_image").await?;
    if image.desired.status != ImageStatus::Active {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = data::send(&app.settings.image_dir, &image.id).await;
    let stream = stream.map_err(|error| {
        tracing::error!(image.id = %image.id, %error, "the data of an image cannot be read");
        match error.kind() {
            // Replicas on several hosts share the image folder; here it may not be mounted, or not yet hold what another took in.
            std::io::ErrorKind::NotFound => Failure::Unavailable(format!("The data of image {} is not here now.", image.id)),
            _ => Failure::Internal(format!("the data of image {} cannot be read: {error}", image.id)),
        }
    })?;
    let mut response = Response::new(Body::from_stream(stream.boxed()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(size) = image.desired.size_bytes {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    if let Some(md5) = image.desired.checksum.as_deref().and_then(|it| HeaderValue::from_str(it).ok()) {
        headers.insert("content-md5", md5);
    }
    Ok(response)
}

/// Ends uploads that a crash cut off: their images wait for data again. To be called once before requests are served.
///
/// # Errors
/// The store or the disk failed.
pub async fn recover(app: &Arc<App>) -> Result<(), Failure> {
    let dir = &app.settings.image_dir;
    let broken = |error: std::io::Error| Failure::Internal(format!("the data of images cannot be put in order: {error}"));
    for image in app.store.list(&Query::<Image>::new()).await? {
        // Replicas share the folder: an upload that another takes in goes on.
        if image.desired.status != ImageStatus::Active && data::is_coming_in(dir, &image.id).await.map_err(broken)? {
            continue;
        }
        let is_here = data::part(dir, &image.id).exists() || data::path(dir, &image.id).exists();
        match image.desired.status {
            // Another replica may be at it that has a folder of its own, although it should not.
            ImageStatus::Saving if is_here || app.store.is_embedded() => {
                data::remove(dir, &image.id).await.map_err(broken)?;
                turn(app, &image.id, ImageStatus::Saving, |image| image.desired.status = ImageStatus::Queued).await?;
            }
            ImageStatus::Queued => data::remove(dir, &image.id).await.map_err(broken)?,
            _ => {}
        }
    }
    Ok(())
}
