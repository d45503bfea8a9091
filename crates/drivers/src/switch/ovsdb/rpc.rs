//! JSON-RPC 1.0 as OVSDB speaks it (RFC 7047 section 4): one connection, requests matched by id, `echo` answered.
//! Knows no table.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Longest message that is accepted, in bytes; a switch with thousands of ports answers with well under one MiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Where a database server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
    Tls(SocketAddr),
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Endpoint, String> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Endpoint::Unix(path.into())),
            Some((kind @ ("tcp" | "ssl"), address)) => {
                let made = if kind == "tcp" { Endpoint::Tcp } else { Endpoint::Tls };
                address.parse().map(made).map_err(|_| format!("{address:?} is not ADDRESS:PORT with a literal address"))
            }
            _ => Err(format!("{text:?} is neither unix:PATH nor tcp:ADDRESS:PORT nor ssl:ADDRESS:PORT")),
        }
    }
}

type Writer = tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>;
/// Requests under way. `None` once the connection broke: nobody will answer any more.
type Pending = Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>;

/// The answer to a request: its result or the server's error.
pub(super) type Reply = Result<Value, Value>;

/// One connection. Dropping it closes it.
pub(super) struct Connection {
    writer: Arc<Writer>,
    pending: Arc<Pending>,
    next_id: AtomicU64,
    broken: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Connection {
    /// Connects; `tls` says whom to trust where the endpoint speaks TLS. The caller sets the deadline.
    pub(super) async fn open(endpoint: &Endpoint, tls: Option<&Arc<ClientConfig>>) -> io::Result<Connection> {
        match endpoint {
            Endpoint::Tls(address) => {
                let tls = tls.ok_or_else(|| io::Error::other("no certificate authority was given"))?;
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::IpAddress(address.ip().into());
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
                let (read, write) = tokio::io::split(stream);
                Ok(Connection::start(read, write))
            }
            Endpoint::Unix(path) => {
                let (read, write) = UnixStream::connect(path).await?.into_split();
                Ok(Connection::start(read, write))
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (read, write) = stream.into_split();
                Ok(Connection::start(read, write))
            }
        }
    }

    fn start(read: impl AsyncRead + Send + Unpin + 'static, write: impl AsyncWrite + Send + Unpin + 'static) -> Connection {
        let writer: Arc<Writer> = Arc::new(tokio::sync::Mutex::new(Box::new(write)));
        let pending: Arc<Pending> = Arc::new(Mutex::new(Some(HashMap::new())));
        let broken = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (writer, pending, broken) = (Arc::clone(&writer), Arc::clone(&pending), Arc::clone(&broken));
            async move {
                if let Err(error) = receive(read, &writer, &pending).await {
                    tracing::debug!(%error, "connection to a switch ended");
                }
                broken.store(true, Ordering::Release);
                // Dropping the senders wakes all who wait for an answer.
                pending.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
        });
        Connection { writer, pending, next_id: AtomicU64::new(1), broken, reader }
    }

    /// Whether the other side is known to be gone.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Sends a request and waits for its answer. The caller sets the deadline; after it passed, drop the connection.
    pub(super) async fn call(&self, method: &str, params: Value) -> io::Result<Reply> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match self.pending.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(pending) => pending.insert(id, sender),
            None => return Err(gone()),
        };
        send(&self.writer, &json!({"method": method, "params": params, "id": id})).await?;
        receiver.await.map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was closed by the other side")
}

async fn send(writer: &Writer, message: &Value) -> io::Result<()> {
    let mut writer = writer.lock().await;
    writer.write_all(message.to_string().as_bytes()).await?;
    writer.flush().await
}

