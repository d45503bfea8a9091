//! A ramdisk as a virtual medium: an image that UEFI firmware boots, with all that the agent must know on it, so that a machine is
//! deployed without DHCP.
//!
//! The firmware starts the distribution's signed first loader (shim), which starts its signed GRUB, which reads `boot/grub/grub.cfg`
//! of the medium: so secure boot holds as far as the kernel is signed. The agent's token stands on the kernel's line and in
//! `openstack/latest/` beside the network's data: such a medium is for one machine and is served under an address that nobody guesses.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use media::iso9660::{Content, Image, IsoError, lay};

/// The loaders of Debian 12 (packages shim-signed and grub-efi-amd64-signed).
const SHIM: &str = "/usr/lib/shim/shimx64.efi.signed";
const GRUB: &str = "/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed";
/// The loaders and the file system around them, in bytes.
const EFI_IMAGE: usize = 8 << 20;
const LOADERS_LIMIT: u64 = 7 << 20;

/// Why a medium could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// A loader is missing.
    #[error("{path} cannot be read (Debian packages shim-signed and grub-efi-amd64-signed): {source}")]
    Loader {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The FAT file system could not be written.
    #[error("the loaders' file system could not be written: {0}")]
    Fat(std::io::Error),
    /// A word would break out of its place in the loader's script.
    #[error("{0:?} cannot be part of a kernel's line")]
    Word(String),
    /// The image could not be laid out.
    #[error(transparent)]
    Iso(#[from] IsoError),
}

/// The file system that the firmware looks into: the same for all machines, so make it once.
#[derive(Clone)]
pub struct Loaders(Vec<u8>);

impl Loaders {
    /// Reads the installed loaders. Blocks: files of some megabytes are read.
    ///
    /// # Errors
    /// `Loader` if one is not there, `Fat`.
    pub fn installed() -> Result<Self, MediumError> {
        Self::of(Path::new(SHIM), Path::new(GRUB))
    }

    fn of(shim: &Path, grub: &Path) -> Result<Self, MediumError> {
        let read = |path: &Path| {
            let bad = |source| MediumError::Loader { path: path.to_owned(), source };
            let size = std::fs::metadata(path).map_err(bad)?.len();
            if size > LOADERS_LIMIT { Err(bad(std::io::Error::other("it is too large"))) } else { std::fs::read(path).map_err(bad) }
        };
        let (shim, grub) = (read(shim)?, read(grub)?);
        let mut disk = Cursor::new(vec![0_u8; EFI_IMAGE]);
        fatfs::format_volume(&mut disk, fatfs::FormatVolumeOptions::new().volume_label(*b"COFFERDAM  ")).map_err(MediumError::Fat)?;
        {
            let fat = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).map_err(MediumError::Fat)?;
            let folder = fat.root_dir().create_dir("EFI").and_then(|it| it.create_dir("BOOT")).map_err(MediumError::Fat)?;
            for (name, content) in [("BOOTX64.EFI", &shim), ("GRUBX64.EFI", &grub)] {
                let mut file = folder.create_file(name).map_err(MediumError::Fat)?;
                file.write_all(content).and_then(|()| file.flush()).map_err(MediumError::Fat)?;
            }
        }
        Ok(Self(disk.into_inner()))
    }
}

/// What a machine is to boot from the medium.
pub struct Medium<'a> {
    /// The kernel's file and its size in bytes.
    pub kernel: (PathBuf, u64),
    /// The ramdisk's file and its size in bytes.
    pub ramdisk: (PathBuf, u64),
    /// Words of the kernel's line.
    pub args: &'a [String],
    /// What the agent is to know of the network, in the form of `network_data.json`; null for nothing.
    pub network_data: &'a Value,
}

/// Lays out the medium of one machine. Nothing large is read: the kernel and the ramdisk are when it is served.
///
/// # Errors
/// `Word` if an argument has white space, control characters, quotes or `$`; `Iso` if something is too large.
pub fn medium(loaders: &Loaders, it: &Medium<'_>) -> Result<Image, MediumError> {
    if let Some(word) = it
        .args
        .iter()
        .find(|word| word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control() || "$\\'\"#;|&<>{}".contains(c)))
    {
        return Err(MediumError::Word(word.clone()));
    }
    let script =
        format!("set timeout=0\nset default=0\nmenuentry ramdisk {{\n  linux /vmlinuz {}\n  initrd /initrd\n}}\n", it.args.join(" "));
    let mut files = vec![
        ("boot/grub/grub.cfg".to_owned(), Content::Bytes(script.into_bytes())),
        ("efi.img".to_owned(), Content::Bytes(loaders.0.clone())),
        ("vmlinuz".to_owned(), Content::File { path: it.kernel.0.clone(), len: it.kernel.1 }),
        ("initrd".to_owned(), Content::File { path: it.ramdisk.0.clone(), len: it.ramdisk.1 }),
    ];
    // Agents that find the medium before they read the kernel's line look for the same words here, one a line.
    files.push(("parameters.txt".to_owned(), Content::Bytes(it.args.join("\n").into_bytes())));
    if !it.network_data.is_null() {
        files.push(("openstack/latest/network_data.json".to_owned(), Content::Bytes(it.network_data.to_string().into_bytes())));
    }
    // The label by which ramdisks that set up their network from a medium know Ironic's.
    Ok(lay("VMEDIA_BOOT_ISO", files, Some("efi.img"))?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_loaders_are_where_firmware_looks() {
        let folder = tempfile::tempdir().unwrap();
        let (shim, grub) = (folder.path().join("shim"), folder.path().join("grub"));
        std::fs::write(&shim, b"first").unwrap();
        std::fs::write(&grub, vec![1; 100_000]).unwrap();
        let loaders = Loaders::of(&shim, &grub).unwrap();
        let fat = fatfs::FileSystem::new(Cursor::new(loaders.0.clone()), fatfs::FsOptions::new()).unwrap();
        let mut text = String::new();
        fat.root_dir().open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "first");
        assert!(matches!(Loaders::of(Path::new("/nonexistent/x"), &grub), Err(MediumError::Loader { .. })));

        let make = |args: &[String]| {
            medium(
                &loaders,
                &Medium { kernel: (shim.clone(), 5), ramdisk: (grub.clone(), 100_000), args, network_data: &json!({"links": []}) },
            )
        };
        let image = make(&["ipa-api-url=http://10.0.0.1/baremetal".into(), "nofb".into()]).unwrap();
        assert!(image.len > EFI_IMAGE as u64 + 100_000);
        for word in ["", "a b", "a;reboot", "$x", "a\"b"] {
            assert!(make(&[word.to_owned()]).is_err(), "{word}");
        }
    }
}
