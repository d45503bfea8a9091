//! The switch as SONiC's CONFIG_DB shows it.
//!
//! Source: sonic-net, "SONiC Configuration Database Manual" (`Configuration.md` of sonic-buildimage): tables PORT, VLAN, VLAN_MEMBER,
//! PORTCHANNEL, PORTCHANNEL_MEMBER, VXLAN_TUNNEL, VXLAN_EVPN_NVO, VXLAN_TUNNEL_MAP, DEVICE_METADATA.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::netos::device::{Allowed, Config, Group, Membership, Mode, Port, Protocol};

/// What begins the name of a section of [`Config::extra`] that is a table's entry.
pub(super) const ENTRY: &str = "CONFIG_DB ";

/// The fields of an entry.
pub(super) type Fields = BTreeMap<String, String>;

/// What a port carries, in SONiC's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Members {
    pub(super) untagged: Option<u16>,
    pub(super) tagged: BTreeSet<u16>,
}

/// The VLAN memberships of a port.
pub(super) fn members(config: &Config, port: &Port) -> Members {
    if port.group.is_some() || port.routed {
        return Members::default();
    }
    if port.mode == Mode::Access {
        return Members { untagged: Some(port.access), tagged: BTreeSet::new() };
    }
    let mut tagged = match &port.allowed {
        Allowed::All => config.vlans.keys().copied().collect(),
        Allowed::Only(list) => list.clone(),
    };
    let untagged = port.native.filter(|_| !port.native_tagged);
    if let Some(untagged) = untagged {
        tagged.remove(&untagged);
    }
    Members { untagged, tagged }
}

/// Sets the VLAN memberships of a port.
pub(super) fn set_members(port: &mut Port, members: Members) {
    (port.mode, port.native, port.native_tagged, port.allowed) =
        (Mode::Trunk, members.untagged, false, Allowed::Only(members.tagged.clone()));
    if let Some(vlan) = members.untagged.filter(|_| members.tagged.is_empty()) {
        port.mode = Mode::Access;
        port.access = vlan;
    }
}

/// A port without any VLAN.
pub(super) fn bare() -> Port {
    let mut port = Port::default();
    set_members(&mut port, Members::default());
    port
}

/// All names of ports and groups.
pub(super) fn is_group(name: &str) -> bool {
    name.starts_with("PortChannel")
}

/// The whole database.
pub(super) fn tables(config: &Config, mac: [u8; 6]) -> BTreeMap<String, BTreeMap<String, Fields>> {
    let mut out: BTreeMap<String, BTreeMap<String, Fields>> = BTreeMap::new();
    let mut put = |table: &str, key: String, fields: &[(&str, String)]| {
        let entry = out.entry(table.to_owned()).or_default().entry(key).or_default();
        entry.extend(fields.iter().filter(|(_, value)| !value.is_empty()).map(|(field, value)| ((*field).to_owned(), value.clone())));
    };
    let mac = mac.iter().map(|it| format!("{it:02x}")).collect::<Vec<_>>().join(":");
    put(
        "DEVICE_METADATA",
        "localhost".into(),
        &[
            ("hostname", config.hostname.clone()),
            ("mac", mac),
            ("hwsku", "ACS-MSN2700".into()),
            ("platform", "x86_64-mlnx_msn2700-r0".into()),
            ("type", "LeafRouter".into()),
        ],
    );
    put("MGMT_INTERFACE", "eth0|10.0.0.2/24".into(), &[("gwaddr", "10.0.0.1".into())]);
    put("LOOPBACK_INTERFACE", "Loopback0".into(), &[("NULL", "NULL".into())]);
    for vlan in config.vlans.keys() {
        put("VLAN", format!("Vlan{vlan}"), &[("vlanid", vlan.to_string())]);
    }
    for (vlan, it) in &config.vlans {
        if let Some(name) = &it.name {
            put("VLAN", format!("Vlan{vlan}"), &[("description", name.clone())]);
        }
        if let Some(vni) = it.vni {
            let tunnel = tunnel(config).unwrap_or_else(|| "vtep".to_owned());
            let fields = [("vni", vni.to_string()), ("vlan", format!("Vlan{vlan}"))];
            put("VXLAN_TUNNEL_MAP", format!("{tunnel}|map_{vni}_Vlan{vlan}"), &fields);
        }
    }
    for (nth, name) in config.port_names().into_iter().enumerate() {
        let Some(port) = config.ports.get(name) else { continue };
        let up = if port.up { "up" } else { "down" };
        let mut fields = vec![("admin_status", up.to_owned()), ("mtu", "9100".to_owned()), ("description", port.description.clone())];
        if port.is_group {
            fields.extend([("min_links", "1".to_owned()), ("lacp_key", "auto".to_owned())]);
            put("PORTCHANNEL", name.clone(), &fields);
        } else {
            let first = name.trim_start_matches("Ethernet").parse::<u32>().unwrap_or(0);
            let lanes = (first..first + 4).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
            let speed = "100000".to_owned();
            fields.extend([("alias", format!("etp{}", nth + 1)), ("index", (nth + 1).to_string()), ("lanes", lanes), ("speed", speed)]);
            put("PORT", name.clone(), &fields);
        }
        if let Some(member) = &port.group {
            put("PORTCHANNEL_MEMBER", format!("{}|{name}", member.group), &[("NULL", "NULL".into())]);
        }
        if port.routed {
            put("INTERFACE", name.clone(), &[("NULL", "NULL".into())]);
        }
        let members = members(config, port);
        for vlan in &members.tagged {
            put("VLAN_MEMBER", format!("Vlan{vlan}|{name}"), &[("tagging_mode", "tagged".into())]);
        }
        if let Some(vlan) = members.untagged {
            put("VLAN_MEMBER", format!("Vlan{vlan}|{name}"), &[("tagging_mode", "untagged".into())]);
        }
    }
    for (name, lines) in &config.extra {
        let Some((table, key)) = name.strip_prefix(ENTRY).and_then(|it| it.split_once('|')) else { continue };
        let fields: Vec<(&str, String)> = lines.iter().filter_map(|it| it.split_once('=')).map(|(a, b)| (a, b.to_owned())).collect();
        put(table, key.to_owned(), &fields);
    }
    out
}

