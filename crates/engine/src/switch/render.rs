//! What the ledger wants of one switch.

use std::collections::{BTreeMap, BTreeSet};

use drivers::switch::{
    Difference, Facts, LagProtocol, MARK, Managed, PortMode, PortWanted, SeenMode, SwitchSeen, SwitchWanted, VlanWanted, differs,
    others_port,
};
use model::Object;
use model::fabric::{PortUse, Switch, SwitchPort};
use model::net::VlanId;

use super::ledger::{Drift, InUse};
use super::refusals;
use crate::runtime::Cx;

/// What decides on a switch beside its own rows.
pub(super) struct Site<'a> {
    switch: &'a Object<Switch>,
    in_use: &'a InUse,
    managed: Managed,
    is_edge: bool,
    /// See [`refusals::asked`].
    asked: i64,
}

impl<'a> Site<'a> {
    pub(super) fn new(cx: &Cx, switch: &'a Object<Switch>, in_use: &'a InUse, asked: i64) -> Self {
        let range = cx.config.fabric.vlan_range;
        let mut also: BTreeSet<VlanId> = [cx.config.fabric.isolation_vlan].into();
        also.extend(cx.config.provisioning.as_ref().map(|it| it.vlan));
        also.extend(&in_use.held);
        also.extend(&in_use.wanted);
        let managed = Managed { range: Some((range.first, range.last)), also };
        Self { switch, in_use, managed, is_edge: cx.is_edge(switch), asked }
    }
}

/// What is wanted of the switch.
pub(super) fn render(site: &Site<'_>, rows: &[Object<SwitchPort>]) -> SwitchWanted {
    let switch = site.switch;
    let mut out = SwitchWanted { managed: site.managed.clone(), create_missing: site.is_edge, ..SwitchWanted::default() };
    // A port of the ledger that is declared as an uplink too stays what the ledger wants until nobody holds it: a machine is there.
    let mut uplinks = super::names::uplinks(switch);
    uplinks.retain(|it| !rows.iter().any(|row| row.desired.port == *it));
    for row in rows {
        let port = &row.desired.port;
        if site.is_edge && is_left_over(row) {
            out.remove.insert(port.clone());
            continue;
        }
        if let Some(has_lacp) = row.desired.lag {
            if row.desired.wanted == PortUse::Isolated && row.desired.holder.is_none() {
                // A group that nobody holds is taken away; its row goes once it is.
                continue;
            }
            out.lags.insert(port.clone(), if has_lacp { LagProtocol::Lacp } else { LagProtocol::Static });
        }
        if refusals::is_left_out(row, site.asked) {
            continue;
        }
        let description = if switch.desired.describe { description(row) } else { String::new() };
        out.ports.insert(port.clone(), PortWanted { mode: mode(&row.desired.wanted), description });
    }
    let carried: BTreeSet<VlanId> = rows.iter().flat_map(|row| row.desired.wanted.vlans()).collect();
    let through = if uplinks.is_empty() { BTreeSet::new() } else { site.in_use.wanted.clone() };
    out.uplinks.extend(uplinks.into_iter().map(|uplink| (uplink, site.in_use.wanted.clone())));
    for vlan in carried.union(&through) {
        let name = site.in_use.names.get(vlan).cloned().unwrap_or_else(|| format!("{MARK}-{vlan}"));
        let vni = site.in_use.vnis.get(vlan).copied().filter(|_| switch.desired.overlay.is_some());
        out.vlans.insert(*vlan, VlanWanted { name, vni });
    }
    let isolates = out.ports.values().any(|it| it.mode == PortMode::Isolated);
    if isolates && let Some(isolation) = site.in_use.isolation {
        out.vlans.insert(isolation, VlanWanted { name: format!("{MARK}-isolation"), vni: None });
    }
    out
}

/// The mode that makes a port this.
pub(super) fn mode(wanted: &PortUse) -> PortMode {
    match wanted {
        PortUse::Isolated => PortMode::Isolated,
        PortUse::Access(vlan) => PortMode::Access(*vlan),
        PortUse::Trunk { native, tagged } => PortMode::Trunk { native: *native, tagged: tagged.clone() },
        PortUse::Member { lag } => PortMode::Member { lag: lag.clone() },
    }
}

/// What a port in this mode is.
pub(super) fn usage(mode: &PortMode) -> PortUse {
    match mode {
        PortMode::Isolated => PortUse::Isolated,
        PortMode::Access(vlan) => PortUse::Access(*vlan),
        PortMode::Trunk { native, tagged } => PortUse::Trunk { native: *native, tagged: tagged.clone() },
        PortMode::Member { lag } => PortUse::Member { lag: lag.clone() },
    }
}

fn description(row: &Object<SwitchPort>) -> String {
    match (&row.desired.holder, &row.desired.wanted) {
        (Some(holder), PortUse::Isolated) => format!("{MARK} quarantine after {}", holder.short()),
        (Some(holder), _) => format!("{MARK} port {}", holder.short()),
        (None, _) => format!("{MARK} isolated"),
    }
}

