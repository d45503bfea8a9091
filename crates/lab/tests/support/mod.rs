//! What the rack tests share: a rack of a unique name that is taken down however the test ends, and things to boot.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use lab::Rack;
use lab::rack::Leaf;
use net::Netns;
use net::http::{Client, Request};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the test, saying so, unless it runs as root.
macro_rules! root_or_skip {
    () => {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: a rack needs root");
            return;
        }
    };
}
pub(crate) use root_or_skip;

/// Runs a shell command that must succeed; returns what it wrote.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Sets columns of a switch's port.
pub fn set_port(leaf: &Leaf, port: &str, columns: &str) {
    sh(&format!("ovs-vsctl --timeout=60 --db={} set port {port} {columns}", leaf.ovsdb));
}

/// Whether anyone answers to `address` in the network namespace.
pub fn reachable(netns: &str, address: &str) -> bool {
    let arguments = ["netns", "exec", netns, "ping", "-c", "3", "-i", "0.2", "-W", "1", "-q", address];
    Command::new("ip").args(arguments).output().unwrap().status.success()
}

/// Waits until it is so.
pub async fn within(time: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + time;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not within {time:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A rack of its own name and directory.
pub struct TestRack {
    name: String,
    home: tempfile::TempDir,
}

impl TestRack {
    /// A rack that does not run yet.
    pub fn named() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "t{}{}",
            std::process::id() % 10_000_000,
            (b'a' + u8::try_from(COUNT.fetch_add(1, Ordering::Relaxed)).unwrap()) as char
        );
        Self { name, home: tempfile::tempdir().unwrap() }
    }

    /// A running rack.
    pub fn up(leaves: usize, machines: usize) -> Self {
        let rack = Self::named();
        rack.start(leaves, machines);
        rack
    }

    pub fn start(&self, leaves: usize, machines: usize) {
        let began = Instant::now();
        let up = self.lab("up", &["--leaves", &leaves.to_string(), "--machines", &machines.to_string(), "--disk-gb", "1"]);
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        assert!(began.elapsed() < Duration::from_secs(90), "up took {:?}", began.elapsed());
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("rack")
    }

    pub fn load(&self) -> Rack {
        Rack::load(&self.dir()).unwrap()
    }

    /// Runs `lab COMMAND --name … --dir … ARGUMENTS`.
    pub fn lab(&self, command: &str, arguments: &[&str]) -> Output {
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("examples/lab");
        assert!(program.exists(), "{} is missing: run `cargo test -p lab`, or `cargo build -p lab --examples` first", program.display());
        Command::new(program).args(["lab", command, "--name", &self.name, "--dir"]).arg(self.dir()).args(arguments).output().unwrap()
    }

    fn request(&self, machine: &str, method: http::Method, path: &str, body: Option<&serde_json::Value>) -> Request {
        let rack = self.load();
        let bmc = rack.machine(machine).unwrap().bmc.clone();
        let url = format!("{}{}{path}", bmc.url, bmc.system);
        let request = match body {
            Some(body) => Request::json(method, url, body),
            None => Request::new(method, url),
        };
        request.basic_auth(&bmc.username, &bmc.password)
    }

    pub async fn reset(&self, machine: &str, kind: &str) -> u16 {
        let body = serde_json::json!({"ResetType": kind});
        let request = self.request(machine, http::Method::POST, "/Actions/ComputerSystem.Reset", Some(&body));
        Client::plain().send(request).await.unwrap().status
    }

    pub async fn patch(&self, machine: &str, body: &serde_json::Value) -> u16 {
        Client::plain().send(self.request(machine, http::Method::PATCH, "", Some(body))).await.unwrap().status
    }

    /// Waits until the machine has that power state.
    pub async fn becomes(&self, machine: &str, power: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let response = Client::plain().send(self.request(machine, http::Method::GET, "", None)).await.unwrap();
            let system: serde_json::Value = response.json().unwrap();
            if system["PowerState"] == power {
                return;
            }
            assert!(Instant::now() < until, "{machine} is {} and not {power}; {}", system["PowerState"], self.console(machine));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn console(&self, machine: &str) -> String {
        String::from_utf8_lossy(&fs::read(&self.load().machine(machine).unwrap().console).unwrap()).into_owned()
    }

    /// Waits until the machine's console shows the text.
    pub async fn says(&self, machine: &str, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.console(machine).contains(text) {
            assert!(Instant::now() < until, "{machine} does not say {text:?} but:\n{}", self.console(machine));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives a machine's NIC an address.
    pub fn address(&self, machine: &str, address: &str) {
        let netns = self.load().machine(machine).unwrap().netns.clone();
        sh(&format!("ip -n {netns} addr add {address} dev eth0 && ip -n {netns} link set eth0 up"));
    }

    /// Processes in a network namespace.
    pub fn processes_in(&self, netns: &str) -> Vec<String> {
        let output = Command::new("ip").args(["netns", "pids", netns]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    pub fn kill_daemon(&self) {
        let pid = fs::read_to_string(self.dir().join("lab.pid")).unwrap();
        sh(&format!("kill -9 {pid}"));
        let until = Instant::now() + PATIENCE;
        while fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes the rack down and looks for anything left of it.
    pub fn down_without_a_trace(&self) {
        let down = self.lab("down", &[]);
        assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
        assert!(!self.dir().exists());
        let left: Vec<_> =
            fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|it| it.file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.starts_with(&format!("cd-{}-", self.name))), "{left:?}");
        let dir = self.dir().to_str().unwrap().to_owned();
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&dir) {
                processes.push(String::from_utf8_lossy(&line).replace('\0', " "));
            }
        }
        assert!(processes.is_empty(), "{processes:?}");
        assert!(!sh("losetup -a").contains(&dir));
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&dir));
        // Groups of others come and go while it looks, of which it complains.
        let groups = sh(&format!("find /sys/fs/cgroup -type d -name cofferdam-{} 2>/dev/null || true", self.name));
        assert_eq!(groups, "");
    }
}

