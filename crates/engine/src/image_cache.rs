//! Images as they are written to disks: raw. What was uploaded as qcow2 is converted once and kept beside the images, under the digest
//! of what was uploaded, so that a changed image is another file.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::baremetal::Node;
use model::image_compute::Image;
use model::{Id, Object};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha512};
use store::{Batch, Severity, Store};
use tokio::process::Command;

use crate::image_folder::{self, Part};

/// How long one conversion may take.
const LIMIT: Duration = Duration::from_secs(3600);
/// Conversions at once: each reads and writes a disk at full speed.
const AT_ONCE: usize = 2;
/// Address space of the converter, in KiB: images come from tenants, and a crafted one must not take the host's memory.
const MEMORY_KIB: u64 = 2 << 20;
/// Largest image written out, in bytes.
const LARGEST: u64 = 2 << 40;
/// How often at most a machine's history says that it was not sent the same image.
const SAID_AGAIN: Duration = Duration::from_secs(600);
/// Of how many machines and images it is remembered that it was said.
const SAID: usize = 4096;

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
    /// Its data is not here, for this reason, or not yet: look again.
    Missing(String),
    /// It cannot be.
    Failed(String),
}

type Said = HashMap<(Id<Node>, Id<Image>), Instant>;

/// The conversions of this process.
pub(crate) struct ImageCache {
    folder: PathBuf,
    places: Arc<tokio::sync::Semaphore>,
    under_way: Arc<Mutex<HashMap<String, Option<String>>>>,
    /// When which machine's history last said that its image is not here.
    said: Mutex<Said>,
}

impl ImageCache {
    pub(crate) fn new(image_dir: &Path) -> Self {
        let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        Self { folder: image_dir.to_owned(), places, under_way: Arc::default(), said: Mutex::default() }
    }

    /// Whether the data of an image is here as it was uploaded.
    ///
    /// # Errors
    /// Why not: it may still come.
    pub(crate) async fn check(&self, image: &Object<Image>) -> Result<(), String> {
        image_folder::check(&self.folder, image).await
    }

    /// Writes into a machine's history that it was not sent an image, unless that was just written.
    pub(crate) async fn not_sent(&self, store: &Store, node: &Id<Node>, image: &Id<Image>, why: &str) {
        tracing::warn!(node.id = %node, image.id = %image, why, "a machine was not sent an image");
        {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (node.clone(), image.clone());
            if said.get(&key).is_some_and(|at| at.elapsed() < SAID_AGAIN) {
                return;
            }
            if said.len() >= SAID {
                said.retain(|_, at| at.elapsed() < SAID_AGAIN);
            }
            if said.len() < SAID {
                said.insert(key, Instant::now());
            }
        }
        let line = Batch::wishes().history(node, Severity::Warning, "an image could not be sent", &json!({"image": image, "reason": why}));
        if let Err(error) = store.apply(line).await {
            tracing::warn!(%error, node.id = %node, "that an image was not sent could not be written down");
        }
    }

