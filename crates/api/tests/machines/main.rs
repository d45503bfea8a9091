//! The APIs of bare metal, images, compute and clusters as clients see them, on both databases, without an engine: what it would have
//! seen is written by the tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod allocations;
mod baremetal;
mod baremetal_actions;
mod baremetal_recorded;
mod baremetal_verbs;
mod baremetal_versions;
mod basic;
mod books;
mod cluster;
mod compute;
mod configdrives;
mod desk;
mod drivers;
mod image;
mod node_lists;
mod parents;
mod parts;
mod policy;
mod portgroups;
mod ports;
mod ramdisk;
mod roles;
mod versions;
mod volumes;
#[path = "../../../store/tests/suite/world.rs"]
#[expect(dead_code, reason = "the store's own suite uses more of its harness")]
mod world;
