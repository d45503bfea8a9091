//! Who may use what of others, and how much of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::noun;
use crate::Id;
use crate::identity::Project;

/// That an object is shared with a project, or with all.
pub enum RbacPolicy {}
/// The limits of a project that differ from the usual ones. Its id is the project's.
pub enum Quota {}

/// What an RBAC policy lets others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RbacAction {
    /// Use it as if it were theirs.
    AccessAsShared,
    /// Use it as an external network.
    AccessAsExternal,
}

impl RbacAction {
    /// As Neutron spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessAsShared => "access_as_shared",
            Self::AccessAsExternal => "access_as_external",
        }
    }
}

/// What is wanted of an [`RbacPolicy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RbacPolicyDesired {
    /// The kind of object, such as `network`, as users name it.
    pub object_type: String,
    /// Which.
    pub object_id: String,
    /// What is allowed.
    pub action: RbacAction,
    /// To whom; none: to all (`*`).
    pub target: Option<Id<Project>>,
}

noun!(
    RbacPolicy,
    "rbac_policy",
    RbacPolicyDesired,
    usage: Some("rbac_policy"),
    columns: ["object_id" = |it| Some(it.desired.object_id.clone())],
    links: [],
);

/// What is wanted of a [`Quota`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuotaDesired {
    /// Limits by resource, such as `port`; -1: none.
    pub limits: BTreeMap<String, i64>,
}

noun!(Quota, "network_quota", QuotaDesired, usage: None, columns: [], links: []);
