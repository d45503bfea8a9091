//! The declared default policies of the network service, those of Neutron 29 as of 2026 (Source: `neutron/conf/policies`), for what is
//! offered here.
//!
//! Neutron's own kind of check, `field:networks:shared=True`, is written as a comparison with the attribute. Two defaults are stricter than
//! Neutron's, in which everybody with a token sees what is shared and makes ports on it: seeing networks and subnets, with their tags,
//! takes the role reader, making ports member. Neutron's rule `default` is absent: a rule that does not exist refuses.

use model::identity::Project;
use model::net::{Network, Port, Subnet};
use model::{Id, Object};
use policy::{Rule, Scope, Target};
use serde_json::{Map, Value, json};

use super::noun::Shares;

macro_rules! admin {
    () => {
        "rule:network:context_is_admin"
    };
}
macro_rules! service {
    () => {
        "rule:service_api"
    };
}
macro_rules! project {
    ($role:literal) => {
        concat!("(role:", $role, " and project_id:%(project_id)s)")
    };
}
macro_rules! network_owner {
    ($role:literal) => {
        concat!("(role:", $role, " and project_id:%(network:project_id)s)")
    };
}
macro_rules! parent {
    ($role:literal) => {
        concat!("(role:", $role, " and project_id:%(ext_parent:project_id)s)")
    };
}
macro_rules! group {
    ($role:literal) => {
        concat!("(role:", $role, " and project_id:%(security_group:project_id)s)")
    };
}
macro_rules! any {
    ($first:expr $(, $more:expr)*) => {
        concat!($first $(, " or ", $more)*)
    };
}

mod access;
mod base;
mod bgp;
mod chains;
mod core;
mod explain;
mod fabric;
mod l3;
mod operation;
mod pools;
mod qos;
mod security;
mod trunk;

/// Tokens of projects only.
const PROJECT: &[Scope] = &[Scope::Project];

const ADMIN: &str = admin!();
const SERVICE: &str = service!();
const ADMIN_OR_SERVICE: &str = any!(admin!(), service!());
const ADMIN_OR_READER: &str = any!(admin!(), project!("reader"));
const ADMIN_OR_MEMBER: &str = any!(admin!(), project!("member"));
const ADMIN_OR_MANAGER: &str = any!(admin!(), project!("manager"));
/// Of the project that the thing belongs to which this one is inside of.
const ADMIN_OR_PARENT_READER: &str = any!(admin!(), parent!("reader"));
const ADMIN_OR_PARENT_MEMBER: &str = any!(admin!(), parent!("member"));
const ADMIN_OR_PARENT_MANAGER: &str = any!(admin!(), parent!("manager"));
const ANY_READER: &str = "role:reader";

const fn on(rule: Rule, operations: &'static [(&'static str, &'static str)]) -> Rule {
    rule.scopes(PROJECT).guards(operations)
}

/// The rules, as tables of an engine.
pub(crate) fn tables() -> Vec<&'static [Rule]> {
    vec![
        base::RULES,
        core::RULES,
        l3::RULES,
        security::RULES,
        pools::RULES,
        qos::RULES,
        access::RULES,
        operation::RULES,
        trunk::RULES,
        bgp::RULES,
        chains::RULES,
        explain::RULES,
        fabric::RULES,
    ]
}

/// Says whose something is: under `project_id` and `tenant_id`, or under those names with `ext_parent:` (of a thing inside another) or
/// `security_group:` before them.
pub(super) fn owned<P>(project: Option<&Id<P>>, out: &mut Map<String, Value>, keys: [&str; 2]) {
    // Without an owner the keys are missing, so that a caller without a project is not taken for it.
    for (key, project) in keys.into_iter().zip([project; 2]) {
        if let Some(project) = project {
            out.insert(key.to_owned(), json!(project));
        }
    }
}

/// What rules know of a network: whose it is, and what it is to the caller.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenNetwork {
    /// Whose it is.
    pub(super) project_id: Option<Id<Project>>,
    /// Whether it is shared with the caller.
    pub(super) shared: bool,
    /// Whether it is an external one for the caller.
    pub(super) external: bool,
}

impl SeenNetwork {
    /// The network as a caller of that project sees it.
    pub(super) fn of(network: &Object<Network>, shares: &Shares, project: Option<&Id<Project>>) -> Self {
        let id = network.id.as_str();
        Self { project_id: network.project_id.clone(), shared: shares.is_shared(id, project), external: shares.is_external(id, project) }
    }

    fn put(&self, out: &mut Map<String, Value>) {
        owned(self.project_id.as_ref(), out, ["network:project_id", "network:tenant_id"]);
        out.insert("shared".to_owned(), json!(self.shared));
        out.insert("router:external".to_owned(), json!(self.external));
    }
}

fn with_network<P>(project: Option<&Id<P>>, network: Option<&SeenNetwork>) -> Map<String, Value> {
    let mut out = Map::new();
    owned(project, &mut out, ["project_id", "tenant_id"]);
    if let Some(network) = network {
        network.put(&mut out);
    }
    out
}

