//! DHCPv6 for the provisioning network (RFC 8415, RFC 5970). It answers only machines that somebody wants to boot now.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use dhcproto::v6::{DhcpOption, DhcpOptions, IAAddr, Message, MessageType, OptionCode, Status, StatusCode, UnknownOption};
use dhcproto::{Decodable, Decoder, Encodable};
use net::{Netns, UdpOptions, udp_bind};
use tokio::net::UdpSocket;

use crate::Fut;

/// How long an address may be used; a ramdisk lives shorter or renews.
const LEASE_SECONDS: u32 = 600;
const SERVER_PORT: u16 = 547;
/// OPT_BOOTFILE_URL (RFC 5970, section 3.1).
const BOOT_FILE_URL: u16 = 59;
/// Whose classes of clients these are (IANA, "Private Enterprise Numbers": Intel), as UEFI firmware writes it.
const VENDOR_CLASS_ENTERPRISE: u32 = 343;
/// Architectures whose firmware fetches its boot file by HTTP (IANA, "Processor Architecture Types").
const HTTP_ARCHITECTURES: &[u16] = &[15, 16, 17, 18, 19, 20, 21, 22];

/// What a machine is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease6 {
    /// Its address.
    pub address: Ipv6Addr,
    /// URL of the iPXE script.
    pub script_url: String,
    /// TFTP URL of iPXE for UEFI clients.
    pub boot_url_tftp: String,
    /// The same by HTTP, for firmware that can.
    pub boot_url_http: String,
}

/// Who may boot, and with what.
pub trait Leases6: Send + Sync {
    /// The lease of the machine with this MAC address; `None` leaves it unanswered.
    fn lease6(&self, mac: [u8; 6]) -> Fut<'_, Option<Lease6>>;
}

/// The server's socket.
pub struct Dhcp6Server {
    socket: UdpSocket,
    id: Vec<u8>,
}

impl Dhcp6Server {
    /// Binds UDP port 547 to the device in the namespace and joins the group that servers listen to
    /// (`ff02::1:2`). Must be called inside a Tokio runtime. `id` makes the server's identifier: the same after a restart.
    ///
    /// # Errors
    /// If the namespace or the device does not exist, or the port is taken.
    pub fn bind(netns: &Netns, device: &str, id: [u8; 16]) -> io::Result<Dhcp6Server> {
        let options = UdpOptions { device: Some(device.to_owned()), broadcast: false };
        let socket = udp_bind(netns, SocketAddr::from((Ipv6Addr::UNSPECIFIED, SERVER_PORT)), options)?;
        let index = netns.run(|| nix::net::if_::if_nametoindex(device))??;
        socket.join_multicast_v6(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2), index)?;
        // DUID-UUID (RFC 6355).
        let id = [&[0, 4], id.as_slice()].concat();
        Ok(Dhcp6Server { socket, id })
    }

    /// Serves until the future is dropped or the socket breaks (the device is gone).
    ///
    /// # Errors
    /// If receiving fails for good.
    pub async fn run(self, leases: Arc<dyn Leases6>) -> io::Result<()> {
        let mut buffer = [0_u8; 2048];
        loop {
            let (read, from) = self.socket.recv_from(&mut buffer).await?;
            let SocketAddr::V6(from) = from else { continue };
            let Some(request) = buffer.get(..read).and_then(|bytes| Message::decode(&mut Decoder::new(bytes)).ok()) else { continue };
            let Some(mac) = mac_of(&request, &from) else { continue };
            let Some(lease) = leases.lease6(mac).await else { continue };
            let Some(bytes) = answer(&request, &lease, &self.id).and_then(|answer| answer.to_vec().ok()) else { continue };
            if let Err(error) = self.socket.send_to(&bytes, from).await {
                tracing::warn!(%error, "could not send a DHCPv6 answer");
            }
        }
    }
}

/// The hardware address a request comes from: of the link-local address it is sent from where that is made of it (RFC 4291,
/// appendix A), else of the identifier (DUID-LLT, DUID-LL; RFC 8415, sections 11.2 and 11.4).
fn mac_of(request: &Message, from: &SocketAddrV6) -> Option<[u8; 6]> {
    if let [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f] = from.ip().octets() {
        return Some([a ^ 2, b, c, d, e, f]);
    }
    let Some(DhcpOption::ClientId(id)) = request.opts().get(OptionCode::ClientId) else { return None };
    match id.as_slice() {
        [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] => mac.try_into().ok(),
        _ => None,
    }
}

