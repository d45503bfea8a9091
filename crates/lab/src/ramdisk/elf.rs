//! As much of ELF files as is needed to copy programs ("Tool Interface Standard: Executable and Linking Format", version 1.2, and its
//! 64-bit extension; elf(5)).

use std::fs;
use std::path::Path;

use anyhow::Context as _;

const PT_INTERP: u32 = 3;
/// Length of the file header.
const HEADER: usize = 64;
/// Section headers: offset in the file (8 bytes); size, number of them, index of their names (2 bytes each, adjacent).
const SECTIONS_AT: usize = 0x28;
const SECTION_COUNTS_AT: usize = 0x3a;

struct Segment {
    kind: u32,
    offset: u64,
    length: u64,
}

fn number<const N: usize>(file: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    file.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The program headers; `None` if this is no 64-bit little-endian ELF file.
fn segments(file: &[u8]) -> Option<Vec<Segment>> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = u64::from_le_bytes(number(file, 0x20)?);
    let size = u64::from(u16::from_le_bytes(number(file, 0x36)?));
    let count = u64::from(u16::from_le_bytes(number(file, 0x38)?));
    (0..count)
        .map(|index| {
            let at = table.checked_add(index * size)?;
            Some(Segment {
                kind: u32::from_le_bytes(number(file, at)?),
                offset: u64::from_le_bytes(number(file, at.checked_add(8)?)?),
                length: u64::from_le_bytes(number(file, at.checked_add(32)?)?),
            })
        })
        .collect()
}

/// The loader that a program names; `None` if it is linked statically.
///
/// # Errors
/// The file cannot be read or is not an ELF file of a 64-bit little-endian machine.
pub(crate) fn interpreter(program: &Path) -> anyhow::Result<Option<String>> {
    let file = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    interpreter_of(&file).with_context(|| format!("{} is not a program of this kind of machine", program.display()))
}

/// As [`interpreter`]; `None` outside if this is no ELF file.
pub(super) fn interpreter_of(file: &[u8]) -> Option<Option<String>> {
    let Some(segment) = segments(file)?.into_iter().find(|it| it.kind == PT_INTERP) else { return Some(None) };
    let begin = usize::try_from(segment.offset).ok()?;
    let name = file.get(begin..begin.checked_add(usize::try_from(segment.length).ok()?)?)?;
    Some(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()))
}

/// Cuts off what is never loaded: symbols and debug information. Linkers put these behind the last segment.
pub(super) fn strip(mut file: Vec<u8>) -> Vec<u8> {
    let Some(segments) = segments(&file) else { return file };
    let end = segments.iter().map(|it| it.offset.saturating_add(it.length)).max().unwrap_or(0);
    let Ok(end) = usize::try_from(end) else { return file };
    if end < HEADER || end > file.len() {
        return file;
    }
    file.truncate(end);
    for field in [SECTIONS_AT..SECTIONS_AT + 8, SECTION_COUNTS_AT..HEADER] {
        if let Some(field) = file.get_mut(field) {
            field.fill(0);
        }
    }
    file
}

/// The paths in the output of ldd(1), which is that of the loader's option `--list`.
pub(crate) fn listed(output: &str) -> Vec<String> {
    let path = |line: &str| {
        let path = line.split_once(" => ").map_or(line, |(_, path)| path).trim();
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| path.to_owned())
    };
    output.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn libraries_are_listed() {
        let output = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f9c)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f9d)\n\tlibgone.so => not found\n\tstatically linked\n";
        assert_eq!(listed(output), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn what_is_stripped_still_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("true");
        let whole = fs::read("/bin/true").unwrap();
        assert!(interpreter_of(&whole).unwrap().unwrap().contains("ld-"));
        let stripped = strip(whole.clone());
        assert!(stripped.len() < whole.len());
        fs::write(&path, stripped).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(std::process::Command::new(&path).status().unwrap().success());
    }

    #[test]
    fn other_files_are_left_alone() {
        for file in [&b"#!/bin/sh\n"[..], b"\x7fELF\x02\x01", b"\x7fELF\x01\x01", b""] {
            assert_eq!(strip(file.to_vec()), file);
            assert_eq!(interpreter_of(file), None);
        }
    }
}
