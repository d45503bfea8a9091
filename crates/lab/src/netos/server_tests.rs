//! The simulators as a client on the network sees them, with faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client::{self, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelMsg, Disconnect};

use super::faults::{Partial, Refusal, Then};
use super::{HostKey, Simulator, Spec};

const PATIENCE: Duration = Duration::from_secs(20);

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A user at a terminal.
struct Terminal {
    handle: Handle<Trusting>,
    channel: Channel<client::Msg>,
    seen: String,
}

async fn connect(simulator: &Simulator) -> Result<Handle<Trusting>, russh::Error> {
    let mut handle = client::connect(Arc::new(client::Config::default()), simulator.address(), Trusting).await?;
    assert!(!handle.authenticate_password("admin", "wrong").await?.success());
    assert!(handle.authenticate_password("admin", "admin").await?.success());
    Ok(handle)
}

impl Terminal {
    async fn open(simulator: &Simulator) -> Result<Self, russh::Error> {
        let handle = connect(simulator).await?;
        let channel = handle.channel_open_session().await?;
        channel.request_pty(true, "vt100", 200, 24, 0, 0, &[]).await?;
        channel.request_shell(true).await?;
        Ok(Self { handle, channel, seen: String::new() })
    }

    /// What is shown until `end` is, or `None` if the switch is gone before.
    async fn until(&mut self, end: &str) -> Option<String> {
        let wait = async {
            loop {
                if let Some(at) = self.seen.find(end) {
                    let rest = self.seen.split_off(at + end.len());
                    return Some(std::mem::replace(&mut self.seen, rest));
                }
                match self.channel.wait().await {
                    Some(ChannelMsg::Data { data }) => self.seen.push_str(&String::from_utf8_lossy(&data)),
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{end:?} was not shown"))
    }

    async fn type_line(&mut self, line: &str) {
        self.channel.data_bytes(format!("{line}\r")).await.unwrap();
    }

    /// Types a line; answers what is shown before the next prompt, the echo included.
    async fn ask(&mut self, line: &str) -> String {
        self.type_line(line).await;
        self.until("\r\n").await.unwrap();
        self.until("#").await.unwrap()
    }
}

fn start(os: &str) -> Simulator {
    Simulator::start(Spec { host_key: HostKey::Shared, ..Spec::new(os, 8) }).unwrap()
}

#[tokio::test]
async fn lines_are_edited_echoed_and_paged() {
    let simulator = start("cisco_ios");
    let mut it = Terminal::open(&simulator).await.unwrap();
    it.until("#").await.unwrap();
    it.type_line("shox\x08w versiom\x7fn").await;
    let echo = it.until("\r\n").await.unwrap();
    assert_eq!(echo, "shox\x08 \x08w versiom\x08 \x08n\r\n");
    assert!(it.until("leaf1#").await.unwrap().contains("Cisco IOS Software"));
    it.type_line("show running-config").await;
    let first = it.until(" --More-- ").await.unwrap();
    assert_eq!(first.matches('\n').count(), 1 + 23, "the echo and a page");
    it.channel.data_bytes(" ").await.unwrap();
    it.until(" --More-- ").await.unwrap();
    it.channel.data_bytes("q").await.unwrap();
    it.until("leaf1#").await.unwrap();
    it.ask("terminal length 0").await;
    assert!(it.ask("show running-config").await.contains("\r\nend\r\n"));
    it.type_line("exit").await;
    assert_eq!(it.until("more").await, None);
}

#[tokio::test]
async fn enable_asks_without_showing() {
    let simulator = Simulator::start(Spec { enable_password: Some("en4ble".into()), ..Spec::new("arista_eos", 8) }).unwrap();
    let mut it = Terminal::open(&simulator).await.unwrap();
    it.until("leaf1>").await.unwrap();
    it.type_line("configure").await;
    assert!(it.until("leaf1>").await.unwrap().contains("% Invalid input"));
    it.type_line("enable").await;
    it.until("Password: ").await.unwrap();
    it.type_line("wrong").await;
    it.until("Password: ").await.unwrap();
    it.type_line("en4ble").await;
    let said = it.until("leaf1#").await.unwrap();
    assert!(!said.contains("en4ble"), "{said}");
    assert!(simulator.host_key().starts_with("SHA256:"));
    it.handle.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
}

#[tokio::test]
async fn faults_strike() {
    let simulator = start("cisco_ios");
    let device = Arc::clone(simulator.device());
    let mut it = Terminal::open(&simulator).await.unwrap();
    it.until("#").await.unwrap();
    it.ask("terminal length 0").await;
    it.ask("configure terminal").await;

    simulator.faults().change(|it| it.refuse = vec![Refusal { contains: "vlan 7".into(), times: Some(1) }]);
    assert!(it.ask("vlan 7").await.contains("% Invalid input"));
    assert!(!device.running().vlans.contains_key(&7));
    it.ask("vlan 7").await;
    assert!(device.running().vlans.contains_key(&7));

    simulator.faults().change(|it| it.partial_session = Some(Partial { lines: 2, then: Then::Refuse }));
    it.ask("interface Gi1/0/1").await;
    it.ask("switchport access vlan 7").await;
    assert!(it.ask("switchport mode access").await.contains("% Invalid input"));
    assert!(it.ask("description x").await.contains("% Invalid input"));
    it.ask("end").await;
    it.ask("configure terminal").await;
    assert!(!it.ask("interface Gi1/0/1").await.contains('%'), "another visit is not struck");
    it.ask("end").await;

    // Nobody is answered while it hangs.
    simulator.faults().change(|it| it.hang = true);
    it.type_line("show version").await;
    assert!(tokio::time::timeout(Duration::from_millis(300), it.until("Version")).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(300), connect(&simulator)).await.is_err());
    simulator.faults().clear();
    it.until("Version").await.unwrap();
    it.until("leaf1#").await.unwrap();

    // A save takes its time, and goes on without whoever asked for it.
    simulator.faults().change(|it| (it.save_ms, it.commit_ms) = (150, 150));
    let begun = Instant::now();
    it.ask("write memory").await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // One that surely goes on while the line is taken down.
    simulator.faults().change(|it| (it.save_ms, it.commit_ms) = (1_500, 1_500));
    device.edit(|config| config.hostname = "leaf2".into());
    it.type_line("write memory").await;
    it.until("\r\n").await.unwrap();
    device.drop_connections();
    assert_eq!(it.until("leaf2#").await, None);
    let mut changes = device.changes();
    if device.startup().hostname != "leaf2" {
        changes.changed().await.unwrap();
    }
    assert_eq!(device.startup().hostname, "leaf2");

    // A restart forgets what was not saved and answers nobody meanwhile.
    device.edit(|config| config.vlans.remove(&7));
    let mut it = Terminal::open(&simulator).await.unwrap();
    it.until("#").await.unwrap();
    device.reboot(Duration::from_secs(3));
    assert_eq!(it.until("#").await, None);
    assert!(connect(&simulator).await.is_err());
    assert!(device.carries("GigabitEthernet1/0/2").is_empty());
    tokio::time::sleep(device.down_for()).await;
    assert!(device.running().vlans.contains_key(&7));
    assert_eq!(device.carries("GigabitEthernet1/0/2").untagged, Some(1));
    connect(&simulator).await.unwrap();

    simulator.faults().change(|it| it.refuse_connections = true);
    assert!(connect(&simulator).await.is_err());
    let counts = simulator.faults().counts();
    assert_eq!((counts.saves, counts.commits), (2, 1), "{counts:?}");
}

#[tokio::test]
async fn a_command_is_carried_out_without_a_terminal() {
    let simulator = start("cisco_ios");
    let handle = connect(&simulator).await.unwrap();
    for (command, wanted, status) in [("show version", "Cisco IOS Software", 0), ("frob", "% Invalid input", 1)] {
        let mut channel = handle.channel_open_session().await.unwrap();
        channel.exec(true, command).await.unwrap();
        let (mut said, mut ended) = (String::new(), None);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => said.push_str(&String::from_utf8_lossy(&data)),
                ChannelMsg::ExitStatus { exit_status } => ended = Some(exit_status),
                _ => {}
            }
        }
        assert!(said.contains(wanted) && ended == Some(status), "{command}: {said} {ended:?}");
    }
    let mut channel = handle.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(matches!(channel.wait().await, Some(ChannelMsg::Failure)), "IOS here has no NETCONF");
}

/// Memory of this process, in KiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_would_fit_into_a_process() {
    let before = resident();
    let all: Vec<Simulator> = (0..600)
        .map(|nth| {
            let os = ["cisco_ios", "arista_eos", "cisco_nxos", "dell_os10"][nth % 4];
            Simulator::start(Spec { host_key: HostKey::Shared, hostname: format!("leaf{nth}"), ..Spec::new(os, 48) }).unwrap()
        })
        .collect();
    let each = (resident() - before) / all.len();
    println!("{each} KiB each");
    assert!(each < 100, "{each} KiB each");
    let mut it = Terminal::open(&all[597]).await.unwrap();
    it.until("leaf597>").await.unwrap();
}
