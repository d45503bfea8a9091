//! What the command lines of network operating systems have in common: modes, questions, paging, and what the usual lines do to a
//! switch. What differs (which lines there are, how they complain, how a configuration is shown) is a [`Flavour`].

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::device::{Allowed, Committed, Config, Device, Membership, Mode, Port, Protocol, Rules};
use super::super::faults::Then;
pub(super) use super::flavour::{Ask, At, Do, Entry, Fault, Flavour, List, Outcome, Shown, Spot};
use super::grammar::{self, Arg, Bad};
use super::{Answer, Login, Os, Session, Shape, Weight};

/// Puts a port into a group, which is made after the port if it is not there.
pub(super) fn join<F: Flavour>(flavour: &F, config: &mut Config, port: &str, number: u32, protocol: Protocol) -> bool {
    let group = flavour.group(number);
    let is_new = !config.ports.contains_key(&group);
    let before = config.ports.get(port).cloned().unwrap_or_default();
    if is_new {
        let made = if F::INHERITS {
            Port { description: String::new(), group: None, is_group: true, extra: Vec::new(), ..before }
        } else {
            flavour.fresh(&group)
        };
        config.ports.insert(group.clone(), made);
    }
    if let Some(it) = config.ports.get_mut(port) {
        it.group = Some(Membership { group, protocol });
    }
    is_new
}

/// Lines that were not committed, and what comes of them.
struct Candidate {
    base: Arc<Config>,
    config: Config,
    /// What was typed, with where.
    lines: Vec<(Vec<Spot>, String)>,
}

/// What a line means.
struct Found {
    at: At,
    pattern: &'static str,
    what: Do,
    args: Vec<Arg>,
}

/// A session of an operating system with a command line.
pub(super) struct Cli<F: Flavour> {
    pub(super) flavour: Arc<F>,
    pub(super) device: Arc<Device>,
    pub(super) login: Login,
    pub(super) spots: Vec<Spot>,
    pub(super) ask: Option<Ask>,
    page: Option<usize>,
    is_paged: bool,
    /// The visit to configuration mode was counted as a commit.
    is_counted: bool,
    candidate: Option<Candidate>,
}

impl<F: Flavour> Cli<F> {
    fn new(flavour: Arc<F>, device: Arc<Device>, login: Login) -> Self {
        let at = if login.user == "console" || (login.privileged && !F::USER_FIRST) { At::Exec } else { At::User };
        Self {
            flavour,
            device,
            login,
            spots: vec![Spot::new(at)],
            ask: None,
            page: None,
            is_paged: true,
            is_counted: false,
            candidate: None,
        }
    }

    /// The mode that it is in.
    pub(super) fn spot(&self) -> Spot {
        self.spots.last().cloned().unwrap_or_else(|| Spot::new(At::User))
    }

    pub(super) fn at(&self) -> At {
        self.spots.last().map_or(At::User, |it| it.at)
    }

    /// The configuration that is being worked on.
    pub(super) fn config(&self) -> Arc<Config> {
        self.candidate.as_ref().map_or_else(|| self.device.running(), |it| Arc::new(it.config.clone()))
    }

    /// Whether there is something to commit.
    pub(super) fn is_dirty(&self) -> bool {
        self.candidate.as_ref().is_some_and(|it| it.config != *it.base)
    }

    /// Changes the configuration that is being worked on.
    pub(super) fn edit<T>(&mut self, change: impl FnOnce(&mut Config) -> T) -> T {
        let flavour = Arc::clone(&self.flavour);
        let change = |config: &mut Config| {
            let out = change(config);
            if F::INHERITS {
                inherit(config);
            }
            flavour.settle(config);
            out
        };
        if F::CANDIDATE {
            let candidate = self.candidate.get_or_insert_with(|| {
                let base = self.device.running();
                Candidate { config: (*base).clone(), base, lines: Vec::new() }
            });
            return change(&mut candidate.config);
        }
        if !self.is_counted && self.login.user != "console" {
            self.is_counted = true;
            self.device.faults().count_commit();
        }
        self.device.edit(change)
    }

