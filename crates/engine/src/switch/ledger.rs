//! The ledger of switch ports: what was read of each, what is in use anywhere, and what somebody changed behind our back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use drivers::switch::{LagProtocol, MARK, PortMode, SeenMode, SwitchSeen, SwitchWanted, Vni};
use model::fabric::{PortUse, Switch, SwitchPort};
use model::net::{Network, NetworkType, VlanId};
use model::{Object, Timestamp};
use serde_json::json;
use store::{Batch, Facts, Query, Severity, StoreError};

use super::{Found, refusals, render};
use crate::runtime::{Cx, Fault, Look, Next};

/// Counts changes of what switch ports are to be: what is remembered of a smaller count is out of date.
pub(super) const WISHES: &str = "fabric";
/// Found changed again within this time after it was set right, a port is contested.
const CONTESTED_SECONDS: f64 = 600.0;

/// What is in use on the fabric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct InUse {
    /// The VLANs that some switch port is to carry.
    pub(crate) wanted: BTreeSet<VlanId>,
    /// The VLANs that networks hold, those in quarantine too.
    pub(crate) held: BTreeSet<VlanId>,
    /// What VLANs are called on switches.
    pub(crate) names: BTreeMap<VlanId, String>,
    /// The VXLAN networks that VLANs are mapped to.
    pub(crate) vnis: BTreeMap<VlanId, Vni>,
    /// Whether it is known what VLANs are mapped to: where no switch has an overlay nobody asks.
    pub(super) has_maps: bool,
    /// The VLAN of isolated ports.
    pub(crate) isolation: Option<VlanId>,
}

/// What was in use when the wishes had that count.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Option<(i64, Arc<InUse>)>>);

/// What is in use now.
pub(crate) async fn in_use(cx: &Cx) -> Result<Arc<InUse>, Fault> {
    let count = cx.store.counter(WISHES).await?;
    let known = cx.in_use.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((at, known)) = known
        && at == count
        // A switch with an overlay may have been opened since.
        && (known.has_maps || !cx.switches.has_overlay())
    {
        return Ok(known);
    }
    let number = |text: &str| text.trim_start_matches('0').parse().ok().and_then(VlanId::new);
    let wanted = cx.store.linked_values::<SwitchPort>("vlan").await?.iter().filter_map(|it| number(it)).collect();
    let has_maps = cx.switches.has_overlay();
    let mut fresh = InUse { wanted, has_maps, isolation: Some(cx.config.fabric.isolation_vlan), ..InUse::default() };
    let mut holders = BTreeSet::new();
    for it in cx.store.allocations(&format!("vlan:{}", cx.config.fabric.physical_network)).await? {
        let Some(vlan) = number(&it.value) else { continue };
        fresh.held.insert(vlan);
        let digits: String = it.holder.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        fresh.names.insert(vlan, format!("{MARK}-{}", digits.to_ascii_lowercase()));
        holders.insert(it.holder);
    }
    if has_maps {
        fresh.vnis = maps(cx, holders).await?;
    }
    let fresh = Arc::new(fresh);
    *cx.in_use.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((count, Arc::clone(&fresh)));
    Ok(fresh)
}

/// The VXLAN networks that VLANs of the fabric are mapped to: of those who hold VLANs, the networks that have a VXLAN too.
async fn maps(cx: &Cx, mut holders: BTreeSet<String>) -> Result<BTreeMap<VlanId, Vni>, Fault> {
    let with_vxlan = cx.store.allocations(&format!("seg:{}", NetworkType::Vxlan.as_str())).await?;
    let with_vxlan: BTreeSet<String> = with_vxlan.into_iter().map(|it| it.holder).collect();
    holders.retain(|it| with_vxlan.contains(it));
    if holders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let networks = cx.store.list(&Query::<Network>::new().ids(holders)).await?;
    let maps = networks.iter().filter_map(|it| it.desired.map_on(&cx.config.fabric.physical_network));
    Ok(maps.filter_map(|(vlan, vni)| Some((vlan, Vni::new(vni)?))).collect())
}

/// Has the switches looked at if they map the VLAN of the network otherwise than it is wanted now.
pub(crate) async fn follow_maps(cx: &Cx, network: &Object<Network>) -> Result<(), Fault> {
    let Some(vlan) = network.desired.vlan_on(&cx.config.fabric.physical_network).filter(|_| cx.switches.has_overlay()) else {
        return Ok(());
    };
    let in_use = in_use(cx).await?;
    if in_use.wanted.contains(&vlan) && in_use.vnis.get(&vlan).map(|it| it.get()) != network.desired.vni() {
        cx.store.apply(cx.wake_switches(cx.facts()).await?).await?;
    }
    Ok(())
}

