//! Messages on a stream: ended by `]]>]]>` until both sides said that they can do chunks (RFC 6242, section 4).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const END: &[u8] = b"]]>]]>";
/// The longest request.
const MAX_MESSAGE: usize = 16 << 20;

/// The bytes that were read and not yet taken.
#[derive(Default)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
}

fn broken(says: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, says)
}

impl Incoming {
    async fn more(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        if self.buffer.len() > MAX_MESSAGE {
            return Err(broken("a message is too long"));
        }
        let mut bytes = [0; 8192];
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend(bytes.iter().take(count));
        Ok(())
    }

    /// The next message.
    pub(super) async fn message(&mut self, stream: &mut (impl AsyncRead + Unpin), chunked: bool) -> io::Result<String> {
        let bytes = if chunked { self.chunks(stream).await? } else { self.marked(stream).await? };
        String::from_utf8(bytes).map_err(|_no_text| broken("a message is not UTF-8"))
    }

    async fn marked(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(END.len()).position(|it| it == END) {
                let rest = self.buffer.split_off(at + END.len());
                let mut message = std::mem::replace(&mut self.buffer, rest);
                message.truncate(at);
                return Ok(message);
            }
            self.more(stream).await?;
        }
    }

    async fn chunks(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let header = loop {
                // A chunk begins with a line end, `#`, and its length or another `#`.
                let end = self.buffer.iter().skip(2).position(|it| *it == b'\n').map(|at| at + 2);
                match (self.buffer.get(..2), end) {
                    (Some(b"\n#"), Some(end)) => break end,
                    (Some(b"\n#"), None) if self.buffer.len() < 16 => {}
                    (None, _) => {}
                    _ => return Err(broken("a chunk does not begin as one")),
                }
                self.more(stream).await?;
            };
            let size = self.buffer.get(2..header).map(<[u8]>::to_vec).unwrap_or_default();
            self.buffer.drain(..=header);
            if size == b"#" {
                return Ok(message);
            }
            let size: usize =
                std::str::from_utf8(&size).ok().and_then(|it| it.parse().ok()).ok_or_else(|| broken("a chunk has no length"))?;
            if size == 0 || message.len().saturating_add(size) > MAX_MESSAGE {
                return Err(broken("a chunk has a wrong length"));
            }
            while self.buffer.len() < size {
                self.more(stream).await?;
            }
            message.extend(self.buffer.drain(..size));
        }
    }
}

/// Sends a message.
pub(super) async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str, chunked: bool) -> io::Result<()> {
    if chunked {
        stream.write_all(format!("\n#{}\n", text.len()).as_bytes()).await?;
        stream.write_all(text.as_bytes()).await?;
        stream.write_all(b"\n##\n").await?;
    } else {
        stream.write_all(text.as_bytes()).await?;
        stream.write_all(END).await?;
    }
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_however_they_arrive() {
        let (mut one, mut two) = tokio::io::duplex(3);
        let sender = tokio::spawn(async move {
            send(&mut one, "<a/>", false).await?;
            send(&mut one, "<b>]]>]]></b>", true).await?;
            one.write_all(b"\n#2\n<c\n#2\n/>\n##\n\n#x\n").await
        });
        let mut incoming = Incoming::default();
        assert_eq!(incoming.message(&mut two, false).await.expect("a"), "<a/>");
        assert_eq!(incoming.message(&mut two, true).await.expect("b"), "<b>]]>]]></b>");
        assert_eq!(incoming.message(&mut two, true).await.expect("c"), "<c/>");
        assert!(incoming.message(&mut two, true).await.is_err());
        sender.await.expect("no panic").expect("sent");
    }
}
