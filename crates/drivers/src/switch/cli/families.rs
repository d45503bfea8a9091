//! The one list of what has a command line.

use super::Family;
use super::{arista_eos, cisco_ios, cisco_nxos, frr_linux, ovs_ssh};

/// The family of this name.
pub(in crate::switch) fn family(driver: &str) -> Option<Box<dyn Family>> {
    Some(match driver {
        "arista_eos" => Box::new(arista_eos::AristaEos),
        "cisco_ios" => Box::new(cisco_ios::CiscoIos),
        "cisco_nxos" => Box::new(cisco_nxos::CiscoNxos),
        "frr_linux" => Box::new(frr_linux::FrrLinux),
        "ovs_ssh" => Box::new(ovs_ssh::OvsSsh),
        _ => return None,
    })
}
