//! Nokia SR Linux: a prompt of two lines, and candidates that are shared, exclusive or private.
//!
//! Source: Nokia, "SR Linux Configuration Basics Guide", chapters "CLI interface" and "Configuration management".

mod model;
mod tree;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::registry::{Registry, lock};
use super::shell::pretty;
use super::{Answer, Login, Os, Running, Session, Shape, Weight};
use crate::netos::device::{Committed, Config, Device, Rules};
use crate::netos::faults::{Then, Verdict};
use crate::netos::{Access, gnmi};

static SHARED: Registry<Datastore> = Registry::new();

#[derive(Default)]
struct Datastore {
    /// The shared candidate, if it was changed.
    candidate: Option<Value>,
    exclusive: Option<u64>,
    sessions: u64,
}

/// The operating system.
pub(super) struct SrLinux;

impl Os for SrLinux {
    fn name(&self) -> &'static str {
        "nokia_srl"
    }

    fn rules(&self) -> Rules {
        Rules { declares_vlans: true, native_must_be_allowed: false }
    }

    fn factory(&self, shape: &Shape) -> Config {
        model::factory(&shape.hostname, shape.ports)
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Cli::new(device, login))
    }

    /// Without a terminal there is no prompt and nothing above it.
    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        let mut cli = Cli::new(device, login);
        match device.faults().line(command, false) {
            Verdict::Go => cli.carry_out(command),
            Verdict::Refuse | Verdict::Broken(Then::Refuse) => error(refusal(command)),
            Verdict::Broken(then) => Answer { then: Some(then), ..Answer::nothing() },
        }
    }

    fn greeting(&self, device: &Device) -> String {
        let unsaved = if device.running() == device.startup() { "" } else { "+ " };
        format!(
            "Welcome to the srlinux CLI.\nType 'help' (and press <ENTER>) if you need any help using this.\n\n--{{ {unsaved}running }}--[  ]--\n"
        )
    }

    fn gnmi(&self, device: &Arc<Device>, access: &Arc<Access>, listener: TcpListener) -> Option<Running> {
        Some(gnmi::serve(device, access, listener))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Private,
    Exclusive,
}

struct Candidate {
    kind: Kind,
    tree: Value,
    base: Value,
    /// What was entered: delete or set, and the path.
    entered: Vec<(bool, Vec<String>)>,
}

struct Cli {
    device: Arc<Device>,
    shared: Arc<Mutex<Datastore>>,
    number: u64,
    user: String,
    path: Vec<String>,
    candidate: Option<Candidate>,
}

impl Drop for Cli {
    fn drop(&mut self) {
        self.leave();
        if self.device.is_down() {
            lock(&self.shared).candidate = None;
        }
    }
}

impl Session for Cli {
    fn prompt(&self) -> String {
        format!("A:{}# ", self.device.running().hostname)
    }

    fn line(&mut self, line: &str) -> Answer {
        let mut answer = self.carry_out(line);
        if !answer.end {
            answer.text.push_str(&self.banner());
        }
        answer
    }

    fn weight(&self, line: &str) -> Weight {
        let line = line.trim();
        match () {
            () if line.starts_with("commit save") => Weight::CommitAndSave,
            () if line.starts_with("commit") && !line.starts_with("commit validate") => Weight::Commit,
            () if line.starts_with("save") => Weight::Save,
            () => Weight::Light,
        }
    }

    fn configuring(&self) -> bool {
        self.candidate.is_some()
    }

    fn refuse(&mut self, line: &str) -> Answer {
        error(format!("{}{}", refusal(line), self.banner()))
    }
}

/// The words of a line that is refused whatever it says.
fn refusal(line: &str) -> String {
    format!("Parsing error: Unknown token '{}'. Options are []\n", line.split_whitespace().last().unwrap_or_default())
}

fn error(says: impl Into<String>) -> Answer {
    Answer { status: 1, ..Answer::say(says) }
}

impl Cli {
    fn new(device: &Arc<Device>, login: &Login) -> Self {
        let shared = SHARED.of(device);
        let number = {
            let mut shared = lock(&shared);
            shared.sessions += 1;
            shared.sessions
        };
        Self { device: Arc::clone(device), shared, number, user: login.user.clone(), path: Vec::new(), candidate: None }
    }

    fn running(&self) -> Value {
        model::object(&self.device.running())
    }

