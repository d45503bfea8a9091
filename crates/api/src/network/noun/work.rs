//! One attempt at a write: the batch, what was chosen for it, and what a refusal of the store means to the user.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::StatusCode;
use model::{Kind, Object};
use store::{Batch, Picked, StoreError, Wishes};

use super::Noun;
use crate::failure::Failure;
use crate::network::{Ask, quotas};
use crate::race::RACES;

/// What requests of this process wait for one another at.
static TURNS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> = LazyLock::new(Mutex::default);

/// One attempt at a write. When it is lost to somebody else's, a new one is made from what is there then.
pub(crate) struct Work<'a> {
    pub(crate) ask: &'a Ask,
    /// How many attempts were lost before.
    pub(crate) tries: u32,
    batch: Option<Batch<Wishes>>,
    /// What this batch makes, for what is made after it in the same batch.
    made: Vec<Box<dyn Any + Send + Sync>>,
    /// Values chosen for this batch, kept from other requests until it is done.
    picked: Vec<Picked>,
    /// Values picked ahead, the next one last.
    ahead: HashMap<String, Vec<Picked>>,
    /// How many objects, the present one included, this attempt is still to make.
    pub(super) left: usize,
    taken: HashMap<String, HashSet<u128>>,
    /// Resources and projects whose quotas are to be looked at.
    counted: BTreeSet<(&'static str, String)>,
    limits: BTreeMap<(&'static str, String), i64>,
    meanings: Vec<(Refusal, Failure)>,
    known: HashMap<String, Arc<dyn Any + Send + Sync>>,
    turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// What the store may refuse.
enum Refusal {
    /// A value that was asked for is taken: by the beginning of the pool's name.
    Taken(String),
    /// This very value of the pool is taken.
    ValueTaken(String, String),
    /// Something refers to it: the kind's name and its column or link.
    Referenced(&'static str, &'static str),
    /// It is gone: the kind's name.
    Gone(&'static str),
}

impl<'a> Work<'a> {
    /// An attempt after so many lost ones.
    pub(crate) fn new(ask: &'a Ask, tries: u32) -> Self {
        Self {
            ask,
            tries,
            batch: Some(Batch::wishes()),
            made: Vec::new(),
            picked: Vec::new(),
            ahead: HashMap::new(),
            left: 1,
            taken: HashMap::new(),
            counted: BTreeSet::new(),
            limits: BTreeMap::new(),
            meanings: Vec::new(),
            known: HashMap::new(),
            turn: None,
        }
    }

    /// Adds to the batch.
    pub(crate) fn step(&mut self, add: impl FnOnce(Batch<Wishes>) -> Batch<Wishes>) {
        self.batch = self.batch.take().map(add);
    }

    /// Makes an object that is complete: stores it, has the engine look at it if there may be something to do, remembers it for what is
    /// made after it.
    pub(crate) fn create<K: Kind>(&mut self, object: &Object<K>) {
        self.step(|batch| if K::has_work(object) { batch.create(object).wake(&object.id) } else { batch.create(object) });
        self.made.push(Box::new(object.clone()));
    }

    /// What this batch makes of a kind so far.
    pub(crate) fn made<K: Kind>(&self) -> impl Iterator<Item = &Object<K>> {
        self.made.iter().filter_map(|it| it.downcast_ref())
    }

    /// Changes an object if `after` differs from `before`, and has the engine look at it if there may be something to do. Returns whether
    /// it does.
    pub(crate) fn want<K: Kind>(&mut self, before: &Object<K>, after: &Object<K>) -> bool {
        let text = |it: &Object<K>| serde_json::to_string(&it.desired).ok();
        let differs = before.name != after.name || text(before) != text(after);
        if differs {
            self.step(|batch| if K::has_work(after) { batch.want(after).wake(&after.id) } else { batch.want(after) });
        }
        differs
    }

    /// Has the quota looked at that counts such objects; the store does the counting.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn count<K: Noun>(&mut self, object: &Object<K>) -> Result<(), Failure> {
        if let (Some(resource), Some(project)) = (K::USAGE, &object.project_id) {
            let key = (resource, project.to_string());
            if self.counted.insert(key.clone())
                && let Some(limit) = quotas::limit(self.ask, resource, project).await?
            {
                self.limits.insert(key, limit);
            }
        }
        Ok(())
    }

    /// The lowest free value of a pool within the ranges, not chosen yet in this attempt; none: all are taken. It is to be held by a step
    /// of this batch.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn pick(
        &mut self,
        pool: &str,
        ranges: &[(u128, u128)],
        key: fn(u128) -> String,
        number: fn(&str) -> Option<u128>,
    ) -> Result<Option<u128>, Failure> {
        let taken = self.taken.entry(pool.to_owned()).or_default();
        let ahead = self.ahead.entry(pool.to_owned()).or_default();
        let within = |value: u128| ranges.iter().any(|(start, end)| (*start..=*end).contains(&value));
        loop {
            if ahead.is_empty() {
                let spread = self.tries.saturating_mul(8);
                *ahead = self.ask.app.store.pick_many(pool, ranges, key, number, taken, spread, self.left).await?;
                ahead.reverse();
            }
            let Some(picked) = ahead.pop() else { return Ok(None) };
            let value = picked.value;
            // One that was picked ahead may have been claimed since, or be of another range.
            if within(value) && taken.insert(value) {
                self.picked.push(picked);
                return Ok(Some(value));
            }
        }
    }

    /// A value that was asked for by name is not to be chosen in this attempt. Returns whether it was not chosen before.
    pub(crate) fn claim(&mut self, pool: &str, value: u128) -> bool {
        self.taken.entry(pool.to_owned()).or_default().insert(value)
    }

    /// If a value of a pool whose name begins so turns out to be taken, it was the user's choice: no other will do.
    pub(crate) fn taken_means(&mut self, pool: impl Into<String>, failure: Failure) {
        self.meanings.push((Refusal::Taken(pool.into()), failure));
    }

    /// If this very value of a pool turns out to be taken, it was the user's choice: no other will do.
    pub(crate) fn value_taken_means(&mut self, pool: impl Into<String>, value: impl Into<String>, failure: Failure) {
        self.meanings.push((Refusal::ValueTaken(pool.into(), value.into()), failure));
    }

    /// Waits until no other request of this process is between reading and writing of what that name says, so that they do not spoil one
    /// another's attempts. Only for speed: what other processes do shows when the batch is carried out. To be called before reading; of
    /// several names in one attempt the first counts, so that no two requests wait for each other.
    pub(crate) async fn in_turn(&mut self, name: &str) {
        if self.turn.is_some() {
            return;
        }
        let lock = {
            // Nothing panics while it is locked.
            let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, it| Arc::strong_count(it) > 1);
            Arc::clone(turns.entry(name.to_owned()).or_default())
        };
        self.turn = Some(lock.lock_owned().await);
    }

    /// What was read before in this attempt under that name.
    pub(crate) fn known<T: Send + Sync + 'static>(&self, name: &str) -> Option<Arc<T>> {
        self.known.get(name).and_then(|it| Arc::clone(it).downcast().ok())
    }

    /// Remembers for this attempt what was read, for the next object of the same request.
    pub(crate) fn know<T: Send + Sync + 'static>(&mut self, name: String, it: Arc<T>) -> Arc<T> {
        self.known.insert(name, Arc::clone(&it) as Arc<dyn Any + Send + Sync>);
        it
    }

    /// What it means if a thing of kind `K` refers by that column or link to what is to be removed.
    pub(crate) fn referenced_means<K: Kind>(&mut self, column: &'static str, failure: Failure) {
        self.meanings.push((Refusal::Referenced(K::NAME, column), failure));
    }

    /// What it means if a thing of kind `K` that is required or touched stays gone.
    pub(crate) fn gone_means<K: Kind>(&mut self, failure: Failure) {
        self.meanings.push((Refusal::Gone(K::NAME), failure));
    }

    /// Carries it out. False: the attempt was lost to somebody else's write, make another.
    ///
    /// # Errors
    /// What the store refused, in the user's terms.
    pub(crate) async fn apply(mut self) -> Result<bool, Failure> {
        let mut batch = self.batch.take().unwrap_or_else(Batch::wishes);
        for ((resource, project), limit) in &self.limits {
            batch = batch.within(resource, project, *limit);
        }
        let error = match self.ask.app.store.apply(batch).await {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        let meaning =
            |fits: &dyn Fn(&Refusal) -> bool| self.meanings.iter().find(|(refusal, _)| fits(refusal)).map(|(_, failure)| failure.clone());
        match &error {
            StoreError::OverLimit { resource, .. } => {
                let text = format!("Quota exceeded for resources: ['{resource}'].");
                Err(Failure::named(StatusCode::CONFLICT, "OverQuota", text))
            }
            StoreError::Taken { pool, value } => {
                let fits = |it: &Refusal| match it {
                    Refusal::Taken(prefix) => pool.starts_with(prefix.as_str()),
                    Refusal::ValueTaken(of, one) => pool == of && value == one,
                    Refusal::Referenced(..) | Refusal::Gone(_) => false,
                };
                match meaning(&fits) {
                    Some(failure) => Err(failure),
                    None => self.again(error),
                }
            }
            StoreError::Referenced { kind, column } => {
                match meaning(&|it| matches!(it, Refusal::Referenced(k, c) if k == kind && c == column)) {
                    Some(failure) => Err(failure),
                    None => Err(error.into()),
                }
            }
            StoreError::Stale { kind, .. } if self.tries + 1 >= RACES => match meaning(&|it| matches!(it, Refusal::Gone(k) if k == kind)) {
                Some(failure) => Err(failure),
                None => Err(error.into()),
            },
            _ => self.again(error),
        }
    }

    fn again(&self, error: StoreError) -> Result<bool, Failure> {
        if error.is_race() && self.tries < RACES { Ok(false) } else { Err(error.into()) }
    }
}
