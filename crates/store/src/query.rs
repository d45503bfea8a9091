//! Queries of one kind of object.

use std::marker::PhantomData;

use model::identity::Project;
use model::{Id, Kind, Object, Timestamp};

use crate::StoreError;
use crate::schema::table;
use crate::sql::{Row, Val};

/// Which objects of a kind are wanted, in what order. By default all that are not being removed, oldest first.
pub struct Query<K: Kind> {
    terms: Vec<(String, Vec<String>)>,
    unset: Vec<String>,
    with_deleted: bool,
    sort: (String, bool),
    marker: Option<Id<K>>,
    limit: Option<u32>,
    kind: PhantomData<K>,
}

impl<K: Kind> Default for Query<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kind> Query<K> {
    /// All that are not being removed.
    pub fn new() -> Self {
        Self {
            terms: Vec::new(),
            unset: Vec::new(),
            with_deleted: false,
            sort: ("created_at".into(), false),
            marker: None,
            limit: None,
            kind: PhantomData,
        }
    }

    /// Also those that are being removed.
    #[must_use]
    pub fn with_deleted(mut self) -> Self {
        self.with_deleted = true;
        self
    }

    /// Only the one with this id.
    #[must_use]
    pub fn id(self, id: &Id<K>) -> Self {
        self.raw("id", vec![id.to_string()])
    }

    /// Only those with one of these ids.
    #[must_use]
    pub fn ids(self, ids: impl IntoIterator<Item = String>) -> Self {
        self.raw("id", ids.into_iter().collect())
    }

    /// Only this project's.
    #[must_use]
    pub fn project(self, id: &Id<Project>) -> Self {
        self.raw("project_id", vec![id.to_string()])
    }

    /// Only those of this name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.raw("name", vec![name.to_owned()])
    }

    /// Only those whose column has one of these values; the column must be one of [`Kind::COLUMNS`], else nothing matches.
    #[must_use]
    pub fn column(self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        match K::COLUMNS.iter().find(|column| column.name == name) {
            Some(column) => self.raw(&format!("c_{}", column.name), values.into_iter().collect()),
            None => self.raw("id", vec![]),
        }
    }

    /// Only those whose column has no value; the column must be one of [`Kind::COLUMNS`], else nothing matches.
    #[must_use]
    pub fn unset(mut self, name: &str) -> Self {
        match K::COLUMNS.iter().find(|column| column.name == name) {
            Some(column) => {
                self.unset.push(format!("c_{}", column.name));
                self
            }
            None => self.raw("id", vec![]),
        }
    }

    /// Sorts by the bytes of `id`, `name`, `created_at`, `updated_at`, `project_id` or a column; none comes
    /// before all values, equals are in the order of their ids, and any other key leaves the order as it is.
    #[must_use]
    pub fn sort(mut self, key: &str, descending: bool) -> Self {
        if ["id", "name", "created_at", "updated_at", "project_id"].contains(&key) {
            self.sort = (key.to_owned(), descending);
        } else if K::COLUMNS.iter().any(|column| column.name == key) {
            self.sort = (format!("c_{key}"), descending);
        }
        self
    }

    /// Only those that come after this one in the order.
    #[must_use]
    pub fn after(mut self, marker: &Id<K>) -> Self {
        self.marker = Some(marker.clone());
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    fn raw(mut self, column: &str, mut values: Vec<String>) -> Self {
        // Nothing stored has a NUL character, and PostgreSQL would take one as a fault.
        values.retain(|value| !value.contains('\0'));
        self.terms.push((column.to_owned(), values));
        self
    }

    fn wheres(&self) -> (String, Vec<Val>) {
        let mut params = Vec::new();
        let mut terms = Vec::new();
        for (column, values) in &self.terms {
            let marks: Vec<String> = values
                .iter()
                .map(|value| {
                    params.push(Val::from(value.as_str()));
                    format!("${}", params.len())
                })
                .collect();
            terms.push(if marks.is_empty() { "1 = 0".to_owned() } else { format!("{column} IN ({})", marks.join(", ")) });
        }
        terms.extend(self.unset.iter().map(|column| format!("{column} IS NULL")));
        if !self.with_deleted {
            terms.push("deleted_at IS NULL".to_owned());
        }
        if let Some(marker) = &self.marker {
            let (key, descending) = (&self.sort.0, self.sort.1);
            params.push(Val::from(marker.as_str()));
            let mark = params.len();
            let table = table::<K>();
            // NULL sorts as the smallest value, as the ORDER BY below says.
            let value = order_value(key);
            let than = if descending { "<" } else { ">" };
            terms.push(format!("({value}, id) {than} (SELECT {value}, id FROM {table} WHERE id = ${mark})"));
        }
        (if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }, params)
    }

    pub(crate) fn render(&self) -> (String, Vec<Val>) {
        let (wheres, params) = self.wheres();
        let direction = if self.sort.1 { "DESC" } else { "ASC" };
        let limit = self.limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let sql = format!(
            "SELECT id, project_id, name, generation, revision, created_at, updated_at, deleted_at, desired, observed FROM {}{wheres} \
             ORDER BY {} {direction}, id {direction}{limit}",
            table::<K>(),
            order_value(&self.sort.0),
        );
        (sql, params)
    }

    pub(crate) fn render_count(&self) -> (String, Vec<Val>) {
        let (wheres, params) = self.wheres();
        (format!("SELECT COUNT(*) FROM {}{wheres}", table::<K>()), params)
    }
}

fn order_value(key: &str) -> String {
    match key {
        "id" | "name" | "created_at" => key.to_owned(),
        "updated_at" => "COALESCE(updated_at, 0)".to_owned(),
        text => format!("COALESCE({text}, '')"),
    }
}

pub(crate) fn object<K: Kind>(row: Row) -> Result<Object<K>, StoreError> {
    let raw_id = row.text(0).unwrap_or_default();
    let corrupt = |why: String| StoreError::Corrupt { kind: K::NAME, id: raw_id.clone(), why };
    let json = |at: usize| row.text(at).ok_or_else(|| corrupt(format!("column {at} is empty")));
    Ok(Object {
        id: Id::parse(&raw_id).ok_or_else(|| corrupt("its id is not an id".into()))?,
        project_id: row.text(1).and_then(|id| Id::parse(&id)),
        name: row.text(2).unwrap_or_default(),
        generation: row.int(3).unwrap_or(0),
        revision: row.int(4).unwrap_or(0),
        created_at: Timestamp(row.int(5).unwrap_or(0)),
        updated_at: row.int(6).map(Timestamp),
        deleted_at: row.int(7).map(Timestamp),
        desired: serde_json::from_str(&json(8)?).map_err(|error| corrupt(format!("desired: {error}")))?,
        observed: serde_json::from_str(&json(9)?).map_err(|error| corrupt(format!("observed: {error}")))?,
    })
}
