//! The names of switch ports. A port can be spelled in several ways, by machines, users and other switches; the ledger knows each under the
//! one name that its driver reads it back as, since two rows would be two owners of one port.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use model::fabric::{PortUse, Switch, SwitchPort, SwitchPortDesired, lag_pool};
use model::{Id, Object};
use serde_json::json;
use store::Severity;

use super::ledger::WISHES;
use crate::runtime::{Cx, Fault};

/// Longest note, in characters: what the API takes.
const LONGEST_NOTE: usize = 255;

/// The name of a port of this switch that is spelled like this.
pub(crate) fn name(switch: &Object<Switch>, spelled: &str) -> String {
    drivers::switch::port_name(&switch.desired.driver, spelled)
}

/// The row of the port of this switch that is spelled like this.
pub(crate) fn row_of(switch: &Object<Switch>, spelled: &str) -> Id<SwitchPort> {
    SwitchPortDesired::id_of(&switch.id, &name(switch, spelled))
}

/// The names of its uplinks.
pub(crate) fn uplinks(switch: &Object<Switch>) -> BTreeSet<String> {
    switch.desired.uplinks.iter().map(|it| name(switch, it)).collect()
}

/// Whether the port that is spelled like this is one of its uplinks.
pub(crate) fn is_uplink(switch: &Object<Switch>, spelled: &str) -> bool {
    uplinks(switch).contains(&name(switch, spelled))
}

/// Puts one row that has another name than its port under that, and what operators noted of ports; tells whether there was anything. Such
/// rows were written when the switch had another driver, or by a build that knew fewer spellings. What was proven of them is not taken
/// along, and of two owners of one port one stays: the other waits for it then as for anybody's.
pub(super) async fn rename_one(cx: &Cx, switch: &Object<Switch>, rows: &[Object<SwitchPort>]) -> Result<bool, Fault> {
    let renamed = |row: &Object<SwitchPort>| {
        let mut desired = row.desired.clone();
        desired.port = name(switch, &desired.port);
        if let PortUse::Member { lag } = &mut desired.wanted {
            *lag = name(switch, lag);
        }
        // A word that is void, since its port was read after it, must not stand in for a proof of the new row.
        desired.forced = desired.forced.filter(|_| row.is_forced());
        desired
    };
    let is_same = |row: &Object<SwitchPort>, it: &SwitchPortDesired| row.desired.port == it.port && row.desired.wanted == it.wanted;
    let noted = carry_notes(switch);
    let batch = noted.iter().fold(cx.facts(), |batch, switch| batch.want(switch));
    let Some((row, desired)) = rows.iter().map(|row| (row, renamed(row))).find(|(row, it)| !is_same(row, it)) else {
        if noted.is_some() {
            cx.store.apply(batch).await?;
        }
        return Ok(noted.is_some());
    };
    let id = SwitchPortDesired::id_of(&switch.id, &desired.port);
    let holders = [row.desired.holder.clone(), rows.iter().find(|it| it.id == id).and_then(|it| it.desired.holder.clone())];
    tracing::warn!(switch.name = %switch.id, from = row.desired.port, to = desired.port, "a port of the ledger is called otherwise now");
    // The port's own history goes on under its new id, and says where its beginning is.
    let detail = json!({"from": row.desired.port, "to": desired.port, "history_of": row.id});
    let mut batch = batch.bump(WISHES).wake(&switch.id);
    batch = batch.history(&switch.id, Severity::Warning, RENAMED, &detail).history(&id, Severity::Warning, RENAMED, &detail);
    if id == row.id {
        let mut it = row.clone();
        it.desired = desired;
        batch = batch.want(&it);
    } else {
        batch = batch.remove(row);
        if row.desired.lag.is_some() {
            batch = batch.free_held(&lag_pool(&switch.id), row.id.as_str());
        }
        match rows.iter().find(|it| it.id == id) {
            Some(other) if other.desired.holder.is_some() || desired.holder.is_none() => {}
            Some(other) => {
                let mut it = other.clone();
                it.desired = desired;
                batch = batch.want(&it);
            }
            None => {
                if desired.lag.is_some() {
                    batch = batch.hold(&lag_pool(&switch.id), &desired.port, id.as_str());
                }
                let mut it = Object::new(id, None, format!("{}/{}", switch.id, desired.port), desired);
                it.created_at = row.created_at;
                batch = batch.create(&it);
            }
        }
    }
    for holder in holders.iter().flatten() {
        batch = batch.wake(holder);
    }
    cx.store.apply(batch).await?;
    Ok(true)
}

/// What history says.
const RENAMED: &str = "a port is called otherwise";

/// The switch with what operators noted under the names of its ports, if some note is under another. Two notes of one port become one.
fn carry_notes(switch: &Object<Switch>) -> Option<Object<Switch>> {
    let is_named = |port: &String| name(switch, port) == *port;
    if switch.desired.notes.keys().all(is_named) {
        return None;
    }
    let (mut kept, old): (BTreeMap<_, _>, BTreeMap<_, _>) = switch.desired.notes.clone().into_iter().partition(|(port, _)| is_named(port));
    for (port, text) in old {
        match kept.entry(name(switch, &port)) {
            Entry::Vacant(none) => drop(none.insert(text)),
            Entry::Occupied(mut other) if *other.get() != text => {
                let both = format!("{}; {text}", other.get());
                other.insert(both.chars().take(LONGEST_NOTE).collect());
            }
            Entry::Occupied(_) => {}
        }
    }
    let mut out = switch.clone();
    out.desired.notes = kept;
    Some(out)
}
