//! Writing an image to the disk, so that what the disk holds afterwards is proven to be the image.
//!
//! The download and the disk meet in a bounded queue: the slower of the two sets the pace, and memory stays small. The first
//! MiB, which holds the partition table, is kept back until the digest is known to be right; an interrupted or wrong image
//! therefore never looks like something to boot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use md5::Md5;
use net::http::{Client, Request};
use serde::Deserialize;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha512};
use tokio::sync::mpsc;

use super::commands::Progress;
use super::disk::{BLOCK, BLOCK_BYTES, Disk, DiskError, length};
use super::failure::{Failure, chain};
use super::unpack::{Packing, Piece, Source, Stop, UnpackError};

/// How often a download is tried.
const TRIES: usize = 10;
/// Pause before another try.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest silence of an image server.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest download, all tries together.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(3600);
/// Pieces between network and disk; a piece is what one read of the socket gave, at most some 400 KiB.
const QUEUE: usize = 16;

/// What to write; the names are those of Ironic's `image_info`.
#[derive(Debug, Deserialize)]
pub struct ImageInfo {
    /// Id of the image, for messages.
    #[serde(default)]
    pub id: String,
    /// Where it can be had; tried in turn.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Only `raw` is written; the control plane converts the others.
    #[serde(default)]
    pub disk_format: String,
    /// `compressed`, as Glance calls it: the image is packed, its first bytes say how.
    #[serde(default)]
    pub container_format: Option<String>,
    /// `zstd` or `gzip`: how the image is packed.
    #[serde(default)]
    pub compression: Option<String>,
    /// `sha512`, `sha256` or `md5`.
    #[serde(default)]
    pub os_hash_algo: Option<String>,
    /// Digest in hexadecimal.
    #[serde(default)]
    pub os_hash_value: Option<String>,
    /// Older form of a digest, in hexadecimal; the algorithm follows from its length.
    #[serde(default)]
    pub checksum: Option<String>,
    /// Size in bytes, if known.
    #[serde(default)]
    pub size: Option<u64>,
}

/// A digest algorithm an image may be described by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-512.
    Sha512,
    /// SHA-256.
    Sha256,
    /// MD5: finds damage, not malice; still what older Glance images carry.
    Md5,
}

impl Algorithm {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha512 => "sha512",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Sha512, Self::Sha256, Self::Md5].into_iter().find(|it| it.name().eq_ignore_ascii_case(name))
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha512 => 128,
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }

    fn hasher(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Sha512 => Box::<Sha512>::default(),
            Self::Sha256 => Box::<Sha256>::default(),
            Self::Md5 => Box::<Md5>::default(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// An image description whose parts make sense.
#[derive(Debug)]
pub struct Image {
    name: String,
    urls: Vec<String>,
    algorithm: Algorithm,
    /// Of the image as it comes or, if it is packed, of either form.
    digest: String,
    size: Option<u64>,
    packing: Packing,
}

impl ImageInfo {
    /// Checks the description. An image without a digest is refused: it could not be verified.
    ///
    /// # Errors
    /// [`Failure::image`] or [`Failure::params`], to be shown to the operator.
    pub fn check(self) -> Result<Image, Failure> {
        if self.disk_format != "raw" {
            return Err(Failure::image(format!("disk format '{}' is not supported, only 'raw' is", self.disk_format)));
        }
        let packing = match (self.compression.as_deref(), self.container_format.as_deref()) {
            (Some("zstd"), _) => Packing::Zstd,
            (Some("gzip"), _) => Packing::Gzip,
            (Some(other), _) if !other.is_empty() => {
                return Err(Failure::image(format!("compression '{other}' is not supported, only 'zstd' and 'gzip' are")));
            }
            (_, Some("compressed")) => Packing::ByMagic,
            _ => Packing::No,
        };
        if self.urls.is_empty() {
            return Err(Failure::params("image_info.urls is empty"));
        }
        let (algorithm, digest) = match (self.os_hash_algo, self.os_hash_value, self.checksum) {
            (Some(name), Some(value), _) => {
                let algorithm = Algorithm::of_name(&name);
                (algorithm.ok_or_else(|| Failure::params(format!("os_hash_algo '{name}' is not sha512, sha256 or md5")))?, value)
            }
            (_, _, Some(value)) => {
                let all = [Algorithm::Sha512, Algorithm::Sha256, Algorithm::Md5];
                let algorithm = all.into_iter().find(|it| it.digits() == value.len());
                (algorithm.ok_or_else(|| Failure::params("checksum is neither md5 nor sha256 nor sha512"))?, value)
            }
            _ => return Err(Failure::params("image_info has neither os_hash_algo and os_hash_value nor checksum")),
        };
        let digest = digest.to_ascii_lowercase();
        if digest.len() != algorithm.digits() || !digest.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Failure::params(format!("the digest is not a {} in hexadecimal", algorithm.name())));
        }
        Ok(Image { name: self.id, urls: self.urls, algorithm, digest, size: self.size, packing })
    }
}

