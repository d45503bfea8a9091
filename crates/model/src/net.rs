//! Networks, subnets and ports.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Column, Id, Kind};

/// A network: one layer-2 segment.
pub enum Network {}
/// A subnet: addresses on a network.
pub enum Subnet {}
/// A port: one attachment to a network.
pub enum Port {}

/// An IEEE 802.1Q VLAN id, 1 to 4094.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// The id, if it is one.
    pub const fn new(id: u16) -> Option<Self> {
        if id >= 1 && id <= 4094 { Some(Self(id)) } else { None }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = &'static str;

    fn try_from(id: u16) -> Result<Self, Self::Error> {
        Self::new(id).ok_or("a VLAN id is 1 to 4094")
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

impl std::fmt::Display for VlanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A network's segment on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The fabric it lies on.
    pub physical_network: String,
    /// Its VLAN. Held in the allocation pool `vlan:<physical_network>`.
    pub vlan: VlanId,
}

/// What is wanted of a [`Network`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkDesired {
    /// Administrative state.
    pub admin_state_up: bool,
    /// Visible to all projects.
    #[serde(default)]
    pub shared: bool,
    /// `router:external`.
    #[serde(default)]
    pub external: bool,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Largest packet, in bytes.
    pub mtu: u16,
    /// Default for new ports.
    pub port_security_enabled: bool,
    /// Where it lies; allocated when it is created.
    pub segment: Segment,
}

/// What was seen of a [`Network`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkObserved {
    /// When its VLAN went into quarantine (on delete).
    pub quarantined_at: Option<crate::Timestamp>,
}

/// A range of addresses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationPool {
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
}

/// What is wanted of a [`Subnet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetDesired {
    /// Its network.
    pub network_id: Id<Network>,
    /// Its addresses.
    pub cidr: ipnet::IpNet,
    /// The router's address.
    #[serde(default)]
    pub gateway_ip: Option<IpAddr>,
    /// Where addresses are taken from.
    pub allocation_pools: Vec<AllocationPool>,
    /// Name servers, in order.
    #[serde(default)]
    pub dns_nameservers: Vec<String>,
    /// Static routes: destination and next hop.
    #[serde(default)]
    pub host_routes: Vec<HostRoute>,
    /// Whether DHCP is to be offered.
    pub enable_dhcp: bool,
    /// Free text.
    #[serde(default)]
    pub description: String,
}

/// A static route of a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    /// Where to.
    pub destination: ipnet::IpNet,
    /// By which router.
    pub nexthop: IpAddr,
}

/// An address of a port. Held in the allocation pool `ip:<subnet id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedIp {
    /// The subnet.
    pub subnet_id: Id<Subnet>,
    /// The address.
    pub ip_address: IpAddr,
}

/// The key of an address in its allocation pool: sorts as addresses do.
pub fn ip_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(it) => format!("{:08x}", u32::from(it)),
        IpAddr::V6(it) => format!("{:032x}", u128::from(it)),
    }
}

/// The key of a VLAN in its allocation pool: sorts as numbers do.
pub fn vlan_key(vlan: VlanId) -> String {
    format!("{:04}", vlan.get())
}

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

/// What is wanted of a [`Port`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortDesired {
    /// Its network.
    pub network_id: Id<Network>,
    /// Its hardware address, lower case with colons. Held in the allocation pool `mac:<network id>`.
    pub mac_address: String,
    /// Its addresses.
    #[serde(default)]
    pub fixed_ips: Vec<FixedIp>,
    /// Administrative state.
    pub admin_state_up: bool,
    /// What uses it.
    #[serde(default)]
    pub device_id: String,
    /// What kind of thing uses it, such as `baremetal:none`.
    #[serde(default)]
    pub device_owner: String,
    /// Who binds it.
    #[serde(default)]
    pub binding: Binding,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Anti-spoofing and security groups.
    pub port_security_enabled: bool,
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
    /// No switch of ours has that port, or it belongs to another.
    BindingFailed,
}

impl VifType {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Other => "other",
            Self::BindingFailed => "binding_failed",
        }
    }
}

/// What was seen of a [`Port`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortObserved {
    /// ACTIVE only while a read-back of the switch says so.
    pub status: PortStatus,
    /// How the binding ended.
    pub vif_type: VifType,
    /// The switch ports it holds, wanted or in quarantine.
    pub switch_ports: Vec<Id<crate::fabric::SwitchPort>>,
    /// Why it is not ACTIVE.
    pub reason: String,
}

impl Kind for Network {
    const NAME: &'static str = "network";
    type Desired = NetworkDesired;
    type Observed = NetworkObserved;
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Subnet {
    const NAME: &'static str = "subnet";
    type Desired = SubnetDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "network_id", value: |it| Some(it.desired.network_id.to_string()) }];
}

impl Kind for Port {
    const NAME: &'static str = "port";
    type Desired = PortDesired;
    type Observed = PortObserved;
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "network_id", value: |it| Some(it.desired.network_id.to_string()) },
        Column { name: "device_id", value: |it| Some(it.desired.device_id.clone()) },
        Column { name: "mac_address", value: |it| Some(it.desired.mac_address.clone()) },
    ];
}
