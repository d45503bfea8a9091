//! The configuration of NVUE: one object, and the grammar of `nv set` and `nv unset` over it.
//!
//! Source: NVIDIA, "Cumulus Linux User Guide 5.x", chapters "NVUE CLI", "Ethernet Bridging - VLANs", "Bonding - Link Aggregation",
//! "VXLAN Devices"; "NVUE Command Reference".

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::netos::device::natural;

#[derive(Debug, Clone, Copy)]
enum Check {
    Any,
    Number(u64, u64),
    /// A number, or this word.
    NumberOr(u64, u64, &'static str),
    OneOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Object(&'static [(&'static str, Kind)]),
    /// Keys of the user's choice; ranges such as `swp1-4,7` stand for several.
    Keys(Check, &'static [(&'static str, Kind)]),
    /// One key out of these, which holds an empty object.
    Choice(&'static [&'static str]),
    Leaf(Check),
    Free,
}

const VLAN: Check = Check::Number(1, 4094);
const ON: Check = Check::OneOf(&["on", "off"]);
const ENABLED: Check = Check::OneOf(&["enabled", "disabled"]);

const DOMAIN: &[(&str, Kind)] = &[
    (
        "vlan",
        Kind::Keys(VLAN, &[("vni", Kind::Keys(Check::Number(1, 16_777_215), &[("flooding", Kind::Free)])), ("multicast", Kind::Free)]),
    ),
    ("untagged", Kind::Leaf(VLAN)),
    ("type", Kind::Leaf(Check::OneOf(&["vlan-aware"]))),
    ("encap", Kind::Leaf(Check::OneOf(&["802.1Q", "802.1ad"]))),
    ("ageing", Kind::Leaf(Check::Number(0, 65_535))),
    ("mac-address", Kind::Leaf(Check::Any)),
    ("stp", Kind::Free),
    ("multicast", Kind::Free),
];

const BRIDGE_PORT: &[(&str, Kind)] = &[
    ("access", Kind::Leaf(VLAN)),
    ("untagged", Kind::Leaf(Check::NumberOr(1, 4094, "none"))),
    ("vlan", Kind::Keys(Check::NumberOr(1, 4094, "all"), &[])),
    ("learning", Kind::Leaf(ON)),
    ("stp", Kind::Free),
];

const INTERFACE: &[(&str, Kind)] = &[
    ("type", Kind::Leaf(Check::OneOf(&["swp", "bond", "eth", "loopback", "svi", "peerlink", "sub", "tunnel"]))),
    ("description", Kind::Leaf(Check::Any)),
    (
        "link",
        Kind::Object(&[
            ("state", Kind::Choice(&["up", "down"])),
            ("mtu", Kind::Leaf(Check::Number(552, 9216))),
            ("speed", Kind::Leaf(Check::Any)),
            ("auto-negotiate", Kind::Leaf(ON)),
            ("breakout", Kind::Free),
            ("fec", Kind::Leaf(Check::Any)),
        ]),
    ),
    ("bridge", Kind::Object(&[("domain", Kind::Keys(Check::Any, BRIDGE_PORT))])),
    (
        "bond",
        Kind::Object(&[
            ("member", Kind::Keys(Check::Any, &[])),
            ("mode", Kind::Leaf(Check::OneOf(&["lacp", "static"]))),
            ("lacp-rate", Kind::Leaf(Check::OneOf(&["fast", "slow"]))),
            ("lacp-bypass", Kind::Leaf(ON)),
            ("mlag", Kind::Free),
        ]),
    ),
    ("vlan", Kind::Leaf(VLAN)),
    ("base-interface", Kind::Leaf(Check::Any)),
    ("ip", Kind::Free),
    ("ipv4", Kind::Free),
    ("ipv6", Kind::Free),
    ("evpn", Kind::Free),
    ("acl", Kind::Free),
    ("qos", Kind::Free),
    ("ptp", Kind::Free),
    ("router", Kind::Free),
];