/// What was written and proven.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the image.
    pub bytes: u64,
    /// Algorithm and digest of what was read back from the disk, such as `sha512:…`.
    pub verified: String,
}

/// Downloads the image to the disk and proves it: the digest on the way, then the digest of what the disk gives back.
///
/// # Errors
/// A [`Failure`] for the control plane; the disk then has no partition table.
pub async fn write(device: &Path, image: Image, progress: &Arc<Progress>) -> Result<Written, Failure> {
    let size_of = device.to_owned();
    let disk = blocking(move || Disk::open(&size_of).map_err(|error| Failure::device(chain(&error)))).await?;
    let capacity = disk.size();
    // Of a packed image only the number of bytes that come is known.
    let size = image.size.filter(|_| image.packing == Packing::No);
    fits(size.unwrap_or(0), capacity, &image.name)?;
    progress.begin("write", size.unwrap_or(0));
    let (pieces, queue) = mpsc::channel(QUEUE);
    let image = Arc::new(image);
    let writer = tokio::task::spawn_blocking({
        let (image, progress) = (Arc::clone(&image), Arc::clone(progress));
        move || consume(&disk, &image, queue, &progress)
    });
    let download = tokio::time::timeout(DOWNLOAD_DEADLINE, download(&image, capacity, &pieces, progress)).await;
    drop(pieces);
    let outcome = writer.await.map_err(|_| Failure::write("the writer broke off"))?;
    match download {
        Err(_) => Err(Failure::download(&image.name, format!("not complete within {DOWNLOAD_DEADLINE:?}"))),
        // The writer went away first: it knows why.
        Ok(Err(Broken::Writer)) | Ok(Ok(())) => outcome,
        Ok(Err(Broken::Download(failure))) => Err(failure),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::execution("the thread that worked on the disk broke off"))?
}

fn fits(size: u64, capacity: u64, name: &str) -> Result<(), Failure> {
    if size <= capacity {
        return Ok(());
    }
    Err(Failure::image(format!("image {name} has {size} bytes, the disk only {capacity}")))
}

enum Broken {
    /// The writer ended early and has the reason.
    Writer,
    /// No try succeeded.
    Download(Failure),
}

/// Why one try ended.
enum TryError {
    Writer,
    /// Another try may succeed.
    Again(String),
    /// It will not.
    Final(Failure),
}

async fn download(image: &Image, capacity: u64, pieces: &mpsc::Sender<Piece>, progress: &Progress) -> Result<(), Broken> {
    let mut have = 0_u64;
    let mut reasons = Vec::new();
    for (number, url) in image.urls.iter().cycle().take(TRIES.max(image.urls.len())).enumerate() {
        if number > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match fetch(image, url, capacity, pieces, progress, &mut have).await {
            Ok(()) => return pieces.send(Piece::End).await.map_err(|_| Broken::Writer),
            Err(TryError::Writer) => return Err(Broken::Writer),
            Err(TryError::Final(failure)) => return Err(Broken::Download(failure)),
            Err(TryError::Again(why)) => {
                tracing::warn!(image = image.name, try = number + 1, have_bytes = have, why, "download broke off");
                reasons.push(why);
            }
        }
    }
    reasons.dedup();
    Err(Broken::Download(Failure::download(&image.name, reasons.join("; then "))))
}

