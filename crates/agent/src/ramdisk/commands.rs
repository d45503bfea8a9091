//! The commands this agent was given: one runs at a time, the last twenty are remembered.
//!
//! The control plane may die between sending a command and reading its result; it finds the result here when it comes back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::failure::Failure;

/// How many commands are remembered.
pub const REMEMBERED: usize = 20;

/// How far a running command is. Written by the thread that works, read by whoever asks.
#[derive(Debug, Default)]
pub struct Progress {
    phase: Mutex<&'static str>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Begins a phase of `total` bytes (0 = unknown).
    pub fn begin(&self, phase: &'static str, total: u64) {
        *lock(&self.phase) = phase;
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        tracing::info!(phase, total_bytes = total, "phase began");
    }

    /// Sets the number of bytes done in this phase.
    pub fn set(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    /// Sets the total of this phase once it is known, in bytes.
    pub fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn json(&self) -> Value {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        json!({ "phase": *lock(&self.phase), "bytes_written": done, "total": (total > 0).then_some(total) })
    }
}

#[derive(Debug)]
enum Status {
    Running,
    Done(Value),
    Failed(Failure),
}

#[derive(Debug)]
struct Entry {
    id: String,
    name: String,
    status: Status,
    progress: Arc<Progress>,
}

impl Entry {
    fn json(&self) -> Value {
        let (status, error, result) = match &self.status {
            Status::Running => ("RUNNING", None, None),
            Status::Done(result) => ("SUCCEEDED", None, Some(result)),
            Status::Failed(failure) if failure.kind == "VersionMismatch" => ("CLEAN_VERSION_MISMATCH", Some(failure), None),
            Status::Failed(failure) => ("FAILED", Some(failure), None),
        };
        // The parameters are left out, as in later versions of ironic-python-agent: they hold the config drive.
        json!({
            "id": self.id,
            "command_name": self.name,
            "command_status": status,
            "command_error": error,
            "command_result": result,
            "progress": self.progress.json(),
        })
    }
}

/// All commands.
#[derive(Clone)]
pub struct Commands {
    entries: Arc<Mutex<VecDeque<Entry>>>,
    finished: watch::Sender<u64>,
}

impl Default for Commands {
    fn default() -> Self {
        Self { entries: Arc::default(), finished: watch::Sender::new(0) }
    }
}

impl Commands {
    /// Registers a command as running.
    ///
    /// # Errors
    /// [`Failure::busy`] while another runs.
    pub fn begin(&self, name: &str) -> Result<Ticket, Failure> {
        let mut entries = lock(&self.entries);
        if let Some(running) = entries.iter().find(|entry| matches!(entry.status, Status::Running)) {
            return Err(Failure::busy(&running.name));
        }
        while entries.len() >= REMEMBERED {
            entries.pop_front();
        }
        let id = uuid::Uuid::new_v4().to_string();
        let progress = Arc::<Progress>::default();
        entries.push_back(Entry { id: id.clone(), name: name.to_owned(), status: Status::Running, progress: Arc::clone(&progress) });
        Ok(Ticket { commands: self.clone(), id, progress, finished: false })
    }

    /// All remembered commands, oldest first, as the protocol shows them.
    pub fn list(&self) -> Vec<Value> {
        lock(&self.entries).iter().map(Entry::json).collect()
    }

    /// One command.
    pub fn get(&self, id: &str) -> Option<Value> {
        lock(&self.entries).iter().find(|entry| entry.id == id).map(Entry::json)
    }

    /// One command when it no longer runs, or as it is after `deadline`.
    pub async fn wait(&self, id: &str, deadline: Duration) -> Option<Value> {
        let mut finished = self.finished.subscribe();
        let running = |entries: &VecDeque<Entry>| entries.iter().any(|entry| entry.id == id && matches!(entry.status, Status::Running));
        let done = finished.wait_for(|_| !running(&lock(&self.entries)));
        if tokio::time::timeout(deadline, done).await.is_err() {
            tracing::debug!(command = id, "still runs after the longest wait");
        }
        self.get(id)
    }

