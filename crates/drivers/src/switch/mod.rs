//! Switches: what their ports carry, and making them carry what is wanted.
//!
//! The rule of the fabric lives here in the small: a driver computes the difference between wanted and read state,
//! applies it in one transaction, and answers with what it *read back*, never with what it sent.
//!
//! [`wanted`] holds the values, [`plan`](mod@plan) the way from one state to the other; both know no vendor. `ovsdb` is a driver of its
//! own, `cli/` the one for everything that has a command line over SSH, with a file for each operating system.

pub mod cli;
mod gnmi;
mod netconf;
mod openconfig;
mod ovsdb;
pub mod plan;
pub mod wanted;

use std::time::Duration;

use model::Secret;
use model::net::VlanId;

use crate::Fut;
pub use wanted::{
    Difference, Facts, IsolatesBy, LagProtocol, LagSeen, MARK, Managed, PortMode, PortSeen, PortWanted, SeenMode, SwitchSeen, SwitchWanted,
    VlanSeen, VlanWanted, Vni, differs, others_port,
};

/// Where a switch is and how it is spoken to. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchConfig {
    /// The operator's name for the switch; used in messages.
    pub name: String,
    /// One of [`DRIVERS`].
    pub driver: String,
    /// `unix:PATH`, `tcp:ADDRESS:PORT` or `ssl:ADDRESS:PORT` (`ovsdb`), `ssh:HOST:PORT` (command lines and NETCONF), `HOST:PORT` (gNMI).
    pub endpoint: String,
    /// The bridge whose ports are managed, on switches that have several; empty: the driver's usual one.
    pub bridge: String,
    /// The VLAN of isolated ports; never carried on a trunk.
    pub isolation_vlan: VlanId,
    /// Who logs in.
    pub login: Login,
    /// What the other side proves to be.
    pub trust: Trust,
    /// How VLANs are mapped to VXLAN networks; `None`: not at all.
    pub overlay: Option<Overlay>,
}

impl SwitchConfig {
    /// One that is reached without logging in.
    pub fn plain(name: &str, driver: &str, endpoint: &str, bridge: &str, isolation_vlan: VlanId) -> Self {
        Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            endpoint: endpoint.to_owned(),
            bridge: bridge.to_owned(),
            isolation_vlan,
            login: Login::default(),
            trust: Trust::default(),
            overlay: None,
        }
    }
}

/// Who logs in to a switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password, if there is one.
    pub password: Option<Secret>,
    /// A private key in OpenSSH's or PKCS#8's PEM form.
    pub private_key: Option<Secret>,
    /// What is asked on the way to configuring, where it is (`enable`).
    pub enable_password: Option<Secret>,
}

/// By what a switch is known to be itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// The fingerprint of its SSH host key as `ssh-keygen -l` shows it: `SHA256:…`.
    pub host_key: Option<String>,
    /// Whether the first key that it shows is taken for its own, if none is pinned. The caller pins what [`Switch::host_key`] says then.
    pub on_first_use: bool,
    /// The certificate authority of its TLS certificate, PEM.
    pub ca: Option<String>,
    /// Our own certificate, PEM.
    pub certificate: Option<String>,
    /// The key of our own certificate, PEM.
    pub key: Option<Secret>,
}

/// How a switch carries VLANs in VXLAN networks with EVPN (RFC 8365, VLAN-based service).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The tunnel interface: `nve1`, `Vxlan1`, `vtep`, `vxlan0`; empty: the operating system's usual one.
    pub vtep: String,
    /// The autonomous system of its BGP, for route targets.
    pub bgp_as: u32,
}

/// Why a switch could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The switch cannot be connected to, or the connection broke. Nothing is known about its state: observe later.
    #[error("could not reach switch {switch}: {reason}")]
    Unreachable {
        /// The switch's name.
        switch: String,
        /// What the connection said.
        reason: String,
    },
    /// No answer within the deadline. The change may or may not have happened: observe later.
    #[error("switch {switch} did not answer in time while {doing}")]
    Timeout {
        /// The switch's name.
        switch: String,
        /// What was waited for.
        doing: &'static str,
    },
    /// The switch understood and refused, or the wanted state cannot be expressed on it. What was asked for before the refused part may
    /// be in force on switches without a candidate configuration: observe.
    #[error("switch {switch} refused: {reason}")]
    Rejected {
        /// The switch's name.
        switch: String,
        /// The switch's own words, with the line that it refused.
        reason: String,
    },
    /// It is not the switch it should be, or does not let us in. Nothing was changed; asking again will not help.
    #[error("switch {switch} and we do not trust one another: {reason}")]
    Trust {
        /// The switch's name.
        switch: String,
        /// What was wrong; no secret.
        reason: String,
    },
    /// The switch answered something that makes no sense.
    #[error("switch {switch} answered what cannot be understood: {reason}")]
    Protocol {
        /// The switch's name.
        switch: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The configuration of the switch is unusable.
    #[error("the configuration of switch {switch} is unusable: {reason}")]
    Config {
        /// The switch's name.
        switch: String,
        /// What is wrong.
        reason: String,
    },
}

