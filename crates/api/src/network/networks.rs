//! `/v2.0/networks`

use std::collections::HashSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use model::net::{Network, NetworkDesired, Port, Segment, Subnet, VlanId, vlan_key};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError, Wishes};

use super::address::Taken;
use super::policies::{of_network, of_project};
use super::{Ask, again, bodies, created, owner, passed_over};
use crate::App;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::{Field, Listing, Resource, View, field, parse, put, rooted, value};

/// Largest packet a network may promise, in bytes: what the fabric carries.
const MTU: u16 = 1500;

pub(super) static NETWORK: Resource<Network> = Resource { plural: "networks", fields: FIELDS };

const FIELDS: &[Field<Network>] = &[
    field("id", |it: &Object<Network>| json!(it.id)),
    field("name", |it: &Object<Network>| json!(it.name)).set(|it, v| put(&mut it.name, value::text(v, 255))),
    field("description", |it: &Object<Network>| json!(it.desired.description))
        .set(|it, v| put(&mut it.desired.description, value::text(v, 255))),
    field("admin_state_up", |it: &Object<Network>| json!(it.desired.admin_state_up))
        .set(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v))),
    field("status", |_: &Object<Network>| json!("ACTIVE")),
    field("shared", |it: &Object<Network>| json!(it.desired.shared))
        .set(|it, v| put(&mut it.desired.shared, value::boolean(v)))
        .create_by("create_network:shared")
        .update_by("update_network:shared")
        .free_default(),
    field("router:external", |it: &Object<Network>| json!(it.desired.external))
        .set(|it, v| put(&mut it.desired.external, value::boolean(v)))
        .create_by("create_network:router:external")
        .update_by("update_network:router:external")
        .free_default(),
    field("mtu", |it: &Object<Network>| json!(it.desired.mtu)).set(|it, v| {
        let mtu = u16::try_from(value::number(v, 0, i64::from(MTU))?).unwrap_or(MTU);
        it.desired.mtu = if mtu == 0 { MTU } else { mtu };
        if it.desired.mtu < 68 { Err("it is below 68".into()) } else { Ok(()) }
    }),
    field("port_security_enabled", |it: &Object<Network>| json!(it.desired.port_security_enabled))
        .set(|it, v| put(&mut it.desired.port_security_enabled, value::boolean(v)))
        .create_by("create_network:port_security_enabled")
        .update_by("update_network:port_security_enabled"),
    field("provider:network_type", |_: &Object<Network>| json!("vlan"))
        .set_once(|_, v| match v.as_str() {
            Some("vlan") => Ok(()),
            _ => Err("only vlan is offered".into()),
        })
        .read_by("get_network:provider:network_type")
        .create_by("create_network:provider:network_type"),
    field("provider:physical_network", |it: &Object<Network>| json!(it.desired.segment.physical_network))
        .set_once(|it, v| {
            let name = value::text(v, 64)?;
            if name == it.desired.segment.physical_network { Ok(()) } else { Err(format!("there is no physical network '{name}'")) }
        })
        .read_by("get_network:provider:physical_network")
        .create_by("create_network:provider:physical_network"),
    field("provider:segmentation_id", |it: &Object<Network>| json!(it.desired.segment.vlan))
        .set_once(|it, v| {
            let id = value::number(v, 1, 4094)?;
            it.desired.segment.vlan = u16::try_from(id).ok().and_then(VlanId::new).ok_or("it is no VLAN id")?;
            Ok(())
        })
        .read_by("get_network:provider:segmentation_id")
        .create_by("create_network:provider:segmentation_id"),
    field("project_id", |it: &Object<Network>| json!(it.project_id)),
    field("tenant_id", |it: &Object<Network>| json!(it.project_id)),
    field("created_at", |it: &Object<Network>| json!(it.created_at.iso_seconds())),
    field("updated_at", |it: &Object<Network>| json!(it.updated_at.unwrap_or(it.created_at).iso_seconds())),
    field("revision_number", |it: &Object<Network>| json!(it.generation)),
    field("tags", |_: &Object<Network>| json!([])),
];

/// Whether the caller sees it.
pub(super) fn sees(ask: &Ask, network: &Object<Network>) -> bool {
    allows(&ask.app, &ask.caller, "get_network", &of_network(network))
}

fn view(ask: &Ask) -> View<'_, Network> {
    View { app: &ask.app, caller: &ask.caller, target: &of_network }
}

/// The network of that id, if the caller sees it.
pub(super) async fn find(ask: &Ask, id: &str) -> Result<Object<Network>, Failure> {
    let missing = || Failure::not_found("Network", id);
    let parsed = Id::parse(id).ok_or_else(missing)?;
    ask.app.store.get(&parsed).await?.filter(|it: &Object<Network>| !it.is_deleting() && sees(ask, it)).ok_or_else(missing)
}

