//! Gateways that connect networks with others on the same layer 2: by switches, or with those of another cloud.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Network, noun};
use crate::Id;

/// Places on switches where networks can be connected.
pub enum L2Gateway {}
/// A network at a gateway.
pub enum L2GatewayConnection {}
/// A gateway of another cloud.
pub enum L2RemoteGateway {}
/// A network that is led to another cloud's gateway.
pub enum L2RemoteGatewayConnection {}
/// A hardware address behind another cloud's gateway.
pub enum L2RemoteMac {}

/// A place on a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayInterface {
    /// Its name on the switch.
    pub name: String,
    /// The VLANs there; none: those of the connections.
    #[serde(default)]
    pub segmentation_ids: Vec<u16>,
}

/// A switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayDevice {
    /// Its id.
    pub id: Id<GatewayDevice>,
    /// Its name.
    pub device_name: String,
    /// Places on it.
    pub interfaces: Vec<GatewayInterface>,
}

/// What is wanted of an [`L2Gateway`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct L2GatewayDesired {
    /// Its switches.
    #[serde(default)]
    pub devices: Vec<GatewayDevice>,
}

impl L2GatewayDesired {
    /// Whether it says itself in which VLANs networks are at its places.
    pub fn has_segmentation(&self) -> bool {
        self.devices.iter().flat_map(|it| &it.interfaces).flat_map(|it| &it.segmentation_ids).any(|it| *it > 0)
    }
}

/// What is wanted of an [`L2GatewayConnection`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2GatewayConnectionDesired {
    /// The gateway.
    pub l2_gateway_id: Id<L2Gateway>,
    /// The network.
    pub network_id: Id<Network>,
    /// The VLAN it is in at the gateway; none: as the gateway says.
    #[serde(default)]
    pub segmentation_id: Option<u16>,
}

/// What is wanted of an [`L2RemoteGateway`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2RemoteGatewayDesired {
    /// Where its end of tunnels is.
    pub ipaddr: IpAddr,
}

/// What is wanted of an [`L2RemoteGatewayConnection`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2RemoteGatewayConnectionDesired {
    /// The gateway of this cloud.
    pub gateway: Id<L2Gateway>,
    /// The network.
    pub network: Id<Network>,
    /// The other cloud's gateway.
    pub remote_gateway: Id<L2RemoteGateway>,
    /// The tunnel's key; none: the network's segmentation id.
    #[serde(default)]
    pub seg_id: Option<u32>,
    /// Whether packets to unknown addresses and to all go there too.
    #[serde(default)]
    pub flood: bool,
}

/// What is wanted of an [`L2RemoteMac`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2RemoteMacDesired {
    /// The hardware address, lower case with colons.
    pub mac: String,
    /// The address that goes with it.
    #[serde(default)]
    pub ipaddr: Option<IpAddr>,
    /// The connection through which it is reached.
    pub rgw_connection: Id<L2RemoteGatewayConnection>,
}

noun!(L2Gateway, "l2_gateway", L2GatewayDesired, usage: None, columns: [], links: []);
noun!(
    L2GatewayConnection,
    "l2_gateway_connection",
    L2GatewayConnectionDesired,
    usage: Some("l2-gateway-connection"),
    columns: [
        "l2_gateway_id" = |it| Some(it.desired.l2_gateway_id.to_string()),
        "network_id" = |it| Some(it.desired.network_id.to_string()),
    ],
    links: [],
);
noun!(L2RemoteGateway, "l2_remote_gateway", L2RemoteGatewayDesired, usage: None, columns: [], links: []);
noun!(
    L2RemoteGatewayConnection,
    "l2_remote_gateway_connection",
    L2RemoteGatewayConnectionDesired,
    usage: None,
    columns: [
        "gateway" = |it| Some(it.desired.gateway.to_string()),
        "network" = |it| Some(it.desired.network.to_string()),
        "remote_gateway" = |it| Some(it.desired.remote_gateway.to_string()),
    ],
    links: [],
);
noun!(
    L2RemoteMac,
    "l2_remote_mac",
    L2RemoteMacDesired,
    usage: None,
    columns: ["rgw_connection" = |it| Some(it.desired.rgw_connection.to_string()), "mac" = |it| Some(it.desired.mac.clone())],
    links: [],
);
