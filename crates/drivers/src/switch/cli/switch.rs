//! Any switch with a command line: what is the same for all families.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use model::net::VlanId;
use tokio::time::{Instant, timeout};

use super::session::{Patience, Refusal, Session};
use super::{Family, Site};
use crate::Fut;
use crate::switch::plan::plan;
use crate::switch::{Ensured, Facts, PortMode, PortSeen, SeenMode, Switch, SwitchConfig, SwitchError, SwitchSeen, SwitchWanted, VlanSeen};
use crate::transport::ssh::SshTarget;

/// Until the first prompt.
const LOG_IN: Duration = Duration::from_secs(15);
/// A command that shows something: in all and without a word.
const SHOW: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(15));
/// A chunk of lines, and in addition for each line.
const CHUNK: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5));
/// How long a switch that has refused a change may take to forget it and to leave its configuration; then the session is ended instead.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How long a call waits for the one before it.
const TURN: Duration = Duration::from_secs(600);
/// How many lines, and bytes, are on their way at once: terminals of old switches keep little that was typed ahead.
const AHEAD: (usize, usize) = (40, 2000);
/// An answer to a command that shows something is a refusal only if it is not longer, in lines: configurations hold all kinds of words.
const REFUSAL: usize = 4;
/// All the VLANs that there are.
const ALL_VLANS: usize = 4094;

/// A switch behind a command line.
pub(in crate::switch) struct CliSwitch {
    config: SwitchConfig,
    family: Box<dyn Family>,
    target: SshTarget,
    /// Kept between calls, made again after any trouble. Locked during a call: one at a time.
    session: tokio::sync::Mutex<Option<Session>>,
    /// How the caller put it the last time.
    words: Mutex<Words>,
}

/// How a caller puts what switches put otherwise: ports by other names, and modes that come to the same by other words.
#[derive(Debug, Clone, Default)]
struct Words {
    /// Spellings by the names on the switch.
    ports: BTreeMap<String, String>,
    /// Modes as the caller says it, and as it is asked for, by the names on the switch.
    modes: BTreeMap<String, (PortMode, PortMode)>,
}

/// Not all switches can be told these apart, or can be set so at all: a trunk of nothing lets nothing through, and one of a native VLAN
/// only is a port in that VLAN.
fn plain(mode: &PortMode) -> Option<PortMode> {
    match mode {
        PortMode::Trunk { native, tagged } if tagged.is_empty() => Some(native.map_or(PortMode::Isolated, PortMode::Access)),
        _ => None,
    }
}

impl CliSwitch {
    /// # Errors
    /// `Config`: see [`SshTarget::of`].
    pub(in crate::switch) fn new(config: SwitchConfig, family: Box<dyn Family>) -> Result<Self, SwitchError> {
        let target = SshTarget::of(&config)?;
        Ok(Self { config, family, target, session: tokio::sync::Mutex::new(None), words: Mutex::default() })
    }

    /// With a session that a test has begun by itself.
    #[cfg(test)]
    pub(super) async fn with_session(self, session: Session) -> Self {
        self.session.lock().await.replace(session);
        self
    }

