//! Ports that the network service makes for routers, floating addresses and addresses of a host: without security groups, and hidden from
//! users where they lie on others' networks.

use http::StatusCode;
use model::identity::Project;
use model::net::bgpvpn::BgpvpnPortAssociation;
use model::net::l3::Router;
use model::net::pools::{AddressScope, SubnetPool};
use model::net::{FixedIp, Network, Port, PortDesired, Subnet};
use model::{Id, Kind, Object};
use serde_json::Value;
use store::Query;

use super::ipam::{self, WantedIp};
use super::noun::Work;
use super::{Ask, bgpvpn_associations, port_parts};
use crate::enforce::allows;
use crate::failure::Failure;

/// The owner of a port that is a router's gateway.
pub(super) const GATEWAY: &str = "network:router_gateway";
/// The owner of a port that holds a floating address.
pub(super) const FLOATING: &str = "network:floatingip";
/// The owner of a port that holds a local address.
pub(super) const LOCAL: &str = "network:local_ip";
/// Owners of ports that are interfaces of routers.
pub(super) const INTERFACES: [&str; 3] =
    ["network:router_interface", "network:router_interface_distributed", "network:ha_router_replicated_interface"];

/// The owner of a router's interfaces.
pub(super) fn interface_owner(distributed: bool, ha: bool) -> &'static str {
    match (distributed, ha) {
        (true, _) => "network:router_interface_distributed",
        (false, true) => "network:ha_router_replicated_interface",
        (false, false) => "network:router_interface",
    }
}

/// Neutron's `BadRequest`.
pub(super) fn bad(resource: &str, why: impl std::fmt::Display) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "BadRequest", format!("Bad {resource} request: {why}."))
}

/// Reads an id: a UUID, with or without its hyphens.
pub(super) fn uuid<K>(v: &Value) -> Result<Id<K>, String> {
    let is_one = |text: &&str| {
        let digits = text.chars().filter(|it| *it != '-');
        digits.clone().count() == 32 && digits.clone().all(|it| it.is_ascii_hexdigit()) && matches!(text.len(), 32 | 36)
    };
    let shown = || match v {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    };
    v.as_str().filter(is_one).and_then(Id::parse).ok_or_else(|| format!("'{}' is not a valid UUID", shown()))
}

/// A failure of status 409.
pub(super) fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

/// A failure of status 404.
pub(super) fn missing(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, kind, text)
}

/// Whether the caller is an administrator.
pub(super) fn is_admin(ask: &Ask) -> bool {
    allows(&ask.app, &ask.caller, "network:context_is_admin", &Value::Null)
}

/// A router that lost what was to lead through it meanwhile.
pub(super) fn no_router(id: &Id<Router>) -> Failure {
    missing("RouterNotFound", format!("Router {id} could not be found"))
}

/// What a port is made for.
pub(super) struct Purpose<'a> {
    /// Whose it is; none: nobody's.
    pub(super) project: Option<Id<Project>>,
    /// Its `device_owner`.
    pub(super) owner: &'a str,
    /// The id of what uses it.
    pub(super) device: &'a str,
}

fn mac_pool(network: &Id<Network>) -> String {
    format!("mac:{network}")
}

/// Makes a port with the addresses wanted, or with usual ones.
///
/// # Errors
/// Those of [`ipam::allocate`].
pub(super) async fn make(
    work: &mut Work<'_>,
    network: &Object<Network>,
    purpose: Purpose<'_>,
    wanted: Option<&[WantedIp]>,
) -> Result<Object<Port>, Failure> {
    let mut desired = PortDesired::new(network.id.clone(), port_parts::random_mac()?);
    desired.device_owner = purpose.owner.to_owned();
    desired.device_id = purpose.device.to_owned();
    desired.port_security_enabled = false;
    let mut port: Object<Port> = Object::new(Id::random(), purpose.project, "", desired);
    port.desired.fixed_ips = ipam::allocate(work, &port, network, wanted, &[]).await?;
    let mac = mac_pool(&network.id);
    work.step(|batch| batch.hold(&mac, &port.desired.mac_address, port.id.as_str()));
    work.create(&port);
    Ok(port)
}

