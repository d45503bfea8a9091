//! Reading `policy.yaml`: a mapping of rule names to rules.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Spanned, Tagged};

use crate::{Check, PolicyError, parse, parse_lists};

/// The most bytes of a policy file.
pub(crate) const MAX_FILE: usize = 1024 * 1024;

/// A rule of the file.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) line: u64,
    pub(crate) check: Check,
}

/// Reads a file. One that is empty, or has comments only, has no rules.
pub(crate) fn read(yaml: &str) -> Result<Vec<Entry>, PolicyError> {
    if yaml.len() > MAX_FILE {
        return Err(PolicyError::Large { limit: MAX_FILE });
    }
    // Without excerpts an error is one line, as a log wants it.
    let options = serde_saphyr::options! { with_snippet: false };
    let mapping: Mapping = serde_saphyr::from_str_with_options(yaml, options).map_err(|error| PolicyError::Yaml(error.to_string()))?;
    let mut entries = Vec::with_capacity(mapping.0.len());
    for (name, line, body) in mapping.0 {
        let check = match body {
            Body::Text(text) => parse(&text),
            Body::Lists(lists) => parse_lists(&lists),
        };
        match check {
            Ok(check) => entries.push(Entry { name, line, check }),
            Err(source) => return Err(PolicyError::Rule { rule: name, line: Some(line), source }),
        }
    }
    Ok(entries)
}

/// Refuses YAML tags. A bare `!` is one, with an empty text behind it, and would turn "never" into "always".
fn untagged<T, E: Error>(Tagged(value, tag): Tagged<T>) -> Result<T, E> {
    match tag {
        None => Ok(value),
        Some(tag) => Err(E::custom(format_args!("the YAML tag {tag} is not allowed; a rule or check that begins with ! needs quotes"))),
    }
}

/// Names, lines and rules.
struct Mapping(Vec<(String, u64, Body)>);

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rules;
        impl<'de> Visitor<'de> for Rules {
            type Value = Mapping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of rule names to rules")
            }

            fn visit_unit<E: Error>(self) -> Result<Mapping, E> {
                Ok(Mapping(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Mapping, A::Error> {
                let mut rules = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let named = |error: A::Error| A::Error::custom(format_args!("rule {name:?}: {error}"));
                    let body: Spanned<Tagged<Body>> = map.next_value().map_err(named)?;
                    let line = body.referenced.line();
                    let body =
                        untagged(body.value).map_err(|error: A::Error| named(A::Error::custom(format_args!("line {line}: {error}"))))?;
                    rules.push((name, line, body));
                }
                Ok(Mapping(rules))
            }
        }
        deserializer.deserialize_any(Rules)
    }
}

enum Body {
    Text(String),
    Lists(Vec<Vec<String>>),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rule;
        impl<'de> Visitor<'de> for Rule {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule: a text in quotes (\"\" for always, \"!\" for never) or a list of lists of checks")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Body, E> {
                Ok(Body::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Body, A::Error> {
                let mut lists = Vec::new();
                while let Some(list) = items.next_element::<Tagged<Inner>>()? {
                    lists.push(untagged(list)?.0);
                }
                Ok(Body::Lists(lists))
            }
        }
        deserializer.deserialize_any(Rule)
    }
}

/// An inner list, or a text that stands for a list of one; the empty text for an empty list, as in the library.
struct Inner(Vec<String>);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Checks;
        impl<'de> Visitor<'de> for Checks {
            type Value = Inner;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a check or a list of checks")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Inner, E> {
                Ok(Inner(if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inner, A::Error> {
                let mut checks = Vec::new();
                while let Some(check) = items.next_element::<Tagged<String>>()? {
                    checks.push(untagged(check)?);
                }
                Ok(Inner(checks))
            }
        }
        deserializer.deserialize_any(Checks)
    }
}
