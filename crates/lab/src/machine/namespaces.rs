//! Machines that are sets of Linux namespaces.
//!
//! The NIC is one end of a cable whose other end is a port of a leaf. While the machine is off it waits in the rack's holder namespace,
//! down, so that the switch port exists all the time and loses its carrier as with a real machine.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::supervisor::EXIT_RESTART;
use super::{Boot, Ended, Machine};
use crate::kernel::tool::ToolError;
use crate::kernel::{cgroup, links, processes, sweep};
use crate::rack::{self, Leaf, Rack};
use crate::switch;

/// Why a machine of namespaces does not obey.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Its namespace or its cable.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Its processes, files or control groups.
    #[error("cannot {doing}")]
    Kernel {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

fn kernel(doing: &'static str) -> impl Fn(io::Error) -> Refusal {
    move |source| Refusal::Kernel { doing, source }
}

/// A machine of namespaces.
pub(crate) struct Namespaces {
    dir: PathBuf,
    rack: String,
    holder: String,
    leaf: Leaf,
    leaf_dir: PathBuf,
    machine: rack::Machine,
    supervisor: Option<Child>,
}

impl Namespaces {
    /// The machine of that description; `None` if its leaf is not part of the rack.
    pub(crate) fn new(rack: &Rack, machine: &rack::Machine) -> Option<Self> {
        let leaf = rack.leaves.iter().find(|leaf| leaf.name == machine.leaf)?;
        Some(Self {
            dir: rack.dir.clone(),
            rack: rack.name.clone(),
            holder: rack.holder(),
            leaf: leaf.clone(),
            leaf_dir: rack.switch_dir(leaf),
            machine: machine.clone(),
            supervisor: None,
        })
    }

    fn groups(&self) -> Result<cgroup::MachineGroups, Refusal> {
        cgroup::of_machine(&self.rack, &self.machine.name).map_err(kernel("find the control groups"))
    }

    /// Moves the NIC from the holder into the machine, as new as from the factory.
    async fn plug_in(&self) -> Result<(), Refusal> {
        let rack::Machine { name, netns, mac, port, .. } = &self.machine;
        if !links::links(&self.holder).await?.contains_key(name) {
            // The machine took it into a namespace of its own and was ended there, which destroys both ends.
            links::ip(&self.leaf.netns, &cable_commands(port, &self.holder, name, mac)).await?;
            switch::look_again(&self.leaf, &self.leaf_dir, port).await?;
        }
        links::ip(
            &self.holder,
            &[format!("link set dev {name} address {mac} mtu 1500"), format!("link set dev {name} netns {netns} name eth0")],
        )
        .await?;
        Ok(())
    }

    /// Moves the NIC, whatever it is called by now, back to the holder.
    async fn unplug(&self) -> Result<(), Refusal> {
        let rack::Machine { name, netns, port, .. } = &self.machine;
        let leaf = links::links(&self.leaf.netns).await?;
        let Some(far) = leaf.get(port).map(|link| link.peer) else { return Ok(()) };
        let here = links::links(netns).await?;
        if let Some((device, _)) = here.iter().find(|(_, link)| link.index == far && link.peer == leaf.get(port).map_or(0, |it| it.index)) {
            links::ip(netns, &[format!("link set dev {device} down"), format!("link set dev {device} netns {} name {name}", self.holder)])
                .await?;
        }
        Ok(())
    }

    async fn spawn(&mut self, boot: Boot) -> Result<(), Refusal> {
        let log = fs::File::options().append(true).open(&self.machine.console).map_err(kernel("write the console's log"))?;
        log.set_len(0).map_err(kernel("write the console's log"))?;
        let boot = if boot == Boot::Pxe { "pxe" } else { "disk" };
        let child = Command::new("/proc/self/exe")
            .args(["lab", "machine", "--machine", &self.machine.name, "--boot", boot, "--dir"])
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(kernel("write the console's log"))?)
            .stderr(log)
            .current_dir("/")
            .spawn()
            .map_err(kernel("start the machine's first process"))?;
        self.supervisor = Some(child);
        Ok(())
    }

    /// The machine's first process, by its number on the host.
    fn first_process(&self) -> Option<i32> {
        let supervisor = self.supervisor.as_ref()?.id()?;
        fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?.split_whitespace().next()?.parse().ok()
    }
}

/// The `ip` commands, for the leaf's namespace, that lay a machine's cable.
pub(crate) fn cable_commands(port: &str, holder: &str, name: &str, mac: &str) -> [String; 2] {
    [format!("link add {port} type veth peer name {name} address {mac} netns {holder}"), format!("link set dev {port} up")]
}

impl Machine for Namespaces {
    type Error = Refusal;

    async fn start(&mut self, boot: Boot) -> Result<(), Refusal> {
        links::add_namespaces([self.machine.netns.clone()]).await?;
        self.plug_in().await?;
        self.groups()?.create(self.machine.memory_mb);
        self.spawn(boot).await
    }

    async fn stop(&mut self) -> Result<(), Refusal> {
        let groups = self.groups()?.paths();
        let namespaces = vec![self.machine.netns.clone()];
        // Everything in the machine's process namespace dies with its first process; the rest is asked for to be sure.
        if let Some(first) = self.first_process() {
            match kill(Pid::from_raw(first), Signal::SIGKILL) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(error) => return Err(kernel("kill the machine")(error.into())),
            }
        }
        if let Some(child) = &mut self.supervisor
            && tokio::time::timeout(Duration::from_millis(300), child.wait()).await.is_err()
        {
            child.start_kill().map_err(kernel("kill the machine's supervisor"))?;
        }
        processes::kill_all(&namespaces, &groups).await.map_err(kernel("end the machine's processes"))?;
        if let Some(mut child) = self.supervisor.take() {
            child.wait().await.map_err(kernel("wait for the machine's supervisor"))?;
        }
        sweep::loops_gone(&self.machine.disk).await.map_err(kernel("unmount the machine's disk"))?;
        if !links::namespaces(&self.machine.netns).map_err(kernel("list namespaces"))?.contains(&self.machine.netns) {
            return Ok(());
        }
        self.unplug().await?;
        links::remove_namespace(&self.machine.netns).await?;
        cgroup::remove(&groups).await.map_err(kernel("remove the control groups"))
    }

    fn button(&mut self) -> Result<(), Refusal> {
        let Some(first) = self.first_process() else { return Ok(()) };
        // Init chose what this means; a process 1 without a handler is left alone by the kernel, as a system without ACPI would be.
        match kill(Pid::from_raw(first), Signal::SIGTERM) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(kernel("press the power button")(error.into())),
        }
    }

    async fn ended(&mut self) -> Ended {
        let Some(child) = &mut self.supervisor else { return std::future::pending().await };
        match child.wait().await {
            Ok(status) if status.code() == Some(i32::from(EXIT_RESTART)) => Ended::Restart,
            Ok(_) => Ended::Off,
            Err(error) => {
                tracing::error!(machine = self.machine.name, %error, "cannot wait for the machine");
                Ended::Off
            }
        }
    }
}

/// The host pid of a running machine's first process: the one that is number 1 in the innermost of its process namespaces, seen from a
/// process directly above.
pub(crate) fn first_process(machine: &rack::Machine) -> Option<i32> {
    processes::in_namespaces(std::slice::from_ref(&machine.netns)).into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1 && numbers.split_whitespace().last() == Some("1"))
    })
}
