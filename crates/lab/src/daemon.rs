//! The rack's daemon: builds the rack, keeps it running, takes it down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bmc::{self, Controller};
use crate::firmware;
use crate::kernel::{links, sweep};
use crate::machine::namespaces::{self, Namespaces};
use crate::machine::qemu::Qemu;
use crate::machine::{self, Power, supervisor};
use crate::rack::{MachineKind, Plan, Rack};
use crate::status::{MachineStatus, Status};
use crate::stop::stopped;
use crate::switch::{self, Switch};

/// How long a daemon may take to go; each machine takes a fraction of a second.
const DOWN_DEADLINE: Duration = Duration::from_secs(45);
/// How long the parts of a rack have of that for stopping by themselves.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// The lock that a rack's daemon holds as long as it lives, and that whoever takes a rack down holds meanwhile. The file holds the
/// process id of the holder.
pub(crate) struct Lock(Flock<File>);

impl Lock {
    /// Takes the lock; `None` if another process has it.
    pub(crate) fn take(dir: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("lab.pid"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)?;
                lock.rewind()?;
                writeln!(lock, "{}", std::process::id())?;
                Ok(Some(Self(lock)))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Whether the file locked is still the one found at its path: taking a rack down removes it.
    fn is_current(&self, dir: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        match (self.0.metadata(), fs::metadata(dir.join("lab.pid"))) {
            (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
            _ => false,
        }
    }
}

/// Builds the rack and keeps it until SIGTERM or SIGINT, then removes what it made; the disks' files stay until [`down`].
///
/// # Errors
/// What could not be built; it has been removed again.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    let began = Instant::now();
    fs::create_dir_all(&plan.dir).with_context(|| format!("making {}", plan.dir.display()))?;
    let lock = Lock::take(&plan.dir)?.context("this rack is running already")?;
    anyhow::ensure!(lock.is_current(&plan.dir), "this rack is being taken down");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let left = sweep::kernel_objects(&plan.name, &plan.dir).await;
    anyhow::ensure!(left.is_empty(), "an earlier rack of this name cannot be cleared away: {}", left.join("; "));
    let (stop, stopping) = watch::channel(false);
    let mut tasks = Vec::new();
    let result = tokio::select! {
        built = build(&plan, &stopping, &mut tasks, began) => built,
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop while starting")),
    };
    if result.is_ok() {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("going down");
    }
    stop.send_replace(true);
    if tokio::time::timeout(STOP_DEADLINE, futures_util::future::join_all(tasks)).await.is_err() {
        tracing::warn!("a part of the rack does not stop; it is removed all the same");
    }
    let left = sweep::kernel_objects(&plan.name, &plan.dir).await;
    remove_if_there(&plan.dir.join("lab.sock"))?;
    drop(lock);
    result?;
    anyhow::ensure!(left.is_empty(), "{}", left.join("; "));
    Ok(())
}

async fn build(plan: &Plan, stop: &watch::Receiver<bool>, tasks: &mut Vec<JoinHandle<()>>, began: Instant) -> anyhow::Result<()> {
    let earlier = match Rack::load(&plan.dir) {
        Ok(rack) => Some(rack),
        Err(crate::rack::RackError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "the earlier rack's description is of no use");
            None
        }
    };
    let mut rack = plan.describe(earlier.as_ref())?;
    for machine in &rack.machines {
        supervisor::prepare_files(machine).with_context(|| format!("making the files of {}", machine.name))?;
    }
    lay_cables(&rack).await?;
    let mut controllers = Vec::with_capacity(rack.machines.len());
    for machine in &mut rack.machines {
        let listener = listen(&machine.bmc.url).await?;
        machine.bmc.url = format!("http://{}", listener.local_addr()?);
        controllers.push((listener, machine.clone()));
    }
    rack.save()?;

    let starts = rack.switches().map(|leaf| {
        let ports = rack.machines.iter().filter(|machine| machine.leaf == leaf.name).map(|machine| machine.port.clone()).collect();
        let switch = Switch { leaf: leaf.clone(), dir: rack.switch_dir(leaf), ports };
        let stop = stop.clone();
        async move { switch.start(&stop).await.with_context(|| format!("starting {}", switch.leaf.name)) }
    });
    for started in futures_util::future::join_all(starts).await {
        tasks.extend(started?);
    }

