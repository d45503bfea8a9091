//! Which values which registers may have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{AttestError, Register, unhex};

/// A TPM of a computer has 24 registers (TCG PC Client Platform TPM Profile).
const REGISTERS: u8 = 24;

/// Registers and the values that each may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pcrs: BTreeMap<u8, BTreeSet<Register>>,
}

/// Why a policy cannot be used; for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It has no registers at all: it would prove nothing.
    #[error("an attestation policy needs \"pcrs\", an object of registers and the values allowed for each")]
    Empty,
    /// A register that no machine has.
    #[error("\"{0}\" is no number of a register (0 to 23)")]
    Number(String),
    /// No value, or one that is no digest.
    #[error("register {0} needs a list of SHA-256 digests in hexadecimal")]
    Values(u8),
}

impl Policy {
    /// Reads `{"pcrs": {"0": ["hex"…]…}}`. A register may have one value instead of a list.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn from_json(policy: &Value) -> Result<Self, PolicyError> {
        let named = policy.get("pcrs").and_then(Value::as_object).filter(|it| !it.is_empty()).ok_or(PolicyError::Empty)?;
        let mut pcrs = BTreeMap::new();
        for (number, values) in named {
            let parsed = number.parse::<u8>().ok().filter(|it| *it < REGISTERS);
            let number = parsed.ok_or_else(|| PolicyError::Number(number.chars().take(40).collect()))?;
            let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
            let values: Option<BTreeSet<Register>> = values.iter().map(|it| it.as_str().and_then(unhex)).collect();
            let values = values.filter(|it| !it.is_empty()).ok_or(PolicyError::Values(number))?;
            pcrs.insert(number, values);
        }
        Ok(Self { pcrs })
    }

    /// What both allow: an image's policy and a node's hold together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (number, values) in &other.pcrs {
            self.pcrs.entry(*number).and_modify(|mine| mine.retain(|it| values.contains(it))).or_insert_with(|| values.clone());
        }
        self
    }

    /// The registers to have quoted.
    pub fn registers(&self) -> impl Iterator<Item = u8> + '_ {
        self.pcrs.keys().copied()
    }

    /// Whether each register that is named holds a value that is allowed.
    ///
    /// # Errors
    /// [`AttestError::Absent`] or [`AttestError::Refused`] for the first that does not.
    pub fn allows(&self, shown: &BTreeMap<u8, Register>) -> Result<(), AttestError> {
        for (number, values) in &self.pcrs {
            let value = shown.get(number).ok_or(AttestError::Absent(*number))?;
            if !values.contains(value) {
                return Err(AttestError::Refused { number: *number, value: *value });
            }
        }
        Ok(())
    }
}
