//! Real packets under a simulated switch: ports of an Open vSwitch bridge are set to pass what the switch's ports pass.
//!
//! A port that passes nothing gets a trunk of the VLAN that no tenant can use, 4095, and is protected: Open vSwitch lets through nothing
//! else, and nothing between protected ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::device::{Carried, Device};
use crate::kernel::tool;

/// Pause after Open vSwitch refused or did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// The bridge to drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The network namespace in which `ovs-vsctl` is run; `None`: this process's.
    pub netns: Option<String>,
    /// The database, such as `unix:/run/openvswitch/db.sock`; `None`: the usual one.
    pub database: Option<String>,
    /// The bridge's ports by the switch's ports that they play.
    pub ports: BTreeMap<String, String>,
}

/// Keeps a bridge as a switch's running configuration says, until it is dropped.
#[derive(Debug)]
pub struct Plane {
    device: Arc<Device>,
    settled: watch::Receiver<u64>,
    task: AbortHandle,
}

impl Plane {
    /// Starts on the runtime that this is called in.
    pub fn start(device: Arc<Device>, bridge: Bridge) -> Self {
        let (report, settled) = watch::channel(u64::MAX);
        let task = tokio::spawn(follow(Arc::clone(&device), bridge, report)).abort_handle();
        Self { device, settled, task }
    }

    /// Returns when packets follow what the switch was set to when this was called.
    pub async fn settled(&self) {
        let wanted = *self.device.changes().borrow();
        let mut settled = self.settled.clone();
        // Fails only if the task is gone, at the end of the runtime.
        let _gone = settled.wait_for(|it| *it != u64::MAX && *it >= wanted).await;
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(device: Arc<Device>, bridge: Bridge, report: watch::Sender<u64>) {
    let mut changes = device.changes();
    let mut applied: BTreeMap<&String, (Carried, bool)> = BTreeMap::new();
    loop {
        let version = *changes.borrow_and_update();
        let is_down = device.is_down();
        let running = device.running();
        let mut wanted = BTreeMap::new();
        for port in bridge.ports.keys() {
            let is_protected = running.ports.get(port).is_some_and(|it| it.protected);
            let carried = if is_down { Carried::default() } else { running.carries(port, device.rules()) };
            wanted.insert(port, (carried, is_protected));
        }
        let differing = bridge.ports.iter().filter(|(port, _)| applied.get(port) != wanted.get(port));
        let lines: Vec<String> = differing
            .filter_map(|(port, socket)| wanted.get(port).map(|(carried, protected)| set(socket, carried, *protected)))
            .flatten()
            .collect();
        let failed = if lines.is_empty() { None } else { apply(&bridge, lines).await.err() };
        match failed {
            Some(error) => {
                tracing::warn!(%error, "Open vSwitch does not follow a simulated switch");
                applied.clear();
                tokio::time::sleep(RETRY).await;
                continue;
            }
            None => {
                applied = wanted;
                report.send_replace(version);
            }
        }
        let down_for = device.down_for();
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(down_for), if !down_for.is_zero() => {}
        }
    }
}

/// The words for `ovs-vsctl` that make a port pass this.
fn set(socket: &str, carried: &Carried, is_protected: bool) -> Vec<String> {
    let list = |vlans: &mut dyn Iterator<Item = &u16>| vlans.map(u16::to_string).collect::<Vec<_>>().join(",");
    let mut out: Vec<String> = ["--", "clear", "port", socket, "tag", "trunks", "--", "set", "port", socket].map(str::to_owned).into();
    let tagged = list(&mut carried.tagged.iter());
    match (carried.untagged, tagged.is_empty()) {
        (None, true) => out.extend(["vlan_mode=trunk".to_owned(), "trunks=4095".to_owned()]),
        (None, false) => out.extend(["vlan_mode=trunk".to_owned(), format!("trunks={tagged}")]),
        (Some(vlan), true) => out.extend(["vlan_mode=access".to_owned(), format!("tag={vlan}")]),
        (Some(vlan), false) => {
            out.extend(["vlan_mode=native-untagged".to_owned(), format!("tag={vlan}"), format!("trunks={vlan},{tagged}")]);
        }
    }
    out.push(format!("protected={}", is_protected || carried.is_empty()));
    out
}

async fn apply(bridge: &Bridge, words: Vec<String>) -> Result<(), tool::ToolError> {
    let mut arguments: Vec<String> = Vec::new();
    let program = if let Some(netns) = &bridge.netns {
        arguments.extend(["netns", "exec", netns, "ovs-vsctl"].map(str::to_owned));
        "ip"
    } else {
        "ovs-vsctl"
    };
    arguments.extend(bridge.database.iter().map(|it| format!("--db={it}")));
    arguments.push("--timeout=10".to_owned());
    arguments.extend(words);
    tool::run(program, arguments, "").await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(untagged: Option<u16>, tagged: &[u16]) -> String {
        set("p1", &Carried { untagged, tagged: tagged.iter().copied().collect() }, false).join(" ")
    }

    #[test]
    fn ports_pass_what_the_switch_passes() {
        assert_eq!(words(Some(5), &[]), "-- clear port p1 tag trunks -- set port p1 vlan_mode=access tag=5 protected=false");
        assert_eq!(words(None, &[7, 8]), "-- clear port p1 tag trunks -- set port p1 vlan_mode=trunk trunks=7,8 protected=false");
        assert!(words(Some(5), &[7]).ends_with("vlan_mode=native-untagged tag=5 trunks=5,7 protected=false"));
        assert!(words(None, &[]).ends_with("vlan_mode=trunk trunks=4095 protected=true"));
    }
}
