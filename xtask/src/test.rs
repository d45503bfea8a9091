//! `cargo xtask test`: every check and every test, with what they need prepared once and removed afterwards.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::paths::{self, Paths};
use crate::phases::Phases;
use crate::postgres::Postgres;
use crate::setup::{self, Need};
use crate::{process, seed, supply, tidy};

/// The unmodified client with its plug-ins, as users install it.
const CLIENT_PACKAGES: &[&str] =
    &["python-openstackclient==10.5.0", "python-ironicclient==6.3.0", "python-magnumclient==5.0.0", "oauthlib==3.3.1"];

/// What operators' scripts talk to switches with.
const SWITCH_CLIENT_PACKAGES: &[&str] = &["netmiko==4.8.0", "ncclient==0.7.1", "pygnmi==0.8.15"];

/// Namespaces of racks that tests start begin so.
const TEST_RACK_PREFIX: &str = "cd-t";

/// How long ago a leftover without a process id in its name must have been made before it is removed.
const LEFTOVER_AGE: Duration = Duration::from_secs(3_600);

/// Tests that start racks: they run one at a time. The same words stand in `.config/nextest.toml`.
const RACK_FILTER: &str = "binary(/^rack/) | (package(cofferdam) & kind(test))";

pub(crate) async fn command(fast: bool, deny: bool) -> Result<ExitCode> {
    let paths = Paths::find()?;
    let mut phases = Phases::start();

    phases.begin("packages");
    setup::ensure(Need::Test).await?;
    let cargo = Paths::cargo();

    phases.begin("fmt");
    process::run(paths.command(&cargo).args(["fmt", "--all", "--check"])).await?;

    phases.begin("tidy");
    if !tidy::check(&paths).await? {
        bail!("the tree is not tidy");
    }
    let wanted = deny || std::env::var("COFFERDAM_DENY").is_ok_and(|it| it == "1");
    if wanted || supply::deny_program(&paths).is_some() {
        phases.begin("deny");
        supply::deny(&paths).await?;
    }

    if !fast {
        phases.begin("clippy");
        process::run(paths.command(&cargo).args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])).await?;
    }

    phases.begin("build");
    // In one go: programs and tests built apart would differ in the features of what they depend on, and build that twice.
    process::run(paths.command(&cargo).args(["build", "--workspace", "--bins", "--tests", "--quiet"])).await?;
    let binary = binary(&paths).await?;
    let nextest = paths::program("cargo-nextest").is_some();

    phases.begin("postgresql");
    let postgres = Postgres::start().await?;

    let (seeds, seed) = seed::variables(&paths)?;
    println!("Random tests: COFFERDAM_TEST_SEED={seed}");
    let mut tests =
        Environment { postgres: postgres.url.clone(), image: None, ramdisk: None, client: None, switch_clients: None, seed: seeds };
    if !fast {
        clean_leftovers(&binary).await;
        phases.begin("machine image");
        tests.image = Some(image(&paths, &binary).await?);
        phases.begin("deploy ramdisk");
        tests.ramdisk = Some(ramdisk(&paths, &binary).await?);
        phases.begin("openstack client");
        tests.client = Some(client(&paths).await?);
        phases.begin("switch clients");
        tests.switch_clients = Some(environment(&paths, "switch-clients", SWITCH_CLIENT_PACKAGES).await?);
    }

    phases.begin("tests");
    let outcome = if nextest { run_nextest(&paths, &tests, fast).await } else { run_cargo_test(&paths, &tests, fast).await };

    phases.begin("clean-up");
    drop(postgres);
    if !fast {
        clean_leftovers(&binary).await;
    }
    phases.end();
    println!("\nTime by phase:\n{}\n", phases.table());
    let outcome = outcome?;
    // Last, whatever else was said: what the runner counted.
    println!("{}", outcome.summary);
    Ok(if outcome.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where cargo puts the binary.
pub(crate) async fn binary(paths: &Paths) -> Result<PathBuf> {
    let text = process::output(paths.command(Paths::cargo()).args(["metadata", "--format-version=1", "--no-deps"])).await?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata is not understood")?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(Path::new(target).join("debug/cofferdam"))
}

/// The machine image in the cache, built if it is not there.
pub(crate) async fn image(paths: &Paths, binary: &Path) -> Result<PathBuf> {
    setup::ensure_package_lists().await?;
    let image = crate::make_dir(&paths.cache)?.join("machine.raw");
    // It keeps a cache of its own and returns at once if nothing has changed.
    process::output(paths.command(binary).args(["lab", "image", "--output"]).arg(&image)).await?;
    Ok(image)
}

/// The directory with kernel and ramdisk, built anew if the binary has changed since.
pub(crate) async fn ramdisk(paths: &Paths, binary: &Path) -> Result<PathBuf> {
    let dir = crate::make_dir(&paths.cache.join("ramdisk"))?;
    let stamp = dir.join("made-from");
    let seen = std::fs::metadata(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let modified = seen.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    let key = format!("{} {} {}", binary.display(), seen.len(), modified.as_nanos());
    let complete = ["deploy.kernel", "deploy.initrd"].iter().all(|name| dir.join(name).is_file());
    if complete && std::fs::read_to_string(&stamp).is_ok_and(|it| it == key) {
        return Ok(dir);
    }
    // Without the stamp what is half made is made anew.
    match std::fs::remove_file(&stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("cannot remove {}: {error}", stamp.display()),
        _ => {}
    }
    process::output(paths.command(binary).args(["lab", "ramdisk", "--output"]).arg(&dir)).await?;
    std::fs::write(&stamp, key).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(dir)
}

/// The `openstack` program of a virtual environment in the cache, installed if it is not there.
async fn client(paths: &Paths) -> Result<PathBuf> {
    Ok(environment(paths, "openstack-client", CLIENT_PACKAGES).await?.join("bin/openstack"))
}

/// A virtual environment in the cache with just these packages, made if it is not there.
async fn environment(paths: &Paths, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let dir = paths.cache.join(name);
    let stamp = dir.join("installed");
    let wanted = packages.join("\n");
    if dir.join("bin/python").is_file() && std::fs::read_to_string(&stamp).is_ok_and(|it| it == wanted) {
        return Ok(dir);
    }
    crate::make_dir(&paths.cache)?;
    let python = Some(PathBuf::from("/usr/bin/python3")).filter(|it| it.is_file()).unwrap_or_else(|| PathBuf::from("python3"));
    process::output(Command::new(python).args(["-m", "venv", "--clear"]).arg(&dir)).await?;
    let mut install = Command::new(dir.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--no-input"]).args(packages);
    process::output(&mut install).await?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(dir)
}

/// What tests find in their environment.
struct Environment {
    postgres: String,
    image: Option<PathBuf>,
    ramdisk: Option<PathBuf>,
    client: Option<PathBuf>,
    switch_clients: Option<PathBuf>,
    /// Variables that have the seed of random tests.
    seed: Vec<(&'static str, String)>,
}

impl Environment {
    fn give<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("COFFERDAM_TEST_POSTGRES", &self.postgres);
        command.envs(self.seed.iter().map(|(name, value)| (name, value)));
        for (name, value) in [
            ("COFFERDAM_TEST_IMAGE", &self.image),
            ("COFFERDAM_TEST_RAMDISK", &self.ramdisk),
            ("COFFERDAM_TEST_OSC", &self.client),
            ("COFFERDAM_TEST_SWITCH_CLIENTS", &self.switch_clients),
        ] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }
}

/// What a runner said in the end.
struct Outcome {
    passed: bool,
    summary: String,
}

async fn run_nextest(paths: &Paths, tests: &Environment, fast: bool) -> Result<Outcome> {
    let mut command = paths.command(Paths::cargo());
    command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    if fast {
        command.args(["--filterset", &format!("not ({RACK_FILTER})")]);
    }
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        command.args(["--color", "always"]);
    }
    let mut summary = None;
    let status = follow(tests.give(&mut command), Stream::Error, |line| {
        if line.contains("Summary [") {
            summary = Some(line.trim().to_owned());
        }
    })
    .await?;
    Ok(Outcome { passed: status, summary: summary.unwrap_or_else(|| "the test runner printed no summary".into()) })
}

/// Without nextest: first all that may run side by side, then the tests that start racks, one at a time.
async fn run_cargo_test(paths: &Paths, tests: &Environment, fast: bool) -> Result<Outcome> {
    let text = process::output(paths.command(Paths::cargo()).args(["metadata", "--format-version=1", "--no-deps"])).await?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata is not understood")?;
    let mut counts = Counts::default();
    let mut passed = true;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let (mut others, mut racks, mut units) = (Vec::new(), Vec::new(), Vec::new());
        for target in package["targets"].as_array().into_iter().flatten() {
            let target_name = target["name"].as_str().unwrap_or_default().to_owned();
            match target["kind"][0].as_str().unwrap_or_default() {
                "test" if name == "cofferdam" || target_name.starts_with("rack") => racks.extend(["--test".to_owned(), target_name]),
                "test" => others.extend(["--test".to_owned(), target_name]),
                "lib" => units.push("--lib".to_owned()),
                "bin" => units.extend(["--bin".to_owned(), target_name]),
                _ => {}
            }
        }
        units.extend(others);
        let runs = [(units, "0"), (if fast { Vec::new() } else { racks }, "1")];
        for (targets, threads) in runs.into_iter().filter(|(targets, _)| !targets.is_empty()) {
            let mut command = paths.command(Paths::cargo());
            command.args(["test", "--quiet", "--no-fail-fast", "--package", name]).args(&targets);
            if threads == "1" {
                command.env("RUST_TEST_THREADS", threads);
            }
            passed &= follow(tests.give(&mut command), Stream::Output, |line| counts.take(line)).await?;
        }
    }
    let Counts { passed: ok, failed, ignored } = counts;
    let verdict = if passed && failed == 0 { "ok" } else { "FAILED" };
    Ok(Outcome {
        passed: passed && failed == 0,
        summary: format!("test result: {verdict}. {ok} passed; {failed} failed; {ignored} ignored"),
    })
}

/// Sums of libtest's own summaries.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn take(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return };
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|it| it.parse::<u64>().ok()), words.next()) else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Which stream of a command.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Its standard output.
    Output,
    /// Its standard error.
    Error,
}

