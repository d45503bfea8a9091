//! The text of configurations that are blocks of lines: a line at the margin opens a block, what is indented below belongs to it, and
//! `!` or `#` stand between. Also lists of VLANs and of interfaces as they are spelled in such lines. Pure.

use std::collections::BTreeSet;

use model::net::VlanId;

/// Blocks within blocks deeper than this are read as if they stood beside one another.
const DEPTH: usize = 8;
/// How long a list of VLANs in one line may be, in characters: the shortest line buffer among the switches holds 254.
const LIST: usize = 180;

/// A line and what stands indented below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Block<'a> {
    /// The line, without the space around it.
    pub(super) line: &'a str,
    /// What belongs to it.
    pub(super) inner: Vec<Block<'a>>,
}

impl<'a> Block<'a> {
    /// What follows these words in the line; nothing if the line does not begin with them.
    pub(super) fn after(&self, words: &str) -> Option<&'a str> {
        after(self.line, words)
    }

    /// What follows these words in the first inner line that begins with them.
    pub(super) fn inner_after(&self, words: &str) -> Option<&'a str> {
        self.inner.iter().find_map(|it| it.after(words))
    }
}

/// What follows these whole words in the line, without the space around it; nothing if the line does not begin with them.
pub(super) fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(words)?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim())
}

/// Reads the blocks of a configuration. The texts of banners, which may look like anything, are left out.
pub(super) fn read(text: &str) -> Vec<Block<'_>> {
    let mut done = Vec::new();
    let mut open: Vec<(usize, Block<'_>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(raw) = lines.next() {
        let line = raw.trim();
        if line.is_empty() {
            continue;
        }
        let indent = raw.len() - raw.trim_start().len();
        while open.last().is_some_and(|(at, _)| *at >= indent) || open.len() >= DEPTH {
            close(&mut open, &mut done);
        }
        if line.starts_with(['!', '#']) {
            continue;
        }
        if indent == 0
            && let Some(end) = banner_end(line)
        {
            let mut ahead = lines.clone();
            if ahead.any(|it| if end == "EOF" { it.trim() == end } else { it.contains(end) }) {
                lines = ahead;
            }
            continue;
        }
        open.push((indent, Block { line, inner: Vec::new() }));
    }
    while !open.is_empty() {
        close(&mut open, &mut done);
    }
    done
}

fn close<'a>(open: &mut Vec<(usize, Block<'a>)>, done: &mut Vec<Block<'a>>) {
    if let Some((_, block)) = open.pop() {
        match open.last_mut() {
            Some((_, parent)) => parent.inner.push(block),
            None => done.push(block),
        }
    }
}

/// What ends the text of a banner that this line begins; nothing if it begins none or ends it too.
fn banner_end(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("banner ")?;
    let Some((_, text)) = rest.trim().split_once(' ') else { return Some("EOF") };
    let text = text.trim();
    let end = if text.starts_with("^C") { "^C" } else { text.get(..text.chars().next()?.len_utf8())? };
    let is_mark = end == "^C" || end.chars().all(|it| !it.is_alphanumeric());
    (is_mark && !text.get(end.len()..)?.contains(end)).then_some(end)
}

/// All VLANs.
pub(super) fn all_vlans() -> BTreeSet<VlanId> {
    (1..=4094).filter_map(VlanId::new).collect()
}

/// Reads a list of VLANs: `1-3,5`, `1 to 3 5`, or a mixture; `all`, and `none`. Nothing if it is no such list.
pub(super) fn vlans(text: &str) -> Option<BTreeSet<VlanId>> {
    match text.trim() {
        "all" => return Some(all_vlans()),
        "none" | "" => return Some(BTreeSet::new()),
        _ => {}
    }
    let mut out = BTreeSet::new();
    let mut words = text.split([',', ' ']).filter(|it| !it.is_empty()).peekable();
    while let Some(word) = words.next() {
        let (first, last) = match word.split_once('-') {
            Some((first, last)) => (first, last),
            None if words.peek() == Some(&"to") => {
                words.next();
                (word, words.next()?)
            }
            None => (word, word),
        };
        let (first, last) = (vlan(first)?.get(), vlan(last)?.get());
        if first > last {
            return None;
        }
        out.extend((first..=last).filter_map(VlanId::new));
    }
    Some(out)
}

/// Reads one VLAN.
pub(super) fn vlan(text: &str) -> Option<VlanId> {
    text.trim().parse().ok().and_then(VlanId::new)
}

/// The runs of consecutive VLANs.
fn runs(vlans: &BTreeSet<VlanId>) -> Vec<(VlanId, VlanId)> {
    let mut out: Vec<(VlanId, VlanId)> = Vec::new();
    for &it in vlans {
        match out.last_mut() {
            Some((_, last)) if last.get() + 1 == it.get() => *last = it,
            _ => out.push((it, it)),
        }
    }
    out
}

