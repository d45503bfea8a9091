//! How long each part took.

use std::time::{Duration, Instant};

/// A clock with named parts.
pub(crate) struct Phases {
    started: Instant,
    current: Option<(String, Instant)>,
    done: Vec<(String, Duration)>,
}

impl Phases {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), current: None, done: Vec::new() }
    }

    /// Ends the part that runs and begins another.
    pub(crate) fn begin(&mut self, name: &str) {
        self.end();
        self.current = Some((name.to_owned(), Instant::now()));
    }

    /// Ends the part that runs.
    pub(crate) fn end(&mut self) {
        if let Some((name, since)) = self.current.take() {
            self.done.push((name, since.elapsed()));
        }
    }

    /// Time since the start.
    pub(crate) fn total(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time spent in the parts whose names are listed.
    pub(crate) fn spent_in(&self, names: &[&str]) -> Duration {
        self.done.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, time)| *time).sum()
    }

    /// The table, one line a part and the total, indented by two.
    pub(crate) fn table(&self) -> String {
        let width = self.done.iter().map(|(name, _)| name.chars().count()).chain([5]).max().unwrap_or(5);
        let mut lines: Vec<String> = self.done.iter().map(|(name, time)| format!("  {name:<width$} {:>8}", seconds(*time))).collect();
        lines.push(format!("  {:<width$} {:>8}", "total", seconds(self.total())));
        lines.join("\n")
    }
}

/// `3.2 s`, or `2 min 05 s` from two minutes on.
pub(crate) fn seconds(time: Duration) -> String {
    if time.as_secs() < 120 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(seconds(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn a_part_ends_when_the_next_begins() {
        let mut phases = Phases::start();
        phases.begin("one");
        phases.begin("two");
        phases.end();
        let table = phases.table();
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(phases.spent_in(&["one", "two"]) <= phases.total());
    }
}
