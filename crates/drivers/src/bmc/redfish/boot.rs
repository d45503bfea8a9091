//! Boot device, boot mode, secure boot (Source: DMTF DSP0268, `ComputerSystem.Boot`, `SecureBoot`).

use serde_json::{Map, Value, json};

use super::Redfish;
use super::quirks::Quirks;
use crate::bmc::{BmcError, BootChoice, BootDevice, BootMode};

/// Which target is which device; the first of a device is the usual one.
const TARGETS: &[(&str, BootDevice)] = &[
    ("Pxe", BootDevice::Pxe),
    ("Hdd", BootDevice::Disk),
    ("Cd", BootDevice::Cdrom),
    ("UsbCd", BootDevice::Cdrom),
    ("BiosSetup", BootDevice::Bios),
    ("UefiHttp", BootDevice::UefiHttp),
    ("Floppy", BootDevice::Floppy),
    ("Usb", BootDevice::Usb),
];

fn target_of(device: BootDevice) -> Option<&'static str> {
    TARGETS.iter().find(|(_, it)| *it == device).map(|(target, _)| *target)
}

fn allowed(boot: &Value) -> Option<Vec<&str>> {
    let list = boot["BootSourceOverrideTarget@Redfish.AllowableValues"].as_array()?;
    let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    (!list.is_empty()).then_some(list)
}

fn mode_word(mode: BootMode) -> &'static str {
    match mode {
        BootMode::Uefi => "UEFI",
        BootMode::Bios => "Legacy",
    }
}

impl Redfish {
    pub(super) fn quirks(&self, system: &Value) -> Quirks {
        Quirks::of(system, self.vendor.as_deref())
    }

    pub(super) async fn choose_boot(&self, device: BootDevice, once: bool) -> Result<(), BmcError> {
        let path = self.system().await?;
        let system = self.conn.read(path).await?;
        let (boot, quirks) = (&system["Boot"], self.quirks(&system));
        let unsupported = || BmcError::Unsupported { what: format!("boot device {}", device.as_str()) };
        let mut target = target_of(device).ok_or_else(unsupported)?;
        if let Some(allowed) = allowed(boot) {
            if quirks.cd_is_usb && device == BootDevice::Cdrom && allowed.contains(&"UsbCd") {
                target = "UsbCd";
            }
            if !allowed.contains(&target) {
                if device == BootDevice::Cdrom && quirks.cd_by_idrac {
                    return self.choose_idrac_cd(&system, once).await;
                }
                let other = TARGETS.iter().find(|(name, it)| *it == device && allowed.contains(name));
                target = other.map(|(name, _)| *name).ok_or_else(unsupported)?;
            }
        }
        let durations: &[&str] = match once || quirks.once_only {
            true => &["Once"],
            false => &["Continuous", "Once"],
        };
        let mut refused = None;
        for duration in durations {
            let mut change = Map::from_iter([("BootSourceOverrideTarget".to_owned(), json!(target))]);
            let same = boot["BootSourceOverrideEnabled"] == *duration;
            if !same || quirks.always_enabled || quirks.whole_boot {
                change.insert("BootSourceOverrideEnabled".into(), json!(duration));
            }
            if quirks.whole_boot {
                change.insert("BootSourceOverrideMode".into(), json!(boot["BootSourceOverrideMode"].as_str().unwrap_or("UEFI")));
            }
            match self.conn.patch(path, &json!({ "Boot": change }), None).await {
                Ok(_) => {
                    if !once && *duration == "Once" {
                        tracing::warn!(
                            bmc.address = self.conn.base,
                            device = device.as_str(),
                            "the BMC keeps the boot device for one boot only"
                        );
                    }
                    return Ok(());
                }
                // Some do not know a lasting choice (it was taken out of the standard and put back): once, then.
                Err(error @ (BmcError::Rejected { .. } | BmcError::Unsupported { .. })) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(unsupported))
    }

    async fn choose_idrac_cd(&self, system: &Value, once: bool) -> Result<(), BmcError> {
        for path in super::connection::links(&system["Links"]["ManagedBy"]) {
            let manager = self.conn.read(&path).await?;
            if let Some((path, change)) = Quirks::idrac_cd(&manager, once) {
                return self.conn.patch(&path, &change, None).await.map(drop);
            }
        }
        Err(BmcError::Unsupported { what: format!("boot device {}", BootDevice::Cdrom.as_str()) })
    }

    pub(super) async fn chosen_boot(&self) -> Result<BootChoice, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let boot = &system["Boot"];
        let target = boot["BootSourceOverrideTarget"].as_str();
        let device = target.and_then(|word| TARGETS.iter().find(|(name, _)| *name == word)).map(|(_, it)| *it);
        let persistent = match boot["BootSourceOverrideEnabled"].as_str() {
            Some("Continuous") => Some(true),
            Some("Once") => Some(false),
            // No override: what was chosen is over, or never was.
            Some("Disabled") => return Ok(BootChoice { device: None, persistent: None }),
            _ => None,
        };
        Ok(BootChoice { device, persistent })
    }

