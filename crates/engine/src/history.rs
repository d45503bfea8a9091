//! History does not grow for ever: of each object the newest lines are kept, of one that is no more all of them for a while.
//!
//! One piece of work, leased by one replica at a time. It goes through all histories in small batches and rests between them for longer
//! than they took, so that nobody waits for it. What it decides on it reads each time: killed anywhere, it is begun anew.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Timestamp;
use serde::Deserialize;
use store::HistoryOf;

use crate::runtime::{Cx, Look, Next};

/// Its kind and id in the work queue.
pub(crate) const HISTORY_WORK: &str = "history_trim";
/// How many histories are looked at in one go.
const PAGE: u32 = 50;
/// How many lines are removed in one go.
const LINES: u32 = 500;
/// How long one look takes, about; it must end before it is broken off.
const LIMIT: Duration = Duration::from_secs(600);
/// How soon it goes on if it was not through by then.
const AGAIN: Duration = Duration::from_secs(10);
/// The rest between two batches: so many times as long as the last one took, and these bounds.
const REST: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(2);

/// `[history]`: how much is remembered of what happened to things.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    /// How many lines are kept of each object, the newest (Ironic's `node_history_max_entries`); 0: all.
    pub lines: u32,
    /// For how many days the history of an object that is no more is kept; 0: for ever.
    pub removed_days: u32,
    /// How often all histories are gone through, in seconds; 0: never.
    pub interval_seconds: u32,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { lines: 300, removed_days: 30, interval_seconds: 3600 }
    }
}

impl HistoryConfig {
    /// How many of the oldest lines are to go.
    fn too_many(&self, of: &HistoryOf, now: Timestamp) -> u64 {
        let kept = f64::from(self.removed_days) * 86_400.0;
        if of.is_gone && of.is_noted && self.removed_days > 0 && now.seconds_since(of.newest) > kept {
            return of.lines;
        }
        // What is to be noted of it is a line more.
        let lines = of.lines + u64::from(of.is_gone && !of.is_noted);
        if self.lines == 0 { 0 } else { lines.saturating_sub(u64::from(self.lines)) }
    }
}

/// After which history (kind and id) the last look was broken off, if it was: where this process goes on. Another begins anew.
#[derive(Default)]
pub(crate) struct Place(Mutex<Option<(String, String)>>);

impl Place {
    fn swap(&self, place: Option<(String, String)>) -> Option<(String, String)> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), place)
    }
}

/// Goes through all histories.
pub(crate) async fn trim(cx: &Cx) -> Look {
    trim_at(cx, Timestamp::now()).await
}

/// The same at any time.
pub(crate) async fn trim_at(cx: &Cx, now: Timestamp) -> Look {
    trim_for(cx, now, LIMIT).await
}

/// The same for so long at most.
pub(crate) async fn trim_for(cx: &Cx, now: Timestamp, limit: Duration) -> Look {
    let config = &cx.config.history;
    if config.interval_seconds == 0 {
        return Ok(Next::Gone);
    }
    let began = Instant::now();
    let (mut removed, mut seen) = (0_u64, 0_usize);
    let mut after = cx.history_place.swap(None);
    let mut is_through = false;
    while !is_through {
        let batch_began = Instant::now();
        let page = cx.store.histories(after.as_ref().map(|(kind, id)| (kind.as_str(), id.as_str())), PAGE).await?;
        rest(batch_began).await;
        is_through = u32::try_from(page.len()).is_ok_and(|it| it < PAGE);
        seen += page.len();
        let mut batch = cx.facts();
        let (mut room, mut is_empty) = (LINES, true);
        for of in &page {
            if of.is_gone && !of.is_noted {
                batch = batch.note_gone(of);
                is_empty = false;
            }
            let mut left = config.too_many(of, now);
            while left > 0 {
                let some = u32::try_from(left).unwrap_or(u32::MAX).min(room);
                batch = batch.trim_history(of, some);
                is_empty = false;
                left -= u64::from(some);
                removed += u64::from(some);
                room -= some;
                if room == 0 {
                    let batch_began = Instant::now();
                    cx.store.apply(std::mem::replace(&mut batch, cx.facts())).await?;
                    rest(batch_began).await;
                    (room, is_empty) = (LINES, true);
                }
            }
        }
        if !is_empty {
            let batch_began = Instant::now();
            cx.store.apply(batch).await?;
            rest(batch_began).await;
        }
        after = page.last().map(|last| (last.kind.clone(), last.id.clone()));
        if began.elapsed() >= limit {
            break;
        }
    }
    if !is_through {
        cx.history_place.swap(after);
    }
    if removed > 0 {
        tracing::info!(lines = removed, histories = seen, took_ms = began.elapsed().as_millis(), "removed old lines of history");
    }
    Ok(Next::Again(if is_through { Duration::from_secs(u64::from(config.interval_seconds)) } else { AGAIN }))
}

/// Leaves the store to others for a while.
async fn rest(began: Instant) {
    tokio::time::sleep((began.elapsed() * REST).clamp(SHORTEST, LONGEST)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much() {
        let config = HistoryConfig { lines: 3, removed_days: 2, ..HistoryConfig::default() };
        let now = Timestamp::now();
        let of = |lines, days: i64, is_gone, is_noted| HistoryOf {
            kind: "node".into(),
            id: "x".into(),
            lines,
            newest: now.plus_seconds(-days * 86_400 - 1),
            is_gone,
            is_noted,
        };
        assert_eq!(config.too_many(&of(3, 99, false, false), now), 0);
        assert_eq!(config.too_many(&of(10, 99, false, false), now), 7);
        assert_eq!(config.too_many(&of(3, 1, true, true), now), 0);
        assert_eq!(config.too_many(&of(3, 2, true, true), now), 3);
        // From when it was found to be gone, not from when something last happened to it.
        assert_eq!(config.too_many(&of(3, 99, true, false), now), 1);
        let all = HistoryConfig { lines: 0, removed_days: 0, ..config };
        assert_eq!(all.too_many(&of(1000, 99, true, true), now), 0);
    }
}
