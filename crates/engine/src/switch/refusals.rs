//! Ports of which a switch refused what is wanted. Such a port is left out of what the switch is asked for, so that the others get theirs,
//! and asked for again when there is a reason to: something else is wanted of it (then the refusal is of another wish), the switch is
//! otherwise than when it refused, an operator turned to the switch, or a minute has passed. A switch that goes on refusing is asked ever
//! more seldom by itself, at last once a minute, whatever happens on it.

use std::fmt::{Debug, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use drivers::switch::SwitchSeen;
use model::fabric::{self, Switch, SwitchPort, SwitchPortObserved};
use model::{Object, Timestamp};
use store::{Query, StoreError};

use crate::runtime::{Cx, Fault};

/// For how long a port is left out at most.
const LONGEST: Duration = Duration::from_secs(60);
/// How long after the first refusal it is asked for again because the switch is otherwise; twice as long after each further one.
const FIRST: Duration = Duration::from_secs(1);

/// Whether anything that is wanted of these ports was refused, as far as they were known.
pub(super) fn has_any(rows: &[Object<SwitchPort>]) -> bool {
    rows.iter().any(|row| !row.observed.refused.is_empty())
}

/// How often an operator turned to the switch: declared it otherwise or asked for it to be read. Only grows.
pub(super) async fn asked(cx: &Cx, switch: &Object<Switch>) -> Result<i64, Fault> {
    Ok(cx.store.counter(&fabric::reads_asked(&switch.id)).await?.saturating_add(switch.generation))
}

/// How long ago the switch refused what is still wanted of the port, if it is left out because of that.
fn refused_ago(row: &Object<SwitchPort>, asked: i64) -> Option<Duration> {
    let seen = &row.observed;
    if seen.refused.is_empty() || seen.generation != row.generation || seen.refused_asked != asked {
        return None;
    }
    // One that was refused in the future was refused before the clock was set back.
    let ago = Duration::try_from_secs_f64(Timestamp::now().seconds_since(seen.refused_at?)).ok()?;
    (ago < LONGEST).then_some(ago)
}

/// Whether the port is left out of what its switch is asked for.
pub(super) fn is_left_out(row: &Object<SwitchPort>, asked: i64) -> bool {
    refused_ago(row, asked).is_some()
}

/// How long after a refusal that had so many before it the port is asked for again because the switch is otherwise.
fn patience(refusals: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(refusals.saturating_sub(1).min(16))).min(LONGEST)
}

/// What was refused is not wanted any more, or was taken.
pub(super) fn forget(seen: &mut SwitchPortObserved) {
    seen.refused.clear();
    seen.refused_at = None;
    seen.refused_of = None;
    seen.refusals = 0;
}

/// Writes down that the switch refused what is wanted of the port.
pub(super) async fn note(cx: &Cx, rows: &[Object<SwitchPort>], port: &str, why: &str, asked: i64) -> Result<(), Fault> {
    let Some(row) = rows.iter().find(|row| row.desired.port == port) else { return Ok(()) };
    let Some(mut fresh) = cx.store.get(&row.id).await?.filter(|it| it.generation == row.generation) else { return Ok(()) };
    let seen = &mut fresh.observed;
    if seen.generation != row.generation {
        forget(seen);
    }
    seen.refusals = seen.refusals.saturating_add(1);
    seen.refused = why.to_owned();
    seen.refused_at = Some(Timestamp::now());
    // What the switch is like when it refuses is known by the reading after that.
    seen.refused_of = None;
    seen.refused_asked = asked;
    seen.generation = row.generation;
    seen.seen = None;
    write(cx, &fresh).await
}

/// Has ports asked for again that were refused when the switch was otherwise. Tells when the next is to be asked for; `None`: none is.
pub(super) async fn follow(cx: &Cx, switch: &Object<Switch>, seen: &SwitchSeen) -> Result<Option<Duration>, Fault> {
    let rows = cx.store.list(&Query::<SwitchPort>::new().column("switch", [switch.id.to_string()])).await?;
    let asked = asked(cx, switch).await?;
    let now = digest(seen);
    let mut next: Option<Duration> = None;
    for mut row in rows {
        let Some(ago) = refused_ago(&row, asked) else { continue };
        let until = match row.observed.refused_of {
            Some(then) if then != now => patience(row.observed.refusals),
            _ => LONGEST,
        };
        let left = until.saturating_sub(ago);
        next = Some(next.map_or(left, |next| next.min(left)));
        if left.is_zero() {
            tracing::info!(switch.name = %switch.id, switch.port = row.desired.port, "it refused this port and is otherwise by now: asked again");
            row.observed.refused_at = None;
            write(cx, &row).await?;
        } else if row.observed.refused_of.is_none() {
            row.observed.refused_of = Some(now);
            write(cx, &row).await?;
        }
    }
    Ok(next)
}

async fn write(cx: &Cx, row: &Object<SwitchPort>) -> Result<(), Fault> {
    match cx.store.apply(cx.facts().observe(row)).await {
        Ok(()) | Err(StoreError::Stale { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A number that is another, as good as always, if the switch is: what its ports carry, its VLANs, their maps, its groups. What was saved
/// and what is written beside things is not part of it. Another build may number otherwise: then a port is asked for once more.
fn digest(seen: &SwitchSeen) -> u64 {
    struct Into(DefaultHasher);
    impl std::fmt::Write for Into {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut out = Into(DefaultHasher::new());
    let mut put = |it: &dyn Debug| {
        // Hashing cannot fail.
        let _ok = write!(out, "{it:?};");
    };
    seen.ports.iter().for_each(|(port, it)| put(&(port, &it.mode)));
    seen.vlans.iter().filter(|(_, it)| it.running).for_each(|(vlan, it)| put(&(vlan, &it.name, it.vni, it.half)));
    seen.lags.iter().for_each(|it| put(&it));
    out.0.finish()
}

#[cfg(test)]
mod tests {
    use model::Id;
    use model::fabric::{PortUse, SwitchPortDesired};

    use super::*;

    fn refused() -> Object<SwitchPort> {
        let switch = Id::parse("leaf1").unwrap();
        let (port, since) = ("p1".to_owned(), Timestamp(0));
        let desired = SwitchPortDesired { switch, port, wanted: PortUse::Isolated, holder: None, since, lag: None, forced: None };
        let mut it = Object::<SwitchPort>::new(Id::random(), None, "", desired);
        it.observed.refused = "% Invalid input".into();
        it.observed.generation = it.generation;
        it
    }

    #[test]
    fn what_was_refused_is_asked_for_again_after_a_while_or_when_the_clock_was_set_back() {
        let mut it = refused();
        for (seconds, left_out) in [(-5, true), (-61, false), (900, false)] {
            it.observed.refused_at = Some(Timestamp::now().plus_seconds(seconds));
            assert_eq!(is_left_out(&it, 0), left_out, "{seconds} s from now");
        }
    }

    #[test]
    fn another_wish_and_an_operator_have_it_asked_for_at_once() {
        let mut it = refused();
        it.observed.refused_at = Some(Timestamp::now());
        it.observed.refused_asked = 3;
        assert!(is_left_out(&it, 3));
        assert!(!is_left_out(&it, 4), "an operator asked");
        it.generation += 1;
        assert!(!is_left_out(&it, 3), "something else is wanted");
    }

    #[test]
    fn patience_grows_and_ends_growing() {
        assert_eq!([1, 2, 3, u32::MAX].map(patience), [FIRST, 2 * FIRST, 4 * FIRST, LONGEST]);
    }
}
