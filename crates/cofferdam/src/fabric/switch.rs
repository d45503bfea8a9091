//! `cofferdam fabric switch` and `cofferdam fabric port`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::table::{fields, list, table, text};
use super::{Ask, ROOT, Said};
use crate::client::{Session, encoded};

/// `cofferdam fabric switch`
#[derive(Subcommand)]
pub enum Command {
    /// All switches, with what is the matter with them.
    List(List),
    /// One switch: how it was declared, what was read, what differs.
    Show(One),
    /// Declare a switch.
    Add(Box<Add>),
    /// Declare a switch otherwise; what is not named stays.
    Set(Box<Set>),
    /// Declare a switch no longer. Nothing on it is changed; it is refused while a port of it is held or in quarantine.
    Remove(One),
    /// Have a switch read at once.
    Read(One),
    /// What happened to a switch.
    History(One),
}

/// `cofferdam fabric switch list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    ask: Ask,
}

/// One switch.
#[derive(Args)]
pub struct One {
    /// Its name.
    name: String,
    #[command(flatten)]
    ask: Ask,
}

/// `cofferdam fabric switch add`
#[derive(Args)]
pub struct Add {
    /// Its name: letters, digits, '.', '_', ':' and '-'.
    name: String,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    ask: Ask,
}

/// `cofferdam fabric switch set`
#[derive(Args)]
pub struct Set {
    /// Its name.
    name: String,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    ask: Ask,
}

/// What is said of a switch. Secrets come from files, so that they are in no list of processes; `-` is the standard input.
#[derive(Args, Default)]
pub struct Given {
    /// How it is driven.
    #[arg(long)]
    driver: Option<String>,
    /// Where it is: unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT, ssh:HOST:PORT or HOST:PORT.
    #[arg(long)]
    endpoint: Option<String>,
    /// Its MAC address as machines name it.
    #[arg(long)]
    switch_id: Option<String>,
    /// The bridge whose ports are managed, where there are several.
    #[arg(long)]
    bridge: Option<String>,
    /// A port to another switch; to be given for each. They replace those of before.
    #[arg(long = "uplink", value_name = "PORT")]
    uplinks: Vec<String>,
    /// It has no uplinks.
    #[arg(long, conflicts_with = "uplinks")]
    no_uplinks: bool,
    /// Who logs in to it.
    #[arg(long, value_name = "NAME")]
    login: Option<String>,
    /// A file with the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A file with a private key in PEM.
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// A file with what is asked on the way to configuring.
    #[arg(long, value_name = "FILE")]
    enable_password_file: Option<PathBuf>,
    /// The fingerprint of its SSH host key, as ssh-keygen -l shows it.
    #[arg(long)]
    host_key: Option<String>,
    /// Whether the first host key seen is taken for its own.
    #[arg(long, value_name = "BOOL")]
    trust_on_first_use: Option<bool>,
    /// A file with the authority of its TLS certificate.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A file with our own TLS certificate.
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
    /// A file with the key of our own TLS certificate.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Its tunnel interface, if it carries VLANs in VXLAN networks.
    #[arg(long, requires = "bgp_as")]
    vtep: Option<String>,
    /// The number of its autonomous system, if it carries VLANs in VXLAN networks.
    #[arg(long)]
    bgp_as: Option<u32>,
    /// It does not carry VLANs in VXLAN networks.
    #[arg(long, conflicts_with_all = ["vtep", "bgp_as"])]
    no_overlay: bool,
    /// What becomes of changes that nobody asked for: repair or report.
    #[arg(long)]
    drift: Option<String>,
    /// Whether descriptions of our ports are written on it.
    #[arg(long, value_name = "BOOL")]
    describe: Option<bool>,
    /// Whether it is only read, and never written.
    #[arg(long, value_name = "BOOL")]
    read_only: Option<bool>,
    /// Whether it is spoken to at all.
    #[arg(long, value_name = "BOOL")]
    admin_state_up: Option<bool>,
}

/// The text of a file without the end of its last line; `-` is the standard input.
fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => drop(std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?),
        false => text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

