//! Between port modes and rows of the database: pure.

use std::collections::{BTreeMap, BTreeSet};

use ::model::net::VlanId;
use serde_json::{Map, Value, json};

use crate::switch::{PortMode, SeenMode, SwitchSeen, SwitchWanted};

/// A VLAN id that no frame can bear (0xfff is reserved by IEEE 802.1Q): the trunk of a port that is to carry nothing. An empty list
/// would carry everything.
const NO_VLAN: u16 = 4095;
/// The columns that say what a port carries; each is written and each is guarded.
const COLUMNS: [&str; 4] = ["vlan_mode", "tag", "trunks", "protected"];

/// A port as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PortRow {
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) vlan_mode: Option<String>,
    pub(super) tag: Option<u16>,
    pub(super) trunks: BTreeSet<u16>,
    pub(super) protected: bool,
    pub(super) ours: bool,
    /// What else about it changes what it carries.
    pub(super) oddity: Option<String>,
}

/// All that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    pub(super) bridge_uuid: String,
    pub(super) ports: BTreeMap<String, PortRow>,
}

pub(super) fn read_operations() -> Vec<Value> {
    let columns = ["_uuid", "name", "vlan_mode", "tag", "trunks", "protected", "external_ids", "bond_mode", "interfaces", "cvlans"];
    vec![
        json!({"op": "select", "table": "Bridge", "where": [], "columns": ["_uuid", "name", "ports"]}),
        json!({"op": "select", "table": "Port", "where": [], "columns": columns}),
    ]
}

/// OVSDB writes a set of one as that one, else as `["set", […]]`.
fn set(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(pair)) if pair.first() == Some(&Value::from("set")) => pair.get(1).and_then(Value::as_array).into_iter().flatten().collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    }
}

fn uuid(value: &Value) -> Option<String> {
    match value.as_array().map(Vec::as_slice) {
        Some([kind, id]) if kind == "uuid" || kind == "named-uuid" => id.as_str().map(str::to_owned),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|it| u16::try_from(it).ok())
}

fn table(answers: &[Value], at: usize) -> Result<&Vec<Value>, String> {
    answers.get(at).and_then(|it| it.get("rows")).and_then(Value::as_array).ok_or_else(|| "an answer without rows".to_owned())
}

/// Reads the answers to [`read_operations`].
pub(super) fn rows(answers: &[Value], bridge: &str) -> Result<Rows, String> {
    let found = table(answers, 0)?.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(bridge));
    let found = found.ok_or_else(|| format!("there is no bridge {bridge}"))?;
    let bridge_uuid = found.get("_uuid").and_then(uuid).ok_or("a bridge without _uuid")?;
    let members: BTreeSet<String> = set(found.get("ports")).into_iter().filter_map(uuid).collect();
    let mut ports = BTreeMap::new();
    for it in table(answers, 1)? {
        let id = it.get("_uuid").and_then(uuid).ok_or("a port without _uuid")?;
        let name = it.get("name").and_then(Value::as_str).ok_or("a port without a name")?.to_owned();
        // The bridge's own port is this host's, not a machine's.
        if !members.contains(&id) || name == bridge {
            continue;
        }
        let ids = it.get("external_ids").map(Value::to_string).unwrap_or_default();
        let oddity = if set(it.get("interfaces")).len() > 1 {
            Some("a bond".to_owned())
        } else if !set(it.get("cvlans")).is_empty() {
            Some("a port with customer VLANs".to_owned())
        } else {
            None
        };
        let row = PortRow {
            uuid: id,
            name: name.clone(),
            vlan_mode: set(it.get("vlan_mode")).first().and_then(|mode| mode.as_str()).map(str::to_owned),
            tag: set(it.get("tag")).first().and_then(|tag| number(tag)),
            trunks: set(it.get("trunks")).into_iter().filter_map(number).collect(),
            protected: it.get("protected").and_then(Value::as_bool).unwrap_or(false),
            ours: ids.contains("cofferdam"),
            oddity,
        };
        ports.insert(name, row);
    }
    Ok(Rows { bridge_uuid, ports })
}