impl Drop for TestRack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the rack's log:\n{}", fs::read_to_string(self.dir().join("lab.log")).unwrap_or_default());
        }
        let down = self.lab("down", &[]);
        if !down.status.success() {
            eprintln!("cannot take {} down: {}", self.name, String::from_utf8_lossy(&down.stderr));
        }
    }
}

/// Copies programs of this system with the libraries they need.
fn copy_programs(programs: &[&str], to: &Path) {
    let mut files = BTreeSet::new();
    for program in programs {
        let path = sh(&format!("readlink -f $(command -v {program})"));
        files.insert((path.trim().to_owned(), format!("bin/{program}")));
        let libraries = Command::new("ldd").arg(path.trim()).output().unwrap();
        for word in String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
            files.insert((word.to_owned(), word.trim_start_matches('/').to_owned()));
        }
    }
    for (from, name) in files {
        let at = to.join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::copy(from, at).unwrap();
    }
}

fn executable(at: &Path, content: &str) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, content).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A gzip'ed cpio archive with a shell and that `/init`.
pub fn ramdisk(init: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    copy_programs(&["sh", "cat", "ls", "dd", "head", "tr"], dir.path());
    executable(&dir.path().join("init"), init);
    let mut out = Vec::new();
    let mut pending = vec![dir.path().to_owned()];
    let mut member = |name: &str, mode: u32, content: &[u8]| {
        let (size, name_size) = (content.len(), name.len() + 1);
        let mut entry = format!("070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}", 0, 0, 0, 1, 0);
        entry.push_str(&format!("{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}{name}\0", 0, 0, 0, 0, 0));
        out.extend(entry.bytes());
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
        out.extend(content);
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
    };
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
            let metadata = fs::metadata(&path).unwrap();
            if metadata.is_dir() {
                member(&name, metadata.mode(), b"");
                pending.insert(0, path);
            } else {
                // Folders come before what is in them: files are added when their folder already is.
                member(&name, metadata.mode(), &fs::read(&path).unwrap());
            }
        }
    }
    member("TRAILER!!!", 0, b"");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&out).unwrap();
    encoder.finish().unwrap()
}

/// Writes a bootable system with that `/sbin/init`, a file `/count` holding 0 and a program `/reboot` to a disk file.
pub fn disk_image(disk: &Path, init: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    copy_programs(&["sh", "cat", "sync", "sleep", "perl"], &root);
    executable(&root.join("sbin/init"), init);
    // reboot(2), LINUX_REBOOT_CMD_RESTART.
    let number = nix::libc::SYS_reboot;
    executable(
        &root.join("reboot"),
        &format!("#!/bin/perl\nsyscall({number}, 0xfee1dead, 672274793, 0x1234567); print \"refused: $!\\n\";\n"),
    );
    fs::write(root.join("count"), "0\n").unwrap();
    let partition = dir.path().join("partition");
    sh(&format!("truncate -s 64M {0} && mke2fs -q -t ext4 -d {1} {0}", partition.display(), root.display()));
    let mut table = gpt::GptConfig::new().writable(true).create(disk).unwrap();
    table.add_partition("root", 64 << 20, gpt::partition_types::LINUX_FS, 0, None).unwrap();
    let start = table.partitions()[&1].bytes_start(*table.logical_block_size()).unwrap();
    table.write().unwrap();
    sh(&format!("dd if={} of={} bs=1M oflag=seek_bytes seek={start} conv=notrunc,sparse status=none", partition.display(), disk.display()));
}

