//! BMCs that speak IPMI over LAN, by `ipmitool` (Source: IPMI 2.0 specification, revision 1.1; Ironic documentation, "IPMI driver").

mod config;
mod parse;
mod tool;

use std::ffi::OsString;
use std::time::Duration;

use model::Timestamp;
use model::baremetal::Step;
use serde_json::{Value, json};

use self::config::IpmiConfig;
use super::help::{as_bool, capability, offered};
use super::{Bmc, BmcError, BootChoice, BootDevice, HardwareConfig, OfferedStep, PowerAction, PowerState, Sensor, Stage, StepProgress};
use crate::Fut;

/// How long a call of several commands may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Most bytes sent raw.
const RAW_BYTES: usize = 256;
/// How long a BMC may take to come back, in seconds, and how long it is left alone first.
const RESET_SECONDS: f64 = 600.0;
const RESET_REST: Duration = Duration::from_secs(30);

/// The selector of each device in boot flags (specification, section 28.13, table 28-14, parameter 5, data 2).
const DEVICES: &[(BootDevice, u8)] =
    &[(BootDevice::Pxe, 0x04), (BootDevice::Disk, 0x08), (BootDevice::Safe, 0x0c), (BootDevice::Cdrom, 0x14), (BootDevice::Bios, 0x18)];
/// What Supermicro takes for the disk with UEFI (Source: Supermicro FAQ 25559).
const SUPERMICRO_UEFI_DISK: u8 = 0x24;

/// A machine behind an IPMI BMC.
pub(super) struct Ipmi {
    config: IpmiConfig,
    is_uefi: bool,
    is_supermicro: bool,
}

/// A program that shows a serial console on its standard streams, and ends when they are closed.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsoleCommand {
    /// The program.
    pub program: &'static str,
    /// Its arguments; no secret is among them.
    pub args: Vec<String>,
    /// Its arguments to end whatever session the BMC has: it has one at a time only.
    pub release: Vec<String>,
    /// What its environment holds beside `PATH`: secrets.
    pub env: Vec<(&'static str, OsString)>,
}

impl std::fmt::Debug for ConsoleCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsoleCommand").field("program", &self.program).field("args", &self.args).finish_non_exhaustive()
    }
}

/// The program that shows a node's serial console over LAN.
///
/// # Errors
/// `Config` if `driver_info` does not say how its BMC is reached by IPMI 2.0.
pub(super) fn console(config: &HardwareConfig) -> Result<ConsoleCommand, BmcError> {
    let read = IpmiConfig::read(config)?;
    if !read.is_two {
        let reason = "Serial over lan only works with IPMI protocol version 2.0.".into();
        return Err(BmcError::Config { address: read.address, reason });
    }
    let (mut args, env) = tool::command(&read, tool::suite(&read).as_deref());
    let mut release = args.clone();
    release.extend(["sol".into(), "deactivate".into()]);
    args.extend(["sol".into(), "activate".into()]);
    Ok(ConsoleCommand { program: "ipmitool", args, release, env })
}

impl Ipmi {
    /// Opens it; nothing is run yet.
    ///
    /// # Errors
    /// `Config` if its `driver_info` is unusable.
    pub(super) fn new(config: &HardwareConfig) -> Result<Self, BmcError> {
        let vendor = config.properties.get("vendor").and_then(Value::as_str).unwrap_or_default();
        Ok(Self {
            config: IpmiConfig::read(config)?,
            is_uefi: capability(&config.properties, "boot_mode").is_none_or(|it| it != "bios"),
            is_supermicro: vendor.eq_ignore_ascii_case("supermicro"),
        })
    }

    async fn run(&self, words: &[&str]) -> Result<String, BmcError> {
        tool::run(&self.config, words).await
    }

    fn protocol(&self, reason: String) -> BmcError {
        BmcError::Protocol { address: self.config.address.clone(), reason }
    }

    fn rejected(&self, reason: String) -> BmcError {
        BmcError::Rejected { address: self.config.address.clone(), reason }
    }

