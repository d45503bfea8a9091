//! The deploy ramdisk: a machine that was booted over the network asks the control plane who it is, then writes, verifies and
//! erases its own disk as told.
//!
//! One pass: address by DHCP → lookup → command server (HTTPS) → heartbeats, until the machine is switched off. Everything that
//! can fail for want of a control plane is tried again for ever, because a machine in a ramdisk has nothing better to do.
//! Absent on purpose: a shell, a way in without the token, any knowledge of tenants or of networks but its own interface.

mod api;
mod cmdline;
mod commands;
mod configdrive;
mod disk;
mod disks;
mod erase;
mod failure;
mod gpt;
mod hardware;
mod image;
mod init;
mod inspection;
mod interface;
mod kernel;
mod lldp;
mod logs;
mod medium;
mod nvme;
mod rescue;
mod server;
mod steps;
mod tls;
mod tpm;
mod unpack;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use net::Netns;
use tokio::sync::watch;

use api::{Api, Backoff, Beat, Node};
use cmdline::Cmdline;
use failure::chain;
use init::Ending;
use interface::{Interface, NetworkError};
use lldp::Heard;
use medium::Medium;

/// How long lookup is tried before DHCP is asked again: the lease may have run out, or the switch port may have moved to
/// another network.
const LOOKUP_ROUND: Duration = Duration::from_secs(300);
/// Shortest time between heartbeats that nothing caused.
const SHORTEST_BEAT: Duration = Duration::from_millis(500);
/// How long neighbours are listened for unless the kernel command line says otherwise: switches speak every 30 s.
const LLDP_PATIENCE: Duration = Duration::from_secs(30);
/// However long it says.
const LONGEST_LLDP: Duration = Duration::from_secs(300);
/// How often a rescued machine renews its address.
const RENEWAL: Duration = Duration::from_secs(300);
/// Time for running work to stop at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Arguments of `cofferdam ramdisk`; the defaults are right on a machine.
#[derive(clap::Args, Clone, Debug)]
pub struct RamdiskArgs {
    /// File with the kernel command line, which names the control plane (`ipa-api-url=`)
    #[arg(long, value_name = "FILE", default_value = "/proc/cmdline")]
    pub cmdline: PathBuf,
    /// Disk to deploy to and to clean
    #[arg(long, default_value = "/dev/vda")]
    pub device: PathBuf,
    /// Network interface [default: the one booted from, else the first with a link]
    #[arg(long)]
    pub interface: Option<String>,
    /// Port of the command server; 0 lets the kernel choose
    #[arg(long, value_name = "PORT", default_value_t = 9999)]
    pub listen: u16,
    /// Use the address that the interface already has
    #[arg(long)]
    pub no_dhcp: bool,
    /// Folder for the rescue user's password [default: /etc where this is process 1, else rescue is refused]
    #[arg(long, value_name = "FOLDER")]
    pub etc: Option<PathBuf>,
}

impl Default for RamdiskArgs {
    fn default() -> Self {
        Self { cmdline: "/proc/cmdline".into(), device: "/dev/vda".into(), interface: None, listen: 9999, no_dhcp: false, etc: None }
    }
}

/// Runs the agent until the control plane switches the machine off or SIGTERM arrives. As process 1 it first mounts what is
/// missing, never gives up, and at the end powers off or reboots the machine (or its process namespace). Otherwise it returns and
/// leaves the machine alone.
///
/// # Errors
/// The kernel command line cannot be read or names no control plane, or the command server cannot start. Never as process 1,
/// which logs and tries again.
pub fn run(args: RamdiskArgs) -> anyhow::Result<()> {
    let first = init::is_first();
    if first {
        init::prepare();
    }
    let ending = loop {
        match session(&args, first) {
            Ok(ending) => break ending,
            Err(error) if first => {
                tracing::error!(error = format!("{error:#}"), "the agent could not start; trying again in 10 s");
                std::thread::sleep(Duration::from_secs(10));
            }
            Err(error) => return Err(error),
        }
    };
    tracing::info!(?ending, "the agent ends");
    if first {
        init::end(ending);
        std::process::exit(0);
    }
    Ok(())
}

fn session(args: &RamdiskArgs, first: bool) -> anyhow::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = agent(args) => outcome,
            () = init::asked_to_end() => Ok(Ending::PowerOff),
            () = async { if first { init::reap().await } else { std::future::pending().await } } => Ok(Ending::PowerOff),
        }
    });
    runtime.shutdown_timeout(FAREWELL);
    outcome
}

