//! Finding what there is to probe: machines that have power, and containers in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::Target;
use crate::Power;
use crate::rack::{NO_VLAN, Rack};
use crate::status;

/// How long what there is must stay the same to be believed.
const SETTLE: Duration = Duration::from_millis(100);
/// How often that is waited for.
const SETTLE_TRIES: u32 = 30;

/// What [`targets`] finds once it finds the same twice: programs that start containers pass through namespaces of their own.
///
/// # Errors
/// As [`targets`].
pub(super) fn settled(rack: &Rack) -> anyhow::Result<Vec<Target>> {
    let mut before = targets(rack)?;
    for _ in 0..SETTLE_TRIES {
        std::thread::sleep(SETTLE);
        let now = targets(rack)?;
        let same = before.len() == now.len() && before.iter().zip(&now).all(|(a, b)| a.name == b.name && a.pid == b.pid);
        if same {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Every machine of the rack that is on, each followed by its containers.
///
/// # Errors
/// No rack runs there; a machine changed its state meanwhile.
pub(super) fn targets(rack: &Rack) -> anyhow::Result<Vec<Target>> {
    let status = status::ask(&rack.dir).with_context(|| format!("asking the rack {} how it is", rack.name))?;
    let children = children()?;
    let mut found = Vec::new();
    for machine in status.machines {
        if machine.power != Power::On {
            continue;
        }
        let Some(first) = machine.pid else { continue };
        let own = netns(first).with_context(|| format!("machine {} has just ended", machine.name))?;
        found.push(Target {
            name: machine.name.clone(),
            machine: machine.name.clone(),
            container: None,
            hostname: None,
            pid: first,
            netns: PathBuf::from(format!("/proc/{first}/ns/net")),
        });
        for (container, pid) in containers(first, own, &children) {
            found.push(Target {
                name: format!("{}/{container}", machine.name),
                machine: machine.name.clone(),
                hostname: Some(container.clone()),
                container: Some(container),
                pid,
                netns: PathBuf::from(format!("/proc/{pid}/ns/net")),
            });
        }
    }
    Ok(found)
}

/// Identity of a process's network namespace; `None` if the process is gone.
fn netns(pid: i32) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    Some((file.dev(), file.ino()))
}

/// The children of every process.
fn children() -> anyhow::Result<BTreeMap<i32, Vec<i32>>> {
    let mut found: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that has ended since is no loss.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // proc(5): the state and the parent follow the parenthesised name, which may itself contain parentheses.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        found.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    Ok(found)
}

/// Containers: one for each network namespace, other than the machine's, that a process below the machine's first one is in.
fn containers(first: i32, own: (u64, u64), children: &BTreeMap<i32, Vec<i32>>) -> Vec<(String, i32)> {
    let host = netns(1);
    let mut seen = BTreeSet::from([own]);
    seen.extend(host);
    let mut names: Vec<(String, i32)> = Vec::new();
    let mut pending = vec![first];
    while let Some(pid) = pending.pop() {
        pending.extend(children.get(&pid).into_iter().flatten());
        let Some(namespace) = netns(pid).filter(|it| !seen.contains(it)) else { continue };
        seen.insert(namespace);
        let file = fs::read_to_string(format!("/proc/{pid}/root/etc/hostname")).unwrap_or_default();
        let mut name = file.trim().to_owned();
        if name.is_empty() || names.iter().any(|(other, _)| *other == name) {
            name = format!("{name}#{}", namespace.1);
        }
        names.push((name, pid));
    }
    names.sort();
    names
}

/// VLANs that occur in the configuration of the rack's switches.
///
/// # Errors
/// A switch does not answer.
pub(super) fn vlans(rack: &Rack) -> anyhow::Result<BTreeSet<u16>> {
    let mut found = BTreeSet::new();
    for switch in rack.switches() {
        let mut command = Command::new("ovs-vsctl");
        command.arg(format!("--db={}", switch.ovsdb)).args(["--timeout=5", "--format=json", "--columns=tag,trunks", "list", "Port"]);
        let output = command.stdin(Stdio::null()).output().context("starting ovs-vsctl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "ovs-vsctl does not tell the VLANs of {}: {}", switch.name, said.trim());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading what ovs-vsctl says")?;
        numbers(answer.get("data").unwrap_or(&answer), &mut found);
    }
    found.remove(&NO_VLAN);
    Ok(found)
}

fn numbers(value: &serde_json::Value, found: &mut BTreeSet<u16>) {
    match value {
        serde_json::Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        serde_json::Value::Number(number) => found.extend(number.as_u64().and_then(|number| u16::try_from(number).ok())),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_read_from_what_the_switch_says() {
        let answer = serde_json::json!([[101, ["set", []]], [["set", []], ["set", [102, 103]]], [["set", []], 99]]);
        let mut found = BTreeSet::new();
        numbers(&answer, &mut found);
        assert_eq!(found, BTreeSet::from([99, 101, 102, 103]));
    }

    #[test]
    fn this_process_is_a_child_of_its_parent_and_in_no_container_of_it() {
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        let children = children().unwrap();
        assert!(children[&parent].contains(&own));
        assert_eq!(containers(own, netns(own).unwrap(), &children), []);
        assert!(netns(i32::MAX).is_none());
    }
}
