//! What a terminal would show: bytes in, lines out. Carriage returns, backspaces and the escape sequences that move within a line
//! (ECMA-48) have happened, colours are gone. Pure.

/// What one call may make a switch say, in bytes.
pub(super) const MOST: usize = 16 << 20;
/// Longer escape sequences are none.
const SEQUENCE: usize = 256;

/// The lines that were shown since the last [`Screen::clear`].
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: Vec<String>,
    line: Vec<u8>,
    column: usize,
    escape: Escape,
    taken: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// A control sequence: parameters so far.
    Control(Vec<u8>),
    /// A string for the terminal (its title); whether ESC was the last byte.
    Text(usize, bool),
    /// One more byte belongs to it.
    Charset,
}

impl Screen {
    /// Forgets all.
    pub(super) fn wipe(&mut self) {
        *self = Self::default();
    }

    /// Whether more was said than we keep.
    pub(super) fn is_full(&self) -> bool {
        self.taken > MOST
    }

    /// The finished lines.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The unfinished line, without blanks at its end.
    pub(super) fn last(&self) -> String {
        text(&self.line)
    }

    /// Takes what the switch sent.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.is_full() {
            return;
        }
        for &byte in bytes {
            self.escape = match std::mem::take(&mut self.escape) {
                Escape::None => self.plain(byte),
                Escape::Begun => match byte {
                    b'[' => Escape::Control(Vec::new()),
                    b']' | b'P' | b'_' | b'^' => Escape::Text(0, false),
                    b'(' | b')' | b'#' | b'%' => Escape::Charset,
                    b'E' => {
                        self.end_line();
                        Escape::None
                    }
                    _ => Escape::None,
                },
                Escape::Charset => Escape::None,
                Escape::Text(..) if byte == 0x07 => Escape::None,
                Escape::Text(_, true) if byte == b'\\' => Escape::None,
                Escape::Text(length, _) if length < SEQUENCE => Escape::Text(length + 1, byte == 0x1b),
                Escape::Text(..) => Escape::None,
                Escape::Control(mut parameters) => match byte {
                    0x40..=0x7e => {
                        self.control(byte, &parameters);
                        Escape::None
                    }
                    0x20..=0x3f if parameters.len() < SEQUENCE => {
                        parameters.push(byte);
                        Escape::Control(parameters)
                    }
                    // Not a sequence after all.
                    _ => self.plain(byte),
                },
            };
        }
    }

    fn plain(&mut self, byte: u8) -> Escape {
        match byte {
            0x1b => return Escape::Begun,
            b'\n' => self.end_line(),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => {
                self.put(b' ');
                while !self.column.is_multiple_of(8) {
                    self.put(b' ');
                }
            }
            0x00..=0x1f | 0x7f => {}
            _ => self.put(byte),
        }
        Escape::None
    }

    fn put(&mut self, byte: u8) {
        if let Some(cell) = self.line.get_mut(self.column) {
            *cell = byte;
        } else {
            self.line.resize(self.column, b' ');
            self.line.push(byte);
        }
        self.column += 1;
    }

    fn end_line(&mut self) {
        self.lines.push(text(&self.line));
        self.line.clear();
        self.column = 0;
    }

    fn control(&mut self, last: u8, parameters: &[u8]) {
        let first = std::str::from_utf8(parameters).ok().and_then(|it| it.split(';').next()).and_then(|it| it.parse::<usize>().ok());
        let count = first.unwrap_or(1).clamp(1, 1000);
        match last {
            b'C' => self.column += count,
            b'D' => self.column = self.column.saturating_sub(count),
            b'G' => self.column = count - 1,
            b'K' | b'J' if first.unwrap_or(0) == 0 => self.line.truncate(self.column),
            b'K' if first == Some(2) => self.line.clear(),
            b'P' => {
                let from = self.column.min(self.line.len());
                self.line.drain(from..(from + count).min(self.line.len()));
            }
            // Another line: what stands in this one is done.
            b'H' | b'f' | b'J' if !self.line.is_empty() => self.end_line(),
            _ => {}
        }
        // However far it is moved, a line does not become longer than what was said.
        self.column = self.column.min(self.line.len() + 1000).min(MOST);
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8]) -> Vec<String> {
        let mut screen = Screen::default();
        screen.feed(bytes);
        screen.lines().iter().cloned().chain([screen.last()]).collect()
    }

    #[test]
    fn what_a_terminal_shows() {
        for (bytes, lines) in [
            (&b"vlan 5\r\nleaf1# "[..], &["vlan 5", "leaf1#"][..]),
            (b"a\r\r\nb", &["a", "b"]),
            (b" --More-- \r          \rinterface 1\n", &["interface 1", ""]),
            (b" --More-- \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08          \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08end\n", &["end", ""]),
            (b"\x1b[?2004h\x1b]0;root@leaf1: ~\x07root@leaf1:~# ", &["root@leaf1:~#"]),
            (b"\x1b[01;32madmin\x1b[0m$ \x1b[K", &["admin$"]),
            (
                b"---- More ----\x1b[42D                                          \x1b[42Dport link-type access\n",
                &["port link-type access", ""],
            ),
            (b"\x1b]0;title\x1b\\x", &["x"]),
            (b"ab\x1b[2Kcd", &["  cd"]),
            (b"\x07\x00x\ty", &["x       y"]),
        ] {
            assert_eq!(shown(bytes), lines, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn too_much_is_not_kept() {
        let mut screen = Screen::default();
        for _ in 0..=MOST / 4096 {
            screen.feed(&[b'x'; 4096]);
        }
        assert!(screen.is_full());
        screen.wipe();
        assert!(!screen.is_full());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_show_the_same(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(b'\n')], 0..200), at in 0usize..200) {
            let mut pieces = Screen::default();
            let (one, two) = bytes.split_at(at.min(bytes.len()));
            pieces.feed(one);
            pieces.feed(two);
            let whole: Vec<String> = pieces.lines().iter().cloned().chain([pieces.last()]).collect();
            prop_assert_eq!(whole, shown(&bytes));
        }
    }
}