/// Gives a port these addresses instead of those it has.
///
/// # Errors
/// Those of [`ipam::allocate`].
pub(super) async fn readdress(
    work: &mut Work<'_>,
    before: &Object<Port>,
    network: &Object<Network>,
    wanted: &[WantedIp],
) -> Result<Object<Port>, Failure> {
    let mut after = before.clone();
    after.desired.fixed_ips = ipam::allocate(work, before, network, Some(wanted), &before.desired.fixed_ips).await?;
    work.want(before, &after);
    Ok(after)
}

/// Removes a port. One that was never wired holds nothing outside, so that there is nothing to wait for.
///
/// # Errors
/// The store failed.
pub(super) async fn remove(work: &mut Work<'_>, port: &Object<Port>) -> Result<(), Failure> {
    bgpvpn_associations::forget::<BgpvpnPortAssociation>(work, port.id.as_str()).await?;
    if port.desired.was_wired {
        work.step(|batch| batch.mark_deleted(port).wake(&port.id));
        return Ok(());
    }
    ipam::release(work, port);
    let mac = mac_pool(&port.desired.network_id);
    work.step(|batch| batch.free(&mac, &port.desired.mac_address).remove(port));
    Ok(())
}

/// An object that another names, whoever may see it.
///
/// # Errors
/// It is gone.
pub(super) async fn known<K: Kind>(ask: &Ask, id: &Id<K>) -> Result<Object<K>, Failure> {
    let gone = || Failure::Internal(format!("{} {id} is named and not there", K::NAME));
    ask.app.store.get(id).await?.ok_or_else(gone)
}

/// A port that a router or an address names; none: it is gone.
///
/// # Errors
/// The store failed.
pub(super) async fn port(ask: &Ask, id: &Id<Port>) -> Result<Option<Object<Port>>, Failure> {
    Ok(ask.app.store.get(id).await?.filter(|it: &Object<Port>| !it.is_deleting()))
}

/// The subnets of these ids.
///
/// # Errors
/// The store failed.
pub(super) async fn subnets(ask: &Ask, ids: impl IntoIterator<Item = String>) -> Result<Vec<Object<Subnet>>, Failure> {
    let ids: Vec<String> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(ask.app.store.list_few(&Query::<Subnet>::new().ids(ids)).await?)
}

/// Whether a network is an external one for anybody.
///
/// # Errors
/// The store failed.
pub(super) async fn is_external(ask: &Ask, network: &Id<Network>) -> Result<bool, Failure> {
    use model::net::access::{RbacAction, RbacPolicy};
    let shares = ask.shares().await?;
    if shares.is_external(network.as_str(), ask.caller.project_id.as_ref()) {
        return Ok(true);
    }
    let query = Query::<RbacPolicy>::new().column("object_id", [network.to_string()]);
    Ok(ask.app.store.list_few(&query).await?.iter().any(|it| it.desired.action == RbacAction::AccessAsExternal))
}

/// The address scope that the IPv6 subnets of a network belong to.
///
/// # Errors
/// The store failed.
pub(super) async fn v6_scope(work: &mut Work<'_>, network: &Id<Network>) -> Result<Option<Id<AddressScope>>, Failure> {
    let subnets = ipam::subnets(work, network).await?;
    let of_v6 = |it: &&std::sync::Arc<Object<Subnet>>| it.desired.cidr.network().is_ipv6();
    let Some(pool) = subnets.iter().filter(of_v6).find_map(|it| it.desired.subnetpool_id.clone()) else { return Ok(None) };
    Ok(work.ask.app.store.get::<SubnetPool>(&pool).await?.and_then(|it| it.desired.address_scope_id))
}

/// Addresses as Neutron's messages have them.
pub(super) fn spelled<'a>(addresses: impl Iterator<Item = &'a FixedIp>) -> String {
    let one = |it: &FixedIp| format!("{{'subnet_id': '{}', 'ip_address': '{}'}}", it.subnet_id, it.ip_address);
    format!("[{}]", addresses.map(one).collect::<Vec<_>>().join(", "))
}
