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

    /// Open vSwitch without a kernel and without root: its own simulation of devices, packets traced.
    struct Ovs {
        dir: tempfile::TempDir,
        programs: Vec<tokio::process::Child>,
    }

    impl Ovs {
        async fn start() -> Option<Self> {
            let schema = "/usr/share/openvswitch/vswitch.ovsschema";
            let dir = tempfile::tempdir().unwrap();
            let at = |file: &str| dir.path().join(file).display().to_string();
            if let Err(error) = tool::run("ovsdb-tool", ["create", &at("conf.db"), schema], "").await {
                println!("skipped: {error}");
                return None;
            }
            let spawn = |program: &str, arguments: &[String]| {
                let mut command = tokio::process::Command::new(program);
                command.args(arguments).args(["-vconsole:off", "-vsyslog:off"]).env("OVS_RUNDIR", dir.path()).kill_on_drop(true);
                command.arg(format!("--unixctl={}", at(&format!("{program}.ctl")))).spawn().ok()
            };
            let database = spawn("ovsdb-server", &[at("conf.db"), format!("--remote=punix:{}", at("db.sock"))])?;
            let switch =
                spawn("ovs-vswitchd", &["--enable-dummy=override".into(), "--disable-system".into(), format!("unix:{}", at("db.sock"))])?;
            let out = Self { programs: vec![database, switch], dir };
            for _ in 0..100 {
                if out.dir.path().join("db.sock").exists() && out.dir.path().join("ovs-vswitchd.ctl").exists() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let mut words = vec![out.database(), "--timeout=10".into()];
            words.extend(
                "--no-wait init -- add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=standalone".split(' ').map(str::to_owned),
            );
            for nth in 1..=4 {
                let port = format!("-- add-port br0 p{nth} -- set interface p{nth} type=dummy ofport_request={nth}");
                words.extend(port.split(' ').map(str::to_owned));
            }
            words.retain(|it| it != "--no-wait" && it != "init");
            tool::run("ovs-vsctl", words, "").await.unwrap();
            Some(out)
        }

        fn database(&self) -> String {
            format!("--db=unix:{}", self.dir.path().join("db.sock").display())
        }

        /// To which ports a broadcast frame goes that comes in at a port, and with which tags.
        async fn reaches(&self, port: u16, tag: Option<u16>) -> String {
            let control = self.dir.path().join("ovs-vswitchd.ctl").display().to_string();
            let tag = tag.map(|it| format!(",dl_vlan={it}")).unwrap_or_default();
            let flow = format!("in_port={port},dl_src=02:00:00:00:00:0{port},dl_dst=ff:ff:ff:ff:ff:ff{tag}");
            let said = tool::run("ovs-appctl", ["-t", &control, "ofproto/trace", "br0", &flow], "").await.unwrap();
            said.lines().find_map(|it| it.strip_prefix("Datapath actions: ")).unwrap_or_default().to_owned()
        }
    }

    impl Drop for Ovs {
        fn drop(&mut self) {
            for program in &mut self.programs {
                drop(program.start_kill());
            }
        }
    }

    #[tokio::test]
    async fn packets_follow_a_real_switch() {
        let Some(ovs) = Ovs::start().await else { return };
        let simulator = super::super::Simulator::start(super::super::Spec::new("arista_eos", 4)).unwrap();
        let ports = (1..=4).map(|it| (format!("Ethernet{it}"), format!("p{it}"))).collect();
        let database = ovs.database().replace("--db=", "");
        let plane = Plane::start(Arc::clone(simulator.device()), Bridge { netns: None, database: Some(database), ports });
        plane.settled().await;
        assert!(ovs.reaches(1, None).await.contains("push_vlan(vid=1,"), "all are in VLAN 1");
        simulator.type_lines(["configure", "vlan 5,6", "interface Et1-2", "switchport access vlan 5", "interface Et3", "shutdown"]);
        simulator.type_lines(["configure", "interface Et4", "switchport mode trunk", "switchport trunk allowed vlan 5"]);
        plane.settled().await;
        let flooded = ovs.reaches(1, None).await;
        assert!(flooded.contains("push_vlan(vid=5") && !flooded.contains("drop"), "{flooded}");
        assert_eq!(ovs.reaches(3, None).await, "drop", "it is shut");
        assert_eq!(ovs.reaches(4, None).await, "drop", "VLAN 1 is not allowed");
        assert_eq!(ovs.reaches(4, Some(6)).await, "drop", "VLAN 6 is not allowed");
        assert!(ovs.reaches(4, Some(5)).await.contains("pop_vlan"));
        simulator.device().reboot(Duration::from_millis(300));
        plane.settled().await;
        assert_eq!(ovs.reaches(1, None).await, "drop", "it starts");
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while ovs.reaches(3, None).await == "drop" {
            assert!(std::time::Instant::now() < until, "what was not saved is forgotten after the start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
