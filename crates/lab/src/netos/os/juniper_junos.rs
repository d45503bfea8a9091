//! Junos with Enhanced Layer 2 Software, as on EX and QFX switches.
//!
//! A candidate configuration, shared, exclusive or private; `commit` puts it in force and makes it that of the next start in one.
//!
//! Source: Juniper, "CLI User Guide for Junos OS", "Ethernet Switching User Guide (ELS)", "EVPN User Guide".

mod model;
mod tree;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;

use self::model::Complaint;
use self::tree::{Node, words};
use super::registry::{Registry, lock};
use super::{Answer, Login, Os, Session, Shape, Weight};
use crate::netos::device::{Committed, Config, Device, Mode, Rules};
use crate::netos::faults::{Then, Verdict};

/// How many earlier configurations are kept; real ones keep 50, but thousands of simulated ones are in one process.
const ROLLBACKS: usize = 10;

static SHARED: Registry<Database> = Registry::new();

/// What the sessions share.
#[derive(Default)]
struct Database {
    /// The shared candidate, if it was changed.
    candidate: Option<Node>,
    /// Earlier configurations, the youngest first.
    history: Vec<Node>,
    /// Who holds the exclusive lock: the number of a session.
    exclusive: Option<u64>,
    /// Sessions that are configuring.
    configuring: usize,
    sessions: u64,
    /// A commit that will be taken back.
    unconfirmed: Option<AbortHandle>,
}

/// The operating system.
pub(super) struct Junos;

impl Os for Junos {
    fn name(&self) -> &'static str {
        "juniper_junos"
    }

    fn rules(&self) -> Rules {
        Rules { declares_vlans: true, native_must_be_allowed: true }
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports: Vec<String> = (0..shape.ports).map(|it| format!("xe-0/0/{it}")).collect();
        model::factory(&shape.hostname, &ports)
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Cli::new(device, login))
    }

    /// Commands are divided by `;`. Without a terminal there are no banners.
    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        let mut cli = Cli::new(device, login);
        let mut out = Answer::nothing();
        for line in command.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            match device.faults().line(line, cli.configuring.is_some()) {
                Verdict::Go => {}
                Verdict::Refuse | Verdict::Broken(Then::Refuse) => {
                    out.text.push_str(&cli.refusal(line));
                    out.status = 1;
                    break;
                }
                Verdict::Broken(then) => return Answer { then: Some(then), ..out },
            }
            let answer = cli.carry_out(line);
            out.text.push_str(&answer.text);
            (out.status, out.then) = (answer.status, answer.then);
            if out.then.is_some() || out.status != 0 || answer.end {
                break;
            }
        }
        out
    }

    fn exec_weight(&self, _device: &Arc<Device>, _login: &Login, command: &str) -> Weight {
        let commits = |line: &str| line.trim().starts_with("com") && !line.contains("check");
        if command.split(';').any(commits) { Weight::Commit } else { Weight::Light }
    }

    fn greeting(&self, _device: &Device) -> String {
        "--- JUNOS 21.4R3.15 Kernel 64-bit  JNPR-12.1-20220616.e2f1f1d_buil\n{master:0}\n".to_owned()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Private,
    Exclusive,
}

/// A session that is in configuration mode.
struct Configuring {
    kind: Kind,
    path: Vec<String>,
    candidate: Node,
    /// What was entered, to be carried out again on what another private session committed in between.
    entered: Vec<(bool, Vec<String>)>,
    /// What the candidate began as.
    base: Node,
}

struct Cli {
    device: Arc<Device>,
    shared: Arc<Mutex<Database>>,
    number: u64,
    user: String,
    configuring: Option<Configuring>,
    /// Whether changes are to be discarded is being asked.
    asking: bool,
    screen_length: Option<usize>,
    no_more: bool,
}

impl Drop for Cli {
    fn drop(&mut self) {
        if let Some(configuring) = self.configuring.take() {
            self.let_go(configuring);
        }
    }
}

