//! The few interface settings for which the initrd has no program: `ip` is not in it.
//!
//! Source: netdevice(7) and rtentry in `linux/route.h`.
#![expect(unsafe_code, reason = "these settings are made by ioctl, which has no safe form")]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

nix::ioctl_readwrite_bad!(get_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_if_address, libc::SIOCSIFADDR, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_if_netmask, libc::SIOCSIFNETMASK, libc::ifreq);
nix::ioctl_write_ptr_bad!(add_route, libc::SIOCADDRT, libc::rtentry);
// BLKDISCARD of linux/fs.h.
nix::ioctl_write_ptr_bad!(discard_range, nix::request_code_none!(0x12, 119), [u64; 2]);

fn control() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?)
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    // The layout of sockaddr_in: two bytes of port, then the address in network order.
    for (place, octet) in data.iter_mut().skip(2).zip(address.octets()) {
        *place = libc::c_char::from_ne_bytes([octet]);
    }
    libc::sockaddr { sa_family: libc::AF_INET.try_into().unwrap_or_default(), sa_data: data }
}

fn request(name: &str, address: Ipv4Addr) -> io::Result<libc::ifreq> {
    let mut bytes = [0; libc::IFNAMSIZ];
    // The last byte stays zero and ends the name.
    if name.is_empty() || name.len() >= bytes.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device name"));
    }
    for (place, byte) in bytes.iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    Ok(libc::ifreq { ifr_name: bytes, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_addr: sockaddr(address) } })
}

/// Brings an interface up.
///
/// # Errors
/// As the kernel says.
pub fn set_up(name: &str) -> io::Result<()> {
    switch(name, true)
}

/// Takes an interface down.
///
/// # Errors
/// As the kernel says.
pub fn set_down(name: &str) -> io::Result<()> {
    switch(name, false)
}

fn switch(name: &str, on: bool) -> io::Result<()> {
    let control = control()?;
    let mut request = request(name, Ipv4Addr::UNSPECIFIED)?;
    // SAFETY: `request` is a whole `ifreq` that outlives the call; the kernel writes the flags into its union.
    unsafe { get_flags(control.as_raw_fd(), &raw mut request) }?;
    // SAFETY: the kernel has just made the flags the valid member of the union; any bit pattern is a valid integer.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
    request.ifr_ifru.ifru_flags = if on { flags | up } else { flags & !up };
    // SAFETY: `request` is a whole `ifreq` that outlives the call; the kernel only reads it.
    unsafe { set_flags(control.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Gives an interface its one IPv4 address, in place of the one it had.
///
/// # Errors
/// As the kernel says.
pub fn set_address(name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let control = control()?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    let (address, mask) = (request(name, address)?, request(name, Ipv4Addr::from(mask))?);
    // SAFETY: `address` is a whole `ifreq` that outlives the call; the kernel only reads it.
    unsafe { set_if_address(control.as_raw_fd(), &raw const address) }?;
    // SAFETY: `mask` is a whole `ifreq` that outlives the call; the kernel only reads it.
    unsafe { set_if_netmask(control.as_raw_fd(), &raw const mask) }?;
    Ok(())
}

/// Adds the default route; one that is there already is success.
///
/// # Errors
/// As the kernel says; the router must be in the subnet of an interface that is up.
pub fn add_default_route(router: Ipv4Addr) -> io::Result<()> {
    let control = control()?;
    // SAFETY: `rtentry` is plain data of integers, pointers and addresses, for all of which zero is a valid value.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = sockaddr(router);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: `route` is a whole `rtentry` that outlives the call; its device pointer is null, which means "any".
    match unsafe { add_route(control.as_raw_fd(), &raw const route) } {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a socket that receives the frames of one Ethernet type on one interface, those to `groups` included, each with its
/// header.
///
/// # Errors
/// As the kernel says; it wants the right to open raw sockets.
pub fn listen(name: &str, ethertype: u16, groups: &[[u8; 6]]) -> io::Result<OwnedFd> {
    let index = i32::try_from(nix::net::if_::if_nametoindex(name)?).map_err(io::Error::other)?;
    // Without a type at first, so that nothing arrives before the socket is bound to its interface.
    // SAFETY: socket(2) takes three numbers and touches no memory of ours.
    let socket = Errno::result(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `socket` was just opened and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    for group in groups {
        let mut address = [0; 8];
        for (place, byte) in address.iter_mut().zip(group) {
            *place = *byte;
        }
        let member = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::PACKET_MR_MULTICAST.try_into().unwrap_or_default(),
            mr_alen: 6,
            mr_address: address,
        };
        // SAFETY: `member` is a whole `packet_mreq` of the size given, and outlives the call.
        let joined = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const member).cast(),
                size_of_val(&member).try_into().unwrap_or_default(),
            )
        };
        Errno::result(joined)?;
    }
    // SAFETY: `sockaddr_ll` is plain data of integers, for all of which zero is a valid value.
    let mut bound: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    bound.sll_family = libc::AF_PACKET.try_into().unwrap_or_default();
    bound.sll_protocol = ethertype.to_be();
    bound.sll_ifindex = index;
    // SAFETY: `bound` is a whole `sockaddr_ll` of the size given, and outlives the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const bound).cast(), size_of_val(&bound).try_into().unwrap_or_default()) };
    Errno::result(done)?;
    Ok(socket)
}

/// Tells a block device that none of its data is wanted any more. Whether it forgets them is its own affair.
///
/// # Errors
/// As the kernel says; `EOPNOTSUPP` where the device cannot.
pub fn discard(device: &std::fs::File, size: u64) -> io::Result<()> {
    let range = [0, size];
    // SAFETY: BLKDISCARD reads two 64-bit numbers, and `range` is that and outlives the call.
    unsafe { discard_range(device.as_raw_fd(), &raw const range) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(request("", Ipv4Addr::LOCALHOST).is_err());
        assert!(request("a-name-of-16-chr", Ipv4Addr::LOCALHOST).is_err());
        assert!(request("fifteen-letters", Ipv4Addr::LOCALHOST).is_ok());
    }

    #[test]
    fn address_and_route_are_really_set() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: a network namespace needs root");
            return;
        }
        // The namespace belongs to this thread and ends with it.
        std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            set_up("lo").unwrap();
            set_address("lo", Ipv4Addr::new(10, 9, 8, 7), 24).unwrap();
            set_address("lo", Ipv4Addr::new(10, 9, 8, 6), 23).unwrap();
            let lo = super::super::interface::list().unwrap().into_iter().find(|it| it.name == "lo").unwrap();
            assert_eq!((lo.address, lo.carrier), (Some(Ipv4Addr::new(10, 9, 8, 6)), true));
            assert!(add_default_route(Ipv4Addr::new(192, 0, 2, 1)).is_err(), "a router out of reach");
            assert!(set_address("eth0", Ipv4Addr::new(10, 9, 8, 7), 24).is_err(), "no such device");
            let netmasks: Vec<_> = nix::ifaddrs::getifaddrs()
                .unwrap()
                .filter_map(|it| it.netmask.and_then(|mask| mask.as_sockaddr_in().map(|it| it.ip())))
                .collect();
            assert_eq!(netmasks, [Ipv4Addr::new(255, 255, 254, 0)]);
            // A route over the loopback device is refused to a router that is our own address.
            let routed = add_default_route(Ipv4Addr::new(10, 9, 9, 1));
            let table = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
            assert_eq!(routed.is_ok(), table.lines().any(|line| line.contains("0109090A")), "{routed:?} {table}");
        })
        .join()
        .unwrap();
    }
}
