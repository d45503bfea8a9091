//! `cargo xtask bench baremetal`: our own release build beside another cloud's bare metal service; and many fake machines, at work and
//! idle.

mod fleet;
mod verdict;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::verdict::judge;
use self::world::{Operation, Pace, Place, Scope, World};
use super::load::{Effort, Measurement, TURNS, failures, measure};
use super::own::Own;
use super::processes::Processes;
use super::session::Admin;
use super::table::{Line, draw};
use crate::paths::Paths;

/// What the two services are called.
const NAMES: [&str; 2] = ["ours", "other"];
/// What ours is told; it is reached by agents where it listens.
const CONFIG: &str = "[baremetal]\napi_url = \"http://{listen}\"\n";

/// Flags of `cargo xtask bench baremetal`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The identity service of a cloud whose bare metal service is measured beside ours, in turns. What is made there for the measurement
    /// is deleted again, but for a thousand nodes of fake hardware that the next run finds.
    #[arg(long, value_name = "URL", requires = "password")]
    identity: Option<String>,
    /// The administrator's password there.
    #[arg(long, value_name = "PW", env = "OS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// The administrator there, in the default domain.
    #[arg(long, default_value = "admin")]
    user: String,
    /// The administrator's project there; without it the scope is the system.
    #[arg(long)]
    project: Option<String>,
    /// Where that bare metal service is, if its catalog does not say.
    #[arg(long, value_name = "URL", requires = "identity")]
    endpoint: Option<String>,
    /// A process of that bare metal service, repeatable; without it those that listen on its port. Their children count too.
    #[arg(long, value_name = "P")]
    other_pid: Vec<u32>,
    /// The database of our own server in place of SQLite in its directory; must be empty. Its processes count as ours if they listen here.
    #[arg(long, value_name = "URL")]
    store_url: Option<String>,
    /// Has so many fake machines enrolled, inspected, cleaned, deployed and released, instead of measuring single requests.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000")]
    fleet: Option<usize>,
    /// Looks at so many fake machines that are enrolled and idle, instead of measuring single requests.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10000")]
    idle: Option<usize>,
    /// The size of the image that the fleet is deployed with, in MiB.
    #[arg(long, value_name = "N", default_value_t = 4)]
    image_mib: u64,
    /// How long each operation is measured with each number of clients.
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
    /// How many connections at once; a list.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,8")]
    clients: Vec<usize>,
    /// Measures only operations whose name has this in it.
    #[arg(long, value_name = "WORDS", default_value = "")]
    only: String,
}

/// One of the services.
pub(crate) struct Service {
    pub(crate) world: World,
    pub(crate) processes: Processes,
}

