//! Many fake machines and a control plane that works on them or only looks after them: the machines are a process of their own, and all
//! that passes between the two is HTTP.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use net::http::{Client, Request};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::verdict::{self, Verdict};
use super::world::{Operation, Place, Scope, log_in};
use super::{Arguments, Service, open_ours, store};
use crate::bench::client::Connection;
use crate::bench::load::{Effort, Measurement, measure};
use crate::bench::own::Own;
use crate::bench::parallel::{parallel, send_all};
use crate::bench::processes::Processes;
use crate::bench::session::Admin;
use crate::bench::table::{columns, number};
use crate::paths::Paths;
use crate::process;

/// How long the fleet may take to be there.
const START: Duration = Duration::from_secs(30);
/// How long one phase of the work may take.
const PHASE: Duration = Duration::from_secs(1800);
/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// How often the fleet is asked how it is.
const ASK: Duration = Duration::from_secs(1);
/// States that no machine is to be in.
const FAILED: [&str; 4] = ["deploy failed", "clean failed", "inspect failed", "error"];

/// How many machines the work was promised for, and in how many seconds.
const PROMISED_WORK: (usize, f64) = (1000, 600.0);
/// How many machines the quiet was promised for.
const PROMISED_IDLE: usize = 10_000;
/// What the control plane may hold then, in MiB.
const MEMORY: f64 = 500.0;
/// How long a page of a thousand nodes may take then, in milliseconds.
const PAGE: f64 = 15.0;
/// How long the power of all may take to be read, in seconds.
const SYNC: f64 = 60.0;

/// A running fleet; it ends when this is dropped.
struct Fleet {
    child: Child,
    url: String,
    machines: Vec<Value>,
}

