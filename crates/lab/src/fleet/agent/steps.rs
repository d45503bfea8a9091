//! The commands of an agent and the steps they carry out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use net::http::Request;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::commands::Failure;
use super::{Agent, inventory};
use crate::fleet::Shared;
use crate::fleet::chance::Draw;
use crate::fleet::machine::{self, Order, Running, Written};

/// The name of the hardware manager whose steps these are.
pub(crate) const MANAGER: &str = "generic_hardware_manager";
/// The class of it, under which its steps are listed.
const MANAGER_CLASS: &str = "GenericHardwareManager";
/// Its version.
pub(crate) const MANAGER_VERSION: &str = "1.2";
/// How often a download is begun again.
const DOWNLOADS: u32 = 10;
/// How long the source may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Time for the answer to leave before the machine ends.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What kind of job steps belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Clean,
    Deploy,
    Service,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Deploy => "deploy",
            Self::Service => "service",
        }
    }
}

/// A command of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    GetSteps(Stage),
    ExecuteStep(Stage),
    Sync,
    GetPartitionUuids,
    PrepareImage,
    PowerOff,
    RunImage,
    InstallBootloader,
    FinalizeRescue,
    GetHardwareInfo,
    CollectLogs,
    Lockdown,
}

/// All commands with their names.
const COMMANDS: [(&str, &str, Command); 16] = [
    ("clean", "get_clean_steps", Command::GetSteps(Stage::Clean)),
    ("clean", "execute_clean_step", Command::ExecuteStep(Stage::Clean)),
    ("deploy", "get_deploy_steps", Command::GetSteps(Stage::Deploy)),
    ("deploy", "execute_deploy_step", Command::ExecuteStep(Stage::Deploy)),
    ("service", "get_service_steps", Command::GetSteps(Stage::Service)),
    ("service", "execute_service_step", Command::ExecuteStep(Stage::Service)),
    ("standby", "sync", Command::Sync),
    ("standby", "get_partition_uuids", Command::GetPartitionUuids),
    ("standby", "prepare_image", Command::PrepareImage),
    ("standby", "power_off", Command::PowerOff),
    ("standby", "run_image", Command::RunImage),
    ("image", "install_bootloader", Command::InstallBootloader),
    ("rescue", "finalize_rescue", Command::FinalizeRescue),
    ("poll", "get_hardware_info", Command::GetHardwareInfo),
    ("log", "collect_system_logs", Command::CollectLogs),
    ("system", "lockdown", Command::Lockdown),
];

impl Command {
    /// Reads `extension.name`.
    ///
    /// # Errors
    /// As the real one says it.
    pub(crate) fn parse(full: &str) -> Result<Self, Failure> {
        let invalid = |details: &str| Failure::new("InvalidCommandError", 400, "Invalid command", details);
        let (extension, name) = full.split_once('.').ok_or_else(|| invalid("Command name must be of the form <extension>.<name>"))?;
        if !COMMANDS.iter().any(|it| it.0 == extension) {
            return Err(Failure::not_found("Extension", extension));
        }
        let found = COMMANDS.iter().find(|it| it.0 == extension && it.1 == name);
        found.map(|it| it.2).ok_or_else(|| invalid(&format!("Unknown command: {name}")))
    }

    /// The name without the extension.
    pub(crate) fn name(self) -> &'static str {
        COMMANDS.iter().find(|it| it.2 == self).map_or("", |it| it.1)
    }

    /// Whether the answer to the request already holds the result.
    pub(crate) fn is_quick(self) -> bool {
        use Command::*;
        matches!(self, GetSteps(_) | Sync | GetPartitionUuids | FinalizeRescue | GetHardwareInfo | CollectLogs | Lockdown)
    }
}

/// The steps offered: stage, interface, name, priority, whether it can be given up.
const STEPS: [(Stage, &str, &str, u32, bool); 12] = [
    (Stage::Clean, "deploy", "erase_devices", 10, true),
    (Stage::Clean, "deploy", "erase_devices_metadata", 99, true),
    (Stage::Clean, "deploy", "erase_devices_express", 0, true),
    (Stage::Clean, "raid", "delete_configuration", 0, true),
    (Stage::Clean, "raid", "create_configuration", 0, true),
    (Stage::Clean, "deploy", "burnin_cpu", 0, true),
    (Stage::Deploy, "deploy", "erase_devices_metadata", 0, false),
    (Stage::Deploy, "raid", "apply_configuration", 0, false),
    (Stage::Deploy, "deploy", "write_image", 0, false),
    (Stage::Deploy, "deploy", "inject_files", 0, false),
    (Stage::Service, "deploy", "burnin_cpu", 0, true),
    (Stage::Service, "raid", "apply_configuration", 0, false),
];

