//! Images as they are written to disks: raw. What was uploaded as qcow2 is converted once and kept beside the images, under the digest
//! of what was uploaded, so that a changed image is another file.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Object;
use model::image_compute::Image;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha512};
use tokio::process::Command;

/// How long one conversion may take.
const LIMIT: Duration = Duration::from_secs(3600);
/// Conversions at once: each reads and writes a disk at full speed.
const AT_ONCE: usize = 2;
/// Address space of the converter, in KiB: images come from tenants, and a crafted one must not take the host's memory.
const MEMORY_KIB: u64 = 2 << 20;
/// Largest image written out, in bytes.
const LARGEST: u64 = 2 << 40;

/// An image as it is on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawImage {
    /// Its file.
    pub(crate) path: PathBuf,
    /// In bytes.
    pub(crate) size: u64,
    /// Of the raw image, in hexadecimal digits.
    pub(crate) sha512: String,
}

/// How far an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It can be written to disks.
    Ready(RawImage),
    /// It is being converted: look again.
    Converting,
    /// It cannot be.
    Failed(String),
}

/// The conversions of this process.
pub(crate) struct ImageCache {
    folder: PathBuf,
    places: Arc<tokio::sync::Semaphore>,
    under_way: Arc<Mutex<HashMap<String, Option<String>>>>,
}

impl ImageCache {
    pub(crate) fn new(image_dir: &Path) -> Self {
        Self { folder: image_dir.to_owned(), places: Arc::new(tokio::sync::Semaphore::new(AT_ONCE)), under_way: Arc::default() }
    }

    /// The image as it is written to disks; begins its conversion if that is needed.
    pub(crate) async fn raw(&self, image: &Object<Image>) -> Progress {
        let source = self.folder.join(image.id.as_str());
        let digest = image.desired.sha512.clone().unwrap_or_default();
        match image.desired.disk_format.as_deref() {
            Some("raw") => {
                let size = image.desired.size_bytes.unwrap_or_default();
                return Progress::Ready(RawImage { path: source, size, sha512: digest });
            }
            Some("qcow2") => {}
            other => {
                return Progress::Failed(format!("image {} is {}, which is not written to disks", image.id, other.unwrap_or("nothing")));
            }
        }
        let key = format!("{}.{}", image.id, digest.get(..16).unwrap_or("0"));
        let target = self.folder.join(format!("{key}.raw"));
        let note = self.folder.join(format!("{key}.raw.json"));
        if let Ok(text) = tokio::fs::read(&note).await
            && let Ok(done) = serde_json::from_slice::<RawImage>(&text)
            && tokio::fs::metadata(&target).await.is_ok_and(|it| it.len() == done.size)
        {
            return Progress::Ready(RawImage { path: target, ..done });
        }
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.get(&key) {
            Some(None) => return Progress::Converting,
            // Told once; whoever asks again tries again.
            Some(Some(_)) => {
                let why = under_way.remove(&key).flatten().unwrap_or_default();
                return Progress::Failed(why);
            }
            None => under_way.insert(key.clone(), None),
        };
        drop(under_way);
        let (places, map) = (Arc::clone(&self.places), Arc::clone(&self.under_way));
        tokio::spawn(async move {
            let ended = match places.acquire_owned().await {
                Ok(_place) => convert(&source, &target, &note).await,
                Err(error) => Err(error.to_string()),
            };
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            match ended {
                Ok(()) => map.remove(&key),
                Err(why) => {
                    tracing::warn!(image = key, why, "an image could not be converted");
                    map.insert(key, Some(why))
                }
            };
        });
        Progress::Converting
    }
}

/// Converts to a file of another name, which becomes the target when it is whole. Two replicas that do it at once do the same.
async fn convert(source: &Path, target: &Path, note: &Path) -> Result<(), String> {
    let from = source.to_owned();
    let size = tokio::task::spawn_blocking(move || plain_qcow2(&from)).await.map_err(|error| error.to_string())??;
    let part = target.with_extension(format!("part-{}", uuid::Uuid::new_v4().simple()));
    let ended = qemu_img(source, &part).await;
    let done = match ended {
        Ok(()) => {
            let from = part.clone();
            tokio::task::spawn_blocking(move || digest(&from, size)).await.map_err(|error| error.to_string()).and_then(|it| it)
        }
        Err(why) => Err(why),
    };
    let kept = match done {
        Ok(sha512) => {
            let text = serde_json::to_vec(&RawImage { path: target.to_owned(), size, sha512 }).unwrap_or_default();
            let beside = part.with_extension("json-part");
            async {
                tokio::fs::rename(&part, target).await?;
                tokio::fs::write(&beside, text).await?;
                tokio::fs::rename(&beside, note).await
            }
            .await
            .map_err(|error| format!("keeping the converted image: {error}"))
        }
        Err(why) => Err(why),
    };
    if kept.is_err() {
        drop(tokio::fs::remove_file(&part).await);
    }
    kept
}

