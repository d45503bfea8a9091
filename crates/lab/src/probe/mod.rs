//! Who reaches whom: real packets from every machine and every container of a rack to every other.
//!
//! The probe looks from outside: it enters the network namespace of each endpoint only to open sockets there, so that nothing
//! in the endpoint has to cooperate or could lie. It says what arrived; who is allowed to reach whom is the caller's to know.
//!
//! Tenants use the same addresses as others. Each packet therefore carries who sent it, and whoever hears it counts as reached,
//! whether it was meant or not; a service is known by the name it answers with, not by the address it was asked at.

mod find;
mod matrix;
mod packet;
mod sockets;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

pub use matrix::measure;

use crate::rack::{ISOLATION_VLAN, Rack};

/// How to probe.
#[derive(Clone, Debug)]
pub struct Options {
    /// TCP port on which containers tell their host name, as the default command of `cofferdam/busybox` does.
    pub service_port: Option<u16>,
    /// How long to wait, in each of two rounds, for what was sent last.
    pub timeout: Duration,
    /// VLANs to try to get into with tagged frames.
    pub vlans: Vec<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self { service_port: None, timeout: Duration::from_millis(700), vlans: vec![1, ISOLATION_VLAN] }
    }
}

/// What to send from and listen at.
#[derive(Clone, Debug)]
pub struct Target {
    /// Unique.
    pub name: String,
    /// Name of the machine it is or is in.
    pub machine: String,
    /// Name of the container, if it is one.
    pub container: Option<String>,
    /// What its service says when asked who it is.
    pub hostname: Option<String>,
    /// A process of it, for the report.
    pub pid: i32,
    /// File of its network namespace.
    pub netns: PathBuf,
}

/// One end of the measurements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `m1`, or `m1/web-1` for a container.
    pub name: String,
    /// Name of the machine it is or is in.
    pub machine: String,
    /// Name of the container, if it is one.
    pub container: Option<String>,
    /// Process id, on the host, of one of its processes.
    pub pid: i32,
    /// Its IPv4 addresses.
    pub addresses: Vec<String>,
    /// Hardware addresses of the interfaces that were probed.
    pub macs: Vec<String>,
}

/// How a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// As an Ethernet frame: to all, to a hardware address, with VLAN tags that do not belong there.
    L2,
    /// As a UDP datagram to an address, by the sender's own routes.
    Udp,
    /// As a TCP connection to the service port, answered with a container's name.
    Service,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::Udp => "udp",
            Self::Service => "service",
        })
    }
}

/// What was measured from one endpoint to another in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Name of the sender.
    pub from: String,
    /// Name of the receiver.
    pub to: String,
    /// In which way.
    pub kind: Way,
    /// Packets sent that the receiver would get if there were a path, or connections tried. What a sender's own kernel delivers
    /// to itself or refuses to send is not counted: it says nothing about the network.
    pub sent: u64,
    /// Packets that the receiver got, even if they were not meant for it, or connections it answered.
    pub received: u64,
}

/// An ordered pair with a path between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Name of the sender.
    pub from: String,
    /// Name of the receiver.
    pub to: String,
    /// Ways in which something arrived.
    pub via: Vec<Way>,
}

/// How often a probe is begun anew because a container ended meanwhile.
const TRIES: u32 = 4;

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Who was probed.
    pub endpoints: Vec<Endpoint>,
    /// What was sent and what arrived, for every ordered pair and way in which anything was sent or arrived.
    pub results: Vec<Measured>,
    /// The pairs between which anything arrived.
    pub reach: Vec<Reach>,
    /// Packets sent and connections tried.
    pub attempts: u64,
    /// Of [`Report::results`], the sum of all that was received.
    pub received: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// Probes a running rack: every machine that is on, and every container in these. Blocks for about two seconds; must be called as
/// root and outside of any async runtime.
///
/// # Errors
/// No rack runs; an endpoint cannot be probed, or does not even hear itself; somebody answers on the service port without
/// saying who. There is no partial report: what was not measured must not look like isolation.
pub fn run(dir: &Path, service_port: Option<u16>) -> anyhow::Result<Report> {
    let rack = Rack::load(dir)?;
    let mut options = Options { service_port, ..Options::default() };
    options.vlans.extend(find::vlans(&rack)?);
    let mut tries = 1;
    loop {
        let targets = find::settled(&rack)?;
        match measure(&targets, &options) {
            // A container that ended while it was probed is nobody's endpoint: whoever is there then is probed anew.
            Err(_) if tries < TRIES && targets.iter().any(|it| it.container.is_some() && !it.netns.exists()) => tries += 1,
            result => return result,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.endpoints.iter().map(|it| it.name.chars().count()).max().unwrap_or(0).max("from \\ to".len());
        write!(f, "     {:width$}", "from \\ to")?;
        for number in 1..=self.endpoints.len() {
            write!(f, "{number:>5}")?;
        }
        for (from, number) in self.endpoints.iter().zip(1_usize..) {
            write!(f, "\n{number:>4} {:width$}", from.name)?;
            for to in &self.endpoints {
                let via = self.reach.iter().find(|it| it.from == from.name && it.to == to.name).map_or(&[][..], |it| &it.via);
                let letters: String = via.iter().map(Way::letter).collect();
                let word = if from.name == to.name { "-" } else { letters.as_str() };
                write!(f, "{:>5}", if word.is_empty() { "." } else { word })?;
            }
        }
        write!(
            f,
            "\nL: Ethernet frames, U: UDP, S: service; {} packets and connections, {} arrived, {} ms",
            self.attempts, self.received, self.duration_ms
        )
    }
}

impl Way {
    fn letter(&self) -> char {
        match self {
            Self::L2 => 'L',
            Self::Udp => 'U',
            Self::Service => 'S',
        }
    }
}

#[cfg(test)]
mod tests;
