//! Operating systems whose configuration is blocks of lines with one block for each interface: what all of them share.
//!
//! An [`Os`] says what its lines mean and how its lines are spelled; everything else, from a configuration to [`SwitchSeen`] and from
//! changes to lines, is here and is the same for all.
//!
//! A port is rebuilt while it is shut, so that no half of it is ever in force. Only a trunk whose untagged VLAN stays is changed while
//! it is up: its machine would lose its link for a VLAN more or less.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;

use super::blocks::{self, Block};
use super::{Change, Dialect, Family, Site};
use crate::switch::wanted::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen, Vni};

/// A trunk that carries this many carries all, which is not said by a list from which some could be taken.
const ALL: usize = 4093;

/// What all of these switches can do, mappings to VXLAN networks excepted.
pub(super) const FACTS: Facts =
    Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: false, has_lags: true, saves: true };

/// A kind of interface that can be switched.
pub(super) struct Kind {
    /// What its names begin with, as the configuration spells it.
    pub(super) name: &'static str,
    /// Spellings of it that are no beginnings of `name`, in lower case.
    pub(super) also: &'static [&'static str],
    /// Whether it is a group.
    pub(super) is_group: bool,
}

/// A kind of physical port.
pub(super) const fn port(name: &'static str, also: &'static [&'static str]) -> Kind {
    Kind { name, also, is_group: false }
}

/// A kind of group.
pub(super) const fn group(name: &'static str, also: &'static [&'static str]) -> Kind {
    Kind { name, also, is_group: true }
}

/// How an interface handles VLANs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// Untagged in one VLAN.
    #[default]
    Access,
    /// Tagged, and perhaps untagged in one.
    Trunk,
    /// Otherwise; the line that says so.
    Other(String),
}

/// What the lines of one interface say.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    /// Whether it is routed, not switched.
    pub(super) routed: bool,
    /// Whether a line says that it is routed. If none does, a line about its VLANs says that it is switched.
    pub(super) says_routed: bool,
    /// Whether it is shut.
    pub(super) shut: bool,
    /// How it handles VLANs.
    pub(super) mode: Mode,
    /// Its VLAN in access mode.
    pub(super) access: Option<VlanId>,
    /// The VLAN of untagged frames in trunk mode.
    pub(super) native: Option<VlanId>,
    /// Whether `native` counts even if it is not among `allowed`.
    pub(super) native_counts: bool,
    /// Whether untagged frames are dropped in trunk mode whatever `native` is.
    pub(super) drops_untagged: bool,
    /// What it carries in trunk mode; `None`: all.
    pub(super) allowed: Option<BTreeSet<VlanId>>,
    /// What it carries tagged in a mode of both tagged and untagged frames that is not trunk mode, where there is one.
    pub(super) hybrid: BTreeSet<VlanId>,
    /// The group it belongs to, with how it says that they find together.
    pub(super) group: Option<(String, Option<LagProtocol>)>,
    /// How the links of this group find together, where the group says so itself.
    pub(super) protocol: Option<LagProtocol>,
    /// Lines that make it something else than any of our modes, which [`Os::NO`] takes back.
    pub(super) odd: Vec<String>,
    /// Lines of trunk mode that stay when the mode changes and do not go by themselves, which [`Os::NO`] takes back.
    pub(super) residue: Vec<String>,
    /// Its description.
    pub(super) description: String,
    /// Whether it is no port of ours to see: a management port.
    pub(super) hidden: bool,
}

impl Link {
    /// An interface in access mode, up, of VLAN 1, which would carry VLAN 1 untagged and all others tagged if it were a trunk.
    pub(super) fn fresh() -> Link {
        Link { access: VlanId::new(1), native: VlanId::new(1), ..Link::default() }
    }

    fn trunk(&self) -> PortMode {
        let mut tagged = self.allowed.clone().unwrap_or_else(blocks::all_vlans);
        let native = self.native.filter(|it| !self.drops_untagged && (tagged.remove(it) || self.native_counts));
        PortMode::Trunk { native, tagged }
    }

