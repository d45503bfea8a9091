//! The names of switch ports. A port can be spelled in several ways, by machines, users and other switches; the ledger knows each under the
//! one name that its driver reads it back as, since two rows would be two owners of one port.

use std::collections::BTreeSet;

use model::fabric::{PortUse, Switch, SwitchPort, SwitchPortDesired, lag_pool};
use model::{Id, Object};
use serde_json::json;
use store::Severity;

use super::ledger::WISHES;
use crate::runtime::{Cx, Fault};

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

/// Puts one row that has another name than its port under that; tells whether there was one. Such rows were written when the switch had
/// another driver. What was proven of them is not taken along, and of two owners of one port one stays: the other waits for it then as for
/// anybody's.
pub(super) async fn rename_one(cx: &Cx, switch: &Object<Switch>, rows: &[Object<SwitchPort>]) -> Result<bool, Fault> {
    let renamed = |row: &Object<SwitchPort>| {
        let mut desired = row.desired.clone();
        desired.port = name(switch, &desired.port);
        if let PortUse::Member { lag } = &mut desired.wanted {
            *lag = name(switch, lag);
        }
        desired
    };
    let Some((row, desired)) = rows.iter().map(|row| (row, renamed(row))).find(|(row, it)| row.desired != *it) else { return Ok(false) };
    let id = SwitchPortDesired::id_of(&switch.id, &desired.port);
    let holders = [row.desired.holder.clone(), rows.iter().find(|it| it.id == id).and_then(|it| it.desired.holder.clone())];
    tracing::warn!(switch.name = %switch.id, from = row.desired.port, to = desired.port, "a port of the ledger is called otherwise now");
    let detail = json!({"from": row.desired.port, "to": desired.port});
    let mut batch = cx.facts().bump(WISHES).wake(&switch.id).history(&switch.id, Severity::Warning, "a port is called otherwise", &detail);
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
                batch = batch.create(&Object::new(id, None, format!("{}/{}", switch.id, desired.port), desired));
            }
        }
    }
    for holder in holders.iter().flatten() {
        batch = batch.wake(holder);
    }
    cx.store.apply(batch).await?;
    Ok(true)
}