/// What a port carries (Source: ovs-vswitchd.conf.db(5), table Port, "VLAN Configuration").
fn mode(row: &PortRow, isolation: VlanId) -> SeenMode {
    let foreign = |what: String| SeenMode::Foreign(what);
    if let Some(oddity) = &row.oddity {
        return foreign(oddity.clone());
    }
    // Without vlan_mode: access if there is a tag, else a trunk.
    let is_access = match row.vlan_mode.as_deref() {
        Some("access") => true,
        Some("trunk") => false,
        None => row.tag.is_some(),
        Some(other) => return foreign(format!("VLAN mode {other}, tag {:?}, trunks {:?}", row.tag, row.trunks)),
    };
    if is_access {
        let Some(tag) = row.tag else { return foreign("an access port without a tag: VLAN 0".into()) };
        return match VlanId::new(tag) {
            Some(vlan) if vlan == isolation && row.protected => SeenMode::Known(PortMode::Isolated),
            Some(vlan) if vlan == isolation => foreign("in the isolation VLAN but not protected".into()),
            Some(vlan) if !row.protected => SeenMode::Known(PortMode::Access(vlan)),
            _ => foreign(format!("access to {tag}, protected: {}", row.protected)),
        };
    }
    if row.trunks.is_empty() {
        return foreign("a trunk of all VLANs".into());
    }
    if row.trunks.contains(&0) {
        return foreign(format!("a trunk that carries untagged frames: {:?}", row.trunks));
    }
    SeenMode::Known(PortMode::Trunk(row.trunks.iter().copied().filter_map(VlanId::new).collect()))
}

/// What the switch was seen to be.
pub(super) fn parse(rows: &Rows, isolation: VlanId) -> SwitchSeen {
    let mut seen = SwitchSeen::default();
    for row in rows.ports.values() {
        seen.ports.insert(row.name.clone(), mode(row, isolation));
        seen.vlans.extend(row.tag.iter().chain(&row.trunks).copied().filter_map(VlanId::new));
    }
    seen
}

fn set_value(items: impl IntoIterator<Item = Value>) -> Value {
    json!(["set", items.into_iter().collect::<Vec<_>>()])
}

