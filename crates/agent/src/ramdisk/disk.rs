//! The machine's disk: bytes at offsets, zeroing, and reading back what storage really holds.
//!
//! A disk is a block device, or a regular file standing for one (the machines of the simulated rack).

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::unistd::{Whence, lseek};

use super::commands::Progress;

/// Unit of reading and writing, in bytes.
pub const BLOCK: usize = 1 << 20;
/// The same as an offset.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Unit of zeroing, in bytes: small enough that progress is seen.
const ZERO_STRIDE: u64 = 256 << 20;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// What went wrong with a disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It is not there, is in use, or is no disk.
    #[error("cannot open {} as a disk", path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Reading, writing, zeroing or settling failed.
    #[error("cannot {what} {} at byte {offset}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The device.
        path: PathBuf,
        /// Where, in bytes from the start.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A byte that must be zero is not.
    #[error("{} still holds data at byte {offset}", path.display())]
    NotZero {
        /// The device.
        path: PathBuf,
        /// The first byte found that is not zero.
        offset: u64,
    },
    /// What was read back is not what was written.
    #[error("{} does not hold what was written at byte {offset}", path.display())]
    Differs {
        /// The device.
        path: PathBuf,
        /// Start of the range compared.
        offset: u64,
    },
}

/// How a disk was found to be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emptiness {
    /// Bytes read and found zero.
    pub read: u64,
    /// Bytes of a sparse file that no storage stands behind; such bytes cannot hold data.
    pub holes: u64,
}

/// An open disk.
#[derive(Debug)]
pub struct Disk {
    file: File,
    path: PathBuf,
    size: u64,
    block_device: bool,
}

