//! Addresses of subnets: which there are, which may be taken, and what of a subnet is refused.
//!
//! What is refused, and with which exception, follows Neutron 29: `neutron/ipam/utils.py`, `neutron/db/ipam_backend_mixin.py` and
//! `_validate_subnet` of `neutron/db/db_base_plugin_v2.py`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use model::net::{AllocationPool, Ipv6Mode};

/// The bit of an interface identifier that says "universal"; inverted in EUI-64 addresses (RFC 4291, appendix A).
const UNIVERSAL: u128 = 1 << 57;
/// What lies between the halves of a MAC address in an EUI-64 identifier.
const EUI64_MIDDLE: u128 = 0xff_fe00_0000;
const EUI64_MIDDLE_MASK: u128 = 0xff_ff00_0000;
/// The prefix length EUI-64 addresses need (RFC 4862, section 5.5.3).
const EUI64_PREFIX: u8 = 64;

/// Owners of ports that belong to routers: these may have the first address of an IPv6 subnet.
const ROUTER_OWNERS: [&str; 5] = [
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
    "network:router_centralized_snat",
    "network:router_gateway",
];

/// The address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(it) => u128::from(u32::from(it)),
        IpAddr::V6(it) => u128::from(it),
    }
}

/// The address of that number in the family of `like`; none if the family has no such number.
pub fn address(number: u128, like: IpAddr) -> Option<IpAddr> {
    match like {
        IpAddr::V4(_) => u32::try_from(number).ok().map(|it| IpAddr::V4(it.into())),
        IpAddr::V6(_) => Some(IpAddr::V6(number.into())),
    }
}

/// 4 or 6.
pub fn version(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// First and last address of the network, whatever they are for.
pub fn span(cidr: &IpNet) -> (u128, u128) {
    (number(cidr.network()), number(cidr.broadcast()))
}

/// First and last address that allocation pools may have: IPv4 up to /30 without network and broadcast address; IPv6 without the first
/// address (a /127 thus has one); of a single address, that.
pub fn usable(cidr: &IpNet) -> (u128, u128) {
    let (first, last) = span(cidr);
    match cidr {
        IpNet::V4(it) if it.prefix_len() <= 30 => (first + 1, last - 1),
        IpNet::V6(it) if it.prefix_len() <= 127 => (first + 1, last),
        IpNet::V4(_) | IpNet::V6(_) => (first, last),
    }
}

/// The pools of a subnet for which none were given: all usable addresses without the gateway's.
pub fn usual_pools(cidr: &IpNet, gateway: Option<IpAddr>) -> Vec<AllocationPool> {
    let (first, last) = usable(cidr);
    let pool = |start: u128, end: u128| Some(AllocationPool { start: address(start, cidr.network())?, end: address(end, cidr.network())? });
    // A subnet of one address keeps it in its pool even when it is the gateway.
    let single = cidr.prefix_len() == cidr.max_prefix_len();
    let gateway = gateway.filter(|it| !single && it.is_ipv4() == cidr.network().is_ipv4()).map(number);
    match gateway.filter(|it| (first..=last).contains(it)) {
        None => pool(first, last).into_iter().collect(),
        Some(gateway) => {
            let before = (gateway > first).then(|| pool(first, gateway - 1)).flatten();
            let after = (gateway < last).then(|| pool(gateway + 1, last)).flatten();
            before.into_iter().chain(after).collect()
        }
    }
}

/// The gateway of a subnet for which none was given: the first address after the network's. For an IPv6 cidr that the client named it is
/// the network address itself (the anycast address of routers); `from_pool` says that the cidr came out of a subnet pool instead.
/// None only at the very end of the family.
pub fn default_gateway(cidr: &IpNet, from_pool: bool) -> Option<IpAddr> {
    let network = cidr.network();
    if network.is_ipv6() && !from_pool { Some(network) } else { address(number(network).checked_add(1)?, network) }
}

/// Whether a port may ask for this very address in the subnet, inside a pool or not. `device_owner` is the port's; empty where it is not
/// known. IPv4's network and broadcast address are for nobody, IPv6's first address is for routers only.
pub fn may_hold(cidr: &IpNet, wanted: IpAddr, device_owner: &str) -> bool {
    if !cidr.contains(&wanted) {
        return false;
    }
    match cidr {
        IpNet::V4(it) => wanted != it.network() && (it.prefix_len() > 30 || wanted != it.broadcast()),
        IpNet::V6(it) => wanted != it.network() || device_owner.is_empty() || ROUTER_OWNERS.contains(&device_owner),
    }
}

/// The EUI-64 address of that MAC address in the prefix; none if the text is not a MAC address (six pairs of hexadecimal digits between
/// colons or hyphens).
pub fn eui64(net: Ipv6Net, mac: &str) -> Option<Ipv6Addr> {
    let mut bytes = [0_u8; 6];
    let mut parts = mac.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|it| it.len() == 2 && it.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    if parts.next().is_some() {
        return None;
    }
    let [a, b, c, d, e, f] = bytes;
    let identifier = u64::from_be_bytes([a, b, c, 0xff, 0xfe, d, e, f]);
    let sum = u128::from(net.network()).checked_add(u128::from(identifier))?;
    Some(Ipv6Addr::from(sum ^ UNIVERSAL))
}

/// Whether the address looks like one made by EUI-64.
pub fn is_eui64(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(it) if u128::from(it) & EUI64_MIDDLE_MASK == EUI64_MIDDLE)
}

