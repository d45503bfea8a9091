//! ISO 9660 images with a Joliet tree (ECMA-119; Joliet specification of 1995), which cloud-init and every operating system read, and
//! which firmware boots (El Torito). Only the Joliet tree has names as given; the plain tree, which the standard demands, numbers
//! them. An image is laid out without reading the files it is made of, so that a large one costs no memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The unit of an image, in bytes.
pub const SECTOR: usize = 2048;
/// Largest file, in bytes: the standard's 32 bits, with room to round up.
const MAX_FILE: u64 = 0xffff_0000;

/// Why an image could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// A path cannot be used.
    #[error("the path {path:?} cannot be on an image: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The content is too large.
    #[error("the content of the image is too large")]
    TooLarge,
}

#[derive(Default)]
struct Folder {
    folders: BTreeMap<String, usize>,
    files: BTreeMap<String, usize>,
    parent: usize,
}

/// Where things are on the image, in sectors.
struct Layout {
    /// Of each folder, in the plain and in the Joliet tree.
    folders: Vec<[u32; 2]>,
    /// Of each file.
    files: Vec<u32>,
    /// The path tables.
    tables: u32,
    /// The boot catalog, if there is one.
    catalog: u32,
    /// All of it.
    total: u32,
}

/// The two trees.
#[derive(Clone, Copy, PartialEq)]
enum Tree {
    Plain,
    Joliet,
}

/// What a file on an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The first `len` bytes of a file of this host, read when the image is.
    File {
        /// Where it is.
        path: PathBuf,
        /// How much of it, in bytes.
        len: u64,
    },
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }
}

/// An image that is laid out, to be read in order or in pieces.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it consists of, one after the other; each is filled up with zeros to whole sectors.
    pub parts: Vec<Content>,
    /// Its size in bytes.
    pub len: u64,
}

impl Image {
    /// The pieces that make up `from` to `from + len`: of each part where to begin in it, how much of its own bytes, and how many
    /// zeros follow.
    pub fn slice(&self, from: u64, len: u64) -> Vec<(Content, u64, u64, u64)> {
        let (mut at, end) = (0_u64, from.saturating_add(len).min(self.len));
        let mut out = Vec::new();
        for part in &self.parts {
            let size = part.len();
            let full = size.next_multiple_of(SECTOR as u64);
            let (first, last) = (from.max(at), end.min(at + full));
            if first < last {
                let (first, last) = (first - at, last - at);
                let own = last.min(size).saturating_sub(first.min(size));
                out.push((part.clone(), first.min(size), own, last - first - own));
            }
            at += full;
        }
        out
    }
}

/// Lays out an ISO 9660 image with Joliet names of these files (path with `/`, content). `boot`: the path among them of a FAT image
/// that UEFI firmware boots (El Torito, platform 0xEF). The same files give the same image.
///
/// # Errors
/// `Path` if a path is empty, absolute, has empty, `.` or `..` parts or parts of over 64 characters, or occurs twice; `TooLarge`.
pub fn lay(volume: &str, files: Vec<(String, Content)>, boot: Option<&str>) -> Result<Image, IsoError> {
    if files.iter().any(|(_, content)| content.len() > MAX_FILE) {
        return Err(IsoError::TooLarge);
    }
    let folders = sort(&files)?;
    let boot = match boot {
        Some(path) => {
            let at = files.iter().position(|(name, _)| name == path);
            Some(at.ok_or_else(|| IsoError::Path { path: path.to_owned(), reason: "it is to be booted and is not there" })?)
        }
        None => None,
    };
    let layout = lay_out(&folders, &files, boot.is_some())?;
    let mut head = vec![0_u8; 16 * SECTOR];
    head.extend(descriptor(volume, Tree::Plain, &folders, &layout));
    if boot.is_some() {
        head.extend(boot_record(layout.catalog));
    }
    head.extend(descriptor(volume, Tree::Joliet, &folders, &layout));
    head.extend(sector(b"\xffCD001\x01"));
    if let Some(at) = boot {
        head.extend(catalog(layout.files.get(at).copied().unwrap_or(0)));
    }
    for tree in [Tree::Plain, Tree::Joliet] {
        for big_endian in [false, true] {
            head.extend(padded(path_table(tree, &folders, &layout, big_endian)));
        }
    }
    for tree in [Tree::Plain, Tree::Joliet] {
        for at in 0..folders.len() {
            head.extend(directory(tree, at, &folders, &layout, &files));
        }
    }
    let parts = std::iter::once(Content::Bytes(head)).chain(files.into_iter().map(|(_, content)| content)).collect();
    Ok(Image { parts, len: u64::from(layout.total) * SECTOR as u64 })
}

