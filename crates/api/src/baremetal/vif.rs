//! `/v1/nodes/{node}/vifs`: the ports of networks that a node is to be on.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{BaremetalPort, Interface, Node, Place, Portgroup, ProvisionState, TENANT_VIF, chosen_for, places};
use model::net::Port;
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Batch, Query, Severity, StoreError, Wishes};

use super::node::{holds, parse_id, said_by};
use super::versions::Minor;
use super::words::not_of_type;
use super::{Ask, access};
use crate::failure::Failure;

/// Allocation pool: the value is a port of a network, the holder the node it is attached to.
const POOL: &str = "vif";

fn since(ask: &Ask) -> Result<(), Failure> {
    if ask.minor < Minor(28) { Err(Failure::NoRoute) } else { Ok(()) }
}

/// Whether the node is on no network of ours: then ports are attached to it in words only.
fn is_unplugged(node: &Object<Node>) -> bool {
    node.desired.interface(Interface::Network) == "noop"
}

pub(super) async fn list(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    since(&ask)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:vif:list").await?;
    let vifs: Vec<Value> = node.desired.vifs.iter().map(|id| json!({ "id": id })).collect();
    Ok(Json(json!({ "vifs": vifs })).into_response())
}

/// Ports come and go only while the machine is nobody's: one that runs keeps the networks it was deployed on.
fn changeable(node: &Object<Node>) -> Result<(), Failure> {
    access::unlocked(node)?;
    if node.observed.state == ProvisionState::Active {
        return Err(Failure::Conflict(format!("Node {} is active: ports are attached before it is deployed.", node.id)));
    }
    Ok(())
}

/// What a request to attach says: the port, and the card or group it is for.
struct Asked {
    vif: String,
    card: Option<Id<BaremetalPort>>,
    group: Option<Id<Portgroup>>,
}

fn asked(ask: &Ask, body: &Value) -> Result<Asked, Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Schema error for vif: {why}"));
    let map = body.as_object().ok_or_else(|| bad(not_of_type(body, "object")))?;
    let vif = match map.get("id") {
        None => return Err(bad("'id' is a required property".into())),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(bad(not_of_type(other, "string"))),
    };
    if access::valid_uuid(&vif).is_none() && !access::is_logical_name(&vif) {
        return Err(Failure::BadRequest(format!("Expected UUID or name for id: {vif}")));
    }
    if ask.minor < Minor(67) {
        return Ok(Asked { vif, card: None, group: None });
    }
    let text = |key: &str| map.get(key).filter(|it| !it.is_null()).map(|it| it.as_str().unwrap_or_default());
    let (card, group) = (text("port_uuid"), text("portgroup_uuid"));
    if card.is_some() && group.is_some() {
        return Err(Failure::BadRequest("Cannot specify both port_uuid and portgroup_uuid".into()));
    }
    let missing = |text: &str| Failure::BadRequest(format!("Expected a UUID but received {text}."));
    Ok(Asked {
        vif,
        card: card.map(|text| parse_id(text).ok_or_else(|| missing(text))).transpose()?,
        group: group.map(|text| parse_id(text).ok_or_else(|| missing(text))).transpose()?,
    })
}

