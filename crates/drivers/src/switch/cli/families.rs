//! The one list of what has a command line.

use super::Family;
use super::{
    arista_eos, aruba_aoscx, cisco_ios, cisco_nxos, cumulus_nvue, dell_os10, frr_linux, hpe_comware, huawei_vrp, juniper_junos,
    mellanox_mlnxos, nokia_srl, ovs_ssh, sonic,
};

/// The family of this name.
pub(in crate::switch) fn family(driver: &str) -> Option<Box<dyn Family>> {
    Some(match driver {
        "arista_eos" => Box::new(arista_eos::AristaEos),
        "aruba_aoscx" => Box::new(aruba_aoscx::ArubaAoscx),
        "cisco_ios" => Box::new(cisco_ios::CiscoIos),
        "cisco_nxos" => Box::new(cisco_nxos::CiscoNxos),
        "cumulus_nvue" => Box::new(cumulus_nvue::CumulusNvue),
        "dell_os10" => Box::new(dell_os10::DellOs10),
        "frr_linux" => Box::new(frr_linux::FrrLinux),
        "hpe_comware" => Box::new(hpe_comware::HpeComware),
        "huawei_vrp" => Box::new(huawei_vrp::HuaweiVrp),
        "juniper_junos" => Box::new(juniper_junos::JuniperJunos),
        "mellanox_mlnxos" => Box::new(mellanox_mlnxos::MellanoxMlnxos),
        "nokia_srl" => Box::new(nokia_srl::NokiaSrl),
        "ovs_ssh" => Box::new(ovs_ssh::OvsSsh),
        "sonic" => Box::new(sonic::Sonic),
        _ => return None,
    })
}
