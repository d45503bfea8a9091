//! SQLite: one thread writes, a few read beside it (write-ahead log).

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};
use tokio::sync::oneshot;

use crate::StoreError;
use crate::sql::{Expect, Row, Step, Val};

const READERS: usize = 2;
/// Connections for short reads on the caller's own thread.
const INLINE: usize = 2;
/// Jobs that may wait for a thread; past it callers are refused rather than memory filled.
const QUEUE: usize = 4096;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub(crate) struct Sqlite {
    writer: SyncSender<Job>,
    readers: SyncSender<Job>,
    inline: Mutex<Vec<Connection>>,
}

impl Sqlite {
    pub(crate) fn open(path: &str) -> Result<Self, StoreError> {
        if path.is_empty() || path.starts_with(':') || path.starts_with("file:") {
            return Err(StoreError::Open(format!("sqlite:{path}: the path of a file is needed")));
        }
        keep_private(path).map_err(|error| StoreError::Open(format!("{path}: {error}")))?;
        let (writer, jobs) = sync_channel(QUEUE);
        spawn("store-writer", connect(path)?, Arc::new(Mutex::new(jobs)))?;
        let (readers, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..READERS {
            spawn("store-reader", connect(path)?, Arc::clone(&jobs))?;
        }
        let inline = (0..INLINE).map(|_| connect(path)).collect::<Result<_, _>>()?;
        Ok(Self { writer, readers, inline: Mutex::new(inline) })
    }

    /// A query that finds at most a row by its key. It takes some 5 µs, against 40 with the way to another thread and back
    /// (`examples/measure.rs`), and readers never wait for the writer: it runs right here, unless as many are running already.
    pub(crate) async fn query_short(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        // A caller that does nothing but this still lets others run.
        tokio::task::coop::consume_budget().await;
        let free = self.inline.lock().ok().and_then(|mut free| free.pop());
        let Some(connection) = free else {
            return self.query(sql, params).await;
        };
        let rows = select(&connection, &sql, &params);
        if let Ok(mut free) = self.inline.lock() {
            free.push(connection);
        }
        rows
    }

    pub(crate) async fn query(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        run(&self.readers, move |connection| select(connection, &sql, &params)).await
    }

    pub(crate) async fn write_query(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        run(&self.writer, move |connection| select(connection, &sql, &params)).await
    }

    pub(crate) async fn transact(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        run(&self.writer, move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            for step in &steps {
                match &step.expect {
                    Expect::NoRow(otherwise) => {
                        if !select(&transaction, &step.sql, &step.params)?.is_empty() {
                            return Err(otherwise());
                        }
                    }
                    Expect::Anything => {
                        execute(&transaction, step)?;
                    }
                    Expect::OneChanged(otherwise) => {
                        if execute(&transaction, step)? != 1 {
                            return Err(otherwise());
                        }
                    }
                }
            }
            transaction.commit().map_err(failed)
        })
        .await
    }
}

/// Makes the file, or an existing one and what SQLite keeps beside it, readable for its owner only: passwords and keys lie in it. What
/// SQLite makes later beside it gets the file's own mode.
fn keep_private(path: &str) -> std::io::Result<()> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    for file in [path.to_owned(), format!("{path}-wal"), format!("{path}-shm"), format!("{path}-journal")] {
        match std::fs::metadata(&file) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn connect(path: &str) -> Result<Connection, StoreError> {
    let open = |error: rusqlite::Error| StoreError::Open(format!("{path}: {error}"));
    let connection = Connection::open(path).map_err(open)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(open)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
    // Every commit reaches the disk: an answered request and a freed VLAN survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL").map_err(open)?;
    connection.pragma_update(None, "cache_size", -4096).map_err(open)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

fn spawn(name: &str, mut connection: Connection, jobs: Arc<Mutex<Receiver<Job>>>) -> Result<(), StoreError> {
    let work = move || {
        loop {
            let next = match jobs.lock() {
                Ok(jobs) => jobs.recv(),
                Err(_) => return,
            };
            match next {
                Ok(job) => job(&mut connection),
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(work).map(drop).map_err(|error| StoreError::Open(error.to_string()))
}

async fn run<T: Send + 'static>(
    threads: &SyncSender<Job>,
    job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, result) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        // The caller may have gone; the work is done all the same.
        drop(answer.send(job(connection)));
    });
    threads.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Database("too many requests wait for the store".into()),
        TrySendError::Disconnected(_) => StoreError::Database("the store was closed".into()),
    })?;
    result.await.map_err(|_| StoreError::Database("the store was closed".into()))?
}

fn select(connection: &Connection, sql: &str, params: &[Val]) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let width = statement.column_count();
    let mut rows = statement.query(params_from_iter(params)).map_err(failed)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let values = (0..width).map(|at| row.get_ref(at).map(value).map_err(failed)).collect::<Result<_, _>>()?;
        out.push(Row(values));
    }
    Ok(out)
}

fn execute(connection: &Connection, step: &Step) -> Result<usize, StoreError> {
    connection.prepare_cached(&step.sql).map_err(failed)?.execute(params_from_iter(&step.params)).map_err(failed)
}

fn value(value: ValueRef<'_>) -> Val {
    match value {
        ValueRef::Integer(number) => Val::Int(number),
        ValueRef::Text(text) => Val::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Val::NoText,
    }
}

impl ToSql for Val {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::NoText | Self::NoInt => ToSqlOutput::Borrowed(ValueRef::Null),
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function value in map_err")]
fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Database(error.to_string())
}
