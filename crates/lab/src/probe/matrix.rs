//! The measurement itself, for any set of network namespaces.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;

use super::packet::{BROADCAST, Mark};
use super::sockets::{self, Open};
use super::{Endpoint, Measured, Options, Reach, Report, Target, Way};

/// A packet may be lost in life too, or wait for an address to be resolved.
const ROUNDS: usize = 2;
/// Frames with two VLAN tags that each NIC sends in a round, at most.
const MAX_DOUBLE_TAGGED: usize = 256;
/// Time in which a NIC must take a frame.
const SEND_DEADLINE: Duration = Duration::from_secs(2);
/// Longest answer of a service that is read.
const MAX_BANNER: usize = 256;
/// UDP ports to listen on: below what kernels give out by themselves.
const PORTS: std::ops::Range<u32> = 20_000..30_000;

/// What somebody heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Heard {
    by: usize,
    way: Way,
    mark: Mark,
    /// Seen leaving, by the sender.
    outgoing: bool,
}

/// Each packet is counted once, however often it was heard.
type Hearing = Arc<Mutex<HashSet<Heard>>>;

/// An endpoint at work.
struct Node {
    target: Target,
    open: Open,
    /// Sends from a port of its own: were it the port all listen on, address translation for a container and its machine would
    /// meet in one entry, and one would get what is meant for the other.
    mouth: UdpSocket,
    /// For each frame sent, by number, whom it was meant for.
    frames: Vec<[u8; 6]>,
    /// For each datagram sent, by number, the address it was sent to.
    datagrams: Vec<Ipv4Addr>,
    /// The datagram, if any, sent to itself.
    to_itself: Option<usize>,
}

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Nobody was there.
    None,
    /// Somebody was, and said this; nothing if it is empty.
    Said(String),
}

/// A connection tried.
struct Call {
    from: usize,
    to: Ipv4Addr,
    answer: Answer,
}

/// Sends packets from every target to every other and reports what arrived. Blocks for about twice [`Options::timeout`].
///
/// # Errors
/// As [`super::run`].
pub fn measure(targets: &[Target], options: &Options) -> anyhow::Result<Report> {
    anyhow::ensure!(targets.len() < usize::from(u16::MAX), "too many endpoints");
    let begin = Instant::now();
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let run = u64::from_be_bytes(random);
    let port = u16::try_from(PORTS.start + std::process::id() % (PORTS.end - PORTS.start))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let opened = targets.iter().map(|target| Ok((target.clone(), sockets::open(target, port)?)));
    let opened = opened.collect::<anyhow::Result<Vec<(Target, Open)>>>()?;
    let (nodes, heard, calls) = runtime.block_on(exchange(opened, run, port, options))?;
    check(&nodes, &heard)?;
    let results = judge(&nodes, &heard, &calls)?;
    let mut via: BTreeMap<(&str, &str), Vec<Way>> = BTreeMap::new();
    for result in results.iter().filter(|it| it.received > 0) {
        via.entry((&result.from, &result.to)).or_default().push(result.kind);
    }
    Ok(Report {
        endpoints: nodes.iter().map(Node::describe).collect(),
        reach: via.into_iter().map(|((from, to), via)| Reach { from: from.to_owned(), to: to.to_owned(), via }).collect(),
        attempts: nodes.iter().map(|it| it.frames.len() + it.datagrams.len()).chain([calls.len()]).map(wide).sum(),
        received: results.iter().map(|it| it.received).sum(),
        duration_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        results,
    })
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Node {
    fn describe(&self) -> Endpoint {
        Endpoint {
            name: self.target.name.clone(),
            machine: self.target.machine.clone(),
            container: self.target.container.clone(),
            pid: self.target.pid,
            addresses: self.open.addresses.iter().map(Ipv4Addr::to_string).collect(),
            macs: self.open.nics.iter().map(|nic| nic.mac.map(|byte| format!("{byte:02x}")).join(":")).collect(),
        }
    }

    fn has_mac(&self, mac: [u8; 6]) -> bool {
        self.open.nics.iter().any(|nic| nic.mac == mac)
    }

    /// Sends every kind of frame from every NIC.
    async fn send_frames(&mut self, index: usize, run: u64, others: &BTreeSet<[u8; 6]>, vlans: &BTreeSet<u16>) -> anyhow::Result<()> {
        let from = u16::try_from(index)?;
        for nic in &self.open.nics {
            let mut kinds: Vec<([u8; 6], Vec<u16>)> = vec![(BROADCAST, Vec::new())];
            kinds.extend(others.iter().filter(|mac| **mac != nic.mac).map(|mac| (*mac, Vec::new())));
            kinds.extend(vlans.iter().map(|vlan| (BROADCAST, vec![*vlan])));
            if self.target.container.is_none() {
                let pairs = vlans.iter().flat_map(|outer| vlans.iter().map(|inner| (BROADCAST, vec![*outer, *inner])));
                kinds.extend(pairs.take(MAX_DOUBLE_TAGGED));
            }
            for (to, tags) in kinds {
                let mark = Mark { run, from, number: u32::try_from(self.frames.len())? };
                let frame = mark.frame(nic.mac, to, &tags);
                send_patiently(&nic.send, &frame).await.with_context(|| format!("sending from {} of {}", nic.name, self.target.name))?;
                self.frames.push(to);
            }
        }
        Ok(())
    }

    /// Sends a datagram to every address that is not its own, and one to itself.
    async fn send_datagrams(&mut self, index: usize, run: u64, port: u16, addresses: &BTreeSet<Ipv4Addr>) -> anyhow::Result<()> {
        let from = u16::try_from(index)?;
        let itself = self.open.loopback.then_some(Ipv4Addr::LOCALHOST);
        for address in addresses.iter().copied().filter(|it| !self.open.addresses.contains(it)).chain(itself) {
            let mark = Mark { run, from, number: u32::try_from(self.datagrams.len())? };
            match self.mouth.send_to(&mark.datagram(), SocketAddrV4::new(address, port)).await {
                Ok(_) => {
                    if address.is_loopback() {
                        self.to_itself = Some(self.datagrams.len());
                    }
                    self.datagrams.push(address);
                }
                // Its own routes or rules say no: nothing was sent.
                Err(error) if unreachable(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("sending UDP from {}", self.target.name)),
            }
        }
        Ok(())
    }
}

fn unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, PermissionDenied};
    matches!(error.kind(), HostUnreachable | NetworkUnreachable | NetworkDown | PermissionDenied)
}

