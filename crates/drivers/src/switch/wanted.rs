//! What is wanted of a switch, what was seen of it, and how the two differ: plain values that every driver shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::net::VlanId;

/// What the names and descriptions begin with that Cofferdam gives to things on a switch. What bears another name is not ours.
pub const MARK: &str = "cofferdam";

/// As many VLANs as a port that carries them all has at least, its native one apart.
const ALL_VLANS: usize = 4093;

/// A VXLAN network identifier, 1 to 16777215 (RFC 7348 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

impl Vni {
    /// The identifier, if it is one.
    pub const fn new(id: u32) -> Option<Self> {
        if id >= 1 && id < 1 << 24 { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a switch port (or a link aggregation group) that we own carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMode {
    /// Reaches nobody: untagged in the isolation VLAN, and either *protected* (no other protected port can be reached) or shut,
    /// whichever the switch has; see [`Facts::isolates_by`].
    Isolated,
    /// Untagged in this VLAN only, and up.
    Access(VlanId),
    /// Tagged in these VLANs only, and up. Without a native VLAN untagged frames are dropped. No tagged VLAN and no native one lets
    /// nothing through.
    Trunk {
        /// The VLAN of untagged frames.
        native: Option<VlanId>,
        /// The VLANs of tagged frames; never contains `native`.
        tagged: BTreeSet<VlanId>,
    },
    /// A member of the group of this name; it carries what the group carries.
    Member {
        /// The group's name on the switch.
        lag: String,
    },
}

impl PortMode {
    /// A trunk of tagged VLANs only.
    pub fn tagged(vlans: impl IntoIterator<Item = VlanId>) -> Self {
        Self::Trunk { native: None, tagged: vlans.into_iter().collect() }
    }

    /// Whether the two let the same frames through in the same way: a trunk of nothing but a native VLAN is as an access port, and on some
    /// switches both are configured alike.
    pub fn is_as(&self, other: &Self) -> bool {
        let access = |it: &Self| match it {
            Self::Access(vlan) => Some(*vlan),
            Self::Trunk { native: Some(vlan), tagged } if tagged.is_empty() => Some(*vlan),
            _ => None,
        };
        self == other || access(self).is_some_and(|vlan| access(other) == Some(vlan))
    }

    /// The VLANs that frames of this port are in.
    pub fn vlans(&self) -> BTreeSet<VlanId> {
        match self {
            Self::Isolated | Self::Member { .. } => BTreeSet::new(),
            Self::Access(vlan) => [*vlan].into(),
            Self::Trunk { native, tagged } => native.iter().chain(tagged).copied().collect(),
        }
    }

    /// Whether frames of this port are in the VLAN because somebody said so. A port that carries all VLANs names none.
    pub fn names(&self, vlan: VlanId) -> bool {
        let vlans = self.vlans();
        vlans.len() < ALL_VLANS && vlans.contains(&vlan)
    }
}

/// What a port was seen to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenMode {
    /// Exactly one of the modes that we can ask for.
    Known(PortMode),
    /// Something that we never configure, described for an operator.
    Foreign(String),
    /// The switch has no such port.
    Absent,
}

/// What a port is to be, and what is to be written beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortWanted {
    /// What it carries.
    pub mode: PortMode,
    /// Its description on the switch, beginning with [`MARK`]; empty: the description is nothing of ours. One that somebody else wrote
    /// is left as it is.
    pub description: String,
}

impl From<PortMode> for PortWanted {
    fn from(mode: PortMode) -> Self {
        Self { mode, description: String::new() }
    }
}

/// A VLAN that is to be declared on a switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VlanWanted {
    /// Its name there, beginning with [`MARK`]; at most 31 characters of `[a-z0-9-]`, so that every switch takes it.
    pub name: String,
    /// The VXLAN network it is mapped to.
    pub vni: Option<Vni>,
}

/// How the links of a group find together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LagProtocol {
    /// LACP, active (IEEE 802.1AX).
    Lacp,
    /// None: the members are a group because both ends say so.
    Static,
}

/// Which VLANs of a switch are Cofferdam's: those of the configured range and those that the ledger names one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Managed {
    /// First and last VLAN of the range, both included.
    pub range: Option<(VlanId, VlanId)>,
    /// Others: the isolation VLAN, the provisioning network's, and those that an administrator chose for a network.
    pub also: BTreeSet<VlanId>,
}

impl Managed {
    /// Whether the VLAN is ours.
    pub fn contains(&self, vlan: VlanId) -> bool {
        self.range.is_some_and(|(first, last)| (first..=last).contains(&vlan)) || self.also.contains(&vlan)
    }
}

