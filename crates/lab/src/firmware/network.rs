//! Booting from the network: DHCP as a PXE client, TFTP of the boot program, DHCP again as iPXE, HTTP of the script and of what it names.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use net::dhcp_client::{Ask, Lease};

use super::ipxe::{self, ImageKind, Outcome, World};
use super::{say, tftp};

/// The NIC.
const NIC: &str = "eth0";
/// Architecture in option 93 (RFC 4578): x86-64 UEFI.
const ARCH: u16 = 7;
/// How long a DHCP server may take to answer; PXE clients wait about a minute in all.
const DHCP_DEADLINE: Duration = Duration::from_secs(20);
/// How long the boot program may take to come.
const TFTP_DEADLINE: Duration = Duration::from_secs(30);
/// How long a server may be silent during a transfer.
const HTTP_DEADLINE: Duration = Duration::from_secs(10);
/// Room for a boot program or a script.
const MAX_PROGRAM: usize = 8 << 20;
/// What every kernel of the lab begins with. Machines of namespaces share the host's kernel, so there is nothing to jump to;
/// the mark proves that the right file came over the wire.
pub(crate) const KERNEL_MARK: &[u8] = b"#!cofferdam-lab-kernel";

/// What came over the network, ready to be started.
pub(crate) struct Loaded {
    /// The initial RAM disk: an open file without a name, at its beginning.
    pub(crate) initrd: File,
    /// The kernel's command line.
    pub(crate) arguments: String,
}

/// What there is to try after the network.
pub(crate) enum Miss {
    /// The next boot device.
    Next(String),
    /// Everything from the beginning: the script said `reboot`.
    Reboot,
}

impl From<String> for Miss {
    fn from(why: String) -> Self {
        Self::Next(why)
    }
}

/// Tries to boot from the network until it works or the deadline has passed; `room` is an empty file system for what is fetched.
pub(crate) fn load(mac: &str, uuid: &str, room: &Path, deadline: Duration) -> Result<Loaded, Miss> {
    let until = Instant::now() + deadline;
    loop {
        match attempt(mac, uuid, room) {
            Err(Miss::Next(why)) if Instant::now() < until => {
                say(&format!("network boot failed: {why}; trying again"));
                std::thread::sleep(Duration::from_secs(1));
            }
            result => return result,
        }
    }
}

/// Lets the NIC leave checksums and the cutting of large packets to whoever receives, or not.
///
/// Open vSwitch's userspace datapath passes such packets on if they are plain TCP or UDP, six times as fast as packets cut by the sender
/// (4.3 against 0.7 Gbit/s were seen), but takes the outer header of a tunnelled packet for the one to finish: TCP inside VXLAN does
/// not work at all. So images are fetched with it, and systems that may have overlay networks run without it.
pub(super) fn offload(on: bool) -> Result<(), String> {
    run("ethtool", &["-K", NIC, "tx", if on { "on" } else { "off" }])
}

fn attempt(mac: &str, uuid: &str, room: &Path) -> Result<Loaded, Miss> {
    offload(true)?;
    ip(&["link", "set", "dev", NIC, "up"])?;
    say(&format!("PXE: {NIC} {mac}, asking for an address"));
    let lease = dhcp(mac, None)?;
    say(&format!("PXE: {}", described(&lease)));
    let file = lease.boot_file.clone().ok_or_else(|| "the DHCP server offers an address but nothing to boot".to_owned())?;
    let mut fetcher = Fetcher::new(room, lease.next_server.unwrap_or(lease.server))?;
    let mut program = fetcher.program(&file)?;
    let mut url = file;
    let mut lease = lease;
    if !program.starts_with(b"#!ipxe") {
        say(&format!("PXE: {url} is {} bytes of iPXE, starting it", program.len()));
        lease = dhcp(mac, Some("iPXE"))?;
        say(&format!("iPXE: {}", described(&lease)));
        fetcher.server = lease.next_server.unwrap_or(lease.server);
        url = lease.boot_file.clone().ok_or_else(|| "the DHCP server offers iPXE no script".to_owned())?;
        program = fetcher.program(&url)?;
    }
    let outcome = ipxe::run(&program, &url, &settings(mac, uuid, &lease), &mut fetcher).map_err(|why| format!("{url}: {why}"))?;
    let loaded = match outcome {
        Outcome::Boot { arguments } => fetcher.finish(arguments)?,
        Outcome::Exit => return Err(Miss::Next("the script ended without booting anything".into())),
        Outcome::Reboot => return Err(Miss::Reboot),
    };
    // The kernel that takes over knows nothing of the firmware's address.
    ip(&["addr", "flush", "dev", NIC])?;
    Ok(loaded)
}

