//! The unmodified ironic-python-agent against a running control plane, and agents that are not what they say.
//!
//! The agent runs in a sandbox (`real_agent_sandbox.sh`) that has no disks, so that no order, right or wrong, can reach the host's.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::Method;
use net::http::Request;
use serde_json::{Value, json};
use support::api::{Answer, Session, admin_password, send};
use support::{BINARY, free_port, has_program, run, run_anyway, say, tail, wait_for};

/// The agent that is tested against.
const PACKAGE: &str = "ironic-python-agent==13.0.0";
const SANDBOX: &str = include_str!("real_agent_sandbox.sh");
static PLANES: AtomicU16 = AtomicU16::new(0);
const PATIENCE: Duration = Duration::from_secs(20);

/// A cable between the host and a network namespace; both go with it.
struct Cable {
    name: String,
    subnet: u32,
}

impl Cable {
    fn new() -> Self {
        let subnet = std::process::id() % 250;
        let cable = Self { name: format!("cfipa{}", std::process::id()), subnet };
        cable.remove();
        let (name, host, there) = (&cable.name, cable.host(), cable.there());
        let end = format!("{name}h");
        // Called like a VLAN's interface: of others the agent wants to see hardware.
        for words in [
            format!("netns add {name}"),
            format!("link add {end} type veth peer name eth0.1 address 52:54:00:1a:{subnet:02x}:01 netns {name}"),
            format!("address add {host}/24 dev {end}"),
            format!("link set {end} up"),
            format!("-n {name} address add {there}/24 dev eth0.1"),
            format!("-n {name} link set eth0.1 up"),
            format!("-n {name} link set lo up"),
        ] {
            run(Command::new("ip").args(words.split(' ')));
        }
        cable
    }

    fn host(&self) -> String {
        format!("10.213.{}.1", self.subnet)
    }

    fn there(&self) -> String {
        format!("10.213.{}.2", self.subnet)
    }

    fn mac(&self) -> String {
        format!("52:54:00:1a:{:02x}:01", self.subnet)
    }

    fn remove(&self) {
        run_anyway(Command::new("ip").args(["link", "delete", &format!("{}h", self.name)]));
        run_anyway(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A process that ends with this.
struct Guarded {
    child: Child,
    log: PathBuf,
}

impl Guarded {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0).spawn().unwrap();
        Self { child, log }
    }

    fn said(&self, word: &str) -> bool {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).contains(word)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The whole group: the agent gives up its rights, and with them the order to die with who started it.
        let group = i32::try_from(self.child.id()).map(nix::unistd::Pid::from_raw);
        if let Ok(group) = group {
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        }
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            say(&format!("--- the end of {} ---\n{}", self.log.display(), tail(&self.log, 40)));
        }
    }
}

/// A control plane that listens where the agent can reach it.
struct Plane {
    process: Guarded,
    base: String,
    session: Session,
}

impl Plane {
    fn start(dir: &Path, host: &str, config: &str) -> Self {
        let state = dir.join("state");
        let file = dir.join("cofferdam.toml");
        std::fs::write(&file, config).unwrap();
        // Tests of one process start at the same time: each looks in a range of its own.
        let first = 18_000 + 100 * PLANES.fetch_add(1, Ordering::Relaxed);
        let address = format!("{host}:{}", free_port(first, 100));
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COFFERDAM_")) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--state-dir").arg(&state).args(["--listen", &address]).arg("--config").arg(file);
        let process = Guarded::start(&mut command, dir.join("serve.log"));
        let base = format!("http://{address}");
        let health = Request::get(format!("{base}/healthz"));
        wait_for("cofferdam serve is ready", Duration::from_secs(60), || match send(health.clone(), Duration::from_secs(1)) {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let session = Session::open(&base, "admin", &admin_password(&state), "admin");
        Self { process, base, session }
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>, token: bool) -> Answer {
        let url = format!("{}/baremetal/v1{path}", self.base);
        let request = body.map_or_else(|| Request::new(method.clone(), &url), |body| Request::json(method.clone(), &url, body));
        let request = request.header("accept", "application/json").header("x-openstack-ironic-api-version", "1.95");
        let request = if token { request.header("x-auth-token", &self.session.token) } else { request };
        send(request, PATIENCE).unwrap()
    }

    fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.ask(method.clone(), path, Some(&body).filter(|it| !it.is_null()), true);
        assert!(answer.is_success(), "{method} {path} {body}: {} {}", answer.status, answer.text);
        answer.body
    }

