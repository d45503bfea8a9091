//! `/v2.0/networks`

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::fabric::{Switch, Trace};
use model::identity::Project;
use model::net::access::RbacAction;
use model::net::bgpvpn::BgpvpnNetworkAssociation;
use model::net::l3::FloatingIp;
use model::net::operation::{Agent, AgentBinding};
use model::net::pools::{AddressScope, IpVersion, SubnetPool};
use model::net::qos::QosPolicy;
use model::net::{Network, NetworkDesired, NetworkSegment, NetworkType, Port, ReleasedSegment, Segment, Subnet};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::Query;

use super::address_scopes::is_true;
use super::allocation::{self, Wanted, invalid};
use super::noun::{Body, Field, Form, Noun, Shares, Work, field, input_once, tagged_routes};
use super::policies::{SeenNetwork, of_network};
use super::port_parts::uuid;
use super::{Ask, Extension, access, bgp, bgpvpn_associations, extension, l2_gateways, l3_ports, qos};
use crate::failure::Failure;
use crate::resource::{put, value};
use crate::{App, Settings};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("provider", "Provider Network", "Expose mapping of virtual networks to physical networks", "2012-09-07T10:00:00-00:00"),
    extension(
        "multi-provider",
        "Multi Provider Network",
        "Expose mapping of virtual networks to multiple physical networks",
        "2013-06-27T10:00:00-00:00",
    ),
    extension(
        "external-net",
        "Neutron external network",
        "Adds external network attribute to network resource.",
        "2013-01-14T10:00:00-00:00",
    ),
    extension("net-mtu", "Network MTU", "Provides MTU attribute for a network resource.", "2015-03-25T10:00:00-00:00"),
    extension(
        "net-mtu-writable",
        "Network MTU (writable)",
        "Provides a writable MTU attribute for a network resource.",
        "2017-07-12T00:00:00-00:00",
    ),
    extension("l2_adjacency", "L2 Adjacency", "Display L2 Adjacency for Neutron Networks.", "2016-04-12T16:00:00-00:00"),
];

/// The device owners of ports that do not keep a network: its own services'.
const OWN_SERVICES: [&str; 3] = ["network:dhcp", "network:router_interface_distributed", "network:floatingip_agent_gateway"];
/// Where it is written which network is the default external one.
pub(super) const DEFAULT: (&str, &str) = ("network:default", "external");
/// Smallest packets that IPv4 and IPv6 need, in bytes. Source: RFC 791, RFC 8200.
const IPV4_MTU: u32 = 68;
const IPV6_MTU: u32 = 1280;

pub(super) fn routes() -> Router<Arc<App>> {
    tagged_routes::<Network>()
}

/// What is read beside networks.
#[derive(Default)]
pub(crate) struct Around {
    shares: Arc<Shares>,
    project: Option<Id<Project>>,
    /// The ids of subnets, oldest first.
    subnets: HashMap<Id<Network>, Vec<Id<Subnet>>>,
    /// Networks of which subnets lie on segments of their own.
    routed: HashSet<Id<Network>>,
    scopes: HashMap<(Id<Network>, u8), Id<AddressScope>>,
    zones: HashMap<Id<Network>, BTreeSet<String>>,
}

impl Around {
    fn scope(&self, network: &Object<Network>, version: IpVersion) -> Value {
        json!(self.scopes.get(&(network.id.clone(), version.into())))
    }
}

