//! Finding what to boot on a disk.

use std::fmt;
use std::io;
use std::path::Path;

/// "Linux root (x86-64)" of the Discoverable Partitions Specification.
const LINUX_ROOT: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
/// "Linux filesystem data".
const LINUX_FILESYSTEM: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// A partition that holds a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootPartition {
    /// Its number in the table.
    pub(crate) number: u32,
    /// Its identity, as `root=PARTUUID=` names it.
    pub(crate) uuid: String,
    /// Where it begins, in bytes.
    pub(crate) start: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

impl fmt::Display for RootPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} ({} MiB at {} MiB)", self.number, self.length >> 20, self.start >> 20)
    }
}

/// The partition to boot from: the first of type "Linux root", else the first of type "Linux filesystem".
///
/// # Errors
/// A sentence if there is none, or no partition table.
pub(crate) fn root_partition(disk: &Path) -> Result<RootPartition, String> {
    // An image shorter than the disk leaves the backup table in the wrong place until someone moves it; the primary is enough to boot.
    let table = gpt::GptConfig::new().writable(false).only_valid_headers(false).open(disk).map_err(|error| match error {
        gpt::GptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => format!("the disk cannot be read: {error}"),
        _ => "the disk has no partition table".to_owned(),
    })?;
    let block = *table.logical_block_size();
    let of_type = |guid: &str| {
        table.partitions().iter().find(|(_, it)| it.is_used() && it.part_type_guid.guid.to_string().eq_ignore_ascii_case(guid))
    };
    let Some((number, found)) = of_type(LINUX_ROOT).or_else(|| of_type(LINUX_FILESYSTEM)) else {
        return Err("no partition of the disk holds a root file system".to_owned());
    };
    let range = |result: io::Result<u64>| result.map_err(|_| "the partition table is damaged".to_owned());
    Ok(RootPartition {
        number: *number,
        uuid: found.part_guid.to_string(),
        start: range(found.bytes_start(block))?,
        length: range(found.bytes_len(block))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn disk(types: &[gpt::partition_types::Type]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        if types.is_empty() {
            return file;
        }
        let mut table = gpt::GptConfig::new().writable(true).create(file.path()).unwrap();
        for (index, kind) in types.iter().enumerate() {
            table.add_partition(&format!("p{index}"), 8 << 20, kind.clone(), 0, None).unwrap();
        }
        table.write().unwrap();
        file
    }

    #[test]
    fn the_root_is_found_by_its_type() {
        use gpt::partition_types::{EFI, LINUX_FS, LINUX_ROOT_X64};
        let plain = root_partition(disk(&[EFI, LINUX_FS, LINUX_FS]).path()).unwrap();
        assert_eq!((plain.number, plain.length), (2, 8 << 20));
        assert_eq!(root_partition(disk(&[EFI, LINUX_FS, LINUX_ROOT_X64]).path()).unwrap().number, 3);
        assert!(root_partition(disk(&[EFI]).path()).unwrap_err().contains("no partition"));
    }

    #[test]
    fn empty_and_odd_disks_are_not_bootable() {
        assert_eq!(root_partition(disk(&[]).path()).unwrap_err(), "the disk has no partition table");
        let tiny = tempfile::NamedTempFile::new().unwrap();
        assert!(root_partition(tiny.path()).is_err());
    }

    #[test]
    fn an_image_on_a_larger_disk_boots() {
        let disk = disk(&[gpt::partition_types::LINUX_FS]);
        File::options().write(true).open(disk.path()).unwrap().set_len(256 << 20).unwrap();
        assert_eq!(root_partition(disk.path()).unwrap().number, 1);
    }
}
