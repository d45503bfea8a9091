//! What the agent can be told to do.
//!
//! Names, parameters and results are those of ironic-python-agent (`extensions/{clean,deploy,standby,poll}.py`), so that Ironic
//! can drive this agent as well.

use std::path::PathBuf;
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
use super::{configdrive, erase, hardware, image};

/// Name under which this agent's steps and version are listed.
const MANAGER: &str = "CofferdamHardwareManager";
/// Time for the answer to leave before the machine ends.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// A step of cleaning or deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    EraseDevices,
    EraseDevicesMetadata,
    WriteImage,
}

impl Step {
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "erase_devices" => Some(Self::EraseDevices),
            "erase_devices_metadata" => Some(Self::EraseDevicesMetadata),
            "write_image" => Some(Self::WriteImage),
            _ => None,
        }
    }
}

/// A command of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `clean.get_clean_steps`.
    GetCleanSteps,
    /// `clean.execute_clean_step`.
    ExecuteCleanStep,
    /// `deploy.get_deploy_steps`.
    GetDeploySteps,
    /// `deploy.execute_deploy_step`.
    ExecuteDeployStep,
    /// `standby.sync`.
    Sync,
    /// `standby.power_off`.
    PowerOff,
    /// `standby.run_image`: leave the ramdisk for what is on the disk.
    RunImage,
    /// `poll.get_hardware_info`.
    GetHardwareInfo,
}

impl Command {
    /// Finds the command of a full name, such as `clean.get_clean_steps`.
    ///
    /// # Errors
    /// 400 or 404, as ironic-python-agent answers.
    pub fn parse(full: &str) -> Result<Self, Failure> {
        let Some((extension, name)) = full.split_once('.') else {
            return Err(Failure::command("Command name must be of the form <extension>.<name>"));
        };
        match (extension, name) {
            ("clean", "get_clean_steps") => Ok(Self::GetCleanSteps),
            ("clean", "execute_clean_step") => Ok(Self::ExecuteCleanStep),
            ("deploy", "get_deploy_steps") => Ok(Self::GetDeploySteps),
            ("deploy", "execute_deploy_step") => Ok(Self::ExecuteDeployStep),
            ("standby", "sync") => Ok(Self::Sync),
            ("standby", "power_off") => Ok(Self::PowerOff),
            ("standby", "run_image") => Ok(Self::RunImage),
            ("poll", "get_hardware_info") => Ok(Self::GetHardwareInfo),
            ("clean" | "deploy" | "standby" | "poll", _) => Err(Failure::command(format!("Unknown command: {name}"))),
            _ => Err(Failure::not_found("Extension", extension)),
        }
    }

    /// The name results are listed under: without the extension, as ironic-python-agent does.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetCleanSteps => "get_clean_steps",
            Self::ExecuteCleanStep => "execute_clean_step",
            Self::GetDeploySteps => "get_deploy_steps",
            Self::ExecuteDeployStep => "execute_deploy_step",
            Self::Sync => "sync",
            Self::PowerOff => "power_off",
            Self::RunImage => "run_image",
            Self::GetHardwareInfo => "get_hardware_info",
        }
    }

    /// Whether the answer to the request already holds the result.
    pub fn is_quick(self) -> bool {
        matches!(self, Self::GetCleanSteps | Self::GetDeploySteps | Self::Sync | Self::GetHardwareInfo)
    }
}

