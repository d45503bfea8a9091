//! The folder with the data of images, which all replicas share: what is not in it here, who writes into it, and what was left in it by
//! processes that died.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::image_compute::{Image, ImageStatus};
use model::{Id, Object};
use store::{Query, StoreError};
use tokio::sync::watch;

use crate::runtime::Shared;

/// How often it is looked whether all data is there.
const ROUND: Duration = Duration::from_secs(60);
/// After how many of those what dead processes left is removed.
const SWEEP: u32 = 60;
/// What nobody has written to for so long and nobody holds a lock on is nobody's: longer than any conversion may take.
const LEFT: Duration = Duration::from_secs(2 * 3600);
/// How many images are named each time that data is found to be missing.
const NAMED: usize = 20;
/// What stands between the name of what is made and that of who makes it.
const PART: &str = ".part-";

/// Whether an image's data is here, whole.
///
/// # Errors
/// Why it is not, in words for operators: it may still come.
pub(crate) async fn check(folder: &Path, image: &Object<Image>) -> Result<(), String> {
    let id = &image.id;
    match tokio::fs::metadata(folder.join(id.as_str())).await {
        Ok(it) => match image.desired.size_bytes.filter(|size| *size != it.len()) {
            None => Ok(()),
            Some(size) => Err(format!("of the data of image {id} {} of {size} bytes are in this host's image folder", it.len())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("the data of image {id} is not in this host's image folder, which all replicas must share"))
        }
        Err(error) => Err(format!("the data of image {id} in this host's image folder cannot be read: {error}")),
    }
}

/// A file that is being written, under a name of its own until it is whole. The lock beside it says that its writer lives.
pub(crate) struct Part {
    /// Where to write.
    pub(crate) path: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Part {
    /// A place for what becomes `target`. Blocks.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn of(target: &Path) -> std::io::Result<Self> {
        let path = target.with_extension(format!("{}{}", PART.trim_start_matches('.'), uuid::Uuid::new_v4().simple()));
        let lock = beside(&path, "lock");
        for _ in 0..3 {
            let held = File::options().create(true).truncate(false).write(true).open(&lock)?;
            if let Err(error) = held.lock() {
                // Then its age has to say whether its writer lives.
                tracing::debug!(%error, "the image folder has no locks");
            }
            // Whoever clears up may have taken it for a dead one's before it was locked.
            let (mine, there) = (held.metadata()?, std::fs::metadata(&lock));
            if there.is_ok_and(|it| (it.dev(), it.ino()) == (mine.dev(), mine.ino())) {
                return Ok(Self { path, lock, _held: held });
            }
        }
        Err(std::io::Error::other("its lock was removed again and again"))
    }

    /// A further file of the same writer.
    pub(crate) fn further(&self, name: &str) -> PathBuf {
        beside(&self.path, name)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What became the target is not there under this name any more.
        for path in [&self.path, &self.lock] {
            drop(std::fs::remove_file(path));
        }
    }
}

fn beside(path: &Path, name: &str) -> PathBuf {
    let mut name_of_it = path.as_os_str().to_owned();
    name_of_it.push(".");
    name_of_it.push(name);
    name_of_it.into()
}

/// Removes what writers left that died; returns how many there were. Blocks. `alone`: nobody else writes here.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn sweep(folder: &Path, alone: bool) -> std::io::Result<usize> {
    let mut writers: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some((stem, rest)) = name.to_str().and_then(|it| it.split_once(PART)) else { continue };
        let writer = rest.split('.').next().unwrap_or_default();
        if writer.len() == 32 && writer.bytes().all(|it| it.is_ascii_hexdigit()) {
            writers.entry(folder.join(format!("{stem}{PART}{writer}"))).or_default().push(folder.join(&name));
        }
    }
    let mut removed = 0;
    for (writer, files) in writers {
        let lock = beside(&writer, "lock");
        let is_old = || files.iter().all(|it| is_older(it, LEFT));
        // Held until all is removed.
        let (is_dead, _held) = match File::options().write(true).open(&lock) {
            Ok(file) => match file.try_lock() {
                Ok(()) => (true, Some(file)),
                Err(TryLockError::WouldBlock) => (false, None),
                Err(TryLockError::Error(_)) => (is_old(), None),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (alone || is_old(), None),
            Err(_) => (false, None),
        };
        if is_dead {
            tracing::info!(file = %writer.display(), "what a conversion left that died is removed");
            for file in files.iter().filter(|it| **it != lock).chain([&lock]) {
                drop(std::fs::remove_file(file));
            }
            removed += 1;
        }
    }
    Ok(removed)
}

