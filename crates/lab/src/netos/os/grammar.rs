//! Lines of a command line matched against patterns, with the abbreviations and the exactness of complaint that network operating
//! systems have.
//!
//! A pattern is words: lower case ones are keywords, which may be abbreviated as long as no other pattern could be meant, and these
//! stand for arguments: `<vlan>` 1 to 4094, `<vlans>` a list such as `2,5-7`, `<vlans-to>` one such as `2 5 to 7`, `<num>`, `<1-16>` a
//! number in a range, `<port>` an interface, `<ports>` a list of interfaces (to the end of the line), `<word>`, `<line>` all that is
//! left.

use std::collections::BTreeSet;

/// An argument's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arg {
    Num(u32),
    Vlans(BTreeSet<u16>),
    Text(String),
    Ports(Vec<String>),
}

/// What stands where in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// Where it begins.
    pub(super) at: usize,
}

/// Why a line is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) kind: Kind,
    /// Which word of the line, counted from 0.
    pub(super) nth: usize,
    /// The column of that word; for `Incomplete` the end of the line.
    pub(super) at: usize,
    /// The word.
    pub(super) word: String,
}

/// In which way it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No keyword begins like this.
    Keyword,
    /// An argument stood here and this is no value of it.
    Value,
    /// More words follow.
    Incomplete,
    /// There is more than the command takes.
    TooMany,
    /// Several keywords begin like this.
    Ambiguous,
}

/// How interfaces are called.
pub(super) trait Names {
    /// The full name of an interface that is written like this, without spaces; whether there is one is another question.
    fn port(&self, text: &str) -> Option<String>;
}

/// Splits a line at its spaces.
pub(super) fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = line;
    let mut at = 0;
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t']);
        at += rest.len() - trimmed.len();
        if trimmed.is_empty() {
            return out;
        }
        let end = trimmed.find([' ', '\t']).unwrap_or(trimmed.len());
        let (text, tail) = trimmed.split_at(end);
        out.push(Token { text, at });
        at += end;
        rest = tail;
    }
}

/// How well a word fits: an exact keyword best, then an abbreviated one, then an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Argument,
    Prefix(&'static str),
    Exact,
}

impl Fit {
    fn rank(self) -> u8 {
        match self {
            Self::Argument => 0,
            Self::Prefix(_) => 1,
            Self::Exact => 2,
        }
    }
}

/// The one of the patterns that the line is, with its arguments. Patterns come with whatever the caller wants back.
pub(super) fn find<T: Copy>(
    names: &dyn Names,
    patterns: impl Iterator<Item = (&'static str, T)>,
    line: &str,
) -> Result<(T, Vec<Arg>), Bad> {
    let tokens = tokens(line);
    let mut best: Option<(Vec<Fit>, T, Vec<Arg>, bool)> = None;
    let mut worst: Option<Bad> = None;
    for (pattern, value) in patterns {
        match fit(names, pattern, &tokens, line) {
            Ok((fits, args)) => {
                let order = best.as_ref().map(|(known, ..)| compare(&fits, known));
                match order {
                    Some(Order::Better) | None => best = Some((fits, value, args, false)),
                    Some(Order::Tie) => {
                        if let Some((_, _, _, ambiguous)) = &mut best {
                            *ambiguous = true;
                        }
                    }
                    Some(Order::Worse) => {}
                }
            }
            Err(bad) => {
                let further = worst.as_ref().is_none_or(|known| (bad.nth, weight(bad.kind)) > (known.nth, weight(known.kind)));
                if further {
                    worst = Some(bad);
                }
            }
        }
    }
    match best {
        Some((_, value, args, false)) => Ok((value, args)),
        Some((_, _, _, true)) => {
            let first = tokens.last();
            let word = first.map_or_else(String::new, |it| it.text.to_owned());
            Err(Bad { kind: Kind::Ambiguous, nth: tokens.len(), at: first.map_or(0, |it| it.at), word })
        }
        None => Err(worst.unwrap_or(Bad { kind: Kind::Keyword, nth: 0, at: 0, word: String::new() })),
    }
}

/// Of complaints about the same word the more telling one.
fn weight(kind: Kind) -> u8 {
    match kind {
        Kind::Keyword => 0,
        Kind::TooMany => 1,
        Kind::Value => 2,
        Kind::Incomplete | Kind::Ambiguous => 3,
    }
}

enum Order {
    Better,
    Worse,
    Tie,
}

fn compare(left: &[Fit], right: &[Fit]) -> Order {
    for (left, right) in left.iter().zip(right) {
        match left.rank().cmp(&right.rank()) {
            std::cmp::Ordering::Greater => return Order::Better,
            std::cmp::Ordering::Less => return Order::Worse,
            std::cmp::Ordering::Equal if left != right => return Order::Tie,
            std::cmp::Ordering::Equal => {}
        }
    }
    // The same words: the first one of the table counts.
    Order::Worse
}

fn fit(names: &dyn Names, pattern: &'static str, tokens: &[Token<'_>], line: &str) -> Result<(Vec<Fit>, Vec<Arg>), Bad> {
    let mut fits = Vec::new();
    let mut args = Vec::new();
    let mut nth = 0;
    for word in pattern.split(' ') {
        let Some(token) = tokens.get(nth) else {
            return Err(Bad { kind: Kind::Incomplete, nth, at: line.trim_end().len(), word: String::new() });
        };
        let bad = |kind| Bad { kind, nth, at: token.at, word: token.text.to_owned() };
        if !word.starts_with('<') {
            let lower = token.text.to_ascii_lowercase();
            if lower == word {
                fits.push(Fit::Exact);
            } else if word.starts_with(&lower) {
                fits.push(Fit::Prefix(word));
            } else {
                return Err(bad(Kind::Keyword));
            }
            nth += 1;
            continue;
        }
        fits.push(Fit::Argument);
        let rest = line.get(token.at..).unwrap_or_default().trim_end();
        let (arg, taken) = match word {
            "<line>" => (Some(Arg::Text(rest.to_owned())), tokens.len() - nth),
            "<word>" => (Some(Arg::Text(token.text.to_owned())), 1),
            "<num>" => (token.text.parse().ok().map(Arg::Num), 1),
            "<vlan>" => (token.text.parse().ok().filter(|it| (1..=4094).contains(it)).map(Arg::Num), 1),
            "<vlans>" => (vlans(token.text).map(Arg::Vlans), 1),
            "<vlans-to>" => (vlans_to(rest).map(Arg::Vlans), tokens.len() - nth),
            "<ports>" => (ports(names, rest).map(Arg::Ports), tokens.len() - nth),
            "<port>" => {
                let next = tokens.get(nth + 1).filter(|it| it.text.starts_with(|it: char| it.is_ascii_digit()));
                match (names.port(token.text), next) {
                    (None, Some(next)) => (names.port(&format!("{}{}", token.text, next.text)).map(|it| Arg::Ports(vec![it])), 2),
                    (found, _) => (found.map(|it| Arg::Ports(vec![it])), 1),
                }
            }
            range => (number_in(range, token.text).map(Arg::Num), 1),
        };
        args.push(arg.ok_or_else(|| bad(Kind::Value))?);
        nth += taken;
    }
    match tokens.get(nth) {
        Some(token) => Err(Bad { kind: Kind::TooMany, nth, at: token.at, word: token.text.to_owned() }),
        None => Ok((fits, args)),
    }
}