/// Sends a frame; a NIC whose queue is full is given time.
async fn send_patiently(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    let until = Instant::now() + SEND_DEADLINE;
    loop {
        match sockets::send_frame(socket, frame) {
            Err(error) if Instant::now() < until && (error.kind() == io::ErrorKind::WouldBlock || is_full(&error)) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            done => return done,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}

/// Sends everything and gathers what arrives.
async fn exchange(
    opened: Vec<(Target, Open)>,
    run: u64,
    port: u16,
    options: &Options,
) -> anyhow::Result<(Vec<Node>, HashSet<Heard>, Vec<Call>)> {
    let hearing = Hearing::default();
    let mut listeners = JoinSet::new();
    let mut nodes = Vec::with_capacity(opened.len());
    for (index, (target, open)) in opened.into_iter().enumerate() {
        listeners.spawn(listen_udp(index, run, UdpSocket::from_std(open.udp.try_clone()?)?, Arc::clone(&hearing)));
        let mouth = UdpSocket::from_std(open.mouth.try_clone()?)?;
        for nic in &open.nics {
            let socket = watch(nic.receive.try_clone()?)?;
            listeners.spawn(listen_frames(index, run, socket, Arc::clone(&hearing)));
        }
        nodes.push(Node { target, open, mouth, frames: Vec::new(), datagrams: Vec::new(), to_itself: None });
    }
    let macs: BTreeSet<[u8; 6]> = nodes.iter().flat_map(|node| node.open.nics.iter().map(|nic| nic.mac)).collect();
    let addresses: BTreeSet<Ipv4Addr> = nodes.iter().flat_map(|node| node.open.addresses.iter().copied()).collect();
    // 0: a tag that only says how urgent the frame is.
    let vlans: BTreeSet<u16> = options.vlans.iter().copied().chain([0]).filter(|vlan| *vlan < 4095).collect();
    let mut calls = Vec::new();
    for _ in 0..ROUNDS {
        let calling = match options.service_port {
            Some(port) => call_all(&nodes, &addresses, &calls, port, options.timeout)?,
            None => JoinSet::new(),
        };
        for (index, node) in nodes.iter_mut().enumerate() {
            node.send_frames(index, run, &macs, &vlans).await?;
            node.send_datagrams(index, run, port, &addresses).await?;
            // Let the listeners empty their queues.
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(options.timeout).await;
        calls.extend(calling.join_all().await);
        if let Some(ended) = listeners.try_join_next() {
            ended.context("a listener panicked")?.context("listening")?;
        }
    }
    listeners.shutdown().await;
    let heard = std::mem::take(&mut *hearing.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((nodes, heard, calls))
}

/// Registers a socket with the runtime.
#[expect(unsafe_code, reason = "the registration relies on a promise about the descriptor")]
fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd owns an open descriptor, is moved into the registration, and nobody closes or replaces it there.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

async fn listen_udp(by: usize, run: u64, socket: UdpSocket, hearing: Hearing) -> io::Result<()> {
    let mut buffer = [0; 128];
    loop {
        let (length, _) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An answer to one of our own, saying that nobody is there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused || unreachable(&error) => continue,
            Err(error) => return Err(error),
        };
        let mark = Mark::of_datagram(buffer.get(..length).unwrap_or_default());
        note(&hearing, run, mark.map(|mark| Heard { by, way: Way::Udp, mark, outgoing: false }));
    }
}

async fn listen_frames(by: usize, run: u64, socket: AsyncFd<OwnedFd>, hearing: Hearing) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        let mut ready = socket.readable().await?;
        let Ok(received) = ready.try_io(|socket| sockets::receive_frame(socket.get_ref(), &mut buffer)) else { continue };
        let (outgoing, length) = received?;
        let mark = Mark::of_frame(buffer.get(..length.min(buffer.len())).unwrap_or_default());
        note(&hearing, run, mark.map(|mark| Heard { by, way: Way::L2, mark, outgoing }));
    }
}

fn note(hearing: &Hearing, run: u64, heard: Option<Heard>) {
    if let Some(heard) = heard.filter(|it| it.mark.run == run) {
        hearing.lock().unwrap_or_else(PoisonError::into_inner).insert(heard);
    }
}

/// Begins a connection from every endpoint to every address that has not answered it yet.
fn call_all(
    nodes: &[Node],
    addresses: &BTreeSet<Ipv4Addr>,
    earlier: &[Call],
    port: u16,
    timeout: Duration,
) -> anyhow::Result<JoinSet<Call>> {
    let mut calling = JoinSet::new();
    for (from, node) in nodes.iter().enumerate() {
        let answered = |to: Ipv4Addr| {
            earlier.iter().any(|it| it.from == from && it.to == to && matches!(&it.answer, Answer::Said(name) if !name.is_empty()))
        };
        let wanted: Vec<Ipv4Addr> = addresses.iter().copied().filter(|it| !node.open.addresses.contains(it) && !answered(*it)).collect();
        let sockets =
            sockets::tcp_sockets(&node.open.netns, wanted.len()).with_context(|| format!("opening TCP sockets in {}", node.target.name))?;
        for (to, socket) in wanted.into_iter().zip(sockets) {
            let socket = TcpSocket::from_std_stream(socket);
            calling.spawn(async move { Call { from, to, answer: call(socket, SocketAddrV4::new(to, port), timeout).await } });
        }
    }
    Ok(calling)
}

/// Connects and reads the first line.
async fn call(socket: TcpSocket, to: SocketAddrV4, timeout: Duration) -> Answer {
    let Ok(Ok(mut stream)) = tokio::time::timeout(timeout, socket.connect(to.into())).await else { return Answer::None };
    let mut text = Vec::new();
    let reading = async {
        let mut buffer = [0; MAX_BANNER];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            text.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if text.contains(&b'\n') || text.len() >= MAX_BANNER {
                break;
            }
        }
    };
    if tokio::time::timeout(timeout, reading).await.is_err() {
        tracing::debug!(%to, "connected, but did not say all");
    }
    let text = String::from_utf8_lossy(&text);
    Answer::Said(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Makes sure that silence means silence: every frame sent was seen leaving, and every endpoint heard its own datagram.
fn check(nodes: &[Node], heard: &HashSet<Heard>) -> anyhow::Result<()> {
    for (index, node) in nodes.iter().enumerate() {
        let name = &node.target.name;
        let own = |way: Way| heard.iter().filter(move |it| it.by == index && it.way == way && usize::from(it.mark.from) == index);
        let left = own(Way::L2).filter(|it| it.outgoing).count();
        anyhow::ensure!(left == node.frames.len(), "the probe is blind in {name}: it saw {left} of its {} frames leave", node.frames.len());
        if node.open.loopback {
            let last = node.to_itself.context("nothing was sent to itself")?;
            let back = own(Way::Udp).any(|it| usize::try_from(it.mark.number).is_ok_and(|number| number == last));
            anyhow::ensure!(back, "the probe is deaf in {name}: its UDP socket does not hear what it sends itself");
        }
    }
    Ok(())
}

/// Attributes what was heard and answered to ordered pairs.
fn judge(nodes: &[Node], heard: &HashSet<Heard>, calls: &[Call]) -> anyhow::Result<Vec<Measured>> {
    let mut sums: BTreeMap<(usize, usize, Way), (u64, u64)> = BTreeMap::new();
    for (from, node) in nodes.iter().enumerate() {
        for (to, other) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
            let frames = if other.open.nics.is_empty() {
                0
            } else {
                node.frames.iter().filter(|mac| **mac == BROADCAST || other.has_mac(**mac)).count()
            };
            let datagrams = node.datagrams.iter().filter(|address| other.open.addresses.contains(address)).count();
            let tried = calls.iter().filter(|call| call.from == from && serves_at(nodes, other, call.to)).count();
            for (way, sent) in [(Way::L2, frames), (Way::Udp, datagrams), (Way::Service, tried)] {
                sums.entry((from, to, way)).or_default().0 += wide(sent);
            }
        }
    }
    for it in heard.iter().filter(|it| !it.outgoing && usize::from(it.mark.from) != it.by) {
        sums.entry((usize::from(it.mark.from), it.by, it.way)).or_default().1 += 1;
    }
    for call in calls {
        let Answer::Said(said) = &call.answer else { continue };
        for by in answerers(nodes, call, said, calls)? {
            sums.entry((call.from, by, Way::Service)).or_default().1 += 1;
        }
    }
    let name = |index: usize| nodes.get(index).map(|node| node.target.name.clone()).unwrap_or_default();
    let happened = sums.into_iter().filter(|((from, to, _), (sent, received))| from != to && (*sent > 0 || *received > 0));
    Ok(happened.map(|((from, to, kind), (sent, received))| Measured { from: name(from), to: name(to), kind, sent, received }).collect())
}

/// Whether `address` is one at which `node` may answer: its own, or for a container also its machine's, where ports are published.
fn serves_at(nodes: &[Node], node: &Node, address: Ipv4Addr) -> bool {
    let its_machine = nodes
        .iter()
        .find(|it| node.target.container.is_some() && it.target.container.is_none() && it.target.machine == node.target.machine);
    node.open.addresses.contains(&address) || its_machine.is_some_and(|it| it.open.addresses.contains(&address))
}

/// Who answered a call: the container that said its name, and its machine if the call was to an address of that.
///
/// # Errors
/// Nobody of that name is known, so that it cannot be said who was reached.
fn answerers(nodes: &[Node], call: &Call, said: &str, calls: &[Call]) -> anyhow::Result<Vec<usize>> {
    let caller = nodes.get(call.from).map(|it| it.target.name.as_str()).unwrap_or_default();
    if said.is_empty() {
        // One that was just starting may have said its name in the other round.
        let named =
            calls.iter().any(|it| it.from == call.from && it.to == call.to && matches!(&it.answer, Answer::Said(name) if !name.is_empty()));
        anyhow::ensure!(named, "somebody answers {caller} at {} without saying who", call.to);
        return Ok(Vec::new());
    }
    let named: Vec<usize> =
        (0..).zip(nodes).filter(|(_, it)| it.target.hostname.as_deref() == Some(said)).map(|(index, _)| index).collect();
    anyhow::ensure!(!named.is_empty(), "{said:?} answers {caller} at {}, but no such container was found", call.to);
    // Names need not be unique; the address may tell. If it does not, all of them count as reached.
    let at: Vec<usize> = named.iter().copied().filter(|index| nodes.get(*index).is_some_and(|it| serves_at(nodes, it, call.to))).collect();
    let mut found = if at.is_empty() { named } else { at };
    let machines: Vec<usize> = (0..)
        .zip(nodes)
        .filter(|(_, it)| it.target.container.is_none() && it.open.addresses.contains(&call.to))
        .filter(|(_, it)| found.iter().any(|index| nodes.get(*index).is_some_and(|other| other.target.machine == it.target.machine)))
        .map(|(index, _)| index)
        .collect();
    found.extend(machines);
    Ok(found)
}
