//! The agent's side of the bare metal API: lookup and heartbeat.
//!
//! Source: ironic-python-agent, `ironic_api_client.py`; Ironic API reference, "Ramdisk".

use std::time::Duration;

use http::Method;
use net::http::{Client, HttpError, Request, Response};
use serde::Deserialize;
use serde_json::json;

/// Newest API version the agent makes use of (1.72: `agent_status` in heartbeats).
const NEWEST: (u16, u16) = (1, 72);
/// What is spoken when the API does not say what it offers (1.68: `agent_verify_ca` in heartbeats).
const ASSUMED: (u16, u16) = (1, 68);
const DEADLINE: Duration = Duration::from_secs(20);

/// Why an exchange was of no use. All are worth trying again, later.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Another status than hoped for.
    #[error("the bare metal API answered {what} with HTTP status {status}: {text}")]
    Status {
        /// The request.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// Start of the body.
        text: String,
    },
    /// The body does not say what it must.
    #[error("the bare metal API's answer to {what} cannot be used: {why}")]
    Answer {
        /// The request.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// A node as lookup gives it. No `Debug`: it holds the token.
pub struct Node {
    /// Its id.
    pub uuid: uuid::Uuid,
    /// How long the control plane waits for a heartbeat.
    pub heartbeat_timeout: Duration,
    /// What proves requests from and to the control plane.
    pub token: String,
}

/// One heartbeat. No `Debug`: it holds the token.
pub struct Beat<'a> {
    /// Where the command server listens.
    pub callback_url: &'a str,
    /// The token of [`Node`].
    pub token: &'a str,
    /// Certificate of the command server, PEM.
    pub certificate: &'a str,
}

/// A client of one bare metal API.
pub struct Api {
    base: String,
    client: Client,
    version: (u16, u16),
}

#[derive(Deserialize)]
struct Lookup {
    node: LookupNode,
    config: LookupConfig,
}

#[derive(Deserialize)]
struct LookupNode {
    uuid: String,
}

#[derive(Deserialize)]
struct LookupConfig {
    heartbeat_timeout: f64,
    #[serde(default)]
    agent_token: Option<String>,
}

impl Api {
    /// A client of the API at `base`, as `ipa-api-url` gives it.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), client: Client::plain().with_deadline(DEADLINE), version: ASSUMED }
    }

    fn request(&self, request: Request) -> Request {
        request
            .header("accept", "application/json")
            .header("x-openstack-ironic-api-version", &format!("{}.{}", self.version.0, self.version.1))
    }

    /// Asks which version the API offers. An answer without one is no failure.
    ///
    /// # Errors
    /// [`ApiError::Http`].
    pub async fn negotiate(&mut self) -> Result<(), ApiError> {
        let response = self.client.send(Request::get(format!("{}/", self.base)).header("accept", "application/json")).await?;
        self.version = offered(&response).map_or(ASSUMED, |offered| offered.min(NEWEST));
        tracing::debug!(major = self.version.0, minor = self.version.1, "API version chosen");
        Ok(())
    }

    /// Asks who this machine is. `token` is one baked into the boot medium; it counts when the answer has none.
    ///
    /// # Errors
    /// [`ApiError`]; 404 means that the machine is not known or not being worked on now.
    pub async fn lookup(&self, macs: &[String], node: Option<&str>, token: Option<&str>) -> Result<Node, ApiError> {
        let what = "lookup";
        let unusable = |why: &str| ApiError::Answer { what, why: why.to_owned() };
        let mut url = format!("{}/v1/lookup?addresses={}", self.base, macs.join(","));
        if let Some(node) = node {
            // Comes from the kernel command line; only what may stand in a URL as it is gets in.
            let id = uuid::Uuid::parse_str(node).map_err(|_| unusable("ipa-node-uuid on the kernel command line is not a UUID"))?;
            url += &format!("&node_uuid={id}");
        }
        let response = self.client.send(self.request(Request::get(url))).await?;
        if response.status != 200 {
            return Err(ApiError::Status { what, status: response.status, text: brief(&response) });
        }
        let answer: Lookup = response.json().map_err(|error| unusable(&error.to_string()))?;
        let token = answer.config.agent_token.as_deref().filter(|it| !it.is_empty()).or(token);
        // Ironic masks the token of a node that was given out before. Without it no command could be told from a stranger's.
        let token = token.filter(|it| !it.trim_matches('*').is_empty()).ok_or_else(|| unusable("it has no agent token"))?;
        let uuid = uuid::Uuid::parse_str(&answer.node.uuid).map_err(|_| unusable("node.uuid is not a UUID"))?;
        let timeout = Duration::try_from_secs_f64(answer.config.heartbeat_timeout).unwrap_or(Duration::from_secs(300));
        Ok(Node { uuid, heartbeat_timeout: timeout, token: token.to_owned() })
    }

    /// Says that the agent lives and where.
    ///
    /// # Errors
    /// [`ApiError`]; 409 means that the node is locked for the moment.
    pub async fn heartbeat(&self, node: uuid::Uuid, beat: &Beat<'_>) -> Result<(), ApiError> {
        let mut body = json!({
            "callback_url": beat.callback_url,
            "agent_version": env!("CARGO_PKG_VERSION"),
            "agent_token": beat.token,
            "agent_verify_ca": beat.certificate,
        });
        if self.version >= NEWEST
            && let Some(body) = body.as_object_mut()
        {
            body.insert("agent_status".into(), "start".into());
        }
        let request = Request::json(Method::POST, format!("{}/v1/heartbeat/{node}", self.base), &body);
        let response = self.client.send(self.request(request)).await?;
        if response.is_success() {
            return Ok(());
        }
        Err(ApiError::Status { what: "heartbeat", status: response.status, text: brief(&response) })
    }
}

fn offered(response: &Response) -> Option<(u16, u16)> {
    let body: serde_json::Value = response.json().ok()?;
    let (major, minor) = body.pointer("/default_version/version")?.as_str()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn brief(response: &Response) -> String {
    response.text().chars().take(300).collect()
}

/// Waits that double from half a second up to half a minute, each shortened by up to a third at random, so that a room of
/// machines does not ask in step.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait now.
    pub fn next(&mut self) -> Duration {
        let wait = Duration::from_millis(500).saturating_mul(1 << self.failures.min(6)).min(Duration::from_secs(30));
        self.failures = self.failures.saturating_add(1);
        shorten(wait, 1.0 / 3.0)
    }
}

/// `whole`, shortened at random by at most `share` of it.
pub fn shorten(whole: Duration, share: f64) -> Duration {
    // Without randomness all wait the longest time, which is still right.
    let random = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    whole.mul_f64(1.0 - share * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_capped() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_millis(500) && waits[0] >= Duration::from_millis(333));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(30)));
        assert!(waits[11] >= Duration::from_secs(20));
    }
}