/// The segment of a network that has no more than one.
fn only(network: &Object<Network>) -> Option<&Segment> {
    match network.desired.segments.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

fn segments_shown(network: &Object<Network>) -> Value {
    let shown = network.desired.segments.iter().map(|it| {
        json!({
            "provider:network_type": it.network_type,
            "provider:physical_network": it.physical_network,
            "provider:segmentation_id": it.segmentation_id,
        })
    });
    shown.collect()
}

fn has_one(network: &Object<Network>, _: &Around) -> bool {
    network.desired.segments.len() < 2
}

fn has_several(network: &Object<Network>, around: &Around) -> bool {
    !has_one(network, around)
}

/// The full name of a domain, with the dot at its end; empty: none. Source: RFC 1123.
fn domain(v: &Value) -> Result<String, String> {
    let text = value::text(v, 255)?.to_ascii_lowercase();
    let Some(labels) = text.strip_suffix('.').filter(|it| !it.is_empty()) else {
        return if v == "" { Ok(text) } else { Err(format!("'{text}' is not a FQDN")) };
    };
    let is_label = |it: &str| {
        let is_plain = it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&it.len()) && is_plain && !it.starts_with('-') && !it.ends_with('-')
    };
    let is_number = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
    if labels.split('.').all(is_label) && !labels.rsplit('.').next().is_some_and(is_number) {
        Ok(text)
    } else {
        Err(format!("'{text}' is not a FQDN"))
    }
}

/// Hints where something should run: names of availability zones.
pub(super) fn zone_hints(v: &Value) -> Result<Vec<String>, String> {
    let list = v.as_array().ok_or_else(|| format!("'{v}' is not a list"))?;
    let mut hints = Vec::new();
    for it in list {
        let name = it.as_str().filter(|it| !it.is_empty()).ok_or_else(|| format!("'{it}' is not a valid string"))?;
        if hints.iter().any(|has| has == name) {
            return Err(format!("Duplicate items in the list: '{name}'"));
        }
        hints.push(name.to_owned());
    }
    if json!(hints).to_string().chars().count() > 255 { Err("Too many availability_zone_hints specified".into()) } else { Ok(hints) }
}

fn provider_fields() -> [Field<Network>; 4] {
    [
        field("provider:network_type", |it: &Object<Network>, _: &Around| json!(only(it).map(|it| it.network_type)))
            .set(|_, v| if v.is_null() { Ok(()) } else { text_of(v, 32) })
            .read_by("get_network:provider:network_type")
            .create_by("create_network:provider:network_type")
            .update_by("update_network:provider:network_type")
            .shown_if(has_one)
            .filter(),
        field("provider:physical_network", |it: &Object<Network>, _: &Around| json!(only(it).and_then(|it| it.physical_network.as_ref())))
            .set(|_, v| if v.is_null() { Ok(()) } else { text_of(v, 64) })
            .read_by("get_network:provider:physical_network")
            .create_by("create_network:provider:physical_network")
            .update_by("update_network:provider:physical_network")
            .shown_if(has_one)
            .filter(),
        field("provider:segmentation_id", |it: &Object<Network>, _: &Around| json!(only(it).and_then(|it| it.segmentation_id)))
            .set(|_, v| segmentation_id(v).map(drop))
            .read_by("get_network:provider:segmentation_id")
            .create_by("create_network:provider:segmentation_id")
            .update_by("update_network:provider:segmentation_id")
            .shown_if(has_one)
            .filter(),
        field("segments", |it: &Object<Network>, _: &Around| segments_shown(it))
            .set(|_, v| if v.is_null() || v.is_array() { Ok(()) } else { Err(format!("'{v}' is not a list")) })
            .read_by("get_network:segments")
            .create_by("create_network:segments")
            .update_by("update_network:segments")
            .shown_if(has_several),
    ]
}

fn text_of(v: &Value, most: usize) -> Result<(), String> {
    value::text(v, most).map(drop)
}

fn segmentation_id(v: &Value) -> Result<Option<i64>, String> {
    if v.is_null() { Ok(None) } else { value::number(v, 0, i64::from(u32::MAX)).map(Some) }
}

