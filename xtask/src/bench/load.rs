//! A closed loop: some clients, each sending its next request when the last was answered, and what was measured of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::client::Connection;
use super::processes::Processes;
use super::world::{Operation, World};

/// After so many failures of one client the rest would say nothing new.
const MAX_FAILURES: u64 = 20;

/// What was seen of one operation with some clients.
#[derive(Default, Debug)]
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
pub(crate) async fn measure(
    world: &World,
    processes: &Processes,
    operation: Operation,
    clients: usize,
    length: Duration,
) -> Result<Measurement> {
    let warm_up = (length / 5).clamp(Duration::from_millis(200), Duration::from_secs(2));
    let mut workers: Vec<Worker> = (0..clients).map(|number| Worker { number, turn: number, connection: world.connection() }).collect();
    let warm = round(world, operation, &mut workers, warm_up).await?;
    let before = (!processes.is_empty()).then(|| processes.read());
    let mut seen = round(world, operation, &mut workers, length).await?;
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

async fn round(world: &World, operation: Operation, workers: &mut Vec<Worker>, length: Duration) -> Result<Measurement> {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for mut worker in std::mem::take(workers) {
        let world = world.clone();
        tasks.push(tokio::spawn(async move {
            let mut seen = Measurement::default();
            while began.elapsed() < length && seen.failures < MAX_FAILURES {
                let sent = Instant::now();
                match world.step(operation, worker.number, worker.turn, &mut worker.connection).await {
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
