//! `/v2.0/subnets`

mod plan;
mod values;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::identity::Project;
use model::net::{Network, NetworkSegment, Port, Subnet, SubnetDesired, ip_key};
use model::{Id, Object};
use network::addresses::{Refused, check_cidr, check_dhcp_off, check_gateway, check_gateway_outside, check_pools, check_version, version};
use policy::Target;
use serde_json::json;
use store::{Query, Term};

use super::noun::{Body, Form, Noun, Work, field, input_once, tagged_routes};
use super::policies::{SeenNetwork, of_network, of_subnet};
use super::{Ask, Extension, extension, ipam};
use crate::App;
use crate::enforce::allows;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("subnet_allocation", "Subnet Allocation", "Enables allocation of subnets from a subnet pool", "2015-03-30T10:00:00-00:00"),
    extension(
        "subnet-service-types",
        "Subnet service types",
        "Provides ability to set the subnet service_types field",
        "2016-03-15T18:00:00-00:00",
    ),
    extension(
        "subnet-external-network",
        "Subnet belongs to an external network",
        "Informs if the subnet belongs to an external network",
        "2024-02-05T18:00:00-00:00",
    ),
    extension(
        "subnet-segmentid-writable",
        "Subnet SegmentID (writable)",
        "Provides a writable segment_id attribute for a subnet resource.",
        "2018-03-12T00:00:00-00:00",
    ),
    extension(
        "subnet-dns-publish-fixed-ip",
        "Subnet DNS publish fixed IP",
        "Support choosing to publish DNS records for IPs from a subnet",
        "2019-05-24T10:00:00-00:00",
    ),
];

/// Owners of ports that go with their subnet.
const GO_ALONG: [&str; 3] = ["network:dhcp", "network:distributed", "network:floatingip_agent_gateway"];
/// Subnets for ports of this owner are not a network's own: they may be without a segment where the others have one.
const ROUTED: &str = "network:routed";
/// Most name servers and most routes of one subnet.
const MOST: (usize, usize) = (5, 20);

pub(super) fn routes() -> Router<Arc<App>> {
    tagged_routes::<Subnet>()
}

/// The networks of subnets, as rules see them.
#[derive(Default)]
pub(crate) struct Around {
    networks: HashMap<Id<Network>, SeenNetwork>,
}

impl Around {
    fn of(&self, subnet: &Object<Subnet>) -> Option<&SeenNetwork> {
        self.networks.get(&subnet.desired.network_id)
    }
}