impl Session for Cli {
    fn prompt(&self) -> String {
        if self.asking {
            return "Discard uncommitted changes? [yes,no] (yes) ".to_owned();
        }
        let sign = if self.configuring.is_some() { '#' } else { '>' };
        format!("{}@{}{sign} ", self.user, self.device.running().hostname)
    }

    fn line(&mut self, line: &str) -> Answer {
        self.no_more = false;
        if self.asking {
            self.asking = false;
            return self.answered(line.trim());
        }
        let mut answer = self.carry_out(line);
        if answer.end || self.asking {
            return answer;
        }
        answer.text = self.with_banner(&answer.text);
        answer
    }

    fn weight(&self, line: &str) -> Weight {
        let line = line.trim();
        if self.configuring.is_some() && line.starts_with("com") && !line.contains("check") { Weight::Commit } else { Weight::Light }
    }

    fn configuring(&self) -> bool {
        self.configuring.is_some()
    }

    fn refuse(&mut self, line: &str) -> Answer {
        let text = self.refusal(line);
        Answer { status: 1, ..Answer::say(self.with_banner(&text)) }
    }

    fn page(&self, rows: u32) -> Option<usize> {
        if self.no_more {
            return None;
        }
        self.screen_length.or(usize::try_from(rows).ok()).filter(|it| *it > 0).map(|it| it.saturating_sub(1).max(1))
    }

    fn more(&self) -> &'static str {
        "---(more)---"
    }
}

impl Cli {
    fn new(device: &Arc<Device>, login: &Login) -> Self {
        let shared = SHARED.of(device);
        let number = {
            let mut shared = lock(&shared);
            shared.sessions += 1;
            shared.sessions
        };
        Self {
            device: Arc::clone(device),
            shared,
            number,
            user: login.user.clone(),
            configuring: None,
            asking: false,
            screen_length: None,
            no_more: false,
        }
    }

    /// The words of a line that is refused whatever it says.
    fn refusal(&self, line: &str) -> String {
        if line.trim_start().starts_with("commit") {
            return "error: configuration check-out failed\n".to_owned();
        }
        let at = words(line).get(1).map_or(0, |it| it.0);
        self.marked(at, "syntax error.")
    }

    fn with_banner(&self, text: &str) -> String {
        match &self.configuring {
            Some(it) => {
                let path = it.path.iter().map(|it| format!(" {it}")).collect::<String>();
                format!("{text}\n{{master:0}}[edit{path}]\n")
            }
            None => format!("{text}\n{{master:0}}\n"),
        }
    }

    /// A message below a mark at a column of the line that was entered.
    fn marked(&self, column: usize, says: &str) -> String {
        format!("{}^\n{says}\n", " ".repeat(self.prompt().chars().count() + column))
    }

    fn carry_out(&mut self, line: &str) -> Answer {
        let parsed = words(line);
        let pipe = parsed.iter().position(|it| it.1 == "|").unwrap_or(parsed.len());
        let (command, pipes) = parsed.split_at(pipe);
        let Some((first, rest)) = command.split_first() else { return Answer::nothing() };
        let pipes: Vec<&[(usize, String)]> = pipes.split(|it| it.1 == "|").filter(|it| !it.is_empty()).collect();
        let mut display_set = false;
        let mut compare = None;
        for it in &pipes {
            let text: Vec<&str> = it.iter().map(|it| it.1.as_str()).collect();
            match text.as_slice() {
                ["no-more"] => self.no_more = true,
                ["display", "set"] => display_set = true,
                ["compare"] => compare = Some(0),
                ["compare", "rollback", number] => compare = number.parse().ok(),
                ["match" | "except" | "find" | "last" | "trim", _] | ["count"] | ["display", "inheritance"] => {}
                _ => return Answer::say(self.marked(it.first().map_or(0, |it| it.0), "syntax error.")),
            }
        }
        let answer = if self.configuring.is_some() {
            self.configure_line(first, rest, display_set, compare)
        } else {
            self.operate(first, rest, display_set)
        };
        let text = pipes.iter().fold(answer.text, |text, it| filtered(&text, it));
        Answer { text, ..answer }
    }

