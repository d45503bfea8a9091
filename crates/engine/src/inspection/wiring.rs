//! Whether cables end where they are said to: what switches announce on the wire (LLDP) against what is stored. A mismatch means that
//! a tenant's network would be put onto somebody else's port.
//!
//! Source: IEEE 802.1AB, 8.5.2 (chassis id) and 8.5.3 (port id).

use model::Object;
use model::baremetal::BaremetalPort;
use model::fabric::{Switch, find_switch};
use serde_json::Value;

use crate::switch::names;

/// What was heard on one interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// The switch: a MAC address with colons, or a name.
    pub(crate) chassis: Option<String>,
    /// Its port: a name, or a MAC address.
    pub(crate) port: Option<String>,
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.split(':').count() == 6
}

/// An id of LLDP: a subtype, then the id.
fn id(bytes: &[u8], mac: u8) -> Option<String> {
    let (subtype, rest) = bytes.split_first()?;
    if *subtype == mac && rest.len() == 6 {
        return Some(rest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
    }
    let text = std::str::from_utf8(rest).ok()?.trim_end_matches('\0');
    (!text.is_empty() && text.chars().all(|it| !it.is_control())).then(|| text.to_owned())
}

/// `[[type, "hex"], …]` as ironic-python-agent writes it, or `{"chassis_id": …, "port_id": …}`.
fn heard(lldp: &Value) -> Heard {
    let mut out = Heard::default();
    match lldp {
        Value::Array(all) => {
            for tlv in all {
                let (Some(kind), Some(value)) = (tlv.get(0).and_then(Value::as_u64), tlv.get(1).and_then(Value::as_str)) else { continue };
                let Some(value) = bytes(value) else { continue };
                match kind {
                    1 => out.chassis = id(&value, 4),
                    2 => out.port = id(&value, 3),
                    _ => {}
                }
            }
        }
        Value::Object(map) => {
            let text = |keys: &[&str]| keys.iter().find_map(|key| map.get(*key)?.as_str()).map(str::to_owned);
            out.chassis = text(&["chassis_id", "switch_chassis_id", "switch_id"]);
            out.port = text(&["port_id", "switch_port_id"]);
        }
        _ => {}
    }
    out
}

/// What was heard on the interface with this address.
pub(crate) fn heard_by(inventory: &Value, plugin_data: &Value, mac: &str) -> Heard {
    let interfaces = inventory.get("interfaces").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let own = |it: &&Value| it.get("mac_address").and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(mac));
    let Some(interface) = interfaces.iter().find(own) else { return Heard::default() };
    let name = interface.get("name").and_then(Value::as_str).unwrap_or_default();
    let said = |key: &str| plugin_data.get(key).and_then(|all| all.get(name).or_else(|| all.get(mac)));
    let all = [interface.get("lldp"), said("lldp"), said("lldp_raw"), said("parsed_lldp")];
    all.into_iter().flatten().map(heard).find(|it| *it != Heard::default()).unwrap_or_default()
}

/// Whether two spellings are of one port. Without a switch that says how it calls its ports, case does not count.
fn is_same(switch: Option<&Object<Switch>>, one: &str, other: &str) -> bool {
    let name = |spelled: &str| switch.map_or_else(|| spelled.to_owned(), |it| names::name(it, spelled));
    name(one).eq_ignore_ascii_case(&name(other))
}

