//! Settings of identity.

use std::path::PathBuf;

use model::password::Settings as SecurityCompliance;
use serde::Deserialize;

/// `[identity]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySettings {
    /// The region of the catalog.
    pub region: String,
    /// How long a token is valid, in seconds.
    pub token_ttl_seconds: u32,
    /// How long after its end a service may still have a token validated with `allow_expired`, in seconds.
    pub allow_expired_window_seconds: u32,
    /// Whether a token with a scope may be changed for one with another.
    pub allow_rescope_scoped_token: bool,
    /// Whether the bare metal API takes HTTP's basic scheme in place of a token, as Metal3's operator needs it.
    pub http_basic: bool,
    /// Most keys of tokens that are kept, the staged one included.
    pub max_active_keys: u32,
    /// How passwords are hashed.
    pub hashing: ::identity::hash::Settings,
    /// What is demanded of passwords and accounts.
    pub security_compliance: SecurityCompliance,
    /// Rules in place of the declared ones; read again when it changes. Without one `policy.yaml` in the state directory, if it is there.
    pub policy_file: Option<PathBuf>,
    /// Who may do what in Kubernetes clusters that ask here; read again when it changes.
    pub k8s_policy_file: Option<PathBuf>,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            region: "RegionOne".into(),
            token_ttl_seconds: 3600,
            allow_expired_window_seconds: 172_800,
            allow_rescope_scoped_token: true,
            http_basic: true,
            max_active_keys: 3,
            hashing: ::identity::hash::Settings::default(),
            security_compliance: SecurityCompliance::default(),
            policy_file: None,
            k8s_policy_file: None,
        }
    }
}
