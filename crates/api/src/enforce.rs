//! Asking the policy: the one place where a rule meets a caller.

use policy::Target;

use crate::App;
use crate::caller::Caller;
use crate::failure::Failure;

/// The declared rules by service, named as in the catalog.
pub(crate) fn services() -> [(&'static str, Vec<&'static [policy::Rule]>); 6] {
    [
        ("identity", crate::identity::policies::tables()),
        ("network", crate::network::policies::tables()),
        ("baremetal", crate::baremetal::policies::tables()),
        ("image", vec![crate::image::policies::RULES]),
        ("compute", vec![crate::compute::policies::RULES]),
        ("container-infra", vec![crate::container_infra::policies::RULES]),
    ]
}

/// All declared rules, of every service.
pub(crate) fn tables() -> Vec<&'static [policy::Rule]> {
    services().into_iter().flat_map(|(_, tables)| tables).collect()
}

/// Whether the rule lets the caller do what it guards to the target.
///
/// # Errors
/// `Forbidden`, which names the rule and not why.
pub(crate) fn enforce(app: &App, caller: &Caller, rule: &str, target: &Target) -> Result<(), Failure> {
    app.policy.current().enforce(rule, &caller.credentials, target).map_err(|denied| {
        tracing::debug!(%denied, user.id = %caller.user_id, "refused by policy");
        Failure::Forbidden(format!("You are not authorized to perform the requested action: {rule}."))
    })
}

