//! The data of images: files named by the image's id in one folder.
//!
//! Data that comes in goes to `<id>.part`, is hashed and synced on a thread of its own, and gets its name only when it is whole. A `.part`
//! is therefore never read. Whoever takes data in holds a lock on it: one found at start without was left by a crash.

use std::fs::TryLockError;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use md5::Md5;
use model::Id;
use model::image_compute::Image;
use sha2::{Digest as _, Sha512};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

/// Pieces that may wait for the disk before the sender is slowed down.
const QUEUE: usize = 16;
/// Longest silence of a sender.
const SILENCE: Duration = Duration::from_secs(60);
/// Size of the pieces an image is sent in, in bytes.
const PIECE: usize = 256 * 1024;

/// Data that was taken in whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Received {
    pub size_bytes: u64,
    /// Hexadecimal.
    pub md5: String,
    /// Hexadecimal.
    pub sha512: String,
}

/// Why data was not taken in; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// Another upload of the same image is under way here.
    #[error("an upload of this image is under way")]
    Busy,
    /// The sender broke off, fell silent, or sent another amount than it had said.
    #[error("the upload was not completed: {0}")]
    Interrupted(String),
    /// The disk is full.
    #[error("there is no room for the image")]
    Full,
    /// The disk failed.
    #[error("the image cannot be written: {0}")]
    Disk(std::io::Error),
}

impl From<std::io::Error> for ReceiveError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => Self::Full,
            std::io::ErrorKind::AlreadyExists => Self::Busy,
            _ => Self::Disk(error),
        }
    }
}

/// Where an image's data is.
pub(super) fn path(dir: &Path, id: &Id<Image>) -> PathBuf {
    dir.join(id.as_str())
}

/// Where data is while it comes in.
pub(super) fn part(dir: &Path, id: &Id<Image>) -> PathBuf {
    dir.join(format!("{id}.part"))
}

/// The place for data that comes in, and who may write there: at most one at a time. What it holds is removed unless it was kept.
pub(super) struct Inbox {
    part: PathBuf,
    whole: PathBuf,
    file: Option<std::fs::File>,
    /// Holds the lock until the store has taken note.
    _held: std::fs::File,
    named: bool,
}

impl Inbox {
    /// Opens the place of an image.
    pub(super) async fn open(dir: &Path, id: &Id<Image>) -> Result<Self, ReceiveError> {
        let (dir, part, whole) = (dir.to_owned(), part(dir, id), path(dir, id));
        blocking(move || {
            std::fs::create_dir_all(&dir)?;
            let file = std::fs::File::options().write(true).create_new(true).open(&part)?;
            match file.try_lock() {
                Ok(()) => {}
                // A replica that starts looks at it.
                Err(TryLockError::WouldBlock) => {
                    drop(std::fs::remove_file(&part));
                    return Err(ReceiveError::Busy);
                }
                Err(TryLockError::Error(error)) => tracing::debug!(%error, "the image folder has no locks"),
            }
            let held = file.try_clone()?;
            Ok(Self { part, whole, file: Some(file), _held: held, named: false })
        })
        .await
    }

    /// Takes in what the sender sends, hashing it on the way, and gives it its name once it is on the disk.
    pub(super) async fn receive<S, E>(&mut self, mut stream: S, announced: Option<u64>) -> Result<Received, ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let Some(file) = self.file.take() else { return Err(ReceiveError::Busy) };
        let (sender, receiver) = mpsc::channel::<Bytes>(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write(file, receiver));
        let fed = feed(&mut stream, sender).await;
        let received = writer.await.map_err(|error| ReceiveError::Disk(std::io::Error::other(error)))??;
        fed?;
        if let Some(announced) = announced.filter(|it| *it != received.size_bytes) {
            return Err(ReceiveError::Interrupted(format!("{announced} bytes were announced, {} came", received.size_bytes)));
        }
        let (part, whole) = (self.part.clone(), self.whole.clone());
        blocking(move || {
            std::fs::rename(&part, &whole)?;
            if let Some(dir) = whole.parent() {
                std::fs::File::open(dir)?.sync_all()?;
            }
            Ok(())
        })
        .await?;
        self.named = true;
        Ok(received)
    }

    /// The data is to stay.
    pub(super) fn keep(mut self) {
        self.named = false;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // What this upload did not name itself is the data of an earlier one.
        let whole = self.named.then_some(&self.whole);
        for path in std::iter::once(&self.part).chain(whole) {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "data of an unfinished upload cannot be removed");
            }
        }
    }
}

