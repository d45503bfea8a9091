//! Addresses of ports: the one place where they are given and taken back.
//!
//! An address is held in the pool `ip:<subnet id>` under [`ip_key`] by the port's id, so that no two ports can ever have the same one.
//! Who gets what follows Neutron 29 (`neutron/db/ipam_pluggable_backend.py`, `neutron/objects/subnet.py`), but of free addresses always the
//! lowest is taken, and subnets whose prefix is still to be delegated give none.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;
use model::net::operation::Agent;
use model::net::{FixedIp, Network, NetworkSegment, Port, Segment, Subnet, SubnetDesired, ip_key};
use model::{Id, Object};
use network::addresses::{address, eui64, is_eui64, may_hold, number};
use serde_json::Value;
use store::Query;

use super::noun::Work;
use super::{Ask, Extension, extension};
use crate::failure::Failure;

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("ip_allocation", "IP Allocation", "IP allocation extension.", "2016-06-10T23:00:00-00:00")];

/// The owner of ports that offer DHCP: they may have addresses of every subnet that offers it.
const DHCP: &str = "network:dhcp";
/// The owner of ports of services that are at every host: they may have addresses of several segments.
const DISTRIBUTED: &str = "network:distributed";
/// Owners of ports by which routers are on a network: their addresses are chosen, never computed.
pub(super) const ROUTER_OWNERS: [&str; 4] = [
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
    "network:router_centralized_snat",
];
/// Which of these may have any address of a subnet whose addresses are computed.
const INTERFACES: usize = 3;

/// What a body's `fixed_ips` asks for, one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WantedIp {
    /// An address of this subnet.
    pub(super) subnet_id: Option<Id<Subnet>>,
    /// This very address.
    pub(super) ip_address: Option<IpAddr>,
    /// No address of that subnet any more, even if its addresses are computed.
    pub(super) delete_subnet: bool,
}

impl WantedIp {
    /// This address.
    pub(super) fn this(address: &FixedIp) -> Self {
        Self { subnet_id: Some(address.subnet_id.clone()), ip_address: Some(address.ip_address), delete_subnet: false }
    }
}

