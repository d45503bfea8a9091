//! Network namespaces and the cables between them, by iproute2: one batch a namespace, since each start of a program costs more than
//! what it does.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use net::Netns;

use super::tool::{self, ToolError};

/// Runs a batch of `ip` commands inside a namespace; stops at the first that fails.
pub(crate) async fn ip(netns: &str, commands: &[String]) -> Result<String, ToolError> {
    let input: String = commands.iter().map(|line| format!("{line}\n")).collect();
    tool::run("ip", ["-n", netns, "-batch", "-"], &input).await
}

/// Makes the namespaces.
pub(crate) async fn add_namespaces(names: impl IntoIterator<Item = String>) -> Result<(), ToolError> {
    let input: String = names.into_iter().map(|name| format!("netns add {name}\n")).collect();
    tool::run("ip", ["-batch", "-"], &input).await.map(drop)
}

/// Removes a namespace's name; the namespace itself ends with its last process and socket.
pub(crate) async fn remove_namespace(name: &str) -> Result<(), ToolError> {
    tool::run("ip", ["netns", "del", name], "").await.map(drop)
}

/// Names of the namespaces that begin with `prefix`.
pub(crate) fn namespaces(prefix: &str) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir("/run/netns") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && name.starts_with(prefix)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Keeps a namespace's own IPv6 stack silent: a switch's ports are seen by its kernel too, and would otherwise announce themselves to
/// the machines and answer them.
pub(crate) fn silence(netns: &str) -> io::Result<()> {
    Netns::named(netns).run(|| {
        for which in ["all", "default"] {
            match fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    })?
}

/// A device and the index of the device at its cable's other end (0: none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) peer: u32,
}

/// All devices of a namespace by name.
pub(crate) async fn links(netns: &str) -> Result<BTreeMap<String, Link>, ToolError> {
    let text = tool::run("ip", ["-n", netns, "-o", "-j", "link", "show"], "").await?;
    Ok(parse_links(&text))
}

fn parse_links(text: &str) -> BTreeMap<String, Link> {
    let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let number = |row: &serde_json::Value, key: &str| row.get(key).and_then(serde_json::Value::as_u64).and_then(|n| u32::try_from(n).ok());
    rows.iter()
        .filter_map(|row| {
            let name = row.get("ifname")?.as_str()?.to_owned();
            Some((name, Link { index: number(row, "ifindex")?, peer: number(row, "link_index").unwrap_or(0) }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read() {
        // From `ip -n X -o -j link show`, iproute2 6.1.
        let text = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"mtu":65536},
            {"ifindex":3,"link_index":2,"ifname":"eth0","flags":["BROADCAST"],"mtu":1500,"link_netnsid":0}]"#;
        let links = parse_links(text);
        assert_eq!(links["eth0"], Link { index: 3, peer: 2 });
        assert_eq!(links["lo"].peer, 0);
        assert!(parse_links("").is_empty());
    }
}
