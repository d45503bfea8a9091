//! Ports that carry several networks.

use serde::{Deserialize, Serialize};

use super::{Port, described, noun};
use crate::Id;

/// A port that carries the networks of others, its subports, each in packets of its own tag.
pub enum Trunk {}

/// A trunk's life as users see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TrunkStatus {
    /// It and all subports carry packets.
    Active,
    /// On its way.
    Build,
    /// Nobody connects it.
    #[default]
    Down,
    /// Some subports do not carry packets.
    Degraded,
    /// Cannot be done as asked.
    Error,
}

impl TrunkStatus {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Active, Self::Build, Self::Down, Self::Degraded, Self::Error];

    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Build => "BUILD",
            Self::Down => "DOWN",
            Self::Degraded => "DEGRADED",
            Self::Error => "ERROR",
        }
    }
}

/// A port that a trunk carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubPort {
    /// The port.
    pub port_id: Id<Port>,
    /// How its packets are told apart: `vlan`.
    pub segmentation_type: String,
    /// By which tag.
    pub segmentation_id: u32,
}

/// What is wanted of a [`Trunk`]. Its ports are held in the pool [`TRUNK_PORTS`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrunkDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Administrative state.
    pub admin_state_up: bool,
    /// The port that carries the others.
    pub port_id: Id<Port>,
    /// The ports it carries.
    #[serde(default)]
    pub sub_ports: Vec<SubPort>,
    /// What who connects it said last.
    #[serde(default)]
    pub status: TrunkStatus,
}

/// The pool of ports that trunks have, by port; the holder is [`trunk_holder`].
pub const TRUNK_PORTS: &str = "trunkport";

/// Who holds a port: the trunk, and whether as what carries or as what is carried.
pub fn trunk_holder(trunk: &Id<Trunk>, is_parent: bool) -> String {
    format!("{}:{trunk}", if is_parent { "parent" } else { "sub" })
}

described!(TrunkDesired);

noun!(
    Trunk,
    "trunk",
    TrunkDesired,
    usage: Some("trunk"),
    columns: ["port_id" = |it| Some(it.desired.port_id.to_string())],
    links: [
        "tags" = |it| it.desired.tags.clone(),
        "sub_ports" = |it| it.desired.sub_ports.iter().map(|sub| sub.port_id.to_string()).collect(),
    ],
);