    /// Puts what was typed in force. `Err`: the switch cannot do it now.
    pub(super) fn commit(&mut self) -> Option<Then> {
        let candidate = self.candidate.take()?;
        let now = self.device.running();
        let config = if Arc::ptr_eq(&now, &candidate.base) || *now == *candidate.base {
            candidate.config
        } else {
            // Somebody else committed meanwhile: the lines are done again upon that.
            let mut again = Self::new(Arc::clone(&self.flavour), Arc::clone(&self.device), self.login.clone());
            for (spots, line) in candidate.lines {
                again.spots = spots;
                again.run(&line);
            }
            again.candidate.map_or_else(|| (*now).clone(), |it| it.config)
        };
        match self.device.commit(config) {
            Committed::Whole => None,
            Committed::Partly(then) => Some(then),
        }
    }

    /// Puts what was typed in force and says what came of it.
    pub(super) fn committed(&mut self) -> Answer {
        let then = self.commit();
        let said = if then == Some(Then::Refuse) { self.flavour.said(Do::Commit, 1) } else { String::new() };
        Answer { then: then.filter(|it| *it != Then::Refuse), ..Answer::say(said) }
    }

    /// Forgets what was not committed.
    pub(super) fn discard(&mut self) {
        self.candidate = None;
    }

    fn entries(&self, wanted: At) -> impl Iterator<Item = (&'static str, &'static Entry)> + use<F> {
        let tables = self.flavour.table();
        tables.iter().flat_map(|it| it.iter()).filter(move |(at, ..)| *at == wanted).map(|entry| (entry.1, entry))
    }

    /// What a line means here.
    fn resolve(&self, line: &str) -> Result<Found, Bad> {
        let at = self.at();
        let trimmed = line.trim_start();
        let is_configuring = !matches!(at, At::User | At::Exec);
        let doing = is_configuring && F::NEGATION == "no" && trimmed.starts_with("do ");
        let mut places = Vec::with_capacity(4);
        if doing {
            places.extend([At::Exec, At::User]);
        } else {
            places.extend(self.spots.iter().rev().map(|it| it.at).filter(|it| !matches!(it, At::User | At::Exec)));
            match at {
                At::User => places.push(At::User),
                At::Exec => places.extend([At::Exec, At::User]),
                _ if F::EXEC_ANYWHERE => places.extend([At::Exec, At::User]),
                _ => {}
            }
        }
        let blanked;
        let line = if doing {
            // Columns stay what they are.
            blanked = line.replacen("do", "  ", 1);
            &blanked
        } else {
            line
        };
        // What is meant is what fits best in the nearest mode; the abbreviations of a mode are not disturbed by those around it.
        let mut worst: Option<Bad> = None;
        for place in merged(&places) {
            let entries = place.iter().flat_map(|at| self.entries(*at));
            match grammar::find(&*self.flavour, entries, line) {
                Ok((&(at, pattern, what), args)) => return Ok(Found { at, pattern, what, args }),
                Err(bad) => {
                    if worst.as_ref().is_none_or(|it| bad.nth > it.nth) {
                        worst = Some(bad);
                    }
                }
            }
        }
        Err(worst.unwrap_or(Bad { kind: grammar::Kind::Keyword, nth: 0, at: 0, word: String::new() }))
    }

