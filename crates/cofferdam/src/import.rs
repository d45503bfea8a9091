//! `cofferdam import keystone`: reads a Keystone's tables, in one snapshot and without changing anything there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use api::import::{Row, TABLES, Tables};
use clap::{Args, Subcommand};
use mysql_async::prelude::Queryable as _;

use crate::keys::open;

/// `cofferdam import`
#[derive(Subcommand)]
pub enum Command {
    /// Domains, projects, users with their hashed passwords, groups, roles, assignments, application credentials and the catalog.
    Keystone(KeystoneArgs),
}

/// `cofferdam import keystone`
#[derive(Args)]
pub struct KeystoneArgs {
    /// Keystone's database: `mysql://user:password@host:3306/keystone` or `postgresql://…`. It is only read.
    #[arg(long, env = "KEYSTONE_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Write. Without this it is only said what would be written.
    #[arg(long)]
    apply: bool,
    /// The state directory of our server, which may be running.
    #[arg(long, env = "COFFERDAM_STATE_DIR", default_value = "/var/lib/cofferdam")]
    state_dir: PathBuf,
    /// Our database, if it is not the file in the state directory.
    #[arg(long, env = "COFFERDAM_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    store_url: Option<String>,
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// One of the databases cannot be read, or ours not written.
    pub fn run(self) -> anyhow::Result<()> {
        let Self::Keystone(args) = self;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let tables = match args.database_url.split_once("://").map(|(scheme, _)| scheme) {
                Some("mysql" | "mysql+pymysql" | "mariadb") => from_mysql(&args.database_url).await?,
                Some("postgresql" | "postgres") => from_postgresql(&args.database_url).await?,
                _ => anyhow::bail!("Keystone's database must be mysql://… or postgresql://…"),
            };
            let store = open(&args.state_dir, args.store_url.as_deref()).await?;
            let report = api::import::import(&store, &tables, !args.apply).await?;
            println!("{:<24} {:>8} {:>8} {:>8}", "kind", if args.apply { "made" } else { "to make" }, "kept", "left out");
            for (kind, count) in &report.counts {
                println!("{:<24} {:>8} {:>8} {:>8}", kind.replace('_', " "), count.made, count.kept, count.left_out);
            }
            for note in &report.notes {
                println!("note: {note}");
            }
            if !args.apply {
                println!("Nothing was written. Once more with --apply writes it.");
            }
            Ok(())
        })
    }
}

async fn from_mysql(url: &str) -> anyhow::Result<Tables> {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    // SQLAlchemy's parameters are none of the server's.
    let plain = format!("mysql://{}", rest.split('?').next().unwrap_or_default());
    let options = mysql_async::Opts::from_url(&plain).map_err(|_| anyhow::anyhow!("Keystone's database URL cannot be read"))?;
    let mut connection = mysql_async::Conn::new(options).await.context("Keystone's database")?;
    connection.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    connection.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    let mut tables = Tables::new();
    for table in TABLES {
        // In the text protocol every value comes as text.
        let rows: Vec<mysql_async::Row> =
            connection.query(format!("SELECT * FROM `{table}`")).await.with_context(|| format!("table {table}"))?;
        tables.insert(table.to_owned(), rows.into_iter().map(mysql_row).collect());
    }
    connection.query_drop("ROLLBACK").await?;
    connection.disconnect().await?;
    Ok(tables)
}

fn mysql_row(row: mysql_async::Row) -> Row {
    let names: Vec<String> = row.columns_ref().iter().map(|it| it.name_str().into_owned()).collect();
    names.into_iter().zip(row.unwrap()).map(|(name, value)| (name, mysql_text(value))).collect()
}

fn mysql_text(value: mysql_async::Value) -> Option<String> {
    match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        mysql_async::Value::Int(it) => Some(it.to_string()),
        mysql_async::Value::UInt(it) => Some(it.to_string()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

async fn from_postgresql(url: &str) -> anyhow::Result<Tables> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(|error| {
        // The text of an error of the URL may repeat it, with its password.
        anyhow::anyhow!("Keystone's database cannot be reached: {}", error.as_db_error().map_or("no connection", |it| it.message()))
    })?;
    let connection = tokio::spawn(connection);
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut tables = Tables::new();
    for table in TABLES {
        let rows = client
            .query(&format!("SELECT row_to_json(t)::text FROM \"{table}\" t"), &[])
            .await
            .with_context(|| format!("table {table}"))?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let columns: BTreeMap<String, serde_json::Value> = serde_json::from_str(&row.try_get::<_, String>(0)?)?;
            out.push(columns.into_iter().map(|(name, value)| (name, json_text(value))).collect());
        }
        tables.insert(table.to_owned(), out);
    }
    drop(client);
    connection.abort();
    Ok(tables)
}

fn json_text(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}