/// Shows a network with the ids of its subnets.
async fn shown(ask: &Ask, network: &Object<Network>) -> Result<Value, Failure> {
    let query = Query::<Subnet>::new().column("network_id", [network.id.to_string()]);
    Ok(with_subnets(ask, network, &ask.app.store.list(&query).await?))
}

/// A network with those of the subnets that are its own.
fn with_subnets(ask: &Ask, network: &Object<Network>, subnets: &[Object<Subnet>]) -> Value {
    let fields = ask.parameters.fields();
    let mut body = NETWORK.show(network, view(ask), &fields);
    if let Some(map) = body.as_object_mut().filter(|_| fields.is_empty() || fields.iter().any(|it| it == "subnets")) {
        let own = subnets.iter().filter(|it| it.desired.network_id == network.id);
        map.insert("subnets".into(), own.map(|it| json!(it.id)).collect());
    }
    body
}

pub(super) async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let listing = Listing {
        resource: &NETWORK,
        parameters: &ask.parameters,
        view: view(&ask),
        own: of_project(ask.caller.project_id.as_ref()),
        href: ask.href("networks"),
        strict: true,
    };
    let page = listing.page(&ask.app.store, Query::new(), |it| sees(&ask, it)).await?;
    let ids = page.items.iter().map(|it| it.id.to_string());
    let subnets = ask.app.store.list(&Query::<Subnet>::new().column("network_id", ids)).await?;
    Ok(Json(listing.body(&page, |it| with_subnets(&ask, it, &subnets))))
}

pub(super) async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let network = find(&ask, &id).await?;
    Ok(Json(json!({"network": shown(&ask, &network).await?})))
}

/// A network as the defaults have it. VLAN 1 stands for "not chosen yet": it is in nobody's range.
fn blank(app: &App) -> Result<NetworkDesired, Failure> {
    let vlan = VlanId::new(1).ok_or_else(|| Failure::Internal("VLAN 1".into()))?;
    Ok(NetworkDesired {
        admin_state_up: true,
        shared: false,
        external: false,
        description: String::new(),
        mtu: MTU,
        port_security_enabled: true,
        segment: Segment { physical_network: app.settings.fabric.physical_network.clone(), vlan },
    })
}