impl Disk {
    /// Opens a block device (exclusively: a mounted one is refused) or a regular file for reading and writing.
    ///
    /// # Errors
    /// [`DiskError::Open`].
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Open { path: path.to_owned(), source };
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        let block_device = kind.is_block_device();
        if !block_device && !kind.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "neither a block device nor a file")));
        }
        // On a block device O_EXCL without O_CREAT means: fail if it is in use (open(2)).
        let flags = if block_device { nix::libc::O_EXCL } else { 0 };
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(failed)?;
        // The end is the size for both kinds; the length in the metadata of a block device is 0.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size < 4 * BLOCK_BYTES {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, format!("only {size} bytes large"))));
        }
        Ok(Self { file, path: path.to_owned(), size, block_device })
    }

    /// Size of a disk or a file that stands for one, in bytes, without claiming it.
    ///
    /// # Errors
    /// [`DiskError::Open`].
    pub fn size_of(path: &Path) -> Result<u64, DiskError> {
        let size = File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
        size.map_err(|source| DiskError::Open { path: path.to_owned(), source })
    }

    /// Whether it is a block device and no file standing for one.
    pub fn is_block(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|it| it.file_type().is_block_device())
    }

    /// The open device, for what only its driver can do; `None` for a file standing for a disk.
    pub fn device(&self) -> Option<&File> {
        self.block_device.then_some(&self.file)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, what: &'static str, offset: u64) -> impl FnOnce(io::Error) -> DiskError + '_ {
        move |source| DiskError::Io { what, path: self.path.clone(), offset, source }
    }

    /// Writes all of `bytes` at `offset`. Never makes a regular file grow.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(length(bytes));
        if end.is_none_or(|end| end > self.size) {
            return Err(self.error("write", offset)(io::Error::new(io::ErrorKind::StorageFull, "beyond the end of the disk")));
        }
        self.file.write_all_at(bytes, offset).map_err(self.error("write", offset))
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        self.file.read_exact_at(bytes, offset).map_err(self.error("read", offset))
    }

    /// Waits until everything written is on storage, then drops the kernel's copy, so that reading afterwards asks the storage.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn settle(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.error("flush", 0))?;
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .map_err(|errno| self.error("drop the cache of", 0)(errno.into()))
    }

    /// Calls `each` with the bytes from `offset` on, `len` in all, piece by piece.
    ///
    /// # Errors
    /// [`DiskError::Io`], or what `each` says.
    pub fn scan(&self, offset: u64, len: u64, mut each: impl FnMut(u64, &[u8]) -> Result<(), DiskError>) -> Result<(), DiskError> {
        let mut buffer = vec![0_u8; BLOCK];
        let end = offset.saturating_add(len).min(self.size);
        let mut at = offset;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let Some(piece) = buffer.get_mut(..want) else { break };
            self.read_at(at, piece)?;
            each(at, piece)?;
            at += length(piece);
        }
        Ok(())
    }

    /// Compares the disk with `bytes`; the caller settles before.
    ///
    /// # Errors
    /// [`DiskError::Differs`], [`DiskError::Io`].
    pub fn compare(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut left = bytes;
        self.scan(offset, length(bytes), |_, piece| {
            let (expected, rest) = left.split_at(piece.len().min(left.len()));
            left = rest;
            if expected == piece { Ok(()) } else { Err(DiskError::Differs { path: self.path.clone(), offset }) }
        })?;
        if left.is_empty() { Ok(()) } else { Err(DiskError::Differs { path: self.path.clone(), offset }) }
    }

    /// Makes a range zero: by the quickest way the storage has (blocks zeroed or given back), else by writing zeros.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn zero(&self, offset: u64, len: u64, progress: Option<&Progress>) -> Result<(), DiskError> {
        let end = offset.saturating_add(len).min(self.size);
        // ZERO_RANGE is what the kernel offers on block devices (as BLKZEROOUT); a hole gives a file's space back.
        let mode = if self.block_device { FallocateFlags::FALLOC_FL_ZERO_RANGE } else { FallocateFlags::FALLOC_FL_PUNCH_HOLE }
            | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let mut quick = true;
        let mut at = offset;
        while at < end {
            let want = (end - at).min(if quick { ZERO_STRIDE } else { BLOCK_BYTES });
            if quick {
                let (Ok(from), Ok(count)) = (i64::try_from(at), i64::try_from(want)) else { break };
                match fallocate(&self.file, mode, from, count) {
                    Ok(()) => {}
                    Err(Errno::EINTR) => continue,
                    // Includes EINVAL: a block device wants whole sectors.
                    Err(errno @ (Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::ENODEV)) => {
                        tracing::info!(%errno, "the storage cannot zero by itself; writing zeros");
                        quick = false;
                        continue;
                    }
                    Err(errno) => return Err(self.error("zero", at)(errno.into())),
                }
            } else {
                let zeros = ZEROS.get(..usize::try_from(want).unwrap_or(BLOCK)).unwrap_or(&ZEROS);
                self.write_at(at, zeros)?;
            }
            at += want;
            if let Some(progress) = progress {
                progress.set(at - offset);
            }
        }
        Ok(())
    }

    /// Tells the storage that nothing on it is wanted any more; says whether it took that.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn discard(&self) -> Result<bool, DiskError> {
        if !self.block_device {
            return self.zero(0, self.size, None).map(|()| true);
        }
        match super::kernel::discard(&self.file, self.size) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(false),
            Err(error) => Err(self.error("discard", 0)(error)),
        }
    }

    /// Reads the whole disk and insists that every byte is zero; the caller settles before. Holes of a regular file are
    /// counted, not read.
    ///
    /// # Errors
    /// [`DiskError::NotZero`] with the first byte that is not; [`DiskError::Io`].
    pub fn verify_zero(&self, progress: Option<&Progress>) -> Result<Emptiness, DiskError> {
        let mut found = Emptiness::default();
        let mut at = 0;
        while at < self.size {
            let (data, end) = self.next_data(at)?;
            found.holes += data - at;
            self.scan(data, end - data, |offset, piece| {
                self.require_zero(offset, piece)?;
                if let Some(progress) = progress {
                    progress.set(offset + length(piece));
                }
                Ok(())
            })?;
            found.read += end - data;
            at = end;
        }
        if let Some(progress) = progress {
            progress.set(self.size);
        }
        Ok(found)
    }

    /// Insists that a range is zero.
    ///
    /// # Errors
    /// As [`Disk::verify_zero`].
    pub fn verify_zero_range(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.scan(offset, len, |at, piece| self.require_zero(at, piece))
    }

    fn require_zero(&self, offset: u64, piece: &[u8]) -> Result<(), DiskError> {
        // Comparing slices is one memcmp, also in a debug build; the search for the byte happens only on failure.
        if ZEROS.get(..piece.len()) == Some(piece) {
            return Ok(());
        }
        let before = piece.iter().take_while(|byte| **byte == 0).count();
        Err(DiskError::NotZero { path: self.path.clone(), offset: offset + u64::try_from(before).unwrap_or(0) })
    }

    /// The next stretch that storage stands behind, at or after `at`: `[start, end)`; empty and at the end when there is none.
    /// Of a block device: all the rest.
    fn next_data(&self, at: u64) -> Result<(u64, u64), DiskError> {
        if self.block_device {
            return Ok((at, self.size));
        }
        let failed = |errno: Errno| self.error("find data on", at)(errno.into());
        let from = i64::try_from(at).map_err(|_| failed(Errno::EOVERFLOW))?;
        let start = match lseek(&self.file, from, Whence::SeekData) {
            Ok(start) => start,
            Err(Errno::ENXIO) => return Ok((self.size, self.size)),
            // A filesystem that does not know holes: everything is data.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok((at, self.size)),
            Err(errno) => return Err(failed(errno)),
        };
        let end = lseek(&self.file, start, Whence::SeekHole).map_err(failed)?;
        let start = u64::try_from(start).unwrap_or(at).clamp(at, self.size);
        Ok((start, u64::try_from(end).unwrap_or(self.size).clamp(start, self.size)))
    }
}

