//! Sockets in network namespaces.
//!
//! A socket belongs for ever to the namespace in which it was created, so a fresh short-lived thread enters the
//! namespace, creates the socket and ends; the async runtime's own threads never change theirs.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// A network namespace: the one the process runs in, or one named under `/run/netns`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Netns(pub Option<String>);

impl Netns {
    /// The namespace the process runs in.
    pub fn host() -> Self {
        Self(None)
    }

    /// The namespace `/run/netns/<name>`, as `ip netns add` makes it.
    pub fn named(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }

    /// Runs `f` inside the namespace on a fresh thread and returns what it returned. Blocks the calling thread; meant for quick
    /// work such as creating a socket.
    ///
    /// # Errors
    /// The namespace does not exist or may not be entered; the thread could not start or panicked.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Some(name) = &self.0 else {
            return Ok(f());
        };
        let file = File::open(format!("/run/netns/{name}"))?;
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, move || {
                setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                Ok(f())
            })?;
            thread.join().map_err(|_| io::Error::other("the thread inside the network namespace panicked"))?
        })
    }
}

/// Options of a UDP socket.
#[derive(Clone, Debug, Default)]
pub struct UdpOptions {
    /// Bind to this network device only (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// May send to broadcast addresses.
    pub broadcast: bool,
}

fn new_tcp(family: SocketAddr) -> io::Result<TcpSocket> {
    if family.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Connects to `to` from inside the namespace.
///
/// # Errors
/// As the kernel says; [`io::ErrorKind::TimedOut`] after `deadline`.
pub async fn tcp_connect(netns: &Netns, to: SocketAddr, deadline: Duration) -> io::Result<TcpStream> {
    let socket = netns.run(|| new_tcp(to))??;
    let stream = tokio::time::timeout(deadline, socket.connect(to))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {to} within {deadline:?}")))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Listens on `at` inside the namespace; must be called from within a tokio runtime.
///
/// # Errors
/// As the kernel says.
pub fn tcp_listen(netns: &Netns, at: SocketAddr) -> io::Result<TcpListener> {
    let socket = netns.run(|| new_tcp(at))??;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(1024)
}

/// Binds a UDP socket inside the namespace; must be called from within a tokio runtime.
///
/// # Errors
/// As the kernel says.
pub fn udp_bind(netns: &Netns, at: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
    let socket = netns.run(|| -> io::Result<std::net::UdpSocket> {
        let family = if at.is_ipv4() { nix::sys::socket::AddressFamily::Inet } else { nix::sys::socket::AddressFamily::Inet6 };
        let fd = nix::sys::socket::socket(
            family,
            nix::sys::socket::SockType::Datagram,
            nix::sys::socket::SockFlag::SOCK_CLOEXEC | nix::sys::socket::SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        if options.broadcast {
            setsockopt(&fd, sockopt::Broadcast, &true)?;
        }
        if let Some(device) = &options.device {
            setsockopt(&fd, sockopt::BindToDevice, &device.into())?;
        }
        let address = nix::sys::socket::SockaddrStorage::from(at);
        nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)?;
        Ok(fd.into())
    })??;
    UdpSocket::from_std(socket)
}
