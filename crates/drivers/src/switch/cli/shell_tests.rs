//! The way to a shell against a real one: bash at a terminal of `script`, before a real Open vSwitch without a data path.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use model::net::VlanId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::families::family;
use super::linux;
use super::session::Session;
use super::switch::CliSwitch;
use crate::switch::{Login, PortMode, SeenMode, Switch as _, SwitchConfig, SwitchError, SwitchWanted, Trust, differs};

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// Open vSwitch in a directory of its own, gone when dropped.
struct Ovs(tempfile::TempDir);

impl Ovs {
    /// `None`, with the reason printed, where it cannot be.
    fn start(ports: usize) -> Option<Self> {
        for tool in ["ovs-vsctl", "script", "bash"] {
            if Command::new(tool).arg("--version").output().is_err() {
                println!("skipped: there is no {tool}");
                return None;
            }
        }
        let this = Self(tempfile::tempdir().unwrap());
        let path = |name: &str| this.0.path().join(name).display().to_string();
        let files = |name: &str| ["pidfile", "unixctl", "log-file"].map(|it| format!("--{it}={}", path(&format!("{name}.{it}"))));
        this.run("ovsdb-tool", &["create".to_owned(), path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema".to_owned()]);
        let database = [path("conf.db"), format!("--remote=punix:{}", path("db.sock")), "--detach".to_owned(), "--no-chdir".to_owned()];
        this.run("ovsdb-server", &[&database[..], &files("db")].concat());
        let switch = [format!("unix:{}", path("db.sock")), "--enable-dummy=override".to_owned(), "--disable-system".to_owned()];
        this.run("ovs-vswitchd", &[&switch[..], &files("vs"), &["--detach".to_owned(), "--no-chdir".to_owned()]].concat());
        let mut line = "--timeout=10 add-br br-int -- set bridge br-int datapath_type=dummy".to_owned();
        for nth in 1..=ports {
            line += &format!(" -- add-port br-int swp{nth} -- set interface swp{nth} type=dummy");
        }
        this.run("ovs-vsctl", &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        Some(this)
    }

    fn run(&self, tool: &str, words: &[String]) -> String {
        let output = Command::new(tool).args(words).env("OVS_RUNDIR", self.0.path()).output().unwrap();
        assert!(output.status.success(), "{tool} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn pid(path: &Path) -> Option<Pid> {
        std::fs::read_to_string(path).ok()?.trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for name in ["vs.pidfile", "db.pidfile"] {
            if let Some(pid) = Self::pid(&self.0.path().join(name))
                && let Err(error) = kill(pid, Signal::SIGKILL)
            {
                eprintln!("could not kill {name}: {error}");
            }
        }
    }
}

/// Root's bash at a terminal as wide as the one that we ask for. It is killed when the second is dropped.
async fn bash(run_dir: &Path) -> (Session, tokio::process::Child) {
    let mut child = tokio::process::Command::new("script")
        .args(["-qfec", "stty cols 511 rows 1000; exec bash --norc --noprofile -i", "/dev/null"])
        .envs([("PS1", "root@leaf1:~# "), ("TERM", "vt100")])
        .env("OVS_RUNDIR", run_dir)
        .env("HISTFILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stream = tokio::io::join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let until = Instant::now() + Duration::from_secs(20);
    let session = Session::begin("leaf1", &linux::DIALECT, &Login::default(), Box::new(stream), None, until).await.unwrap();
    (session, child)
}

fn config() -> SwitchConfig {
    SwitchConfig {
        login: Login { username: "root".to_owned(), password: Some(model::Secret::new("none")), ..Login::default() },
        trust: Trust { on_first_use: true, ..Trust::default() },
        ..SwitchConfig::plain("leaf1", "ovs_ssh", "ssh:127.0.0.1:1", "", vlan(4000))
    }
}

#[tokio::test]
async fn a_real_shell_and_a_real_switch() {
    let Some(ovs) = Ovs::start(30) else { return };
    let (session, _bash) = bash(ovs.0.path()).await;
    let switch = CliSwitch::new(config(), family("ovs_ssh").unwrap()).unwrap().with_session(session).await;
    let facts = switch.facts();
    let set = ["set", "Port", "swp30", "trunks=7"].map(str::to_owned);
    ovs.run("ovs-vsctl", &set);
    let mut wanted = SwitchWanted::default();
    wanted.managed.range = Some((vlan(100), vlan(199)));
    let trunk = |native: Option<u16>, tagged: &[u16]| PortMode::Trunk {
        native: native.map(vlan),
        tagged: tagged.iter().map(|it| vlan(*it)).collect(),
    };
    let modes = [
        PortMode::Isolated,
        PortMode::Access(vlan(100)),
        trunk(None, &[100, 101]),
        trunk(Some(100), &[101, 102, 103]),
        trunk(Some(100), &[]),
        trunk(None, &[]),
    ];
    for turn in 0..modes.len() {
        for nth in 1..30 {
            let mode = modes[(nth + turn) % modes.len()].clone();
            wanted.ports.insert(format!("swp{nth}"), mode.into());
        }
        wanted.uplinks.insert("swp30".to_owned(), [vlan(100), vlan(101 + turn as u16)].into());
        let done = switch.ensure(&wanted).await.unwrap();
        assert_eq!(differs(&wanted, &done.after, &facts), []);
        assert!(done.committed);
        assert!(!switch.ensure(&wanted).await.unwrap().committed);
    }
    // By another's eyes.
    assert_eq!(ovs.run("ovs-vsctl", &["get", "Port", "swp30", "trunks"].map(str::to_owned)), "[7, 100, 106]");
    let seen = switch.observe().await.unwrap();
    assert_eq!(*seen.mode("swp5"), SeenMode::Known(modes[(5 + modes.len() - 1) % modes.len()].clone()));

    // What the switch does not take.
    let bad = linux::line(&["ovs-vsctl set Port swp1 vlan_mode=nonsense".to_owned()]);
    let (mut session, _bash) = bash(ovs.0.path()).await;
    let patience = super::session::Patience { whole: Duration::from_secs(10), quiet: Duration::from_secs(10), doing: "testing" };
    let refusal = session.lines(&[&bad], Some(linux::RECEIPT.1), patience).await.unwrap().unwrap_err();
    assert!(refusal.words.contains("nonsense") && refusal.line == bad, "{refusal:?}");
    let unclosed = linux::line(&["echo 'a".to_owned()]);
    let stuck =
        session.lines(&[&unclosed], Some(linux::RECEIPT.1), super::session::Patience { quiet: Duration::from_secs(1), ..patience }).await;
    assert!(matches!(stuck, Err(SwitchError::Timeout { .. }) | Ok(Err(_))), "{stuck:?}");
}
