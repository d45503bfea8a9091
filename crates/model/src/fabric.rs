//! Switches and their ports: the ledger of what each switch port is for and what was read back of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::net::{LocalLink, NetworkType, Port, Segment, VlanId};
use crate::{Column, Id, Kind, Link, Timestamp};

/// A switch, declared in the configuration; its id is its name.
pub enum Switch {}
/// A port of a switch that we own. A switch port without a row is not ours and is never touched.
pub enum SwitchPort {}

/// The kinds of switches that can be driven: the names of drivers. Kept equal to the drivers' own list by a test.
pub const DRIVERS: &[&str] = &[
    "arista_eos",
    "aruba_aoscx",
    "cisco_ios",
    "cisco_nxos",
    "cumulus_nvue",
    "dell_os10",
    "frr_linux",
    "gnmi_openconfig",
    "hpe_comware",
    "huawei_vrp",
    "juniper_junos",
    "mellanox_mlnxos",
    "netconf_openconfig",
    "nokia_srl",
    "ovs_ssh",
    "ovsdb",
    "sonic",
];

/// Who declared a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Declared {
    /// The configuration file of this control plane.
    #[default]
    File,
    /// An operator, by the API.
    Api,
    /// The configuration file once did and does no more: it is not touched, its ports stay as they are and in the ledger.
    Withdrawn,
}

/// What becomes of a switch that was changed behind our back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftPolicy {
    /// It is set right.
    #[default]
    Repair,
    /// It is shown, and what was changed is left until somebody decides. New wishes are carried out.
    Report,
}

/// How a switch carries VLANs in VXLAN networks (EVPN).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverlayDesired {
    /// The tunnel interface; empty: the usual one of its operating system.
    pub vtep: String,
    /// The number of its autonomous system, for route targets.
    pub bgp_as: u32,
}

/// What is wanted of a [`Switch`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwitchDesired {
    /// The switch's MAC address as machines name it in `local_link_connection`, lower case.
    pub switch_id: String,
    /// Ports to other switches, which carry the VLANs in use.
    pub uplinks: BTreeSet<String>,
    /// Who declared it.
    pub declared: Declared,
    /// How it is driven: one of [`DRIVERS`].
    pub driver: String,
    /// Where it is, in the driver's spelling.
    pub endpoint: String,
    /// The bridge whose ports are managed, where there are several; empty: the usual one.
    pub bridge: String,
    /// Who logs in.
    pub username: String,
    /// Secrets by the name of their field (`password`, `private_key`, `enable_password`, `key`), each sealed by the control plane's
    /// keys. Those of the configuration file are not here.
    pub sealed: BTreeMap<String, String>,
    /// The fingerprint of its SSH host key, `SHA256:…`; `None`: see `trust_on_first_use`.
    pub host_key: Option<String>,
    /// Whether the first host key seen is taken for its own.
    pub trust_on_first_use: bool,
    /// The certificate authority of its TLS certificate, PEM.
    pub ca: Option<String>,
    /// Our own certificate, PEM.
    pub certificate: Option<String>,
    /// How it carries VLANs in VXLAN networks; `None`: not.
    pub overlay: Option<OverlayDesired>,
    /// What becomes of changes that nobody asked us for.
    pub drift: DriftPolicy,
    /// Whether the descriptions of our ports on it are written.
    pub describe: bool,
    /// What operators noted about its ports, by their names: kept here, since what is wanted of a port does not change by a note, and
    /// its proof stands.
    pub notes: BTreeMap<String, String>,
    /// Whether it is only read: what would be changed is shown, and nothing is written. How a running switch is taken over.
    pub read_only: bool,
    /// Whether it is not to be touched for now: its ports stay as they are, and nothing new is believed of them.
    pub paused: bool,
}

impl SwitchDesired {
    /// Which device this is, as far as the declaration tells.
    pub fn read_as(&self) -> String {
        format!("{} {} {}", self.driver, self.endpoint, self.bridge)
    }

    /// Whether it is spoken to at all.
    pub fn is_managed(&self) -> bool {
        self.declared != Declared::Withdrawn && !self.paused
    }
}

