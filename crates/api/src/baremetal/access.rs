//! Who may see and do what: the rules, asked of nodes. What a caller may not see does not exist for it.

use model::baremetal::Node;
use model::{Id, Object};
use policy::Target;
use serde_json::json;
use store::Query;

use super::Ask;
use super::node_fields::valid_uuid;
use super::policies::of_node;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;

/// Whether the rule lets the caller, of this node.
pub(super) fn may(ask: &Ask, rule: &str, node: &Object<Node>) -> bool {
    allows(&ask.app, &ask.caller, rule, &of_node(node))
}

/// Refuses whom the rule does not let, of this node.
///
/// # Errors
/// `Forbidden`.
pub(super) fn require(ask: &Ask, rule: &str, node: &Object<Node>) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, &of_node(node))
}

/// Refuses whom the rule does not let, where no node is concerned.
///
/// # Errors
/// `Forbidden`.
pub(super) fn require_any(ask: &Ask, rule: &str) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, &nothing())
}

/// Whether a list is of everything there is; otherwise of what the caller may see one by one.
///
/// # Errors
/// `Forbidden`: the caller may list neither.
pub(super) fn lists_all(ask: &Ask, all: &str, own: &str) -> Result<bool, Failure> {
    if allows(&ask.app, &ask.caller, all, &nothing()) {
        return Ok(true);
    }
    require_any(ask, own).map(|()| false)
}

fn nothing() -> Target {
    json!({})
}

/// The node of that id or name.
///
/// # Errors
/// `NotFound`, also for what the caller does not see.
pub(super) async fn node(ask: &Ask, ident: &str) -> Result<Object<Node>, Failure> {
    let found = match valid_uuid(ident).and_then(|id| Id::parse(&id)) {
        Some(id) => ask.app.store.get::<Node>(&id).await?,
        None if ident.is_empty() => None,
        None => ask.app.store.list(&Query::<Node>::new().name(ident)).await?.pop(),
    };
    found.filter(|node| !node.is_deleting() && may(ask, "baremetal:node:get", node)).ok_or_else(|| Failure::not_found("Node", ident))
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
