//! The configuration of SR Linux: one object with lists by their keys, and the grammar of paths into it.
//!
//! Source: Nokia, "SR Linux Configuration Basics Guide" (CLI), "Interfaces Guide", "VXLAN Guide", "EVPN-VXLAN Guide"; the published
//! srl_nokia YANG models for what there is at a path.

use serde_json::{Map, Value, json};

use crate::netos::device::natural;

#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    Text,
    Number(u64, u64),
    Boolean,
    OneOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Container(&'static [Stmt]),
    /// Of its cases only one can be there.
    Choice(&'static [Stmt]),
    /// By the name of the key.
    List(&'static str, Check, &'static [Stmt]),
    Leaf(Check),
    /// Nothing is known about what follows.
    Free,
}

type Stmt = (&'static str, Kind);

const ADMIN: Check = Check::OneOf(&["enable", "disable"]);
const INSTANCES: Check = Check::Number(1, 2);

const ENCAP: &[Stmt] = &[
    ("untagged", Kind::Container(&[])),
    ("single-tagged", Kind::Container(&[("vlan-id", Kind::Leaf(Check::Text))])),
    ("single-tagged-range", Kind::Free),
];

const SUBINTERFACE: &[Stmt] = &[
    ("type", Kind::Leaf(Check::OneOf(&["bridged", "routed", "local-mirror-dest"]))),
    ("description", Kind::Leaf(Check::Text)),
    ("admin-state", Kind::Leaf(ADMIN)),
    ("vlan", Kind::Container(&[("encap", Kind::Choice(ENCAP))])),
    ("bridge-table", Kind::Free),
    ("ipv4", Kind::Free),
    ("ipv6", Kind::Free),
    ("acl", Kind::Free),
];

const INTERFACE: &[Stmt] = &[
    ("description", Kind::Leaf(Check::Text)),
    ("admin-state", Kind::Leaf(ADMIN)),
    ("mtu", Kind::Leaf(Check::Number(1500, 9500))),
    ("vlan-tagging", Kind::Leaf(Check::Boolean)),
    (
        "ethernet",
        Kind::Container(&[
            ("aggregate-id", Kind::Leaf(Check::Text)),
            ("port-speed", Kind::Leaf(Check::Text)),
            ("auto-negotiate", Kind::Leaf(Check::Boolean)),
            ("flow-control", Kind::Free),
            ("storm-control", Kind::Free),
            ("hold-time", Kind::Free),
        ]),
    ),
    (
        "lag",
        Kind::Container(&[
            ("lag-type", Kind::Leaf(Check::OneOf(&["static", "lacp"]))),
            ("min-links", Kind::Leaf(Check::Number(1, 64))),
            ("member-speed", Kind::Leaf(Check::Text)),
            (
                "lacp",
                Kind::Container(&[
                    ("interval", Kind::Leaf(Check::OneOf(&["FAST", "SLOW"]))),
                    ("lacp-mode", Kind::Leaf(Check::OneOf(&["ACTIVE", "PASSIVE"]))),
                    ("system-id-mac", Kind::Leaf(Check::Text)),
                    ("system-priority", Kind::Leaf(Check::Number(1, 65_535))),
                    ("admin-key", Kind::Leaf(Check::Number(0, 65_535))),
                ]),
            ),
            ("lacp-fallback-mode", Kind::Leaf(Check::Text)),
        ]),
    ),
    ("subinterface", Kind::List("index", Check::Number(0, 9999), SUBINTERFACE)),
];

const EVPN: &[Stmt] = &[(
    "bgp-instance",
    Kind::List(
        "id",
        INSTANCES,
        &[
            ("admin-state", Kind::Leaf(ADMIN)),
            ("vxlan-interface", Kind::Leaf(Check::Text)),
            ("evi", Kind::Leaf(Check::Number(1, 65_535))),
            ("ecmp", Kind::Leaf(Check::Number(1, 64))),
            ("routes", Kind::Free),
        ],
    ),
)];

const VPN: &[Stmt] = &[(
    "bgp-instance",
    Kind::List(
        "id",
        INSTANCES,
        &[
            ("route-distinguisher", Kind::Container(&[("rd", Kind::Leaf(Check::Text))])),
            ("route-target", Kind::Container(&[("export-rt", Kind::Leaf(Check::Text)), ("import-rt", Kind::Leaf(Check::Text))])),
            ("export-policy", Kind::Leaf(Check::Text)),
            ("import-policy", Kind::Leaf(Check::Text)),
        ],
    ),
)];

const INSTANCE: &[Stmt] = &[
    ("type", Kind::Leaf(Check::OneOf(&["mac-vrf", "ip-vrf", "default"]))),
    ("admin-state", Kind::Leaf(ADMIN)),
    ("description", Kind::Leaf(Check::Text)),
    ("interface", Kind::List("name", Check::Text, &[])),
    ("vxlan-interface", Kind::List("name", Check::Text, &[])),
    ("bridge-table", Kind::Free),
    (
        "protocols",
        Kind::Container(&[
            ("bgp-evpn", Kind::Container(EVPN)),
            ("bgp-vpn", Kind::Container(VPN)),
            ("bgp", Kind::Free),
            ("linux", Kind::Free),
            ("ospf", Kind::Free),
            ("isis", Kind::Free),
        ]),
    ),
    ("ip-forwarding", Kind::Free),
    ("router-id", Kind::Leaf(Check::Text)),
];

const TUNNEL: &[Stmt] = &[(
    "vxlan-interface",
    Kind::List(
        "index",
        Check::Number(0, 99_999_999),
        &[
            ("type", Kind::Leaf(Check::OneOf(&["bridged", "routed"]))),
            ("ingress", Kind::Container(&[("vni", Kind::Leaf(Check::Number(1, 16_777_215)))])),
            (
                "egress",
                Kind::Container(&[("source-ip", Kind::Leaf(Check::OneOf(&["use-system-ipv4-address", "use-system-ipv6-address"])))]),
            ),
            ("bridge-table", Kind::Free),
        ],
    ),
)];

pub(super) const ROOT: &[Stmt] = &[
    ("interface", Kind::List("name", Check::Text, INTERFACE)),
    ("network-instance", Kind::List("name", Check::Text, INSTANCE)),
    ("tunnel-interface", Kind::List("name", Check::Text, TUNNEL)),
    (
        "system",
        Kind::Container(&[
            ("name", Kind::Container(&[("host-name", Kind::Leaf(Check::Text)), ("domain-name", Kind::Leaf(Check::Text))])),
            ("network-instance", Kind::Free),
            ("lldp", Kind::Free),
            ("ssh-server", Kind::Free),
            ("grpc-server", Kind::Free),
            ("gnmi-server", Kind::Free),
            ("aaa", Kind::Free),
            ("management", Kind::Free),
            ("banner", Kind::Free),
            ("dns", Kind::Free),
            ("ntp", Kind::Free),
            ("logging", Kind::Free),
        ]),
    ),
    ("routing-policy", Kind::Free),
    ("acl", Kind::Free),
    ("qos", Kind::Free),
    ("platform", Kind::Free),
    ("bfd", Kind::Free),
];

fn find(stmts: &'static [Stmt], word: &str) -> Option<Kind> {
    stmts.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

fn unknown(word: &str, stmts: &'static [Stmt]) -> String {
    let mut options: Vec<String> = stmts.iter().map(|(name, _)| format!("'{name}'")).collect();
    options.sort();
    format!("Parsing error: Unknown token '{word}'. Options are [{}]", options.join(", "))
}

fn typed(check: Check, name: &str, text: &str) -> Result<Value, String> {
    let wrong = |says: String| Err(format!("Error: Invalid value \"{text}\" for '{name}': {says}"));
    match check {
        Check::Text => Ok(json!(text)),
        Check::Boolean => match text {
            "true" => Ok(json!(true)),
            "false" => Ok(json!(false)),
            _ => wrong("must be 'true' or 'false'".into()),
        },
        Check::Number(low, high) => match text.parse::<u64>() {
            Ok(it) if (low..=high).contains(&it) => Ok(json!(it)),
            _ => wrong(format!("must be a number in the range {low}..{high}")),
        },
        Check::OneOf(all) if all.contains(&text) => Ok(json!(text)),
        Check::OneOf(all) => wrong(format!("must be one of {all:?}")),
    }
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

/// Carries out `set` with a whole path.
///
/// # Errors
/// What the CLI prints.
pub(super) fn set(tree: &mut Value, words: &[String]) -> Result<(), String> {
    set_in(tree, ROOT, words)
}

fn set_in(tree: &mut Value, stmts: &'static [Stmt], words: &[String]) -> Result<(), String> {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let Some(kind) = find(stmts, word) else { return Err(unknown(word, stmts)) };
        rest = match kind {
            Kind::Container(inner) => return set_in(entry(tree, word), inner, after),
            Kind::Choice(inner) => {
                if let Some(case) = after.first().filter(|case| find(inner, case).is_some())
                    && let Some(map) = entry(tree, word).as_object_mut()
                {
                    map.retain(|known, _| known == case);
                }
                return set_in(entry(tree, word), inner, after);
            }
            Kind::List(key, check, inner) => {
                let Some((name, after)) = after.split_first() else { return Err(format!("Parsing error: Missing value for key '{key}'")) };
                typed(check, key, name)?;
                if word == "interface" && !inner.is_empty() && !is_interface(name) {
                    return Err(format!("Error: Invalid value \"{name}\" for 'name': does not match the pattern of interface names"));
                }
                return set_in(entry(entry(tree, word), name), inner, after);
            }
            Kind::Leaf(check) => {
                let Some((value, after)) = after.split_first() else { return Err(format!("Parsing error: Missing value for '{word}'")) };
                if word == "vlan-id" && value != "optional" {
                    typed(Check::Number(1, 4094), word, value)?;
                }
                let value = if word == "vlan-id" {
                    value.parse::<u64>().map_or_else(|_| json!(value), |it| json!(it))
                } else {
                    typed(check, word, value)?
                };
                *entry(tree, word) = value;
                after
            }
            Kind::Free => {
                let mut at = entry(tree, word);
                for it in after.iter().filter(|it| *it != "[" && *it != "]") {
                    at = entry(at, it);
                }
                &[]
            }
        };
    }
    if tree.is_null() {
        *tree = json!({});
    }
    Ok(())
}

fn is_interface(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let slot = |rest: &str| rest.split('/').all(number) && rest.contains('/');
    name.strip_prefix("ethernet-").is_some_and(slot)
        || ["lag", "irb", "lo", "system", "mgmt"].iter().any(|it| name.strip_prefix(it).is_some_and(number))
}

/// Carries out `delete` with a whole path.
///
/// # Errors
/// What the CLI prints.
pub(super) fn delete(tree: &mut Value, words: &[String]) -> Result<(), String> {
    check_path(words)?;
    delete_in(tree, words);
    Ok(())
}

fn delete_in(tree: &mut Value, words: &[String]) {
    let (Some((word, rest)), Some(map)) = (words.split_first(), tree.as_object_mut()) else { return };
    let keys: Vec<String> = if word == "*" { map.keys().cloned().collect() } else { vec![word.clone()] };
    for key in keys {
        // The value of a leaf may be named too.
        let is_leaf = map.get(&key).is_some_and(|it| !it.is_object());
        if rest.is_empty() || is_leaf {
            map.remove(&key);
        } else if let Some(inner) = map.get_mut(&key) {
            delete_in(inner, rest);
        }
    }
}

/// Whether there is something at a path in the grammar.
///
/// # Errors
/// What the CLI prints.
pub(super) fn check_path(words: &[String]) -> Result<(), String> {
    let mut stmts = ROOT;
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        match find(stmts, word) {
            None => return Err(unknown(word, stmts)),
            Some(Kind::Container(inner) | Kind::Choice(inner)) => (stmts, rest) = (inner, after),
            Some(Kind::List(_, _, inner)) => (stmts, rest) = (inner, after.get(1..).unwrap_or_default()),
            Some(Kind::Leaf(_) | Kind::Free) => return Ok(()),
        }
    }
    Ok(())
}

/// The part of the object at a path, within what is above it; `*` stands for all keys.
pub(super) fn part(tree: &Value, words: &[String]) -> Option<Value> {
    let Some((word, rest)) = words.split_first() else { return Some(tree.clone()) };
    let map = tree.as_object()?;
    let picked: Map<String, Value> = map
        .iter()
        .filter(|(key, _)| word == "*" || *key == word)
        .filter_map(|(key, value)| Some((key.clone(), part(value, rest)?)))
        .collect();
    (!picked.is_empty()).then_some(Value::Object(picked))
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<(&String, &Value)> = map.iter().collect();
    all.sort_by_key(|(key, _)| natural(key));
    all
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([' ', '"', ';', '{', '}', '#']) {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}

/// As `info flat` prints it.
pub(super) fn flat(tree: &Value) -> String {
    let mut out = String::new();
    flat_in(tree, &mut Vec::new(), &mut out);
    out
}

fn flat_in(tree: &Value, path: &mut Vec<String>, out: &mut String) {
    match tree {
        Value::Object(map) if map.is_empty() => {
            if !path.is_empty() {
                out.push_str(&format!("set / {}\n", path.join(" ")));
            }
        }
        Value::Object(map) => {
            for (key, value) in sorted(map) {
                path.push(quoted(key));
                flat_in(value, path, out);
                path.pop();
            }
        }
        other => out.push_str(&format!("set / {} {}\n", path.join(" "), word(other))),
    }
}

/// As `info` prints it.
pub(super) fn indented(tree: &Value) -> String {
    let mut out = String::new();
    indented_in(tree, ROOT, 1, &mut out);
    out
}

fn indented_in(tree: &Value, stmts: &'static [Stmt], depth: usize, out: &mut String) {
    let Some(map) = tree.as_object() else { return };
    let pad = "    ".repeat(depth);
    for (key, value) in sorted(map) {
        match find(stmts, key) {
            Some(Kind::List(_, _, inner)) => {
                for (name, entry) in value.as_object().map(sorted).unwrap_or_default() {
                    out.push_str(&format!("{pad}{key} {} {{\n", quoted(name)));
                    indented_in(entry, inner, depth + 1, out);
                    out.push_str(&format!("{pad}}}\n"));
                }
            }
            Some(Kind::Container(inner) | Kind::Choice(inner)) if value.is_object() => {
                out.push_str(&format!("{pad}{key} {{\n"));
                indented_in(value, inner, depth + 1, out);
                out.push_str(&format!("{pad}}}\n"));
            }
            _ if value.is_object() => {
                let mut lines = String::new();
                flat_in(value, &mut vec![quoted(key)], &mut lines);
                lines.lines().for_each(|it| out.push_str(&format!("{pad}{}\n", it.strip_prefix("set / ").unwrap_or(it))));
            }
            _ => out.push_str(&format!("{pad}{key} {}\n", word(value))),
        }
    }
}

/// As `| as json` prints it: lists are arrays whose entries name their keys.
pub(super) fn as_json(tree: &Value) -> Value {
    json_in(tree, ROOT)
}

fn json_in(tree: &Value, stmts: &'static [Stmt]) -> Value {
    let Some(map) = tree.as_object() else { return tree.clone() };
    let mut out = Map::new();
    for (key, value) in sorted(map) {
        let shown = match find(stmts, key) {
            Some(Kind::List(name, check, inner)) => value
                .as_object()
                .map(sorted)
                .unwrap_or_default()
                .into_iter()
                .map(|(own, entry)| {
                    let mut it = Map::from_iter([(name.to_owned(), typed(check, name, own).unwrap_or_else(|_| json!(own)))]);
                    if let Value::Object(rest) = json_in(entry, inner) {
                        it.extend(rest);
                    }
                    Value::Object(it)
                })
                .collect(),
            Some(Kind::Container(inner) | Kind::Choice(inner)) => json_in(value, inner),
            Some(Kind::Leaf(_) | Kind::Free) | None => value.clone(),
        };
        out.insert(key.clone(), shown);
    }
    Value::Object(out)
}

/// Splits a line into words; quotes hold words together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let (mut quote, mut escaped) = (false, false);
    for it in line.chars() {
        if escaped {
            word.get_or_insert_default().push(it);
            escaped = false;
        } else if quote && it == '\\' {
            escaped = true;
        } else if it == '"' {
            quote = !quote;
            word.get_or_insert_default();
        } else if it.is_whitespace() && !quote {
            out.extend(word.take());
        } else if it == '|' && !quote {
            out.extend(word.take());
            out.push("|".into());
        } else if it == '/' && !quote && word.is_none() && out.iter().all(|it| it != "/") {
            // The root may stand apart from what follows or not.
            out.push("/".into());
        } else {
            word.get_or_insert_default().push(it);
        }
    }
    out.extend(word);
    out
}
