//! The command server: HTTPS on the address that the machine was given.
//!
//! Source: ironic-python-agent, `api/app.py` (routes, error bodies, where the token is asked for). Unlike there, reading the
//! commands needs the token too, from the first request on.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::failure::Failure;
use super::steps::{Command, Machine};

/// Largest request: a config drive of 64 MiB that gzip could not shrink, in base64, with room for the rest.
const MAX_REQUEST: usize = 96 << 20;
/// Connections served at a time; the control plane needs one or two.
const MAX_CONNECTIONS: usize = 32;
/// Time for the TLS handshake and for a request's head.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for a command's end within a request.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Longest life of a connection.
const CONNECTION: Duration = Duration::from_secs(300);

/// What handlers share.
pub struct Server {
    /// What commands work on.
    pub machine: Arc<Machine>,
    /// Digest of the token: comparing digests tells an attacker nothing by its timing, and memory holds no second copy.
    token: [u8; 32],
    /// Start of the agent, in seconds since 1970.
    started_at: f64,
}

/// The first value of a query parameter.
fn asked(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn waits(uri: &Uri) -> bool {
    asked(uri, "wait").is_some_and(|wait| wait.eq_ignore_ascii_case("true"))
}

fn refuse(code: u16, text: &str) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fault = if status.is_server_error() { "Server" } else { "Client" };
    (status, axum::Json(json!({ "faultcode": fault, "faultstring": text }))).into_response()
}

fn refusal(failure: &Failure) -> Response {
    refuse(failure.code, &failure.to_string())
}

impl Server {
    /// Ready to serve commands to whoever has `token`.
    pub fn new(machine: Arc<Machine>, token: &str) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { machine, token: Sha256::digest(token).into(), started_at: since.as_secs_f64() }
    }

    fn admits(&self, token: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        given == self.token
    }

    fn router(self: Arc<Self>) -> Router {
        // The token is checked before a request's body is read.
        let commands = Router::new()
            .route("/commands", get(list).post(run))
            .route("/commands/", get(list).post(run))
            .route("/commands/{id}", get(one))
            .layer(middleware::from_fn_with_state(Arc::clone(&self), admit));
        let v1 = Router::new().merge(commands).route("/status", get(status));
        Router::new()
            .route("/", get(root))
            .route("/v1", get(version_one))
            .route("/v1/", get(version_one))
            .merge(v1.clone())
            .nest("/v1", v1)
            .fallback(|| async { refuse(404, "The requested URL was not found on the server.") })
            .method_not_allowed_fallback(|| async { refuse(405, "The method is not allowed for the requested URL.") })
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(self)
    }

    /// Serves for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
        let (router, tls) = (self.router(), TlsAcceptor::from(tls));
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, from)) => {
                    let (router, tls) = (router.clone(), tls.clone());
                    tokio::spawn(async move {
                        if tokio::time::timeout(CONNECTION, converse(stream, tls, router)).await.is_err() {
                            tracing::debug!(%from, "connection was open too long");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Such as too many open files: it passes.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, router: Router) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else {
        tracing::debug!("no TLS handshake");
        return;
    };
    let service = TowerToHyperService::new(router);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection ended early");
    }
}

async fn admit(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let token = asked(request.uri(), "agent_token");
    if token.is_some_and(|token| server.admits(&token)) { next.run(request).await } else { refuse(401, "Token invalid.") }
}

async fn list(State(server): State<Arc<Server>>) -> Response {
    axum::Json(json!({ "commands": server.machine.commands.list() })).into_response()
}

async fn one(State(server): State<Arc<Server>>, Path(id): Path<String>, uri: Uri) -> Response {
    let commands = &server.machine.commands;
    let found = if waits(&uri) { commands.wait(&id, LONGEST_WAIT).await } else { commands.get(&id) };
    found.map_or_else(|| refusal(&Failure::not_found("Command Result", &id)), |it| axum::Json(it).into_response())
}

async fn run(State(server): State<Arc<Server>>, uri: Uri, body: Bytes) -> Response {
    let (command, params) = match understand(&body) {
        Ok(understood) => understood,
        Err(failure) => return refusal(&failure),
    };
    let id = match server.machine.start(command, params) {
        Ok(id) => id,
        Err(failure) => return refusal(&failure),
    };
    let commands = &server.machine.commands;
    let found = if waits(&uri) || command.is_quick() { commands.wait(&id, LONGEST_WAIT).await } else { commands.get(&id) };
    found.map_or_else(|| refuse(500, "the command was forgotten"), |it| axum::Json(it).into_response())
}

fn understand(body: &[u8]) -> Result<(Command, Map<String, Value>), Failure> {
    let malformed = || Failure::content("Missing or invalid name or params");
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else { return Err(malformed()) };
    let (Some(Value::String(name)), Some(Value::Object(params))) = (body.remove("name"), body.remove("params")) else {
        return Err(malformed());
    };
    Ok((Command::parse(&name)?, params))
}

async fn status(State(server): State<Arc<Server>>) -> Response {
    axum::Json(json!({ "started_at": server.started_at, "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// Where the client sees us, for links.
fn own_url(request: &Request) -> String {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("https://{host}")
}

fn version(url: &str) -> Value {
    json!({ "id": "v1", "links": [{ "href": format!("{url}/v1"), "rel": "self" }] })
}

async fn root(request: Request) -> Response {
    let url = own_url(&request);
    axum::Json(json!({
        "name": "OpenStack Ironic Python Agent API",
        "description": "The deploy ramdisk agent of Cofferdam, speaking the protocol of ironic-python-agent",
        "versions": [version(&url)],
        "default_version": version(&url),
    }))
    .into_response()
}

async fn version_one(request: Request) -> Response {
    let url = own_url(&request);
    let links =
        |name: &str| json!([{ "href": format!("{url}/v1/{name}"), "rel": "self" }, { "href": format!("{url}/{name}"), "rel": "bookmark" }]);
    let mut body = version(&url);
    if let Some(body) = body.as_object_mut() {
        body.insert("commands".into(), links("commands"));
        body.insert("status".into(), links("status"));
        let media = json!([{ "base": "application/json", "type": "application/vnd.openstack.ironic-python-agent.v1+json" }]);
        body.insert("media_types".into(), media);
    }
    axum::Json(body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_a_name_or_params_are_malformed() {
        for bad in
            ["", "[]", "{}", r#"{"name": "standby.sync"}"#, r#"{"name": "standby.sync", "params": []}"#, r#"{"name": 1, "params": {}}"#]
        {
            assert_eq!(understand(bad.as_bytes()).unwrap_err().kind, "InvalidContentError", "{bad}");
        }
        assert_eq!(understand(br#"{"name": "standby.sync", "params": {}}"#).unwrap().0, Command::Sync);
    }
}