/// What was seen of a [`Switch`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwitchObserved {
    /// When the switch was last read in full, taken before the reading began.
    pub read_at: Option<Timestamp>,
    /// Which device that was, as it was declared then: see [`SwitchDesired::read_as`].
    pub read_as: String,
    /// The number of that reading: each has its own, and proofs name it.
    pub reading: u64,
    /// Every VLAN of which something was left on it then: frames on ports of ours or not, now or after a restart, and our declarations.
    pub vlans: BTreeSet<VlanId>,
    /// The VLANs that all its uplinks carried then; `None` if it has no uplink.
    pub uplink_vlans: Option<BTreeSet<VlanId>>,
    /// The VXLAN networks that its VLANs were mapped to then, now or after a restart.
    pub vnis: BTreeMap<VlanId, u32>,
    /// The VXLAN networks of which half a map was left on it then.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub half_vnis: BTreeSet<u32>,
    /// Whether a restart would have brought some VLAN of ours up otherwise than it was then.
    pub unsaved: bool,
    /// Whether a change had been broken off before, so that what was read then may not last.
    pub unsettled: bool,
    /// Why the last attempt failed; empty if it did not.
    pub fault: String,
    /// How often in a row it failed.
    pub failures: u32,
    /// It is not tried again before this: its circuit breaker is open.
    pub retry_at: Option<Timestamp>,
    /// What differs from what is wanted, in words, as of the last reading.
    pub differences: Vec<String>,
    /// What is on it that is not ours and lies in the way of what is, in words.
    pub foreign: Vec<String>,
    /// The groups of links on it that are not ours, by name.
    pub others_lags: BTreeSet<String>,
    /// How often a read-back differed from what was wanted and had been there before.
    pub drifts: u64,
    /// The last such difference.
    pub last_drift: String,
    /// When that was.
    pub drifted_at: Option<Timestamp>,
    /// How often in a row it was found changed soon after it was set right: somebody else sets it too.
    pub contested: u32,
    /// How often it was changed (commits) since it was declared.
    pub commits: u64,
    /// Whether a change was begun and not seen to end: what was sent may still come into force.
    pub writing: bool,
    /// How many changes were begun.
    pub begun: u64,
    /// How many of them ended in an orderly way: the switch said what came of it.
    pub ended: u64,
    /// Who began such changes and was not seen to stop, as workers call themselves; empty if nobody. Only that worker itself knows whether
    /// it has stopped: to others it may be stuck and send more. Of several it is [`SwitchObserved::SEVERAL`].
    pub writer: String,
    /// How often it did not answer, to anybody.
    pub silences: u64,
    /// How long the last change took, in milliseconds.
    pub commit_ms: u64,
    /// The SSH host key that was taken on first use.
    pub host_key: Option<String>,
}

impl SwitchObserved {
    /// Whoever looks at the row is not the one who began all changes of it.
    pub const SEVERAL: &str = "several";

    /// A change was begun by that worker.
    pub fn begin(&mut self, worker: &str) {
        self.writing = true;
        self.begun += 1;
        let is_other = !self.writer.is_empty() && self.writer != worker;
        self.writer = if is_other { Self::SEVERAL } else { worker }.to_owned();
    }

    /// That worker sends nothing more of what it began.
    pub fn stopped(&mut self, worker: &str) {
        if self.writer == worker {
            self.writer.clear();
        }
    }

    /// Whether another than that worker may still be sending what it began.
    pub fn may_be_written_by_others(&self, worker: &str) -> bool {
        self.writing && !self.writer.is_empty() && self.writer != worker
    }
}

/// What of a segment can be left on switches after its network let it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// A VLAN: on any switch.
    Vlan(VlanId),
    /// A VXLAN network that VLANs are mapped to: on switches with an overlay.
    Vni(u32),
}

impl Trace {
    /// What a segment leaves on switches of that fabric; none if they never carry it.
    pub fn of(segment: &Segment, physical_network: &str) -> Option<Self> {
        match segment.network_type {
            NetworkType::Vlan if segment.physical_network.as_deref() == Some(physical_network) => segment.vlan_id().map(Self::Vlan),
            NetworkType::Vxlan => segment.segmentation_id.map(Self::Vni),
            _ => None,
        }
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Vlan(vlan) => write!(f, "VLAN {vlan}"),
            Self::Vni(vni) => write!(f, "VNI {vni}"),
        }
    }
}

impl crate::Object<Switch> {
    /// Whether VLANs of it are or may be mapped to that VXLAN network.
    pub fn may_map(&self, vni: u32) -> bool {
        let is_ours = self.desired.declared != Declared::Withdrawn;
        is_ours && (self.desired.overlay.is_some() || self.has_left(vni))
    }

