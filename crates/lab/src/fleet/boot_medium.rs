//! What a ramdisk learns from a virtual medium: the kernel's command line, found by its words wherever the image has it in clear.

use anyhow::{Context as _, ensure};
use net::http::{Client, Request};

/// How much is read of an image, in bytes.
const MOST: u64 = 4 << 30;
/// How long a word can be, in bytes.
const LONGEST: usize = 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// `ipa-api-url`
    pub(crate) api: Option<String>,
    /// `ipa-agent-token`
    pub(crate) token: Option<String>,
    /// `ipa-node-uuid`
    pub(crate) node: Option<String>,
}

impl Known {
    fn slots(&mut self) -> [(&'static [u8], &mut Option<String>); 3] {
        [(b"ipa-api-url=", &mut self.api), (b"ipa-agent-token=", &mut self.token), (b"ipa-node-uuid=", &mut self.node)]
    }

    /// Looks through a piece of the image; words that reach its end are left for the next look.
    fn look(&mut self, window: &[u8]) {
        for (word, slot) in self.slots() {
            if slot.is_some() {
                continue;
            }
            let Some(at) = window.windows(word.len()).position(|it| it == word) else { continue };
            let rest = window.get(at + word.len()..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|it| !it.is_ascii_graphic() || *it == b'"')
                && let Ok(text) = std::str::from_utf8(rest.get(..end).unwrap_or_default())
            {
                *slot = Some(text.to_owned());
            }
        }
    }
}

/// Fetches an image and looks through it.
///
/// # Errors
/// It cannot be fetched, or names no API.
pub(crate) async fn read(client: &Client, url: &str) -> anyhow::Result<Known> {
    let (status, _, mut body) = client.stream(Request::get(url)).await.context("fetching it")?;
    ensure!(status == 200, "its source answered {status}");
    let (mut known, mut window, mut read) = (Known::default(), Vec::new(), 0_u64);
    while let Some(piece) = body.next().await {
        let piece = piece.context("fetching it")?;
        read += u64::try_from(piece.len()).unwrap_or_default();
        ensure!(read <= MOST, "it is larger than {MOST} bytes");
        window.extend_from_slice(&piece);
        known.look(&window);
        let surplus = window.len().saturating_sub(LONGEST);
        window.drain(..surplus);
    }
    window.push(0);
    known.look(&window);
    ensure!(known.api.is_some(), "no ipa-api-url is in it");
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_they_are() {
        let mut known = Known::default();
        known.look(b"\0\0linux /k ipa-api-url=http://10.0.0.1:5000/baremetal ipa-agent-tok");
        assert_eq!(known.api.as_deref(), Some("http://10.0.0.1:5000/baremetal"));
        known.look(b"ipa-agent-token=abc");
        assert_eq!(known.token, None, "it may go on");
        known.look(b"ipa-agent-token=abcdef\nx");
        assert_eq!(known.token.as_deref(), Some("abcdef"));
    }
}
