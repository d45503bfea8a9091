//! A look behind the control plane: its embedded store, and a PostgreSQL database for one test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::block;

/// The embedded store of a state directory.
pub fn open(state_dir: &Path) -> Connection {
    let connection = Connection::open(state_dir.join("cofferdam.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
}

/// What two holders must not share and somebody holds: VLANs, addresses, claims, names.
pub fn allocations(state_dir: &Path) -> BTreeSet<(String, String)> {
    let connection = open(state_dir);
    let mut statement = connection.prepare("SELECT pool, value FROM allocation").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// How many rows every table of objects has, the tables of work and history apart.
pub fn counts(state_dir: &Path) -> BTreeMap<String, i64> {
    let connection = open(state_dir);
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND (name LIKE 'r\\_%' ESCAPE '\\' OR name = 'allocation')")
        .unwrap();
    let names: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |name: &String| connection.query_row(&format!("SELECT COUNT(*) FROM {name}"), [], |row| row.get(0)).unwrap();
    names.iter().map(|name| (name.clone(), count(name))).collect()
}

/// Events of the history of the objects of a kind, oldest first: event and detail.
pub fn history(state_dir: &Path, kind: &str) -> Vec<(String, String)> {
    let connection = open(state_dir);
    let mut statement = connection.prepare("SELECT event, detail FROM history WHERE kind = ? ORDER BY at").unwrap();
    let rows = statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A PostgreSQL database that goes away with this value.
pub struct Postgres {
    admin: String,
    name: String,
    pub url: String,
}

impl Postgres {
    /// On the server that COFFERDAM_TEST_POSTGRES names.
    pub fn new() -> Option<Self> {
        let admin = std::env::var("COFFERDAM_TEST_POSTGRES").ok()?;
        let name = format!("serve_{}", std::process::id());
        statement(&admin, &format!("CREATE DATABASE {name}"));
        let (before, parameters) = admin.split_once('?').map_or((admin.as_str(), String::new()), |(url, rest)| (url, format!("?{rest}")));
        let (server, _) = before.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}{parameters}");
        Some(Self { admin, name, url })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        statement(&self.admin, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// Runs one statement on a PostgreSQL server.
pub fn statement(url: &str, sql: &str) {
    block(async {
        let (client, line) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(line);
        client.batch_execute(sql).await.unwrap();
    });
}
