//! Switches: one desired state, one diff, one commit, one read-back.
//!
//! What a switch is to be follows from the ledger of switch ports alone: its own rows, and for its uplinks the VLANs that any row
//! anywhere wants. The queue has one piece of work for each switch, so whatever is wished while a commit is under way goes into the next
//! one together. Every look reads the switch in full, so a look that finds a difference nobody asked for has found drift.

mod breaker;
mod ledger;
pub(crate) mod names;
mod refusals;
mod registry;
mod render;
mod split;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use drivers::switch::{Difference, PortMode, SeenMode, Switch as Driver, SwitchError, SwitchSeen, SwitchWanted, differs};
use model::fabric::{DriftPolicy, Switch, SwitchPort};
use model::net::VlanId;
use model::{Object, Timestamp};
use store::Query;

use crate::runtime::{Cx, Fault, GIVEN_UP, Look, Next};
pub(crate) use ledger::{Remembered, follow_maps};
use registry::Footing;
pub use registry::Unseal;
pub(crate) use registry::{Registry, declare_all};

/// How long at most a wish waits for others to go into the same change, after the last that came.
const GATHER: Duration = Duration::from_millis(700);
/// How many differences are shown of a switch.
const SHOWN: usize = 50;

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(switch) = cx.load::<Switch>().await? else {
        cx.switches.forget(&cx.claim.id);
        return Ok(Next::Gone);
    };
    let rows = cx.store.list(&Query::<SwitchPort>::new().column("switch", [switch.id.to_string()])).await?;
    if names::rename_one(cx, &switch, &rows).await? {
        return Ok(Next::Again(Duration::ZERO));
    }
    if switch.is_deleting() {
        return ledger::remove(cx, &switch, &rows).await;
    }
    if !switch.desired.is_managed() {
        // Its ports stay as they are, and in the ledger. Whoever changes that wakes us.
        cx.switches.forget(switch.id.as_str());
        return Ok(Next::Gone);
    }
    if ledger::forget_uplinks(cx, &switch, &rows).await? || ledger::distrust(cx, &switch, &rows).await? {
        return Ok(Next::Again(Duration::ZERO));
    }
    if let Some(wait) = breaker::is_open(&switch).or_else(|| gather(&switch, &rows)) {
        return Ok(Next::Again(wait));
    }
    let driver = match cx.switches.get(cx, &switch) {
        Ok(driver) => driver,
        Err(error) => return breaker::failed(cx, switch, &error).await,
    };
    look(cx, switch, &*driver, &rows).await
}

/// How long to wait for more wishes before a slow switch is asked: they go into one change. A quick switch is asked at once.
fn gather(switch: &Object<Switch>, rows: &[Object<SwitchPort>]) -> Option<Duration> {
    let window = Duration::from_millis(switch.observed.commit_ms / 15).min(GATHER);
    if window < GATHER / 10 {
        return None;
    }
    let now = Timestamp::now();
    // One that was set back by the clock waits for nothing.
    let ages = rows.iter().filter(|row| row.proof().is_none()).filter_map(|row| u64::try_from(now.0 - row.desired.since.0).ok());
    let (newest, oldest) = ages.fold((u64::MAX, 0), |(newest, oldest), age| (newest.min(age), oldest.max(age)));
    let left = window.checked_sub(Duration::from_micros(newest))?;
    (Duration::from_micros(oldest) < 3 * window && !left.is_zero()).then_some(left)
}

