//! Config drives: the small read-only file system from which a deployed machine learns who it is.

use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::iso9660::{self, Content, IsoError};

/// Largest content, in bytes: what Ironic takes.
const MAX_CONTENT: usize = 48 << 20;

/// Writes an ISO 9660 image with Joliet names, volume id `config-2`, of these files (path with `/`, content).
/// The same files give the same bytes.
///
/// # Errors
/// `Path` if a path cannot be on an image, or occurs twice; `TooLarge`.
pub fn build(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, IsoError> {
    if files.iter().map(|(_, content)| content.len()).sum::<usize>() > MAX_CONTENT {
        return Err(IsoError::TooLarge);
    }
    let files = files.iter().map(|(path, content)| (path.clone(), Content::Bytes(content.clone()))).collect();
    let mut out = Vec::new();
    for part in iso9660::lay("config-2", files, None)?.parts {
        if let Content::Bytes(bytes) = part {
            out.extend(bytes);
            out.resize(out.len().next_multiple_of(iso9660::SECTOR), 0);
        }
    }
    Ok(out)
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
pub fn openstack(meta_data: &serde_json::Value, network_data: &serde_json::Value, user_data: &[u8]) -> Result<Vec<u8>, IsoError> {
    build(&[
        ("openstack/latest/meta_data.json".to_owned(), meta_data.to_string().into_bytes()),
        ("openstack/latest/network_data.json".to_owned(), network_data.to_string().into_bytes()),
        ("openstack/latest/user_data".to_owned(), user_data.to_vec()),
    ])
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
        assert_eq!(&image[16 * 2048 + 40..16 * 2048 + 48], b"config-2");
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
