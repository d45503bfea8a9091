//! SONiC: a Linux shell with `config` and `show`, whose changes take effect at once and are saved by `config save`.
//!
//! Source: sonic-net, "SONiC Command Line Interface Guide" (`Command-Reference.md` of sonic-utilities), release 202311; the answers to
//! mistakes are those of its click commands.

mod config;
mod database;
mod show;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::database::{Fields, as_json, bare, tables};
use super::shell::{Machine, Programs, Ran, Shell, pretty};
use super::{Answer, Login, Os, Running, Session, Shape, Weight, vtysh};
use crate::netos::device::{Config, Device, Rules};
use crate::netos::{Access, gnmi};

/// The operating system.
pub(super) struct Sonic;

impl Os for Sonic {
    fn name(&self) -> &'static str {
        "sonic"
    }

    fn rules(&self) -> Rules {
        Rules { declares_vlans: true, native_must_be_allowed: false }
    }

    fn factory(&self, shape: &Shape) -> Config {
        let ports = (0..shape.ports).map(|it| (format!("Ethernet{}", it * 4), bare())).collect();
        Config { hostname: shape.hostname.clone(), ports, ..Config::default() }
    }

    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session> {
        Box::new(Shell::new(Host::new(device, login)))
    }

    fn greeting(&self, _device: &Device) -> String {
        "You are on\n  ____   ___  _   _ _  ____\n -- Software for Open Networking in the Cloud --\n\nLast login: Sun Nov 22 00:00:00 2026\n".to_owned()
    }

    fn is_shell(&self) -> bool {
        true
    }

    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        Shell::new(Host::new(device, login)).exec(device.faults(), command)
    }

    fn gnmi(&self, device: &Arc<Device>, access: &Arc<Access>, listener: TcpListener) -> Option<Running> {
        Some(gnmi::serve(device, access, listener))
    }
}

/// Where the lines of FRR are kept in [`Config::extra`].
const FRR: &str = "frr.conf";

struct Host {
    device: Arc<Device>,
    user: String,
    root: bool,
    /// A `config save` or `config reload` that waits for a yes.
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Save,
    Reload,
}

impl Host {
    fn new(device: &Arc<Device>, login: &Login) -> Self {
        Self { device: Arc::clone(device), user: login.user.clone(), root: login.user == "root", waiting: None }
    }

    fn save(&mut self) -> Ran {
        let frr = self.device.startup().extra.get(FRR).cloned();
        self.device.save();
        // FRR saves its own configuration.
        self.set_saved_frr(frr);
        Ran::ok("Running command: /usr/local/bin/sonic-cfggen -d --print-data > /etc/sonic/config_db.json\n")
    }

    fn set_saved_frr(&self, frr: Option<Vec<String>>) {
        let mut startup = (*self.device.startup()).clone();
        match frr {
            Some(lines) => startup.extra.insert(FRR.to_owned(), lines),
            None => startup.extra.remove(FRR),
        };
        self.device.set_startup(startup);
    }

    fn reload(&mut self) -> Ran {
        let startup = (*self.device.startup()).clone();
        self.device.edit(|it| *it = startup);
        Ran::ok("Running command: /usr/local/bin/sonic-cfggen -j /etc/sonic/config_db.json --write-to-db\n")
    }

    fn running_json(&self) -> Value {
        as_json(&tables(&self.device.running(), self.device.mac()))
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
        let mut out = Ran::default();
        for file in files.iter().filter(|it| !it.starts_with('-')) {
            match file.as_str() {
                "/etc/sonic/config_db.json" => {
                    out.out.push_str(&pretty(&as_json(&tables(&self.device.startup(), self.device.mac())), 4));
                }
                "/etc/os-release" => {
                    out.out.push_str("PRETTY_NAME=\"Debian GNU/Linux 11 (bullseye)\"\nNAME=\"Debian GNU/Linux\"\nID=debian\n")
                }
                "/etc/sonic/sonic_version.yml" => out.out.push_str("build_version: '202311.1'\ndebian_version: '11.8'\n"),
                "/etc/hostname" => out.out.push_str(&format!("{}\n", self.host())),
                other => {
                    out.err.push_str(&format!("cat: {other}: No such file or directory\n"));
                    out.status = 1;
                }
            }
        }
        out
    }

