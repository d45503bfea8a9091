//! The declared default policies of the bare-metal service, those of Ironic (Source: `ironic/common/policy.py`), for what is offered
//! here.
//!
//! Beside Ironic's defaults by scope and project each admits `baremetal:is_admin`, as Ironic does as long as its deprecated rules are
//! honoured: an administrator of any project keeps all machines. Ironic's rule for users of a project of services is absent; a service
//! that is to see all machines has a token of the system. `lookup` and `heartbeat` are asked without a token, so that no rule guards them.

use model::Object;
use model::baremetal::Node;
use policy::{Rule, Scope, Target, rule};
use serde_json::{Map, Value, json};

/// Tokens of the system and of projects.
const SYSTEM_PROJECT: &[Scope] = &[Scope::System, Scope::Project];

macro_rules! any {
    ($($check:literal),+) => {
        concat!("rule:baremetal:is_admin", $(" or (", $check, ")"),+)
    };
}

/// Readers of the system, and of the projects that own or lease the node.
const READER: &str = any!(
    "role:reader and system_scope:all",
    "role:service and system_scope:all",
    "role:reader and (project_id:%(node.owner)s or project_id:%(node.lessee)s)",
    "role:service and project_id:%(node.owner)s"
);
/// The same without the lessee.
const OWNER_READER: &str = any!(
    "role:reader and system_scope:all",
    "role:service and system_scope:all",
    "role:reader and project_id:%(node.owner)s",
    "role:service and project_id:%(node.owner)s"
);
const SYSTEM_READER: &str = any!("role:reader and system_scope:all", "role:service and system_scope:all");
const API_READER: &str = any!("role:reader", "role:service");
/// Members of the system, and of the projects that own or lease the node.
const MEMBER: &str = any!(
    "role:member and system_scope:all",
    "role:service and system_scope:all",
    "role:member and (project_id:%(node.owner)s or project_id:%(node.lessee)s)"
);
/// Members of the system and of the owner; of the lessee those who manage it.
const MEMBER_OR_LESSEE_MANAGER: &str = any!(
    "role:member and system_scope:all",
    "role:service and system_scope:all",
    "role:member and project_id:%(node.owner)s",
    "role:manager and project_id:%(node.lessee)s",
    "role:service and project_id:%(node.owner)s"
);
/// Members of the system and of the owner.
const OWNER_MEMBER: &str = any!(
    "role:member and system_scope:all",
    "role:service and system_scope:all",
    "role:member and project_id:%(node.owner)s",
    "role:service and project_id:%(node.owner)s"
);
/// Members of the system; of the owner those who manage it.
const OWNER_MANAGER: &str = any!(
    "role:member and system_scope:all",
    "role:service and system_scope:all",
    "role:manager and project_id:%(node.owner)s",
    "role:service and project_id:%(node.owner)s"
);
/// Administrators of the system; of the owner those who manage it.
const ADMIN_OR_OWNER_MANAGER: &str = any!(
    "role:admin and system_scope:all",
    "role:service and system_scope:all",
    "role:manager and project_id:%(node.owner)s",
    "role:service and project_id:%(node.owner)s"
);
const SYSTEM_MEMBER: &str = any!("role:member and system_scope:all");
const SYSTEM_ADMIN: &str = any!("role:admin and system_scope:all");
const SYSTEM_ADMIN_OR_SERVICE: &str = any!("role:admin and system_scope:all", "role:service and system_scope:all");

const fn on(rule: Rule, operations: &'static [(&'static str, &'static str)]) -> Rule {
    rule.scopes(SYSTEM_PROJECT).guards(operations)
}

const NODES_GET: &[(&str, &str)] = &[("GET", "/v1/nodes"), ("GET", "/v1/nodes/detail")];
const NODE_GET: &[(&str, &str)] = &[("GET", "/v1/nodes/{node}")];
const NODE_PATCH: &[(&str, &str)] = &[("PATCH", "/v1/nodes/{node}")];
const PORTS_GET: &[(&str, &str)] = &[("GET", "/v1/ports"), ("GET", "/v1/ports/detail")];