static FORM: LazyLock<Form<Network>> = LazyLock::new(|| {
    Form::new("network", "networks", "networks", "NetworkNotFound", "Network")
        .standard()
        .shareable("network")
        .fields(vec![
            field("admin_state_up", |it: &Object<Network>, _: &Around| json!(it.desired.admin_state_up))
                .set(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v)))
                .sort(),
            field("status", |_, _| json!("ACTIVE")).sort(),
            field("subnets", |it, around: &Around| json!(around.subnets.get(&it.id).map_or(&[] as &[_], Vec::as_slice))),
            // At creation the rule is asked only if it is true, see `rules`.
            field("shared", |it, around: &Around| json!(around.shares.is_shared(it.id.as_str(), around.project.as_ref())))
                .set(|_, v| value::boolean(v).map(drop))
                .update_by("update_network:shared")
                .filter(),
            field("router:external", |it, around: &Around| json!(around.shares.is_external_to_any(it.id.as_str())))
                .set(|_, v| value::boolean(v).map(drop))
                .update_by("update_network:router:external")
                .filter(),
            field("is_default", |it: &Object<Network>, _| json!(it.desired.is_default))
                .set(|it, v| put(&mut it.desired.is_default, value::boolean(v)))
                .create_by("create_network:is_default")
                .update_by("update_network:is_default")
                .free_default()
                .filter(),
            field("mtu", |it: &Object<Network>, _| json!(it.desired.mtu))
                .set(|it, v| {
                    let mtu = value::number(v, i64::MIN, i64::MAX).map_err(|_| format!("'{v}' is not an integer"))?;
                    it.desired.mtu = u32::try_from(mtu).map_err(|_| format!("'{mtu}' should be non-negative"))?;
                    Ok(())
                })
                .sort(),
            field("port_security_enabled", |it: &Object<Network>, _| json!(it.desired.port_security_enabled))
                .set(|it, v| put(&mut it.desired.port_security_enabled, value::boolean(v)))
                .create_by("create_network:port_security_enabled")
                .update_by("update_network:port_security_enabled")
                .filter(),
            field("dns_domain", |it: &Object<Network>, _| json!(it.desired.dns_domain))
                .set(|it, v| put(&mut it.desired.dns_domain, domain(v))),
            field("qos_policy_id", |it: &Object<Network>, _| json!(it.desired.qos_policy_id))
                .set(|it, v| {
                    it.desired.qos_policy_id = if v.is_null() { None } else { Some(uuid(v)?) };
                    Ok(())
                })
                .column("qos_policy_id")
                .filter(),
            field("vlan_transparent", |it: &Object<Network>, _| json!(it.desired.vlan_transparent))
                .set_once(|it, v| {
                    it.desired.vlan_transparent = if v.is_null() { None } else { Some(value::boolean(v)?) };
                    Ok(())
                })
                .filter(),
            field("availability_zone_hints", |it: &Object<Network>, _| json!(it.desired.availability_zone_hints))
                .set_once(|it, v| put(&mut it.desired.availability_zone_hints, zone_hints(v)))
                .sort(),
            field("availability_zones", |it, around: &Around| json!(around.zones.get(&it.id).cloned().unwrap_or_default())),
            field("ipv4_address_scope", |it, around: &Around| around.scope(it, IpVersion::V4)),
            field("ipv6_address_scope", |it, around: &Around| around.scope(it, IpVersion::V6)),
            field("l2_adjacency", |it, around: &Around| json!(!around.routed.contains(&it.id))),
            input_once("ha"),
        ])
        .fields(provider_fields().into())
});

impl Noun for Network {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<NetworkDesired, Failure> {
        // 0: as much as its segments carry.
        Ok(NetworkDesired::new(0))
    }

