//! Writes that meet others' writes.

/// How often a decision is taken anew because somebody else changed what it was based on; then the caller is told (409).
pub(crate) const RACES: u32 = 20;
