//! Identity as clients meet it: what its API promises, topic by topic, on both databases where state matters.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod app_creds;
mod catalog;
mod credentials;
mod domain_config;
mod federation;
mod grants;
mod groups;
mod k8s;
mod limits;
mod policies;
mod roles;
mod security;
mod trusts;

#[path = "../machines/desk.rs"]
#[expect(dead_code, reason = "made for the suite of machines, which uses more of it")]
mod desk;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "made for the suites of tenants, which use more of it")]
mod support;
#[path = "../../../store/tests/suite/world.rs"]
#[expect(dead_code, reason = "made for the suite of the store, which uses more of it")]
mod world;

/// Returns when a moment is over.
async fn over(end: model::Timestamp) {
    let left = end.seconds_since(model::Timestamp::now()) + 0.1;
    tokio::time::sleep(std::time::Duration::from_secs_f64(left.max(0.0))).await;
}