    /// The image as it is written to disks; begins its conversion if that is needed.
    pub(crate) async fn raw(&self, image: &Object<Image>) -> Progress {
        let source = self.folder.join(image.id.as_str());
        let digest = image.desired.sha512.clone().unwrap_or_default();
        match image.desired.disk_format.as_deref() {
            Some("raw") => {
                if let Err(why) = self.check(image).await {
                    return Progress::Missing(why);
                }
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
        if let Err(why) = self.check(image).await {
            return Progress::Missing(why);
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
            let is_gone = ended.is_err() && tokio::fs::metadata(&source).await.is_err();
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            match ended {
                Ok(()) => map.remove(&key),
                // It went away meanwhile: whoever asks is told so, and it is converted when it is back.
                Err(_) if is_gone => map.remove(&key),
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
    let target_of_it = target.to_owned();
    let part = tokio::task::spawn_blocking(move || Part::of(&target_of_it)).await.map_err(|error| error.to_string())?;
    let part = part.map_err(|error| format!("no file can be made for the converted image: {error}"))?;
    let ended = convert_into(&part, source, target, note, size).await;
    // What was written so far may be large.
    drop(tokio::task::spawn_blocking(move || drop(part)).await);
    ended
}

async fn convert_into(part: &Part, source: &Path, target: &Path, note: &Path, size: u64) -> Result<(), String> {
    qemu_img(source, &part.path).await?;
    let from = part.path.clone();
    let sha512 = tokio::task::spawn_blocking(move || digest(&from, size)).await.map_err(|error| error.to_string())??;
    let text = serde_json::to_vec(&RawImage { path: target.to_owned(), size, sha512 }).unwrap_or_default();
    let beside = part.further("json");
    let kept = async {
        tokio::fs::rename(&part.path, target).await?;
        tokio::fs::write(&beside, text).await?;
        tokio::fs::rename(&beside, note).await
    };
    kept.await.map_err(|error| format!("keeping the converted image: {error}"))
}

/// A program that ends with this process however that ends, and that may not take the host's memory.
///
/// The kernel's signal comes when the thread ends that started it; the threads of the runtime live as long as the process.
fn bound(program: &str) -> Command {
    let limit = format!("--as={}", MEMORY_KIB * 1024);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "prlimit", &limit, "--", program]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

async fn qemu_img(source: &Path, target: &Path) -> Result<(), String> {
    let mut command = bound("qemu-img");
    let run = command.args(["convert", "-f", "qcow2", "-O", "raw", "-S", "64k"]).args([source, target]).output();
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
        let mut image = image;
        image.desired.size_bytes = Some(std::fs::metadata(folder.path().join(image.id.as_str())).unwrap().len());
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
    }

    #[tokio::test]
    async fn what_is_not_here_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ImageCache::new(folder.path());
        for format in ["raw", "qcow2"] {
            let image = image(format);
            for _ in 0..3 {
                let progress = cache.raw(&image).await;
                assert!(matches!(&progress, Progress::Missing(why) if why.contains(image.id.as_str())), "{format}: {progress:?}");
            }
            let path = folder.path().join(image.id.as_str());
            std::fs::write(&path, b"1234").unwrap();
            let progress = cache.raw(&image).await;
            assert!(matches!(&progress, Progress::Missing(why) if why.contains("4 of 5 bytes")), "{format}: {progress:?}");
            std::fs::write(&path, b"12345").unwrap();
            match (format, cache.raw(&image).await) {
                ("raw", Progress::Ready(it)) => assert_eq!((it.size, it.path), (5, path)),
                ("qcow2", Progress::Converting) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    const PARENT: &str = "COFFERDAM_TEST_OF_A_PARENT";

    /// Not a test by itself: the process that the next one kills.
    #[tokio::test]
    async fn a_parent_that_is_killed() {
        if std::env::var_os(PARENT).is_none() {
            return;
        }
        let child = bound("sleep").arg("300").stdout(std::process::Stdio::null()).spawn().unwrap();
        println!("child {}", child.id().unwrap());
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn the_converter_does_not_outlive_a_process_that_is_killed() {
        use tokio::io::AsyncBufReadExt as _;
        if !["setpriv", "prlimit"].iter().all(|it| std::process::Command::new(it).arg("--version").output().is_ok()) {
            eprintln!("skipped: setpriv and prlimit (Debian package util-linux) are not installed");
            return;
        }
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "image_cache::tests::a_parent_that_is_killed", "--nocapture"])
            .env(PARENT, "1")
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = tokio::io::BufReader::new(parent.stdout.take().unwrap()).lines();
        let pid = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the parent ended");
                if let Some((_, pid)) = line.split_once("child ") {
                    return pid.trim().to_owned();
                }
            }
        });
        let pid = pid.await.expect("the parent said nothing");
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|it| !it.1.starts_with('Z'))
        };
        let is_sleep = || std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it.trim() == "sleep");
        for _ in 0..500 {
            if is_sleep() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_sleep() && runs());
        parent.kill().await.unwrap();
        for _ in 0..500 {
            if !runs() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(std::process::Command::new("kill").args(["-9", &pid]).status());
        panic!("it runs on");
    }
}