    fn operate(&mut self, first: &(usize, String), rest: &[(usize, String)], display_set: bool) -> Answer {
        let args: Vec<&str> = rest.iter().map(|it| it.1.as_str()).collect();
        let syntax = |it: &Self, nth: usize| Answer::say(it.marked(rest.get(nth).map_or(first.0, |it| it.0), "syntax error."));
        match (first.1.as_str(), args.as_slice()) {
            ("configure" | "conf" | "config" | "edit", how) => match how {
                [] => self.configure(Kind::Shared),
                ["private"] => self.configure(Kind::Private),
                ["exclusive"] => self.configure(Kind::Exclusive),
                _ => syntax(self, 0),
            },
            ("exit" | "quit" | "logout", []) => Answer::end(),
            ("set", ["cli", "screen-length", length]) => match length.parse() {
                Ok(length) => {
                    self.screen_length = Some(length);
                    Answer::say(format!("Screen length set to {length}"))
                }
                Err(_) => syntax(self, 2),
            },
            ("set", ["cli", "screen-width", width]) => Answer::say(format!("Screen width set to {width}")),
            ("set", ["cli", "complete-on-space", "off"]) => Answer::say("Disabling complete-on-space"),
            ("set", ["cli", "complete-on-space", "on"]) => Answer::say("Enabling complete-on-space"),
            ("set", ["cli", "idle-timeout" | "timestamp" | "prompt" | "terminal", ..]) => Answer::nothing(),
            ("set", ["date" | "chassis", ..]) => Answer::nothing(),
            ("show", ["configuration", path @ ..]) => {
                let path: Vec<String> = path.iter().map(|it| (*it).to_owned()).collect();
                if let Err(wrong) = Node::check_path(&path) {
                    return syntax(self, wrong.at + 1);
                }
                let tree = model::statements(&self.device.running());
                let head = if path.is_empty() && !display_set { "## Last commit: 2026-11-22 00:00:00 UTC by root\n" } else { "" };
                Answer::say(format!("{head}{}", shown(&tree, &path, display_set)))
            }
            ("show", ["version", ..]) => {
                let host = self.device.running().hostname.clone();
                Answer::say(format!(
                    "fpc0:\n--------------------------------------------------------------------------\nHostname: {host}\nModel: qfx5100-48s-6q\nJunos: 21.4R3.15\n"
                ))
            }
            ("show", ["interfaces", "terse", names @ ..]) => Answer::say(self.terse(names.first().copied())),
            ("show", ["interfaces", "descriptions"]) => Answer::say(self.descriptions()),
            ("show", ["vlans", ..]) => Answer::say(self.vlans()),
            ("show", ["ethernet-switching", "interface" | "interfaces", ..]) => Answer::say(self.switching()),
            ("show", ["system", "commit"]) => {
                let count = lock(&self.shared).history.len();
                Answer::say((0..=count).map(|it| format!("{it}   2026-11-22 00:00:00 UTC by root via cli\n")).collect::<String>())
            }
            ("show", ["system", "rollback", number]) => match self.rolled_back(number.parse().unwrap_or(usize::MAX)) {
                Some(tree) => Answer::say(shown(&tree, &[], display_set)),
                None => Answer::say(self.marked(rest.get(2).map_or(0, |it| it.0), "error: no such rollback")),
            },
            ("show", ["system" | "chassis" | "lldp" | "lacp" | "cli", ..]) => Answer::nothing(),
            ("show" | "request" | "clear" | "set", _) => syntax(self, 0),
            _ => Answer::say(self.marked(first.0, "unknown command.")),
        }
    }

