//! Images, flavors and key pairs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Column, Kind, Timestamp};

/// An image.
pub enum Image {}
/// A flavor: what machine is asked for.
pub enum Flavor {}
/// An SSH key pair of a user.
pub enum Keypair {}

/// The life of an image's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageStatus {
    /// No data yet.
    Queued,
    /// Data is coming in.
    Saving,
    /// Usable.
    Active,
}

impl ImageStatus {
    /// As Glance spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Saving => "saving",
            Self::Active => "active",
        }
    }
}

/// What is wanted of an [`Image`], and its data once there: nothing but an upload changes the latter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageDesired {
    /// Status of the data.
    pub status: ImageStatus,
    /// `raw`, `qcow2`, `aki`, `ari`, …
    #[serde(default)]
    pub disk_format: Option<String>,
    /// `bare`, …
    #[serde(default)]
    pub container_format: Option<String>,
    /// `public`, `private`, `shared` or `community`.
    pub visibility: String,
    /// Least disk, in GiB.
    #[serde(default)]
    pub min_disk: u64,
    /// Least memory, in MiB.
    #[serde(default)]
    pub min_ram: u64,
    /// Cannot be deleted while set.
    #[serde(default)]
    pub protected: bool,
    /// `os_hidden`.
    #[serde(default)]
    pub hidden: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Further properties.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Size of the data, in bytes.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// MD5 of the data, hexadecimal (Glance's `checksum`).
    #[serde(default)]
    pub checksum: Option<String>,
    /// SHA-512 of the data, hexadecimal (Glance's `os_hash_value`).
    #[serde(default)]
    pub sha512: Option<String>,
}

/// What is wanted of a [`Flavor`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlavorDesired {
    /// Memory, in MiB.
    pub ram_mib: u64,
    /// Processors.
    pub vcpus: u64,
    /// Disk, in GiB.
    pub disk_gib: u64,
    /// Visible to all projects.
    pub is_public: bool,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// `resources:CUSTOM_<CLASS>=1` chooses bare-metal nodes of that resource class.
    #[serde(default)]
    pub extra_specs: BTreeMap<String, String>,
}

impl FlavorDesired {
    /// The node resource classes that fit, in the normalised form of [`normalise_class`].
    pub fn resource_class(&self) -> Option<String> {
        self.extra_specs
            .iter()
            .filter(|(_, amount)| amount.as_str() == "1")
            .find_map(|(key, _)| key.strip_prefix("resources:CUSTOM_").map(str::to_owned))
    }
}

/// A node's resource class as flavors name it: upper case, anything but letters and digits as `_`
/// (Source: Ironic documentation, "Scheduling based on resource classes").
pub fn normalise_class(class: &str) -> String {
    class.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// What is wanted of a [`Keypair`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeypairDesired {
    /// Whose.
    pub user_id: String,
    /// OpenSSH public key.
    pub public_key: String,
    /// MD5 fingerprint with colons.
    pub fingerprint: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Kind for Image {
    const NAME: &'static str = "image";
    type Desired = ImageDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Flavor {
    const NAME: &'static str = "flavor";
    type Desired = FlavorDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Keypair {
    const NAME: &'static str = "keypair";
    type Desired = KeypairDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "user_id", value: |it| Some(it.desired.user_id.clone()) }];
}
