//! Ramdisks as virtual media: each machine's own image, fetched by its BMC from the main listener under an address made from the
//! token that is inside. Only a machine that is being booted from one has such an address, and until its agent has called in.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use drivers::boot::iso::{Loaders, Medium, medium};
use model::baremetal::{AgentSession, Interface, Node, Phase};
use model::image_compute::{Image, ImageStatus};
use model::{Id, Object};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use store::StoreError;
use subtle::ConstantTimeEq as _;
use tokio::sync::OnceCell;

use super::files;
use crate::image_cache::Progress;
use crate::runtime::Shared;

/// The path below which media are.
pub(crate) const PATH: &str = "/boot-media";

/// What no one guesses who does not know the token.
fn secret(session: &Object<AgentSession>) -> String {
    let sum = Sha256::digest(format!("medium/{}/{}", session.id, session.desired.token.reveal()));
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a BMC finds the medium of a machine. `base`: the main listener as BMCs reach it.
pub(crate) fn url(base: &str, node: &Id<Node>, session: &Object<AgentSession>) -> String {
    format!("{}{PATH}/{node}/{}.iso", base.trim_end_matches('/'), secret(session))
}

/// Where the agent of a machine whose network nobody manages finds the image to write.
pub(crate) fn image_url(base: &str, node: &Id<Node>, session: &Object<AgentSession>, image: &Id<Image>) -> String {
    format!("{}{PATH}/{node}/{}/{image}", base.trim_end_matches('/'), secret(session))
}

struct Site {
    shared: Arc<Shared>,
    loaders: OnceCell<Loaders>,
}

/// What is served with the main API.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let site = Arc::new(Site { shared, loaders: OnceCell::new() });
    Router::new()
        .route(&format!("{PATH}/{{node}}/{{file}}"), get(medium_of))
        .route(&format!("{PATH}/{{node}}/{{file}}/{{image}}"), get(image))
        .with_state(site)
}