    pub(super) async fn boot_devices(&self) -> Result<Vec<BootDevice>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let allowed = allowed(&system["Boot"]);
        let is_allowed = |device: &BootDevice| match &allowed {
            Some(allowed) => TARGETS.iter().any(|(name, it)| it == device && allowed.contains(name)),
            None => target_of(*device).is_some(),
        };
        Ok(BootDevice::ALL.iter().copied().filter(is_allowed).collect())
    }

    pub(super) async fn read_boot_mode(&self) -> Result<Option<BootMode>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        if let Some(mode) = mode_of(&system) {
            return Ok(Some(mode));
        }
        let Some((name, _)) = self.quirks(&system).boot_mode_attribute(BootMode::Uefi) else { return Ok(None) };
        let Some(path) = system["Bios"]["@odata.id"].as_str() else { return Ok(None) };
        let bios = self.conn.maybe(path).await?.unwrap_or_default();
        Ok(bios["Attributes"][name].as_str().map(|value| match value.to_ascii_lowercase() {
            it if it.contains("uefi") => BootMode::Uefi,
            _ => BootMode::Bios,
        }))
    }

    pub(super) async fn choose_boot_mode(&self, mode: BootMode) -> Result<(), BmcError> {
        let path = self.system().await?;
        let system = self.conn.read(path).await?;
        let (boot, quirks) = (&system["Boot"], self.quirks(&system));
        if mode_of(&system) == Some(mode) {
            return Ok(());
        }
        let mut change = Map::from_iter([("BootSourceOverrideMode".to_owned(), json!(mode_word(mode)))]);
        if quirks.whole_boot {
            change.insert("BootSourceOverrideEnabled".into(), json!(boot["BootSourceOverrideEnabled"].as_str().unwrap_or("Once")));
            change.insert("BootSourceOverrideTarget".into(), json!(boot["BootSourceOverrideTarget"].as_str().unwrap_or("Pxe")));
        }
        let refused = match self.conn.patch(path, &json!({ "Boot": change }), None).await {
            Ok(_) => return Ok(()),
            Err(error @ BmcError::Rejected { .. }) => error,
            Err(error) => return Err(error),
        };
        let Some((name, value)) = quirks.boot_mode_attribute(mode) else { return Err(refused) };
        let Some(bios) = system["Bios"]["@odata.id"].as_str() else { return Err(refused) };
        let bios = self.conn.read(bios).await?;
        if bios["Attributes"].get(name).is_none() {
            return Err(refused);
        }
        self.write_settings(&bios, &Map::from_iter([(name.to_owned(), json!(value))])).await
    }

    async fn secure_boot_resource(&self) -> Result<Option<Value>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        match system["SecureBoot"]["@odata.id"].as_str() {
            Some(path) => self.conn.maybe(path).await,
            None => Ok(None),
        }
    }

    pub(super) async fn read_secure_boot(&self) -> Result<Option<bool>, BmcError> {
        Ok(self.secure_boot_resource().await?.and_then(|it| it["SecureBootEnable"].as_bool()))
    }

    pub(super) async fn choose_secure_boot(&self, on: bool) -> Result<(), BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let Some(path) = system["SecureBoot"]["@odata.id"].as_str() else {
            return Err(BmcError::Unsupported { what: "secure boot".into() });
        };
        let now = self.conn.read(path).await?;
        if now["SecureBootEnable"] == on {
            return Ok(());
        }
        if on && mode_of(&system) == Some(BootMode::Bios) {
            return Err(self.conn.rejected("secure boot needs the boot mode uefi"));
        }
        self.conn.patch(path, &json!({ "SecureBootEnable": on }), None).await.map(drop)
    }

    /// The keys of secure boot: what they are now (`SetupMode` without any), and how they are reset.
    pub(super) async fn secure_boot_keys(&self) -> Result<Option<(String, Option<String>)>, BmcError> {
        let Some(resource) = self.secure_boot_resource().await? else { return Ok(None) };
        let target = resource.pointer("/Actions/#SecureBoot.ResetKeys/target").and_then(Value::as_str);
        Ok(target.map(|it| (it.to_owned(), resource["SecureBootMode"].as_str().map(str::to_owned))))
    }
}

/// The boot mode that a system says of itself.
pub(super) fn mode_of(system: &Value) -> Option<BootMode> {
    match system["Boot"]["BootSourceOverrideMode"].as_str() {
        Some("UEFI") => Some(BootMode::Uefi),
        Some("Legacy") => Some(BootMode::Bios),
        _ => None,
    }
}
