//! The steps that a Redfish BMC does without an agent.

use std::time::Duration;

use model::Timestamp;
use model::baremetal::Step;
use serde_json::{Value, json};

use super::Redfish;
use super::connection::links;
use crate::bmc::help::offered;
use crate::bmc::{BmcError, OfferedStep, Stage, StepProgress};

/// How long the keys of secure boot may take to change, in seconds, before and after a restart.
const KEYS_SECONDS: f64 = 30.0;
const KEYS_LIMIT_SECONDS: f64 = 1_800.0;

/// The steps of a kind of job.
pub(super) fn offers(stage: Stage) -> Vec<OfferedStep> {
    let settings = [("settings", "A list of BIOS settings to be applied: {name, value}", true)];
    let images = [("settings", "A list of dicts with firmware components to be updated: {component, url, wait, checksum}", true)];
    let which = [
        ("create_root_volume", "This specifies whether to create the root volume. Defaults to `True`.", false),
        ("create_nonroot_volumes", "This specifies whether to create the non-root volumes. Defaults to `True`.", false),
        ("delete_existing", "Setting this to `True` indicates to delete existing RAID sets first. Default value is `False`.", false),
    ];
    let sets = [
        ("raid_config", "The RAID configuration to apply.", true),
        ("create_root_volume", "This specifies whether to create the root volume. Defaults to `True`.", false),
        ("create_nonroot_volumes", "This specifies whether to create the non-root volumes. Defaults to `True`.", false),
        ("delete_existing", "Setting this to `True` indicates to delete existing RAID sets first. Default value is `True`.", false),
    ];
    let mut steps = vec![
        offered("bios", "apply_configuration", 0, &settings),
        offered("bios", "factory_reset", 0, &[]),
        offered("raid", "delete_configuration", 0, &[]),
        offered("firmware", "update", 0, &images),
    ];
    match stage {
        Stage::Clean => {
            steps.push(offered("raid", "create_configuration", 0, &which));
            steps.push(offered("management", "reset_secure_boot_keys_to_default", 0, &[]));
            steps.push(offered("management", "clear_secure_boot_keys", 0, &[]));
            steps.push(offered(
                "management",
                "set_bmc_clock",
                0,
                &[("target_datetime", "The time to set, in ISO 8601; now if absent.", false)],
            ));
            steps.push(offered("management", "update_firmware", 0, &[("firmware_images", "A list of firmware images to apply.", true)]));
        }
        Stage::Deploy => {
            steps.push(offered("raid", "apply_configuration", 0, &sets));
            steps.push(offered("management", "reset_secure_boot_keys_to_default", 0, &[]));
            steps.push(offered("management", "clear_secure_boot_keys", 0, &[]));
        }
        Stage::Service => {
            steps.push(offered("raid", "apply_configuration", 0, &sets));
            steps.push(offered("management", "update_firmware", 0, &[("firmware_images", "A list of firmware images to apply.", true)]));
        }
    }
    steps
}

impl Redfish {
    pub(super) async fn step(&self, step: &Step, memory: &Value) -> Result<StepProgress, BmcError> {
        match (step.interface.as_str(), step.step.as_str()) {
            ("bios", "apply_configuration") => self.apply_bios(step, memory).await,
            ("bios", "factory_reset") => self.reset_bios(memory).await,
            ("raid", "create_configuration" | "apply_configuration") => self.create_raid(step, memory).await,
            ("raid", "delete_configuration") => self.delete_raid(memory).await,
            ("firmware", "update") | ("management", "update_firmware") => self.update_firmware(step, memory).await,
            ("management", "reset_secure_boot_keys_to_default") => self.reset_keys("ResetAllKeysToDefault", memory).await,
            ("management", "clear_secure_boot_keys") => self.reset_keys("DeleteAllKeys", memory).await,
            ("management", "set_bmc_clock") => self.set_clock(step).await,
            _ => Ok(StepProgress::Failed(format!("there is no step {}.{} here", step.interface, step.step))),
        }
    }

    /// Resets the keys of secure boot and waits until the firmware says what follows from it: without keys it is in setup mode.
    async fn reset_keys(&self, how: &str, memory: &Value) -> Result<StepProgress, BmcError> {
        let Some((target, mode)) = self.secure_boot_keys().await? else {
            return Ok(StepProgress::Failed("the BMC cannot reset the keys of secure boot".into()));
        };
        let now = Timestamp::now();
        let Some(since) = memory["since"].as_i64().map(Timestamp) else {
            self.conn.post(&target, &json!({ "ResetKeysType": how })).await?;
            let memory = json!({ "since": now.0 });
            let reason = "the keys of secure boot are being reset".into();
            return Ok(StepProgress::Again { memory, after: Duration::from_secs(2), reason, reboot: false });
        };
        let is_done = match mode.as_deref() {
            // It does not tell; that it accepted is all there is to see.
            None => true,
            Some("SetupMode") => how == "DeleteAllKeys",
            Some(_) => how != "DeleteAllKeys",
        };
        if is_done {
            return Ok(StepProgress::Done);
        }
        let age = now.seconds_since(since);
        if age > KEYS_LIMIT_SECONDS {
            return Ok(StepProgress::Failed(format!("the keys of secure boot were not reset: it is in {}", mode.unwrap_or_default())));
        }
        let reboot = age > KEYS_SECONDS && memory["restarted"] != true;
        let memory = json!({"since": since.0, "restarted": reboot || memory["restarted"] == true});
        let reason = "the keys of secure boot are not reset yet".into();
        Ok(StepProgress::Again { memory, after: Duration::from_secs(10), reason, reboot })
    }

    /// Sets the BMC's clock and reads it back.
    async fn set_clock(&self, step: &Step) -> Result<StepProgress, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let Some(path) = links(&system["Links"]["ManagedBy"]).into_iter().next() else {
            return Ok(StepProgress::Failed("the BMC has no manager whose clock could be set".into()));
        };
        let given = step.args.get("target_datetime").and_then(Value::as_str);
        let wanted = given.map_or_else(|| Timestamp::now().iso_offset(), str::to_owned);
        self.conn.patch(&path, &json!({"DateTime": wanted, "DateTimeLocalOffset": "+00:00"}), None).await?;
        let manager = self.conn.read(&path).await?;
        // To the minute: it goes on.
        let minute = |it: &str| it.get(..16).map(str::to_owned);
        match manager["DateTime"].as_str() {
            Some(now) if minute(now) == minute(&wanted) || given.is_none() => Ok(StepProgress::Done),
            now => Ok(StepProgress::Failed(format!("the BMC's clock shows {} and not {wanted}", now.unwrap_or("nothing")))),
        }
    }
}
