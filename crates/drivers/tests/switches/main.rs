//! What every switch driver must do, shown on a simulated switch of each operating system. The simulators are written from the vendors'
//! manuals and share nothing with the drivers; the end of each scenario is asked of the simulated switch itself.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "scenarios fail as tests do")]

mod ends;
mod rig;
mod troubles;
mod walks;

/// The scenarios, for each of these drivers on these operating systems.
macro_rules! conform {
    ($($name:ident: $driver:literal on $os:literal;)*) => {
        $(mod $name {
            pub const KIND: super::rig::Kind = super::rig::Kind { driver: $driver, os: $os };

            conform!(@ ends: fresh, access, trunks, groups, uplinks, overlays, others, odds, spellings);
            conform!(@ troubles: rejected_line, broken_off, unsaved, hand_edit, trust, logins, drops, many, together, given_up);
            conform!(@ walks: modes, from_anything);
        })*

        /// All of them.
        const KINDS: &[rig::Kind] = &[$($name::KIND),*];
    };
    (@ $from:ident: $($scenario:ident),*) => {
        $(#[tokio::test]
        async fn $scenario() {
            crate::$from::$scenario(KIND).await;
        })*
    };
}

conform! {
    arista_eos: "arista_eos" on "arista_eos";
    aruba_aoscx: "aruba_aoscx" on "aruba_aoscx";
    cisco_ios: "cisco_ios" on "cisco_ios";
    cisco_nxos: "cisco_nxos" on "cisco_nxos";
    cumulus_nvue: "cumulus_nvue" on "cumulus_nvue";
    dell_os10: "dell_os10" on "dell_os10";
    frr_linux: "frr_linux" on "frr_linux";
    gnmi_openconfig: "gnmi_openconfig" on "openconfig";
    hpe_comware: "hpe_comware" on "hpe_comware";
    huawei_vrp: "huawei_vrp" on "huawei_vrp";
    juniper_junos: "juniper_junos" on "juniper_junos";
    mellanox_mlnxos: "mellanox_mlnxos" on "mellanox_mlnxos";
    netconf_openconfig: "netconf_openconfig" on "openconfig";
    nokia_srl: "nokia_srl" on "nokia_srl";
    ovs_ssh: "ovs_ssh" on "ovs_ssh";
    sonic: "sonic" on "sonic";
}

/// All at once: each only waits.
#[tokio::test]
async fn silence() {
    futures_util::future::join_all(KINDS.iter().map(|kind| troubles::silence(*kind))).await;
}
