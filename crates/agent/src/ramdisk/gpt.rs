//! GUID partition tables: moving the backup to the end of a disk larger than the image, and adding one partition.
//!
//! Written by hand because the `gpt` crate numbers partitions anew when it writes, and images boot by partition number. It
//! serves as the independent reader in the tests.
//!
//! Source: UEFI specification 2.10, section 5.3 (GUID Partition Table Disk Layout).

use flate2::Crc;

use super::disk::{Disk, DiskError, length};

/// Partition type "Linux filesystem data", as on disk; what Ironic's own ramdisk gives the config drive.
pub const LINUX_FILESYSTEM: [u8; 16] = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];

const SIGNATURE: &[u8; 8] = b"EFI PART";
const MEGABYTE: u64 = 1 << 20;
/// Largest table taken seriously, in bytes; the usual one has 16 KiB.
const MAX_TABLE: u64 = 1 << 20;

/// Why a partition table could not be changed. Nothing was written unless the variant is `Disk`.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no GUID partition table.
    #[error("there is no GUID partition table")]
    Absent,
    /// The table contradicts itself.
    #[error("the GUID partition table is damaged: {0}")]
    Damaged(&'static str),
    /// All entries are in use.
    #[error("all entries of the partition table are in use")]
    Full,
    /// Not enough space after the last partition.
    #[error("{wanted} bytes are wanted after the last partition, {free} are free")]
    NoSpace {
        /// What was asked for.
        wanted: u64,
        /// What there is.
        free: u64,
    },
}

/// Where a partition lies, in bytes from the start of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length.
    pub length: u64,
}

/// A partition table read from a disk and, after [`Table::relocate`], ready to be written for all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    sector: u64,
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_size: usize,
    /// Where the backup header is said to be, in sectors.
    backup: u64,
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// CRC-32 of IEEE 802.3, the one the specification wants.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

impl Table {
    /// Reads and checks the primary table. The sector size, 512 or 4096 bytes, is found by where its header is: the image's
    /// maker chose it.
    ///
    /// # Errors
    /// [`GptError::Absent`], [`GptError::Damaged`] or a disk error.
    pub fn read(disk: &Disk) -> Result<Self, GptError> {
        for sector in [512, 4096] {
            let mut header = vec![0_u8; usize::try_from(sector).unwrap_or(512)];
            disk.read_at(sector, &mut header)?;
            if header.starts_with(SIGNATURE) {
                return Self::check(disk, sector, header);
            }
        }
        Err(GptError::Absent)
    }

    fn check(disk: &Disk, sector: u64, header: Vec<u8>) -> Result<Self, GptError> {
        let size = usize::try_from(le32(&header, 12)).unwrap_or(0);
        let mut covered = header.get(..size).filter(|it| it.len() >= 92).ok_or(GptError::Damaged("size of the header"))?.to_vec();
        put(&mut covered, 16, &[0; 4]);
        if crc32(&covered) != le32(&header, 16) {
            return Err(GptError::Damaged("checksum of the header"));
        }
        let entry_size = usize::try_from(le32(&header, 84)).unwrap_or(0);
        let table = u64::from(le32(&header, 80)).saturating_mul(u64::from(le32(&header, 84)));
        if entry_size < 128 || !entry_size.is_power_of_two() || table == 0 || table > MAX_TABLE {
            return Err(GptError::Damaged("size of the table"));
        }
        let start =
            le64(&header, 72).checked_mul(sector).filter(|start| *start >= 2 * sector && start.saturating_add(table) <= disk.size());
        let mut entries = vec![0_u8; usize::try_from(table).unwrap_or(0)];
        disk.read_at(start.ok_or(GptError::Damaged("place of the table"))?, &mut entries)?;
        if crc32(&entries) != le32(&header, 88) {
            return Err(GptError::Damaged("checksum of the table"));
        }
        let backup = le64(&header, 32);
        Ok(Self { sector, header, entries, entry_size, backup })
    }

    fn used(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.chunks_exact(self.entry_size).filter(|entry| entry.iter().take(16).any(|byte| *byte != 0))
    }

    fn table_sectors(&self) -> u64 {
        length(&self.entries).div_ceil(self.sector)
    }

    fn last_used(&self) -> u64 {
        self.used().map(|entry| le64(entry, 40)).max().unwrap_or(0).max(le64(&self.header, 40).saturating_sub(1))
    }

