//! `cofferdam lab …` without the rest of `cofferdam`: what the tests of this crate start.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
enum Top {
    /// The simulated rack.
    #[command(subcommand)]
    Lab(lab::cli::Command),
}

fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let Top::Lab(command) = Top::parse();
    command.run()
}
