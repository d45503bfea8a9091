//! Who reaches whom: real packets from every machine and container to every other.
//!
//! Every endpoint's own network namespace is entered and sockets are opened there; what is sent takes the way that anything sent by
//! a program of that machine or container takes. Tenants may use the same addresses, so nothing is concluded from an address: each
//! packet says who sent it, and *whoever receives it* is counted. Three ways are tried:
//!
//! * `l2`: frames from each machine's card, broadcast and to each card, untagged and with VLAN tags of all kinds;
//! * `udp`: datagrams to every address of every endpoint;
//! * `service`: TCP connections to a port on every address of every container, and of its machine; what answers says its host name.
//!
//! An endpoint that does not even hear itself is blind, and a blind probe is an error: silence must not pass for isolation.

mod endpoint;
mod frames;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use endpoint::{Endpoint, find};

/// The UDP port of the probe's receivers.
const UDP_PORT: u16 = 39_377;
/// When datagrams and frames are sent, counted from the start; the first may be lost to address resolution.
const ROUNDS: [Duration; 4] = [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(600), Duration::from_millis(1100)];
/// When listening ends.
const LISTEN: Duration = Duration::from_millis(1600);
/// How long a connection may take, and its first line.
const CONNECT: Duration = Duration::from_millis(1200);
/// What every packet of the probe begins with.
const MAGIC: &str = "cofferdam-probe";

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who was there.
    pub endpoints: Vec<Endpoint>,
    /// For each ordered pair and way: what was sent to it, and what it received from there.
    pub results: Vec<Measured>,
    /// How long it took, in milliseconds.
    pub duration_ms: u128,
}

/// What was sent from one endpoint towards another, and received by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the sender.
    pub from: String,
    /// Name of the receiver.
    pub to: String,
    /// `l2`, `udp` or `service`.
    pub kind: String,
    /// Packets or connections tried towards it.
    pub sent: u64,
    /// Packets it received, or connections it answered, from there.
    pub received: u64,
}

/// Probes a running rack.
///
/// # Errors
/// The rack does not run, an endpoint cannot be entered, or an endpoint is blind.
pub fn run(dir: &Path, service_port: Option<u16>) -> anyhow::Result<Report> {
    let began = Instant::now();
    let endpoints = find(dir)?;
    let results = measure(&endpoints, service_port)?;
    Ok(Report { endpoints, results, duration_ms: began.elapsed().as_millis() })
}

/// Counts by (from, to, kind): (sent, received).
#[derive(Default)]
struct Counts(BTreeMap<(usize, usize, &'static str), (u64, u64)>);

impl Counts {
    fn sent(&mut self, from: usize, to: usize, kind: &'static str) {
        self.0.entry((from, to, kind)).or_default().0 += 1;
    }

    fn received(&mut self, from: usize, to: usize, kind: &'static str) {
        self.0.entry((from, to, kind)).or_default().1 += 1;
    }
}

/// Measures every ordered pair.
///
/// # Errors
/// An endpoint cannot be entered, or is blind.
pub fn measure(endpoints: &[Endpoint], service_port: Option<u16>) -> anyhow::Result<Vec<Measured>> {
    // Packets of another run of the probe, or of another rack's, are not ours.
    let run = format!("{MAGIC}/{}", uuid::Uuid::new_v4().simple());
    let counts = Arc::new(Mutex::new(Counts::default()));
    // All sockets are open before the first packet leaves.
    let ready = Arc::new(Barrier::new(endpoints.len()));
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..endpoints.len())
            .map(|at| {
                let (run, counts, ready) = (run.as_str(), Arc::clone(&counts), Arc::clone(&ready));
                scope.spawn(move || one(at, endpoints, run, service_port, &counts, &ready))
            })
            .collect();
        let ended = threads.into_iter().zip(endpoints).map(|(thread, endpoint)| match thread.join() {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{}: {error:#}", endpoint.name)),
            Err(_) => Some(format!("{}: its thread panicked", endpoint.name)),
        });
        ended.collect::<Vec<_>>().into_iter().flatten().collect()
    });
    anyhow::ensure!(failures.is_empty(), "the probe is blind: {}", failures.join("; "));
    let counts = counts.lock().map_err(|_| anyhow::anyhow!("a thread of the probe panicked"))?;
    for (at, endpoint) in endpoints.iter().enumerate() {
        for kind in ["udp", "l2"] {
            let deaf = counts.0.get(&(at, at, kind)).is_none_or(|(_, received)| *received == 0);
            anyhow::ensure!(
                !deaf || (kind == "l2" && !endpoint.is_machine()),
                "the probe is blind: {} does not hear itself by {kind}",
                endpoint.name
            );
        }
    }
    let name = |at: usize| endpoints.get(at).map(|it| it.name.clone()).unwrap_or_default();
    let others = counts.0.iter().filter(|((from, to, _), _)| from != to);
    Ok(others
        .map(|((from, to, kind), (sent, received))| Measured {
            from: name(*from),
            to: name(*to),
            kind: (*kind).to_owned(),
            sent: *sent,
            received: *received,
        })
        .collect())
}

