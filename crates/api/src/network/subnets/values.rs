//! Values of a subnet's fields, with what is wrong with them in Neutron's words (`neutron_lib/api/validators`).

use std::net::IpAddr;

use ipnet::IpNet;
use model::net::{AllocationPool, HostRoute, Ipv6Mode};
use network::prefixes::normalise;
use serde_json::Value;

use super::bad;
use crate::failure::Failure;
use crate::network::noun::Body;

/// What `subnetpool_id` says of a subnet whose prefix is delegated.
pub(super) const DELEGATION: &str = "prefix_delegation";

fn spelled(v: &Value) -> String {
    match v {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

/// An address.
pub(super) fn ip(v: &Value) -> Result<IpAddr, String> {
    v.as_str().and_then(|it| it.parse().ok()).ok_or_else(|| format!("'{}' is not a valid IP address", spelled(v)))
}

/// The prefix a body names, without what is behind it.
///
/// # Errors
/// It is none.
pub(super) fn cidr(body: &Body) -> Result<Option<IpNet>, Failure> {
    let Some(given) = body.get("cidr").filter(|it| !it.is_null()) else { return Ok(None) };
    let found = given.as_str().and_then(normalise);
    found.map(Some).ok_or_else(|| bad("InvalidInput", format!("Invalid input for operation: {} is not in a CIDR format.", spelled(given))))
}

/// The objects of a list that have exactly these members; null is an empty list.
fn members<const N: usize>(v: &Value, keys: [&str; N], what: &str) -> Result<Vec<[Value; N]>, String> {
    if v.is_null() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for one in v.as_array().ok_or_else(|| format!("Invalid data format for {what}: '{}'", spelled(v)))? {
        let fields = one.as_object().ok_or_else(|| format!("Invalid data format for {what}: '{}'", spelled(one)))?;
        let values = keys.map(|key| fields.get(key).cloned());
        if fields.len() != N || values.iter().any(Option::is_none) {
            let quoted = |names: &mut dyn Iterator<Item = &str>| names.map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ");
            let provided = quoted(&mut fields.keys().map(String::as_str));
            let expected = quoted(&mut keys.into_iter());
            return Err(format!("Validation of dictionary's keys failed. Expected keys: {{{expected}}} Provided keys: {{{provided}}}"));
        }
        all.push(values.map(Option::unwrap_or_default));
    }
    Ok(all)
}

/// Ranges of addresses.
pub(super) fn pools(v: &Value) -> Result<Vec<AllocationPool>, String> {
    let all = members(v, ["start", "end"], "IP pool")?;
    all.iter().map(|[start, end]| Ok(AllocationPool { start: ip(start)?, end: ip(end)? })).collect()
}

/// Routes, each once.
pub(super) fn host_routes(v: &Value) -> Result<Vec<HostRoute>, String> {
    let mut routes: Vec<HostRoute> = Vec::new();
    for [destination, nexthop] in members(v, ["destination", "nexthop"], "hostroute")? {
        let net: Option<IpNet> = destination.as_str().filter(|it| it.contains('/')).and_then(normalise);
        let net = net.ok_or_else(|| format!("'{}' is not a valid CIDR", spelled(&destination)))?;
        if destination.as_str().is_some_and(|it| it != net.to_string() && it.parse() != Ok(net)) {
            return Err(format!("'{}' isn't a recognized IP subnet cidr, '{net}' is recommended", spelled(&destination)));
        }
        let route = HostRoute { destination: net, nexthop: ip(&nexthop)? };
        if routes.contains(&route) {
            let shown = format!("{{'destination': '{}', 'nexthop': '{}'}}", spelled(&destination), spelled(&nexthop));
            return Err(format!("Duplicate hostroute '{shown}'"));
        }
        routes.push(route);
    }
    Ok(routes)
}

/// Name servers, each once.
pub(super) fn nameservers(v: &Value) -> Result<Vec<String>, String> {
    if v.is_null() {
        return Ok(Vec::new());
    }
    let mut servers = Vec::new();
    for one in v.as_array().ok_or_else(|| format!("Invalid data format for nameserver: '{}'", spelled(v)))? {
        let server = ip(one).map_err(|why| format!("'{}' is not a valid nameserver. {why}", spelled(one)))?.to_string();
        if servers.contains(&server) {
            return Err(format!("Duplicate nameserver '{server}'"));
        }
        servers.push(server);
    }
    Ok(servers)
}

/// How addresses come to machines.
pub(super) fn mode(v: &Value) -> Result<Option<Ipv6Mode>, String> {
    match v.as_str() {
        None if v.is_null() => Ok(None),
        Some("slaac") => Ok(Some(Ipv6Mode::Slaac)),
        Some("dhcpv6-stateful") => Ok(Some(Ipv6Mode::Dhcpv6Stateful)),
        Some("dhcpv6-stateless") => Ok(Some(Ipv6Mode::Dhcpv6Stateless)),
        _ => Err(format!("{} is not in valid_values", spelled(v))),
    }
}

/// Owners of ports.
pub(super) fn service_types(v: &Value) -> Result<Vec<String>, String> {
    if v.is_null() {
        return Ok(Vec::new());
    }
    let mut types: Vec<String> = Vec::new();
    for one in v.as_array().ok_or("Subnet service types must be a list")? {
        let text = one.as_str().ok_or_else(|| format!("Subnet service type {one} is not a string"))?;
        if text.chars().count() > 255 || !text.contains(':') {
            return Err(format!("Subnet service type {text} does not correspond to a valid device owner"));
        }
        if !types.iter().any(|it| it == text) {
            types.push(text.to_owned());
        }
    }
    Ok(types)
}
