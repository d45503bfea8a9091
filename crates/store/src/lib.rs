//! What we remember: objects, allocations, the work queue with its leases, history. The only crate that knows SQL.
//!
//! A write is a [`Batch`]: plain data that is carried out in one transaction or not at all. No transaction type leaves this crate, so
//! nothing outside can be awaited while one is open, and a batch can be tried again after a serialization failure. Statements keep to a
//! subset that SQLite and PostgreSQL (and what speaks its protocol) take alike; `backend/` holds the two executors.

mod backend;
mod batch;
mod count;
mod own;
mod pick;
mod pool;
mod query;
mod schema;
mod seen;
mod sql;
mod trim;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{Id, Kind, Object, Timestamp};
use tokio::sync::Notify;

use backend::Backend;
pub use batch::{Batch, Facts, HistoryLine, Severity, Wishes};
pub use count::WorkCount;
pub use pick::Picked;
pub use pool::Allocation;
pub use query::{Query, Term};
pub use schema::SCHEMA_VERSION;
pub use seen::Seen;
use sql::Val;
pub use trim::HistoryOf;
pub use work::{Claim, Outcome};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed the object since it was read: read again and decide anew.
    #[error("{kind} {id} was changed by somebody else meanwhile")]
    Stale {
        /// The kind.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// There is an object of that id already.
    #[error("{kind} {id} exists already")]
    Exists {
        /// The kind.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// Another holder has that value of the pool: take the next.
    #[error("{value} of {pool} is taken")]
    Taken {
        /// The pool.
        pool: String,
        /// The value.
        value: String,
    },
    /// An object that would be orphaned still refers to the one being removed.
    #[error("a {kind} still refers to it by {column}")]
    Referenced {
        /// The kind of the referring object.
        kind: &'static str,
        /// Its column.
        column: &'static str,
    },
    /// The project would use more of a resource than it may.
    #[error("the project may use {limit} of {resource}, no more")]
    OverLimit {
        /// The resource, as [`Kind::USAGE`] names it.
        resource: String,
        /// The project's id.
        project: String,
        /// How many it may use.
        limit: i64,
    },
    /// The lease of this piece of work went to another worker.
    #[error("the lease on {kind} {id} was lost")]
    LeaseLost {
        /// The kind.
        kind: String,
        /// The id.
        id: String,
    },
    /// The store was written by a newer binary.
    #[error(
        "the store has schema {found}, this binary knows schemas up to {known}: use a newer binary, or restore the store from before the upgrade"
    )]
    Newer {
        /// Version found.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The database cannot be opened or reached.
    #[error("cannot open the store: {0}")]
    Open(String),
    /// The database refused or broke off.
    #[error("the store failed: {0}")]
    Database(String),
    /// A text that is to be stored holds a NUL character, which one of the databases cannot keep.
    #[error("text with a NUL character cannot be stored")]
    Unstorable,
    /// A row does not read as what it should be.
    #[error("{kind} {id} in the store cannot be read: {why}")]
    Corrupt {
        /// The kind.
        kind: &'static str,
        /// The id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// Whether reading again and deciding anew may succeed.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::Taken { .. } | Self::LeaseLost { .. })
    }
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<Backend>,
    woken: Arc<Notify>,
    flights: Arc<pick::Flights>,
    memory: Arc<seen::Memory>,
}