static FORM: LazyLock<Form<Subnet>> = LazyLock::new(|| {
    Form::new("subnet", "subnets", "subnets", "SubnetNotFound", "Subnet").standard().fields(vec![
        field("network_id", |it: &Object<Subnet>, _: &Around| json!(it.desired.network_id))
            .set_once(|it, v| put(&mut it.desired.network_id, ipam::uuid(v)))
            .required()
            .sort()
            .column("network_id"),
        // Until the prefix is known, all addresses of the version stand for it.
        field("ip_version", |it: &Object<Subnet>, _| json!(version(it.desired.cidr.network())))
            .set_once(|it, v| {
                it.desired.cidr = match value::number(v, 4, 6) {
                    Ok(4) => IpNet::V4(Ipv4Net::default()),
                    Ok(6) => IpNet::V6(Ipv6Net::default()),
                    _ => return Err(format!("{v} is not in valid_values")),
                };
                Ok(())
            })
            .required()
            .sort(),
        field(
            "subnetpool_id",
            |it: &Object<Subnet>, _| {
                if it.desired.prefix_delegation { json!(values::DELEGATION) } else { json!(it.desired.subnetpool_id) }
            },
        )
        .set_once(|it, v| {
            it.desired.prefix_delegation = v == values::DELEGATION;
            it.desired.subnetpool_id = if it.desired.prefix_delegation || v.is_null() { None } else { Some(ipam::uuid(v)?) };
            Ok(())
        })
        .sort(),
        input_once("use_default_subnetpool"),
        input_once("prefixlen"),
        // Read by `admit`: what is wrong with it has another name.
        field("cidr", |it: &Object<Subnet>, _| json!(it.desired.cidr)).set_once(|_, _| Ok(())).sort().column("cidr"),
        field("gateway_ip", |it: &Object<Subnet>, _| json!(it.desired.gateway_ip))
            .set(|it, v| put(&mut it.desired.gateway_ip, if v.is_null() { Ok(None) } else { values::ip(v).map(Some) }))
            .sort(),
        field("allocation_pools", |it: &Object<Subnet>, _| json!(it.desired.allocation_pools)).set(|it, v| {
            if !v.is_null() {
                it.desired.allocation_pools = values::pools(v)?;
            }
            Ok(())
        }),
        field("dns_nameservers", |it: &Object<Subnet>, _| json!(it.desired.dns_nameservers))
            .set(|it, v| put(&mut it.desired.dns_nameservers, values::nameservers(v))),
        field("host_routes", |it: &Object<Subnet>, _| json!(it.desired.host_routes))
            .set(|it, v| put(&mut it.desired.host_routes, values::host_routes(v))),
        field("enable_dhcp", |it: &Object<Subnet>, _| json!(it.desired.enable_dhcp))
            .set(|it, v| put(&mut it.desired.enable_dhcp, value::boolean(v)))
            .sort(),
        field("ipv6_ra_mode", |it: &Object<Subnet>, _| json!(it.desired.ipv6_ra_mode))
            .set_once(|it, v| put(&mut it.desired.ipv6_ra_mode, values::mode(v)))
            .sort(),
        field("ipv6_address_mode", |it: &Object<Subnet>, _| json!(it.desired.ipv6_address_mode))
            .set_once(|it, v| put(&mut it.desired.ipv6_address_mode, values::mode(v)))
            .sort(),
        field("shared", |it: &Object<Subnet>, around| json!(around.of(it).is_some_and(|it| it.shared))).unseen().filter(),
        field("router:external", |it: &Object<Subnet>, around| json!(around.of(it).is_some_and(|it| it.external))).filter(),
        // Neutron declares rules about it and asks none: its owner may.
        field("service_types", |it: &Object<Subnet>, _| json!(it.desired.service_types))
            .set(|it, v| put(&mut it.desired.service_types, values::service_types(v))),
        field("dns_publish_fixed_ip", |it: &Object<Subnet>, _| json!(it.desired.dns_publish_fixed_ip))
            .set(|it, v| put(&mut it.desired.dns_publish_fixed_ip, value::boolean(v))),
        field("segment_id", |it: &Object<Subnet>, _| json!(it.desired.segment_id))
            .set(|it, v| put(&mut it.desired.segment_id, if v.is_null() { Ok(None) } else { ipam::uuid(v).map(Some) }))
            .create_by("create_subnet:segment_id")
            .update_by("update_subnet:segment_id")
            .read_by("get_subnet:segment_id")
            .free_default()
            .sort()
            .column("segment_id"),
    ])
});

impl Noun for Subnet {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SubnetDesired, Failure> {
        Ok(SubnetDesired::new(Id::random(), IpNet::V4(Ipv4Net::default())))
    }

    async fn around(ask: &Ask, subnets: &[Object<Self>]) -> Result<Around, Failure> {
        let ids: HashSet<String> = subnets.iter().map(|it| it.desired.network_id.to_string()).collect();
        let shares = ask.shares().await?;
        let query = Query::<Network>::new().ids(ids);
        let found = if subnets.len() > 1 { ask.app.store.list(&query).await? } else { ask.app.store.list_few(&query).await? };
        let project = ask.caller.project_id.as_ref();
        Ok(Around { networks: found.iter().map(|it| (it.id.clone(), SeenNetwork::of(it, &shares, project))).collect() })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        of_subnet(object, around.of(object))
    }

