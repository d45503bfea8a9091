//! PostgreSQL, or a database that speaks its protocol: a small pool, serializable transactions that are tried again when the
//! database says that two of them collided.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Statement};

use crate::StoreError;
use crate::sql::{Row, Spelling, Step, Val, spelled};

/// Connections for reads and, apart from them, for writes: writes that wait for one another do not shut out reads.
const READS: usize = 4;
const WRITES: usize = 8;
/// How often a transaction is tried again. Transactions are short, and from the first collision on they go one at a time, so that
/// whoever needs so many is not unlucky but wrong.
const TRIES: u32 = 60;
/// How many names that batches share are told apart.
const TURNS: usize = 1024;
/// Statements of a batch that are sent without waiting for one another's answers.
const FLIGHT: usize = 64;
/// Statements that a connection keeps prepared.
const PREPARED: usize = 512;
/// For one operation with all its tries.
const DEADLINE: Duration = Duration::from_secs(30);
/// What every connection is told. A transaction that waits for a lock gives it up before the database looks for deadlocks (after a
/// second) and is tried again; one whose client vanished without a word is ended; no statement of ours takes long.
const SESSION: &str = "SET lock_timeout = '300ms'; SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = '30s'";

/// How a batch begins. All its statements go by an index; a walk over a whole table, which the database likes if the table is small,
/// would read all its rows and so collide with every other batch that changes one.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL enable_seqscan = off";

/// A moment is reckoned by the clock of the database, taken as the statement arrives: such a moment an index can be asked for.
const SPELLING: Spelling =
    Spelling { list: ("= ANY(", ")"), from_now: "(CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT) + " };

pub(crate) struct Postgres {
    config: tokio_postgres::Config,
    idle: Mutex<Vec<Connection>>,
    reads: Semaphore,
    writes: Semaphore,
    /// Held by the one transaction that is being tried again: the losers of a collision queue up here, first come first served,
    /// instead of colliding for ever.
    again: tokio::sync::Mutex<()>,
    /// For what many batches change at once, by the hashes of its names.
    turns: Vec<tokio::sync::Mutex<()>>,
    hashing: RandomState,
}

struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Whether it is in an unknown state and not to be used again.
    broken: bool,
}

enum Job {
    Read(String, Vec<Val>),
    Write(String, Vec<Val>),
    Batch(Vec<Step>),
}

enum Failure {
    /// The transaction collided with another, or the line broke before it was complete: nothing was done, try again.
    Collided(String),
    Final(StoreError),
}

