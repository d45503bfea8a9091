//! Queries of one kind of object.

use std::marker::PhantomData;

use model::identity::Project;
use model::{Id, Kind, Object, Timestamp};

use crate::StoreError;
use crate::schema::table;
use crate::sql::{Row, Val};

/// One of several conditions, see [`Query::any_of`].
#[derive(Clone, Debug)]
pub struct Term(Cond);

#[derive(Clone, Debug)]
enum Cond {
    /// A column, as the table names it, has one of these values.
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    /// A column as [`Kind::COLUMNS`] names it.
    Column(String, Box<Cond>),
    Unset(String),
    Linked(String, Vec<String>),
    /// It is the id of an object in that table that this project owns.
    OfProject(String, String),
    Any(Vec<Cond>),
}

impl Term {
    /// It is this project's.
    pub fn project(id: &Id<Project>) -> Self {
        Self(Cond::In("project_id".into(), vec![id.to_string()]))
    }

    /// It has one of these ids.
    pub fn ids(ids: Vec<String>) -> Self {
        Self(Cond::In("id".into(), ids))
    }

    /// Its column has one of these values; the column must be one of [`Kind::COLUMNS`], else nothing matches.
    pub fn column(name: &str, values: Vec<String>) -> Self {
        Self(Cond::Column(name.into(), Box::new(Cond::In(format!("c_{name}"), values))))
    }

    /// It has one of these values among its links of that name ([`Kind::LINKS`]).
    pub fn linked(name: &str, values: Vec<String>) -> Self {
        Self(Cond::Linked(name.into(), values))
    }

    /// Its column is the id of an object of kind `Owner` that is this project's; the column must be one of [`Kind::COLUMNS`], else
    /// nothing matches.
    pub fn of_project<Owner: Kind>(column: &str, project: &Id<Project>) -> Self {
        let owned = format!("c_{column} IN (SELECT id FROM {} WHERE project_id", table::<Owner>());
        Self(Cond::Column(column.into(), Box::new(Cond::OfProject(owned, project.to_string()))))
    }
}

/// Which objects of a kind are wanted, in what order. By default all that are not being removed, oldest first.
pub struct Query<K: Kind> {
    terms: Vec<Cond>,
    with_deleted: bool,
    sort: (String, bool),
    marker: Option<Id<K>>,
    limit: Option<u32>,
    backwards: bool,
    kind: PhantomData<K>,
}

