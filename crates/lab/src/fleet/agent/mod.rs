//! A ramdisk agent that is none: it asks the bare metal API who it is, beats, and takes commands, as ironic-python-agent does, and works
//! on a disk that is a few words in memory.
//!
//! Source: ironic-python-agent 13.0, `agent.py`, `ironic_api_client.py`, `inspector.py`, `api/app.py`, `extensions/`, `errors.py`.

mod api;
mod commands;
mod inventory;
mod steps;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use self::api::{Api, Backoff, Found};
use self::commands::{Commands, Failure, Order as Given};
use super::boot_medium;
use super::chance::Draw;
use super::http::{Asked, Reply};
use super::machine::{Machine, Running};
use super::{Settings, Shared};

/// What it says its version is; also what the control plane may compare steps by.
const VERSION: &str = "13.0.0";
/// How long a client may wait for a command when it asks to.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Shares of the time-out after which a heartbeat comes.
const BEAT: (f64, f64) = (0.3, 0.6);
/// What is shown of a token that was shown before.
const MASK: &str = "******";

/// A running agent.
pub(crate) struct Agent {
    machine: Arc<Machine>,
    epoch: u64,
    identity: Option<tls::Identity>,
    token: String,
    commands: Commands,
    orders: mpsc::Sender<Given>,
    started_at: f64,
    /// Set when it serves nobody any more, though the machine runs: rescued, or locked down.
    is_closed: AtomicBool,
}

impl Agent {
    /// By what it is known; `None`: it speaks plain HTTP.
    pub(crate) fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.identity.as_ref().map(|it| Arc::clone(&it.config))
    }
}

/// The client all agents use.
///
/// # Errors
/// The certificates cannot be read.
pub(crate) fn client(settings: &Settings) -> anyhow::Result<net::http::Client> {
    let mut client = net::http::Client::plain().with_deadline(Duration::from_secs(30));
    if let Some(path) = &settings.ca {
        let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        client.tls = Some(tls::trusting(&pem).with_context(|| path.display().to_string())?);
    }
    Ok(client)
}

/// The life of an agent, from power to the end of power; whoever switches the machine off drops this.
pub(crate) async fn run(shared: &Arc<Shared>, machine: &Arc<Machine>, epoch: u64, medium: Option<String>) {
    let settings = &shared.settings;
    let lost = machine.happens(Draw::Boot, settings.boot_fails);
    machine.change(epoch, |state| {
        state.counts.ramdisk_boots += 1;
        state.counts.lost_boots += u64::from(lost);
    });
    if lost {
        tracing::info!(machine = machine.name, "booted into nothing, by chance");
        return;
    }
    tokio::time::sleep(machine.takes(settings.boot_ms, settings.jitter)).await;
    let known = match medium {
        None => boot_medium::Known::default(),
        Some(url) => match boot_medium::read(&shared.client, &url).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(machine = machine.name, error = format!("{error:#}"), "the virtual medium cannot be booted");
                return;
            }
        },
    };
    let mut api = Api::new(shared.client.clone(), known.api.as_deref().unwrap_or(&settings.api));
    let found = introduce(shared, machine, epoch, &mut api, &known).await;
    let token = match (found.token.as_deref(), known.token) {
        (Some(MASK) | None, Some(baked)) => baked,
        (Some(given), _) if given != MASK => given.to_owned(),
        _ => {
            // As the real one: somebody else was given the token, so nothing can be done but wait to be switched off.
            tracing::warn!(machine = machine.name, "the token was shown to somebody before; locked down");
            return;
        }
    };
    let identity = if settings.no_agent_tls {
        None
    } else {
        match tls::identity(machine.address) {
            Ok(identity) => Some(identity),
            Err(error) => {
                tracing::error!(machine = machine.name, error = format!("{error:#}"), "an agent has no certificate");
                return;
            }
        }
    };
    let (orders, mut ordered) = mpsc::channel(1);
    let agent = Arc::new(Agent {
        machine: Arc::clone(machine),
        epoch,
        identity,
        token,
        commands: Commands::default(),
        orders,
        started_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        is_closed: AtomicBool::new(false),
    });
    let current = machine.change(epoch, |state| {
        state.running = Running::Ramdisk;
        state.agent = Some(Arc::clone(&agent));
    });
    if !current {
        return;
    }
    let work = async {
        while let Some(order) = ordered.recv().await {
            let outcome = steps::execute(shared, &agent, order.command, &order.params).await;
            agent.commands.finish(&order.id, outcome);
            steps::afterwards(shared, &agent, order.command).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = beat(shared, &agent, &api, &found) => {}
    }
}

