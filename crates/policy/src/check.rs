//! Parsed checks: how they print and what they answer.

use std::borrow::Cow;
use std::fmt;

use crate::credentials::Found;
use crate::{Credentials, ParseError, Target, python};

/// A parsed rule. [`fmt::Display`] writes it in the rule language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `@`: always.
    True,
    /// `!`: never.
    False,
    /// `role:name`: holds a role of that name, in any case.
    Role(Template),
    /// `rule:name`: another rule holds. Its scopes are not asked.
    Rule(String),
    /// `'literal':text`: the text is that literal.
    Literal {
        /// The literal as written.
        source: String,
        /// The text it stands for.
        value: String,
        /// What has to be equal to it.
        text: Template,
    },
    /// `attribute:text`: the text is the value of an attribute of the credentials, or one of its values.
    Attribute {
        /// The name of the attribute, as in [`Credentials::attribute`].
        name: String,
        /// What has to be equal to it.
        text: Template,
    },
    /// The check does not hold.
    Not(Box<Check>),
    /// All of them hold.
    And(Vec<Check>),
    /// At least one of them holds.
    Or(Vec<Check>),
}

/// Text with places to be filled in from the target: `%(name)s`, and `%%` for a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Key(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A `%` that is part of neither `%(name)s` nor `%%`.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::Template(source.to_owned());
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let (key, after) = after.strip_prefix('(').and_then(closed).ok_or_else(wrong)?;
            rest = after.strip_prefix('s').ok_or_else(wrong)?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Key(key.to_owned()));
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The template as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, if there is nothing to be filled in.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text, filled in.
    ///
    /// # Errors
    /// The first key that the target lacks.
    pub(crate) fn fill<'a>(&'a self, target: &'a Target) -> Result<Cow<'a, str>, &'a str> {
        match self.parts.as_slice() {
            [] => Ok(Cow::Borrowed("")),
            [Part::Text(text)] => Ok(Cow::Borrowed(text)),
            [Part::Key(key)] => found(target, key).ok_or(key),
            parts => {
                let mut out = String::new();
                for part in parts {
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Key(key) => out.push_str(&found(target, key).ok_or(key.as_str())?),
                    }
                }
                Ok(Cow::Owned(out))
            }
        }
    }
}

/// Splits after the parenthesis that closes the one just opened; names may have pairs of them inside.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The value of `key` in the target as text: the dotted key itself, then the path. Objects count as missing, as Keystone
/// flattens the target before it asks.
fn found<'a>(target: &'a Target, key: &str) -> Option<Cow<'a, str>> {
    let path = || key.split('.').try_fold(target, |at, name| at.as_object()?.get(name));
    let value = target.get(key).or_else(|| if key.contains('.') { path() } else { None })?;
    match value {
        Target::String(text) => Some(Cow::Borrowed(text)),
        // As `python::text` has them, but without memory of their own.
        Target::Null => Some(Cow::Borrowed("None")),
        Target::Bool(true) => Some(Cow::Borrowed("True")),
        Target::Bool(false) => Some(Cow::Borrowed("False")),
        other => python::text(other).map(Cow::Owned),
    }
}

/// Where `rule:` finds other rules.
pub(crate) trait Rules {
    fn check(&self, name: &str) -> Option<&Check>;
}

/// What a check asked and found, for an explanation.
pub(crate) type Note = Option<String>;

impl Check {
    /// Why a check without others inside answers as it does; none if it says so itself.
    pub(crate) fn note(&self, who: &Credentials, target: &Target) -> Note {
        let (Self::Role(template) | Self::Literal { text: template, .. } | Self::Attribute { text: template, .. }) = self else {
            return None;
        };
        let text = match template.fill(target) {
            Ok(text) => text,
            Err(key) => return Some(format!("the target has no {key}")),
        };
        let filled = template.source != text;
        match self {
            Self::Role(_) if who.roles.is_empty() => Some("no roles".to_owned()),
            Self::Role(_) => Some(format!("roles are {}", who.roles.join(", "))),
            Self::Attribute { name, .. } => {
                let has = match who.lookup(name) {
                    None => format!("the credentials have no {name}"),
                    Some(Found::One(value)) => format!("{name} is {value}"),
                    Some(Found::Many(values)) => format!("{name} is {}", values.join(", ")),
                };
                Some(if filled { format!("{has}, compared with {text}") } else { has })
            }
            _ => filled.then(|| format!("compared with {text}")),
        }
    }

    /// The checks directly inside.
    pub(crate) fn inside(&self) -> &[Check] {
        match self {
            Self::Not(check) => std::slice::from_ref(check),
            Self::And(checks) | Self::Or(checks) => checks,
            _ => &[],
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::True => f.write_str("@"),
            Self::False => f.write_str("!"),
            Self::Role(name) => write!(f, "role:{}", name.source),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Literal { source, text, .. } => {
                // 'a':'b' as a whole word would be read as one quoted string, which is no check.
                let quoted = source.chars().next().is_some_and(|quote| matches!(quote, '\'' | '"') && text.source.ends_with(quote));
                if quoted { write!(f, "({source}:{})", text.source) } else { write!(f, "{source}:{}", text.source) }
            }
            Self::Attribute { name, text } => write!(f, "{name}:{}", text.source),
            Self::Not(check) => {
                f.write_str("not ")?;
                within(check, f)
            }
            Self::And(checks) => joined(checks, " and ", f),
            Self::Or(checks) => joined(checks, " or ", f),
        }
    }
}

fn joined(checks: &[Check], word: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, check) in checks.iter().enumerate() {
        if at > 0 {
            f.write_str(word)?;
        }
        within(check, f)?;
    }
    Ok(())
}

/// Inside another check, lists need parentheses.
fn within(check: &Check, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match check {
        Check::And(_) | Check::Or(_) => write!(f, "({check})"),
        other => write!(f, "{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(source: &str, target: &Target) -> Result<String, String> {
        let template = Template::parse(source).unwrap();
        template.fill(target).map(Cow::into_owned).map_err(str::to_owned)
    }

    #[test]
    fn flat_key_before_path() {
        let target = json!({"a.b": "flat", "a": {"b": "nested", "c": {"d": null}}});
        assert_eq!(fill("%(a.b)s", &target), Ok("flat".into()));
        assert_eq!(fill("%(a.c.d)s", &target), Ok("None".into()));
        assert_eq!(fill("%(a.c)s", &target), Err("a.c".into()));
        assert_eq!(fill("%(a.c.d.e)s", &target), Err("a.c.d.e".into()));
        assert_eq!(fill("x%%-%(a.b)s-%(a.b)s", &target), Ok("x%-flat-flat".into()));
        assert_eq!(fill("%(a.b)s", &json!(["not an object"])), Err("a.b".into()));
    }

    #[test]
    fn templates_that_are_none() {
        for source in ["%", "100%", "%s", "%(a)", "%(a)d", "%(a", "%(a(b)s", "%(é"] {
            assert_eq!(Template::parse(source), Err(ParseError::Template(source.into())));
        }
        assert_eq!(fill("%(a(b)c)s", &json!({"a(b)c": 1})), Ok("1".into()));
    }
}