/// Where the port goes: to the card or group that was asked for, which must be the node's and nobody's else, or to the best that is free.
fn chosen<'a>(
    node: &Object<Node>,
    cards: &'a [Object<BaremetalPort>],
    groups: &'a [Object<Portgroup>],
    asked: &Asked,
    vif: &Id<Port>,
) -> Result<Place<'a>, Failure> {
    let invalid = |reason: String| Failure::Conflict(format!("Unable to attach VIF {vif} to node {}. Reason: {reason}", node.id));
    let taken = |has: &Id<Port>, what: String| {
        Failure::Conflict(format!("Unable to attach VIF because VIF {has} is already attached to Ironic {what}"))
    };
    let vifs = &node.desired.vifs;
    let all = places(node, cards, groups);
    if all.free.is_empty() && asked.card.is_none() {
        return Err(Failure::BadRequest(format!("Unable to attach VIF {vif}, not enough free physical ports.")));
    }
    let group_of = |card: &Object<BaremetalPort>| groups.iter().find(|it| card.desired.portgroup_id.as_ref() == Some(&it.id));
    let of_group = |group: &Object<Portgroup>| -> Vec<&'a Object<BaremetalPort>> {
        let is_in = |card: &&Object<BaremetalPort>| card.desired.portgroup_id.as_ref() == Some(&group.id);
        cards.iter().filter(is_in).filter(|card| card.desired.local_link_connection.is_some()).collect()
    };
    if let Some(id) = &asked.card {
        let card = cards.iter().find(|card| card.id == *id && card.desired.local_link_connection.is_some());
        let card = card.ok_or_else(|| invalid(format!("port {id} is not one of the node's that are plugged in")))?;
        if let Some(has) = chosen_for(&card.desired.internal_info, vifs) {
            return Err(taken(has, format!("Port {id}")));
        }
        if let Some(group) = group_of(card) {
            if let Some(has) = chosen_for(&group.desired.internal_info, vifs) {
                return Err(taken(has, format!("Portgroup {}", group.id)));
            }
            if !group.desired.standalone_ports_supported {
                return Err(invalid(format!("port {id} is one of port group {}, whose ports are not used alone", group.id)));
            }
        }
        // Those that are where they are by order alone make room, if there is any.
        if vifs.len() >= all.taken.len() + all.free.len() {
            return Err(Failure::BadRequest(format!("Unable to attach VIF {vif}, not enough free physical ports.")));
        }
        return Ok(Place::card(card));
    }
    if let Some(id) = &asked.group {
        let group = groups.iter().find(|group| group.id == *id);
        let group = group.ok_or_else(|| invalid(format!("port group {id} is not one of the node's")))?;
        let members = of_group(group);
        if let Some(has) = chosen_for(&group.desired.internal_info, vifs) {
            return Err(taken(has, format!("Portgroup {id}")));
        }
        if members.is_empty() {
            return Err(invalid(format!("no port of port group {id} is plugged in")));
        }
        if members.iter().any(|card| chosen_for(&card.desired.internal_info, vifs).is_some()) {
            return Err(invalid(format!("ports of port group {id} have VIFs of their own")));
        }
        return Ok(Place { group: Some(group), cards: members });
    }
    all.free.into_iter().next().ok_or_else(|| invalid("no port is free".into()))
}

/// The node's cards, and those of them that act as one.
async fn parts(ask: &Ask, node: &Object<Node>) -> Result<(Vec<Object<BaremetalPort>>, Vec<Object<Portgroup>>), Failure> {
    let (id, store) = (node.id.to_string(), &ask.app.store);
    let cards = store.list(&Query::<BaremetalPort>::new().column("node_id", [id.clone()])).await?;
    Ok((cards, store.list(&Query::<Portgroup>::new().column("node_id", [id])).await?))
}