/// The whole wanted state of what we own on one switch. What is named nowhere in it is never written, with two exceptions, which are
/// ours by their mark: a declared VLAN in `managed` that bears our mark (or no name at all) and is not in `vlans` is removed, and so is
/// a group that bears our mark and is not in `lags`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchWanted {
    /// Ports and groups by their names on the switch.
    pub ports: BTreeMap<String, PortWanted>,
    /// Ports to other switches. Of the VLANs in [`SwitchWanted::managed`] they carry exactly these, tagged; others' VLANs and the native
    /// one are left as they are.
    pub uplinks: BTreeMap<String, BTreeSet<VlanId>>,
    /// VLANs that are to be declared.
    pub vlans: BTreeMap<VlanId, VlanWanted>,
    /// Groups that are to be there; their modes are in `ports`, their members are the ports whose mode is [`PortMode::Member`].
    pub lags: BTreeMap<String, LagProtocol>,
    /// The VLANs that are ours.
    pub managed: Managed,
    /// Whether a port that the bridge does not have yet is added to it (this host's own edge switch).
    pub create_missing: bool,
    /// Ports to take out of the bridge (this host's own edge switch). Only a port that bears our mark is removed.
    pub remove: BTreeSet<String>,
}

/// What was read of one port or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSeen {
    /// What it carries now.
    pub mode: SeenMode,
    /// Its description; empty if it has none.
    pub description: String,
    /// Whether a restart of the switch would bring it up otherwise than it is now: its saved configuration is another.
    pub unsaved: bool,
}

impl From<SeenMode> for PortSeen {
    fn from(mode: SeenMode) -> Self {
        Self { mode, description: String::new(), unsaved: false }
    }
}

/// What was read of a declared VLAN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VlanSeen {
    /// Its name; `None` where it has none or the one that the switch gives by itself.
    pub name: Option<String>,
    /// The VXLAN network it is mapped to.
    pub vni: Option<Vni>,
    /// The VXLAN network of a map of which something is missing, as a change that broke off leaves it: it carries nothing now, and is to be
    /// completed or taken away. `vni` is `None` then.
    pub half: Option<Vni>,
    /// Whether it is declared now; otherwise only the saved configuration has it.
    pub running: bool,
    /// Whether the saved configuration declares it alike.
    pub saved: bool,
}

impl VlanSeen {
    /// Whether it may be renamed and removed, if it is one of the managed.
    pub fn is_ours(&self) -> bool {
        self.name.as_deref().is_none_or(|name| name.starts_with(MARK))
    }
}

/// What was read of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LagSeen {
    /// How its links find together; `None`: in a way that we never configure.
    pub protocol: Option<LagProtocol>,
    /// Whether it bears our mark.
    pub is_ours: bool,
}

/// What was read from a switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchSeen {
    /// Every port and group.
    pub ports: BTreeMap<String, PortSeen>,
    /// Every VLAN that frames of some port can be in, now or after a restart, on ports that are not ours too, shut ones excepted. A port
    /// that carries all VLANs contributes none: it names none.
    pub carried: BTreeSet<VlanId>,
    /// Every declared VLAN. Empty on switches on which VLANs are not declared.
    pub vlans: BTreeMap<VlanId, VlanSeen>,
    /// Every group.
    pub lags: BTreeMap<String, LagSeen>,
}

impl SwitchSeen {
    /// The mode of a port.
    pub fn mode(&self, port: &str) -> &SeenMode {
        self.ports.get(port).map_or(&SeenMode::Absent, |it| &it.mode)
    }

    /// Whether anything of the VLAN is left that could bring two of its holders together: frames in it, or a declaration of ours.
    pub fn has_vlan(&self, vlan: VlanId) -> bool {
        self.carried.contains(&vlan) || self.vlans.get(&vlan).is_some_and(|it| it.is_ours() || it.vni.is_some() || it.half.is_some())
    }
}

/// By what an isolated port reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolatesBy {
    /// Protected ports (private VLAN edge): up, but no other protected port is reached.
    Protection,
    /// The port is administratively down.
    Shutdown,
}

/// What a kind of switch can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// By what isolated ports reach nobody.
    pub isolates_by: IsolatesBy,
    /// Whether VLANs are declared (and removed) on it.
    pub declares_vlans: bool,
    /// Whether it can map VLANs to VXLAN networks.
    pub has_vni: bool,
    /// Whether it can group links.
    pub has_lags: bool,
    /// Whether it has a configuration that a restart comes back to and that is written apart.
    pub saves: bool,
}

