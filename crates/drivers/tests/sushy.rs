//! What is done to Redfish BMCs, against OpenStack's own emulator of one, unmodified (`sushy-tools` of PyPI), with and without TLS and an
//! account. The first run installs it into the cache (`COFFERDAM_CACHE`, else `~/.cache/cofferdam`); `COFFERDAM_TEST_SUSHY` names another
//! `sushy-emulator`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside of test functions")]

mod ports;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use drivers::bmc::{Bmc, BmcError, BootDevice, BootMode, HardwareConfig, PowerAction, PowerState, open};
use model::baremetal::Interface;
use model::secret::Settings;
use serde_json::{Map, Value, json};

const PACKAGE: &str = "sushy-tools==2.2.0";
/// The account `admin` with the password `password`, as the emulator's documentation has it.
const ACCOUNT: &str = "admin:$2y$05$mYl8KMwM94l4LR/sw1teIeA6P2u8gfX16e8wvT7NmGgAM5r9jgLl.\n";

/// The emulator's program, installed once for all tests of this process.
fn program() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

/// Given, or installed into the cache; `None` with the reason printed.
fn find() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("COFFERDAM_TEST_SUSHY") {
        return Some(given.into());
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/cofferdam");
    let dir = std::env::var_os("COFFERDAM_CACHE").map_or_else(home, PathBuf::from).join("sushy-tools");
    let (program, stamp) = (dir.join("bin/sushy-emulator"), dir.join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|it| it == PACKAGE) {
        return Some(program);
    }
    std::fs::create_dir_all(&dir).unwrap();
    let done = |command: &mut Command| command.stdin(Stdio::null()).status().is_ok_and(|it| it.success());
    if !done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir)) {
        eprintln!("skipped: python3 makes no virtual environment (Debian: python3-venv)");
        return None;
    }
    if !done(Command::new(dir.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", "--no-input", PACKAGE])) {
        eprintln!("skipped: {PACKAGE} cannot be installed from PyPI");
        return None;
    }
    std::fs::write(&stamp, PACKAGE).unwrap();
    Some(program)
}

struct Emulator {
    child: Child,
    address: String,
    certificate: Option<String>,
    _directory: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("the emulator could not be ended: {error}");
        }
    }
}