    fn within<'a, T: Send + 'a>(&'a self, work: impl Future<Output = Result<T, BmcError>> + Send + 'a) -> Fut<'a, Result<T, BmcError>> {
        Box::pin(async move {
            let ended = tokio::time::timeout(LIMIT, work).await;
            ended.unwrap_or_else(|_| Err(BmcError::Timeout { address: self.config.address.clone() }))
        })
    }

    async fn power_state(&self) -> Result<PowerState, BmcError> {
        let printed = self.run(&["power", "status"]).await?;
        match printed.trim() {
            "Chassis Power is on" => Ok(PowerState::On),
            "Chassis Power is off" => Ok(PowerState::Off),
            other => Err(self.protocol(format!("power status: {other}"))),
        }
    }

    async fn change_power(&self, action: PowerAction) -> Result<(), BmcError> {
        let state = self.power_state().await?;
        let word = match (action, state) {
            (PowerAction::On, PowerState::On) | (PowerAction::Off | PowerAction::SoftOff, PowerState::Off) => return Ok(()),
            (PowerAction::On, _) | (PowerAction::Reset, PowerState::Off) => "on",
            (PowerAction::Off, _) => "off",
            (PowerAction::SoftOff, _) => "soft",
            (PowerAction::Reset, _) => "reset",
        };
        self.run(&["power", word]).await.map(drop)
    }

    async fn choose_boot(&self, device: BootDevice, once: bool) -> Result<(), BmcError> {
        let Some((_, selector)) = DEVICES.iter().find(|(it, _)| *it == device) else {
            return Err(BmcError::Unsupported { what: format!("boot device {}", device.as_str()) });
        };
        let selector = match device {
            BootDevice::Disk if self.is_uefi && self.is_supermicro => SUPERMICRO_UEFI_DISK,
            _ => *selector,
        };
        if self.config.disable_boot_timeout {
            // Else the choice is forgotten after a minute. BMCs that do not have this parameter do not forget.
            match self.run(&["raw", "0x00", "0x08", "0x03", "0x08"]).await {
                Ok(_) => {}
                Err(BmcError::Rejected { reason, .. }) => {
                    tracing::debug!(bmc.address = self.config.address, reason, "the BMC has no timeout of the boot device to switch off");
                }
                Err(error) => return Err(error),
            }
        }
        let lasts = !once && !self.config.force_boot_device;
        // Valid, lasting, by UEFI. The options of `chassis bootdev` lose one another in some versions of the tool.
        let flags = 0x80 | if lasts { 0x40 } else { 0 } | if self.is_uefi { 0x20 } else { 0 };
        let words = [flags, selector].map(|it| format!("0x{it:02x}"));
        let [flags, selector] = &words;
        self.run(&["raw", "0x00", "0x08", "0x05", flags, selector, "0x00", "0x00", "0x00"]).await.map(drop)
    }

    async fn chosen_boot(&self) -> Result<BootChoice, BmcError> {
        let printed = self.run(&["raw", "0x00", "0x09", "0x05", "0x00", "0x00"]).await?;
        let bytes = parse::bytes(&printed).ok_or_else(|| self.protocol(format!("boot flags: {printed}")))?;
        // Version, parameter, then its data.
        let [_, _, flags, selector, ..] = bytes.as_slice() else {
            return Err(self.protocol(format!("boot flags: {printed}")));
        };
        // Not asked whether the flags are valid (0x80): some BMCs take that mark away at once and follow them all the same.
        let selector = selector & 0x3c;
        let device = match selector {
            SUPERMICRO_UEFI_DISK if self.is_supermicro => Some(BootDevice::Disk),
            _ => DEVICES.iter().find(|(_, it)| *it == selector).map(|(device, _)| *device),
        };
        Ok(BootChoice { device, persistent: Some(flags & 0x40 != 0) })
    }

    async fn send_raw(&self, text: &str) -> Result<String, BmcError> {
        let words = parse::raw_words(text).filter(|it| it.len() <= RAW_BYTES);
        let words = words.ok_or_else(|| self.rejected("raw_bytes must be bytes such as '0x00 0x01'".into()))?;
        let mut command = vec!["raw"];
        command.extend(words);
        self.run(&command).await
    }

    async fn step(&self, step: &Step, memory: &Value) -> Result<StepProgress, BmcError> {
        match (step.interface.as_str(), step.step.as_str()) {
            ("vendor", "send_raw") => {
                let Some(text) = step.args.get("raw_bytes").and_then(Value::as_str) else {
                    return Ok(StepProgress::Failed("Argument raw_bytes is missing.".into()));
                };
                match self.send_raw(text).await {
                    Ok(_) => Ok(StepProgress::Done),
                    Err(BmcError::Rejected { reason, .. }) => Ok(StepProgress::Failed(reason)),
                    Err(error) => Err(error),
                }
            }
            ("vendor", "bmc_reset") => self.reset_bmc(step.args.get("warm"), memory).await,
            _ => Ok(StepProgress::Failed(format!("there is no step {}.{} here", step.interface, step.step))),
        }
    }

    /// Restarts the BMC and waits until it answers again.
    async fn reset_bmc(&self, warm: Option<&Value>, memory: &Value) -> Result<StepProgress, BmcError> {
        let now = Timestamp::now();
        let Some(since) = memory["since"].as_i64().map(Timestamp) else {
            self.run(&["mc", "reset", warm_word(warm)]).await?;
            let reason = "the BMC is restarting".into();
            return Ok(StepProgress::Again { memory: json!({ "since": now.0 }), after: RESET_REST, reason, reboot: false });
        };
        match self.run(&["mc", "info"]).await {
            Ok(_) => Ok(StepProgress::Done),
            Err(error) if now.seconds_since(since) > RESET_SECONDS => Ok(StepProgress::Failed(error.to_string())),
            Err(BmcError::Config { address, reason }) => Err(BmcError::Config { address, reason }),
            Err(error) => Ok(StepProgress::Again {
                memory: memory.clone(),
                after: Duration::from_secs(10),
                reason: format!("the BMC is restarting: {error}"),
                reboot: false,
            }),
        }
    }
}

