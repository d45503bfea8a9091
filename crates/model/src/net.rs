//! Networks, subnets and ports; what belongs to them is in the modules below.

pub mod access;
pub mod bgp;
pub mod bgpvpn;
mod binding;
pub mod chains;
pub mod flavors;
pub mod l2gw;
pub mod l3;
pub mod metering;
pub mod operation;
pub mod pools;
pub mod qos;
pub mod security;
pub mod trunk;

use std::net::IpAddr;

pub use binding::{Binding, BindingLevel, LocalLink, OtherBinding, Plug, PortStatus, VifType};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Column, Id, Kind, Link, Object, Timestamp};

/// What people write at things: a description and tags.
pub trait Described {
    /// Free text.
    fn description(&self) -> &str;
    /// Replaces the description.
    fn describe(&mut self, text: String);
    /// The tags, each once, in the order they were given.
    fn tags(&self) -> &[String];
    /// The tags, to be changed.
    fn tags_mut(&mut self) -> &mut Vec<String>;
}

/// [`Described`] of types with the fields `description` and `tags`.
macro_rules! described {
    ($($desired:ty),* $(,)?) => {$(
        impl $crate::net::Described for $desired {
            fn description(&self) -> &str {
                &self.description
            }
            fn describe(&mut self, text: String) {
                self.description = text;
            }
            fn tags(&self) -> &[String] {
                &self.tags
            }
            fn tags_mut(&mut self) -> &mut Vec<String> {
                &mut self.tags
            }
        }
    )*};
}
pub(crate) use described;

/// A [`Kind`] without observations: its table, what is wanted, whether it is counted for a quota, its columns and links.
macro_rules! noun {
    ($kind:ty, $name:literal, $desired:ty, usage: $usage:expr, columns: [$($column:literal = $value:expr),* $(,)?], links: [$($link:literal = $values:expr),* $(,)?] $(,)?) => {
        impl $crate::Kind for $kind {
            const NAME: &'static str = $name;
            type Desired = $desired;
            type Observed = ();
            const COLUMNS: &'static [$crate::Column<Self>] = &[$($crate::Column { name: $column, value: $value }),*];
            const LINKS: &'static [$crate::Link<Self>] = &[$($crate::Link { name: $link, values: $values }),*];
            const USAGE: Option<&'static str> = $usage;
        }
    };
}
pub(crate) use noun;

described!(NetworkDesired, SubnetDesired, PortDesired, SegmentDesired);

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

/// How a segment keeps its packets apart from others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkType {
    /// Untagged on a physical network, which is all its own.
    Flat,
    /// An IEEE 802.1Q VLAN of a physical network.
    Vlan,
    /// A VXLAN (RFC 7348).
    Vxlan,
    /// A Geneve tunnel (RFC 8926).
    Geneve,
    /// Within one host.
    Local,
}

impl NetworkType {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Flat, Self::Vlan, Self::Vxlan, Self::Geneve, Self::Local];

    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Vlan => "vlan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Local => "local",
        }
    }

    /// The type of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// Greatest segmentation id; 0: it has none.
    pub fn most(self) -> u32 {
        match self {
            Self::Vlan => 4094,
            Self::Vxlan | Self::Geneve => 0x00ff_ffff,
            Self::Flat | Self::Local => 0,
        }
    }
}

/// A segment of a network on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its own id, by which `/v2.0/segments` shows it.
    #[serde(default = "Id::random")]
    pub id: Id<NetworkSegment>,
    /// Its type.
    #[serde(default = "vlan_type")]
    pub network_type: NetworkType,
    /// The fabric it lies on; none of tunnels and of local ones.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// The id that keeps it apart: a VLAN or VNI. Held in the pool that [`Segment::pool`] names.
    #[serde(default, alias = "vlan")]
    pub segmentation_id: Option<u32>,
}

fn vlan_type() -> NetworkType {
    NetworkType::Vlan
}

