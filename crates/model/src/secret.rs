//! Text that must not be shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password, key or token. It is written to the store, but `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new random secret of 32 hexadecimal digits.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The text itself; never log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}

/// What is kept of a secret: its text sealed with the keys of the installation. Where it lies nobody without those keys learns it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl Sealed {
    /// Wraps what a [`Sealer`] made.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The sealed text, which only a [`Sealer`] can open.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}

/// Seals secrets before they are kept, and opens what was sealed: the keys of the installation, whatever they are.
pub trait Sealer: Send + Sync {
    /// Seals a secret.
    ///
    /// # Errors
    /// The keys cannot be used.
    fn seal(&self, secret: &Secret) -> Result<Sealed, SealError>;

    /// Opens what any of the installation's keys sealed.
    ///
    /// # Errors
    /// None of the keys sealed it, or it is no text.
    fn open(&self, sealed: &Sealed) -> Result<Secret, SealError>;
}

/// Why something cannot be sealed or opened. The text says nothing of the secret or the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SealError(pub String);

/// A free-form map of settings some of which are secret, such as a node's `driver_info`. `Debug` and [`Settings::masked`]
/// hide the values whose keys name a secret.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub serde_json::Map<String, serde_json::Value>);

impl Settings {
    /// Whether a key names a secret.
    pub fn is_secret(key: &str) -> bool {
        ["password", "secret", "token", "private_key", "community"].iter().any(|word| key.to_ascii_lowercase().contains(word))
    }

    /// A copy in which secrets read `******`, as Ironic shows them.
    pub fn masked(&self) -> serde_json::Map<String, serde_json::Value> {
        self.0.iter().map(|(k, v)| (k.clone(), if Self::is_secret(k) { "******".into() } else { v.clone() })).collect()
    }

    /// The text at `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|it| it.as_str())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.masked().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let settings: Settings = serde_json::from_str(r#"{"redfish_password": "hunter2", "redfish_address": "http://x"}"#).unwrap();
        assert!(!format!("{settings:?} {:?} {:?}", Secret::new("hunter2"), Sealed::new("hunter2")).contains("hunter2"));
        assert_eq!(settings.masked()["redfish_address"], "http://x");
    }
}
