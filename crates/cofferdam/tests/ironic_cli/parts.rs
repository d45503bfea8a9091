//! What belongs to nodes: cards, groups of cards, enclosures, volumes; and all of it from files.

use serde_json::{Value, json};

use super::shell::{Shell, text};

/// Each thing made, shown, listed, changed, and gone.
pub fn all(it: &Shell) {
    let chassis = chassis(it);
    let node = it.node("cli-p1", &format!("--chassis-uuid {chassis}"));
    assert_eq!(it.column(&format!("baremetal node list --chassis {chassis}"), "uuid"), [node.as_str()]);
    let group = group(it, &node);
    port(it, &node, &group);
    it.ok(&format!("baremetal port group delete {group}"));
    it.refused(&format!("baremetal port group show {group}"), &[&group]);
    it.ok("baremetal node manage cli-p1 --wait 60");
    it.ok("baremetal node power off cli-p1");
    it.becomes("cli-p1", "power_state", &json!("power off"));
    connector(it, &node);
    target(it, &node);
    it.ok("baremetal node delete cli-p1");
    it.ok(&format!("baremetal chassis delete {chassis}"));
    it.refused(&format!("baremetal chassis show {chassis}"), &[&chassis]);
    from_file(it);
}

fn chassis(it: &Shell) -> String {
    let made = it.json("baremetal chassis create --description cli-c1 --extra row=seven");
    assert_eq!((text(&made, "description"), &made["extra"]), ("cli-c1", &json!({"row": "seven"})));
    let uuid = text(&made, "uuid").to_owned();
    it.ok(&format!("baremetal chassis set {uuid} --description cli-c2 --extra place=nine"));
    let shown = it.json(&format!("baremetal chassis show {uuid}"));
    assert_eq!((text(&shown, "description"), &shown["extra"]), ("cli-c2", &json!({"row": "seven", "place": "nine"})));
    it.ok(&format!("baremetal chassis unset {uuid} --extra row --description"));
    let shown = it.json(&format!("baremetal chassis show {uuid}"));
    assert_eq!((&shown["extra"], shown["description"].as_str().unwrap_or_default()), (&json!({"place": "nine"}), ""));
    assert!(it.column("baremetal chassis list", "uuid").contains(&uuid));
    uuid
}

fn group(it: &Shell, node: &str) -> String {
    let shape = "--name cli-g1 --address 52:54:00:0c:11:10 --mode 802.3ad --property hash=layer2 --physical-network physnet1";
    let made = it.json(&format!("baremetal port group create --node {node} {shape} --category fast --unsupport-standalone-ports"));
    assert_eq!((text(&made, "name"), text(&made, "mode"), &made["properties"]), ("cli-g1", "802.3ad", &json!({"hash": "layer2"})));
    assert_eq!((text(&made, "category"), &made["standalone_ports_supported"]), ("fast", &json!(false)));
    let uuid = text(&made, "uuid").to_owned();
    it.ok("baremetal port group set cli-g1 --name cli-g2 --mode active-backup --extra a=b --support-standalone-ports");
    let shown = it.json("baremetal port group show cli-g2");
    assert_eq!((text(&shown, "uuid"), text(&shown, "mode"), &shown["extra"]), (uuid.as_str(), "active-backup", &json!({"a": "b"})));
    let shown = it.json("baremetal port group show --address 52:54:00:0c:11:10");
    assert_eq!(text(&shown, "uuid"), uuid);
    it.ok("baremetal port group unset cli-g2 --extra a --property hash --name");
    let shown = it.json(&format!("baremetal port group show {uuid}"));
    assert_eq!((&shown["extra"], &shown["properties"], &shown["name"]), (&json!({}), &json!({}), &Value::Null));
    assert_eq!(it.column(&format!("baremetal port group list --node {node}"), "uuid"), [uuid.as_str()]);
    it.refused(&format!("baremetal port group create --node {node} --address 52:54:00:0c:11:10"), &["52:54:00:0c:11:10"]);
    uuid
}

fn port(it: &Shell, node: &str, group: &str) {
    let link = "--local-link-connection switch_id=02:cf:00:00:00:01 --local-link-connection port_id=p1";
    let more = "--name cli-port-1 --vendor acme --category fast --physical-network physnet1";
    let made = it.json(&format!("baremetal port create 52:54:00:0C:11:11 --node {node} {link} {more}"));
    assert_eq!((text(&made, "address"), text(&made, "node_uuid"), &made["pxe_enabled"]), ("52:54:00:0c:11:11", node, &json!(true)));
    assert_eq!((text(&made, "vendor"), text(&made, "category"), text(&made, "name")), ("acme", "fast", "cli-port-1"));
    assert_eq!(text(&made["local_link_connection"], "port_id"), "p1");
    let uuid = text(&made, "uuid").to_owned();
    it.with(&format!("baremetal port set {uuid} --extra colour=blue --pxe-disabled --description"), &["the left card"]);
    it.ok(&format!("baremetal port set {uuid} --port-group {group}"));
    let shown = it.json(&format!("baremetal port show {uuid}"));
    assert_eq!((text(&shown, "portgroup_uuid"), text(&shown, "description")), (group, "the left card"));
    assert_eq!((&shown["pxe_enabled"], &shown["extra"]), (&json!(false), &json!({"colour": "blue"})));
    assert_eq!(text(&it.json("baremetal port show --address 52:54:00:0c:11:11"), "uuid"), uuid);
    assert_eq!(it.column(&format!("baremetal port list --port-group {group}"), "uuid"), [uuid.as_str()]);
    it.ok(&format!("baremetal port unset {uuid} --port-group"));
    it.ok(&format!("baremetal port unset {uuid} --extra colour --description --vendor --category --name --physical-network"));
    let shown = it.json(&format!("baremetal port show {uuid}"));
    for field in ["portgroup_uuid", "description", "vendor", "category", "name", "physical_network"] {
        assert_eq!(shown[field], Value::Null, "{field}");
    }
    assert_eq!(shown["extra"], json!({}));
    it.refused(&format!("baremetal port create 52:54:00:0c:11:11 --node {node}"), &["52:54:00:0c:11:11"]);
    it.refused(&format!("baremetal port create nonsense --node {node}"), &["nonsense"]);
    assert_eq!(it.column(&format!("baremetal port list --node {node} --long"), "address"), ["52:54:00:0c:11:11"]);
    it.ok(&format!("baremetal port delete {uuid}"));
    it.refused(&format!("baremetal port show {uuid}"), &[&uuid]);
}

