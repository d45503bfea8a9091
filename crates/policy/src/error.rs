//! What can be wrong with rules, and what a refusal says.

use std::fmt;

use crate::Scope;

/// Why the text of one rule could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Only white space.
    #[error("there is only white space; write \"\" or \"@\" for always, \"!\" for never")]
    Blank,
    /// More bytes than a rule may have.
    #[error("the text is longer than {limit} bytes")]
    Long {
        /// The most bytes a rule may have.
        limit: usize,
    },
    /// Parentheses or `not` nested further than allowed.
    #[error("parentheses and \"not\" are nested deeper than {limit}")]
    Deep {
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// The text ended where a check had to follow.
    #[error("a check is missing at the end")]
    Unfinished,
    /// A word where something else had to stand.
    #[error("{found:?} is not expected here; {wanted}")]
    Unexpected {
        /// The word that was found.
        found: String,
        /// What should have been there.
        wanted: &'static str,
    },
    /// A word without a colon that is no check.
    #[error("{0:?} is not a check: write kind:value, \"@\" or \"!\"")]
    NotACheck(String),
    /// The left side of a check is neither a literal nor the name of an attribute.
    #[error("the left side {left:?} {why}")]
    Left {
        /// The left side as written.
        left: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The right side has a `%` that is not part of `%(name)s` or `%%`.
    #[error("{0:?} has a % that is neither %(name)s nor %%")]
    Template(String),
    /// A check that asks another server, which this engine does not do.
    #[error("{0}: checks ask another server on each request and are not supported; write the condition as attributes and roles")]
    Remote(String),
}

/// Why rules could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file is larger than a policy file may be.
    #[error("the policy file is larger than {limit} bytes")]
    Large {
        /// The most bytes it may have.
        limit: usize,
    },
    /// The file could not be read.
    #[error("the policy file cannot be read: {0}")]
    Unreadable(String),
    /// The file is not YAML, or not a mapping of names to rules; the text names the line.
    #[error("the policy file cannot be used: {0}")]
    Yaml(String),
    /// A rule is not in the language.
    #[error("rule {rule:?}{}: {source}", Line(*.line))]
    Rule {
        /// The name of the rule.
        rule: String,
        /// The line of the file, from 1; none for a declared rule.
        line: Option<u64>,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Two declared rules have the same name.
    #[error("rule {0:?} is declared twice")]
    Twice(String),
    /// A rule refers to one that does not exist.
    #[error("rule {rule:?}{} refers to rule {missing:?}, which does not exist", Line(*.line))]
    Undefined {
        /// The name of the rule that refers.
        rule: String,
        /// The line of the file, from 1; none for a declared rule.
        line: Option<u64>,
        /// The name it refers to.
        missing: String,
    },
    /// Rules refer to each other in a circle.
    #[error("rules refer to each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// Rules that refer to each other are nested further than allowed.
    #[error("rule {rule:?} is nested deeper than {limit} through the rules it refers to")]
    Deep {
        /// The name of the rule.
        rule: String,
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// With everything it refers to written out, a rule has more checks than allowed.
    #[error("rule {rule:?} has more than {limit} checks through the rules it refers to")]
    Heavy {
        /// The name of the rule.
        rule: String,
        /// The most checks allowed.
        limit: u64,
    },
}

/// `" (line 3)"`, or nothing.
struct Line(Option<u64>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {why}")]
pub struct Denied {
    /// The rule that was asked.
    pub rule: String,
    /// What stood in the way.
    pub why: Why,
}

/// What stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The token is of a scope the rule does not accept.
    Scope {
        /// The scopes the rule accepts.
        needs: &'static [Scope],
        /// The scope of the token; none if it is unscoped.
        has: Option<Scope>,
    },
    /// The check is false, or there is no such rule.
    Check,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope { needs, has } => {
                let needs = needs.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" or ");
                write!(f, "needs a token of scope {needs}, this one is {}", has.map_or("unscoped", Scope::name))
            }
            Self::Check => f.write_str("the check does not hold"),
        }
    }
}
