//! Rings of Fernet keys that rotate as Keystone's key repositories do (`keystone/common/fernet_utils.py`): key 0 is staged, which
//! is to say known everywhere before it seals anything; the highest is primary and seals; the others are secondary. All open.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;
use model::{SealError, Sealed, Sealer, Secret, Timestamp};
use subtle::ConstantTimeEq as _;

/// What is wrong with keys. No key is ever in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key is not 32 bytes in URL-safe base64.
    #[error("key {0} is not a Fernet key")]
    Key(u32),
    /// The text is neither a JSON object of keys nor a list of keys.
    #[error("these are not Fernet keys")]
    Text,
    /// A ring needs a key.
    #[error("there is no Fernet key")]
    Empty,
    /// The numbers of the keys have come to their end.
    #[error("no number is left for another Fernet key")]
    Full,
    /// The system gave no random numbers.
    #[error("no random numbers for a Fernet key")]
    Random,
    /// None of the keys opens it.
    #[error("none of the keys opens it")]
    Unopened,
}

/// One Fernet key.
#[derive(Clone)]
pub struct Key {
    text: Secret,
    fernet: Fernet,
}

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| KeyError::Random)?;
        Self::parse(&URL_SAFE.encode(bytes)).ok_or(KeyError::Random)
    }

    /// The key that is 32 bytes in URL-safe base64.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Fernet::new(text).map(|fernet| Self { text: Secret::new(text), fernet })
    }

    /// The key as text.
    pub fn text(&self) -> &Secret {
        &self.text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text.reveal().as_bytes().ct_eq(other.text.reveal().as_bytes()).into()
    }
}

impl Eq for Key {}

/// A ring of numbered keys; it is never without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    keys: BTreeMap<u32, Key>,
}

impl KeyRing {
    /// A new ring: a staged key 0 and a primary key 1, as `keystone-manage fernet_setup` makes.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn first() -> Result<Self, KeyError> {
        Ok(Self { keys: BTreeMap::from([(0, Key::generate()?), (1, Key::generate()?)]) })
    }

    /// A ring of these keys.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(keys: BTreeMap<u32, Key>) -> Result<Self, KeyError> {
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self { keys }) }
    }

    /// The keys by their numbers.
    pub fn keys(&self) -> &BTreeMap<u32, Key> {
        &self.keys
    }

    /// Number of the primary key.
    pub fn primary(&self) -> u32 {
        self.keys.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Makes the staged key the primary, stages a new one, and drops the lowest secondary keys beyond `max_active_keys`, which
    /// counts staged, primary and secondary ones. As with Keystone, 1 leaves nothing but the new staged key, so that all that was
    /// sealed is lost; 0 counts as 1.
    ///
    /// A ring without a staged key only gets one and keeps its primary: what seals next must first be known everywhere.
    ///
    /// # Errors
    /// If there are no random numbers or no more numbers for keys. Nothing has changed then.
    pub fn rotate(&mut self, max_active_keys: u32) -> Result<(), KeyError> {
        let next = Key::generate()?;
        if self.keys.contains_key(&0) {
            let number = self.primary().checked_add(1).ok_or(KeyError::Full)?;
            if let Some(staged) = self.keys.remove(&0) {
                self.keys.insert(number, staged);
            }
        }
        let most = usize::try_from(max_active_keys.saturating_sub(1)).unwrap_or(usize::MAX);
        while self.keys.len() > most {
            self.keys.pop_first();
        }
        self.keys.insert(0, next);
        Ok(())
    }

    /// Reads the text of a ring: a JSON object such as `{"0": "…", "1": "…"}`, or keys with white space between them of which the
    /// first seals. The latter become primary and secondary keys, without a staged one.
    ///
    /// # Errors
    /// If the text is neither, or one of the keys is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let read = |number: u32, text: &str| Key::parse(text).map(|key| (number, key)).ok_or(KeyError::Key(number));
        let keys: BTreeMap<u32, Key> = if text.starts_with('{') {
            let named: BTreeMap<String, Secret> = serde_json::from_str(text).map_err(|_| KeyError::Text)?;
            let number = |name: &str| name.parse::<u32>().ok().filter(|number| number.to_string() == name).ok_or(KeyError::Text);
            named.iter().map(|(name, key)| read(number(name)?, key.reveal())).collect::<Result<_, _>>()?
        } else {
            (1_u32..).zip(text.split_whitespace().rev()).map(|(number, key)| read(number, key)).collect::<Result<_, _>>()?
        };
        Self::new(keys)
    }

    /// The text of this ring for [`KeyRing::parse`].
    pub fn write(&self) -> Secret {
        let named = self.keys.iter().map(|(number, key)| (number.to_string(), key.text.reveal().into()));
        Secret::new(serde_json::Value::Object(named.collect()).to_string())
    }

    /// Seals bytes with the primary key, as made at `at` (whole seconds). The text is URL-safe base64 with padding.
    ///
    /// # Errors
    /// If `at` is before 1970 there is no such envelope.
    pub fn encrypt(&self, bytes: &[u8], at: Timestamp) -> Result<String, KeyError> {
        let (_, primary) = self.keys.last_key_value().ok_or(KeyError::Empty)?;
        let seconds = u64::try_from(at.0.div_euclid(1_000_000)).unwrap_or_default();
        Ok(primary.fernet.encrypt_at_time(bytes, seconds))
    }

    /// Opens what any key of the ring sealed, with or without padding, and tells when it was made. The newest key is tried first.
    ///
    /// # Errors
    /// [`KeyError::Unopened`] whatever is wrong.
    pub fn decrypt(&self, text: &str) -> Result<(Vec<u8>, Timestamp), KeyError> {
        // The clock is not asked: a replica whose clock is ahead may have made it.
        let bytes = self.keys.values().rev().find_map(|key| key.fernet.decrypt_at_time(text, None, u64::MAX / 2).ok());
        let bytes = bytes.ok_or(KeyError::Unopened)?;
        // Nine bytes are twelve digits: the version and the time, big endian, by now known to be genuine.
        let head = text.get(..12).and_then(|digits| URL_SAFE.decode(digits).ok()).ok_or(KeyError::Unopened)?;
        let seconds = head.last_chunk::<8>().map(|it| u64::from_be_bytes(*it)).ok_or(KeyError::Unopened)?;
        let micros = i64::try_from(seconds).ok().and_then(|it| it.checked_mul(1_000_000)).ok_or(KeyError::Unopened)?;
        Ok((bytes, Timestamp(micros)))
    }
}

