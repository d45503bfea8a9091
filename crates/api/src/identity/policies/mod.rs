//! The declared default policies of identity, those of Keystone 30.0.0 (Source: `keystone/common/policies`): each rule's own check, without
//! the deprecated one upstream may still admit beside it, and without the rules of the tokens of OAuth 1, which are not offered.

mod catalog;
mod federation;
mod limits;
mod oauth1;
mod projects;
mod roles;
mod tokens;
mod users;

use policy::{Rule, Scope};

/// Every scope a token may have.
const EVERY: &[Scope] = &[Scope::System, Scope::Domain, Scope::Project];
/// All but a domain.
const SYSTEM_PROJECT: &[Scope] = &[Scope::System, Scope::Project];
/// A project.
const PROJECT: &[Scope] = &[Scope::Project];

/// Every rule of identity, as tables of an engine.
pub(crate) static RULES: &[&[Rule]] =
    &[tokens::RULES, users::RULES, projects::RULES, roles::RULES, catalog::RULES, federation::RULES, limits::RULES, oauth1::RULES];

/// The same as a list that other services' tables can be added to.
pub(crate) fn tables() -> Vec<&'static [Rule]> {
    RULES.to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::RULES;

    #[test]
    fn rules_are_declared_once_and_refer_to_declared_ones() {
        let names: Vec<&str> = RULES.iter().flat_map(|table| table.iter()).map(|rule| rule.name).collect();
        let distinct: HashSet<&str> = names.iter().copied().collect();
        assert_eq!((names.len(), distinct.len()), (197, 197));
        for rule in RULES.iter().flat_map(|table| table.iter()) {
            assert!(!rule.about.is_empty(), "{}", rule.name);
            assert!(rule.operations.iter().all(|(_, path)| path.starts_with("/v3/")), "{}", rule.name);
            for referred in rule.check.split("rule:").skip(1) {
                let referred = referred.split([' ', ')']).next().unwrap();
                assert!(distinct.contains(referred), "{} refers to {referred}", rule.name);
            }
        }
    }

    #[test]
    fn rules_are_parsed() {
        policy::Engine::new(RULES).unwrap();
    }
}