fn versions() -> Value {
    json!({MANAGER: MANAGER_VERSION})
}

/// Carries a command out.
///
/// # Errors
/// Why it could not be.
pub(crate) async fn execute(shared: &Shared, agent: &Agent, command: Command, params: &Map<String, Value>) -> Result<Value, Failure> {
    match command {
        Command::GetSteps(stage) => {
            needs(params, &["node", "ports"])?;
            let steps = STEPS.iter().filter(|it| it.0 == stage).map(|(_, interface, step, priority, abortable)| {
                json!({"interface": interface, "step": step, "priority": priority, "abortable": abortable, "reboot_requested": false})
            });
            let key = format!("{}_steps", stage.as_str());
            Ok(json!({key: {MANAGER_CLASS: steps.collect::<Vec<_>>()}, "hardware_manager_version": versions()}))
        }
        Command::ExecuteStep(stage) => step(shared, agent, stage, params).await,
        Command::PrepareImage => write_image(shared, agent, params).await,
        Command::GetHardwareInfo => Ok(inventory::inventory(&agent.machine)),
        Command::GetPartitionUuids => Ok(json!({})),
        Command::CollectLogs => Ok(json!({"system_logs": ""})),
        Command::InstallBootloader => {
            needs(params, &["root_uuid"])?;
            Ok(Value::Null)
        }
        Command::FinalizeRescue => {
            needs(params, &["rescue_password"])?;
            Ok(Value::Null)
        }
        Command::Sync | Command::PowerOff | Command::RunImage | Command::Lockdown => Ok(Value::Null),
    }
}