    /// Carries out a line.
    pub(super) fn run(&mut self, line: &str) -> Answer {
        let (command, filter) = match line.split_once(" | ") {
            Some((command, filter)) if command.trim_start().starts_with(['s', 'd']) => (command, Some(filter)),
            _ => (line, None),
        };
        let flavour = Arc::clone(&self.flavour);
        let Found { at, pattern, what, args } = match self.resolve(command) {
            Ok(found) => found,
            Err(bad) => return Answer { status: 1, ..Answer::say(flavour.bad(self, command, &bad)) },
        };
        if at != self.at()
            && !matches!(what, Do::Exit | Do::End | Do::Commit | Do::Discard)
            && let Some(nth) = self.spots.iter().rposition(|it| it.at == at).filter(|nth| *nth > 0)
        {
            // A line of an outer mode leads back to it.
            self.spots.truncate(nth + 1);
        }
        let before = (F::CANDIDATE && !matches!(self.at(), At::User | At::Exec)).then(|| self.spots.clone());
        let mut answer = match self.act(pattern, what, args, command) {
            Ok(answer) => answer,
            Err(text) => return Answer { status: 1, ..Answer::say(text) },
        };
        if let (Some(spots), Some(candidate)) = (before, &mut self.candidate) {
            candidate.lines.push((spots, command.to_owned()));
        }
        if let Some(filter) = filter {
            match filtered(&answer.text, filter) {
                Some(text) => answer.text = text,
                None => {
                    let at = command.len() + 3;
                    let bad = Bad { kind: grammar::Kind::Keyword, nth: 9, at, word: filter.to_owned() };
                    return Answer { status: 1, ..Answer::say(flavour.bad(self, line, &bad)) };
                }
            }
        }
        answer
    }

    fn act(&mut self, pattern: &'static str, what: Do, args: Vec<Arg>, line: &str) -> Outcome {
        let flavour = Arc::clone(&self.flavour);
        match what {
            Do::Enable => self.enable(),
            Do::Disable => {
                self.spots = vec![Spot::new(At::User)];
                Ok(Answer::nothing())
            }
            Do::Configure => {
                self.is_counted = false;
                self.spots.truncate(1);
                self.spots.push(Spot::new(At::Config));
                Ok(Answer::say(flavour.said(what, 0)))
            }
            Do::Exit | Do::End if F::CANDIDATE && self.is_dirty() && (self.spots.len() == 2 || self.spots.len() > 1 && what == Do::End) => {
                self.ask = Some(flavour.leaving());
                Ok(Answer::nothing())
            }
            Do::Exit => {
                if self.spots.len() > 1 {
                    self.spots.pop();
                    return Ok(Answer::nothing());
                }
                Ok(Answer::end())
            }
            Do::End => {
                self.spots.truncate(1);
                Ok(Answer::nothing())
            }
            Do::Nothing => Ok(Answer::nothing()),
            Do::PageLength => {
                let lines = number(&args).unwrap_or(0);
                self.is_paged = lines > 0;
                self.page = usize::try_from(lines).ok();
                Ok(Answer::say(flavour.said(what, lines)))
            }
            Do::PageOff | Do::PageOn => {
                self.is_paged = what == Do::PageOn;
                Ok(Answer::say(flavour.said(what, 0)))
            }
            Do::Width => Ok(Answer::say(flavour.said(what, number(&args).unwrap_or(0)))),
            Do::ShowRunning => Ok(Answer::say(flavour.render(&self.shown_running(), Shown::Running, None))),
            Do::ShowStartup => Ok(Answer::say(flavour.render(&self.device.startup(), Shown::Startup, None))),
            Do::ShowRunningInterface => {
                let port = self.one_port(&args, line)?;
                Ok(Answer::say(flavour.render(&self.shown_running(), Shown::Running, Some(&port))))
            }
            Do::ShowVlans | Do::ShowStatus | Do::ShowSwitchport | Do::ShowVersion => {
                let port = if port_of(&args).is_some() { Some(self.one_port(&args, line)?) } else { None };
                Ok(Answer::say(flavour.show(self, what, port.as_deref())))
            }
            Do::SaveAsking => {
                self.ask = Some(Ask::Save(flavour.saving().0.to_owned()));
                Ok(Answer::nothing())
            }
            Do::Save => Ok(self.save()),
            Do::Commit => Ok(self.committed()),
            Do::Discard => {
                self.discard();
                Ok(Answer::nothing())
            }
            Do::Section(at) => {
                self.open(at, &canonical(pattern, &args));
                Ok(Answer::nothing())
            }
            Do::NoSection => {
                let text = canonical(pattern, &args);
                let text = text.strip_prefix(F::NEGATION).unwrap_or(&text).trim_start().to_owned();
                self.remove_section(&text);
                Ok(Answer::nothing())
            }
            Do::Keep | Do::NoKeep => {
                self.keep(pattern, &args, what == Do::Keep);
                Ok(Answer::nothing())
            }
            Do::Special(which) => flavour.special(self, which, &args, line),
            Do::Hostname => {
                let name = text(&args);
                self.edit(|config| config.hostname = name);
                Ok(Answer::nothing())
            }
            Do::Interface | Do::NoInterface | Do::DefaultInterface => self.interface(what, &args, line),
            Do::Vlan | Do::NoVlan | Do::VlanName | Do::NoVlanName | Do::Vni | Do::NoVni => self.vlan(what, &args, line),
            _ => self.port(what, &args, line),
        }
    }

