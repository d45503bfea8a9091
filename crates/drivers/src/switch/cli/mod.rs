//! Switches with a command line over SSH.
//!
//! A [`Family`] is what differs between operating systems, and pure: which commands show the configuration, what their answers mean,
//! and which lines make a change. All else (sessions, prompts, refusals, commit, saving, reading back) is the same for all and written
//! once.

mod arista_eos;
mod aruba_aoscx;
mod blocks;
mod cisco_ios;
mod cisco_nxos;
mod cumulus_nvue;
mod dell_os10;
pub(super) mod families;
#[cfg(test)]
mod family_checks;
mod frr_linux;
mod hpe_comware;
mod huawei_vrp;
mod interfaces;
mod juniper_junos;
mod link_type;
mod linux;
mod mellanox_mlnxos;
mod nokia_srl;
mod ovs_ssh;
mod screen;
mod session;
#[cfg(test)]
mod session_tests;
mod setlines;
#[cfg(test)]
mod shell_tests;
mod sonic;
pub(super) mod switch;
mod switchport;

use super::plan::Change;
use super::{Facts, Overlay, SwitchSeen};
use model::net::VlanId;

/// The words of an operating system's command line that have nothing to do with what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// What a prompt ends with, such as `#`, `>`, `$` or `]`; a space after it is not part of it.
    pub prompt_ends: &'static [char],
    /// Run once after logging in: no paging, no wrapping, no colours.
    pub setup: &'static [&'static str],
    /// Makes more of the user, where that is needed to configure; it may ask for a password.
    pub enable: Option<&'static str>,
    /// Enters configuring.
    pub enter: &'static [&'static str],
    /// Makes the changes take effect, in configuring; empty where each line does at once.
    pub commit: &'static [&'static str],
    /// Gives up changes that were not made to take effect, in configuring; empty where there are none such.
    pub discard: &'static [&'static str],
    /// Leaves configuring.
    pub leave: &'static [&'static str],
    /// Saves what is in force for the next start, outside configuring; empty where the commit does.
    pub save: &'static [&'static str],
    /// Questions that a command may ask (a part of the text before the cursor), with the answer.
    pub answers: &'static [(&'static str, &'static str)],
    /// What an answer contains if the line was refused: compared without regard to case, at any place of the answer to that line.
    pub refusals: &'static [&'static str],
    /// What answers may contain although one of `refusals` is in them: such lines are left out before looking.
    pub harmless: &'static [&'static str],
    /// How long the commit and the saving may take, in seconds.
    pub commit_seconds: u32,
}

/// What a family is told of the one switch it is to read or write.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The VLAN of isolated ports.
    pub isolation: VlanId,
    /// The bridge, where there are several; empty: the usual one.
    pub bridge: &'a str,
    /// How VLANs are mapped to VXLAN networks.
    pub overlay: Option<&'a Overlay>,
}

/// What one operating system calls things. Pure: no input makes it panic.
pub trait Family: Send + Sync + 'static {
    /// The words around.
    fn dialect(&self) -> &Dialect;

    /// What it can do.
    fn facts(&self) -> Facts;

    /// The commands that show what is in force, outside configuring.
    fn show(&self, site: Site<'_>) -> Vec<String>;

    /// The commands that show what the next start comes back to, in the same form as [`Family::show`]; empty if the commit saves.
    fn show_saved(&self, _site: Site<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Reads the answers to [`Family::show`], or to [`Family::show_saved`]: ports, declared VLANs (`running`), groups. `unsaved`,
    /// `saved` and `carried` are the caller's to fill in.
    ///
    /// # Errors
    /// They are no answers to these commands: what was not understood. An unknown line is not an error, an unknown *mode* of a port is
    /// [`SeenMode::Foreign`](super::SeenMode::Foreign).
    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String>;

    /// The lines, in configuring, that make these changes to a switch that was seen like that. Where lines take effect one by one the
    /// order of the changes is kept, and no line opens a port before an earlier line has cleared what else it carried.
    ///
    /// Lines are sent in chunks, so a line may already be on its way when an earlier one is refused. Therefore each block of lines that
    /// belongs to one thing (`interface …`) ends with the line that leaves it (`exit`, `quit`): should the next block's first line be
    /// refused, its other lines then find nothing that they could change. And a line before which all earlier ones must have been
    /// accepted is told by [`Family::awaits`].
    ///
    /// # Errors
    /// A change cannot be expressed.
    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String>;

    /// Whether this line may only be sent when all earlier ones were accepted. Asked where lines take effect one by one only.
    fn awaits(&self, line: &str) -> bool {
        opens(line)
    }

    /// What the answer to each line, in configuring, must contain, where every line tells that it was done (shells); such text must not
    /// stand in the line itself.
    fn receipt(&self) -> Option<&'static str> {
        None
    }

    /// The name that [`Family::parse`] gives a port that is spelled like this in a cable's end (`GigabitEthernet1/0/7` for `Gi1/0/7`); what
    /// it gives is its own name.
    fn port_name(&self, spelled: &str) -> String {
        spelled.to_owned()
    }
}

/// Whether the line looks like one that lets frames through, in the words of most switches.
fn opens(line: &str) -> bool {
    let line = line.trim();
    ["no shutdown", "undo shutdown", "switchport mode ", "port link-type "].iter().any(|it| line.starts_with(it))
}
