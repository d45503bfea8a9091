//! What the agent can be told to do.
//!
//! Names, parameters and results are those of ironic-python-agent (`extensions/{clean,deploy,service,standby,image,poll,rescue,log,system}.py`), so that Ironic
//! can drive this agent as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::commands::{Commands, Progress, Ticket};
use super::failure::Failure;
use super::image::ImageInfo;
use super::init::Ending;
use super::interface::Interface;
use super::lldp::Heard;
use super::{configdrive, disks, erase, hardware, image, logs, rescue, tpm};

/// Name under which this agent's steps and version are listed.
pub const MANAGER: &str = "CofferdamHardwareManager";
/// Time for the answer to leave before the machine ends.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// A step of cleaning, deployment or service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    EraseDevices,
    EraseDevicesMetadata,
    EraseDevicesExpress,
    ErasePstore,
    WriteImage,
}

/// What a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Between two tenants.
    Clean,
    /// For a tenant.
    Deploy,
    /// During a tenancy, as its tenant asks.
    Service,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Deploy => "deploy",
            Self::Service => "service",
        }
    }

    /// The steps and their priorities; the control plane runs those of priority 0 only by name.
    fn steps(self) -> &'static [(Step, u32)] {
        match self {
            Self::Clean => {
                &[(Step::EraseDevices, 10), (Step::EraseDevicesMetadata, 99), (Step::EraseDevicesExpress, 0), (Step::ErasePstore, 0)]
            }
            Self::Deploy => &[(Step::EraseDevicesMetadata, 0), (Step::WriteImage, 0)],
            Self::Service => &[(Step::WriteImage, 0)],
        }
    }
}

impl Step {
    const ALL: [Self; 5] = [Self::EraseDevices, Self::EraseDevicesMetadata, Self::EraseDevicesExpress, Self::ErasePstore, Self::WriteImage];

    fn name(self) -> &'static str {
        match self {
            Self::EraseDevices => "erase_devices",
            Self::EraseDevicesMetadata => "erase_devices_metadata",
            Self::EraseDevicesExpress => "erase_devices_express",
            Self::ErasePstore => "erase_pstore",
            Self::WriteImage => "write_image",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A command of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `clean.get_clean_steps`, `deploy.get_deploy_steps`, `service.get_service_steps`.
    GetSteps(Work),
    /// `clean.execute_clean_step`, `deploy.execute_deploy_step`, `service.execute_service_step`.
    ExecuteStep(Work),
    /// `standby.sync`.
    Sync,
    /// `standby.power_off`.
    PowerOff,
    /// `standby.run_image`: leave the ramdisk for what is on the disk.
    RunImage,
    /// `standby.prepare_image`: as the deploy step `write_image`, for control planes that know no steps.
    PrepareImage,
    /// `standby.get_partition_uuids`.
    GetPartitionUuids,
    /// `image.install_bootloader`.
    InstallBootloader,
    /// `poll.get_hardware_info`.
    GetHardwareInfo,
    /// `poll.set_node_info`.
    SetNodeInfo,
    /// `rescue.finalize_rescue`.
    FinalizeRescue,
    /// `log.collect_system_logs`.
    CollectSystemLogs,
    /// `system.lockdown`.
    Lockdown,
    /// `attest.quote`: of this agent alone.
    Quote,
}

/// Extensions, their commands, and what these are.
const COMMANDS: [(&str, &str, Command); 18] = [
    ("clean", "get_clean_steps", Command::GetSteps(Work::Clean)),
    ("clean", "execute_clean_step", Command::ExecuteStep(Work::Clean)),
    ("deploy", "get_deploy_steps", Command::GetSteps(Work::Deploy)),
    ("deploy", "execute_deploy_step", Command::ExecuteStep(Work::Deploy)),
    ("service", "get_service_steps", Command::GetSteps(Work::Service)),
    ("service", "execute_service_step", Command::ExecuteStep(Work::Service)),
    ("standby", "sync", Command::Sync),
    ("standby", "power_off", Command::PowerOff),
    ("standby", "run_image", Command::RunImage),
    ("standby", "prepare_image", Command::PrepareImage),
    ("standby", "get_partition_uuids", Command::GetPartitionUuids),
    ("image", "install_bootloader", Command::InstallBootloader),
    ("poll", "get_hardware_info", Command::GetHardwareInfo),
    ("poll", "set_node_info", Command::SetNodeInfo),
    ("rescue", "finalize_rescue", Command::FinalizeRescue),
    ("log", "collect_system_logs", Command::CollectSystemLogs),
    ("system", "lockdown", Command::Lockdown),
    ("attest", "quote", Command::Quote),
];

impl Command {
    /// Finds the command of a full name, such as `clean.get_clean_steps`.
    ///
    /// # Errors
    /// 400 or 404, as ironic-python-agent answers.
    pub fn parse(full: &str) -> Result<Self, Failure> {
        let Some((extension, name)) = full.split_once('.') else {
            return Err(Failure::command("Command name must be of the form <extension>.<name>"));
        };
        if let Some((_, _, command)) = COMMANDS.into_iter().find(|it| it.0 == extension && it.1 == name) {
            return Ok(command);
        }
        if COMMANDS.into_iter().any(|it| it.0 == extension) {
            return Err(Failure::command(format!("Unknown command: {name}")));
        }
        Err(Failure::not_found("Extension", extension))
    }