    fn site(&self) -> Site<'_> {
        Site { isolation: self.config.isolation_vlan, bridge: &self.config.bridge, overlay: self.config.overlay.as_ref() }
    }

    fn rejected(&self, reason: String) -> SwitchError {
        SwitchError::Rejected { switch: self.config.name.clone(), reason }
    }

    fn refused(&self, refusal: &Refusal) -> SwitchError {
        self.rejected(format!("line {:?}: {}", refusal.line, refusal.words))
    }

    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, Option<Session>>, SwitchError> {
        let late = |_| SwitchError::Timeout { switch: self.config.name.clone(), doing: "ending an earlier call" };
        timeout(TURN, self.session.lock()).await.map_err(late)
    }

    /// The kept session if it answers still, else a new one.
    async fn session(&self, kept: &mut Option<Session>) -> Result<Session, SwitchError> {
        if let Some(mut session) = kept.take()
            && session.is_alive().await
        {
            return Ok(session);
        }
        let until = Instant::now() + LOG_IN;
        let ssh = self.target.open(until).await?;
        let shell = ssh.shell(until).await?;
        Session::begin(&self.config.name, self.family.dialect(), &self.config.login, Box::new(shell), Some(ssh), until).await
    }

    async fn read(&self, session: &mut Session) -> Result<SwitchSeen, SwitchError> {
        let protocol = |reason: String| SwitchError::Protocol { switch: self.config.name.clone(), reason };
        let patience = Patience { whole: SHOW.0, quiet: SHOW.1, doing: "reading its configuration" };
        let mut answers = Vec::new();
        for command in self.family.show(self.site()) {
            let answer = session.show(&command, patience).await?;
            if let Some(words) = refusal(session, &answer) {
                return Err(self.rejected(format!("line {command:?}: {words}")));
            }
            answers.push(answer);
        }
        let seen = self.family.parse(&answers, self.site()).map_err(protocol)?;
        let commands = self.family.show_saved(self.site());
        if commands.is_empty() {
            return Ok(complete(seen, None));
        }
        let mut answers = Vec::new();
        let mut is_there = true;
        for command in commands {
            let answer = session.show(&command, patience).await?;
            is_there &= refusal(session, &answer).is_none();
            answers.push(answer);
        }
        // A switch that was never saved has nothing to show.
        let saved = if is_there { self.family.parse(&answers, self.site()).map_err(protocol)? } else { SwitchSeen::default() };
        Ok(complete(seen, Some(&saved)))
    }

    async fn run(&self, session: &mut Session, lines: &[&str], whole: Duration, doing: &'static str) -> Result<(), SwitchError> {
        for line in lines {
            session.lines(&[line], None, Patience { whole, quiet: whole, doing }).await?.map_err(|it| self.refused(&it))?;
        }
        Ok(())
    }

    /// Sends the lines and makes them take effect. If one is refused, no further chunk is sent and nothing is committed.
    async fn write(&self, session: &mut Session, lines: &[String]) -> Result<(), SwitchError> {
        let dialect = *self.family.dialect();
        let commit = Duration::from_secs(u64::from(dialect.commit_seconds)).max(CHUNK.0);
        self.run(session, dialect.enter, commit, "entering its configuration").await?;
        let refused = match self.configure(session, lines, commit).await {
            Ok(()) => return self.leave(session, &[], commit).await,
            Err(refused @ SwitchError::Rejected { .. }) => refused,
            Err(lost) => return Err(lost),
        };
        if let Err(error) = self.leave(session, dialect.discard, GIVE_UP).await {
            tracing::debug!(switch.name = %self.config.name, %error, "it did not give up the refused change in an orderly way");
        }
        Err(refused)
    }

    async fn leave(&self, session: &mut Session, discard: &[&str], whole: Duration) -> Result<(), SwitchError> {
        let patience = Patience { whole, quiet: whole, doing: "leaving its configuration" };
        for line in discard.iter().chain(self.family.dialect().leave) {
            // A word of complaint is none about the change; whether it was left is seen next.
            session.lines(&[line], None, patience).await?.ok();
        }
        let whole = whole.min(CHUNK.0);
        session.settle(Patience { whole, quiet: whole, ..patience }).await
    }

    async fn configure(&self, session: &mut Session, lines: &[String], commit: Duration) -> Result<(), SwitchError> {
        let dialect = *self.family.dialect();
        for chunk in chunks(lines, &dialect, |line| self.family.awaits(line)) {
            let whole = CHUNK.0 + CHUNK.1 * u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let patience = Patience { whole, quiet: CHUNK.0, doing: "changing its configuration" };
            session.lines(&chunk, self.family.receipt(), patience).await?.map_err(|it| self.refused(&it))?;
        }
        self.run(session, dialect.commit, commit, "committing").await
    }

    async fn save(&self, session: &mut Session) -> Result<(), SwitchError> {
        let dialect = self.family.dialect();
        let whole = Duration::from_secs(u64::from(dialect.commit_seconds)).max(CHUNK.0);
        self.run(session, dialect.save, whole, "saving its configuration").await
    }

    async fn apply(&self, wanted: &SwitchWanted) -> Result<Ensured, SwitchError> {
        let (wanted, words) = self.named(wanted).map_err(|reason| self.rejected(reason))?;
        if let Ok(mut last) = self.words.lock() {
            last.clone_from(&words);
        }
        let mut kept = self.turn().await?;
        let mut session = self.session(&mut kept).await?;
        let before = self.read(&mut session).await?;
        let plan = plan(&wanted, &before, &self.family.facts(), self.config.isolation_vlan).map_err(|reason| self.rejected(reason))?;
        for reason in &plan.impossible {
            tracing::debug!(switch.name = %self.config.name, reason, "a part of what is wanted cannot be");
        }
        let after = if plan.is_empty() {
            before.clone()
        } else {
            if !plan.changes.is_empty() {
                let lines = self.family.render(&plan.changes, &before, self.site()).map_err(|reason| self.rejected(reason))?;
                if !lines.is_empty() {
                    // After any trouble the session is not used again: nobody knows what it is in.
                    self.write(&mut session, &lines).await?;
                }
            }
            if plan.save {
                self.save(&mut session).await?;
            }
            self.read(&mut session).await?
        };
        kept.replace(session);
        let committed = !plan.is_empty();
        Ok(Ensured { before: words.put(before), after: words.put(after), committed })
    }

    async fn look(&self) -> Result<SwitchSeen, SwitchError> {
        let mut kept = self.turn().await?;
        let mut session = self.session(&mut kept).await?;
        let seen = self.read(&mut session).await?;
        kept.replace(session);
        let words = self.words.lock().map(|it| it.clone()).unwrap_or_default();
        Ok(words.put(seen))
    }

    /// What is wanted in the switch's words, and the caller's where they are others.
    fn named(&self, wanted: &SwitchWanted) -> Result<(SwitchWanted, Words), String> {
        let mut words = Words::default();
        let mut name = |spelled: &String| {
            let name = self.family.port_name(spelled);
            let first = words.ports.entry(name.clone()).or_insert_with(|| spelled.clone());
            if first == spelled { Ok(name) } else { Err(format!("{first} and {spelled} are the same port")) }
        };
        let mut out = SwitchWanted { ports: BTreeMap::new(), uplinks: BTreeMap::new(), lags: BTreeMap::new(), ..wanted.clone() };
        for (spelled, it) in &wanted.ports {
            let mut it = it.clone();
            if let PortMode::Member { lag } = &mut it.mode {
                *lag = name(lag)?;
            }
            let name = name(spelled)?;
            if let Some(plain) = plain(&it.mode) {
                words.modes.insert(name.clone(), (it.mode, plain.clone()));
                it.mode = plain;
            }
            out.ports.insert(name, it);
        }
        for (spelled, it) in &wanted.uplinks {
            out.uplinks.insert(name(spelled)?, it.clone());
        }
        for (spelled, it) in &wanted.lags {
            out.lags.insert(name(spelled)?, *it);
        }
        out.remove = wanted.remove.iter().map(&mut name).collect::<Result<_, _>>()?;
        words.ports.retain(|name, spelled| name != spelled);
        Ok((out, words))
    }
}

