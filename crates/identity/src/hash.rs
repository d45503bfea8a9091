//! Password hashes in the text forms of Keystone's user table (`keystone/common/password_hashers`), and Argon2id in that of its
//! reference implementation. Hashing takes tens to hundreds of milliseconds by design: call it off the async threads.
//!
//! A hash that comes from elsewhere names its own cost. What would take more than a GiB of memory or much more than a second is
//! refused, not computed.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac as _};
use model::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// Why a password cannot be hashed, or not be compared with a hash. Neither is ever in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The password is longer than allowed.
    #[error("the password length must be less than or equal to {limit}")]
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// The hash begins like one that is known, but is none.
    #[error("the stored hash of the password is malformed")]
    Malformed,
    /// The hash is of an algorithm that is not known.
    #[error("the stored hash of the password is of an unknown kind")]
    Unsupported,
    /// Computing the hash would take too much memory or time.
    #[error("the {0} of the hash of the password is beyond what is allowed")]
    Cost(&'static str),
    /// The system gave no random numbers.
    #[error("no random numbers for a salt")]
    Random,
}

/// A way of hashing passwords; named as in Keystone's `[identity] password_hash_algorithm`, which has no `argon2id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// bcrypt, Keystone's default. It reads 72 bytes and no more.
    #[default]
    Bcrypt,
    /// bcrypt of an HMAC of the password, so that its length does not matter.
    BcryptSha256,
    /// scrypt.
    Scrypt,
    /// PBKDF2 with HMAC-SHA-512.
    #[serde(rename = "pbkdf2_sha512")]
    Pbkdf2Sha512,
    /// Argon2id, version 1.3.
    Argon2id,
}

/// How new passwords are hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// bcrypt: binary logarithm of the rounds, 4 to 18, usually 12. scrypt: binary logarithm of N, 1 to 20, usually 16 (Keystone
    /// always takes 16). PBKDF2: rounds, usually 25000. Argon2id: passes, usually 2.
    pub rounds: Option<u32>,
    /// Bytes of salt for scrypt, PBKDF2 and Argon2id: 8 to 96, usually 16.
    pub salt_bytes: usize,
    /// scrypt's r.
    pub scrypt_block_size: u32,
    /// scrypt's p.
    pub scrypt_parallelism: u32,
    /// Argon2id's memory in KiB.
    pub argon2_memory_kib: u32,
    /// Argon2id's lanes.
    pub argon2_parallelism: u32,
    /// Longest password, in bytes; 4096 at most. With bcrypt it is 72 at most.
    pub max_password_length: usize,
    /// Whether a longer password is refused. Otherwise what is beyond 72 bytes with bcrypt, or 4096, is forgotten, as Keystone does
    /// by default; passwords taken over from it may need that.
    pub strict_password_check: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Bcrypt,
            rounds: None,
            salt_bytes: 16,
            scrypt_block_size: 8,
            scrypt_parallelism: 1,
            argon2_memory_kib: 19_456,
            argon2_parallelism: 1,
            max_password_length: LONGEST_PASSWORD,
            strict_password_check: true,
        }
    }
}

