//! A machine as its node chose it: each side of it (power, management, BIOS, …) by its hardware type's own implementation, by one that
//! does nothing, or by none.

use std::collections::BTreeMap;

use model::baremetal::hardware::hardware_type;
use model::baremetal::{BiosSetting, FirmwareComponent, Interface, Step};
use serde_json::{Map, Value};

use super::{
    Bmc, BmcError, BootChoice, BootDevice, BootMode, HardwareConfig, Indicator, Medium, OfferedStep, PowerAction, PowerState, Sensor,
    Stage, StepProgress,
};
use crate::Fut;

/// What the node chose for one side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The hardware type's own.
    Own,
    /// One that accepts and does nothing.
    Noop,
    /// None, or one that is not the driver's business (an agent).
    None,
}

/// A machine whose sides were chosen.
pub(super) struct Composed {
    own: Box<dyn Bmc>,
    names: BTreeMap<Interface, String>,
}

impl Composed {
    /// Puts it together.
    ///
    /// # Errors
    /// `Config` if the hardware type is unknown or has no such implementation.
    pub(super) fn new(config: &HardwareConfig, own: Box<dyn Bmc>) -> Result<Self, BmcError> {
        let wrong = |reason: String| BmcError::Config { address: String::new(), reason };
        let Some(kind) = hardware_type(&config.driver) else {
            return Err(wrong(format!("there is no hardware type {}", config.driver)));
        };
        let mut names = BTreeMap::new();
        for interface in Interface::ALL {
            let name = match config.interfaces.get(interface) {
                Some(name) if !name.is_empty() => name.as_str(),
                _ => kind.default_of(*interface).unwrap_or_default(),
            };
            if !kind.enabled(*interface).contains(&name) {
                let what = interface.as_str();
                return Err(wrong(format!("hardware type {} has no {what} interface {name}", config.driver)));
            }
            names.insert(*interface, name.to_owned());
        }
        Ok(Self { own, names })
    }

    fn name(&self, interface: Interface) -> &str {
        self.names.get(&interface).map_or("", String::as_str)
    }

    fn choice(&self, interface: Interface) -> Choice {
        match self.name(interface) {
            "redfish" | "ipmitool" | "fake" => Choice::Own,
            "noop" => Choice::Noop,
            _ => Choice::None,
        }
    }

    fn has(&self, interface: Interface) -> bool {
        self.choice(interface) == Choice::Own
    }

    fn refuse<'a, T: Send + 'a>(&self, interface: Interface, what: &str) -> Fut<'a, Result<T, BmcError>> {
        let what = format!("{what} by the {} interface {}", interface.as_str(), self.name(interface));
        Box::pin(async move { Err(BmcError::Unsupported { what }) })
    }

    /// Virtual media belong to management, and to the boot interface that boots by them.
    fn has_media(&self) -> bool {
        self.has(Interface::Management) || self.name(Interface::Boot) == "redfish-virtual-media"
    }

    fn has_step(&self, interface: &str) -> bool {
        Interface::ALL.iter().any(|it| it.as_str() == interface && self.has(*it))
    }
}

/// What can be chosen where the order of boot was set by hand: first the network, then the disk.
const NOOP_DEVICES: &[BootDevice] = &[BootDevice::Pxe, BootDevice::Disk];

impl Bmc for Composed {
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>> {
        self.own.power()
    }

    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>> {
        self.own.set_power(action)
    }

    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>> {
        match self.choice(Interface::Management) {
            Choice::Own => self.own.set_boot(device, once),
            // A firmware that boots by HTTP does so in the place of PXE.
            Choice::Noop if NOOP_DEVICES.contains(&device) || device == BootDevice::UefiHttp => Box::pin(async { Ok(()) }),
            _ => self.refuse(Interface::Management, &format!("boot device {}", device.as_str())),
        }
    }

