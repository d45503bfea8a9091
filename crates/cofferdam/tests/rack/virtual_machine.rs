//! A machine with firmware and a kernel of its own (QEMU): it boots over the provisioning network as metal does, is written, and boots
//! a whole Debian from its disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::api::{Service, Session};
use crate::support::rack::Rack;
use crate::support::serve::Serve;
use crate::support::{BINARY, has_program, run, say, wait_for};

const VLANS: (u16, u16) = (100, 104);
/// How long enrolling, cleaning, writing and booting may take together. Every instruction is emulated: about four minutes on two
/// processors with nothing else to do, several times that on slow ones that have.
const DEADLINE: Duration = Duration::from_secs(1_500);

/// What cannot be made here, if anything.
pub fn missing() -> Option<String> {
    let files = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "/usr/lib/ipxe/snponly.efi"];
    let program = ["qemu-system-x86_64", "mmdebstrap"].into_iter().find(|name| !has_program(name));
    program
        .or_else(|| files.into_iter().find(|path| !Path::new(path).is_file()))
        .map(|it| format!("{it} is missing (Debian: qemu-system-x86 ovmf mmdebstrap grub-efi-amd64-signed ipxe)"))
}

struct Files {
    image: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
}

fn files(dir: &Path) -> Files {
    let image = dir.join("debian.raw");
    run(Command::new(BINARY).args(["lab", "image", "--bootable", "--output"]).arg(&image));
    run(Command::new(BINARY).args(["lab", "ramdisk", "--bootable", "--output"]).arg(dir));
    Files { image, kernel: dir.join("deploy.kernel"), initrd: dir.join("deploy.initrd") }
}

fn upload(admin: &Session, name: &str, container: &str, disk: &str, file: &Path) -> String {
    let body = json!({"name": name, "disk_format": disk, "container_format": container, "visibility": "public"});
    let image = admin.create(Service::Image, "/images", "", &body)["id"].as_str().unwrap().to_owned();
    admin.upload(&image, file);
    image
}

#[test]
fn rack_virtual_machine() {
    if let Some(why) = missing() {
        say(&format!("skipped: {why}"));
        return;
    }
    let Some(rack) = Rack::up_with('q', 1, &["--virtual-machines", "1", "--memory-mb", "1024"]) else { return };
    let dir = tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir().unwrap();
    let files = files(dir.path());
    let serve = Serve::start(rack.setting(VLANS));
    let admin = Session::admin(&serve.setting.base(), &serve.setting.state_dir);
    let kernel = upload(&admin, "deploy-kernel", "aki", "aki", &files.kernel);
    let ramdisk = upload(&admin, "deploy-ramdisk", "ari", "ari", &files.initrd);
    let image = upload(&admin, "debian", "bare", "raw", &files.image);

    let began = Instant::now();
    let machine = &rack.machines()[0];
    let bmc = &machine["bmc"];
    let node = json!({
        "name": "vm", "driver": "redfish", "resource_class": "baremetal",
        "driver_info": {
            "redfish_address": bmc["url"], "redfish_system_id": bmc["system"], "redfish_username": bmc["username"],
            "redfish_password": bmc["password"], "deploy_kernel": kernel, "deploy_ramdisk": ramdisk,
            "kernel_append_params": "console=ttyS0",
        },
        "properties": {"cpus": 1, "memory_mb": 1024, "local_gb": 2, "cpu_arch": "x86_64"},
    });
    let node = admin.create(Service::Baremetal, "/nodes", "", &node)["uuid"].as_str().unwrap().to_owned();
    let port = json!({
        "node_uuid": node, "address": machine["mac"], "pxe_enabled": true, "physical_network": "physnet1",
        "local_link_connection": {"switch_id": machine["switch_id"], "port_id": machine["port"], "switch_info": machine["leaf"]},
    });
    admin.create(Service::Baremetal, "/ports", "", &port);
    let console = PathBuf::from(machine["console"].as_str().unwrap());
    let path = format!("/nodes/{node}");
    let verb = |target: &str, state: &str| {
        let answer = admin.call(Method::PUT, Service::Baremetal, &format!("{path}/states/provision"), Some(&json!({"target": target})));
        assert!(answer.is_success(), "{target}: {}", answer.text);
        wait_for(&format!("the node is {state}"), DEADLINE.saturating_sub(began.elapsed()), || {
            let shown = admin.get(Service::Baremetal, &path);
            let now = shown["provision_state"].as_str().unwrap_or("?");
            assert!(!now.ends_with("failed"), "{now}: {}\nits console:\n{}", shown["last_error"], said(&console));
            if now == state { Ok(()) } else { Err(format!("{now}: {}", shown["driver_internal_info"])) }
        });
        say(&format!("{state} after {:.0} s", began.elapsed().as_secs_f64()));
    };
    verb("manage", "manageable");
    verb("provide", "available");
    assert!(said(&console).contains("Linux version"), "it has no kernel of its own:\n{}", said(&console));
    let set = json!([{"op": "add", "path": "/instance_info/image_source", "value": image}]);
    let answer = admin.call(Method::PATCH, Service::Baremetal, &path, Some(&set));
    assert!(answer.is_success(), "{}", answer.text);
    verb("active", "active");
    wait_for("Debian asks who logs in", DEADLINE.saturating_sub(began.elapsed()), || {
        let text = said(&console);
        assert!(!text.contains("Kernel panic"), "{text}");
        if text.contains("Debian GNU/Linux 12") && text.contains("login:") {
            Ok(())
        } else {
            Err(text.lines().last().unwrap_or("").to_owned())
        }
    });
    let shown = admin.get(Service::Baremetal, &path);
    let digest = &admin.get(Service::Image, &format!("/images/{image}"))["os_hash_value"];
    assert_eq!(shown["driver_internal_info"]["image_verified"], Value::from(format!("sha512:{}", digest.as_str().unwrap())));
    say(&format!("Debian runs from its disk {:.0} s after it was enrolled", began.elapsed().as_secs_f64()));
    assert!(began.elapsed() < DEADLINE);
}

/// What the machine has said on its console.
pub fn said(console: &Path) -> String {
    let bytes = std::fs::read(console).unwrap_or_default();
    String::from_utf8_lossy(&bytes).chars().filter(|it| !it.is_control() || *it == '\n').collect()
}
