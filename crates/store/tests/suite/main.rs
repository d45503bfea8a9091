//! What the store promises, on both databases.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod batches;
mod links;
mod objects;
mod paging;
mod pools;
mod postgres;
mod races;
mod schema;
mod seen;
mod things;
mod trim;
mod work;
mod world;

/// A number that differs from run to run, or that of `COFFERDAM_TEST_SEED`: printed, so that a failure can be repeated.
fn seed() -> u64 {
    let given = std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_str_radix(&model::Id::<()>::random_hex().as_str()[..16], 16).unwrap());
    println!("COFFERDAM_TEST_SEED={seed}");
    seed
}