/// Warm unless it is said otherwise.
fn warm_word(warm: Option<&Value>) -> &'static str {
    if warm.and_then(as_bool).unwrap_or(true) { "warm" } else { "cold" }
}

impl Bmc for Ipmi {
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>> {
        self.within(self.power_state())
    }

    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>> {
        self.within(self.change_power(action))
    }

    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>> {
        self.within(self.choose_boot(device, once))
    }

    fn boot_device(&self) -> Fut<'_, Result<BootChoice, BmcError>> {
        self.within(self.chosen_boot())
    }

    fn supported_boot_devices(&self) -> Fut<'_, Result<Vec<BootDevice>, BmcError>> {
        Box::pin(async { Ok(DEVICES.iter().map(|(device, _)| *device).collect()) })
    }

    fn inject_nmi(&self) -> Fut<'_, Result<(), BmcError>> {
        self.within(async { self.run(&["power", "diag"]).await.map(drop) })
    }

    fn sensors(&self) -> Fut<'_, Result<Vec<Sensor>, BmcError>> {
        self.within(async { Ok(parse::sensors(&self.run(&["-c", "sdr", "list", "full"]).await?)) })
    }

    fn steps(&self, stage: Stage) -> Vec<OfferedStep> {
        let raw = [("raw_bytes", "A string of raw bytes to convey the request to transmit to the remote BMC.", true)];
        let warm = [("warm", "Whether the BMC restarts warm; cold if false. Defaults to `True`.", false)];
        let mut steps = vec![offered("vendor", "send_raw", 0, &raw)];
        if stage != Stage::Deploy {
            steps.push(offered("vendor", "bmc_reset", 0, &warm));
        }
        steps
    }

    fn run_step<'a>(&'a self, step: &'a Step, memory: &'a Value) -> Fut<'a, Result<StepProgress, BmcError>> {
        self.within(self.step(step, memory))
    }

    fn vendor<'a>(&'a self, method: &'a str, _http_method: &'a str, body: &'a Value) -> Fut<'a, Result<Value, BmcError>> {
        self.within(async move {
            match method {
                "send_raw" => {
                    let text = body["raw_bytes"].as_str().filter(|it| !it.trim().is_empty());
                    let missing = || self.rejected("Parameter raw_bytes (string of bytes) was not specified.".into());
                    self.send_raw(text.ok_or_else(missing)?).await.map(|_| Value::Null)
                }
                "bmc_reset" => self.run(&["mc", "reset", warm_word(body.get("warm"))]).await.map(|_| Value::Null),
                other => Err(BmcError::Unsupported { what: format!("vendor method {other}") }),
            }
        })
    }
}
