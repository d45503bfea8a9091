//! Finding and ending processes by what they are in, not by what they are called.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;

/// How long killed processes may take to be gone; a large one that is writing to disk takes a second or two.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Processes whose network namespace is one of those named.
pub(crate) fn in_namespaces(names: &[String]) -> BTreeSet<i32> {
    let wanted: BTreeSet<(u64, u64)> =
        names.iter().filter_map(|name| fs::metadata(format!("/run/netns/{name}")).ok()).map(|file| (file.dev(), file.ino())).collect();
    if wanted.is_empty() {
        return BTreeSet::new();
    }
    all().filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|file| wanted.contains(&(file.dev(), file.ino())))).collect()
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Kills every process in the namespaces and control groups, and what it starts meanwhile, until none is left. Zombies count as gone.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if some are still there after [`DEADLINE`].
pub(crate) async fn kill_all(namespaces: &[String], groups: &[PathBuf]) -> io::Result<()> {
    let until = Instant::now() + DEADLINE;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut pause = Duration::from_millis(2);
    loop {
        let mut found = in_namespaces(namespaces);
        found.extend(groups.iter().flat_map(|group| cgroup::processes(group)));
        found.retain(|pid| *pid != own && *pid > 1 && !is_zombie(*pid));
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes {found:?} do not end")));
        }
        for pid in found {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(error) => tracing::warn!(pid, %error, "cannot kill"),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn is_zombie(pid: i32) -> bool {
    // proc(5): the state follows the parenthesised name, which may itself contain parentheses.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['Z', 'X'])))
        .unwrap_or(true)
}
