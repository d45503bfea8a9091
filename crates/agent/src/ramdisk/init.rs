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
    /// The machine stays in the ramdisk, which is its tenant's now: no commands are taken any more.
    Rescue,
    /// The machine stays as it is, cut off from every network.
    Lockdown,
}

/// Whether this process is the first of its machine (or of its process namespace).
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Whether this is the first process of a whole machine, and not of a container or a simulated machine. Only then all disks that
/// can be seen are the machine's own.
pub fn is_machine() -> bool {
    // PROC_PID_INIT_INO of linux/proc_ns.h: the namespace that the kernel starts with.
    const FIRST_NAMESPACE: u64 = 0xefff_fffc;
    let namespace = std::fs::metadata("/proc/self/ns/pid");
    is_first() && namespace.is_ok_and(|it| std::os::unix::fs::MetadataExt::ino(&it) == FIRST_NAMESPACE)
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
    load_modules(Path::new("/modules"));
    if let Err(error) = super::kernel::set_up("lo") {
        tracing::warn!(%error, "could not bring up the loopback");
    }
}

/// Loads the kernel modules that the ramdisk brings, in the order of their names. Ramdisks without a kernel of their own bring none.
fn load_modules(folder: &Path) {
    let mut paths: Vec<_> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|it| it.path()).collect(),
        Err(_none) => return,
    };
    paths.sort();
    for path in paths {
        let loaded = std::fs::File::open(&path)
            .and_then(|file| nix::kmod::finit_module(&file, c"", nix::kmod::ModuleInitFlags::empty()).map_err(std::io::Error::from));
        match loaded {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EEXIST) => {}
            Err(error) => tracing::warn!(module = %path.display(), %error, "could not load"),
        }
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
        Ending::Rescue | Ending::Lockdown => return,
    };
    let Err(errno) = reboot(mode);
    tracing::warn!(%errno, ?ending, "the kernel refused; the process ends instead");
}
