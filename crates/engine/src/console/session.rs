//! One console that this process holds: the program that speaks with the BMC, what it said last, and who listens.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drivers::bmc::ConsoleCommand;
use drivers::console::{Console, release};
use model::Id;
use model::baremetal::Node;
use store::{Batch, Claim, Outcome, Store, StoreError};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::node;
use crate::runtime::{LEASE, Shared};

/// How much of what was said is kept for who comes later, in bytes.
const KEPT: usize = 64 << 10;
/// How much is read at once, in bytes, and how many such pieces a client may be behind.
const PIECE: usize = 4096;
const BEHIND: usize = 128;
/// How many pieces of input may wait for the program.
const WAITING: usize = 64;
/// Most clients of one console.
const CLIENTS: usize = 32;
/// How often the node is looked at: so long a console that was switched off goes on at most.
const LOOK: Duration = Duration::from_millis(500);
/// How long until the program is run again that ended: at first, and at most; it begins anew once the program ran for a while.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_LIMIT: Duration = Duration::from_secs(60);
const STEADY: Duration = Duration::from_secs(60);

struct Output {
    kept: VecDeque<u8>,
    /// None once the session ended: then nobody listens any more.
    listeners: Option<broadcast::Sender<Bytes>>,
}

/// What clients and the program of a console share.
pub(super) struct Session {
    /// The time of being switched on that this is for.
    pub(super) seq: u64,
    output: Mutex<Output>,
    input: mpsc::Sender<Bytes>,
    clients: AtomicUsize,
}

/// A client of a session.
pub(super) struct Client {
    session: Arc<Session>,
    /// What was said before it came.
    pub(super) before: Vec<u8>,
    /// What is said; closed once the session ended, and lagging once it is too far behind.
    pub(super) output: broadcast::Receiver<Bytes>,
}

