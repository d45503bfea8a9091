//! Config drives, apart from their nodes: they may be large, and nobody who looks at nodes looks at them.

use serde::{Deserialize, Serialize};

use crate::{Column, Id, Kind, Object, Secret};

/// The config drive of a node, which names it in [`super::NodeDesired::drive`]. It is made and taken away with that, and never changed.
pub enum ConfigDrive {}

/// What is wanted of a [`ConfigDrive`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigDriveDesired {
    /// The drive as Ironic takes it: base64 of gzip of ISO 9660, or the address where that is.
    pub drive: Secret,
}

/// Which config drive a node has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriveOf {
    /// Its id.
    pub id: Id<ConfigDrive>,
    /// The length of its text, in bytes.
    pub bytes: usize,
}

impl DriveOf {
    /// What removes it: a row without what is in it, which need not be read for that.
    pub fn row(&self) -> Object<ConfigDrive> {
        Object::new(self.id.clone(), None, "", ConfigDriveDesired::default())
    }
}

impl Kind for ConfigDrive {
    const NAME: &'static str = "config_drive";
    type Desired = ConfigDriveDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}
