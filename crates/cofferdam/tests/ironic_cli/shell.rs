//! The client, and which of its commands were called.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::openstack::Client;
use crate::support::wait_for;

/// For what fake hardware does in a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that remembers what it was used for.
pub struct Shell {
    client: Client,
    /// Every command that the client has registered for bare metal.
    registered: BTreeSet<String>,
    called: Mutex<BTreeMap<String, usize>>,
    /// Where the service under test is, if it is ours: then there are networks besides.
    pub base: Option<String>,
    /// For files.
    pub dir: PathBuf,
}

impl Shell {
    /// Asks the client which commands it has.
    pub fn new(client: Client, base: Option<String>, dir: &Path) -> Self {
        let listed = client.json("command list --group openstack.baremetal.v1");
        let registered: BTreeSet<String> = listed
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|group| match &group["Commands"] {
                Value::String(lines) => lines.lines().map(str::to_owned).collect(),
                Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .map(|it| it.trim().replace('_', " "))
            .collect();
        assert!(registered.len() >= 100, "{listed}");
        Self { client, registered, called: Mutex::default(), base, dir: dir.to_owned() }
    }

    /// Registers the call of the command that a line begins with.
    #[track_caller]
    fn note(&self, line: &str) {
        if line.starts_with("baremetal ") {
            let words: Vec<&str> = line.split_whitespace().collect();
            let found = (1..=words.len()).rev().map(|count| words[..count].join(" ")).find(|it| self.registered.contains(it));
            let command = found.unwrap_or_else(|| panic!("the client has no such command: {line}"));
            *self.called.lock().unwrap().entry(command).or_default() += 1;
        }
    }

    /// The commands that were never called.
    pub fn missed(&self) -> Vec<String> {
        let called = self.called.lock().unwrap();
        self.registered.iter().filter(|it| !called.contains_key(*it)).cloned().collect()
    }

    /// How many commands the client has.
    pub fn commands(&self) -> usize {
        self.registered.len()
    }

    /// How often any was called.
    pub fn calls(&self) -> usize {
        self.called.lock().unwrap().values().sum()
    }

    /// A command that must succeed; what it printed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.note(line);
        self.client.ok(line)
    }

    /// The same with words that have spaces.
    #[track_caller]
    pub fn with(&self, line: &str, more: &[&str]) -> String {
        self.note(line);
        self.client.run_with(line, more)
    }

    /// A command that shows something.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        self.note(line);
        self.client.json(line)
    }

    /// The same with words that have spaces.
    #[track_caller]
    pub fn json_with(&self, line: &str, more: &[&str]) -> Value {
        let text = self.with(line, &[more, &["-f", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("openstack {line}: {error}: {text}"))
    }

    /// One column of a list.
    #[track_caller]
    pub fn column(&self, line: &str, column: &str) -> Vec<String> {
        self.note(line);
        self.client.column(line, column)
    }

    /// A command that must fail, and say these words about it.
    #[track_caller]
    pub fn refused(&self, line: &str, words: &[&str]) {
        self.note(line);
        self.client.refused(line, words);
    }

    /// Waits until a field of a node is so.
    pub fn becomes(&self, node: &str, field: &str, wanted: &Value) -> Value {
        wait_for(&format!("{field} of {node} is {wanted}"), PATIENCE, || {
            let shown = self.json(&format!("baremetal node show {node}"));
            if shown[field] == *wanted { Ok(shown) } else { Err(format!("{}, last error {}", shown[field], shown["last_error"])) }
        })
    }

    /// Whether the service under test is ours.
    pub fn is_ours(&self) -> bool {
        self.base.is_some()
    }

    /// What a ramdisk sends; the status it is answered with. Only for ours.
    pub fn post(&self, path: &str, body: &Value) -> String {
        let host = self.base.as_deref().and_then(|it| it.strip_prefix("http://")).expect("a service of ours");
        let body = body.to_string();
        let head = format!("POST /baremetal{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n");
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// A node of fake hardware; its uuid.
    pub fn node(&self, name: &str, more: &str) -> String {
        let node = self.json(&format!("baremetal node create --driver fake-hardware --name {name} {more}"));
        text(&node, "uuid").to_owned()
    }
}

/// A field that is text.
#[track_caller]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}