    async fn around(ask: &Ask, networks: &[Object<Self>]) -> Result<Around, Failure> {
        let mut around = Around { shares: ask.shares().await?, project: ask.caller.project_id.clone(), ..Around::default() };
        let ids = || networks.iter().map(|it| it.id.to_string());
        let subnets = Query::<Subnet>::new().column("network_id", ids());
        let mut pools: HashMap<Id<SubnetPool>, Vec<(Id<Network>, IpVersion)>> = HashMap::new();
        for subnet in few_or_many(ask, &subnets, networks.len()).await? {
            let network = subnet.desired.network_id;
            if subnet.desired.segment_id.is_some() {
                around.routed.insert(network.clone());
            }
            if let Some(pool) = subnet.desired.subnetpool_id {
                pools.entry(pool).or_default().push((network.clone(), IpVersion::of(&subnet.desired.cidr)));
            }
            around.subnets.entry(network).or_default().push(subnet.id);
        }
        if !pools.is_empty() {
            let query = Query::<SubnetPool>::new().ids(pools.keys().map(ToString::to_string));
            for pool in few_or_many(ask, &query, pools.len()).await? {
                let Some(scope) = pool.desired.address_scope_id else { continue };
                for (network, version) in pools.get(&pool.id).into_iter().flatten() {
                    around.scopes.insert((network.clone(), (*version).into()), scope.clone());
                }
            }
        }
        let served = Query::<AgentBinding>::new().column("served", ids());
        let served = few_or_many(ask, &served, networks.len()).await?;
        if !served.is_empty() {
            let zones: HashMap<Id<Agent>, String> =
                ask.app.store.list(&Query::<Agent>::new()).await?.into_iter().map(|it| (it.id, it.desired.availability_zone)).collect();
            for it in served {
                let zone = zones.get(&it.desired.agent_id).filter(|it| !it.is_empty());
                if let (Some(zone), Some(network)) = (zone, Id::parse(&it.desired.served)) {
                    around.zones.entry(network).or_default().insert(zone.clone());
                }
            }
        }
        Ok(around)
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        target_parts(object, &around.shares, around.project.as_ref())
    }

    fn rules(verb: &'static str, body: &Body) -> Vec<String> {
        let asked = ["shared", "router:external"].into_iter().filter(|name| verb == "create" && is_true(body, name));
        asked.map(|name| format!("create_network:{name}")).collect()
    }

    async fn create(work: &mut Work<'_>, network: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let project = network.project_id.clone();
        let holder = network.id.to_string();
        let settings = &work.ask.app.settings;
        if network.desired.vlan_transparent == Some(true) {
            let text = "Backend does not support VLAN Transparency.";
            return Err(Failure::named(StatusCode::BAD_REQUEST, "VlanTransparencyDriverError", text));
        }
        network.desired.segments = match wanted_segments(settings, body)? {
            Some(wanted) => {
                let mut segments = Vec::new();
                for wanted in &wanted {
                    segments.push(allocation::take(work, project.as_ref(), wanted, &holder).await?);
                }
                segments
            }
            None => vec![allocation::take_any(work, project.as_ref(), &holder).await?],
        };
        set_mtu(&mut network.desired)?;
        super::agents::check_zones(work.ask, "network", &network.desired.availability_zone_hints).await?;
        if let (false, Some(project)) = (body.contains_key("qos_policy_id"), &project) {
            network.desired.qos_policy_id = qos::default_of(work.ask, project).await?;
        }
        check_policy(work, network.desired.qos_policy_id.as_ref()).await?;
        let is_external = is_true(body, "router:external");
        network.desired.is_default &= is_external;
        if network.desired.is_default {
            hold_default(work, network).await?;
        }
        access::share_at_creation(work, "network", network, body)?;
        if is_external {
            access::share(work, "network", network, RbacAction::AccessAsExternal, None);
        }
        for segment in &network.desired.segments {
            let segment = segment.object(&network.id);
            work.step(|batch| batch.create(&segment));
        }
        Ok(())
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        change_segment(work, before, after, body).await?;
        if body.contains_key("mtu") {
            change_mtu(work.ask, after).await?;
        }
        if before.desired.qos_policy_id != after.desired.qos_policy_id {
            check_policy(work, after.desired.qos_policy_id.as_ref()).await?;
        }
        let mut shared = change_external(work, before, after, body).await?;
        let wanted = |name: &str| body.get(name).and_then(|it| value::boolean(it).ok());
        if let Some(wanted) = wanted("shared")
            && wanted != work.ask.shares().await?.is_shared(before.id.as_str(), None)
        {
            shared = true;
            if wanted {
                access::share(work, "network", before, RbacAction::AccessAsShared, None);
            } else {
                let text = format!("Unable to reconfigure sharing settings for network {}. Multiple projects are using it.", before.name);
                let in_use = Failure::named(StatusCode::CONFLICT, "InvalidSharedSetting", text);
                access::unshare(work, before, RbacAction::AccessAsShared, in_use).await?;
            }
        }
        if after.desired.is_default != before.desired.is_default {
            if after.desired.is_default {
                hold_default(work, before).await?;
            } else {
                work.step(|batch| batch.free(DEFAULT.0, DEFAULT.1));
            }
        }
        if shared && before.name == after.name && before.desired == after.desired {
            // Whom it is for is part of it, though it is written elsewhere.
            work.step(|batch| batch.touch(&before.id));
        }
        Ok(())
    }

