//! What the families that are a Linux shell have in common: each line is a command of its own that tells whether it was done.

use super::Dialect;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::net::VlanId;

/// What each line ends with, and what it then prints last: the shell takes the quotation marks away, so the line does not contain it.
pub(super) const RECEIPT: (&str, &str) = (" && echo cofferdam-'done'", "cofferdam-done");

/// A login shell of root, or of a user who may become root. Nothing is saved: the kernel (or a database) holds what is in force.
pub(super) const DIALECT: Dialect = Dialect {
    prompt_ends: &['$', '#', '>', '%'],
    setup: &["export LC_ALL=C PAGER=cat"],
    enable: Some("sudo -s"),
    enter: &[],
    commit: &[],
    discard: &[],
    leave: &[],
    save: &[],
    answers: &[],
    refusals: &["command not found", "rtnetlink answers", "operation not permitted", "permission denied"],
    harmless: &[],
    commit_seconds: 30,
};

/// Commands as one line that stops at the first that fails.
pub(super) fn line(commands: &[String]) -> String {
    commands.join(" && ") + RECEIPT.0
}

/// A name that may stand in a command as it is.
///
/// # Errors
/// It has other characters than names of network devices commonly have.
pub(super) fn word(name: &str) -> Result<&str, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    if !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.chars().all(good) {
        Ok(name)
    } else {
        Err(format!("{name:?} cannot be a port's name"))
    }
}

/// A text in single quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.chars().filter(|c| !c.is_control() && *c != '\'').collect::<String>())
}

/// What a command printed as JSON.
///
/// # Errors
/// It is none: what stands there instead.
pub(super) fn json<T: serde::de::DeserializeOwned>(answer: &str, command: &str) -> Result<T, String> {
    let begin = || answer.trim().chars().take(100).collect::<String>();
    serde_json::from_str(answer.trim()).map_err(|error| format!("the answer to {command:?} begins with {:?}: {error}", begin()))
}

/// VLANs as `5` and `7-9`.
pub(super) fn ranges(vlans: &BTreeSet<VlanId>) -> Vec<String> {
    let mut out: Vec<(u16, u16)> = Vec::new();
    for vlan in vlans.iter().map(|it| it.get()) {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == vlan => *last = vlan,
            _ => out.push((vlan, vlan)),
        }
    }
    let show = |(first, last): &(u16, u16)| {
        let mut text = first.to_string();
        if last > first {
            // Writing to a string does not fail.
            write!(text, "-{last}").ok();
        }
        text
    };
    out.iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_command_stays_in_its_place() {
        assert_eq!(word("swp1"), Ok("swp1"));
        for bad in ["", "-f", "swp1;reboot", "a b", "$(id)", "a'b"] {
            assert!(word(bad).is_err(), "{bad}");
        }
        assert_eq!(quoted("cofferdam it's $HOME"), "'cofferdam its $HOME'");
        assert!(!line(&["true".to_owned()]).contains(RECEIPT.1));
    }

    #[test]
    fn vlans_are_ranges() {
        let vlans = [5, 7, 8, 9, 4094].into_iter().filter_map(VlanId::new).collect();
        assert_eq!(ranges(&vlans), ["5", "7-9", "4094"]);
    }
}
