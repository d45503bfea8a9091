//! netmiko, which knows nothing of us, logs in to the simulated switches, configures them, saves, and reads back: they behave as the
//! switches that it was written for.
//!
//! Needs the virtual environment that `cargo xtask test` prepares, named by COFFERDAM_TEST_SWITCH_CLIENTS; skipped without.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lab::netos::device::Carried;
use lab::netos::{HostKey, Simulator, Spec};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is done with one operating system.
struct Visit {
    os: &'static str,
    device_type: &'static str,
    /// Must end with the port below in VLAN 100 untagged.
    lines: &'static [&'static str],
    /// A line that the switch must refuse, and with which words.
    wrong: (&'static str, &'static str),
    show: &'static str,
    port: &'static str,
    enable: bool,
    commit: bool,
    /// What shows that a save was done.
    saved: &'static str,
    /// What is shown.
    shown: &'static str,
}

const VISITS: &[Visit] = &[
    Visit {
        os: "cisco_ios",
        device_type: "cisco_ios",
        lines: &[
            "vlan 100",
            "name cofferdam-net",
            "interface GigabitEthernet1/0/7",
            "switchport mode access",
            "switchport access vlan 100",
        ],
        wrong: ("switchport frobnicate", "% Invalid input detected at '^' marker."),
        show: "show running-config",
        port: "GigabitEthernet1/0/7",
        enable: true,
        commit: false,
        saved: "[OK]",
        shown: "interface GigabitEthernet1/0/7\n switchport access vlan 100\n switchport mode access\n",
    },
    Visit {
        os: "arista_eos",
        device_type: "arista_eos",
        lines: &["vlan 100", "name cofferdam-net", "interface Ethernet7", "switchport mode access", "switchport access vlan 100"],
        wrong: ("frobnicate", "% Invalid input"),
        show: "show running-config",
        port: "Ethernet7",
        enable: true,
        commit: false,
        saved: "Copy completed successfully.",
        shown: "interface Ethernet7\n   switchport access vlan 100\n",
    },
    Visit {
        os: "cisco_nxos",
        device_type: "cisco_nxos",
        lines: &["vlan 100", "name cofferdam-net", "interface Ethernet1/7", "switchport mode access", "switchport access vlan 100"],
        wrong: ("frobnicate", "% Invalid command at '^' marker."),
        show: "show running-config",
        port: "Ethernet1/7",
        enable: false,
        commit: false,
        saved: "Copy complete.",
        shown: "interface Ethernet1/7\n  switchport access vlan 100\n",
    },
    Visit {
        os: "dell_os10",
        device_type: "dell_os10",
        lines: &[
            "interface vlan100",
            "description cofferdam-net",
            "exit",
            "interface ethernet1/1/7",
            "switchport mode access",
            "switchport access vlan 100",
        ],
        wrong: ("frobnicate", "% Error: Unrecognized command."),
        show: "show running-configuration",
        port: "ethernet1/1/7",
        enable: false,
        commit: false,
        saved: "copy running-configuration startup-configuration",
        shown: "interface ethernet1/1/7\n no shutdown\n switchport access vlan 100\n",
    },
    Visit {
        os: "aruba_aoscx",
        device_type: "aruba_aoscx",
        lines: &["vlan 100", "name cofferdam-net", "interface 1/1/7", "no routing", "vlan access 100"],
        wrong: ("frobnicate", "Invalid input: frobnicate"),
        show: "show running-config",
        port: "1/1/7",
        enable: false,
        commit: false,
        saved: "Copying configuration: [Success]",
        shown: "interface 1/1/7\n    no shutdown\n    no routing\n    vlan access 100\n",
    },
    Visit {
        os: "hpe_comware",
        device_type: "hp_comware",
        lines: &["vlan 100", "name cofferdam-net", "quit", "interface GigabitEthernet1/0/7", "port access vlan 100"],
        wrong: ("frobnicate", " % Unrecognized command found at '^' position."),
        show: "display current-configuration",
        port: "GigabitEthernet1/0/7",
        enable: false,
        commit: false,
        saved: "Saved the current configuration to mainboard device successfully.",
        shown: "interface GigabitEthernet1/0/7\n port link-mode bridge\n port access vlan 100\n",
    },
    Visit {
        os: "huawei_vrp",
        device_type: "huawei_vrpv8",
        lines: &["vlan 100", "name cofferdam-net", "quit", "interface 10GE1/0/7", "port default vlan 100"],
        wrong: ("frobnicate", "Error: Unrecognized command found at '^' position."),
        show: "display current-configuration",
        port: "10GE1/0/7",
        enable: false,
        commit: true,
        saved: "Info: Save the configuration successfully.",
        shown: "interface 10GE1/0/7\n port default vlan 100\n",
    },
    Visit {
        os: "mellanox_mlnxos",
        device_type: "mellanox_mlnxos",
        lines: &[
            "vlan 100",
            "name cofferdam-net",
            "exit",
            "interface ethernet 1/7",
            "switchport mode access",
            "switchport access vlan 100",
        ],
        wrong: ("frobnicate", "% Unrecognized command \"frobnicate\"."),
        show: "show running-config",
        port: "Eth1/7",
        enable: false,
        commit: false,
        saved: "(config) # ",
        shown: "   interface ethernet 1/7 switchport access vlan 100\n",
    },
];