/// What a command leads to after it was answered.
pub(crate) async fn afterwards(shared: &Arc<Shared>, agent: &Arc<Agent>, command: Command) {
    match command {
        Command::PowerOff | Command::RunImage => {
            tokio::time::sleep(LAST_WORDS).await;
            let order = if command == Command::PowerOff { Order::Off } else { Order::Restart };
            machine::order(shared, &agent.machine, order);
        }
        Command::FinalizeRescue | Command::Lockdown => {
            tokio::time::sleep(LAST_WORDS).await;
            if command == Command::FinalizeRescue {
                agent.machine.change(agent.epoch, |state| state.running = Running::Rescue);
            }
            agent.is_closed.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}

fn needs(params: &Map<String, Value>, names: &[&str]) -> Result<(), Failure> {
    match names.iter().find(|it| !params.contains_key(**it)) {
        Some(name) => Err(Failure::execution(format!("missing 1 required positional argument: '{name}'"))),
        None => Ok(()),
    }
}

async fn step(shared: &Shared, agent: &Agent, stage: Stage, params: &Map<String, Value>) -> Result<Value, Failure> {
    needs(params, &["step", "node", "ports"])?;
    let word = stage.as_str();
    if let Some(planned) = params.get(&format!("{word}_version")).filter(|it| !it.is_null() && **it != versions()) {
        let details = format!("Current versions: {}, versions used by ironic: {planned}", versions());
        return Err(Failure::new("VersionMismatch", 500, "Hardware managers version mismatch, reload agent with correct version", details));
    }
    let failed = |details: String| match stage {
        Stage::Clean => Failure::new("CleaningError", 500, "Clean step failed", details),
        Stage::Deploy => Failure::new("DeploymentError", 500, "Deploy step failed", details),
        Stage::Service => Failure::new("ServicingError", 500, "Service step failed", details),
    };
    let asked = params.get("step").and_then(Value::as_object).ok_or_else(|| Failure::execution("the step is no object"))?;
    let name =
        asked.get("step").and_then(Value::as_str).ok_or_else(|| Failure::execution(format!("Malformed {word}_step, no \"step\" key")))?;
    if !STEPS.iter().any(|it| it.2 == name && (it.0 == stage || name == "erase_devices_metadata")) {
        return Err(failed(format!("Unexpected exception performing {word} step {name}. Could not find method: {name}")));
    }
    let machine = &agent.machine;
    if machine.happens(Draw::Step, shared.settings.step_fails) {
        machine.change(agent.epoch, |state| state.counts.failed_steps += 1);
        return Err(failed(format!("{name} failed by chance")));
    }
    let mut args = params.clone();
    if let Some(more) = asked.get("args").and_then(Value::as_object) {
        args.extend(more.clone());
    }
    let result = match name {
        "write_image" => write_image(shared, agent, &args).await?,
        "erase_devices" | "erase_devices_express" => {
            tokio::time::sleep(machine.takes(shared.settings.step_ms, shared.settings.jitter)).await;
            machine.change(agent.epoch, |state| {
                state.disk = None;
                state.is_dirty = false;
                state.counts.erasures += 1;
            });
            json!({"/dev/sda": "erased"})
        }
        "erase_devices_metadata" => {
            tokio::time::sleep(machine.takes(shared.settings.step_ms, shared.settings.jitter)).await;
            machine.change(agent.epoch, |state| state.disk = None);
            Value::Null
        }
        _ => {
            tokio::time::sleep(machine.takes(shared.settings.step_ms, shared.settings.jitter)).await;
            Value::Null
        }
    };
    Ok(json!({format!("{word}_result"): result, format!("{word}_step"): asked}))
}

/// Downloads an image, checks it, and remembers what would be on the disk.
async fn write_image(shared: &Shared, agent: &Agent, args: &Map<String, Value>) -> Result<Value, Failure> {
    let info = args.get("image_info").and_then(Value::as_object).ok_or_else(|| Failure::params("Image is missing."))?;
    let text = |key: &str| info.get(key).and_then(Value::as_str).filter(|it| !it.is_empty());
    let id = text("id").ok_or_else(|| Failure::params("Image is missing 'id' field."))?;
    let urls: Vec<&str> = info.get("urls").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if urls.is_empty() {
        return Err(Failure::params("Image 'urls' must be a list with at least one element."));
    }
    let (algorithm, wanted) = match (text("os_hash_algo"), text("os_hash_value"), text("checksum")) {
        (Some(algorithm), Some(value), _) => (algorithm, value),
        (_, _, Some(value)) if value.len() == 128 => ("sha512", value),
        (_, _, Some(value)) if value.len() == 64 => ("sha256", value),
        _ => return Err(Failure::params("Image checksum is not available")),
    };
    let configdrive = args.get("configdrive").and_then(Value::as_str).unwrap_or_default();
    let machine = &agent.machine;
    // From here on something is on the disk that nobody vouches for.
    machine.change(agent.epoch, |state| {
        state.disk = None;
        state.is_dirty = true;
    });
    let retry = Duration::from_millis(shared.settings.retry_ms) * 4;
    let mut why = String::new();
    for attempt in 0..DOWNLOADS {
        if attempt > 0 {
            tokio::time::sleep(retry).await;
        }
        for url in &urls {
            match download(shared, agent, url, algorithm).await {
                Ok((bytes, seen, sha512)) => {
                    if seen != wanted.to_lowercase() {
                        let details = format!(
                            "Image failed to verify against checksum. location: {url}; image ID: {id}; image checksum: {wanted}; verification checksum: {seen}"
                        );
                        return Err(Failure::new("ImageChecksumError", 500, "Error verifying image checksum", details));
                    }
                    tokio::time::sleep(machine.takes(shared.settings.step_ms, shared.settings.jitter)).await;
                    let written = Written { id: id.to_owned(), bytes, sha512: sha512.clone(), configdrive_bytes: configdrive.len() };
                    machine.change(agent.epoch, |state| {
                        state.disk = Some(Box::new(written));
                        state.counts.images += 1;
                    });
                    return Ok(json!({
                        "result": format!("prepare_image: image ({id}) written to device /dev/sda "),
                        // What our own ramdisk agent says besides: what it read back.
                        "verified": format!("sha512:{sha512}"),
                        "bytes": bytes,
                    }));
                }
                Err(error) => why = error,
            }
        }
    }
    Err(Failure::new("ImageDownloadError", 500, "Error downloading image", format!("Download of image {id} failed: {why}")))
}

/// How many bytes came, their digest by that algorithm, and by SHA-512.
async fn download(shared: &Shared, agent: &Agent, url: &str, algorithm: &str) -> Result<(u64, String, String), String> {
    let client = shared.client.clone().with_deadline(SILENCE);
    let (status, headers, mut body) = client.stream(Request::get(url)).await.map_err(|error| error.to_string())?;
    if status != 200 {
        return Err(format!("Received status code {status} from {url}, expected 200"));
    }
    let mut whole = Sha512::new();
    let mut other = match algorithm {
        "sha512" => None,
        "sha256" => Some(Sha256::new()),
        _ => return Err(format!("unknown algorithm {algorithm}")),
    };
    let mut bytes = 0_u64;
    let mut failure = None;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => {
                bytes += u64::try_from(piece.len()).unwrap_or_default();
                whole.update(&piece);
                if let Some(digest) = &mut other {
                    digest.update(&piece);
                }
            }
            Err(error) => {
                failure = Some(error.to_string());
                break;
            }
        }
    }
    agent.machine.change(agent.epoch, |state| state.counts.image_bytes += bytes);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let said = headers.get(http::header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said != bytes) {
        return Err(format!("{bytes} bytes came where {said:?} were announced"));
    }
    let sha512 = hex(&whole.finalize());
    let seen = match other {
        None => sha512.clone(),
        Some(digest) => hex(&digest.finalize()),
    };
    Ok((bytes, seen, sha512))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}
