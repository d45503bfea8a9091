//! The attestation key: the TPM's own public area, what it must be, and checking a signature with it.
//!
//! Source: TPM 2.0 Library, part 2, 12.2.4 (`TPMT_PUBLIC`), 11.3.4 (`TPMT_SIGNATURE`), 8.3 (`TPMA_OBJECT`), 6.4 (curves).

use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};

use crate::bytes::{Malformed, Reader};

const ALG_RSA: u16 = 0x0001;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_RSASSA: u16 = 0x0014;
const ALG_RSAPSS: u16 = 0x0016;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const CURVE_P256: u16 = 0x0003;
/// The exponent that 0 stands for.
const DEFAULT_EXPONENT: u32 = 65537;

/// The key cannot leave this TPM.
const FIXED_TPM: u32 = 1 << 1;
/// Nor be moved under another parent.
const FIXED_PARENT: u32 = 1 << 4;
/// Its private half was made by the TPM.
const ORIGIN_TPM: u32 = 1 << 5;
/// It signs only what the TPM itself has made, or what cannot be taken for that.
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// Why a public area is not one of a key that may attest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no `TPMT_PUBLIC`.
    #[error("the public area of the attestation key cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// It is neither ECDSA on P-256 nor RSA of 2,048 bits or more, with SHA-256.
    #[error("the attestation key is of a kind that is not accepted (ECDSA P-256 and RSA with SHA-256 are)")]
    Kind,
    /// It is not held by a TPM, or would sign what an intruder writes.
    #[error("the attestation key is not a restricted signing key made in, and fixed to, a TPM")]
    Attributes,
}

enum Numbers {
    /// The uncompressed point, with its leading 4.
    P256([u8; 65]),
    Rsa {
        modulus: Vec<u8>,
        exponent: [u8; 4],
    },
}

/// A public key that may attest.
pub struct AttestationKey {
    numbers: Numbers,
}

impl AttestationKey {
    /// Reads a `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(public: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader(public);
        let kind = reader.u16()?;
        let name_algorithm = reader.u16()?;
        let attributes = reader.u32()?;
        let _policy = reader.sized()?;
        let symmetric = reader.u16()?;
        if name_algorithm != ALG_SHA256 || symmetric != ALG_NULL {
            return Err(KeyError::Kind);
        }
        let needed = FIXED_TPM | FIXED_PARENT | ORIGIN_TPM | RESTRICTED | SIGN;
        if attributes & needed != needed || attributes & DECRYPT != 0 {
            return Err(KeyError::Attributes);
        }
        let scheme = reader.u16()?;
        let hash = reader.u16()?;
        let numbers = match (kind, scheme) {
            (ALG_ECC, ALG_ECDSA) => {
                let (curve, derivation) = (reader.u16()?, reader.u16()?);
                if curve != CURVE_P256 || derivation != ALG_NULL {
                    return Err(KeyError::Kind);
                }
                let mut point = [4_u8; 65];
                let (x, y) = (padded(reader.sized()?)?, padded(reader.sized()?)?);
                for (place, byte) in point.iter_mut().skip(1).zip(x.into_iter().chain(y)) {
                    *place = byte;
                }
                Numbers::P256(point)
            }
            (ALG_RSA, ALG_RSASSA | ALG_RSAPSS) => {
                let _bits = reader.u16()?;
                let exponent = match reader.u32()? {
                    0 => DEFAULT_EXPONENT,
                    exponent => exponent,
                };
                Numbers::Rsa { modulus: reader.sized()?.to_vec(), exponent: exponent.to_be_bytes() }
            }
            _ => return Err(KeyError::Kind),
        };
        reader.end()?;
        if hash != ALG_SHA256 {
            return Err(KeyError::Kind);
        }
        Ok(Self { numbers })
    }

    /// Whether `signature`, a `TPMT_SIGNATURE`, is this key's signature of `message`. Bytes of any other form are none.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.check(message, signature).unwrap_or(false)
    }

    fn check(&self, message: &[u8], signature: &[u8]) -> Result<bool, Malformed> {
        let mut reader = Reader(signature);
        let (scheme, hash) = (reader.u16()?, reader.u16()?);
        if hash != ALG_SHA256 {
            return Ok(false);
        }
        match (&self.numbers, scheme) {
            (Numbers::P256(point), ALG_ECDSA) => {
                let (r, s) = (padded(reader.sized()?)?, padded(reader.sized()?)?);
                reader.end()?;
                let fixed: Vec<u8> = r.into_iter().chain(s).collect();
                let key = ring::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                Ok(key.verify(message, &fixed).is_ok())
            }
            (Numbers::Rsa { modulus, exponent }, ALG_RSASSA | ALG_RSAPSS) => {
                let signature = reader.sized()?;
                reader.end()?;
                let parameters = if scheme == ALG_RSASSA { &RSA_PKCS1_2048_8192_SHA256 } else { &RSA_PSS_2048_8192_SHA256 };
                let key = RsaPublicKeyComponents { n: trimmed(modulus), e: trimmed(exponent) };
                Ok(key.verify(parameters, message, signature).is_ok())
            }
            _ => Ok(false),
        }
    }
}

/// A number of at most 32 bytes, with the zeros that a TPM may leave out in front.
fn padded(bytes: &[u8]) -> Result<[u8; 32], Malformed> {
    let bytes = trimmed(bytes);
    let lead = 32_usize.checked_sub(bytes.len()).ok_or(Malformed)?;
    let mut whole = [0; 32];
    for (place, byte) in whole.iter_mut().skip(lead).zip(bytes) {
        *place = *byte;
    }
    Ok(whole)
}

fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}
