//! Where a port is plugged in: who binds it, to what, and what became of that.

use serde::{Deserialize, Serialize};

use super::NetworkSegment;
use crate::Id;

/// One end of a cable: what `binding:profile.local_link_information` and a bare-metal port's `local_link_connection` say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LocalLink {
    /// The switch's MAC address or datapath id, lower case.
    #[serde(default)]
    pub switch_id: String,
    /// The switch's name.
    #[serde(default)]
    pub switch_info: Option<String>,
    /// The port on the switch.
    pub port_id: String,
}

/// Who binds a port, to what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// The host; empty: unbound.
    pub host_id: String,
    /// `normal`, `baremetal`, …
    pub vnic_type: String,
    /// As given by the binder; `local_link_information` says where the cable ends.
    pub profile: serde_json::Map<String, serde_json::Value>,
}

impl Default for Binding {
    fn default() -> Self {
        Self { host_id: String::new(), vnic_type: "normal".into(), profile: serde_json::Map::new() }
    }
}

impl Binding {
    /// Whether the switch fabric is to bind it; others are for a program on the host.
    pub fn is_wired(&self) -> bool {
        self.vnic_type == "baremetal" || self.profile.contains_key("local_link_information")
    }

    /// The cable ends named in the profile; an entry that has not the form of one is an error that names what is wrong.
    ///
    /// # Errors
    /// `local_link_information` is not a list of objects with `port_id` and one of `switch_id`, `switch_info`.
    pub fn local_links(&self) -> Result<Vec<LocalLink>, String> {
        let Some(value) = self.profile.get("local_link_information") else {
            return Ok(Vec::new());
        };
        let links: Vec<LocalLink> = serde_json::from_value(value.clone()).map_err(|error| format!("local_link_information: {error}"))?;
        match links.iter().find(|link| link.port_id.is_empty() || (link.switch_id.is_empty() && link.switch_info.is_none())) {
            Some(_) => Err("local_link_information: each entry needs port_id and one of switch_id, switch_info".into()),
            None => Ok(links),
        }
    }
}

/// What became of a binding that is for a program on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plug {
    /// How the machine is connected.
    pub vif_type: VifType,
    /// What who connects it has to know.
    #[serde(default)]
    pub vif_details: serde_json::Map<String, serde_json::Value>,
    /// Who bound it to what, from the network down.
    #[serde(default)]
    pub levels: Vec<BindingLevel>,
    /// What the program on the host said last.
    #[serde(default)]
    pub status: PortStatus,
}

/// One step of how a port came to a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingLevel {
    /// Who bound it.
    pub driver: String,
    /// To which segment.
    pub segment_id: Id<NetworkSegment>,
}

/// A binding that is prepared but not in force, such as the one to where a machine is about to move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherBinding {
    /// Who is to bind it.
    pub binding: Binding,
    /// What became of it.
    pub plug: Plug,
}

/// A port's life as users see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortStatus {
    /// Read back and found as wanted.
    Active,
    /// On its way.
    Build,
    /// Not bound, or not (any more) as wanted.
    #[default]
    Down,
    /// Cannot be done as asked.
    Error,
}

impl PortStatus {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Build => "BUILD",
            Self::Down => "DOWN",
            Self::Error => "ERROR",
        }
    }
}

/// How a binding ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VifType {
    /// Nobody bound it.
    #[default]
    Unbound,
    /// Bound on the switch fabric.
    Other,
    /// No switch of ours has that port, or it belongs to another; nobody on the host reaches the network.
    BindingFailed,
    /// On an Open vSwitch bridge.
    Ovs,
    /// On a Linux bridge.
    Bridge,
    /// By a tap device.
    Tap,
    /// By a macvtap device.
    Macvtap,
    /// On the bridge inside a network card.
    HwVeb,
    /// The whole network card.
    HostdevPhysical,
}

impl VifType {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Other => "other",
            Self::BindingFailed => "binding_failed",
            Self::Ovs => "ovs",
            Self::Bridge => "bridge",
            Self::Tap => "tap",
            Self::Macvtap => "macvtap",
            Self::HwVeb => "hw_veb",
            Self::HostdevPhysical => "hostdev_physical",
        }
    }
}
