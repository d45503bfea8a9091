//! What the tests share. Everything that is started is ended by a guard, also when a test fails.

pub mod api;
pub mod chance;
pub mod database;
pub mod killer;
pub mod monitor;
pub mod ovs;
pub mod rack;
pub mod serve;
pub mod story;
pub mod supplies;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_cofferdam");

/// A line for whoever watches. Not `println!`: the runner would swallow it.
pub fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Calls `look` until it has an answer.
///
/// # Panics
/// It has none within `deadline`; the message has what it said last.
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + deadline;
    loop {
        match look() {
            Ok(found) => return found,
            Err(said) if Instant::now() > until => panic!("{what}: not within {deadline:?}: {said}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Runs a command that must succeed, and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = run_anyway(command);
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command.
pub fn run_anyway(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Whether a program is there.
pub fn has_program(name: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).is_file())
}

/// Runs a future to its end on this thread.
pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A port of the loopback address that nobody listens on, out of the range from which the kernel takes the near ends of connections: it
/// stays free also while the program that is to listen there is dead.
pub fn free_port(first: u16, range: u16) -> u16 {
    // No two of one process get the same, and processes that were started one after the other begin far from each other.
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let start = u16::try_from((std::process::id().wrapping_mul(61).wrapping_add(given)) % u32::from(range)).unwrap();
    (0..range)
        .map(|step| first + (start + step) % range)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// The last lines of a file, for messages.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// A process that was stopped by SIGSTOP; it goes on when this is dropped.
pub struct Frozen(nix::unistd::Pid);

impl Frozen {
    /// Stops it.
    pub fn new(pid: u32) -> Self {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGCONT) {
            say(&format!("{} cannot go on: {error}", self.0));
        }
    }
}
