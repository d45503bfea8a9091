//! A Redfish BMC with state for tests: the resources of a mockup (written after DMTF's public schemas), and what happens to them.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use drivers::bmc::{Bmc, BmcError, HardwareConfig, open};
use model::baremetal::{Interface, Step};
use model::secret::Settings;
use serde_json::{Map, Value, json};

pub const ROOT: &str = "/redfish/v1";
pub const SYSTEM: &str = "/redfish/v1/Systems/437XR1138R2";
pub const USER: &str = "root";
pub const PASSWORD: &str = "calvin-7";

/// An answer to be given instead of the usual one, and how often.
pub struct Instead {
    pub method: Method,
    pub path: String,
    pub status: u16,
    pub body: Value,
    pub times: usize,
}

#[derive(Default)]
pub struct Bmcs {
    pub tree: BTreeMap<String, Value>,
    /// Everything that was asked.
    pub log: Vec<(String, String, Value)>,
    pub tokens: BTreeSet<String>,
    pub logins: usize,
    pub instead: Vec<Instead>,
    /// Paths whose changes must name the version.
    pub etags: BTreeSet<String>,
    /// Makes no sessions.
    pub sessionless: bool,
    pub pending_bios: Map<String, Value>,
    pub pending_reset: bool,
    pub pending_keys: Option<String>,
    pub pending_bios_version: Option<String>,
    /// Volumes that come to be at the next start.
    pub pending_volumes: Vec<Value>,
    /// Volumes go at the next start, and are refused while they are to go.
    pub deletes_at_start: bool,
    /// Such a deletion is a task.
    pub deletes_are_tasks: bool,
    /// How many volumes can be to go at once; 0: any number.
    pub deletes_at_once: usize,
    pub pending_deletes: Vec<String>,
    /// What is to be changed in the BIOS is shown, and nothing can be added to it.
    pub strict_bios: bool,
    /// How often a task is still running when it is looked at.
    pub task_looks: u64,
    pub next: u64,
}

pub struct Sim {
    pub address: String,
    state: Arc<Mutex<Bmcs>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sim {
    pub async fn start() -> Self {
        let tree: BTreeMap<String, Value> = serde_json::from_str(include_str!("../fixtures/redfish-mockup.json")).unwrap();
        let state = Arc::new(Mutex::new(Bmcs { tree, task_looks: 1, ..Bmcs::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the simulated BMC stopped: {error}");
            }
        });
        Self { address, state, task }
    }

    pub fn lock(&self) -> MutexGuard<'_, Bmcs> {
        self.state.lock().unwrap()
    }

    pub fn config(&self) -> HardwareConfig {
        let info = json!({"redfish_address": self.address, "redfish_username": USER, "redfish_password": PASSWORD});
        HardwareConfig {
            node: "6f1c2b1e-7b0b-4d52-9a0e-0000000000aa".into(),
            driver: "redfish".into(),
            interfaces: BTreeMap::from([(Interface::Inspect, "redfish".into())]),
            info: Settings(info.as_object().cloned().unwrap()),
            properties: Map::new(),
            target_raid_config: Map::new(),
            power: None,
        }
    }

    pub fn open(&self) -> Box<dyn Bmc> {
        self.open_with(|_| {}).unwrap()
    }

    pub fn open_with(&self, change: impl FnOnce(&mut HardwareConfig)) -> Result<Box<dyn Bmc>, BmcError> {
        let mut config = self.config();
        change(&mut config);
        open(config)
    }

    pub fn resource(&self, path: &str) -> Value {
        self.lock().tree.get(path).cloned().unwrap_or_default()
    }

    pub fn set(&self, path: &str, pointer: &str, value: Value) {
        let mut state = self.lock();
        let resource = state.tree.get_mut(path).unwrap();
        *resource.pointer_mut(pointer).unwrap() = value;
    }

    pub fn instead(&self, method: Method, path: &str, status: u16, body: Value, times: usize) {
        self.lock().instead.push(Instead { method, path: path.into(), status, body, times });
    }

