//! `cofferdam policy`: the rules in force, and why one answers as it does.
#![cfg(test)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn policy(state_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.env_remove("COFFERDAM_STATE_DIR").args(["policy", arguments[0], "--state-dir"]).arg(state_dir);
    command.args(&arguments[1..]).output().unwrap()
}

#[track_caller]
fn said(output: &Output, status: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{}{}", text(&output.stdout), text(&output.stderr));
    text(if status == 2 { &output.stderr } else { &output.stdout })
}

fn listed(state_dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["list", "--json"], arguments].concat();
    serde_json::from_str(&said(&policy(state_dir, &arguments), 0)).unwrap()
}

fn names(rules: &[Value]) -> Vec<&str> {
    rules.iter().map(|rule| rule["name"].as_str().unwrap()).collect()
}

#[test]
fn rules_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let all = listed(dir.path(), &[]);
    for (service, rule) in [
        ("identity", "identity:list_users"),
        ("network", "create_network"),
        ("baremetal", "baremetal:node:get"),
        ("image", "add_image"),
        ("compute", "os_compute_api:os-keypairs:create"),
        ("container-infra", "cluster:create"),
    ] {
        let of_service = listed(dir.path(), &["--service", service]);
        assert!(of_service.len() < all.len());
        assert!(of_service.iter().all(|it| it["service"] == service), "{service}");
        assert!(names(&of_service).contains(&rule), "{rule}");
    }
    let shown = all.iter().find(|it| it["name"] == "create_network:shared").unwrap();
    let expected = json!({
        "name": "create_network:shared", "service": "network", "check": "rule:network:context_is_admin",
        "default": "rule:network:context_is_admin", "overridden": false, "scopes": ["project"],
        "description": "Create a network shared with all", "operations": [{"method": "POST", "path": "/v2.0/networks"}],
    });
    assert_eq!(*shown, expected);
    assert!(said(&policy(dir.path(), &["list", "--service", "dns"]), 2).contains("dns"));

    // What is printed is a policy.yaml that changes nothing.
    assert_eq!(said(&policy(dir.path(), &["list", "--overridden"]), 0), "{}\n");
    let printed = said(&policy(dir.path(), &["list"]), 0);
    assert!(printed.contains("\"create_network:shared\": \"rule:network:context_is_admin\"\n"), "{printed}");
    let file = dir.path().join("same.yaml");
    std::fs::write(&file, printed).unwrap();
    let same = listed(dir.path(), &["--file", file.to_str().unwrap()]);
    assert_eq!(names(&same), names(&all));

    std::fs::write(dir.path().join("policy.yaml"), "create_network:shared: role:member\nstaff: role:admin\n").unwrap();
    let changed = listed(dir.path(), &["--overridden"]);
    assert_eq!(names(&changed), ["create_network:shared", "staff"]);
    assert_eq!((&changed[0]["check"], &changed[0]["default"]), (&json!("role:member"), &json!("rule:network:context_is_admin")));
    assert_eq!((&changed[1]["service"], &changed[1]["default"]), (&Value::Null, &Value::Null));
    assert_eq!(names(&listed(dir.path(), &["--overridden", "--service", "network"])), ["create_network:shared"]);
}

#[test]
fn a_rule_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    for (status, words, arguments) in [
        (0, "create_network: allowed", &["create_network", "--roles", "member", "--project-id", "p", "--target", "project_id=p"][..]),
        (1, "create_network: denied", &["create_network", "--roles", "member", "--project-id", "p", "--target", "project_id=q"]),
        (1, "roles are reader", &["create_network", "--roles", "reader", "--project-id", "p", "--target", "project_id=p"]),
        (0, "allowed", &["get_network", "--roles", "member", "--project-id", "p", "--target", "shared=true"]),
        (1, "denied", &["get_network", "--roles", "member", "--exact-roles", "--project-id", "p", "--target", "shared=true"]),
        (1, "the target has no project_id", &["create_network", "--roles", "member", "--project-id", "p"]),
        (1, "needs a token of scope project", &["create_network", "--roles", "admin", "--system"]),
        (0, "allowed", &["baremetal:node:get", "--roles", "reader", "--system"]),
        (0, "allowed", &["baremetal:node:vif:attach", "--roles", "manager,auditor", "--project-id", "p", "--target", "node.lessee=p"]),
        (1, "denied", &["baremetal:node:vif:attach", "--roles", "member", "--project-id", "p", "--target", "node.lessee=p"]),
        (0, "allowed", &["os_compute_api:os-keypairs:show", "--user-id", "u", "--project-id", "p", "--target", "user_id=u"]),
        (
            0,
            "allowed",
            &["identity:get_domain", "--roles", "reader", "--domain-id", "d", "--user-domain-id", "d", "--target", "target.domain.id=d"],
        ),
    ] {
        let said = said(&policy(dir.path(), &[&["check"], arguments].concat()), status);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    for (words, arguments) in [
        ("no rule create_netwok", &["create_netwok", "--roles", "admin"][..]),
        ("cannot be used with", &["create_network", "--project-id", "p", "--system"]),
        ("key=value", &["create_network", "--target", "project_id"]),
        ("none.yaml", &["create_network", "--file", "/nowhere/none.yaml"]),
        ("RULE", &[]),
    ] {
        let said = said(&policy(dir.path(), &[&["check"], arguments].concat()), 2);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let ask = ["check", "create_network", "--roles", "auditor", "--project-id", "p"];
    std::fs::write(dir.path().join("policy.yaml"), "create_network: role:auditor\n").unwrap();
    said(&policy(dir.path(), &ask), 0);
    std::fs::write(dir.path().join("policy.yaml"), "get_network: '@'\ncreate_network: role:auditor or\n").unwrap();
    let wrong = said(&policy(dir.path(), &ask), 2);
    assert!(wrong.contains("line 2") && wrong.contains("create_network"), "{wrong}");
}