    fn banner(&self) -> String {
        let unsaved = if self.device.running() == self.device.startup() { "" } else { "+" };
        let (changed, mode) = match &self.candidate {
            None => ("", "running".to_owned()),
            Some(it) => {
                let mode = match it.kind {
                    Kind::Shared => "candidate shared default".to_owned(),
                    Kind::Exclusive => "candidate exclusive default".to_owned(),
                    Kind::Private => format!("candidate private private-{}", self.user),
                };
                (if it.tree == it.base { "" } else { "*" }, mode)
            }
        };
        let signs = format!("{unsaved}{changed}");
        let gap = if signs.is_empty() { "" } else { " " };
        format!("\n--{{ {signs}{gap}{mode} }}--[ {} ]--\n", self.path.join(" "))
    }

    /// Words after a command as a whole path.
    fn full(&self, words: &[String]) -> Vec<String> {
        match words.split_first() {
            Some((first, rest)) if first == "/" => rest.to_vec(),
            _ => self.path.iter().chain(words).cloned().collect(),
        }
    }

    fn carry_out(&mut self, line: &str) -> Answer {
        // The file that `save startup` writes; nothing else shows what is saved.
        if line.trim() == "bash cat /etc/opt/srlinux/config.json" {
            return Answer::say(pretty(&tree::as_json(&model::object(&self.device.startup())), 2));
        }
        let all = tree::words(line);
        let pipe = all.iter().position(|it| it == "|").unwrap_or(all.len());
        let (command, pipes) = all.split_at(pipe);
        let (mut json, mut filters) = (false, Vec::new());
        for it in pipes.split(|it| it == "|").filter(|it| !it.is_empty()) {
            match it.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["as", "json"] => json = true,
                ["as", "table" | "text" | "yaml"] | ["more"] => {}
                ["grep", pattern] => filters.push((*pattern).to_owned()),
                other => return error(format!("Parsing error: Unknown token '{}'. Options are ['as', 'grep', 'more']\n", other.join(" "))),
            }
        }
        let Some((first, rest)) = command.split_first() else { return Answer::nothing() };
        let args: Vec<&str> = rest.iter().map(String::as_str).collect();
        let mut answer = match (first.as_str(), args.as_slice()) {
            ("enter", ["candidate", how @ ..]) => self.enter(how),
            ("enter", ["running"]) => {
                self.leave();
                Answer::nothing()
            }
            ("quit", []) => Answer::end(),
            ("exit", ["all"]) | ("/", []) => {
                self.path.clear();
                Answer::nothing()
            }
            ("exit" | "back", []) => {
                self.step_out();
                Answer::nothing()
            }
            ("pwc", []) => Answer::say(format!("Path: / {}\n", self.path.join(" "))),
            ("environment", _) => Answer::nothing(),
            ("info", how) => self.info(how, rest, json),
            ("show", ["version", ..]) => {
                let host = self.device.running().hostname.clone();
                Answer::say(format!("Hostname             : {host}\nChassis Type         : 7220 IXR-D2L\nSoftware Version     : v24.3.2\n"))
            }
            ("show" | "tools" | "bash" | "ping", _) => Answer::nothing(),
            ("save", ["startup", ..]) => {
                self.device.save();
                Answer::say(
                    "/system:\n    Saved current running configuration as initial (startup) configuration '/etc/opt/srlinux/config.json'\n",
                )
            }
            ("diff", _) if self.candidate.is_some() => self.diff(),
            ("commit", how) if self.candidate.is_some() => self.commit(how),
            ("discard", how) if self.candidate.is_some() => self.discard(how),
            ("baseline", _) if self.candidate.is_some() => Answer::nothing(),
            ("set", _) if self.candidate.is_some() => self.edit(false, self.full(rest)),
            ("delete", _) if self.candidate.is_some() => self.edit(true, self.full(rest)),
            ("set" | "delete" | "commit" | "discard" | "diff", _) => error(format!(
                "Parsing error: Unknown token '{first}'. Options are ['/', 'back', 'enter', 'environment', 'exit', 'info', 'quit', 'save', 'show', 'tools']\n"
            )),
            _ => self.navigate(command),
        };
        if !filters.is_empty() {
            answer.text =
                answer.text.lines().filter(|it| filters.iter().all(|pattern| it.contains(pattern))).map(|it| format!("{it}\n")).collect();
        }
        answer
    }

    /// A path by itself is gone to; values on the way are set in a candidate.
    fn navigate(&mut self, words: &[String]) -> Answer {
        let full = self.full(words);
        if let Err(says) = tree::check_path(&full) {
            return error(says);
        }
        if self.candidate.is_some() {
            let answer = self.edit(false, full.clone());
            if answer.status == 0 {
                self.path = full;
            }
            return answer;
        }
        self.path = full;
        Answer::nothing()
    }

    fn step_out(&mut self) {
        // A list entry is left with its key.
        self.path.pop();
        while !self.path.is_empty() && tree::check_path(&[self.path.clone(), vec!["?".into()]].concat()).is_ok() {
            self.path.pop();
        }
    }

    fn enter(&mut self, how: &[&str]) -> Answer {
        let kind = match how {
            [] | ["shared"] => Kind::Shared,
            ["private", ..] => Kind::Private,
            ["exclusive", ..] => Kind::Exclusive,
            [other, ..] => {
                return error(format!("Parsing error: Unknown token '{other}'. Options are ['exclusive', 'name', 'private', 'shared']\n"));
            }
        };
        self.leave();
        let base = self.running();
        let mut shared = lock(&self.shared);
        if kind != Kind::Private && shared.exclusive.is_some() {
            return error("Error: Cannot enter the candidate: it is locked for exclusive use by another session\n");
        }
        if kind == Kind::Exclusive {
            if shared.candidate.is_some() {
                return error("Error: Cannot enter the candidate exclusively: it has uncommitted changes\n");
            }
            shared.exclusive = Some(self.number);
        }
        let own = if kind == Kind::Shared { shared.candidate.clone() } else { None };
        drop(shared);
        self.candidate = Some(Candidate { kind, tree: own.unwrap_or_else(|| base.clone()), base, entered: Vec::new() });
        Answer::nothing()
    }

    fn leave(&mut self) {
        let mut shared = lock(&self.shared);
        if shared.exclusive == Some(self.number) {
            shared.exclusive = None;
        }
        drop(shared);
        self.candidate = None;
    }

    fn edit(&mut self, is_delete: bool, path: Vec<String>) -> Answer {
        let Some(candidate) = &mut self.candidate else { return Answer::nothing() };
        if candidate.kind == Kind::Shared
            && let Some(newer) = lock(&self.shared).candidate.clone()
        {
            candidate.tree = newer;
        }
        let mut draft = candidate.tree.clone();
        let done = if is_delete { tree::delete(&mut draft, &path) } else { tree::set(&mut draft, &path) };
        if let Err(says) = done {
            return error(says);
        }
        candidate.tree = draft;
        candidate.entered.push((is_delete, path));
        if candidate.kind == Kind::Shared {
            lock(&self.shared).candidate = (candidate.tree != candidate.base).then(|| candidate.tree.clone());
        }
        Answer::nothing()
    }

    fn info(&self, how: &[&str], rest: &[String], json: bool) -> Answer {
        let mut flat = false;
        let mut from = None;
        let mut skip = 0;
        while let Some(word) = how.get(skip) {
            match *word {
                "flat" => flat = true,
                "detail" | "depth" => {}
                "from" => {
                    skip += 1;
                    from = how.get(skip).copied();
                }
                _ => break,
            }
            skip += 1;
        }
        let tree = match from {
            Some("running") => self.running(),
            Some("state") => self.running(),
            Some("startup") => model::object(&self.device.startup()),
            Some("candidate") | None => self.candidate.as_ref().map_or_else(|| self.running(), |it| it.tree.clone()),
            Some(other) => {
                return error(format!(
                    "Parsing error: Unknown token '{other}'. Options are ['candidate', 'running', 'startup', 'state']\n"
                ));
            }
        };
        let path = self.full(rest.get(skip..).unwrap_or_default());
        if let Err(says) = tree::check_path(&path) {
            return error(says);
        }
        let part = tree::part(&tree, &path).unwrap_or_else(|| json!({}));
        Answer::say(match (json, flat) {
            (true, _) => pretty(&tree::as_json(&part), 2),
            (false, true) => tree::flat(&part),
            (false, false) => tree::indented(&part),
        })
    }

    fn diff(&self) -> Answer {
        let Some(candidate) = &self.candidate else { return Answer::nothing() };
        let (before, after) = (tree::flat(&self.running()), tree::flat(&candidate.tree));
        let mut out = String::new();
        for line in before.lines().filter(|it| !after.lines().any(|other| other == *it)) {
            out.push_str(&format!("-   {}\n", line.trim_start_matches("set / ")));
        }
        for line in after.lines().filter(|it| !before.lines().any(|other| other == *it)) {
            out.push_str(&format!("+   {}\n", line.trim_start_matches("set / ")));
        }
        Answer::say(out)
    }

    fn commit(&mut self, how: &[&str]) -> Answer {
        let (stay, validate, save) = match how {
            ["now"] => (false, false, false),
            ["stay"] | ["stay", "comment", _] => (true, false, false),
            ["save"] | ["stay", "save"] => (true, false, true),
            ["now", "save"] => (false, false, true),
            ["validate"] => (true, true, false),
            [] => {
                return error("Parsing error: Missing token. Options are ['checkpoint', 'confirmed', 'now', 'save', 'stay', 'validate']\n");
            }
            [other, ..] => {
                return error(format!(
                    "Parsing error: Unknown token '{other}'. Options are ['checkpoint', 'confirmed', 'now', 'save', 'stay', 'validate']\n"
                ));
            }
        };
        let running = self.device.running();
        let current = model::object(&running);
        let Some(candidate) = &mut self.candidate else { return Answer::nothing() };
        let mut tree = candidate.tree.clone();
        if current != candidate.base {
            tree = current;
            for (is_delete, path) in &candidate.entered {
                let _taken = if *is_delete { tree::delete(&mut tree, path) } else { tree::set(&mut tree, path) };
            }
        }
        let wrong = model::check(&tree, &running);
        if !wrong.is_empty() {
            let lines = wrong.iter().map(|it| format!("    {it}\n")).collect::<String>();
            return error(format!("Error: Commit failed\n{lines}"));
        }
        if validate {
            return Answer::nothing();
        }
        let mut config = model::project(&tree, &running);
        model::keep(&mut config, &tree);
        if let Committed::Partly(then) = self.device.commit(config) {
            let then = Some(then).filter(|it| *it != Then::Refuse);
            return Answer { then, ..error("Error: Commit failed\n    Application chassis_mgr did not acknowledge the changes\n") };
        }
        (candidate.base, candidate.tree) = (tree.clone(), tree);
        candidate.entered.clear();
        if candidate.kind == Kind::Shared {
            lock(&self.shared).candidate = None;
        }
        if save {
            self.device.save();
        }
        if stay {
            return Answer::say("All changes have been committed. Starting new transaction.\n");
        }
        self.leave();
        Answer::say("All changes have been committed. Leaving candidate mode.\n")
    }

    fn discard(&mut self, how: &[&str]) -> Answer {
        let running = self.running();
        let Some(candidate) = &mut self.candidate else { return Answer::nothing() };
        let stay = match how {
            ["now"] => false,
            ["stay"] => true,
            _ => return error("Parsing error: Missing token. Options are ['now', 'stay']\n"),
        };
        (candidate.base, candidate.tree) = (running.clone(), running);
        candidate.entered.clear();
        if candidate.kind == Kind::Shared {
            lock(&self.shared).candidate = None;
        }
        if stay {
            return Answer::say("All changes have been discarded. Starting new transaction.\n");
        }
        self.leave();
        Answer::say("All changes have been discarded. Leaving candidate mode.\n")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::netos::device::{Allowed, Carried, Mode};

    fn switch() -> (Arc<Device>, Box<dyn Session>) {
        let device = Arc::new(Device::new([2; 6], SrLinux.rules(), SrLinux.factory(&Shape { hostname: "leaf1".into(), ports: 4 })));
        let session = SrLinux.login(&device, &Login { user: "admin".into(), enable_password: None, privileged: true });
        (device, session)
    }

    fn enter(session: &mut dyn Session, lines: &[&str]) -> String {
        lines
            .iter()
            .map(|line| {
                let answer = session.line(line);
                assert_eq!(answer.status, 0, "{line}: {}", answer.text);
                answer.text
            })
            .collect()
    }

    const DOMAIN: &[&str] = &[
        "enter candidate private",
        "set / network-instance mac-vrf-10 type mac-vrf admin-state enable",
        "set / interface ethernet-1/1 vlan-tagging true",
        "set / interface ethernet-1/1 subinterface 10 type bridged vlan encap untagged",
        "set / network-instance mac-vrf-10 interface ethernet-1/1.10",
    ];

    #[test]
    fn bridge_domains_are_what_passes() {
        let (device, mut session) = switch();
        assert_eq!(session.prompt(), "A:leaf1# ");
        let said = enter(&mut *session, DOMAIN);
        assert!(said.ends_with("\n--{ * candidate private private-admin }--[  ]--\n"), "{said}");
        assert!(device.carries("ethernet-1/1").is_empty());
        enter(&mut *session, &["set /interface ethernet-1/1 subinterface 20 type bridged vlan encap single-tagged vlan-id 20"]);
        enter(
            &mut *session,
            &["set / network-instance mac-vrf-20 type mac-vrf", "set / network-instance mac-vrf-20 interface ethernet-1/1.20"],
        );
        let said = enter(&mut *session, &["commit stay"]);
        assert!(said.starts_with("All changes have been committed. Starting new transaction.\n\n--{ + candidate private"), "{said}");
        assert_eq!(device.carries("ethernet-1/1"), Carried { untagged: Some(10), tagged: BTreeSet::from([20]) });
        let flat = enter(&mut *session, &["info flat from running / interface ethernet-1/1"]);
        assert!(flat.contains("set / interface ethernet-1/1 subinterface 10 vlan encap untagged\n"), "{flat}");
        let json = enter(&mut *session, &["info from running / interface * | as json"]);
        let json: Value = serde_json::from_str(json.split("\n\n--{").next().unwrap_or_default()).expect("JSON");
        assert_eq!(json["interface"][0]["subinterface"][1]["vlan"]["encap"]["single-tagged"]["vlan-id"], 20);
        device.reboot(Duration::ZERO);
        assert!(device.carries("ethernet-1/1").is_empty(), "was not saved");
    }

    #[test]
    fn what_refers_to_nothing_is_not_committed() {
        let (device, mut session) = switch();
        enter(&mut *session, DOMAIN);
        enter(&mut *session, &["delete / interface ethernet-1/1 subinterface 10"]);
        let answer = session.line("commit now");
        assert!(answer.text.starts_with("Error: Commit failed\n") && answer.text.contains("subinterface 'ethernet-1/1.10' does not exist"));
        assert!(enter(&mut *session, &["discard now"]).contains("Leaving candidate mode."));
        assert!(device.running().vlans.is_empty());
        assert!(session.line("set / interface ethernet-1/1 description x").text.starts_with("Parsing error: Unknown token 'set'"));
        enter(&mut *session, &["enter candidate"]);
        assert!(
            session
                .line("set / interface ethernet-1/1 bogus x")
                .text
                .starts_with("Parsing error: Unknown token 'bogus'. Options are ['admin-state'")
        );
        assert!(session.line("set / interface ethernet-1/1 admin-state maybe").text.starts_with("Error: Invalid value \"maybe\""));
    }

    #[test]
    fn groups_tunnels_and_hand_edits() {
        let (device, mut session) = switch();
        enter(&mut *session, DOMAIN);
        enter(
            &mut *session,
            &[
                "set / tunnel-interface vxlan1 vxlan-interface 10 type bridged ingress vni 1000",
                "set / network-instance mac-vrf-10 vxlan-interface vxlan1.10",
                "set / network-instance mac-vrf-10 protocols bgp-evpn bgp-instance 1 vxlan-interface vxlan1.10 evi 10",
                "set / interface lag1 vlan-tagging true lag lag-type lacp",
                "set / interface lag1 subinterface 10 type bridged vlan encap single-tagged vlan-id 10",
                "set / network-instance mac-vrf-10 interface lag1.10",
                "set / interface ethernet-1/2 ethernet aggregate-id lag1",
                "commit now",
                "save startup",
            ],
        );
        assert_eq!(device.running().vlans.get(&10).and_then(|it| it.vni), Some(1000));
        assert_eq!(device.carries("ethernet-1/2").tagged, BTreeSet::from([10]));
        device.edit(|it| {
            if let Some(port) = it.ports.get_mut("ethernet-1/3") {
                (port.mode, port.allowed, port.native) = (Mode::Trunk, Allowed::Only(BTreeSet::from([10])), None);
            }
        });
        let shown = enter(&mut *session, &["info flat from running"]);
        assert!(shown.contains("set / network-instance mac-vrf-10 interface ethernet-1/3.10\n"), "{shown}");
        assert!(shown.contains("--{ + running }--"), "{shown}");
    }
}
