//! What we do: the reconcilers that make the world what is wanted and say so only after they looked.
//!
//! One mechanism for all long work. A piece of work is an id in the store's queue, leased to one worker; a reconciler gets nothing
//! but the id, reads the store and the outside, does what is missing and says when to look again. Killed at any instruction it is
//! simply run again. Each `<kind>.rs` here holds the reconciler of that kind.

mod access;
mod allocation;
mod baremetal_config;
mod boot;
mod cluster;
mod conductor;
mod config;
mod console;
mod crypt;
mod dynamic;
mod edge;
mod history;
mod image_cache;
mod image_folder;
mod inspection;
mod looks;
mod network;
mod node;
mod node_action;
mod outside;
mod overlay;
mod port;
mod power;
mod provisioning;
mod runtime;
mod switch;
#[cfg(test)]
mod testing;

pub use baremetal_config::{BaremetalConfig, RackPower};
pub use config::{AccessConfig, EdgeConfig, EngineConfig, FabricConfig, FabricSwitch, ProvisioningConfig, VlanRange};
pub use console::ConsoleConfig;
pub use history::HistoryConfig;
pub use power::Metrics;
pub use runtime::{Engine, EngineError};
pub use switch::Unseal;