    /// The network is gone for its users at once; its VLAN stays taken until every switch was read back without it. Ports on their way
    /// out are the engine's, which waits for them; others keep the network, but for those of its own services.
    async fn delete(work: &mut Work<'_>, network: &Object<Self>) -> Result<(), Failure> {
        let ask = work.ask;
        let id = network.id.to_string();
        let ports = Query::<Port>::new().with_deleted().column("network_id", [id.clone()]);
        let ports = ask.app.store.list(&ports).await?;
        // Floating IPs that stand for nothing go with their network, and their ports with them.
        let floating = Query::<FloatingIp>::new().column("floating_network_id", [id.clone()]);
        let floating = ask.app.store.list(&floating).await?;
        let idle: Vec<_> = floating.iter().filter(|it| it.desired.port_id.is_none()).collect();
        let goes_along = |port: &Object<Port>| idle.iter().any(|it| it.desired.floating_port_id.as_ref() == Some(&port.id));
        let (own, users): (Vec<_>, Vec<_>) = ports
            .iter()
            .filter(|it| !it.is_deleting() && !goes_along(it))
            .partition(|it| OWN_SERVICES.contains(&it.desired.device_owner.as_str()));
        if !users.is_empty() {
            let ids: Vec<&str> = users.iter().map(|it| it.id.as_str()).collect();
            return Err(in_use(&id, &format!(", id for these ports is: {}", ids.join(","))));
        }
        // The mark first: a port that is made meanwhile waits for it, or is seen below.
        work.step(|batch| batch.mark_deleted(network).wake(&network.id));
        for it in idle {
            FloatingIp::delete(work, it).await?;
        }
        for port in own {
            l3_ports::remove(work, port).await?;
        }
        work.referenced_means::<Port>("network_id", in_use(&id, ""));
        work.step(|batch| batch.unless_referenced_by_living::<Port>("network_id", &id));
        let subnets = Query::<Subnet>::new().with_deleted().column("network_id", [id.clone()]);
        for subnet in ask.app.store.list_few(&subnets).await? {
            super::subnets::remove_of_network(work, &subnet);
        }
        for segment in ask.app.store.list_few(&Query::<NetworkSegment>::new().column("network_id", [id.clone()])).await? {
            work.step(|batch| batch.remove(&segment));
        }
        for served in ask.app.store.list_few(&Query::<AgentBinding>::new().column("served", [id.clone()])).await? {
            work.step(|batch| batch.remove(&served));
        }
        if network.desired.is_default {
            work.step(|batch| batch.free_held(DEFAULT.0, &id));
        }
        l2_gateways::network_removed(work, network).await?;
        bgp::network_removed(work, network).await?;
        bgpvpn_associations::forget::<BgpvpnNetworkAssociation>(work, &id).await?;
        if ports.is_empty() {
            // Nobody ever saw these on a wire of ours.
            for segment in &network.desired.segments {
                if let Some((pool, _)) = segment.held()
                    && !is_on_fabric(ask, segment).await?
                {
                    work.step(|batch| batch.free_held(&pool, &id));
                }
            }
        }
        access::unshare_all(work, network).await
    }
}

