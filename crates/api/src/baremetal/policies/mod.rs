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

mod node;
mod parts;

pub(super) use node::of_change;

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

/// What other rules refer to.
static BASE: &[Rule] = &[rule("baremetal:is_admin", "role:admin").about("Base rule: an administrator")];

/// The rules, as tables of an engine.
pub(crate) fn tables() -> Vec<&'static [Rule]> {
    vec![BASE, node::RULES, parts::RULES]
}

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
