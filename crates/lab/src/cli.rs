//! The command line `cofferdam lab …`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::machine::supervisor::{self, Which};
use crate::rack::{self, Plan, Rack};
use crate::status::{self, Status};
use crate::{daemon, firmware, fleet, image, netos, probe, ramdisk};

/// How long a rack may take to come up; under three seconds is usual.
const UP_DEADLINE: Duration = Duration::from_secs(60);

/// Runs a simulated rack on this machine.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a rack: switches, machines with their BMCs, cables.
    Up {
        /// What to build.
        #[command(flatten)]
        shape: Shape,
        /// Print the rack's description as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show whether the rack runs, and which machines have power.
    Status {
        /// Which rack.
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop the rack and remove everything it made, disks included.
    Down {
        /// Which rack.
        #[command(flatten)]
        place: Place,
    },
    /// Send packets from every machine and container of the rack to every other, and report who reached whom.
    Probe {
        /// Which rack.
        #[command(flatten)]
        place: Place,
        /// Also connect to this TCP port of every container and its machine; what answers says its host name.
        #[arg(long)]
        service_port: Option<u16>,
        /// Print the whole report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Build the disk image of the rack's machines: a small Debian with Docker. Cached; downloads packages the first time.
    Image {
        /// Where to put it.
        #[arg(long)]
        output: PathBuf,
        /// A whole Debian with kernel and boot loader in place of it, for virtual machines.
        #[arg(long)]
        bootable: bool,
    },
    /// Write what the rack's machines boot to be deployed or erased: deploy.kernel and deploy.initrd.
    Ramdisk {
        /// The folder to put both into.
        #[arg(long)]
        output: PathBuf,
        /// With a kernel and its modules, for virtual machines.
        #[arg(long)]
        bootable: bool,
    },
    /// Run thousands of fake machines with BMCs and ramdisk agents that speak the real protocols, in the foreground.
    ///
    /// Prints one line of JSON with the URL below which /fleet says how to enrol the machines and /fleet/record how they are. Their nodes
    /// have driver redfish, network interface noop and boot interface ipxe.
    Fleet(fleet::Settings),
    /// Run a simulated switch operating system that is reached over SSH, in the foreground.
    ///
    /// Prints one line of JSON with its address and the fingerprint of its host key. With --ovs, packets follow what it is set to.
    Switch(Box<netos::command::Settings>),
    /// The rack's daemon, in the foreground.
    #[command(hide = true)]
    Run {
        /// What to build.
        #[command(flatten)]
        shape: Shape,
        /// Become the leader of a session of its own.
        #[arg(long)]
        detach: bool,
    },
    /// A machine's supervisor or firmware.
    #[command(hide = true)]
    Machine(Which),
}

/// Which rack.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Name of the rack: one to ten of a-z and 0-9.
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// Its directory [default: /var/lib/cofferdam/lab/NAME].
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

impl Place {
    fn dir(&self) -> anyhow::Result<PathBuf> {
        rack::check_name(&self.name)?;
        match &self.dir {
            Some(dir) => std::path::absolute(dir).with_context(|| format!("the directory {} has no absolute path", dir.display())),
            None => Ok(rack::default_dir(&self.name)),
        }
    }
}

/// Which rack, and what it is made of.
#[derive(Clone, Debug, Args)]
pub struct Shape {
    /// Which rack.
    #[command(flatten)]
    pub place: Place,
    /// Number of leaf switches.
    #[arg(long, default_value_t = 2)]
    pub leaves: usize,
    /// Number of machines.
    #[arg(long, default_value_t = 6)]
    pub machines: usize,
    /// Size of each machine's disk in GiB (the file is sparse).
    #[arg(long, default_value_t = 4)]
    pub disk_gb: u64,
    /// Memory of each machine in MiB.
    #[arg(long, default_value_t = 512)]
    pub memory_mb: u64,
    /// How many of the machines, counted from the last, are virtual ones (QEMU, with firmware and a kernel of their own).
    #[arg(long, default_value_t = 0)]
    pub virtual_machines: usize,
}

impl Shape {
    fn plan(&self) -> anyhow::Result<Plan> {
        Ok(Plan {
            name: self.place.name.clone(),
            dir: self.place.dir()?,
            leaves: self.leaves,
            machines: self.machines,
            disk_gb: self.disk_gb,
            memory_mb: self.memory_mb,
            virtual_machines: self.virtual_machines,
        })
    }
}

impl Command {
    /// Carries the command out. Must be called before this process has more than one thread: some commands change namespaces.
    ///
    /// # Errors
    /// Anything that keeps the command from being carried out, with its causes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Up { shape, json } => up(&shape, json),
            Self::Status { place, json } => show(&place.dir()?, json),
            Self::Down { place } => {
                need_root()?;
                let dir = place.dir()?;
                runtime()?.block_on(daemon::down(&place.name, &dir))?;
                println!("rack {} is down", place.name);
                Ok(ExitCode::SUCCESS)
            }
            Self::Probe { place, service_port, json } => {
                need_root()?;
                let report = probe::run(&place.dir()?, service_port)?;
                if json {
                    println!("{}", serde_json::to_string(&report)?);
                } else {
                    for it in report.results.iter().filter(|it| it.received > 0) {
                        println!("{} reaches {} by {} ({} of {})", it.from, it.to, it.kind, it.received, it.sent);
                    }
                    println!("{} endpoints in {} ms; no other packet got through", report.endpoints.len(), report.duration_ms);
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Image { output, bootable } => {
                let built = if bootable { image::debian::build(&output)? } else { image::build(&output)? };
                let how = if built.cached { "found in the cache" } else { "built" };
                println!("{}: {} MiB, {how} in {:.1} s, sha512 {}", output.display(), built.size >> 20, built.seconds, built.sha512);
                Ok(ExitCode::SUCCESS)
            }
            Self::Ramdisk { output, bootable } => {
                let kernel = if bootable { Some(image::debian::kernel()?) } else { None };
                ramdisk::build(&output, kernel.as_ref())?;
                println!("{0}/deploy.kernel\n{0}/deploy.initrd", output.display());
                Ok(ExitCode::SUCCESS)
            }
            Self::Fleet(settings) => {
                runtime()?.block_on(fleet::run(settings))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Switch(settings) => {
                runtime()?.block_on(netos::command::run(*settings))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Run { shape, detach } => {
                need_root()?;
                if detach {
                    nix::unistd::setsid().context("leaving the session")?;
                }
                runtime()?.block_on(daemon::run(shape.plan()?))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Machine(which) if which.firmware => match firmware::run(&which)? {},
            Self::Machine(which) => Ok(ExitCode::from(supervisor::run(&which)?)),
        }
    }
}

fn need_root() -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "the simulated rack needs root: it makes network namespaces, mounts and control groups"
    );
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")
}

fn up(shape: &Shape, json: bool) -> anyhow::Result<ExitCode> {
    need_root()?;
    let plan = shape.plan()?;
    plan.describe(None)?;
    if let Some(status) = running(&plan.dir)? {
        let rack = Rack::load(&plan.dir)?;
        return report(&rack, &status, "runs already", json);
    }
    let missing: Vec<&str> = ["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool", "ip", "ethtool", "mount"]
        .into_iter()
        .filter(|program| !in_path(program))
        .collect();
    anyhow::ensure!(
        missing.is_empty(),
        "{} missing; Debian: apt-get install openvswitch-switch iproute2 ethtool util-linux",
        missing.join(", ")
    );
    fs::create_dir_all(&plan.dir).with_context(|| format!("making {}", plan.dir.display()))?;
    let path = plan.dir.join("lab.log");
    let log = OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
    let begin = log.metadata()?.len();
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .args(["lab", "run", "--detach", "--name", &plan.name, "--leaves", &plan.leaves.to_string()])
        .args(["--machines", &plan.machines.to_string(), "--disk-gb", &plan.disk_gb.to_string()])
        .args(["--memory-mb", &plan.memory_mb.to_string(), "--virtual-machines", &plan.virtual_machines.to_string(), "--dir"])
        .arg(&plan.dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("starting the rack's daemon")?;
    let status = await_ready(&mut child, &plan.dir).with_context(|| {
        let said = tail(&path, begin).unwrap_or_default();
        format!("the rack did not come up; its daemon said:\n{said}")
    })?;
    report(&Rack::load(&plan.dir)?, &status, "is up", json)
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn await_ready(child: &mut Child, dir: &Path) -> anyhow::Result<Status> {
    let until = Instant::now() + UP_DEADLINE;
    loop {
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("it ended with {status}");
        }
        // Only its own answer counts, not that of a predecessor still going.
        if let Some(status) = running(dir)?
            && status.pid == child.id()
        {
            return Ok(status);
        }
        if Instant::now() > until {
            child.kill()?;
            anyhow::bail!("it was not ready within {UP_DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tail(path: &Path, begin: u64) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(4096))))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// The status of the rack in `dir`, if one runs.
fn running(dir: &Path) -> anyhow::Result<Option<Status>> {
    match status::ask(dir) {
        Ok(status) => Ok(Some(status)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).context("asking the rack how it is"),
    }
}

fn report(rack: &Rack, status: &Status, how: &str, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(rack)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("rack {} {how} ({} ms to start), files in {}", rack.name, status.started_in_ms, rack.dir.display());
    print_machines(rack, status);
    println!("configuration for `cofferdam serve --config`: {}", rack.dir.join("cofferdam.toml").display());
    Ok(ExitCode::SUCCESS)
}

fn print_machines(rack: &Rack, status: &Status) {
    let names: Vec<&str> = rack.switches().map(|leaf| leaf.name.as_str()).collect();
    println!("switches: {}", names.join(", "));
    println!("{:<8} {:<12} {:<18} {:<14} BMC", "machine", "power", "MAC", "port");
    for machine in &rack.machines {
        let power = status.machines.iter().find(|it| it.name == machine.name).map_or_else(|| "?".into(), |it| it.power.to_string());
        let port = format!("{}/{}", machine.leaf, machine.port);
        println!("{:<8} {power:<12} {:<18} {port:<14} {}{}", machine.name, machine.mac, machine.bmc.url, machine.bmc.system);
    }
}

fn show(dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let Some(status) = running(dir)? else {
        if json {
            println!("null");
        } else {
            println!("no rack runs in {}", dir.display());
        }
        return Ok(ExitCode::FAILURE);
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        println!("rack {} runs, daemon {}", status.name, status.pid);
        print_machines(&Rack::load(dir)?, &status);
    }
    Ok(ExitCode::SUCCESS)
}
