//! The image between network and disk: pieces as they come, unpacked on the way where they are packed.

use std::io::{self, BufRead as _, BufReader, Read};

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use sha2::digest::DynDigest;
use tokio::sync::mpsc;

/// What is read from the network at a time when it has to be unpacked, in bytes.
const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How an image is packed for transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all: what comes is what is written.
    No,
    /// gzip, also of several members.
    Gzip,
    /// Zstandard, also of several frames.
    Zstd,
    /// Somehow; its first bytes say how.
    ByMagic,
}

/// What the downloader sends.
pub enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// The server cannot go on in the middle: all over again.
    Restart,
    /// That was all. Without it the download broke off.
    End,
}

/// Why no more pieces come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// That was all.
    End,
    /// The same from its beginning.
    Restart,
    /// The download broke off.
    Broken,
}

/// Why bytes could not be handed on.
#[derive(Debug)]
pub enum UnpackError<E> {
    /// The pieces stopped early: [`Stop::Restart`] or [`Stop::Broken`].
    Stopped(Stop),
    /// What came is not packed as it should be.
    Packing(io::Error),
    /// The taker refused.
    Taker(E),
}

/// The pieces of one download.
pub struct Source<'a> {
    queue: &'a mut mpsc::Receiver<Piece>,
    rest: Bytes,
    stop: Option<Stop>,
    /// Digest of what came, as it came.
    pub hasher: Box<dyn DynDigest + Send>,
    /// Bytes that came.
    pub bytes: u64,
}

impl<'a> Source<'a> {
    /// Reads from `queue`, hashing what comes.
    pub fn new(queue: &'a mut mpsc::Receiver<Piece>, hasher: Box<dyn DynDigest + Send>) -> Self {
        Self { queue, rest: Bytes::new(), stop: None, hasher, bytes: 0 }
    }

    /// The next bytes; `None` when [`Source::stop`] says why there are none.
    fn next(&mut self) -> Option<Bytes> {
        if !self.rest.is_empty() {
            return Some(std::mem::take(&mut self.rest));
        }
        if self.stop.is_some() {
            return None;
        }
        match self.queue.blocking_recv() {
            Some(Piece::Data(bytes)) => {
                self.hasher.update(&bytes);
                self.bytes = self.bytes.saturating_add(super::disk::length(&bytes));
                Some(bytes)
            }
            other => {
                self.stop = Some(match other {
                    Some(Piece::End) => Stop::End,
                    Some(Piece::Restart) => Stop::Restart,
                    _ => Stop::Broken,
                });
                None
            }
        }
    }

    /// Why no more comes, once that is so.
    fn early(&self) -> Option<Stop> {
        self.stop.filter(|stop| *stop != Stop::End)
    }

    /// Looks at the first bytes.
    fn magic(&mut self) -> Packing {
        let mut first = Vec::new();
        while first.len() < ZSTD.len() {
            let Some(bytes) = self.next() else { break };
            first.extend_from_slice(&bytes);
        }
        let packing = match first.as_slice() {
            it if it.starts_with(&GZIP) => Packing::Gzip,
            it if it.starts_with(&ZSTD) => Packing::Zstd,
            _ => Packing::No,
        };
        self.rest = first.into();
        packing
    }

    /// Hands everything on to `take`, unpacked.
    ///
    /// # Errors
    /// [`UnpackError`].
    pub fn pour<E>(&mut self, packing: Packing, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), UnpackError<E>> {
        let packing = if packing == Packing::ByMagic { self.magic() } else { packing };
        let outcome = match packing {
            Packing::No | Packing::ByMagic => Ok(()),
            Packing::Gzip => drain(&mut MultiGzDecoder::new(&mut *self), &mut take),
            Packing::Zstd => frames(self, &mut take),
        };
        // Whatever the unpacker made of it: an early end is the cause, not the symptom.
        match outcome {
            Err(UnpackError::Packing(error)) => return Err(self.early().map_or(UnpackError::Packing(error), UnpackError::Stopped)),
            other => other?,
        }
        while let Some(bytes) = self.next() {
            if packing == Packing::No {
                take(&bytes).map_err(UnpackError::Taker)?;
            }
        }
        self.early().map_or(Ok(()), |stop| Err(UnpackError::Stopped(stop)))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut bytes) = self.next() else {
            return self.early().map_or(Ok(0), |_| Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let count = bytes.len().min(buffer.len());
        if let Some(place) = buffer.get_mut(..count) {
            bytes.copy_to_slice(place);
        }
        self.rest = bytes;
        Ok(count)
    }
}

fn drain<E>(from: &mut impl Read, take: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), UnpackError<E>> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).map_err(UnpackError::Packing)?;
        let Some(bytes) = buffer.get(..count).filter(|it| !it.is_empty()) else { return Ok(()) };
        take(bytes).map_err(UnpackError::Taker)?;
    }
}