impl Words {
    /// What was seen, in the caller's words.
    fn put(&self, seen: SwitchSeen) -> SwitchSeen {
        let spelled = |name: String| self.ports.get(&name).cloned().unwrap_or(name);
        let port = |name: &str, mut it: PortSeen| {
            if let SeenMode::Known(mode) = &mut it.mode {
                match self.modes.get(name) {
                    Some((said, asked)) if mode == asked => mode.clone_from(said),
                    _ => {}
                }
                if let PortMode::Member { lag } = mode {
                    *lag = spelled(std::mem::take(lag));
                }
            }
            it
        };
        let ports = seen.ports.into_iter().map(|(name, it)| {
            let it = port(&name, it);
            (spelled(name), it)
        });
        let ports = ports.collect();
        let lags = seen.lags.into_iter().map(|(name, it)| (spelled(name), it)).collect();
        SwitchSeen { ports, lags, ..seen }
    }
}

impl Switch for CliSwitch {
    fn facts(&self) -> Facts {
        self.family.facts()
    }

    fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>> {
        Box::pin(self.look())
    }

    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>> {
        Box::pin(self.apply(wanted))
    }

    fn host_key(&self) -> Option<String> {
        self.target.learned()
    }
}

/// The switch's words, if it did not take a command that shows something.
fn refusal(session: &Session, answer: &str) -> Option<String> {
    let lines: Vec<String> = answer.lines().filter(|it| !it.trim().is_empty()).map(str::to_owned).collect();
    if lines.len() > REFUSAL { None } else { session.refused(&lines) }
}

