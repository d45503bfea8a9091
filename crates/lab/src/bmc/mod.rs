//! The management controller of a machine: a Redfish service over HTTP with basic authentication, one per machine, on the loopback
//! address. It lives as long as the rack's daemon, forgets everything with it, and says of the machine only what is true.

mod error;
mod resources;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use base64::Engine as _;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::machine::Circuit;
use crate::rack;
use crate::stop::stopped;
use error::RedfishError;
use resources::Facts;

/// Largest request body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// A management controller and the power circuit it holds.
pub(crate) struct Controller {
    pub(crate) machine: rack::Machine,
    pub(crate) uuid: String,
    pub(crate) circuit: Circuit,
}

impl Controller {
    fn facts(&self) -> Facts<'_> {
        Facts { machine: &self.machine, uuid: &self.uuid, power: self.circuit.power(), boot: self.circuit.boot() }
    }

    /// Whether a header carries the right user name and password. Digests are compared, so that the time taken says nothing.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok()) else { return false };
        let Some((scheme, token)) = given.split_once(' ') else { return false };
        let Ok(given) = base64::engine::general_purpose::STANDARD.decode(token.trim()) else { return false };
        let wanted = format!("{}:{}", self.machine.bmc.username, self.machine.bmc.password);
        scheme.eq_ignore_ascii_case("basic") && Sha256::digest(&given) == Sha256::digest(wanted.as_bytes())
    }
}

type Shared = State<Arc<Controller>>;

/// Serves until `stop` becomes true.
pub(crate) async fn serve(listener: TcpListener, controller: Arc<Controller>, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let until = async move {
        stopped(&mut stop).await;
    };
    axum::serve(listener, router(controller)).with_graceful_shutdown(until).await
}

fn router(controller: Arc<Controller>) -> Router {
    let name = "{name}";
    let system = format!("/redfish/v1/Systems/{name}");
    let mut router = Router::new()
        .route("/redfish", readable(get(async || Json(resources::versions()))))
        .route("/redfish/", readable(get(async || Json(resources::versions()))))
        .route(&system, get(read_system).patch(patch_system).fallback(async || RedfishError::method_not_allowed("GET, HEAD, PATCH")))
        .route(
            &format!("{system}/Actions/ComputerSystem.Reset"),
            axum::routing::post(reset).fallback(async || RedfishError::method_not_allowed("POST")),
        );
    for path in ["/redfish/v1", "/redfish/v1/"] {
        router = router.route(path, readable(get(async |State(it): Shared| Json(resources::service_root(&it.uuid)))));
    }
    router = router.route("/redfish/v1/odata", readable(get(async || Json(resources::odata()))));
    for (path, kind) in [
        ("/redfish/v1/Systems", "ComputerSystemCollection"),
        ("/redfish/v1/Chassis", "ChassisCollection"),
        ("/redfish/v1/Managers", "ManagerCollection"),
    ] {
        let list = async move |State(it): Shared| Json(resources::collection(path, kind, &[&it.machine.name]));
        router = router.route(path, readable(get(list))).route(&format!("{path}/"), readable(get(list)));
    }
    for (path, kind, member) in
        [("EthernetInterfaces", "EthernetInterfaceCollection", "eth0"), ("SimpleStorage", "SimpleStorageCollection", "disk")]
    {
        let list = async move |State(it): Shared, Path(name): Path<String>| {
            it.check(&name).map(|()| Json(resources::collection(&format!("{}/{path}", it.machine.bmc.system), kind, &[member])))
        };
        router = router.route(&format!("{system}/{path}"), readable(get(list)));
    }
    router
        .route(&format!("{system}/EthernetInterfaces/eth0"), document(|it| resources::nic(&it.facts())))
        .route(&format!("{system}/SimpleStorage/disk"), document(|it| resources::storage(&it.machine)))
        .route(&format!("/redfish/v1/Managers/{name}"), document(|it| resources::manager(&it.facts())))
        .route(&format!("/redfish/v1/Chassis/{name}"), document(|it| resources::chassis(&it.facts())))
        .fallback(async |request: Request| RedfishError::not_found(request.uri().path()))
        .layer(middleware::from_fn_with_state(Arc::clone(&controller), guard))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(controller)
}

fn readable(route: MethodRouter<Arc<Controller>>) -> MethodRouter<Arc<Controller>> {
    route.fallback(async || RedfishError::method_not_allowed("GET, HEAD"))
}

fn document(make: fn(&Controller) -> Value) -> MethodRouter<Arc<Controller>> {
    readable(get(async move |State(it): Shared, Path(name): Path<String>| it.check(&name).map(|()| Json(make(&it)))))
}

impl Controller {
    fn check(&self, name: &str) -> Result<(), RedfishError> {
        if name == self.machine.name { Ok(()) } else { Err(RedfishError::not_found(name)) }
    }
}

/// Lets nobody in without credentials, except to the root of the service (DSP0266, "Authentication requirements"), and gives every
/// answer the headers it must have.
async fn guard(State(controller): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    let public = matches!(path, "/redfish" | "/redfish/v1" | "/redfish/v1/odata");
    let mut response =
        if public || controller.admits(request.headers()) { next.run(request).await } else { RedfishError::unauthorized().into_response() };
    let headers = response.headers_mut();
    headers.insert("odata-version", HeaderValue::from_static("4.0"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn object(body: &Bytes) -> Result<Map<String, Value>, RedfishError> {
    serde_json::from_slice(body).map_err(|_| RedfishError::malformed())
}

async fn read_system(State(it): Shared, Path(name): Path<String>) -> Result<Json<Value>, RedfishError> {
    it.check(&name)?;
    Ok(Json(resources::system(&it.facts())))
}

async fn patch_system(State(it): Shared, Path(name): Path<String>, body: Bytes) -> Result<StatusCode, RedfishError> {
    it.check(&name)?;
    let facts = it.facts();
    let wanted = resources::patched(&object(&body)?, &resources::system(&facts), facts.boot)?;
    it.circuit.set_boot(wanted);
    tracing::info!(machine = name, boot = ?wanted, "boot override");
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(State(it): Shared, Path(name): Path<String>, body: Bytes) -> Result<StatusCode, RedfishError> {
    it.check(&name)?;
    let order = resources::reset(&object(&body)?, it.circuit.power())?;
    it.circuit.order(order).map_err(|_| RedfishError::busy())?;
    tracing::info!(machine = name, ?order, "power order");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
