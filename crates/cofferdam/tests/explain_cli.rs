//! `cofferdam explain` against a running control plane.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::api::{Service, Session, admin_password};
use support::serve::{Serve, Setting};

/// Runs the command as the administrator, with nothing else of the caller's environment; its exit status and what it said.
fn explain(serve: &Serve, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(support::BINARY);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OS_")) {
        command.env_remove(name);
    }
    command.env("OS_AUTH_URL", format!("{}/identity/v3", serve.setting.base()));
    command.env("OS_USERNAME", "admin").env("OS_PASSWORD", admin_password(&serve.setting.state_dir)).env("OS_PROJECT_NAME", "admin");
    let output = support::run_anyway(command.arg("explain").args(words));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn ports_are_explained_by_id_and_by_name() {
    let dir = tempfile::Builder::new().prefix("cofferdam-explain-").tempdir().unwrap();
    let serve = Serve::start(Setting::new(&dir.path().join("state")));
    let admin = Session::admin(&serve.setting.base(), &serve.setting.state_dir);
    let make = |path: &str, single: &str, mut body: Value| {
        body["name"] = body.get("name").cloned().unwrap_or_else(|| json!("n"));
        admin.create(Service::Network, path, single, &json!({ single: body }))
    };
    for (network, cidr) in [("one", "10.0.0.0/24"), ("two", "10.1.0.0/24")] {
        let made = make("/networks", "network", json!({"name": network}));
        let subnet = json!({"name": network, "network_id": made["id"], "ip_version": 4, "cidr": cidr});
        make("/subnets", "subnet", subnet);
        for number in [1, 2] {
            make("/ports", "port", json!({"name": format!("{network}-{number}"), "network_id": made["id"]}));
        }
    }
    let (status, said, error) = explain(&serve, &["one-1", "one-2", "--protocol", "tcp", "--port", "22"]);
    assert_eq!(status, 0, "{said}{error}");
    assert!(said.starts_with("reachable: tcp to port 22 from 10.0.0."), "{said}");
    assert!(said.contains("  + -> both ports are on network "), "{said}");

    let ids = admin.list(Service::Network, "/ports?name=two-1");
    let id = ids[0]["id"].as_str().unwrap();
    let (status, said, error) = explain(&serve, &["one-1", id]);
    assert_eq!(status, 1, "{said}{error}");
    assert!(said.starts_with("not reachable: ") && said.contains("  X -> "), "{said}");

    let (status, said, _) = explain(&serve, &["one-1", id, "--json"]);
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &answer["reachable"], &answer["to"]), (1, &json!(false), &json!(id)));

    let (status, said, error) = explain(&serve, &["one-1", "nobody"]);
    assert_eq!((status, said.as_str()), (2, ""), "{error}");
    assert!(error.contains("there is no port nobody"), "{error}");
}
