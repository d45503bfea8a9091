//! Config drives: the small read-only file system from which a deployed machine learns who it is.
//!
//! The image is ISO 9660 with a Joliet tree (ECMA-119; Joliet specification of 1995), which cloud-init and every operating system
//! read. Only the Joliet tree has names as given; the plain tree, which the standard demands, numbers them.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;

const SECTOR: usize = 2048;
/// Largest content, in bytes: what Ironic takes.
const MAX_CONTENT: usize = 48 << 20;

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigDriveError {
    /// A path cannot be used.
    #[error("the path {path:?} cannot be on a config drive: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The content is too large.
    #[error("the content of the config drive is too large")]
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
    /// All of it.
    total: u32,
}

/// The two trees.
#[derive(Clone, Copy, PartialEq)]
enum Tree {
    Plain,
    Joliet,
}

/// Writes an ISO 9660 image with Joliet names, volume id `config-2`, of these files (path with `/`, content).
/// The same files give the same bytes.
///
/// # Errors
/// `Path` if a path is empty, absolute, has empty, `.` or `..` parts or parts of over 64 characters, or occurs twice.
pub fn build(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, ConfigDriveError> {
    if files.iter().map(|(_, content)| content.len()).sum::<usize>() > MAX_CONTENT {
        return Err(ConfigDriveError::TooLarge);
    }
    let folders = sort(files)?;
    let layout = lay_out(&folders, files)?;
    let mut image = vec![0_u8; 16 * SECTOR];
    for tree in [Tree::Plain, Tree::Joliet] {
        image.extend(descriptor(tree, &folders, &layout));
    }
    image.extend(sector(b"\xffCD001\x01"));
    for tree in [Tree::Plain, Tree::Joliet] {
        for big_endian in [false, true] {
            image.extend(padded(path_table(tree, &folders, &layout, big_endian)));
        }
    }
    for tree in [Tree::Plain, Tree::Joliet] {
        for at in 0..folders.len() {
            image.extend(directory(tree, at, &folders, &layout, files));
        }
    }
    for (_, content) in files {
        image.extend(padded(content.clone()));
    }
    Ok(image)
}

/// Compresses and encodes an image as `configdrive` fields want it: base64 of gzip. The same image gives the same text.
pub fn encode(image: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let packed = gzip.write_all(image).and_then(|()| gzip.finish()).unwrap_or_default();
    base64::engine::general_purpose::STANDARD.encode(packed)
}

/// Builds the drive of an OpenStack machine: `openstack/latest/{meta_data.json,network_data.json,user_data}`.
///
/// # Errors
/// `TooLarge` only.
pub fn openstack(meta_data: &serde_json::Value, network_data: &serde_json::Value, user_data: &[u8]) -> Result<Vec<u8>, ConfigDriveError> {
    build(&[
        ("openstack/latest/meta_data.json".to_owned(), meta_data.to_string().into_bytes()),
        ("openstack/latest/network_data.json".to_owned(), network_data.to_string().into_bytes()),
        ("openstack/latest/user_data".to_owned(), user_data.to_vec()),
    ])
}

fn sort(files: &[(String, Vec<u8>)]) -> Result<Vec<Folder>, ConfigDriveError> {
    let mut folders = vec![Folder::default()];
    for (at, (path, _)) in files.iter().enumerate() {
        let wrong = |reason| ConfigDriveError::Path { path: path.clone(), reason };
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

fn sectors(bytes: usize) -> Result<u32, ConfigDriveError> {
    u32::try_from(bytes.div_ceil(SECTOR)).map_err(|_| ConfigDriveError::TooLarge)
}

fn lay_out(folders: &[Folder], files: &[(String, Vec<u8>)]) -> Result<Layout, ConfigDriveError> {
    let table = |tree| sectors(path_table_len(tree, folders));
    // 16 empty sectors, three descriptors, the path tables of both trees in both byte orders.
    let mut next = 19 + 2 * table(Tree::Plain)? + 2 * table(Tree::Joliet)?;
    let mut places = vec![[0; 2]; folders.len()];
    for tree in [Tree::Plain, Tree::Joliet] {
        for (at, place) in places.iter_mut().enumerate() {
            place[usize::from(tree == Tree::Joliet)] = next;
            next += sectors(directory_len(tree, folders.get(at)))?;
        }
    }
    let mut starts = Vec::with_capacity(files.len());
    for (_, content) in files {
        starts.push(next);
        next += sectors(content.len())?;
    }
    Ok(Layout { folders: places, files: starts, total: next })
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

fn directory(tree: Tree, at: usize, folders: &[Folder], layout: &Layout, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let len = |folder: usize| clamp(directory_len(tree, folders.get(folder)));
    let parent = folders.get(at).map_or(0, |it| it.parent);
    let mut out = record(place(layout, tree, at), len(at), true, &[0]);
    out.extend(record(place(layout, tree, parent), len(parent), true, &[1]));
    for (name, is_file, number) in folders.get(at).map(|it| entries(tree, it)).unwrap_or_default() {
        let next = if is_file {
            let size = files.get(number).map_or(0, |(_, content)| clamp(content.len()));
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

fn descriptor(tree: Tree, folders: &[Folder], layout: &Layout) -> Vec<u8> {
    let table = clamp(path_table_len(tree, folders));
    let tables = |tree| clamp(path_table_len(tree, folders).div_ceil(SECTOR));
    let first = 19 + if tree == Tree::Joliet { 2 * tables(Tree::Plain) } else { 0 };
    let mut out = vec![if tree == Tree::Joliet { 2 } else { 1 }];
    out.extend(b"CD001\x01\x00");
    out.extend(text(tree, "", 32));
    out.extend(text(tree, "config-2", 32));
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

    #[test]
    fn another_program_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let long: Vec<(String, Vec<u8>)> = (0..120).map(|at| (format!("many/file with a long name {at}"), vec![b'x'; at * 40])).collect();
        let mut files = vec![
            ("openstack/latest/user_data".to_owned(), b"#!/bin/sh\n".to_vec()),
            ("openstack/latest/meta_data.json".to_owned(), b"{}".to_vec()),
            ("a".to_owned(), Vec::new()),
        ];
        files.extend(long);
        let image = folder.path().join("c.iso");
        std::fs::write(&image, build(&files).unwrap()).unwrap();
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let ran = std::process::Command::new("bsdtar").arg("-xf").arg(&image).arg("-C").arg(&out).status();
        let Ok(status) = ran else {
            eprintln!("skipped: bsdtar (Debian package libarchive-tools) is not installed");
            return;
        };
        assert!(status.success());
        for (path, content) in &files {
            assert_eq!(&std::fs::read(out.join(path)).unwrap(), content, "{path}");
        }
    }

    #[test]
    fn the_same_files_give_the_same_image_and_the_label_is_there() {
        let files = [("a/b".to_owned(), b"c".to_vec())];
        let image = build(&files).unwrap();
        assert_eq!(image, build(&files).unwrap());
        assert_eq!(&image[16 * SECTOR + 40..16 * SECTOR + 48], b"config-2");
        assert_eq!(encode(&image), encode(&image));
    }

    #[test]
    fn paths_that_cannot_be() {
        for path in ["", "/a", "a/", "a//b", "../a", "."] {
            assert!(build(&[(path.to_owned(), vec![])]).is_err(), "{path}");
        }
        assert!(build(&[("a".into(), vec![]), ("a".into(), vec![])]).is_err());
        assert!(build(&[("a".into(), vec![]), ("a/b".into(), vec![])]).is_err());
    }
}