impl Given {
    fn body(&self) -> anyhow::Result<Map<String, Value>> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        let mut body = Map::new();
        let given = [
            ("driver", json!(self.driver)),
            ("endpoint", json!(self.endpoint)),
            ("switch_id", json!(self.switch_id)),
            ("bridge", json!(self.bridge)),
            ("username", json!(self.login)),
            ("password", json!(file(&self.password_file)?)),
            ("private_key", json!(file(&self.private_key_file)?)),
            ("enable_password", json!(file(&self.enable_password_file)?)),
            ("host_key", json!(self.host_key)),
            ("trust_on_first_use", json!(self.trust_on_first_use)),
            ("ca", json!(file(&self.ca_file)?)),
            ("certificate", json!(file(&self.certificate_file)?)),
            ("key", json!(file(&self.key_file)?)),
            ("drift", json!(self.drift)),
            ("describe", json!(self.describe)),
            ("read_only", json!(self.read_only)),
            ("admin_state_up", json!(self.admin_state_up)),
        ];
        body.extend(given.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)));
        if !self.uplinks.is_empty() || self.no_uplinks {
            body.insert("uplinks".into(), json!(self.uplinks));
        }
        if let Some(bgp_as) = self.bgp_as {
            body.insert("overlay".into(), json!({"vtep": self.vtep.clone().unwrap_or_default(), "bgp_as": bgp_as}));
        } else if self.no_overlay {
            body.insert("overlay".into(), Value::Null);
        }
        Ok(body)
    }
}

/// The path of a switch.
pub(super) fn path(name: &str) -> String {
    format!("{ROOT}/switches/{}", encoded(name))
}

/// What history says, the latest last.
fn told_history(answer: &Value) -> String {
    let mut out = String::new();
    for line in list(answer, "history").iter().rev() {
        let detail = line.get("detail").filter(|it| !it.is_null()).map(ToString::to_string).unwrap_or_default();
        out.push_str(&format!("{}  {:<7}  {}  {detail}\n", text(line, "at"), text(line, "severity"), text(line, "event")));
    }
    out
}

const COLUMNS: [(&str, &str); 10] = [
    ("name", "NAME"),
    ("driver", "DRIVER"),
    ("endpoint", "ENDPOINT"),
    ("declared_in", "DECLARED"),
    ("admin_state_up", "UP"),
    ("read_only", "READ ONLY"),
    ("breaker", "BREAKER"),
    ("read_at", "READ AT"),
    ("drifts", "DRIFTS"),
    ("fault", "FAULT"),
];

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<Said> {
        Ok(match self {
            Self::List(List { ask }) => {
                let answer = ask.session().await?.get(&format!("{ROOT}/switches?sort_key=name&sort_dir=asc")).await?;
                ask.told(&answer, |answer| table(list(answer, "switches"), &COLUMNS))?.into()
            }
            Self::Show(One { name, ask }) => {
                let answer = ask.session().await?.get(&path(&name)).await?;
                ask.told(&answer, |answer| fields(answer.get("switch").unwrap_or(answer)))?.into()
            }
            Self::Add(args) => {
                let mut body = args.given.body()?;
                body.insert("name".into(), json!(args.name));
                let answer =
                    args.ask.session().await?.send(Method::POST, &format!("{ROOT}/switches"), Some(&json!({ "switch": body }))).await?;
                args.ask.told(&answer, |_| format!("switch {} is declared\n", args.name))?.into()
            }
            Self::Set(args) => {
                let body = json!({"switch": args.given.body()?});
                let answer = args.ask.session().await?.send(Method::PUT, &path(&args.name), Some(&body)).await?;
                args.ask.told(&answer, |_| format!("switch {} is declared otherwise\n", args.name))?.into()
            }
            Self::Remove(One { name, ask }) => {
                let answer = ask.session().await?.send(Method::DELETE, &path(&name), None).await?;
                ask.told(&answer, |_| format!("switch {name} is declared no longer; nothing on it was changed\n"))?.into()
            }
            Self::Read(One { name, ask }) => {
                let answer = ask.session().await?.send(Method::PUT, &format!("{}/read", path(&name)), None).await?;
                ask.told(&answer, |_| format!("switch {name} is to be read\n"))?.into()
            }
            Self::History(One { name, ask }) => {
                let answer = ask.session().await?.get(&format!("{}/history", path(&name))).await?;
                ask.told(&answer, told_history)?.into()
            }
        })
    }
}

/// `cofferdam fabric port`
#[derive(Subcommand)]
pub enum PortCommand {
    /// The ports of switches that are ours.
    List(PortList),
    /// Take a port under our care: from now on it is isolated, unless somebody holds it.
    Take(PortOne),
    /// Let a port go that nobody holds: it stays as it is on the switch.
    LetGo(PortOne),
    /// What happened to a port.
    History(PortOne),
}