/// Whether the rule would let the caller.
pub(crate) fn allows(app: &App, caller: &Caller, rule: &str, target: &Target) -> bool {
    app.policy.current().allows(rule, &caller.credentials, target)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::services;

    #[test]
    fn rules_of_all_services_are_parsed_and_declared_once() {
        let mut by_name: BTreeMap<&str, &str> = BTreeMap::new();
        for (service, tables) in services() {
            let rules: Vec<&policy::Rule> = tables.iter().flat_map(|table| table.iter()).collect();
            assert!(!rules.is_empty(), "{service}");
            for rule in rules {
                assert!(!rule.about.is_empty(), "{}", rule.name);
                // A rule that guards something says which tokens it takes, but for identity's that any token passes; the others are
                // there to be referred to.
                assert!(service == "identity" || rule.operations.is_empty() == rule.scopes.is_empty(), "{}", rule.name);
                let other = by_name.insert(rule.name, service);
                assert_eq!(other, None, "{} is declared by {service} too", rule.name);
            }
        }
        policy::Engine::new(&super::tables()).unwrap();
    }

    /// Every rule that the code of a service names is declared, and every declared one that guards something is asked.
    #[test]
    fn rules_are_asked_as_they_are_declared() {
        let sources = [
            (
                "image",
                concat!(
                    include_str!("image/mod.rs"),
                    include_str!("image/file.rs"),
                    include_str!("image/record.rs"),
                    include_str!("image/wire.rs")
                ),
            ),
            ("compute", concat!(include_str!("compute/flavor.rs"), include_str!("compute/keypair.rs"))),
            (
                "container-infra",
                concat!(
                    include_str!("container_infra/cluster.rs"),
                    include_str!("container_infra/certificate.rs"),
                    include_str!("container_infra/template.rs")
                ),
            ),
        ];
        for (service, source) in sources {
            let tables = services().into_iter().find(|(name, _)| *name == service).unwrap().1;
            for rule in tables.iter().flat_map(|table| table.iter()).filter(|rule| !rule.operations.is_empty()) {
                assert!(source.contains(&format!("\"{}\"", rule.name)), "{service} never asks {}", rule.name);
            }
        }
    }

    /// Every rule of the bare-metal service is asked somewhere by its full name.
    #[test]
    fn rules_of_baremetal_are_asked_as_they_are_declared() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/baremetal");
        let mut code = Vec::new();
        sources(&folder, &mut code);
        code.push(std::fs::read_to_string(folder.join("policies/node.rs")).unwrap());
        let asks = |name: &str| {
            let text = format!("\"{name}\"");
            code.iter().map(|it| it.matches(&text).count() - it.matches(&format!("rule({text}")).count()).sum::<usize>()
        };
        let rules = crate::baremetal::policies::tables().into_iter().flatten().filter(|rule| !rule.operations.is_empty());
        let silent: Vec<&str> = rules.map(|rule| rule.name).filter(|name| asks(name) == 0).collect();
        assert!(silent.is_empty(), "{} rules of baremetal are never asked: {silent:#?}", silent.len());
    }

    const VERBS: [&str; 4] = ["create", "get", "update", "delete"];

    /// The sources in a folder, without comments, tests and declarations of rules.
    fn sources(folder: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("policies") {
                sources(&path, out);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let code = source.split("#[cfg(test)]\nmod ").next().unwrap();
                out.push(code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n"));
            }
        }
    }

    /// The texts in quotes.
    fn texts(source: &str) -> Vec<String> {
        // A quote that is a character, or inside a text, ends none.
        let source = source.replace("'\"'", "").replace("\\\\", "").replace("\\\"", "");
        source.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The texts that stand right after `mark`.
    fn after(source: &str, mark: &str) -> Vec<String> {
        let text = |rest: &str| rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()).map(str::to_owned);
        source.split(mark).skip(1).filter_map(text).collect()
    }

    /// The fixed parts of a text with places to be filled.
    fn places(text: &str) -> Vec<String> {
        let mut rest = text;
        let mut parts = Vec::new();
        while let Some((part, more)) = rest.split_once('{') {
            parts.push(part.to_owned());
            rest = more.split_once('}').map_or("", |(_, rest)| rest);
        }
        parts.push(rest.to_owned());
        parts
    }

    /// Whether the name is made of the parts with something between them.
    fn fits(name: &str, parts: &[String]) -> bool {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for part in &parts[1..parts.len() - 1] {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.len() > last.len() && rest.ends_with(last.as_str()) && rest.bytes().all(|it| it != b' ')
    }

    /// What rules call the things that the source has forms of, and which of them have tags.
    fn forms(source: &str) -> Vec<(String, bool)> {
        let noun = |chain: &str| after(chain, ".rule(").into_iter().next().or_else(|| chain.split('"').nth(1).map(str::to_owned));
        source.split("Form::new(").skip(1).map(|chain| (noun(chain).unwrap(), chain.contains(".standard()"))).collect()
    }

    /// Forms ask `<verb>_<noun>`, and `<verb>_<noun>:tags` of what has tags; the other rules of network are named in full, or put together
    /// from a verb and the rest: `{verb}_port:fixed_ips:ip_address`.
    #[test]
    fn rules_of_network_are_asked_as_they_are_declared() {
        let mut code = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/network"), &mut code);
        let texts: BTreeSet<String> = code.iter().flat_map(|source| texts(source)).collect();
        let forms: BTreeMap<String, bool> = code.iter().flat_map(|source| forms(source)).collect();
        let rules: Vec<&policy::Rule> = crate::network::policies::tables().into_iter().flatten().collect();
        // Texts with places to be filled, cut at the places: `{verb}_port:{name}:{member}`, `get_policy_{}`.
        let composed: Vec<Vec<String>> =
            texts.iter().filter(|it| it.contains('{')).map(|it| places(it)).filter(|it| it.concat().len() > 4).collect();
        let asked = |name: &str| {
            texts.contains(name)
                || VERBS.iter().filter_map(|verb| name.strip_prefix(verb)).any(|rest| {
                    let of_form = rest.strip_prefix('_').is_some_and(|noun| match noun.strip_suffix(":tags") {
                        Some(noun) => forms.get(noun).is_some_and(|has_tags| *has_tags),
                        None => forms.contains_key(noun),
                    });
                    of_form || texts.contains(&format!("{{verb}}{rest}"))
                })
                || composed.iter().any(|parts| fits(name, parts))
        };
        let silent: Vec<&str> =
            rules.iter().filter(|rule| !rule.operations.is_empty()).map(|rule| rule.name).filter(|it| !asked(it)).collect();
        assert!(silent.is_empty(), "{} rules of network are never asked: {silent:#?}", silent.len());

        // One that is not declared would refuse everybody.
        let mut wanted: Vec<String> = forms.keys().map(|noun| format!("get_{noun}")).collect();
        wanted
            .extend(forms.iter().filter(|(_, has_tags)| **has_tags).flat_map(|(noun, _)| VERBS.map(|verb| format!("{verb}_{noun}:tags"))));
        for source in &code {
            for mark in [".read_by(", ".create_by(", ".update_by(", "&ask.caller, ", "&self.caller, "] {
                wanted.extend(after(source, mark));
            }
        }
        let declared: BTreeSet<&str> = super::tables().into_iter().flatten().map(|rule| rule.name).collect();
        let unknown: BTreeSet<&String> = wanted.iter().filter(|name| !declared.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "rules of network are asked that are not declared: {unknown:#?}");
    }
}