/// One endpoint: everything it sends, and everything it receives.
fn one(
    at: usize,
    endpoints: &[Endpoint],
    run: &str,
    service_port: Option<u16>,
    counts: &Mutex<Counts>,
    ready: &Barrier,
) -> anyhow::Result<()> {
    // Whatever fails, the others must not wait for this one for ever.
    let opened = open(endpoints.get(at).context("an endpoint that is none")?);
    ready.wait();
    let (udp, card) = opened?;
    let began = Instant::now();
    let until = began + LISTEN;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let hear = scope.spawn(|| hear_datagrams(&udp, run, until, at, counts));
        let see = card.as_ref().map(|card| scope.spawn(move || see_frames(card, run, until, at, counts)));
        let connect = service_port.map(|port| scope.spawn(move || connect(at, endpoints, port, counts)));
        for round in ROUNDS {
            std::thread::sleep((began + round).saturating_duration_since(Instant::now()));
            send_datagrams(&udp, run, at, endpoints, counts);
            if let Some(card) = &card {
                send_frames(card, run, at, endpoints, counts)?;
            }
        }
        let panicked = || anyhow::anyhow!("a thread of the probe panicked");
        hear.join().map_err(|_| panicked())?.context("receiving datagrams")?;
        if let Some(see) = see {
            see.join().map_err(|_| panicked())?.context("receiving frames")?;
        }
        if let Some(connect) = connect {
            connect.join().map_err(|_| panicked())?.context("connecting")?;
        }
        Ok(())
    })
}

/// Enters the endpoint for good (this thread ends with the probe) and opens its sockets.
fn open(endpoint: &Endpoint) -> anyhow::Result<(UdpSocket, Option<frames::Card>)> {
    endpoint.enter().with_context(|| format!("entering the network namespace of process {}", endpoint.pid))?;
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, UDP_PORT)).context("opening a UDP socket")?;
    let card = if endpoint.is_machine() { Some(frames::Card::open("eth0").context("opening eth0")?) } else { None };
    Ok((udp, card))
}

/// The addresses at which an endpoint is tried.
fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = Ipv4Addr> + '_ {
    endpoint.addresses.iter().filter_map(|it| it.split('/').next()?.parse().ok())
}

fn note(counts: &Mutex<Counts>, change: impl FnOnce(&mut Counts)) {
    if let Ok(mut counts) = counts.lock() {
        change(&mut counts);
    }
}

fn send_datagrams(udp: &UdpSocket, run: &str, at: usize, endpoints: &[Endpoint], counts: &Mutex<Counts>) {
    let text = format!("{run}/{at}");
    // To itself, by an address of its own: proof that it hears.
    drop(udp.send_to(text.as_bytes(), (Ipv4Addr::LOCALHOST, UDP_PORT)));
    let all: BTreeSet<Ipv4Addr> = endpoints.iter().flat_map(addresses).collect();
    for address in all {
        // An address there is no way to is not sent to; that is for the other ways to show.
        if udp.send_to(text.as_bytes(), (address, UDP_PORT)).is_ok() {
            for (to, _) in endpoints.iter().enumerate().filter(|(to, it)| *to != at && addresses(it).any(|has| has == address)) {
                note(counts, |counts| counts.sent(at, to, "udp"));
            }
        }
    }
}

