//! Writes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
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
    fence: Option<Step>,
    pub(crate) steps: Vec<Step>,
    /// How much each counter changes. All of a batch's counting is one step for each counter, before all others: where two batches
    /// collide it is at a counter, and then little was done in vain.
    counts: BTreeMap<String, i64>,
    limits: BTreeMap<String, Limit>,
    /// What is done once, however often it was asked for.
    once: HashSet<(Once, &'static str, String)>,
    hot: BTreeSet<String>,
    wakes: bool,
    side: PhantomData<Side>,
}

#[derive(PartialEq, Eq, Hash)]
enum Once {
    Removed,
    Uncounted,
    Touched,
    Required,
}

struct Limit {
    resource: String,
    project: String,
    limit: i64,
}

/// A batch as it is carried out.
pub(crate) struct Work {
    pub(crate) steps: Vec<Step>,
    /// Names of what many batches change at once. Those of one process that share one are better not begun at the same time.
    pub(crate) hot: BTreeSet<String>,
    pub(crate) wakes: bool,
}

/// The counter of a project's use of a resource.
pub(crate) fn used(resource: &str, project: &str) -> String {
    format!("used:{resource}:{project}")
}

impl<S> Batch<S> {
    fn new(fence: Option<Step>) -> Self {
        Self {
            fence,
            steps: Vec::new(),
            counts: BTreeMap::new(),
            limits: BTreeMap::new(),
            once: HashSet::new(),
            hot: BTreeSet::new(),
            wakes: false,
            side: PhantomData,
        }
    }

    /// Has batches that change this wait for one another rather than collide.
    pub(crate) fn heat(&mut self, name: String) {
        self.hot.insert(name);
    }

    pub(crate) fn into_work(mut self) -> Work {
        let mut steps: Vec<Step> = self.fence.into_iter().collect();
        for counter in self.limits.keys() {
            self.counts.entry(counter.clone()).or_insert(0);
        }
        for (counter, change) in self.counts {
            let limit = self.limits.remove(&counter);
            if let Some(step) = count(&counter, change, limit) {
                steps.push(step);
                if change != 0 {
                    self.hot.insert(counter);
                }
            }
        }
        steps.append(&mut self.steps);
        Work { steps, hot: self.hot, wakes: self.wakes }
    }
}

fn count(counter: &str, change: i64, limit: Option<Limit>) -> Option<Step> {
    let upsert =
        "INSERT INTO counter (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value";
    let Some(Limit { resource, project, limit }) = limit else {
        return (change != 0).then(|| Step::any(upsert.into(), vec![Val::from(counter), Val::from(change)]));
    };
    let otherwise = move || StoreError::OverLimit { resource: resource.clone(), project: project.clone(), limit };
    Some(if change == 0 {
        Step::at_most("SELECT value FROM counter WHERE name = $1".into(), vec![Val::from(counter)], limit, otherwise)
    } else {
        Step::at_most(format!("{upsert} RETURNING value"), vec![Val::from(counter), Val::from(change)], limit, otherwise)
    })
}

impl Batch<Wishes> {
    /// An empty batch of the API's side.
    pub fn wishes() -> Self {
        Self::new(None)
    }
}

impl Batch<Facts> {
    /// An empty batch of the engine's side. It fails with [`StoreError::LeaseLost`] unless the lease is still held.
    pub fn facts(claim: &Claim) -> Self {
        Self::new(Some(fence(claim)))
    }

    /// Writes what was seen of an object, provided nobody changed it since it was read.
    #[must_use]
    pub fn observe<K: Kind>(mut self, object: &Object<K>) -> Self {
        let (sets, mut params) = columns::<K>(object, 1);
        let n = params.len();
        params.extend([json(&object.observed), Val::from(object.id.as_str()), Val::from(object.revision)]);
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
}

impl<S> Batch<S> {
    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.fence.is_none() && self.steps.is_empty() && self.counts.is_empty() && self.limits.is_empty()
    }