impl Store {
    /// Opens the store at `sqlite:<path>` or `postgresql://…`, making or upgrading its tables.
    ///
    /// # Errors
    /// [`StoreError::Newer`] if a newer binary wrote it; [`StoreError::Open`] if it cannot be reached.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let backend = Backend::open(url).await?;
        schema::migrate(&backend).await?;
        Ok(Self { backend: Arc::new(backend), woken: Arc::new(Notify::new()), flights: Arc::default(), memory: Arc::default() })
    }

    /// Whether this process alone uses the store (the embedded one), so that leases of an earlier process are void.
    pub fn is_embedded(&self) -> bool {
        matches!(*self.backend, Backend::Sqlite(_))
    }

    /// One object, also one that is being removed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn get<K: Kind>(&self, id: &Id<K>) -> Result<Option<Object<K>>, StoreError> {
        let (sql, params) = Query::<K>::new().id(id).with_deleted().render();
        self.backend.query_short(sql, params).await?.into_iter().next().map(query::object::<K>).transpose()
    }

    /// The objects that match, in the order of the query.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list<K: Kind>(&self, query: &Query<K>) -> Result<Vec<Object<K>>, StoreError> {
        let (sql, params) = query.render();
        objects(query, self.backend.query(sql, params).await?)
    }

    /// [`Store::list`] for what an index finds at once and of which there are few: asked on the spot, without a change of thread.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list_few<K: Kind>(&self, query: &Query<K>) -> Result<Vec<Object<K>>, StoreError> {
        let (sql, params) = query.render();
        objects(query, self.backend.query_short(sql, params).await?)
    }

    /// How many objects match.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count<K: Kind>(&self, query: &Query<K>) -> Result<u64, StoreError> {
        let (sql, params) = query.render_count();
        let rows = self.backend.query(sql, params).await?;
        Ok(rows.first().and_then(|row| row.int(0)).and_then(|it| u64::try_from(it).ok()).unwrap_or(0))
    }

    /// The values, each once, that objects of the kind have among their links of that name ([`Kind::LINKS`]).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn linked_values<K: Kind>(&self, name: &'static str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT value FROM link WHERE kind = $1 AND name = $2".to_owned();
        let rows = self.backend.query(sql, vec![Val::from(K::NAME), Val::from(name)]).await?;
        Ok(rows.iter().filter_map(|row| row.text(0)).collect())
    }

    /// Carries out a batch whole or not at all.
    ///
    /// # Errors
    /// The first condition of the batch that did not hold; nothing was changed then.
    pub async fn apply<S>(&self, batch: Batch<S>) -> Result<(), StoreError> {
        let work = batch.into_work();
        self.backend.transact(work.steps, &work.hot).await?;
        if work.wakes {
            // One is enough, and it is remembered if none waits just now: whoever finds work wakes the next (see `claim`).
            self.woken.notify_one();
        }
        Ok(())
    }

    pub(crate) async fn steps(&self, steps: Vec<sql::Step>) -> Result<(), StoreError> {
        self.backend.transact(steps, &BTreeSet::new()).await
    }

    /// The history of an object, newest first, at most `limit` lines.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(&self, kind: &str, id: &str, limit: u32) -> Result<Vec<HistoryLine>, StoreError> {
        let sql = format!(
            "SELECT id, at, severity, event, detail FROM history WHERE kind = $1 AND object_id = $2 ORDER BY at DESC, id DESC LIMIT {limit}"
        );
        let rows = self.backend.query(sql, vec![Val::from(kind), Val::from(id)]).await?;
        Ok(rows.into_iter().map(batch::history_line).collect())
    }

    /// A setting of the installation, such as a key that all replicas share.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let rows = self.backend.query_short("SELECT value FROM setting WHERE key = $1".into(), vec![Val::from(key)]).await?;
        Ok(rows.first().and_then(|row| row.text(0)))
    }

    /// A counter's value; 0 if nothing counted it yet. One look by key, the cheapest the store has.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn counter(&self, name: &str) -> Result<i64, StoreError> {
        let rows = self.backend.query_short("SELECT value FROM counter WHERE name = $1".into(), vec![Val::from(name)]).await?;
        Ok(rows.first().and_then(|row| row.int(0)).unwrap_or(0))
    }

    /// How many objects of a kind with this [`Kind::USAGE`] a project has, without those whose removal was asked for.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn usage(&self, resource: &str, project: &str) -> Result<i64, StoreError> {
        self.counter(&batch::used(resource, project)).await
    }

    /// Sets a setting unless it is set, and returns what it is then: of several that race, all get the same.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn setting_or(&self, key: &str, value: &str) -> Result<String, StoreError> {
        let insert = "INSERT INTO setting (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
        self.steps(vec![sql::Step::any(insert.into(), vec![Val::from(key), Val::from(value)])]).await?;
        Ok(self.setting(key).await?.unwrap_or_else(|| value.to_owned()))
    }

    /// Takes up the most overdue piece of work, if any, for `lease`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn claim(&self, worker: &str, lease: Duration) -> Result<Option<Claim>, StoreError> {
        self.claimed(worker, lease, None).await
    }

    /// [`Store::claim`] for a conductor of that group: work on nodes of other groups is left to theirs.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn claim_within(&self, group: &str, worker: &str, lease: Duration) -> Result<Option<Claim>, StoreError> {
        self.claimed(worker, lease, Some(group)).await
    }

    async fn claimed(&self, worker: &str, lease: Duration, group: Option<&str>) -> Result<Option<Claim>, StoreError> {
        let claim = work::claim(&self.backend, worker, lease, group).await?;
        if claim.is_some() {
            // There may be more: have the next worker look, since this one is busy now.
            self.woken.notify_one();
        }
        Ok(claim)
    }

    /// Keeps a lease for another `lease` from now.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker has it.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.steps(vec![work::renew(claim, lease)]).await
    }

    /// Ends a piece of work and says when it is due again. If it was woken meanwhile it is due at once.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker has it.
    pub async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        self.steps(work::finish(claim, outcome)).await
    }

    /// The time by the clock that leases are reckoned by: the database's where several processes share one, since theirs may disagree. It
    /// is no earlier than the call and no later than the answer.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        if self.is_embedded() {
            return Ok(Timestamp::now());
        }
        let rows = self.backend.query_short("SELECT FROM_NOW($1)".into(), vec![Val::FromNow(0)]).await?;
        let now = rows.first().and_then(|row| row.int(0));
        now.map(Timestamp).ok_or_else(|| StoreError::Database("it does not know what time it is".into()))
    }

    /// After the clock was set back: no lease ends later than one of this length that begins now. Who works renews its lease well before;
    /// what the dead held would be nobody's until the old time came again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn shorten_leases(&self, lease: Duration) -> Result<(), StoreError> {
        work::shorten(&self.backend, lease).await
    }

    /// Voids all leases. For the one process that uses an embedded store, as it starts.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn void_leases(&self) -> Result<(), StoreError> {
        let sql = "UPDATE work SET worker = NULL, lease_until = 0, epoch = epoch + 1 WHERE worker IS NOT NULL";
        self.steps(vec![sql::Step::any(sql.into(), vec![])]).await?;
        self.woken.notify_one();
        Ok(())
    }

    /// Returns when there may be work: this process put something into the queue (also just before the call), or another worker of it
    /// took up a piece and there may be more. Else after `at_most`: another process may have put something there. A worker claims
    /// until there is nothing, then calls this, then claims again.
    pub async fn woken(&self, at_most: Duration) {
        // Elapsing is the ordinary case on a shared database, not a failure.
        drop(tokio::time::timeout(at_most, self.woken.notified()).await);
    }
}

fn objects<K: Kind>(query: &Query<K>, mut rows: Vec<sql::Row>) -> Result<Vec<Object<K>>, StoreError> {
    if query.is_backwards() {
        rows.reverse();
    }
    rows.into_iter().map(query::object::<K>).collect()
}
