//! Router advertisements on the provisioning network (RFC 4861, section 4.2): they tell machines that boot over IPv6 that addresses
//! come by DHCPv6 and that the network's prefix is on the link. No route is offered.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use net::Netns;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use tokio::net::UdpSocket;

/// How often all are told without having asked.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the prefix holds, in seconds.
const LIFETIME: u32 = 1800;
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Who advertises.
pub struct Advertiser {
    /// A raw socket of ICMPv6, which the kernel sends and receives on as on one of UDP.
    socket: UdpSocket,
    device: u32,
    prefix: Ipv6Addr,
}

impl Advertiser {
    /// Opens the socket on the device in the namespace. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// If the namespace or the device does not exist, or raw sockets are not allowed.
    pub fn bind(netns: &Netns, device: &str, prefix: Ipv6Addr) -> io::Result<Self> {
        let (socket, device) = netns.run(|| -> io::Result<(std::net::UdpSocket, u32)> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
            setsockopt(&fd, sockopt::BindToDevice, &device.into())?;
            // What has passed a router is not of this link and is ignored by who receives it (RFC 4861, section 6.1.2).
            setsockopt(&fd, sockopt::Ipv6MulticastHops, &255)?;
            let index = nix::net::if_::if_nametoindex(device)?;
            let socket = std::net::UdpSocket::from(fd);
            socket.join_multicast_v6(&ALL_ROUTERS, index)?;
            Ok((socket, index))
        })??;
        Ok(Self { socket: UdpSocket::from_std(socket)?, device, prefix })
    }

    /// Advertises until the future is dropped or the socket breaks.
    ///
    /// # Errors
    /// If receiving fails for good.
    pub async fn run(self) -> io::Result<()> {
        let message = advertisement(self.prefix);
        let mut clock = tokio::time::interval(INTERVAL);
        let mut buffer = [0_u8; 1500];
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                read = self.socket.recv_from(&mut buffer) => {
                    if read?.0 < 8 || buffer.first() != Some(&SOLICITATION) {
                        continue;
                    }
                }
            }
            if let Err(error) = self.socket.send_to(&message, SocketAddrV6::new(ALL_NODES, 0, 0, self.device)).await {
                tracing::debug!(%error, "a router advertisement was not sent");
            }
        }
    }
}

/// The message; the kernel adds the checksum.
fn advertisement(prefix: Ipv6Addr) -> Vec<u8> {
    // Hop limit 64; managed addresses and other configuration by DHCPv6; a router lifetime of 0: no default route.
    let mut out = vec![ADVERTISEMENT, 0, 0, 0, 64, 0xc0, 0, 0];
    out.extend([0; 8]);
    // The prefix: on the link, not for addresses of one's own making.
    out.extend([3, 4, 64, 0x80]);
    out.extend(LIFETIME.to_be_bytes());
    out.extend(LIFETIME.to_be_bytes());
    out.extend([0; 4]);
    let [p0, p1, p2, p3, p4, p5, p6, p7, ..] = prefix.octets();
    out.extend([p0, p1, p2, p3, p4, p5, p6, p7, 0, 0, 0, 0, 0, 0, 0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_by_dhcp_and_no_route_is_offered() {
        let message = advertisement("fd00:7::1".parse().unwrap());
        assert_eq!(message.len(), 48);
        assert_eq!((message[0], message[5] & 0xc0, &message[6..8]), (134, 0xc0, &[0, 0][..]));
        assert_eq!(&message[32..48], "fd00:7::".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(message[19] & 0x40, 0, "no address of one's own making");
    }
}
