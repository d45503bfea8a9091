//! What the APIs promise to clients: who is let in, what the network service does, and what every route of every service has in common.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod fuzz;
mod grants;
mod networks;
mod nouns;
mod ports;
mod routes;
mod subnets;
mod tokens;

#[path = "../machines/desk.rs"]
#[expect(dead_code, reason = "made for the suite of machines, which uses more of it")]
mod desk;
#[path = "../../../store/tests/suite/world.rs"]
#[expect(dead_code, reason = "made for the suite of the store, which uses more of it")]
mod world;

use desk::{Answer, Desk, Who};
use http::Method;
use serde_json::Value;

/// One without a token.
fn nobody() -> Who {
    Who { token: String::new(), project: String::new(), user: String::new() }
}

/// The text at a place of a body.
#[track_caller]
fn text<'a>(body: &'a Value, pointer: &str) -> &'a str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {body}"))
}

/// A member of every object of a list.
#[track_caller]
fn each<'a>(body: &'a Value, plural: &str, member: &str) -> Vec<&'a str> {
    body[plural].as_array().unwrap_or_else(|| panic!("no {plural} in {body}")).iter().map(|it| text(it, &format!("/{member}"))).collect()
}

/// Checks an answer of the network service that refuses: its status and the name Neutron gives to such a failure.
#[track_caller]
fn neutron_refused(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.body.pointer("/NeutronError/type").and_then(Value::as_str), Some(kind), "{}", answer.body);
    assert!(answer.body.pointer("/NeutronError/message").and_then(Value::as_str).is_some_and(|it| !it.is_empty()));
    assert_eq!(answer.body.pointer("/NeutronError/detail").and_then(Value::as_str), Some(""));
}

/// A number that differs from run to run, or the one of the run to repeat: printed, so that a failure can be.
fn seed() -> u64 {
    let given = std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_str_radix(&model::Id::<()>::random_hex().as_str()[..12], 16).unwrap()) | 1;
    println!("COFFERDAM_TEST_SEED={seed}");
    seed
}

/// HEAD of a path.
async fn head(desk: &Desk, who: &Who, path: &str) -> u16 {
    desk.call(who, Method::HEAD, path, &[], None).await.status.as_u16()
}