    async fn seen(ask: &Ask) -> Result<Vec<Term>, Failure> {
        let project = ask.caller.project_id.as_ref();
        let mut terms = vec![Term::column("network_id", ask.shares().await?.ids("network", project))];
        terms.extend(project.map(|it| Term::of_project::<Network>("network_id", it)));
        Ok(terms)
    }

    fn narrow(query: Query<Self>, name: &str, wanted: &[String]) -> Query<Self> {
        if name == "subnetpool_id" && !wanted.iter().any(|it| it == values::DELEGATION) {
            return query.column("subnetpool_id", wanted.to_vec());
        }
        query
    }

    async fn admit(work: &mut Work<'_>, subnet: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let version = version(subnet.desired.cidr.network());
        if let Some(cidr) = values::cidr(body)? {
            check_version(version, cidr.network(), "cidr").map_err(|_| {
                input(format!(
                    "cidr '{}' does not match the ip_version '{version}'",
                    body.get("cidr").and_then(|it| it.as_str()).unwrap_or_default()
                ))
            })?;
            subnet.desired.cidr = cidr;
        }
        let name = match &subnet.desired.subnetpool_id {
            Some(pool) => format!("subnetpool {pool}"),
            None => format!("network {}", subnet.desired.network_id),
        };
        work.in_turn(&name).await;
        network(work, &subnet.desired.network_id).await?;
        Ok(())
    }

