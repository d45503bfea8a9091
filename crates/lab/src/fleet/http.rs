//! The two listeners: one for all BMCs, one for all agents. The address that a connection was made to says which machine is meant.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::machine::Machine;
use super::{Shared, agent, redfish};

/// How long a peer may take for the head of a request; also how long a connection is kept that nobody uses.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many connections there can be at once, of each kind.
const CONNECTIONS: usize = 16_384;
/// Largest body, in bytes: config drives come in bodies.
const MAX_BODY: usize = 64 << 20;
/// How long to rest when no more connections can be taken.
const REST: Duration = Duration::from_millis(20);

/// A request that was read whole.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// No body if there is none.
    pub(crate) body: Option<Value>,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn response(self) -> Response<Full<Bytes>> {
        let bytes = self.body.map(|it| Bytes::from(it.to_string()));
        let has_body = bytes.is_some();
        let mut response = Response::new(Full::new(bytes.unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if has_body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(name, value);
            }
        }
        response
    }
}

/// Listens on all addresses of the loopback interface, and on no other interface.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    if let Err(error) = setsockopt(&socket, sockopt::BindToDevice, &OsString::from("lo")) {
        // Connections from elsewhere are then dropped when they come.
        tracing::warn!(%error, "the fleet's port cannot be confined to the loopback interface");
    }
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(4096)
}

/// Takes connections for ever, and gives each to `speak` with the address that it was made to.
async fn serve<S, F>(listener: TcpListener, speak: S)
where
    S: Fn(Ipv4Addr, TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        if open.len() >= CONNECTIONS {
            open.join_next().await;
        }
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        match stream.local_addr().map(|it| it.ip()) {
            Ok(IpAddr::V4(address)) if address.is_loopback() => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::trace!(%error, "a small delay stays");
                }
                open.spawn(speak(address, stream));
            }
            _ => drop(stream),
        }
    }
}

/// Speaks HTTP/1.1; an error of `answer` closes the connection without an answer.
async fn speak<I, A, F>(io: I, answer: A)
where
    I: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Asked) -> F,
    F: Future<Output = io::Result<Reply>>,
{
    let service = service_fn(|request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let reply = answer(Asked { method: parts.method, path, query, headers: parts.headers, body }).await?;
        Ok::<_, io::Error>(reply.response())
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
    if let Err(error) = server.serve_connection(TokioIo::new(io), service).await {
        tracing::trace!(%error, "a connection broke off");
    }
}

/// Serves all BMCs, and at 127.0.0.1 what is to be known of the fleet.
pub(crate) async fn serve_bmcs(listener: TcpListener, shared: Arc<Shared>) {
    serve(listener, move |address, stream| {
        let shared = Arc::clone(&shared);
        async move {
            let Some(machine) = shared.machine(address).map(Arc::clone) else {
                return speak(stream, |asked| about(&shared, asked)).await;
            };
            speak(stream, |asked| bmc(&shared, &machine, asked)).await;
        }
    })
    .await;
}

async fn about(shared: &Shared, asked: Asked) -> io::Result<Reply> {
    let found = (asked.method == Method::GET).then(|| super::answer(shared, asked.path.trim_end_matches('/'))).flatten();
    Ok(found.map_or_else(|| Reply::empty(StatusCode::NOT_FOUND), Reply::ok))
}

async fn bmc(shared: &Arc<Shared>, machine: &Arc<Machine>, asked: Asked) -> io::Result<Reply> {
    Ok(redfish::answer(shared, machine, &asked))
}

/// Serves all agents. Where none runs, connections are closed: there is no way to refuse them.
pub(crate) async fn serve_agents(listener: TcpListener, shared: Arc<Shared>) {
    serve(listener, move |address, stream| {
        let shared = Arc::clone(&shared);
        async move {
            let Some(agent) = shared.machine(address).and_then(|machine| machine.lock().agent.clone()) else { return };
            let answer = |asked| agent::answer(&agent, asked);
            match agent.tls() {
                None => speak(stream, answer).await,
                Some(tls) => {
                    let handshake = tokio_rustls::TlsAcceptor::from(tls).accept(stream);
                    match tokio::time::timeout(PATIENCE, handshake).await {
                        Ok(Ok(stream)) => speak(stream, answer).await,
                        Ok(Err(error)) => tracing::debug!(%error, %address, "somebody did not agree on TLS with an agent"),
                        Err(_) => {}
                    }
                }
            }
        }
    })
    .await;
}
