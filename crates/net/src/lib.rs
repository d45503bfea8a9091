//! How bytes leave and enter the process: sockets that live in a chosen network namespace, one HTTP/1.1
//! client with deadlines, and a DHCPv4 client.
//!
//! A crate of its own because the control plane, the ramdisk agent, the simulated rack and the demo all need it
//! and none of them may depend on another. It knows no API, no device and no tenant.

pub mod dhcp_client;
pub mod http;
mod netns;

pub use netns::{Netns, UdpOptions, tcp_connect, tcp_listen, udp_bind};
