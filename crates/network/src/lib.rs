//! Network without HTTP and without a store: which addresses there are and may be taken, sets of prefixes, and whether one port can
//! reach another and why.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod prefixes;
pub mod reach;
pub mod rules;
