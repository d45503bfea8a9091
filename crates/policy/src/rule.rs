//! Declared rules: name, default check and the scopes they accept.

use std::fmt;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The deployment as a whole (`system_scope: all`).
    System,
    /// One domain.
    Domain,
    /// One project.
    Project,
}

impl Scope {
    /// The word used for it in rules and documentation: `system`, `domain` or `project`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Domain => "domain",
            Self::Project => "project",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule as the service declares it; made by [`rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as `identity:get_user`.
    pub name: &'static str,
    /// The check that applies unless `policy.yaml` has another.
    pub check: &'static str,
    /// The scopes a token may have; empty accepts every token.
    pub scopes: &'static [Scope],
    /// What it guards, in a sentence.
    pub about: &'static str,
    /// The calls it guards: method and path.
    pub operations: &'static [(&'static str, &'static str)],
}

/// A rule with no scopes, description or operations.
pub const fn rule(name: &'static str, check: &'static str) -> Rule {
    Rule { name, check, scopes: &[], about: "", operations: &[] }
}

impl Rule {
    /// Sets the scopes it accepts.
    pub const fn scopes(mut self, scopes: &'static [Scope]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Sets what it says about itself.
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Sets the calls it guards, as pairs of method and path.
    pub const fn guards(mut self, operations: &'static [(&'static str, &'static str)]) -> Self {
        self.operations = operations;
        self
    }
}
