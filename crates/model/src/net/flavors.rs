//! Kinds of service that users can choose by name.

use serde::{Deserialize, Serialize};

use super::noun;

/// A kind of service.
pub enum ServiceFlavor {}
/// How a kind of service is provided.
pub enum ServiceProfile {}

/// What is wanted of a [`ServiceFlavor`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceFlavorDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The service it is of, such as `L3_ROUTER_NAT`.
    pub service_type: String,
    /// Whether it can be chosen.
    pub enabled: bool,
    /// The ids of its profiles.
    #[serde(default)]
    pub service_profiles: Vec<String>,
}

/// What is wanted of a [`ServiceProfile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceProfileDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// What provides it.
    #[serde(default)]
    pub driver: String,
    /// What the driver is told.
    #[serde(default)]
    pub metainfo: String,
    /// Whether it is used.
    pub enabled: bool,
}

noun!(
    ServiceFlavor,
    "service_flavor",
    ServiceFlavorDesired,
    usage: None,
    columns: [],
    links: ["service_profiles" = |it| it.desired.service_profiles.clone()],
);
noun!(ServiceProfile, "service_profile", ServiceProfileDesired, usage: None, columns: [], links: []);
