//! `cargo xtask demo`: two tenants, a container cluster each on a simulated rack, and a matrix of who can reach whom measured with packets.
//!
//! It is a client like any other: everything but starting and stopping goes over the public HTTP APIs.

mod client;
mod docker;
mod foretold;
mod matrix;
mod print;
mod probe;
mod rack;
mod steps;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::paths::Paths;
use crate::phases::seconds;
use crate::setup::{self, Need};
use crate::{postgres, process, test};
use client::{Cloud, Session};
use print::Screen;

/// Name of the demo's rack, and so of everything it makes in the kernel (`cd-demo-…`).
const RACK: &str = "demo";
/// Machines in the rack.
const MACHINES: usize = 6;
/// Where everything lies unless `--state-dir` says otherwise.
const DEFAULT_DIR: &str = "/var/lib/cofferdam/demo";
/// How often it is measured before what is missing is called missing.
const PROBES: u32 = 3;
/// How long the APIs may take to give everything back before it is taken by force.
const GIVE_BACK_DEADLINE: Duration = Duration::from_secs(180);
/// How long `cofferdam serve` may take to end: it gives itself 20 s.
const DRAIN: Duration = Duration::from_secs(25);
/// The parts that are paid once; not counted as the demo's own time.
const PREPARATION: &[&str] = &["packages", "build", "machine image", "deploy ramdisk"];

/// Flags of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leaves everything running and says how to use it.
    #[arg(long)]
    keep: bool,
    /// Stops what an earlier `demo --keep` left running, and removes it.
    #[arg(long, conflicts_with = "keep")]
    stop: bool,
    /// Where the demo keeps its files.
    #[arg(long, default_value = DEFAULT_DIR)]
    state_dir: PathBuf,
}

/// What is written down of a demo in its directory, so that a later call can stop it.
#[derive(Serialize, Deserialize)]
struct Record {
    binary: PathBuf,
    serve: Option<i32>,
}

pub(crate) async fn command(arguments: Arguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("cargo xtask demo needs root: it makes network namespaces, mounts and control groups for the simulated rack");
        return Ok(ExitCode::from(2));
    }
    let dir = std::path::absolute(&arguments.state_dir).context("--state-dir is not a path")?;
    if arguments.stop {
        return stop(&dir).await;
    }
    check_free(&dir).await?;
    let mut world = World::new(Paths::find()?, dir);
    let outcome = tokio::select! {
        outcome = world.run() => outcome,
        () = process::interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    world.screen.end_progress();
    world.finish(outcome, arguments.keep).await
}

/// The demo as far as it has come.
struct World {
    screen: Screen,
    paths: Paths,
    dir: PathBuf,
    binary: Option<PathBuf>,
    serve: Option<Child>,
    plan: Option<steps::Plan>,
    memory: Memory,
}

impl World {
    fn new(paths: Paths, dir: PathBuf) -> Self {
        Self { screen: Screen::new(), paths, dir, binary: None, serve: None, plan: None, memory: Memory::watch() }
    }

    fn lab_dir(&self) -> PathBuf {
        self.dir.join("lab")
    }

    /// Everything up to the verdict: whether all is as it should be.
    async fn run(&mut self) -> Result<bool> {
        let (image, ramdisk) = self.prepare().await?;
        let rack = self.start_rack().await?;
        let admin = self.start_control_plane().await?;
        let screen = &self.screen;
        let mut plan = steps::Plan::new(admin, rack, self.dir.clone());
        let steps = async {
            plan.enrol(screen, &image, &ramdisk).await?;
            plan.tenants(screen).await?;
            plan.await_machines(screen).await?;
            plan.clusters(screen).await?;
            plan.services(screen).await?;
            plan.owners(screen).await
        };
        let outcome = steps.await;
        // Kept whatever happened: giving back needs to know what there is.
        let owners = outcome.map(|()| plan.owners_by_machine());
        self.plan = Some(plan);
        self.measure(&owners?).await
    }