fn described(lease: &Lease) -> String {
    let file = lease.boot_file.as_deref().unwrap_or("nothing");
    let server = lease.next_server.unwrap_or(lease.server);
    format!("{}/{} from {}, to boot {file} from {server}", lease.address, lease.prefix, lease.server)
}

/// Asks for a lease and gives its address to the NIC.
fn dhcp(mac: &str, user_class: Option<&str>) -> Result<Lease, String> {
    ip(&["addr", "flush", "dev", NIC])?;
    let ask = Ask {
        interface: NIC.into(),
        mac: octets(mac).ok_or_else(|| format!("{mac} is not a hardware address"))?,
        vendor_class: Some(format!("PXEClient:Arch:{ARCH:05}:UNDI:003016")),
        user_class: user_class.map(str::to_owned),
        arch: Some(ARCH),
        deadline: DHCP_DEADLINE,
    };
    let lease = net::dhcp_client::discover(&ask).map_err(|error| crate::machine::chain(&error))?;
    ip(&["addr", "replace", &format!("{}/{}", lease.address, lease.prefix), "dev", NIC])?;
    if let Some(router) = lease.router {
        ip(&["route", "replace", "default", "via", &router.to_string()])?;
    }
    Ok(lease)
}

fn octets(mac: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect::<Option<_>>()?;
    octets.try_into().ok()
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run("ip", arguments)
}

fn run(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(tool).args(arguments).output().map_err(|error| format!("cannot run {tool}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{tool} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

fn settings(mac: &str, uuid: &str, lease: &Lease) -> BTreeMap<String, String> {
    let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(lease.prefix.min(32))).unwrap_or(0));
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, value: String| settings.insert(name.to_owned(), value);
    for prefix in ["", "net0/", "netX/"] {
        set(&format!("{prefix}mac"), mac.to_owned());
        set(&format!("{prefix}ip"), lease.address.to_string());
        set(&format!("{prefix}netmask"), mask.to_string());
        set(&format!("{prefix}gateway"), lease.router.map_or(String::new(), |router| router.to_string()));
        set(&format!("{prefix}next-server"), lease.next_server.unwrap_or(lease.server).to_string());
        set(&format!("{prefix}filename"), lease.boot_file.clone().unwrap_or_default());
    }
    set("uuid", uuid.to_owned());
    set("platform", "efi".into());
    set("buildarch", "x86_64".into());
    set("manufacturer", "Cofferdam".into());
    settings
}

/// Fetches over HTTP and TFTP.
struct Fetcher<'a> {
    room: &'a Path,
    /// The TFTP server for names that are not URLs.
    server: Ipv4Addr,
    client: net::http::Client,
    runtime: tokio::runtime::Runtime,
    kernel: Option<File>,
    initrd: Option<File>,
}

impl<'a> Fetcher<'a> {
    fn new(room: &'a Path, server: Ipv4Addr) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let client = net::http::Client::plain().with_deadline(HTTP_DEADLINE);
        Ok(Self { room, server, client, runtime, kernel: None, initrd: None })
    }

    /// A boot program or script: a URL, or the name of a file of the TFTP server.
    fn program(&mut self, name: &str) -> Result<Vec<u8>, String> {
        if !name.contains("://") {
            return self.tftp(self.server, 69, name);
        }
        let mut program = Vec::new();
        self.get(name, MAX_PROGRAM, &mut |piece| {
            program.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(program)
    }

    fn tftp(&self, server: Ipv4Addr, port: u16, file: &str) -> Result<Vec<u8>, String> {
        let server = SocketAddr::from((server, port));
        tftp::read(server, file, MAX_PROGRAM, TFTP_DEADLINE).map_err(|error| format!("{file} from {server}: {error}"))
    }

    fn get(&mut self, url: &str, max: usize, keep: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<usize, String> {
        if let Some(rest) = url.strip_prefix("tftp://") {
            let (host, file) = rest.split_once('/').ok_or_else(|| format!("{url} names no file"))?;
            let (host, port) = host.split_once(':').unwrap_or((host, "69"));
            let (Ok(host), Ok(port)) = (host.parse(), port.parse()) else { return Err(format!("{url} has no literal address")) };
            let content = self.tftp(host, port, file)?;
            keep(&content).map_err(|error| error.to_string())?;
            return Ok(content.len());
        }
        self.runtime.block_on(async {
            let broken = |error: &dyn std::error::Error| crate::machine::chain(error);
            let request = net::http::Request::get(url);
            let (status, _, mut body) = self.client.stream(request).await.map_err(|error| broken(&error))?;
            if status != 200 {
                return Err(format!("{url}: HTTP status {status}"));
            }
            let mut total = 0;
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|error| broken(&error))?;
                total += piece.len();
                if total > max {
                    return Err(format!("{url} is larger than {max} bytes"));
                }
                keep(&piece).map_err(|error| format!("no room for {url}: {error}"))?;
            }
            Ok(total)
        })
    }

    fn finish(&mut self, arguments: String) -> Result<Loaded, String> {
        let mut kernel = self.kernel.take().ok_or_else(|| "no kernel was fetched".to_owned())?;
        let mut mark = vec![0_u8; KERNEL_MARK.len()];
        let read = kernel.seek(SeekFrom::Start(0)).and_then(|_| kernel.read_exact(&mut mark));
        if read.is_err() || mark != KERNEL_MARK {
            return Err("exec format error: the kernel is not one of the lab, whose machines share the kernel of their host".into());
        }
        let mut initrd = self.initrd.take().ok_or_else(|| "no initial RAM disk was fetched, and there is no other root".to_owned())?;
        initrd.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        Ok(Loaded { initrd, arguments })
    }
}

impl World for Fetcher<'_> {
    fn fetch(&mut self, url: &str) -> Result<Vec<u8>, String> {
        say(&format!("iPXE: {url}"));
        self.program(url)
    }

