//! Identity and network over the wire: the real server on a loopback port, several replicas of it over one store, many clients at once.
//! What the APIs promise in all else is in `tests/contract`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod auth;
mod listing;
mod network;
mod port;
mod races;
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "the harness of the store's own tests, who look behind its back")]
#[path = "../../../store/tests/suite/world.rs"]
mod world;
