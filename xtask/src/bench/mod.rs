//! `cargo xtask bench`: closed-loop measurements of an OpenStack service over HTTP, ours or any other's.

mod baremetal;
mod client;
mod fabric;
mod identity;
mod load;
mod network;
mod own;
mod parallel;
mod processes;
mod session;
mod table;

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::paths::Paths;
use crate::{process, test};

/// Flags of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Tokens, lists and grants of an identity service; without `--identity` of our own release build on an empty store.
    Identity(Box<identity::Arguments>),
    /// Networks, subnets, ports and rules of our own release build on an empty store; with `--identity` beside another cloud's.
    Network(Box<network::Arguments>),
    /// Nodes of our own release build on an empty store; with `--identity` beside another cloud's; with `--fleet` the whole way of many fake
    /// machines, with `--idle` many that do nothing.
    Baremetal(Box<baremetal::Arguments>),
    /// Figures of the switch fabric on simulated switches: a slow one, a dead one, very many.
    Fabric(fabric::Arguments),
}

pub(crate) async fn command(arguments: Arguments) -> Result<ExitCode> {
    let paths = Paths::find()?;
    // Nothing is measured by this program then.
    let is_measured_here = !matches!(arguments.what, What::Fabric(_));
    if cfg!(debug_assertions) && is_measured_here {
        return optimised(&paths).await;
    }
    let run = async {
        match arguments.what {
            What::Identity(arguments) => identity::run(&paths, *arguments).await,
            What::Network(arguments) => network::run(&paths, *arguments).await,
            What::Baremetal(arguments) => baremetal::run(&paths, *arguments).await,
            What::Fabric(arguments) => fabric::run(&paths, arguments).await,
        }
    };
    // Dropping the run on an interrupt ends the server it started and removes its files.
    tokio::select! {
        outcome = run => outcome,
        () = process::interrupted() => anyhow::bail!("interrupted"),
    }
}

/// Does the same in a release build of this program: on few processors a slow client would be measured as a slow server.
async fn optimised(paths: &Paths) -> Result<ExitCode> {
    let mut build = paths.command(Paths::cargo());
    process::run(build.args(["build", "--release", "--quiet", "--package", "xtask"])).await?;
    // Its paths come from what cargo told us, so unlike other programs it is given that.
    let mut child = tokio::process::Command::new(release(paths, "xtask").await?)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the release build")?;
    let status = process::wait(&mut child, "xtask bench").await?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where cargo puts the release build of a program.
async fn release(paths: &Paths, program: &str) -> Result<PathBuf> {
    let debug = test::binary(paths).await?;
    let target = debug.ancestors().nth(2).context("cargo's target directory has no parent")?;
    Ok(target.join("release").join(program))
}