    /// Whether a map to that VXLAN network, or half of one, was read on it.
    fn has_left(&self, vni: u32) -> bool {
        self.observed.vnis.values().any(|it| *it == vni) || self.observed.half_vnis.contains(&vni)
    }

    /// Whether it is still to be read without that, which was let go at that time.
    ///
    /// All three moments are of the clock that all replicas share: now, the reading's and that of letting go.
    pub fn owes(&self, trace: Trace, since: Timestamp, now: Timestamp) -> bool {
        let seen = &self.observed;
        // A reading in the future is one of before the clock was set back.
        let is_proof = seen.read_at.is_some_and(|at| at > since && at <= now) && !seen.unsettled;
        self.desired.declared != Declared::Withdrawn
            && match trace {
                Trace::Vlan(vlan) => !is_proof || seen.vlans.contains(&vlan),
                Trace::Vni(vni) => self.may_map(vni) && (!is_proof || seen.unsaved || self.has_left(vni)),
            }
    }
}

/// What a switch port is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortUse {
    /// Reaches nobody.
    Isolated,
    /// One VLAN, untagged.
    Access(VlanId),
    /// Several VLANs, tagged, and one untagged.
    Trunk {
        /// The VLAN of untagged frames.
        native: Option<VlanId>,
        /// The VLANs of tagged frames.
        tagged: BTreeSet<VlanId>,
    },
    /// A member of a group of links, which has a row of its own.
    Member {
        /// The group's name on the switch.
        lag: String,
    },
}

impl PortUse {
    /// The VLANs that it carries.
    pub fn vlans(&self) -> BTreeSet<VlanId> {
        match self {
            Self::Isolated | Self::Member { .. } => BTreeSet::new(),
            Self::Access(vlan) => [*vlan].into(),
            Self::Trunk { native, tagged } => native.iter().chain(tagged).copied().collect(),
        }
    }
}

/// An operator's word in place of a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// Who said it: the user's id.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
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
    /// Whether it is a group of links rather than one: LACP if true, without a protocol if false.
    #[serde(default)]
    pub lag: Option<bool>,
    /// Taken for isolated on an operator's word since then; void once `wanted` changes.
    #[serde(default)]
    pub forced: Option<Forced>,
}

impl SwitchPortDesired {
    /// The id of the switch port of that name.
    pub fn id_of(switch: &Id<Switch>, port: &str) -> Id<SwitchPort> {
        Id::derived(&format!("switch-port/{switch}/{port}"))
    }

    /// Changes what it is to be.
    pub fn turn(&mut self, wanted: PortUse) {
        self.wanted = wanted;
        self.since = Timestamp::now();
        self.forced = None;
    }
}

/// What was seen of a [`SwitchPort`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwitchPortObserved {
    /// What it was when last read; `None`: never read, absent, nothing we know, or not saved.
    pub seen: Option<PortUse>,
    /// The generation of `desired` that was in force when the reading began.
    pub generation: i64,
    /// When the reading began.
    pub read_at: Option<Timestamp>,
    /// The number of the reading, as its switch counts them.
    pub reading: u64,
    /// What was read, if it is nothing we know.
    pub note: String,
    /// The generation of `desired` of which it was proven last that it is so: one that is and is not so now was changed by somebody else.
    pub proven: i64,
    /// Why the switch does not take what is wanted, if it does not; it is not asked again until that or the switch changes, an operator
    /// turns to it, or some time passed.
    pub refused: String,
    /// When it was refused; `None` once it is to be asked again.
    pub refused_at: Option<Timestamp>,
    /// What the switch was like when it refused, as a number that another state does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_of: Option<u64>,
    /// How often in a row it refused that.
    #[serde(skip_serializing_if = "is_none")]
    pub refusals: u32,
    /// How often operators had turned to the switch by then.
    #[serde(skip_serializing_if = "is_none")]
    pub refused_asked: i64,
}

fn is_none<T: Default + PartialEq>(it: &T) -> bool {
    *it == T::default()
}

/// One switch port with the facts a decision needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// When the reading that proves it began.
    pub read_at: Timestamp,
    /// The number of that reading.
    pub reading: u64,
}

/// Where a switch port is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Proven isolated, and nobody's.
    Free,
    /// Somebody holds it, proven as wanted.
    Held,
    /// Somebody holds it, not proven yet.
    Pending,
    /// Let go, not proven isolated yet: nobody can have it.
    Quarantine,
}

