//! Simulated switch operating systems: SSH, NETCONF and gNMI servers that behave as a vendor's manual says, for tests and for trying out
//! (`cofferdam lab switch`).
//!
//! A [`Simulator`] is one switch: a [`device::Device`] that knows no vendor, the [`os::Os`] that people talk to, and the
//! [`faults::Faults`] that may strike it. Nothing here shares code with the drivers that talk to it. Thousands fit into one process:
//! each is one listening socket and one task on the caller's runtime.

pub mod command;
pub mod device;
pub mod faults;
pub mod gnmi;
mod netconf;
mod openconfig;
pub mod os;
mod overlay;
pub mod plane;
#[cfg(test)]
mod server_tests;
mod ssh;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use device::{Config, Device};
use faults::Faults;

/// Which SSH host key a switch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKey {
    /// One of its own, made at start.
    #[default]
    Own,
    /// The one of all such switches of this process.
    Shared,
}

/// What switch to start. `Debug` shows no secret.
#[derive(Clone)]
pub struct Spec {
    /// One of [`os::NAMES`].
    pub os: String,
    /// Where SSH is served; port 0: a free one.
    pub listen: SocketAddr,
    /// Where gNMI is served, if at all and if the operating system has it.
    pub gnmi: Option<SocketAddr>,
    /// The switch's name.
    pub hostname: String,
    /// How many ports it has.
    pub ports: usize,
    /// Who may log in.
    pub username: String,
    /// With which password.
    pub password: String,
    /// Or with which public keys, in OpenSSH's form.
    pub authorized_keys: Vec<String>,
    /// What `enable` asks for; `None`: the user has the highest privilege at once.
    pub enable_password: Option<String>,
    /// Which host key it shows.
    pub host_key: HostKey,
    /// How many connections it serves at once; further ones are closed.
    pub max_sessions: usize,
    /// What it starts with; `None`: as fresh from the box.
    pub startup: Option<Config>,
}

impl Spec {
    /// A switch on a free port of the loopback interface, user `admin` with password `admin`.
    pub fn new(os: &str, ports: usize) -> Self {
        Self {
            os: os.to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            gnmi: None,
            hostname: "leaf1".to_owned(),
            ports,
            username: "admin".to_owned(),
            password: "admin".to_owned(),
            authorized_keys: Vec::new(),
            enable_password: None,
            host_key: HostKey::Own,
            max_sessions: 16,
            startup: None,
        }
    }
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec")
            .field("os", &self.os)
            .field("listen", &self.listen)
            .field("hostname", &self.hostname)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// Who is let in.
pub struct Access {
    username: String,
    password: String,
    keys: Vec<PublicKey>,
    enable_password: Option<String>,
}

impl Access {
    /// Whether name and password are right.
    pub fn password(&self, user: &str, password: &str) -> bool {
        user == self.username && password == self.password
    }

    fn key(&self, user: &str, key: &PublicKey) -> bool {
        user == self.username && self.keys.iter().any(|it| it.key_data() == key.key_data())
    }

