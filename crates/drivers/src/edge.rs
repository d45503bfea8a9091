//! This host's own attachments to a network: a namespace with one interface, the other end of which is a port of the
//! edge switch. Only the cables are laid here; which VLAN they are in is the switch driver's matter.
//!
//! Nothing is ever forwarded between two such namespaces: each has one interface, and forwarding is off in all of them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::process::Command;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(10);

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeAttachment {
    /// The namespace to make, in which `eth0` is.
    pub netns: String,
    /// The namespace of the edge switch; must exist.
    pub edge_netns: String,
    /// The other end's name there; at most 15 bytes.
    pub port: String,
    /// The MAC address of `eth0`.
    pub mac: [u8; 6],
    /// The address of `eth0` and the length of its prefix; `None` for none.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The same of the other family; without it that family is off.
    pub address6: Option<(Ipv6Addr, u8)>,
    /// Largest packet, in bytes.
    pub mtu: u16,
}

/// Why an attachment could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A name cannot be used.
    #[error("{what} {value:?} cannot be used: {reason}")]
    Invalid {
        /// What it is the name of.
        what: &'static str,
        /// The name.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A command failed.
    #[error("`{command}` failed: {reason}")]
    Failed {
        /// The command.
        command: String,
        /// Its own words.
        reason: String,
    },
    /// A command did not end in time.
    #[error("`{command}` did not end in time")]
    Timeout {
        /// The command.
        command: String,
    },
    /// After all was done, the state read back is not the wanted one.
    #[error("the attachment {netns} is not as wanted after it was set up: {reason}")]
    NotAsWanted {
        /// Its namespace.
        netns: String,
        /// What differs.
        reason: String,
    },
    /// Several things failed while tearing down; all were tried.
    #[error("the attachment {netns} could not be removed: {reason}")]
    NotRemoved {
        /// Its namespace.
        netns: String,
        /// All that failed.
        reason: String,
    },
}

/// Makes the attachment what is wanted: namespace, cable, address, MTU, no forwarding. Changes nothing that is right.
///
/// # Errors
/// Nothing is cleaned up after an error: call again, or remove the attachment.
pub async fn ensure_attachment(wanted: &EdgeAttachment) -> Result<(), EdgeError> {
    check("namespace", &wanted.netns, 64)?;
    check("namespace", &wanted.edge_netns, 64)?;
    check("port", &wanted.port, 15)?;
    if differs(wanted).await?.is_none() {
        return Ok(());
    }
    if !exists(&wanted.netns) {
        ip(&["netns", "add", &wanted.netns]).await?;
    }
    let inside = ["-n", &wanted.netns];
    ip(&[&inside[..], &["link", "set", "lo", "up"]].concat()).await?;
    let has_inner = ip(&[&inside[..], &["link", "show", "dev", "eth0"]].concat()).await.is_ok();
    let has_outer = ip(&["-n", &wanted.edge_netns, "link", "show", "dev", &wanted.port]).await.is_ok();
    if !(has_inner && has_outer) {
        // Half a cable, left by a crash: a veth cannot lose one end only, so these are ends of different cables.
        if has_inner {
            ip(&[&inside[..], &["link", "del", "dev", "eth0"]].concat()).await?;
        }
        if has_outer {
            ip(&["-n", &wanted.edge_netns, "link", "del", "dev", &wanted.port]).await?;
        }
        let (netns, edge_netns) = (&wanted.netns, &wanted.edge_netns);
        ip(&["link", "add", "name", &wanted.port, "netns", edge_netns, "type", "veth", "peer", "name", "eth0", "netns", netns]).await?;
    }
    let mtu = wanted.mtu.to_string();
    let mac = mac_text(wanted.mac);
    ip(&["-n", &wanted.edge_netns, "link", "set", "dev", &wanted.port, "mtu", &mtu, "up"]).await?;
    ip(&[&inside[..], &["link", "set", "dev", "eth0", "address", &mac, "mtu", &mtu, "up"]].concat()).await?;
    let sysctl = ["netns", "exec", &wanted.netns, "sysctl", "-q", "-w"];
    let off = u8::from(wanted.address6.is_none());
    let ipv6 = ["all", "default"].map(|it| format!("net.ipv6.conf.{it}.disable_ipv6={off}"));
    // Nobody on the network may hand this host an address or a route.
    let deaf = ["accept_ra", "autoconf", "forwarding"].map(|it| format!("net.ipv6.conf.eth0.{it}=0"));
    let settings = std::iter::once("net.ipv4.ip_forward=0".to_owned()).chain(ipv6).chain(deaf.into_iter().filter(|_| off == 0));
    for setting in settings {
        ip(&[&sysctl[..], &[setting.as_str()]].concat()).await?;
    }
    ip(&[&inside[..], &["address", "flush", "dev", "eth0"]].concat()).await?;
    if let Some((address, prefix)) = wanted.address {
        let text = format!("{address}/{prefix}");
        ip(&[&inside[..], &["address", "add", &text, "dev", "eth0"]].concat()).await?;
    }
    if let Some((address, prefix)) = wanted.address6 {
        // The kernel makes the link's own address when the family is switched on; it was flushed with the others.
        let texts = [format!("{address}/{prefix}"), format!("{}/64", link_local(wanted.mac))];
        for text in texts {
            ip(&[&inside[..], &["-6", "address", "add", &text, "dev", "eth0", "nodad"]].concat()).await?;
        }
    }
    match differs(wanted).await? {
        None => Ok(()),
        Some(reason) => Err(EdgeError::NotAsWanted { netns: wanted.netns.clone(), reason }),
    }
}

