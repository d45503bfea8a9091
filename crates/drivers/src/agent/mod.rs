//! Client of the deploy agent's command API (the protocol of ironic-python-agent).

use std::time::Duration;

use http::Method;
use model::Secret;
use net::Netns;
use net::http::{Client, HttpError, Request};
use serde_json::{Value, json};

use crate::Fut;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The agent's name for a command it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandId(pub String);

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandStatus {
    /// Still at work.
    Running,
    /// Done; see its result.
    Succeeded,
    /// Failed; see its error.
    Failed,
    /// The agent's list of cleaning steps is not the one that was agreed on; start cleaning again.
    VersionMismatch,
    /// A word that this version does not know.
    Other(String),
}

/// One command as the agent reports it.
#[derive(Debug, Clone)]
pub struct CommandState {
    /// The agent's id for it.
    pub id: CommandId,
    /// Its name without the extension: `execute_deploy_step`.
    pub name: String,
    /// How far it is.
    pub status: CommandStatus,
    /// What it returned; null until then.
    pub result: Value,
    /// Why it failed, in the agent's words.
    pub error: Option<String>,
}

/// Why an agent could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No connection, or one that is not with the agent that was pinned. Nothing is known: look later.
    #[error("could not reach the agent at {url}: {reason}")]
    Unreachable {
        /// Its callback URL.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// No answer in time. A command may or may not have started: list the commands.
    #[error("the agent at {url} did not answer in time")]
    Timeout {
        /// Its callback URL.
        url: String,
    },
    /// It runs another command (409): wait for that one.
    #[error("the agent at {url} is busy: {reason}")]
    Busy {
        /// Its callback URL.
        url: String,
        /// Its own words.
        reason: String,
    },
    /// It refused: unknown command, wrong parameters, wrong token.
    #[error("the agent at {url} refused: {reason}")]
    Rejected {
        /// Its callback URL.
        url: String,
        /// Its own words.
        reason: String,
    },
    /// It answered what cannot be understood.
    #[error("the agent at {url} answered what cannot be understood: {reason}")]
    Protocol {
        /// Its callback URL.
        url: String,
        /// What was wrong.
        reason: String,
    },
    /// The callback URL or the certificate cannot be used.
    #[error("the agent at {url} cannot be spoken to: {reason}")]
    Config {
        /// Its callback URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

/// Client of one agent.
pub struct AgentClient {
    url: String,
    token: Secret,
    http: Client,
}

impl AgentClient {
    /// Makes a client of the agent that called back from `callback_url`; connects lazily, from `netns`. `ca_pem` is
    /// the certificate it sent (`agent_verify_ca`): that very certificate, or one that it signed, is accepted and no other.
    /// An `https` URL without it is refused.
    ///
    /// # Errors
    /// `Config` if the URL or the certificate cannot be used.
    pub fn new(callback_url: &str, agent_token: Secret, ca_pem: Option<String>, netns: Netns) -> Result<AgentClient, AgentError> {
        let url = callback_url.trim_end_matches('/').to_owned();
        let config = |reason: String| AgentError::Config { url: url.clone(), reason };
        let tls = match (&ca_pem, url.starts_with("https://")) {
            (Some(pem), true) => Some(crate::tls::trusting(pem, None).map_err(config)?),
            (None, true) => return Err(config("it speaks https but sent no certificate".into())),
            (_, false) => None,
        };
        let http = Client { netns, tls, server_name: None, deadline: LIMIT };
        Ok(AgentClient { url, token: agent_token, http })
    }

    async fn call(&self, request: Request) -> Result<Value, AgentError> {
        let url = self.url.clone();
        let answer = self.http.send(request).await.map_err(|error| match error {
            HttpError::Timeout { .. } => AgentError::Timeout { url: url.clone() },
            HttpError::Malformed { why, .. } => AgentError::Config { url: url.clone(), reason: why },
            HttpError::Connect { source, .. } => AgentError::Unreachable { url: url.clone(), reason: source.to_string() },
            HttpError::Broken { why, .. } => AgentError::Unreachable { url: url.clone(), reason: why },
        })?;
        let reason = || answer.text().replace(self.token.reveal(), "******");
        match answer.status {
            200..=299 => answer.json().map_err(|error| AgentError::Protocol { url, reason: error.to_string() }),
            409 => Err(AgentError::Busy { url, reason: reason() }),
            500..=599 => Err(AgentError::Unreachable { url, reason: reason() }),
            _ => Err(AgentError::Rejected { url, reason: reason() }),
        }
    }

    /// Starts a command (`deploy.execute_deploy_step`) without waiting for its end. Of one that is quick the answer says already how it ended.
    ///
    /// # Errors
    /// After `Timeout` the command may run: list the commands before starting it again.
    pub fn start<'a>(&'a self, name: &'a str, params: Value) -> Fut<'a, Result<CommandState, AgentError>> {
        Box::pin(async move {
            let url = format!("{}/v1/commands/?wait=false&agent_token={}", self.url, self.token.reveal());
            let answer = self.call(Request::json(Method::POST, url, &json!({"name": name, "params": params}))).await?;
            state(&answer).ok_or_else(|| AgentError::Protocol { url: self.url.clone(), reason: "a command without an id".into() })
        })
    }

    /// Lists all commands that the agent remembers, oldest first.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn commands(&self) -> Fut<'_, Result<Vec<CommandState>, AgentError>> {
        Box::pin(async move {
            let url = format!("{}/v1/commands/?agent_token={}", self.url, self.token.reveal());
            let answer = self.call(Request::get(url)).await?;
            let list = answer.get("commands").and_then(Value::as_array);
            let list = list.ok_or_else(|| AgentError::Protocol { url: self.url.clone(), reason: "there is no list of commands".into() })?;
            Ok(list.iter().filter_map(state).collect())
        })
    }
}

fn state(it: &Value) -> Option<CommandState> {
    let text = |key: &str| it.get(key).and_then(Value::as_str);
    let error = it.get("command_error").filter(|error| !error.is_null());
    Some(CommandState {
        id: CommandId(text("id")?.to_owned()),
        name: text("command_name").unwrap_or_default().to_owned(),
        status: match text("command_status").unwrap_or_default() {
            "RUNNING" => CommandStatus::Running,
            "SUCCEEDED" => CommandStatus::Succeeded,
            "FAILED" => CommandStatus::Failed,
            "CLEAN_VERSION_MISMATCH" => CommandStatus::VersionMismatch,
            other => CommandStatus::Other(other.to_owned()),
        },
        result: it.get("command_result").cloned().unwrap_or_default(),
        error: error.map(|error| {
            let words: Vec<&str> = ["message", "details"].iter().filter_map(|key| error.get(key).and_then(Value::as_str)).collect();
            if words.is_empty() { error.to_string() } else { words.join(": ") }
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_ironic_python_agent_writes_them() {
        let failed = state(&json!({"id": "1", "command_name": "execute_deploy_step", "command_status": "FAILED", "command_result": null,
            "command_error": {"type": "ImageChecksumError", "code": 500, "message": "Image checksum", "details": "does not match"}}))
        .unwrap();
        assert_eq!(failed.status, CommandStatus::Failed);
        assert_eq!(failed.error.as_deref(), Some("Image checksum: does not match"));
        assert!(state(&json!({"command_status": "RUNNING"})).is_none());
    }

    #[test]
    fn https_needs_a_certificate() {
        let made = AgentClient::new("https://172.30.0.9:9999", Secret::new("t"), None, Netns::host());
        assert!(matches!(made, Err(AgentError::Config { .. })));
        assert!(AgentClient::new("http://172.30.0.9:9999/", Secret::new("t"), None, Netns::host()).is_ok());
    }
}