/// Runs a command, passes one of its streams on as it comes and shows each whole line of it to `see`. Returns whether it succeeded.
pub(crate) async fn follow(command: &mut Command, which: Stream, mut see: impl FnMut(&str)) -> Result<bool> {
    let shown = process::shown(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    match which {
        Stream::Output => command.stdout(Stdio::piped()),
        Stream::Error => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let mut stream: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match which {
        Stream::Output => Box::new(child.stdout.take().context("no pipe")?),
        Stream::Error => Box::new(child.stderr.take().context("no pipe")?),
    };
    let reading = async {
        let mut piece = vec![0_u8; 16 << 10];
        let mut line = Vec::new();
        loop {
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            let bytes = piece.get(..read).unwrap_or_default();
            match which {
                Stream::Output => std::io::stdout().write_all(bytes)?,
                Stream::Error => std::io::stderr().write_all(bytes)?,
            }
            for byte in bytes {
                if *byte == b'\n' {
                    see(&String::from_utf8_lossy(&line));
                    line.clear();
                } else {
                    line.push(*byte);
                }
            }
        }
    };
    let (status, read) = tokio::join!(process::wait(&mut child, &shown), reading);
    read.with_context(|| format!("cannot read what {shown} says"))?;
    Ok(status?.success())
}

/// Takes down racks that tests have left. A rack whose name bears the id of a living process is in use, and so may be a young one.
async fn clean_leftovers(binary: &Path) {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    let mut racks = std::collections::BTreeSet::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = entry.metadata().and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let in_use = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
        if let Some(rack) = leftover(&name, age, in_use) {
            racks.insert(rack.to_owned());
        }
    }
    for rack in racks {
        println!("Removing the rack {rack}, left by a test.");
        let nowhere = std::env::temp_dir().join(format!("cofferdam-{rack}"));
        let mut down = Command::new(binary);
        down.args(["lab", "down", "--name", &rack, "--dir"]).arg(nowhere);
        if let Err(error) = process::output_anyway(&mut down, Duration::from_secs(60)).await {
            println!("{error:#}");
        }
    }
}

/// The rack that a namespace belongs to, if a test made it and is gone.
fn leftover(namespace: &str, age: Duration, in_use: impl Fn(u32) -> bool) -> Option<&str> {
    let rest = namespace.strip_prefix(TEST_RACK_PREFIX)?;
    let rack = namespace.strip_prefix("cd-")?.split('-').next()?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let gone = match digits.parse::<u32>() {
        Ok(pid) if !in_use(pid) => true,
        _ => age > LEFTOVER_AGE,
    };
    gone.then_some(rack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_are_taken_down() {
        let young = Duration::from_secs(5);
        let old = LEFTOVER_AGE * 2;
        assert_eq!(leftover("cd-t123-leaf1", young, |_| false), Some("t123"));
        assert_eq!(leftover("cd-t123-leaf1", young, |pid| pid == 123), None);
        assert_eq!(leftover("cd-t123-leaf1", old, |_| true), Some("t123"), "process ids come again");
        assert_eq!(leftover("cd-test-leaf1", young, |_| false), None);
        assert_eq!(leftover("cd-test-leaf1", old, |_| false), Some("test"));
        assert_eq!(leftover("cd-demo-leaf1", old, |_| false), None);
    }

    #[test]
    fn summaries_are_added_up() {
        let mut counts = Counts::default();
        counts.take("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        counts.take("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s");
        counts.take("3 passed");
        assert_eq!(counts, Counts { passed: 4, failed: 2, ignored: 1 });
    }

    #[tokio::test]
    async fn a_followed_stream_is_seen_line_by_line() {
        let mut lines = Vec::new();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo one; echo two; exit 1"]);
        let passed = follow(&mut command, Stream::Output, |line| lines.push(line.to_owned())).await.unwrap();
        assert!(!passed);
        assert_eq!(lines, ["one", "two"]);
    }
}
