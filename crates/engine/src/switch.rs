//! Switches: one desired state, one diff, one commit, one read-back.
//!
//! What a switch is to be follows from the ledger of switch ports alone: its own rows, and for its uplinks the VLANs that any row
//! anywhere wants. Every look reads the switch in full, so a look that finds a difference nobody asked for has found drift.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drivers::switch::{PortMode, SeenMode, SwitchSeen, SwitchWanted, differs};
use model::fabric::{PortUse, Switch, SwitchPort};
use model::net::VlanId;
use model::{Object, Timestamp};
use serde_json::json;
use store::{Query, Severity, StoreError};

use crate::runtime::{Cx, Fault, Look, Next};

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(mut switch) = cx.load::<Switch>().await? else {
        return Ok(Next::Gone);
    };
    let Some(driver) = cx.switches.get(switch.id.as_str()) else {
        // Taken out of the configuration: its ports stay as they are, and in the ledger.
        return Ok(Next::Gone);
    };
    let all = cx.store.list(&Query::<SwitchPort>::new()).await?;
    let rows: Vec<Object<SwitchPort>> = all.iter().filter(|it| it.desired.switch == switch.id).cloned().collect();
    let is_edge = cx.config.edge.as_ref().is_some_and(|edge| edge.switch == switch.id.as_str());
    let wanted = render(&switch, &rows, &all, is_edge);

    let mut began = Timestamp::now();
    let mut seen = match driver.observe().await {
        Ok(seen) => seen,
        Err(error) => return unreadable(cx, switch, &error.to_string()).await,
    };
    let differences = differs(&wanted, &seen);
    if !differences.is_empty() {
        let text: Vec<String> = differences.iter().map(ToString::to_string).collect();
        note_drift(cx, &mut switch, &rows, &seen, began).await?;
        began = Timestamp::now();
        seen = match driver.ensure(&wanted).await {
            Ok(seen) => seen,
            Err(error) => return unreadable(cx, switch, &format!("{error} (while setting {})", text.join("; "))).await,
        };
        tracing::info!(switch.name = %switch.id, changes = text.join("; "), "switch was set and read back");
    }
    let left = differs(&wanted, &seen);
    record(cx, &rows, &seen, began).await?;
    forget_edge_ports(cx, is_edge, &rows, &seen).await?;

    let mut fresh = cx.load::<Switch>().await?.unwrap_or(switch);
    fresh.observed.read_at = Some(began);
    fresh.observed.vlans = seen.vlans.clone();
    fresh.observed.uplink_vlans = uplink_vlans(&fresh, &seen);
    fresh.observed.fault = left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    cx.store.apply(cx.facts().observe(&fresh)).await?;
    if !left.is_empty() {
        return Err(Fault::Outside(format!("switch {} read back otherwise than set: {}", fresh.id, fresh.observed.fault)));
    }
    Ok(Next::Again(Duration::from_secs(u64::from(cx.config.fabric.drift_interval_seconds.max(1)))))
}

/// What the ledger wants of this switch.
fn render(switch: &Object<Switch>, rows: &[Object<SwitchPort>], all: &[Object<SwitchPort>], is_edge: bool) -> SwitchWanted {
    let in_use: BTreeSet<VlanId> = all
        .iter()
        .filter_map(|row| match row.desired.wanted {
            PortUse::Access(vlan) => Some(vlan),
            PortUse::Isolated => None,
        })
        .collect();
    let mut ports: BTreeMap<String, PortMode> =
        switch.desired.uplinks.iter().map(|port| (port.clone(), PortMode::Trunk(in_use.clone()))).collect();
    let mut remove = BTreeSet::new();
    for row in rows.iter().filter(|row| !switch.desired.uplinks.contains(&row.desired.port)) {
        if is_edge && is_left_over(row) {
            remove.insert(row.desired.port.clone());
            continue;
        }
        let mode = match row.desired.wanted {
            PortUse::Isolated => PortMode::Isolated,
            PortUse::Access(vlan) => PortMode::Access(vlan),
        };
        ports.insert(row.desired.port.clone(), mode);
    }
    SwitchWanted { ports, create_missing: is_edge, remove }
}

/// A port of this host's own switch that nobody holds any more and that was proven isolated: it may go. A port that was only just
/// taken under our care is not one; it has never been read.
fn is_left_over(row: &Object<SwitchPort>) -> bool {
    row.desired.holder.is_none() && row.generation > 1 && row.observed.seen == Some(PortUse::Isolated)
}

fn uplink_vlans(switch: &Object<Switch>, seen: &SwitchSeen) -> Option<BTreeSet<VlanId>> {
    let mut carried: Option<BTreeSet<VlanId>> = None;
    for uplink in &switch.desired.uplinks {
        let vlans = match seen.ports.get(uplink) {
            Some(SeenMode::Known(PortMode::Trunk(vlans))) => vlans.clone(),
            _ => BTreeSet::new(),
        };
        carried = Some(match carried {
            Some(so_far) => so_far.intersection(&vlans).copied().collect(),
            None => vlans,
        });
    }
    carried
}

fn seen_use(seen: &SwitchSeen, port: &str) -> (Option<PortUse>, String) {
    match seen.ports.get(port) {
        Some(SeenMode::Known(PortMode::Isolated)) => (Some(PortUse::Isolated), String::new()),
        Some(SeenMode::Known(PortMode::Access(vlan))) => (Some(PortUse::Access(*vlan)), String::new()),
        Some(SeenMode::Known(trunk @ PortMode::Trunk(_))) => (None, trunk.to_string()),
        Some(SeenMode::Foreign(what)) => (None, what.clone()),
        Some(SeenMode::Absent) | None => (None, "absent".into()),
    }
}

