//! `[baremetal]`: how much at once, how long, how often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// `[baremetal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaremetalConfig {
    /// What this process is called among those that work on machines; default: the machine's own name.
    pub host: Option<String>,
    /// The group of machines it works on, by their `conductor_group`; empty: those of no group.
    pub conductor_group: String,
    /// How often the power of all machines is read, in seconds.
    pub power_sync_interval_seconds: u32,
    /// How many BMCs are asked at once for that.
    pub power_sync_concurrency: u32,
    /// After how many rounds without an answer a machine is put in maintenance.
    pub power_failures: u32,
    /// In every how manyth of these rounds the health of the machines is read too; 0: never.
    pub health_rounds: u32,
    /// How often the sensors are read, in seconds; 0: never.
    pub sensors_interval_seconds: u32,
    /// How many machines are deployed, rescued or serviced at once.
    pub max_concurrent_deploy: u32,
    /// How many machines are cleaned or inspected at once.
    pub max_concurrent_clean: u32,
    /// Whether machines are cleaned before they are offered, unless they say otherwise.
    pub automated_clean: bool,
    /// What the machines of a rack may draw together while jobs have them on.
    pub rack_power_watts: RackPower,
    /// How long one step may take, in seconds.
    pub step_timeout_seconds: u32,
    /// How long a ramdisk may take to call in before it is booted again, in seconds.
    pub agent_timeout_seconds: u32,
    /// How long a BMC may be silent before the job that needs it has failed, in seconds.
    pub bmc_timeout_seconds: u32,
    /// How long an operating system may take to shut down when nobody says, in seconds.
    pub soft_power_off_timeout_seconds: u32,
    /// Whether a machine's attestation key is taken as it first shows it.
    pub attestation_first_use: bool,
    /// Where machines outside the provisioning network reach this control plane, such as `http://192.0.2.1:5000`: for the agents of
    /// machines whose network nobody manages, and for BMCs that fetch a medium.
    pub api_url: Option<String>,
}

impl Default for BaremetalConfig {
    fn default() -> Self {
        Self {
            host: None,
            conductor_group: String::new(),
            power_sync_interval_seconds: 60,
            power_sync_concurrency: 200,
            power_failures: 3,
            health_rounds: 5,
            sensors_interval_seconds: 600,
            max_concurrent_deploy: 250,
            max_concurrent_clean: 250,
            automated_clean: true,
            rack_power_watts: RackPower::None,
            step_timeout_seconds: 4 * 3600,
            agent_timeout_seconds: 300,
            bmc_timeout_seconds: 1800,
            soft_power_off_timeout_seconds: 600,
            attestation_first_use: false,
            api_url: None,
        }
    }
}

impl BaremetalConfig {
    pub(crate) fn power_sync_interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.power_sync_interval_seconds.max(1)))
    }
}

/// `rack_power_watts`: one number for every rack, or one for each by its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum RackPower {
    /// No bound.
    #[default]
    None,
    /// The same for every rack.
    All(u32),
    /// By rack (a node's `properties.rack`); a rack that is not named has no bound.
    ByRack(BTreeMap<String, u32>),
}

impl RackPower {
    /// What the machines of a rack may draw.
    pub(crate) fn of(&self, rack: &str) -> Option<u32> {
        match self {
            Self::None => None,
            Self::All(watts) => Some(*watts),
            Self::ByRack(racks) => racks.get(rack).copied(),
        }
    }
}
