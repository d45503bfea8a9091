//! What belongs to nodes: cards, groups of cards, enclosures, volumes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Node;
use crate::net::LocalLink;
use crate::secret::Settings;
use crate::{Column, Id, Kind};

/// A network card of a machine (Ironic's "port").
pub enum BaremetalPort {}
/// Cards of a machine that act as one.
pub enum Portgroup {}
/// What machines sit in.
pub enum Chassis {}
/// By what a machine reaches volumes.
pub enum VolumeConnector {}
/// A volume a machine boots from or uses.
pub enum VolumeTarget {}

/// What is wanted of a [`BaremetalPort`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaremetalPortDesired {
    /// Its machine.
    pub node_id: Id<Node>,
    /// Its hardware address, lower case with colons. Held in the allocation pool `baremetal-mac`.
    pub address: String,
    /// Whether the machine boots by it.
    pub pxe_enabled: bool,
    /// Where its cable ends.
    #[serde(default)]
    pub local_link_connection: Option<LocalLink>,
    /// Which fabric that is.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// The group it is part of.
    #[serde(default)]
    pub portgroup_id: Option<Id<Portgroup>>,
    /// Whether the card is a computer of its own that does the switch's part.
    #[serde(default)]
    pub is_smartnic: bool,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// Who made the card.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Free word by which operators group cards.
    #[serde(default)]
    pub category: Option<String>,
    /// What the service itself keeps of it: `tenant_vif_port_id`, …
    #[serde(default)]
    pub internal_info: Map<String, Value>,
    /// Free for the operator.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// Where its cable ends, in the words of the user: also what [`LocalLink`] has no place for (`hostname`, `network_type`, `vtep-…`).
    /// Empty: as `local_link_connection` says.
    #[serde(default)]
    pub local_link: Map<String, Value>,
    /// Whether the service may put it into a group that it makes by itself.
    #[serde(default = "yes")]
    pub available_for_dynamic_portgroup: bool,
}

/// What is wanted of a [`Portgroup`]. Its name is held in the allocation pool `portgroup-name`, its address in `portgroup-mac`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortgroupDesired {
    /// Its machine.
    pub node_id: Id<Node>,
    /// Its hardware address, lower case with colons.
    #[serde(default)]
    pub address: Option<String>,
    /// How the cards share the traffic: `active-backup`, `802.3ad`, … as the Linux bonding driver names them.
    pub mode: String,
    /// Options of the bonding driver.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Whether its cards may be used one by one.
    #[serde(default = "yes")]
    pub standalone_ports_supported: bool,
    /// Which fabric its cables end in.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// Free word by which operators group them.
    #[serde(default)]
    pub category: Option<String>,
    /// Whether the service made it by itself.
    #[serde(default)]
    pub dynamic_portgroup: bool,
    /// What the service itself keeps of it.
    #[serde(default)]
    pub internal_info: Map<String, Value>,
    /// Free for the operator.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// What is wanted of a [`Chassis`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChassisDesired {
    /// Free text.
    pub description: Option<String>,
    /// Free for the operator.
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`VolumeConnector`]. `type/connector_id` is held in the allocation pool `volume-connector`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeConnectorDesired {
    /// Its machine.
    pub node_id: Id<Node>,
    /// `iqn`, `ip`, `mac`, `wwnn`, `wwpn`, `port`, `portgroup`.
    pub kind: String,
    /// The name of that type.
    pub connector_id: String,
    /// Free for the operator.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`VolumeTarget`]. `node/boot_index` is held in the allocation pool `volume-boot-index`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeTargetDesired {
    /// Its machine.
    pub node_id: Id<Node>,
    /// `iscsi`, `fibre_channel`, …
    pub volume_type: String,
    /// The volume's id at the storage service.
    pub volume_id: String,
    /// Its place in the boot order; 0 is the root volume.
    pub boot_index: u32,
    /// How to reach it; secrets are masked when shown.
    #[serde(default)]
    pub properties: Settings,
    /// Free for the operator.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

impl Kind for BaremetalPort {
    const NAME: &'static str = "baremetal_port";
    type Desired = BaremetalPortDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "node_id", value: |it| Some(it.desired.node_id.to_string()) },
        Column { name: "address", value: |it| Some(it.desired.address.clone()) },
        Column { name: "portgroup_id", value: |it| it.desired.portgroup_id.as_ref().map(ToString::to_string) },
    ];
}

impl Kind for Portgroup {
    const NAME: &'static str = "portgroup";
    type Desired = PortgroupDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "node_id", value: |it| Some(it.desired.node_id.to_string()) },
        Column { name: "address", value: |it| it.desired.address.clone() },
    ];
}

impl Kind for Chassis {
    const NAME: &'static str = "chassis";
    type Desired = ChassisDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for VolumeConnector {
    const NAME: &'static str = "volume_connector";
    type Desired = VolumeConnectorDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "node_id", value: |it| Some(it.desired.node_id.to_string()) }];
}

impl Kind for VolumeTarget {
    const NAME: &'static str = "volume_target";
    type Desired = VolumeTargetDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "node_id", value: |it| Some(it.desired.node_id.to_string()) }];
}
