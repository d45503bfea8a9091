//! The one binary: parts are joined here and nowhere else.

mod client;
mod config;
mod explain;
mod fabric;
mod import;
mod keys;
mod metrics;
mod policy;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Isolated container clusters on bare metal, with OpenStack APIs.
#[derive(Parser)]
#[command(name = "cofferdam", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the control plane: every API on one port, the store and the engine.
    Serve(serve::ServeArgs),
    /// The keys that seal tokens: list and rotate them.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Take over what another service has.
    #[command(subcommand)]
    Import(import::Command),
    /// The rules of access: list them, and ask one why it answers as it does.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Whether one port can reach another, and why: asks a running server.
    Explain(Box<explain::ExplainArgs>),
    /// The switch fabric: switches, their ports, quarantine; asks a running server.
    #[command(subcommand)]
    Fabric(Box<fabric::Command>),
    /// The simulated rack: switches, machines and their BMCs on this host.
    #[command(subcommand)]
    Lab(lab::cli::Command),
    /// The deploy agent, on a machine that booted its ramdisk.
    Ramdisk(agent::ramdisk::RamdiskArgs),
}

fn main() -> ExitCode {
    // The kernel of a ramdisk starts this binary as /init: it has no arguments then.
    let as_init = std::process::id() == 1 && std::env::args().next().is_some_and(|name| name.ends_with("init"));
    // What the kernel did not understand of its command line it hands to /init as arguments: they are not ours.
    let command = if as_init { Command::Ramdisk(agent::ramdisk::RamdiskArgs::default()) } else { Cli::parse().command };
    log();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::warn!("a TLS provider was installed before ours");
    }
    let result = match command {
        Command::Serve(args) => serve::run(args).map(|()| ExitCode::SUCCESS),
        Command::Keys(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Import(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Policy(command) => Ok(command.run()),
        Command::Explain(args) => args.run(),
        Command::Fabric(command) => command.run(),
        Command::Lab(command) => command.run(),
        Command::Ramdisk(args) => agent::ramdisk::run(args).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log() {
    let filter = EnvFilter::try_from_env("COFFERDAM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = !std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(!plain).init();
}