/// The boot record (El Torito 1.0, figure 7).
fn boot_record(catalog: u32) -> Vec<u8> {
    let mut out = b"\x00CD001\x01EL TORITO SPECIFICATION".to_vec();
    out.resize(71, 0);
    out.extend(catalog.to_le_bytes());
    sector(&out)
}

/// The boot catalog: one entry, for UEFI, without emulation (El Torito 1.0, figures 2 and 3; UEFI 2.10, section 13.3.2.1).
fn catalog(image: u32) -> Vec<u8> {
    let mut check = vec![1, 0xef];
    check.resize(30, 0);
    check.extend([0x55, 0xaa]);
    let sum = check.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    let sum = sum.fold(0_u16, u16::wrapping_add).wrapping_neg().to_le_bytes();
    for (place, byte) in check.iter_mut().skip(28).zip(sum) {
        *place = byte;
    }
    check.extend([0x88, 0, 0, 0, 0, 0]);
    // Firmware takes 0 or 1 as "up to the end of the medium".
    check.extend(1_u16.to_le_bytes());
    check.extend(image.to_le_bytes());
    sector(&check)
}

fn sort(files: &[(String, Content)]) -> Result<Vec<Folder>, IsoError> {
    let mut folders = vec![Folder::default()];
    for (at, (path, _)) in files.iter().enumerate() {
        let wrong = |reason| IsoError::Path { path: path.clone(), reason };
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == ".." || part.chars().count() > 64) {
            return Err(wrong("it has an empty, relative or overlong part"));
        }
        let Some((name, above)) = parts.split_last() else { return Err(wrong("it is empty")) };
        let mut here = 0;
        for part in above {
            let next = folders.len();
            let Some(folder) = folders.get_mut(here) else { return Err(wrong("it has no folder")) };
            if folder.files.contains_key(*part) {
                return Err(wrong("a part of it is a file"));
            }
            let found = *folder.folders.entry((*part).to_owned()).or_insert(next);
            if found == next {
                folders.push(Folder { parent: here, ..Folder::default() });
            }
            here = found;
        }
        let Some(folder) = folders.get_mut(here) else { return Err(wrong("it has no folder")) };
        if folder.folders.contains_key(*name) || folder.files.insert((*name).to_owned(), at).is_some() {
            return Err(wrong("it occurs twice"));
        }
    }
    Ok(folders)
}

fn sectors(bytes: u64) -> Result<u32, IsoError> {
    u32::try_from(bytes.div_ceil(SECTOR as u64)).map_err(|_| IsoError::TooLarge)
}

fn lay_out(folders: &[Folder], files: &[(String, Content)], boots: bool) -> Result<Layout, IsoError> {
    let table = |tree| sectors(path_table_len(tree, folders) as u64);
    // 16 empty sectors, three descriptors, what booting needs (a descriptor and the catalog), the path tables of both trees in both
    // byte orders.
    let tables = if boots { 21 } else { 19 };
    let mut next = tables + 2 * table(Tree::Plain)? + 2 * table(Tree::Joliet)?;
    let mut places = vec![[0; 2]; folders.len()];
    for tree in [Tree::Plain, Tree::Joliet] {
        for (at, place) in places.iter_mut().enumerate() {
            place[usize::from(tree == Tree::Joliet)] = next;
            next = next.checked_add(sectors(directory_len(tree, folders.get(at)) as u64)?).ok_or(IsoError::TooLarge)?;
        }
    }
    let mut starts = Vec::with_capacity(files.len());
    for (_, content) in files {
        starts.push(next);
        next = next.checked_add(sectors(content.len())?).ok_or(IsoError::TooLarge)?;
    }
    Ok(Layout { folders: places, files: starts, tables, catalog: 20, total: next })
}

/// The name of an entry in a tree; the plain one numbers them.
fn name(tree: Tree, given: &str, number: usize, is_file: bool) -> Vec<u8> {
    match tree {
        Tree::Plain if is_file => format!("F{number:05}.;1").into_bytes(),
        Tree::Plain => format!("D{number:05}").into_bytes(),
        Tree::Joliet => given.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    }
}

