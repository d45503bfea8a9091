//! `cargo xtask bench network`: our own release build on an empty store, another cloud's network service beside it, and ours once more when
//! its store is full.

mod fill;
mod verdict;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::verdict::{FILLED, Figures};
use self::world::{Operation, Pace, World};
use super::load::{Effort, Measurement, TURNS, failures, measure};
use super::own::Own;
use super::processes::Processes;
use super::session::Admin;
use super::table::{Line, draw};
use crate::paths::Paths;

/// What the two services are called.
const NAMES: [&str; 2] = ["ours", "other"];
/// What ours is called in both of its states.
const STATES: [&str; 2] = ["full", "empty"];
/// What ours is told: networks are VXLANs, of which there are enough for a full store.
const CONFIG: &str = "[network]\ntenant_network_types = [\"vxlan\"]\n";

/// Flags of `cargo xtask bench network`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The identity service of a cloud whose network service is measured beside ours, in turns. What is made there for the measurement is
    /// deleted again, but for one network of a thousand ports that the next run finds.
    #[arg(long, value_name = "URL", requires = "password")]
    identity: Option<String>,
    /// The administrator's password there.
    #[arg(long, value_name = "PW", env = "OS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// The administrator there, in the default domain.
    #[arg(long, default_value = "admin")]
    user: String,
    /// The administrator's project there, in the default domain.
    #[arg(long, default_value = "admin")]
    project: String,
    /// A process of that network service, repeatable; without it those that listen on its port. Their children count too.
    #[arg(long, value_name = "P")]
    other_pid: Vec<u32>,
    /// The database of our own server in place of SQLite in its directory; must be empty. Its processes count as ours if they listen here.
    #[arg(long, value_name = "URL")]
    store_url: Option<String>,
    /// Measures ours again with so many ports in its store, a twentieth as many networks and a fifth as many rules.
    #[arg(long, value_name = "PORTS", num_args = 0..=1, default_missing_value = "100000")]
    fill: Option<usize>,
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
struct Service {
    world: World,
    processes: Processes,
}

pub(crate) async fn run(paths: &Paths, arguments: Arguments) -> Result<ExitCode> {
    ensure!(arguments.seconds > 0.0 && arguments.seconds <= 600.0, "--seconds is not between 0 and ten minutes");
    ensure!(arguments.clients.iter().all(|it| (1..=100).contains(it)), "--clients are not between 1 and 100");
    ensure!(arguments.fill.is_none_or(|it| (10..=1_000_000).contains(&it)), "--fill is not between 10 and a million");
    let operations: Vec<Operation> = Operation::ALL.into_iter().filter(|it| it.name().contains(&arguments.only)).collect();
    ensure!(!operations.is_empty(), "no operation has {:?} in its name", arguments.only);
    let own = Own::start(paths, arguments.store_url.as_deref(), Some(CONFIG)).await?;
    let outcome = compare(&arguments, &operations, &own).await;
    if outcome.is_err() {
        eprintln!("{}", own.last_words());
    }
    own.stop().await;
    outcome.map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures and prints; whether nothing failed.
async fn compare(arguments: &Arguments, operations: &[Operation], own: &Own) -> Result<bool> {
    let mut ours = open_ours(arguments, operations, own).await?;
    let mut other = match (&arguments.identity, &arguments.password) {
        (Some(url), Some(password)) => Some(open_other(arguments, operations, url, password).await.with_context(|| url.clone())?),
        _ => None,
    };
    let store = if arguments.store_url.is_some() { "PostgreSQL" } else { "SQLite" };
    println!("ours: {} (cofferdam serve, release build, {store}); {}", ours.world.target.url(), ours.world.sizes().await?);
    if let Some(other) = &other {
        let cost = if other.processes.is_empty() { "; its processes are not on this machine or not visible" } else { "" };
        println!("other: {}; {}{cost}", other.world.target.url(), other.world.sizes().await?);
    }
    if !ours.world.has_groups {
        println!("ours answers 404 to security groups: their rules are not measured");
    }
    let empty = rows(arguments, operations, &mut ours, other.as_mut()).await?;
    println!("\n{}", draw(&empty, NAMES));
    println!(
        "CPU ms: of the service's processes for each, this program's own not counted; p50, p99: as seen by the client on this machine"
    );
    let mut problems = failures(&empty, NAMES);
    let mut full = Vec::new();
    if let Some(ports) = arguments.fill {
        eprintln!("a store of {ports} ports");
        fill::fill(&mut ours.world, ports).await.context("filling the store")?;
        println!("\nours again, with {} in its store", ours.world.census().await?);
        full = rows(arguments, operations, &mut ours, None).await?;
        pair(&mut full, &empty);
        println!("\n{}\n\n{}", draw(&full, STATES), verdict::costs(&full));
        problems.extend(failures(&full, STATES).into_iter().filter(|it| it.starts_with(STATES[0])));
    }
    for problem in &problems {
        println!("{problem}");
    }
    let figures =
        Figures { empty: &empty, full: &full, filled: arguments.fill.unwrap_or(FILLED), is_postgres: arguments.store_url.is_some() };
    println!("\n{}", verdict::table(&figures));
    Ok(problems.is_empty())
}

async fn open_ours(arguments: &Arguments, operations: &[Operation], own: &Own) -> Result<Service> {
    let admin = Admin { user: "admin".to_owned(), password: own.password.clone(), project: "admin".to_owned() };
    let world = World::make(&own.url, admin, Pace::Fast, operations).await.context("ours")?;
    let mut pids: Vec<u32> = own.pid().into_iter().collect();
    if let Some(port) = arguments.store_url.as_deref().and_then(database_port) {
        pids.extend(Processes::find(&[], port)?.roots());
    }
    Ok(Service { processes: Processes::find(&pids, world.target.port)?, world })
}

async fn open_other(arguments: &Arguments, operations: &[Operation], url: &str, password: &str) -> Result<Service> {
    let admin = Admin { user: arguments.user.clone(), password: password.to_owned(), project: arguments.project.clone() };
    eprintln!("other: a network of {} ports, if it is not there: minutes", world::LISTED);
    let world = World::make(url, admin, Pace::Slow, operations).await?;
    Ok(Service { processes: Processes::find(&arguments.other_pid, world.target.port)?, world })
}

/// The TCP port of a database that is on this machine, as far as its URL says so.
pub(super) fn database_port(url: &str) -> Option<u16> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?']).next()?;
    let place = authority.rsplit_once('@').map_or(authority, |it| it.1);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (place, 5432),
    };
    matches!(host, "127.0.0.1" | "localhost" | "[::1]").then_some(port)
}

