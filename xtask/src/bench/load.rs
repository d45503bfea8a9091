//! A closed loop: some clients, each sending its next request when the last was answered, and what was measured of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::client::Connection;
use super::processes::Processes;
use super::table::Line;

/// After so many failures of one client the rest would say nothing new.
const MAX_FAILURES: u64 = 20;

/// In how many parts each measurement is done when two services take turns, so that both meet the same disturbances.
pub(crate) const TURNS: u32 = 2;

/// What the clients of a closed loop do.
pub(crate) trait Work: Clone + Send + Sync + 'static {
    /// A connection for one of them, not yet open.
    fn connection(&self) -> Connection;

    /// Does it once. Of each client, `turn` begins at its number and grows by one each time.
    ///
    /// # Errors
    /// The answer was not what a success is.
    fn step(&self, worker: usize, turn: usize, connection: &mut Connection) -> impl Future<Output = Result<()>> + Send;
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How long it is measured; what is under way then is waited for.
    pub(crate) length: Duration,
    /// How long it is done before, unmeasured.
    pub(crate) warm_up: Duration,
    /// At most so often, a tenth of it while warming up.
    pub(crate) most: usize,
}

impl Effort {
    /// So long, as often as can be.
    pub(crate) fn lasting(length: Duration) -> Self {
        let warm_up = (length / 5).clamp(Duration::from_millis(200), Duration::from_secs(2));
        Self { length, warm_up, most: usize::MAX }
    }
}

/// What was seen of one operation with some clients.
#[derive(Clone, Default, Debug)]
pub(crate) struct Measurement {
    /// How long each that succeeded took, in nanoseconds.
    pub(crate) latencies: Vec<u64>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Processor time of the server by the name of its processes; `None` if they are not known.
    pub(crate) cpu: Option<BTreeMap<String, Duration>>,
    /// Memory of the server afterwards, in bytes.
    pub(crate) memory: Option<u64>,
    /// How many failed.
    pub(crate) failures: u64,
    /// What was wrong with the first that failed.
    pub(crate) first_failure: Option<String>,
}

impl Measurement {
    /// Adds what was seen in another round.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
        if let Some(cpu) = other.cpu {
            let sums = self.cpu.get_or_insert_default();
            for (name, time) in cpu {
                *sums.entry(name).or_default() += time;
            }
        }
        self.memory = other.memory.or(self.memory);
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    /// Successes a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0 && !self.latencies.is_empty()).then(|| self.latencies.len() as f64 / seconds)
    }

    /// The time within which `percent` of a hundred were answered, in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        percentile(&sorted, percent).map(|nanoseconds| nanoseconds as f64 / 1e6)
    }

    /// Processor time of the server for each, in milliseconds; failures count as work done.
    pub(crate) fn cpu_each(&self) -> Option<f64> {
        let count = self.latencies.len() as u64 + self.failures;
        let total: Duration = self.cpu.as_ref()?.values().sum();
        (count > 0).then(|| total.as_secs_f64() * 1e3 / count as f64)
    }
}

/// The smallest value that is not less than `percent` of a hundred of all (nearest rank).
fn percentile(sorted: &[u64], percent: f64) -> Option<u64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).or(sorted.last()).copied()
}

/// Runs an operation for a while, after a warm-up that counts for failures only.
///
/// # Errors
/// A client came to no end at all; what the service answered wrongly is counted and no error.
pub(crate) async fn measure<W: Work>(work: &W, processes: &Processes, clients: usize, effort: Effort) -> Result<Measurement> {
    let mut workers: Vec<Worker> = (0..clients).map(|number| Worker { number, turn: number, connection: work.connection() }).collect();
    let few = if effort.warm_up.is_zero() { 0 } else { effort.most / 10 };
    let warm = round(work, &mut workers, effort.warm_up, few).await?;
    let before = (!processes.is_empty()).then(|| processes.read());
    let mut seen = round(work, &mut workers, effort.length, effort.most - few).await?;
    seen.cpu = before.map(|before| processes.read().since(&before));
    seen.memory = (!processes.is_empty()).then(|| processes.memory());
    seen.failures += warm.failures;
    seen.first_failure = warm.first_failure.or(seen.first_failure);
    Ok(seen)
}

struct Worker {
    number: usize,
    turn: usize,
    connection: Connection,
}