impl Segment {
    /// A VLAN of a physical network.
    pub fn vlan(physical_network: impl Into<String>, vlan: VlanId) -> Self {
        Self {
            id: Id::random(),
            network_type: NetworkType::Vlan,
            physical_network: Some(physical_network.into()),
            segmentation_id: Some(u32::from(vlan.get())),
        }
    }

    /// It as `/v2.0/segments` shows it, of that network.
    pub fn object(&self, network_id: &Id<Network>) -> Object<NetworkSegment> {
        let desired = SegmentDesired {
            network_id: network_id.clone(),
            network_type: self.network_type,
            physical_network: self.physical_network.clone(),
            segmentation_id: self.segmentation_id,
            description: String::new(),
            tags: Vec::new(),
        };
        Object::new(self.id.clone(), None, "", desired)
    }

    /// The VLAN, if it is one.
    pub fn vlan_id(&self) -> Option<VlanId> {
        let id = self.segmentation_id.filter(|_| self.network_type == NetworkType::Vlan)?;
        u16::try_from(id).ok().and_then(VlanId::new)
    }

    /// The pool in which its id is held, and the value there; none: nothing is held, as of local ones.
    pub fn held(&self) -> Option<(String, String)> {
        Some((
            segment_pool(self.network_type, self.physical_network.as_deref())?,
            match self.network_type {
                NetworkType::Flat => "flat".to_owned(),
                _ => segment_key(self.network_type, self.segmentation_id?),
            },
        ))
    }
}

/// The pool in which the ids of segments of that type (on that fabric) are held; none: of local ones, which have none.
pub fn segment_pool(network_type: NetworkType, physical_network: Option<&str>) -> Option<String> {
    match network_type {
        NetworkType::Vlan => Some(format!("vlan:{}", physical_network?)),
        NetworkType::Vxlan | NetworkType::Geneve => Some(format!("seg:{}", network_type.as_str())),
        NetworkType::Flat => Some(format!("flat:{}", physical_network?)),
        NetworkType::Local => None,
    }
}

/// The key of a segmentation id in the pool of that type: keys of one pool have one length, so that they sort as numbers do.
pub fn segment_key(network_type: NetworkType, id: u32) -> String {
    if network_type == NetworkType::Vlan { format!("{id:04}") } else { format!("{id:08}") }
}

/// What is wanted of a [`Network`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkDesired {
    /// Administrative state.
    pub admin_state_up: bool,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Default for new ports.
    pub port_security_enabled: bool,
    /// Where it lies; allocated when it is created. The first is the one that `provider:*` show.
    #[serde(default, alias = "segment", deserialize_with = "one_or_many")]
    pub segments: Vec<Segment>,
    /// VLANs of the fabric that it was given because ports of it are on switches and none of its segments is one; taken back when the
    /// last of them has left. (What Neutron calls dynamic segments: `/v2.0/segments` shows them, `provider:*` do not.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynamic: Vec<Segment>,
    /// Segments it lay on before: held until every switch was read back without them.
    #[serde(default)]
    pub released: Vec<ReleasedSegment>,
    /// Its VLANs are taken for gone from every switch on an operator's word, once it is being removed.
    #[serde(default)]
    pub forced: Option<crate::fabric::Forced>,
    /// Whether it is the default external network.
    #[serde(default)]
    pub is_default: bool,
    /// The DNS domain of its ports; empty: none.
    #[serde(default)]
    pub dns_domain: String,
    /// Where its services should run.
    #[serde(default)]
    pub availability_zone_hints: Vec<String>,
    /// Whether it carries tagged packets of its users.
    #[serde(default)]
    pub vlan_transparent: Option<bool>,
    /// The QoS policy of its ports.
    #[serde(default)]
    pub qos_policy_id: Option<Id<qos::QosPolicy>>,
}

/// A segment that a network gave up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleasedSegment {
    /// Which.
    pub segment: Segment,
    /// When.
    pub at: Timestamp,
    /// Taken for gone from every switch on an operator's word.
    #[serde(default)]
    pub forced: Option<crate::fabric::Forced>,
}

