//! A read-only TFTP server (RFC 1350, options of RFC 2347 to 2349) that serves a closed set of files from memory.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use net::{Netns, UdpOptions, udp_bind};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

/// Transfers at once; further requests are not answered and the client asks again.
const SESSIONS: usize = 64;
/// How often a packet is sent before a transfer is given up.
const TRIES: u32 = 6;
const DEFAULT_BLOCK: usize = 512;
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// The server's socket.
pub struct TftpServer {
    socket: UdpSocket,
    netns: Netns,
    files: Arc<BTreeMap<String, Bytes>>,
}

/// A read request.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    file: String,
    block: Option<usize>,
    wants_size: bool,
    wait: Option<u8>,
}

impl TftpServer {
    /// Binds UDP port `port` (69) at the address in the namespace. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// If the namespace or the address does not exist, or the port is taken.
    pub fn bind(netns: &Netns, address: IpAddr, port: u16, files: Arc<BTreeMap<String, Bytes>>) -> io::Result<TftpServer> {
        let socket = udp_bind(netns, SocketAddr::new(address, port), UdpOptions::default())?;
        Ok(TftpServer { socket, netns: netns.clone(), files })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until the future is dropped or the socket breaks.
    ///
    /// # Errors
    /// If receiving fails for good.
    pub async fn run(self) -> io::Result<()> {
        let address = self.local_addr()?.ip();
        let sessions = Arc::new(Semaphore::new(SESSIONS));
        // Dropping the set ends the transfers with the server.
        let mut transfers = tokio::task::JoinSet::new();
        let mut buffer = [0_u8; 1500];
        loop {
            let (read, client) = self.socket.recv_from(&mut buffer).await?;
            while transfers.try_join_next().is_some() {}
            let packet = buffer.get(..read).unwrap_or_default();
            let refusal = match parse(packet) {
                Ok(request) => match self.files.get(request.file.trim_start_matches('/')) {
                    Some(file) => {
                        let Ok(place) = Arc::clone(&sessions).try_acquire_owned() else { continue };
                        let file = file.clone();
                        let netns = self.netns.clone();
                        transfers.spawn(async move {
                            let _place = place;
                            if let Err(error) = transfer(&netns, SocketAddr::new(address, 0), client, &request, &file).await {
                                tracing::debug!(%error, %client, file = request.file, "a TFTP transfer ended early");
                            }
                        });
                        continue;
                    }
                    None => error(1, "no such file"),
                },
                Err(Some(refusal)) => refusal,
                Err(None) => continue,
            };
            // The client asks again if this is lost.
            drop(self.socket.send_to(&refusal, client).await);
        }
    }
}

/// A read request, or what to answer to anything else (nothing to what is no request).
fn parse(packet: &[u8]) -> Result<Read, Option<Bytes>> {
    let (Some(code), Some(rest)) = (packet.first_chunk::<2>(), packet.get(2..)) else {
        return Err(None);
    };
    match u16::from_be_bytes(*code) {
        RRQ => {}
        WRQ => return Err(Some(error(2, "nothing can be written here"))),
        _ => return Err(None),
    }
    let mut words = rest.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let (file, mode) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if file.is_empty() || !mode.eq_ignore_ascii_case("octet") {
        return Err(Some(error(4, "only whole files in mode octet are served")));
    }
    let mut read = Read { file, block: None, wants_size: false, wait: None };
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name.to_ascii_lowercase().as_str() {
            "blksize" => read.block = value.parse().ok().filter(|it| (8..=65_464).contains(it)).map(|it: usize| it.min(1428)),
            "tsize" => read.wants_size = true,
            "timeout" => read.wait = value.parse().ok().filter(|it| *it > 0),
            _ => {}
        }
    }
    Ok(read)
}

fn error(code: u16, text: &str) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u16(ERROR);
    packet.put_u16(code);
    packet.put_slice(text.as_bytes());
    packet.put_u8(0);
    packet.freeze()
}

/// The acknowledgement of options, if any were asked that we know.
fn oack(request: &Read, size: usize) -> Option<Bytes> {
    let mut packet = BytesMut::new();
    packet.put_u16(OACK);
    let mut option = |name: &str, value: String| packet.put_slice(format!("{name}\0{value}\0").as_bytes());
    if let Some(block) = request.block {
        option("blksize", block.to_string());
    }
    if request.wants_size {
        option("tsize", size.to_string());
    }
    if let Some(wait) = request.wait {
        option("timeout", wait.to_string());
    }
    (packet.len() > 2).then(|| packet.freeze())
}