/// Longest password of all, in bytes; Keystone's `[identity] max_password_length` ends there too.
const LONGEST_PASSWORD: usize = 4096;
/// What bcrypt reads of a password, in bytes.
const BCRYPT_READS: usize = 72;
/// No hash is longer: Keystone's column holds 255 characters.
const LONGEST_HASH: usize = 255;
/// Bounds of what is computed. Each is at least ten times the default.
mod most {
    pub(super) const BCRYPT_COST: u32 = 18;
    /// 128 * r * (N + p), and Argon2's memory.
    pub(super) const MEMORY: u64 = 1 << 30;
    /// N * r * p.
    pub(super) const SCRYPT_WORK: u64 = 1 << 24;
    pub(super) const PBKDF2_ROUNDS: u32 = 5_000_000;
    /// Passes times KiB.
    pub(super) const ARGON2_WORK: u64 = 1 << 23;
}
/// Base64 as Keystone reads it: bits beyond the last whole byte do not matter.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A hash, taken apart; within the bounds.
#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    Bcrypt { cost: u32 },
    BcryptSha256 { cost: u32, salt: &'a str, digest: &'a str },
    Scrypt { params: ScryptCost, salt: Vec<u8>, digest: Vec<u8> },
    Pbkdf2Sha512 { rounds: u32, salt: Vec<u8>, digest: Vec<u8> },
    Argon2id { params: Argon2Cost, salt: Vec<u8>, digest: Vec<u8> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScryptCost {
    log_n: u32,
    r: u32,
    p: u32,
}

impl ScryptCost {
    fn derive(self, password: &[u8], salt: &[u8]) -> Result<[u8; 32], HashError> {
        let params = self.check()?;
        let mut out = [0; 32];
        scrypt::scrypt(password, salt, &params, &mut out).map_err(|_| HashError::Malformed)?;
        Ok(out)
    }

    fn check(self) -> Result<scrypt::Params, HashError> {
        let (r, p) = (u64::from(self.r), u64::from(self.p));
        let n = if (1..=20).contains(&self.log_n) { 1_u64 << self.log_n } else { return Err(HashError::Cost("work factor")) };
        if r.checked_mul(128).and_then(|it| it.checked_mul(n.saturating_add(p))).is_none_or(|it| it > most::MEMORY) {
            return Err(HashError::Cost("memory"));
        }
        if n.checked_mul(r).and_then(|it| it.checked_mul(p)).is_none_or(|it| it > most::SCRYPT_WORK) {
            return Err(HashError::Cost("work factor"));
        }
        let log_n = u8::try_from(self.log_n).map_err(|_| HashError::Malformed)?;
        scrypt::Params::new(log_n, self.r, self.p, 32).map_err(|_| HashError::Malformed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Cost {
    fn derive(self, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), HashError> {
        let params = self.check(out.len())?;
        let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        argon2.hash_password_into(password, salt, out).map_err(|_| HashError::Malformed)
    }

    fn check(self, len: usize) -> Result<argon2::Params, HashError> {
        if u64::from(self.memory_kib) > most::MEMORY / 1024 {
            return Err(HashError::Cost("memory"));
        }
        if self.lanes > 64 {
            return Err(HashError::Cost("parallelism"));
        }
        if u64::from(self.passes) * u64::from(self.memory_kib) > most::ARGON2_WORK {
            return Err(HashError::Cost("work factor"));
        }
        argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(len)).map_err(|_| HashError::Malformed)
    }
}

fn bcrypt_cost(cost: u32) -> Result<u32, HashError> {
    match cost {
        0..4 => Err(HashError::Malformed),
        4..=most::BCRYPT_COST => Ok(cost),
        _ => Err(HashError::Cost("work factor")),
    }
}

fn pbkdf2_rounds(rounds: u32) -> Result<u32, HashError> {
    match rounds {
        0 => Err(HashError::Malformed),
        1..=most::PBKDF2_ROUNDS => Ok(rounds),
        _ => Err(HashError::Cost("work factor")),
    }
}

/// The number after `name=` in `name=1,other=2`.
fn number(params: &str, name: &str) -> Result<u32, HashError> {
    let digits = params.split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).ok_or(HashError::Malformed)?;
    digits.parse().map_err(|_| HashError::Malformed)
}

fn bytes(text: &str) -> Result<Vec<u8>, HashError> {
    // passlib, which Keystone had before, writes a dot for a plus.
    LENIENT.decode(text.replace('.', "+")).map_err(|_| HashError::Malformed)
}

fn parse(hash: &str) -> Result<Parsed<'_>, HashError> {
    if hash.len() > LONGEST_HASH {
        return Err(HashError::Malformed);
    }
    let parts: Vec<&str> = hash.split('$').collect();
    match parts.as_slice() {
        ["", "2a" | "2b" | "2x" | "2y", cost, rest] => {
            if rest.len() != 53 || cost.len() != 2 {
                return Err(HashError::Malformed);
            }
            Ok(Parsed::Bcrypt { cost: bcrypt_cost(cost.parse().map_err(|_| HashError::Malformed)?)? })
        }
        ["", "bcrypt-sha256", params, salt, digest] => {
            // Version 1 of passlib, which Keystone does not read either, has no `v`.
            if number(params, "v")? != 2 || !params.split(',').any(|it| matches!(it, "t=2a" | "t=2b")) {
                return Err(HashError::Unsupported);
            }
            if salt.len() != 22 || digest.len() != 31 {
                return Err(HashError::Malformed);
            }
            Ok(Parsed::BcryptSha256 { cost: bcrypt_cost(number(params, "r")?)?, salt, digest })
        }
        ["", "scrypt", params, salt, digest] => {
            let params = ScryptCost { log_n: number(params, "ln")?, r: number(params, "r")?, p: number(params, "p")? };
            params.check()?;
            Ok(Parsed::Scrypt { params, salt: bytes(salt)?, digest: bytes(digest)? })
        }
        ["", "pbkdf2-sha512", rounds, salt, digest] => {
            let rounds = pbkdf2_rounds(rounds.parse().map_err(|_| HashError::Malformed)?)?;
            Ok(Parsed::Pbkdf2Sha512 { rounds, salt: bytes(salt)?, digest: bytes(digest)? })
        }
        ["", "argon2id", "v=19", params, salt, digest] => {
            let params = Argon2Cost { memory_kib: number(params, "m")?, passes: number(params, "t")?, lanes: number(params, "p")? };
            let digest = bytes(digest)?;
            params.check(digest.len())?;
            Ok(Parsed::Argon2id { params, salt: bytes(salt)?, digest })
        }
        ["", _, _, ..] => Err(HashError::Unsupported),
        _ => Err(HashError::Malformed),
    }
}

/// What stands for the password in `bcrypt-sha256`: the HMAC under the salt's text, in base64.
fn bcrypt_sha256_input(password: &[u8], salt: &str) -> Result<String, HashError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).map_err(|_| HashError::Malformed)?;
    mac.update(password);
    Ok(STANDARD.encode(mac.finalize().into_bytes()))
}

fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 64] {
    let mut out = [0; 64];
    pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut out);
    out
}

fn random(len: usize) -> Result<Vec<u8>, HashError> {
    if !(8..=96).contains(&len) {
        return Err(HashError::Cost("length of the salt"));
    }
    let mut salt = vec![0; len];
    getrandom::fill(&mut salt).map_err(|_| HashError::Random)?;
    Ok(salt)
}

fn bcrypt_salt() -> Result<[u8; 16], HashError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| HashError::Random)?;
    Ok(salt)
}

impl Settings {
    fn cost(&self) -> u32 {
        let usual = match self.algorithm {
            Algorithm::Bcrypt | Algorithm::BcryptSha256 => 12,
            Algorithm::Scrypt => 16,
            Algorithm::Pbkdf2Sha512 => 25_000,
            Algorithm::Argon2id => 2,
        };
        self.rounds.unwrap_or(usual)
    }

    fn scrypt(&self) -> ScryptCost {
        ScryptCost { log_n: self.cost(), r: self.scrypt_block_size, p: self.scrypt_parallelism }
    }

    fn argon2(&self) -> Argon2Cost {
        Argon2Cost { memory_kib: self.argon2_memory_kib, passes: self.cost(), lanes: self.argon2_parallelism }
    }

    /// Longest password, in bytes.
    pub fn limit(&self) -> usize {
        let most = if self.algorithm == Algorithm::Bcrypt { BCRYPT_READS } else { LONGEST_PASSWORD };
        self.max_password_length.min(most)
    }