    let mut circuits = Vec::new();
    for (listener, description) in controllers {
        let (circuit, supply) = machine::circuit();
        let uuid = firmware::uuid_of(&rack.name, &description.name);
        let name = description.name.clone();
        tasks.push(match description.kind {
            MachineKind::Namespaces => {
                let body = Namespaces::new(&rack, &description).context("the machine's leaf is missing")?;
                tokio::spawn(machine::run(name, body, supply, stop.clone()))
            }
            MachineKind::Qemu => {
                let body = Qemu::new(&rack, &description).context("the machine's leaf is missing")?;
                tokio::spawn(machine::run(name, body, supply, stop.clone()))
            }
        });
        let controller = Arc::new(Controller { machine: description, uuid, circuit });
        circuits.push(Arc::clone(&controller));
        let stop = stop.clone();
        tasks.push(tokio::spawn(async move {
            if let Err(error) = bmc::serve(listener, controller, stop).await {
                tracing::error!(%error, "a BMC stopped serving");
            }
        }));
    }
    // Last: whoever can connect may take the rack to be ready.
    remove_if_there(&rack.dir.join("lab.sock"))?;
    let listener = UnixListener::bind(rack.dir.join("lab.sock")).context("making the control socket")?;
    let took = began.elapsed().as_millis();
    tracing::info!(rack = rack.name, milliseconds = took, "ready");
    tasks.push(tokio::spawn(answer(listener, rack.name.clone(), circuits, took, stop.clone())));
    Ok(())
}

/// Makes all namespaces and all cables of the rack.
async fn lay_cables(rack: &Rack) -> anyhow::Result<()> {
    let mut names: Vec<String> = rack.switches().map(|leaf| leaf.netns.clone()).collect();
    names.push(rack.holder());
    links::add_namespaces(names.clone()).await?;
    for name in &names {
        links::silence(name).with_context(|| format!("switching IPv6 off in {name}"))?;
    }
    let holder = rack.holder();
    let mut commands = switch::trunks(&rack.leaves, &rack.edge);
    for leaf in &rack.leaves {
        for machine in rack.machines.iter().filter(|machine| machine.leaf == leaf.name) {
            let cable = namespaces::cable_commands(&machine.port, &holder, &machine.name, &machine.mac);
            commands.entry(leaf.netns.clone()).or_default().extend(cable);
        }
    }
    for (netns, lines) in &commands {
        links::ip(netns, lines).await?;
    }
    for leaf in rack.switches() {
        let lines: Vec<String> = leaf.uplinks.iter().map(|port| format!("link set dev {port} up")).collect();
        links::ip(&leaf.netns, &lines).await?;
    }
    Ok(())
}

/// Listens where `url` says, or at a free port of the loopback address if that one is taken.
async fn listen(url: &str) -> anyhow::Result<TcpListener> {
    let wanted = url.trim_start_matches("http://");
    match TcpListener::bind(wanted).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(TcpListener::bind("127.0.0.1:0").await?),
        bound => bound.with_context(|| format!("listening on {wanted}")),
    }
}

async fn answer(listener: UnixListener, name: String, circuits: Vec<Arc<Controller>>, took: u128, mut stop: watch::Receiver<bool>) {
    loop {
        let mut stream = tokio::select! {
            () = stopped(&mut stop) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let machines = circuits
            .iter()
            .map(|it| {
                let power = it.circuit.power();
                let pid = (power == Power::On).then(|| namespaces::first_process(&it.machine)).flatten();
                MachineStatus { name: it.machine.name.clone(), power, pid }
            })
            .collect();
        let status = Status { name: name.clone(), pid: std::process::id(), started_in_ms: took, machines };
        let text = serde_json::to_vec(&status).unwrap_or_default();
        // A client that does not read must not keep others from being answered.
        match tokio::time::timeout(Duration::from_secs(1), stream.write_all(&text)).await {
            Ok(Ok(())) => {}
            _ => tracing::debug!("a client of the control socket went away"),
        }
    }
}

/// Takes a rack down, whether or not its daemon is there, and removes everything it made.
///
/// # Errors
/// What could not be removed. Trying again is harmless.
pub(crate) async fn down(name: &str, dir: &Path) -> anyhow::Result<()> {
    let until = Instant::now() + DOWN_DEADLINE;
    let mut told = false;
    let lock = loop {
        if !dir.exists() {
            break None;
        }
        if let Some(lock) = Lock::take(dir)? {
            break Some(lock);
        }
        if let Some(daemon) = daemon_pid(dir)? {
            let late = Instant::now() > until;
            let signal = if late { Signal::SIGKILL } else { Signal::SIGTERM };
            if !told || late {
                told = true;
                match kill(Pid::from_raw(daemon), signal) {
                    Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                    Err(error) => return Err(error).context("stopping the rack's daemon"),
                }
            }
        }
        anyhow::ensure!(Instant::now() < until + Duration::from_secs(5), "the rack's daemon does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut left = sweep::kernel_objects(name, dir).await;
    if let Err(error) = sweep::files(dir) {
        left.push(format!("removing files of {}: {error}", dir.display()));
    }
    drop(lock);
    anyhow::ensure!(left.is_empty(), "{}", left.join("; "));
    Ok(())
}

/// The process that holds the rack's lock.
pub(crate) fn daemon_pid(dir: &Path) -> io::Result<Option<i32>> {
    let mut text = String::new();
    match File::open(dir.join("lab.pid")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.read_to_string(&mut text)?,
    };
    Ok(text.trim().parse().ok().filter(|pid| *pid > 1))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