impl Postgres {
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        // The URL holds a password: the parser's message names the fault without repeating it.
        let mut config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| StoreError::Open(error.to_string()))?;
        config
            .application_name("cofferdam")
            .connect_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(DEADLINE);
        let it = Self {
            config,
            idle: Mutex::new(Vec::new()),
            reads: Semaphore::new(READS),
            writes: Semaphore::new(WRITES),
            again: tokio::sync::Mutex::new(()),
            turns: std::iter::repeat_with(|| tokio::sync::Mutex::new(())).take(TURNS).collect(),
            hashing: RandomState::new(),
        };
        let first = it.connect().await.map_err(|error| StoreError::Open(text(&error)))?;
        it.put_back(first);
        Ok(it)
    }

    async fn connect(&self) -> Result<Connection, tokio_postgres::Error> {
        let (client, line) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = line.await {
                tracing::warn!(error = text(&error), "the line to the database broke");
            }
        });
        client.batch_execute(SESSION).await?;
        Ok(Connection { client, statements: HashMap::new(), broken: false })
    }

    /// Takes a connection back for others. Only one that is known to be outside any transaction: a caller that gives up in the
    /// middle never comes here, and its connection is closed, which ends the transaction.
    fn put_back(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && !connection.broken
            && !connection.client.is_closed()
        {
            idle.push(connection);
        }
    }

    async fn take(&self) -> Result<Connection, StoreError> {
        let pooled = self.idle.lock().ok().and_then(|mut idle| {
            idle.retain(|it| !it.client.is_closed());
            idle.pop()
        });
        match pooled {
            Some(connection) => Ok(connection),
            None => self.connect().await.map_err(|error| StoreError::Database(text(&error))),
        }
    }

    /// Runs one statement outside any transaction.
    pub(crate) async fn query(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        self.persist(&self.reads, &Job::Read(sql, params), &BTreeSet::new()).await
    }

    /// The same for a statement that writes.
    pub(crate) async fn write_query(&self, sql: String, params: Vec<Val>) -> Result<Vec<Row>, StoreError> {
        self.persist(&self.writes, &Job::Write(sql, params), &BTreeSet::new()).await
    }

    pub(crate) async fn transact(&self, steps: Vec<Step>, hot: &BTreeSet<String>) -> Result<(), StoreError> {
        self.persist(&self.writes, &Job::Batch(steps), hot).await.map(drop)
    }

    /// The type of text columns. Text sorts by its bytes, as in SQLite, whatever language the database was made for.
    pub(crate) async fn text_type(&self) -> Result<&'static str, StoreError> {
        let rows = self.query("SELECT CASE WHEN 'a' < 'B' THEN 1 ELSE 0 END".into(), vec![]).await?;
        let by_bytes = rows.first().and_then(|row| row.int(0)) == Some(0);
        Ok(if by_bytes { "TEXT" } else { "TEXT COLLATE \"C\"" })
    }

    /// Runs statements in one transaction, without a deadline for each: tables may be large.
    pub(crate) async fn ddl(&self, statements: Vec<String>) -> Result<(), StoreError> {
        let _place = self.writes.acquire().await.map_err(|_| StoreError::Database("the store was closed".into()))?;
        let all = format!("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '20s'; {}; COMMIT", statements.join("; "));
        let mut tries = 0;
        loop {
            let connection = self.take().await?;
            match connection.client.batch_execute(&all).await {
                Ok(()) => {
                    self.put_back(connection);
                    return Ok(());
                }
                // Replicas that start together make the same tables: the loser of the race tries again and finds them.
                Err(error) if tries < 20 && error.code() != Some(&SqlState::DIVISION_BY_ZERO) => {
                    tries += 1;
                    tracing::debug!(why = text(&error), tries, "could not make the tables, trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(StoreError::Open(text(&error))),
            }
        }
    }

    /// Waits until no batch of this process is under way that shares one of these with the caller's. The database would find out that
    /// they collide, but only when most of the work is done; of several processes it still does.
    async fn turns(&self, hot: &BTreeSet<String>) -> Vec<tokio::sync::MutexGuard<'_, ()>> {
        // In the order of their numbers, whoever asks: nobody waits in a circle. Two that share a number by chance only wait in vain.
        let numbers: BTreeSet<usize> = hot.iter().map(|name| self.number(name)).collect();
        let mut turns = Vec::with_capacity(numbers.len());
        for turn in numbers.into_iter().filter_map(|number| self.turns.get(number)) {
            turns.push(turn.lock().await);
        }
        turns
    }

    fn number(&self, name: &str) -> usize {
        let hash = usize::try_from(self.hashing.hash_one(name) % 65_536).unwrap_or(0);
        hash % self.turns.len().max(1)
    }

    /// Carries out a job on a connection, again while it collides.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection in use, if any, rather than putting it back.
    async fn persist(&self, places: &Semaphore, job: &Job, hot: &BTreeSet<String>) -> Result<Vec<Row>, StoreError> {
        let all = async {
            let _turns = self.turns(hot).await;
            let mut turn = None;
            let mut tries = 0;
            loop {
                let result = {
                    let _place = places.acquire().await.map_err(|_| StoreError::Database("the store was closed".into()))?;
                    let mut connection = self.take().await?;
                    let result = connection.run(job).await;
                    self.put_back(connection);
                    result
                };
                match result {
                    Ok(rows) => return Ok(rows),
                    Err(Failure::Collided(why)) if tries < TRIES => {
                        tries += 1;
                        tracing::debug!(why, tries, "transaction collided, trying again");
                        if turn.is_none() {
                            turn = Some(self.again.lock().await);
                        }
                        tokio::time::sleep(pause(tries)).await;
                    }
                    Err(Failure::Collided(why)) => return Err(StoreError::Database(why)),
                    Err(Failure::Final(error)) => return Err(error),
                }
            }
        };
        tokio::time::timeout(DEADLINE, all)
            .await
            .map_err(|_| StoreError::Database(format!("the database did not answer within {DEADLINE:?}")))?
    }
}

/// How long to wait before a try: longer the more there were, and never as long as another replica that failed at the same moment.
fn pause(tries: u32) -> Duration {
    let most = u64::from(tries.min(20)) * 4_000;
    Duration::from_micros(getrandom::u64().unwrap_or(most) % most.max(1))
}

/// What a broken line leaves open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Nothing was done, or it does no harm to do it again.
    None,
    /// It may have been done.
    MayBeDone,
}

