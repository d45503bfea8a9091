//! Cumulus Linux with NVUE: a Linux shell with `nv`. Changes gather in the user's pending revision until they are applied; what is
//! applied is saved by `nv config save`.
//!
//! Source: NVIDIA, "Cumulus Linux User Guide 5.x", chapter "NVUE CLI".

mod model;
mod tree;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::registry::{Registry, lock};
use super::shell::{Machine, Programs, Ran, Shell, pretty};
use super::{Answer, Login, Os, Session, Shape, Weight, vtysh};
use crate::netos::device::{Committed, Config, Device, Rules};
use crate::netos::faults::Then;

static SHARED: Registry<Revisions> = Registry::new();

/// Where the lines of FRR are kept in [`Config::extra`].
const FRR: &str = "frr.conf";

#[derive(Default)]
struct Revisions {
    last: u64,
    /// By user: sessions of the same user share it, and it outlasts them.
    pending: HashMap<String, Pending>,
}

struct Pending {
    revision: u64,
    base: Value,
    tree: Value,
    /// What was entered: unset or set, and the words.
    entered: Vec<(bool, Vec<String>)>,
}

/// The operating system.
pub(super) struct Cumulus;

impl Os for Cumulus {
    fn name(&self) -> &'static str {
        "cumulus_nvue"
    }

    fn rules(&self) -> Rules {
        // A port passes the VLANs it names, whether the bridge has them or not.
        Rules { declares_vlans: false, native_must_be_allowed: false }
    }

    fn factory(&self, shape: &Shape) -> Config {
        model::factory(&shape.hostname, shape.ports)
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Shell::new(Host::new(device, login)))
    }

    fn greeting(&self, _device: &Device) -> String {
        "\nWelcome to NVIDIA Cumulus (R) Linux (R)\n\nLast login: Sun Nov 22 00:00:00 2026 from 10.0.0.1\n".to_owned()
    }

    fn is_shell(&self) -> bool {
        true
    }

    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        Shell::new(Host::new(device, login)).exec(device.faults(), command)
    }

    fn exec_weight(&self, device: &Arc<Device>, login: &Login, command: &str) -> Weight {
        Host::new(device, login).weight(command)
    }
}

struct Host {
    device: Arc<Device>,
    shared: Arc<Mutex<Revisions>>,
    user: String,
    /// `nv config apply` waits for a yes.
    waiting: bool,
    then: Option<Then>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Auto,
    Json,
    Yaml,
    Commands,
}

fn error(says: impl std::fmt::Display) -> Ran {
    Ran::failed(1, format!("{says}\n"))
}

impl Host {
    fn new(device: &Arc<Device>, login: &Login) -> Self {
        Self { device: Arc::clone(device), shared: SHARED.of(device), user: login.user.clone(), waiting: false, then: None }
    }

    fn applied(&self) -> Value {
        model::object(&self.device.running())
    }

    fn nv(&mut self, args: &[String]) -> Ran {
        let plain: Vec<&str> = args.iter().map(String::as_str).collect();
        match plain.as_slice() {
            ["set" | "unset", ..] => self.edit(plain.first() == Some(&"unset"), args.get(1..).unwrap_or_default()),
            ["config", "apply", rest @ ..] => self.apply(rest),
            ["config", "save", ..] => {
                let frr = self.device.startup().extra.get(FRR).cloned();
                self.device.save();
                self.set_saved_frr(frr);
                Ran::ok("saved\n")
            }
            ["config", "detach"] => {
                lock(&self.shared).pending.remove(&self.user);
                Ran::ok("")
            }
            ["config", "diff", rest @ ..] => self.diff(rest),
            ["config", "show", rest @ ..] => self.config_show(rest),
            ["config", "revision" | "history", ..] => {
                let last = lock(&self.shared).last;
                Ran::ok(pretty(&json!({ last.to_string(): {"state": "applied"} }), 2))
            }
            ["config", other, ..] => {
                Ran::failed(2, format!("usage: nv config [options] <command>\nnv config: error: invalid choice: '{other}'\n"))
            }
            ["show", rest @ ..] => self.show(rest),
            ["action" | "list-commands", ..] => Ran::ok(""),
            ["--version"] => Ran::ok("nv 0.3.0\n"),
            [] => Ran::ok("The general form of the CLI command is 'nv <verb> <object> ...'\n"),
            [other, ..] => error(format!("Error: Invalid Command: nv {other}")),
        }
    }