    /// The log-in of a user who was let in.
    pub fn login(&self, user: &str) -> os::Login {
        os::Login { user: user.to_owned(), enable_password: self.enable_password.clone(), privileged: self.enable_password.is_none() }
    }
}

/// Why a simulator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such operating system.
    #[error("no simulated operating system is called {0:?}")]
    UnknownOs(String),
    /// The address cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// An authorized key is none, or no host key could be made.
    #[error("a key is unusable")]
    Key(#[source] russh::keys::ssh_key::Error),
    /// The operating system has no gNMI.
    #[error("{0} has no gNMI server")]
    NoGnmi(&'static str),
}

/// A running switch. It stops when this is dropped.
pub struct Simulator {
    os: Arc<dyn os::Os>,
    device: Arc<Device>,
    address: SocketAddr,
    gnmi: Option<SocketAddr>,
    host_key: String,
    tasks: Vec<AbortHandle>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("os", &self.os.name()).field("address", &self.address).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts a switch on the runtime that this is called in.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(spec: Spec) -> Result<Self, StartError> {
        let os = os::find(&spec.os).ok_or_else(|| StartError::UnknownOs(spec.os.clone()))?;
        let config = spec.startup.unwrap_or_else(|| os.factory(&os::Shape { hostname: spec.hostname.clone(), ports: spec.ports }));
        let device = Arc::new(Device::new(mac(&spec.hostname), os.rules(), config));
        let keys = spec.authorized_keys.iter().map(|it| PublicKey::from_openssh(it)).collect::<Result<_, _>>().map_err(StartError::Key)?;
        let access = Arc::new(Access { username: spec.username, password: spec.password, keys, enable_password: spec.enable_password });
        let key = match spec.host_key {
            HostKey::Own => Arc::new(ssh::Identity::new(new_key().map_err(StartError::Key)?)),
            HostKey::Shared => shared_key().map_err(StartError::Key)?,
        };
        let host_key = key.fingerprint.clone();
        let (listener, address) = listen(spec.listen)?;
        let gnmi = spec.gnmi.map(listen).transpose()?;
        let mut tasks = Vec::new();
        let mut gnmi_address = None;
        if let Some((listener, address)) = gnmi {
            let task = os.gnmi(&device, &access, listener).ok_or(StartError::NoGnmi(os.name()))?;
            tasks.push(tokio::spawn(task).abort_handle());
            gnmi_address = Some(address);
        }
        let server = ssh::Server { os: Arc::clone(&os), device: Arc::clone(&device), access, identity: key, most: spec.max_sessions };
        tasks.push(tokio::spawn(ssh::serve(Arc::new(server), listener)).abort_handle());
        Ok(Self { os, device, address, gnmi: gnmi_address, host_key, tasks })
    }

    /// Where SSH is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where gNMI is served.
    pub fn gnmi_address(&self) -> Option<SocketAddr> {
        self.gnmi
    }

    /// The fingerprint of the SSH host key as `ssh-keygen -l` shows it: `SHA256:…`.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// The switch behind it.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// What is wrong with it.
    pub fn faults(&self) -> &Faults {
        self.device.faults()
    }

    /// Its operating system.
    pub fn os(&self) -> &Arc<dyn os::Os> {
        &self.os
    }

    /// Somebody else types these lines at the console, as a user with the highest privilege, untouched by faults and uncounted. Answers
    /// what the switch printed after each.
    pub fn type_lines<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let login = os::Login { user: "console".to_owned(), enable_password: None, privileged: true };
        let mut session = self.os.login(&self.device, &login);
        lines.into_iter().map(|it| session.line(it)).map(|it| it.text + &it.error).collect()
    }

    /// The operator makes it ready for VXLAN networks, as far as it has them: what is typed, with what the switch printed after each line.
    pub fn prepare_overlay(&self) -> Vec<(&'static str, String)> {
        let lines = overlay::lines(self.os.name());
        lines.iter().copied().zip(self.type_lines(lines.iter().copied())).collect()
    }

    /// Stops it: no more connections, all open ones closed.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.device.drop_connections();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let open = || {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().map_err(|source| StartError::Listen { address, source })
}

/// A locally administered address that is always the same for a name.
fn mac(hostname: &str) -> [u8; 6] {
    let digest = Sha256::digest(hostname.as_bytes());
    let mut out = [0x02, 0, 0, 0, 0, 0];
    for (to, from) in out.iter_mut().skip(1).zip(digest) {
        *to = from;
    }
    out
}

fn new_key() -> Result<PrivateKey, russh::keys::ssh_key::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_no_entropy| russh::keys::ssh_key::Error::Crypto)?;
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "")
}

fn shared_key() -> Result<Arc<ssh::Identity>, russh::keys::ssh_key::Error> {
    static SHARED: OnceLock<Arc<ssh::Identity>> = OnceLock::new();
    if let Some(key) = SHARED.get() {
        return Ok(Arc::clone(key));
    }
    let made = Arc::new(ssh::Identity::new(new_key()?));
    Ok(Arc::clone(SHARED.get_or_init(|| made)))
}

fn fingerprint(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}