impl PortState {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Free, Self::Held, Self::Pending, Self::Quarantine];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Quarantine => "quarantine",
        }
    }
}

impl crate::Object<SwitchPort> {
    /// Proof that the switch port is what is wanted now: a reading that began after the last change of mind and saw it so.
    pub fn proof(&self) -> Option<Proof> {
        let seen = &self.observed;
        let holds = seen.generation == self.generation && seen.seen.as_ref() == Some(&self.desired.wanted);
        holds.then_some(Proof { read_at: seen.read_at?, reading: seen.reading })
    }

    /// Whether an operator's word stands in for a proof. Once there was one, it alone counts; and a later reading that shows the port
    /// carrying something makes the word void.
    pub fn is_forced(&self) -> bool {
        let seen = &self.observed;
        let Some(forced) = self.desired.forced.as_ref().filter(|_| seen.proven != self.generation) else { return false };
        let is_later = seen.generation == self.generation && seen.read_at.is_some_and(|at| at > forced.at);
        !(is_later && seen.seen.as_ref().is_some_and(|it| *it != PortUse::Isolated))
    }

    /// Whether it was let go but is not yet proven isolated.
    pub fn in_quarantine(&self) -> bool {
        self.desired.wanted == PortUse::Isolated && self.proof().is_none() && !self.is_forced()
    }

    /// Whether nobody holds it and it is proven isolated, or an operator said so.
    pub fn is_free(&self) -> bool {
        let is_isolated = self.desired.wanted == PortUse::Isolated && (self.proof().is_some() || self.is_forced());
        self.desired.holder.is_none() && is_isolated
    }

    /// Where it is in its life.
    pub fn state(&self) -> PortState {
        match (self.desired.wanted == PortUse::Isolated, self.in_quarantine()) {
            (true, true) => PortState::Quarantine,
            (true, false) => PortState::Free,
            (false, _) if self.proof().is_some() => PortState::Held,
            (false, _) => PortState::Pending,
        }
    }
}

/// The pool in which the names of a switch's groups of links of ours are held; the holder of one is the switch port of that name.
pub fn lag_pool(switch: &Id<Switch>) -> String {
    format!("lag:{switch}")
}

