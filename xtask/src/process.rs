//! Running other programs to their end, and being interrupted while they run.

use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(20);

static INTERRUPTED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// From now on SIGINT, SIGTERM and SIGHUP do not end this process but [`interrupted`] resolves, so that what was started can be stopped.
pub(crate) fn watch_signals() -> Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut stream = signal(kind).context("cannot watch for signals")?;
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                INTERRUPTED.send_replace(true);
            }
        });
    }
    Ok(())
}

/// Resolves once the user has asked us to stop, at once if that was earlier.
pub(crate) async fn interrupted() {
    let mut seen = INTERRUPTED.subscribe();
    // The sender is a static: it is never dropped.
    if seen.wait_for(|it| *it).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Runs a program with our own standard streams.
///
/// # Errors
/// It could not be started, failed, or we were interrupted; then it was asked to end and awaited.
pub(crate) async fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let mut child = command.stdin(Stdio::null()).kill_on_drop(true).spawn().with_context(|| format!("cannot start {shown}"))?;
    let status = wait(&mut child, &shown).await?;
    if status.success() { Ok(()) } else { Err(anyhow!("{shown} failed ({status})")) }
}

/// Runs a program quietly and returns what it wrote to standard output.
///
/// # Errors
/// As [`run`]; the message ends with the last lines the program wrote to standard error.
pub(crate) async fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let output = tokio::select! {
        output = child.wait_with_output() => output.with_context(|| format!("cannot wait for {shown}"))?,
        () = interrupted() => bail!("interrupted"),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(anyhow!("{shown} failed ({}): {}", output.status, last_lines(&output.stderr, 12)))
}

/// Runs a program that leaves another running behind it: its output goes nowhere, since the other would keep a pipe open.
///
/// # Errors
/// As [`run`].
pub(crate) async fn output_detached(command: &mut Command) -> Result<()> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    run(command).await
}

/// Runs a program quietly even when interrupted, at most `deadline`; for tidying up. Returns what went wrong, if anything did.
pub(crate) async fn output_anyway(command: &mut Command, deadline: Duration) -> Result<String> {
    let shown = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(deadline, command.output()).await.map_err(|_| anyhow!("{shown} did not end within {deadline:?}"))?;
    let output = output.with_context(|| format!("cannot start {shown}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(anyhow!("{shown} failed ({}): {}", output.status, last_lines(&output.stderr, 12)))
}

/// Waits for a child; when interrupted, asks it to end and waits for that.
///
/// # Errors
/// We were interrupted, or waiting failed.
pub(crate) async fn wait(child: &mut Child, shown: &str) -> Result<std::process::ExitStatus> {
    tokio::select! {
        status = child.wait() => return status.with_context(|| format!("cannot wait for {shown}")),
        () = interrupted() => {}
    }
    stop(child, GRACE).await;
    bail!("interrupted")
}

/// Asks a child to end, and ends it if it does not within `grace`.
pub(crate) async fn stop(child: &mut Child, grace: Duration) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok())
        && kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok()
        && tokio::time::timeout(grace, child.wait()).await.is_ok()
    {
        return;
    }
    if let Err(error) = child.kill().await {
        eprintln!("cannot end a program: {error}");
    }
}

/// The command as a reader would type it, roughly.
pub(crate) fn shown(command: &Command) -> String {
    let command = command.as_std();
    let name = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args()).map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

/// The last `count` lines of a program's words.
pub(crate) fn last_lines(bytes: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_program_is_named_with_its_words() {
        let error = output(Command::new("/bin/sh").args(["-c", "echo gone >&2; exit 3"])).await.unwrap_err().to_string();
        assert!(error.starts_with("sh -c") && error.ends_with("gone"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines(b"", 2), "");
    }
}
