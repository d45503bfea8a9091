//! Values, rows and statements, the same for both databases but for two things, which the executors write as their database does
//! ([`spelled`]). A list of values is one parameter, and `x ANY_OF[$1]` says that x is one of them: however long the list, the text of
//! the statement stays the same, so that it is prepared once, and no limit on the number of parameters is met. And `FROM_NOW($1)` is a
//! moment so far from now, by the clock of the database where several processes share one: theirs may disagree.

use std::borrow::Cow;
use std::time::Duration;

use crate::StoreError;

/// A value as stored: text or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Val {
    Text(String),
    Int(i64),
    /// Several texts, for `ANY_OF[…]`.
    List(Vec<String>),
    /// A moment so many microseconds from when the statement is carried out, for `FROM_NOW(…)`.
    FromNow(i64),
    /// A NULL of the type of a text column.
    NoText,
    /// A NULL of the type of a number column.
    NoInt,
}

impl Val {
    /// Whether it is text with a NUL character in it.
    pub(crate) fn has_nul(&self) -> bool {
        match self {
            Self::Text(text) => text.contains('\0'),
            Self::List(texts) => texts.iter().any(|text| text.contains('\0')),
            _ => false,
        }
    }
}

/// How a database spells what both are not asked for alike.
pub(crate) struct Spelling {
    /// What stands before and after a list.
    pub(crate) list: (&'static str, &'static str),
    /// What stands before the parameter of a moment, up to an open parenthesis.
    pub(crate) from_now: &'static str,
}

/// A statement with its `ANY_OF[…]` and `FROM_NOW(…)` as a database spells it.
pub(crate) fn spelled<'a>(sql: &'a str, params: &[Val], spelling: &Spelling) -> Cow<'a, str> {
    let mut sql = Cow::Borrowed(sql);
    if params.iter().any(|it| matches!(it, Val::List(_))) {
        sql = Cow::Owned(sql.replace("ANY_OF[", spelling.list.0).replace(']', spelling.list.1));
    }
    if params.iter().any(|it| matches!(it, Val::FromNow(_))) {
        sql = Cow::Owned(sql.replace("FROM_NOW(", spelling.from_now));
    }
    sql
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
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

    /// The text where it lies.
    pub(crate) fn str(&self, at: usize) -> Option<&str> {
        match self.0.get(at) {
            Some(Val::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// How long its texts are together, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|it| if let Val::Text(text) = it { text.len() } else { 0 }).sum()
    }

    /// The text, taken out without a copy: what is left is empty.
    pub(crate) fn take(&mut self, at: usize) -> Option<String> {
        match self.0.get_mut(at) {
            Some(Val::Text(text)) => Some(std::mem::take(text)),
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
    /// It returned a number (or nothing, which is 0) that is at most this.
    AtMost(i64, Box<dyn Fn() -> StoreError + Send + Sync>),
}

impl Expect {
    /// Whether the statement is one that returns rows.
    pub(crate) fn reads(&self) -> bool {
        matches!(self, Self::NoRow(_) | Self::AtMost(..))
    }

    /// What came of a statement that returns rows.
    pub(crate) fn rows(&self, rows: &[Row]) -> Result<(), StoreError> {
        match self {
            Self::NoRow(otherwise) if !rows.is_empty() => Err(otherwise()),
            Self::AtMost(most, otherwise) if rows.first().and_then(|row| row.int(0)).unwrap_or(0) > *most => Err(otherwise()),
            _ => Ok(()),
        }
    }

    /// What came of one that changed so many.
    pub(crate) fn changed(&self, rows: u64) -> Result<(), StoreError> {
        match self {
            Self::OneChanged(otherwise) if rows != 1 => Err(otherwise()),
            _ => Ok(()),
        }
    }
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

    pub(crate) fn at_most(sql: String, params: Vec<Val>, most: i64, otherwise: impl Fn() -> StoreError + Send + Sync + 'static) -> Self {
        Self { sql, params, expect: Expect::AtMost(most, Box::new(otherwise)) }
    }

    pub(crate) fn none(sql: String, params: Vec<Val>, otherwise: impl Fn() -> StoreError + Send + Sync + 'static) -> Self {
        Self { sql, params, expect: Expect::NoRow(Box::new(otherwise)) }
    }
}
