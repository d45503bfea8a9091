//! `cofferdam lab switch`: one simulated switch in the foreground, with a socket over which its faults are set.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State as Extracted;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use super::device::{Carried, Config};
use super::faults::{Counts, Settings as Faults};
use super::plane::{Bridge, Plane};
use super::{Simulator, Spec, os};

/// What a simulated switch is like.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Its operating system; `help` lists them.
    #[arg(long)]
    pub os: String,
    /// Where SSH (and NETCONF) is served.
    #[arg(long, default_value = "127.0.0.1:2222")]
    pub listen: SocketAddr,
    /// Where gNMI is served, if the operating system has it.
    #[arg(long)]
    pub gnmi: Option<SocketAddr>,
    /// Number of ports.
    #[arg(long, default_value_t = 48)]
    pub ports: usize,
    /// Its name.
    #[arg(long, default_value = "leaf1")]
    pub hostname: String,
    /// Who may log in.
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// File with the password [default: the password is `admin`].
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File with what `enable` asks for [default: the user needs none].
    #[arg(long, value_name = "FILE")]
    pub enable_password_file: Option<PathBuf>,
    /// File with public keys that may log in, in OpenSSH's form.
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Option<PathBuf>,
    /// How long a commit takes (a save, where lines take effect one by one).
    #[arg(long, default_value_t = 0.0)]
    pub commit_seconds: f64,
    /// Drive this bridge of Open vSwitch with what the ports pass.
    #[arg(long, value_name = "[NETNS/]BRIDGE", requires = "map")]
    pub ovs: Option<String>,
    /// The database of that Open vSwitch, such as unix:/run/openvswitch/db.sock.
    #[arg(long, value_name = "DATABASE", requires = "ovs")]
    pub ovs_db: Option<String>,
    /// The bridge's ports by those of the switch: Ethernet1/1=p1,Ethernet1/2=p2.
    #[arg(long, value_name = "PORT=PORT,…", value_delimiter = ',', value_parser = pair)]
    pub map: Vec<(String, String)>,
    /// Serve GET /state, PUT /faults, POST /reboot and POST /edit (HTTP, JSON) at this socket.
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// Keep the configuration of the next start in this file.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (port, socket) = text.split_once('=').ok_or("not PORT=PORT")?;
    Ok((port.to_owned(), socket.to_owned()))
}

