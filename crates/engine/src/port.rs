//! Ports: hold a switch port, have it put on the network's VLAN, and let go of it only once it was read back as isolated. Ports that a
//! program on a host binds are its own to look after: here only what the fabric may have done for them before is undone.

use std::collections::BTreeSet;
use std::time::Duration;

use model::fabric::{self, PortUse, Switch, SwitchPort, SwitchPortDesired};
use model::net::bgpvpn::BgpvpnPortAssociation;
use model::net::{Network, Port, PortStatus, VifType, ip_key};
use model::{Id, Object, Timestamp};
use store::Query;

use crate::runtime::{Cx, Fault, Look, Next};

const RESYNC: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_millis(500);

/// A switch port a port wants.
struct Wanted {
    switch: Object<Switch>,
    port: String,
}

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(port) = cx.load::<Port>().await? else {
        return Ok(Next::Gone);
    };
    let held = cx.store.list(&Query::<SwitchPort>::new().column("holder", [port.id.to_string()])).await?;
    let wanted = match wanted(cx, &port).await? {
        Ok(wanted) => wanted,
        Err(reason) => {
            let_go(cx, &held, &BTreeSet::new()).await?;
            return show(cx, port, held_ids(&held), PortStatus::Down, VifType::BindingFailed, &reason).await;
        }
    };
    let keep: BTreeSet<Id<SwitchPort>> = wanted.iter().map(|it| SwitchPortDesired::id_of(&it.switch.id, &it.port)).collect();
    let released = let_go(cx, &held, &keep).await?;
    if wanted.is_empty() {
        if held.is_empty() && !port.is_deleting() && port.observed == model::net::PortObserved::default() {
            // Nobody's, or a host's, which says itself what became of it. Whoever changes it wakes us.
            return Ok(Next::Gone);
        }
        if !released {
            return show(
                cx,
                port,
                held_ids(&held),
                PortStatus::Down,
                VifType::Unbound,
                "in quarantine until its switch port is read back as isolated",
            )
            .await;
        }
        if port.is_deleting() {
            return remove(cx, &port).await;
        }
        return show(cx, port, Vec::new(), PortStatus::Down, VifType::Unbound, "").await;
    }
    let Some(network) = cx.store.get::<Network>(&port.desired.network_id).await? else {
        return Err(Fault::Outside(format!("port {} is on network {} which does not exist", port.id, port.desired.network_id)));
    };
    let mut reason = String::new();
    for it in &wanted {
        if let Some(why) = plug(cx, &port, &network, it).await? {
            reason = why;
        }
    }
    let status = if reason.is_empty() {
        PortStatus::Active
    } else if port.observed.status == PortStatus::Active {
        PortStatus::Down
    } else {
        PortStatus::Build
    };
    show(cx, port, keep.into_iter().collect(), status, VifType::Other, &reason).await
}

fn held_ids(held: &[Object<SwitchPort>]) -> Vec<Id<SwitchPort>> {
    held.iter().map(|it| it.id.clone()).collect()
}

/// The switch ports the binding names; the inner error says why the binding cannot be.
async fn wanted(cx: &Cx, port: &Object<Port>) -> Result<Result<Vec<Wanted>, String>, Fault> {
    let binding = &port.desired.binding;
    if port.is_deleting() || binding.host_id.is_empty() || !port.desired.admin_state_up || port.desired.plug.is_some() {
        return Ok(Ok(Vec::new()));
    }
    let links = match binding.local_links() {
        Ok(links) => links,
        Err(why) => return Ok(Err(why)),
    };
    let switches = cx.store.list(&Query::<Switch>::new()).await?;
    let mut wanted = Vec::new();
    for link in links {
        let Some(switch) = fabric::find_switch(&switches, &link).filter(|it| cx.switches.contains_key(it.id.as_str())) else {
            return Ok(Err(format!("no switch of ours is {} or has the id {}", link.switch_info.unwrap_or_default(), link.switch_id)));
        };
        if switch.desired.uplinks.contains(&link.port_id) {
            return Ok(Err(format!("{} of {} is an uplink", link.port_id, switch.id)));
        }
        wanted.push(Wanted { switch: switch.clone(), port: link.port_id });
    }
    Ok(if wanted.is_empty() { Err("the binding names no switch port (local_link_information)".into()) } else { Ok(wanted) })
}

/// Has every held switch port not in `keep` isolated, and lets go of those that are proven to be. Returns whether none is left.
async fn let_go(cx: &Cx, held: &[Object<SwitchPort>], keep: &BTreeSet<Id<SwitchPort>>) -> Result<bool, Fault> {
    let mut none_left = true;
    for it in held.iter().filter(|it| !keep.contains(&it.id)) {
        let mut it = it.clone();
        if it.desired.wanted != PortUse::Isolated {
            none_left = false;
            it.desired.wanted = PortUse::Isolated;
            it.desired.since = Timestamp::now();
            cx.store.apply(cx.wake_switches(cx.facts().want(&it))).await?;
        } else if let Some(proof) = it.proof() {
            tracing::info!(switch.name = %it.desired.switch, switch.port = it.desired.port, read_at = proof.read_at.iso_micros(), "isolation proven; the port is let go");
            it.desired.holder = None;
            cx.store.apply(cx.facts().want(&it).wake(&it.desired.switch)).await?;
        } else {
            none_left = false;
        }
    }
    Ok(none_left)
}

