//! What is promised of the bare metal service, and whether the figures keep it.

use super::world::Operation;
use crate::bench::load::Measurement;
use crate::bench::table::{Line, columns, number};

/// How many times as many as the other service.
const TIMES: f64 = 50.0;
/// What is promised that number of times.
const PROMISED: [Operation; 4] = [Operation::Create, Operation::List, Operation::Show, Operation::Patch];

/// A promise and what was seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was promised.
    pub(crate) promise: String,
    /// What was seen.
    pub(crate) seen: String,
    /// `None` if the run does not tell.
    pub(crate) is_kept: Option<bool>,
}

impl Verdict {
    /// Of a value that was promised to be below a limit; not judged if the run was smaller than what was promised.
    pub(crate) fn below(promise: impl Into<String>, seen: Option<f64>, limit: f64, unit: &str, is_whole: bool) -> Self {
        let shown = seen.map_or_else(|| "not measured".to_owned(), |it| format!("{} {unit}", number(it)));
        Self { promise: promise.into(), seen: shown, is_kept: seen.filter(|_| is_whole).map(|it| it < limit) }
    }
}

/// Promises as a table, without a last line break.
pub(crate) fn table(verdicts: Vec<Verdict>) -> String {
    let mut rows = vec![["promise", "seen", "verdict"].map(str::to_owned).to_vec()];
    for it in verdicts {
        let verdict = match it.is_kept {
            Some(true) => "kept",
            Some(false) => "missed",
            None => "not judged",
        };
        rows.push(vec![it.promise, it.seen, verdict.to_owned()]);
    }
    columns(&rows, &[0, 1, 2])
}

/// What the figures of two services beside each other say.
pub(crate) fn judge(lines: &[Line]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for operation in PROMISED {
        for clients in [1, 8] {
            let line = lines.iter().find(|line| line.operation == operation.name() && line.clients == clients);
            let ratio = line.and_then(|line| over(line.first.rate(), line.second.as_ref().and_then(Measurement::rate)));
            verdicts.push(Verdict {
                promise: format!("{} a second, {clients} at once: {TIMES} times the other's", operation.name()),
                seen: ratio.map_or_else(|| "not measured".to_owned(), |it| format!("{}x", number(it))),
                is_kept: ratio.map(|it| it >= TIMES),
            });
        }
    }
    verdicts
}

fn over(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    b.filter(|it| *it > 0.0).and_then(|b| Some(a? / b))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seen(count: usize) -> Measurement {
        Measurement { latencies: vec![1_000_000; count], elapsed: Duration::from_secs(1), ..Measurement::default() }
    }

    #[test]
    fn fifty_times_is_kept_and_less_is_not() {
        let line =
            |clients, ours, others| Line { operation: Operation::Create.name(), clients, first: seen(ours), second: Some(seen(others)) };
        let verdicts = judge(&[line(1, 5000, 100), line(8, 4900, 100)]);
        assert_eq!(verdicts.len(), 8);
        assert_eq!((verdicts[0].is_kept, verdicts[1].is_kept, verdicts[2].is_kept), (Some(true), Some(false), None));
        assert_eq!((verdicts[0].seen.as_str(), verdicts[2].seen.as_str()), ("50.0x", "not measured"));
    }

    #[test]
    fn a_small_run_judges_nothing() {
        assert_eq!(Verdict::below("x", Some(3.0), 5.0, "s", true).is_kept, Some(true));
        assert_eq!(Verdict::below("x", Some(7.0), 5.0, "s", true).is_kept, Some(false));
        assert_eq!(Verdict::below("x", Some(3.0), 5.0, "s", false).is_kept, None);
        assert_eq!(Verdict::below("x", None, 5.0, "s", true).seen, "not measured");
    }
}
