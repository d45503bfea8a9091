//! Debian packages: which ones the image needs, getting them, unpacking them.
//!
//! apt is asked what it would install on a system with nothing on it, from the package lists this host uses; nothing of the host's own
//! package state is read or changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;

use super::tool;

/// What the machine is for: Docker. And what its init is made of: busybox, jq and isoinfo (of genisoimage).
const WANTED: [&str; 6] = ["docker.io", "iptables", "busybox", "jq", "genisoimage", "ca-certificates"];

/// What these depend on only for their installation scripts, which are not run, or for services nobody starts here: apt is told
/// that they are there already.
const LEFT_OUT: [&str; 13] = [
    "adduser",
    "debconf",
    "dmsetup",
    "dpkg",
    "init-system-helpers",
    "libmagic-mgc",
    "libmagic1",
    "lsb-base",
    "netbase",
    "openssl",
    "passwd",
    "perl",
    "usrmerge",
];

/// Files that nothing in the image reads, as patterns of tar.
const UNUSED: [&str; 25] = [
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/info",
    "./usr/share/locale",
    "./usr/share/lintian",
    "./usr/share/bash-completion",
    "./usr/share/zsh",
    "./usr/share/fish",
    "./usr/share/perl5",
    "./usr/share/initramfs-tools",
    "./usr/lib/systemd",
    "./lib/systemd",
    "./lib/udev",
    "./usr/lib/*/gconv",
    "./usr/lib/*/audit",
    "./etc/init.d",
    "./etc/default",
    // The image is handled through the Engine API, from outside.
    "./usr/bin/docker",
    "./usr/share/docker.io",
    // Docker's own tests and tools, and containerd's other interfaces.
    "./usr/bin/dnet",
    "./usr/sbin/ovrouter",
    "./usr/bin/ctr",
    "./usr/bin/containerd-shim",
    "./usr/bin/containerd-shim-runc-v1",
    "./usr/bin/genisoimage",
];

const ASK: Duration = Duration::from_secs(60);
const DOWNLOAD: Duration = Duration::from_secs(900);
const UNPACK: Duration = Duration::from_secs(300);

/// A package in the version to install.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    name: String,
    version: String,
    architecture: String,
}

impl Package {
    /// Reads a line of `apt-get --simulate`, such as `Inst dmsetup [1.0] (2:1.02.185-2 Debian:12.15/oldstable [amd64]) []`.
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let (_, rest) = rest.split_once('(')?;
        let (inside, _) = rest.split_once(')')?;
        let (version, rest) = inside.split_once(' ')?;
        let architecture = rest.rsplit_once('[')?.1.strip_suffix(']')?;
        Some(Self { name: name.to_owned(), version: version.to_owned(), architecture: architecture.to_owned() })
    }

    /// What apt calls the downloaded file.
    fn file(&self) -> String {
        // A package of another architecture is written name:architecture.
        let name = self.name.split_once(':').map_or(self.name.as_str(), |(name, _)| name);
        format!("{name}_{}_{}.deb", self.version.replace(':', "%3a"), self.architecture)
    }

    /// Identifies the content.
    pub(super) fn identity(&self) -> String {
        format!("{}={}:{}", self.name, self.version, self.architecture)
    }
}

/// The host's apt, set to work on an empty system and in a directory of ours.
pub(super) struct Apt {
    dir: PathBuf,
    own_lists: bool,
}

impl Apt {
    /// Prepares `dir`, which keeps downloaded packages from one time to the next.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn new(dir: PathBuf) -> anyhow::Result<Self> {
        for name in ["archives/partial", "lists/partial"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        let mut status = String::new();
        for name in LEFT_OUT {
            status.push_str(&format!(
                "Package: {name}\nStatus: install ok installed\nMaintainer: none\nArchitecture: all\nMulti-Arch: foreign\n\
                 Version: 999:0\nDescription: left out\n\n"
            ));
        }
        fs::write(dir.join("status"), status).with_context(|| format!("writing {}", dir.join("status").display()))?;
        Ok(Self { dir, own_lists: false })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        option("Dir::State::status", &self.dir.join("status").display().to_string());
        option("Dir::State::extended_states", &self.dir.join("extended_states").display().to_string());
        option("Dir::Cache", &self.dir.display().to_string());
        option("Dir::Cache::archives", "archives");
        option("Dir::Cache::pkgcache", "pkgcache.bin");
        option("Dir::Cache::srcpkgcache", "srcpkgcache.bin");
        option("APT::Install-Recommends", "false");
        option("APT::Sandbox::User", "root");
        if self.own_lists {
            option("Dir::State::lists", &self.dir.join("lists").display().to_string());
        }
        command.stdin(Stdio::null());
        command
    }