/// One try; goes on at byte `have` if the server can.
async fn fetch(
    image: &Image,
    url: &str,
    capacity: u64,
    pieces: &mpsc::Sender<Piece>,
    progress: &Progress,
    have: &mut u64,
) -> Result<(), TryError> {
    let mut request = Request::get(url);
    if *have > 0 {
        request = request.header("range", &format!("bytes={have}-"));
    }
    let client = Client::plain().with_deadline(SILENCE);
    let (status, headers, mut body) = client.stream(request).await.map_err(|error| TryError::Again(chain(&error)))?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let resumes = status == 206 && header("content-range").is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
    if *have > 0 && !resumes {
        *have = 0;
        pieces.send(Piece::Restart).await.map_err(|_| TryError::Writer)?;
    }
    match status {
        200 => {}
        206 if resumes => {}
        // A server may refuse the range only; without one it may serve.
        206 | 416 => return Err(TryError::Again(format!("the server cannot resume: HTTP status {status}"))),
        400..=499 if status != 408 && status != 429 && image.urls.len() == 1 => {
            return Err(TryError::Final(Failure::download(&image.name, format!("HTTP status {status}"))));
        }
        _ => return Err(TryError::Again(format!("HTTP status {status}"))),
    }
    let announced = header("content-length").and_then(|value| value.parse::<u64>().ok()).map(|rest| have.saturating_add(rest));
    if let Some(total) = announced
        && image.packing == Packing::No
    {
        fits(total, capacity, &image.name).map_err(TryError::Final)?;
        progress.set_total(total);
    }
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| TryError::Again(chain(&error)))?;
        *have += length(&piece);
        pieces.send(Piece::Data(piece)).await.map_err(|_| TryError::Writer)?;
    }
    if announced.is_some_and(|total| total != *have) {
        return Err(TryError::Again(format!("the server closed after {have} bytes")));
    }
    Ok(())
}

/// The disk's side: collects whole blocks, hashes and writes them, then proves what is there.
fn consume(disk: &Disk, image: &Image, mut queue: mpsc::Receiver<Piece>, progress: &Progress) -> Result<Written, Failure> {
    let failed = |error: DiskError| Failure::write(chain(&error));
    // Neither an old partition table nor its backup may outlive the first byte of a new image.
    disk.zero(0, BLOCK_BYTES, None).map_err(failed)?;
    disk.zero(disk.size() - BLOCK_BYTES, BLOCK_BYTES, None).map_err(failed)?;
    let (head, raw, came) = loop {
        let mut sink = Sink { disk, hasher: image.algorithm.hasher(), head: None, block: Vec::with_capacity(BLOCK), at: 0 };
        let mut source = Source::new(&mut queue, image.algorithm.hasher());
        let poured = source.pour(image.packing, |bytes| {
            let end = sink.at + length(&sink.block) + length(bytes);
            fits(end, disk.size(), &image.name)?;
            sink.take(bytes).map_err(failed)?;
            progress.set(sink.at);
            Ok(())
        });
        match poured {
            Ok(()) => {
                let head = sink.end().map_err(failed)?;
                let raw = Stream { bytes: sink.at, digest: hex(&sink.hasher.finalize()) };
                break (head, raw, Stream { bytes: source.bytes, digest: hex(&source.hasher.finalize()) });
            }
            Err(UnpackError::Stopped(Stop::Restart)) => {}
            Err(UnpackError::Stopped(_)) => return Err(Failure::download(&image.name, "it broke off")),
            Err(UnpackError::Packing(error)) => return Err(Failure::image(format!("image {} cannot be unpacked: {error}", image.name))),
            Err(UnpackError::Taker(failure)) => return Err(failure),
        }
    };
    progress.set(raw.bytes);
    if let Some(promised) = image.size.filter(|size| *size != came.bytes && *size != raw.bytes) {
        return Err(Failure::checksum(format!("image {} has {} bytes, {promised} were promised", image.name, came.bytes)));
    }
    // A packed image may be described as it is stored or as it is meant to be on the disk.
    if image.digest != came.digest && image.digest != raw.digest {
        let text = format!("image {}: {} is {}, {} was promised", image.name, image.algorithm.name(), came.digest, image.digest);
        return Err(Failure::checksum(text));
    }
    disk.write_at(0, &head).map_err(failed)?;
    let proven = prove(disk, image.algorithm, &raw, progress);
    if proven.is_err() {
        // Best effort: the reason that matters is the one already found.
        if let Err(error) = disk.zero(0, BLOCK_BYTES, None).and_then(|()| disk.settle()) {
            tracing::error!(error = chain(&error), "could not take away the partition table of an image that is not right");
        }
    }
    proven
}

/// What came, or what was written.
struct Stream {
    bytes: u64,
    digest: String,
}

