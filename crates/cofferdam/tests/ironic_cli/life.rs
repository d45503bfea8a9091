//! The life of nodes: every verb.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::wait_for;

use super::shell::{Shell, text};

/// A step that fake hardware does without a ramdisk.
const BIOS: &str = r#"{"interface": "bios", "step": "apply_configuration", "args": {"settings": [{"name": "fan", "value": "fast"}]}}"#;

/// From enrolment through a tenant's hands and back.
pub fn all(it: &Shell) {
    it.node("cli-l1", "--resource-class cli-l");
    it.ok("baremetal node manage cli-l1 --wait 60");
    assert_eq!(text(&it.json("baremetal node show cli-l1"), "provision_state"), "manageable");
    it.ok("baremetal node inspect cli-l1 --wait 60");
    let node = it.json("baremetal node show cli-l1");
    assert_eq!((text(&node, "provision_state"), &node["last_error"]), ("manageable", &Value::Null));
    assert!(node["inspection_finished_at"].is_string(), "{node}");
    inventory(it);

    it.with("baremetal node clean cli-l1 --wait 60 --clean-steps", &[&format!("[{BIOS}]")]);
    let hold = &*format!(r#"[{{"interface": "deploy", "step": "hold"}}, {BIOS}]"#);
    it.with("baremetal node clean cli-l1 --clean-steps", &[hold]);
    it.becomes("cli-l1", "provision_state", &json!("clean hold"));
    it.ok("baremetal node unhold cli-l1");
    it.becomes("cli-l1", "provision_state", &json!("manageable"));
    it.with("baremetal node clean cli-l1 --clean-steps", &[hold]);
    it.becomes("cli-l1", "provision_state", &json!("clean hold"));
    it.ok("baremetal node abort cli-l1");
    it.becomes("cli-l1", "provision_state", &json!("clean failed"));
    it.ok("baremetal node maintenance unset cli-l1");
    it.ok("baremetal node manage cli-l1 --wait 60");

    it.ok("baremetal node provide cli-l1 --wait 120");
    assert_eq!(text(&it.json("baremetal node show cli-l1"), "provision_state"), "available");
    it.refused("baremetal node rescue cli-l1 --rescue-password x", &["available"]);
    it.ok("baremetal node set cli-l1 --instance-info image_source=http://127.0.0.1:9/image --instance-info image_checksum=d41d8cd98f00b204e9800998ecf8427e");
    it.with("baremetal node deploy cli-l1 --wait 60 --config-drive", &[r#"{"meta_data": {"hostname": "h1"}}"#]);
    let node = it.json("baremetal node show cli-l1");
    assert_eq!((text(&node, "provision_state"), &node["target_provision_state"]), ("active", &Value::Null));
    it.refused("baremetal node delete cli-l1", &["active"]);
    it.ok("baremetal node rebuild cli-l1 --wait 60");
    it.ok("baremetal node rescue cli-l1 --rescue-password secret --wait 60");
    assert_eq!(text(&it.json("baremetal node show cli-l1"), "provision_state"), "rescue");
    it.ok("baremetal node unrescue cli-l1 --wait 60");
    let steps = r#"[{"interface": "vendor", "step": "log_passthrough"}]"#;
    it.with("baremetal node service cli-l1 --wait 60 --service-steps", &[steps]);
    let node = it.json("baremetal node show cli-l1");
    assert_eq!((text(&node, "provision_state"), &node["last_error"]), ("active", &Value::Null));
    it.ok("baremetal node set cli-l1 --protected --protected-reason needed");
    it.refused("baremetal node undeploy cli-l1", &["protected"]);
    it.ok("baremetal node unset cli-l1 --protected");
    it.ok("baremetal node undeploy cli-l1 --wait 120");
    let node = it.json("baremetal node show cli-l1");
    assert_eq!((text(&node, "provision_state"), &node["instance_info"]), ("available", &json!({})));

    let history = it.json("baremetal node history list cli-l1");
    let event = text(&history[0], "uuid").to_owned();
    let event = it.json(&format!("baremetal node history get cli-l1 {event}"));
    assert!(event["event"].is_string() && event["severity"].is_string(), "{event}");
    it.refused("baremetal node history get cli-l1 8c5b7fb2-60c2-4bba-9a0c-5b7fb260c24b", &["8c5b7fb2"]);
    it.ok("baremetal node delete cli-l1");

    it.node("cli-l2", "--resource-class cli-l");
    it.ok("baremetal node manage cli-l2 --wait 60");
    it.ok("baremetal node set cli-l2 --instance-info image_source=http://127.0.0.1:9/image --instance-info image_checksum=d41d8cd98f00b204e9800998ecf8427e");
    it.ok("baremetal node adopt cli-l2 --wait 60");
    assert_eq!(text(&it.json("baremetal node show cli-l2"), "provision_state"), "active");
    it.ok("baremetal node maintenance set cli-l2");
    it.ok("baremetal node delete cli-l2");
}

/// What inspection found, in a file. Fake hardware finds nothing by itself: a ramdisk that is none tells.
fn inventory(it: &Shell) {
    it.refused("baremetal node inventory save cli-l1", &["inventory"]);
    if !it.is_ours() {
        return;
    }
    let node = it.node("cli-l3", "--inspect-interface agent");
    it.ok(&format!("baremetal port create 52:54:00:0c:13:01 --node {node}"));
    it.ok("baremetal node manage cli-l3 --wait 60");
    it.ok("baremetal node inspect cli-l3");
    let sent =
        json!({"inventory": {"interfaces": [{"name": "eth0", "mac_address": "52:54:00:0c:13:01"}], "cpu": {"count": 4}}, "error": null});
    wait_for("the inventory is taken", Duration::from_secs(60), || match it.post("/v1/continue_inspection", &sent).as_str() {
        "202" => Ok(()),
        other => Err(other.to_owned()),
    });
    it.becomes("cli-l3", "provision_state", &json!("manageable"));
    let file = it.dir.join("inventory.json");
    it.with("baremetal node inventory save cli-l3 --file", &[file.to_str().unwrap()]);
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(saved["inventory"]["cpu"]["count"], json!(4), "{saved}");
    it.ok("baremetal node delete cli-l3");
}