/// One segment, as it was stored when networks had one, or several.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Segment>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Many(Vec<Segment>),
        One(Segment),
    }
    Ok(match Stored::deserialize(from)? {
        Stored::Many(many) => many,
        Stored::One(one) => vec![one],
    })
}

impl NetworkDesired {
    /// The first VLAN it has on that fabric: what switches carry it by. One that it was given counts before those it was made with: ports
    /// are on it.
    pub fn vlan_on(&self, physical_network: &str) -> Option<VlanId> {
        let all = self.dynamic.iter().chain(&self.segments);
        all.filter(|it| it.physical_network.as_deref() == Some(physical_network)).find_map(Segment::vlan_id)
    }

    /// The first VXLAN it has.
    pub fn vni(&self) -> Option<u32> {
        self.segments.iter().filter(|it| it.network_type == NetworkType::Vxlan).find_map(|it| it.segmentation_id)
    }

    /// The VLAN of that fabric that switches with an overlay map to its VXLAN, and that; if it has both.
    pub fn map_on(&self, physical_network: &str) -> Option<(VlanId, u32)> {
        Some((self.vlan_on(physical_network)?, self.vni()?))
    }

    /// The first VLAN it has anywhere.
    pub fn vlan(&self) -> Option<VlanId> {
        self.segments.iter().find_map(Segment::vlan_id)
    }
}

/// A segment as `/v2.0/segments` shows it; its network has a copy of what is on the wire.
pub enum NetworkSegment {}

/// What is wanted of a [`NetworkSegment`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentDesired {
    /// Its network.
    pub network_id: Id<Network>,
    /// Its type.
    pub network_type: NetworkType,
    /// The fabric it lies on.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// The id that keeps it apart.
    #[serde(default)]
    pub segmentation_id: Option<u32>,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

noun!(
    NetworkSegment,
    "network_segment",
    SegmentDesired,
    usage: None,
    columns: ["network_id" = |it| Some(it.desired.network_id.to_string())],
    links: ["tags" = |it| it.desired.tags.clone()],
);

/// What was seen of a [`Network`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkObserved {
    /// When its VLAN went into quarantine (on delete).
    pub quarantined_at: Option<Timestamp>,
}

/// A range of addresses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationPool {
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
}

/// How addresses or routes of an IPv6 subnet reach machines (RFC 4861, RFC 4862, RFC 8415).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv6Mode {
    /// DHCPv6 gives addresses.
    Dhcpv6Stateful,
    /// Router advertisements give addresses, DHCPv6 the rest.
    Dhcpv6Stateless,
    /// Router advertisements give addresses.
    Slaac,
}

impl Ipv6Mode {
    /// Whether machines make their addresses themselves, from the prefix and their hardware address.
    pub fn is_automatic(self) -> bool {
        self != Self::Dhcpv6Stateful
    }
}

/// What is wanted of a [`Subnet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetDesired {
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The pool its prefix is taken from.
    #[serde(default)]
    pub subnetpool_id: Option<Id<pools::SubnetPool>>,
    /// Whether its prefix is to be had by prefix delegation (`subnetpool_id` is shown as `prefix_delegation`).
    #[serde(default)]
    pub prefix_delegation: bool,
    /// How routers advertise it.
    #[serde(default)]
    pub ipv6_ra_mode: Option<Ipv6Mode>,
    /// How its addresses come to machines.
    #[serde(default)]
    pub ipv6_address_mode: Option<Ipv6Mode>,
    /// Beginnings of `device_owner`: only ports of such have addresses here; none: all.
    #[serde(default)]
    pub service_types: Vec<String>,
    /// The segment of its network it belongs to.
    #[serde(default)]
    pub segment_id: Option<Id<NetworkSegment>>,
    /// Whether fixed addresses are published by name.
    #[serde(default)]
    pub dns_publish_fixed_ip: bool,
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
    segment_key(NetworkType::Vlan, u32::from(vlan.get()))
}

/// Addresses beside its own that a port may send from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    /// An address or a prefix.
    pub ip_address: String,
    /// The hardware address that goes with it: the port's own unless said otherwise.
    pub mac_address: String,
}

