//! The steps of a job, one after the other: what the driver does, what the agent does, what the control plane does itself. Each is
//! written down as begun before anybody outside is told, with what is needed to go on with it, and as done after it was seen to be.

use std::time::Duration;

use drivers::agent::{AgentError, CommandState, CommandStatus};
use drivers::bmc::{BmcError, PowerAction, Stage, StepProgress};
use model::Timestamp;
use model::baremetal::{AgentCommand, Phase, PlannedStep, PowerVerb, ProvisionState, Step, StepState};
use serde_json::{Value, json};

use super::agent::{Silence, Spoken};
use super::restart::Restart;
use super::steps::Params;
use super::supply::Supply;
use super::{MAX_BOOTS, Machine, SOON, WAIT, plan};
use crate::runtime::{Fault, Look, Next};

/// How an agent's words begin when it could not fetch the image (Source: ironic-python-agent, errors.ImageDownloadError).
const DOWNLOAD_FAILED: &str = "Error downloading image";
/// How often a job's steps are begun anew because its agent is another than before.
const MAX_RESTARTS: u32 = 3;

fn seconds_in(step: &PlannedStep) -> f64 {
    match &step.progress {
        StepState::Begun { at, .. } => Timestamp::now().seconds_since(*at),
        StepState::Pending | StepState::Done { .. } => 0.0,
    }
}

pub(super) fn label(step: &Step) -> String {
    format!("{}.{}", step.interface, step.step)
}

/// That a step failed, in the agent's words.
fn failed(step: &PlannedStep, why: Option<&str>) -> String {
    format!("{} failed: {}", label(&step.step), why.unwrap_or("no reason given"))
}

/// How soon a command under way is asked after: agents beat when they are done, so seldom is enough for long ones.
fn pace(step: &PlannedStep) -> Duration {
    Duration::from_secs_f64((seconds_in(step) / 5.0).clamp(0.3, 5.0))
}

