//! SQLite: one thread writes, a few read beside it (write-ahead log).
//!
//! Most of what a write costs is its way to the disk. So the writer takes what waits for it into one transaction, in which each has a
//! savepoint of its own: one that fails is undone alone. Nobody is answered before the transaction is on the disk, and nobody waits for
//! company: who comes alone goes alone.

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, TransactionBehavior, params_from_iter};
use tokio::sync::oneshot;

use crate::StoreError;
use crate::sql::{Row, Spelling, Step, Val, spelled};

const READERS: usize = 2;
/// Connections for short reads on the caller's own thread.
const INLINE: usize = 2;
/// Jobs that may wait for a thread; past it callers are refused rather than memory filled.
const QUEUE: usize = 4096;

/// A list is one text, JSON. A moment is reckoned by this process, the only one there is.
const SPELLING: Spelling = Spelling { list: ("IN (SELECT value FROM json_each(", "))"), from_now: "(" };

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What a connection remembers of the file: 16 MiB, in SQLite's way of saying KiB.
const CACHE: i32 = -16_384;
/// The log begins anew when it has more pages than this: 32 MiB.
const LOG_PAGES: i64 = 8192;
/// Between two looks at the log.
const CHECKPOINT_REST: Duration = Duration::from_millis(200);

/// How long another process's lock on the file is waited for, and between two tries where SQLite itself does not wait.
const BUSY: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// So many writes go to the disk together, at most.
const GROUP: usize = 64;

/// A write that waits for its turn, and where its answer goes.
enum Write {
    Batch(Vec<Step>, oneshot::Sender<Result<(), StoreError>>),
    Query(String, Vec<Val>, oneshot::Sender<Result<Vec<Row>, StoreError>>),
}

pub(crate) struct Sqlite {
    writer: SyncSender<Write>,
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
        let connection = connect(path)?;
        let (wrote, written) = sync_channel(1);
        let write = move || write_all(connection, &jobs, &wrote);
        std::thread::Builder::new().name("store-writer".into()).spawn(write).map_err(|error| StoreError::Open(error.to_string()))?;
        let connection = connect(path)?;
        let move_over = move || checkpoint_all(&connection, &written);
        std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move_over)
            .map_err(|error| StoreError::Open(error.to_string()))?;
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
        let (answer, result) = oneshot::channel();
        self.writer.try_send(Write::Query(sql, params, answer)).map_err(refused)?;
        result.await.map_err(|_| closed())?
    }

    pub(crate) async fn transact(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        self.writer.try_send(Write::Batch(steps, answer)).map_err(refused)?;
        result.await.map_err(|_| closed())?
    }
}

fn closed() -> StoreError {
    StoreError::Database("the store was closed".into())
}

fn refused<T>(error: TrySendError<T>) -> StoreError {
    match error {
        TrySendError::Full(_) => StoreError::Database("too many requests wait for the store".into()),
        TrySendError::Disconnected(_) => closed(),
    }
}

/// Moves what was written from the log into the file, beside the writer: no request waits for it. Ends with the writer.
fn checkpoint_all(connection: &Connection, written: &Receiver<()>) {
    while written.recv().is_ok() {
        // The log, and how much of it was moved, in pages.
        let log = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
        let outcome = match log {
            // While others write the log does not come to an end by itself. What is left of it is little: the writer waits for that.
            Ok(pages) if pages > LOG_PAGES => connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the store's log could not be moved over; it is tried again after the next write");
        }
        std::thread::sleep(CHECKPOINT_REST);
    }
}

/// The writer's life.
fn write_all(mut connection: Connection, jobs: &Receiver<Write>, wrote: &SyncSender<()>) {
    while let Ok(first) = jobs.recv() {
        // One word is enough, and it may lie there already.
        let _ = wrote.try_send(());
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        if group.len() > 1
            && let Ok(results) = together(&mut connection, &group)
        {
            group.into_iter().zip(results).for_each(|(write, result)| write.answer(result));
            continue;
        }
        // Alone; or the transaction as a whole failed, then each for itself.
        for write in group {
            let result = alone(&mut connection, &write);
            write.answer(result);
        }
    }
}

