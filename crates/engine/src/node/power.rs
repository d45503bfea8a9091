//! A machine at rest: the power and the boot mode that users ask for.

use std::time::Duration;

use drivers::bmc::{BmcError, BootMode, PowerAction};
use model::Timestamp;
use model::baremetal::{Interface, PowerRequest, PowerState, PowerVerb};

use super::{Machine, SOON};
use crate::runtime::{Fault, Look, Next};

/// How long a machine may take to be on or off once its BMC was told, in seconds.
const HARD_LIMIT: f64 = 90.0;
/// After how long it is told again, in seconds: whoever was to tell it may have died before that.
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
        if seen.supply_since.take().is_some() {
            seen.reason = format!("{}: over", request.verb.as_str());
        }
        seen.power = power.or(seen.power);
        seen.last_error = error;
        self.save().await?;
        Ok(Next::Again(Duration::ZERO))
    }

    async fn change_power(mut self, request: PowerRequest) -> Look {
        let verb = match request.verb {
            // What is off needs no shutting down.
            PowerVerb::SoftReboot if self.node.observed.power == Some(PowerState::Off) => PowerVerb::On,
            verb => verb,
        };
        let target = verb.target();
        let wanted = if target == PowerState::On { drivers::bmc::PowerState::On } else { drivers::bmc::PowerState::Off };
        let soft = matches!(verb, PowerVerb::SoftOff | PowerVerb::SoftReboot);
        if self.node.desired.disable_power_off && matches!(verb, PowerVerb::Off | PowerVerb::SoftOff) {
            return self.power_ended(&request, None, Some("it is never switched off (disable_power_off)".into())).await;
        }
        if self.node.observed.power_began.is_none() {
            self = match Box::pin(self.supply_first(verb, &request)).await {
                Ok(machine) => machine,
                Err(look) => return look,
            };
        }
        let Some(began) = self.node.observed.power_began else {
            self.node.observed.power_began = Some(Timestamp::now());
            self.save().await?;
            let action = match verb {
                PowerVerb::On => PowerAction::On,
                PowerVerb::Off => PowerAction::Off,
                PowerVerb::SoftOff | PowerVerb::SoftReboot => PowerAction::SoftOff,
                PowerVerb::Reboot => PowerAction::Reset,
            };
            return match self.order(action).await {
                Ok(()) if self.interface(Interface::Power) == "fake" => self.power_ended(&request, Some(target), None).await,
                Ok(()) if verb == PowerVerb::Reboot => self.power_ended(&request, Some(target), None).await,
                Ok(()) => Ok(Next::Again(SOON)),
                Err(error @ (BmcError::Unreachable { .. } | BmcError::Timeout { .. } | BmcError::Conflict { .. })) => {
                    // Begun anew: an order for what is there already is fine.
                    self.node.observed.power_began = None;
                    self.power_late(&request, error).await
                }
                Err(error) => self.power_ended(&request, None, Some(error.to_string())).await,
            };
        };
        let lasted = Timestamp::now().seconds_since(began);
        let patience = request.timeout_seconds.unwrap_or(self.cx.config.baremetal.soft_power_off_timeout_seconds);
        let limit = if soft { f64::from(patience) } else { HARD_LIMIT };
        let power = match self.bmc() {
            Ok(bmc) => bmc.power().await,
            Err(error) => Err(error),
        };
        match power {
            Ok(drivers::bmc::PowerState::Off) if verb == PowerVerb::SoftReboot => match self.order(PowerAction::On).await {
                Ok(()) => self.power_ended(&request, Some(target), None).await,
                Err(error) => self.power_ended(&request, Some(PowerState::Off), Some(error.to_string())).await,
            },
            Ok(power) if power == wanted && verb != PowerVerb::SoftReboot => self.power_ended(&request, Some(target), None).await,
            Ok(_) if lasted > limit => {
                let why = format!("it did not {} within {limit} s", request.verb.as_str());
                self.power_ended(&request, None, Some(why)).await
            }
            Ok(_) => {
                if !soft && lasted > TELL_AGAIN {
                    let action = if target == PowerState::On { PowerAction::On } else { PowerAction::Off };
                    self.order(action).await.map_err(Fault::bmc)?;
                }
                Ok(Next::Again(Duration::from_secs_f64((lasted / 5.0).clamp(0.2, 5.0))))
            }
            Err(error) if lasted > limit => self.power_ended(&request, None, Some(error.to_string())).await,
            Err(error) => Err(Fault::bmc(error)),
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