/// Removes namespace and cable; what is not there is fine.
///
/// # Errors
/// Everything is tried; all failures are told.
pub async fn remove_attachment(netns: &str, edge_netns: &str, port: &str) -> Result<(), EdgeError> {
    check("namespace", netns, 64)?;
    check("namespace", edge_netns, 64)?;
    check("port", port, 15)?;
    let mut failures = Vec::new();
    // Deleting one end deletes the cable; the namespace may have gone first and taken it along.
    if exists(edge_netns)
        && ip(&["-n", edge_netns, "link", "show", "dev", port]).await.is_ok()
        && let Err(error) = ip(&["-n", edge_netns, "link", "del", "dev", port]).await
    {
        failures.push(error.to_string());
    }
    if exists(netns)
        && let Err(error) = ip(&["netns", "del", netns]).await
    {
        failures.push(error.to_string());
    }
    if failures.is_empty() { Ok(()) } else { Err(EdgeError::NotRemoved { netns: netns.to_owned(), reason: failures.join("; ") }) }
}

/// Lists the attachments whose namespaces' names begin with `prefix`, in order.
///
/// # Errors
/// If the namespaces cannot be listed.
pub async fn list_attachments(prefix: &str) -> Result<Vec<String>, EdgeError> {
    let text = ip(&["netns", "list"]).await?;
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with(prefix)).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn exists(netns: &str) -> bool {
    std::path::Path::new("/run/netns").join(netns).exists()
}

fn check(what: &'static str, value: &str, limit: usize) -> Result<(), EdgeError> {
    let fits = !value.is_empty() && value.len() <= limit && !value.starts_with('-');
    if fits && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Ok(());
    }
    Err(EdgeError::Invalid {
        what,
        value: value.to_owned(),
        reason: "it is empty, too long, or has other characters than letters, digits, '-' and '_'",
    })
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The address that a device gives itself (RFC 4291, appendix A).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    crate::boot::dhcp6::eui64(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), mac)
}

