//! VLANs of the fabric that networks are given which have none and reach further by VXLAN: from when the first switch port is to carry
//! such a network until the last of its ports has left. One VLAN on all switches, whichever of them map it. (Neutron calls that a dynamic
//! segment; it gives one by switch.)
//!
//! The row by which `/v2.0/segments` shows it is also what keeps both sides apart: whoever puts a port on it requires the row, whoever
//! takes it back removes it.

use std::collections::HashSet;

use model::fabric::{PortUse, SwitchPort};
use model::net::operation::NetworkSegmentRange;
use model::net::trunk::{TRUNK_PORTS, Trunk};
use model::net::{Network, NetworkSegment, NetworkType, Port, ReleasedSegment, Segment, VlanId, segment_key};
use model::{Id, Object};
use store::{Batch, Facts, Query, StoreError};

use crate::port::SUBPORT_OWNER;
use crate::runtime::{Cx, Fault};

fn key(id: u128) -> String {
    u32::try_from(id).map(|id| segment_key(NetworkType::Vlan, id)).unwrap_or_default()
}

fn number(key: &str) -> Option<u128> {
    key.parse().ok()
}

/// The VLAN of the network on the fabric; one that reaches further by VXLAN and has none is given one, `tag` if that is free. The inner
/// error says why it has none.
pub(crate) async fn vlan(cx: &Cx, network: &Object<Network>, tag: Option<u32>) -> Result<Result<VlanId, String>, Fault> {
    let fabric = &cx.config.fabric.physical_network;
    if let Some(vlan) = network.desired.vlan_on(fabric) {
        return Ok(Ok(vlan));
    }
    if network.desired.vni().is_none() || network.is_deleting() {
        return Ok(Err(format!("network {} has no VLAN on the fabric {fabric}", network.id)));
    }
    let mut with = network.clone();
    // One that it gave up and that is still in quarantine is nobody else's: on switches that were not read since it may still be mapped.
    let own = with.desired.released.iter().position(|it| it.segment.physical_network.as_ref() == Some(fabric) && it.forced.is_none());
    if let Some(own) = own {
        let segment = with.desired.released.remove(own).segment;
        let batch = cx.facts();
        return given(cx, batch, with, segment).await.map(|vlan| vlan.ok_or_else(|| none_left(network, fabric)));
    }
    let range = (u128::from(cx.config.fabric.vlan_range.first.get()), u128::from(cx.config.fabric.vlan_range.last.get()));
    let skip = not_for(cx, network).await?;
    let pool = format!("vlan:{fabric}");
    let wish = tag.map(u128::from).filter(|it| (range.0..=range.1).contains(it) && !skip.contains(it));
    if let Some(wish) = wish.and_then(|it| u16::try_from(it).ok()).and_then(VlanId::new)
        && cx.store.allocation(&pool, &key(wish.get().into())).await?.is_none()
    {
        let batch = cx.facts().hold(&pool, &key(wish.get().into()), network.id.as_str());
        return given(cx, batch, with, Segment::vlan(fabric, wish)).await.map(|vlan| vlan.ok_or_else(|| none_left(network, fabric)));
    }
    // A second try lands elsewhere than whoever was quicker.
    for spread in [0, 16] {
        let Some(picked) = cx.store.pick(&pool, &[range], key, number, &skip, spread).await? else {
            return Ok(Err(none_left(network, fabric)));
        };
        let Some(vlan) = u16::try_from(picked.value).ok().and_then(VlanId::new) else {
            return Ok(Err(none_left(network, fabric)));
        };
        let batch = cx.facts().hold(&pool, &picked.key, network.id.as_str());
        match given(cx, batch, with.clone(), Segment::vlan(fabric, vlan)).await {
            Err(Fault::Store(StoreError::Taken { .. })) if spread == 0 => {}
            other => return other.map(|vlan| vlan.ok_or_else(|| none_left(network, fabric))),
        }
    }
    Ok(Err(none_left(network, fabric)))
}

fn none_left(network: &Object<Network>, fabric: &str) -> String {
    format!("no VLAN of the fabric {fabric} is left to be given to network {}", network.id)
}

/// Writes the segment down as given, provided nobody changed the network meanwhile.
async fn given(cx: &Cx, batch: Batch<Facts>, mut network: Object<Network>, segment: Segment) -> Result<Option<VlanId>, Fault> {
    let vlan = segment.vlan_id();
    tracing::info!(network.id = %network.id, vlan = vlan.map(VlanId::get), "a network without a VLAN on the fabric is given one");
    let row = segment.object(&network.id);
    network.desired.dynamic.push(segment);
    cx.store.apply(batch.want(&network).create(&row).wake(&network.id)).await?;
    Ok(vlan)
}

