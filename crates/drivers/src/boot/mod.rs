//! What a machine meets when it boots from the network: DHCP of both families, TFTP and the iPXE script; and what it is handed as a
//! virtual medium where there is no such network.

pub mod dhcp;
pub mod dhcp6;
pub mod ipxe;
pub mod iso;
pub mod radv;
pub mod tftp;
