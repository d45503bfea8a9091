//! One-time passcodes by time (RFC 6238, SHA-1, 30 s, 6 digits), as Keystone's `totp` method checks them.

use hmac::{Hmac, Mac};
use model::{Secret, Timestamp};
use sha1::Sha1;
use subtle::{Choice, ConstantTimeEq};

/// Digits of a passcode.
pub const DIGITS: usize = 6;
/// Seconds for which one passcode is shown.
pub const PERIOD: i64 = 30;
/// The most earlier windows that may be accepted (Keystone bounds `[totp] included_previous_windows` by it).
pub const MAX_PREVIOUS_WINDOWS: u32 = 10;
/// Keystone's TOTP library refuses keys below 128 bits.
const MIN_KEY_BYTES: usize = 16;

/// Why a stored secret cannot be used. Keystone skips such a credential and goes on with the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TotpError {
    /// The secret is not base32 text (RFC 4648).
    #[error("the secret is not base32 text")]
    NotBase32,
    /// The secret has fewer than 128 bits.
    #[error("the secret has fewer than 128 bits")]
    TooShort,
}

/// Whether `passcode` is the one of `now` or of one of the `previous_windows` (at most [`MAX_PREVIOUS_WINDOWS`]) before it.
///
/// # Errors
/// When the secret itself is unusable, whatever the passcode.
pub fn verify(secret: &Secret, passcode: &str, now: Timestamp, previous_windows: u32) -> Result<bool, TotpError> {
    let key = usable_key(secret)?;
    let mut matches = Choice::from(0);
    for window in 0..=i64::from(previous_windows.min(MAX_PREVIOUS_WINDOWS)) {
        let Ok(counter) = u64::try_from(window_of(now).saturating_sub(window)) else { break };
        matches |= code(&key, counter).as_bytes().ct_eq(passcode.as_bytes());
    }
    Ok(matches.into())
}

/// The passcode of the moment `now` (for clients and tests).
///
/// # Errors
/// When the secret is unusable.
pub fn generate(secret: &Secret, now: Timestamp) -> Result<String, TotpError> {
    Ok(code(&usable_key(secret)?, u64::try_from(window_of(now)).unwrap_or(0)))
}

fn window_of(now: Timestamp) -> i64 {
    now.0.div_euclid(1_000_000 * PERIOD)
}

fn usable_key(secret: &Secret) -> Result<Vec<u8>, TotpError> {
    let key = decode_base32(secret.reveal()).ok_or(TotpError::NotBase32)?;
    if key.len() < MIN_KEY_BYTES { Err(TotpError::TooShort) } else { Ok(key) }
}

/// HOTP of RFC 4226 section 5.3.
fn code(key: &[u8], counter: u64) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return String::new() };
    mac.update(&counter.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest.last().copied().unwrap_or(0) & 0x0f);
    let word = digest.iter().skip(offset).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0width$}", word % 1_000_000, width = DIGITS)
}

/// Base32 of RFC 4648 section 6: case does not matter, the padding may be absent. `None` for anything else.
pub fn decode_base32(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    // Lengths that leave fewer than eight bits of a new byte cannot come from an encoder.
    if matches!(digits.len() % 8, 1 | 3 | 6) || text.len() - digits.len() > 6 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 5 / 8);
    let (mut pool, mut bits) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            number @ b'2'..=b'7' => number - b'2' + 26,
            _ => return None,
        };
        pool = ((pool << 5) | u32::from(value)) & 0x0fff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((pool >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `12345678901234567890`, the seed of RFC 6238 appendix B.
    const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn vectors_of_the_rfc() {
        // Appendix B prints eight digits; six digits are its last six.
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp(seconds * 1_000_000);
            assert_eq!(generate(&Secret::new(SEED), now).unwrap(), expected);
            assert!(verify(&Secret::new(SEED.to_lowercase()), expected, now, 0).unwrap());
        }
    }

    #[test]
    fn earlier_windows() {
        let secret = Secret::new(SEED);
        let (then, now) = (Timestamp(1_111_111_079_000_000), Timestamp(1_111_111_109_000_000));
        let earlier = generate(&secret, then).unwrap();
        assert!(!verify(&secret, &earlier, now, 0).unwrap());
        assert!(verify(&secret, &earlier, now, 1).unwrap());
        assert!(!verify(&secret, &earlier, now.plus_seconds(30), 1).unwrap());
        assert!(!verify(&secret, "081804", then, 1).unwrap(), "a later code is not accepted early");
        assert!(!verify(&secret, "81804", now, 1).unwrap());
        assert!(!verify(&secret, "", now, 1).unwrap());
    }

    #[test]
    fn base32_of_the_rfc() {
        for (text, plain) in
            [("", ""), ("MY======", "f"), ("MZXQ====", "fo"), ("MZXW6===", "foo"), ("MZXW6YQ=", "foob"), ("mzxw6ytboi", "foobar")]
        {
            assert_eq!(decode_base32(text).unwrap(), plain.as_bytes());
        }
        for bad in ["M", "MZX", "MZXW6Y", "MZ1A", "M Y", "MY=A", "ÄÄ", "MY========"] {
            assert_eq!(decode_base32(bad), None, "{bad}");
        }
        assert_eq!(verify(&Secret::new("MZXW6YTB"), "000000", Timestamp(0), 1), Err(TotpError::TooShort));
    }

    proptest! {
        #[test]
        fn nothing_panics(secret in "\\PC{0,40}", code in "\\PC{0,8}", now in any::<i64>(), windows in any::<u32>()) {
            let _ = verify(&Secret::new(secret), &code, Timestamp(now), windows);
            let _ = verify(&Secret::new(SEED), &code, Timestamp(now), windows);
        }
    }
}