async fn agent(args: &RamdiskArgs) -> anyhow::Result<Ending> {
    let text = std::fs::read_to_string(&args.cmdline).with_context(|| format!("reading {}", args.cmdline.display()))?;
    let mut cmdline = Cmdline::parse(&text);
    let medium = if init::is_machine() {
        tokio::task::spawn_blocking(medium::find).await.ok().flatten().unwrap_or_default()
    } else {
        Medium::default()
    };
    if let Some(parameters) = &medium.parameters {
        cmdline.read(parameters);
    }
    let base = cmdline.api_url.clone().with_context(|| format!("{} has no ipa-api-url", args.cmdline.display()))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api = base, device = %args.device.display(), "the ramdisk agent started");
    let whole = init::is_machine();
    let Introduced { interface, address, api, node, heard } = introduce(args, &cmdline, &medium, &base, whole).await;

    let ip = IpAddr::V4(address);
    let identity = tls::identity(ip).context("making the command server's certificate")?;
    let listener = net::tcp_listen(&Netns::host(), SocketAddr::new(ip, args.listen)).context("starting the command server")?;
    let callback_url = format!("https://{}", listener.local_addr().context("starting the command server")?);
    let (ending, mut ended) = watch::channel(None);
    let commands = commands::Commands::default();
    let finished = commands.finished();
    let machine = Arc::new(steps::Machine {
        device: args.device.clone(),
        whole,
        interface: interface.clone(),
        heard,
        etc: args.etc.clone().or_else(|| init::is_first().then(|| "/etc".into())),
        tpm: cmdline.tpm.as_deref().and_then(tpm::Place::parse).unwrap_or_default(),
        commands,
        ending,
    });
    let server = Arc::new(server::Server::new(machine, &node.token));
    tracing::info!(node = %node.uuid, callback_url, "the command server listens");
    let ending = tokio::select! {
        () = server.serve(listener, Arc::clone(&identity.config)) => anyhow::bail!("the command server stopped"),
        () = beat(&api, &node, &callback_url, &identity.certificate, finished) => anyhow::bail!("the heartbeats stopped"),
        ending = ended.wait_for(Option::is_some) => ending.ok().and_then(|it| *it).unwrap_or(Ending::PowerOff),
    };
    // From here on nobody listens and nobody is told.
    match ending {
        Ending::PowerOff | Ending::Reboot => Ok(ending),
        Ending::Rescue => stay(args, &interface).await,
        Ending::Lockdown => {
            for other in interface::list().unwrap_or_default().iter().filter(|_| init::is_first()) {
                if let Err(error) = kernel::set_down(&other.name) {
                    tracing::error!(interface = other.name, %error, "the interface could not be taken down");
                }
            }
            tracing::info!("the machine is cut off");
            std::future::pending().await
        }
    }
}