    fn extent(&self, entry: &[u8]) -> Option<Extent> {
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        let sectors = last.checked_add(1)?.checked_sub(first)?;
        Some(Extent { offset: first.checked_mul(self.sector)?, length: sectors.checked_mul(self.sector)? })
    }

    /// The first partition with this name.
    pub fn find(&self, name: &str) -> Option<Extent> {
        let entry = self.used().find(|entry| entry.get(56..128) == Some(encode(name).as_slice()))?;
        self.extent(entry)
    }

    /// Where all partitions lie.
    pub fn extents(&self) -> Vec<Extent> {
        self.used().filter_map(|entry| self.extent(entry)).collect()
    }

    /// Lets the table reach to the end of the disk; partitions stay where they are.
    ///
    /// # Errors
    /// [`GptError::Damaged`] if a partition would overlap the backup at its new place.
    pub fn relocate(&mut self, disk: &Disk) -> Result<(), GptError> {
        let sectors = disk.size() / self.sector;
        let last_usable = sectors.checked_sub(self.table_sectors() + 2).ok_or(GptError::Damaged("it does not fit the disk"))?;
        if self.last_used() > last_usable {
            return Err(GptError::Damaged("a partition reaches into the end of the disk"));
        }
        put(&mut self.header, 32, &(sectors - 1).to_le_bytes());
        put(&mut self.header, 48, &last_usable.to_le_bytes());
        Ok(())
    }

    /// Adds a partition at the end of the usable space: of `wanted` bytes if there is room, else of at least `least`; it
    /// begins at a whole MiB. Its number is the one after the last in use, so that no other's changes.
    ///
    /// # Errors
    /// [`GptError::Full`], [`GptError::NoSpace`].
    pub fn add_last(&mut self, name: &str, kind: [u8; 16], id: [u8; 16], wanted: u64, least: u64) -> Result<Extent, GptError> {
        let end = le64(&self.header, 48).saturating_add(1).saturating_mul(self.sector);
        let first_free = self.last_used().saturating_add(1).saturating_mul(self.sector);
        let start = [wanted, least]
            .into_iter()
            .filter_map(|size| end.checked_sub(size.max(1)).map(|start| start / MEGABYTE * MEGABYTE))
            .find(|start| *start >= first_free)
            .ok_or(GptError::NoSpace { wanted: least, free: end.saturating_sub(first_free.next_multiple_of(MEGABYTE)) })?;
        let used: Vec<bool> =
            self.entries.chunks_exact(self.entry_size).map(|entry| entry.iter().take(16).any(|byte| *byte != 0)).collect();
        let after_last = used.iter().rposition(|used| *used).map_or(0, |last| last + 1);
        let slot = if after_last < used.len() { after_last } else { used.iter().position(|used| !used).ok_or(GptError::Full)? };
        let entry = self.entries.chunks_exact_mut(self.entry_size).nth(slot).ok_or(GptError::Full)?;
        entry.fill(0);
        put(entry, 0, &kind);
        put(entry, 16, &id);
        put(entry, 32, &(start / self.sector).to_le_bytes());
        put(entry, 40, &(end / self.sector - 1).to_le_bytes());
        put(entry, 56, &encode(name));
        Ok(Extent { offset: start, length: end - start })
    }

    /// Writes backup, then primary, so that one whole table exists at any moment, and reads both back. A backup that was
    /// elsewhere is wiped.
    ///
    /// # Errors
    /// A disk error; the call may be repeated.
    pub fn write(&self, disk: &Disk) -> Result<(), GptError> {
        let last = le64(&self.header, 32);
        let backup_table = last.checked_sub(self.table_sectors()).ok_or(GptError::Damaged("it does not fit the disk"))?;
        let primary_table = le64(&self.header, 72);
        let backup = self.sealed(last, 1, backup_table);
        let primary = self.sealed(1, last, primary_table);
        disk.write_at(backup_table * self.sector, &self.entries)?;
        disk.write_at(last * self.sector, &backup)?;
        disk.settle()?;
        disk.write_at(primary_table * self.sector, &self.entries)?;
        disk.write_at(self.sector, &primary)?;
        self.write_protective(disk, last)?;
        self.wipe_old_backup(disk, backup_table)?;
        disk.settle()?;
        disk.compare(backup_table * self.sector, &self.entries)?;
        disk.compare(last * self.sector, &backup)?;
        disk.compare(primary_table * self.sector, &self.entries)?;
        disk.compare(self.sector, &primary)?;
        Ok(())
    }

