//! The image that a BMC hands to a machine as a virtual medium, booted by real firmware (QEMU with UEFI): shim, GRUB, kernel, agent.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use drivers::boot::iso::{Loaders, Medium, medium};
use media::iso9660::{Content, Image};
use serde_json::json;

use crate::support::{BINARY, run, say, wait_for};
use crate::virtual_machine::{missing, said};

/// How long emulated firmware, loaders and kernel may take.
const DEADLINE: Duration = Duration::from_secs(300);

struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        if self.0.kill().and_then(|()| self.0.wait().map(drop)).is_err() {
            say("QEMU could not be ended");
        }
    }
}

fn write(image: &Image, path: &Path) {
    let mut out = Vec::new();
    for (content, from, own, zeros) in image.slice(0, image.len) {
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::File { path, .. } => std::fs::read(path).unwrap(),
        };
        out.extend(&bytes[usize::try_from(from).unwrap()..usize::try_from(from + own).unwrap()]);
        out.resize(out.len() + usize::try_from(zeros).unwrap(), 0);
    }
    std::fs::write(path, out).unwrap();
}

#[test]
fn rack_virtual_medium() {
    let loaders = match missing() {
        None => Loaders::installed().map_err(|error| error.to_string()),
        Some(why) => Err(why),
    };
    let loaders = match loaders {
        Ok(loaders) => loaders,
        Err(why) => {
            say(&format!("skipped: {why}"));
            return;
        }
    };
    let dir = tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir().unwrap();
    run(Command::new(BINARY).args(["lab", "ramdisk", "--bootable", "--output"]).arg(dir.path()));
    let file = |name: &str| {
        let path = dir.path().join(name);
        let size = std::fs::metadata(&path).unwrap().len();
        (path, size)
    };
    let args = ["console=ttyS0", "ipa-api-url=http://192.0.2.1:1/baremetal", "boot_method=vmedia"].map(str::to_owned);
    let it = Medium { kernel: file("deploy.kernel"), ramdisk: file("deploy.initrd"), args: &args, network_data: &json!({"links": []}) };
    let iso = dir.path().join("medium.iso");
    write(&medium(&loaders, &it).unwrap(), &iso);
    let console = dir.path().join("console.log");
    let variables = dir.path().join("firmware.vars");
    std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
    let child = Command::new("qemu-system-x86_64")
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "768"])
        .args(["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"])
        .arg("-drive")
        .arg(format!("if=pflash,format=raw,unit=1,file={}", variables.display()))
        .arg("-drive")
        .arg(format!("if=none,id=cd,media=cdrom,readonly=on,file={}", iso.display()))
        .args(["-device", "ide-cd,drive=cd,bootindex=1", "-serial"])
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _machine = Machine(child);
    wait_for("the agent runs", DEADLINE, || {
        let text = said(&console);
        assert!(!text.contains("Kernel panic"), "{text}");
        let runs = text.contains("Linux version") && text.contains("boot_method=vmedia") && text.contains("agent::ramdisk");
        if runs { Ok(()) } else { Err(text.lines().last().unwrap_or("nothing yet").to_owned()) }
    });
}