/// Rows that were proven before and are not any more: somebody changed the switch behind our back. Said, counted, and shown on the
/// ports before it is repaired.
async fn note_drift(
    cx: &Cx,
    switch: &mut Object<Switch>,
    rows: &[Object<SwitchPort>],
    seen: &SwitchSeen,
    began: Timestamp,
) -> Result<(), Fault> {
    let drifted: Vec<&Object<SwitchPort>> = rows
        .iter()
        .filter(|row| row.proof().is_some() && seen_use(seen, &row.desired.port).0.as_ref() != Some(&row.desired.wanted))
        .collect();
    if drifted.is_empty() {
        return Ok(());
    }
    let text = drifted
        .iter()
        .map(|row| format!("{}: wanted {:?}, found {:?}", row.desired.port, row.desired.wanted, seen_use(seen, &row.desired.port)));
    let text = text.collect::<Vec<_>>().join("; ");
    tracing::warn!(switch.name = %switch.id, drift = text, "the switch was changed behind our back; repairing");
    switch.observed.drifts += 1;
    switch.observed.last_drift = text.clone();
    let batch = cx.facts().observe(switch).history(&switch.id, Severity::Warning, "drift found by read-back", &json!({"drift": text}));
    cx.store.apply(batch).await?;
    for row in drifted {
        write_row(cx, row, seen, began).await?;
    }
    Ok(())
}

/// Writes what was read of each row. A row that changed meanwhile is left alone: whoever changed it woke this switch again.
async fn record(cx: &Cx, rows: &[Object<SwitchPort>], seen: &SwitchSeen, began: Timestamp) -> Result<(), Fault> {
    for row in rows {
        let fresh = match cx.store.get(&row.id).await? {
            Some(fresh) if fresh.generation == row.generation => fresh,
            _ => continue,
        };
        write_row(cx, &fresh, seen, began).await?;
    }
    Ok(())
}

async fn write_row(cx: &Cx, row: &Object<SwitchPort>, seen: &SwitchSeen, began: Timestamp) -> Result<(), Fault> {
    let (what, note) = seen_use(seen, &row.desired.port);
    if row.observed.generation == row.generation && row.observed.seen == what && row.observed.note == note && row.observed.read_at.is_some()
    {
        return Ok(());
    }
    let mut row = row.clone();
    row.observed.seen = what;
    row.observed.note = note;
    row.observed.generation = row.generation;
    row.observed.read_at = Some(began);
    let mut batch = cx.facts().observe(&row);
    if let Some(holder) = &row.desired.holder {
        batch = batch.wake(holder);
    }
    match cx.store.apply(batch).await {
        Ok(()) | Err(StoreError::Stale { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn forget_edge_ports(cx: &Cx, is_edge: bool, rows: &[Object<SwitchPort>], seen: &SwitchSeen) -> Result<(), Fault> {
    for row in rows.iter().filter(|row| is_edge && is_left_over(row) && !seen.ports.contains_key(&row.desired.port)) {
        if let Some(fresh) = cx.store.get(&row.id).await?
            && fresh.desired.holder.is_none()
        {
            cx.store.apply(cx.facts().remove(&fresh)).await?;
        }
    }
    Ok(())
}

/// Nothing is known of the switch: what was proven stays proven only as far as its reading goes, and nothing new is believed.
async fn unreadable(cx: &Cx, mut switch: Object<Switch>, why: &str) -> Look {
    if switch.observed.fault != why
        && let Some(fresh) = cx.load::<Switch>().await?
    {
        switch = fresh;
        switch.observed.fault = why.to_owned();
        cx.store.apply(cx.facts().observe(&switch)).await?;
    }
    Err(Fault::Outside(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use model::Id;
    use model::fabric::{SwitchDesired, SwitchPortDesired};

    use super::*;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn row(switch: &str, port: &str, wanted: PortUse) -> Object<SwitchPort> {
        let switch = Id::parse(switch).unwrap();
        let id = SwitchPortDesired::id_of(&switch, port);
        Object::new(id, None, "", SwitchPortDesired { switch, port: port.into(), wanted, holder: None, since: Timestamp(0) })
    }

    #[test]
    fn uplinks_carry_exactly_what_is_wanted_anywhere() {
        let desired = SwitchDesired { switch_id: String::new(), uplinks: ["up".to_owned()].into() };
        let leaf = Object::new(Id::parse("leaf1").unwrap(), None, "leaf1", desired);
        let all = [
            row("leaf1", "p1", PortUse::Access(vlan(100))),
            row("leaf2", "p1", PortUse::Access(vlan(101))),
            row("leaf1", "p2", PortUse::Isolated),
        ];
        let own: Vec<_> = all.iter().filter(|it| it.desired.switch == leaf.id).cloned().collect();
        let wanted = render(&leaf, &own, &all, false);
        assert_eq!(wanted.ports["up"], PortMode::Trunk([vlan(100), vlan(101)].into()));
        assert_eq!(wanted.ports["p1"], PortMode::Access(vlan(100)));
        assert_eq!(wanted.ports["p2"], PortMode::Isolated);
        assert_eq!(wanted.ports.len(), 3, "a port without a row is never named");
    }

    #[test]
    fn a_reading_of_an_earlier_wish_proves_nothing() {
        let mut it = row("leaf1", "p1", PortUse::Isolated);
        it.observed.seen = Some(PortUse::Isolated);
        it.observed.generation = it.generation;
        it.observed.read_at = Some(Timestamp(1));
        assert!(it.is_free());
        it.generation += 1;
        assert!(!it.is_free() && it.in_quarantine());
    }
}