    /// Whether hashing with these settings works at all; to be asked when they are read.
    ///
    /// # Errors
    /// [`HashError::Cost`] or [`HashError::Malformed`] for costs out of bounds.
    pub fn check(&self) -> Result<(), HashError> {
        match self.algorithm {
            Algorithm::Bcrypt | Algorithm::BcryptSha256 => bcrypt_cost(self.cost()).map(drop)?,
            Algorithm::Scrypt => self.scrypt().check().map(drop)?,
            Algorithm::Pbkdf2Sha512 => pbkdf2_rounds(self.cost()).map(drop)?,
            Algorithm::Argon2id => self.argon2().check(32).map(drop)?,
        }
        if (8..=96).contains(&self.salt_bytes) { Ok(()) } else { Err(HashError::Cost("length of the salt")) }
    }
}

/// A new hash of a password.
///
/// # Errors
/// If the password is too long, or the settings are out of bounds.
pub fn hash(settings: &Settings, password: &Secret) -> Result<Secret, HashError> {
    let limit = settings.limit();
    let password = match password.reveal().as_bytes() {
        whole if whole.len() <= limit => whole,
        // Comparing cuts there and nowhere else: what is longer than a lower limit could never be compared again.
        whole if !settings.strict_password_check && (limit == BCRYPT_READS || limit == LONGEST_PASSWORD) => {
            whole.get(..limit).unwrap_or(whole)
        }
        _ => return Err(HashError::TooLong { limit }),
    };
    settings.check()?;
    let text = match settings.algorithm {
        Algorithm::Bcrypt => {
            let parts = bcrypt::hash_with_salt(password, settings.cost(), bcrypt_salt()?).map_err(|_| HashError::Malformed)?;
            parts.format_for_version(bcrypt::Version::TwoB)
        }
        Algorithm::BcryptSha256 => {
            let salt = bcrypt_salt()?;
            let salt_text = BCRYPT_BASE64.encode(salt);
            let input = bcrypt_sha256_input(password, &salt_text)?;
            let parts = bcrypt::hash_with_salt(input, settings.cost(), salt).map_err(|_| HashError::Malformed)?;
            let whole = parts.format_for_version(bcrypt::Version::TwoB);
            let digest = whole.len().checked_sub(31).and_then(|at| whole.get(at..)).ok_or(HashError::Malformed)?;
            format!("$bcrypt-sha256$v=2,t=2b,r={}${salt_text}${digest}", settings.cost())
        }
        Algorithm::Scrypt => {
            let (cost, salt) = (settings.scrypt(), random(settings.salt_bytes)?);
            let digest = cost.derive(password, &salt)?;
            let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
            format!("$scrypt$ln={},r={},p={}${salt}${digest}", cost.log_n, cost.r, cost.p)
        }
        Algorithm::Pbkdf2Sha512 => {
            let salt = random(settings.salt_bytes)?;
            let digest = STANDARD_NO_PAD.encode(pbkdf2(password, &salt, settings.cost()));
            format!("$pbkdf2-sha512${}${}${digest}", settings.cost(), STANDARD_NO_PAD.encode(salt))
        }
        Algorithm::Argon2id => {
            let (cost, salt) = (settings.argon2(), random(settings.salt_bytes)?);
            let mut digest = [0; 32];
            cost.derive(password, &salt, &mut digest)?;
            let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
            format!("$argon2id$v=19$m={},t={},p={}${salt}${digest}", cost.memory_kib, cost.passes, cost.lanes)
        }
    };
    Ok(Secret::new(text))
}