const ROOT: &[(&str, Kind)] = &[
    ("bridge", Kind::Object(&[("domain", Kind::Keys(Check::Any, DOMAIN))])),
    ("interface", Kind::Keys(Check::Any, INTERFACE)),
    (
        "nve",
        Kind::Object(&[(
            "vxlan",
            Kind::Object(&[
                ("enable", Kind::Leaf(ON)),
                ("state", Kind::Leaf(ENABLED)),
                ("source", Kind::Object(&[("address", Kind::Leaf(Check::Any))])),
                ("arp-nd-suppress", Kind::Leaf(ON)),
                ("mac-learning", Kind::Leaf(ON)),
                ("flooding", Kind::Free),
                ("mlag", Kind::Free),
            ]),
        )]),
    ),
    (
        "evpn",
        Kind::Object(&[("enable", Kind::Leaf(ON)), ("state", Kind::Leaf(ENABLED)), ("vni", Kind::Free), ("route-advertise", Kind::Free)]),
    ),
    (
        "system",
        Kind::Object(&[
            ("hostname", Kind::Leaf(Check::Any)),
            ("config", Kind::Object(&[("auto-save", Kind::Object(&[("enable", Kind::Leaf(ON)), ("state", Kind::Leaf(ENABLED))]))])),
            ("global", Kind::Free),
            ("aaa", Kind::Free),
            ("message", Kind::Free),
            ("timezone", Kind::Leaf(Check::Any)),
        ]),
    ),
    ("router", Kind::Free),
    ("vrf", Kind::Free),
    ("service", Kind::Free),
    ("mlag", Kind::Free),
    ("qos", Kind::Free),
    ("acl", Kind::Free),
    ("platform", Kind::Free),
];

/// Takes names with ranges apart: `swp1-3,bond1` and `10,20-22`. A name without one is itself.
pub(super) fn expand(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut stem = "";
    for part in text.split(',') {
        let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        let end = part.trim_end_matches(|it: char| it.is_ascii_digit() || it == '-').len();
        let (own, numbers) = part.split_at(end);
        if !own.is_empty() {
            stem = own;
        }
        match numbers.split_once('-') {
            Some((low, high)) if digits(low) && digits(high) => {
                let (low, high): (u32, u32) = (low.parse().unwrap_or(0), high.parse().unwrap_or(0));
                // As many as there are VLANs.
                out.extend((low..=high.min(low.saturating_add(4094))).map(|it| format!("{stem}{it}")));
            }
            _ if own.is_empty() && digits(numbers) => out.push(format!("{stem}{numbers}")),
            _ => out.push(part.to_owned()),
        }
    }
    out
}

/// The opposite of [`expand`].
pub(super) fn condense(names: &[String]) -> String {
    let mut stems: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut plain = Vec::new();
    for name in names {
        let (stem, number) = name.split_at(name.trim_end_matches(|it: char| it.is_ascii_digit()).len());
        match number.parse() {
            Ok(value) if number == "0" || !number.starts_with('0') => stems.entry(stem).or_default().push(value),
            _ => plain.push(name.clone()),
        }
    }
    for (stem, mut numbers) in stems {
        numbers.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for it in numbers {
            match runs.last_mut() {
                Some((_, high)) if *high + 1 == it => *high = it,
                _ => runs.push((it, it)),
            }
        }
        let runs: Vec<String> =
            runs.iter().map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") }).collect();
        plain.push(format!("{stem}{}", runs.join(",")));
    }
    plain.join(",")
}

