//! Writes.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, Ordering};

use model::{Id, Kind, Object, Timestamp};
use serde_json::Value;

use crate::StoreError;
use crate::schema::table;
use crate::sql::{Row, Step, Val};
use crate::work::{Claim, fence};

/// The side of users: writes what is wanted.
pub enum Wishes {}
/// The side of the engine: writes what was seen, under a lease, and what is wanted of children.
pub enum Facts {}

/// How much a line of history matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The ordinary course.
    Info,
    /// Something an operator should know.
    Warning,
    /// Something failed.
    Error,
}

impl Severity {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// A line of an object's history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLine {
    /// Its id.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// `INFO`, `WARNING` or `ERROR`.
    pub severity: String,
    /// What happened, in words.
    pub event: String,
    /// Facts.
    pub detail: Value,
}

pub(crate) fn history_line(row: Row) -> HistoryLine {
    HistoryLine {
        id: row.text(0).unwrap_or_default(),
        at: Timestamp(row.int(1).unwrap_or(0)),
        severity: row.text(2).unwrap_or_default(),
        event: row.text(3).unwrap_or_default(),
        detail: row.text(4).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
    }
}

/// Changes that happen together or not at all.
pub struct Batch<Side> {
    pub(crate) steps: Vec<Step>,
    pub(crate) wakes: bool,
    removed: HashSet<(&'static str, String)>,
    side: PhantomData<Side>,
}

impl Batch<Wishes> {
    /// An empty batch of the API's side.
    pub fn wishes() -> Self {
        Self { steps: Vec::new(), wakes: false, removed: HashSet::new(), side: PhantomData }
    }
}

impl Batch<Facts> {
    /// An empty batch of the engine's side. It fails with [`StoreError::LeaseLost`] unless the lease is still held.
    pub fn facts(claim: &Claim) -> Self {
        Self { steps: vec![fence(claim)], wakes: false, removed: HashSet::new(), side: PhantomData }
    }

    /// Writes what was seen of an object, provided nobody changed it since it was read.
    #[must_use]
    pub fn observe<K: Kind>(mut self, object: &Object<K>) -> Self {
        let (sets, mut params) = columns::<K>(object, 1);
        let n = params.len();
        params.extend([text(&object.observed), Val::from(object.id.as_str()), Val::from(object.revision)]);
        let sql = format!(
            "UPDATE {} SET {sets}observed = ${}, revision = revision + 1 WHERE id = ${} AND revision = ${}",
            table::<K>(),
            n + 1,
            n + 2,
            n + 3
        );
        self.steps.push(Step::one(sql, params, stale(object)));
        self
    }

    /// Puts a held value in quarantine: nobody holds it, nobody can have it.
    #[must_use]
    pub fn quarantine(mut self, pool: &str, value: &str, at: Timestamp) -> Self {
        let sql = "UPDATE allocation SET quarantined_at = $1 WHERE pool = $2 AND value = $3 AND quarantined_at IS NULL";
        self.steps.push(Step::any(sql.into(), vec![Val::from(at.0), Val::from(pool), Val::from(value)]));
        self
    }
}

impl<S> Batch<S> {
    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Stores a new object.
    #[must_use]
    pub fn create<K: Kind>(mut self, object: &Object<K>) -> Self {
        let mut names = String::new();
        let mut marks = String::new();
        let mut params = vec![
            Val::from(object.id.as_str()),
            Val::from(object.project_id.as_ref().map(ToString::to_string)),
            Val::from(object.name.as_str()),
            Val::from(object.generation),
            Val::from(object.revision),
            Val::from(object.created_at.0),
            Val::from(object.updated_at.map(|it| it.0)),
            Val::from(object.deleted_at.map(|it| it.0)),
            text(&object.desired),
            text(&object.observed),
        ];
        for column in K::COLUMNS {
            params.push(Val::from((column.value)(object)));
            names.push_str(&format!(", c_{}", column.name));
            marks.push_str(&format!(", ${}", params.len()));
        }
        let sql = format!(
            "INSERT INTO {} (id, project_id, name, generation, revision, created_at, updated_at, deleted_at, desired, observed{names}) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10{marks}) ON CONFLICT (id) DO NOTHING",
            table::<K>()
        );
        let id = object.id.to_string();
        self.steps.push(Step::one(sql, params, move || StoreError::Exists { kind: K::NAME, id: id.clone() }));
        self
    }