/// Parts lines into what is sent at once.
fn chunks<'a>(lines: &'a [String], dialect: &super::Dialect, awaits: impl Fn(&str) -> bool) -> Vec<Vec<&'a str>> {
    // A shell runs programs, which could read what is typed ahead; a candidate takes effect as a whole or not at all.
    let is_shell = dialect.enter.is_empty();
    let is_candidate = !dialect.discard.is_empty();
    let mut out: Vec<Vec<&str>> = Vec::new();
    let mut bytes = 0;
    // Whether the lines so far left what they entered, and whether the last one entered something else without that.
    let (mut is_left, mut is_loose) = (true, false);
    for line in lines {
        let alone = is_shell || !is_candidate && (is_loose || awaits(line));
        bytes += line.len() + 1;
        match out.last_mut() {
            Some(chunk) if !alone && chunk.len() < AHEAD.0 && bytes <= AHEAD.1 => chunk.push(line),
            _ => {
                bytes = line.len() + 1;
                out.push(vec![line]);
            }
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        let leaves = ["exit", "quit", "end", "top", "!"].contains(&word);
        let enters = ["interface", "vlan", "router", "bgp", "evpn", "vsi"].contains(&word);
        is_loose = enters && !is_left;
        is_left = leaves || is_left && !enters;
    }
    out
}

/// Fills in what depends on the saved configuration too; `None`: what is in force is what is saved.
pub(in crate::switch) fn complete(mut seen: SwitchSeen, saved: Option<&SwitchSeen>) -> SwitchSeen {
    let carried = |ports: &BTreeMap<String, PortSeen>| -> BTreeSet<VlanId> { ports.values().flat_map(carries).collect() };
    seen.carried.extend(carried(&seen.ports));
    let Some(saved) = saved else {
        for port in seen.ports.values_mut() {
            port.unsaved = false;
        }
        for vlan in seen.vlans.values_mut() {
            vlan.running = true;
            vlan.saved = true;
        }
        return seen;
    };
    seen.carried.extend(carried(&saved.ports));
    seen.carried.extend(&saved.carried);
    for (name, port) in &mut seen.ports {
        port.unsaved = saved.ports.get(name).is_none_or(|it| it.mode != port.mode || it.description != port.description);
    }
    for (id, vlan) in &mut seen.vlans {
        vlan.running = true;
        vlan.saved = saved.vlans.get(id).is_some_and(|it| it.name == vlan.name && it.vni == vlan.vni && it.half == vlan.half);
    }
    for (id, vlan) in &saved.vlans {
        seen.vlans.entry(*id).or_insert_with(|| VlanSeen { running: false, saved: true, ..vlan.clone() });
    }
    seen
}

/// The VLANs that frames of a port can be in. A port that carries all of them names none.
fn carries(port: &PortSeen) -> BTreeSet<VlanId> {
    match &port.mode {
        SeenMode::Known(mode) => Some(mode.vlans()).filter(|it| it.len() < ALL_VLANS).unwrap_or_default(),
        SeenMode::Foreign(_) | SeenMode::Absent => BTreeSet::new(),
    }
}
