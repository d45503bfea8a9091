//! The configuration of Junos as a tree of words, with as much of its grammar as layer 2 needs.
//!
//! Source: Juniper, "CLI User Guide for Junos OS" (statements, `set`, `delete`, `display set`, `show | compare`) and "Ethernet Switching
//! User Guide" (the Enhanced Layer 2 Software statements of EX and QFX).

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A word, ordered as Junos lists it: numbers by their value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (mut left, mut right) = (self.0.as_str(), other.0.as_str());
        loop {
            let (l, r) = (number(left), number(right));
            if l > 0 && r > 0 {
                let (a, left_rest) = left.split_at(l);
                let (b, right_rest) = right.split_at(r);
                let (trim_a, trim_b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                let order = trim_a.len().cmp(&trim_b.len()).then_with(|| trim_a.cmp(trim_b));
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (left_rest, right_rest);
                continue;
            }
            match (left.chars().next(), right.chars().next()) {
                (None, None) => return self.0.cmp(&other.0),
                (None, _) => return Ordering::Less,
                (_, None) => return Ordering::Greater,
                (Some(a), Some(b)) if a != b => return a.cmp(&b),
                (Some(a), Some(b)) => {
                    left = left.get(a.len_utf8()..).unwrap_or_default();
                    right = right.get(b.len_utf8()..).unwrap_or_default();
                }
            }
        }
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What follows a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Node(pub(super) BTreeMap<Word, Node>);

/// What a value may be.
#[derive(Debug, Clone, Copy)]
enum Check {
    Any,
    Number(u32, u32),
    OneOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Groups statements; gone when it is empty.
    Group(&'static [Stmt]),
    /// Groups statements, and says something by being there.
    Presence(&'static [Stmt]),
    /// Keyed by the next word; `true`: the key stands beside the word in the curly form.
    Named(bool, &'static [Stmt]),
    Leaf(Check),
    Leaves(Check),
    Flag,
    /// Nothing is known about what follows.
    Free,
}

type Stmt = (&'static str, Kind);

const VLAN: Check = Check::Number(1, 4094);

const LAG: &[Stmt] = &[
    ("minimum-links", Kind::Leaf(Check::Number(1, 64))),
    ("link-speed", Kind::Leaf(Check::Any)),
    (
        "lacp",
        Kind::Group(&[
            ("active", Kind::Flag),
            ("passive", Kind::Flag),
            ("periodic", Kind::Leaf(Check::OneOf(&["fast", "slow"]))),
            ("system-id", Kind::Leaf(Check::Any)),
            ("admin-key", Kind::Leaf(Check::Any)),
            ("force-up", Kind::Flag),
        ]),
    ),
];

const ETHER: &[Stmt] = &[
    ("802.3ad", Kind::Leaf(Check::Any)),
    ("auto-negotiation", Kind::Flag),
    ("no-auto-negotiation", Kind::Flag),
    ("flow-control", Kind::Flag),
    ("no-flow-control", Kind::Flag),
    ("speed", Kind::Free),
    ("fec", Kind::Leaf(Check::Any)),
];

const SWITCHING: &[Stmt] = &[
    ("interface-mode", Kind::Leaf(Check::OneOf(&["access", "trunk"]))),
    ("vlan", Kind::Group(&[("members", Kind::Leaves(Check::Any))])),
    ("storm-control", Kind::Leaf(Check::Any)),
    ("recovery-timeout", Kind::Leaf(Check::Any)),
    ("filter", Kind::Free),
];

const UNIT: &[Stmt] = &[
    ("description", Kind::Leaf(Check::Any)),
    ("disable", Kind::Flag),
    ("vlan-id", Kind::Leaf(VLAN)),
    ("family", Kind::Group(&[("ethernet-switching", Kind::Presence(SWITCHING)), ("inet", Kind::Free), ("inet6", Kind::Free)])),
];

const INTERFACE: &[Stmt] = &[
    ("description", Kind::Leaf(Check::Any)),
    ("disable", Kind::Flag),
    ("mtu", Kind::Leaf(Check::Number(256, 9216))),
    ("speed", Kind::Leaf(Check::Any)),
    ("native-vlan-id", Kind::Leaf(VLAN)),
    ("vlan-tagging", Kind::Flag),
    ("flexible-vlan-tagging", Kind::Flag),
    ("encapsulation", Kind::Leaf(Check::Any)),
    ("hold-time", Kind::Free),
    ("ether-options", Kind::Group(ETHER)),
    ("gigether-options", Kind::Group(ETHER)),
    ("aggregated-ether-options", Kind::Group(LAG)),
    ("unit", Kind::Named(true, UNIT)),
];

const VLANS: &[Stmt] = &[
    ("vlan-id", Kind::Leaf(VLAN)),
    ("description", Kind::Leaf(Check::Any)),
    ("l3-interface", Kind::Leaf(Check::Any)),
    (
        "vxlan",
        Kind::Group(&[
            ("vni", Kind::Leaf(Check::Number(1, 16_777_214))),
            ("ingress-node-replication", Kind::Flag),
            ("multicast-group", Kind::Leaf(Check::Any)),
        ]),
    ),
    ("vrf-target", Kind::Free),
    ("vrf-export", Kind::Leaf(Check::Any)),
    ("vrf-import", Kind::Leaf(Check::Any)),
    ("switch-options", Kind::Free),
    ("forwarding-options", Kind::Free),
    ("interface", Kind::Free),
];

const ROOT: &[Stmt] = &[
    ("interfaces", Kind::Named(false, INTERFACE)),
    ("vlans", Kind::Named(false, VLANS)),
    (
        "chassis",
        Kind::Group(&[
            ("aggregated-devices", Kind::Group(&[("ethernet", Kind::Group(&[("device-count", Kind::Leaf(Check::Number(1, 512)))]))])),
            ("fpc", Kind::Free),
            ("alarm", Kind::Free),
            ("redundancy", Kind::Free),
        ]),
    ),
    ("protocols", Kind::Free),
    ("system", Kind::Free),
    ("switch-options", Kind::Free),
    ("routing-options", Kind::Free),
    ("routing-instances", Kind::Free),
    ("policy-options", Kind::Free),
    ("snmp", Kind::Free),
    ("forwarding-options", Kind::Free),
    ("firewall", Kind::Free),
    ("class-of-service", Kind::Free),
    ("event-options", Kind::Free),
    ("groups", Kind::Free),
    ("apply-groups", Kind::Leaves(Check::Any)),
    ("poe", Kind::Free),
    ("access", Kind::Free),
    ("security", Kind::Free),
    ("virtual-chassis", Kind::Free),
    ("version", Kind::Leaf(Check::Any)),
];

/// Pairs of which only one can be set.
const EITHER: &[(&str, &str)] = &[("active", "passive"), ("auto-negotiation", "no-auto-negotiation"), ("flow-control", "no-flow-control")];

/// Why a statement is not taken: at which word, and in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The number of the word; one past the end: something is missing.
    pub(super) at: usize,
    /// What Junos says below the mark.
    pub(super) says: String,
}

fn wrong<T>(at: usize, says: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, says: says.into() })
}

/// A resolved statement: its words, and at which of them what was there before is to go.
struct Path {
    words: Vec<String>,
    /// The value at the end replaces another.
    replaces: bool,
}

fn check(check: Check, value: &str, at: usize) -> Result<(), Wrong> {
    match check {
        Check::Any => Ok(()),
        Check::Number(low, high) => match value.parse::<u32>() {
            Ok(number) if (low..=high).contains(&number) => Ok(()),
            Ok(_) => wrong(at, format!("error: Value {value} is not within range ({low}..{high})")),
            Err(_) => wrong(at, format!("error: Invalid numeric value: '{value}'")),
        },
        Check::OneOf(all) if all.contains(&value) => Ok(()),
        Check::OneOf(_) => wrong(at, "syntax error."),
    }
}

fn find(stmts: &'static [Stmt], word: &str) -> Option<Kind> {
    stmts.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

/// Resolves the words after `set` (or, with `partial`, after `delete` and `show`, which may end early).
fn resolve(words: &[String], partial: bool) -> Result<Vec<Path>, Wrong> {
    let mut stmts = ROOT;
    let mut at = 0;
    let mut prefix: Vec<String> = Vec::new();
    let mut out = Vec::new();
    loop {
        let Some(word) = words.get(at) else {
            // `set vlans v10` is whole, `set interfaces` is not.
            return if out.is_empty() && !partial { wrong(at, "missing argument.") } else { Ok(out) };
        };
        let Some(kind) = find(stmts, word) else { return wrong(at, "syntax error.") };
        let with = |more: &[&String]| [prefix.clone(), vec![word.clone()], more.iter().map(|it| (*it).clone()).collect()].concat();
        let plain = |words: Vec<String>| Path { words, replaces: false };
        at += 1;
        match kind {
            Kind::Flag => out.push(plain(with(&[]))),
            Kind::Free => {
                let rest: Vec<&String> = words.iter().skip(at).collect();
                at = words.len();
                match (rest.iter().position(|it| *it == "["), rest.last()) {
                    (Some(open), Some(last)) if *last == "]" => {
                        let (before, list) = rest.split_at(open);
                        for value in list.iter().skip(1).take(list.len().saturating_sub(2)) {
                            out.push(plain(with(&[before, &[*value]].concat())));
                        }
                    }
                    _ => {
                        // `host-name` is the one statement of these that is needed to behave as a leaf.
                        let replaces = word == "system" && rest.first().is_some_and(|it| *it == "host-name") && rest.len() > 1;
                        out.push(Path { words: with(&rest), replaces });
                    }
                }
            }
            Kind::Leaf(form) => match words.get(at) {
                Some(value) => {
                    check(form, value, at)?;
                    out.push(Path { words: with(&[value]), replaces: true });
                    at += 1;
                }
                None if partial => out.push(plain(with(&[]))),
                None => return wrong(at, "missing argument."),
            },
            Kind::Leaves(form) => match words.get(at) {
                Some(open) if open == "[" => {
                    at += 1;
                    loop {
                        match words.get(at) {
                            Some(close) if close == "]" => break,
                            Some(value) => {
                                check(form, value, at)?;
                                out.push(plain(with(&[value])));
                                at += 1;
                            }
                            None => return wrong(at, "missing argument."),
                        }
                    }
                    at += 1;
                }
                Some(value) => {
                    check(form, value, at)?;
                    out.push(plain(with(&[value])));
                    at += 1;
                }
                None if partial => out.push(plain(with(&[]))),
                None => return wrong(at, "missing argument."),
            },
            Kind::Group(inner) | Kind::Presence(inner) => {
                let whole = matches!(kind, Kind::Presence(_)) || partial;
                prefix = with(&[]);
                stmts = inner;
                if at >= words.len() && whole {
                    out.push(plain(prefix.clone()));
                }
            }
            Kind::Named(_, inner) => match words.get(at) {
                Some(key) => {
                    if word == "interfaces" && !is_interface(key) {
                        return wrong(at, format!("error: invalid interface type in '{key}'"));
                    }
                    prefix = with(&[key]);
                    stmts = inner;
                    at += 1;
                    if at >= words.len() {
                        out.push(plain(prefix.clone()));
                    }
                }
                None if partial => out.push(plain(with(&[]))),
                None => return wrong(at, "missing argument."),
            },
        }
    }
}

/// Whether Junos knows interfaces that are called so.
fn is_interface(name: &str) -> bool {
    let media = ["xe-", "ge-", "et-", "mge-"];
    let numbered = ["ae", "irb", "em", "me", "vme", "lo", "fxp", "vlan"];
    let number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let slots = |text: &str| {
        let text = text.split_once(':').map_or(text, |(slots, _)| slots);
        text.split('/').count() == 3 && text.split('/').all(number)
    };
    media.iter().any(|it| name.strip_prefix(it).is_some_and(slots))
        || numbered.iter().any(|it| name.strip_prefix(it).is_some_and(|rest| number(rest) || rest.is_empty()))
}

impl Node {
    /// What is at a path.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, word| node.0.get(&Word((*word).to_owned())))
    }

    /// The single value below a statement.
    pub(super) fn value(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.0.keys().next().map(|it| it.0.as_str())
    }

    /// The words below a path.
    pub(super) fn words(&self, path: &[&str]) -> Vec<&str> {
        self.get(path).map(|node| node.0.keys().map(|it| it.0.as_str()).collect()).unwrap_or_default()
    }

    fn insert(&mut self, words: &[String]) {
        if let Some((first, rest)) = words.split_first() {
            self.0.entry(Word(first.clone())).or_default().insert(rest);
        }
    }

    fn at_mut(&mut self, words: &[String]) -> Option<&mut Self> {
        words.iter().try_fold(self, |node, word| node.0.get_mut(&Word(word.clone())))
    }

    /// Carries out `set` with these words.
    pub(super) fn set(&mut self, words: &[String]) -> Result<(), Wrong> {
        for path in resolve(words, false)? {
            let Some((last, before)) = path.words.split_last() else { continue };
            if let Some(parent) = self.at_mut(before) {
                if path.replaces {
                    parent.0.clear();
                }
                for (one, other) in EITHER {
                    for (set, goes) in [(one, other), (other, one)] {
                        if last == set {
                            parent.0.remove(&Word((*goes).to_owned()));
                        }
                    }
                }
            }
            self.insert(&path.words);
        }
        Ok(())
    }

    /// Carries out `delete` with these words; says whether there was such a statement.
    pub(super) fn delete(&mut self, words: &[String]) -> Result<bool, Wrong> {
        if words.is_empty() {
            self.0.clear();
            return Ok(true);
        }
        let mut found = false;
        for path in resolve(words, true)? {
            if let Some((last, before)) = path.words.split_last()
                && let Some(parent) = self.at_mut(before)
            {
                found |= parent.0.remove(&Word(last.clone())).is_some();
            }
            self.drop_hollow(&path.words);
        }
        if found {
            prune(self, ROOT);
        }
        Ok(found)
    }

    /// Takes away what became empty above a removed statement, where the grammar does not say what may be empty.
    fn drop_hollow(&mut self, words: &[String]) {
        for end in (1..words.len()).rev() {
            let Some((last, before)) = words.get(..end).and_then(<[String]>::split_last) else { return };
            let hollow = matches!(place(&[before, std::slice::from_ref(last)].concat()), Place::Free)
                && self.at_mut(words.get(..end).unwrap_or_default()).is_some_and(|it| it.0.is_empty());
            if !hollow {
                return;
            }
            if let Some(parent) = self.at_mut(before) {
                parent.0.remove(&Word(last.clone()));
            }
        }
    }

    /// Whether the words lead to a place in the grammar, for `edit` and `show`.
    pub(super) fn check_path(words: &[String]) -> Result<(), Wrong> {
        resolve(words, true).map(drop)
    }

    /// The statements below `prefix` as lines of `set`.
    pub(super) fn set_lines(&self, prefix: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(node) = self.get(&prefix.iter().map(String::as_str).collect::<Vec<_>>()) {
            let mut words = prefix.to_vec();
            collect(node, &mut words, &mut out);
        }
        out
    }

    /// The statements below `prefix` in the curly form.
    pub(super) fn curly(&self, prefix: &[String]) -> String {
        let mut out = String::new();
        if let Some(node) = self.get(&prefix.iter().map(String::as_str).collect::<Vec<_>>()) {
            curly(node, place(prefix), 0, "", &mut out);
        }
        out
    }

    /// What `show | compare` shows of the way from `before` to this.
    pub(super) fn compare(&self, before: &Self) -> String {
        let mut out = String::new();
        compare(before, self, Place::Stmts(ROOT), &mut Vec::new(), &mut out);
        out
    }

    /// Takes lines of `set` (without that word) as [`Node::set_lines`] gives them.
    pub(super) fn from_lines<'a>(lines: impl IntoIterator<Item = &'a String>) -> Self {
        let mut out = Self::default();
        for line in lines {
            let words: Vec<String> = words(line).into_iter().map(|it| it.1).collect();
            out.insert(words.get(1..).unwrap_or_default());
        }
        out
    }
}

fn prune(node: &mut Node, stmts: &'static [Stmt]) {
    node.0.retain(|word, child| {
        match find(stmts, &word.0) {
            Some(Kind::Group(inner)) => {
                prune(child, inner);
                return !child.0.is_empty();
            }
            Some(Kind::Presence(inner)) => prune(child, inner),
            Some(Kind::Named(_, inner)) => {
                child.0.values_mut().for_each(|it| prune(it, inner));
                return !child.0.is_empty();
            }
            // A statement with values that has none any more.
            Some(Kind::Leaf(_) | Kind::Leaves(_)) => return !child.0.is_empty(),
            Some(Kind::Flag | Kind::Free) | None => {}
        }
        true
    });
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|it| it.is_ascii_alphanumeric() || "-_./:*+,@%&".contains(it));
    if plain { word.to_owned() } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

fn collect(node: &Node, words: &mut Vec<String>, out: &mut Vec<String>) {
    if node.0.is_empty() {
        out.push(format!("set {}", words.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" ")));
    }
    for (word, child) in &node.0 {
        words.push(word.0.clone());
        collect(child, words, out);
        words.pop();
    }
}

