//! One shape for every resource: identity, what is wanted, what was seen.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::Project;
use crate::{Id, Timestamp};

/// A kind of resource: its table, what users may want of it and what the engine may see of it.
pub trait Kind: Sized + Send + Sync + 'static {
    /// Its name in the work queue, in history and as table name.
    const NAME: &'static str;
    /// What is wanted. Written by the API, and for children by their owner's reconciler.
    type Desired: Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static;
    /// What was seen. Written by the engine alone.
    type Observed: Clone + Debug + Default + Send + Sync + Serialize + DeserializeOwned + 'static;
    /// Columns beside the fixed ones, for filters.
    const COLUMNS: &'static [Column<Self>];
    /// Those of [`Kind::COLUMNS`] that have no index: nearly all objects have the same few values there, so that one would find too many
    /// to be of use, and be one more to write.
    const SCANNED: &'static [&'static str] = &[];
    /// Values of which an object has many, for filters and for knowing who refers to what: a port's addresses, its tags.
    const LINKS: &'static [Link<Self>] = &[];
    /// The resource as which objects of this kind are counted for each project, such as `port`; `None`: they are not counted. Those
    /// whose removal was asked for are not counted any more. The project of a counted object does not change.
    const USAGE: Option<&'static str> = None;

    /// Whether the engine may have something to do for such an object: only then it need look at one that was made or changed.
    fn has_work(object: &Object<Self>) -> bool {
        let _ = object;
        false
    }
}

/// Many values of an object under one name, computed from what is wanted of it whenever that is written.
pub struct Link<K: Kind> {
    /// What the values are to the object, such as `ip_address`; no `=` in it.
    pub name: &'static str,
    /// The values; repeats count once.
    pub values: fn(&Object<K>) -> Vec<String>,
}

/// A filterable column whose value is computed from the object whenever it is written.
pub struct Column<K: Kind> {
    /// Name of the column.
    pub name: &'static str,
    /// Its value.
    pub value: fn(&Object<K>) -> Option<String>,
}

/// One resource as stored.
pub struct Object<K: Kind> {
    /// Its id.
    pub id: Id<K>,
    /// The project that owns it; identity's own objects and the fabric's have none.
    pub project_id: Option<Id<Project>>,
    /// Its name; may be empty and need not be unique unless an allocation makes it so.
    pub name: String,
    /// What is wanted.
    pub desired: K::Desired,
    /// What was seen.
    pub observed: K::Observed,
    /// Grows when `desired` changes.
    pub generation: i64,
    /// Grows at any change; writes are refused if it moved meanwhile.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its `desired` last changed after that.
    pub updated_at: Option<Timestamp>,
    /// When its removal was asked for. It exists until everything it holds was seen released.
    pub deleted_at: Option<Timestamp>,
}

impl<K: Kind> Clone for Object<K> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            project_id: self.project_id.clone(),
            name: self.name.clone(),
            desired: self.desired.clone(),
            observed: self.observed.clone(),
            generation: self.generation,
            revision: self.revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted_at: self.deleted_at,
        }
    }
}

impl<K: Kind> Debug for Object<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(K::NAME)
            .field("id", &self.id)
            .field("name", &self.name)
            .field("desired", &self.desired)
            .field("observed", &self.observed)
            .finish_non_exhaustive()
    }
}

impl<K: Kind> Object<K> {
    /// A new object, not stored yet.
    pub fn new(id: Id<K>, project_id: Option<Id<Project>>, name: impl Into<String>, desired: K::Desired) -> Self {
        Self {
            id,
            project_id,
            name: name.into(),
            desired,
            observed: K::Observed::default(),
            generation: 1,
            revision: 1,
            created_at: Timestamp::now(),
            updated_at: None,
            deleted_at: None,
        }
    }

    /// Whether its removal was asked for.
    pub fn is_deleting(&self) -> bool {
        self.deleted_at.is_some()
    }
}