/// One way in which a switch differs from what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A port is otherwise.
    Port {
        /// The port's name on the switch.
        port: String,
        /// The wanted mode; `None` if the port should not be there.
        wanted: Option<PortMode>,
        /// What was seen.
        seen: SeenMode,
    },
    /// A port's description is not the one of ours.
    Description {
        /// The port's name on the switch.
        port: String,
        /// The wanted description.
        wanted: String,
    },
    /// A restart would bring the port up otherwise.
    Unsaved {
        /// The port's name on the switch.
        port: String,
    },
    /// An uplink lacks VLANs, or carries some of ours that nobody wants.
    Uplink {
        /// The port's name on the switch.
        port: String,
        /// VLANs it is to carry and does not.
        missing: BTreeSet<VlanId>,
        /// VLANs of ours that it is not to carry and does.
        surplus: BTreeSet<VlanId>,
    },
    /// A VLAN is not declared, not as wanted, or not saved.
    Vlan {
        /// The VLAN.
        vlan: VlanId,
        /// What is wanted; `None`: it should not be there.
        wanted: Option<VlanWanted>,
        /// What was seen; `None`: it is not there.
        seen: Option<VlanSeen>,
    },
    /// A group is not there, otherwise, or should not be there.
    Lag {
        /// The group's name on the switch.
        lag: String,
        /// What is wanted; `None`: it should not be there.
        wanted: Option<LagProtocol>,
    },
}

impl Difference {
    /// The port or group it is about.
    pub fn port(&self) -> Option<&str> {
        match self {
            Self::Port { port, .. } | Self::Description { port, .. } | Self::Unsaved { port } | Self::Uplink { port, .. } => Some(port),
            Self::Lag { lag, .. } => Some(lag),
            Self::Vlan { .. } => None,
        }
    }
}

/// Lists how the seen state is not the wanted one; empty means that they agree.
pub fn differs(wanted: &SwitchWanted, seen: &SwitchSeen, facts: &Facts) -> Vec<Difference> {
    let mut out = Vec::new();
    for (port, it) in &wanted.ports {
        let mode = seen.mode(port);
        if !matches!(mode, SeenMode::Known(known) if known.is_as(&it.mode)) {
            out.push(Difference::Port { port: port.clone(), wanted: Some(it.mode.clone()), seen: mode.clone() });
        }
        let Some(found) = seen.ports.get(port) else { continue };
        let writable = found.description.is_empty() || found.description.starts_with(MARK);
        if !it.description.is_empty() && writable && found.description != it.description {
            out.push(Difference::Description { port: port.clone(), wanted: it.description.clone() });
        }
        if found.unsaved {
            out.push(Difference::Unsaved { port: port.clone() });
        }
    }
    for port in wanted.remove.iter().filter(|port| !wanted.ports.contains_key(*port)) {
        let mode = seen.mode(port);
        if *mode != SeenMode::Absent {
            out.push(Difference::Port { port: port.clone(), wanted: None, seen: mode.clone() });
        }
    }
    for (port, vlans) in &wanted.uplinks {
        match seen.mode(port) {
            SeenMode::Known(PortMode::Trunk { native, tagged }) => {
                let missing: BTreeSet<VlanId> = vlans.difference(tagged).copied().collect();
                let carried = tagged.iter().chain(native);
                let surplus: BTreeSet<VlanId> =
                    carried.filter(|it| wanted.managed.contains(**it) && !vlans.contains(it)).copied().collect();
                if !missing.is_empty() || !surplus.is_empty() {
                    out.push(Difference::Uplink { port: port.clone(), missing, surplus });
                }
                if seen.ports.get(port).is_some_and(|it| it.unsaved) {
                    out.push(Difference::Unsaved { port: port.clone() });
                }
            }
            // It carries nothing of ours and is not to: what it is else is not ours to say.
            SeenMode::Known(mode) if vlans.is_empty() && !mode.vlans().iter().any(|it| wanted.managed.contains(*it)) => {}
            other => out.push(Difference::Port {
                port: port.clone(),
                wanted: Some(PortMode::Trunk { native: None, tagged: vlans.clone() }),
                seen: other.clone(),
            }),
        }
    }
    if facts.declares_vlans {
        vlans_differ(wanted, seen, &mut out);
    }
    for (lag, protocol) in &wanted.lags {
        if seen.lags.get(lag).and_then(|it| it.protocol) != Some(*protocol) {
            out.push(Difference::Lag { lag: lag.clone(), wanted: Some(*protocol) });
        }
    }
    for (lag, _) in seen.lags.iter().filter(|(lag, it)| it.is_ours && !wanted.lags.contains_key(*lag)) {
        out.push(Difference::Lag { lag: lag.clone(), wanted: None });
    }
    out
}

/// A port that carries the VLAN by its number and about which nothing is wanted: as long as there is one, the VLAN cannot be taken away.
pub fn others_port<'a>(wanted: &SwitchWanted, seen: &'a SwitchSeen, vlan: VlanId) -> Option<&'a str> {
    let is_free = |port: &String| !wanted.ports.contains_key(port) && !wanted.uplinks.contains_key(port) && !wanted.remove.contains(port);
    let carries = |it: &PortSeen| matches!(&it.mode, SeenMode::Known(mode) if mode.names(vlan));
    seen.ports.iter().find(|(port, it)| is_free(port) && carries(it)).map(|(port, _)| port.as_str())
}