/// VLANs of the fabric's range that this network is not given: those of isolated ports and of ramdisks, and ranges that operators set
/// apart for other projects.
async fn not_for(cx: &Cx, network: &Object<Network>) -> Result<HashSet<u128>, Fault> {
    let mut out: HashSet<u128> = [u128::from(cx.config.fabric.isolation_vlan.get())].into();
    if let Some(provisioning) = &cx.config.provisioning {
        out.insert(provisioning.vlan.get().into());
        out.extend(provisioning.vlans.iter().flat_map(|it| it.first.get()..=it.last.get()).map(u128::from));
    }
    let fabric = Some(cx.config.fabric.physical_network.as_str());
    for it in cx.store.list_few(&Query::<NetworkSegmentRange>::new()).await? {
        let range = &it.desired;
        let is_here = range.network_type == NetworkType::Vlan && range.physical_network.as_deref() == fabric && !range.is_default;
        let is_ours = range.shared || (it.project_id.is_some() && it.project_id == network.project_id);
        if is_here && !is_ours {
            out.extend((range.minimum..=range.maximum.min(NetworkType::Vlan.most())).map(u128::from));
        }
    }
    Ok(out)
}

/// Has the batch hold only as long as what the port is to carry is still what its networks have. Between the look at a network and the
/// batch its VLAN may have been taken back, and be somebody else's by now.
pub(crate) async fn guard(cx: &Cx, mut batch: Batch<Facts>, port: &Object<Port>, usage: &PortUse) -> Result<Batch<Facts>, Fault> {
    let mut left = usage.vlans();
    if left.is_empty() {
        return Ok(batch);
    }
    let fabric = &cx.config.fabric.physical_network;
    let mut networks = vec![port.desired.network_id.clone()];
    if matches!(usage, PortUse::Trunk { .. }) {
        let trunks = cx.store.list_few(&Query::<Trunk>::new().column("port_id", [port.id.to_string()])).await?;
        for sub in trunks.iter().flat_map(|it| &it.desired.sub_ports) {
            networks.extend(cx.store.get(&sub.port_id).await?.map(|it: Object<Port>| it.desired.network_id));
        }
    }
    for id in networks {
        let Some(network) = cx.store.get(&id).await? else { continue };
        let Some(vlan) = network.desired.vlan_on(fabric) else { continue };
        if left.remove(&vlan)
            && let Some(segment) = network.desired.dynamic.iter().find(|it| it.vlan_id() == Some(vlan))
        {
            batch = batch.require(&segment.id);
        }
    }
    if left.is_empty() { Ok(batch) } else { Err(Fault::Store(crate::port::again(port))) }
}

/// Takes back what the network was given if nobody needs it any more: from then on it is in quarantine. Returns whether it did.
pub(crate) async fn take_back(cx: &Cx, network: &Object<Network>) -> Result<bool, Fault> {
    if network.desired.dynamic.is_empty() || is_needed(cx, network).await? {
        return Ok(false);
    }
    let mut without = network.clone();
    let at = cx.store.now().await?;
    let given = std::mem::take(&mut without.desired.dynamic);
    let mut batch = cx.facts();
    let mut users = Vec::new();
    for segment in given {
        if let Some(row) = cx.store.get::<NetworkSegment>(&segment.id).await? {
            batch = batch.remove(&row);
        }
        users.extend(segment.vlan_id());
        without.desired.released.push(ReleasedSegment { segment, at, forced: None });
    }
    // After the rows: whoever was putting a port there is done by then.
    batch = users.iter().fold(batch.want(&without), |batch, vlan| batch.unless_linked::<SwitchPort>("vlan", &vlan.to_string()));
    match cx.store.apply(cx.wake_switches(batch).await?).await {
        Ok(()) => {
            tracing::info!(network.id = %network.id, vlans = ?users, "its last port has left the fabric: its VLAN is in quarantine");
            Ok(true)
        }
        Err(StoreError::Referenced { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether some switch port is to carry the network, or some port of it is to be on one.
async fn is_needed(cx: &Cx, network: &Object<Network>) -> Result<bool, Fault> {
    for vlan in network.desired.dynamic.iter().filter_map(Segment::vlan_id) {
        if cx.store.count(&Query::<SwitchPort>::new().linked("vlan", [vlan.to_string()])).await? > 0 {
            return Ok(true);
        }
    }
    for port in cx.store.list(&Query::<Port>::new().column("network_id", [network.id.to_string()])).await? {
        if port.desired.device_owner != SUBPORT_OWNER {
            if port.wants_wire() {
                return Ok(true);
            }
            continue;
        }
        let Some(held) = cx.store.allocation(TRUNK_PORTS, port.id.as_str()).await? else { continue };
        let Some(trunk) = held.holder.strip_prefix("sub:").and_then(Id::<Trunk>::parse) else { continue };
        let Some(trunk) = cx.store.get(&trunk).await?.filter(|it| it.desired.admin_state_up) else { continue };
        if cx.store.get(&trunk.desired.port_id).await?.is_some_and(|parent| parent.wants_wire()) {
            return Ok(true);
        }
    }
    Ok(false)
}