    fn edit(&mut self, is_unset: bool, words: &[String]) -> Ran {
        let applied = self.applied();
        let mut shared = lock(&self.shared);
        let shared = &mut *shared;
        let mut text = String::new();
        let next = shared.last + 1;
        let fresh = || Pending { revision: next, base: applied.clone(), tree: applied.clone(), entered: Vec::new() };
        let known = shared.pending.contains_key(&self.user);
        let mut tree = shared.pending.get(&self.user).map_or_else(|| applied.clone(), |it| it.tree.clone());
        let done = if is_unset { tree::unset(&mut tree, words) } else { tree::set(&mut tree, words) };
        if let Err(says) = done {
            return error(says);
        }
        if !known {
            shared.last = next;
            text = format!("created [rev_id: {next}]\n");
        }
        let pending = shared.pending.entry(self.user.clone()).or_insert_with(fresh);
        pending.tree = tree;
        pending.entered.push((is_unset, words.to_vec()));
        Ran::ok(text)
    }

    fn apply(&mut self, args: &[&str]) -> Ran {
        let mut yes = false;
        let mut revision = None;
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            match *word {
                "-y" | "--assume-yes" | "--assume-no" => yes = true,
                "-m" | "--message" | "--confirm-status" => drop(rest.next()),
                other if other.starts_with('-') => {}
                other => revision = Some(other),
            }
        }
        match revision {
            Some("startup") => {
                let startup = model::object(&self.device.startup());
                return self.put_in_force(startup);
            }
            Some("empty") => return self.put_in_force(json!({})),
            Some(other) if lock(&self.shared).pending.get(&self.user).is_none_or(|it| it.revision.to_string() != *other) => {
                return error(format!("Error: Unknown revision: {other}"));
            }
            _ => {}
        }
        if !lock(&self.shared).pending.contains_key(&self.user) {
            return Ran::ok("Warning: no pending config to apply\n");
        }
        if yes {
            return self.apply_pending();
        }
        self.waiting = true;
        Ran::ok("")
    }

    fn apply_pending(&mut self) -> Ran {
        let applied = self.applied();
        let shared = lock(&self.shared);
        let Some(pending) = shared.pending.get(&self.user) else { return Ran::ok("Warning: no pending config to apply\n") };
        let mut tree = pending.tree.clone();
        if pending.base != applied {
            // Somebody applied in between: what was entered is carried out on that.
            tree = applied;
            for (is_unset, words) in &pending.entered {
                let _taken = if *is_unset { tree::unset(&mut tree, words) } else { tree::set(&mut tree, words) };
            }
        }
        drop(shared);
        self.put_in_force(tree)
    }

    fn put_in_force(&mut self, tree: Value) -> Ran {
        let revision = {
            let mut shared = lock(&self.shared);
            let pending = shared.pending.get(&self.user).map(|it| it.revision);
            shared.last = shared.last.max(1);
            pending.unwrap_or(shared.last)
        };
        let wrong = model::check(&tree);
        if !wrong.is_empty() {
            let lines = wrong.iter().map(|it| format!("  {it}\n")).collect::<String>();
            return Ran::failed(1, format!("Invalid config [rev_id: {revision}]\n{lines}"));
        }
        let running = self.device.running();
        let mut config = model::project(&tree, &running);
        model::keep(&mut config, &tree);
        if let Committed::Partly(then) = self.device.commit(config) {
            self.then = Some(then).filter(|it| *it != Then::Refuse);
            return Ran::failed(1, format!("Failure during apply [rev_id: {revision}]\n  ifreload: returned non-zero exit status 1\n"));
        }
        lock(&self.shared).pending.remove(&self.user);
        let auto = |at: &str, on: &str| tree.pointer(&format!("/system/config/auto-save/{at}")) == Some(&json!(on));
        if auto("enable", "on") || auto("state", "enabled") {
            self.device.set_startup((*self.device.running()).clone());
            return Ran::ok(format!("applied_and_saved [rev_id: {revision}]\n"));
        }
        Ran::ok(format!("applied [rev_id: {revision}]\n"))
    }

    /// The applied configuration, or that of the revision that is asked for (`-r`).
    fn config_show(&self, args: &[&str]) -> Ran {
        let at = args.iter().position(|it| ["-r", "--rev", "--revision"].contains(it));
        let revision = at.and_then(|at| args.get(at + 1)).copied().unwrap_or("applied");
        let rest: Vec<&str> =
            args.iter().enumerate().filter(|(nth, _)| at.is_none_or(|at| *nth != at && *nth != at + 1)).map(|(_, it)| *it).collect();
        let form = match form(&rest) {
            Ok((form, _)) => form,
            Err(ran) => return ran,
        };
        let pending = || lock(&self.shared).pending.get(&self.user).map(|it| (it.revision.to_string(), it.tree.clone()));
        let tree = match revision {
            "applied" => self.applied(),
            "startup" => model::object(&self.device.startup()),
            "pending" => pending().map_or_else(|| self.applied(), |it| it.1),
            other => match pending().filter(|it| it.0 == other) {
                Some((_, tree)) => tree,
                None => return error(format!("Error: Unknown revision: {other}")),
            },
        };
        Ran::ok(printed(&tree, if form == Form::Auto { Form::Yaml } else { form }))
    }

    fn diff(&self, args: &[&str]) -> Ran {
        let (form, names) = match form(args) {
            Ok(it) => it,
            Err(ran) => return ran,
        };
        let applied = self.applied();
        let by_name = |name: &str| match name {
            "applied" => Some(applied.clone()),
            "startup" => Some(model::object(&self.device.startup())),
            "empty" => Some(json!({})),
            _ => lock(&self.shared).pending.get(&self.user).map(|it| it.tree.clone()),
        };
        let from = names.first().map_or_else(|| Some(applied.clone()), |it| by_name(it));
        let to = names.get(1).map_or_else(|| by_name("pending"), |it| by_name(it));
        let (Some(from), Some(to)) = (from, to) else { return Ran::ok("") };
        let (gone, new) = (tree::difference(&to, &from), tree::difference(&from, &to));
        let empty = |it: &Value| it.as_object().is_some_and(serde_json::Map::is_empty);
        if form == Form::Commands {
            let lines = tree::commands(&gone).into_iter().map(|it| it.replacen("nv set", "nv unset", 1));
            return Ran::ok(lines.chain(tree::commands(&new)).map(|it| it + "\n").collect::<String>());
        }
        let mut out = String::new();
        for (verb, it) in [("unset", &gone), ("set", &new)] {
            if !empty(it) {
                out.push_str(&format!("- {verb}:\n{}", tree::yaml(&tree::condensed(it), 4)));
            }
        }
        Ran::ok(out)
    }

    fn show(&self, args: &[&str]) -> Ran {
        let (form, words) = match form(args) {
            Ok(it) => it,
            Err(ran) => return ran,
        };
        let has = |flag: &str| args.contains(&flag) || args.contains(&format!("--rev={}", flag.trim_start_matches("--")).as_str());
        let after = args.iter().position(|it| *it == "--rev").and_then(|at| args.get(at + 1)).copied();
        let words: Vec<&str> = words.into_iter().filter(|it| Some(*it) != after).collect();
        let tree = if has("--pending") || after == Some("pending") {
            lock(&self.shared).pending.get(&self.user).map_or_else(|| self.applied(), |it| it.tree.clone())
        } else if has("--startup") || after == Some("startup") {
            model::object(&self.device.startup())
        } else if has("--applied") || after == Some("applied") {
            self.applied()
        } else {
            self.operational()
        };
        let mut at = Some(&tree);
        for word in &words {
            at = at.and_then(|it| it.get(*word));
        }
        match at {
            Some(it) if form == Form::Json => Ran::ok(pretty(it, 2)),
            Some(it) if form == Form::Yaml => Ran::ok(tree::yaml(it, 0)),
            Some(it) => Ran::ok(tree::commands(it).into_iter().map(|it| it.replacen("nv set ", "", 1) + "\n").collect::<String>()),
            None if words
                .first()
                .is_some_and(|it| ["interface", "bridge", "system", "nve", "evpn", "router", "vrf", "platform"].contains(it)) =>
            {
                error("Error: The requested item does not exist.")
            }
            None => error(format!("Error: Invalid Command: nv show {}", words.join(" "))),
        }
    }

    /// What `nv show` shows without being asked for a revision: what is configured, and every port with its state.
    fn operational(&self) -> Value {
        let mut tree = self.applied();
        let config = self.device.running();
        let mut put = |path: &[&str], value: Value| {
            let mut at = &mut tree;
            for word in path {
                if !at.is_object() {
                    *at = json!({});
                }
                let Some(map) = at.as_object_mut() else { return };
                at = map.entry((*word).to_owned()).or_insert_with(|| json!({}));
            }
            *at = value;
        };
        for (name, port) in &config.ports {
            put(&["interface", name, "type"], json!(if port.is_group { "bond" } else { "swp" }));
            put(&["interface", name, "link", "state"], if port.up { json!({"up": {}}) } else { json!({"down": {}}) });
            put(&["interface", name, "link", "mtu"], json!(9216));
        }
        put(&["system", "build"], json!("Cumulus Linux 5.8.0"));
        put(&["system", "hostname"], json!(config.hostname));
        tree
    }

    fn set_saved_frr(&self, frr: Option<Vec<String>>) {
        let mut startup = (*self.device.startup()).clone();
        match frr {
            Some(lines) => startup.extra.insert(FRR.to_owned(), lines),
            None => startup.extra.remove(FRR),
        };
        self.device.set_startup(startup);
    }

    fn vtysh(&mut self, args: &[String]) -> Ran {
        let mut lines = self.device.running().extra.get(FRR).cloned().unwrap_or_default();
        let before = lines.clone();
        let (ran, asked) = vtysh::run(args, &mut lines);
        if lines != before {
            let lines = lines.clone();
            self.device.edit(|it| it.extra.insert(FRR.to_owned(), lines));
        }
        if asked == vtysh::Asked::Save {
            self.set_saved_frr(Some(lines));
        }
        ran
    }

    fn cat(&self, files: &[String]) -> Ran {
        match files.first().map(String::as_str) {
            Some("/etc/nvue.d/startup.yaml") => Ran::ok(printed(&model::object(&self.device.startup()), Form::Yaml)),
            Some("/etc/os-release") => Ran::ok(
                "NAME=\"Cumulus Linux\"\nVERSION_ID=5.8.0\nVERSION=\"Cumulus Linux 5.8.0\"\nPRETTY_NAME=\"Cumulus Linux\"\nID=cumulus-linux\n",
            ),
            other => error(format!("cat: {}: No such file or directory", other.unwrap_or_default())),
        }
    }
}