/// What a switch was before it was set, and what it was read back as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The reading before.
    pub before: SwitchSeen,
    /// The reading after; equal to `before` if nothing was to be done.
    pub after: SwitchSeen,
    /// Whether anything was written.
    pub committed: bool,
}

/// One managed switch. It connects when it is first needed and keeps its connection.
pub trait Switch: Send + Sync {
    /// What this kind of switch can do.
    fn facts(&self) -> Facts;

    /// Reads the switch: every port, every declared VLAN, every group, and what of it a restart would change.
    ///
    /// # Errors
    /// `Unreachable` and `Timeout` mean that nothing is known; look again later.
    fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>>;

    /// Reads the switch, makes what differs from `wanted` so in one commit, saves it so that it outlasts a restart, reads it back, and
    /// returns both readings. What is not named is never written. A port that the switch does not have stays a difference in what is
    /// returned and does not keep the others from being set.
    ///
    /// # Errors
    /// `Unreachable` and `Timeout` mean that the change may or may not have happened, `Rejected` that at least a part did not; observe.
    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>>;

    /// For how long after a change that broke off the switch may still change by itself, as by a timer that takes it back.
    fn lingers(&self) -> Duration {
        Duration::ZERO
    }

    /// Ends when the switch says by itself that its configuration changed since this was last awaited; `None` where it never tells. For
    /// who waits beside a timer: what was changed while nobody listened, or by whom, is not told. May be dropped and awaited anew.
    ///
    /// # Errors
    /// It cannot be listened to, or not any longer. Once it can be again, that counts as a change.
    fn changed(&self) -> Option<Fut<'_, Result<(), SwitchError>>> {
        None
    }

    /// The fingerprint of the SSH host key that was taken on first use and is to be pinned.
    fn host_key(&self) -> Option<String> {
        None
    }
}

/// The drivers.
pub const DRIVERS: &[&str] = &[
    "arista_eos",
    "aruba_aoscx",
    "cisco_ios",
    "cisco_nxos",
    "cumulus_nvue",
    "dell_os10",
    "frr_linux",
    "gnmi_openconfig",
    "hpe_comware",
    "huawei_vrp",
    "juniper_junos",
    "mellanox_mlnxos",
    "netconf_openconfig",
    "nokia_srl",
    "ovs_ssh",
    "ovsdb",
    "sonic",
];

/// The one name of the port that is spelled like this at a cable's end, in a configuration or by a user, on switches of a driver: what the
/// driver reads it back as (`Ethernet1/7` for `eth1/7` on NX-OS). Two spellings of one port have one name, so whoever holds a port holds it
/// under this one. What names no port stays as it is, and is never read back. Ports of OVSDB, NETCONF and gNMI are keys, with one
/// spelling each.
pub fn port_name(driver: &str, spelled: &str) -> String {
    cli::families::family(driver).map_or_else(|| spelled.to_owned(), |family| family.port_name(spelled))
}

/// What a group of links of this number is called on switches of a driver, as [`port_name`] has it; `None` if they have none.
pub fn lag_name(driver: &str, number: u16) -> Option<String> {
    let prefix = match driver {
        "cisco_ios" => "Port-channel",
        "cisco_nxos" | "dell_os10" => "port-channel",
        "mellanox_mlnxos" => "Po",
        "arista_eos" => "Port-Channel",
        "juniper_junos" => "ae",
        "hpe_comware" => "Bridge-Aggregation",
        "aruba_aoscx" => "lag ",
        "nokia_srl" => "lag",
        "huawei_vrp" => "Eth-Trunk",
        "cumulus_nvue" | "frr_linux" => "bond",
        "sonic" => "PortChannel",
        "netconf_openconfig" | "gnmi_openconfig" => "Port-Channel",
        _ => return None,
    };
    Some(format!("{prefix}{number}"))
}