    fn node(&self, name: &str) -> Value {
        self.call(Method::GET, &format!("/nodes/{name}"), Value::Null)
    }

    fn wait(&self, name: &str, state: &str, deadline: Duration) -> Value {
        wait_for(&format!("{name} is {state}"), deadline, || {
            let node = self.node(name);
            let now = node["provision_state"].as_str().unwrap_or_default();
            assert!(now == state || !now.ends_with("failed"), "{name} is {now}: {}", node["last_error"]);
            if now == state { Ok(node) } else { Err(format!("it is {now}, {}", node["last_error"])) }
        })
    }

    /// A node on no network of ours whose BMC believes everything, manageable.
    fn enroll(&self, name: &str, mac: &str) {
        let node = json!({"name": name, "driver": "fake-hardware", "deploy_interface": "direct", "inspect_interface": "agent",
                         "network_interface": "noop"});
        let made = self.call(Method::POST, "/nodes", node);
        self.call(Method::POST, "/ports", json!({"node_uuid": made["uuid"], "address": mac}));
        self.call(Method::PUT, &format!("/nodes/{name}/states/provision"), json!({"target": "manage"}));
        self.wait(name, "manageable", PATIENCE);
    }

    /// Begins a manual clean and waits until its agent is awaited.
    fn clean(&self, name: &str, steps: &[&str]) {
        let steps: Vec<Value> = steps.iter().map(|step| json!({"interface": "deploy", "step": step})).collect();
        self.call(Method::PUT, &format!("/nodes/{name}/states/provision"), json!({"target": "clean", "clean_steps": steps}));
        self.wait(name, "clean wait", PATIENCE);
    }
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/cofferdam");
    std::env::var_os("COFFERDAM_CACHE").map_or_else(home, PathBuf::from)
}

/// The agent's program: given, or installed into the cache.
fn program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("COFFERDAM_TEST_IPA") {
        return Some(given.into());
    }
    let dir = cache().join("ironic-python-agent");
    let (program, stamp) = (dir.join("bin/ironic-python-agent"), dir.join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|it| it == PACKAGE) {
        return Some(program);
    }
    std::fs::create_dir_all(&dir).unwrap();
    if !run_anyway(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir)).status.success() {
        return None;
    }
    let mut install = Command::new(dir.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--no-input", PACKAGE]);
    if !run_anyway(&mut install).status.success() {
        return None;
    }
    std::fs::write(&stamp, PACKAGE).unwrap();
    Some(program)
}

/// Whether this can be tried here; says why not.
fn is_possible(programs: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() {
        say("skipped: a network namespace needs root");
        return false;
    }
    match programs.iter().find(|it| !has_program(it)) {
        Some(missing) => say(&format!("skipped: the program {missing} is missing")),
        None => return true,
    }
    false
}

/// Starts the agent where it can do no harm.
fn start(program: &Path, cable: &Cable, line: &str, log: PathBuf) -> Guarded {
    let venv = program.parent().and_then(Path::parent).unwrap();
    let python = run(Command::new(venv.join("bin/python")).args(["-c", "import sys; print(sys.base_prefix)"]));
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", cable.name));
    command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", SANDBOX, "sandbox"]);
    command.arg(program).args(["--disk_wait_attempts", "1", "--disk_wait_delay", "0"]);
    command.env("KEEP", format!("{} {}", venv.display(), python.trim())).env("LINE", line);
    Guarded::start(&mut command, log)
}

