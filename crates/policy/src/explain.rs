//! Why a rule answers as it does.

use std::collections::HashMap;
use std::fmt;

use crate::check::Rules;
use crate::plan::Plan;
use crate::{Check, Credentials, Scope, Target, Why};

/// Every check of a rule with its answer. [`fmt::Display`] prints it, a check a line, indented under the one it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that was asked.
    pub rule: String,
    /// Whether it allows.
    pub allowed: bool,
    /// Set if it refuses the scope of the token, whatever the checks say.
    pub scope: Option<Why>,
    /// The scope of the token; none if it is unscoped.
    pub has: Option<Scope>,
    /// The check; none if there is no such rule.
    pub step: Option<Step>,
}

/// A check and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The check: its text, or `and`, `or`, `not`.
    pub check: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was compared, or what is missing.
    pub note: Option<String>,
    /// The checks it is made of.
    pub inside: Vec<Step>,
}

impl Step {
    /// Asks `check` and all it is made of, also what could be left out once the answer is known.
    pub(crate) fn of(check: &Check, rules: &dyn Rules, who: &Credentials, target: &Target) -> Self {
        let inside: Vec<Self> = check.inside().iter().map(|check| Self::of(check, rules, who, target)).collect();
        match check {
            Check::Not(_) => Self { check: "not".to_owned(), holds: !inside.iter().all(|step| step.holds), note: None, inside },
            Check::And(_) => Self { check: "and".to_owned(), holds: inside.iter().all(|step| step.holds), note: None, inside },
            Check::Or(_) => Self { check: "or".to_owned(), holds: inside.iter().any(|step| step.holds), note: None, inside },
            Check::Rule(name) => match rules.check(name) {
                Some(referred) => {
                    let referred = Self::of(referred, rules, who, target);
                    Self { check: check.to_string(), holds: referred.holds, note: None, inside: vec![referred] }
                }
                None => Self { check: check.to_string(), holds: false, note: Some("there is no such rule".to_owned()), inside },
            },
            leaf => {
                // Without others inside, no reference is followed.
                let holds = Plan::of(leaf, &HashMap::new()).answer(&[], who, Some(target)) == Some(true);
                Self { check: leaf.to_string(), holds, note: leaf.note(who, target), inside }
            }
        }
    }

    fn print(&self, indent: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:indent$}{} {}", "", mark(self.holds), self.check)?;
        if let Some(note) = &self.note {
            write!(f, "  ({note})")?;
        }
        self.inside.iter().try_for_each(|step| step.print(indent + 2, f))
    }
}

fn mark(holds: bool) -> &'static str {
    if holds { "yes" } else { "no " }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, if self.allowed { "allowed" } else { "denied" })?;
        if let Some(why) = &self.scope {
            write!(f, "\n  no  scope  ({why})")?;
        }
        match &self.step {
            Some(step) => step.print(2, f),
            None => f.write_str("\n  there is no such rule"),
        }
    }
}