    fn configure(&mut self, kind: Kind) -> Answer {
        let running = model::statements(&self.device.running());
        let mut shared = lock(&self.shared);
        if shared.exclusive.is_some() && kind != Kind::Private {
            return Answer::say(
                "error: configuration database locked by:\n  admin terminal pts/1 (pid 4711) on since 2026-11-22 00:00:00 UTC\n      exclusive {master:0}[edit]\n",
            );
        }
        if kind != Kind::Shared && shared.candidate.is_some() {
            return Answer::say(match kind {
                Kind::Private => "error: shared configuration database modified\n",
                Kind::Shared | Kind::Exclusive => "error: configuration database modified\n",
            });
        }
        if kind == Kind::Exclusive {
            shared.exclusive = Some(self.number);
        }
        let candidate = if kind == Kind::Private { None } else { shared.candidate.clone() };
        let mut text = match kind {
            Kind::Shared => "Entering configuration mode\n",
            Kind::Private | Kind::Exclusive => "warning: uncommitted changes will be discarded on exit\nEntering configuration mode\n",
        }
        .to_owned();
        if kind == Kind::Shared && shared.configuring > 0 {
            text.push_str(
                "Users currently editing the configuration:\n  admin terminal pts/1 (pid 4711) on since 2026-11-22 00:00:00 UTC\n",
            );
        }
        if candidate.is_some() {
            text.push_str("The configuration has been changed but not committed\n");
        }
        shared.configuring += 1;
        let candidate = candidate.unwrap_or_else(|| running.clone());
        drop(shared);
        self.configuring = Some(Configuring { kind, path: Vec::new(), candidate, entered: Vec::new(), base: running });
        Answer::say(text)
    }

    /// Leaves configuration mode with whatever is not committed.
    fn let_go(&self, configuring: Configuring) {
        let mut shared = lock(&self.shared);
        shared.configuring = shared.configuring.saturating_sub(1);
        if shared.exclusive == Some(self.number) {
            shared.exclusive = None;
        }
        // What was typed into the shared candidate stays there, except over a restart.
        if configuring.kind == Kind::Shared && self.device.is_down() {
            shared.candidate = None;
        }
    }

    fn leave(&mut self) -> Answer {
        let Some(configuring) = &self.configuring else { return Answer::nothing() };
        let changed = configuring.candidate != configuring.base;
        if changed && configuring.kind != Kind::Shared {
            self.asking = true;
            return Answer::say("The configuration has been changed but not committed\n");
        }
        if let Some(configuring) = self.configuring.take() {
            self.let_go(configuring);
        }
        let warning = if changed { "The configuration has been changed but not committed\n" } else { "" };
        Answer::say(format!("{warning}Exiting configuration mode\n"))
    }

    fn answered(&mut self, word: &str) -> Answer {
        let text = if word.starts_with(['n', 'N']) {
            String::new()
        } else {
            if let Some(configuring) = self.configuring.take() {
                self.let_go(configuring);
            }
            "Exiting configuration mode\n".to_owned()
        };
        Answer::say(self.with_banner(&text))
    }

