//! A step that a node does not do itself but has done on the nodes that are part of it (`execute_on_child_nodes`), one after the other.
//!
//! Which they are is written down when the step begins, and before anything is done on one of them, with what is needed to go on with it.
//! Power is asked of a child as a user asks for it, in the write that notes it: its own conductor changes it, and it is asked once,
//! whoever dies. Other steps are the driver's of the child.
//!
//! Source: Ironic documentation, "Node cleaning", "Child node clean step execution".

use std::time::Duration;

use drivers::bmc::{BmcError, StepProgress};
use model::baremetal::{AskedBy, Node, Phase, PlannedStep, PowerRequest, PowerVerb, StepState, is_busy};
use model::{Id, Object};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Query, Severity};

use super::restart::Restart;
use super::work::label;
use super::{Machine, SOON, WAIT, hardware, plan};
use crate::runtime::{Fault, Look, Next};

/// How far a step is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Turn {
    /// The nodes it is done on, in this order.
    children: Vec<Id<Node>>,
    /// How many of them are done.
    done: usize,
    /// The power change that was asked of the one that is next, by its number.
    power: Option<u64>,
    /// The driver of the one that is next was asked whether it has such a step, and has begun with it.
    begun: bool,
    /// What it needs to go on.
    driver: Value,
    /// The restart that the driver of the one that is next needs to go on.
    reboot: Restart,
}

impl Turn {
    fn read(memory: &Value) -> Option<Self> {
        memory.get("children").and_then(|it| serde_json::from_value(it.clone()).ok())
    }

    fn next(&self) -> Self {
        Self { children: self.children.clone(), done: self.done + 1, ..Self::default() }
    }
}

/// The power change that a step of that name is.
fn power_verb(step: &str) -> Option<PowerVerb> {
    match step {
        "power_on" => Some(PowerVerb::On),
        "power_off" => Some(PowerVerb::Off),
        "reboot" => Some(PowerVerb::Reboot),
        _ => None,
    }
}

/// The power change that is asked of a node and not over.
pub(super) fn pending_power(node: &Object<Node>) -> Option<PowerVerb> {
    node.desired.power_request.as_ref().filter(|it| it.seq > node.observed.handled_power).map(|it| it.verb)
}

/// Whether a job is under way on it, or was asked for.
pub(super) fn is_in_job(node: &Object<Node>) -> bool {
    is_busy(node) || node.observed.phase != Phase::Rest
}

/// Whether somebody works on it, or was asked to.
pub(super) fn is_taken(node: &Object<Node>) -> bool {
    is_in_job(node) || pending_power(node).is_some()
}

