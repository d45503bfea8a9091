//! The Debian packages that building, the demo and the tests call.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process;

/// Who needs a package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Need {
    /// The simulated rack, the control plane, and building them.
    Demo,
    /// The tests only.
    Test,
}

struct Package {
    name: &'static str,
    need: Need,
    /// One of these programs makes the package needless, whoever installed it; without any, dpkg is asked.
    programs: &'static [&'static str],
    why: &'static str,
}

const fn package(name: &'static str, need: Need, programs: &'static [&'static str], why: &'static str) -> Package {
    Package { name, need, programs, why }
}

/// Sorted by need, then name. What Debian calls essential (tar, util-linux, dpkg, apt) is taken for granted.
const PACKAGES: &[Package] = &[
    package("binutils", Need::Demo, &["ld"], "links what cargo builds"),
    package("ca-certificates", Need::Demo, &[], "goes into the machine image"),
    package("e2fsprogs", Need::Demo, &["mke2fs"], "makes the machine image's file system"),
    package("ethtool", Need::Demo, &["ethtool"], "turns checksum offload off on the machines' NICs"),
    package("gcc", Need::Demo, &["cc"], "compiles SQLite, links what cargo builds"),
    package("iproute2", Need::Demo, &["ip"], "network namespaces and cables of the rack"),
    package("ipxe", Need::Demo, &[], "boot files served to machines by TFTP"),
    package("libc6-dev", Need::Demo, &[], "compiles SQLite, links what cargo builds"),
    package("mount", Need::Demo, &["losetup"], "mounts the machines' disks"),
    package("openvswitch-switch", Need::Demo, &["ovs-vswitchd"], "the leaf switches; Debian's own service is not used"),
    package("git", Need::Test, &["git"], "lists the files of the tree"),
    package("grub-efi-amd64-signed", Need::Test, &[], "boot loader of virtual machines and virtual media"),
    package("ipmitool", Need::Test, &["ipmitool"], "speaks IPMI with BMCs and their consoles"),
    package("libarchive-tools", Need::Test, &["bsdtar"], "reads config drives as a machine does"),
    package("mmdebstrap", Need::Test, &["mmdebstrap"], "installs the Debian that a virtual machine boots"),
    package("openipmi", Need::Test, &["ipmi_sim"], "a simulated BMC that speaks IPMI"),
    package("ovmf", Need::Test, &[], "firmware of virtual machines"),
    package("postgresql", Need::Test, &[], "the second database; Debian's own service is not used"),
    package("python3-venv", Need::Test, &[], "where the unmodified openstack client is installed"),
    package("qemu-system-x86", Need::Test, &["qemu-system-x86_64"], "a machine with firmware and a kernel of its own"),
    package("qemu-utils", Need::Test, &["qemu-img"], "converts images of virtual machines"),
    package("shim-signed", Need::Test, &[], "first boot loader of virtual media"),
    package("swtpm", Need::Test, &["swtpm"], "a TPM for what machines prove of themselves"),
];

/// Services that Debian starts with a package and that we do not use.
const SERVICES: &[(&str, &[&str])] = &[
    ("openipmi", &["openipmi.service"]),
    ("openvswitch-switch", &["openvswitch-switch.service", "ovs-vswitchd.service", "ovsdb-server.service"]),
    ("postgresql", &["postgresql.service"]),
];

pub(crate) async fn command(check: bool) -> Result<ExitCode> {
    let missing = missing(Need::Test).await?;
    if missing.is_empty() {
        println!("All packages are there.");
        return Ok(ExitCode::SUCCESS);
    }
    for package in &missing {
        println!("missing: {:<20} {}", package.name, package.why);
    }
    if check {
        return Ok(ExitCode::FAILURE);
    }
    install(&missing).await?;
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing for `need` and says which packages those were.
///
/// # Errors
/// Something is missing and we are not root, this is not Debian, or apt failed.
pub(crate) async fn ensure(need: Need) -> Result<Vec<&'static str>> {
    let missing = missing(need).await?;
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|package| package.name).collect();
        println!("Installing missing Debian packages: {}", names.join(" "));
        install(&missing).await?;
    }
    Ok(missing.iter().map(|package| package.name).collect())
}

async fn missing(need: Need) -> Result<Vec<&'static Package>> {
    let mut missing = Vec::new();
    for package in PACKAGES.iter().filter(|package| package.need <= need) {
        if package.programs.iter().any(|name| paths::program(name).is_some()) {
            continue;
        }
        if !installed(package.name).await? {
            missing.push(package);
        }
    }
    Ok(missing)
}

async fn installed(name: &str) -> Result<bool> {
    let Some(query) = paths::program("dpkg-query") else {
        bail!("this is not Debian: {name} is missing, and no dpkg-query to ask nor apt-get to install it");
    };
    // It fails for a package it never heard of.
    let answer =
        tokio::process::Command::new(query).args(["-W", "-f", "${Status}", name]).output().await.context("cannot run dpkg-query")?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim() == "install ok installed")
}

async fn install(packages: &[&Package]) -> Result<()> {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    if !nix::unistd::geteuid().is_root() {
        bail!("root is needed to install: {}", names.join(" "));
    }
    let policy = Policy::refuse_starts()?;
    if !has_package_lists() {
        apt(&["update"]).await?;
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&names);
    if apt(&arguments).await.is_err() {
        println!("Once more with new package lists.");
        apt(&["update"]).await?;
        apt(&arguments).await?;
    }
    drop(policy);
    disable_services(&names).await;
    Ok(())
}

async fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new("apt-get");
    command.args(["-q", "-o", "Dpkg::Use-Pty=0"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut command).await
}

/// Whether apt knows any package: images of Debian for containers come without lists.
pub(crate) fn has_package_lists() -> bool {
    std::fs::read_dir("/var/lib/apt/lists")
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages")))
}

/// Fetches apt's package lists if there are none: the machine image is made with the host's apt.
///
/// # Errors
/// apt failed.
pub(crate) async fn ensure_package_lists() -> Result<()> {
    if has_package_lists() { Ok(()) } else { apt(&["update"]).await }
}

/// While it lives Debian's packages do not start their services when they are installed.
struct Policy(Option<PathBuf>);

impl Policy {
    fn refuse_starts() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        std::fs::write(path, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {}", path.display()))?;
        let policy = Self(Some(path.to_owned()));
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Keeps the services of packages that we have just installed from starting at the next boot.
async fn disable_services(installed: &[&str]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for (_, units) in SERVICES.iter().filter(|(package, _)| installed.contains(package)) {
        for unit in *units {
            // Some units are only part of others and cannot be disabled by themselves: that is fine.
            let outcome = process::output(tokio::process::Command::new("systemctl").args(["disable", "--now", unit])).await;
            if let Err(error) = outcome {
                println!("note: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_sorted_and_unique() {
        let keys: Vec<_> = PACKAGES.iter().map(|it| (it.need, it.name)).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(keys, sorted);
        for (package, _) in SERVICES {
            assert!(PACKAGES.iter().any(|it| it.name == *package), "{package}");
        }
    }

    #[tokio::test]
    async fn an_unknown_package_is_missing() {
        if paths::program("dpkg-query").is_none() {
            eprintln!("skipped: no dpkg here");
            return;
        }
        assert!(!installed("cofferdam-no-such-package").await.unwrap());
        assert!(installed("dpkg").await.unwrap());
    }
}
