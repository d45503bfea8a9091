//! The operator's inventory: what `cofferdam lab up` wrote down about the rack, as a data centre's own list of machines and cables would be.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The rack's description, as far as enrolling needs it.
#[derive(Deserialize)]
pub(crate) struct Rack {
    pub(crate) machines: Vec<Machine>,
}

#[derive(Deserialize)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) mac: String,
    /// Name of the leaf switch.
    pub(crate) leaf: String,
    pub(crate) switch_id: String,
    pub(crate) port: String,
    pub(crate) bmc: Bmc,
    pub(crate) disk_gb: u64,
    pub(crate) memory_mb: u64,
    pub(crate) cpus: u64,
}

#[derive(Deserialize)]
pub(crate) struct Bmc {
    pub(crate) url: String,
    pub(crate) system: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Rack {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("rack.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not understood", path.display()))
    }
}
