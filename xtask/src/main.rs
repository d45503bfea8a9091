//! The project's own tasks: `cargo xtask setup | tidy | test | deny | demo | bench`.
//!
//! An outsider on purpose: it knows the public HTTP APIs and the command line of the `cofferdam` binary, and of our crates only `net`.

mod bench;
mod demo;
mod paths;
mod phases;
mod postgres;
mod process;
mod seed;
mod setup;
mod supply;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Cofferdam project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs the Debian packages that demo and tests need.
    Setup {
        /// Only says what is missing; exit status 1 if anything is.
        #[arg(long)]
        check: bool,
    },
    /// Checks the house rules: edges between crates, lints, file sizes, stray notes, licences and sources of dependencies.
    Tidy,
    /// Runs all checks and tests; `.ci/run` is exactly this.
    Test {
        /// Leaves out clippy, the machine image and every test that starts a rack.
        #[arg(long)]
        fast: bool,
        /// Also runs cargo-deny, building it if it is not there (as COFFERDAM_DENY=1 does).
        #[arg(long)]
        deny: bool,
    },
    /// Runs cargo-deny (licences, bans, sources; no advisory download), building it if it is not there.
    Deny,
    /// Two tenants, two container clusters on a simulated rack, their isolation measured with packets.
    Demo(demo::Arguments),
    /// Measures a service over HTTP: requests a second, latencies, the server's processor time and memory.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        process::watch_signals()?;
        match arguments.task {
            Task::Setup { check } => setup::command(check).await,
            Task::Tidy => tidy::command().await,
            Task::Test { fast, deny } => test::command(fast, deny).await,
            Task::Deny => supply::deny(&paths::Paths::find()?).await.map(|()| ExitCode::SUCCESS),
            Task::Demo(arguments) => demo::command(arguments).await,
            Task::Bench(arguments) => bench::command(arguments).await,
        }
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Makes a directory and those above it.
fn make_dir(path: &std::path::Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path).map_err(|error| anyhow::anyhow!("cannot make {}: {error}", path.display()))?;
    Ok(path.to_owned())
}