    /// The name results are listed under: without the extension, as ironic-python-agent does.
    pub fn name(self) -> &'static str {
        COMMANDS.into_iter().find(|it| it.2 == self).map_or("", |it| it.1)
    }

    /// Whether the answer to the request already holds the result.
    pub fn is_quick(self) -> bool {
        match self {
            Self::GetSteps(_)
            | Self::Sync
            | Self::GetPartitionUuids
            | Self::GetHardwareInfo
            | Self::SetNodeInfo
            | Self::FinalizeRescue
            | Self::CollectSystemLogs
            | Self::Lockdown => true,
            Self::ExecuteStep(_) | Self::PowerOff | Self::RunImage | Self::PrepareImage | Self::InstallBootloader | Self::Quote => false,
        }
    }
}

/// What commands work on.
pub struct Machine {
    /// The disk to deploy to, unless the node's hints name another.
    pub device: PathBuf,
    /// Whether all disks that can be seen are this machine's. Otherwise only `device` is ever touched.
    pub whole: bool,
    /// The interface the agent uses.
    pub interface: Interface,
    /// The neighbours that inspection heard.
    pub heard: Heard,
    /// Where the rescue user's password goes; none where the system is not the ramdisk's own.
    pub etc: Option<PathBuf>,
    /// Where the TPM is.
    pub tpm: tpm::Place,
    /// Commands given so far.
    pub commands: Commands,
    /// Set when the machine is to end.
    pub ending: watch::Sender<Option<Ending>>,
}

#[derive(Deserialize)]
struct WriteImage {
    image_info: ImageInfo,
    #[serde(default)]
    configdrive: Option<String>,
}

fn version() -> Value {
    json!({ MANAGER: env!("CARGO_PKG_VERSION") })
}

/// All disks of a machine: the only one it may touch, or all there are.
pub fn disks_of(device: &Path, whole: bool) -> Vec<PathBuf> {
    let mut all = if whole { disks::all() } else { Vec::new() };
    if !all.iter().any(|it| it == device) && device.exists() {
        all.push(device.to_owned());
    }
    all
}

impl Machine {
    /// Starts a command in the background and returns its id.
    ///
    /// # Errors
    /// [`Failure::busy`].
    pub fn start(self: &Arc<Self>, command: Command, params: Map<String, Value>) -> Result<String, Failure> {
        let ticket = self.commands.begin(command.name())?;
        let id = ticket.id.clone();
        tracing::info!(command = command.name(), id, "command began");
        let machine = Arc::clone(self);
        // Its end is the ticket's, which outlives even a panic.
        tokio::spawn(async move { machine.carry_out(command, params, ticket).await });
        Ok(id)
    }

    async fn carry_out(self: Arc<Self>, command: Command, params: Map<String, Value>, ticket: Ticket) {
        let outcome = self.execute(command, &params, &ticket.progress).await;
        let ending = match (&outcome, command) {
            (Ok(_), Command::PowerOff) => Some(Ending::PowerOff),
            (Ok(_), Command::RunImage) => Some(Ending::Reboot),
            (Ok(_), Command::FinalizeRescue) => Some(Ending::Rescue),
            (Ok(_), Command::Lockdown) => Some(Ending::Lockdown),
            _ => None,
        };
        ticket.finish(outcome);
        if ending.is_some() {
            tokio::time::sleep(LAST_WORDS).await;
            self.ending.send_replace(ending);
        }
    }