impl Cx {
    /// The wish of a switch port changed: its switch is looked at, and the others if their uplinks are to carry other VLANs now.
    pub(crate) async fn wake_for(&self, batch: Batch<Facts>, before: &PortUse, row: &Object<SwitchPort>) -> Result<Batch<Facts>, Fault> {
        let (before, after) = (before.vlans(), row.desired.wanted.vlans());
        let batch = batch.bump(WISHES).wake(&row.desired.switch);
        let in_use = in_use(self).await?;
        let mut spreads = after.difference(&before).any(|vlan| !in_use.wanted.contains(vlan));
        for vlan in before.difference(&after) {
            let users = Query::<SwitchPort>::new().linked("vlan", [vlan.to_string()]);
            spreads |= self.store.count(&users).await? <= 1;
        }
        Ok(if spreads { self.wake_switches(batch).await? } else { batch })
    }

    /// All switches that are spoken to, asked to be looked at.
    pub(crate) async fn wake_switches(&self, mut batch: Batch<Facts>) -> Result<Batch<Facts>, Fault> {
        for switch in self.store.list(&Query::<Switch>::new()).await?.iter().filter(|it| it.desired.is_managed()) {
            batch = batch.wake(&switch.id);
        }
        Ok(batch.bump(WISHES))
    }

    /// Only for the test that shows what reading back is good for: believes what was asked for.
    #[cfg(debug_assertions)]
    pub(super) async fn trust_commits(&self, rows: &[Object<SwitchPort>]) -> Result<(), Fault> {
        if std::env::var_os("COFFERDAM_TEST_TRUST_COMMITS").is_none() {
            return Ok(());
        }
        for row in rows {
            let seen =
                Reading { seen: Some(row.desired.wanted.clone()), note: String::new(), began: Timestamp::now(), reading: 0, drifted: true };
            write_row(self, row, &seen).await?;
        }
        Ok(())
    }

    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_async, reason = "there is nothing to wait for where commits are never believed")]
    pub(super) async fn trust_commits(&self, _: &[Object<SwitchPort>]) -> Result<(), Fault> {
        Ok(())
    }
}

/// A row that was proven and is not any more.
pub(super) struct Drift {
    pub(super) port: String,
    pub(super) text: String,
}

/// What one reading says of a row.
struct Reading {
    seen: Option<PortUse>,
    note: String,
    began: Timestamp,
    reading: u64,
    /// Whether the row was written in this look already: what is known of it is older.
    drifted: bool,
}

/// What a port was seen to be, if that can be a proof, and words about it.
fn seen_use(row: &Object<SwitchPort>, seen: &SwitchSeen) -> (Option<PortUse>, String) {
    let port = &row.desired.port;
    let is_saved = seen.ports.get(port).is_none_or(|it| !it.unsaved);
    match seen.mode(port) {
        SeenMode::Known(mode) if !is_saved => (None, format!("{mode}, but not after a restart of the switch")),
        SeenMode::Known(mode) => match undeclared(mode, seen) {
            Some(vlan) => (None, format!("{mode}, but VLAN {vlan} is not declared")),
            None if *mode != PortMode::Isolated && !groups_as_wanted(row, seen) => {
                (None, format!("{mode}, but its links do not find together as wanted"))
            }
            None if mode.is_as(&render::mode(&row.desired.wanted)) => (Some(row.desired.wanted.clone()), String::new()),
            None => (Some(render::usage(mode)), String::new()),
        },
        SeenMode::Foreign(what) => (None, what.clone()),
        // A group that is not there reaches nobody.
        SeenMode::Absent if row.desired.lag.is_some() => (Some(PortUse::Isolated), String::new()),
        SeenMode::Absent => (None, "absent".into()),
    }
}

/// Whether the links of a group find together in the way that is wanted; true of what is no group.
fn groups_as_wanted(row: &Object<SwitchPort>, seen: &SwitchSeen) -> bool {
    let protocol = |has_lacp| if has_lacp { LagProtocol::Lacp } else { LagProtocol::Static };
    let wanted = row.desired.lag.map(protocol);
    wanted.is_none() || seen.lags.get(&row.desired.port).and_then(|it| it.protocol) == wanted
}

/// A VLAN of the mode that the switch does not know, where VLANs are declared: its frames go nowhere.
fn undeclared(mode: &PortMode, seen: &SwitchSeen) -> Option<VlanId> {
    let declares = !seen.vlans.is_empty();
    mode.vlans().into_iter().find(|vlan| declares && !seen.vlans.get(vlan).is_some_and(|it| it.running))
}

