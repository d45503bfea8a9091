//! How long hardware that is not there takes (Source: Ironic documentation, `[fake]`; here per node, in its `driver_info`).

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use model::secret::Settings;
use serde_json::Value;

use crate::bmc::BmcError;

/// Longest delay of a call, in seconds; steps may take as long as a day.
const CALL_SECONDS: f64 = 60.0;
const STEP_SECONDS: f64 = 86_400.0;

/// A delay: always the same, or between two bounds with the lower the likeliest.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Delay {
    least: f64,
    most: f64,
}

impl Delay {
    fn parse(value: &Value) -> Option<Self> {
        let (least, most) = match value {
            Value::Number(it) => (it.as_f64()?, it.as_f64()?),
            Value::String(text) if text.trim().is_empty() => (0.0, 0.0),
            Value::String(text) => {
                let (least, most) = text.split_once(',').unwrap_or((text, text));
                (least.trim().parse().ok()?, most.trim().parse().ok()?)
            }
            _ => return None,
        };
        let sane = |it: f64| it.is_finite() && (0.0..=STEP_SECONDS).contains(&it);
        (sane(least) && sane(most) && least <= most).then_some(Self { least, most })
    }

    /// A delay drawn by the triangular distribution whose peak is at the lower bound.
    pub(super) fn draw(&self) -> Duration {
        if self.most <= self.least {
            return Duration::try_from_secs_f64(self.least).unwrap_or_default();
        }
        // A hasher with random keys is as good as dice for this.
        let dice = (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64;
        let drawn = self.most - (1.0 - dice).sqrt() * (self.most - self.least);
        Duration::try_from_secs_f64(self.least + (drawn - self.least).clamp(0.0, self.most - self.least)).unwrap_or_default()
    }

    /// Waits it out; at most a minute.
    pub(super) async fn wait(&self) {
        if self.most > 0.0 {
            tokio::time::sleep(self.draw().min(Duration::from_secs_f64(CALL_SECONDS))).await;
        }
    }
}

/// The delay of each interface, in seconds: `fake_power_delay`, `fake_boot_delay`, … as `5` or `2,10`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct FakeDelays {
    pub(super) power: Delay,
    pub(super) boot: Delay,
    pub(super) deploy: Delay,
    pub(super) vendor: Delay,
    pub(super) management: Delay,
    pub(super) inspect: Delay,
    pub(super) raid: Delay,
    pub(super) bios: Delay,
    pub(super) storage: Delay,
    pub(super) rescue: Delay,
    pub(super) firmware: Delay,
}

impl FakeDelays {
    /// Reads them.
    ///
    /// # Errors
    /// `Config` if one is neither a number nor two.
    pub(super) fn read(info: &Settings) -> Result<Self, BmcError> {
        let read = |interface: &str| {
            let key = format!("fake_{interface}_delay");
            match info.0.get(&key) {
                None | Some(Value::Null) => Ok(Delay::default()),
                Some(value) => Delay::parse(value).ok_or_else(|| BmcError::Config {
                    address: String::new(),
                    reason: format!("driver_info/{key} must be seconds, or two numbers of seconds with a comma between"),
                }),
            }
        };
        Ok(Self {
            power: read("power")?,
            boot: read("boot")?,
            deploy: read("deploy")?,
            vendor: read("vendor")?,
            management: read("management")?,
            inspect: read("inspect")?,
            raid: read("raid")?,
            bios: read("bios")?,
            storage: read("storage")?,
            rescue: read("rescue")?,
            firmware: read("firmware")?,
        })
    }

    /// How long a step of an interface takes.
    pub(super) fn of_step(&self, interface: &str) -> Duration {
        let delay = match interface {
            "power" => self.power,
            "boot" => self.boot,
            "deploy" => self.deploy,
            "vendor" => self.vendor,
            "management" => self.management,
            "inspect" => self.inspect,
            "raid" => self.raid,
            "bios" => self.bios,
            "storage" => self.storage,
            "rescue" => self.rescue,
            "firmware" => self.firmware,
            _ => Delay::default(),
        };
        delay.draw()
    }
}
