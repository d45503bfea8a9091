//! Networks: a VLAN that one gave up, or that is removed, stays taken until every switch was read back without it.

use std::time::Duration;

use model::fabric::{Declared, Switch};
use model::net::bgpvpn::BgpvpnNetworkAssociation;
use model::net::{Network, NetworkSegment, Port, Segment, VlanId, vlan_key};
use model::{Object, Timestamp};
use serde_json::json;
use store::{Batch, Facts, Query, Severity};

use crate::runtime::{Cx, Fault, Look, Next};

/// A network that is not being removed needs nothing; it is looked at now and then all the same.
const RESYNC: Duration = Duration::from_secs(600);
const WAIT: Duration = Duration::from_millis(500);

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(mut network) = cx.load::<Network>().await? else {
        return Ok(Next::Gone);
    };
    if !network.is_deleting() {
        if write_down(cx, &network).await? {
            return Ok(Next::Again(Duration::ZERO));
        }
        return if network.desired.released.is_empty() { Ok(Next::Again(RESYNC)) } else { let_go(cx, network).await };
    }
    let ports = Query::<Port>::new().with_deleted().column("network_id", [network.id.to_string()]);
    if cx.store.count(&ports).await? > 0 {
        return Ok(Next::Again(WAIT));
    }
    let released = network.desired.released.iter().map(|it| &it.segment);
    let vlans: Vec<VlanId> = network.desired.segments.iter().chain(released).filter_map(|it| on_fabric(cx, it)).collect();
    let pool = format!("vlan:{}", cx.config.fabric.physical_network);
    let Some(since) = network.observed.quarantined_at else {
        let now = Timestamp::now();
        network.observed.quarantined_at = Some(now);
        let batch = vlans.iter().fold(cx.facts(), |batch, vlan| batch.quarantine(&pool, &vlan_key(*vlan), now)).observe(&network);
        cx.store.apply(cx.wake_switches(batch).await?).await?;
        return Ok(Next::Again(Duration::from_millis(50)));
    };
    let to_prove: &[VlanId] = if network.desired.forced.is_some() { &[] } else { &vlans };
    for vlan in to_prove {
        if !unproven(cx, *vlan, since).await?.is_empty() {
            return Ok(Next::Again(WAIT));
        }
    }
    let mut batch = cx.facts().remove(&network);
    // By holder: what is on no switch of ours is free since the request, and may be somebody else's by now.
    for (pool, _) in network.desired.segments.iter().chain(network.desired.released.iter().map(|it| &it.segment)).filter_map(Segment::held)
    {
        batch = batch.free_held(&pool, network.id.as_str());
    }
    for segment in cx.store.list(&Query::<NetworkSegment>::new().column("network_id", [network.id.to_string()])).await? {
        batch = batch.remove(&segment);
    }
    for it in cx.store.list(&Query::<BgpvpnNetworkAssociation>::new().column("network_id", [network.id.to_string()])).await? {
        batch = batch.remove(&it).free_held(BgpvpnNetworkAssociation::POOL, it.id.as_str());
    }
    for vlan in vlans {
        batch = freed(batch, &network, vlan, since);
    }
    cx.store.apply(batch).await?;
    Ok(Next::Gone)
}

/// Has the segments of the network shown by themselves, of networks that clusters have and of those of before there was such a list.
/// Returns whether that was not done yet.
async fn write_down(cx: &Cx, network: &Object<Network>) -> Result<bool, Fault> {
    let mut missing = Vec::new();
    for segment in &network.desired.segments {
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

/// The VLAN of a segment that switches of ours carry.
fn on_fabric(cx: &Cx, segment: &Segment) -> Option<VlanId> {
    segment.vlan_id().filter(|_| segment.physical_network.as_ref() == Some(&cx.config.fabric.physical_network))
}

/// The switches that were not read without the VLAN since then.
async fn unproven(cx: &Cx, vlan: VlanId, since: Timestamp) -> Result<Vec<String>, Fault> {
    let switches = cx.store.list(&Query::<Switch>::new()).await?;
    let unproven: Vec<String> = switches
        .iter()
        .filter(|it| it.desired.declared != Declared::Withdrawn)
        .filter(|it| it.observed.read_at.is_none_or(|at| at <= since) || it.observed.vlans.contains(&vlan))
        .map(|it| it.id.to_string())
        .collect();
    if !unproven.is_empty() {
        tracing::debug!(vlan = vlan.get(), ?unproven, "the VLAN stays in quarantine");
    }
    Ok(unproven)
}

fn freed(batch: Batch<Facts>, network: &Object<Network>, vlan: VlanId, since: Timestamp) -> Batch<Facts> {
    let proof = json!({"vlan": vlan, "quarantined_at": since.iso_micros()});
    tracing::info!(network.id = %network.id, vlan = vlan.get(), "every switch was read back without the VLAN; it may be used again");
    batch.history(&network.id, Severity::Info, "every switch was read back without the VLAN", &proof)
}

/// Frees the VLANs that a network gave up and of which nothing is left on any switch.
async fn let_go(cx: &Cx, mut network: Object<Network>) -> Look {
    let mut batch = cx.facts();
    let mut kept = Vec::new();
    let mut proven = false;
    for it in network.desired.released.clone() {
        let vlan = on_fabric(cx, &it.segment);
        match (vlan, it.segment.held()) {
            (Some(vlan), _) if it.forced.is_none() && !unproven(cx, vlan, it.at).await?.is_empty() => kept.push(it),
            (vlan, Some((pool, key))) => {
                batch = batch.free(&pool, &key);
                if let Some(vlan) = vlan {
                    batch = freed(batch, &network, vlan, it.at);
                }
                proven = true;
            }
            (_, None) => proven = true,
        }
    }
    if !proven {
        cx.store.apply(cx.wake_switches(batch).await?).await?;
        return Ok(Next::Again(WAIT));
    }
    let is_done = kept.is_empty();
    network.desired.released = kept;
    cx.store.apply(batch.want(&network)).await?;
    Ok(Next::Again(if is_done { RESYNC } else { WAIT }))
}
