//! Baseboard management controllers: a machine's power, boot, firmware settings, media, sensors and steps, by Redfish, by IPMI, by hand
//! or not at all.

mod composed;
mod fake;
mod help;
mod ipmi;
mod redfish;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use model::baremetal::{BiosSetting, FirmwareComponent, Interface, Step};
use model::secret::Settings;
use serde_json::{Map, Value};

use self::help::{arg_bool, offered, text_of};
pub use self::ipmi::ConsoleCommand;
use crate::Fut;

/// Whether a machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// It runs.
    On,
    /// It is off.
    Off,
    /// It is between the two, or paused: look again.
    Changing,
}

/// What to do with a machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAction {
    /// Switch on; nothing happens if it is on.
    On,
    /// Cut the power at once; nothing happens if it is off.
    Off,
    /// Ask the operating system to shut down; nothing happens if it is off.
    SoftOff,
    /// Cut and restore the power; switches on if it is off.
    Reset,
}

/// What a machine boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// The network.
    Pxe,
    /// Its first disk.
    Disk,
    /// An optical drive, real or virtual.
    Cdrom,
    /// Its set-up menu.
    Bios,
    /// Its disk, in a safe mode.
    Safe,
    /// A network far away.
    Wanboot,
    /// The network, by HTTP of its own firmware.
    UefiHttp,
    /// A floppy drive, real or virtual.
    Floppy,
    /// A USB device, real or virtual.
    Usb,
}

impl BootDevice {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Pxe, Self::Disk, Self::Cdrom, Self::Bios, Self::Safe, Self::Wanboot, Self::UefiHttp, Self::Floppy, Self::Usb];

    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pxe => "pxe",
            Self::Disk => "disk",
            Self::Cdrom => "cdrom",
            Self::Bios => "bios",
            Self::Safe => "safe",
            Self::Wanboot => "wanboot",
            Self::UefiHttp => "uefihttp",
            Self::Floppy => "floppy",
            Self::Usb => "usb",
        }
    }

    /// Reads Ironic's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.as_str() == text)
    }
}

/// How a machine's firmware starts what it boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootMode {
    /// As UEFI has it.
    Uefi,
    /// As the BIOS of old had it.
    Bios,
}

impl BootMode {
    /// As Ironic spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
        }
    }
}

/// Which device a machine boots from, as far as its BMC tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootChoice {
    /// The device.
    pub device: Option<BootDevice>,
    /// Always, not only once.
    pub persistent: Option<bool>,
}

/// A light on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    /// `system`, `chassis`, `disk`, `power`, `nic`.
    pub component: String,
    /// Its name.
    pub name: String,
    /// `ON`, `OFF`, `BLINKING`, `UNKNOWN`.
    pub state: String,
    /// What it can be set to.
    pub states: Vec<String>,
}

/// A place for a virtual medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// `cdrom`, `floppy`, `usb`.
    pub device_type: String,
    /// What is in it.
    pub image_url: Option<String>,
    /// Whether something is.
    pub inserted: bool,
}

/// A reading of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// `temperature`, `power`, `fan`, `drive`.
    pub kind: &'static str,
    /// Its name at the BMC.
    pub name: String,
    /// Its reading: degrees Celsius, watts, revolutions a minute or percent.
    pub value: f64,
    /// Its unit: `celsius`, `watts`, `rpm`, `percent`.
    pub unit: &'static str,
}

/// The kind of job a step is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Cleaning.
    Clean,
    /// Deploying.
    Deploy,
    /// Servicing.
    Service,
}

/// A step that a driver or an agent can do.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedStep {
    /// Whose it is: `bios`, `raid`, …
    pub interface: String,
    /// Its name.
    pub step: String,
    /// Higher comes first; 0 is not run by itself.
    pub priority: i64,
    /// Whether it may be given up while it runs.
    pub abortable: bool,
    /// Its arguments: name, what it is, whether it is needed.
    pub args: Vec<(String, String, bool)>,
    /// Whether a ramdisk must be running.
    pub requires_ramdisk: bool,
}

/// How far a step of a driver is.
#[derive(Debug, Clone, PartialEq)]
pub enum StepProgress {
    /// It was seen to be done.
    Done,
    /// It is under way. What `memory` holds is stored before the next look and given back at it, also to another process.
    Again {
        /// Whatever the driver needs to go on: a task's address, what was there before.
        memory: Value,
        /// When to look next.
        after: Duration,
        /// Why, for operators.
        reason: String,
        /// The machine is to be restarted first: what was ordered happens at its next start.
        reboot: bool,
    },
    /// It cannot be done; why.
    Failed(String),
}