async fn round<W: Work>(work: &W, workers: &mut Vec<Worker>, length: Duration, most: usize) -> Result<Measurement> {
    let begun = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for mut worker in std::mem::take(workers) {
        let (work, begun) = (work.clone(), Arc::clone(&begun));
        tasks.push(tokio::spawn(async move {
            let mut seen = Measurement::default();
            while began.elapsed() < length && seen.failures < MAX_FAILURES && begun.fetch_add(1, Ordering::Relaxed) < most {
                let sent = Instant::now();
                match work.step(worker.number, worker.turn, &mut worker.connection).await {
                    Ok(()) => seen.latencies.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX)),
                    Err(error) => {
                        seen.failures += 1;
                        seen.first_failure.get_or_insert_with(|| format!("{error:#}"));
                    }
                }
                worker.turn += 1;
            }
            (worker, seen)
        }));
    }
    let mut total = Measurement::default();
    for task in tasks {
        let (worker, seen) = task.await.context("a client of the measurement ended early")?;
        workers.push(worker);
        total.add(seen);
    }
    total.elapsed = began.elapsed();
    Ok(total)
}

/// What failed, one text for each service and operation; `names` are those of the two services.
pub(crate) fn failures(lines: &[Line], names: [&str; 2]) -> Vec<String> {
    let told = |line: &Line, name: &str, seen: &Measurement| {
        let why = seen.first_failure.as_ref()?;
        Some(format!("{name}: {}, {} at once: {} failed, the first so: {why}", line.operation, line.clients, seen.failures))
    };
    let both = |line: &Line| {
        let Line { first, second, .. } = line;
        [told(line, names[0], first), second.as_ref().and_then(|second| told(line, names[1], second))]
    };
    lines.iter().flat_map(both).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50.0), Some(50));
        assert_eq!(percentile(&hundred, 99.0), Some(99));
        assert_eq!(percentile(&hundred, 100.0), Some(100));
        assert_eq!(percentile(&hundred, 0.0), Some(1));
        assert_eq!(percentile(&[7], 99.0), Some(7));
        assert_eq!(percentile(&[1, 9], 50.0), Some(1));
        assert_eq!(percentile(&[1, 9], 51.0), Some(9));
        assert_eq!(percentile(&[], 50.0), None);
    }

    /// Counts, and fails when it is told to.
    #[derive(Clone)]
    struct Counting(Arc<AtomicUsize>, usize);

    impl Work for Counting {
        fn connection(&self) -> Connection {
            Connection::new(&Arc::new(super::super::client::Target::identity("http://127.0.0.1:1").unwrap()))
        }

        async fn step(&self, _worker: usize, _turn: usize, _connection: &mut Connection) -> Result<()> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_micros(50)).await;
            anyhow::ensure!(number != self.1, "number {number}");
            Ok(())
        }
    }

    #[tokio::test]
    async fn it_ends_when_enough_was_done_and_the_warm_up_is_not_measured() {
        let processes = Processes::find(&[std::process::id()], 1).unwrap();
        let work = Counting(Arc::default(), 3);
        let effort = Effort { most: 100, ..Effort::lasting(Duration::from_secs(60)) };
        let seen = measure(&work, &processes, 4, effort).await.unwrap();
        assert_eq!((work.0.load(Ordering::Relaxed), seen.latencies.len(), seen.failures), (100, 90, 1));
        assert_eq!(seen.first_failure.as_deref(), Some("number 3"));
        assert!(seen.cpu.is_some());
        let work = Counting(Arc::default(), 99);
        let seen =
            measure(&work, &processes, 1, Effort { warm_up: Duration::ZERO, most: 10, length: Duration::from_secs(60) }).await.unwrap();
        assert_eq!((work.0.load(Ordering::Relaxed), seen.latencies.len()), (10, 10));
    }

    #[test]
    fn rounds_add_up() {
        let round = |latencies: &[u64], cpu_ms: u64, failures| Measurement {
            latencies: latencies.to_vec(),
            elapsed: Duration::from_secs(1),
            cpu: Some(BTreeMap::from([("a".to_owned(), Duration::from_millis(cpu_ms))])),
            memory: Some(cpu_ms),
            failures,
            first_failure: (failures > 0).then(|| format!("{cpu_ms}")),
        };
        let mut sum = Measurement::default();
        assert!(sum.rate().is_none() && sum.percentile(50.0).is_none() && sum.cpu_each().is_none());
        sum.add(round(&[3_000_000, 1_000_000], 6, 0));
        sum.add(round(&[2_000_000, 5_000_000], 4, 1));
        assert_eq!((sum.rate(), sum.cpu_each(), sum.percentile(50.0)), (Some(2.0), Some(2.0), Some(2.0)));
        assert_eq!((sum.memory, sum.failures, sum.first_failure.as_deref()), (Some(4), 1, Some("4")));
    }
}