/// A file may hold several frames, as parallel compressors write it, and frames that are to be skipped.
fn frames<E>(source: &mut Source<'_>, take: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), UnpackError<E>> {
    let mut from = BufReader::with_capacity(BUFFER, source);
    while !from.fill_buf().map_err(UnpackError::Packing)?.is_empty() {
        match StreamingDecoder::new(&mut from) {
            Ok(mut decoder) => drain(&mut decoder, take)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                io::copy(&mut from.by_ref().take(u64::from(length)), &mut io::sink()).map_err(UnpackError::Packing)?;
            }
            Err(error) => return Err(UnpackError::Packing(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))),
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use std::io::Write as _;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use sha2::Sha256;

    use super::*;

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    pub fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn pour(packing: Packing, sent: Vec<Piece>) -> (Result<(), UnpackError<()>>, Vec<u8>, u64) {
        let (sender, mut queue) = mpsc::channel(10_000);
        for piece in sent {
            assert!(sender.try_send(piece).is_ok());
        }
        drop(sender);
        let mut source = Source::new(&mut queue, Box::<Sha256>::default());
        let mut taken = Vec::new();
        let outcome = source.pour(packing, |bytes| {
            taken.extend_from_slice(bytes);
            Ok(())
        });
        (outcome, taken, source.bytes)
    }

    fn pieces(bytes: &[u8], size: usize) -> Vec<Piece> {
        let mut all: Vec<Piece> = bytes.chunks(size).map(|it| Piece::Data(Bytes::copy_from_slice(it))).collect();
        all.push(Piece::End);
        all
    }

    fn sample() -> Vec<u8> {
        (0..700_000_u32).map(|at| u8::try_from(at * 7 % 251).unwrap_or(0) ^ u8::try_from(at >> 16).unwrap_or(0)).collect()
    }

    #[test]
    fn packed_bytes_come_out_as_they_were() {
        let raw = sample();
        let twice = [raw.clone(), raw.clone()].concat();
        let skipped = [vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9], zstd(&raw), zstd(&raw)].concat();
        for (packing, packed, expected) in [
            (Packing::No, raw.clone(), &raw),
            (Packing::ByMagic, raw.clone(), &raw),
            (Packing::Gzip, gzip(&raw), &raw),
            (Packing::ByMagic, [gzip(&raw), gzip(&raw)].concat(), &twice),
            (Packing::Zstd, skipped, &twice),
            (Packing::ByMagic, zstd(&raw), &raw),
        ] {
            for size in [1_001, 100_000, 10_000_000] {
                let (outcome, taken, came) = pour(packing, pieces(&packed, size));
                assert!(outcome.is_ok(), "{packing:?} {size}: {outcome:?}");
                assert!(taken == *expected, "{packing:?} {size}");
                assert_eq!(came, super::super::disk::length(&packed));
            }
        }
    }

    #[test]
    fn an_early_end_is_told_from_bytes_that_are_no_archive() {
        let raw = sample();
        for (packing, packed) in [(Packing::Gzip, gzip(&raw)), (Packing::Zstd, zstd(&raw)), (Packing::No, raw.clone())] {
            let half = &packed[..packed.len() / 2];
            let mut broken = pieces(half, 5_000);
            broken.pop();
            assert!(matches!(pour(packing, broken).0, Err(UnpackError::Stopped(Stop::Broken))), "{packing:?}");
            let mut again = pieces(half, 5_000);
            again.pop();
            again.push(Piece::Restart);
            assert!(matches!(pour(packing, again).0, Err(UnpackError::Stopped(Stop::Restart))), "{packing:?}");
            if packing != Packing::No {
                assert!(
                    matches!(pour(packing, pieces(half, 5_000)).0, Err(UnpackError::Packing(_))),
                    "{packing:?}: cut short by its maker"
                );
                assert!(matches!(pour(packing, pieces(&raw, 5_000)).0, Err(UnpackError::Packing(_))), "{packing:?}: not packed at all");
            }
        }
    }
}