fn typed(check: Check, text: &str, path: &[String]) -> Result<Value, String> {
    let at = path.join(".");
    let number = |low: u64, high: u64| match text.parse::<u64>() {
        Ok(it) if it < low => Err(format!("Error: At {at}: {it} is less than the minimum of {low}")),
        Ok(it) if it > high => Err(format!("Error: At {at}: {it} is greater than the maximum of {high}")),
        Ok(it) => Ok(json!(it)),
        Err(_) => Err(format!("Error: At {at}: '{text}' is not of type 'integer'")),
    };
    match check {
        Check::Any => Ok(json!(text)),
        Check::NumberOr(_, _, word) if word == text => Ok(json!(text)),
        Check::Number(low, high) | Check::NumberOr(low, high, _) => number(low, high),
        Check::OneOf(all) if all.contains(&text) => Ok(json!(text)),
        Check::OneOf(all) => {
            let all: Vec<String> = all.iter().map(|it| format!("'{it}'")).collect();
            Err(format!("Error: At {at}: '{text}' is not one of [{}]", all.join(", ")))
        }
    }
}

fn find(kinds: &'static [(&'static str, Kind)], word: &str) -> Option<Kind> {
    kinds.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

/// The entry of an object at a key; what is no object becomes one.
fn entry<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    let inner = &mut value[key];
    if inner.is_null() {
        *inner = json!({});
    }
    inner
}

/// Carries out `nv set` with these words.
///
/// # Errors
/// What NVUE prints.
pub(super) fn set(tree: &mut Value, words: &[String]) -> Result<(), String> {
    if words.is_empty() {
        return Err("Error: Incomplete Command: nv set".into());
    }
    set_in(tree, Kind::Object(ROOT), words, &mut Vec::new())
}

fn set_in(tree: &mut Value, kind: Kind, words: &[String], path: &mut Vec<String>) -> Result<(), String> {
    let Some((first, rest)) = words.split_first() else {
        return match kind {
            Kind::Leaf(_) | Kind::Choice(_) => Err(format!("Error: Incomplete Command: nv set {}", path.join(" "))),
            Kind::Object(_) | Kind::Keys(..) | Kind::Free => Ok(()),
        };
    };
    match kind {
        Kind::Object(kinds) => {
            let Some(inner) = find(kinds, first) else {
                return Err(format!("Error: Invalid Command: nv set {} {first}", path.join(" ")).replace("  ", " "));
            };
            path.push(first.clone());
            let done = set_in(entry(tree, first), inner, rest, path);
            path.pop();
            done
        }
        Kind::Keys(check, kinds) => {
            for key in expand(first) {
                path.push(key.clone());
                typed(check, &key, path)?;
                if path.first().is_some_and(|it| it == "interface") && path.len() == 2 && !is_interface(&key) {
                    return Err(format!("Error: At interface.{key}: '{key}' is not a 'interface-name'"));
                }
                let at = entry(tree, &key);
                set_in(at, Kind::Object(kinds), rest, path)?;
                path.pop();
            }
            Ok(())
        }
        Kind::Choice(all) => {
            typed(Check::OneOf(all), first, path)?;
            *tree = json!({ first: {} });
            no_more(rest, path)
        }
        Kind::Leaf(check) => {
            // The rest of the line, as a text of several words needs no quotes.
            let text = if matches!(check, Check::Any) { words.join(" ") } else { first.clone() };
            *tree = typed(check, &text, path)?;
            if matches!(check, Check::Any) { Ok(()) } else { no_more(rest, path) }
        }
        Kind::Free => set_in(entry(tree, first), Kind::Free, rest, path),
    }
}

fn no_more(rest: &[String], path: &[String]) -> Result<(), String> {
    match rest.first() {
        Some(word) => Err(format!("Error: Invalid Command: nv set {} {word}", path.join(" "))),
        None => Ok(()),
    }
}

fn is_interface(name: &str) -> bool {
    let starts = ["swp", "bond", "eth", "lo", "vlan", "peerlink", "vxlan", "br_", "mgmt"];
    starts.iter().any(|it| name.starts_with(it)) && name.len() <= 15
}

/// Carries out `nv unset` with these words. What is not there is not missed.
///
/// # Errors
/// What NVUE prints.
pub(super) fn unset(tree: &mut Value, words: &[String]) -> Result<(), String> {
    if words.is_empty() {
        *tree = json!({});
        return Ok(());
    }
    unset_in(tree, Kind::Object(ROOT), words, &mut Vec::new())
}