/// The mode as Neutron spells it.
fn name(mode: Ipv6Mode) -> &'static str {
    match mode {
        Ipv6Mode::Slaac => "slaac",
        Ipv6Mode::Dhcpv6Stateful => "dhcpv6-stateful",
        Ipv6Mode::Dhcpv6Stateless => "dhcpv6-stateless",
    }
}

/// Whether every port of the network gets an EUI-64 address from a subnet of these modes.
pub fn is_auto_addressed(ra_mode: Option<Ipv6Mode>, address_mode: Option<Ipv6Mode>) -> bool {
    ra_mode.is_some_and(Ipv6Mode::is_automatic) || address_mode.is_some_and(Ipv6Mode::is_automatic)
}

/// Why something about addresses is refused. [`Refused::kind`] is Neutron's name of it, its text Neutron's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A pool whose ends are in the wrong order or not of the subnet's family.
    InvalidPool(AllocationPool),
    /// A pool that reaches beyond the addresses that may be given out.
    PoolOutOfBounds(AllocationPool, IpNet),
    /// Two pools that share addresses.
    PoolsOverlap(AllocationPool, AllocationPool, IpNet),
    /// A gateway that could be given to a port.
    GatewayInPool(IpAddr, AllocationPool),
    /// Anything else, in words.
    Input(String),
    /// Something about prefix delegation, in words.
    Delegation(&'static str),
}

impl Refused {
    /// The name of Neutron's exception.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidPool(_) => "InvalidAllocationPool",
            Self::PoolOutOfBounds(..) => "OutOfBoundsAllocationPool",
            Self::PoolsOverlap(..) => "OverlappingAllocationPools",
            Self::GatewayInPool(..) => "GatewayConflictWithAllocationPools",
            Self::Input(_) => "InvalidInput",
            Self::Delegation(_) => "BadRequest",
        }
    }

    /// The HTTP status it is answered with: 400 or 409.
    pub fn status(&self) -> u16 {
        match self {
            Self::PoolsOverlap(..) | Self::GatewayInPool(..) => 409,
            Self::InvalidPool(_) | Self::PoolOutOfBounds(..) | Self::Input(_) | Self::Delegation(_) => 400,
        }
    }
}