    async fn execute(&self, command: Command, params: &Map<String, Value>, progress: &Arc<Progress>) -> Result<Value, Failure> {
        match command {
            Command::GetSteps(work) => {
                let steps: Vec<Value> = work.steps().iter().map(|(step, priority)| listed(*step, *priority, work == Work::Clean)).collect();
                Ok(json!({ format!("{}_steps", work.name()): { MANAGER: steps }, "hardware_manager_version": version() }))
            }
            Command::ExecuteStep(work) => self.step(work, params, progress).await,
            Command::Sync | Command::PowerOff | Command::RunImage => {
                blocking(|| {
                    nix::unistd::sync();
                    Ok(json!({ "result": "sync: Caches are flushed" }))
                })
                .await
            }
            Command::PrepareImage => self.write_image(Value::Object(params.clone()), params, progress).await,
            // What is written here are whole disks, whose partitions are their own affair.
            Command::GetPartitionUuids => Ok(json!({})),
            Command::InstallBootloader => {
                // A whole disk brings its own: in its first sectors, or where UEFI looks on a disk without boot entries.
                let root = params.get("root_uuid").and_then(Value::as_str).filter(|it| !it.is_empty() && *it != "0x00000000");
                let tolerant = params.get("ignore_bootloader_failure").and_then(Value::as_bool).unwrap_or(false);
                if root.is_some() && !tolerant {
                    return Err(Failure::image("only images of whole disks are written, and those bring their own boot loader"));
                }
                Ok(Value::Null)
            }
            Command::GetHardwareInfo => {
                let (disks, interface, heard) = (self.disks(), self.interface.clone(), self.heard.clone());
                blocking(move || Ok(hardware::inventory(&disks, &interface, &heard))).await
            }
            // The agent looked its node up by itself; another is not accepted.
            Command::SetNodeInfo => {
                Err(Failure::command("Node lookup data can only be set when the Ironic Python Agent is running in standalone mode."))
            }
            Command::FinalizeRescue => {
                let etc = self.etc.clone().ok_or_else(|| Failure::execution("this system is not a ramdisk; its users are left alone"))?;
                let password = params.get("rescue_password").and_then(Value::as_str).unwrap_or_default().to_owned();
                let hashed = params.get("hashed").and_then(Value::as_bool).unwrap_or(false);
                blocking(move || rescue::finalize(&etc, &password, hashed)).await.map(|()| Value::Null)
            }
            Command::CollectSystemLogs => {
                let commands = self.commands.list();
                blocking(move || Ok(json!({ "system_logs": logs::collect(&commands)? }))).await
            }
            Command::Lockdown => Ok(Value::Null),
            Command::Quote => {
                let (place, params) = (self.tpm.clone(), params.clone());
                blocking(move || tpm::quote(&place, &params)).await
            }
        }
    }

    fn disks(&self) -> Vec<PathBuf> {
        disks_of(&self.device, self.whole)
    }

    /// The disk to deploy to: the only one, or the one that the node's hints describe, or as [`disks::choose`] says.
    fn target(&self, params: &Map<String, Value>) -> Result<PathBuf, Failure> {
        let node = params.get("node");
        let hints = ["/instance_info/root_device", "/properties/root_device"].into_iter();
        let hints = hints.filter_map(|it| node?.pointer(it)?.as_object()).find(|it| !it.is_empty());
        if !self.whole || (hints.is_none() && self.device.exists()) {
            return Ok(self.device.clone());
        }
        let described: Vec<Value> = self.disks().iter().filter_map(|it| disks::describe(it)).collect();
        disks::choose(&described, hints).map_err(Failure::device)
    }