    /// `sonic-db-cli CONFIG_DB …` and `redis-cli -n 4 …`; they differ in how a hash is printed.
    fn database(&mut self, args: &[String], redis: bool) -> Ran {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let command = match args.as_slice() {
            ["-n", "4", rest @ ..] if redis => rest,
            ["CONFIG_DB", rest @ ..] if !redis => rest,
            _ if redis => return Ran::ok(""),
            _ => return Ran::failed(1, format!("Invalid database name input : '{}'\n", args.first().unwrap_or(&""))),
        };
        let Some((verb, rest)) = command.split_first() else { return Ran::failed(1, "Missing command\n") };
        let all = tables(&self.device.running(), self.device.mac());
        let entry = |name: &str| name.split_once('|').and_then(|(table, key)| all.get(table)?.get(key));
        let number = |count: usize| Ran::ok(if redis { format!("(integer) {count}\n") } else { format!("{count}\n") });
        match (verb.to_ascii_lowercase().as_str(), rest) {
            ("keys", [pattern]) => {
                let fits = |key: &str| match pattern.split_once('*') {
                    Some((before, after)) => key.starts_with(before) && key.ends_with(after.trim_end_matches('*')),
                    None => key == *pattern,
                };
                let keys = all.iter().flat_map(|(table, entries)| entries.keys().map(move |key| format!("{table}|{key}")));
                Ran::ok(keys.filter(|it| fits(it)).map(|it| it + "\n").collect::<String>())
            }
            ("hgetall", [name]) => {
                let fields = entry(name).cloned().unwrap_or_default();
                Ran::ok(if redis {
                    fields.iter().map(|(field, value)| format!("{field}\n{value}\n")).collect::<String>()
                } else {
                    let inner: Vec<String> = fields.iter().map(|(field, value)| format!("'{field}': '{value}'")).collect();
                    format!("{{{}}}\n", inner.join(", "))
                })
            }
            ("hget", [name, field]) => Ran::ok(format!("{}\n", entry(name).and_then(|it| it.get(*field)).cloned().unwrap_or_default())),
            ("exists", [name]) => number(usize::from(entry(name).is_some())),
            ("hset" | "hmset", [name, pairs @ ..]) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
                let fields: Fields =
                    pairs.chunks_exact(2).filter_map(|it| Some(((*it.first()?).to_owned(), (*it.get(1)?).to_owned()))).collect();
                let Some((table, key)) = name.split_once('|') else { return Ran::failed(1, "wrong key\n") };
                self.device.edit(|it| database::write(it, table, key, Some(&fields)));
                number(fields.len())
            }
            ("hdel", [name, fields @ ..]) => {
                let Some((table, key)) = name.split_once('|') else { return Ran::failed(1, "wrong key\n") };
                let gone: Fields = fields.iter().map(|it| ((*it).to_owned(), String::new())).collect();
                self.device.edit(|it| database::write(it, table, key, Some(&gone)));
                number(fields.len())
            }
            ("del", [name]) => {
                let Some((table, key)) = name.split_once('|') else { return Ran::failed(1, "wrong key\n") };
                self.device.edit(|it| database::write(it, table, key, None));
                number(1)
            }
            _ => Ran::failed(1, "(error) ERR unknown command or wrong number of arguments\n"),
        }
    }

    fn cfggen(&self, args: &[String]) -> Ran {
        let all = self.running_json();
        let has = |flag: &str| args.iter().any(|it| it == flag);
        match args.iter().position(|it| it == "--var-json").and_then(|at| args.get(at + 1)) {
            Some(table) => Ran::ok(pretty(all.get(table).unwrap_or(&json!({})), 4)),
            None if has("--print-data") => Ran::ok(pretty(&all, 4)),
            None => Ran::failed(2, "usage: sonic-cfggen [-h] ...\n"),
        }
    }
}

impl Programs for Host {
    fn program(&mut self, words: &[String], _input: &str) -> Option<Ran> {
        let (name, args) = words.split_first()?;
        let args_text: Vec<&str> = args.iter().map(String::as_str).collect();
        Some(match name.as_str() {
            "config" if !self.root => Ran::failed(1, "Root privileges are required for this operation\n"),
            "config" => self.config(&args_text),
            "show" => self.show(&args_text),
            "vtysh" => self.vtysh(args),
            "cat" => self.cat(args),
            "sonic-db-cli" => self.database(args, false),
            "redis-cli" => self.database(args, true),
            "sonic-cfggen" => self.cfggen(args),
            "su" => Ran::ok(""),
            _ => return None,
        })
    }

    fn user(&self) -> String {
        self.user.clone()
    }

    fn host(&self) -> String {
        self.device.running().hostname.clone()
    }

    fn elevate(&mut self, root: bool) {
        self.root = root || self.user == "root";
    }
}

impl Machine for Host {
    fn prompt(&self) -> String {
        let sign = if self.user == "root" { '#' } else { '$' };
        format!("{}@{}:~{sign} ", self.user, self.host())
    }

    fn question(&self) -> Option<String> {
        self.waiting.map(|it| {
            match it {
                Waiting::Save => "Existing files will be overwritten, continue? [y/N]: ",
                Waiting::Reload => "Clear current config and reload config in config_db format from the default config file(s) ? [y/N]: ",
            }
            .to_owned()
        })
    }

    fn answer(&mut self, line: &str) -> Ran {
        match (self.waiting.take(), line.trim().to_ascii_lowercase().as_str()) {
            (Some(Waiting::Save), "y" | "yes") => self.save(),
            (Some(Waiting::Reload), "y" | "yes") => self.reload(),
            _ => Ran::failed(1, "Aborted!\n"),
        }
    }

    fn weight(&self, line: &str) -> Weight {
        if line.contains("config save") { Weight::CommitAndSave } else { Weight::Light }
    }

    fn changes(&self, line: &str) -> bool {
        let reads = ["config save", "config_db.json", "runningconfiguration"];
        (line.contains("config ") && !reads.iter().any(|it| line.contains(it)))
            || ["hset", "hdel", "configure"].iter().any(|it| line.contains(it))
    }

    fn refuse(&self, line: &str) -> Ran {
        let command: Vec<&str> = line.split_whitespace().filter(|it| *it != "sudo").take_while(|it| !it.starts_with('-')).collect();
        config::usage(&command.iter().take(3).copied().collect::<Vec<_>>().join(" "), "", "Invalid ConfigDB. Error: refused")
    }
}
