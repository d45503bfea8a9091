//! Switches and their ports: the ledger of what each switch port is for and what was read back of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::net::{LocalLink, Port, VlanId};
use crate::{Column, Id, Kind, Timestamp};

/// A switch, declared in the configuration; its id is its name.
pub enum Switch {}
/// A port of a switch that we own. A switch port without a row is not ours and is never touched.
pub enum SwitchPort {}

/// What is wanted of a [`Switch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwitchDesired {
    /// The switch's MAC address as machines name it in `local_link_connection`, lower case.
    pub switch_id: String,
    /// Ports to other switches, which carry the VLANs in use.
    pub uplinks: BTreeSet<String>,
}

/// What was seen of a [`Switch`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwitchObserved {
    /// When the switch was last read in full, taken before the reading began.
    pub read_at: Option<Timestamp>,
    /// Every VLAN present on it then, on ports of ours or not.
    pub vlans: BTreeSet<VlanId>,
    /// The VLANs that all its uplinks carried then; `None` if it has no uplink.
    pub uplink_vlans: Option<BTreeSet<VlanId>>,
    /// Why the last attempt failed; empty if it did not.
    pub fault: String,
    /// How often a read-back differed from what was wanted and had been there before.
    pub drifts: u64,
    /// The last such difference.
    pub last_drift: String,
}

/// What a switch port is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortUse {
    /// Reaches nobody.
    Isolated,
    /// One VLAN, untagged.
    Access(VlanId),
}

/// What is wanted of a [`SwitchPort`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwitchPortDesired {
    /// The switch.
    pub switch: Id<Switch>,
    /// The port's name on it.
    pub port: String,
    /// What it is to be.
    pub wanted: PortUse,
    /// The port that holds it. A port that lets go stays the holder until the switch port was read back as isolated: until
    /// then it is in quarantine and nobody else can have it.
    pub holder: Option<Id<Port>>,
    /// When `wanted` last changed.
    pub since: Timestamp,
}

impl SwitchPortDesired {
    /// The id of the switch port of that name.
    pub fn id_of(switch: &Id<Switch>, port: &str) -> Id<SwitchPort> {
        Id::derived(&format!("switch-port/{switch}/{port}"))
    }
}

/// What was seen of a [`SwitchPort`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwitchPortObserved {
    /// What it was when last read; `None`: never read, absent, or nothing we know.
    pub seen: Option<PortUse>,
    /// The generation of `desired` that was in force when the reading began.
    pub generation: i64,
    /// When the reading began.
    pub read_at: Option<Timestamp>,
    /// What was read, if it is nothing we know.
    pub note: String,
}

/// One switch port with the facts a decision needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// When the reading that proves it began.
    pub read_at: Timestamp,
}

impl crate::Object<SwitchPort> {
    /// Proof that the switch port is what is wanted now: a reading that began after the last change of mind and saw it so.
    pub fn proof(&self) -> Option<Proof> {
        let read_at = self.observed.read_at?;
        let holds = self.observed.generation == self.generation && self.observed.seen.as_ref() == Some(&self.desired.wanted);
        holds.then_some(Proof { read_at })
    }

    /// Whether it was let go but is not yet proven isolated.
    pub fn in_quarantine(&self) -> bool {
        self.desired.wanted == PortUse::Isolated && self.proof().is_none()
    }

    /// Whether nobody holds it and it is proven isolated.
    pub fn is_free(&self) -> bool {
        self.desired.holder.is_none() && self.desired.wanted == PortUse::Isolated && self.proof().is_some()
    }
}

/// Finds the switch a cable end names: by `switch_info` = name, else by `switch_id`.
pub fn find_switch<'a>(switches: &'a [crate::Object<Switch>], link: &LocalLink) -> Option<&'a crate::Object<Switch>> {
    let by_name = link.switch_info.as_deref().and_then(|name| switches.iter().find(|it| it.id.as_str() == name));
    by_name.or_else(|| {
        let id = link.switch_id.to_ascii_lowercase();
        switches.iter().find(|it| !id.is_empty() && it.desired.switch_id == id)
    })
}

impl Kind for Switch {
    const NAME: &'static str = "switch";
    type Desired = SwitchDesired;
    type Observed = SwitchObserved;
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for SwitchPort {
    const NAME: &'static str = "switch_port";
    type Desired = SwitchPortDesired;
    type Observed = SwitchPortObserved;
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "switch", value: |it| Some(it.desired.switch.to_string()) },
        Column { name: "holder", value: |it| it.desired.holder.as_ref().map(ToString::to_string) },
    ];
}
