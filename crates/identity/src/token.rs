//! Tokens: a [`Payload`] in a Fernet envelope (<https://github.com/fernet/spec>), as Keystone's `fernet` provider makes them.

use model::Timestamp;

use crate::keys::{KeyError, KeyRing};
use crate::payload::{Payload, PayloadError};

/// Longest token, in characters. Ours are shorter than 255 but for users with many federated groups.
pub const LONGEST: usize = 1024;

/// Why a token cannot be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text is longer than [`LONGEST`], or would be.
    #[error("a token of more than {LONGEST} characters")]
    TooLong,
    /// No key of ours made it. Which part is wrong is not told apart.
    #[error("not a token of ours")]
    Unrecognized,
    /// A key made it, but not of a payload; or no payload can be made.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// It would be issued before 1970, or at a time that cannot be told.
    #[error("a token cannot be issued at this time")]
    Time,
    /// There is no key to seal it with.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// When a token sealed at `moment` says that it was issued: whole seconds.
pub fn issued(moment: Timestamp) -> Timestamp {
    Timestamp(moment.0.div_euclid(1_000_000).saturating_mul(1_000_000))
}

/// The token of this payload, sealed with the primary key, without the padding of its base64. The envelope holds whole seconds, so
/// `issued_at` loses its fraction, as [`issued`] gives it.
///
/// # Errors
/// If the payload fits no version, or the token would be longer than [`LONGEST`].
pub fn seal(ring: &KeyRing, payload: &Payload, issued_at: Timestamp) -> Result<String, TokenError> {
    if issued_at.0 < 0 {
        return Err(TokenError::Time);
    }
    let mut text = ring.encrypt(&payload.write()?, issued_at)?;
    text.truncate(text.trim_end_matches('=').len());
    if text.len() > LONGEST { Err(TokenError::TooLong) } else { Ok(text) }
}

/// What a token holds and when it was issued, whatever key of the ring sealed it. Whether it has expired is for the caller to see:
/// the envelope's time is not held against the clock, as Keystone does not.
///
/// # Errors
/// [`TokenError::Unrecognized`] for whatever our keys did not make.
pub fn open(ring: &KeyRing, text: &str) -> Result<(Payload, Timestamp), TokenError> {
    if text.len() > LONGEST {
        return Err(TokenError::TooLong);
    }
    let (bytes, issued_at) = ring.decrypt(text).map_err(|_| TokenError::Unrecognized)?;
    Ok((Payload::read(&bytes)?, issued_at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload;

    proptest! {
        #[test]
        fn opens_what_it_sealed(payload in payload::tests::payload(), at in 0_i64..4_000_000_000_000_000) {
            let mut ring = KeyRing::first().unwrap();
            let text = seal(&ring, &payload, Timestamp(at)).unwrap();
            prop_assert!(!text.contains('='));
            prop_assert_eq!(open(&ring, &text), Ok((payload.clone(), issued(Timestamp(at)))));
            // The staged key becomes primary, and the one that sealed it stays.
            ring.rotate(3).unwrap();
            prop_assert_eq!(open(&ring, &text), Ok((payload, issued(Timestamp(at)))));
            ring.rotate(3).unwrap();
            prop_assert_eq!(open(&ring, &text), Err(TokenError::Unrecognized));
        }

        #[test]
        fn any_text_is_refused(text in any::<String>(), base64 in "[A-Za-z0-9_-]{0,300}") {
            let ring = KeyRing::first().unwrap();
            prop_assert!(open(&ring, &text).is_err());
            let like_one = format!("gAAAAA{base64}");
            prop_assert!(open(&ring, &like_one).is_err());
        }
    }

    #[test]
    fn bounds() {
        let ring = KeyRing::first().unwrap();
        assert_eq!(open(&ring, &"A".repeat(LONGEST + 1)), Err(TokenError::TooLong));
        assert_eq!(open(&ring, &"A".repeat(LONGEST)), Err(TokenError::Unrecognized));
        assert_eq!(open(&ring, ""), Err(TokenError::Unrecognized));
        let other = ring.encrypt(b"not a payload", Timestamp(0)).unwrap();
        assert!(matches!(open(&ring, &other), Err(TokenError::Payload(_))));
    }
}