pub(super) async fn attach(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    since(&ask)?;
    let rule = "baremetal:node:vif:attach";
    let asked = asked(&ask, &body)?;
    let node = access::permitted(&ask, &ident, rule).await?;
    access::served(&ask, &node)?;
    if is_unplugged(&node) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let text = &asked.vif;
    let vif: Id<Port> = parse_id(text).ok_or_else(|| Failure::BadRequest(format!("'{text}' is not the UUID of a port")))?;
    for _ in 0..crate::race::RACES {
        let mut node = access::permitted(&ask, &ident, rule).await?;
        changeable(&node)?;
        let port = port(&ask, &node, &vif).await?;
        if holds(&node, &vif) {
            return Err(attached(&vif, node.id.as_str()));
        }
        let used_by = &port.desired.device_id;
        if !used_by.is_empty() && used_by != node.id.as_str() && !port.desired.device_owner.is_empty() {
            return Err(Failure::Conflict(format!("VIF {vif} is in use by {used_by}.")));
        }
        let host = &port.desired.binding.host_id;
        if !host.is_empty() && host != node.id.as_str() {
            return Err(Failure::Conflict(format!("VIF {vif} is bound to {host}.")));
        }
        let (cards, groups) = parts(&ask, &node).await?;
        let place = chosen(&node, &cards, &groups, &asked, &vif)?;
        let mut batch = Batch::wishes().require(&vif).hold(POOL, vif.as_str(), node.id.as_str());
        batch = match (place.group, place.cards.first()) {
            (Some(group), _) => {
                let mut group = group.clone();
                group.desired.internal_info.insert(TENANT_VIF.into(), json!(vif));
                batch.want(&group)
            }
            (None, Some(card)) => {
                let mut card = (*card).clone();
                card.desired.internal_info.insert(TENANT_VIF.into(), json!(vif));
                batch.want(&card)
            }
            (None, None) => batch,
        };
        let detail = said_by(&ask, &node, json!({"reason": vif}));
        node.desired.vifs.push(vif.clone());
        let batch = batch.want(&node).history(&node.id, Severity::Info, "port attached", &detail);
        match ask.app.store.apply(batch.wake(&node.id)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Taken { .. }) => return Err(attached(&vif, "")),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(access::raced(&ident))
}

fn attached(vif: &Id<Port>, node: &str) -> Failure {
    Failure::Conflict(format!("Unable to attach VIF because VIF {vif} is already attached to Ironic Node {node}").trim_end().to_owned())
}

/// The port, if the caller sees it. Administrators of machines attach any: with a token of the system the network service has no say.
async fn port(ask: &Ask, node: &Object<Node>, id: &Id<Port>) -> Result<Object<Port>, Failure> {
    let missing = || Failure::BadRequest(format!("there is no port {id}"));
    let port = ask.app.store.get(id).await?.filter(|port: &Object<Port>| !port.is_deleting()).ok_or_else(missing)?;
    let is_seen = access::may(ask, "baremetal:is_admin", node) || crate::network::sees_port(&ask.app, &ask.caller, &port).await?;
    if is_seen { Ok(port) } else { Err(missing()) }
}

/// Cards and groups that are for the port are for none any more.
async fn released(ask: &Ask, node: &Object<Node>, vif: &Id<Port>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let (cards, groups) = parts(ask, node).await?;
    let vifs = std::slice::from_ref(vif);
    for mut card in cards.into_iter().filter(|it| chosen_for(&it.desired.internal_info, vifs).is_some()) {
        card.desired.internal_info.remove(TENANT_VIF);
        batch = batch.want(&card);
    }
    for mut group in groups.into_iter().filter(|it| chosen_for(&it.desired.internal_info, vifs).is_some()) {
        group.desired.internal_info.remove(TENANT_VIF);
        batch = batch.want(&group);
    }
    Ok(batch)
}

/// A request that does not say which.
pub(super) async fn detach_none(_: Ask) -> Failure {
    Failure::BadRequest("Missing mandatory parameter: vif_id".into())
}

pub(super) async fn detach(ask: Ask, Path((ident, text)): Path<(String, String)>) -> Result<Response, Failure> {
    since(&ask)?;
    let rule = "baremetal:node:vif:detach";
    let node = access::permitted(&ask, &ident, rule).await?;
    if is_unplugged(&node) && node.desired.vifs.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    for _ in 0..crate::race::RACES {
        let mut node = access::permitted(&ask, &ident, rule).await?;
        let vif = parse_id(&text).filter(|vif| holds(&node, vif)).ok_or_else(|| {
            Failure::BadRequest(format!("Unable to detach VIF {text} from node {} because it is not attached to it.", node.id))
        })?;
        changeable(&node)?;
        let detail = said_by(&ask, &node, json!({"reason": vif}));
        node.desired.vifs.retain(|it| *it != vif);
        let batch = released(&ask, &node, &vif, Batch::wishes().free(POOL, vif.as_str()).want(&node)).await?;
        let batch = batch.wake(&node.id).wake(&vif).history(&node.id, Severity::Info, "port detached", &detail);
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(access::raced(&ident))
}
