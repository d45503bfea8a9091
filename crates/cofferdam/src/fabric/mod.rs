//! `cofferdam fabric`: the operator's side of the switch fabric, by the API of a running server.

mod import;
mod ngs;
mod plan;
mod quarantine;
mod switch;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{Server, Session};

/// `cofferdam fabric`. Exit status: 0 done; 1 done, and something differs or was left out; 2 it could not be done.
#[derive(Subcommand)]
pub enum Command {
    /// Switches: list, show, declare, change, forget, read them.
    #[command(subcommand)]
    Switch(switch::Command),
    /// The ports of switches that are ours.
    #[command(subcommand)]
    Port(switch::PortCommand),
    /// What was let go and is not proven released.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// What would be changed on each switch, as of its last reading. Exit status 1 if anything.
    Plan(plan::PlanArgs),
    /// Take over what another service knows of switches.
    #[command(subcommand)]
    Import(import::Command),
    /// Read a running switch, change nothing, and show what would be changed if it were ours. Exit status 1 if anything.
    Adopt(plan::AdoptArgs),
}

/// How every command asks and answers.
#[derive(Args)]
pub struct Ask {
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Ask {
    async fn session(&self) -> anyhow::Result<Session> {
        self.server.open().await
    }

    /// The answer as JSON, or as told.
    fn told(&self, answer: &Value, tell: impl FnOnce(&Value) -> String) -> anyhow::Result<String> {
        Ok(if self.json { format!("{}\n", serde_json::to_string_pretty(answer)?) } else { tell(answer) })
    }
}

/// What a command says, and whether all is well.
struct Said {
    text: String,
    well: bool,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, well: true }
    }
}

impl Command {
    /// Does it. What cannot be done is said on the error output.
    ///
    /// # Errors
    /// The runtime cannot start.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let said = runtime.block_on(async {
            match self {
                Self::Switch(command) => command.run().await,
                Self::Port(command) => command.run().await,
                Self::Quarantine(command) => command.run().await,
                Self::Plan(args) => args.run().await,
                Self::Import(command) => command.run().await,
                Self::Adopt(args) => args.run().await,
            }
        });
        Ok(match said {
            Ok(said) => {
                let mut out = std::io::stdout().lock();
                // A reader that went away has read what it wanted.
                drop(out.write_all(said.text.as_bytes()).and_then(|()| out.flush()));
                ExitCode::from(u8::from(!said.well))
            }
            Err(error) => {
                eprintln!("cofferdam fabric: {error:#}");
                ExitCode::from(2)
            }
        })
    }
}

/// Below which the API of the fabric is.
const ROOT: &str = "/v2.0/cofferdam";
