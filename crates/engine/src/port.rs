//! Ports: hold a switch port, have it put on the network's VLAN, and let go of it only once it was read back as isolated. Ports that a
//! program on a host binds are its own to look after: here only what the fabric may have done for them before is undone.

use std::collections::BTreeSet;
use std::time::Duration;

use model::fabric::{self, Declared, PortUse, Switch, SwitchPort, SwitchPortDesired};
use model::net::bgpvpn::BgpvpnPortAssociation;
use model::net::trunk::{SubPort, TRUNK_PORTS, Trunk, TrunkStatus};
use model::net::{Binding, Network, Port, PortStatus, VifType, VlanId, ip_key};
use model::{Id, Object, Timestamp};
use store::{Batch, Facts, Query, StoreError};

use crate::runtime::{Cx, Fault, Look, Next};
use crate::switch::names;
use crate::{dynamic, overlay};

const RESYNC: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_millis(500);
/// `device_owner` of ports that trunks carry.
pub(crate) const SUBPORT_OWNER: &str = "trunk:subport";
/// The numbers of our groups of links: such as every switch has, above those that operators begin with.
const LAGS: std::ops::RangeInclusive<u16> = 24..=47;

/// A switch port a port wants, by its name.
struct Wanted {
    switch: Object<Switch>,
    port: String,
    usage: PortUse,
    /// Whether it is a group of links, and with LACP.
    lag: Option<bool>,
}

