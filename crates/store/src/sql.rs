//! Values, rows and statements, the same for both databases.

use crate::StoreError;

/// A value as stored: text or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Val {
    Text(String),
    Int(i64),
    /// A NULL of the type of a text column.
    NoText,
    /// A NULL of the type of a number column.
    NoInt,
}

impl Val {
    /// Whether it is text with a NUL character in it.
    pub(crate) fn has_nul(&self) -> bool {
        matches!(self, Self::Text(text) if text.contains('\0'))
    }
}

impl From<&str> for Val {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Val {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Option<String>> for Val {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::NoText, Self::Text)
    }
}

impl From<Option<i64>> for Val {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::NoInt, Self::Int)
    }
}

/// A row of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(pub(crate) Vec<Val>);

impl Row {
    pub(crate) fn text(&self, at: usize) -> Option<String> {
        match self.0.get(at) {
            Some(Val::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(crate) fn int(&self, at: usize) -> Option<i64> {
        match self.0.get(at) {
            Some(Val::Int(number)) => Some(*number),
            _ => None,
        }
    }
}

/// What must be true after a statement for the transaction to go on.
pub(crate) enum Expect {
    /// Nothing.
    Anything,
    /// It changed exactly one row.
    OneChanged(Box<dyn Fn() -> StoreError + Send + Sync>),
    /// It is a query and returned no row.
    NoRow(Box<dyn Fn() -> StoreError + Send + Sync>),
}

/// One statement of a transaction. Parameters are `$1`, `$2`, … and each first appears in ascending order, which both databases
/// read alike.
pub(crate) struct Step {
    pub(crate) sql: String,
    pub(crate) params: Vec<Val>,
    pub(crate) expect: Expect,
}

impl Step {
    pub(crate) fn any(sql: String, params: Vec<Val>) -> Self {
        Self { sql, params, expect: Expect::Anything }
    }

    pub(crate) fn one(sql: String, params: Vec<Val>, otherwise: impl Fn() -> StoreError + Send + Sync + 'static) -> Self {
        Self { sql, params, expect: Expect::OneChanged(Box::new(otherwise)) }
    }

    pub(crate) fn none(sql: String, params: Vec<Val>, otherwise: impl Fn() -> StoreError + Send + Sync + 'static) -> Self {
        Self { sql, params, expect: Expect::NoRow(Box::new(otherwise)) }
    }
}