    /// What `show running-config` shows while there is a candidate: not the candidate.
    fn shown_running(&self) -> Arc<Config> {
        self.device.running()
    }

    /// Opens a section below the one that is open.
    fn open(&mut self, at: At, text: &str) {
        let parent = self.spot().section;
        let section = if parent.is_empty() { text.to_owned() } else { format!("{parent}\n{text}") };
        if !self.config().extra.contains_key(&section) {
            self.edit(|config| config.extra.insert(section.clone(), Vec::new()));
        }
        self.spots.push(Spot { section, ..Spot::new(at) });
    }

    /// Removes a section below the one that is open, of which at least the first words are given.
    fn remove_section(&mut self, text: &str) {
        let parent = self.spot().section;
        let section = if parent.is_empty() { text.to_owned() } else { format!("{parent}\n{text}") };
        self.edit(|config| {
            config.extra.retain(|it, _| !it.strip_prefix(&section).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n'])))
        });
    }

    fn enable(&mut self) -> Outcome {
        if self.login.enable_password.is_some() && self.at() == At::User {
            self.ask = Some(Ask::Password(3));
        } else {
            self.spots = vec![Spot::new(At::Exec)];
        }
        Ok(Answer::nothing())
    }

    pub(super) fn save(&mut self) -> Answer {
        self.device.save();
        Answer::say(self.flavour.saving().1)
    }

    fn one_port(&self, args: &[Arg], line: &str) -> Result<String, String> {
        let port = port_of(args).cloned().unwrap_or_default();
        if self.device.running().ports.contains_key(&port) {
            return Ok(port);
        }
        Err(self.flavour.fault(self, line, &Fault::NoSuchPort(port)))
    }

    fn interface(&mut self, what: Do, args: &[Arg], line: &str) -> Outcome {
        let flavour = Arc::clone(&self.flavour);
        let ports: Vec<String> = match args.first() {
            Some(Arg::Ports(ports)) => ports.clone(),
            _ => Vec::new(),
        };
        if let [name] = ports.as_slice()
            && let Some(at) = flavour.pseudo(name)
        {
            if at == At::Vlan {
                let number = name.trim_start_matches(|it: char| !it.is_ascii_digit()).parse().unwrap_or(0);
                let what = if what == Do::Interface { Do::Vlan } else { Do::NoVlan };
                return self.vlan(what, &[Arg::Num(number)], line);
            }
            let header = format!("interface {name}");
            match what {
                Do::Interface => {
                    self.spots.truncate(self.spots.iter().position(|it| it.at == At::Config).map_or(1, |it| it + 1));
                    self.open(at, &header);
                }
                _ => self.remove_section(&header),
            }
            return Ok(Answer::nothing());
        }
        let config = self.config();
        for port in &ports {
            let can_be = flavour.is_group(port) && what == Do::Interface;
            if !config.ports.contains_key(port) && !can_be {
                return Err(flavour.fault(self, line, &Fault::NoSuchPort(port.clone())));
            }
            if what == Do::NoInterface && !flavour.is_group(port) {
                return Err(flavour.fault(self, line, &Fault::WrongPort(port.clone())));
            }
        }
        match what {
            Do::Interface => {
                let missing: Vec<&String> = ports.iter().filter(|it| !config.ports.contains_key(*it)).collect();
                if !missing.is_empty() {
                    self.edit(|config| {
                        for port in missing {
                            config.ports.insert(port.clone(), flavour.fresh(port));
                        }
                    });
                }
                self.spots.truncate(self.spots.iter().position(|it| it.at == At::Config).map_or(1, |it| it + 1));
                self.spots.push(Spot { ports, ..Spot::new(At::Interface) });
            }
            Do::NoInterface => self.edit(|config| {
                for group in &ports {
                    remove_group(&*flavour, config, group);
                }
            }),
            _ => self.edit(|config| {
                for port in &ports {
                    config.ports.insert(port.clone(), flavour.fresh(port));
                }
            }),
        }
        Ok(Answer::nothing())
    }

    fn vlan(&mut self, what: Do, args: &[Arg], line: &str) -> Outcome {
        let flavour = Arc::clone(&self.flavour);
        let vlans: BTreeSet<u16> = match args.first() {
            Some(Arg::Vlans(vlans)) => vlans.clone(),
            Some(Arg::Num(vlan)) if matches!(what, Do::Vlan | Do::NoVlan) => u16::try_from(*vlan).into_iter().collect(),
            _ => self.spot().vlans,
        };
        match what {
            Do::Vlan => {
                let config = self.config();
                if vlans.iter().any(|it| !config.vlans.contains_key(it)) {
                    self.edit(|config| {
                        for vlan in &vlans {
                            config.vlans.entry(*vlan).or_default();
                        }
                    });
                }
                self.spots.truncate(self.spots.iter().position(|it| it.at == At::Config).map_or(1, |it| it + 1));
                self.spots.push(Spot { vlans, ..Spot::new(At::Vlan) });
            }
            Do::NoVlan => {
                if vlans.contains(&1) {
                    return Err(flavour.fault(self, line, &Fault::DefaultVlan(1)));
                }
                self.edit(|config| config.vlans.retain(|it, _| !vlans.contains(it)));
                // Whoever stood in it stands in the mode above.
                self.spots.retain(|it| it.at != At::Vlan || it.vlans.iter().any(|vlan| !vlans.contains(vlan)));
            }
            Do::VlanName | Do::NoVlanName if vlans.contains(&1) => return Err(flavour.fault(self, line, &Fault::DefaultVlan(1))),
            _ => {
                let name = (what == Do::VlanName).then(|| text(args));
                let vni = number(args);
                self.edit(|config| {
                    for (_, vlan) in config.vlans.iter_mut().filter(|(id, _)| vlans.contains(id)) {
                        match what {
                            Do::VlanName | Do::NoVlanName => vlan.name.clone_from(&name),
                            Do::Vni => vlan.vni = vni,
                            _ => vlan.vni = None,
                        }
                    }
                });
            }
        }
        Ok(Answer::nothing())
    }

    fn port(&mut self, what: Do, args: &[Arg], line: &str) -> Outcome {
        let flavour = Arc::clone(&self.flavour);
        let ports = self.spot().ports;
        let vlan = number(args).and_then(|it| u16::try_from(it).ok());
        let config = self.config();
        if ports.iter().filter_map(|it| config.ports.get(it)).any(|it| !flavour.fits(it, what)) {
            return Err(flavour.fault(self, line, &Fault::WrongMode));
        }
        let mut said = String::new();
        if let (Do::Access | Do::Native, Some(vlan)) = (what, vlan)
            && !self.config().vlans.contains_key(&vlan)
        {
            said = self.edit(|config| flavour.referring(config, vlan))?;
        }
        if let (Do::Allow(List::Set | List::Add), Some(Arg::Vlans(list))) = (what, args.iter().find(|it| matches!(it, Arg::Vlans(_))))
            && F::TRUNKS_REFER
            && let Some(vlan) = list.iter().find(|it| !self.config().vlans.contains_key(it))
        {
            self.edit(|config| flavour.referring(config, *vlan))?;
        }
        let list = match args.iter().find(|it| matches!(it, Arg::Vlans(_))) {
            Some(Arg::Vlans(list)) => list.clone(),
            _ => BTreeSet::new(),
        };
        let number = number(args);
        let line = line.to_owned();
        let given = text(args);
        let refused = self.edit(|config| {
            for name in &ports {
                if let (Do::Join(protocol), Some(group)) = (what, number) {
                    match flavour.join(config, name, group, protocol, &line) {
                        Ok(text) => said.push_str(&text),
                        Err(text) => return Err(text),
                    }
                    continue;
                }
                let fresh = flavour.fresh(name);
                if let Some(port) = config.ports.get_mut(name) {
                    let before = port.clone();
                    set(port, &fresh, what, vlan, &list, &given);
                    flavour.after(port, &before, what);
                }
            }
            Ok(())
        });
        refused?;
        Ok(Answer::say(said))
    }

    /// Keeps a line, in place of one that differs only in its last argument; or takes it away.
    pub(super) fn keep(&mut self, pattern: &str, args: &[Arg], is_kept: bool) {
        let whole = canonical(pattern, args);
        let negated = whole.strip_prefix(F::NEGATION).map(|it| it.trim_start().to_owned());
        let stem = canonical(pattern.rsplit_once(" <").map_or(pattern, |(stem, _)| stem), args);
        let spot = self.spot();
        self.edit(|config| {
            let mut lists: Vec<&mut Vec<String>> = match spot.at {
                At::Interface => {
                    config.ports.iter_mut().filter(|(name, _)| spot.ports.contains(name)).map(|(_, it)| &mut it.extra).collect()
                }
                At::Vlan => config.vlans.iter_mut().filter(|(id, _)| spot.vlans.contains(id)).map(|(_, it)| &mut it.extra).collect(),
                _ => vec![config.extra.entry(spot.section.clone()).or_default()],
            };
            for lines in &mut lists {
                if is_kept {
                    lines.retain(|it| *it != whole && (stem == whole || !it.starts_with(&format!("{stem} "))));
                    lines.push(whole.clone());
                } else if let Some(gone) = &negated {
                    lines.retain(|it| it != gone && !it.starts_with(&format!("{gone} ")));
                }
            }
        });
    }
}

/// The modes in the order in which a line is looked for; those before and after `enable` are one.
fn merged(places: &[At]) -> Vec<Vec<At>> {
    let mut out: Vec<Vec<At>> = Vec::new();
    for at in places {
        match out.last_mut() {
            Some(last) if *at == At::User && last.contains(&At::Exec) => last.push(*at),
            _ => out.push(vec![*at]),
        }
    }
    out
}

fn set(port: &mut Port, fresh: &Port, what: Do, vlan: Option<u16>, list: &BTreeSet<u16>, text: &str) {
    match what {
        Do::Describe => text.trim_matches('"').clone_into(&mut port.description),
        Do::NoDescribe => port.description.clear(),
        Do::Up => port.up = true,
        Do::Down => port.up = false,
        Do::Switched => port.routed = false,
        Do::Routed => port.routed = true,
        Do::Access => port.access = vlan.unwrap_or(port.access),
        Do::NoAccess => port.access = fresh.access,
        Do::ModeAccess => (port.mode, port.negotiates) = (Mode::Access, false),
        Do::ModeTrunk => (port.mode, port.negotiates) = (Mode::Trunk, false),
        Do::ModeHybrid => (port.mode, port.negotiates) = (Mode::Hybrid, false),
        Do::ModeDynamic => (port.mode, port.negotiates) = (Mode::Access, true),
        Do::NoMode => (port.mode, port.negotiates) = (fresh.mode, fresh.negotiates),
        Do::Native => (port.native, port.native_tagged) = (vlan, false),
        Do::NoNative => (port.native, port.native_tagged) = (fresh.native, false),
        Do::NativeTag => port.native_tagged = true,
        Do::Allow(how) => port.allowed = changed(&port.allowed, &fresh.allowed, how, list),
        Do::Leave => port.group = None,
        Do::Protect => port.protected = true,
        Do::NoProtect => port.protected = false,
        _ => {}
    }
}

fn changed(now: &Allowed, fresh: &Allowed, how: List, list: &BTreeSet<u16>) -> Allowed {
    match how {
        List::Set => Allowed::from_set(list.clone()),
        List::Add => match now {
            Allowed::All => Allowed::All,
            Allowed::Only(now) => Allowed::from_set(now.union(list).copied().collect()),
        },
        List::Remove => Allowed::Only(now.to_set().difference(list).copied().collect()),
        List::Except => Allowed::Only((1..=4094).filter(|it| !list.contains(it)).collect()),
        List::All => Allowed::All,
        List::None => Allowed::Only(BTreeSet::new()),
        List::Default => fresh.clone(),
    }
}

/// Takes a group away.
pub(super) fn remove_group<F: Flavour>(flavour: &F, config: &mut Config, group: &str) {
    config.ports.remove(group);
    config.groups.remove(group);
    for port in config.ports.values_mut().filter(|it| it.group.as_ref().is_some_and(|it| it.group == group)) {
        port.group = None;
        flavour.orphaned(port);
    }
}

/// Members show what their group carries.
fn inherit(config: &mut Config) {
    let members: Vec<(String, String)> =
        config.ports.iter().filter_map(|(name, it)| Some((name.clone(), it.group.as_ref()?.group.clone()))).collect();
    for (member, group) in members {
        let Some(group) = config.ports.get(&group).cloned() else { continue };
        let Some(port) = config.ports.get_mut(&member) else { continue };
        *port = Port {
            up: port.up,
            description: std::mem::take(&mut port.description),
            group: port.group.take(),
            is_group: false,
            extra: std::mem::take(&mut port.extra),
            ..group
        };
    }
}

/// The line in full, with its arguments.
pub(super) fn canonical(pattern: &str, args: &[Arg]) -> String {
    let mut args = args.iter();
    let words = pattern.split(' ').map(|word| {
        if !word.starts_with('<') {
            return word.to_owned();
        }
        match args.next() {
            Some(Arg::Num(it)) => it.to_string(),
            Some(Arg::Text(it)) => it.clone(),
            Some(Arg::Vlans(it)) => grammar::list(it),
            Some(Arg::Ports(it)) => it.join(","),
            None => String::new(),
        }
    });
    words.collect::<Vec<String>>().join(" ").trim_end().to_owned()
}

pub(super) fn number(args: &[Arg]) -> Option<u32> {
    args.iter().find_map(|it| if let Arg::Num(number) = it { Some(*number) } else { None })
}

pub(super) fn text(args: &[Arg]) -> String {
    args.iter().find_map(|it| if let Arg::Text(text) = it { Some(text.clone()) } else { None }).unwrap_or_default()
}

fn port_of(args: &[Arg]) -> Option<&String> {
    args.iter().find_map(|it| if let Arg::Ports(ports) = it { ports.first() } else { None })
}

/// What a pipe lets through; `None`: it is none that there is.
fn filtered(text: &str, filter: &str) -> Option<String> {
    let (word, what) = filter.trim().split_once(' ').unwrap_or((filter.trim(), ""));
    let what = what.trim().trim_matches('"');
    let has = |line: &&str| line.contains(what.trim_start_matches('^'));
    let lines = || text.split_inclusive('\n');
    match word {
        "no-more" => Some(text.to_owned()),
        "include" | "inc" | "i" if !what.is_empty() => Some(lines().filter(has).collect()),
        "exclude" | "exc" | "e" if !what.is_empty() => Some(lines().filter(|it| !has(it)).collect()),
        "begin" | "b" if !what.is_empty() => Some(lines().skip_while(|it| !has(it)).collect()),
        _ => None,
    }
}

impl<F: Flavour> Session for Cli<F> {
    fn prompt(&self) -> String {
        match &self.ask {
            Some(Ask::Password(_)) => self.flavour.password().0.to_owned(),
            Some(Ask::Save(text) | Ask::Other(_, text)) => text.clone(),
            None => self.flavour.prompt(self),
        }
    }