impl Client {
    /// Passes input on; waits while the program does not take it.
    ///
    /// # Errors
    /// The session ended.
    pub(super) async fn type_in(&self, data: Bytes) -> Result<(), mpsc::error::SendError<Bytes>> {
        self.session.input.send(data).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.session.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    pub(super) fn new(seq: u64) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (input, typed) = mpsc::channel(WAITING);
        let output = Output { kept: VecDeque::new(), listeners: Some(broadcast::channel(BEHIND).0) };
        (Arc::new(Self { seq, output: Mutex::new(output), input, clients: AtomicUsize::new(0) }), typed)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Output) -> T) -> T {
        // What is done in here leaves nothing half done.
        act(&mut self.output.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client more; none if there are too many or the session ended.
    pub(super) fn join(self: &Arc<Self>) -> Option<Client> {
        let room = |n: usize| (n < CLIENTS).then_some(n + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let joined = self.with(|it| {
            let output = it.listeners.as_ref()?.subscribe();
            Some((it.kept.iter().copied().collect(), output))
        });
        match joined {
            Some((before, output)) => Some(Client { session: Arc::clone(self), before, output }),
            None => {
                self.clients.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn say(&self, data: &[u8]) {
        self.with(|it| {
            it.kept.extend(data);
            let over = it.kept.len().saturating_sub(KEPT);
            it.kept.drain(..over);
            if let Some(listeners) = &it.listeners {
                // That nobody listens is no failure.
                listeners.send(Bytes::copy_from_slice(data)).unwrap_or(0);
            }
        });
    }

    /// Cuts all clients off.
    fn end(&self) {
        self.with(|it| it.listeners = None);
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The lease was lost: another process has the console.
    Lost,
    /// The process ends.
    Closing,
    /// The console is not wanted any more, or was switched off and on: another address holds.
    Unwanted,
}

/// Leaves the list of sessions, also if the task panics.
struct Listed {
    shared: Arc<Shared>,
    session: Arc<Session>,
    node: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.session.end();
        self.shared.consoles.with(|open| drop(open.remove(&self.node)));
    }
}

/// Holds a console until it is not wanted any more, the lease is lost, or the process ends.
pub(super) async fn hold(
    shared: Arc<Shared>,
    claim: Claim,
    session: Arc<Session>,
    mut input: mpsc::Receiver<Bytes>,
    mut command: ConsoleCommand,
) {
    let listed = Listed { shared: Arc::clone(&shared), session: Arc::clone(&session), node: claim.id.clone() };
    let program = shared.config.console.ipmitool.as_os_str();
    tracing::info!(node.id = claim.id, "the console is on");
    let mut renewed = Instant::now();
    let end = loop {
        let changed = tokio::select! {
            changed = attend(&shared, &claim, session.seq, &command, &mut renewed) => changed,
            () = supervise(&session, &claim.id, program, &command, &mut input) => continue,
        };
        match changed {
            Ok(other) => command = other,
            Err(end) => break end,
        }
    };
    session.end();
    tracing::info!(node.id = claim.id, why = ?end, "the console is off");
    if end != End::Lost {
        release(program, &command).await;
    }
    // Whoever is let in from now on finds the next session; only the end of the process waits until the lease is given back.
    let _listed = (end == End::Closing).then_some(listed);
    let outcome = match end {
        End::Lost => return,
        End::Closing => Outcome::Again(Duration::ZERO),
        End::Unwanted => {
            if let Err(error) = forget(&shared.store, &claim).await {
                tracing::warn!(%error, node.id = claim.id, "that a console is off could not be written; looking again");
            }
            // Whether that was all is for the next look to say.
            Outcome::Again(Duration::ZERO)
        }
    };
    if let Err(error) = shared.store.finish(&claim, outcome).await {
        tracing::debug!(%error, node.id = claim.id, "could not give the lease of a console back");
    }
}

/// Keeps the lease and looks at what is wanted; returns when the program must be run in another way, or why the session must end.
async fn attend(shared: &Shared, claim: &Claim, seq: u64, command: &ConsoleCommand, renewed: &mut Instant) -> Result<ConsoleCommand, End> {
    let mut closing: watch::Receiver<bool> = shared.consoles.closing.subscribe();
    let Some(id) = Id::<Node>::parse(&claim.id) else { return Err(End::Unwanted) };
    loop {
        if renewed.elapsed() >= LEASE / 3 {
            match tokio::time::timeout(LEASE / 3, shared.store.renew(claim, LEASE)).await {
                Ok(Ok(())) => *renewed = Instant::now(),
                Ok(Err(StoreError::LeaseLost { .. })) => return Err(End::Lost),
                Ok(Err(error)) => tracing::warn!(%error, node.id = claim.id, "could not keep the lease of a console"),
                Err(_) => tracing::warn!(node.id = claim.id, "could not keep the lease of a console in time"),
            }
        }
        if renewed.elapsed() >= LEASE {
            return Err(End::Lost);
        }
        match tokio::time::timeout(LEASE / 3, shared.store.get(&id)).await {
            Ok(Ok(Some(node))) if super::is_wanted(&node) && node.desired.console_seq == seq => {
                // What cannot be used is left as it is until it can: the console goes on with what was said before.
                if let Ok(now) = drivers::bmc::serial_console(&node::hardware(&node, &node.desired))
                    && now != *command
                {
                    return Ok(now);
                }
            }
            Ok(Ok(_)) => return Err(End::Unwanted),
            Ok(Err(error)) => tracing::warn!(%error, node.id = claim.id, "could not look whether a console is wanted"),
            Err(_) => tracing::warn!(node.id = claim.id, "could not look in time whether a console is wanted"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = closing.wait_for(|closing| *closing) => return Err(End::Closing),
        }
    }
}

/// Takes its address away from a node.
async fn forget(store: &Store, claim: &Claim) -> Result<(), StoreError> {
    let Some(id) = Id::<Node>::parse(&claim.id) else { return Ok(()) };
    loop {
        let Some(mut node) = store.get(&id).await? else { return Ok(()) };
        if node.observed.console.take().is_none() {
            return Ok(());
        }
        match store.apply(Batch::facts(claim).observe(&node)).await {
            // Each time somebody else was done with it.
            Err(StoreError::Stale { .. }) => {}
            other => return other,
        }
    }
}

/// Runs the program again and again, ever more seldom while it ends at once.
async fn supervise(session: &Session, node: &str, program: &OsStr, command: &ConsoleCommand, input: &mut mpsc::Receiver<Bytes>) {
    let mut pause = PAUSE;
    loop {
        release(program, command).await;
        // What was typed at a program that is no more is not for this one.
        while input.try_recv().is_ok() {}
        let began = Instant::now();
        let why = match Console::open(program, command) {
            Ok(console) => talk(session, console, input).await,
            Err(error) => error.to_string(),
        };
        if began.elapsed() >= STEADY {
            pause = PAUSE;
        }
        let seconds = pause.as_secs();
        tracing::warn!(node.id = node, why, again_s = seconds, "the program of a console ended");
        session.say(format!("\r\n[the console ended ({why}); again in {seconds} s]\r\n").as_bytes());
        let until = tokio::time::sleep(pause);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                typed = input.recv() => if typed.is_none() { return },
            }
        }
        pause = (pause * 2).min(PAUSE_LIMIT);
    }
}

/// Takes out what `ipmitool` would stop itself for, with nobody to wake it: Ctrl-X and Ctrl-Z after `~`. `last`: what was typed before.
fn harmless(last: &mut u8, typed: Bytes) -> Bytes {
    let mut is_stop = |byte: u8| {
        let is_stop = *last == b'~' && matches!(byte, 0x18 | 0x1a);
        *last = if is_stop { *last } else { byte };
        is_stop
    };
    let stops: Vec<bool> = typed.iter().map(|byte| is_stop(*byte)).collect();
    if !stops.contains(&true) {
        return typed;
    }
    typed.iter().zip(stops).filter(|(_, is_stop)| !is_stop).map(|(byte, _)| *byte).collect()
}

/// Passes bytes on both ways until the program ends; how it ended.
async fn talk(session: &Session, console: Console, input: &mut mpsc::Receiver<Bytes>) -> String {
    let mut buffer = vec![0; PIECE];
    let (mut typed, mut last) = (Bytes::new(), 0);
    loop {
        tokio::select! {
            read = console.read(&mut buffer) => match read {
                Ok(0) => return console.ended().await,
                Ok(n) => session.say(buffer.get(..n).unwrap_or_default()),
                Err(error) => return error.to_string(),
            },
            written = console.write(&typed), if !typed.is_empty() => match written {
                Ok(n) => typed = typed.slice(n.min(typed.len())..),
                Err(error) => return error.to_string(),
            },
            more = input.recv(), if typed.is_empty() => match more {
                Some(more) => typed = harmless(&mut last, more),
                None => return "nobody can reach it any more".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_stops_the_program() {
        let mut last = 0;
        assert_eq!(harmless(&mut last, Bytes::from_static(b"\r~\x1a\x1a\x18B~")), "\r~B~");
        assert_eq!(harmless(&mut last, Bytes::from_static(b"\x1a.\x1a")), ".\x1a");
    }

    #[tokio::test]
    async fn what_was_said_is_bounded_and_the_slow_are_told() {
        let (session, _input) = Session::new(1);
        let mut slow = session.join().unwrap();
        for n in 0..200u8 {
            session.say(&[n; 1000]);
        }
        let late = session.join().unwrap();
        assert_eq!((late.before.len(), late.before.last()), (KEPT, Some(&199)));
        assert!(matches!(slow.output.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
        let more: Vec<Client> = std::iter::from_fn(|| session.join()).collect();
        assert_eq!(more.len(), CLIENTS - 2);
        drop(more);
        assert!(session.join().is_some());
        session.end();
        assert!(session.join().is_none());
        let mut late = late;
        assert!(matches!(late.output.recv().await, Err(broadcast::error::RecvError::Closed)));
    }
}
