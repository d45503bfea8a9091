//! The simulated rack: what a data centre would have between our APIs and the packets, made of one Linux machine.
//!
//! Leaf switches are real Open vSwitch instances (`switch`); machines are sets of namespaces that boot over the network or from their
//! disk (`machine`, `firmware`); each has a management controller that speaks Redfish (`bmc`). A daemon owns all of it (`daemon`), and
//! everything it makes is found again by its name, so that it can be removed even after the daemon was killed (`kernel::sweep`).
//!
//! It knows nothing of the control plane: the two meet in files ([`Rack`]), in OVSDB, in Redfish and on the wire. Machines are root on
//! this kernel, as a tenant is on bare metal: they are kept apart by the network, not from their host.

mod bmc;
pub mod cli;
mod daemon;
mod firmware;
pub mod fleet;
pub mod image;
mod kernel;
mod machine;
pub mod netos;
pub mod probe;
pub mod rack;
pub mod ramdisk;
pub mod status;
mod stop;
mod switch;

pub use machine::Power;
pub use rack::Rack;
