//! What a new subnet gets: its prefix, its gateway, its ranges, and what it means to ports that are there already.
//!
//! Source: `create_subnet` of `neutron/db/db_base_plugin_v2.py`, `neutron/db/ipam_backend_mixin.py`, `neutron/ipam/subnet_alloc.py`.

use std::sync::Arc;

use http::StatusCode;
use ipnet::{IpNet, Ipv6Net};
use model::net::pools::SubnetPool;
use model::net::{Network, Port, Subnet};
use model::{Id, Object};
use network::addresses::{check_delegation, check_gateway_outside, check_pools, default_gateway, usual_pools, version};
use network::prefixes::overlap;
use serde_json::Value;
use store::Query;

use super::{bad, check, input, refused};
use crate::failure::Failure;
use crate::network::noun::{Body, Work, named};
use crate::network::{ipam, subnetpools};
use crate::resource::value;

/// The least a network's packets must hold: for any subnet, for one of IPv6.
const LEAST_MTU: (u32, u32) = (68, 1280);
/// The owner of ports by which routers are on external networks.
const GATEWAY: &str = "network:router_gateway";

fn request(why: &str) -> Failure {
    bad("BadRequest", format!("Bad subnets request: {why}."))
}

/// What of a body is given: null is nothing.
fn given<'a>(body: &'a Body, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|it| !it.is_null())
}

/// The pool that a body means; none: no pool.
async fn pool(work: &mut Work<'_>, subnet: &Object<Subnet>, body: &Body) -> Result<Option<Object<SubnetPool>>, Failure> {
    let wants_default = match given(body, "use_default_subnetpool") {
        Some(it) => {
            value::boolean(it).map_err(|why| Failure::BadRequest(format!("Invalid input for use_default_subnetpool. Reason: {why}.")))?
        }
        None => false,
    };
    if wants_default && (subnet.desired.subnetpool_id.is_some() || subnet.desired.prefix_delegation) {
        return Err(request("subnetpool_id and use_default_subnetpool cannot both be specified"));
    }
    if let Some(id) = &subnet.desired.subnetpool_id {
        return Ok(Some(named(work.ask, id).await?));
    }
    if !wants_default {
        return Ok(None);
    }
    let version = version(subnet.desired.cidr.network());
    let pool = subnetpools::default_pool(work.ask, version).await?;
    pool.map(Some).ok_or_else(|| request(&format!("No default subnetpool found for IPv{version}")))
}

fn prefixlen(body: &Body) -> Result<Option<u8>, Failure> {
    given(body, "prefixlen")
        .map(|it| {
            let number = value::number(it, 0, 128).ok().and_then(|it| u8::try_from(it).ok());
            number.ok_or_else(|| input(format!("'{}' is not an integer", it.as_str().map_or_else(|| it.to_string(), str::to_owned))))
        })
        .transpose()
}

