//! The whole agent against a small control plane on the loopback, with a file as disk.
#![cfg(test)]

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::ramdisk::{RamdiskArgs, run};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use http::Method;
use net::http::{Client, Request as Call};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

const NODE: &str = "6b1f2a30-7c7e-4f1f-9d57-0a3f7f9a0001";
const TOKEN: &str = "a-token-of-this-test";
const DISK_BYTES: u64 = 96 << 20;
/// Heartbeats come at half of it, as long as the machine does not stand still.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(12);

/// Makes a stream of the given pieces; an empty one breaks the connection off.
fn stream(pieces: Vec<Bytes>) -> Body {
    Body::new(Pieces(pieces.into_iter().collect()))
}

struct Pieces(std::collections::VecDeque<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|piece| {
            if piece.is_empty() { Err(std::io::Error::other("broken off on purpose")) } else { Ok(hyper::body::Frame::data(piece)) }
        }))
    }
}

#[derive(Default)]
struct Plane {
    lookups: AtomicUsize,
    inspections: Mutex<Vec<Value>>,
    beats: Mutex<Vec<(Instant, Value)>>,
    image: Bytes,
    downloads: AtomicUsize,
    ranges: Mutex<Vec<String>>,
    open_gate: tokio::sync::Notify,
}

async fn lookup(State(plane): State<Arc<Plane>>, request: Request) -> Response {
    // Inspection, which came before, has said which node it is.
    assert_eq!(request.uri().query(), Some(format!("addresses=00:00:00:00:00:00&node_uuid={NODE}").as_str()));
    match plane.lookups.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::NOT_FOUND.into_response(),
        1 => StatusCode::CONFLICT.into_response(),
        _ => Json(json!({
            "node": {"uuid": NODE, "properties": {}, "instance_info": {}, "driver_internal_info": {}},
            "config": {"heartbeat_timeout": HEARTBEAT_TIMEOUT.as_secs(), "agent_token": TOKEN, "agent_token_required": true},
        }))
        .into_response(),
    }
}

async fn inspection(State(plane): State<Arc<Plane>>, Json(found): Json<Value>) -> Response {
    let mut inspections = plane.inspections.lock().unwrap();
    inspections.push(found);
    // The first is told to come again.
    if inspections.len() == 1 { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { Json(json!({ "uuid": NODE })).into_response() }
}

async fn heartbeat(State(plane): State<Arc<Plane>>, Json(beat): Json<Value>) -> StatusCode {
    let mut beats = plane.beats.lock().unwrap();
    beats.push((Instant::now(), beat));
    // The first is told that the node is locked.
    if beats.len() == 1 { StatusCode::CONFLICT } else { StatusCode::ACCEPTED }
}

/// Serves the image; the first download breaks off in the middle.
async fn image(State(plane): State<Arc<Plane>>, request: Request) -> Response {
    let image = &plane.image;
    let number = plane.downloads.fetch_add(1, Ordering::SeqCst);
    let range = request.headers().get("range").map(|it| it.to_str().unwrap().to_owned());
    let from: usize = range.as_deref().map_or(0, |it| it.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    plane.ranges.lock().unwrap().extend(range);
    let rest = image.slice(from..);
    let mut answer = Response::builder().header("content-length", rest.len());
    if from > 0 {
        answer = answer.status(206).header("content-range", format!("bytes {from}-{}/{}", image.len() - 1, image.len()));
    }
    let half = rest.len() / 2;
    let mut pieces: Vec<Bytes> = rest.chunks(700_000).map(Bytes::copy_from_slice).collect();
    if number == 0 {
        pieces = vec![rest.slice(..half), Bytes::new()];
    }
    answer.body(stream(pieces)).unwrap()
}

/// Half of the image, and the rest when the test says so.
async fn slow(State(plane): State<Arc<Plane>>) -> Response {
    let image = plane.image.clone();
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        sender.send(image.slice(..image.len() / 2)).await.unwrap();
        plane.open_gate.notified().await;
        sender.send(image.slice(image.len() / 2..)).await.unwrap();
    });
    let body = Body::new(http_body_of(move |cx| receiver.poll_recv(cx)));
    Response::new(body)
}