/// Whether this is the password of the hash, whatever known algorithm made it. With [`Settings::strict_password_check`], what is
/// longer than 72 bytes is not the password of a bcrypt hash, and what is longer than 4096 of none. Without, what is beyond is not
/// compared: Keystone forgot it when the password was set. Nothing else of the settings matters here.
///
/// # Errors
/// If the hash is none, is of an unknown kind or would cost too much to compute. A wrong password is no error.
pub fn verify(settings: &Settings, password: &Secret, hash: &str) -> Result<bool, HashError> {
    let parsed = parse(hash)?;
    let limit = if matches!(parsed, Parsed::Bcrypt { .. }) { BCRYPT_READS } else { LONGEST_PASSWORD };
    let password = password.reveal().as_bytes();
    if settings.strict_password_check && password.len() > limit {
        return Ok(false);
    }
    let password = password.get(..limit).unwrap_or(password);
    match parsed {
        Parsed::Bcrypt { .. } => bcrypt::verify(password, hash).map_err(|_| HashError::Malformed),
        Parsed::BcryptSha256 { cost, salt, digest } => {
            let input = bcrypt_sha256_input(password, salt)?;
            bcrypt::verify(input, &format!("$2b${cost:02}${salt}{digest}")).map_err(|_| HashError::Malformed)
        }
        Parsed::Scrypt { params, salt, digest } => Ok(params.derive(password, &salt)?.as_slice().ct_eq(&digest).into()),
        Parsed::Pbkdf2Sha512 { rounds, salt, digest } => Ok(pbkdf2(password, &salt, rounds).as_slice().ct_eq(&digest).into()),
        Parsed::Argon2id { params, salt, digest } => {
            let mut out = vec![0; digest.len()];
            params.derive(password, &salt, &mut out)?;
            Ok(out.as_slice().ct_eq(&digest).into())
        }
    }
}

