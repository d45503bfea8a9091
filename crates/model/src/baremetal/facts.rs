//! What was found out about nodes and is too large for their rows, one row a node, with the node's id: inventories, BIOS settings,
//! firmware. And the rules that are applied to inventories.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Node;
use crate::{Column, Id, Kind, Timestamp};

/// What inspection found; its id is its node's.
pub enum NodeInventory {}
/// The BIOS settings of a node as last read; its id is its node's.
pub enum NodeBios {}
/// The firmware of a node as last read; its id is its node's.
pub enum NodeFirmware {}
/// What is done with an inventory that fits.
pub enum InspectionRule {}
/// One call to a node's BMC that a client waits for.
pub enum NodeAction {}

/// What is kept of an inspection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInventoryDesired {
    /// `interfaces`, `cpu`, `memory`, `disks`, `system_vendor`, `boot`, `bmc_address`, … as the agent writes them.
    pub inventory: Value,
    /// What else the ramdisk sent: LLDP, …
    pub plugin_data: Value,
}

/// One BIOS setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BiosSetting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// `Enumeration`, `String`, `Integer`, `Boolean`, `Password`, if the BMC's registry tells.
    pub attribute_type: Option<String>,
    /// What an enumeration may be.
    pub allowable_values: Option<Vec<String>>,
    /// Smallest integer.
    pub lower_bound: Option<i64>,
    /// Largest integer.
    pub upper_bound: Option<i64>,
    /// Shortest text.
    pub min_length: Option<i64>,
    /// Longest text.
    pub max_length: Option<i64>,
    /// Whether it cannot be changed.
    pub read_only: Option<bool>,
    /// Whether changing it needs a restart.
    pub reset_required: Option<bool>,
    /// Whether it belongs to this one machine.
    pub unique: Option<bool>,
}

/// The settings of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeBiosDesired {
    /// By name.
    pub settings: Vec<BiosSetting>,
    /// When they were read.
    pub read_at: Timestamp,
}

/// One piece of firmware.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirmwareComponent {
    /// `bios`, `bmc`, `nic:…`.
    pub component: String,
    /// The version at the first look.
    pub initial_version: String,
    /// The version now.
    pub current_version: Option<String>,
    /// The version last written by a step.
    pub last_version_flashed: Option<String>,
    /// Who made it.
    pub vendor: Option<String>,
    /// What the maker calls it.
    pub model: Option<String>,
    /// The maker's number of this one piece.
    pub serial_number: Option<String>,
}

/// The firmware of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeFirmwareDesired {
    /// By component.
    pub components: Vec<FirmwareComponent>,
    /// When it was read.
    pub read_at: Timestamp,
}

/// What is wanted of an [`InspectionRule`] (Source: Ironic documentation, "Inspection rules").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InspectionRuleDesired {
    /// Free text.
    pub description: Option<String>,
    /// All must hold: `{op, args, loop?, multiple?}`.
    pub conditions: Vec<Value>,
    /// What is done then: `{op, args, loop?}`.
    pub actions: Vec<Value>,
    /// Higher comes first, 0 to 9999.
    pub priority: i64,
    /// `main`.
    pub phase: String,
    /// Whether its conditions and actions are shown to nobody.
    pub sensitive: bool,
    /// Nodes it is for; `None`: all.
    pub scope: Option<String>,
}

/// What a client asks of a node's BMC and waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// Which device it boots from.
    GetBootDevice,
    /// Which it can.
    GetSupportedBootDevices,
    /// Boot from this one.
    SetBootDevice {
        /// `pxe`, `disk`, `cdrom`, …
        device: String,
        /// Always, not only once.
        persistent: bool,
    },
    /// A non-maskable interrupt.
    InjectNmi,
    /// The lights there are, by component.
    GetIndicators,
    /// How a light is.
    GetIndicator {
        /// `system`, `chassis`, `disk`, …
        component: String,
        /// Its name.
        indicator: String,
    },
    /// Switch a light.
    SetIndicator {
        /// `system`, `chassis`, `disk`, …
        component: String,
        /// Its name.
        indicator: String,
        /// `ON`, `OFF`, `BLINKING`.
        state: String,
    },
    /// Which media are attached.
    GetVirtualMedia,
    /// Attach a medium.
    AttachVirtualMedia {
        /// `cdrom`, `floppy`, `disk`.
        device_type: String,
        /// Where it is.
        image_url: String,
    },
    /// Take media away; all if none is named.
    DetachVirtualMedia {
        /// `cdrom`, `floppy`, `disk`.
        device_types: Vec<String>,
    },
    /// A method of the vendor interface.
    Vendor {
        /// Its name.
        method: String,
        /// The verb it was called with.
        http_method: String,
        /// What came with it.
        body: Value,
    },
}

/// What is wanted of a [`NodeAction`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeActionDesired {
    /// The node.
    pub node_id: Id<Node>,
    /// What.
    pub action: Action,
    /// After this moment it is not begun any more.
    pub until: Timestamp,
    /// Nobody waits for what it comes to: if that is nothing good, the node's history says so.
    #[serde(default)]
    pub unwatched: bool,
}

/// How a [`NodeAction`] ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum ActionEnd {
    /// Well; what it gave.
    Done {
        /// As the API shows it.
        value: Value,
    },
    /// The hardware or its interface cannot do that (400).
    Unsupported {
        /// Why.
        why: String,
    },
    /// The BMC did not do it (the API answers 500 or 503).
    Failed {
        /// Why.
        why: String,
    },
}

/// What was seen of a [`NodeAction`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeActionObserved {
    /// It was begun: what may not be done twice is not done by whoever finds it so.
    pub begun: bool,
    /// How it ended.
    pub end: Option<ActionEnd>,
}

macro_rules! plain {
    ($($kind:ty, $name:literal, $desired:ty;)*) => {$(
        impl Kind for $kind {
            const NAME: &'static str = $name;
            type Desired = $desired;
            type Observed = ();
            const COLUMNS: &'static [Column<Self>] = &[];
        }
    )*};
}

plain! {
    NodeInventory, "node_inventory", NodeInventoryDesired;
    NodeBios, "node_bios", NodeBiosDesired;
    NodeFirmware, "node_firmware", NodeFirmwareDesired;
    InspectionRule, "inspection_rule", InspectionRuleDesired;
}

impl Kind for NodeAction {
    const NAME: &'static str = "node_action";
    type Desired = NodeActionDesired;
    type Observed = NodeActionObserved;
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "node_id", value: |it| Some(it.desired.node_id.to_string()) }];
}
