//! `/v2.0/bgp-speakers` and `/v2.0/bgp-peers`: who tells whom of prefixes behind routers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, put as on_put};
use axum::{Json, Router as Routes};
use http::StatusCode;
use model::identity::Project;
use model::net::bgp::{BgpAuth, BgpPeer, BgpPeerDesired, BgpSpeaker, BgpSpeakerDesired};
use model::net::l3::{FloatingIp, Router};
use model::net::pools::{AddressScope, IpVersion, SubnetPool};
use model::net::{Network, Port, Subnet};
use model::{Id, Object, Secret};
use serde_json::{Value, json};
use store::Query;

use super::flow_classifiers::{bad, conflict, spelled};
use super::noun::{Body, Form, Noun, Work, field, named, permitted, routes as noun_routes};
use super::{Ask, Extension, extension, port_parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{parse, put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "bgp",
        "Neutron BGP Dynamic Routing Extension",
        "Discover and advertise routes for Neutron prefixes dynamically via BGP",
        "2016-05-10T15:37:00-00:00",
    ),
    extension("bgp_4byte_asn", "BGP 4-byte AS numbers", "Support bgp 4-byte AS number", "2017-09-07T00:00:00-00:00"),
];

/// The action that takes something in, and the rule that lets.
const ADD_PEER: &str = "add_bgp_peer";
const REMOVE_PEER: &str = "remove_bgp_peer";
const ADD_NETWORK: &str = "add_gateway_network";
const REMOVE_NETWORK: &str = "remove_gateway_network";

pub(super) fn routes() -> Routes<Arc<App>> {
    noun_routes::<BgpSpeaker>()
        .merge(noun_routes::<BgpPeer>())
        .route("/bgp-speakers/{id}/add_bgp_peer", on_put(add_peer))
        .route("/bgp-speakers/{id}/remove_bgp_peer", on_put(remove_peer))
        .route("/bgp-speakers/{id}/add_gateway_network", on_put(add_network))
        .route("/bgp-speakers/{id}/remove_gateway_network", on_put(remove_network))
        .route("/bgp-speakers/{id}/get_advertised_routes", get(advertised))
}

/// The number of an autonomous system, of two bytes or four.
fn system(v: &Value) -> Result<u32, String> {
    let most = i64::from(u32::MAX);
    let number = value::number(v, i64::MIN, i64::MAX).map_err(|_| {
        let text = if v.is_null() { "None".to_owned() } else { spelled(v) };
        format!("'{text}' is not an integer")
    })?;
    match number {
        it if it < 1 => Err(format!("'{it}' is too small - must be at least '1'")),
        it => u32::try_from(it).map_err(|_| format!("'{it}' is too large - must be no larger than '{most}'")),
    }
}

fn ip_version(v: &Value) -> Result<IpVersion, String> {
    let number = v.as_u64().and_then(|it| u8::try_from(it).ok());
    number.and_then(|it| IpVersion::try_from(it).ok()).ok_or_else(|| format!("{v} is not in valid_values"))
}

/// What upstream finds wrong with a value that is not given: it has a default that will not do.
fn needed(body: &Body, name: &str, why: &str) -> Result<(), Failure> {
    if body.contains_key(name) {
        return Ok(());
    }
    Err(bad("HTTPBadRequest", format!("Invalid input for {name}. Reason: {why}.")))
}

static SPEAKER: LazyLock<Form<BgpSpeaker>> = LazyLock::new(|| {
    Form::new("bgp_speaker", "bgp_speakers", "bgp-speakers", "BgpSpeakerNotFound", "BGP speaker").named().fields(vec![
        field("local_as", |it: &Object<BgpSpeaker>, _: &()| json!(it.desired.local_as))
            .set_once(|it, v| put(&mut it.desired.local_as, system(v)))
            .sort(),
        field("ip_version", |it: &Object<BgpSpeaker>, _| json!(it.desired.ip_version))
            .set_once(|it, v| put(&mut it.desired.ip_version, ip_version(v)))
            .sort(),
        field("advertise_floating_ip_host_routes", |it: &Object<BgpSpeaker>, _| json!(it.desired.advertise_floating_ip_host_routes))
            .set(|it, v| put(&mut it.desired.advertise_floating_ip_host_routes, value::boolean(v)))
            .sort(),
        field("advertise_tenant_networks", |it: &Object<BgpSpeaker>, _| json!(it.desired.advertise_tenant_networks))
            .set(|it, v| put(&mut it.desired.advertise_tenant_networks, value::boolean(v)))
            .sort(),
        field("peers", |it: &Object<BgpSpeaker>, _| json!(it.desired.peers)).link("peers"),
        field("networks", |it: &Object<BgpSpeaker>, _| json!(it.desired.networks)).link("networks"),
    ])
});

