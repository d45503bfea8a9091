//! One connection, and calls on it.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::proto::{SubscribeRequest, SubscribeResponse};
use crate::switch::{SwitchConfig, SwitchError};

/// How long an answer may be.
const LONGEST: usize = 64 << 20;
/// After this long without a word a sign of life is asked for, and awaited for so long.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where the switch is, and by what it is known.
pub(super) struct Target {
    switch: String,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    username: MetadataValue<tonic::metadata::Ascii>,
    password: Option<MetadataValue<tonic::metadata::Ascii>>,
}

impl Target {
    /// What a switch's configuration says; nothing is connected yet. `HOST:PORT` is TLS, and needs a certificate to trust; `tcp:HOST:PORT`
    /// is none, and shows the password to whoever listens, which is let pass without saying so on this host only.
    ///
    /// # Errors
    /// `Config`.
    pub(super) fn of(config: &SwitchConfig) -> Result<Self, SwitchError> {
        let bad = |reason: String| SwitchError::Config { switch: config.name.clone(), reason };
        let (is_plain, place) = match (config.endpoint.strip_prefix("tcp:"), config.endpoint.strip_prefix("ssl:")) {
            (Some(place), _) => (true, place),
            (None, Some(place)) => (false, place),
            (None, None) => (false, config.endpoint.as_str()),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(|| bad(format!("{:?} is not HOST:PORT", config.endpoint)))?;
        let port: u16 = port.parse().map_err(|_| bad(format!("{port:?} is no port")))?;
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host).to_owned();
        let is_here = host == "localhost" || host.parse().is_ok_and(|it: std::net::IpAddr| it.is_loopback());
        let tls = match &config.trust.ca {
            _ if is_plain => None,
            Some(ca) => {
                let key = config.trust.key.as_ref().map(model::Secret::reveal);
                let own = config.trust.certificate.as_deref().zip(key);
                let mut tls = (*crate::tls::trusting(ca, own).map_err(|reason| bad(format!("its certificate: {reason}")))?).clone();
                tls.alpn_protocols = vec![b"h2".to_vec()];
                Some(Arc::new(tls))
            }
            None if is_here => None,
            None => return Err(bad("it has no certificate that is trusted; tcp:HOST:PORT would do without".into())),
        };
        let ascii = |text: &str| {
            let mut value = MetadataValue::try_from(text).map_err(|_| bad("the login is not of plain letters".into()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let username = ascii(&config.login.username)?;
        let password = config.login.password.as_ref().map(|it| ascii(it.reveal())).transpose()?;
        Ok(Self { switch: config.name.clone(), host, port, tls, username, password })
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> SwitchError {
        SwitchError::Unreachable { switch: self.switch.clone(), reason: error.to_string() }
    }

    fn late(&self, doing: &'static str) -> SwitchError {
        SwitchError::Timeout { switch: self.switch.clone(), doing }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, SwitchError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| self.unreachable(&error))?;
        tcp.set_nodelay(true).map_err(|error| self.unreachable(&error))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let distrust = |reason: String| SwitchError::Trust { switch: self.switch.clone(), reason };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| distrust(error.to_string()))?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(|error| {
            let is_tls = error.get_ref().is_some_and(|it| it.is::<rustls::Error>());
            if is_tls { distrust(error.to_string()) } else { self.unreachable(&error) }
        })?;
        Ok(Box::new(stream))
    }

    /// Connects.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout` after `until`, `Trust`.
    pub(super) async fn open(self: &Arc<Self>, until: Instant) -> Result<Client, SwitchError> {
        let work = async {
            // A connection that breaks is not made again behind our back: what is known of the switch ends with it.
            let mut stream = Some(TokioIo::new(self.connect().await?));
            let connector = tower::service_fn(move |_| {
                let stream = stream.take();
                async move { stream.ok_or_else(|| std::io::Error::other("the connection broke")) }
            });
            Endpoint::from_static("http://switch")
                .http2_keep_alive_interval(KEEPALIVE.0)
                .keep_alive_timeout(KEEPALIVE.1)
                .keep_alive_while_idle(true)
                .connect_with_connector(connector)
                .await
                .map_err(|error| self.unreachable(&chain(&error)))
        };
        let channel = timeout_at(until, work).await.map_err(|_| self.late("connecting"))??;
        Ok(Client { target: Arc::clone(self), channel })
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        out = format!("{out}: {it}");
        cause = it.source();
    }
    out
}

/// A connection.
#[derive(Clone)]
pub(super) struct Client {
    target: Arc<Target>,
    channel: Channel,
}

impl Client {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("username", self.target.username.clone());
        if let Some(password) = &self.target.password {
            request.metadata_mut().insert("password", password.clone());
        }
        request
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, SwitchError> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LONGEST).max_encoding_message_size(LONGEST);
        grpc.ready().await.map_err(|error| self.target.unreachable(&chain(&error)))?;
        Ok(grpc)
    }

    /// One question and its answer; `None`: there is no such thing.
    ///
    /// # Errors
    /// `Rejected` with the switch's words; after any other error the connection is unusable.
    pub(super) async fn call<Q, A>(
        &self,
        method: &'static str,
        message: Q,
        until: Instant,
        doing: &'static str,
    ) -> Result<Option<A>, SwitchError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let work = async {
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let mut grpc = self.grpc().await?;
            match grpc.unary(self.request(message), PathAndQuery::from_static(method), codec).await {
                Ok(answer) => Ok(Some(answer.into_inner())),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(self.refused(&status, doing)),
            }
        };
        timeout_at(until, work).await.map_err(|_| self.target.late(doing))?
    }

    /// What the switch tells by itself.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(super) async fn subscribe(&self, message: SubscribeRequest) -> Result<Streaming<SubscribeResponse>, SwitchError> {
        let doing = "subscribing to its changes";
        let codec: ProstCodec<SubscribeRequest, SubscribeResponse> = ProstCodec::default();
        let mut grpc = self.grpc().await?;
        // The call lasts as long as our side of it.
        let questions =
            futures_util::StreamExt::chain(futures_util::stream::iter([message]), futures_util::stream::pending::<SubscribeRequest>());
        let path = PathAndQuery::from_static("/gnmi.gNMI/Subscribe");
        let answer = grpc.streaming(self.request(questions), path, codec).await.map_err(|status| self.refused(&status, doing))?;
        Ok(answer.into_inner())
    }

    fn refused(&self, status: &Status, doing: &'static str) -> SwitchError {
        let switch = self.target.switch.clone();
        let reason = format!("{doing}: {}", status.message());
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => SwitchError::Trust { switch, reason },
            Code::Unavailable | Code::Cancelled | Code::Unknown => SwitchError::Unreachable { switch, reason },
            Code::DeadlineExceeded => SwitchError::Timeout { switch, doing },
            Code::DataLoss => SwitchError::Protocol { switch, reason },
            _ => SwitchError::Rejected { switch, reason },
        }
    }
}