/// A pool as messages show it.
struct Shown<'a>(&'a AllocationPool);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start, self.0.end)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPool(pool) => write!(f, "The allocation pool {} is not valid.", Shown(pool)),
            Self::PoolOutOfBounds(pool, cidr) => write!(f, "The allocation pool {} spans beyond the subnet cidr {cidr}.", Shown(pool)),
            Self::PoolsOverlap(a, b, cidr) => {
                write!(f, "Found overlapping allocation pools: {} {} for subnet {cidr}.", Shown(a), Shown(b))
            }
            Self::GatewayInPool(gateway, pool) => write!(f, "Gateway ip {gateway} conflicts with allocation pool {}.", Shown(pool)),
            Self::Input(why) => write!(f, "Invalid input for operation: {why}."),
            Self::Delegation(why) => write!(f, "Bad subnets request: {why}."),
        }
    }
}

impl std::error::Error for Refused {}

fn input(why: impl Into<String>) -> Refused {
    Refused::Input(why.into())
}

/// Checks pools that the client named.
///
/// # Errors
/// A pool with its ends in the wrong order or of another family, one with addresses that may not be given out, or two that overlap.
pub fn check_pools(cidr: &IpNet, pools: &[AllocationPool]) -> Result<(), Refused> {
    // Beyond all addresses when the family ends with the subnet's first, so that nothing fits, as in a /128.
    let (first, last) = match cidr {
        IpNet::V6(it) if it.prefix_len() == 128 => (number(cidr.network()).saturating_add(1), number(cidr.network())),
        _ => usable(cidr),
    };
    let family = cidr.network().is_ipv4();
    for pool in pools {
        if pool.start.is_ipv4() != family || pool.end.is_ipv4() != family || number(pool.start) > number(pool.end) {
            return Err(Refused::InvalidPool(*pool));
        }
        if number(pool.start) < first || number(pool.end) > last {
            return Err(Refused::PoolOutOfBounds(*pool, *cidr));
        }
    }
    let mut sorted: Vec<&AllocationPool> = pools.iter().collect();
    sorted.sort_by_key(|it| (number(it.start), number(it.end)));
    let overlapping = sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| number(a.end) >= number(b.start));
    overlapping.map_or(Ok(()), |(a, b)| Err(Refused::PoolsOverlap(**a, **b, *cidr)))
}

/// Checks that no pool gives the gateway's address away.
///
/// # Errors
/// The pool that holds it.
pub fn check_gateway_outside(gateway: IpAddr, pools: &[AllocationPool]) -> Result<(), Refused> {
    let inside = |pool: &&AllocationPool| {
        pool.start.is_ipv4() == gateway.is_ipv4() && (number(pool.start)..=number(pool.end)).contains(&number(gateway))
    };
    pools.iter().find(inside).map_or(Ok(()), |pool| Err(Refused::GatewayInPool(gateway, *pool)))
}

/// Checks a gateway: of the subnet's family, and not IPv4's network or last address. It may lie outside of the subnet.
///
/// # Errors
/// What is wrong with it.
pub fn check_gateway(cidr: &IpNet, gateway: IpAddr) -> Result<(), Refused> {
    check_version(version(cidr.network()), gateway, "gateway_ip")?;
    match cidr {
        IpNet::V4(it) if gateway == it.network() || gateway == it.broadcast() => Err(input("Gateway is not valid on subnet")),
        IpNet::V4(_) | IpNet::V6(_) => Ok(()),
    }
}

/// Checks that an address given as the field `name` is of the subnet's family.
///
/// # Errors
/// It is of the other.
pub fn check_version(ip_version: u8, given: IpAddr, name: &str) -> Result<(), Refused> {
    if version(given) == ip_version {
        return Ok(());
    }
    Err(input(format!("{name} '{given}' does not match the ip_version '{ip_version}'")))
}