#[test]
fn the_real_agent_cleans_and_inspects() {
    if !is_possible(&["ip", "nsenter", "unshare", "setpriv", "python3"]) {
        return;
    }
    let Some(program) = program() else {
        say("skipped: ironic-python-agent cannot be installed");
        return;
    };
    let dir = tempfile::Builder::new().prefix("cofferdam-ipa-").tempdir().unwrap();
    let cable = Cable::new();
    let plane = Plane::start(dir.path(), &cable.host(), "");
    plane.enroll("real", &cable.mac());
    plane.clean("real", &["erase_devices_metadata", "erase_pstore"]);
    let line = format!("ipa-api-url={}/baremetal", plane.base);
    let agent = start(&program, &cable, &line, dir.path().join("agent.log"));
    wait_for("the agent is looked up", Duration::from_secs(90), || {
        if agent.said("Lookup succeeded") { Ok(()) } else { Err(tail(&agent.log, 3)) }
    });
    plane.wait("real", "manageable", Duration::from_secs(90));
    for step in ["erase_devices_metadata", "erase_pstore"] {
        assert!(agent.said(&format!("'step': '{step}'")), "{step}");
    }
    assert!(agent.said("Clean step completed"), "{}", tail(&agent.log, 20));
    assert!(agent.said("Generating TLS parameters automatically"), "the agent spoke TLS");
    drop(agent);

    // Inspection: what the agent finds is the node's inventory.
    plane.call(Method::PUT, "/nodes/real/states/provision", json!({"target": "inspect"}));
    plane.wait("real", "inspect wait", PATIENCE);
    let line =
        format!("{line} ipa-inspection-callback-url={}/baremetal/v1/continue_inspection ipa-inspection-collectors=default", plane.base);
    let agent = start(&program, &cable, &line, dir.path().join("inspection.log"));
    plane.wait("real", "manageable", Duration::from_secs(90));
    let inventory = plane.call(Method::GET, "/nodes/real/inventory", Value::Null)["inventory"].take();
    assert_eq!(inventory["interfaces"][0]["mac_address"], cable.mac(), "{inventory}");
    assert!(agent.said("Posting collected data"));
    assert!(!plane.process.said("panicked"));
}

/// A server with a certificate of its own; its log has what it is told.
fn listener(dir: &Path, name: &str, port: u16) -> (Guarded, String) {
    let (key, pem) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.pem")));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    make.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"]).arg("-keyout").arg(&key).arg("-out").arg(&pem);
    run(&mut make);
    let mut serve = Command::new("openssl");
    serve.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]).arg("-key").arg(key).arg("-cert").arg(&pem);
    let log = dir.join(format!("{name}.log"));
    let file = std::fs::File::create(&log).unwrap();
    // It ends when its input does.
    let child = serve.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0).spawn().unwrap();
    (Guarded { child, log }, std::fs::read_to_string(pem).unwrap())
}

#[test]
fn agents_that_are_not_what_they_say_are_refused() {
    if !has_program("openssl") {
        say("skipped: the program openssl is missing");
        return;
    }
    let dir = tempfile::Builder::new().prefix("cofferdam-impostor-").tempdir().unwrap();
    let plane = Plane::start(dir.path(), "127.0.0.1", "");
    let mac = "52:54:00:1b:00:01";
    plane.enroll("fake", mac);
    let lookup = |mac: &str| plane.ask(Method::GET, &format!("/lookup?addresses={mac}"), None, false);
    assert_eq!(lookup(mac).status, 404, "no agent is awaited");
    plane.clean("fake", &["erase_devices_metadata"]);
    assert_eq!(lookup("52:54:00:1b:00:02").status, 404, "nobody's card");

    let found = lookup(mac);
    assert_eq!(found.status, 200, "{}", found.text);
    let uuid = found.body["node"]["uuid"].as_str().unwrap();
    let token = found.body["config"]["agent_token"].as_str().unwrap();
    assert!(token.len() >= 32, "the real agent takes no shorter one");
    let beat = |url: &str, token: &str, certificate: &str| {
        let body = json!({"callback_url": url, "agent_token": token, "agent_version": "13.0.0", "agent_verify_ca": certificate});
        plane.ask(Method::POST, &format!("/heartbeat/{uuid}"), Some(&body), false)
    };
    let port = free_port(19_000, 1_000);
    let url = format!("https://127.0.0.1:{port}");
    let (server, own) = listener(dir.path(), "own", port);
    let (other, strange) = listener(dir.path(), "strange", free_port(20_000, 1_000));
    drop(other);

    let tokenless = json!({"callback_url": url, "agent_version": "13.0.0"});
    assert_eq!(plane.ask(Method::POST, &format!("/heartbeat/{uuid}"), Some(&tokenless), false).status, 400);
    assert_eq!(beat(&url, &"x".repeat(token.len()), &own).status, 400, "a token that was made up");

    // Says one certificate and shows another: nobody but the machine with the key is told anything.
    assert_eq!(beat(&url, token, &strange).status, 202);
    std::thread::sleep(Duration::from_secs(4));
    assert!(!server.said("commands"), "{}", tail(&server.log, 10));
    let state = plane.node("fake")["provision_state"].take();
    assert!(state == "cleaning" || state == "clean wait", "{state}");

    // What it said once it cannot change, and the token is not given out again.
    for (url, certificate, word) in [("https://127.0.0.1:1", &strange, "callback_url"), (url.as_str(), &own, "agent_verify_ca")] {
        let refused = beat(url, token, certificate);
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(word), "{}", refused.text);
    }
    assert_eq!(lookup(mac).body["config"]["agent_token"], "******");

    // The same server is believed with its own certificate, by another machine and with that machine's token.
    plane.enroll("honest", "52:54:00:1b:00:03");
    plane.clean("honest", &["erase_devices_metadata"]);
    let found = lookup("52:54:00:1b:00:03");
    let honest = found.body["node"]["uuid"].as_str().unwrap();
    let own_token = found.body["config"]["agent_token"].as_str().unwrap();
    let beat = |token: &str| {
        let body = json!({"callback_url": url, "agent_token": token, "agent_version": "13.0.0", "agent_verify_ca": own});
        plane.ask(Method::POST, &format!("/heartbeat/{honest}"), Some(&body), false)
    };
    assert_eq!(beat(token).status, 400, "the token of another machine");
    assert_eq!(beat(own_token).status, 202);
    wait_for("the agent is spoken to", PATIENCE, || if server.said("/v1/commands") { Ok(()) } else { Err(tail(&server.log, 3)) });
}

