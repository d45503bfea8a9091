//! Whether a machine has started what it should have: judges a quote of its TPM 2.0.
//!
//! Pure: bytes and a policy in, a verdict out; no clock, no device, no network. Nothing here panics, whatever the bytes are: they
//! come from a machine that is not trusted yet. A machine is believed only if all of this holds: the key is a restricted key of a
//! TPM and the very one known for the machine; the quote answers the nonce of this asking; its signature is that key's; the values
//! shown are those that were quoted; and each register that the policy names holds one of the values that it allows.
//!
//! Absent: proof by the TPM maker's certificate that the key lies in a real TPM. The key is enrolled by an operator or taken at the
//! first inspection, as a host key of SSH is.

pub mod bytes;
mod key;
mod policy;
mod quote;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub use key::{AttestationKey, KeyError};
pub use policy::{Policy, PolicyError};
pub use quote::{Quote, QuoteError};

/// Value of a register of the SHA-256 bank.
pub type Register = [u8; 32];

/// What a machine shows: the result of the agent's command `attest.quote`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The attestation key, a `TPMT_PUBLIC`.
    pub public: Vec<u8>,
    /// The quote, a `TPMS_ATTEST`.
    pub quote: Vec<u8>,
    /// Its signature, a `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// Values of the registers, by number.
    pub pcrs: BTreeMap<u8, Register>,
}

/// What is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The key in the form it is pinned in: base64 of its `TPMT_PUBLIC`.
    pub key: String,
    /// The values quoted, by number.
    pub pcrs: BTreeMap<u8, Register>,
    /// How often the TPM was reset.
    pub reset_count: u32,
}

/// Why a machine is not believed. The texts are for the node's history; they hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// What the agent answered is not of the agreed form.
    #[error("the answer of attest.quote cannot be used: {0}")]
    Answer(&'static str),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The quote.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// Another key than the one known for this machine.
    #[error("the machine's attestation key is not the one that was enrolled")]
    OtherKey,
    /// No key is known for this machine.
    #[error("no attestation key is enrolled for the machine")]
    NoKey,
    /// The quote answers another asking.
    #[error("the quote does not answer this request (its nonce differs)")]
    Nonce,
    /// The signature is not the key's.
    #[error("the signature of the quote is not that of the attestation key")]
    Signature,
    /// The quote is not about exactly the registers shown.
    #[error("the registers shown are not those that were quoted")]
    Registers,
    /// The values shown are not those quoted.
    #[error("the values of the registers are not those that were quoted")]
    Digest,
    /// A register that the policy names was not quoted.
    #[error("register {0} was not quoted, and the policy asks for it")]
    Absent(u8),
    /// A register holds what the policy does not allow.
    #[error("register {number} holds {}, which the policy does not allow", hex(value))]
    Refused {
        /// Its number.
        number: u8,
        /// What it holds.
        value: Register,
    },
}

/// Which key is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust<'a> {
    /// This one, in base64 of its `TPMT_PUBLIC`: `driver_info.tpm_attestation_key`.
    Pinned(&'a str),
    /// Whichever the machine shows now; the caller stores [`Attested::key`] and pins it from then on.
    FirstUse,
}

impl Evidence {
    /// Reads the result of `attest.quote`: `{"public", "quote", "signature"}` in base64 and `{"pcrs": {"0": "hex"…}}`.
    ///
    /// # Errors
    /// [`AttestError::Answer`].
    pub fn from_json(answer: &Value) -> Result<Self, AttestError> {
        let blob = |key: &str, why: &'static str| {
            let text = answer.get(key).and_then(Value::as_str).ok_or(AttestError::Answer(why))?;
            STANDARD.decode(text).map_err(|_| AttestError::Answer(why))
        };
        let shown = answer.get("pcrs").and_then(Value::as_object).ok_or(AttestError::Answer("pcrs is missing or no object"))?;
        let mut pcrs = BTreeMap::new();
        for (number, value) in shown {
            let number = number.parse().map_err(|_| AttestError::Answer("a key of pcrs is no number of a register"))?;
            let value = value.as_str().and_then(unhex).ok_or(AttestError::Answer("a value of pcrs is no SHA-256 in hexadecimal"))?;
            pcrs.insert(number, value);
        }
        Ok(Self {
            public: blob("public", "public is missing or not base64")?,
            quote: blob("quote", "quote is missing or not base64")?,
            signature: blob("signature", "signature is missing or not base64")?,
            pcrs,
        })
    }
}

/// Judges `evidence`, which a machine gave when asked with `nonce`, by `policy`.
///
/// # Errors
/// [`AttestError`]: the first reason not to believe the machine.
pub fn verify(evidence: &Evidence, nonce: &[u8], trust: Trust<'_>, policy: &Policy) -> Result<Attested, AttestError> {
    let shown = STANDARD.encode(&evidence.public);
    match trust {
        Trust::Pinned("") => return Err(AttestError::NoKey),
        Trust::Pinned(pinned) if pinned.trim() != shown => return Err(AttestError::OtherKey),
        Trust::Pinned(_) | Trust::FirstUse => {}
    }
    let key = AttestationKey::parse(&evidence.public)?;
    // The signature first: nothing is taken from a statement that is nobody's.
    if !key.verifies(&evidence.quote, &evidence.signature) {
        return Err(AttestError::Signature);
    }
    let quote = Quote::parse(&evidence.quote)?;
    // An empty nonce would accept every quote ever made without one.
    if nonce.is_empty() || quote.nonce != nonce {
        return Err(AttestError::Nonce);
    }
    if quote.registers != evidence.pcrs.keys().copied().collect::<BTreeSet<u8>>() {
        return Err(AttestError::Registers);
    }
    let values: Vec<u8> = evidence.pcrs.values().flatten().copied().collect();
    if ring::digest::digest(&ring::digest::SHA256, &values).as_ref() != quote.digest {
        return Err(AttestError::Digest);
    }
    policy.allows(&evidence.pcrs)?;
    Ok(Attested { key: shown, pcrs: evidence.pcrs.clone(), reset_count: quote.reset_count })
}

/// A nonce that whoever knows `parts` makes again, and nobody else guesses as long as one of them is secret and of this boot alone
/// (the agent's token): so nothing has to be remembered between asking and judging.
pub fn nonce(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"cofferdam attest.quote 1");
    for part in parts {
        // With its length, so that no part can borrow from the next.
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// Lower case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A register's value of 64 hexadecimal digits.
fn unhex(text: &str) -> Option<Register> {
    let digits: Vec<u32> = text.chars().map(|it| it.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
