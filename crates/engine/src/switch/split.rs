//! A switch refused a commit: the ports it does not take are found, and the others get what they want.

use std::time::Duration;

use drivers::switch::{Switch as Driver, SwitchError, SwitchWanted, differs};
use model::Object;
use model::fabric::{Switch, SwitchPort};
use tokio::time::Instant;

use super::{Footing, Found, breaker, conclude, ledger, names, refusals};
use crate::runtime::{Cx, Look};

/// How long may be searched in one look; what was not tried by then is tried in the next.
const LIMIT: Duration = Duration::from_secs(30);

/// Halves what is to be set until each part is taken or is a single port that is not; those are remembered as refused.
pub(super) async fn without_the_refused(
    cx: &Cx,
    switch: Object<Switch>,
    driver: &dyn Driver,
    rows: &[Object<SwitchPort>],
    wanted: SwitchWanted,
    footing: Footing,
    reason: &str,
) -> Look {
    let until = Instant::now() + LIMIT;
    let began = cx.store.now().await?;
    let seen = match driver.observe().await {
        Ok(seen) => seen,
        Err(error) => return breaker::failed(cx, switch, &error).await,
    };
    // An operator who turns to the switch from here on does so after what is tried now.
    let asked = refusals::asked(cx, &switch).await?;
    let drift = ledger::drift(rows, &seen);
    let differing: Vec<String> =
        names(&differs(&wanted, &seen, &driver.facts())).into_iter().filter(|it| wanted.ports.contains_key(it)).collect();
    let mut took = None;
    let mut refused: Vec<(String, String)> = Vec::new();
    let narrowed = |part: &[String]| {
        let mut out = wanted.clone();
        out.ports.retain(|port, _| !differing.contains(port) || part.contains(port));
        out
    };
    // If it refuses what is left without any port, it is not the ports.
    let mut last = match driver.ensure(&narrowed(&[])).await {
        Ok(ensured) => ensured.after,
        Err(error @ SwitchError::Rejected { .. }) => {
            tracing::debug!(switch.name = %switch.id, reason, "refused as a whole");
            return breaker::failed(cx, switch, &error).await;
        }
        Err(error) => return breaker::failed(cx, switch, &error).await,
    };
    // Isolating comes first and alone: what is only to be closed must not wait for what is to be opened.
    let (close, open): (Vec<String>, Vec<String>) =
        differing.iter().cloned().partition(|port| wanted.ports.get(port).is_some_and(|it| it.mode == drivers::switch::PortMode::Isolated));
    let mut parts = vec![open, close];
    while let Some(part) = parts.pop().filter(|_| Instant::now() < until) {
        if part.is_empty() {
            continue;
        }
        let clock = Instant::now();
        match driver.ensure(&narrowed(&part)).await {
            Ok(ensured) => {
                last = ensured.after;
                took = ensured.committed.then(|| clock.elapsed()).or(took);
            }
            Err(SwitchError::Rejected { reason, .. }) => match part.as_slice() {
                [port] => refused.push((port.clone(), reason)),
                more => {
                    let (first, second) = more.split_at(more.len() / 2);
                    parts.extend([second.to_vec(), first.to_vec()]);
                }
            },
            Err(error) => return breaker::failed(cx, switch, &error).await,
        }
    }
    if refused.is_empty() && took.is_none() {
        // It is not the ports.
        return breaker::failed(cx, switch.clone(), &SwitchError::Rejected { switch: switch.id.to_string(), reason: reason.to_owned() })
            .await;
    }
    for (port, why) in &refused {
        tracing::warn!(switch.name = %switch.id, switch.port = port, why, "the switch does not take what is wanted of this port");
        refusals::note(cx, rows, port, why, asked).await?;
    }
    // What was read after the last part that was taken may be older than a refused part, half of which may be in force: read anew.
    let began = if refused.is_empty() {
        began
    } else {
        let began = cx.store.now().await?;
        last = match driver.observe().await {
            Ok(seen) => seen,
            Err(error) => return breaker::failed(cx, switch, &error).await,
        };
        began
    };
    let refused = !refused.is_empty();
    let found = Found { before: None, seen: last, began, has_begun: true, took, drift, left_alone: Vec::new(), footing, refused };
    conclude(cx, switch, driver, rows, &wanted, found).await
}
