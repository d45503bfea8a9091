//! A machine at rest: the power and the boot mode that users ask for.

use std::time::Duration;

use drivers::bmc::{BmcError, BootMode, PowerAction};
use model::Timestamp;
use model::baremetal::{Interface, PowerPhase, PowerRequest, PowerState, PowerVerb};

use super::{Machine, SOON};
use crate::runtime::{Fault, Look, Next};

/// How long a machine may take to be on or off once its BMC was told, in seconds.
const HARD_LIMIT: f64 = 90.0;
/// After how long it is told again, in seconds: a BMC that was busy may have dropped it.
const TELL_AGAIN: f64 = 5.0;

impl Machine<'_> {
    pub(super) async fn rest(mut self) -> Look {
        if let Some(request) = self.node.desired.power_request.clone().filter(|it| it.seq > self.node.observed.handled_power) {
            return self.change_power(request).await;
        }
        if let Some(request) = self.node.desired.boot_mode_request.clone().filter(|it| it.seq > self.node.observed.handled_boot_mode) {
            self.node.observed.handled_boot_mode = request.seq;
            let told = self.set_boot_mode(request.boot_mode.as_deref(), request.secure_boot).await;
            self.node.observed.last_error = told.err().map(|error| {
                // In Ironic's words, with its quote.
                let driver = &self.node.desired.driver;
                let words = |method: &str| match &error {
                    BmcError::Unsupported { .. } => format!("Driver {driver} does not support {method} (disabled or not implemented)."),
                    other => other.to_string(),
                };
                match (&request.boot_mode, request.secure_boot) {
                    (Some(mode), _) => format!("Failed to change boot mode to '{mode}: {}", words("set_boot_mode")),
                    (None, on) => {
                        let on = if on == Some(true) { "True" } else { "False" };
                        format!("Failed to change secure_boot state to '{on}': {}", words("set_secure_boot_state"))
                    }
                }
            });
            self.save().await?;
            return Ok(Next::Again(Duration::ZERO));
        }
        if self.node.observed.fault.is_some() && !self.node.desired.maintenance {
            // Who takes it out of maintenance says that nothing is wrong with it.
            self.node.observed.fault = None;
            self.save().await?;
        }
        Ok(Next::Gone)
    }

    async fn set_boot_mode(&mut self, mode: Option<&str>, secure: Option<bool>) -> Result<(), BmcError> {
        let bmc = self.bmc()?;
        let mode = mode.map(|it| if it == "bios" { BootMode::Bios } else { BootMode::Uefi });
        if let Some(mode) = mode {
            bmc.set_boot_mode(mode).await?;
            self.node.observed.boot_mode = Some(mode.as_str().to_owned());
        }
        if let Some(on) = secure {
            bmc.set_secure_boot(on).await?;
            self.node.observed.secure_boot = Some(on);
        }
        Ok(())
    }

    /// The request is dealt with, well or not.
    pub(super) async fn power_ended(mut self, request: &PowerRequest, power: Option<PowerState>, error: Option<String>) -> Look {
        let seen = &mut self.node.observed;
        seen.handled_power = request.seq;
        seen.power_began = None;
        seen.power_phase = PowerPhase::default();
        if seen.supply_since.take().is_some() {
            seen.reason = format!("{}: over", request.verb.as_str());
        }
        seen.power = power.or(seen.power);
        seen.last_error = error;
        self.save().await?;
        Ok(Next::Again(Duration::ZERO))
    }

    async fn change_power(mut self, request: PowerRequest) -> Look {
        let began = self.node.observed.power_began;
        let verb = match request.verb {
            // What is off needs no shutting down.
            PowerVerb::SoftReboot if began.is_none() && self.node.observed.power == Some(PowerState::Off) => PowerVerb::On,
            verb => verb,
        };
        if self.node.desired.disable_power_off && matches!(verb, PowerVerb::Off | PowerVerb::SoftOff) {
            return self.power_ended(&request, None, Some("it is never switched off (disable_power_off)".into())).await;
        }
        let Some(began) = began else {
            self = match Box::pin(self.supply_first(verb, &request)).await {
                Ok(machine) => machine,
                Err(look) => return look,
            };
            let is_off_already = verb != request.verb;
            self.node.observed.power_began = Some(Timestamp::now());
            self.node.observed.power_phase = if is_off_already { PowerPhase::SeenOff } else { PowerPhase::Begun };
            self.save().await?;
            return if is_off_already { self.back_on(&request, 0.0).await } else { self.tell_power(verb, &request).await };
        };
        let soft = matches!(verb, PowerVerb::SoftOff | PowerVerb::SoftReboot);
        let patience = request.timeout_seconds.unwrap_or(self.cx.config.baremetal.soft_power_off_timeout_seconds);
        let limit = if soft { f64::from(patience) } else { HARD_LIMIT };
        let lasted = Timestamp::now().seconds_since(began);
        let phase = self.node.observed.power_phase;
        let power = match self.bmc() {
            Ok(bmc) => bmc.power().await,
            Err(error) => Err(error),
        };
        let done = match (verb, power) {
            (PowerVerb::SoftReboot, _) if phase == PowerPhase::SeenOff => return self.back_on(&request, lasted - limit).await,
            (PowerVerb::SoftReboot, Ok(drivers::bmc::PowerState::Off)) => {
                self.node.observed.power_phase = PowerPhase::SeenOff;
                self.save().await?;
                return self.back_on(&request, lasted - limit).await;
            }
            (PowerVerb::On, Ok(power)) => power == drivers::bmc::PowerState::On,
            (PowerVerb::Off | PowerVerb::SoftOff, Ok(power)) => power == drivers::bmc::PowerState::Off,
            // Whether it was restarted is not to be seen.
            (PowerVerb::Reboot, Ok(power)) => power == drivers::bmc::PowerState::On && phase == PowerPhase::Told,
            (PowerVerb::SoftReboot, Ok(_)) => false,
            // As if it had not been begun: whether it was told is not known, and it does not answer.
            (_, Err(error)) if phase == PowerPhase::Begun => {
                self.node.observed.power_began = None;
                return self.power_late(&request, error).await;
            }
            (_, Err(error)) if lasted > limit => return self.power_ended(&request, None, Some(error.to_string())).await,
            (_, Err(error)) => return Err(Fault::bmc(error)),
        };
        if done {
            return self.power_ended(&request, Some(verb.target()), None).await;
        }
        if lasted > limit {
            let why = format!("it did not {} within {limit} s", request.verb.as_str());
            return self.power_ended(&request, None, Some(why)).await;
        }
        if phase == PowerPhase::Begun {
            return self.tell_power(verb, &request).await;
        }
        if !soft && lasted > TELL_AGAIN {
            let action = if verb.target() == PowerState::On { PowerAction::On } else { PowerAction::Off };
            self.order(action).await.map_err(Fault::bmc)?;
        }
        Ok(Next::Again(Duration::from_secs_f64((lasted / 5.0).clamp(0.2, 5.0))))
    }

    /// Tells the BMC, and notes that it did: whoever goes on after a death in between tells it again.
    async fn tell_power(mut self, verb: PowerVerb, request: &PowerRequest) -> Look {
        let action = match verb {
            PowerVerb::On => PowerAction::On,
            PowerVerb::Off => PowerAction::Off,
            PowerVerb::SoftOff | PowerVerb::SoftReboot => PowerAction::SoftOff,
            PowerVerb::Reboot => PowerAction::Reset,
        };
        match self.order(action).await {
            Ok(()) if verb == PowerVerb::Reboot || self.interface(Interface::Power) == "fake" => {
                self.power_ended(request, Some(verb.target()), None).await
            }
            Ok(()) => {
                self.node.observed.power_phase = PowerPhase::Told;
                self.save().await?;
                Ok(Next::Again(SOON))
            }
            Err(error) if is_passing(&error) => {
                // Begun anew: an order for what is there already is fine.
                self.node.observed.power_began = None;
                self.power_late(request, error).await
            }
            Err(error) => self.power_ended(request, None, Some(error.to_string())).await,
        }
    }

    /// What was shut down to be restarted is switched on. `late`: for how many seconds longer it has lasted than the shutting down may.
    async fn back_on(self, request: &PowerRequest, late: f64) -> Look {
        match self.order(PowerAction::On).await {
            Ok(()) => self.power_ended(request, Some(PowerState::On), None).await,
            Err(error) if is_passing(&error) && late <= HARD_LIMIT => Err(Fault::bmc(error)),
            Err(error) => self.power_ended(request, Some(PowerState::Off), Some(error.to_string())).await,
        }
    }

    async fn order(&self, action: PowerAction) -> Result<(), BmcError> {
        self.bmc()?.set_power(action).await
    }

    /// The BMC could not be told; it is tried for a while.
    pub(super) async fn power_late(mut self, request: &PowerRequest, error: BmcError) -> Look {
        let failures = self.cx.claim.attempts;
        if failures >= 4 && !self.is_newly_fed() {
            return self.power_ended(request, None, Some(error.to_string())).await;
        }
        self.save().await?;
        Err(Fault::bmc(error))
    }
}

/// Whether a BMC may do later what it did not do now.
fn is_passing(error: &BmcError) -> bool {
    matches!(error, BmcError::Unreachable { .. } | BmcError::Timeout { .. } | BmcError::Conflict { .. })
}
