use super::*;
use crate::machine::{self, Boot, BootOverride, Ended, Machine, Power};
use crate::rack::Plan;
use http::Method;
use net::http::{Client, Request, Response};
use serde_json::json;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A machine that takes as long to start or to stop as it is made to.
struct Slow(Arc<Semaphore>);

impl Slow {
    async fn takes_its_time(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

impl Machine for Slow {
    type Error = std::convert::Infallible;

    async fn start(&mut self, _: Boot) -> Result<(), Self::Error> {
        self.takes_its_time().await;
        Ok(())
    }
    async fn stop(&mut self) -> Result<(), Self::Error> {
        self.takes_its_time().await;
        Ok(())
    }
    fn button(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
    async fn ended(&mut self) -> Ended {
        std::future::pending().await
    }
}

struct Bench {
    url: String,
    password: String,
    controller: Arc<Controller>,
    /// How many more starts and stops of the machine come to their end.
    may_end: Arc<Semaphore>,
    _stop: watch::Sender<bool>,
}

async fn bench() -> Bench {
    bench_where(Semaphore::MAX_PERMITS).await
}

/// One whose machine comes to the end of so many starts and stops, and of more when it may.
async fn bench_where(ends: usize) -> Bench {
    let may_end = Arc::new(Semaphore::new(ends));
    let plan = Plan { name: "t".into(), dir: "/nowhere".into(), leaves: 1, machines: 1, disk_gb: 4, memory_mb: 512, virtual_machines: 0 };
    let machine = plan.describe(None).unwrap().machines.remove(0);
    let (circuit, supply) = machine::circuit();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(machine::run("m1".into(), Slow(Arc::clone(&may_end)), supply, stopping.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let password = machine.bmc.password.clone();
    let controller = Arc::new(Controller { machine, uuid: "d1f8b3f5-0000-5000-8000-000000000001".into(), circuit });
    tokio::spawn(serve(listener, Arc::clone(&controller), stopping));
    Bench { url, password, controller, may_end, _stop: stop }
}

impl Bench {
    async fn send(&self, request: Request) -> Response {
        Client::plain().send(request).await.unwrap()
    }

    fn request(&self, method: Method, path: &str, body: Option<Value>) -> Request {
        let url = format!("{}{path}", self.url);
        let request = match body {
            Some(body) => Request::json(method, url, &body),
            None => Request::new(method, url),
        };
        request.basic_auth("admin", &self.password)
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.send(self.request(Method::GET, path, None)).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(response.headers["odata-version"], "4.0");
        response.json().unwrap()
    }

    /// Sends a request that must be refused; returns status and message key.
    async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let response = self.send(self.request(method, path, body)).await;
        let error: Value = response.json().unwrap();
        let info = &error["error"]["@Message.ExtendedInfo"][0];
        assert_eq!(error["error"]["code"], info["MessageId"]);
        assert!(info["Message"].as_str().is_some() && info["Resolution"].as_str().is_some() && info["MessageArgs"].is_array());
        (response.status, info["MessageId"].as_str().unwrap().rsplit('.').next().unwrap().to_owned())
    }

    async fn reset(&self, kind: &str) -> u16 {
        let path = "/redfish/v1/Systems/m1/Actions/ComputerSystem.Reset";
        self.send(self.request(Method::POST, path, Some(json!({"ResetType": kind})))).await.status
    }

    async fn becomes(&self, power: Power) {
        tokio::time::timeout(Duration::from_secs(60), async {
            while self.get("/redfish/v1/Systems/m1").await["PowerState"] != power.to_string() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn only_the_root_is_public() {
    let bench = bench().await;
    for path in ["/redfish", "/redfish/v1", "/redfish/v1/", "/redfish/v1/odata"] {
        assert_eq!(bench.send(Request::get(format!("{}{path}", bench.url))).await.status, 200, "{path}");
    }
    for path in ["/redfish/v1/Systems", "/redfish/v1/Systems/m1", "/redfish/v1/Managers/m1", "/redfish/v1/nothing", "/"] {
        let url = format!("{}{path}", bench.url);
        let response = bench.send(Request::get(url.clone())).await;
        assert_eq!(response.status, 401, "{path}");
        assert_eq!(response.headers["www-authenticate"], "Basic realm=\"Redfish\"");
        assert_eq!(bench.send(Request::get(url.clone()).basic_auth("admin", "guess")).await.status, 401);
        assert_eq!(bench.send(Request::get(url).header("authorization", "Basic ***")).await.status, 401);
    }
    let url = format!("{}/redfish/v1/Systems/m1/Actions/ComputerSystem.Reset", bench.url);
    assert_eq!(bench.send(Request::json(Method::POST, url, &json!({"ResetType": "On"}))).await.status, 401);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.controller.circuit.power(), Power::Off);
}

/// Follows every link from the root, as a client that knows nothing would.
#[tokio::test]
async fn every_link_leads_somewhere() {
    fn links(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(path) if key == "@odata.id" => found.push(path.to_owned()),
                        _ => links(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| links(value, found)),
            _ => {}
        }
    }
    let bench = bench().await;
    let mut pending = vec!["/redfish/v1/".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = pending.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let document = bench.get(&path).await;
        assert_eq!(document["@odata.id"], path);
        assert!(document["@odata.type"].as_str().is_some_and(|it| it.starts_with('#')) && document["Name"].is_string(), "{path}");
        links(&document, &mut pending);
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
    let system = bench.get("/redfish/v1/Systems/m1").await;
    assert_eq!(system["MemorySummary"]["TotalSystemMemoryGiB"], 0.5);
    assert_eq!(system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"], json!(["None", "Pxe", "Hdd"]));
}

#[tokio::test]
async fn power_takes_time_and_is_told_truly() {
    let bench = bench_where(0).await;
    let ends = || bench.may_end.add_permits(1);
    assert_eq!(bench.get("/redfish/v1/Systems/m1").await["PowerState"], "Off");
    assert_eq!(bench.reset("ForceOff").await, 204, "nothing to do is no error");
    let path = "/redfish/v1/Systems/m1/Actions/ComputerSystem.Reset";
    for kind in ["GracefulShutdown", "ForceRestart"] {
        let refused = bench.refused(Method::POST, path, Some(json!({"ResetType": kind}))).await;
        assert_eq!(refused, (409, "ResourceInStandby".into()));
    }
    assert_eq!(bench.reset("On").await, 204);
    bench.becomes(Power::PoweringOn).await;
    ends();
    bench.becomes(Power::On).await;
    assert_eq!(bench.reset("On").await, 204);
    assert_eq!(bench.reset("ForceRestart").await, 204);
    bench.becomes(Power::PoweringOff).await;
    ends();
    bench.becomes(Power::PoweringOn).await;
    ends();
    bench.becomes(Power::On).await;
    assert_eq!(bench.reset("ForceOff").await, 204);
    bench.becomes(Power::PoweringOff).await;
    assert_eq!(bench.get("/redfish/v1/Chassis/m1").await["PowerState"], "PoweringOff");
    assert_eq!(bench.reset("ForceOn").await, 204, "waits for its turn");
    ends();
    bench.becomes(Power::PoweringOn).await;
    ends();
    bench.becomes(Power::On).await;
    // The last word counts, though it was said before the first was acted upon.
    bench.reset("ForceOff").await;
    ends();
    bench.becomes(Power::Off).await;
    assert_eq!((bench.reset("On").await, bench.reset("ForceOff").await), (204, 204));
    bench.becomes(Power::PoweringOn).await;
    ends();
    bench.becomes(Power::PoweringOff).await;
    ends();
    bench.becomes(Power::Off).await;
}

#[tokio::test]
async fn the_boot_override_is_set_once_and_used_up() {
    let bench = bench().await;
    let path = "/redfish/v1/Systems/m1";
    let body = json!({"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once", "BootSourceOverrideMode": "UEFI"}});
    assert_eq!(bench.send(bench.request(Method::PATCH, path, Some(body))).await.status, 204);
    let boot = bench.get(path).await["Boot"].clone();
    assert_eq!((boot["BootSourceOverrideTarget"].as_str(), boot["BootSourceOverrideEnabled"].as_str()), (Some("Pxe"), Some("Once")));
    bench.reset("On").await;
    bench.becomes(Power::On).await;
    let boot = bench.get(path).await["Boot"].clone();
    assert_eq!((boot["BootSourceOverrideTarget"].as_str(), boot["BootSourceOverrideEnabled"].as_str()), (Some("None"), Some("Disabled")));
}

#[tokio::test]
async fn bad_requests_change_nothing() {
    let bench = bench().await;
    let path = "/redfish/v1/Systems/m1";
    let boot = |key: &str, value: Value| json!({"Boot": {"BootSourceOverrideEnabled": "Once", key: value}});
    for (body, status, key) in [
        (boot("BootSourceOverrideTarget", json!("Floppy")), 400, "PropertyValueNotInList"),
        (boot("BootSourceOverrideTarget", json!(7)), 400, "PropertyValueTypeError"),
        (boot("BootSourceOverrideMode", json!("Legacy")), 400, "PropertyValueNotInList"),
        (boot("BootSourceOverrideWhim", json!("x")), 400, "PropertyUnknown"),
        (json!({"PowerState": "On"}), 400, "PropertyNotWritable"),
        (json!({"Colour": "red"}), 400, "PropertyUnknown"),
        (json!({"Boot": "Pxe"}), 400, "PropertyValueTypeError"),
        (json!([1]), 400, "MalformedJSON"),
    ] {
        assert_eq!(bench.refused(Method::PATCH, path, Some(body.clone())).await, (status, key.to_owned()), "{body}");
    }
    assert_eq!(bench.controller.circuit.boot(), BootOverride::NONE);
    let action = "/redfish/v1/Systems/m1/Actions/ComputerSystem.Reset";
    for (body, status, key) in [
        (json!({"ResetType": "Explode"}), 400, "ActionParameterValueNotInList"),
        (json!({}), 400, "ActionParameterMissing"),
        (json!({"ResetType": "On", "When": "later"}), 400, "ActionParameterUnknown"),
    ] {
        assert_eq!(bench.refused(Method::POST, action, Some(body.clone())).await, (status, key.to_owned()), "{body}");
    }
    assert_eq!(bench.refused(Method::GET, action, None).await, (405, "OperationNotAllowed".into()));
    assert_eq!(bench.refused(Method::DELETE, path, None).await, (405, "OperationNotAllowed".into()));
    assert_eq!(bench.refused(Method::GET, "/redfish/v1/Systems/m2", None).await, (404, "ResourceMissingAtURI".into()));
    assert_eq!(bench.refused(Method::GET, "/redfish/v1/Fans", None).await, (404, "ResourceMissingAtURI".into()));
    let oversized = json!({"Boot": "x".repeat(100_000)});
    assert_eq!(bench.send(bench.request(Method::PATCH, path, Some(oversized))).await.status, 413);
    assert_eq!(bench.controller.circuit.power(), Power::Off);
}
