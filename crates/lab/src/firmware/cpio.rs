//! Unpacking an initial RAM disk: gzip'ed or plain cpio archives in the "newc" format, one after another
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
//!
//! Names are taken as they are: the caller must have made `root` the only thing there is to see, since an archive may hold symbolic
//! links to anywhere.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Length of a header.
const HEADER: usize = 110;
/// Longest name (PATH_MAX of Linux).
const MAX_NAME: usize = 4096;

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CpioError {
    /// The archive ends early, or the file system refuses.
    #[error("cannot unpack the initial RAM disk: {0}")]
    Io(#[from] io::Error),
    /// It is not an archive.
    #[error("cannot unpack the initial RAM disk: {0}")]
    Malformed(&'static str),
    /// One of its members cannot be made.
    #[error("cannot unpack {name:?} of the initial RAM disk: {source}")]
    Member { name: String, source: io::Error },
}

/// Unpacks all archives in `file` below `root`; returns how many members there were.
///
/// # Errors
/// See [`CpioError`]; what was unpacked before stays.
pub(crate) fn unpack(file: impl Read, root: &Path) -> Result<usize, CpioError> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut members = 0;
    loop {
        // Archives may be padded with zeros.
        while reader.fill_buf()?.first() == Some(&0) {
            reader.consume(1);
        }
        match reader.fill_buf()?.first() {
            None => return Ok(members),
            Some(0x1f) => {
                let mut plain = BufReader::with_capacity(64 << 10, flate2::bufread::GzDecoder::new(&mut reader));
                loop {
                    while plain.fill_buf()?.first() == Some(&0) {
                        plain.consume(1);
                    }
                    if plain.fill_buf()?.is_empty() {
                        break;
                    }
                    members += archive(&mut plain, root)?;
                }
            }
            Some(_) => members += archive(&mut reader, root)?,
        }
    }
}

#[derive(Clone, Copy)]
struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    size: u32,
    device: (u32, u32),
    on: (u32, u32),
    name: u32,
}

fn header(bytes: &[u8; HEADER]) -> Option<Header> {
    let (magic, fields) = bytes.split_at_checked(6)?;
    if magic != b"070701" && magic != b"070702" {
        return None;
    }
    let field = |index: usize| {
        let text = std::str::from_utf8(fields.get(index * 8..index * 8 + 8)?).ok()?;
        u32::from_str_radix(text, 16).ok()
    };
    Some(Header {
        inode: field(0)?,
        mode: field(1)?,
        links: field(4)?,
        size: field(6)?,
        on: (field(7)?, field(8)?),
        device: (field(9)?, field(10)?),
        name: field(11)?,
    })
}

fn archive(reader: &mut impl BufRead, root: &Path) -> Result<usize, CpioError> {
    // Members that are one file under several names: all but the last come without content, but any order is accepted.
    let mut linked: HashMap<(u32, u32, u32), PathBuf> = HashMap::new();
    let mut members = 0;
    loop {
        let mut bytes = [0_u8; HEADER];
        reader.read_exact(&mut bytes)?;
        let header = header(&bytes).ok_or(CpioError::Malformed("a member's header is not one of a newc archive"))?;
        let name_length = usize::try_from(header.name).unwrap_or(usize::MAX);
        if name_length == 0 || name_length > MAX_NAME {
            return Err(CpioError::Malformed("a member's name has an impossible length"));
        }
        let mut name = vec![0_u8; name_length];
        reader.read_exact(&mut name)?;
        skip(reader, padding(HEADER + name_length))?;
        if name.pop() != Some(0) {
            return Err(CpioError::Malformed("a member's name does not end"));
        }
        let name = String::from_utf8(name).map_err(|_| CpioError::Malformed("a member's name is not text"))?;
        if name == "TRAILER!!!" {
            return Ok(members);
        }
        let size = u64::from(header.size);
        let mut content = reader.take(size);
        let at = place(root, &name).ok_or(CpioError::Malformed("a member's name leads out of the archive"))?;
        if let Some(at) = at {
            member(&header, &at, &mut content, &mut linked).map_err(|source| CpioError::Member { name, source })?;
            members += 1;
        }
        // Content of what has none by nature is passed over.
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() > 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        skip(reader, padding(usize::try_from(header.size & 3).unwrap_or(0)))?;
    }
}

/// Where a member goes; `None` inside for the root itself.
fn place(root: &Path, name: &str) -> Option<Option<PathBuf>> {
    let mut at = root.to_owned();
    let mut depth = 0;
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => {
                at.push(part);
                depth += 1;
            }
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some((depth > 0).then_some(at))
}

