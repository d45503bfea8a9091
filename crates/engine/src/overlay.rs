//! Networks that reach from switch to switch by VXLAN: what is still missing until a port of one reaches the others.

use model::fabric::{PortUse, Switch, SwitchPort};
use model::net::{Network, Port, VlanId, vlan_key};
use model::{Id, Object};
use store::Query;

use crate::runtime::{Cx, Fault};

/// How frames leave a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ways {
    /// In VXLAN networks.
    overlay: bool,
    /// In VLANs, to other switches.
    uplinks: bool,
}

impl Ways {
    fn of(switch: &Object<Switch>) -> Self {
        Self { overlay: switch.desired.overlay.is_some(), uplinks: !switch.desired.uplinks.is_empty() }
    }

    /// Whether the frames of one switch can reach another; `bridged`: some switch has both ways and joins them.
    fn reach(self, other: Self, bridged: bool) -> bool {
        let leaves = |it: Self| it.overlay || it.uplinks;
        (self.overlay && other.overlay) || (self.uplinks && other.uplinks) || (bridged && leaves(self) && leaves(other))
    }

    fn said(self) -> &'static str {
        match (self.overlay, self.uplinks) {
            (true, true) => "an overlay and uplinks",
            (true, false) => "an overlay and no uplinks",
            (false, true) => "uplinks and no overlay",
            (false, false) => "neither an overlay nor uplinks",
        }
    }
}

/// What is missing until a port that was read back with these VLANs on these switches reaches the other members of its networks, as far
/// as that can be known: that VLANs were read to be mapped, and that there is a way at all. Of two members that have none the one that
/// came first keeps its peace.
pub(crate) async fn missing<'a>(
    cx: &Cx,
    port: &Object<Port>,
    ends: impl Iterator<Item = (&'a Object<Switch>, &'a PortUse)>,
) -> Result<Option<String>, Fault> {
    for (switch, usage) in ends {
        for vlan in usage.vlans() {
            let Some(vni) = vni(cx, vlan).await? else { continue };
            if switch.desired.overlay.is_some() && switch.observed.vnis.get(&vlan) != Some(&vni) {
                return Ok(Some(format!("VLAN {vlan} of {} has not been read back as mapped to VNI {vni} yet", switch.id)));
            }
            if let Some(why) = out_of_reach(cx, port, switch, vlan).await? {
                return Ok(Some(why));
            }
        }
    }
    Ok(None)
}

/// The VXLAN that the network has which holds the VLAN.
async fn vni(cx: &Cx, vlan: VlanId) -> Result<Option<u32>, Fault> {
    let fabric = &cx.config.fabric.physical_network;
    let held = cx.store.allocation(&format!("vlan:{fabric}"), &vlan_key(vlan)).await?;
    let Some(id) = held.and_then(|it| Id::<Network>::parse(&it.holder)) else { return Ok(None) };
    let network = cx.store.get(&id).await?;
    Ok(network.and_then(|it| it.desired.map_on(fabric)).filter(|(mapped, _)| *mapped == vlan).map(|(_, vni)| vni))
}

async fn out_of_reach(cx: &Cx, port: &Object<Port>, switch: &Object<Switch>, vlan: VlanId) -> Result<Option<String>, Fault> {
    let switches = cx.store.list(&Query::<Switch>::new()).await?;
    let bridged = switches.iter().any(|it| it.desired.is_managed() && Ways::of(it) == Ways { overlay: true, uplinks: true });
    let here = Ways::of(switch);
    let apart: Vec<&Object<Switch>> = switches.iter().filter(|it| it.id != switch.id && !here.reach(Ways::of(it), bridged)).collect();
    if apart.is_empty() {
        return Ok(None);
    }
    let rows = cx.store.list(&Query::<SwitchPort>::new().linked("vlan", [vlan.to_string()])).await?;
    let age = |row: &Object<SwitchPort>| (row.desired.since, row.id.clone());
    let own = rows.iter().filter(|row| row.desired.switch == switch.id && row.desired.holder.as_ref() == Some(&port.id)).map(age).min();
    let Some(own) = own else { return Ok(None) };
    let older = rows.iter().filter(|row| row.desired.holder.as_ref() != Some(&port.id) && age(row) < own);
    let other = older.filter_map(|row| apart.iter().find(|it| it.id == row.desired.switch)).min_by_key(|it| &it.id);
    Ok(other.map(|other| {
        format!(
            "it cannot reach members of its network on {}: {} has {}, {} has {}",
            other.id,
            switch.id,
            here.said(),
            other.id,
            Ways::of(other).said()
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_meet_where_there_is_one() {
        let [both, overlay, uplinks, none] =
            [(true, true), (true, false), (false, true), (false, false)].map(|(overlay, uplinks)| Ways { overlay, uplinks });
        for bridged in [false, true] {
            for (a, b, expected) in [
                (overlay, overlay, true),
                (uplinks, uplinks, true),
                (overlay, uplinks, bridged),
                (both, overlay, true),
                (both, uplinks, true),
                (none, none, false),
                (none, both, false),
                (none, overlay, false),
            ] {
                assert_eq!((a.reach(b, bridged), b.reach(a, bridged)), (expected, expected), "{a:?} {b:?} {bridged}");
            }
        }
    }
}
