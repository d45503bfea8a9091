//! The machine's network interfaces, and giving one of them the address that DHCP granted.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use net::dhcp_client::{self, Ask, DhcpError, Lease};
use nix::net::if_::InterfaceFlags;

use super::kernel;
use super::medium::Static;

/// How long one round of DHCP may take.
const DHCP_DEADLINE: Duration = Duration::from_secs(30);

/// A network interface as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Device name.
    pub name: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// First IPv4 address.
    pub address: Option<Ipv4Addr>,
    /// First IPv6 address.
    pub address6: Option<Ipv6Addr>,
    /// Whether there is a link.
    pub carrier: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
}

impl Interface {
    /// The hardware address in lower case with colons.
    pub fn mac_text(&self) -> String {
        self.mac.map(|octet| format!("{octet:02x}")).join(":")
    }
}

/// Why the machine has no address.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The interfaces cannot be listed.
    #[error("cannot list network interfaces")]
    List(#[source] io::Error),
    /// None is suitable.
    #[error("there is no network interface {0}")]
    Absent(String),
    /// The interface exists but has no address, and DHCP is switched off.
    #[error("network interface {0} has no address")]
    NoAddress(String),
    /// The kernel refused a setting.
    #[error("cannot configure network interface {name}")]
    Configure {
        /// The device.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Nobody granted an address.
    #[error(transparent)]
    Dhcp(#[from] DhcpError),
}

/// All interfaces in the kernel's order, the loopback included.
///
/// # Errors
/// [`NetworkError::List`].
pub fn list() -> Result<Vec<Interface>, NetworkError> {
    let mut order = Vec::new();
    let mut found = BTreeMap::<String, Interface>::new();
    for it in nix::ifaddrs::getifaddrs().map_err(|errno| NetworkError::List(errno.into()))? {
        let interface = found.entry(it.interface_name.clone()).or_insert_with(|| {
            order.push(it.interface_name.clone());
            Interface { name: it.interface_name.clone(), ..Interface::default() }
        });
        interface.carrier = it.flags.contains(InterfaceFlags::IFF_RUNNING);
        interface.loopback = it.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = it.address else { continue };
        if let Some(mac) = address.as_link_addr().and_then(nix::sys::socket::LinkAddr::addr) {
            interface.mac = mac;
        }
        if let Some(ip) = address.as_sockaddr_in() {
            interface.address.get_or_insert(ip.ip());
        }
        if let Some(ip) = address.as_sockaddr_in6() {
            interface.address6.get_or_insert(ip.ip());
        }
    }
    Ok(order.iter().filter_map(|name| found.remove(name)).collect())
}

/// The interface to use: the one named, else the one the firmware booted from, else the first that has a link, else the first.
///
/// # Errors
/// [`NetworkError::Absent`]: it may still appear.
pub fn choose(all: &[Interface], name: Option<&str>, boot_mac: Option<&str>) -> Result<Interface, NetworkError> {
    let candidates = || all.iter().filter(|it| !it.loopback);
    let found = match name {
        Some(name) => all.iter().find(|it| it.name == name),
        None => boot_mac
            .and_then(|mac| candidates().find(|it| it.mac_text() == mac))
            .or_else(|| candidates().find(|it| it.carrier))
            .or_else(|| candidates().next()),
    };
    found.cloned().ok_or_else(|| NetworkError::Absent(name.unwrap_or("besides the loopback").to_owned()))
}

/// Brings the interface up, obtains a lease and configures address and default route. Blocking; repeatable.
///
/// # Errors
/// [`NetworkError`].
pub fn obtain(interface: &Interface) -> Result<Lease, NetworkError> {
    let configure = |source| NetworkError::Configure { name: interface.name.clone(), source };
    kernel::set_up(&interface.name).map_err(configure)?;
    let lease = dhcp_client::discover(&Ask {
        interface: interface.name.clone(),
        mac: interface.mac,
        vendor_class: None,
        user_class: None,
        arch: None,
        deadline: DHCP_DEADLINE,
    })?;
    kernel::set_address(&interface.name, lease.address, lease.prefix).map_err(configure)?;
    if let Some(router) = lease.router {
        kernel::add_default_route(router).map_err(configure)?;
    }
    Ok(lease)
}

/// Brings the interface up with an address that is known beforehand. Blocking, quick; repeatable.
///
/// # Errors
/// [`NetworkError::Configure`].
pub fn take(interface: &Interface, known: &Static) -> Result<(), NetworkError> {
    let configure = |source| NetworkError::Configure { name: interface.name.clone(), source };
    kernel::set_up(&interface.name).map_err(configure)?;
    kernel::set_address(&interface.name, known.address, known.prefix).map_err(configure)?;
    known.router.map_or(Ok(()), kernel::add_default_route).map_err(configure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, last: u8, carrier: bool) -> Interface {
        Interface { name: name.into(), mac: [0x52, 0x54, 0, 0, 0, last], carrier, loopback: name == "lo", ..Interface::default() }
    }

    #[test]
    fn the_loopback_is_listed_and_never_chosen_unasked() {
        let all = list().unwrap();
        let lo = all.iter().find(|it| it.name == "lo").unwrap();
        assert!(lo.loopback);
        assert!(choose(std::slice::from_ref(lo), None, None).is_err());
        assert_eq!(&choose(std::slice::from_ref(lo), Some("lo"), None).unwrap(), lo);
    }

    #[test]
    fn the_interface_booted_from_comes_first() {
        let all = [interface("lo", 0, true), interface("eth0", 1, false), interface("eth1", 2, true), interface("eth2", 3, true)];
        let chosen = |name, mac| choose(&all, name, mac).unwrap().name;
        assert_eq!(chosen(None, Some("52:54:00:00:00:03")), "eth2");
        assert_eq!(chosen(None, Some("52:54:00:00:00:99")), "eth1");
        assert_eq!(chosen(None, None), "eth1");
        assert_eq!(chosen(Some("eth0"), Some("52:54:00:00:00:03")), "eth0");
        assert!(choose(&all, Some("eth9"), None).is_err());
    }
}