    async fn prepare(&mut self) -> Result<(PathBuf, PathBuf)> {
        let screen = &self.screen;
        screen.phase("packages", "Debian packages");
        if setup::ensure(Need::Demo).await?.is_empty() {
            screen.note("all there");
        }
        screen.phase("build", "Building cofferdam");
        screen.command("cargo build --package cofferdam");
        process::run(self.paths.command(Paths::cargo()).args(["build", "--package", "cofferdam"])).await?;
        let binary = test::binary(&self.paths).await?;
        self.binary = Some(binary.clone());
        screen.phase("machine image", "Machine image: a small Debian with Docker, built once");
        screen.command(&format!("cofferdam lab image --output {}", self.paths.cache.join("machine.raw").display()));
        let started = Instant::now();
        screen.busy("packages of a small Debian become a disk");
        let image = test::image(&self.paths, &binary).await?;
        screen.end_progress();
        screen.note(&format!("{} ({})", size_of(&image)?, seconds(started.elapsed())));
        screen.phase("deploy ramdisk", "Deploy kernel and ramdisk");
        screen.command(&format!("cofferdam lab ramdisk --output {}", self.paths.cache.join("ramdisk").display()));
        let started = Instant::now();
        screen.busy("the binary becomes a ramdisk");
        let ramdisk = test::ramdisk(&self.paths, &binary).await?;
        screen.end_progress();
        screen.note(&format!("{} ({})", size_of(&ramdisk.join("deploy.initrd"))?, seconds(started.elapsed())));
        Ok((image, ramdisk))
    }

    fn binary(&self) -> Result<&Path> {
        self.binary.as_deref().context("the binary is not built")
    }

    async fn start_rack(&self) -> Result<rack::Rack> {
        let (lab, machines) = (self.lab_dir(), MACHINES.to_string());
        self.screen.phase("rack", "The simulated rack: two leaf switches, six machines with BMCs");
        self.screen.command(&format!("cofferdam lab up --name {RACK} --machines {machines} --dir {}", lab.display()));
        crate::make_dir(&self.dir)?;
        self.record(None)?;
        let mut up = self.paths.command(self.binary()?);
        // To a file and not to a pipe: the daemon it leaves behind may keep it open.
        let log = std::fs::File::create(self.dir.join("lab-up.log")).context("cannot make a log")?;
        up.args(["lab", "up", "--name", RACK, "--machines", &machines, "--dir"]).arg(&lab);
        up.stdout(log.try_clone().context("cannot share a log")?).stderr(log);
        process::run(&mut up).await.with_context(|| tail(&self.dir.join("lab-up.log"), 15))?;
        let rack = rack::Rack::read(&lab)?;
        for machine in &rack.machines {
            self.screen.note(&format!(
                "{:<4} {} on {} {}, BMC {}{}",
                machine.name, machine.mac, machine.leaf, machine.port, machine.bmc.url, machine.bmc.system
            ));
        }
        Ok(rack)
    }

    async fn start_control_plane(&mut self) -> Result<Session> {
        let state = self.dir.join("state");
        let listen = match std::net::TcpListener::bind("127.0.0.1:5000") {
            Ok(_) => "127.0.0.1:5000".to_owned(),
            Err(_) => format!("127.0.0.1:{}", postgres::free_port()?),
        };
        let config = self.lab_dir().join("cofferdam.toml");
        self.screen.phase("control plane", "The control plane, on its embedded store");
        self.screen.command(&format!("cofferdam serve --state-dir {} --config {} --listen {listen}", state.display(), config.display()));
        let log = std::fs::File::create(self.dir.join("serve.log")).context("cannot make a log")?;
        let mut command = self.paths.command(self.binary()?);
        command.args(["serve", "--listen", &listen, "--state-dir"]).arg(&state).arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(log.try_clone().context("cannot share a log")?).stderr(log);
        // Not in our process group: the interrupt of a terminal must not end it before it has given everything back.
        command.process_group(0);
        let started = Instant::now();
        let child = command.spawn().context("cannot start cofferdam serve")?;
        self.record(child.id().and_then(|pid| i32::try_from(pid).ok()))?;
        self.serve = Some(child);
        self.await_health(&format!("http://{listen}/healthz")).await?;
        self.screen.note(&format!("ready after {}", seconds(started.elapsed())));
        let path = state.join("clouds.yaml");
        let clouds = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let password = client::password_in(&clouds).with_context(|| format!("{} has no password", path.display()))?;
        let admin = Cloud {
            name: "cofferdam".into(),
            auth_url: format!("http://{listen}/identity/v3"),
            username: "admin".into(),
            password,
            project: "admin".into(),
        };
        write_clouds(&self.dir, std::slice::from_ref(&admin))?;
        self.screen.command(&format!("export OS_CLIENT_CONFIG_FILE={}", self.dir.join("clouds.yaml").display()));
        Session::open(&admin).await
    }