/// Takes the options apart from the words.
fn form<'a>(args: &[&'a str]) -> Result<(Form, Vec<&'a str>), Ran> {
    let mut out = Form::Auto;
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let named = match *word {
            "-o" | "--output" => rest.next().copied(),
            other => match other.strip_prefix("--output=").or_else(|| other.strip_prefix("-o").filter(|it| !it.is_empty())) {
                Some(name) => Some(name),
                None => {
                    if !other.starts_with('-') {
                        words.push(other);
                    }
                    continue;
                }
            },
        };
        out = match named {
            Some("json") => Form::Json,
            Some("yaml") => Form::Yaml,
            Some("commands" | "native") => Form::Commands,
            Some("auto" | "constrained" | "end-table") => Form::Auto,
            other => {
                let says = format!("argument -o/--output: invalid choice: '{}'", other.unwrap_or_default());
                return Err(Ran::failed(2, format!("usage: nv [options]\nnv: error: {says}\n")));
            }
        };
    }
    Ok((out, words))
}

fn printed(tree: &Value, form: Form) -> String {
    let header = json!({"model": "VX", "nvue-api-version": "nvue_v1", "rev-id": 1.0, "version": "Cumulus Linux 5.8.0"});
    match form {
        Form::Json => pretty(&json!([{ "header": header }, { "set": tree }]), 2),
        Form::Commands => tree::commands(&tree::condensed(tree)).into_iter().map(|it| it + "\n").collect(),
        Form::Yaml | Form::Auto => {
            format!("- header:\n{}- set:\n{}", tree::yaml(&header, 4), tree::yaml(&tree::condensed(tree), 4))
        }
    }
}

