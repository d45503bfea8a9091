//! Writing cpio archives of the "newc" kind (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

use std::collections::BTreeSet;
use std::io::{self, Write};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive being written to `out`. All in it belongs to root and dates from 1970.
pub(super) struct Archive<W> {
    out: W,
    folders: BTreeSet<String>,
    members: u32,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, folders: BTreeSet::new(), members: 0 }
    }

    /// Adds a folder, after those above it; nothing if it is there already. `path` is relative.
    pub(super) fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, 0o755)?;
        }
        if self.folders.insert(path.to_owned()) { self.member(path, FOLDER | mode, &[]) } else { Ok(()) }
    }

    /// Adds a file and the folders above it.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, 0o755)?;
        }
        self.member(path, FILE | mode, content)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.member("TRAILER!!!", 0, &[])?;
        Ok(self.out)
    }

    fn member(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        self.members += 1;
        // inode, mode, user, group, links, time, size, device and device number (2 fields each), length of the name, checksum
        let fields = [self.members, mode, 0, 0, links, 0, size, 0, 0, 0, 0, u32::try_from(name.len() + 1).unwrap_or(u32::MAX), 0];
        let mut header = String::from("070701");
        header.extend(fields.map(|field| format!("{field:08x}")));
        self.padded(&[header.as_bytes(), name.as_bytes(), b"\0"])?;
        self.padded(&[content])
    }

    fn padded(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut length = 0_usize;
        for part in parts {
            self.out.write_all(part)?;
            length += part.len();
        }
        self.out.write_all([0; 3].get(..length.wrapping_neg() % 4).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    #[test]
    fn other_programs_unpack_it() {
        let mut archive = Archive::new(Vec::new());
        archive.folder("tmp", 0o1777).unwrap();
        archive.file("lib/deep/er", 0o644, b"12345").unwrap();
        archive.file("lib/deep/empty", 0o600, b"").unwrap();
        archive.file("init", 0o755, b"#!").unwrap();
        let archive = archive.finish().unwrap();
        assert_eq!(archive.len() % 4, 0);
        let readers = ["cpio --quiet -i -d -m", "busybox cpio -i -d -m", "bsdtar -x -p -f -"];
        let Some(reader) =
            readers.iter().find(|it| Command::new("which").arg(it.split(' ').next().unwrap()).output().is_ok_and(|it| it.status.success()))
        else {
            eprintln!("skipped: neither cpio nor busybox nor bsdtar is here");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh").args(["-c", reader]).current_dir(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read(dir.path().join("lib/deep/er")).unwrap(), b"12345");
        assert_eq!(fs::read(dir.path().join("lib/deep/empty")).unwrap(), b"");
        assert_eq!(fs::metadata(dir.path().join("init")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(dir.path().join("tmp").is_dir());
    }
}
