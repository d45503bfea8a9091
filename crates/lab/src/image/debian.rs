//! A whole Debian on a disk image that a virtual machine boots: mmdebstrap installs it as Debian's own installer would, with kernel,
//! initial RAM disk and systemd; the boot loader is Debian's signed GRUB on an EFI system partition.
//!
//! It is built once and kept; downloads a few hundred MB of packages then.

use std::fs::{self, OpenOptions};
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{Built, cache_dir, deliver, disk, lock, sha512, tool};
use crate::ramdisk::Kernel;

/// Changes whenever the code here makes another image.
const REVISION: &str = "1";
const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd-sysv,udev,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,iproute2";
/// The boot loader (package grub-efi-amd64-signed); it looks for its script in `EFI/debian` of the partition it comes from.
const GRUB: &str = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
/// Installing takes one to two minutes, most of it downloads.
const INSTALL: Duration = Duration::from_secs(900);
const MEBIBYTE: usize = 1 << 20;

/// Writes the disk image to `output`.
///
/// # Errors
/// As [`super::build`].
pub(crate) fn build(output: &Path) -> anyhow::Result<Built> {
    let begin = Instant::now();
    let (dir, cached) = installed()?;
    deliver(&dir.join("disk.raw"), output).with_context(|| format!("writing {}", output.display()))?;
    Ok(Built {
        size: fs::metadata(output)?.len(),
        sha512: fs::read_to_string(dir.join("disk.sha512"))?,
        seconds: begin.elapsed().as_secs_f64(),
        cached,
        container_image: String::new(),
    })
}

/// The kernel of that Debian, for ramdisks.
///
/// # Errors
/// As [`build`].
pub(crate) fn kernel() -> anyhow::Result<Kernel> {
    let (dir, _) = installed()?;
    Ok(Kernel { image: dir.join("vmlinuz"), modules: dir.join("modules") })
}

/// The folder with the finished image, kernel and modules, and whether it was there already.
fn installed() -> anyhow::Result<(PathBuf, bool)> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "the image can only be built by root");
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let dir = cache.join(format!("debian-{SUITE}-{REVISION}"));
    let _lock = lock(&cache.join("debian.lock"))?;
    // The digest is written last.
    if dir.join("disk.sha512").is_file() {
        return Ok((dir, true));
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing what is left of an earlier try in {}", dir.display()))?;
    }
    fs::create_dir(&dir)?;
    let root = dir.join("root");
    let mut install = Command::new("mmdebstrap");
    install.args(["--mode=root", "--variant=minbase", "--quiet", &format!("--include={PACKAGES}")]);
    install.args(["--dpkgopt=path-exclude=/usr/share/{doc,man,locale}/*", SUITE]).arg(&root);
    tool::run(&mut install, INSTALL).context("installing Debian")?;
    let version = fs::read_dir(root.join("usr/lib/modules"))?.next().context("Debian has no kernel modules")??.file_name();
    let version = version.to_string_lossy().into_owned();
    let boot = |name: &str| fs::read(root.join(format!("boot/{name}-{version}"))).with_context(|| format!("reading Debian's {name}"));
    let (kernel, initrd) = (boot("vmlinuz")?, boot("initrd.img")?);
    fs::write(root.join("etc/hostname"), "debian\n")?;
    fs::write(root.join("etc/fstab"), "")?;
    let identity = format!("debian/{SUITE}/{REVISION}");
    let partition = disk::uuid_of(&identity, "partition");
    let script = format!(
        "set timeout=0\nmenuentry Debian {{\n  linux ($root)/vmlinuz root=PARTUUID={partition} ro console=ttyS0\n  initrd ($root)/initrd\n}}\n"
    );
    let grub = fs::read(GRUB).with_context(|| format!("reading {GRUB} (Debian package grub-efi-amd64-signed)"))?;
    let esp = system_partition(&[
        ("EFI/BOOT/BOOTX64.EFI", &grub),
        ("EFI/debian/grub.cfg", script.as_bytes()),
        ("vmlinuz", &kernel),
        ("initrd", &initrd),
    ])?;
    fs::write(dir.join("vmlinuz"), &kernel)?;
    let modules =
        tool::run(Command::new("cp").arg("-a").arg(root.join("usr/lib/modules").join(&version)).arg(dir.join("modules")), INSTALL);
    modules.context("keeping the kernel's modules")?;
    disk::write_bootable(&root, &dir.join("disk.raw"), &identity, &esp)?;
    fs::remove_dir_all(&root)?;
    let digest = sha512(&dir.join("disk.raw"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(dir.join("disk.sha512"))?;
    file.write_all(digest.as_bytes()).and_then(|()| file.sync_all())?;
    Ok((dir, false))
}

/// A FAT file system with these files.
fn system_partition(files: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let content: usize = files.iter().map(|(_, content)| content.len()).sum();
    let size = (content + content / 8 + 8 * MEBIBYTE).next_multiple_of(MEBIBYTE);
    let mut image = Cursor::new(vec![0_u8; size]);
    fatfs::format_volume(&mut image, fatfs::FormatVolumeOptions::new().volume_label(*b"ESP        "))
        .context("formatting the system partition")?;
    {
        let fat = fatfs::FileSystem::new(&mut image, fatfs::FsOptions::new())?;
        for (path, content) in files {
            let mut folder = fat.root_dir();
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            for part in above.split('/').filter(|it| !it.is_empty()) {
                folder = folder.create_dir(part)?;
            }
            let mut file = folder.create_file(name)?;
            file.write_all(content).and_then(|()| file.flush()).with_context(|| format!("writing {path}"))?;
        }
    }
    Ok(image.into_inner())
}