async fn receive(mut read: impl AsyncRead + Unpin, writer: &Writer, pending: &Pending) -> io::Result<()> {
    let mut splitter = Splitter::default();
    let mut piece = vec![0_u8; 16 << 10];
    loop {
        let length = read.read(&mut piece).await?;
        if length == 0 {
            return Err(gone());
        }
        for &byte in piece.get(..length).unwrap_or_default() {
            let Some(message) = splitter.push(byte)? else { continue };
            let message: Value = serde_json::from_slice(&message)?;
            if message.get("method").and_then(Value::as_str) == Some("echo") {
                let answer = json!({"id": message.get("id"), "result": message.get("params"), "error": null});
                send(writer, &answer).await?;
            } else if let Some(id) = message.get("id").and_then(Value::as_u64) {
                let waiting = pending.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|all| all.remove(&id));
                let reply = match message.get("error") {
                    None | Some(Value::Null) => Ok(message.get("result").cloned().unwrap_or_default()),
                    Some(error) => Err(error.clone()),
                };
                // Nobody waits any more if the deadline passed; then the answer is not wanted either.
                if let Some(sender) = waiting
                    && sender.send(reply).is_err()
                {
                    tracing::debug!("an answer of a switch came too late");
                }
            }
        }
    }
}

/// Cuts a stream of JSON objects, which OVSDB writes one after the other without any separator, into objects.
#[derive(Default)]
struct Splitter {
    bytes: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    fn push(&mut self, byte: u8) -> io::Result<Option<Vec<u8>>> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        if self.bytes.is_empty() && byte != b'{' {
            return if byte.is_ascii_whitespace() { Ok(None) } else { Err(bad("a message does not begin with a brace")) };
        }
        if self.bytes.len() >= MAX_MESSAGE_BYTES {
            return Err(bad("a message is too long"));
        }
        self.bytes.push(byte);
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(None);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Ok(Some(std::mem::take(&mut self.bytes)));
                }
            }
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        assert_eq!(Endpoint::parse("unix:/a/b.sock"), Ok(Endpoint::Unix("/a/b.sock".into())));
        assert_eq!(Endpoint::parse("tcp:127.0.0.1:6640"), Ok(Endpoint::Tcp("127.0.0.1:6640".parse().unwrap())));
        assert_eq!(Endpoint::parse("ssl:127.0.0.1:6640"), Ok(Endpoint::Tls("127.0.0.1:6640".parse().unwrap())));
        for bad in ["", "unix:", "tcp:", "tcp:host:1", "ssl:host:1", "tls:127.0.0.1:6640", "/a/b.sock"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    fn split(text: &str) -> io::Result<Vec<String>> {
        let mut splitter = Splitter::default();
        let mut out = Vec::new();
        for byte in text.bytes() {
            out.extend(splitter.push(byte)?.map(|it| String::from_utf8(it).unwrap()));
        }
        Ok(out)
    }

    #[test]
    fn a_stream_is_cut_into_messages() {
        assert_eq!(split("{}{\"a\":\"}\\\"{\"}\n {\"b\":[{}]}{\"half").unwrap(), ["{}", "{\"a\":\"}\\\"{\"}", "{\"b\":[{}]}"]);
        assert!(split("]").is_err());
    }

    #[tokio::test]
    async fn echo_is_answered_and_answers_find_their_question() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (read, write) = tokio::io::split(ours);
        let connection = Connection::start(read, write);
        let server = tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(theirs);
            write.write_all(b"{\"id\":\"echo\",\"method\":\"echo\",\"params\":[7]}").await.unwrap();
            let mut splitter = Splitter::default();
            let mut seen: Vec<Value> = Vec::new();
            while seen.len() < 3 {
                let byte = read.read_u8().await.unwrap();
                seen.extend(splitter.push(byte).unwrap().map(|it| serde_json::from_slice::<Value>(&it).unwrap()));
            }
            let (echo, calls): (Vec<_>, Vec<_>) = seen.into_iter().partition(|it| it.get("method").is_none());
            assert_eq!(echo, [json!({"id": "echo", "result": [7], "error": null})]);
            for call in calls.iter().rev() {
                let text = json!({"id": call["id"], "result": call["params"], "error": null}).to_string();
                write.write_all(text.as_bytes()).await.unwrap();
            }
        });
        let (a, b) = tokio::join!(connection.call("x", json!(["a"])), connection.call("x", json!(["b"])));
        assert_eq!((a.unwrap(), b.unwrap()), (Ok(json!(["a"])), Ok(json!(["b"]))));
        server.await.unwrap();
        assert_eq!(connection.call("x", json!([])).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(connection.is_broken());
    }
}