/// The entries of a folder, sorted as the standard wants: by their names as bytes.
fn entries(tree: Tree, folder: &Folder) -> Vec<(Vec<u8>, bool, usize)> {
    let folders = folder.folders.iter().map(|(given, at)| (name(tree, given, *at, false), false, *at));
    let files = folder.files.iter().map(|(given, at)| (name(tree, given, *at, true), true, *at));
    let mut all: Vec<_> = folders.chain(files).collect();
    all.sort();
    all
}

fn record_len(name: usize) -> usize {
    33 + name + (name + 1) % 2
}

fn directory_len(tree: Tree, folder: Option<&Folder>) -> usize {
    let mut len = 2 * record_len(1);
    for (name, _, _) in folder.map(|it| entries(tree, it)).unwrap_or_default() {
        let record = record_len(name.len());
        // A record does not cross the end of a sector.
        if len % SECTOR + record > SECTOR {
            len = len.next_multiple_of(SECTOR);
        }
        len += record;
    }
    len.next_multiple_of(SECTOR)
}

fn both16(out: &mut Vec<u8>, number: u16) {
    out.extend(number.to_le_bytes());
    out.extend(number.to_be_bytes());
}

fn both32(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_le_bytes());
    out.extend(number.to_be_bytes());
}

fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn record(place: u32, len: u32, is_folder: bool, name: &[u8]) -> Vec<u8> {
    let size = record_len(name.len());
    let mut out = Vec::with_capacity(size);
    out.push(u8::try_from(size).unwrap_or(u8::MAX));
    out.push(0);
    both32(&mut out, place);
    both32(&mut out, len);
    // A fixed moment, so that the same files give the same image: 2000-01-01 00:00 UTC.
    out.extend([100, 1, 1, 0, 0, 0, 0]);
    out.push(if is_folder { 2 } else { 0 });
    out.extend([0, 0]);
    both16(&mut out, 1);
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend(name);
    out.resize(size, 0);
    out
}

fn place(layout: &Layout, tree: Tree, folder: usize) -> u32 {
    layout.folders.get(folder).map_or(0, |places| places[usize::from(tree == Tree::Joliet)])
}

fn directory(tree: Tree, at: usize, folders: &[Folder], layout: &Layout, files: &[(String, Content)]) -> Vec<u8> {
    let len = |folder: usize| clamp(directory_len(tree, folders.get(folder)));
    let parent = folders.get(at).map_or(0, |it| it.parent);
    let mut out = record(place(layout, tree, at), len(at), true, &[0]);
    out.extend(record(place(layout, tree, parent), len(parent), true, &[1]));
    for (name, is_file, number) in folders.get(at).map(|it| entries(tree, it)).unwrap_or_default() {
        let next = if is_file {
            let size = files.get(number).map_or(0, |(_, content)| u32::try_from(content.len()).unwrap_or(u32::MAX));
            record(layout.files.get(number).copied().unwrap_or(0), size, false, &name)
        } else {
            record(place(layout, tree, number), len(number), true, &name)
        };
        if out.len() % SECTOR + next.len() > SECTOR {
            out.resize(out.len().next_multiple_of(SECTOR), 0);
        }
        out.extend(next);
    }
    padded(out)
}

fn folder_names(tree: Tree, folders: &[Folder]) -> Vec<Vec<u8>> {
    let mut names = vec![vec![0]; folders.len()];
    for folder in folders {
        for (given, at) in &folder.folders {
            if let Some(slot) = names.get_mut(*at) {
                *slot = name(tree, given, *at, false);
            }
        }
    }
    names
}

fn path_table_len(tree: Tree, folders: &[Folder]) -> usize {
    folder_names(tree, folders).iter().map(|name| 8 + name.len() + name.len() % 2).sum()
}

fn path_table(tree: Tree, folders: &[Folder], layout: &Layout, big_endian: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, name) in folder_names(tree, folders).iter().enumerate() {
        let parent = u16::try_from(folders.get(at).map_or(0, |it| it.parent) + 1).unwrap_or(1);
        let start = place(layout, tree, at);
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.push(0);
        if big_endian {
            out.extend(start.to_be_bytes());
            out.extend(parent.to_be_bytes());
        } else {
            out.extend(start.to_le_bytes());
            out.extend(parent.to_le_bytes());
        }
        out.extend(name);
        if name.len() % 2 == 1 {
            out.push(0);
        }
    }
    out
}