impl Emulator {
    /// Starts it; with an account it speaks TLS.
    fn start(with_account: bool) -> Option<Self> {
        let program = program()?;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let port = ports::free(24_000, 3_000, |port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let mut settings = format!("SUSHY_EMULATOR_STATE_DIR = '{}'\n", at("state").display());
        std::fs::create_dir(at("state")).unwrap();
        let mut command = Command::new(program);
        let mut certificate = None;
        if with_account {
            let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
            std::fs::write(at("cert.pem"), made.cert.pem()).unwrap();
            std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
            std::fs::write(at("htpasswd"), ACCOUNT).unwrap();
            settings.push_str(&format!("SUSHY_EMULATOR_AUTH_FILE = '{}'\n", at("htpasswd").display()));
            command.arg("--ssl-certificate").arg(at("cert.pem")).arg("--ssl-key").arg(at("key.pem"));
            certificate = Some(made.cert.pem());
        }
        std::fs::write(at("emulator.conf"), settings).unwrap();
        let child = command
            .args(["--fake", "-i", "127.0.0.1", "-p", &port.to_string(), "--config"])
            .arg(at("emulator.conf"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("{}://127.0.0.1:{port}", if with_account { "https" } else { "http" });
        Some(Self { child, address, certificate, _directory: directory })
    }

    fn try_open(&self, more: &Value) -> Result<Box<dyn Bmc>, BmcError> {
        let mut info = json!({"redfish_address": self.address});
        if let Some(certificate) = &self.certificate {
            info["redfish_verify_ca"] = json!(certificate);
            info["redfish_username"] = json!("admin");
            info["redfish_password"] = json!("password");
        }
        for (key, value) in more.as_object().unwrap() {
            info[key] = value.clone();
        }
        open(HardwareConfig {
            node: "6f1c2b1e-7b0b-4d52-9a0e-0000000000cc".into(),
            driver: "redfish".into(),
            interfaces: BTreeMap::from([(Interface::Inspect, "redfish".into())]),
            info: Settings(info.as_object().cloned().unwrap()),
            properties: Map::new(),
            target_raid_config: Map::new(),
            power: None,
        })
    }

    async fn ready(&self) -> Box<dyn Bmc> {
        let bmc = self.try_open(&json!({})).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match bmc.power().await {
                Ok(_) => return bmc,
                Err(error) if Instant::now() > until => panic!("the emulator does not come up: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

/// The emulated machine takes up to eleven seconds.
async fn comes_to_be(bmc: &dyn Bmc, wanted: PowerState) {
    let until = Instant::now() + Duration::from_secs(40);
    while bmc.power().await.unwrap() != wanted {
        assert!(Instant::now() < until, "it does not come to be {wanted:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn everything_that_the_emulator_can() {
    let Some(emulator) = Emulator::start(false) else { return };
    let bmc = emulator.ready().await;
    assert_eq!(bmc.power().await.unwrap(), PowerState::Off);

    bmc.set_boot(BootDevice::Pxe, true).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap().device, Some(BootDevice::Pxe));
    bmc.set_boot(BootDevice::Cdrom, false).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap().device, Some(BootDevice::Cdrom));
    // Taken; the emulator makes PXE of it.
    bmc.set_boot(BootDevice::UefiHttp, false).await.unwrap();
    let devices = bmc.supported_boot_devices().await.unwrap();
    assert!(devices.contains(&BootDevice::Cdrom) && !devices.contains(&BootDevice::Bios), "{devices:?}");
    assert!(matches!(bmc.set_boot(BootDevice::Bios, true).await, Err(BmcError::Unsupported { .. })));

    assert_eq!(bmc.boot_mode().await.unwrap(), Some(BootMode::Uefi));
    assert_eq!(bmc.secure_boot().await.unwrap(), Some(false));
    bmc.set_secure_boot(true).await.unwrap();
    assert_eq!(bmc.secure_boot().await.unwrap(), Some(true));
    bmc.set_secure_boot(false).await.unwrap();
    bmc.set_boot_mode(BootMode::Bios).await.unwrap();
    assert_eq!(bmc.boot_mode().await.unwrap(), Some(BootMode::Bios));

    let inventory = bmc.inventory().await.unwrap();
    assert_eq!(inventory["interfaces"][0]["mac_address"], "00:5c:52:31:3a:9c");
    assert_eq!(inventory["system_vendor"]["manufacturer"], "Sushy Emulator");
    assert_eq!(bmc.health().await.unwrap().as_deref(), Some("OK"));
    let sensors = bmc.sensors().await.unwrap();
    assert!(sensors.iter().all(|it| it.value.is_finite()), "{sensors:?}");

    bmc.set_power(PowerAction::On).await.unwrap();
    comes_to_be(bmc.as_ref(), PowerState::On).await;
    bmc.set_power(PowerAction::SoftOff).await.unwrap();
    comes_to_be(bmc.as_ref(), PowerState::Off).await;
}

#[tokio::test]
async fn media_are_fetched_by_the_emulator_itself() {
    let Some(emulator) = Emulator::start(false) else { return };
    let bmc = emulator.ready().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("http://{}/boot.iso", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(|| async { "an image" });
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    bmc.insert_media("cdrom", &image).await.unwrap();
    let media = bmc.virtual_media().await.unwrap();
    let cd = media.iter().find(|it| it.device_type == "cdrom").unwrap();
    assert!(cd.inserted, "{media:?}");
    bmc.eject_media(None).await.unwrap();
    assert!(bmc.virtual_media().await.unwrap().iter().all(|it| !it.inserted));
    // What cannot be fetched is not in.
    server.abort();
    assert!(bmc.insert_media("cdrom", "http://127.0.0.1:1/none.iso").await.is_err());
}

#[tokio::test]
async fn with_tls_and_an_account() {
    let Some(emulator) = Emulator::start(true) else { return };
    let bmc = emulator.ready().await;
    bmc.set_boot(BootDevice::Disk, true).await.unwrap();
    assert_eq!(bmc.boot_device().await.unwrap().device, Some(BootDevice::Disk));
    let blind = emulator.try_open(&json!({"redfish_verify_ca": false})).unwrap();
    assert_eq!(blind.power().await.unwrap(), PowerState::Off);
    let wrong = emulator.try_open(&json!({"redfish_password": "hunter2-wrong"})).unwrap();
    let error = wrong.power().await.unwrap_err();
    assert!(matches!(error, BmcError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    // Another certificate than the pinned one is nobody we know.
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let stranger = emulator.try_open(&json!({ "redfish_verify_ca": other })).unwrap();
    assert!(matches!(stranger.power().await, Err(BmcError::Unreachable { .. })));
    // And without one nobody is believed.
    assert!(matches!(emulator.try_open(&json!({"redfish_verify_ca": true})), Err(BmcError::Config { .. })));
}
