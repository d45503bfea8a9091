//! The cables of simulated switches: a real Open vSwitch passes the packets of their ports, and every machine's end is here to be sent
//! from and listened at.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::netos::plane::{Bridge, Plane};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket, sockopt,
};

use crate::site::Site;
use crate::support::{run, run_anyway, wait_for};

/// The ethertype of our frames (IEEE 802: for local experiments).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const MAGIC: &[u8; 8] = b"coffstrm";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// `PACKET_OUTGOING` of packet(7).
const OUTGOING: u8 = 4;

/// A machine's card.
struct Card {
    send: OwnedFd,
    receive: OwnedFd,
}

/// The cables.
pub struct Cables {
    netns: String,
    daemons: Vec<Child>,
    cards: Vec<Card>,
    /// Which card is which: switch and port.
    places: Vec<(usize, usize)>,
    planes: Vec<Plane>,
    sent: u32,
    runtime: tokio::runtime::Handle,
    _dir: tempfile::TempDir,
}

/// Whether everything that is needed is there.
pub fn is_possible() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    if !Path::new(SCHEMA).exists() {
        return Err("it needs Open vSwitch (Debian package openvswitch-switch)".to_owned());
    }
    Ok(())
}

fn ip(netns: &str, lines: &[String]) {
    use std::io::Write as _;
    let mut child = Command::new("ip").args(["-n", netns, "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip refused");
}

impl Cables {
    /// Lays them: each machine's card to its port, each switch's uplink to one in the middle.
    pub fn lay(site: &Site) -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-cables-").tempdir().unwrap();
        let netns = format!("cd-storm-{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &netns]));
        let mut it = Self {
            netns,
            daemons: Vec::new(),
            cards: Vec::new(),
            places: Vec::new(),
            planes: Vec::new(),
            sent: 0,
            runtime: site.runtime.handle().clone(),
            _dir: dir,
        };
        let dir = it._dir.path().to_owned();
        for (switch, ports) in site.ports.iter().enumerate() {
            it.places.extend((0..ports.len()).map(|port| (switch, port)));
        }
        let mut lines = vec!["link set lo up".to_owned()];
        for (nth, _) in it.places.iter().enumerate() {
            lines.push(format!("link add s{nth} type veth peer name m{nth}"));
            lines.push(format!("link set s{nth} up"));
            lines.push(format!("link set m{nth} up"));
        }
        let silent = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done; true";
        run(Command::new("ip").args(["netns", "exec", &it.netns, "sh", "-c", silent]));
        ip(&it.netns, &lines);
        it.switch_on(&dir, site);
        it.open_cards();
        it
    }

    fn database(dir: &Path) -> String {
        format!("unix:{}", dir.join("db.sock").display())
    }

    fn switch_on(&mut self, dir: &Path, site: &Site) {
        let database = dir.join("conf.db");
        run(Command::new("ovsdb-tool").arg("create").arg(&database).arg(SCHEMA));
        let at = |name: &str| -> PathBuf { dir.join(name) };
        for (program, first) in [
            ("ovsdb-server", vec![database.display().to_string(), format!("--remote=punix:{}", at("db.sock").display())]),
            ("ovs-vswitchd", vec![Self::database(dir)]),
        ] {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &self.netns, program]).args(first);
            command.arg(format!("--pidfile={}", at(&format!("{program}.pid")).display()));
            command.arg(format!("--unixctl={}", at(&format!("{program}.ctl")).display()));
            command.arg(format!("--log-file={}", at(&format!("{program}.log")).display())).args(["-vconsole:off", "-vsyslog:off"]);
            command.env("OVS_RUNDIR", dir).env("OVS_DBDIR", dir).stdin(Stdio::null());
            self.daemons.push(command.spawn().unwrap());
            if program == "ovsdb-server" {
                wait_for("the database of the cables", Duration::from_secs(20), || {
                    std::os::unix::net::UnixStream::connect(at("db.sock")).map(drop).map_err(|error| error.to_string())
                });
                run(&mut self.configuration(dir, site));
            }
        }
        run(Command::new("ovs-vsctl").args([
            "--timeout=20",
            &format!("--db={}", Self::database(dir)),
            "set",
            "Open_vSwitch",
            ".",
            "external-ids:ready=1",
        ]));
        let _on = site.runtime.enter();
        for (switch, simulator) in site.switches.iter().enumerate() {
            let mut ports: BTreeMap<String, String> = [(site.uplinks[switch].clone(), format!("up{switch}"))].into();
            for (nth, (_, port)) in self.places.iter().enumerate().filter(|(_, place)| place.0 == switch) {
                ports.insert(site.ports[switch][*port].clone(), format!("s{nth}"));
            }
            let bridge = Bridge { netns: None, database: Some(Self::database(dir)), ports };
            self.planes.push(Plane::start(std::sync::Arc::clone(simulator.device()), bridge));
        }
    }

    /// The bridges with all ports closed, and one in the middle that passes everything.
    fn configuration(&self, dir: &Path, site: &Site) -> Command {
        let mut words: Vec<String> = vec!["--timeout=20".into(), "--no-wait".into(), format!("--db={}", Self::database(dir))];
        let mut add = |line: &str| words.extend(std::iter::once("--".to_owned()).chain(line.split(' ').map(str::to_owned)));
        add("add-br middle");
        add("set bridge middle datapath_type=netdev");
        for (switch, _) in site.switches.iter().enumerate() {
            add(&format!("add-br sw{switch}"));
            add(&format!("set bridge sw{switch} datapath_type=netdev"));
            add(&format!("add-port middle mid{switch}"));
            add(&format!("set interface mid{switch} type=patch options:peer=up{switch}"));
            add(&format!("add-port sw{switch} up{switch} vlan_mode=trunk trunks=4095"));
            add(&format!("set interface up{switch} type=patch options:peer=mid{switch}"));
        }
        for (nth, (switch, _)) in self.places.iter().enumerate() {
            add(&format!("add-port sw{switch} s{nth} vlan_mode=trunk trunks=4095 protected=true"));
        }
        let mut command = Command::new("ovs-vsctl");
        command.args(words);
        command
    }

    fn open_cards(&mut self) {
        let count = self.places.len();
        let cards = net::Netns::named(&self.netns).run(|| {
            let links: BTreeMap<String, LinkAddr> =
                getifaddrs().unwrap().filter_map(|it| Some((it.interface_name.clone(), *it.address?.as_link_addr()?))).collect();
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            (0..count)
                .map(|nth| {
                    let link = links[&format!("m{nth}")];
                    let sender = socket(AddressFamily::Packet, SockType::Raw, flags, None).unwrap();
                    let receiver = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
                    setsockopt(&receiver, sockopt::RcvBufForce, &(4 << 20)).unwrap();
                    bind(sender.as_raw_fd(), &link).unwrap();
                    bind(receiver.as_raw_fd(), &link).unwrap();
                    Card { send: sender, receive: receiver }
                })
                .collect::<Vec<_>>()
        });
        self.cards = cards.unwrap();
    }

    /// Returns when packets follow what the switches are set to; `false`: after a while they did not yet.
    #[must_use]
    pub fn settle(&self) -> bool {
        let all = async {
            for plane in &self.planes {
                plane.settled().await;
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(3), all).await }).is_ok()
    }

    /// Where each card is.
    pub fn places(&self) -> &[(usize, usize)] {
        &self.places
    }

    /// Sends a frame from every card to everybody, and tagged ones that try to get into the VLANs; who heard whom.
    pub fn shout(&mut self, vlans: &[u16], listen: Duration) -> Vec<(usize, usize)> {
        self.sent += 1;
        for (nth, card) in self.cards.iter().enumerate() {
            let mut frame = vec![0xff_u8; 6];
            let [high, low] = u16::try_from(nth).unwrap().to_be_bytes();
            frame.extend([0x02, 0xaa, 0, 0, high, low]);
            let head = frame.len();
            frame.extend(ETHERTYPE);
            frame.extend(MAGIC);
            frame.extend([high, low]);
            frame.extend(self.sent.to_be_bytes());
            frame.resize(64, 0);
            // A full buffer only means that this one was not sent.
            let _sent = send(card.send.as_raw_fd(), &frame, MsgFlags::empty());
            for vlan in vlans {
                let mut tagged = frame.clone();
                tagged.splice(head..head, [0x81, 0x00].into_iter().chain(vlan.to_be_bytes()));
                let _sent = send(card.send.as_raw_fd(), &tagged, MsgFlags::empty());
            }
        }
        let mut heard = Vec::new();
        let until = Instant::now() + listen;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            for (nth, card) in self.cards.iter().enumerate() {
                let mut buffer = [0_u8; 128];
                while let Ok((length, from)) = recvfrom::<LinkAddr>(card.receive.as_raw_fd(), &mut buffer) {
                    if from.is_some_and(|from| from.pkttype() == OUTGOING) {
                        continue;
                    }
                    let frame = &buffer[..length];
                    let Some(at) = frame.windows(MAGIC.len()).position(|it| it == MAGIC) else { continue };
                    let Some(&[high, low, a, b, c, d]) = frame.get(at + MAGIC.len()..at + MAGIC.len() + 6) else { continue };
                    if u32::from_be_bytes([a, b, c, d]) == self.sent {
                        heard.push((usize::from(u16::from_be_bytes([high, low])), nth));
                    }
                }
            }
        }
        heard.sort_unstable();
        heard.dedup();
        heard
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        self.planes.clear();
        for daemon in &mut self.daemons {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        run_anyway(Command::new("ip").args(["netns", "del", &self.netns]));
    }
}
