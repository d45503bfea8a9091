//! The few markers of MessagePack that stand in a token (<https://github.com/msgpack/msgpack/blob/master/spec.md>), written as
//! Python's `msgpack.packb` writes them: the shortest form of every number, text as `str`, bytes as `bin`, every real as 64 bits.

/// What is wrong with bytes that should be MessagePack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it ends too early")]
    Short,
    #[error("something of another type stands where {0} is due")]
    Type(&'static str),
    #[error("a text in it is not UTF-8")]
    Text,
}

/// Writes values one after the other.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn array(&mut self, len: usize) {
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ 0..=15), _) => self.0.push(0x90 | len),
            (_, Ok(len)) => self.marked(0xdc, &len.to_be_bytes()),
            _ => self.marked(0xdd, &u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()),
        }
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(crate) fn nil(&mut self) {
        self.0.push(0xc0);
    }

    pub(crate) fn uint(&mut self, value: u32) {
        match (u8::try_from(value), u16::try_from(value)) {
            (Ok(value @ 0..=0x7f), _) => self.0.push(value),
            (Ok(value), _) => self.marked(0xcc, &[value]),
            (_, Ok(value)) => self.marked(0xcd, &value.to_be_bytes()),
            _ => self.marked(0xce, &value.to_be_bytes()),
        }
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.marked(0xcb, &value.to_be_bytes());
    }

    pub(crate) fn text(&mut self, value: &str) {
        match (u8::try_from(value.len()), u16::try_from(value.len())) {
            (Ok(len @ 0..=31), _) => self.0.push(0xa0 | len),
            (Ok(len), _) => self.marked(0xd9, &[len]),
            (_, Ok(len)) => self.marked(0xda, &len.to_be_bytes()),
            _ => self.marked(0xdb, &u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes()),
        }
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        match (u8::try_from(value.len()), u16::try_from(value.len())) {
            (Ok(len), _) => self.marked(0xc4, &[len]),
            (_, Ok(len)) => self.marked(0xc5, &len.to_be_bytes()),
            _ => self.marked(0xc6, &u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes()),
        }
        self.0.extend_from_slice(value);
    }

    fn marked(&mut self, marker: u8, rest: &[u8]) {
        self.0.push(marker);
        self.0.extend_from_slice(rest);
    }
}

/// Reads values one after the other, out of bytes nobody vouches for. Nothing is allocated for a length that is only claimed.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed::Short)?;
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn marker(&mut self) -> Result<u8, Malformed> {
        self.fixed::<1>().map(|[marker]| marker)
    }

    fn len8(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(|it| u32::from(u8::from_be_bytes(it)))
    }

    fn len16(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(|it| u32::from(u16::from_be_bytes(it)))
    }

    fn len32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// The length of the array that begins here.
    pub(crate) fn array(&mut self) -> Result<u32, Malformed> {
        match self.marker()? {
            marker @ 0x90..=0x9f => Ok(u32::from(marker & 0x0f)),
            0xdc => self.len16(),
            0xdd => self.len32(),
            _ => Err(Malformed::Type("a list")),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.marker()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(Malformed::Type("a yes or no")),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u32, Malformed> {
        match self.marker()? {
            marker @ 0..=0x7f => Ok(u32::from(marker)),
            0xcc => self.len8(),
            0xcd => self.len16(),
            0xce => self.len32(),
            _ => Err(Malformed::Type("a whole number")),
        }
    }

    /// A real, or a whole number in its place.
    pub(crate) fn float(&mut self) -> Result<f64, Malformed> {
        match self.0.first() {
            Some(0xca) => {
                self.marker()?;
                self.fixed().map(|it| f64::from(f32::from_be_bytes(it)))
            }
            Some(0xcb) => {
                self.marker()?;
                self.fixed().map(f64::from_be_bytes)
            }
            _ => self.uint().map(f64::from),
        }
    }

    /// Text or bytes; `None` for nil. Before its version 1, Python's msgpack wrote both under the same marker.
    pub(crate) fn blob(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let len = match self.marker()? {
            0xc0 => return Ok(None),
            marker @ 0xa0..=0xbf => u32::from(marker & 0x1f),
            0xd9 | 0xc4 => self.len8()?,
            0xda | 0xc5 => self.len16()?,
            0xdb | 0xc6 => self.len32()?,
            _ => return Err(Malformed::Type("text")),
        };
        self.take(len).map(Some)
    }

    /// Text, and not nil.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.blob()?.ok_or(Malformed::Type("text"))?;
        std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
    }
}