    /// What the image consists of, downloaded. If the host's package lists are missing or too old to be of use, others are fetched.
    ///
    /// # Errors
    /// What apt says.
    pub(super) fn fetch(&mut self) -> anyhow::Result<Vec<Package>> {
        match self.attempt() {
            Ok(packages) => Ok(packages),
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "the package lists of this host did not do, fetching new ones");
                self.own_lists = true;
                tool::run(self.command().arg("update"), DOWNLOAD).context("fetching package lists")?;
                self.attempt()
            }
        }
    }

    fn attempt(&self) -> anyhow::Result<Vec<Package>> {
        let said = tool::run(self.command().args(["--simulate", "install"]).args(WANTED), ASK).context("asking apt what Docker needs")?;
        let said = String::from_utf8_lossy(&said);
        let mut packages: Vec<Package> = said.lines().filter_map(Package::parse).collect();
        packages.sort();
        for name in WANTED {
            anyhow::ensure!(packages.iter().any(|package| package.name == name), "apt does not say which {name} it would install");
        }
        if packages.iter().any(|package| !self.archive(package).is_file()) {
            tool::run(self.command().args(["--yes", "--download-only", "install"]).args(WANTED), DOWNLOAD)
                .context("downloading packages")?;
        }
        for package in &packages {
            anyhow::ensure!(self.archive(package).is_file(), "apt did not download {}", package.identity());
        }
        Ok(packages)
    }

    fn archive(&self, package: &Package) -> PathBuf {
        self.dir.join("archives").join(package.file())
    }

    /// Unpacks the packages below `root` without running anything of theirs.
    ///
    /// # Errors
    /// What dpkg-deb or tar says.
    pub(super) fn unpack(&self, packages: &[Package], root: &Path) -> anyhow::Result<()> {
        let mut archives: Vec<(u64, PathBuf)> = Vec::with_capacity(packages.len());
        for package in packages {
            let archive = self.archive(package);
            archives.push((fs::metadata(&archive)?.len(), archive));
        }
        // The largest is last, and taken first: unpacking it takes as long as all others together.
        archives.sort();
        let pending = Mutex::new(archives);
        let next = || pending.lock().ok()?.pop();
        std::thread::scope(|scope| {
            let workers = [(); 2].map(|()| {
                scope.spawn(|| {
                    while let Some((_, archive)) = next() {
                        unpack_one(&archive, root).with_context(|| format!("unpacking {}", archive.display()))?;
                    }
                    Ok(())
                })
            });
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
        })
    }

    /// Forgets downloaded packages other than these.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn forget_others(&self, packages: &[Package]) -> anyhow::Result<()> {
        let keep: Vec<String> = packages.iter().map(Package::file).collect();
        for entry in fs::read_dir(self.dir.join("archives"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".deb") && !keep.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn unpack_one(archive: &Path, root: &Path) -> anyhow::Result<()> {
    let mut reader = tool::spawn(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(archive).stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let archive = reader.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--numeric-owner", "--preserve-permissions", "--wildcards"]);
    tar.args(UNUSED.map(|pattern| format!("--exclude={pattern}"))).arg("--directory").arg(root).stdin(Stdio::from(archive));
    let written = tool::run(&mut tar, UNPACK).map(drop);
    // With its reader gone it ends too.
    let read = tool::wait(&mut reader, UNPACK)?;
    written?;
    anyhow::ensure!(read.success(), "dpkg-deb ended with {read}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulations_are_read() {
        let package = Package::parse("Inst dmsetup [999] (2:1.02.185-2 Debian:12.15/oldstable, Debian-Security:12/x [amd64]) []").unwrap();
        assert_eq!(package.file(), "dmsetup_2%3a1.02.185-2_amd64.deb");
        assert_eq!(package.identity(), "dmsetup=2:1.02.185-2:amd64");
        let package = Package::parse("Inst ca-certificates (20250419~deb12u2 Debian-Security:12/oldstable-security [all])").unwrap();
        assert_eq!(package.file(), "ca-certificates_20250419~deb12u2_all.deb");
        assert_eq!(Package::parse("Conf jq (1.6 Debian [amd64])"), None);
        assert_eq!(Package::parse("Inst"), None);
    }
}
