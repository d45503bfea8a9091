//! An HTTP/1.1 client: one connection a request, a deadline on the whole of it, optional TLS, an optional namespace.
//!
//! Control traffic (a BMC, an agent, a Docker daemon) is sparse and each peer may live in another namespace, so there is no
//! connection pool; correctness under failure matters more here than a saved handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, BodyStream as HyperBodyStream, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt as _;

use crate::netns::{Netns, tcp_connect};

/// Largest body [`Client::send`] reads into memory, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// Why a request gave no answer. An HTTP status, whatever it is, is an answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL or a header is not well-formed.
    #[error("cannot make a request of {url}: {why}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection, or TLS did not agree.
    #[error("cannot connect to {url}")]
    Connect {
        /// What was asked for.
        url: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The exchange broke off; whether the server acted on it is unknown.
    #[error("the exchange with {url} broke off: {why}")]
    Broken {
        /// What was asked for.
        url: String,
        /// What happened.
        why: String,
    },
    /// No full answer within the deadline; whether the server acted on it is unknown.
    #[error("no answer from {url} within {deadline:?}")]
    Timeout {
        /// What was asked for.
        url: String,
        /// The deadline of the client.
        deadline: Duration,
    },
}

/// A request with its body in memory.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `http://` or `https://` URL with a literal address or `localhost` as host.
    pub url: String,
    /// Header lines. A `host` among them takes the place of the one the URL says.
    pub headers: Vec<(String, String)>,
    /// The body; may be empty.
    pub body: Bytes,
}

impl Request {
    /// A request without a body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// A request with a JSON body. A value that cannot be written as JSON (a map with keys that are not text) sends an empty body.
    pub fn json(method: Method, url: impl Into<String>, body: &impl Serialize) -> Self {
        let mut request = Self::new(method, url).header("content-type", "application/json");
        request.body = serde_json::to_vec(body).unwrap_or_default().into();
        request
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds HTTP basic authentication.
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        let token = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization", &format!("Basic {token}"))
    }
}

/// An answer with its body in memory.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The body read as JSON.
    ///
    /// # Errors
    /// The body is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, for messages; at most 2,000 characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(2_000).collect()
    }
}

/// The body of an answer, piece by piece.
pub struct BodyStream {
    inner: HyperBodyStream<Incoming>,
    url: String,
    deadline: Duration,
}

impl BodyStream {
    /// The next piece, or `None` at the end. Each piece has the client's deadline of its own.
    pub async fn next(&mut self) -> Option<Result<Bytes, HttpError>> {
        loop {
            let frame = match tokio::time::timeout(self.deadline, self.inner.next()).await {
                Err(_) => return Some(Err(HttpError::Timeout { url: self.url.clone(), deadline: self.deadline })),
                Ok(None) => return None,
                Ok(Some(frame)) => frame,
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(HttpError::Broken { url: self.url.clone(), why: error.to_string() })),
            }
        }
    }
}

/// An HTTP client.
#[derive(Clone)]
pub struct Client {
    /// Where connections start.
    pub netns: Netns,
    /// How to speak TLS; without it `https://` is refused.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Server name to check in the certificate in place of the URL's host.
    pub server_name: Option<String>,
    /// Deadline of a request, from connecting to the last byte; for streams of each piece.
    pub deadline: Duration,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

struct Target {
    tls: bool,
    host: String,
    address: SocketAddr,
    authority: String,
}

impl Client {
    /// A client in this process's namespace without TLS and a deadline of ten seconds.
    pub fn plain() -> Self {
        Self { netns: Netns::host(), tls: None, server_name: None, deadline: Duration::from_secs(10) }
    }

    /// The same client with another deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let url = request.url.clone();
        let body = Full::new(request.body.clone()).map_err(|never| match never {}).boxed_unsync();
        let exchange = async {
            let (status, headers, body) = self.exchange(&request, body).await?;
            let body = Limited::new(body, MAX_BODY_BYTES)
                .collect()
                .await
                .map_err(|error| HttpError::Broken { url: request.url.clone(), why: error.to_string() })?
                .to_bytes();
            Ok(Response { status, headers, body })
        };
        tokio::time::timeout(self.deadline, exchange).await.map_err(|_| HttpError::Timeout { url, deadline: self.deadline })?
    }