/// `cofferdam fabric port list`
#[derive(Args)]
pub struct PortList {
    /// Of this switch only.
    #[arg(long)]
    switch: Option<String>,
    /// In this state only: free, held, pending or quarantine.
    #[arg(long)]
    state: Option<String>,
    /// Only those that are to carry this VLAN.
    #[arg(long)]
    vlan: Option<u16>,
    #[command(flatten)]
    ask: Ask,
}

/// One port of a switch.
#[derive(Args)]
pub struct PortOne {
    /// The switch.
    switch: String,
    /// The port's name on it.
    port: String,
    #[command(flatten)]
    ask: Ask,
}

const PORT_COLUMNS: [(&str, &str); 8] = [
    ("switch", "SWITCH"),
    ("port", "PORT"),
    ("state", "STATE"),
    ("wanted", "WANTED"),
    ("seen", "SEEN"),
    ("holder", "HOLDER"),
    ("proven_at", "PROVEN AT"),
    ("note", "NOTE"),
];

/// The id of a port that is ours, however it is spelled.
async fn port_id(session: &Session, switch: &str, port: &str) -> anyhow::Result<String> {
    let shown = session.get(&format!("{ROOT}/switches/{}?fields=driver", encoded(switch))).await?;
    let name = drivers::switch::port_name(shown["switch"]["driver"].as_str().unwrap_or_default(), port);
    let query = format!("{ROOT}/switch-ports?fields=id&switch={}&port={}", encoded(switch), encoded(&name));
    let found = session.get(&query).await?;
    let id = list(&found, "switch_ports").first().map(|it| text(it, "id").to_owned());
    id.with_context(|| format!("port {port} of switch {switch} is none of ours"))
}

impl PortCommand {
    pub(super) async fn run(self) -> anyhow::Result<Said> {
        Ok(match self {
            Self::List(PortList { switch, state, vlan, ask }) => {
                let mut path = format!("{ROOT}/switch-ports?sort_key=switch&sort_dir=asc&sort_key=port&sort_dir=asc");
                let given = [("switch", switch), ("state", state), ("vlans", vlan.map(|it| it.to_string()))];
                for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                    path.push_str(&format!("&{name}={}", encoded(&value)));
                }
                let answer = ask.session().await?.get(&path).await?;
                ask.told(&answer, |answer| table(list(answer, "switch_ports"), &PORT_COLUMNS))?.into()
            }
            Self::Take(PortOne { switch, port, ask }) => {
                let body = json!({"switch_port": {"switch": switch, "port": port}});
                let answer = ask.session().await?.send(Method::POST, &format!("{ROOT}/switch-ports"), Some(&body)).await?;
                ask.told(&answer, |_| format!("port {port} of switch {switch} is ours: it is isolated until somebody holds it\n"))?.into()
            }
            Self::LetGo(PortOne { switch, port, ask }) => {
                let session = ask.session().await?;
                let id = port_id(&session, &switch, &port).await?;
                let answer = session.send(Method::DELETE, &format!("{ROOT}/switch-ports/{id}"), None).await?;
                ask.told(&answer, |_| format!("port {port} of switch {switch} is ours no longer; it was not changed\n"))?.into()
            }
            Self::History(PortOne { switch, port, ask }) => {
                let session = ask.session().await?;
                let id = port_id(&session, &switch, &port).await?;
                let answer = session.get(&format!("{ROOT}/switch-ports/{id}/history")).await?;
                ask.told(&answer, told_history)?.into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        assert!(Given::default().body().unwrap().is_empty());
        let given = Given { no_uplinks: true, no_overlay: true, describe: Some(false), ..Given::default() };
        assert_eq!(Value::Object(given.body().unwrap()), json!({"uplinks": [], "overlay": null, "describe": false}));
        let given = Given { uplinks: vec!["a".into()], bgp_as: Some(65001), ..Given::default() };
        assert_eq!(Value::Object(given.body().unwrap()), json!({"uplinks": ["a"], "overlay": {"vtep": "", "bgp_as": 65001}}));
    }

    #[test]
    fn secrets_come_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "opensesame\n").unwrap();
        let given = Given { password_file: Some(file), ..Given::default() };
        assert_eq!(Value::Object(given.body().unwrap()), json!({"password": "opensesame"}));
        let missing = Given { key_file: Some(dir.path().join("nothing")), ..Given::default() };
        assert!(missing.body().unwrap_err().to_string().contains("nothing"));
    }
}