    fn sealed(&self, own: u64, other: u64, table: u64) -> Vec<u8> {
        let mut header = self.header.clone();
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 72, &table.to_le_bytes());
        put(&mut header, 88, &crc32(&self.entries).to_le_bytes());
        put(&mut header, 16, &[0; 4]);
        let size = usize::try_from(le32(&header, 12)).unwrap_or(92);
        let sum = crc32(header.get(..size).unwrap_or(&header));
        put(&mut header, 16, &sum.to_le_bytes());
        header
    }

    /// The protective MBR covers the whole disk, or as much as 32 bits can say. A hybrid MBR, made on purpose, stays.
    fn write_protective(&self, disk: &Disk, last: u64) -> Result<(), GptError> {
        let mut mbr = vec![0_u8; 512];
        disk.read_at(0, &mut mbr)?;
        let only_protective = mbr.get(450) == Some(&0xee) && [466, 482, 498].iter().all(|at| mbr.get(*at) == Some(&0));
        if only_protective && mbr.ends_with(&[0x55, 0xaa]) {
            put(&mut mbr, 458, &u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
            disk.write_at(0, &mbr)?;
            disk.compare(0, &mbr)?;
        }
        Ok(())
    }

    /// Zeroes the backup header at the image's own end, if it is one, lies in no partition and not in the new backup: tools
    /// that search for tables must not find two.
    fn wipe_old_backup(&self, disk: &Disk, backup_table: u64) -> Result<(), GptError> {
        let in_partition = self.used().any(|entry| (le64(entry, 32)..=le64(entry, 40)).contains(&self.backup));
        if self.backup <= 1 || self.backup >= backup_table || in_partition {
            return Ok(());
        }
        let mut found = vec![0_u8; SIGNATURE.len()];
        let offset = self.backup.saturating_mul(self.sector);
        disk.read_at(offset, &mut found)?;
        if found == SIGNATURE {
            disk.write_at(offset, &vec![0; usize::try_from(self.sector).unwrap_or(512)])?;
        }
        Ok(())
    }
}

/// A name as the 72 bytes of UTF-16LE that an entry holds; longer ones are cut.
fn encode(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.encode_utf16().take(36).flat_map(u16::to_le_bytes).collect();
    bytes.resize(72, 0);
    bytes
}

#[cfg(test)]
pub mod tests {
    use std::io::Read as _;
    use std::path::Path;

    use super::super::disk::tests::blank;
    use super::*;

    /// A small image: GPT with one partition of 2 MiB filled with a pattern, made by the `gpt` crate.
    pub fn image(megabytes: u64) -> Vec<u8> {
        let file = blank(megabytes);
        let sectors = u32::try_from((megabytes << 20) / 512 - 1).unwrap();
        let mut raw = std::fs::OpenOptions::new().read(true).write(true).open(file.path()).unwrap();
        gpt::mbr::ProtectiveMBR::with_lb_size(sectors).overwrite_lba0(&mut raw).unwrap();
        let mut table = gpt::GptConfig::new().writable(true).create_from_device(raw, None).unwrap();
        table.update_partitions(std::collections::BTreeMap::new()).unwrap();
        table.add_partition("root", 2 << 20, gpt::partition_types::LINUX_FS, 0, Some(2048)).unwrap();
        table.write().unwrap();
        let mut bytes = Vec::new();
        std::fs::File::open(file.path()).unwrap().read_to_end(&mut bytes).unwrap();
        for (at, byte) in bytes[1 << 20..3 << 20].iter_mut().enumerate() {
            *byte = u8::try_from(at % 251).unwrap();
        }
        bytes
    }

    /// The partitions, as the `gpt` crate reads them; insists that both headers are whole.
    pub fn partitions(path: &Path) -> Vec<(u32, String, u64, u64)> {
        let disk = gpt::GptConfig::new().only_valid_headers(true).open(path).unwrap();
        let (primary, backup) = (disk.primary_header().unwrap(), disk.backup_header().unwrap());
        let sectors = std::fs::metadata(path).unwrap().len() / 512;
        assert_eq!((primary.backup_lba, backup.current_lba), (sectors - 1, sectors - 1), "the backup is at the end");
        assert_eq!((primary.last_usable, backup.last_usable), (sectors - 34, sectors - 34));
        disk.partitions()
            .iter()
            .filter(|(_, it)| it.is_used())
            .map(|(number, it)| (*number, it.name.clone(), it.first_lba * 512, (it.last_lba + 1 - it.first_lba) * 512))
            .collect()
    }

