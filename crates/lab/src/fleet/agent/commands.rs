//! The commands an agent was given: one runs at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::steps::Command;

/// How many are remembered; the real one remembers all.
const REMEMBERED: usize = 256;

/// Why a command failed, as ironic-python-agent writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) code: u16,
    pub(crate) message: &'static str,
    pub(crate) details: String,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, code: u16, message: &'static str, details: impl Into<String>) -> Self {
        Self { kind, code, message, details: details.into() }
    }

    pub(crate) fn not_found(what: &str, name: &str) -> Self {
        let details = format!("{what} with id {name} not found.");
        Self::new("RequestedObjectNotFoundError", 404, "Not found", details)
    }

    pub(crate) fn execution(details: impl Into<String>) -> Self {
        Self::new("CommandExecutionError", 500, "Command execution failed", details)
    }

    pub(crate) fn params(details: impl Into<String>) -> Self {
        Self::new("InvalidCommandParamsError", 400, "Invalid command parameters", details)
    }
}

/// A command on its way to whoever does it.
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) command: Command,
    pub(crate) params: Map<String, Value>,
}

struct Entry {
    id: String,
    name: &'static str,
    outcome: Option<Result<Value, Failure>>,
}

impl Entry {
    fn show(&self) -> Value {
        let (status, result, error) = match &self.outcome {
            None => ("RUNNING", &Value::Null, None),
            Some(Ok(result)) => ("SUCCEEDED", result, None),
            Some(Err(failure)) if failure.kind == "VersionMismatch" => ("CLEAN_VERSION_MISMATCH", &Value::Null, Some(failure)),
            Some(Err(failure)) => ("FAILED", &Value::Null, Some(failure)),
        };
        let error = error.map(|it| json!({"type": it.kind, "code": it.code, "message": it.message, "details": it.details}));
        json!({"id": self.id, "command_name": self.name, "command_status": status, "command_result": result, "command_error": error})
    }
}

/// All commands of an agent.
pub(crate) struct Commands {
    entries: Mutex<VecDeque<Entry>>,
    ended: watch::Sender<u64>,
}

impl Default for Commands {
    fn default() -> Self {
        Self { entries: Mutex::default(), ended: watch::Sender::new(0) }
    }
}

impl Commands {
    /// # Errors
    /// Another runs.
    pub(crate) fn begin(&self, id: &str, name: &'static str) -> Result<(), Failure> {
        let mut entries = self.lock();
        if let Some(running) = entries.iter().find(|it| it.outcome.is_none()) {
            return Err(Failure::new("AgentIsBusy", 409, "Agent is busy", format!("executing command {}", running.name)));
        }
        if entries.len() >= REMEMBERED {
            entries.pop_front();
        }
        entries.push_back(Entry { id: id.to_owned(), name, outcome: None });
        Ok(())
    }

    pub(crate) fn finish(&self, id: &str, outcome: Result<Value, Failure>) {
        if let Some(entry) = self.lock().iter_mut().find(|it| it.id == id) {
            entry.outcome = Some(outcome);
        }
        self.ended.send_modify(|it| *it += 1);
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        self.lock().iter().map(Entry::show).collect()
    }

    pub(crate) fn show(&self, id: &str) -> Option<Value> {
        self.lock().iter().find(|it| it.id == id).map(Entry::show)
    }

    /// Waits until it has ended, or so long.
    pub(crate) async fn wait(&self, id: &str, longest: Duration) {
        let mut ended = self.ended.subscribe();
        let done = ended.wait_for(|_| !self.lock().iter().any(|it| it.id == id && it.outcome.is_none()));
        if tokio::time::timeout(longest, done).await.is_err() {
            tracing::debug!(id, "the command still runs");
        }
    }

    /// Changes with each command that ends.
    pub(crate) fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// A panic while the lock is held leaves whole values behind here, so going on is right.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