/// Checks the addresses of a new subnet, or of one for which DHCP is turned on. `delegated`: its prefix is to come by prefix delegation.
///
/// # Errors
/// A prefix length of 0, `::`, and with DHCP: too few addresses, multicast, loopback, or a network that begins with 0.0.0.0.
pub fn check_cidr(cidr: &IpNet, enable_dhcp: bool, delegated: bool) -> Result<(), Refused> {
    let (first, last) = (cidr.network(), cidr.broadcast());
    if !delegated && first == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Err(input("IPv6 subnet '::' is not supported"));
    }
    if enable_dhcp {
        let least = if first.is_ipv4() { 30 } else { 126 };
        if cidr.prefix_len() > least {
            return Err(input("Subnet has a prefix length that is incompatible with DHCP service enabled"));
        }
        if first.is_multicast() && last.is_multicast() {
            return Err(input("Multicast IP subnet is not supported if enable_dhcp is True"));
        }
        if first.is_loopback() && last.is_loopback() {
            return Err(input("Loopback IP subnet is not supported if enable_dhcp is True"));
        }
        if first.is_ipv4() && first.is_unspecified() {
            return Err(input("First IP '0.0.0.0' of network is not supported if enable_dhcp is True."));
        }
    }
    if cidr.prefix_len() == 0 {
        return Err(input("0 is not allowed as CIDR prefix length"));
    }
    Ok(())
}

/// Checks the IPv6 modes of a new subnet; `cidr` if it has one already.
///
/// # Errors
/// Modes on an IPv4 subnet, without DHCP, that differ, or with a prefix in which ports cannot compute addresses.
pub fn check_modes(
    ip_version: u8,
    ra_mode: Option<Ipv6Mode>,
    address_mode: Option<Ipv6Mode>,
    enable_dhcp: bool,
    cidr: Option<&IpNet>,
) -> Result<(), Refused> {
    if ip_version == 4 {
        let set = [("ipv6_ra_mode", ra_mode), ("ipv6_address_mode", address_mode)].into_iter().find(|it| it.1.is_some());
        return set.map_or(Ok(()), |(name, _)| Err(input(format!("{name} is not valid when ip_version is 4"))));
    }
    if (ra_mode.is_some() || address_mode.is_some()) && !enable_dhcp {
        return Err(input("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False"));
    }
    if let (Some(ra), Some(address)) = (ra_mode, address_mode)
        && ra != address
    {
        return Err(input(format!(
            "ipv6_ra_mode set to '{}' with ipv6_address_mode set to '{}' is not valid. If both attributes are set, they must be the same \
             value",
            name(ra),
            name(address)
        )));
    }
    match cidr.filter(|it| it.prefix_len() != EUI64_PREFIX && is_auto_addressed(ra_mode, address_mode)) {
        None => Ok(()),
        Some(cidr) => Err(input(format!(
            "Invalid CIDR {cidr} for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64"
        ))),
    }
}

/// Checks that DHCP may be turned off: not on a subnet that has an IPv6 mode.
///
/// # Errors
/// It has one.
pub fn check_dhcp_off(ra_mode: Option<Ipv6Mode>, address_mode: Option<Ipv6Mode>) -> Result<(), Refused> {
    if ra_mode.is_some() || address_mode.is_some() {
        return Err(input("Cannot disable enable_dhcp with ipv6 attributes set"));
    }
    Ok(())
}