fn member(header: &Header, at: &Path, content: &mut impl Read, linked: &mut HashMap<(u32, u32, u32), PathBuf>) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(header.mode & SFlag::S_IFMT.bits());
    let permissions = header.mode & 0o7777;
    if kind == SFlag::S_IFDIR {
        match fs::create_dir(at) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && at.is_dir() => {}
            done => done?,
        }
        return fs::set_permissions(at, fs::Permissions::from_mode(permissions));
    }
    if kind == SFlag::S_IFCHR || kind == SFlag::S_IFBLK || kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK {
        // Devices the kernel has already put there stay: on a real machine its own /dev is mounted over the archive's.
        if at.exists() || kind == SFlag::S_IFSOCK {
            return Ok(());
        }
        let device = makedev(u64::from(header.device.0), u64::from(header.device.1));
        return mknod(at, kind, Mode::from_bits_truncate(permissions), device).map_err(io::Error::from);
    }
    if kind == SFlag::S_IFLNK {
        let mut target = String::new();
        content.take(4096).read_to_string(&mut target)?;
        remove(at)?;
        return symlink(target, at);
    }
    if kind != SFlag::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("its type {:o} is unknown", header.mode)));
    }
    let key = (header.on.0, header.on.1, header.inode);
    if header.links > 1
        && let Some(first) = linked.get(&key)
    {
        remove(at)?;
        fs::hard_link(first, at)?;
        if header.size == 0 {
            return Ok(());
        }
        return io::copy(content, &mut OpenOptions::new().write(true).truncate(true).open(at)?).map(drop);
    }
    remove(at)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(permissions).open(at)?;
    io::copy(content, &mut file)?;
    file.flush()?;
    file.set_permissions(fs::Permissions::from_mode(permissions))?;
    if header.links > 1 {
        linked.insert(key, at.to_owned());
    }
    Ok(())
}

fn remove(at: &Path) -> io::Result<()> {
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

fn skip(reader: &mut impl BufRead, count: usize) -> io::Result<()> {
    let mut nothing = [0_u8; 4];
    reader.read_exact(nothing.get_mut(..count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn member(out: &mut Vec<u8>, name: &str, mode: u32, inode: u32, links: u32, content: &[u8]) {
        let size = content.len();
        let name_size = name.len() + 1;
        out.extend(format!("070701{inode:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{size:08x}", 0, 0, 0).bytes());
        out.extend(format!("{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}", 0, 0, 1, 3, 0).bytes());
        out.extend(name.bytes());
        out.push(0);
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
        out.extend(content);
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
    }

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        member(&mut out, ".", 0o40755, 1, 2, b"");
        member(&mut out, "bin", 0o40750, 2, 2, b"");
        member(&mut out, "./bin/init", 0o100755, 3, 1, b"#!/bin/true\n!");
        member(&mut out, "/init", 0o120777, 4, 1, b"bin/init");
        member(&mut out, "a", 0o100640, 5, 2, b"");
        member(&mut out, "b", 0o100640, 5, 2, b"twins");
        member(&mut out, "TRAILER!!!", 0, 0, 1, b"");
        while !out.len().is_multiple_of(512) {
            out.push(0);
        }
        out
    }

    fn check(archive: &[u8]) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let members = unpack(archive, dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("init")).unwrap(), b"#!/bin/true\n!");
        assert_eq!(fs::metadata(dir.path().join("bin/init")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(dir.path().join("bin")).unwrap().mode() & 0o7777, 0o750);
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"twins");
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().ino(), fs::metadata(dir.path().join("b")).unwrap().ino());
        members
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn archives_are_unpacked_plain_compressed_and_in_a_row() {
        assert_eq!(check(&sample()), 5);
        assert_eq!(check(&gzip(&sample())), 5);
        assert_eq!(check(&[sample(), gzip(&sample()), vec![0; 8], gzip(&[sample(), sample()].concat())].concat()), 20);
    }

    #[test]
    fn damaged_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let whole = gzip(&sample());
        assert!(unpack(&whole[..whole.len() - 20], dir.path()).is_err());
        assert!(unpack(&sample()[..700], dir.path()).is_err());
        assert!(matches!(unpack(&b"GIF89a"[..], dir.path()), Err(CpioError::Io(_))));
        assert!(matches!(unpack(&[b'x'; 200][..], dir.path()), Err(CpioError::Malformed(_))));
        let mut escape = Vec::new();
        member(&mut escape, "../../etc/x", 0o100644, 1, 1, b"");
        assert!(matches!(unpack(&escape[..], dir.path()), Err(CpioError::Malformed(_))));
    }

    /// What lab-built and Debian-built RAM disks are made with.
    #[test]
    fn archives_of_other_programs_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/x"), vec![5; 100_000]).unwrap();
        let command = "command -v cpio >/dev/null || exit 9; find . | cpio --quiet -o -H newc | gzip";
        let made = std::process::Command::new("sh").args(["-c", command]).current_dir(&from).output().unwrap();
        if made.status.code() == Some(9) {
            eprintln!("skipped: there is no cpio here");
            return;
        }
        let to = dir.path().join("to");
        fs::create_dir(&to).unwrap();
        assert_eq!(unpack(&made.stdout[..], &to).unwrap(), 2);
        assert_eq!(fs::read(to.join("bin/x")).unwrap(), vec![5; 100_000]);
    }
}
