//! Addresses of subnets: which there are, which may be taken, how they are taken.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use http::StatusCode;
use ipnet::IpNet;
use model::net::{AllocationPool, Subnet, ip_key};
use model::{Id, Object};
use store::Store;

use crate::failure::Failure;

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(it) => u128::from(u32::from(it)),
        IpAddr::V6(it) => u128::from(it),
    }
}

/// The address of that number in the family of `like`.
pub(super) fn address(number: u128, like: IpAddr) -> Option<IpAddr> {
    match like {
        IpAddr::V4(_) => u32::try_from(number).ok().map(|it| IpAddr::V4(it.into())),
        IpAddr::V6(_) => Some(IpAddr::V6(number.into())),
    }
}

/// First and last address that a machine may have: without network and broadcast address where there are such.
pub(super) fn usable(cidr: &IpNet) -> (u128, u128) {
    let (first, last) = (number(cidr.network()), number(cidr.broadcast()));
    match cidr {
        IpNet::V4(it) if it.prefix_len() >= 31 => (first, last),
        IpNet::V4(_) => (first + 1, last - 1),
        IpNet::V6(it) if it.prefix_len() >= 127 => (first, last),
        IpNet::V6(_) => (first + 1, last),
    }
}

/// All usable addresses without the gateway's.
pub(super) fn usual_pools(cidr: &IpNet, gateway: Option<IpAddr>) -> Vec<AllocationPool> {
    let (first, last) = usable(cidr);
    let pool = |start: u128, end: u128| Some(AllocationPool { start: address(start, cidr.network())?, end: address(end, cidr.network())? });
    match gateway.map(number).filter(|it| (first..=last).contains(it)) {
        None => pool(first, last).into_iter().collect(),
        Some(gateway) => {
            let before = (gateway > first).then(|| pool(first, gateway - 1)).flatten();
            let after = (gateway < last).then(|| pool(gateway + 1, last)).flatten();
            before.into_iter().chain(after).collect()
        }
    }
}

/// Addresses taken within one request, beside those the store knows.
#[derive(Default)]
pub(super) struct Taken {
    held: HashMap<String, HashSet<String>>,
    /// How many free addresses to pass over.
    passed_over: usize,
}

impl Taken {
    /// For another try after so many lost races.
    pub(super) fn after(tries: u32) -> Result<Self, Failure> {
        Ok(Self { held: HashMap::new(), passed_over: super::passed_over(tries)? })
    }

    pub(super) fn pool(subnet: &Id<Subnet>) -> String {
        format!("ip:{subnet}")
    }

    async fn held<'a>(&'a mut self, store: &Store, subnet: &Id<Subnet>) -> Result<&'a mut HashSet<String>, Failure> {
        let pool = Self::pool(subnet);
        if !self.held.contains_key(&pool) {
            let held = store.allocations(&pool).await?.into_iter().map(|it| it.value).collect();
            self.held.insert(pool.clone(), held);
        }
        Ok(self.held.entry(pool).or_default())
    }

    /// The lowest free address of the subnet's pools, or after a lost race one of the lowest.
    pub(super) async fn next(&mut self, store: &Store, subnet: &Object<Subnet>) -> Result<IpAddr, Failure> {
        let passed_over = self.passed_over;
        let held = self.held(store, &subnet.id).await?;
        let pools = subnet.desired.allocation_pools.iter();
        let all = pools.flat_map(|pool| (number(pool.start)..=number(pool.end)).filter_map(|at| address(at, pool.start)));
        let found = all.filter(|it| !held.contains(&ip_key(*it))).take(passed_over + 1).last();
        let found = found.ok_or_else(|| {
            let text = format!("No more IP addresses available on network {}.", subnet.desired.network_id);
            Failure::named(StatusCode::CONFLICT, "IpAddressGenerationFailure", text)
        })?;
        held.insert(ip_key(found));
        Ok(found)
    }

    /// This very address.
    pub(super) async fn this(&mut self, store: &Store, subnet: &Object<Subnet>, wanted: IpAddr) -> Result<IpAddr, Failure> {
        let cidr = subnet.desired.cidr;
        let (first, last) = usable(&cidr);
        if !cidr.contains(&wanted) || !(first..=last).contains(&number(wanted)) {
            return Err(Failure::named(
                StatusCode::BAD_REQUEST,
                "InvalidIpForSubnet",
                format!("IP address {wanted} is not a valid IP for the specified subnet."),
            ));
        }
        if !self.held(store, &subnet.id).await?.insert(ip_key(wanted)) {
            let text =
                format!("Unable to complete operation for network {}. The IP address {wanted} is in use.", subnet.desired.network_id);
            return Err(Failure::named(StatusCode::CONFLICT, "IpAddressInUse", text));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(cidr: &str, gateway: Option<&str>) -> Vec<(String, String)> {
        let pools = usual_pools(&cidr.parse().unwrap(), gateway.map(|it| it.parse().unwrap()));
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
        assert_eq!(pools("10.0.0.0/31", None), [("10.0.0.0".into(), "10.0.0.1".into())]);
        assert_eq!(pools("2001:db8::/64", Some("2001:db8::1")), [("2001:db8::2".into(), "2001:db8::ffff:ffff:ffff:ffff".into())]);
    }
}
