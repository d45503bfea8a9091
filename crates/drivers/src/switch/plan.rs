//! From differences to changes, in an order that never joins two holders on the way.

use std::collections::BTreeSet;

use model::net::VlanId;

use super::wanted::{Difference, Facts, LagProtocol, PortMode, SeenMode, SwitchSeen, SwitchWanted, Vni, differs};

/// One thing to do on a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a port or group carry this and nothing else, whatever it carried: every trace of another mode is cleared (tagged VLANs of
    /// a former trunk, a native VLAN, membership), and it is set up or down as the mode says.
    SetPort {
        /// The port's name on the switch.
        port: String,
        /// What it is to carry.
        mode: PortMode,
        /// What it was seen to carry.
        seen: SeenMode,
    },
    /// Write a description; it contains printable ASCII without quotation marks only.
    Describe {
        /// The port's name on the switch.
        port: String,
        /// The text.
        text: String,
    },
    /// Change what an uplink carries tagged; what is not named stays. An uplink that was not a trunk yet becomes one of just `add`.
    Uplink {
        /// The port's name on the switch.
        port: String,
        /// VLANs to carry more.
        add: BTreeSet<VlanId>,
        /// VLANs to carry no longer.
        remove: BTreeSet<VlanId>,
        /// What it was seen to carry.
        seen: SeenMode,
    },
    /// Declare a VLAN, or rename the one that is there.
    AddVlan {
        /// The VLAN.
        vlan: VlanId,
        /// Its name, where VLANs have names.
        name: String,
    },
    /// Map a declared VLAN to a VXLAN network.
    MapVni {
        /// The VLAN.
        vlan: VlanId,
        /// The network.
        vni: Vni,
    },
    /// Take the mapping of a VLAN away.
    UnmapVni {
        /// The VLAN.
        vlan: VlanId,
        /// The network.
        vni: Vni,
    },
    /// Take a declared VLAN away. Its mapping, if any, was taken away before.
    RemoveVlan {
        /// The VLAN.
        vlan: VlanId,
        /// Its name as seen, for switches on which the name is the key.
        name: Option<String>,
    },
    /// Make a group without members, or change its protocol. It bears our mark as description.
    AddLag {
        /// The group's name on the switch.
        lag: String,
        /// How its links find together.
        protocol: LagProtocol,
    },
    /// Take a group away; no member is left in it.
    RemoveLag {
        /// The group's name on the switch.
        lag: String,
    },
}

/// What is to be done on a switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The changes, in the order in which they are to be made where they take effect one by one.
    pub changes: Vec<Change>,
    /// Whether the configuration is to be saved; also true if there is nothing to change but what is there was not saved.
    pub save: bool,
    /// What cannot be made so and stays a difference: ports that the switch does not have.
    pub impossible: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.save
    }
}

