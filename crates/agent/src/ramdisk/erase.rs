//! Erasing: nothing of the last tenant is left, and this was seen.

use std::path::Path;

use serde_json::{Value, json};

use super::commands::Progress;
use super::disk::{BLOCK_BYTES, Disk, DiskError};
use super::failure::{Failure, chain};

/// Bytes at either end of the disk, and of each partition, that hold partition tables, file system signatures, RAID and
/// volume metadata.
const EDGE: u64 = BLOCK_BYTES;

fn failed(error: &DiskError) -> Failure {
    Failure::erase(chain(error))
}

/// Zeroes the whole disk, then reads it and insists that it is zero. Blocking.
///
/// # Errors
/// [`Failure::erase`], [`Failure::device`]; the call may be repeated.
pub fn everything(device: &Path, progress: &Progress) -> Result<Value, Failure> {
    let disk = Disk::open(device).map_err(|error| Failure::device(chain(&error)))?;
    progress.begin("erase", disk.size());
    disk.zero(0, disk.size(), Some(progress)).map_err(|error| failed(&error))?;
    disk.settle().map_err(|error| failed(&error))?;
    progress.begin("verify", disk.size());
    let empty = disk.verify_zero(Some(progress)).map_err(|error| failed(&error))?;
    Ok(json!({ device.display().to_string(): {
        "verified": "zero", "bytes": disk.size(), "read_bytes": empty.read, "unallocated_bytes": empty.holes,
    } }))
}

/// Zeroes partition tables and the signatures of file systems: the first and last MiB of the disk and of every partition of
/// a GUID partition table. Blocking.
///
/// # Errors
/// As [`everything`].
pub fn metadata(device: &Path, progress: &Progress) -> Result<Value, Failure> {
    let disk = Disk::open(device).map_err(|error| Failure::device(chain(&error)))?;
    let mut ranges = vec![(0, EDGE), (disk.size() - EDGE, EDGE)];
    // A damaged or absent table names no partitions; the ends of the disk are wiped all the same.
    for extent in super::gpt::Table::read(&disk).map(|table| table.extents()).unwrap_or_default() {
        let length = extent.length.min(disk.size().saturating_sub(extent.offset));
        let edge = length.min(EDGE);
        ranges.push((extent.offset, edge));
        ranges.push((extent.offset + length - edge, edge));
    }
    progress.begin("erase metadata", ranges.iter().map(|(_, length)| length).sum());
    // The ends of the disk last: if this is interrupted, the table still names the partitions next time.
    for (offset, length) in ranges.iter().rev() {
        disk.zero(*offset, *length, None).map_err(|error| failed(&error))?;
    }
    disk.settle().map_err(|error| failed(&error))?;
    for (offset, length) in &ranges {
        disk.verify_zero_range(*offset, *length).map_err(|error| failed(&error))?;
    }
    Ok(json!({ device.display().to_string(): { "verified": "zero", "ranges": ranges.len() } }))
}

/// Erases as quickly as the storage can: an NVMe drive formats itself, other storage is told to discard everything; then what
/// [`metadata`] zeroes is zeroed and seen to be. What lies between is as gone as the storage makes it. Blocking.
///
/// # Errors
/// As [`everything`].
pub fn express(device: &Path, progress: &Progress) -> Result<Value, Failure> {
    let disk = Disk::open(device).map_err(|error| Failure::device(chain(&error)))?;
    progress.begin("erase express", 0);
    let formatted = disk.device().map_or(Ok(None), super::nvme::format);
    let formatted = formatted.map_err(|error| Failure::erase(format!("{} could not erase itself: {error}", device.display())))?;
    let how = match formatted {
        Some(way) => way.name(),
        None if disk.discard().map_err(|error| failed(&error))? => "discard",
        None => "metadata only",
    };
    drop(disk);
    metadata(device, progress)?;
    Ok(json!({ device.display().to_string(): { "how": how, "verified": "metadata zero" } }))
}

/// Removes what the firmware keeps of crashed kernels of the last tenant.
///
/// # Errors
/// A record could not be removed.
pub fn crash_records() -> Result<Value, Failure> {
    // Without such a store, or without its file system mounted, there is nothing to see of it.
    let Ok(entries) = std::fs::read_dir("/sys/fs/pstore") else { return Ok(json!({ "removed": 0 })) };
    let mut removed = 0;
    for path in entries.filter_map(|it| Some(it.ok()?.path())) {
        std::fs::remove_file(&path).map_err(|error| Failure::erase(format!("{}: {error}", path.display())))?;
        removed += 1;
    }
    Ok(json!({ "removed": removed }))
}

#[cfg(test)]
mod tests {
    use super::super::disk::tests::blank;
    use super::super::gpt::tests::image;
    use super::*;

    #[test]
    fn all_of_a_written_disk_becomes_zero() {
        let file = blank(16);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(0, &image(8)).unwrap();
        disk.write_at((16 << 20) - 1, b"z").unwrap();
        let result = everything(file.path(), &Progress::default()).unwrap();
        assert_eq!(result[file.path().display().to_string()]["bytes"], 16 << 20);
        assert!(std::fs::read(file.path()).unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn metadata_goes_and_other_data_stays() {
        let file = blank(16);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(0, &image(8)).unwrap();
        super::super::configdrive::place(file.path(), None).unwrap();
        disk.write_at(5 << 20, b"data").unwrap();
        metadata(file.path(), &Progress::default()).unwrap();
        disk.verify_zero_range(0, 3 << 20).unwrap();
        disk.verify_zero_range(15 << 20, 1 << 20).unwrap();
        disk.compare(5 << 20, b"data").unwrap();
        assert!(gpt::GptConfig::new().open(file.path()).is_err(), "no partition table is left, nor its backup");
        metadata(file.path(), &Progress::default()).unwrap();
    }
    #[test]
    fn a_file_standing_for_a_disk_is_discarded_whole() {
        let file = blank(16);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(0, &image(8)).unwrap();
        let result = express(file.path(), &Progress::default()).unwrap();
        assert_eq!(result[file.path().display().to_string()]["how"], "discard");
        disk.verify_zero(None).unwrap();
    }
}