/// Finds a new subnet its prefix, its gateway and its ranges, and checks them against the network's others.
///
/// # Errors
/// Neutron's, for what cannot be.
pub(super) async fn place(work: &mut Work<'_>, subnet: &mut Object<Subnet>, network: &Object<Network>, body: &Body) -> Result<(), Failure> {
    let has_cidr = given(body, "cidr").is_some();
    let prefixlen = prefixlen(body)?;
    if has_cidr && prefixlen.is_some() {
        return Err(request("cidr and prefixlen must not be supplied together"));
    }
    let pool = pool(work, subnet, body).await?;
    if !has_cidr && pool.is_none() && !subnet.desired.prefix_delegation {
        return Err(request("a subnetpool must be specified in the absence of a cidr"));
    }
    if !has_cidr && given(body, "allocation_pools").is_some() {
        return Err(request("allocation_pools allowed only for specific subnet requests"));
    }
    if subnet.desired.prefix_delegation && has_cidr {
        // A prefix that is named is not delegated.
        subnet.desired.prefix_delegation = false;
    }
    if subnet.desired.prefix_delegation {
        let (ra, address) = (subnet.desired.ipv6_ra_mode, subnet.desired.ipv6_address_mode);
        check_delegation(version(subnet.desired.cidr.network()), ra, address).map_err(refused)?;
        // As long as it is not delegated.
        subnet.desired.cidr = IpNet::V6(Ipv6Net::default()).network().into();
        subnet.desired.cidr = IpNet::new(subnet.desired.cidr.network(), 64).unwrap_or(subnet.desired.cidr);
    } else {
        check(&subnet.desired, None, has_cidr)?;
    }
    check_mtu(network, subnet)?;
    // Given or chosen by what is known of the prefix; null is none.
    let wants_gateway = !body.get("gateway_ip").is_some_and(Value::is_null);
    let mut from_pool = false;
    if let Some(pool) = &pool {
        from_pool = !has_cidr;
        subnet.desired.subnetpool_id = Some(pool.id.clone());
        carve(work, pool, subnet, has_cidr, prefixlen).await?;
    }
    if wants_gateway && subnet.desired.gateway_ip.is_none() {
        subnet.desired.gateway_ip = default_gateway(&subnet.desired.cidr, from_pool);
        // A subnet of two addresses has none to spare for a gateway.
        if let (Some(gateway), IpNet::V4(net)) = (subnet.desired.gateway_ip, subnet.desired.cidr)
            && gateway == net.broadcast()
        {
            let text = format!("Gateway IP {gateway} cannot be the network or broadcast IP address {net}");
            return Err(Failure::named(StatusCode::CONFLICT, "IpamValueInvalid", text));
        }
    }
    if subnet.desired.allocation_pools.is_empty() {
        subnet.desired.allocation_pools = usual_pools(&subnet.desired.cidr, subnet.desired.gateway_ip);
    } else {
        check_pools(&subnet.desired.cidr, &subnet.desired.allocation_pools).map_err(refused)?;
        if let Some(gateway) = subnet.desired.gateway_ip {
            check_gateway_outside(gateway, &subnet.desired.allocation_pools).map_err(refused)?;
        }
    }
    check_others(work, subnet, network, pool.as_ref()).await
}

fn check_mtu(network: &Object<Network>, subnet: &Object<Subnet>) -> Result<(), Failure> {
    let least = if subnet.desired.cidr.network().is_ipv4() { LEAST_MTU.0 } else { LEAST_MTU.1 };
    if network.desired.mtu == 0 || network.desired.mtu >= least {
        return Ok(());
    }
    let text = format!("MTU of {} is not valid, subnet requires a minimum of {least} bytes.", network.id);
    Err(Failure::named(StatusCode::CONFLICT, "NetworkMTUSubnetConflict", text))
}

/// Takes a prefix from a pool: the one that is named, or one of that many bits.
async fn carve(
    work: &mut Work<'_>,
    pool: &Object<SubnetPool>,
    subnet: &mut Object<Subnet>,
    has_cidr: bool,
    prefixlen: Option<u8>,
) -> Result<(), Failure> {
    let (of_subnet, of_pool) = (version(subnet.desired.cidr.network()), subnetpools::version_of(&pool.desired));
    if of_subnet != of_pool {
        return Err(request(&format!("Cannot allocate IPv{of_subnet} subnet from IPv{of_pool} subnet pool")));
    }
    let wanted = match (has_cidr, subnet.desired.gateway_ip) {
        (true, _) => Ok(subnet.desired.cidr),
        (false, gateway) => {
            let length = prefixlen.unwrap_or(pool.desired.default_prefixlen);
            match gateway {
                // The one its gateway lies in.
                Some(gateway) => Ok(IpNet::new(gateway, length).map_err(|_| input(format!("'{length}' is no prefix length")))?.trunc()),
                None => Err(length),
            }
        }
    };
    subnet.desired.cidr = subnetpools::carve(work, pool, subnet.project_id.as_ref(), wanted).await?;
    Ok(())
}

