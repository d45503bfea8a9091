//! Asking a running rack how it is: its daemon answers each connection to the socket `lab.sock` with one JSON document.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::Power;

/// How a rack is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The rack's name.
    pub name: String,
    /// Process id of its daemon.
    pub pid: u32,
    /// How long it took to come up, in milliseconds.
    pub started_in_ms: u128,
    /// Its machines.
    pub machines: Vec<MachineStatus>,
}

/// How a machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// Whether it has power.
    pub power: Power,
    /// Process id, on the host, of its first process.
    pub pid: Option<i32>,
}

/// Asks the rack in `dir`.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] if none runs there; others as they come.
pub fn ask(dir: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(dir.join("lab.sock"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}
