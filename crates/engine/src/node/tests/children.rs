//! Steps that a node has done on the nodes that are part of it.

use model::baremetal::{OnChildren, StepState};

use super::*;

/// Children, in the order in which they have their turn.
async fn children(rig: &Rig, parent: &Id<Node>, count: usize) -> Vec<Id<Node>> {
    let mut out = Vec::new();
    for _ in 0..count {
        let id = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.parent_node = Some(parent.clone())).await;
        rig.script.with(id.as_str(), |it| it.steps = vec![own("bios", "reset", 0, false), own("bios", "breaks", 0, false)]);
        out.push(id);
    }
    out.sort();
    out
}

/// A step on child nodes.
fn on(name: &str, only: &[Id<Node>]) -> Step {
    let interface = if name.starts_with("power") || name == "reboot" { "power" } else { "bios" };
    Step { children: Some(OnChildren { only: only.to_vec() }), ..step(interface, name, 0) }
}

/// Looks at what is due in a group until the parent is at rest in that state; now and then one is broken off.
async fn clean(rig: &Rig, parent: &Id<Node>, steps: Vec<Step>, state: ProvisionState, mut dice: Option<Dice>) -> Object<Node> {
    rig.ask(parent, Verb::Clean, steps).await;
    for () in looks() {
        let node = rig.node(parent).await;
        if node.observed.state == state
            && node.observed.phase == Phase::Rest
            && node.observed.handled == node.desired.request.as_ref().unwrap().seq
        {
            return node;
        }
        // The parent's looks may be broken off anywhere.
        if let Some(claim) = rig.store().claim_within("parents", "w", LEASE).await.unwrap() {
            let polls = dice.as_mut().and_then(|it| (it.below(2) == 0).then(|| it.below(14)));
            rig.look_at(claim, polls).await;
        }
        if let Some(claim) = rig.store().claim_within("", "w", LEASE).await.unwrap() {
            rig.look_at(claim, None).await;
        }
    }
    panic!("it does not get there: {:?}", rig.node(parent).await.observed);
}

async fn parent(rig: &Rig) -> Id<Node> {
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.conductor_group = "parents".into()).await;
    // What is part of it has its power from it.
    rig.script.with(id.as_str(), |it| {
        it.steps = vec![own("bios", "reset", 0, false)];
        it.on = true;
    });
    let mut node = rig.node(&id).await;
    node.observed.power = Some(model::baremetal::PowerState::On);
    rig.observe(&node).await;
    id
}

#[tokio::test]
async fn a_child_of_a_node_that_is_off_has_no_power() {
    let rig = Rig::new(|_| {}).await;
    let parent = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.conductor_group = "parents".into()).await;
    let all = children(&rig, &parent, 1).await;
    let failed = clean(&rig, &parent, vec![on("power_on", &[])], ProvisionState::CleanFailed, None).await;
    let why = failed.observed.last_error.unwrap();
    assert!(why.contains(&format!("its parent node {parent}, from which it has its power, is off and waits for it")), "{why}");
    assert!(orders(&rig, &all[0]).is_empty() && orders(&rig, &parent).is_empty());
}

fn orders(rig: &Rig, id: &Id<Node>) -> Vec<String> {
    rig.script.with(id.as_str(), |it| it.orders.clone())
}