async fn feed<S, E>(stream: &mut S, sender: mpsc::Sender<Bytes>) -> Result<(), ReceiveError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    loop {
        match tokio::time::timeout(SILENCE, stream.next()).await {
            Err(_) => return Err(ReceiveError::Interrupted(format!("nothing came for {} s", SILENCE.as_secs()))),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(ReceiveError::Interrupted(error.to_string())),
            Ok(Some(Ok(piece))) => {
                if sender.send(piece).await.is_err() {
                    // The writer gave up: its own error is the one to tell.
                    return Ok(());
                }
            }
        }
    }
}

fn write(mut file: std::fs::File, mut receiver: mpsc::Receiver<Bytes>) -> Result<Received, ReceiveError> {
    let (mut md5, mut sha512, mut size_bytes) = (Md5::new(), Sha512::new(), 0_u64);
    while let Some(piece) = receiver.blocking_recv() {
        file.write_all(&piece)?;
        md5.update(&piece);
        sha512.update(&piece);
        size_bytes += u64::try_from(piece.len()).unwrap_or(0);
    }
    file.sync_all()?;
    Ok(Received { size_bytes, md5: hex(&md5.finalize()), sha512: hex(&sha512.finalize()) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T, ReceiveError> + Send + 'static) -> Result<T, ReceiveError> {
    tokio::task::spawn_blocking(run).await.map_err(|error| ReceiveError::Disk(std::io::Error::other(error)))?
}

/// An image's data, piece by piece.
///
/// # Errors
/// The file is not there or cannot be read.
pub(super) async fn send(dir: &Path, id: &Id<Image>) -> std::io::Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>> {
    let file = tokio::fs::File::open(path(dir, id)).await?;
    Ok(futures_util::stream::try_unfold(file, |mut file| async move {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        let count = file.read_buf(&mut piece).await?;
        Ok((count > 0).then(|| (piece.freeze(), file)))
    }))
}

/// Whether a living process takes in data of an image into this folder, or has and the store does not say so yet.
///
/// # Errors
/// The disk failed.
pub(super) async fn is_coming_in(dir: &Path, id: &Id<Image>) -> std::io::Result<bool> {
    let places = [part(dir, id), path(dir, id)];
    let look = move || {
        for place in places {
            let file = match std::fs::File::options().write(true).open(place) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    tokio::task::spawn_blocking(look).await.map_err(std::io::Error::other)?
}

/// Removes an image's data, if there is any.
///
/// # Errors
/// The disk failed.
pub(super) async fn remove(dir: &Path, id: &Id<Image>) -> std::io::Result<()> {
    for path in [path(dir, id), part(dir, id)] {
        match tokio::fs::remove_file(path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> PathBuf {
        std::env::temp_dir().join(format!("cofferdam-image-data-{}-{}", std::process::id(), Id::<Image>::random()))
    }

    fn pieces(list: Vec<Result<&'static str, &'static str>>) -> impl Stream<Item = Result<Bytes, &'static str>> + Unpin {
        futures_util::stream::iter(list.into_iter().map(|it| it.map(|text| Bytes::from_static(text.as_bytes()))))
    }

    #[tokio::test]
    async fn whole_data_gets_its_name_and_digests() {
        let (dir, id) = (dir(), Id::<Image>::random());
        let mut inbox = Inbox::open(&dir, &id).await.unwrap();
        assert!(matches!(Inbox::open(&dir, &id).await, Err(ReceiveError::Busy)), "one upload at a time");
        let received = inbox.receive(pieces(vec![Ok("a"), Ok("bc")]), Some(3)).await.unwrap();
        inbox.keep();
        assert_eq!(received.size_bytes, 3);
        assert_eq!(received.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert!(received.sha512.starts_with("ddaf35a193617abacc417349ae204131"));
        let mut back = Vec::new();
        let mut stream = Box::pin(send(&dir, &id).await.unwrap());
        while let Some(piece) = stream.next().await {
            back.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(back, b"abc");
        remove(&dir, &id).await.unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn nothing_is_left_of_data_that_broke_off() {
        let dir = dir();
        for (list, announced) in [(vec![Ok("abc"), Err("reset")], None), (vec![Ok("abc")], Some(4))] {
            let mut inbox = Inbox::open(&dir, &Id::random()).await.unwrap();
            assert!(matches!(inbox.receive(pieces(list), announced).await, Err(ReceiveError::Interrupted(_))));
            drop(inbox);
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        }
        let mut inbox = Inbox::open(&dir, &Id::random()).await.unwrap();
        inbox.receive(pieces(vec![Ok("abc")]), None).await.unwrap();
        drop(inbox);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "data that the store did not take note of");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