impl Connection {
    async fn run(&mut self, job: &Job) -> Result<Vec<Row>, Failure> {
        match job {
            Job::Read(sql, params) => self.select(sql, params, Doubt::None).await,
            Job::Write(sql, params) => self.select(sql, params, Doubt::MayBeDone).await,
            Job::Batch(steps) => {
                let result = self.transact(steps).await;
                if result.is_err() {
                    self.undo().await;
                }
                result.map(|()| Vec::new())
            }
        }
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(|error| sort(&error, Doubt::None))?;
        if self.statements.len() >= PREPARED {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn select(&mut self, sql: &str, params: &[Val], doubt: Doubt) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(&spelled(sql, params, &SPELLING)).await?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|it| it as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(&statement, &params).await.map_err(|error| sort(&error, doubt))?;
        Ok(rows.iter().map(row).collect())
    }

    async fn transact(&mut self, steps: &[Step]) -> Result<(), Failure> {
        let mut prepared = Vec::with_capacity(steps.len());
        for step in steps {
            prepared.push(self.prepare(&spelled(&step.sql, &step.params, &SPELLING)).await?);
        }
        self.client.batch_execute(BEGIN).await.map_err(|error| sort(&error, Doubt::None))?;
        let client = &self.client;
        let mut all = steps.iter().zip(&prepared);
        loop {
            let flight: Vec<_> = all.by_ref().take(FLIGHT).map(|(step, statement)| Box::pin(send(client, step, statement))).collect();
            if flight.is_empty() {
                break;
            }
            // The first that failed is the one that counts: after a fault the database refuses the rest.
            for result in in_order(flight).await {
                result?;
            }
        }
        // A line that breaks here leaves open whether the batch was carried out: its caller reads again.
        self.client.batch_execute("COMMIT").await.map_err(|error| sort(&error, Doubt::MayBeDone))
    }

    /// Ends a failed transaction. A connection on which even that fails is in an unknown state and is not used again.
    async fn undo(&mut self) {
        if let Err(error) = self.client.batch_execute("ROLLBACK").await {
            tracing::debug!(why = text(&error), "could not roll back");
            self.broken = true;
        }
    }
}

/// Sends a statement of a batch and looks at what comes back.
async fn send(client: &Client, step: &Step, statement: &Statement) -> Result<(), Failure> {
    let params: Vec<&(dyn ToSql + Sync)> = step.params.iter().map(|it| it as &(dyn ToSql + Sync)).collect();
    if step.expect.reads() {
        let rows = client.query(statement, &params).await.map_err(|error| sort(&error, Doubt::None))?;
        let rows: Vec<Row> = rows.iter().map(row).collect();
        step.expect.rows(&rows).map_err(Failure::Final)
    } else {
        let changed = client.execute(statement, &params).await.map_err(|error| sort(&error, Doubt::None))?;
        step.expect.changed(changed).map_err(Failure::Final)
    }
}

/// The results of all. Each is begun in its turn, which is when a statement is sent, and none waits for another to end.
async fn in_order<F: Future>(mut futures: Vec<Pin<Box<F>>>) -> Vec<F::Output> {
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *result = Some(done);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

fn sort(error: &tokio_postgres::Error, doubt: Doubt) -> Failure {
    let collided = match error.code() {
        Some(code) => {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
                // Somebody else made the same row at the same moment: the next try sees it.
                SqlState::UNIQUE_VIOLATION,
            ]
            .contains(code)
                || (doubt == Doubt::None && [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code))
        }
        None => doubt == Doubt::None && broke(error),
    };
    if collided { Failure::Collided(text(error)) } else { Failure::Final(StoreError::Database(text(error))) }
}

/// Whether the line broke, as against a fault of ours.
fn broke(error: &tokio_postgres::Error) -> bool {
    let io = std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    error.is_closed() || io
}

fn text(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |it| format!("{}: {}", it.code().code(), it.message()))
}

fn row(row: &tokio_postgres::Row) -> Row {
    let values = row.columns().iter().enumerate().map(|(at, column)| match *column.type_() {
        Type::INT8 => row.get::<_, Option<i64>>(at).map_or(Val::NoInt, Val::Int),
        Type::INT4 => row.get::<_, Option<i32>>(at).map_or(Val::NoInt, |it| Val::Int(i64::from(it))),
        _ => row.get::<_, Option<String>>(at).map_or(Val::NoText, Val::Text),
    });
    Row(values.collect())
}

impl ToSql for Val {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Text(it) => it.to_sql(ty, out),
            Self::Int(it) | Self::FromNow(it) => it.to_sql(ty, out),
            Self::List(it) => it.to_sql(ty, out),
            Self::NoText | Self::NoInt => Ok(tokio_postgres::types::IsNull::Yes),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TEXT | Type::VARCHAR | Type::INT8 | Type::TEXT_ARRAY)
    }

    tokio_postgres::types::to_sql_checked!();
}