fn unset_in(tree: &mut Value, kind: Kind, words: &[String], path: &mut Vec<String>) -> Result<(), String> {
    let Some((first, rest)) = words.split_first() else { return Ok(()) };
    let (keys, inner) = match kind {
        Kind::Object(kinds) => match find(kinds, first) {
            Some(inner) => (vec![first.clone()], inner),
            None => return Err(format!("Error: Invalid Command: nv unset {} {first}", path.join(" ")).replace("  ", " ")),
        },
        Kind::Keys(check, kinds) => {
            for key in expand(first) {
                path.push(key.clone());
                typed(check, &key, path)?;
                path.pop();
            }
            (expand(first), Kind::Object(kinds))
        }
        Kind::Free | Kind::Choice(_) => (vec![first.clone()], Kind::Free),
        Kind::Leaf(_) => return Ok(()),
    };
    for key in keys {
        path.push(key.clone());
        let Some(map) = tree.as_object_mut() else { return Ok(()) };
        let value_named = matches!(inner, Kind::Leaf(_)) && !rest.is_empty();
        if rest.is_empty() || value_named {
            map.remove(&key);
        } else {
            match map.get_mut(&key) {
                Some(below) => unset_in(below, inner, rest, path)?,
                None => unset_in(&mut json!({}), inner, rest, path)?,
            }
            // Containers hold nothing by themselves; keys of the user's choice do.
            let hollow = map.get(&key).is_some_and(|it| it.as_object().is_some_and(Map::is_empty));
            if hollow && !matches!(kind, Kind::Keys(..)) {
                map.remove(&key);
            }
        }
        path.pop();
    }
    Ok(())
}

/// With keys of the same content put together, as `nv config show` prints them.
pub(super) fn condensed(tree: &Value) -> Value {
    condensed_in(tree, Kind::Object(ROOT))
}

fn condensed_in(tree: &Value, kind: Kind) -> Value {
    let Some(map) = tree.as_object() else { return tree.clone() };
    match kind {
        Kind::Object(kinds) => {
            map.iter().map(|(key, value)| (key.clone(), condensed_in(value, find(kinds, key).unwrap_or(Kind::Free)))).collect()
        }
        Kind::Keys(_, kinds) => {
            let mut groups: Vec<(Value, Vec<String>)> = Vec::new();
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by_key(|it| natural(it));
            for key in keys {
                let value = map.get(key).map(|it| condensed_in(it, Kind::Object(kinds))).unwrap_or_default();
                match groups.iter_mut().find(|(known, _)| *known == value) {
                    Some((_, names)) => names.push(key.clone()),
                    None => groups.push((value, vec![key.clone()])),
                }
            }
            groups.into_iter().map(|(value, names)| (condense(&names), value)).collect()
        }
        Kind::Choice(_) | Kind::Leaf(_) | Kind::Free => tree.clone(),
    }
}

/// As commands.
pub(super) fn commands(tree: &Value) -> Vec<String> {
    let mut out = Vec::new();
    collect(tree, &mut Vec::new(), &mut out);
    out
}

fn collect(tree: &Value, path: &mut Vec<String>, out: &mut Vec<String>) {
    let quote = |text: &str| {
        if text.contains([' ', '\'', '"', '#']) || text.is_empty() { format!("'{}'", text.replace('\'', "'\\''")) } else { text.to_owned() }
    };
    match tree {
        Value::Object(map) if map.is_empty() => {
            if !path.is_empty() {
                out.push(format!("nv set {}", path.join(" ")));
            }
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by_key(|it| natural(it));
            for key in keys {
                path.push(key.clone());
                collect(map.get(key).unwrap_or(&Value::Null), path, out);
                path.pop();
            }
        }
        Value::String(text) => out.push(format!("nv set {} {}", path.join(" "), quote(text))),
        other => out.push(format!("nv set {} {other}", path.join(" "))),
    }
}

