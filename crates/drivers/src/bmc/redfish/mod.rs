//! BMCs that speak Redfish (DMTF DSP0266, DSP0268).
//!
//! Nothing is assumed of a BMC that its own answers do not say: links are followed, what it allows is read before it is asked, and what
//! was asked is read back. Vendors' ways are in `quirks`.

mod bios;
mod boot;
mod config;
mod connection;
mod firmware;
mod indicators;
mod inspect;
mod media;
mod power;
mod quirks;
mod raid;
mod raid_plan;
mod sensors;
mod steps;
mod tasks;
mod vendor;

use std::sync::Arc;
use std::time::Duration;

use model::baremetal::{BiosSetting, FirmwareComponent, Step};
use serde_json::{Map, Value};

use self::config::RedfishConfig;
use self::connection::{Connection, connection};
use super::{
    Bmc, BmcError, BootChoice, BootDevice, BootMode, HardwareConfig, Indicator, Medium, OfferedStep, PowerAction, PowerState, Sensor,
    Stage, StepProgress,
};
use crate::Fut;

/// How long something that takes many requests may take as a whole.
const LONG: Duration = Duration::from_secs(180);
/// The same for what a client waits for.
const SHORT: Duration = Duration::from_secs(45);

/// A machine behind a Redfish BMC.
pub(super) struct Redfish {
    conn: Arc<Connection>,
    system: Option<String>,
    vendor: Option<String>,
    target_raid_config: Map<String, Value>,
}

impl Redfish {
    /// Opens it; nothing is sent yet.
    ///
    /// # Errors
    /// `Config` if its `driver_info` is unusable.
    pub(super) fn new(config: &HardwareConfig) -> Result<Self, BmcError> {
        let read = RedfishConfig::read(config)?;
        Ok(Self {
            conn: connection(&read)?,
            system: read.system,
            vendor: config.properties.get("vendor").and_then(Value::as_str).map(str::to_owned),
            target_raid_config: config.target_raid_config.clone(),
        })
    }

    /// The path of the machine.
    async fn system(&self) -> Result<&str, BmcError> {
        match &self.system {
            Some(path) => Ok(path),
            None => self.conn.only_system().await,
        }
    }

    /// Ends with `Timeout` what takes longer than `limit`.
    fn within<'a, T: Send + 'a>(
        &'a self,
        limit: Duration,
        work: impl Future<Output = Result<T, BmcError>> + Send + 'a,
    ) -> Fut<'a, Result<T, BmcError>> {
        Box::pin(async move {
            let ended = tokio::time::timeout(limit, work).await;
            ended.unwrap_or_else(|_| Err(BmcError::Timeout { address: self.conn.base.clone() }))
        })
    }
}

impl Bmc for Redfish {
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>> {
        self.within(SHORT, self.power_state())
    }

    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>> {
        self.within(SHORT, self.change_power(action))
    }

    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>> {
        self.within(SHORT, self.choose_boot(device, once))
    }

    fn boot_device(&self) -> Fut<'_, Result<BootChoice, BmcError>> {
        self.within(SHORT, self.chosen_boot())
    }

    fn supported_boot_devices(&self) -> Fut<'_, Result<Vec<BootDevice>, BmcError>> {
        self.within(SHORT, self.boot_devices())
    }

    fn boot_mode(&self) -> Fut<'_, Result<Option<BootMode>, BmcError>> {
        self.within(SHORT, self.read_boot_mode())
    }

    fn set_boot_mode(&self, mode: BootMode) -> Fut<'_, Result<(), BmcError>> {
        self.within(SHORT, self.choose_boot_mode(mode))
    }

    fn secure_boot(&self) -> Fut<'_, Result<Option<bool>, BmcError>> {
        self.within(SHORT, self.read_secure_boot())
    }

    fn set_secure_boot(&self, on: bool) -> Fut<'_, Result<(), BmcError>> {
        self.within(SHORT, self.choose_secure_boot(on))
    }

    fn inject_nmi(&self) -> Fut<'_, Result<(), BmcError>> {
        self.within(SHORT, self.interrupt())
    }

    fn indicators(&self) -> Fut<'_, Result<Vec<Indicator>, BmcError>> {
        self.within(SHORT, self.read_indicators())
    }

    fn set_indicator<'a>(&'a self, component: &'a str, name: &'a str, state: &'a str) -> Fut<'a, Result<(), BmcError>> {
        self.within(SHORT, self.switch_indicator(component, name, state))
    }

    fn virtual_media(&self) -> Fut<'_, Result<Vec<Medium>, BmcError>> {
        self.within(SHORT, self.media())
    }

    fn insert_media<'a>(&'a self, device_type: &'a str, url: &'a str) -> Fut<'a, Result<(), BmcError>> {
        self.within(LONG, self.insert(device_type, url))
    }

    fn eject_media<'a>(&'a self, device_type: Option<&'a str>) -> Fut<'a, Result<(), BmcError>> {
        self.within(LONG, self.eject(device_type))
    }

    fn bios(&self) -> Fut<'_, Result<Vec<BiosSetting>, BmcError>> {
        self.within(LONG, self.read_bios())
    }

    fn firmware(&self) -> Fut<'_, Result<Vec<FirmwareComponent>, BmcError>> {
        self.within(LONG, self.read_firmware())
    }

    fn raid(&self) -> Fut<'_, Result<Map<String, Value>, BmcError>> {
        self.within(LONG, self.read_raid())
    }

    fn inventory(&self) -> Fut<'_, Result<Value, BmcError>> {
        self.within(LONG, self.read_inventory())
    }

    fn health(&self) -> Fut<'_, Result<Option<String>, BmcError>> {
        self.within(SHORT, self.read_health())
    }

    fn sensors(&self) -> Fut<'_, Result<Vec<Sensor>, BmcError>> {
        self.within(LONG, self.read_sensors())
    }

    fn steps(&self, stage: Stage) -> Vec<OfferedStep> {
        steps::offers(stage)
    }

    /// Has no deadline of its own beyond those of its requests: the image of a firmware with a checksum is read whole.
    fn run_step<'a>(&'a self, step: &'a Step, memory: &'a Value) -> Fut<'a, Result<StepProgress, BmcError>> {
        Box::pin(self.step(step, memory))
    }

    fn vendor<'a>(&'a self, method: &'a str, _http_method: &'a str, body: &'a Value) -> Fut<'a, Result<Value, BmcError>> {
        self.within(SHORT, self.vendor_method(method, body))
    }
}