#[tokio::test]
async fn each_child_does_it_once_before_its_parent_goes_on_whoever_dies() {
    for seed in [3_u64, 41, 77, 1009] {
        println!("seed {seed}");
        let rig = Rig::new(|_| {}).await;
        let parent = parent(&rig).await;
        let all = children(&rig, &parent, 3).await;
        let other = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
        let steps = vec![on("power_on", &[]), on("reset", &all[1..]), step("bios", "reset", 0), on("reboot", &all[..1])];
        let done = clean(&rig, &parent, steps, ProvisionState::Manageable, Some(Dice(seed))).await;
        assert!(done.observed.last_error.is_none(), "{:?}", done.observed.last_error);
        for (at, id) in all.iter().enumerate() {
            let power = rig.node(id).await.desired.power_request.unwrap();
            // Asked as often as there are steps for it, and no more.
            assert_eq!(power.seq, if at == 0 { 2 } else { 1 }, "child {at}");
            assert_eq!(orders(&rig, id), if at == 0 { vec!["On", "Reset"] } else { vec!["On"] }, "child {at}");
            let runs = rig.script.with(id.as_str(), |it| it.runs.clone());
            // The driver is asked from the beginning until it is done; what was not written down is asked again.
            let mut seen: Vec<u64> = runs.iter().map(|it| it.1.as_u64().unwrap_or(0)).collect();
            seen.dedup();
            assert_eq!(seen, if at == 0 { vec![] } else { vec![0, 1, 2, 3] }, "child {at}");
        }
        assert!(orders(&rig, &other).is_empty() && orders(&rig, &parent).is_empty(), "nobody else's power is changed");
        assert!(!rig.script.with(parent.as_str(), |it| it.runs.clone()).is_empty(), "the parent did its own step");
        let lines = rig.store().history(Node::NAME, all[2].as_str(), 10).await.unwrap();
        assert!(lines.iter().any(|it| it.detail["reason"] == format!("step power.power_on of node {parent}")), "{lines:?}");
    }
}

#[tokio::test]
async fn a_child_that_fails_fails_its_parent() {
    let rig = Rig::new(|_| {}).await;
    let parent = parent(&rig).await;
    let all = children(&rig, &parent, 2).await;
    let failed = clean(&rig, &parent, vec![on("breaks", &[]), on("power_on", &[])], ProvisionState::CleanFailed, None).await;
    let why = failed.observed.last_error.unwrap();
    assert_eq!(why, format!("bios.breaks failed on child node {}: it broke", all[0]));
    assert!(all.iter().all(|id| orders(&rig, id).is_empty()), "nothing more is done");
    for (steps, word) in
        [(vec![on("hold", &[])], "is not one that child nodes do"), (vec![on("dance", &[])], "does not support this clean step")]
    {
        rig.ask(&parent, Verb::Manage, Vec::new()).await;
        let until = rig.until(&parent, ProvisionState::Manageable).await;
        assert!(until.observed.last_error.is_none());
        let failed = clean(&rig, &parent, steps, ProvisionState::CleanFailed, None).await;
        assert!(failed.observed.last_error.as_ref().unwrap().contains(word), "{:?}", failed.observed.last_error);
    }
    // One that is never switched off says so.
    let mut child = rig.node(&all[1]).await;
    child.desired.disable_power_off = true;
    rig.store().apply(Batch::wishes().want(&child)).await.unwrap();
    rig.ask(&parent, Verb::Manage, Vec::new()).await;
    rig.until(&parent, ProvisionState::Manageable).await;
    let failed = clean(&rig, &parent, vec![on("power_off", &all[1..])], ProvisionState::CleanFailed, None).await;
    assert!(failed.observed.last_error.as_ref().unwrap().contains("never switched off"), "{:?}", failed.observed.last_error);
}

#[tokio::test]
async fn a_child_that_restarts_for_its_driver_and_one_that_is_gone() {
    let rig = Rig::new(|_| {}).await;
    let parent = parent(&rig).await;
    let all = children(&rig, &parent, 2).await;
    rig.script.with(all[0].as_str(), |it| it.restarts = true);
    rig.ask(&parent, Verb::Clean, vec![on("reset", &[])]).await;
    // It begins, and then one of the two is taken away.
    while rig
        .node(&parent)
        .await
        .observed
        .job
        .current()
        .is_none_or(|(_, it)| !matches!(&it.progress, StepState::Begun { memory, .. } if memory.get("children").is_some()))
    {
        rig.look(None).await;
    }
    let gone = rig.node(&all[1]).await;
    rig.store().apply(Batch::wishes().remove(&gone)).await.unwrap();
    let done = rig.until(&parent, ProvisionState::Manageable).await;
    assert!(
        done.observed.last_error.is_none() && orders(&rig, &all[0]) == ["Reset"],
        "{:?} {:?}",
        done.observed.last_error,
        orders(&rig, &all[0])
    );
}
