//! `cargo xtask bench fabric`: what the tests of the switch fabric measure, with sizes of one's own, as a table.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::table;
use crate::paths::Paths;
use crate::test::{Stream, follow};

/// What the tests begin such lines with.
const MARK: &str = "figure: ";

/// Flags of `cargo xtask bench fabric`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many ports of one slow switch are plugged, and moved, at once.
    #[arg(long, default_value_t = 60)]
    ports: u32,
    /// How long each commit of that switch takes, in seconds.
    #[arg(long, default_value_t = 10)]
    commit_seconds: u32,
    /// How long one of four switches is dead, in seconds.
    #[arg(long, default_value_t = 40)]
    dead_seconds: u32,
    /// How many switches are read in a sweep.
    #[arg(long, default_value_t = 1_000)]
    switches: u32,
    /// Only the measurements whose names contain this text (`burst`, `dead`, `sweep`).
    #[arg(long)]
    only: Option<String>,
    /// Measures release builds; otherwise those that tests are made with.
    #[arg(long)]
    release: bool,
}

/// One test that measures.
struct Measurement {
    name: &'static str,
    test: &'static str,
    sizes: Vec<(&'static str, u32)>,
}

fn measurements(arguments: &Arguments) -> Vec<Measurement> {
    let all = vec![
        Measurement {
            name: "burst",
            test: "burst::sixty_ports_of_a_slow_switch_at_once",
            sizes: vec![("COFFERDAM_TEST_BURST_PORTS", arguments.ports), ("COFFERDAM_TEST_BURST_COMMIT_SECONDS", arguments.commit_seconds)],
        },
        Measurement {
            name: "dead",
            test: "dead::a_dead_switch_slows_nobody",
            sizes: vec![("COFFERDAM_TEST_DEAD_SECONDS", arguments.dead_seconds)],
        },
        Measurement {
            name: "sweep",
            test: "sweep::every_switch_is_read_in_full",
            sizes: vec![("COFFERDAM_TEST_SWEEP_SWITCHES", arguments.switches)],
        },
    ];
    all.into_iter().filter(|it| arguments.only.as_deref().is_none_or(|only| it.name.contains(only))).collect()
}

/// What a line of a test says was measured, and how much.
fn figure(line: &str) -> Option<(&str, &str)> {
    let (what, value) = line.split_once(MARK)?.1.split_once(" = ")?;
    Some((what.trim(), value.trim()))
}

/// Runs the tests one after the other and draws what they measured.
pub(crate) async fn run(paths: &Paths, arguments: Arguments) -> Result<ExitCode> {
    let chosen = measurements(&arguments);
    ensure!(!chosen.is_empty(), "no measurement is called so");
    let mut rows = vec![vec!["figure".to_owned(), "value".to_owned()]];
    let mut went_well = true;
    for it in chosen {
        let mut command = paths.command(Paths::cargo());
        command.args(["test", "--quiet", "--package", "cofferdam", "--test", "fabric"]);
        if arguments.release {
            command.arg("--release");
        }
        command.args(["--", "--exact", it.test]).envs(it.sizes.iter().map(|(name, size)| (name, size.to_string())));
        let before = rows.len();
        let passed = follow(&mut command, Stream::Error, |line| {
            rows.extend(figure(line).map(|(what, value)| vec![what.to_owned(), value.to_owned()]));
        });
        went_well &= passed.await? && rows.len() > before;
    }
    println!("\n{}", table::columns(&rows, &[0, 1]));
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        assert_eq!(figure("figure: all of them = 4.1 s"), Some(("all of them", "4.1 s")));
        assert_eq!(figure("test x ... figure: memory = 280 MiB\r"), Some(("memory", "280 MiB")));
        assert_eq!(figure("figure: nothing"), None);
        assert_eq!(figure("all = 1"), None);
    }

    #[test]
    fn measurements_are_tests_that_there_are() {
        let arguments = Arguments { ports: 1, commit_seconds: 1, dead_seconds: 1, switches: 1, only: None, release: false };
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cofferdam/tests/fabric");
        for it in measurements(&arguments) {
            let (file, test) = it.test.split_once("::").unwrap();
            let text = std::fs::read_to_string(dir.join(file).with_extension("rs")).unwrap();
            assert!(text.contains(&format!("fn {test}()")), "{}", it.test);
            assert!(it.sizes.iter().all(|(name, _)| text.contains(name)), "{}", it.test);
        }
        let only = Arguments { only: Some("sweep".into()), ..arguments };
        assert_eq!(measurements(&only).len(), 1);
    }
}
