//! The agent's side of the bare metal API: inspection, lookup and heartbeat.

use std::time::Duration;

use http::Method;
use net::http::{Client, HttpError, Request, Response};
use serde_json::Value;

use crate::fleet::chance::{self, Draw};
use crate::fleet::machine::Machine;

/// The newest version of the API that agents know (`agent_verify_ca` in heartbeats).
const NEWEST: (u16, u16) = (1, 68);
/// What is spoken for lookups (`agent_token`).
const WITH_TOKEN: (u16, u16) = (1, 62);
/// How much longer than the first pause a later one can be.
const LONGEST: u32 = 16;

/// Why an exchange was of no use; all are worth another try.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Another status than hoped for.
    #[error("{what} was answered with {status}: {text}")]
    Status {
        /// The request.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// Start of the body.
        text: String,
    },
    /// The body does not say what it must.
    #[error("the answer to {what} cannot be used: {why}")]
    Answer {
        /// The request.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Growing pauses between tries.
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The next pause, somewhat varied.
    pub(crate) fn next(&mut self, machine: &Machine) -> Duration {
        let pause = self.next.mul_f64(0.75 + 0.5 * chance::fraction(machine.draw(Draw::Time)));
        self.next = (self.next * 2).min(self.first * LONGEST);
        pause
    }
}

/// A node as lookup gives it. No `Debug`: it holds the token.
pub(crate) struct Found {
    pub(crate) uuid: String,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) token: Option<String>,
}

/// A client of one bare metal API.
pub(crate) struct Api {
    client: Client,
    base: String,
    offered: (u16, u16),
}

impl Api {
    pub(crate) fn new(client: Client, base: &str) -> Self {
        Self { client, base: base.trim_end_matches('/').to_owned(), offered: NEWEST }
    }

    async fn send(&self, what: &'static str, request: Request, version: Option<(u16, u16)>, wanted: u16) -> Result<Response, ApiError> {
        let mut request = request.header("accept", "application/json");
        if let Some((major, minor)) = version.map(|it| it.min(self.offered)) {
            request = request.header("x-openstack-ironic-api-version", &format!("{major}.{minor}"));
        }
        let response = self.client.send(request).await?;
        if response.status == wanted {
            return Ok(response);
        }
        Err(ApiError::Status { what, status: response.status, text: response.text().chars().take(300).collect() })
    }

    /// Asks which version the API offers.
    ///
    /// # Errors
    /// No answer, or one without a version.
    pub(crate) async fn negotiate(&mut self) -> Result<(), ApiError> {
        let what = "GET /";
        let response = self.send(what, Request::get(format!("{}/", self.base)), None, 200).await?;
        let body: Value = response.json().unwrap_or_default();
        let version = body["default_version"]["version"].as_str().and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        self.offered = version.ok_or_else(|| ApiError::Answer { what, why: "no default_version.version".into() })?;
        Ok(())
    }

    /// Sends an inventory. The node's uuid if it was taken; `None` if the node is not being inspected.
    ///
    /// # Errors
    /// No answer, or one that calls for another try.
    pub(crate) async fn inspected(&self, inventory: &Value) -> Result<Option<String>, ApiError> {
        let what = "inspection";
        // Without a version, as the real one.
        let request = Request::json(Method::POST, format!("{}/v1/continue_inspection", self.base), inventory);
        match self.send(what, request, None, 202).await {
            Ok(response) => {
                let body: Value = response.json().unwrap_or_default();
                Ok(body["uuid"].as_str().or_else(|| body["node"]["uuid"].as_str()).map(str::to_owned))
            }
            Err(ApiError::Status { status: 400..=408 | 410..=499, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks who the machine with that address is.
    ///
    /// # Errors
    /// No answer, or the machine is not known or not being worked on now.
    pub(crate) async fn lookup(&self, mac: &str, node: Option<&str>) -> Result<Found, ApiError> {
        let what = "lookup";
        let mut url = format!("{}/v1/lookup?addresses={}", self.base, mac.replace(':', "%3A"));
        if let Some(node) = node {
            url += &format!("&node_uuid={node}");
        }
        let response = self.send(what, Request::get(url), Some(WITH_TOKEN), 200).await?;
        let body: Value = response.json().map_err(|error| ApiError::Answer { what, why: error.to_string() })?;
        let uuid = body["node"]["uuid"].as_str().ok_or_else(|| ApiError::Answer { what, why: "no node.uuid".into() })?;
        let timeout = body["config"]["heartbeat_timeout"].as_f64().filter(|it| (0.0..1e6).contains(it));
        let timeout = timeout.ok_or_else(|| ApiError::Answer { what, why: "no config.heartbeat_timeout".into() })?;
        Ok(Found {
            uuid: uuid.to_owned(),
            heartbeat_timeout: Duration::from_secs_f64(timeout),
            token: body["config"]["agent_token"].as_str().filter(|it| !it.is_empty()).map(str::to_owned),
        })
    }

    /// Beats.
    ///
    /// # Errors
    /// No answer, or it was not taken.
    pub(crate) async fn heartbeat(&self, node: &str, body: &Value) -> Result<(), ApiError> {
        let request = Request::json(Method::POST, format!("{}/v1/heartbeat/{node}", self.base), body);
        self.send("heartbeat", request, Some(NEWEST), 202).await.map(drop)
    }
}
