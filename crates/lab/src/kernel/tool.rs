//! Running a program of the host to its end.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long a tool may take; ten times what was seen on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started, fed or awaited.
    #[error("cannot run {tool}")]
    Run {
        /// Name of the program.
        tool: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It did not finish.
    #[error("{tool} did not finish within {DEADLINE:?}")]
    Slow {
        /// Name of the program.
        tool: String,
    },
    /// It refused.
    #[error("{tool} {what}: {said}")]
    Refused {
        /// Name of the program.
        tool: String,
        /// Its arguments or input.
        what: String,
        /// Its last words.
        said: String,
    },
}

/// Runs `tool` with `arguments`, feeds it `input`, and returns what it wrote.
///
/// # Errors
/// See [`ToolError`]; an exit status other than 0 is one.
pub(crate) async fn run<S: AsRef<OsStr>>(tool: &str, arguments: impl IntoIterator<Item = S>, input: &str) -> Result<String, ToolError> {
    let failed = |source| ToolError::Run { tool: tool.to_owned(), source };
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let what = format!("{:?}", command.as_std());
    let work = async {
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that has seen enough may close its end: its status says whether that was an error.
            if let Err(error) = stdin.write_all(input.as_bytes()).await
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                return Err(failed(error));
            }
        }
        child.wait_with_output().await.map_err(failed)
    };
    let output = tokio::time::timeout(DEADLINE, work).await.map_err(|_| ToolError::Slow { tool: tool.to_owned() })??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ToolError::Refused { tool: tool.to_owned(), what: if input.is_empty() { what } else { input.to_owned() }, said })
}