struct Polled<F>(F);

fn http_body_of<F>(f: F) -> Polled<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Unpin,
{
    Polled(f)
}

impl<F> hyper::body::Body for Polled<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        (self.0)(cx).map(|it| it.map(|it| Ok(hyper::body::Frame::data(it))))
    }
}

fn make_image() -> Bytes {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(12 << 20).unwrap();
    let mut raw = std::fs::OpenOptions::new().read(true).write(true).open(file.path()).unwrap();
    gpt::mbr::ProtectiveMBR::with_lb_size(u32::try_from((12_u64 << 20) / 512 - 1).unwrap()).overwrite_lba0(&mut raw).unwrap();
    let mut table = gpt::GptConfig::new().writable(true).create_from_device(raw, None).unwrap();
    table.update_partitions(std::collections::BTreeMap::new()).unwrap();
    table.add_partition("root", 8 << 20, gpt::partition_types::LINUX_FS, 0, Some(2048)).unwrap();
    table.write().unwrap();
    let mut bytes = std::fs::read(file.path()).unwrap();
    for (at, byte) in bytes[1 << 20..9 << 20].iter_mut().enumerate() {
        *byte = u8::try_from((at * 31 + at / 1024) % 251).unwrap();
    }
    bytes.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pack(bytes: &[u8]) -> String {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    base64::engine::general_purpose::STANDARD.encode(gzip.finish().unwrap())
}

/// The control plane's client of the agent, trusting exactly the certificate that the heartbeat brought.
struct Driver {
    url: String,
    client: Client,
}

impl Driver {
    fn of_beat(beat: &Value) -> Self {
        let pem = beat["agent_verify_ca"].as_str().unwrap();
        let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der.into()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = Client::plain().with_deadline(Duration::from_secs(90));
        client.tls = Some(Arc::new(config));
        Self { url: beat["callback_url"].as_str().unwrap().to_owned(), client }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let call = body.map_or_else(|| Call::new(method.clone(), &url), |body| Call::json(method.clone(), &url, &body));
        let response = self.client.send(call).await.unwrap();
        (response.status, response.json().unwrap())
    }

    async fn command(&self, name: &str, params: Value, wait: bool) -> (u16, Value) {
        let path = format!("/v1/commands/?wait={wait}&agent_token={TOKEN}");
        self.call(Method::POST, &path, Some(json!({"name": name, "params": params}))).await
    }

    async fn list(&self) -> Vec<Value> {
        let (status, body) = self.call(Method::GET, &format!("/v1/commands/?agent_token={TOKEN}"), None).await;
        assert_eq!(status, 200);
        body["commands"].as_array().unwrap().clone()
    }

    /// Runs a step and returns the command when it has ended.
    async fn step(&self, kind: &str, step: Value) -> Value {
        let (status, body) =
            self.command(&format!("{kind}.execute_{kind}_step"), json!({"step": step, "node": {}, "ports": []}), true).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn partitions(path: &std::path::Path) -> Vec<(String, u64, u64)> {
    let disk = gpt::GptConfig::new().only_valid_headers(true).open(path).unwrap();
    let used = disk.partitions().values().filter(|it| it.is_used());
    used.map(|it| (it.name.clone(), it.first_lba * 512, (it.last_lba + 1 - it.first_lba) * 512)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_deployed_verified_cleaned_and_switched_off() {
    let plane = Arc::new(Plane { image: make_image(), ..Plane::default() });
    let router = Router::new()
        .route("/baremetal/", get(|| async { Json(json!({"default_version": {"id": "v1", "version": "1.95"}})) }))
        .route("/baremetal/v1/lookup", get(lookup))
        .route(&format!("/baremetal/v1/heartbeat/{NODE}"), post(heartbeat))
        .route("/baremetal/v1/continue_inspection", post(inspection))
        .route("/image", get(image))
        .route("/slow", get(slow))
        .with_state(Arc::clone(&plane));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    let folder = tempfile::tempdir().unwrap();
    let cmdline = folder.path().join("cmdline");
    let inspects = format!("ipa-inspection-callback-url={base}/baremetal/v1/continue_inspection ipa-lldp-timeout=0.2");
    std::fs::write(&cmdline, format!("quiet ipa-api-url={base}/baremetal {inspects}\n")).unwrap();
    let disk = folder.path().join("disk.raw");
    // The last tenant's data.
    std::fs::write(&disk, vec![0x11; usize::try_from(DISK_BYTES).unwrap()]).unwrap();
    let args = RamdiskArgs { cmdline, device: disk.clone(), interface: Some("lo".into()), listen: 0, no_dhcp: true, etc: None };
    let agent = std::thread::spawn(move || run(args));

    // Lookup was refused twice, the first heartbeat once; the agent went on.
    let beat = until("a heartbeat", || plane.beats.lock().unwrap().get(1).map(|it| it.1.clone())).await;
    assert_eq!(plane.lookups.load(Ordering::SeqCst), 3);
    {
        let inspections = plane.inspections.lock().unwrap();
        assert_eq!(inspections.len(), 2);
        let found = &inspections[1];
        assert_eq!(found["inventory"]["disks"][0]["size"], DISK_BYTES);
        assert_eq!(found["inventory"]["interfaces"][0]["ipv4_address"], "127.0.0.1");
        assert_eq!((&found["root_disk"]["size"], &found["boot_interface"]), (&json!(DISK_BYTES), &json!("00:00:00:00:00:00")));
        assert!(found["lldp_raw"].is_object() && found["error"].is_null(), "{found}");
    }
    assert_eq!(beat["agent_token"], TOKEN);
    assert!(beat["agent_version"].is_string());
    let driver = Driver::of_beat(&beat);
    assert!(driver.url.starts_with("https://127.0.0.1:"));

    tokens_and_names(&driver).await;
    deployment(&driver, &plane, &base, &disk).await;
    refusals(&driver, &plane, &base, &disk).await;
    cleaning(&driver, &plane, &disk).await;

    let (status, body) = driver.command("standby.power_off", json!({}), false).await;
    assert_eq!((status, &body["command_name"]), (200, &json!("power_off")));
    let ended = tokio::task::spawn_blocking(move || agent.join().unwrap());
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap().unwrap();
    serving.abort();
}

async fn tokens_and_names(driver: &Driver) {
    let (status, body) = driver.call(Method::GET, "/v1/status", None).await;
    assert_eq!(status, 200);
    assert!(body["started_at"].as_f64().unwrap() > 1e9 && body["version"].is_string());
    let sync = json!({"name": "standby.sync", "params": {}});
    for path in ["/v1/commands/", "/v1/commands?agent_token=wrong", "/commands", "/v1/commands/x?agent_token="] {
        let (status, body) = driver.call(Method::GET, path, None).await;
        assert_eq!((status, &body["faultcode"]), (401, &json!("Client")), "{path}");
    }
    for path in ["/v1/commands/", "/v1/commands/?agent_token=wrong&wait=true"] {
        let (status, _) = driver.call(Method::POST, path, Some(sync.clone())).await;
        assert_eq!(status, 401, "{path}");
    }
    assert_eq!(driver.list().await, Vec::<Value>::new(), "nothing ran");
    for (name, expected) in [("standby.dance", 400), ("flow.start_flow", 404), ("sync", 400)] {
        let (status, body) = driver.command(name, json!({}), false).await;
        assert_eq!(status, expected, "{body}");
    }
    assert_eq!(driver.call(Method::GET, "/v2", None).await.0, 404);
    assert_eq!(driver.call(Method::GET, &format!("/v1/commands/none?agent_token={TOKEN}"), None).await.0, 404);
    let (_, body) = driver.command("standby.sync", json!({}), false).await;
    assert_eq!(body["command_status"], "SUCCEEDED");
    let (_, body) = driver.command("poll.get_hardware_info", json!({}), false).await;
    assert_eq!(body["command_result"]["disks"][0]["size"], DISK_BYTES);
    let (_, body) = driver.command("deploy.get_deploy_steps", json!({"node": {}, "ports": []}), false).await;
    assert!(body["command_result"]["deploy_steps"].is_object());
    let id = body["id"].as_str().unwrap();
    let (_, again) = driver.call(Method::GET, &format!("/v1/commands/{id}?agent_token={TOKEN}"), None).await;
    assert_eq!(again, body);
}

fn write_step(url: &str, digest: &str, drive: &str) -> Value {
    json!({"interface": "deploy", "step": "write_image", "args": {
        "image_info": {"id": "img", "urls": [url], "disk_format": "raw", "os_hash_algo": "sha512", "os_hash_value": digest},
        "configdrive": drive,
    }})
}

async fn deployment(driver: &Driver, plane: &Plane, base: &str, disk: &std::path::Path) {
    let digest = hex(&Sha512::digest(&plane.image));
    let drive: Vec<u8> = (0..400_000_u32).map(|at| u8::try_from(at % 241).unwrap()).collect();
    let beats = plane.beats.lock().unwrap().len();
    let done = driver.step("deploy", write_step(&format!("{base}/image"), &digest, &pack(&drive))).await;
    assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
    let result = &done["command_result"];
    assert_eq!(result["deploy_result"]["verified"], format!("sha512:{digest}"));
    assert_eq!(result["deploy_result"]["bytes"], plane.image.len());
    assert_eq!(result["deploy_step"], json!({"interface": "deploy", "step": "write_image"}));
    // It broke off once and was resumed where it stopped.
    assert_eq!(plane.downloads.load(Ordering::SeqCst), 2);
    let ranges = plane.ranges.lock().unwrap().clone();
    assert!(ranges.len() == 1 && ranges[0] != "bytes=0-", "{ranges:?}");

    let bytes = std::fs::read(disk).unwrap();
    assert_eq!(bytes.len(), usize::try_from(DISK_BYTES).unwrap());
    assert!(bytes[1 << 20..9 << 20] == plane.image[1 << 20..9 << 20], "the partition's content");
    let found = partitions(disk);
    assert_eq!(found[0], ("root".into(), 1 << 20, 8 << 20));
    let (name, offset, length) = &found[1];
    assert_eq!((name.as_str(), *length >= 64 << 20), ("config-2", true));
    let place = usize::try_from(*offset).unwrap();
    assert!(bytes[place..place + drive.len()] == drive[..], "the config drive");
    // The control plane hears of the end at once, not at the next regular heartbeat.
    until("a heartbeat after the step", || (plane.beats.lock().unwrap().len() > beats).then_some(())).await;
}

async fn refusals(driver: &Driver, plane: &Arc<Plane>, base: &str, disk: &std::path::Path) {
    let digest = hex(&Sha512::digest(&plane.image));
    let url = format!("{base}/image");
    let failed = |done: &Value, kind: &str, word: &str| {
        assert_eq!(done["command_status"], "FAILED", "{done}");
        assert_eq!(done["command_error"]["type"], kind, "{done}");
        assert!(done["command_error"]["details"].as_str().unwrap().contains(word), "{done}");
        assert_eq!(done["command_result"], Value::Null);
    };
    // What can be refused before the disk is touched leaves the disk alone.
    let before = std::fs::read(disk).unwrap();
    let mut step = write_step(&url, &digest, "");
    step["args"]["image_info"]["disk_format"] = json!("qcow2");
    failed(&driver.step("deploy", step).await, "InvalidImage", "qcow2");
    let mut step = write_step(&url, &digest, "");
    step["args"]["image_info"]["size"] = json!(DISK_BYTES + 1);
    failed(&driver.step("deploy", step).await, "InvalidImage", "the disk only");
    failed(&driver.step("deploy", write_step(&url, &digest, "*")).await, "DeploymentError", "base64");
    assert!(std::fs::read(disk).unwrap() == before);

    // A corrupt image: the digest is not that of what comes.
    let other = hex(&Sha512::digest(b"another"));
    failed(&driver.step("deploy", write_step(&url, &other, "")).await, "ImageChecksumError", &other);
    let head = std::fs::read(disk).unwrap()[..1 << 20].to_vec();
    assert!(head.iter().all(|byte| *byte == 0), "nothing to boot is left");
    failed(&driver.step("deploy", write_step(&format!("{base}/none"), &digest, "")).await, "ImageDownloadError", "404");
    failed(&driver.step("deploy", write_step("http://127.0.0.1:1/x", &digest, "")).await, "ImageDownloadError", "cannot connect");

    // While a step runs nothing else does; its progress shows.
    let params = json!({"step": write_step(&format!("{base}/slow"), &digest, ""), "node": {}, "ports": []});
    let (status, body) = driver.command("deploy.execute_deploy_step", params.clone(), false).await;
    assert_eq!((status, &body["command_status"]), (200, &json!("RUNNING")));
    let started = Instant::now();
    loop {
        let last = driver.list().await.pop().unwrap();
        assert_eq!(last["command_status"], "RUNNING");
        if last["progress"]["bytes_written"].as_u64().unwrap() >= 5 << 20 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{last}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, body) = driver.command("deploy.execute_deploy_step", params, true).await;
    assert_eq!(status, 409);
    assert_eq!(body, json!({"faultcode": "Client", "faultstring": "Agent is busy: executing command execute_deploy_step"}));
    // Heartbeats go on meanwhile.
    let beats = plane.beats.lock().unwrap().len();
    until("a heartbeat during a step", || (plane.beats.lock().unwrap().len() > beats).then_some(())).await;
    assert_eq!(driver.list().await.pop().unwrap()["command_status"], "RUNNING");
    plane.open_gate.notify_one();
    let id = driver.list().await.pop().unwrap()["id"].as_str().unwrap().to_owned();
    let (_, done) = driver.call(Method::GET, &format!("/v1/commands/{id}?agent_token={TOKEN}&wait=true"), None).await;
    assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
}

async fn cleaning(driver: &Driver, plane: &Plane, disk: &std::path::Path) {
    let (_, listed) = driver.command("clean.get_clean_steps", json!({"node": {}, "ports": []}), false).await;
    let managers = listed["command_result"]["clean_steps"].as_object().unwrap().clone();
    let mut steps: Vec<Value> = managers.values().flat_map(|steps| steps.as_array().unwrap().clone()).collect();
    steps.sort_by_key(|step| std::cmp::Reverse(step["priority"].as_u64()));
    assert_eq!(
        steps.iter().map(|it| it["step"].as_str().unwrap()).collect::<Vec<_>>(),
        ["erase_devices_metadata", "erase_devices", "erase_devices_express", "erase_pstore"]
    );
    assert!(!partitions(disk).is_empty());
    for step in steps {
        let done = driver.step("clean", step.clone()).await;
        assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
        assert_eq!(done["command_result"]["clean_step"], step);
        assert!(gpt::GptConfig::new().open(disk).is_err());
    }
    let bytes = std::fs::read(disk).unwrap();
    assert_eq!(bytes.len(), usize::try_from(DISK_BYTES).unwrap());
    assert!(bytes.iter().all(|byte| *byte == 0), "the disk is zero");
    assert!(driver.list().await.len() <= 20);
    let beats = plane.beats.lock().unwrap();
    assert!(beats.windows(2).all(|two| two[1].0 - two[0].0 < HEARTBEAT_TIMEOUT), "heartbeats came within the time-out");
    assert!(beats.iter().all(|(_, beat)| beat["callback_url"] == beats[0].1["callback_url"]));
}