/// Sends the inventory, then asks for the node until it is known.
async fn introduce(shared: &Shared, machine: &Arc<Machine>, epoch: u64, api: &mut Api, known: &boot_medium::Known) -> Found {
    let settings = &shared.settings;
    let retry = Duration::from_millis(settings.retry_ms);
    let mut backoff = Backoff::new(retry);
    while let Err(error) = api.negotiate().await {
        tracing::debug!(machine = machine.name, %error, "the API does not say what it offers");
        tokio::time::sleep(backoff.next(machine)).await;
    }
    let inventory = inventory::inspection(machine);
    let (mut node, mut tells) = (known.node.clone(), !settings.no_inspection);
    let mut backoff = Backoff::new(retry);
    loop {
        // The control plane may not have noted yet that this machine boots: what is not wanted now may be at the next try. The real one
        // is begun anew by its service manager to the same end.
        if tells {
            match api.inspected(&inventory).await {
                Ok(Some(uuid)) => {
                    machine.change(epoch, |state| state.counts.inspections += 1);
                    (node, tells) = (Some(uuid), false);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(machine = machine.name, %error, "the inventory was not taken");
                    tokio::time::sleep(backoff.next(machine)).await;
                    continue;
                }
            }
        }
        match api.lookup(&machine.mac, node.as_deref()).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(machine = machine.name, %error, "the machine does not know its node yet");
                tokio::time::sleep(backoff.next(machine)).await;
            }
        }
    }
}

/// Beats at once, then at a share of the time-out, and soon after a command ended.
async fn beat(shared: &Shared, agent: &Arc<Agent>, api: &Api, found: &Found) {
    let machine = &agent.machine;
    let callback = format!("{}://{}:{}", if agent.identity.is_some() { "https" } else { "http" }, machine.address, shared.agent_port);
    let shortest = Duration::from_millis(shared.settings.retry_ms);
    let mut body = json!({"callback_url": callback, "agent_token": agent.token, "agent_version": VERSION});
    if let Some(identity) = &agent.identity {
        body["agent_verify_ca"] = identity.certificate.clone().into();
    }
    let mut ended = agent.commands.ended();
    let mut backoff = Backoff::new(shortest);
    loop {
        if agent.is_closed.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        ended.mark_unchanged();
        let wait = match api.heartbeat(&found.uuid, &body).await {
            Ok(()) => {
                backoff = Backoff::new(shortest);
                machine.change(agent.epoch, |state| state.counts.heartbeats += 1);
                let share = BEAT.0 + (BEAT.1 - BEAT.0) * super::chance::fraction(machine.draw(Draw::Time));
                found.heartbeat_timeout.mul_f64(share)
            }
            Err(error) => {
                tracing::debug!(machine = machine.name, %error, "a heartbeat was not taken");
                backoff.next(machine)
            }
        };
        tokio::time::sleep(shortest).await;
        tokio::select! {
            () = tokio::time::sleep(wait.saturating_sub(shortest)) => {}
            changed = ended.changed() => if changed.is_err() { return },
        }
    }
}

/// Answers what the agent is asked; an error closes the connection: there is no such agent any more.
pub(crate) async fn answer(agent: &Arc<Agent>, asked: Asked) -> std::io::Result<Reply> {
    if !agent.machine.is_current(agent.epoch) || agent.is_closed.load(Ordering::Relaxed) {
        return Err(std::io::Error::other("the agent has ended"));
    }
    let path = asked.path.strip_prefix("/v1").unwrap_or(&asked.path).to_owned();
    let is_get = asked.method == Method::GET;
    Ok(match path.as_str() {
        "" | "/" if is_get => Reply::ok(about(agent, &asked.path)),
        "/status" if is_get => Reply::ok(json!({"started_at": agent.started_at, "version": VERSION})),
        "/commands" => Reply::empty(StatusCode::PERMANENT_REDIRECT).with(header::LOCATION, "/v1/commands/"),
        _ => match path.strip_prefix("/commands/") {
            Some(rest) => commands(agent, &asked, rest).await,
            None => fault(StatusCode::NOT_FOUND, "404 Not Found: The requested URL was not found on the server."),
        },
    })
}

