//! A PostgreSQL of our own for the length of a test run.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::process;

/// Ports that are given: the first, and how many there are.
const FIRST: u16 = 29_000;
const RANGE: u16 = 3_000;

/// A running server; it is stopped and its files are removed when this is dropped.
pub(crate) struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    /// Where tests reach it.
    pub(crate) url: String,
}

impl Postgres {
    /// Starts a server on a free port of the loopback with a socket in its own directory. Nothing is synced to disk.
    ///
    /// # Errors
    /// No PostgreSQL is installed, or it did not start.
    pub(crate) async fn start() -> Result<Self> {
        let bin = newest_bin(Path::new("/usr/lib/postgresql")).context("no PostgreSQL server under /usr/lib/postgresql")?;
        let dir = std::env::temp_dir().join(format!("cofferdam-pg-{}", std::process::id()));
        let mut server = Self { url: String::new(), bin, dir };
        server.initialise().await?;
        for tries_left in (0..2).rev() {
            let port = free_port()?;
            match server.listen(port).await {
                Ok(()) => {
                    server.url = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
                    break;
                }
                // Somebody else was quicker.
                Err(error) if tries_left > 0 && format!("{error:#}").contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(server)
    }

    async fn initialise(&self) -> Result<()> {
        // In a world-writable directory: must not be there yet, and belongs to the server's user from its first moment on.
        std::fs::create_dir(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        if nix::unistd::geteuid().is_root() {
            let Some(user) = nix::unistd::User::from_name("postgres").context("cannot look up the user postgres")? else {
                bail!("there is no user postgres");
            };
            nix::unistd::chown(&self.dir, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot give away {}", self.dir.display()))?;
        }
        let data = self.dir.join("data");
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(&data).args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]);
        process::output(&mut initdb).await?;
        Ok(())
    }

    async fn listen(&self, port: u16) -> Result<()> {
        let data = self.dir.join("data");
        let settings = format!(
            "-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300 -c shared_buffers=64MB",
            self.dir.display()
        );
        let mut start = self.command("pg_ctl");
        start.arg("--pgdata").arg(&data).arg("--log").arg(self.dir.join("log")).args(["--wait", "--timeout=60", "-o", &settings, "start"]);
        let started = process::output_detached(&mut start).await;
        started.with_context(|| process::last_lines(&std::fs::read(self.dir.join("log")).unwrap_or_default(), 8))
    }

    /// A program of the server, run as the user postgres if we are root: it refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let path = self.bin.join(program);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.join("data");
        if data.join("postmaster.pid").exists() {
            let mut stop = self.command("pg_ctl");
            stop.arg("--pgdata").arg(&data).args(["--mode=immediate", "--wait", "--timeout=30", "stop"]);
            match stop.as_std_mut().stdout(std::process::Stdio::null()).status() {
                Ok(status) if status.success() => {}
                other => eprintln!("cannot stop PostgreSQL in {}: {other:?}", self.dir.display()),
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

fn newest_bin(base: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(base).ok()?.flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// A port that was free a moment ago, out of the range from which the kernel takes the near ends of connections: so it stays free, unless
/// somebody listens there. No two of one process get the same.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let start =
        u16::try_from(std::process::id().wrapping_mul(61).wrapping_add(given) % u32::from(RANGE)).context("a start in the range")?;
    let mut ports = (0..RANGE).map(|step| FIRST + (start + step) % RANGE);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no free port on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_answers_and_leaves_nothing() {
        if newest_bin(Path::new("/usr/lib/postgresql")).is_none() {
            eprintln!("skipped: no PostgreSQL here");
            return;
        }
        let server = Postgres::start().await.unwrap();
        let dir = server.dir.clone();
        let port: u16 = server.url.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), tokio::net::TcpStream::connect(("127.0.0.1", port)))
            .await
            .unwrap()
            .unwrap();
        drop(server);
        assert!(!dir.exists());
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }
}