/// Spells VLANs as `1-3,5`, in as many pieces as lines are needed; none if there is no VLAN.
pub(super) fn with_commas(vlans: &BTreeSet<VlanId>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (first, last) in runs(vlans) {
        let item = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match out.last_mut() {
            Some(line) if line.len() + item.len() < LIST => {
                line.push(',');
                line.push_str(&item);
            }
            _ => out.push(item),
        }
    }
    out
}

/// Spells VLANs as `1 to 3 5`, in as many pieces as lines are needed: a line takes ten items. None if there is no VLAN.
pub(super) fn with_to(vlans: &BTreeSet<VlanId>) -> Vec<String> {
    let item = |(first, last): &(VlanId, VlanId)| if first == last { first.to_string() } else { format!("{first} to {last}") };
    runs(vlans).chunks(10).map(|it| it.iter().map(item).collect::<Vec<_>>().join(" ")).collect()
}

/// Reads a range of interfaces, `1/1-1/4` or `1/1-4` or `7-8`, into its members (512 at most); a single one is a range too.
pub(super) fn interface_range(text: &str) -> Vec<String> {
    let Some((first, last)) = text.split_once('-') else { return vec![text.to_owned()] };
    let (stem, from) = first.rsplit_once('/').map_or(("", first), |(stem, from)| (stem, from));
    let to = last.rsplit_once('/').map_or(last, |(_, to)| to);
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if from <= to && to - from < 512 => {
            (from..=to).map(|it| if stem.is_empty() { it.to_string() } else { format!("{stem}/{it}") }).collect()
        }
        _ => vec![text.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u16]) -> BTreeSet<VlanId> {
        ids.iter().filter_map(|id| VlanId::new(*id)).collect()
    }

    #[test]
    fn blocks_are_read_by_indent_and_separator() {
        let text = "!\nhostname a\ninterface Ethernet1\n   description x\n   !\n   switchport mode trunk\n!\nrouter bgp 1\n   vlan 5\n      rd auto\n   !\n   vlan 6\n";
        let blocks = read(text);
        assert_eq!(blocks.iter().map(|it| it.line).collect::<Vec<_>>(), ["hostname a", "interface Ethernet1", "router bgp 1"]);
        assert_eq!(blocks[1].inner.len(), 2);
        assert_eq!(blocks[2].inner[0].inner[0].line, "rd auto");
        assert_eq!(blocks[2].inner[1].line, "vlan 6");
        assert_eq!(blocks[1].inner_after("switchport mode"), Some("trunk"));
        assert_eq!(after("switchport modes", "switchport mode"), None);
    }

    #[test]
    fn what_a_banner_says_is_no_configuration() {
        let text = "banner motd ^C\ninterface GigabitEthernet1/0/1\n switchport access vlan 5\n^C\nbanner login\ninterface Ethernet2\nEOF\nbanner exec #one line#\nbanner motd disable\ninterface Ethernet3\n";
        let lines: Vec<_> = read(text).iter().map(|it| it.line).collect();
        assert_eq!(lines, ["banner exec #one line#", "banner motd disable", "interface Ethernet3"]);
    }

    #[test]
    fn lists_of_vlans() {
        assert_eq!(vlans("1-3,5"), Some(set(&[1, 2, 3, 5])));
        assert_eq!(vlans("1 to 3 5"), Some(set(&[1, 2, 3, 5])));
        assert_eq!(vlans("all").map(|it| it.len()), Some(4094));
        assert_eq!(vlans("none"), Some(set(&[])));
        for bad in ["0", "4095", "5-3", "a", "1 to", "1--2"] {
            assert_eq!(vlans(bad), None, "{bad}");
        }
        assert_eq!(with_commas(&set(&[1, 2, 3, 5])), ["1-3,5"]);
        assert_eq!(with_to(&set(&[1, 2, 3, 5])), ["1 to 3 5"]);
        let odd: BTreeSet<VlanId> = (1..=1001).step_by(2).filter_map(VlanId::new).collect();
        assert!(with_commas(&odd).iter().all(|it| it.len() <= LIST));
        let read: BTreeSet<VlanId> = with_commas(&odd).iter().flat_map(|it| vlans(it).unwrap()).collect();
        assert_eq!(read, odd);
        let read: BTreeSet<VlanId> = with_to(&odd).iter().flat_map(|it| vlans(it).unwrap()).collect();
        assert_eq!(read, odd);
    }

    #[test]
    fn ranges_of_interfaces() {
        assert_eq!(interface_range("1/1-1/3"), ["1/1", "1/2", "1/3"]);
        assert_eq!(interface_range("1/1-3"), ["1/1", "1/2", "1/3"]);
        assert_eq!(interface_range("7-8"), ["7", "8"]);
        assert_eq!(interface_range("1/7"), ["1/7"]);
        assert_eq!(interface_range("8-7"), ["8-7"]);
    }
}
