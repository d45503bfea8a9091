//! ncclient and pygnmi, which know nothing of us, configure the simulated OpenConfig switch and read it back; netmiko logs in to the
//! simulated switches that are Linux machines or have candidates. They behave as what these clients were written for.
//!
//! Needs the virtual environment that `cargo xtask test` prepares, named by COFFERDAM_TEST_SWITCH_CLIENTS; skipped without.

use lab::netos::{Simulator, Spec};
use serde_json::{Value, json};
use support::{python, run, spec};

#[cfg(test)]
mod support {
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use lab::netos::{HostKey, Spec};
    use serde_json::Value;

    /// The Python that has these packages; prints why if there is none.
    pub(super) fn python(package: &str) -> Option<PathBuf> {
        let Some(clients) = std::env::var_os("COFFERDAM_TEST_SWITCH_CLIENTS") else {
            println!("skipped: COFFERDAM_TEST_SWITCH_CLIENTS does not name a virtual environment with {package} (cargo xtask test does)");
            return None;
        };
        let python = Path::new(&clients).join("bin/python");
        let there = Command::new(&python).args(["-c", &format!("import {package}")]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|it| it.success()) {
            println!("skipped: {} has no {package}", python.display());
            return None;
        }
        Some(python)
    }

    /// Runs a script beside this file on a piece of work.
    pub(super) async fn run(python: PathBuf, script: &'static str, work: &Value) -> Value {
        let input = serde_json::to_vec(work).unwrap();
        let output = tokio::task::spawn_blocking(move || {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
            let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(&input).unwrap();
            child.wait_with_output().unwrap()
        })
        .await
        .unwrap();
        // Clients print of themselves; what the script says is last.
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{text}"))
    }