    /// Stores a new object. One of a kind with [`Kind::USAGE`] counts for its project.
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
            json(&object.desired),
            json(&object.observed),
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
        self = self.linked(object);
        if object.deleted_at.is_none() {
            self.used(object, 1);
        }
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
            json(&object.desired),
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
        if !K::LINKS.is_empty() {
            // Most changes leave most links as they are: those rows are not touched.
            let kept = links(object).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            let sql = "DELETE FROM link WHERE kind = $1 AND id = $2 AND NOT (name || '=' || value ANY_OF[$3])";
            self.steps.push(Step::any(sql.into(), vec![Val::from(K::NAME), Val::from(object.id.as_str()), Val::List(kept)]));
            self = self.linked(object);
        }
        self
    }

    /// Counts an object as changed, whatever its revision: its generation and revision grow by one. Fails with [`StoreError::Stale`] if
    /// it is not there or its removal was asked for. Asked for twice in a batch it is done once.
    #[must_use]
    pub fn touch<K: Kind>(mut self, id: &Id<K>) -> Self {
        if !self.once.insert((Once::Touched, K::NAME, id.to_string())) {
            return self;
        }
        let sql = format!(
            "UPDATE {} SET generation = generation + 1, revision = revision + 1, updated_at = $1 WHERE id = $2 AND deleted_at IS NULL",
            table::<K>()
        );
        self.there(id, sql, vec![Val::from(Timestamp::now().0), Val::from(id.as_str())])
    }

    /// Asks for an object's removal: the engine releases what it holds and then removes it. It does not count for its project any more.
    #[must_use]
    pub fn mark_deleted<K: Kind>(mut self, object: &Object<K>) -> Self {
        let sql = format!(
            "UPDATE {} SET deleted_at = $1, generation = generation + 1, revision = revision + 1 WHERE id = $2 AND revision = $3",
            table::<K>()
        );
        let params = vec![Val::from(Timestamp::now().0), Val::from(object.id.as_str()), Val::from(object.revision)];
        self.steps.push(Step::one(sql, params, stale(object)));
        self.unused(object);
        self
    }

    /// Removes an object, provided nobody changed it since it was read. Removing it twice in a batch is removing it once.
    #[must_use]
    pub fn remove<K: Kind>(mut self, object: &Object<K>) -> Self {
        if !self.once.insert((Once::Removed, K::NAME, object.id.to_string())) {
            return self;
        }
        let sql = format!("DELETE FROM {} WHERE id = $1 AND revision = $2", table::<K>());
        self.steps.push(Step::one(sql, vec![Val::from(object.id.as_str()), Val::from(object.revision)], stale(object)));
        if !K::LINKS.is_empty() {
            let sql = "DELETE FROM link WHERE kind = $1 AND id = $2";
            self.steps.push(Step::any(sql.into(), vec![Val::from(K::NAME), Val::from(object.id.as_str())]));
        }
        self.unused(object);
        self
    }

    /// Holds only if no object of kind `K`, removed or not, has `value` among its links of that name (one of [`Kind::LINKS`]; of any
    /// other name it never holds).
    #[must_use]
    pub fn unless_linked<K: Kind>(self, name: &'static str, value: &str) -> Self {
        self.unless_linked_but::<K>(name, value, &[])
    }

    /// [`Batch::unless_linked`], whatever links the objects with these ids have.
    #[must_use]
    pub fn unless_linked_but<K: Kind>(mut self, name: &'static str, value: &str, except_ids: &[String]) -> Self {
        let mut params = vec![Val::from(K::NAME), Val::from(name), Val::from(value)];
        let sql = if !K::LINKS.iter().any(|link| link.name == name) {
            params.clear();
            "SELECT 1"
        } else if except_ids.is_empty() {
            "SELECT 1 FROM link WHERE kind = $1 AND name = $2 AND value = $3 LIMIT 1"
        } else {
            params.push(Val::List(except_ids.to_vec()));
            "SELECT 1 FROM link WHERE kind = $1 AND name = $2 AND value = $3 AND NOT (id ANY_OF[$4]) LIMIT 1"
        };
        self.steps.push(Step::none(sql.into(), params, move || StoreError::Referenced { kind: K::NAME, column: name }));
        self
    }

    /// Holds only if, after this batch, the project uses at most `limit` of a resource (see [`Kind::USAGE`]); a negative limit is none.
    /// Else it fails with [`StoreError::OverLimit`].
    #[must_use]
    pub fn within(mut self, resource: &str, project: &str, limit: i64) -> Self {
        if limit >= 0 {
            let asked = || Limit { resource: resource.to_owned(), project: project.to_owned(), limit };
            let known = self.limits.entry(used(resource, project)).or_insert_with(asked);
            known.limit = known.limit.min(limit);
        }
        self
    }

    /// Writes the link rows of an object that are not there.
    pub(crate) fn linked<K: Kind>(mut self, object: &Object<K>) -> Self {
        let links = links(object);
        for some in links.chunks(32) {
            let mut params = vec![Val::from(K::NAME)];
            let mut rows = Vec::new();
            let repeats = some.last().into_iter().cycle();
            // As many rows as the next power of two, so that few different statements are prepared.
            for (at, (name, value)) in some.iter().chain(repeats).take(some.len().next_power_of_two()).enumerate() {
                params.extend([Val::from(*name), Val::from(value.as_str())]);
                let last = params.len();
                if at == 0 {
                    params.push(Val::from(object.id.as_str()));
                }
                rows.push(format!("($1, ${}, ${last}, $4)", last - 1));
            }
            let sql = format!(
                "INSERT INTO link (kind, name, value, id) VALUES {} ON CONFLICT (kind, name, value, id) DO NOTHING",
                rows.join(", ")
            );
            self.steps.push(Step::any(sql, params));
        }
        self
    }

    /// Counts an object for its project.
    fn used<K: Kind>(&mut self, object: &Object<K>, change: i64) {
        if let (Some(resource), Some(project)) = (K::USAGE, &object.project_id) {
            *self.counts.entry(used(resource, project.as_str())).or_insert(0) += change;
        }
    }

    /// Takes an object off its project's count, unless it was taken off before.
    fn unused<K: Kind>(&mut self, object: &Object<K>) {
        if object.deleted_at.is_none() && self.once.insert((Once::Uncounted, K::NAME, object.id.to_string())) {
            self.used(object, -1);
        }
    }

    fn there<K: Kind>(mut self, id: &Id<K>, sql: String, params: Vec<Val>) -> Self {
        self.hot.insert(format!("{}/{id}", K::NAME));
        let id = id.to_string();
        self.steps.push(Step::one(sql, params, move || StoreError::Stale { kind: K::NAME, id: id.clone() }));
        self
    }

    /// Holds only if no object of kind `K`, removed or not, has `value` in `column` (one of [`Kind::COLUMNS`]).
    #[must_use]
    pub fn unless_referenced<K: Kind>(mut self, column: &'static str, value: &str) -> Self {
        let sql = format!("SELECT 1 FROM {} WHERE c_{column} = $1 LIMIT 1", table::<K>());
        self.steps.push(Step::none(sql, vec![Val::from(value)], move || StoreError::Referenced { kind: K::NAME, column }));
        self
    }

    /// [`Batch::unless_referenced`] by an object whose removal nobody asked for.
    #[must_use]
    pub fn unless_referenced_by_living<K: Kind>(mut self, column: &'static str, value: &str) -> Self {
        let sql = format!("SELECT 1 FROM {} WHERE c_{column} = $1 AND deleted_at IS NULL LIMIT 1", table::<K>());
        self.steps.push(Step::none(sql, vec![Val::from(value)], move || StoreError::Referenced { kind: K::NAME, column }));
        self
    }

    /// Holds only if the object is there and nobody asked for its removal. Takes part in conflicts like a write of it would.
    #[must_use]
    pub fn require<K: Kind>(mut self, id: &Id<K>) -> Self {
        if !self.once.insert((Once::Required, K::NAME, id.to_string())) {
            return self;
        }
        let sql = format!("UPDATE {} SET revision = revision WHERE id = $1 AND deleted_at IS NULL", table::<K>());
        self.there(id, sql, vec![Val::from(id.as_str())])
    }

    /// Counts a counter up: whoever remembers what it was knows that something changed.
    #[must_use]
    pub fn bump(mut self, counter: &str) -> Self {
        *self.counts.entry(counter.to_owned()).or_insert(0) += 1;
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
        let sql = "INSERT INTO work (kind, id, due_at, wakes, worker, lease_until, epoch, attempts) VALUES ($1, $2, FROM_NOW($3), 1, NULL, 0, 0, 0) \
                   ON CONFLICT (kind, id) DO UPDATE SET wakes = work.wakes + 1, \
                   due_at = CASE WHEN work.due_at < excluded.due_at THEN work.due_at ELSE excluded.due_at END";
        self.steps.push(Step::any(sql.into(), vec![Val::from(kind), Val::from(id), Val::FromNow(0)]));
        self.wakes = true;
        self
    }

    /// Adds a line to an object's history.
    #[must_use]
    pub fn history<K: Kind>(self, id: &Id<K>, severity: Severity, event: &str, detail: &Value) -> Self {
        self.history_of(K::NAME, id.as_str(), severity, event, detail)
    }

    /// [`Batch::history`] by name.
    pub(crate) fn history_of(mut self, kind: &str, id: &str, severity: Severity, event: &str, detail: &Value) -> Self {
        let sql = "INSERT INTO history (id, kind, object_id, at, severity, event, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let params = vec![
            Val::from(Id::<()>::random().as_str()),
            Val::from(kind),
            Val::from(id),
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

pub(crate) fn json(value: &impl serde::Serialize) -> Val {
    // Our own types are maps with text keys: writing them cannot fail. A NULL would be refused by the column, not stored.
    serde_json::to_string(value).map_or(Val::NoText, Val::Text)
}

fn columns<K: Kind>(object: &Object<K>, from: usize) -> (String, Vec<Val>) {
    let sets = K::COLUMNS.iter().enumerate().map(|(at, column)| format!("c_{} = ${}, ", column.name, from + at)).collect();
    (sets, K::COLUMNS.iter().map(|column| Val::from((column.value)(object))).collect())
}

/// Names and values of an object's links, each pair once.
fn links<K: Kind>(object: &Object<K>) -> Vec<(&'static str, String)> {
    let all = K::LINKS.iter().flat_map(|link| (link.values)(object).into_iter().map(|value| (link.name, value)));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn stale<K: Kind>(object: &Object<K>) -> impl Fn() -> StoreError + Send + Sync + 'static {
    let id = object.id.to_string();
    move || StoreError::Stale { kind: K::NAME, id: id.clone() }
}