    async fn create(work: &mut Work<'_>, subnet: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let network = network(work, &subnet.desired.network_id).await?;
        plan::place(work, subnet, &network, body).await?;
        check_segment(work, &network, subnet, None).await?;
        // Two that are made at once on one network meet in its row, which was read before its subnets were: they cannot overlap.
        stir(work, &network);
        plan::address_ports(work, subnet, &network).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if before.name == after.name && before.desired == after.desired {
            return Ok(());
        }
        check(&after.desired, Some(before), true)?;
        let (old, new) = (before.desired.gateway_ip, after.desired.gateway_ip);
        let names_pools = body.get("allocation_pools").is_some_and(|it| !it.is_null());
        if names_pools {
            check_pools(&after.desired.cidr, &after.desired.allocation_pools).map_err(refused)?;
        }
        if let Some(gateway) = new.filter(|_| names_pools || old != new) {
            check_gateway_outside(gateway, &after.desired.allocation_pools).map_err(refused)?;
        }
        if let Some(old) = old.filter(|it| Some(*it) != new && !before.desired.prefix_delegation) {
            leave_gateway(work, before, old).await?;
        }
        if before.desired.segment_id != after.desired.segment_id {
            let network = network_of(work, &before.desired.network_id).await?;
            check_segment(work, &network, after, Some(before)).await?;
            stir(work, &network);
        } else {
            work.step(|batch| batch.touch::<Network>(&before.desired.network_id));
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, subnet: &Object<Self>) -> Result<(), Failure> {
        let in_use = || {
            let text =
                format!("Unable to complete operation on subnet {}: One or more ports have an IP allocation from this subnet.", subnet.id);
            Failure::named(StatusCode::CONFLICT, "SubnetInUse", text)
        };
        let ports = Query::<Port>::new().with_deleted().linked("subnet_id", [subnet.id.to_string()]);
        let ports = work.ask.app.store.list(&ports).await?;
        let is_auto = ipam::is_auto(&subnet.desired);
        let goes_along = |it: &Object<Port>| {
            let owner = it.desired.device_owner.as_str();
            !it.is_deleting() && (GO_ALONG.contains(&owner) || (is_auto && !ipam::ROUTER_OWNERS.contains(&owner)))
        };
        if ports.iter().any(|it| !goes_along(it)) {
            return Err(in_use());
        }
        let ids: Vec<String> = ports.iter().map(|it| it.id.to_string()).collect();
        for port in &ports {
            let mut without = port.clone();
            without.desired.fixed_ips.retain(|it| it.subnet_id != subnet.id);
            work.want(port, &without);
        }
        work.referenced_means::<Port>("subnet_id", in_use());
        work.step(|batch| batch.unless_linked_but::<Port>("subnet_id", subnet.id.as_str(), &ids).touch(&subnet.desired.network_id));
        remove_of_network(work, subnet);
        Ok(())
    }
}

/// Removes a subnet that no port uses, with all that is remembered of its addresses: for its network's removal.
pub(super) fn remove_of_network(work: &mut Work<'_>, subnet: &Object<Subnet>) {
    work.step(|batch| batch.forget_pool(&ipam::pool(&subnet.id)).remove(subnet));
}

fn refused(refused: Refused) -> Failure {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Failure::named(status, refused.kind(), refused.to_string())
}

fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

fn input(why: impl std::fmt::Display) -> Failure {
    bad("InvalidInput", format!("Invalid input for operation: {why}."))
}

/// A network, read once in an attempt; one that this batch makes too.
async fn network_of(work: &mut Work<'_>, id: &Id<Network>) -> Result<Arc<Object<Network>>, Failure> {
    let name = format!("network {id}");
    if let Some(known) = work.known(&name) {
        return Ok(known);
    }
    let made = work.made::<Network>().find(|it| it.id == *id).cloned();
    let found = match made {
        Some(made) => Some(made),
        None => work.ask.app.store.get(id).await?.filter(|it: &Object<Network>| !it.is_deleting()),
    };
    let missing = || Failure::named(StatusCode::NOT_FOUND, "NetworkNotFound", format!("Network {id} could not be found."));
    Ok(work.know(name, Arc::new(found.ok_or_else(missing)?)))
}

/// The network a body names, if the caller sees it.
pub(super) async fn network(work: &mut Work<'_>, id: &Id<Network>) -> Result<Arc<Object<Network>>, Failure> {
    let network = network_of(work, id).await?;
    let ask = work.ask;
    let seen = SeenNetwork::of(&network, &*ask.shares().await?, ask.caller.project_id.as_ref());
    if allows(&ask.app, &ask.caller, "get_network", &of_network(&seen)) {
        return Ok(network);
    }
    Err(Failure::named(StatusCode::NOT_FOUND, "NetworkNotFound", format!("Network {id} could not be found.")))
}

/// Counts the network as changed, and has the batch fail if anybody else did since it was read.
fn stir(work: &mut Work<'_>, network: &Arc<Object<Network>>) {
    let name = format!("stirred {}", network.id);
    if work.known::<()>(&name).is_none() && !work.made::<Network>().any(|it| it.id == network.id) {
        work.know(name, Arc::new(()));
        work.step(|batch| batch.want(network.as_ref()));
    }
}

/// Checks what can be wrong with a subnet by itself. `before`: what it was, if it is not new. `has_cidr`: its prefix is known.
fn check(subnet: &SubnetDesired, before: Option<&Object<Subnet>>, has_cidr: bool) -> Result<(), Failure> {
    let ip_version = version(subnet.cidr.network());
    let had_dhcp = before.is_some_and(|it| it.desired.enable_dhcp);
    if has_cidr && !subnet.prefix_delegation {
        check_cidr(&subnet.cidr, subnet.enable_dhcp && !had_dhcp, false).map_err(refused)?;
    }
    if let Some(gateway) = subnet.gateway_ip {
        if has_cidr {
            check_gateway(&subnet.cidr, gateway).map_err(refused)?;
        } else {
            check_version(ip_version, gateway, "gateway_ip").map_err(refused)?;
        }
    }
    let whose = before.map_or("new subnet", |it| it.id.as_str());
    let exhausted = |kind, what, most| {
        Err(bad(kind, format!("Unable to complete operation for {whose}. The number of {what} exceeds the limit {most}.")))
    };
    if subnet.dns_nameservers.len() > MOST.0 {
        return exhausted("DNSNameServersExhausted", "DNS nameservers", MOST.0);
    }
    for server in subnet.dns_nameservers.iter().filter_map(|it| it.parse::<IpAddr>().ok()) {
        check_version(ip_version, server, "dns_nameserver").map_err(refused)?;
    }
    if subnet.host_routes.len() > MOST.1 {
        return exhausted("HostRoutesExhausted", "host routes", MOST.1);
    }
    for route in &subnet.host_routes {
        check_version(ip_version, route.nexthop, "nexthop").map_err(refused)?;
        if version(route.destination.network()) != ip_version {
            return Err(input(format!("destination '{}' does not match the ip_version '{ip_version}'", route.destination)));
        }
    }
    let (ra, address) = (subnet.ipv6_ra_mode, subnet.ipv6_address_mode);
    if before.is_none() {
        network::addresses::check_modes(ip_version, ra, address, subnet.enable_dhcp, has_cidr.then_some(&subnet.cidr)).map_err(refused)
    } else if had_dhcp && !subnet.enable_dhcp {
        check_dhcp_off(ra, address).map_err(refused)
    } else {
        Ok(())
    }
}

/// A gateway is not taken from a subnet while a router has it.
async fn leave_gateway(work: &mut Work<'_>, subnet: &Object<Subnet>, gateway: IpAddr) -> Result<(), Failure> {
    let (pool, key) = (ipam::pool(&subnet.id), ip_key(gateway));
    let Some(held) = work.ask.app.store.allocation(&pool, &key).await? else {
        // Nobody has it, and nobody gets it until this is done.
        work.step(|batch| batch.hold(&pool, &key, subnet.id.as_str()).free(&pool, &key));
        return Ok(());
    };
    let Some(port) = Id::<Port>::parse(&held.holder) else { return Ok(()) };
    let port = work.ask.app.store.get(&port).await?;
    if port.is_some_and(|it| ipam::ROUTER_OWNERS.contains(&it.desired.device_owner.as_str())) {
        let text = format!("Current gateway ip {gateway} already in use by port {}. Unable to update.", held.holder);
        return Err(Failure::named(StatusCode::CONFLICT, "GatewayIpInUse", text));
    }
    Ok(())
}

/// Either all subnets of a network have segments or none has; the segment is of the same network.
async fn check_segment(
    work: &mut Work<'_>,
    network: &Object<Network>,
    subnet: &Object<Subnet>,
    before: Option<&Object<Subnet>>,
) -> Result<(), Failure> {
    let is_routed = |it: &Object<Subnet>| it.desired.service_types.iter().any(|it| it == ROUTED);
    let others: Vec<_> = ipam::subnets(work, &network.id).await?.into_iter().filter(|it| !is_routed(it) && it.id != subnet.id).collect();
    let mixed = || {
        let text = format!(
            "All of the subnets on network '{}' must either all be associated with segments or all not associated with any segment.",
            network.id
        );
        bad("SubnetsNotAllAssociatedWithSegments", text)
    };
    if let Some(before) = before {
        if !others.is_empty() {
            return Err(mixed());
        }
        if before.desired.segment_id.is_some() {
            let text = "A subnet that is already associated with a segment cannot have its segment association changed.";
            return Err(bad("SubnetSegmentAssociationChangeNotAllowed", text));
        }
        if network.desired.segments.len() > 1 {
            let text = format!(
                "The network '{}' has multiple segments, it is only possible to associate an existing subnet with a segment on networks with a \
                 single segment.",
                network.id
            );
            return Err(bad("NoUpdateSubnetWhenMultipleSegmentsOnNetwork", text));
        }
    } else if !is_routed(subnet) && others.iter().any(|it| it.desired.segment_id.is_some() != subnet.desired.segment_id.is_some()) {
        return Err(mixed());
    }
    let Some(segment) = subnet.desired.segment_id.as_ref().filter(|id| !network.desired.segments.iter().any(|it| it.id == **id)) else {
        return Ok(());
    };
    let known = work.ask.app.store.get::<NetworkSegment>(segment).await?;
    Err(if known.is_some() {
        let text = format!("The subnet's network id, '{}', doesn't match the network_id of segment '{segment}'", network.id);
        bad("NetworkIdsDontMatch", text)
    } else {
        Failure::named(StatusCode::NOT_FOUND, "SegmentNotFound", format!("Segment {segment} could not be found."))
    })
}
