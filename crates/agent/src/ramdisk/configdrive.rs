//! The config drive: a small file system image on a partition named `config-2`, from which the machine's first boot learns
//! its name, network and user data.
//!
//! Source: Ironic, "config drive" in the deploy documentation: base64 of gzip of the image, or a URL of that; at most 64 MiB.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use flate2::read::GzDecoder;
use net::http::{Client, Request};

use super::disk::{Disk, DiskError, length};
use super::failure::{Failure, chain};
use super::gpt::{Extent, GptError, LINUX_FILESYSTEM, Table};

/// Label by which cloud-init and others find it.
pub const LABEL: &str = "config-2";
/// Largest config drive, unpacked, in bytes; also the size of its partition where there is room.
pub const MAX_BYTES: u64 = 64 << 20;

/// Unpacks what the control plane sent: base64 of gzip of an image, or a URL of such a text.
///
/// # Errors
/// [`Failure::config_drive`]; never contains a byte of the config drive, which holds secrets.
pub async fn fetch(sent: &str) -> Result<Vec<u8>, Failure> {
    let refused = |why: String| Failure::config_drive(format!("config drive: {why}"));
    if !sent.starts_with("http://") && !sent.starts_with("https://") {
        return unpack(sent.as_bytes());
    }
    let client = Client::plain().with_deadline(Duration::from_secs(60));
    let response = client.send(Request::get(sent)).await.map_err(|error| refused(chain(&error)))?;
    if !response.is_success() {
        return Err(refused(format!("HTTP status {}", response.status)));
    }
    unpack(&response.body)
}

fn unpack(text: &[u8]) -> Result<Vec<u8>, Failure> {
    let refused = |why: &str| Failure::config_drive(format!("config drive: {why}"));
    // Python's base64.encodebytes, which some clients use, breaks lines.
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let packed = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| refused("it is not base64"))?;
    let mut image = Vec::new();
    GzDecoder::new(packed.as_slice()).take(MAX_BYTES + 1).read_to_end(&mut image).map_err(|_| refused("it is not gzip"))?;
    if image.is_empty() {
        return Err(refused("it is empty"));
    }
    if length(&image) > MAX_BYTES {
        return Err(refused("it is larger than 64 MiB"));
    }
    Ok(image)
}

/// Makes the image's partition table reach to the end of the disk and, if there is a config drive, puts it on a partition of
/// its own there. Repeatable: a partition that is already there is used again.
///
/// An image without a GUID partition table is left as it is, unless there is a config drive.
///
/// # Errors
/// [`Failure::config_drive`].
pub fn place(device: &Path, image: Option<&[u8]>) -> Result<Option<Extent>, Failure> {
    put(device, image).map_err(|error| {
        let what = if image.is_some() { "the config drive cannot be placed" } else { "the partition table cannot be extended" };
        Failure::config_drive(format!("{what}: {}", chain(&error)))
    })
}

fn put(device: &Path, image: Option<&[u8]>) -> Result<Option<Extent>, GptError> {
    let disk = Disk::open(device)?;
    let mut table = match Table::read(&disk) {
        Err(GptError::Absent) if image.is_none() => return Ok(None),
        other => other?,
    };
    table.relocate(&disk)?;
    let Some(image) = image else {
        table.write(&disk)?;
        return Ok(None);
    };
    let bytes = length(image);
    let extent = match table.find(LABEL) {
        Some(extent) if extent.length >= bytes => extent,
        Some(extent) => return Err(GptError::NoSpace { wanted: bytes, free: extent.length }),
        None => table.add_last(LABEL, LINUX_FILESYSTEM, *uuid::Uuid::new_v4().as_bytes(), MAX_BYTES, bytes)?,
    };
    table.write(&disk)?;
    fill(&disk, extent, image)?;
    Ok(Some(extent))
}

/// Writes the image and zeros up to the end of the partition: a longer config drive of an earlier deployment must not show.
fn fill(disk: &Disk, extent: Extent, image: &[u8]) -> Result<(), DiskError> {
    let bytes = length(image);
    disk.zero(extent.offset, extent.length, None)?;
    disk.write_at(extent.offset, image)?;
    disk.settle()?;
    disk.compare(extent.offset, image)?;
    disk.verify_zero_range(extent.offset + bytes, extent.length - bytes)
}

#[cfg(test)]
pub mod tests {
    use std::io::Write as _;

    use super::super::disk::tests::blank;
    use super::super::gpt::tests::{image, partitions};
    use super::*;

    pub fn pack(bytes: &[u8]) -> String {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        base64::engine::general_purpose::STANDARD.encode(gzip.finish().unwrap())
    }

    #[tokio::test]
    async fn what_was_packed_is_unpacked() {
        assert_eq!(fetch(&pack(b"drive")).await.unwrap(), b"drive");
        let broken: String = pack(b"drive").chars().flat_map(|c| [c, '\n']).collect();
        assert_eq!(fetch(&broken).await.unwrap(), b"drive");
        for bad in ["", "?", "aGVsbG8=", pack(b"").as_str()] {
            let failure = fetch(bad).await.unwrap_err();
            assert!(failure.details.starts_with("config drive: "), "{failure}");
        }
        let bomb = pack(&vec![0; (64 << 20) + 1]);
        assert!(fetch(&bomb).await.unwrap_err().details.contains("larger"));
    }

    #[test]
    fn it_lies_on_its_own_partition_and_may_be_placed_again() {
        let file = blank(96);
        let disk = Disk::open(file.path()).unwrap();
        disk.write_at(0, &image(8)).unwrap();
        let long = vec![0x5a; 700_000];
        let extent = place(file.path(), Some(&long)).unwrap().unwrap();
        assert_eq!(partitions(file.path())[1], (2, "config-2".into(), extent.offset, extent.length));
        disk.compare(extent.offset, &long).unwrap();
        assert_eq!(place(file.path(), Some(b"short")).unwrap(), Some(extent));
        disk.compare(extent.offset, b"short").unwrap();
        disk.verify_zero_range(extent.offset + 5, extent.length - 5).unwrap();
        assert_eq!(partitions(file.path()).len(), 2);
    }

    #[test]
    fn without_a_partition_table_only_a_config_drive_fails() {
        let file = blank(8);
        assert_eq!(place(file.path(), None).unwrap(), None);
        let failure = place(file.path(), Some(b"x")).unwrap_err();
        assert!(failure.details.contains("no GUID partition table"), "{failure}");
    }
}
