//! Where messages end in a stream (RFC 6242 section 4).

use bytes::{Buf as _, Bytes, BytesMut};

/// The end of a message until both sides speak base 1.1.
const END: &[u8] = b"]]>]]>";
/// How long a message may be.
const LONGEST: usize = 64 << 20;

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    buffer: BytesMut,
    message: BytesMut,
    /// How much of `buffer` was searched for an end.
    searched: usize,
    /// Whether messages come in chunks (base 1.1).
    pub is_chunked: bool,
}

impl Deframer {
    /// Takes what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// The stream is not framed as it should be, the message is too long, or no UTF-8.
    pub(super) fn next(&mut self) -> Result<Option<String>, String> {
        if self.buffer.len().max(self.message.len()) > LONGEST {
            return Err("a message is longer than any should be".into());
        }
        let message = if self.is_chunked { self.chunked()? } else { self.delimited() };
        message.map(|it| String::from_utf8(it.into()).map_err(|_| "a message is not in UTF-8".to_owned())).transpose()
    }

    fn delimited(&mut self) -> Option<Bytes> {
        let from = self.searched.saturating_sub(END.len());
        let found = self.buffer.get(from..)?.windows(END.len()).position(|it| it == END);
        self.searched = self.buffer.len();
        let message = self.buffer.split_to(from + found?).freeze();
        self.buffer.advance(END.len());
        self.searched = 0;
        Some(message)
    }

    fn chunked(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            // `\n#LENGTH\n` before a chunk, `\n##\n` after the last.
            let head: &[u8] = self.buffer.get(..self.buffer.len().min(13)).unwrap_or_default();
            let Some(rest) = head.strip_prefix(b"\n#") else {
                return if b"\n#".starts_with(head) { Ok(None) } else { Err("a chunk begins with something else".into()) };
            };
            let Some(digits) = rest.iter().position(|it| *it == b'\n') else {
                return if rest.len() < 11 { Ok(None) } else { Err("a chunk has no length".into()) };
            };
            let length = rest.get(..digits).unwrap_or_default();
            if length == b"#" {
                self.buffer.advance(4);
                return Ok(Some(self.message.split().freeze()));
            }
            let length: usize = std::str::from_utf8(length)
                .ok()
                .filter(|it| !it.starts_with('0') && it.bytes().all(|it| it.is_ascii_digit()))
                .and_then(|it| it.parse().ok())
                .ok_or("a chunk has no length")?;
            if self.message.len().saturating_add(length) > LONGEST {
                return Err("a message is longer than any should be".into());
            }
            let begin = digits + 3;
            if self.buffer.len() < begin + length {
                return Ok(None);
            }
            self.buffer.advance(begin);
            let chunk = self.buffer.split_to(length);
            self.message.extend_from_slice(&chunk);
        }
    }
}

/// The message with its frame.
pub(super) fn frame(message: &str, is_chunked: bool) -> Vec<u8> {
    if is_chunked { format!("\n#{}\n{message}\n##\n", message.len()).into_bytes() } else { [message.as_bytes(), END].concat() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(deframer: &mut Deframer) -> Vec<String> {
        std::iter::from_fn(|| deframer.next().unwrap()).collect()
    }

    #[test]
    fn both_framings() {
        let mut deframer = Deframer::default();
        deframer.push(b"<hello/>]]>]]>\n#4\n<rpc\n#3\n/>\n");
        assert_eq!(all(&mut deframer), ["<hello/>"]);
        deframer.is_chunked = true;
        assert_eq!(all(&mut deframer), [""; 0]);
        deframer.push(b"\n##\n");
        assert_eq!(all(&mut deframer), ["<rpc/>\n"]);
    }

    #[test]
    fn what_is_no_frame() {
        for bad in ["<rpc/>", "\n#0\nx", "\n#x\n", "\n#99999999999\n", "\n#4294967295\n", "\n#-1\n", "\n#\n"] {
            let mut deframer = Deframer { is_chunked: true, ..Deframer::default() };
            deframer.push(bad.as_bytes());
            assert!(deframer.next().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_messages_in_any_pieces(
            messages in proptest::collection::vec("[a-z<>/\\]\n#é]{1,40}", 1..6), is_chunked: bool, piece in 1usize..9,
        ) {
            let messages: Vec<String> = messages.into_iter().filter(|it| is_chunked || !it.contains("]]>")).collect();
            let stream: Vec<u8> = messages.iter().flat_map(|it| frame(it, is_chunked)).collect();
            let mut deframer = Deframer { is_chunked, ..Deframer::default() };
            let mut out = Vec::new();
            for piece in stream.chunks(piece) {
                deframer.push(piece);
                out.extend(all(&mut deframer));
            }
            prop_assert!(is_chunked || messages.iter().any(|it| it.ends_with(']')) || out == messages);
            prop_assert!(!is_chunked || out == messages);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_chunked: bool) {
            let mut deframer = Deframer { is_chunked, ..Deframer::default() };
            deframer.push(&bytes);
            while let Ok(Some(_)) = deframer.next() {}
        }
    }
}