async fn look(cx: &Cx, switch: Object<Switch>, driver: &dyn Driver, rows: &[Object<SwitchPort>]) -> Look {
    let footing = cx.switches.footing(&switch, cx.settle().max(driver.lingers()) + cx.others_stop(&switch));
    let in_use = ledger::in_use(cx).await?;
    let asked = if refusals::has_any(rows) { refusals::asked(cx, &switch).await? } else { 0 };
    let site = render::Site::new(cx, &switch, &in_use, asked);
    let mut wanted = render::render(&site, rows);
    if !driver.facts().has_vni {
        // What it cannot do must not keep it from all else; the ports that need it wait, and say for what.
        wanted.vlans.values_mut().for_each(|it| it.vni = None);
    }
    let began = cx.store.now().await?;
    // With nothing on its way a reading is enough; it is then the cheapest look there is. Where drift is only reported it has to be
    // known before anything is written. One that is only read is never written.
    let has_wishes = rows.iter().any(|row| row.proof().is_none() && !wanted.remove.contains(&row.desired.port));
    let mut left_alone = Vec::new();
    let looks_first = !has_wishes || switch.desired.drift == DriftPolicy::Report || switch.desired.read_only;
    if looks_first {
        let seen = match driver.observe().await {
            Ok(seen) => seen,
            Err(error) => return breaker::failed(cx, switch, &error).await,
        };
        let drift = ledger::drift(rows, &seen);
        if switch.desired.drift == DriftPolicy::Report {
            left_alone = ledger::strayed(rows, &seen);
            render::leave_alone(&mut wanted, &left_alone);
        }
        if switch.desired.read_only || !render::is_to_be_set(&wanted, &seen, &driver.facts()) {
            let found = Found { before: None, seen, began, has_begun: false, took: None, drift, left_alone, footing, refused: false };
            return conclude(cx, switch, driver, rows, &wanted, found).await;
        }
    }
    let switch = begin_writing(cx, switch).await?;
    let (began, clock) = (cx.store.now().await?, Instant::now());
    match driver.ensure(&wanted).await {
        Ok(ensured) => {
            let drift = ledger::drift(rows, &ensured.before);
            let took = ensured.committed.then(|| clock.elapsed());
            let before = Some(ensured.before);
            let found = Found { before, seen: ensured.after, began, has_begun: true, took, drift, left_alone, footing, refused: false };
            conclude(cx, switch, driver, rows, &wanted, found).await
        }
        Err(SwitchError::Rejected { reason, .. }) => {
            cx.trust_commits(rows).await?;
            split::without_the_refused(cx, switch, driver, rows, wanted, footing, &reason).await
        }
        Err(error) => {
            cx.trust_commits(rows).await?;
            breaker::failed(cx, switch, &error).await
        }
    }
}

/// What came of a look.
struct Found {
    /// What the switch was before it was set, if it was.
    before: Option<SwitchSeen>,
    /// What it was read as last.
    seen: SwitchSeen,
    /// When the reading that counts began, at the latest.
    began: Timestamp,
    /// Whether a change was begun in this look.
    has_begun: bool,
    /// How long writing took, if anything was written.
    took: Option<Duration>,
    /// Rows that were proven before and are not any more.
    drift: Vec<ledger::Drift>,
    /// Those of them, and of earlier ones, that are only reported.
    left_alone: Vec<ledger::Drift>,
    /// Whether what was read will last.
    footing: Footing,
    /// Whether it refused some port in this look.
    refused: bool,
}

/// Writes down that a change is under way: whoever finds that later knows that it may have been broken off.
/// Fenced by the lease, so that nobody begins to write whose lease is another's by now.
async fn begin_writing(cx: &Cx, switch: Object<Switch>) -> Result<Object<Switch>, Fault> {
    let mut fresh = cx.load::<Switch>().await?.unwrap_or(switch);
    fresh.observed.begin(cx.claim.worker());
    cx.store.apply(cx.facts().observe(&fresh)).await?;
    fresh.revision += 1;
    Ok(fresh)
}