impl<K: Kind> Clone for Query<K> {
    fn clone(&self) -> Self {
        Self {
            terms: self.terms.clone(),
            with_deleted: self.with_deleted,
            sort: self.sort.clone(),
            marker: self.marker.clone(),
            limit: self.limit,
            backwards: self.backwards,
            kind: PhantomData,
        }
    }
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
            with_deleted: false,
            sort: ("created_at".into(), false),
            marker: None,
            limit: None,
            backwards: false,
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
        self.any_of(vec![Term::column(name, values.into_iter().collect())])
    }

    /// Only those whose column has no value; the column must be one of [`Kind::COLUMNS`], else nothing matches.
    #[must_use]
    pub fn unset(self, name: &str) -> Self {
        self.any_of(vec![Term(Cond::Column(name.into(), Box::new(Cond::Unset(format!("c_{name}")))))])
    }

    /// Only those that have one of these values among their links of that name ([`Kind::LINKS`]).
    #[must_use]
    pub fn linked(self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        self.any_of(vec![Term::linked(name, values.into_iter().collect())])
    }

    /// Only those with none of these ids.
    #[must_use]
    pub fn not_ids(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.terms.push(Cond::NotIn("id".into(), ids.into_iter().collect()));
        self
    }

    /// Only those to which at least one of the terms applies; of no terms none does.
    #[must_use]
    pub fn any_of(mut self, terms: Vec<Term>) -> Self {
        let known = |cond| match cond {
            Cond::Column(name, cond) => {
                if K::COLUMNS.iter().any(|column| column.name == name) {
                    *cond
                } else {
                    Cond::Any(vec![])
                }
            }
            other => other,
        };
        let mut terms: Vec<Cond> = terms.into_iter().map(|term| known(term.0)).collect();
        self.terms.push(if terms.len() == 1 { terms.remove(0) } else { Cond::Any(terms) });
        self
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

    /// Only those that come after this one in the order; those before it if the query is [`Query::backwards`].
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

    /// The page before the marker instead of the one after it: the limit takes the last and not the first. The order stays the same.
    #[must_use]
    pub fn backwards(mut self, backwards: bool) -> Self {
        self.backwards = backwards;
        self
    }

    pub(crate) fn is_backwards(&self) -> bool {
        self.backwards
    }

    fn raw(mut self, column: &str, values: Vec<String>) -> Self {
        self.terms.push(Cond::In(column.to_owned(), values));
        self
    }

    /// The direction in which rows are read.
    fn descending(&self) -> bool {
        self.sort.1 != self.backwards
    }

    fn wheres(&self) -> (String, Vec<Val>) {
        let mut params = Vec::new();
        let mut terms: Vec<String> = self.terms.iter().map(|cond| cond.render::<K>(&mut params)).collect();
        if !self.with_deleted {
            terms.push("deleted_at IS NULL".to_owned());
        }
        if let Some(marker) = &self.marker {
            params.push(Val::from(marker.as_str()));
            let mark = params.len();
            let table = table::<K>();
            // NULL sorts as the smallest value, as the ORDER BY below says.
            let value = order_value(&self.sort.0);
            let than = if self.descending() { "<" } else { ">" };
            terms.push(format!("({value}, id) {than} (SELECT {value}, id FROM {table} WHERE id = ${mark})"));
        }
        (if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }, params)
    }

    /// Whole objects, as [`object`] reads them.
    pub(crate) fn render(&self) -> (String, Vec<Val>) {
        self.select("id, project_id, name, generation, revision, created_at, updated_at, deleted_at, desired, observed")
    }

    /// Which objects at which revision, made when.
    pub(crate) fn render_versions(&self) -> (String, Vec<Val>) {
        self.select("id, revision, created_at")
    }

    fn select(&self, what: &str) -> (String, Vec<Val>) {
        let (wheres, mut params) = self.wheres();
        let direction = if self.descending() { "DESC" } else { "ASC" };
        // A parameter, so that the statement is the same whatever users ask for.
        let limit = self.limit.map_or_else(String::new, |limit| {
            params.push(Val::from(i64::from(limit)));
            format!(" LIMIT ${}", params.len())
        });
        let sql = format!(
            "SELECT {what} FROM {}{wheres} ORDER BY {} {direction}, id {direction}{limit}",
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

impl Cond {
    fn render<K: Kind>(&self, params: &mut Vec<Val>) -> String {
        match self {
            Self::In(column, values) => one_of(column, values, params),
            Self::NotIn(column, values) => format!("NOT ({})", one_of(column, values, params)),
            Self::Column(_, cond) => cond.render::<K>(params),
            Self::Unset(column) => format!("{column} IS NULL"),
            Self::Linked(name, values) => {
                if !K::LINKS.iter().any(|link| link.name == name) {
                    return NEVER.into();
                }
                let values = one_of("value", values, params);
                if values == NEVER {
                    return values;
                }
                // Both are our own words, no user's.
                format!("id IN (SELECT id FROM link WHERE kind = '{}' AND name = '{name}' AND {values})", K::NAME)
            }
            Self::OfProject(owned, project) => {
                params.push(Val::from(project.as_str()));
                format!("{owned} = ${})", params.len())
            }
            Self::Any(terms) if terms.is_empty() => NEVER.into(),
            Self::Any(terms) => {
                let terms: Vec<String> = terms.iter().map(|term| term.render::<K>(params)).collect();
                format!("({})", terms.join(" OR "))
            }
        }
    }
}

const NEVER: &str = "1 = 0";

fn one_of(column: &str, values: &[String], params: &mut Vec<Val>) -> String {
    // Nothing stored has a NUL character, and PostgreSQL would take one as a fault.
    let mut values: Vec<String> = values.iter().filter(|value| !value.contains('\0')).cloned().collect();
    match (values.len(), values.pop()) {
        (1, Some(value)) => {
            params.push(Val::Text(value));
            format!("{column} = ${}", params.len())
        }
        (_, Some(value)) => {
            values.push(value);
            params.push(Val::List(values));
            format!("{column} ANY_OF[${}]", params.len())
        }
        (_, None) => NEVER.into(),
    }
}

fn order_value(key: &str) -> String {
    match key {
        "id" | "name" | "created_at" => key.to_owned(),
        "updated_at" => "COALESCE(updated_at, 0)".to_owned(),
        text => format!("COALESCE({text}, '')"),
    }
}

pub(crate) fn object<K: Kind>(mut row: Row) -> Result<Object<K>, StoreError> {
    let raw_id = row.take(0).unwrap_or_default();
    let corrupt = |why: String| StoreError::Corrupt { kind: K::NAME, id: raw_id.clone(), why };
    let mut json = |at: usize| row.take(at).ok_or_else(|| corrupt(format!("column {at} is empty")));
    let (desired, observed) = (json(8)?, json(9)?);
    Ok(Object {
        id: Id::parse(&raw_id).ok_or_else(|| corrupt("its id is not an id".into()))?,
        project_id: row.take(1).and_then(|id| Id::parse(&id)),
        name: row.take(2).unwrap_or_default(),
        generation: row.int(3).unwrap_or(0),
        revision: row.int(4).unwrap_or(0),
        created_at: Timestamp(row.int(5).unwrap_or(0)),
        updated_at: row.int(6).map(Timestamp),
        deleted_at: row.int(7).map(Timestamp),
        desired: serde_json::from_str(&desired).map_err(|error| corrupt(format!("desired: {error}")))?,
        observed: serde_json::from_str(&observed).map_err(|error| corrupt(format!("observed: {error}")))?,
    })
}
