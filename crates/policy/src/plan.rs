//! Rules made ready to be asked: references are places in a list, names of roles are in lower case, and what is certain is worked out.
//!
//! One evaluation serves both questions, with a target and without: what is said without one holds for every target.

use std::collections::HashMap;

use crate::credentials::Found;
use crate::{Check, Credentials, Scope, Target, Template};

/// A rule as it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// The scopes a token may have; empty accepts every token.
    pub(crate) scopes: &'static [Scope],
    pub(crate) plan: Plan,
}

/// A check as it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Certain(bool),
    /// Holds the role of that name, which is in lower case.
    Role(String),
    /// Holds the role whose name the target gives.
    RoleOf(Template),
    /// The rule at that place holds.
    Rule(usize),
    Literal {
        value: String,
        text: Template,
    },
    Attribute {
        name: String,
        text: Template,
    },
    Not(Box<Plan>),
    All(Box<[Plan]>),
    Any(Box<[Plan]>),
}

impl Plan {
    /// The plan of a check; `places` says where the rules are that it refers to.
    pub(crate) fn of(check: &Check, places: &HashMap<String, usize>) -> Self {
        let all = |checks: &[Check]| checks.iter().map(|check| Self::of(check, places)).collect();
        match check {
            Check::True => Self::Certain(true),
            Check::False => Self::Certain(false),
            Check::Role(name) => name.fixed().map_or_else(|| Self::RoleOf(name.clone()), |name| Self::Role(name.to_lowercase())),
            Check::Rule(name) => places.get(name).map_or(Self::Certain(false), |place| Self::Rule(*place)),
            Check::Literal { value, text, .. } => match text.fixed() {
                Some(text) => Self::Certain(text == value),
                None => Self::Literal { value: value.clone(), text: text.clone() },
            },
            Check::Attribute { name, text } => Self::Attribute { name: name.clone(), text: text.clone() },
            Check::Not(check) => Self::Not(Box::new(Self::of(check, places))),
            Check::And(checks) => Self::All(all(checks)),
            Check::Or(checks) => Self::Any(all(checks)),
        }
    }

    /// Whether the check holds; without a target none if that depends on it. Terminates for rules that [`crate::Engine`] has loaded: they
    /// are free of cycles.
    pub(crate) fn answer(&self, rules: &[Ready], who: &Credentials, target: Option<&Target>) -> Option<bool> {
        match self {
            Self::Certain(holds) => Some(*holds),
            Self::Role(name) => Some(has_role(who, name)),
            // Without roles, whatever the name.
            Self::RoleOf(_) if who.roles.is_empty() => Some(false),
            Self::RoleOf(name) => Some(name.fill(target?).is_ok_and(|name| has_role(who, &name.to_lowercase()))),
            Self::Rule(place) => rules.get(*place).map_or(Some(false), |rule| rule.plan.answer(rules, who, target)),
            Self::Literal { value, text } => Some(text.fill(target?).is_ok_and(|text| text == value.as_str())),
            Self::Attribute { name, text } => match (who.lookup(name), text.fixed()) {
                (None, _) => Some(false),
                (Some(has), Some(text)) => Some(is(&has, text)),
                (Some(has), None) => Some(text.fill(target?).is_ok_and(|text| is(&has, &text))),
            },
            Self::Not(check) => check.answer(rules, who, target).map(|holds| !holds),
            Self::All(checks) => first(false, checks, rules, who, target),
            Self::Any(checks) => first(true, checks, rules, who, target),
        }
    }
}

/// `decisive` if one of the checks says so; otherwise its opposite, as long as all are certain.
fn first(decisive: bool, checks: &[Plan], rules: &[Ready], who: &Credentials, target: Option<&Target>) -> Option<bool> {
    let mut certain = true;
    for check in checks {
        match check.answer(rules, who, target) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => certain = false,
        }
    }
    certain.then_some(!decisive)
}

/// Whether one of the roles is of that name, which is in lower case.
fn has_role(who: &Credentials, name: &str) -> bool {
    who.roles.iter().any(|role| if role.is_ascii() { role.eq_ignore_ascii_case(name) } else { role.to_lowercase() == name })
}

fn is(has: &Found<'_>, text: &str) -> bool {
    match has {
        Found::One(value) => value == text,
        Found::Many(values) => values.iter().any(|value| value == text),
    }
}