/// What is wrong with the cables, in words; nothing if all that was heard fits or nothing was heard.
pub(crate) fn faults(inventory: &Value, plugin_data: &Value, cards: &[Object<BaremetalPort>], switches: &[Object<Switch>]) -> Vec<String> {
    let mut out = Vec::new();
    for card in cards {
        let Some(link) = &card.desired.local_link_connection else { continue };
        let heard = heard_by(inventory, plugin_data, &card.desired.address);
        let switch = find_switch(switches, link);
        if let Some(chassis) = &heard.chassis {
            let known = [
                Some(link.switch_id.as_str()).filter(|it| !it.is_empty()),
                link.switch_info.as_deref(),
                switch.map(|it| it.desired.switch_id.as_str()),
            ];
            // A name says nothing against an address, nor the other way round.
            let comparable: Vec<&str> = known.into_iter().flatten().filter(|it| is_mac(it) == is_mac(chassis)).collect();
            if !comparable.is_empty() && !comparable.iter().any(|it| it.eq_ignore_ascii_case(chassis)) {
                out.push(format!("{} hears switch {chassis}, and {} is stored", card.desired.address, comparable.join(" or ")));
                continue;
            }
        }
        if let Some(port) = heard.port.as_deref().filter(|it| is_mac(it) == is_mac(&link.port_id))
            && !is_same(switch, port, &link.port_id)
        {
            out.push(format!("{} hears port {port}, and {} is stored", card.desired.address, link.port_id));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use model::Id;
    use model::fabric::SwitchDesired;
    use serde_json::json;

    use super::*;

    const MAC: &str = "52:54:00:00:00:01";

    fn card(link: Value) -> Object<BaremetalPort> {
        let desired = json!({"node_id": "n", "address": MAC, "pxe_enabled": true, "local_link_connection": link});
        Object::new(Id::random(), None, "", serde_json::from_value(desired).unwrap())
    }

    fn wrong(link: Value, lldp: Value) -> Vec<String> {
        let inventory = json!({"interfaces": [{"name": "eth0", "mac_address": MAC.to_uppercase()}]});
        let switch = SwitchDesired { switch_id: "02:cf:00:00:00:01".into(), driver: "cisco_nxos".into(), ..SwitchDesired::default() };
        let switches = [Object::new(Id::parse("leaf1").unwrap(), None, "leaf1", switch)];
        faults(&inventory, &json!({"lldp_raw": {"eth0": lldp}}), &[card(link)], &switches)
    }

    #[test]
    fn what_is_heard_must_be_what_is_stored() {
        let link = json!({"switch_id": "02:cf:00:00:00:01", "port_id": "Ethernet1/7"});
        let by_name = json!({"switch_id": "", "switch_info": "leaf1", "port_id": "Ethernet1/7"});
        let port = |name: &str| format!("05{}", name.bytes().map(|it| format!("{it:02x}")).collect::<String>());
        let right = json!([[1, "0402cf00000001"], [2, port("Ethernet1/7")], [3, "0078"]]);
        assert_eq!(wrong(link.clone(), right.clone()), Vec::<String>::new());
        assert_eq!(wrong(by_name.clone(), right), Vec::<String>::new());

        let elsewhere = json!([[1, "0402cf00000002"], [2, port("Ethernet1/7")]]);
        assert!(wrong(link.clone(), elsewhere.clone())[0].contains("02:cf:00:00:00:02"));
        assert_eq!(wrong(by_name.clone(), elsewhere).len(), 1, "known by its name, the switch has an address too");
        let next_port = json!([[1, "0402cf00000001"], [2, port("Ethernet1/8")]]);
        assert!(wrong(link.clone(), next_port)[0].contains("Ethernet1/8"));

        for spelled in ["Eth1/7", "eth1/7"] {
            let right = json!([[1, "0402cf00000001"], [2, port(spelled)]]);
            assert_eq!(wrong(link.clone(), right), Vec::<String>::new(), "{spelled} is how it says Ethernet1/7");
        }

        // A switch that gives its name, a port that gives its address: nothing to compare them with.
        let name = json!([[1, format!("07{}", "6f74686572")], [2, "0302cf000000ff"]]);
        assert_eq!(wrong(link.clone(), name.clone()), Vec::<String>::new());
        assert_eq!(wrong(by_name, name).len(), 1, "its name is another");
    }

    #[test]
    fn silence_and_nonsense_are_no_fault() {
        let link = json!({"switch_id": "02:cf:00:00:00:01", "port_id": "p1"});
        for lldp in [json!(null), json!([]), json!([[1, "0"], [2, "zz"], ["x"], 7]), json!([[1, ""], [2, "05"]]), json!({"x": 1})] {
            assert_eq!(wrong(link.clone(), lldp.clone()), Vec::<String>::new(), "{lldp}");
        }
        assert_eq!(wrong(link, json!({"chassis_id": "02:CF:00:00:00:01", "port_id": "p2"})).len(), 1);
    }
}
