//! Networks: a VLAN or VXLAN that one gave up, or that is removed, stays taken until every switch was read back without it.

use std::time::Duration;

use model::fabric::{Switch, Trace};
use model::net::bgpvpn::BgpvpnNetworkAssociation;
use model::net::{Network, NetworkDesired, NetworkSegment, Port, Segment};
use model::{Object, Timestamp};
use serde_json::json;
use store::{Batch, Facts, Query, Severity};

use crate::runtime::{Cx, Fault, Look, Next};
use crate::{dynamic, switch};

/// A network that is not being removed needs nothing; it is looked at now and then all the same.
const RESYNC: Duration = Duration::from_secs(600);
/// How often it is looked whether what a network was given is still needed, though nobody said otherwise.
const IDLE: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_millis(500);

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(mut network) = cx.load::<Network>().await? else {
        return Ok(Next::Gone);
    };
    let owes = !network.desired.released.is_empty() || network.observed.quarantined_at.is_some();
    if owes && pulled_back(&mut network, cx.store.now().await?) {
        cx.store.apply(cx.facts().observe(&network)).await?;
        network.revision += 1;
        cx.store.apply(cx.wake_switches(cx.facts().want(&network)).await?).await?;
        return Ok(Next::Again(Duration::ZERO));
    }
    if !network.is_deleting() {
        if write_down(cx, &network).await? {
            return Ok(Next::Again(Duration::ZERO));
        }
        if dynamic::take_back(cx, &network).await? {
            return Ok(Next::Again(Duration::ZERO));
        }
        switch::follow_maps(cx, &network).await?;
        return match network.desired.released.is_empty() {
            true => Ok(Next::Again(if network.desired.dynamic.is_empty() { RESYNC } else { IDLE })),
            false => let_go(cx, network).await,
        };
    }
    let ports = Query::<Port>::new().with_deleted().column("network_id", [network.id.to_string()]);
    if cx.store.count(&ports).await? > 0 {
        return Ok(Next::Again(WAIT));
    }
    let traces = traces(cx, &network).await?;
    let Some(since) = network.observed.quarantined_at else {
        let now = cx.store.now().await?;
        network.observed.quarantined_at = Some(now);
        let held = all_segments(&network.desired).filter(|it| trace(cx, it).is_some_and(|it| traces.contains(&it)));
        let held = held.filter_map(Segment::held);
        let batch = held.fold(cx.facts(), |batch, (pool, key)| batch.quarantine(&pool, &key, now)).observe(&network);
        cx.store.apply(cx.wake_switches(batch).await?).await?;
        return Ok(Next::Again(Duration::from_millis(50)));
    };
    let to_prove: &[Trace] = if network.desired.forced.is_some() { &[] } else { &traces };
    if !unproven(cx, to_prove, since).await?.is_empty() {
        return Ok(Next::Again(WAIT));
    }
    let mut batch = cx.facts().remove(&network);
    // By holder: what is on no switch of ours is free since the request, and may be somebody else's by now.
    for (pool, _) in all_segments(&network.desired).filter_map(Segment::held) {
        batch = batch.free_held(&pool, network.id.as_str());
    }
    for segment in cx.store.list(&Query::<NetworkSegment>::new().column("network_id", [network.id.to_string()])).await? {
        batch = batch.remove(&segment);
    }
    for it in cx.store.list(&Query::<BgpvpnNetworkAssociation>::new().column("network_id", [network.id.to_string()])).await? {
        batch = batch.remove(&it).free_held(BgpvpnNetworkAssociation::POOL, it.id.as_str());
    }
    for trace in traces {
        batch = freed(batch, &network, trace, since);
    }
    cx.store.apply(batch).await?;
    Ok(Next::Gone)
}