pub(crate) async fn run(paths: &Paths, arguments: Arguments) -> Result<ExitCode> {
    ensure!(arguments.seconds > 0.0 && arguments.seconds <= 600.0, "--seconds is not between 0 and ten minutes");
    ensure!(arguments.clients.iter().all(|it| (1..=100).contains(it)), "--clients are not between 1 and 100");
    for machines in arguments.fleet.iter().chain(&arguments.idle) {
        ensure!((1..=100_000).contains(machines), "a fleet is not between 1 and 100,000");
    }
    let operations: Vec<Operation> = Operation::ALL.into_iter().filter(|it| it.name().contains(&arguments.only)).collect();
    ensure!(!operations.is_empty(), "no operation has {:?} in its name", arguments.only);
    let mut good = true;
    if (arguments.fleet.is_none() && arguments.idle.is_none()) || arguments.identity.is_some() {
        good &= on_own(paths, &arguments, async |own| compare(&arguments, &operations, own).await).await?;
    }
    if let Some(machines) = arguments.fleet {
        good &= on_own(paths, &arguments, async |own| fleet::work(paths, &arguments, own, machines).await).await?;
    }
    if let Some(machines) = arguments.idle {
        good &= on_own(paths, &arguments, async |own| fleet::idle(paths, &arguments, own, machines).await).await?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Does it with a server of its own, on an empty store.
async fn on_own(paths: &Paths, arguments: &Arguments, what: impl AsyncFnOnce(&Own) -> Result<bool>) -> Result<bool> {
    let own = Own::start(paths, arguments.store_url.as_deref(), Some(CONFIG)).await?;
    let outcome = what(&own).await;
    if outcome.is_err() {
        eprintln!("{}", own.last_words());
    }
    own.stop().await;
    outcome
}

/// Measures and prints; whether nothing failed.
async fn compare(arguments: &Arguments, operations: &[Operation], own: &Own) -> Result<bool> {
    let mut ours = open_ours(arguments, own, true).await?;
    let mut other = match (&arguments.identity, &arguments.password) {
        (Some(url), Some(password)) => Some(open_other(arguments, url, password).await.with_context(|| url.clone())?),
        _ => None,
    };
    println!("ours: {} (cofferdam serve, release build, {}); {}", ours.world.target.url(), store(arguments), ours.world.sizes().await?);
    if let Some(other) = &other {
        let cost = if other.processes.is_empty() { "; its processes are not on this machine or not visible" } else { "" };
        println!("other: {}; {}{cost}", other.world.target.url(), other.world.sizes().await?);
    }
    let mut lines = Vec::new();
    for operation in operations {
        for clients in &arguments.clients {
            eprintln!("  {}, {clients} at once", operation.name());
            lines.push(row(arguments, *operation, *clients, &mut ours, other.as_mut()).await.with_context(|| operation.name())?);
        }
    }
    println!("\n{}", draw(&lines, NAMES));
    println!(
        "CPU ms: of the service's processes for each, this program's own not counted; p50, p99: as seen by the client on this machine"
    );
    let problems = failures(&lines, NAMES);
    for problem in &problems {
        println!("{problem}");
    }
    println!("\n{}", verdict::table(judge(&lines)));
    Ok(problems.is_empty())
}

fn store(arguments: &Arguments) -> &'static str {
    if arguments.store_url.is_some() { "PostgreSQL" } else { "SQLite" }
}

/// Ours, with its processes and those of its database if that is named.
async fn open_ours(arguments: &Arguments, own: &Own, lists: bool) -> Result<Service> {
    let admin = Admin { user: "admin".to_owned(), password: own.password.clone(), project: "admin".to_owned() };
    let place = Place { identity: own.url.clone(), admin, scope: Scope::Project, endpoint: None };
    let world = World::make(place, Pace::Fast, lists).await.context("ours")?;
    let mut pids: Vec<u32> = own.pid().into_iter().collect();
    if let Some(port) = arguments.store_url.as_deref().and_then(super::network::database_port) {
        pids.extend(Processes::find(&[], port)?.roots());
    }
    Ok(Service { processes: Processes::find(&pids, world.target.port)?, world })
}

async fn open_other(arguments: &Arguments, url: &str, password: &str) -> Result<Service> {
    let scope = if arguments.project.is_some() { Scope::Project } else { Scope::System };
    let project = arguments.project.clone().unwrap_or_default();
    let admin = Admin { user: arguments.user.clone(), password: password.to_owned(), project };
    eprintln!("other: {} nodes, if they are not there: minutes", world::LISTED);
    let place = Place { identity: url.to_owned(), admin, scope, endpoint: arguments.endpoint.clone() };
    let world = World::make(place, Pace::Slow, true).await?;
    Ok(Service { processes: Processes::find(&arguments.other_pid, world.target.port)?, world })
}

/// One operation with some clients, in turns if there are two services. Who needs longer for its first turn than it was given for both gets
/// no second one.
async fn row(arguments: &Arguments, operation: Operation, clients: usize, ours: &mut Service, other: Option<&mut Service>) -> Result<Line> {
    let turns = if other.is_some() { TURNS } else { 1 };
    let length = Duration::from_secs_f64(arguments.seconds);
    let mut services: Vec<&mut Service> = std::iter::once(ours).chain(other).collect();
    let mut steps = Vec::new();
    for service in &mut services {
        steps.push(service.world.prepare(operation).await.context("preparing")?);
    }
    let mut seen: Vec<Measurement> = services.iter().map(|_| Measurement::default()).collect();
    let mut spent = vec![Duration::ZERO; services.len()];
    for _ in 0..turns {
        for (((service, step), seen), spent) in services.iter().zip(&steps).zip(&mut seen).zip(&mut spent) {
            if *spent >= length {
                continue;
            }
            let began = Instant::now();
            let mut effort = Effort::lasting(length / turns);
            effort.most = operation.most(service.world.pace) / turns as usize;
            seen.add(measure(step, &service.processes, clients, effort).await?);
            *spent += began.elapsed();
        }
    }
    for service in &services {
        service.world.clear().await.context("tidying up")?;
    }
    let mut seen = seen.into_iter();
    let first = seen.next().context("nothing was measured")?;
    Ok(Line { operation: operation.name(), clients, first, second: seen.next() })
}