impl Wanted {
    fn id(&self) -> Id<SwitchPort> {
        SwitchPortDesired::id_of(&self.switch.id, &self.port)
    }
}

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(port) = cx.load::<Port>().await? else {
        return Ok(Next::Gone);
    };
    if port.desired.device_owner == SUBPORT_OWNER && !port.is_deleting() {
        return carried(cx, port).await;
    }
    let held = cx.store.list(&Query::<SwitchPort>::new().column("holder", [port.id.to_string()])).await?;
    let wanted = match wanted(cx, &port, &held).await? {
        Ok(wanted) => wanted,
        Err(reason) => {
            let_go(cx, &held, &BTreeSet::new()).await?;
            return show(cx, port, held_ids(&held), PortStatus::Down, VifType::BindingFailed, &reason).await;
        }
    };
    let keep: BTreeSet<Id<SwitchPort>> = wanted.iter().map(Wanted::id).collect();
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
    let mut reason = String::new();
    for it in &wanted {
        if let Some(why) = plug(cx, &port, it).await? {
            reason = why;
        }
    }
    if reason.is_empty()
        && let Some(why) = overlay::missing(cx, &port, wanted.iter().map(|it| (&it.switch, &it.usage))).await?
    {
        reason = why;
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
async fn wanted(cx: &Cx, port: &Object<Port>, held: &[Object<SwitchPort>]) -> Result<Result<Vec<Wanted>, String>, Fault> {
    let binding = &port.desired.binding;
    if !port.wants_wire() {
        return Ok(Ok(Vec::new()));
    }
    let links = match binding.local_links() {
        Ok(links) => links,
        Err(why) => return Ok(Err(why)),
    };
    let switches = cx.store.list(&Query::<Switch>::new()).await?;
    let mut ends = Vec::new();
    for link in links {
        let Some(switch) = fabric::find_switch(&switches, &link).filter(|it| it.desired.declared != Declared::Withdrawn) else {
            return Ok(Err(format!("no switch of ours is {} or has the id {}", link.switch_info.unwrap_or_default(), link.switch_id)));
        };
        if names::is_uplink(switch, &link.port_id) {
            return Ok(Err(format!("{} of {} is an uplink", link.port_id, switch.id)));
        }
        ends.push((switch.clone(), names::name(switch, &link.port_id)));
    }
    if ends.is_empty() {
        return Ok(Err("the binding names no switch port (local_link_information)".into()));
    }
    let usage = match usage(cx, port).await? {
        Ok(usage) => usage,
        Err(why) => return Ok(Err(why)),
    };
    match bond(binding) {
        Some(has_lacp) => grouped(cx, ends, usage, has_lacp, held).await,
        None => Ok(Ok(ends.into_iter().map(|(switch, port)| Wanted { switch, port, usage: usage.clone(), lag: None }).collect())),
    }
}

/// What a switch port of this port is to carry: the port's network, and if it is a trunk's, those of the subports, tagged.
async fn usage(cx: &Cx, port: &Object<Port>) -> Result<Result<PortUse, String>, Fault> {
    let vlan = match dynamic::vlan(cx, &network(cx, port).await?, None).await? {
        Ok(vlan) => vlan,
        Err(why) => return Ok(Err(why)),
    };
    let trunks = cx.store.list_few(&Query::<Trunk>::new().column("port_id", [port.id.to_string()])).await?;
    let Some(trunk) = trunks.first().filter(|it| it.desired.admin_state_up) else {
        return Ok(Ok(PortUse::Access(vlan)));
    };
    let mut tagged = BTreeSet::new();
    for sub in &trunk.desired.sub_ports {
        let Some(it) = cx.store.get::<Port>(&sub.port_id).await?.filter(|it| !it.is_deleting()) else { continue };
        let of_network = dynamic::vlan(cx, &network(cx, &it).await?, Some(sub.segmentation_id)).await?;
        // One that cannot be carried as asked says so itself; the others are carried without it.
        if let Ok(of_sub) = tag(sub, of_network, vlan) {
            tagged.insert(of_sub);
        }
    }
    Ok(Ok(PortUse::Trunk { native: Some(vlan), tagged }))
}

/// The VLAN by which switches carry a subport of a network beside the untagged VLAN of its trunk's port; the error says why they cannot.
fn tag(sub: &SubPort, of_network: Result<VlanId, String>, native: VlanId) -> Result<VlanId, String> {
    match of_network {
        // A switch hands the frames on with the tag they have.
        Ok(vlan) if u32::from(vlan.get()) != sub.segmentation_id => {
            Err(format!("subport {} has tag {}, but its network is VLAN {vlan}", sub.port_id, sub.segmentation_id))
        }
        Ok(vlan) if vlan == native => Err(format!("subport {} is on the network that its trunk's port has untagged", sub.port_id)),
        other => other,
    }
}

/// The VLAN by which the port's network is carried on the fabric now; the inner error says that there is none.
async fn carrying(cx: &Cx, port: &Object<Port>) -> Result<Result<VlanId, String>, Fault> {
    let (network, fabric) = (network(cx, port).await?, &cx.config.fabric.physical_network);
    Ok(network.desired.vlan_on(fabric).ok_or_else(|| format!("network {} has no VLAN on the fabric {fabric}", network.id)))
}

/// The port's network.
async fn network(cx: &Cx, port: &Object<Port>) -> Result<Object<Network>, Fault> {
    let found = cx.store.get(&port.desired.network_id).await?;
    found.ok_or_else(|| Fault::Outside(format!("port {} is on network {} which does not exist", port.id, port.desired.network_id)))
}

/// Whether the links of a binding are one group on the switch's side too, and with LACP. Other kinds of bonds look like single links
/// there. (Source: Linux' bonding.txt, `mode`.)
fn bond(binding: &Binding) -> Option<bool> {
    match binding.profile.get("local_group_information")?.get("bond_mode")?.as_str()? {
        "802.3ad" | "4" => Some(true),
        "balance-rr" | "0" | "balance-xor" | "2" => Some(false),
        _ => None,
    }
}

/// The group on the switch, and its members.
async fn grouped(
    cx: &Cx,
    ends: Vec<(Object<Switch>, String)>,
    usage: PortUse,
    has_lacp: bool,
    held: &[Object<SwitchPort>],
) -> Result<Result<Vec<Wanted>, String>, Fault> {
    let Some((switch, _)) = ends.first().cloned() else { return Ok(Ok(Vec::new())) };
    if ends.iter().any(|(other, _)| other.id != switch.id) {
        return Ok(Err("the links of its group end on several switches".into()));
    }
    let lag = match held.iter().find(|it| it.desired.lag == Some(has_lacp) && it.desired.switch == switch.id) {
        Some(row) => row.desired.port.clone(),
        None => match free_lag(cx, &switch).await? {
            Some(name) => name,
            None => return Ok(Err(format!("{} has no group of links left to give", switch.id))),
        },
    };
    let member = PortUse::Member { lag: lag.clone() };
    // The group first: on many switches a link that joins a group that is not there makes one, which nobody would know to be ours.
    let mut out = vec![Wanted { switch, port: lag, usage, lag: Some(has_lacp) }];
    out.extend(ends.into_iter().map(|(switch, port)| Wanted { switch, port, usage: member.clone(), lag: None }));
    Ok(Ok(out))
}

/// A name for a group of links that neither we nor others use.
async fn free_lag(cx: &Cx, switch: &Object<Switch>) -> Result<Option<String>, Fault> {
    if switch.observed.read_at.is_none() {
        return Err(Fault::Silent(format!("which groups of links {} has is not known yet", switch.id)));
    }
    let taken: BTreeSet<String> = cx.store.allocations(&fabric::lag_pool(&switch.id)).await?.into_iter().map(|it| it.value).collect();
    let names = LAGS.filter_map(|number| drivers::switch::lag_name(&switch.desired.driver, number));
    Ok(names.into_iter().find(|name| !taken.contains(name) && !switch.observed.others_lags.contains(name)))
}

/// A port that a trunk carries is there when the switch ports of the trunk's port were read with its VLAN.
async fn carried(cx: &Cx, port: Object<Port>) -> Look {
    let held = cx.store.allocation(TRUNK_PORTS, port.id.as_str()).await?;
    let trunk = match held.and_then(|it| it.holder.strip_prefix("sub:").and_then(Id::<Trunk>::parse)) {
        Some(id) => cx.store.get(&id).await?,
        None => None,
    };
    let parent = match &trunk {
        Some(trunk) => cx.store.get(&trunk.desired.port_id).await?,
        None => None,
    };
    let Some(parent) = parent.filter(|it| it.desired.plug.is_none() && it.desired.binding.vnic_type == "baremetal") else {
        // A host's: that says itself what became of it.
        return Ok(Next::Gone);
    };
    let Some(sub) = trunk.iter().flat_map(|it| &it.desired.sub_ports).find(|it| it.port_id == port.id) else { return Ok(Next::Gone) };
    let of_network = carrying(cx, &port).await?;
    let tag = match carrying(cx, &parent).await? {
        Ok(native) => tag(sub, of_network, native),
        Err(why) => Err(why),
    };
    let is_up = parent.observed.status == PortStatus::Active;
    let waits = "its trunk's port is not read back with its VLAN yet".to_owned();
    let (status, vif, why) = match tag {
        Ok(vlan) if is_up && carried_by(cx, &parent).await?.contains(&vlan) => (PortStatus::Active, VifType::Other, String::new()),
        Ok(_) => (PortStatus::Down, VifType::Unbound, waits),
        Err(why) => (PortStatus::Down, VifType::BindingFailed, why),
    };
    show(cx, port, Vec::new(), status, vif, &why).await
}

/// The VLANs that the switch ports of a trunk's port were read with, tagged.
async fn carried_by(cx: &Cx, parent: &Object<Port>) -> Result<BTreeSet<VlanId>, Fault> {
    let rows = cx.store.list(&Query::<SwitchPort>::new().column("holder", [parent.id.to_string()])).await?;
    let tagged = rows.iter().filter(|row| row.proof().is_some()).filter_map(|row| match &row.desired.wanted {
        PortUse::Trunk { tagged, .. } => Some(tagged),
        _ => None,
    });
    Ok(tagged.flatten().copied().collect())
}

/// Has every held switch port not in `keep` isolated, and lets go of those that are proven to be. Returns whether none is left.
async fn let_go(cx: &Cx, held: &[Object<SwitchPort>], keep: &BTreeSet<Id<SwitchPort>>) -> Result<bool, Fault> {
    let mut none_left = true;
    for it in held.iter().filter(|it| !keep.contains(&it.id)) {
        let mut it = it.clone();
        if it.desired.wanted != PortUse::Isolated {
            none_left = false;
            let before = it.desired.wanted.clone();
            it.desired.turn(PortUse::Isolated);
            cx.store.apply(cx.wake_for(cx.facts().want(&it), &before, &it).await?).await?;
        } else if (it.proof().is_some() || it.is_forced()) && !has_members(&it, held) {
            let (switch, port) = (&it.desired.switch, &it.desired.port);
            if let Some(proof) = it.proof() {
                let read_at = proof.read_at.iso_micros();
                tracing::info!(switch.name = %switch, switch.port = port, read_at, "isolation proven; the port is let go");
                // The word is not needed any more; it must not stand in for a proof that ends later.
                it.desired.forced = None;
            } else {
                let by = it.desired.forced.as_ref().map(|word| word.by.as_str());
                tracing::warn!(switch.name = %switch, switch.port = port, user.id = by, "isolation not proven; an operator's word lets the port go");
            }
            it.desired.holder = None;
            cx.store.apply(cx.facts().want(&it).wake(&it.desired.switch)).await?;
        } else {
            none_left = false;
        }
    }
    Ok(none_left)
}

/// Whether some link may still be in the group: as long as one is, its number is nobody else's.
fn has_members(group: &Object<SwitchPort>, held: &[Object<SwitchPort>]) -> bool {
    let is_out = |row: &Object<SwitchPort>| {
        let wants = matches!(&row.desired.wanted, PortUse::Member { lag } if *lag == group.desired.port);
        !wants && (row.proof().is_some() || row.is_forced())
    };
    let mut links = held.iter().filter(|row| row.desired.lag.is_none() && row.desired.switch == group.desired.switch);
    group.desired.lag.is_some() && !links.all(is_out)
}

/// Makes sure the switch port is ours and carries what it is to; returns what is still missing.
async fn plug(cx: &Cx, port: &Object<Port>, wanted: &Wanted) -> Result<Option<String>, Fault> {
    let Some(mut row) = cx.store.get::<SwitchPort>(&wanted.id()).await? else {
        return match wanted.lag {
            Some(_) => make_group(cx, port, wanted).await,
            None => {
                adopt(cx, &wanted.switch.id, &wanted.port).await?;
                Ok(Some("its switch port is being read for the first time".into()))
            }
        };
    };
    match &row.desired.holder {
        Some(holder) if *holder != port.id => {
            return Ok(Some(format!("{} of {} is still held by port {holder}", wanted.port, wanted.switch.id)));
        }
        Some(_) if row.desired.wanted == wanted.usage => {}
        None if !row.is_free() => return Ok(Some(format!("{} of {} is in quarantine", wanted.port, wanted.switch.id))),
        _ => {
            row.desired.holder = Some(port.id.clone());
            let before = row.desired.wanted.clone();
            row.desired.turn(wanted.usage.clone());
            // Only if the port was not changed meanwhile: one that was deleted since it was read gets nothing any more.
            let batch = dynamic::guard(cx, cx.facts().observe(port), port, &wanted.usage).await?.want(&row);
            cx.store.apply(cx.wake_for(batch, &before, &row).await?).await?;
            return Err(Fault::Store(again(port)));
        }
    }
    if row.proof().is_none() {
        if row.observed.generation != row.generation {
            return Ok(Some("its switch port is being set".into()));
        }
        let seen = if row.observed.note.is_empty() { String::new() } else { format!(" (seen: {})", row.observed.note) };
        return Ok(Some(format!("{} of {} has not been read back as wanted yet{seen}", wanted.port, wanted.switch.id)));
    }
    let vlans = wanted.usage.vlans();
    let missing = wanted.switch.observed.uplink_vlans.as_ref().and_then(|carried| vlans.iter().find(|vlan| !carried.contains(vlan)));
    Ok(missing.map(|vlan| format!("the uplinks of {} do not carry VLAN {vlan} yet", wanted.switch.id)))
}

/// The port was written: what is known of it is old, and it is looked at again at once.
pub(crate) fn again(port: &Object<Port>) -> StoreError {
    StoreError::Stale { kind: <Port as model::Kind>::NAME, id: port.id.to_string() }
}

/// A group of links of ours comes to be with the port that it is for.
async fn make_group(cx: &Cx, port: &Object<Port>, wanted: &Wanted) -> Result<Option<String>, Fault> {
    let desired = SwitchPortDesired {
        switch: wanted.switch.id.clone(),
        port: wanted.port.clone(),
        wanted: wanted.usage.clone(),
        holder: Some(port.id.clone()),
        since: Timestamp::now(),
        lag: wanted.lag,
        forced: None,
    };
    let row = Object::new(wanted.id(), None, format!("{}/{}", wanted.switch.id, wanted.port), desired);
    let batch = dynamic::guard(cx, cx.facts().observe(port), port, &wanted.usage).await?;
    let batch = batch.hold(&fabric::lag_pool(&wanted.switch.id), &wanted.port, row.id.as_str()).create(&row);
    cx.store.apply(cx.wake_for(batch, &PortUse::Isolated, &row).await?).await?;
    Err(Fault::Store(again(port)))
}

/// A switch port of that name under our care that nobody holds: it is to be isolated.
pub(crate) fn isolated(switch: &Id<Switch>, port: &str) -> Object<SwitchPort> {
    let desired = SwitchPortDesired {
        switch: switch.clone(),
        port: port.to_owned(),
        wanted: PortUse::Isolated,
        holder: None,
        since: Timestamp::now(),
        lag: None,
        forced: None,
    };
    Object::new(SwitchPortDesired::id_of(switch, port), None, format!("{switch}/{port}"), desired)
}

/// Takes a switch port of that name under our care: from now on it is isolated unless somebody holds it.
pub(crate) async fn adopt(cx: &Cx, switch: &Id<Switch>, port: &str) -> Result<(), Fault> {
    match cx.store.apply(cx.facts().create(&isolated(switch, port)).wake(switch)).await {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
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
    let mut batch = None;
    if seen != port.observed {
        if status != port.observed.status {
            tracing::info!(port.id = %port.id, status = status.as_str(), reason, "port is now {}", status.as_str());
        }
        let has_left = seen.switch_ports.is_empty() && !port.observed.switch_ports.is_empty();
        port.observed = seen;
        let mut told = dependants(&port).into_iter().fold(cx.facts().observe(&port), |batch, (kind, id)| batch.wake_named(kind, &id));
        if has_left {
            // What its network was given for it may be taken back.
            told = told.wake(&port.desired.network_id);
        }
        batch = Some(told);
    }
    if let Some(batch) = of_trunk(cx, batch, &port).await? {
        cx.store.apply(batch).await?;
    }
    Ok(Next::Again(if settled { RESYNC } else { WAIT }))
}

/// What the trunk shows whose port this is, and who else is to look.
async fn of_trunk(cx: &Cx, mut batch: Option<Batch<Facts>>, port: &Object<Port>) -> Result<Option<Batch<Facts>>, Fault> {
    if port.desired.binding.vnic_type != "baremetal" || port.desired.plug.is_some() || port.desired.device_owner == SUBPORT_OWNER {
        return Ok(batch);
    }
    for mut trunk in cx.store.list_few(&Query::<Trunk>::new().column("port_id", [port.id.to_string()])).await? {
        let status = trunk_status(cx, port, &trunk).await?;
        let is_new = trunk.desired.status != status;
        if is_new || batch.is_some() {
            let told = trunk.desired.sub_ports.iter().fold(batch.unwrap_or_else(|| cx.facts()), |batch, sub| batch.wake(&sub.port_id));
            trunk.desired.status = status;
            batch = Some(if is_new { told.want(&trunk) } else { told });
        }
    }
    Ok(batch)
}

/// ACTIVE: the trunk's port was read back with the networks of all subports. DEGRADED: without those that no switch can carry.
async fn trunk_status(cx: &Cx, parent: &Object<Port>, trunk: &Object<Trunk>) -> Result<TrunkStatus, Fault> {
    let native = match carrying(cx, parent).await? {
        Ok(native) if parent.observed.status == PortStatus::Active => native,
        _ => return Ok(TrunkStatus::Down),
    };
    let carried = carried_by(cx, parent).await?;
    let mut status = TrunkStatus::Active;
    for sub in &trunk.desired.sub_ports {
        let Some(it) = cx.store.get::<Port>(&sub.port_id).await?.filter(|it| !it.is_deleting()) else { continue };
        match tag(sub, carrying(cx, &it).await?, native) {
            Ok(vlan) if carried.contains(&vlan) => {}
            Ok(_) => return Ok(TrunkStatus::Build),
            Err(_) => status = TrunkStatus::Degraded,
        }
    }
    Ok(status)
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