    /// The disks to erase: all but those that the operator said to leave out.
    fn erasable(&self, params: &Map<String, Value>) -> Vec<PathBuf> {
        let spared = params.get("node").and_then(|it| it.pointer("/properties/skip_block_devices")).and_then(Value::as_array);
        let spared: Vec<&Map<String, Value>> = spared.into_iter().flatten().filter_map(Value::as_object).collect();
        let mut disks = self.disks();
        if disks.is_empty() {
            // So that its absence is told.
            disks.push(self.device.clone());
        }
        disks.retain(|disk| {
            let spare = disks::describe(disk).is_some_and(|it| spared.iter().any(|hints| disks::matches(&it, hints)));
            if spare {
                tracing::info!(device = %disk.display(), "left out of erasing, as the node's skip_block_devices says");
            }
            !spare
        });
        disks
    }

    async fn erase(
        &self,
        params: &Map<String, Value>,
        progress: &Arc<Progress>,
        how: fn(&Path, &Progress) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let (disks, progress) = (self.erasable(params), Arc::clone(progress));
        blocking(move || {
            let mut results = Map::new();
            for disk in disks {
                if let Value::Object(result) = how(&disk, &progress)? {
                    results.extend(result);
                }
            }
            Ok(Value::Object(results))
        })
        .await
    }

    /// Runs one step. The result repeats the step, without its arguments (they hold the config drive), by which the control
    /// plane tells it from an earlier one.
    async fn step(&self, work: Work, params: &Map<String, Value>, progress: &Arc<Progress>) -> Result<Value, Failure> {
        let kind = work.name();
        if let Some(planned) = params.get(&format!("{kind}_version")).filter(|it| !it.is_null())
            && *planned != version()
        {
            return Err(Failure::version_mismatch(format!("Current versions: {}, versions used by ironic: {planned}", version())));
        }
        let asked = params.get("step").and_then(Value::as_object).ok_or_else(|| Failure::params("step is missing or no object"))?;
        let name = asked.get("step").and_then(Value::as_str).ok_or_else(|| Failure::params("Malformed step, no \"step\" key"))?;
        let step = Step::of_name(name).ok_or_else(|| Failure::params(format!("Could not find method: {name}")))?;
        if !work.steps().iter().any(|it| it.0 == step) {
            return Err(Failure::params(format!("{name} is not a step of {kind}")));
        }
        let result = match step {
            Step::EraseDevices => self.erase(params, progress, erase::everything).await?,
            Step::EraseDevicesMetadata => self.erase(params, progress, erase::metadata).await?,
            Step::EraseDevicesExpress => self.erase(params, progress, erase::express).await?,
            // Elsewhere the records are those of the host.
            Step::ErasePstore if self.whole => blocking(erase::crash_records).await?,
            Step::ErasePstore => json!({ "removed": 0 }),
            Step::WriteImage => {
                // Arguments may come in the step or, as older Ironic sends them, beside it.
                let args = asked.get("args").filter(|it| it.is_object()).cloned().unwrap_or_else(|| Value::Object(params.clone()));
                self.write_image(args, params, progress).await?
            }
        };
        let mut echo = asked.clone();
        echo.remove("args");
        Ok(json!({ format!("{kind}_result"): result, format!("{kind}_step"): echo }))
    }

    async fn write_image(&self, args: Value, params: &Map<String, Value>, progress: &Arc<Progress>) -> Result<Value, Failure> {
        // The error names a field and a type, never a value.
        let args: WriteImage = serde_json::from_value(args).map_err(|error| Failure::params(describe(&error)))?;
        let image = args.image_info.check()?;
        let device = self.target(params)?;
        // Before the disk is touched: a config drive that cannot be used must not cost the disk's content.
        let drive = match args.configdrive.as_deref() {
            None | Some("") => None,
            Some(sent) => Some(configdrive::fetch(sent).await?),
        };
        let written = image::write(&device, image, progress).await?;
        progress.begin("config drive", drive.as_ref().map_or(0, |drive| super::disk::length(drive)));
        let extent = blocking({
            let device = device.clone();
            move || configdrive::place(&device, drive.as_deref())
        })
        .await?;
        Ok(json!({
            "device": device.display().to_string(),
            "verified": written.verified,
            "bytes": written.bytes,
            "config_drive": extent.map(|it| json!({ "label": configdrive::LABEL, "offset": it.offset, "bytes": it.length })),
        }))
    }
}

/// Only what kind of mistake it is: the text of a JSON error may quote the value, and values here are secret.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") { text } else { "the arguments of write_image do not have the expected types".to_owned() }
}