/// The address made of a prefix of 64 bits and a hardware address (RFC 4291, appendix A).
pub fn eui64(prefix: Ipv6Addr, mac: [u8; 6]) -> Ipv6Addr {
    let [p0, p1, p2, p3, p4, p5, p6, p7, ..] = prefix.octets();
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([p0, p1, p2, p3, p4, p5, p6, p7, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The answer to a request, if it deserves one.
fn answer(request: &Message, lease: &Lease6, id: &[u8]) -> Option<Message> {
    let asked = request.opts();
    let to_us = match asked.get(OptionCode::ServerId) {
        Some(DhcpOption::ServerId(server)) => Some(server == id),
        _ => None,
    };
    let client = match asked.get(OptionCode::ClientId) {
        Some(DhcpOption::ClientId(client)) => Some(client.clone()),
        _ => None,
    };
    let rapid = asked.get(OptionCode::RapidCommit).is_some();
    let kind = match request.msg_type() {
        MessageType::Solicit if client.is_some() && to_us.is_none() => {
            if rapid {
                MessageType::Reply
            } else {
                MessageType::Advertise
            }
        }
        MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline if to_us == Some(true) => {
            MessageType::Reply
        }
        MessageType::Confirm | MessageType::Rebind if to_us.is_none() => MessageType::Reply,
        MessageType::InformationRequest if to_us != Some(false) => MessageType::Reply,
        _ => return None,
    };
    let mut message = Message::new_with_id(kind, request.xid());
    let mut options = DhcpOptions::new();
    options.insert(DhcpOption::ServerId(id.to_vec()));
    if let Some(client) = client {
        options.insert(DhcpOption::ClientId(client));
    }
    match request.msg_type() {
        MessageType::Solicit | MessageType::Request | MessageType::Renew | MessageType::Rebind => {
            if rapid && request.msg_type() == MessageType::Solicit {
                options.insert(DhcpOption::RapidCommit);
            }
            // A machine has one address here, whatever it asks; it goes into the first of its associations.
            if let Some(DhcpOption::IANA(ia)) = asked.get(OptionCode::IANA) {
                let mut ia = ia.clone();
                ia.t1 = LEASE_SECONDS / 2;
                ia.t2 = LEASE_SECONDS / 5 * 4;
                ia.opts = DhcpOptions::new();
                ia.opts.insert(DhcpOption::IAAddr(IAAddr {
                    addr: lease.address,
                    preferred_life: LEASE_SECONDS,
                    valid_life: LEASE_SECONDS,
                    opts: DhcpOptions::new(),
                }));
                options.insert(DhcpOption::IANA(ia));
            }
            boot(asked, lease, &mut options);
        }
        MessageType::InformationRequest => boot(asked, lease, &mut options),
        MessageType::Confirm => {
            let all_ours = asked.get_all(OptionCode::IANA).into_iter().flatten().all(|it| match it {
                DhcpOption::IANA(ia) => ia
                    .opts
                    .get_all(OptionCode::IAAddr)
                    .into_iter()
                    .flatten()
                    .all(|it| matches!(it, DhcpOption::IAAddr(given) if given.addr == lease.address)),
                _ => true,
            });
            let (status, msg) = if all_ours { (Status::Success, "") } else { (Status::NotOnLink, "not an address of this link") };
            options.insert(DhcpOption::StatusCode(StatusCode { status, msg: msg.to_owned() }));
        }
        _ => {
            options.insert(DhcpOption::StatusCode(StatusCode { status: Status::Success, msg: String::new() }));
        }
    }
    message.set_opts(options);
    Some(message)
}

/// iPXE is given its script; firmware that boots from the network is given iPXE the way it can fetch it; anybody else an address only.
fn boot(asked: &DhcpOptions, lease: &Lease6, options: &mut DhcpOptions) {
    let is_ipxe =
        matches!(asked.get(OptionCode::UserClass), Some(DhcpOption::UserClass(class)) if class.data.iter().any(|it| it.ends_with(b"iPXE")));
    let arch = match asked.get(OptionCode::ClientArchType) {
        Some(DhcpOption::ClientArchType(all)) => all.first().map(|it| u16::from(*it)),
        _ => None,
    };
    let url = match arch {
        _ if is_ipxe => &lease.script_url,
        Some(arch) if HTTP_ARCHITECTURES.contains(&arch) => {
            // Written out: the codec counts the class's words where RFC 8415, section 21.16 wants their bytes.
            let class = [VENDOR_CLASS_ENTERPRISE.to_be_bytes().as_slice(), [0, 10].as_slice(), b"HTTPClient"].concat();
            options.insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::VendorClass, class)));
            &lease.boot_url_http
        }
        Some(_) => &lease.boot_url_tftp,
        None => return,
    };
    options.insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(BOOT_FILE_URL), url.as_bytes().to_vec())));
}