    pub(super) fn spec(os: &str) -> Spec {
        Spec { password: "s3cret".to_owned(), host_key: HostKey::Shared, ..Spec::new(os, 8) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ncclient_commits_and_lets_a_commit_be_taken_back() {
    let Some(python) = python("ncclient") else { return };
    let switch = Simulator::start(spec("openconfig")).unwrap();
    let work = json!({"port": switch.address().port(), "password": "s3cret", "interface": "Ethernet7", "vlan": 100});
    let seen = run(python, "ncclient_client.py", &work).await;
    assert_eq!(seen.get("error"), None, "{}", seen["error"].as_str().unwrap_or_default());
    let steps =
        ["at first", "candidate", "unconfirmed", "taken back", "confirmed", "saved"].map(|it| seen[it].as_u64().unwrap_or_default());
    assert_eq!(steps, [1, 100, 100, 1, 100, 100]);
    assert_eq!(seen["refused"], json!(["invalid-value", "error", "\"TANK\" is not a valid value"]));
    assert_eq!(seen["state"], true);
    assert!(seen["capabilities"].to_string().contains("confirmed-commit:1.1"), "{seen}");
    assert_eq!(switch.device().carries("Ethernet7").untagged, Some(100));
    assert_eq!(switch.device().startup().ports["Ethernet7"].description, "a & b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pygnmi_sets_and_is_told() {
    let Some(python) = python("pygnmi") else { return };
    let switch = Simulator::start(Spec { gnmi: Some(([127, 0, 0, 1], 0).into()), ..spec("openconfig") }).unwrap();
    let port = switch.gnmi_address().unwrap().port();
    let work = json!({"port": port, "password": "s3cret", "interface": "Ethernet7", "vlan": 100});
    let seen = run(python, "pygnmi_client.py", &work).await;
    assert_eq!(seen.get("error"), None, "{}", seen["error"].as_str().unwrap_or_default());
    assert_eq!((&seen["at first"], &seen["set"]), (&json!(1), &json!(100)));
    assert_eq!(seen["operations"], json!(["REPLACE", "UPDATE"]));
    assert_eq!(seen["told"], json!({"access-vlan": 100, "interface-mode": "ACCESS"}));
    assert!(seen["refused"].as_str().is_some_and(|it| it.contains("out of range")), "{seen}");
    assert_eq!(seen["ports"], 8);
    assert!(switch.device().carries("Ethernet7").is_empty());
}

/// What netmiko does with a switch: its kind, the lines, a line to be refused and what it is refused with, what shows the result.
struct Visit {
    os: &'static str,
    device_type: &'static str,
    lines: &'static [&'static str],
    wrong: (&'static str, &'static str),
    show: (&'static str, &'static str),
    port: &'static str,
    commit: bool,
}

const VISITS: &[Visit] = &[
    Visit {
        os: "juniper_junos",
        device_type: "juniper_junos",
        lines: &[
            "set vlans v100 vlan-id 100",
            "set interfaces xe-0/0/7 unit 0 family ethernet-switching vlan members v100",
            "delete interfaces xe-0/0/7 unit 0 family ethernet-switching vlan members default",
        ],
        wrong: ("set vlans v100 frobnicate", "syntax error."),
        show: ("show configuration interfaces xe-0/0/7 | display set", "vlan members v100"),
        port: "xe-0/0/7",
        commit: true,
    },
    Visit {
        os: "nokia_srl",
        device_type: "nokia_srl",
        lines: &[
            "set / interface ethernet-1/7 vlan-tagging true subinterface 100 type bridged vlan encap untagged",
            "set / network-instance mac-vrf-100 type mac-vrf",
            "set / network-instance mac-vrf-100 interface ethernet-1/7.100",
        ],
        wrong: ("set / frobnicate", "Parsing error: Unknown token 'frobnicate'"),
        show: ("info flat from running / network-instance mac-vrf-100", "set / network-instance mac-vrf-100 interface ethernet-1/7.100"),
        port: "ethernet-1/7",
        commit: true,
    },
    Visit {
        os: "sonic",
        device_type: "linux",
        lines: &["sudo config vlan add 100", "sudo config vlan member add -u 100 Ethernet24"],
        wrong: ("sudo config vlan add 100", "Error: Vlan100 already exists."),
        show: ("show vlan config", "Vlan100"),
        port: "Ethernet24",
        commit: false,
    },
    Visit {
        os: "cumulus_nvue",
        device_type: "linux",
        lines: &[
            "nv set bridge domain br_default vlan 100",
            "nv set interface swp7 bridge domain br_default access 100",
            "nv config apply -y",
        ],
        wrong: ("nv set frobnicate", "Error: Invalid Command"),
        show: ("nv config show -o commands", "nv set interface swp7 bridge domain br_default access 100"),
        port: "swp7",
        commit: false,
    },
    Visit {
        os: "ovs_ssh",
        device_type: "linux",
        lines: &["sudo ovs-vsctl set port eth7 vlan_mode=access tag=100"],
        wrong: ("sudo ovs-vsctl set port eth9 tag=1", "ovs-vsctl: no row \"eth9\" in table port"),
        show: ("ovs-vsctl get port eth7 tag", "100"),
        port: "eth7",
        commit: false,
    },
    Visit {
        os: "frr_linux",
        device_type: "linux",
        lines: &["sudo bridge vlan add dev swp7 vid 100 pvid untagged", "sudo bridge vlan del dev swp7 vid 1"],
        wrong: ("sudo bridge vlan add dev swp9 vid 1", "Cannot find device \"swp9\""),
        show: ("bridge vlan show dev swp7", "100 PVID Egress Untagged"),
        port: "swp7",
        commit: false,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn netmiko_logs_in_to_shells_and_candidates() {
    let Some(python) = python("netmiko") else { return };
    let switches: Vec<Simulator> = VISITS.iter().map(|it| Simulator::start(spec(it.os)).unwrap()).collect();
    let work = |(visit, switch): (&Visit, &Simulator)| {
        json!({
            "device": {
                "device_type": visit.device_type,
                "host": "127.0.0.1",
                "port": switch.address().port(),
                "username": "admin",
                "password": "s3cret",
                "conn_timeout": 30,
            },
            // A shell has no mode to configure in.
            "plain": visit.device_type == "linux",
            "lines": visit.lines,
            "wrong": visit.wrong.0,
            "show": visit.show.0,
            "commit": visit.commit,
            "save": false,
        })
    };
    let works: Vec<Value> = VISITS.iter().zip(&switches).map(work).collect();
    let all = run(python, "netmiko_shells.py", &json!(works)).await;
    for ((visit, switch), seen) in VISITS.iter().zip(&switches).zip(all.as_array().unwrap()) {
        let os = visit.os;
        assert_eq!(seen.get("error"), None, "{os}: {}", seen["error"].as_str().unwrap_or_default());
        assert!(seen["shown"].as_str().unwrap_or_default().contains(visit.show.1), "{os}: {seen}");
        assert!(seen["wrong"].as_str().unwrap_or_default().contains(visit.wrong.1), "{os}: {seen}");
        assert_eq!(switch.device().carries(visit.port).untagged, Some(100), "{os}: {seen}");
    }
}
