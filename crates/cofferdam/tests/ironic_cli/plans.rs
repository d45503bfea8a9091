//! What is planned beside nodes: allocations, deploy templates, runbooks, inspection rules.

use serde_json::{Value, json};

use super::shell::{Shell, text};

/// Each made, shown, listed, changed, used where that can be, and gone.
pub fn all(it: &Shell) {
    allocation(it);
    deploy_template(it);
    runbook(it);
    inspection_rule(it);
}

fn allocation(it: &Shell) {
    // Whoever asks in a project is given what is the project's.
    let owner = if it.is_ours() { format!("--owner {}", text(&it.json("token issue"), "project_id")) } else { String::new() };
    let node = it.node("cli-a1", &format!("--resource-class cli-a {owner}"));
    it.ok("baremetal node trait add cli-a1 CUSTOM_CLI_A");
    it.ok("baremetal node manage cli-a1 --wait 60");
    // Only what has a known power is given out.
    it.ok("baremetal node power off cli-a1");
    it.becomes("cli-a1", "power_state", &json!("power off"));
    it.ok("baremetal node provide cli-a1 --wait 120");
    let made = it.json("baremetal allocation create --name cli-one --resource-class cli-a --trait CUSTOM_CLI_A --extra a=b --wait 60");
    assert_eq!((text(&made, "name"), text(&made, "state"), text(&made, "node_uuid")), ("cli-one", "active", node.as_str()));
    let uuid = text(&made, "uuid").to_owned();
    let shown = it.json("baremetal node show cli-a1");
    assert_eq!((text(&shown, "allocation_uuid"), text(&shown, "instance_uuid")), (uuid.as_str(), uuid.as_str()));
    it.ok("baremetal allocation set cli-one --name cli-two --extra c=d");
    it.ok("baremetal allocation unset cli-two --extra a");
    let shown = it.json("baremetal allocation show cli-two");
    assert_eq!((text(&shown, "uuid"), &shown["extra"]), (uuid.as_str(), &json!({"c": "d"})));
    assert_eq!(it.column("baremetal allocation list --resource-class cli-a --state active", "name"), ["cli-two"]);
    it.ok("baremetal allocation delete cli-two");
    it.refused("baremetal allocation show cli-two", &["cli-two"]);
    let shown = it.json("baremetal node show cli-a1");
    assert_eq!((&shown["allocation_uuid"], &shown["instance_uuid"]), (&Value::Null, &Value::Null));
    it.ok("baremetal node delete cli-a1");
    it.refused("baremetal allocation create --name cli-none --resource-class cli-nothing --wait 60", &["cli-nothing"]);
    assert_eq!(text(&it.json("baremetal allocation show cli-none"), "state"), "error");
    it.ok("baremetal allocation delete cli-none");
}

fn deploy_template(it: &Shell) {
    let steps = |priority: u8| {
        let setting = json!({"settings": [{"name": "turbo", "value": "on"}]});
        json!([{"interface": "bios", "step": "apply_configuration", "args": setting, "priority": priority}]).to_string()
    };
    let made = it.json_with("baremetal deploy template create CUSTOM_CLI_T1 --extra a=b --steps", &[&steps(150)]);
    assert_eq!((text(&made, "name"), &made["steps"][0]["priority"]), ("CUSTOM_CLI_T1", &json!(150)));
    it.refused("baremetal deploy template create CUSTOM_CLI_T0 --steps []", &["non-empty"]);
    it.with("baremetal deploy template set CUSTOM_CLI_T1 --name CUSTOM_CLI_T2 --steps", &[&steps(90)]);
    let shown = it.json("baremetal deploy template show CUSTOM_CLI_T2");
    assert_eq!((text(&shown, "uuid"), &shown["steps"][0]["priority"]), (text(&made, "uuid"), &json!(90)));
    assert_eq!(text(&shown["steps"][0], "interface"), "bios");
    it.ok("baremetal deploy template unset CUSTOM_CLI_T2 --extra a");
    assert_eq!(it.json("baremetal deploy template show CUSTOM_CLI_T2")["extra"], json!({}));
    assert!(it.column("baremetal deploy template list", "name").contains(&"CUSTOM_CLI_T2".to_owned()));
    it.ok("baremetal deploy template delete CUSTOM_CLI_T2");
    it.refused("baremetal deploy template show CUSTOM_CLI_T2", &["CUSTOM_CLI_T2"]);
}

