//! Firmware: what there is, and writing it by `UpdateService.SimpleUpdate` (Source: DMTF DSP0268, `UpdateService`; Ironic
//! documentation, "Firmware update using manual cleaning").
//!
//! Writing one component goes: the intent is stored; the BMC is told; its task is watched; where a restart makes it hold, the machine is
//! restarted once; it is done when the new version is read, or when the task ended well and the version stays as it was (the same image
//! again). A process that dies between telling and storing finds the task by what it was begun with.

use std::time::Duration;

use model::Timestamp;
use model::baremetal::{FirmwareComponent, Step};
use net::Netns;
use net::http::{Client, Request};
use serde_json::{Map, Value, json};
use sha2::Digest as _;

use super::Redfish;
use super::connection::links;
use super::tasks::{TaskState, monitor};
use crate::bmc::help::text_of;
use crate::bmc::{BmcError, StepProgress};

/// How long one component may take, in seconds.
const LIMIT_SECONDS: f64 = 7_200.0;
/// How long a task may say that it waits before the machine is restarted for it, in seconds.
const START_SECONDS: f64 = 60.0;
/// How long the version may stay as it was after a task that ended well, until that is taken for the same image, in seconds.
const SAME_SECONDS: f64 = 600.0;
/// Longest wait that a step may ask for, in seconds.
const WAIT_SECONDS: u64 = 86_400;
const LOOK: Duration = Duration::from_secs(10);
/// Largest image whose checksum is verified, and how long that may take.
const IMAGE_BYTES: u64 = 8 << 30;
const IMAGE_LIMIT: Duration = Duration::from_secs(900);
/// Most chassis, adapters and components looked at.
const PARTS: usize = 32;

/// One thing to write.
struct Item<'a> {
    component: &'a str,
    url: &'a str,
    wait: u64,
    checksum: Option<&'a str>,
}

fn items(step: &Step) -> Result<Vec<Item<'_>>, String> {
    let (key, list) = match step.args.get("settings") {
        Some(list) => ("settings", Some(list)),
        None => ("firmware_images", step.args.get("firmware_images")),
    };
    let list = list.and_then(Value::as_array).filter(|it| !it.is_empty());
    let list = list.ok_or("a list of {component, url} is needed as the argument settings")?;
    if list.len() > PARTS {
        return Err(format!("{key} has more than {PARTS} items"));
    }
    let mut out = Vec::new();
    for item in list {
        let component = match item["component"].as_str() {
            Some(name) if name == "bios" || name == "bmc" || name.starts_with("nic:") => name,
            None if key == "firmware_images" => "",
            Some(name) => return Err(format!("firmware component {name} is none of bios, bmc, nic:NAME")),
            None => return Err(format!("each item of {key} needs a component")),
        };
        let url = item["url"].as_str().filter(|it| it.starts_with("http://") || it.starts_with("https://"));
        let url = url.ok_or_else(|| format!("each item of {key} needs a url that is http or https"))?;
        let wait = match &item["wait"] {
            Value::Null => 0,
            value => text_of(value).trim().parse::<u64>().ok().filter(|it| *it <= WAIT_SECONDS).ok_or("wait must be seconds")?,
        };
        let checksum = item["checksum"].as_str().map(|it| it.rsplit(':').next().unwrap_or(it));
        if let Some(checksum) = checksum
            && !([40, 64, 128].contains(&checksum.len()) && checksum.bytes().all(|it| it.is_ascii_hexdigit()))
        {
            return Err("checksum must be SHA-1, SHA-256 or SHA-512 in hexadecimal digits".into());
        }
        out.push(Item { component, url, wait, checksum });
    }
    Ok(out)
}