/// What commands work on.
pub struct Machine {
    /// The disk to deploy to and to clean.
    pub device: PathBuf,
    /// The interface the agent uses.
    pub interface: Interface,
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
            Command::GetCleanSteps => Ok(json!({
                "clean_steps": { MANAGER: [
                    step("erase_devices", 10, true),
                    step("erase_devices_metadata", 99, true),
                ] },
                "hardware_manager_version": version(),
            })),
            Command::GetDeploySteps => Ok(json!({
                // Priority 0: the control plane calls them by name and does not run them by itself.
                "deploy_steps": { MANAGER: [step("erase_devices_metadata", 0, false), step("write_image", 0, false)] },
                "hardware_manager_version": version(),
            })),
            Command::ExecuteCleanStep => self.step("clean", params, progress).await,
            Command::ExecuteDeployStep => self.step("deploy", params, progress).await,
            Command::Sync | Command::PowerOff | Command::RunImage => {
                blocking(|| {
                    nix::unistd::sync();
                    Ok(json!({ "result": "sync: Caches are flushed" }))
                })
                .await
            }
            Command::GetHardwareInfo => {
                let (device, interface) = (self.device.clone(), self.interface.clone());
                blocking(move || Ok(hardware::inventory(&device, &interface))).await
            }
        }
    }

    /// Runs one step. The result repeats the step, without its arguments (they hold the config drive), by which the control
    /// plane tells it from an earlier one.
    async fn step(&self, kind: &str, params: &Map<String, Value>, progress: &Arc<Progress>) -> Result<Value, Failure> {
        if let Some(planned) = params.get(&format!("{kind}_version")).filter(|it| !it.is_null())
            && *planned != version()
        {
            return Err(Failure::version_mismatch(format!("Current versions: {}, versions used by ironic: {planned}", version())));
        }
        let asked = params.get("step").and_then(Value::as_object).ok_or_else(|| Failure::params("step is missing or no object"))?;
        let name = asked.get("step").and_then(Value::as_str).ok_or_else(|| Failure::params("Malformed step, no \"step\" key"))?;
        let step = Step::of_name(name).ok_or_else(|| Failure::params(format!("Could not find method: {name}")))?;
        let result = match (step, kind) {
            (Step::EraseDevices, "clean") => {
                let (device, progress) = (self.device.clone(), Arc::clone(progress));
                blocking(move || erase::everything(&device, &progress)).await?
            }
            (Step::EraseDevicesMetadata, _) => {
                let (device, progress) = (self.device.clone(), Arc::clone(progress));
                blocking(move || erase::metadata(&device, &progress)).await?
            }
            (Step::WriteImage, "deploy") => {
                // Arguments may come in the step or, as older Ironic sends them, beside it.
                let args = asked.get("args").filter(|it| it.is_object()).cloned().unwrap_or_else(|| Value::Object(params.clone()));
                // The error names a field and a type, never a value.
                let args = serde_json::from_value(args).map_err(|error| Failure::params(describe(&error)))?;
                self.write_image(args, progress).await?
            }
            _ => return Err(Failure::params(format!("{name} is not a step of {kind}"))),
        };
        let mut echo = asked.clone();
        echo.remove("args");
        Ok(json!({ format!("{kind}_result"): result, format!("{kind}_step"): echo }))
    }

    async fn write_image(&self, args: WriteImage, progress: &Arc<Progress>) -> Result<Value, Failure> {
        let image = args.image_info.check()?;
        // Before the disk is touched: a config drive that cannot be used must not cost the disk's content.
        let drive = match args.configdrive.as_deref() {
            None | Some("") => None,
            Some(sent) => Some(configdrive::fetch(sent).await?),
        };
        let written = image::write(&self.device, image, progress).await?;
        progress.begin("config drive", drive.as_ref().map_or(0, |drive| super::disk::length(drive)));
        let device = self.device.clone();
        let extent = blocking(move || configdrive::place(&device, drive.as_deref())).await?;
        Ok(json!({
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

fn step(name: &str, priority: u32, abortable: bool) -> Value {
    json!({
        "step": name, "priority": priority, "interface": "deploy", "reboot_requested": false, "abortable": abortable,
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
        Arc::new(Machine { device, interface: Interface::default(), commands, ending: watch::Sender::new(None) })
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
            ("rescue.finalize_rescue", "RequestedObjectNotFoundError", 404),
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