fn runbook(it: &Shell) {
    let steps =
        r#"[{"interface": "bios", "step": "apply_configuration", "args": {"settings": [{"name": "book", "value": "read"}]}, "order": 1}]"#;
    let made = it.json_with("baremetal runbook create --name CUSTOM_CLI_R1 --extra a=b --steps", &[steps]);
    assert_eq!(
        (text(&made, "name"), &made["public"], text(&made["steps"][0], "step")),
        ("CUSTOM_CLI_R1", &json!(false), "apply_configuration")
    );
    it.refused("baremetal runbook show CUSTOM_CLI_NONE", &["CUSTOM_CLI_NONE"]);
    it.ok("baremetal runbook set CUSTOM_CLI_R1 --description words --extra c=d");
    it.ok("baremetal runbook trait add CUSTOM_CLI_R1 CUSTOM_CLI_BOOK CUSTOM_CLI_SHELF");
    it.ok("baremetal runbook trait remove CUSTOM_CLI_R1 CUSTOM_CLI_SHELF");
    let traits = it.json("baremetal runbook trait list CUSTOM_CLI_R1").to_string();
    assert!(traits.contains("CUSTOM_CLI_BOOK") && !traits.contains("CUSTOM_CLI_SHELF"), "{traits}");

    // It is for nodes that share a trait with it.
    it.node("cli-r1", "");
    it.ok("baremetal node manage cli-r1 --wait 60");
    it.refused("baremetal node clean cli-r1 --runbook CUSTOM_CLI_R1", &["not been approved"]);
    it.ok("baremetal node trait add cli-r1 CUSTOM_CLI_BOOK");
    it.ok("baremetal node clean cli-r1 --runbook CUSTOM_CLI_R1 --wait 60");
    let settings = it.json("baremetal node bios setting list cli-r1");
    assert!(settings.to_string().contains("book"), "{settings}");
    it.ok("baremetal node delete cli-r1");

    it.ok("baremetal runbook unset CUSTOM_CLI_R1 --extra a --description");
    let shown = it.json("baremetal runbook show CUSTOM_CLI_R1");
    assert_eq!((&shown["extra"], &shown["description"]), (&json!({"c": "d"}), &Value::Null));
    assert!(it.column("baremetal runbook list", "name").contains(&"CUSTOM_CLI_R1".to_owned()));
    it.ok("baremetal runbook delete CUSTOM_CLI_R1");
    it.refused("baremetal runbook show CUSTOM_CLI_R1", &["CUSTOM_CLI_R1"]);
}

fn inspection_rule(it: &Shell) {
    let conditions = r#"[{"op": "eq", "args": ["{inventory[system_vendor][manufacturer]}", "Acme"]}]"#;
    let actions = r#"[{"op": "set-attribute", "args": {"path": "/extra/vendor", "value": "acme"}}]"#;
    let line = "baremetal inspection rule create --description cli-rule";
    let made = it.json_with(line, &["--conditions", conditions, "--actions", actions]);
    assert_eq!((text(&made, "description"), text(&made, "phase"), text(&made["actions"][0], "op")), ("cli-rule", "main", "set-attribute"));
    let uuid = text(&made, "uuid").to_owned();
    let conditions = r#"[{"op": "is-true", "args": ["{inventory[cpu]}"]}]"#;
    it.with(&format!("baremetal inspection rule set {uuid} --description cli-other --conditions"), &[conditions]);
    let shown = it.json(&format!("baremetal inspection rule show {uuid}"));
    assert_eq!((text(&shown, "description"), text(&shown["conditions"][0], "op")), ("cli-other", "is-true"));
    it.ok(&format!("baremetal inspection rule unset {uuid} --description"));
    assert_eq!(it.json(&format!("baremetal inspection rule show {uuid}"))["description"], Value::Null);
    assert!(it.json("baremetal inspection rule list").to_string().contains(&uuid));
    it.ok(&format!("baremetal inspection rule delete {uuid}"));
    it.refused(&format!("baremetal inspection rule show {uuid}"), &[&uuid]);
}