impl Redfish {
    pub(super) async fn read_firmware(&self) -> Result<Vec<FirmwareComponent>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let mut out = Vec::new();
        let mut known = |component: String, version: Option<&str>, adapter: &Value| {
            let text = |key: &str| adapter[key].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
            if let Some(version) = version.filter(|it| !it.is_empty()) {
                out.push(FirmwareComponent {
                    component,
                    initial_version: version.to_owned(),
                    current_version: Some(version.to_owned()),
                    vendor: text("Manufacturer"),
                    model: text("Model"),
                    serial_number: text("SerialNumber"),
                    ..FirmwareComponent::default()
                });
            }
        };
        known("bios".into(), system["BiosVersion"].as_str(), &Value::Null);
        if let Some(path) = links(&system["Links"]["ManagedBy"]).first() {
            let manager = self.conn.maybe(path).await?.unwrap_or_default();
            known("bmc".into(), manager["FirmwareVersion"].as_str(), &Value::Null);
        }
        for path in links(&system["Links"]["Chassis"]).into_iter().take(PARTS) {
            let chassis = self.conn.maybe(&path).await?.unwrap_or_default();
            for adapter in self.conn.each(&chassis, "NetworkAdapters").await?.into_iter().take(PARTS) {
                let version = adapter.pointer("/Controllers/0/FirmwarePackageVersion").and_then(Value::as_str);
                if let Some(id) = adapter["Id"].as_str() {
                    known(format!("nic:{id}"), version, &adapter);
                }
            }
        }
        Ok(out)
    }

    async fn version_of(&self, component: &str) -> Result<Option<String>, BmcError> {
        Ok(self.read_firmware().await?.into_iter().find(|it| it.component == component).and_then(|it| it.current_version))
    }

    /// `firmware.update` and `management.update_firmware`.
    pub(super) async fn update_firmware(&self, step: &Step, memory: &Value) -> Result<StepProgress, BmcError> {
        let items = match items(step) {
            Ok(items) => items,
            Err(why) => return Ok(StepProgress::Failed(why)),
        };
        let number = memory["n"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        let Some(item) = items.get(number) else { return Ok(StepProgress::Done) };
        let what = if item.component.is_empty() { item.url } else { item.component };
        let now = Timestamp::now();
        let again =
            |memory: Value, after: Duration, reason: String, reboot: bool| Ok(StepProgress::Again { memory, after, reason, reboot });
        match memory["phase"].as_str() {
            None => {
                if let Some(checksum) = item.checksum
                    && let Err(why) = verify(item.url, checksum).await
                {
                    return Ok(StepProgress::Failed(format!("the firmware at {}: {why}", item.url)));
                }
                let before = self.version_of(item.component).await?;
                let memory = json!({"n": number, "phase": "intent", "before": before, "at": now.0});
                again(memory, Duration::ZERO, format!("firmware of {what} is to be written"), false)
            }
            Some("intent") => {
                let task = match self.begin(item).await? {
                    Ok(task) => task,
                    Err(why) => return Ok(StepProgress::Failed(why)),
                };
                let memory = json!({"n": number, "phase": "sent", "before": memory["before"], "task": task, "at": now.0});
                again(memory, LOOK, format!("firmware of {what} is being written"), false)
            }
            Some("written") => {
                let ended = Timestamp(memory["at"].as_i64().unwrap_or(now.0));
                let left = Duration::from_secs(item.wait).saturating_sub(Duration::from_secs_f64(now.seconds_since(ended).max(0.0)));
                if left > Duration::ZERO {
                    return again(memory.clone(), left.min(LOOK), format!("firmware of {what} is written; waiting as asked"), false);
                }
                if number + 1 >= items.len() {
                    return Ok(StepProgress::Done);
                }
                again(json!({"n": number + 1}), Duration::ZERO, "the next firmware is to be written".into(), false)
            }
            Some(_) => match self.watch(item, memory, now).await {
                // While its own firmware is written a BMC is away.
                Err(error @ (BmcError::Unreachable { .. } | BmcError::Timeout { .. } | BmcError::Conflict { .. })) => {
                    again(memory.clone(), LOOK, format!("firmware of {what} is being written; {error}"), false)
                }
                other => other,
            },
        }
    }

    /// Tells the BMC; gives the task's address.
    async fn begin(&self, item: &Item<'_>) -> Result<Result<Option<String>, String>, BmcError> {
        let root = self.conn.read(&self.conn.root.clone()).await?;
        let service = match root["UpdateService"]["@odata.id"].as_str() {
            Some(path) => self.conn.read(path).await?,
            None => return Ok(Err("the BMC has no update service".into())),
        };
        let action = &service["Actions"]["#UpdateService.SimpleUpdate"];
        let Some(target) = action["target"].as_str() else { return Ok(Err("the BMC has no SimpleUpdate".into())) };
        if let Some(task) = self.task_of(target).await? {
            return Ok(Ok(Some(task)));
        }
        let mut body = Map::from_iter([("ImageURI".to_owned(), json!(item.url))]);
        let protocol = if item.url.starts_with("https://") { "HTTPS" } else { "HTTP" };
        let protocols = action["TransferProtocol@Redfish.AllowableValues"].as_array();
        if protocols.is_some_and(|it| it.iter().any(|it| it == protocol)) {
            body.insert("TransferProtocol".into(), json!(protocol));
        }
        let systems = self.conn.members(&format!("{}Systems", self.conn.root)).await.unwrap_or_default();
        if systems.len() > 1 {
            body.insert("Targets".into(), json!([self.system().await?]));
        }
        let answer = self.conn.post(target, &Value::Object(body)).await?;
        Ok(Ok(monitor(&answer)))
    }

    async fn watch(&self, item: &Item<'_>, memory: &Value, now: Timestamp) -> Result<StepProgress, BmcError> {
        let what = if item.component.is_empty() { item.url } else { item.component };
        let at = Timestamp(memory["at"].as_i64().unwrap_or(now.0));
        let age = now.seconds_since(at);
        let mut memory = memory.as_object().cloned().unwrap_or_default();
        let restarted = memory.contains_key("restarted");
        let again = |memory: &mut Map<String, Value>, reason: String, reboot: bool| {
            if reboot {
                memory.insert("restarted".into(), json!(true));
            }
            Ok(StepProgress::Again { memory: Value::Object(memory.clone()), after: LOOK, reason, reboot })
        };
        if age > LIMIT_SECONDS {
            return Ok(StepProgress::Failed(format!("the firmware of {what} was not written in time")));
        }
        let needs_start = item.component != "bmc";
        let state = match memory.get("task").and_then(Value::as_str).map(str::to_owned) {
            Some(task) => self.task(&task).await?,
            None => TaskState::Gone,
        };
        match state {
            TaskState::Failed(why) => return Ok(StepProgress::Failed(format!("the firmware of {what} was not written: {why}"))),
            TaskState::Running(said) => return again(&mut memory, format!("firmware of {what} is being written: {said}"), false),
            TaskState::NeedsStart(said) => {
                let reboot = needs_start && !restarted && age > START_SECONDS;
                return again(&mut memory, format!("firmware of {what} is being written: {said}"), reboot);
            }
            TaskState::Done => {
                memory.insert("ended".into(), json!(true));
            }
            TaskState::Gone => {}
        }
        let ended = memory.contains_key("ended");
        let version = self.version_of(item.component).await?;
        let is_new = version.is_some() && version.as_deref() != memory.get("before").and_then(Value::as_str);
        // A version that nobody tells cannot be compared; the task's word is all there is.
        let is_untold = version.is_none() && memory.get("before").is_none_or(Value::is_null);
        if is_new || (ended && is_untold) || (ended && (restarted || !needs_start) && age > SAME_SECONDS) {
            let memory = json!({"n": memory.get("n"), "phase": "written", "at": now.0});
            return Ok(StepProgress::Again {
                memory,
                after: Duration::ZERO,
                reason: format!("firmware of {what} is written"),
                reboot: false,
            });
        }
        if !ended && age > SAME_SECONDS * 3.0 {
            return Ok(StepProgress::Failed(format!(
                "the BMC forgot the task that wrote the firmware of {what}, and its version is as before"
            )));
        }
        let reboot = needs_start && !restarted && (ended || age > START_SECONDS);
        again(&mut memory, format!("firmware of {what} is written and does not hold yet"), reboot)
    }
}

