//! The tables of the store itself, beside those of the kinds: what is taken from pools, work, history, counters, links.
//!
//! Their rows are small and found by their key, so they lie in it where the database can do that: a row is then on one page, not on one of
//! the table and another of the key. With most changes rows of these are written, and each page is a good part of what a write costs.

use crate::backend::Dialect;

/// What a column holds.
#[derive(Clone, Copy)]
enum Of {
    Text,
    MaybeText,
    Int,
    MaybeInt,
}

/// A table.
pub(crate) struct Own {
    pub(crate) name: &'static str,
    columns: &'static [(&'static str, Of)],
    key: &'static str,
    /// Its other index, and the columns of that.
    index: Option<(&'static str, &'static str)>,
}

pub(crate) const ALLOCATION: Own = Own {
    name: "allocation",
    columns: &[("pool", Of::Text), ("value", Of::Text), ("holder", Of::Text), ("quarantined_at", Of::MaybeInt)],
    key: "pool, value",
    index: Some(("allocation_holder", "holder")),
};

pub(crate) const WORK: Own = Own {
    name: "work",
    columns: &[
        ("kind", Of::Text),
        ("id", Of::Text),
        ("due_at", Of::Int),
        ("wakes", Of::Int),
        ("worker", Of::MaybeText),
        ("lease_until", Of::Int),
        ("epoch", Of::Int),
        ("attempts", Of::Int),
    ],
    key: "kind, id",
    index: Some(("work_due", "due_at")),
};

/// The lines of an object lie together.
pub(crate) const HISTORY: Own = Own {
    name: "history",
    columns: &[
        ("id", Of::Text),
        ("kind", Of::Text),
        ("object_id", Of::Text),
        ("at", Of::Int),
        ("severity", Of::Text),
        ("event", Of::Text),
        ("detail", Of::Text),
    ],
    key: "kind, object_id, at, id",
    index: None,
};

pub(crate) const SETTING: Own = Own { name: "setting", columns: &[("key", Of::Text), ("value", Of::Text)], key: "key", index: None };

pub(crate) const COUNTER: Own = Own { name: "counter", columns: &[("name", Of::Text), ("value", Of::Int)], key: "name", index: None };

/// What is remembered of pools: values that were given back.
pub(crate) const HOLE: Own = Own { name: "hole", columns: &[("pool", Of::Text), ("value", Of::Text)], key: "pool, value", index: None };

/// What is remembered of pools: how far they are taken.
pub(crate) const HINT: Own =
    Own { name: "hint", columns: &[("pool", Of::Text), ("first", Of::Text), ("upto", Of::Text)], key: "pool, first", index: None };

/// Values of which an object has many.
pub(crate) const LINK: Own = Own {
    name: "link",
    columns: &[("kind", Of::Text), ("name", Of::Text), ("value", Of::Text), ("id", Of::Text)],
    key: "kind, name, value, id",
    index: Some(("link_object", "kind, id, name, value")),
};

pub(crate) const ALL: [&Own; 8] = [&ALLOCATION, &WORK, &HISTORY, &SETTING, &COUNTER, &HOLE, &HINT, &LINK];

impl Own {
    /// The table and its index, if they are not there.
    pub(crate) fn ddl(&self, text: Dialect) -> Vec<String> {
        let mut ddl = vec![self.table(self.name, text)];
        ddl.extend(self.index());
        ddl
    }

    fn table(&self, name: &str, text: Dialect) -> String {
        let column = |(name, of): &(&str, Of)| match of {
            Of::Text => format!("{name} {text} NOT NULL"),
            Of::MaybeText => format!("{name} {text}"),
            Of::Int => format!("{name} BIGINT NOT NULL"),
            Of::MaybeInt => format!("{name} BIGINT"),
        };
        let columns = self.columns.iter().map(column).collect::<Vec<_>>().join(", ");
        format!("CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY ({})){}", self.key, text.clustered())
    }

    fn index(&self) -> Option<String> {
        self.index.map(|(index, columns)| format!("CREATE INDEX IF NOT EXISTS {index} ON {} ({columns})", self.name))
    }

    /// Makes the table anew as it is today, with all that is in it: how a table lies cannot be changed.
    pub(crate) fn anew(&self, text: Dialect) -> Vec<String> {
        let (name, new) = (self.name, format!("{}_anew", self.name));
        let columns = self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let mut ddl = vec![
            self.table(&new, text),
            format!("INSERT INTO {new} ({columns}) SELECT {columns} FROM {name}"),
            format!("DROP TABLE {name}"),
            format!("ALTER TABLE {new} RENAME TO {name}"),
        ];
        ddl.extend(self.index());
        ddl
    }
}
