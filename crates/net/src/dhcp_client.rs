//! A DHCPv4 client (RFC 2131) for machines that have no address yet: the firmware and the ramdisk of a machine.
//!
//! Uses an ordinary UDP socket bound to the device, with the broadcast flag set, so that answers reach it before it has an address.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dhcproto::v4::{Architecture, CLIENT_PORT, DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, SERVER_PORT};
use dhcproto::{Decodable, Decoder, Encodable};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Network device; must be up.
    pub interface: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Option 60, such as `PXEClient:Arch:00007:UNDI:003016`.
    pub vendor_class: Option<String>,
    /// Option 77, such as `iPXE`.
    pub user_class: Option<String>,
    /// Option 93 (RFC 4578), the client's architecture.
    pub arch: Option<u16>,
    /// When to give up.
    pub deadline: Duration,
}

/// What was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client's address.
    pub address: Ipv4Addr,
    /// Prefix length of its subnet.
    pub prefix: u8,
    /// Default router.
    pub router: Option<Ipv4Addr>,
    /// The server that granted it.
    pub server: Ipv4Addr,
    /// Where to boot from (`siaddr`, else option 66 if it is an address).
    pub next_server: Option<Ipv4Addr>,
    /// What to boot (`file`, else option 67).
    pub boot_file: Option<String>,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum DhcpError {
    /// Nobody offered, or nobody confirmed, in time.
    #[error("no DHCP answer on {interface} within {deadline:?}")]
    NoAnswer {
        /// The device.
        interface: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The socket failed.
    #[error("cannot use DHCP on {interface}")]
    Socket {
        /// The device.
        interface: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Obtains a lease, blocking, in the calling thread's network namespace.
///
/// # Errors
/// See [`DhcpError`]; asking again is harmless.
pub fn discover(ask: &Ask) -> Result<Lease, DhcpError> {
    let failed = |source: std::io::Error| DhcpError::Socket { interface: ask.interface.clone(), source };
    let socket = open(&ask.interface).map_err(failed)?;
    let until = Instant::now() + ask.deadline;
    let xid = u32::from_be_bytes([ask.mac[2], ask.mac[3], ask.mac[4], ask.mac[5]])
        ^ u32::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() & 0xffff_ffff))
            .unwrap_or(1);
    let mut offer: Option<Message> = None;
    let mut wait = Duration::from_millis(250);
    while Instant::now() < until {
        let message = request(ask, xid, offer.as_ref());
        let bytes = message.to_vec().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        socket.send_to(&bytes, SocketAddr::from((Ipv4Addr::BROADCAST, SERVER_PORT))).map_err(failed)?;
        let round = (Instant::now() + wait).min(until);
        wait = (wait * 2).min(Duration::from_secs(4));
        while let Some(left) = round.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let Some(answer) = receive(&socket, left, xid).map_err(failed)? else { continue };
            match (answer.opts().msg_type(), &offer) {
                (Some(MessageType::Offer), None) => {
                    offer = Some(answer);
                    wait = Duration::from_millis(250);
                    break;
                }
                (Some(MessageType::Ack), Some(_)) => return Ok(lease(&answer)),
                (Some(MessageType::Nak), Some(_)) => {
                    offer = None;
                    break;
                }
                _ => {}
            }
        }
    }
    Err(DhcpError::NoAnswer { interface: ask.interface.clone(), deadline: ask.deadline })
}

fn open(interface: &str) -> std::io::Result<std::net::UdpSocket> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::Broadcast, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &interface.into())?;
    let any = SockaddrStorage::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENT_PORT)));
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &any)?;
    Ok(fd.into())
}

fn receive(socket: &std::net::UdpSocket, left: Duration, xid: u32) -> std::io::Result<Option<Message>> {
    socket.set_read_timeout(Some(left))?;
    let mut buffer = [0_u8; 2048];
    let read = match socket.recv_from(&mut buffer) {
        Ok((read, _)) => read,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let message = Message::decode(&mut Decoder::new(buffer.get(..read).unwrap_or_default())).ok();
    Ok(message.filter(|message| message.xid() == xid && message.opcode() == Opcode::BootReply))
}

fn request(ask: &Ask, xid: u32, offer: Option<&Message>) -> Message {
    let any = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, any, any, any, any, &ask.mac);
    message.set_flags(Flags::default().set_broadcast());
    let options = message.opts_mut();
    options.insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::TFTPServerName,
        OptionCode::BootfileName,
        OptionCode::VendorExtensions,
    ]));
    if let Some(class) = &ask.vendor_class {
        options.insert(DhcpOption::ClassIdentifier(class.clone().into_bytes()));
    }
    if let Some(class) = &ask.user_class {
        options.insert(DhcpOption::UserClass(class.clone().into_bytes()));
    }
    if let Some(arch) = ask.arch {
        options.insert(DhcpOption::ClientSystemArchitecture(Architecture::from(arch)));
    }
    match offer {
        None => {
            options.insert(DhcpOption::MessageType(MessageType::Discover));
        }
        Some(offer) => {
            options.insert(DhcpOption::MessageType(MessageType::Request));
            options.insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
            if let Some(DhcpOption::ServerIdentifier(server)) = offer.opts().get(OptionCode::ServerIdentifier) {
                options.insert(DhcpOption::ServerIdentifier(*server));
            }
        }
    }
    message
}

fn lease(ack: &Message) -> Lease {
    let options = ack.opts();
    let prefix = match options.get(OptionCode::SubnetMask) {
        Some(DhcpOption::SubnetMask(mask)) => u8::try_from(u32::from(*mask).leading_ones()).unwrap_or(24),
        _ => 24,
    };
    let router = match options.get(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers.first().copied(),
        _ => None,
    };
    let server = match options.get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) => *server,
        _ => ack.siaddr(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let next_server = Some(ack.siaddr()).filter(|it| !it.is_unspecified()).or_else(|| match options.get(OptionCode::TFTPServerName) {
        Some(DhcpOption::TFTPServerName(name)) => text(name).parse().ok(),
        _ => None,
    });
    let boot_file = ack.fname().map(text).filter(|it| !it.is_empty()).or_else(|| match options.get(OptionCode::BootfileName) {
        Some(DhcpOption::BootfileName(name)) => Some(text(name)),
        _ => None,
    });
    Lease { address: ack.yiaddr(), prefix, router, server, next_server, boot_file }
}