/// Writes what was seen into the ledger and says when to look again.
async fn conclude(
    cx: &Cx,
    switch: Object<Switch>,
    driver: &dyn Driver,
    rows: &[Object<SwitchPort>],
    wanted: &SwitchWanted,
    found: Found,
) -> Look {
    let Some(mut fresh) = cx.load::<Switch>().await? else { return Ok(Next::Gone) };
    let left = differs(wanted, &found.seen, &driver.facts());
    let reading = fresh.observed.reading + 1;
    if !found.drift.is_empty() {
        ledger::note_drift(cx, &mut fresh, rows, &found, reading).await?;
        fresh = cx.load::<Switch>().await?.unwrap_or(fresh);
    }
    cx.trust_commits(rows).await?;
    ledger::record(cx, rows, wanted, &found, reading).await?;
    ledger::forget_edge_ports(cx, cx.is_edge(&switch), rows, &found.seen).await?;
    let again = if found.refused || refusals::has_any(rows) { refusals::follow(cx, &switch, &found.seen).await? } else { None };
    if found.took.is_some() {
        let set: Vec<String> =
            found.before.iter().flat_map(|before| differs(wanted, before, &driver.facts())).map(|it| it.to_string()).take(SHOWN).collect();
        tracing::info!(switch.name = %switch.id, changes = set.join("; "), "switch was set and read back");
    }
    let before = fresh.observed.clone();
    let uplinks = names::uplinks(&fresh);
    let seen = &mut fresh.observed;
    seen.read_at = Some(found.began);
    seen.read_as = fresh.desired.read_as();
    seen.reading = reading;
    seen.vlans = found.seen.carried.iter().chain(found.seen.vlans.keys()).copied().filter(|vlan| found.seen.has_vlan(*vlan)).collect();
    seen.uplink_vlans = uplink_vlans(&uplinks, &found.seen);
    seen.vnis = found.seen.vlans.iter().filter_map(|(vlan, it)| Some((*vlan, it.vni?.get()))).collect();
    seen.half_vnis = found.seen.vlans.values().filter_map(|it| it.half).map(drivers::switch::Vni::get).collect();
    seen.unsaved = found.seen.vlans.values().any(|it| it.running && !it.saved && it.is_ours());
    seen.unsettled = !found.footing.is_settled;
    let reported = found.left_alone.iter().map(|it| format!("port {}; changed by somebody else, left alone", it.text));
    seen.differences = left.iter().map(ToString::to_string).chain(reported).take(SHOWN).collect();
    let others = found.seen.lags.iter().filter(|(_, it)| !it.is_ours);
    seen.others_lags = others.map(|(name, _)| name.clone()).collect();
    seen.foreign = render::in_the_way(wanted, &found.seen);
    let held = rows.iter().map(|row| &row.desired.port).filter(|port| uplinks.contains(*port));
    seen.foreign.extend(held.map(|port| format!("uplink {port} is a port of the ledger too; it stays that until nobody holds it")));
    let is_well = left.is_empty() || switch.desired.read_only;
    seen.fault = if is_well { String::new() } else { format!("read back otherwise than set: {}", seen.differences.join("; ")) };
    seen.failures = if is_well { 0 } else { seen.failures.saturating_add(1) };
    seen.retry_at = None;
    seen.writing = !found.footing.is_settled;
    seen.ended += u64::from(found.has_begun);
    if found.footing.is_settled {
        seen.writer.clear();
    }
    seen.stopped(cx.claim.worker());
    seen.commits += u64::from(found.took.is_some());
    if let Some(took) = found.took {
        seen.commit_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    }
    if found.drift.is_empty() && found.before.is_none() {
        seen.contested = 0;
    }
    seen.host_key = driver.host_key().or_else(|| seen.host_key.take());
    let next = if is_well || switch.desired.drift == DriftPolicy::Report {
        cx.drift_interval()
    } else {
        let wait = breaker::pause(fresh.observed.failures);
        if before.fault != fresh.observed.fault {
            tracing::warn!(switch.name = %switch.id, why = fresh.observed.fault, "switch is not as wanted, looking again");
        }
        wait
    };
    cx.switches.answered(&fresh, found.footing);
    let next = if found.footing.is_settled { next } else { next.min(cx.settle()) };
    let next = again.map_or(next, |again| next.min(again));
    let remapped = |vlan: &VlanId| before.vnis.get(vlan) != fresh.observed.vnis.get(vlan);
    let concerned = rows.iter().filter(|row| row.desired.wanted.vlans().iter().any(remapped)).filter_map(|row| row.desired.holder.as_ref());
    let batch = concerned.fold(cx.facts().observe(&fresh), |batch, holder| batch.wake(holder));
    cx.store.apply(batch).await?;
    Ok(Next::Again(next))
}

fn uplink_vlans(uplinks: &BTreeSet<String>, seen: &SwitchSeen) -> Option<BTreeSet<VlanId>> {
    let carried = uplinks.iter().map(|uplink| match seen.mode(uplink) {
        SeenMode::Known(PortMode::Trunk { tagged, .. }) => tagged.clone(),
        _ => BTreeSet::new(),
    });
    carried.reduce(|so_far, vlans| so_far.intersection(&vlans).copied().collect())
}

impl Cx {
    /// See [`Registry::footing`].
    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.fabric.settle_seconds))
    }

    /// How long somebody else may still send what it began, counted from when its work is ours: who lost its lease finds out when it is to
    /// renew it, whatever it takes the time for. Whoever had an embedded store before us is dead.
    fn others_stop(&self, switch: &Object<Switch>) -> Duration {
        let may_go_on = !self.store.is_embedded() && switch.observed.may_be_written_by_others(self.claim.worker());
        if may_go_on { GIVEN_UP } else { Duration::ZERO }
    }

    /// How long until a switch of which nothing is known to have changed is read again: the interval, more or less a tenth, so that
    /// switches do not all come due at once.
    pub(crate) fn drift_interval(&self) -> Duration {
        let whole = Duration::from_secs(u64::from(self.config.fabric.drift_interval_seconds.max(1)));
        let mut byte = [0_u8; 2];
        // Without randomness they come due at once; that is no more than unpleasant.
        let _ok = getrandom::fill(&mut byte);
        whole.mul_f64(0.9 + 0.2 * f64::from(u16::from_le_bytes(byte)) / f64::from(u16::MAX))
    }

    fn is_edge(&self, switch: &Object<Switch>) -> bool {
        self.config.edge.as_ref().is_some_and(|edge| edge.switch == switch.id.as_str())
    }
}

/// The names of the ports that a difference is about.
fn names(differences: &[Difference]) -> BTreeSet<String> {
    differences.iter().filter_map(Difference::port).map(str::to_owned).collect()
}
