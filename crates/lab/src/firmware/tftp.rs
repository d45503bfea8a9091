//! A TFTP client: read requests in octet mode (RFC 1350) with the options blksize (RFC 2348) and tsize (RFC 2349), negotiated as
//! RFC 2347 says. A server that knows no options is fine.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Block size asked for: an Ethernet frame less the headers of IP, UDP and TFTP.
const BLOCK: usize = 1468;
/// Block size without options.
const DEFAULT_BLOCK: usize = 512;
/// Time to wait for a packet before the last one is sent again.
const PATIENCE: Duration = Duration::from_millis(500);

const OP_READ: u16 = 1;
const OP_DATA: u16 = 3;
const OP_ACK: u16 = 4;
const OP_ERROR: u16 = 5;
const OP_OACK: u16 = 6;

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TftpError {
    /// The socket failed.
    #[error("TFTP: {0}")]
    Socket(#[from] io::Error),
    /// The server refused.
    #[error("TFTP: the server says {message:?} (code {code})")]
    Refused { code: u16, message: String },
    /// The server broke the protocol.
    #[error("TFTP: {0}")]
    Protocol(&'static str),
    /// Nothing more came.
    #[error("TFTP: timed out")]
    Timeout,
    /// The file is larger than the firmware has room for.
    #[error("TFTP: the file is larger than {0} bytes")]
    TooLarge(usize),
}

enum Packet<'a> {
    Data { block: u16, data: &'a [u8] },
    Options(Vec<(String, String)>),
    Error { code: u16, message: String },
}

/// Reads `file` from `server` in the calling thread's network namespace; `deadline` bounds the whole transfer.
///
/// # Errors
/// See [`TftpError`]; nothing is kept of a file that did not come whole.
pub(crate) fn read(server: SocketAddr, file: &str, max_bytes: usize, deadline: Duration) -> Result<Vec<u8>, TftpError> {
    if file.is_empty() || file.contains('\0') || file.len() > 400 {
        return Err(TftpError::Protocol("the file's name cannot be asked for"));
    }
    let until = Instant::now() + deadline;
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local)?;
    let mut outgoing = request(file);
    let mut to = server;
    // The server answers from a port of its own choosing, which then identifies the transfer (RFC 1350, section 4).
    let mut transfer: Option<SocketAddr> = None;
    let mut block_size = DEFAULT_BLOCK;
    let mut expected: u16 = 1;
    let mut content = Vec::new();
    let mut buffer = [0_u8; 2048];
    socket.send_to(&outgoing, to)?;
    loop {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or(TftpError::Timeout)?;
        socket.set_read_timeout(Some(left.min(PATIENCE)))?;
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(got) => got,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                socket.send_to(&outgoing, to)?;
                continue;
            }
            // The port is closed for now: a server that is just starting.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error.into()),
        };
        if from.ip() != server.ip() || transfer.is_some_and(|it| it != from) {
            continue;
        }
        match parse(buffer.get(..length).unwrap_or_default()).ok_or(TftpError::Protocol("a packet is malformed"))? {
            Packet::Error { code, message } => return Err(TftpError::Refused { code, message }),
            Packet::Options(options) if transfer.is_none() => {
                (transfer, to) = (Some(from), from);
                for (name, value) in &options {
                    match (name.as_str(), value.parse::<usize>()) {
                        ("blksize", Ok(size @ 8..=BLOCK)) => block_size = size,
                        ("tsize", Ok(size)) if size > max_bytes => return Err(TftpError::TooLarge(max_bytes)),
                        ("tsize", Ok(_)) => {}
                        _ => return Err(TftpError::Protocol("the server chose options that were not offered")),
                    }
                }
                outgoing = acknowledge(0);
            }
            // A second copy: our acknowledgement was lost.
            Packet::Options(_) => {}
            Packet::Data { block, data } if block == expected => {
                (transfer, to) = (Some(from), from);
                if data.len() > block_size {
                    return Err(TftpError::Protocol("a block is too long"));
                }
                if content.len() + data.len() > max_bytes {
                    return Err(TftpError::TooLarge(max_bytes));
                }
                content.extend_from_slice(data);
                outgoing = acknowledge(block);
                // Block numbers wrap around in files of more than 65,535 blocks.
                expected = expected.wrapping_add(1);
                if data.len() < block_size {
                    socket.send_to(&outgoing, to)?;
                    return Ok(content);
                }
            }
            // An old block again: answering it would double every packet from here on (the "sorcerer's apprentice").
            Packet::Data { .. } => continue,
        }
        socket.send_to(&outgoing, to)?;
    }
}

