//! `/v1/nodes/{node}/vifs`: the ports of networks that a node is to be on.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{BaremetalPort, Node, ProvisionState, is_busy};
use model::net::Port;
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Batch, Query, Severity, StoreError};

use super::node::{holds, parse_id};
use super::versions::Minor;
use super::{Ask, access};
use crate::failure::Failure;

/// Allocation pool: the value is a port of a network, the holder the node it is attached to.
const POOL: &str = "vif";

fn since(ask: &Ask) -> Result<(), Failure> {
    if ask.minor < Minor(28) { Err(Failure::not_found("Resource", "vifs")) } else { Ok(()) }
}

pub(super) async fn list(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    since(&ask)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:vif:list").await?;
    let vifs: Vec<Value> = node.desired.vifs.iter().map(|id| json!({ "id": id })).collect();
    Ok(Json(json!({ "vifs": vifs })).into_response())
}

/// Ports come and go only while the machine is nobody's: one that runs keeps the networks it was deployed on.
fn changeable(node: &Object<Node>) -> Result<(), Failure> {
    if is_busy(node) {
        return Err(Failure::Conflict(format!("Node {} is locked, please retry after the current operation is completed.", node.id)));
    }
    if node.observed.state == ProvisionState::Active {
        return Err(Failure::Conflict(format!("Node {} is active: ports are attached before it is deployed.", node.id)));
    }
    Ok(())
}

pub(super) async fn attach(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    since(&ask)?;
    let rule = "baremetal:node:vif:attach";
    access::permitted(&ask, &ident, rule).await?;
    let text = body.get("id").and_then(Value::as_str).ok_or_else(|| Failure::BadRequest("Mandatory field missing: id".into()))?;
    let vif: Id<Port> = parse_id(text).ok_or_else(|| Failure::BadRequest(format!("'{text}' is not the UUID of a port")))?;
    if let Some(other) = ["port_uuid", "portgroup_uuid"].iter().find(|key| body.get(**key).is_some_and(|it| !it.is_null())) {
        return Err(Failure::BadRequest(format!("{other}: choosing the card is not offered; ports take cards in order")));
    }
    for _ in 0..crate::race::RACES {
        let mut node = access::permitted(&ask, &ident, rule).await?;
        changeable(&node)?;
        let port = port(&ask, &node, &vif).await?;
        if holds(&node, &vif) {
            return Err(attached(&vif));
        }
        let used_by = &port.desired.device_id;
        if !used_by.is_empty() && used_by != node.id.as_str() && !port.desired.device_owner.is_empty() {
            return Err(Failure::Conflict(format!("VIF {vif} is in use by {used_by}.")));
        }
        let host = &port.desired.binding.host_id;
        if !host.is_empty() && host != node.id.as_str() {
            return Err(Failure::Conflict(format!("VIF {vif} is bound to {host}.")));
        }
        let cards = ask.app.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
        let cards = cards.iter().filter(|card| card.desired.local_link_connection.is_some()).count();
        if node.desired.vifs.len() >= cards {
            return Err(Failure::BadRequest(format!("Unable to attach VIF {vif}, not enough free physical ports: the node has {cards}.")));
        }
        node.desired.vifs.push(vif.clone());
        let batch = Batch::wishes().require(&vif).hold(POOL, vif.as_str(), node.id.as_str()).want(&node);
        let batch = batch.history(&node.id, Severity::Info, "port attached", &json!({"user": ask.caller.user_id, "reason": vif}));
        match ask.app.store.apply(batch.wake(&node.id)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Taken { .. }) => return Err(attached(&vif)),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("node {ident} is being changed by others; try again")))
}

fn attached(vif: &Id<Port>) -> Failure {
    Failure::Conflict(format!("Unable to attach VIF because VIF {vif} is already attached to a node."))
}

/// The port, if the caller sees it. Administrators of machines attach any: with a token of the system the network service has no say.
async fn port(ask: &Ask, node: &Object<Node>, id: &Id<Port>) -> Result<Object<Port>, Failure> {
    let missing = || Failure::BadRequest(format!("there is no port {id}"));
    let port = ask.app.store.get(id).await?.filter(|port: &Object<Port>| !port.is_deleting()).ok_or_else(missing)?;
    let is_seen = access::may(ask, "baremetal:is_admin", node) || crate::network::sees_port(&ask.app, &ask.caller, &port).await?;
    if is_seen { Ok(port) } else { Err(missing()) }
}

pub(super) async fn detach(ask: Ask, Path((ident, text)): Path<(String, String)>) -> Result<Response, Failure> {
    since(&ask)?;
    let rule = "baremetal:node:vif:detach";
    access::permitted(&ask, &ident, rule).await?;
    for _ in 0..crate::race::RACES {
        let mut node = access::permitted(&ask, &ident, rule).await?;
        let vif = parse_id(&text).filter(|vif| holds(&node, vif)).ok_or_else(|| {
            Failure::BadRequest(format!("Unable to detach VIF {text} from node {} because it is not attached to it.", node.id))
        })?;
        changeable(&node)?;
        node.desired.vifs.retain(|it| *it != vif);
        let batch = Batch::wishes().free(POOL, vif.as_str()).want(&node).wake(&node.id).wake(&vif);
        let batch = batch.history(&node.id, Severity::Info, "port detached", &json!({"user": ask.caller.user_id, "reason": vif}));
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("node {ident} is being changed by others; try again")))
}