    fn configure_line(&mut self, first: &(usize, String), rest: &[(usize, String)], display_set: bool, compare: Option<usize>) -> Answer {
        let args: Vec<&str> = rest.iter().map(|it| it.1.as_str()).collect();
        let end = rest.last().map_or(first.0 + first.1.len(), |it| it.0 + it.1.chars().count());
        let column = |nth: usize| rest.get(nth).map_or(end + 1, |it| it.0);
        match (first.1.as_str(), args.as_slice()) {
            ("set" | "delete", words) => {
                let delete = first.1 == "delete";
                let Some(configuring) = &mut self.configuring else { return Answer::nothing() };
                let full: Vec<String> = configuring.path.iter().cloned().chain(words.iter().map(|it| (*it).to_owned())).collect();
                let inside = configuring.path.len();
                let done = if delete { configuring.candidate.delete(&full) } else { configuring.candidate.set(&full).map(|()| true) };
                match done {
                    Ok(found) => {
                        configuring.entered.push((delete, full));
                        if configuring.kind == Kind::Shared {
                            let changed = (configuring.candidate != configuring.base).then(|| configuring.candidate.clone());
                            lock(&self.shared).candidate = changed;
                        }
                        Answer::say(if found { "" } else { "warning: statement not found\n" })
                    }
                    Err(wrong) => Answer { status: 1, ..Answer::say(self.marked(column(wrong.at.saturating_sub(inside)), &wrong.says)) },
                }
            }
            ("show", path) => {
                let Some(configuring) = &self.configuring else { return Answer::nothing() };
                let full: Vec<String> = configuring.path.iter().cloned().chain(path.iter().map(|it| (*it).to_owned())).collect();
                let inside = configuring.path.len();
                if let Err(wrong) = Node::check_path(&full) {
                    return Answer::say(self.marked(column(wrong.at.saturating_sub(inside)), "syntax error."));
                }
                match compare {
                    Some(0) => Answer::say(configuring.candidate.compare(&model::statements(&self.device.running()))),
                    Some(number) => match self.rolled_back(number) {
                        Some(before) => Answer::say(configuring.candidate.compare(&before)),
                        None => Answer::say("error: no such rollback\n"),
                    },
                    None => Answer::say(shown(&configuring.candidate, &full, display_set)),
                }
            }
            ("edit", path) => {
                let Some(configuring) = &mut self.configuring else { return Answer::nothing() };
                let full: Vec<String> = configuring.path.iter().cloned().chain(path.iter().map(|it| (*it).to_owned())).collect();
                match Node::check_path(&full) {
                    Ok(()) => {
                        configuring.path = full;
                        Answer::nothing()
                    }
                    Err(wrong) => {
                        let at = column(wrong.at.saturating_sub(configuring.path.len()));
                        Answer::say(self.marked(at, "syntax error."))
                    }
                }
            }
            ("top", []) => {
                self.configuring.iter_mut().for_each(|it| it.path.clear());
                Answer::nothing()
            }
            ("top", [command, ..]) => {
                let inner = (column(0), (*command).to_owned());
                self.configuring.iter_mut().for_each(|it| it.path.clear());
                self.configure_line(&inner, rest.get(1..).unwrap_or_default(), display_set, compare)
            }
            ("up", []) | ("exit" | "quit", []) if self.configuring.as_ref().is_some_and(|it| !it.path.is_empty()) => {
                self.configuring.iter_mut().for_each(|it| drop(it.path.pop()));
                Answer::nothing()
            }
            ("up", []) => Answer::nothing(),
            ("exit" | "quit", [] | ["configuration-mode"]) => self.leave(),
            ("commit", how) => self.commit(how),
            ("rollback", [] | ["0"]) => self.roll_back(0),
            ("rollback", [number]) if number.parse::<usize>().is_ok_and(|it| it < ROLLBACKS) => {
                self.roll_back(number.parse().unwrap_or_default())
            }
            ("run", [command, ..]) => {
                let inner = (column(0), (*command).to_owned());
                if command.starts_with("conf") {
                    return Answer::nothing();
                }
                self.operate(&inner, rest.get(1..).unwrap_or_default(), display_set)
            }
            ("status", []) => Answer::say("Users currently editing the configuration:\n"),
            ("rollback" | "up" | "exit" | "quit" | "status" | "run", _) => Answer::say(self.marked(column(0), "syntax error.")),
            _ => Answer { status: 1, ..Answer::say(self.marked(first.0, "unknown command.")) },
        }
    }

    fn rolled_back(&self, number: usize) -> Option<Node> {
        match number.checked_sub(1) {
            None => Some(model::statements(&self.device.running())),
            Some(nth) => lock(&self.shared).history.get(nth).cloned(),
        }
    }

    fn roll_back(&mut self, number: usize) -> Answer {
        let Some(tree) = self.rolled_back(number) else {
            return Answer::say(format!("error: could not open configuration database: rollback {number}\n"));
        };
        if let Some(configuring) = &mut self.configuring {
            configuring.candidate = tree;
            configuring.entered = if number == 0 { Vec::new() } else { whole(&configuring.candidate) };
            if configuring.kind == Kind::Shared {
                let changed = (configuring.candidate != configuring.base).then(|| configuring.candidate.clone());
                lock(&self.shared).candidate = changed;
            }
        }
        Answer::say("load complete\n")
    }