    /// Sends a request and hands over the answer's body as it comes.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn stream(&self, request: Request) -> Result<(u16, HeaderMap, BodyStream), HttpError> {
        let body = Full::new(request.body.clone()).map_err(|never| match never {}).boxed_unsync();
        let (status, headers, body) = tokio::time::timeout(self.deadline, self.exchange(&request, body))
            .await
            .map_err(|_| HttpError::Timeout { url: request.url.clone(), deadline: self.deadline })??;
        Ok((status, headers, BodyStream { inner: HyperBodyStream::new(body), url: request.url, deadline: self.deadline }))
    }

    /// Sends a request whose body is a file, read in pieces; the request's own body is ignored.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn upload(&self, request: Request, file: tokio::fs::File) -> Result<Response, HttpError> {
        let pieces = futures_util::stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0_u8; 256 << 10];
            let read = file.read(&mut piece).await?;
            piece.truncate(read);
            Ok::<_, io::Error>((read > 0).then(|| (Frame::data(Bytes::from(piece)), file)))
        });
        let body = UnsyncBoxBody::new(http_body_util::StreamBody::new(pieces));
        let url = request.url.clone();
        let exchange = async {
            let (status, headers, body) = self.exchange(&request, body).await?;
            let body = Limited::new(body, MAX_BODY_BYTES)
                .collect()
                .await
                .map_err(|error| HttpError::Broken { url: request.url.clone(), why: error.to_string() })?
                .to_bytes();
            Ok(Response { status, headers, body })
        };
        tokio::time::timeout(self.deadline, exchange).await.map_err(|_| HttpError::Timeout { url, deadline: self.deadline })?
    }

    async fn exchange(&self, request: &Request, body: Body) -> Result<(u16, HeaderMap, Incoming), HttpError> {
        let url = &request.url;
        let target = target(url)?;
        let mut builder = http::Request::builder().method(&request.method).uri(path_of(url));
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            builder = builder.header("host", &target.authority);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let outgoing = builder.body(body).map_err(|error| HttpError::Malformed { url: url.clone(), why: error.to_string() })?;
        let connect = |source| HttpError::Connect { url: url.clone(), source };
        let stream = tcp_connect(&self.netns, target.address, self.deadline).await.map_err(connect)?;
        if !target.tls {
            return speak(hyper_util::rt::TokioIo::new(stream), outgoing, url).await;
        }
        let Some(tls) = &self.tls else {
            return Err(HttpError::Malformed { url: url.clone(), why: "this client was given no TLS settings".into() });
        };
        let name = self.server_name.clone().unwrap_or(target.host);
        let name = rustls::pki_types::ServerName::try_from(name)
            .map_err(|error| HttpError::Malformed { url: url.clone(), why: error.to_string() })?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(connect)?;
        speak(hyper_util::rt::TokioIo::new(stream), outgoing, url).await
    }
}

async fn speak<S>(io: S, request: http::Request<Body>, url: &str) -> Result<(u16, HeaderMap, Incoming), HttpError>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| HttpError::Broken { url: url.to_owned(), why: chain(&error) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
    // Ends by itself when the answer was read or dropped; its error reaches us through the sender and the body.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection closed");
        }
    });
    let response = sender.send_request(request).await.map_err(broken)?;
    let (parts, body) = response.into_parts();
    Ok((parts.status.as_u16(), parts.headers, body))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or_else(|| "/".to_owned(), |at| rest.get(at..).unwrap_or("/").to_owned())
}

fn target(url: &str) -> Result<Target, HttpError> {
    let malformed = |why: &str| HttpError::Malformed { url: url.to_owned(), why: why.to_owned() };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| malformed("no scheme"))?;
    let tls = match scheme {
        "http" | "tcp" => false,
        "https" => true,
        _ => return Err(malformed("the scheme is neither http nor https")),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let default_port = if tls { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| malformed("the port is not a number"))?),
        _ => (authority, default_port),
    };
    let host = host.trim_matches(['[', ']']);
    let ip = if host == "localhost" { "127.0.0.1" } else { host };
    let ip = ip.parse().map_err(|_| malformed("the host is not a literal address"))?;
    Ok(Target { tls, host: host.to_owned(), address: SocketAddr::new(ip, port), authority: authority.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let it = target("https://[::1]:8443/a?b").unwrap();
        assert_eq!((it.tls, it.host.as_str(), it.address.port()), (true, "::1", 8443));
        assert_eq!(path_of("http://127.0.0.1:5000"), "/");
        assert_eq!(path_of("http://127.0.0.1:5000/v3?x=1"), "/v3?x=1");
        assert!(target("ftp://127.0.0.1/").is_err());
        assert!(target("http://example.org/").is_err(), "names are not resolved");
        assert!(target("http://127.0.0.1:x/").is_err());
    }

    #[tokio::test]
    async fn a_server_that_never_answers_runs_into_the_deadline() {
        let listener = crate::tcp_listen(&Netns::host(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = Client::plain().with_deadline(Duration::from_millis(100));
        assert!(matches!(client.send(Request::get(url)).await, Err(HttpError::Timeout { .. })));
    }
}
