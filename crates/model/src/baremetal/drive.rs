//! Config drives, apart from their nodes: they may be large, and nobody who looks at nodes looks at them.

use serde::{Deserialize, Serialize};

use crate::{Column, Kind, Secret};

/// The config drive of a node; its id is its node's.
pub enum ConfigDrive {}

/// What is wanted of a [`ConfigDrive`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigDriveDesired {
    /// The drive as Ironic takes it: base64 of gzip of ISO 9660, or the address where that is.
    pub drive: Secret,
}

impl Kind for ConfigDrive {
    const NAME: &'static str = "config_drive";
    type Desired = ConfigDriveDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}