impl Noun for BgpSpeaker {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &SPEAKER
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<BgpSpeakerDesired, Failure> {
        Ok(BgpSpeakerDesired {
            local_as: 0,
            ip_version: IpVersion::V4,
            advertise_floating_ip_host_routes: true,
            advertise_tenant_networks: true,
            peers: Vec::new(),
            networks: Vec::new(),
        })
    }

    async fn create(_: &mut Work<'_>, _: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        needed(body, "local_as", "'None' is not an integer")?;
        needed(body, "ip_version", "None is not in valid_values")
    }
}

static PEER: LazyLock<Form<BgpPeer>> = LazyLock::new(|| {
    Form::new("bgp_peer", "bgp_peers", "bgp-peers", "BgpPeerNotFound", "BGP peer").named().fields(vec![
        field("peer_ip", |it: &Object<BgpPeer>, _: &()| json!(it.desired.peer_ip))
            .set_once(|it, v| {
                let read = v.as_str().and_then(|it| it.parse().ok());
                put(&mut it.desired.peer_ip, read.map(Some).ok_or_else(|| format!("'{}' is not a valid IP address", spelled(v))))
            })
            .required()
            .sort(),
        field("remote_as", |it: &Object<BgpPeer>, _| json!(it.desired.remote_as))
            .set_once(|it, v| put(&mut it.desired.remote_as, system(v)))
            .sort(),
        field("auth_type", |it: &Object<BgpPeer>, _| json!(it.desired.auth_type))
            .set_once(|it, v| {
                let read = serde_json::from_value::<BgpAuth>(v.clone());
                put(&mut it.desired.auth_type, read.map_err(|_| format!("{} is not in valid_values", spelled(v))))
            })
            .required()
            .sort(),
        field("password", |_: &Object<BgpPeer>, _| Value::Null)
            .set(|it, v| {
                let wrong = "it is not a string of at most 255 characters";
                it.desired.password = match v {
                    Value::Null => None,
                    v => Some(Secret::new(value::text(v, 255).map_err(|_| wrong.to_owned())?)),
                };
                Ok(())
            })
            .unseen(),
    ])
});

impl Noun for BgpPeer {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &PEER
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<BgpPeerDesired, Failure> {
        Ok(BgpPeerDesired { peer_ip: None, remote_as: 0, auth_type: BgpAuth::None, password: None })
    }

    async fn create(_: &mut Work<'_>, peer: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        needed(body, "remote_as", "'None' is not an integer")?;
        let has_password = peer.desired.password.as_ref().is_some_and(|it| !it.reveal().is_empty());
        if peer.desired.auth_type == BgpAuth::Md5 && !has_password {
            return Err(bad("InvalidBgpPeerMd5Authentication", "A password must be supplied when using auth_type md5."));
        }
        Ok(())
    }

    async fn update(_: &mut Work<'_>, before: &Object<Self>, _: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if before.desired.auth_type == BgpAuth::None && body.get("password").is_some_and(|it| !it.is_null()) {
            let text = format!("BGP peer {} not authenticated.", before.id);
            return Err(Failure::named(StatusCode::NOT_FOUND, "BgpPeerNotAuthenticated", text));
        }
        Ok(())
    }

    /// Its speakers have it no more.
    async fn delete(work: &mut Work<'_>, peer: &Object<Self>) -> Result<(), Failure> {
        work.step(|batch| batch.remove(peer));
        let speakers = Query::<BgpSpeaker>::new().linked("peers", [peer.id.to_string()]);
        for before in work.ask.app.store.list_few(&speakers).await? {
            let mut after = before.clone();
            after.desired.peers.retain(|it| *it != peer.id);
            work.want(&before, &after);
        }
        Ok(())
    }
}

