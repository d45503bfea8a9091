//! Taking up what was asked of a machine: where its job begins, and with which steps.

use std::time::Duration;

use drivers::bmc::Stage;
use model::Timestamp;
use model::baremetal::{
    DeployTemplate, Interface, Job, Phase, PlannedStep, PowerPhase, PowerVerb, ProvisionRequest, ProvisionState, Step, StepState, Verb,
    transition,
};
use serde_json::{Map, Value};
use store::Query;

use super::{Machine, plan};
use crate::runtime::{Fault, Look, Next};

impl Machine<'_> {
    pub(super) async fn take_up(mut self, request: ProvisionRequest) -> Look {
        let verb = request.verb;
        let from = self.node.observed.state;
        let waiting = self.node.observed.is_waiting();
        self.node.observed.handled = request.seq;
        let Some((state, target)) = transition(from, waiting, verb) else {
            // The API checks this too; the state moved between its look and ours.
            self.node.observed.last_error = Some(format!("cannot {} from {}", verb.as_str(), from.as_str()));
            self.save().await?;
            return Ok(Next::Again(Duration::ZERO));
        };
        let dropped = self.drop_power();
        match verb {
            Verb::Unhold => return self.unhold(state).await,
            Verb::Abort if from != ProvisionState::ServiceFailed => return self.abort(from).await,
            _ => {}
        }
        let dropped = dropped.map(|it| format!("; {} is given up", it.as_str())).unwrap_or_default();
        let asked = format!("asked to {}{dropped}", verb.as_str());
        let kept = self.node.desired.maintenance;
        let seen = &mut self.node.observed;
        seen.fault = seen.fault.filter(|_| kept);
        seen.last_error = None;
        seen.target = Some(target);
        seen.failing = false;
        seen.aborting = false;
        seen.boots = 0;
        seen.command = None;
        seen.verb = Some(verb);
        seen.job = Job::default();
        if verb == Verb::Abort {
            // What the tenant had is given back to it, by proof as ever.
            seen.job = Job { no_ramdisk: true, joined: true, ..Job::default() };
            let first = if self.is_wired() { Phase::Off } else { Phase::Start };
            return self.go(ProvisionState::Servicing, first, "servicing was given up; the tenant's machine is started again").await;
        }
        if state == ProvisionState::Manageable {
            seen.target = None;
            return self.go(state, Phase::Rest, &asked).await;
        }
        if state == ProvisionState::Inspecting {
            seen.inspection_started_at = Some(Timestamp::now());
            seen.inspection_finished_at = None;
        }
        let planned = self.plan(state, &request).await?;
        match planned {
            Ok(job) => {
                self.node.observed.job = job;
                let first = self.first_phase(state);
                self.go(state, first, &asked).await
            }
            Err(why) => {
                // Nothing was begun; but what a machine of a failed job is left in is always the same: isolated.
                let touches = !matches!(state, ProvisionState::Cleaning | ProvisionState::Servicing | ProvisionState::Inspecting);
                self.node.observed.job = Job { no_ramdisk: !touches, given: !touches, joined: true, ..Job::default() };
                self.node.observed.state = state;
                self.node.observed.state_since = Some(Timestamp::now());
                self.node.observed.phase = Phase::Place;
                self.fail(&why).await
            }
        }
    }

    /// A job sees to the power itself, and whatever comes of it: a change that was asked for before is not gone on with after it. Returns what
    /// is given up. What another node asked for is only begun anew: it is void when that one does not wait for it any more.
    ///
    /// The API refuses a verb while power is changed, as Ironic does; but both may be asked for at once, and clusters ask on their own.
    fn drop_power(&mut self) -> Option<PowerVerb> {
        let seen = &mut self.node.observed;
        seen.power_began = None;
        seen.power_phase = PowerPhase::default();
        let pending = self.node.desired.power_request.as_ref().filter(|it| it.seq > seen.handled_power && it.asked_by.is_none())?;
        seen.handled_power = pending.seq;
        seen.supply_since = None;
        Some(pending.verb)
    }

    /// Where a job begins.
    fn first_phase(&self, state: ProvisionState) -> Phase {
        match state {
            ProvisionState::Verifying => Phase::Bmc,
            ProvisionState::Adopting => Phase::Tenant,
            ProvisionState::Deleting | ProvisionState::Unrescuing => Phase::Off,
            _ if self.node.observed.job.no_ramdisk => self.after_place(state),
            _ => Phase::Place,
        }
    }

    /// Where a job goes on that has its place.
    pub(super) fn after_place(&self, state: ProvisionState) -> Phase {
        let job = &self.node.observed.job;
        let alone = matches!(state, ProvisionState::Cleaning | ProvisionState::Servicing) && job.given && job.no_ramdisk;
        let outside = state == ProvisionState::Inspecting && job.no_ramdisk;
        if alone || outside || (job.no_ramdisk && !self.is_wired() && !self.has_agent()) { Phase::Before } else { Phase::Off }
    }

    /// The steps of a job; the inner error says why it cannot be done.
    pub(super) async fn plan(&self, state: ProvisionState, request: &ProvisionRequest) -> Result<Result<Job, String>, Fault> {
        let agent = self.has_agent();
        let stage = match state {
            ProvisionState::Cleaning => Stage::Clean,
            ProvisionState::Servicing => Stage::Service,
            ProvisionState::Deploying => Stage::Deploy,
            ProvisionState::Inspecting => return Ok(self.plan_inspection()),
            ProvisionState::Rescuing => return Ok(self.plan_rescue()),
            _ => return Ok(Ok(Job { joined: true, no_ramdisk: true, ..Job::default() })),
        };
        let driver = match self.bmc() {
            Ok(bmc) => bmc.steps(stage),
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(match state {
            ProvisionState::Deploying => {
                let templates = self.templates().await?;
                // What boots a ramdisk for good writes nothing; who brings own steps brings that one too.
                let boots = agent && self.interface(Interface::Deploy) != "ramdisk";
                let image = self.interface(Interface::Deploy) == "direct";
                plan::deploy(&request.steps, &templates, &driver, boots, image)
            }
            _ if request.verb == Verb::Clean || request.verb == Verb::Service => {
                let stage = if request.verb == Verb::Clean { "clean" } else { "service" };
                plan::given(stage, &request.steps, &driver, agent && !request.disable_ramdisk)
                    .map_err(|why| format!("Cannot {stage} node {}: {why}", self.node.id))
            }
            _ => {
                let wanted = self.node.desired.automated_clean.unwrap_or(self.cx.config.baremetal.automated_clean);
                Ok(plan::automated(&driver, agent, wanted))
            }
        })
    }

    fn plan_inspection(&self) -> Result<Job, String> {
        match self.interface(Interface::Inspect) {
            "no-inspect" | "" => Err("its inspect interface is no-inspect".into()),
            "agent" => Ok(Job { joined: true, ..Job::default() }),
            _ => Ok(Job { joined: true, no_ramdisk: true, ..Job::default() }),
        }
    }

    fn plan_rescue(&self) -> Result<Job, String> {
        match self.interface(Interface::Rescue) {
            "no-rescue" | "" => Err("its rescue interface is no-rescue".into()),
            "agent" => {
                let step =
                    Step { interface: "rescue".into(), step: "finalize_rescue".into(), args: Map::new(), priority: 0, ..Step::default() };
                let step = PlannedStep { step, in_band: true, abortable: false, reboot_requested: false, progress: StepState::Pending };
                Ok(Job { steps: vec![step], joined: true, ..Job::default() })
            }
            _ => Ok(Job { joined: true, no_ramdisk: true, ..Job::default() }),
        }
    }

    /// The steps of the templates that are named like the traits asked for.
    async fn templates(&self) -> Result<Vec<Step>, Fault> {
        let wanted = match self.node.desired.instance_info.0.get("traits") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(text)) => text.split(',').map(|it| it.trim().to_owned()).collect(),
            _ => Vec::new(),
        };
        let mut out = Vec::new();
        for name in wanted.iter().filter(|it| self.node.desired.traits.contains(*it)) {
            for template in self.cx.store.list(&Query::<DeployTemplate>::new().name(name)).await? {
                out.extend(template.desired.steps);
            }
        }
        Ok(out)
    }

    /// The hold step is let go.
    async fn unhold(mut self, state: ProvisionState) -> Look {
        if let Some(step) = self.node.observed.job.steps.iter_mut().find(|it| !it.is_done()) {
            step.progress = StepState::Done { at: Timestamp::now() };
        }
        let phase = self.node.observed.phase;
        self.go(state, phase, "let go").await
    }

    /// Gives the job up: at once, or after the step under way if that cannot be given up.
    async fn abort(mut self, from: ProvisionState) -> Look {
        self.node.observed.last_error = Some(format!("{} was aborted on request", from.as_str()));
        self.node.observed.aborting = true;
        let in_step = matches!(self.node.observed.phase, Phase::Before | Phase::Work) && !from.is_hold();
        let step = self.node.observed.job.current().filter(|(_, it)| matches!(it.progress, StepState::Begun { .. }));
        if in_step && step.is_some_and(|(_, it)| !it.abortable) {
            self.save().await?;
            return Ok(Next::Again(Duration::ZERO));
        }
        self.give_up().await
    }

    /// Ends an aborted job.
    pub(super) async fn give_up(self) -> Look {
        if self.is_hands_off() {
            return self.failed().await;
        }
        let state = if self.node.observed.state.is_hold() { self.node.observed.state.held() } else { self.node.observed.state };
        self.go(state, Phase::Stop, "aborted on request").await
    }
}