pub(super) async fn create(ask: Ask, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let (wanted, is_bulk) = bodies(&body, "network", "networks")?;
    let fabric = &ask.app.settings.fabric;
    let pool = format!("vlan:{}", fabric.physical_network);
    let mut tries = 0;
    loop {
        let mut held: HashSet<String> = ask.app.store.allocations(&pool).await?.into_iter().map(|it| it.value).collect();
        let mut batch = Batch::wishes();
        let mut made = Vec::new();
        for wanted in &wanted {
            let mut wanted = wanted.clone();
            let project = owner(&ask, &mut wanted)?;
            let mut network = Object::new(Id::random(), Some(project), "", blank(&ask.app)?);
            enforce(&ask.app, &ask.caller, "create_network", &of_network(&network))?;
            NETWORK.fill(&mut network, &wanted, view(&ask))?;
            let given = wanted.contains_key("provider:segmentation_id");
            let vlan = choose(&ask.app, &network, given, &held, passed_over(tries)?)?;
            held.insert(vlan_key(vlan));
            network.desired.segment.vlan = vlan;
            batch = batch.hold(&pool, &vlan_key(vlan), network.id.as_str()).create(&network).wake(&network.id);
            made.push(network);
        }
        match ask.app.store.apply(batch).await {
            Ok(()) => {
                let mut items = Vec::new();
                for network in &made {
                    tracing::info!(network.id = %network.id, vlan = network.desired.segment.vlan.get(), "network created");
                    items.push(shown(&ask, network).await?);
                }
                return Ok(created(answer(items, is_bulk)));
            }
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(mut items: Vec<Value>, is_bulk: bool) -> Value {
    if is_bulk { json!({ "networks": items }) } else { json!({"network": items.pop()}) }
}

/// The VLAN of a new network: the given one if nobody has it, else the lowest free one but so many. One in quarantine is not free.
fn choose(app: &App, network: &Object<Network>, given: bool, held: &HashSet<String>, passed_over: usize) -> Result<VlanId, Failure> {
    let fabric = &app.settings.fabric;
    if given {
        let vlan = network.desired.segment.vlan;
        if vlan.get() == fabric.isolation_vlan {
            return Err(Failure::BadRequest(format!("Invalid input for provider:segmentation_id. Reason: {vlan} is the isolation VLAN.")));
        }
        if held.contains(&vlan_key(vlan)) {
            let text = format!("Unable to create the network. The VLAN {vlan} on physical network {} is in use.", fabric.physical_network);
            return Err(Failure::named(StatusCode::CONFLICT, "VlanIdInUse", text));
        }
        return Ok(vlan);
    }
    let (first, last) = fabric.vlan_range;
    let free = (first..=last).filter_map(VlanId::new).filter(|it| !held.contains(&vlan_key(*it)));
    free.take(passed_over + 1).last().ok_or_else(|| {
        let text = "Unable to create the network. No tenant network is available for allocation: all VLANs are in use or in quarantine.";
        Failure::named(StatusCode::SERVICE_UNAVAILABLE, "NoNetworkAvailable", text)
    })
}

/// The network of that id, if the rule lets the caller.
async fn permitted(ask: &Ask, id: &str, rule: &str) -> Result<Object<Network>, Failure> {
    let network = find(ask, id).await?;
    enforce(&ask.app, &ask.caller, rule, &of_network(&network))?;
    Ok(network)
}

pub(super) async fn update(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let wanted: &Map<String, Value> = rooted(&body, "network")?;
    let mut tries = 0;
    loop {
        let mut network = permitted(&ask, &id, "update_network").await?;
        let was_shared = network.desired.shared;
        NETWORK.change(&mut network, wanted, view(&ask))?;
        if was_shared && !network.desired.shared {
            let ports = ask.app.store.list(&Query::<Port>::new().column("network_id", [network.id.to_string()])).await?;
            if ports.iter().any(|port| port.project_id.is_some() && port.project_id != network.project_id) {
                let text = format!("Unable to reconfigure sharing settings for network {id}. Multiple tenants are using it.");
                return Err(Failure::named(StatusCode::CONFLICT, "InvalidSharedSetting", text));
            }
        }
        match ask.app.store.apply(Batch::wishes().want(&network)).await {
            Ok(()) => return Ok(Json(json!({"network": shown(&ask, &find(&ask, &id).await?).await?}))),
            Err(error) if again(&error, tries) => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// DELETE: the network is gone for its users at once; its VLAN stays taken until every switch was read back without it.
///
/// Ports on their way out are the engine's, which waits for them; others keep the network. While there are none at all one write looks and
/// marks. Otherwise, as with subnets, the mark comes first and is taken off again if a port was made just before it.
pub(super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let mut tries = 0;
    loop {
        let network = permitted(&ask, &id, "delete_network").await?;
        let ports = Query::<Port>::new().with_deleted().column("network_id", [network.id.to_string()]);
        let found = ask.app.store.list(&ports).await?;
        if found.iter().any(|port| !port.is_deleting()) {
            return Err(in_use(&id));
        }
        let mut batch = Batch::wishes().mark_deleted(&network).wake(&network.id);
        if found.is_empty() {
            batch = batch.unless_referenced::<Port>("network_id", network.id.as_str());
            batch = without_subnets(&ask, &network, batch).await?;
        }
        match ask.app.store.apply(batch).await {
            Ok(()) => {}
            // A port was made meanwhile.
            Err(StoreError::Referenced { .. }) if tries < RACES => {
                tries += 1;
                continue;
            }
            Err(error) if again(&error, tries) => {
                tries += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        if !found.is_empty() {
            if ask.app.store.list(&ports).await?.iter().any(|port| !port.is_deleting())
                && let Some(marked) = ask.app.store.get(&network.id).await?
            {
                // The engine leaves it alone as long as it has a port.
                ask.app.store.apply(Batch::wishes().remove(&marked).create(&super::unmarked(&marked)).wake(&marked.id)).await?;
                return Err(in_use(&id));
            }
            while let Err(error) = ask.app.store.apply(without_subnets(&ask, &network, Batch::wishes()).await?).await {
                if !again(&error, tries) {
                    return Err(error.into());
                }
                tries += 1;
            }
        }
        tracing::info!(network.id = %network.id, "network deleted; its VLAN is in quarantine");
        return Ok(StatusCode::NO_CONTENT);
    }
}

fn in_use(id: &str) -> Failure {
    let text = format!("Unable to complete operation on network {id}. There are one or more ports still in use on the network.");
    Failure::named(StatusCode::CONFLICT, "NetworkInUse", text)
}

/// Removes the network's subnets along with the rest.
async fn without_subnets(ask: &Ask, network: &Object<Network>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let subnets = Query::<Subnet>::new().with_deleted().column("network_id", [network.id.to_string()]);
    for subnet in ask.app.store.list(&subnets).await? {
        batch = batch.free_held(&Taken::pool(&subnet.id), "gateway").remove(&subnet);
    }
    Ok(batch)
}