/// Makes sure the switch port is ours and on the network; returns what is still missing.
async fn plug(cx: &Cx, port: &Object<Port>, network: &Object<Network>, wanted: &Wanted) -> Result<Option<String>, Fault> {
    let id = SwitchPortDesired::id_of(&wanted.switch.id, &wanted.port);
    let Some(vlan) = network.desired.vlan_on(&cx.config.fabric.physical_network) else {
        return Ok(Some(format!("network {} has no VLAN on the fabric {}", network.id, cx.config.fabric.physical_network)));
    };
    let Some(mut row) = cx.store.get::<SwitchPort>(&id).await? else {
        adopt(cx, &wanted.switch.id, &wanted.port).await?;
        return Ok(Some("its switch port is being read for the first time".into()));
    };
    match &row.desired.holder {
        Some(holder) if *holder != port.id => {
            return Ok(Some(format!("{} of {} is still held by port {holder}", wanted.port, wanted.switch.id)));
        }
        Some(_) if row.desired.wanted == PortUse::Access(vlan) => {}
        Some(_) => {
            row.desired.wanted = PortUse::Access(vlan);
            row.desired.since = Timestamp::now();
            cx.store.apply(cx.wake_switches(cx.facts().want(&row))).await?;
            return Ok(Some("its switch port is being set".into()));
        }
        None if !row.is_free() => return Ok(Some(format!("{} of {} is in quarantine", wanted.port, wanted.switch.id))),
        None => {
            row.desired.holder = Some(port.id.clone());
            row.desired.wanted = PortUse::Access(vlan);
            row.desired.since = Timestamp::now();
            cx.store.apply(cx.wake_switches(cx.facts().want(&row))).await?;
            return Ok(Some("its switch port is being set".into()));
        }
    }
    if row.proof().is_none() {
        let seen = if row.observed.note.is_empty() { String::new() } else { format!(" (seen: {})", row.observed.note) };
        return Ok(Some(format!("{} of {} has not been read back on VLAN {vlan} yet{seen}", wanted.port, wanted.switch.id)));
    }
    let carried = wanted.switch.observed.uplink_vlans.as_ref().is_none_or(|vlans| vlans.contains(&vlan));
    Ok((!carried).then(|| format!("the uplinks of {} do not carry VLAN {vlan} yet", wanted.switch.id)))
}

/// Takes a switch port under our care: from now on it is isolated unless somebody holds it.
pub(crate) async fn adopt(cx: &Cx, switch: &Id<Switch>, port: &str) -> Result<(), Fault> {
    let desired = SwitchPortDesired {
        switch: switch.clone(),
        port: port.to_owned(),
        wanted: PortUse::Isolated,
        holder: None,
        since: Timestamp::now(),
    };
    let row = Object::new(SwitchPortDesired::id_of(switch, port), None, format!("{switch}/{port}"), desired);
    match cx.store.apply(cx.facts().create(&row).wake(switch)).await {
        Ok(()) | Err(store::StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn show(
    cx: &Cx,
    mut port: Object<Port>,
    switch_ports: Vec<Id<SwitchPort>>,
    status: PortStatus,
    vif_type: VifType,
    reason: &str,
) -> Look {
    let settled = status == PortStatus::Active || (vif_type != VifType::Other && switch_ports.is_empty());
    let seen = model::net::PortObserved { status, vif_type, switch_ports, reason: reason.to_owned() };
    if seen != port.observed {
        if status != port.observed.status {
            tracing::info!(port.id = %port.id, status = status.as_str(), reason, "port is now {}", status.as_str());
        }
        port.observed = seen;
        let mut batch = cx.facts().observe(&port);
        for (kind, id) in dependants(&port) {
            batch = batch.wake_named(kind, &id);
        }
        cx.store.apply(batch).await?;
    }
    Ok(Next::Again(if settled { RESYNC } else { WAIT }))
}

async fn remove(cx: &Cx, port: &Object<Port>) -> Look {
    let mut batch = cx.facts().remove(port).wake(&port.desired.network_id);
    for ip in &port.desired.fixed_ips {
        batch = batch.free(&format!("ip:{}", ip.subnet_id), &ip_key(ip.ip_address));
    }
    batch = batch.free(&format!("mac:{}", port.desired.network_id), &port.desired.mac_address).free("vif", port.id.as_str());
    for it in cx.store.list(&Query::<BgpvpnPortAssociation>::new().column("port_id", [port.id.to_string()])).await? {
        batch = batch.remove(&it).free_held(BgpvpnPortAssociation::POOL, it.id.as_str());
    }
    for (kind, id) in dependants(port) {
        batch = batch.wake_named(kind, &id);
    }
    cx.store.apply(batch).await?;
    Ok(Next::Gone)
}

/// Who waits for this port: the machine that binds it and the cluster it belongs to.
fn dependants(port: &Object<Port>) -> Vec<(&'static str, String)> {
    use model::Kind as _;
    let mut out = Vec::new();
    if port.desired.binding.vnic_type == "baremetal" && !port.desired.binding.host_id.is_empty() {
        out.push((model::baremetal::Node::NAME, port.desired.binding.host_id.clone()));
    }
    if !port.desired.device_id.is_empty() {
        let kind = if port.desired.device_owner == crate::edge::ACCESS_OWNER || port.desired.device_owner == crate::cluster::MEMBER_OWNER {
            model::container_infra::Cluster::NAME
        } else {
            model::baremetal::Node::NAME
        };
        out.push((kind, port.desired.device_id.clone()));
    }
    out
}
