//! Ethernet frames of our own, sent and received by a packet socket (packet(7)).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

/// "Local experimental ethertype 1" (IEEE 802, table of ethertypes): no protocol answers it.
const ETHERTYPE: u16 = 0x88b5;
/// An 802.1Q tag, and the outer tag of 802.1ad.
const TAG: u16 = 0x8100;
const OUTER_TAG: u16 = 0x88a8;
/// Shortest frame without its checksum.
const SHORTEST: usize = 60;
/// How often a receiver looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// To everybody.
pub(super) const BROADCAST: [u8; 6] = [0xff; 6];

/// The tags tried: none, a priority tag, VLANs that may be in use, the isolation VLAN, and pairs of tags.
pub(super) fn tags() -> Vec<Vec<(u16, u16)>> {
    let single = [0, 1, 99, crate::rack::ISOLATION_VLAN].into_iter().chain(100..=131).map(|vlan| vec![(TAG, vlan)]);
    let double = [(99, 100), (100, 101), (101, 100), (1, 100)].map(|(outer, inner)| vec![(OUTER_TAG, outer), (TAG, inner)]);
    let twice = [(100, 101), (101, 100)].map(|(outer, inner)| vec![(TAG, outer), (TAG, inner)]);
    std::iter::once(Vec::new()).chain(single).chain(double).chain(twice).collect()
}

/// `52:54:00:12:34:56` as bytes.
pub(super) fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// Packet sockets on one card of the calling thread's namespace: one sends, one receives. A packet socket does not see what it sent
/// itself, and hearing oneself is the proof of not being deaf.
pub(super) struct Card {
    sender: OwnedFd,
    receiver: OwnedFd,
    source: [u8; 6],
}

impl Card {
    /// Opens the card of that name.
    pub(super) fn open(name: &str) -> io::Result<Card> {
        let index = nix::net::if_::if_nametoindex(name)?;
        let open = || -> io::Result<OwnedFd> {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
            bind(&socket, index)?;
            Ok(socket)
        };
        let (sender, receiver) = (open()?, open()?);
        let micros = i64::try_from(PATIENCE.as_micros()).unwrap_or(100_000);
        setsockopt(&receiver, sockopt::ReceiveTimeout, &TimeVal::new(0, micros))?;
        // Whole bursts of all machines fit.
        setsockopt(&receiver, sockopt::RcvBuf, &(8 << 20))?;
        let source = nix::ifaddrs::getifaddrs()?
            .filter(|it| it.interface_name == name)
            .find_map(|it| it.address?.as_link_addr()?.addr())
            .ok_or_else(|| io::Error::other(format!("{name} has no hardware address")))?;
        Ok(Card { sender, receiver, source })
    }

    /// Sends one frame.
    pub(super) fn send(&self, to: [u8; 6], tags: &[(u16, u16)], payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(SHORTEST);
        frame.extend_from_slice(&to);
        frame.extend_from_slice(&self.source);
        for (kind, vlan) in tags {
            frame.extend_from_slice(&kind.to_be_bytes());
            frame.extend_from_slice(&vlan.to_be_bytes());
        }
        frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
        frame.extend_from_slice(payload);
        frame.resize(frame.len().max(SHORTEST), 0);
        match nix::sys::socket::send(self.sender.as_raw_fd(), &frame, nix::sys::socket::MsgFlags::empty()) {
            Ok(_) => Ok(()),
            // A full queue loses this one frame, as a network may.
            Err(nix::errno::Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The payload of the next of our frames; `None` if none came for a moment, or another's.
    pub(super) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = [0_u8; 2048];
        let read = match nix::sys::socket::recv(self.receiver.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::empty()) {
            Ok(read) => read,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(payload(frame.get(..read).unwrap_or_default()).map(<[u8]>::to_vec))
    }
}

/// What follows our ethertype, behind whatever tags are left.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        let kind = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?);
        match kind {
            ETHERTYPE => return frame.get(at + 2..),
            TAG | OUTER_TAG => at += 4,
            _ => return None,
        }
    }
}

#[expect(unsafe_code, reason = "the library offers no way to make the address of a packet socket")]
fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    // SAFETY: all-zero bytes are a valid sockaddr_ll; the fields that matter are set below.
    let mut address: nix::libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = nix::libc::AF_PACKET as u16;
    address.sll_protocol = (nix::libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index;
    let length = size_of::<nix::libc::sockaddr_ll>() as nix::libc::socklen_t;
    // SAFETY: the pointer is to a live sockaddr_ll of the length given, which the kernel only reads during the call.
    let result = unsafe { nix::libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_found_behind_tags() {
        let mut frame = vec![0; 12];
        frame.extend([0x88, 0xa8, 0, 99, 0x81, 0, 0, 100, 0x88, 0xb5, b'x']);
        assert_eq!(payload(&frame), Some(&b"x"[..]));
        assert_eq!(payload(&frame[..13]), None);
        assert_eq!(payload(&[0; 64]), None);
        assert!(tags().contains(&vec![]) && tags().contains(&vec![(TAG, 4094)]));
    }
}
