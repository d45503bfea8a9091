//! `cargo xtask bench identity`: one service, or two in turns so that both meet the same disturbances.

mod fill;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::fill::fill;
use self::world::{Operation, Step, World};
use super::client::Target;
use super::load::{Effort, Measurement, TURNS, failures, measure};
use super::own::Own;
use super::processes::Processes;
use super::session::Admin;
use super::table::{Line, draw, number};
use crate::paths::Paths;

/// The p99 of validations by eight clients that is promised for a store of [`GOAL_FILL`] users and as many assignments, in milliseconds.
const GOAL_P99: f64 = 2.0;
/// What the services are called.
const NAMES: [&str; 2] = ["A", "B"];
/// See [`GOAL_P99`].
const GOAL_FILL: usize = 10_000;

/// Flags of `cargo xtask bench identity`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The service to measure; without it our own is built, started on an empty store, and measured.
    #[arg(long, value_name = "URL", requires = "password")]
    identity: Option<String>,
    /// The administrator's password there.
    #[arg(long, value_name = "PW", env = "OS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// A process of that service, repeatable; without it those that listen on its port. Their children count too.
    #[arg(long, value_name = "P")]
    pid: Vec<u32>,
    /// Another service, measured in turns with the first and compared with it.
    #[arg(long, value_name = "URL", requires = "beside_password")]
    beside: Option<String>,
    /// The administrator's password there.
    #[arg(long, value_name = "PW")]
    beside_password: Option<String>,
    /// A process of the other service, repeatable.
    #[arg(long, value_name = "P")]
    beside_pid: Vec<u32>,
    /// The administrator, in the default domain of both.
    #[arg(long, default_value = "admin")]
    user: String,
    /// The administrator's project, in the default domain of both.
    #[arg(long, default_value = "admin")]
    project: String,
    /// How long each operation is measured with each number of clients.
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
    /// How many connections at once; a list.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,8")]
    clients: Vec<usize>,
    /// First makes so many users with a role each, as far as they are not there; they stay.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fill: usize,
    /// Measures only operations whose name has this in it.
    #[arg(long, value_name = "WORDS", default_value = "")]
    only: String,
    /// The database of our own server in place of SQLite in its directory; must be empty.
    #[arg(long, value_name = "URL", conflicts_with = "identity")]
    database_url: Option<String>,
}

/// One of the services.
struct Service {
    letter: char,
    world: World,
    processes: Processes,
}

impl Service {
    async fn open(letter: char, url: &str, password: &str, pids: &[u32], arguments: &Arguments) -> Result<Self> {
        let target = Target::identity(url)?;
        let processes = Processes::find(pids, target.port)?;
        let admin = Admin { user: arguments.user.clone(), password: password.to_owned(), project: arguments.project.clone() };
        let clients = arguments.clients.iter().copied().max().unwrap_or_default();
        let world = World::make(target, admin, clients).await.with_context(|| format!("{letter}: {url}"))?;
        let service = Self { letter, world, processes };
        if arguments.fill > 0 {
            eprintln!("{letter}: {} users and as many assignments", arguments.fill);
            fill(&service.world, arguments.fill).await.with_context(|| format!("filling {letter}"))?;
        }
        Ok(service)
    }

    /// A line that says what it is.
    async fn describe(&self, what: &str) -> Result<String> {
        let sizes = self.world.sizes().await?;
        let cost = if self.processes.is_empty() { "; its processes are not on this machine or not visible" } else { "" };
        let url = self.world.target.url();
        Ok(format!("{}: {url}{what}; {sizes}{cost}", self.letter))
    }
}

