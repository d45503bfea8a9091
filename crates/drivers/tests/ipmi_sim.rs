//! What is done to IPMI BMCs, against OpenIPMI's simulator over real RMCP+ (`ipmi_sim` of Debian's `openipmi`, `ipmitool`).

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod ports;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use drivers::bmc::{Bmc, BmcError, BootDevice, HardwareConfig, PowerAction, PowerState, StepProgress, open, serial_console};
use model::baremetal::Step;
use model::secret::Settings;
use serde_json::{Map, Value, json};

struct Sim {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("ipmi_sim could not be ended: {error}");
        }
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A simulated BMC, or `None` with the reason printed.
fn start() -> Option<Sim> {
    for program in ["ipmitool", "ipmi_sim"] {
        if !has(program) {
            eprintln!("skipped: {program} is not installed (Debian: ipmitool, openipmi)");
            return None;
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let port = ports::free(27_000, 2_000, |port| UdpSocket::bind(("127.0.0.1", port)).is_ok());
    let at = |name: &str| directory.path().join(name);
    // What the chassis does: it has power, and a boot device.
    let script = format!(
        "#!/bin/sh\ncd {}\nop=$1; shift\nwhile [ $# -gt 0 ]; do\n  case $op in\n  get)\n    case $1 in\n    power) echo \"power:$(cat power 2>/dev/null \
         || echo 0)\";;\n    boot) echo \"boot:$(cat boot 2>/dev/null || echo none)\";;\n    *) echo \"$1:0\";;\n    esac\n    shift;;\n  set)\n    \
         echo \"$1 $2\" >>log\n    case $1 in\n    power) echo $2 >power;;\n    boot) echo $2 >boot;;\n    shutdown) echo 0 >power;;\n    esac\n    \
         shift 2;;\n  esac\ndone\n",
        directory.path().display()
    );
    std::fs::write(at("chassis"), script).unwrap();
    std::fs::set_permissions(at("chassis"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let lan = format!(
        "name \"test\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    allowed_auths_callback md5\n    \
         allowed_auths_user md5\n    allowed_auths_operator md5\n    allowed_auths_admin md5\n    guid a123456789abcdefa123456789abcdef\n  \
         endlan\n  chassis_control \"{}\"\n  user 2 true \"admin\" \"s3cret-9\" admin 10 md5\n",
        at("chassis").display()
    );
    std::fs::write(at("lan.conf"), lan).unwrap();
    let setup = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
    std::fs::write(at("sim.emu"), setup).unwrap();
    std::fs::create_dir(at("state")).unwrap();
    let child = Command::new("ipmi_sim")
        .args(["-n", "-c"])
        .arg(at("lan.conf"))
        .arg("-f")
        .arg(at("sim.emu"))
        .arg("-s")
        .arg(at("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Some(Sim { child, port, directory })
}

impl Sim {
    fn config(&self, more: &Value) -> HardwareConfig {
        let mut info = json!({"ipmi_address": "127.0.0.1", "ipmi_port": self.port, "ipmi_username": "admin", "ipmi_password": "s3cret-9",
            "ipmi_cipher_suite": 3});
        for (key, value) in more.as_object().unwrap() {
            info[key] = value.clone();
        }
        HardwareConfig {
            node: "6f1c2b1e-7b0b-4d52-9a0e-0000000000bb".into(),
            driver: "ipmi".into(),
            interfaces: BTreeMap::new(),
            info: Settings(info.as_object().cloned().unwrap()),
            properties: Map::new(),
            target_raid_config: Map::new(),
            power: None,
        }
    }

    fn open(&self, more: &Value) -> Box<dyn Bmc> {
        open(self.config(more)).unwrap()
    }

    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn ready(&self) -> Box<dyn Bmc> {
        let bmc = self.open(&json!({}));
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until && bmc.power().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bmc
    }
}

fn step(name: &str, args: &Value) -> Step {
    Step {
        interface: "vendor".into(),
        step: name.into(),
        args: args.as_object().cloned().unwrap_or_default(),
        priority: 0,
        ..Step::default()
    }
}

#[tokio::test]
async fn power_boot_and_vendor_methods() {
    let Some(sim) = start() else { return };
    let bmc = sim.ready().await;
    assert_eq!(bmc.power().await.unwrap(), PowerState::Off);
    bmc.set_power(PowerAction::Off).await.unwrap();
    bmc.set_power(PowerAction::Reset).await.unwrap();
    assert_eq!(bmc.power().await.unwrap(), PowerState::On);
    bmc.set_power(PowerAction::On).await.unwrap();
    bmc.set_power(PowerAction::Reset).await.unwrap();
    bmc.set_boot(BootDevice::Pxe, true).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap().device, Some(BootDevice::Pxe));
    bmc.set_power(PowerAction::SoftOff).await.unwrap();
    assert_eq!(sim.log(), ["power 1", "reset 1", "boot pxe", "shutdown 1"], "what is so already is not ordered");
    assert_eq!(bmc.power().await.unwrap(), PowerState::Off);
    assert!(matches!(bmc.set_boot(BootDevice::UefiHttp, true).await, Err(BmcError::Unsupported { .. })));
    assert!(bmc.sensors().await.unwrap().is_empty());
    // This simulator knows no interrupt, and says so.
    assert!(matches!(bmc.inject_nmi().await, Err(BmcError::Rejected { .. })));
    bmc.vendor("send_raw", "POST", &json!({"raw_bytes": "0x06 0x01"})).await.unwrap();
    assert!(matches!(bmc.vendor("send_raw", "POST", &json!({"raw_bytes": "0x30 0x99"})).await, Err(BmcError::Rejected { .. })));
    assert!(matches!(bmc.vendor("send_raw", "POST", &json!({"raw_bytes": "; reboot"})).await, Err(BmcError::Rejected { .. })));
    assert!(bmc.vendor("send_raw", "POST", &json!({})).await.is_err());
    assert_eq!(bmc.run_step(&step("send_raw", &json!({"raw_bytes": "0x06 0x01"})), &Value::Null).await.unwrap(), StepProgress::Done);
    let reset = step("bmc_reset", &json!({"warm": false}));
    let StepProgress::Again { memory, .. } = bmc.run_step(&reset, &Value::Null).await.unwrap() else { unreachable!("it waits at first") };
    assert_eq!(bmc.run_step(&reset, &memory).await.unwrap(), StepProgress::Done);
}

#[tokio::test]
async fn a_wrong_password_is_told_from_silence_and_not_shown() {
    let Some(sim) = start() else { return };
    sim.ready().await;
    let wrong = sim.open(&json!({"ipmi_password": "hunter2-wrong"}));
    let error = wrong.power().await.unwrap_err();
    assert!(matches!(error, BmcError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let nobody = sim.open(&json!({"ipmi_username": "nobody"}));
    assert!(matches!(nobody.power().await, Err(BmcError::Denied { .. })));
}

#[tokio::test]
async fn an_old_cipher_suite_is_found_and_a_given_one_is_kept() {
    let Some(sim) = start() else { return };
    sim.ready().await;
    let free = sim.open(&json!({"ipmi_cipher_suite": null}));
    assert!(free.power().await.is_ok());
    let begun = Instant::now();
    assert!(free.power().await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(5), "what the BMC does not tell is asked once: {:?}", begun.elapsed());
    let error = sim.open(&json!({"ipmi_cipher_suite": 17})).power().await;
    assert!(error.is_err(), "this simulator is older than suite 17, and nobody was asked to try another");
}

#[tokio::test]
async fn a_console_holds_no_secret_in_its_arguments() {
    let Some(sim) = start() else { return };
    let console = serial_console(&sim.config(&json!({}))).unwrap();
    let shown = format!("{console:?}");
    assert!(shown.contains("activate") && !shown.contains("s3cret-9"), "{shown}");
    assert!(console.env.iter().any(|(name, value)| *name == "IPMI_PASSWORD" && value == "s3cret-9"));
    assert!(serial_console(&sim.config(&json!({"ipmi_protocol_version": "1.5"}))).is_err());
}
