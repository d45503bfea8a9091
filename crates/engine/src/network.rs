//! Networks: on removal the VLAN stays in quarantine until every switch was read back without it.

use std::time::Duration;

use model::Timestamp;
use model::fabric::Switch;
use model::net::{Network, Port, vlan_key};
use serde_json::json;
use store::{Query, Severity};

use crate::runtime::{Cx, Look, Next};

/// A network that is not being removed needs nothing; it is looked at now and then all the same.
const RESYNC: Duration = Duration::from_secs(600);
const WAIT: Duration = Duration::from_millis(500);

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(mut network) = cx.load::<Network>().await? else {
        return Ok(Next::Gone);
    };
    if !network.is_deleting() {
        return Ok(Next::Again(RESYNC));
    }
    let ports = Query::<Port>::new().with_deleted().column("network_id", [network.id.to_string()]);
    if cx.store.count(&ports).await? > 0 {
        return Ok(Next::Again(WAIT));
    }
    let segment = network.desired.segment.clone();
    let pool = format!("vlan:{}", segment.physical_network);
    let value = vlan_key(segment.vlan);
    let Some(since) = network.observed.quarantined_at else {
        let now = Timestamp::now();
        network.observed.quarantined_at = Some(now);
        let batch = cx.facts().quarantine(&pool, &value, now).observe(&network);
        cx.store.apply(cx.wake_switches(batch)).await?;
        return Ok(Next::Again(Duration::from_millis(50)));
    };
    let switches = cx.store.list(&Query::<Switch>::new()).await?;
    let unproven: Vec<&str> = switches
        .iter()
        .filter(|it| cx.switches.contains_key(it.id.as_str()))
        .filter(|it| it.observed.read_at.is_none_or(|at| at <= since) || it.observed.vlans.contains(&segment.vlan))
        .map(|it| it.id.as_str())
        .collect();
    if !unproven.is_empty() {
        tracing::debug!(network.id = %network.id, vlan = segment.vlan.get(), ?unproven, "the VLAN stays in quarantine");
        return Ok(Next::Again(WAIT));
    }
    let proof = json!({"vlan": segment.vlan, "quarantined_at": since.iso_micros(), "switches": switches.iter().map(|it| it.id.as_str()).collect::<Vec<_>>()});
    let batch = cx.facts().free(&pool, &value).remove(&network).history(
        &network.id,
        Severity::Info,
        "every switch was read back without the VLAN",
        &proof,
    );
    cx.store.apply(batch).await?;
    tracing::info!(network.id = %network.id, vlan = segment.vlan.get(), "every switch was read back without the VLAN; it may be used again");
    Ok(Next::Gone)
}