pub(crate) async fn run(paths: &Paths, arguments: Arguments) -> Result<ExitCode> {
    ensure!(arguments.seconds > 0.0 && arguments.seconds <= 3600.0, "--seconds is not between 0 and an hour");
    ensure!(arguments.clients.iter().all(|it| (1..=1000).contains(it)), "--clients are not between 1 and 1000");
    let operations: Vec<Operation> = Operation::ALL.into_iter().filter(|it| it.name().contains(&arguments.only)).collect();
    ensure!(!operations.is_empty(), "no operation has {:?} in its name", arguments.only);
    let own = match &arguments.identity {
        Some(_) => None,
        None => Some(Own::start(paths, arguments.database_url.as_deref(), None).await?),
    };
    let outcome = compare(&arguments, &operations, own.as_ref()).await;
    if let Some(own) = own {
        if outcome.is_err() {
            eprintln!("{}", own.last_words());
        }
        own.stop().await;
    }
    outcome.map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures and prints; whether nothing failed.
async fn compare(arguments: &Arguments, operations: &[Operation], own: Option<&Own>) -> Result<bool> {
    let mut services = Vec::new();
    match (own, &arguments.identity, &arguments.password) {
        (Some(own), _, _) => {
            let pids: Vec<u32> = if arguments.pid.is_empty() { own.pid().into_iter().collect() } else { arguments.pid.clone() };
            services.push(Service::open('A', &own.url, &own.password, &pids, arguments).await?);
        }
        (None, Some(url), Some(password)) => services.push(Service::open('A', url, password, &arguments.pid, arguments).await?),
        _ => anyhow::bail!("--identity needs --password"),
    }
    if let (Some(url), Some(password)) = (&arguments.beside, &arguments.beside_password) {
        services.push(Service::open('B', url, password, &arguments.beside_pid, arguments).await?);
    }
    for service in &services {
        let is_own = own.is_some() && service.letter == 'A';
        println!("{}", service.describe(if is_own { " (cofferdam serve, release build)" } else { "" }).await?);
    }
    let mut lines = Vec::new();
    for operation in operations {
        for clients in &arguments.clients {
            eprintln!("  {}, {clients} at once", operation.name());
            lines.push(measure_line(arguments, &mut services, *operation, *clients).await?);
        }
    }
    println!("\n{}", draw(&lines, NAMES));
    println!("CPU ms: of the server's processes for each, this program's own not counted; p50, p99: as seen by the client on this machine");
    for text in conclusions(&lines, arguments.fill) {
        println!("{text}");
    }
    for service in &mut services {
        service.world.clear().await.with_context(|| format!("tidying up in {}", service.letter))?;
    }
    Ok(lines.iter().flat_map(seen_by_letter).all(|(_, seen)| seen.failures == 0))
}

/// One operation with some clients, in turns if there are two services.
async fn measure_line(arguments: &Arguments, services: &mut [Service], operation: Operation, clients: usize) -> Result<Line> {
    let turns = if services.len() > 1 { TURNS } else { 1 };
    let length = Duration::from_secs_f64(arguments.seconds) / turns;
    let mut seen: Vec<Measurement> = services.iter().map(|_| Measurement::default()).collect();
    for service in services.iter_mut() {
        service.world.renew().await?;
    }
    for _ in 0..turns {
        for (service, seen) in services.iter().zip(&mut seen) {
            let step = Step { world: service.world.clone(), operation };
            seen.add(measure(&step, &service.processes, clients, Effort::lasting(length)).await?);
        }
    }
    let mut seen = seen.into_iter();
    let first = seen.next().context("nothing was measured")?;
    Ok(Line { operation: operation.name(), clients, first, second: seen.next() })
}

fn seen_by_letter(line: &Line) -> impl Iterator<Item = (char, &Measurement)> {
    std::iter::once(('A', &line.first)).chain(line.second.as_ref().map(|second| ('B', second)))
}

/// What the table says beside its numbers: what hashing costs, whose work it is, what failed, whether the promise is kept.
fn conclusions(lines: &[Line], filled: usize) -> Vec<String> {
    let mut texts = Vec::new();
    let cpu = |operation: Operation, letter: char| {
        let line = lines.iter().find(|line| line.operation == operation.name())?;
        seen_by_letter(line).find(|it| it.0 == letter)?.1.cpu_each()
    };
    for letter in ['A', 'B'] {
        if let (Some(hashed), Some(not)) = (cpu(Operation::IssueByPassword, letter), cpu(Operation::IssueByToken, letter)) {
            let (hash, rest) = (number((hashed - not).max(0.0)), number(not));
            texts.push(format!("{letter}: of {} CPU ms of an issue by password {hash} are hashing; without it {rest}", number(hashed)));
        }
        let mut names: BTreeMap<&str, Duration> = BTreeMap::new();
        for (_, seen) in lines.iter().flat_map(seen_by_letter).filter(|it| it.0 == letter) {
            for (name, time) in seen.cpu.iter().flatten() {
                *names.entry(name).or_default() += *time;
            }
        }
        if names.len() > 1 {
            let shares = names.iter().map(|(name, time)| format!("{name} {:.1} s", time.as_secs_f64()));
            texts.push(format!("{letter}: CPU of all of it by process: {}", shares.collect::<Vec<_>>().join(", ")));
        }
    }
    texts.extend(failures(lines, NAMES));
    let validate = lines.iter().find(|line| line.operation == Operation::Validate.name() && line.clients == 8);
    if let Some(p99) = validate.and_then(|line| line.first.percentile(99.0)) {
        let verdict = match (filled >= GOAL_FILL, p99 < GOAL_P99) {
            (true, true) => "kept",
            (true, false) => "missed",
            (false, _) => "not judged: the store is smaller (--fill 10000)",
        };
        let promise = format!("p99 of validations under {GOAL_P99} ms at 8 clients, {GOAL_FILL} users and assignments");
        texts.push(format!("A: {promise}: {} ms, {verdict}", number(p99)));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(milliseconds: f64, cpu: &[(&str, u64)], failures: u64) -> Measurement {
        Measurement {
            latencies: vec![(milliseconds * 1e6) as u64; 100],
            elapsed: Duration::from_secs(1),
            cpu: Some(cpu.iter().map(|(name, time)| ((*name).to_owned(), Duration::from_millis(*time))).collect()),
            memory: None,
            failures,
            first_failure: (failures > 0).then(|| "status 500".to_owned()),
        }
    }

    #[test]
    fn hashing_failures_and_the_promise_are_told() {
        let line = |operation: Operation, clients, first| Line { operation: operation.name(), clients, first, second: None };
        let mut lines = vec![
            line(Operation::Validate, 8, seen(1.5, &[("a", 10)], 0)),
            line(Operation::IssueByToken, 1, seen(1.0, &[("a", 100)], 0)),
            line(Operation::IssueByPassword, 1, seen(1.0, &[("a", 20_000), ("db", 100)], 0)),
        ];
        let texts = conclusions(&lines, GOAL_FILL);
        assert_eq!(texts[0], "A: of 201 CPU ms of an issue by password 200 are hashing; without it 1.00");
        assert_eq!(texts[1], "A: CPU of all of it by process: a 20.1 s, db 0.1 s");
        assert!(texts[2].ends_with("1.50 ms, kept"), "{texts:?}");
        assert!(conclusions(&lines, 5).last().unwrap().contains("not judged"));
        lines[0].first = seen(2.5, &[], 3);
        let texts = conclusions(&lines, GOAL_FILL);
        assert!(texts.iter().any(|it| it.ends_with("3 failed, the first so: status 500")), "{texts:?}");
        assert!(texts.last().unwrap().ends_with("2.50 ms, missed"), "{texts:?}");
    }
}
