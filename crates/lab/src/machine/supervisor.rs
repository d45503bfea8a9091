//! The process outside a machine of namespaces that makes them, starts the machine's first process in them, writes down what its
//! console says, and ends with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::Boot;
use crate::kernel::cgroup;
use crate::rack::{self, Rack};

/// Exit status that asks for a restart (75: EX_TEMPFAIL of sysexits(3), "try again").
pub(crate) const EXIT_RESTART: u8 = 75;
/// Size at which the console's log starts anew, in bytes.
const MAX_LOG: u64 = 16 << 20;

/// Which machine of which rack, as the hidden command line says it.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// The rack's directory.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The machine's name.
    #[arg(long)]
    pub(crate) machine: String,
    /// Where to boot from.
    #[arg(long, value_enum)]
    pub(crate) boot: Boot,
    /// Be the machine's firmware (its first process) rather than the supervisor.
    #[arg(long)]
    pub(crate) firmware: bool,
    /// Terminal that is the machine's console.
    #[arg(long, requires = "firmware")]
    pub(crate) console: Option<PathBuf>,
}

impl Which {
    /// Reads the machine's description.
    pub(crate) fn load(&self) -> anyhow::Result<(Rack, rack::Machine)> {
        let rack = Rack::load(&self.dir)?;
        let machine = rack.machine(&self.machine).with_context(|| format!("no machine {} in this rack", self.machine))?.clone();
        Ok((rack, machine))
    }
}

/// Runs a machine until it ends; returns the status to exit with. Must be called in a process of one thread.
pub(crate) fn run(which: &Which) -> anyhow::Result<u8> {
    let (rack, machine) = which.load()?;
    let groups = cgroup::of_machine(&rack.name, &machine.name)?;
    groups.enter().context("entering the machine's control groups")?;
    let netns = File::open(Path::new("/run/netns").join(&machine.netns)).context("opening the machine's network namespace")?;
    let (console, path) = console()?;
    // The pen must be taken up before the process namespace changes: afterwards this process can start no more threads.
    // And the file be kept: once the firmware has changed the root, this process sees the machine's file system too.
    let log = OpenOptions::new().append(true).open(&machine.console)?;
    let mut last_words = log.try_clone()?;
    let (done, written) = std::sync::mpsc::channel();
    let reader = File::from(console.0);
    std::thread::Builder::new().name("console".into()).spawn(move || {
        copy(reader, log);
        done.send(())
    })?;

    setns(&netns, CloneFlags::CLONE_NEWNET)?;
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(kinds).context("making the machine's namespaces")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    groups.yield_root().context("handing on the control group controllers")?;

    let slave = console.1;
    let mut child = Command::new("/proc/self/exe")
        .args(["lab", "machine", "--firmware", "--machine", &machine.name, "--boot", if which.boot == Boot::Pxe { "pxe" } else { "disk" }])
        .arg("--dir")
        .arg(&which.dir)
        .arg("--console")
        .arg(&path)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TERM", "linux")
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave))
        .current_dir("/")
        .spawn()
        .context("starting the firmware")?;
    let status = child.wait()?;
    // The log's end: the terminal hangs up when the last process of the machine is gone, which is about now.
    if written.recv_timeout(Duration::from_secs(1)).is_err() {
        tracing::debug!("the console is still open");
    }
    let (code, said) = verdict(status);
    writeln!(last_words, "{said}")?;
    Ok(code)
}

/// What the end of process 1 means. Inside a process namespace reboot(2) ends it with SIGHUP for a restart and SIGINT for halt and
/// power-off; a plain end of init, a panic on a real machine, is a power-off here.
fn verdict(status: ExitStatus) -> (u8, String) {
    match (status.code(), status.signal()) {
        (_, Some(signal)) if signal == Signal::SIGHUP as i32 => (EXIT_RESTART, "reboot: Restarting system".into()),
        (_, Some(signal)) if signal == Signal::SIGINT as i32 => (0, "reboot: Power down".into()),
        (_, Some(signal)) => (0, format!("power cut (signal {signal})")),
        (Some(0), _) => (0, "init ended: Power down".into()),
        (code, None) => (0, format!("init ended with status {}: Power down", code.unwrap_or(-1))),
    }
}

/// A raw pseudo-terminal: both ends and the path of the one for the machine.
fn console() -> anyhow::Result<((OwnedFd, OwnedFd), String)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).context("opening a terminal for the console")?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = ptsname_r(&master)?;
    let slave = open(path.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut settings = tcgetattr(slave.as_fd())?;
    cfmakeraw(&mut settings);
    tcsetattr(slave.as_fd(), SetArg::TCSANOW, &settings)?;
    Ok(((OwnedFd::from(File::from(owned(master)?)), slave), path))
}

fn owned(master: nix::pty::PtyMaster) -> io::Result<OwnedFd> {
    master.as_fd().try_clone_to_owned()
}

fn copy(mut console: File, mut log: File) {
    let mut buffer = [0_u8; 4096];
    let mut flushed = Instant::now();
    // EIO: nobody has the terminal open any more.
    while let Ok(read @ 1..) = console.read(&mut buffer) {
        if log.write_all(buffer.get(..read).unwrap_or_default()).is_err() {
            // A full disk must not stop the machine.
            std::thread::sleep(Duration::from_millis(100));
        }
        if flushed.elapsed() > Duration::from_secs(1) {
            flushed = Instant::now();
            if log.metadata().is_ok_and(|it| it.len() > MAX_LOG) && log.set_len(0).is_err() {
                return;
            }
        }
    }
}

/// Removes what an earlier life of the machine left in its directory and makes what the next needs: the disk file keeps its content.
pub(crate) fn prepare_files(machine: &rack::Machine) -> io::Result<()> {
    if let Some(dir) = machine.disk.parent() {
        fs::create_dir_all(dir.join("root"))?;
    }
    let disk = OpenOptions::new().create(true).truncate(false).write(true).open(&machine.disk)?;
    disk.set_len(machine.disk_gb << 30)?;
    OpenOptions::new().create(true).append(true).open(&machine.console)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_process_1_has_a_meaning() {
        assert_eq!(verdict(ExitStatus::from_raw(Signal::SIGHUP as i32)).0, EXIT_RESTART);
        assert_eq!(verdict(ExitStatus::from_raw(Signal::SIGINT as i32)).0, 0);
        assert_eq!(verdict(ExitStatus::from_raw(Signal::SIGKILL as i32)).0, 0);
        assert_eq!(verdict(ExitStatus::from_raw(7 << 8)).1, "init ended with status 7: Power down");
    }
}