    /// The bodies of what was asked of a path.
    pub fn asked(&self, method: &str, path: &str) -> Vec<Value> {
        self.lock().log.iter().filter(|it| it.0 == method && it.1 == path).map(|it| it.2.clone()).collect()
    }
}

pub fn step(interface: &str, name: &str, args: &Value) -> Step {
    Step {
        interface: interface.into(),
        step: name.into(),
        args: args.as_object().cloned().unwrap_or_default(),
        priority: 0,
        ..Step::default()
    }
}

fn give(status: u16, headers: &[(&'static str, String)], body: &Value) -> Response {
    let code = StatusCode::from_u16(status).unwrap();
    let mut response = if body.is_null() { code.into_response() } else { (code, axum::Json(body.clone())).into_response() };
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

pub fn error(id: &str, message: &str) -> Value {
    json!({"error": {"code": "Base.1.8.GeneralError", "message": "see extended", "@Message.ExtendedInfo": [{"MessageId": id, "Message": message}]}})
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

async fn answer(State(state): State<Arc<Mutex<Bmcs>>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut state = state.lock().unwrap();
    let path = uri.path().trim_end_matches('/').to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    state.log.push((method.to_string(), path.clone(), body.clone()));
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    if let Some(at) = state.instead.iter().position(|it| it.method == method && it.path == path && it.times > 0) {
        state.instead[at].times -= 1;
        return give(state.instead[at].status, &[], &state.instead[at].body);
    }
    let sessions = format!("{ROOT}/SessionService/Sessions");
    if method == Method::POST && path == sessions {
        if state.sessionless {
            return give(405, &[], &Value::Null);
        }
        if body["UserName"] != USER || body["Password"] != PASSWORD {
            return give(401, &[], &error("Base.1.8.NoValidSession", &format!("{} is wrong", body["Password"].as_str().unwrap())));
        }
        state.logins += 1;
        state.next += 1;
        let token = format!("token-{}", state.next);
        state.tokens.insert(token.clone());
        return give(201, &[("x-auth-token", token), ("location", format!("{sessions}/{}", state.next))], &json!({}));
    }
    let basic = header("authorization") == "Basic cm9vdDpjYWx2aW4tNw==";
    if path != ROOT && !basic && !state.tokens.contains(&header("x-auth-token")) {
        return give(401, &[], &error("Base.1.8.NoValidSession", "log in"));
    }
    match method {
        Method::GET => get(&mut state, &path),
        Method::PATCH => patch(&mut state, &path, &body, &header("if-match")),
        Method::POST => post(&mut state, &path, &body),
        Method::DELETE => delete(&mut state, &path),
        _ => give(405, &[], &Value::Null),
    }
}

fn get(state: &mut Bmcs, path: &str) -> Response {
    let looks = state.task_looks;
    if state.strict_bios && path.ends_with("/Bios/Settings") {
        return give(200, &[], &json!({"@odata.id": path, "Attributes": state.pending_bios}));
    }
    let Some(resource) = state.tree.get_mut(path) else {
        return give(404, &[], &error("Base.1.8.ResourceMissing", "there is no such resource"));
    };
    if resource["TaskState"] == "Running" {
        let seen = resource["looks"].as_u64().unwrap_or(0);
        resource["looks"] = json!(seen + 1);
        if seen >= looks {
            resource["TaskState"] = json!("Completed");
            resource["TaskStatus"] = json!("OK");
        }
    }
    let etag = resource["@odata.etag"].as_str().unwrap_or("W/\"0\"").to_owned();
    give(200, &[("etag", etag)], resource)
}

fn patch(state: &mut Bmcs, path: &str, body: &Value, if_match: &str) -> Response {
    let needs = state.etags.contains(path);
    let Some(resource) = state.tree.get_mut(path) else { return give(404, &[], &Value::Null) };
    let etag = resource["@odata.etag"].as_str().unwrap_or("W/\"0\"").to_owned();
    if needs && if_match.is_empty() {
        return give(428, &[], &error("Base.1.8.PreconditionRequired", "name the version"));
    }
    if needs && if_match != etag.trim_start_matches("W/") {
        return give(412, &[], &error("Base.1.8.PreconditionFailed", "another version"));
    }
    if path.ends_with("/Bios/Settings") {
        if state.strict_bios && !state.pending_bios.is_empty() {
            return give(400, &[], &error("IDRAC.2.8.SYS011", "Pending configuration values are already committed"));
        }
        let attributes = body["Attributes"].as_object().cloned().unwrap_or_default();
        state.pending_bios.extend(attributes);
        return give(200, &[], &json!({}));
    }
    merge(resource, body);
    give(200, &[], &json!({}))
}

fn started(state: &mut Bmcs) {
    let pending = std::mem::take(&mut state.pending_bios);
    if let Some(bios) = state.tree.get_mut(&format!("{SYSTEM}/Bios")) {
        merge(&mut bios["Attributes"], &Value::Object(pending));
        if std::mem::take(&mut state.pending_reset) {
            bios["ResetBiosToDefaultsPending"] = json!(false);
            merge(&mut bios["Attributes"], &json!({"NumCores": 0, "ProcTurboMode": "Enabled", "BootMode": "Uefi"}));
        }
    }
    if let (Some(version), Some(system)) = (state.pending_bios_version.take(), state.tree.get_mut(SYSTEM)) {
        system["BiosVersion"] = json!(version);
    }
    if let Some(how) = state.pending_keys.take()
        && let Some(secure) = state.tree.get_mut(&format!("{SYSTEM}/SecureBoot"))
    {
        secure["SecureBootMode"] = json!(if how == "DeleteAllKeys" { "SetupMode" } else { "UserMode" });
    }
    for volume in std::mem::take(&mut state.pending_volumes) {
        make_volume(state, volume);
    }
    for volume in std::mem::take(&mut state.pending_deletes) {
        remove(state, &volume);
        for task in state.tree.values_mut().filter(|it| it["Payload"]["TargetUri"] == *volume) {
            merge(task, &json!({"TaskState": "Completed", "TaskStatus": "OK"}));
        }
    }
}

fn make_volume(state: &mut Bmcs, mut volume: Value) -> String {
    state.next += 1;
    let collection = format!("{SYSTEM}/Storage/1/Volumes");
    let path = format!("{collection}/{}", state.next);
    volume["@odata.id"] = json!(path);
    if volume["CapacityBytes"].is_null() {
        volume["CapacityBytes"] = json!(480_000_000_000_u64);
    }
    state.tree.insert(path.clone(), volume);
    let members = state.tree.get_mut(&collection).unwrap()["Members"].as_array_mut().unwrap();
    members.push(json!({"@odata.id": path}));
    path
}

fn make_task(state: &mut Bmcs, target: &str) -> String {
    state.next += 1;
    let path = format!("{ROOT}/TaskService/Tasks/{}", state.next);
    let task = json!({"@odata.type": "#Task.v1_7_2.Task", "@odata.id": path, "TaskState": "Running", "Payload": {"TargetUri": target}});
    state.tree.insert(path.clone(), task);
    let members = state.tree.get_mut(&format!("{ROOT}/TaskService/Tasks")).unwrap()["Members"].as_array_mut().unwrap();
    members.push(json!({"@odata.id": path}));
    path
}

fn post(state: &mut Bmcs, path: &str, body: &Value) -> Response {
    let name = path.rsplit('/').next().unwrap_or_default();
    let owner = path.split("/Actions/").next().unwrap_or_default().to_owned();
    match name {
        "ComputerSystem.Reset" => {
            let now = state.tree[&owner]["PowerState"].clone();
            let next = match body["ResetType"].as_str() {
                Some("On") if now == "On" => return give(409, &[], &error("Base.1.8.ActionParameterValueConflict", "it is on")),
                Some("On" | "ForceRestart") => "On",
                Some("ForceOff" | "GracefulShutdown") => "Off",
                Some("Nmi") => return give(204, &[], &Value::Null),
                _ => return give(400, &[], &error("Base.1.8.ActionParameterNotSupported", "that reset is not known")),
            };
            state.tree.get_mut(&owner).unwrap()["PowerState"] = json!(next);
            if next == "On" {
                started(state);
            }
            give(204, &[], &Value::Null)
        }
        "VirtualMedia.InsertMedia" => {
            let medium = state.tree.get_mut(&owner).unwrap();
            if medium["Inserted"] == true {
                return give(400, &[], &error("Base.1.8.ResourceInUse2", "there is a medium in it"));
            }
            merge(medium, &json!({"Image": body["Image"], "Inserted": true, "ConnectedVia": "URI"}));
            give(204, &[], &Value::Null)
        }
        "VirtualMedia.EjectMedia" => {
            merge(state.tree.get_mut(&owner).unwrap(), &json!({"Image": null, "Inserted": false}));
            give(204, &[], &Value::Null)
        }
        "Bios.ResetBios" => {
            if state.strict_bios && state.pending_reset {
                return give(400, &[], &error("IDRAC.2.8.SYS011", "Pending configuration values are already committed"));
            }
            state.pending_reset = true;
            if let Some(bios) = state.tree.get_mut(&owner) {
                bios["ResetBiosToDefaultsPending"] = json!(true);
            }
            give(200, &[], &json!({}))
        }
        "SecureBoot.ResetKeys" => {
            state.pending_keys = body["ResetKeysType"].as_str().map(str::to_owned);
            started(state);
            give(204, &[], &Value::Null)
        }
        "SimpleUpdate" => {
            let task = make_task(state, path);
            state.pending_bios_version = body["ImageURI"].as_str().and_then(|it| it.rsplit('/').next()).map(str::to_owned);
            give(202, &[("location", format!("http://elsewhere.example.org{task}"))], &json!({}))
        }
        "Volumes" => {
            if body["@Redfish.OperationApplyTime"] == "OnReset" {
                state.pending_volumes.push(body.clone());
                return give(202, &[("location", make_task(state, path))], &json!({}));
            }
            let made = make_volume(state, body.clone());
            give(201, &[("location", made)], &json!({}))
        }
        "Subscriptions" => {
            let path = format!("{path}/1");
            let mut subscription = body.clone();
            merge(&mut subscription, &json!({"@odata.id": path, "Id": "1"}));
            state.tree.insert(path.clone(), subscription);
            give(201, &[("location", path)], &Value::Null)
        }
        _ => give(405, &[], &Value::Null),
    }
}

fn delete(state: &mut Bmcs, path: &str) -> Response {
    if state.deletes_at_start && path.contains("/Volumes/") && state.tree.contains_key(path) {
        let is_full = state.deletes_at_once > 0 && state.pending_deletes.len() >= state.deletes_at_once;
        if is_full || state.pending_deletes.iter().any(|it| it == path) {
            return give(400, &[], &error("IDRAC.2.8.STOR023", "A configuration job is already scheduled"));
        }
        state.pending_deletes.push(path.to_owned());
        if !state.deletes_are_tasks {
            return give(202, &[], &Value::Null);
        }
        let task = make_task(state, path);
        state.tree.get_mut(&task).unwrap()["TaskState"] = json!("Pending");
        return give(202, &[("location", task)], &Value::Null);
    }
    if remove(state, path) { give(204, &[], &Value::Null) } else { give(404, &[], &Value::Null) }
}

fn remove(state: &mut Bmcs, path: &str) -> bool {
    let collection = path.rsplit_once('/').map_or("", |it| it.0);
    if let Some(members) = state.tree.get_mut(collection).and_then(|it| it["Members"].as_array_mut()) {
        members.retain(|it| it["@odata.id"] != path);
    }
    state.tree.remove(path).is_some()
}
