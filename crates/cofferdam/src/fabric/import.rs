//! `cofferdam fabric import`: switches that another service knows.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::ngs::{self, Found};
use super::table::table;
use super::{ROOT, Said};
use crate::client::{Server, encoded};

/// `cofferdam fabric import`
#[derive(Subcommand)]
pub enum Command {
    /// The switches of networking-generic-switch: the sections [genericswitch:NAME] of its ini.
    Ngs(Box<Ngs>),
}

/// `cofferdam fabric import ngs`. Without --out and --apply it is only said what would be taken over, and what has no equivalent.
#[derive(Args)]
pub struct Ngs {
    /// The ini.
    file: PathBuf,
    /// Write the switches as [[fabric.switch]] into this file, which must not be there yet; secrets too, so that only its owner reads it.
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    out: Option<PathBuf>,
    /// Declare the switches at a running server.
    #[arg(long)]
    apply: bool,
    /// Take the first host key seen of each for its own, as nothing in the ini pins one.
    #[arg(long)]
    trust_on_first_use: bool,
    /// They are written at once, and not only read until they are adopted.
    #[arg(long)]
    take_over: bool,
    /// Print what is found as JSON, without secrets.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// What is shown of a switch: whether there are secrets, never which.
fn shown(it: &Found) -> Value {
    json!({
        "name": it.name,
        "driver": it.driver,
        "endpoint": it.endpoint,
        "switch_id": it.switch_id,
        "bridge": it.bridge,
        "uplinks": it.uplinks,
        "username": it.username,
        "password": it.password.is_some(),
        "enable_password": it.enable_password.is_some(),
        "private_key_file": it.private_key_file,
        "physical_networks": it.physical_networks,
        "notes": it.notes,
    })
}

const COLUMNS: [(&str, &str); 8] = [
    ("name", "NAME"),
    ("driver", "DRIVER"),
    ("endpoint", "ENDPOINT"),
    ("switch_id", "SWITCH ID"),
    ("uplinks", "UPLINKS"),
    ("username", "USER"),
    ("password", "PASSWORD"),
    ("private_key_file", "KEY FILE"),
];

impl Ngs {
    /// A switch as a table of the configuration file.
    fn as_toml(&self, it: &Found) -> toml::Table {
        let mut out = toml::Table::new();
        let mut put = |name: &str, value: toml::Value| drop(out.insert(name.to_owned(), value));
        put("name", it.name.clone().into());
        put("switch_id", it.switch_id.clone().into());
        put("driver", it.driver.clone().into());
        put("endpoint", it.endpoint.clone().into());
        if !it.bridge.is_empty() {
            put("bridge", it.bridge.clone().into());
        }
        put("uplinks", it.uplinks.iter().cloned().collect::<Vec<_>>().into());
        put("username", it.username.clone().into());
        for (name, secret) in [("password", &it.password), ("enable_password", &it.enable_password)] {
            if let Some(secret) = secret {
                put(name, secret.reveal().into());
            }
        }
        if let Some(file) = &it.private_key_file {
            put("private_key_file", file.clone().into());
        }
        put("trust_on_first_use", self.trust_on_first_use.into());
        put("read_only", (!self.take_over).into());
        out
    }

    /// All of them as text of a configuration file.
    fn file(&self, found: &[Found]) -> anyhow::Result<String> {
        let switches: Vec<toml::Value> = found.iter().map(|it| self.as_toml(it).into()).collect();
        let fabric = toml::Table::from_iter([("switch".to_owned(), toml::Value::from(switches))]);
        Ok(toml::to_string(&toml::Table::from_iter([("fabric".to_owned(), fabric.into())]))?)
    }

