//! Objects that stay in memory once they were read, for lists that are long and asked often.
//!
//! Nothing is ever told that something changed, so nothing can be missed: each list asks the database which objects are in it and at
//! which revision each is, in one statement, and only what is here at that very revision is taken from here. Whoever changed it, in
//! whichever process, is seen; who may see what is decided by the query, as for any list. An id may come back after its removal and its
//! revisions begin anew then, so that a version is known by the moment the object was made, too.
//!
//! Beside an object lies what was rendered of it, under names that the renderer chooses; it goes when the object does.

use std::any::Any;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Kind, Object};

use crate::query::Query;
use crate::sql::Row;
use crate::{Store, StoreError};

/// What objects of one kind may weigh in memory, in bytes, by a high estimate.
const MOST: usize = 128 << 20;
/// What an object weighs beside its documents and what is rendered of it.
const SELF: usize = 1024;
/// What rendered forms of an object may weigh together.
const VIEWS: usize = 8192;
/// How many there may be.
const VIEW_COUNT: usize = 4;

/// An object as it was at some revision, and what was rendered of it.
pub struct Seen<K: Kind> {
    object: Object<K>,
    views: Mutex<Vec<View>>,
    weight: usize,
}

struct View {
    name: Arc<str>,
    bytes: Arc<[u8]>,
}

impl<K: Kind> Deref for Seen<K> {
    type Target = Object<K>;

    fn deref(&self) -> &Object<K> {
        &self.object
    }
}

impl<K: Kind> Seen<K> {
    /// From a row as [`Query::render`] asks for it.
    fn read(row: Row) -> Result<Arc<Self>, StoreError> {
        // What is parsed takes about twice what is written.
        let weight = SELF + VIEWS + 2 * row.weight();
        let object = crate::query::object::<K>(row)?;
        Ok(Arc::new(Self { object, views: Mutex::new(Vec::new()), weight }))
    }

    fn version(&self) -> Version<'_> {
        Version { id: self.object.id.as_str(), revision: self.object.revision, created_at: self.object.created_at.0 }
    }

    /// The object as `render` writes it. What was rendered under this name before is not rendered again: all that the outcome depends on
    /// but the object itself must be in the name.
    pub fn view(&self, name: &Arc<str>, render: impl FnOnce(&Object<K>) -> Vec<u8>) -> Arc<[u8]> {
        if let Some(view) = locked(&self.views).iter().find(|it| it.name == *name) {
            return Arc::clone(&view.bytes);
        }
        let bytes: Arc<[u8]> = render(&self.object).into();
        let mut views = locked(&self.views);
        let weight = |views: &[View]| views.iter().map(|it| it.bytes.len() + it.name.len()).sum::<usize>();
        while !views.is_empty() && (views.len() >= VIEW_COUNT || weight(&views) + bytes.len() + name.len() > VIEWS) {
            views.remove(0);
        }
        if bytes.len() + name.len() <= VIEWS {
            views.push(View { name: Arc::clone(name), bytes: Arc::clone(&bytes) });
        }
        bytes
    }
}

/// Which object at which revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version<'a> {
    id: &'a str,
    revision: i64,
    created_at: i64,
}

fn version(row: &Row) -> Option<Version<'_>> {
    Some(Version { id: row.str(0)?, revision: row.int(1)?, created_at: row.int(2)? })
}

/// All that is in memory, by kind.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<&'static str, Arc<dyn Any + Send + Sync>>>);

impl Memory {
    fn shelf<K: Kind>(&self) -> Arc<Shelf<K>> {
        let mut shelves = locked(&self.0);
        let shelf = Arc::clone(shelves.entry(K::NAME).or_insert_with(|| Arc::new(Shelf::<K>::default())));
        // Names of kinds are their tables' names: no two kinds share one. If they did nothing would be remembered of the second.
        shelf.downcast().unwrap_or_default()
    }
}

/// What is in memory of one kind, in two generations: what is used moves to the young one, and when that weighs half of what is allowed
/// the old one is forgotten whole and the young one becomes it. So the least recently used goes, and no use costs more than a move.
struct Shelf<K: Kind>(Mutex<Generations<K>>);

struct Generations<K: Kind> {
    young: HashMap<String, Arc<Seen<K>>>,
    old: HashMap<String, Arc<Seen<K>>>,
    /// Of the young ones.
    weight: usize,
    most: usize,
}

impl<K: Kind> Default for Shelf<K> {
    fn default() -> Self {
        Self(Mutex::new(Generations::new(MOST)))
    }
}