    fn line(&mut self, line: &str) -> Answer {
        match self.ask.take() {
            Some(Ask::Password(left)) => {
                if self.login.enable_password.as_deref() == Some(line) {
                    self.spots = vec![Spot::new(At::Exec)];
                } else if left > 1 {
                    self.ask = Some(Ask::Password(left - 1));
                } else {
                    return Answer::say(self.flavour.password().1);
                }
                return Answer::nothing();
            }
            Some(Ask::Save(_)) => {
                return if self.flavour.is_yes(line) { self.save() } else { Answer::nothing() };
            }
            Some(Ask::Other(which, _)) => {
                let flavour = Arc::clone(&self.flavour);
                return flavour.answer(self, which, line).unwrap_or_else(Answer::say);
            }
            None => {}
        }
        let code = line.trim_end();
        if code.trim().is_empty() || code.trim_start().starts_with(F::COMMENT) {
            return Answer::nothing();
        }
        self.run(code)
    }

    fn weight(&self, line: &str) -> Weight {
        let save = if F::CANDIDATE { Weight::Save } else { Weight::CommitAndSave };
        match &self.ask {
            Some(Ask::Save(_)) if self.flavour.is_yes(line) => return save,
            Some(Ask::Other(which, _)) => return self.flavour.answer_weight(*which, line),
            Some(_) => return Weight::Light,
            None => {}
        }
        match self.resolve(line.trim_end()) {
            Ok(Found { what: Do::Save, .. }) => save,
            Ok(Found { what: Do::Commit, .. }) => Weight::Commit,
            Ok(Found { what: Do::Special(which), .. }) => self.flavour.weight(which),
            _ => Weight::Light,
        }
    }

