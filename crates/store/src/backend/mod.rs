//! The two databases.

mod postgres;
mod sqlite;

use std::collections::BTreeSet;

use crate::StoreError;
use crate::sql::{Row, Step, Val};

/// How a database wants its tables described; shown it is the type of text columns.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    text: &'static str,
    /// Whether an index of values that are there serves whoever looks for one. Most objects have no value in most of their columns, and
    /// each index they are not in is a page less that a write of them changes. Of PostgreSQL's relatives not all know that a value
    /// that equals another is there.
    is_sparse: bool,
    /// What a table ends with whose rows lie in its primary key: one page less to write for each.
    clustered: &'static str,
}

impl Dialect {
    /// What an index of this column ends with.
    pub(crate) fn where_set(self, column: &str) -> String {
        if self.is_sparse { format!(" WHERE {column} IS NOT NULL") } else { String::new() }
    }

    /// What a table of small rows that are found by their primary key ends with.
    pub(crate) fn clustered(self) -> &'static str {
        self.clustered
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

pub(crate) enum Backend {
    Sqlite(sqlite::Sqlite),
    Postgres(Box<postgres::Postgres>),
}

impl Backend {
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.to_owned();
            // It reads and writes the file, and waits for others that do.
            let opened = tokio::task::spawn_blocking(move || sqlite::Sqlite::open(&path)).await;
            return Ok(Self::Sqlite(opened.map_err(|error| StoreError::Open(error.to_string()))??));
        }
        if url.starts_with("postgresql://") || url.starts_with("postgres://") {
            return Ok(Self::Postgres(Box::new(postgres::Postgres::open(url).await?)));
        }
        Err(StoreError::Open("the URL of the database begins with neither sqlite: nor postgresql://".into()))
    }

    /// Runs a query beside any writes.
    pub(crate) async fn query(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(it) => it.query(sql, params).await,
            Self::Postgres(it) => it.query(sql, params).await,
        }
    }

    /// Runs a query that finds at most one row, by its key.
    pub(crate) async fn query_short(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(it) => it.query_short(sql, params).await,
            Self::Postgres(it) => it.query(sql, params).await,
        }
    }

    /// Runs one writing statement that returns rows.
    pub(crate) async fn write_query(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(it) => it.write_query(sql, params).await,
            Self::Postgres(it) => it.write_query(sql, params).await,
        }
    }

    /// Runs all steps in one transaction; the first whose expectation fails undoes them all. `hot` names what it shares with many
    /// others.
    pub(crate) async fn transact(&self, steps: Vec<Step>, hot: &BTreeSet<String>) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        // PostgreSQL cannot store it; SQLite does not either, so that both behave alike.
        if steps.iter().flat_map(|step| &step.params).any(Val::has_nul) {
            return Err(StoreError::Unstorable);
        }
        match self {
            Self::Sqlite(it) => it.transact(steps).await,
            Self::Postgres(it) => it.transact(steps, hot).await,
        }
    }

    /// Runs statements that make tables.
    pub(crate) async fn ddl(&self, statements: Vec<String>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(it) => it.transact(statements.into_iter().map(|sql| Step::any(sql, vec![])).collect()).await,
            Self::Postgres(it) => it.ddl(statements).await,
        }
    }

    /// How tables are described to it.
    pub(crate) async fn dialect(&self) -> Result<Dialect, StoreError> {
        Ok(match self {
            Self::Sqlite(_) => Dialect { text: "TEXT", is_sparse: true, clustered: " WITHOUT ROWID" },
            Self::Postgres(it) => Dialect { text: it.text_type().await?, is_sparse: false, clustered: "" },
        })
    }

    /// What keeps a second replica's upgrade from failing on a column the first one added. The other database has one process.
    pub(crate) fn if_not_exists(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => "IF NOT EXISTS",
        }
    }

    /// What lists its tables by name.
    pub(crate) fn tables(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Self::Postgres(_) => "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()",
        }
    }

    /// What a claim adds to its inner SELECT so that two replicas do not wait for one another.
    pub(crate) fn skip_locked(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR UPDATE SKIP LOCKED",
        }
    }
}
