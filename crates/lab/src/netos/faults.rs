//! What can go wrong with a switch, set while it runs by a test or over the control socket.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How a switch goes on after a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// It answers with an error; further lines of the session are refused too.
    Refuse,
    /// That session gets no answer any more.
    Hang,
    /// The connection breaks.
    Drop,
}

/// Only the first of something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// How many configuration lines (of sessions) or changed things (of a commit) are taken.
    pub lines: usize,
    /// What happens then.
    pub then: Then,
}

/// Lines that are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A line with this text in it.
    pub contains: String,
    /// How many more times; absent: always.
    #[serde(default)]
    pub times: Option<u32>,
}

/// All faults of a switch. The default is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a commit takes; on switches whose lines take effect one by one the save takes so much longer.
    pub commit_ms: u64,
    /// How long a save takes.
    pub save_ms: u64,
    /// How long each line takes.
    pub line_ms: u64,
    /// Lines that are refused in the words of the operating system, whatever they say.
    pub refuse: Vec<Refusal>,
    /// Nobody gets any answer, on sessions that are there and on new connections, until this is unset.
    pub hang: bool,
    /// New connections are closed at once.
    pub refuse_connections: bool,
    /// Only the first configuration lines from now on take effect; strikes one session.
    pub partial_session: Option<Partial>,
    /// Only the first things of the next commit take effect (candidate switches); strikes once.
    pub partial_commit: Option<Partial>,
}

/// What a switch was asked for since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Successful log-ins.
    pub logins: u64,
    /// Lines received, empty ones excepted (SSH), or requests (NETCONF, gNMI).
    pub lines: u64,
    /// Commits; where lines take effect one by one: visits to configuration mode that changed something.
    pub commits: u64,
    /// Saves.
    pub saves: u64,
}

/// What is to be done with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Go,
    /// It is answered as one that the switch does not take.
    Refuse,
    /// A part was done: from here on so.
    Broken(Then),
}

#[derive(Default)]
struct Inner {
    settings: Settings,
    counts: Counts,
}

/// The faults of one switch, and what it was asked for.
pub struct Faults {
    inner: Mutex<Inner>,
    hang: watch::Sender<bool>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { inner: Mutex::default(), hang: watch::channel(false).0 }
    }
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults as they are set.
    pub fn settings(&self) -> Settings {
        self.inner().settings.clone()
    }

    /// Sets all faults.
    pub fn set(&self, settings: Settings) {
        let hang = settings.hang;
        self.inner().settings = settings;
        self.hang.send_replace(hang);
    }

    /// Changes some faults.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings();
        change(&mut settings);
        self.set(settings);
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.set(Settings::default());
    }

    /// What the switch was asked for so far.
    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// Returns when the switch does not hang. A session calls it before it carries out anything and before it answers.
    pub async fn pass(&self) {
        let mut hang = self.hang.subscribe();
        // Fails only if the sender is gone, which is ours.
        let _gone = hang.wait_for(|it| !*it).await;
    }

    /// Whether new connections are closed.
    pub fn refuses_connections(&self) -> bool {
        self.inner().settings.refuse_connections
    }

    /// How long a commit takes.
    pub fn commit_delay(&self) -> Duration {
        Duration::from_millis(self.inner().settings.commit_ms)
    }

    /// How long a save takes.
    pub fn save_delay(&self) -> Duration {
        Duration::from_millis(self.inner().settings.save_ms)
    }

    /// How long each line takes.
    pub fn line_delay(&self) -> Duration {
        Duration::from_millis(self.inner().settings.line_ms)
    }

    /// Counts a line (or request) and tells what is to be done with it.
    pub fn line(&self, line: &str, configuring: bool) -> Verdict {
        let mut inner = self.inner();
        inner.counts.lines += 1;
        let settings = &mut inner.settings;
        if let Some(nth) = settings.refuse.iter().position(|it| line.contains(&it.contains) && it.times != Some(0)) {
            if let Some(times) = settings.refuse.get_mut(nth).and_then(|it| it.times.as_mut()) {
                *times -= 1;
            }
            return Verdict::Refuse;
        }
        if configuring && let Some(partial) = &mut settings.partial_session {
            if partial.lines == 0 {
                let then = partial.then;
                settings.partial_session = None;
                return Verdict::Broken(then);
            }
            partial.lines -= 1;
        }
        Verdict::Go
    }

    pub(super) fn take_partial_commit(&self) -> Option<Partial> {
        self.inner().settings.partial_commit.take()
    }

    /// Counts an accepted connection.
    pub fn count_connection(&self) {
        self.inner().counts.connections += 1;
    }

    /// Counts a log-in.
    pub fn count_login(&self) {
        self.inner().counts.logins += 1;
    }

    /// Counts a commit ([`Device::commit`](super::device::Device::commit) does).
    pub fn count_commit(&self) {
        self.inner().counts.commits += 1;
    }

    /// Counts a save ([`Device::save`](super::device::Device::save) does).
    pub fn count_save(&self) {
        self.inner().counts.saves += 1;
    }
}
