//! A lean HTTP/1.1 client for measuring: one connection kept open, one request at a time, little work of its own on each.
//!
//! Not `net::http`: that opens a connection a request, on purpose, and here the connection must not be what is measured.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long one exchange may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Largest answer that is read, in bytes; a list of every user of a large store is a few million.
const MAX_ANSWER: usize = 256 << 20;

/// Where a service is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address, an IPv6 address without brackets.
    host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// What stands before `/auth/tokens`; ends in the version, without a slash.
    prefix: String,
    authority: String,
}

impl Target {
    /// Reads the URL of an identity service, with or without `/v3` at its end.
    ///
    /// # Errors
    /// It is no `http://` URL.
    pub(crate) fn identity(url: &str) -> Result<Self> {
        Self::service(url, "v3")
    }

    /// Reads the URL of a service, with or without its version at its end.
    ///
    /// # Errors
    /// It is no `http://` URL.
    pub(crate) fn service(url: &str, version: &str) -> Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url}: only http:// is measured"))?;
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().with_context(|| format!("{url}: {port} is no port"))?),
            _ => (authority, 80),
        };
        let path = path.trim_end_matches('/');
        let prefix = match path.strip_suffix(version) {
            _ if path.is_empty() => format!("/{version}"),
            Some(before) if before.is_empty() || before.ends_with('/') => format!("/{path}"),
            _ => format!("/{path}/{version}"),
        };
        ensure!(!host.is_empty(), "{url} names no host");
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, prefix, authority: authority.to_owned() })
    }

    /// The URL that clients are given.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.prefix)
    }

    /// A request, ready to be sent as often as wanted. `path` is below the version, for instance `/users`.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&serde_json::Value>) -> Vec<u8> {
        let mut text = format!("{method} {}{path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n", self.prefix, self.authority);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        match body {
            Some(body) => {
                let body = body.to_string();
                text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            }
            // Some servers want the length of every body, also of none.
            None if matches!(method, "PUT" | "POST" | "PATCH") => text.push_str("Content-Length: 0\r\n\r\n"),
            None => text.push_str("\r\n"),
        }
        text.into_bytes()
    }
}

/// An answer, valid until the next request on its connection.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// HTTP status.
    pub(crate) status: u16,
    head: &'a str,
    /// The whole body.
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The value of a header line, the first if there are several.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// The status is not the one expected, or the body is not JSON; the message has the first words of the body.
    pub(crate) fn json(&self, expected: u16) -> Result<serde_json::Value> {
        self.expect(expected)?;
        if self.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(self.body).with_context(|| format!("not JSON: {}", self.words()))
    }

    /// # Errors
    /// The status is not the one expected.
    pub(crate) fn expect(&self, expected: u16) -> Result<()> {
        ensure!(self.status == expected, "status {} where {expected} was expected: {}", self.status, self.words());
        Ok(())
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(self.body).chars().take(300).collect()
    }
}

/// A connection; opened at the first request, and again when the server has closed it.
pub(crate) struct Connection {
    target: Arc<Target>,
    stream: Option<TcpStream>,
    head: String,
    body: Vec<u8>,
    input: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(target: &Arc<Target>) -> Self {
        Self { target: Arc::clone(target), stream: None, head: String::new(), body: Vec::new(), input: Vec::new() }
    }

    /// Sends a request and reads the answer. A connection that the server closed between two requests is opened anew.
    ///
    /// # Errors
    /// No connection, no whole answer within a minute, or what came is not HTTP.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        let outcome = tokio::time::timeout(DEADLINE, self.attempt(request)).await;
        let status = match outcome {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                self.stream = None;
                return Err(error);
            }
            Err(_) => {
                self.stream = None;
                bail!("no answer within {DEADLINE:?}");
            }
        };
        Ok(Answer { status, head: &self.head, body: &self.body })
    }

    async fn attempt(&mut self, request: &[u8]) -> Result<u16> {
        if let Some(stream) = &mut self.stream {
            self.input.clear();
            acknowledge_at_once(stream)?;
            let answered = match stream.write_all(request).await {
                Ok(()) => stream.read_buf(&mut self.input).await.is_ok_and(|read| read > 0),
                Err(_) => false,
            };
            if answered {
                return self.read().await;
            }
        }
        let target = &self.target;
        let connected = TcpStream::connect((target.host.as_str(), target.port)).await;
        let mut stream = connected.with_context(|| format!("cannot connect to {}", target.authority))?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        self.input.clear();
        stream.write_all(request).await.context("cannot send a request")?;
        self.stream = Some(stream);
        self.read().await
    }

    async fn more(&mut self) -> Result<usize> {
        ensure!(self.input.len() < MAX_ANSWER, "an answer of more than {MAX_ANSWER} bytes");
        let stream = self.stream.as_mut().context("no connection")?;
        acknowledge_at_once(stream)?;
        self.input.reserve(16 << 10);
        stream.read_buf(&mut self.input).await.context("the connection broke off")
    }

    async fn some(&mut self) -> Result<()> {
        ensure!(self.more().await? > 0, "the connection was closed within an answer");
        Ok(())
    }

    /// Reads head and body; of the answer so far at most a part is in `input`.
    async fn read(&mut self) -> Result<u16> {
        let mut searched = 0_usize;
        let end = loop {
            let from = searched.saturating_sub(3);
            if let Some(at) = find(self.input.get(from..).unwrap_or_default(), b"\r\n\r\n") {
                break from + at;
            }
            searched = self.input.len();
            self.some().await?;
        };
        self.head.clear();
        let head = std::str::from_utf8(self.input.get(..end).unwrap_or_default()).context("a head that is not text")?;
        self.head.push_str(head);
        self.input.drain(..end + 4);
        let status = status(&self.head)?;
        let close = header(&self.head, "connection").is_some_and(|it| it.eq_ignore_ascii_case("close"))
            || (self.head.starts_with("HTTP/1.0")
                && !header(&self.head, "connection").is_some_and(|it| it.eq_ignore_ascii_case("keep-alive")));
        self.body.clear();
        if matches!(status, 204 | 304) {
            // These have no body whatever their head says.
        } else if header(&self.head, "transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
            self.read_chunks().await?;
        } else if let Some(length) = header(&self.head, "content-length") {
            let length: usize = length.parse().with_context(|| format!("a body of {length} bytes"))?;
            while self.input.len() < length {
                self.some().await?;
            }
            self.body.extend(self.input.drain(..length));
        } else {
            while self.more().await? > 0 {}
            self.body.append(&mut self.input);
            self.stream = None;
        }
        if close {
            self.stream = None;
        }
        Ok(status)
    }

    async fn read_chunks(&mut self) -> Result<()> {
        loop {
            let end = self.line().await?;
            let line = String::from_utf8_lossy(self.input.get(..end).unwrap_or_default()).into_owned();
            self.input.drain(..end + 2);
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).with_context(|| format!("a chunk of {digits:?} bytes"))?;
            if length == 0 {
                break;
            }
            ensure!(length <= MAX_ANSWER && self.body.len() <= MAX_ANSWER, "an answer of more than {MAX_ANSWER} bytes");
            while self.input.len() < length + 2 {
                self.some().await?;
            }
            self.body.extend(self.input.drain(..length));
            self.input.drain(..2);
        }
        // Trailers, up to an empty line.
        loop {
            let end = self.line().await?;
            self.input.drain(..end + 2);
            if end == 0 {
                return Ok(());
            }
        }
    }

    /// Where the first line of `input` ends.
    async fn line(&mut self) -> Result<usize> {
        loop {
            if let Some(end) = find(&self.input, b"\r\n") {
                return Ok(end);
            }
            self.some().await?;
        }
    }
}

