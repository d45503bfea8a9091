//! What a kernel has ready when it starts process 1: a root file system, /dev, /proc and /sys; and the switch to it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd::{chdir, pivot_root};

/// Character devices: name, numbers, mode (Documentation/admin-guide/devices.txt of Linux).
const DEVICES: [(&str, u64, u64, u32); 8] = [
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("tty", 5, 0, 0o666),
    ("net/tun", 10, 200, 0o666),
    ("fuse", 10, 229, 0o666),
];

/// Mounts a RAM disk.
pub(crate) fn mount_ramdisk(at: &Path, megabytes: u64) -> io::Result<()> {
    let options = format!("mode=755,size={megabytes}m");
    mount(Some("rootfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).map_err(io::Error::from)
}

/// Takes a root file system off again.
pub(crate) fn unmount(at: &Path) -> io::Result<()> {
    umount2(at, MntFlags::MNT_DETACH).map_err(io::Error::from)
}

/// Fills /dev, /proc and /sys of the root file system mounted at `root`.
///
/// # Errors
/// As the kernel says.
pub(crate) fn furnish(root: &Path, disk: &Path, console: Option<&Path>, arguments: &str) -> io::Result<()> {
    umask(Mode::empty());
    let dev = root.join("dev");
    for name in ["dev", "proc", "sys"] {
        make_dir(&root.join(name))?;
    }
    let nosuid = MsFlags::MS_NOSUID;
    mount(Some("devtmpfs"), &dev, Some("tmpfs"), nosuid, Some("mode=755,size=1m"))?;
    for name in ["net", "pts", "shm"] {
        make_dir(&dev.join(name))?;
    }
    for (name, major, minor, mode) in DEVICES {
        mknod(&dev.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(mode), makedev(major, minor))?;
    }
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    let quiet = nosuid | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), &dev.join("pts"), Some("devpts"), quiet, Some("newinstance,ptmxmode=0666,mode=0620,gid=5"))?;
    mount(Some("shm"), &dev.join("shm"), Some("tmpfs"), nosuid | MsFlags::MS_NODEV, Some("mode=1777"))?;
    bind(disk, &dev.join("vda"))?;
    match console {
        Some(console) => bind(console, &dev.join("console"))?,
        None => symlink("null", dev.join("console"))?,
    }

    let proc = root.join("proc");
    let safe = quiet | MsFlags::MS_NODEV;
    mount(Some("proc"), &proc, Some("proc"), safe, None::<&str>)?;
    let line = dev.join(".cmdline");
    fs::write(&line, format!("{arguments}\n"))?;
    mount(Some(&line), &proc.join("cmdline"), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    fs::remove_file(&line)?;
    // The kernel is the host's: a machine that switches itself off the hard way must not take the host with it.
    let trigger = proc.join("sysrq-trigger");
    if trigger.exists() {
        mount(Some(&dev.join("null")), &trigger, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), safe, None::<&str>)?;
    Ok(())
}

/// Makes `root` the root of this process and puts the host's out of reach.
///
/// # Errors
/// As the kernel says; the host's root must be a mount that can be left (not the kernel's first RAM disk).
pub(crate) fn enter(root: &Path) -> io::Result<()> {
    chdir(root)?;
    // Both arguments the same: the old root ends up on top of the new one, from where it is taken off (pivot_root(2), "notes").
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    Ok(())
}

fn bind(what: &Path, at: &Path) -> io::Result<()> {
    File::create(at)?;
    mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(io::Error::from)
}

fn make_dir(at: &Path) -> io::Result<()> {
    match fs::create_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}
