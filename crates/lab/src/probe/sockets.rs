//! An endpoint's sockets: made inside its network namespace, to which they belong for ever, and used from outside.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket, sockopt,
};

use super::Target;

/// Bytes a packet socket holds until they are read: enough for everything a run sends at once.
const RECEIVE_BUFFER: usize = 16 << 20;
/// What begins the names of interfaces that a container engine makes inside its machine.
const ENGINE_MADE: [&str; 6] = ["docker", "br-", "veth", "vx-", "vxlan", "ov-"];
/// `PACKET_OUTGOING` of packet(7).
const OUTGOING: u8 = 4;

/// A network interface, and two sockets on it: what is sent on one is seen by the other as it leaves.
pub(super) struct Nic {
    pub(super) name: String,
    pub(super) mac: [u8; 6],
    pub(super) send: OwnedFd,
    pub(super) receive: OwnedFd,
}

/// Everything of an endpoint that the probe works with.
pub(super) struct Open {
    pub(super) netns: File,
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) nics: Vec<Nic>,
    /// Hears.
    pub(super) udp: UdpSocket,
    /// Speaks.
    pub(super) mouth: UdpSocket,
    /// Whether packets to itself can work.
    pub(super) loopback: bool,
}

/// Runs `f` in a network namespace, on a thread of its own.
pub(super) fn inside<T: Send>(netns: &File, f: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).context("entering the network namespace")?;
            f()
        });
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread in the network namespace panicked")))
    })
}

/// Opens all sockets of an endpoint, with UDP on `port`.
///
/// # Errors
/// The namespace is gone, the port is taken, or the kernel refuses; a machine has no NIC that is up.
pub(super) fn open(target: &Target, port: u16) -> anyhow::Result<Open> {
    let netns = File::open(&target.netns).with_context(|| format!("opening {}", target.netns.display()))?;
    let inner = netns.try_clone()?;
    let is_machine = target.container.is_none();
    inside(&netns, move || {
        let mut addresses = Vec::new();
        let mut links: BTreeMap<String, LinkAddr> = BTreeMap::new();
        let mut loopback = false;
        for entry in getifaddrs().context("listing network interfaces")? {
            let up = entry.flags.contains(InterfaceFlags::IFF_UP);
            let is_loopback = entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            loopback |= up && is_loopback;
            let Some(address) = entry.address.filter(|_| up && !is_loopback) else { continue };
            if let Some(address) = address.as_sockaddr_in() {
                addresses.push(address.ip());
            }
            let inner = is_machine && ENGINE_MADE.iter().any(|prefix| entry.interface_name.starts_with(prefix));
            if let Some(link) = address.as_link_addr().filter(|_| !inner) {
                links.insert(entry.interface_name.clone(), *link);
            }
        }
        anyhow::ensure!(!is_machine || !links.is_empty(), "it has no network interface that is up");
        let nics = links.into_iter().map(|(name, link)| nic(&name, &link).with_context(|| format!("opening sockets on {name}")));
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| format!("binding UDP port {port}"))?;
        udp.set_nonblocking(true)?;
        let mouth = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("binding a UDP port")?;
        mouth.set_nonblocking(true)?;
        setsockopt(&udp, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        Ok(Open { netns: inner, nics: nics.collect::<anyhow::Result<_>>()?, addresses, udp, mouth, loopback })
    })
    .with_context(|| format!("preparing {}", target.name))
}

fn nic(name: &str, link: &LinkAddr) -> anyhow::Result<Nic> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Without a protocol it receives nothing.
    let sender = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    let receiver = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    setsockopt(&receiver, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    bind(sender.as_raw_fd(), link)?;
    bind(receiver.as_raw_fd(), link)?;
    let mac = link.addr().context("it has no hardware address")?;
    Ok(Nic { name: name.to_owned(), mac, send: sender, receive: receiver })
}

/// Sends a whole frame.
pub(super) fn send_frame(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    send(socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop).map_err(io::Error::from)
}

/// Receives a frame; says whether it was seen leaving (rather than arriving) and how long it is.
pub(super) fn receive_frame(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(bool, usize)> {
    let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer).map_err(io::Error::from)?;
    Ok((from.is_some_and(|from| from.pkttype() == OUTGOING), length))
}

/// Unconnected TCP sockets of the namespace.
pub(super) fn tcp_sockets(netns: &File, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    inside(netns, || {
        let sockets = (0..count).map(|_| Ok(TcpStream::from(socket(AddressFamily::Inet, SockType::Stream, flags, None)?)));
        sockets.collect()
    })
}