/// A port of this host's own switch that nobody holds any more and that was proven isolated: it may go. A port that was only just
/// taken under our care is not one; it has never been read.
pub(super) fn is_left_over(row: &Object<SwitchPort>) -> bool {
    row.desired.holder.is_none() && row.generation > 1 && row.observed.seen == Some(PortUse::Isolated)
}

/// Takes out of what is wanted what was changed by somebody else, so that it is left as it is.
pub(super) fn leave_alone(wanted: &mut SwitchWanted, drift: &[Drift]) {
    wanted.ports.retain(|port, _| !drift.iter().any(|it| it.port == *port));
}

/// Whether anything that can be set differs.
pub(super) fn is_to_be_set(wanted: &SwitchWanted, seen: &SwitchSeen, facts: &Facts) -> bool {
    differs(wanted, seen, facts).iter().any(|it| !matches!(it, Difference::Port { seen: SeenMode::Absent, .. }) || wanted.create_missing)
}

/// What is not ours and lies in the way of what is: VLANs that we use and that somebody else declared, or that others' ports carry.
pub(super) fn in_the_way(wanted: &SwitchWanted, seen: &SwitchSeen) -> Vec<String> {
    let mut out = Vec::new();
    for (vlan, it) in seen.vlans.iter().filter(|(vlan, it)| wanted.managed.contains(**vlan) && !it.is_ours()) {
        out.push(format!("VLAN {vlan} is declared as {:?}", it.name.as_deref().unwrap_or_default()));
    }
    let unwanted =
        seen.vlans.iter().filter(|(vlan, it)| wanted.managed.contains(**vlan) && !wanted.vlans.contains_key(vlan) && it.is_ours());
    for (vlan, _) in unwanted {
        if let Some(port) = others_port(wanted, seen, *vlan) {
            out.push(format!("VLAN {vlan} is declared, nobody wants it, and port {port} carries it"));
        }
    }
    let ours: BTreeMap<&String, ()> = wanted.ports.keys().chain(wanted.uplinks.keys()).map(|port| (port, ())).collect();
    for (port, it) in seen.ports.iter().filter(|(port, _)| !ours.contains_key(port)) {
        if let SeenMode::Known(mode) = &it.mode {
            let vlans = mode.vlans();
            // One that carries all VLANs is an uplink that nobody told us of.
            let of_ours: Vec<String> =
                vlans.iter().filter(|vlan| wanted.vlans.contains_key(*vlan)).map(ToString::to_string).take(8).collect();
            if !of_ours.is_empty() && *mode != PortMode::Isolated {
                out.push(format!("port {port} is not ours and carries VLAN {}", of_ours.join(", ")));
            }
        }
    }
    out.truncate(super::SHOWN);
    out
}

#[cfg(test)]
mod tests {
    use model::fabric::{SwitchDesired, SwitchPortDesired};
    use model::{Id, Timestamp};

    use super::*;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn row(switch: &str, port: &str, wanted: PortUse) -> Object<SwitchPort> {
        let switch = Id::parse(switch).unwrap();
        let id = SwitchPortDesired::id_of(&switch, port);
        let since = Timestamp(0);
        Object::new(id, None, "", SwitchPortDesired { switch, port: port.into(), wanted, holder: None, since, lag: None, forced: None })
    }

    fn leaf() -> Object<Switch> {
        let desired = SwitchDesired { uplinks: ["up".to_owned()].into(), ..SwitchDesired::default() };
        Object::new(Id::parse("leaf1").unwrap(), None, "leaf1", desired)
    }

    #[test]
    fn uplinks_carry_exactly_what_is_wanted_anywhere() {
        let leaf = leaf();
        let in_use = InUse { wanted: [vlan(100), vlan(101)].into(), isolation: Some(vlan(4094)), ..InUse::default() };
        let site = Site { switch: &leaf, in_use: &in_use, managed: Managed::default(), is_edge: false, asked: 0 };
        let rows = [row("leaf1", "p1", PortUse::Access(vlan(100))), row("leaf1", "p2", PortUse::Isolated)];
        let wanted = render(&site, &rows);
        assert_eq!(wanted.uplinks["up"], [vlan(100), vlan(101)].into());
        assert_eq!(wanted.ports["p1"].mode, PortMode::Access(vlan(100)));
        assert_eq!(wanted.ports["p2"].mode, PortMode::Isolated);
        assert_eq!(wanted.ports.len(), 2, "a port without a row is never named");
        assert_eq!(wanted.vlans.keys().copied().collect::<Vec<_>>(), [vlan(100), vlan(101), vlan(4094)]);
    }

    #[test]
    fn a_port_of_the_ledger_is_no_uplink_whatever_is_declared() {
        let leaf = leaf();
        let in_use = InUse { wanted: [vlan(100), vlan(101)].into(), ..InUse::default() };
        let site = Site { switch: &leaf, in_use: &in_use, managed: Managed::default(), is_edge: false, asked: 0 };
        let wanted = render(&site, &[row("leaf1", "up", PortUse::Access(vlan(100)))]);
        assert_eq!(wanted.ports["up"].mode, PortMode::Access(vlan(100)));
        assert!(wanted.uplinks.is_empty());
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