fn vlans_differ(wanted: &SwitchWanted, seen: &SwitchSeen, out: &mut Vec<Difference>) {
    for (vlan, it) in &wanted.vlans {
        let found = seen.vlans.get(vlan);
        // A name that somebody else gave stays; so does the lack of one where VLANs have none.
        let agrees = found.is_some_and(|found| {
            let named = found.name.as_deref().is_none_or(|name| name == it.name || !name.starts_with(MARK));
            found.running && found.saved && named && found.vni == it.vni && found.half.is_none()
        });
        if !agrees {
            out.push(Difference::Vlan { vlan: *vlan, wanted: Some(it.clone()), seen: found.cloned() });
        }
    }
    for (vlan, found) in &seen.vlans {
        if wanted.managed.contains(*vlan) && !wanted.vlans.contains_key(vlan) && found.is_ours() {
            // One that stays because of somebody else's port is no difference: there is nothing to be done about it. What was not saved
            // of it is one: its saved configuration may be of when it was ours.
            if found.running && found.saved && others_port(wanted, seen, *vlan).is_some() {
                continue;
            }
            out.push(Difference::Vlan { vlan: *vlan, wanted: None, seen: Some(found.clone()) });
        }
    }
}

struct List<'a>(&'a BTreeSet<VlanId>);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, vlan) in self.0.iter().enumerate() {
            write!(f, "{}{vlan}", if nth == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for PortMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolated => f.write_str("isolated"),
            Self::Access(vlan) => write!(f, "access VLAN {vlan}"),
            Self::Trunk { native: None, tagged } if tagged.is_empty() => f.write_str("trunk of no VLAN"),
            Self::Trunk { native: None, tagged } => write!(f, "trunk of VLANs {}", List(tagged)),
            Self::Trunk { native: Some(native), tagged } if tagged.is_empty() => write!(f, "trunk of native VLAN {native}"),
            Self::Trunk { native: Some(native), tagged } => write!(f, "trunk of VLANs {}, native {native}", List(tagged)),
            Self::Member { lag } => write!(f, "member of {lag}"),
        }
    }
}

impl fmt::Display for SeenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeenMode::Known(mode) => mode.fmt(f),
            SeenMode::Foreign(what) => f.write_str(what),
            SeenMode::Absent => f.write_str("absent"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { port, wanted: Some(wanted), seen } => write!(f, "port {port} is {seen}, wanted {wanted}"),
            Self::Port { port, wanted: None, seen } => write!(f, "port {port} is {seen}, wanted absent"),
            Self::Description { port, wanted } => write!(f, "port {port} is not described as {wanted:?}"),
            Self::Unsaved { port } => write!(f, "port {port} would be otherwise after a restart"),
            Self::Uplink { port, missing, surplus } if surplus.is_empty() => write!(f, "uplink {port} lacks VLANs {}", List(missing)),
            Self::Uplink { port, missing, surplus } if missing.is_empty() => write!(f, "uplink {port} carries VLANs {} too", List(surplus)),
            Self::Uplink { port, missing, surplus } => {
                write!(f, "uplink {port} lacks VLANs {} and carries VLANs {} too", List(missing), List(surplus))
            }
            Self::Vlan { vlan, wanted: None, .. } => write!(f, "VLAN {vlan} is declared and nobody wants it"),
            Self::Vlan { vlan, seen: None, .. } => write!(f, "VLAN {vlan} is not declared"),
            Self::Vlan { vlan, seen: Some(seen), .. } if !seen.running => write!(f, "VLAN {vlan} is only in the saved configuration"),
            Self::Vlan { vlan, seen: Some(VlanSeen { half: Some(vni), .. }), .. } => write!(f, "VLAN {vlan} has half a map to VNI {vni}"),
            Self::Vlan { vlan, wanted: Some(wanted), seen: Some(seen) } if wanted.vni != seen.vni => {
                let show = |vni: Option<Vni>| vni.map_or_else(|| "none".to_owned(), |it| it.to_string());
                write!(f, "VLAN {vlan} is mapped to VNI {}, wanted {}", show(seen.vni), show(wanted.vni))
            }
            Self::Vlan { vlan, seen: Some(seen), .. } if !seen.saved => write!(f, "VLAN {vlan} would be otherwise after a restart"),
            Self::Vlan { vlan, .. } => write!(f, "VLAN {vlan} has another's name"),
            Self::Lag { lag, wanted: None } => write!(f, "group {lag} is there and nobody wants it"),
            Self::Lag { lag, .. } => write!(f, "group {lag} is not there as wanted"),
        }
    }
}