/// A subnet overlaps no other of its network; those of one version come all from one pool, or from pools of one address scope, or from none.
async fn check_others(
    work: &mut Work<'_>,
    subnet: &Object<Subnet>,
    network: &Object<Network>,
    pool: Option<&Object<SubnetPool>>,
) -> Result<(), Failure> {
    let wanted = &subnet.desired;
    if wanted.cidr.prefix_len() == 0 {
        return Err(input("0 is not allowed as CIDR prefix length"));
    }
    let others = ipam::subnets(work, &network.id).await?;
    if others.iter().any(|it| !it.desired.prefix_delegation && overlap(&it.desired.cidr, &wanted.cidr)) {
        let text = format!("Requested subnet with cidr: {} for network: {} overlaps with another subnet", wanted.cidr, network.id);
        return Err(input(text));
    }
    let of_version: Vec<_> = others.iter().filter(|it| version(it.desired.cidr.network()) == version(wanted.cidr.network())).collect();
    let mut scope = None;
    for other in &of_version {
        if let Some(id) = &other.desired.subnetpool_id
            && let Some(found) = work.ask.app.store.get::<SubnetPool>(id).await?
            && found.desired.address_scope_id.is_some()
        {
            scope = found.desired.address_scope_id;
            break;
        }
    }
    let is_of_scope = match pool {
        Some(pool) => pool.desired.address_scope_id == scope,
        None => !wanted.prefix_delegation,
    };
    if scope.is_some() && !is_of_scope {
        let text = "Subnets of the same address family hosted on the same network must all participate in the same address scope.";
        return Err(bad("NetworkAddressScopeAffinityError", text));
    }
    let fits = |other: &Object<Subnet>| match pool {
        Some(pool) => scope.is_some() || other.desired.subnetpool_id.as_ref() == Some(&pool.id),
        None if wanted.prefix_delegation => other.desired.prefix_delegation,
        None => other.desired.subnetpool_id.is_none() && !other.desired.prefix_delegation,
    };
    if of_version.iter().all(|it| fits(it)) {
        return Ok(());
    }
    Err(bad("NetworkSubnetPoolAffinityError", "Subnets hosted on the same network must be allocated from the same subnet pool."))
}

/// Gives ports that are there already their addresses of a new subnet: all but routers' where ports compute them, and those by which
/// routers are on an external network that have none of that version yet.
///
/// # Errors
/// The store failed.
pub(super) async fn address_ports(work: &mut Work<'_>, subnet: &Object<Subnet>, network: &Object<Network>) -> Result<(), Failure> {
    let is_auto = ipam::is_auto(&subnet.desired) && !subnet.desired.prefix_delegation;
    let query = Query::<Port>::new().column("network_id", [network.id.to_string()]);
    let query = if is_auto { query } else { query.column("device_owner", [GATEWAY.to_owned()]) };
    let is_v4 = subnet.desired.cidr.network().is_ipv4();
    for port in work.ask.app.store.list(&query).await? {
        // As another subnet of the same request left it.
        let port = match work.known::<Object<Port>>(&readdressed(&port.id)) {
            Some(known) => known.as_ref().clone(),
            None => port,
        };
        let address = if is_auto {
            ipam::compute(work, &port, subnet, network).await?
        } else if port.desired.fixed_ips.iter().any(|it| it.ip_address.is_ipv4() == is_v4) {
            None
        } else {
            ipam::choose(work, &port, subnet).await?
        };
        let Some(address) = address else { continue };
        let mut after = port.clone();
        after.desired.fixed_ips.push(address);
        work.want(&port, &after);
        after.revision += 1;
        work.know(readdressed(&port.id), Arc::new(after));
    }
    Ok(())
}

fn readdressed(port: &Id<Port>) -> String {
    format!("readdressed {port}")
}
