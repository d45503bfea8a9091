//! Pieces of text that several operating systems print alike.

use super::super::device::{Config, Port, Vlan};
use super::grammar;

/// The full name of an interface of one of these kinds: letters (all, or the first of them) and then the number.
pub(super) fn full_name(text: &str, kinds: &[&str]) -> Option<String> {
    let at = text.find(|it: char| it.is_ascii_digit())?;
    let (kind, number) = text.split_at(at);
    let kind = kind.trim_end().to_ascii_lowercase();
    let is_number = number.split('/').all(|it| !it.is_empty() && it.len() < 5 && it.bytes().all(|it| it.is_ascii_digit()));
    let found = kinds.iter().find(|it| !kind.is_empty() && it.to_ascii_lowercase().starts_with(&kind))?;
    is_number.then(|| format!("{found}{number}"))
}

/// Padded to a column.
pub(super) fn pad(text: impl std::fmt::Display, width: usize) -> String {
    format!("{:<width$}", text.to_string())
}

/// Lines with an indentation.
pub(super) fn kept(lines: &[String], indent: &str) -> String {
    lines.iter().map(|it| format!("{indent}{it}\n")).collect()
}

/// The sections whose first line begins so, in the order of their numbers.
pub(super) fn sections<'a>(config: &'a Config, begin: &str) -> Vec<(&'a str, &'a [String])> {
    let mut out: Vec<(&str, &[String])> =
        config.extra.iter().filter(|(it, _)| it.starts_with(begin)).map(|(it, lines)| (it.as_str(), lines.as_slice())).collect();
    out.sort_by_key(|(it, _)| super::super::device::natural(it));
    out
}

/// The VLANs as they are declared: one by one, or neighbours in the table as a list where `is_plain` holds for each.
pub(super) fn vlan_lines(config: &Config, is_plain: impl Fn((u16, &Vlan)) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut plain = std::collections::BTreeSet::new();
    for (id, vlan) in config.vlans.iter().filter(|(id, _)| **id != 1) {
        if is_plain((*id, vlan)) {
            plain.insert(*id);
            continue;
        }
        if !plain.is_empty() {
            out.push(grammar::list(&std::mem::take(&mut plain)));
        }
        out.push(id.to_string());
    }
    if !plain.is_empty() {
        out.push(grammar::list(&plain));
    }
    out
}

/// Sections and those below them, with `separator` after each outermost one.
pub(super) fn tree(config: &Config, begin: &str, indent: &str, separator: &str) -> String {
    let mut out = String::new();
    for (header, lines) in config.extra.iter().filter(|(it, _)| it.starts_with(begin)) {
        let depth = header.matches('\n').count();
        if depth == 0 && !out.is_empty() {
            out += separator;
        }
        out += &format!("{}{}\n", indent.repeat(depth), header.rsplit('\n').next().unwrap_or_default());
        out += &kept(lines, &indent.repeat(depth + 1));
    }
    if !out.is_empty() {
        out += separator;
    }
    out
}

/// A port whose switching is as `fresh`, and all else as before: what leaves a group that took no settings of its members.
pub(super) fn unswitched(port: &Port, fresh: Port) -> Port {
    Port { up: port.up, description: port.description.clone(), group: port.group.clone(), extra: port.extra.clone(), ..fresh }
}