/// Reads the image as the BMC will and compares its checksum.
async fn verify(url: &str, wanted: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("its URL has no scheme")?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let (host, port) = super::config::host_of(authority).ok_or("its URL has no host")?;
    let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
    let found = tokio::time::timeout(Duration::from_secs(5), tokio::net::lookup_host((host, port))).await;
    let at = found.ok().and_then(Result::ok).and_then(|mut it| it.next()).ok_or("its host has no address")?;
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    // The checksum says whether the image is right, whoever serves it.
    let tls = if scheme == "https" { Some(crate::tls::blind()?) } else { None };
    let client = Client { netns: Netns::host(), tls, server_name: Some(host.to_owned()), deadline: Duration::from_secs(30) };
    let read = async {
        let request = Request::get(format!("{scheme}://{at}{path}")).header("host", authority);
        let (status, _, mut body) = client.stream(request).await.map_err(|error| error.to_string())?;
        if status != 200 {
            return Err(format!("it cannot be read: status {status}"));
        }
        let (mut sha1, mut sha256, mut sha512) = (sha1::Sha1::new(), sha2::Sha256::new(), sha2::Sha512::new());
        let mut bytes = 0_u64;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| error.to_string())?;
            bytes += piece.len() as u64;
            if bytes > IMAGE_BYTES {
                return Err(format!("it is larger than {IMAGE_BYTES} bytes"));
            }
            match wanted.len() {
                40 => sha1.update(&piece),
                64 => sha256.update(&piece),
                _ => sha512.update(&piece),
            }
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
        Ok(match wanted.len() {
            40 => hex(&sha1.finalize()),
            64 => hex(&sha256.finalize()),
            _ => hex(&sha512.finalize()),
        })
    };
    let found = tokio::time::timeout(IMAGE_LIMIT, read).await.map_err(|_| "it cannot be read in time".to_owned())??;
    if found.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(format!("its checksum is {found}, not {wanted}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bmc::tests::step;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let read = |args: Value| items(&step("firmware", "update", &args)).map(|it| it.len());
        let url = "http://10.0.0.1/f.bin";
        assert_eq!(read(json!({"settings": [{"component": "bios", "url": url, "wait": "30"}, {"component": "nic:1", "url": url}]})), Ok(2));
        assert_eq!(read(json!({"firmware_images": [{"url": url}]})), Ok(1));
        for bad in [
            json!({}),
            json!({"settings": []}),
            json!({"settings": [{"url": url}]}),
            json!({"settings": [{"component": "soul", "url": url}]}),
            json!({"settings": [{"component": "bios"}]}),
            json!({"settings": [{"component": "bios", "url": "file:///etc/passwd"}]}),
            json!({"settings": [{"component": "bios", "url": url, "wait": "long"}]}),
            json!({"settings": [{"component": "bios", "url": url, "checksum": "zz"}]}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
