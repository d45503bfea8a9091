//! Machines that are virtual ones: a processor, firmware (UEFI), a kernel of their own. Slow without hardware support (QEMU emulates
//! every instruction), and as near to metal as a simulated rack comes.
//!
//! The NIC is a tap device, bridged to the end of the cable that a machine of namespaces would have for its NIC.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use super::{Boot, Ended, Machine};
use crate::kernel::links;
use crate::kernel::tool::ToolError;
use crate::rack::{self, Leaf, Rack};
use crate::switch;

/// The firmware's code, which is shared, and its variables, of which each machine has a copy (Debian package ovmf).
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The cable's end has another address than the NIC behind it: a bridge keeps frames to the addresses of its own ports.
const CABLE_END: &str = "02:cf:00:00:01:01";
/// How long QEMU may take to open its control socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a virtual machine does not obey.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Its namespace or its cable.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Its process or files.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Refusal {
    move |source| Refusal::Io { doing, source }
}

/// A virtual machine.
pub(crate) struct Qemu {
    holder: String,
    leaf: Leaf,
    leaf_dir: PathBuf,
    machine: rack::Machine,
    child: Option<Child>,
    /// What the control socket said last: that the guest asked for a restart, not for the end.
    restarts: Arc<AtomicBool>,
    /// Presses the power button.
    button: Arc<Notify>,
}

impl Qemu {
    /// The machine of that description; `None` if its leaf is not part of the rack.
    pub(crate) fn new(rack: &Rack, machine: &rack::Machine) -> Option<Self> {
        let leaf = rack.leaves.iter().find(|leaf| leaf.name == machine.leaf)?;
        Some(Self {
            holder: rack.holder(),
            leaf: leaf.clone(),
            leaf_dir: rack.switch_dir(leaf),
            machine: machine.clone(),
            child: None,
            restarts: Arc::default(),
            button: Arc::default(),
        })
    }

    /// Where the machine's own files are.
    fn file(&self, name: &str) -> PathBuf {
        self.machine.disk.parent().unwrap_or(Path::new("/")).join(name)
    }

    async fn plug_in(&self) -> Result<(), Refusal> {
        let rack::Machine { name, netns, mac, port, .. } = &self.machine;
        if !links::links(&self.holder).await?.contains_key(name) {
            // The namespace it was in has ended, which destroys both ends.
            links::ip(&self.leaf.netns, &super::namespaces::cable_commands(port, &self.holder, name, mac)).await?;
            switch::look_again(&self.leaf, &self.leaf_dir, port).await?;
        }
        links::ip(
            &self.holder,
            &[format!("link set dev {name} address {CABLE_END} mtu 1500"), format!("link set dev {name} netns {netns} name cable")],
        )
        .await?;
        links::silence(netns).map_err(failed("keep the machine's namespace silent"))?;
        let lines = [
            "link add name joint type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "tuntap add dev nic mode tap",
            "link set dev cable master joint up",
            "link set dev nic master joint up",
            "link set dev joint up",
        ];
        links::ip(netns, &lines.map(str::to_owned)).await?;
        Ok(())
    }

    async fn unplug(&self) -> Result<(), Refusal> {
        let rack::Machine { name, netns, mac, .. } = &self.machine;
        if links::links(netns).await?.contains_key("cable") {
            let lines = [
                "link set dev cable down nomaster".to_owned(),
                format!("link set dev cable address {mac}"),
                format!("link set dev cable netns {} name {name}", self.holder),
            ];
            links::ip(netns, &lines).await?;
        }
        Ok(())
    }

