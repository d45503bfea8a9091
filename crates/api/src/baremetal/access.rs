//! Who may see and do what: the rules, asked of nodes. What a caller may not see does not exist for it.

use std::time::Duration;

use http::StatusCode;
use model::baremetal::{Node, is_busy};
use model::{Id, Object};
use policy::Target;
use serde_json::json;
use store::Query;

use super::Ask;
use super::node_fields::target_power;
use super::policies::of_node;
use super::versions::{CONDUCTOR, Minor};
use crate::enforce::{allows, enforce};
use crate::failure::Failure;

/// Whether the rule lets the caller, of this node.
pub(super) fn may(ask: &Ask, rule: &str, node: &Object<Node>) -> bool {
    allows(&ask.app, &ask.caller, rule, &of_node(node))
}

/// Whether the rule lets the caller, where no node is concerned.
pub(super) fn may_any(ask: &Ask, rule: &str) -> bool {
    allows(&ask.app, &ask.caller, rule, &nothing())
}

/// Refuses whom the rule does not let, of this node.
///
/// # Errors
/// `Forbidden`.
pub(super) fn require(ask: &Ask, rule: &str, node: &Object<Node>) -> Result<(), Failure> {
    require_of(ask, rule, &of_node(node))
}

/// Refuses whom the rule does not let, where no node is concerned.
///
/// # Errors
/// `Forbidden`.
pub(super) fn require_any(ask: &Ask, rule: &str) -> Result<(), Failure> {
    require_of(ask, rule, &nothing())
}

/// Refuses whom the rule does not let, of what the target describes.
///
/// # Errors
/// `Forbidden`.
pub(super) fn require_of(ask: &Ask, rule: &str, target: &Target) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, target).map_err(|failure| match failure {
        Failure::Forbidden(_) => Failure::Forbidden(format!("Access was denied to the following resource: {rule}")),
        other => other,
    })
}

/// Whether a list is of everything there is; otherwise of what the caller may see one by one.
///
/// # Errors
/// `Forbidden`: the caller may list neither.
pub(super) fn lists_all(ask: &Ask, all: &str, own: &str) -> Result<bool, Failure> {
    if may_any(ask, all) {
        return Ok(true);
    }
    require_any(ask, own).map(|()| false)
}

fn nothing() -> Target {
    json!({})
}

/// The UUID in its hyphenated lower-case form, if it is one.
pub(super) fn valid_uuid(text: &str) -> Option<String> {
    uuid::Uuid::parse_str(text).ok().map(|id| id.hyphenated().to_string())
}

/// The uuid in a path as the id of anything.
pub(super) fn parse_id<K>(text: &str) -> Option<Id<K>> {
    valid_uuid(text).and_then(|id| Id::parse(&id))
}

/// Whether a text can be a name: what a URL can hold without escapes.
pub(super) fn is_logical_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// The node of that id or, from 1.5 on, name. Before 1.91 `.json` at the end of a name is left away if nothing is called so.
///
/// # Errors
/// `NotFound`, also for what the caller does not see; `BadRequest` for what can be neither.
pub(super) async fn node(ask: &Ask, ident: &str) -> Result<Object<Node>, Failure> {
    let mut found = by_ident(ask, ident).await?;
    if found.is_none()
        && ask.minor < Minor(91)
        && let Some(short) = ident.strip_suffix(".json")
    {
        found = by_ident(ask, short).await?;
    }
    found.filter(|node| !node.is_deleting() && may(ask, "baremetal:node:get", node)).ok_or_else(|| Failure::not_found("Node", ident))
}

async fn by_ident(ask: &Ask, ident: &str) -> Result<Option<Object<Node>>, Failure> {
    if let Some(id) = parse_id::<Node>(ident) {
        return Ok(ask.app.store.get(&id).await?);
    }
    if ask.minor < Minor(5) {
        return Ok(None);
    }
    if !is_logical_name(ident) {
        return Err(Failure::BadRequest(format!("Expected UUID or name for node: {ident}")));
    }
    Ok(ask.app.store.list(&Query::<Node>::new().name(ident)).await?.pop())
}

/// The node of that id or name, for what the rule guards.
///
/// # Errors
/// `NotFound` as [`node`]; `Forbidden`.
pub(super) async fn permitted(ask: &Ask, ident: &str, rule: &str) -> Result<Object<Node>, Failure> {
    let node = node(ask, ident).await?;
    require(ask, rule, &node)?;
    Ok(node)
}

/// That somebody works on the node.
pub(super) fn locked(node: &Object<Node>) -> Failure {
    let host = node.observed.conductor.as_deref().unwrap_or(CONDUCTOR);
    Failure::Conflict(format!("Node {} is locked by host {host}, please retry after the current operation is completed.", node.id))
}

/// Refuses what nobody would do for the node: no conductor of its group is alive.
///
/// # Errors
/// 404 in Ironic's words, or 503 if there is no conductor at all.
pub(super) fn served(ask: &Ask, node: &Object<Node>) -> Result<(), Failure> {
    ask.conductors.serve(node, StatusCode::NOT_FOUND)
}

/// Refuses while somebody works on the node.
///
/// # Errors
/// `Conflict`.
pub(super) fn unlocked(node: &Object<Node>) -> Result<(), Failure> {
    if is_busy(node) { Err(locked(node)) } else { Ok(()) }
}

/// How long what was asked of a node is waited for to be taken up.
const SETTLING: Duration = Duration::from_secs(2);

/// The node once the verb last asked of it is taken up and the power change last asked is over, if that is soon: who asks for two
/// things one after the other is not refused the second because of the first, as with Ironic, which waits for its lock about as long.
///
/// # Errors
/// `NotFound` if it is gone; the store's.
pub(super) async fn settled(ask: &Ask, mut node: Object<Node>) -> Result<Object<Node>, Failure> {
    let deadline = tokio::time::Instant::now() + SETTLING;
    let mut pause = Duration::from_millis(10);
    let is_asked = |node: &Object<Node>| {
        target_power(node).is_some() || node.desired.request.as_ref().is_some_and(|it| it.seq > node.observed.handled)
    };
    while is_asked(&node) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
        node = ask.app.store.get(&node.id).await?.ok_or_else(|| Failure::not_found("Node", node.id.as_str()))?;
    }
    Ok(node)
}

/// That others were faster again and again.
pub(super) fn raced(ident: &str) -> Failure {
    Failure::Conflict(format!("Node {ident} is locked by host {CONDUCTOR}, please retry after the current operation is completed."))
}

/// That the driver of a node cannot do what was asked.
pub(super) fn unsupported(node: &Object<Node>, what: &str) -> Failure {
    Failure::BadRequest(format!("Driver {} does not support {what} (disabled or not implemented).", node.desired.driver))
}
