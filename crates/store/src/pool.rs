//! Pools of values, of which each has one holder at most.
//!
//! Of a *tracked* pool the lowest free value is found without a walk over what is held. Beside its held values there are
//!
//! * hints: rows `(first, upto)`, both inclusive, in the keys of the pool. Whatever lies between is held or a hole.
//! * holes: values that are free. One that is let go becomes a hole if it lies within a hint; one that is held is a hole no more.
//!
//! So the lowest free value of a range is the lowest hole within the hint that covers the range's start, else it is found above that
//! hint; there [`crate::pick`] walks, and moves the hint when the way grew long. A hint is true whatever ranges are asked for, so that
//! these may change at any time. Keys of a pool have one length, so that they sort as their numbers do.

use model::Timestamp;

use crate::batch::{Batch, Facts};
use crate::sql::{Row, Step, Val};
use crate::{Store, StoreError};

/// Pools with these beginnings are tracked whoever holds and frees their values.
const TRACKED: [&str; 4] = ["ip:", "seg:", "vlan:", "subnetpool:"];

/// A value held from a pool by somebody; the pool's values are unique, which is what keeps two holders apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The pool, such as `vlan:physnet1` or `ip:<subnet id>`.
    pub pool: String,
    /// The value.
    pub value: String,
    /// Who holds it.
    pub holder: String,
    /// When it was released; it stays taken until it is freed.
    pub quarantined_at: Option<Timestamp>,
}

/// The name under which batches that change a tracked pool wait for one another.
pub(crate) fn heat(pool: &str) -> String {
    format!("pool {pool}")
}

fn is_tracked(pool: &str) -> bool {
    TRACKED.iter().any(|start| pool.starts_with(start))
}

impl Batch<Facts> {
    /// Puts a held value in quarantine: nobody holds it, nobody can have it.
    #[must_use]
    pub fn quarantine(mut self, pool: &str, value: &str, at: Timestamp) -> Self {
        let sql = "UPDATE allocation SET quarantined_at = $1 WHERE pool = $2 AND value = $3 AND quarantined_at IS NULL";
        self.steps.push(Step::any(sql.into(), vec![Val::from(at.0), Val::from(pool), Val::from(value)]));
        self
    }
}

impl<S> Batch<S> {
    /// Takes a value from a pool; fails with [`StoreError::Taken`] if anybody has it or it is in quarantine. Pools whose names begin
    /// with `ip:`, `seg:`, `vlan:` or `subnetpool:` are tracked, see [`Store::pick`].
    #[must_use]
    pub fn hold(self, pool: &str, value: &str, holder: &str) -> Self {
        if is_tracked(pool) { self.take(pool, value, holder) } else { self.insert(pool, value, holder) }
    }

    /// [`Batch::hold`] of a tracked pool, whatever its name. Its values are given back by [`Batch::give_back`].
    #[must_use]
    pub fn take(mut self, pool: &str, value: &str, holder: &str) -> Self {
        self.heat(heat(pool));
        let mut batch = self.insert(pool, value, holder);
        let sql = "DELETE FROM hole WHERE pool = $1 AND value = $2";
        batch.steps.push(Step::any(sql.into(), vec![Val::from(pool), Val::from(value)]));
        batch
    }

    fn insert(mut self, pool: &str, value: &str, holder: &str) -> Self {
        let sql =
            "INSERT INTO allocation (pool, value, holder, quarantined_at) VALUES ($1, $2, $3, NULL) ON CONFLICT (pool, value) DO NOTHING";
        let (pool, value) = (pool.to_owned(), value.to_owned());
        let params = vec![Val::from(pool.as_str()), Val::from(value.as_str()), Val::from(holder)];
        self.steps.push(Step::one(sql.into(), params, move || StoreError::Taken { pool: pool.clone(), value: value.clone() }));
        self
    }

    /// Gives a value back to its pool.
    #[must_use]
    pub fn free(self, pool: &str, value: &str) -> Self {
        self.delete(pool, "value", value, is_tracked(pool))
    }

    /// [`Batch::free`] of a tracked pool, whatever its name.
    #[must_use]
    pub fn give_back(self, pool: &str, value: &str) -> Self {
        self.delete(pool, "value", value, true)
    }

    /// Gives back all that a holder holds of a pool.
    #[must_use]
    pub fn free_held(self, pool: &str, holder: &str) -> Self {
        self.delete(pool, "holder", holder, is_tracked(pool))
    }

    fn delete(mut self, pool: &str, column: &str, is: &str, tracked: bool) -> Self {
        let params = || vec![Val::from(pool), Val::from(is)];
        if tracked {
            self.heat(heat(pool));
            let sql = format!(
                "INSERT INTO hole (pool, value) SELECT a.pool, a.value FROM allocation a WHERE a.pool = $1 AND a.{column} = $2 AND EXISTS \
                 (SELECT 1 FROM hint h WHERE h.pool = a.pool AND h.first <= a.value AND h.upto >= a.value) ON CONFLICT (pool, value) DO NOTHING"
            );
            self.steps.push(Step::any(sql, params()));
        }
        self.steps.push(Step::any(format!("DELETE FROM allocation WHERE pool = $1 AND {column} = $2"), params()));
        self
    }

    /// Frees all of a pool and what is remembered about it. For when what the pool belongs to goes away, such as a subnet.
    #[must_use]
    pub fn forget_pool(mut self, pool: &str) -> Self {
        self.heat(heat(pool));
        for table in ["allocation", "hole", "hint"] {
            self.steps.push(Step::any(format!("DELETE FROM {table} WHERE pool = $1"), vec![Val::from(pool)]));
        }
        self
    }
}

impl Store {
    /// All of a pool that is held, in the order of the values.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn allocations(&self, pool: &str) -> Result<Vec<Allocation>, StoreError> {
        let sql = "SELECT pool, value, holder, quarantined_at FROM allocation WHERE pool = $1 ORDER BY value";
        Ok(self.backend.query(sql.into(), vec![Val::from(pool)]).await?.into_iter().map(allocation).collect())
    }

    /// All that is held of these pools: pool and value, in no order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn held(&self, pools: Vec<String>) -> Result<Vec<(String, String)>, StoreError> {
        if pools.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT pool, value FROM allocation WHERE pool ANY_OF[$1]";
        let rows = self.backend.query(sql.into(), vec![Val::List(pools)]).await?;
        Ok(rows.into_iter().map(|row| (row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default())).collect())
    }

    /// One value of a pool, if held.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn allocation(&self, pool: &str, value: &str) -> Result<Option<Allocation>, StoreError> {
        let sql = "SELECT pool, value, holder, quarantined_at FROM allocation WHERE pool = $1 AND value = $2";
        let rows = self.backend.query_short(sql.into(), vec![Val::from(pool), Val::from(value)]).await?;
        Ok(rows.into_iter().next().map(allocation))
    }

    /// The smallest value of `candidates` (ascending) that nobody holds, of a small pool: all that is held is read. Holding it may
    /// still meet [`StoreError::Taken`]: ask again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn first_free(&self, pool: &str, candidates: impl Iterator<Item = String>) -> Result<Option<String>, StoreError> {
        let held: std::collections::HashSet<String> = self.allocations(pool).await?.into_iter().map(|it| it.value).collect();
        Ok(candidates.into_iter().find(|it| !held.contains(it)))
    }
}

fn allocation(mut row: Row) -> Allocation {
    Allocation {
        pool: row.take(0).unwrap_or_default(),
        value: row.take(1).unwrap_or_default(),
        holder: row.take(2).unwrap_or_default(),
        quarantined_at: row.int(3).map(Timestamp),
    }
}