/// Whether a hash was made otherwise than the settings say, so that it should be made anew when the password is next at hand. So
/// does what is not a hash at all.
pub fn needs_rehash(settings: &Settings, hash: &str) -> bool {
    match (parse(hash), settings.algorithm) {
        (Ok(Parsed::Bcrypt { cost }), Algorithm::Bcrypt) | (Ok(Parsed::BcryptSha256 { cost, .. }), Algorithm::BcryptSha256) => {
            cost != settings.cost()
        }
        (Ok(Parsed::Scrypt { params, .. }), Algorithm::Scrypt) => params != settings.scrypt(),
        (Ok(Parsed::Pbkdf2Sha512 { rounds, .. }), Algorithm::Pbkdf2Sha512) => rounds != settings.cost(),
        (Ok(Parsed::Argon2id { params, .. }), Algorithm::Argon2id) => params != settings.argon2(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every algorithm, as cheap as it can be.
    fn cheap() -> [Settings; 5] {
        use Algorithm::{Argon2id, Bcrypt, BcryptSha256, Pbkdf2Sha512, Scrypt};
        [(Bcrypt, 4), (BcryptSha256, 4), (Scrypt, 4), (Pbkdf2Sha512, 10), (Argon2id, 1)].map(|(algorithm, rounds)| Settings {
            algorithm,
            rounds: Some(rounds),
            argon2_memory_kib: 64,
            ..Settings::default()
        })
    }

    #[test]
    fn verifies_what_it_hashed() {
        for settings in cheap() {
            let [right, wrong] = ["pässword", "passwörd"].map(Secret::new);
            let text = hash(&settings, &right).unwrap();
            assert_eq!(verify(&settings, &right, text.reveal()), Ok(true), "{settings:?}");
            assert_eq!(verify(&settings, &wrong, text.reveal()), Ok(false), "{settings:?}");
            assert_ne!(hash(&settings, &right).unwrap(), text, "the salt is random");
            assert!(!needs_rehash(&settings, text.reveal()));
            assert!(needs_rehash(&Settings { rounds: settings.rounds.map(|it| it + 1), ..settings.clone() }, text.reveal()));
            for other in cheap().iter().filter(|it| it.algorithm != settings.algorithm) {
                assert!(needs_rehash(other, text.reveal()));
            }
        }
    }

    #[test]
    fn argon2id_of_the_reference_implementation() {
        // From the tests of https://github.com/P-H-C/phc-winner-argon2 (version 0x13, t=2, m=256, p=1).
        let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(verify(&Settings::default(), &Secret::new("password"), hash), Ok(true));
        assert_eq!(verify(&Settings::default(), &Secret::new("Password"), hash), Ok(false));
    }

    #[test]
    fn long_passwords() {
        let [strict, ..] = cheap();
        let lenient = Settings { strict_password_check: false, ..strict.clone() };
        let long = Secret::new("x".repeat(73));
        assert_eq!(hash(&strict, &long), Err(HashError::TooLong { limit: 72 }));
        let text = hash(&lenient, &long).unwrap();
        assert_eq!(verify(&lenient, &long, text.reveal()), Ok(true));
        assert_eq!(verify(&strict, &long, text.reveal()), Ok(false));
        for settings in cheap().into_iter().skip(1) {
            let text = hash(&settings, &Secret::new("x".repeat(100))).unwrap();
            assert_eq!(verify(&settings, &Secret::new("x".repeat(99)), text.reveal()), Ok(false), "{settings:?}");
            assert_eq!(hash(&settings, &Secret::new("x".repeat(4097))), Err(HashError::TooLong { limit: 4096 }));
            let short = Settings { max_password_length: 10, strict_password_check: false, ..settings };
            assert_eq!(hash(&short, &long), Err(HashError::TooLong { limit: 10 }));
        }
    }

    #[test]
    fn absurd_costs_are_refused_at_once() {
        let absurd = [
            "$2b$31$LbgHGn9fpZPnUvTTvrRWe.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$bcrypt-sha256$v=2,t=2b,r=31$LbgHGn9fpZPnUvTTvrRWe.$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$scrypt$ln=63,r=8,p=1$AAAA$AAAA",
            "$scrypt$ln=16,r=4294967295,p=1$AAAA$AAAA",
            "$scrypt$ln=16,r=8,p=4294967295$AAAA$AAAA",
            "$scrypt$ln=20,r=9,p=1$AAAA$AAAA",
            "$scrypt$ln=0,r=8,p=1$AAAA$AAAA",
            "$pbkdf2-sha512$4294967295$AAAA$AAAA",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAAAAAA",
            "$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAA",
            "$argon2id$v=19$m=65536,t=1,p=4294967295$c29tZXNhbHQ$AAAAAAAA",
        ];
        for text in absurd {
            let refused = verify(&Settings::default(), &Secret::new("x"), text);
            assert!(matches!(refused, Err(HashError::Cost(_))), "{text}: {refused:?}");
        }
        for settings in cheap() {
            let beyond = Settings { rounds: Some(u32::MAX), argon2_memory_kib: 65_536, ..settings };
            assert!(matches!(hash(&beyond, &Secret::new("x")), Err(HashError::Cost(_))));
        }
        Settings::default().check().unwrap();
    }

    #[test]
    fn what_is_no_hash() {
        for text in ["", "plain", "$", "$$$", "$2b$04$short", "$2b$xx$", "$scrypt$ln=4$AAAA$AAAA", "$pbkdf2-sha512$-1$AAAA$AAAA"] {
            assert!(verify(&Settings::default(), &Secret::new("x"), text).is_err(), "{text}");
            assert!(needs_rehash(&Settings::default(), text));
        }
        for text in ["$6$salt$hash", "$argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA", "$7$C6..../....$hash"] {
            assert_eq!(verify(&Settings::default(), &Secret::new("x"), text), Err(HashError::Unsupported), "{text}");
        }
        // An empty digest is equal to nothing.
        assert_eq!(verify(&Settings::default(), &Secret::new("x"), "$pbkdf2-sha512$1$AAAA$"), Ok(false));
        assert!(!matches!(verify(&Settings::default(), &Secret::new("x"), "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$"), Ok(true)));
        assert_eq!(verify(&Settings::default(), &Secret::new("x"), "$scrypt$ln=1,r=1,p=1$AAAA$"), Ok(false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_compared_or_refused(
            text in any::<String>(),
            kind in prop_oneof!["2b[$]0[0-5]", "scrypt[$]ln=[0-6],r=[0-9],p=[0-3]", "pbkdf2-sha512[$][0-9]{1,2}", "argon2id[$]v=19[$]m=[0-9]{1,2},t=[0-3],p=[0-3]"],
            rest in "[a-zA-Z0-9./+$=,]{0,80}",
        ) {
            let settings = Settings::default();
            prop_assert_ne!(verify(&settings, &Secret::new("x"), &text), Ok(true));
            let like_one = format!("${kind}${rest}");
            prop_assert_ne!(verify(&settings, &Secret::new("x"), &like_one), Ok(true));
        }
    }
}