fn number_in(range: &str, text: &str) -> Option<u32> {
    let (first, last) = range.trim_matches(['<', '>']).split_once('-')?;
    let number: u32 = text.parse().ok()?;
    (first.parse().ok()?..=last.parse().ok()?).contains(&number).then_some(number)
}

/// `2,5-7`: VLANs 1 to 4094 in any order.
pub(super) fn vlans(text: &str) -> Option<BTreeSet<u16>> {
    let mut out = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        if first == 0 || last > 4094 || first > last {
            return None;
        }
        out.extend(first..=last);
    }
    Some(out)
}

/// `2 5 to 7`.
fn vlans_to(text: &str) -> Option<BTreeSet<u16>> {
    let mut out = BTreeSet::new();
    let mut words = text.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        let first: u16 = word.parse().ok()?;
        let last = if words.next_if_eq(&"to").is_some() { words.next()?.parse().ok()? } else { first };
        if first == 0 || last > 4094 || first > last {
            return None;
        }
        out.extend(first..=last);
    }
    Some(out)
}

/// `Gi1/0/1-4,Gi1/0/7`, `ethernet 1/1-1/4`: the last number runs; whatever stands before it is that of the first of the range.
pub(super) fn ports(names: &dyn Names, text: &str) -> Option<Vec<String>> {
    let packed: String = text.chars().filter(|it| !it.is_ascii_whitespace()).collect();
    let mut out: Vec<String> = Vec::new();
    let mut stem = String::new();
    for part in packed.split(',') {
        // In `port-channel1-4` the first dash is part of the name.
        let digit = part.find(|it: char| it.is_ascii_digit())?;
        let dash = part.get(digit..)?.find('-').map(|it| it + digit);
        let (first, last) = match dash {
            Some(dash) => (part.get(..dash)?, part.get(dash + 1..)),
            None => (part, None),
        };
        let first = if first.starts_with(|it: char| it.is_ascii_digit()) && !stem.is_empty() {
            format!("{}{first}", stem.trim_end_matches(|it: char| !it.is_ascii_alphabetic() && it != '-'))
        } else {
            first.to_owned()
        };
        let number_at = first.rfind(|it: char| !it.is_ascii_digit()).map_or(0, |it| it + 1);
        let (prefix, number) = first.split_at(number_at);
        stem = prefix.trim_end_matches(|it: char| it.is_ascii_digit() || it == '/').to_owned();
        let from: u32 = number.parse().ok()?;
        let to: u32 = match last {
            Some(last) => last.rsplit(|it: char| !it.is_ascii_digit()).next()?.parse().ok()?,
            None => from,
        };
        if to < from || to - from > 512 {
            return None;
        }
        for number in from..=to {
            out.push(names.port(&format!("{prefix}{number}"))?);
        }
    }
    Some(out)
}

