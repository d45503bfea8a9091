use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use axum::Router;
use futures_util::{SinkExt as _, StreamExt as _};
use model::Id;
use model::baremetal::{CONSOLE_WORK, NodeDesired};
use model::secret::Settings;
use serde_json::{Value, json};
use store::Batch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::{AccessConfig, BaremetalConfig, Engine, EngineConfig, EngineError, FabricConfig};

/// What stands in for `ipmitool`: a machine that repeats each line it is told.
const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$*" in *"sol deactivate") echo "$*" >> "$here/released"; exit 0;; esac
tr '\0' ' ' < /proc/$$/cmdline > "$here/arguments"
echo "$IPMI_PASSWORD" > "$here/password"
echo $$ > "$here/pid"
echo "the console of $PPID is open"
while read -r line; do
    case "$line" in die) exit 7;; flood) yes 0123456789abcdef | head -c 6000000;; *) echo "<$line>";; esac
done
"#;

/// An engine with its own store, and the listener on which it serves.
struct Rig {
    store: Store,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    engine: JoinHandle<Result<(), EngineError>>,
    server: JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Rig {
    async fn new(ipmitool: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut console = ConsoleConfig::default();
        if let Some(text) = ipmitool {
            console.ipmitool = dir.path().join("stand-in");
            std::fs::write(&console.ipmitool, text).unwrap();
            std::fs::set_permissions(&console.ipmitool, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("db").display())).await.unwrap();
        let config = EngineConfig {
            unseal: Arc::new(|_| None),
            fabric: FabricConfig::default(),
            edge: None,
            provisioning: None,
            baremetal: BaremetalConfig { api_url: Some(format!("http://{address}/")), ..BaremetalConfig::default() },
            console,
            history: crate::HistoryConfig::default(),
            access: AccessConfig::default(),
            image_dir: dir.path().to_owned(),
        };
        let engine = Engine::new(store.clone(), config).await.unwrap();
        let router = engine.media_router();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (stop, stopped) = watch::channel(false);
        let engine = tokio::spawn(engine.run(Router::new(), stopped));
        Self { store, address, stop, engine, server, dir }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    async fn node(&self, info: Value) -> Id<Node> {
        let desired = NodeDesired {
            driver: "ipmi".into(),
            interfaces: [(Interface::Console, "ipmitool-socat".to_owned())].into(),
            driver_info: Settings(info.as_object().unwrap().clone()),
            console_enabled: true,
            console_seq: 1,
            maintenance: true,
            ..NodeDesired::default()
        };
        let node = Object::<Node>::new(Id::random(), None, "n", desired);
        self.store.apply(Batch::wishes().create(&node).wake_named(CONSOLE_WORK, node.id.as_str())).await.unwrap();
        node.id
    }

    async fn switch(&self, id: &Id<Node>, on: bool) {
        loop {
            let mut node = self.store.get(id).await.unwrap().unwrap();
            node.desired.console_enabled = on;
            node.desired.console_seq += 1;
            match self.store.apply(Batch::wishes().want(&node).wake_named(CONSOLE_WORK, id.as_str())).await {
                Err(StoreError::Stale { .. }) => {}
                other => return other.unwrap(),
            }
        }
    }

    /// Path and query of the address that the node shows.
    async fn shown(&self, id: &Id<Node>, other_than: &str) -> String {
        let base = format!("ws://{}", self.address);
        until("an address", async || {
            let node = self.store.get(id).await.unwrap().unwrap();
            let url = node.observed.console?;
            Some(url.reveal().strip_prefix(&base).unwrap().to_owned()).filter(|it| it != other_than)
        })
        .await
    }

    /// The status with which a client is answered, and the connection.
    async fn ask(&self, path: &str, upgrade: bool) -> (u16, TcpStream) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers = match upgrade {
            true => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            false => "Connection: close\r\n",
        };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 101 {
            assert!(head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        }
        (status, stream)
    }

    async fn join(&self, path: &str) -> Client {
        let stream = until("a place at the console", async || {
            let (status, stream) = self.ask(path, true).await;
            assert!(matches!(status, 101 | 503), "{status}");
            (status == 101).then_some(stream)
        });
        Client { socket: WebSocketStream::from_raw_socket(stream.await, Role::Client, None).await, seen: String::new() }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(30), self.engine).await.unwrap().unwrap().unwrap();
        self.server.abort();
    }
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    seen: String,
}

impl Client {
    async fn type_in(&mut self, text: &str) {
        self.socket.send(Message::binary(text.as_bytes().to_vec())).await.unwrap();
    }

