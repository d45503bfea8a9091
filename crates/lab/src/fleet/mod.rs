//! A fleet: thousands of fake machines in one process, for tests of many machines and for measurements.
//!
//! Each has a BMC that speaks Redfish, at an address of its own within 127/8, and when it is started from the network or from a virtual
//! medium, a ramdisk agent that speaks the protocol of ironic-python-agent to the bare metal API. There is no network between them and the
//! control plane but the loopback interface, so nodes of a fleet have the network interface `noop`, and nothing is fetched to be booted: a
//! machine knows the address of the API as if it had read it on its kernel's command line. What it is told to write it really downloads
//! and checks, and forgets.
//!
//! As for the rest of this crate: nothing is shared with the drivers or with our own ramdisk agent.

mod agent;
mod boot_medium;
mod chance;
mod documents;
mod http;
mod machine;
mod redfish;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use machine::Machine;
pub use machine::{Counts, Power, Running, Written};

/// The user name at every BMC.
const USER: &str = "admin";

/// What a fleet is like.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Number of machines.
    #[arg(long, default_value_t = 20)]
    pub machines: usize,
    /// The bare metal API as ramdisks are told of it, such as http://127.0.0.1:5000/baremetal.
    #[arg(long, value_name = "URL")]
    pub api: String,
    /// Certificates (PEM) by which an https API, and https image sources, are known.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// What chance is drawn from: the same seed makes the same machines and the same mishaps.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Port of the BMCs; 0 lets the kernel choose.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Port of the agents; 0 lets the kernel choose.
    #[arg(long, default_value_t = 0)]
    pub agent_port: u16,
    /// Agents speak plain HTTP.
    #[arg(long)]
    pub no_agent_tls: bool,
    /// Ramdisks send no inventory before they look their node up.
    #[arg(long)]
    pub no_inspection: bool,
    /// How long a change of power takes, in milliseconds.
    #[arg(long, default_value_t = 300)]
    pub power_ms: u64,
    /// How long it takes from power to an agent or an operating system, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub boot_ms: u64,
    /// How long a step takes besides what it transfers, in milliseconds.
    #[arg(long, default_value_t = 500)]
    pub step_ms: u64,
    /// Shortest time between heartbeats, lookups and other tries, in milliseconds.
    #[arg(long, default_value_t = 500)]
    pub retry_ms: u64,
    /// By what part all of these times vary.
    #[arg(long, default_value_t = 0.2, value_name = "PART")]
    pub jitter: f64,
    /// Chance that a BMC answers a request with an error; half of these after it has done what was asked.
    #[arg(long, default_value_t = 0.0, value_name = "CHANCE")]
    pub bmc_fails: f64,
    /// Chance that a boot from the network leads nowhere.
    #[arg(long, default_value_t = 0.0, value_name = "CHANCE")]
    pub boot_fails: f64,
    /// Chance that a step of an agent fails.
    #[arg(long, default_value_t = 0.0, value_name = "CHANCE")]
    pub step_fails: f64,
}

impl Settings {
    /// A fleet whose machines lose no time, and nothing is left to chance.
    pub fn quick(machines: usize, api: &str) -> Self {
        Self {
            machines,
            api: api.to_owned(),
            ca: None,
            seed: 1,
            port: 0,
            agent_port: 0,
            no_agent_tls: false,
            no_inspection: false,
            power_ms: 20,
            boot_ms: 50,
            step_ms: 20,
            retry_ms: 100,
            jitter: 0.2,
            bmc_fails: 0.0,
            boot_fails: 0.0,
            step_fails: 0.0,
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!((1..=machine::MOST).contains(&self.machines), "--machines is not between 1 and {}", machine::MOST);
        anyhow::ensure!(self.retry_ms > 0, "--retry-ms is 0");
        for (name, value) in
            [("jitter", self.jitter), ("bmc-fails", self.bmc_fails), ("boot-fails", self.boot_fails), ("step-fails", self.step_fails)]
        {
            anyhow::ensure!((0.0..=1.0).contains(&value), "--{name} is not between 0 and 1");
        }
        Ok(())
    }
}

/// What all machines share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) machines: Vec<Arc<Machine>>,
    pub(crate) client: net::http::Client,
    pub(crate) bmc_port: u16,
    pub(crate) agent_port: u16,
}

impl Shared {
    /// The machine that has an address.
    pub(crate) fn machine(&self, address: Ipv4Addr) -> Option<&Arc<Machine>> {
        self.machines.get(Machine::index_of(address)?)
    }
}