/// Rows that were proven before and are not any more: somebody changed the switch behind our back.
pub(super) fn drift(rows: &[Object<SwitchPort>], seen: &SwitchSeen) -> Vec<Drift> {
    otherwise(rows.iter().filter(|row| row.proof().is_some()), seen)
}

/// Rows that were proven since anything else was wanted of them, and are otherwise now, whether that was said already or not.
pub(super) fn strayed(rows: &[Object<SwitchPort>], seen: &SwitchSeen) -> Vec<Drift> {
    otherwise(rows.iter().filter(|row| row.proof().is_some() || row.observed.proven == row.generation), seen)
}

fn otherwise<'a>(rows: impl Iterator<Item = &'a Object<SwitchPort>>, seen: &SwitchSeen) -> Vec<Drift> {
    rows.filter_map(|row| {
        let (found, note) = seen_use(row, seen);
        let drifted = found.as_ref() != Some(&row.desired.wanted);
        let found = found.map_or(note, |it| render::mode(&it).to_string());
        let text = format!("{}: wanted {}, found {found}", row.desired.port, render::mode(&row.desired.wanted));
        drifted.then(|| Drift { port: row.desired.port.clone(), text })
    })
    .collect()
}

/// Drift is said, counted, and shown on the ports as it was found, even if it was repaired by now.
pub(super) async fn note_drift(
    cx: &Cx,
    switch: &mut Object<Switch>,
    rows: &[Object<SwitchPort>],
    found: &Found,
    reading: u64,
) -> Result<(), Fault> {
    let text = found.drift.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join("; ");
    tracing::warn!(switch.name = %switch.id, drift = text, "the switch was changed behind our back");
    let seen = &mut switch.observed;
    let again = seen.drifted_at.is_some_and(|at| found.began.seconds_since(at) < CONTESTED_SECONDS);
    seen.contested = if again { seen.contested.saturating_add(1) } else { 0 };
    seen.drifts += 1;
    seen.last_drift.clone_from(&text);
    seen.drifted_at = Some(found.began);
    let detail = json!({"drift": text, "reading": reading, "in_a_row": seen.contested});
    let batch = cx.facts().observe(switch).history(&switch.id, Severity::Warning, "drift found by read-back", &detail);
    cx.store.apply(batch).await?;
    let before = found.before.as_ref().unwrap_or(&found.seen);
    for row in rows.iter().filter(|row| found.drift.iter().any(|it| it.port == row.desired.port)) {
        let (seen, note) = seen_use(row, before);
        write_row(cx, row, &Reading { seen, note, began: found.began, reading, drifted: true }).await?;
    }
    Ok(())
}

/// Writes what was read of each row. A row that changed meanwhile is left alone: whoever changed it woke this switch again.
pub(super) async fn record(cx: &Cx, rows: &[Object<SwitchPort>], wanted: &SwitchWanted, found: &Found, reading: u64) -> Result<(), Fault> {
    for row in rows {
        let (what, mut note) = seen_use(row, &found.seen);
        if what.as_ref() != Some(&row.desired.wanted) && !row.observed.refused.is_empty() && !wanted.ports.contains_key(&row.desired.port) {
            note = format!("the switch refused it: {}", row.observed.refused);
        }
        let drifted = found.drift.iter().any(|it| it.port == row.desired.port);
        let is_new = what.as_ref() == Some(&row.desired.wanted) && (row.proof().is_none() || drifted);
        let what = if is_new && !found.footing.is_settled {
            note = "as wanted, but a change of the switch was broken off: it is read again to see that this lasts".to_owned();
            None
        } else {
            what
        };
        write_row(cx, row, &Reading { seen: what, note, began: found.began, reading, drifted }).await?;
    }
    Ok(())
}