impl Machine<'_> {
    /// The driver's word for this kind of job.
    pub(super) fn stage_of_driver(&self) -> Stage {
        match self.stage() {
            "deploy" => Stage::Deploy,
            "service" => Stage::Service,
            _ => Stage::Clean,
        }
    }

    /// The agent's word for this kind of job.
    pub(super) fn stage(&self) -> &'static str {
        match self.node.observed.state {
            ProvisionState::Deploying | ProvisionState::DeployHold => "deploy",
            ProvisionState::Servicing | ProvisionState::ServiceHold => "service",
            _ => "clean",
        }
    }

    /// The driver's steps that come before the ramdisk; all of them if there is none.
    pub(super) async fn before(mut self) -> Look {
        let job = &self.node.observed.job;
        if self.node.observed.state == ProvisionState::Inspecting && job.no_ramdisk {
            return self.inspect_by_bmc().await;
        }
        if job.no_ramdisk {
            return match job.current() {
                Some((at, _)) => self.step(at, None).await,
                None => self.after_steps().await,
            };
        }
        let early = self.node.observed.state == ProvisionState::Deploying;
        match job.current() {
            Some((at, it)) if early && !it.in_band && it.step.priority > plan::BOOT_PRIORITY => self.step(at, None).await,
            _ => {
                // A step may have started the machine.
                let began = self.node.observed.job.steps.iter().any(PlannedStep::is_done);
                if began {
                    match self.off_or_late().await? {
                        Ok(true) => {}
                        Ok(false) => return self.going_off("being switched off").await,
                        Err(why) => return self.fail(&format!("it could not be switched off: {why}")).await,
                    }
                }
                self.phase(Phase::Plug, "ready for its ramdisk").await
            }
        }
    }

    pub(super) async fn work(self) -> Look {
        let job = &self.node.observed.job;
        if !job.joined {
            return Box::pin(self.ask_steps()).await;
        }
        let Some((at, current)) = job.current() else {
            return self.after_steps().await;
        };
        if self.node.observed.aborting && matches!(current.progress, StepState::Pending) {
            return self.give_up().await;
        }
        if !current.in_band {
            return self.step(at, None).await;
        }
        match self.speak().await? {
            Ok(spoken) => self.step(at, Some(spoken)).await,
            Err(silence) if seconds_in(current) > self.step_limit() => {
                let why = match silence {
                    Silence::Wait(why, _) | Silence::Boot(why) | Silence::Fail(why) => why,
                    Silence::Agent => "no agent called in".into(),
                };
                let why = format!("{} took too long: {why}", label(&current.step));
                self.fail(&why).await
            }
            Err(silence) => self.silence(silence).await,
        }
    }

    fn step_limit(&self) -> f64 {
        f64::from(self.cx.config.baremetal.step_timeout_seconds)
    }

    /// Asks the agent which steps it has.
    async fn ask_steps(mut self) -> Look {
        if self.node.observed.state == ProvisionState::Deploying && self.node.observed.job.steps.is_empty() {
            // Begun by a version that kept no steps.
            let request = self.node.desired.request.clone().unwrap_or_default();
            match self.plan(ProvisionState::Deploying, &request).await? {
                Ok(job) => self.node.observed.job = job,
                Err(why) => return self.fail(&why).await,
            }
        }
        let spoken = match self.speak().await? {
            Ok(spoken) => spoken,
            Err(silence) => return self.silence(silence).await,
        };
        let stage = self.stage();
        let name = format!("{stage}.get_{stage}_steps");
        let told = match self.ask(&spoken, &name, json!({"node": self.told(), "ports": self.told_ports()})).await? {
            Ok(told) => told,
            Err(silence) => return self.silence(silence).await,
        };
        let offered = plan::agent_steps(&told, stage);
        let managers = told.get("hardware_manager_version").cloned().unwrap_or_default();
        match plan::join(stage, &mut self.node.observed.job, &offered, &managers) {
            Ok(()) => {
                self.save().await?;
                Ok(Next::Again(Duration::ZERO))
            }
            Err(why) => {
                let why = format!("Cannot {stage} node {}: {why}", self.node.id);
                self.fail(&why).await
            }
        }
    }

    /// Where a job goes that has no step left.
    async fn after_steps(self) -> Look {
        if self.node.observed.aborting {
            return self.give_up().await;
        }
        let job = &self.node.observed.job;
        let hands_off = self.is_hands_off();
        match self.node.observed.state {
            // The ramdisk runs on: it changes networks while it does.
            ProvisionState::Rescuing if !job.no_ramdisk => self.phase(Phase::Unplug, "its ramdisk has the password").await,
            _ if hands_off => self.finish("done").await,
            ProvisionState::Deploying if !job.no_ramdisk => {
                if let Ok(spoken) = self.speak().await? {
                    // What was written is on the disk before the power is cut; agents that know no such command do so by themselves.
                    match self.ask(&spoken, "standby.sync", json!({})).await? {
                        Err(Silence::Wait(why, _)) if self.is_overdue() => return self.fail(&why).await,
                        Err(Silence::Wait(_, after)) => return Ok(Next::Again(after)),
                        Ok(_) | Err(_) => {}
                    }
                }
                self.phase(Phase::Stop, "its steps are done").await
            }
            _ => self.phase(Phase::Stop, "its steps are done").await,
        }
    }

    pub(super) fn set_progress(&mut self, at: usize, progress: StepState) {
        if let Some(step) = self.node.observed.job.steps.get_mut(at) {
            step.progress = progress;
        }
    }

    /// Does a step, or looks how far it is.
    async fn step(mut self, at: usize, spoken: Option<Spoken>) -> Look {
        let Some(step) = self.node.observed.job.steps.get(at).cloned() else { return Ok(Next::Again(Duration::ZERO)) };
        if seconds_in(&step) > self.step_limit() {
            let why = format!("{} took longer than {} s", label(&step.step), self.cx.config.baremetal.step_timeout_seconds);
            return self.fail(&why).await;
        }
        if matches!(step.progress, StepState::Pending) {
            if self.node.observed.aborting {
                return self.give_up().await;
            }
            let memory = match &spoken {
                // Whatever the agent lists after these is ours.
                Some(spoken) => json!({"after": spoken.commands.last().map(|it| it.id.0.clone())}),
                None => Value::Null,
            };
            self.set_progress(at, StepState::Begun { at: Timestamp::now(), memory });
            self.node.observed.reason = format!("step {}", label(&step.step));
            if !step.in_band && step.step.children.is_none() && step.step.step == "hold" {
                let (state, phase) = (self.node.observed.state.held(), self.node.observed.phase);
                return self.go(state, phase, "a hold step was reached").await;
            }
            self.save().await?;
            return Ok(Next::Again(Duration::ZERO));
        }
        match spoken {
            Some(spoken) => self.agent_step(at, &step, spoken).await,
            None if step.step.children.is_some() => Box::pin(self.child_step(at, &step)).await,
            None if plan::is_reserved(&step.step) => self.own_step(at, &step).await,
            None => self.driver_step(at, &step).await,
        }
    }

    /// Writes that the step is done, and boots the ramdisk anew if it asks for that.
    pub(super) async fn done(mut self, at: usize, step: &PlannedStep, reboot: bool) -> Look {
        self.set_progress(at, StepState::Done { at: Timestamp::now() });
        self.node.observed.supply_since = None;
        self.node.observed.command = None;
        self.node.observed.boots = 0;
        let name = label(&step.step);
        tracing::info!(node.id = %self.node.id, node.name = self.node.name, step = name, took_s = seconds_in(step), "step done");
        if reboot && !self.node.observed.job.no_ramdisk && self.node.observed.phase == Phase::Work && !self.node.observed.aborting {
            return self.phase(Phase::Boot, &format!("{name} is done; its ramdisk is booted anew")).await;
        }
        self.save().await?;
        Ok(Next::Again(Duration::ZERO))
    }

    /// A step of the control plane's own.
    async fn own_step(mut self, at: usize, step: &PlannedStep) -> Look {
        let ramdisk = !self.node.observed.job.no_ramdisk && self.node.observed.phase == Phase::Work;
        let bmc = self.bmc().map_err(Fault::bmc)?;
        let wanted = match step.step.step.as_str() {
            "hold" => {
                let (state, phase) = (self.node.observed.state.held(), self.node.observed.phase);
                return self.go(state, phase, "a hold step was reached").await;
            }
            "wait" => {
                let seconds = step.step.args.get("seconds").and_then(|it| it.as_f64().or_else(|| it.as_str()?.parse().ok()));
                let left = seconds.unwrap_or(0.0) - seconds_in(step);
                return if left > 0.0 {
                    Ok(Next::Again(Duration::from_secs_f64(left.min(60.0))))
                } else {
                    self.done(at, step, false).await
                };
            }
            "reboot" if ramdisk => return self.done(at, step, true).await,
            "reboot" => {
                bmc.set_power(PowerAction::Reset).await.map_err(Fault::bmc)?;
                return self.done(at, step, false).await;
            }
            "power_off" if self.node.desired.disable_power_off => return self.fail("it is never switched off (disable_power_off)").await,
            "power_off" => drivers::bmc::PowerState::Off,
            _ => drivers::bmc::PowerState::On,
        };
        let power = bmc.power().await.map_err(Fault::bmc)?;
        if power == wanted {
            return self.done(at, step, false).await;
        }
        if wanted == drivers::bmc::PowerState::On && ramdisk {
            return self.done(at, step, true).await;
        }
        if power != drivers::bmc::PowerState::Changing {
            let supply = match wanted {
                drivers::bmc::PowerState::On => self.supplied(None).await?,
                _ => self.fed_off(PowerVerb::Off, None, None).await?,
            };
            match supply {
                Supply::Ready => {}
                Supply::Wait(why) => return self.wait(&why, WAIT).await,
                Supply::Failed(why) => return self.fail(&format!("{} failed: {why}", label(&step.step))).await,
            }
            let action = if wanted == drivers::bmc::PowerState::On { PowerAction::On } else { PowerAction::Off };
            bmc.set_power(action).await.map_err(Fault::bmc)?;
            if self.interface(model::baremetal::Interface::Power) == "fake" {
                return self.done(at, step, false).await;
            }
        }
        self.wait(&format!("step {}", label(&step.step)), SOON).await
    }

    /// A step of the driver. What it remembers is kept in `memory.driver`, and in `memory.reboot` the restart that it needs to go on.
    async fn driver_step(mut self, at: usize, step: &PlannedStep) -> Look {
        let StepState::Begun { at: began, memory } = &step.progress else { return Ok(Next::Again(Duration::ZERO)) };
        let began = *began;
        let bmc = match self.bmc() {
            Ok(bmc) => bmc,
            Err(error) => return self.fail(&error.to_string()).await,
        };
        let known = memory.get("driver").cloned().unwrap_or_default();
        let noted = |driver: &Value, restart: Restart| {
            let memory =
                if restart == Restart::default() { json!({ "driver": driver }) } else { json!({"driver": driver, "reboot": restart}) };
            StepState::Begun { at: began, memory }
        };
        let restart = Restart::read(memory.get("reboot"));
        if restart.is_owed() {
            let begun = Restart::begin();
            self.set_progress(at, noted(&known, begun));
            self.save().await?;
            let (left, told) = begun.tell(bmc.as_ref()).await;
            if left != begun {
                self.set_progress(at, noted(&known, left));
                self.save().await?;
            }
            return told.map(|()| Next::Again(SOON)).map_err(Fault::bmc);
        }
        match bmc.run_step(&step.step, &known).await {
            Ok(StepProgress::Done) => self.done(at, step, false).await,
            Ok(StepProgress::Failed(why)) => self.fail(&format!("{} failed: {why}", label(&step.step))).await,
            Ok(StepProgress::Again { memory, after, reason, reboot }) => {
                let boots = reboot && !self.node.observed.job.no_ramdisk && self.node.observed.phase == Phase::Work;
                let moved = memory != known;
                let left = if boots { Restart::default() } else { restart.looked(reboot, moved) };
                self.set_progress(at, noted(&memory, left));
                if boots {
                    return self.phase(Phase::Boot, &reason).await;
                }
                if moved || left != restart || self.node.observed.reason != reason {
                    self.node.observed.reason = reason;
                    self.save().await?;
                }
                Ok(Next::Again(if left.is_owed() { Duration::ZERO } else { after }))
            }
            Err(error @ (BmcError::Unreachable { .. } | BmcError::Timeout { .. } | BmcError::Conflict { .. })) => Err(Fault::bmc(error)),
            Err(error) => self.fail(&format!("{} failed: {error}", label(&step.step))).await,
        }
    }

    /// A step of the agent; its result is the only thing believed.
    async fn agent_step(mut self, at: usize, step: &PlannedStep, spoken: Spoken) -> Look {
        let StepState::Begun { at: began, memory } = &step.progress else { return Ok(Next::Again(Duration::ZERO)) };
        let began = *began;
        let stage = self.stage();
        let (name, short) = match step.step.interface.as_str() {
            "rescue" => ("rescue.finalize_rescue".to_owned(), "finalize_rescue".to_owned()),
            _ => (format!("{stage}.execute_{stage}_step"), format!("execute_{stage}_step")),
        };
        let text = |key: &str| memory.get(key).and_then(Value::as_str);
        // A command this control plane gave and did not live to record is found by where it stands in the list.
        let known = match (text("id"), text("after")) {
            (Some(id), _) => spoken.commands.iter().position(|it| it.id.0 == id),
            (None, Some(after)) => {
                let from = spoken.commands.iter().position(|it| it.id.0 == after).map_or(0, |it| it + 1);
                (from..spoken.commands.len()).find(|at| spoken.commands.get(*at).is_some_and(|it| it.name == short || it.name == name))
            }
            (None, None) => spoken.commands.iter().position(|it| it.name == short || it.name == name),
        };
        let Some(state) = known.and_then(|at| spoken.commands.get(at)) else {
            let params = match self.params(stage, step).await? {
                Ok(params) => params,
                Err(silence) => return self.silence(silence).await,
            };
            let Params { value, room } = params;
            let started = spoken.agent.start(&name, value).await;
            drop(room);
            let CommandState { id, status, error, .. } = match started {
                Ok(started) => started,
                Err(AgentError::Busy { .. }) => return self.wait("its agent is busy", WAIT).await,
                Err(error @ (AgentError::Unreachable { .. } | AgentError::Timeout { .. })) => return Err(Fault::outside(error)),
                Err(error) => return self.fail(&error.to_string()).await,
            };
            if step.step.interface == "rescue" {
                return match status {
                    CommandStatus::Failed | CommandStatus::VersionMismatch => self.fail(&failed(step, error.as_deref())).await,
                    // Done when it is taken: the agent ends after it and can be asked nothing more.
                    CommandStatus::Succeeded | CommandStatus::Running | CommandStatus::Other(_) => self.done(at, step, false).await,
                };
            }
            let memory = json!({"id": id.0, "after": memory.get("after")});
            self.set_progress(at, StepState::Begun { at: began, memory });
            self.node.observed.command = Some(AgentCommand { id: id.0, name });
            self.node.observed.reason = format!("its agent does {}", label(&step.step));
            self.save().await?;
            return Ok(Next::Again(Duration::from_millis(100)));
        };
        match &state.status {
            CommandStatus::Succeeded => match self.take_result(step, &state.result) {
                Ok(()) => self.done(at, step, step.reboot_requested).await,
                Err(why) => self.fail(&why).await,
            },
            CommandStatus::Running | CommandStatus::Other(_) => Ok(Next::Again(pace(step))),
            CommandStatus::VersionMismatch => {
                if self.node.observed.job.restarts >= MAX_RESTARTS {
                    return self.fail("its agent's hardware managers change again and again").await;
                }
                plan::restart(&mut self.node.observed.job);
                self.node.observed.command = None;
                self.phase(Phase::Boot, "its agent's hardware managers have changed; the steps are asked for anew").await
            }
            CommandStatus::Failed => {
                let why = state.error.as_deref().unwrap_or_default();
                // The image comes from here: that we were away for longer than the agent is patient is not the machine's fault.
                let began_job = self.node.observed.state_since.unwrap_or(self.node.observed.phase_since);
                if why.starts_with(DOWNLOAD_FAILED)
                    && self.node.observed.boots < MAX_BOOTS
                    && Timestamp::now().seconds_since(began_job) < self.step_limit()
                {
                    self.node.observed.boots = self.node.observed.boots.saturating_sub(1);
                    self.set_progress(at, StepState::Pending);
                    let why = format!("{} failed: {why}; booting again", label(&step.step));
                    return self.phase(Phase::Boot, &why).await;
                }
                self.fail(&failed(step, state.error.as_deref())).await
            }
        }
    }

    /// What a step that succeeded says of the disk; says why it is not believed.
    fn take_result(&mut self, step: &PlannedStep, result: &Value) -> Result<(), String> {
        let seen = &mut self.node.observed;
        match (step.step.interface.as_str(), step.step.step.as_str()) {
            ("deploy", "erase_devices") => seen.erased_at = Some(Timestamp::now()),
            ("deploy", "write_image") => {
                let verified = result.pointer("/deploy_result/verified").and_then(Value::as_str).map(str::to_owned);
                // Agents of others check what they fetched and do not read the disk again; they say so in a sentence.
                let said = result.get("deploy_result").is_some_and(|it| it.is_string() || it.get("result").is_some());
                if verified.is_none() && !said {
                    return Err("the agent did not say that it verified the image on the disk".into());
                }
                seen.image_verified = verified;
            }
            ("raid", _) => {
                let key = format!("{}_result", if seen.state == ProvisionState::Deploying { "deploy" } else { "clean" });
                if let Some(made) = result.get(key).and_then(Value::as_object).filter(|it| it.contains_key("logical_disks")) {
                    seen.raid_config.clone_from(made);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