async fn qemu_img(source: &Path, target: &Path) -> Result<(), String> {
    let limit = format!("--as={}", MEMORY_KIB * 1024);
    let run = Command::new("prlimit")
        .args([&limit, "--", "qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-S", "64k"])
        .args([source, target])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run).await.map_err(|_| format!("the conversion did not end within {LIMIT:?}"))?;
    let output = output.map_err(|error| format!("qemu-img (Debian package qemu-utils) could not be started: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("qemu-img: {}", String::from_utf8_lossy(&output.stderr).chars().take(300).collect::<String>())),
    }
}

/// The virtual size of a qcow2 image that stands for itself: one that names another file (a backing file, a data file) would read
/// what its owner may not (Source: QEMU documentation, "QCOW2 image format").
fn plain_qcow2(path: &Path) -> Result<u64, String> {
    let mut head = [0_u8; 104];
    let file = std::fs::File::open(path).map_err(|error| format!("the image's data is not there: {error}"))?;
    let read = file.read_at(&mut head, 0).map_err(|error| error.to_string())?;
    let word = |at: usize| head.get(at..at + 4).and_then(|it| it.try_into().ok()).map_or(0, u32::from_be_bytes);
    let long = |at: usize| head.get(at..at + 8).and_then(|it| it.try_into().ok()).map_or(0, u64::from_be_bytes);
    if read < 72 || head.get(..4) != Some(b"QFI\xfb") {
        return Err("the image is not qcow2 although it says so".into());
    }
    let version = word(4);
    if !(2..=3).contains(&version) {
        return Err(format!("qcow2 of version {version} is not known"));
    }
    if long(8) != 0 {
        return Err("the image has a backing file".into());
    }
    if word(32) != 0 {
        return Err("the image is encrypted".into());
    }
    if version == 3 && long(72) & 0b100 != 0 {
        return Err("the image keeps its data in another file".into());
    }
    match long(24) {
        0 => Err("the image is empty".into()),
        size if size > LARGEST => Err(format!("the image is {size} bytes large")),
        size => Ok(size),
    }
}

fn digest(path: &Path, size: u64) -> Result<String, String> {
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let written = file.metadata().map_err(|error| error.to_string())?.len();
    if written != size {
        return Err(format!("{written} bytes were written where the image says {size}"));
    }
    let mut sum = Sha512::new();
    std::io::copy(&mut file, &mut sum).map_err(|error| error.to_string())?;
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use model::Id;
    use model::image_compute::ImageDesired;
    use serde_json::json;

    use super::*;

    fn image(format: &str) -> Object<Image> {
        let desired: ImageDesired = serde_json::from_value(json!({
            "status": "active", "visibility": "private", "disk_format": format, "container_format": "bare",
            "sha512": "ab".repeat(64), "size_bytes": 5,
        }))
        .unwrap();
        Object::new(Id::random(), None, "x", desired)
    }

    #[tokio::test]
    async fn qcow2_is_converted_once() {
        let folder = tempfile::tempdir().unwrap();
        let image = image("qcow2");
        let raw = folder.path().join("plain");
        let content: Vec<u8> = (0..300_000_u32).flat_map(|it| (it / 1000).to_le_bytes()).collect();
        std::fs::write(&raw, &content).unwrap();
        let made = std::process::Command::new("qemu-img")
            .args(["convert", "-c", "-O", "qcow2"])
            .arg(&raw)
            .arg(folder.path().join(image.id.as_str()))
            .status();
        if !made.is_ok_and(|it| it.success()) {
            eprintln!("skipped: qemu-img (Debian package qemu-utils) is not installed");
            return;
        }
        let cache = ImageCache::new(folder.path());
        let mut progress = cache.raw(&image).await;
        assert_eq!(progress, Progress::Converting);
        for _ in 0..600 {
            if progress != Progress::Converting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            progress = cache.raw(&image).await;
        }
        let Progress::Ready(done) = progress else { panic!("{progress:?}") };
        let written = std::fs::read(&done.path).unwrap();
        assert_eq!(written.get(..content.len()), Some(content.as_slice()));
        assert_eq!(done.size, written.len() as u64);
        let other = ImageCache::new(folder.path());
        assert_eq!(other.raw(&image).await, Progress::Ready(done), "another process finds it");
    }

    #[tokio::test]
    async fn what_names_other_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut head = vec![0_u8; 104];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[7] = 3;
        head[24..32].copy_from_slice(&(1_u64 << 20).to_be_bytes());
        let check = |at: usize, bytes: &[u8]| {
            let mut head = head.clone();
            head[at..at + bytes.len()].copy_from_slice(bytes);
            let path = folder.path().join("q");
            std::fs::write(&path, head).unwrap();
            plain_qcow2(&path)
        };
        assert_eq!(check(0, b"Q"), Ok(1 << 20));
        assert!(check(8, &104_u64.to_be_bytes()).unwrap_err().contains("backing"));
        assert!(check(72, &4_u64.to_be_bytes()).unwrap_err().contains("another file"));
        assert!(check(32, &2_u32.to_be_bytes()).unwrap_err().contains("encrypted"));
        assert!(check(0, b"X").is_err());
        assert!(check(24, &u64::MAX.to_be_bytes()).is_err());
        let cache = ImageCache::new(folder.path());
        assert!(matches!(cache.raw(&image("vmdk")).await, Progress::Failed(_)));
        assert!(matches!(cache.raw(&image("raw")).await, Progress::Ready(it) if it.size == 5));
    }
}