fn about(agent: &Agent, path: &str) -> Value {
    let version = json!({"id": "v1", "links": [{"href": format!("/v1/?{}", agent.machine.name), "rel": "self"}]});
    if path.starts_with("/v1") {
        return json!({"id": "v1", "links": version["links"], "commands": [], "status": [], "media_types": []});
    }
    json!({
        "name": "OpenStack Ironic Python Agent API",
        "description": "A fake agent of a fleet of fake machines",
        "versions": [version],
        "default_version": version,
    })
}

fn fault(status: StatusCode, words: &str) -> Reply {
    let code = if status.is_server_error() { "Server" } else { "Client" };
    Reply::json(status, json!({"faultcode": code, "faultstring": words}))
}

/// The value of a parameter of a query; tokens and words need no unescaping.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|it| it.split_once('=')).find(|it| it.0 == name).map(|it| it.1)
}

async fn commands(agent: &Arc<Agent>, asked: &Asked, rest: &str) -> Reply {
    if parameter(&asked.query, "agent_token") != Some(agent.token.as_str()) {
        return fault(StatusCode::UNAUTHORIZED, "401 Unauthorized: Token invalid.");
    }
    let waits = parameter(&asked.query, "wait").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let shown = async |id: &str| {
        if waits {
            agent.commands.wait(id, LONGEST_WAIT).await;
        }
        agent.commands.show(id)
    };
    match (&asked.method, rest) {
        (&Method::GET, "") => Reply::ok(json!({"commands": agent.commands.list()})),
        (&Method::GET, id) => match shown(id).await {
            Some(command) => Reply::ok(command),
            None => refused(&Failure::not_found("Command Result", id)),
        },
        (&Method::POST, "") => match give(agent, &asked.body).await {
            Ok(id) => shown(&id).await.map_or_else(|| refused(&Failure::execution("the command was forgotten")), Reply::ok),
            Err(Refusal::Request(words)) => fault(StatusCode::BAD_REQUEST, words),
            Err(Refusal::Command(failure)) => refused(&failure),
        },
        _ => fault(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed: The method is not allowed for the requested URL."),
    }
}

fn refused(failure: &Failure) -> Reply {
    fault(
        StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        &format!("{}: {}", failure.message, failure.details),
    )
}

/// Why a command was not even tried.
enum Refusal {
    Request(&'static str),
    Command(Failure),
}

/// Begins a command, or does it if it is one of those that are answered with their result.
async fn give(agent: &Arc<Agent>, body: &[u8]) -> Result<String, Refusal> {
    let malformed = Refusal::Request("400 Bad Request: Missing or invalid name or params");
    let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let (Some(name), Some(params)) = (body.get("name").and_then(Value::as_str), body.get("params").and_then(Value::as_object)) else {
        return Err(malformed);
    };
    let command = steps::Command::parse(name).map_err(Refusal::Command)?;
    let id = agent.machine.fresh_uuid();
    agent.commands.begin(&id, command.name()).map_err(Refusal::Command)?;
    agent.machine.change(agent.epoch, |state| state.counts.commands += 1);
    let order = Given { id: id.clone(), command, params: params.clone() };
    if agent.orders.send(order).await.is_err() {
        agent.commands.finish(&id, Err(Failure::execution("the agent is ending")));
    }
    if command.is_quick() {
        agent.commands.wait(&id, LONGEST_WAIT).await;
    }
    Ok(id)
}

/// A client's settings that trust one certificate, for tests.
#[cfg(test)]
pub(crate) fn trusting(pem: &[u8]) -> Arc<rustls::ClientConfig> {
    tls::trusting(pem).unwrap()
}
