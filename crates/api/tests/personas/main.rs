//! Who may do what: every operation the rules of identity guard, asked for by every persona, at objects of its own, of its domain and of
//! another. What must come of it was recorded from Keystone by `record.py`; there is no other opinion in here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod exceptions;
mod fixtures;
mod operations;
mod rules;
mod table;
#[expect(dead_code, reason = "the harness of the store's own tests, who look behind its back")]
#[path = "../../../store/tests/suite/world.rs"]
mod world;