/// Opens a switch; connects lazily.
///
/// # Errors
/// `Config` if the driver or the endpoint is unknown.
pub fn open(config: SwitchConfig) -> Result<Box<dyn Switch>, SwitchError> {
    match config.driver.as_str() {
        "gnmi_openconfig" => Ok(Box::new(gnmi::Gnmi::new(config)?)),
        "netconf_openconfig" => Ok(Box::new(netconf::Netconf::new(config)?)),
        "ovsdb" => Ok(Box::new(ovsdb::Ovsdb::new(config)?)),
        other => match cli::families::family(other) {
            Some(family) => Ok(Box::new(cli::switch::CliSwitch::new(config, family)?)),
            None => Err(SwitchError::Config { reason: format!("no driver is called {other:?}"), switch: config.name }),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What names of ports are made of.
    const WORDS: &[&str] = &[
        "Ethernet",
        "ethernet",
        "Eth",
        "eth",
        "e",
        "ETH",
        "GigabitEthernet",
        "gi",
        "GE",
        "Te",
        "TenGigE",
        "Twe",
        "Hu",
        "xe-",
        "ge-",
        "ae",
        "Port-channel",
        "po",
        "PO",
        "Po",
        "lag",
        "lag ",
        "swp",
        "bond",
        "Bridge-Aggregation",
        "BAGG",
        "Eth-Trunk",
        "25GE",
        "XGE",
        " ",
        "-",
        "/",
        ":",
        ".0",
        ".",
        "0",
        "1",
        "07",
        "7",
        "48",
        "1/1/",
        "1/0/",
        "é",
        "K",
    ];

    #[test]
    fn a_name_is_its_own_name() {
        let words = proptest::collection::vec(proptest::sample::select(WORDS), 0..6).prop_map(|it| it.concat());
        let any = prop_oneof![words, "[A-Za-z-]{0,12} ?[0-9]{0,3}(/[0-9]{1,3}){0,3}(:[0-9])?(\\.0){0,3}", "\\PC{0,20}"];
        let config = ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let done = runner.run(&(proptest::sample::select(DRIVERS), any), |(driver, spelled)| {
            let name = port_name(driver, &spelled);
            prop_assert_eq!(port_name(driver, &name), name.clone(), "{} {:?}", driver, spelled);
            Ok(())
        });
        // The failing case is in the message.
        done.unwrap();
    }

    #[test]
    fn groups_are_called_by_their_names() {
        for driver in DRIVERS {
            for number in [1, 24, 47] {
                let Some(name) = lag_name(driver, number) else { continue };
                assert_eq!(port_name(driver, &name), name, "{driver}");
            }
        }
    }

    #[test]
    fn spellings_of_one_port_have_one_name() {
        let spellings: &[(&str, &str, &[&str])] = &[
            ("arista_eos", "Ethernet1/7", &["Eth1/7", "et1/7", "ETHERNET1/7", "ethernet 1/7", "e1/7"]),
            ("cisco_nxos", "Ethernet1/7", &["Eth1/7", "eth1/7", "ethernet 1/7", "e1/7"]),
            ("cisco_ios", "GigabitEthernet1/0/7", &["Gi1/0/7", "gi1/0/7", "g1/0/7", "gigabitethernet1/0/7", "Gig 1/0/7"]),
            ("cisco_ios", "TenGigabitEthernet1/0/7", &["Te1/0/7", "ten1/0/7"]),
            ("dell_os10", "ethernet1/1/7", &["Eth1/1/7", "ETHERNET1/1/7", "ethernet 1/1/7"]),
            ("hpe_comware", "Ten-GigabitEthernet1/0/7", &["XGE1/0/7", "xge1/0/7"]),
            ("huawei_vrp", "10GE1/0/7", &["10ge1/0/7", "10GE 1/0/7"]),
            ("mellanox_mlnxos", "Eth1/7", &["eth1/7", "ethernet 1/7", "1/7", "Ethernet1/7"]),
            ("aruba_aoscx", "lag 7", &["lag7", "LAG 7"]),
            ("juniper_junos", "xe-0/0/7", &["xe-0/0/7.0"]),
        ];
        for (driver, name, others) in spellings {
            for spelled in others.iter().chain([name]) {
                assert_eq!(port_name(driver, spelled), *name, "{driver} {spelled}");
            }
        }
        // Linux tells them apart.
        for driver in ["sonic", "cumulus_nvue", "frr_linux", "ovs_ssh", "ovsdb", "gnmi_openconfig"] {
            assert_eq!(port_name(driver, "SWP7"), "SWP7");
        }
    }
}
