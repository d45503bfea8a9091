//! A machine's serial console: a program on a terminal of its own. The terminal passes bytes on as they are; the program speaks with the
//! BMC. It ends with its [`Console`], also if this process ends: its terminal is gone then.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use crate::bmc::ConsoleCommand;

/// How long the program may take to end a session that somebody left open at the BMC.
const RELEASE_LIMIT: Duration = Duration::from_secs(15);
/// How long a program that let go of its terminal may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A console that is open.
pub struct Console {
    terminal: AsyncFd<PtyMaster>,
    child: Child,
}

fn command(program: &OsStr, args: &[String], it: &ConsoleCommand) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
        .env("LC_ALL", "C")
        .envs(it.env.iter().map(|(name, value)| (name, value)))
        // What is typed at the terminal of this process is not for it.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Ends whatever session the BMC has. That there was none is fine, and so is a BMC that does not answer: opening will tell.
pub async fn release(program: &OsStr, it: &ConsoleCommand) {
    let mut command = command(program, &it.release, it);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        // Its end does not tell whether there was one.
        drop(tokio::time::timeout(RELEASE_LIMIT, child.wait()).await);
    }
}

/// Registers a terminal with the runtime.
#[expect(unsafe_code, reason = "the registration relies on a promise about the descriptor")]
fn watch(master: PtyMaster) -> std::io::Result<AsyncFd<PtyMaster>> {
    // SAFETY: a PtyMaster owns an open descriptor, is moved into the registration, and nobody closes or replaces it there.
    Ok(unsafe { AsyncFd::register(master) }?)
}

impl Console {
    /// Starts the program. `program`: where it is, if not where its own name is found.
    ///
    /// # Errors
    /// There is no terminal left, or the program cannot be run.
    pub fn open(program: &OsStr, it: &ConsoleCommand) -> std::io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname_r(&master)?;
        let inner = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name)?;
        // Until the program sets it up itself: nothing is echoed, nothing translated.
        let mut mode = tcgetattr(&inner)?;
        cfmakeraw(&mut mode);
        tcsetattr(&inner, SetArg::TCSANOW, &mode)?;
        let mut command = command(program, &it.args, it);
        command.stdin(Stdio::from(inner.try_clone()?)).stdout(Stdio::from(inner.try_clone()?)).stderr(Stdio::from(inner));
        let child = command.spawn()?;
        Ok(Self { terminal: watch(master)?, child })
    }

    /// What the machine says, as soon as it says something; 0 once the program let go of the terminal.
    ///
    /// # Errors
    /// The terminal failed.
    pub async fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.terminal.async_io(Interest::READABLE, |it| Ok(nix::unistd::read(it, buffer)?)).await;
        match read {
            // How Linux says that nobody has the other side open.
            Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(0),
            other => other,
        }
    }

    /// Passes some of it on to the machine; how much.
    ///
    /// # Errors
    /// The terminal failed.
    pub async fn write(&self, data: &[u8]) -> std::io::Result<usize> {
        let written = self.terminal.async_io(Interest::WRITABLE, |it| Ok(nix::unistd::write(it, data)?)).await?;
        if written == 0 && !data.is_empty() {
            return Err(ErrorKind::WriteZero.into());
        }
        Ok(written)
    }

    /// The program's process, while it runs.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the end of a program that let go of its terminal, a little while; how it ended.
    pub async fn ended(mut self) -> String {
        match tokio::time::timeout(END_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it let go of its terminal and did not end".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> ConsoleCommand {
        let args = vec!["-c".to_owned(), text.to_owned()];
        ConsoleCommand {
            program: "sh",
            args,
            release: vec!["-c".into(), "sleep 60".into()],
            env: vec![("IPMI_PASSWORD", "hunter2".into())],
        }
    }

    async fn until(console: &Console, wanted: &str) -> String {
        let mut seen = Vec::new();
        let work = async {
            let mut buffer = [0; 100];
            loop {
                let n = console.read(&mut buffer).await.unwrap();
                seen.extend_from_slice(&buffer[..n]);
                if n == 0 || String::from_utf8_lossy(&seen).contains(wanted) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), work).await.unwrap();
        String::from_utf8(seen).unwrap()
    }

    #[tokio::test]
    async fn both_ways_and_the_end() {
        let it = script("test -t 0 && echo tty $IPMI_PASSWORD; read line; echo \"got $line\"; exit 3");
        let console = Console::open(OsStr::new("sh"), &it).unwrap();
        // Bytes as they are: no carriage return is added, nothing echoed.
        assert_eq!(until(&console, "hunter2").await, "tty hunter2\n");
        assert_eq!(console.write(b"hello\n").await.unwrap(), 6);
        assert_eq!(until(&console, "got hello\n").await, "got hello\n");
        assert_eq!(console.read(&mut [0; 10]).await.unwrap(), 0);
        assert_eq!(console.ended().await, "exit status: 3");
    }

    #[tokio::test]
    async fn the_program_ends_with_it() {
        let console = Console::open(OsStr::new("sh"), &script("echo up; exec sleep 1000")).unwrap();
        until(&console, "up").await;
        let process = std::path::PathBuf::from(format!("/proc/{}", console.process().unwrap()));
        assert!(process.exists());
        drop(console);
        let gone = async {
            while std::fs::read_to_string(process.join("stat")).is_ok_and(|it| !it.contains(") Z ")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_said() {
        let error = Console::open(OsStr::new("/nowhere/ipmitool"), &script("true")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        release(OsStr::new("/nowhere/ipmitool"), &script("true")).await;
    }
}