#[derive(Deserialize, Debug)]
struct Seen {
    error: Option<String>,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    config: String,
    #[serde(default)]
    wrong: String,
    #[serde(default)]
    saved: String,
    #[serde(default)]
    shown: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn netmiko_configures_every_simulated_switch() {
    let Some(clients) = std::env::var_os("COFFERDAM_TEST_SWITCH_CLIENTS") else {
        println!("skipped: COFFERDAM_TEST_SWITCH_CLIENTS does not name a virtual environment with netmiko (cargo xtask test does)");
        return;
    };
    let simulators: Vec<Simulator> = VISITS
        .iter()
        .map(|visit| {
            let spec = Spec {
                password: "s3cret".to_owned(),
                enable_password: visit.enable.then(|| "en4ble".to_owned()),
                host_key: HostKey::Shared,
                ..Spec::new(visit.os, 48)
            };
            Simulator::start(spec).unwrap()
        })
        .collect();
    let works: Vec<Value> = VISITS
        .iter()
        .zip(&simulators)
        .map(|(visit, simulator)| {
            json!({
                "device": {
                    "device_type": visit.device_type,
                    "host": "127.0.0.1",
                    "port": simulator.address().port(),
                    "username": "admin",
                    "password": "s3cret",
                    "secret": if visit.enable { "en4ble" } else { "" },
                    "conn_timeout": 30,
                },
                "lines": visit.lines,
                "wrong": visit.wrong.0,
                "show": visit.show,
                "commit": visit.commit,
                "save": !visit.saved.is_empty(),
            })
        })
        .collect();
    let python = Path::new(&clients).join("bin/python");
    let input = serde_json::to_vec(&works).unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netmiko_client.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    let all: Vec<Seen> = serde_json::from_slice(&output.stdout).unwrap();
    for ((visit, simulator), seen) in VISITS.iter().zip(&simulators).zip(all) {
        let os = visit.os;
        println!("{os}: {:.1} s", seen.seconds);
        assert_eq!(seen.error, None, "{os}: {}", seen.error.clone().unwrap_or_default());
        assert!(seen.prompt.contains("leaf1"), "{os}: {seen:#?}");
        assert!(!seen.config.contains('%') && !seen.config.contains("Error"), "{os}: {}", seen.config);
        assert!(seen.wrong.contains(visit.wrong.1), "{os}: {}", seen.wrong);
        assert!(seen.saved.contains(visit.saved), "{os}: {}", seen.saved);
        assert!(seen.shown.contains(visit.shown), "{os}: {}", seen.shown);
        let device = simulator.device();
        assert_eq!(device.carries(visit.port), Carried { untagged: Some(100), ..Carried::default() }, "{os}");
        assert_eq!(device.running(), device.startup(), "{os}: what was saved is what runs");
        let counts = device.faults().counts();
        assert_eq!((counts.logins, counts.saves), (1, u64::from(!visit.saved.is_empty())), "{os}");
    }
}
