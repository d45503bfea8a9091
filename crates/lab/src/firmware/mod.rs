//! The firmware of a machine of namespaces: its first process, which finds something to boot and becomes it.
//!
//! What a real machine's firmware and boot loader do to memory is done to namespaces here; there is no kernel to start, since
//! the machine shares its host's. Everything else is as it would be: the same packets, the same files, the same order.
//!
//! What the booted system finds: it is process 1; /proc, /sys and /dev are mounted (control groups are not: as on real machines
//! that is init's business; `/proc/self/cgroup` names the hierarchies and shows `/`, the machine's own group, in each);
//! /proc/cmdline holds the kernel arguments; /dev/vda is the disk; `eth0` the NIC; the console is a raw terminal.
//! reboot(2) restarts or switches off, and so does the end of init: a power-off, whatever its status. The power button (Redfish
//! `GracefulShutdown`) is a SIGTERM to process 1.

mod cpio;
mod disk;
mod ipxe;
mod network;
mod root;
mod tftp;

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::machine::Boot;
use crate::machine::supervisor::Which;
use crate::rack;

/// How long the firmware tries the network before it goes on to the disk.
const NETWORK_DEADLINE: Duration = Duration::from_secs(120);
/// Where kernels look for init, in this order (init/main.c of Linux).
const INITS: [&str; 3] = ["/sbin/init", "/etc/init", "/bin/init"];

/// Writes a line on the machine's console.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // A console nobody reads must not stop the machine.
    if writeln!(out, "firmware: {line}").and_then(|()| out.flush()).is_err() {
        tracing::trace!("the console is gone");
    }
}

/// Boots. Returns only if it cannot even try; otherwise this process has become another.
///
/// # Errors
/// The machine's description cannot be read.
pub(crate) fn run(which: &Which) -> anyhow::Result<Infallible> {
    // The machine ends with its supervisor, however that ends.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    nix::unistd::setsid()?;
    let (rack, machine) = which.load()?;
    let button = watch_the_button()?;
    nix::unistd::sethostname("localhost")?;
    say(&format!("Cofferdam lab machine {}: {} MiB, NIC {}, disk {} GiB", machine.name, machine.memory_mb, machine.mac, machine.disk_gb));
    let root = machine.disk.parent().unwrap_or(Path::new("/")).join("root");
    let computer = Computer { uuid: uuid_of(&rack.name, &machine.name), machine, root, console: which.console.clone(), button };
    if which.boot == Boot::Pxe {
        let why = computer.boot_network();
        say(&format!("cannot boot from the network: {why}"));
    }
    let why = computer.boot_disk();
    say(&format!("cannot boot from the disk: {why}"));
    say("no bootable device");
    loop {
        std::thread::park();
    }
}

/// The identity of a machine, the same in its firmware and in its BMC.
pub(crate) fn uuid_of(rack: &str, machine: &str) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("cofferdam-lab:{rack}/{machine}").as_bytes()).to_string()
}

/// While the firmware runs, the power button switches off at once. Returns the signals to let through again for what is booted.
fn watch_the_button() -> anyhow::Result<SigSet> {
    let mut button = SigSet::empty();
    button.add(Signal::SIGTERM);
    button.thread_block()?;
    std::thread::Builder::new().name("button".into()).spawn(move || {
        if button.wait().is_ok() {
            say("power button");
            std::process::exit(0);
        }
    })?;
    Ok(button)
}

struct Computer {
    machine: rack::Machine,
    uuid: String,
    root: std::path::PathBuf,
    console: Option<std::path::PathBuf>,
    button: SigSet,
}

impl Computer {
    /// Boots from the network, or says why not.
    fn boot_network(&self) -> String {
        if let Err(error) = root::mount_ramdisk(&self.root, self.machine.memory_mb * 3 / 4) {
            return format!("no memory: {error}");
        }
        let loaded = loop {
            match network::load(&self.machine.mac, &self.uuid, &self.root, NETWORK_DEADLINE) {
                Ok(loaded) => break loaded,
                Err(network::Miss::Reboot) => {
                    say("the script asks for a restart");
                    std::thread::sleep(Duration::from_secs(1));
                }
                Err(network::Miss::Next(why)) => {
                    return match root::unmount(&self.root) {
                        Ok(()) => why,
                        Err(error) => format!("{why} ({error})"),
                    };
                }
            }
        };
        match self.start_ramdisk(loaded) {
            Ok(never) => match never {},
            Err(why) => self.panic(&why),
        }
    }

    fn start_ramdisk(&self, loaded: network::Loaded) -> Result<Infallible, String> {
        say(&format!("starting the kernel: {}", loaded.arguments));
        let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        root::furnish(&self.root, &self.machine.disk, self.console.as_deref(), &loaded.arguments).map_err(failed("preparing /dev"))?;
        // Unpacked only once nothing but the RAM disk can be seen: an archive may lead anywhere.
        root::enter(&self.root).map_err(failed("changing to the RAM disk"))?;
        let members = unpack(loaded.initrd)?;
        say(&format!("unpacked {members} files, running /init"));
        self.become_init("/init")
    }

    /// Boots from the disk, or says why not.
    fn boot_disk(&self) -> String {
        let partition = match disk::root_partition(&self.machine.disk) {
            Ok(partition) => partition,
            Err(why) => return why,
        };
        say(&format!("booting from {partition}"));
        if let Err(why) = network::offload(false) {
            return why;
        }
        let options = format!("loop,offset={},sizelimit={}", partition.start, partition.length);
        let mounted = Command::new("mount").args(["-o", &options]).arg(&self.machine.disk).arg(&self.root).output();
        match mounted {
            Ok(output) if output.status.success() => {}
            Ok(output) => return format!("mount: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => return format!("mount: {error}"),
        }
        let arguments = format!("root=PARTUUID={} rw console=ttyS0", partition.uuid);
        let started = root::furnish(&self.root, &self.machine.disk, self.console.as_deref(), &arguments)
            .and_then(|()| root::enter(&self.root))
            .map_err(|error| format!("changing to the root file system: {error}"))
            .and_then(|()| {
                let init = INITS.iter().find(|init| Path::new(init).exists()).ok_or_else(|| "no working init found".to_owned())?;
                say(&format!("running {init}"));
                self.become_init(init)
            });
        match started {
            Ok(never) => match never {},
            Err(why) => self.panic(&why),
        }
    }

    fn become_init(&self, init: &str) -> Result<Infallible, String> {
        self.button.thread_unblock().map_err(|error| error.to_string())?;
        // The kernel's own environment for init (init/main.c).
        let error = Command::new(init).env_clear().env("HOME", "/").env("TERM", "linux").exec();
        Err(format!("{init}: {error}"))
    }

    /// Past the point of return there is no other device to try.
    fn panic(&self, why: &str) -> ! {
        say(&format!("kernel panic - not syncing: {why}"));
        loop {
            std::thread::park();
        }
    }
}

fn unpack(initrd: File) -> Result<usize, String> {
    cpio::unpack(initrd, Path::new("/")).map_err(|error| error.to_string())
}