/// Of few objects the quick way, of many the one that does not keep others waiting.
async fn few_or_many<K: model::Kind>(ask: &Ask, query: &Query<K>, of: usize) -> Result<Vec<Object<K>>, Failure> {
    Ok(if of <= 2 { ask.app.store.list_few(query).await? } else { ask.app.store.list(query).await? })
}

/// What rules see of a network, for a caller of that project.
pub(super) fn target_parts(network: &Object<Network>, shares: &Shares, project: Option<&Id<Project>>) -> Target {
    of_network(&SeenNetwork::of(network, shares, project))
}

/// The networks of these ids, also those on their way out: for things that show what their network is.
///
/// # Errors
/// The store failed.
pub(super) async fn by_ids(
    ask: &Ask,
    ids: impl IntoIterator<Item = Id<Network>>,
) -> Result<HashMap<Id<Network>, Object<Network>>, Failure> {
    let ids: BTreeSet<String> = ids.into_iter().map(|it| it.to_string()).collect();
    let count = ids.len();
    if count == 0 {
        return Ok(HashMap::new());
    }
    let query = Query::<Network>::new().with_deleted().ids(ids);
    Ok(few_or_many(ask, &query, count).await?.into_iter().map(|it| (it.id.clone(), it)).collect())
}

/// The largest packets that all the segments carry, in bytes.
fn most_mtu(segments: &[Segment]) -> u32 {
    let of = |it: &Segment| match it.network_type {
        // Less what the tunnels' headers take of the 1500 bytes that every path carries.
        NetworkType::Vxlan => 1450,
        NetworkType::Geneve => 1442,
        NetworkType::Vlan | NetworkType::Flat | NetworkType::Local => 1500,
    };
    segments.iter().map(of).min().unwrap_or(1500)
}

pub(super) fn set_mtu(desired: &mut NetworkDesired) -> Result<(), Failure> {
    let most = most_mtu(&desired.segments);
    if desired.mtu > most {
        return Err(invalid(format!("Requested MTU is too big, maximum is {most}")));
    }
    if desired.mtu == 0 {
        desired.mtu = most;
    }
    Ok(())
}

async fn change_mtu(ask: &Ask, network: &mut Object<Network>) -> Result<(), Failure> {
    set_mtu(&mut network.desired)?;
    let mtu = network.desired.mtu;
    if mtu >= IPV6_MTU {
        return Ok(());
    }
    let subnets = ask.app.store.list_few(&Query::<Subnet>::new().column("network_id", [network.id.to_string()])).await?;
    let needs = |version: IpVersion| if version == IpVersion::V4 { IPV4_MTU } else { IPV6_MTU };
    match subnets.iter().map(|it| needs(IpVersion::of(&it.desired.cidr))).max() {
        Some(least) if mtu < least => {
            let text = format!("MTU of {} is not valid, subnet requires a minimum of {least}", network.id);
            Err(Failure::named(StatusCode::CONFLICT, "NetworkMTUSubnetConflict", text))
        }
        _ => Ok(()),
    }
}

/// The segments a body asks for; none: any will do.
fn wanted_segments(settings: &Settings, body: &Body) -> Result<Option<Vec<Wanted>>, Failure> {
    let given = |map: &Map<String, Value>| map.iter().any(|(key, value)| key.starts_with("provider:") && !value.is_null());
    let list = body.get("segments").and_then(Value::as_array).filter(|it| !it.is_empty());
    let bad = |kind, text: &str| Failure::named(StatusCode::BAD_REQUEST, kind, text);
    match (list, given(body)) {
        (Some(_), true) => Err(bad("SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set.")),
        (None, false) => Ok(None),
        (None, true) => Ok(Some(vec![wanted(settings, body)?])),
        (Some(list), false) => {
            let mut all: Vec<Wanted> = Vec::new();
            for it in list {
                let it = it.as_object().ok_or_else(|| invalid(format!("'{it}' is not a dictionary")))?;
                let unknown: Vec<&str> = it.keys().map(String::as_str).filter(|it| !PROVIDER.contains(it)).collect();
                if !unknown.is_empty() {
                    return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{}'", unknown.join(", "))));
                }
                let one = wanted(settings, it)?;
                if one.segmentation_id.is_some() && all.contains(&one) {
                    return Err(bad("SegmentsContainDuplicateEntry", "Duplicate segment entry in request."));
                }
                all.push(one);
            }
            Ok(Some(all))
        }
    }
}