/// The id that an action's body names.
fn wanted<K>(body: &Bytes, name: &str) -> Result<Id<K>, Failure> {
    let body = parse(body)?;
    let read = match body.get(name) {
        Some(v) => port_parts::uuid(v),
        None => Err(format!("{name} must be specified")),
    };
    read.map_err(|why| bad("BadRequest", format!("Bad bgp-speaker request: {why}.")))
}

/// An action of a speaker.
enum Action<'a> {
    AddPeer(&'a Id<BgpPeer>),
    RemovePeer(&'a Id<BgpPeer>),
    AddNetwork(&'a Id<Network>),
    RemoveNetwork(&'a Id<Network>),
}

impl Action<'_> {
    fn rule(&self) -> &'static str {
        match self {
            Self::AddPeer(_) => ADD_PEER,
            Self::RemovePeer(_) => REMOVE_PEER,
            Self::AddNetwork(_) => ADD_NETWORK,
            Self::RemoveNetwork(_) => REMOVE_NETWORK,
        }
    }

    /// What becomes of the speaker, and what more belongs to that.
    async fn change(&self, work: &mut Work<'_>, speaker: &mut Object<BgpSpeaker>) -> Result<(), Failure> {
        let missing = |kind: &'static str, text: String| Failure::named(StatusCode::NOT_FOUND, kind, text);
        match *self {
            Self::AddPeer(wanted) => {
                let peer = named::<BgpPeer>(work.ask, wanted).await?;
                let ids = speaker.desired.peers.iter().map(ToString::to_string);
                let has = work.ask.app.store.list_few(&Query::<BgpPeer>::new().ids(ids)).await?;
                if let Some(other) = has.iter().find(|it| it.desired.peer_ip == peer.desired.peer_ip) {
                    let ip = other.desired.peer_ip.map(|it| it.to_string()).unwrap_or_default();
                    let text = format!(
                        "BGP Speaker {} is already configured to peer with a BGP Peer at {ip}, it cannot peer with BGP Peer {wanted}.",
                        speaker.id
                    );
                    return Err(conflict("DuplicateBgpPeerIpException", text));
                }
                speaker.desired.peers.push(wanted.clone());
                // Changed, so that a removal that knows nothing of it begins anew.
                work.gone_means::<BgpPeer>(BgpPeer::form().missing(wanted.as_str()));
                work.step(|batch| batch.touch::<BgpPeer>(wanted));
            }
            Self::RemovePeer(wanted) => {
                if !speaker.desired.peers.contains(wanted) {
                    let text = format!("BGP peer {wanted} is not associated with BGP speaker {}.", speaker.id);
                    return Err(missing("BgpSpeakerPeerNotAssociated", text));
                }
                speaker.desired.peers.retain(|it| it != wanted);
            }
            Self::AddNetwork(wanted) => {
                named::<Network>(work.ask, wanted).await?;
                if speaker.desired.networks.contains(wanted) {
                    let text = format!("Network {wanted} is already bound to BgpSpeaker {}.", speaker.id);
                    return Err(conflict("BgpSpeakerNetworkBindingError", text));
                }
                speaker.desired.networks.push(wanted.clone());
                work.gone_means::<Network>(Network::form().missing(wanted.as_str()));
                work.step(|batch| batch.require(wanted));
            }
            Self::RemoveNetwork(wanted) => {
                if !speaker.desired.networks.contains(wanted) {
                    let text = format!("Network {wanted} is not associated with BGP speaker {}.", speaker.id);
                    return Err(missing("BgpSpeakerNetworkNotAssociated", text));
                }
                speaker.desired.networks.retain(|it| it != wanted);
            }
        }
        Ok(())
    }
}

async fn act(ask: &Ask, id: &str, action: Action<'_>) -> Result<(), Failure> {
    for tries in 0.. {
        let before = permitted::<BgpSpeaker>(ask, id, action.rule()).await?;
        let mut after = before.clone();
        let mut work = Work::new(ask, tries);
        action.change(&mut work, &mut after).await?;
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    Ok(())
}

async fn add_peer(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    permitted::<BgpSpeaker>(&ask, &id, ADD_PEER).await?;
    let wanted = wanted(&body, "bgp_peer_id")?;
    act(&ask, &id, Action::AddPeer(&wanted)).await?;
    Ok(Json(json!({ "bgp_peer_id": wanted })))
}

async fn remove_peer(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    permitted::<BgpSpeaker>(&ask, &id, REMOVE_PEER).await?;
    let wanted = wanted(&body, "bgp_peer_id")?;
    act(&ask, &id, Action::RemovePeer(&wanted)).await?;
    Ok(Json(json!({ "bgp_peer_id": wanted })))
}

async fn add_network(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    permitted::<BgpSpeaker>(&ask, &id, ADD_NETWORK).await?;
    let wanted = wanted(&body, "network_id")?;
    act(&ask, &id, Action::AddNetwork(&wanted)).await?;
    Ok(Json(json!({ "network_id": wanted })))
}

async fn remove_network(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    permitted::<BgpSpeaker>(&ask, &id, REMOVE_NETWORK).await?;
    let wanted = wanted(&body, "network_id")?;
    act(&ask, &id, Action::RemoveNetwork(&wanted)).await?;
    Ok(Json(json!({ "network_id": wanted })))
}

/// What belongs to the removal of a network: speakers tell of what lies behind it no more.
///
/// # Errors
/// The store failed.
pub(super) async fn network_removed(work: &mut Work<'_>, network: &Object<Network>) -> Result<(), Failure> {
    let speakers = Query::<BgpSpeaker>::new().linked("networks", [network.id.to_string()]);
    for before in work.ask.app.store.list_few(&speakers).await? {
        let mut after = before.clone();
        after.desired.networks.retain(|it| *it != network.id);
        work.want(&before, &after);
    }
    Ok(())
}

/// A prefix and through where it is reached.
type Way = (String, IpAddr);

/// What routers know of where a speaker tells of: everything is read for all routers at once.
struct Behind {
    version: IpVersion,
    /// Routers with a gateway there that are up, and the addresses of those gateways.
    hops: BTreeMap<Id<Router>, Vec<IpAddr>>,
    routers: Vec<Object<Router>>,
    networks: HashSet<Id<Network>>,
    /// The address scopes of the networks' subnets.
    scopes: HashSet<Id<AddressScope>>,
}

async fn scopes_of(ask: &Ask, subnets: &[Object<Subnet>]) -> Result<HashMap<Id<SubnetPool>, Id<AddressScope>>, Failure> {
    let pools: BTreeSet<String> = subnets.iter().filter_map(|it| it.desired.subnetpool_id.as_ref()).map(ToString::to_string).collect();
    if pools.is_empty() {
        return Ok(HashMap::new());
    }
    let pools = ask.app.store.list(&Query::<SubnetPool>::new().ids(pools)).await?;
    Ok(pools.into_iter().filter_map(|it| Some((it.id, it.desired.address_scope_id?))).collect())
}

impl Behind {
    async fn of(ask: &Ask, speaker: &Object<BgpSpeaker>) -> Result<Self, Failure> {
        let store = &ask.app.store;
        let version = speaker.desired.ip_version;
        let ids = || speaker.desired.networks.iter().map(ToString::to_string);
        let mut subnets = store.list(&Query::<Subnet>::new().column("network_id", ids())).await?;
        subnets.retain(|it| IpVersion::of(&it.desired.cidr) == version);
        let scopes = scopes_of(ask, &subnets).await?.into_values().collect();
        let networks: HashSet<_> = speaker.desired.networks.iter().cloned().collect();
        let mut routers = store.list(&Query::<Router>::new().linked("gateway_network_id", ids())).await?;
        routers.retain(|it| it.desired.admin_state_up);
        let places = |it: &Object<Router>| -> Vec<Id<Port>> {
            it.desired.gateways.iter().filter(|it| networks.contains(&it.network_id)).map(|it| it.port_id.clone()).collect()
        };
        let ports: BTreeSet<String> = routers.iter().flat_map(places).map(|it| it.to_string()).collect();
        let ports = if ports.is_empty() { Vec::new() } else { store.list(&Query::<Port>::new().ids(ports)).await? };
        let ports: HashMap<_, _> = ports.into_iter().map(|it| (it.id.clone(), it)).collect();
        let there: HashSet<&Id<Subnet>> = subnets.iter().map(|it| &it.id).collect();
        let hops = routers.iter().map(|router| {
            let ips = places(router).into_iter().filter_map(|it| ports.get(&it)).flat_map(|it| &it.desired.fixed_ips);
            (router.id.clone(), ips.filter(|it| there.contains(&it.subnet_id)).map(|it| it.ip_address).collect())
        });
        Ok(Self { version, hops: hops.collect(), networks, scopes, routers })
    }

    /// Floating IPs, each by the router that translates it.
    async fn floating(&self, ask: &Ask) -> Result<Vec<Way>, Failure> {
        if self.version != IpVersion::V4 || self.routers.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.networks.iter().map(ToString::to_string);
        let floating = ask.app.store.list(&Query::<FloatingIp>::new().column("floating_network_id", ids)).await?;
        let mut ways = Vec::new();
        for it in &floating {
            let Some((router, address)) = it.desired.router_id.as_ref().zip(it.desired.floating_ip_address) else { continue };
            ways.extend(self.hops.get(router).into_iter().flatten().map(|hop| (format!("{address}/32"), *hop)));
        }
        Ok(ways)
    }

    /// Subnets of users in the address scope of the networks, each by the routers it is connected with.
    async fn inner(&self, ask: &Ask) -> Result<Vec<Way>, Failure> {
        let ids: BTreeSet<String> =
            self.routers.iter().flat_map(|it| &it.desired.interfaces).flat_map(|it| &it.subnet_ids).map(ToString::to_string).collect();
        if ids.is_empty() || self.scopes.is_empty() {
            return Ok(Vec::new());
        }
        let mut subnets = ask.app.store.list(&Query::<Subnet>::new().ids(ids)).await?;
        subnets.retain(|it| IpVersion::of(&it.desired.cidr) == self.version && !self.networks.contains(&it.desired.network_id));
        let scopes = scopes_of(ask, &subnets).await?;
        let told = |it: &Object<Subnet>| {
            let scope = it.desired.subnetpool_id.as_ref().and_then(|it| scopes.get(it));
            scope.is_some_and(|it| self.scopes.contains(it))
        };
        let told: HashMap<_, _> = subnets.iter().filter(|it| told(it)).map(|it| (&it.id, it.desired.cidr)).collect();
        let mut ways = BTreeSet::new();
        for router in &self.routers {
            let hops = self.hops.get(&router.id).into_iter().flatten();
            let own = router.desired.interfaces.iter().flat_map(|it| &it.subnet_ids).filter_map(|it| told.get(it));
            let own: Vec<String> = own.map(ToString::to_string).collect();
            ways.extend(hops.flat_map(|hop| own.iter().map(|prefix| (prefix.clone(), *hop))));
        }
        Ok(ways.into_iter().collect())
    }
}

/// GET: what the speaker tells its peers. (Source: `neutron_dynamic_routing/db/bgp_db.py`.)
async fn advertised(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let speaker = permitted::<BgpSpeaker>(&ask, &id, "get_advertised_routes").await?;
    let mut ways = Vec::new();
    if !speaker.desired.networks.is_empty() {
        let behind = Behind::of(&ask, &speaker).await?;
        if speaker.desired.advertise_floating_ip_host_routes {
            ways.extend(behind.floating(&ask).await?);
        }
        if speaker.desired.advertise_tenant_networks {
            ways.extend(behind.inner(&ask).await?);
        }
    }
    let shown: Vec<Value> = ways.into_iter().map(|(destination, hop)| json!({"destination": destination, "next_hop": hop})).collect();
    Ok(Json(json!({ "advertised_routes": shown })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_have_numbers_of_four_bytes() {
        assert_eq!(system(&json!(4_294_967_295_u32)), Ok(u32::MAX));
        assert_eq!(system(&json!("65000")), Ok(65000));
        assert_eq!(system(&json!(0)).unwrap_err(), "'0' is too small - must be at least '1'");
        assert_eq!(system(&json!(4_294_967_296_u64)).unwrap_err(), "'4294967296' is too large - must be no larger than '4294967295'");
        assert_eq!(system(&Value::Null).unwrap_err(), "'None' is not an integer");
        assert!(ip_version(&json!(6)).is_ok() && ip_version(&json!(5)).is_err());
    }
}