fn columns(mode: &PortMode, isolation: VlanId) -> Map<String, Value> {
    let (vlan_mode, tag, trunks, protected) = match mode {
        PortMode::Isolated => ("access", vec![json!(isolation.get())], vec![], true),
        PortMode::Access(vlan) => ("access", vec![json!(vlan.get())], vec![], false),
        PortMode::Trunk(vlans) if vlans.is_empty() => ("trunk", vec![], vec![json!(NO_VLAN)], false),
        PortMode::Trunk(vlans) => ("trunk", vec![], vlans.iter().map(|vlan| json!(vlan.get())).collect(), false),
    };
    let values = [set_value([json!(vlan_mode)]), set_value(tag), set_value(trunks), json!(protected)];
    COLUMNS.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

fn as_read(row: &PortRow) -> Map<String, Value> {
    let values = [
        set_value(row.vlan_mode.iter().map(|it| json!(it))),
        set_value(row.tag.iter().map(|it| json!(it))),
        set_value(row.trunks.iter().map(|it| json!(it))),
        json!(row.protected),
    ];
    COLUMNS.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

/// The one transaction that makes the switch what is wanted, guarded by what was read. Ports that are right are not written.
pub(super) fn render(wanted: &SwitchWanted, rows: &Rows, isolation: VlanId) -> Result<Vec<Value>, String> {
    let mut guards = Vec::new();
    let mut changes = Vec::new();
    let mine = json!([["owner", "cofferdam"]]);
    for (at, (name, want)) in wanted.ports.iter().enumerate() {
        let Some(row) = rows.ports.get(name) else {
            if !wanted.create_missing {
                return Err(format!("it has no port {name}"));
            }
            let (port, interface) = (format!("port{at}"), format!("interface{at}"));
            let mut new = columns(want, isolation);
            new.insert("name".into(), json!(name));
            new.insert("interfaces".into(), json!(["named-uuid", interface]));
            new.insert("external_ids".into(), json!(["map", mine]));
            changes.push(json!({"op": "insert", "table": "Interface", "uuid-name": interface, "row": {"name": name}}));
            changes.push(json!({"op": "insert", "table": "Port", "uuid-name": port, "row": new}));
            let member = set_value([json!(["named-uuid", port])]);
            let bridge = json!([["_uuid", "==", ["uuid", rows.bridge_uuid]]]);
            changes.push(json!({"op": "mutate", "table": "Bridge", "where": bridge, "mutations": [["ports", "insert", member]]}));
            continue;
        };
        if mode(row, isolation) == SeenMode::Known(want.clone()) {
            continue;
        }
        if let Some(oddity) = &row.oddity {
            return Err(format!("port {name} is {oddity}"));
        }
        let this = json!([["_uuid", "==", ["uuid", row.uuid]]]);
        guards.push(json!({"op": "wait", "timeout": 0, "table": "Port", "where": this, "columns": COLUMNS, "until": "==", "rows": [as_read(row)]}));
        changes.push(json!({"op": "update", "table": "Port", "where": this, "row": columns(want, isolation)}));
        let mark = json!([["external_ids", "delete", ["set", ["owner"]]], ["external_ids", "insert", ["map", mine]]]);
        changes.push(json!({"op": "mutate", "table": "Port", "where": this, "mutations": mark}));
    }
    let leaving: Vec<Value> = wanted
        .remove
        .iter()
        .filter(|name| !wanted.ports.contains_key(*name))
        .filter_map(|name| rows.ports.get(name).filter(|row| row.ours))
        .map(|row| json!(["uuid", row.uuid]))
        .collect();
    if !leaving.is_empty() {
        // Rows that nothing refers to any more are collected by the server.
        let bridge = json!([["_uuid", "==", ["uuid", rows.bridge_uuid]]]);
        changes.push(json!({"op": "mutate", "table": "Bridge", "where": bridge, "mutations": [["ports", "delete", set_value(leaving)]]}));
    }
    guards.extend(changes);
    guards.push(json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}));
    guards.push(json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}));
    Ok(guards)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn row(name: &str) -> PortRow {
        PortRow { uuid: format!("u-{name}"), name: name.into(), vlan_mode: None, tag: None, trunks: BTreeSet::new(), protected: false, ours: false, oddity: None }
    }

    fn seen(row: PortRow) -> SeenMode {
        mode(&row, vlan(4094))
    }

    #[test]
    fn what_is_open_is_never_taken_for_closed() {
        assert!(matches!(seen(row("a")), SeenMode::Foreign(_)), "no tag and no trunks: everything passes");
        assert!(matches!(seen(PortRow { tag: Some(4094), ..row("a") }), SeenMode::Foreign(_)), "not protected");
        assert!(matches!(seen(PortRow { vlan_mode: Some("native-untagged".into()), tag: Some(5), ..row("a") }), SeenMode::Foreign(_)));
        assert!(matches!(seen(PortRow { trunks: [0, 7].into(), ..row("a") }), SeenMode::Foreign(_)));
        assert_eq!(seen(PortRow { trunks: [NO_VLAN].into(), ..row("a") }), SeenMode::Known(PortMode::Trunk(BTreeSet::new())));
        assert_eq!(seen(PortRow { tag: Some(4094), protected: true, ..row("a") }), SeenMode::Known(PortMode::Isolated));
    }

    #[test]
    fn rows_are_read_as_the_server_writes_them() {
        let answers = [
            json!({"rows": [{"_uuid": ["uuid", "b"], "name": "br0", "ports": ["set", [["uuid", "1"], ["uuid", "2"], ["uuid", "3"]]]}]}),
            json!({"rows": [
                {"_uuid": ["uuid", "1"], "name": "br0", "tag": ["set", []], "trunks": ["set", []], "vlan_mode": ["set", []], "protected": false, "external_ids": ["map", []], "interfaces": ["uuid", "i"]},
                {"_uuid": ["uuid", "2"], "name": "p1", "tag": 101, "trunks": ["set", []], "vlan_mode": "access", "protected": false, "external_ids": ["map", [["owner", "cofferdam"]]], "interfaces": ["uuid", "i"], "cvlans": ["set", []]},
                {"_uuid": ["uuid", "3"], "name": "up", "tag": ["set", []], "trunks": ["set", [101, 102]], "vlan_mode": "trunk", "protected": false, "external_ids": ["map", []], "interfaces": ["uuid", "i"]},
                {"_uuid": ["uuid", "9"], "name": "elsewhere", "tag": 7, "trunks": ["set", []], "vlan_mode": ["set", []], "protected": false, "external_ids": ["map", []], "interfaces": ["uuid", "i"]}]}),
        ];
        let rows = rows(&answers, "br0").unwrap();
        let seen = parse(&rows, vlan(4094));
        assert_eq!(seen.ports.keys().collect::<Vec<_>>(), ["p1", "up"]);
        assert_eq!(seen.ports["p1"], SeenMode::Known(PortMode::Access(vlan(101))));
        assert_eq!(seen.vlans, [vlan(101), vlan(102)].into());
        assert!(rows.ports["p1"].ours && !rows.ports["up"].ours);
        assert!(super::rows(&answers, "br1").is_err());
    }

    /// What the server would hold after the updates of a transaction.
    fn apply(rows: &Rows, operations: &[Value]) -> Rows {
        let mut after = rows.clone();
        for operation in operations.iter().filter(|it| it["op"] == "update") {
            let id = operation["where"][0][2][1].as_str().unwrap();
            let row = after.ports.values_mut().find(|it| it.uuid == id).unwrap();
            let new = &operation["row"];
            row.vlan_mode = set(new.get("vlan_mode")).first().map(|it| it.as_str().unwrap().to_owned());
            row.tag = set(new.get("tag")).first().and_then(|it| number(it));
            row.trunks = set(new.get("trunks")).into_iter().filter_map(number).collect();
            row.protected = new["protected"].as_bool().unwrap();
        }
        after
    }

    fn any_mode() -> impl Strategy<Value = PortMode> {
        prop_oneof![
            Just(PortMode::Isolated),
            (1_u16..4094).prop_map(|id| PortMode::Access(vlan(id))),
            proptest::collection::btree_set(1_u16..4094, 0..5).prop_map(|ids| PortMode::Trunk(ids.into_iter().map(vlan).collect())),
        ]
    }

    fn any_row() -> impl Strategy<Value = PortRow> {
        let vlan_mode = proptest::option::of(prop_oneof![Just("access".to_owned()), Just("trunk".to_owned()), Just("native-tagged".to_owned())]);
        (vlan_mode, proptest::option::of(0_u16..=4095), proptest::collection::btree_set(0_u16..=4095, 0..4), any::<bool>())
            .prop_map(|(vlan_mode, tag, trunks, protected)| PortRow { vlan_mode, tag, trunks, protected, ..row("p") })
    }

    proptest! {
        #[test]
        fn after_the_change_the_port_is_as_wanted_and_others_are_not_written(want in any_mode(), before in any_row(), other in any_row()) {
            let other = PortRow { name: "other".into(), uuid: "u-other".into(), ..other };
            let rows = Rows { bridge_uuid: "b".into(), ports: [("p".to_owned(), before), ("other".to_owned(), other.clone())].into() };
            let wanted = SwitchWanted { ports: [("p".to_owned(), want.clone())].into(), ..SwitchWanted::default() };
            let operations = render(&wanted, &rows, vlan(4094)).unwrap();
            let after = apply(&rows, &operations);
            prop_assert_eq!(&parse(&after, vlan(4094)).ports["p"], &SeenMode::Known(want));
            prop_assert_eq!(&after.ports["other"], &other);
            let again = render(&wanted, &after, vlan(4094)).unwrap();
            prop_assert!(again.iter().all(|it| it["op"] != "update"), "what is right is not written again");
        }
    }
}
