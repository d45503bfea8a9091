//! Allocations: finds a machine that fits and gives it to nobody else.
//!
//! Source of who fits and of the words: Ironic documentation, "Allocation API".

use std::time::Duration;

use model::baremetal::{Allocation, AllocationState, Node, ProvisionState, is_busy};
use model::{Id, Object, Timestamp};
use store::{Query, StoreError};

use crate::runtime::{Cx, Look, Next};

/// The pool in which whoever claims a machine holds it: clusters do so too.
const CLAIM_POOL: &str = "claim";
/// How long a machine that fits is looked for, in seconds.
const PATIENCE: f64 = 3.0;

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(allocation) = cx.load::<Allocation>().await? else {
        return Ok(Next::Gone);
    };
    if allocation.observed.state != AllocationState::Allocating {
        return Ok(Next::Gone);
    }
    if let Some(node) = allocation.desired.backfill.clone() {
        return backfill(cx, allocation, &node).await;
    }
    let candidates = candidates(cx, &allocation).await?;
    let nodes = match candidates {
        Ok(nodes) => nodes,
        Err(why) => return fail(cx, allocation, &why).await,
    };
    let count = nodes.len();
    for node in nodes {
        match take(cx, &allocation, node).await {
            Ok(()) => return Ok(Next::Gone),
            // Somebody else was first.
            Err(StoreError::Stale { kind, .. }) if kind != <Allocation as model::Kind>::NAME => {}
            Err(StoreError::Taken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if Timestamp::now().seconds_since(allocation.created_at) < PATIENCE {
        return Ok(Next::Again(Duration::from_millis(200)));
    }
    fail(cx, allocation, &format!("could not reserve any of {count} suitable nodes")).await
}

/// Whether a machine is one that a user of this project may be given.
fn is_allowed(node: &Object<Node>, project: Option<&str>) -> bool {
    match project {
        None => true,
        Some(project) => [&node.desired.owner, &node.desired.lessee].into_iter().flatten().any(|it| it == project),
    }
}

/// Whether it is offered and in nobody's hands.
fn is_free(node: &Object<Node>) -> bool {
    node.observed.state == ProvisionState::Available
        && !is_busy(node)
        && !node.desired.maintenance
        && node.desired.instance_uuid.is_none()
        && node.desired.allocation_id.is_none()
        && node.observed.power.is_some()
}

fn has_traits(node: &Object<Node>, allocation: &Object<Allocation>) -> bool {
    allocation.desired.traits.iter().all(|it| node.desired.traits.contains(it))
}

/// Those that fit, the one of the same name first, the others in an order of each allocation's own, so that few want the same.
fn fitting(allocation: &Object<Allocation>, nodes: Vec<Object<Node>>) -> Result<Vec<Object<Node>>, String> {
    let desired = &allocation.desired;
    let class = desired.resource_class.clone().unwrap_or_default();
    let fits = |node: &Object<Node>| {
        is_free(node)
            && node.desired.resource_class.as_deref() == Some(class.as_str())
            && (desired.candidate_nodes.is_empty() || desired.candidate_nodes.contains(&node.id))
            && is_allowed(node, desired.owner.as_deref())
    };
    let mut nodes: Vec<_> = nodes.into_iter().filter(fits).collect();
    if nodes.is_empty() {
        return Err(if desired.candidate_nodes.is_empty() {
            format!("no available nodes match the resource class {class}")
        } else {
            format!("none of the requested nodes are available and match the resource class {class}")
        });
    }
    nodes.retain(|node| has_traits(node, allocation));
    if nodes.is_empty() {
        return Err(format!("no suitable nodes have the requested traits {}", desired.traits.join(", ")));
    }
    let own = |node: &Object<Node>| Id::<()>::derived(&format!("{}/{}", allocation.id, node.id)).to_string();
    nodes.sort_by_cached_key(|node| (allocation.name.is_empty() || node.name != allocation.name, own(node)));
    Ok(nodes)
}

async fn candidates(cx: &Cx, allocation: &Object<Allocation>) -> Result<Result<Vec<Object<Node>>, String>, StoreError> {
    let class = allocation.desired.resource_class.clone().unwrap_or_default();
    let query = Query::<Node>::new()
        .column("provision_state", [ProvisionState::Available.as_str().to_owned()])
        .column("resource_class", [class])
        .unset("instance_uuid");
    Ok(fitting(allocation, cx.store.list(&query).await?))
}

/// Gives the machine to the allocation, both at once or not at all.
async fn take(cx: &Cx, allocation: &Object<Allocation>, mut node: Object<Node>) -> Result<(), StoreError> {
    let mut allocation = allocation.clone();
    node.desired.instance_uuid = Some(allocation.id.to_string());
    node.desired.allocation_id = Some(allocation.id.clone());
    let info = &mut node.desired.instance_info.0;
    if !allocation.desired.traits.is_empty() {
        info.insert("traits".into(), serde_json::json!(allocation.desired.traits));
    }
    allocation.observed.state = AllocationState::Active;
    allocation.observed.node_id = Some(node.id.clone());
    allocation.observed.last_error = None;
    let batch = cx.facts().hold(CLAIM_POOL, node.id.as_str(), allocation.id.as_str());
    cx.store.apply(batch.want(&node).observe(&allocation)).await?;
    tracing::info!(allocation.id = %allocation.id, node.id = %node.id, node.name = node.name, "machine allocated");
    Ok(())
}

async fn fail(cx: &Cx, mut allocation: Object<Allocation>, why: &str) -> Look {
    allocation.observed.state = AllocationState::Error;
    allocation.observed.node_id = None;
    allocation.observed.last_error = Some(format!("Failed to process allocation {}: {why}.", allocation.id));
    cx.store.apply(cx.facts().observe(&allocation)).await?;
    Ok(Next::Gone)
}

/// An allocation made afterwards for a machine in use.
async fn backfill(cx: &Cx, mut allocation: Object<Allocation>, node: &Id<Node>) -> Look {
    let Some(mut node) = cx.store.get(node).await? else {
        let why = format!("Node {node} could not be found");
        return fail(cx, allocation, &why).await;
    };
    let desired = &allocation.desired;
    let mut wrong = Vec::new();
    if node.observed.state != ProvisionState::Active {
        let state = node.observed.state.as_str();
        wrong.push(format!("Node must be in the \"active\" state, but the current state is \"{state}\""));
    }
    if let Some(class) = &desired.resource_class
        && node.desired.resource_class.as_ref() != Some(class)
    {
        let own = node.desired.resource_class.clone().unwrap_or_else(|| "None".into());
        wrong.push(format!("Resource class {own} does not match the requested resource class {class}"));
    }
    if !has_traits(&node, &allocation) {
        let own: Vec<&str> = node.desired.traits.iter().map(String::as_str).collect();
        wrong.push(format!("List of traits {} does not match the requested traits {}", own.join(", "), desired.traits.join(", ")));
    }
    if !desired.candidate_nodes.is_empty() && !desired.candidate_nodes.contains(&node.id) {
        wrong.push("Candidate nodes must be empty or contain the target node".into());
    }
    let instance = node.desired.instance_uuid.clone().filter(|it| *it != allocation.id.to_string());
    if node.desired.allocation_id.as_ref().is_some_and(|it| *it != allocation.id) || instance.is_some() {
        wrong.push(format!("Node is associated with instance {}", instance.unwrap_or_default()));
    }
    if !wrong.is_empty() {
        let why = format!("Cannot backfill an allocation for node {}: {}", node.id, wrong.join("; "));
        return fail(cx, allocation, &why).await;
    }
    node.desired.instance_uuid = Some(allocation.id.to_string());
    node.desired.allocation_id = Some(allocation.id.clone());
    allocation.observed.state = AllocationState::Active;
    allocation.observed.node_id = Some(node.id.clone());
    cx.store.apply(cx.facts().want(&node).observe(&allocation)).await?;
    Ok(Next::Gone)
}

#[cfg(test)]
mod tests {
    use model::baremetal::{AllocationDesired, NodeDesired, PowerState};

    use super::*;

    fn node(name: &str, change: impl FnOnce(&mut Object<Node>)) -> Object<Node> {
        let desired = NodeDesired { resource_class: Some("big".into()), ..NodeDesired::default() };
        let mut node: Object<Node> = Object::new(Id::random(), None, name, desired);
        node.observed.state = ProvisionState::Available;
        node.observed.power = Some(PowerState::Off);
        change(&mut node);
        node
    }

    fn asked(change: impl FnOnce(&mut AllocationDesired)) -> Object<Allocation> {
        let mut desired = AllocationDesired { resource_class: Some("big".into()), ..AllocationDesired::default() };
        change(&mut desired);
        Object::new(Id::random(), None, "b", desired)
    }

    #[test]
    fn only_what_fits_and_the_namesake_first() {
        let nodes = || {
            vec![
                node("a", |_| {}),
                node("b", |_| {}),
                node("maintained", |it| it.desired.maintenance = true),
                node("used", |it| it.desired.instance_uuid = Some("x".into())),
                node("small", |it| it.desired.resource_class = Some("small".into())),
                node("active", |it| it.observed.state = ProvisionState::Active),
                node("unknown", |it| it.observed.power = None),
                node("owned", |it| it.desired.owner = Some("p".into())),
                node("lent", |it| it.desired.lessee = Some("p".into())),
                node("gifted", |it| it.desired.traits.extend(["CUSTOM_A".into(), "CUSTOM_B".into()])),
            ]
        };
        let names = |all: Result<Vec<Object<Node>>, String>| {
            let mut names: Vec<String> = all.unwrap().into_iter().map(|it| it.name).collect();
            let first = names.first().cloned();
            names.sort();
            (first, names)
        };
        let (first, all) = names(fitting(&asked(|_| {}), nodes()));
        assert_eq!((first.as_deref(), all.join(" ").as_str()), (Some("b"), "a b gifted lent owned"));
        let (_, mine) = names(fitting(&asked(|it| it.owner = Some("p".into())), nodes()));
        assert_eq!(mine, ["lent", "owned"]);
        let (_, gifted) = names(fitting(&asked(|it| it.traits = vec!["CUSTOM_A".into()]), nodes()));
        assert_eq!(gifted, ["gifted"]);
        let why = fitting(&asked(|it| it.traits = vec!["CUSTOM_C".into()]), nodes()).err().unwrap();
        assert_eq!(why, "no suitable nodes have the requested traits CUSTOM_C");
        let why = fitting(&asked(|it| it.resource_class = Some("huge".into())), nodes()).err().unwrap();
        assert_eq!(why, "no available nodes match the resource class huge");
        let why = fitting(&asked(|it| it.candidate_nodes = vec![Id::random()]), nodes()).err().unwrap();
        assert_eq!(why, "none of the requested nodes are available and match the resource class big");
    }
}