impl Sealer for KeyRing {
    fn seal(&self, secret: &Secret) -> Result<Sealed, SealError> {
        let sealed = self.encrypt(secret.reveal().as_bytes(), Timestamp::now());
        sealed.map(Sealed::new).map_err(|error| SealError(error.to_string()))
    }

    fn open(&self, sealed: &Sealed) -> Result<Secret, SealError> {
        let (bytes, _) = self.decrypt(sealed.text()).map_err(|error| SealError(error.to_string()))?;
        String::from_utf8(bytes).map(Secret::new).map_err(|_| SealError("a sealed secret is no text".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ring: &KeyRing) -> Vec<u32> {
        ring.keys.keys().copied().collect()
    }

    #[test]
    fn rotates_as_keystone() {
        let mut ring = KeyRing::first().unwrap();
        assert_eq!(numbers(&ring), [0, 1]);
        for wanted in [vec![0, 1, 2], vec![0, 2, 3], vec![0, 3, 4]] {
            let before = ring.clone();
            ring.rotate(3).unwrap();
            assert_eq!(numbers(&ring), wanted);
            assert_eq!(ring.keys[&ring.primary()], before.keys[&0], "the staged key is primary");
            assert_ne!(ring.keys[&0], before.keys[&0], "and another is staged");
            for (number, key) in ring.keys.iter().filter(|(number, _)| **number != 0 && **number != ring.primary()) {
                assert_eq!(key, &before.keys[number], "secondary keys stay");
            }
        }
        ring.rotate(2).unwrap();
        assert_eq!(numbers(&ring), [0, 5]);
        ring.rotate(10).unwrap();
        assert_eq!(numbers(&ring), [0, 5, 6]);
        // Keystone leaves only the new staged key.
        ring.rotate(1).unwrap();
        assert_eq!(numbers(&ring), [0]);
        ring.rotate(3).unwrap();
        assert_eq!(numbers(&ring), [0, 1]);
        let mut full = KeyRing::new(BTreeMap::from([(0, Key::generate().unwrap()), (u32::MAX, Key::generate().unwrap())])).unwrap();
        let before = full.clone();
        assert_eq!(full.rotate(3), Err(KeyError::Full));
        assert_eq!(full, before);
    }

    #[test]
    fn reads_both_forms() {
        let ring = KeyRing::first().unwrap();
        assert_eq!(KeyRing::parse(ring.write().reveal()), Ok(ring.clone()));
        let [first, second] = [Key::generate().unwrap(), Key::generate().unwrap()];
        let mut old = KeyRing::parse(&format!("{} \n{}\n", first.text.reveal(), second.text.reveal())).unwrap();
        assert_eq!((old.keys.get(&2), old.keys.get(&1), old.keys.get(&0)), (Some(&first), Some(&second), None));
        let sealed = Fernet::new(second.text.reveal()).unwrap().encrypt(b"x");
        assert_eq!(old.decrypt(&sealed).unwrap().0, b"x");
        // Without a staged key nothing takes over yet.
        old.rotate(3).unwrap();
        assert_eq!((numbers(&old), &old.keys[&2]), (vec![0, 1, 2], &first));
    }

    #[test]
    fn refuses_what_is_no_ring_and_shows_no_key() {
        let key = Key::generate().unwrap();
        let text = key.text.reveal();
        for bad in ["", "{}", "[]", "{\"0\": 1}", &format!("{{\"01\": \"{text}\"}}"), &format!("{{\"-1\": \"{text}\"}}"), &text[..40]] {
            let error = KeyRing::parse(bad).unwrap_err();
            assert!(!error.to_string().contains(&text[..40]), "{error}");
        }
        assert_eq!(KeyRing::parse("{\"7\": \"short\"}"), Err(KeyError::Key(7)));
        let shown = format!("{:?} {key:?}", KeyRing::parse(text));
        assert!(!shown.contains(text), "{shown}");
    }

    #[test]
    fn seals_secrets_for_the_store() {
        let ring = KeyRing::first().unwrap();
        let sealed = ring.seal(&Secret::new("hunter2")).unwrap();
        assert!(!sealed.text().contains("hunter2"));
        assert_eq!(ring.open(&sealed), Ok(Secret::new("hunter2")));
        assert!(KeyRing::first().unwrap().open(&sealed).is_err());
    }

    #[test]
    fn opens_what_a_clock_ahead_of_ours_sealed() {
        let ring = KeyRing::first().unwrap();
        let later = Timestamp(Timestamp::now().plus_seconds(3600).0 / 1_000_000 * 1_000_000);
        assert_eq!(ring.decrypt(&ring.encrypt(b"x", later).unwrap()), Ok((b"x".to_vec(), later)));
    }
}
