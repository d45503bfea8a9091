//! The fabric from end to end: simulated switches that are spoken to as real ones are, a control plane that is a process of its own.
#![cfg(test)]

#[path = "../rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

mod burst;
mod clock;
mod dead;
mod links;
mod machines;
mod names;
mod overlay;
mod plane;
mod site;
mod storm;
mod subscribe;
mod sweep;
mod trunks;
mod watch;