/// The counter of how often operators asked for the switch to be read.
pub fn reads_asked(switch: &Id<Switch>) -> String {
    format!("reads-asked:{switch}")
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
    const LINKS: &'static [Link<Self>] =
        &[Link { name: "vlan", values: |it| it.desired.wanted.vlans().iter().map(ToString::to_string).collect() }];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;
    use crate::net::NetworkDesired;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn switch(overlay: bool) -> Object<Switch> {
        let overlay = overlay.then(OverlayDesired::default);
        Object::new(Id::parse("leaf1").unwrap(), None, "leaf1", SwitchDesired { overlay, ..SwitchDesired::default() })
    }

    #[test]
    fn what_was_let_go_is_owed_until_it_was_read_to_be_gone() {
        let since = Timestamp(1_000);
        let mut it = switch(true);
        for trace in [Trace::Vlan(vlan(100)), Trace::Vni(5000)] {
            it.observed = SwitchObserved::default();
            assert!(it.owes(trace, since, Timestamp::now()), "never read");
            it.observed.read_at = Some(since);
            assert!(it.owes(trace, since, Timestamp::now()), "read before");
            it.observed.read_at = Some(Timestamp(1_001));
            assert!(!it.owes(trace, since, Timestamp::now()), "read without it");
            it.observed.unsettled = true;
            assert!(it.owes(trace, since, Timestamp::now()), "it may come back");
            it.observed.unsettled = false;
            it.observed.vlans.insert(vlan(100));
            it.observed.half_vnis.insert(5000);
            assert!(it.owes(trace, since, Timestamp::now()), "half of it is there");
            it.observed.half_vnis.clear();
            it.observed.vnis.insert(vlan(100), 5000);
            assert!(it.owes(trace, since, Timestamp::now()), "it is there");
        }
        it.observed.vnis.clear();
        it.observed.unsaved = true;
        assert!(it.owes(Trace::Vni(5000), since, Timestamp::now()), "after a restart it may be mapped");
        it.desired.declared = Declared::Withdrawn;
        assert!(
            !it.owes(Trace::Vni(5000), since, Timestamp::now()) && !it.owes(Trace::Vlan(vlan(100)), since, Timestamp::now()),
            "nobody speaks to it any more"
        );
    }

    #[test]
    fn a_switch_without_overlay_owes_no_vni_unless_it_was_seen_there() {
        let mut it = switch(false);
        assert!(
            it.owes(Trace::Vlan(vlan(100)), Timestamp(0), Timestamp::now()) && !it.owes(Trace::Vni(5000), Timestamp(0), Timestamp::now())
        );
        it.observed.vnis.insert(vlan(100), 5000);
        assert!(it.owes(Trace::Vni(5000), Timestamp(0), Timestamp::now()) && !it.owes(Trace::Vni(5001), Timestamp(0), Timestamp::now()));
        let text = serde_json::to_string(&it.observed).unwrap();
        assert_eq!(serde_json::from_str::<SwitchObserved>(&text).unwrap(), it.observed);
        let value = serde_json::to_value(&it.observed).unwrap();
        assert_eq!(serde_json::from_value::<SwitchObserved>(value).unwrap(), it.observed);
    }

    #[test]
    fn a_given_vlan_is_what_switches_carry_the_network_by() {
        let mut it = NetworkDesired::new(1450);
        it.segments.push(Segment { network_type: NetworkType::Vxlan, physical_network: None, ..Segment::vlan("", vlan(1)) });
        it.segments[0].segmentation_id = Some(5000);
        assert_eq!((it.vlan_on("physnet1"), it.vni(), it.map_on("physnet1")), (None, Some(5000), None));
        it.dynamic.push(Segment::vlan("physnet1", vlan(100)));
        it.segments.push(Segment::vlan("physnet1", vlan(7)));
        assert_eq!((it.map_on("physnet1"), it.vlan_on("physnet2")), (Some((vlan(100), 5000)), None));
        assert_eq!(Trace::of(&it.segments[0], "physnet1"), Some(Trace::Vni(5000)));
        assert_eq!(Trace::of(&it.dynamic[0], "physnet1"), Some(Trace::Vlan(vlan(100))));
        assert_eq!(Trace::of(&it.dynamic[0], "physnet2"), None);
    }

    #[test]
    fn an_operators_word_counts_until_a_reading_contradicts_it() {
        let switch = Id::parse("leaf1").unwrap();
        let id = SwitchPortDesired::id_of(&switch, "p1");
        let (wanted, since) = (PortUse::Isolated, Timestamp(0));
        let desired = SwitchPortDesired { switch, port: "p1".into(), wanted, holder: None, since, lag: None, forced: None };
        let mut row = Object::<SwitchPort>::new(id, None, "p1", desired);
        let carries = Some(PortUse::Access(VlanId::new(100).unwrap()));
        row.observed =
            SwitchPortObserved { seen: carries.clone(), generation: row.generation, read_at: Some(Timestamp(5)), ..Default::default() };
        assert!(!row.is_free());
        row.desired.forced = Some(Forced { by: "me".into(), reason: "seen with own eyes".into(), at: Timestamp(9) });
        assert!(row.is_free(), "what was read before is what the word is about");
        row.observed.read_at = Some(Timestamp(10));
        assert!(!row.is_free() && row.in_quarantine(), "read afterwards as carrying a VLAN");
        row.observed.seen = None;
        assert!(row.is_free(), "nothing that contradicts");
        row.observed.seen = Some(PortUse::Isolated);
        assert!(row.is_free() && row.proof().is_some());
        // Once proven, the proof alone counts.
        row.observed.proven = row.generation;
        row.observed.seen = carries;
        assert!(!row.is_free());
    }

    #[test]
    fn who_began_a_change_and_was_not_seen_to_stop_may_go_on() {
        let mut seen = SwitchObserved::default();
        seen.begin("one");
        assert!(seen.may_be_written_by_others("two") && !seen.may_be_written_by_others("one"));
        seen.stopped("one");
        assert!(!seen.may_be_written_by_others("two") && seen.writing);
        seen.begin("one");
        seen.begin("two");
        seen.stopped("two");
        assert!(["one", "two", "three"].iter().all(|it| seen.may_be_written_by_others(it)), "the first was not seen to stop");
        assert_eq!(seen.begun, 3);
        assert_eq!(serde_json::from_str::<SwitchObserved>("{}").unwrap(), SwitchObserved::default());
    }
}