fn prove(disk: &Disk, algorithm: Algorithm, written: &Stream, progress: &Progress) -> Result<Written, Failure> {
    let failed = |error: DiskError| Failure::write(chain(&error));
    let Stream { bytes, digest: expected } = written;
    disk.settle().map_err(failed)?;
    progress.begin("verify", *bytes);
    let mut hasher = algorithm.hasher();
    disk.scan(0, *bytes, |at, piece| {
        hasher.update(piece);
        progress.set(at + length(piece));
        Ok(())
    })
    .map_err(failed)?;
    let digest = hex(&hasher.finalize());
    if digest != *expected {
        let text = format!(
            "{} does not give back what was written: {} of {bytes} bytes is {digest}, {expected} was written",
            disk.path().display(),
            algorithm.name(),
        );
        return Err(Failure::checksum(text));
    }
    Ok(Written { bytes: *bytes, verified: format!("{}:{digest}", algorithm.name()) })
}

struct Sink<'a> {
    disk: &'a Disk,
    hasher: Box<dyn DynDigest + Send>,
    /// The first block, kept back.
    head: Option<Vec<u8>>,
    block: Vec<u8>,
    /// Bytes that left `block`.
    at: u64,
}

impl Sink<'_> {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), DiskError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.hasher.update(&self.block);
        let bytes = length(&self.block);
        if self.head.is_none() {
            self.head = Some(std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK)));
        } else {
            self.disk.write_at(self.at, &self.block)?;
            self.block.clear();
        }
        self.at += bytes;
        Ok(())
    }

    /// Writes what is left and gives the block kept back.
    fn end(&mut self) -> Result<Vec<u8>, DiskError> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        Ok(self.head.take().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::disk::tests::blank;
    use super::*;

    fn image_of(bytes: &[u8]) -> Image {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(bytes);
        Image {
            name: "i".into(),
            urls: vec!["http://127.0.0.1/".into()],
            algorithm: Algorithm::Sha256,
            digest: hex(&hasher.finalize()),
            size: None,
            packing: Packing::No,
        }
    }

    fn run(disk: &Disk, image: &Image, pieces: Vec<Piece>) -> Result<Written, Failure> {
        let (sender, queue) = mpsc::channel(100);
        for piece in pieces {
            assert!(sender.try_send(piece).is_ok());
        }
        drop(sender);
        consume(disk, image, queue, &Progress::default())
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    fn split(bytes: &[u8], size: usize) -> Vec<Piece> {
        bytes.chunks(size).map(|it| Piece::Data(Bytes::copy_from_slice(it))).collect()
    }

    #[test]
    fn pieces_of_any_size_arrive_whole() {
        for len in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
            let file = blank(8);
            let disk = Disk::open(file.path()).unwrap();
            let bytes = pattern(len);
            let mut pieces = split(&bytes, 300_001);
            pieces.push(Piece::End);
            let written = run(&disk, &image_of(&bytes), pieces).unwrap();
            assert_eq!(written.bytes, length(&bytes));
            assert!(written.verified.starts_with("sha256:"));
            disk.compare(0, &bytes).unwrap();
        }
    }

    #[test]
    fn a_packed_image_is_written_unpacked_and_known_by_either_digest() {
        let raw = pattern(3 * BLOCK + 77);
        let sides = [(Packing::Zstd, super::super::unpack::tests::zstd(&raw)), (Packing::ByMagic, super::super::unpack::tests::gzip(&raw))];
        for (packing, packed) in sides {
            for described in [&raw, &packed] {
                let file = blank(8);
                let disk = Disk::open(file.path()).unwrap();
                let mut pieces = split(&packed[..packed.len() / 2], 4_001);
                pieces.push(Piece::Restart);
                pieces.extend(split(&packed, 4_001));
                pieces.push(Piece::End);
                let mut image = image_of(described);
                image.packing = packing;
                image.size = Some(length(described));
                let written = run(&disk, &image, pieces).unwrap();
                assert_eq!((written.bytes, written.verified), (length(&raw), format!("sha256:{}", image_of(&raw).digest)));
                disk.compare(0, &raw).unwrap();
            }
        }
    }

    #[test]
    fn a_packed_image_that_would_not_fit_stops_there() {
        let mut image = image_of(b"");
        image.packing = Packing::Zstd;
        let file = blank(4);
        let disk = Disk::open(file.path()).unwrap();
        let mut pieces = split(&super::super::unpack::tests::zstd(&vec![0; 64 << 20]), 1 << 20);
        pieces.push(Piece::End);
        assert_eq!(run(&disk, &image, pieces).unwrap_err().kind, "InvalidImage");
    }

    #[test]
    fn starting_over_forgets_what_came_before() {
        let file = blank(8);
        let disk = Disk::open(file.path()).unwrap();
        let bytes = pattern(2 * BLOCK + 5);
        let mut pieces = split(&[9; 3 * BLOCK], BLOCK);
        pieces.push(Piece::Restart);
        pieces.extend(split(&bytes, BLOCK / 2));
        pieces.push(Piece::End);
        run(&disk, &image_of(&bytes), pieces).unwrap();
        disk.compare(0, &bytes).unwrap();
    }

    #[test]
    fn a_wrong_or_broken_or_too_large_image_leaves_nothing_to_boot() {
        let bytes = pattern(3 * BLOCK);
        let mut wrong = bytes.clone();
        wrong[2 * BLOCK] ^= 1;
        let mut corrupt = split(&wrong, BLOCK);
        corrupt.push(Piece::End);
        let mut short = image_of(&bytes);
        short.size = Some(5);
        let mut whole = split(&bytes, BLOCK);
        whole.push(Piece::End);
        let cases = [
            (corrupt, image_of(&bytes), "ImageChecksumError"),
            (split(&bytes, BLOCK), image_of(&bytes), "ImageDownloadError"),
            (split(&pattern(5 * BLOCK), BLOCK), image_of(&bytes), "InvalidImage"),
            (whole, short, "ImageChecksumError"),
        ];
        for (pieces, image, kind) in cases {
            let file = blank(4);
            let disk = Disk::open(file.path()).unwrap();
            disk.write_at(0, &pattern(4 * BLOCK)).unwrap();
            assert_eq!(run(&disk, &image, pieces).unwrap_err().kind, kind);
            disk.verify_zero_range(0, 1 << 20).unwrap();
            disk.verify_zero_range(3 << 20, 1 << 20).unwrap_or_else(|error| assert_eq!(kind, "InvalidImage", "{error}"));
        }
    }

    #[test]
    fn a_disk_that_gives_back_something_else_is_found_out() {
        let file = blank(8);
        let disk = Disk::open(file.path()).unwrap();
        let bytes = pattern(2 * BLOCK + 9);
        let image = image_of(&bytes);
        disk.write_at(0, &bytes).unwrap();
        let written = Stream { bytes: length(&bytes), digest: image.digest };
        assert_eq!(prove(&disk, image.algorithm, &written, &Progress::default()).unwrap().bytes, length(&bytes));
        // A byte that the storage lost, behind our back.
        disk.write_at(2 << 20, &[0xff]).unwrap();
        let failure = prove(&disk, image.algorithm, &written, &Progress::default()).unwrap_err();
        assert_eq!(failure.kind, "ImageChecksumError");
        assert!(failure.details.contains("does not give back what was written"), "{failure}");
    }

    #[test]
    fn descriptions_that_cannot_be_verified_or_written_are_refused() {
        let check = |value: serde_json::Value| serde_json::from_value::<ImageInfo>(value).unwrap().check();
        let url = serde_json::json!(["http://127.0.0.1/i"]);
        let ok = check(serde_json::json!({"urls": url, "disk_format": "raw", "checksum": "0".repeat(32)})).unwrap();
        assert_eq!(ok.algorithm, Algorithm::Md5);
        let ok = check(serde_json::json!({"urls": url, "disk_format": "raw", "os_hash_algo": "SHA512", "os_hash_value": "A".repeat(128)}));
        assert_eq!(ok.unwrap().digest, "a".repeat(128));
        for bad in [
            serde_json::json!({"urls": url, "disk_format": "qcow2", "checksum": "0".repeat(32)}),
            serde_json::json!({"urls": url, "disk_format": "raw", "compression": "lzma", "checksum": "0".repeat(32)}),
            serde_json::json!({"urls": [], "disk_format": "raw", "checksum": "0".repeat(32)}),
            serde_json::json!({"urls": url, "disk_format": "raw"}),
            serde_json::json!({"urls": url, "disk_format": "raw", "os_hash_algo": "crc", "os_hash_value": "00"}),
            serde_json::json!({"urls": url, "disk_format": "raw", "os_hash_algo": "md5", "os_hash_value": "zz".repeat(16)}),
            serde_json::json!({"urls": url, "disk_format": "raw", "checksum": "http://127.0.0.1/sums"}),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }
}