    fn commit(&mut self, how: &[&str]) -> Answer {
        let (mut check, mut quit, mut minutes) = (false, false, None);
        let mut rest = how;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match *first {
                "check" => check = true,
                "and-quit" => quit = true,
                "synchronize" | "full" | "no-synchronize" => {}
                "comment" => rest = rest.get(1..).unwrap_or_default(),
                "confirmed" => {
                    let given = rest.first().and_then(|it| it.parse::<u64>().ok());
                    rest = if given.is_some() { rest.get(1..).unwrap_or_default() } else { rest };
                    minutes = Some(given.unwrap_or(10).clamp(1, 65_535));
                }
                _ => return Answer { status: 1, ..Answer::say(self.marked("commit ".len(), "syntax error.")) },
            }
        }
        let Some(configuring) = &mut self.configuring else { return Answer::nothing() };
        let running = self.device.running();
        let before = model::statements(&running);
        let mut tree = configuring.candidate.clone();
        if before != configuring.base {
            // Somebody committed in between: what was entered here is carried out on that.
            tree = before.clone();
            for (delete, words) in &configuring.entered {
                let _taken = if *delete { tree.delete(words) } else { tree.set(words).map(|()| true) };
            }
        }
        let complaints = model::check(&tree, &running);
        if !complaints.is_empty() {
            return Answer { status: 1, ..Answer::say(Complaint::print(&complaints)) };
        }
        if check {
            return Answer::say("configuration check succeeds\n");
        }
        let mut config = model::project(&tree, &running);
        model::keep(&mut config, &tree);
        match self.device.commit(config) {
            Committed::Whole => {}
            Committed::Partly(then) => {
                let says = "error: commit failed: daemon terminated while the configuration was activated\n";
                return Answer { status: 1, then: Some(then).filter(|it| *it != Then::Refuse), ..Answer::say(says) };
            }
        }
        let mut shared = lock(&self.shared);
        if let Some(waiting) = shared.unconfirmed.take() {
            waiting.abort();
        }
        if before != tree {
            shared.history.insert(0, before.clone());
            shared.history.truncate(ROLLBACKS - 1);
        }
        if configuring.kind == Kind::Shared {
            shared.candidate = None;
        }
        configuring.candidate = tree.clone();
        configuring.base = tree;
        configuring.entered.clear();
        let mut text = String::new();
        match minutes {
            Some(minutes) => {
                shared.unconfirmed = take_back(Arc::clone(&self.device), before, minutes);
                text.push_str(&format!("commit confirmed will be automatically rolled back in {minutes} minutes unless confirmed\n"));
            }
            // A commit is what the switch starts with, too; one that waits for its confirmation is not.
            None => self.device.set_startup((*self.device.running()).clone()),
        }
        drop(shared);
        text.push_str("configuration check succeeds\ncommit complete\n");
        if quit {
            text.push_str(&self.leave().text);
        }
        Answer::say(text)
    }

    fn terse(&self, only: Option<&str>) -> String {
        let config = self.device.running();
        let mut out = "Interface               Admin Link Proto    Local                 Remote\n".to_owned();
        for name in config.port_names().into_iter().filter(|it| only.is_none_or(|only| *it == only)) {
            let Some(port) = config.ports.get(name) else { continue };
            let state = if port.up { "up    up" } else { "down  down" };
            out.push_str(&format!("{name:<23} {state}\n"));
            if let Some(group) = &port.group {
                out.push_str(&format!("{:<23} {state}   aenet    --> {}.0\n", format!("{name}.0"), group.group));
            } else if !port.routed {
                out.push_str(&format!("{:<23} {state}   eth-switch\n", format!("{name}.0")));
            }
        }
        if only.is_none() {
            out.push_str("em0                     up    up\nem0.0                   up    up   inet     10.0.0.1/24\nlo0                     up    up\nvme                     up    down\n");
        }
        out
    }

    fn descriptions(&self) -> String {
        let config = self.device.running();
        let mut out = "Interface       Admin Link Description\n".to_owned();
        for name in config.port_names() {
            if let Some(port) = config.ports.get(name).filter(|it| !it.description.is_empty()) {
                let state = if port.up { "up    up" } else { "down  down" };
                out.push_str(&format!("{name:<15} {state}   {}\n", port.description));
            }
        }
        out
    }

    fn vlans(&self) -> String {
        let config = self.device.running();
        let mut out = "\nRouting instance        VLAN name             Tag          Interfaces\n".to_owned();
        for (vlan, it) in &config.vlans {
            out.push_str(&format!("{:<23} {:<21} {vlan:<12}\n", "default-switch", it.name.as_deref().unwrap_or_default()));
            for name in config.port_names() {
                let carried = config.carries(name, self.device.rules());
                let is_member = config.ports.get(name).is_some_and(|it| it.group.is_none());
                if is_member && (carried.untagged == Some(*vlan) || carried.tagged.contains(vlan)) {
                    out.push_str(&format!("{:59} {name}.0*\n", ""));
                }
            }
        }
        out
    }

    fn switching(&self) -> String {
        let config = self.device.running();
        let mut out = "Logical          Vlan          TAG     MAC         STP         Logical           Tagging\ninterface        members               limit       state       interface flags\n".to_owned();
        for name in config.port_names() {
            let Some(port) = config.ports.get(name).filter(|it| !it.routed && it.group.is_none()) else { continue };
            let tagging = if port.mode == Mode::Access { "untagged" } else { "tagged" };
            out.push_str(&format!("{:<16} {:>53} {tagging}\n", format!("{name}.0"), ""));
            let carried = config.carries(name, self.device.rules());
            for vlan in carried.untagged.iter().chain(&carried.tagged) {
                let name = config.vlans.get(vlan).and_then(|it| it.name.clone()).unwrap_or_default();
                let tagging = if carried.untagged == Some(*vlan) { "untagged" } else { "tagged" };
                out.push_str(&format!("{:<16} {name:<13} {vlan:<7} 294912      Forwarding                    {tagging}\n", ""));
            }
        }
        out
    }
}