/// The image to write, to the agent that was told of it.
async fn image(State(site): State<Arc<Site>>, Path((node, given, image)): Path<(String, String, String)>, headers: HeaderMap) -> Response {
    let store = &site.shared.store;
    let found = async {
        let (Some(node), Some(session), Some(image)) =
            (Id::<Node>::parse(&node), Id::<AgentSession>::parse(&node), Id::<Image>::parse(&image))
        else {
            return Ok(None);
        };
        let (Some(node), Some(session)) = (store.get(&node).await?, store.get(&session).await?) else { return Ok(None) };
        let is_right: bool = given.as_bytes().ct_eq(secret(&session).as_bytes()).into();
        let is_its_own = node.desired.instance_info.text("image_source") == Some(image.as_str());
        if !is_right || !is_its_own || node.observed.phase != Phase::Work {
            return Ok(None);
        }
        Ok(store.get(&image).await?.map(|image| (node.id, image)))
    };
    let (node, image) = match found.await {
        Ok(Some((node, image))) if image.desired.status == ImageStatus::Active => (node, image),
        Ok(_) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            let error: StoreError = error;
            tracing::warn!(%error, "an agent could not be sent its image");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    match site.shared.images.raw(&image).await {
        Progress::Ready(raw) => files::send(&raw.path, &headers).await,
        Progress::Converting => files::later(),
        Progress::Missing(why) => {
            site.shared.images.not_sent(store, &node, &image.id, &why).await;
            files::later()
        }
        Progress::Failed(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn medium_of(State(site): State<Arc<Site>>, Path((node, file)): Path<(String, String)>, headers: HeaderMap) -> Response {
    match lay(&site, &node, &file).await {
        Ok(Some(image)) => files::send_image(image, &headers, "application/vnd.efi.iso"),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(why) => {
            tracing::warn!(node.id = node, why, "a virtual medium could not be served");
            files::later()
        }
    }
}

async fn lay(site: &Site, node: &str, file: &str) -> Result<Option<media::iso9660::Image>, String> {
    let words = |error: StoreError| error.to_string();
    let (Some(id), Some(session)) = (Id::<Node>::parse(node), Id::<AgentSession>::parse(node)) else { return Ok(None) };
    let store = &site.shared.store;
    let (Some(node), Some(session)) = (store.get(&id).await.map_err(words)?, store.get(&session).await.map_err(words)?) else {
        return Ok(None);
    };
    let is_right: bool = file.as_bytes().ct_eq(format!("{}.iso", secret(&session)).as_bytes()).into();
    if !is_right || !session.desired.pregenerated || !matches!(node.observed.phase, Phase::Boot | Phase::Agent | Phase::Work) {
        return Ok(None);
    }
    let info = &node.desired.driver_info;
    let (Some(kernel), Some(ramdisk)) = (info.text("deploy_kernel"), info.text("deploy_ramdisk")) else {
        return Err("driver_info names no deploy_kernel and deploy_ramdisk".into());
    };
    let loaders = site.loaders.get_or_try_init(|| async {
        tokio::task::spawn_blocking(Loaders::installed).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    });
    let loaders = loaders.await?;
    let file = async |image: &str| {
        // Ids only: no path leads out of the folder.
        let id = Id::<Image>::parse(image).ok_or("an image's id is no id")?;
        let path = site.shared.config.image_dir.join(id.as_str());
        match tokio::fs::metadata(&path).await {
            Ok(it) => Ok::<_, String>((path, it.len())),
            Err(error) => {
                let why = match store.get(&id).await.map_err(words)? {
                    Some(image) => site.shared.images.check(&image).await.err(),
                    None => None,
                };
                let why = why.unwrap_or_else(|| format!("image {id}: {error}"));
                site.shared.images.not_sent(store, &node.id, &id, &why).await;
                Err(why)
            }
        }
    };
    let config = &site.shared.config;
    // The BMC fetches the medium by the main listener; the agent on it speaks on the network that its machine is on.
    let base = match (node.desired.interface(Interface::Network), &config.provisioning) {
        ("noop", _) => config.baremetal.api_url.clone().ok_or("[baremetal] api_url is not set")?,
        (_, Some(it)) => format!("http://{}:{}", it.address, it.http_port),
        (_, None) => return Err("no provisioning network is configured".into()),
    };
    let api = format!("{}/baremetal", base.trim_end_matches('/'));
    let mut args = vec![
        format!("ipa-api-url={api}"),
        format!("ipa-agent-token={}", session.desired.token.reveal()),
        "boot_method=vmedia".to_owned(),
        "nofb".to_owned(),
    ];
    args.extend(super::further_args(&node, &api));
    let network_data = match node.desired.network_data.is_empty() {
        true => Value::Null,
        false => Value::Object(node.desired.network_data.clone()),
    };
    let it = Medium { kernel: file(kernel).await?, ramdisk: file(ramdisk).await?, args: &args, network_data: &network_data };
    medium(loaders, &it).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use model::baremetal::{AgentSessionDesired, NodeDesired};
    use model::{Kind as _, Secret};
    use serde_json::json;
    use store::Batch;

    use super::*;

    fn session(id: Id<AgentSession>, token: &str) -> Object<AgentSession> {
        let desired = AgentSessionDesired {
            token: Secret::new(token),
            callback_url: None,
            verify_ca: None,
            heartbeat_at: None,
            agent_version: None,
            status: None,
            status_message: None,
            pregenerated: true,
        };
        Object::new(id, None, "", desired)
    }

    #[test]
    fn an_address_is_of_one_token_and_does_not_show_it() {
        let session = |token: &str| session(Id::derived("x"), token);
        let node = Id::derived("x");
        let one = url("http://a:1/", &node, &session("hunter2"));
        assert!(one.starts_with(&format!("http://a:1/boot-media/{node}/")));
        assert!(!one.contains("hunter2"));
        assert_ne!(one, url("http://a:1/", &node, &session("hunter3")));
    }

    #[tokio::test]
    async fn an_agent_is_told_to_ask_again_for_an_image_that_is_not_here() {
        let dir = tempfile::tempdir().unwrap();
        let shared = crate::testing::shared_with(dir.path(), Box::new(crate::outside::World), |_| {}).await;
        let desired = serde_json::from_value(json!({
            "status": "active", "visibility": "private", "disk_format": "raw", "container_format": "bare", "size_bytes": 1,
        }));
        let given = Object::<Image>::new(Id::random(), None, "x", desired.unwrap());
        let mut node = Object::<Node>::new(Id::random(), None, "box", NodeDesired::default());
        let info = json!({"image_source": given.id}).as_object().cloned().unwrap();
        node.desired.instance_info = model::secret::Settings(info);
        let session = session(Id::parse(node.id.as_str()).unwrap(), "hunter2");
        let batch = Batch::wishes().create(&given).create(&node).create(&session).wake(&node.id);
        shared.store.apply(batch).await.unwrap();
        let claim = shared.store.claim("here", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
        node.observed.phase = Phase::Work;
        shared.store.apply(Batch::facts(&claim).observe(&node)).await.unwrap();
        let site = Arc::new(Site { shared: Arc::clone(&shared), loaders: OnceCell::new() });
        let path = || Path((node.id.to_string(), secret(&session), given.id.to_string()));
        for _ in 0..3 {
            let answer = image(State(Arc::clone(&site)), path(), HeaderMap::new()).await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers().contains_key(http::header::RETRY_AFTER));
        }
        let lines = shared.store.history(Node::NAME, node.id.as_str(), 10).await.unwrap();
        assert_eq!(lines.len(), 1, "said once: {lines:?}");
        assert!(lines[0].detail["reason"].as_str().unwrap().contains("image folder"), "{lines:?}");
        std::fs::write(dir.path().join(given.id.as_str()), b"x").unwrap();
        assert_eq!(image(State(site), path(), HeaderMap::new()).await.status(), StatusCode::OK);
    }
}
