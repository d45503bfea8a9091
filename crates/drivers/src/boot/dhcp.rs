//! DHCPv4 for the provisioning network (RFC 2131, RFC 4578). It answers only machines that somebody wants to boot now.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dhcproto::v4::{DhcpOption, DhcpOptions, Message, MessageType, Opcode, OptionCode, SERVER_PORT};
use dhcproto::{Decodable, Decoder, Encodable};
use net::{Netns, UdpOptions, udp_bind};
use tokio::net::UdpSocket;

use crate::Fut;

/// How long a lease lasts; a ramdisk lives shorter or renews.
const LEASE_SECONDS: u32 = 600;
const CLIENT_PORT: u16 = 68;

/// What a machine is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// Our own address there: server id and next server.
    pub server: Ipv4Addr,
    /// Default router, if there is one.
    pub router: Option<Ipv4Addr>,
    /// URL of the iPXE script.
    pub script_url: String,
    /// TFTP file for BIOS clients.
    pub boot_file_bios: String,
    /// TFTP file for UEFI clients.
    pub boot_file_uefi: String,
    /// URL of the same, for UEFI clients that boot by HTTP.
    pub boot_url_http: String,
}

/// Who may boot, and with what.
pub trait Leases: Send + Sync {
    /// The lease of the machine with this MAC address; `None` leaves it unanswered.
    fn lease(&self, mac: [u8; 6]) -> Fut<'_, Option<Lease>>;
}

/// The server's socket.
pub struct DhcpServer {
    socket: UdpSocket,
}

impl DhcpServer {
    /// Binds UDP port 67 to the device in the namespace. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// If the namespace or the device does not exist, or the port is taken.
    pub fn bind(netns: &Netns, device: &str) -> io::Result<DhcpServer> {
        let options = UdpOptions { device: Some(device.to_owned()), broadcast: true };
        let socket = udp_bind(netns, SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERVER_PORT)), options)?;
        Ok(DhcpServer { socket })
    }

    /// Serves until the future is dropped or the socket breaks (the device is gone).
    ///
    /// # Errors
    /// If receiving fails for good.
    pub async fn run(self, leases: Arc<dyn Leases>) -> io::Result<()> {
        let mut buffer = [0_u8; 2048];
        loop {
            let (read, _) = self.socket.recv_from(&mut buffer).await?;
            let Some(request) = buffer.get(..read).and_then(parse) else { continue };
            let Some(mac) = mac_of(&request) else { continue };
            let Some(lease) = leases.lease(mac).await else { continue };
            let Some(answer) = answer(&request, &lease) else { continue };
            let Ok(bytes) = answer.to_vec() else { continue };
            // To a client without an address: broadcast, whatever its flags say. A relay is answered where it listens.
            let to = if request.giaddr().is_unspecified() {
                SocketAddr::from((Ipv4Addr::BROADCAST, CLIENT_PORT))
            } else {
                SocketAddr::from((request.giaddr(), SERVER_PORT))
            };
            if let Err(error) = self.socket.send_to(&bytes, to).await {
                tracing::warn!(%error, "could not send a DHCP answer");
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Message> {
    let message = Message::decode(&mut Decoder::new(bytes)).ok()?;
    // The codec believes any length of the hardware address; only Ethernet's is ours.
    (message.opcode() == Opcode::BootRequest && message.hlen() == 6).then_some(message)
}

fn mac_of(request: &Message) -> Option<[u8; 6]> {
    request.chaddr().get(..6)?.try_into().ok()
}

/// The answer to a request, if it deserves one.
fn answer(request: &Message, lease: &Lease) -> Option<Message> {
    let asked = request.opts();
    let kind = match asked.msg_type()? {
        MessageType::Discover => MessageType::Offer,
        MessageType::Request => {
            let for_us = match asked.get(OptionCode::ServerIdentifier) {
                Some(DhcpOption::ServerIdentifier(server)) => *server == lease.server,
                _ => true,
            };
            if !for_us {
                return None;
            }
            let wanted = match asked.get(OptionCode::RequestedIpAddress) {
                Some(DhcpOption::RequestedIpAddress(address)) => *address,
                _ => request.ciaddr(),
            };
            if wanted == lease.address { MessageType::Ack } else { MessageType::Nak }
        }
        _ => return None,
    };
    let mut message = Message::new_with_id(
        request.xid(),
        Ipv4Addr::UNSPECIFIED,
        if kind == MessageType::Nak { Ipv4Addr::UNSPECIFIED } else { lease.address },
        Ipv4Addr::UNSPECIFIED,
        request.giaddr(),
        request.chaddr(),
    );
    message.set_opcode(Opcode::BootReply).set_flags(request.flags());
    let mut options = DhcpOptions::new();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(lease.server));
    if kind != MessageType::Nak {
        options.insert(DhcpOption::AddressLeaseTime(LEASE_SECONDS));
        options.insert(DhcpOption::SubnetMask(mask(lease.prefix)));
        if let Some(router) = lease.router {
            options.insert(DhcpOption::Router(vec![router]));
        }
        if let Some(file) = boot_file(asked, lease) {
            message.set_siaddr(lease.server);
            // The fixed field is 128 bytes with its terminator.
            if file.len() < 128 {
                message.set_fname_str(&file);
            }
            options.insert(DhcpOption::TFTPServerName(lease.server.to_string().into_bytes()));
            options.insert(DhcpOption::BootfileName(file.into_bytes()));
            if is_http(asked) {
                // Without it the firmware takes the answer for one to a PXE client (UEFI 2.10, section 24.7.3.1).
                options.insert(DhcpOption::ClassIdentifier(b"HTTPClient".to_vec()));
            }
            if is_pxe(asked) {
                options.insert(DhcpOption::ClassIdentifier(b"PXEClient".to_vec()));
                // PXE_DISCOVERY_CONTROL = 8: take the boot file named here, look for no boot server (PXE 2.1, table 2-1).
                options.insert(DhcpOption::VendorExtensions(vec![6, 1, 8, 255]));
            }
        }
    }
    message.set_opts(options);
    Some(message)
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0))
}