    fn written(image: &[u8], megabytes: u64) -> (tempfile::NamedTempFile, Disk) {
        let file = blank(megabytes);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(0, image).unwrap();
        (file, disk)
    }

    #[test]
    fn the_backup_moves_and_a_partition_is_added() {
        let image = image(8);
        let (file, disk) = written(&image, 128);
        let mut table = Table::read(&disk).unwrap();
        table.relocate(&disk).unwrap();
        let extent = table.add_last("config-2", LINUX_FILESYSTEM, [7; 16], 64 << 20, 1 << 20).unwrap();
        table.write(&disk).unwrap();
        assert_eq!(extent.offset % (1 << 20), 0);
        assert!(extent.length >= 64 << 20);
        let found = partitions(file.path());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], (1, "root".into(), 1 << 20, 2 << 20), "the first stays as it was");
        assert_eq!(found[1], (2, "config-2".into(), extent.offset, extent.length));
        assert_eq!(Table::read(&disk).unwrap().find("config-2"), Some(extent));
        let mut old = [0xff; 8];
        disk.read_at((8 << 20) - 512, &mut old).unwrap();
        assert_eq!(old, [0; 8], "the image's own backup is gone");
        let mut size = [0; 4];
        disk.read_at(458, &mut size).unwrap();
        assert_eq!(u32::from_le_bytes(size), 128 * 2048 - 1, "the protective MBR covers the disk");
        disk.compare(1 << 20, &image[1 << 20..3 << 20]).unwrap();
    }

    #[test]
    fn partitions_keep_their_numbers() {
        // Debian's cloud images have the root as 1 and 14, 15 before it.
        let mut bytes = image(8);
        let first: Vec<u8> = bytes[1024..1152].to_vec();
        bytes[1024..1152].fill(0);
        bytes[1024 + 13 * 128..1024 + 14 * 128].copy_from_slice(&first);
        let (file, disk) = written(&bytes, 80);
        assert!(matches!(Table::read(&disk), Err(GptError::Damaged("checksum of the table"))));
        let sum = crc32(&bytes[1024..1024 + 128 * 128]);
        bytes[512 + 88..512 + 92].copy_from_slice(&sum.to_le_bytes());
        bytes[512 + 16..512 + 20].fill(0);
        let sum = crc32(&bytes[512..512 + 92]);
        bytes[512 + 16..512 + 20].copy_from_slice(&sum.to_le_bytes());
        disk.write_at(0, &bytes).unwrap();
        let mut table = Table::read(&disk).unwrap();
        table.relocate(&disk).unwrap();
        table.add_last("config-2", LINUX_FILESYSTEM, [7; 16], 64 << 20, 1 << 20).unwrap();
        table.write(&disk).unwrap();
        let numbers: Vec<u32> = partitions(file.path()).iter().map(|it| it.0).collect();
        assert_eq!(numbers, [14, 15]);
    }

    #[test]
    fn a_tight_disk_gets_a_smaller_partition_and_a_full_one_none() {
        let image = image(8);
        let (file, disk) = written(&image, 9);
        let mut table = Table::read(&disk).unwrap();
        table.relocate(&disk).unwrap();
        let full = table.clone().add_last("config-2", LINUX_FILESYSTEM, [7; 16], 64 << 20, 6 << 20);
        assert!(matches!(full, Err(GptError::NoSpace { .. })), "{full:?}");
        let extent = table.add_last("config-2", LINUX_FILESYSTEM, [7; 16], 64 << 20, 1 << 20).unwrap();
        table.write(&disk).unwrap();
        assert_eq!(partitions(file.path())[1].2, extent.offset);
    }

    #[test]
    fn damage_is_noticed() {
        let image = image(8);
        let (_file, disk) = written(&image, 8);
        assert!(Table::read(&disk).is_ok());
        for at in [512 + 40, 512 + 80, 1024 + 3] {
            let mut bad = image.clone();
            bad[at] ^= 1;
            disk.write_at(0, &bad).unwrap();
            assert!(matches!(Table::read(&disk), Err(GptError::Damaged(_))), "byte {at}");
        }
        disk.zero(0, 1 << 20, None).unwrap();
        assert!(matches!(Table::read(&disk), Err(GptError::Absent)));
    }
}