    /// How many commands have ended; changes wake its receivers.
    pub fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    fn finish(&self, id: &str, outcome: Result<Value, Failure>) {
        if let Some(entry) = lock(&self.entries).iter_mut().find(|entry| entry.id == id) {
            match &outcome {
                Ok(_) => tracing::info!(command = entry.name, id, "command succeeded"),
                Err(failure) => tracing::error!(command = entry.name, id, error = %failure, "command failed"),
            }
            entry.status = outcome.map_or_else(Status::Failed, Status::Done);
        }
        self.finished.send_modify(|count| *count += 1);
    }
}

/// The right, and the duty, to say how a command ended. Dropped without that (the task panicked), the command has failed.
pub struct Ticket {
    commands: Commands,
    /// Id of the command.
    pub id: String,
    /// Its progress.
    pub progress: Arc<Progress>,
    finished: bool,
}

impl Ticket {
    /// Records the outcome.
    pub fn finish(mut self, outcome: Result<Value, Failure>) {
        self.finished = true;
        self.commands.finish(&self.id, outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            self.commands.finish(&self.id, Err(Failure::execution("the command broke off inside the agent")));
        }
    }
}

/// A panic while a lock is held leaves whole values behind here, so going on is right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_at_a_time() {
        let commands = Commands::default();
        let first = commands.begin("execute_deploy_step").unwrap();
        let refused = commands.begin("execute_deploy_step").err().unwrap();
        assert_eq!((refused.kind, refused.code), ("AgentIsBusy", 409));
        assert_eq!(refused.to_string(), "Agent is busy: executing command execute_deploy_step");
        first.finish(Ok(json!({"deploy_result": 1})));
        assert!(commands.begin("execute_deploy_step").is_ok(), "the same again after it ended");
    }

    #[test]
    fn a_result_has_the_fields_of_the_protocol() {
        let commands = Commands::default();
        let ticket = commands.begin("execute_clean_step").unwrap();
        let id = ticket.id.clone();
        ticket.progress.begin("erase", 10);
        ticket.progress.set(4);
        let shown = commands.get(&id).unwrap();
        assert_eq!(shown["command_status"], "RUNNING");
        assert_eq!(shown["progress"], json!({"phase": "erase", "bytes_written": 4, "total": 10}));
        ticket.finish(Err(Failure::erase("a sector")));
        let shown = commands.get(&id).unwrap();
        assert_eq!(shown["command_name"], "execute_clean_step");
        assert_eq!(shown["command_status"], "FAILED");
        assert_eq!(shown["command_result"], Value::Null);
        assert_eq!(
            shown["command_error"],
            json!({"type": "BlockDeviceEraseError", "code": 500, "message": "Error erasing block device", "details": "a sector"})
        );
    }

    #[test]
    fn the_last_twenty_are_remembered() {
        let commands = Commands::default();
        for number in 0..25 {
            commands.begin("sync").unwrap().finish(Ok(json!(number)));
        }
        let list = commands.list();
        assert_eq!(list.len(), REMEMBERED);
        assert_eq!((&list[0]["command_result"], &list[19]["command_result"]), (&json!(5), &json!(24)));
    }

    #[test]
    fn a_command_that_broke_off_has_failed() {
        let commands = Commands::default();
        drop(commands.begin("sync").unwrap());
        assert_eq!(commands.list()[0]["command_status"], "FAILED");
        assert!(commands.begin("sync").is_ok());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_command_or_the_deadline() {
        let commands = Commands::default();
        let ticket = commands.begin("sync").unwrap();
        let id = ticket.id.clone();
        let shown = commands.wait(&id, Duration::from_millis(50)).await.unwrap();
        assert_eq!(shown["command_status"], "RUNNING");
        let waiter = tokio::spawn({
            let (commands, id) = (commands.clone(), id.clone());
            async move { commands.wait(&id, Duration::from_secs(20)).await }
        });
        tokio::task::yield_now().await;
        ticket.finish(Ok(Value::Null));
        assert_eq!(waiter.await.unwrap().unwrap()["command_status"], "SUCCEEDED");
        assert!(commands.wait("nothing", Duration::from_secs(20)).await.is_none());
    }
}