    fn spawn(&mut self, boot: Boot) -> Result<(), Refusal> {
        let it = &self.machine;
        let variables = self.file("firmware.vars");
        fs::copy(VARIABLES, &variables).map_err(failed("copy the firmware's variables (Debian package ovmf)"))?;
        let control = self.file("qmp.sock");
        match fs::remove_file(&control) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove the old control socket")(error)),
            _ => {}
        }
        fs::File::create(&it.console).map_err(failed("write the console's log"))?;
        let log = fs::File::create(self.file("qemu.log")).map_err(failed("write QEMU's log"))?;
        // From the network first and else from the disk, or from the disk alone: as the management controller was told.
        let (nic, disk) = match boot {
            Boot::Pxe => (",bootindex=1", ",bootindex=2"),
            Boot::Disk => ("", ",bootindex=1"),
        };
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &it.netns, "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", &it.cpus.to_string(), "-m", &it.memory_mb.to_string()])
            .args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={CODE}")])
            .args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", variables.display())])
            .args(["-drive", &format!("if=none,id=disk,format=raw,discard=unmap,file={}", it.disk.display())])
            .args(["-device", &format!("virtio-blk-pci,drive=disk{disk}")])
            .args(["-netdev", "tap,id=nic,ifname=nic,script=no,downscript=no,vhost=off"])
            // No option ROM: the firmware's own driver and PXE client, as on a machine of metal.
            .args(["-device", &format!("virtio-net-pci,netdev=nic,mac={},romfile={nic}", it.mac)])
            .args(["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"])
            .args(["-serial", &format!("file:{}", it.console.display())])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", control.display())])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed("write QEMU's log"))?)
            .stderr(log)
            .current_dir("/")
            .kill_on_drop(true);
        self.restarts = Arc::default();
        self.button = Arc::default();
        self.child = Some(command.spawn().map_err(failed("start QEMU (Debian package qemu-system-x86)"))?);
        tokio::spawn(listen(control, Arc::clone(&self.restarts), Arc::clone(&self.button)));
        Ok(())
    }
}

/// Opens a session on the control socket (Source: QEMU Machine Protocol Specification).
async fn session(control: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(control).await?;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").await?;
    Ok(stream)
}

/// Notes why the guest ends, and presses its power button when told, until QEMU is gone.
async fn listen(control: PathBuf, restarts: Arc<AtomicBool>, button: Arc<Notify>) {
    let connected = tokio::time::timeout(PATIENCE, async {
        loop {
            match session(&control).await {
                Ok(stream) => return stream,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let Ok(stream) = connected.await else {
        tracing::warn!(socket = %control.display(), "QEMU's control socket did not open");
        return;
    };
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            () = button.notified() => {
                if let Err(error) = writer.write_all(b"{\"execute\":\"system_powerdown\"}\n").await {
                    tracing::warn!(%error, "the power button does nothing");
                }
                continue;
            }
        };
        let Ok(Some(line)) = line else { return };
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if event.get("event").is_some_and(|it| it == "SHUTDOWN") {
            restarts.store(event.pointer("/data/reason").is_some_and(|it| it == "guest-reset"), Ordering::Relaxed);
        }
    }
}

impl Machine for Qemu {
    type Error = Refusal;

    async fn start(&mut self, boot: Boot) -> Result<(), Refusal> {
        links::add_namespaces([self.machine.netns.clone()]).await?;
        self.plug_in().await?;
        self.spawn(boot)
    }

    async fn stop(&mut self) -> Result<(), Refusal> {
        if let Some(mut child) = self.child.take() {
            child.start_kill().map_err(failed("cut QEMU's power"))?;
            child.wait().await.map_err(failed("wait for QEMU"))?;
        }
        if !links::namespaces(&self.machine.netns).map_err(failed("list namespaces"))?.contains(&self.machine.netns) {
            return Ok(());
        }
        self.unplug().await?;
        links::remove_namespace(&self.machine.netns).await?;
        Ok(())
    }

    fn button(&mut self) -> Result<(), Refusal> {
        self.button.notify_one();
        Ok(())
    }

    async fn ended(&mut self) -> Ended {
        let Some(child) = &mut self.child else { return std::future::pending().await };
        if let Err(error) = child.wait().await {
            tracing::error!(machine = self.machine.name, %error, "cannot wait for QEMU");
        }
        // The reason is on its way when the process ends.
        tokio::time::sleep(Duration::from_millis(50)).await;
        if self.restarts.load(Ordering::Relaxed) { Ended::Restart } else { Ended::Off }
    }
}
