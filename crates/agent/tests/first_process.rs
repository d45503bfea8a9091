//! The agent as process 1 of a machine made of namespaces: real DHCP over a veth, orphans collected, power off by the kernel.
//! Needs root.
//!
//! The test starts itself again as process 1 of new process, mount and network namespaces. There a thread with a network
//! namespace of its own plays DHCP server and control plane, at the other end of the veth. All of it ends with process 1.
#![cfg(test)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use agent::ramdisk::{RamdiskArgs, run};
use axum::extract::{Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use serde_json::{Value, json};

const FOLDER: &str = "COFFERDAM_TEST_FIRST_PROCESS";
const MAC: &str = "52:54:00:aa:bb:01";
const NODE: &str = "6b1f2a30-7c7e-4f1f-9d57-0a3f7f9a0002";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_machine_boots_gets_an_address_and_powers_off() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: namespaces need root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new("unshare")
        .args(["--pid", "--net", "--mount", "--mount-proc", "--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let deadline = Instant::now() + Duration::from_secs(40);
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the machine did not power off");
        std::thread::sleep(Duration::from_millis(50));
    };
    let seen: Value = serde_json::from_slice(&std::fs::read(folder.path().join("seen")).unwrap()).unwrap();
    assert_eq!(seen["callback_url"], format!("https://{CLIENT}:9999"));
    assert_eq!(seen["addresses"], format!("addresses={MAC}"));
    assert_eq!(seen["from"], CLIENT.to_string());
    assert_eq!(seen["zombies"], json!([]));
    assert_eq!(seen["power_off"]["command_status"], "RUNNING");
    assert!(seen["routes"].as_str().unwrap().lines().any(|line| line.starts_with("eth0\t00000000\t01004D0A")), "{}", seen["routes"]);
    // What the parent of a process namespace sees when its process 1 asks for power off (reboot(2)).
    assert_eq!(status.signal(), Some(nix::libc::SIGINT), "{status}");
}

#[test]
#[ignore = "runs only inside the namespaces that the other test makes"]
fn inside() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    assert_eq!(std::process::id(), 1);
    let folder = std::path::PathBuf::from(folder);
    let cmdline = folder.join("cmdline");
    std::fs::write(&cmdline, format!("ipa-api-url=http://{SERVER}:8089/baremetal BOOTIF=01-{}", MAC.replace(':', "-"))).unwrap();
    let device = folder.join("disk");
    std::fs::File::create(&device).unwrap().set_len(8 << 20).unwrap();
    // A failed assertion in a thread ends the machine, and with it the test.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        std::process::exit(9);
    }));
    let (ready, wait) = mpsc::channel();
    std::thread::spawn(move || world(&folder, &ready));
    wait.recv_timeout(Duration::from_secs(10)).unwrap();
    // Leaves an orphan behind, which process 1 has to collect.
    Command::new("sh").args(["-c", "sleep 0.1 &"]).status().unwrap();
    run(RamdiskArgs { cmdline, device, ..RamdiskArgs::default() }).unwrap();
    unreachable!("process 1 does not return");
}

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

/// All that is outside the machine.
fn world(folder: &Path, ready: &mpsc::Sender<()>) {
    ip(&format!("link add eth0 address {MAC} type veth peer name srv"));
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    // This thread is elsewhere now; the peer follows from where process 1 still is.
    let own = nix::unistd::gettid();
    let mover = Command::new("nsenter").args(["--target", "1", "--net", "ip", "link", "set", "srv", "netns", &own.to_string()]).status();
    assert!(mover.unwrap().success());
    ip(&format!("addr add {SERVER}/24 dev srv"));
    ip("link set srv up");
    ip("route add default dev srv");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap();
    socket.set_broadcast(true).unwrap();
    std::thread::spawn(move || dhcp(&socket));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let plane = Arc::new(folder.to_owned());
        let router = Router::new()
            .route("/baremetal/", get(|| async { Json(json!({"default_version": {"version": "1.68"}})) }))
            .route("/baremetal/v1/lookup", get(lookup))
            .route("/baremetal/v1/heartbeat/{node}", post(heartbeat))
            .with_state(plane);
        let listener = tokio::net::TcpListener::bind((SERVER, 8089)).await.unwrap();
        ready.send(()).unwrap();
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
}

fn dhcp(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        let (read, _) = socket.recv_from(&mut buffer).unwrap();
        let asked = Message::decode(&mut Decoder::new(&buffer[..read])).unwrap();
        let mut answer = Message::new_with_id(asked.xid(), Ipv4Addr::UNSPECIFIED, CLIENT, SERVER, Ipv4Addr::UNSPECIFIED, asked.chaddr());
        answer.set_opcode(Opcode::BootReply).set_flags(asked.flags());
        let kind = if asked.opts().msg_type() == Some(MessageType::Discover) { MessageType::Offer } else { MessageType::Ack };
        let options = answer.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(SERVER));
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![SERVER]));
        options.insert(DhcpOption::AddressLeaseTime(600));
        socket.send_to(&answer.to_vec().unwrap(), (Ipv4Addr::BROADCAST, 68)).unwrap();
    }
}

async fn lookup(State(folder): State<Arc<std::path::PathBuf>>, request: Request) -> Json<Value> {
    let from = request.extensions().get::<axum::extract::ConnectInfo<SocketAddr>>().unwrap().0.ip().to_string();
    let seen = json!({"addresses": request.uri().query(), "from": from});
    std::fs::write(folder.join("lookup"), seen.to_string()).unwrap();
    Json(json!({"node": {"uuid": NODE}, "config": {"heartbeat_timeout": 300, "agent_token": "t"}}))
}

async fn heartbeat(State(folder): State<Arc<std::path::PathBuf>>, Json(beat): Json<Value>) -> axum::http::StatusCode {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut seen: Value = serde_json::from_slice(&std::fs::read(folder.join("lookup")).unwrap()).unwrap();
        seen["callback_url"] = beat["callback_url"].clone();
        seen["zombies"] = zombies();
        seen["routes"] = json!(std::fs::read_to_string("/proc/1/net/route").unwrap());
        let url = format!("{}/v1/commands/?agent_token=t", beat["callback_url"].as_str().unwrap());
        let body = json!({"name": "standby.power_off", "params": {}});
        let response = client(&beat).send(net::http::Request::json(http::Method::POST, url, &body)).await.unwrap();
        seen["power_off"] = response.json().unwrap();
        std::fs::write(folder.join("seen"), seen.to_string()).unwrap();
    });
    axum::http::StatusCode::ACCEPTED
}

fn client(beat: &Value) -> net::http::Client {
    let pem: String = beat["agent_verify_ca"].as_str().unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(base64::engine::general_purpose::STANDARD.decode(pem).unwrap().into()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = net::http::Client::plain();
    client.tls = Some(Arc::new(config));
    client
}

fn zombies() -> Value {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("stat")).ok());
    all.filter(|stat| stat.rsplit(')').next().unwrap().starts_with(" Z")).collect()
}
