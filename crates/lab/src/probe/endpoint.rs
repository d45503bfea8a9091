//! Machines that have power, and the containers in them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::status;

/// A machine, or a container in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `m1`, or `m1/web-1`.
    pub name: String,
    /// The machine.
    pub machine: String,
    /// The container's host name; `None` for the machine itself.
    pub container: Option<String>,
    /// IPv4 addresses with prefix lengths: of a machine those of its card, of a container all but the loopback's.
    pub addresses: Vec<String>,
    /// Hardware address of its card.
    pub mac: Option<String>,
    /// A process in it, on the host.
    pub pid: i32,
}

impl Endpoint {
    /// Whether it is a machine.
    pub fn is_machine(&self) -> bool {
        self.container.is_none()
    }

    /// Moves the calling thread into its network namespace.
    pub(super) fn enter(&self) -> io::Result<()> {
        let file = fs::File::open(format!("/proc/{}/ns/net", self.pid))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }
}

/// Everybody in a running rack.
///
/// # Errors
/// The rack does not run, or an endpoint cannot be looked into.
pub fn find(dir: &Path) -> anyhow::Result<Vec<Endpoint>> {
    let status = status::ask(dir).with_context(|| format!("no rack runs in {}", dir.display()))?;
    let processes = processes()?;
    let mut out = Vec::new();
    for (machine, first) in status.machines.iter().filter_map(|it| Some((it.name.as_str(), it.pid?))) {
        out.push(of(machine, None, first)?);
        for (hostname, pid) in containers(first, &processes) {
            // A container that ended meanwhile is no endpoint any more.
            if let Ok(endpoint) = of(machine, Some(hostname), pid) {
                out.push(endpoint);
            }
        }
    }
    Ok(out)
}

/// Looks into one endpoint.
///
/// # Errors
/// Its namespace cannot be entered.
pub(super) fn of(machine: &str, container: Option<String>, pid: i32) -> anyhow::Result<Endpoint> {
    let name = container.as_ref().map_or_else(|| machine.to_owned(), |it| format!("{machine}/{it}"));
    let mut endpoint = Endpoint { name, machine: machine.to_owned(), container, addresses: Vec::new(), mac: None, pid };
    let (addresses, mac) = std::thread::scope(|scope| {
        let looked = scope.spawn(|| -> io::Result<_> {
            endpoint.enter()?;
            interfaces(endpoint.is_machine())
        });
        looked.join().map_err(|_| io::Error::other("the thread panicked"))?
    })
    .with_context(|| format!("looking into {}", endpoint.name))?;
    endpoint.addresses = addresses;
    endpoint.mac = mac;
    Ok(endpoint)
}

/// The addresses of this thread's namespace, and the hardware address of its card.
fn interfaces(card_only: bool) -> io::Result<(Vec<String>, Option<String>)> {
    let mut addresses = Vec::new();
    let mut mac = None;
    for it in nix::ifaddrs::getifaddrs().map_err(io::Error::from)? {
        if it.interface_name == "lo" || (card_only && it.interface_name != "eth0") {
            continue;
        }
        let Some(address) = it.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            let prefix = it.netmask.and_then(|mask| mask.as_sockaddr_in().map(|mask| u32::from(mask.ip()).leading_ones())).unwrap_or(32);
            addresses.push(format!("{}/{prefix}", v4.ip()));
        } else if let (Some(link), "eth0") = (address.as_link_addr(), it.interface_name.as_str()) {
            mac = link.addr().map(|bytes| bytes.map(|byte| format!("{byte:02x}")).join(":"));
        }
    }
    Ok((addresses, mac))
}

/// A process of the host.
struct Process {
    parent: i32,
    netns: u64,
}

fn processes() -> anyhow::Result<HashMap<i32, Process>> {
    let mut out = HashMap::new();
    for entry in fs::read_dir("/proc").context("listing the processes")? {
        let Some(pid) = entry.ok().and_then(|it| it.file_name().to_str()?.parse::<i32>().ok()) else { continue };
        // Processes end while they are looked at.
        let (Ok(status), Ok(netns)) = (fs::read_to_string(format!("/proc/{pid}/status")), fs::metadata(format!("/proc/{pid}/ns/net")))
        else {
            continue;
        };
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        if let Some(parent) = parent {
            out.insert(pid, Process { parent, netns: netns.ino() });
        }
    }
    Ok(out)
}

/// The containers below a machine's first process: processes in network namespaces that are not the machine's own, by host name.
fn containers(first: i32, processes: &HashMap<i32, Process>) -> BTreeMap<String, i32> {
    let Some(own) = processes.get(&first).map(|it| it.netns) else {
        return BTreeMap::new();
    };
    let below = |mut pid: i32| {
        // No tree of processes is this deep; the bound is against one that changes while it is walked.
        for _ in 0..64 {
            match processes.get(&pid) {
                Some(process) if process.parent == first => return true,
                Some(process) => pid = process.parent,
                None => return false,
            }
        }
        false
    };
    let mut by_netns: BTreeMap<u64, i32> = BTreeMap::new();
    for (pid, process) in processes.iter().filter(|(pid, process)| process.netns != own && below(**pid)) {
        let lowest = by_netns.entry(process.netns).or_insert(*pid);
        *lowest = (*lowest).min(*pid);
    }
    let named = by_netns.into_values().filter_map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/root/etc/hostname")).ok()?;
        Some((name.trim().to_owned(), pid)).filter(|(name, _)| !name.is_empty())
    });
    named.collect()
}