    async fn await_health(&mut self, url: &str) -> Result<()> {
        let client = net::http::Client::plain().with_deadline(Duration::from_secs(2));
        let until = Instant::now() + Duration::from_secs(30);
        let mut last = String::new();
        while Instant::now() < until {
            match client.send(net::http::Request::get(url)).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = format!("status {}", answer.status),
                Err(error) => last = error.to_string(),
            }
            if let Some(child) = &mut self.serve
                && let Some(status) = child.try_wait().context("cannot look at cofferdam serve")?
            {
                bail!("cofferdam serve ended ({status}): {}", tail(&self.dir.join("serve.log"), 15));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("cofferdam serve is not ready after 30 s: {last}")
    }

    /// Sends packets from everywhere to everywhere and judges what arrived. What did not arrive where it should is tried again, since
    /// packets get lost on a busy machine; what arrived where it should not stands from the first time on.
    async fn measure(&mut self, owners: &steps::Owners) -> Result<bool> {
        self.screen.phase("packets", "Who reaches whom: real packets from every machine and container to every other");
        self.screen.command(&format!("cofferdam lab probe --name {RACK} --service-port {} --json", docker::SERVICE_PORT));
        let (mut places, mut samples) = (Vec::new(), Vec::new());
        let mut verdict = matrix::evaluate(&places, &samples);
        for attempt in 1..=PROBES {
            let again = |why: &str| self.screen.note(&format!("measuring again ({attempt} of {PROBES} done): {why}"));
            match self.probe(owners).await {
                Err(error) if attempt < PROBES => {
                    again(&format!("{error:#}"));
                    continue;
                }
                Err(error) => return Err(error),
                Ok((seen, more)) => {
                    if places != seen {
                        // Somebody came or went: indexes mean others now.
                        (places, samples) = (seen, Vec::new());
                    }
                    samples.extend(more);
                }
            }
            verdict = matrix::evaluate(&places, &samples);
            if verdict.good || verdict.has_leak() || attempt == PROBES {
                break;
            }
            again("not everything arrived that should");
        }
        let screen = &self.screen;
        screen.line("");
        screen.line(&matrix::draw(&places, &verdict, |good, word| screen.verdict(good, word)));
        screen.line("  rows send, columns receive; yes: reached as it should, ·: nothing arrived, as it should\n");
        for tenant in &verdict.tenants {
            screen.line(&screen.verdict(tenant.good, &tenant.line));
        }
        if !verdict.good && verdict.tenants.iter().all(|it| it.good) {
            screen.line(&screen.verdict(false, "packets travelled between machines that belong to nobody, or could not be measured"));
        }
        screen.command("cofferdam explain PORT_A PORT_B");
        let foretold = self.plan.as_ref().context("nothing was planned")?.foretold().await?;
        let comparison = foretold::compare(&places, &samples, &foretold);
        screen.line(&screen.verdict(comparison.good, &comparison.line));
        Ok(verdict.good && comparison.good)
    }

    /// One run of the probe.
    async fn probe(&self, owners: &steps::Owners) -> Result<(Vec<matrix::Place>, Vec<matrix::Sample>)> {
        let mut command = self.paths.command(self.binary()?);
        let port = docker::SERVICE_PORT.to_string();
        command.args(["lab", "probe", "--name", RACK, "--service-port", &port, "--json", "--dir"]).arg(self.lab_dir());
        self.screen.busy("packets");
        let answer = process::output(&mut command).await;
        self.screen.end_progress();
        probe::Report::read(&answer?)?.judgeable(owners)
    }

    /// Says how it went and tidies up, or leaves everything for the user.
    async fn finish(mut self, outcome: Result<bool>, keep: bool) -> Result<ExitCode> {
        let was_interrupted = tokio::time::timeout(Duration::ZERO, process::interrupted()).await.is_ok();
        let mut good = match &outcome {
            Ok(good) => *good,
            Err(error) => {
                eprintln!("error: {error:#}");
                self.keep_logs();
                false
            }
        };
        if keep && !was_interrupted && self.serve.is_some() {
            self.explain_use();
            // Its end is no longer ours to see: `--stop` finds it by the record.
            self.serve = None;
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if outcome.is_ok() {
            let given_back = tokio::select! {
                given_back = self.give_back() => given_back,
                () = process::interrupted() => Err(anyhow::anyhow!("interrupted")),
            };
            if let Err(error) = given_back {
                eprintln!("error: {error:#}");
                self.keep_logs();
                good = false;
            }
        }
        if !self.dir.join("demo.json").exists() {
            return Ok(ExitCode::FAILURE);
        }
        self.screen.phase("stop", "Stopping control plane and rack");
        let resident = self.serve.as_ref().and_then(Child::id).and_then(peak_resident);
        if let Err(error) = self.take_down().await {
            eprintln!("error: {error:#}");
            good = false;
        }
        if outcome.is_ok() {
            self.screen.times(PREPARATION);
            let server = resident.map_or_else(String::new, |kib| format!("; cofferdam serve itself at most {} MiB", kib / 1024));
            self.screen.note(&format!("memory: at most {} MiB more in use than before{server}", self.memory.peak_kib() / 1024));
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The tenants delete what they made, and it is seen to be gone.
    async fn give_back(&mut self) -> Result<()> {
        let Some(plan) = &mut self.plan else { return Ok(()) };
        let screen = &self.screen;
        tokio::time::timeout(GIVE_BACK_DEADLINE, plan.give_back(screen))
            .await
            .map_err(|_| anyhow::anyhow!("the clusters are not gone after {GIVE_BACK_DEADLINE:?}"))?
    }

    /// Ends server and rack, by force where need be, and removes their files. Not interruptible.
    async fn take_down(&mut self) -> Result<()> {
        if let Some(mut serve) = self.serve.take() {
            process::stop(&mut serve, DRAIN).await;
        }
        let Some(binary) = &self.binary else { return Ok(()) };
        take_down_rack(binary, &self.lab_dir()).await?;
        remove_files(&self.dir)
    }

    /// Saves what explains a failure from being removed.
    fn keep_logs(&self) {
        let kept = self.dir.join("failed");
        let machines = std::fs::read_dir(self.lab_dir().join("machines")).into_iter().flatten().flatten();
        let consoles = machines.map(|it| (it.path().join("console.log"), format!("console-{}.log", it.file_name().to_string_lossy())));
        let logs = [(self.dir.join("serve.log"), "serve.log".to_owned()), (self.lab_dir().join("lab.log"), "lab.log".to_owned())];
        let mut saved = 0;
        for (from, name) in logs.into_iter().chain(consoles).filter(|(from, _)| from.is_file()) {
            match crate::make_dir(&kept).and_then(|dir| Ok(std::fs::copy(&from, dir.join(&name))?)) {
                Ok(_) => saved += 1,
                Err(error) => eprintln!("cannot save {}: {error:#}", from.display()),
            }
        }
        if saved > 0 {
            eprintln!("logs of server, rack and machines: {}", kept.display());
        }
    }

    fn explain_use(&self) {
        let screen = &self.screen;
        screen.times(PREPARATION);
        screen.line("\nEverything is left running. To use it:");
        screen.line(&format!("  export OS_CLIENT_CONFIG_FILE={}", self.dir.join("clouds.yaml").display()));
        for line in [
            "openstack --os-cloud cofferdam baremetal node list",
            "openstack --os-cloud cofferdam network list",
            "openstack --os-cloud finance coe cluster list",
        ] {
            screen.line(&format!("  {line}"));
        }
        for cluster in self.plan.iter().flat_map(|plan| plan.docker_hints()) {
            screen.line(&format!("  {cluster}"));
        }
        screen.line(&format!("  tail -f {}", self.dir.join("serve.log").display()));
        if let Ok(binary) = self.binary() {
            screen.line(&format!(
                "  {} lab probe --name {RACK} --dir {} --service-port {}",
                binary.display(),
                self.lab_dir().display(),
                docker::SERVICE_PORT
            ));
        }
        screen.line(&format!("To stop and remove it: cargo xtask demo --stop{}", state_dir_flag(&self.dir)));
    }

    fn record(&self, serve: Option<i32>) -> Result<()> {
        let record = Record { binary: self.binary()?.to_owned(), serve };
        write_private(&self.dir.join("demo.json"), &serde_json::to_string(&record).context("cannot write the record")?)
    }
}

/// The flag that names the directory, if it must be named.
fn state_dir_flag(dir: &Path) -> String {
    if dir == Path::new(DEFAULT_DIR) { String::new() } else { format!(" --state-dir {}", dir.display()) }
}

async fn take_down_rack(binary: &Path, lab: &Path) -> Result<()> {
    let mut down = Command::new(binary);
    down.args(["lab", "down", "--name", RACK, "--dir"]).arg(lab);
    process::output_anyway(&mut down, Duration::from_secs(90)).await.map(|_| ())
}

/// The record of the demo in `dir`, if there is one.
fn read_record(dir: &Path) -> Result<Option<Record>> {
    let path = dir.join("demo.json");
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is not a record of a demo", path.display())),
    }
}

/// The recorded server, if it still runs: a process id alone may have been given to another since.
fn running_server(record: &Record, dir: &Path) -> Option<Pid> {
    let pid = record.serve?;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let state = dir.join("state");
    let mut words = words.split(|byte| *byte == 0);
    words.any(|word| word == std::os::unix::ffi::OsStrExt::as_bytes(state.as_os_str())).then(|| Pid::from_raw(pid))
}

/// Makes sure that no demo runs and that nothing of an earlier one is in the way.
async fn check_free(dir: &Path) -> Result<()> {
    if let Some(record) = read_record(dir)? {
        if running_server(&record, dir).is_some() {
            bail!("a demo runs in {}; `cargo xtask demo --stop{}` ends it", dir.display(), state_dir_flag(dir));
        }
        println!("Removing what an earlier demo left in {}.", dir.display());
        clear(&record, dir).await?;
    } else if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let failed_only = std::fs::read_dir(dir).is_ok_and(|entries| entries.flatten().all(|it| it.file_name() == "failed"));
        if !failed_only {
            bail!("{} is not empty and not a demo's: choose another --state-dir", dir.display());
        }
    }
    // The logs of a failed demo last until the next one.
    match std::fs::remove_dir_all(dir.join("failed")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("cannot remove the logs of the last failure: {error}"),
        _ => {}
    }
    let prefix = format!("cd-{RACK}-");
    let others = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    if others.map(|it| it.file_name()).any(|name| name.to_string_lossy().starts_with(&prefix)) {
        bail!("a rack named {RACK} of another demo is up; stop it with `cargo xtask demo --stop --state-dir <its directory>`");
    }
    Ok(())
}

async fn stop(dir: &Path) -> Result<ExitCode> {
    let Some(record) = read_record(dir)? else {
        println!("No demo in {}.", dir.display());
        return Ok(ExitCode::SUCCESS);
    };
    clear(&record, dir).await?;
    println!("The demo in {} is stopped and removed.", dir.display());
    Ok(ExitCode::SUCCESS)
}

/// Ends what the record names and removes its files.
async fn clear(record: &Record, dir: &Path) -> Result<()> {
    if let Some(pid) = running_server(record, dir) {
        kill(pid, Signal::SIGTERM).context("cannot end cofferdam serve")?;
        let until = Instant::now() + DRAIN;
        while running_server(record, dir).is_some() {
            if Instant::now() > until {
                kill(pid, Signal::SIGKILL).context("cannot end cofferdam serve by force")?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    take_down_rack(&record.binary, &dir.join("lab")).await?;
    remove_files(dir)
}

/// Removes what demos make, and the directory if nothing else is in it. The record goes last: until then all of this can be tried again.
fn remove_files(dir: &Path) -> Result<()> {
    for name in ["state", "lab", "tenants"] {
        let path = dir.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("cannot remove {}: {error}", path.display()),
            _ => {}
        }
    }
    for name in ["clouds.yaml", "serve.log", "lab-up.log", "demo.json"] {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("cannot remove {}: {error}", path.display()),
            _ => {}
        }
    }
    match std::fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty) => {
            bail!("cannot remove {}: {error}", dir.display())
        }
        _ => Ok(()),
    }
}

/// Writes clouds.yaml for the demo's users. YAML takes JSON's strings.
fn write_clouds(dir: &Path, clouds: &[Cloud]) -> Result<()> {
    let mut text = String::from("clouds:\n");
    for cloud in clouds {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        text.push_str(&format!(
            "  {}:\n    auth:\n      auth_url: {}\n      username: {}\n      password: {}\n      project_name: {}\n      user_domain_id: default\n      project_domain_id: default\n    region_name: RegionOne\n    identity_api_version: 3\n",
            cloud.name,
            quoted(&cloud.auth_url),
            quoted(&cloud.username),
            quoted(&cloud.password),
            quoted(&cloud.project)
        ));
    }
    write_private(&dir.join("clouds.yaml"), &text)
}

/// Writes a file that only we may read.
fn write_private(path: &Path, content: &str) -> Result<()> {
    let fail = || format!("cannot write {}", path.display());
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    options.open(path).and_then(|mut file| file.write_all(content.as_bytes())).with_context(fail)
}

fn size_of(path: &Path) -> Result<String> {
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    Ok(format!("{} MiB", bytes >> 20))
}

fn tail(path: &Path, lines: usize) -> String {
    process::last_lines(&std::fs::read(path).unwrap_or_default(), lines)
}

/// The most memory a process has had resident, in KiB.
fn peak_resident(pid: u32) -> Option<u64> {
    field_kib(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// How much less memory was available at the worst moment than at the start; looked at twice a second.
struct Memory {
    start: u64,
    least: Arc<AtomicU64>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Memory {
    fn watch() -> Self {
        let available = || field_kib(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable:");
        let start = available().unwrap_or_default();
        let least = Arc::new(AtomicU64::new(start));
        let shared = Arc::clone(&least);
        let watcher = tokio::spawn(async move {
            loop {
                if let Some(now) = available() {
                    shared.fetch_min(now, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self { start, least, watcher }
    }

    fn peak_kib(&self) -> u64 {
        self.start.saturating_sub(self.least.load(Ordering::Relaxed))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_fields_are_read() {
        assert_eq!(field_kib("MemTotal: 1 kB\nMemAvailable:   123 kB\n", "MemAvailable:"), Some(123));
        assert_eq!(field_kib("", "VmHWM:"), None);
    }

    #[test]
    fn only_a_demo_s_own_files_are_removed() {
        let dir = std::env::temp_dir().join(format!("cofferdam-xtask-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("state/x")).unwrap();
        std::fs::write(dir.join("demo.json"), "{}").unwrap();
        std::fs::write(dir.join("mine"), "").unwrap();
        remove_files(&dir).unwrap();
        assert!(dir.join("mine").exists() && !dir.join("state").exists() && !dir.join("demo.json").exists());
        std::fs::remove_file(dir.join("mine")).unwrap();
        remove_files(&dir).unwrap();
        assert!(!dir.exists());
        remove_files(&dir).unwrap();
    }

    #[test]
    fn a_process_that_is_no_server_of_ours_is_not_taken_for_one() {
        let me = i32::try_from(std::process::id()).unwrap();
        let record = Record { binary: "/nowhere".into(), serve: Some(me) };
        assert_eq!(running_server(&record, Path::new("/nowhere")), None);
    }
}