    fn mode(&self, isolation: VlanId, group_is_shut: bool) -> SeenMode {
        let mut odd: Vec<String> = Vec::new();
        let known = match (&self.group, &self.mode) {
            (Some((lag, _)), _) => PortMode::Member { lag: lag.clone() },
            _ if self.routed => {
                odd.push("routed".to_owned());
                PortMode::Isolated
            }
            (None, Mode::Trunk) => self.trunk(),
            (None, Mode::Access) => match self.access {
                Some(vlan) if self.shut && vlan == isolation => PortMode::Isolated,
                Some(vlan) => PortMode::Access(vlan),
                None => {
                    odd.push("access without a VLAN".to_owned());
                    PortMode::Isolated
                }
            },
            (None, Mode::Other(line)) => {
                odd.push(line.clone());
                PortMode::Isolated
            }
        };
        if self.group.is_none() {
            odd.extend(self.odd.iter().cloned());
            if self.mode != Mode::Trunk || self.shut {
                odd.extend(self.residue.iter().cloned());
            }
        }
        let is_open = self.shut == (known == PortMode::Isolated) || (self.group.is_some() && group_is_shut);
        if odd.is_empty() && is_open {
            return SeenMode::Known(known);
        }
        match known {
            PortMode::Isolated => {}
            PortMode::Trunk { .. } if self.allowed.is_none() => odd.insert(0, "trunk of all VLANs".to_owned()),
            known => odd.insert(0, known.to_string()),
        }
        if self.shut {
            odd.push("shut".to_owned());
        }
        SeenMode::Foreign(odd.join("; "))
    }

    /// The VLANs that frames of it can be in though it is in none of our modes.
    fn strays(&self) -> BTreeSet<VlanId> {
        if self.shut || self.routed || self.group.is_some() {
            return BTreeSet::new();
        }
        let named = self.odd.iter().chain(&self.residue).filter_map(|it| {
            let list = it.rsplit_once("vlan ").map_or(it.as_str(), |(_, list)| list);
            blocks::vlans(list.trim_end_matches(" untagged").trim_end_matches(" tagged"))
        });
        let mut out: BTreeSet<VlanId> = named.flatten().collect();
        match (&self.mode, &self.allowed) {
            (Mode::Trunk, Some(allowed)) => out.extend(allowed),
            (Mode::Trunk, None) => {}
            _ => out.extend(self.access),
        }
        out
    }
}

/// What the render of a change may need to know beside it.
pub(super) struct Around<'a> {
    /// All changes of this batch.
    pub(super) changes: &'a [Change],
    /// What was seen.
    pub(super) seen: &'a SwitchSeen,
    /// The switch.
    pub(super) site: Site<'a>,
}

impl Around<'_> {
    /// How the links of a group are to find together: as this batch makes it, else as it was seen, else by LACP.
    pub(super) fn protocol(&self, lag: &str) -> LagProtocol {
        let made = self.changes.iter().rev().find_map(|it| match it {
            Change::AddLag { lag: name, protocol } if name == lag => Some(*protocol),
            _ => None,
        });
        made.or_else(|| self.seen.lags.get(lag).and_then(|it| it.protocol)).unwrap_or(LagProtocol::Lacp)
    }

    /// What a group carries at the moment at which its members join: what it was seen to be, or what it is made as.
    pub(super) fn group_mode(&self, lag: &str) -> PortMode {
        match self.seen.mode(lag) {
            SeenMode::Known(mode) => mode.clone(),
            _ => PortMode::Isolated,
        }
    }

    /// The overlay.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn overlay(&self) -> Result<&crate::switch::Overlay, String> {
        self.site.overlay.ok_or_else(|| "it is not told how VLANs are mapped to VXLAN networks".to_owned())
    }
}