/// Ends the servers when dropped.
pub struct BootServer(Arc<AtomicBool>);

impl Drop for BootServer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// DHCP, TFTP and HTTP for one client, in a namespace that has 172.30.0.1/24.
pub fn boot_server(netns: &str, mac: &str, initrd: Vec<u8>) -> BootServer {
    let stop = Arc::new(AtomicBool::new(false));
    let namespace = Netns::named(netns);
    let udp = |port: u16| {
        let socket = namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.set_broadcast(true).unwrap();
        socket
    };
    let (dhcp, tftp) = (udp(67), udp(69));
    let transfer = udp(0);
    let web = namespace.run(|| TcpListener::bind("172.30.0.1:8089").unwrap()).unwrap();
    web.set_nonblocking(true).unwrap();
    // The limited broadcast needs a route.
    sh(&format!("ip -n {netns} route add 255.255.255.255 dev eth0"));

    let ended = Arc::clone(&stop);
    let client: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !ended.load(Ordering::Relaxed) {
            let Ok((read, _)) = dhcp.recv_from(&mut buffer) else { continue };
            let Ok(question) = Message::decode(&mut Decoder::new(&buffer[..read])) else { continue };
            if question.chaddr() == client.as_slice() {
                let answer = dhcp_answer(&question);
                dhcp.send_to(&answer.to_vec().unwrap(), SocketAddr::from((Ipv4Addr::BROADCAST, 68))).unwrap();
            }
        }
    });
    let ended = Arc::clone(&stop);
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !ended.load(Ordering::Relaxed) {
            // A program of one block, for a client that insists on no option.
            let Ok((read, from)) = tftp.recv_from(&mut buffer) else { continue };
            if buffer[..read].starts_with(b"\0\x01ipxe.efi\0octet\0") {
                transfer.send_to(b"\0\x03\0\x01MZ the iPXE program", from).unwrap();
            } else {
                transfer.send_to(b"\0\x05\0\x01File not found\0", from).unwrap();
            }
        }
    });
    let ended = Arc::clone(&stop);
    std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let Ok((mut stream, _)) = web.accept() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).unwrap();
            let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
            let script = "#!ipxe\nkernel http://172.30.0.1:8089/deploy.kernel ipa-api-url=http://172.30.0.1:8089/baremetal mac=${net0/mac}\n\
                          initrd http://172.30.0.1:8089/deploy.initrd\nboot\n";
            let (status, body) = match head.split(' ').nth(1).unwrap_or("") {
                "/boot.ipxe" => ("200 OK", script.as_bytes().to_vec()),
                "/deploy.kernel" => ("200 OK", b"#!cofferdam-lab-kernel\n".to_vec()),
                "/deploy.initrd" => ("200 OK", initrd.clone()),
                _ => ("404 Not Found", Vec::new()),
            };
            // A client may go away; the next may come.
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                eprintln!("a client went away");
            }
        }
    });
    BootServer(stop)
}

fn dhcp_answer(question: &Message) -> Message {
    let server = Ipv4Addr::new(172, 30, 0, 1);
    let any = Ipv4Addr::UNSPECIFIED;
    let mut answer = Message::new_with_id(question.xid(), any, Ipv4Addr::new(172, 30, 0, 10), server, any, question.chaddr());
    answer.set_opcode(Opcode::BootReply).set_flags(question.flags());
    let kind = match question.opts().msg_type() {
        Some(MessageType::Discover) => MessageType::Offer,
        _ => MessageType::Ack,
    };
    let ipxe = matches!(question.opts().get(OptionCode::UserClass), Some(DhcpOption::UserClass(class)) if class.ends_with(b"iPXE"));
    let file: &[u8] = if ipxe { b"http://172.30.0.1:8089/boot.ipxe" } else { b"ipxe.efi" };
    let options = answer.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(server));
    options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
    options.insert(DhcpOption::AddressLeaseTime(3600));
    options.insert(DhcpOption::BootfileName(file.to_vec()));
    answer
}