fn alone(connection: &mut Connection, write: &Write) -> Result<Vec<Row>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let rows = write.run(&transaction)?;
    transaction.commit().map_err(failed)?;
    Ok(rows)
}

/// # Errors
/// Nothing of it all was done.
fn together(connection: &mut Connection, group: &[Write]) -> Result<Vec<Result<Vec<Row>, StoreError>>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let say = |sql: &str| transaction.prepare_cached(sql).and_then(|mut it| it.execute([])).map_err(failed);
    let mut results = Vec::with_capacity(group.len());
    for write in group {
        say("SAVEPOINT one")?;
        let result = write.run(&transaction);
        if transaction.is_autocommit() {
            // A fault such as a full disk ended the transaction by itself.
            return Err(StoreError::Database("the transaction was broken off".into()));
        }
        if result.is_err() {
            say("ROLLBACK TO one")?;
        }
        say("RELEASE one")?;
        results.push(result);
    }
    transaction.commit().map_err(failed)?;
    Ok(results)
}

impl Write {
    fn run(&self, connection: &Connection) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Query(sql, params, _) => select(connection, sql, params),
            Self::Batch(steps, _) => {
                for step in steps {
                    if step.expect.reads() {
                        step.expect.rows(&select(connection, &step.sql, &step.params)?)?;
                    } else {
                        step.expect.changed(execute(connection, step)?)?;
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    fn answer(self, result: Result<Vec<Row>, StoreError>) {
        // The caller may have gone; the work is done all the same.
        match self {
            Self::Query(.., answer) => drop(answer.send(result)),
            Self::Batch(_, answer) => drop(answer.send(result.map(drop))),
        }
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
    connection.busy_timeout(BUSY).map_err(open)?;
    keep_log(&connection).map_err(open)?;
    // Every commit reaches the disk: an answered request and a freed VLAN survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL").map_err(open)?;
    // Moved over by a thread of its own.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(open)?;
    connection.pragma_update(None, "cache_size", CACHE).map_err(open)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

/// Has changes written to a log first. A new file is written for that, after it was read: where another is about to write it, too, SQLite
/// refuses at once, for none of the two could go on if both waited (<https://www.sqlite.org/c3ref/busy_handler.html>). So it is tried again.
fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
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
    threads.try_send(job).map_err(refused)?;
    result.await.map_err(|_| closed())?
}

fn select(connection: &Connection, sql: &str, params: &[Val]) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(&spelled(sql, params, &SPELLING)).map_err(failed)?;
    let width = statement.column_count();
    let mut rows = statement.query(params_from_iter(params)).map_err(failed)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let values = (0..width).map(|at| row.get_ref(at).map(value).map_err(failed)).collect::<Result<_, _>>()?;
        out.push(Row(values));
    }
    Ok(out)
}

fn execute(connection: &Connection, step: &Step) -> Result<u64, StoreError> {
    let sql = spelled(&step.sql, &step.params, &SPELLING);
    let changed = connection.prepare_cached(&sql).map_err(failed)?.execute(params_from_iter(&step.params)).map_err(failed)?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
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
            Self::FromNow(micros) => ToSqlOutput::Owned(Timestamp::now().0.saturating_add(*micros).into()),
            Self::List(texts) => {
                // Writing texts as JSON cannot fail.
                ToSqlOutput::Owned(serde_json::to_string(texts).unwrap_or_default().into())
            }
            Self::NoText | Self::NoInt => ToSqlOutput::Borrowed(ValueRef::Null),
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function value in map_err")]
fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Database(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_that_another_is_about_to_write_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db").display().to_string();
        let other = Connection::open(&path).unwrap();
        // The file has no log yet: this is what one holds that is about to make it one with a log.
        other.execute_batch("CREATE TABLE t (x INTEGER); BEGIN IMMEDIATE").unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            other.execute_batch("COMMIT").unwrap();
        });
        let mode: String = connect(&path).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        ends.join().unwrap();
    }
}