/// Where in the grammar one is.
#[derive(Clone, Copy)]
enum Place {
    Stmts(&'static [Stmt]),
    Keys(&'static [Stmt]),
    Free,
}

fn step(place: Place, word: &str) -> Place {
    match place {
        Place::Stmts(stmts) => match find(stmts, word) {
            Some(Kind::Group(inner) | Kind::Presence(inner)) => Place::Stmts(inner),
            Some(Kind::Named(_, inner)) => Place::Keys(inner),
            _ => Place::Free,
        },
        Place::Keys(inner) => Place::Stmts(inner),
        Place::Free => Place::Free,
    }
}

fn place(path: &[String]) -> Place {
    path.iter().fold(Place::Stmts(ROOT), |place, word| step(place, word))
}

fn curly(node: &Node, place: Place, depth: usize, sign: &str, out: &mut String) {
    for (word, child) in &node.0 {
        statement(word, child, place, depth, sign, out);
    }
}

fn statement(word: &Word, child: &Node, place: Place, depth: usize, sign: &str, out: &mut String) {
    let pad = format!("{sign}{}", " ".repeat(depth * 4));
    let name = quoted(&word.0);
    let kind = match place {
        Place::Stmts(stmts) => find(stmts, &word.0),
        Place::Keys(_) | Place::Free => None,
    };
    let values = || child.0.keys().map(|it| quoted(&it.0)).collect::<Vec<_>>();
    let joined = matches!(kind, Some(Kind::Named(true, _))) || (word.0 == "family" && kind.is_some());
    let lone = matches!(place, Place::Free) && child.0.len() == 1 && child.0.values().all(|it| it.0.is_empty());
    if child.0.is_empty() {
        out.push_str(&format!("{pad}{name};\n"));
    } else if matches!(kind, Some(Kind::Leaf(_) | Kind::Leaves(_))) || lone {
        let values = values();
        let values = if values.len() == 1 { values.concat() } else { format!("[ {} ]", values.join(" ")) };
        out.push_str(&format!("{pad}{name} {values};\n"));
    } else if joined {
        let inner = step(place, &word.0);
        for (key, below) in &child.0 {
            if below.0.is_empty() {
                out.push_str(&format!("{pad}{name} {};\n", quoted(&key.0)));
            } else {
                out.push_str(&format!("{pad}{name} {} {{\n", quoted(&key.0)));
                curly(below, step(inner, &key.0), depth + 1, sign, out);
                out.push_str(&format!("{pad}}}\n"));
            }
        }
    } else {
        out.push_str(&format!("{pad}{name} {{\n"));
        curly(child, step(place, &word.0), depth + 1, sign, out);
        out.push_str(&format!("{pad}}}\n"));
    }
}

fn compare(before: &Node, after: &Node, at: Place, path: &mut Vec<String>, out: &mut String) {
    let mut here = String::new();
    let has_values = |word: &Word| match at {
        Place::Stmts(stmts) => matches!(find(stmts, &word.0), Some(Kind::Leaf(_) | Kind::Leaves(_))),
        Place::Keys(_) | Place::Free => false,
    };
    let mut words: Vec<&Word> = before.0.keys().chain(after.0.keys()).collect();
    words.sort();
    words.dedup();
    let mut deeper = Vec::new();
    for word in words {
        match (before.0.get(word), after.0.get(word)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) if has_values(word) => {
                for (value, _) in old.0.iter().filter(|(value, _)| !new.0.contains_key(value)) {
                    here.push_str(&format!("-   {} {};\n", quoted(&word.0), quoted(&value.0)));
                }
                for (value, _) in new.0.iter().filter(|(value, _)| !old.0.contains_key(value)) {
                    here.push_str(&format!("+   {} {};\n", quoted(&word.0), quoted(&value.0)));
                }
            }
            (Some(old), Some(new)) => deeper.push((word, old, new)),
            (Some(old), None) => statement(word, old, at, 0, "-   ", &mut here),
            (None, Some(new)) => statement(word, new, at, 0, "+   ", &mut here),
            (None, None) => {}
        }
    }
    if !here.is_empty() {
        let path = path.iter().map(|it| format!(" {}", quoted(it))).collect::<String>();
        out.push_str(&format!("[edit{path}]\n{here}"));
    }
    for (word, old, new) in deeper {
        path.push(word.0.clone());
        compare(old, new, step(at, &word.0), path, out);
        path.pop();
    }
}

/// Splits a line into words with the columns at which they begin. Quotes hold words together.
pub(super) fn words(line: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut quote = false;
    let mut escaped = false;
    for (at, it) in line.chars().enumerate() {
        if escaped {
            word.get_or_insert((at, String::new())).1.push(it);
            escaped = false;
        } else if quote && it == '\\' {
            escaped = true;
        } else if it == '"' {
            quote = !quote;
            word.get_or_insert((at, String::new()));
        } else if it.is_whitespace() && !quote {
            out.extend(word.take());
        } else if "[]|".contains(it) && !quote {
            out.extend(word.take());
            out.push((at, it.to_string()));
        } else {
            word.get_or_insert((at, String::new())).1.push(it);
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(lines: &[&str]) -> Node {
        let mut out = Node::default();
        for line in lines {
            set(&mut out, line).expect("a statement");
        }
        out
    }

    fn set(node: &mut Node, line: &str) -> Result<(), Wrong> {
        node.set(&words(line).into_iter().map(|it| it.1).collect::<Vec<_>>())
    }

    fn delete(node: &mut Node, line: &str) -> bool {
        node.delete(&words(line).into_iter().map(|it| it.1).collect::<Vec<_>>()).expect("a statement")
    }

    #[test]
    fn a_value_replaces_the_one_before_and_lists_grow() {
        let mut it = tree(&[
            "vlans v10 vlan-id 9",
            "vlans v10 vlan-id 10 description \"a b\"",
            "interfaces xe-0/0/10 unit 0 family ethernet-switching vlan members [ v10 v9 ]",
            "interfaces xe-0/0/2 unit 0 family ethernet-switching vlan members v10",
            "interfaces ae0 aggregated-ether-options lacp active",
            "interfaces ae0 aggregated-ether-options lacp passive",
        ]);
        assert_eq!(
            it.set_lines(&[]),
            [
                "set interfaces ae0 aggregated-ether-options lacp passive",
                "set interfaces xe-0/0/2 unit 0 family ethernet-switching vlan members v10",
                "set interfaces xe-0/0/10 unit 0 family ethernet-switching vlan members v9",
                "set interfaces xe-0/0/10 unit 0 family ethernet-switching vlan members v10",
                "set vlans v10 description \"a b\"",
                "set vlans v10 vlan-id 10",
            ]
        );
        assert_eq!(Node::from_lines(&it.set_lines(&[])), it);
        assert!(delete(&mut it, "interfaces xe-0/0/2 unit 0 family ethernet-switching vlan members"));
        assert!(!delete(&mut it, "interfaces xe-0/0/2 unit 0 family ethernet-switching vlan members"));
        assert_eq!(
            it.curly(&["interfaces".into()]),
            "ae0 {\n    aggregated-ether-options {\n        lacp {\n            passive;\n        }\n    }\n}\n\
             xe-0/0/2 {\n    unit 0 {\n        family ethernet-switching;\n    }\n}\n\
             xe-0/0/10 {\n    unit 0 {\n        family ethernet-switching {\n            vlan {\n                members [ v9 v10 ];\n            }\n        }\n    }\n}\n"
        );
    }

    #[test]
    fn what_is_no_statement_is_marked() {
        let mut it = Node::default();
        let wrong = |it: &mut Node, line: &str| set(it, line).expect_err("refused");
        assert_eq!(wrong(&mut it, "vlans v10 vlan-idd 5"), Wrong { at: 2, says: "syntax error.".into() });
        assert_eq!(wrong(&mut it, "vlans v10 vlan-id"), Wrong { at: 3, says: "missing argument.".into() });
        assert_eq!(wrong(&mut it, "vlans v10 vlan-id 4095").says, "error: Value 4095 is not within range (1..4094)");
        assert_eq!(wrong(&mut it, "interfaces eth0 disable").says, "error: invalid interface type in 'eth0'");
        assert_eq!(it, Node::default());
    }

    #[test]
    fn a_comparison_shows_what_differs_below_its_path() {
        let before = tree(&["vlans v10 vlan-id 10", "interfaces xe-0/0/1 unit 0 family ethernet-switching vlan members v10"]);
        let after = tree(&[
            "vlans v10 vlan-id 10",
            "vlans v20 vlan-id 20",
            "interfaces xe-0/0/1 unit 0 family ethernet-switching vlan members v20",
        ]);
        assert_eq!(
            after.compare(&before),
            "[edit interfaces xe-0/0/1 unit 0 family ethernet-switching vlan]\n-   members v10;\n+   members v20;\n\
             [edit vlans]\n+   v20 {\n+       vlan-id 20;\n+   }\n"
        );
    }
}
