//! The policy engine: who may do what, in the rule language of oslo.policy.
//!
//! A service declares its rules as constant tables of [`Rule`]; [`Engine::new`] parses them, [`Engine::with_file`] lays
//! an operator's `policy.yaml` over them, and [`Engine::enforce`] answers whether some [`Credentials`] may do what a rule
//! guards to a [`Target`]. [`Live`] follows the file while the service runs, and [`Engine::explain`] shows why an answer
//! is what it is. The crate neither talks HTTP nor keeps anything.
//!
//! Answers are those of oslo.policy with `enforce_scope` on (`tests/vectors.json` records them from the library). Loading
//! is stricter: what the library would log and quietly treat as "never" (unparsable text, an undefined rule, a cycle) is
//! an error here, and so is an empty YAML value, which the library takes for "always".
#![forbid(unsafe_code)]

mod check;
mod credentials;
mod engine;
mod error;
mod explain;
mod file;
mod live;
mod parse;
mod plan;
mod python;
mod rule;

pub use check::{Check, Template};
pub use credentials::{Credentials, ServiceCredentials};
pub use engine::{Engine, RuleInfo};
pub use error::{Denied, ParseError, PolicyError, Why};
pub use explain::{Explanation, Step};
pub use live::Live;
pub use parse::{parse, parse_lists};
pub use rule::{Rule, Scope, rule};

/// What is acted on: a JSON object, nested or with dotted keys.
///
/// `%(target.user.domain_id)s` looks for the key `target.user.domain_id` first, then for the path through nested objects.
/// A key that is missing, or that names an object, makes the check that asks for it false.
pub type Target = serde_json::Value;
