//! How often things were looked at, by kind, and how long it took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most kinds counted apart.
const KINDS: usize = 64;

#[derive(Clone, Copy, Default)]
struct OfKind {
    looks: u64,
    failed: u64,
    took: Duration,
}

/// Looks since the process began.
#[derive(Default)]
pub(crate) struct Looks {
    inner: Mutex<BTreeMap<String, OfKind>>,
}

impl Looks {
    /// One look more.
    pub(crate) fn note(&self, kind: &str, took: Duration, went_well: bool) {
        // Whoever panicked while counting did not break the counts.
        let mut kinds = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !kinds.contains_key(kind) && kinds.len() < KINDS {
            kinds.insert(kind.to_owned(), OfKind::default());
        }
        if let Some(it) = kinds.get_mut(kind) {
            it.looks += 1;
            it.failed += u64::from(!went_well);
            it.took += took;
        }
    }

    /// Appends them in the text form of Prometheus.
    pub(crate) fn render(&self, out: &mut String) {
        let kinds = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.is_empty() {
            return;
        }
        let mut seconds = String::new();
        let mut failed = String::new();
        for (kind, it) in kinds.iter() {
            // Writing to a string cannot fail.
            let _ok = writeln!(seconds, "cofferdam_look_seconds_sum{{kind=\"{kind}\"}} {:.6}", it.took.as_secs_f64())
                .and_then(|()| writeln!(seconds, "cofferdam_look_seconds_count{{kind=\"{kind}\"}} {}", it.looks))
                .and_then(|()| writeln!(failed, "cofferdam_look_failures_total{{kind=\"{kind}\"}} {}", it.failed));
        }
        out.push_str("# TYPE cofferdam_look_seconds summary\n");
        out.push_str(&seconds);
        out.push_str("# TYPE cofferdam_look_failures_total counter\n");
        out.push_str(&failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_kind() {
        let looks = Looks::default();
        looks.note("node", Duration::from_millis(250), true);
        looks.note("node", Duration::from_millis(250), false);
        let mut text = String::new();
        looks.render(&mut text);
        assert!(text.contains("cofferdam_look_seconds_sum{kind=\"node\"} 0.500000\n"), "{text}");
        assert!(text.contains("cofferdam_look_seconds_count{kind=\"node\"} 2\n"), "{text}");
        assert!(text.ends_with("cofferdam_look_failures_total{kind=\"node\"} 1\n"), "{text}");
        for n in 0..100 {
            looks.note(&n.to_string(), Duration::ZERO, true);
        }
        assert_eq!(looks.inner.lock().unwrap().len(), KINDS);
    }
}