fn spelled(it: &Value) -> String {
    match it {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

/// An id in the form that all of Neutron's have.
///
/// # Errors
/// It is none, in Neutron's words.
pub(super) fn uuid<K>(value: &Value) -> Result<Id<K>, String> {
    let text = value.as_str().filter(|it| uuid::Uuid::try_parse(it).is_ok());
    text.and_then(Id::parse).ok_or_else(|| format!("'{}' is not a valid UUID", spelled(value)))
}

/// Reads `fixed_ips`.
///
/// # Errors
/// What is wrong with it, in Neutron's words.
pub(super) fn wanted_ips(value: &Value) -> Result<Vec<WantedIp>, String> {
    let format = |it: &Value| format!("Invalid data format for fixed IP: '{}'", spelled(it));
    let mut wanted: Vec<WantedIp> = Vec::new();
    for entry in value.as_array().ok_or_else(|| format(value))? {
        let fields = entry.as_object().ok_or_else(|| format(entry))?;
        let mut one = WantedIp::default();
        if let Some(given) = fields.get("ip_address") {
            let parsed = given.as_str().and_then(|it| it.parse().ok());
            let parsed: IpAddr = parsed.ok_or_else(|| format!("'{}' is not a valid IP address", spelled(given)))?;
            if wanted.iter().any(|it| it.ip_address == Some(parsed)) {
                return Err(format!("Duplicate IP address '{parsed}'"));
            }
            one.ip_address = Some(parsed);
        }
        if let Some(given) = fields.get("subnet_id") {
            one.subnet_id = Some(uuid(given)?);
        }
        one.delete_subnet = fields.get("delete_subnet").and_then(Value::as_bool).unwrap_or(false);
        wanted.push(one);
    }
    Ok(wanted)
}

/// The pool in which a subnet's addresses are held.
pub(super) fn pool(subnet: &Id<Subnet>) -> String {
    format!("ip:{subnet}")
}

/// Whether ports compute their addresses in it.
pub(super) fn is_auto(subnet: &SubnetDesired) -> bool {
    [subnet.ipv6_ra_mode, subnet.ipv6_address_mode].into_iter().flatten().any(model::net::Ipv6Mode::is_automatic)
}

fn is_router(port: &Object<Port>) -> bool {
    ROUTER_OWNERS.contains(&port.desired.device_owner.as_str())
}

/// The address a port computes in that subnet.
pub(super) fn computed(subnet: &SubnetDesired, mac: &str) -> Option<IpAddr> {
    match subnet.cidr {
        IpNet::V6(net) if !subnet.prefix_delegation => eui64(net, mac).map(IpAddr::V6),
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

/// The subnets of a network, with those this batch makes. Read once in an attempt.
///
/// # Errors
/// The store failed.
pub(super) async fn subnets(work: &mut Work<'_>, network: &Id<Network>) -> Result<Vec<Arc<Object<Subnet>>>, Failure> {
    let name = format!("subnets of {network}");
    let known: Arc<Vec<Arc<Object<Subnet>>>> = match work.known(&name) {
        Some(known) => known,
        None => {
            let query = Query::<Subnet>::new().column("network_id", [network.to_string()]);
            let read: Vec<_> = work.ask.app.store.list_few(&query).await?.into_iter().map(Arc::new).collect();
            work.know(name, Arc::new(read))
        }
    };
    let mut all = known.as_ref().clone();
    all.extend(work.made::<Subnet>().filter(|it| it.desired.network_id == *network).map(|it| Arc::new(it.clone())));
    Ok(all)
}

/// The segments of the network that the port's host is on, of a network whose subnets have segments: those its agents know the fabric of, or
/// tunnel to. A host of which no agent spoke is on our own fabric, as bare metal is.
///
/// # Errors
/// The store failed.
async fn reached(
    ask: &Ask,
    all: &[Arc<Object<Subnet>>],
    port: &Object<Port>,
    network: &Object<Network>,
) -> Result<HashSet<Id<NetworkSegment>>, Failure> {
    let binding = &port.desired.binding;
    if binding.host_id.is_empty() || all.iter().all(|it| it.desired.segment_id.is_none()) {
        return Ok(HashSet::new());
    }
    let agents = ask.app.store.list_few(&Query::<Agent>::new().column("host", [binding.host_id.clone()])).await?;
    let knows = |it: &&Object<Agent>| it.desired.configurations.keys().any(|key| key.ends_with("_mappings") || key == "tunnel_types");
    let agents: Vec<&Object<Agent>> = agents.iter().filter(knows).filter(|_| !binding.is_wired()).collect();
    let fabric = ask.app.settings.fabric.physical_network.as_str();
    let reaches = |segment: &&Segment| match &segment.physical_network {
        name if agents.is_empty() => name.as_deref().is_none_or(|it| it == fabric),
        Some(name) => agents.iter().any(|it| {
            let mappings = it.desired.configurations.iter().filter(|(key, _)| key.ends_with("_mappings"));
            mappings.filter_map(|(_, value)| value.as_object()).any(|it| it.contains_key(name))
        }),
        None => agents.iter().any(|it| {
            let types = it.desired.configurations.get("tunnel_types").and_then(Value::as_array);
            types.is_some_and(|types| types.iter().any(|it| it == segment.network_type.as_str()))
        }),
    };
    Ok(network.desired.segments.iter().filter(reaches).map(|it| it.id.clone()).collect())
}

fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

fn input(why: impl std::fmt::Display) -> Failure {
    bad("InvalidInput", format!("Invalid input for operation: {why}."))
}

fn in_use(subnet: &Id<Subnet>, wanted: IpAddr) -> Failure {
    conflict("IpAddressAlreadyAllocated", format!("IP address {wanted} already allocated in subnet {subnet}"))
}

fn dry(network: &Id<Network>) -> Failure {
    conflict("IpAddressGenerationFailure", format!("No more IP addresses available on network {network}."))
}

/// Whether a port of that owner may have addresses in the subnet.
fn serves(subnet: &SubnetDesired, owner: &str) -> bool {
    subnet.service_types.is_empty() || subnet.service_types.iter().any(|it| it == owner) || (owner == DHCP && subnet.enable_dhcp)
}

/// The subnets a port may have addresses of, those for its owner alone first. `named`: addresses that are asked for or are the port's, if
/// any were asked for.
async fn candidates(
    ask: &Ask,
    all: &[Arc<Object<Subnet>>],
    port: &Object<Port>,
    network: &Object<Network>,
    named: Option<&[WantedIp]>,
) -> Result<Vec<Arc<Object<Subnet>>>, Failure> {
    let (owner, host) = (port.desired.device_owner.as_str(), port.desired.binding.host_id.as_str());
    let reached = reached(ask, all, port, network).await?;
    let serving: Vec<&Arc<Object<Subnet>>> = all.iter().filter(|it| serves(&it.desired, owner)).collect();
    let mut found: Vec<Arc<Object<Subnet>>> = match named {
        _ if !host.is_empty() => {
            let near = |it: &&&Arc<Object<Subnet>>| it.desired.segment_id.as_ref().is_none_or(|segment| reached.contains(segment));
            serving.iter().filter(near).map(|it| Arc::clone(it)).collect()
        }
        // Where it will be is not known yet: nothing is chosen on a network of several segments.
        None => serving.iter().filter(|it| it.desired.segment_id.is_none()).map(|it| Arc::clone(it)).collect(),
        Some(named) => {
            let of = |wanted: &WantedIp| match (&wanted.subnet_id, wanted.ip_address) {
                (Some(id), _) => Some(serving.iter().find(|it| it.id == *id)),
                (None, Some(ip)) => Some(serving.iter().find(|it| it.desired.cidr.contains(&ip))),
                (None, None) => None,
            };
            let named: Vec<_> = named.iter().filter_map(of).collect();
            if named.iter().any(Option::is_none) || owner == DISTRIBUTED {
                // What is wrong with them is said where they are looked for.
                serving.into_iter().map(Arc::clone).collect()
            } else {
                let segments: HashSet<_> = named.iter().flatten().map(|it| it.desired.segment_id.clone()).collect();
                if segments.len() > 1 {
                    return Err(bad("FixedIpsSubnetsNotOnSameSegment", "Cannot allocate addresses from different segments."));
                }
                let segment = segments.into_iter().next().flatten();
                serving.into_iter().filter(|it| it.desired.segment_id == segment).map(Arc::clone).collect()
            }
        }
    };
    if found.is_empty() {
        nothing(all, port, network)?;
    }
    found.sort_by_key(|it| it.desired.service_types.is_empty());
    Ok(found)
}

/// Why a port may have addresses of no subnet, unless that is as it should be: there is none, or where the port will be is not known yet.
fn nothing(all: &[Arc<Object<Subnet>>], port: &Object<Port>, network: &Object<Network>) -> Result<(), Failure> {
    let (owner, host) = (port.desired.device_owner.as_str(), port.desired.binding.host_id.as_str());
    if !host.is_empty() && all.iter().any(|it| it.desired.segment_id.is_some()) {
        let text = format!(
            "Host {host} is not connected to any segments on routed provider network '{}'.  It should be connected to one.",
            network.id
        );
        return Err(conflict("HostNotConnectedToAnySegment", text));
    }
    if all.is_empty() || all.iter().any(|it| serves(&it.desired, owner)) {
        return Ok(());
    }
    let text = format!("No valid service subnet for the given device owner, network {}, service type {owner}.", network.id);
    Err(conflict("IpAddressGenerationFailureNoMatchingSubnet", text))
}

/// The subnet that an entry means.
async fn meant(
    work: &mut Work<'_>,
    candidates: &[Arc<Object<Subnet>>],
    port: &Object<Port>,
    network: &Object<Network>,
    wanted: &WantedIp,
) -> Result<Arc<Object<Subnet>>, Failure> {
    let owner = port.desired.device_owner.as_str();
    if candidates.is_empty() {
        return Err(input("IP allocation requires subnets for network"));
    }
    if let Some(id) = &wanted.subnet_id {
        let Some(subnet) = candidates.iter().find(|it| it.id == *id) else {
            let there = work.ask.app.store.get(id).await?.is_some_and(|it| !it.is_deleting());
            return Err(if there {
                input(format!("Failed to create port on network {}, because fixed_ips included invalid subnet {id}", network.id))
            } else {
                Failure::named(StatusCode::NOT_FOUND, "SubnetNotFound", format!("Subnet {id} could not be found."))
            });
        };
        if let Some(ip) = wanted.ip_address.filter(|ip| !may_hold(&subnet.desired.cidr, *ip, owner)) {
            return Err(bad("InvalidIpForSubnet", format!("IP address {ip} is not a valid IP for the specified subnet.")));
        }
        return Ok(Arc::clone(subnet));
    }
    let Some(ip) = wanted.ip_address else {
        return Err(input("IP allocation requires subnet_id or ip_address"));
    };
    let found = candidates.iter().find(|it| may_hold(&it.desired.cidr, ip, owner)).map(Arc::clone);
    let text = format!("IP address {ip} is not a valid IP for any of the subnets on the specified network.");
    found.ok_or_else(|| bad("InvalidIpForNetwork", text))
}

fn holds(work: &mut Work<'_>, port: &Object<Port>, subnet: &Id<Subnet>, address: IpAddr) -> FixedIp {
    work.step(|batch| batch.require(subnet));
    holds_new(work, port, subnet, address)
}

/// The same of a subnet that is stored further on in the batch.
fn holds_new(work: &mut Work<'_>, port: &Object<Port>, subnet: &Id<Subnet>, address: IpAddr) -> FixedIp {
    work.step(|batch| batch.hold(&pool(subnet), &ip_key(address), port.id.as_str()));
    FixedIp { subnet_id: subnet.clone(), ip_address: address }
}

fn frees(work: &mut Work<'_>, address: &FixedIp) {
    work.step(|batch| batch.free(&pool(&address.subnet_id), &ip_key(address.ip_address)));
}

/// Takes this very address.
pub(super) fn take(work: &mut Work<'_>, port: &Object<Port>, subnet: &Object<Subnet>, wanted: IpAddr) -> Result<FixedIp, Failure> {
    let pool = pool(&subnet.id);
    if !work.claim(&pool, number(wanted)) {
        return Err(in_use(&subnet.id, wanted));
    }
    work.value_taken_means(&pool, ip_key(wanted), in_use(&subnet.id, wanted));
    Ok(holds(work, port, &subnet.id, wanted))
}

/// The address a port computes in a subnet that this batch makes, if it may have one there.
///
/// # Errors
/// The store failed.
pub(super) async fn compute(
    work: &mut Work<'_>,
    port: &Object<Port>,
    subnet: &Object<Subnet>,
    network: &Object<Network>,
) -> Result<Option<FixedIp>, Failure> {
    let mut all = subnets(work, &network.id).await?;
    all.push(Arc::new(subnet.clone()));
    let has: Vec<WantedIp> = port.desired.fixed_ips.iter().map(WantedIp::this).collect();
    let may = candidates(work.ask, &all, port, network, Some(&has)).await.is_ok_and(|them| them.iter().any(|it| it.id == subnet.id));
    let address = computed(&subnet.desired, &port.desired.mac_address).filter(|_| may && !is_router(port));
    Ok(address.filter(|it| work.claim(&pool(&subnet.id), number(*it))).map(|it| holds_new(work, port, &subnet.id, it)))
}

/// The lowest free address of a subnet that this batch makes.
///
/// # Errors
/// The store failed.
pub(super) async fn choose(work: &mut Work<'_>, port: &Object<Port>, subnet: &Object<Subnet>) -> Result<Option<FixedIp>, Failure> {
    let address = pick(work, subnet).await?;
    Ok(address.map(|it| holds_new(work, port, &subnet.id, it)))
}

fn unkey(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok()
}

async fn pick(work: &mut Work<'_>, subnet: &Object<Subnet>) -> Result<Option<IpAddr>, Failure> {
    let ranges: Vec<(u128, u128)> = subnet.desired.allocation_pools.iter().map(|it| (number(it.start), number(it.end))).collect();
    let like = subnet.desired.cidr.network();
    let key: fn(u128) -> String = if like.is_ipv4() { |it| format!("{it:08x}") } else { |it| format!("{it:032x}") };
    let picked = work.pick(&pool(&subnet.id), &ranges, key, unkey).await?;
    Ok(picked.and_then(|it| address(it, like)))
}

/// Takes the lowest free address of the first of these subnets that has one; none: none has.
async fn next(work: &mut Work<'_>, port: &Object<Port>, subnets: &[Arc<Object<Subnet>>]) -> Result<Option<FixedIp>, Failure> {
    for subnet in subnets {
        if let Some(address) = pick(work, subnet).await? {
            return Ok(Some(holds(work, port, &subnet.id, address)));
        }
    }
    Ok(None)
}

/// Addresses in subnets where ports compute them, for a port that is no router's: without being asked for.
fn automatic(
    work: &mut Work<'_>,
    port: &Object<Port>,
    candidates: &[Arc<Object<Subnet>>],
    but: &HashSet<Id<Subnet>>,
) -> Result<Vec<FixedIp>, Failure> {
    let mut given = Vec::new();
    if is_router(port) {
        return Ok(given);
    }
    for subnet in candidates.iter().filter(|it| is_auto(&it.desired) && !but.contains(&it.id)) {
        if let Some(address) = computed(&subnet.desired, &port.desired.mac_address) {
            given.push(take(work, port, subnet, address)?);
        }
    }
    Ok(given)
}

/// What becomes of a port's addresses.
struct Changes {
    add: Vec<WantedIp>,
    keep: Vec<FixedIp>,
    remove: Vec<FixedIp>,
}

/// Compares what is asked for with what the port has.
fn changes(all: &[Arc<Object<Subnet>>], port: &Object<Port>, wanted: &[WantedIp], kept: &[FixedIp]) -> Changes {
    let leaves: HashSet<&Id<Subnet>> = wanted.iter().filter(|it| it.delete_subnet).filter_map(|it| it.subnet_id.as_ref()).collect();
    let mut wanted: Vec<&WantedIp> = wanted.iter().filter(|it| it.subnet_id.as_ref().is_none_or(|id| !leaves.contains(id))).collect();
    // Named addresses first: what has no name takes what is left.
    wanted.sort_by_key(|it| it.ip_address.is_none());
    let mut left: Vec<&FixedIp> = kept.iter().collect();
    let mut changes = Changes { add: Vec::new(), keep: Vec::new(), remove: Vec::new() };
    let mut moved = Vec::new();
    for one in wanted {
        let place = match (one.ip_address, &one.subnet_id) {
            (Some(ip), _) => left.iter().position(|it| it.ip_address == ip),
            (None, Some(subnet)) => left.iter().position(|it| it.subnet_id == *subnet),
            (None, None) => None,
        };
        match place.map(|at| left.remove(at)) {
            // Its prefix may have changed: it is computed anew.
            Some(had) if one.ip_address.is_none() && is_eui64(had.ip_address) => {
                changes.add.push(one.clone());
                moved.push(had);
            }
            Some(had) => changes.keep.push(had.clone()),
            None => changes.add.push(one.clone()),
        }
    }
    for had in left.into_iter().chain(moved) {
        let subnet = all.iter().find(|it| it.id == had.subnet_id);
        let stays = !is_router(port) && subnet.is_some_and(|it| is_auto(&it.desired) && !it.desired.prefix_delegation);
        if stays && !leaves.contains(&had.subnet_id) {
            changes.keep.push(had.clone());
        } else {
            changes.remove.push(had.clone());
        }
    }
    changes
}

/// Gives a port its addresses, as steps of the work, and returns all it has then, in order.
///
/// `wanted`: what was asked for; none: what ports usually have, which is an address of IPv4 and one of IPv6, as far as the network has such
/// subnets. In subnets where ports compute their addresses they have one in any case, unless `delete_subnet` said no. `kept`: what the port
/// has already, of which that stays which is asked for again; empty for a new one. The port must have its id, MAC address, owner and host.
///
/// # Errors
/// Neutron's: an address is taken (409), in no subnet (400), cannot be had (400); there are no more (409); the subnets are for others (409)
/// or on other segments (400, 409).
pub(super) async fn allocate(
    work: &mut Work<'_>,
    port: &Object<Port>,
    network: &Object<Network>,
    wanted: Option<&[WantedIp]>,
    kept: &[FixedIp],
) -> Result<Vec<FixedIp>, Failure> {
    let all = subnets(work, &network.id).await?;
    work.step(|batch| batch.require(&network.id));
    let Some(wanted) = wanted else {
        let candidates = candidates(work.ask, &all, port, network, None).await?;
        let mut given = kept.to_vec();
        for is_v4 in [true, false] {
            let chosen = |it: &&Arc<Object<Subnet>>| it.desired.cidr.network().is_ipv4() == is_v4 && !is_auto(&it.desired);
            let of_version: Vec<_> = candidates.iter().filter(chosen).map(Arc::clone).collect();
            if !of_version.is_empty() {
                given.push(next(work, port, &of_version).await?.ok_or_else(|| dry(&network.id))?);
            }
        }
        given.extend(automatic(work, port, &candidates, &HashSet::new())?);
        return Ok(sorted(given));
    };
    let changes = changes(&all, port, wanted, kept);
    let named: Vec<WantedIp> = changes.add.iter().cloned().chain(changes.keep.iter().map(WantedIp::this)).collect();
    let candidates = candidates(work.ask, &all, port, network, Some(&named)).await?;
    let mut given = changes.keep.clone();
    let mut handled: HashSet<Id<Subnet>> = changes.keep.iter().chain(&changes.remove).map(|it| it.subnet_id.clone()).collect();
    let mut to_choose = Vec::new();
    let mut to_take = Vec::new();
    let owner = port.desired.device_owner.as_str();
    for one in &changes.add {
        let subnet = meant(work, &candidates, port, network, one).await?;
        let automatic = is_auto(&subnet.desired);
        match one.ip_address {
            Some(ip) => {
                let is_interface = ROUTER_OWNERS.iter().take(INTERFACES).any(|it| *it == owner);
                if automatic && !is_interface && computed(&subnet.desired, &port.desired.mac_address).is_some_and(|it| it != ip) {
                    let text = format!(
                        "IPv6 address {ip} cannot be directly assigned to a port on subnet {} as the subnet is configured for automatic addresses",
                        subnet.id
                    );
                    return Err(bad("AllocationOnAutoAddressSubnet", text));
                }
                handled.insert(subnet.id.clone());
                to_take.push((subnet, ip));
            }
            None if automatic && !is_router(port) => {
                // It has one there already, or gets one with all the others that are computed.
                if changes.remove.iter().any(|it| it.subnet_id == subnet.id) {
                    handled.remove(&subnet.id);
                }
            }
            None => {
                handled.insert(subnet.id.clone());
                to_choose.push(subnet);
            }
        }
    }
    for gone in &changes.remove {
        frees(work, gone);
    }
    for (subnet, ip) in to_take {
        given.push(take(work, port, &subnet, ip)?);
    }
    for subnet in to_choose {
        let chosen = next(work, port, std::slice::from_ref(&subnet)).await?;
        given.push(chosen.ok_or_else(|| dry(&network.id))?);
    }
    given.extend(automatic(work, port, &candidates, &handled)?);
    Ok(sorted(given))
}

/// What a change of a port that says nothing of its addresses means to them: those that are computed follow its MAC address; one that had
/// to wait for its host gets them now that it has one; on another host they must be of use.
///
/// # Errors
/// See [`allocate`]; the addresses are of no use on the port's new host (409).
pub(super) async fn follow(
    work: &mut Work<'_>,
    before: &Object<Port>,
    after: &Object<Port>,
    network: &Object<Network>,
) -> Result<Vec<FixedIp>, Failure> {
    let mut has = before.desired.fixed_ips.clone();
    let (was_at, is_at) = (before.desired.binding.host_id.as_str(), after.desired.binding.host_id.as_str());
    let moves = !is_at.is_empty() && was_at != is_at;
    let renamed = before.desired.mac_address != after.desired.mac_address && has.iter().any(|it| is_eui64(it.ip_address));
    if !moves && !renamed {
        return Ok(has);
    }
    let all = subnets(work, &network.id).await?;
    if moves && was_at.is_empty() && has.is_empty() && is_deferred(before, &all) {
        return allocate(work, after, network, None, &[]).await;
    }
    if moves && !has.is_empty() {
        let near = candidates(work.ask, &all, after, network, None).await?;
        if has.iter().any(|it| !near.iter().any(|subnet| subnet.id == it.subnet_id)) {
            let text = format!(
                "Host {is_at} is not connected to a segment where the existing fixed_ips on port {} will function given the routed network topology.",
                after.id
            );
            return Err(conflict("HostNotCompatibleWithFixedIps", text));
        }
    }
    if renamed {
        for at in &mut has {
            let subnet = all.iter().find(|it| it.id == at.subnet_id && is_auto(&it.desired));
            let Some((subnet, new)) = subnet.and_then(|it| computed(&it.desired, &after.desired.mac_address).map(|new| (it, new))) else {
                continue;
            };
            if is_eui64(at.ip_address) && at.ip_address != new {
                frees(work, at);
                *at = take(work, after, subnet, new)?;
            }
        }
    }
    Ok(sorted(has))
}

/// Takes a port's addresses back.
pub(super) fn release(work: &mut Work<'_>, port: &Object<Port>) {
    for address in &port.desired.fixed_ips {
        frees(work, address);
    }
}

/// As Neutron shows them: by their text.
fn sorted(mut addresses: Vec<FixedIp>) -> Vec<FixedIp> {
    addresses.sort_by_cached_key(|it| (it.ip_address.to_string(), it.subnet_id.to_string()));
    addresses
}

fn is_deferred(port: &Object<Port>, subnets: &[Arc<Object<Subnet>>]) -> bool {
    let mut serving = subnets.iter().filter(|it| serves(&it.desired, &port.desired.device_owner)).peekable();
    port.desired.fixed_ips.is_empty()
        && port.desired.binding.host_id.is_empty()
        && serving.peek().is_some()
        && serving.all(|it| it.desired.segment_id.is_some())
}

/// Which of these ports have no addresses because it is not known yet on which segment they will be: their `ip_allocation` is `deferred`.
///
/// # Errors
/// The store failed.
pub(super) async fn deferred(ask: &Ask, ports: &[Object<Port>]) -> Result<HashSet<Id<Port>>, Failure> {
    let waiting = || ports.iter().filter(|it| it.desired.fixed_ips.is_empty() && it.desired.binding.host_id.is_empty());
    let networks: HashSet<String> = waiting().map(|it| it.desired.network_id.to_string()).collect();
    if networks.is_empty() {
        return Ok(HashSet::new());
    }
    let subnets = ask.app.store.list(&Query::<Subnet>::new().column("network_id", networks)).await?;
    let subnets: Vec<Arc<Object<Subnet>>> = subnets.into_iter().map(Arc::new).collect();
    let of = |port: &Object<Port>| {
        subnets.iter().filter(|it| it.desired.network_id == port.desired.network_id).map(Arc::clone).collect::<Vec<_>>()
    };
    Ok(waiting().filter(|it| is_deferred(it, &of(it))).map(|it| it.id.clone()).collect())
}

/// How a port came to its addresses: `ip_allocation`, given whether it is one of [`deferred`].
pub(super) fn ip_allocation(port: &Object<Port>, deferred: bool) -> &'static str {
    match port.desired.fixed_ips.as_slice() {
        [] if deferred => "deferred",
        [] => "none",
        _ => "immediate",
    }
}
