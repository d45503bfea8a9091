//! A switch that does not answer is tried ever more seldom, and nobody else waits for it.

use std::time::Duration;

use drivers::switch::SwitchError;
use model::fabric::Switch;
use model::{Object, Timestamp};

use crate::runtime::{Cx, Look, Next};

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_millis(250);

/// How long to pause after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    (FIRST * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST)
}

/// How long the switch is not to be tried yet, if it is not.
pub(super) fn is_open(switch: &Object<Switch>) -> Option<Duration> {
    let left = switch.observed.retry_at?.0.checked_sub(Timestamp::now().0)?;
    let left = Duration::from_micros(u64::try_from(left).ok()?);
    // No pause is longer: there the clock was set back, and the switch must not wait for the old time to come again.
    (!left.is_zero() && left <= LONGEST).then_some(left)
}

/// Nothing is known of the switch: what was proven stays proven only as far as its reading goes, and nothing new is believed.
pub(super) async fn failed(cx: &Cx, switch: Object<Switch>, error: &SwitchError) -> Look {
    cx.switches.fell_silent(&switch);
    let mut fresh = cx.load::<Switch>().await?.unwrap_or(switch);
    let seen = &mut fresh.observed;
    seen.stopped(cx.claim.worker());
    seen.silences += 1;
    seen.failures = seen.failures.saturating_add(1);
    let wait = pause(seen.failures);
    let after = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    seen.retry_at = Some(Timestamp(Timestamp::now().0.saturating_add(after)));
    let why = error.to_string();
    if seen.fault != why {
        tracing::warn!(switch.name = %fresh.id, why, failures = seen.failures, "no answer from the switch");
        seen.fault = why;
    }
    cx.store.apply(cx.facts().observe(&fresh)).await?;
    Ok(Next::Again(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_keeps_no_switch_from_being_tried() {
        let mut switch = Object::new(model::Id::parse("leaf1").unwrap(), None, "leaf1", model::fabric::SwitchDesired::default());
        assert_eq!(is_open(&switch), None);
        switch.observed.retry_at = Some(Timestamp::now().plus_seconds(20));
        assert!(is_open(&switch).is_some());
        switch.observed.retry_at = Some(Timestamp::now().plus_seconds(900));
        assert_eq!(is_open(&switch), None);
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        assert_eq!(pause(1), FIRST);
        assert_eq!(pause(2), 2 * FIRST);
        assert_eq!(pause(8), LONGEST);
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