/// An option that DHCP gives a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOption {
    /// Its name or number.
    pub opt_name: String,
    /// Its value.
    pub opt_value: String,
    /// 4 or 6.
    pub ip_version: u8,
}

/// What is wanted of a [`Port`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortDesired {
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its security groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<Id<security::SecurityGroup>>,
    /// What else it may send from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// What DHCP gives it beside its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_dhcp_opts: Vec<DhcpOption>,
    /// Its name in DNS; empty: none of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns_name: String,
    /// Its domain in DNS; empty: its network's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns_domain: String,
    /// Its QoS policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy_id: Option<Id<qos::QosPolicy>>,
    /// Whether a lost uplink is passed on to it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub propagate_uplink_status: bool,
    /// How near to its memory the machine's interface is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_affinity_policy: Option<String>,
    /// The accelerator profile it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_profile: Option<String>,
    /// Hints for who binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<serde_json::Value>,
    /// Whether a virtual function is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<bool>,
    /// What others say of its data plane: `ACTIVE` or `DOWN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane_status: Option<String>,
    /// What of its packets hardware is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_offload_type: Option<String>,
    /// Its network.
    pub network_id: Id<Network>,
    /// Its hardware address, lower case with colons. Held in the allocation pool `mac:<network id>`.
    pub mac_address: String,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed_ips: Vec<FixedIp>,
    /// Administrative state.
    pub admin_state_up: bool,
    /// What uses it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_id: String,
    /// What kind of thing uses it, such as `baremetal:none`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_owner: String,
    /// Who binds it.
    #[serde(default)]
    pub binding: Binding,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Anti-spoofing and security groups.
    pub port_security_enabled: bool,
    /// What became of its binding, unless the switch fabric binds it: then what was seen says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plug: Option<Plug>,
    /// Bindings that are not in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_bindings: Vec<OtherBinding>,
    /// Whether the switch fabric ever was to bind it: then it may hold switch ports.
    #[serde(default = "yes")]
    pub was_wired: bool,
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

impl crate::Object<Port> {
    /// Whether it is to be on the switch fabric now: then its network keeps the VLAN that it was given.
    pub fn wants_wire(&self) -> bool {
        let it = &self.desired;
        !self.is_deleting() && !it.binding.host_id.is_empty() && it.admin_state_up && it.plug.is_none()
    }

    /// Its life as users see it.
    pub fn status(&self) -> PortStatus {
        self.desired.plug.as_ref().map_or(self.observed.status, |it| it.status)
    }

    /// How its binding ended.
    pub fn vif_type(&self) -> VifType {
        self.desired.plug.as_ref().map_or(self.observed.vif_type, |it| it.vif_type)
    }

    /// Whether something holds it where it is.
    pub fn is_bound(&self) -> bool {
        !matches!(self.vif_type(), VifType::Unbound | VifType::BindingFailed)
    }
}

fn yes() -> bool {
    true
}

fn is_yes(it: &bool) -> bool {
    *it
}

impl Kind for Network {
    const NAME: &'static str = "network";
    type Desired = NetworkDesired;
    type Observed = NetworkObserved;
    const COLUMNS: &'static [Column<Self>] =
        &[Column { name: "qos_policy_id", value: |it| it.desired.qos_policy_id.as_ref().map(ToString::to_string) }];
    const LINKS: &'static [Link<Self>] = &[Link { name: "tags", values: |it| it.desired.tags.clone() }];
    const USAGE: Option<&'static str> = Some("network");

    fn has_work(_: &crate::Object<Self>) -> bool {
        true
    }
}

impl Kind for Subnet {
    const NAME: &'static str = "subnet";
    type Desired = SubnetDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "network_id", value: |it| Some(it.desired.network_id.to_string()) },
        Column { name: "subnetpool_id", value: |it| it.desired.subnetpool_id.as_ref().map(ToString::to_string) },
        Column { name: "segment_id", value: |it| it.desired.segment_id.as_ref().map(ToString::to_string) },
        Column { name: "cidr", value: |it| Some(it.desired.cidr.to_string()) },
    ];
    const LINKS: &'static [Link<Self>] = &[Link { name: "tags", values: |it| it.desired.tags.clone() }];
    const USAGE: Option<&'static str> = Some("subnet");
}