fn is_pxe(asked: &DhcpOptions) -> bool {
    matches!(asked.get(OptionCode::ClassIdentifier), Some(DhcpOption::ClassIdentifier(class)) if class.starts_with(b"PXEClient"))
}

fn is_http(asked: &DhcpOptions) -> bool {
    matches!(asked.get(OptionCode::ClassIdentifier), Some(DhcpOption::ClassIdentifier(class)) if class.starts_with(b"HTTPClient"))
}

/// iPXE is given its script; firmware that boots by HTTP the URL of iPXE; a PXE ROM is given iPXE of its architecture; anybody else wants an address only.
fn boot_file(asked: &DhcpOptions, lease: &Lease) -> Option<String> {
    if let Some(DhcpOption::UserClass(class)) = asked.get(OptionCode::UserClass)
        && class.ends_with(b"iPXE")
    {
        return Some(lease.script_url.clone());
    }
    if is_http(asked) {
        return Some(lease.boot_url_http.clone());
    }
    if !is_pxe(asked) {
        return None;
    }
    let arch = match asked.get(OptionCode::ClientSystemArchitecture) {
        Some(DhcpOption::ClientSystemArchitecture(arch)) => u16::from(*arch),
        _ => 0,
    };
    Some(if arch == 0 { lease.boot_file_bios.clone() } else { lease.boot_file_uefi.clone() })
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::Architecture;
    use proptest::prelude::*;

    use super::*;

    fn lease() -> Lease {
        Lease {
            address: Ipv4Addr::new(172, 30, 0, 9),
            prefix: 24,
            server: Ipv4Addr::new(172, 30, 0, 1),
            router: None,
            script_url: "http://172.30.0.1:8089/boot/x".into(),
            boot_file_bios: "undionly.kpxe".into(),
            boot_file_uefi: "snponly.efi".into(),
            boot_url_http: "http://172.30.0.1:8089/ipxe/snponly.efi".into(),
        }
    }

    fn request(kind: MessageType, options: Vec<DhcpOption>) -> Message {
        let any = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(7, any, any, any, any, &[1, 2, 3, 4, 5, 6]);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option);
        }
        parse(&message.to_vec().unwrap()).unwrap()
    }

    fn file(answer: &Message) -> Option<String> {
        answer.fname_str().and_then(Result::ok).map(|name| name.trim_end_matches('\0').to_owned())
    }

    #[test]
    fn each_client_is_given_what_it_can_boot() {
        let pxe = DhcpOption::ClassIdentifier(b"PXEClient:Arch:00007".to_vec());
        let bios = answer(&request(MessageType::Discover, vec![pxe.clone()]), &lease()).unwrap();
        assert_eq!(file(&bios).as_deref(), Some("undionly.kpxe"));
        let uefi = DhcpOption::ClientSystemArchitecture(Architecture::from(7));
        let uefi = answer(&request(MessageType::Discover, vec![pxe.clone(), uefi]), &lease()).unwrap();
        assert_eq!(file(&uefi).as_deref(), Some("snponly.efi"));
        let ipxe = answer(&request(MessageType::Discover, vec![pxe, DhcpOption::UserClass(b"iPXE".to_vec())]), &lease()).unwrap();
        assert_eq!(file(&ipxe).as_deref(), Some("http://172.30.0.1:8089/boot/x"));
        let http = DhcpOption::ClassIdentifier(b"HTTPClient:Arch:00016:UNDI:003001".to_vec());
        let http = answer(&request(MessageType::Discover, vec![http]), &lease()).unwrap();
        assert_eq!(file(&http).as_deref(), Some("http://172.30.0.1:8089/ipxe/snponly.efi"));
        assert!(matches!(http.opts().get(OptionCode::ClassIdentifier), Some(DhcpOption::ClassIdentifier(it)) if it == b"HTTPClient"));
        let plain = answer(&request(MessageType::Discover, vec![]), &lease()).unwrap();
        assert_eq!((file(&plain), plain.yiaddr()), (None, lease().address));
    }

    #[test]
    fn only_its_own_address_is_confirmed() {
        let ask = |address: Ipv4Addr| answer(&request(MessageType::Request, vec![DhcpOption::RequestedIpAddress(address)]), &lease());
        assert_eq!(ask(lease().address).unwrap().opts().msg_type(), Some(MessageType::Ack));
        assert_eq!(ask(Ipv4Addr::new(172, 30, 0, 10)).unwrap().opts().msg_type(), Some(MessageType::Nak));
        let other = DhcpOption::ServerIdentifier(Ipv4Addr::new(9, 9, 9, 9));
        assert!(answer(&request(MessageType::Request, vec![other]), &lease()).is_none(), "meant for another server");
        assert!(answer(&request(MessageType::Release, vec![]), &lease()).is_none());
    }

    #[test]
    fn masks() {
        assert_eq!(mask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!((mask(0), mask(32)), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(request) = parse(&bytes) {
                let _mac = mac_of(&request);
                let _answer = answer(&request, &lease());
            }
        }
    }
}
