//! Microversions (`MAJOR.MINOR`) and what a request asked for.

use std::fmt;

/// A microversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16);

impl Version {
    /// Reads `1.78`: two decimal numbers without sign or leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            plain.then(|| part.parse::<u16>().ok()).flatten()
        };
        Some(Self(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The microversions a service knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The oldest, which a request that asks for none gets.
    pub min: Version,
    /// The newest, which `latest` gets.
    pub max: Version,
}

/// What was asked for cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not a microversion.
    Malformed(String),
    /// Not within the range.
    Outside(Version),
}

impl Range {
    /// The microversion for a request whose header says `asked`.
    ///
    /// # Errors
    /// The header is no version, or one outside the range.
    pub fn choose(&self, asked: Option<&str>) -> Result<Version, Refused> {
        match asked.map(str::trim) {
            None => Ok(self.min),
            Some("latest") => Ok(self.max),
            Some(text) => match Version::parse(text) {
                Some(version) if version >= self.min && version <= self.max => Ok(version),
                Some(version) => Err(Refused::Outside(version)),
                None => Err(Refused::Malformed(text.to_owned())),
            },
        }
    }

    /// What a header `OpenStack-API-Version: <service> <version>[, <service> <version>…]` asks of a service known by these names;
    /// `None` if it asks nothing of it (Source: API working group, "Microversion specification").
    pub fn asked_of<'a>(header: &'a str, names: &[&str]) -> Option<&'a str> {
        header.split(',').find_map(|part| {
            let (service, version) = part.trim().split_once(' ')?;
            names.iter().any(|name| name.eq_ignore_ascii_case(service)).then(|| version.trim())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation() {
        let range = Range { min: Version(1, 1), max: Version(1, 78) };
        for (asked, expected) in [
            (None, Ok(Version(1, 1))),
            (Some("latest"), Ok(Version(1, 78))),
            (Some("1.78"), Ok(Version(1, 78))),
            (Some(" 1.9 "), Ok(Version(1, 9))),
            (Some("1.79"), Err(Refused::Outside(Version(1, 79)))),
            (Some("1.0"), Err(Refused::Outside(Version(1, 0)))),
            (Some("2.1"), Err(Refused::Outside(Version(2, 1)))),
            (Some("1"), Err(Refused::Malformed("1".into()))),
            (Some("1.-2"), Err(Refused::Malformed("1.-2".into()))),
            (Some("1.07"), Err(Refused::Malformed("1.07".into()))),
            (Some("1.99999999"), Err(Refused::Malformed("1.99999999".into()))),
        ] {
            assert_eq!(range.choose(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn the_header_that_all_services_share() {
        assert_eq!(Range::asked_of("container-infra 1.4", &["container-infra"]), Some("1.4"));
        assert_eq!(Range::asked_of("compute 2.1, baremetal latest", &["baremetal"]), Some("latest"));
        assert_eq!(Range::asked_of("compute 2.1", &["baremetal"]), None);
        assert_eq!(Range::asked_of("1.4", &["baremetal"]), None);
    }
}