impl<K: Kind> Generations<K> {
    fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0, most }
    }

    fn keep(&mut self, seen: &Arc<Seen<K>>) {
        let before = self.young.insert(seen.id.to_string(), Arc::clone(seen));
        self.weight = (self.weight + seen.weight).saturating_sub(before.map_or(0, |it| it.weight));
        if self.weight > self.most / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
    }

    fn recall(&mut self, version: Version<'_>) -> Option<Arc<Seen<K>>> {
        if let Some(seen) = self.young.get(version.id) {
            return (seen.version() == version).then(|| Arc::clone(seen));
        }
        let seen = self.old.remove(version.id).filter(|it| it.version() == version)?;
        self.keep(&seen);
        Some(seen)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is put there whole: a panic elsewhere leaves nothing half done in it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// [`Store::list`] for lists that are asked often: of what did not change since it was read last only the revision is read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list_seen<K: Kind>(&self, query: &Query<K>) -> Result<Vec<Arc<Seen<K>>>, StoreError> {
        let shelf = self.memory.shelf::<K>();
        let is_empty = {
            let shelf = locked(&shelf.0);
            shelf.young.is_empty() && shelf.old.is_empty()
        };
        if !is_empty && let Some(found) = self.recalled(&shelf, query).await? {
            return Ok(found);
        }
        let (sql, params) = query.render();
        self.read_seen(&shelf, query, sql, params).await
    }

    async fn read_seen<K: Kind>(
        &self,
        shelf: &Shelf<K>,
        query: &Query<K>,
        sql: String,
        params: Vec<crate::sql::Val>,
    ) -> Result<Vec<Arc<Seen<K>>>, StoreError> {
        let mut rows = self.backend.query(sql, params).await?;
        if query.is_backwards() {
            rows.reverse();
        }
        let all = rows.into_iter().map(Seen::read).collect::<Result<Vec<_>, _>>()?;
        let mut shelf = locked(&shelf.0);
        all.iter().for_each(|seen| shelf.keep(seen));
        Ok(all)
    }

    /// The list by revisions; `None`: too little of it is in memory, or something changed between one statement and the next. Then the
    /// whole is read by one, so that a list is always what was there at one moment.
    async fn recalled<K: Kind>(&self, shelf: &Shelf<K>, query: &Query<K>) -> Result<Option<Vec<Arc<Seen<K>>>>, StoreError> {
        let (sql, params) = query.render_versions();
        let mut rows = self.backend.query(sql, params).await?;
        if query.is_backwards() {
            rows.reverse();
        }
        let Some(versions) = rows.iter().map(version).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let mut found: Vec<Option<Arc<Seen<K>>>> = {
            let mut shelf = locked(&shelf.0);
            versions.iter().map(|it| shelf.recall(*it)).collect()
        };
        let missing: Vec<String> = versions.iter().zip(&found).filter(|it| it.1.is_none()).map(|it| it.0.id.to_owned()).collect();
        if missing.len() * 2 > versions.len() {
            return Ok(None);
        }
        if !missing.is_empty() {
            let by_id = Query::<K>::new().with_deleted().ids(missing);
            let (sql, params) = by_id.render();
            let fresh = self.read_seen(shelf, &by_id, sql, params).await?;
            let fresh: HashMap<&str, &Arc<Seen<K>>> = fresh.iter().map(|it| (it.id.as_str(), it)).collect();
            for (version, slot) in versions.iter().zip(&mut found).filter(|it| it.1.is_none()) {
                match fresh.get(version.id).filter(|it| it.version() == *version) {
                    Some(seen) => *slot = Some(Arc::clone(seen)),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(found.into_iter().flatten().collect()))
    }
}

#[cfg(test)]
mod tests {
    use model::baremetal::{Node, NodeDesired};
    use model::{Id, Object, Timestamp};

    use super::*;

    fn seen(number: i64, revision: i64) -> Arc<Seen<Node>> {
        let mut object = Object::<Node>::new(Id::parse(&format!("n{number}")).unwrap(), None, "", NodeDesired::default());
        object.revision = revision;
        object.created_at = Timestamp(7);
        Arc::new(Seen { object, views: Mutex::default(), weight: 10 })
    }

    fn recalled(all: &mut Generations<Node>, number: i64) -> bool {
        all.recall(Version { id: &format!("n{number}"), revision: 1, created_at: 7 }).is_some()
    }

    #[test]
    fn what_is_used_stays_and_no_more_than_is_allowed() {
        let mut all = Generations::new(200);
        for number in 0..1000 {
            all.keep(&seen(number, 1));
            assert!(recalled(&mut all, 0), "used all the time, {number}");
            assert!(all.young.len() + all.old.len() <= 22, "{} and {}", all.young.len(), all.old.len());
        }
        assert!(recalled(&mut all, 999) && !recalled(&mut all, 500));
        // The same again and again weighs what one does.
        let mut all = Generations::new(200);
        (0..1000).for_each(|_| all.keep(&seen(1, 1)));
        assert_eq!((all.weight, all.young.len(), all.old.len()), (10, 1, 0));
    }

    #[test]
    fn other_versions_are_not_taken() {
        let mut all = Generations::new(200);
        all.keep(&seen(1, 2));
        for (revision, created_at, is) in [(2, 7, true), (1, 7, false), (3, 7, false), (2, 8, false)] {
            assert_eq!(all.recall(Version { id: "n1", revision, created_at }).is_some(), is, "{revision} {created_at}");
        }
    }

    #[test]
    fn views_are_few_and_small() {
        let it = seen(1, 1);
        let render = |name: &str, length: usize| it.view(&name.into(), |_| vec![b'x'; length]).len();
        for number in 0..100 {
            assert_eq!(render(&number.to_string(), 3000), 3000);
            let views = locked(&it.views);
            assert!(views.len() <= VIEW_COUNT && views.iter().map(|it| it.bytes.len()).sum::<usize>() <= VIEWS);
        }
        assert_eq!(render("huge", VIEWS + 1), VIEWS + 1);
        assert_eq!(render("huge", 5), 5, "what is too large is not kept");
        assert_eq!(render("huge", 6), 5);
    }
}