/// An operating system whose configuration has a block of lines for each interface.
pub(super) trait Os: Send + Sync + 'static {
    /// The words around.
    const WORDS: Dialect;
    /// What it can do.
    const FACTS: Facts = FACTS;
    /// The commands that show what is in force; the first shows the configuration.
    const SHOW: &'static [&'static str];
    /// The commands that show what the next start comes back to.
    const SAVED: &'static [&'static str];
    /// What can be switched. An abbreviation means the first that it fits.
    const KINDS: &'static [Kind];
    /// Takes a line back.
    const NO: &'static str = "no";
    /// Leaves a block.
    const EXIT: &'static str = "exit";
    /// Whether members tell how their group finds together, not the group; a group without members then tells it in its description.
    const MEMBERS_TELL: bool = true;

    /// What lines begin with that make an interface something else than any of our modes, and lines of a former mode that stay.
    const ODD: &'static [&'static str];

    /// Whether what a trunk carried tagged is to be taken away by name before it becomes something else.
    const TRUNK_STAYS: bool = false;

    /// What a port and a group are of which no line is there.
    fn fresh(&self, _blocks: &[Block<'_>]) -> (Link, Link) {
        (Link::fresh(), Link::fresh())
    }

    /// The interfaces that a block at the margin is about, with their lines; none if it is about something else.
    fn interfaces<'a>(&self, block: &Block<'a>) -> (Vec<String>, Vec<&'a str>) {
        match block.after("interface") {
            Some(name) => (vec![name.to_owned()], block.inner.iter().map(|it| it.line).collect()),
            None => Default::default(),
        }
    }

    /// Draws the sum of what all lines of an interface said.
    fn sum_up(&self, _link: &mut Link) {}

    /// Takes up what one line of an interface says.
    fn line(&self, link: &mut Link, line: &str);

    /// Adds what other answers than the configuration say: ports without lines in it, VLANs.
    fn others(
        &self,
        _answers: &[String],
        _links: &mut BTreeMap<String, Link>,
        _blocks: &[Block<'_>],
        _vlans: &mut BTreeMap<VlanId, VlanSeen>,
    ) {
    }

    /// The declared VLANs.
    fn vlans(&self, blocks: &[Block<'_>]) -> BTreeMap<VlanId, VlanSeen> {
        declared(blocks, "name")
    }

    /// The line that describes an interface.
    fn description(&self, text: &str) -> String {
        format!("description {text}")
    }

    /// The line at the margin that opens an interface's block.
    fn open(&self, name: &str) -> String {
        format!("interface {name}")
    }

    /// The lines that make an interface, shut, carry one VLAN untagged and clear every trace of a trunk.
    fn access(&self, out: &mut Vec<String>, vlan: VlanId, around: &Around<'_>);

    /// The lines that make an interface, shut, a trunk of exactly this.
    fn trunk(&self, out: &mut Vec<String>, native: Option<VlanId>, tagged: &BTreeSet<VlanId>, around: &Around<'_>);

    /// The lines that change what a trunk, up, carries tagged. `native` is its VLAN of untagged frames, which stays.
    fn retag(&self, out: &mut Vec<String>, native: Option<VlanId>, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>);

    /// The line that makes a trunk of these VLANs drop untagged frames, where it needs one.
    fn without_native(&self, _out: &mut Vec<String>, _tagged: &BTreeSet<VlanId>, _around: &Around<'_>) {}

    /// The lines that make a switched port of one that may be routed.
    fn make_switched(&self, out: &mut Vec<String>, was_routed: bool);

    /// The lines that make a port, shut and switched, a member of a group.
    fn join(&self, out: &mut Vec<String>, lag: &str, around: &Around<'_>);

    /// The line that makes a port leave the group.
    fn part(&self, _lag: &str) -> String {
        "no channel-group".to_owned()
    }

    /// The lines inside the group's block that set how its links find together, where the group says so itself.
    fn set_protocol(&self, _out: &mut Vec<String>, _protocol: LagProtocol) {}

    /// The lines that declare or rename a VLAN.
    fn declare(&self, out: &mut Vec<String>, vlan: VlanId, name: &str) {
        out.extend([format!("vlan {vlan}"), format!("name {name}"), Self::EXIT.to_owned()]);
    }

    /// The lines that take a VLAN away.
    fn undeclare(&self, out: &mut Vec<String>, vlan: VlanId) {
        out.push(format!("{} vlan {vlan}", Self::NO));
    }

    /// The lines that map a VLAN.
    ///
    /// # Errors
    /// They cannot be mapped.
    fn map(&self, _out: &mut Vec<String>, vlan: VlanId, _vni: Vni, _around: &Around<'_>) -> Result<(), String> {
        Err(format!("it cannot map VLAN {vlan} to a VXLAN network"))
    }

    /// The lines that take a mapping away.
    ///
    /// # Errors
    /// They cannot be mapped.
    fn unmap(&self, _out: &mut Vec<String>, vlan: VlanId, _vni: Vni, _around: &Around<'_>) -> Result<(), String> {
        Err(format!("it cannot map VLAN {vlan} to a VXLAN network"))
    }
}

impl<T: Os> Family for T {
    fn dialect(&self) -> &Dialect {
        &T::WORDS
    }

    fn facts(&self) -> Facts {
        T::FACTS
    }

    fn show(&self, _site: Site<'_>) -> Vec<String> {
        T::SHOW.iter().map(|it| (*it).to_owned()).collect()
    }

    fn show_saved(&self, _site: Site<'_>) -> Vec<String> {
        T::SAVED.iter().map(|it| (*it).to_owned()).collect()
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        parse(self, answers, site)
    }

    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let around = Around { changes, seen, site };
        // Ports are isolated before anything is declared, but not into a VLAN that is not there.
        let is_isolation = |it: &&Change| matches!(it, Change::AddVlan { vlan, .. } if *vlan == site.isolation);
        let mut out = Vec::new();
        for change in changes.iter().filter(is_isolation).chain(changes.iter().filter(|it| !is_isolation(it))) {
            render(self, &mut out, change, &around)?;
        }
        Ok(out)
    }

    fn awaits(&self, line: &str) -> bool {
        // Lines that leave blocks that were never entered leave configuring first, and then the session.
        let begins = ["interface ", "vlan ", "router ", "evpn"].iter().any(|it| line.starts_with(it));
        begins || super::opens(line)
    }

    fn port_name(&self, spelled: &str) -> String {
        name::<T>(spelled).map_or_else(|| spelled.to_owned(), |(name, _)| name)
    }
}

/// The name that the configuration gives an interface spelled like this, and whether it is a group; nothing if it is not switched.
pub(super) fn name<T: Os>(spelled: &str) -> Option<(String, bool)> {
    let spelled = spelled.trim();
    let at = spelled.rfind(|it: char| it.is_alphabetic()).map_or(0, |at| at + 1);
    let (head, tail) = (spelled.get(..at)?.trim(), spelled.get(at..)?.trim());
    let is_number =
        tail.starts_with(|it: char| it.is_ascii_digit()) && tail.chars().all(|it| it.is_ascii_digit() || it == '/' || it == ':');
    if !is_number {
        return None;
    }
    let exact = |it: &&Kind| it.name.trim_end().eq_ignore_ascii_case(head) || it.also.iter().any(|it| it.eq_ignore_ascii_case(head));
    let begun = |it: &&Kind| head.len() >= 2 && it.name.get(..head.len()).is_some_and(|it| it.eq_ignore_ascii_case(head));
    let kind = T::KINDS.iter().find(exact).or_else(|| T::KINDS.iter().find(begun))?;
    Some((format!("{}{tail}", kind.name), kind.is_group))
}

/// Whether the answer says that nothing was saved yet.
fn is_nothing(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    text.is_empty()
        || (text.lines().count() <= 3
            && ["not present", "no startup", "not exist", "is empty", "not found", "no configuration", "no saved"]
                .iter()
                .any(|it| text.contains(it)))
}

/// The mark of a group's description that tells how its links find together while it has none.
const fn hint(protocol: LagProtocol) -> &'static str {
    match protocol {
        LagProtocol::Lacp => " [lacp]",
        LagProtocol::Static => " [static]",
    }
}

/// A group's description without its hint, and the hint.
fn without_hint(text: &str) -> (&str, Option<LagProtocol>) {
    let found = [LagProtocol::Lacp, LagProtocol::Static].into_iter().find_map(|it| Some((text.strip_suffix(hint(it))?, Some(it))));
    found.unwrap_or((text, None))
}

fn parse<T: Os>(os: &T, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
    let text = answers.first().ok_or("there is no answer")?;
    if is_nothing(text) {
        return Ok(SwitchSeen::default());
    }
    let blocks = blocks::read(text);
    let (port, group) = os.fresh(&blocks);
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    let mut is_configuration = false;
    for block in &blocks {
        let (names, lines) = os.interfaces(block);
        is_configuration |= !names.is_empty();
        for (name, is_group) in names.iter().filter_map(|it| name::<T>(it)) {
            let link = links.entry(name).or_insert_with(|| if is_group { group.clone() } else { port.clone() });
            for line in &lines {
                os.line(link, line);
            }
        }
    }
    let mut vlans = os.vlans(&blocks);
    os.others(answers, &mut links, &blocks, &mut vlans);
    if site.overlay.is_none() {
        // Maps are not ours there, and neither is what somebody else may need them for.
        vlans.values_mut().for_each(|it| it.half = None);
    }
    if !is_configuration && links.is_empty() {
        return Err(format!("the answer to {:?} names no interface", T::SHOW.first().unwrap_or(&"")));
    }
    links.retain(|_, it| !it.hidden);
    links.values_mut().for_each(|it| os.sum_up(it));
    let mut out = SwitchSeen { vlans, ..SwitchSeen::default() };
    for (port, link) in &links {
        let group_is_shut = link.group.as_ref().and_then(|(lag, _)| links.get(lag)).is_some_and(|it| it.shut);
        let mode = link.mode(site.isolation, group_is_shut);
        if matches!(mode, SeenMode::Foreign(_)) {
            out.carried.extend(link.strays());
        }
        let mut description = link.description.as_str();
        if name::<T>(port).is_some_and(|(_, is_group)| is_group) {
            let (text, hinted) = if T::MEMBERS_TELL { without_hint(description) } else { (description, link.protocol) };
            description = text;
            let mut told = links.values().filter_map(|it| it.group.as_ref()).filter(|(lag, _)| T::MEMBERS_TELL && lag == port);
            let protocol = match told.next() {
                Some((_, first)) => first.filter(|_| told.all(|(_, it)| it == first)),
                None => hinted,
            };
            out.lags.insert(port.clone(), LagSeen { protocol, is_ours: text.starts_with(MARK) });
        }
        out.ports.insert(port.clone(), PortSeen { mode, description: description.to_owned(), unsaved: false });
    }
    Ok(out)
}

/// The VLANs that blocks `vlan LIST` at the margin declare, with the names that lines like `name TEXT` in them give.
pub(super) fn declared(blocks: &[Block<'_>], naming: &str) -> BTreeMap<VlanId, VlanSeen> {
    let mut out: BTreeMap<VlanId, VlanSeen> = BTreeMap::new();
    for block in blocks {
        let Some(list) = block.after("vlan").and_then(blocks::vlans) else { continue };
        for vlan in list {
            let seen = out.entry(vlan).or_default();
            seen.running = true;
            if let Some(text) = block.inner_after(naming) {
                seen.name = own_name(vlan, text);
            }
        }
    }
    out
}

/// The name of a VLAN, unless it is one that the switch gave by itself: `VLAN0100`, `VLAN 0100`, `vlan100`.
pub(super) fn own_name(vlan: VlanId, text: &str) -> Option<String> {
    let text = text.trim().trim_matches('"');
    let lower = text.to_lowercase();
    let is_given = lower.strip_prefix("vlan").is_some_and(|it| it.trim_start_matches([' ', '_']).parse() == Ok(vlan.get()));
    (!is_given && !text.is_empty()).then(|| text.to_owned())
}

/// What can be written as a description: a question mark would ask for help instead.
fn writable(text: &str) -> String {
    text.chars().map(|it| if it == '?' || it == '"' || !(' '..='~').contains(&it) { '.' } else { it }).collect::<String>().trim().to_owned()
}

fn is_group<T: Os>(port: &str) -> bool {
    name::<T>(port).is_some_and(|(_, is_group)| is_group)
}

fn render<T: Os>(os: &T, out: &mut Vec<String>, change: &Change, around: &Around<'_>) -> Result<(), String> {
    match change {
        Change::SetPort { port, mode, seen } => set_port(os, out, port, mode, seen, around),
        Change::Describe { port, text } => {
            let mut text = writable(text);
            if T::MEMBERS_TELL && is_group::<T>(port) {
                text.push_str(hint(around.protocol(port)));
            }
            out.extend([os.open(port), os.description(&text), T::EXIT.to_owned()]);
        }
        Change::Uplink { port, add, remove, seen: SeenMode::Known(PortMode::Trunk { native, .. }) } => {
            out.push(os.open(port));
            os.retag(out, *native, add, remove);
            out.push(T::EXIT.to_owned());
        }
        Change::Uplink { port, add, seen, .. } => set_port(os, out, port, &PortMode::tagged(add.iter().copied()), seen, around),
        Change::AddVlan { vlan, name } => os.declare(out, *vlan, name),
        Change::RemoveVlan { vlan, .. } => os.undeclare(out, *vlan),
        Change::MapVni { vlan, vni } => os.map(out, *vlan, *vni, around)?,
        Change::UnmapVni { vlan, vni } => os.unmap(out, *vlan, *vni, around)?,
        Change::AddLag { lag, protocol } => add_lag(os, out, lag, *protocol, around),
        Change::RemoveLag { lag } => out.push(format!("{} {}", T::NO, os.open(lag))),
    }
    Ok(())
}

fn set_port<T: Os>(os: &T, out: &mut Vec<String>, port: &str, mode: &PortMode, seen: &SeenMode, around: &Around<'_>) {
    out.push(os.open(port));
    match (mode, seen) {
        (PortMode::Trunk { native, tagged }, SeenMode::Known(PortMode::Trunk { native: was, tagged: had }))
            if native == was && !tagged.is_empty() && had.len() < ALL =>
        {
            if native.is_none() {
                // The one of untagged frames may be any that is not carried, until now.
                os.without_native(out, &(had | tagged), around);
            }
            os.retag(out, *native, &(tagged - had), &(had - tagged));
        }
        _ => {
            out.push("shutdown".to_owned());
            let odd = match seen {
                SeenMode::Foreign(odd) => odd.as_str(),
                _ => "",
            };
            let lag = match seen {
                SeenMode::Known(PortMode::Member { lag }) => Some(lag.as_str()),
                _ => odd.strip_prefix("member of ").and_then(|it| it.split("; ").next()),
            };
            out.extend(lag.filter(|_| !is_group::<T>(port)).map(|it| os.part(it)));
            if let (true, SeenMode::Known(PortMode::Trunk { native, tagged })) = (T::TRUNK_STAYS, seen) {
                os.retag(out, *native, &BTreeSet::new(), tagged);
            }
            os.make_switched(out, odd.starts_with("routed"));
            for line in odd.split("; ").filter(|it| is_odd::<T>(it)) {
                out.push(format!("{} {line}", T::NO));
            }
            match mode {
                PortMode::Isolated => os.access(out, around.site.isolation, around),
                PortMode::Access(vlan) => os.access(out, *vlan, around),
                PortMode::Trunk { native, tagged } => os.trunk(out, *native, tagged, around),
                PortMode::Member { lag } => os.join(out, lag, around),
            }
        }
    }
    if *mode != PortMode::Isolated {
        out.push(format!("{} shutdown", T::NO));
    }
    out.push(T::EXIT.to_owned());
}

/// A VLAN of untagged frames for a trunk that is to have none: one that it does not carry, and none of those at the end of the range
/// that many switches keep for themselves.
pub(super) fn unlisted(tagged: &BTreeSet<VlanId>, isolation: VlanId) -> Option<VlanId> {
    let mut free = [1].into_iter().chain((1006..=3900).rev()).chain(2..=1001).filter_map(VlanId::new);
    free.find(|it| !tagged.contains(it) && *it != isolation)
}

/// Whether a line makes an interface something else than any of our modes.
pub(super) fn is_odd<T: Os>(line: &str) -> bool {
    T::ODD.iter().any(|it| line.starts_with(it))
}

fn add_lag<T: Os>(os: &T, out: &mut Vec<String>, lag: &str, protocol: LagProtocol, around: &Around<'_>) {
    let is_new = !around.seen.ports.contains_key(lag);
    let is_set = |port: &str| around.changes.iter().any(|it| matches!(it, Change::SetPort { port: other, .. } if other == port));
    let is_member = |mode: &SeenMode| matches!(mode, SeenMode::Known(PortMode::Member { lag: of }) if of == lag);
    let members = || around.seen.ports.iter().filter(|(port, it)| is_member(&it.mode) && !is_set(port)).map(|(port, _)| port);
    for port in members() {
        out.extend([os.open(port), "shutdown".to_owned(), os.part(lag), T::EXIT.to_owned()]);
    }
    let written = around.seen.ports.get(lag).map(|it| it.description.as_str()).filter(|it| it.starts_with(MARK));
    let mut text = written.unwrap_or(MARK).to_owned();
    if T::MEMBERS_TELL {
        text.push_str(hint(protocol));
    }
    out.extend([os.open(lag), os.description(&text)]);
    if is_new {
        out.push("shutdown".to_owned());
        os.make_switched(out, false);
    }
    os.set_protocol(out, protocol);
    if is_new {
        os.access(out, around.site.isolation, around);
    }
    out.push(T::EXIT.to_owned());
    for port in members() {
        out.push(os.open(port));
        os.join(out, lag, around);
        out.extend([format!("{} shutdown", T::NO), T::EXIT.to_owned()]);
    }
}
