//! `cofferdam keys`: the keys that seal tokens.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use store::Store;

use crate::config::Config;

/// `cofferdam keys`
#[derive(Subcommand)]
pub enum Command {
    /// List the keys: 0 is staged, the highest seals, the others only open.
    List(At),
    /// The staged key becomes the one that seals, a new one is staged, the oldest beyond `identity.max_active_keys` goes.
    Rotate(At),
}

/// Where the store is.
#[derive(Args)]
pub struct At {
    /// The state directory of the server.
    #[arg(long, env = "COFFERDAM_STATE_DIR", default_value = "/var/lib/cofferdam")]
    state_dir: PathBuf,
    /// The database, if it is not the file in the state directory.
    #[arg(long, env = "COFFERDAM_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The configuration of the server.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl At {
    async fn open(&self) -> anyhow::Result<Store> {
        open(&self.state_dir, self.database_url.as_deref()).await
    }
}

/// Opens the store at a URL, or the one in a state directory; a running server may have it open too.
///
/// # Errors
/// There is none, or it cannot be opened.
pub async fn open(state_dir: &Path, database_url: Option<&str>) -> anyhow::Result<Store> {
    let url = match database_url {
        Some(url) => url.to_owned(),
        None => {
            let file = state_dir.join("cofferdam.db");
            anyhow::ensure!(file.exists(), "there is no store at {}: name the server's --state-dir", file.display());
            format!("sqlite:{}", file.display())
        }
    };
    Store::open(&url).await.context("the store")
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// The store cannot be opened, or somebody else rotated at the same time.
    pub fn run(self) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let numbers = match &self {
                Self::List(at) => api::token_keys(&at.open().await?).await?,
                Self::Rotate(at) => {
                    let max = Config::read(at.config.as_deref())?.identity.max_active_keys;
                    api::rotate_token_keys(&at.open().await?, max).await?
                }
            };
            let primary = numbers.last().copied().unwrap_or_default();
            for number in numbers {
                let part = match number {
                    0 => "staged: seals after the next rotation",
                    it if it == primary => "primary: seals and opens",
                    _ => "secondary: opens",
                };
                println!("{number}  {part}");
            }
            Ok(())
        })
    }
}