/// Plans the way from what was seen to what is wanted. Ports are isolated first, then uplinks let go, then declarations are made, then
/// ports are opened, then uplinks take up, and last goes what nobody wants. Pure.
///
/// # Errors
/// What may never be asked for: the isolation VLAN as a port's VLAN or on a trunk, a group or a mapping on a switch that has none, a
/// group that is somebody else's.
pub fn plan(wanted: &SwitchWanted, seen: &SwitchSeen, facts: &Facts, isolation: VlanId) -> Result<Plan, String> {
    check(wanted, facts, isolation)?;
    // One without our mark and without others' links may be ours, broken off before it got the mark.
    for (lag, _) in seen.lags.iter().filter(|(lag, it)| wanted.lags.contains_key(*lag) && !it.is_ours) {
        let is_member = |it: &SeenMode| matches!(it, SeenMode::Known(PortMode::Member { lag: of }) if of == lag);
        if let Some((port, _)) = seen.ports.iter().find(|(port, it)| is_member(&it.mode) && !wanted.ports.contains_key(*port)) {
            return Err(format!("the group {lag} is there and is not ours: {port} is in it"));
        }
    }
    let differences = differs(wanted, seen, facts);
    // What cannot be made so is no reason to save again and again.
    let is_impossible = |it: &Difference| match it {
        Difference::Port { port, seen: SeenMode::Absent, .. } => !wanted.lags.contains_key(port),
        Difference::Port { port, seen: SeenMode::Known(PortMode::Member { .. }), .. } => wanted.uplinks.contains_key(port),
        _ => false,
    };
    let mut out = Plan { save: facts.saves && !differences.iter().all(is_impossible), ..Plan::default() };
    let (mut first, mut isolate, mut let_go, mut declare, mut close, mut open, mut take_up, mut last) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for it in differences {
        match it {
            Difference::Port { port, seen: SeenMode::Absent, .. } if !wanted.lags.contains_key(&port) => {
                out.impossible.push(format!("it has no port {port}"));
            }
            Difference::Port { wanted: None, .. } | Difference::Unsaved { .. } => {}
            Difference::Port { port, seen: SeenMode::Known(PortMode::Member { lag }), .. } if wanted.uplinks.contains_key(&port) => {
                out.impossible.push(format!("uplink {port} is a member of the group {lag}: that is the uplink"));
            }
            Difference::Port { port, wanted: Some(PortMode::Trunk { tagged, .. }), seen } if wanted.uplinks.contains_key(&port) => {
                take_up.push(Change::Uplink { port, add: tagged, remove: BTreeSet::new(), seen });
            }
            Difference::Port { port, wanted: Some(mode), seen } => {
                let list = match (&mode, &seen) {
                    // A group that is not there yet cannot be isolated before it is made.
                    (PortMode::Isolated, SeenMode::Absent) => &mut close,
                    (PortMode::Isolated, _) => &mut isolate,
                    _ => &mut open,
                };
                list.push(Change::SetPort { port, mode, seen });
            }
            Difference::Description { port, wanted } => last.push(Change::Describe { port, text: wanted }),
            Difference::Uplink { port, missing, surplus } => {
                let mode = seen.mode(&port).clone();
                if !surplus.is_empty() {
                    let_go.push(Change::Uplink { port: port.clone(), add: BTreeSet::new(), remove: surplus, seen: mode.clone() });
                }
                if !missing.is_empty() {
                    take_up.push(Change::Uplink { port, add: missing, remove: BTreeSet::new(), seen: mode });
                }
            }
            Difference::Vlan { vlan, wanted: Some(wanted), seen } => {
                let found = seen.as_ref().filter(|it| it.running);
                let named = found.is_some_and(|it| it.name.as_ref().is_none_or(|name| *name == wanted.name || !it.is_ours()));
                if found.is_none() || !named {
                    // The isolation VLAN is there before a port is put into it.
                    if vlan == isolation { &mut first } else { &mut declare }.push(Change::AddVlan { vlan, name: wanted.name });
                }
                let half = found.and_then(|it| it.half);
                let mapped = found.and_then(|it| it.vni).or(half);
                if mapped != wanted.vni {
                    declare.extend(mapped.map(|vni| Change::UnmapVni { vlan, vni }));
                }
                if mapped != wanted.vni || half.is_some() {
                    declare.extend(wanted.vni.map(|vni| Change::MapVni { vlan, vni }));
                }
            }
            Difference::Vlan { vlan, wanted: None, seen } => {
                let Some(found) = seen.filter(|it| it.running) else { continue };
                last.extend(found.vni.or(found.half).map(|vni| Change::UnmapVni { vlan, vni }));
                last.push(Change::RemoveVlan { vlan, name: found.name });
            }
            Difference::Lag { lag, wanted: Some(protocol) } => declare.push(Change::AddLag { lag, protocol }),
            Difference::Lag { lag, wanted: None } => last.push(Change::RemoveLag { lag }),
        }
    }
    // A VLAN that some port would go on carrying, because nothing is to be changed about that port now, stays for that long.
    let is_left = |change: &Change, vlan: VlanId, port: &String| match change {
        Change::SetPort { port: other, .. } => other == port,
        Change::Uplink { port: other, remove, .. } => other == port && remove.contains(&vlan),
        _ => false,
    };
    let changes = [&isolate, &let_go, &close, &open];
    let goes_on = |vlan: VlanId| {
        let carries = |it: &SeenMode| matches!(it, SeenMode::Known(mode) if mode.names(vlan));
        let carried = seen.ports.iter().filter(|(_, it)| carries(&it.mode));
        carried.into_iter().any(|(port, _)| !changes.iter().any(|list| list.iter().any(|change| is_left(change, vlan, port))))
    };
    last.retain(|it| !matches!(it, Change::RemoveVlan { vlan, .. } | Change::UnmapVni { vlan, .. } if goes_on(*vlan)));
    // A port joins a group before the group is opened, else the group opens on fewer links than wanted.
    open.sort_by_key(|it| !matches!(it, Change::SetPort { mode: PortMode::Member { .. }, .. }));
    out.changes = [first, isolate, let_go, declare, close, open, take_up, last].concat();
    Ok(out)
}

