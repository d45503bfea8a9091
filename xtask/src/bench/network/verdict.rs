//! What is promised of the network service, and whether the figures keep it.

use super::world::Operation;
use crate::bench::load::Measurement;
use crate::bench::table::{Line, columns, number};

/// How many times as many ports a second, and lists of a thousand, as the other service: on SQLite.
const TIMES: f64 = 50.0;
/// The same on PostgreSQL.
const TIMES_POSTGRES: f64 = 15.0;
/// The p99 of calls about one object by eight clients, in milliseconds, on SQLite.
const P99: f64 = 5.0;
/// How long a request for a thousand ports may take, in milliseconds.
const THOUSAND: f64 = 500.0;
/// What a call may cost in a full store, as a multiple of what it costs in an empty one.
const FULL: f64 = 2.0;
/// How many ports a store has that is called full.
pub(crate) const FILLED: usize = 100_000;

/// A promise and what was seen.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    promise: String,
    seen: String,
    /// `None` if the run does not tell.
    is_kept: Option<bool>,
}

/// What is judged.
pub(crate) struct Figures<'a> {
    /// Ours on an empty store, beside the other service.
    pub(crate) empty: &'a [Line],
    /// Ours on a full store, beside ours on an empty one.
    pub(crate) full: &'a [Line],
    /// How many ports the full store had.
    pub(crate) filled: usize,
    /// Whether the store is PostgreSQL.
    pub(crate) is_postgres: bool,
}

/// The promises as a table, without a last line break.
pub(crate) fn table(figures: &Figures<'_>) -> String {
    let mut rows = vec![["promise", "seen", "verdict"].map(str::to_owned).to_vec()];
    for it in judge(figures) {
        let verdict = match it.is_kept {
            Some(true) => "kept",
            Some(false) => "missed",
            None => "not judged",
        };
        rows.push(vec![it.promise, it.seen, verdict.to_owned()]);
    }
    columns(&rows, &[0, 1, 2])
}

fn judge(figures: &Figures<'_>) -> Vec<Verdict> {
    let times = if figures.is_postgres { TIMES_POSTGRES } else { TIMES };
    let mut verdicts = Vec::new();
    for (operation, what) in [(Operation::CreatePort, "ports created a second"), (Operation::ListPorts, "lists of 1,000 ports a second")] {
        for clients in [1, 8] {
            let ratio = find(figures.empty, operation, clients).and_then(|line| over(line.first.rate(), line.second.as_ref()?.rate()));
            let promise = format!("{what}, {clients} at once: {times} times the other's");
            verdicts.push(told(promise, ratio.map(|it| (format!("{}x", number(it)), it >= times))));
        }
    }
    if !figures.is_postgres {
        let worst = Operation::ALL
            .into_iter()
            .filter(|it| it.is_of_one())
            .filter_map(|it| Some((find(figures.empty, it, 8)?.first.percentile(99.0)?, it.name())))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let seen = worst.map(|(p99, name)| (format!("{} ms: {name}", number(p99)), p99 < P99));
        verdicts.push(told(format!("p99 of calls about one object, 8 at once: under {P99} ms"), seen));
    }
    let thousand = find(figures.empty, Operation::CreateThousandPorts, 1).and_then(|line| line.first.percentile(100.0));
    let seen = thousand.map(|most| (format!("at most {} ms", number(most)), most < THOUSAND));
    verdicts.push(told(format!("1,000 ports in one request: under {THOUSAND} ms"), seen));
    for (what, cost) in [("time", time_ratio as fn(&Line) -> Option<f64>), ("CPU", cpu_ratio)] {
        let worst = figures.full.iter().filter_map(|line| Some((cost(line)?, line))).max_by(|a, b| a.0.total_cmp(&b.0));
        let seen = worst.map(|(ratio, line)| (format!("{}x: {}, {} at once", number(ratio), line.operation, line.clients), ratio <= FULL));
        let promise = format!("{what} of a call in a store of {} ports: at most {FULL} times the empty one's", figures.filled);
        let mut verdict = told(promise, seen);
        if figures.filled < FILLED {
            verdict.is_kept = None;
        }
        verdicts.push(verdict);
    }
    verdicts
}

fn told(promise: String, seen: Option<(String, bool)>) -> Verdict {
    match seen {
        Some((seen, is_kept)) => Verdict { promise, seen, is_kept: Some(is_kept) },
        None => Verdict { promise, seen: "not measured".to_owned(), is_kept: None },
    }
}

