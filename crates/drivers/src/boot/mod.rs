//! What a machine meets when it boots from the network: DHCP, TFTP and the iPXE script.

pub mod dhcp;
pub mod ipxe;
pub mod tftp;