    /// Writes what is wanted of an object (and its name and project), provided nobody changed it since it was read. Its
    /// generation grows by one.
    #[must_use]
    pub fn want<K: Kind>(mut self, object: &Object<K>) -> Self {
        let (sets, mut params) = columns::<K>(object, 1);
        let n = params.len();
        params.extend([
            Val::from(object.project_id.as_ref().map(ToString::to_string)),
            Val::from(object.name.as_str()),
            text(&object.desired),
            Val::from(Timestamp::now().0),
            Val::from(object.id.as_str()),
            Val::from(object.revision),
        ]);
        let sql = format!(
            "UPDATE {} SET {sets}project_id = ${}, name = ${}, desired = ${}, updated_at = ${}, generation = generation + 1, \
             revision = revision + 1 WHERE id = ${} AND revision = ${}",
            table::<K>(),
            n + 1,
            n + 2,
            n + 3,
            n + 4,
            n + 5,
            n + 6
        );
        self.steps.push(Step::one(sql, params, stale(object)));
        self
    }

    /// Asks for an object's removal: the engine releases what it holds and then removes it.
    #[must_use]
    pub fn mark_deleted<K: Kind>(mut self, object: &Object<K>) -> Self {
        let sql = format!(
            "UPDATE {} SET deleted_at = $1, generation = generation + 1, revision = revision + 1 WHERE id = $2 AND revision = $3",
            table::<K>()
        );
        let params = vec![Val::from(Timestamp::now().0), Val::from(object.id.as_str()), Val::from(object.revision)];
        self.steps.push(Step::one(sql, params, stale(object)));
        self
    }

    /// Removes an object, provided nobody changed it since it was read. Removing it twice in a batch is removing it once.
    #[must_use]
    pub fn remove<K: Kind>(mut self, object: &Object<K>) -> Self {
        if !self.removed.insert((K::NAME, object.id.to_string())) {
            return self;
        }
        let sql = format!("DELETE FROM {} WHERE id = $1 AND revision = $2", table::<K>());
        self.steps.push(Step::one(sql, vec![Val::from(object.id.as_str()), Val::from(object.revision)], stale(object)));
        self
    }

    /// Holds only if no object of kind `K`, removed or not, has `value` in `column` (one of [`Kind::COLUMNS`]).
    #[must_use]
    pub fn unless_referenced<K: Kind>(mut self, column: &'static str, value: &str) -> Self {
        let sql = format!("SELECT 1 FROM {} WHERE c_{column} = $1 LIMIT 1", table::<K>());
        self.steps.push(Step::none(sql, vec![Val::from(value)], move || StoreError::Referenced { kind: K::NAME, column }));
        self
    }

    /// Holds only if the object is there and nobody asked for its removal. Takes part in conflicts like a write of it would.
    #[must_use]
    pub fn require<K: Kind>(mut self, id: &Id<K>) -> Self {
        let sql = format!("UPDATE {} SET revision = revision WHERE id = $1 AND deleted_at IS NULL", table::<K>());
        let text = id.to_string();
        self.steps.push(Step::one(sql, vec![Val::from(id.as_str())], move || StoreError::Stale { kind: K::NAME, id: text.clone() }));
        self
    }

    /// Takes a value from a pool; fails with [`StoreError::Taken`] if anybody has it or it is in quarantine.
    #[must_use]
    pub fn hold(mut self, pool: &str, value: &str, holder: &str) -> Self {
        let sql =
            "INSERT INTO allocation (pool, value, holder, quarantined_at) VALUES ($1, $2, $3, NULL) ON CONFLICT (pool, value) DO NOTHING";
        let (pool, value) = (pool.to_owned(), value.to_owned());
        let params = vec![Val::from(pool.as_str()), Val::from(value.as_str()), Val::from(holder)];
        self.steps.push(Step::one(sql.into(), params, move || StoreError::Taken { pool: pool.clone(), value: value.clone() }));
        self
    }