impl Kind for Port {
    const NAME: &'static str = "port";
    type Desired = PortDesired;
    type Observed = PortObserved;
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "network_id", value: |it| Some(it.desired.network_id.to_string()) },
        Column { name: "device_id", value: |it| Some(it.desired.device_id.clone()) },
        Column { name: "mac_address", value: |it| Some(it.desired.mac_address.clone()) },
        Column { name: "device_owner", value: |it| Some(it.desired.device_owner.clone()) },
        Column { name: "host_id", value: |it| Some(it.desired.binding.host_id.clone()) },
        Column { name: "qos_policy_id", value: |it| it.desired.qos_policy_id.as_ref().map(ToString::to_string) },
    ];
    const LINKS: &'static [Link<Self>] = &[
        Link { name: "ip_address", values: |it| it.desired.fixed_ips.iter().map(|ip| ip.ip_address.to_string()).collect() },
        Link { name: "security_groups", values: |it| it.desired.security_groups.iter().map(ToString::to_string).collect() },
        Link { name: "tags", values: |it| it.desired.tags.clone() },
        Link { name: "subnet_id", values: |it| it.desired.fixed_ips.iter().map(|ip| ip.subnet_id.to_string()).collect() },
    ];
    const USAGE: Option<&'static str> = Some("port");

    /// What the switch fabric never was to bind is nothing to the engine.
    fn has_work(port: &crate::Object<Self>) -> bool {
        port.desired.was_wired || port.observed != PortObserved::default()
    }
}

impl NetworkDesired {
    /// A network as the defaults have it, of largest packets of `mtu` bytes.
    pub fn new(mtu: u32) -> Self {
        Self {
            admin_state_up: true,
            description: String::new(),
            tags: Vec::new(),
            mtu,
            port_security_enabled: true,
            segments: Vec::new(),
            dynamic: Vec::new(),
            released: Vec::new(),
            forced: None,
            is_default: false,
            dns_domain: String::new(),
            availability_zone_hints: Vec::new(),
            vlan_transparent: None,
            qos_policy_id: None,
        }
    }
}

impl SubnetDesired {
    /// A subnet as the defaults have it, without a gateway and without addresses to give out.
    pub fn new(network_id: Id<Network>, cidr: ipnet::IpNet) -> Self {
        Self {
            tags: Vec::new(),
            subnetpool_id: None,
            prefix_delegation: false,
            ipv6_ra_mode: None,
            ipv6_address_mode: None,
            service_types: Vec::new(),
            segment_id: None,
            dns_publish_fixed_ip: false,
            network_id,
            cidr,
            gateway_ip: None,
            allocation_pools: Vec::new(),
            dns_nameservers: Vec::new(),
            host_routes: Vec::new(),
            enable_dhcp: true,
            description: String::new(),
        }
    }
}

impl PortDesired {
    /// A port as the defaults have it, without addresses.
    pub fn new(network_id: Id<Network>, mac_address: String) -> Self {
        Self {
            tags: Vec::new(),
            security_groups: Vec::new(),
            allowed_address_pairs: Vec::new(),
            extra_dhcp_opts: Vec::new(),
            dns_name: String::new(),
            dns_domain: String::new(),
            qos_policy_id: None,
            propagate_uplink_status: true,
            numa_affinity_policy: None,
            device_profile: None,
            hints: None,
            trusted: None,
            data_plane_status: None,
            hardware_offload_type: None,
            network_id,
            mac_address,
            fixed_ips: Vec::new(),
            admin_state_up: true,
            device_id: String::new(),
            device_owner: String::new(),
            binding: Binding::default(),
            description: String::new(),
            port_security_enabled: true,
            plug: None,
            other_bindings: Vec::new(),
            was_wired: false,
        }
    }
}