/// Whom to trust when a BMC is spoken to over `https`. Not used for `http`.
#[derive(Clone)]
pub(crate) enum VerifyCa {
    /// Certificates that chain to one of these (PEM), or are one of these.
    Pem(String),
    /// Anyone. What `redfish_verify_ca=False` asks for: the password can be read by whoever sits in between.
    Anyone,
}

/// What a machine's hardware is reached by: what its node says.
#[derive(Clone, Debug)]
pub struct HardwareConfig {
    /// The node's id; what has no BMC is remembered under it.
    pub node: String,
    /// Its hardware type.
    pub driver: String,
    /// The implementation of each interface.
    pub interfaces: BTreeMap<Interface, String>,
    /// Its `driver_info`.
    pub info: Settings,
    /// Its `properties`: `vendor`, `capabilities`, …
    pub properties: Map<String, Value>,
    /// Its `target_raid_config`, for the steps that make it.
    pub target_raid_config: Map<String, Value>,
    /// Its power as last seen, where nobody can be asked.
    pub power: Option<PowerState>,
}

/// Why a BMC could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum BmcError {
    /// No connection. Nothing is known, but that an order was not heard: look later.
    #[error("could not reach the BMC at {address}: {reason}")]
    Unreachable {
        /// Its URL.
        address: String,
        /// What the connection said.
        reason: String,
    },
    /// No answer within the deadline, or none before the connection ended. An action may or may not have happened: look later.
    #[error("the BMC at {address} did not answer in time")]
    Timeout {
        /// Its URL.
        address: String,
    },
    /// Wrong user name or password, or too few rights. A human is needed.
    #[error("the BMC at {address} refused the login: {reason}")]
    Denied {
        /// Its URL.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// The BMC is busy or in a state in which it cannot do this now (409, 503): look, then try again.
    #[error("the BMC at {address} cannot do this now: {reason}")]
    Conflict {
        /// Its URL.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// The BMC understood and refused, or cannot do it at all.
    #[error("the BMC at {address} refused: {reason}")]
    Rejected {
        /// Its URL.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// It answered what cannot be understood.
    #[error("the BMC at {address} answered what cannot be understood: {reason}")]
    Protocol {
        /// Its URL.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// The hardware, or the interface that the node has chosen, cannot do that.
    #[error("not supported: {what}")]
    Unsupported {
        /// What was asked.
        what: String,
    },
    /// The configuration is unusable.
    #[error("the configuration of the BMC{} is unusable: {reason}", if address.is_empty() { String::new() } else { format!(" at {address}") })]
    Config {
        /// Its URL, if that is known.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

/// One machine's BMC.
pub trait Bmc: Send + Sync {
    /// Reads whether the machine has power.
    ///
    /// # Errors
    /// See [`BmcError`]; on `Unreachable` and `Timeout` nothing is known.
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>>;

    /// Orders a change of power; returns when the BMC has accepted it, not when it is done. An order for the state
    /// that is there already is fine.
    ///
    /// # Errors
    /// See [`BmcError`]; after `Timeout` the order may stand.
    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>>;

    /// Chooses what the machine boots from: at the next boot only, or always.
    ///
    /// # Errors
    /// See [`BmcError`].
    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>>;

    /// Which device it boots from.
    ///
    /// # Errors
    /// See [`BmcError`]; also of all methods below, whose default is `Unsupported`.
    fn boot_device(&self) -> Fut<'_, Result<BootChoice, BmcError>> {
        unsupported("reading the boot device")
    }

    /// Which devices it can boot from.
    fn supported_boot_devices(&self) -> Fut<'_, Result<Vec<BootDevice>, BmcError>> {
        unsupported("reading the boot devices")
    }

    /// How its firmware boots; `None` if the BMC does not tell.
    fn boot_mode(&self) -> Fut<'_, Result<Option<BootMode>, BmcError>> {
        unsupported("reading the boot mode")
    }

    /// Orders a boot mode; holds from the next start.
    fn set_boot_mode(&self, _mode: BootMode) -> Fut<'_, Result<(), BmcError>> {
        unsupported("setting the boot mode")
    }

    /// Whether it boots only what is signed; `None` if the BMC does not tell.
    fn secure_boot(&self) -> Fut<'_, Result<Option<bool>, BmcError>> {
        unsupported("reading secure boot")
    }

    /// Orders secure boot on or off; holds from the next start.
    fn set_secure_boot(&self, _on: bool) -> Fut<'_, Result<(), BmcError>> {
        unsupported("setting secure boot")
    }

    /// Interrupts whatever it runs, so that it can write a dump.
    fn inject_nmi(&self) -> Fut<'_, Result<(), BmcError>> {
        unsupported("injecting an NMI")
    }

    /// Its lights.
    fn indicators(&self) -> Fut<'_, Result<Vec<Indicator>, BmcError>> {
        unsupported("indicators")
    }

    /// Switches a light to `ON`, `OFF` or `BLINKING`.
    fn set_indicator<'a>(&'a self, _component: &'a str, _name: &'a str, _state: &'a str) -> Fut<'a, Result<(), BmcError>> {
        unsupported("indicators")
    }

    /// The places for virtual media and what is in them.
    fn virtual_media(&self) -> Fut<'_, Result<Vec<Medium>, BmcError>> {
        unsupported("virtual media")
    }

    /// Puts the image at `url` in (`cdrom`, `floppy`, `usb`); what was there is taken out.
    fn insert_media<'a>(&'a self, _device_type: &'a str, _url: &'a str) -> Fut<'a, Result<(), BmcError>> {
        unsupported("virtual media")
    }

    /// Takes out what is in places of that type, or in all; nothing there is fine.
    fn eject_media<'a>(&'a self, _device_type: Option<&'a str>) -> Fut<'a, Result<(), BmcError>> {
        unsupported("virtual media")
    }

    /// Its BIOS settings.
    fn bios(&self) -> Fut<'_, Result<Vec<BiosSetting>, BmcError>> {
        unsupported("BIOS settings")
    }

    /// Its firmware, with `initial_version` as the version now.
    fn firmware(&self) -> Fut<'_, Result<Vec<FirmwareComponent>, BmcError>> {
        unsupported("firmware")
    }

    /// Its RAID sets as they are, in the form of a node's `raid_config` (`logical_disks`).
    fn raid(&self) -> Fut<'_, Result<Map<String, Value>, BmcError>> {
        unsupported("RAID sets")
    }

    /// What the BMC knows of the hardware, in the form of an agent's inventory.
    fn inventory(&self) -> Fut<'_, Result<Value, BmcError>> {
        unsupported("inspection by the BMC")
    }

    /// `OK`, `Warning` or `Critical`; `None` if the BMC does not tell.
    fn health(&self) -> Fut<'_, Result<Option<String>, BmcError>> {
        Box::pin(async { Ok(None) })
    }

    /// Its sensors.
    fn sensors(&self) -> Fut<'_, Result<Vec<Sensor>, BmcError>> {
        unsupported("sensors")
    }

    /// The steps that are done without an agent.
    fn steps(&self, _stage: Stage) -> Vec<OfferedStep> {
        Vec::new()
    }

    /// Does a step, or looks how far it is. `memory` is null at first, later what the last look gave. Doing it twice does no harm:
    /// after a crash it is called again with the memory of the look before.
    fn run_step<'a>(&'a self, step: &'a Step, _memory: &'a Value) -> Fut<'a, Result<StepProgress, BmcError>> {
        Box::pin(async move { Ok(StepProgress::Failed(format!("there is no step {}.{} here", step.interface, step.step))) })
    }

    /// Calls a method that only this vendor has: see [`model::baremetal::vendor::VENDOR_METHODS`].
    fn vendor<'a>(&'a self, method: &'a str, _http_method: &'a str, _body: &'a Value) -> Fut<'a, Result<Value, BmcError>> {
        Box::pin(async move { Err(BmcError::Unsupported { what: format!("vendor method {method}") }) })
    }
}