#[cfg(test)]
mod tests {
    use dhcproto::v6::{Architecture, IANA};
    use proptest::prelude::*;

    use super::*;

    const ID: &[u8] = &[0, 4, 1, 2, 3];
    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    fn lease() -> Lease6 {
        Lease6 {
            address: eui64("fd00:7::".parse().unwrap(), MAC),
            script_url: "http://[fd00:7::1]:8089/boot/x".into(),
            boot_url_tftp: "tftp://[fd00:7::1]/snponly.efi".into(),
            boot_url_http: "http://[fd00:7::1]:8089/ipxe/snponly.efi".into(),
        }
    }

    fn request(kind: MessageType, options: Vec<DhcpOption>) -> Message {
        let mut message = Message::new_with_id(kind, [1, 2, 3]);
        message.opts_mut().insert(DhcpOption::ClientId([&[0, 3, 0, 1], MAC.as_slice()].concat()));
        for option in options {
            message.opts_mut().insert(option);
        }
        let bytes = message.to_vec().unwrap();
        Message::decode(&mut Decoder::new(&bytes)).unwrap()
    }

    fn ia() -> DhcpOption {
        DhcpOption::IANA(IANA { id: 7, t1: 0, t2: 0, opts: DhcpOptions::new() })
    }

    fn url(answer: &Message) -> Option<String> {
        let bytes = answer.to_vec().unwrap();
        let again = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        again.opts().iter().find_map(|it| match it {
            DhcpOption::Unknown(it) if u16::from(it.code()) == BOOT_FILE_URL => Some(String::from_utf8(it.data().to_vec()).unwrap()),
            _ => None,
        })
    }

    #[test]
    fn each_client_is_given_what_it_can_boot() {
        let ask = |options: Vec<DhcpOption>| answer(&request(MessageType::Solicit, options), &lease(), ID).unwrap();
        assert_eq!(ask(vec![ia()]).msg_type(), MessageType::Advertise);
        assert_eq!(url(&ask(vec![ia()])), None);
        let uefi = DhcpOption::ClientArchType(vec![Architecture::from(7)]);
        assert_eq!(url(&ask(vec![ia(), uefi.clone()])).as_deref(), Some("tftp://[fd00:7::1]/snponly.efi"));
        let http = DhcpOption::ClientArchType(vec![Architecture::from(16)]);
        assert_eq!(url(&ask(vec![ia(), http])).as_deref(), Some("http://[fd00:7::1]:8089/ipxe/snponly.efi"));
        // Written out: the codec counts the class's words where RFC 8415, section 21.15 wants their bytes.
        let ipxe = DhcpOption::Unknown(UnknownOption::new(OptionCode::UserClass, b"\x00\x04iPXE".to_vec()));
        assert_eq!(url(&ask(vec![ia(), uefi, ipxe])).as_deref(), Some("http://[fd00:7::1]:8089/boot/x"));
    }

    #[test]
    fn an_address_is_given_to_who_asks_this_server() {
        let reply = answer(&request(MessageType::Request, vec![ia(), DhcpOption::ServerId(ID.to_vec())]), &lease(), ID).unwrap();
        let Some(DhcpOption::IANA(ia_given)) = reply.opts().get(OptionCode::IANA) else { panic!("no association") };
        assert!(matches!(ia_given.opts.get(OptionCode::IAAddr), Some(DhcpOption::IAAddr(it)) if it.addr == lease().address));
        assert!(answer(&request(MessageType::Request, vec![ia(), DhcpOption::ServerId(vec![0, 4, 9])]), &lease(), ID).is_none());
        assert!(answer(&request(MessageType::Request, vec![ia()]), &lease(), ID).is_none());
    }

    #[test]
    fn hardware_addresses_are_found() {
        let link: SocketAddrV6 = "[fe80::5054:ff:fe01:203]:546".parse().unwrap();
        assert_eq!(mac_of(&Message::new(MessageType::Solicit), &link), Some(MAC));
        let other: SocketAddrV6 = "[fe80::1]:546".parse().unwrap();
        assert_eq!(mac_of(&request(MessageType::Solicit, vec![]), &other), Some(MAC));
        assert_eq!(mac_of(&Message::new(MessageType::Solicit), &other), None);
        assert_eq!(eui64("fd00:7::".parse().unwrap(), MAC).to_string(), "fd00:7::5054:ff:fe01:203");
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(request) = Message::decode(&mut Decoder::new(&bytes)) {
                let _mac = mac_of(&request, &"[fe80::1]:546".parse().unwrap());
                let _answer = answer(&request, &lease(), ID);
            }
        }
    }
}
