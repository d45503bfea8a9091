//! History does not grow for ever: how much there is of each object, and the removal of what is too much.
//!
//! All of it goes along the key of the table, `(kind, object_id, at, id)`: no index is needed for it.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;

use crate::batch::{Batch, Facts, Severity};
use crate::sql::{Step, Val};
use crate::{Store, StoreError};

/// What is noted of an object that was found to be no more; from then on its history is kept for a while.
const GONE: &str = "removed";

/// The history of one object as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOf {
    /// The kind of the object.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// How many lines there are.
    pub lines: u64,
    /// When the last one was written.
    pub newest: Timestamp,
    /// The object is no more.
    pub is_gone: bool,
    /// And that is what the last line says.
    pub is_noted: bool,
}

impl Store {
    /// The histories that come after that one (kind and id), `count` at most, in the order of kinds and ids.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn histories(&self, after: Option<(&str, &str)>, count: u32) -> Result<Vec<HistoryOf>, StoreError> {
        let (kind, id) = after.unwrap_or_default();
        let sql = format!(
            "SELECT kind, object_id, COUNT(*), MAX(at) FROM history WHERE (kind, object_id) > ($1, $2) \
             GROUP BY kind, object_id ORDER BY kind, object_id LIMIT {count}"
        );
        let rows = self.backend.query(sql, vec![Val::from(kind), Val::from(id)]).await?;
        let mut all: Vec<HistoryOf> = rows
            .into_iter()
            .map(|row| HistoryOf {
                kind: row.text(0).unwrap_or_default(),
                id: row.text(1).unwrap_or_default(),
                lines: row.int(2).and_then(|it| u64::try_from(it).ok()).unwrap_or(0),
                newest: Timestamp(row.int(3).unwrap_or(0)),
                is_gone: false,
                is_noted: false,
            })
            .collect();
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for it in &all {
            ids.entry(it.kind.clone()).or_default().push(it.id.clone());
        }
        let there = self.there(ids).await?;
        for it in all.iter_mut().filter(|it| !there.contains(&(it.kind.clone(), it.id.clone()))) {
            it.is_gone = true;
            it.is_noted = self.history(&it.kind, &it.id, 1).await?.first().is_some_and(|line| line.event == GONE);
        }
        Ok(all)
    }

    /// Which of these objects are in the store, also those that are being removed.
    async fn there(&self, ids: BTreeMap<String, Vec<String>>) -> Result<BTreeSet<(String, String)>, StoreError> {
        let mut there = BTreeSet::new();
        let tables: BTreeSet<String> =
            self.backend.query(self.backend.tables().into(), vec![]).await?.iter().filter_map(|row| row.text(0)).collect();
        for (kind, ids) in ids {
            let table = format!("r_{kind}");
            // A kind that this binary's tables do not have is a newer one's: nothing is known of its objects, so they are left alone.
            if !tables.contains(&table) {
                there.extend(ids.into_iter().map(|id| (kind.clone(), id)));
                continue;
            }
            let rows = self.backend.query(format!("SELECT id FROM {table} WHERE id ANY_OF[$1]"), vec![Val::List(ids)]).await?;
            there.extend(rows.iter().filter_map(|row| Some((kind.clone(), row.text(0)?))));
        }
        Ok(there)
    }
}

impl Batch<Facts> {
    /// Removes the oldest lines of a history, so many of them. What is written meanwhile is younger, and stays.
    #[must_use]
    pub fn trim_history(mut self, of: &HistoryOf, oldest: u32) -> Self {
        let sql = format!(
            "DELETE FROM history WHERE kind = $1 AND object_id = $2 AND (at, id) IN \
             (SELECT at, id FROM history WHERE kind = $1 AND object_id = $2 ORDER BY at, id LIMIT {oldest})"
        );
        self.steps.push(Step::any(sql, vec![Val::from(of.kind.as_str()), Val::from(of.id.as_str())]));
        self
    }

    /// Notes in its history that an object is no more.
    #[must_use]
    pub fn note_gone(self, of: &HistoryOf) -> Self {
        self.history_of(&of.kind, &of.id, Severity::Info, GONE, &serde_json::json!({}))
    }
}