/// What images were converted to, by the image.
fn converted(folder: &Path) -> std::io::Result<BTreeMap<Id<Image>, Vec<PathBuf>>> {
    let mut found: BTreeMap<Id<Image>, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some((id, rest)) = name.to_str().and_then(|it| it.split_once('.')) else { continue };
        let is_result = rest.split_once('.').is_some_and(|(_, kind)| kind == "raw" || kind == "raw.json");
        if let Some(id) = Id::parse(id).filter(|_| is_result) {
            found.entry(id).or_default().push(folder.join(&name));
        }
    }
    Ok(found)
}

/// Removes what images were converted to that are no more; returns of how many.
///
/// # Errors
/// The folder or the store cannot be read.
pub(crate) async fn forget(shared: &Shared) -> Result<usize, StoreError> {
    let folder = shared.config.image_dir.clone();
    let found = tokio::task::spawn_blocking(move || converted(&folder)).await;
    let found = found.map_err(std::io::Error::other).flatten().map_err(|error| StoreError::Open(error.to_string()))?;
    let mut removed = 0;
    for (id, files) in found {
        if shared.store.get(&id).await?.is_some() {
            continue;
        }
        tracing::info!(image.id = %id, "what an image was converted to that is no more is removed");
        for file in files {
            drop(tokio::fs::remove_file(file).await);
        }
        removed += 1;
    }
    Ok(removed)
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|it| it.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|it| it > age))
}