/// What one needs to know of a machine to enrol it.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// `redfish_address`.
    pub redfish_address: String,
    /// `redfish_system_id`.
    pub redfish_system_id: String,
    /// `redfish_username`.
    pub redfish_username: String,
    /// `redfish_password`.
    pub redfish_password: String,
    /// The hardware address of its card.
    pub mac: String,
    /// Where the card's cable ends: `switch_id`, `port_id`, `switch_info`.
    pub local_link_connection: Value,
}

/// How a machine is, by its own word.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its power.
    pub power: Power,
    /// What runs on it.
    pub running: Running,
    /// What is on its disk.
    pub disk: Option<Written>,
    /// Whether anything a tenant wrote may be on the disk.
    pub is_dirty: bool,
    /// What happened to it.
    pub counts: Counts,
}

/// A running fleet; it ends when this is dropped.
pub struct Fleet {
    shared: Arc<Shared>,
    servers: JoinSet<()>,
}

impl Fleet {
    /// Starts a fleet: all machines are off.
    ///
    /// # Errors
    /// The settings make no sense, the certificates cannot be read, or the ports are taken.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        let bmcs = http::listen(settings.port).context("listening for the BMCs")?;
        let agents = http::listen(settings.agent_port).context("listening for the agents")?;
        let machines = (0..settings.machines).map(|index| Arc::new(Machine::new(&settings, index))).collect();
        let shared = Arc::new(Shared {
            client: agent::client(&settings)?,
            machines,
            bmc_port: bmcs.local_addr()?.port(),
            agent_port: agents.local_addr()?.port(),
            settings,
        });
        let mut servers = JoinSet::new();
        servers.spawn(http::serve_bmcs(bmcs, Arc::clone(&shared)));
        servers.spawn(http::serve_agents(agents, Arc::clone(&shared)));
        Ok(Self { shared, servers })
    }

    /// Where the whole fleet is described (`/fleet`) and tells how it is (`/fleet/record`).
    pub fn url(&self) -> String {
        format!("http://{}", SocketAddr::from((Ipv4Addr::LOCALHOST, self.shared.bmc_port)))
    }

    /// What one needs to know to enrol the machines.
    pub fn describe(&self) -> Vec<Description> {
        describe(&self.shared)
    }

    /// How the machines are.
    pub fn record(&self) -> Vec<Record> {
        record(&self.shared)
    }

    /// Waits until its servers end, which they do not.
    pub async fn ended(&mut self) {
        self.servers.join_next().await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.servers.abort_all();
        for machine in &self.shared.machines {
            machine.halt();
        }
    }
}

fn describe(shared: &Shared) -> Vec<Description> {
    let of = |machine: &Arc<Machine>| {
        let (switch_id, port_id, switch_info) = machine.cable();
        Description {
            name: machine.name.clone(),
            redfish_address: format!("http://{}", SocketAddr::from((machine.address, shared.bmc_port))),
            redfish_system_id: documents::system_path(&machine.name),
            redfish_username: USER.to_owned(),
            redfish_password: machine.password.clone(),
            mac: machine.mac.clone(),
            local_link_connection: json!({"switch_id": switch_id, "port_id": port_id, "switch_info": switch_info}),
        }
    };
    shared.machines.iter().map(of).collect()
}

fn record(shared: &Shared) -> Vec<Record> {
    let of = |machine: &Arc<Machine>| {
        let state = machine.lock();
        Record {
            name: machine.name.clone(),
            power: state.power,
            running: state.running,
            disk: state.disk.as_deref().cloned(),
            is_dirty: state.is_dirty,
            counts: state.counts,
        }
    };
    shared.machines.iter().map(of).collect()
}

/// Answers what is asked of the fleet itself.
fn answer(shared: &Shared, path: &str) -> Option<Value> {
    match path {
        "/fleet" => serde_json::to_value(describe(shared)).ok(),
        "/fleet/record" => serde_json::to_value(record(shared)).ok(),
        _ => None,
    }
}

/// Runs a fleet in the foreground until it is told to end.
///
/// # Errors
/// See [`Fleet::start`]; the signals cannot be listened to.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut fleet = Fleet::start(settings)?;
    // Whoever started it waits for this line, which is all there is on standard output.
    println!("{}", json!({"url": fleet.url(), "machines": fleet.shared.machines.len(), "seed": fleet.shared.settings.seed}));
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listening for SIGINT"),
        () = fleet.ended() => anyhow::bail!("a server of the fleet ended"),
    }
}

#[cfg(test)]
mod tests;