async fn transfer(netns: &Netns, from: SocketAddr, client: SocketAddr, request: &Read, file: &Bytes) -> io::Result<()> {
    let socket = udp_bind(netns, from, UdpOptions::default())?;
    socket.connect(client).await?;
    let wait = request.wait.map_or(DEFAULT_WAIT, |seconds| Duration::from_secs(u64::from(seconds)));
    if let Some(packet) = oack(request, file.len()) {
        exchange(&socket, &packet, 0, wait).await?;
    }
    let size = request.block.unwrap_or(DEFAULT_BLOCK);
    let mut number: u16 = 0;
    let mut at = 0;
    loop {
        // Block numbers wrap: files of more than 65535 blocks are common practice.
        number = number.wrapping_add(1);
        let end = (at + size).min(file.len());
        let mut packet = BytesMut::with_capacity(4 + size);
        packet.put_u16(DATA);
        packet.put_u16(number);
        packet.put_slice(file.get(at..end).unwrap_or_default());
        exchange(&socket, &packet, number, wait).await?;
        if end - at < size {
            return Ok(());
        }
        at = end;
    }
}

/// Sends a packet until its number is acknowledged.
async fn exchange(socket: &UdpSocket, packet: &[u8], number: u16, wait: Duration) -> io::Result<()> {
    let mut buffer = [0_u8; 516];
    for _ in 0..TRIES {
        socket.send(packet).await?;
        let acknowledged = async {
            loop {
                let read = socket.recv(&mut buffer).await?;
                match buffer.get(..read).unwrap_or_default() {
                    [0, code, a, b, ..] if u16::from(*code) == ACK && u16::from_be_bytes([*a, *b]) == number => return Ok(()),
                    // An old acknowledgement is not answered: answering it would send everything twice from then on.
                    [0, code, ..] if u16::from(*code) == ACK => {}
                    [0, code, ..] if u16::from(*code) == ERROR => return Err(io::Error::other("the client broke off")),
                    _ => {}
                }
            }
        };
        if let Ok(ended) = tokio::time::timeout(wait, acknowledged).await {
            return ended;
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the client fell silent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(file: &str, options: &str) -> Vec<u8> {
        let mut packet = vec![0, 1];
        packet.extend(format!("{file}\0octet\0{options}").bytes());
        packet
    }

    #[test]
    fn requests() {
        let read = parse(&request("a", "blksize\x001428\0tsize\x000\0")).unwrap();
        assert_eq!(read, Read { file: "a".into(), block: Some(1428), wants_size: true, wait: None });
        assert!(matches!(parse(&[0, 2, b'a', 0]), Err(Some(_))), "writing is refused");
        assert!(matches!(parse(&[0]), Err(None)));
        assert!(matches!(parse(&request("", "")), Err(Some(_))));
    }

    /// A client that loses every third packet it gets.
    async fn fetch(server: SocketAddr, name: &str, options: &str, lossy: bool) -> Result<Vec<u8>, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&request(name, options), server).await.unwrap();
        let mut out = Vec::new();
        let mut expected: u16 = 1;
        let mut block = 512;
        let mut seen = 0;
        loop {
            let mut buffer = [0; 2048];
            let (read, from) =
                tokio::time::timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await.map_err(|e| e.to_string())?.unwrap();
            seen += 1;
            if lossy && seen % 3 == 0 {
                continue;
            }
            match buffer[1] {
                6 => {
                    let text = String::from_utf8_lossy(&buffer[2..read]).into_owned();
                    let words: Vec<&str> = text.split('\0').collect();
                    block = words.iter().position(|w| *w == "blksize").map_or(512, |at| words[at + 1].parse().unwrap());
                    socket.send_to(&[0, 4, 0, 0], from).await.unwrap();
                }
                3 => {
                    let number = u16::from_be_bytes([buffer[2], buffer[3]]);
                    socket.send_to(&[0, 4, buffer[2], buffer[3]], from).await.unwrap();
                    if number == expected {
                        expected = expected.wrapping_add(1);
                        out.extend(&buffer[4..read]);
                        if read - 4 < block {
                            return Ok(out);
                        }
                    }
                }
                _ => return Err(String::from_utf8_lossy(&buffer[4..read]).into_owned()),
            }
        }
    }

    #[tokio::test]
    async fn files_arrive_whole_over_a_lossy_line_and_no_other_file_is_served() {
        let content: Vec<u8> = (0..5000_u32).flat_map(u32::to_be_bytes).collect();
        let files = BTreeMap::from([("x.efi".to_owned(), Bytes::from(content.clone())), ("even".to_owned(), Bytes::from(vec![7; 1024]))]);
        let server = TftpServer::bind(&Netns::host(), IpAddr::from([127, 0, 0, 1]), 0, Arc::new(files)).unwrap();
        let address = server.local_addr().unwrap();
        let task = tokio::spawn(server.run());
        assert_eq!(fetch(address, "x.efi", "", false).await.unwrap(), content);
        assert_eq!(fetch(address, "/x.efi", "blksize\x001000\0tsize\x000\0", false).await.unwrap(), content);
        assert_eq!(fetch(address, "even", "", false).await.unwrap().len(), 1024);
        assert_eq!(fetch(address, "x.efi", "blksize\x001428\0", true).await.unwrap(), content);
        assert!(fetch(address, "../../etc/passwd", "", false).await.is_err());
        task.abort();
    }
}
