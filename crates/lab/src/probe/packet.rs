//! What the probe sends, and how it knows its own again.

/// EtherType for local experiments (IEEE 802-2014, section 9.2.4, table 9-2).
const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];
/// Tag protocol identifier of 802.1Q.
const TAG: [u8; 2] = [0x81, 0x00];
const MAGIC: &[u8; 8] = b"cofprobe";
/// Shortest Ethernet frame, without its checksum.
const SHORTEST: usize = 60;
/// Length of [`Mark`] in a packet.
const MARK: usize = 8 + 8 + 2 + 4;

/// Everybody.
pub(super) const BROADCAST: [u8; 6] = [0xff; 6];

/// Says who sent a packet, and which of the sender's it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    /// Distinguishes this run from others at the same time.
    pub(super) run: u64,
    /// Index of the sender.
    pub(super) from: u16,
    /// Number of the packet among the sender's.
    pub(super) number: u32,
}

impl Mark {
    /// The mark as a datagram.
    pub(super) fn datagram(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.run.to_be_bytes());
        bytes.extend(self.from.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes
    }

    /// Reads a datagram; `None` if it is another's.
    pub(super) fn of_datagram(bytes: &[u8]) -> Option<Self> {
        let mark = bytes.get(..MARK)?.strip_prefix(MAGIC)?;
        let (run, rest) = mark.split_first_chunk::<8>()?;
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        Some(Self { run: u64::from_be_bytes(*run), from: u16::from_be_bytes(*from), number: u32::from_be_bytes(*number) })
    }

    /// The mark in an Ethernet frame with these VLAN tags, outermost first.
    pub(super) fn frame(&self, from: [u8; 6], to: [u8; 6], tags: &[u16]) -> Vec<u8> {
        let mut bytes = to.to_vec();
        bytes.extend(from);
        for tag in tags {
            bytes.extend(TAG);
            bytes.extend(tag.to_be_bytes());
        }
        bytes.extend(EXPERIMENTAL);
        bytes.extend(self.datagram());
        if bytes.len() < SHORTEST {
            bytes.resize(SHORTEST, 0);
        }
        bytes
    }

    /// Reads a frame, whatever tags are left on it.
    pub(super) fn of_frame(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(12..)?;
        while let Some(inner) = rest.strip_prefix(&TAG) {
            rest = inner.get(2..)?;
        }
        Self::of_datagram(rest.strip_prefix(&EXPERIMENTAL)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_any_number_of_tags() {
        let mark = Mark { run: 0x0102_0304_0506_0708, from: 513, number: 70_000 };
        assert_eq!(Mark::of_datagram(&mark.datagram()), Some(mark));
        for tags in [&[][..], &[0], &[101], &[101, 102]] {
            let frame = mark.frame([2, 0, 0, 0, 0, 1], BROADCAST, tags);
            assert!(frame.len() >= SHORTEST);
            assert_eq!(Mark::of_frame(&frame), Some(mark));
        }
    }

    #[test]
    fn packets_of_others_are_not_ours() {
        let mark = Mark { run: 1, from: 2, number: 3 };
        for length in 0..MARK {
            assert_eq!(Mark::of_datagram(&mark.datagram()[..length]), None);
        }
        let mut frame = mark.frame([0; 6], BROADCAST, &[7]);
        frame[16] = 8;
        assert_eq!(Mark::of_frame(&frame), None);
        assert_eq!(Mark::of_frame(&[0x81; 14]), None);
        assert_eq!(Mark::of_frame(b""), None);
    }
}