/// Has the segments of the network shown by themselves, of networks that clusters have and of those of before there was such a list.
/// Returns whether that was not done yet.
async fn write_down(cx: &Cx, network: &Object<Network>) -> Result<bool, Fault> {
    let mut missing = Vec::new();
    for segment in network.desired.segments.iter().chain(&network.desired.dynamic) {
        if cx.store.get::<NetworkSegment>(&segment.id).await?.is_none() {
            missing.push(segment.object(&network.id));
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    // Only if the network was not changed meanwhile: a segment that it gave up is to be gone.
    let batch = missing.iter().fold(cx.facts().observe(network), |batch, it| batch.create(it));
    cx.store.apply(batch).await?;
    Ok(true)
}

/// What was let go in the future was let go before the clock was set back: to be read without it from now on is a proof too, and does not
/// wait for the old time to come again. Returns whether there was any.
fn pulled_back(network: &mut Object<Network>, now: Timestamp) -> bool {
    let released = network.desired.released.iter_mut().map(|it| &mut it.at);
    let mut any = false;
    for at in released.chain(&mut network.observed.quarantined_at).filter(|at| **at > now) {
        *at = now;
        any = true;
    }
    any
}

/// All segments that a network has or gave up and that may still be held.
fn all_segments(network: &NetworkDesired) -> impl Iterator<Item = &Segment> {
    network.segments.iter().chain(&network.dynamic).chain(network.released.iter().map(|it| &it.segment))
}

/// What a segment leaves on switches of ours.
fn trace(cx: &Cx, segment: &Segment) -> Option<Trace> {
    Trace::of(segment, &cx.config.fabric.physical_network)
}

/// What is to be gone from the switches before the network is. A VXLAN that was free as soon as the network's removal was asked for,
/// because no switch has an overlay, may be another network's by now.
async fn traces(cx: &Cx, network: &Object<Network>) -> Result<Vec<Trace>, Fault> {
    let mut out = Vec::new();
    for segment in all_segments(&network.desired) {
        let (Some(trace), Some((pool, key))) = (trace(cx, segment), segment.held()) else { continue };
        let is_held = match trace {
            Trace::Vlan(_) => true,
            Trace::Vni(_) => cx.store.allocation(&pool, &key).await?.is_some_and(|it| it.holder == network.id.as_str()),
        };
        if is_held {
            out.push(trace);
        }
    }
    Ok(out)
}

/// The switches that were not read without all of that since then.
async fn unproven(cx: &Cx, traces: &[Trace], since: Timestamp) -> Result<Vec<String>, Fault> {
    if traces.is_empty() {
        return Ok(Vec::new());
    }
    let switches = cx.store.list(&Query::<Switch>::new()).await?;
    // Taken after the rows were read: no reading of them is later.
    let now = cx.store.now().await?;
    let owing = switches.iter().filter(|it| traces.iter().any(|trace| it.owes(*trace, since, now)));
    let unproven: Vec<String> = owing.map(|it| it.id.to_string()).collect();
    if !unproven.is_empty() {
        tracing::debug!(?traces, ?unproven, "it stays in quarantine");
    }
    Ok(unproven)
}

fn freed(batch: Batch<Facts>, network: &Object<Network>, trace: Trace, since: Timestamp) -> Batch<Facts> {
    tracing::info!(network.id = %network.id, "every switch was read back without {trace}; it may be used again");
    let (what, number) = match trace {
        Trace::Vlan(vlan) => ("vlan", vlan.get().into()),
        Trace::Vni(vni) => ("vni", vni),
    };
    let event = if what == "vlan" { "every switch was read back without the VLAN" } else { "every switch was read back without the VNI" };
    batch.history(&network.id, Severity::Info, event, &json!({what: number, "quarantined_at": since.iso_micros()}))
}

/// Frees what a network gave up and of which nothing is left on any switch.
async fn let_go(cx: &Cx, mut network: Object<Network>) -> Look {
    let mut batch = cx.facts();
    let mut kept = Vec::new();
    let mut proven = false;
    for it in network.desired.released.clone() {
        let trace = trace(cx, &it.segment);
        match (trace, it.segment.held()) {
            (Some(trace), _) if it.forced.is_none() && !unproven(cx, &[trace], it.at).await?.is_empty() => kept.push(it),
            (trace, Some((pool, key))) => {
                batch = batch.free(&pool, &key);
                if let Some(trace) = trace {
                    batch = freed(batch, &network, trace, it.at);
                }
                proven = true;
            }
            (_, None) => proven = true,
        }
    }
    if !proven {
        // Those that were read since and still have it look again by themselves.
        let oldest = kept.iter().map(|it| it.at).min();
        let switches = cx.store.list(&Query::<Switch>::new()).await?;
        let unread = switches.iter().filter(|it| it.desired.is_managed() && it.observed.read_at <= oldest);
        cx.store.apply(unread.fold(batch, |batch, it| batch.wake(&it.id))).await?;
        return Ok(Next::Again(WAIT));
    }
    let is_done = kept.is_empty();
    network.desired.released = kept;
    cx.store.apply(batch.want(&network)).await?;
    Ok(Next::Again(if is_done { RESYNC } else { WAIT }))
}