fn text(tree: Tree, words: &str, len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = match tree {
        Tree::Plain => words.bytes().collect(),
        Tree::Joliet => words.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    };
    while out.len() < len {
        match tree {
            Tree::Plain => out.push(b' '),
            Tree::Joliet => out.extend([0, b' ']),
        }
    }
    out.truncate(len);
    out
}

fn descriptor(volume: &str, tree: Tree, folders: &[Folder], layout: &Layout) -> Vec<u8> {
    let table = clamp(path_table_len(tree, folders));
    let tables = |tree| clamp(path_table_len(tree, folders).div_ceil(SECTOR));
    let first = layout.tables + if tree == Tree::Joliet { 2 * tables(Tree::Plain) } else { 0 };
    let mut out = vec![if tree == Tree::Joliet { 2 } else { 1 }];
    out.extend(b"CD001\x01\x00");
    out.extend(text(tree, "", 32));
    out.extend(text(tree, volume, 32));
    out.extend([0; 8]);
    both32(&mut out, layout.total);
    // The escape sequence of UCS-2 level 3 says that this is Joliet.
    let mut escape = if tree == Tree::Joliet { b"%/E".to_vec() } else { Vec::new() };
    escape.resize(32, 0);
    out.extend(escape);
    both16(&mut out, 1);
    both16(&mut out, 1);
    both16(&mut out, 2048);
    both32(&mut out, table);
    out.extend(first.to_le_bytes());
    out.extend([0; 4]);
    out.extend((first + tables(tree)).to_be_bytes());
    out.extend([0; 4]);
    out.extend(record(place(layout, tree, 0), clamp(directory_len(tree, folders.first())), true, &[0]));
    for len in [128, 128, 128, 128, 37, 37, 37] {
        out.extend(text(tree, "", len));
    }
    out.extend(b"2000010100000000\x00");
    out.extend(b"2000010100000000\x00");
    out.extend(b"0000000000000000\x00");
    out.extend(b"0000000000000000\x00");
    out.push(1);
    sector(&out)
}

fn sector(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(SECTOR, 0);
    out
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<(String, Content)> {
        vec![
            ("a/b".to_owned(), Content::Bytes(b"c".to_vec())),
            ("efi.img".to_owned(), Content::Bytes(vec![7; 5000])),
            ("empty".to_owned(), Content::Bytes(Vec::new())),
        ]
    }

    fn bytes(image: &Image, from: u64, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        for (content, at, own, zeros) in image.slice(from, len) {
            let Content::Bytes(content) = content else { panic!("only bytes here") };
            out.extend(&content[at as usize..(at + own) as usize]);
            out.resize(out.len() + zeros as usize, 0);
        }
        out
    }

    #[test]
    fn any_piece_of_an_image_is_a_piece_of_the_whole() {
        let image = lay("x", files(), Some("efi.img")).unwrap();
        let whole = bytes(&image, 0, u64::MAX);
        assert_eq!(whole.len() as u64, image.len);
        for (from, len) in [(0, 1), (2047, 2), (image.len - 1, 5), (40_000, 9_000), (image.len, 1), (17 * 2048, 2048)] {
            let end = (from + len).min(image.len) as usize;
            assert_eq!(bytes(&image, from, len), whole[(from as usize).min(end)..end], "{from} {len}");
        }
    }

    #[test]
    fn firmware_finds_what_to_boot() {
        let image = lay("x", files(), Some("efi.img")).unwrap();
        let whole = bytes(&image, 0, u64::MAX);
        let record = &whole[17 * SECTOR..18 * SECTOR];
        assert_eq!(&record[..30], b"\x00CD001\x01EL TORITO SPECIFICATION");
        let catalog = u32::from_le_bytes(record[71..75].try_into().unwrap()) as usize;
        let entry = &whole[catalog * SECTOR..];
        let sum = entry[..32].chunks(2).fold(0_u16, |sum, pair| sum.wrapping_add(u16::from_le_bytes([pair[0], pair[1]])));
        assert_eq!((entry[1], sum, entry[32]), (0xef, 0, 0x88));
        let at = u32::from_le_bytes(entry[40..44].try_into().unwrap()) as usize;
        assert!(whole[at * SECTOR..at * SECTOR + 5000].iter().all(|it| *it == 7));
        assert!(lay("x", files(), Some("other")).is_err());
    }
}
