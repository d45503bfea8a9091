//! Moments, as microseconds since 1970 UTC.

use serde::{Deserialize, Serialize};

/// A moment with microsecond resolution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The present. The only place that asks the clock.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// This moment and `seconds` more.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// This moment and `millis` more.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000)))
    }

    /// Seconds from `earlier` to this moment.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "durations, not moments: far below 2^52 microseconds")]
        let micros = self.0.saturating_sub(earlier.0) as f64;
        micros / 1e6
    }

    /// `2026-11-21T10:49:00.000000Z`, as Keystone prints.
    pub fn iso_micros(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.6fZ")
    }

    /// `2026-11-21T10:49:00Z`, as Neutron and Glance print.
    pub fn iso_seconds(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// `2026-11-21T10:49:00+00:00`, as Ironic and Magnum print.
    pub fn iso_offset(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S+00:00")
    }

    fn format(self, form: &str) -> String {
        let moment = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        moment.to_zoned(jiff::tz::TimeZone::UTC).strftime(form).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let moment = Timestamp(1_795_258_140_000_001);
        assert_eq!(moment.iso_micros(), "2026-11-21T10:49:00.000001Z");
        assert_eq!(moment.iso_seconds(), "2026-11-21T10:49:00Z");
        assert_eq!(moment.iso_offset(), "2026-11-21T10:49:00+00:00");
    }
}