    fn configuring(&self) -> bool {
        !matches!(self.at(), At::User | At::Exec)
    }

    fn refuse(&mut self, line: &str) -> Answer {
        self.ask = None;
        let first = grammar::tokens(line).first().map_or((0, String::new()), |it| (it.at, it.text.to_owned()));
        let bad = Bad { kind: grammar::Kind::Keyword, nth: 0, at: first.0, word: first.1 };
        Answer { status: 1, ..Answer::say(self.flavour.bad(self, line, &bad)) }
    }

    fn hidden(&self) -> bool {
        matches!(self.ask, Some(Ask::Password(_)))
    }

    fn page(&self, rows: u32) -> Option<usize> {
        let rows = usize::try_from(rows).ok().filter(|it| *it > 1).unwrap_or(24);
        self.is_paged.then(|| self.page.unwrap_or(rows - 1))
    }

    fn more(&self) -> &'static str {
        self.flavour.more()
    }
}

/// An operating system with a command line, as [`Os`].
pub(super) struct CliOs<F>(pub(super) Arc<F>);

impl<F: Flavour> Os for CliOs<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn rules(&self) -> Rules {
        F::RULES
    }

    fn factory(&self, shape: &Shape) -> Config {
        self.0.factory(shape)
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Cli::new(Arc::clone(&self.0), Arc::clone(device), login.clone()))
    }

    fn greeting(&self, device: &Device) -> String {
        self.0.greeting(device)
    }
}

/// The column under which a caret is put, and the caret.
pub(super) fn caret(prompt: &str, at: usize) -> String {
    format!("{}^", " ".repeat(prompt.len() + at))
}

/// The column of a line's last word.
pub(super) fn last_word(line: &str) -> usize {
    grammar::tokens(line).last().map_or(0, |it| it.at)
}