fn unsupported<'a, T: Send + 'a>(what: &'static str) -> Fut<'a, Result<T, BmcError>> {
    Box::pin(async move { Err(BmcError::Unsupported { what: what.to_owned() }) })
}

/// Opens the hardware of a node as it chose its interfaces; connects lazily.
///
/// # Errors
/// `Config` if `driver_info` does not say what the driver needs.
pub fn open(config: HardwareConfig) -> Result<Box<dyn Bmc>, BmcError> {
    let own: Box<dyn Bmc> = match config.driver.as_str() {
        "fake-hardware" | "manual-management" => Box::new(fake::Fake::new(&config)?),
        "ipmi" => Box::new(ipmi::Ipmi::new(&config)?),
        "redfish" => Box::new(redfish::Redfish::new(&config)?),
        other => return Err(BmcError::Config { address: String::new(), reason: format!("there is no hardware type {other}") }),
    };
    Ok(Box::new(composed::Composed::new(&config, own)?))
}

/// The program that shows a node's serial console over LAN, by its `ipmi_…` settings; for the console interface `ipmitool-socat`.
///
/// # Errors
/// `Config` if `driver_info` does not say how its BMC is reached by IPMI 2.0.
pub fn serial_console(config: &HardwareConfig) -> Result<ConsoleCommand, BmcError> {
    ipmi::console(config)
}
