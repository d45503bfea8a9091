//! A disk image with one partition, made from a folder.
//!
//! The image is cut off behind the last block in use: what is written to a disk, over a network and then read again, is 170 MiB and not
//! the 900 of the file system. A disk it is written to must reach to the end of the partition, and its own end is where the
//! backup of the partition table goes then, which this image therefore lacks.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::tool;

const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;
const MEBIBYTE: u64 = 1 << 20;
/// Where the partition begins: where partitioning programs have put the first one since 2009.
const START: u64 = MEBIBYTE;
/// Length of the partition: a disk of 1 GiB has room for it and for the largest config drive.
const LENGTH: u64 = 896 << 20;
/// Room that must remain for what a running machine writes. A manager of a swarm sets 128 MiB aside for its log.
const FREE: u64 = 256 << 20;
/// Time to write a few hundred MiB on a very busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Writes the image `disk` with everything in `root`. `identity` decides the unique numbers in it.
///
/// # Errors
/// As the file system or mke2fs says.
pub(super) fn write(root: &Path, disk: &Path, identity: &str) -> anyhow::Result<()> {
    let (content, _) = used(root)?;
    anyhow::ensure!(content + FREE <= LENGTH, "the root file system holds {} MiB, which is too much", content / MEBIBYTE);
    write_parts(root, disk, identity, LENGTH, None)
}

/// The same with an EFI system partition behind the root partition, as large as both need.
///
/// # Errors
/// As [`write`].
pub(super) fn write_bootable(root: &Path, disk: &Path, identity: &str, esp: &[u8]) -> anyhow::Result<()> {
    let (content, _) = used(root)?;
    write_parts(root, disk, identity, (content + content / 8 + FREE).next_multiple_of(MEBIBYTE), Some(esp))
}

/// The unique number of a part of the image.
pub(super) fn uuid_of(identity: &str, what: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("cofferdam-lab-image:{identity}/{what}").as_bytes())
}

fn write_parts(root: &Path, disk: &Path, identity: &str, length: u64, esp: Option<&[u8]>) -> anyhow::Result<()> {
    let (_, inodes) = used(root)?;
    let esp_length = esp.map_or(0, |it| it.len() as u64).next_multiple_of(MEBIBYTE);
    // The system partition comes first, so that the image can be cut off behind what the last one holds.
    let start = START + esp_length;
    // For the time being with the backup of the table, which takes 33 sectors.
    let total = start + length + MEBIBYTE;
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(disk).context("creating the disk image")?;
    file.set_len(total)?;
    let uuid = |what: &str| uuid_of(identity, what);

    let sectors = u32::try_from(total / SECTOR - 1).unwrap_or(u32::MAX);
    gpt::mbr::ProtectiveMBR::with_lb_size(sectors).overwrite_lba0(&mut file).context("writing the protective MBR")?;
    let mut table = gpt::GptConfig::new().writable(true).create_from_device(&mut file, Some(uuid("disk")))?;
    let kind = if cfg!(target_arch = "x86_64") { gpt::partition_types::LINUX_ROOT_X64 } else { gpt::partition_types::LINUX_FS };
    let number = table.add_partition_at("root", 1, start / SECTOR, length / SECTOR, kind, 0)?;
    let system = match esp {
        Some(_) => Some(table.add_partition_at("esp", 2, START / SECTOR, esp_length / SECTOR, gpt::partition_types::EFI, 0)?),
        None => None,
    };
    let mut partitions = table.partitions().clone();
    for (number, name) in [(Some(number), "partition"), (system, "system")] {
        if let Some(partition) = number.and_then(|number| partitions.get_mut(&number)) {
            partition.part_guid = uuid(name);
        }
    }
    table.update_partitions(partitions)?;
    table.write().context("writing the partition table")?;
    if let Some(esp) = esp {
        file.write_all_at(esp, START).context("writing the system partition")?;
    }

    // No journal: the loop device's own cache outlives the machine, whatever ends it. No copies of the superblock: they would lie in the
    // part that is cut off.
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-L", "root", "-m", "0", "-b"]).arg(BLOCK.to_string());
    mke2fs.args(["-O", "^has_journal,^resize_inode,sparse_super2", "-N"]).arg((inodes + 16384).to_string());
    mke2fs.arg("-U").arg(uuid("root").to_string());
    mke2fs.arg("-E").arg(format!("offset={start},lazy_itable_init=0,num_backup_sb=0,hash_seed={}", uuid("seed")));
    mke2fs.arg("-d").arg(root).arg(disk).arg(format!("{}k", length >> 10));
    tool::run(&mut mke2fs, DEADLINE).context("making the file system")?;
    file.set_len(end_of_content(&file, start, length)?)?;
    file.sync_all()?;
    Ok(())
}

/// Where the last MiB of the partition ends that is not empty.
fn end_of_content(disk: &File, start: u64, length: u64) -> anyhow::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut end = start + length;
    while end > start {
        disk.read_exact_at(&mut buffer, end - MEBIBYTE)?;
        if buffer.iter().any(|byte| *byte != 0) {
            break;
        }
        end -= MEBIBYTE;
    }
    Ok(end)
}

/// Bytes and inodes that the content of a folder takes.
fn used(root: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut bytes, mut inodes) = (0, 0);
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            inodes += 1;
            bytes += metadata.size().next_multiple_of(BLOCK);
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok((bytes, inodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_a_table_and_a_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/hello"), "world").unwrap();
        let disk = dir.path().join("disk");
        write(&root, &disk, "test").unwrap();
        assert!(fs::metadata(&disk).unwrap().len() < 64 * MEBIBYTE, "the empty end is cut off");
        OpenOptions::new().write(true).open(&disk).unwrap().set_len(1 << 30).unwrap();
        let table = gpt::GptConfig::new().open(&disk).unwrap();
        let partition = table.partitions().get(&1).unwrap();
        assert_eq!(partition.bytes_start(*table.logical_block_size()).unwrap(), START);
        assert!(partition.bytes_start(*table.logical_block_size()).unwrap() + LENGTH <= 1 << 30, "it fits a disk of 1 GiB");
        let image = format!("{}?offset={START}", disk.display());
        let check = Command::new("e2fsck").args(["-f", "-n", &image]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        let said = Command::new("debugfs").args(["-R", "cat /etc/hello", &image]).output().unwrap();
        assert_eq!(said.stdout, b"world", "{}", String::from_utf8_lossy(&said.stderr));
        assert!(write(&root, &disk, "test").is_err(), "an image that is there is not overwritten");
    }
}