/// Checks a subnet whose prefix is to be delegated: IPv6, and ports compute their addresses.
///
/// # Errors
/// It is not such a one.
pub fn check_delegation(ip_version: u8, ra_mode: Option<Ipv6Mode>, address_mode: Option<Ipv6Mode>) -> Result<(), Refused> {
    if ip_version != 6 {
        return Err(Refused::Delegation("Prefix Delegation can only be used with IPv6 subnets."));
    }
    if !ra_mode.is_some_and(Ipv6Mode::is_automatic) {
        return Err(Refused::Delegation("IPv6 RA Mode must be SLAAC or Stateless for Prefix Delegation."));
    }
    if !address_mode.is_some_and(Ipv6Mode::is_automatic) {
        return Err(Refused::Delegation("IPv6 Address Mode must be SLAAC or Stateless for Prefix Delegation."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn pool(start: &str, end: &str) -> AllocationPool {
        AllocationPool { start: ip(start), end: ip(end) }
    }

    fn pools(cidr: &str, gateway: Option<&str>) -> Vec<(String, String)> {
        let pools = usual_pools(&net(cidr), gateway.map(ip));
        pools.iter().map(|it| (it.start.to_string(), it.end.to_string())).collect()
    }

    #[test]
    fn pools_leave_out_the_gateway() {
        assert_eq!(pools("10.0.0.0/24", Some("10.0.0.1")), [("10.0.0.2".into(), "10.0.0.254".into())]);
        assert_eq!(
            pools("10.0.0.0/29", Some("10.0.0.3")),
            [("10.0.0.1".into(), "10.0.0.2".into()), ("10.0.0.4".into(), "10.0.0.6".into())]
        );
        assert_eq!(pools("10.0.0.0/24", None), [("10.0.0.1".into(), "10.0.0.254".into())]);
        assert_eq!(pools("10.0.0.0/24", Some("192.168.0.1")), [("10.0.0.1".into(), "10.0.0.254".into())]);
        assert_eq!(pools("2001:db8::/64", Some("2001:db8::1")), [("2001:db8::2".into(), "2001:db8::ffff:ffff:ffff:ffff".into())]);
        assert_eq!(pools("2001:db8::/64", Some("2001:db8::")), [("2001:db8::1".into(), "2001:db8::ffff:ffff:ffff:ffff".into())]);
    }

    #[test]
    fn pools_of_small_subnets() {
        assert_eq!(pools("10.0.0.0/31", None), [("10.0.0.0".into(), "10.0.0.1".into())]);
        assert_eq!(pools("10.0.0.0/31", Some("10.0.0.0")), [("10.0.0.1".into(), "10.0.0.1".into())]);
        assert_eq!(pools("10.0.0.7/32", Some("10.0.0.7")), [("10.0.0.7".into(), "10.0.0.7".into())]);
        assert_eq!(pools("2001:db8::/127", None), [("2001:db8::1".into(), "2001:db8::1".into())]);
        assert!(pools("2001:db8::/127", Some("2001:db8::1")).is_empty());
        assert_eq!(pools("2001:db8::5/128", None), [("2001:db8::5".into(), "2001:db8::5".into())]);
    }

    #[test]
    fn gateways_by_default() {
        assert_eq!(default_gateway(&net("10.0.0.0/24"), false), Some(ip("10.0.0.1")));
        assert_eq!(default_gateway(&net("10.0.0.0/24"), true), Some(ip("10.0.0.1")));
        assert_eq!(default_gateway(&net("2001:db8::/64"), false), Some(ip("2001:db8::")));
        assert_eq!(default_gateway(&net("2001:db8::/64"), true), Some(ip("2001:db8::1")));
        assert_eq!(default_gateway(&net("255.255.255.255/32"), false), None);
    }

    #[test]
    fn addresses_by_name() {
        let v4 = net("10.0.0.0/24");
        assert!(may_hold(&v4, ip("10.0.0.254"), ""));
        assert!(!may_hold(&v4, ip("10.0.0.0"), "network:router_interface"));
        assert!(!may_hold(&v4, ip("10.0.0.255"), ""));
        assert!(!may_hold(&v4, ip("10.0.1.1"), ""));
        assert!(!may_hold(&v4, ip("2001:db8::1"), ""));
        assert!(may_hold(&net("10.0.0.0/31"), ip("10.0.0.1"), ""));
        let v6 = net("2001:db8::/64");
        assert!(may_hold(&v6, ip("2001:db8::"), ""));
        assert!(may_hold(&v6, ip("2001:db8::"), "network:router_interface"));
        assert!(!may_hold(&v6, ip("2001:db8::"), "compute:nova"));
        assert!(may_hold(&v6, ip("2001:db8::ffff:ffff:ffff:ffff"), "compute:nova"));
    }

    #[test]
    fn eui64_is_as_in_rfc_4291() {
        let prefix: Ipv6Net = "2001:db8::/64".parse().unwrap();
        let made = eui64(prefix, "fa:16:3e:12:34:56").unwrap();
        assert_eq!(made, "2001:db8::f816:3eff:fe12:3456".parse::<Ipv6Addr>().unwrap());
        assert_eq!(eui64(prefix, "FA-16-3E-12-34-56"), Some(made));
        assert!(is_eui64(made.into()));
        assert!(!is_eui64(ip("2001:db8::1")));
        assert!(!is_eui64(ip("10.0.0.1")));
        for wrong in ["", "fa:16:3e:12:34", "fa:16:3e:12:34:56:78", "fa:16:3e:12:34:5", "fa:16:3e:12:34:+6", "fa163e123456"] {
            assert_eq!(eui64(prefix, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pools_are_checked() {
        let cidr = net("10.0.0.0/24");
        let kind = |pools: &[AllocationPool]| check_pools(&cidr, pools).map_err(|it| (it.kind(), it.status()));
        assert_eq!(kind(&[pool("10.0.0.10", "10.0.0.20"), pool("10.0.0.1", "10.0.0.9")]), Ok(()));
        assert_eq!(kind(&[pool("10.0.0.10", "10.0.0.9")]), Err(("InvalidAllocationPool", 400)));
        assert_eq!(kind(&[pool("2001:db8::1", "2001:db8::2")]), Err(("InvalidAllocationPool", 400)));
        assert_eq!(kind(&[pool("10.0.0.0", "10.0.0.9")]), Err(("OutOfBoundsAllocationPool", 400)));
        assert_eq!(kind(&[pool("10.0.0.250", "10.0.0.255")]), Err(("OutOfBoundsAllocationPool", 400)));
        assert_eq!(kind(&[pool("10.0.0.20", "10.0.0.30"), pool("10.0.0.2", "10.0.0.20")]), Err(("OverlappingAllocationPools", 409)));
        assert_eq!(check_pools(&net("10.0.0.0/31"), &[pool("10.0.0.0", "10.0.0.1")]), Ok(()));
        assert!(check_pools(&net("2001:db8::5/128"), &[pool("2001:db8::5", "2001:db8::5")]).is_err());
        let refused = check_pools(&cidr, &[pool("10.0.0.250", "10.0.0.255")]).unwrap_err();
        assert_eq!(refused.to_string(), "The allocation pool 10.0.0.250-10.0.0.255 spans beyond the subnet cidr 10.0.0.0/24.");
    }

    #[test]
    fn gateways_are_checked() {
        let pools = [pool("10.0.0.2", "10.0.0.9")];
        assert_eq!(check_gateway_outside(ip("10.0.0.1"), &pools), Ok(()));
        let refused = check_gateway_outside(ip("10.0.0.9"), &pools).unwrap_err();
        assert_eq!((refused.kind(), refused.status()), ("GatewayConflictWithAllocationPools", 409));
        let v4 = net("10.0.0.0/24");
        assert!(check_gateway(&v4, ip("10.0.0.0")).is_err());
        assert!(check_gateway(&v4, ip("10.0.0.255")).is_err());
        assert!(check_gateway(&v4, ip("192.168.0.1")).is_ok());
        assert!(check_gateway(&v4, ip("2001:db8::1")).is_err());
        assert!(check_gateway(&net("2001:db8::/64"), ip("2001:db8::")).is_ok());
    }

    #[test]
    fn cidrs_are_checked() {
        for refused in ["10.0.0.0/31", "10.0.0.0/32", "2001:db8::/127", "224.0.0.0/8", "ff02::/64", "127.0.0.0/24", "0.0.0.0/8"] {
            assert!(check_cidr(&net(refused), true, false).is_err(), "{refused}");
            assert!(check_cidr(&net(refused), false, false).is_ok(), "{refused}");
        }
        assert!(check_cidr(&net("0.0.0.0/0"), false, false).is_err());
        assert!(check_cidr(&net("::/64"), false, false).is_err());
        assert!(check_cidr(&net("::/64"), true, true).is_ok());
        assert!(check_cidr(&net("10.0.0.0/30"), true, false).is_ok());
        assert!(check_cidr(&net("fe80::/64"), true, false).is_ok());
    }

    #[test]
    fn modes_are_checked() {
        use Ipv6Mode::{Dhcpv6Stateful as Stateful, Dhcpv6Stateless as Stateless, Slaac};
        let (wide, usual) = (net("2001:db8::/60"), net("2001:db8::/64"));
        assert!(check_modes(4, Some(Slaac), None, true, None).is_err());
        assert!(check_modes(4, None, None, true, None).is_ok());
        assert!(check_modes(6, Some(Slaac), Some(Slaac), false, Some(&usual)).is_err());
        assert!(check_modes(6, Some(Slaac), Some(Stateless), true, Some(&usual)).is_err());
        assert!(check_modes(6, Some(Slaac), Some(Slaac), true, Some(&usual)).is_ok());
        assert!(check_modes(6, None, Some(Stateless), true, Some(&wide)).is_err());
        assert!(check_modes(6, Some(Stateful), Some(Stateful), true, Some(&wide)).is_ok());
        assert!(is_auto_addressed(Some(Slaac), None) && !is_auto_addressed(Some(Stateful), Some(Stateful)));
        assert!(check_dhcp_off(Some(Slaac), None).is_err() && check_dhcp_off(None, None).is_ok());
        assert!(check_delegation(6, Some(Slaac), Some(Slaac)).is_ok());
        assert!(check_delegation(6, Some(Slaac), None).is_err() && check_delegation(4, None, None).is_err());
        for mode in [Slaac, Stateful, Stateless] {
            assert_eq!(serde_json::to_value(mode).unwrap(), name(mode));
        }
    }

    prop_compose! {
        fn any_net()(v4: bool, bits: u128, length in 0_u8..=128) -> IpNet {
            let bits = bits.to_be_bytes();
            let net = if v4 {
                IpNet::new(IpAddr::from([bits[0], bits[1], bits[2], bits[3]]), length.min(32)).unwrap()
            } else {
                IpNet::new(IpAddr::from(bits), length).unwrap()
            };
            net.trunc()
        }
    }

    proptest! {
        #[test]
        fn usual_pools_hold_every_usable_address_but_the_gateway(cidr in any_net(), at: u128) {
            let (first, last) = span(&cidr);
            let gateway = address(first + at % (last - first).max(1), cidr.network()).unwrap();
            let pools = usual_pools(&cidr, Some(gateway));
            prop_assert!(pools.iter().all(|it| number(it.start) <= number(it.end)));
            prop_assert!(pools.windows(2).all(|it| number(it[0].end) < number(it[1].start)));
            if cidr.prefix_len() < cidr.max_prefix_len() {
                prop_assert!(check_pools(&cidr, &pools).is_ok());
                prop_assert!(check_gateway_outside(gateway, &pools).is_ok());
                let (low, high) = usable(&cidr);
                let missing = u128::from((low..=high).contains(&number(gateway)));
                let held = pools.iter().fold(0_u128, |sum, it| sum.wrapping_add(number(it.end) - number(it.start)).wrapping_add(1));
                prop_assert_eq!(held, (high - low).wrapping_add(1).wrapping_sub(missing));
            }
        }

        #[test]
        fn numbers_and_addresses_are_each_other(number_given: u128, v4: bool) {
            let like = if v4 { IpAddr::from([0, 0, 0, 0]) } else { IpAddr::from([0_u16; 8]) };
            let given = if v4 { number_given & u128::from(u32::MAX) } else { number_given };
            prop_assert_eq!(number(address(given, like).unwrap()), given);
        }

        #[test]
        fn nothing_panics(cidr in any_net(), other in any_net(), text in ".{0,20}") {
            let gateway = other.network();
            let _ = (default_gateway(&cidr, false), may_hold(&cidr, gateway, &text), check_gateway(&cidr, gateway));
            let _ = (check_cidr(&cidr, true, false), usual_pools(&cidr, Some(gateway)));
            let _ = check_pools(&cidr, &[AllocationPool { start: gateway, end: other.broadcast() }]);
            if let IpNet::V6(net) = cidr {
                let _ = eui64(net, &text);
                let made = eui64(Ipv6Net::new(net.addr(), 64).unwrap().trunc(), "fa:16:3e:00:00:01").unwrap();
                prop_assert!(is_eui64(made.into()));
            }
        }
    }
}
