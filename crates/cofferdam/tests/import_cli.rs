//! `cofferdam import keystone`, from a PostgreSQL database with the rows that a real Keystone 30 had.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use store::{Query, Store};
use tokio_postgres::NoTls;

/// Names the database server; `cargo xtask test` starts one.
const ADMIN: &str = "COFFERDAM_TEST_POSTGRES";
/// What its tables held: a domain, projects one below the other, a user with a password, a group, roles given in each way, a service and an
/// application credential.
const TABLES: &str = include_str!("fixtures/keystone-tables.json");

type Tables = BTreeMap<String, Vec<BTreeMap<String, Option<String>>>>;

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The tables as statements. All columns are text: what is read is turned into text anyway.
fn statements(tables: &Tables) -> String {
    let mut out = String::new();
    for (table, rows) in tables {
        let names: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
        let columns: Vec<String> = names.iter().map(|name| format!("\"{name}\" text")).collect();
        out.push_str(&format!("CREATE TABLE \"{table}\" ({});", columns.join(", ")));
        for row in rows {
            let values: Vec<String> = names.iter().map(|name| row[*name].as_deref().map_or("NULL".into(), quoted)).collect();
            out.push_str(&format!("INSERT INTO \"{table}\" VALUES ({});", values.join(", ")));
        }
    }
    out
}

fn import(state_dir: &Path, from: &str, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command
        .env_remove("COFFERDAM_DATABASE_URL")
        .args(["import", "keystone", "--database-url", from, "--state-dir"])
        .arg(state_dir)
        .args(more);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The columns `to make` and `kept` of a kind.
#[track_caller]
fn counts(report: &str, kind: &str) -> (u32, u32) {
    let line = report.lines().find(|it| it.starts_with(kind)).unwrap_or_else(|| panic!("no {kind} in {report}"));
    let numbers: Vec<u32> = line[24..].split_whitespace().map(|it| it.parse().unwrap()).collect();
    (numbers[0], numbers[1])
}

#[tokio::test]
async fn a_keystone_is_taken_over_once() {
    let Ok(admin) = std::env::var(ADMIN) else {
        eprintln!("skipped: {ADMIN} is not set");
        return;
    };
    let name = format!("import_{}", std::process::id());
    let (client, connection) = tokio_postgres::connect(&admin, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await.unwrap();
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (base, _) = admin.rsplit_once('/').unwrap();
    let from = format!("{base}/{name}");
    let (keystone, connection) = tokio_postgres::connect(&from, NoTls).await.unwrap();
    tokio::spawn(connection);
    let tables: Tables = serde_json::from_str(TABLES).unwrap();
    keystone.batch_execute(&statements(&tables)).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("cofferdam.db").display());
    let store = Store::open(&url).await.unwrap();
    let dry = import(dir.path(), &from, &[]);
    assert!(dry.contains("Nothing was written") && counts(&dry, "users") == (2, 0), "{dry}");
    assert!(store.list(&Query::<model::identity::User>::new()).await.unwrap().is_empty());
    let done = import(dir.path(), &from, &["--apply"]);
    for (kind, made) in [("domain", 2), ("project", 3), ("users", 2), ("groups", 1), ("membership", 1), ("role", 6), ("application", 1)] {
        assert_eq!(counts(&done, kind), (made, 0), "{kind}: {done}");
    }
    let users = store.list(&Query::<model::identity::User>::new().name("olga")).await.unwrap();
    let olga = &users[0];
    assert_eq!((olga.desired.email.as_deref(), &olga.desired.extra["department"]), (Some("olga@example.org"), &Value::from("cash")));
    assert_eq!(olga.desired.options.ignore_password_expiry, Some(true));
    let hash = olga.desired.current_hash().unwrap().reveal();
    assert!(bcrypt_says(hash), "the password is the one she had");
    let given = store.list(&Query::<model::identity::Assignment>::new().column("user_id", [olga.id.to_string()])).await.unwrap();
    assert_eq!(given.len(), 2, "on a project and on the system");
    let again = import(dir.path(), &from, &["--apply"]);
    assert!(again.lines().skip(1).filter(|it| !it.starts_with("note")).all(|it| it[24..].trim_start().starts_with("0 ")), "{again}");

    drop(keystone);
    client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

fn bcrypt_says(hash: &str) -> bool {
    let settings = identity::hash::Settings::default();
    identity::hash::verify(&settings, &model::Secret::new("open sesame"), hash).unwrap()
}