/// As `config_db.json` has it: entries without fields stay objects.
pub(super) fn as_json(tables: &BTreeMap<String, BTreeMap<String, Fields>>) -> Value {
    let real =
        |fields: &Fields| -> Fields { fields.iter().filter(|(key, _)| *key != "NULL").map(|(a, b)| (a.clone(), b.clone())).collect() };
    let table =
        |entries: &BTreeMap<String, Fields>| -> Value { entries.iter().map(|(key, fields)| (key.clone(), json!(real(fields)))).collect() };
    tables.iter().map(|(name, entries)| (name.clone(), table(entries))).collect()
}

/// The name of the VXLAN tunnel, if there is one.
pub(super) fn tunnel(config: &Config) -> Option<String> {
    config.extra.keys().find_map(|it| it.strip_prefix(ENTRY)?.strip_prefix("VXLAN_TUNNEL|")).map(str::to_owned)
}

/// Writes fields of an entry, as `hset` does: without any check, as the database itself has none. `None` as fields deletes the entry.
pub(super) fn write(config: &mut Config, table: &str, key: &str, fields: Option<&Fields>) {
    let vlan = |text: &str| text.strip_prefix("Vlan").and_then(|it| it.parse::<u16>().ok());
    match (table, fields) {
        ("PORT" | "PORTCHANNEL", Some(fields)) => {
            let port = config.ports.entry(key.to_owned()).or_insert_with(bare);
            port.is_group = table == "PORTCHANNEL";
            for (field, value) in fields {
                match field.as_str() {
                    "admin_status" => port.up = value != "down",
                    "description" => port.description.clone_from(value),
                    _ => {}
                }
            }
            if table == "PORTCHANNEL" {
                config.groups.insert(key.to_owned(), Group { protocol: Some(Protocol::Active) });
            }
        }
        ("PORTCHANNEL", None) => {
            config.ports.remove(key);
            config.groups.remove(key);
        }
        ("PORTCHANNEL_MEMBER", _) => {
            if let Some((group, port)) = key.split_once('|')
                && let Some(port) = config.ports.get_mut(port)
            {
                port.group = fields.map(|_| Membership { group: group.to_owned(), protocol: Protocol::Active });
            }
        }
        ("VLAN", Some(fields)) => {
            if let Some(id) = vlan(key) {
                let entry = config.vlans.entry(id).or_default();
                if let Some(name) = fields.get("description") {
                    entry.name = Some(name.clone()).filter(|it| !it.is_empty());
                }
            }
        }
        ("VLAN", None) => {
            vlan(key).map(|id| config.vlans.remove(&id));
        }
        ("VLAN_MEMBER", _) => {
            let Some((id, name)) = key.split_once('|').and_then(|(id, port)| Some((vlan(id)?, port))) else { return };
            let Some(mut now) = config.ports.get(name).map(|port| members(config, port)) else { return };
            now.tagged.remove(&id);
            now.untagged = now.untagged.filter(|it| *it != id);
            match fields.and_then(|it| it.get("tagging_mode")).map(String::as_str) {
                Some("untagged") => now.untagged = Some(id),
                Some(_) => drop(now.tagged.insert(id)),
                None => {}
            }
            if let Some(port) = config.ports.get_mut(name) {
                set_members(port, now);
            }
        }
        ("VXLAN_TUNNEL_MAP", Some(fields)) => {
            let id = fields.get("vlan").and_then(|it| vlan(it));
            let vni = fields.get("vni").and_then(|it| it.parse().ok());
            if let Some(entry) = id.and_then(|id| config.vlans.get_mut(&id)) {
                entry.vni = vni;
            }
        }
        ("VXLAN_TUNNEL_MAP", None) => {
            let id = key.rsplit_once('_').and_then(|(_, it)| vlan(it));
            if let Some(entry) = id.and_then(|id| config.vlans.get_mut(&id)) {
                entry.vni = None;
            }
        }
        ("DEVICE_METADATA", Some(fields)) => {
            if let Some(name) = fields.get("hostname") {
                config.hostname.clone_from(name);
            }
        }
        (_, Some(fields)) => {
            let lines = config.extra.entry(format!("{ENTRY}{table}|{key}")).or_default();
            for (field, value) in fields {
                lines.retain(|it| it.split_once('=').is_none_or(|(name, _)| name != field));
                lines.push(format!("{field}={value}"));
            }
        }
        (_, None) => {
            config.extra.remove(&format!("{ENTRY}{table}|{key}"));
        }
    }
}
