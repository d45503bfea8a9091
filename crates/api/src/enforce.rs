//! Asking the policy: the one place where a rule meets a caller.

use policy::Target;

use crate::App;
use crate::caller::Caller;
use crate::failure::Failure;

/// The declared rules by service, named as in the catalog.
pub(crate) fn services() -> [(&'static str, Vec<&'static [policy::Rule]>); 6] {
    [
        ("identity", crate::identity::policies::tables()),
        ("network", vec![crate::network::policies::RULES]),
        ("baremetal", vec![crate::baremetal::policies::RULES]),
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
    use std::collections::BTreeMap;

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
                "network",
                concat!(
                    include_str!("network/mod.rs"),
                    include_str!("network/networks.rs"),
                    include_str!("network/subnets.rs"),
                    include_str!("network/ports.rs")
                ),
            ),
            (
                "baremetal",
                concat!(
                    include_str!("baremetal/driver.rs"),
                    include_str!("baremetal/node.rs"),
                    include_str!("baremetal/node_fields.rs"),
                    include_str!("baremetal/access.rs"),
                    include_str!("baremetal/policies.rs"),
                    include_str!("baremetal/port.rs"),
                    include_str!("baremetal/states.rs"),
                    include_str!("baremetal/vif.rs"),
                ),
            ),
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
                // What entries of fixed_ips name is put together.
                let name = rule.name.replace(":fixed_ips:ip_address", "").replace(":fixed_ips:subnet_id", "");
                let least = if service == "baremetal" && source.contains(&format!("rule(\"{name}\"")) { 2 } else { 1 };
                assert!(source.matches(&format!("\"{name}\"")).count() >= least, "{service} never asks {}", rule.name);
            }
        }
    }
}