const PROVIDER: [&str; 3] = ["provider:network_type", "provider:physical_network", "provider:segmentation_id"];

fn wanted(settings: &Settings, map: &Map<String, Value>) -> Result<Wanted, Failure> {
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    let network_type = text("provider:network_type").ok_or_else(|| invalid("network_type required"))?;
    let id = map.get("provider:segmentation_id").map(segmentation_id).transpose().map_err(invalid)?.flatten();
    Wanted::new(settings, network_type, text("provider:physical_network").map(str::to_owned), id)
}

/// Whether switches of ours carry it or may map VLANs to it: its id is free again only when they were read back without it.
async fn is_on_fabric(ask: &Ask, segment: &Segment) -> Result<bool, Failure> {
    Ok(match Trace::of(segment, &ask.app.settings.fabric.physical_network) {
        Some(Trace::Vlan(_)) => true,
        Some(Trace::Vni(vni)) => ask.app.store.list(&Query::<Switch>::new()).await?.iter().any(|it| it.may_map(vni)),
        None => false,
    })
}

/// Gives a segment of a network up: what it holds is free at once, or when the switches were read back without it. Then nothing that could
/// be on a switch may be on the network.
///
/// # Errors
/// The store failed.
pub(super) async fn release(work: &mut Work<'_>, network: &mut Object<Network>, segment: &Segment, in_use: Failure) -> Result<(), Failure> {
    let Some((pool, key)) = segment.held() else { return Ok(()) };
    if is_on_fabric(work.ask, segment).await? {
        let id = network.id.to_string();
        work.referenced_means::<Port>("network_id", in_use);
        work.step(|batch| batch.unless_referenced::<Port>("network_id", &id));
        let at = work.ask.app.store.now().await?;
        network.desired.released.push(ReleasedSegment { segment: segment.clone(), at, forced: None });
    } else {
        work.step(|batch| batch.free(&pool, &key));
    }
    Ok(())
}

/// Another number for the VLAN of a network: the one thing about its segment that can be changed.
async fn change_segment(work: &mut Work<'_>, before: &Object<Network>, after: &mut Object<Network>, body: &Body) -> Result<(), Failure> {
    let has = |name: &str| body.get(name).filter(|it| !it.is_null());
    let shown = |name: &str| {
        let segment = only(before);
        match name {
            "provider:network_type" => json!(segment.map(|it| it.network_type)),
            _ => json!(segment.and_then(|it| it.physical_network.as_ref())),
        }
    };
    let [kind, place, number] = PROVIDER;
    if [kind, place].iter().any(|name| has(name).is_some_and(|it| *it != shown(name))) {
        return Err(invalid(format!("Plugin does not support updating the following provider network attributes: {kind}, {place}")));
    }
    let Some(id) = has(number).and_then(|it| segmentation_id(it).ok().flatten()).filter(|it| *it != 0) else { return Ok(()) };
    let Some(old) = only(before) else {
        return Err(invalid("Provider network attributes can be updated only in provider networks with a single segment."));
    };
    if old.segmentation_id.map(i64::from) == Some(id) {
        return Ok(());
    }
    if old.network_type != NetworkType::Vlan {
        return Err(invalid("Only VLAN type networks can be updated."));
    }
    let wanted = Wanted::new(&work.ask.app.settings, "vlan", old.physical_network.clone(), Some(id))?;
    let text = format!("Provider network attribute {number} cannot be updated while ports are on the network");
    let ports = Query::<Port>::new().column("network_id", [before.id.to_string()]);
    let bound = |it: &Object<Port>| !it.desired.binding.host_id.is_empty();
    if work.ask.app.store.list(&ports).await?.iter().any(bound) {
        return Err(invalid(text));
    }
    let mut taken = allocation::take(work, before.project_id.as_ref(), &wanted, before.id.as_str()).await?;
    // The segment stays the same one.
    taken.id = old.id.clone();
    release(work, after, old, invalid(text)).await?;
    if let Some(mut row) = work.ask.app.store.get::<NetworkSegment>(&old.id).await? {
        row.desired.segmentation_id = taken.segmentation_id;
        work.step(|batch| batch.want(&row));
    }
    after.desired.segments = vec![taken];
    Ok(())
}

