use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use net::http::{Client, Request, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::*;

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// The token that agents are given; long enough to be taken for one.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What a control plane hears.
#[derive(Default)]
struct Heard {
    inventories: Vec<Value>,
    lookups: Vec<String>,
    /// The last heartbeat of each node.
    beats: BTreeMap<String, Value>,
    is_inspecting: bool,
    is_token_shown: bool,
}

type Shared = Arc<Mutex<Heard>>;

/// A bare metal API that takes everything.
async fn control_plane(image: Vec<u8>) -> (String, Shared) {
    let heard = Shared::default();
    let version = json!({"default_version": {"version": "1.95"}});
    let router = axum::Router::new()
        .route("/baremetal/", get(async move || Json(version.clone())))
        .route(
            "/baremetal/v1/continue_inspection",
            post(async |State(it): State<Shared>, Json(body): Json<Value>| {
                let mut heard = it.lock().unwrap();
                if !heard.is_inspecting {
                    return (StatusCode::NOT_FOUND, Json(Value::Null));
                }
                heard.inventories.push(body);
                (StatusCode::ACCEPTED, Json(json!({"uuid": "n1"})))
            }),
        )
        .route(
            "/baremetal/v1/lookup",
            get(async |State(it): State<Shared>, Query(query): Query<BTreeMap<String, String>>| {
                let mut heard = it.lock().unwrap();
                heard.lookups.push(query["addresses"].clone());
                if heard.lookups.len() == 1 {
                    return (StatusCode::NOT_FOUND, Json(Value::Null));
                }
                let token = if heard.is_token_shown { "******" } else { TOKEN };
                (StatusCode::OK, Json(json!({"node": {"uuid": "n1"}, "config": {"heartbeat_timeout": 300, "agent_token": token}})))
            }),
        )
        .route(
            "/baremetal/v1/heartbeat/{node}",
            post(async |State(it): State<Shared>, Path(node): Path<String>, Json(body): Json<Value>| {
                it.lock().unwrap().beats.insert(node, body);
                StatusCode::ACCEPTED
            }),
        )
        .route("/image", get(async move || image.clone()))
        .with_state(Arc::clone(&heard));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (base, heard)
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// The BMC of a machine, from outside.
struct Bmc(Description);

impl Bmc {
    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let url = format!("{}{path}", self.0.redfish_address);
        let method = method.parse().unwrap();
        let request = body.map_or_else(
            || Request::new(::http::Method::clone(&method), url.clone()),
            |it| Request::json(method.clone(), url.clone(), &it),
        );
        Client::plain().send(request.basic_auth(&self.0.redfish_username, &self.0.redfish_password)).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json().unwrap()
    }

    async fn boot(&self, target: &str) {
        let body = json!({"Boot": {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Once"}});
        assert_eq!(self.send("PATCH", &self.0.redfish_system_id, Some(body)).await.status, 204);
    }

    async fn reset(&self, kind: &str) -> u16 {
        let path = format!("{}/Actions/ComputerSystem.Reset", self.0.redfish_system_id);
        self.send("POST", &path, Some(json!({"ResetType": kind}))).await.status
    }
}

fn fleet(machines: usize, base: &str) -> Fleet {
    Fleet::start(Settings { retry_ms: 20, ..Settings::quick(machines, &format!("{base}/baremetal")) }).unwrap()
}

/// Follows every link from the root, as a client that knows nothing would.
#[tokio::test]
async fn every_link_of_a_bmc_leads_somewhere_and_only_with_a_password() {
    fn links(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(path) if key == "@odata.id" && !path.contains('#') => found.push(path.to_owned()),
                        _ => links(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| links(value, found)),
            _ => {}
        }
    }
    let fleet = fleet(3, "http://127.0.0.1:1");
    let bmc = Bmc(fleet.describe().remove(1));
    let mut pending = vec!["/redfish/v1/".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = pending.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let document = bmc.get(&path).await;
        assert_eq!(document["@odata.id"], path);
        let is_root = path == "/redfish/v1/";
        let url = format!("{}{path}", bmc.0.redfish_address);
        let stranger = Client::plain().send(Request::get(url).basic_auth("admin", "guess")).await.unwrap();
        assert_eq!(stranger.status, if is_root { 200 } else { 401 }, "{path}");
        links(&document, &mut pending);
    }
    assert!(seen.len() > 20, "{seen:?}");
    // One machine's password is no other's, and no other machine is there.
    let other = Bmc(Description { redfish_address: fleet.describe().remove(2).redfish_address, ..bmc.0.clone() });
    assert_eq!(other.send("GET", "/redfish/v1/Systems", None).await.status, 401);
    assert_eq!(bmc.send("GET", "/redfish/v1/Systems/f00003", None).await.status, 404);
    // A session does as well as a password.
    let body = json!({"UserName": bmc.0.redfish_username, "Password": bmc.0.redfish_password});
    let url = format!("{}/redfish/v1/SessionService/Sessions", bmc.0.redfish_address);
    let session = Client::plain().send(Request::json("POST".parse().unwrap(), url, &body)).await.unwrap();
    assert_eq!(session.status, 201);
    let token = session.headers["x-auth-token"].to_str().unwrap().to_owned();
    let asked = |token: &str| Request::get(format!("{}/redfish/v1/Systems", bmc.0.redfish_address)).header("x-auth-token", token);
    assert_eq!(Client::plain().send(asked(&token)).await.unwrap().status, 200);
    assert_eq!(bmc.send("DELETE", session.headers["location"].to_str().unwrap(), None).await.status, 204);
    assert_eq!(Client::plain().send(asked(&token)).await.unwrap().status, 401);
}

#[tokio::test]
async fn settings_wait_for_a_start_and_nonsense_changes_nothing() {
    let fleet = fleet(1, "http://127.0.0.1:1");
    let bmc = Bmc(fleet.describe().remove(0));
    let system = bmc.0.redfish_system_id.clone();
    for (method, path, body, status) in [
        ("PATCH", "", json!({"Boot": {"BootSourceOverrideTarget": "Tape"}}), 400),
        ("PATCH", "", json!({"Boot": {"BootSourceOverrideTarget": 7}}), 400),
        ("PATCH", "", json!({"PowerState": "On"}), 400),
        ("PATCH", "/Bios/Settings", json!({"Attributes": {"Flavour": "sweet"}}), 400),
        ("POST", "/Actions/ComputerSystem.Reset", json!({"ResetType": "Explode"}), 400),
        ("POST", "/Actions/ComputerSystem.Reset", json!({"ResetType": "ForceRestart"}), 409),
        ("DELETE", "", json!({}), 405),
        ("POST", "/Fans", json!({}), 404),
        ("PATCH", "", json!({"IndicatorLED": "Blinking", "Boot": {"BootSourceOverrideMode": "Legacy"}}), 204),
        ("PATCH", "/SecureBoot", json!({"SecureBootEnable": true}), 204),
        ("PATCH", "/Bios/Settings", json!({"Attributes": {"ProcTurboMode": "Disabled"}}), 204),
    ] {
        let answer = bmc.send(method, &format!("{system}{path}"), Some(body.clone())).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
    }
    assert_eq!(bmc.get(&format!("{system}/Bios")).await["Attributes"]["ProcTurboMode"], "Enabled");
    assert_eq!(bmc.get(&format!("{system}/Bios/Settings")).await["Attributes"]["ProcTurboMode"], "Disabled");
    assert_eq!(bmc.reset("On").await, 204);
    until("it is on", || (fleet.record()[0].power == Power::On).then_some(())).await;
    assert_eq!(bmc.get(&format!("{system}/Bios")).await["Attributes"]["ProcTurboMode"], "Disabled");
    let shown = bmc.get(&system).await;
    assert_eq!((&shown["IndicatorLED"], &shown["Boot"]["BootSourceOverrideMode"]), (&json!("Blinking"), &json!("Legacy")));
    assert_eq!(bmc.get(&format!("{system}/SecureBoot")).await["SecureBootCurrentBoot"], "Enabled");
    assert_eq!(fleet.record()[0].running, Running::Nothing, "there is nothing on its disk");
    assert_eq!(bmc.reset("GracefulShutdown").await, 204);
    until("it is off", || (fleet.record()[0].power == Power::Off).then_some(())).await;
}

/// An agent as a control plane sees it.
struct Seen {
    url: String,
    client: Client,
}

impl Seen {
    async fn of(heard: &Shared) -> Self {
        let beat = until("a heartbeat", || heard.lock().unwrap().beats.remove("n1")).await;
        assert_eq!(beat["agent_token"], TOKEN);
        let pem = beat["agent_verify_ca"].as_str().unwrap();
        let client = Client { tls: Some(agent::trusting(pem.as_bytes())), ..Client::plain() };
        Self { url: beat["callback_url"].as_str().unwrap().to_owned(), client }
    }

    async fn send(&self, name: &str, params: Value, token: &str) -> Response {
        let url = format!("{}/v1/commands/?wait=true&agent_token={token}", self.url);
        let body = json!({"name": name, "params": params});
        self.client.send(Request::json("POST".parse().unwrap(), url, &body)).await.unwrap()
    }

    async fn run(&self, name: &str, params: Value) -> Value {
        let answer = self.send(name, params, TOKEN).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        answer.json().unwrap()
    }
}

/// From power to an operating system and back to an empty disk, over both protocols.
#[tokio::test]
async fn a_machine_is_inspected_deployed_and_erased() {
    let image: Vec<u8> = (0..3_000_000_u32).map(|it| u8::try_from(it.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let digest: String = Sha512::digest(&image).iter().map(|it| format!("{it:02x}")).collect();
    let (base, heard) = control_plane(image).await;
    heard.lock().unwrap().is_inspecting = true;
    let fleet = fleet(2, &base);
    let described = fleet.describe().remove(1);
    let bmc = Bmc(described.clone());
    bmc.boot("Pxe").await;
    assert_eq!(bmc.reset("On").await, 204);
    let agent = Seen::of(&heard).await;
    {
        let heard = heard.lock().unwrap();
        let sent = &heard.inventories[0];
        assert_eq!(sent["inventory"]["interfaces"][0]["mac_address"], described.mac);
        assert_eq!(sent["lldp_raw"]["eth0"][0], json!([1, "0402f1ee700000"]));
        assert_eq!(heard.lookups, [described.mac.clone(), described.mac.clone()], "the first was not found");
    }
    assert_eq!(fleet.record()[0].running, Running::Nothing);

    let status: Value = agent.client.send(Request::get(format!("{}/v1/status", agent.url))).await.unwrap().json().unwrap();
    assert_eq!(status["version"], "13.0.0");
    assert_eq!(agent.send("deploy.get_deploy_steps", json!({"node": {}, "ports": []}), "guess").await.status, 401);
    assert_eq!(agent.send("deploy.dance", json!({}), TOKEN).await.status, 400);
    assert_eq!(agent.send("dance.dance", json!({}), TOKEN).await.status, 404);
    assert_eq!(agent.run("deploy.get_deploy_steps", json!({})).await["command_status"], "FAILED", "without a node");
    let steps = agent.run("deploy.get_deploy_steps", json!({"node": {}, "ports": []})).await;
    assert_eq!(steps["command_result"]["deploy_steps"]["GenericHardwareManager"][2]["step"], "write_image");
    let info = agent.run("poll.get_hardware_info", json!({})).await;
    assert_eq!(info["command_result"]["system_vendor"]["manufacturer"], "Fleet");

    let write = |value: &str| {
        let image = json!({"id": "i1", "urls": [format!("{base}/image")], "os_hash_algo": "sha512", "os_hash_value": value});
        json!({"interface": "deploy", "step": "write_image", "args": {"image_info": image, "configdrive": "QUJD"}})
    };
    let execute = async |step: Value, version: Value| {
        agent.run("deploy.execute_deploy_step", json!({"step": step, "node": {}, "ports": [], "deploy_version": version})).await
    };
    let wrong = execute(write(&"0".repeat(128)), Value::Null).await;
    assert_eq!((&wrong["command_status"], &wrong["command_error"]["type"]), (&json!("FAILED"), &json!("ImageChecksumError")));
    assert!(fleet.record()[1].disk.is_none() && fleet.record()[1].is_dirty);
    let stale = execute(write(&digest), json!({"generic_hardware_manager": "0.9"})).await;
    assert_eq!(stale["command_status"], "CLEAN_VERSION_MISMATCH");
    let done = execute(write(&digest), steps["command_result"]["hardware_manager_version"].clone()).await;
    assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
    assert_eq!(done["command_result"]["deploy_result"]["verified"], format!("sha512:{digest}"));
    assert_eq!(done["command_result"]["deploy_step"]["step"], "write_image");
    let listed: Value =
        agent.client.send(Request::get(format!("{}/v1/commands/?agent_token={TOKEN}", agent.url))).await.unwrap().json().unwrap();
    assert_eq!(listed["commands"].as_array().unwrap().len(), 6);

    agent.run("standby.run_image", json!({})).await;
    until("the operating system runs", || (fleet.record()[1].running == Running::Os).then_some(())).await;
    let disk = fleet.record()[1].disk.clone().unwrap();
    assert_eq!((disk.bytes, disk.sha512.as_str(), disk.configdrive_bytes), (3_000_000, digest.as_str(), 4));
    let gone = agent.client.send(Request::get(format!("{}/v1/status", agent.url))).await;
    assert!(gone.is_err(), "{gone:?}");

    // The next boot is a ramdisk with a certificate of its own.
    heard.lock().unwrap().beats.clear();
    bmc.boot("Pxe").await;
    assert_eq!(bmc.reset("ForceRestart").await, 204);
    let agent = Seen::of(&heard).await;
    let step = json!({"interface": "deploy", "step": "erase_devices", "priority": 10});
    let done = agent.run("clean.execute_clean_step", json!({"step": step, "node": {}, "ports": []})).await;
    assert_eq!(done["command_result"]["clean_step"], step, "{done}");
    agent.run("standby.power_off", json!({})).await;
    until("it is off", || (fleet.record()[1].power == Power::Off).then_some(())).await;
    let record = fleet.record().remove(1);
    assert!(record.disk.is_none() && !record.is_dirty);
    assert_eq!((record.counts.ramdisk_boots, record.counts.os_boots, record.counts.images, record.counts.erasures), (2, 1, 1, 1));
    assert_eq!(record.counts.inspections, 2);
}

#[tokio::test]
async fn a_token_shown_to_somebody_else_is_of_no_use() {
    let (base, heard) = control_plane(Vec::new()).await;
    heard.lock().unwrap().is_token_shown = true;
    let fleet = fleet(1, &base);
    let bmc = Bmc(fleet.describe().remove(0));
    bmc.boot("UefiHttp").await;
    bmc.reset("On").await;
    until("it was looked up", || (heard.lock().unwrap().lookups.len() > 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(heard.lock().unwrap().beats.is_empty());
    assert_eq!(fleet.record()[0].running, Running::Booting);
}

#[tokio::test]
async fn mishaps_come_again_for_the_same_seed() {
    let run = async |seed: u64| {
        let settings = Settings { seed, bmc_fails: 0.3, boot_fails: 0.5, ..Settings::quick(1, "http://127.0.0.1:1") };
        let fleet = Fleet::start(settings).unwrap();
        let bmc = Bmc(fleet.describe().remove(0));
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.push(bmc.send("GET", "/redfish/v1/Systems", None).await.status);
        }
        seen
    };
    let (first, second, other) = (run(7).await, run(7).await, run(8).await);
    assert_eq!(first, second);
    assert_ne!(first, other);
    assert!(first.contains(&200) && first.contains(&503), "{first:?}");
}

#[tokio::test]
async fn the_fleet_tells_of_itself_and_is_nowhere_else() {
    let fleet = fleet(2, "http://127.0.0.1:1");
    let described: Value = Client::plain().send(Request::get(format!("{}/fleet", fleet.url()))).await.unwrap().json().unwrap();
    assert_eq!(described[1]["name"], "f00002");
    let record: Value = Client::plain().send(Request::get(format!("{}/fleet/record", fleet.url()))).await.unwrap().json().unwrap();
    assert_eq!((&record[0]["power"], &record[0]["running"]), (&json!("Off"), &json!("nothing")));
    assert_eq!(Client::plain().send(Request::get(format!("{}/redfish/v1", fleet.url()))).await.unwrap().status, 404);
    let (_, mac) = described[0]["mac"].as_str().unwrap().split_at(3);
    assert_eq!(mac, "00:01:00:00:00");
    assert!(Fleet::start(Settings { jitter: 2.0, ..Settings::quick(1, "x") }).is_err());
    assert!(Fleet::start(Settings::quick(0, "x")).is_err());
}