    fn boot_device(&self) -> Fut<'_, Result<BootChoice, BmcError>> {
        match self.choice(Interface::Management) {
            Choice::Own => self.own.boot_device(),
            Choice::Noop => Box::pin(async { Ok(BootChoice { device: Some(BootDevice::Pxe), persistent: Some(true) }) }),
            Choice::None => self.refuse(Interface::Management, "reading the boot device"),
        }
    }

    fn supported_boot_devices(&self) -> Fut<'_, Result<Vec<BootDevice>, BmcError>> {
        match self.choice(Interface::Management) {
            Choice::Own => self.own.supported_boot_devices(),
            Choice::Noop => Box::pin(async { Ok(NOOP_DEVICES.to_vec()) }),
            Choice::None => self.refuse(Interface::Management, "reading the boot devices"),
        }
    }

    fn boot_mode(&self) -> Fut<'_, Result<Option<BootMode>, BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.boot_mode(),
            false => self.refuse(Interface::Management, "reading the boot mode"),
        }
    }

    fn set_boot_mode(&self, mode: BootMode) -> Fut<'_, Result<(), BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.set_boot_mode(mode),
            false => self.refuse(Interface::Management, "setting the boot mode"),
        }
    }

    fn secure_boot(&self) -> Fut<'_, Result<Option<bool>, BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.secure_boot(),
            false => self.refuse(Interface::Management, "reading secure boot"),
        }
    }

    fn set_secure_boot(&self, on: bool) -> Fut<'_, Result<(), BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.set_secure_boot(on),
            false => self.refuse(Interface::Management, "setting secure boot"),
        }
    }

    fn inject_nmi(&self) -> Fut<'_, Result<(), BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.inject_nmi(),
            false => self.refuse(Interface::Management, "injecting an NMI"),
        }
    }

    fn indicators(&self) -> Fut<'_, Result<Vec<Indicator>, BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.indicators(),
            false => self.refuse(Interface::Management, "indicators"),
        }
    }

    fn set_indicator<'a>(&'a self, component: &'a str, name: &'a str, state: &'a str) -> Fut<'a, Result<(), BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.set_indicator(component, name, state),
            false => self.refuse(Interface::Management, "indicators"),
        }
    }

    fn virtual_media(&self) -> Fut<'_, Result<Vec<Medium>, BmcError>> {
        match self.has_media() {
            true => self.own.virtual_media(),
            false => self.refuse(Interface::Management, "virtual media"),
        }
    }

    fn insert_media<'a>(&'a self, device_type: &'a str, url: &'a str) -> Fut<'a, Result<(), BmcError>> {
        match self.has_media() {
            true => self.own.insert_media(device_type, url),
            false => self.refuse(Interface::Management, "virtual media"),
        }
    }

    fn eject_media<'a>(&'a self, device_type: Option<&'a str>) -> Fut<'a, Result<(), BmcError>> {
        match self.has_media() {
            true => self.own.eject_media(device_type),
            false => self.refuse(Interface::Management, "virtual media"),
        }
    }

    fn bios(&self) -> Fut<'_, Result<Vec<BiosSetting>, BmcError>> {
        match self.has(Interface::Bios) {
            true => self.own.bios(),
            false => self.refuse(Interface::Bios, "BIOS settings"),
        }
    }

    fn firmware(&self) -> Fut<'_, Result<Vec<FirmwareComponent>, BmcError>> {
        match self.has(Interface::Firmware) {
            true => self.own.firmware(),
            false => self.refuse(Interface::Firmware, "firmware"),
        }
    }

    fn raid(&self) -> Fut<'_, Result<Map<String, Value>, BmcError>> {
        match self.has(Interface::Raid) {
            true => self.own.raid(),
            false => self.refuse(Interface::Raid, "RAID sets"),
        }
    }

    fn inventory(&self) -> Fut<'_, Result<Value, BmcError>> {
        match self.has(Interface::Inspect) {
            true => self.own.inventory(),
            false => self.refuse(Interface::Inspect, "inspection by the BMC"),
        }
    }

    fn health(&self) -> Fut<'_, Result<Option<String>, BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.health(),
            false => Box::pin(async { Ok(None) }),
        }
    }

    fn sensors(&self) -> Fut<'_, Result<Vec<Sensor>, BmcError>> {
        match self.has(Interface::Management) {
            true => self.own.sensors(),
            false => self.refuse(Interface::Management, "sensors"),
        }
    }

    fn steps(&self, stage: Stage) -> Vec<OfferedStep> {
        let mut steps = self.own.steps(stage);
        steps.retain(|it| self.has_step(&it.interface));
        steps
    }

    fn run_step<'a>(&'a self, step: &'a Step, memory: &'a Value) -> Fut<'a, Result<StepProgress, BmcError>> {
        match self.has_step(&step.interface) {
            true => self.own.run_step(step, memory),
            false => {
                let why = format!("there is no step {}.{} here", step.interface, step.step);
                Box::pin(async move { Ok(StepProgress::Failed(why)) })
            }
        }
    }

    fn vendor<'a>(&'a self, method: &'a str, http_method: &'a str, body: &'a Value) -> Fut<'a, Result<Value, BmcError>> {
        match self.has(Interface::Vendor) {
            true => self.own.vendor(method, http_method, body),
            false => self.refuse(Interface::Vendor, &format!("method {method}")),
        }
    }
}
