//! Where vendors' BMCs part from the standard, all in one place. Each line names the public source it was learned from.

use serde_json::{Value, json};

use crate::bmc::BootMode;

/// What is different about a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quirks {
    /// Changes of `Boot` must name mode, target and duration together (Source: Ironic bug reports on American Megatrends and ASRock Rack
    /// BMCs: a change of one property resets the others).
    pub(super) whole_boot: bool,
    /// The duration must be named each time, even if it is the same (Source: Supermicro, OpenStack story 2008547). Others refuse a change
    /// of the duration to what it is (OpenStack story 2007355), so it is left out for them.
    pub(super) always_enabled: bool,
    /// A virtual CD is booted as `UsbCd` (Source: Supermicro X11 and X12; sushy's release notes).
    pub(super) cd_is_usb: bool,
    /// A virtual CD is booted by attributes of the manager when the standard's way has no `Cd` (Source: Dell, "iDRAC9 Attribute Registry":
    /// `ServerBoot.1.BootOnce`, `ServerBoot.1.FirstBootDevice`).
    pub(super) cd_by_idrac: bool,
    /// There is no lasting choice of the boot device; once is all there is (Source: HPE iLO 5 Redfish documentation:
    /// `BootSourceOverrideEnabled` takes `Once` and `Disabled`).
    pub(super) once_only: bool,
    /// The BIOS attribute that holds the boot mode, with its values for UEFI and BIOS, where `BootSourceOverrideMode` cannot be written
    /// (Source: the vendors' BIOS attribute registries).
    pub(super) boot_mode: Option<(&'static str, &'static str, &'static str)>,
}

impl Quirks {
    /// What is known of a machine by what its system resource says, and by `properties.vendor` of its node.
    pub(super) fn of(system: &Value, vendor: Option<&str>) -> Self {
        let told = system["Manufacturer"].as_str().unwrap_or_default();
        let names = [told.to_ascii_lowercase(), vendor.unwrap_or_default().to_ascii_lowercase()];
        let is = |words: &[&str]| names.iter().any(|name| words.iter().any(|word| name.contains(word)));
        let mut quirks = Self::default();
        if is(&["american megatrends", "asrockrack", "asrock rack", "redfish_compatible"]) || names.iter().any(|it| it == "ami") {
            quirks.whole_boot = true;
        }
        if is(&["supermicro", "super micro"]) {
            quirks.always_enabled = true;
            quirks.cd_is_usb = true;
            quirks.boot_mode = Some(("BootModeSelect", "UEFI", "LEGACY"));
        }
        if is(&["dell"]) {
            quirks.cd_by_idrac = true;
            quirks.boot_mode = Some(("BootMode", "Uefi", "Bios"));
        }
        if is(&["hpe", "hewlett"]) {
            quirks.once_only = true;
            quirks.boot_mode = Some(("BootMode", "Uefi", "LegacyBios"));
        }
        if is(&["lenovo"]) {
            quirks.boot_mode = Some(("BootModes_SystemBootMode", "UEFIMode", "LegacyMode"));
        }
        quirks
    }

    /// The BIOS attribute and value that choose a boot mode.
    pub(super) fn boot_mode_attribute(&self, mode: BootMode) -> Option<(&'static str, &'static str)> {
        self.boot_mode.map(|(name, uefi, bios)| (name, if mode == BootMode::Uefi { uefi } else { bios }))
    }

    /// Attributes of an iDRAC that boot its virtual CD, with the path they are written to below its manager.
    pub(super) fn idrac_cd(manager: &Value, once: bool) -> Option<(String, Value)> {
        let links = manager.pointer("/Links/Oem/Dell/DellAttributes").and_then(Value::as_array);
        let linked = links.into_iter().flatten().find_map(|it| it["@odata.id"].as_str().filter(|it| it.contains("iDRAC")));
        let path = match linked {
            Some(path) => path.to_owned(),
            None => format!("{}/Attributes", manager["@odata.id"].as_str()?.trim_end_matches('/')),
        };
        let once = if once { "Enabled" } else { "Disabled" };
        Some((path, json!({"Attributes": {"ServerBoot.1.BootOnce": once, "ServerBoot.1.FirstBootDevice": "VCD-DVD"}})))
    }
}

/// Whether an error's text means "not now" though its status does not: while the machine runs its self-test (HPE), while a job is
/// running (Dell), while the service starts.
pub(super) fn is_busy(body: &str) -> bool {
    [
        "UnableToModifyDuringSystemPOST",
        "ServiceTemporarilyUnavailable",
        "ServiceInUnknownState",
        "ResourceInUse",
        "RAC0508",
        "SYS446",
        "LC062",
    ]
    .iter()
    .any(|it| body.contains(it))
}

/// What an error on insertion of a medium asks for beyond the image.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum MediaWish {
    /// `TransferProtocolType` (Source: Lenovo, Nvidia; sushy's release notes).
    Protocol,
    /// `TransferMethod` (Source: AMI).
    Method,
    /// Some user and password, though none is needed (Source: Nvidia DGX, Launchpad bug 2071945).
    Account,
}

/// Reads that from the error's text.
pub(super) fn media_wish(body: &str) -> Option<MediaWish> {
    let missing =
        ["Missing", "missing", "required", "Required", "InvalidObject", "PropertyValueNotInList"].iter().any(|it| body.contains(it));
    match missing {
        true if body.contains("TransferProtocolType") => Some(MediaWish::Protocol),
        true if body.contains("TransferMethod") => Some(MediaWish::Method),
        true if body.contains("UserName") || body.contains("Password") => Some(MediaWish::Account),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_known_by_either_name() {
        let system = |name: &str| json!({ "Manufacturer": name });
        assert!(Quirks::of(&system("Supermicro"), None).cd_is_usb);
        assert!(Quirks::of(&system("Dell Inc."), None).cd_by_idrac);
        assert!(Quirks::of(&system("HPE"), None).once_only);
        assert!(Quirks::of(&Value::Null, Some("AMI")).whole_boot);
        assert!(!Quirks::of(&system("Miami Servers"), None).whole_boot);
        assert_eq!(Quirks::of(&system("Sushy Emulator"), None), Quirks::default());
        let lenovo = Quirks::of(&system("Lenovo"), None);
        assert_eq!(lenovo.boot_mode_attribute(BootMode::Bios), Some(("BootModes_SystemBootMode", "LegacyMode")));
    }

    #[test]
    fn wishes_are_read_from_errors() {
        assert_eq!(media_wish("The property TransferProtocolType is missing"), Some(MediaWish::Protocol));
        assert_eq!(media_wish("ActionParameterMissing: TransferMethod is required"), Some(MediaWish::Method));
        assert_eq!(media_wish("UserName is a required property"), Some(MediaWish::Account));
        assert_eq!(media_wish("the image is too large"), None);
    }
}
