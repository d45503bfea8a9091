//! Typed ids.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The id of one object of kind `K`: 1 to 64 letters, digits, `.`, `_`, `:` or `-`. Ids of different kinds do not mix.
pub struct Id<K: ?Sized> {
    text: String,
    kind: PhantomData<fn() -> Box<K>>,
}

impl<K: ?Sized> Id<K> {
    /// A new random id in the hyphenated form (`8-4-4-4-12`) that most services print.
    pub fn random() -> Self {
        Self::made(uuid::Uuid::new_v4().to_string())
    }

    /// A new random id as 32 hexadecimal digits, the form identity uses.
    pub fn random_hex() -> Self {
        Self::made(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id that belongs to `name` for ever: computing it twice gives the same id, so that what is made outside can be found again.
    pub fn derived(name: &str) -> Self {
        Self::made(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).to_string())
    }

    /// Takes text as an id if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        fits.then(|| Self::made(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first eight characters without hyphens: short enough for the names of network devices, unique enough within a rack.
    pub fn short(&self) -> String {
        self.text.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
    }

    fn made(text: String) -> Self {
        Self { text, kind: PhantomData }
    }
}

impl<K: ?Sized> Clone for Id<K> {
    fn clone(&self) -> Self {
        Self::made(self.text.clone())
    }
}

impl<K: ?Sized> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<K: ?Sized> Eq for Id<K> {}

impl<K: ?Sized> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: ?Sized> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl<K: ?Sized> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<K: ?Sized> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K: ?Sized> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K: ?Sized> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, K: ?Sized> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_parse() {
        assert!(Id::<()>::parse("default").is_some());
        assert!(Id::<()>::parse("").is_none());
        assert!(Id::<()>::parse("a/b").is_none());
        assert!(Id::<()>::parse(&"x".repeat(65)).is_none());
        assert_eq!(Id::<()>::derived("x"), Id::<()>::derived("x"));
    }
}