/// Who sent it, if it is one of this run's.
fn sender(packet: &[u8], run: &str) -> Option<usize> {
    let text = std::str::from_utf8(packet).ok()?;
    text.strip_prefix(run)?.strip_prefix('/')?.trim_end_matches('\0').parse().ok()
}

fn hear_datagrams(udp: &UdpSocket, run: &str, until: Instant, at: usize, counts: &Mutex<Counts>) -> io::Result<()> {
    let mut buffer = [0_u8; 256];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        udp.set_read_timeout(Some(left))?;
        match udp.recv_from(&mut buffer) {
            Ok((read, _)) => {
                if let Some(from) = buffer.get(..read).and_then(|packet| sender(packet, run)) {
                    note(counts, |counts| counts.received(from, at, "udp"));
                }
            }
            // An unreachable peer's answer to what was sent before, or the end of the wait.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send_frames(card: &frames::Card, run: &str, at: usize, endpoints: &[Endpoint], counts: &Mutex<Counts>) -> anyhow::Result<()> {
    let text = format!("{run}/{at}");
    let machines = || endpoints.iter().enumerate().filter(move |(to, it)| *to != at && it.is_machine());
    for tags in frames::tags() {
        card.send(frames::BROADCAST, &tags, text.as_bytes()).context("sending a broadcast frame")?;
        machines().for_each(|(to, _)| note(counts, |counts| counts.sent(at, to, "l2")));
    }
    for (to, machine) in machines() {
        if let Some(mac) = machine.mac.as_deref().and_then(frames::mac) {
            card.send(mac, &[], text.as_bytes()).context("sending a frame")?;
            note(counts, |counts| counts.sent(at, to, "l2"));
        }
    }
    Ok(())
}

fn see_frames(card: &frames::Card, run: &str, until: Instant, at: usize, counts: &Mutex<Counts>) -> io::Result<()> {
    while Instant::now() < until {
        if let Some(payload) = card.receive()?
            && let Some(from) = sender(&payload, run)
        {
            note(counts, |counts| counts.received(from, at, "l2"));
        }
    }
    Ok(())
}

/// Connects to the port on every address of every container and its machine, and asks who is there.
fn connect(at: usize, endpoints: &[Endpoint], port: u16, counts: &Mutex<Counts>) -> anyhow::Result<()> {
    let here = endpoints.get(at).context("an endpoint that is none")?;
    let mut targets: BTreeMap<Ipv4Addr, BTreeSet<usize>> = BTreeMap::new();
    for (to, container) in endpoints.iter().enumerate().filter(|(_, it)| !it.is_machine()) {
        let machine = endpoints.iter().find(|it| it.is_machine() && it.machine == container.machine);
        for address in addresses(container).chain(machine.into_iter().flat_map(addresses)) {
            targets.entry(address).or_default().insert(to);
        }
    }
    std::thread::scope(|scope| {
        for (address, meant) in targets {
            scope.spawn(move || {
                if here.enter().is_err() {
                    return;
                }
                let answer = ask(SocketAddr::new(IpAddr::V4(address), port));
                note(counts, |counts| {
                    // A connection that the own kernel refused for want of a way was not tried on the network.
                    if !matches!(&answer, Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable) {
                        meant.iter().filter(|to| **to != at).for_each(|to| counts.sent(at, *to, "service"));
                    }
                    if let Ok(name) = &answer {
                        // Of several of that name nobody knows which answered: all count, so that nothing is overlooked.
                        let named = |it: &Endpoint| it.container.as_deref() == Some(name.as_str());
                        endpoints.iter().enumerate().filter(|(_, it)| named(it)).for_each(|(to, _)| counts.received(at, to, "service"));
                    }
                });
            });
        }
    });
    Ok(())
}

fn ask(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, CONNECT)?;
    stream.set_read_timeout(Some(CONNECT))?;
    let mut line = Vec::new();
    let mut byte = [0_u8; 1];
    while line.len() < 256 && stream.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Network namespaces of one bridge, each kept alive by a process in it.
    struct Bench {
        prefix: String,
        keepers: Vec<std::process::Child>,
    }

    impl Bench {
        fn run(line: &str) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }

        fn new(name: &str, count: usize) -> Self {
            let prefix = format!("cd-t{}{name}", std::process::id());
            let mut bench = Self { prefix: prefix.clone(), keepers: Vec::new() };
            Self::run(&format!("ip netns add {prefix}-sw"));
            Self::run(&format!("ip -n {prefix}-sw link add br0 type bridge"));
            Self::run(&format!("ip -n {prefix}-sw link set br0 up"));
            for at in 0..count {
                let netns = format!("{prefix}-{at}");
                Self::run(&format!("ip netns add {netns}"));
                Self::run(&format!("ip link add p{at} netns {prefix}-sw type veth peer name eth0 netns {netns}"));
                Self::run(&format!("ip -n {netns} link set lo up"));
                Self::run(&format!("ip -n {netns} link set eth0 up"));
                Self::run(&format!("ip -n {netns} address add 10.9.0.{}/24 dev eth0", at + 1));
                Self::run(&format!("ip -n {prefix}-sw link set p{at} up"));
                bench.keepers.push(Command::new("ip").args(["netns", "exec", &netns, "sleep", "60"]).spawn().unwrap());
            }
            bench
        }

        fn join(&self, at: usize) {
            Self::run(&format!("ip -n {}-sw link set p{at} master br0", self.prefix));
        }

        fn endpoints(&self) -> Vec<Endpoint> {
            let keepers = self.keepers.iter().enumerate();
            keepers.map(|(at, keeper)| endpoint::of(&format!("m{at}"), None, i32::try_from(keeper.id()).unwrap()).unwrap()).collect()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            for keeper in &mut self.keepers {
                let _gone = keeper.kill();
                let _gone = keeper.wait();
            }
            for at in 0..self.keepers.len() {
                let _gone = Command::new("ip").args(["netns", "del", &format!("{}-{at}", self.prefix)]).output();
            }
            let _gone = Command::new("ip").args(["netns", "del", &format!("{}-sw", self.prefix)]).output();
        }
    }

    fn reached(results: &[Measured]) -> BTreeSet<(String, String, String)> {
        results.iter().filter(|it| it.received > 0).map(|it| (it.from.clone(), it.to.clone(), it.kind.clone())).collect()
    }

    #[test]
    fn what_is_joined_is_reached_and_what_is_apart_is_not() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
        let bench = Bench::new("p", 3);
        bench.join(0);
        bench.join(1);
        std::thread::sleep(Duration::from_millis(100));
        let results = measure(&bench.endpoints(), None).unwrap();
        let expected = |pairs: &[(&str, &str)]| -> BTreeSet<(String, String, String)> {
            pairs.iter().flat_map(|(a, b)| ["l2", "udp"].map(|kind| ((*a).to_owned(), (*b).to_owned(), kind.to_owned()))).collect()
        };
        assert_eq!(reached(&results), expected(&[("m0", "m1"), ("m1", "m0")]));
        assert!(results.iter().filter(|it| it.to == "m2").all(|it| it.sent > 0), "nothing was left out: {results:?}");
        // The same probe sees a leak.
        bench.join(2);
        let results = measure(&bench.endpoints(), None).unwrap();
        assert!(reached(&results).is_superset(&expected(&[("m0", "m2"), ("m2", "m0"), ("m1", "m2"), ("m2", "m1")])), "{results:?}");
    }

    #[test]
    fn an_endpoint_without_a_card_is_blind() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
        let bench = Bench::new("b", 2);
        let endpoints = bench.endpoints();
        Bench::run(&format!("ip -n {}-0 link set eth0 down", bench.prefix));
        assert!(measure(&endpoints, None).is_err());
    }

    #[test]
    fn only_packets_of_this_run_count() {
        assert_eq!(sender(b"cofferdam-probe/x/3", "cofferdam-probe/x"), Some(3));
        assert_eq!(sender(b"cofferdam-probe/x/3\0\0\0", "cofferdam-probe/x"), Some(3));
        assert_eq!(sender(b"cofferdam-probe/y/3", "cofferdam-probe/x"), None);
        assert_eq!(sender(b"\xff", "cofferdam-probe/x"), None);
    }
}