impl Fleet {
    async fn start(paths: &Paths, own: &Own, machines: usize) -> Result<Self> {
        let binary = crate::bench::release(paths, "cofferdam").await?;
        let api = format!("{}/baremetal", own.origin());
        let mut command = paths.command(&binary);
        command.args(["lab", "fleet", "--machines", &machines.to_string(), "--api", &api]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let output = child.stdout.take().context("the fleet has no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(START, lines.next_line()).await.context("the fleet does not start")??;
        let said: Value = serde_json::from_str(&line.context("the fleet ended at once")?).context("the fleet says something else")?;
        let url = said["url"].as_str().context("the fleet does not say where it is")?.to_owned();
        let machines = ask(&url, "/fleet").await?;
        Ok(Self { child, machines: machines.as_array().context("the fleet does not describe itself")?.clone(), url })
    }

    fn processes(&self) -> Result<Processes> {
        Processes::find(&self.child.id().into_iter().collect::<Vec<_>>(), 0)
    }

    /// How often the BMC of each machine was asked something.
    async fn asked(&self) -> Result<Vec<u64>> {
        let record = ask(&self.url, "/fleet/record").await?;
        let all = record.as_array().context("the fleet does not tell how it is")?;
        Ok(all.iter().map(|it| it["counts"]["bmc_requests"].as_u64().unwrap_or_default()).collect())
    }

    async fn stop(mut self) {
        process::stop(&mut self.child, Duration::from_secs(5)).await;
    }
}

async fn ask(url: &str, path: &str) -> Result<Value> {
    let client = Client::plain().with_deadline(Duration::from_secs(30));
    let answer = client.send(Request::get(format!("{url}{path}"))).await?;
    ensure!(answer.status == 200, "the fleet answers {} to {path}", answer.status);
    answer.json().context("the fleet answers no JSON")
}

/// Uploads an image of random words; its id.
async fn upload(own: &Own, name: &str, format: (&str, &str), bytes: Vec<u8>) -> Result<String> {
    let admin = Admin { user: "admin".to_owned(), password: own.password.clone(), project: "admin".to_owned() };
    let place = Place { identity: own.url.clone(), admin, scope: Scope::Project, endpoint: None };
    let (token, endpoint) = log_in(&place, "image").await?;
    let base = endpoint.context("the catalog names no image service")?;
    let base = format!("{}/v2/images", base.trim_end_matches('/').trim_end_matches("/v2"));
    let client = Client::plain().with_deadline(Duration::from_secs(120));
    let body = json!({"name": name, "disk_format": format.0, "container_format": format.1, "visibility": "public"});
    let made = client.send(Request::json(http::Method::POST, base.as_str(), &body).header("x-auth-token", &token)).await?;
    ensure!(made.status == 201, "making an image: {} {}", made.status, made.text());
    let made: Value = made.json()?;
    let id = made["id"].as_str().context("an image without an id")?.to_owned();
    let mut request = Request::new(http::Method::PUT, format!("{base}/{id}/file"));
    request = request.header("x-auth-token", &token).header("content-type", "application/octet-stream");
    request.body = bytes.into();
    let sent = client.send(request).await?;
    ensure!(sent.is_success(), "uploading an image: {} {}", sent.status, sent.text());
    Ok(id)
}

/// Enrols all machines; their nodes' ids.
async fn enrol(service: &Service, fleet: &Fleet, kernel: &str, ramdisk: &str) -> Result<Vec<String>> {
    let node = |machine: &Value| {
        let field = |name: &str| machine[name].clone();
        let body = json!({
            "name": machine["name"], "driver": "redfish", "network_interface": "noop", "boot_interface": "ipxe",
            "deploy_interface": "direct", "inspect_interface": "agent", "resource_class": "bench",
            "driver_info": {
                "redfish_address": field("redfish_address"), "redfish_system_id": field("redfish_system_id"),
                "redfish_username": field("redfish_username"), "redfish_password": field("redfish_password"),
                "deploy_kernel": kernel, "deploy_ramdisk": ramdisk,
            },
        });
        service.world.request("POST", "/nodes", Some(&body))
    };
    let nodes: Arc<Vec<Vec<u8>>> = Arc::new(fleet.machines.iter().map(node).collect());
    let work = move |mut connection: Connection, number: usize| {
        let nodes = Arc::clone(&nodes);
        async move {
            let request = nodes.get(number).context("no such node")?;
            let made = connection.exchange(request).await?.json(201)?;
            let uuid = made["uuid"].as_str().context("a node without a uuid")?.to_owned();
            Ok((connection, (number, uuid)))
        }
    };
    let made: BTreeMap<usize, String> =
        parallel(&service.world.target, "nodes", fleet.machines.len(), work).await.context("enrolling")?.into_iter().collect();
    let port = |(number, uuid): (&usize, &String)| {
        let machine = fleet.machines.get(*number)?;
        let body = json!({"node_uuid": uuid, "address": machine["mac"], "local_link_connection": machine["local_link_connection"]});
        Some(service.world.request("POST", "/ports", Some(&body)))
    };
    send_all(&service.world.target, "ports", made.iter().filter_map(port).collect(), 201).await?;
    Ok(made.into_values().collect())
}

/// Asks the same of all nodes.
async fn all(service: &Service, nodes: &[String], verb: &str) -> Result<()> {
    let body = json!({"target": verb});
    let ask = |id: &String| service.world.request("PUT", &format!("/nodes/{id}/states/provision"), Some(&body));
    send_all(&service.world.target, verb, nodes.iter().map(ask).collect(), 202).await
}

/// Waits until all nodes are in a state.
async fn become_all(service: &Service, state: &str, count: usize) -> Result<()> {
    let began = Instant::now();
    let mut told = Instant::now();
    loop {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for node in service.world.nodes("uuid,provision_state,last_error,name").await? {
            let now = node["provision_state"].as_str().unwrap_or("?");
            if FAILED.contains(&now) {
                bail!("{} is {now}: {}", node["name"], node["last_error"]);
            }
            *counts.entry(now.to_owned()).or_default() += 1;
        }
        if counts.get(state) == Some(&count) {
            return Ok(());
        }
        ensure!(began.elapsed() < PHASE, "after {PHASE:?}: {counts:?}");
        if told.elapsed() > Duration::from_secs(10) {
            eprintln!("  {counts:?}");
            told = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What a phase took.
struct Phase {
    name: &'static str,
    took: Duration,
    ours: Duration,
    fleet: Duration,
}

/// The whole way of all machines, from enrolment to their release; whether nothing failed.
pub(super) async fn work(paths: &Paths, arguments: &Arguments, own: &Own, machines: usize) -> Result<bool> {
    let service = open_ours(arguments, own, false).await?;
    let fleet = Fleet::start(paths, own, machines).await?;
    let others = fleet.processes()?;
    let words: Vec<u8> = (0..arguments.image_mib << 17).flat_map(|it: u64| it.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let image = upload(own, "bench", ("raw", "bare"), words).await?;
    let kernel = upload(own, "bench-kernel", ("aki", "aki"), b"kernel".to_vec()).await?;
    let ramdisk = upload(own, "bench-ramdisk", ("ari", "ari"), b"ramdisk".to_vec()).await?;
    println!("{machines} fake machines, an image of {} MiB, cofferdam serve on {}", arguments.image_mib, store(arguments));

    let mut phases = Vec::new();
    let mut most = 0;
    let spent = |from: &crate::bench::processes::Reading, of: &Processes| of.read().since(from).values().sum::<Duration>();
    let mut nodes = Vec::new();
    for name in ["enrolled", "inspected", "cleaned and offered", "deployed", "released and cleaned"] {
        eprintln!("  {name} …");
        let (ours_before, fleet_before, began) = (service.processes.read(), others.read(), Instant::now());
        match name {
            "enrolled" => {
                nodes = enrol(&service, &fleet, &kernel, &ramdisk).await?;
                all(&service, &nodes, "manage").await?;
                become_all(&service, "manageable", machines).await?;
            }
            "inspected" => {
                all(&service, &nodes, "inspect").await?;
                // Until the first has begun, all are what they are to become.
                inspected(&service, machines).await?;
            }
            "cleaned and offered" => {
                all(&service, &nodes, "provide").await?;
                become_all(&service, "available", machines).await?;
            }
            "deployed" => {
                let body = json!([{"op": "add", "path": "/instance_info/image_source", "value": image}]);
                let patch = |id: &String| service.world.request("PATCH", &format!("/nodes/{id}"), Some(&body));
                send_all(&service.world.target, "nodes told what to run", nodes.iter().map(patch).collect(), 200).await?;
                all(&service, &nodes, "active").await?;
                become_all(&service, "active", machines).await?;
            }
            _ => {
                all(&service, &nodes, "deleted").await?;
                become_all(&service, "available", machines).await?;
            }
        }
        most = most.max(service.processes.memory());
        let (ours, of_fleet) = (spent(&ours_before, &service.processes), spent(&fleet_before, &others));
        phases.push(Phase { name, took: began.elapsed(), ours, fleet: of_fleet });
    }
    fleet.stop().await;

    let total: Duration = phases.iter().map(|it| it.took).sum();
    let sum = |of: fn(&Phase) -> Duration| phases.iter().map(of).sum::<Duration>();
    phases.push(Phase { name: "all of it", took: total, ours: sum(|it| it.ours), fleet: sum(|it| it.fleet) });
    let mut rows = vec![["phase", "seconds", "machines/s", "CPU s: ours", "the fleet's"].map(str::to_owned).to_vec()];
    for it in &phases {
        let seconds = it.took.as_secs_f64();
        let cells = [seconds, machines as f64 / seconds, it.ours.as_secs_f64(), it.fleet.as_secs_f64()].map(number);
        rows.push(std::iter::once(it.name.to_owned()).chain(cells).collect());
    }
    println!("\n{}\nthe control plane held {} MiB after one of the phases at most", columns(&rows, &[0]), most >> 20);
    let (count, limit) = PROMISED_WORK;
    let promise = format!("{count} machines enrolled, inspected, cleaned, deployed, released: under {limit} s");
    println!("\n{}", verdict::table(vec![Verdict::below(promise, Some(total.as_secs_f64()), limit, "s", machines >= count)]));
    Ok(true)
}

/// Waits until all nodes were inspected.
async fn inspected(service: &Service, count: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        let nodes = service.world.nodes("uuid,name,provision_state,last_error,inspection_finished_at").await?;
        if let Some(node) = nodes.iter().find(|it| it["provision_state"] == "inspect failed") {
            bail!("{} was not inspected: {}", node["name"], node["last_error"]);
        }
        let done = nodes.iter().filter(|it| it["provision_state"] == "manageable" && it["inspection_finished_at"].is_string()).count();
        if done == count {
            return Ok(());
        }
        ensure!(began.elapsed() < PHASE, "after {PHASE:?}: {done} of {count} were inspected");
        tokio::time::sleep(LOOK).await;
    }
}

/// What it costs to look after many machines that do nothing; whether nothing failed.
pub(super) async fn idle(paths: &Paths, arguments: &Arguments, own: &Own, machines: usize) -> Result<bool> {
    let mut service = open_ours(arguments, own, false).await?;
    let fleet = Fleet::start(paths, own, machines).await?;
    let others = fleet.processes()?;
    let before = service.processes.memory();
    let began = Instant::now();
    let nodes = enrol(&service, &fleet, "http://127.0.0.1/kernel", "http://127.0.0.1/ramdisk").await?;
    all(&service, &nodes, "manage").await?;
    become_all(&service, "manageable", machines).await?;
    println!("{machines} fake machines enrolled and managed in {} s, on {}", number(began.elapsed().as_secs_f64()), store(arguments));

    service.world.know(nodes);
    let length = Duration::from_secs_f64(arguments.seconds);
    let mut measured = Vec::new();
    for operation in [Operation::List, Operation::ListDetail] {
        let step = service.world.prepare(operation).await?;
        let seen = measure(&step, &service.processes, 1, Effort::lasting(length)).await?;
        println!("{}: p50 {} ms, p99 {} ms", operation.name(), milliseconds(&seen, 50.0), milliseconds(&seen, 99.0));
        measured.push(seen);
    }
    let step = service.world.prepare(Operation::Show).await?;
    let quiet = measure(&step, &service.processes, 1, Effort::lasting(length)).await?;
    let (synced, busy) = tokio::join!(sync(&fleet), during(&service, &step));
    let (synced, busy) = (synced?, busy?);
    println!("GET node: p99 {} ms, while the power of all is read {} ms", milliseconds(&quiet, 99.0), milliseconds(&busy, 99.0));
    let memory = service.processes.memory();
    println!(
        "the control plane holds {} MiB, {} before the machines were enrolled; the fleet itself {} MiB",
        memory >> 20,
        before >> 20,
        others.memory() >> 20
    );
    fleet.stop().await;
    let is_whole = machines >= PROMISED_IDLE;
    let p99 = measured.first().and_then(|it| it.percentile(99.0));
    println!(
        "\n{}",
        verdict::table(vec![
            Verdict::below(format!("{PROMISED_IDLE} nodes: under {MEMORY} MiB"), Some((memory >> 20) as f64), MEMORY, "MiB", is_whole),
            Verdict::below(format!("a page of 1,000 of them: p99 under {PAGE} ms"), p99, PAGE, "ms", is_whole),
            Verdict::below(format!("the power of all of them read within {SYNC} s"), synced, SYNC, "s", is_whole),
        ])
    );
    Ok(measured.iter().chain([&quiet, &busy]).all(|it| it.failures == 0))
}

fn milliseconds(seen: &Measurement, percent: f64) -> String {
    seen.percentile(percent).map_or_else(|| "-".to_owned(), number)
}

/// How long it takes until each BMC was asked once more, in seconds; `None` if that does not come to pass.
async fn sync(fleet: &Fleet) -> Result<Option<f64>> {
    let before = fleet.asked().await?;
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < 3.0 * SYNC {
        tokio::time::sleep(ASK).await;
        let now = fleet.asked().await?;
        let missing = now.iter().zip(&before).filter(|(now, before)| now <= before).count();
        if missing == 0 {
            return Ok(Some(began.elapsed().as_secs_f64()));
        }
    }
    Ok(None)
}

/// One client that goes on while the power is read.
async fn during(service: &Service, step: &super::world::Row) -> Result<Measurement> {
    measure(step, &service.processes, 1, Effort::lasting(Duration::from_secs_f64(SYNC))).await
}