/// Makes a network an external one, or no longer. Returns whether that is a change.
async fn change_external(work: &mut Work<'_>, before: &Object<Network>, after: &mut Object<Network>, body: &Body) -> Result<bool, Failure> {
    let is_external = work.ask.shares().await?.is_external_to_any(before.id.as_str());
    let wanted = body.get("router:external").and_then(|it| value::boolean(it).ok()).unwrap_or(is_external);
    after.desired.is_default &= wanted;
    if wanted == is_external {
        return Ok(false);
    }
    if wanted {
        access::share(work, "network", before, RbacAction::AccessAsExternal, None);
        return Ok(true);
    }
    let ports =
        Query::<Port>::new().column("network_id", [before.id.to_string()]).column("device_owner", ["network:router_gateway".to_owned()]);
    if work.ask.app.store.count(&ports).await? > 0 {
        let text =
            format!("External network {} cannot be updated to be made non-external, since it has existing gateway ports.", before.id);
        return Err(Failure::named(StatusCode::CONFLICT, "ExternalNetworkInUse", text));
    }
    access::withdraw(work, before, RbacAction::AccessAsExternal).await?;
    Ok(true)
}

/// Takes the place of the default external network, of which there is one.
async fn hold_default(work: &mut Work<'_>, network: &Object<Network>) -> Result<(), Failure> {
    if let Some(held) = work.ask.app.store.allocation(DEFAULT.0, DEFAULT.1).await?
        && held.holder != network.id.as_str()
    {
        let text = format!("A default external network already exists: {}.", held.holder);
        return Err(Failure::named(StatusCode::CONFLICT, "DefaultExternalNetworkExists", text));
    }
    work.step(|batch| batch.hold(DEFAULT.0, DEFAULT.1, network.id.as_str()));
    Ok(())
}

/// A QoS policy that a body names: the caller sees it, and it stays.
async fn check_policy(work: &mut Work<'_>, id: Option<&Id<QosPolicy>>) -> Result<(), Failure> {
    let Some(id) = id else { return Ok(()) };
    let missing = || Failure::named(StatusCode::NOT_FOUND, "QosPolicyNotFound", format!("QoS policy {id} could not be found."));
    let policy = work.ask.app.store.get(id).await?.filter(|it: &Object<QosPolicy>| !it.is_deleting()).ok_or_else(missing)?;
    let caller = &work.ask.caller;
    let is_own = policy.project_id.is_some() && policy.project_id == caller.project_id;
    let is_seen = is_own
        || work.ask.shares().await?.is_shared(id.as_str(), caller.project_id.as_ref())
        || crate::enforce::allows(&work.ask.app, caller, "network:context_is_admin", &Value::Null);
    if !is_seen {
        return Err(missing());
    }
    work.gone_means::<QosPolicy>(missing());
    work.step(|batch| batch.require(id));
    Ok(())
}

fn in_use(id: &str, which: &str) -> Failure {
    let text = format!("Unable to complete operation on network {id}. There are one or more ports still in use on the network{which}.");
    Failure::named(StatusCode::CONFLICT, "NetworkInUse", text)
}
