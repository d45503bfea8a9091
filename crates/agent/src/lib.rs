//! What runs on machines and not on the control plane's host: today the deploy ramdisk, `cofferdam ramdisk`.
//!
//! Knows the protocol of ironic-python-agent and the disk of the machine it runs on. Knows no store, no tenant and no
//! network but its own interface.

pub mod ramdisk;
