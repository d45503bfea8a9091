//! Baseboard management controllers: power and boot device of a machine.

mod redfish;

use model::Secret;

use crate::Fut;

/// Whether a machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// It runs.
    On,
    /// It is off.
    Off,
    /// It is between the two, or paused: look again.
    Changing,
}

/// What to do with a machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAction {
    /// Switch on; nothing happens if it is on.
    On,
    /// Cut the power at once; nothing happens if it is off.
    Off,
    /// Ask the operating system to shut down; nothing happens if it is off.
    SoftOff,
    /// Cut and restore the power; switches on if it is off.
    Reset,
}

/// What a machine boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// The network.
    Pxe,
    /// Its first disk.
    Disk,
}

/// Whom to trust when a BMC is spoken to over `https`. Not used for `http`.
#[derive(Clone)]
pub enum VerifyCa {
    /// Certificates that chain to one of these (PEM), or are one of these.
    Pem(String),
    /// Anyone. What `redfish_verify_ca=False` asks for: the password can be read by whoever sits in between.
    Anyone,
}

/// Where a BMC is and how to log in.
#[derive(Clone)]
pub struct BmcConfig {
    /// Its URL, `https://…` or `http://…`, without the path of the service.
    pub address: String,
    /// The machine's path below it (`/redfish/v1/Systems/1`). Without it the BMC must have exactly one system.
    pub system: Option<String>,
    /// User name for HTTP basic authentication.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Whom to trust over `https`.
    pub verify_ca: VerifyCa,
}

/// Why a BMC could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum BmcError {
    /// No connection. Nothing is known: look later.
    #[error("could not reach the BMC at {address}: {reason}")]
    Unreachable {
        /// Its URL.
        address: String,
        /// What the connection said.
        reason: String,
    },
    /// No answer within the deadline. An action may or may not have happened: look later.
    #[error("the BMC at {address} did not answer in time")]
    Timeout {
        /// Its URL.
        address: String,
    },
    /// Wrong user name or password, or too few rights. A human is needed.
    #[error("the BMC at {address} refused the login: {reason}")]
    Denied {
        /// Its URL.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// The BMC is busy or in a state in which it cannot do this now (409, 503): look, then try again.
    #[error("the BMC at {address} cannot do this now: {reason}")]
    Conflict {
        /// Its URL.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// The BMC understood and refused, or cannot do it at all.
    #[error("the BMC at {address} refused: {reason}")]
    Rejected {
        /// Its URL.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// It answered what cannot be understood.
    #[error("the BMC at {address} answered what cannot be understood: {reason}")]
    Protocol {
        /// Its URL.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// The configuration is unusable.
    #[error("the configuration of the BMC at {address} is unusable: {reason}")]
    Config {
        /// Its URL.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

/// One machine's BMC.
pub trait Bmc: Send + Sync {
    /// Reads whether the machine has power.
    ///
    /// # Errors
    /// See [`BmcError`]; on `Unreachable` and `Timeout` nothing is known.
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>>;

    /// Orders a change of power; returns when the BMC has accepted it, not when it is done. An order for the state
    /// that is there already is fine.
    ///
    /// # Errors
    /// See [`BmcError`]; after `Timeout` the order may stand.
    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>>;

    /// Chooses what the machine boots from: at the next boot only, or always.
    ///
    /// # Errors
    /// See [`BmcError`].
    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>>;
}

/// Opens a BMC that speaks Redfish; connects lazily.
///
/// # Errors
/// `Config` if the address or the CA cannot be used.
pub fn open(config: BmcConfig) -> Result<Box<dyn Bmc>, BmcError> {
    Ok(Box::new(redfish::Redfish::new(config)?))
}
