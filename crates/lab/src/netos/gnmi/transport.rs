//! The connections below gNMI: with TLS if the client begins it, else without; broken when the switch restarts.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

use crate::netos::device::Device;

/// How many connections a switch serves.
const MOST: usize = 16;
/// What a client has to begin in.
const BEGIN: Duration = Duration::from_secs(20);

struct Tls {
    certificate: String,
    acceptor: TlsAcceptor,
}

fn tls() -> Option<&'static Tls> {
    static TLS: OnceLock<Option<Tls>> = OnceLock::new();
    TLS.get_or_init(|| {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).ok()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .ok()?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(Tls { certificate: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) })
    })
    .as_ref()
}

/// The certificate, PEM, that all simulated gNMI servers of this process show to who begins TLS. It is its own authority.
pub fn certificate() -> Option<&'static str> {
    tls().map(|it| it.certificate.as_str())
}

trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

/// A connection that ends when the switch drops it.
pub(super) struct Connection {
    stream: Box<dyn Bytes>,
    cut: oneshot::Receiver<()>,
    device: Arc<Device>,
    id: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.device.leave(self.id);
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A finished receiver must not be polled again, and is not: the connection ends on an error.
        if Pin::new(&mut self.cut).poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The connections of a listening socket. Accepting ends when what this returns is dropped.
pub(super) fn connections(device: Arc<Device>, listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(MOST);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, say: they come back.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if device.is_down() || device.faults().refuses_connections() {
                continue;
            }
            let Some(id) = device.enter(MOST) else { continue };
            let (hold, cut) = oneshot::channel();
            device.with_connection(id, |it| it.transport = Some(hold));
            device.faults().count_connection();
            let (device, sender) = (Arc::clone(&device), sender.clone());
            tokio::spawn(async move {
                device.faults().pass().await;
                match tokio::time::timeout(BEGIN, begin(stream)).await {
                    Ok(Some(stream)) => {
                        // Fails if the server was stopped; the connection is dropped then.
                        let _taken = sender.send(Ok(Connection { stream, cut, device, id })).await;
                    }
                    Ok(None) | Err(_) => device.leave(id),
                }
            });
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|it| (it, receiver)) })
}

async fn begin(stream: TcpStream) -> Option<Box<dyn Bytes>> {
    stream.set_nodelay(true).ok()?;
    let mut first = [0];
    // 22 is a TLS handshake; HTTP/2 without TLS begins with a letter.
    match stream.peek(&mut first).await {
        Ok(1) if first == [22] => Some(Box::new(tls()?.acceptor.accept(stream).await.ok()?)),
        Ok(1) => Some(Box::new(stream)),
        _ => None,
    }
}
