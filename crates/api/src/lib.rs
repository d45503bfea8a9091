//! What others see: OpenStack-compatible HTTP, one folder a service. Writes what is wanted into the store and reads what was seen;
//! knows no device and never waits for one.

pub mod baremetal;
pub mod caller;
pub mod compute;
pub mod container_infra;
mod enforce;
pub mod failure;
pub mod identity;
pub mod image;
mod json_patch;
pub mod links;
mod microversion;
pub mod network;
mod page;
mod race;
mod resource;
mod schema;
mod slash;

pub use identity::IdentitySettings;
pub use identity::import;
pub use network::{IdRange, NetworkSettings, PhysicalNetwork};

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode};
use model::{Id, Secret};
use serde_json::json;
use store::{Store, StoreError};
use tracing::Instrument as _;

/// Longest request body but image data, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How many longer bodies are read at once, where such are taken.
const LARGE_BODIES: usize = 1;

/// What the APIs need of the fabric: where segments of tenant networks come from.
#[derive(Clone, Debug)]
pub struct FabricSettings {
    /// Its name.
    pub physical_network: String,
    /// First and last VLAN of tenant networks.
    pub vlan_range: (u16, u16),
    /// The VLAN of ports that reach nobody.
    pub isolation_vlan: u16,
    /// The one name of a port that is spelled like this on switches of a driver (first the driver): ports are ours under that name.
    pub port_name: fn(&str, &str) -> String,
}

/// Settings of the APIs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the data of images lies.
    pub image_dir: PathBuf,
    /// The address of links to a client that does not say by which it came.
    pub public_fallback: String,
    /// The fabric.
    pub fabric: FabricSettings,
    /// Networks that are not the fabric's.
    pub network: NetworkSettings,
    /// Identity.
    pub identity: IdentitySettings,
}

/// What all handlers share.
pub struct App {
    /// The store.
    pub store: Store,
    /// Settings.
    pub settings: Settings,
    pub(crate) identity: identity::State,
    pub(crate) policy: policy::Live,
    pub(crate) network: network::State,
    pub(crate) conductors: baremetal::Conductors,
    /// Room for request bodies that are longer than [`MAX_BODY_BYTES`].
    pub(crate) large_bodies: tokio::sync::Semaphore,
}

impl App {
    /// Reads the keys all replicas share, making them at the first start.
    ///
    /// # Errors
    /// The store failed.
    pub async fn new(store: Store, settings: Settings) -> Result<Self, StoreError> {
        let identity = identity::State::open(&store, &settings.identity).await?;
        let wrong = |error: policy::PolicyError| StoreError::Open(format!("the policy: {error}"));
        // Upstream's engine counts a token without a scope among those of projects.
        let rules = policy::Engine::new(&enforce::tables()).map_err(wrong)?.with_unscoped(Some(policy::Scope::Project));
        let policy = policy::Live::new(rules, settings.identity.policy_file.clone()).map_err(wrong)?;
        let (network, conductors) = (network::State::default(), baremetal::Conductors::default());
        let large_bodies = tokio::sync::Semaphore::new(LARGE_BODIES);
        Ok(Self { store, settings, identity, policy, network, conductors, large_bodies })
    }
}

/// All declared default rules of access, of every service.
pub fn policy_rules() -> Vec<&'static [policy::Rule]> {
    enforce::tables()
}

/// The service that declares the rule, named as in the catalog; none if no service does.
pub fn policy_service(rule: &str) -> Option<&'static str> {
    let declares = |tables: &[&'static [policy::Rule]]| tables.iter().any(|table| table.iter().any(|it| it.name == rule));
    enforce::services().into_iter().find(|(_, tables)| declares(tables)).map(|(service, _)| service)
}

/// Makes what an empty store must have: the domain, the roles, project and user `admin`, the region and the catalog. What is there is left.
///
/// # Errors
/// The store failed, or hashing the password did.
pub async fn bootstrap(app: &App, admin_password: &Secret) -> Result<(), failure::Failure> {
    identity::bootstrap(app, admin_password).await
}

/// Makes the staged key of tokens the one that seals and stages a new one; what the oldest of more than `max_active_keys` keys sealed is
/// void. Running servers take the keys up at their next request. Returns the numbers of the keys, the primary last.
///
/// # Errors
/// The store failed, or somebody else rotated at the same time.
pub async fn rotate_token_keys(store: &Store, max_active_keys: u32) -> Result<Vec<u32>, StoreError> {
    identity::token::rotate(store, max_active_keys).await
}

/// The numbers of the keys of tokens, the primary last: 0 is the staged one.
///
/// # Errors
/// The store failed.
pub async fn token_keys(store: &Store) -> Result<Vec<u32>, StoreError> {
    identity::token::key_numbers(store).await
}

/// What opens the secrets that the APIs keep sealed in the store, such as switches' passwords: for the engine, which needs them.
///
/// # Errors
/// The store failed, or its keys cannot be read.
pub async fn sealer(store: &Store) -> Result<Arc<dyn model::Sealer>, failure::Failure> {
    Ok(Arc::new(identity::sealed::of_store(store).await?))
}

/// Every service under its prefix, and `/healthz`.
pub fn router(app: Arc<App>) -> Router {
    let services = Router::new()
        .nest("/identity", identity::router(Arc::clone(&app)))
        .nest("/network", network::router(Arc::clone(&app)))
        .nest("/baremetal", baremetal::router(Arc::clone(&app)))
        .nest("/compute", compute::router(Arc::clone(&app)))
        .nest("/container-infra", container_infra::router(Arc::clone(&app)))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        // Image data is streamed to disk and bounded there.
        .nest("/image", image::router(Arc::clone(&app)).layer(DefaultBodyLimit::disable()));
    let health = Router::new().route("/healthz", axum::routing::get(healthz)).with_state(app);
    slash::trimmed(services.merge(health).fallback(nothing_here).layer(from_fn(around)))
}

/// What a ramdisk may call, on the provisioning network.
pub fn provisioning_router(app: Arc<App>) -> Router {
    let agents = Router::new().nest("/baremetal", baremetal::agent_router(app)).layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    slash::trimmed(agents.layer(from_fn(around)))
}

async fn healthz(axum::extract::State(app): axum::extract::State<Arc<App>>) -> Response {
    match app.store.setting("identity/fernet").await {
        Ok(_) => (StatusCode::OK, "ready\n").into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready: the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

async fn nothing_here() -> Response {
    let services = ["/identity", "/network", "/baremetal", "/image", "/compute", "/container-infra"];
    (
        StatusCode::NOT_FOUND,
        Json(json!({"error": {"code": 404, "title": "Not Found", "message": "No service is here.", "services": services}})),
    )
        .into_response()
}

/// Around every request: its id, its span, a line in the log.
async fn around(request: Request, next: Next) -> Response {
    let id = format!("req-{}", Id::<()>::random());
    let began = std::time::Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // The pattern and not the path, which is never the same twice.
    let route = request.extensions().get::<MatchedPath>().map_or(path.as_str(), MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request.id = id, %method, route, user.id = tracing::field::Empty, project.id = tracing::field::Empty);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-openstack-request-id", value.clone());
        if path.starts_with("/compute") {
            response.headers_mut().insert("x-compute-request-id", value);
        }
    }
    let status = response.status().as_u16();
    let _entered = span.enter();
    tracing::debug!(path, status, took_us = began.elapsed().as_micros(), "answered");
    response
}