/// All rows of the table.
async fn rows(arguments: &Arguments, operations: &[Operation], ours: &mut Service, mut other: Option<&mut Service>) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for operation in operations {
        let is_there = match operation {
            Operation::CreateRule => ours.world.has_groups,
            Operation::CreatePortHalfFull => ours.world.half_full.is_some(),
            _ => true,
        };
        for clients in arguments.clients.iter().copied().filter(|it| is_there && *it <= operation.most_clients(Pace::Fast)) {
            eprintln!("  {}, {clients} at once", operation.name());
            let beside = other
                .as_deref_mut()
                .filter(|it| clients <= operation.most_clients(Pace::Slow) && (*operation != Operation::CreateRule || it.world.has_groups));
            lines.push(row(arguments, *operation, clients, ours, beside).await.with_context(|| operation.name())?);
        }
    }
    Ok(lines)
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
            let pace = service.world.pace;
            if *spent >= length {
                continue;
            }
            let began = Instant::now();
            let mut effort = Effort::lasting(length / turns);
            effort.most = operation.most(pace) / turns as usize;
            if !operation.warms_up(pace) {
                effort.warm_up = Duration::ZERO;
            }
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

/// Sets beside each row what was seen of it when the store was empty; a port on a half full /16 is compared with one on an empty one.
fn pair(full: &mut [Line], empty: &[Line]) {
    for line in full {
        let is_half_full = line.operation == Operation::CreatePortHalfFull.name();
        let operation = if is_half_full { Operation::CreatePort.name() } else { line.operation };
        let found = empty.iter().find(|it| it.operation == operation && it.clients == line.clients);
        line.second = found.map(|it| it.first.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_database_here_is_known() {
        for (url, wanted) in [
            ("postgresql://u:p@127.0.0.1:5433/db", Some(5433)),
            ("postgresql://u@localhost/db?x=y", Some(5432)),
            ("postgres://[::1]:1/db", Some(1)),
            ("postgresql://db.example.org:5432/db", None),
            ("postgresql:///db", None),
            ("nonsense", None),
        ] {
            assert_eq!(database_port(url), wanted, "{url}");
        }
    }

    #[test]
    fn rows_are_set_beside_those_of_the_empty_store() {
        let line = |operation: Operation, clients, count| Line {
            operation: operation.name(),
            clients,
            first: Measurement { latencies: vec![1; count], ..Measurement::default() },
            second: None,
        };
        let empty = [line(Operation::CreatePort, 1, 1), line(Operation::CreatePort, 8, 2), line(Operation::ShowPort, 1, 3)];
        let mut full = [line(Operation::CreatePortHalfFull, 8, 9), line(Operation::ShowPort, 1, 9), line(Operation::ShowPort, 8, 9)];
        pair(&mut full, &empty);
        let counts = full.map(|it| it.second.map(|it| it.latencies.len()));
        assert_eq!(counts, [Some(2), Some(3), None]);
    }
}