/// The rules.
pub(crate) static RULES: &[Rule] = &[
    rule("baremetal:is_admin", "role:admin").about("Base rule: an administrator"),
    on(rule("baremetal:node:create", SYSTEM_ADMIN_OR_SERVICE), &[("POST", "/v1/nodes")]).about("Enrol a node"),
    on(rule("baremetal:node:list", API_READER), NODES_GET).about("List the nodes one may see"),
    on(rule("baremetal:node:list_all", SYSTEM_READER), NODES_GET).about("List all nodes"),
    on(rule("baremetal:node:get", READER), NODE_GET).about("See a node"),
    on(rule("baremetal:node:get:last_error", OWNER_READER), NODE_GET).about("See the last error of a node"),
    on(rule("baremetal:node:get:driver_info", OWNER_READER), NODE_GET).about("See how a node's controller is reached"),
    on(rule("baremetal:node:get:driver_internal_info", OWNER_READER), NODE_GET).about("See what the engine notes of a node"),
    on(rule("baremetal:node:update", MEMBER), NODE_PATCH).about("Change what of a node has no rule of its own"),
    on(rule("baremetal:node:update:driver_info", OWNER_MEMBER), NODE_PATCH).about("Change how a node's controller is reached"),
    on(rule("baremetal:node:update:driver_interfaces", OWNER_MANAGER), NODE_PATCH).about("Change the driver of a node"),
    on(rule("baremetal:node:update:properties", OWNER_MEMBER), NODE_PATCH).about("Change the properties of a node"),
    on(rule("baremetal:node:update:instance_uuid", OWNER_MEMBER), NODE_PATCH).about("Say which instance a node runs"),
    on(rule("baremetal:node:update:lessee", OWNER_MEMBER), NODE_PATCH).about("Lend a node to a project"),
    on(rule("baremetal:node:update:owner", SYSTEM_MEMBER), NODE_PATCH).about("Give a node to a project"),
    on(rule("baremetal:node:update:name", OWNER_MEMBER), NODE_PATCH).about("Rename a node"),
    on(rule("baremetal:node:update_extra", MEMBER), NODE_PATCH).about("Change the free properties of a node"),
    on(rule("baremetal:node:update_instance_info", MEMBER_OR_LESSEE_MANAGER), NODE_PATCH).about("Say what a node is to run"),
    on(rule("baremetal:node:delete", SYSTEM_ADMIN), &[("DELETE", "/v1/nodes/{node}")]).about("Remove a node"),
    on(rule("baremetal:node:validate", MEMBER_OR_LESSEE_MANAGER), &[("GET", "/v1/nodes/{node}/validate")])
        .about("See whether a node can be deployed"),
    on(
        rule("baremetal:node:set_maintenance", MEMBER_OR_LESSEE_MANAGER),
        &[("PUT", "/v1/nodes/{node}/maintenance"), ("PATCH", "/v1/nodes/{node}")],
    )
    .about("Take a node out of service"),
    on(rule("baremetal:node:clear_maintenance", MEMBER_OR_LESSEE_MANAGER), &[("DELETE", "/v1/nodes/{node}/maintenance")])
        .about("Put a node into service again"),
    on(rule("baremetal:node:get_states", READER), &[("GET", "/v1/nodes/{node}/states")]).about("See the states of a node"),
    on(rule("baremetal:node:set_power_state", MEMBER), &[("PUT", "/v1/nodes/{node}/states/power")]).about("Switch a node on or off"),
    on(rule("baremetal:node:set_provision_state", MEMBER_OR_LESSEE_MANAGER), &[("PUT", "/v1/nodes/{node}/states/provision")])
        .about("Take a node through its states: manage, provide, deploy, undeploy"),
    on(rule("baremetal:node:vif:list", READER), &[("GET", "/v1/nodes/{node}/vifs")]).about("List the networks' ports attached to a node"),
    on(rule("baremetal:node:vif:attach", MEMBER_OR_LESSEE_MANAGER), &[("POST", "/v1/nodes/{node}/vifs")])
        .about("Attach a network's port to a node"),
    on(rule("baremetal:node:vif:detach", MEMBER_OR_LESSEE_MANAGER), &[("DELETE", "/v1/nodes/{node}/vifs/{vif}")])
        .about("Detach a network's port from a node"),
    on(
        rule("baremetal:node:history:get", OWNER_READER),
        &[("GET", "/v1/nodes/{node}/history"), ("GET", "/v1/nodes/{node}/history/{event}")],
    )
    .about("See what a node went through"),
    on(rule("baremetal:port:get", READER), &[("GET", "/v1/ports/{port}"), ("GET", "/v1/nodes/{node}/ports")]).about("See a card of a node"),
    on(rule("baremetal:port:list", API_READER), PORTS_GET).about("List the cards one may see"),
    on(rule("baremetal:port:list_all", SYSTEM_READER), PORTS_GET).about("List all cards"),
    on(rule("baremetal:port:create", ADMIN_OR_OWNER_MANAGER), &[("POST", "/v1/ports")]).about("Add a card to a node"),
    on(rule("baremetal:port:update", OWNER_MANAGER), &[("PATCH", "/v1/ports/{port}")]).about("Change a card of a node"),
    on(rule("baremetal:port:delete", ADMIN_OR_OWNER_MANAGER), &[("DELETE", "/v1/ports/{port}")]).about("Remove a card of a node"),
    on(rule("baremetal:driver:list", SYSTEM_READER), &[("GET", "/v1/drivers")]).about("List the drivers"),
    on(rule("baremetal:driver:get", SYSTEM_READER), &[("GET", "/v1/drivers/{driver}")]).about("See a driver"),
    on(rule("baremetal:driver:get_properties", SYSTEM_READER), &[("GET", "/v1/drivers/{driver}/properties")])
        .about("See what a driver has to be told of a node"),
];

/// What rules see of a node, and of what belongs to it.
pub(super) fn of_node(node: &Object<Node>) -> Target {
    let mut out = Map::from_iter([("node.uuid".to_owned(), json!(node.id))]);
    // Without an owner the key is missing, so that a caller without a project is not taken for it.
    for (key, project) in [("node.owner", &node.desired.owner), ("node.lessee", &node.desired.lessee)] {
        if let Some(project) = project {
            out.insert(key.to_owned(), json!(project));
        }
    }
    Value::Object(out)
}

/// The rule that guards changing an attribute by a patch.
pub(super) fn of_change(attribute: &str) -> &'static str {
    match attribute {
        "driver_info" => "baremetal:node:update:driver_info",
        "driver" => "baremetal:node:update:driver_interfaces",
        "properties" => "baremetal:node:update:properties",
        "instance_uuid" => "baremetal:node:update:instance_uuid",
        "lessee" => "baremetal:node:update:lessee",
        "owner" => "baremetal:node:update:owner",
        "name" => "baremetal:node:update:name",
        "extra" => "baremetal:node:update_extra",
        "instance_info" => "baremetal:node:update_instance_info",
        // One way to it is not to be easier than the other.
        "maintenance" => "baremetal:node:set_maintenance",
        _ => "baremetal:node:update",
    }
}