fn listed(step: Step, priority: u32, abortable: bool) -> Value {
    json!({
        "step": step.name(), "priority": priority, "interface": "deploy", "reboot_requested": false, "abortable": abortable,
        "argsinfo": null,
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::execution("the thread that worked on the machine broke off"))?
}

#[cfg(test)]
mod tests {
    use super::super::disk::tests::blank;
    use super::*;

    fn machine(device: PathBuf) -> Arc<Machine> {
        let commands = Commands::default();
        Arc::new(Machine {
            device,
            whole: false,
            interface: Interface::default(),
            heard: Heard::new(),
            etc: None,
            tpm: tpm::Place::Device("/nonexistent".into()),
            commands,
            ending: watch::Sender::new(None),
        })
    }

    async fn run(machine: &Arc<Machine>, full: &str, params: Value) -> Value {
        let params = params.as_object().unwrap().clone();
        let id = machine.start(Command::parse(full).unwrap(), params).unwrap();
        machine.commands.wait(&id, Duration::from_secs(20)).await.unwrap()
    }

    #[test]
    fn unknown_names_are_told_apart() {
        for (name, kind, code) in [
            ("sync", "InvalidCommandError", 400),
            ("standby.dance", "InvalidCommandError", 400),
            ("rescue.dance", "InvalidCommandError", 400),
            ("flow.start_flow", "RequestedObjectNotFoundError", 404),
        ] {
            let failure = Command::parse(name).unwrap_err();
            assert_eq!((failure.kind, failure.code), (kind, code), "{name}");
        }
    }

    #[tokio::test]
    async fn clean_steps_are_listed_and_run_and_echoed() {
        let file = blank(8);
        std::fs::write(file.path(), vec![1; 8 << 20]).unwrap();
        let machine = machine(file.path().to_owned());
        let listed = run(&machine, "clean.get_clean_steps", json!({"node": {}, "ports": []})).await;
        let result = &listed["command_result"];
        assert_eq!(result["clean_steps"][MANAGER][0]["step"], "erase_devices");
        assert_eq!(result["clean_steps"][MANAGER][1]["priority"], 99);
        let asked = json!({"step": "erase_devices", "priority": 10, "interface": "deploy"});
        let params = json!({"step": asked, "node": {}, "ports": [], "clean_version": result["hardware_manager_version"]});
        let done = run(&machine, "clean.execute_clean_step", params).await;
        assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
        assert_eq!(done["command_result"]["clean_step"], asked);
        assert_eq!(done["command_result"]["clean_result"][file.path().display().to_string()]["verified"], "zero");
        assert!(std::fs::read(file.path()).unwrap().iter().all(|byte| *byte == 0));
    }

    #[tokio::test]
    async fn another_version_is_refused_in_its_own_way() {
        let machine = machine("/nonexistent".into());
        let params = json!({"step": {"step": "erase_devices"}, "clean_version": {"GenericHardwareManager": "1.1"}});
        let done = run(&machine, "clean.execute_clean_step", params).await;
        assert_eq!((&done["command_status"], &done["command_error"]["code"]), (&json!("CLEAN_VERSION_MISMATCH"), &json!(409)));
    }

    #[tokio::test]
    async fn steps_that_make_no_sense_fail_and_tell_no_secret() {
        let machine = machine("/nonexistent".into());
        for (step, kind, word) in [
            (json!(null), "InvalidCommandParamsError", "step is missing"),
            (json!({"interface": "deploy"}), "InvalidCommandParamsError", "no \"step\" key"),
            (json!({"step": "dance"}), "InvalidCommandParamsError", "dance"),
            (json!({"step": "erase_devices"}), "InvalidCommandParamsError", "not a step of deploy"),
            (json!({"step": "write_image", "args": {"configdrive": "hush"}}), "InvalidCommandParamsError", "image_info"),
            (json!({"step": "write_image", "args": {"image_info": "hush"}}), "InvalidCommandParamsError", "expected types"),
            (json!({"step": "write_image", "args": {"image_info": {"disk_format": "qcow2"}}}), "InvalidImage", "qcow2"),
            (json!({"step": "erase_devices_metadata"}), "DeviceNotFound", "/nonexistent"),
        ] {
            let done = run(&machine, "deploy.execute_deploy_step", json!({"step": step})).await;
            assert_eq!(done["command_status"], "FAILED");
            assert_eq!(done["command_error"]["type"], kind, "{done}");
            assert!(done["command_error"]["details"].as_str().unwrap().contains(word), "{done}");
            assert!(!done.to_string().contains("hush"), "{done}");
        }
    }

    #[test]
    fn every_command_has_its_own_name() {
        for (extension, name, command) in COMMANDS {
            assert_eq!(Command::parse(&format!("{extension}.{name}")).unwrap(), command);
            assert_eq!(command.name(), name);
        }
    }

    #[tokio::test]
    async fn service_steps_are_listed_and_refuse_what_is_not_theirs() {
        let machine = machine("/nonexistent".into());
        let listed = run(&machine, "service.get_service_steps", json!({"node": {}, "ports": []})).await;
        assert_eq!(listed["command_result"]["service_steps"][MANAGER][0]["step"], "write_image");
        let done = run(&machine, "service.execute_service_step", json!({"step": {"step": "erase_devices"}})).await;
        assert_eq!(done["command_error"]["type"], "InvalidCommandParamsError");
    }

    #[tokio::test]
    async fn a_disk_that_is_to_be_spared_is_not_erased() {
        let file = blank(8);
        std::fs::write(file.path(), vec![1; 8 << 20]).unwrap();
        let machine = machine(file.path().to_owned());
        let name = file.path().display().to_string();
        for (step, hints, left) in
            [("erase_devices", json!([{"name": name}]), true), ("erase_devices_express", json!([{"name": "/dev/other"}]), false)]
        {
            let params = json!({"step": {"step": step}, "node": {"properties": {"skip_block_devices": hints}}});
            let done = run(&machine, "clean.execute_clean_step", params).await;
            assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
            assert_eq!(std::fs::read(file.path()).unwrap().iter().all(|byte| *byte == 1), left, "{step}");
        }
    }

    #[tokio::test]
    async fn small_commands_answer_as_they_must() {
        let machine = machine("/nonexistent".into());
        let mut ending = machine.ending.subscribe();
        for (name, params, status) in [
            ("standby.get_partition_uuids", json!({}), "SUCCEEDED"),
            ("image.install_bootloader", json!({"root_uuid": null, "target_boot_mode": "uefi"}), "SUCCEEDED"),
            ("image.install_bootloader", json!({"root_uuid": "a-b"}), "FAILED"),
            ("poll.set_node_info", json!({"node_info": {}}), "FAILED"),
            ("rescue.finalize_rescue", json!({"rescue_password": "x"}), "FAILED"),
            ("attest.quote", json!({"nonce": "ab", "pcrs": [0]}), "FAILED"),
            ("log.collect_system_logs", json!({}), "SUCCEEDED"),
        ] {
            let done = run(&machine, name, params).await;
            assert_eq!(done["command_status"], status, "{name}: {done}");
        }
        assert!(!ending.has_changed().unwrap());
        run(&machine, "system.lockdown", json!({})).await;
        ending.changed().await.unwrap();
        assert_eq!(*ending.borrow(), Some(Ending::Lockdown));
    }

    #[tokio::test]
    async fn rescue_keeps_the_ramdisk() {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = machine("/nonexistent".into());
        Arc::get_mut(&mut machine).unwrap().etc = Some(folder.path().to_owned());
        let mut ending = machine.ending.subscribe();
        let done = run(&machine, "rescue.finalize_rescue", json!({"rescue_password": "$6$a$b", "hashed": true})).await;
        assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
        assert!(std::fs::read_to_string(folder.path().join("shadow")).unwrap().starts_with("rescue:$6$a$b:"));
        ending.changed().await.unwrap();
        assert_eq!(*ending.borrow(), Some(Ending::Rescue));
    }

    #[tokio::test]
    async fn power_off_answers_before_it_ends_the_machine() {
        let machine = machine("/nonexistent".into());
        let mut ending = machine.ending.subscribe();
        let done = run(&machine, "standby.power_off", json!({})).await;
        assert_eq!(done["command_status"], "SUCCEEDED");
        assert_eq!(*ending.borrow_and_update(), None);
        ending.changed().await.unwrap();
        assert_eq!(*ending.borrow(), Some(Ending::PowerOff));
    }
}
