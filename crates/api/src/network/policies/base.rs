//! The rules that the others refer to.

use policy::{Rule, rule};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("network:context_is_admin", "role:admin").about("Base rule: an administrator"),
    rule("context_with_global_access", "!").about("Base rule: sees the objects of all projects, in spite of not being an administrator"),
    rule("service_api", "role:service").about("Base rule: another service"),
    rule("network:owner", "project_id:%(project_id)s").about("Base rule: of the project the object belongs to"),
    rule("network:admin_or_owner", "rule:network:context_is_admin or rule:network:owner")
        .about("Base rule: an administrator, or of the project the object belongs to"),
    rule("context_is_advsvc", "role:advsvc").about("Base rule: a service of networks, by its older role"),
    rule("admin_or_network_owner", "rule:network:context_is_admin or project_id:%(network:project_id)s")
        .about("Base rule: an administrator, or of the project the network belongs to"),
    rule("admin_owner_or_network_owner", "rule:network:owner or rule:admin_or_network_owner")
        .about("Base rule: an administrator, or of the project the object or its network belongs to"),
    rule("network_owner", "project_id:%(network:project_id)s").about("Base rule: of the project the network belongs to"),
    rule("admin_only", "rule:network:context_is_admin").about("Base rule: an administrator"),
    rule("regular_user", "").about("Base rule: anybody"),
    rule("shared", "True:%(shared)s").about("Base rule: the network is shared with all"),
    rule("admin_or_ext_parent_owner", "rule:network:context_is_admin or project_id:%(ext_parent:project_id)s")
        .about("Base rule: an administrator, or of the project the parent belongs to"),
    rule("ext_parent_owner", "project_id:%(ext_parent:project_id)s").about("Base rule: of the project the parent belongs to"),
    rule("sg_owner", "project_id:%(security_group:project_id)s").about("Base rule: of the project the security group belongs to"),
];
