//! Who shares what with whom, and how much a project may have.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MANAGER, ADMIN_OR_MEMBER, ADMIN_OR_READER, on};

const RBAC_POLICIES_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/rbac-policies")];
const RBAC_POLICIES_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/rbac-policies/{id}")];

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Sharing.
    on(
        rule("create_rbac_policy:target_tenant", any!(admin!(), "(not '*':%(target_tenant)s and not '*':%(target_project)s)")),
        RBAC_POLICIES_CREATE,
    )
    .about("Choose whom an object is shared with"),
    on(
        rule("update_rbac_policy:target_tenant", any!(admin!(), "(not '*':%(target_tenant)s and not '*':%(target_project)s)")),
        RBAC_POLICIES_UPDATE,
    )
    .about("Change whom an object is shared with"),
    rule("restrict_wildcard", any!("(not '*':%(target_tenant)s and not '*':%(target_project)s)", admin!()))
        .about("Base rule: not for all projects, or an administrator"),
    on(rule("create_rbac_policy", ADMIN_OR_MEMBER), RBAC_POLICIES_CREATE).about("Share an object"),
    on(rule("create_rbac_policy:target_project", any!(admin!(), "not '*':%(target_project)s")), RBAC_POLICIES_CREATE)
        .about("Choose whom an object is shared with"),
    on(rule("update_rbac_policy", ADMIN_OR_MEMBER), RBAC_POLICIES_UPDATE).about("Change a sharing"),
    on(rule("update_rbac_policy:target_project", any!(admin!(), "not '*':%(target_project)s")), RBAC_POLICIES_UPDATE)
        .about("Change whom an object is shared with"),
    on(rule("get_rbac_policy", ADMIN_OR_READER), &[("GET", "/v2.0/rbac-policies"), ("GET", "/v2.0/rbac-policies/{id}")])
        .about("See a sharing"),
    on(rule("delete_rbac_policy", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/rbac-policies/{id}")]).about("End a sharing"),
    // Quotas.
    on(rule("get_quota", ADMIN_OR_MANAGER), &[("GET", "/v2.0/quotas"), ("GET", "/v2.0/quotas/{id}")]).about("See a project's quotas"),
    on(rule("update_quota", ADMIN), &[("PUT", "/v2.0/quotas/{id}")]).about("Set a project's quotas"),
    on(rule("delete_quota", ADMIN), &[("DELETE", "/v2.0/quotas/{id}")]).about("Set a project's quotas back"),
];
