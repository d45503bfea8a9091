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