async fn write_row(cx: &Cx, row: &Object<SwitchPort>, it: &Reading) -> Result<(), Fault> {
    let same = |seen: &model::fabric::SwitchPortObserved| {
        seen.generation == row.generation && seen.seen == it.seen && seen.note == it.note && seen.read_at.is_some()
    };
    if same(&row.observed) && !it.drifted {
        return Ok(());
    }
    let Some(mut fresh) = cx.store.get(&row.id).await?.filter(|fresh| fresh.generation == row.generation) else { return Ok(()) };
    if same(&fresh.observed) {
        return Ok(());
    }
    let as_wanted = it.seen.as_ref() == Some(&fresh.desired.wanted);
    let seen = &mut fresh.observed;
    if as_wanted || seen.generation != fresh.generation {
        refusals::forget(seen);
    }
    seen.seen.clone_from(&it.seen);
    seen.note.clone_from(&it.note);
    seen.generation = fresh.generation;
    seen.read_at = Some(it.began);
    seen.reading = it.reading;
    if as_wanted {
        seen.proven = fresh.generation;
    }
    let mut batch = cx.facts().observe(&fresh);
    if let Some(holder) = &fresh.desired.holder {
        batch = batch.wake(holder);
    }
    match cx.store.apply(batch).await {
        Ok(()) | Err(StoreError::Stale { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ports that nobody holds and that are declared as uplinks by now are ports of the ledger no more. Returns whether there were any.
pub(super) async fn forget_uplinks(cx: &Cx, switch: &Object<Switch>, rows: &[Object<SwitchPort>]) -> Result<bool, Fault> {
    let uplinks = super::names::uplinks(switch);
    let free = rows.iter().filter(|row| uplinks.contains(&row.desired.port) && row.is_free());
    let gone: Vec<_> = free.collect();
    if !gone.is_empty() {
        cx.store.apply(gone.iter().fold(cx.facts(), |batch, row| batch.remove(row)).bump(WISHES)).await?;
    }
    Ok(!gone.is_empty())
}

/// A switch that was declared to be another device since it was read: what was read of the one proves nothing of the other. Returns
/// whether that was so.
pub(super) async fn distrust(cx: &Cx, switch: &Object<Switch>, rows: &[Object<SwitchPort>]) -> Result<bool, Fault> {
    let seen = &switch.observed;
    if seen.read_as.is_empty() || seen.read_as == switch.desired.read_as() {
        return Ok(false);
    }
    let mut batch = cx.facts();
    for row in rows.iter().filter(|row| row.observed.read_at.is_some()) {
        let mut row = row.clone();
        row.observed.seen = None;
        row.observed.read_at = None;
        row.observed.note = "its switch was declared otherwise and not read since".into();
        refusals::forget(&mut row.observed);
        batch = batch.observe(&row);
        if let Some(holder) = &row.desired.holder {
            batch = batch.wake(holder);
        }
    }
    let mut fresh = switch.clone();
    let seen = &mut fresh.observed;
    seen.read_as.clear();
    seen.read_at = None;
    seen.uplink_vlans = Some(BTreeSet::new());
    seen.host_key = None;
    seen.retry_at = None;
    let detail = json!({"was": switch.observed.read_as, "is": switch.desired.read_as()});
    batch = batch.observe(&fresh).history(
        &fresh.id,
        Severity::Warning,
        "declared as another device; nothing is believed of it until it is read",
        &detail,
    );
    cx.store.apply(batch).await?;
    Ok(true)
}

/// Rows of things that are made and taken away with their holders: ports of this host's own switch, and groups of links.
pub(super) async fn forget_edge_ports(cx: &Cx, is_edge: bool, rows: &[Object<SwitchPort>], seen: &SwitchSeen) -> Result<(), Fault> {
    // A group's number is nobody else's while any port says that it is in the group, whoever's port that is.
    let has_member =
        |group: &String| seen.ports.values().any(|it| matches!(&it.mode, SeenMode::Known(PortMode::Member { lag }) if lag == group));
    let gone = |row: &&Object<SwitchPort>| {
        let port = &row.desired.port;
        (is_edge || row.desired.lag.is_some()) && render::is_left_over(row) && !seen.ports.contains_key(port) && !has_member(port)
    };
    for row in rows.iter().filter(gone) {
        if let Some(fresh) = cx.store.get(&row.id).await?
            && fresh.desired.holder.is_none()
            && fresh.generation == row.generation
        {
            let mut batch = cx.facts().remove(&fresh);
            if fresh.desired.lag.is_some() {
                batch = batch.free_held(&model::fabric::lag_pool(&fresh.desired.switch), fresh.id.as_str());
            }
            cx.store.apply(batch).await?;
        }
    }
    Ok(())
}

/// A switch that is to be forgotten is, once none of its ports is anybody's or in quarantine. Nothing on it is changed.
pub(super) async fn remove(cx: &Cx, switch: &Object<Switch>, rows: &[Object<SwitchPort>]) -> Look {
    cx.switches.forget(switch.id.as_str());
    if let Some(row) = rows.iter().find(|row| !row.is_free()) {
        tracing::debug!(switch.name = %switch.id, switch.port = row.desired.port, "not forgotten yet: a port of it is not free");
        return Ok(Next::Again(std::time::Duration::from_secs(5)));
    }
    let batch = rows.iter().fold(cx.facts().remove(switch), |batch, row| batch.remove(row));
    cx.store.apply(batch.bump(WISHES)).await?;
    Ok(Next::Gone)
}
