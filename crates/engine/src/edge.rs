//! This host's own attachments: to the provisioning networks, and to each cluster's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use drivers::edge::{EdgeAttachment, ensure_attachment};
use model::net::{AllocationPool, Binding, FixedIp, Network, NetworkDesired, Port, PortDesired, Segment, Subnet, ip_key};
use model::{Id, Object};
use serde_json::json;

use crate::runtime::{Cx, Fault, Shared};

/// `device_owner` of the control plane's own ports.
pub(crate) const ACCESS_OWNER: &str = "network:cofferdam-access";
/// Packets of this size pass everywhere.
const MTU: u16 = 1500;

/// The name of the namespace of an attachment to a network.
pub(crate) fn netns(shared: &Shared, network: &Id<Network>) -> Result<String, Fault> {
    let edge = shared.config.edge.as_ref().ok_or_else(|| Fault::outside("this host has no edge switch ([edge] in the configuration)"))?;
    Ok(format!("{}{}", edge.netns_prefix, network.short()))
}

/// The name an access port has on the edge switch.
pub(crate) fn port_name(port: &Id<Port>) -> String {
    format!("e{}", port.short())
}

/// The gateway and the pools of a subnet as they are when nobody says otherwise: the first address is the gateway's, the rest up to
/// the broadcast address is handed out.
pub(crate) fn usual_layout(cidr: ipnet::Ipv4Net) -> (Ipv4Addr, AllocationPool) {
    let first = u32::from(cidr.network());
    let last = u32::from(cidr.broadcast());
    let pool = AllocationPool {
        start: IpAddr::V4(Ipv4Addr::from(first.saturating_add(2).min(last))),
        end: IpAddr::V4(Ipv4Addr::from(last.saturating_sub(1).max(first))),
    };
    (Ipv4Addr::from(first.saturating_add(1)), pool)
}

/// The lowest address of the subnet's pools that nobody holds.
pub(crate) async fn next_address(cx: &Cx, subnet: &Object<Subnet>) -> Result<IpAddr, Fault> {
    let held: std::collections::HashSet<String> =
        cx.store.allocations(&format!("ip:{}", subnet.id)).await?.into_iter().map(|it| it.value).collect();
    for pool in &subnet.desired.allocation_pools {
        if let (IpAddr::V4(start), IpAddr::V4(end)) = (pool.start, pool.end) {
            let free = (u32::from(start)..=u32::from(end)).map(|it| IpAddr::V4(it.into())).find(|it| !held.contains(&ip_key(*it)));
            if let Some(free) = free {
                return Ok(free);
            }
        }
    }
    Err(Fault::Outside(format!("subnet {} has no free address", subnet.id)))
}

/// A port with one address.
pub(crate) fn port(
    network: &Id<Network>,
    subnet: &Id<Subnet>,
    address: IpAddr,
    mac: &str,
    owner: &str,
    device: &str,
    binding: Binding,
) -> PortDesired {
    PortDesired {
        fixed_ips: vec![FixedIp { subnet_id: subnet.clone(), ip_address: address }],
        device_id: device.to_owned(),
        device_owner: owner.to_owned(),
        binding,
        was_wired: true,
        port_security_enabled: false,
        ..PortDesired::new(network.clone(), mac.to_owned())
    }
}

/// The hardware address of one of our own ports: computed, so that making it twice makes the same.
pub(crate) fn mac(port: &Id<Port>) -> String {
    let digits = port.short();
    let pair = |at: usize| digits.get(at..at + 2).unwrap_or("00");
    format!("fa:16:3e:{}:{}:{}", pair(0), pair(2), pair(4))
}

/// The binding of an access port: to the edge switch.
pub(crate) fn access_binding(cx: &Cx, port: &Id<Port>) -> Result<Binding, Fault> {
    let edge = cx.config.edge.as_ref().ok_or_else(|| Fault::outside("this host has no edge switch ([edge] in the configuration)"))?;
    let mut profile = serde_json::Map::new();
    profile.insert("local_link_information".into(), json!([{"switch_id": "", "switch_info": edge.switch, "port_id": port_name(port)}]));
    Ok(Binding { host_id: edge.switch.clone(), vnic_type: "normal".into(), profile })
}

/// Lays the cable of an access port: a namespace with `eth0`, the other end in the edge switch's namespace.
pub(crate) async fn attach(cx: &Cx, port: &Object<Port>, prefix: u8, address6: Option<(Ipv6Addr, u8)>) -> Result<(), Fault> {
    let edge = cx.config.edge.as_ref().ok_or_else(|| Fault::outside("this host has no edge switch ([edge] in the configuration)"))?;
    let address = port.desired.fixed_ips.first().and_then(|it| match it.ip_address {
        IpAddr::V4(address) => Some((address, prefix)),
        IpAddr::V6(_) => None,
    });
    let mac =
        parse_mac(&port.desired.mac_address).ok_or_else(|| Fault::Outside(format!("{} is not a MAC address", port.desired.mac_address)))?;
    let wanted = EdgeAttachment {
        netns: netns(cx, &port.desired.network_id)?,
        edge_netns: edge.netns.clone(),
        port: port_name(&port.id),
        mac,
        address,
        address6,
        mtu: MTU,
    };
    ensure_attachment(&wanted).await.map_err(Fault::outside)
}

/// `52:54:00:12:34:56` as bytes.
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// A network on a segment.
pub(crate) fn network(segment: Segment, description: &str) -> NetworkDesired {
    NetworkDesired {
        description: description.to_owned(),
        port_security_enabled: false,
        segments: vec![segment],
        ..NetworkDesired::new(u32::from(MTU))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_of_a_subnet() {
        let (gateway, pool) = usual_layout("10.0.0.0/24".parse().unwrap());
        assert_eq!(gateway.to_string(), "10.0.0.1");
        assert_eq!((pool.start.to_string(), pool.end.to_string()), ("10.0.0.2".into(), "10.0.0.254".into()));
    }

    #[test]
    fn macs() {
        assert_eq!(parse_mac("52:54:00:ab:cd:ef"), Some([0x52, 0x54, 0, 0xab, 0xcd, 0xef]));
        assert_eq!(parse_mac("52:54:00:ab:cd"), None);
        let port: Id<Port> = Id::derived("x");
        assert!(parse_mac(&mac(&port)).is_some());
    }
}
