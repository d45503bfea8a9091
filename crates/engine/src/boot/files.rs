//! Files sent over HTTP in pieces, whole or in part (RFC 9110, section 14), in memory that does not grow with the file.

use std::io::SeekFrom;
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use media::iso9660::{Content, Image};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// What is read at once, in bytes: with many readers of one image this, not the image, is what each costs.
const PIECE: usize = 256 << 10;
/// How soon to ask again for what is not there, in seconds.
const AGAIN: &str = "10";

/// Which part of `size` bytes is asked for; `None`: all of it. More than one range at once is answered with all of it, as allowed.
///
/// # Errors
/// The part lies outside.
fn range(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some(text) = headers.get("range").and_then(|it| it.to_str().ok()).and_then(|it| it.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = text.split_once('-') else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Some(first), None) if last.trim().is_empty() => (first, size.saturating_sub(1)),
        (None, Some(count)) if first.trim().is_empty() && count > 0 => (size.saturating_sub(count), size.saturating_sub(1)),
        _ => return Ok(None),
    };
    if first < size { Ok(Some((first, last - first + 1))) } else { Err(()) }
}

/// Not now: whoever asks should ask again.
pub(super) fn later() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(http::header::RETRY_AFTER, AGAIN)]).into_response()
}

/// The file, or the part of it that is asked for; 503 if it is not there: another replica may have it, and it may come.
pub(super) async fn send(path: &Path, headers: &HeaderMap) -> Response {
    let size = match tokio::fs::metadata(path).await {
        Ok(it) => it.len(),
        Err(error) => {
            tracing::warn!(%error, "the data of an image is not there");
            return later();
        }
    };
    send_image(Image { parts: vec![Content::File { path: path.to_owned(), len: size }], len: size }, headers, "application/octet-stream")
}

/// An image that is put together while it is sent, or the part of it that is asked for.
pub(super) fn send_image(image: Image, headers: &HeaderMap, kind: &'static str) -> Response {
    let size = image.len;
    let (status, from, len) = match range(headers, size) {
        Ok(None) => (StatusCode::OK, 0, size),
        Ok(Some((from, len))) => (StatusCode::PARTIAL_CONTENT, from, len),
        Err(()) => return (StatusCode::RANGE_NOT_SATISFIABLE, [("content-range", format!("bytes */{size}"))]).into_response(),
    };
    let pieces = image.slice(from, len).into_iter();
    let reader = Reader { pieces: pieces.collect(), open: None, at: 0 };
    let stream = futures_util::stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, std::io::Error>(reader.next().await?.map(|it| (it, reader)))
    });
    let mut response = (
        status,
        [("content-type", kind.to_owned()), ("content-length", len.to_string()), ("accept-ranges", "bytes".to_owned())],
        Body::from_stream(stream),
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {from}-{}/{size}", from + len - 1).parse()
    {
        response.headers_mut().insert("content-range", value);
    }
    response
}

/// Where in an image the sending is.
struct Reader {
    /// What is still to come: its content, where to begin in it, how much of it, how many zeros after it.
    pieces: std::collections::VecDeque<(Content, u64, u64, u64)>,
    /// The file being read.
    open: Option<tokio::fs::File>,
    /// How much of the first piece was sent.
    at: u64,
}

impl Reader {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            let Some((content, from, own, zeros)) = self.pieces.front() else { return Ok(None) };
            let (from, own, zeros) = (*from, *own, *zeros);
            if self.at >= own + zeros {
                self.pieces.pop_front();
                self.open = None;
                self.at = 0;
                continue;
            }
            let is_zero = self.at >= own;
            let left = if is_zero { own + zeros - self.at } else { own - self.at };
            let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let piece = match content {
                _ if is_zero => Bytes::from(vec![0; want]),
                Content::Bytes(bytes) => {
                    let first = usize::try_from(from + self.at).unwrap_or(usize::MAX);
                    Bytes::copy_from_slice(bytes.get(first..first.saturating_add(want)).unwrap_or_default())
                }
                Content::File { path, .. } => {
                    let file = match &mut self.open {
                        Some(file) => file,
                        closed => {
                            let mut file = tokio::fs::File::open(path).await?;
                            file.seek(SeekFrom::Start(from)).await?;
                            closed.insert(file)
                        }
                    };
                    let mut piece = vec![0; want];
                    let read = file.read(&mut piece).await?;
                    piece.truncate(read);
                    Bytes::from(piece)
                }
            };
            if piece.is_empty() {
                // It has become shorter: what was promised cannot be sent.
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.at += piece.len() as u64;
            return Ok(Some(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::RANGE, text.parse().unwrap())])
    }

    #[test]
    fn ranges() {
        assert_eq!(range(&HeaderMap::new(), 10), Ok(None));
        for (text, is) in [
            ("bytes=0-3", Ok(Some((0, 4)))),
            ("bytes=5-", Ok(Some((5, 5)))),
            ("bytes=-3", Ok(Some((7, 3)))),
            ("bytes=2-99", Ok(Some((2, 8)))),
            ("bytes=10-", Err(())),
            ("bytes=3-2", Ok(None)),
            ("bytes=x", Ok(None)),
            ("lines=0-3", Ok(None)),
        ] {
            assert_eq!(range(&asking(text), 10), is, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_to_be_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let answer = send(&path, &HeaderMap::new()).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(http::header::RETRY_AFTER));
        std::fs::write(&path, b"x").unwrap();
        assert_eq!(send(&path, &HeaderMap::new()).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn parts_of_what_is_put_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        std::fs::write(&path, b"kernel").unwrap();
        let files = vec![("a".to_owned(), Content::Bytes(b"head".to_vec())), ("k".to_owned(), Content::File { path, len: 6 })];
        let image = media::iso9660::lay("X", files, None).unwrap();
        let whole = axum::body::to_bytes(send_image(image.clone(), &HeaderMap::new(), "x").into_body(), 1 << 20).await.unwrap();
        assert_eq!(whole.len() as u64, image.len);
        assert!(whole.windows(6).any(|it| it == b"kernel"));
        let answer = send_image(image.clone(), &asking("bytes=100-40999"), "x");
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        let part = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        assert_eq!(part, whole.slice(100..41_000));
        assert_eq!(send_image(image, &asking("bytes=99999999-"), "x").status(), StatusCode::RANGE_NOT_SATISFIABLE);
    }
}