    fn fetch_image(&mut self, url: &str, kind: ImageKind) -> Result<(), String> {
        // A file without a name: nobody finds it, and it is gone with its last user.
        let path = self.room.join(".image");
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let mut file = opened.map_err(|error| format!("no room for {url}: {error}"))?;
        std::fs::remove_file(&path).map_err(|error| error.to_string())?;
        let started = Instant::now();
        let size = self.get(url, usize::MAX, &mut |piece| file.write_all(piece))?;
        say(&format!("iPXE: {url} {size} bytes in {} ms", started.elapsed().as_millis()));
        match (kind, &mut self.initrd) {
            (ImageKind::Kernel, _) => self.kernel = Some(file),
            (ImageKind::Initrd, None) => self.initrd = Some(file),
            (ImageKind::Initrd, Some(before)) => {
                // Several are one after another in memory.
                file.seek(SeekFrom::Start(0)).and_then(|_| before.seek(SeekFrom::End(0))).map_err(|error| error.to_string())?;
                io::copy(&mut file, before).map_err(|error| format!("no room for {url}: {error}"))?;
            }
        }
        Ok(())
    }

    fn free_images(&mut self) {
        self.kernel = None;
        self.initrd = None;
    }

    fn say(&mut self, line: &str) {
        say(line);
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_describe_the_lease() {
        let lease = Lease {
            address: "172.30.0.10".parse().unwrap(),
            prefix: 24,
            router: None,
            server: "172.30.0.1".parse().unwrap(),
            next_server: None,
            boot_file: Some("x".into()),
        };
        let settings = settings("52:54:00:00:00:01", "u", &lease);
        assert_eq!(settings["net0/netmask"], "255.255.255.0");
        assert_eq!(settings["next-server"], "172.30.0.1");
        assert_eq!(octets("52:54:00:00:00:01"), Some([0x52, 0x54, 0, 0, 0, 1]));
        assert_eq!(octets("52:54"), None);
    }

    /// Answers each connection with the body that belongs to its path.
    fn serve(files: Vec<(&'static str, Vec<u8>)>) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 2048];
                let read = stream.read(&mut buffer).unwrap();
                let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or("").to_owned();
                let (status, body) = match files.iter().find(|(name, _)| *name == path) {
                    Some((_, body)) => ("200 OK", body.clone()),
                    None => ("404 Not Found", Vec::new()),
                };
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_script_fetches_kernel_and_ram_disks_over_http() {
        let kernel = [KERNEL_MARK, b" 1\n"].concat();
        let server = serve(vec![("/k", kernel), ("/i", b"first".to_vec()), ("/j", b"second".to_vec()), ("/bad", b"MZ".to_vec())]);
        let room = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let mut fetcher = Fetcher::new(room.path(), Ipv4Addr::LOCALHOST).unwrap();
            let url = format!("http://{server}/boot.ipxe");
            match ipxe::run(script.as_bytes(), &url, &BTreeMap::new(), &mut fetcher)? {
                Outcome::Boot { arguments } => fetcher.finish(arguments),
                other => Err(format!("{other:?}")),
            }
        };
        let mut loaded = run("#!ipxe\nkernel k a=b\ninitrd i\ninitrd j\nboot\n").unwrap();
        let mut content = String::new();
        loaded.initrd.read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), loaded.arguments.as_str()), ("firstsecond", "a=b"));
        assert!(run("#!ipxe\nkernel bad\ninitrd i\nboot").err().unwrap().contains("not one of the lab"));
        assert!(run("#!ipxe\nkernel k\nboot").err().unwrap().contains("no initial RAM disk"));
        assert!(run("#!ipxe\nkernel gone\nboot").err().unwrap().contains("HTTP status 404"));
        assert_eq!(std::fs::read_dir(room.path()).unwrap().count(), 0);
    }
}
