//! Who may see and do what (Source: Ironic documentation, "Secure RBAC"): administrators everything; a project the machines that it
//! owns or that are lent to it. What a project may not see does not exist for it.

use model::baremetal::Node;
use model::{Id, Object};
use store::Query;

use super::Ask;
use super::node_fields::valid_uuid;
use crate::failure::Failure;

/// Whether the caller sees the node.
pub(super) fn sees(ask: &Ask, node: &Object<Node>) -> bool {
    let project = ask.caller.project_id.as_ref().map(Id::as_str);
    ask.caller.is_admin() || (project.is_some() && [&node.desired.owner, &node.desired.lessee].iter().any(|it| it.as_deref() == project))
}

/// Refuses all but administrators.
///
/// # Errors
/// `Forbidden`.
pub(super) fn admin(ask: &Ask) -> Result<(), Failure> {
    if ask.caller.is_admin() { Ok(()) } else { Err(Failure::Forbidden("this needs the role admin".into())) }
}

/// Refuses those who may not use a node they see: it takes the role member.
///
/// # Errors
/// `Forbidden`.
pub(super) fn user(ask: &Ask) -> Result<(), Failure> {
    if ask.caller.has_role("member") { Ok(()) } else { Err(Failure::Forbidden("this needs the role member".into())) }
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
    found.filter(|node| !node.is_deleting() && sees(ask, node)).ok_or_else(|| Failure::not_found("Node", ident))
}