impl Programs for Host {
    fn program(&mut self, words: &[String], _input: &str) -> Option<Ran> {
        let (name, args) = words.split_first()?;
        Some(match name.as_str() {
            "nv" => self.nv(args),
            "vtysh" => self.vtysh(args),
            "cat" => self.cat(args),
            "net" => Ran::failed(127, "-bash: net: command not found\n"),
            _ => return None,
        })
    }

    fn user(&self) -> String {
        self.user.clone()
    }

    fn host(&self) -> String {
        self.device.running().hostname.clone()
    }
}

impl Machine for Host {
    fn prompt(&self) -> String {
        format!("{}@{}:mgmt:~$ ", self.user, self.host())
    }

    fn question(&self) -> Option<String> {
        self.waiting.then(|| "Warning: The following files have been changed since the last save, and they WILL be overwritten.\n- /etc/frr/frr.conf\nAre you sure? [y/N] ".to_owned())
    }

    fn answer(&mut self, line: &str) -> Ran {
        self.waiting = false;
        if ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()) { self.apply_pending() } else { error("Aborted by user") }
    }

    fn weight(&self, line: &str) -> Weight {
        match (line.contains("nv config apply"), line.contains("nv config save")) {
            (true, false) => Weight::Commit,
            (true, true) => Weight::CommitAndSave,
            (false, true) => Weight::Save,
            (false, false) if self.waiting => Weight::Commit,
            (false, false) => Weight::Light,
        }
    }

    fn changes(&self, line: &str) -> bool {
        line.contains("nv set") || line.contains("nv unset") || line.contains("configure terminal")
    }

    fn refuse(&self, line: &str) -> Ran {
        error(format!("Error: Invalid Command: {}", line.trim()))
    }

    fn take_then(&mut self) -> Option<Then> {
        self.then.take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::netos::device::{Allowed, Carried, Mode};

    fn switch() -> (Arc<Device>, Box<dyn Session>) {
        let device = Arc::new(Device::new([2; 6], Cumulus.rules(), Cumulus.factory(&Shape { hostname: "leaf1".into(), ports: 4 })));
        let session = session(&device);
        (device, session)
    }

    fn session(device: &Arc<Device>) -> Box<dyn Session> {
        Cumulus.login(device, &Login { user: "cumulus".into(), enable_password: None, privileged: true })
    }

    fn taken(session: &mut dyn Session, line: &str) -> String {
        let answer = session.line(line);
        assert_eq!(answer.status, 0, "{line}: {}", answer.text);
        answer.text
    }

    #[test]
    fn what_is_pending_is_shared_by_a_users_sessions_and_applied_in_one() {
        let (device, mut one) = switch();
        assert!(device.carries("swp1").is_empty());
        assert_eq!(taken(&mut *one, "nv set bridge domain br_default vlan 10,20"), "created [rev_id: 1]\n");
        let mut two = session(&device);
        assert_eq!(taken(&mut *two, "nv set interface swp1 bridge domain br_default access 10"), "");
        taken(
            &mut *two,
            "nv set interface swp2 bridge domain br_default vlan 20; nv set interface swp2 bridge domain br_default untagged none",
        );
        assert!(taken(&mut *one, "nv config diff").starts_with("- set:\n    bridge:\n"));
        assert!(device.carries("swp1").is_empty(), "not yet");
        assert_eq!(one.line("nv config apply").text, "");
        assert!(one.prompt().ends_with("Are you sure? [y/N] "));
        assert_eq!(one.line("y").text, "applied [rev_id: 1]\n");
        assert_eq!(device.carries("swp1").untagged, Some(10));
        assert_eq!(device.carries("swp2"), Carried { untagged: None, tagged: BTreeSet::from([20]) });
        device.reboot(Duration::ZERO);
        assert!(device.carries("swp1").is_empty(), "was not saved");
        taken(&mut *one, "nv set interface swp1-2 bridge domain br_default access 10 && nv config apply -y && nv config save");
        device.reboot(Duration::ZERO);
        assert_eq!(device.carries("swp2").untagged, Some(10));
        assert!(taken(&mut *one, "nv config show -o commands").contains("nv set interface swp1-2 bridge domain br_default access 10\n"));
        let json: Value = serde_json::from_str(&taken(&mut *one, "nv show interface swp1 --applied -o json")).expect("JSON");
        assert_eq!(json.pointer("/bridge/domain/br_default/access"), Some(&json!(10)));
    }

    #[test]
    fn what_makes_no_sense_is_not_applied() {
        let (device, mut session) = switch();
        taken(&mut *session, "nv set interface swp1 bridge domain br_default access 10; nv set interface bond1 bond member swp1");
        let answer = session.line("nv config apply -y");
        assert_eq!(answer.status, 1);
        assert!(answer.text.starts_with("Invalid config [rev_id: 1]\n  Config invalid at interface.swp1.bridge"), "{}", answer.text);
        assert!(session.line("nv set interface swp1 bridge domain br_default access 4095; echo $?").text.ends_with("\n1\n"));
        taken(&mut *session, "nv config detach");
        assert_eq!(taken(&mut *session, "nv config diff"), "");
        assert!(device.carries("swp1").is_empty());
    }

    #[test]
    fn hand_edits_by_other_means_show_up() {
        let (device, mut session) = switch();
        device.edit(|it| {
            it.vlans.entry(66).or_default();
            if let Some(port) = it.ports.get_mut("swp3") {
                (port.routed, port.mode, port.allowed, port.native) = (false, Mode::Trunk, Allowed::Only(BTreeSet::from([66])), None);
            }
        });
        let shown = taken(&mut *session, "nv config show -o commands");
        assert!(shown.contains("nv set interface swp3 bridge domain br_default vlan 66\n"), "{shown}");
        assert!(shown.contains("nv set bridge domain br_default vlan 66\n"), "{shown}");
        taken(
            &mut *session,
            "nv set interface bond1 bond member swp1-2; nv set interface bond1 bridge domain br_default access 66; nv config apply -y",
        );
        assert_eq!(device.running().members("bond1"), ["swp1", "swp2"]);
        assert_eq!(device.carries("swp1").untagged, Some(66));
    }
}