fn secret(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// How a simulated switch is, as `GET /state` answers.
#[derive(Debug, Serialize)]
pub struct State {
    /// Its operating system.
    pub os: &'static str,
    /// Where SSH is served.
    pub address: SocketAddr,
    /// Where gNMI is served.
    pub gnmi: Option<SocketAddr>,
    /// The fingerprint of its SSH host key.
    pub host_key: String,
    /// Whether it is starting up.
    pub down: bool,
    /// How many connections are open.
    pub connections: usize,
    /// What it was asked for so far.
    pub counts: Counts,
    /// What is wrong with it.
    pub faults: Faults,
    /// What passes each port.
    pub carried: BTreeMap<String, Carried>,
    /// The configuration in force.
    pub running: Config,
    /// The configuration of the next start.
    pub startup: Config,
}

impl State {
    /// Looks into a switch.
    pub fn of(simulator: &Simulator) -> Self {
        let device = simulator.device();
        let running = (*device.running()).clone();
        Self {
            os: simulator.os().name(),
            address: simulator.address(),
            gnmi: simulator.gnmi_address(),
            host_key: simulator.host_key().to_owned(),
            down: device.is_down(),
            connections: device.connections(),
            counts: device.faults().counts(),
            faults: device.faults().settings(),
            carried: running.ports.keys().map(|port| (port.clone(), device.carries(port))).collect(),
            running,
            startup: (*device.startup()).clone(),
        }
    }
}

#[derive(Deserialize)]
struct Reboot {
    #[serde(default)]
    down_ms: u64,
}

#[derive(Deserialize)]
struct Edit {
    lines: Vec<String>,
}

/// What the control socket serves.
pub fn control(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/state", get(async |Extracted(it): Extracted<Arc<Simulator>>| Json(State::of(&it))))
        .route(
            "/faults",
            put(async |Extracted(it): Extracted<Arc<Simulator>>, Json(faults): Json<Faults>| {
                it.faults().set(faults);
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/reboot",
            post(async |Extracted(it): Extracted<Arc<Simulator>>, Json(asked): Json<Reboot>| {
                it.device().reboot(Duration::from_millis(asked.down_ms));
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/drop",
            post(async |Extracted(it): Extracted<Arc<Simulator>>| {
                it.device().drop_connections();
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/edit",
            post(async |Extracted(it): Extracted<Arc<Simulator>>, Json(asked): Json<Edit>| {
                Json(json!({ "answers": it.type_lines(asked.lines.iter().map(String::as_str)) }))
            }),
        )
        .with_state(simulator)
}

/// Runs a simulated switch until it is told to end. Prints one line of JSON with where it is and its host key's fingerprint.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    if settings.os == "help" {
        println!("{}", os::NAMES.join("\n"));
        return Ok(());
    }
    let startup = match &settings.state {
        Some(file) if file.exists() => {
            let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            Some(serde_json::from_str(&text).with_context(|| format!("{} is no state of a switch", file.display()))?)
        }
        _ => None,
    };
    let keys = secret(settings.authorized_keys.as_deref())?.unwrap_or_default();
    let spec = Spec {
        listen: settings.listen,
        gnmi: settings.gnmi,
        hostname: settings.hostname,
        username: settings.user,
        password: secret(settings.password_file.as_deref())?.unwrap_or_else(|| "admin".to_owned()),
        authorized_keys: keys.lines().filter(|it| !it.is_empty() && !it.starts_with('#')).map(str::to_owned).collect(),
        enable_password: secret(settings.enable_password_file.as_deref())?,
        startup,
        ..Spec::new(&settings.os, settings.ports)
    };
    let simulator = Arc::new(Simulator::start(spec)?);
    let commit_ms = Duration::try_from_secs_f64(settings.commit_seconds).context("--commit-seconds is no duration")?.as_millis();
    simulator.faults().change(|it| it.commit_ms = u64::try_from(commit_ms).unwrap_or(u64::MAX));
    let _plane = settings.ovs.as_ref().map(|ovs| {
        let netns = ovs.split_once('/').map(|(netns, _)| netns.to_owned());
        let bridge = Bridge { netns, database: settings.ovs_db, ports: settings.map.into_iter().collect() };
        Plane::start(Arc::clone(simulator.device()), bridge)
    });
    if let Some(file) = settings.state {
        tokio::spawn(keep(Arc::clone(&simulator), file));
    }
    if let Some(socket) = &settings.control {
        // A socket that nobody listens at any more would be in the way.
        let _absent = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).with_context(|| format!("listening at {}", socket.display()))?;
        tokio::spawn(axum::serve(listener, control(Arc::clone(&simulator))).into_future());
    }
    println!("{}", json!({ "address": simulator.address(), "gnmi": simulator.gnmi_address(), "host_key": simulator.host_key() }));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    simulator.stop();
    if let Some(socket) = &settings.control {
        let _absent = fs::remove_file(socket);
    }
    Ok(())
}

/// Writes the configuration of the next start whenever it changes.
async fn keep(simulator: Arc<Simulator>, file: PathBuf) {
    let device = simulator.device();
    let mut changes = device.changes();
    let mut written: Option<Arc<Config>> = None;
    loop {
        changes.mark_unchanged();
        let startup = device.startup();
        if written.as_ref().is_none_or(|it| !Arc::ptr_eq(it, &startup)) {
            match write(&file, &startup).await {
                Ok(()) => written = Some(startup),
                Err(error) => tracing::warn!(%error, "the state of a simulated switch could not be written"),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn write(file: &Path, config: &Config) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    tokio::fs::write(&beside, serde_json::to_vec_pretty(config)?).await?;
    tokio::fs::rename(&beside, file).await
}