/// Says which images' data is not here, and clears up, until `stop` turns true.
pub(crate) async fn watch(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut told = BTreeSet::new();
    let mut rounds: u32 = 0;
    while !*stop.borrow() {
        if rounds.is_multiple_of(SWEEP) {
            let (folder, alone) = (shared.config.image_dir.clone(), shared.store.is_embedded());
            match tokio::task::spawn_blocking(move || sweep(&folder, alone)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the image folder cannot be read"),
                Err(error) => tracing::warn!(%error, "the image folder was not cleared up"),
            }
        }
        if let Err(error) = forget(&shared).await {
            tracing::warn!(%error, "could not see whose converted data is in the image folder");
        }
        match missing(&shared).await {
            Ok(found) => told = tell(&shared, found, &told),
            Err(error) => tracing::warn!(%error, "could not see whose data should be in the image folder"),
        }
        rounds = rounds.wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Says once of each image that its data is not here.
fn tell(shared: &Shared, found: BTreeMap<Id<Image>, String>, told: &BTreeSet<Id<Image>>) -> BTreeSet<Id<Image>> {
    let folder = shared.config.image_dir.display();
    let fresh = || found.iter().filter(|it| !told.contains(it.0));
    for (id, why) in fresh().take(NAMED) {
        tracing::warn!(image.id = %id, %folder, why, "an image that the store lists is not here: machines that need it wait");
    }
    let further = fresh().count().saturating_sub(NAMED);
    if further > 0 {
        tracing::warn!(%folder, further, "further images that the store lists are not here");
    }
    let back = told.iter().filter(|it| !found.contains_key(it)).count();
    if back > 0 {
        tracing::info!(%folder, images = back, "images that were not here are, or are no more");
    }
    found.into_keys().collect()
}

/// The images that the store says have data which is not here, and why.
pub(crate) async fn missing(shared: &Shared) -> Result<BTreeMap<Id<Image>, String>, StoreError> {
    let mut found = BTreeMap::new();
    let folder = &shared.config.image_dir;
    for image in shared.store.list(&Query::<Image>::new()).await?.into_iter().filter(|it| it.desired.status == ImageStatus::Active) {
        let Err(why) = check(folder, &image).await else { continue };
        // It may have been removed meanwhile.
        if shared.store.get(&image.id).await?.is_some_and(|it| it.desired.status == ImageStatus::Active) {
            found.insert(image.id, why);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use model::image_compute::ImageDesired;
    use serde_json::json;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn what_dead_writers_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let image = "9f0c2a52-6d1c-4f0e-8a3e-111111111111";
        let kept = [image.to_owned(), format!("{image}.part"), format!("{image}.abcd.raw"), format!("{image}.abcd.raw.json")];
        for name in &kept {
            std::fs::write(path.join(name), b"x").unwrap();
        }
        let lives = Part::of(&path.join(format!("{image}.abcd.raw"))).unwrap();
        std::fs::write(&lives.path, b"y").unwrap();
        // As a killed process leaves them: the lock went with it.
        let dead = format!("{image}.abcd.part-{}", "0".repeat(32));
        let left = [dead.clone(), format!("{dead}.lock"), format!("{dead}.json")];
        for name in &left {
            std::fs::write(path.join(name), b"z").unwrap();
        }
        // Of a version that had no locks.
        let former = format!("{image}.abcd.part-{}", "1".repeat(32));
        std::fs::write(path.join(&former), b"z").unwrap();
        assert_eq!(sweep(path, false).unwrap(), 1);
        let has = |name: &str| names(path).contains(&name.to_owned());
        assert!(left.iter().all(|it| !has(it)), "{:?}", names(path));
        assert!(has(&former), "it may be another replica's that writes it");
        File::options().write(true).open(path.join(&former)).unwrap().set_modified(std::time::SystemTime::now() - 2 * LEFT).unwrap();
        assert_eq!(sweep(path, false).unwrap(), 1);
        std::fs::write(path.join(&former), b"z").unwrap();
        assert_eq!(sweep(path, true).unwrap(), 1);
        assert!(kept.iter().all(|it| has(it)) && lives.path.exists(), "{:?}", names(path));
        drop(lives);
        assert_eq!(names(path), {
            let mut kept = kept;
            kept.sort();
            kept
        });
    }

    #[tokio::test]
    async fn what_an_image_was_converted_to_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("images");
        std::fs::create_dir(&folder).unwrap();
        let shared = crate::testing::shared_with(&folder, Box::new(crate::outside::World), |_| {}).await;
        let desired: ImageDesired = serde_json::from_value(json!({
            "status": "active", "visibility": "private", "disk_format": "qcow2", "container_format": "bare", "size_bytes": 1,
        }))
        .unwrap();
        let kept = Object::<Image>::new(Id::random(), None, "x", desired);
        shared.store.apply(store::Batch::wishes().create(&kept)).await.unwrap();
        let gone: Id<Image> = Id::random();
        let name = |id: &Id<Image>, rest: &str| format!("{id}{rest}");
        let stay =
            [name(&kept.id, ""), name(&kept.id, ".abcd.raw"), name(&kept.id, ".abcd.raw.json"), name(&gone, ""), name(&gone, ".part")];
        for file in stay.iter().chain(&[name(&gone, ".abcd.raw"), name(&gone, ".abcd.raw.json"), "notes.raw".to_owned()]) {
            std::fs::write(folder.join(file), b"x").unwrap();
        }
        assert_eq!(forget(&shared).await.unwrap(), 1);
        let left = names(&folder);
        assert!(stay.iter().all(|it| left.contains(it)) && left.contains(&"notes.raw".to_owned()), "{left:?}");
        assert!(!left.iter().any(|it| it.starts_with(gone.as_str()) && it.contains(".raw")), "{left:?}");
        assert_eq!(forget(&shared).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn images_that_are_not_here_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let shared = crate::testing::shared_with(dir.path(), Box::new(crate::outside::World), |_| {}).await;
        let image = |status: &str| {
            let desired: ImageDesired = serde_json::from_value(json!({
                "status": status, "visibility": "private", "disk_format": "raw", "container_format": "bare", "size_bytes": 3,
            }))
            .unwrap();
            Object::<Image>::new(Id::random(), None, "x", desired)
        };
        let (here, gone, short, queued) = (image("active"), image("active"), image("active"), image("queued"));
        std::fs::write(dir.path().join(here.id.as_str()), b"abc").unwrap();
        std::fs::write(dir.path().join(short.id.as_str()), b"ab").unwrap();
        let batch = [&here, &gone, &short, &queued].into_iter().fold(store::Batch::wishes(), store::Batch::create);
        shared.store.apply(batch).await.unwrap();
        let found = missing(&shared).await.unwrap();
        assert_eq!(found.keys().collect::<BTreeSet<_>>(), [&gone.id, &short.id].into(), "{found:?}");
        assert!(found[&gone.id].contains("must share") && found[&short.id].contains("2 of 3 bytes"), "{found:?}");
        let told = tell(&shared, found, &BTreeSet::new());
        std::fs::write(dir.path().join(gone.id.as_str()), b"abc").unwrap();
        let told = tell(&shared, missing(&shared).await.unwrap(), &told);
        assert_eq!(told, [short.id].into());
    }
}
