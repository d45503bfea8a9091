//! How long a job waits. What it waits for is known by its phase, and so is since when and for how long it may; a look that sees for itself
//! that it waits asks that here, and one that met nobody who answers, or never ended, is ended here.
//!
//! Asking comes first and the clock second: what was not looked at for long, because no process ran, is asked once more before the job has
//! failed.

use std::time::Duration;

use model::Timestamp;
use model::baremetal::{BaremetalPort, Node, Phase, PlannedStep, StepState};
use store::Query;

use super::work::label;
use super::{BMC_LIMIT, FAILING_LIMIT, Machine};
use crate::runtime::{Cx, Fault, Look};

/// How long one look at a machine may take. Whatever it asks has a shorter deadline of its own, or it would be asked the same for ever: the
/// longest is that of reading a firmware's image of which the checksum is known (900 s), and then come the requests that the firmware is
/// read and ordered by. Its lease is renewed meanwhile.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(1200);

impl Machine<'_> {
    /// For how long what is awaited has been awaited, and for how long it may be, both in seconds; `None`: for as long as it takes.
    fn patience(&self) -> Option<(f64, f64)> {
        let limits = &self.cx.config.baremetal;
        let bmc = f64::from(limits.bmc_timeout_seconds);
        let seen = &self.node.observed;
        let now = Timestamp::now();
        Some(match seen.phase {
            // Its turn comes when that of others is over, and the proof of switch ports is nothing to be given up.
            Phase::Rest | Phase::Place | Phase::Unplug | Phase::Tenant => return None,
            _ if seen.state.is_hold() => return None,
            Phase::Bmc => (self.waited(), BMC_LIMIT),
            Phase::Stop if seen.failing => (self.waited(), FAILING_LIMIT),
            Phase::Off | Phase::Plug | Phase::Boot | Phase::Stop | Phase::Start => (self.waited(), bmc),
            Phase::Agent => (self.waited(), bmc.max(f64::from(limits.agent_timeout_seconds))),
            Phase::Before | Phase::Work => match self.begun() {
                Some((at, _)) => (now.seconds_since(at), f64::from(limits.step_timeout_seconds)),
                // Between its steps: since the last one ended.
                None => {
                    let ends = seen.job.steps.iter().filter_map(|it| match it.progress {
                        StepState::Done { at } => Some(at).filter(|at| *at <= now),
                        StepState::Pending | StepState::Begun { .. } => None,
                    });
                    (now.seconds_since(ends.fold(seen.phase_since, Timestamp::max)), bmc)
                }
            },
        })
    }

    /// The step under way, and since when it is.
    fn begun(&self) -> Option<(Timestamp, &PlannedStep)> {
        match self.node.observed.job.current()?.1 {
            it @ PlannedStep { progress: StepState::Begun { at, .. }, .. } => Some((*at, it)),
            _ => None,
        }
    }

    /// Whether what is awaited has been for too long.
    pub(super) fn is_overdue(&self) -> bool {
        self.patience().is_some_and(|(waited, limit)| waited > limit)
    }

    /// Whether nothing more can be hoped for after this fault.
    fn gives_up(&self, fault: &Fault) -> bool {
        // The switch at the other end of a cable may be declared yet; until then nothing else may be done.
        let by_operator = self.node.observed.phase == Phase::Off && matches!(fault, Fault::Outside(_));
        self.is_overdue() && !by_operator
    }

    async fn end(self, why: &str) -> Look {
        if self.node.observed.failing {
            return self.phase(Phase::Unplug, why).await;
        }
        let why = match self.begun() {
            Some((_, step)) if matches!(self.node.observed.phase, Phase::Before | Phase::Work) => {
                format!("{} took too long: {why}", label(&step.step))
            }
            _ => why.to_owned(),
        };
        self.fail(&why).await
    }
}

/// What follows from a look that nobody answered: whoever asks why the machine does not go on is told, and a job that has waited for too long
/// ends.
pub(super) async fn unanswered(cx: &Cx, fault: Fault) -> Look {
    let Some(node) = cx.load::<Node>().await?.filter(|it| it.observed.phase != Phase::Rest) else { return Err(fault) };
    let cards = cx.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
    let mut machine = Machine { cx, node: Box::new(node), cards, wants: false, held: None };
    let why = fault.to_string();
    if machine.gives_up(&fault) {
        return machine.end(&why).await;
    }
    if machine.node.observed.reason != why {
        machine.node.observed.reason = why;
        machine.save().await?;
    }
    Err(fault)
}
