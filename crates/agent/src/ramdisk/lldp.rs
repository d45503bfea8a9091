//! Who is at the other end of each cable: frames of the Link Layer Discovery Protocol, as switches send them every half minute.
//!
//! Source: IEEE 802.1AB, 7 and 8; ironic-python-agent, `netutils.py` (`get_lldp_info`), for the form of the result.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{recv, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};

use super::kernel;

const ETHERTYPE: u16 = 0x88cc;
/// Addresses that LLDP is sent to: nearest bridge, nearest non-TPMR bridge, nearest customer bridge.
const GROUPS: [[u8; 6]; 3] = [[1, 0x80, 0xc2, 0, 0, 0x0e], [1, 0x80, 0xc2, 0, 0, 3], [1, 0x80, 0xc2, 0, 0, 0]];
/// Destination, source and type of an Ethernet frame, in bytes.
const HEADER: usize = 14;
/// Interfaces listened on at most.
const MAX_INTERFACES: usize = 64;

/// Type, length and value, without the length.
type Tlv = (u8, Vec<u8>);

/// What was heard: for each interface the parts of one frame, in the form of `lldp_raw`; empty where nothing was heard.
pub type Heard = BTreeMap<String, Vec<Tlv>>;

/// `[[type, "hex"]…]`, as ironic-python-agent writes it.
pub fn json(tlvs: &[Tlv]) -> Value {
    tlvs.iter().map(|(kind, value)| json!([kind, value.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))])).collect()
}

/// The parts of a frame. What comes after a part that does not fit is dropped.
fn parse(frame: &[u8]) -> Vec<Tlv> {
    let mut tlvs = Vec::new();
    let mut rest = frame.get(HEADER..).unwrap_or_default();
    while let [high, low, after @ ..] = rest {
        let (kind, length) = (high >> 1, usize::from(high & 1) << 8 | usize::from(*low));
        let Some((value, next)) = after.split_at_checked(length) else { break };
        tlvs.push((kind, value.to_vec()));
        // The end; what follows is padding.
        if kind == 0 {
            break;
        }
        rest = next;
    }
    tlvs
}

/// Waits on all `names` at once until each has heard a neighbour or `patience` is over. Blocking.
pub fn listen(names: &[String], patience: Duration) -> Heard {
    let until = Instant::now() + patience;
    std::thread::scope(|scope| {
        let listeners: Vec<_> = names.iter().take(MAX_INTERFACES).map(|name| (name, scope.spawn(move || hear(name, until)))).collect();
        listeners
            .into_iter()
            .map(|(name, listener)| {
                let heard = listener.join().unwrap_or_else(|_| Err(std::io::Error::other("the listener broke off")));
                let tlvs = heard.unwrap_or_else(|error| {
                    tracing::warn!(interface = name, %error, "could not listen for neighbours");
                    Vec::new()
                });
                (name.clone(), tlvs)
            })
            .collect()
    })
}

fn hear(name: &str, until: Instant) -> std::io::Result<Vec<Tlv>> {
    let socket = kernel::listen(name, ETHERTYPE, &GROUPS)?;
    let mut frame = [0_u8; 2048];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Vec::new());
        }
        // Zero would mean for ever.
        let left = left.max(Duration::from_millis(1));
        let wait = TimeVal::new(left.as_secs().try_into().unwrap_or(60), left.subsec_micros().into());
        setsockopt(&socket, sockopt::ReceiveTimeout, &wait)?;
        match recv(socket.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::empty()) {
            Ok(count) => {
                let tlvs = parse(frame.get(..count).unwrap_or_default());
                if !tlvs.is_empty() {
                    return Ok(tlvs);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chassis aa:…:01, port "Ethernet1", time to live 120, end, padding.
    fn frame() -> Vec<u8> {
        let mut frame = vec![1, 0x80, 0xc2, 0, 0, 0x0e, 0xaa, 0, 0, 0, 0, 1, 0x88, 0xcc];
        frame.extend([2, 7, 4, 0xaa, 0, 0, 0, 0, 1, 4, 10, 5]);
        frame.extend(b"Ethernet1");
        frame.extend([6, 2, 0, 120, 0, 0, 0, 0, 0, 0]);
        frame
    }

    #[test]
    fn a_frame_is_taken_apart_and_nonsense_ends_it() {
        let whole = json(&parse(&frame()));
        assert_eq!(whole, json!([[1, "04aa0000000001"], [2, "0545746865726e657431"], [3, "0078"], [0, ""]]));
        for cut in 0..frame().len() {
            assert!(parse(&frame()[..cut]).len() <= 4);
        }
        assert_eq!(parse(&[0xff; 40]), []);
        assert_eq!(parse(&[]), []);
    }

    fn ip(args: &str) -> bool {
        std::process::Command::new("ip").args(args.split(' ')).status().is_ok_and(|it| it.success())
    }

    #[test]
    fn a_neighbour_is_heard_and_silence_ends() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: a network namespace needs root");
            return;
        }
        // The namespace belongs to this thread, and its listeners inherit it; it ends with them.
        std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            if !ip("link add here type veth peer name there") {
                println!("skipped: no program ip");
                return;
            }
            assert!(
                ip("link set here up")
                    && ip("link set there up")
                    && ip("link add quiet type veth peer name mute")
                    && ip("link set quiet up")
            );
            let speaker = kernel::listen("there", ETHERTYPE, &[]).unwrap();
            let names = ["here".to_owned(), "quiet".to_owned(), "absent".to_owned()];
            let heard = std::thread::scope(|scope| {
                let ear = scope.spawn(|| listen(&names, Duration::from_secs(2)));
                while !ear.is_finished() {
                    nix::sys::socket::send(speaker.as_raw_fd(), &frame(), nix::sys::socket::MsgFlags::empty()).unwrap();
                    std::thread::sleep(Duration::from_millis(100));
                }
                ear.join().unwrap()
            });
            assert_eq!(heard["here"].len(), 4);
            assert_eq!((heard["quiet"].len(), heard["absent"].len()), (0, 0));
        })
        .join()
        .unwrap();
    }
}