fn request(file: &str) -> Vec<u8> {
    let mut packet = OP_READ.to_be_bytes().to_vec();
    for word in [file, "octet", "blksize", &BLOCK.to_string(), "tsize", "0"] {
        packet.extend_from_slice(word.as_bytes());
        packet.push(0);
    }
    packet
}

fn acknowledge(block: u16) -> Vec<u8> {
    [OP_ACK.to_be_bytes(), block.to_be_bytes()].concat()
}

fn parse(packet: &[u8]) -> Option<Packet<'_>> {
    let (op, rest) = packet.split_first_chunk::<2>()?;
    let number = || rest.split_first_chunk::<2>().map(|(number, rest)| (u16::from_be_bytes(*number), rest));
    match u16::from_be_bytes(*op) {
        OP_DATA => number().map(|(block, data)| Packet::Data { block, data }),
        OP_ERROR => number().map(|(code, message)| {
            let message = message.split(|byte| *byte == 0).next().unwrap_or_default();
            Packet::Error { code, message: String::from_utf8_lossy(message).chars().take(200).collect() }
        }),
        OP_OACK => {
            let mut words = rest.strip_suffix(&[0])?.split(|byte| *byte == 0);
            let mut options = Vec::new();
            while let Some(name) = words.next() {
                let text = |word: &[u8]| String::from_utf8(word.to_vec()).ok();
                options.push((text(name)?.to_ascii_lowercase(), text(words.next()?)?));
            }
            Some(Packet::Options(options))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server for one transfer that knows options or not, and whose packets go missing: it sends each block only when asked the
    /// second time if `lossy`.
    fn serve(content: Vec<u8>, options: bool, lossy: bool) -> SocketAddr {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let (length, client) = listener.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..2], &[0, 1]);
            assert!(buffer[..length].windows(6).any(|it| it == b"octet\0"));
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let size = if options { 1468 } else { 512 };
            let expect = |block: u16| {
                let mut buffer = [0; 2048];
                let (length, _) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!(buffer[..length], *acknowledge(block));
            };
            if options {
                socket.send_to(b"\0\x06blksize\x001468\0tsize\x0099\0", client).unwrap();
                expect(0);
            }
            let mut blocks: Vec<&[u8]> = content.chunks(size).collect();
            if content.len().is_multiple_of(size) {
                blocks.push(&[]);
            }
            for (index, block) in blocks.iter().enumerate() {
                let number = u16::try_from((index + 1) & 0xffff).unwrap();
                let packet = [&[0, 3], number.to_be_bytes().as_slice(), block].concat();
                if lossy && index == 1 {
                    // Lost: the client acknowledges the block before again. A stranger's packet arrives in between.
                    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&packet, client).unwrap();
                    expect(number - 1);
                }
                socket.send_to(&packet, client).unwrap();
                if lossy {
                    socket.send_to(&packet, client).unwrap();
                }
                expect(number);
            }
        });
        address
    }

    fn check(length: usize, options: bool, lossy: bool) {
        let content: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let server = serve(content.clone(), options, lossy);
        assert_eq!(read(server, "ipxe.efi", 1 << 20, Duration::from_secs(5)).unwrap(), content, "{length} {options} {lossy}");
    }

    #[test]
    fn files_come_whole() {
        check(0, true, false);
        check(5000, true, false);
        check(1468 * 2, true, false);
        check(5000, false, false);
        check(1024, false, false);
        check(5000, true, true);
    }

    #[test]
    fn too_much_is_refused() {
        let server = serve(vec![7; 5000], false, false);
        assert!(matches!(read(server, "x", 1000, Duration::from_secs(5)), Err(TftpError::TooLarge(1000))));
    }

    #[test]
    fn a_refusal_is_told() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (_, client) = listener.recv_from(&mut [0; 2048]).unwrap();
            listener.send_to(b"\0\x05\0\x01File not found\0", client).unwrap();
        });
        let error = read(server, "x", 1000, Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.to_string(), "TFTP: the server says \"File not found\" (code 1)");
    }

    #[test]
    fn silence_ends() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = read(listener.local_addr().unwrap(), "x", 10, Duration::from_millis(100));
        assert!(matches!(error, Err(TftpError::Timeout)));
    }
}