    /// A switch as the API takes it; the file with the key is read here.
    fn body(&self, it: &Found) -> anyhow::Result<Value> {
        let key = it.private_key_file.as_deref().map(|file| std::fs::read_to_string(file).with_context(|| format!("cannot read {file}")));
        let mut body = json!({
            "name": it.name,
            "switch_id": it.switch_id,
            "driver": it.driver,
            "endpoint": it.endpoint,
            "bridge": it.bridge,
            "uplinks": it.uplinks,
            "username": it.username,
            "trust_on_first_use": self.trust_on_first_use,
            "read_only": !self.take_over,
        });
        let secrets = [
            ("password", it.password.as_ref().map(|it| it.reveal().to_owned())),
            ("enable_password", it.enable_password.as_ref().map(|it| it.reveal().to_owned())),
            ("private_key", key.transpose()?),
        ];
        for (name, secret) in secrets.into_iter().filter_map(|(name, secret)| Some((name, secret?))) {
            body[name] = json!(secret);
        }
        Ok(json!({ "switch": body }))
    }

    /// Declares them, as far as that is possible; what came of each.
    async fn declare(&self, found: &[Found]) -> anyhow::Result<Vec<(String, Result<&'static str, String>)>> {
        let session = self.server.open().await?;
        let mut out = Vec::new();
        for it in found {
            if session.try_get(&format!("{ROOT}/switches/{}", encoded(&it.name))).await?.is_success() {
                out.push((it.name.clone(), Ok("was declared before; left as it is")));
                continue;
            }
            let came = match self.body(it) {
                Ok(body) => session.send(Method::POST, &format!("{ROOT}/switches"), Some(&body)).await,
                Err(error) => Err(error),
            };
            out.push((it.name.clone(), came.map(|_| "declared").map_err(|error| format!("{error:#}"))));
        }
        Ok(out)
    }

    async fn run(self) -> anyhow::Result<Said> {
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let read = ngs::read(&text, model::fabric::DRIVERS).map_err(|why| anyhow::anyhow!("{}: {why}", self.file.display()))?;
        let mut well = read.left_out.is_empty();
        let mut told = String::new();
        let rows: Vec<Value> = read.found.iter().map(shown).collect();
        if rows.is_empty() {
            told.push_str("there is no [genericswitch:…] that can be taken over\n");
        } else {
            told.push_str(&table(&rows, &COLUMNS));
        }
        for it in &read.found {
            for note in &it.notes {
                told.push_str(&format!("note: {}: {note}\n", it.name));
            }
        }
        for (name, why) in &read.left_out {
            told.push_str(&format!("left out: {name}: {why}\n"));
        }
        let mut networks: Vec<&String> = read.found.iter().flat_map(|it| &it.physical_networks).collect();
        networks.sort();
        networks.dedup();
        match networks.as_slice() {
            [] => {}
            [one] => told.push_str(&format!("note: fabric.physical_network is to be {one:?}\n")),
            many => told.push_str(&format!("note: there is one fabric here, not {}: {many:?}\n", many.len())),
        }
        if !self.trust_on_first_use && !read.found.is_empty() {
            told.push_str("note: no host key is pinned: set host_key of each switch, or import with --trust-on-first-use\n");
        }
        let mut came = Vec::new();
        if let Some(out) = &self.out {
            write_private(out, &self.file(&read.found)?)?;
            told.push_str(&format!("{} switches were written to {}\n", read.found.len(), out.display()));
        } else if self.apply {
            came = self.declare(&read.found).await?;
            for (name, how) in &came {
                well &= how.is_ok();
                told.push_str(&match how {
                    Ok(how) => format!("{name}: {how}\n"),
                    Err(why) => format!("{name}: not declared: {why}\n"),
                });
            }
        } else {
            told.push_str("Nothing was written. --out FILE writes a configuration, --apply declares them at a running server.\n");
        }
        if self.json {
            let left_out: Vec<Value> = read.left_out.iter().map(|(name, why)| json!({"name": name, "reason": why})).collect();
            let came: Vec<Value> = came.iter().map(|(name, how)| json!({"name": name, "declared": how.is_ok(), "text": how})).collect();
            let answer = json!({"switches": rows, "left_out": left_out, "declared": came});
            told = format!("{}\n", serde_json::to_string_pretty(&answer)?);
        }
        Ok(Said { text: told, well })
    }
}

/// Writes a file that only its owner reads, and that was not there.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)?;
    file.sync_all().with_context(cannot)
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<Said> {
        let Self::Ngs(args) = self;
        args.run().await
    }
}
