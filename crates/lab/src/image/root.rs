//! The root file system: packages unpacked, and what their installation scripts would have done.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::packages::{Apt, Package};
use super::{container, tool};
use crate::ramdisk::elf;

/// The first process.
pub(super) const INIT: &str = include_str!("init.sh");

const DEADLINE: Duration = Duration::from_secs(30);

/// Applets that are better absent: dockerd takes their absence for "no modules", their errors for errors.
const NOT_LINKED: [&str; 6] = ["modprobe", "insmod", "rmmod", "depmod", "lsmod", "mke2fs"];

/// Folders of a merged /usr, and what is in none of the packages.
const LINKS: [(&str, &str); 6] =
    [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("var/run", "/run"), ("var/lock", "/run/lock")];

const FOLDERS: [(&str, u32); 19] = [
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("usr/lib", 0o755),
    ("usr/lib64", 0o755),
    ("etc", 0o755),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/tmp", 0o1777),
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("root", 0o700),
    ("home", 0o755),
    ("mnt", 0o755),
];

const FILES: [(&str, &str); 7] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\ndocker:x:900:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/hostname", "localhost\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost\n"),
    ("etc/resolv.conf", "nameserver 127.0.0.1\n"),
    (
        "etc/os-release",
        "ID=cofferdam-lab\nID_LIKE=debian\nNAME=\"Cofferdam lab image\"\nPRETTY_NAME=\"Cofferdam lab image (packages of Debian)\"\n",
    ),
];

/// Makes the root file system in the empty folder `root`.
///
/// # Errors
/// As the file system or a tool says.
pub(super) fn build(apt: &Apt, packages: &[Package], root: &Path) -> anyhow::Result<()> {
    for (name, mode) in FOLDERS {
        make_dir(&root.join(name), mode)?;
    }
    for (name, target) in LINKS {
        symlink(target, root.join(name)).with_context(|| format!("linking {name}"))?;
    }
    apt.unpack(packages, root)?;
    for (name, text) in FILES {
        fs::write(root.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    certificates(root)?;
    iptables(root)?;
    let applets = applets(root)?;
    for applet in &applets {
        let taken = ["usr/bin", "usr/sbin"].iter().any(|dir| fs::symlink_metadata(root.join(dir).join(applet)).is_ok());
        if !taken && !NOT_LINKED.contains(&applet.as_str()) {
            symlink("busybox", root.join("usr/bin").join(applet)).with_context(|| format!("linking {applet}"))?;
        }
    }
    let init = root.join("usr/sbin/init");
    fs::remove_file(root.join("usr/bin/init"))?;
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;

    let layer = container::Layer::busybox(root, &applets, &libraries(root)?)?;
    container::install(&layer, &root.join("var/lib/docker"))
}

fn make_dir(at: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {}", at.display()))
}

/// What update-ca-certificates does: all authorities in one file.
fn certificates(root: &Path) -> anyhow::Result<()> {
    let dir = root.join("usr/share/ca-certificates/mozilla");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        all.extend(fs::read(&path)?);
    }
    fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), all)?;
    fs::remove_dir_all(root.join("usr/share/ca-certificates"))?;
    Ok(())
}

/// What update-alternatives does.
fn iptables(root: &Path) -> anyhow::Result<()> {
    for family in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            let name = format!("usr/sbin/{family}{suffix}");
            symlink("xtables-nft-multi", root.join(&name)).with_context(|| format!("linking {name}"))?;
        }
    }
    Ok(())
}

/// Names under which busybox does something.
fn applets(root: &Path) -> anyhow::Result<Vec<String>> {
    let said = tool::run(Command::new("chroot").arg(root).args(["/usr/bin/busybox", "--list"]), DEADLINE)?;
    let names: Vec<String> = String::from_utf8_lossy(&said).lines().map(str::to_owned).filter(|name| name != "busybox").collect();
    for needed in ["sh", "nc", "httpd", "hostname", "ip", "ipcalc", "xxd", "awk", "timeout", "init"] {
        anyhow::ensure!(names.iter().any(|name| name == needed), "Debian's busybox has no {needed}");
    }
    Ok(names)
}

/// Libraries that busybox needs, and what loads them.
fn libraries(root: &Path) -> anyhow::Result<Vec<String>> {
    let loader = elf::interpreter(&root.join("usr/bin/busybox"))?.context("Debian's busybox package should be linked dynamically")?;
    let said = tool::run(Command::new("chroot").arg(root).arg(&loader).args(["--list", "/usr/bin/busybox"]), DEADLINE)?;
    let mut found = elf::listed(&String::from_utf8_lossy(&said));
    if !found.contains(&loader) {
        found.push(loader);
    }
    Ok(found)
}
