//! A `cofferdam serve` of our own to be measured: the release build, on an empty store, for as long as the measurement takes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::Child;

use crate::paths::Paths;
use crate::{postgres, process};

/// How long it may take to be ready.
const START: Duration = Duration::from_secs(30);

/// A running server; it is ended and its files are removed when this is dropped.
pub(crate) struct Own {
    dir: PathBuf,
    child: Option<Child>,
    /// Its identity service.
    pub(crate) url: String,
    /// The administrator's password.
    pub(crate) password: String,
}

impl Own {
    /// Builds and starts it on a free port of the loopback; with a database URL on that store, which must be empty; with the text of a
    /// configuration file, in which `{listen}` stands for the address it listens on.
    ///
    /// # Errors
    /// It does not build, or is not ready in time.
    pub(crate) async fn start(paths: &Paths, database: Option<&str>, config: Option<&str>) -> Result<Self> {
        let mut build = paths.command(Paths::cargo());
        process::run(build.args(["build", "--release", "--quiet", "--package", "cofferdam"])).await?;
        let binary = super::release(paths, "cofferdam").await?;
        let dir = std::env::temp_dir().join(format!("cofferdam-bench-{}", std::process::id()));
        // In a world-writable directory: must not be there yet.
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let listen = format!("127.0.0.1:{}", postgres::free_port()?);
        let mut own = Self { dir, child: None, url: format!("http://{listen}/identity/v3"), password: String::new() };
        let state = own.dir.join("state");
        let log = std::fs::File::create(own.dir.join("serve.log")).context("cannot make a log")?;
        let mut command = paths.command(&binary);
        command.args(["serve", "--listen", &listen, "--state-dir"]).arg(&state);
        if let Some(database) = database {
            command.args(["--database-url", database]);
        }
        if let Some(config) = config {
            let path = own.dir.join("cofferdam.toml");
            std::fs::write(&path, config.replace("{listen}", &listen)).with_context(|| format!("cannot write {}", path.display()))?;
            command.arg("--config").arg(path);
        }
        command.env_remove("COFFERDAM_ADMIN_PASSWORD").stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        command.stdout(log.try_clone().context("cannot share a log")?).stderr(log);
        own.child = Some(command.spawn().with_context(|| format!("cannot start {}", binary.display()))?);
        own.await_health(&listen).await?;
        let path = state.join("admin-password");
        own.password = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?.trim().to_owned();
        Ok(own)
    }

    /// Where all of its services are, without a slash at the end.
    pub(crate) fn origin(&self) -> &str {
        self.url.strip_suffix("/identity/v3").unwrap_or(&self.url)
    }

    /// Its process, until it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    async fn await_health(&mut self, listen: &str) -> Result<()> {
        let client = net::http::Client::plain().with_deadline(Duration::from_secs(2));
        let until = Instant::now() + START;
        while Instant::now() < until {
            if client.send(net::http::Request::get(format!("http://{listen}/healthz"))).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().context("cannot look at cofferdam serve")?
            {
                bail!("cofferdam serve ended ({status}): {}", self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("cofferdam serve is not ready after {START:?}: {}", self.last_words())
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        process::last_lines(&std::fs::read(self.dir.join("serve.log")).unwrap_or_default(), 8)
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) {
        if let Some(mut child) = self.child.take() {
            process::stop(&mut child, Duration::from_secs(25)).await;
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // If it still runs, dropping the child kills it; its files may go first.
        if let Err(error) = std::fs::remove_dir_all(&self.dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}