fn check(wanted: &SwitchWanted, facts: &Facts, isolation: VlanId) -> Result<(), String> {
    for (port, it) in &wanted.ports {
        if it.mode.vlans().contains(&isolation) {
            return Err(format!("VLAN {isolation} is for isolated ports only, {port} is not one"));
        }
        if let PortMode::Trunk { native: Some(native), tagged } = &it.mode
            && tagged.contains(native)
        {
            return Err(format!("VLAN {native} is both native and tagged on {port}"));
        }
        if matches!(it.mode, PortMode::Member { .. }) && !facts.has_lags {
            return Err(format!("it cannot group links, as {port} is to be"));
        }
        if wanted.uplinks.contains_key(port) {
            return Err(format!("port {port} is an uplink"));
        }
        if wanted.remove.contains(port) {
            return Err(format!("port {port} is both wanted and to be removed"));
        }
    }
    if let Some((port, _)) = wanted.uplinks.iter().find(|(_, vlans)| vlans.contains(&isolation)) {
        return Err(format!("VLAN {isolation} is never carried on a trunk, as on {port}"));
    }
    if !facts.has_vni
        && let Some((vlan, _)) = wanted.vlans.iter().find(|(_, it)| it.vni.is_some())
    {
        return Err(format!("it cannot map VLAN {vlan} to a VXLAN network"));
    }
    if !facts.has_lags
        && let Some(lag) = wanted.lags.keys().next()
    {
        return Err(format!("it cannot group links, as in {lag}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::wanted::{IsolatesBy, LagSeen, PortSeen, PortWanted};

    const FACTS: Facts = Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: false, has_lags: true, saves: true };

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn member(lag: &str) -> PortMode {
        PortMode::Member { lag: lag.into() }
    }

    fn with_group(members: &[&str]) -> SwitchSeen {
        let mut seen = SwitchSeen::default();
        seen.lags.insert("Po24".into(), LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: false });
        for port in ["p1", "p2", "p3"] {
            let mode = if members.contains(&port) { member("Po24") } else { PortMode::Isolated };
            seen.ports.insert(port.into(), PortSeen::from(SeenMode::Known(mode)));
        }
        seen
    }

    #[test]
    fn a_group_with_links_of_others_is_not_taken() {
        let mut wanted = SwitchWanted::default();
        wanted.lags.insert("Po24".into(), LagProtocol::Lacp);
        for port in ["p1", "p2"] {
            wanted.ports.insert(port.into(), PortWanted { mode: member("Po24"), description: String::new() });
        }
        let of = |members: &[&str]| plan(&wanted, &with_group(members), &FACTS, vlan(4094));
        assert!(of(&["p3"]).is_err_and(|why| why.contains("p3")));
        // One that was broken off before it got our mark has no links, or only ours.
        of(&[]).unwrap();
        of(&["p1"]).unwrap();
    }

    #[test]
    fn an_uplink_that_is_in_a_group_is_left_in_it() {
        let mut wanted = SwitchWanted::default();
        wanted.uplinks.insert("p1".into(), [vlan(100)].into());
        let plan = plan(&wanted, &with_group(&["p1"]), &FACTS, vlan(4094)).unwrap();
        assert!(plan.changes.iter().all(|it| !matches!(it, Change::Uplink { .. } | Change::SetPort { .. })), "{plan:?}");
        assert!(plan.impossible.iter().any(|it| it.contains("Po24")), "{plan:?}");
    }

    #[test]
    fn a_vlan_that_somebody_else_uses_is_saved_once_and_then_left_alone() {
        use crate::switch::wanted::{Managed, VlanSeen};
        let managed = Managed { range: Some((vlan(100), vlan(199))), ..Managed::default() };
        let wanted = SwitchWanted { managed, ..SwitchWanted::default() };
        let carries = |vlan| PortSeen::from(SeenMode::Known(PortMode::Access(vlan)));
        for name in [None, Some("cofferdam-0123".to_owned())] {
            let mut seen = SwitchSeen::default();
            seen.vlans.insert(vlan(120), VlanSeen { name, running: true, saved: false, ..VlanSeen::default() });
            seen.ports.insert("p9".into(), carries(vlan(120)));
            let of = |wanted: &SwitchWanted, seen: &SwitchSeen| plan(wanted, seen, &FACTS, vlan(4094)).unwrap();
            assert_eq!(of(&wanted, &seen), Plan { save: true, ..Plan::default() });
            seen.vlans.get_mut(&vlan(120)).unwrap().saved = true;
            assert_eq!(of(&wanted, &seen), Plan::default());
            assert_eq!(differs(&wanted, &seen, &FACTS), []);

            // When nobody uses it any more, it goes.
            seen.ports.clear();
            let plan = of(&wanted, &seen);
            assert!(plan.save && matches!(plan.changes[..], [Change::RemoveVlan { .. }]), "{plan:?}");
        }
    }

    #[test]
    fn half_a_map_is_completed_or_taken_away() {
        use crate::switch::wanted::{Managed, VlanSeen, VlanWanted, Vni};
        let facts = Facts { has_vni: true, ..FACTS };
        let (one, other) = (Vni::new(5001).unwrap(), Vni::new(5002).unwrap());
        let managed = Managed { range: Some((vlan(100), vlan(199))), ..Managed::default() };
        let mut wanted = SwitchWanted { managed, ..SwitchWanted::default() };
        let mut seen = SwitchSeen::default();
        let name = || "cofferdam-1".to_owned();
        let half = VlanSeen { name: Some(name()), vni: None, half: Some(one), running: true, saved: true };
        seen.vlans.insert(vlan(120), half);
        let mut changes = |vni: Option<Option<Vni>>| {
            wanted.vlans = vni.map(|vni| (vlan(120), VlanWanted { name: name(), vni })).into_iter().collect();
            assert!(!differs(&wanted, &seen, &facts).is_empty(), "{vni:?}");
            plan(&wanted, &seen, &facts, vlan(4094)).unwrap().changes
        };
        let (map, unmap) = (|vni| Change::MapVni { vlan: vlan(120), vni }, Change::UnmapVni { vlan: vlan(120), vni: one });
        assert_eq!(changes(Some(Some(one))), [map(one)]);
        assert_eq!(changes(Some(Some(other))), [unmap.clone(), map(other)]);
        assert_eq!(changes(Some(None)), std::slice::from_ref(&unmap));
        assert_eq!(changes(None), [unmap, Change::RemoveVlan { vlan: vlan(120), name: Some(name()) }]);
    }
}
