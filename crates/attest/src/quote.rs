//! A quote: the TPM's signed word on what its registers hold.
//!
//! Source: TPM 2.0 Library, part 2, 10.12.8 (`TPMS_ATTEST`), 10.12.1 (`TPMS_QUOTE_INFO`), 10.6 (`TPMS_PCR_SELECTION`).

use std::collections::BTreeSet;

use crate::bytes::{Malformed, Reader};

/// First bytes of everything a TPM makes and signs; a restricted key signs nothing else that begins so.
const MAGIC: u32 = 0xff54_4347;
const TYPE_QUOTE: u16 = 0x8018;
const ALG_SHA256: u16 = 0x000b;
/// Banks of registers that a TPM may have; each selection names one.
const MAX_BANKS: u32 = 16;

/// Why a statement is not a quote of the SHA-256 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// It is no `TPMS_ATTEST`.
    #[error("the quote cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// It does not begin as a TPM's own statements do.
    #[error("the quote was not made by a TPM")]
    Magic,
    /// It is a statement about something else.
    #[error("the statement is no quote")]
    Kind,
    /// It is about another bank than SHA-256, or about several.
    #[error("the quote is not about the SHA-256 bank of registers alone")]
    Bank,
}

/// What a quote says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// `extraData`: the nonce it was asked for with.
    pub nonce: &'a [u8],
    /// The registers it is about.
    pub registers: BTreeSet<u8>,
    /// SHA-256 of their values, in ascending order of their numbers.
    pub digest: &'a [u8],
    /// How often this TPM was reset (the machine started): rises, and a signed quote cannot hide it.
    pub reset_count: u32,
    /// How often the machine came back from sleep since.
    pub restart_count: u32,
    /// Version of the TPM's firmware, as its maker counts.
    pub firmware_version: u64,
}

impl<'a> Quote<'a> {
    /// Reads a `TPMS_ATTEST`.
    ///
    /// # Errors
    /// [`QuoteError`].
    pub fn parse(attest: &'a [u8]) -> Result<Self, QuoteError> {
        let mut reader = Reader(attest);
        if reader.u32()? != MAGIC {
            return Err(QuoteError::Magic);
        }
        if reader.u16()? != TYPE_QUOTE {
            return Err(QuoteError::Kind);
        }
        let _signer = reader.sized()?;
        let nonce = reader.sized()?;
        let _clock = reader.u64()?;
        let (reset_count, restart_count) = (reader.u32()?, reader.u32()?);
        let _safe = reader.u8()?;
        let firmware_version = reader.u64()?;
        let registers = selection(&mut reader)?;
        let digest = reader.sized()?;
        reader.end()?;
        Ok(Self { nonce, registers, digest, reset_count, restart_count, firmware_version })
    }
}

fn selection(reader: &mut Reader<'_>) -> Result<BTreeSet<u8>, QuoteError> {
    let banks = reader.u32()?;
    if banks > MAX_BANKS {
        return Err(QuoteError::Bank);
    }
    let mut registers = BTreeSet::new();
    for _ in 0..banks {
        let (hash, octets) = (reader.u16()?, reader.u8()?);
        let mask = reader.take(usize::from(octets))?;
        let chosen =
            mask.iter().zip(0_u8..32).flat_map(|(byte, at)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit));
        let chosen: BTreeSet<u8> = chosen.collect();
        // A bank of which nothing was chosen says nothing.
        if chosen.is_empty() {
            continue;
        }
        if hash != ALG_SHA256 || !registers.is_empty() {
            return Err(QuoteError::Bank);
        }
        registers = chosen;
    }
    Ok(registers)
}