/// As YAML, indented by so much.
pub(super) fn yaml(tree: &Value, depth: usize) -> String {
    let mut out = String::new();
    let Some(map) = tree.as_object() else { return out };
    let quote = |text: &str| {
        let odd = ["on", "off", "yes", "no", "true", "false", "null", ""].contains(&text)
            || text.parse::<f64>().is_ok()
            || text.starts_with(|it: char| !it.is_ascii_alphanumeric() && it != '_')
            || text.contains(": ")
            || text.contains(" #");
        if odd { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
    };
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by_key(|it| natural(it));
    for key in keys {
        out.push_str(&format!("{}{}:", " ".repeat(depth), quote(key)));
        match map.get(key) {
            Some(Value::Object(inner)) if inner.is_empty() => out.push_str(" {}\n"),
            Some(inner @ Value::Object(_)) => {
                out.push('\n');
                out.push_str(&yaml(inner, depth + 2));
            }
            Some(Value::String(text)) => out.push_str(&format!(" {}\n", quote(text))),
            Some(other) => out.push_str(&format!(" {other}\n")),
            None => out.push('\n'),
        }
    }
    out
}

/// What is in `after` and not, or not so, in `before`.
pub(super) fn difference(before: &Value, after: &Value) -> Value {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return after.clone() };
    let mut out = Map::new();
    for (key, value) in new {
        match old.get(key) {
            None => drop(out.insert(key.clone(), value.clone())),
            Some(was) if was == value => {}
            Some(was) => {
                let inner = difference(was, value);
                if !inner.as_object().is_some_and(Map::is_empty) {
                    out.insert(key.clone(), inner);
                }
            }
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn ranges_stand_for_several() {
        assert_eq!(expand("swp1-3,bond1,5"), ["swp1", "swp2", "swp3", "bond1", "bond5"]);
        assert_eq!(expand("10,20-21"), ["10", "20", "21"]);
        assert_eq!(expand("br_default"), ["br_default"]);
        assert_eq!(condense(&expand("swp1-3,swp7,bond2")), "bond2,swp1-3,7");
    }

    #[test]
    fn objects_are_set_and_unset() {
        let mut tree = json!({});
        for line in [
            "interface swp1-2 bridge domain br_default access 10",
            "interface swp3 bridge domain br_default vlan 10,20",
            "interface swp3 link state up",
            "interface swp3 link state down",
            "bridge domain br_default vlan 10 vni 1000",
        ] {
            set(&mut tree, &words(line)).expect(line);
        }
        assert_eq!(
            tree["interface"]["swp3"],
            json!({"bridge": {"domain": {"br_default": {"vlan": {"10": {}, "20": {}}}}}, "link": {"state": {"down": {}}}})
        );
        assert_eq!(
            commands(&condensed(&tree)),
            [
                "nv set bridge domain br_default vlan 10 vni 1000",
                "nv set interface swp1-2 bridge domain br_default access 10",
                "nv set interface swp3 bridge domain br_default vlan 10,20",
                "nv set interface swp3 link state down"
            ]
        );
        unset(&mut tree, &words("interface swp1 bridge domain br_default access")).expect("there");
        unset(&mut tree, &words("interface swp3 link state")).expect("there");
        assert_eq!(tree["interface"]["swp1"], json!({"bridge": {"domain": {"br_default": {}}}}));
        assert_eq!(tree["interface"]["swp3"].get("link"), None);
    }

    #[test]
    fn mistakes_are_refused() {
        let mut tree = json!({});
        let wrong = |tree: &mut Value, line: &str| set(tree, &words(line)).expect_err(line);
        let at = "Error: At interface.swp1.bridge.domain.br_default.access: 5000 is greater than the maximum of 4094";
        assert_eq!(wrong(&mut tree, "interface swp1 bridge domain br_default access 5000"), at);
        assert!(wrong(&mut tree, "interface swp1 bogus").starts_with("Error: Invalid Command: nv set interface swp1 bogus"));
        assert!(wrong(&mut tree, "interface swp1 link state sideways").contains("'sideways' is not one of ['up', 'down']"));
    }
}
