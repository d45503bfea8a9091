//! Being process 1 of the ramdisk: file systems the rest relies on, orphans to reap, and ending the machine.
//!
//! Everything here is best effort: a ramdisk that gives up cannot be asked what happened.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// How the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The machine switches itself off.
    PowerOff,
    /// The machine boots again.
    Reboot,
}

/// Whether this process is the first of its machine (or of its process namespace).
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Mounts what is missing of /proc, /sys and /dev and brings up the loopback.
pub fn prepare() {
    for (target, kind, witness) in [("/proc", "proc", "/proc/self"), ("/sys", "sysfs", "/sys/class"), ("/dev", "devtmpfs", "/dev/null")] {
        if Path::new(witness).exists() {
            continue;
        }
        let flags = if target == "/dev" { MsFlags::MS_NOSUID } else { MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC };
        let mounted = std::fs::create_dir_all(target)
            .and_then(|()| mount(Some(kind), target, Some(kind), flags, None::<&str>).map_err(std::io::Error::from));
        if let Err(error) = mounted {
            tracing::warn!(target, %error, "could not mount");
        }
    }
    if let Err(error) = super::kernel::set_up("lo") {
        tracing::warn!(%error, "could not bring up the loopback");
    }
}

/// Collects the exit status of every orphan, for ever; only process 1 may.
pub async fn reap() {
    let mut children = match signal(SignalKind::child()) {
        Ok(children) => children,
        Err(error) => {
            tracing::warn!(%error, "orphans will not be collected");
            return std::future::pending().await;
        }
    };
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    tracing::debug!(%errno, "could not collect an orphan");
                    break;
                }
            }
        }
        if children.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

/// Waits for a request to end from outside (SIGTERM, or SIGPWR as a power button gives).
pub async fn asked_to_end() {
    let power = signal(SignalKind::from_raw(nix::libc::SIGPWR));
    let (Ok(mut terminate), Ok(mut power)) = (signal(SignalKind::terminate()), power) else {
        tracing::warn!("requests to end will not be heard");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = power.recv() => {}
    }
}

/// Ends the machine. In a process namespace the kernel ends all its processes and tells the parent of process 1 how: killed by
/// SIGINT for power off, by SIGHUP for reboot (reboot(2)). Returns only when the kernel refuses.
pub fn end(ending: Ending) {
    nix::unistd::sync();
    let mode = match ending {
        Ending::PowerOff => RebootMode::RB_POWER_OFF,
        Ending::Reboot => RebootMode::RB_AUTOBOOT,
    };
    let Err(errno) = reboot(mode);
    tracing::warn!(%errno, ?ending, "the kernel refused; the process ends instead");
}
