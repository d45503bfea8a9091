//! A leaf switch: an Open vSwitch of its own in a network namespace of its own, with the userspace datapath, since many kernels have no
//! openvswitch module.
//!
//! The switch comes up closed: every machine port in the isolation VLAN and protected, every port towards another switch letting
//! nothing through. What opens it is the control plane.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use net::Netns;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::kernel::tool::{self, ToolError};
use crate::rack::{ISOLATION_VLAN, Leaf, NO_VLAN};
use crate::stop::stopped;

/// How long a switch may take to be ready; half a second was seen.
const DEADLINE: Duration = Duration::from_secs(20);
/// Pause before a switch's program that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// The database's schema, of the package openvswitch-switch.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Why a switch does not come up.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// One of its tools failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Its files or programs.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("{0} is not ready after {DEADLINE:?}; its logs are beside its database")]
    Slow(String),
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> SwitchError {
    move |source| SwitchError::Io { doing, source }
}

/// The programs of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Database,
    Switch,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Database => "ovsdb-server",
            Self::Switch => "ovs-vswitchd",
        }
    }

    fn command(self, dir: &Path) -> Command {
        let mut command = Command::new(self.name());
        let name = self.name();
        let at = |file: String| dir.join(file).into_os_string();
        let option = |key: &str, file: String| {
            let mut text = std::ffi::OsString::from(key);
            text.push(at(file));
            text
        };
        match self {
            Self::Database => {
                command.arg(at("conf.db".into())).arg(option("--remote=punix:", "db.sock".into()));
            }
            Self::Switch => {
                command.arg(option("unix:", "db.sock".into()));
            }
        }
        command
            .arg(option("--pidfile=", format!("{name}.pid")))
            .arg(option("--unixctl=", format!("{name}.ctl")))
            .arg(option("--log-file=", format!("{name}.log")))
            .args(["-vconsole:off", "-vsyslog:off"])
            .env("OVS_RUNDIR", dir)
            .env("OVS_LOGDIR", dir)
            .env("OVS_DBDIR", dir);
        command
    }
}

/// A switch's description and where its files are.
pub(crate) struct Switch {
    pub(crate) leaf: Leaf,
    pub(crate) dir: PathBuf,
    /// Ports machines are cabled to.
    pub(crate) ports: Vec<String>,
}

impl Switch {
    /// Starts the switch in its namespace, where its ports' devices are already, and waits until it switches. Its programs are started
    /// again if they end, until `stop` becomes true; then they end. Returns what to wait for then.
    ///
    /// # Errors
    /// See [`SwitchError`]; what has been started goes on until `stop` becomes true.
    pub(crate) async fn start(&self, stop: &watch::Receiver<bool>) -> Result<Vec<tokio::task::JoinHandle<()>>, SwitchError> {
        let dir = &self.dir;
        fs::create_dir_all(dir).map_err(io_error("make the switch's directory"))?;
        let database = dir.join("conf.db");
        for stale in ["conf.db", ".conf.db.~lock~", "db.sock"] {
            match fs::remove_file(dir.join(stale)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove an old database")(error)),
                _ => {}
            }
        }
        tool::run("ovsdb-tool", ["create".as_ref(), database.as_os_str(), SCHEMA.as_ref()], "").await?;
        let until = Instant::now() + DEADLINE;
        let mut tasks = vec![self.keep(Program::Database, stop)?];
        while tokio::net::UnixStream::connect(dir.join("db.sock")).await.is_err() {
            if Instant::now() > until {
                return Err(SwitchError::Slow(self.leaf.name.clone()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The configuration is there before the program that obeys it, so no port is open for even a moment.
        self.configure(&self.initial()).await?;
        tasks.push(self.keep(Program::Switch, stop)?);
        // Without --no-wait, ovs-vsctl returns when the switch has taken the configuration over.
        let timeout = format!("--timeout={}", DEADLINE.as_secs());
        let marker = ["set", "Open_vSwitch", ".", "external-ids:cofferdam-lab=ready"].map(str::to_owned);
        let ready = [timeout, format!("--db={}", self.leaf.ovsdb)].into_iter().chain(marker);
        tool::run("ovs-vsctl", ready, "").await?;
        Ok(tasks)
    }

    async fn configure(&self, commands: &[String]) -> Result<(), ToolError> {
        let head = [format!("--timeout={}", DEADLINE.as_secs()), format!("--db={}", self.leaf.ovsdb), "--no-wait".to_owned()];
        tool::run("ovs-vsctl", head.into_iter().chain(commands.iter().cloned()), "").await.map(drop)
    }

    /// The commands, for one transaction, that configure a new switch.
    fn initial(&self) -> Vec<String> {
        let Leaf { bridge, switch_id, name, uplinks, .. } = &self.leaf;
        let mut commands: Vec<Vec<String>> = Vec::new();
        let mut add = |words: &[&str]| commands.push(words.iter().map(|word| (*word).to_owned()).collect());
        add(&["init"]);
        // Checksums and segmentation are left to whoever receives: without this TCP over veth does not work at all.
        add(&["set", "Open_vSwitch", ".", "other-config:userspace-tso-enable=true", "other-config:n-handler-threads=1"]);
        add(&["set", "Open_vSwitch", ".", "other-config:n-revalidator-threads=1", &format!("external-ids:system-id={name}")]);
        add(&["add-br", bridge]);
        add(&["set", "bridge", bridge, "datapath_type=netdev", "fail-mode=standalone"]);
        add(&["set", "bridge", bridge, &format!("other-config:hwaddr=\"{switch_id}\"")]);
        for port in &self.ports {
            add(&["add-port", bridge, port]);
            add(&["set", "port", port, "vlan_mode=access", &format!("tag={ISOLATION_VLAN}"), "protected=true"]);
        }
        for port in uplinks {
            add(&["add-port", bridge, port]);
            add(&["set", "port", port, "vlan_mode=trunk", &format!("trunks={NO_VLAN}")]);
        }
        commands.join(&"--".to_owned())
    }

    /// Starts a program and a task that starts it again whenever it ends.
    fn keep(&self, program: Program, stop: &watch::Receiver<bool>) -> Result<tokio::task::JoinHandle<()>, SwitchError> {
        let netns = Netns::named(&self.leaf.netns);
        let mut child = spawn(&netns, program, &self.dir).map_err(io_error("start the switch"))?;
        let (dir, switch, mut stop) = (self.dir.clone(), self.leaf.name.clone(), stop.clone());
        Ok(tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped(&mut stop) => break,
                    ended = child.wait() => tracing::warn!(switch, program = program.name(), ?ended, "ended; starting it again"),
                }
                loop {
                    tokio::select! {
                        () = stopped(&mut stop) => return,
                        () = tokio::time::sleep(RESTART_PAUSE) => {}
                    }
                    match spawn(&netns, program, &dir) {
                        Ok(new) => {
                            child = new;
                            break;
                        }
                        Err(error) => tracing::warn!(switch, program = program.name(), %error, "cannot start"),
                    }
                }
            }
            // Nothing of a switch outlives the rack, so there is nothing it could put in order.
            if let Err(error) = child.kill().await {
                tracing::warn!(switch, program = program.name(), %error, "cannot end");
            }
        }))
    }
}