/// `2,5-7`.
pub(super) fn list(vlans: &BTreeSet<u16>) -> String {
    ranges(vlans)
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect::<Vec<_>>()
        .join(",")
}

/// Runs of VLANs, first and last.
pub(super) fn ranges(vlans: &BTreeSet<u16>) -> Vec<(u16, u16)> {
    let mut out: Vec<(u16, u16)> = Vec::new();
    for vlan in vlans {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == *vlan => *last = *vlan,
            _ => out.push((*vlan, *vlan)),
        }
    }
    out
}

/// `2 5 to 7`, in pieces of so many runs.
pub(super) fn list_to(vlans: &BTreeSet<u16>, runs: usize) -> Vec<String> {
    let text = |(first, last): &(u16, u16)| match last - first {
        0 => first.to_string(),
        1 => format!("{first} {last}"),
        _ => format!("{first} to {last}"),
    };
    ranges(vlans).chunks(runs.max(1)).map(|it| it.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

/// The list in pieces of at most `width` characters, as switches that break long lines show it.
pub(super) fn list_wrapped(vlans: &BTreeSet<u16>, width: usize) -> Vec<String> {
    let whole = list(vlans);
    let mut out: Vec<String> = Vec::new();
    for part in whole.split(',') {
        match out.last_mut() {
            Some(line) if line.len() + part.len() < width => {
                line.push(',');
                line.push_str(part);
            }
            _ => out.push(part.to_owned()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gi;

    impl Names for Gi {
        fn port(&self, text: &str) -> Option<String> {
            let lower = text.to_ascii_lowercase();
            let at = lower.find(|it: char| it.is_ascii_digit())?;
            let (kind, number) = lower.split_at(at);
            let full = ["GigabitEthernet", "Port-channel"].into_iter().find(|it| it.to_ascii_lowercase().starts_with(kind))?;
            Some(format!("{full}{number}"))
        }
    }

    const TABLE: &[(&str, u8)] = &[
        ("show running-config", 1),
        ("show vlan brief", 2),
        ("switchport access vlan <vlan>", 3),
        ("shutdown", 4),
        ("interface <port>", 5),
        ("interface vlan <vlan>", 6),
        ("vlan <vlans>", 7),
    ];

    fn ask(line: &str) -> Result<(u8, Vec<Arg>), Kind> {
        find(&Gi, TABLE.iter().copied(), line).map_err(|it| it.kind)
    }

    #[test]
    fn lines_are_matched_as_switches_do() {
        assert_eq!(ask("sh run"), Ok((1, vec![])));
        assert_eq!(ask("sw acc vl 7"), Ok((3, vec![Arg::Num(7)])));
        assert_eq!(ask("sw acc vl 5000"), Err(Kind::Value));
        assert_eq!(ask("sw acc vl"), Err(Kind::Incomplete));
        assert_eq!(ask("sw foo"), Err(Kind::Keyword));
        assert_eq!(ask("shutdown now"), Err(Kind::TooMany));
        assert_eq!(ask("int gi 1/0/1"), Ok((5, vec![Arg::Ports(vec!["GigabitEthernet1/0/1".into()])])));
        assert_eq!(ask("int vlan 5"), Ok((6, vec![Arg::Num(5)])));
        assert_eq!(ask("vlan 5,7-9"), Ok((7, vec![Arg::Vlans([5, 7, 8, 9].into())])));
    }

    #[test]
    fn ranges_of_interfaces() {
        let all = ports(&Gi, "gi1/0/1 - 3 , gi1/0/7, Po5").unwrap();
        assert_eq!(all, ["GigabitEthernet1/0/1", "GigabitEthernet1/0/2", "GigabitEthernet1/0/3", "GigabitEthernet1/0/7", "Port-channel5"]);
        assert_eq!(ports(&Gi, "port-channel1-2").unwrap(), ["Port-channel1", "Port-channel2"]);
        assert_eq!(ports(&Gi, "gi1/0/1-1/0/2").unwrap().len(), 2);
    }

    #[test]
    fn lists_of_vlans() {
        assert_eq!(list(&[1, 2, 3, 7, 9, 10].into()), "1-3,7,9-10");
        assert_eq!(vlans("0"), None);
        assert_eq!(vlans("4095"), None);
        assert_eq!(vlans_to("2 5 to 7"), Some([2, 5, 6, 7].into()));
        let many: BTreeSet<u16> = (1..200).step_by(2).collect();
        let wrapped = list_wrapped(&many, 60);
        assert!(wrapped.len() > 3 && wrapped.iter().all(|it| it.len() <= 60));
        assert_eq!(vlans(&wrapped.join(",")), Some(many));
    }
}