    /// Gives a value back to its pool.
    #[must_use]
    pub fn free(mut self, pool: &str, value: &str) -> Self {
        let sql = "DELETE FROM allocation WHERE pool = $1 AND value = $2";
        self.steps.push(Step::any(sql.into(), vec![Val::from(pool), Val::from(value)]));
        self
    }

    /// Gives back all that a holder holds of a pool.
    #[must_use]
    pub fn free_held(mut self, pool: &str, holder: &str) -> Self {
        let sql = "DELETE FROM allocation WHERE pool = $1 AND holder = $2";
        self.steps.push(Step::any(sql.into(), vec![Val::from(pool), Val::from(holder)]));
        self
    }

    /// Counts a counter up: whoever remembers what it was knows that something changed.
    #[must_use]
    pub fn bump(mut self, counter: &str) -> Self {
        let sql = "INSERT INTO counter (name, value) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1";
        self.steps.push(Step::any(sql.into(), vec![Val::from(counter)]));
        self
    }

    /// Sets a setting of the installation, whatever it was.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let sql = "INSERT INTO setting (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.steps.push(Step::any(sql.into(), vec![Val::from(key), Val::from(value)]));
        self
    }

    /// Sets a setting, provided nobody changed it since it was read as `before`.
    #[must_use]
    pub fn change(mut self, key: &str, before: &str, after: &str) -> Self {
        let sql = "UPDATE setting SET value = $1 WHERE key = $2 AND value = $3";
        let id = key.to_owned();
        let params = vec![Val::from(after), Val::from(key), Val::from(before)];
        self.steps.push(Step::one(sql.into(), params, move || StoreError::Stale { kind: "setting", id: id.clone() }));
        self
    }

    /// Has an object looked at as soon as possible.
    #[must_use]
    pub fn wake<K: Kind>(self, id: &Id<K>) -> Self {
        self.wake_named(K::NAME, id.as_str())
    }

    /// [`Batch::wake`] by name.
    #[must_use]
    pub fn wake_named(mut self, kind: &str, id: &str) -> Self {
        let sql = "INSERT INTO work (kind, id, due_at, wakes, worker, lease_until, epoch, attempts) VALUES ($1, $2, $3, 1, NULL, 0, 0, 0) \
                   ON CONFLICT (kind, id) DO UPDATE SET wakes = work.wakes + 1, \
                   due_at = CASE WHEN work.due_at < excluded.due_at THEN work.due_at ELSE excluded.due_at END";
        self.steps.push(Step::any(sql.into(), vec![Val::from(kind), Val::from(id), Val::from(Timestamp::now().0)]));
        self.wakes = true;
        self
    }

    /// Adds a line to an object's history.
    #[must_use]
    pub fn history<K: Kind>(mut self, id: &Id<K>, severity: Severity, event: &str, detail: &Value) -> Self {
        let sql = "INSERT INTO history (id, kind, object_id, at, severity, event, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let params = vec![
            Val::from(Id::<()>::random().as_str()),
            Val::from(K::NAME),
            Val::from(id.as_str()),
            Val::from(moment()),
            Val::from(severity.as_str()),
            Val::from(event),
            Val::from(detail.to_string()),
        ];
        self.steps.push(Step::any(sql.into(), params));
        self
    }
}

/// The present, but later than any moment given before: lines written one after another are read in that order.
fn moment() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = Timestamp::now().0;
    let last = LAST.fetch_max(now, Ordering::Relaxed);
    if now > last { now } else { LAST.fetch_add(1, Ordering::Relaxed).saturating_add(1) }
}

fn text(value: &impl serde::Serialize) -> Val {
    // Our own types are maps with text keys: writing them cannot fail. A NULL would be refused by the column, not stored.
    serde_json::to_string(value).map_or(Val::NoText, Val::Text)
}

fn columns<K: Kind>(object: &Object<K>, from: usize) -> (String, Vec<Val>) {
    let sets = K::COLUMNS.iter().enumerate().map(|(at, column)| format!("c_{} = ${}, ", column.name, from + at)).collect();
    (sets, K::COLUMNS.iter().map(|column| Val::from((column.value)(object))).collect())
}

fn stale<K: Kind>(object: &Object<K>) -> impl Fn() -> StoreError + Send + Sync + 'static {
    let id = object.id.to_string();
    move || StoreError::Stale { kind: K::NAME, id: id.clone() }
}