fn spawn(netns: &Netns, program: Program, dir: &Path) -> io::Result<Child> {
    let name = program.name();
    let log = File::options().create(true).append(true).open(dir.join(format!("{name}.err")))?;
    let mut command = program.command(dir);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    // A child is born into the namespaces of the thread that makes it.
    let runtime = tokio::runtime::Handle::current();
    netns.run(|| {
        let _entered = runtime.enter();
        command.spawn()
    })?
}

/// Makes a switch look again at a port whose device was destroyed and made anew: the userspace datapath goes on listening to the dead
/// one. Its configuration stays as it is.
pub(crate) async fn look_again(leaf: &Leaf, dir: &Path, port: &str) -> Result<(), ToolError> {
    let control = dir.join("ovs-vswitchd.ctl");
    let forget = ["-t".as_ref(), control.as_os_str(), "dpctl/del-if".as_ref(), "netdev@ovs-netdev".as_ref(), port.as_ref()];
    match tool::run("ovs-appctl", forget, "").await {
        // It may have noticed by itself.
        Err(ToolError::Refused { said, .. }) => tracing::debug!(port, said, "the switch did not know the port's device"),
        done => drop(done?),
    }
    // Any change of the database makes it compare what is there with what should be.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let timeout = format!("--timeout={}", DEADLINE.as_secs());
    let touch = [timeout, format!("--db={}", leaf.ovsdb)].into_iter().chain(["set", "interface", port].map(str::to_owned));
    tool::run("ovs-vsctl", touch.chain([format!("external-ids:cofferdam-lab-cable={since}")]), "").await.map(drop)
}

/// Commands for `ip`, by namespace, that lay the cables between switches. Each is laid once, from the end that comes first.
pub(crate) fn trunks(leaves: &[Leaf], edge: &Leaf) -> BTreeMap<String, Vec<String>> {
    let mut commands: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lay = |near: &Leaf, far: &Leaf| {
        let (here, there) = (format!("to-{}", far.name), format!("to-{}", near.name));
        let lines = commands.entry(near.netns.clone()).or_default();
        lines.push(format!("link add {here} type veth peer name {there} netns {}", far.netns));
        lines.push(format!("link set dev {here} up"));
    };
    if let Some(first) = leaves.first() {
        lay(first, edge);
    }
    for pair in leaves.windows(2) {
        if let [near, far] = pair {
            lay(near, far);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rack::Plan;

    #[test]
    fn a_new_switch_lets_nothing_through() {
        let plan =
            Plan { name: "t".into(), dir: "/nowhere".into(), leaves: 3, machines: 4, disk_gb: 4, memory_mb: 512, virtual_machines: 0 };
        let rack = plan.describe(None).unwrap();
        let switch = Switch { leaf: rack.leaves[0].clone(), dir: "/nowhere/leaf1".into(), ports: vec!["p1".into(), "p2".into()] };
        let text = switch.initial().join(" ");
        for port in ["p1", "p2"] {
            assert!(text.contains(&format!("set port {port} vlan_mode=access tag=4094 protected=true")), "{text}");
        }
        for port in ["to-leaf2", "to-edge"] {
            assert!(text.contains(&format!("set port {port} vlan_mode=trunk trunks=4095")), "{text}");
        }
        assert!(text.starts_with("init -- set"));
        let trunks = trunks(&rack.leaves, &rack.edge);
        assert_eq!(trunks["cd-t-leaf1"].len(), 4);
        assert_eq!(trunks["cd-t-leaf2"][0], "link add to-leaf3 type veth peer name to-leaf2 netns cd-t-leaf3");
        assert!(!trunks.contains_key("cd-t-leaf3"));
    }
}