/// Keeps our own kernel from waiting with an acknowledgement: a server that sends head and body apart would be measured 40 ms slower than it
/// is, and only where its answers are large. The kernel forgets it, so it is said again before each read (Source: tcp(7), TCP_QUICKACK).
fn acknowledge_at_once(stream: &TcpStream) -> Result<()> {
    stream.set_quickack(true).context("cannot set TCP_QUICKACK")
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|it| it == needle)
}

fn status(head: &str) -> Result<u16> {
    let code = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.trim().parse().ok())
        .with_context(|| format!("not an HTTP answer: {}", head.lines().next().unwrap_or_default()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_and_without_version() {
        for (url, wanted) in [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/v3"),
            ("http://h/identity", "http://h/identity/v3"),
            ("http://h:81/identity/v3/", "http://h:81/identity/v3"),
            ("http://[::1]:5000/v3", "http://[::1]:5000/v3"),
        ] {
            assert_eq!(Target::identity(url).unwrap().url(), wanted);
        }
        for (url, wanted) in [
            ("http://h:9696", "http://h:9696/v2.0"),
            ("http://h:9696/v2.0/", "http://h:9696/v2.0"),
            ("http://h:5000/network", "http://h:5000/network/v2.0"),
            ("http://h/xv2.0", "http://h/xv2.0/v2.0"),
        ] {
            assert_eq!(Target::service(url, "v2.0").unwrap().url(), wanted);
        }
        assert_eq!(Target::identity("http://[::1]:5000").unwrap().host, "::1");
        assert_eq!(Target::identity("http://h").unwrap().port, 80);
        for url in ["https://h/v3", "h:5000", "http://h:x", "http://:80"] {
            assert!(Target::identity(url).is_err(), "{url}");
        }
    }

    /// Answers each request of each connection with the next of `answers`, piece by piece; an empty piece closes.
    async fn serve(answers: &'static [&'static [&'static str]]) -> Arc<Target> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::identity(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let mut answers = answers.iter();
            'connection: while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0_u8; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    for piece in *answers.next().unwrap() {
                        if piece.is_empty() {
                            continue 'connection;
                        }
                        stream.write_all(piece.as_bytes()).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        Arc::new(target)
    }

    #[tokio::test]
    async fn bodies_of_every_kind_are_read() {
        let target = serve(&[
            &["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 4\r\nX-Subject-Token: t\r\n\r", "\nab", "cd"],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "c\r\n1;x=y\r\nd\r\n0\r\nTrailer: 1\r\n\r", "\n"],
            &["HTTP/1.1 204 No Content\r\n\r\n"],
            // Closed after an answer that was whole: the next request opens another connection.
            &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd", ""],
            &["HTTP/1.0 200 OK\r\n\r\nab", "cd", ""],
            // Closed without a word, as servers do with idle connections.
            &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"],
            &[""],
            &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"],
            &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", ""],
        ])
        .await;
        let request = target.request("GET", "/users", &[], None);
        let mut connection = Connection::new(&target);
        for turn in 0..7 {
            let answer = connection.exchange(&request).await.unwrap();
            let wanted: &[u8] = if turn == 2 { b"" } else { b"abcd" };
            assert_eq!((turn, answer.body), (turn, wanted));
            assert_eq!(answer.header("x-subject-token"), (turn == 0).then_some("t"));
        }
        let error = connection.exchange(&request).await.unwrap_err().to_string();
        assert!(error.contains("within an answer"), "{error}");
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert!(status("SSH-2.0-x").is_err());
        assert!(status("HTTP/1.1").is_err());
        assert_eq!(status("HTTP/1.1 204 No Content").unwrap(), 204);
    }
}
