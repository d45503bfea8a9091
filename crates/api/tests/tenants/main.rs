//! Identity and network, as clients meet them: the real router on a loopback port over a real store, on both databases.

mod auth;
mod identity;
mod listing;
mod network;
mod port;
mod races;
mod routes;
mod subnet;
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "the harness of the store's own tests, who look behind its back")]
#[path = "../../../store/tests/suite/world.rs"]
mod world;