/// What rules see of an object of that project of which nothing else is known.
pub(super) fn of_project<P>(project: Option<&Id<P>>) -> Target {
    Value::Object(with_network(project, None))
}

/// What rules see of a network.
pub(super) fn of_network(network: &SeenNetwork) -> Target {
    Value::Object(with_network(network.project_id.as_ref(), Some(network)))
}

/// What rules see of a subnet and the network it is on.
pub(super) fn of_subnet(subnet: &Object<Subnet>, network: Option<&SeenNetwork>) -> Target {
    Value::Object(with_network(subnet.project_id.as_ref(), network))
}

/// What rules see of a port and the network it is on. `device_owner:kind` is what stands before the colon of `device_owner`.
pub(super) fn of_port(port: &Object<Port>, network: Option<&SeenNetwork>) -> Target {
    let mut out = with_network(port.project_id.as_ref(), network);
    let owner = port.desired.device_owner.as_str();
    out.insert("network_id".to_owned(), json!(port.desired.network_id));
    out.insert("device_id".to_owned(), json!(port.desired.device_id));
    out.insert("device_owner".to_owned(), json!(owner));
    out.insert("device_owner:kind".to_owned(), json!(owner.split_once(':').map_or("", |(kind, _)| kind)));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use policy::{Credentials, Engine};
    use serde_json::json;

    use super::*;

    fn of(project: &str, role: &str) -> Credentials {
        Credentials { user_id: "u".into(), project_id: Some(project.into()), roles: vec![role.into()], ..Credentials::default() }
    }

    #[test]
    fn rules_are_parsed_and_guard_calls_below_v2() {
        Engine::new(&tables()).unwrap();
        let rules: Vec<&Rule> = tables().into_iter().flatten().collect();
        let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!((rules.len(), names.len()), (450, 450));
        for rule in rules {
            assert!(!rule.about.is_empty(), "{}", rule.name);
            assert!(rule.operations.iter().all(|(_, path)| path.starts_with("/v2.0/") && !path.ends_with('/')), "{}", rule.name);
        }
    }

    /// (rule, target, project and role of the caller, verdict)
    #[test]
    fn defaults_by_role_and_owner() {
        let engine = Engine::new(&tables()).unwrap();
        let own = json!({"project_id": "p"});
        let parent = json!({"ext_parent:project_id": "p"});
        let group = json!({"project_id": "other", "security_group:project_id": "p"});
        let shared = json!({"project_id": "p", "shared": true});
        let all = json!({"project_id": "p", "target_tenant": "*"});
        let cases = [
            ("create_router", &own, "p", "member", true),
            ("create_router", &own, "p", "reader", false),
            ("create_router", &own, "q", "member", false),
            ("create_router:ha", &own, "p", "manager", false),
            ("create_router:ha", &own, "q", "admin", true),
            ("create_policy", &own, "p", "member", false),
            ("create_policy", &own, "p", "manager", true),
            ("update_policy_dscp_marking_rule", &parent, "p", "manager", true),
            ("update_policy_dscp_marking_rule", &own, "p", "manager", false),
            ("get_alias_minimum_packet_rate_rule", &parent, "p", "reader", true),
            ("create_floatingip_port_forwarding", &parent, "p", "member", true),
            ("create_security_group_rule", &group, "p", "member", true),
            ("create_security_group_rule", &group, "other", "member", false),
            ("get_subnetpool", &shared, "q", "reader", true),
            ("update_subnetpool", &shared, "q", "member", false),
            ("create_rbac_policy:target_tenant", &all, "p", "member", false),
            ("create_rbac_policy:target_tenant", &own, "p", "member", true),
            ("create_rbac_policy:target_tenant", &all, "p", "admin", true),
            ("create_port_chain", &own, "p", "member", true),
            ("get_l2_gateway", &own, "p", "member", false),
            ("get_bgp_speaker", &own, "p", "manager", false),
            ("create_bgpvpn", &own, "p", "manager", false),
            ("update_bgpvpn", &own, "p", "member", true),
            ("update_bgpvpn:route_targets", &own, "p", "member", false),
            ("create_bgpvpn_port_association", &own, "p", "member", true),
            ("get_bgpvpn_port_association", &own, "q", "reader", false),
            ("get_reachability", &own, "p", "reader", true),
            ("get_reachability", &own, "q", "reader", false),
            ("create_port_binding", &own, "p", "admin", false),
            ("create_port_binding", &own, "p", "service", true),
        ];
        for (rule, target, project, role, allowed) in cases {
            assert_eq!(engine.allows(rule, &of(project, role), target), allowed, "{rule} for {role} of {project}");
        }
        // Without an owner, nobody is taken for one.
        let nobody = Credentials { project_id: None, ..of("", "member") };
        assert!(!engine.allows("get_router", &nobody, &of_project::<Project>(None)));
    }
}