impl Machine<'_> {
    /// Goes on with such a step.
    pub(super) async fn child_step(self, at: usize, step: &PlannedStep) -> Look {
        let StepState::Begun { memory, .. } = &step.progress else { return Ok(Next::Again(Duration::ZERO)) };
        let Some(turn) = Turn::read(memory) else {
            let children = self.children_of(step).await?;
            return self.turn(at, step, Turn { children, ..Turn::default() }, Duration::ZERO).await;
        };
        let Some(id) = turn.children.get(turn.done) else { return self.done(at, step, false).await };
        let idle = turn.power.is_none() && !turn.begun;
        if idle && self.node.observed.aborting {
            return self.give_up().await;
        }
        let child = self.cx.store.get(id).await?.filter(|it| it.desired.parent_node.as_ref() == Some(&self.node.id));
        let Some(child) = child else {
            // It was removed, or is part of another node by now: nothing is to be done on it.
            return self.turn(at, step, turn.next(), Duration::ZERO).await;
        };
        if let Some(seq) = turn.power {
            return self.child_power(at, step, &turn, &child, seq).await;
        }
        if idle && is_taken(&child) {
            return self.wait(&format!("child node {id} is being worked on"), WAIT).await;
        }
        match power_verb(&step.step.step) {
            Some(verb) => self.ask_power(at, step, turn, child, verb).await,
            None => self.child_driver(at, step, turn, &child).await,
        }
    }

    /// The nodes that are part of it: all, or those of them that the step names.
    async fn children_of(&self, step: &PlannedStep) -> Result<Vec<Id<Node>>, Fault> {
        let only = step.step.children.as_ref().map(|it| it.only.as_slice()).unwrap_or_default();
        let all = self.cx.store.list(&Query::<Node>::new().column("parent_node", [self.node.id.to_string()])).await?;
        let mut out: Vec<Id<Node>> = all.into_iter().map(|it| it.id).filter(|id| only.is_empty() || only.contains(id)).collect();
        out.sort();
        Ok(out)
    }

    fn note(&mut self, at: usize, step: &PlannedStep, turn: &Turn) {
        let StepState::Begun { at: began, .. } = &step.progress else { return };
        self.set_progress(at, StepState::Begun { at: *began, memory: json!({ "children": turn }) });
        let (done, all) = (turn.done, turn.children.len());
        self.node.observed.reason = format!("step {} on child nodes: {done} of {all} done", label(&step.step));
    }

    /// Writes how far it is.
    async fn turn(mut self, at: usize, step: &PlannedStep, turn: Turn, after: Duration) -> Look {
        self.note(at, step, &turn);
        self.save().await?;
        Ok(Next::Again(after))
    }

    /// Asks for the power of a child, and notes that it did, in one write.
    async fn ask_power(mut self, at: usize, step: &PlannedStep, mut turn: Turn, mut child: Object<Node>, verb: PowerVerb) -> Look {
        let seq = child.desired.power_request.as_ref().map_or(0, |it| it.seq).max(child.observed.handled_power) + 1;
        child.desired.power_request =
            Some(PowerRequest { seq, verb, timeout_seconds: None, asked_by: Some(AskedBy { node: self.node.id.clone(), since: None }) });
        turn.power = Some(seq);
        self.note(at, step, &turn);
        let reason = format!("step {} of node {}", label(&step.step), self.node.id);
        let event = format!("asked: {}", verb.as_str());
        self.save_with(|batch| {
            let batch = batch.want(&child).wake(&child.id);
            batch.history(&child.id, Severity::Info, &event, &json!({ "reason": reason }))
        })
        .await?;
        Ok(Next::Again(SOON))
    }

    async fn child_power(self, at: usize, step: &PlannedStep, turn: &Turn, child: &Object<Node>, seq: u64) -> Look {
        let seen = &child.observed;
        if seen.handled_power < seq {
            return Ok(Next::Again(SOON));
        }
        let error = seen.last_error.as_deref();
        let why = if seen.handled_power == seq {
            error
        } else {
            // Another change came after it, and what it came to itself was not kept.
            let last = child.desired.power_request.as_ref().filter(|it| it.seq == seen.handled_power).map(|it| it.verb);
            let is_so = match power_verb(&step.step.step) {
                Some(PowerVerb::Reboot) => error.is_none() && matches!(last, Some(PowerVerb::Reboot | PowerVerb::SoftReboot)),
                verb => verb.is_some_and(|it| seen.power == Some(it.target())),
            };
            (!is_so).then_some("its power was changed again before what this came to was seen")
        };
        match why {
            Some(why) => {
                let why = format!("{} failed on child node {}: {why}", label(&step.step), child.id);
                self.fail(&why).await
            }
            None => self.turn(at, step, turn.next(), Duration::ZERO).await,
        }
    }

    /// A step of the child's driver. What waits for an agent cannot be done: a child boots no ramdisk for its parent.
    async fn child_driver(mut self, at: usize, step: &PlannedStep, mut turn: Turn, child: &Object<Node>) -> Look {
        let failed = |why: &str| format!("{} failed on child node {}: {why}", label(&step.step), child.id);
        let bmc = self.cx.outside.bmc(hardware(child, &child.desired)).map_err(Fault::bmc)?;
        if !turn.begun {
            let stage = self.stage();
            let offered = bmc.steps(self.stage_of_driver());
            if !offered.iter().any(|it| it.interface == step.step.interface && it.step == step.step.step) {
                let why = plan::unsupported(stage, &step.step).replacen("node", &format!("child node {}", child.id), 1);
                return self.fail(&why).await;
            }
            turn.begun = true;
            return self.turn(at, step, turn, Duration::ZERO).await;
        }
        if turn.reboot.is_owed() {
            let begun = Restart::begin();
            turn.reboot = begun;
            self.note(at, step, &turn);
            self.save().await?;
            let told;
            (turn.reboot, told) = begun.tell(bmc.as_ref()).await;
            if turn.reboot != begun {
                self.note(at, step, &turn);
                self.save().await?;
            }
            return told.map(|()| Next::Again(SOON)).map_err(Fault::bmc);
        }
        match bmc.run_step(&step.step, &turn.driver).await {
            Ok(StepProgress::Done) => self.turn(at, step, turn.next(), Duration::ZERO).await,
            Ok(StepProgress::Failed(why)) => self.fail(&failed(&why)).await,
            Ok(StepProgress::Again { memory, after, reboot, .. }) => {
                let moved = memory != turn.driver;
                let left = turn.reboot.looked(reboot, moved);
                let after = if left.is_owed() { Duration::ZERO } else { after };
                if !moved && left == turn.reboot {
                    return Ok(Next::Again(after));
                }
                turn.driver = memory;
                turn.reboot = left;
                self.turn(at, step, turn, after).await
            }
            Err(error @ (BmcError::Unreachable { .. } | BmcError::Timeout { .. } | BmcError::Conflict { .. })) => Err(Fault::bmc(error)),
            Err(error) => self.fail(&failed(&error.to_string())).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_read_as_it_was_written() {
        let children = vec![Id::random(), Id::random()];
        let turn = Turn { children, done: 1, begun: true, reboot: Restart::begin(), ..Turn::default() };
        assert_eq!(Turn::read(&json!({ "children": turn })), Some(turn.clone()));
        let older = json!({"children": {"children": turn.children, "done": 1, "begun": true, "driver": null, "reboot": true}});
        assert!(Turn::read(&older).unwrap().reboot.is_owed());
        assert_eq!(turn.next(), Turn { children: turn.children.clone(), done: 2, ..Turn::default() });
        assert_eq!(Turn::read(&Value::Null), None);
    }
}