/// Starts the own agent on the loopback, with a file for a disk, and sees it looked up.
fn own_agent(dir: &Path, plane: &Plane, node: &str, tpm: &Path) -> Guarded {
    let (line, disk) = (dir.join("line"), dir.join("disk.raw"));
    let id = plane.node(node)["uuid"].as_str().unwrap().to_owned();
    std::fs::write(&line, format!("ipa-api-url={}/baremetal ipa-node-uuid={id} cofferdam-tpm=unix:{}", plane.base, tpm.display())).unwrap();
    std::fs::File::create(&disk).unwrap().set_len(8 << 20).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["ramdisk", "--interface", "lo", "--no-dhcp", "--listen", "0"]).arg("--cmdline").arg(line).arg("--device").arg(disk);
    Guarded::start(&mut command, dir.join("ramdisk.log"))
}

/// PCR_Extend of register 7, as booting something else does (TPM 2.0 Library, part 3, 22.2).
fn boot_something_else(tpm: &Path) {
    let mut command = vec![0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 7, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x0b];
    command.extend([0x5a; 32]);
    let mut socket = std::os::unix::net::UnixStream::connect(tpm).unwrap();
    std::io::Write::write_all(&mut socket, &command).unwrap();
    let mut answer = [0xff; 10];
    std::io::Read::read_exact(&mut socket, &mut answer).unwrap();
    assert_eq!(answer[6..], [0; 4], "the TPM took it");
}

#[test]
fn a_machine_that_booted_something_else_is_not_worked_on() {
    if !has_program("swtpm") {
        say("skipped: the program swtpm is missing");
        return;
    }
    let dir = tempfile::Builder::new().prefix("cofferdam-attest-").tempdir().unwrap();
    let socket = dir.path().join("tpm");
    let mut swtpm = Command::new("swtpm");
    swtpm.args([
        "socket",
        "--tpm2",
        "--flags",
        "not-need-init,startup-clear",
        "--server",
        &format!("type=unixio,path={}", socket.display()),
    ]);
    swtpm.args(["--tpmstate", &format!("dir={}", dir.path().display())]);
    let _tpm = Guarded::start(&mut swtpm, dir.path().join("swtpm.log"));
    let plane = Plane::start(dir.path(), "127.0.0.1", "[baremetal]\nattestation_first_use = true\n");
    plane.enroll("box", "00:00:00:00:00:00");
    let policy = |seven: &str| json!({"pcrs": {"0": ["00".repeat(32)], "7": [seven.repeat(32), "11".repeat(32)]}});
    let patch = json!([{"op": "add", "path": "/driver_info/attestation_policy", "value": policy("00")}]);
    plane.call(Method::PATCH, "/nodes/box", patch);
    let round = || {
        plane.clean("box", &["erase_devices_metadata"]);
        let _agent = own_agent(dir.path(), &plane, "box", &socket);
        wait_for("the clean ends", Duration::from_secs(60), || {
            let node = plane.node("box");
            match node["provision_state"].as_str().unwrap_or_default() {
                "manageable" | "clean failed" => Ok(node),
                other => Err(format!("it is {other}")),
            }
        })
    };
    let good = round();
    assert_eq!(good["provision_state"], "manageable", "{}", good["last_error"]);
    boot_something_else(&socket);
    let changed = round();
    assert_eq!(changed["provision_state"], "clean failed");
    let why = changed["last_error"].as_str().unwrap();
    assert!(why.contains("attestation failed: register 7 holds"), "{why}");
}
