//! How much there is: for whoever watches over a running control plane.

use crate::sql::Val;
use crate::{Store, StoreError};

/// The pieces of work of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkCount {
    /// The kind.
    pub kind: String,
    /// All of them.
    pub all: i64,
    /// Those that are due and nobody has taken up.
    pub due: i64,
    /// Those that somebody has taken up.
    pub held: i64,
    /// Those that failed the last time.
    pub failing: i64,
}

impl Store {
    /// The work queue, by kind.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn work_counts(&self) -> Result<Vec<WorkCount>, StoreError> {
        let sql = "SELECT kind, COUNT(*), \
                   SUM(CASE WHEN due_at <= FROM_NOW($1) AND (worker IS NULL OR lease_until < FROM_NOW($1)) THEN 1 ELSE 0 END), \
                   SUM(CASE WHEN worker IS NOT NULL AND lease_until >= FROM_NOW($1) THEN 1 ELSE 0 END), \
                   SUM(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) FROM work GROUP BY kind ORDER BY kind";
        let rows = self.backend.query(sql.into(), vec![Val::FromNow(0)]).await?;
        let count = |row: &crate::sql::Row, n| row.int(n).unwrap_or(0);
        let of = |row: crate::sql::Row| WorkCount {
            kind: row.text(0).unwrap_or_default(),
            all: count(&row, 1),
            due: count(&row, 2),
            held: count(&row, 3),
            failing: count(&row, 4),
        };
        Ok(rows.into_iter().map(of).collect())
    }
}
