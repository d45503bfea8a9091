//! One NETCONF session: hello, and one call after another (RFC 6241).

use std::collections::BTreeSet;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::framing::{Deframer, frame};
use super::xml::{self, BASE, Node};
use crate::switch::SwitchError;
use crate::transport::ssh::SshSession;

/// How many messages that answer nothing are skipped while an answer is waited for.
const STRAY: usize = 64;

/// Two-way streams.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A session in which both sides have said hello.
pub(super) struct Session {
    switch: String,
    stream: Box<dyn Stream>,
    deframer: Deframer,
    capabilities: BTreeSet<String>,
    calls: u64,
    /// Keeps the connection.
    ssh: Option<SshSession>,
}

impl Session {
    /// Says hello.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout` after `until`, `Protocol` if the other side speaks something else.
    pub(super) async fn begin(switch: &str, stream: Box<dyn Stream>, ssh: Option<SshSession>, until: Instant) -> Result<Self, SwitchError> {
        let mut out =
            Self { switch: switch.to_owned(), stream, deframer: Deframer::default(), capabilities: BTreeSet::new(), calls: 0, ssh };
        let ours = ["1.0", "1.1"].map(|it| format!("<capability>urn:ietf:params:netconf:base:{it}</capability>")).concat();
        let hello =
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><hello xmlns=\"{BASE}\"><capabilities>{ours}</capabilities></hello>");
        let doing = "saying hello";
        out.send(&hello, until, doing).await?;
        let theirs = out.receive(until, doing).await?;
        if theirs.name != "hello" {
            return Err(out.protocol(format!("it said {:?} for hello", theirs.name)));
        }
        if let Some(list) = theirs.child("capabilities") {
            // What is behind a question mark are parameters.
            out.capabilities = list.all("capability").map(|it| it.text.trim().split('?').next().unwrap_or_default().to_owned()).collect();
        }
        if !out.can("base:1.0") && !out.can("base:1.1") {
            return Err(out.protocol("it speaks neither base 1.0 nor 1.1".into()));
        }
        out.deframer.is_chunked = out.can("base:1.1");
        Ok(out)
    }

    /// Whether the switch said that it can this: `candidate:1.0`, `startup:1.0` and so on.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(&format!("urn:ietf:params:netconf:{capability}"))
            || self.capabilities.contains(&format!("urn:ietf:params:netconf:capability:{capability}"))
            || self.capabilities.contains(&format!("urn:ietf:params:xml:ns:netconf:{capability}"))
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.ssh.as_ref().is_some_and(SshSession::is_closed)
    }

    /// One call, and the answer to it.
    ///
    /// # Errors
    /// `Rejected` with the switch's words; after any other error the session is unusable.
    pub(super) async fn call(&mut self, operation: &str, until: Instant, doing: &'static str) -> Result<Node, SwitchError> {
        self.calls += 1;
        let id = self.calls.to_string();
        self.send(&format!("<rpc xmlns=\"{BASE}\" message-id=\"{id}\">{operation}</rpc>"), until, doing).await?;
        for _ in 0..STRAY {
            let reply = self.receive(until, doing).await?;
            if reply.name != "rpc-reply" || reply.message_id.as_ref().is_some_and(|it| *it != id) {
                continue;
            }
            let errors: Vec<String> = reply.all("rpc-error").filter(|it| it.words("error-severity") != "warning").map(words).collect();
            if !errors.is_empty() {
                return Err(SwitchError::Rejected { switch: self.switch.clone(), reason: format!("{doing}: {}", errors.join("; ")) });
            }
            return Ok(reply);
        }
        Err(self.protocol("it says much and does not answer".into()))
    }

    async fn send(&mut self, message: &str, until: Instant, doing: &'static str) -> Result<(), SwitchError> {
        let bytes = frame(message, self.deframer.is_chunked);
        let work = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(until, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.unreachable(error.to_string())),
            Err(_) => Err(SwitchError::Timeout { switch: self.switch.clone(), doing }),
        }
    }

    async fn receive(&mut self, until: Instant, doing: &'static str) -> Result<Node, SwitchError> {
        let mut piece = vec![0; 16 << 10];
        loop {
            if let Some(message) = self.deframer.next().map_err(|reason| self.protocol(reason))? {
                return xml::parse(&message).map_err(|reason| self.protocol(reason));
            }
            match timeout_at(until, self.stream.read(&mut piece)).await {
                Ok(Ok(0)) => return Err(self.unreachable("it ended the session".into())),
                Ok(Ok(length)) => self.deframer.push(piece.get(..length).unwrap_or_default()),
                Ok(Err(error)) => return Err(self.unreachable(error.to_string())),
                Err(_) => return Err(SwitchError::Timeout { switch: self.switch.clone(), doing }),
            }
        }
    }

    fn unreachable(&self, reason: String) -> SwitchError {
        SwitchError::Unreachable { switch: self.switch.clone(), reason }
    }

    pub(super) fn protocol(&self, reason: String) -> SwitchError {
        SwitchError::Protocol { switch: self.switch.clone(), reason }
    }
}

/// What an `rpc-error` says.
fn words(error: &Node) -> String {
    let mut out = error.words("error-message").to_owned();
    if out.is_empty() {
        error.words("error-tag").clone_into(&mut out);
    }
    for (what, said) in [("", error.words("error-app-tag")), ("at ", error.words("error-path"))] {
        if !said.is_empty() {
            out = format!("{out} ({what}{said})");
        }
    }
    out
}