    /// Reads on until it was said, or the console closes.
    async fn until(&mut self, wanted: &str) -> bool {
        let work = async {
            while !self.seen.contains(wanted) {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(data))) => {
                        if self.seen.len() > 100_000 {
                            self.seen.drain(..90_000);
                        }
                        self.seen.push_str(&String::from_utf8_lossy(&data));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                    Some(Ok(_)) => {}
                }
            }
            true
        };
        let found = tokio::time::timeout(Duration::from_secs(90), work).await;
        found.unwrap_or_else(|_| panic!("{wanted:?} was not said: {:?}", self.seen))
    }
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|it| !it.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_from_on_to_off() {
    let rig = Rig::new(Some(STAND_IN)).await;
    let id = rig.node(json!({"ipmi_address": "192.0.2.1", "ipmi_username": "admin", "ipmi_password": "hunter2"})).await;
    let path = rig.shown(&id, "").await;
    assert!(path.starts_with(&format!("/baremetal/v1/nodes/{id}/console?token=")), "{path}");
    let mut one = rig.join(&path).await;
    assert!(one.until("is open\n").await);
    one.type_in("hello\n").await;
    assert!(one.until("<hello>\n").await);

    // Who comes later is told what was said, and all hear all.
    let mut two = rig.join(&path).await;
    assert!(two.until("<hello>\n").await && two.seen.contains("is open"));
    two.type_in("there\n").await;
    assert!(one.until("<there>\n").await && two.until("<there>\n").await);

    let arguments = rig.file("arguments");
    assert!(arguments.contains("-E sol activate") && !arguments.contains("hunter2"), "{arguments}");
    assert_eq!(rig.file("password"), "hunter2\n");
    assert!(rig.file("released").contains("-E sol deactivate"), "{}", rig.file("released"));

    let wrong = format!("{}x", path.strip_suffix(|_: char| true).unwrap());
    for refused in [wrong.as_str(), path.split('?').next().unwrap(), "/baremetal/v1/nodes/nobody/console?token=x"] {
        assert_eq!(rig.ask(refused, true).await.0, 404, "{refused}");
    }
    assert_eq!(rig.ask(&path, false).await.0, 426);

    // The program ended: it is run again, and clients stay.
    one.type_in("die\n").await;
    assert!(one.until("the console ended (exit status: 7); again in 1 s").await);
    one.seen.clear();
    assert!(one.until("is open\n").await);

    let pid = rig.file("pid");
    assert!(runs(&pid));
    rig.switch(&id, false).await;
    assert!(!one.until("nothing").await && !two.until("nothing").await, "they are cut off");
    until("an end", async || rig.store.get(&id).await.unwrap().unwrap().observed.console.is_none().then_some(())).await;
    until("the end of the program", async || (!runs(&pid)).then_some(())).await;
    assert_eq!(rig.ask(&path, true).await.0, 404);

    // On again: another address.
    rig.switch(&id, true).await;
    let other = rig.shown(&id, &path).await;
    assert_eq!(rig.ask(&path, true).await.0, 404);
    let mut three = rig.join(&other).await;
    assert!(three.until("is open\n").await && !three.seen.contains("hello"));

    // Off and on faster than anybody looks: cut off all the same.
    rig.switch(&id, false).await;
    rig.switch(&id, true).await;
    assert!(!three.until("nothing").await);
    let last = rig.shown(&id, &other).await;
    let mut four = rig.join(&last).await;
    assert!(four.until("is open\n").await);
    let pid = rig.file("pid");
    let store = rig.store.clone();
    rig.end().await;
    assert!(!four.until("nothing").await);
    until("the end of the program", async || (!runs(&pid)).then_some(())).await;
    // The address stays: whoever takes over uses the same.
    assert!(store.get(&id).await.unwrap().unwrap().observed.console.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_holds_nobody_up() {
    let rig = Rig::new(Some(STAND_IN)).await;
    let id = rig.node(json!({"ipmi_address": "192.0.2.1"})).await;
    let path = rig.shown(&id, "").await;
    let mut slow = rig.join(&path).await;
    let mut quick = rig.join(&path).await;
    quick.type_in("flood\nafter\n").await;
    let began = Instant::now();
    // It may itself be too far behind for a moment on a busy host: then it comes again, perhaps after the word was said.
    while !quick.until("<after>").await {
        quick = rig.join(&path).await;
        quick.type_in("after\n").await;
    }
    eprintln!("it took {:?}", began.elapsed());
    assert!(!slow.until("<after>").await, "it was cut off");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_lease_lets_go() {
    let rig = Rig::new(Some(STAND_IN)).await;
    let id = rig.node(json!({"ipmi_address": "192.0.2.1"})).await;
    let path = rig.shown(&id, "").await;
    let mut client = rig.join(&path).await;
    assert!(client.until("is open\n").await);
    let pid = rig.file("pid");
    // As if it had not been renewed in time.
    rig.store.void_leases().await.unwrap();
    assert!(!client.until("nothing").await);
    until("the end of the program", async || (!runs(&pid)).then_some(())).await;
    // The next holder, here the same process, shows it under the same address.
    let mut client = rig.join(&path).await;
    assert!(client.until("is open\n").await);
    assert_ne!(rig.file("pid"), pid);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_said() {
    let rig = Rig::new(Some(STAND_IN)).await;
    let id = rig.node(json!({})).await;
    let why = until("an error", async || rig.store.get(&id).await.unwrap().unwrap().observed.last_error).await;
    assert!(why.contains("ipmi_address"), "{why}");
    rig.end().await;
}

fn is_installed(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|it| it.join(tool).exists()))
}

/// A BMC that is simulated, whose serial line leads to `line`.
fn simulate(dir: &Path, port: u16, line: SocketAddr) -> tokio::process::Child {
    let lan = format!(
        "name \"bmc\"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {port}\npriv_limit admin\n\
         allowed_auths_admin none md2 md5 straight\nguid a123456789abcdefa123456789abcdef\nendlan\n\
         user 2 true \"admin\" \"hunter2\" admin 10 none md2 md5 straight\nsol \"tcp:{}:{}\" 115200 history=4000\n",
        line.ip(),
        line.port()
    );
    let machine = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
    std::fs::write(dir.join("lan"), lan).unwrap();
    std::fs::write(dir.join("machine"), machine).unwrap();
    let mut command = tokio::process::Command::new("ipmi_sim");
    command.arg("-n").arg("-c").arg(dir.join("lan")).arg("-f").arg(dir.join("machine")).arg("-s").arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_over_lan_of_a_simulated_bmc() {
    if !is_installed("ipmi_sim") || !is_installed("ipmitool") {
        eprintln!("skipped: ipmi_sim or ipmitool is not installed");
        return;
    }
    // The machine at the other end of the line.
    let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = line.local_addr().unwrap();
    let machine = tokio::spawn(async move {
        loop {
            let (mut stream, _) = line.accept().await.unwrap();
            let mut buffer = [0; 100];
            while let Ok(n) = stream.read(&mut buffer).await
                && n > 0
            {
                let said = format!("<{}>", String::from_utf8_lossy(&buffer[..n]));
                if stream.write_all(said.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut bmc = simulate(dir.path(), port, at);
    let rig = Rig::new(None).await;
    let info = json!({"ipmi_address": "127.0.0.1", "ipmi_port": port, "ipmi_username": "admin", "ipmi_password": "hunter2",
        "ipmi_cipher_suite": "3"});
    let id = rig.node(info).await;
    let path = rig.shown(&id, "").await;
    let mut client = rig.join(&path).await;
    assert!(client.until("SOL Session operational").await);
    client.type_in("uptime\r").await;
    assert!(client.until(">").await);
    assert!(client.seen.contains("<uptime"), "{}", client.seen);
    rig.end().await;
    machine.abort();
    bmc.kill().await.unwrap();
}