/// What is not as wanted, if anything.
async fn differs(wanted: &EdgeAttachment) -> Result<Option<String>, EdgeError> {
    if !exists(&wanted.edge_netns) {
        return Err(EdgeError::Failed {
            command: format!("ip netns exec {}", wanted.edge_netns),
            reason: "the edge switch's namespace does not exist".into(),
        });
    }
    if !exists(&wanted.netns) {
        return Ok(Some("the namespace does not exist".into()));
    }
    let Ok(links) = ip(&["-n", &wanted.netns, "-j", "address", "show"]).await else {
        return Ok(Some("the namespace cannot be read".into()));
    };
    let links: Vec<serde_json::Value> = serde_json::from_str(&links).unwrap_or_default();
    let Some(eth0) = links.iter().find(|link| link["ifname"] == "eth0") else {
        return Ok(Some("there is no eth0".into()));
    };
    if links.iter().any(|link| link["ifname"] != "eth0" && link["ifname"] != "lo") {
        return Ok(Some("there is another interface".into()));
    }
    let flags = eth0["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
    let addresses: Vec<String> = eth0["addr_info"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|it| it["family"] == "inet" || (it["family"] == "inet6" && it["scope"] != "link"))
        .map(|it| format!("{}/{}", it["local"].as_str().unwrap_or_default(), it["prefixlen"]))
        .collect();
    let mut expected: Vec<String> = wanted.address.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
    expected.extend(wanted.address6.iter().map(|(address, prefix)| format!("{address}/{prefix}")));
    if !flags || eth0["mtu"] != wanted.mtu || eth0["address"] != mac_text(wanted.mac).as_str() || addresses != expected {
        return Ok(Some("eth0 has another address, MTU or state".into()));
    }
    let forwarding = ip(&["netns", "exec", &wanted.netns, "cat", "/proc/sys/net/ipv4/ip_forward"]).await?;
    if forwarding.trim() != "0" {
        return Ok(Some("forwarding is on".into()));
    }
    let Ok(outer) = ip(&["-n", &wanted.edge_netns, "-j", "link", "show", "dev", &wanted.port]).await else {
        return Ok(Some("the switch's end does not exist".into()));
    };
    let outer: Vec<serde_json::Value> = serde_json::from_str(&outer).unwrap_or_default();
    let is_up = outer.first().and_then(|link| link["flags"].as_array()).is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
    let is_other_end = outer.first().is_some_and(|link| link["link_index"] == eth0["ifindex"]);
    Ok((!(is_up && is_other_end)).then(|| "the switch's end is down or of another cable".into()))
}

/// Runs `ip` and returns what it printed.
async fn ip(args: &[&str]) -> Result<String, EdgeError> {
    let command = format!("ip {}", args.join(" "));
    let run = Command::new("ip").args(args).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, run).await.map_err(|_| EdgeError::Timeout { command: command.clone() })?;
    let output = output.map_err(|error| EdgeError::Failed { command: command.clone(), reason: error.to_string() })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(EdgeError::Failed { command, reason: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cleanup(Vec<String>);

    impl Drop for Cleanup {
        fn drop(&mut self) {
            for name in &self.0 {
                let _ended = std::process::Command::new("ip").args(["netns", "del", name]).output();
            }
        }
    }

    #[tokio::test]
    async fn an_attachment_is_made_repaired_and_removed() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
        let id = std::process::id();
        let wanted = EdgeAttachment {
            netns: format!("cd-t{id}-n"),
            edge_netns: format!("cd-t{id}-edge"),
            port: format!("e{id}"),
            mac: [0xfa, 0x16, 0x3e, 1, 2, 3],
            address: Some((Ipv4Addr::new(10, 0, 0, 2), 24)),
            address6: Some(("fd00:7::1".parse().unwrap(), 64)),
            mtu: 1500,
        };
        let _cleanup = Cleanup(vec![wanted.netns.clone(), wanted.edge_netns.clone()]);
        assert!(ensure_attachment(&wanted).await.is_err(), "no edge switch yet");
        ip(&["netns", "add", &wanted.edge_netns]).await.unwrap();
        ensure_attachment(&wanted).await.unwrap();
        assert_eq!(differs(&wanted).await.unwrap(), None);
        ensure_attachment(&wanted).await.unwrap();
        assert_eq!(list_attachments(&format!("cd-t{id}-n")).await.unwrap(), vec![wanted.netns.clone()]);
        ip(&["-n", &wanted.netns, "address", "add", "10.0.0.9/24", "dev", "eth0"]).await.unwrap();
        assert!(differs(&wanted).await.unwrap().is_some());
        ip(&["-n", &wanted.edge_netns, "link", "del", "dev", &wanted.port]).await.unwrap();
        ensure_attachment(&wanted).await.unwrap();
        assert_eq!(differs(&wanted).await.unwrap(), None);
        remove_attachment(&wanted.netns, &wanted.edge_netns, &wanted.port).await.unwrap();
        remove_attachment(&wanted.netns, &wanted.edge_netns, &wanted.port).await.unwrap();
        assert!(!exists(&wanted.netns));
    }

    #[tokio::test]
    async fn names_cannot_be_options_or_paths() {
        for name in ["", "-all", "../x", "a b"] {
            assert!(matches!(remove_attachment(name, "edge", "p").await, Err(EdgeError::Invalid { .. })), "{name}");
        }
    }
}
