//! Switches: what their ports carry, and making them carry what is wanted.
//!
//! The rule of the fabric lives here in the small: a driver computes the difference between wanted and read state,
//! applies it in one transaction, and answers with what it *read back*, never with what it sent.

mod ovsdb;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::net::VlanId;
use serde::{Deserialize, Serialize};

use crate::Fut;

/// What a switch port that we own carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMode {
    /// Untagged in the isolation VLAN and *protected*: no other protected port can be reached.
    Isolated,
    /// Untagged in this VLAN only.
    Access(VlanId),
    /// Tagged in these VLANs only. The empty set lets nothing through.
    Trunk(BTreeSet<VlanId>),
}

/// What a port was seen to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenMode {
    /// Exactly one of the modes that we can ask for.
    Known(PortMode),
    /// Something that we never configure, described for an operator.
    Foreign(String),
    /// The switch has no such port.
    Absent,
}

/// The whole wanted state of the ports that we own on one switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchWanted {
    /// Ports by their name on the switch.
    pub ports: BTreeMap<String, PortMode>,
    /// Whether a port that the bridge does not have yet is added to it (this host's own edge switch).
    pub create_missing: bool,
    /// Ports to take out of the bridge (this host's own edge switch). Only a port that bears our mark is removed.
    pub remove: BTreeSet<String>,
}

/// What was read from a switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchSeen {
    /// Every port of the bridge.
    pub ports: BTreeMap<String, SeenMode>,
    /// Every VLAN that occurs anywhere on the switch, on ports that are not ours too. A port that carries all VLANs
    /// contributes none: it names none.
    pub vlans: BTreeSet<VlanId>,
}

/// How one port differs from what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The port's name on the switch.
    pub port: String,
    /// The wanted mode; `None` if the port should not be there.
    pub wanted: Option<PortMode>,
    /// What was seen.
    pub seen: SeenMode,
}

/// Where a switch is and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchConfig {
    /// The operator's name for the switch; used in messages.
    pub name: String,
    /// The protocol: `ovsdb`.
    pub driver: String,
    /// `unix:PATH` or `tcp:ADDRESS:PORT`.
    pub endpoint: String,
    /// The bridge whose ports are managed.
    pub bridge: String,
    /// The VLAN of isolated ports; never carried on a trunk.
    pub isolation_vlan: VlanId,
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
    /// The switch understood and refused, or the wanted state cannot be expressed on it. Nothing was changed; asking
    /// again will not help.
    #[error("switch {switch} refused: {reason}")]
    Rejected {
        /// The switch's name.
        switch: String,
        /// The switch's own words.
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

/// One managed switch.
pub trait Switch: Send + Sync {
    /// Reads every port of the bridge.
    ///
    /// # Errors
    /// `Unreachable` and `Timeout` mean that nothing is known; look again later.
    fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>>;

    /// Makes the named ports what is wanted, in one transaction that only holds if nobody changed them since they
    /// were read, waits until the switch has applied it, and returns what was then read back. Ports that are not
    /// named are never written.
    ///
    /// # Errors
    /// `Unreachable` and `Timeout` mean that the change may or may not have happened; observe later. `Rejected` means
    /// that nothing was changed.
    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<SwitchSeen, SwitchError>>;
}

/// Opens a switch; connects lazily.
///
/// # Errors
/// `Config` if the driver or the endpoint is unknown.
pub fn open(config: SwitchConfig) -> Result<Box<dyn Switch>, SwitchError> {
    match config.driver.as_str() {
        "ovsdb" => Ok(Box::new(ovsdb::Ovsdb::new(config)?)),
        other => Err(SwitchError::Config { reason: format!("no driver is called {other:?}"), switch: config.name }),
    }
}

/// Lists the ports whose seen state is not the wanted one; empty means that they agree.
pub fn differs(wanted: &SwitchWanted, seen: &SwitchSeen) -> Vec<Difference> {
    let look = |port: &String| seen.ports.get(port).cloned().unwrap_or(SeenMode::Absent);
    let mut out = Vec::new();
    for (port, mode) in &wanted.ports {
        let seen = look(port);
        if !matches!(&seen, SeenMode::Known(known) if known == mode) {
            out.push(Difference { port: port.clone(), wanted: Some(mode.clone()), seen });
        }
    }
    for port in &wanted.remove {
        let seen = look(port);
        if seen != SeenMode::Absent && !wanted.ports.contains_key(port) {
            out.push(Difference { port: port.clone(), wanted: None, seen });
        }
    }
    out
}

impl fmt::Display for PortMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortMode::Isolated => f.write_str("isolated"),
            PortMode::Access(vlan) => write!(f, "access VLAN {}", vlan.get()),
            PortMode::Trunk(vlans) if vlans.is_empty() => f.write_str("trunk of no VLAN"),
            PortMode::Trunk(vlans) => {
                f.write_str("trunk of VLANs ")?;
                for (nth, vlan) in vlans.iter().enumerate() {
                    write!(f, "{}{}", if nth == 0 { "" } else { "," }, vlan.get())?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for SeenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeenMode::Known(mode) => mode.fmt(f),
            SeenMode::Foreign(what) => f.write_str(what),
            SeenMode::Absent => f.write_str("absent"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} is {}, wanted ", self.port, self.seen)?;
        match &self.wanted {
            Some(mode) => mode.fmt(f),
            None => f.write_str("absent"),
        }
    }
}
