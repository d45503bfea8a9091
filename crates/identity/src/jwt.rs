//! Tokens of external OpenID providers: a compact JWS (RFC 7515) with claims (RFC 7519), checked with a key set (RFC 7517).
//!
//! Only asymmetric algorithms exist here, so neither `none` nor a public key used as an HMAC secret can pass.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest key set that is read.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;
/// The most keys of a set that are kept.
pub const MAX_KEYS: usize = 64;
/// Seconds by which clocks may differ.
pub const LEEWAY_SECONDS: i64 = 60;

/// Why a token or a key set is refused. The texts hold nothing of the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwtError {
    /// More than [`MAX_TOKEN_BYTES`] or [`MAX_JWKS_BYTES`].
    #[error("too long")]
    TooLong,
    /// Not three parts of base64url, the first two of which are JSON objects.
    #[error("not a compact JSON web token")]
    Malformed,
    /// Not a JSON object with a list of `keys`.
    #[error("not a JSON web key set")]
    BadKeySet,
    /// `none`, an HMAC, or one unknown here.
    #[error("the signature algorithm is not accepted")]
    Algorithm,
    /// The header has extensions that must be understood.
    #[error("the header has critical extensions")]
    Critical,
    /// The set has no key of that id for that algorithm. The provider may have changed its keys: fetch the set again.
    #[error("no key of the provider fits the token")]
    NoKey,
    /// The signature is not the one of the key.
    #[error("the signature is wrong")]
    Signature,
    /// `iss` is not the provider.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` has none of the accepted audiences.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` is absent or passed.
    #[error("the token is expired or never expires")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYet,
}

/// What the claims must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The exact `iss`.
    pub issuer: &'a str,
    /// One of these must be in `aud`. An empty list accepts no token.
    pub audiences: &'a [String],
    /// The present.
    pub now: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The public keys of a provider.
#[derive(Clone, Debug, Default)]
pub struct Jwks {
    keys: Vec<Key>,
}

impl Jwks {
    /// Reads a key set. Keys that cannot check signatures here (other types, curves, algorithms or uses) are left out, and so are those
    /// after the first [`MAX_KEYS`].
    ///
    /// # Errors
    /// [`JwtError::TooLong`] or [`JwtError::BadKeySet`].
    pub fn parse(text: &str) -> Result<Self, JwtError> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(JwtError::TooLong);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| JwtError::BadKeySet)?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or(JwtError::BadKeySet)?;
        Ok(Self { keys: keys.iter().filter_map(Key::parse).take(MAX_KEYS).collect() })
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Key {
    fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            // An uncompressed point of SEC 1: 4, x, y.
            (x.len() == length && y.len() == length).then(|| [vec![4], x, y].concat())
        };
        if text("use").is_some_and(|it| it != "sig") {
            return None;
        }
        if let Some(operations) = value.get("key_ops")
            && !operations.as_array()?.iter().any(|it| it == "verify")
        {
            return None;
        }
        let algorithm = match value.get("alg") {
            None | Some(Value::Null) => None,
            Some(name) => Some(Algorithm::parse(name.as_str()?)?),
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let unsigned = |bytes: Vec<u8>| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
                Material::Rsa { n: unsigned(bytes("n")?), e: unsigned(bytes("e")?) }
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Self { id: text("kid").map(str::to_owned), algorithm, material })
    }

    fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let kind = match self.material {
            Material::Rsa { .. } => {
                use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
                matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
            }
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        kind && self.algorithm.is_none_or(|own| own == algorithm) && id.is_none_or(|id| self.id.as_deref() == Some(id))
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        let rsa = match algorithm {
            Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        let result = match &self.material {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(rsa, message, signed),
            Material::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signed),
            Material::P384(point) => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signed),
            Material::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signed),
        };
        result.is_ok()
    }
}

/// Checks signature and claims of a token and returns its claims.
///
/// The key is the one with the `kid` of the header (without one, every key of the right type is tried).
///
/// # Errors
/// The first thing that is wrong: form, algorithm, key, signature, issuer, audience, times.
pub fn verify(keys: &Jwks, token: &str, expected: &Expected<'_>) -> Result<Map<String, Value>, JwtError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwtError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
    let header = object(header)?;
    if header.contains_key("crit") {
        return Err(JwtError::Critical);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse).ok_or(JwtError::Algorithm)?;
    let id = match header.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().ok_or(JwtError::Malformed)?),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Malformed)?;
    let mut fitting = keys.keys.iter().filter(|key| key.fits(id, algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(JwtError::NoKey);
    }
    if !fitting.any(|key| key.verifies(algorithm, signed.as_bytes(), &signature)) {
        return Err(JwtError::Signature);
    }
    let claims = object(claims)?;
    check_claims(&claims, expected)?;
    Ok(claims)
}

fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed)
}

fn check_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), JwtError> {
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(JwtError::Issuer);
    }
    let accepted = |audience: &Value| audience.as_str().is_some_and(|it| expected.audiences.iter().any(|own| own == it));
    match claims.get("aud") {
        Some(Value::Array(list)) if list.iter().any(accepted) => {}
        Some(single) if accepted(single) => {}
        _ => return Err(JwtError::Audience),
    }
    // Claims may have fractions of seconds; rounding down is well within the leeway.
    #[expect(clippy::cast_possible_truncation, reason = "from float to integer saturates")]
    let moment = |name: &str, error: JwtError| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().or_else(|| value.as_f64().map(|it| it.floor() as i64)).map(Some).ok_or(error),
    };
    let now = expected.now.0.div_euclid(1_000_000);
    let expires = moment("exp", JwtError::Expired)?.ok_or(JwtError::Expired)?;
    if now >= expires.saturating_add(LEEWAY_SECONDS) {
        return Err(JwtError::Expired);
    }
    for name in ["nbf", "iat"] {
        if moment(name, JwtError::NotYet)?.is_some_and(|at| at > now.saturating_add(LEEWAY_SECONDS)) {
            return Err(JwtError::NotYet);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
