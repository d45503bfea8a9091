//! Running a program of the host to its end, from code that may block.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Runs `command` and returns what it wrote. Its environment is the caller's, in the language of its authors.
///
/// # Errors
/// It could not be started (the message names a Debian package that has it), ended with another status than 0, or did not end within
/// `deadline` and was killed.
pub(super) fn run(command: &mut Command, deadline: Duration) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.env("LC_ALL", "C.UTF-8").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let pipes = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let out = scope.spawn(|| read(pipes.0));
        let err = scope.spawn(|| read(pipes.1));
        let status = wait(&mut child, deadline).with_context(|| format!("waiting for {name}"));
        let lost = |_| io::Error::other("a thread panicked");
        let out = out.join().map_err(lost)?.with_context(|| format!("reading what {name} says"))?;
        let err = err.join().map_err(lost)?.with_context(|| format!("reading what {name} says"))?;
        let status = status?;
        if !status.success() {
            let said = String::from_utf8_lossy(&err);
            anyhow::bail!("{name} ended with {status}: {}", said.trim());
        }
        Ok(out)
    })
}

/// Starts `command`.
///
/// # Errors
/// As [`run`].
pub(super) fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let name = command.get_program().to_owned();
    command.spawn().with_context(|| format!("starting {}{}", name.to_string_lossy(), package_of(&name)))
}

fn package_of(program: &OsStr) -> String {
    let package = match program.to_str() {
        Some("apt-get") => "apt",
        Some("dpkg-deb") => "dpkg",
        Some("tar") => "tar",
        Some("mke2fs") => "e2fsprogs",
        Some("chroot") => "coreutils",
        _ => return String::new(),
    };
    format!(" (of the Debian package {package})")
}

fn read(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut all)?;
    }
    Ok(all)
}

/// Waits for `child`; kills it at the deadline.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`], or as the kernel says.
pub(super) fn wait(child: &mut Child, deadline: Duration) -> io::Result<std::process::ExitStatus> {
    let until = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {deadline:?}")));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_the_program_said() {
        assert_eq!(run(Command::new("sh").args(["-c", "echo yes"]), Duration::from_secs(10)).unwrap(), b"yes\n");
        let error = run(Command::new("sh").args(["-c", "echo no >&2; exit 3"]), Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains("exit status: 3: no"), "{error}");
        let error = run(Command::new("sleep").arg("30"), Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("did not end within 50ms"), "{error:#}");
        assert!(run(&mut Command::new("/nonexistent/program"), Duration::from_secs(1)).is_err());
    }
}