/// Lets a commit that was not confirmed be taken back.
fn take_back(device: Arc<Device>, before: Node, minutes: u64) -> Option<AbortHandle> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let back = async move {
        tokio::time::sleep(Duration::from_secs(minutes.saturating_mul(60))).await;
        let running = device.running();
        let mut config = model::project(&before, &running);
        model::keep(&mut config, &before);
        // Nobody waits for the answer.
        let _done = device.commit(config);
    };
    Some(runtime.spawn(back).abort_handle())
}

/// A whole configuration as what would be entered.
fn whole(tree: &Node) -> Vec<(bool, Vec<String>)> {
    let lines = tree.set_lines(&[]);
    let sets = lines.iter().map(|it| (false, words(it).into_iter().skip(1).map(|it| it.1).collect()));
    std::iter::once((true, Vec::new())).chain(sets).collect()
}

fn shown(tree: &Node, path: &[String], display_set: bool) -> String {
    if display_set { tree.set_lines(path).iter().map(|it| format!("{it}\n")).collect() } else { tree.curly(path) }
}

fn filtered(text: &str, pipe: &[(usize, String)]) -> String {
    let argument = pipe.get(1).map_or("", |it| it.1.as_str());
    let argument = argument.strip_prefix('^').unwrap_or(argument);
    let keep = |wanted: bool| text.lines().filter(|it| it.contains(argument) == wanted).map(|it| format!("{it}\n")).collect();
    match pipe.first().map_or("", |it| it.1.as_str()) {
        "match" => keep(true),
        "except" => keep(false),
        "find" => text.lines().skip_while(|it| !it.contains(argument)).map(|it| format!("{it}\n")).collect(),
        "count" => format!("Count: {} lines\n", text.lines().count()),
        "last" => {
            let lines: Vec<&str> = text.lines().collect();
            let skip = lines.len().saturating_sub(argument.parse().unwrap_or(10));
            lines.iter().skip(skip).map(|it| format!("{it}\n")).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