fn find(lines: &[Line], operation: Operation, clients: usize) -> Option<&Line> {
    lines.iter().find(|line| line.operation == operation.name() && line.clients == clients)
}

fn over(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    b.filter(|it| *it > 0.0).and_then(|b| Some(a? / b))
}

/// What the first takes of the second's time, with as many clients.
fn time_ratio(line: &Line) -> Option<f64> {
    over(line.second.as_ref().and_then(Measurement::rate), line.first.rate())
}

/// What the first takes of the second's processor time.
fn cpu_ratio(line: &Line) -> Option<f64> {
    over(line.first.cpu_each(), line.second.as_ref().and_then(Measurement::cpu_each))
}

/// What each call costs in the full store, as multiples of what it costs in the empty one; without a last line break.
pub(crate) fn costs(full: &[Line]) -> String {
    let mut rows = vec![["operation", "clients", "full/empty: time", "p99", "CPU"].map(str::to_owned).to_vec()];
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |it| format!("{}x", number(it)));
    for line in full {
        let p99 = over(line.first.percentile(99.0), line.second.as_ref().and_then(|it| it.percentile(99.0)));
        let numbers = [time_ratio(line), p99, cpu_ratio(line)].map(cell);
        rows.push([line.operation.to_owned(), line.clients.to_string()].into_iter().chain(numbers).collect());
    }
    columns(&rows, &[0])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn seen(milliseconds: f64, count: usize) -> Measurement {
        let cpu = Duration::from_secs_f64(milliseconds * count as f64 / 1e3);
        Measurement {
            latencies: vec![(milliseconds * 1e6) as u64; count],
            elapsed: cpu,
            cpu: Some(BTreeMap::from([("s".to_owned(), cpu)])),
            ..Measurement::default()
        }
    }

    fn line(operation: Operation, clients: usize, first: f64, second: Option<f64>) -> Line {
        Line { operation: operation.name(), clients, first: seen(first, 100), second: second.map(|it| seen(it, 10)) }
    }

    #[test]
    fn each_promise_is_judged_by_its_own_row() {
        let empty = [
            line(Operation::CreatePort, 1, 1.0, Some(60.0)),
            line(Operation::CreatePort, 8, 4.0, Some(160.0)),
            line(Operation::ListPorts, 1, 10.0, Some(900.0)),
            line(Operation::CreateThousandPorts, 1, 499.0, None),
            line(Operation::ShowPort, 8, 4.5, None),
        ];
        let full = [line(Operation::ShowPort, 1, 1.5, Some(1.0)), line(Operation::ListPorts, 8, 3.0, Some(1.0))];
        let mut figures = Figures { empty: &empty, full: &full, filled: FILLED, is_postgres: false };
        let judged = |figures: &Figures<'_>| judge(figures).into_iter().map(|it| (it.seen, it.is_kept)).collect::<Vec<_>>();
        let wanted = [
            ("60.0x", Some(true)),
            ("40.0x", Some(false)),
            ("90.0x", Some(true)),
            ("not measured", None),
            ("4.50 ms: GET port", Some(true)),
            ("at most 499 ms", Some(true)),
            ("3.00x: GET 1,000 ports, 8 at once", Some(false)),
            ("3.00x: GET 1,000 ports, 8 at once", Some(false)),
        ];
        assert_eq!(judged(&figures), wanted.map(|(text, kept)| (text.to_owned(), kept)));
        figures.filled = 10;
        assert_eq!(judged(&figures).last().unwrap().1, None, "a small store proves nothing");
        figures.is_postgres = true;
        let judged = judged(&figures);
        assert_eq!((judged.len(), &judged[1]), (7, &("40.0x".to_owned(), Some(true))), "fewer times are promised there, and no p99");
        assert!(table(&figures).contains("ports created a second, 1 at once: 15 times the other's "));
    }

    #[test]
    fn costs_are_multiples_of_the_empty_stores() {
        let wanted = "\
operation  clients  full/empty: time    p99    CPU
GET port         1             1.50x  1.50x  1.50x
GET port         8                 -      -      -";
        assert_eq!(costs(&[line(Operation::ShowPort, 1, 1.5, Some(1.0)), line(Operation::ShowPort, 8, 1.0, None)]), wanted);
    }
}
