//! Configurations that are lists of lines `set A B C`: words, numbers and ranges in them.

use std::collections::BTreeSet;

use model::net::VlanId;

/// The words of a line. What is in double quotes is one word; `\` makes the next character an ordinary one.
pub(super) fn words(line: &str) -> Vec<String> {
    split(line, &['"'])
}

/// The words of a line of a shell: single quotes too, in which `\` is an ordinary character.
pub(super) fn shell_words(line: &str) -> Vec<String> {
    split(line, &['"', '\''])
}

fn split(line: &str, quotes: &[char]) -> Vec<String> {
    let (mut out, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), None, false);
    let mut rest = line.trim().chars();
    while let Some(it) = rest.next() {
        match it {
            '\\' if quoted != Some('\'') => word.extend(rest.next()),
            it if quoted == Some(it) => quoted = None,
            it if quoted.is_none() && quotes.contains(&it) => quoted = Some(it),
            it if it.is_whitespace() && quoted.is_none() => {
                if begun {
                    out.push(std::mem::take(&mut word));
                }
                begun = false;
                continue;
            }
            it => word.push(it),
        }
        begun = true;
    }
    if begun {
        out.push(word);
    }
    out
}

/// The word as it is written in a line: in quotes if it needs them.
pub(super) fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The word as a shell takes it: literally.
pub(super) fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The name, if it can be a word of a shell's command line without being read as anything else.
///
/// # Errors
/// It cannot.
pub(super) fn shell_name(name: &str) -> Result<&str, String> {
    let fits = |it: char| it.is_ascii_alphanumeric() || "-_./:".contains(it);
    let good = !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.chars().all(fits);
    if good { Ok(name) } else { Err(format!("{name:?} is no name of a port or group")) }
}

/// The words as string slices, to match on.
pub(super) fn slices(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

/// All VLANs that there can be.
pub(super) fn every_vlan() -> BTreeSet<VlanId> {
    (1..=4094).filter_map(VlanId::new).collect()
}

/// `10` or `10-20`; `None` if it is neither.
pub(super) fn vlan_range(text: &str) -> Option<BTreeSet<VlanId>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let (first, last) = (VlanId::new(first)?, VlanId::new(last)?);
    (first <= last).then(|| (first.get()..=last.get()).filter_map(VlanId::new).collect())
}

/// `10,20-30`; `None` if a part of it is none of these.
pub(super) fn vlan_list(text: &str) -> Option<BTreeSet<VlanId>> {
    let mut out = BTreeSet::new();
    for part in text.split(',') {
        out.extend(vlan_range(part)?);
    }
    Some(out)
}

/// The VLANs as the fewest ranges: `10`, `20-30`.
pub(super) fn vlan_ranges(vlans: &BTreeSet<VlanId>) -> Vec<String> {
    let mut out: Vec<(u16, u16)> = Vec::new();
    for vlan in vlans.iter().map(|it| it.get()) {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == vlan => *last = vlan,
            _ => out.push((vlan, vlan)),
        }
    }
    out.into_iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") }).collect()
}

/// What a port is that we never configure: the reasons, in an operator's words. Those that name something to be taken away are read
/// again by the renderer, which is told nothing else of what was seen.
pub(super) fn reasons(text: &str) -> impl Iterator<Item = &str> {
    text.split("; ").filter(|it| !it.is_empty())
}

/// A configuration as a switch keeps it, to try rendered lines on: `set` adds a path, `delete` (or whatever takes away) all below one.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub(super) paths: BTreeSet<Vec<String>>,
}

#[cfg(test)]
impl Tree {
    /// Adds a path; `single` says whether its last word replaces others in its place.
    pub(super) fn set(&mut self, path: Vec<String>, single: bool) {
        if single && let Some((_, stem)) = path.split_last() {
            self.paths.retain(|it| !(it.len() == path.len() && it.starts_with(stem)));
        }
        self.paths.insert(path);
    }

    pub(super) fn delete(&mut self, path: &[String]) -> bool {
        let before = self.paths.len();
        self.paths.retain(|it| !it.starts_with(path));
        before != self.paths.len()
    }

    pub(super) fn text(&self, head: &str) -> String {
        self.paths.iter().map(|it| format!("{head} {}\n", it.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" "))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        assert_eq!(words(r#"set a "b c" d\"e ""#.trim()), ["set", "a", "b c", "d\"e", ""]);
        assert_eq!(words("  set  x "), ["set", "x"]);
        for word in ["plain", "with space", "quo\"te", "back\\slash", ""] {
            assert_eq!(words(&quoted(word)), [word]);
            assert_eq!(shell_words(&shell_quoted(word)), [word]);
        }
    }

    #[test]
    fn a_name_is_no_command() {
        assert_eq!(shell_name("swp1s0"), Ok("swp1s0"));
        for bad in ["", "-y", "swp1;reboot", "$(reboot)", "a b", "`x`", "a\nb"] {
            assert!(shell_name(bad).is_err(), "{bad}");
        }
        assert_eq!(shell_words("x 'a b' \"c d\" e\\ f"), ["x", "a b", "c d", "e f"]);
    }

    #[test]
    fn ranges_go_both_ways() {
        let vlans = vlan_list("5,10-12,4094").unwrap();
        assert_eq!(vlan_ranges(&vlans), ["5", "10-12", "4094"]);
        for bad in ["", "0", "4095", "12-10", "a", "1-", "5,"] {
            assert_eq!(vlan_list(bad), None, "{bad}");
        }
        assert_eq!(vlan_ranges(&every_vlan()), ["1-4094"]);
    }
}