/// Length of a slice as a number of bytes on a disk.
pub fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn blank(megabytes: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(megabytes << 20).unwrap();
        file
    }

    #[test]
    fn zeroing_is_verified_and_left_data_is_found() {
        let file = blank(8);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(0, &vec![0xaa; 3 * BLOCK]).unwrap();
        disk.write_at((7 << 20) + 123, b"x").unwrap();
        disk.settle().unwrap();
        assert!(matches!(disk.verify_zero(None), Err(DiskError::NotZero { offset: 0, .. })));
        disk.zero(0, 7 << 20, None).unwrap();
        disk.settle().unwrap();
        let left = disk.verify_zero(None);
        assert!(matches!(left, Err(DiskError::NotZero { offset, .. }) if offset == (7 << 20) + 123), "{left:?}");
        disk.zero(0, disk.size(), None).unwrap();
        disk.settle().unwrap();
        let empty = disk.verify_zero(None).unwrap();
        assert_eq!(empty.read + empty.holes, 8 << 20);
        assert_eq!(file.as_file().metadata().unwrap().len(), 8 << 20, "the size stays");
    }

    #[test]
    fn zeros_that_were_written_are_read_not_skipped() {
        let file = blank(8);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(1 << 20, &ZEROS).unwrap();
        disk.settle().unwrap();
        let empty = disk.verify_zero(None).unwrap();
        assert!(empty.read >= 1 << 20, "{empty:?}");
        assert_eq!(empty.read + empty.holes, 8 << 20);
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let file = blank(4);
        let disk = Disk::open(file.path()).unwrap();
        assert!(disk.write_at((4 << 20) - 1, b"ab").is_err());
        assert!(disk.write_at(u64::MAX, b"ab").is_err());
        assert_eq!(file.as_file().metadata().unwrap().len(), 4 << 20);
    }

    #[test]
    fn comparing_finds_one_changed_byte() {
        let file = blank(4);
        let disk = Disk::open(file.path()).unwrap();
        let bytes: Vec<u8> = (0..BLOCK + 77).map(|at| u8::try_from(at % 251).unwrap()).collect();
        disk.write_at(512, &bytes).unwrap();
        disk.compare(512, &bytes).unwrap();
        disk.write_at(512 + (1 << 20) + 5, &[255]).unwrap();
        assert!(matches!(disk.compare(512, &bytes), Err(DiskError::Differs { .. })));
        assert!(disk.compare((4 << 20) - 1, b"ab").is_err(), "a range beyond the end is not equal");
    }

    struct Loop(String);

    impl Drop for Loop {
        fn drop(&mut self) {
            std::process::Command::new("losetup").args(["--detach", &self.0]).status().ok();
        }
    }

    #[test]
    fn a_block_device_is_zeroed_and_read_in_full() {
        let file = blank(8);
        let made = std::process::Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output();
        let Some(made) = made.ok().filter(|made| made.status.success()) else {
            println!("skipped: a loop device needs root and losetup");
            return;
        };
        let device = Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned());
        let disk = Disk::open(Path::new(&device.0)).unwrap();
        assert_eq!((disk.size(), disk.block_device), (8 << 20, true));
        assert!(Disk::open(Path::new(&device.0)).is_err(), "in use, by us");
        disk.write_at(5_000_000, &[7; 5000]).unwrap();
        disk.settle().unwrap();
        disk.compare(5_000_000, &[7; 5000]).unwrap();
        assert!(matches!(disk.verify_zero(None), Err(DiskError::NotZero { offset: 5_000_000, .. })));
        disk.zero(0, disk.size(), None).unwrap();
        disk.settle().unwrap();
        assert_eq!(disk.verify_zero(None).unwrap(), Emptiness { read: 8 << 20, holes: 0 });
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        assert!(Disk::open(Path::new("/dev/null")).is_err());
        assert!(Disk::open(Path::new("/nonexistent/disk")).is_err());
        assert!(Disk::open(blank(1).path()).is_err(), "too small to hold anything");
    }
}