fn connector(it: &Shell, node: &str) {
    let name = "iqn.2026-11.example:cli";
    let made = it.json(&format!("baremetal volume connector create --node {node} --type iqn --connector-id {name} --extra a=b"));
    assert_eq!((text(&made, "type"), text(&made, "connector_id"), text(&made, "node_uuid")), ("iqn", name, node));
    let uuid = text(&made, "uuid").to_owned();
    it.refused(&format!("baremetal volume connector create --node {node} --type iqn --connector-id {name}"), &["already exists"]);
    it.ok(&format!("baremetal volume connector set {uuid} --type wwnn --connector-id 10:00 --extra c=d"));
    let shown = it.json(&format!("baremetal volume connector show {uuid}"));
    assert_eq!((text(&shown, "type"), text(&shown, "connector_id")), ("wwnn", "10:00"));
    it.ok(&format!("baremetal volume connector unset {uuid} --extra a"));
    assert_eq!(it.json(&format!("baremetal volume connector show {uuid}"))["extra"], json!({"c": "d"}));
    assert_eq!(it.json(&format!("baremetal volume connector list --node {node}")).as_array().unwrap().len(), 1);
    it.ok(&format!("baremetal volume connector delete {uuid}"));
    it.refused(&format!("baremetal volume connector show {uuid}"), &[&uuid]);
}

fn target(it: &Shell, node: &str) {
    let made =
        it.json(&format!("baremetal volume target create --node {node} --type iscsi --boot-index 0 --volume-id v1 --property colour=blue"));
    assert_eq!(
        (text(&made, "volume_type"), text(&made, "volume_id"), made["boot_index"].to_string().trim_matches('"')),
        ("iscsi", "v1", "0")
    );
    let uuid = text(&made, "uuid").to_owned();
    it.refused(&format!("baremetal volume target create --node {node} --type iscsi --boot-index 0 --volume-id v2"), &["already exists"]);
    it.ok(&format!("baremetal volume target set {uuid} --volume-id v3 --boot-index 1 --extra a=b --property b=c"));
    let shown = it.json(&format!("baremetal volume target show {uuid}"));
    assert_eq!(
        (text(&shown, "volume_id"), shown["boot_index"].to_string().trim_matches('"'), &shown["extra"]),
        ("v3", "1", &json!({"a": "b"}))
    );
    it.ok(&format!("baremetal volume target unset {uuid} --extra a --property b"));
    let shown = it.json(&format!("baremetal volume target show {uuid}"));
    assert_eq!((&shown["extra"], shown["properties"].get("b")), (&json!({}), None));
    assert_eq!(it.json(&format!("baremetal volume target list --node {node}")).as_array().unwrap().len(), 1);
    it.ok(&format!("baremetal volume target delete {uuid}"));
    it.refused(&format!("baremetal volume target show {uuid}"), &[&uuid]);
}

/// Everything in one file: an enclosure, in it a node, with a group of cards and a card.
fn from_file(it: &Shell) {
    let file = it.dir.join("all.json");
    let port = |last: &str| json!({"address": format!("52:54:00:0c:12:{last}")});
    let all = json!({
        "chassis": [{
            "description": "cli-file",
            "nodes": [{
                "name": "cli-file-1", "driver": "fake-hardware",
                "portgroups": [{"name": "cli-file-g1", "ports": [port("01")]}],
                "ports": [port("02")],
            }],
        }],
        "nodes": [{"name": "cli-file-2", "driver": "fake-hardware"}],
    });
    std::fs::write(&file, all.to_string()).unwrap();
    it.with("baremetal create", &[file.to_str().unwrap()]);
    let node = it.json("baremetal node show cli-file-1");
    let chassis = it.json(&format!("baremetal chassis show {}", text(&node, "chassis_uuid")));
    assert_eq!(text(&chassis, "description"), "cli-file");
    let mut addresses = it.column("baremetal port list --node cli-file-1", "address");
    addresses.sort();
    assert_eq!(addresses, ["52:54:00:0c:12:01", "52:54:00:0c:12:02"]);
    assert_eq!(it.column("baremetal port list --port-group cli-file-g1", "address"), ["52:54:00:0c:12:01"]);
    std::fs::write(&file, r#"{"nodes": [{"name": "cli-file-3"}]}"#).unwrap();
    it.refused(&format!("baremetal create {}", file.display()), &["driver"]);
    it.ok("baremetal node delete cli-file-1 cli-file-2");
    it.ok(&format!("baremetal chassis delete {}", text(&chassis, "uuid")));
    assert!(!it.column("baremetal port list", "address").iter().any(|it| it.starts_with("52:54:00:0c:12")));
}