/// Keeps the machine in the ramdisk, on whichever network it is put on next.
async fn stay(args: &RamdiskArgs, interface: &Interface) -> ! {
    tracing::info!(interface = interface.name, "the machine stays in the ramdisk for its tenant");
    loop {
        let asking = interface.clone();
        let wait = if args.no_dhcp {
            RENEWAL
        } else {
            match tokio::task::spawn_blocking(move || interface::obtain(&asking)).await {
                Ok(Ok(lease)) => {
                    tracing::info!(address = %lease.address, "the machine has an address");
                    RENEWAL
                }
                _ => Duration::from_secs(5),
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// What is known once the control plane knows the machine. No `Debug`: it holds the token.
struct Introduced {
    interface: Interface,
    address: std::net::Ipv4Addr,
    api: Api,
    node: Node,
    heard: Heard,
}

/// Gets an address, lets itself be inspected once if that is asked for, and learns which node this is; goes on until that is done.
async fn introduce(args: &RamdiskArgs, cmdline: &Cmdline, medium: &Medium, base: &str, whole: bool) -> Introduced {
    let mut backoff = Backoff::default();
    let mut heard = None;
    let mut known = None;
    loop {
        match connect(args, cmdline, medium).await {
            Ok((interface, address)) => {
                tracing::info!(interface = interface.name, mac = interface.mac_text(), %address, "the machine has an address");
                backoff = Backoff::default();
                if heard.is_none() && !cmdline.inspection_urls.is_empty() {
                    let (neighbours, node) = inspect(args, cmdline, &interface, whole).await;
                    heard = Some(neighbours);
                    known = node;
                }
                let mut api = Api::new(base);
                let node = known.map(|it| it.to_string()).or_else(|| cmdline.node_uuid.clone());
                if let Some(node) = look_up(&mut api, args, cmdline, &interface, node.as_deref()).await {
                    return Introduced { interface, address, api, node, heard: heard.unwrap_or_default() };
                }
            }
            Err(error) => {
                let wait = backoff.next();
                tracing::warn!(error = chain(&error), wait_ms = wait.as_millis(), "the machine has no address yet");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Listens for neighbours and sends the inventory. Without success the agent goes on: its node may be known already.
async fn inspect(args: &RamdiskArgs, cmdline: &Cmdline, interface: &Interface, whole: bool) -> (Heard, Option<uuid::Uuid>) {
    let patience = cmdline.lldp_timeout.unwrap_or(LLDP_PATIENCE).min(LONGEST_LLDP);
    let only = args.interface.clone();
    let listening = move || inspection::neighbours(only.as_deref(), init::is_first(), patience);
    let heard = tokio::task::spawn_blocking(listening).await.unwrap_or_default();
    let disks = steps::disks_of(&args.device, whole);
    let described: Vec<_> = disks.iter().filter_map(|it| disks::describe(it)).collect();
    let root = if args.device.exists() { Some(args.device.clone()) } else { disks::choose(&described, None).ok() };
    let node = inspection::inspect(&cmdline.inspection_urls, disks, root, interface, &heard).await.unwrap_or_else(|error| {
        tracing::error!(error, "inspection failed; going on without it");
        None
    });
    (heard, node)
}

async fn connect(args: &RamdiskArgs, cmdline: &Cmdline, medium: &Medium) -> Result<(Interface, std::net::Ipv4Addr), NetworkError> {
    // A medium that names an interface's address has the word; a network that needs it has no DHCP.
    for interface in interface::list()? {
        if let Some(known) = medium.addresses.iter().find(|it| it.mac == interface.mac_text()) {
            interface::take(&interface, known)?;
            return Ok((interface, known.address));
        }
    }
    let interface = interface::choose(&interface::list()?, args.interface.as_deref(), cmdline.boot_mac.as_deref())?;
    if args.no_dhcp {
        let address = interface.address.ok_or_else(|| NetworkError::NoAddress(interface.name.clone()))?;
        return Ok((interface, address));
    }
    let asking = interface.clone();
    let lease = tokio::task::spawn_blocking(move || interface::obtain(&asking))
        .await
        .map_err(|error| NetworkError::Configure { name: interface.name.clone(), source: std::io::Error::other(error) })??;
    Ok((interface, lease.address))
}

/// Asks for the node until it is known, or `None` when it is time to look at the address again.
async fn look_up(api: &mut Api, args: &RamdiskArgs, cmdline: &Cmdline, interface: &Interface, known: Option<&str>) -> Option<Node> {
    let since = Instant::now();
    let mut backoff = Backoff::default();
    while since.elapsed() < LOOKUP_ROUND {
        let macs = known_by(args, interface);
        let outcome = match api.negotiate().await {
            Ok(()) => api.lookup(&macs, known, cmdline.agent_token.as_deref()).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(node) => {
                tracing::info!(node = %node.uuid, heartbeat_timeout_s = node.heartbeat_timeout.as_secs_f64(), "the machine knows its node");
                return Some(node);
            }
            Err(error) => {
                let wait = backoff.next();
                tracing::warn!(error = chain(&error), wait_ms = wait.as_millis(), "the machine does not know its node yet");
                tokio::time::sleep(wait).await;
            }
        }
    }
    None
}

/// The hardware addresses to look the node up by: the interface booted from first, then the others, since one of them may be the
/// one the node is known by. An interface chosen by hand stands alone.
fn known_by(args: &RamdiskArgs, interface: &Interface) -> Vec<String> {
    let mut macs = vec![interface.mac_text()];
    if args.interface.is_none() {
        for other in interface::list().unwrap_or_default().iter().filter(|it| !it.loopback) {
            if !macs.contains(&other.mac_text()) {
                macs.push(other.mac_text());
            }
        }
    }
    macs
}

/// Heartbeats for ever: at once, then at half the control plane's time-out or a little sooner, and whenever a command ended.
async fn beat(api: &Api, node: &Node, callback_url: &str, certificate: &str, mut finished: watch::Receiver<u64>) {
    let interval = (node.heartbeat_timeout / 2).max(SHORTEST_BEAT);
    let mut backoff = Backoff::default();
    loop {
        finished.mark_unchanged();
        let wait = match api.heartbeat(node.uuid, &Beat { callback_url, token: &node.token, certificate }).await {
            Ok(()) => {
                backoff = Backoff::default();
                tracing::debug!(node = %node.uuid, "the control plane took the heartbeat");
                api::shorten(interval, 0.4)
            }
            Err(error) => {
                let wait = backoff.next().min(interval);
                tracing::warn!(error = chain(&error), wait_ms = wait.as_millis(), "the heartbeat failed");
                wait
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = finished.changed() => if changed.is_err() { return },
        }
    }
}
